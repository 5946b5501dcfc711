//! Certificates by ACME (RFC 8555) with TLS-ALPN-01 (RFC 8737): the server proves that a domain is its own by what it
//! answers on its TLS port, so nothing but that port is needed.
//!
//! Account and certificate are kept in the data folder; a certificate is renewed when a third of its life is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Current, TlsError, covers, validity};
use crate::clock::Clock;
use crate::files::{make_private_folder, write_private};

/// How often we look whether it is time to renew.
const LOOK: Duration = Duration::from_secs(60 * 60);

/// After a failure; doubled after each further one. Let's Encrypt takes five failures per name and hour.
const RETRY_MIN: Duration = Duration::from_secs(15 * 60);
const RETRY_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The first failures are mostly of our own making (a name that does not lead here yet), and somebody is watching.
const RETRY_FIRST: Duration = Duration::from_secs(30);

/// A whole order; ACME servers take seconds.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// How certificates are ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// The names that the certificate is for. All must lead to our HTTPS port as 443.
    pub domains: Vec<String>,
    /// Mail address for the server's warnings.
    pub contact: Option<String>,
    /// URL of the server's directory.
    pub directory: String,
    /// PEM file with the certificate authority of the directory itself, if it is a private one.
    pub directory_ca: Option<PathBuf>,
}

/// The account, as it is kept.
#[derive(Serialize, Deserialize)]
struct Stored {
    directory: String,
    credentials: AccountCredentials,
}

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
enum AcmeError {
    #[error(transparent)]
    Protocol(#[from] instant_acme::Error),
    #[error("the server offers no TLS-ALPN-01 challenge for {0}")]
    NoChallenge(String),
    #[error("the server does not trust that {domain} is ours: {why}")]
    Refused { domain: String, why: String },
    #[error("the order became {0:?}")]
    Order(OrderStatus),
    #[error("it took longer than {ORDER_TIMEOUT:?}")]
    Timeout,
    #[error("failed to make a key or request")]
    Make(#[from] rcgen::Error),
    #[error("the server gave a certificate that cannot be used: {0}")]
    Certificate(String),
    #[error("failed to keep it")]
    Keep(#[from] std::io::Error),
}

/// Orders and renews.
pub(super) struct Keeper {
    acme: Acme,
    dir: PathBuf,
    /// When to order; at once if none.
    renew_at: Option<OffsetDateTime>,
}

impl Keeper {
    /// Takes up what an earlier process has ordered.
    pub(super) fn open(
        acme: Acme,
        dir: &Path,
        current: &Current,
        wall: OffsetDateTime,
    ) -> Result<Self, TlsError> {
        make_private_folder(dir).map_err(|source| TlsError::File { path: dir.to_owned(), source })?;
        let mut keeper = Self { acme, dir: dir.to_owned(), renew_at: None };
        match fs::read(keeper.certificate_path()) {
            Ok(pem) => match keeper.parse(&pem, wall) {
                Ok((pair, renew_at)) => {
                    current.replace(pair);
                    keeper.renew_at = Some(renew_at);
                }
                Err(why) => tracing::warn!("the certificate from before is not used: {why}"),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(TlsError::File { path: keeper.certificate_path(), source }),
        }
        Ok(keeper)
    }

    fn certificate_path(&self) -> PathBuf {
        self.dir.join("certificate.pem")
    }

    /// A chain with its key, for all our names; and when to renew it.
    fn parse(&self, pem: &[u8], wall: OffsetDateTime) -> Result<(Arc<CertifiedKey>, OffsetDateTime), String> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| error.to_string())?;
        let leaf = chain.first().ok_or("it is empty")?;
        let validity = validity(leaf).ok_or("it is no X.509 certificate")?;
        if let Some(domain) = self.acme.domains.iter().find(|domain| !covers(leaf, domain)) {
            return Err(format!("it is not for {domain}"));
        }
        if wall >= validity.ends {
            return Err(format!("it ended at {}", validity.ends));
        }
        let renew_at = validity.ends - (validity.ends - validity.begins) / 3;
        let pair =
            CertifiedKey::from_der(chain, key, &super::provider()).map_err(|error| error.to_string())?;
        Ok((Arc::new(pair), renew_at))
    }

    pub(super) async fn run(mut self, current: &Current, clock: Arc<dyn Clock>) {
        let mut retry = RETRY_FIRST;
        loop {
            let wall = clock.wall();
            if self.renew_at.is_some_and(|at| wall < at) {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            let domains = self.acme.domains.join(", ");
            let ordered = tokio::time::timeout(ORDER_TIMEOUT, self.order(current, wall)).await;
            current.forget_challenges();
            match ordered.unwrap_or(Err(AcmeError::Timeout)) {
                Ok((pair, renew_at)) => {
                    current.replace(pair);
                    self.renew_at = Some(renew_at);
                    retry = RETRY_FIRST;
                    tracing::info!(domains, %renew_at, "a certificate was ordered and taken up");
                }
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        domains,
                        again_in = ?retry,
                        "no certificate could be ordered"
                    );
                    drop(error);
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).clamp(RETRY_MIN, RETRY_MAX);
                }
            }
        }
    }

    async fn order(
        &self,
        current: &Current,
        wall: OffsetDateTime,
    ) -> Result<(Arc<CertifiedKey>, OffsetDateTime), AcmeError> {
        let account = self.account().await?;
        let names: Vec<Identifier> = self.acme.domains.iter().cloned().map(Identifier::Dns).collect();
        let mut order = account.new_order(&NewOrder::new(&names)).await?;
        answer_challenges(&mut order, current).await?;
        let status = order.poll_ready(&RetryPolicy::default()).await?;
        if status != OrderStatus::Ready {
            return Err(why_refused(&mut order).await.unwrap_or(AcmeError::Order(status)));
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut request = CertificateParams::new(self.acme.domains.clone())?;
        request.distinguished_name = DistinguishedName::new();
        order.finalize_csr(request.serialize_request(&key)?.der()).await?;
        let chain = order.poll_certificate(&RetryPolicy::default()).await?;
        let pem = format!("{}{chain}", key.serialize_pem());
        let good = self.parse(pem.as_bytes(), wall).map_err(AcmeError::Certificate)?;
        write_private(&self.certificate_path(), pem.as_bytes())?;
        Ok(good)
    }

    /// Our account at the server, made if there is none.
    async fn account(&self) -> Result<Account, AcmeError> {
        let builder = || match &self.acme.directory_ca {
            Some(path) => Account::builder_with_root(path),
            None => Account::builder(),
        };
        let path = self.dir.join("account.json");
        let stored: Option<Stored> = fs::read(&path).ok().and_then(|json| serde_json::from_slice(&json).ok());
        if let Some(stored) = stored.filter(|stored| stored.directory == self.acme.directory) {
            return Ok(builder()?.from_credentials(stored.credentials).await?);
        }
        let contact: Vec<String> =
            self.acme.contact.iter().map(|address| format!("mailto:{address}")).collect();
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let directory = self.acme.directory.clone();
        let (account, credentials) = builder()?.create(&new, directory.clone(), None).await?;
        let json = serde_json::to_vec(&Stored { directory, credentials }).map_err(std::io::Error::other)?;
        write_private(&path, &json)?;
        Ok(account)
    }
}

/// Makes the certificates that the server wants to see, and asks it to look.
async fn answer_challenges(order: &mut Order, current: &Current) -> Result<(), AcmeError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        let domain = authorization.identifier().to_string();
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            status => return Err(AcmeError::Refused { domain, why: format!("{status:?}") }),
        }
        let mut challenge = authorization
            .challenge(ChallengeType::TlsAlpn01)
            .ok_or_else(|| AcmeError::NoChallenge(domain.clone()))?;
        let pair = challenge_certificate(&domain, challenge.key_authorization().digest().as_ref())?;
        current.challenge(&domain, Arc::new(pair));
        challenge.set_ready().await?;
    }
    Ok(())
}

/// What the server found wrong with the first domain that it does not trust.
async fn why_refused(order: &mut Order) -> Option<AcmeError> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        let errors = authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        if let Some(why) = errors.map(ToString::to_string).next() {
            return Some(AcmeError::Refused { domain: authorization.identifier().to_string(), why });
        }
    }
    None
}

/// Section 3 of RFC 8737: self-signed, for the domain, with the digest in an extension.
fn challenge_certificate(domain: &str, digest: &[u8]) -> Result<CertifiedKey, AcmeError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(vec![domain.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?;
    let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    // Not `from_der`, which refuses the extension: it is critical, and only ACME servers know it.
    let key = super::provider().key_provider.load_private_key(secret);
    let key = key.map_err(|error| AcmeError::Certificate(error.to_string()))?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}
