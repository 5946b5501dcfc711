//! How often somebody may ask: a pure decision, with the time as an argument.
//!
//! Each key has a bucket of `burst` tokens that fills evenly. What is kept of a bucket is one moment, the one at which
//! it is full again ("virtual scheduling" in ITU-T I.371), so a bucket that is full need not be kept at all.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use session::Timestamp;

/// How many requests pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// In the long run; 0 lets everything pass.
    pub per_minute: u32,
    /// At once, after a pause; at least 1.
    pub burst: u32,
}

impl RateLimit {
    /// No limit.
    pub const NONE: Self = Self { per_minute: 0, burst: 1 };

    /// `per_minute` requests, ten seconds' worth of which may come at once, and ten in any case: SDKs ask up to five
    /// times within a second after a create.
    pub const fn of(per_minute: u32) -> Self {
        let burst = if per_minute / 6 < 10 { 10 } else { per_minute / 6 };
        Self { per_minute, burst }
    }

    fn interval(self) -> Option<Duration> {
        let interval = Duration::from_secs(60).checked_div(self.per_minute)?;
        // More than one per microsecond is as good as no limit.
        (interval >= Duration::from_micros(1)).then_some(interval)
    }
}

/// Buckets of many keys, `N_KEYS_MAX` of them at most.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    limit: RateLimit,
    /// When each bucket that is not full will be.
    full_at: HashMap<K, Timestamp>,
    n_keys_max: usize,
    /// For all keys that find no place.
    rest_full_at: Timestamp,
    purge_at: Timestamp,
}

/// While there is no place for a new key, how often places are looked for: looking takes a millisecond or so.
const PURGE_INTERVAL: Duration = Duration::from_secs(1);

impl<K: Eq + Hash> Buckets<K> {
    pub(crate) fn new(limit: RateLimit, n_keys_max: usize) -> Self {
        let never = Timestamp::default();
        Self { limit, full_at: HashMap::new(), n_keys_max, rest_full_at: never, purge_at: never }
    }

    /// Takes a token of `key`.
    ///
    /// # Errors
    ///
    /// If there is none, how long until there is one.
    pub(crate) fn take(&mut self, now: Timestamp, key: K) -> Result<(), Duration> {
        let Some(interval) = self.limit.interval() else { return Ok(()) };
        if self.full_at.len() >= self.n_keys_max && !self.full_at.contains_key(&key) && self.purge_at <= now {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.purge_at = now + PURGE_INTERVAL;
        }
        let has_place = self.full_at.len() < self.n_keys_max || self.full_at.contains_key(&key);
        let full_at = if has_place { self.full_at.entry(key).or_default() } else { &mut self.rest_full_at };
        let missing = full_at.since(now);
        let tolerated = interval.saturating_mul(self.limit.burst.saturating_sub(1));
        if missing > tolerated {
            return Err(missing.saturating_sub(tolerated));
        }
        *full_at = now + missing + interval;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_micros(1_000_000_000 + millis * 1_000)
    }

    #[test]
    fn a_burst_passes_and_then_one_per_interval() {
        let mut buckets = Buckets::new(RateLimit { per_minute: 60, burst: 3 }, 10);
        let passed = [0, 0, 0, 0, 400, 1_000, 1_000, 1_999, 2_000]
            .map(|millis| buckets.take(at(millis), "a").map_err(|wait| wait.as_millis()));
        let expected = [Ok(()), Ok(()), Ok(()), Err(1_000), Err(600), Ok(()), Err(1_000), Err(1), Ok(())];
        assert_eq!(passed, expected);
        assert_eq!(buckets.take(at(2_000), "b"), Ok(()), "another key has its own");
        let refilled = (0..4).filter(|_| buckets.take(at(60_000), "a").is_ok()).count();
        assert_eq!(refilled, 3, "a pause fills the bucket, but not more than that");
    }

    #[test]
    fn strangers_take_a_bounded_place_and_share_what_is_over() {
        let mut buckets = Buckets::new(RateLimit { per_minute: 60, burst: 2 }, 3);
        let mut passed = |millis, keys: std::ops::Range<u32>| {
            keys.filter(|key| buckets.take(at(millis), *key).is_ok()).collect::<Vec<_>>()
        };
        assert_eq!(passed(0, 0..100), [0, 1, 2, 3, 4], "three have places, two share a bucket");
        assert_eq!(passed(0, 0..4), [0, 1, 2], "those with places are not disturbed");
        assert_eq!(passed(5_000, 100..103), [100, 101, 102], "full buckets made place");
        assert!(buckets.full_at.len() <= 3);
    }

    #[test]
    fn no_limit_is_no_limit() {
        for limit in [RateLimit::NONE, RateLimit { per_minute: u32::MAX, burst: 1 }] {
            let mut buckets = Buckets::new(limit, 1);
            assert!((0..1_000).all(|key| buckets.take(at(0), key).is_ok()));
        }
    }

    /// Over any span, no more passes than the bucket holds and what flows into it.
    #[test]
    fn the_long_run_is_bounded() {
        let limit = RateLimit::of(600);
        let mut buckets = Buckets::new(limit, 1);
        let passed = (0..60_000).filter(|millis| buckets.take(at(*millis), ()).is_ok()).count();
        assert!((600..=700).contains(&passed), "{passed}");
    }
}
