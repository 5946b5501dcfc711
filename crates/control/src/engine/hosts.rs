//! The engine's half that deals with hosts.
//!
//! ```text
//!  order ──▶ Starting ── Hello ──▶ Warm ── a session needs it ──▶ Serving ── session over ──▶ Ending ── exit ──▶ gone
//!                │                  │                                │                          ▲
//!                └── too late ──────┴── no link for too long ────────┴── (the session decides) ─┘
//! ```

use std::time::Duration;

use protocol::HostId;
use protocol::link::{EndReason, ToHost};
use protocol::rest::SessionSize;
use session::pool::{self, FAILURES_BEFORE_GIVING_UP, Pool};
use uuid::Builder;

use super::roll::Kind;
use super::{
    After, Alarm, Engine, Error, Hello, HostNews, Input, Key, Link, News, Start, StoredHost, Timestamp,
    Welcomed, oneshot,
};
use crate::provision::{HostOrder, Process};
use crate::secrets::SecretHash;
use crate::sizes::Sizes;

/// From the start of a host to its Hello; it takes some ten milliseconds.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a warm host may be without link. It dials again at least once a second.
const WARM_RELINK: Duration = Duration::from_secs(5);

pub(super) struct Host {
    pub(super) size: SessionSize,
    pub(super) role: Role,
    pub(super) link: Option<Link>,
    /// Hash of the one-time token, until the host is known to have its secret.
    pub(super) token_hash: Option<SecretHash>,
    /// Hash of what opens later links.
    pub(super) secret_hash: Option<SecretHash>,
    pub(super) process: Option<Process>,
    /// Whether the provisioner will tell its end.
    watched: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Starting,
    Warm,
    Serving(Key),
    Ending,
}

impl Engine {
    /// Lets a host of an earlier control plane open links.
    pub(super) fn know(&self, stored: &StoredHost) {
        for hash in std::iter::once(stored.secret_hash).chain(stored.token_hash) {
            self.credentials.insert(hash, stored.id);
        }
    }

    /// Takes up a host of an earlier control plane, which is known.
    pub(super) fn adopt(&mut self, stored: &StoredHost, size: SessionSize, key: Key) {
        let host = Host {
            size,
            role: Role::Serving(key),
            link: None,
            token_hash: stored.token_hash,
            secret_hash: Some(stored.secret_hash),
            process: stored.process,
            watched: stored.process.is_some(),
        };
        self.hosts.insert(stored.id, host);
        if let Some(process) = stored.process {
            self.provisioner.adopt(stored.id, process, self.news.clone());
        }
    }

    /// Gives the session a host, or puts it in the queue for one, or says that there is no room.
    pub(super) fn place(&mut self, now: Timestamp, key: &Key) {
        let Some(live) = self.sessions.get(key) else { return };
        if live.host.is_some() {
            return;
        }
        let size = live.size;
        let seq = live.seq;
        if self.starts.get(&size).is_some_and(|starts| starts.waiting.contains_key(&seq)) {
            return;
        }
        let size_max = self.limits.sizes.of(size).n_hosts_max.unwrap_or(u32::MAX);
        let (n_all, n_of_size) = self.n_placed(size);
        if n_all >= self.limits.n_hosts_max as usize || n_of_size >= size_max as usize {
            return self.tell(now, key, Input::NoCapacity);
        }
        let linked = |id: &HostId| self.hosts.get(*id).is_some_and(|host| host.link.is_some());
        let warm = self.hosts.warm(size).find(linked);
        if let Some(host) = warm {
            self.starts.entry(size).or_default().taken_at = Some(now);
            return self.give(now, key, host);
        }
        self.starts.entry(size).or_default().waiting.insert(seq, key.clone());
    }

    /// Sessions that have a host or wait for one: of all sizes, and of `size`.
    fn n_placed(&self, size: SessionSize) -> (usize, usize) {
        let n_placed = |size: &SessionSize| {
            let n_waiting = self.starts.get(size).map_or(0, |starts| starts.waiting.len());
            self.hosts.n(Kind::Serving, *size) as usize + n_waiting
        };
        (Sizes::ALL.iter().map(n_placed).sum(), n_placed(&size))
    }

    fn give(&mut self, now: Timestamp, key: &Key, id: HostId) {
        if let Some(live) = self.sessions.get_mut(key) {
            self.hosts.set_role(id, Role::Serving(key.clone()));
            live.host = Some(id);
            // With the host's name in the store, a restart between here and Ready finds it again.
            self.dirty.insert(key.clone());
            self.assign(key, id);
            self.tell(now, key, Input::HostGiven);
        }
    }

    fn assign(&mut self, key: &Key, host: HostId) {
        if let Some(live) = self.sessions.get(key) {
            let assign = ToHost::Assign {
                account: key.0,
                session: key.1.clone(),
                size: live.size,
                model: live.model.clone(),
                models_dir: self.limits.models_dir.clone(),
                trace: live.start.as_ref().map(Start::trace),
            };
            self.after.push(After::Say(host, assign));
        }
    }

    /// Takes the session's host away, or its place in the queue.
    pub(super) fn release(&mut self, key: &Key, reason: EndReason) {
        let Some(live) = self.sessions.get_mut(key) else { return };
        match live.host.take() {
            Some(host) => self.end_host(host, reason),
            None => {
                if let Some(starts) = self.starts.get_mut(&live.size) {
                    starts.waiting.remove(&live.seq);
                }
            }
        }
    }

    pub(super) fn end_host(&mut self, id: HostId, reason: EndReason) {
        let Some(host) = self.hosts.get_mut(id) else { return };
        if host.role == Role::Ending {
            return;
        }
        // Nobody will tell the end of a host that is not watched and not linked.
        let is_gone = !host.watched && host.link.is_none();
        self.hosts.set_role(id, Role::Ending);
        if is_gone {
            self.forget_host(id);
        }
        self.after.push(After::End(id, reason));
    }

    fn forget_host(&mut self, id: HostId) -> Option<Host> {
        let host = self.hosts.remove(id)?;
        self.unsay(id);
        for hash in [host.token_hash, host.secret_hash].into_iter().flatten() {
            self.credentials.remove(hash);
        }
        Some(host)
    }

    pub(super) fn say(&mut self, host: HostId, message: ToHost) {
        if let Some(link) = self.hosts.get(host).and_then(|host| host.link.as_ref()) {
            link.say(message);
        }
    }

    pub(super) fn link_up(
        &mut self,
        now: Timestamp,
        hello: Hello,
        link: Link,
        reply: oneshot::Sender<Option<Welcomed>>,
    ) {
        let known = self.credentials.host(hello.credential).inspect(|id| self.unsay(*id));
        let Some((id, host)) = known.and_then(|id| Some((id, self.hosts.get_mut(id)?))) else {
            let _link_gone = reply.send(None).is_err();
            return;
        };
        let is_first = host.token_hash == Some(hello.credential);
        let secret = if is_first {
            // Its Welcome may get lost, and then it has nothing but the token once more.
            let secret = self.random.link_secret();
            let hash = SecretHash::of(&secret);
            if let Some(lost) = host.secret_hash.replace(hash) {
                self.credentials.remove(lost);
            }
            self.credentials.insert(hash, id);
            secret
        } else {
            hello.token
        };
        host.link = Some(link);
        let role = host.role.clone();
        let size = host.size;
        // First of all, so that what follows comes after the Welcome.
        let welcomed = Welcomed { host: id, secret };
        match &role {
            // The store has an older secret of it, or none: it would not be known again after a restart.
            Role::Serving(key) if is_first => {
                self.dirty.insert(key.clone());
                self.after.push(After::Welcome(reply, welcomed));
            }
            Role::Starting | Role::Warm | Role::Serving(_) | Role::Ending => {
                let _link_gone = reply.send(Some(welcomed)).is_err();
            }
        }
        match role {
            Role::Starting => {
                self.hosts.set_role(id, Role::Warm);
                let next = self.starts.get_mut(&size).and_then(|starts| starts.waiting.pop_first());
                if let Some((_, key)) = next {
                    self.give(now, &key, id);
                }
            }
            Role::Warm => {}
            Role::Serving(key) => {
                if hello.serving.as_ref() == Some(&key.1) {
                    self.tell(now, &key, Input::LinkBack);
                    // If it was Starting, the Ready was lost with the old link: a host that serves says so at once.
                    self.tell(now, &key, Input::HostReady);
                } else if self.sessions.get(&key).is_some_and(|live| live.life.was_ready()) {
                    // It lost its session, scene and all.
                    let reason = "The session's host came back without the session.".to_owned();
                    self.tell(now, &key, Input::HostLost(reason));
                } else {
                    self.assign(&key, id);
                    self.tell(now, &key, Input::LinkBack);
                }
                self.changed.insert(key);
            }
            Role::Ending => self.after.push(After::Say(id, ToHost::End { reason: EndReason::Shutdown })),
        }
    }

    pub(super) fn link_down(&mut self, now: Timestamp, id: HostId, number: u64) {
        let Some(host) = self.hosts.get_mut(id) else { return };
        if host.link.as_ref().is_none_or(|link| link.number != number) {
            return; // It has a newer one.
        }
        host.link = None;
        match host.role.clone() {
            Role::Starting => {}
            Role::Warm => {
                self.alarms.insert((now + WARM_RELINK, Alarm::Host(id)));
            }
            Role::Serving(key) => {
                self.changed.insert(key.clone());
                self.tell(now, &key, Input::LinkLost);
            }
            Role::Ending if !host.watched => {
                self.forget_host(id);
            }
            Role::Ending => {}
        }
    }

    pub(super) fn host_says(&mut self, now: Timestamp, id: HostId, number: u64, message: HostNews) {
        let Some(host) = self.hosts.get_mut(id) else { return };
        if host.link.as_ref().is_none_or(|link| link.number != number) {
            return; // Said on a link that is gone.
        }
        // Whoever speaks on a link has read the Welcome: the token was for one time.
        if let Some(token_hash) = host.token_hash.take() {
            self.credentials.remove(token_hash);
        }
        let size = host.size;
        let Role::Serving(key) = host.role.clone() else { return };
        match message {
            HostNews::Ready(session) if session == key.1 => {
                if let Some(starts) = self.starts.get_mut(&size) {
                    starts.n_failures = 0;
                }
                self.tell(now, &key, Input::HostReady);
            }
            HostNews::Failed(session, error) if session == key.1 => {
                self.tell(now, &key, Input::HostFailed(error))
            }
            HostNews::Welcomed | HostNews::Ready(_) | HostNews::Failed(..) => {}
            HostNews::Ended(reason) => {
                self.tell(now, &key, Input::HostLost(format!("The session's host ended: {reason}")));
            }
        }
    }

    /// A host did not say Hello, or did not come back.
    pub(super) fn host_is_late(&mut self, now: Timestamp, id: HostId) {
        let Some(host) = self.hosts.get(id) else { return };
        match host.role {
            Role::Starting => {
                let size = host.size;
                tracing::warn!(host = %id, "a host did not link up in time");
                self.end_host(id, EndReason::Shutdown);
                let reason =
                    format!("The session's host did not link up within {} s.", HELLO_TIMEOUT.as_secs());
                self.start_failed(now, size, &reason);
            }
            Role::Warm if host.link.is_none() => self.end_host(id, EndReason::Shutdown),
            Role::Warm | Role::Serving(_) | Role::Ending => {}
        }
    }

    pub(super) fn hear(&mut self, now: Timestamp, news: News) {
        match news {
            News::Started { host: id, process } => {
                if let Some(host) = self.hosts.get_mut(id) {
                    host.process = process;
                    if let Role::Serving(key) = &host.role {
                        self.dirty.insert(key.clone());
                    }
                }
            }
            News::Exited { host: id, reason } => {
                let Some(host) = self.forget_host(id) else { return };
                self.after.retain(|after| !matches!(after, After::End(ended, _) if *ended == id));
                match host.role {
                    Role::Starting | Role::Warm => {
                        tracing::warn!(host = %id, reason, "a host ended before it served");
                        self.start_failed(now, host.size, &reason);
                    }
                    Role::Serving(key) => {
                        tracing::warn!(host = %id, session = %key.1, reason, "a host was lost");
                        self.tell(now, &key, Input::HostLost(reason));
                    }
                    Role::Ending => tracing::debug!(host = %id, reason, "a host ended"),
                }
            }
        }
    }

    fn start_failed(&mut self, now: Timestamp, size: SessionSize, reason: &str) {
        let starts = self.starts.entry(size).or_default();
        starts.n_failures = starts.n_failures.saturating_add(1);
        starts.failed_at = Some(now);
        if starts.n_failures >= FAILURES_BEFORE_GIVING_UP {
            for key in std::mem::take(&mut starts.waiting).into_values() {
                self.tell(now, &key, Input::HostFailed(Error::new("SessionStartFailed", reason)));
            }
        }
    }

    /// Starts the hosts that are missing.
    pub(super) fn refill(&mut self, now: Timestamp) {
        if self.shutting_down {
            return;
        }
        let n_warm_total =
            Sizes::ALL.iter().map(|size| self.limits.sizes.of(*size).n_warm).fold(0, u32::saturating_add);
        let sizes: Vec<SessionSize> = self.starts.keys().copied().collect();
        for size in sizes {
            let Some(starts) = self.starts.get(&size) else { continue };
            let n_hosts = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX);
            let pool = Pool {
                n_warm_wanted: if self.draining { 0 } else { self.limits.sizes.of(size).n_warm },
                n_warm: self.hosts.n(Kind::Warm, size),
                n_starting: self.hosts.n(Kind::Starting, size),
                n_waiting: u32::try_from(starts.waiting.len()).unwrap_or(u32::MAX),
                n_room: self.limits.n_hosts_max.saturating_add(n_warm_total).saturating_sub(n_hosts),
                n_failures: starts.n_failures,
                failed_at: starts.failed_at,
                taken_at: starts.taken_at,
            };
            let decision = pool::decide(now, &pool);
            if let Some(at) = decision.retry_at {
                self.alarms.insert((at, Alarm::Refill(size)));
            }
            for _ in 0..decision.n_spawn {
                self.order(now, size);
            }
            let surplus: Vec<HostId> = self.hosts.warm(size).take(decision.n_end as usize).collect();
            for host in surplus {
                // Nothing about it is stored, so there is no commit to wait for.
                self.end_host(host, EndReason::Shutdown);
            }
        }
    }

    fn order(&mut self, now: Timestamp, size: SessionSize) {
        let id = HostId::new(Builder::from_random_bytes(self.random.bytes()).into_uuid());
        let token = self.random.link_secret();
        let token_hash = SecretHash::of(&token);
        self.credentials.insert(token_hash, id);
        let host = Host {
            size,
            role: Role::Starting,
            link: None,
            token_hash: Some(token_hash),
            secret_hash: None,
            process: None,
            watched: true,
        };
        self.hosts.insert(id, host);
        self.alarms.insert((now + HELLO_TIMEOUT, Alarm::Host(id)));
        let order = HostOrder {
            host: id,
            size,
            limits: *self.limits.sizes.of(size),
            link_url: self.limits.link_url.clone(),
            link_token: token,
        };
        self.provisioner.start(order, self.news.clone());
    }
}
