//! Bodies of the REST API (Azure Remote Rendering, api-version 2021-01-01).
//!
//! Field order is the order on the wire. Absent and unset fields are left out.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::SessionId;

/// The api-versions that are served; both mean the same.
pub const API_VERSIONS: [&str; 2] = ["2021-01-01-preview", "2021-01-01"];

/// Longest lease of a session, in minutes (24 h).
pub const MAX_LEASE_MINUTES: u32 = 1440;

/// Which resources and limits a session's host gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SessionSize {
    /// Enough for most models.
    Standard,
    /// The larger limits.
    Premium,
}

impl SessionSize {
    /// Reads a size in any letter case: the PowerShell scripts send `standard`.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Standard, Self::Premium].into_iter().find(|size| text.eq_ignore_ascii_case(size.as_str()))
    }

    /// The capitalisation that clients compare with.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "Standard",
            Self::Premium => "Premium",
        }
    }
}

impl fmt::Display for SessionSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a session is in its life. The last three are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SessionStatus {
    /// Accepted; its host is not there yet.
    Starting,
    /// Its host takes connections; the lease runs.
    Ready,
    /// A client ended it.
    Stopped,
    /// Its lease ran out.
    Expired,
    /// It failed; [`Session::error`] says why.
    Error,
}

impl SessionStatus {
    /// Whether the session has ended for good.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Stopped | Self::Expired | Self::Error)
    }

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "Starting",
            Self::Ready => "Ready",
            Self::Stopped => "Stopped",
            Self::Expired => "Expired",
            Self::Error => "Error",
        }
    }
}

/// A session as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Chosen by the client.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[A-Za-z0-9_-]{1,256}$"))]
    pub id: SessionId,
    /// ISO 8601 with offset, up to seven fraction digits: `2026-11-21T23:12:01.1234567+00:00`.
    pub creation_time: String,
    /// TCP port of the inspector, only while Ready (49152–65534).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arr_inspector_port: Option<u16>,
    /// TCP port of the connection handshake, only while Ready (49152–65534).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshake_port: Option<u16>,
    /// Whole minutes in Ready.
    #[serde(default)]
    pub elapsed_time_minutes: u32,
    /// Where the ports are, only while Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The lease: total minutes in Ready.
    #[serde(default)]
    pub max_lease_time_minutes: u32,
    /// As created.
    pub size: SessionSize,
    /// Where it is in its life.
    pub status: SessionStatus,
    /// Computing power of the host; absent until it was Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teraflops: Option<f32>,
    /// Why it is in Error; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// A page of sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionList {
    /// In creation order; Starting and Ready ones only.
    pub sessions: Vec<Session>,
    /// Absolute URL of the next page, absent on the last.
    #[serde(rename = "@nextLink", default, skip_serializing_if = "Option::is_none")]
    pub next_link: Option<String>,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Error {
    /// Stable, for programs: `BadRequest`, `Conflict`, …
    pub code: String,
    /// For people: what is wrong and what to do.
    pub message: String,
    /// The parts of a composite error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(no_recursion))]
    pub details: Vec<Error>,
    /// Which field or thing it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The cause. Never written as null: the JavaScript SDK throws on that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(no_recursion))]
    pub inner_error: Option<Box<Error>>,
}

impl Error {
    /// An error without optional members.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            details: Vec::new(),
            target: None,
            inner_error: None,
        }
    }
}

/// The body of every refused request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// What went wrong.
    pub error: Error,
}
