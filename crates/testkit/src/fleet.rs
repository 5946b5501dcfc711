//! A provisioner whose hosts are tasks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use control::provision::{HostOrder, News, NewsSender, Process, Provisioner};
use protocol::HostId;
use protocol::link::ToHost;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::host::{Log, Manner, serve};

/// A host that was told to end has this long, then it is killed.
const GRACE: Duration = Duration::from_millis(500);

/// Simulated hosts, started and ended by a control plane in the same process. Clones are the same fleet, which may
/// outlive a control plane as processes do.
#[derive(Clone, Debug, Default)]
pub struct Fleet(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    manner: watch::Sender<Manner>,
    hosts: Mutex<BTreeMap<HostId, (AbortHandle, NewsSender)>>,
    n_started: watch::Sender<u32>,
    log: Log,
}

impl Fleet {
    /// Changes how all hosts behave, those that live and those to come.
    pub fn behave(&self, manner: Manner) {
        self.0.manner.send_replace(manner);
    }

    /// Hosts that were ever started.
    pub fn n_started(&self) -> u32 {
        *self.0.n_started.borrow()
    }

    /// Hosts that live.
    pub fn n_alive(&self) -> usize {
        self.0.hosts().len()
    }

    /// What all hosts heard, oldest first; only the newest 4,096 messages are kept.
    pub fn heard(&self) -> Vec<ToHost> {
        self.0.log.messages()
    }

    /// Kills all hosts at once.
    pub fn kill_all(&self) {
        for (host, (task, news)) in std::mem::take(&mut *self.0.hosts()) {
            task.abort();
            news.send(killed(host));
        }
    }

    /// Kills one host; returns whether it lived.
    pub fn kill(&self, host: HostId) -> bool {
        self.0.kill(host)
    }

    /// The hosts that live, in the order of their names.
    pub fn alive(&self) -> Vec<HostId> {
        self.0.hosts().keys().copied().collect()
    }
}

impl Inner {
    fn hosts(&self) -> MutexGuard<'_, BTreeMap<HostId, (AbortHandle, NewsSender)>> {
        // Whole after every step, also if one that held it has panicked.
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kill(&self, host: HostId) -> bool {
        let known = self.hosts().remove(&host);
        if let Some((task, news)) = &known {
            task.abort();
            news.send(killed(host));
        }
        known.is_some()
    }
}

fn killed(host: HostId) -> News {
    News::Exited { host, reason: "The session's host was killed by signal 9.".into() }
}

impl Provisioner for Fleet {
    fn start(&self, order: HostOrder, news: NewsSender) {
        let host = order.host;
        if *self.0.manner.borrow() == Manner::Stillborn {
            return news
                .send(News::Exited { host, reason: "The host could not be started: no such file.".into() });
        }
        self.0.n_started.send_modify(|n| *n += 1);
        news.send(News::Started { host, process: None });
        let (manner, log) = (self.0.manner.subscribe(), self.0.log.clone());
        let inner = Arc::clone(&self.0);
        // Held until the host is known, however fast it ends.
        let mut hosts = self.0.hosts();
        let task = tokio::spawn(async move {
            serve(&order.link_url, order.link_token, manner, log).await;
            let known = inner.hosts().remove(&host);
            if let Some((_, news)) = known {
                news.send(News::Exited { host, reason: "The session's host exited with code 0.".into() });
            }
        });
        hosts.insert(host, (task.abort_handle(), news));
    }

    /// Never asked for: these hosts are no processes that could be found again. They link up by themselves.
    fn adopt(&self, host: HostId, _: Process, news: NewsSender) {
        news.send(News::Exited { host, reason: "The session's host is no process.".into() });
    }

    fn end(&self, host: HostId) {
        // A host with a link has heard of it; one without is killed.
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move {
            tokio::time::sleep(GRACE).await;
            inner.kill(host);
        });
    }
}
