//! Where `session` commands go: flags, environment, an `arrconfig.json`, or the data folder of the service on this machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use client::rest::{self, Client, Options};
use protocol::{AccountId, SessionId};
use serde::Deserialize;

use crate::arrconfig::{self, ArrConfig};
use crate::outcome::{Exit, Failure};

/// Flags that say which service and which account.
#[derive(Args)]
#[command(next_help_heading = "Which service, which account")]
pub(crate) struct ConnectionArgs {
    /// Data folder of the service; gives what the flags below leave out.
    #[arg(long, value_name = "DIR", env = "BELVEDERE_DATA", global = true)]
    data: Option<PathBuf>,
    /// Base URL of the service, such as https://render.example.com:8443.
    #[arg(long, value_name = "URL", env = "BELVEDERE_ENDPOINT", global = true)]
    endpoint: Option<String>,
    /// Account id. Its key comes from BELVEDERE_ACCOUNT_KEY, as other users of a machine can read command lines.
    #[arg(long, value_name = "UUID", env = "BELVEDERE_ACCOUNT_ID", global = true)]
    account: Option<AccountId>,
    /// PEM file of the certificate authority to trust: tls/ca.pem of the service's data folder.
    #[arg(long, value_name = "FILE", env = "BELVEDERE_CA", global = true)]
    ca: Option<PathBuf>,
    /// arrconfig.json of Azure Remote Rendering's scripts; flags and environment win over it.
    #[arg(long, value_name = "FILE", global = true)]
    arrconfig: Option<PathBuf>,
    /// Prints JSON instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// Environment variable with an account key. Not a flag: other users of the machine can read command lines.
pub(crate) const ENV_KEY: &str = "BELVEDERE_ACCOUNT_KEY";

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
    http: String,
    https: String,
}

/// A client, and what is known of how it came about.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) arrconfig: ArrConfig,
    /// Where browsers find the viewer.
    pub(crate) pages: String,
    /// Where the key is from, for people.
    key_from: String,
    /// The service is the one of the data folder.
    is_local: bool,
    has_ca: bool,
}

impl ConnectionArgs {
    /// A connection to the service; asks nothing yet.
    pub(crate) fn connect(&self) -> Result<Connection> {
        let data = match &self.data {
            Some(data) => data.clone(),
            None => crate::config::default_data_dir()?,
        };
        let arrconfig = match &self.arrconfig {
            Some(path) => arrconfig::read(path, self.endpoint.is_some())?,
            None => ArrConfig::default(),
        };
        let endpoint = self.endpoint.clone().or_else(|| arrconfig.endpoint.clone());
        let is_local = endpoint.is_none();
        let (endpoint, pages) = match endpoint {
            Some(endpoint) => (endpoint.clone(), endpoint),
            None => {
                let ready: Ready = read_json(&data.join("ready.json")).map_err(|error| {
                    Failure::new(
                        Exit::Unreachable,
                        format!("no service runs on the data folder {}", data.display()),
                    )
                    .because(error)
                    .hint("start one here with `belvedere serve`")
                    .hint("or say where one is with --endpoint https://HOST:8443, or which folder with --data DIR")
                })?;
                (ready.https, ready.http)
            }
        };
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        if !endpoint.starts_with("https://") && !endpoint.starts_with("http://") {
            let failure = Failure::new(Exit::Failure, format!("{endpoint:?} is no URL"));
            return Err(failure.hint(format!("write https://{endpoint}")).into());
        }
        let (account, key, key_from) = self.account(&data, &arrconfig)?;
        // The token service is elsewhere only if nobody has moved the service away from what the file says.
        let token_endpoint = arrconfig.token_endpoint.clone().filter(|_| self.endpoint.is_none());
        let ca_path = data.join("tls/ca.pem");
        let ca_path = self.ca.clone().or_else(|| ca_path.exists().then_some(ca_path));
        let ca_pem = ca_path.as_deref().map(|path| {
            std::fs::read(path).map_err(|error| {
                Failure::new(Exit::NotFound, format!("the CA file {} cannot be read", path.display()))
                    .because(error)
            })
        });
        let has_ca = ca_pem.is_some();
        let options = Options { endpoint, token_endpoint, account, key, ca_pem: ca_pem.transpose()? };
        let client = Client::new(options).map_err(|error| {
            Failure::new(Exit::Failure, "the CA file is no PEM file with a certificate").because(error)
        })?;
        let pages = pages.trim_end_matches('/').to_owned();
        Ok(Connection { client, arrconfig, pages, key_from, is_local, has_ca })
    }

    /// Account and key by the first place that has them, and that place in words.
    fn account(&self, data: &Path, arrconfig: &ArrConfig) -> Result<(AccountId, String, String)> {
        let given = self.account.or(arrconfig.account);
        let from_environment = std::env::var(ENV_KEY).ok().filter(|key| !key.is_empty());
        let key = from_environment
            .map(|key| (key, ENV_KEY.to_owned()))
            .or_else(|| Some((arrconfig.key.clone()?, "arrAccountKey in the arrconfig file".to_owned())));
        if let (Some(account), Some((key, from))) = (given, &key) {
            return Ok((account, key.clone(), from.clone()));
        }
        if let Some(path) = &self.arrconfig {
            let missing = match (given, &key) {
                (None, None) => "accountSettings.arrAccountId and accountSettings.arrAccountKey are",
                (None, Some(_)) => "accountSettings.arrAccountId is",
                _ => "accountSettings.arrAccountKey is",
            };
            let failure =
                Failure::new(Exit::Failure, format!("{missing} not filled in in {}", path.display()));
            let file = data.join("account.json");
            return Err(failure
                .hint(format!(
                    "fill it in from {} of the service, or give --account and {ENV_KEY}",
                    file.display()
                ))
                .into());
        }
        let path = data.join("account.json");
        let stored: Account = read_json(&path).map_err(|error| {
            Failure::new(Exit::Refused, "no account is known")
                .because(error)
                .hint(format!("give --account UUID and put its key into {ENV_KEY}"))
                .hint("or, on the service's machine, name its data folder with --data DIR; `belvedere serve` makes one")
        })?;
        match (given, key) {
            // A key belongs to one account, so the file's is of no use for another.
            (Some(account), None) if account != stored.account_id => {
                Err(Failure::new(Exit::Refused, format!("the key of account {account} is not known"))
                    .hint(format!("put it into {ENV_KEY}; {} has that of another account", path.display()))
                    .into())
            }
            (_, Some((key, from))) => Ok((stored.account_id, key, from)),
            (_, None) => Ok((stored.account_id, stored.account_key, path.display().to_string())),
        }
    }
}

fn read_json<T: serde::de::DeserializeOwned>(
    path: &Path,
) -> Result<T, Box<dyn std::error::Error + Send + Sync>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{} is damaged: {error}", path.display()).into())
}

/// How long a service that asks for a pause gets one, all pauses of one request together.
const PATIENCE: Duration = Duration::from_secs(120);

impl Connection {
    /// Sends until it is answered with something else than "later": 429 and 503 say when to come again. A service that
    /// drains says so, too, but it is the next one that will have room.
    ///
    /// # Errors
    /// With what to do about it. `about` is the session that the request is about.
    pub(crate) async fn ask<T>(
        &self,
        about: Option<&SessionId>,
        mut request: impl AsyncFnMut(&Client) -> Result<T, rest::Error>,
    ) -> Result<T, Failure> {
        let mut waited = Duration::ZERO;
        loop {
            let error = match request(&self.client).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let retry_after = error.retry_after().filter(|_| !error.is_draining());
            match retry_after.map(|wait| wait.max(Duration::from_secs(1))) {
                Some(wait) if waited + wait <= PATIENCE => {
                    waited += wait;
                    tokio::time::sleep(wait).await;
                }
                _ => return Err(self.explain(error, about)),
            }
        }
    }

    fn explain(&self, error: rest::Error, about: Option<&SessionId>) -> Failure {
        let endpoint = self.client.options().endpoint.clone();
        match &error {
            rest::Error::Unreachable { url, source } => {
                let url = url.split('?').next().unwrap_or(url).to_owned();
                let failure = Failure::new(Exit::Unreachable, format!("no answer from {url}"));
                let hints = self.unreachable(&chain(source), source.is_timeout(), &endpoint);
                hints.into_iter().fold(failure.because(innermost(&error)), Failure::hint)
            }
            rest::Error::Refused { status, error: said, url, .. } => {
                let asks_for_token = url.contains("/token?");
                let failure =
                    |exit| Failure::new(exit, format!("{} ({}, HTTP {status})", said.message, said.code));
                match status {
                    401 if asks_for_token => {
                        let account = self.client.options().account;
                        Failure::new(Exit::Refused, format!("the service knows no account {account} with this key"))
                            .hint(format!("the key is from {}; is it this service's, and this account's?", self.key_from))
                            .hint("`belvedere account list` on the service's machine lists the accounts")
                    }
                    401 => Failure::new(Exit::Refused, "the service does not take the token that was given out just now")
                        .hint("token service and rendering service may be two, or their clocks may differ"),
                    403 => failure(Exit::Refused)
                        .hint("the account's role does not allow this, or the session is another account's"),
                    404 => match about {
                        Some(id) => Failure::new(Exit::NotFound, format!("there is no session {id}"))
                            .hint("`belvedere session list` shows those that are Starting or Ready; ended ones can be read for 30 days"),
                        None => failure(Exit::NotFound).hint(format!("is {endpoint} a rendering service?")),
                    },
                    409 => match about {
                        Some(id) => Failure::new(Exit::Failure, format!("the id {id} is taken"))
                            .hint("by a session with other settings, or by one that has ended; choose another id, or leave it out")
                            .hint(format!("`belvedere session get {id}` shows it")),
                        None => failure(Exit::Failure),
                    },
                    422 => failure(Exit::Failure).hint(
                        "--lease is the new total since the session was Ready, so it must be more than now; an ended session takes none",
                    ),
                    429 => Failure::new(Exit::Failure, "the account asks more often than the service allows")
                        .hint("it went on for two minutes; is another program of this account busy?")
                        .hint("the operator's --requests-per-minute says how often is allowed"),
                    _ if error.is_draining() => {
                        Failure::new(Exit::Failure, "the service is about to end and takes no new sessions")
                            .hint("create the session when it has been started again, or with --endpoint at another service")
                            .hint("sessions that run go on until the drain limit; `belvedere session list` shows them")
                    }
                    _ => failure(Exit::Failure),
                }
            }
            rest::Error::Unexpected { .. } => Failure::new(Exit::Failure, error.to_string())
                .hint(format!("is {endpoint} the URL of a rendering service?")),
            rest::Error::Setup(_) => {
                Failure::new(Exit::Failure, error.to_string()).because(innermost(&error))
            }
        }
    }

    /// What to do when there is no answer, by what the HTTP client says.
    fn unreachable(&self, why: &str, timed_out: bool, endpoint: &str) -> Vec<String> {
        let why = why.to_ascii_lowercase();
        if why.contains("unknownissuer") || why.contains("unknown issuer") || why.contains("self-signed") {
            let flag = "--ca FILE, where FILE is tls/ca.pem of the service's data folder";
            return vec![if self.has_ca {
                format!(
                    "the certificate is of another authority than the one that is trusted here; give the right one with {flag}"
                )
            } else {
                format!(
                    "the service's certificate is of an authority that this machine does not know; trust it with {flag}"
                )
            }];
        }
        if why.contains("not valid for name") || why.contains("notvalidforname") {
            return vec!["the service's certificate is for other names; use one of them in --endpoint, or set the service's --hostname".into()];
        }
        if why.contains("expired") || why.contains("notvalidyet") || why.contains("not valid yet") {
            return vec!["the certificate is out of date by this machine's clock; check the clocks here and there (`date`), then the certificate".into()];
        }
        if why.contains("invalidcontenttype") || why.contains("corrupt message") {
            return vec![format!(
                "something without TLS answers there; try {}",
                endpoint.replacen("https:", "http:", 1)
            )];
        }
        if why.contains("dns") || why.contains("lookup") || why.contains("resolve") {
            return vec!["the name is not known; check --endpoint".into()];
        }
        if timed_out {
            return vec![
                "it took longer than 20 s; a firewall may swallow what is sent, or the machine is overloaded"
                    .into(),
            ];
        }
        if self.is_local {
            vec!["the service seems to have ended without tidying up; start it with `belvedere serve`".into()]
        } else {
            vec![
                "is the service running, and is that its address? On its machine, `belvedere serve` starts it and prints its URL".into(),
                "it listens for other machines only if --listen-https says so".into(),
            ]
        }
    }
}

/// All causes in one text.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(|error| format!("{error} {error:?} ")).collect()
}

/// The last cause, which says most; those between repeat each other.
fn innermost(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map_or_else(String::new, ToString::to_string)
}
