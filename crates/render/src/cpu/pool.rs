//! Worker threads that live as long as their renderer.
//!
//! [`Pool::run`] is a parallel loop: the calling thread works too, and it returns when all is done. Tasks are taken by an
//! atomic counter, so who does what varies; what a task writes must depend on its number alone.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// A loop body: worker number, task number.
type Body<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// A loop in progress. Its lifetime is hidden; [`Pool::run`] outlives every use.
#[derive(Clone, Copy)]
struct Job {
    body: *const Body<'static>,
    next: *const AtomicUsize,
    n_tasks: usize,
}

// SAFETY: both pointers are to things that are Sync, and `run` keeps them alive until no worker holds the job.
unsafe impl Send for Job {}

#[derive(Default)]
struct State {
    job: Option<Job>,
    /// Counts jobs, so that a worker takes each once.
    generation: u64,
    /// Workers that have yet to finish the job.
    busy: usize,
    panicked: bool,
    stop: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    done: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({} workers)", self.n_workers())
    }
}

impl Pool {
    /// As many of `n_threads` as the system grants; at least the caller's.
    pub(super) fn new(n_threads: NonZeroUsize) -> Self {
        let shared = Arc::new(Shared::default());
        let threads = (1..n_threads.get())
            .filter_map(|worker| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new()
                    .name(format!("render-{worker}"))
                    .spawn(move || work(&shared, worker))
                    .ok()
            })
            .collect();
        Self { shared, threads }
    }

    /// Including the caller, which is number 0. Numbers of workers are below the `n_threads` that was asked for.
    pub(super) fn n_workers(&self) -> usize {
        self.threads.len() + 1
    }

    /// Calls `body` for each task with its number, and with what belongs to the worker that took it. No locks: whoever
    /// has a task, has it alone.
    ///
    /// # Panics
    /// If `body` does, or if there are fewer `workers` than [`Self::n_workers`].
    pub(super) fn run_each<W: Send, T: Send>(
        &mut self,
        workers: &mut [W],
        tasks: &mut [T],
        body: impl Fn(&mut W, usize, &mut T) + Sync,
    ) {
        assert!(workers.len() >= self.n_workers(), "each worker has something of its own");
        let n_tasks = tasks.len();
        let (workers, tasks) = (Slots(workers.as_mut_ptr()), Slots(tasks.as_mut_ptr()));
        self.run(n_tasks, &|worker, task| {
            // SAFETY: both numbers are within their slices, which stay borrowed until `run` is through. Each task is given
            // out once, and no two calls at a time have the same worker.
            let (own, at) = unsafe { (&mut *workers.at(worker), &mut *tasks.at(task)) };
            body(own, task, at);
        });
    }

    /// Calls `body(worker, task)` for each task below `n_tasks`; no two calls at a time have the same worker.
    ///
    /// # Panics
    /// If `body` does.
    pub(super) fn run(&mut self, n_tasks: usize, body: &Body<'_>) {
        let next = AtomicUsize::new(0);
        if self.threads.is_empty() || n_tasks <= 1 {
            return run_tasks(body, &next, n_tasks, 0);
        }
        // SAFETY: only the lifetime changes. The job is taken back below, before `body` and `next` go out of scope.
        let body_ptr = unsafe { std::mem::transmute::<*const Body<'_>, *const Body<'static>>(body) };
        {
            let mut state = self.shared.lock();
            state.job = Some(Job { body: body_ptr, next: &raw const next, n_tasks });
            state.generation += 1;
            state.busy = self.threads.len();
        }
        self.shared.work.notify_all();
        let own = catch_unwind(AssertUnwindSafe(|| run_tasks(body, &next, n_tasks, 0)));
        let mut state = self.shared.lock();
        while state.busy > 0 {
            state = self.shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.job = None;
        let panicked = std::mem::take(&mut state.panicked);
        drop(state);
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!panicked, "a render worker panicked");
    }
}

/// The start of a slice whose elements go to different threads.
struct Slots<T>(*mut T);

// SAFETY: whoever takes an element sees to it that nobody else has it (see `run_each`).
unsafe impl<T: Send> Sync for Slots<T> {}

impl<T> Slots<T> {
    /// A method, so that closures capture the whole and not its pointer alone, which is not `Sync`.
    fn at(&self, n: usize) -> *mut T {
        self.0.wrapping_add(n)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // A worker catches panics of its tasks: there is nothing to hear.
            drop(thread.join());
        }
    }
}

fn run_tasks(body: &Body<'_>, next: &AtomicUsize, n_tasks: usize, worker: usize) {
    loop {
        let task = next.fetch_add(1, Ordering::Relaxed);
        if task >= n_tasks {
            return;
        }
        body(worker, task);
    }
}

fn work(shared: &Shared, worker: usize) {
    let mut seen = 0;
    loop {
        let job = {
            let mut state = shared.lock();
            loop {
                if state.stop {
                    return;
                }
                match state.job {
                    Some(job) if state.generation != seen => {
                        seen = state.generation;
                        break job;
                    }
                    _ => state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner),
                }
            }
        };
        // SAFETY: `run` waits until `busy` is 0, and this worker counts as busy until the lines below.
        let (body, next) = unsafe { (&*job.body, &*job.next) };
        let ok = catch_unwind(AssertUnwindSafe(|| run_tasks(body, next, job.n_tasks, worker))).is_ok();
        let mut state = shared.lock();
        state.panicked |= !ok;
        state.busy -= 1;
        if state.busy == 0 {
            shared.done.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_whatever_the_number_of_threads() {
        for n_threads in 1..5 {
            let mut pool = Pool::new(NonZeroUsize::new(n_threads).unwrap());
            for n_tasks in [0, 1, 2, 100] {
                let counts: Vec<AtomicUsize> = (0..n_tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.run(n_tasks, &|worker, task| {
                    assert!(worker < n_threads);
                    counts[task].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn every_task_is_handed_out_once_and_workers_keep_their_own() {
        for n_threads in 1..5 {
            let mut pool = Pool::new(NonZeroUsize::new(n_threads).unwrap());
            let mut counts = vec![0; n_threads];
            let mut tasks: Vec<usize> = vec![0; 1000];
            pool.run_each(&mut counts, &mut tasks, |count, number, task| {
                *count += 1;
                *task += number;
            });
            assert_eq!(tasks, (0..1000).collect::<Vec<_>>());
            assert_eq!(counts.iter().sum::<usize>(), 1000);
        }
    }

    #[test]
    fn a_panic_in_a_task_reaches_the_caller_and_the_pool_lives_on() {
        let mut pool = Pool::new(NonZeroUsize::new(3).unwrap());
        let panic = catch_unwind(AssertUnwindSafe(|| pool.run(50, &|_, task| assert!(task != 7))));
        assert!(panic.is_err());
        pool.run(50, &|_, _| ());
    }
}
