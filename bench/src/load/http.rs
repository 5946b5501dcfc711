//! A client that costs next to nothing, so that what is measured is the server: requests are bytes made beforehand,
//! connections are kept, and of an answer only the status and the length are read.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The service promises an answer within 15 s.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection that is kept open.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What came back.
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) body: &'a [u8],
}

impl Connection {
    pub(super) async fn open(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to).await.context("the control plane does not take connections")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn ask(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        timeout(PATIENCE, self.exchange(request)).await.context("no answer within 20 s")?
    }

    /// As [`Self::ask`], with the time that it took in milliseconds; any other status is an error.
    pub(super) async fn timed(&mut self, request: &[u8], expected: u16) -> Result<f64> {
        let began = Instant::now();
        let answer = self.ask(request).await?;
        if answer.status != expected {
            bail!(
                "{} instead of {expected}: {}",
                answer.status,
                String::from_utf8_lossy(&answer.body[..answer.body.len().min(300)])
            );
        }
        Ok(began.elapsed().as_secs_f64() * 1e3)
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let (head, length) = loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the control plane closed the connection");
            }
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = std::str::from_utf8(&self.buffer[..end])?;
                break (end + 4, content_length(head));
            }
        };
        while self.buffer.len() < head + length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the control plane closed the connection in the middle of an answer");
            }
        }
        // `HTTP/1.1 200 …`
        let status = std::str::from_utf8(&self.buffer[9..12])?.parse()?;
        Ok(Answer { status, body: &self.buffer[head..head + length] })
    }
}

fn content_length(head: &str) -> usize {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}

/// Makes requests of one account.
#[derive(Clone)]
pub(super) struct Requests {
    pub(super) host: SocketAddr,
    pub(super) account: String,
    pub(super) token: String,
}

impl Requests {
    fn request(&self, method: &str, target: &str, body: &str) -> Vec<u8> {
        let Self { host, token, .. } = self;
        format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    fn session(&self, method: &str, tail: &str, body: &str) -> Vec<u8> {
        let target = format!("/accounts/{}/sessions{tail}?api-version=2021-01-01", self.account);
        self.request(method, &target, body)
    }

    pub(super) fn create(&self, id: &str, lease_minutes: u32) -> Vec<u8> {
        let body = format!("{{\"maxLeaseTimeMinutes\":{lease_minutes},\"size\":\"Standard\"}}");
        self.session("PUT", &format!("/{id}"), &body)
    }

    pub(super) fn get(&self, id: &str) -> Vec<u8> {
        self.session("GET", &format!("/{id}"), "")
    }

    pub(super) fn extend(&self, id: &str, lease_minutes: u32) -> Vec<u8> {
        let body = format!("{{\"maxLeaseTimeMinutes\":{lease_minutes}}}");
        self.session("PATCH", &format!("/{id}"), &body)
    }

    pub(super) fn stop(&self, id: &str) -> Vec<u8> {
        self.session("POST", &format!("/{id}/:stop"), "")
    }

    pub(super) fn list(&self) -> Vec<u8> {
        self.session("GET", "", "")
    }

    /// A page that the last one named, by its absolute URL.
    pub(super) fn page(&self, url: &str) -> Result<Vec<u8>> {
        let target = url.strip_prefix(&format!("http://{}", self.host));
        Ok(self.request("GET", target.context("the next page is elsewhere")?, ""))
    }

    pub(super) fn metrics(&self) -> Vec<u8> {
        self.request("GET", "/metrics", "")
    }
}
