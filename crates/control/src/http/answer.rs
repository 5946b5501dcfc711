//! Answers in the forms that the API uses.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use axum::http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

/// What every handler returns.
pub(super) type Answer = Response<Body>;

/// An answer without body and without type.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

/// An answer with a body of a fixed type.
pub(super) fn text(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// Compact JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => text(status, "application/json; charset=utf-8", body),
        Err(error) => {
            // Our own types have string keys and finite numbers.
            tracing::error!(%error, "failed to write an answer");
            empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// Marks what must be asked for anew every time.
pub(super) fn uncached(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store,no-cache"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    answer
}
