//! A control plane in a process of its own, whose hosts live in this one: what is measured of the process (memory,
//! processor time, recovery) is the control plane's alone.
//!
//! ```text
//!  bench ── bench control-plane DATA … ──▶ control plane
//!    ▲                                         │ orders, one JSON line each
//!    └── simulated hosts dial ◀────────────────┘
//! ```

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use control::provision::{HostOrder, News, NewsSender, Process, Provisioner};
use control::{Config, RateLimit, Role};
use protocol::HostId;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::http::{Connection, Requests};

/// First argument of the bench when it is to be a control plane.
pub(crate) const CONTROL_PLANE: &str = "control-plane";

/// More than any bench asks for.
const N_HOSTS_MAX: u32 = 50_000;

/// What the control plane prints.
#[derive(Serialize, Deserialize)]
enum Line {
    /// It serves.
    Serving { http: SocketAddr, account: String, token: String },
    /// A host is wanted.
    Start { host: HostId, url: String, token: String },
}

/// A host that is wanted, and where it is to dial.
pub(super) struct Order {
    pub(super) url: String,
    pub(super) token: String,
}

/// Prints orders; somebody else's process has the hosts.
#[derive(Debug, Default)]
struct Printer {
    news: Mutex<HashMap<HostId, NewsSender>>,
}

fn print(line: &Line) {
    let json = serde_json::to_string(line).unwrap_or_default();
    // The bench that reads them may be gone, and then we are to end, too; it kills us.
    let _nobody_reads = writeln!(std::io::stdout(), "{json}").is_err();
}

impl Provisioner for Printer {
    fn start(&self, order: HostOrder, news: NewsSender) {
        let host = order.host;
        news.send(News::Started { host, process: None });
        self.news.lock().unwrap_or_else(PoisonError::into_inner).insert(host, news);
        print(&Line::Start { host, url: order.link_url, token: order.link_token });
    }

    fn adopt(&self, _: HostId, _: Process, _: NewsSender) {}

    fn end(&self, host: HostId) {
        // A real one waits for the process; here the host leaves by itself once it has heard of its end.
        if let Some(news) = self.news.lock().unwrap_or_else(PoisonError::into_inner).remove(&host) {
            news.send(News::Exited { host, reason: "ended".to_owned() });
        }
    }
}

/// Is a control plane until it is killed. Arguments: data folder, HTTP port, warm hosts.
pub(crate) fn serve(args: &[String]) -> Result<()> {
    let [data, port, n_warm] = args else { bail!("usage: bench {CONTROL_PLANE} DATA PORT WARM") };
    let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let mut config = Config {
        listen_http: loopback(port.parse()?),
        listen_https: loopback(0),
        handshake_port: 0,
        inspector_port: 0,
        n_hosts_max: N_HOSTS_MAX,
        rate_limit: RateLimit::NONE,
        refusal_limit: RateLimit::NONE,
        provisioner: Some(Arc::new(Printer::default())),
        ..Config::new(PathBuf::from(data), Vec::new())
    };
    let standard = &mut config.sizes.standard;
    (standard.n_warm, standard.n_hosts_max) = (n_warm.parse()?, None);
    // As `belvedere serve` does it.
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let mut running = control::start(config).await?;
        let account = running.account.id;
        let token = running.issue_token(account, Role::Administrator)?;
        print(&Line::Serving { http: running.http_address, account: account.to_string(), token });
        running.broken().await;
        bail!("a part of the control plane ended");
    })
}

/// What requests are sent to.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) pid: u32,
    pub(super) host: SocketAddr,
}

/// A control plane that is measured. Killed when dropped.
pub(super) struct Plane {
    child: Child,
    pub(super) requests: Requests,
    /// Host orders, as they come.
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
}

impl Plane {
    /// Starts one on a data folder; `port` 0 takes a free one.
    pub(super) async fn start(data: &Path, port: u16, n_warm: u32) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(CONTROL_PLANE)
            .arg(data)
            .args([port.to_string(), n_warm.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the control plane cannot be started")?;
        let stdout = child.stdout.take().context("its output is a pipe")?;
        let (order_sender, orders) = mpsc::unbounded_channel();
        let (serving_sender, serving) = tokio::sync::oneshot::channel();
        std::thread::Builder::new().name("bench-orders".to_owned()).spawn(move || {
            let mut serving_sender = Some(serving_sender);
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                match serde_json::from_str(&line) {
                    Ok(Line::Start { url, token, .. }) => {
                        let _nobody_dials = order_sender.send(Order { url, token }).is_err();
                    }
                    Ok(Line::Serving { http, account, token }) => {
                        let requests = Requests { host: http, account, token };
                        let _gave_up = serving_sender.take().map(|sender| sender.send(requests).is_err());
                    }
                    Err(error) => eprintln!("the control plane said {line:?}: {error}"),
                }
            }
        })?;
        let served = tokio::time::timeout(Duration::from_secs(60), serving).await;
        match served {
            Ok(Ok(requests)) => Ok(Self { child, requests, orders }),
            Ok(Err(_)) | Err(_) => {
                child.kill().ok();
                child.wait().ok();
                bail!("the control plane did not start");
            }
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn target(&self) -> Target {
        Target { pid: self.pid(), host: self.requests.host }
    }

    pub(super) async fn connect(&self) -> Result<Connection> {
        Connection::open(self.requests.host).await
    }

    /// Resident memory in KiB.
    pub(super) fn rss_kib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// As a crash: nothing is said to anybody.
    pub(super) fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.kill();
    }
}
