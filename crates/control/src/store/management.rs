//! Accounts as resources: in a subscription and a resource group, with tags.
//!
//! Subscriptions and groups are names and nothing else; they need not be made first.

use std::collections::BTreeMap;

use protocol::AccountId;
use session::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::{Account, Store, StoreError, account_of, from_integer, parsed, to_integer};
use crate::accounts::WhichKey;

/// Where a resource is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) subscription: String,
    pub(crate) group: String,
    pub(crate) name: String,
}

/// An account as the management API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) account: AccountId,
    pub(crate) place: Place,
    pub(crate) location: String,
    pub(crate) tags: BTreeMap<String, String>,
}

/// What became of a wish for a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Created(Resource),
    Updated(Resource),
    /// The subscription has the name in another group.
    Taken,
    /// It exists, and cannot move from there.
    OtherLocation(String),
}

impl Store {
    /// For what takes several statements.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        // Takes the lock for writing before it reads, so that it cannot fail half-way for want of it.
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Makes the resource with its account, or sets the tags of the one that is there.
    pub(crate) async fn put_resource(
        &self,
        wanted: &Resource,
        account: &Account,
        now: Timestamp,
    ) -> Result<Put, StoreError> {
        let mut transaction = self.begin().await?;
        let there = sqlx::query("SELECT * FROM resources WHERE subscription = ? AND name = ?")
            .bind(&wanted.place.subscription)
            .bind(&wanted.place.name)
            .fetch_optional(&mut *transaction)
            .await?;
        let tags = json_of(&wanted.tags);
        let put = match there.as_ref().map(resource_of).transpose()? {
            Some(there) if !there.place.group.eq_ignore_ascii_case(&wanted.place.group) => Put::Taken,
            Some(there) if there.location != wanted.location => Put::OtherLocation(there.location),
            Some(there) => {
                sqlx::query("UPDATE resources SET tags = ? WHERE account = ?")
                    .bind(tags)
                    .bind(there.account.to_string())
                    .execute(&mut *transaction)
                    .await?;
                Put::Updated(Resource { tags: wanted.tags.clone(), ..there })
            }
            None => {
                sqlx::query(
                    "INSERT INTO accounts (id, name, primary_key, secondary_key, created_at) \
                     VALUES (?, ?, ?, ?, ?)",
                )
                .bind(account.id.to_string())
                .bind(&account.name)
                .bind(&account.primary_key)
                .bind(&account.secondary_key)
                .bind(to_integer(now))
                .execute(&mut *transaction)
                .await?;
                sqlx::query(
                    "INSERT INTO resources (account, subscription, resource_group, name, location, tags) \
                     VALUES (?, ?, ?, ?, ?, ?)",
                )
                .bind(account.id.to_string())
                .bind(&wanted.place.subscription)
                .bind(&wanted.place.group)
                .bind(&wanted.place.name)
                .bind(&wanted.location)
                .bind(tags)
                .execute(&mut *transaction)
                .await?;
                Put::Created(Resource { account: account.id, ..wanted.clone() })
            }
        };
        transaction.commit().await?;
        Ok(put)
    }

    pub(crate) async fn resource(&self, place: &Place) -> Result<Option<Resource>, StoreError> {
        sqlx::query("SELECT * FROM resources WHERE subscription = ? AND resource_group = ? AND name = ?")
            .bind(&place.subscription)
            .bind(&place.group)
            .bind(&place.name)
            .fetch_optional(&self.readers)
            .await?
            .as_ref()
            .map(resource_of)
            .transpose()
    }

    /// At most `n_max` resources of a subscription, or of one of its groups, in the order of their names, after one.
    pub(crate) async fn resources(
        &self,
        subscription: &str,
        group: Option<&str>,
        after: &str,
        n_max: u32,
    ) -> Result<Vec<Resource>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM resources WHERE subscription = ?1 AND (?2 IS NULL OR resource_group = ?2) \
             AND name > ?3 ORDER BY name LIMIT ?4",
        )
        .bind(subscription)
        .bind(group)
        .bind(after)
        .bind(n_max)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(resource_of).collect()
    }

    /// Whether a subscription has a resource of that name.
    pub(crate) async fn has_resource(&self, subscription: &str, name: &str) -> Result<bool, StoreError> {
        let there = sqlx::query("SELECT 1 FROM resources WHERE subscription = ? AND name = ?")
            .bind(subscription)
            .bind(name)
            .fetch_optional(&self.readers)
            .await?;
        Ok(there.is_some())
    }

    /// The keys of a resource's account.
    pub(crate) async fn resource_account(&self, place: &Place) -> Result<Option<Account>, StoreError> {
        sqlx::query(
            "SELECT accounts.* FROM accounts JOIN resources ON account = id \
             WHERE subscription = ? AND resource_group = ? AND resources.name = ?",
        )
        .bind(&place.subscription)
        .bind(&place.group)
        .bind(&place.name)
        .fetch_optional(&self.readers)
        .await?
        .as_ref()
        .map(account_of)
        .transpose()
    }

    /// Replaces one key of an account, and leaves the other as it is at that moment.
    pub(crate) async fn replace_key(
        &self,
        account: AccountId,
        which: WhichKey,
        key: &str,
    ) -> Result<Option<Account>, StoreError> {
        let query = match which {
            WhichKey::Primary => "UPDATE accounts SET primary_key = ? WHERE id = ? RETURNING *",
            WhichKey::Secondary => "UPDATE accounts SET secondary_key = ? WHERE id = ? RETURNING *",
        };
        sqlx::query(query)
            .bind(key)
            .bind(account.to_string())
            .fetch_optional(&self.writer)
            .await?
            .as_ref()
            .map(account_of)
            .transpose()
    }

    /// Sets the tags of a resource.
    pub(crate) async fn set_tags(
        &self,
        account: AccountId,
        tags: &BTreeMap<String, String>,
    ) -> Result<Option<Resource>, StoreError> {
        sqlx::query("UPDATE resources SET tags = ? WHERE account = ? RETURNING *")
            .bind(json_of(tags))
            .bind(account.to_string())
            .fetch_optional(&self.writer)
            .await?
            .as_ref()
            .map(resource_of)
            .transpose()
    }

    /// Removes a resource with its account and keys, and remembers that the account is closed.
    pub(crate) async fn close_resource(
        &self,
        place: &Place,
        now: Timestamp,
    ) -> Result<Option<AccountId>, StoreError> {
        let mut transaction = self.begin().await?;
        let row = sqlx::query(
            "DELETE FROM accounts WHERE id = (SELECT account FROM resources \
             WHERE subscription = ? AND resource_group = ? AND name = ?) RETURNING id",
        )
        .bind(&place.subscription)
        .bind(&place.group)
        .bind(&place.name)
        .fetch_optional(&mut *transaction)
        .await?;
        let account: Option<AccountId> = row.as_ref().map(|row| parsed(row, "id")).transpose()?;
        if let Some(account) = account {
            sqlx::query("INSERT INTO closed_accounts (id, closed_at) VALUES (?, ?)")
                .bind(account.to_string())
                .bind(to_integer(now))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(account)
    }

    /// The accounts that were closed since `since`; earlier ones are forgotten.
    pub(crate) async fn closed_accounts(
        &self,
        since: Timestamp,
    ) -> Result<Vec<(AccountId, Timestamp)>, StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query("DELETE FROM closed_accounts WHERE closed_at < ?")
            .bind(to_integer(since))
            .execute(&mut *transaction)
            .await?;
        let rows =
            sqlx::query("SELECT id, closed_at FROM closed_accounts").fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        rows.iter().map(|row| Ok((parsed(row, "id")?, from_integer(row.try_get("closed_at")?)))).collect()
    }

    /// Accounts that are gone and have live sessions: their deletion was interrupted.
    pub(crate) async fn accounts_to_close(&self) -> Result<Vec<AccountId>, StoreError> {
        let rows = sqlx::query(
            "SELECT DISTINCT account FROM sessions WHERE ended_at IS NULL \
             AND account NOT IN (SELECT id FROM accounts)",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| parsed(row, "account")).collect()
    }
}

/// A map of strings always serialises.
fn json_of(tags: &BTreeMap<String, String>) -> String {
    serde_json::to_string(tags).unwrap_or_default()
}

fn resource_of(row: &SqliteRow) -> Result<Resource, StoreError> {
    let tags: String = row.try_get("tags")?;
    Ok(Resource {
        account: parsed(row, "account")?,
        place: Place {
            subscription: row.try_get("subscription")?,
            group: row.try_get("resource_group")?,
            name: row.try_get("name")?,
        },
        location: row.try_get("location")?,
        tags: serde_json::from_str(&tags).map_err(|_odd| StoreError::Impossible("tags"))?,
    })
}
