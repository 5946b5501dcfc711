//! Why the store did not do it, by what the operator can do about it.

use sqlx::migrate::MigrateError;

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room.
    #[error("the disk with the database is full; free some space, and the service goes on by itself")]
    Full(#[source] sqlx::Error),
    /// Another program writes, or keeps others from it.
    #[error("another program has locked the database; end it, and the service goes on by itself")]
    Locked(#[source] sqlx::Error),
    /// It may not be written.
    #[error(
        "the database cannot be written; give the service's user the right to write to the file and its folder"
    )]
    ReadOnly(#[source] sqlx::Error),
    /// It may not be opened.
    #[error(
        "the database cannot be opened; give the service's user the right to read and write the file and its folder"
    )]
    Unreachable(#[source] sqlx::Error),
    /// Not a database, or not a whole one.
    #[error(
        "the database file is damaged; stop the service, see what `belvedere db check` says, and restore a backup"
    )]
    Damaged(#[source] sqlx::Error),
    /// The disk fails.
    #[error("the disk with the database does not work; look into the system's log")]
    Disk(#[source] sqlx::Error),
    /// The database refused for another reason.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
    /// A newer version has worked with it.
    #[error(
        "the database was changed by a newer version of Belvedere (its schema has number {found}, the last one known \
         here is {known}); run that version, or restore the backup that was made before the upgrade"
    )]
    Newer {
        /// Of the newest migration that was applied.
        found: i64,
        /// Of the newest that this version has.
        known: i64,
    },
    /// A migration is not the one that this version has under that number.
    #[error(
        "the database's schema number {0} is not that of a released version of Belvedere; run the version that made \
         it, or restore a backup"
    )]
    Changed(i64),
    /// The schema could not be brought up to date.
    #[error("the database's schema could not be brought up to date")]
    Schema(#[source] MigrateError),
    /// A row says what no version wrote.
    #[error("the database has an impossible {0}; `belvedere db check` says where")]
    Impossible(&'static str),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        // Extended result codes have the primary one in their low byte (https://sqlite.org/rescode.html).
        let code = match &error {
            sqlx::Error::Database(error) => error.code().and_then(|code| code.parse::<u32>().ok()),
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => Some(13),
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem => Some(8),
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Some(14),
            _ => None,
        };
        match code.map(|code| code & 0xff) {
            // BUSY, LOCKED
            Some(5 | 6) => Self::Locked(error),
            // PERM, READONLY, AUTH
            Some(3 | 8 | 23) => Self::ReadOnly(error),
            // IOERR
            Some(10) => Self::Disk(error),
            // CORRUPT, NOTADB
            Some(11 | 26) => Self::Damaged(error),
            // FULL
            Some(13) => Self::Full(error),
            // CANTOPEN
            Some(14) => Self::Unreachable(error),
            _ => Self::Database(error),
        }
    }
}

impl StoreError {
    /// Of a migration; `known` is the newest that this version has.
    pub(super) fn of_migration(error: MigrateError, known: i64) -> Self {
        match error {
            MigrateError::VersionMissing(found) => Self::Newer { found, known },
            MigrateError::VersionMismatch(version) => Self::Changed(version),
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            error => Self::Schema(error),
        }
    }
}
