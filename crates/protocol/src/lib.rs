//! What crosses a process boundary, and nothing else.
//!
//! ```text
//!              rest (JSON)                    link (JSON over WebSocket)
//!   client ───────────────────▶ control plane ◀───────────────────────── host
//!      ◀────────────────────────────────────────────────────────────────▶
//!                live: input and frame (fixed layouts), rpc (Protocol Buffers)
//! ```
//!
//! Types here carry shapes and units; they decide nothing.

pub mod ids;
pub mod link;
pub mod live;
pub mod rest;

pub use ids::{AccountId, ConnectionId, HostId, IdError, SessionId};
