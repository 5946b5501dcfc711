//! What must outlive the process, in one SQLite file.
//!
//! Each write is one statement, which SQLite runs as a transaction of its own: it takes the lock for writing before it
//! reads anything (as `BEGIN IMMEDIATE` does) and is done or undone as a whole. Sessions are written by the engine alone,
//! as many in one statement as wait; accounts as resources take several statements in a transaction (`management`).
//! What a write returned survives a power cut (WAL, `synchronous = FULL`). Everybody reads.

mod errors;
pub(crate) mod management;
mod sessions;

use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use protocol::rest::{Error, SessionSize, SessionStatus};
use protocol::{AccountId, HostId, SessionId};
use serde::Serialize;
use session::{Minutes, Snapshot, Timestamp};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Row};

use crate::secrets::SecretHash;
pub use errors::StoreError;
pub(crate) use sessions::SessionStore;
#[cfg(test)]
pub(crate) use sessions::Stored;

/// The database.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    /// One connection: SQLite has one writer at a time, and whoever waits for another waits in turn.
    writer: SqlitePool,
    /// They do not wait for the writer.
    readers: SqlitePool,
    written: Arc<Written>,
}

/// Connections that read. Each has a thread and some hundred KiB of cached pages.
const N_READERS: u32 = 4;

/// What was written since the start.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// Commits of sessions that passed.
    pub(crate) n_commits: AtomicU64,
    /// Sessions in them.
    pub(crate) n_rows: AtomicU64,
    /// How long they took together.
    pub(crate) micros: AtomicU64,
    /// Commits that failed.
    pub(crate) n_failures: AtomicU64,
    /// Whether the newest one did.
    failing: AtomicBool,
}

/// A tenant with its two keys. Its `Debug` form shows no keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name for programs.
    pub id: AccountId,
    /// Its name for people.
    pub name: String,
    /// One key.
    pub primary_key: String,
    /// The other; both are valid at once, so that one can be replaced at a time.
    pub secondary_key: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// A key that signs access tokens.
pub(crate) struct StoredSigningKey {
    pub(crate) id: String,
    pub(crate) pkcs8: Vec<u8>,
    pub(crate) created_at: Timestamp,
}

/// Everything that is kept of a session.
#[derive(Clone, Debug)]
pub(crate) struct StoredSession {
    pub(crate) account: AccountId,
    pub(crate) id: SessionId,
    pub(crate) seq: i64,
    pub(crate) creation_time: String,
    pub(crate) size: SessionSize,
    pub(crate) requested: Minutes,
    pub(crate) model: Option<String>,
    pub(crate) life: Snapshot,
    pub(crate) host: Option<StoredHost>,
}

/// The host that serves a session.
#[derive(Clone, Debug)]
pub(crate) struct StoredHost {
    pub(crate) id: HostId,
    pub(crate) secret_hash: SecretHash,
    /// Of its one-time token, until it is known to have the secret.
    pub(crate) token_hash: Option<SecretHash>,
    pub(crate) process: Option<Process>,
}

/// A process, named so that a reused pid is not mistaken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process id, and id of the process group.
    pub pid: u32,
    /// Start time in the kernel's ticks since boot, mixed with the boot's id.
    pub birth: u64,
}

/// The steps of the schema, in order. Released ones never change.
pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long a write waits for one of another program, such as `belvedere account`, which takes milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

impl Store {
    /// Opens the file, makes it if needed, and brings its schema up to date.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        // It holds keys. SQLite gives its other files the rights of this one.
        make_private(path).map_err(sqlx::Error::Io)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        let pool = |n_connections_max| {
            SqlitePoolOptions::new()
                .max_connections(n_connections_max)
                // A file does not hang up, and asking whether it did would take as long as the query.
                .test_before_acquire(false)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        let writer = pool(1).connect_with(options.clone()).await?;
        let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
        MIGRATIONS.run(&writer).await.map_err(|error| StoreError::of_migration(error, known))?;
        let readers = pool(N_READERS).connect_with(options).await?;
        Ok(Self { writer, readers, written: Arc::default() })
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Whether the database can be read, and took what was last written.
    pub(crate) async fn works(&self) -> bool {
        !self.written.failing.load(Relaxed)
            && sqlx::query("SELECT 1 FROM accounts LIMIT 1").fetch_optional(&self.readers).await.is_ok()
    }

    /// What was written since the start.
    pub(crate) fn written(&self) -> &Written {
        &self.written
    }

    /// Stores all of `sessions`, or none.
    pub(crate) async fn save(&self, sessions: &[StoredSession]) -> Result<(), StoreError> {
        let began = Instant::now();
        let saved = self.commit(sessions).await;
        self.written.failing.store(saved.is_err(), Relaxed);
        match saved {
            Ok(()) => {
                let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.written.n_commits.fetch_add(1, Relaxed);
                self.written.n_rows.fetch_add(sessions.len() as u64, Relaxed);
                self.written.micros.fetch_add(took, Relaxed);
            }
            Err(_) => {
                self.written.n_failures.fetch_add(1, Relaxed);
            }
        }
        saved
    }

    async fn commit(&self, sessions: &[StoredSession]) -> Result<(), StoreError> {
        let rows: Vec<SessionRow<'_>> = sessions.iter().map(SessionRow::of).collect();
        // Strings and numbers always serialise.
        let rows = serde_json::to_string(&rows).unwrap_or_default();
        sqlx::query(SAVE).bind(rows).execute(&self.writer).await?;
        Ok(())
    }

    /// The session of that name, live or ended.
    pub(crate) async fn session(
        &self,
        account: AccountId,
        id: &SessionId,
    ) -> Result<Option<StoredSession>, StoreError> {
        sqlx::query("SELECT * FROM sessions WHERE account = ? AND id = ?")
            .bind(account.to_string())
            .bind(id.as_str())
            .fetch_optional(&self.readers)
            .await?
            .as_ref()
            .map(session_of)
            .transpose()
    }

    /// The sessions that have one of these names, live or ended, in any order.
    pub(crate) async fn sessions_named(
        &self,
        names: &[(AccountId, SessionId)],
    ) -> Result<Vec<StoredSession>, StoreError> {
        let names: Vec<(String, &str)> =
            names.iter().map(|(account, id)| (account.to_string(), id.as_str())).collect();
        // Strings always serialise.
        let names = serde_json::to_string(&names).unwrap_or_default();
        // One statement for any number of names. CROSS JOIN keeps the order of the loops: each name is looked up.
        let rows = sqlx::query(
            "SELECT sessions.* FROM json_each(?) AS name CROSS JOIN sessions \
             ON account = name.value ->> 0 AND sessions.id = name.value ->> 1",
        )
        .bind(names)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(session_of).collect()
    }

    /// The sessions that had not ended, oldest first.
    pub(crate) async fn live_sessions(&self) -> Result<Vec<StoredSession>, StoreError> {
        let rows = sqlx::query("SELECT * FROM sessions WHERE ended_at IS NULL ORDER BY seq")
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(session_of).collect()
    }

    /// The highest `seq` in use.
    pub(crate) async fn last_seq(&self) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM sessions").fetch_one(&self.readers).await?)
    }

    /// Forgets sessions that ended before `before`.
    pub(crate) async fn forget_ended(&self, before: Timestamp) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM sessions WHERE ended_at < ?")
            .bind(to_integer(before))
            .execute(&self.writer)
            .await?;
        Ok(done.rows_affected())
    }

    pub(crate) async fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        sqlx::query("SELECT * FROM accounts WHERE id = ?")
            .bind(id.to_string())
            .fetch_optional(&self.readers)
            .await?
            .as_ref()
            .map(account_of)
            .transpose()
    }

    /// All accounts, oldest first.
    pub(crate) async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM accounts ORDER BY created_at, id").fetch_all(&self.readers).await?;
        rows.iter().map(account_of).collect()
    }

    pub(crate) async fn put_account(&self, account: &Account, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO accounts (id, name, primary_key, secondary_key, created_at) VALUES (?, ?, ?, ?, ?) \
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, primary_key = excluded.primary_key, \
             secondary_key = excluded.secondary_key",
        )
        .bind(account.id.to_string())
        .bind(&account.name)
        .bind(&account.primary_key)
        .bind(&account.secondary_key)
        .bind(to_integer(now))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// The keys that sign access tokens, newest first.
    pub(crate) async fn signing_keys(&self) -> Result<Vec<StoredSigningKey>, StoreError> {
        let rows = sqlx::query("SELECT id, pkcs8, created_at FROM signing_keys ORDER BY created_at DESC, id")
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(signing_key_of).collect()
    }

    pub(crate) async fn add_signing_key(&self, key: &StoredSigningKey) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO signing_keys (id, pkcs8, created_at) VALUES (?, ?, ?)")
            .bind(&key.id)
            .bind(&key.pkcs8)
            .bind(to_integer(key.created_at))
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Removes the keys that were made before `before`, except the newest of all.
    pub(crate) async fn forget_signing_keys(&self, before: Timestamp) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM signing_keys WHERE created_at < min(?, (SELECT max(created_at) FROM signing_keys))",
        )
        .bind(to_integer(before))
        .execute(&self.writer)
        .await?;
        Ok(())
    }
}

/// Stores sessions, given as JSON: an array of [`SessionRow`]s.
const SAVE: &str = "INSERT INTO sessions (account, id, seq, creation_time, size, requested_minutes, model, status, \
     lease_minutes, ready_at, ended_at, error, host, host_secret_hash, host_pid, host_birth, \
     host_token_hash) SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, \
     value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, unhex(value ->> 13), value ->> 14, value ->> 15, \
     unhex(value ->> 16) FROM json_each(?) WHERE TRUE \
     ON CONFLICT (account, id) DO UPDATE SET seq = excluded.seq, creation_time = excluded.creation_time, \
     size = excluded.size, requested_minutes = excluded.requested_minutes, model = excluded.model, \
     status = excluded.status, \
     lease_minutes = excluded.lease_minutes, ready_at = excluded.ready_at, ended_at = excluded.ended_at, \
     error = excluded.error, host = excluded.host, host_secret_hash = excluded.host_secret_hash, \
     host_pid = excluded.host_pid, host_birth = excluded.host_birth, host_token_hash = excluded.host_token_hash";

/// The columns of a session, in the order of [`SAVE`].
#[derive(Serialize)]
struct SessionRow<'a>(
    String,
    &'a str,
    i64,
    &'a str,
    &'static str,
    u32,
    Option<&'a str>,
    &'static str,
    u32,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<u32>,
    Option<i64>,
    Option<String>,
);

impl<'a> SessionRow<'a> {
    fn of(session: &'a StoredSession) -> Self {
        let life = &session.life;
        let host = session.host.as_ref();
        let process = host.and_then(|host| host.process);
        Self(
            session.account.to_string(),
            session.id.as_str(),
            session.seq,
            &session.creation_time,
            session.size.as_str(),
            session.requested.get(),
            session.model.as_deref(),
            life.status.as_str(),
            life.lease.get(),
            life.ready_at.map(to_integer),
            life.ended_at.map(to_integer),
            life.error.as_ref().and_then(|error| serde_json::to_string(error).ok()),
            host.map(|host| host.id.to_string()),
            host.map(|host| host.secret_hash.to_hex()),
            process.map(|process| process.pid),
            process.map(|process| process.birth.cast_signed()),
            host.and_then(|host| Some(host.token_hash?.to_hex())),
        )
    }
}

/// Makes the file if needed, and takes it from all but its owner.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))
}

fn to_integer(at: Timestamp) -> i64 {
    i64::try_from(at.as_micros()).unwrap_or(i64::MAX)
}

fn from_integer(micros: i64) -> Timestamp {
    Timestamp::from_micros(u64::try_from(micros).unwrap_or(0))
}

fn parsed<T: FromStr>(row: &SqliteRow, column: &'static str) -> Result<T, StoreError> {
    let text: String = row.try_get(column)?;
    text.parse().map_err(|_odd| StoreError::Impossible(column))
}

fn minutes(row: &SqliteRow, column: &'static str) -> Result<Minutes, StoreError> {
    Minutes::new(row.try_get(column)?).map_err(|_too_long| StoreError::Impossible(column))
}

pub(crate) fn account_of(row: &SqliteRow) -> Result<Account, StoreError> {
    Ok(Account {
        id: parsed(row, "id")?,
        name: row.try_get("name")?,
        primary_key: row.try_get("primary_key")?,
        secondary_key: row.try_get("secondary_key")?,
    })
}

pub(crate) fn signing_key_of(row: &SqliteRow) -> Result<StoredSigningKey, StoreError> {
    Ok(StoredSigningKey {
        id: row.try_get("id")?,
        pkcs8: row.try_get("pkcs8")?,
        created_at: from_integer(row.try_get("created_at")?),
    })
}

pub(crate) fn session_of(row: &SqliteRow) -> Result<StoredSession, StoreError> {
    let size: String = row.try_get("size")?;
    let status: String = row.try_get("status")?;
    let error: Option<String> = row.try_get("error")?;
    let error: Option<Error> = error
        .map(|json| serde_json::from_str(&json))
        .transpose()
        .map_err(|_odd| StoreError::Impossible("error"))?;
    let secret_hash: Option<Vec<u8>> = row.try_get("host_secret_hash")?;
    let host = secret_hash.as_deref().and_then(SecretHash::from_bytes);
    let host = host
        .map(|secret_hash| {
            let pid: Option<u32> = row.try_get("host_pid")?;
            let birth: Option<i64> = row.try_get("host_birth")?;
            let process = pid.zip(birth).map(|(pid, birth)| Process { pid, birth: birth.cast_unsigned() });
            // A file that is only looked at may be older than the column.
            let token_hash: Option<Vec<u8>> = match row.try_get("host_token_hash") {
                Err(sqlx::Error::ColumnNotFound(_)) => None,
                read => read?,
            };
            let token_hash = token_hash.as_deref().and_then(SecretHash::from_bytes);
            Ok::<_, StoreError>(StoredHost { id: parsed(row, "host")?, secret_hash, token_hash, process })
        })
        .transpose()?;
    let status = [
        SessionStatus::Starting,
        SessionStatus::Ready,
        SessionStatus::Stopped,
        SessionStatus::Expired,
        SessionStatus::Error,
    ]
    .into_iter()
    .find(|candidate| candidate.as_str() == status)
    .ok_or(StoreError::Impossible("status"))?;
    Ok(StoredSession {
        account: parsed(row, "account")?,
        id: parsed(row, "id")?,
        seq: row.try_get("seq")?,
        creation_time: row.try_get("creation_time")?,
        size: SessionSize::parse(&size).ok_or(StoreError::Impossible("size"))?,
        requested: minutes(row, "requested_minutes")?,
        model: row.try_get("model")?,
        life: Snapshot {
            status,
            lease: minutes(row, "lease_minutes")?,
            ready_at: row.try_get::<Option<i64>, _>("ready_at")?.map(from_integer),
            ended_at: row.try_get::<Option<i64>, _>("ended_at")?.map(from_integer),
            error,
        },
        host,
    })
}
