//! Hosts as child processes on this machine.
//!
//! Each host leads its own process group, so that a Ctrl-C in the terminal reaches only the control plane, and so
//! that a host's helpers end with it. Hosts outlive a control plane that is killed (they finish their leases and
//! link up again with the next one), hence no parent-death signal.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::HostId;
use protocol::link::{ENV_HOST_MEMORY, ENV_HOST_PRIMITIVES, ENV_HOST_THREADS, ENV_LINK_TOKEN, ENV_LINK_URL};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal};
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::cgroup::{Cgroups, Group};
use super::output::{self, Tail};
use super::{HostOrder, News, NewsSender, Process, Provisioner};
use crate::clock::boot_id;
use crate::sizes::SizeLimits;

/// A host that was asked over its link to end has this long to say goodbye to its client.
const GOODBYE: Duration = Duration::from_millis(1_000);

/// From SIGTERM to SIGKILL.
const TERMINATION: Duration = Duration::from_millis(2_000);

/// How long the end of a host's output is waited for after the end of the host.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// What the standard library says before it aborts for want of memory.
const ALLOCATION_FAILED: &str = "memory allocation of ";

/// Starts hosts with one command.
#[derive(Debug)]
pub struct Local {
    command: Vec<OsString>,
    /// What limits memory; by `RLIMIT_DATA` if there are none.
    cgroups: Option<Cgroups>,
    /// Rung to end a host.
    bells: Arc<Mutex<HashMap<HostId, Arc<Notify>>>>,
}

impl Local {
    /// `command` is the program and its first arguments, such as `belvedere host`. Memory is limited by `cgroups`, or
    /// else by resource limits of each process.
    pub fn new(command: Vec<OsString>, cgroups: Option<Cgroups>) -> Self {
        Self { command, cgroups, bells: Arc::default() }
    }

    fn hang_bell(&self, host: HostId) -> Bell {
        let notify = Arc::new(Notify::new());
        lock(&self.bells).insert(host, Arc::clone(&notify));
        Bell { host, notify, bells: Arc::clone(&self.bells) }
    }
}

fn spawn(command: &[OsString], order: &HostOrder) -> std::io::Result<Child> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| std::io::Error::other("there is no command that starts hosts"))?;
    let limits = &order.limits;
    let number = |n: u64| n.to_string();
    Command::new(program)
        .args(arguments)
        .env(ENV_LINK_URL, &order.link_url)
        .env(ENV_LINK_TOKEN, &order.link_token)
        .env(ENV_HOST_THREADS, limits.n_threads.to_string())
        .env(ENV_HOST_PRIMITIVES, limits.n_primitives_max.map_or_else(String::new, number))
        .env(ENV_HOST_MEMORY, limits.memory_bytes.map_or_else(String::new, number))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// Holds a new host to its limits. It has only just begun, so that next to nothing of what it uses is not counted.
fn confine(
    cgroups: Option<&Cgroups>,
    host: HostId,
    pid: u32,
    limits: &SizeLimits,
) -> std::io::Result<Option<Group>> {
    let group = cgroups.map(|cgroups| cgroups.confine(host, pid, limits)).transpose()?;
    if let (Some(bytes), false) = (limits.memory_bytes, cgroups.is_some_and(Cgroups::limit_memory)) {
        // Not RLIMIT_AS: that counts address space, of which the allocator reserves much that it never uses.
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        rustix::process::prlimit(self::pid(pid), Resource::Data, limit)?;
    }
    Ok(group)
}

impl Provisioner for Local {
    fn start(&self, order: HostOrder, news: NewsSender) {
        let host = order.host;
        let bell = self.hang_bell(host);
        let command = self.command.clone();
        let cgroups = self.cgroups.clone();
        tokio::spawn(async move {
            let (limits, secret) = (order.limits, order.link_token.clone());
            // Not on this thread: a new process takes some milliseconds, more on a busy machine.
            let spawned = tokio::task::spawn_blocking(move || {
                let mut child = spawn(&command, &order)?;
                let confined = match child.id() {
                    Some(pid) => confine(cgroups.as_ref(), host, pid, &order.limits),
                    None => Ok(None),
                };
                if confined.is_err() {
                    // Without limits it could take the whole machine. An error means that it has ended by itself.
                    let _ended = child.start_kill().is_err();
                }
                Ok((child, confined))
            });
            let (mut child, confined) = match spawned.await.map_err(std::io::Error::other).flatten() {
                Ok(spawned) => spawned,
                Err(error) => {
                    let reason = format!("The host could not be started: {error}.");
                    return news.send(News::Exited { host, reason });
                }
            };
            let process = child.id().and_then(|pid| Some(Process { pid, birth: birth(pid)? }));
            news.send(News::Started { host, process });
            let tail = Tail::default();
            let logs = [
                child
                    .stdout
                    .take()
                    .map(|out| tokio::spawn(output::read(host, out, secret.clone(), tail.clone()))),
                child
                    .stderr
                    .take()
                    .map(|err| tokio::spawn(output::read(host, err, secret.clone(), tail.clone()))),
            ];
            let watched = process.and_then(Watched::open);
            tokio::select! {
                () = gone(watched.as_ref(), &mut child) => {}
                () = bell.rung() => end_child(watched.as_ref(), &mut child).await,
            }
            // Its helpers end with it.
            signal_group(&child, Signal::KILL);
            let status = child.wait().await;
            let aborts: Vec<_> = logs.iter().flatten().map(tokio::task::JoinHandle::abort_handle).collect();
            // What a host said last is read even if somebody keeps the pipe open.
            let _still_open = timeout(LAST_WORDS, async {
                for log in logs.into_iter().flatten() {
                    let _aborted = log.await.is_err();
                }
            })
            .await
            .is_err();
            for log in aborts {
                log.abort();
            }
            let (confined, unconfined) = match confined {
                Ok(group) => (group, None),
                Err(error) => (None, Some(error)),
            };
            let words = tail.words();
            let starved = confined.as_ref().is_some_and(Group::ran_out_of_memory)
                || words.as_ref().is_some_and(|words| words.contains(ALLOCATION_FAILED));
            let mut reason = match (&unconfined, limits.memory_bytes, &status) {
                (Some(error), ..) => format!("The host could not be held to its limits: {error}."),
                (None, Some(bytes), _) if starved => format!(
                    "The session's host reached the memory limit of its size, {} MiB, and ended. Use a session of a \
                     larger size or a smaller model, or let the operator raise the limit.",
                    bytes >> 20
                ),
                (_, _, Ok(status)) => format!("The session's host {}.", describe(*status)),
                (_, _, Err(error)) => format!("The session's host ended in an unknown way ({error})."),
            };
            if let Some(words) = words {
                reason.push_str(" Its last words: ");
                reason.push_str(&words);
            }
            if let Some(group) = confined {
                group.remove().await;
            }
            news.send(News::Exited { host, reason });
        });
    }

    fn adopt(&self, host: HostId, process: Process, news: NewsSender) {
        let bell = self.hang_bell(host);
        let group = self.cgroups.as_ref().map(|cgroups| cgroups.group(host));
        tokio::spawn(async move {
            if let Some(watched) = Watched::open(process) {
                tokio::select! {
                    () = watched.gone() => {}
                    () = bell.rung() => watched.end().await,
                }
            }
            let starved = group.as_ref().is_some_and(Group::ran_out_of_memory);
            let reason = match starved {
                true => "The session's host reached the memory limit of its size and was killed.",
                false => "The session's host ended while or after the service was restarted.",
            };
            if let Some(group) = group {
                group.remove().await;
            }
            news.send(News::Exited { host, reason: reason.to_owned() });
        });
    }

    fn end(&self, host: HostId) {
        if let Some(bell) = lock(&self.bells).get(&host) {
            bell.notify_one();
        }
    }
}

/// Hangs as long as a host is watched.
struct Bell {
    host: HostId,
    notify: Arc<Notify>,
    bells: Arc<Mutex<HashMap<HostId, Arc<Notify>>>>,
}

impl Bell {
    async fn rung(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        lock(&self.bells).remove(&self.host);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nobody panics while holding it; and if, what is in there is whole after every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for the end of a child without reaping it, if that is possible.
async fn gone(watched: Option<&Watched>, child: &mut Child) {
    match watched {
        Some(watched) => watched.gone().await,
        // Reaped at once; `wait` can be asked again.
        None => {
            let _unknown = child.wait().await.is_err();
        }
    }
}

async fn end_child(watched: Option<&Watched>, child: &mut Child) {
    for (grace, signal) in [(GOODBYE, Signal::TERM), (TERMINATION, Signal::KILL)] {
        if timeout(grace, gone(watched, child)).await.is_ok() {
            return;
        }
        signal_group(child, signal);
    }
    gone(watched, child).await;
}

fn signal_group(leader: &Child, signal: Signal) {
    // A child that was reaped has no number any more; until then the number names its group and no other.
    if let Some(group) = leader.id().and_then(pid) {
        // An error means that nobody is left to hear it.
        let _gone = rustix::process::kill_process_group(group, signal).is_err();
    }
}

fn pid(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw)
}

/// When the process started: field 22 of `/proc/PID/stat`, ticks since boot, and mixed with that which boot it was, so
/// that no process after a restart of the machine is taken for one from before.
fn birth(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses and may hold anything, so count from its end.
    let (_, after_command) = stat.rsplit_once(')')?;
    let ticks: u64 = after_command.split_whitespace().nth(19)?.parse().ok()?;
    let boot: String = boot_id().chars().filter(char::is_ascii_hexdigit).take(16).collect();
    Some(ticks ^ u64::from_str_radix(&boot, 16).unwrap_or(0))
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// A process that is not our child.
struct Watched {
    pid: Pid,
    fd: AsyncFd<OwnedFd>,
}

impl Watched {
    fn open(process: Process) -> Option<Self> {
        let pid = pid(process.pid)?;
        let fd = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
        // Checked after opening: from here on the descriptor names this process even if the number is reused.
        (birth(process.pid) == Some(process.birth)).then_some(())?;
        #[expect(deprecated, reason = "its fault is with types that may close early; an OwnedFd stays open")]
        let fd = AsyncFd::new(fd).ok()?;
        Some(Self { pid, fd })
    }

    /// A pidfd is readable when its process has ended.
    async fn gone(&self) {
        let _unwatchable = self.fd.readable().await.is_err();
    }

    async fn end(&self) {
        for (grace, signal) in [(GOODBYE, Signal::TERM), (TERMINATION, Signal::KILL)] {
            if timeout(grace, self.gone()).await.is_ok() {
                return;
            }
            if rustix::process::pidfd_send_signal(self.fd.get_ref(), signal).is_ok() {
                // Its helpers too. The number cannot have been reused: the process was there just now.
                let _gone = rustix::process::kill_process_group(self.pid, signal).is_err();
            }
        }
        self.gone().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sizes::{Machine, Sizes};
    use protocol::rest::SessionSize;
    use tokio::sync::mpsc;
    use uuid::Uuid;

    fn order() -> HostOrder {
        HostOrder {
            host: HostId::new(Uuid::new_v4()),
            size: SessionSize::Standard,
            limits: *Sizes::for_machine(&Machine::detect()).of(SessionSize::Standard),
            link_url: "ws://127.0.0.1:9/".into(),
            link_token: "t0ken".into(),
        }
    }

    fn shell(script: &str) -> Local {
        Local::new(["sh", "-c", script].map(OsString::from).to_vec(), None)
    }

    async fn exit_of(local: &Local, order: HostOrder) -> (Option<Process>, String) {
        let (sender, mut news) = mpsc::unbounded_channel();
        local.start(order, NewsSender(sender));
        let mut process = None;
        loop {
            match news.recv().await.unwrap() {
                News::Started { process: started, .. } => process = started,
                News::Exited { reason, .. } => return (process, reason),
            }
        }
    }

    #[tokio::test]
    async fn the_end_of_a_host_is_told_with_its_last_words() {
        let script = "for n in 1 2 3 4 5; do echo $n; done; echo \"at $BELVEDERE_LINK_TOKEN.\"; exit 3";
        let (_, reason) = exit_of(&shell(script), order()).await;
        let words = "2 | 3 | 4 | 5 | at (secret).";
        assert_eq!(reason, format!("The session's host exited with code 3. Its last words: {words}"));
        let (_, reason) = exit_of(&shell("kill -9 $$"), order()).await;
        assert_eq!(reason, "The session's host was killed by signal 9.");
        let (_, reason) = exit_of(&Local::new(vec!["/nonexistent/host".into()], None), order()).await;
        assert!(reason.starts_with("The host could not be started: "), "{reason}");
    }

    #[tokio::test]
    async fn helpers_end_with_a_host_that_crashes() {
        let local = shell("sleep 600 & echo $!; kill -9 $$");
        let (_, reason) = exit_of(&local, order()).await;
        assert!(reason.starts_with("The session's host was killed by signal 9."), "{reason}");
        let helper: u32 = reason.rsplit(' ').next().unwrap().parse().unwrap();
        ends(helper).await;
    }

    /// This program, started again as a host that takes memory until it has a GiB.
    #[test]
    #[ignore = "is started by other tests"]
    fn eats_memory() {
        if std::env::var_os(ENV_HOST_MEMORY).is_none() {
            return;
        }
        let mut eaten: Vec<Vec<u8>> = Vec::new();
        while eaten.len() < 256 {
            eaten.push(vec![1; 4 << 20]);
        }
        println!("{} MiB and no limit", eaten.len() * 4);
    }

    fn eater(cgroups: Option<Cgroups>) -> (Local, HostOrder) {
        let test = "provision::local::tests::eats_memory";
        let exe = std::env::current_exe().unwrap();
        let command = [
            exe.as_os_str(),
            test.as_ref(),
            "--exact".as_ref(),
            "--ignored".as_ref(),
            "--nocapture".as_ref(),
        ];
        let mut order = order();
        order.limits.memory_bytes = Some(256 << 20);
        (Local::new(command.map(OsString::from).to_vec(), cgroups), order)
    }

    #[tokio::test]
    async fn memory_is_limited_by_resource_limits() {
        let (local, order) = eater(None);
        let (_, reason) = exit_of(&local, order).await;
        assert!(reason.contains("reached the memory limit of its size, 256 MiB"), "{reason}");
        assert!(reason.contains("or let the operator raise the limit"), "{reason}");
    }

    /// A cgroup of our own for a test, removed at its end.
    struct Base(std::path::PathBuf);

    impl Base {
        fn new() -> Option<Self> {
            let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
            let at = mounts.lines().find_map(|line| {
                let mut fields = line.split(' ').skip(1);
                let at = fields.next()?;
                (fields.next()? == "cgroup2").then_some(at)
            })?;
            let base = std::path::Path::new(at).join(format!("belvedere-test-{}", Uuid::new_v4()));
            fs::create_dir(&base).ok()?;
            Some(Self(base))
        }

        fn groups(&self) -> usize {
            fs::read_dir(&self.0).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
        }
    }

    impl Drop for Base {
        fn drop(&mut self) {
            fs::remove_dir(&self.0).unwrap();
        }
    }

    #[tokio::test]
    async fn a_host_ends_with_its_cgroup_and_whoever_is_in_it() {
        let Some(base) = Base::new() else {
            return println!("SKIPPED: no writable cgroups of version 2 here");
        };
        let cgroups = Cgroups::at(&base.0).unwrap();
        // A host has no helpers in its first millisecond, when it is not in its group yet; nor has this.
        let script =
            "until grep ^0::.*host- /proc/self/cgroup; do :; done; setsid sleep 600 & echo $!; exit 4";
        let command = ["sh", "-c", script];
        let local = Local::new(command.map(OsString::from).to_vec(), Some(cgroups.clone()));
        let order = order();
        let host = order.host;
        let (_, reason) = exit_of(&local, order).await;
        assert!(reason.contains("exited with code 4"), "{reason}");
        assert!(reason.contains(&format!("/host-{host}")), "it was in its group: {reason}");
        let helper =
            reason.split(&[' ', '|']).find_map(|word| word.parse::<u32>().ok().filter(|n| *n > 9)).unwrap();
        // It left the process group, but not the cgroup.
        ends(helper).await;
        assert_eq!(base.groups(), 0, "the host's group is gone");
        if !cgroups.limit_memory() {
            return println!("SKIPPED: memory limits by cgroup: no memory controller of version 2 here");
        }
        let (local, order) = eater(Some(cgroups));
        let (_, reason) = exit_of(&local, order).await;
        assert!(reason.contains("reached the memory limit of its size, 256 MiB"), "{reason}");
        assert_eq!(base.groups(), 0);
    }

    /// Waits until a process that is not our child runs no more. A busy machine takes a moment to carry a kill out;
    /// then it may be a zombie until its new parent looks.
    async fn ends(pid: u32) {
        let runs = || {
            let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_else(|_gone| ") Z".into());
            !state.rsplit_once(')').unwrap().1.trim_start().starts_with(['Z', 'X'])
        };
        let ended = timeout(Duration::from_secs(20), async {
            while runs() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(ended.await.is_ok(), "{pid} outlives its host");
    }

    #[tokio::test]
    async fn a_deaf_host_is_killed_with_its_helpers() {
        let local = shell("trap '' TERM; sleep 600 & echo $!; wait; sleep 600");
        let order = order();
        let host = order.host;
        let (sender, mut news) = mpsc::unbounded_channel();
        local.start(order, NewsSender(sender));
        let Some(News::Started { process: Some(process), .. }) = news.recv().await else {
            panic!("not started")
        };
        local.end(host);
        let Some(News::Exited { reason, .. }) = news.recv().await else { panic!("not ended") };
        assert!(reason.starts_with("The session's host was killed by signal 9."), "{reason}");
        assert_eq!(birth(process.pid), None, "the host is reaped");
        let helper: u32 = reason.rsplit(' ').next().unwrap().parse().unwrap();
        ends(helper).await;
    }

    #[tokio::test]
    async fn a_stranger_with_the_same_pid_is_not_adopted() {
        let local = shell("sleep 600");
        let order = order();
        let host = order.host;
        let (sender, mut news) = mpsc::unbounded_channel();
        local.start(order, NewsSender(sender));
        let Some(News::Started { process: Some(process), .. }) = news.recv().await else {
            panic!("not started")
        };

        let later = Local::new(Vec::new(), None);
        let adopted = HostId::new(Uuid::new_v4());
        let (sender, mut later_news) = mpsc::unbounded_channel();
        let stranger = Process { birth: process.birth + 1, ..process };
        later.adopt(adopted, stranger, NewsSender(sender.clone()));
        assert!(matches!(later_news.recv().await, Some(News::Exited { .. })));
        assert!(birth(process.pid).is_some(), "the stranger lives");

        later.adopt(adopted, process, NewsSender(sender));
        tokio::task::yield_now().await;
        later.end(adopted);
        assert!(matches!(later_news.recv().await, Some(News::Exited { host, .. }) if host == adopted));
        assert!(matches!(news.recv().await, Some(News::Exited { host: ended, .. }) if ended == host));
    }
}
