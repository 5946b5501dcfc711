//! A session host: one process that shows one session's scene to its client. The only place where scene, renderer,
//! encoder and transport meet.
//!
//! ```text
//!             link (WebSocket)                      UDP
//!   control plane ◀──▶ link task ◀──▶ ┌─────────┐ ◀──▶ client
//!                                     │ session │            one task, one `select!`, owns everything below
//!          loader thread ──▶ news ──▶ └─────────┘
//!           frame thread ──▶ news ──────┘ │ wanted: newest camera, size, scene (latest wins)
//!           still thread ──▶ news ──────┘ ▼
//!                                    frame thread: waits for a change, renders, encodes, hands over
//! ```
//!
//! Nothing is queued between input and picture: the frame thread takes what is wanted when it starts a frame. When
//! nothing changes, nothing is rendered and nothing is encoded.

mod adapt;
mod connection;
mod frames;
mod limits;
mod link;
mod memory;
mod scenes;
mod session;
mod size;
mod socket;
mod stills;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::str::FromStr;

use anyhow::Context as _;

/// How a host is started.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Where the control plane's link is: `ws://127.0.0.1:PORT/internal/link`.
    pub link_url: String,
    /// Opens the link, once.
    pub link_token: Secret,
    /// Where media is received; port 0 takes a free one.
    pub media_listen: SocketAddr,
    /// The address told to clients if it is not the one bound, as behind a port forwarding. The port is the bound one.
    pub media_advertise: Option<IpAddr>,
    /// Threads that render a picture, and that prepare a model.
    pub n_threads: NonZeroUsize,
    /// Most primitives of a model as drawn.
    pub max_primitives: Option<u64>,
    /// Bytes of memory that the process is held to.
    pub memory_bytes: Option<u64>,
    /// Most pictures per second.
    pub max_fps: u32,
    /// Pictures per second that motion keeps at the cost of their quality.
    pub motion_fps: u32,
    /// Most bits per second of video.
    pub max_bitrate: encode::Bitrate,
    /// Most pixels of a picture; larger wishes are scaled down.
    pub max_pixels: u32,
    /// End well on SIGTERM and SIGINT. Off where the process is not the host's own.
    pub handle_signals: bool,
}

/// A text that no log shows.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Environment variable with the address and port for media, default `127.0.0.1:0`.
pub const ENV_MEDIA_LISTEN: &str = "BELVEDERE_MEDIA_LISTEN";

/// Environment variable with the address to tell clients.
pub const ENV_MEDIA_ADVERTISE: &str = "BELVEDERE_MEDIA_ADVERTISE";

impl HostConfig {
    /// The usual settings with this link.
    pub fn new(link_url: impl Into<String>, link_token: Secret) -> Self {
        Self {
            link_url: link_url.into(),
            link_token,
            media_listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
            media_advertise: None,
            n_threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            max_primitives: None,
            memory_bytes: None,
            max_fps: 60,
            motion_fps: 30,
            max_bitrate: encode::Bitrate::from_kbps(12_000),
            max_pixels: 1920 * 1080,
            handle_signals: false,
        }
    }

    /// Reads the environment that the control plane gives. The token in it opens one link, once; when that is open,
    /// nobody can do anything with it.
    ///
    /// # Errors
    /// A variable is missing or malformed.
    pub fn from_env() -> anyhow::Result<Self> {
        use protocol::link::{
            ENV_HOST_MEMORY, ENV_HOST_PRIMITIVES, ENV_HOST_THREADS, ENV_LINK_TOKEN, ENV_LINK_URL,
        };
        let url = std::env::var(ENV_LINK_URL)
            .with_context(|| format!("{ENV_LINK_URL} is not set; hosts are started by the service"))?;
        let token = std::env::var(ENV_LINK_TOKEN)
            .with_context(|| format!("{ENV_LINK_TOKEN} is not set; hosts are started by the service"))?;
        let mut config = Self::new(url, Secret(token));
        config.handle_signals = true;
        if let Ok(listen) = std::env::var(ENV_MEDIA_LISTEN) {
            config.media_listen =
                listen.parse().with_context(|| format!("{ENV_MEDIA_LISTEN} is not address:port"))?;
        }
        if let Ok(address) = std::env::var(ENV_MEDIA_ADVERTISE) {
            config.media_advertise =
                Some(address.parse().with_context(|| format!("{ENV_MEDIA_ADVERTISE} is not an IP address"))?);
        }
        config.n_threads = number(ENV_HOST_THREADS)?.unwrap_or(config.n_threads);
        config.max_primitives = number(ENV_HOST_PRIMITIVES)?;
        config.memory_bytes = number(ENV_HOST_MEMORY)?;
        Ok(config)
    }
}

/// The number that an environment variable says; none if it is empty or not there.
fn number<T: FromStr>(variable: &str) -> anyhow::Result<Option<T>> {
    let text = std::env::var(variable).unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_odd| anyhow::anyhow!("{variable} is {text:?}, which is no number for it"))
}

/// Serves one session; returns when it is over.
///
/// # Errors
/// The host cannot start, or the control plane could not be reached while there was no session.
pub fn run(config: HostConfig) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("host-aux")
        .build()
        .context("failed to start the event loop")?;
    let result = runtime.block_on(session::serve(config));
    // Threads that are still at work on a model must not delay the exit.
    runtime.shutdown_background();
    result
}

/// Whether the video encoder in this binary uses its SIMD assembly; without, it takes three times as long.
pub fn encoder_has_assembly() -> bool {
    encode::has_assembly()
}
