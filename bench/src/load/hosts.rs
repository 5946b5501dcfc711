//! Hosts of a control plane in another process, and what they hear.

use std::collections::HashMap;

use anyhow::{Context, Result};
use protocol::HostId;
use protocol::link::{EndReason, ToHost};
use testkit::{Heard, Log, Manner};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::plane::Order;

/// What happened to a host.
#[derive(Debug)]
pub(super) enum Event {
    /// It is linked up; again, if it was before.
    Linked { again: bool },
    /// Told to end because its lease was over: how late by what it knew, in milliseconds; negative if early.
    Expired { late_ms: f64 },
    /// Told to end for another reason.
    Ended,
}

/// Hosts that live in this process.
pub(super) struct Hosts {
    tasks: JoinSet<()>,
    manner: watch::Sender<Manner>,
    log: Log,
    heard: mpsc::UnboundedReceiver<Heard>,
    /// When the lease of each ends; `None` before it has one.
    lease_ends: HashMap<HostId, Option<Instant>>,
}

impl Hosts {
    pub(super) fn new() -> Self {
        let (listener, heard) = mpsc::unbounded_channel();
        Self {
            tasks: JoinSet::new(),
            manner: watch::Sender::default(),
            log: Log::telling(listener),
            heard,
            lease_ends: HashMap::new(),
        }
    }

    /// Brings a host to life.
    pub(super) fn start(&mut self, order: Order) {
        while self.tasks.try_join_next().is_some() {}
        let (manner, log) = (self.manner.subscribe(), self.log.clone());
        self.tasks.spawn(async move { testkit::serve(&order.url, order.token, manner, log).await });
    }

    /// What happens next.
    pub(super) async fn next(&mut self) -> Result<Event> {
        loop {
            let heard = self.heard.recv().await.context("the hosts have a log")?;
            let Some(host) = heard.host else { continue };
            match heard.message {
                ToHost::Welcome { .. } => {
                    let again = self.lease_ends.contains_key(&host);
                    self.lease_ends.entry(host).or_default();
                    return Ok(Event::Linked { again });
                }
                ToHost::Lease { remaining_ms } => {
                    let end = heard.at + std::time::Duration::from_millis(remaining_ms);
                    self.lease_ends.insert(host, Some(end));
                }
                ToHost::End { reason } => {
                    let end = self.lease_ends.remove(&host).flatten();
                    return Ok(match (reason, end) {
                        (EndReason::LeaseExpired, Some(end)) => {
                            let late = heard.at.saturating_duration_since(end).as_secs_f64();
                            let early = end.saturating_duration_since(heard.at).as_secs_f64();
                            Event::Expired { late_ms: (late - early) * 1e3 }
                        }
                        _ => Event::Ended,
                    });
                }
                ToHost::Assign { .. }
                | ToHost::Connect { .. }
                | ToHost::Disconnect { .. }
                | ToHost::Still { .. } => {}
            }
        }
    }
}
