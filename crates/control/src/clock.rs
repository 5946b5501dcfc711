//! Where the time comes from, so that tests can say what time it is.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use session::Timestamp;
use time::OffsetDateTime;
use tokio::sync::watch;

/// A future that only says that it is time.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Time for leases (never jumps), for people (the wall clock), and waiting.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Now, for leases and timeouts.
    fn now(&self) -> Timestamp;

    /// Now, for creation times and the life of tokens.
    fn wall(&self) -> OffsetDateTime;

    /// Waits until [`Self::now`] is at least `at`.
    fn sleep_until(&self, at: Timestamp) -> Sleep;
}

/// The machine's clocks: the wall clock read once, a monotonic clock from there.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
    at_origin: Timestamp,
}

impl SystemClock {
    /// Starts at the wall clock's time.
    pub fn new() -> Self {
        Self { origin: Instant::now(), at_origin: timestamp(OffsetDateTime::now_utc()) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.at_origin + self.origin.elapsed()
    }

    fn wall(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn sleep_until(&self, at: Timestamp) -> Sleep {
        let pause = at.since(self.now());
        Box::pin(tokio::time::sleep(pause))
    }
}

/// A clock that stands still until it is told to go on.
#[derive(Debug)]
pub struct ManualClock {
    origin: OffsetDateTime,
    since_origin: watch::Sender<Duration>,
}

impl ManualClock {
    /// Stands at the wall clock's time.
    pub fn new() -> Self {
        Self { origin: OffsetDateTime::now_utc(), since_origin: watch::Sender::new(Duration::ZERO) }
    }

    /// Goes forward and wakes whoever waited for a moment on the way.
    pub fn advance(&self, by: Duration) {
        self.since_origin.send_modify(|since| *since = since.saturating_add(by));
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        timestamp(self.origin) + *self.since_origin.borrow()
    }

    fn wall(&self) -> OffsetDateTime {
        self.origin + *self.since_origin.borrow()
    }

    fn sleep_until(&self, at: Timestamp) -> Sleep {
        let origin = timestamp(self.origin);
        let mut changes = self.since_origin.subscribe();
        Box::pin(async move {
            // An error means that the clock is gone, and with it whoever would have to be woken.
            let _gone = changes.wait_for(|since| origin + *since >= at).await.is_err();
        })
    }
}

/// A wall-clock time as a timestamp; times before 1970 become 1970.
pub(crate) fn timestamp(wall: OffsetDateTime) -> Timestamp {
    Timestamp::from_micros(u64::try_from(wall.unix_timestamp_nanos() / 1_000).unwrap_or(0))
}

/// A creation time as the API writes it: offset form, up to seven fraction digits, no trailing zeros.
pub(crate) fn creation_time(wall: OffsetDateTime) -> String {
    let wall = wall.to_offset(time::UtcOffset::UTC);
    let fraction = format!(".{:07}", wall.nanosecond() / 100);
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{fraction}+00:00",
        wall.year(),
        u8::from(wall.month()),
        wall.day(),
        wall.hour(),
        wall.minute(),
        wall.second(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn creation_times_look_like_those_of_the_service() {
        for (wall, text) in [
            (datetime!(2021-01-29 16:04:29.1569219 UTC), "2021-01-29T16:04:29.1569219+00:00"),
            (datetime!(2021-01-29 16:04:23.214787 UTC), "2021-01-29T16:04:23.214787+00:00"),
            (datetime!(2021-01-29 16:04:23 UTC), "2021-01-29T16:04:23+00:00"),
            (datetime!(2021-01-29 16:04:23.000000099 +1), "2021-01-29T15:04:23+00:00"),
        ] {
            assert_eq!(creation_time(wall), text);
        }
    }

    #[tokio::test]
    async fn the_manual_clock_wakes_those_whose_time_has_come() {
        let clock = ManualClock::new();
        let start = clock.now();
        let waiting = tokio::spawn(clock.sleep_until(start + Duration::from_secs(60)));
        clock.advance(Duration::from_secs(59));
        assert!(!waiting.is_finished());
        clock.advance(Duration::from_secs(1));
        waiting.await.unwrap();
        assert_eq!(clock.now(), start + Duration::from_secs(60));
    }
}
