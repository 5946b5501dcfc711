//! What is counted for operators, and how Prometheus reads it.
//!
//! Counters live here; what there is at a moment is asked of the engine at each scrape ([`Census`]).
//! The form is the Prometheus text format 0.0.4.

use std::fmt::{self, Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::http::StatusCode;
use protocol::rest::SessionStatus;

use crate::audit::Health;
use crate::store::Written;

/// What the engine has at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) n_sessions_starting: u32,
    pub(crate) n_sessions_ready: u32,
    pub(crate) n_hosts_starting: u32,
    pub(crate) n_hosts_warm: u32,
    pub(crate) n_hosts_serving: u32,
    pub(crate) n_hosts_ending: u32,
    /// No new sessions are taken.
    pub(crate) draining: bool,
}

/// Upper bounds of the times from create to Ready: a warm host takes milliseconds, a cold one with a large program
/// seconds, and after that something is wrong.
const START_BOUNDS: [(&str, Duration); 12] = [
    ("0.005", Duration::from_millis(5)),
    ("0.01", Duration::from_millis(10)),
    ("0.025", Duration::from_millis(25)),
    ("0.05", Duration::from_millis(50)),
    ("0.1", Duration::from_millis(100)),
    ("0.25", Duration::from_millis(250)),
    ("0.5", Duration::from_millis(500)),
    ("1", Duration::from_secs(1)),
    ("2.5", Duration::from_millis(2_500)),
    ("5", Duration::from_secs(5)),
    ("15", Duration::from_secs(15)),
    ("60", Duration::from_secs(60)),
];

/// Addresses that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    Sessions,
    Connections,
    Conversions,
    Tokens,
    Management,
    Viewer,
    Console,
    Other,
}

impl Area {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Sessions, "sessions"),
        (Self::Connections, "connections"),
        (Self::Conversions, "conversions"),
        (Self::Tokens, "tokens"),
        (Self::Management, "management"),
        (Self::Viewer, "viewer"),
        (Self::Console, "console"),
        (Self::Other, "other"),
    ];
}

/// Status classes, 1xx to 5xx.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Statuses in which sessions end.
const ENDS: [SessionStatus; 3] = [SessionStatus::Stopped, SessionStatus::Expired, SessionStatus::Error];

/// The counters. They begin at zero with the process, as Prometheus expects.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    n_created: AtomicU64,
    n_held_off: AtomicU64,
    n_ended: [AtomicU64; ENDS.len()],
    /// Starts by bucket, each counted once; the last one has no bound.
    n_starts: [AtomicU64; START_BOUNDS.len() + 1],
    starts_micros: AtomicU64,
    n_answers: [[AtomicU64; CLASSES.len()]; Area::ALL.len()],
}

impl Metrics {
    pub(crate) fn count_created(&self) {
        self.n_created.fetch_add(1, Relaxed);
    }

    /// Counts a refusal that became a 429, because its sender gets too many of them.
    pub(crate) fn count_held_off(&self) {
        self.n_held_off.fetch_add(1, Relaxed);
    }

    /// Counts a session's end; other statuses are none.
    pub(crate) fn count_ended(&self, status: SessionStatus) {
        if let Some((_, n)) = ENDS.iter().zip(&self.n_ended).find(|(end, _)| **end == status) {
            n.fetch_add(1, Relaxed);
        }
    }

    /// Counts a session that became Ready `took` after its creation.
    pub(crate) fn count_start(&self, took: Duration) {
        let bucket = START_BOUNDS.iter().take_while(|(_, bound)| took > *bound).count();
        if let Some(n) = self.n_starts.get(bucket) {
            n.fetch_add(1, Relaxed);
        }
        self.starts_micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn count_answer(&self, area: Area, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        let areas = Area::ALL.iter().zip(&self.n_answers);
        for (_, classes) in areas.filter(|((this, _), _)| *this == area) {
            if let Some(n) = classes.get(class) {
                n.fetch_add(1, Relaxed);
            }
        }
    }

    /// Everything, in the text format.
    pub(crate) fn text(
        &self,
        census: &Census,
        written: &Written,
        certificate_ends: i64,
        audit: &Health,
    ) -> String {
        let mut text = String::with_capacity(4_096);
        // Writing to a string does not fail.
        let _infallible = self.write(census, written, certificate_ends, audit, &mut text).is_err();
        text
    }

    fn write(
        &self,
        census: &Census,
        written: &Written,
        certificate_ends: i64,
        audit: &Health,
        out: &mut String,
    ) -> fmt::Result {
        head(out, "build_info", "gauge", "The version that runs; always 1.")?;
        sample(out, "build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1)?;
        let name = "certificate_ends_timestamp_seconds";
        head(out, name, "gauge", "When the server's certificate ends, in Unix time.")?;
        sample(out, name, &[], certificate_ends)?;
        head(out, "sessions", "gauge", "Sessions that have not ended, by status.")?;
        for (status, n) in [("Starting", census.n_sessions_starting), ("Ready", census.n_sessions_ready)] {
            sample(out, "sessions", &[("status", status)], n)?;
        }
        head(out, "hosts", "gauge", "Host processes, by what they do.")?;
        for (state, n) in [
            ("starting", census.n_hosts_starting),
            ("warm", census.n_hosts_warm),
            ("serving", census.n_hosts_serving),
            ("ending", census.n_hosts_ending),
        ] {
            sample(out, "hosts", &[("state", state)], n)?;
        }
        head(
            out,
            "draining",
            "gauge",
            "1 while no new sessions are taken because the service is about to end.",
        )?;
        sample(out, "draining", &[], u8::from(census.draining))?;
        let help = "Refusals that became 429, because their sender gets too many.";
        head(out, "refusals_held_off_total", "counter", help)?;
        sample(out, "refusals_held_off_total", &[], self.n_held_off.load(Relaxed))?;
        head(out, "audit_records_total", "counter", "Records of the audit log, by what became of them.")?;
        for (result, n) in [("written", &audit.n_written), ("lost", &audit.n_lost)] {
            sample(out, "audit_records_total", &[("result", result)], n.load(Relaxed))?;
        }
        head(out, "sessions_created_total", "counter", "Sessions that were created.")?;
        sample(out, "sessions_created_total", &[], self.n_created.load(Relaxed))?;
        head(out, "sessions_ended_total", "counter", "Sessions that ended, by how.")?;
        for (status, n) in ENDS.iter().zip(&self.n_ended) {
            sample(out, "sessions_ended_total", &[("status", status.as_str())], n.load(Relaxed))?;
        }
        let name = "session_start_seconds";
        head(out, name, "histogram", "From the creation of a session to Ready.")?;
        let mut n_so_far = 0;
        let bounds = START_BOUNDS.iter().map(|(bound, _)| *bound).chain(["+Inf"]);
        for (bound, n) in bounds.zip(&self.n_starts) {
            n_so_far += n.load(Relaxed);
            sample(out, "session_start_seconds_bucket", &[("le", bound)], n_so_far)?;
        }
        let sum = Duration::from_micros(self.starts_micros.load(Relaxed)).as_secs_f64();
        sample(out, "session_start_seconds_sum", &[], sum)?;
        sample(out, "session_start_seconds_count", &[], n_so_far)?;
        let name = "store_commit_seconds";
        head(out, name, "summary", "Commits of sessions to the database, from the request to the disk.")?;
        let sum = Duration::from_micros(written.micros.load(Relaxed)).as_secs_f64();
        sample(out, "store_commit_seconds_sum", &[], sum)?;
        sample(out, "store_commit_seconds_count", &[], written.n_commits.load(Relaxed))?;
        head(out, "store_rows_total", "counter", "Sessions written by these commits.")?;
        sample(out, "store_rows_total", &[], written.n_rows.load(Relaxed))?;
        head(out, "store_failures_total", "counter", "Commits that failed; each is tried again.")?;
        sample(out, "store_failures_total", &[], written.n_failures.load(Relaxed))?;
        head(
            out,
            "http_answers_total",
            "counter",
            "Answers over HTTP, by area of the API and status class.",
        )?;
        for ((_, area), classes) in Area::ALL.iter().zip(&self.n_answers) {
            for (class, n) in CLASSES.iter().zip(classes) {
                sample(out, "http_answers_total", &[("area", area), ("class", class)], n.load(Relaxed))?;
            }
        }
        Ok(())
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP belvedere_{name} {help}\n# TYPE belvedere_{name} {kind}")
}

/// Label values here are words of our own, which need no escapes.
fn sample(out: &mut String, name: &str, labels: &[(&str, &str)], value: impl Display) -> fmt::Result {
    let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    writeln!(out, "belvedere_{name}{labels} {value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_adds_up() {
        let metrics = Metrics::default();
        for millis in [1, 5, 6, 400, 100_000] {
            metrics.count_start(Duration::from_millis(millis));
        }
        let text = metrics.text(&Census::default(), &Written::default(), 0, &Health::default());
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("{name} in {text}")).to_owned()
        };
        for (bound, n) in
            [("0.005", "2"), ("0.01", "3"), ("0.25", "3"), ("0.5", "4"), ("60", "4"), ("+Inf", "5")]
        {
            assert_eq!(
                value(&format!("belvedere_session_start_seconds_bucket{{le=\"{bound}\"}}")),
                n,
                "{bound}"
            );
        }
        assert_eq!(value("belvedere_session_start_seconds_count"), "5");
        assert_eq!(value("belvedere_session_start_seconds_sum"), "100.412");
    }
}
