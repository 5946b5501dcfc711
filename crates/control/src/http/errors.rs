//! Refusals: where status codes and the client's words are chosen.

use std::time::Duration;

use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use protocol::rest::{Error, ErrorBody};
use session::Denied;

use super::answer::{Answer, empty, json};
use crate::engine::Refused;
use crate::link::NoAnswer;

/// A refusal on its way to the client.
#[derive(Debug)]
pub(super) struct ApiError(Box<Refusal>);

#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    /// `None` for those that Azure sends without body.
    error: Option<Error>,
    headers: HeaderMap,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self::of(status, Some(Error::new(code, message)))
    }

    fn of(status: StatusCode, error: Option<Error>) -> Self {
        Self(Box::new(Refusal { status, error, headers: HeaderMap::new() }))
    }

    pub(super) fn internal() -> Self {
        let message = "An internal server error occurred.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", message)
    }

    /// Adds a header.
    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.0.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(super) fn malformed() -> Self {
        Self::bad_request("The request was malformed.")
    }

    pub(super) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "UnprocessableEntity", message)
    }

    pub(super) fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    pub(super) fn session_not_found() -> Self {
        Self::not_found("There is no session with this id.")
    }

    pub(super) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", "The access token does not allow this.")
    }

    /// 401 with an empty body, as the API's clients expect it.
    pub(super) fn invalid_token() -> Self {
        Self::of(StatusCode::UNAUTHORIZED, None).with(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")
    }

    /// 429 with an empty body, as the API has it; after `wait`, the same client gets through.
    pub(super) fn too_many_requests(wait: Duration) -> Self {
        // Whole seconds, rounded up: at 0, SDKs would come again at once.
        let secs = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let mut refusal = Self::of(StatusCode::TOO_MANY_REQUESTS, None);
        refusal.0.headers.insert(RETRY_AFTER, HeaderValue::from(secs.max(1)));
        refusal
    }

    pub(super) fn unavailable() -> Self {
        let message = "The service cannot do this now. Try again in a moment.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message).with(RETRY_AFTER, "1")
    }

    pub(super) fn host_unavailable() -> Self {
        let message = "The session's host cannot be reached now. Try again in a moment.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "HostUnavailable", message).with(RETRY_AFTER, "1")
    }

    /// What a host refused, with the status that belongs to its code.
    pub(super) fn of_host(error: Error) -> Self {
        let status = match error.code.as_str() {
            "ConnectionInUse" | "NoSession" => StatusCode::CONFLICT,
            "BadOffer" => StatusCode::BAD_REQUEST,
            "NoCodec" => StatusCode::NOT_ACCEPTABLE,
            "RenderFailed" => StatusCode::INTERNAL_SERVER_ERROR,
            // Codes of a newer host.
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        // Clients know this state by one name, whoever noticed it.
        let code = if error.code == "NoSession" { "SessionNotReady".to_owned() } else { error.code };
        Self::of(status, Some(Error { code, ..error }))
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotFound => Self::session_not_found(),
            Refused::Conflict => {
                Self::new(StatusCode::CONFLICT, "Conflict", "A resource already exists under the given ID.")
            }
            // No `_` arm: a new reason must choose its status here.
            Refused::Denied(denied @ (Denied::Ended | Denied::LeaseNotLarger { .. })) => {
                Self::unprocessable(denied.to_string())
            }
            Refused::Draining => {
                let message = "The service is about to end and takes no new sessions. Try again in a moment.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "Draining", message).with(RETRY_AFTER, "1")
            }
            Refused::Unavailable => Self::unavailable(),
        }
    }
}

impl From<NoAnswer> for ApiError {
    fn from(no_answer: NoAnswer) -> Self {
        match no_answer {
            NoAnswer::LinkDown | NoAnswer::TooLate => Self::host_unavailable(),
        }
    }
}

impl From<ApiError> for Answer {
    fn from(ApiError(refusal): ApiError) -> Self {
        let mut answer = match refusal.error {
            Some(error) => json(refusal.status, &ErrorBody { error }),
            None => empty(refusal.status),
        };
        answer.headers_mut().extend(refusal.headers);
        answer
    }
}
