//! A load that is held: sessions come and go at a steady rate, and nothing may fail, grow or slow down.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::task::JoinSet;

use super::hosts::{Event, Hosts};
use super::http::{Connection, Requests};
use super::plane::Plane;
use super::{runtime, until_ready};
use crate::server::cpu_ms;
use crate::table::Table;

/// Clients, each with a session at a time.
const N_CLIENTS: usize = 40;

/// Between two sessions of a client; so forty clients make about forty sessions, and three hundred requests, a second.
const ROUND: Duration = Duration::from_secs(1);

/// How often a client looks at its session.
const N_LOOKS: usize = 4;

/// Memory and processor time are read this often.
const SAMPLE: Duration = Duration::from_secs(1);

/// Holds the load for `secs` seconds.
pub(crate) fn run(secs: u64, table: &mut Table) -> Result<()> {
    runtime()?.block_on(hold(Duration::from_secs(secs), table))
}

async fn hold(time: Duration, table: &mut Table) -> Result<()> {
    let data = tempfile::tempdir()?;
    let mut plane = Plane::start(data.path(), 0, 20).await?;
    let mut hosts = Hosts::new();
    let n_rounds = Arc::new(AtomicUsize::new(0));
    let until = Instant::now() + time;
    let mut clients = JoinSet::new();
    for client in 0..N_CLIENTS {
        let connection = plane.connect().await?;
        let (requests, n_rounds) = (plane.requests.clone(), Arc::clone(&n_rounds));
        clients.spawn(client_of(client, connection, requests, until, n_rounds));
    }
    let mut times_ms = Vec::new();
    let (mut rss, mut cpu) = (Vec::new(), Vec::new());
    let began = Instant::now();
    let mut tick = tokio::time::interval(SAMPLE);
    let mut cpu_before = cpu_ms(plane.pid())?;
    let cpu_first = cpu_before;
    while !clients.is_empty() {
        tokio::select! {
            order = plane.orders.recv() => hosts.start(order.context("the control plane ended")?),
            event = hosts.next() => if let Event::Linked { again: true } = event? {
                bail!("a link broke");
            },
            _ = tick.tick() => {
                let now = cpu_ms(plane.pid())?;
                // The first sample has no second before it.
                if began.elapsed() > SAMPLE / 2 {
                    rss.push((began.elapsed().as_secs_f64(), plane.rss_kib()?));
                    cpu.push((now - cpu_before) / SAMPLE.as_secs_f64() / 10.0);
                }
                cpu_before = now;
            }
            Some(done) = clients.join_next() => times_ms.extend(done??),
        }
    }
    let secs = began.elapsed().as_secs_f64();
    let minutes = time.as_secs_f64() / 60.0;
    let name = |what: &str| format!("load held for {minutes:.1} min: {what}");
    table.add(name("sessions"), "", &[n_rounds.load(Relaxed) as f64], "");
    table.add(name("requests, none failed, a second"), "1/s", &[times_ms.len() as f64 / secs], "");
    table.add(name("an answer"), "ms", &times_ms, "");
    // Is it slower at the end, with all the ended sessions in the store?
    table.add(name("processor, first tenth"), "% core", &cpu[..(cpu.len() / 10).max(1).min(cpu.len())], "");
    table.add(name("processor, last tenth"), "% core", &cpu[cpu.len() - cpu.len() / 10..], "");
    let each = (cpu_ms(plane.pid())? - cpu_first) / times_ms.len() as f64 * 1e3;
    table.add(name("processor time a request, hosts included"), "µs", &[each], "");
    let kib: Vec<f64> = rss.iter().map(|(_, kib)| kib / 1024.0).collect();
    table.add(name("memory"), "MiB", &kib, "");
    let (_warming, held) = rss.split_at(rss.len() / 4);
    table.add(name("memory grows, after the first quarter"), "KiB/min", &[slope(held) * 60.0], "flat");
    Ok(())
}

/// Sessions one after the other, until it is time; how long each request took, in milliseconds.
async fn client_of(
    client: usize,
    mut connection: Connection,
    requests: Requests,
    until: Instant,
    n_rounds: Arc<AtomicUsize>,
) -> Result<Vec<f64>> {
    let mut times_ms = Vec::new();
    // Not all at the same moment.
    tokio::time::sleep(ROUND.mul_f64(client as f64 / N_CLIENTS as f64)).await;
    for round in 0.. {
        let began = Instant::now();
        if began > until {
            break;
        }
        let id = format!("soak-{client}-{round}");
        times_ms.push(connection.timed(&requests.create(&id, 10), 201).await?);
        until_ready(&mut connection, &requests.get(&id)).await?;
        for _ in 0..N_LOOKS {
            tokio::time::sleep(ROUND / 8).await;
            times_ms.push(connection.timed(&requests.get(&id), 200).await?);
        }
        times_ms.push(connection.timed(&requests.extend(&id, 20), 200).await?);
        times_ms.push(connection.timed(&requests.list(), 200).await?);
        times_ms.push(connection.timed(&requests.stop(&id), 204).await?);
        n_rounds.fetch_add(1, Relaxed);
        tokio::time::sleep_until((began + ROUND).into()).await;
    }
    Ok(times_ms)
}

/// By least squares, a second.
fn slope(samples: &[(f64, f64)]) -> f64 {
    let n = samples.len() as f64;
    let (x, y) = samples.iter().fold((0.0, 0.0), |(x, y), sample| (x + sample.0 / n, y + sample.1 / n));
    let over: f64 = samples.iter().map(|sample| (sample.0 - x) * (sample.1 - y)).sum();
    over / samples.iter().map(|sample| (sample.0 - x).powi(2)).sum::<f64>()
}
