//! Hosts as child processes on this machine.
//!
//! Each host leads its own process group, so that a Ctrl-C in the terminal reaches only the control plane, and so
//! that a host's helpers end with it. Hosts outlive a control plane that is killed (they finish their leases and
//! link up again with the next one), hence no parent-death signal.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::HostId;
use protocol::link::{ENV_LINK_TOKEN, ENV_LINK_URL};
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{HostOrder, News, NewsSender, Process, Provisioner};

/// A host that was asked over its link to end has this long to say goodbye to its client.
const GOODBYE: Duration = Duration::from_millis(1_000);

/// From SIGTERM to SIGKILL.
const TERMINATION: Duration = Duration::from_millis(2_000);

/// Lines of a host's log that are kept to explain its end.
const TAIL_LINES: usize = 20;

/// Longest line of a host's log; the rest is cut into further lines.
const LINE_BYTES: u64 = 4_096;

/// Starts hosts with one command.
#[derive(Debug)]
pub struct Local {
    command: Vec<OsString>,
    /// Rung to end a host.
    bells: Arc<Mutex<HashMap<HostId, Arc<Notify>>>>,
}

impl Local {
    /// `command` is the program and its first arguments, such as `belvedere host`.
    pub fn new(command: Vec<OsString>) -> Self {
        Self { command, bells: Arc::default() }
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
    Command::new(program)
        .args(arguments)
        .env(ENV_LINK_URL, &order.link_url)
        .env(ENV_LINK_TOKEN, &order.link_token)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

impl Provisioner for Local {
    fn start(&self, order: HostOrder, news: NewsSender) {
        let host = order.host;
        let bell = self.hang_bell(host);
        let command = self.command.clone();
        tokio::spawn(async move {
            // Not on this thread: a new process takes some milliseconds, more on a busy machine.
            let spawned = tokio::task::spawn_blocking(move || spawn(&command, &order)).await;
            let mut child = match spawned.map_err(std::io::Error::other).flatten() {
                Ok(child) => child,
                Err(error) => {
                    let reason = format!("The host could not be started: {error}.");
                    return news.send(News::Exited { host, reason });
                }
            };
            let process = child.id().and_then(|pid| Some(Process { pid, birth: birth(pid)? }));
            news.send(News::Started { host, process });
            let tail = Tail::default();
            let logs = [
                child.stdout.take().map(|out| tokio::spawn(read_log(host, out, tail.clone()))),
                child.stderr.take().map(|err| tokio::spawn(read_log(host, err, tail.clone()))),
            ];
            let group = child.id().and_then(pid);
            let status = tokio::select! {
                status = child.wait() => status,
                () = bell.rung() => end_child(&mut child, group).await,
            };
            // What a host said last is read even if a helper of it keeps the pipe open.
            for log in logs.into_iter().flatten() {
                let _still_open = timeout(Duration::from_millis(200), log).await.is_err();
            }
            let how = match status {
                Ok(status) => describe(status),
                Err(error) => format!("ended in an unknown way ({error})"),
            };
            let mut reason = format!("The session's host {how}.");
            if let Some(line) = tail.last() {
                reason.push_str(" Its last words: ");
                reason.push_str(&line);
            }
            news.send(News::Exited { host, reason });
        });
    }

    fn adopt(&self, host: HostId, process: Process, news: NewsSender) {
        let bell = self.hang_bell(host);
        tokio::spawn(async move {
            if let Some(watched) = Watched::open(process) {
                tokio::select! {
                    () = watched.gone() => {}
                    () = bell.rung() => watched.end().await,
                }
            }
            let reason = "The session's host ended while or after the service was restarted.".to_owned();
            news.send(News::Exited { host, reason });
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

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nobody panics while holding it; and if, a map of bells is whole after every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn end_child(child: &mut Child, group: Option<Pid>) -> std::io::Result<ExitStatus> {
    if let Ok(status) = timeout(GOODBYE, child.wait()).await {
        return status;
    }
    // Not reaped yet, so the number still names this group.
    signal_group(group, Signal::TERM);
    if let Ok(status) = timeout(TERMINATION, child.wait()).await {
        return status;
    }
    signal_group(group, Signal::KILL);
    child.wait().await
}

fn signal_group(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // An error means that nobody is left to hear it.
        let _gone = rustix::process::kill_process_group(group, signal).is_err();
    }
}

fn pid(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw)
}

/// When the process started, in ticks since boot: field 22 of `/proc/PID/stat`.
fn birth(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses and may hold anything, so count from its end.
    let (_, after_command) = stat.rsplit_once(')')?;
    after_command.split_whitespace().nth(19)?.parse().ok()
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
                signal_group(Some(self.pid), signal);
            }
        }
        self.gone().await;
    }
}

/// The last lines of a log.
#[derive(Clone, Default)]
struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    fn push(&self, line: String) {
        let mut lines = lock(&self.0);
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn last(&self) -> Option<String> {
        lock(&self.0).iter().rev().find(|line| !line.trim().is_empty()).cloned()
    }
}

/// Copies a host's output to our log, line by line.
async fn read_log(host: HostId, output: impl AsyncRead + Unpin, tail: Tail) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut output).take(LINE_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = plain(&String::from_utf8_lossy(&line));
        tracing::info!(target: "belvedere::host", %host, "{text}");
        tail.push(text);
    }
}

/// A log line without colours (`ESC [ … letter`) and other control characters.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut parts = line.split("\u{1b}[");
    text.extend(parts.next());
    for part in parts {
        // Parameters, then one letter.
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, ';' | ':' | '?'));
        text.extend(rest.chars().skip(1));
    }
    text.retain(|c| !c.is_control());
    text.truncate(text.trim_end().len());
    text
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
        Local::new(["sh", "-c", script].map(OsString::from).to_vec())
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
        let (_, reason) = exit_of(&shell("echo one; echo \"$BELVEDERE_LINK_TOKEN\"; exit 3"), order()).await;
        assert_eq!(reason, "The session's host exited with code 3. Its last words: t0ken");
        let (_, reason) = exit_of(&shell("kill -9 $$"), order()).await;
        assert_eq!(reason, "The session's host was killed by signal 9.");
        let (_, reason) = exit_of(&Local::new(vec!["/nonexistent/host".into()]), order()).await;
        assert!(reason.starts_with("The host could not be started: "), "{reason}");
    }

    #[test]
    fn colours_are_taken_off() {
        assert_eq!(
            plain("\u{1b}[2m12:00\u{1b}[0m \u{1b}[38;5;1mWARN\u{1b}[0m \u{7}end \r\n"),
            "12:00 WARN end"
        );
        assert_eq!(plain("[x] \u{1b}["), "[x]");
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
        // The helper was killed at the same time, but a busy machine takes a moment to carry that out; then it may be
        // a zombie until its new parent looks.
        let runs = || {
            let state =
                fs::read_to_string(format!("/proc/{helper}/stat")).unwrap_or_else(|_gone| ") Z".into());
            !state.rsplit_once(')').unwrap().1.trim_start().starts_with(['Z', 'X'])
        };
        let ended = timeout(Duration::from_secs(20), async {
            while runs() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(ended.await.is_ok(), "the helper outlives its host");
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

        let later = Local::new(Vec::new());
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
