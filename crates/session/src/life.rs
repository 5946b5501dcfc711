//! One session from request to end.
//!
//! ```text
//!                   HostReady                 lease over
//!   ┌──────────┐ ──────────────▶ ┌─────────┐ ───────────▶ Expired
//!   │ Starting │                 │  Ready  │
//!   └──────────┘                 └─────────┘
//!     │ │  host: Wanted            │ │  host: Here ◀─▶ Missing (link broken, 5 s to come back)
//!     │ │        Given ◀─▶ Missing │ │
//!     │ └── Stop ──────────────────┘ └── Stop ──────────▶ Stopped
//!     │                            │
//!     └── failed, too slow,        └── host lost ───────▶ Error
//!         no capacity, host lost ───────────────────────▶ Error
//! ```
//!
//! The lease runs from Ready, not from the request. The three ends are final. A session whose host is missing
//! keeps its status: clients must not see it go backwards.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::link::EndReason;
use protocol::rest::{Error, MAX_LEASE_MINUTES, SessionStatus};

use crate::time::Timestamp;

/// A session that is not Ready after this long ends in Error.
///
/// REST clients poll for minutes and have no limit of their own; a host that loads nothing starts within a second.
pub const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a host may be without link before its session is given up. Hosts redial at least once a second.
pub const RELINK_TIMEOUT: Duration = Duration::from_secs(5);

/// The same after a restart of the control plane, when all hosts come back at once: thousands take seconds. A host on
/// this machine that has died meanwhile is noticed at once, by its process.
pub const RESTART_RELINK_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a number of minutes is not a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a lease has at most {MAX_LEASE_MINUTES} minutes")]
pub struct LimitError;

/// A lease: total minutes in Ready, 0 to 1440.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minutes(u32);

impl Minutes {
    /// Checks `minutes`.
    ///
    /// # Errors
    ///
    /// [`LimitError`] above 1440.
    pub const fn new(minutes: u32) -> Result<Self, LimitError> {
        if minutes <= MAX_LEASE_MINUTES { Ok(Self(minutes)) } else { Err(LimitError) }
    }

    /// As a number.
    pub const fn get(self) -> u32 {
        self.0
    }

    fn duration(self) -> Duration {
        Duration::from_secs(u64::from(self.0) * 60)
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A host has been told to serve the session.
    HostGiven,
    /// The host takes connections.
    HostReady,
    /// The host, or what starts hosts, says that it cannot be done.
    HostFailed(Error),
    /// There is no room for another host.
    NoCapacity,
    /// The host's process is gone; in words.
    HostLost(String),
    /// The link to the host broke; the host may live on.
    LinkLost,
    /// The host is back on a new link, still serving the session.
    LinkBack,
    /// A client sets the lease.
    SetLease(Minutes),
    /// A client ends the session.
    Stop,
    /// The service ends.
    Shutdown,
    /// Time has passed.
    Tick,
}

/// What is to be done. Each may be done twice without harm.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Find or start a host and tell it to serve this session, unless it has one.
    AssignHost,
    /// Tell the host when the lease ends.
    SetLease(Timestamp),
    /// End the host, if the session has one, and forget that it waits for one.
    ReleaseHost(EndReason),
    /// Come back with [`Input::Tick`] then. Replaces what was asked before.
    WakeAt(Timestamp),
    /// The session's state changed: store it and show it.
    Publish(SessionStatus),
}

/// Why a client's wish is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nothing brings an ended session back.
    #[error("The session is no longer active.")]
    Ended,
    /// A lease can only grow.
    #[error("The maxLeaseTimeMinutes value must be larger than the current value, {current_minutes}.")]
    LeaseNotLarger {
        /// What it is now.
        current_minutes: u32,
    },
}

/// Where the host of a live session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    /// Nowhere yet.
    Wanted,
    /// It serves the session and its link is up.
    Here,
    /// Its link is down; it is given up at `until`.
    Missing { until: Timestamp },
}

#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Starting { give_up_at: Timestamp, host: Host },
    Ready { ready_at: Timestamp, host: Host },
    Ended(Ended),
}

#[derive(Clone, Debug, PartialEq)]
struct Ended {
    status: SessionStatus,
    ready_at: Option<Timestamp>,
    ended_at: Timestamp,
    error: Option<Error>,
}

/// What a store keeps of a session, enough to go on after a restart.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Where it is in its life.
    pub status: SessionStatus,
    /// The lease as it is now.
    pub lease: Minutes,
    /// When it became Ready, if it did.
    pub ready_at: Option<Timestamp>,
    /// When it ended, if it did.
    pub ended_at: Option<Timestamp>,
    /// Why it is in Error.
    pub error: Option<Error>,
}

/// The state machine of one session.
#[derive(Clone, Debug)]
pub struct Session {
    lease: Minutes,
    phase: Phase,
    effects: VecDeque<Effect>,
}

impl Session {
    /// A session that a client asked for at `now`.
    pub fn new(now: Timestamp, lease: Minutes) -> Self {
        let give_up_at = now + START_TIMEOUT;
        let mut session = Self {
            lease,
            phase: Phase::Starting { give_up_at, host: Host::Wanted },
            effects: VecDeque::new(),
        };
        session.effects.extend([
            Effect::AssignHost,
            Effect::WakeAt(give_up_at),
            Effect::Publish(SessionStatus::Starting),
        ]);
        session
    }

    /// A session found in the store when the control plane starts at `now`. `host_known` says whether the store
    /// names a host for it, which then has [`RESTART_RELINK_TIMEOUT`] to come back if the session is Ready; one that is
    /// Starting gets another host after [`RELINK_TIMEOUT`]. The lease goes on as if nothing had been.
    ///
    /// Returns `None` if the stored parts contradict each other.
    pub fn restore(now: Timestamp, stored: Snapshot, host_known: bool) -> Option<Self> {
        let host = if host_known { Host::Missing { until: now + RELINK_TIMEOUT } } else { Host::Wanted };
        let phase = match (stored.status, stored.ready_at, stored.ended_at) {
            (SessionStatus::Starting, None, None) => {
                Phase::Starting { give_up_at: now + START_TIMEOUT, host }
            }
            (SessionStatus::Ready, Some(ready_at), None) => {
                // A Ready session always had a host; if its name is lost, so is the host.
                Phase::Ready {
                    ready_at,
                    host: Host::Missing {
                        until: if host_known { now + RESTART_RELINK_TIMEOUT } else { now },
                    },
                }
            }
            (status, ready_at, Some(ended_at)) if status.is_terminal() => {
                Phase::Ended(Ended { status, ready_at, ended_at, error: stored.error })
            }
            _ => return None,
        };
        let mut session = Self { lease: stored.lease, phase, effects: VecDeque::new() };
        if matches!(session.phase, Phase::Starting { host: Host::Wanted, .. }) {
            session.effects.push_back(Effect::AssignHost);
        }
        session.wake();
        Some(session)
    }

    /// What to store.
    pub fn snapshot(&self) -> Snapshot {
        let (ready_at, ended_at, error) = match &self.phase {
            Phase::Starting { .. } => (None, None, None),
            Phase::Ready { ready_at, .. } => (Some(*ready_at), None, None),
            Phase::Ended(ended) => (ended.ready_at, Some(ended.ended_at), ended.error.clone()),
        };
        Snapshot { status: self.status(), lease: self.lease, ready_at, ended_at, error }
    }

    /// Where the session is in its life.
    pub fn status(&self) -> SessionStatus {
        match &self.phase {
            Phase::Starting { .. } => SessionStatus::Starting,
            Phase::Ready { .. } => SessionStatus::Ready,
            Phase::Ended(ended) => ended.status,
        }
    }

    /// The lease as it is now.
    pub fn lease(&self) -> Minutes {
        self.lease
    }

    /// Whether it is or was Ready.
    pub fn was_ready(&self) -> bool {
        match &self.phase {
            Phase::Starting { .. } => false,
            Phase::Ready { .. } => true,
            Phase::Ended(ended) => ended.ready_at.is_some(),
        }
    }

    /// Why it is in Error.
    pub fn error(&self) -> Option<&Error> {
        match &self.phase {
            Phase::Ended(ended) => ended.error.as_ref(),
            Phase::Starting { .. } | Phase::Ready { .. } => None,
        }
    }

    /// Whole minutes in Ready; frozen at the end.
    pub fn elapsed_minutes(&self, now: Timestamp) -> u32 {
        let in_ready = match &self.phase {
            Phase::Starting { .. } => Duration::ZERO,
            Phase::Ready { ready_at, .. } => now.since(*ready_at),
            Phase::Ended(ended) => {
                ended.ready_at.map_or(Duration::ZERO, |ready_at| ended.ended_at.since(ready_at))
            }
        };
        u32::try_from(in_ready.as_secs() / 60).unwrap_or(u32::MAX)
    }

    /// When the lease ends, while it runs.
    pub fn lease_ends_at(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Ready { ready_at, .. } => Some(*ready_at + self.lease.duration()),
            Phase::Starting { .. } | Phase::Ended(_) => None,
        }
    }

    /// The oldest effect that has not been taken.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Applies `input` at `now`. Drain [`Self::poll_effect`] before the next call.
    ///
    /// # Errors
    ///
    /// Only wishes of clients are denied; news of hosts and the clock never are.
    pub fn handle(&mut self, now: Timestamp, input: Input) -> Result<(), Denied> {
        let lease_ends_at = self.lease_ends_at();
        match (&mut self.phase, input) {
            // A lease that is over is over, whatever else is said at the same time: a PATCH that arrives after
            // the end but before the tick must not bring the session back.
            (Phase::Ready { .. }, input) if lease_ends_at.is_some_and(|end| end <= now) => {
                self.end(now, SessionStatus::Expired, EndReason::LeaseExpired, None);
                if let Input::SetLease(_) = input {
                    return Err(Denied::Ended);
                }
            }

            (Phase::Starting { host: host @ Host::Wanted, .. }, Input::HostGiven) => *host = Host::Here,
            (Phase::Starting { host: Host::Here | Host::Missing { .. }, .. }, Input::HostReady) => {
                self.phase = Phase::Ready { ready_at: now, host: Host::Here };
                self.wake();
                self.tell_lease();
                self.effects.push_back(Effect::Publish(SessionStatus::Ready));
            }
            (Phase::Starting { .. }, Input::HostFailed(error)) => self.fail(now, error),
            (Phase::Starting { .. }, Input::NoCapacity) => {
                self.fail(
                    now,
                    Error::new(
                        "InsufficientCapacity",
                        "There is no free host of this size for another session. Stop a session, ask for the other \
                         size, or try again later.",
                    ),
                );
            }
            (Phase::Starting { give_up_at, .. }, Input::Tick) if *give_up_at <= now => {
                let message =
                    format!("The session's host was not ready within {} s.", START_TIMEOUT.as_secs());
                self.fail(now, Error::new("SessionStartFailed", message));
            }
            // Nothing is lost while Starting: another host can do it.
            (Phase::Starting { host, .. }, Input::Tick) if host.given_up(now) => {
                *host = Host::Wanted;
                self.effects.extend([Effect::ReleaseHost(EndReason::Shutdown), Effect::AssignHost]);
                self.wake();
            }
            (Phase::Ready { host, .. }, Input::Tick) if host.given_up(now) => {
                self.fail(now, Error::new("HostLost", "The session's host could not be reached any more."));
            }

            (Phase::Starting { host, .. } | Phase::Ready { host, .. }, Input::LinkLost)
                if *host == Host::Here =>
            {
                *host = Host::Missing { until: now + RELINK_TIMEOUT };
                self.wake();
            }
            (Phase::Starting { host, .. } | Phase::Ready { host, .. }, Input::LinkBack)
                if *host != Host::Wanted =>
            {
                *host = Host::Here;
                self.wake();
                self.tell_lease();
            }
            (Phase::Starting { .. } | Phase::Ready { .. }, Input::HostLost(reason)) => {
                self.fail(now, Error::new("HostLost", reason));
            }
            (Phase::Ready { .. }, Input::HostFailed(error)) => self.fail(now, error),

            (Phase::Starting { .. } | Phase::Ready { .. }, Input::SetLease(new)) => {
                if new <= self.lease {
                    return Err(Denied::LeaseNotLarger { current_minutes: self.lease.get() });
                }
                self.lease = new;
                if self.was_ready() {
                    self.wake();
                    self.tell_lease();
                }
                self.effects.push_back(Effect::Publish(self.status()));
            }
            (Phase::Ended(_), Input::SetLease(_)) => return Err(Denied::Ended),

            (Phase::Starting { .. } | Phase::Ready { .. }, Input::Stop) => {
                self.end(now, SessionStatus::Stopped, EndReason::Stopped, None);
            }
            (Phase::Starting { .. } | Phase::Ready { .. }, Input::Shutdown) => {
                self.end(now, SessionStatus::Stopped, EndReason::Shutdown, None);
            }

            // A stop is idempotent: clients retry it after a lost response. The rest is late news about an ended
            // session, news said twice, or an early wake-up.
            (
                _,
                Input::HostGiven
                | Input::HostReady
                | Input::HostFailed(_)
                | Input::NoCapacity
                | Input::HostLost(_)
                | Input::LinkLost
                | Input::LinkBack
                | Input::Stop
                | Input::Shutdown
                | Input::Tick,
            ) => (),
        }
        Ok(())
    }

    fn fail(&mut self, now: Timestamp, error: Error) {
        self.end(now, SessionStatus::Error, EndReason::Shutdown, Some(error));
    }

    fn end(&mut self, now: Timestamp, status: SessionStatus, reason: EndReason, error: Option<Error>) {
        let ready_at = match &self.phase {
            Phase::Ready { ready_at, .. } => Some(*ready_at),
            Phase::Starting { .. } | Phase::Ended(_) => None,
        };
        self.phase = Phase::Ended(Ended { status, ready_at, ended_at: now, error });
        self.effects.extend([Effect::ReleaseHost(reason), Effect::Publish(status)]);
    }

    /// Asks to be woken at the earliest moment at which time alone changes something.
    fn wake(&mut self) {
        let (end, host) = match &self.phase {
            Phase::Starting { give_up_at, host } => (*give_up_at, *host),
            Phase::Ready { ready_at, host } => (*ready_at + self.lease.duration(), *host),
            Phase::Ended(_) => return,
        };
        self.effects.push_back(Effect::WakeAt(match host {
            Host::Missing { until } => end.min(until),
            Host::Wanted | Host::Here => end,
        }));
    }

    fn tell_lease(&mut self) {
        if let Some(end) = self.lease_ends_at() {
            self.effects.push_back(Effect::SetLease(end));
        }
    }
}

impl Host {
    fn given_up(self, now: Timestamp) -> bool {
        matches!(self, Self::Missing { until } if until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Effect::{AssignHost, Publish, ReleaseHost, SetLease, WakeAt};
    use Input::{HostGiven, HostLost, HostReady, LinkBack, LinkLost, Stop, Tick};

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn minutes(n: u32) -> Minutes {
        Minutes::new(n).unwrap()
    }

    fn drain(session: &mut Session) -> Vec<Effect> {
        std::iter::from_fn(|| session.poll_effect()).collect()
    }

    /// A session of one minute, asked for at 0 s, and the effects of `script` after those of the request.
    fn play(script: impl IntoIterator<Item = (u64, Input)>) -> (Session, Vec<Effect>) {
        let mut session = Session::new(at(0), minutes(1));
        drain(&mut session);
        let mut effects = Vec::new();
        for (secs, input) in script {
            // Denials are told by their own tests.
            let _denied = session.handle(at(secs), input);
            effects.extend(drain(&mut session));
        }
        (session, effects)
    }

    #[test]
    fn a_request_asks_for_a_host() {
        let mut session = Session::new(at(5), minutes(10));
        assert_eq!(drain(&mut session), [AssignHost, WakeAt(at(65)), Publish(SessionStatus::Starting)]);
    }

    #[test]
    fn the_lease_runs_from_ready_not_from_the_request() {
        let (session, effects) = play([(10, HostGiven), (40, HostReady), (99, Tick), (100, Tick)]);
        assert_eq!(
            effects,
            [
                WakeAt(at(100)),
                SetLease(at(100)),
                Publish(SessionStatus::Ready),
                ReleaseHost(EndReason::LeaseExpired),
                Publish(SessionStatus::Expired)
            ]
        );
        assert_eq!(session.elapsed_minutes(at(1_000)), 1);
    }

    #[test]
    fn a_patch_sets_the_total() {
        let (_, effects) = play([
            (0, HostGiven),
            (0, HostReady),
            (30, Input::SetLease(minutes(2))),
            (60, Tick),
            (120, Tick),
        ]);
        assert_eq!(
            effects[3..],
            [
                WakeAt(at(120)),
                SetLease(at(120)),
                Publish(SessionStatus::Ready),
                ReleaseHost(EndReason::LeaseExpired),
                Publish(SessionStatus::Expired)
            ]
        );
    }

    #[test]
    fn a_patch_while_starting_needs_no_host() {
        let (session, effects) = play([(1, Input::SetLease(minutes(7)))]);
        assert_eq!(effects, [Publish(SessionStatus::Starting)]);
        assert_eq!(session.lease(), minutes(7));
    }

    #[test]
    fn a_lease_only_grows_and_ended_sessions_stay_ended() {
        let (mut session, _) = play([(0, HostGiven), (0, HostReady)]);
        let same = session.handle(at(1), Input::SetLease(minutes(1)));
        assert_eq!(same, Err(Denied::LeaseNotLarger { current_minutes: 1 }));
        // Too late, although no tick has come yet.
        assert_eq!(session.handle(at(60), Input::SetLease(minutes(9))), Err(Denied::Ended));
        assert_eq!(session.status(), SessionStatus::Expired);
        assert_eq!(session.handle(at(61), Input::SetLease(minutes(9))), Err(Denied::Ended));
        assert_eq!(Minutes::new(1441), Err(LimitError));
    }

    #[test]
    fn a_stop_is_idempotent() {
        let (session, effects) = play([(1, Stop), (2, Stop), (3, HostReady), (999, Tick)]);
        assert_eq!(effects, [ReleaseHost(EndReason::Stopped), Publish(SessionStatus::Stopped)]);
        assert_eq!(session.elapsed_minutes(at(999)), 0);
    }

    #[test]
    fn a_lost_host_is_an_error_with_its_reason() {
        let (session, effects) = play([(0, HostGiven), (0, HostReady), (59, HostLost("signal 9".into()))]);
        assert_eq!(effects[3..], [ReleaseHost(EndReason::Shutdown), Publish(SessionStatus::Error)]);
        assert_eq!(session.error(), Some(&Error::new("HostLost", "signal 9")));
    }

    #[test]
    fn a_broken_link_has_time_to_come_back() {
        let (session, effects) =
            play([(0, HostGiven), (0, HostReady), (10, LinkLost), (14, LinkBack), (15, Tick)]);
        assert_eq!(effects[3..], [WakeAt(at(15)), WakeAt(at(60)), SetLease(at(60))]);
        assert_eq!(session.status(), SessionStatus::Ready);

        let (session, _) = play([(0, HostGiven), (0, HostReady), (10, LinkLost), (15, Tick)]);
        assert_eq!(session.error().unwrap().code, "HostLost");
    }

    #[test]
    fn a_host_missing_while_starting_is_replaced() {
        let (_, effects) = play([(1, HostGiven), (2, LinkLost), (7, Tick)]);
        assert_eq!(effects, [WakeAt(at(7)), ReleaseHost(EndReason::Shutdown), AssignHost, WakeAt(at(60))]);
    }

    #[test]
    fn a_slow_start_and_a_full_house_are_errors() {
        let (session, _) = play([(59, Tick), (60, Tick)]);
        assert_eq!(session.error().unwrap().code, "SessionStartFailed");
        assert!(!session.was_ready());
        let (session, _) = play([(0, Input::NoCapacity)]);
        assert_eq!(session.error().unwrap().code, "InsufficientCapacity");
    }

    #[test]
    fn a_restart_keeps_the_end_of_the_lease() {
        let (session, _) = play([(0, HostGiven), (10, HostReady)]);
        let mut again = Session::restore(at(30), session.snapshot(), true).unwrap();
        assert_eq!(drain(&mut again), [WakeAt(at(60))]);
        again.handle(at(31), LinkBack).unwrap();
        assert_eq!(drain(&mut again), [WakeAt(at(70)), SetLease(at(70))]);

        let mut late = Session::restore(at(80), session.snapshot(), true).unwrap();
        late.handle(at(80), Tick).unwrap();
        assert_eq!(late.status(), SessionStatus::Expired);
    }

    #[test]
    fn a_restart_replaces_the_host_of_a_session_that_had_none() {
        let session = Session::new(at(0), minutes(1));
        let mut again = Session::restore(at(100), session.snapshot(), false).unwrap();
        assert_eq!(drain(&mut again), [AssignHost, WakeAt(at(160))]);
        let broken = Snapshot { ready_at: Some(at(1)), ..session.snapshot() };
        assert!(Session::restore(at(100), broken, false).is_none());
    }
}

/// Random lives: whatever is said, in whatever order, by clients, hosts and the clock.
#[cfg(test)]
mod lives {
    use super::*;
    use proptest::prelude::*;

    fn input() -> impl Strategy<Value = Input> {
        prop_oneof![
            1 => Just(Input::HostGiven),
            3 => Just(Input::HostReady),
            1 => Just(Input::LinkLost),
            2 => Just(Input::LinkBack),
            4 => (0..=20u32).prop_map(|n| Input::SetLease(Minutes(n))),
            4 => Just(Input::Tick),
            1 => prop_oneof![
                Just(Input::HostFailed(Error::new("SessionStartFailed", "no"))),
                Just(Input::NoCapacity),
                Just(Input::HostLost("gone".into())),
                Just(Input::Stop),
                Just(Input::Shutdown),
            ],
        ]
    }

    /// What else happens.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Event {
        Usual,
        /// The shell is stopped during the pause.
        Stall,
        /// It dies, and another one goes on with what is stored.
        Crash,
    }

    /// A shell that does what it is told.
    #[derive(Default, Debug, PartialEq)]
    struct Shell {
        alarm: Option<Timestamp>,
        lease_told: Option<Timestamp>,
        host_wanted: bool,
        /// The host's name is stored.
        host_given: bool,
        n_releases: usize,
        shown: Vec<SessionStatus>,
    }

    impl Shell {
        fn perform(&mut self, session: &mut Session) {
            while let Some(effect) = session.poll_effect() {
                match effect {
                    Effect::AssignHost => self.host_wanted = true,
                    Effect::SetLease(end) => self.lease_told = Some(end),
                    Effect::ReleaseHost(_) => {
                        assert!(self.host_wanted, "released twice");
                        self.host_wanted = false;
                        self.host_given = false;
                        self.n_releases += 1;
                    }
                    Effect::WakeAt(at) => self.alarm = Some(at),
                    Effect::Publish(status) => {
                        if self.shown.last() != Some(&status) {
                            self.shown.push(status);
                        }
                    }
                }
            }
        }
    }

    /// Says `input` and checks what must hold after anything.
    fn say(session: &mut Session, shell: &mut Shell, now: Timestamp, input: Input) {
        let before = session.snapshot();
        // It is stored before the host is told.
        shell.host_given |= input == Input::HostGiven && shell.host_wanted;
        let denied = session.handle(now, input.clone());
        shell.perform(session);
        let after = session.snapshot();
        assert!(denied.is_ok() || matches!(input, Input::SetLease(_)), "{input:?} was denied");
        if before.status.is_terminal() {
            assert_eq!(before, after, "an end is final");
        }
        if after.status == SessionStatus::Expired && !before.status.is_terminal() {
            let end = before.ready_at.expect("only Ready sessions expire") + before.lease.duration();
            assert!(end <= now, "expired at {now:?}, before {end:?}");
        }
        if after.status == SessionStatus::Ready {
            assert!(after.lease >= before.lease, "a lease never shrinks");
            let end = session.lease_ends_at();
            assert_eq!(shell.lease_told, end, "the host knows when the lease ends");
            assert!(shell.alarm <= end, "somebody wakes it in time");
        }
        assert_eq!(
            shell.host_wanted,
            !after.status.is_terminal(),
            "ended sessions hold no host, live ones do"
        );
        let host_known = Session::restore(now, after.clone(), true).map(|session| session.snapshot());
        assert_eq!(host_known, Some(after), "the store keeps everything");
    }

    /// What is said, what it answers, and what it asks for.
    fn told(session: &mut Session, now: Timestamp, input: Input) -> (Option<Denied>, Vec<Effect>, Snapshot) {
        let answer = session.handle(now, input).err();
        let effects = std::iter::from_fn(|| session.poll_effect()).collect();
        (answer, effects, session.snapshot())
    }

    proptest! {
        /// One who was restored from the store and one who was not cannot be told apart, once the host is back.
        #[test]
        fn a_restored_life_is_the_same_life(
            lease in 0..=10u32,
            before in prop::collection::vec((0..60_000_000u64, input()), 0..20),
            pause_us in 0..4_000_000u64,
            after in prop::collection::vec((0..120_000_000u64, input()), 0..20),
        ) {
            let mut now = Timestamp::from_secs(1_000);
            let mut session = Session::new(now, Minutes(lease));
            told(&mut session, now, Input::HostGiven);
            told(&mut session, now, Input::HostReady);
            for (pause_us, input) in before {
                now = now + Duration::from_micros(pause_us);
                told(&mut session, now, input);
            }
            let mut twin = Session::restore(now, session.snapshot(), true).unwrap();
            while twin.poll_effect().is_some() {}
            now = now + Duration::from_micros(pause_us);
            // Before the host is given up.
            told(&mut session, now, Input::LinkBack);
            told(&mut twin, now, Input::LinkBack);
            for (pause_us, input) in after {
                now = now + Duration::from_micros(pause_us);
                prop_assert_eq!(
                    told(&mut session, now, input.clone()),
                    told(&mut twin, now, input)
                );
            }
        }
    }

    proptest! {
        #[test]
        fn no_life_breaks_the_rules(
            lease in 0..=10u32,
            // Pauses of up to two minutes, and none at all; now and then hours, as after a suspend.
            script in prop::collection::vec(
                (
                    prop_oneof![4 => Just(0), 8 => 0..120_000_000u64, 1 => 0..100_000_000_000u64],
                    prop_oneof![8 => Just(Event::Usual), 1 => Just(Event::Stall), 1 => Just(Event::Crash)],
                    input(),
                    any::<bool>(),
                ),
                0..60,
            ),
        ) {
            let mut now = Timestamp::from_secs(1_000);
            let mut session = Session::new(now, Minutes(lease));
            let mut shell = Shell::default();
            shell.perform(&mut session);
            for (pause_us, event, input, twice) in script {
                let next = now + Duration::from_micros(pause_us);
                if event == Event::Stall {
                    // Nobody hears the clock; what is said first comes late, and must not bring anything back.
                    now = next;
                    let over = session.lease_ends_at().is_some_and(|end| end <= now);
                    say(&mut session, &mut shell, now, input.clone());
                    prop_assert!(!over || session.status() == SessionStatus::Expired, "went on after its lease");
                }
                if event == Event::Crash {
                    shell.alarm = None;
                    now = next;
                    let stored = session.snapshot();
                    session = Session::restore(now, stored.clone(), shell.host_given).unwrap();
                    prop_assert_eq!(session.snapshot(), stored, "a restart changes nothing");
                    shell.perform(&mut session);
                    prop_assert!(session.status().is_terminal() || shell.alarm.is_some(), "nobody wakes it");
                }
                // The clock rings when it was asked to, before anything later is said.
                while let Some(alarm) = shell.alarm.filter(|alarm| *alarm <= next) {
                    shell.alarm = None;
                    now = now.max(alarm);
                    say(&mut session, &mut shell, now, Input::Tick);
                    let late = session.lease_ends_at().is_some_and(|end| end <= now);
                    prop_assert!(!late, "not expired at the tick");
                }
                now = next;
                say(&mut session, &mut shell, now, input.clone());
                // Everybody may say things twice; a second wish for the same lease is denied.
                if twice {
                    let once = session.snapshot();
                    say(&mut session, &mut shell, now, input);
                    if once.status != SessionStatus::Ready || once.ready_at != Some(now) {
                        prop_assert_eq!(session.snapshot(), once);
                    }
                }
            }
            let ranks: Vec<u8> = shell.shown.iter().map(|status| match status {
                SessionStatus::Starting => 0,
                SessionStatus::Ready => 1,
                _ => 2,
            }).collect();
            prop_assert!(ranks.windows(2).all(|pair| pair[0] < pair[1]), "went backwards: {:?}", shell.shown);
        }
    }
}
