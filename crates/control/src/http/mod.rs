//! The HTTP surface: one function from a request to an answer, for all listeners.
//!
//! Paths are matched raw, still percent-encoded ([`route`]). Every answer gets its headers here.

mod answer;
pub(crate) mod connection;
pub(crate) mod conversions;
pub(crate) mod cors;
mod errors;
pub(crate) mod listen;
pub(crate) mod management;
mod operations;
mod pages;
mod query;
pub(crate) mod rates;
mod record;
mod refusals;
mod route;
pub(crate) mod sessions;
pub(crate) mod sts;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::header::{
    ALLOW, AUTHORIZATION, CONTENT_TYPE, HOST, LOCATION, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use base64::Engine as _;
use protocol::AccountId;
use protocol::link::{MAX_STILL_BYTES, Trace};
use protocol::rest::API_VERSIONS;
use tokio::sync::mpsc;
use tracing::{Instrument as _, Span};

use crate::audit::{Actor, Audit};
use crate::clock::Clock;
use crate::engine::Event;
use crate::engine::credentials::Credentials;
use crate::engine::view::View;
use crate::link::Pace;
use crate::metrics::Metrics;
use crate::oidc::Issuers;
use crate::secrets::SecretHash;
use crate::sizes::Sizes;
use crate::store::Store;
use crate::tls::Current;
use crate::tokens::{Identity, Role, Tokens};
use answer::{Answer, empty, text};
use cors::Origins;
use errors::ApiError;
use management::ManagementToken;
use query::Query;
use rates::{Class, Rates};
use route::{Rendering, Route};

/// Longest JSON body of a request; ours are some hundred bytes.
const JSON_BYTES_MAX: usize = 64 * 1024;

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What is read of a link in one go; longer messages take more for as long as they last.
const LINK_BUFFER_BYTES: usize = 4_096;

/// What every request may use.
pub(crate) struct App {
    pub(crate) engine: mpsc::Sender<Event>,
    pub(crate) view: Arc<View>,
    pub(crate) store: Store,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) clock: Arc<dyn Clock>,
    /// What sessions say about where they are.
    pub(crate) place: Place,
    /// Of hosts, for their links.
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) rates: Rates,
    pub(crate) origins: Origins,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) issuers: Issuers,
    pub(crate) audit: Arc<Audit>,
    pub(crate) certificate: Arc<Current>,
    /// What opens the management API; without it, there is none.
    pub(crate) management: Option<ManagementToken>,
}

/// What clients are told of hosts.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) hostname: String,
    /// Where SDKs find the token service, without `https://sts.` before it.
    pub(crate) account_domain: String,
    pub(crate) handshake_port: u16,
    pub(crate) inspector_port: u16,
    /// What they can do, by size.
    pub(crate) sizes: Sizes,
}

/// How a request came in.
#[derive(Clone, Debug)]
pub(crate) struct Entrance {
    pub(crate) scheme: &'static str,
    /// Address and port, for a request that names no usable host.
    pub(crate) authority: Arc<str>,
    /// Who sent it; a proxy, if there is one.
    pub(crate) peer: IpAddr,
}

/// Answers one request.
pub(crate) async fn serve(app: Arc<App>, entrance: Entrance, request: Request<Body>) -> Response<Body> {
    let began = Instant::now();
    let vector = correlation_vector();
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let route = route::parse(&path)
        .filter(|route| app.management.is_some() || !matches!(route, Route::Management(_)));
    let span = record::span(&parts.method, route, &parts.headers, &vector);
    let mut answer = match route.and_then(|route| app.origins.preflight(route, &parts)) {
        Some(preflight) => preflight,
        None => answer(&app, &entrance, route, &vector, &mut parts, body).instrument(span.clone()).await,
    };
    if matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        && let Err(wait) = app.rates.refuse(app.clock.now(), entrance.peer)
    {
        app.metrics.count_held_off();
        answer = ApiError::too_many_requests(wait).into();
    }
    app.metrics.count_answer(operations::area(route), answer.status());
    app.origins.mark(route, &parts.headers, &mut answer);
    record::tell(
        &app,
        &entrance,
        &record::Answered {
            method: &parts.method,
            path: &path,
            route,
            answer: &answer,
            vector: &vector,
            took: began.elapsed(),
        },
    );
    record::close(&span, answer.status());
    let headers = answer.headers_mut();
    if let Ok(vector) = HeaderValue::try_from(vector) {
        headers.insert("MS-CV", vector);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

async fn answer(
    app: &Arc<App>,
    entrance: &Entrance,
    route: Option<Route<'_>>,
    vector: &str,
    parts: &mut Parts,
    body: Body,
) -> Answer {
    match route {
        None => ApiError::not_found("There is nothing at this address.").into(),
        Some(route) if !route.methods().contains(&parts.method) => {
            let allowed: Vec<&str> = route.methods().iter().map(Method::as_str).collect();
            let message = format!("This address takes {} requests.", allowed.join(" and "));
            let mut response: Answer =
                ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).into();
            if let Ok(allow) = HeaderValue::from_str(&allowed.join(", ")) {
                response.headers_mut().insert(ALLOW, allow);
            }
            response
        }
        Some(Route::Root) => elsewhere("/console/"),
        Some(Route::BareViewer) => elsewhere("/viewer/"),
        Some(Route::Health) => text(StatusCode::OK, "text/plain; charset=utf-8", "ok\n"),
        Some(Route::Readiness) => operations::ready(app).await,
        Some(Route::Metrics) => operations::metrics(app, entrance).await,
        Some(Route::Jwks) => text(StatusCode::OK, "application/json; charset=utf-8", app.tokens.jwks()),
        Some(Route::Viewer(file)) => pages::viewer(file, parts),
        Some(Route::Console(file)) => pages::console(file, parts),
        Some(Route::Link) => link(Arc::clone(app), parts).await,
        Some(Route::Token { account }) => sts::token(app, entrance, account, &parts.headers).await,
        Some(Route::Management(what)) => management::answer(app, entrance, what, parts, body).await,
        Some(Route::Rendering { account, what }) => {
            rendering(app, entrance, account, what, vector, parts, body).await.unwrap_or_else(Answer::from)
        }
    }
}

fn elsewhere(path: &'static str) -> Answer {
    let mut response = empty(StatusCode::FOUND);
    response.headers_mut().insert(LOCATION, HeaderValue::from_static(path));
    response
}

/// A request of an authorised client about its account.
struct Call<'a> {
    app: &'a App,
    entrance: &'a Entrance,
    account: AccountId,
    /// As the client spelled it.
    account_text: &'a str,
    /// The answer's `MS-CV`.
    vector: &'a str,
    parts: &'a Parts,
    query: Query<'a>,
}

impl Call<'_> {
    /// What the host is told of this request.
    fn trace(&self) -> Trace {
        Trace {
            correlation_vector: asking(self.vector),
            traceparent: telemetry::traceparent(&Span::current()),
        }
    }
}

/// The correlation vector under which something is asked for a request: the answer has the number 0.
pub(crate) fn asking(vector: &str) -> String {
    format!("{}.1", vector.strip_suffix(".0").unwrap_or(vector))
}

/// Checks in the order that the API promises: version, token, account and role, rate; ids, bodies and states come
/// later.
async fn rendering(
    app: &App,
    entrance: &Entrance,
    account_text: &str,
    what: Rendering<'_>,
    vector: &str,
    parts: &Parts,
    body: Body,
) -> Result<Answer, ApiError> {
    let query = Query::new(parts.uri.query().unwrap_or_default());
    if what.is_versioned() {
        check_version(&query)?;
    }
    let identity = bearer(&parts.headers)
        .and_then(|token| app.tokens.check(token, app.clock.wall()))
        .ok_or_else(ApiError::invalid_token)?;
    let actor = Actor::AccessToken { account: identity.account, role: identity.role };
    let answer = async {
        let account = authorise(identity, account_text, &what)?;
        let class = Class::of(what, &parts.method);
        app.rates.take(app.clock.now(), account, class).map_err(ApiError::too_many_requests)?;
        let call = Call { app, entrance, account, account_text, vector, parts, query };
        match what {
            Rendering::Sessions => sessions::list(&call).await,
            Rendering::Session { id } => match parts.method {
                Method::PUT => sessions::create(&call, id, body).await,
                Method::PATCH => sessions::update(&call, id, body).await,
                _ => sessions::get(&call, id).await,
            },
            Rendering::Stop { id } => sessions::stop(&call, id).await,
            Rendering::Connections { session } => connection::connect(&call, session, body).await,
            Rendering::Connection { session, id } => connection::disconnect(&call, session, id).await,
            Rendering::Still { session } => connection::still(&call, session).await,
            Rendering::Conversions => conversions::list(),
            Rendering::Conversion { .. } => match parts.method {
                Method::PUT => conversions::create(),
                _ => conversions::get(),
            },
        }
    };
    let mut answer = answer.await.unwrap_or_else(Answer::from);
    answer.headers_mut().insert(SUPPORTED_VERSIONS, HeaderValue::from_static(SUPPORTED_VERSIONS_TEXT));
    Ok(record::by(actor, answer))
}

const SUPPORTED_VERSIONS: HeaderName = HeaderName::from_static("api-supported-versions");
const SUPPORTED_VERSIONS_TEXT: &str = "2021-01-01-preview, 2021-01-01";

fn check_version(query: &Query<'_>) -> Result<(), ApiError> {
    let refuse = |code, message: String| {
        ApiError::new(StatusCode::BAD_REQUEST, code, message)
            .with(SUPPORTED_VERSIONS, SUPPORTED_VERSIONS_TEXT)
    };
    match query.value("api-version") {
        None => Err(refuse(
            "ApiVersionUnspecified",
            format!("An API version is required; add api-version={} to the address.", API_VERSIONS[1]),
        )),
        Some(version) if API_VERSIONS.contains(&version.as_ref()) => Ok(()),
        Some(_) => Err(refuse(
            "UnsupportedApiVersion",
            format!("This API version is not supported; these are: {SUPPORTED_VERSIONS_TEXT}."),
        )),
    }
}

fn authorise(identity: Identity, account_text: &str, what: &Rendering<'_>) -> Result<AccountId, ApiError> {
    // Nobody has a token of an account that cannot exist.
    let account = account_text.parse().ok().filter(|account| *account == identity.account);
    let role_allows = match (identity.role, what) {
        (Role::Administrator, _) => true,
        (Role::Client, Rendering::Conversions | Rendering::Conversion { .. }) => false,
        (Role::Client, _) => true,
    };
    account.filter(|_| role_allows).ok_or_else(ApiError::forbidden)
}

/// The text after `Bearer`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

/// Reads a body of at most `n_bytes_max` in a limited time.
async fn read_body(body: Body, n_bytes_max: usize) -> Result<axum::body::Bytes, ApiError> {
    match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, n_bytes_max)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_long(&error) => Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestTooLarge",
            format!("The body of this request may have at most {n_bytes_max} bytes."),
        )),
        Ok(Err(_)) => Err(ApiError::malformed()),
        Err(_elapsed) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "RequestTimeout",
            "The body of the request did not arrive in time.",
        )),
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    // The only cause that is not a broken connection; its type belongs to a crate we do not name.
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(this) = cause {
        if this.to_string().contains("length limit exceeded") {
            return true;
        }
        cause = this.source();
    }
    false
}

/// The host's own way in. Who is no host holds nothing here: it is refused before the upgrade, and so are browsers,
/// which cannot send the header.
async fn link(app: Arc<App>, parts: &mut Parts) -> Answer {
    let token = bearer(&parts.headers).filter(|token| app.credentials.host(SecretHash::of(token)).is_some());
    let Some(token) = token.map(str::to_owned) else {
        let message = "This address is for hosts that this service started.";
        return ApiError::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
            .with(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")
            .into();
    };
    let upgrade = match WebSocketUpgrade::from_request_parts(parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(_no_websocket) => {
            let message = "This address takes WebSockets.";
            return ApiError::new(StatusCode::UPGRADE_REQUIRED, "UpgradeRequired", message).into();
        }
    };
    upgrade
        // Links are many and mostly quiet: the default of 128 KiB, allocated at once, would be most of their memory.
        .read_buffer_size(LINK_BUFFER_BYTES)
        // A still picture with its number is the longest message.
        .max_message_size(MAX_STILL_BYTES + 8)
        .max_frame_size(MAX_STILL_BYTES + 8)
        .on_upgrade(move |socket| async move {
            let clock = app.clock.as_ref();
            crate::link::serve(socket, token, clock, Pace::REAL, app.engine.clone()).await;
        })
}

/// 22 base64 characters and `.0`, new for every answer: what Microsoft's services trace requests with.
pub(crate) fn correlation_vector() -> String {
    let id = base64::engine::general_purpose::STANDARD_NO_PAD.encode(rand::random::<[u8; 16]>());
    format!("{id}.0")
}

/// The scheme and host under which the client reached us, for links that it is to follow.
fn own_url(entrance: &Entrance, headers: &HeaderMap) -> String {
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        // What ends up in a link must not be able to change its path.
        .filter(|host| {
            host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b)) && !host.is_empty()
        });
    format!("{}://{}", entrance.scheme, host.unwrap_or(&entrance.authority))
}

fn is_media_type(headers: &HeaderMap, wanted: &str) -> bool {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}
