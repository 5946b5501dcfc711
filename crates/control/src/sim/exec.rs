//! Virtual time: one thread, tasks polled in an order that the seed chooses, a clock that jumps to the next timer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use session::Timestamp;

/// The virtual machine: its time, its chance, its tasks. Clones are the same.
#[derive(Clone)]
pub(super) struct Sim(Arc<Mutex<Core>>);

pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TaskId(u64);

struct Core {
    now: Timestamp,
    chance: Chance,
    trace: Trace,
    timers: BTreeMap<(Timestamp, u64), Waker>,
    n_timers: u64,
    ready: Vec<TaskId>,
    queued: BTreeSet<TaskId>,
    spawned: Vec<(TaskId, Task)>,
    killed: Vec<TaskId>,
    n_tasks: u64,
    n_polls: u64,
}

/// splitmix64: short, and the same for ever.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Everything that happened, as a hash, and its last lines if they are kept.
struct Trace {
    hash: u64,
    lines: Option<VecDeque<String>>,
}

/// Lines that are shown when a run fails.
const LINES: usize = 20_000;

impl fmt::Write for Trace {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // FNV-1a.
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if let Some(line) = self.lines.as_mut().and_then(VecDeque::back_mut) {
            line.push_str(text);
        }
        Ok(())
    }
}

impl Sim {
    /// A machine whose chance is `seed`. Lines of the trace are kept if `verbose`.
    pub(super) fn new(seed: u64, verbose: bool) -> Self {
        Self(Arc::new(Mutex::new(Core {
            now: Timestamp::from_secs(1_800_000_000),
            chance: Chance(seed),
            trace: Trace { hash: 0xcbf2_9ce4_8422_2325, lines: verbose.then(VecDeque::new) },
            timers: BTreeMap::new(),
            n_timers: 0,
            ready: Vec::new(),
            queued: BTreeSet::new(),
            spawned: Vec::new(),
            killed: Vec::new(),
            n_tasks: 0,
            n_polls: 0,
        })))
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.core().now
    }

    pub(super) fn n_polls(&self) -> u64 {
        self.core().n_polls
    }

    pub(super) fn trace_hash(&self) -> u64 {
        self.core().trace.hash
    }

    pub(super) fn trace_lines(&self) -> Vec<String> {
        self.core().trace.lines.iter().flatten().cloned().collect()
    }

    /// A number below `n`, which is not 0.
    pub(super) fn below(&self, n: u64) -> u64 {
        self.core().chance.next() % n
    }

    /// True once in `n` times; never if `n` is 0.
    pub(super) fn once_in(&self, n: u64) -> bool {
        n != 0 && self.below(n) == 0
    }

    pub(super) fn millis(&self, least: u64, most: u64) -> Duration {
        Duration::from_micros(least * 1_000 + self.below((most - least).max(1) * 1_000))
    }

    /// An exponential pause: memoryless, as most bad luck.
    pub(super) fn pause(&self, mean: Duration) -> Duration {
        // 2^-20 is small enough for a tail of 14 means.
        let uniform = (self.below(1 << 20) + 1) as f64 / f64::from(1 << 20);
        mean.mul_f64(-uniform.ln())
    }

    pub(super) fn fill(&self, bytes: &mut [u8]) {
        let mut core = self.core();
        for chunk in bytes.chunks_mut(8) {
            let word = core.chance.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    /// Notes what happened. Must be the same for the same seed.
    pub(super) fn trace(&self, what: fmt::Arguments<'_>) {
        let mut core = self.core();
        let now = core.now.as_micros();
        let trace = &mut core.trace;
        if let Some(lines) = &mut trace.lines {
            if lines.len() == LINES {
                lines.pop_front();
            }
            lines.push_back(String::new());
        }
        let _infallible = fmt::write(trace, format_args!("{now} {what}\n"));
    }

    pub(super) fn sleep(&self, pause: Duration) -> Sleep {
        self.sleep_until(self.now() + pause)
    }

    pub(super) fn sleep_until(&self, at: Timestamp) -> Sleep {
        Sleep { sim: self.clone(), at, key: None }
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> TaskId {
        let task = Box::pin(task);
        let mut core = self.core();
        core.n_tasks += 1;
        let id = TaskId(core.n_tasks);
        core.spawned.push((id, task));
        id
    }

    /// Drops a task as soon as no task is being polled.
    pub(super) fn kill(&self, task: TaskId) {
        self.core().killed.push(task);
    }

    fn wake(&self, task: TaskId) {
        let mut core = self.core();
        if core.queued.insert(task) {
            core.ready.push(task);
        }
    }

    /// One of the tasks that can go on.
    fn pick(&self) -> Option<TaskId> {
        let mut core = self.core();
        let n = core.ready.len() as u64;
        let which = match n {
            0 => return None,
            1 => 0,
            _ => (core.chance.next() % n) as usize,
        };
        let task = core.ready.swap_remove(which);
        core.queued.remove(&task);
        core.n_polls += 1;
        Some(task)
    }

    /// Goes on to the next timers, if that is before `end`.
    fn advance(&self, end: Timestamp) -> bool {
        let mut core = self.core();
        let Some((&(at, _), _)) = core.timers.first_key_value() else {
            core.now = end;
            return false;
        };
        if at > end {
            core.now = end;
            return false;
        }
        core.now = core.now.max(at);
        let mut wakers = Vec::new();
        while let Some(entry) = core.timers.first_entry().filter(|entry| entry.key().0 <= at) {
            wakers.push(entry.remove());
        }
        drop(core);
        wakers.into_iter().for_each(Waker::wake);
        true
    }
}

/// Polls the tasks.
pub(super) struct Runner {
    sim: Sim,
    tasks: BTreeMap<TaskId, (Task, Waker)>,
}

impl Runner {
    pub(super) fn new(sim: Sim) -> Self {
        Self { sim, tasks: BTreeMap::new() }
    }

    /// Lets everything happen until `end`.
    pub(super) fn run_until(&mut self, end: Timestamp) {
        loop {
            self.settle();
            while let Some(id) = self.sim.pick() {
                if let Some((task, waker)) = self.tasks.get_mut(&id) {
                    let done = task.as_mut().poll(&mut Context::from_waker(waker)).is_ready();
                    if done {
                        self.tasks.remove(&id);
                    }
                }
                self.settle();
            }
            if !self.sim.advance(end) {
                return;
            }
        }
    }

    /// Takes up what was spawned, drops what was killed.
    fn settle(&mut self) {
        loop {
            let (spawned, killed) = {
                let mut core = self.sim.core();
                if core.spawned.is_empty() && core.killed.is_empty() {
                    return;
                }
                (std::mem::take(&mut core.spawned), std::mem::take(&mut core.killed))
            };
            for (id, task) in spawned {
                let waker = Waker::from(Arc::new(TaskWaker { sim: self.sim.clone(), id }));
                self.tasks.insert(id, (task, waker));
                self.sim.wake(id);
            }
            for id in killed {
                // What it drops may kill and wake others.
                drop(self.tasks.remove(&id));
            }
        }
    }
}

struct TaskWaker {
    sim: Sim,
    id: TaskId,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.sim.wake(self.id);
    }
}

/// Waits for a point in time.
pub(super) struct Sleep {
    sim: Sim,
    at: Timestamp,
    key: Option<(Timestamp, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let sleep = &mut *self;
        let mut core = sleep.sim.core();
        if core.now >= sleep.at {
            return Poll::Ready(());
        }
        if sleep.key.is_none() {
            core.n_timers += 1;
            let key = (sleep.at, core.n_timers);
            core.timers.insert(key, context.waker().clone());
            sleep.key = Some(key);
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let timer = self.sim.core().timers.remove(&key);
            drop(timer);
        }
    }
}
