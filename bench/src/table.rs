//! Figures and how they are shown.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// All figures of a run.
#[derive(Default, Serialize)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

/// One figure.
#[derive(Serialize)]
struct Row {
    name: String,
    unit: &'static str,
    p50: f64,
    p95: f64,
    /// Absent where somebody else summed up without it.
    p99: f64,
    min: f64,
    max: f64,
    n: usize,
    /// What was promised for the median or p95, in words.
    promise: &'static str,
}

impl Table {
    /// Adds what was measured; nothing measured is a failure of the bench, so it is told.
    pub(crate) fn add(
        &mut self,
        name: impl Into<String>,
        unit: &'static str,
        samples: &[f64],
        promise: &'static str,
    ) {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let Some((min, max)) = sorted.first().copied().zip(sorted.last().copied()) else {
            return self.rows.push(Row {
                name: name.into(),
                unit: "nothing measured",
                p50: f64::NAN,
                p95: f64::NAN,
                p99: f64::NAN,
                min: f64::NAN,
                max: f64::NAN,
                n: 0,
                promise,
            });
        };
        let row = Row {
            name: name.into(),
            unit,
            p50: quantile(&sorted, 0.5),
            p95: quantile(&sorted, 0.95),
            p99: quantile(&sorted, 0.99),
            min,
            max,
            n: sorted.len(),
            promise,
        };
        eprintln!("{row}");
        self.rows.push(row);
    }
}

impl Table {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds what somebody else summed up: `{"p50", "p95", "min", "max", "n"}`.
    pub(crate) fn add_summary(
        &mut self,
        name: String,
        unit: &'static str,
        summary: &Value,
        promise: &'static str,
    ) {
        let number = |key: &str| summary[key].as_f64().unwrap_or(f64::NAN);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of samples")]
        let n = number("n") as usize;
        let (p50, p95, min, max) = (number("p50"), number("p95"), number("min"), number("max"));
        let row = Row { name, unit, p50, p95, p99: number("p99"), min, max, n, promise };
        eprintln!("{row}");
        self.rows.push(row);
    }
}

/// Nearest-rank quantile of sorted samples.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank within the slice")]
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// The middle of unsorted samples; NaN without any.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    if sorted.is_empty() { f64::NAN } else { quantile(&sorted, 0.5) }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, unit, p50, p95, p99, min, max, n, promise } = self;
        write!(
            f,
            "{name:<58} {p50:>9.2} {p95:>9.2} {p99:>9.2} {min:>9.2} {max:>9.2} {n:>6}  {unit:<6} {promise}"
        )
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<58} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6}  {:<6} promise",
            "", "p50", "p95", "p99", "min", "max", "n", "unit"
        )?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        Ok(())
    }
}
