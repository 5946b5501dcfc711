//! Bringing the control plane up, and down again.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::rest::SessionSize;
use protocol::{AccountId, IdError, SessionId};
use serde::{Deserialize, Serialize};
use session::Minutes;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

use crate::accounts::{self, AccountError, AccountFile};
use crate::audit::{Audit, AuditLimits};
use crate::clock::{Clock, SystemClock};
use crate::engine::view::View;
use crate::engine::{EVENTS_MAX, Engine, Event, Limits, Refused, Start, Wish};
use crate::files::{FolderError, FolderLock, lock_folder, write_private};
use crate::http::cors::{Origin, Origins};
use crate::http::listen::{self, SESSION_PORTS, bind_session_port};
use crate::http::management::ManagementToken;
use crate::http::rates::Rates;
use crate::http::{App, Entrance, Place, asking, correlation_vector};
use crate::metrics::Metrics;
use crate::oidc::{Issuers, OidcIssuer};
use crate::provision::{Cgroups, Local, Provisioner};
use crate::rate::RateLimit;
use crate::secrets::Random;
use crate::sizes::{self, Machine, Sizes};
use crate::store::{Account, Store, StoreError};
use crate::tls::{self, Certificates, Tls, TlsError};
use crate::tokens::{Role, TokenError, Tokens};

/// How long hosts may take to end when the service ends: goodbye, SIGTERM, SIGKILL, and some.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// 100 per second, 1,000 at once: a back end that looks at its sessions one by one every few seconds has some hundred
/// of them before it notices; a client in a tight loop notices within seconds.
pub const DEFAULT_RATE_LIMIT: RateLimit = RateLimit::of(6_000);

/// 5 per second, 50 at once: who holds a wrong key notices, and a log survives who does not.
pub const DEFAULT_REFUSAL_LIMIT: RateLimit = RateLimit::of(300);

/// How a control plane is to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Everything it keeps: database, keys, certificates.
    pub data_dir: PathBuf,
    /// Plain HTTP: viewer, REST for people, links of local hosts. Port 0 takes a free one.
    pub listen_http: SocketAddr,
    /// HTTPS. Port 0 takes a free one. The session ports listen at the same address.
    pub listen_https: SocketAddr,
    /// Must be set to listen beyond loopback.
    pub allow_remote: bool,
    /// What sessions report as `handshakePort`, 49152 to 65534; 0 takes a free one, and so does a taken one.
    pub handshake_port: u16,
    /// What sessions report as `arrInspectorPort`, likewise.
    pub inspector_port: u16,
    /// The name by which clients reach this machine; sessions report it, the certificate has it.
    pub hostname: String,
    /// Where the certificate of the TLS listeners comes from.
    pub certificates: Certificates,
    /// Program and first arguments that start a host.
    pub host_command: Vec<OsString>,
    /// Folder that clients may load models from.
    pub models_dir: Option<PathBuf>,
    /// A session to create at start.
    pub demo: Option<Demo>,
    /// What a session of each size may use, hosts to keep warm, and how many there may be of one size.
    pub sizes: Sizes,
    /// Sessions of all sizes that have hosts at the same time.
    pub n_hosts_max: u32,
    /// Requests of one account for one class of operations, and for tokens from one address.
    pub rate_limit: RateLimit,
    /// Answers 401 and 403 to one address; beyond it they are 429.
    pub refusal_limit: RateLimit,
    /// How much the audit log may take.
    pub audit: AuditLimits,
    /// Pages of these origins may call the API from browsers, beside those that we serve.
    pub cors_origins: Vec<Origin>,
    /// Issuers whose tokens the token service exchanges for its own.
    pub oidc_issuers: Vec<OidcIssuer>,
    /// What opens the management API; without it, there is none.
    pub management_token: Option<ManagementToken>,
    /// The time; the machine's, going on from the last start, if there is none.
    pub clock: Option<Arc<dyn Clock>>,
    /// What starts hosts, instead of `host_command`.
    pub provisioner: Option<Arc<dyn Provisioner>>,
}

impl Config {
    /// The defaults for a data folder, on loopback.
    pub fn new(data_dir: impl Into<PathBuf>, host_command: Vec<OsString>) -> Self {
        let machine = Machine::detect();
        let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self {
            data_dir: data_dir.into(),
            listen_http: loopback(8080),
            listen_https: loopback(8443),
            allow_remote: false,
            handshake_port: 50_051,
            inspector_port: 50_052,
            hostname: "localhost".to_owned(),
            certificates: Certificates::Own,
            host_command,
            models_dir: None,
            demo: None,
            sizes: Sizes::for_machine(&machine),
            n_hosts_max: sizes::n_hosts_max(&machine),
            cors_origins: Vec::new(),
            oidc_issuers: Vec::new(),
            management_token: None,
            rate_limit: DEFAULT_RATE_LIMIT,
            refusal_limit: DEFAULT_REFUSAL_LIMIT,
            audit: AuditLimits::DEFAULT,
            clock: None,
            provisioner: None,
        }
    }
}

/// A session that is created at start, for whoever opens the printed URL.
#[derive(Clone, Debug)]
pub struct Demo {
    /// Its id; if an ended session has it, a few characters are added.
    pub session: SessionId,
    /// Path of its model on the host's machine, or `builtin://demo`.
    pub model: String,
    /// Its lease, at most 1440.
    pub lease_minutes: u32,
}

/// The content of `ready.json`: where everything is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// Base URL over HTTP.
    pub http: String,
    /// Base URL over HTTPS; both API roles.
    pub https: String,
    /// TCP port that sessions report.
    pub handshake_port: u16,
    /// TCP port that sessions report.
    pub inspector_port: u16,
    /// The viewer; with the demo session and its token, if there is one. Keep it as secret as a password.
    pub viewer_url: String,
    /// The console; with the account and a token, if there is a demo session. As secret as [`Self::viewer_url`].
    pub console_url: String,
}

/// Files of the data folder.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Account id, keys, endpoint.
    pub account: PathBuf,
    /// The certificate to trust.
    pub ca: PathBuf,
    /// The database.
    pub db: PathBuf,
    /// [`Ready`], while it serves.
    pub ready: PathBuf,
}

/// Why the control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot be.
    #[error("{0}")]
    Config(String),
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The database failed.
    #[error("the database {path:?} cannot be used")]
    Store {
        /// Which.
        path: PathBuf,
        /// What is wrong and what to do about it.
        source: StoreError,
    },
    /// The accounts could not be read or written.
    #[error("failed to set up the account")]
    Account(#[from] AccountError),
    /// The signing key could not be had.
    #[error("failed to set up access tokens")]
    Token(#[from] TokenError),
    /// The client that asks issuers for their keys could not be made.
    #[error("failed to set up the client for issuers of tokens")]
    Oidc(#[source] reqwest::Error),
    /// The certificates could not be had.
    #[error("failed to set up TLS")]
    Tls(#[from] TlsError),
    /// An address cannot be listened at.
    #[error("failed to listen at {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("failed to write {path:?}")]
    File {
        /// Which.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The demo session was refused.
    #[error("failed to create the demo session: {0}")]
    Demo(String),
}

/// A control plane that serves. Dropping it cuts everything off as a crash would: hosts live on and link up with
/// the next one. [`Running::stop`] ends it properly.
pub struct Running {
    /// Where everything is.
    pub ready: Ready,
    /// The first account.
    pub account: Account,
    /// The files of the data folder.
    pub paths: Paths,
    /// The bound address of HTTP.
    pub http_address: SocketAddr,
    /// The bound address of HTTPS.
    pub https_address: SocketAddr,
    tokens: Arc<Tokens>,
    clock: Arc<dyn Clock>,
    engine: mpsc::Sender<Event>,
    shutdown: watch::Sender<bool>,
    reload: Arc<Notify>,
    audit: Arc<Audit>,
    store: Store,
    listeners: JoinSet<()>,
    deciding: JoinSet<()>,
    _lock: FolderLock,
}

/// Starts a control plane on the current Tokio runtime; returns when it serves.
///
/// # Errors
///
/// [`StartError`] says what is in the way; nothing is left behind then.
pub async fn start(config: Config) -> Result<Running, StartError> {
    check(&config)?;
    let dir = &config.data_dir;
    let lock = lock_folder(dir)?;
    let paths = Paths {
        account: accounts::account_path(dir),
        ca: tls::ca_path(&dir.join("tls")),
        db: accounts::db_path(dir),
        ready: dir.join("ready.json"),
    };
    // Left by a server that was killed; whoever waits for it must not take it for ours.
    remove_if_there(&paths.ready)?;

    let failed = |source| StartError::Store { path: paths.db.clone(), source };
    let store = Store::open(&paths.db).await.map_err(failed)?;
    let account = match store.accounts().await.map_err(failed)?.into_iter().next() {
        Some(account) => account,
        None => accounts::create_in(&store, "default").await.map_err(failed)?,
    };
    let clock: Arc<dyn Clock> = match &config.clock {
        Some(clock) => Arc::clone(clock),
        None => {
            let kept = SystemClock::kept_in(dir, OffsetDateTime::now_utc());
            Arc::new(kept.map_err(|source| StartError::File { path: dir.join("clock"), source })?)
        }
    };
    let tokens = Arc::new(Tokens::open(&store, &config.hostname, clock.as_ref()).await?);
    let audit_dir = accounts::audit_path(dir);
    let audit = Audit::open(&audit_dir, config.audit)
        .map_err(|source| StartError::File { path: audit_dir, source })?;
    let audit = Arc::new(audit);
    let certificates = Tls::open(
        &config.certificates,
        &dir.join("tls"),
        &names(&config.hostname),
        &config.hostname,
        &clock,
    )?;
    let tls = TlsAcceptor::from(Arc::clone(&certificates.config));

    let (http, http_address) = bind(config.listen_http).await?;
    let (https, https_address) = bind(config.listen_https).await?;
    let (handshake, handshake_address) = bind_session(https_address.ip(), config.handshake_port).await?;
    let (inspector, inspector_address) = bind_session(https_address.ip(), config.inspector_port).await?;

    let models_dir = config.models_dir.as_ref().map(|dir| dir.display().to_string());
    let limits = Limits {
        sizes: config.sizes,
        n_hosts_max: config.n_hosts_max,
        link_url: format!("ws://{}/internal/link", reachable(http_address)),
        models_dir,
    };
    let provisioner = config
        .provisioner
        .clone()
        .unwrap_or_else(|| Arc::new(Local::new(config.host_command.clone(), cgroups())));
    let view = Arc::new(View::default());
    let metrics = Arc::new(Metrics::default());
    let (engine, news) = Engine::restore(
        Arc::new(store.clone()),
        Arc::clone(&clock),
        provisioner,
        Arc::clone(&view),
        Arc::clone(&metrics),
        limits,
        Random::of_the_machine(),
    )
    .await
    .map_err(failed)?;
    let (events, inlet) = mpsc::channel(EVENTS_MAX);
    let mut deciding = JoinSet::new();
    let credentials = engine.credentials();
    deciding.spawn(engine.run(inlet, news));
    deciding.spawn(Arc::clone(&tokens).keep(store.clone(), Arc::clone(&clock)));

    let account_domain = format!("{}:{}", config.hostname, https_address.port());
    let app = Arc::new(App {
        engine: events.clone(),
        view,
        store: store.clone(),
        tokens: Arc::clone(&tokens),
        clock: Arc::clone(&clock),
        place: Place {
            hostname: config.hostname.clone(),
            account_domain: account_domain.clone(),
            handshake_port: handshake_address.port(),
            inspector_port: inspector_address.port(),
            sizes: config.sizes,
        },
        credentials,
        rates: Rates::new(config.rate_limit, config.refusal_limit),
        metrics,
        issuers: Issuers::new(config.oidc_issuers.clone(), Arc::clone(&clock)).map_err(StartError::Oidc)?,
        certificate: Arc::clone(&certificates.current),
        audit: Arc::clone(&audit),
        origins: Origins::new(config.cors_origins.clone()),
        management: config.management_token.clone(),
    });
    for account in store.accounts_to_close().await.map_err(failed)? {
        // The engine stops their sessions in its own time; nobody can reach them any more.
        let (reply, _nobody_waits) = oneshot::channel();
        let _ended_already = events.send(Event::CloseAccount { account, reply }).await.is_err();
    }
    let (shutdown, ending) = watch::channel(false);
    let mut listeners = JoinSet::new();
    for (listener, address, tls) in [
        (http, http_address, None),
        (https, https_address, Some(&tls)),
        (handshake, handshake_address, Some(&tls)),
        (inspector, inspector_address, Some(&tls)),
    ] {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let authority = reachable(address).to_string().into();
        let entrance = Entrance { scheme, authority, peer: address.ip() };
        listeners.spawn(listen::run(listener, tls.cloned(), Arc::clone(&app), entrance, ending.clone()));
    }
    // After the listeners: an ACME server looks at what they answer.
    let reload = Arc::new(Notify::new());
    deciding.spawn(certificates.keep(Arc::clone(&clock), Arc::clone(&reload)));

    let mut ready = Ready {
        http: format!("http://{}", reachable(http_address)),
        https: format!("https://{}:{}", config.hostname, https_address.port()),
        handshake_port: handshake_address.port(),
        inspector_port: inspector_address.port(),
        viewer_url: String::new(),
        console_url: String::new(),
    };
    ready.viewer_url = format!("{}/viewer/", ready.http);
    ready.console_url = format!("{}/console/", ready.http);
    if let Some(demo) = &config.demo {
        let session = create_demo(&events, account.id, demo).await?;
        let token = tokens.issue(account.id, Role::Client, clock.wall())?;
        // In the fragment, which browsers keep to themselves.
        let query = format!("?account={}&session={session}#token={token}", account.id);
        ready.viewer_url.push_str(&query);
        ready.console_url.push_str(&format!("?account={}#token={token}", account.id));
    }

    let account_file = AccountFile {
        account_id: account.id,
        account_key: account.primary_key.clone(),
        secondary_key: account.secondary_key.clone(),
        account_domain,
        endpoint: ready.https.clone(),
    };
    accounts::write_account_file(dir, &account_file)?;
    // Strings and numbers in a struct always serialise.
    let json = serde_json::to_vec_pretty(&ready).unwrap_or_default();
    write_private(&paths.ready, &json)
        .map_err(|source| StartError::File { path: paths.ready.clone(), source })?;
    tracing::info!(http = ready.http, https = ready.https, account = %account.id, "serving");

    Ok(Running {
        ready,
        account,
        paths,
        http_address,
        https_address,
        tokens,
        clock,
        engine: events,
        shutdown,
        reload,
        audit,
        store,
        listeners,
        deciding,
        _lock: lock,
    })
}

impl Running {
    /// An access token for 24 hours.
    ///
    /// # Errors
    ///
    /// Only if signing fails.
    pub fn issue_token(&self, account: AccountId, role: Role) -> Result<String, TokenError> {
        self.tokens.issue(account, role, self.clock.wall())
    }

    /// Waits for something to go wrong: returns only if a part of the service ended by itself.
    pub async fn broken(&mut self) {
        tokio::select! {
            _ = self.listeners.join_next() => {}
            _ = self.deciding.join_next() => {}
        }
    }

    /// Looks now whether certificate files have changed; it would be seen within a second or two anyway.
    pub fn reload_certificates(&self) {
        self.reload.notify_one();
    }

    /// Takes no new sessions from now on, and returns when the last one has ended. Drop the future to wait no longer;
    /// [`Self::stop`] then ends those that are left.
    pub async fn drain(&self) {
        let (reply, drained) = oneshot::channel();
        if self.engine.send(Event::Drain { reply }).await.is_ok() {
            let _ended_meanwhile = drained.await.is_err();
        }
    }

    /// Ends the sessions and their hosts, then the service; takes at most some seconds.
    pub async fn stop(mut self) {
        if let Err(error) = remove_if_there(&self.paths.ready) {
            tracing::warn!(error = &error as &dyn std::error::Error, "failed to remove a file");
        }
        let (reply, ended) = oneshot::channel();
        let told = self.engine.send(Event::Shutdown { reply }).await;
        if told.is_err() || !matches!(timeout(SHUTDOWN_TIMEOUT, ended).await, Ok(Ok(()))) {
            tracing::warn!("not all hosts ended in time");
        }
        // The listeners last: hosts say goodbye through them.
        self.shutdown.send_replace(true);
        while self.listeners.join_next().await.is_some() {}
        self.deciding.shutdown().await;
        self.store.close().await;
        self.audit.flush().await;
        tracing::info!("stopped");
    }
}

/// How memory of hosts is limited here.
fn cgroups() -> Option<Cgroups> {
    match Cgroups::find() {
        Ok(cgroups) => {
            tracing::info!(base = %cgroups.base().display(), "each host gets a cgroup that limits its memory");
            Some(cgroups)
        }
        Err(why) => {
            tracing::info!(why, "memory of hosts is limited by RLIMIT_DATA");
            None
        }
    }
}

fn check(config: &Config) -> Result<(), StartError> {
    for address in [config.listen_http, config.listen_https] {
        if !address.ip().is_loopback() && !config.allow_remote {
            return Err(StartError::Config(format!(
                "{address} can be reached from other machines; say explicitly that this is wanted, or listen at a loopback address"
            )));
        }
    }
    for port in [config.handshake_port, config.inspector_port] {
        if port != 0 && !SESSION_PORTS.contains(&port) {
            return Err(StartError::Config(format!(
                "session port {port} is not between {} and {}",
                SESSION_PORTS.start(),
                SESSION_PORTS.end()
            )));
        }
    }
    let flaw = config.oidc_issuers.iter().find_map(OidcIssuer::flaw);
    if let Some(flaw) = flaw.or_else(|| config.sizes.flaw()) {
        return Err(StartError::Config(flaw));
    }
    if config.hostname.is_empty() || !is_host_name(&config.hostname) {
        let hostname = &config.hostname;
        return Err(StartError::Config(format!("{hostname:?} is not the name of a machine")));
    }
    Ok(())
}

fn is_host_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// The names that the server's certificate is for.
fn names(hostname: &str) -> Vec<String> {
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut names = vec!["127.0.0.1".to_owned(), "::1".to_owned()];
    for domain in ["localhost", hostname] {
        names.extend([domain.to_owned(), format!("sts.{domain}"), format!("remoterendering.{domain}")]);
    }
    names.push(machine.trim().to_owned());
    names.sort();
    names.dedup();
    names.retain(|name| !name.is_empty() && (is_host_name(name) || name.parse::<IpAddr>().is_ok()));
    names
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let refuse = |source| StartError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(refuse)?;
    let bound = listener.local_addr().map_err(refuse)?;
    Ok((listener, bound))
}

async fn bind_session(ip: IpAddr, port: u16) -> Result<(TcpListener, SocketAddr), StartError> {
    let refuse = |source| StartError::Bind { address: SocketAddr::new(ip, port), source };
    let listener = bind_session_port(ip, port).await.map_err(refuse)?;
    let bound = listener.local_addr().map_err(refuse)?;
    Ok((listener, bound))
}

/// Where this machine reaches a listener that listens everywhere.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn remove_if_there(path: &PathBuf) -> Result<(), StartError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StartError::File { path: path.clone(), source })
        }
        _ => Ok(()),
    }
}

/// Creates the demo session in the way of any other.
async fn create_demo(
    engine: &mpsc::Sender<Event>,
    account: AccountId,
    demo: &Demo,
) -> Result<SessionId, StartError> {
    let id = demo.session.clone();
    let other = format!("{:.240}-{}", id.as_str(), &Uuid::new_v4().simple().to_string()[..8]);
    let other: SessionId = other.parse().map_err(|error: IdError| StartError::Demo(error.to_string()))?;
    let lease = Minutes::new(demo.lease_minutes).map_err(|error| StartError::Demo(error.to_string()))?;
    for id in [id, other] {
        let key = (account, id.clone());
        let size = SessionSize::Standard;
        let start = Start::new(&id, size, asking(&correlation_vector()));
        let wish = Wish { key, size, lease, model: Some(demo.model.clone()), start };
        let (reply, answer) = oneshot::channel();
        if engine.send(Event::Create { wish, reply }).await.is_err() {
            break;
        }
        match answer.await {
            Ok(Ok(_)) => return Ok(id),
            Ok(Err(Refused::Conflict)) => {}
            Ok(Err(_)) | Err(_) => break,
        }
    }
    Err(StartError::Demo("the service could not take it".to_owned()))
}
