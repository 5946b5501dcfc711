//! The session: one task that owns the link, the socket, the client's connection and what is wanted of the frame
//! thread. Everything that can make it act is in [`Event`].
//!
//! ```text
//!   Warm ── Assign ──▶ Serving ── End, signal ──▶ Ending ── goodbye out ──▶ exit
//!    └ 10 s without link ─▶ exit   └ lease over, no link ─▶ Ending
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use encode::Bitrate;
use protocol::link::{EndReason, FromHost, ToHost, Trace};
use protocol::live::rpc;
use protocol::live::rpc::client_message::Body as Request;
use protocol::live::rpc::host_message::Body as Response;
use protocol::rest::Error;
use protocol::{ConnectionId, SessionId, live};
use render::{Look, Sky, ToneMapping};
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tracing::Span;
use transport::{Channel, OfferError, Peer, VideoOut};

use crate::HostConfig;
use crate::connection::{Ask, Connection};
use crate::frames::{FrameNews, Frames, FramesConfig, PickOrder, view};
use crate::limits::{
    BITRATE_SHARE_PERCENT, DATAGRAMS_PER_TURN, GOODBYE, LAST_WORDS, MIN_BITRATE_BPS, NEWS, RESIZE_INTERVAL,
    WARM_WITHOUT_LINK,
};
use crate::link::{Link, LinkNews, Say};
use crate::memory::Memory;
use crate::scenes::{
    LoadError, LoadNews, Loader, ModelLimits, Order, Place, Scene, demo, find, list, step_back, trusted,
};
use crate::size::video_size;
use crate::socket::Socket;
use crate::stills::{StillNews, StillOrder, Stills};

/// What the threads and the link's task tell.
pub(crate) enum News {
    Link(LinkNews),
    Frames(FrameNews),
    Load(LoadNews),
    Still(StillNews),
    /// Answers ListModels.
    Models {
        viewer: u64,
        request: u32,
        sources: Vec<String>,
    },
}

/// Everything that can happen.
enum Event {
    News(News),
    /// Datagrams came in, or room to send some.
    Socket,
    /// A time that somebody asked for has come.
    Time,
    /// The operating system asks us to end.
    Signal,
}

/// The video before the client says what it wants.
const FIRST_SIZE: (u32, u32) = (1280, 720);

/// What the path is taken to carry at first. Nothing but this machine's memory is between us and a loopback client;
/// others are measured from a rate that most have.
const START_BPS_LOOPBACK: u64 = 50_000_000;
const START_BPS: u64 = 6_000_000;

/// Runs a host until its session is over.
pub(crate) async fn serve(config: HostConfig) -> anyhow::Result<()> {
    let (news_sender, mut news) = mpsc::channel(NEWS);
    let mut signals = Signals::new(config.handle_signals)?;
    let n_threads = config.n_threads;
    let mut host = Host::start(config, news_sender)?;
    // The demo is what most first sessions show; made while waiting, it is there at once.
    let warming = std::thread::Builder::new().name("host-warming".into());
    let _no_thread = warming
        .spawn(move || {
            step_back();
            demo(n_threads).map(|_| ()).is_ok()
        })
        .is_err();
    let outcome = loop {
        let wake_at = match host.settle() {
            Ok(wake_at) => wake_at,
            Err(outcome) => break outcome,
        };
        let event = tokio::select! {
            Some(news) = news.recv() => Event::News(news),
            _ready_or_failed = host.socket.ready() => Event::Socket,
            () = sleep_until(wake_at.into()) => Event::Time,
            () = signals.next() => Event::Signal,
        };
        host.handle(event);
    };
    host.finish(outcome, news).await
}

/// A client's wish as the renderer takes it; or what is wrong with it.
fn look(wish: &rpc::Look) -> Result<Look, &'static str> {
    use rpc::look::{Sky as WishedSky, ToneMapping as WishedMapping};
    let sky = match WishedSky::try_from(wish.sky) {
        Ok(WishedSky::Studio) => Sky::Studio,
        Ok(WishedSky::Day) => Sky::Day,
        Ok(WishedSky::Overcast) => Sky::Overcast,
        Ok(WishedSky::Dusk) => Sky::Dusk,
        Ok(WishedSky::Even) => Sky::Even,
        Err(_) => return Err("there is no such sky: STUDIO, DAY, OVERCAST, DUSK or EVEN"),
    };
    let tone_mapping = match WishedMapping::try_from(wish.tone_mapping) {
        Ok(WishedMapping::Neutral) => ToneMapping::Neutral,
        Ok(WishedMapping::Aces) => ToneMapping::Aces,
        Ok(WishedMapping::Clipped) => ToneMapping::Clipped,
        Err(_) => return Err("there is no such tone mapping: NEUTRAL, ACES or CLIPPED"),
    };
    if !wish.sky_yaw.is_finite() {
        return Err("sky_yaw is an angle in radians");
    }
    Ok(Look { sky, sky_yaw: wish.sky_yaw, tone_mapping })
}

/// The correlation vector of what is done here for a request.
fn extended(trace: Option<&Trace>) -> Option<String> {
    trace.map(|trace| format!("{}.0", trace.correlation_vector))
}

/// Makes `span` a part of the request.
fn join(span: &Span, trace: Option<&Trace>) {
    if let Some(parent) = trace.and_then(|trace| trace.traceparent.as_deref()) {
        telemetry::continue_from(span, parent, None);
    }
}

/// SIGTERM and SIGINT, if they are for us.
struct Signals {
    #[cfg(unix)]
    both: Option<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)>,
}

impl Signals {
    #[cfg(unix)]
    fn new(ours: bool) -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        if !ours {
            return Ok(Self { both: None });
        }
        Ok(Self { both: Some((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)) })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        match &mut self.both {
            Some((term, int)) => tokio::select! {
                _ = term.recv() => (),
                _ = int.recv() => (),
            },
            None => std::future::pending().await,
        }
    }

    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
    fn new(_ours: bool) -> std::io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        std::future::pending().await
    }
}

/// How a host ends.
enum Outcome {
    /// As it should, for this reason.
    Over(&'static str),
    /// The control plane is not there, and no session either.
    Abandoned,
}

/// The session that is served.
struct Assigned {
    session: SessionId,
    models_dir: Option<PathBuf>,
    /// What the scene returns to when a client leaves.
    initial: Option<String>,
}

/// A model that is being loaded.
struct Loading {
    number: u64,
    source: String,
    /// The client's request that wants it, if any.
    request: Option<(u64, u32)>,
    /// Ends with it.
    span: Span,
}

struct Ending {
    reason: &'static str,
    /// At the latest.
    at: Instant,
}

struct Host {
    config: HostConfig,
    epoch: Instant,
    socket: Socket,
    link: Link,
    news: mpsc::Sender<News>,
    frames: Frames,
    loader: Loader,
    stills: Stills,
    empty: Arc<Scene>,
    scene: Arc<Scene>,
    /// Counts up with every change of the scene.
    scene_revision: u32,
    loading: Option<Loading>,
    n_orders: u64,
    assigned: Option<Assigned>,
    connection: Option<Connection>,
    n_viewers: u64,
    size: (u32, u32),
    size_changed_at: Option<Instant>,
    /// What the client asked for while it was too soon.
    size_wanted: Option<(u32, u32)>,
    /// When the link was lost; `None` while it is there.
    link_lost_at: Option<Instant>,
    lease_ends_at: Option<Instant>,
    ending: Option<Ending>,
}

impl Host {
    fn start(config: HostConfig, news: mpsc::Sender<News>) -> anyhow::Result<Self> {
        let now = Instant::now();
        let n_threads = config.n_threads;
        let socket = Socket::bind(&config)?;
        // Dialled first: the rest is done while the control plane answers.
        let link = Link::start(config.link_url.clone(), config.link_token.clone(), news.clone());
        let empty = Arc::new(Scene::empty()?);
        let frames_config = FramesConfig {
            n_threads: config.n_threads,
            max_fps: config.max_fps,
            motion_fps: config.motion_fps,
            size: FIRST_SIZE,
            bitrate: Bitrate::from_kbps(4_000),
        };
        let frames = Frames::start(&frames_config, Arc::clone(&empty), news.clone())?;
        let limits = ModelLimits {
            n_threads: config.n_threads,
            max_primitives: config.max_primitives,
            memory: Memory::of(config.memory_bytes),
        };
        let loader = Loader::start(limits, news.clone())?;
        tracing::debug!(media = %socket.advertised, assembly = encode::has_assembly(), "the host is up");
        Ok(Self {
            config,
            epoch: now,
            socket,
            link,
            news,
            frames,
            loader,
            stills: Stills::new(n_threads),
            scene: Arc::clone(&empty),
            empty,
            scene_revision: 0,
            loading: None,
            n_orders: 0,
            assigned: None,
            connection: None,
            n_viewers: 0,
            size: FIRST_SIZE,
            size_changed_at: None,
            size_wanted: None,
            link_lost_at: Some(now),
            lease_ends_at: None,
            ending: None,
        })
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::News(News::Link(LinkNews::Up)) => self.link_lost_at = None,
            Event::News(News::Link(LinkNews::Down)) => {
                if self.link_lost_at.is_none() {
                    tracing::info!("the link is lost; media goes on");
                }
                let _since = self.link_lost_at.get_or_insert_with(Instant::now);
            }
            Event::News(News::Link(LinkNews::Message(message))) => self.on_link(message),
            Event::News(News::Link(LinkNews::Unknown)) => {
                tracing::info!("the service does not know this host any more");
                self.end(EndReason::Shutdown);
            }
            Event::News(News::Frames(news)) => self.on_frames(news),
            Event::News(News::Load(news)) => self.on_load(news),
            Event::News(News::Still(StillNews { request, result })) => match result {
                Ok(png) => self.link.say(Say::Still(request, png)),
                Err(why) => self.refuse(request, "RenderFailed", why),
            },
            Event::News(News::Models { viewer, request, sources }) => {
                if let Some(connection) = self.connection.as_mut().filter(|c| c.viewer == viewer) {
                    connection.say(request, Response::Models(rpc::ModelList { sources }));
                }
            }
            Event::Socket => self.receive(),
            Event::Time => (),
            Event::Signal => self.end(EndReason::Shutdown),
        }
    }

    /// Lets everything happen that follows from the last event and from the time. Gives when to look again.
    fn settle(&mut self) -> Result<Instant, Outcome> {
        let now = Instant::now();
        self.socket.flush();
        let mut wake_at = now + Duration::from_secs(3600);
        // Each ask may give the peer something to send, and each message may be an ask.
        let mut asks = Vec::new();
        while let Some(connection) = &mut self.connection {
            connection.peer.advance(now);
            let socket = &mut self.socket;
            let at = connection.poll(now, &mut |transmit| socket.send(transmit), &mut asks);
            if asks.is_empty() {
                wake_at = wake_at.min(at);
                break;
            }
            for ask in std::mem::take(&mut asks) {
                self.on_ask(now, ask);
            }
        }
        if let Some(connection) = &mut self.connection {
            let frame_time = Duration::from_secs(1) / self.config.max_fps.max(1);
            let congested = connection.is_congested(now, frame_time);
            if congested != self.frames.read(|wanted| wanted.congested) {
                self.frames.update(|wanted| wanted.congested = congested);
            }
        }
        if let Some(size) = self.size_wanted {
            let allowed_at = self.size_changed_at.map_or(now, |changed| changed + RESIZE_INTERVAL);
            if allowed_at <= now {
                self.size_wanted = None;
                self.resize(now, size);
            } else {
                wake_at = wake_at.min(allowed_at);
            }
        }
        if let Some(ending) = &self.ending {
            let delivered =
                self.connection.as_mut().is_none_or(|connection| connection.peer.rpc_is_delivered());
            if delivered || ending.at <= now {
                return Err(Outcome::Over(ending.reason));
            }
            wake_at = wake_at.min(ending.at);
        } else if let Some(lost_at) = self.link_lost_at {
            // Without a link, the host is its own judge.
            let over_at = match (&self.assigned, self.lease_ends_at) {
                (None, _) => lost_at + WARM_WITHOUT_LINK,
                (Some(_), Some(lease_ends_at)) => lease_ends_at,
                // Assigned, but the link broke before the lease was told.
                (Some(_), None) => lost_at + WARM_WITHOUT_LINK,
            };
            if over_at <= now {
                if self.assigned.is_none() {
                    return Err(Outcome::Abandoned);
                }
                tracing::info!("the lease is over, and the control plane is not there");
                self.end(EndReason::LeaseExpired);
                return Ok(now);
            }
            wake_at = wake_at.min(over_at);
        }
        Ok(wake_at)
    }

    /// Closes what is open. Threads that still have news find that nobody listens, and end.
    async fn finish(mut self, outcome: Outcome, mut news: mpsc::Receiver<News>) -> anyhow::Result<()> {
        if let Some(mut connection) = self.connection.take() {
            connection.peer.close();
            let socket = &mut self.socket;
            connection.poll(Instant::now(), &mut |transmit| socket.send(transmit), &mut Vec::new());
        }
        match outcome {
            Outcome::Over(reason) => {
                self.link.say(Say::Json(FromHost::Ended { reason: reason.to_owned() }));
                self.link.close(LAST_WORDS).await;
                news.close();
                tracing::info!(reason, "the host ends");
                Ok(())
            }
            Outcome::Abandoned => {
                self.link.close(Duration::ZERO).await;
                news.close();
                anyhow::bail!("the control plane was not there for {} s", WARM_WITHOUT_LINK.as_secs())
            }
        }
    }

    fn receive(&mut self) {
        self.socket.flush();
        let advertised = self.socket.advertised;
        for _ in 0..DATAGRAMS_PER_TURN {
            let Some((source, bytes)) = self.socket.receive() else { return };
            if let Some(connection) = &mut self.connection {
                // What is not for this connection is from a stranger or from an old one.
                let _taken = connection.peer.receive(Instant::now(), source, advertised, bytes);
            }
        }
    }

    // The control plane.

    fn on_link(&mut self, message: ToHost) {
        match message {
            ToHost::Welcome { host, .. } => tracing::info!(%host, "linked to the control plane"),
            ToHost::Assign { session, model, models_dir, size, account, trace } => {
                if let Some(assigned) = &self.assigned {
                    if assigned.session == session {
                        self.link.say(Say::Json(FromHost::Ready { session }));
                    } else {
                        let error = Error::new("HostBusy", "this host serves another session");
                        self.link.say(Say::Json(FromHost::Failed { session, error }));
                    }
                    return;
                }
                let cv = extended(trace.as_ref());
                let span = tracing::info_span!(target: telemetry::TARGET, "assign", session = %session, cv = cv.as_deref());
                join(&span, trace.as_ref());
                let _in_it = span.entered();
                let model_text = model.as_deref().unwrap_or("");
                tracing::info!(%session, %account, %size, model = model_text, cv, "assigned");
                self.link.say(Say::Json(FromHost::Ready { session: session.clone() }));
                let models_dir = models_dir.map(PathBuf::from);
                self.assigned = Some(Assigned { session, models_dir, initial: model });
                self.load_initial();
            }
            ToHost::Lease { remaining_ms } => {
                // A day is the longest lease; the bound keeps the clock from overflowing.
                let remaining = Duration::from_millis(remaining_ms.min(7 * 86_400_000));
                self.lease_ends_at = Some(Instant::now() + remaining);
            }
            ToHost::Connect { request, connection, offer, trace } => {
                match self.connect(connection, &offer, trace.as_ref()) {
                    Ok(answer) => self.link.say(Say::Json(FromHost::Connected { request, answer })),
                    Err((code, why)) => self.refuse(request, code, why),
                }
            }
            ToHost::Disconnect { connection } => {
                if self.connection.as_ref().is_some_and(|c| c.id == connection) {
                    self.disconnect("the client left");
                }
            }
            ToHost::Still { request, camera, width, height, trace } => {
                let size = (width.clamp(render::SIZE_MIN, 4096), height.clamp(render::SIZE_MIN, 4096));
                let own =
                    camera.map(|c| live::Camera { eye: c.eye, orientation: c.orientation, fov_y: c.fov_y });
                let (clients, look) = self.frames.read(|wanted| (wanted.camera, wanted.look));
                let view = view(&self.scene, own.or(clients), look, size);
                let cv = extended(trace.as_ref());
                let span = tracing::info_span!(target: telemetry::TARGET, "still", cv = cv.as_deref());
                join(&span, trace.as_ref());
                tracing::debug!(width, height, cv, "a still is wanted");
                let order = StillOrder { request, scene: Arc::clone(&self.scene), view, span };
                if !self.stills.order(order, &self.news) {
                    self.refuse(request, "RenderFailed", "too many stills are waiting; try again".into());
                }
            }
            ToHost::End { reason } => self.end(reason),
        }
    }

    fn refuse(&self, request: u64, code: &str, why: String) {
        self.link.say(Say::Json(FromHost::Refused { request, error: Error::new(code, why) }));
    }

    /// Tells the client, and ends the host when it knows.
    fn end(&mut self, reason: EndReason) {
        if self.ending.is_some() {
            return;
        }
        use rpc::session_ending::Reason;
        let (told, words) = match reason {
            EndReason::LeaseExpired => (Reason::LeaseExpired, "the lease ran out"),
            EndReason::Stopped => (Reason::Stopped, "the session was stopped"),
            EndReason::Shutdown => (Reason::Shutdown, "shut down"),
        };
        if let Some(connection) = &mut self.connection {
            connection.say(0, Response::Ending(rpc::SessionEnding { reason: told.into() }));
        }
        self.frames.update(|wanted| wanted.viewer = None);
        self.ending = Some(Ending { reason: words, at: Instant::now() + GOODBYE });
    }

    // The client.

    fn connect(
        &mut self,
        id: ConnectionId,
        offer: &str,
        trace: Option<&Trace>,
    ) -> Result<String, (&'static str, String)> {
        let cv = extended(trace);
        let span = tracing::info_span!(
            target: telemetry::TARGET,
            "connect",
            otel.status_code = tracing::field::Empty,
            connection = %id,
            cv = cv.as_deref(),
        );
        join(&span, trace);
        if self.assigned.is_none() {
            return Err(("NoSession", "this host serves no session yet".into()));
        }
        if self.ending.is_some() {
            return Err(("NoSession", "the session is ending".into()));
        }
        if self.connection.is_some() {
            return Err((
                "ConnectionInUse",
                "another client controls this session; it has to leave first (a client that vanished makes room \
                 after 5 seconds)"
                    .into(),
            ));
        }
        let now = Instant::now();
        let config = transport::Config {
            addresses: vec![self.socket.advertised],
            start_bps: if self.socket.advertised.ip().is_loopback() { START_BPS_LOOPBACK } else { START_BPS },
            max_bps: u64::from(self.config.max_bitrate.bps()) * 3 / 2,
        };
        let (peer, answer) = Peer::accept(&config, offer, now).map_err(|error| {
            let code = match &error {
                OfferError::BadOffer(_) => "BadOffer",
                OfferError::NoCodec => "NoCodec",
            };
            (code, error.to_string())
        })?;
        self.n_viewers += 1;
        self.connection = Some(Connection::new(id, self.n_viewers, peer, self.epoch, span));
        self.size = FIRST_SIZE;
        (self.size_wanted, self.size_changed_at) = (None, None);
        let bitrate = self.video_bitrate(config.start_bps);
        self.frames.update(|wanted| {
            (wanted.camera, wanted.look) = (None, Look::default());
            (wanted.input, wanted.size) = (None, FIRST_SIZE);
            (wanted.bitrate, wanted.congested) = (bitrate, false);
            wanted.touch();
        });
        tracing::info!(connection = %id, cv, "a client connects");
        Ok(answer)
    }

    /// Forgets the client, and what it did to the scene.
    fn disconnect(&mut self, why: &str) {
        let Some(mut connection) = self.connection.take() else { return };
        tracing::info!(connection = %connection.id, why, "the client is gone");
        connection.peer.close();
        let socket = &mut self.socket;
        connection.poll(Instant::now(), &mut |transmit| socket.send(transmit), &mut Vec::new());
        self.frames.update(|wanted| {
            (wanted.viewer, wanted.camera, wanted.input, wanted.congested) = (None, None, None, false);
        });
        let notice = FromHost::Disconnected { connection: connection.id, reason: why.to_owned() };
        self.link.say(Say::Json(notice));
        let initial = self.assigned.as_ref().and_then(|assigned| assigned.initial.as_deref()).unwrap_or("");
        if self.loading.as_ref().is_some_and(|loading| loading.request.is_some())
            || self.scene.source != initial
        {
            self.load_initial();
        }
    }

    fn on_ask(&mut self, now: Instant, ask: Ask) {
        match ask {
            Ask::Input(input) => self.on_input(now, input),
            Ask::Rpc(request, body) => self.on_rpc(request, body),
            Ask::RpcOpen => {
                // Before the scene: a client that finds it empty then knows that the operator's model is on its way.
                if let (Some(loading), Some(connection)) = (&self.loading, &mut self.connection) {
                    let source = loading.source.clone();
                    let progress = rpc::LoadProgress { source, fraction: 0.0, stage: "loading".to_owned() };
                    connection.say(0, Response::Progress(progress));
                }
                self.tell_scene(0);
            }
            Ask::Flowing => {
                let Some(viewer) = self.connection.as_ref().map(|connection| connection.viewer) else {
                    return;
                };
                if self.ending.is_none() {
                    self.frames.update(|wanted| wanted.viewer = Some(viewer));
                }
            }
            Ask::KeyFrame => {
                if self.connection.as_mut().is_some_and(|connection| connection.grants_key_frame(now)) {
                    self.frames.update(|wanted| wanted.key = true);
                }
            }
            Ask::Estimate(bps) => {
                let bitrate = self.video_bitrate(bps);
                let old = self.frames.read(|wanted| wanted.bitrate);
                // Each change costs the encoder's rate control some of its memory.
                if old.bps().abs_diff(bitrate.bps()) > old.bps() / 20 {
                    self.frames.update(|wanted| wanted.bitrate = bitrate);
                }
            }
            Ask::Closed(why) => self.disconnect(&why),
        }
    }

    fn on_input(&mut self, now: Instant, input: live::Input) {
        let size = video_size(input.width.into(), input.height.into(), self.config.max_pixels);
        self.frames.update(|wanted| {
            wanted.input = Some((input.seq, now));
            if wanted.camera != Some(input.camera) {
                wanted.camera = Some(input.camera);
                wanted.touch();
            }
        });
        self.size_wanted = Some(size).filter(|size| *size != self.size);
    }

    fn resize(&mut self, now: Instant, size: (u32, u32)) {
        self.size = size;
        self.size_changed_at = Some(now);
        self.frames.update(|wanted| {
            wanted.size = size;
            wanted.touch();
        });
    }

    fn video_bitrate(&self, path_bps: u64) -> Bitrate {
        let share = u32::try_from(path_bps / 100 * BITRATE_SHARE_PERCENT).unwrap_or(u32::MAX);
        let most = self.config.max_bitrate.bps().max(MIN_BITRATE_BPS);
        Bitrate::from_bps(share.clamp(MIN_BITRATE_BPS, most))
    }

    fn on_rpc(&mut self, request: u32, body: Request) {
        let Some(connection) = &mut self.connection else { return };
        let (viewer, models_dir) =
            (connection.viewer, self.assigned.as_ref().and_then(|a| a.models_dir.clone()));
        match body {
            Request::LoadModel(rpc::LoadModel { source }) => match find(&source, models_dir.as_deref()) {
                Ok(place) => self.load(source, place, Some((viewer, request))),
                Err(LoadError { code, message }) => connection.refuse(request, code, &message),
            },
            Request::Pick(rpc::Pick { x, y }) => {
                if !(0.0..=1.0).contains(&x) || !(0.0..=1.0).contains(&y) {
                    connection.refuse(request, "BadRequest", "x and y are from 0 to 1");
                } else if !self.frames.pick(PickOrder { viewer, request, at: (x, y) }) {
                    connection.refuse(request, "Busy", "too many picks are waiting");
                }
            }
            Request::SetLook(wish) => match look(&wish) {
                Ok(look) => {
                    self.frames.update(|wanted| {
                        if wanted.look != look {
                            wanted.look = look;
                            wanted.touch();
                        }
                    });
                    connection.say(request, Response::Look(wish));
                }
                Err(why) => connection.refuse(request, "BadRequest", why),
            },
            Request::ListModels(rpc::ListModels {}) => {
                let news = self.news.clone();
                // Reading folders may take long; at most as many at once as the client may have requests.
                tokio::task::spawn_blocking(move || {
                    let sources = list(models_dir.as_deref());
                    // Only fails when the host ends.
                    let _ended = news.blocking_send(News::Models { viewer, request, sources }).is_err();
                });
            }
        }
    }

    // The scene.

    fn load_initial(&mut self) {
        match self.assigned.as_ref().and_then(|assigned| assigned.initial.clone()) {
            Some(model) => {
                let place = trusted(&model);
                self.load(model, place, None);
            }
            None => {
                self.supersede();
                self.show(Arc::clone(&self.empty));
            }
        }
    }

    fn load(&mut self, source: String, place: Place, request: Option<(u64, u32)>) {
        self.supersede();
        self.n_orders += 1;
        let span = tracing::info_span!(
            target: telemetry::TARGET,
            "load model",
            otel.status_code = tracing::field::Empty,
            triangles = tracing::field::Empty,
        );
        self.loading = Some(Loading { number: self.n_orders, source: source.clone(), request, span });
        self.loader.order(Order { number: self.n_orders, source, place });
    }

    /// Gives up what is being loaded.
    fn supersede(&mut self) {
        if let Some(Loading { request: Some((viewer, request)), .. }) = self.loading.take()
            && let Some(connection) = self.connection.as_mut().filter(|c| c.viewer == viewer)
        {
            connection.refuse(request, "Superseded", "another model was asked for meanwhile");
        }
    }

    fn on_load(&mut self, news: LoadNews) {
        let current = self.loading.as_ref().map(|loading| loading.number);
        match news {
            LoadNews::Progress { number, source, fraction, stage } => {
                if current == Some(number)
                    && let Some(connection) = &mut self.connection
                {
                    let progress = rpc::LoadProgress { source, fraction, stage: stage.to_owned() };
                    connection.say(0, Response::Progress(progress));
                }
            }
            LoadNews::Done { number, result } => {
                let Some(loading) = self.loading.take_if(|loading| loading.number == number) else { return };
                match result {
                    Ok(scene) => {
                        let (triangles, source) = (scene.info(0).triangles, scene.source.clone());
                        tracing::info!(source, triangles, "a model is on screen");
                        // Signed: OpenTelemetry knows no other whole numbers.
                        loading.span.record("triangles", i64::try_from(triangles).unwrap_or(i64::MAX));
                        self.show(scene);
                        if let Some((_, request)) = loading.request {
                            self.tell_scene(request);
                        }
                    }
                    Err(LoadError { code, message }) => {
                        tracing::warn!(code, message, "a model was not loaded");
                        loading.span.record("otel.status_code", "ERROR");
                        if let Some(connection) = &mut self.connection {
                            // The operator's model has no request: whoever is there should know.
                            connection.refuse(
                                loading.request.map_or(0, |(_, request)| request),
                                code,
                                &message,
                            );
                        }
                    }
                }
            }
        }
    }

    fn show(&mut self, scene: Arc<Scene>) {
        if Arc::ptr_eq(&self.scene, &scene) {
            return;
        }
        self.scene = scene;
        self.scene_revision += 1;
        self.frames.update(|wanted| {
            wanted.scene = Arc::clone(&self.scene);
            wanted.touch();
        });
        self.tell_scene(0);
    }

    /// Says what is shown: as an event, or as the answer to `request`.
    fn tell_scene(&mut self, request: u32) {
        let info = self.scene.info(self.scene_revision);
        if let Some(connection) = &mut self.connection {
            connection.say(request, Response::Scene(info));
        }
    }

    // The frame thread.

    fn on_frames(&mut self, news: FrameNews) {
        match news {
            FrameNews::Frame(frame) => {
                let now = Instant::now();
                let Some(connection) = self.connection.as_mut().filter(|c| c.viewer == frame.viewer) else {
                    return;
                };
                let meta = frame.meta.encode();
                if connection.peer.send_video(VideoOut { rtp_time: frame.rtp_time, bytes: frame.bytes }, now)
                {
                    connection.sent_video(now, frame.meta.flags & live::Frame::FLAG_REFINED != 0);
                    // Unreliable by contract, and not open during the first frames.
                    let _dropped = connection.peer.send(Channel::Frame, &meta).is_err();
                } else {
                    // The decoder misses this frame: what builds on it is of no use.
                    self.frames.update(|wanted| wanted.key = true);
                }
            }
            FrameNews::Picked { viewer, request, hit, scene } => {
                let Some(connection) = self.connection.as_mut().filter(|c| c.viewer == viewer) else {
                    return;
                };
                let result = hit.map_or_else(rpc::PickResult::default, |hit| rpc::PickResult {
                    hit: true,
                    position: Some(rpc::Vec3 { x: hit.position.x, y: hit.position.y, z: hit.position.z }),
                    node: scene.node_name(hit.node).to_owned(),
                });
                connection.say(request, Response::Pick(result));
            }
            FrameNews::SceneFailed(scene) => {
                tracing::error!(source = scene.source, "the renderer failed on this model");
                if Arc::ptr_eq(&scene, &self.scene) && !Arc::ptr_eq(&scene, &self.empty) {
                    if let Some(connection) = &mut self.connection {
                        let why = "the renderer failed on this model; please report it with the model";
                        connection.refuse(0, "Internal", why);
                    }
                    self.show(Arc::clone(&self.empty));
                }
            }
        }
    }
}
