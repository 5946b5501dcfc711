//! Access tokens: short ES256 JWTs, signed with a key from the store.
//!
//! Clients are picky about them. Python and Java decode the payload with plain base64, so its base64url form must
//! have neither `-` nor `_`. ASCII bytes give these letters only where a byte ends in `11111x`, that is for `>`,
//! `?`, `~` and DEL; so the claims are made of other ASCII characters, and [`Tokens::issue`] checks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use protocol::AccountId;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde::{Deserialize, Serialize};
use serde_json::json;
use session::Timestamp;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::clock::Clock;
use crate::secrets::SecretHash;
use crate::store::{Store, StoreError, StoredSigningKey};

/// How long an access token is good: what Azure's are.
pub const TOKEN_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// What the holder of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Everything: sessions, connections, conversions.
    Administrator,
    /// Sessions and connections.
    Client,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The signing keys could not be read or written.
    #[error("the signing keys are not available")]
    Store(#[from] StoreError),
    /// A signing key could not be made.
    #[error("failed to make a signing key")]
    Key(#[from] rcgen::Error),
    /// There is no signing key.
    #[error("there is no signing key")]
    NoKey,
    /// Signing failed.
    #[error("failed to sign a token")]
    Sign(#[from] jsonwebtoken::errors::Error),
    /// The claims would break clients; a bug.
    #[error("a token's claims have characters that clients cannot decode")]
    Claims,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    jti: Uuid,
    /// The account.
    aid: AccountId,
    /// The account again, as Azure's tokens have it.
    cai: AccountId,
    tid: Uuid,
    role: Role,
    nbf: i64,
    exp: i64,
    iat: i64,
    iss: String,
    aud: String,
}

/// Who presented a good token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) account: AccountId,
    pub(crate) role: Role,
}

/// How long a key signs. After that a new one does, and the old one checks until its last token has died.
pub const SIGNING_KEY_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How much longer than a token's life a replaced key is kept: more than [`REFRESH`], during which a server that was
/// not told yet still signs with it.
const GRACE: Duration = Duration::from_secs(10 * 60);

/// How long a closed account is remembered: until its last token has died.
const CLOSED_LIFE: Duration = TOKEN_LIFE.saturating_add(GRACE);

/// How often keys are looked after, and changes by the command line are noticed.
pub(crate) const REFRESH: Duration = Duration::from_secs(60);

/// What is to be done with the signing keys.
#[derive(Debug, PartialEq, Eq)]
struct Care {
    /// The newest one, if any, has signed long enough.
    add: bool,
    /// How many of the newest are kept; the others' last tokens have died.
    n_kept: usize,
}

/// Decides from the keys' times of creation, newest first. A key signs until the next newer one is made.
fn care(now: Timestamp, created: &[Timestamp]) -> Care {
    let replaced = created.iter().take_while(|next| **next + TOKEN_LIFE + GRACE > now).count();
    Care {
        add: created.first().is_none_or(|newest| *newest + SIGNING_KEY_LIFE <= now),
        // The one after the last whose successor is young, and in any case the newest.
        n_kept: created.len().min(replaced + 1),
    }
}

/// Makes and checks access tokens.
pub(crate) struct Tokens {
    keys: RwLock<Arc<Keys>>,
    /// Accounts that are gone, and since when; kept while tokens of them may be about.
    closed: RwLock<HashMap<AccountId, Timestamp>>,
    issuer: String,
    audience: String,
}

/// The keys of a moment.
struct Keys {
    signing: EncodingKey,
    /// By id; the first one belongs to `signing`.
    checking: Vec<(String, DecodingKey)>,
    jwks: String,
    /// Tokens whose signatures were found good, by hash. A client shows one token thousands of times, and checking its
    /// signature is half of the work of a GET. Gone with these keys, so within [`REFRESH`].
    good: Mutex<HashMap<SecretHash, Good>>,
}

/// What a good token says.
#[derive(Clone, Copy)]
struct Good {
    identity: Identity,
    not_before: i64,
    expires: i64,
}

/// Good tokens that are remembered; some 100 bytes each. Only holders of account keys can make one.
const GOOD_MAX: usize = 4_096;

impl Keys {
    /// Of stored keys, newest first.
    fn new(stored: &[StoredSigningKey]) -> Result<Self, TokenError> {
        let newest = stored.first().ok_or(TokenError::NoKey)?;
        let mut checking = Vec::with_capacity(stored.len());
        let mut jwks = Vec::with_capacity(stored.len());
        for key in stored {
            let der = key.pkcs8.as_slice().into();
            let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256)?;
            // An uncompressed point: 4, then x and y of 32 bytes each.
            let point = pair.public_key_raw();
            let (x, y) = point.get(1..).unwrap_or_default().split_at_checked(32).unwrap_or_default();
            let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
            checking.push((key.id.clone(), DecodingKey::from_ec_components(&x, &y)?));
            jwks.push(json!({
                "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": key.id, "x": x, "y": y,
            }));
        }
        let signing = EncodingKey::from_ec_der(&newest.pkcs8);
        Ok(Self { signing, checking, jwks: json!({ "keys": jwks }).to_string(), good: Mutex::default() })
    }
}

/// Whether a stored key can sign.
pub(crate) fn is_key(key: &StoredSigningKey) -> bool {
    Keys::new(std::slice::from_ref(key)).is_ok()
}

/// Makes a key and stores it: from its next look on, a server signs with it.
pub(crate) async fn add_key(store: &Store, now: Timestamp) -> Result<(), TokenError> {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let id = Uuid::new_v4().simple().to_string();
    let key = StoredSigningKey { id, pkcs8: pair.serialize_der(), created_at: now };
    Ok(store.add_signing_key(&key).await?)
}

/// Brings the stored keys in order and reads them.
async fn cared_for(store: &Store, now: Timestamp) -> Result<Keys, TokenError> {
    let created = |keys: &[StoredSigningKey]| keys.iter().map(|key| key.created_at).collect::<Vec<_>>();
    let mut stored = store.signing_keys().await?;
    if care(now, &created(&stored)).add {
        add_key(store, now).await?;
        tracing::info!("access tokens are signed with a new key");
        stored = store.signing_keys().await?;
    }
    let n_kept = care(now, &created(&stored)).n_kept;
    if n_kept < stored.len() {
        // At the same microsecond as an older one, a key may be kept a little longer.
        if let Some(oldest) = stored.get(n_kept.saturating_sub(1)) {
            store.forget_signing_keys(oldest.created_at).await?;
        }
        stored.truncate(n_kept);
    }
    Keys::new(&stored)
}

impl Tokens {
    /// Takes the signing keys of the store, or makes the first. `domain` is the account domain.
    pub(crate) async fn open(store: &Store, domain: &str, clock: &dyn Clock) -> Result<Self, TokenError> {
        let now = clock.now();
        let life_micros = u64::try_from(CLOSED_LIFE.as_micros()).unwrap_or(u64::MAX);
        let since = Timestamp::from_micros(now.as_micros().saturating_sub(life_micros));
        let closed = store.closed_accounts(since).await?;
        let tokens = Self::new(cared_for(store, now).await?, domain);
        *tokens.closed.write().unwrap_or_else(PoisonError::into_inner) = closed.into_iter().collect();
        Ok(tokens)
    }

    fn new(keys: Keys, domain: &str) -> Self {
        Self {
            keys: RwLock::new(Arc::new(keys)),
            closed: RwLock::default(),
            issuer: format!("https://sts.{domain}"),
            audience: format!("https://remoterendering.{domain}"),
        }
    }

    /// Looks after the keys for as long as it is polled.
    pub(crate) async fn keep(self: Arc<Self>, store: Store, clock: Arc<dyn Clock>) {
        let mut now = clock.now();
        loop {
            // From the last look on, not from its end: a clock that goes forward meanwhile is noticed.
            clock.sleep_until(now + REFRESH).await;
            now = clock.now();
            match cared_for(&store, now).await {
                Ok(keys) => *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys),
                // The old ones go on signing.
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "failed to look after the signing keys"
                ),
            }
        }
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The public keys as a JSON Web Key Set.
    pub(crate) fn jwks(&self) -> String {
        self.keys().jwks.clone()
    }

    /// Makes the tokens of an account worthless.
    pub(crate) fn close(&self, now: Timestamp, account: AccountId) {
        let mut closed = self.closed.write().unwrap_or_else(PoisonError::into_inner);
        closed.retain(|_, closed_at| now.since(*closed_at) < CLOSED_LIFE);
        closed.insert(account, now);
    }

    /// A token that says that its holder acts for `account` in `role` for 24 hours from `wall`.
    pub(crate) fn issue(
        &self,
        account: AccountId,
        role: Role,
        wall: OffsetDateTime,
    ) -> Result<String, TokenError> {
        let iat = wall.unix_timestamp();
        let claims = Claims {
            jti: Uuid::new_v4(),
            aid: account,
            cai: account,
            tid: Uuid::nil(),
            role,
            nbf: iat,
            exp: iat + TOKEN_LIFE.as_secs().cast_signed(),
            iat,
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
        };
        let keys = self.keys();
        let kid = keys.checking.first().map(|(id, _)| id.clone());
        let header = Header { kid, ..Header::new(Algorithm::ES256) };
        let token = jsonwebtoken::encode(&header, &claims, &keys.signing)?;
        let payload = token.split('.').nth(1).ok_or(TokenError::Claims)?;
        if payload.contains(['-', '_']) { Err(TokenError::Claims) } else { Ok(token) }
    }

    /// Who holds `token`, if it is ours and good at `wall`.
    pub(crate) fn check(&self, token: &str, wall: OffsetDateTime) -> Option<Identity> {
        let keys = self.keys();
        let hash = SecretHash::of(token);
        let known = keys.good().get(&hash).copied();
        let good = match known {
            Some(good) => good,
            None => {
                let good = self.verify(&keys, token)?;
                let mut all = keys.good();
                if all.len() >= GOOD_MAX {
                    all.clear();
                }
                all.insert(hash, good);
                good
            }
        };
        let now = wall.unix_timestamp();
        let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        let in_time = good.not_before <= now && now < good.expires;
        (in_time && !closed.contains_key(&good.identity.account)).then_some(good.identity)
    }

    /// What `token` says, if one of `keys` signed it for us.
    fn verify(&self, keys: &Keys, token: &str) -> Option<Good> {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        // By whoever asks, against our clock.
        validation.validate_exp = false;
        let kid = jsonwebtoken::decode_header(token).ok()?.kid?;
        let (_, key) = keys.checking.iter().find(|(id, _)| *id == kid)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &validation).ok()?.claims;
        let identity = Identity { account: claims.aid, role: claims.role };
        Some(Good { identity, not_before: claims.nbf, expires: claims.exp })
    }
}

impl Keys {
    fn good(&self) -> MutexGuard<'_, HashMap<SecretHash, Good>> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(domain: &str) -> Tokens {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let id = Uuid::new_v4().simple().to_string();
        let created_at = Timestamp::default();
        let stored = StoredSigningKey { id, pkcs8: pair.serialize_der(), created_at };
        Tokens::new(Keys::new(&[stored]).unwrap(), domain)
    }

    fn account() -> AccountId {
        AccountId::new(Uuid::new_v4())
    }

    /// Items 22 to 24 of the conformance list.
    #[test]
    fn tokens_survive_every_client() {
        let tokens = tokens("localhost:8443");
        let start = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        for n in 0..10_000 {
            let wall = start + Duration::from_secs(n * 7_919);
            let token = tokens.issue(account(), Role::Administrator, wall).unwrap();
            let parts: Vec<&str> = token.split('.').collect();
            assert_eq!(parts.len(), 3);
            assert!(!parts[1].contains(['-', '_']), "{}", parts[1]);
            let header = URL_SAFE_NO_PAD.decode(parts[0]).unwrap();
            let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
            assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("JWT")));
            let payload = base64::engine::general_purpose::STANDARD_NO_PAD.decode(parts[1]).unwrap();
            let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(payload["exp"].as_i64().unwrap() - payload["iat"].as_i64().unwrap(), 86_400);
        }
    }

    #[test]
    fn keys_are_replaced_by_age_and_kept_until_their_last_token_died() {
        let hours = |n: u64| Timestamp::from_secs(1_700_000_000 + n * 3_600);
        let month = 30 * 24;
        for (now, created, add, n_kept) in [
            (0, vec![], true, 0),
            (0, vec![0], false, 1),
            (month - 1, vec![0], false, 1),
            (month, vec![0], true, 1),
            // Its successor is young: tokens of the older one live.
            (month, vec![month, 0], false, 2),
            (month + 24, vec![month, 0], false, 2),
            (month + 25, vec![month, 0], false, 1),
            // Replaced by hand, several times a day.
            (30, vec![29, 20, 10, 1, 0], false, 4),
            (100, vec![29, 20, 10, 1, 0], false, 1),
            // A key from the future, after the clock was set back.
            (0, vec![50, 10], false, 2),
        ] {
            let created: Vec<Timestamp> = created.into_iter().map(hours).collect();
            assert_eq!(care(hours(now), &created), Care { add, n_kept }, "{now} {created:?}");
        }
    }

    #[test]
    fn characters_that_break_clients_are_refused() {
        // Whether `~` shows depends on its place, so three domains put it in all three.
        let refused = ["~", "a~", "aa~"].map(|domain| {
            matches!(
                tokens(domain).issue(account(), Role::Client, OffsetDateTime::UNIX_EPOCH),
                Err(TokenError::Claims)
            )
        });
        assert!(refused.contains(&true));
    }

    #[test]
    fn only_our_own_tokens_in_their_time_are_good() {
        let (ours, theirs) = (tokens("localhost"), tokens("localhost"));
        let identity = Identity { account: account(), role: Role::Client };
        let start = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        let token = ours.issue(identity.account, identity.role, start).unwrap();
        assert_eq!(ours.check(&token, start), Some(identity));
        assert_eq!(ours.check(&token, start + TOKEN_LIFE - Duration::from_secs(1)), Some(identity));
        assert_eq!(ours.check(&token, start + TOKEN_LIFE), None, "also if it was good before");
        assert_eq!(ours.check(&token, start - Duration::from_secs(1)), None);
        assert_eq!(theirs.check(&token, start), None);
        let (signed, _signature) = token.rsplit_once('.').unwrap();
        assert_eq!(ours.check(&format!("{signed}."), start), None);
        assert_eq!(ours.check("", start), None);
    }

    #[test]
    fn good_tokens_are_remembered_as_long_as_their_keys() {
        let (tokens, later) = (tokens("localhost"), tokens("localhost"));
        let start = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        let token = tokens.issue(account(), Role::Client, start).unwrap();
        assert!(tokens.check(&token, start).is_some());
        let remembered = |tokens: &Tokens| tokens.keys().good().len();
        assert_eq!(remembered(&tokens), 1);
        assert!(tokens.check(&token, start).is_some());
        assert_eq!(tokens.check(&format!("{token}x"), start), None);
        assert_eq!(remembered(&tokens), 1, "neither twice nor bad ones");
        let good =
            Good { identity: Identity { account: account(), role: Role::Client }, not_before: 0, expires: 0 };
        tokens.keys().good().extend((1..GOOD_MAX).map(|n| (SecretHash::of(&n.to_string()), good)));
        assert_eq!(remembered(&tokens), GOOD_MAX);
        let other = tokens.issue(account(), Role::Client, start).unwrap();
        assert!(tokens.check(&other, start).is_some());
        assert_eq!(remembered(&tokens), 1, "bounded");
        // Revoked: its key is gone, and with it what was remembered.
        *tokens.keys.write().unwrap() = later.keys();
        assert_eq!(tokens.check(&token, start), None);
    }
}
