//! The machine that the hosts live on: processes that outlive control planes, and what starts and ends them.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ws::Message;
use protocol::HostId;
use protocol::link::{FromHost, ToHost, VERSION};
use protocol::rest::{Error, SessionSize};
use session::Timestamp;
use tokio::sync::{Notify, watch};

use super::exec::TaskId;
use super::net::{End, Wire};
use super::{Dialled, World};
use crate::engine::view::Key;
use crate::provision::{HostOrder, News, NewsSender, Process, Provisioner};
use crate::sizes::Sizes;

/// As in the host.
const REDIAL_MIN: Duration = Duration::from_millis(50);
const REDIAL_MAX: Duration = Duration::from_secs(1);
const WITHOUT_LINK: Duration = Duration::from_secs(10);

/// As in the local provisioner.
const GOODBYE: Duration = Duration::from_secs(1);
const TERMINATION: Duration = Duration::from_secs(2);

/// A process, and what the checks know of it.
pub(super) struct Body {
    pub(super) process: Process,
    pub(super) size: SessionSize,
    pub(super) alive: bool,
    /// The control plane that started or adopted it.
    pub(super) owner: u64,
    /// The control plane that said Welcome last.
    pub(super) welcomed_by: Option<u64>,
    pub(super) serving: Option<Key>,
    pub(super) lease_ends_at: Option<Timestamp>,
    /// Somebody was told to see to its end.
    pub(super) end_wanted: bool,
    /// Does nothing any more, and only SIGKILL helps.
    pub(super) frozen: bool,
    /// Until then, what happens to its session has an excuse.
    pub(super) harmed_until: Timestamp,
    /// It died of that, which is an excuse whenever it is noticed.
    pub(super) died_of_harm: bool,
    pub(super) died_at: Option<Timestamp>,
    pub(super) cannot_dial_until: Timestamp,
    pub(super) useless_since: Option<Timestamp>,
    pub(super) wire: Option<Wire>,
    task: Option<TaskId>,
    exit: watch::Sender<Option<String>>,
}

impl World {
    fn launch(self: &Arc<Self>, order: HostOrder, owner: u64) -> (Process, watch::Receiver<Option<String>>) {
        let (exit, exited) = watch::channel(None);
        let id = order.host;
        let mut state = self.state();
        state.n_pids += 1;
        let process = Process { pid: state.n_pids, birth: self.sim.now().as_micros() };
        let body = Body {
            process,
            size: order.size,
            alive: true,
            owner,
            welcomed_by: None,
            serving: None,
            lease_ends_at: None,
            end_wanted: false,
            frozen: false,
            harmed_until: Timestamp::default(),
            died_of_harm: false,
            died_at: None,
            cannot_dial_until: Timestamp::default(),
            useless_since: None,
            wire: None,
            task: None,
            exit,
        };
        state.processes.insert(id, body);
        state.tally.n_hosts += 1;
        let n_owned = state.processes.values().filter(|body| body.alive && body.owner == owner).count();
        drop(state);
        let n_max = self.nature.n_hosts_max
            + Sizes::ALL.map(|size| self.nature.sizes.of(size).n_warm).iter().sum::<u32>();
        assert!(n_owned <= n_max as usize, "{n_owned} hosts, {n_max} allowed");
        self.sim.trace(format_args!("process {} is host {id}", process.pid));
        let task = self.sim.spawn(live(Arc::clone(self), id, order.link_token));
        if let Some(body) = self.state().processes.get_mut(&id) {
            body.task = Some(task);
        }
        (process, exited)
    }

    /// Ends a process at once.
    pub(super) fn end_process(&self, id: HostId, reason: &str) {
        let mut state = self.state();
        let Some(body) = state.processes.get_mut(&id).filter(|body| body.alive) else { return };
        body.alive = false;
        body.died_at = Some(self.sim.now());
        body.died_of_harm = body.harmed_until > self.sim.now();
        body.wire = None;
        let task = body.task.take();
        let exit = body.exit.clone();
        drop(state);
        self.sim.trace(format_args!("host {id} ends: {reason}"));
        if let Some(task) = task {
            self.sim.kill(task);
        }
        exit.send_replace(Some(reason.to_owned()));
    }

    /// From now on, what happens to its session has an excuse for a while.
    pub(super) fn harm(&self, id: HostId, pause: Duration) {
        let until = self.sim.now() + pause + Duration::from_secs(60);
        let mut state = self.state();
        state.excuse_until = state.excuse_until.max(until + Duration::from_secs(70));
        if let Some(body) = state.processes.get_mut(&id) {
            body.harmed_until = body.harmed_until.max(until);
        }
    }
}

/// Starts and ends processes for one control plane; what it has under way dies with that.
#[derive(Clone)]
pub(super) struct Machine {
    pub(super) world: Arc<World>,
    pub(super) owner: u64,
    bells: Arc<Mutex<BTreeMap<HostId, Arc<Notify>>>>,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").finish_non_exhaustive()
    }
}

impl Machine {
    pub(super) fn new(world: Arc<World>, owner: u64) -> Self {
        Self { world, owner, bells: Arc::default() }
    }

    fn bells(&self) -> std::sync::MutexGuard<'_, BTreeMap<HostId, Arc<Notify>>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.world.sim.spawn(task);
        self.world.state().plane_tasks.push(task);
    }

    async fn watch(
        &self,
        host: HostId,
        mut exited: watch::Receiver<Option<String>>,
        bell: Arc<Notify>,
        news: NewsSender,
    ) {
        let world = &self.world;
        let mut gone = Box::pin(async move {
            // The sender lives as long as the world.
            exited.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone())
        });
        let mut reason = tokio::select! {
            biased;
            reason = &mut gone => reason,
            () = bell.notified() => None,
        };
        for (grace, signal) in [(GOODBYE, 15), (TERMINATION, 9)] {
            if reason.is_some() {
                break;
            }
            reason = tokio::select! {
                biased;
                reason = &mut gone => reason,
                () = world.sim.sleep(grace) => None,
            };
            let hears = signal == 9 || world.state().processes.get(&host).is_some_and(|body| !body.frozen);
            if reason.is_none() && hears {
                world.end_process(host, &format!("The session's host was killed by signal {signal}."));
            }
        }
        let reason = match reason {
            Some(reason) => reason,
            None => gone.await.unwrap_or_default(),
        };
        // Its last words are read first.
        let slow = world.is_stormy() && world.sim.once_in(10);
        world.sim.sleep(world.sim.millis(0, if slow { 900 } else { 5 })).await;
        self.bells().remove(&host);
        news.send(News::Exited { host, reason });
    }
}

impl Provisioner for Machine {
    fn start(&self, order: HostOrder, news: NewsSender) {
        let bell = Arc::new(Notify::new());
        self.bells().insert(order.host, Arc::clone(&bell));
        let this = self.clone();
        self.spawn(async move {
            let world = Arc::clone(&this.world);
            let host = order.host;
            let stormy = world.is_stormy();
            let most = if stormy && world.sim.once_in(20) { 3_000 } else { 30 };
            world.sim.sleep(world.sim.millis(2, most)).await;
            if stormy && world.sim.once_in(world.nature.stillborn_once_in) {
                world.harm(host, Duration::ZERO);
                world.sim.trace(format_args!("host {host} is stillborn"));
                let reason = "The host could not be started: no memory.".to_owned();
                return news.send(News::Exited { host, reason });
            }
            let (process, exited) = world.launch(order, this.owner);
            // News of processes and messages on links do not wait for each other.
            let reporter = news.clone();
            let late = stormy && world.sim.once_in(10);
            let delay = world.sim.millis(0, if late { 500 } else { 2 });
            let clock = world.sim.clone();
            this.spawn(async move {
                clock.sleep(delay).await;
                reporter.send(News::Started { host, process: Some(process) });
            });
            this.watch(host, exited, bell, news).await;
        });
    }

    fn adopt(&self, host: HostId, process: Process, news: NewsSender) {
        let bell = Arc::new(Notify::new());
        self.bells().insert(host, Arc::clone(&bell));
        let mut state = self.world.state();
        let body = state.processes.get_mut(&host).filter(|body| body.alive && body.process == process);
        let exited = body.map(|body| {
            body.owner = self.owner;
            body.exit.subscribe()
        });
        drop(state);
        let this = self.clone();
        self.spawn(async move {
            let reason = "The session's host ended while or after the service was restarted.".to_owned();
            match exited {
                Some(exited) => this.watch(host, exited, bell, news).await,
                None => news.send(News::Exited { host, reason }),
            }
        });
    }

    fn end(&self, host: HostId) {
        if let Some(body) = self.world.state().processes.get_mut(&host) {
            body.end_wanted = true;
        }
        let bell = self.bells().get(&host).cloned();
        if let Some(bell) = bell {
            bell.notify_one();
        }
    }
}

/// What will become of a host.
struct Fate {
    dies_in: Option<Duration>,
    freezes_in: Option<Duration>,
    boots_for: Duration,
    /// From Assign to Ready.
    prepares_for: Duration,
    refuses: bool,
    never_dials: bool,
}

impl World {
    fn fate(&self) -> Fate {
        let (sim, nature) = (&self.sim, &self.nature);
        let stormy = self.is_stormy();
        let once_in = |n| stormy && sim.once_in(n);
        Fate {
            dies_in: once_in(nature.dies_once_in).then(|| sim.pause(nature.host_life)),
            // Where pings are rare, silence is not noticed in time.
            freezes_in: (nature.pace.ping < Duration::from_secs(60) && once_in(nature.freezes_once_in))
                .then(|| sim.pause(nature.host_life)),
            boots_for: if once_in(30) { sim.millis(0, 12_000) } else { sim.millis(5, 60) },
            prepares_for: match () {
                () if once_in(nature.slow_once_in) => sim.millis(10, 90_000),
                () if once_in(3) => sim.millis(0, 20),
                () => Duration::ZERO,
            },
            refuses: once_in(nature.refuses_once_in),
            never_dials: once_in(nature.never_dials_once_in),
        }
    }
}

async fn live(world: Arc<World>, id: HostId, token: String) {
    let fate = world.fate();
    let sim = world.sim.clone();
    if fate.never_dials || fate.boots_for > Duration::from_secs(1) {
        world.harm(id, fate.boots_for);
    }
    let later = |pause: Option<Duration>| {
        let sim = sim.clone();
        async move {
            match pause {
                Some(pause) => sim.sleep(pause).await,
                None => std::future::pending().await,
            }
        }
    };
    let (dies_in, freezes_in) = (fate.dies_in, fate.freezes_in);
    let host = Host {
        world: Arc::clone(&world),
        id,
        token,
        fate,
        serving: None,
        ready_at: None,
        lease_ends_at: None,
        outbox: Vec::new(),
    };
    // Not dropped when it freezes: its connections stay.
    let mut awake = pin!(host.run());
    tokio::select! {
        biased;
        () = later(dies_in) => {
            world.harm(id, Duration::ZERO);
            world.end_process(id, "The session's host was killed by signal 11.");
        }
        () = later(freezes_in) => {
            sim.trace(format_args!("host {id} freezes"));
            world.harm(id, Duration::ZERO);
            if let Some(body) = world.state().processes.get_mut(&id) {
                body.frozen = true;
            }
            std::future::pending::<()>().await;
        }
        reason = &mut awake => world.end_process(id, &reason),
    }
}

struct Host {
    world: Arc<World>,
    id: HostId,
    token: String,
    fate: Fate,
    serving: Option<Key>,
    /// When it will say Ready.
    ready_at: Option<Timestamp>,
    lease_ends_at: Option<Timestamp>,
    /// What could not be said yet.
    outbox: Vec<FromHost>,
}

impl Host {
    /// Returns why it ended.
    async fn run(mut self) -> String {
        let sim = self.world.sim.clone();
        sim.sleep(self.fate.boots_for).await;
        if self.fate.never_dials {
            sim.sleep(WITHOUT_LINK).await;
            return "The session's host exited with code 1.".to_owned();
        }
        let mut redial = REDIAL_MIN;
        let mut lost_at = sim.now();
        loop {
            match self.world.dial(self.id, &self.token).await {
                Dialled::Linked(mut end) => {
                    let mut welcome = false;
                    if let Some(reason) = self.talk(&mut end, &mut welcome).await {
                        return reason;
                    }
                    if welcome {
                        redial = REDIAL_MIN;
                        lost_at = sim.now();
                    }
                }
                Dialled::Unknown => return "The session's host exited with code 0.".to_owned(),
                Dialled::InVain => {}
            }
            let over_at = self.lease_ends_at.unwrap_or(lost_at + WITHOUT_LINK);
            let now = sim.now();
            if over_at <= now {
                self.world.harm(self.id, Duration::ZERO);
                sim.trace(format_args!("host {} gives up", self.id));
                return "The session's host exited with code 0.".to_owned();
            }
            sim.sleep_until((now + redial).min(over_at)).await;
            redial = (redial * 2).min(REDIAL_MAX);
        }
    }

    async fn talk(&mut self, end: &mut End, welcome: &mut bool) -> Option<String> {
        let sim = self.world.sim.clone();
        let serving = self.serving.as_ref().map(|key| key.1.clone());
        say(end, &FromHost::Hello { version: VERSION, pid: 0, serving });
        let mut heard_at = sim.now();
        loop {
            if *welcome {
                for message in self.outbox.drain(..) {
                    say(end, &message);
                }
            }
            let silent_at = heard_at + self.world.nature.pace.silence_max;
            let wake_at = self.ready_at.map_or(silent_at, |at| at.min(silent_at));
            let message = tokio::select! {
                biased;
                message = end.hear() => Some(message?),
                () = sim.sleep_until(wake_at) => None,
            };
            let now = sim.now();
            if let Some(key) = self.serving.as_ref().filter(|_| self.ready_at.is_some_and(|at| at <= now)) {
                self.outbox.push(FromHost::Ready { session: key.1.clone() });
                self.ready_at = None;
            }
            let Some(message) = message else {
                if silent_at <= now {
                    return None;
                }
                continue;
            };
            heard_at = now;
            let Message::Text(text) = message else {
                if matches!(message, Message::Close(_)) {
                    return None;
                }
                continue;
            };
            match serde_json::from_str(&text).expect("the control plane speaks JSON") {
                ToHost::Welcome { secret, host } => {
                    assert_eq!(host, self.id, "taken for another host");
                    self.token = secret;
                    *welcome = true;
                    let mut state = self.world.state();
                    let owner = state.incarnation;
                    if let Some(body) = state.processes.get_mut(&self.id) {
                        body.welcomed_by = Some(owner);
                    }
                }
                ToHost::Assign { account, session, .. } => {
                    let key = (account, session.clone());
                    if let Some(serving) = &self.serving {
                        assert_eq!(*serving, key, "one host is to serve two sessions");
                        if self.ready_at.is_none() {
                            self.outbox.push(FromHost::Ready { session });
                        }
                        continue;
                    }
                    self.world.serves(self.id, &key);
                    self.serving = Some(key);
                    if self.fate.refuses || self.fate.prepares_for > Duration::from_secs(1) {
                        self.world.harm(self.id, self.fate.prepares_for);
                    }
                    if self.fate.refuses {
                        let error = Error::new("SessionStartFailed", "no memory");
                        self.outbox.push(FromHost::Failed { session, error });
                    } else if self.fate.prepares_for.is_zero() {
                        self.outbox.push(FromHost::Ready { session });
                    } else {
                        self.ready_at = Some(now + self.fate.prepares_for);
                    }
                }
                ToHost::Lease { remaining_ms } => {
                    let ends_at = now + Duration::from_millis(remaining_ms);
                    self.lease_ends_at = Some(ends_at);
                    if let Some(body) = self.world.state().processes.get_mut(&self.id) {
                        body.lease_ends_at = Some(ends_at);
                    }
                }
                ToHost::End { .. } => {
                    // It says goodbye to its client first.
                    sim.sleep(sim.millis(0, 300)).await;
                    say(end, &FromHost::Ended { reason: "told to".to_owned() });
                    return Some("The session's host exited with code 0.".to_owned());
                }
                ToHost::Connect { .. } | ToHost::Disconnect { .. } | ToHost::Still { .. } => {}
            }
        }
    }
}

fn say(end: &End, message: &FromHost) {
    let text = serde_json::to_string(message).expect("plain data");
    end.say(Message::Text(text.into()));
}

impl World {
    /// A host begins to serve: nobody else does.
    fn serves(&self, id: HostId, key: &Key) {
        let mut state = self.state();
        let incarnation = state.incarnation;
        for (other, body) in &state.processes {
            // One of an earlier control plane is found out when it links up.
            let known = body.owner == incarnation && !body.end_wanted;
            let rival = *other != id && body.alive && known && body.serving.as_ref() == Some(key);
            assert!(!rival, "{other} and {id} serve {}", key.1);
        }
        if let Some(body) = state.processes.get_mut(&id) {
            body.serving = Some(key.clone());
        }
        drop(state);
        self.sim.trace(format_args!("host {id} serves {}", key.1));
    }
}
