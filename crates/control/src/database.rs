//! The database file, for the command line: copies it, and looks whether it is whole. Works beside a running server.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use protocol::AccountId;
use protocol::rest::SessionStatus;
use rustix::fs::{CWD, RenameFlags};
use serde::Serialize;
use session::Session;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::accounts::db_path;
use crate::clock::timestamp;
use crate::store::{self, StoreError, StoredSession};
use crate::tokens;

/// Problems that are told; a file that has more is not read by people any more.
const PROBLEMS_MAX: usize = 100;

/// Rows that are looked at in one go.
const ROWS: i64 = 1_000;

/// What is in a database, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether there is no problem.
    pub ok: bool,
    /// Number of the newest step of its schema; 0 if there is none.
    pub schema: i64,
    /// Tenants.
    pub accounts: u64,
    /// Sessions, ended ones included.
    pub sessions: u64,
    /// Those that have not ended.
    pub live_sessions: u64,
    /// What is wrong, 100 at most.
    pub problems: Vec<Problem>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where.
    pub place: String,
    /// What, in words.
    pub what: String,
}

/// Why there is no copy, or no report.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// There is nothing to look at.
    #[error("there is no database {0:?}")]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("the database {path:?} cannot be read")]
    Store {
        /// Which.
        path: PathBuf,
        /// What is wrong and what to do about it.
        source: StoreError,
    },
    /// The copy would replace a file.
    #[error("{0:?} is there already; name another file, or remove this one")]
    Exists(PathBuf),
    /// The copy cannot be written.
    #[error("failed to write {path:?}")]
    File {
        /// Which.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The copy was made and is not good, because the database is not.
    #[error("the database is damaged and was not copied; `belvedere db check` says where ({0})")]
    Damaged(String),
}

/// Copies the database of a data folder to `file`, as of one moment, for its owner alone. A server may run meanwhile.
/// `file` is there when all of it is there, checked and on the disk, or not at all.
///
/// # Errors
///
/// [`DatabaseError`] says what is in the way.
pub async fn backup(data_dir: &Path, file: &Path) -> Result<Report, DatabaseError> {
    if file.exists() {
        return Err(DatabaseError::Exists(file.to_owned()));
    }
    let mut part = file.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(part);
    let done = backup_by(&db_path(data_dir), &part, file).await;
    if done.is_err() {
        // There may be none.
        let _none = std::fs::remove_file(&part).is_err();
    }
    done
}

async fn backup_by(path: &Path, part: &Path, file: &Path) -> Result<Report, DatabaseError> {
    let failed = |source| DatabaseError::Store { path: path.to_owned(), source };
    let broken = |source| DatabaseError::File { path: file.to_owned(), source };
    let mut connection = open(path).await?;
    // It holds keys. VACUUM writes into an empty file as into one that is not there.
    store::make_private(part).map_err(broken)?;
    let copied = sqlx::query("VACUUM INTO ?").bind(part.display().to_string()).execute(&mut connection).await;
    copied.map_err(|error| failed(error.into()))?;
    connection.close().await.map_err(|error| failed(error.into()))?;
    let report = check_file(part).await?;
    if let Some(Problem { place, what }) = report.problems.first() {
        return Err(DatabaseError::Damaged(format!("{place}: {what}")));
    }
    File::open(part).and_then(|file| file.sync_all()).map_err(broken)?;
    rustix::fs::renameat_with(CWD, part, CWD, file, RenameFlags::NOREPLACE).map_err(|error| match error {
        rustix::io::Errno::EXIST => DatabaseError::Exists(file.to_owned()),
        error => broken(error.into()),
    })?;
    // So that the name is on the disk, too.
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(broken)?;
    Ok(report)
}

/// Looks at the database of a data folder.
///
/// # Errors
///
/// Only if it cannot be looked at; what is wrong with it is in the report.
pub async fn check(data_dir: &Path) -> Result<Report, DatabaseError> {
    check_file(&db_path(data_dir)).await
}

/// Looks at a database file, such as a copy.
///
/// # Errors
///
/// As [`check`].
pub async fn check_file(path: &Path) -> Result<Report, DatabaseError> {
    let mut report =
        Report { ok: false, schema: 0, accounts: 0, sessions: 0, live_sessions: 0, problems: Vec::new() };
    let looked = async {
        let mut connection = open(path).await?;
        let looked = look(&mut connection, &mut report).await;
        // A copy stays a single file.
        let closed = connection.close().await.map_err(StoreError::from);
        looked.and(closed).map_err(|source| DatabaseError::Store { path: path.to_owned(), source })
    };
    match looked.await {
        Ok(()) => {}
        Err(DatabaseError::Store { source: StoreError::Damaged(error), .. }) => {
            report.problem("file", error.to_string());
        }
        Err(error) => return Err(error),
    }
    report.ok = report.problems.is_empty();
    Ok(report)
}

async fn open(path: &Path) -> Result<SqliteConnection, DatabaseError> {
    if !path.exists() {
        return Err(DatabaseError::Missing(path.to_owned()));
    }
    let options = SqliteConnectOptions::new().filename(path).read_only(true).disable_statement_logging();
    options
        .connect()
        .await
        .map_err(|error| DatabaseError::Store { path: path.to_owned(), source: error.into() })
}

impl Report {
    fn problem(&mut self, place: impl Into<String>, what: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { place: place.into(), what: what.into() });
        }
    }
}

async fn look(connection: &mut SqliteConnection, report: &mut Report) -> Result<(), StoreError> {
    // One moment for all that follows.
    let mut moment = connection.begin().await?;
    for row in sqlx::query("PRAGMA integrity_check(100)").fetch_all(&mut *moment).await? {
        let what: String = row.try_get(0)?;
        if what != "ok" {
            report.problem("file", what);
        }
    }
    for row in sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut *moment).await? {
        report.problem(row.try_get::<String, _>(0)?, "a row refers to one that is not there");
    }
    let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .fetch_all(&mut *moment)
        .await?;
    for table in ["_sqlx_migrations", "accounts", "signing_keys", "sessions"] {
        if !tables.iter().any(|name| name == table) {
            report.problem("schema", format!("there is no table {table}; is this a database of Belvedere?"));
            return Ok(());
        }
    }
    schema(&mut moment, report).await?;
    let accounts = accounts(&mut moment, report).await?;
    signing_keys(&mut moment, report).await?;
    sessions(&mut moment, report, &accounts).await
}

async fn schema(connection: &mut SqliteConnection, report: &mut Report) -> Result<(), StoreError> {
    for row in sqlx::query("SELECT version, checksum, success FROM _sqlx_migrations ORDER BY version")
        .fetch_all(connection)
        .await?
    {
        let version: i64 = row.try_get("version")?;
        report.schema = version;
        match store::MIGRATIONS.iter().find(|migration| migration.version == version) {
            None => report.problem("schema", format!("step {version} is of a newer version of Belvedere")),
            Some(known) if known.checksum.as_ref() != row.try_get::<Vec<u8>, _>("checksum")? => {
                report.problem("schema", format!("step {version} is not that of a released version"));
            }
            Some(_) if !row.try_get::<bool, _>("success")? => {
                report.problem("schema", format!("step {version} was not finished"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

async fn accounts(
    connection: &mut SqliteConnection,
    report: &mut Report,
) -> Result<HashSet<AccountId>, StoreError> {
    let mut ids = HashSet::new();
    for row in sqlx::query("SELECT * FROM accounts").fetch_all(connection).await? {
        report.accounts += 1;
        let place = place(&row, "account", "id");
        match store::account_of(&row) {
            Ok(account) => {
                ids.insert(account.id);
                if account.primary_key.is_empty() || account.secondary_key.is_empty() {
                    report.problem(place, "it has an empty key");
                }
            }
            Err(error) => report.problem(place, error_words(&error)),
        }
    }
    Ok(ids)
}

async fn signing_keys(connection: &mut SqliteConnection, report: &mut Report) -> Result<(), StoreError> {
    for row in sqlx::query("SELECT id, pkcs8, created_at FROM signing_keys").fetch_all(connection).await? {
        let place = place(&row, "signing key", "id");
        match store::signing_key_of(&row) {
            Ok(key) if tokens::is_key(&key) => {}
            Ok(_) => report.problem(place, "it is no key"),
            Err(error) => report.problem(place, error_words(&error)),
        }
    }
    Ok(())
}

async fn sessions(
    connection: &mut SqliteConnection,
    report: &mut Report,
    accounts: &HashSet<AccountId>,
) -> Result<(), StoreError> {
    let mut last = i64::MIN;
    loop {
        let rows = sqlx::query("SELECT rowid, * FROM sessions WHERE rowid > ? ORDER BY rowid LIMIT ?")
            .bind(last)
            .bind(ROWS)
            .fetch_all(&mut *connection)
            .await?;
        let Some(newest) = rows.last() else { return Ok(()) };
        last = newest.try_get("rowid")?;
        for row in &rows {
            report.sessions += 1;
            let place = || place(row, "session", "id");
            match store::session_of(row) {
                Ok(session) => {
                    report.live_sessions += u64::from(session.life.ended_at.is_none());
                    for what in flaws(&session, accounts) {
                        report.problem(place(), what);
                    }
                }
                Err(error) => report.problem(place(), error_words(&error)),
            }
        }
    }
}

/// What no version writes.
fn flaws(session: &StoredSession, accounts: &HashSet<AccountId>) -> Vec<&'static str> {
    let now = timestamp(OffsetDateTime::now_utc());
    let life = &session.life;
    [
        (
            Session::restore(now, life.clone(), session.host.is_some()).is_none(),
            "its status does not go with its times",
        ),
        (
            life.ready_at.zip(life.ended_at).is_some_and(|(ready, ended)| ended < ready),
            "it ended before it was Ready",
        ),
        (life.lease < session.requested, "its lease is shorter than what was asked for"),
        (
            life.error.is_some() != (life.status == SessionStatus::Error),
            "there is an error without the status Error, or the other way round",
        ),
        (OffsetDateTime::parse(&session.creation_time, &Rfc3339).is_err(), "its creation time is none"),
        (
            life.ended_at.is_none() && !accounts.contains(&session.account),
            "it is live and belongs to no account",
        ),
    ]
    .into_iter()
    .filter_map(|(wrong, what)| wrong.then_some(what))
    .collect()
}

fn place(row: &SqliteRow, kind: &str, column: &str) -> String {
    format!("{kind} {}", row.try_get::<String, _>(column).unwrap_or_else(|_odd| "?".to_owned()))
}

fn error_words(error: &StoreError) -> String {
    match error {
        StoreError::Impossible(column) => format!("its {column} is impossible"),
        error => std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string),
    }
}
