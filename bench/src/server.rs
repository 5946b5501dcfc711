//! A server for a measurement: release binary, free ports, a data folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use client::rest::{Client, Options};
use serde_json::Value;

use crate::Tools;

/// Runs until dropped.
pub(crate) struct Server {
    child: Child,
    /// Removed with the server.
    data: tempfile::TempDir,
    /// `ready.json`.
    pub(crate) ready: Value,
    /// From process start to `ready.json`.
    pub(crate) start: Duration,
}

impl Server {
    /// Starts `belvedere serve` with these further arguments and waits until it serves.
    pub(crate) fn start(tools: &Tools, args: &[&str]) -> Result<Self> {
        let data = tempfile::tempdir()?;
        let began = Instant::now();
        let log = std::fs::File::create(data.path().join("log.txt"))?;
        let mut child = Command::new(&tools.belvedere)
            // Measuring asks more often than a client should.
            .args(["serve", "--requests-per-minute", "0"])
            .args(["--listen-http", "127.0.0.1:0", "--listen-https", "127.0.0.1:0", "--data"])
            .arg(data.path())
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("the release binary cannot be started")?;
        let path = data.path().join("ready.json");
        let ready = loop {
            if let Ok(text) = std::fs::read(&path) {
                break serde_json::from_slice(&text)?;
            }
            if child.try_wait()?.is_some() || began.elapsed() > Duration::from_secs(20) {
                child.kill().ok();
                bail!("the server did not start:\n{}", std::fs::read_to_string(data.path().join("log.txt"))?);
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        Ok(Self { child, data, ready, start: began.elapsed() })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }

    /// A REST client over TLS.
    pub(crate) fn client(&self) -> Result<Client> {
        let account: Value = serde_json::from_slice(&std::fs::read(self.file("account.json"))?)?;
        Ok(Client::new(Options {
            endpoint: text(&self.ready, "https")?,
            token_endpoint: None,
            account: text(&account, "accountId")?.parse()?,
            key: text(&account, "accountKey")?,
            ca_pem: Some(std::fs::read(self.file("tls/ca.pem"))?),
        })?)
    }

    /// Process ids of the hosts.
    pub(crate) fn hosts(&self) -> Result<Vec<u32>> {
        let pid = self.child.id();
        let mut hosts = Vec::new();
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            // A task may end while we look.
            let children = std::fs::read_to_string(task?.path().join("children")).unwrap_or_default();
            hosts.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        Ok(hosts)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Politely, so that the hosts end too.
        let asked = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        let until = Instant::now() + Duration::from_secs(10);
        while asked.is_ok() && Instant::now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// CPU time that a process has used, all threads, in milliseconds.
pub(crate) fn cpu_ms(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))?;
    // The name in parentheses may hold spaces; utime and stime are fields 14 and 15 (proc(5)).
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    let (Some(user), Some(system)) = (ticks(11), ticks(12)) else { bail!("/proc/{pid}/stat is odd") };
    // 100 ticks a second on every Linux (USER_HZ).
    Ok((user + system) * 10.0)
}

fn text(json: &Value, key: &str) -> Result<String> {
    Ok(json[key].as_str().with_context(|| format!("{key} is missing"))?.to_owned())
}
