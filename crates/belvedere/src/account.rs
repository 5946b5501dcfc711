//! `belvedere account …`: works on the data folder, beside a running service or without one.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use control::Account;
use control::accounts::{self, WhichKey};
use protocol::AccountId;

/// Which data folder, and what to do.
#[derive(Args)]
pub(crate) struct AccountArgs {
    /// Data folder of the service. Default: the user's data folder.
    #[arg(long, value_name = "DIR", env = "BELVEDERE_DATA", global = true)]
    data: Option<PathBuf>,
    #[command(subcommand)]
    command: AccountCommand,
}

#[derive(Subcommand)]
enum AccountCommand {
    /// Makes an account and prints its id and keys as JSON.
    Create {
        /// Its name, for people.
        name: String,
    },
    /// Lists accounts.
    List,
    /// Replaces one of an account's two keys and prints the new one as JSON. The other goes on working.
    RotateKey {
        /// Whose.
        account: AccountId,
        /// Which.
        #[arg(long, value_enum, default_value = "primary")]
        key: Key,
    },
    /// Signs access tokens with a new key; the service does so by itself every 30 days.
    RotateSigningKey {
        /// Makes all access tokens that were given out worthless: for a key that got into wrong hands.
        #[arg(long)]
        revoke: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Key {
    Primary,
    Secondary,
}

impl From<Key> for WhichKey {
    fn from(key: Key) -> Self {
        match key {
            Key::Primary => Self::Primary,
            Key::Secondary => Self::Secondary,
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &AccountArgs) -> Result<()> {
    let data = match &args.data {
        Some(data) => data.clone(),
        None => crate::config::default_data_dir()?,
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        match &args.command {
            AccountCommand::Create { name } => print_keys(&accounts::create(&data, name).await?),
            AccountCommand::List => {
                for account in accounts::list(&data).await? {
                    println!("{}  {}", account.id, account.name);
                }
            }
            AccountCommand::RotateKey { account, key } => {
                print_keys(&accounts::rotate_key(&data, *account, (*key).into()).await?);
            }
            AccountCommand::RotateSigningKey { revoke } => {
                accounts::rotate_signing_key(&data, *revoke).await?;
                println!("A running service uses the new key within a minute.");
            }
        }
        Ok(())
    })
}

/// Keys are what the command was called for, so they go to standard output, and nowhere else.
fn print_keys(account: &Account) {
    let json = serde_json::json!({
        "accountId": account.id,
        "accountKey": account.primary_key,
        "secondaryKey": account.secondary_key,
    });
    println!("{json:#}");
}
