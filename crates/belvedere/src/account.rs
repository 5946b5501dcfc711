//! `belvedere account …`: works on the data folder, beside a running service or without one.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use control::Account;
use control::accounts::{self, AccountError, WhichKey};
use protocol::AccountId;

use crate::outcome::{Exit, Failure};
use crate::sessions::print;
use crate::terminal::{self, Style, Table};

/// Which data folder, and what to do.
#[derive(Args)]
pub(crate) struct AccountArgs {
    /// Data folder of the service. Default: the user's data folder.
    #[arg(long, value_name = "DIR", env = "BELVEDERE_DATA", global = true)]
    data: Option<PathBuf>,
    /// Prints JSON instead of text. Keys are printed as JSON in any case.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: AccountCommand,
}

#[derive(Subcommand)]
enum AccountCommand {
    /// Makes an account and prints its id and keys as JSON.
    #[command(after_help = "\
Example:
  belvedere account create \"my team\" > my-team.json")]
    Create {
        /// Its name, for people.
        name: String,
    },
    /// Lists accounts.
    List,
    /// Replaces one of an account's two keys and prints both as JSON. The other goes on working.
    #[command(after_help = "\
Example:
  belvedere account rotate-key 2d2cb8b5-6f2f-4b0c-8c8c-0f8d3d5c6f10 --key secondary

Give the new key to your programs, then rotate the other one.")]
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
                let accounts = accounts::list(&data).await?;
                print(&if args.json { list_json(&accounts)? } else { table(&accounts) })
            }
            AccountCommand::RotateKey { account, key } => {
                let rotated = accounts::rotate_key(&data, *account, (*key).into()).await;
                print_keys(&rotated.map_err(explain)?)
            }
            AccountCommand::RotateSigningKey { revoke } => {
                accounts::rotate_signing_key(&data, *revoke).await?;
                if args.json {
                    return print(&format!("{:#}\n", serde_json::json!({ "revoked": revoke })));
                }
                print("A running service uses the new key within a minute.\n")
            }
        }
    })
}

fn explain(error: AccountError) -> anyhow::Error {
    match error {
        AccountError::Unknown(_) => Failure::new(Exit::NotFound, error.to_string())
            .hint("`belvedere account list` lists the accounts of a data folder; --data names another folder")
            .into(),
        other => other.into(),
    }
}

fn table(accounts: &[Account]) -> String {
    let mut table = Table::new(&["ID", "NAME"]);
    for account in accounts {
        table.row(vec![(account.id.to_string(), Style::Bold), (account.name.clone(), Style::Plain)]);
    }
    table.text(terminal::has_colour())
}

fn list_json(accounts: &[Account]) -> Result<String> {
    let list: Vec<_> = accounts
        .iter()
        .map(|account| serde_json::json!({ "id": account.id, "name": account.name }))
        .collect();
    Ok(serde_json::to_string_pretty(&list)? + "\n")
}

/// Keys are what the command was called for, so they go to standard output, and nowhere else.
fn print_keys(account: &Account) -> Result<()> {
    let json = serde_json::json!({
        "accountId": account.id,
        "accountKey": account.primary_key,
        "secondaryKey": account.secondary_key,
    });
    print(&format!("{json:#}\n"))
}
