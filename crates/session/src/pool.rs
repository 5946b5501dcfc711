//! How many hosts to start, so that the next session finds a warm one.
//!
//! [`decide`] compares what should be with what is. It is called after every change and remembers nothing.

use std::time::Duration;

use crate::time::Timestamp;

/// After this many failed starts in a row the sessions that wait are told, instead of being kept waiting.
pub const FAILURES_BEFORE_GIVING_UP: u32 = 3;

/// First pause after a failed start; it doubles with each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// Longest pause between failed starts.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// The pool is filled again this long after a host was taken from it, so that starting the next one does not slow
/// down the session that took it, which is Ready by then.
const REFILL_PAUSE: Duration = Duration::from_millis(50);

/// What is, for one size of host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Hosts to keep warm.
    pub n_warm_wanted: u32,
    /// Warm hosts: linked, without session.
    pub n_warm: u32,
    /// Hosts on their way to the pool.
    pub n_starting: u32,
    /// Sessions that wait for a host.
    pub n_waiting: u32,
    /// How many more hosts there is room for, in all sizes together.
    pub n_room: u32,
    /// Failed starts since the last good one.
    pub n_failures: u32,
    /// When the last of them failed.
    pub failed_at: Option<Timestamp>,
    /// When a warm host was last given to a session.
    pub taken_at: Option<Timestamp>,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Hosts to start now.
    pub n_spawn: u32,
    /// Warm hosts to end: those for whom a session did not wait after all.
    pub n_end: u32,
    /// When to decide again, if hosts are missing that may not be started yet.
    pub retry_at: Option<Timestamp>,
}

/// Decides how many hosts to start at `now`.
pub fn decide(now: Timestamp, pool: &Pool) -> Decision {
    let wanted = pool.n_warm_wanted.saturating_add(pool.n_waiting);
    let missing = wanted.saturating_sub(pool.n_warm.saturating_add(pool.n_starting)).min(pool.n_room);
    let n_end = if pool.n_waiting == 0 { pool.n_warm.saturating_sub(pool.n_warm_wanted) } else { 0 };
    let spawn = |n_spawn, retry_at| Decision { n_spawn, n_end, retry_at };
    let may_start_at = pool.failed_at.map(|failed_at| failed_at + backoff(pool.n_failures));
    let may_refill_at = pool.taken_at.filter(|_| pool.n_waiting == 0).map(|taken_at| taken_at + REFILL_PAUSE);
    match may_start_at.max(may_refill_at) {
        _ if missing == 0 => spawn(0, None),
        Some(start_at) if now < start_at => spawn(0, Some(start_at)),
        // After a failure one host shows whether the cause has gone.
        Some(_) if pool.n_failures > 0 => spawn(u32::from(pool.n_starting == 0), None),
        _ => spawn(missing, None),
    }
}

fn backoff(n_failures: u32) -> Duration {
    match n_failures.checked_sub(1) {
        None => Duration::ZERO,
        // 2^10 · 100 ms is beyond the longest pause.
        Some(doublings) => (BACKOFF_FIRST * (1 << doublings.min(10))).min(BACKOFF_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOMY: Pool = Pool {
        n_warm_wanted: 1,
        n_warm: 0,
        n_starting: 0,
        n_waiting: 0,
        n_room: 100,
        n_failures: 0,
        failed_at: None,
        taken_at: None,
    };

    fn spawns(pool: Pool) -> u32 {
        decide(Timestamp::from_secs(1_000), &pool).n_spawn
    }

    #[test]
    fn the_pool_is_filled_and_no_more() {
        assert_eq!(spawns(ROOMY), 1);
        assert_eq!(spawns(Pool { n_warm: 1, ..ROOMY }), 0);
        assert_eq!(spawns(Pool { n_starting: 1, ..ROOMY }), 0);
        assert_eq!(spawns(Pool { n_warm: 7, ..ROOMY }), 0);
    }

    #[test]
    fn hosts_that_nobody_needs_any_more_end() {
        let ends = |pool| decide(Timestamp::from_secs(1_000), &pool).n_end;
        assert_eq!(ends(Pool { n_warm: 1, ..ROOMY }), 0);
        assert_eq!(ends(Pool { n_warm: 3, ..ROOMY }), 2);
        assert_eq!(ends(Pool { n_warm: 3, n_waiting: 1, ..ROOMY }), 0);
    }

    #[test]
    fn those_who_wait_get_hosts_beside_the_pool() {
        assert_eq!(spawns(Pool { n_waiting: 3, n_starting: 1, ..ROOMY }), 3);
        assert_eq!(spawns(Pool { n_waiting: 3, n_room: 2, ..ROOMY }), 2);
    }

    #[test]
    fn the_pool_lets_the_session_start_first() {
        let taken_at = Timestamp::from_secs(50);
        let pool = Pool { taken_at: Some(taken_at), ..ROOMY };
        let retry_at = taken_at + Duration::from_millis(50);
        assert_eq!(decide(taken_at, &pool), Decision { n_spawn: 0, n_end: 0, retry_at: Some(retry_at) });
        assert_eq!(decide(retry_at, &pool), Decision { n_spawn: 1, n_end: 0, retry_at: None });
        let waiting = Pool { n_waiting: 1, ..pool };
        assert_eq!(decide(taken_at, &waiting).n_spawn, 2, "but whoever waits does not wait longer");
    }

    #[test]
    fn failures_slow_it_down() {
        let failed_at = Timestamp::from_secs(50);
        let pool = |n_failures| Pool { n_failures, failed_at: Some(failed_at), n_waiting: 4, ..ROOMY };
        for (n_failures, pause_ms) in
            [(1, 100), (2, 200), (3, 400), (9, 25_600), (10, 30_000), (u32::MAX, 30_000)]
        {
            let retry_at = failed_at + Duration::from_millis(pause_ms);
            let early = Decision { n_spawn: 0, n_end: 0, retry_at: Some(retry_at) };
            assert_eq!(decide(failed_at, &pool(n_failures)), early, "{n_failures} failures");
            let one = Decision { n_spawn: 1, n_end: 0, retry_at: None };
            assert_eq!(decide(retry_at, &pool(n_failures)), one, "{n_failures} failures");
        }
    }
}
