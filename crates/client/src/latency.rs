//! How far services are: what a connection, a TLS handshake, and a request on an open connection take.
//!
//! All services are met at once, so that one that does not answer holds up no other. What is timed afterwards is timed
//! alone: the services take turns, and nothing else is under way meanwhile.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Connections per service; the last one carries the requests.
const N_CONNECTIONS: usize = 3;

/// Requests that do not count: the first ones after a connection also warm caches up.
const N_WARM_UP: usize = 2;

/// Longest answer that is read. Ours has three bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A service to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    host: String,
    port: u16,
}

/// A text that is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an endpoint is https://HOST:PORT, or HOST:PORT, which means the same")]
pub struct NoEndpoint;

impl FromStr for Endpoint {
    type Err = NoEndpoint;

    fn from_str(text: &str) -> Result<Self, NoEndpoint> {
        let spelled = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url = Url::parse(&spelled).map_err(|_odd| NoEndpoint)?;
        let is_http = matches!(url.scheme(), "http" | "https");
        let (host, port) = url.host_str().zip(url.port_or_known_default()).ok_or(NoEndpoint)?;
        // The URL has IPv6 addresses in brackets, which only URLs do.
        let host = host.trim_matches(|c| c == '[' || c == ']').to_owned();
        if is_http && !host.is_empty() { Ok(Self { host, port, url }) } else { Err(NoEndpoint) }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.url.origin().ascii_serialization())
    }
}

/// How to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Requests that count, at least 1.
    pub n_samples: usize,
    /// How long anything may take before it counts as lost.
    pub timeout: Duration,
    /// PEM of certificate authorities to trust beside the system's.
    pub ca_pem: Option<Vec<u8>>,
}

/// Why a service could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name leads nowhere.
    #[error("the name is not known")]
    UnknownName,
    /// Nothing took the connection.
    #[error("no connection: {0}")]
    NoConnection(std::io::Error),
    /// TLS failed, often for a certificate that is not trusted.
    #[error("no TLS: {0}")]
    NoTls(std::io::Error),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// What answers does not speak HTTP, or stopped to.
    #[error("no HTTP: {0}")]
    NoHttp(hyper::Error),
    /// The certificate authorities to trust cannot be read.
    #[error("the CA file is not usable: {0}")]
    BadCa(String),
}

/// What a service took, in milliseconds, each in the order of measurement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Times {
    /// TCP connections: one round trip.
    pub connect_ms: Vec<f64>,
    /// TLS handshakes, without resumption; empty over plain HTTP.
    pub tls_ms: Vec<f64>,
    /// Requests on an open connection: one round trip, and what the service does.
    pub request_ms: Vec<f64>,
    /// Requests that came to nothing.
    pub n_lost: usize,
    /// It answered as a Belvedere does.
    pub is_belvedere: bool,
}

/// Measures all of them. The results are in the order of `endpoints`. `on_round` hears of every round before it starts.
///
/// # Errors
/// [`Error::BadCa`]; what is wrong with one endpoint is in its place in the results.
pub async fn measure(
    endpoints: &[Endpoint],
    options: &Options,
    mut on_round: impl FnMut(usize),
) -> Result<Vec<Result<Times, Error>>, Error> {
    let tls = tls(options.ca_pem.as_deref())?;
    let prober = Arc::new(Prober { tls, timeout: options.timeout });

    // Whoever does not answer now is not asked again.
    let greetings: Vec<_> = endpoints
        .iter()
        .map(|endpoint| {
            let (prober, endpoint) = (Arc::clone(&prober), endpoint.clone());
            tokio::spawn(async move { prober.connect(&endpoint).await.map(|met| met.address) })
        })
        .collect();
    let mut met = Vec::new();
    for greeting in greetings {
        met.push(greeting.await.unwrap_or(Err(Error::Timeout(options.timeout))));
    }

    let mut results = Vec::new();
    for (endpoint, address) in endpoints.iter().zip(met) {
        let probe = match address {
            Ok(address) => prober.probe(endpoint, address).await,
            Err(error) => Err(error),
        };
        results.push(probe);
    }
    for round in 0..N_WARM_UP + options.n_samples {
        if let Some(counted) = round.checked_sub(N_WARM_UP) {
            on_round(counted + 1);
        }
        for (endpoint, probe) in endpoints.iter().zip(&mut results) {
            let Ok(probe) = probe else { continue };
            prober.sample(endpoint, probe, round >= N_WARM_UP).await;
        }
    }
    Ok(results.into_iter().map(|probe| probe.map(|probe| probe.times)).collect())
}

fn tls(ca_pem: Option<&[u8]>) -> Result<TlsConnector, Error> {
    let bad = |error: &dyn std::fmt::Display| Error::BadCa(error.to_string());
    let roots: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(ca_pem.unwrap_or_default())
        .collect::<Result<_, _>>()
        .map_err(|e| bad(&e))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(roots, Arc::clone(&provider))
        .map_err(|e| bad(&e))?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(&e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    // A resumed handshake takes a round trip less, and newcomers have nothing to resume.
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

struct Prober {
    tls: TlsConnector,
    timeout: Duration,
}

struct Met {
    address: SocketAddr,
    connect_ms: f64,
    tls_ms: Option<f64>,
    sender: SendRequest<Empty<Bytes>>,
}

struct Probe {
    address: SocketAddr,
    /// `None` after it broke.
    sender: Option<SendRequest<Empty<Bytes>>>,
    times: Times,
}

impl Prober {
    async fn limited<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::time::timeout(self.timeout, work).await.unwrap_or(Err(Error::Timeout(self.timeout)))
    }

    /// Connects to whichever address of the name takes it.
    async fn connect(&self, endpoint: &Endpoint) -> Result<Met, Error> {
        let work = async {
            let addresses = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port))
                .await
                .map_err(|_no_such_name| Error::UnknownName)?;
            let mut last = Error::UnknownName;
            for address in addresses {
                match self.connect_to(endpoint, address).await {
                    Ok(met) => return Ok(met),
                    Err(error) => last = error,
                }
            }
            Err(last)
        };
        self.limited(work).await
    }

    async fn connect_to(&self, endpoint: &Endpoint, address: SocketAddr) -> Result<Met, Error> {
        let began = Instant::now();
        let stream = TcpStream::connect(address).await.map_err(Error::NoConnection)?;
        let connect_ms = millis(began);
        stream.set_nodelay(true).map_err(Error::NoConnection)?;
        if endpoint.url.scheme() == "http" {
            let sender = speak(TokioIo::new(stream)).await?;
            return Ok(Met { address, connect_ms, tls_ms: None, sender });
        }
        let name = ServerName::try_from(endpoint.host.clone()).map_err(|_odd| Error::UnknownName)?;
        let began = Instant::now();
        let stream = self.tls.connect(name, stream).await.map_err(Error::NoTls)?;
        let tls_ms = Some(millis(began));
        let sender = speak(TokioIo::new(stream)).await?;
        Ok(Met { address, connect_ms, tls_ms, sender })
    }

    /// Times connections; the last one stays open.
    async fn probe(&self, endpoint: &Endpoint, address: SocketAddr) -> Result<Probe, Error> {
        let mut probe = Probe { address, sender: None, times: Times::default() };
        for _connection in 0..N_CONNECTIONS {
            let met = self.limited(self.connect_to(endpoint, address)).await?;
            probe.times.connect_ms.push(met.connect_ms);
            probe.times.tls_ms.extend(met.tls_ms);
            probe.sender = Some(met.sender);
        }
        Ok(probe)
    }

    /// One request; the connection is made anew if it has broken.
    async fn sample(&self, endpoint: &Endpoint, probe: &mut Probe, counts: bool) {
        let sender = match probe.sender.take() {
            Some(sender) if sender.is_ready() => Some(sender),
            _ => self.limited(self.connect_to(endpoint, probe.address)).await.ok().map(|met| met.sender),
        };
        let Some(mut sender) = sender else {
            probe.times.n_lost += usize::from(counts);
            return;
        };
        let began = Instant::now();
        match self.limited(ask(&mut sender, endpoint)).await {
            Ok(is_belvedere) => {
                probe.times.is_belvedere = is_belvedere;
                if counts {
                    probe.times.request_ms.push(millis(began));
                }
                // The connection's task learns that the answer is complete a moment after we do.
                let _broken = sender.ready().await.is_err();
                probe.sender = Some(sender);
            }
            Err(_lost) => probe.times.n_lost += usize::from(counts),
        }
    }
}

async fn speak<I>(io: I) -> Result<SendRequest<Empty<Bytes>>, Error>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io).await.map_err(Error::NoHttp)?;
    // Its end is seen at the sender.
    drop(tokio::spawn(connection));
    Ok(sender)
}

/// Whether the answer is a Belvedere's.
async fn ask(sender: &mut SendRequest<Empty<Bytes>>, endpoint: &Endpoint) -> Result<bool, Error> {
    let authority = endpoint.url.authority();
    let request = hyper::Request::get("/healthz").header("Host", authority).body(Empty::new());
    let Ok(request) = request else { return Ok(false) };
    let answer = sender.send_request(request).await.map_err(Error::NoHttp)?;
    let is_ok = answer.status().is_success();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    Ok(is_ok && body.is_ok_and(|body| body.to_bytes().trim_ascii() == b"ok"))
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000.0
}

/// What a number of round trips comes to, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The shortest.
    pub min_ms: f64,
    /// Half of them stay below.
    pub median_ms: f64,
    /// 19 of 20 stay below.
    pub p95_ms: f64,
    /// Mean difference between one and the next (the idea of RFC 3550's jitter, without its smoothing).
    pub jitter_ms: f64,
}

/// `None` without samples; they come in the order of measurement.
pub fn summarize(samples_ms: &[f64]) -> Option<Summary> {
    let mut sorted = samples_ms.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (min_ms, n_steps) = (*sorted.first()?, samples_ms.len() - 1);
    let steps: f64 = samples_ms.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum();
    Some(Summary {
        min_ms,
        median_ms: quantile(&sorted, 0.5),
        p95_ms: quantile(&sorted, 0.95),
        #[expect(clippy::cast_precision_loss, reason = "samples are few")]
        jitter_ms: if n_steps == 0 { 0.0 } else { steps / n_steps as f64 },
    })
}

/// Of sorted numbers, of which there is at least one, with the places between them interpolated.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "samples are few, and a place lies among them"
)]
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = (sorted.len() - 1) as f64 * q;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

/// Which one to take: the smallest median; those within a millisecond or 5 % of it count as equally near, and the
/// steadiest of them wins.
pub fn recommend(summaries: &[Option<Summary>]) -> Option<usize> {
    let known = || summaries.iter().enumerate().filter_map(|(i, summary)| Some((i, summary.as_ref()?)));
    let least = known().map(|(_, summary)| summary.median_ms).min_by(f64::total_cmp)?;
    let limit = least + (least * 0.05).max(1.0);
    known()
        .filter(|(_, summary)| summary.median_ms <= limit)
        .min_by(|(_, a), (_, b)| a.jitter_ms.total_cmp(&b.jitter_ms))
        .map(|(i, _)| i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_urls_or_hosts() {
        for (text, shown) in [
            ("https://render.example.com", "https://render.example.com"),
            ("render.example.com:8443", "https://render.example.com:8443"),
            ("http://127.0.0.1:8080/console/", "http://127.0.0.1:8080"),
            ("[::1]:8443", "https://[::1]:8443"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
        }
        assert_eq!("[::1]:8443".parse::<Endpoint>().unwrap().host, "::1");
        for text in ["", "ftp://x", "https://", "a b", "http://:80"] {
            assert_eq!(text.parse::<Endpoint>(), Err(NoEndpoint), "{text}");
        }
    }

    #[test]
    fn a_summary_is_that_of_the_console() {
        assert_eq!(summarize(&[]), None);
        let one = summarize(&[5.0]).unwrap();
        assert_eq!((one.min_ms, one.median_ms, one.p95_ms, one.jitter_ms), (5.0, 5.0, 5.0, 0.0));
        // The numbers of web/console/test/statistics.test.ts.
        let five = summarize(&[10.0, 12.0, 11.0, 13.0, 30.0]).unwrap();
        assert_eq!((five.min_ms, five.median_ms, five.jitter_ms), (10.0, 12.0, 5.5));
        assert!((five.p95_ms - 26.6).abs() < 1e-9);
    }

    #[test]
    fn the_nearest_is_recommended_and_of_equals_the_steadier() {
        let one = |median_ms: f64, jitter_ms: f64| {
            Some(Summary { min_ms: median_ms, median_ms, p95_ms: median_ms, jitter_ms })
        };
        assert_eq!(recommend(&[]), None);
        assert_eq!(recommend(&[None]), None);
        assert_eq!(recommend(&[one(40.0, 1.0), None, one(12.0, 9.0)]), Some(2));
        assert_eq!(recommend(&[one(12.0, 9.0), one(12.8, 1.0)]), Some(1));
        assert_eq!(recommend(&[one(100.0, 9.0), one(104.0, 1.0), one(106.0, 0.0)]), Some(1));
    }
}
