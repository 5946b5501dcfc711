//! Where the time comes from, so that tests can say what time it is.

use std::fmt::Debug;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use std::{fs, io};

use session::Timestamp;
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::files::write_private;

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

/// The machine's monotonic clock, counted from a moment that the wall clock gave once: when a service first ran on this
/// data folder since the machine was started.
///
/// That moment is kept in a file, so that a restart goes on with the same time, whatever happened to the wall clock
/// meanwhile. After a restart of the machine the monotonic clock begins anew, and so does this: all hosts are gone then,
/// and no lease goes on. `CLOCK_MONOTONIC` stands still while the machine sleeps, and so do leases: nobody is shown
/// anything then, hosts and timers count in the same way, and nothing ends all at once on waking up.
#[derive(Debug)]
pub struct SystemClock {
    /// Microseconds from the monotonic clock's zero to the epoch of [`Timestamp`]; negative if it is later.
    origin_micros: i64,
}

/// File of the data folder with the boot's id and `origin_micros`.
const FILE: &str = "clock";

impl SystemClock {
    /// Starts at the wall clock's time, for whoever keeps nothing.
    pub fn new() -> Self {
        Self { origin_micros: origin_at(monotonic(), OffsetDateTime::now_utc()) }
    }

    /// Goes on with the time that is kept in `dir`, or starts at `wall` and keeps that.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub(crate) fn kept_in(dir: &Path, wall: OffsetDateTime) -> io::Result<Self> {
        let path = dir.join(FILE);
        let boot = boot_id();
        let kept = fs::read_to_string(&path).ok();
        if let Some(origin_micros) = kept.as_deref().and_then(|kept| origin_kept(kept, &boot)) {
            return Ok(Self { origin_micros });
        }
        let origin_micros = origin_at(monotonic(), wall);
        write_private(&path, format!("{boot} {origin_micros}\n").as_bytes())?;
        Ok(Self { origin_micros })
    }
}

/// Names this run of the machine; empty if the kernel does not say.
pub(crate) fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// The origin in the file, if it is of this boot.
fn origin_kept(file: &str, boot: &str) -> Option<i64> {
    let (kept_boot, origin) = file.trim_end().split_once(' ')?;
    (kept_boot == boot && !boot.is_empty()).then(|| origin.parse().ok())?
}

/// The origin that makes it `wall` when the monotonic clock says `monotonic`.
fn origin_at(monotonic: Duration, wall: OffsetDateTime) -> i64 {
    let wall = i64::try_from(timestamp(wall).as_micros()).unwrap_or(i64::MAX);
    wall.saturating_sub(i64::try_from(monotonic.as_micros()).unwrap_or(i64::MAX))
}

/// `CLOCK_MONOTONIC`. Not an `Instant`, which has no zero that another process shares.
fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let secs = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(secs, u32::try_from(now.tv_nsec).unwrap_or(0))
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_boot = u64::try_from(monotonic().as_micros()).unwrap_or(u64::MAX);
        Timestamp::from_micros(since_boot.saturating_add_signed(self.origin_micros))
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
    /// How far somebody has set the wall clock, in seconds.
    wall_jump_secs: AtomicI64,
}

impl ManualClock {
    /// Stands at the wall clock's time.
    pub fn new() -> Self {
        Self {
            origin: OffsetDateTime::now_utc(),
            since_origin: watch::Sender::new(Duration::ZERO),
            wall_jump_secs: AtomicI64::new(0),
        }
    }

    /// Goes forward and wakes whoever waited for a moment on the way.
    pub fn advance(&self, by: Duration) {
        self.since_origin.send_modify(|since| *since = since.saturating_add(by));
    }

    /// Sets the wall clock forward, or back if `secs` is negative, and nothing else.
    pub fn jump_wall(&self, secs: i64) {
        self.wall_jump_secs.fetch_add(secs, Ordering::Relaxed);
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
        let jump = time::Duration::seconds(self.wall_jump_secs.load(Ordering::Relaxed));
        self.origin + *self.since_origin.borrow() + jump
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

    #[test]
    fn a_restart_goes_on_with_the_same_time_whatever_the_wall_clock_says() {
        let dir = tempfile::tempdir().unwrap();
        let wall = datetime!(2026-11-22 03:00 UTC);
        let first = SystemClock::kept_in(dir.path(), wall).unwrap();
        let before = first.now();
        assert!(before >= timestamp(wall));
        for jumped in [wall + time::Duration::days(400), wall - time::Duration::days(400)] {
            let next = SystemClock::kept_in(dir.path(), jumped).unwrap();
            assert!(next.now() >= before && next.now().since(before) < Duration::from_secs(60));
        }
        // After a restart of the machine, or with a file that is no good, it is what the wall clock says.
        for kept in ["other-boot 17\n", "", "x", &format!("{} x\n", boot_id())] {
            fs::write(dir.path().join(FILE), kept).unwrap();
            let later = wall + time::Duration::days(1);
            let next = SystemClock::kept_in(dir.path(), later).unwrap();
            assert!(next.now().since(timestamp(later)) < Duration::from_secs(60), "{kept:?}");
            assert!(next.now() >= timestamp(later));
        }
    }

    #[test]
    fn the_file_counts_for_one_boot() {
        assert_eq!(origin_kept("b 17\n", "b"), Some(17));
        assert_eq!(origin_kept("b -17\n", "b"), Some(-17));
        for (kept, boot) in
            [("b 17", "c"), (" 17", ""), ("b", "b"), ("b 1 2", "b"), ("b 9999999999999999999", "b")]
        {
            assert_eq!(origin_kept(kept, boot), None, "{kept:?}");
        }
        assert_eq!(origin_at(Duration::from_secs(5), datetime!(1970-01-01 00:00:03 UTC)), -2_000_000);
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
