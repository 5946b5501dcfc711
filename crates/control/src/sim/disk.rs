//! A store that is slow, fails, forgets to answer, and checks what it is given.

use std::sync::Arc;
use std::time::Duration;

use protocol::rest::SessionStatus;
use protocol::{AccountId, SessionId};
use session::Timestamp;

use super::World;
use crate::engine::is_remembered;
use crate::engine::view::Key;
use crate::store::{SessionStore, StoreError, Stored, StoredSession};

pub(super) struct Disk(pub(super) Arc<World>);

/// How far a session is: it never goes back.
pub(super) fn rank(status: SessionStatus) -> u8 {
    match status {
        SessionStatus::Starting => 0,
        SessionStatus::Ready => 1,
        SessionStatus::Stopped | SessionStatus::Expired | SessionStatus::Error => 2,
    }
}

/// An operation on its way; the engine waits.
struct Busy(Arc<World>);

impl Busy {
    fn new(world: &Arc<World>) -> Self {
        world.state().n_disk_busy += 1;
        Self(Arc::clone(world))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.state().n_disk_busy -= 1;
    }
}

/// Rows that were sent and are not written yet. If the control plane dies now, they may be written all the same.
struct Flight {
    world: Arc<World>,
    rows: Vec<StoredSession>,
}

impl Flight {
    fn land(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        self.world.write(rows);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.rows.is_empty() && !std::thread::panicking() && self.world.sim.once_in(2) {
            self.world.sim.trace(format_args!("a commit outlives the control plane"));
            self.land();
        }
    }
}

fn failure() -> StoreError {
    StoreError::Database(sqlx::Error::PoolTimedOut)
}

impl Disk {
    async fn read<T>(&self, read: impl FnOnce(&World) -> T) -> Result<T, StoreError> {
        let world = &self.0;
        let _busy = Busy::new(world);
        world.sim.sleep(world.disk_delay()).await;
        if world.disk_fails() {
            return Err(failure());
        }
        Ok(read(world))
    }
}

impl SessionStore for Disk {
    fn save<'a>(&'a self, sessions: &'a [StoredSession]) -> Stored<'a, ()> {
        let world = Arc::clone(&self.0);
        let mut flight = Flight { world: Arc::clone(&world), rows: sessions.to_vec() };
        Box::pin(async move {
            let _busy = Busy::new(&world);
            let fails = world.disk_fails();
            let answer_is_lost = world.answer_is_lost();
            if fails {
                flight.rows.clear();
            }
            world.sim.sleep(world.disk_delay()).await;
            if !fails {
                flight.land();
                world.sim.sleep(world.disk_delay() / 2).await;
            }
            let failed = fails || answer_is_lost;
            world.state().save_failed = failed;
            if failed {
                world.sim.trace(format_args!("a commit fails, written: {}", !fails));
                return Err(failure());
            }
            Ok(())
        })
    }

    fn sessions_named<'a>(&'a self, names: &'a [(AccountId, SessionId)]) -> Stored<'a, Vec<StoredSession>> {
        Box::pin(self.read(|world| {
            let state = world.state();
            names.iter().filter_map(|name| state.rows.get(name).cloned()).collect()
        }))
    }

    fn live_sessions(&self) -> Stored<'_, Vec<StoredSession>> {
        Box::pin(self.read(|world| {
            let state = world.state();
            let mut live: Vec<_> = state.live.iter().map(|key| state.rows[key].clone()).collect();
            live.sort_by_key(|row| row.seq);
            live
        }))
    }

    fn last_seq(&self) -> Stored<'_, i64> {
        Box::pin(self.read(|world| world.state().seqs.last_key_value().map_or(0, |(seq, _)| *seq)))
    }

    fn forget_ended(&self, before: Timestamp) -> Stored<'_, u64> {
        Box::pin(self.read(move |world| {
            let mut state = world.state();
            let old: Vec<Key> = state
                .rows
                .iter()
                .filter(|(_, row)| row.life.ended_at.is_some_and(|at| at < before))
                .map(|(key, _)| key.clone())
                .collect();
            for key in &old {
                if let Some(row) = state.rows.remove(key) {
                    state.seqs.remove(&row.seq);
                }
            }
            old.len() as u64
        }))
    }
}

impl World {
    /// A client's read, which goes around the engine.
    pub(super) async fn read_row(&self, key: &Key) -> Result<Option<StoredSession>, StoreError> {
        self.sim.sleep(self.sim.millis(0, 2)).await;
        if self.disk_fails() {
            return Err(failure());
        }
        Ok(self.state().rows.get(key).cloned())
    }

    fn disk_delay(&self) -> Duration {
        if self.is_stormy() && self.sim.once_in(self.nature.disk_slow_once_in) {
            return self.sim.millis(5, 12_000);
        }
        self.sim.millis(0, 3)
    }

    fn disk_fails(&self) -> bool {
        if !self.is_stormy() {
            return false;
        }
        self.state().disk_full_until > self.sim.now() || self.sim.once_in(self.nature.disk_fails_once_in)
    }

    fn answer_is_lost(&self) -> bool {
        self.is_stormy() && self.sim.once_in(self.nature.answer_lost_once_in)
    }

    /// One transaction. Here a session's life is seen as a whole, over all crashes.
    fn write(&self, rows: Vec<StoredSession>) {
        let now = self.sim.now();
        let mut state = self.state();
        for row in &rows {
            let key = (row.account, row.id.clone());
            let old = state.rows.get(&key).filter(|old| is_remembered(now, old)).cloned();
            let life = &row.life;
            let status = life.status.as_str();
            self.sim.trace(format_args!(
                "store {} {status} {} min, host {:?}, {}",
                key.1,
                life.lease.get(),
                row.host.as_ref().map(|host| host.id),
                life.error.as_ref().map_or("", |error| error.message.as_str()),
            ));
            if let Some(other) = state.seqs.get(&row.seq) {
                assert_eq!(*other, key, "two sessions have one number");
            }
            assert!(life.ended_at.is_none_or(|at| at <= now), "{} ended in the future", key.1);
            if let Some(old) = &old {
                let was = &old.life;
                assert!(rank(was.status) <= rank(life.status), "{} went from {was:?} to {life:?}", key.1);
                assert!(was.ended_at.is_none() || was == life, "{} changed after its end", key.1);
                assert!(was.ready_at.is_none() || was.ready_at == life.ready_at, "{}: a new lease", key.1);
                assert!(was.lease <= life.lease, "{}: a shorter lease", key.1);
                let fixed = |row: &StoredSession| {
                    (row.seq, row.creation_time.clone(), row.size, row.requested, row.model.clone())
                };
                assert_eq!(fixed(old), fixed(row), "{} became another session", key.1);
            } else {
                state.first_seen.insert(key.clone(), now);
                state.tally.n_sessions += 1;
            }
            let is_new_end = old.as_ref().is_none_or(|old| old.life.ended_at.is_none());
            if let Some(ended_at) = life.ended_at.filter(|_| is_new_end) {
                let mut why = String::new();
                match life.status {
                    SessionStatus::Expired => {
                        state.tally.n_expired += 1;
                        let over = life.ready_at.map(|at| at + lease_time(row));
                        assert!(over.is_some_and(|over| over <= ended_at), "{} expired early", key.1);
                    }
                    SessionStatus::Stopped => {
                        state.tally.n_stopped += 1;
                        let told = state.shutdown_begun || state.stops.contains(&key);
                        assert!(told, "{} stopped by itself", key.1);
                    }
                    SessionStatus::Error => {
                        state.tally.n_failed += 1;
                        let error = life.error.as_ref().expect("an error says which");
                        let host = old.as_ref().and_then(|old| old.host.as_ref()).map(|host| host.id);
                        why = match error.code.as_str() {
                            "InsufficientCapacity" => {
                                let mut others = state.live.clone();
                                others.extend(rows.iter().map(|row| (row.account, row.id.clone())));
                                others.remove(&key);
                                let size_of = |key: &Key| state.rows.get(key).map(|row| row.size);
                                let n_all = others.len();
                                let n_of_size = others
                                    .iter()
                                    .filter(|key| size_of(key).is_none_or(|size| size == row.size))
                                    .count();
                                let size_max = self.nature.sizes.of(row.size).n_hosts_max;
                                state.tally.n_full += 1;
                                let full = n_all >= self.nature.n_hosts_max as usize
                                    || size_max.is_some_and(|max| n_of_size >= max as usize);
                                let at_once = host.is_some()
                                    || now.since(state.first_seen[&key]) <= Duration::from_secs(1)
                                    || state.excuse_until > now;
                                match (full, at_once) {
                                    (true, true) => String::new(),
                                    (false, _) => format!("only {n_all} others are live"),
                                    (true, false) => "it was told late".to_owned(),
                                }
                            }
                            // Something must have happened to a host lately.
                            "SessionStartFailed" if state.excuse_until > now => String::new(),
                            "HostLost" => {
                                let process = host.and_then(|host| state.processes.get(&host));
                                let harmed = process
                                    .is_some_and(|body| body.died_of_harm || body.harmed_until > now)
                                    || host.is_none() && state.excuse_until > now;
                                if harmed { String::new() } else { "nothing was done to its host".to_owned() }
                            }
                            other => format!("why {other}?"),
                        };
                    }
                    SessionStatus::Starting | SessionStatus::Ready => unreachable!("not an end"),
                }
                let message = life.error.as_ref().map_or("", |error| error.message.as_str());
                assert!(why.is_empty(), "{} ended as {status} ({message}), but {why}", key.1);
            }
            if let Some(old) = &old
                && let Some(end) = lease_end(old)
            {
                state.lease_ends.remove(&(end, key.clone()));
            }
            if let Some(end) = lease_end(row) {
                state.lease_ends.insert((end, key.clone()));
            }
            if life.ended_at.is_none() {
                state.live.insert(key.clone());
            } else {
                state.live.remove(&key);
            }
            // One that was forgotten and is named anew.
            if let Some(before) = state.rows.insert(key.clone(), row.clone()) {
                state.seqs.remove(&before.seq);
            }
            state.seqs.insert(row.seq, key);
        }
        let n_max = self.nature.n_hosts_max as usize;
        assert!(state.live.len() <= n_max, "{} live sessions, {n_max} allowed", state.live.len());
    }
}

fn lease_time(row: &StoredSession) -> Duration {
    Duration::from_secs(u64::from(row.life.lease.get()) * 60)
}

/// When the lease of a Ready session ends.
pub(super) fn lease_end(row: &StoredSession) -> Option<Timestamp> {
    (row.life.ended_at.is_none()).then_some(())?;
    Some(row.life.ready_at? + lease_time(row))
}
