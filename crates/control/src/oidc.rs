//! Tokens of other issuers (Entra ID, or any that speaks OpenID Connect), and what they are good for here.
//!
//! ```text
//!  token ── iss ──▶ Issuer ── known key? ──▶ signature, audience, time ──▶ role
//!                     │ no, and it is time to ask
//!                     ▼
//!                  one fetch at a time: discovery document ──▶ key set      (back-off after failures)
//! ```
//!
//! OpenID Connect Discovery 1.0, RFC 7517 (key sets), RFC 8725 (what can go wrong with JWTs).

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use protocol::AccountId;
use serde::Deserialize;
use serde_json::Value;
use session::Timestamp;
use time::OffsetDateTime;
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::tokens::{Identity, Role};

/// How long keys are used before they are fetched anew.
const KEYS_LIFE: Duration = Duration::from_secs(60 * 60);

/// How long they are used when they cannot be fetched anew.
const KEYS_LIFE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How soon after a fetch a token with an unknown key may cause the next one: anybody can make such a token.
const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(30);

/// Longest pause after failures; the first is a second, each further one twice as long.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);

/// How far the issuer's clock may be off.
const LEEWAY_SECS: i64 = 60;

/// From the request to the last byte, for each of two documents.
const FETCH_TIMEOUT: Duration = Duration::from_secs(4);

/// Longest document; Entra's key set has some ten KiB.
const DOCUMENT_BYTES_MAX: usize = 256 * 1024;

/// Keys that are read of a set.
const KEYS_MAX: usize = 64;

/// Signatures with public keys only: with a shared secret, whoever can check could sign.
const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Role names that give all rights: ours, Azure's, and the id of Azure's.
const ADMINISTRATOR: [&str; 3] =
    ["Administrator", "Remote Rendering Administrator", "3df8b902-2a6f-47c7-8cc5-360e9b272a7e"];

/// Role names that give all but conversions.
const CLIENT: [&str; 3] = ["Client", "Remote Rendering Client", "d39065c4-c120-43c9-ab0a-63eed9795f0a"];

/// An issuer whose tokens are exchanged for ours.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OidcIssuer {
    /// As in its tokens' `iss`; its discovery document is below it. `http` is for loopback addresses only.
    pub issuer: String,
    /// What its tokens for us have as `aud`.
    pub audience: String,
    /// The accounts that its tokens may act for, with the role in their claim `roles`.
    pub accounts: Vec<AccountId>,
}

impl OidcIssuer {
    /// Why this cannot be an issuer, if it cannot.
    pub fn flaw(&self) -> Option<String> {
        let issuer = &self.issuer;
        if !is_safe(issuer) {
            return Some(format!(
                "the issuer {issuer:?} is neither an https URL nor an http one of this machine"
            ));
        }
        if self.audience.is_empty() || self.accounts.is_empty() {
            return Some(format!("the issuer {issuer:?} needs an audience and at least one account"));
        }
        None
    }
}

/// Whether what is read there comes from whom the URL names.
fn is_safe(url: &str) -> bool {
    let Ok(uri) = url.parse::<axum::http::Uri>() else { return false };
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(host)) => !host.is_empty(),
        (Some("http"), Some(host)) => {
            let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
        }
        _ => false,
    }
}

/// Why a token gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// Not one that we trust.
    Invalid,
    /// One that we trust, which gives no right on this account.
    NoRight,
    /// Its issuer's keys cannot be had now.
    Unavailable,
}

/// What is known of an issuer's keys.
#[derive(Clone, Debug, Default)]
struct Keys {
    by_id: HashMap<String, Jwk>,
    fetched_at: Option<Timestamp>,
    n_failures: u32,
    failed_at: Option<Timestamp>,
}

impl Keys {
    /// The key of that id, unless it is too old to be trusted.
    fn key(&self, now: Timestamp, id: &str) -> Option<&Jwk> {
        self.fetched_at.filter(|at| now.since(*at) < KEYS_LIFE_MAX).and_then(|_| self.by_id.get(id))
    }

    /// Whether to fetch before a token with the key `id` is checked.
    fn is_due(&self, now: Timestamp, id: &str) -> bool {
        if let Some(failed_at) = self.failed_at {
            let back_off =
                Duration::from_secs(1 << self.n_failures.saturating_sub(1).min(6)).min(BACK_OFF_MAX);
            if now.since(failed_at) < back_off {
                return false;
            }
        }
        self.fetched_at.is_none_or(|at| {
            let age = now.since(at);
            age >= KEYS_LIFE || (!self.by_id.contains_key(id) && age >= UNKNOWN_KEY_PAUSE)
        })
    }
}

struct Issuer {
    config: OidcIssuer,
    keys: RwLock<Arc<Keys>>,
    /// Held by whoever fetches; the others wait and look again.
    flight: Mutex<()>,
}

/// All configured issuers.
pub(crate) struct Issuers {
    issuers: Vec<Issuer>,
    /// None without issuers: making one reads the machine's certificates, which takes a while.
    http: Option<reqwest::Client>,
    clock: Arc<dyn Clock>,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: Option<String>,
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    /// A list, or one word.
    #[serde(default)]
    roles: Value,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl Issuers {
    pub(crate) fn new(issuers: Vec<OidcIssuer>, clock: Arc<dyn Clock>) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            // A redirect would take the trust in one address to another.
            .redirect(reqwest::redirect::Policy::none())
            .timeout(FETCH_TIMEOUT);
        let http = if issuers.is_empty() { None } else { Some(http.build()?) };
        let issuers = issuers
            .into_iter()
            .map(|config| Issuer { config, keys: RwLock::default(), flight: Mutex::new(()) })
            .collect();
        Ok(Self { issuers, http, clock })
    }

    /// Who presents `token` to act for `account`.
    pub(crate) async fn check(&self, token: &str, account: AccountId) -> Result<Trusted, Rejected> {
        let header = jsonwebtoken::decode_header(token).map_err(|_odd| Rejected::Invalid)?;
        let id = header.kid.ok_or(Rejected::Invalid)?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(Rejected::Invalid);
        }
        // Only says whose keys to try.
        let said: HashMap<String, Value> =
            jsonwebtoken::dangerous::insecure_decode(token).map_err(|_odd| Rejected::Invalid)?.claims;
        let issuer = self
            .issuers
            .iter()
            .find(|issuer| said.get("iss").and_then(Value::as_str) == Some(&issuer.config.issuer))
            .ok_or(Rejected::Invalid)?;
        let key = self.key(issuer, &id).await?;
        let now = self.clock.wall();
        let (role, subject) = check(token, header.alg, &key, &issuer.config, now)?;
        let role = role.ok_or(Rejected::NoRight)?;
        if issuer.config.accounts.contains(&account) {
            Ok(Trusted {
                identity: Identity { account, role },
                issuer: issuer.config.issuer.clone(),
                subject: subject.map(|subject| subject.chars().take(SUBJECT_CHARS_MAX).collect()),
            })
        } else {
            Err(Rejected::NoRight)
        }
    }

    async fn key(&self, issuer: &Issuer, id: &str) -> Result<Jwk, Rejected> {
        let keys = || Arc::clone(&issuer.keys.read().unwrap_or_else(PoisonError::into_inner));
        if keys().is_due(self.clock.now(), id) {
            let _flight = issuer.flight.lock().await;
            // Somebody else may have fetched while we waited.
            if keys().is_due(self.clock.now(), id) {
                let mut next = Keys::clone(&keys());
                match self.fetch(&issuer.config).await {
                    Ok(by_id) => {
                        next = Keys { by_id, fetched_at: Some(self.clock.now()), ..Keys::default() };
                    }
                    Err(error) => {
                        let issuer = &issuer.config.issuer;
                        tracing::warn!(%error, issuer, "failed to fetch the keys of an issuer");
                        next.n_failures = next.n_failures.saturating_add(1);
                        next.failed_at = Some(self.clock.now());
                    }
                }
                *issuer.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
            }
        }
        let (keys, now) = (keys(), self.clock.now());
        match keys.key(now, id) {
            Some(key) => Ok(key.clone()),
            None if keys.failed_at.is_some() => Err(Rejected::Unavailable),
            None => Err(Rejected::Invalid),
        }
    }

    async fn fetch(&self, config: &OidcIssuer) -> Result<HashMap<String, Jwk>, String> {
        let base = config.issuer.trim_end_matches('/');
        let url = format!("{base}/.well-known/openid-configuration");
        let discovery: Discovery = self.document(&url).await?;
        if discovery.issuer != config.issuer {
            return Err(format!("{url} is about {:?}", discovery.issuer));
        }
        if !is_safe(&discovery.jwks_uri) {
            return Err(format!("the key set's address {:?} is not safe", discovery.jwks_uri));
        }
        let set: KeySet = self.document(&discovery.jwks_uri).await?;
        // Keys of kinds that we do not know are none of ours.
        let keys =
            set.keys.into_iter().take(KEYS_MAX).filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        Ok(keys.filter_map(|key| Some((key.common.key_id.clone()?, key))).collect())
    }

    async fn document<T: for<'a> Deserialize<'a>>(&self, url: &str) -> Result<T, String> {
        let refuse = |error: reqwest::Error| format!("{url}: {error}");
        let http = self.http.as_ref().ok_or("no issuer is configured")?;
        let mut answer = http.get(url).send().await.map_err(refuse)?;
        if answer.status() != 200 {
            return Err(format!("{url} answers {}", answer.status()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(refuse)? {
            if bytes.len() + chunk.len() > DOCUMENT_BYTES_MAX {
                return Err(format!("{url} has more than {DOCUMENT_BYTES_MAX} bytes"));
            }
            bytes.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&bytes).map_err(|error| format!("{url}: {error}"))
    }
}

/// Longest subject that is kept for the audit log.
const SUBJECT_CHARS_MAX: usize = 256;

/// Who presented a good token of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trusted {
    pub(crate) identity: Identity,
    pub(crate) issuer: String,
    /// Whom the issuer means, in its own terms.
    pub(crate) subject: Option<String>,
}

/// The role that a token gives by itself, wherever it may be used, and its subject.
fn check(
    token: &str,
    algorithm: Algorithm,
    key: &Jwk,
    config: &OidcIssuer,
    wall: OffsetDateTime,
) -> Result<(Option<Role>, Option<String>), Rejected> {
    // A key that says what it is for is used for nothing else.
    let fits = key
        .common
        .key_algorithm
        .is_none_or(|known| Algorithm::try_from(known).is_ok_and(|known| known == algorithm));
    if !fits {
        return Err(Rejected::Invalid);
    }
    let key = DecodingKey::from_jwk(key).map_err(|_odd| Rejected::Invalid)?;
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[&config.issuer]);
    validation.set_audience(&[&config.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    // Below, against our clock.
    validation.validate_exp = false;
    let claims =
        jsonwebtoken::decode::<Claims>(token, &key, &validation).map_err(|_bad| Rejected::Invalid)?.claims;
    let now = wall.unix_timestamp();
    let begins = claims.nbf.unwrap_or(now).saturating_sub(LEEWAY_SECS);
    if now < begins || claims.exp.saturating_add(LEEWAY_SECS) <= now {
        return Err(Rejected::Invalid);
    }
    let roles: Vec<&str> = match &claims.roles {
        Value::String(role) => vec![role],
        Value::Array(roles) => roles.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let has = |names: &[&str]| roles.iter().any(|role| names.contains(role));
    let role = if has(&ADMINISTRATOR) {
        Some(Role::Administrator)
    } else if has(&CLIENT) {
        Some(Role::Client)
    } else {
        None
    };
    Ok((role, claims.sub))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fetched_when_it_helps_and_not_more_often() {
        let at = |secs: u64| Timestamp::from_secs(1_000_000 + secs);
        let none = Keys::default();
        assert!(none.is_due(at(0), "a"), "at first");
        let failed = |n_failures| Keys { n_failures, failed_at: Some(at(0)), ..Keys::default() };
        for (n_failures, pause) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (1_000, 60)] {
            assert!(!failed(n_failures).is_due(at(pause - 1), "a"), "{n_failures}");
            assert!(failed(n_failures).is_due(at(pause), "a"), "{n_failures}");
        }
        let jwk: Jwk = serde_json::from_str(r#"{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"a"}"#).unwrap();
        let known = Keys {
            by_id: HashMap::from([("a".to_owned(), jwk)]),
            fetched_at: Some(at(0)),
            ..Keys::default()
        };
        assert!(!known.is_due(at(3_599), "a") && known.is_due(at(3_600), "a"), "by age");
        assert!(!known.is_due(at(29), "b") && known.is_due(at(30), "b"), "for an unknown key");
        assert!(known.key(at(86_399), "a").is_some() && known.key(at(86_400), "a").is_none(), "not for ever");
    }

    #[test]
    fn issuers_are_safe_places() {
        for (url, safe) in [
            ("https://login.microsoftonline.com/tenant/v2.0", true),
            ("http://127.0.0.1:5000", true),
            ("http://[::1]:5000/x", true),
            ("http://localhost", true),
            ("http://example.com", false),
            ("http://127.0.0.1.example.com", false),
            ("ftp://localhost", false),
            ("localhost", false),
            ("", false),
        ] {
            assert_eq!(is_safe(url), safe, "{url}");
        }
    }
}
