//! Certificates from files and by ACME, seen by clients that shake hands for real.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use control::{Acme, CertificateFiles, Certificates};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::world::{World, eventually};
use testkit::Fleet;

/// A certificate authority that clients of a test trust.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { params, key, pem }
    }

    /// Certificate and key for `localhost`, as PEM.
    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// Shakes hands as a client that trusts `ca`.
async fn connect(address: SocketAddr, name: &str, ca: &str) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

fn certificate_of(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

/// A request on a connection that stays open.
async fn is_healthy(stream: &mut TlsStream<TcpStream>) -> bool {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 4_096];
    let n_bytes = stream.read(&mut answer).await.unwrap();
    answer[..n_bytes].starts_with(b"HTTP/1.1 200")
}

#[tokio::test]
async fn certificates_from_files_are_replaced_under_running_connections() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let files =
        CertificateFiles { certificate: dir.path().join("server.pem"), key: dir.path().join("server.key") };
    let (first, first_key) = authority.issue();
    std::fs::write(&files.certificate, &first).unwrap();
    std::fs::write(&files.key, &first_key).unwrap();
    let world =
        World::with(Fleet::default(), |config| config.certificates = Certificates::Files(files.clone()))
            .await;
    let address = world.running.https_address;
    let mut old = connect(address, "localhost", &authority.pem).await;
    assert_eq!(certificate_of(&old), der(&first));
    assert!(is_healthy(&mut old).await);

    // Half of a new pair: a certificate without its key.
    let (second, second_key) = authority.issue();
    std::fs::write(&files.certificate, &second).unwrap();
    world.running.reload_certificates();
    assert_eq!(certificate_of(&connect(address, "localhost", &authority.pem).await), der(&first));

    // As certbot and Kubernetes do it: another file under the same name. Nobody tells the server.
    std::fs::write(dir.path().join("new"), &second_key).unwrap();
    std::fs::rename(dir.path().join("new"), &files.key).unwrap();
    let replaced = eventually(async || {
        certificate_of(&connect(address, "localhost", &authority.pem).await) == der(&second)
    });
    assert!(replaced.await);
    assert!(is_healthy(&mut old).await, "a connection from before goes on");
    world.running.stop().await;
}

#[tokio::test]
async fn a_pair_that_is_not_one_stops_the_start() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let path = |name: &str| dir.path().join(name);
    let ((certificate, key), (_, other_key)) = (authority.issue(), authority.issue());
    for (name, text) in [
        ("server.pem", &certificate),
        ("server.key", &key),
        ("other.key", &other_key),
        ("empty", &String::new()),
    ] {
        std::fs::write(path(name), text).unwrap();
    }
    for (certificate, key, words) in [
        ("server.pem", "other.key", "does not belong to the certificate in"),
        ("server.pem", "missing.key", "missing.key cannot be read"),
        ("server.pem", "server.pem", "server.pem holds no private key"),
        ("empty", "server.key", "empty holds no certificate"),
    ] {
        let mut config = crate::world::config(&path("data"));
        config.certificates =
            Certificates::Files(CertificateFiles { certificate: path(certificate), key: path(key) });
        let error = control::start(config).await.err().unwrap();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(words), "{words}: {cause}");
    }
}

/// A program that is killed with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Starts a program of Debian's package `pebble` and waits until its log says `ready`; none if it is not installed.
fn start(program: &str, args: &[&str], ready: &str) -> Option<Killed> {
    let mut command = Command::new(program);
    // Nonces that are good are refused now and then, as real servers do; waits are left out.
    command.args(args).env("PEBBLE_VA_NOSLEEP", "1").stdin(Stdio::null());
    let (reader, writer) = std::io::pipe().unwrap();
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let child = Killed(command.spawn().ok()?);
    // The command keeps write ends of the pipe.
    drop(command);
    let mut lines = BufReader::new(reader).lines();
    let mut log = String::new();
    for line in lines.by_ref() {
        log.push_str(&line.unwrap());
        log.push('\n');
        if log.contains(ready) {
            // Somebody has to go on reading, or it stops at a full pipe.
            let read = move || lines.map_while(Result::ok).for_each(drop);
            std::thread::Builder::new().name(program.to_owned()).spawn(read).unwrap();
            return Some(child);
        }
    }
    panic!("{program} ended:\n{log}");
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Pebble, Let's Encrypt's server for tests, validates for real: it connects to our TLS port.
#[tokio::test]
async fn an_acme_server_gives_a_certificate() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key) = authority.issue();
    std::fs::write(path("pebble.pem"), certificate).unwrap();
    std::fs::write(path("pebble.key"), key).unwrap();
    std::fs::write(path("ca.pem"), &authority.pem).unwrap();
    let (names, management, directory, tls) = (free_port(), free_port(), free_port(), free_port());
    let config = serde_json::json!({ "pebble": {
        "listenAddress": format!("127.0.0.1:{directory}"),
        "managementListenAddress": format!("127.0.0.1:{management}"),
        "certificate": path("pebble.pem"), "privateKey": path("pebble.key"),
        // Where it looks for the domains that are to be validated.
        "httpPort": 1, "tlsPort": tls,
        "ocspResponderURL": "", "externalAccountBindingRequired": false,
    }});
    std::fs::write(path("pebble.json"), config.to_string()).unwrap();
    // Every name leads to 127.0.0.1.
    let dns = format!("127.0.0.1:{names}");
    let unused = format!("127.0.0.1:{}", free_port());
    let only_names =
        ["-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", "", "-management", &unused];
    let args = [["-dns01", &dns].as_slice(), &only_names].concat();
    let Some(_names) = start("pebble-challtestsrv", &args, "Starting management server") else {
        println!("SKIPPED: pebble is not installed");
        return;
    };
    let _pebble =
        start("pebble", &["-config", &path("pebble.json"), "-dnsserver", &dns], "ACME directory available")
            .expect("pebble comes with pebble-challtestsrv");

    let domains = vec!["render.example.com".to_owned(), "sts.render.example.com".to_owned()];
    let acme = Acme {
        domains: domains.clone(),
        contact: Some("operator@example.com".to_owned()),
        directory: format!("https://127.0.0.1:{directory}/dir"),
        directory_ca: Some(path("ca.pem").into()),
    };
    let world = World::with(Fleet::default(), |config| {
        config.listen_https = SocketAddr::from(([127, 0, 0, 1], tls));
        config.certificates = Certificates::Acme(acme.clone());
        // Certificates are dated by pebble's clock.
        config.clock = Some(Arc::new(control::clock::SystemClock::new()));
    })
    .await;
    let stored = world.dir.path().join("tls/acme/certificate.pem");
    assert!(eventually(async || stored.exists()).await, "pebble gave no certificate");
    let management = format!("127.0.0.1:{management}").parse().unwrap();
    let issuer = root_of_pebble(management, &authority.pem).await;
    for domain in &domains {
        let taken_up = eventually(async || connects(world.running.https_address, domain, &issuer).await);
        assert!(taken_up.await, "{domain}");
    }
    let ordered = std::fs::read(&stored).unwrap();
    assert!(!Path::new(&stored).with_extension("pem.new").exists());

    // The next process goes on with it, and does not order again.
    let World { running, dir: data, clock, .. } = world;
    running.stop().await;
    let world = World::again(data, clock, Fleet::default(), |config| {
        config.certificates =
            Certificates::Acme(Acme { directory: "https://127.0.0.1:1/".to_owned(), ..acme });
        config.clock = Some(Arc::new(control::clock::SystemClock::new()));
    })
    .await;
    assert!(connects(world.running.https_address, &domains[0], &issuer).await);
    assert_eq!(std::fs::read(world.dir.path().join("tls/acme/certificate.pem")).unwrap(), ordered);
    world.running.stop().await;
}

/// The certificate authority that pebble has made for itself at its start.
async fn root_of_pebble(management: SocketAddr, ca: &str) -> String {
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(ca.as_bytes()).unwrap()])
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    let answer = client.get(format!("https://{management}/roots/0")).send().await.unwrap();
    answer.text().await.unwrap()
}

/// Whether a client that trusts `ca` takes the server's certificate for `name`.
async fn connects(address: SocketAddr, name: &str, ca: &str) -> bool {
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(ca.as_bytes()).unwrap()])
        .resolve(name, address)
        .build()
        .unwrap();
    let answer = client.get(format!("https://{name}:{}/healthz", address.port())).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}
