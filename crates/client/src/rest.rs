//! Sessions over REST: the API of Azure Remote Rendering, api-version 2021-01-01.

use std::time::{Duration, Instant};

use protocol::rest::{Error as ApiError, ErrorBody, Session, SessionList, SessionSize};
use protocol::{AccountId, SessionId};
use serde::Deserialize;

const API_VERSION: &str = "2021-01-01";

/// Every answer has come after this long (the service promises 15 s).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// A token is renewed this long before it ends, so that a request in flight never carries a dead one.
const TOKEN_MARGIN: Duration = Duration::from_secs(300);

/// Tokens are asked for again after this long; they live for 24 h.
const TOKEN_LIFE: Duration = Duration::from_secs(12 * 3600);

/// Pages of one list; the 30 days of sessions that a server keeps fit many times.
const MAX_PAGES: usize = 10_000;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request did not arrive or the answer did not.
    #[error("no answer from {url}")]
    Unreachable {
        /// Where to.
        url: String,
        /// What the HTTP client says.
        source: reqwest::Error,
    },
    /// The service refused.
    #[error("{} ({status}): {}", error.code, error.message)]
    Refused {
        /// HTTP status.
        status: u16,
        /// Code and words.
        error: Box<ApiError>,
        /// What was asked for.
        url: String,
        /// When the service wants to be asked again; with 429 and 503.
        retry_after: Option<Duration>,
    },
    /// The answer is not what the API promises.
    #[error("{url} did not answer like a rendering service: {what}")]
    Unexpected {
        /// Where from.
        url: String,
        /// What was odd.
        what: String,
    },
    /// The options make no client.
    #[error("the HTTP client cannot be set up")]
    Setup(#[source] reqwest::Error),
}

impl Error {
    /// HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the service takes no new sessions because it is about to end: it will not take any when it is asked again.
    pub fn is_draining(&self) -> bool {
        matches!(self, Self::Refused { error, .. } if error.code == "Draining")
    }

    /// When the service wants to be asked again, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Where the service is and who asks.
#[derive(Clone)]
pub struct Options {
    /// `https://host:port`; serves the rendering API, and the token API unless that is elsewhere.
    pub endpoint: String,
    /// `https://host:port` of the token API if it is elsewhere.
    pub token_endpoint: Option<String>,
    /// Whose sessions.
    pub account: AccountId,
    /// One of the account's two keys.
    pub key: String,
    /// PEM of a certificate authority to trust beside the system's.
    pub ca_pem: Option<Vec<u8>>,
}

/// A client of one account.
pub struct Client {
    http: reqwest::Client,
    options: Options,
    token: tokio::sync::Mutex<Option<(Instant, String)>>,
}

impl Client {
    /// Sets a client up; asks nothing yet.
    ///
    /// # Errors
    /// [`Error::Setup`]: a certificate that is none.
    pub fn new(mut options: Options) -> Result<Self, Error> {
        for endpoint in std::iter::once(&mut options.endpoint).chain(options.token_endpoint.as_mut()) {
            endpoint.truncate(endpoint.trim_end_matches('/').len());
        }
        let mut http = reqwest::Client::builder().timeout(REQUEST_TIMEOUT);
        if let Some(pem) = &options.ca_pem {
            http = http.add_root_certificate(reqwest::Certificate::from_pem(pem).map_err(Error::Setup)?);
        }
        Ok(Self { http: http.build().map_err(Error::Setup)?, options, token: tokio::sync::Mutex::new(None) })
    }

    /// Where the service is and who asks.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// URL of a session.
    pub fn session_url(&self, id: &SessionId) -> String {
        format!("{}/accounts/{}/sessions/{id}", self.options.endpoint, self.options.account)
    }

    /// An access token, asked for once and kept until shortly before it ends.
    ///
    /// # Errors
    /// Any of [`Error`]; a wrong key is `Refused` with 401.
    pub async fn token(&self) -> Result<String, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Token {
            access_token: String,
        }
        let mut kept = self.token.lock().await;
        if let Some((asked, token)) = &*kept
            && asked.elapsed() + TOKEN_MARGIN < TOKEN_LIFE
        {
            return Ok(token.clone());
        }
        let Options { endpoint, token_endpoint, account, key, .. } = &self.options;
        let endpoint = token_endpoint.as_ref().unwrap_or(endpoint);
        let url = format!("{endpoint}/Accounts/{account}/token?api-version=2019-02-28-preview");
        let answer = self.send(self.http.get(&url).bearer_auth(format!("{account}:{key}")), &url).await?;
        let token: Token = read(answer, &url).await?;
        *kept = Some((Instant::now(), token.access_token.clone()));
        Ok(token.access_token)
    }

    /// Creates a session, or finds the one that the same request made before.
    ///
    /// # Errors
    /// Any of [`Error`].
    pub async fn create(
        &self,
        id: &SessionId,
        size: SessionSize,
        lease_minutes: u32,
    ) -> Result<Session, Error> {
        let body = serde_json::json!({ "maxLeaseTimeMinutes": lease_minutes, "size": size });
        let url = self.with_version(&self.session_url(id));
        let answer = self.ask(self.http.put(&url).json(&body), &url).await?;
        read(answer, &url).await
    }

    /// How a session is.
    ///
    /// # Errors
    /// Any of [`Error`].
    pub async fn get(&self, id: &SessionId) -> Result<Session, Error> {
        let url = self.with_version(&self.session_url(id));
        read(self.ask(self.http.get(&url), &url).await?, &url).await
    }

    /// Sets the total lease.
    ///
    /// # Errors
    /// Any of [`Error`]; a lease that is not longer is `Refused` with 422.
    pub async fn extend(&self, id: &SessionId, lease_minutes: u32) -> Result<Session, Error> {
        let body = serde_json::json!({ "maxLeaseTimeMinutes": lease_minutes });
        let url = self.with_version(&self.session_url(id));
        let answer = self.ask(self.http.patch(&url).json(&body), &url).await?;
        read(answer, &url).await
    }

    /// Ends a session; ending it again is no error.
    ///
    /// # Errors
    /// Any of [`Error`].
    pub async fn stop(&self, id: &SessionId) -> Result<(), Error> {
        let url = self.with_version(&format!("{}/:stop", self.session_url(id)));
        self.ask(self.http.post(&url), &url).await.map(drop)
    }

    /// The account's sessions that are Starting or Ready, in creation order.
    ///
    /// # Errors
    /// Any of [`Error`].
    pub async fn list(&self) -> Result<Vec<Session>, Error> {
        let Options { endpoint, account, .. } = &self.options;
        let mut url = self.with_version(&format!("{endpoint}/accounts/{account}/sessions"));
        let mut sessions = Vec::new();
        for _page in 0..MAX_PAGES {
            let page: SessionList = read(self.ask(self.http.get(&url), &url).await?, &url).await?;
            sessions.extend(page.sessions);
            match page.next_link {
                // The token goes where the link points: only back to the service that gave it.
                Some(next) if next.starts_with(&format!("{endpoint}/")) => url = next,
                Some(next) => {
                    let what = format!("its next page is elsewhere, at {next}");
                    return Err(Error::Unexpected { url, what });
                }
                None => break,
            }
        }
        Ok(sessions)
    }

    fn with_version(&self, url: &str) -> String {
        format!("{url}?api-version={API_VERSION}")
    }

    /// Sends with an access token.
    async fn ask(&self, request: reqwest::RequestBuilder, url: &str) -> Result<reqwest::Response, Error> {
        let token = self.token().await?;
        self.send(request.bearer_auth(token), url).await
    }

    /// Sends; an answer that is not a success is an error with the service's own words.
    async fn send(&self, request: reqwest::RequestBuilder, url: &str) -> Result<reqwest::Response, Error> {
        let unreachable = |source| Error::Unreachable { url: url.to_owned(), source };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let retry_after = answer.headers().get(reqwest::header::RETRY_AFTER);
        let retry_after =
            retry_after.and_then(|secs| secs.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        let body = answer.text().await.map_err(unreachable)?;
        let error = match serde_json::from_str::<ErrorBody>(&body) {
            Ok(body) => body.error,
            // 401 and 429 come without a body.
            Err(_no_body) => ApiError::new(
                status.canonical_reason().unwrap_or("Refused").replace(' ', ""),
                match status.as_u16() {
                    401 => "The service does not accept this account key or token.",
                    429 => "Too many requests; try again in a minute.",
                    _ => "The service gave no reason.",
                },
            ),
        };
        Err(Error::Refused {
            status: status.as_u16(),
            error: Box::new(error),
            url: url.to_owned(),
            retry_after,
        })
    }
}

async fn read<T: serde::de::DeserializeOwned>(answer: reqwest::Response, url: &str) -> Result<T, Error> {
    let body = answer.bytes().await.map_err(|source| Error::Unreachable { url: url.to_owned(), source })?;
    serde_json::from_slice(&body)
        .map_err(|wrong| Error::Unexpected { url: url.to_owned(), what: wrong.to_string() })
}
