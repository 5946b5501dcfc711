//! Access tokens: short ES256 JWTs, signed with a key from the store.
//!
//! Clients are picky about them. Python and Java decode the payload with plain base64, so its base64url form must
//! have neither `-` nor `_`. ASCII bytes give these letters only where a byte ends in `11111x`, that is for `>`,
//! `?`, `~` and DEL; so the claims are made of other ASCII characters, and [`Tokens::issue`] checks.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use protocol::AccountId;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::clock::Clock;
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

/// Makes and checks access tokens.
pub(crate) struct Tokens {
    key_id: String,
    signing: EncodingKey,
    checking: DecodingKey,
    jwks: String,
    issuer: String,
    audience: String,
}

impl Tokens {
    /// Takes the newest signing key of the store, or makes the first. `domain` is the account domain.
    pub(crate) async fn open(store: &Store, domain: &str, clock: &dyn Clock) -> Result<Self, TokenError> {
        let stored = match store.signing_keys().await?.into_iter().next() {
            Some(stored) => stored,
            None => {
                let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
                let stored =
                    StoredSigningKey { id: Uuid::new_v4().simple().to_string(), pkcs8: pair.serialize_der() };
                store.add_signing_key(&stored, clock.now()).await?;
                stored
            }
        };
        Self::new(stored, domain)
    }

    fn new(stored: StoredSigningKey, domain: &str) -> Result<Self, TokenError> {
        let der = stored.pkcs8.as_slice().into();
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256)?;
        // An uncompressed point: 4, then x and y of 32 bytes each.
        let point = pair.public_key_raw();
        let (x, y) = point.get(1..).unwrap_or_default().split_at_checked(32).unwrap_or_default();
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": stored.id, "x": x, "y": y,
        });
        Ok(Self {
            signing: EncodingKey::from_ec_der(&stored.pkcs8),
            checking: DecodingKey::from_ec_components(&x, &y)?,
            jwks: json!({ "keys": [jwk] }).to_string(),
            key_id: stored.id,
            issuer: format!("https://sts.{domain}"),
            audience: format!("https://remoterendering.{domain}"),
        })
    }

    /// The public keys as a JSON Web Key Set.
    pub(crate) fn jwks(&self) -> &str {
        &self.jwks
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
        let header = Header { kid: Some(self.key_id.clone()), ..Header::new(Algorithm::ES256) };
        let token = jsonwebtoken::encode(&header, &claims, &self.signing)?;
        let payload = token.split('.').nth(1).ok_or(TokenError::Claims)?;
        if payload.contains(['-', '_']) { Err(TokenError::Claims) } else { Ok(token) }
    }

    /// Who holds `token`, if it is ours and good at `wall`.
    pub(crate) fn check(&self, token: &str, wall: OffsetDateTime) -> Option<Identity> {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        // Below, against our clock.
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.checking, &validation).ok()?.claims;
        let now = wall.unix_timestamp();
        (claims.nbf <= now && now < claims.exp).then_some(Identity { account: claims.aid, role: claims.role })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(domain: &str) -> Tokens {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let stored =
            StoredSigningKey { id: Uuid::new_v4().simple().to_string(), pkcs8: pair.serialize_der() };
        Tokens::new(stored, domain).unwrap()
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
        assert_eq!(ours.check(&token, start + TOKEN_LIFE), None);
        assert_eq!(ours.check(&token, start - Duration::from_secs(1)), None);
        assert_eq!(theirs.check(&token, start), None);
        let (signed, _signature) = token.rsplit_once('.').unwrap();
        assert_eq!(ours.check(&format!("{signed}."), start), None);
        assert_eq!(ours.check("", start), None);
    }
}
