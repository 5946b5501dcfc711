//! Certificate and key from files of the operator's, which others renew.
//!
//! The files are looked at every second and when somebody asks (SIGHUP). A new pair is taken if it is good; if it is
//! not, the old one stays and the log says why, once. Two files cannot be replaced at the same instant, so a pair
//! counts as bad only when it has not changed for a second.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;
use tokio::sync::Notify;

use super::{Current, TlsError, covers, validity};
use crate::clock::Clock;

/// How often the files are looked at. A look is two `stat` calls.
const LOOK: Duration = Duration::from_secs(1);

/// Before the end of a certificate that nobody has renewed, the log says so.
const ENDS_SOON: time::Duration = time::Duration::days(14);

/// A certificate chain and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The server's certificate first, then those that lead to a trusted one.
    pub certificate: PathBuf,
    /// PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// What tells a file from what it was before: device, inode, size and time of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp(Option<(u64, u64, u64, i64, i64)>);

fn stamp(path: &Path) -> Stamp {
    // Follows links: certbot and Kubernetes change where they lead.
    Stamp(
        fs::metadata(path)
            .ok()
            .map(|file| (file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec())),
    )
}

impl CertificateFiles {
    fn stamps(&self) -> [Stamp; 2] {
        [stamp(&self.certificate), stamp(&self.key)]
    }

    /// Reads and checks both: parsable, belonging together, good at `wall`.
    ///
    /// # Errors
    ///
    /// Says what is wrong with which file.
    pub fn load(&self, wall: OffsetDateTime) -> Result<Arc<CertifiedKey>, TlsError> {
        let given = |words: String| TlsError::Given(words);
        let read = |path: &Path| {
            fs::read(path).map_err(|error| given(format!("{} cannot be read: {error}", path.display())))
        };
        let (certificate, key) = (self.certificate.display(), self.key.display());
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(&self.certificate)?)
            .collect::<Result<_, _>>()
            .map_err(|error| given(format!("{certificate} is no PEM file: {error}")))?;
        let leaf = chain.first().ok_or_else(|| given(format!("{certificate} holds no certificate (PEM)")))?;
        let validity =
            validity(leaf).ok_or_else(|| given(format!("{certificate} holds no X.509 certificate")))?;
        if wall >= validity.ends {
            return Err(given(format!("the certificate in {certificate} ended at {}", validity.ends)));
        }
        if wall < validity.begins {
            return Err(given(format!(
                "the certificate in {certificate} is good only from {}",
                validity.begins
            )));
        }
        let secret = PrivateKeyDer::from_pem_slice(&read(&self.key)?)
            .map_err(|_odd| given(format!("{key} holds no private key (PEM, not encrypted)")))?;
        match CertifiedKey::from_der(chain, secret, &super::provider()) {
            Ok(pair) => Ok(Arc::new(pair)),
            Err(rustls::Error::InconsistentKeys(_)) => {
                Err(given(format!("the key in {key} does not belong to the certificate in {certificate}")))
            }
            Err(error) => Err(given(format!("{certificate} and {key} cannot be used: {error}"))),
        }
    }

    /// What an operator should know about a pair that is good.
    pub fn doubts(&self, pair: &CertifiedKey, hostname: &str, wall: OffsetDateTime) -> Vec<String> {
        let Some(leaf) = pair.cert.first() else { return Vec::new() };
        let mut doubts = Vec::new();
        let certificate = self.certificate.display();
        if !covers(leaf, hostname) {
            doubts.push(format!(
                "the certificate in {certificate} is not for {hostname}, so clients will refuse it"
            ));
        }
        if let Some(validity) = validity(leaf).filter(|validity| validity.ends - wall < ENDS_SOON) {
            doubts.push(format!("the certificate in {certificate} ends soon, at {}", validity.ends));
        }
        doubts
    }
}

/// Watches a pair.
pub(super) struct Keeper {
    files: CertificateFiles,
    hostname: String,
    /// What the files were when they were last tried, and whether what was wrong then has been said.
    tried: [Stamp; 2],
    said: bool,
}

impl Keeper {
    pub(super) fn open(
        files: CertificateFiles,
        hostname: &str,
        wall: OffsetDateTime,
    ) -> Result<(Arc<CertifiedKey>, Self), TlsError> {
        // Before reading, so that a change meanwhile shows later.
        let tried = files.stamps();
        let pair = files.load(wall)?;
        let keeper = Self { files, hostname: hostname.to_owned(), tried, said: true };
        keeper.tell_doubts(&pair, wall);
        Ok((pair, keeper))
    }

    fn tell_doubts(&self, pair: &CertifiedKey, wall: OffsetDateTime) {
        for doubt in self.files.doubts(pair, &self.hostname, wall) {
            tracing::warn!("{doubt}");
        }
    }

    pub(super) async fn run(mut self, current: &Current, clock: Arc<dyn Clock>, reload: Arc<Notify>) {
        loop {
            let asked = tokio::select! {
                () = tokio::time::sleep(LOOK) => false,
                () = reload.notified() => true,
            };
            // Two small files on a disk that may be slow.
            let files = self.files.clone();
            let (wall, tried, said) = (clock.wall(), self.tried, self.said);
            let looked = tokio::task::spawn_blocking(move || {
                let stamps = files.stamps();
                let settled = stamps == tried;
                // Nothing new, unless it was bad and nobody has heard of it.
                (asked || !settled || !said).then(|| (stamps, settled, files.load(wall)))
            })
            .await;
            if let Ok(Some((stamps, settled, loaded))) = looked {
                self.tried = stamps;
                self.said = self.take(loaded, asked || settled, current, wall);
            }
        }
    }

    /// Returns whether everything has been said about this pair.
    fn take(
        &self,
        loaded: Result<Arc<CertifiedKey>, TlsError>,
        settled: bool,
        current: &Current,
        wall: OffsetDateTime,
    ) -> bool {
        match loaded {
            Ok(pair) => {
                self.tell_doubts(&pair, wall);
                current.replace(pair);
                tracing::info!(certificate = %self.files.certificate.display(), "a certificate was taken up");
                true
            }
            Err(error) if settled => {
                tracing::error!("the new certificate is not used, the old one stays: {error}");
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn what_clients_would_refuse_is_told_beforehand() {
        let dir = tempfile::tempdir().unwrap();
        let files = CertificateFiles { certificate: dir.path().join("c"), key: dir.path().join("k") };
        let wall = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
        let day = time::Duration::days(1);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (wall, wall + day * 30);
        fs::write(&files.certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();

        let pair = files.load(wall).unwrap();
        assert_eq!(files.doubts(&pair, "a.example", wall), [""; 0]);
        assert!(files.doubts(&pair, "b.example", wall)[0].contains("is not for b.example"));
        assert!(files.doubts(&pair, "a.example", wall + day * 20)[0].contains("ends soon"));
        let refused = |wall| files.load(wall).unwrap_err().to_string();
        assert!(refused(wall + day * 30).contains("ended at"));
        assert!(refused(wall - day).contains("good only from"));
    }

    #[test]
    fn a_bad_pair_is_said_once_and_only_when_it_stays() {
        let dir = tempfile::tempdir().unwrap();
        let files = CertificateFiles { certificate: dir.path().join("c"), key: dir.path().join("k") };
        let wall = OffsetDateTime::now_utc();
        let make = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            fs::write(&files.certificate, params.self_signed(&key).unwrap().pem()).unwrap();
            fs::write(&files.key, key.serialize_pem()).unwrap();
        };
        make("a.example");
        let (first, keeper) = Keeper::open(files.clone(), "a.example", wall).unwrap();
        let current = Current::new(Arc::clone(&first));
        let serves_first = || Arc::ptr_eq(&current.key.read().unwrap(), &first);
        fs::write(&files.key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
        assert!(!keeper.take(files.load(wall), false, &current, wall), "the other file may come next");
        assert!(keeper.take(files.load(wall), true, &current, wall));
        assert!(serves_first());
        make("a.example");
        assert!(keeper.take(files.load(wall), false, &current, wall));
        assert!(!serves_first());
    }
}
