//! Accounts and their keys, for the command line: works beside a running server, which sees changes at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::AccountId;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::audit::{self, Actor, Outcome, Record};
use crate::clock::timestamp;
use crate::files::{make_private_folder, write_private};
use crate::secrets::account_key;
use crate::store::{Account, Store, StoreError};
use crate::tokens::{self, TokenError};

/// The file that tells the data folder's owner how to sign in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountFile {
    /// The first account.
    pub account_id: AccountId,
    /// Its primary key.
    pub account_key: String,
    /// Its other key.
    pub secondary_key: String,
    /// What SDKs call the account domain: they find the token service at `https://sts.<domain>`.
    pub account_domain: String,
    /// The rendering endpoint, which answers as token service, too.
    pub endpoint: String,
}

/// One of an account's two keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichKey {
    /// `accountKey` in `account.json`.
    Primary,
    /// `secondaryKey` in `account.json`.
    Secondary,
}

/// Why an account could not be listed, made or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The database failed.
    #[error("the accounts are not available")]
    Store(#[from] StoreError),
    /// A signing key could not be made.
    #[error("a signing key could not be made")]
    Token(#[from] TokenError),
    /// There is no such account.
    #[error("there is no account {0}")]
    Unknown(AccountId),
    /// A file could not be read or written.
    #[error("failed to read or write {path:?}")]
    File {
        /// Which.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// Makes an account with fresh keys.
///
/// # Errors
///
/// If the data folder or its database cannot be opened or written.
pub async fn create(data_dir: &Path, name: &str) -> Result<Account, AccountError> {
    let account = with_store(data_dir, async |store| Ok(create_in(store, name).await?)).await?;
    note(data_dir, "account.create", Some(account.id));
    Ok(account)
}

/// Lists the accounts, oldest first.
///
/// # Errors
///
/// If the data folder or its database cannot be opened.
pub async fn list(data_dir: &Path) -> Result<Vec<Account>, AccountError> {
    with_store(data_dir, async |store| Ok(store.accounts().await?)).await
}

/// Replaces one key of an account; the other stays valid. `account.json` follows if it is about this account.
///
/// # Errors
///
/// If there is no such account, or the data folder or its database cannot be opened or written.
pub async fn rotate_key(data_dir: &Path, id: AccountId, which: WhichKey) -> Result<Account, AccountError> {
    let account = rotate_key_in(data_dir, id, which).await?;
    note(data_dir, "account.regenerateKey", Some(id));
    Ok(account)
}

async fn rotate_key_in(data_dir: &Path, id: AccountId, which: WhichKey) -> Result<Account, AccountError> {
    with_store(data_dir, async |store| {
        let account = store.replace_key(id, which, &account_key()).await?.ok_or(AccountError::Unknown(id))?;
        let path = account_path(data_dir);
        let known = fs::read(&path).ok().and_then(|json| serde_json::from_slice::<AccountFile>(&json).ok());
        if let Some(file) = known.filter(|file| file.account_id == id) {
            let file = AccountFile {
                account_key: account.primary_key.clone(),
                secondary_key: account.secondary_key.clone(),
                ..file
            };
            write_account_file(data_dir, &file)?;
        }
        Ok(account)
    })
    .await
}

/// Makes a new key for signing access tokens; a running server uses it within a minute. The older ones go on
/// checking the tokens that they signed, unless `revoke`: then these are worth nothing as soon as it notices.
///
/// # Errors
///
/// If the data folder or its database cannot be opened or written.
pub async fn rotate_signing_key(data_dir: &Path, revoke: bool) -> Result<(), AccountError> {
    with_store(data_dir, async |store| rotate_signing_key_in(store, revoke).await).await?;
    note(data_dir, if revoke { "signingKey.revoke" } else { "signingKey.rotate" }, None);
    Ok(())
}

/// Folder of the audit log.
pub(crate) fn audit_path(data_dir: &Path) -> PathBuf {
    data_dir.join("audit")
}

/// Writes into the audit log what was done on the data folder itself.
fn note(data_dir: &Path, action: &'static str, account: Option<AccountId>) {
    let record = Record {
        time: audit::timestamp(OffsetDateTime::now_utc()),
        actor: Actor::DataFolder { uid: rustix::process::getuid().as_raw() },
        action,
        target: account.map(|account| format!("/accounts/{account}")),
        outcome: Outcome::Done,
        status: None,
        correlation_vector: None,
        remote: None,
    };
    if let Err(error) = audit::append(&audit_path(data_dir), &record) {
        tracing::warn!(%error, action, "the audit log cannot be written");
    }
}

async fn rotate_signing_key_in(store: &Store, revoke: bool) -> Result<(), AccountError> {
    let newest = store.signing_keys().await?.first().map(|key| key.created_at).unwrap_or_default();
    // After the newest also if the clock was set back.
    let now = timestamp(OffsetDateTime::now_utc()).max(newest + Duration::from_micros(1));
    tokens::add_key(store, now).await?;
    if revoke {
        store.forget_signing_keys(now).await?;
    }
    Ok(())
}

async fn with_store<T>(
    data_dir: &Path,
    work: impl AsyncFnOnce(&Store) -> Result<T, AccountError>,
) -> Result<T, AccountError> {
    make_private_folder(data_dir)
        .map_err(|source| AccountError::File { path: data_dir.to_owned(), source })?;
    let store = Store::open(&db_path(data_dir)).await?;
    let done = work(&store).await;
    store.close().await;
    done
}

pub(crate) async fn create_in(store: &Store, name: &str) -> Result<Account, StoreError> {
    let account = Account {
        id: AccountId::new(Uuid::new_v4()),
        name: name.to_owned(),
        primary_key: account_key(),
        secondary_key: account_key(),
    };
    store.put_account(&account, timestamp(OffsetDateTime::now_utc())).await?;
    Ok(account)
}

pub(crate) fn write_account_file(data_dir: &Path, file: &AccountFile) -> Result<(), AccountError> {
    let path = account_path(data_dir);
    // Strings in a struct always serialise.
    let json = serde_json::to_vec_pretty(file).unwrap_or_default();
    write_private(&path, &json).map_err(|source| AccountError::File { path, source })
}

pub(crate) fn account_path(data_dir: &Path) -> PathBuf {
    data_dir.join("account.json")
}

pub(crate) fn db_path(data_dir: &Path) -> PathBuf {
    data_dir.join("belvedere.db")
}
