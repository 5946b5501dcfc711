//! `belvedere latency …`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use client::latency::{self, Endpoint, Options, Summary, Times, recommend, summarize};

use crate::outcome::{Exit, Failure};
use crate::sessions::print;
use crate::terminal::{self, Status, Style, Table};

/// Which services to measure, and how.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  belvedere latency https://render-eu.example.com https://render-us.example.com
  belvedere latency localhost:8443 --ca ~/.local/share/belvedere/tls/ca.pem
  best=$(belvedere latency --json eu.example.com us.example.com | jq -r .recommended)

All services are met at once, and then take turns, so that none is measured while another is. Exit code 0 if one of
them at least could be measured, 5 if none.")]
pub(crate) struct LatencyArgs {
    /// Services, as https://HOST:PORT or HOST:PORT.
    #[arg(required = true, value_name = "ENDPOINT", num_args = 1..=64)]
    endpoints: Vec<Endpoint>,
    /// Requests to each that count.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=1000))]
    samples: u16,
    /// Seconds after which an answer counts as lost.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=60))]
    timeout: u16,
    /// Data folder of a service on this machine, whose CA file is trusted unless --ca names one.
    #[arg(long, value_name = "DIR", env = "BELVEDERE_DATA")]
    data: Option<PathBuf>,
    /// PEM file of a certificate authority to trust beside the system's.
    #[arg(long, value_name = "FILE", env = "BELVEDERE_CA")]
    ca: Option<PathBuf>,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &LatencyArgs) -> Result<()> {
    let data = args.data.clone().or_else(|| crate::config::default_data_dir().ok());
    let own_ca = data.map(|data| data.join("tls/ca.pem")).filter(|path| path.exists());
    let ca = args.ca.clone().or(own_ca);
    let ca_pem = ca.map(|path| {
        std::fs::read(&path).map_err(|error| {
            Failure::new(Exit::NotFound, format!("the CA file {} cannot be read", path.display()))
                .because(error)
        })
    });
    let options = Options {
        n_samples: args.samples.into(),
        timeout: Duration::from_secs(args.timeout.into()),
        ca_pem: ca_pem.transpose()?,
    };
    let results = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let status = Status::new(format!("Measuring {}", services(args.endpoints.len())));
        status.during(latency::measure(&args.endpoints, &options, |_round| ())).await
    })?;
    let rows: Vec<Row<'_>> = args.endpoints.iter().zip(results).map(Row::of).collect();
    let summaries: Vec<Option<Summary>> = rows.iter().map(|row| row.request).collect();
    let best = recommend(&summaries);
    print(&if args.json { json(&rows, best) } else { text(&rows, best, terminal::has_colour()) })?;
    if best.is_some() {
        return Ok(());
    }
    let failure = Failure::new(Exit::Unreachable, "none of them could be measured");
    let is_untrusted = |row: &Row<'_>| row.error.as_ref().is_some_and(|error| error.starts_with("no TLS"));
    let hint = "a certificate that this machine does not know needs --ca FILE: tls/ca.pem of the service's data folder";
    Err(if rows.iter().any(is_untrusted) { failure.hint(hint) } else { failure }.into())
}

fn services(n: usize) -> String {
    if n == 1 { "one service".to_owned() } else { format!("{n} services") }
}

/// What is shown of one service.
struct Row<'a> {
    endpoint: &'a Endpoint,
    connect: Option<Summary>,
    tls: Option<Summary>,
    request: Option<Summary>,
    n_lost: usize,
    is_belvedere: bool,
    error: Option<String>,
}

impl<'a> Row<'a> {
    fn of((endpoint, result): (&'a Endpoint, Result<Times, latency::Error>)) -> Self {
        let error = result.as_ref().err().map(ToString::to_string);
        let times = result.unwrap_or_default();
        Self {
            endpoint,
            connect: summarize(&times.connect_ms),
            tls: summarize(&times.tls_ms),
            request: summarize(&times.request_ms),
            n_lost: times.n_lost,
            is_belvedere: times.is_belvedere,
            error,
        }
    }

    fn note(&self) -> String {
        match (&self.error, self.n_lost) {
            (Some(error), _) => error.clone(),
            (None, 1..) => format!("{} requests lost", self.n_lost),
            (None, 0) if !self.is_belvedere => "answers, but not like a Belvedere".to_owned(),
            (None, 0) => String::new(),
        }
    }
}

fn text(rows: &[Row<'_>], best: Option<usize>, colour: bool) -> String {
    let mut table =
        Table::new(&["ENDPOINT", ">MEDIAN", ">MIN", ">P95", ">JITTER", ">CONNECT", ">TLS", "NOTE"]);
    for (i, row) in rows.iter().enumerate() {
        let is_best = best == Some(i) && rows.len() > 1;
        let ms = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), milliseconds);
        let plain = |value: Option<f64>| (ms(value), Style::Plain);
        let note = if row.error.is_some() { Style::Red } else { Style::Yellow };
        table.row(vec![
            (row.endpoint.to_string(), if is_best { Style::Green } else { Style::Plain }),
            (ms(row.request.map(|request| request.median_ms)), Style::Bold),
            plain(row.request.map(|request| request.min_ms)),
            plain(row.request.map(|request| request.p95_ms)),
            plain(row.request.map(|request| request.jitter_ms)),
            plain(row.connect.map(|connect| connect.median_ms)),
            plain(row.tls.map(|tls| tls.median_ms)),
            (row.note(), note),
        ]);
    }
    let mut text = table.text(colour);
    if let Some(row) = best.and_then(|best| rows.get(best)).filter(|_| rows.len() > 1) {
        text += &format!("\nTake {}.\n", row.endpoint);
    }
    text
}

fn milliseconds(ms: f64) -> String {
    if ms >= 100.0 { format!("{ms:.0} ms") } else { format!("{ms:.1} ms") }
}

fn json(rows: &[Row<'_>], best: Option<usize>) -> String {
    let summary = |summary: &Option<Summary>| {
        summary.map(|summary| {
            serde_json::json!({
                "minMs": summary.min_ms,
                "medianMs": summary.median_ms,
                "p95Ms": summary.p95_ms,
                "jitterMs": summary.jitter_ms,
            })
        })
    };
    let endpoints: Vec<_> = rows
        .iter()
        .map(|row| {
            serde_json::json!({
                "endpoint": row.endpoint.to_string(),
                "request": summary(&row.request),
                "connect": summary(&row.connect),
                "tls": summary(&row.tls),
                "lost": row.n_lost,
                "belvedere": row.is_belvedere,
                "error": row.error,
            })
        })
        .collect();
    let recommended = best.and_then(|best| rows.get(best)).map(|row| row.endpoint.to_string());
    format!("{:#}\n", serde_json::json!({ "endpoints": endpoints, "recommended": recommended }))
}
