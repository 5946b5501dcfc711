//! `belvedere`, `serve`, `view` and `host`: the long-running commands.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::{LogFormat, ServeArgs, Settings};

/// What is logged if nobody says what.
const LOG: &str = "warn";

/// What a host is told by the service that starts it, beside the link in its environment.
#[derive(Args, Debug, Default)]
pub(crate) struct HostArgs {
    /// What is logged.
    #[arg(long)]
    log: Option<String>,
    /// As JSON.
    #[arg(long)]
    log_json: bool,
    /// Collector of traces.
    #[arg(long)]
    otlp_endpoint: Option<String>,
    /// Where media is received.
    #[arg(long)]
    media_listen: Option<SocketAddr>,
    /// Where clients send it.
    #[arg(long)]
    media_advertise: Option<IpAddr>,
}

impl HostArgs {
    /// The same as a command line.
    fn to_args(&self) -> Vec<OsString> {
        let pairs = [
            ("--log", self.log.clone()),
            ("--otlp-endpoint", self.otlp_endpoint.clone()),
            ("--media-listen", self.media_listen.map(|address| address.to_string())),
            ("--media-advertise", self.media_advertise.map(|ip| ip.to_string())),
        ];
        let given = pairs.into_iter().filter_map(|(flag, value)| Some([flag.into(), value?.into()]));
        given.flatten().chain(self.log_json.then(|| "--log-json".into())).collect()
    }
}

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
    let (settings, warnings) = args.settings()?;
    let otlp_endpoint = settings.otlp_endpoint.as_deref();
    let exporter = subscribe(settings.log.as_deref(), settings.log_format, otlp_endpoint, "belvedere")?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
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
    let drain_limit = settings.drain_limit;
    let config = control_config(settings, demo)?;
    let ended = tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let mut signals = Signals::new()?;
        let demo = config.demo.is_some();
        let mut running = control::start(config).await?;
        print!("{}", banner(&running, demo, began.elapsed()));
        let ended = loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Reload => running.reload_certificates(),
                    Signal::End => break Ok(()),
                    Signal::Drain => {
                        drain(&running, &mut signals, drain_limit).await;
                        break Ok(());
                    }
                },
                () = running.broken() => {
                    break Err(anyhow::anyhow!("a part of the service failed; the log above says which"));
                }
            }
        };
        running.stop().await;
        ended
    });
    if let Some(exporter) = exporter {
        exporter.finish();
    }
    ended
}

/// Serves one session, as told by the environment.
pub(crate) fn host(args: &HostArgs) -> Result<()> {
    let format = if args.log_json { LogFormat::Json } else { LogFormat::Text };
    let exporter = subscribe(args.log.as_deref(), format, args.otlp_endpoint.as_deref(), "belvedere-host")?;
    let mut config = host::HostConfig::from_env()?;
    if let Some(listen) = args.media_listen {
        config.media_listen = listen;
    }
    config.media_advertise = args.media_advertise.or(config.media_advertise);
    let ended = host::run(config);
    if let Some(exporter) = exporter {
        exporter.finish();
    }
    ended
}

/// Sends what happens to where it is read: events to standard error, and the spans of `service` to the collector at
/// `otlp_endpoint`, if there is one.
fn subscribe(
    filter: Option<&str>,
    format: LogFormat,
    otlp_endpoint: Option<&str>,
    service: &'static str,
) -> Result<Option<telemetry::Exporter>> {
    let filter = match filter {
        Some(filter) => EnvFilter::new(filter),
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new(LOG)),
    };
    // Spans are for the collector; in the log, they would stand before every line.
    let filter = filter.add_directive(format!("{}=off", telemetry::TARGET).parse()?);
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        // A host outlives a control plane that was killed, and with it the reader of its log; the complaint about
        // that would go to the same broken pipe and panic.
        .log_internal_errors(false);
    let log = match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    let version = env!("CARGO_PKG_VERSION");
    let exporter =
        otlp_endpoint.map(|endpoint| telemetry::Exporter::new(endpoint, service, version)).transpose()?;
    let traces = exporter.as_ref().map(telemetry::Exporter::layer);
    tracing_subscriber::registry().with(log.with_filter(filter)).with(traces).init();
    Ok(exporter)
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
    let host = HostArgs {
        log: settings.log,
        log_json: settings.log_format == LogFormat::Json,
        otlp_endpoint: settings.otlp_endpoint,
        media_listen: settings.media.listen,
        media_advertise: settings.media.advertise,
    };
    let command = [own.into(), "host".into()].into_iter().chain(host.to_args()).collect();
    let address = |wanted: SocketAddr| if settings.default_ports { free_or_any(wanted) } else { wanted };
    let defaults = control::Config::new(settings.data, command);
    Ok(control::Config {
        listen_http: address(settings.listen_http),
        listen_https: address(settings.listen_https),
        allow_remote: settings.allow_remote,
        hostname: settings.hostname,
        certificates: settings.certificates,
        handshake_port: settings.handshake_port,
        inspector_port: settings.inspector_port,
        models_dir: settings.models,
        demo,
        sizes: settings.sizes,
        n_hosts_max: settings.max_hosts.unwrap_or(defaults.n_hosts_max),
        rate_limit: settings.rate_limit,
        refusal_limit: settings.refusal_limit,
        audit: settings.audit,
        cors_origins: settings.cors_origins,
        oidc_issuers: settings.oidc_issuers,
        management_token: settings.management_token,
        ..defaults
    })
}

/// `wanted`, or any free port beside it when another program has it: a newcomer's first start should not fail on that.
fn free_or_any(wanted: SocketAddr) -> SocketAddr {
    match TcpListener::bind(wanted) {
        Ok(_free_again) => wanted,
        Err(_taken) => SocketAddr::new(wanted.ip(), 0),
    }
}

/// What people and service managers ask for by signals.
enum Signal {
    /// SIGINT: somebody at the terminal wants it to end.
    End,
    /// SIGTERM: end when the sessions have ended.
    Drain,
    /// SIGHUP: look at the certificate files.
    Reload,
}

struct Signals {
    int: tokio::signal::unix::Signal,
    term: tokio::signal::unix::Signal,
    hup: tokio::signal::unix::Signal,
}

impl Signals {
    /// Made before the service starts, so that none is missed.
    fn new() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            int: signal(SignalKind::interrupt())?,
            term: signal(SignalKind::terminate())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.int.recv() => Signal::End,
            _ = self.term.recv() => Signal::Drain,
            _ = self.hup.recv() => Signal::Reload,
        }
    }
}

/// Lets the sessions end by themselves, until `limit` or a second signal.
async fn drain(running: &control::Running, signals: &mut Signals, limit: Duration) {
    eprintln!(
        "Draining: no new sessions; those that run have {} s. A second signal ends them now.",
        limit.as_secs()
    );
    let end = tokio::time::sleep(limit);
    let drained = running.drain();
    tokio::pin!(end, drained);
    loop {
        tokio::select! {
            () = &mut drained => return tracing::info!("all sessions have ended"),
            () = &mut end => return tracing::info!("the drain limit has come"),
            signal = signals.next() => match signal {
                Signal::Reload => running.reload_certificates(),
                Signal::End | Signal::Drain => return tracing::info!("told again to end"),
            },
        }
    }
}

/// What somebody who just started the service wants to know.
fn banner(running: &control::Running, demo: bool, took: Duration) -> String {
    let (ready, paths) = (&running.ready, &running.paths);
    let mut rows = vec![
        (if demo { "Open" } else { "Viewer" }, ready.viewer_url.clone()),
        ("Console", ready.console_url.clone()),
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
