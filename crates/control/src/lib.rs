//! The control plane: REST, token service, store, and the hosts that serve sessions.
//!
//! ```text
//!   clients ──▶ http ──▶ engine ──▶ store        http     routes, bodies, who may do what
//!                │         │ ▲                   engine   the one task that decides (with crate `session`)
//!                │         ▼ │                   link     the hosts' WebSockets
//!                └──────▶ link ◀── hosts         provision starts and ends hosts
//! ```
//!
//! [`start`] brings it up in a data folder; [`Running`] stands for it.

pub mod accounts;
mod audit;
pub mod clock;
pub mod database;
mod engine;
mod files;
mod http;
mod link;
mod metrics;
mod oidc;
mod openapi;
pub mod provision;
mod rate;
mod secrets;
#[cfg(test)]
mod sim;
mod sizes;
mod start;
mod store;
mod tls;
mod tokens;

pub use accounts::AccountFile;
pub use audit::AuditLimits;
pub use files::FolderError;
pub use http::cors::{NoOrigin, Origin};
pub use http::listen::SESSION_PORTS;
pub use http::management::{ManagementToken, NoManagementToken};
pub use oidc::OidcIssuer;
pub use openapi::openapi_json;
pub use rate::RateLimit;
pub use sizes::{Machine, SizeLimits, Sizes};
pub use start::{
    Config, DEFAULT_RATE_LIMIT, DEFAULT_REFUSAL_LIMIT, Demo, Paths, Ready, Running, StartError, start,
};
pub use store::{Account, StoreError};
pub use tls::{Acme, CertificateFiles, Certificates, TlsError};
pub use tokens::{Role, SIGNING_KEY_LIFE, TOKEN_LIFE, TokenError};
