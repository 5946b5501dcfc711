//! What is told about a request when it has been answered: a line in the log, and a record in the audit log if it
//! changed something, gave a token or key out, or was refused.

use std::time::Duration;

use axum::http::{HeaderMap, Method, StatusCode};
use tracing::Span;

use super::answer::Answer;
use super::route::{Management, Rendering, Route};
use super::{App, Entrance};
use crate::audit::{Actor, Outcome, Record, timestamp};

/// Longest path in a record. Ours end at some 400 characters.
const TARGET_CHARS_MAX: usize = 512;

/// Says who asked; handlers put it beside their answer.
pub(super) fn by(actor: Actor, mut answer: Answer) -> Answer {
    answer.extensions_mut().insert(actor);
    answer
}

/// A request that has been answered.
pub(super) struct Answered<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) route: Option<Route<'a>>,
    pub(super) answer: &'a Answer,
    pub(super) vector: &'a str,
    pub(super) took: Duration,
}

/// Tells of it.
pub(super) fn tell(app: &App, entrance: &Entrance, answered: &Answered<'_>) {
    let Answered { method, route, answer, vector, took, .. } = answered;
    let status = answer.status();
    let actor = answer.extensions().get::<Actor>();
    let account = actor.and_then(Actor::account);
    // Addresses as the API describes them: what stands in their variable parts is the client's.
    tracing::info!(
        target: "belvedere::request",
        %method,
        route = template(*route),
        status = status.as_u16(),
        ms = took.as_micros() as f64 / 1_000.0,
        account = account.map(tracing::field::display),
        cv = vector,
        remote = %entrance.peer,
        "answered"
    );
    let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let Some(action) = action(*route, method).or(refused.then_some("read")) else { return };
    // Who floods us with refusals is held off before; see `Rates::refuse`.
    if status == StatusCode::TOO_MANY_REQUESTS {
        return;
    }
    let target = actor.map(|_| answered.path.chars().take(TARGET_CHARS_MAX).collect());
    app.audit.write(Record {
        time: timestamp(app.clock.wall()),
        actor: actor.cloned().unwrap_or(Actor::Nobody),
        action,
        target,
        outcome: match status.as_u16() {
            ..400 => Outcome::Done,
            400..500 => Outcome::Refused,
            500.. => Outcome::Failed,
        },
        status: Some(status.as_u16()),
        correlation_vector: Some((*vector).to_owned()),
        remote: Some(entrance.peer),
    });
}

/// The span of a request, continuing what the client says it is part of; none for those that are asked all day by
/// machines.
pub(super) fn span(method: &Method, route: Option<Route<'_>>, headers: &HeaderMap, vector: &str) -> Span {
    if matches!(route, Some(Route::Health | Route::Readiness | Route::Metrics | Route::Link)) {
        return Span::none();
    }
    let route = template(route);
    // Names by OpenTelemetry's semantic conventions for HTTP.
    let span = tracing::info_span!(
        target: telemetry::TARGET,
        "request",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = tracing::field::Empty,
        http.request.method = %method,
        http.route = route,
        http.response.status_code = tracing::field::Empty,
        cv = vector,
    );
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(traceparent) = text("traceparent") {
        telemetry::continue_from(&span, traceparent, text("tracestate"));
    }
    span
}

/// Says how the request of `span` was answered.
pub(super) fn close(span: &Span, status: StatusCode) {
    // Signed: OpenTelemetry knows no other whole numbers.
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// What a request wants to change or to have, if it is more than to look.
fn action(route: Option<Route<'_>>, method: &Method) -> Option<&'static str> {
    let is = |wanted: Method| *method == wanted;
    match route? {
        Route::Token { .. } if is(Method::GET) => Some("token.issue"),
        Route::Rendering { what, .. } => match what {
            Rendering::Session { .. } if is(Method::PUT) => Some("session.create"),
            Rendering::Session { .. } if is(Method::PATCH) => Some("session.extend"),
            Rendering::Stop { .. } if is(Method::POST) => Some("session.stop"),
            Rendering::Connections { .. } if is(Method::POST) => Some("connection.open"),
            Rendering::Connection { .. } if is(Method::DELETE) => Some("connection.close"),
            Rendering::Conversion { .. } if is(Method::PUT) => Some("conversion.create"),
            _ => None,
        },
        Route::Management(what) => match what {
            Management::Account(_) if is(Method::PUT) => Some("account.create"),
            Management::Account(_) if is(Method::PATCH) => Some("account.update"),
            Management::Account(_) if is(Method::DELETE) => Some("account.delete"),
            Management::Keys(_) if is(Method::POST) => Some("account.listKeys"),
            Management::RegenerateKeys(_) if is(Method::POST) => Some("account.regenerateKey"),
            _ => None,
        },
        _ => None,
    }
}

/// The address without what the client chose.
fn template(route: Option<Route<'_>>) -> &'static str {
    match route {
        None => "(none)",
        Some(Route::Root | Route::BareViewer) => "/",
        Some(Route::Health) => "/healthz",
        Some(Route::Readiness) => "/readyz",
        Some(Route::Metrics) => "/metrics",
        Some(Route::Jwks) => "/.well-known/jwks.json",
        Some(Route::Link) => "/internal/link",
        Some(Route::Viewer(_)) => "/viewer/{file}",
        Some(Route::Console(_)) => "/console/{file}",
        Some(Route::Token { .. }) => "/Accounts/{account}/token",
        Some(Route::Rendering { what, .. }) => match what {
            Rendering::Sessions => "/accounts/{account}/sessions",
            Rendering::Session { .. } => "/accounts/{account}/sessions/{id}",
            Rendering::Stop { .. } => "/accounts/{account}/sessions/{id}/:stop",
            Rendering::Connections { .. } => "/accounts/{account}/sessions/{id}/connection",
            Rendering::Connection { .. } => "/accounts/{account}/sessions/{id}/connection/{connection}",
            Rendering::Still { .. } => "/accounts/{account}/sessions/{id}/still",
            Rendering::Conversions => "/accounts/{account}/conversions",
            Rendering::Conversion { .. } => "/accounts/{account}/conversions/{id}",
        },
        Some(Route::Management(what)) => match what {
            Management::Operations => "management/operations",
            Management::NameAvailability { .. } => "management/checkNameAvailability",
            Management::Accounts { .. } => "management/accounts",
            Management::Account(_) => "management/accounts/{name}",
            Management::Keys(_) => "management/accounts/{name}/listKeys",
            Management::RegenerateKeys(_) => "management/accounts/{name}/regenerateKeys",
        },
    }
}
