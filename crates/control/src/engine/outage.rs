//! A store that takes no commits: when it is tried again, and how often the log hears of it.

use std::time::Duration;

use session::Timestamp;

/// When a failed commit is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// The log hears of an outage at its begin, at its end, and this often between.
const REMINDER: Duration = Duration::from_secs(60);

/// From the first commit that fails to the first that passes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    since: Timestamp,
    told_at: Timestamp,
    n_failures: u64,
    retry_at: Timestamp,
}

impl Outage {
    /// The first commit failed.
    pub(super) fn begin(now: Timestamp) -> Self {
        Self { since: now, told_at: now, n_failures: 1, retry_at: now + RETRY }
    }

    /// Another one failed. Whether it is time to say so once more.
    pub(super) fn goes_on(&mut self, now: Timestamp) -> bool {
        self.n_failures = self.n_failures.saturating_add(1);
        self.retry_at = now + RETRY;
        let is_time = now.since(self.told_at) >= REMINDER;
        if is_time {
            self.told_at = now;
        }
        is_time
    }

    /// Commits that failed so far.
    pub(super) fn n_failures(&self) -> u64 {
        self.n_failures
    }

    /// When to try again.
    pub(super) fn retry_at(&self) -> Timestamp {
        self.retry_at
    }

    /// How long it has lasted.
    pub(super) fn lasted(&self, now: Timestamp) -> Duration {
        now.since(self.since)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};

    use protocol::link::ToHost;
    use protocol::rest::SessionSize;
    use protocol::{AccountId, HostId};
    use session::Minutes;
    use tokio::sync::{mpsc, oneshot};
    use uuid::Uuid;

    use super::super::*;
    use super::*;
    use crate::clock::ManualClock;
    use crate::provision::{HostOrder, Process};
    use crate::secrets::SecretHash;
    use crate::sizes::Machine;
    use crate::store::Stored;

    #[test]
    fn the_log_hears_of_an_outage_once_a_minute() {
        let begin = Timestamp::from_micros(1_000_000);
        let mut outage = Outage::begin(begin);
        let mut told = Vec::new();
        while outage.lasted(outage.retry_at()) <= REMINDER * 3 {
            let now = outage.retry_at();
            if outage.goes_on(now) {
                told.push((now.since(begin).as_secs(), outage.n_failures()));
            }
        }
        // Four tries a second, and the one that began it.
        assert_eq!(told, [(60, 241), (120, 481), (180, 721)]);
    }

    /// Takes everything, or nothing.
    #[derive(Default)]
    struct Moody {
        fails: AtomicBool,
        n_tries: Mutex<u64>,
    }

    impl SessionStore for Moody {
        fn save<'a>(&'a self, _: &'a [StoredSession]) -> Stored<'a, ()> {
            *self.n_tries.lock().unwrap() += 1;
            let fails = self.fails.load(Ordering::Relaxed);
            Box::pin(async move { if fails { Err(StoreError::Impossible("mood")) } else { Ok(()) } })
        }

        fn sessions_named<'a>(&'a self, _: &'a [Key]) -> Stored<'a, Vec<StoredSession>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn live_sessions(&self) -> Stored<'_, Vec<StoredSession>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn last_seq(&self) -> Stored<'_, i64> {
            Box::pin(async { Ok(0) })
        }

        fn forget_ended(&self, _: Timestamp) -> Stored<'_, u64> {
            Box::pin(async { Ok(0) })
        }
    }

    /// Keeps the orders.
    #[derive(Default)]
    struct Orders(Mutex<Vec<HostOrder>>);

    impl std::fmt::Debug for Orders {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("Orders").finish_non_exhaustive()
        }
    }

    impl Provisioner for Orders {
        fn start(&self, order: HostOrder, _: NewsSender) {
            self.0.lock().unwrap().push(order);
        }

        fn adopt(&self, _: HostId, _: Process, _: NewsSender) {}

        fn end(&self, _: HostId) {}
    }

    type Welcome = oneshot::Receiver<Option<Welcomed>>;

    /// One host that serves nothing yet, and a store that may fail.
    struct Bench {
        engine: Engine,
        store: Arc<Moody>,
        clock: Arc<ManualClock>,
        token: String,
        _news: mpsc::UnboundedReceiver<News>,
    }

    impl Bench {
        async fn new() -> Self {
            let (store, clock, orders) =
                (Arc::new(Moody::default()), Arc::new(ManualClock::new()), Arc::new(Orders::default()));
            let mut sizes = Sizes::for_machine(&Machine::detect());
            (sizes.standard.n_warm, sizes.premium.n_warm) = (1, 0);
            let limits = Limits { sizes, n_hosts_max: 1, link_url: String::new(), models_dir: None };
            let (mut engine, news) = Engine::restore(
                store.clone(),
                clock.clone(),
                orders.clone(),
                Arc::default(),
                Arc::default(),
                limits,
                Random::of_the_machine(),
            )
            .await
            .unwrap();
            engine.finish_batch().await;
            let token = orders.0.lock().unwrap()[0].link_token.clone();
            Self { engine, store, clock, token, _news: news }
        }

        /// The host dials once more: its Welcome got lost, so it has nothing but the token.
        fn link_up(&mut self) -> (mpsc::Receiver<ToHost>, Welcome) {
            let (link, queue) = Link::new();
            let (reply, welcome) = oneshot::channel();
            let (token, credential) = (self.token.clone(), SecretHash::of(&self.token));
            let hello = Hello { credential, token, serving: None };
            self.engine.handle(self.clock.now(), Event::LinkUp { hello, link, reply }, None);
            (queue, welcome)
        }

        async fn create(&mut self, id: &str) -> Result<Done, Refused> {
            let key: Key = (AccountId::new(Uuid::nil()), id.parse().unwrap());
            let lease = Minutes::new(5).unwrap();
            let size = SessionSize::Standard;
            let start = Start::new(&key.1, size, String::new());
            let wish = Wish { key, size, lease, model: None, start };
            let (reply, done) = oneshot::channel();
            let event = [Event::Create { wish, reply }];
            let asleep = self.engine.look_up(&event).await;
            let [event] = event;
            self.engine.handle(self.clock.now(), event, asleep.as_ref());
            self.engine.finish_batch().await;
            done.await.unwrap()
        }
    }

    #[tokio::test]
    async fn what_waits_for_a_store_that_fails_is_bounded() {
        let mut bench = Bench::new().await;
        let _link = bench.link_up();
        bench.store.fails.store(true, Ordering::Relaxed);
        let first = bench.create("first").await;
        assert!(matches!(first, Err(Refused::Unavailable)), "it cannot be stored: {first:?}");
        // 8 s in which the host comes back again and again, and clients ask for more.
        let mut newest = bench.link_up();
        for n in 0..400 {
            bench.clock.advance(Duration::from_millis(20));
            bench.engine.ring(bench.clock.now()).await;
            newest = bench.link_up();
            let refused = bench.create(&format!("more-{n}")).await;
            assert!(matches!(refused, Err(Refused::Unavailable)), "{refused:?}");
            assert!(
                bench.engine.after.len() <= 2,
                "a Welcome and an Assign wait, not {}",
                bench.engine.after.len()
            );
        }
        assert_eq!(bench.engine.sessions.len(), 1, "refused wishes leave nothing");
        assert!(bench.engine.alarms.len() < 8, "{}", bench.engine.alarms.len());
        let n_tries = *bench.store.n_tries.lock().unwrap();
        assert!((28..=34).contains(&n_tries), "four tries a second, not {n_tries}");

        bench.store.fails.store(false, Ordering::Relaxed);
        bench.clock.advance(RETRY);
        bench.engine.finish_batch().await;
        assert!(bench.engine.outage.is_none() && bench.engine.after.is_empty());
        let (mut queue, welcome) = newest;
        assert!(welcome.await.unwrap().is_some(), "the newest link is Welcome");
        assert!(matches!(queue.try_recv(), Ok(ToHost::Assign { .. })), "it hears what it is for");
        assert!(queue.try_recv().is_err(), "once");
        assert!(bench.create("first").await.is_ok_and(|done| !done.created), "what was begun has come to be");
    }
}
