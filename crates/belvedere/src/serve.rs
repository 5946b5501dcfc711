//! `belvedere`, `serve`, `view` and `host`: the long-running commands.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tracing_subscriber::EnvFilter;

use crate::config::{ServeArgs, Settings};

/// Environment variable with the log filter, in the syntax of `tracing_subscriber::EnvFilter`.
const ENV_LOG: &str = "BELVEDERE_LOG";

/// Lease of the session that the service makes for its own user: the longest there is.
const OWN_LEASE_MINUTES: u32 = protocol::rest::MAX_LEASE_MINUTES;

/// The session that a service makes by itself.
pub(crate) enum Shown {
    /// None.
    Nothing,
    /// The generated demo model.
    Demo,
    /// A file.
    Model(PathBuf),
}

/// Serves until interrupted.
pub(crate) fn run(args: &ServeArgs, shown: Shown) -> Result<()> {
    let began = Instant::now();
    log_to_stderr();
    let settings = args.settings()?;
    let demo = match shown {
        Shown::Nothing => None,
        Shown::Demo => Some(control::Demo {
            session: "demo".parse()?,
            model: "builtin://demo".to_owned(),
            lease_minutes: OWN_LEASE_MINUTES,
        }),
        Shown::Model(path) => Some(control::Demo {
            session: "view".parse()?,
            model: model_path(&path)?,
            lease_minutes: OWN_LEASE_MINUTES,
        }),
    };
    let config = control_config(settings, demo)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let interrupted = interrupted()?;
        let demo = config.demo.is_some();
        let mut running = control::start(config).await?;
        print!("{}", banner(&running, demo, began.elapsed()));
        let ended = tokio::select! {
            () = interrupted => Ok(()),
            () = running.broken() => Err(anyhow::anyhow!("a part of the service failed; the log above says which")),
        };
        running.stop().await;
        ended
    })
}

/// Serves one session, as told by the environment.
pub(crate) fn host() -> Result<()> {
    log_to_stderr();
    host::run(host::HostConfig::from_env()?)
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_env(ENV_LOG).unwrap_or_else(|_unset| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A host outlives a control plane that was killed, and with it the reader of its log; the complaint about
        // that would go to the same broken pipe and panic.
        .log_internal_errors(false)
        .init();
}

/// The model's path as the host gets it: absolute, and known to exist.
fn model_path(path: &Path) -> Result<String> {
    let found =
        path.canonicalize().with_context(|| format!("the model {} cannot be opened", path.display()))?;
    let extension = found.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if !found.is_file() || !["glb", "gltf"].iter().any(|known| extension.eq_ignore_ascii_case(known)) {
        bail!("{} is not a model; `belvedere view` opens .glb and .gltf files", path.display());
    }
    found.to_str().map(str::to_owned).with_context(|| format!("the path {} is not UTF-8", path.display()))
}

fn control_config(settings: Settings, demo: Option<control::Demo>) -> Result<control::Config> {
    let own = std::env::current_exe().context("the program cannot find itself to start hosts")?;
    let address = |wanted: SocketAddr| if settings.default_ports { free_or_any(wanted) } else { wanted };
    Ok(control::Config {
        listen_http: address(settings.listen_http),
        listen_https: address(settings.listen_https),
        models_dir: settings.models,
        demo,
        n_warm_hosts: settings.warm_hosts,
        rate_limit: settings.rate_limit,
        cors_origins: settings.cors_origins,
        oidc_issuers: settings.oidc_issuers,
        ..control::Config::new(settings.data, vec![own.into(), "host".into()])
    })
}

/// `wanted`, or any free port beside it when another program has it: a newcomer's first start should not fail on that.
fn free_or_any(wanted: SocketAddr) -> SocketAddr {
    match TcpListener::bind(wanted) {
        Ok(_free_again) => wanted,
        Err(_taken) => SocketAddr::new(wanted.ip(), 0),
    }
}

/// Resolves at Ctrl-C or SIGTERM. Made before the service starts, so that none is missed.
fn interrupted() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = int.recv() => (),
            _ = term.recv() => (),
        }
    })
}

/// What somebody who just started the service wants to know.
fn banner(running: &control::Running, demo: bool, took: Duration) -> String {
    let (ready, paths) = (&running.ready, &running.paths);
    let mut rows = vec![
        (if demo { "Open" } else { "Viewer" }, ready.viewer_url.clone()),
        ("REST", format!("{}  (without TLS: {})", ready.https, ready.http)),
        ("Account", format!("{}  (keys in {})", running.account.id, paths.account.display())),
        ("CA file", paths.ca.display().to_string()),
    ];
    if !host::encoder_has_assembly() {
        let note =
            "built without nasm, so encoding video takes three times as long; install nasm and build again";
        rows.push(("Note", note.to_owned()));
    }
    let rows: String = rows.into_iter().map(|(name, value)| format!("  {name:<8} {value}\n")).collect();
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "Belvedere {version} serves, {} ms after its start. Ctrl-C ends it.\n\n{rows}\n",
        took.as_millis()
    )
}
