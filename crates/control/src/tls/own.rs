//! A certificate authority for one data folder, and the server certificate it issues.
//!
//! `tls/ca.pem` is what clients are told to trust. rustls-based clients refuse a CA certificate used as a server
//! certificate, so the server has a leaf of its own (X.509 v3, CA:FALSE). Both are kept and used again; the leaf
//! is replaced when its end is near or when its names no longer fit.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::TlsError;
use crate::files::{make_private_folder, write_private};

const CA_LIFE: Duration = Duration::days(10 * 365);

/// What browsers and mobile systems accept at most.
const LEAF_LIFE: Duration = Duration::days(397);

/// A server that is restarted once a season never serves an expired certificate.
const LEAF_RENEWAL: Duration = Duration::days(90);

/// Clocks of clients may be behind ours.
const BACKDATING: Duration = Duration::days(1);

/// What cannot be read back from the PEM files without a parser.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Issued {
    ca_name: String,
    ca_ends: i64,
    leaf_ends: i64,
    leaf_names: Vec<String>,
}

/// The server's certificate for `names`, with files in `dir`.
pub(super) fn certificate(
    dir: &Path,
    names: &[String],
    wall: OffsetDateTime,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let issued = ensure(dir, names, wall)?;
    tracing::debug!(ends = issued.leaf_ends, "server certificate is ready");
    let leaf_path = dir.join("server.pem");
    let key_path = dir.join("server.key");
    let chain = CertificateDer::pem_file_iter(&leaf_path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|_odd| TlsError::Stored(leaf_path))?;
    let key = PrivateKeyDer::from_pem_file(&key_path).map_err(|_odd| TlsError::Stored(key_path))?;
    Ok(Arc::new(CertifiedKey::from_der(chain, key, &super::provider())?))
}

/// Path of the certificate that clients are told to trust.
pub(crate) fn ca_path(dir: &Path) -> PathBuf {
    dir.join("ca.pem")
}

fn ensure(dir: &Path, names: &[String], wall: OffsetDateTime) -> Result<Issued, TlsError> {
    make_private_folder(dir).map_err(|source| TlsError::File { path: dir.to_owned(), source })?;
    let record_path = dir.join("issued.json");
    let known: Option<Issued> =
        fs::read(&record_path).ok().and_then(|json| serde_json::from_slice(&json).ok());
    let lasts = |ends: i64| ends > (wall + LEAF_RENEWAL).unix_timestamp();
    let ca = known.as_ref().filter(|known| lasts(known.ca_ends)).and_then(|known| {
        let key = KeyPair::from_pem(&fs::read_to_string(dir.join("ca.key")).ok()?).ok()?;
        ca_path(dir).exists().then(|| (known.ca_name.clone(), known.ca_ends, key))
    });
    if let (Some(_), Some(known)) = (&ca, known)
        && lasts(known.leaf_ends)
        && known.leaf_names == names
        && dir.join("server.key").exists()
        && dir.join("server.pem").exists()
    {
        return Ok(known);
    }

    let (ca_name, ca_ends, ca_key) = match ca {
        Some(ca) => ca,
        None => {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
            // A name of its own, so that trust stores can hold the CAs of several data folders.
            let name = format!("Belvedere development CA {}", &Uuid::new_v4().simple().to_string()[..8]);
            let ends = wall + CA_LIFE;
            let certificate = ca_params(&name, wall, ends).self_signed(&key)?;
            write(&dir.join("ca.key"), key.serialize_pem())?;
            write(&ca_path(dir), certificate.pem())?;
            (name, ends.unix_timestamp(), key)
        }
    };

    let ends = wall + LEAF_LIFE;
    let leaf_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name.push(DnType::CommonName, "Belvedere");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = wall - BACKDATING;
    params.not_after = ends;
    let leaf = params.signed_by(&leaf_key, &Issuer::new(ca_params(&ca_name, wall, ends), &ca_key))?;
    write(&dir.join("server.key"), leaf_key.serialize_pem())?;
    write(&dir.join("server.pem"), leaf.pem())?;
    let issued = Issued { ca_name, ca_ends, leaf_ends: ends.unix_timestamp(), leaf_names: names.to_vec() };
    // Last: a crash before this makes them anew.
    write(&record_path, serde_json::to_string(&issued).unwrap_or_default())?;
    Ok(issued)
}

fn ca_params(name: &str, wall: OffsetDateTime, ends: OffsetDateTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = wall - BACKDATING;
    params.not_after = ends;
    params
}

fn write(path: &Path, content: String) -> Result<(), TlsError> {
    write_private(path, content.as_bytes()).map_err(|source| TlsError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dir: &Path, name: &str) -> String {
        fs::read_to_string(dir.join(name)).unwrap()
    }

    #[test]
    fn certificates_are_kept_until_their_end_is_near() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let start = OffsetDateTime::now_utc();
        let state = || (read(dir, "ca.pem"), read(dir, "server.pem"));

        certificate(dir, &names, start).unwrap();
        let (ca, first) = state();
        certificate(dir, &names, start + Duration::days(300)).unwrap();
        assert_eq!(state(), (ca.clone(), first.clone()));

        certificate(dir, &names, start + Duration::days(310)).unwrap();
        let (same_ca, renewed) = state();
        assert_eq!(same_ca, ca);
        assert_ne!(renewed, first);

        certificate(dir, &names[..1], start).unwrap();
        assert_ne!(state().1, renewed, "other names need another certificate");
    }
}
