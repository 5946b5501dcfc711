//! A server with its clock, its hosts, and a client that sends exactly what it is told.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use control::clock::ManualClock;
use control::{Config, RateLimit, Role, Running};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use testkit::Fleet;

pub(crate) const V: &str = "api-version=2021-01-01";

/// Longest wait for something that takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct World {
    pub(crate) running: Running,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) token: String,
    pub(crate) account: String,
    pub(crate) dir: TempDir,
}

/// An HTTP answer, as it came over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// `error.code` of the body.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Status and `error.code`.
    #[track_caller]
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status, self.code())
    }
}

/// What tests change about a server before it starts.
pub(crate) fn config(dir: &std::path::Path) -> Config {
    let defaults = Config::new(dir, Vec::new());
    // The figures that were recorded of Azure's sizes, whatever machine runs the test.
    let mut sizes = defaults.sizes;
    (sizes.standard.teraflops, sizes.premium.teraflops) = (8.1, 16.25);
    sizes.premium.n_warm = 0;
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Config {
        listen_http: free,
        listen_https: free,
        handshake_port: 0,
        inspector_port: 0,
        // The clock stands still while tests ask again and again.
        rate_limit: RateLimit::NONE,
        refusal_limit: RateLimit::NONE,
        sizes,
        n_hosts_max: 16,
        ..defaults
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Fleet::default(), |_| ()).await
    }

    pub(crate) async fn with(fleet: Fleet, change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::again(dir, Arc::new(ManualClock::new()), fleet, change).await
    }

    /// A server on a data folder that may have been used before.
    pub(crate) async fn again(
        dir: TempDir,
        clock: Arc<ManualClock>,
        fleet: Fleet,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = config(dir.path());
        config.clock = Some(clock.clone());
        config.provisioner = Some(Arc::new(fleet));
        change(&mut config);
        let running = control::start(config).await.unwrap();
        let account = running.account.id.to_string();
        let token = running.issue_token(running.account.id, Role::Administrator).unwrap();
        Self { running, clock, token, account, dir }
    }

    /// Sends a request with the account's token.
    pub(crate) async fn call(&self, method: &str, target: &str, body: &str) -> Answer {
        let authorization = format!("Authorization: Bearer {}", self.token);
        self.send(method, target, &[&authorization], body).await
    }

    /// Sends a request with these headers. An empty body has no `Content-Length`.
    pub(crate) async fn send(&self, method: &str, target: &str, headers: &[&str], body: &str) -> Answer {
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let host = self.running.http_address;
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}{length}\r\n{body}"
        );
        self.exchange(request.as_bytes()).await
    }

    /// Sends bytes and reads the answer.
    pub(crate) async fn exchange(&self, request: &[u8]) -> Answer {
        let mut bytes = Vec::new();
        let exchange = async {
            let mut stream = TcpStream::connect(self.running.http_address).await.unwrap();
            // The server may answer and close before it has read everything.
            let _refused_early = stream.write_all(request).await.is_err();
            let _reset = stream.read_to_end(&mut bytes).await.is_err();
        };
        tokio::time::timeout(Duration::from_secs(15), exchange).await.expect("an answer within 15 s");
        parse(&bytes)
    }

    /// A session operation of the account: `sessions("PUT", "/s1", …)`.
    pub(crate) async fn sessions(&self, method: &str, tail: &str, body: &str) -> Answer {
        self.call(method, &self.path(tail), body).await
    }

    /// The address below the account's sessions, with a version.
    pub(crate) fn path(&self, tail: &str) -> String {
        format!("/accounts/{}/sessions{tail}?{V}", self.account)
    }

    pub(crate) async fn put(&self, id: &str, minutes: i64) -> Answer {
        let body = format!("{{\"maxLeaseTimeMinutes\":{minutes},\"size\":\"Standard\"}}");
        self.sessions("PUT", &format!("/{id}"), &body).await
    }

    pub(crate) async fn patch(&self, id: &str, minutes: i64) -> Answer {
        self.sessions("PATCH", &format!("/{id}"), &format!("{{\"maxLeaseTimeMinutes\":{minutes}}}")).await
    }

    pub(crate) async fn get(&self, id: &str) -> Value {
        self.sessions("GET", &format!("/{id}"), "").await.json()
    }

    pub(crate) async fn stop(&self, id: &str) -> Answer {
        self.sessions("POST", &format!("/{id}/:stop"), "").await
    }

    /// Creates a session and waits until it is Ready.
    pub(crate) async fn ready(&self, id: &str, minutes: i64) -> Value {
        let created = self.put(id, minutes).await;
        assert_eq!(created.status, 201, "{}", created.text());
        self.until(id, "Ready").await
    }

    /// Waits until the session has that status.
    pub(crate) async fn until(&self, id: &str, status: &str) -> Value {
        let mut last = Value::Null;
        let found = eventually(async || {
            last = self.get(id).await;
            last["status"] == status
        })
        .await;
        assert!(found, "{id} did not become {status}: {last}");
        last
    }

    pub(crate) fn advance(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }
}

/// Asks again until it is true; false after a long time.
pub(crate) async fn eventually(mut condition: impl AsyncFnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if condition().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    false
}

fn parse(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let end = text.find("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = text[..end].split("\r\n");
    let mut status_line = lines.next().unwrap().splitn(3, ' ');
    assert_eq!(status_line.next(), Some("HTTP/1.1"));
    let status = status_line.next().unwrap().parse().unwrap();
    let reason = status_line.next().unwrap_or_default().to_owned();
    let headers = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let head_bytes = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    Answer { status, reason, headers, body: bytes[head_bytes..].to_vec() }
}
