//! The server's side of TLS, and where its certificate comes from.
//!
//! ```text
//!   own    made by a certificate authority in the data folder, for trying things out ─┐
//!   files  the operator's, read again when they change ───────────────────────────────┼─▶ Current ─▶ new connections
//!   acme   ordered from Let's Encrypt or another, renewed in time ────────────────────┘
//! ```
//!
//! Connections keep what they began with; [`Current`] decides for new ones alone.

mod acme;
mod files;
mod own;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;
use tokio::sync::Notify;

use crate::clock::Clock;

pub use acme::Acme;
pub use files::CertificateFiles;
pub(crate) use own::ca_path;

/// ALPN name of a connection by which an ACME server checks a domain (RFC 8737).
pub(crate) const ACME_ALPN: &[u8] = b"acme-tls/1";

/// Where the server's certificate comes from.
#[derive(Clone, Debug, Default)]
pub enum Certificates {
    /// From a certificate authority of the data folder's own, which clients must be told to trust.
    #[default]
    Own,
    /// From files.
    Files(CertificateFiles),
    /// From an ACME server; until it has given one, our own.
    Acme(Acme),
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read or written.
    #[error("failed to read or write {path:?}")]
    File {
        /// Which.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A certificate could not be made.
    #[error("failed to make a certificate")]
    Make(#[from] rcgen::Error),
    /// A stored certificate or key is not what it should be.
    #[error("{0:?} does not hold what it should; remove the folder to have it made anew")]
    Stored(PathBuf),
    /// The operator's certificate or key is not what it should be.
    #[error("{0}")]
    Given(String),
    /// rustls refused the certificate.
    #[error("the certificate cannot be used")]
    Use(#[from] rustls::Error),
}

/// What new connections get.
#[derive(Debug)]
pub(crate) struct Current {
    key: RwLock<Arc<CertifiedKey>>,
    /// By domain, while an ACME server checks them.
    challenges: RwLock<HashMap<String, Arc<CertifiedKey>>>,
    /// When the certificate ends, in Unix seconds.
    ends: AtomicI64,
}

impl Current {
    fn new(key: Arc<CertifiedKey>) -> Self {
        let current = Self {
            key: RwLock::new(Arc::clone(&key)),
            challenges: RwLock::default(),
            ends: AtomicI64::new(0),
        };
        current.replace(key);
        current
    }

    /// New connections get `key` from now on.
    fn replace(&self, key: Arc<CertifiedKey>) {
        let ends = key.cert.first().and_then(validity).map_or(0, |validity| validity.ends.unix_timestamp());
        self.ends.store(ends, Relaxed);
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = key;
    }

    fn challenge(&self, domain: &str, key: Arc<CertifiedKey>) {
        self.challenges
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(domain.to_ascii_lowercase(), key);
    }

    fn forget_challenges(&self) {
        self.challenges.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// When the certificate ends, in Unix seconds.
    pub(crate) fn ends(&self) -> i64 {
        self.ends.load(Relaxed)
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut protocols = hello.alpn().into_iter().flatten();
        if protocols.next() == Some(ACME_ALPN) && protocols.next().is_none() {
            let domain = hello.server_name()?.to_ascii_lowercase();
            return self.challenges.read().unwrap_or_else(PoisonError::into_inner).get(&domain).cloned();
        }
        Some(Arc::clone(&self.key.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Certificates with what keeps them good.
pub(crate) struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) current: Arc<Current>,
    keeper: Keeper,
}

enum Keeper {
    Nothing,
    Files(files::Keeper),
    Acme(acme::Keeper),
}

impl Tls {
    /// Takes the certificate up; `dir` is for what we make ourselves, `names` for a certificate of our own.
    pub(crate) fn open(
        from: &Certificates,
        dir: &Path,
        names: &[String],
        hostname: &str,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, TlsError> {
        let wall = clock.wall();
        let (key, files) = match from {
            Certificates::Own | Certificates::Acme(_) => (own::certificate(dir, names, wall)?, None),
            Certificates::Files(given) => {
                let (key, files) = files::Keeper::open(given.clone(), hostname, wall)?;
                (key, Some(files))
            }
        };
        let current = Arc::new(Current::new(key));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let keeper = match (from, files) {
            (Certificates::Acme(acme), _) => {
                config.alpn_protocols.push(ACME_ALPN.to_vec());
                Keeper::Acme(acme::Keeper::open(acme.clone(), &dir.join("acme"), &current, wall)?)
            }
            (_, Some(files)) => Keeper::Files(files),
            (_, None) => Keeper::Nothing,
        };
        Ok(Self { config: Arc::new(config), current, keeper })
    }

    /// Keeps the certificate good; never ends. `reload` asks to look at files now.
    pub(crate) async fn keep(self, clock: Arc<dyn Clock>, reload: Arc<Notify>) {
        match self.keeper {
            Keeper::Nothing => std::future::pending().await,
            Keeper::Files(files) => files.run(&self.current, clock, reload).await,
            Keeper::Acme(acme) => acme.run(&self.current, clock).await,
        }
    }
}

/// The process's default provider belongs to whoever embeds us.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// From when to when a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Validity {
    begins: OffsetDateTime,
    ends: OffsetDateTime,
}

fn validity(certificate: &CertificateDer<'_>) -> Option<Validity> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let at = |secs| OffsetDateTime::from_unix_timestamp(secs).ok();
    let validity = parsed.validity();
    Some(Validity { begins: at(validity.not_before.timestamp())?, ends: at(validity.not_after.timestamp())? })
}

/// Whether clients that look for `name` take the certificate.
fn covers(certificate: &CertificateDer<'_>, name: &str) -> bool {
    let parsed = ParsedCertificate::try_from(certificate);
    let name = ServerName::try_from(name);
    matches!((parsed, name), (Ok(parsed), Ok(name)) if verify_server_name(&parsed, &name).is_ok())
}
