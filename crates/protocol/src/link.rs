//! Messages between a host and the control plane.
//!
//! The host dials `GET /internal/link` as a WebSocket, with `Authorization: Bearer` and its one-time token at the first
//! link, the secret of the newest [`ToHost::Welcome`] at later ones. Whom the control plane does not know gets 401
//! instead of a link; a host that gets it has been forgotten and ends. Then the host speaks first. Each message is one
//! JSON text frame, at most [`MAX_MESSAGE_BYTES`]. A still picture is the one binary frame: the request number as a
//! little-endian `u64`, then a PNG.
//!
//! ```text
//!  host                                   control plane
//!   │ GET, Bearer token | secret                │
//!   │──────────────────────────────────────────▶│
//!   │ Hello { serving }                         │
//!   │──────────────────────────────────────────▶│
//!   │                                   Welcome │   host waits in the warm pool
//!   │◀──────────────────────────────────────────│
//!   │                        Assign { session } │   a client asked for a session
//!   │◀──────────────────────────────────────────│
//!   │ Ready                                     │
//!   │──────────────────────────────────────────▶│
//!   │     Connect { request, offer } ◀── client │   WHEP-shaped signalling, relayed
//!   │ Connected { request, answer }             │
//!   │──────────────────────────────────────────▶│
//!   │                              End { reason } │ lease over, stop: the host says goodbye and exits
//! ```

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, ConnectionId, HostId, SessionId};
use crate::rest::{Error, SessionSize};

/// Version of these messages; a host and a control plane of different versions refuse each other.
///
/// 2: what opens the link is in the request for it, no longer in [`FromHost::Hello`].
pub const VERSION: u32 = 2;

/// Longest JSON message on the link.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// Longest still picture on the link.
pub const MAX_STILL_BYTES: usize = 64 << 20;

/// Environment variable with the link's URL (`ws://127.0.0.1:PORT/internal/link`).
pub const ENV_LINK_URL: &str = "BELVEDERE_LINK_URL";

/// Environment variable with the host's one-time token, worthless once the host has answered on a link.
pub const ENV_LINK_TOKEN: &str = "BELVEDERE_LINK_TOKEN";

/// Environment variable with the number of threads that may render.
pub const ENV_HOST_THREADS: &str = "BELVEDERE_HOST_THREADS";

/// Environment variable with the most primitives of a model as drawn; empty sets no limit.
pub const ENV_HOST_PRIMITIVES: &str = "BELVEDERE_HOST_PRIMITIVES";

/// Environment variable with the bytes of memory that the host is held to; empty sets no limit.
pub const ENV_HOST_MEMORY: &str = "BELVEDERE_HOST_MEMORY";

/// What a host says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FromHost {
    /// The first message of a link.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// Process id, as the host sees it.
        pid: u32,
        /// The session it serves, when it comes back after the link broke.
        serving: Option<SessionId>,
    },
    /// The session given by [`ToHost::Assign`] can take connections.
    Ready {
        /// Which.
        session: SessionId,
    },
    /// The session given by [`ToHost::Assign`] cannot be served.
    Failed {
        /// Which.
        session: SessionId,
        /// Why, for the session's `error`.
        error: Error,
    },
    /// Answers [`ToHost::Connect`].
    Connected {
        /// Of the question.
        request: u64,
        /// The SDP answer.
        answer: String,
    },
    /// Refuses [`ToHost::Connect`] or [`ToHost::Still`]. Codes: `ConnectionInUse`, `BadOffer`, `NoCodec`, `NoSession`, `RenderFailed`.
    Refused {
        /// Of the question.
        request: u64,
        /// Code and words for the client.
        error: Error,
    },
    /// A connection is over.
    Disconnected {
        /// Which.
        connection: ConnectionId,
        /// In words.
        reason: String,
    },
    /// The last message before the host exits by itself.
    Ended {
        /// In words.
        reason: String,
    },
}

/// What the control plane says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ToHost {
    /// The first answer.
    Welcome {
        /// The host's name from now on.
        host: HostId,
        /// Opens a new link when this one breaks.
        secret: String,
    },
    /// From now on the host serves this session.
    Assign {
        /// Whose.
        account: AccountId,
        /// Which.
        session: SessionId,
        /// With which limits.
        size: SessionSize,
        /// Model to load at once: a path on the host's machine chosen by the operator, or `builtin://demo`.
        /// The session is Ready before the model is.
        model: Option<String>,
        /// Folder that clients may load models from, if any.
        models_dir: Option<String>,
        /// What asked for it, if that is not long ago.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trace: Option<Trace>,
    },
    /// The lease now ends this far in the future. The control plane ends leases; the host ends itself only when
    /// it has no link and this time has passed.
    Lease {
        /// Milliseconds from receipt.
        remaining_ms: u64,
    },
    /// A client wants to connect.
    Connect {
        /// Repeated in the answer.
        request: u64,
        /// Name of the new connection.
        connection: ConnectionId,
        /// The SDP offer.
        offer: String,
        /// What asked for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trace: Option<Trace>,
    },
    /// A client left (HTTP DELETE).
    Disconnect {
        /// Which.
        connection: ConnectionId,
    },
    /// Someone wants a picture of the scene as PNG. Answered by a binary frame or [`FromHost::Refused`].
    Still {
        /// Repeated in the answer.
        request: u64,
        /// From where; the connected client's camera (or one that frames the model) if absent.
        camera: Option<Camera>,
        /// Width in pixels, 1 to 4096.
        width: u32,
        /// Height in pixels, 1 to 4096.
        height: u32,
        /// What asked for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trace: Option<Trace>,
    },
    /// Say goodbye to the client and exit.
    End {
        /// Why.
        reason: EndReason,
    },
}

/// By what the work of a host is found again, from the request that it was for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// The correlation vector under which the control plane asks: the base of the answer's `MS-CV` and a number. The
    /// host extends it (`.0`), as whoever is asked does.
    pub correlation_vector: String,
    /// The asking span as W3C Trace Context's `traceparent`, if it is exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// A perspective camera in world space (metres, right-handed, y up); it looks along its own -z.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Camera {
    /// Position.
    pub eye: [f32; 3],
    /// Unit quaternion `x y z w`, world from view.
    pub orientation: [f32; 4],
    /// Vertical field of view in radians.
    pub fov_y: f32,
}

/// Why the control plane ends a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndReason {
    /// The lease ran out.
    LeaseExpired,
    /// A client stopped the session.
    Stopped,
    /// The service shuts down, or the host is not needed.
    Shutdown,
}
