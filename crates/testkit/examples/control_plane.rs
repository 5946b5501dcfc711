//! A control plane whose hosts are simulated: for suites of other people's SDKs that need more sessions than a machine
//! has room for hosts. REST, token service, TLS and store are the real ones.
//!
//! `control_plane DATA` serves on free ports, as `belvedere serve --data DATA` would, until it is interrupted.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

const N_HOSTS_MAX: u32 = 10_000;

fn main() -> ExitCode {
    let Some(data) = std::env::args_os().nth(1) else {
        eprintln!("usage: control_plane DATA");
        return ExitCode::FAILURE;
    };
    match run(data.into()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(data: PathBuf) -> Result<(), Box<dyn std::error::Error>> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut config = control::Config::new(data, Vec::new());
        (config.listen_http, config.listen_https) = (free, free);
        (config.handshake_port, config.inspector_port) = (0, 0);
        config.n_hosts_max = N_HOSTS_MAX;
        config.provisioner = Some(Arc::new(testkit::Fleet::default()));
        let running = control::start(config).await?;
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
        running.stop().await;
        Ok(())
    })
}
