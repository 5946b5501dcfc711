//! The audit log: who did what, as lines of JSON in the data folder.
//!
//! ```text
//!   http: a Record per change, token and refusal ──▶ queue (bounded) ──▶ one thread: write, fsync, rotate
//! ```
//!
//! A record is on disk some milliseconds after its answer: one fsync for all that came in meanwhile. A process that is
//! killed loses what is still queued; a machine that loses power no more than that. Whatever goes wrong with the log
//! (no space, a full queue) is counted, shown in the metrics and logged; the service goes on.
//!
//! `audit.jsonl` is the newest file; at its limit it becomes `audit.1.jsonl`, and so on up to the number that is kept.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;

use protocol::AccountId;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{mpsc, oneshot};

use crate::files::make_private_folder;
use crate::tokens::Role;

/// Records on their way to the disk, some 400 bytes each.
const QUEUE: usize = 4_096;

/// Records that share one fsync.
const BATCH: usize = 1_024;

/// How much the log may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditLimits {
    /// Size of one file; a record more may fit in.
    pub file_bytes: u64,
    /// Files that are kept; 0 writes none.
    pub n_files: u32,
}

impl AuditLimits {
    /// Some 300,000 records.
    pub const DEFAULT: Self = Self { file_bytes: 16 << 20, n_files: 8 };
}

/// Who asks, and how that was proved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Actor {
    /// Nobody that we know.
    Nobody,
    /// One of an account's keys.
    AccountKey { account: AccountId },
    /// An access token of ours.
    AccessToken { account: AccountId, role: Role },
    /// A token of a configured issuer.
    Issuer { account: AccountId, role: Role, issuer: String, subject: Option<String> },
    /// The management token.
    ManagementToken,
    /// Who may read and write the data folder, by the command line; the system's user number.
    DataFolder { uid: u32 },
}

impl Actor {
    /// The account that it may act for.
    pub(crate) fn account(&self) -> Option<AccountId> {
        match self {
            Self::AccountKey { account }
            | Self::AccessToken { account, .. }
            | Self::Issuer { account, .. } => Some(*account),
            Self::Nobody | Self::ManagementToken | Self::DataFolder { .. } => None,
        }
    }
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Outcome {
    /// Done.
    Done,
    /// The client may not, or asked for what cannot be.
    Refused,
    /// The service could not.
    Failed,
}

/// One line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) time: String,
    pub(crate) actor: Actor,
    /// What was wanted, such as `session.create`.
    pub(crate) action: &'static str,
    /// On what: the address's path, for those who are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
    pub(crate) outcome: Outcome,
    /// The answer's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// As the answer's `MS-CV` has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) correlation_vector: Option<String>,
    /// Where the connection came from; a proxy, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remote: Option<IpAddr>,
}

/// `wall` as the log has it.
pub(crate) fn timestamp(wall: OffsetDateTime) -> String {
    wall.format(&Rfc3339).unwrap_or_default()
}

/// How the log is doing.
#[derive(Debug, Default)]
pub(crate) struct Health {
    pub(crate) n_written: AtomicU64,
    pub(crate) n_lost: AtomicU64,
    failing: AtomicBool,
}

impl Health {
    /// Logs a change for the worse or the better, once.
    fn note(&self, failed: Option<&io::Error>) {
        match (failed, self.failing.swap(failed.is_some(), Relaxed)) {
            (Some(error), false) => {
                tracing::error!(%error, "the audit log cannot be written; records are lost")
            }
            (None, true) => tracing::warn!("the audit log can be written again"),
            (Some(_), true) | (None, false) => {}
        }
    }

    fn lose(&self, n: u64) {
        self.n_lost.fetch_add(n, Relaxed);
    }
}

/// What goes through the queue.
#[derive(Debug)]
enum Item {
    Record(Box<Record>),
    /// Answered when everything before it is on disk.
    Flush(oneshot::Sender<()>),
}

/// Takes records. The thread behind it ends when this is dropped and everything is written.
#[derive(Debug)]
pub(crate) struct Audit {
    queue: Option<mpsc::Sender<Item>>,
    pub(crate) health: Arc<Health>,
    thread: Option<JoinHandle<()>>,
}

impl Audit {
    /// Opens the log in `dir`, a folder of its own.
    ///
    /// # Errors
    ///
    /// If it cannot be written at the start: an operator should know then.
    pub(crate) fn open(dir: &Path, limits: AuditLimits) -> io::Result<Self> {
        let health = Arc::new(Health::default());
        if limits.n_files == 0 {
            return Ok(Self { queue: None, health, thread: None });
        }
        make_private_folder(dir)?;
        let mut files = Files { dir: dir.to_owned(), limits, newest: None };
        files.newest()?;
        let (queue, records) = mpsc::channel(QUEUE);
        let thread = {
            let health = Arc::clone(&health);
            std::thread::Builder::new()
                .name("audit".to_owned())
                .spawn(move || write(records, files, &health))?
        };
        Ok(Self { queue: Some(queue), health, thread: Some(thread) })
    }

    /// Queues a record; returns at once.
    pub(crate) fn write(&self, record: Record) {
        if let Some(queue) = &self.queue
            && queue.try_send(Item::Record(Box::new(record))).is_err()
        {
            self.health.lose(1);
            self.health.note(Some(&io::Error::other("more comes in than the disk takes")));
        }
    }
}

impl Audit {
    /// Returns when everything that was queued is on disk, or given up.
    pub(crate) async fn flush(&self) {
        let (reply, done) = oneshot::channel();
        if let Some(queue) = &self.queue
            && queue.send(Item::Flush(reply)).await.is_ok()
        {
            let _thread_gone = done.await.is_err();
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the audit log panicked");
        }
    }
}

/// Appends one record from another process, while a service may run on the folder or not.
pub(crate) fn append(dir: &Path, record: &Record) -> io::Result<()> {
    make_private_folder(dir)?;
    let mut file = open(&dir.join(NEWEST))?;
    file.write_all(&line(record))?;
    file.sync_data()
}

const NEWEST: &str = "audit.jsonl";

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn line(record: &Record) -> Vec<u8> {
    // Plain data with string keys: writing it as JSON cannot fail.
    let mut line = serde_json::to_vec(record).unwrap_or_default();
    line.push(b'\n');
    line
}

fn write(mut items: mpsc::Receiver<Item>, mut files: Files, health: &Health) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        if items.blocking_recv_many(&mut batch, BATCH) == 0 {
            return;
        }
        let (mut lines, mut n_records, mut flushes) = (Vec::new(), 0, Vec::new());
        for item in batch.drain(..) {
            match item {
                Item::Record(record) => {
                    lines.extend(line(&record));
                    n_records += 1;
                }
                Item::Flush(reply) => flushes.push(reply),
            }
        }
        let written = if n_records > 0 { files.append(&lines) } else { Ok(()) };
        match &written {
            Ok(()) => _ = health.n_written.fetch_add(n_records, Relaxed),
            Err(_) => {
                health.lose(n_records);
                // Perhaps it can be opened anew.
                files.newest = None;
            }
        }
        if n_records > 0 {
            health.note(written.err().as_ref());
        }
        for reply in flushes {
            let _nobody_waits = reply.send(()).is_err();
        }
    }
}

/// The files of the log.
struct Files {
    dir: PathBuf,
    limits: AuditLimits,
    newest: Option<File>,
}

impl Files {
    fn newest(&mut self) -> io::Result<&mut File> {
        let file = match self.newest.take() {
            Some(file) => file,
            None => open(&self.dir.join(NEWEST))?,
        };
        Ok(self.newest.insert(file))
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let limit = self.limits.file_bytes;
        let file = self.newest()?;
        file.write_all(lines)?;
        file.sync_data()?;
        if file.metadata()?.len() >= limit {
            self.newest = None;
            self.rotate()?;
        }
        Ok(())
    }

    fn rotate(&self) -> io::Result<()> {
        let path = |age: u32| match age {
            0 => self.dir.join(NEWEST),
            age => self.dir.join(format!("audit.{age}.jsonl")),
        };
        for age in (0..self.limits.n_files).rev() {
            let moved = if age + 1 == self.limits.n_files {
                std::fs::remove_file(path(age))
            } else {
                std::fs::rename(path(age), path(age + 1))
            };
            moved
                .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: usize) -> Record {
        Record {
            time: timestamp(OffsetDateTime::UNIX_EPOCH),
            actor: Actor::ManagementToken,
            action: "session.create",
            target: Some(format!("/{n}")),
            outcome: Outcome::Done,
            status: Some(201),
            correlation_vector: None,
            remote: None,
        }
    }

    fn targets(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let values = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        values.map(|value| value["target"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn everything_is_written_before_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(dir.path(), AuditLimits::DEFAULT).unwrap();
        (0..1_000).for_each(|n| audit.write(record(n)));
        append(dir.path(), &record(5_000)).unwrap();
        let health = Arc::clone(&audit.health);
        drop(audit);
        assert_eq!(targets(&dir.path().join(NEWEST)).len(), 1_001);
        assert_eq!((health.n_written.load(Relaxed), health.n_lost.load(Relaxed)), (1_000, 0));
    }

    #[test]
    fn files_have_a_size_and_a_number() {
        let dir = tempfile::tempdir().unwrap();
        let limits = AuditLimits { file_bytes: 1_000, n_files: 3 };
        let mut files = Files { dir: dir.path().to_owned(), limits, newest: None };
        (0..100).for_each(|n| files.append(&line(&record(n))).unwrap());
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert!(names.len() <= 3, "{names:?}");
        let kept: Vec<String> = ["audit.2.jsonl", "audit.1.jsonl", NEWEST]
            .iter()
            .flat_map(|name| targets(&dir.path().join(name)))
            .collect();
        let expected: Vec<String> = (100 - kept.len()..100).map(|n| format!("/{n}")).collect();
        assert_eq!(kept, expected, "the newest are kept, in order");
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            assert!(entry.unwrap().metadata().unwrap().len() < 1_500);
        }
    }

    #[test]
    fn a_log_that_cannot_be_written_is_counted_and_taken_up_again() {
        let dir = tempfile::tempdir().unwrap();
        let health = Health::default();
        let (queue, records) = mpsc::channel(4);
        let gone = dir.path().join("gone");
        let files = Files { dir: gone.clone(), limits: AuditLimits::DEFAULT, newest: None };
        queue.try_send(Item::Record(Box::new(record(0)))).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| write(records, files, &health));
            while health.n_lost.load(Relaxed) == 0 {
                std::thread::yield_now();
            }
            std::fs::create_dir(&gone).unwrap();
            queue.try_send(Item::Record(Box::new(record(1)))).unwrap();
            drop(queue);
        });
        assert_eq!(targets(&gone.join(NEWEST)), ["/1"]);
        assert_eq!((health.n_written.load(Relaxed), health.n_lost.load(Relaxed)), (1, 1));
    }
}
