//! The one task that decides: it owns all live sessions and hosts.
//!
//! ```text
//!  http ── Create, SetLease, Stop ──▶ ┌────────┐ ── rows ──▶ store (one transaction for all that came in at once)
//!  link ── LinkUp, news, LinkDown ──▶ │ Engine │ ── Shown ─▶ view          │
//!  provisioner ── Started, Exited ──▶ │        │ ◀──────── committed ──────┘
//!  clock ── wake ───────────────────▶ └────────┘ ── then: replies, messages to hosts, starts and ends of hosts
//! ```
//!
//! Nothing is answered, shown or done before it is durable. If the store fails, the sessions go on, and the commit is
//! tried again; until it passes, clients are refused whatever they want, so that what waits for it stays small.

pub(crate) mod credentials;
mod hosts;
mod outage;
mod roll;
pub(crate) mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use protocol::link::{EndReason, ToHost, Trace};
use protocol::rest::{Error, SessionSize, SessionStatus};
use protocol::{AccountId, HostId, SessionId};
use session::{Denied, Effect, Input, Minutes, Session, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tracing::Span;

use crate::clock::{Clock, creation_time};
use crate::engine::credentials::Credentials;
use crate::engine::outage::Outage;
use crate::engine::roll::{Kind, Roll};
use crate::engine::view::{Key, Shown, View};
use crate::link::{Hello, HostNews, Link, Welcomed};
use crate::metrics::{Census, Metrics};
use crate::provision::{News, NewsSender, Provisioner};
use crate::secrets::Random;
use crate::sizes::Sizes;
use crate::store::{SessionStore, StoreError, StoredHost, StoredSession};

/// Events on their way to the engine; beyond this many, requests wait.
pub(crate) const EVENTS_MAX: usize = 1_024;

/// Events that share one commit. A commit costs about a millisecond, an event some ten microseconds.
const BATCH_MAX: usize = 256;

/// How long ended sessions stay readable.
pub(crate) const RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long an account that is gone is remembered: longer than any request is on its way that was let in before.
const CLOSING: Duration = Duration::from_secs(60);

/// How often those that are older are removed.
const PURGE_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Why a client's wish was not done.
#[derive(Debug)]
pub(crate) enum Refused {
    NotFound,
    Conflict,
    Denied(Denied),
    /// The service takes no new sessions, because it is about to end.
    Draining,
    /// The store failed, or the service ends.
    Unavailable,
}

/// A session that a client asks for.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) key: Key,
    pub(crate) size: SessionSize,
    pub(crate) lease: Minutes,
    pub(crate) model: Option<String>,
    pub(crate) start: Start,
}

/// The way of a session from the request for it to Ready, for whoever looks for it in traces and logs.
#[derive(Debug)]
pub(crate) struct Start {
    /// Ends with it.
    span: Span,
    correlation_vector: String,
}

impl Start {
    /// Begins now, as a part of what is being done. The host is asked under `correlation_vector`.
    pub(crate) fn new(session: &SessionId, size: SessionSize, correlation_vector: String) -> Self {
        let span = tracing::info_span!(
            target: telemetry::TARGET,
            "session start",
            otel.status_code = tracing::field::Empty,
            session = %session,
            size = %size,
            status = tracing::field::Empty,
        );
        Self { span, correlation_vector }
    }

    /// What the host is told of it.
    fn trace(&self) -> Trace {
        Trace {
            correlation_vector: self.correlation_vector.clone(),
            traceparent: telemetry::traceparent(&self.span),
        }
    }

    fn end(self, status: SessionStatus) {
        self.span.record("status", status.as_str());
        if status == SessionStatus::Error {
            self.span.record("otel.status_code", "ERROR");
        }
    }
}

/// A session after a wish was done.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) shown: Shown,
    /// Whether it is new.
    pub(crate) created: bool,
}

/// Sessions that have ended and are known to the store alone.
type Asleep = BTreeMap<Key, StoredSession>;

type Reply<T> = oneshot::Sender<Result<T, Refused>>;

/// Everything that can make the engine act, beside the clock.
#[derive(Debug)]
pub(crate) enum Event {
    Create {
        wish: Wish,
        reply: Reply<Done>,
    },
    SetLease {
        key: Key,
        lease: Minutes,
        reply: Reply<Done>,
    },
    Stop {
        key: Key,
        reply: Reply<()>,
    },
    LinkUp {
        hello: Hello,
        link: Link,
        reply: oneshot::Sender<Option<Welcomed>>,
    },
    FromHost {
        host: HostId,
        number: u64,
        message: HostNews,
    },
    LinkDown {
        host: HostId,
        number: u64,
    },
    /// Stop the sessions of an account that is gone, and take no more of them.
    CloseAccount {
        account: AccountId,
        reply: Reply<()>,
    },
    /// How many of what there are now.
    Count {
        reply: oneshot::Sender<Census>,
    },
    /// Take no new sessions, and let those that are here end by themselves; answered when the last one has.
    Drain {
        reply: oneshot::Sender<()>,
    },
    /// End everything; answered when the last host is gone.
    Shutdown {
        reply: oneshot::Sender<()>,
    },
}

/// How many hosts, and where they dial.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// What each size may use, and how many of it there may be.
    pub(crate) sizes: Sizes,
    /// Hosts of all sizes that serve sessions at the same time.
    pub(crate) n_hosts_max: u32,
    /// Where hosts dial.
    pub(crate) link_url: String,
    /// Folder that clients may load models from.
    pub(crate) models_dir: Option<String>,
}

/// A session that has not ended, or whose end is not committed yet.
struct Live {
    seq: i64,
    creation_time: String,
    size: SessionSize,
    requested: Minutes,
    model: Option<String>,
    /// Unless it is from an earlier process.
    created_at: Option<Timestamp>,
    /// Until it is Ready or has failed, unless it is from an earlier process.
    start: Option<Start>,
    life: Session,
    host: Option<HostId>,
    /// Its alarm, as it stands in [`Engine::alarms`].
    wake_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    Session(Key),
    Host(HostId),
    Refill(SessionSize),
    Commit,
    Purge,
}

/// What is done once the commit has passed.
enum After {
    Reply(Box<dyn FnOnce(bool) + Send>),
    /// Opens a link.
    Welcome(oneshot::Sender<Option<Welcomed>>, Welcomed),
    Say(HostId, ToHost),
    /// Says when the lease ends, counted from when it is said.
    SayLease(HostId, Timestamp),
    End(HostId, EndReason),
}

impl After {
    /// Whether it is for the host's link.
    fn is_said_to(&self, id: HostId) -> bool {
        match self {
            Self::Welcome(_, Welcomed { host, .. }) | Self::Say(host, _) | Self::SayLease(host, _) => {
                *host == id
            }
            Self::Reply(_) | Self::End(..) => false,
        }
    }
}

/// What is known of the starts of one size's hosts.
#[derive(Debug, Default)]
struct Starts {
    /// By the order in which they were created; thousands may wait.
    waiting: BTreeMap<i64, Key>,
    n_failures: u32,
    failed_at: Option<Timestamp>,
    taken_at: Option<Timestamp>,
}

pub(crate) struct Engine {
    store: Arc<dyn SessionStore>,
    clock: Arc<dyn Clock>,
    provisioner: Arc<dyn Provisioner>,
    view: Arc<View>,
    metrics: Arc<Metrics>,
    limits: Limits,
    random: Random,
    news: NewsSender,

    sessions: HashMap<Key, Live>,
    hosts: Roll,
    credentials: Arc<Credentials>,
    starts: BTreeMap<SessionSize, Starts>,
    alarms: BTreeSet<(Timestamp, Alarm)>,
    last_seq: i64,

    /// To be stored with the next commit.
    dirty: BTreeSet<Key>,
    /// To be shown anew after it.
    changed: BTreeSet<Key>,
    /// However long the store fails, this holds a handful for each host that there is (see [`Self::unsay`]) and what
    /// one batch of wishes asked for, which was the last that was looked at.
    after: Vec<After>,
    /// While the store takes no commits.
    outage: Option<Outage>,
    /// Accounts that are gone, and since when.
    closed: HashMap<AccountId, Timestamp>,
    /// Takes no new sessions any more.
    draining: bool,
    /// Who waits for the last session to end.
    drained: Vec<oneshot::Sender<()>>,
    shutdown: Option<oneshot::Sender<()>>,
    shutting_down: bool,
    /// What an earlier control plane left, until it is taken up.
    restored: Vec<StoredSession>,
}

impl Engine {
    /// Takes up the sessions that the store says are live. Returns the engine and its other inlet.
    pub(crate) async fn restore(
        store: Arc<dyn SessionStore>,
        clock: Arc<dyn Clock>,
        provisioner: Arc<dyn Provisioner>,
        view: Arc<View>,
        metrics: Arc<Metrics>,
        limits: Limits,
        random: Random,
    ) -> Result<(Self, mpsc::UnboundedReceiver<News>), StoreError> {
        let (news, inlet) = mpsc::unbounded_channel();
        let restored = store.live_sessions().await?;
        let last_seq = store.last_seq().await?;
        let now = clock.now();
        let engine = Self {
            store,
            clock,
            provisioner,
            view,
            metrics,
            random,
            news: NewsSender(news),
            sessions: HashMap::new(),
            hosts: Roll::default(),
            credentials: Arc::default(),
            starts: Sizes::ALL.map(|size| (size, Starts::default())).into(),
            limits,
            alarms: BTreeSet::from([(now, Alarm::Purge)]),
            last_seq,
            dirty: BTreeSet::new(),
            changed: BTreeSet::new(),
            after: Vec::new(),
            outage: None,
            closed: HashMap::new(),
            draining: false,
            drained: Vec::new(),
            shutdown: None,
            shutting_down: false,
            restored,
        };
        // As they were stored; what has become of them since is found out by `run`.
        let mut shown = Vec::with_capacity(engine.restored.len());
        for stored in &engine.restored {
            let key = (stored.account, stored.id.clone());
            let live = Live::restore(now, stored).ok_or(StoreError::Impossible("session"))?;
            shown.push((key.clone(), Some(live.show(&key, None))));
            // Hosts that dial before `run` begins must find themselves known.
            if let Some(host) = &stored.host {
                engine.know(host);
            }
        }
        engine.view.replace(shown);
        Ok((engine, inlet))
    }

    /// What opens links, for whoever lets them in.
    pub(crate) fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.credentials)
    }

    /// Takes up what an earlier control plane left. Its hosts have their time to come back from now on.
    fn take_up(&mut self, now: Timestamp) {
        for stored in std::mem::take(&mut self.restored) {
            let key = (stored.account, stored.id.clone());
            let Some(live) = Live::restore(now, &stored) else { continue };
            if let Some(host) = &stored.host {
                self.adopt(host, stored.size, key.clone());
            }
            self.sessions.insert(key.clone(), live);
            self.perform(now, &key);
        }
    }

    /// Runs until it was told to shut down and the last host is gone.
    pub(crate) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut news: mpsc::UnboundedReceiver<News>,
    ) {
        let clock = Arc::clone(&self.clock);
        let mut batch = Vec::new();
        let mut heard = Vec::new();
        self.take_up(clock.now());
        self.finish_batch().await;
        loop {
            let alarm = self.alarms.first().map(|(at, _)| clock.sleep_until(*at));
            tokio::select! {
                biased;
                n_events = events.recv_many(&mut batch, BATCH_MAX) => {
                    if n_events == 0 {
                        return;
                    }
                }
                // We hold a sender, so this never ends.
                Some(first) = news.recv() => heard.push(first),
                () = async { alarm.unwrap_or_else(|| Box::pin(std::future::pending())).await } => {}
            }
            // A slow commit can hold us up for seconds, in which a host that was missing has come back. So alarms ring
            // as of the moment at which all that had come in was taken, however long it takes to deal with it.
            while batch.len() < BATCH_MAX
                && let Ok(event) = events.try_recv()
            {
                batch.push(event);
            }
            while let Ok(next) = news.try_recv() {
                heard.push(next);
            }
            // Wishes that come when it is time to try again are not refused if that helps.
            if self.outage.is_some() {
                self.finish_batch().await;
            }
            let now = clock.now();
            let asleep = self.look_up(&batch).await;
            // What a host said last explains its end.
            for event in batch.drain(..) {
                self.handle(now, event, asleep.as_ref());
            }
            for news in heard.drain(..) {
                self.hear(now, news);
            }
            self.ring(now).await;
            self.finish_batch().await;
            if self.sessions.is_empty() {
                for reply in self.drained.drain(..) {
                    let _nobody_waits = reply.send(()).is_err();
                }
            }
            if self.shutting_down && self.hosts.len() == 0 && self.dirty.is_empty() {
                if let Some(reply) = self.shutdown.take() {
                    let _nobody_waits = reply.send(()).is_err();
                }
                return;
            }
        }
    }

    /// The ended sessions that events are about, read in one go; `None` if the store failed.
    async fn look_up(&mut self, events: &[Event]) -> Option<Asleep> {
        let names = events.iter().filter_map(|event| match event {
            Event::Create { wish: Wish { key, .. }, .. }
            | Event::SetLease { key, .. }
            | Event::Stop { key, .. } => Some(key),
            Event::LinkUp { .. }
            | Event::FromHost { .. }
            | Event::LinkDown { .. }
            | Event::CloseAccount { .. }
            | Event::Count { .. }
            | Event::Drain { .. }
            | Event::Shutdown { .. } => None,
        });
        let names: Vec<Key> = names.filter(|key| !self.sessions.contains_key(*key)).cloned().collect();
        // During an outage wishes are refused, whatever is stored.
        if names.is_empty() || self.outage.is_some() {
            return Some(Asleep::new());
        }
        match self.store.sessions_named(&names).await {
            Ok(stored) => {
                Some(stored.into_iter().map(|stored| ((stored.account, stored.id.clone()), stored)).collect())
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "failed to read sessions");
                None
            }
        }
    }

    fn handle(&mut self, now: Timestamp, event: Event, asleep: Option<&Asleep>) {
        match event {
            Event::Create { wish, reply } => {
                let done = self.create(now, wish, asleep);
                self.reply(reply, done);
            }
            Event::SetLease { key, lease, reply } => {
                let done = self.wish(now, &key, Input::SetLease(lease), asleep);
                let done = done.and_then(|()| {
                    self.show(&key).map(|shown| Done { shown, created: false }).ok_or(Refused::NotFound)
                });
                self.reply(reply, done);
            }
            Event::Stop { key, reply } => {
                let done = self.wish(now, &key, Input::Stop, asleep);
                self.reply(reply, done);
            }
            Event::LinkUp { hello, link, reply } => self.link_up(now, hello, link, reply),
            Event::FromHost { host, number, message } => self.host_says(now, host, number, message),
            Event::LinkDown { host, number } => self.link_down(now, host, number),
            Event::CloseAccount { account, reply } => {
                self.closed.retain(|_, closed_at| now.since(*closed_at) < CLOSING);
                self.closed.insert(account, now);
                let mut keys: Vec<Key> =
                    self.sessions.keys().filter(|key| key.0 == account).cloned().collect();
                keys.sort_unstable();
                for key in keys {
                    self.tell(now, &key, Input::Stop);
                }
                self.reply(reply, Ok(()));
            }
            Event::Count { reply } => {
                let _nobody_waits = reply.send(self.census()).is_err();
            }
            Event::Drain { reply } => {
                self.draining = true;
                self.drained.push(reply);
            }
            Event::Shutdown { reply } => {
                self.draining = true;
                self.shutting_down = true;
                self.shutdown = Some(reply);
                let mut keys: Vec<Key> = self.sessions.keys().cloned().collect();
                keys.sort_unstable();
                for key in keys {
                    self.tell(now, &key, Input::Shutdown);
                }
                for host in self.hosts.names() {
                    self.end_host(host, EndReason::Shutdown);
                }
            }
        }
    }

    fn create(&mut self, now: Timestamp, wish: Wish, asleep: Option<&Asleep>) -> Result<Done, Refused> {
        let key = wish.key;
        if self.outage.is_some() {
            return Err(Refused::Unavailable);
        }
        if self.closed.contains_key(&key.0) {
            return Err(Refused::NotFound);
        }
        if let Some(live) = self.sessions.get(&key) {
            // A retried PUT matches even after a PATCH, because it is compared with what was asked for first.
            let same = live.size == wish.size && live.requested == wish.lease;
            let shown = self.show(&key).filter(|shown| same && !shown.life.status().is_terminal());
            return shown.map(|shown| Done { shown, created: false }).ok_or(Refused::Conflict);
        }
        if ended(now, &key, asleep)?.is_some() {
            return Err(Refused::Conflict);
        }
        if self.draining {
            return Err(Refused::Draining);
        }
        self.last_seq += 1;
        let live = Live {
            seq: self.last_seq,
            creation_time: creation_time(self.clock.wall()),
            size: wish.size,
            requested: wish.lease,
            model: wish.model,
            created_at: Some(now),
            start: Some(wish.start),
            life: Session::new(now, wish.lease),
            host: None,
            wake_at: None,
        };
        self.metrics.count_created();
        // As the client is to see it: Starting, whatever happens in this batch.
        let shown = live.show(&key, None);
        self.sessions.insert(key.clone(), live);
        self.perform(now, &key);
        Ok(Done { shown, created: true })
    }

    /// A client's wish about a session that exists.
    fn wish(
        &mut self,
        now: Timestamp,
        key: &Key,
        input: Input,
        asleep: Option<&Asleep>,
    ) -> Result<(), Refused> {
        if self.outage.is_some() {
            return Err(Refused::Unavailable);
        }
        match self.sessions.get_mut(key) {
            Some(live) => {
                let done = live.life.handle(now, input);
                self.perform(now, key);
                done.map_err(Refused::Denied)
            }
            None => match ended(now, key, asleep)? {
                Some(stored) => {
                    let mut life =
                        Session::restore(now, stored.life.clone(), false).ok_or(Refused::Unavailable)?;
                    life.handle(now, input).map_err(Refused::Denied)
                }
                None => Err(Refused::NotFound),
            },
        }
    }

    /// News that are no client's wish.
    fn tell(&mut self, now: Timestamp, key: &Key, input: Input) {
        if let Some(live) = self.sessions.get_mut(key) {
            // Only wishes are denied.
            let _never = live.life.handle(now, input).is_err();
            self.perform(now, key);
        }
    }

    /// Does what a session asks for.
    fn perform(&mut self, now: Timestamp, key: &Key) {
        while let Some(effect) = self.sessions.get_mut(key).and_then(|live| live.life.poll_effect()) {
            match effect {
                Effect::AssignHost => self.place(now, key),
                Effect::SetLease(end) => {
                    if let Some(host) = self.sessions.get(key).and_then(|live| live.host) {
                        self.after.push(After::SayLease(host, end));
                    }
                }
                Effect::ReleaseHost(reason) => self.release(key, reason),
                Effect::WakeAt(at) => {
                    if let Some(live) = self.sessions.get_mut(key)
                        && let Some(old) = live.wake_at.replace(at)
                    {
                        self.alarms.remove(&(old, Alarm::Session(key.clone())));
                    }
                    self.alarms.insert((at, Alarm::Session(key.clone())));
                }
                Effect::Publish(status) => {
                    tracing::info!(account = %key.0, session = %key.1, status = status.as_str(), "session");
                    self.dirty.insert(key.clone());
                    self.metrics.count_ended(status);
                    if status != SessionStatus::Starting
                        && let Some(start) = self.sessions.get_mut(key).and_then(|live| live.start.take())
                    {
                        start.end(status);
                    }
                    let created_at = self.sessions.get(key).and_then(|live| live.created_at);
                    if let Some(created_at) = created_at.filter(|_| status == SessionStatus::Ready) {
                        self.metrics.count_start(now.since(created_at));
                    }
                }
            }
        }
    }

    /// Rings the alarms whose time has come.
    async fn ring(&mut self, now: Timestamp) {
        while self.alarms.first().is_some_and(|(at, _)| *at <= now) {
            match self.alarms.pop_first().map(|(_, alarm)| alarm) {
                Some(Alarm::Session(key)) => {
                    if let Some(live) = self.sessions.get_mut(&key) {
                        live.wake_at = None;
                    }
                    self.tell(now, &key, Input::Tick);
                }
                Some(Alarm::Host(host)) => self.host_is_late(now, host),
                Some(Alarm::Purge) => {
                    let before = Timestamp::from_micros(
                        now.as_micros()
                            .saturating_sub(u64::try_from(RETENTION.as_micros()).unwrap_or(u64::MAX)),
                    );
                    match self.store.forget_ended(before).await {
                        Ok(0) => {}
                        Ok(n_sessions) => tracing::info!(n_sessions, "old sessions were forgotten"),
                        Err(error) => {
                            tracing::warn!(
                                error = &error as &dyn std::error::Error,
                                "failed to forget old sessions"
                            );
                        }
                    }
                    self.alarms.insert((now + PURGE_INTERVAL, Alarm::Purge));
                }
                // What they ask for is done after every batch.
                Some(Alarm::Refill(_) | Alarm::Commit) | None => {}
            }
        }
    }

    /// Commits, then does what had to wait for it.
    async fn finish_batch(&mut self) {
        let committed = self.commit().await;
        // What begins now has its whole time before it, however long the commit took.
        let now = self.clock.now();
        if committed {
            self.dirty.extend(std::mem::take(&mut self.changed));
            let keys = std::mem::take(&mut self.dirty);
            let mut changes = Vec::with_capacity(keys.len());
            for key in keys {
                let shown = self.show(&key).filter(|shown| !shown.life.status().is_terminal());
                if shown.is_none()
                    && let Some(ended) = self.sessions.remove(&key)
                    && let Some(at) = ended.wake_at
                {
                    self.alarms.remove(&(at, Alarm::Session(key.clone())));
                }
                changes.push((key, shown));
            }
            self.view.replace(changes);
        }
        self.do_after(committed);
        // Starting hosts takes a moment, for which nobody should have to wait.
        self.refill(now);
        self.do_after(committed);
    }

    /// Whether all that has changed is stored. A store that fails is not tried again before its time.
    async fn commit(&mut self) -> bool {
        if self.outage.is_some_and(|outage| self.clock.now() < outage.retry_at()) {
            return false;
        }
        let rows: Vec<StoredSession> = self.dirty.iter().filter_map(|key| self.row(key)).collect();
        let saved = if rows.is_empty() { Ok(()) } else { self.store.save(&rows).await };
        let now = self.clock.now();
        match (saved, &mut self.outage) {
            (Ok(()), None) => true,
            (Ok(()), Some(outage)) => {
                let (n_failures, secs) = (outage.n_failures(), outage.lasted(now).as_secs());
                tracing::info!(n_failures, secs, "sessions can be stored again");
                self.outage = None;
                true
            }
            (Err(error), outage) => {
                let is_news = outage.as_mut().is_none_or(|outage| outage.goes_on(now));
                let outage = outage.get_or_insert_with(|| Outage::begin(now));
                if is_news {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        n_sessions = rows.len(),
                        n_failures = outage.n_failures(),
                        "failed to store sessions; clients are refused until it works again"
                    );
                }
                self.alarms.insert((outage.retry_at(), Alarm::Commit));
                false
            }
        }
    }

    /// Takes back what waits to be said to a host: its link is gone, and what holds is said anew on the next one.
    fn unsay(&mut self, host: HostId) {
        self.after.retain(|after| !after.is_said_to(host));
    }

    fn do_after(&mut self, committed: bool) {
        for what in std::mem::take(&mut self.after) {
            match what {
                After::Reply(reply) => reply(committed),
                waits if !committed => self.after.push(waits),
                After::Welcome(reply, welcomed) => {
                    let _link_gone = reply.send(Some(welcomed)).is_err();
                }
                After::Say(host, message) => self.say(host, message),
                After::SayLease(host, end) => {
                    // Read again: a slow commit must not make the lease longer.
                    let remaining = end.since(self.clock.now());
                    let remaining_ms = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX);
                    self.say(host, ToHost::Lease { remaining_ms });
                }
                After::End(host, reason) => {
                    self.say(host, ToHost::End { reason });
                    self.provisioner.end(host);
                }
            }
        }
    }

    /// Answers when the commit has passed; refuses if it does not.
    fn reply<T: Send + 'static>(&mut self, reply: Reply<T>, done: Result<T, Refused>) {
        self.after.push(After::Reply(Box::new(move |committed| {
            let answer = if committed { done } else { Err(Refused::Unavailable) };
            let _client_gone = reply.send(answer).is_err();
        })));
    }

    fn census(&self) -> Census {
        let mut census = Census { draining: self.draining, ..Census::default() };
        #[expect(clippy::iter_over_hash_type, reason = "counting has no order")]
        for live in self.sessions.values() {
            match live.life.status() {
                SessionStatus::Starting => census.n_sessions_starting += 1,
                SessionStatus::Ready => census.n_sessions_ready += 1,
                SessionStatus::Stopped | SessionStatus::Expired | SessionStatus::Error => {}
            }
        }
        let n = |kind| Sizes::ALL.iter().map(|size| self.hosts.n(kind, *size)).sum();
        census.n_hosts_starting = n(Kind::Starting);
        census.n_hosts_warm = n(Kind::Warm);
        census.n_hosts_serving = n(Kind::Serving);
        census.n_hosts_ending = n(Kind::Ending);
        census
    }

    fn row(&self, key: &Key) -> Option<StoredSession> {
        let live = self.sessions.get(key)?;
        let host = live.host.and_then(|id| {
            let host = self.hosts.get(id)?;
            let (secret_hash, token_hash) = (host.secret_hash?, host.token_hash);
            Some(StoredHost { id, secret_hash, token_hash, process: host.process })
        });
        Some(StoredSession {
            account: key.0,
            id: key.1.clone(),
            seq: live.seq,
            creation_time: live.creation_time.clone(),
            size: live.size,
            requested: live.requested,
            model: live.model.clone(),
            life: live.life.snapshot(),
            host,
        })
    }

    fn show(&self, key: &Key) -> Option<Shown> {
        let live = self.sessions.get(key)?;
        let link = live.host.and_then(|host| self.hosts.get(host)?.link.clone());
        Some(live.show(key, link))
    }
}

impl Live {
    /// `None` if what is stored contradicts itself.
    fn restore(now: Timestamp, stored: &StoredSession) -> Option<Self> {
        Some(Self {
            seq: stored.seq,
            creation_time: stored.creation_time.clone(),
            size: stored.size,
            requested: stored.requested,
            model: stored.model.clone(),
            created_at: None,
            start: None,
            life: Session::restore(now, stored.life.clone(), stored.host.is_some())?,
            host: stored.host.as_ref().map(|host| host.id),
            wake_at: None,
        })
    }

    fn show(&self, key: &Key, link: Option<Link>) -> Shown {
        Shown {
            id: key.1.clone(),
            seq: self.seq,
            creation_time: self.creation_time.clone(),
            size: self.size,
            life: self.life.clone(),
            link,
        }
    }
}

/// The session of that name that has ended and is not forgotten.
fn ended<'a>(
    now: Timestamp,
    key: &Key,
    asleep: Option<&'a Asleep>,
) -> Result<Option<&'a StoredSession>, Refused> {
    let asleep = asleep.ok_or(Refused::Unavailable)?;
    Ok(asleep.get(key).filter(|stored| is_remembered(now, stored)))
}

/// Whether a stored session may still be read at `now`.
pub(crate) fn is_remembered(now: Timestamp, stored: &StoredSession) -> bool {
    stored.life.ended_at.is_none_or(|ended_at| now.since(ended_at) <= RETENTION)
}
