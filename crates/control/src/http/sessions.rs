//! Sessions over REST, as Azure Remote Rendering has them.

use axum::body::Body;
use axum::http::StatusCode;
use protocol::SessionId;
use protocol::rest::{self, MAX_LEASE_MINUTES, SessionList, SessionSize, SessionStatus};
use serde_json::Value;
use session::{Minutes, Session, Timestamp};
use tokio::sync::oneshot;

use super::answer::{Answer, empty, json, uncached};
use super::errors::ApiError;
use super::refusals::{ByAccessToken, OfBody};
use super::{App, Call, JSON_BYTES_MAX, Place, asking, own_url, read_body};
use crate::engine::view::{Key, Shown};
use crate::engine::{Event, Refused, Start, Wish, is_remembered};
use crate::store::StoredSession;

/// Sessions on one page of a list.
const PAGE: usize = 100;

/// After which session the list's next page begins. An id rather than a number, which would tell how many sessions
/// other accounts have.
const CONTINUATION: &str = "continuationToken";

/// Body of a request for a session.
#[derive(utoipa::ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub(crate) struct CreateSession {
    /// Total minutes in Ready.
    #[schema(minimum = 0, maximum = 1440)]
    max_lease_time_minutes: u32,
    size: SessionSize,
}

/// Body of a change of a session.
#[derive(utoipa::ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub(crate) struct UpdateSession {
    /// The new total of minutes in Ready, larger than the old one.
    #[schema(minimum = 0, maximum = 1440)]
    max_lease_time_minutes: u32,
}

/// Asks for a session.
#[utoipa::path(
    put, path = "/accounts/{account_id}/sessions/{session_id}", tag = "sessions", operation_id = "CreateSession",
    params(
        ("account_id" = String, Path, description = "Account id, a UUID."),
        ("session_id" = String, Path, description = "Chosen by the client: 1 to 256 of `A-Z a-z 0-9 - _`."),
        ("api-version" = String, Query, description = "`2021-01-01` or `2021-01-01-preview`."),
    ),
    request_body = CreateSession,
    responses(
        ByAccessToken,
        OfBody,
        (status = 201, description = "The session is Starting.", body = rest::Session),
        (status = 200, description = "It exists with the same settings.", body = rest::Session),
        (status = 400, description = "The request is not understood.", body = rest::ErrorBody),
        (status = 409, description = "The id is taken.", body = rest::ErrorBody),
        (status = 503, description = "Try again.", body = rest::ErrorBody),
    ),
    security(("accessToken" = []))
)]
pub(super) async fn create(call: &Call<'_>, id: &str, body: Body) -> Result<Answer, ApiError> {
    let id: SessionId = id
        .parse()
        .map_err(|error| ApiError::bad_request(format!("The session id is not valid: {error}.")))?;
    let body = read_object(body).await?;
    let lease = match body.get("maxLeaseTimeMinutes") {
        None => return Err(ApiError::bad_request("The maxLeaseTimeMinutes value is missing.")),
        Some(value) => match whole_number(value) {
            None => {
                return Err(ApiError::bad_request("The maxLeaseTimeMinutes value must be a whole number."));
            }
            Some(minutes) if minutes < 0 => {
                return Err(ApiError::bad_request("The maxLeaseTimeMinutes value cannot be negative."));
            }
            Some(minutes) => lease_of(minutes).ok_or_else(|| {
                ApiError::bad_request(format!(
                    "The maxLeaseTimeMinutes value cannot be larger than {MAX_LEASE_MINUTES}."
                ))
            })?,
        },
    };
    let size = match body.get("size") {
        None => return Err(ApiError::bad_request("The size value is missing.")),
        Some(Value::String(text)) => SessionSize::parse(text).ok_or_else(|| {
            let shown: String = text.chars().take(64).collect();
            ApiError::bad_request(format!("Can't specify this VM size: {shown}"))
        })?,
        Some(_) => return Err(ApiError::malformed()),
    };
    let start = Start::new(&id, size, asking(call.vector));
    let wish = Wish { key: (call.account, id), size, lease, model: None, start };
    let done = ask(call.app, |reply| Event::Create { wish, reply }).await?;
    let status = if done.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(json(status, &call.app.rest(&done.shown)))
}

/// Reads a session, live or ended in the last 30 days.
#[utoipa::path(
    get, path = "/accounts/{account_id}/sessions/{session_id}", tag = "sessions", operation_id = "GetSession",
    params(
        ("account_id" = String, Path, description = "Account id, a UUID."),
        ("session_id" = String, Path, description = "As chosen at creation."),
        ("api-version" = String, Query, description = "`2021-01-01` or `2021-01-01-preview`."),
    ),
    responses(
        ByAccessToken,
        (status = 200, description = "The session.", body = rest::Session),
        (status = 400, description = "The request is not understood.", body = rest::ErrorBody),
        (status = 404, description = "There is no such session.", body = rest::ErrorBody),
        (status = 503, description = "Try again.", body = rest::ErrorBody),
    ),
    security(("accessToken" = []))
)]
pub(super) async fn get(call: &Call<'_>, id: &str) -> Result<Answer, ApiError> {
    let session = match find(call, id).await? {
        Found::Live(shown) => call.app.rest(&shown),
        Found::Ended(session) => *session,
    };
    Ok(uncached(json(StatusCode::OK, &session)))
}

/// Sets the lease of a session.
#[utoipa::path(
    patch, path = "/accounts/{account_id}/sessions/{session_id}", tag = "sessions", operation_id = "UpdateSession",
    params(
        ("account_id" = String, Path, description = "Account id, a UUID."),
        ("session_id" = String, Path, description = "As chosen at creation."),
        ("api-version" = String, Query, description = "`2021-01-01` or `2021-01-01-preview`."),
    ),
    request_body = UpdateSession,
    responses(
        ByAccessToken,
        OfBody,
        (status = 200, description = "The session with its new lease.", body = rest::Session),
        (status = 400, description = "The request is not understood.", body = rest::ErrorBody),
        (status = 404, description = "There is no such session.", body = rest::ErrorBody),
        (status = 422, description = "The lease is not larger, too large, or over.", body = rest::ErrorBody),
        (status = 503, description = "Try again.", body = rest::ErrorBody),
    ),
    security(("accessToken" = []))
)]
pub(super) async fn update(call: &Call<'_>, id: &str, body: Body) -> Result<Answer, ApiError> {
    let key = key_of(call, id)?;
    let body = read_object(body).await?;
    let minutes = body
        .get("maxLeaseTimeMinutes")
        .and_then(whole_number)
        .ok_or_else(|| ApiError::bad_request("The maxLeaseTimeMinutes value must be a whole number."))?;
    // A value that no lease can have is compared with nothing, but an unknown session is unknown all the same.
    let Some(lease) = lease_of(minutes) else {
        return match find(call, id).await? {
            Found::Live(_) | Found::Ended(_) => Err(ApiError::unprocessable(format!(
                "The maxLeaseTimeMinutes value must be larger than the current value and at most {MAX_LEASE_MINUTES}."
            ))),
        };
    };
    let done = ask(call.app, |reply| Event::SetLease { key, lease, reply }).await?;
    Ok(json(StatusCode::OK, &call.app.rest(&done.shown)))
}

/// Ends a session; again, if need be.
#[utoipa::path(
    post, path = "/accounts/{account_id}/sessions/{session_id}/:stop", tag = "sessions", operation_id = "StopSession",
    params(
        ("account_id" = String, Path, description = "Account id, a UUID."),
        ("session_id" = String, Path, description = "As chosen at creation."),
        ("api-version" = String, Query, description = "`2021-01-01` or `2021-01-01-preview`."),
    ),
    responses(
        ByAccessToken,
        (status = 204, description = "The session has ended."),
        (status = 400, description = "The request is not understood.", body = rest::ErrorBody),
        (status = 404, description = "There is no such session.", body = rest::ErrorBody),
        (status = 503, description = "Try again.", body = rest::ErrorBody),
    ),
    security(("accessToken" = []))
)]
pub(super) async fn stop(call: &Call<'_>, id: &str) -> Result<Answer, ApiError> {
    let key = key_of(call, id)?;
    ask(call.app, |reply| Event::Stop { key, reply }).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Lists the sessions that have not ended, oldest first.
#[utoipa::path(
    get, path = "/accounts/{account_id}/sessions", tag = "sessions", operation_id = "ListSessions",
    params(
        ("account_id" = String, Path, description = "Account id, a UUID."),
        ("api-version" = String, Query, description = "`2021-01-01` or `2021-01-01-preview`."),
        ("continuationToken" = Option<String>, Query, description = "From `@nextLink`."),
    ),
    responses(
        ByAccessToken,
        (status = 200, description = "A page of at most 100 sessions.", body = SessionList),
        (status = 400, description = "The request is not understood.", body = rest::ErrorBody),
        (status = 503, description = "Try again.", body = rest::ErrorBody),
    ),
    security(("accessToken" = []))
)]
pub(super) async fn list(call: &Call<'_>) -> Result<Answer, ApiError> {
    let after = match call.query.value(CONTINUATION) {
        None => 0,
        Some(id) => place_of(call, &id).await?.ok_or_else(ApiError::malformed)?,
    };
    let mut page = call.app.view.page(call.account, after, PAGE + 1);
    let more = page.len() > PAGE;
    page.truncate(PAGE);
    let next_link = page.last().filter(|_| more).map(|last| {
        let version = call.query.value("api-version").unwrap_or_default();
        format!(
            "{}/accounts/{}/sessions?api-version={version}&{CONTINUATION}={}",
            own_url(call.entrance, &call.parts.headers),
            call.account_text,
            last.id,
        )
    });
    let sessions = page.iter().map(|shown| call.app.rest(shown)).collect();
    Ok(uncached(json(StatusCode::OK, &SessionList { sessions, next_link })))
}

/// Where a session stands in the order of creation, also if it has ended since.
async fn place_of(call: &Call<'_>, id: &str) -> Result<Option<i64>, ApiError> {
    let Ok(key) = key_of(call, id) else { return Ok(None) };
    match call.app.view.session(&key) {
        Some(shown) => Ok(Some(shown.seq)),
        None => Ok(stored(call, &key).await?.map(|stored| stored.seq)),
    }
}

/// A session that may be read.
pub(super) enum Found {
    Live(std::sync::Arc<Shown>),
    Ended(Box<rest::Session>),
}

/// Looks a session up; 404 if it was never there or is forgotten.
pub(super) async fn find(call: &Call<'_>, id: &str) -> Result<Found, ApiError> {
    let key = key_of(call, id)?;
    if let Some(shown) = call.app.view.session(&key) {
        return Ok(Found::Live(shown));
    }
    let now = call.app.clock.now();
    stored(call, &key)
        .await?
        .filter(|stored| is_remembered(now, stored))
        .and_then(|stored| ended(stored, now, &call.app.place))
        .map(|session| Found::Ended(Box::new(session)))
        .ok_or_else(ApiError::session_not_found)
}

async fn stored(call: &Call<'_>, key: &Key) -> Result<Option<StoredSession>, ApiError> {
    call.app.store.session(key.0, &key.1).await.map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "failed to read a session");
        ApiError::unavailable()
    })
}

/// An id that cannot be one names no session.
fn key_of(call: &Call<'_>, id: &str) -> Result<Key, ApiError> {
    let id = id.parse().map_err(|_no_id| ApiError::session_not_found())?;
    Ok((call.account, id))
}

async fn ask<T>(
    app: &App,
    event: impl FnOnce(oneshot::Sender<Result<T, Refused>>) -> Event,
) -> Result<T, ApiError> {
    let (reply, answer) = oneshot::channel();
    app.engine.send(event(reply)).await.map_err(|_ended| ApiError::unavailable())?;
    Ok(answer.await.map_err(|_ended| ApiError::unavailable())??)
}

async fn read_object(body: Body) -> Result<serde_json::Map<String, Value>, ApiError> {
    let bytes = read_body(body, JSON_BYTES_MAX).await?;
    serde_json::from_slice(&bytes).map_err(|_odd| ApiError::malformed())
}

/// JSON integers only: `5.0` and `"5"` are refused. Integers beyond 64 bits count as the largest.
fn whole_number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_u64().map(|_| i64::MAX))
}

fn lease_of(minutes: i64) -> Option<Minutes> {
    u32::try_from(minutes).ok().and_then(|minutes| Minutes::new(minutes).ok())
}

impl App {
    fn rest(&self, shown: &Shown) -> rest::Session {
        describe(&shown.id, &shown.creation_time, shown.size, &shown.life, self.clock.now(), &self.place)
    }
}

fn ended(stored: StoredSession, now: Timestamp, place: &Place) -> Option<rest::Session> {
    let life = Session::restore(now, stored.life, stored.host.is_some())?;
    Some(describe(&stored.id, &stored.creation_time, stored.size, &life, now, place))
}

/// A session in the words of the API: which fields are there depends on its state.
fn describe(
    id: &SessionId,
    creation_time: &str,
    size: SessionSize,
    life: &Session,
    now: Timestamp,
    place: &Place,
) -> rest::Session {
    let status = life.status();
    let ready = status == SessionStatus::Ready;
    rest::Session {
        id: id.clone(),
        creation_time: creation_time.to_owned(),
        arr_inspector_port: ready.then_some(place.inspector_port),
        handshake_port: ready.then_some(place.handshake_port),
        elapsed_time_minutes: life.elapsed_minutes(now),
        hostname: ready.then(|| place.hostname.clone()),
        max_lease_time_minutes: life.lease().get(),
        size,
        status,
        teraflops: life.was_ready().then(|| place.sizes.of(size).teraflops),
        error: life.error().cloned(),
    }
}
