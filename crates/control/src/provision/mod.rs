//! What starts and ends hosts.

mod cgroup;
mod local;
mod output;

use std::fmt::Debug;

use protocol::HostId;
use protocol::rest::SessionSize;
use tokio::sync::mpsc;

use crate::sizes::SizeLimits;
pub use crate::store::Process;
pub use cgroup::Cgroups;
pub use local::Local;

/// A host to start.
#[derive(Clone)]
pub struct HostOrder {
    /// Its name.
    pub host: HostId,
    /// What it is for.
    pub size: SessionSize,
    /// What it may use.
    pub limits: SizeLimits,
    /// Where it dials.
    pub link_url: String,
    /// Opens its first link.
    pub link_token: String,
}

/// What became of a host's process.
#[derive(Debug)]
pub enum News {
    /// It runs.
    Started {
        /// Which.
        host: HostId,
        /// How to find it again after a restart of the control plane, if that is possible.
        process: Option<Process>,
    },
    /// It is gone, or never came to be. Said exactly once for each host that was started or adopted.
    Exited {
        /// Which.
        host: HostId,
        /// How it ended and what it said last, as a sentence.
        reason: String,
    },
}

/// Where a provisioner reports.
#[derive(Clone, Debug)]
pub struct NewsSender(pub(crate) mpsc::UnboundedSender<News>);

impl NewsSender {
    /// Reports; nothing happens when the control plane is gone.
    // Unbounded, but each host sends two of these in its life, and the number of hosts has a limit.
    pub fn send(&self, news: News) {
        let _nobody_listens = self.0.send(news).is_err();
    }
}

/// Starts and ends hosts. All functions return at once and are called on a Tokio runtime.
pub trait Provisioner: Debug + Send + Sync + 'static {
    /// Starts a host.
    fn start(&self, order: HostOrder, news: NewsSender);

    /// Watches a host that an earlier control plane started.
    fn adopt(&self, host: HostId, process: Process, news: NewsSender);

    /// Sees to it that a host, which has been asked to end if it has a link, ends soon.
    fn end(&self, host: HostId);
}
