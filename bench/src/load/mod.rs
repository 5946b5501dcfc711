//! The control plane under load: creates, reads, lists, leases that end, restarts, and a load that is held.
//!
//! The control plane is a process of its own ([`plane`]), the clients ([`http`]) and the hosts ([`hosts`]) live in this
//! one, on one thread. Both share the machine, so processor time per request stands beside the rates: on a machine
//! with more cores, or with clients elsewhere, the rate is what the control plane's share allows.

mod hosts;
mod http;
pub(crate) mod plane;
mod soak;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::task::JoinSet;

pub(crate) use soak::run as soak;

use crate::server::cpu_ms;
use crate::table::Table;
use hosts::{Event, Hosts};
use plane::{Plane, Target};

/// Clients at a time, each with a connection of its own; they ask again as soon as they are answered.
const N_CLIENTS: usize = 64;

/// Sessions that live at the same time.
const N_SESSIONS: usize = 10_000;

/// Creates and reads that are measured.
const N_REQUESTS: usize = 20_000;

/// Longest lease.
const LEASE_MINUTES: u32 = 1_440;

/// Nothing may take longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Everything but the held load.
pub(crate) fn run(table: &mut Table) -> Result<()> {
    runtime()?.block_on(async {
        creates(table).await.context("creates")?;
        for n in [0, 1_000, N_SESSIONS] {
            live(n, table).await.with_context(|| format!("{n} live sessions"))?;
        }
        expiry(table).await.context("expiry")?;
        ended(table).await.context("ended sessions")
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Creates that are durable when they are answered. No host comes to life, so that nothing else is done.
async fn creates(table: &mut Table) -> Result<()> {
    let data = tempfile::tempdir()?;
    let plane = Plane::start(data.path(), 0, 0).await?;
    let request = |at: usize| plane.requests.create(&format!("c{at}"), LEASE_MINUTES);
    // Only what is measured should be cold nowhere.
    drive(plane.target(), N_CLIENTS, 0..500, 201, request).await?;
    let before = commits(&plane).await?;
    let load = drive(plane.target(), N_CLIENTS, 500..500 + N_REQUESTS, 201, request).await?;
    let after = commits(&plane).await?;
    load.tell(table, "durable creates", "≥ 2000");
    let rows = after.rows - before.rows;
    let micros = (after.seconds - before.seconds) * 1e6;
    table.add("durable creates: the store alone, per session", "µs", &[micros / rows], "");
    table.add("durable creates: sessions in a commit", "", &[rows / (after.n - before.n)], "");
    Ok(())
}

/// What the control plane has with `n` sessions whose hosts are linked, and how it comes back after a crash.
async fn live(n: usize, table: &mut Table) -> Result<()> {
    let data = tempfile::tempdir()?;
    let mut plane = Plane::start(data.path(), 0, 0).await?;
    let mut hosts = Hosts::new();
    if n > 0 {
        fill(&mut plane, &mut hosts, n, table).await?;
    }
    if n == N_SESSIONS {
        reads(&plane, n, table).await?;
        list(&plane, n, table).await?;
    }
    for _ in 0..if n < N_SESSIONS { 3 } else { 1 } {
        recover(&mut plane, data.path(), &mut hosts, n, table).await?;
    }
    Ok(())
}

/// Creates `n` sessions with hosts and waits until all are Ready.
async fn fill(plane: &mut Plane, hosts: &mut Hosts, n: usize, table: &mut Table) -> Result<()> {
    let empty_kib = plane.rss_kib()?;
    let began = Instant::now();
    let (requests, pid) = (plane.requests.clone(), plane.pid());
    let cpu_before = cpu_ms(pid)?;
    let mut filling = std::pin::pin!(drive(plane.target(), N_CLIENTS, 0..n, 201, |at| {
        requests.create(&format!("s{at}"), LEASE_MINUTES)
    }));
    let mut n_linked = 0;
    let mut filled = false;
    while !filled || n_linked < n {
        tokio::select! {
            done = &mut filling, if !filled => {
                done?;
                filled = true;
            }
            order = plane.orders.recv() => {
                hosts.start(order.context("the control plane ended")?);
            }
            event = hosts.next() => match event? {
                Event::Linked { again: false } => n_linked += 1,
                other => bail!("{other:?} after {n_linked} of {n} hosts linked up"),
            },
            () = tokio::time::sleep(PATIENCE) => bail!("{n_linked} of {n} hosts linked up"),
        }
    }
    // All at once would be a load of its own.
    let mut connection = plane.connect().await?;
    for at in (0..n).rev() {
        until_ready(&mut connection, &plane.requests.get(&format!("s{at}"))).await?;
    }
    let secs = began.elapsed().as_secs_f64();
    table.add(format!("create → Ready, {n} at once: a second"), "1/s", &[n as f64 / secs], "");
    let cpu = (cpu_ms(pid)? - cpu_before) * 1e3 / n as f64;
    table.add(format!("create → Ready, {n} at once: processor time each"), "µs", &[cpu], "");
    let each = (plane.rss_kib()? - empty_kib) / n as f64;
    table.add(format!("memory per live session, {n} of them"), "KiB", &[each], "");
    table.add(format!("memory with {n} live sessions"), "MiB", &[plane.rss_kib()? / 1024.0], "");
    Ok(())
}

async fn until_ready(connection: &mut http::Connection, get: &[u8]) -> Result<()> {
    let began = Instant::now();
    loop {
        let answer = connection.ask(get).await?;
        let text = std::str::from_utf8(answer.body)?;
        if text.contains("\"Ready\"") {
            return Ok(());
        }
        if !text.contains("\"Starting\"") || began.elapsed() > PATIENCE {
            bail!("a session did not become Ready: {} {text}", answer.status);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Properties of sessions, with one client and with many.
async fn reads(plane: &Plane, n: usize, table: &mut Table) -> Result<()> {
    let request = |at: usize| plane.requests.get(&format!("s{}", at.wrapping_mul(7_919) % n));
    let alone = drive(plane.target(), 1, 0..N_REQUESTS / 10, 200, request).await?;
    table.add("GET properties, one client", "ms", &alone.times_ms, "");
    drive(plane.target(), N_CLIENTS, 0..N_REQUESTS, 200, request).await?.tell(table, "GET properties", "");
    Ok(())
}

/// The whole list, page by page.
async fn list(plane: &Plane, n: usize, table: &mut Table) -> Result<()> {
    let mut connection = plane.connect().await?;
    let (mut pages_ms, mut lists_ms) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let began = Instant::now();
        let mut request = plane.requests.list();
        let mut n_listed = 0;
        loop {
            let page_began = Instant::now();
            let answer = connection.ask(&request).await?;
            if answer.status != 200 {
                bail!("a page is answered with {}", answer.status);
            }
            pages_ms.push(page_began.elapsed().as_secs_f64() * 1e3);
            let page: Value = serde_json::from_slice(answer.body)?;
            n_listed += page["sessions"].as_array().map_or(0, Vec::len);
            match page["@nextLink"].as_str() {
                Some(next) => request = plane.requests.page(next)?,
                None => break,
            }
        }
        if n_listed != n {
            bail!("{n_listed} of {n} sessions are listed");
        }
        lists_ms.push(began.elapsed().as_secs_f64() * 1e3);
    }
    table.add(format!("list of {n} sessions, a page of 100"), "ms", &pages_ms, "");
    table.add(format!("list of {n} sessions, all pages"), "ms", &lists_ms, "");
    Ok(())
}

/// Kills the control plane and starts it again.
async fn recover(
    plane: &mut Plane,
    data: &std::path::Path,
    hosts: &mut Hosts,
    n: usize,
    table: &mut Table,
) -> Result<()> {
    plane.kill();
    let port = plane.requests.host.port();
    let began = Instant::now();
    *plane = Plane::start(data, port, 0).await?;
    let mut connection = plane.connect().await?;
    let answer = connection.ask(&plane.requests.list()).await?;
    if answer.status != 200 {
        bail!("the list is answered with {}", answer.status);
    }
    let back_ms = began.elapsed().as_secs_f64() * 1e3;
    table.add(format!("kill -9 → answers again, {n} sessions"), "ms", &[back_ms], "≤ 2000");
    if n == 0 {
        return Ok(());
    }
    let mut n_back = 0;
    while n_back < n {
        match tokio::time::timeout(PATIENCE, hosts.next()).await {
            Ok(Ok(Event::Linked { again: true })) => n_back += 1,
            Ok(Ok(other)) => bail!("{other:?} after {n_back} of {n} hosts came back"),
            Ok(Err(error)) => return Err(error),
            Err(_) => bail!("{n_back} of {n} hosts came back"),
        }
    }
    let linked_ms = began.elapsed().as_secs_f64() * 1e3;
    table.add(format!("kill -9 → all hosts linked again, {n}"), "ms", &[linked_ms], "");
    for at in 0..n {
        let answer = connection.ask(&plane.requests.get(&format!("s{at}"))).await?;
        if !std::str::from_utf8(answer.body)?.contains("\"Ready\"") {
            bail!("session s{at} is not Ready any more: {}", String::from_utf8_lossy(answer.body));
        }
    }
    Ok(())
}

/// A thousand leases of a minute, begun over fifty seconds, then as fast as they can be created.
async fn expiry(table: &mut Table) -> Result<()> {
    const N: usize = 1_000;
    for (name, spread) in [("within a minute", Duration::from_secs(50)), ("at once", Duration::ZERO)] {
        let data = tempfile::tempdir()?;
        let mut plane = Plane::start(data.path(), 0, 1).await?;
        let mut hosts = Hosts::new();
        let mut connection = plane.connect().await?;
        let began = Instant::now();
        let mut late_ms = Vec::with_capacity(N);
        let mut n_created = 0;
        while late_ms.len() < N {
            let next = began + spread.mul_f64(n_created as f64 / N as f64);
            tokio::select! {
                biased;
                order = plane.orders.recv() => hosts.start(order.context("the control plane ended")?),
                event = hosts.next() => match event? {
                    Event::Expired { late_ms: late } => late_ms.push(late),
                    Event::Ended | Event::Linked { again: false } => {}
                    Event::Linked { again: true } => bail!("a link broke"),
                },
                () = tokio::time::sleep_until(next.into()), if n_created < N => {
                    connection.timed(&plane.requests.create(&format!("e{n_created}"), 1), 201).await?;
                    n_created += 1;
                }
                () = tokio::time::sleep(PATIENCE) => bail!("{} of {N} leases ended", late_ms.len()),
            }
        }
        table.add(format!("end of {N} leases {name}, after its time"), "ms", &late_ms, "p99 ≤ 100, ≥ 0");
    }
    Ok(())
}

/// What sessions that have ended leave in memory: nothing, once caches are full and tables have their size.
async fn ended(table: &mut Table) -> Result<()> {
    const N: usize = 2_000;
    const N_ROUNDS: usize = 60;
    let data = tempfile::tempdir()?;
    let plane = Plane::start(data.path(), 0, 0).await?;
    let mut kib = Vec::with_capacity(N_ROUNDS);
    for round in 0..N_ROUNDS {
        let numbers = round * N..(round + 1) * N;
        let create = |at: usize| plane.requests.create(&format!("o{at}"), LEASE_MINUTES);
        drive(plane.target(), N_CLIENTS, numbers.clone(), 201, create).await?;
        drive(plane.target(), N_CLIENTS, numbers, 204, |at| plane.requests.stop(&format!("o{at}"))).await?;
        kib.push(plane.rss_kib()?);
    }
    for (n_rounds, promise) in [(N_ROUNDS / 2, ""), (N_ROUNDS, "flat")] {
        let name = format!("memory after {} ended sessions", N * n_rounds);
        table.add(name, "MiB", &[kib[n_rounds - 1] / 1024.0], promise);
    }
    Ok(())
}

/// What the store did so far.
struct Commits {
    n: f64,
    rows: f64,
    seconds: f64,
}

async fn commits(plane: &Plane) -> Result<Commits> {
    let mut connection = plane.connect().await?;
    let answer = connection.ask(&plane.requests.metrics()).await?;
    let text = std::str::from_utf8(answer.body)?;
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        lines.next().and_then(|value| value.parse().ok()).with_context(|| format!("{name} is no metric"))
    };
    Ok(Commits {
        n: value("belvedere_store_commit_seconds_count")?,
        rows: value("belvedere_store_rows_total")?,
        seconds: value("belvedere_store_commit_seconds_sum")?,
    })
}

/// What a number of requests came to.
struct Load {
    times_ms: Vec<f64>,
    secs: f64,
    server_ms: f64,
    client_ms: f64,
}

impl Load {
    fn tell(&self, table: &mut Table, name: &str, promise: &'static str) {
        let n = self.times_ms.len() as f64;
        table.add(format!("{name}, {N_CLIENTS} clients: a second"), "1/s", &[n / self.secs], promise);
        table.add(format!("{name}, {N_CLIENTS} clients: each"), "ms", &self.times_ms, "");
        table.add(format!("{name}: processor time, control plane"), "µs", &[self.server_ms * 1e3 / n], "");
        table.add(format!("{name}: processor time, clients"), "µs", &[self.client_ms * 1e3 / n], "");
    }
}

/// Sends request number `n` for each of `numbers`, `n_clients` at a time.
async fn drive(
    target: Target,
    n_clients: usize,
    numbers: Range<usize>,
    expected: u16,
    request: impl Fn(usize) -> Vec<u8>,
) -> Result<Load> {
    let requests: Vec<Vec<u8>> = numbers.map(request).collect();
    let mut connections = Vec::with_capacity(n_clients);
    for _ in 0..n_clients {
        connections.push(http::Connection::open(target.host).await?);
    }
    let (own, n) = (std::process::id(), requests.len());
    let (server_before, client_before) = (cpu_ms(target.pid)?, cpu_ms(own)?);
    let began = Instant::now();
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for mut connection in connections {
        let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
        clients.spawn(async move {
            let mut times_ms = Vec::new();
            while let Some(request) = requests.get(next.fetch_add(1, Relaxed)) {
                times_ms.push(connection.timed(request, expected).await?);
            }
            anyhow::Ok(times_ms)
        });
    }
    let mut times_ms = Vec::with_capacity(n);
    while let Some(done) = clients.join_next().await {
        times_ms.extend(done??);
    }
    Ok(Load {
        times_ms,
        secs: began.elapsed().as_secs_f64(),
        server_ms: cpu_ms(target.pid)? - server_before,
        client_ms: cpu_ms(own)? - client_before,
    })
}
