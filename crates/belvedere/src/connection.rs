//! Where `session` commands go: flags, environment, or the data folder of the service on this machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use client::rest::{Client, Options};
use protocol::AccountId;
use serde::Deserialize;

/// Flags that say which service and which account.
#[derive(Args)]
pub(crate) struct ConnectionArgs {
    /// Data folder of the service; gives what the flags below leave out.
    #[arg(long, value_name = "DIR", env = "BELVEDERE_DATA", global = true)]
    data: Option<PathBuf>,
    /// Base URL of the service, as https://host:port.
    #[arg(long, value_name = "URL", env = "BELVEDERE_ENDPOINT", global = true)]
    endpoint: Option<String>,
    /// Account id.
    #[arg(long, value_name = "UUID", env = "BELVEDERE_ACCOUNT_ID", global = true)]
    account: Option<AccountId>,
    /// PEM file of a certificate authority to trust.
    #[arg(long, value_name = "FILE", env = "BELVEDERE_CA", global = true)]
    ca: Option<PathBuf>,
}

/// Environment variable with an account key. Not a flag: other users of the machine can read command lines.
const ENV_KEY: &str = "BELVEDERE_ACCOUNT_KEY";

/// `account.json` as far as a client needs it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    account_id: AccountId,
    account_key: String,
}

/// `ready.json` as far as a client needs it.
#[derive(Deserialize)]
struct Ready {
    https: String,
}

impl ConnectionArgs {
    /// A client for the service.
    pub(crate) fn client(&self) -> Result<Client> {
        let data = match &self.data {
            Some(data) => data.clone(),
            None => crate::config::default_data_dir()?,
        };
        let key = std::env::var(ENV_KEY).ok();
        let (account, key) = match (self.account, key) {
            (Some(account), Some(key)) => (account, key),
            (account, key) => {
                let stored: Account = read_json(&data.join("account.json")).with_context(|| {
                    format!("no account is known; give --data DIR, or --account with {ENV_KEY}")
                })?;
                (account.unwrap_or(stored.account_id), key.unwrap_or(stored.account_key))
            }
        };
        let endpoint = match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => read_json::<Ready>(&data.join("ready.json"))
                .context(
                    "no service is running on this data folder; start `belvedere serve` or give --endpoint",
                )?
                .https,
        };
        let ca_path = data.join("tls/ca.pem");
        let ca_pem = match &self.ca {
            Some(path) => {
                Some(std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?)
            }
            None if ca_path.exists() => Some(std::fs::read(&ca_path)?),
            None => None,
        };
        Ok(Client::new(Options { endpoint, account, key, ca_pem })?)
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
}
