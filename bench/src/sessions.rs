//! From the request for a session to Ready.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use client::rest::Client;
use protocol::SessionId;
use protocol::rest::{SessionSize, SessionStatus};

use crate::Tools;
use crate::server::Server;
use crate::table::Table;

/// Measures process start, and create → Ready with a warm host waiting and without.
pub(crate) fn run(tools: &Tools, table: &mut Table) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut starts = Vec::new();
    for _ in 0..5 {
        starts.push(Server::start(tools, &[])?.start.as_secs_f64() * 1e3);
    }
    table.add("process start → serving", "ms", &starts, "≤ 1000");

    let server = Server::start(tools, &[])?;
    let client = server.client()?;
    let warm = runtime.block_on(create_many(&client, "warm", 200, Duration::from_millis(700)))?;
    table.add("create → Ready, warm host", "ms", &warm, "p50 ≤ 20, p99 ≤ 150");
    drop(server);

    let server = Server::start(tools, &["--warm-hosts", "0"])?;
    let client = server.client()?;
    let cold = runtime.block_on(create_many(&client, "cold", 12, Duration::from_millis(200)))?;
    table.add("create → Ready, no warm host", "ms", &cold, "p95 ≤ 1000");
    Ok(())
}

/// Creates sessions one after the other, each stopped again; `pause` lets the pool refill in between.
async fn create_many(client: &Client, prefix: &str, n: usize, pause: Duration) -> Result<Vec<f64>> {
    client.token().await?;
    let mut times = Vec::new();
    for at in 0..n {
        tokio::time::sleep(pause).await;
        let id: SessionId = format!("{prefix}-{at}").parse()?;
        let began = Instant::now();
        until_ready(client, &id).await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        client.stop(&id).await?;
    }
    Ok(times)
}

/// Creates a session and polls, as an SDK would but without its pauses, until it is Ready.
pub(crate) async fn until_ready(client: &Client, id: &SessionId) -> Result<()> {
    let mut session = client.create(id, SessionSize::Standard, 10).await?;
    let began = Instant::now();
    while session.status == SessionStatus::Starting && began.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_micros(500)).await;
        session = client.get(id).await?;
    }
    if session.status != SessionStatus::Ready {
        bail!("session {id} became {:?}: {:?}", session.status, session.error);
    }
    Ok(())
}
