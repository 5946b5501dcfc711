//! For those who run the service: is it there, can it work, what has it done.

use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::answer::{Answer, text};
use super::errors::ApiError;
use super::route::{Rendering, Route};
use super::{App, Entrance};
use crate::engine::Event;
use crate::metrics::{Area, Census};

/// How long the engine and the store may take to answer; they take milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether it can do its work: the engine decides and takes sessions, and the store answers.
pub(super) async fn ready(app: &App) -> Answer {
    let plain = |status, words| text(status, "text/plain; charset=utf-8", words);
    let works = async { census(app).await.zip(app.store.works().await.then_some(())) };
    match timeout(PATIENCE, works).await {
        Ok(Some((census, ()))) if census.draining => plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        Ok(Some(_)) => plain(StatusCode::OK, "ready\n"),
        Ok(None) | Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}

/// Numbers about all accounts, so only for who is on this machine.
pub(super) async fn metrics(app: &App, entrance: &Entrance) -> Answer {
    if entrance.scheme != "http" || !entrance.peer.to_canonical().is_loopback() {
        return ApiError::not_found("There is nothing at this address.").into();
    }
    match timeout(PATIENCE, census(app)).await {
        Ok(Some(census)) => text(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            app.metrics.text(&census, app.store.written(), app.certificate.ends(), &app.audit.health),
        ),
        Ok(None) | Err(_) => ApiError::unavailable().into(),
    }
}

async fn census(app: &App) -> Option<Census> {
    let (reply, census) = oneshot::channel();
    app.engine.send(Event::Count { reply }).await.ok()?;
    census.await.ok()
}

/// Under what an answer is counted.
pub(super) fn area(route: Option<Route<'_>>) -> Area {
    match route {
        Some(Route::Rendering { what, .. }) => match what {
            Rendering::Sessions | Rendering::Session { .. } | Rendering::Stop { .. } => Area::Sessions,
            Rendering::Connections { .. } | Rendering::Connection { .. } | Rendering::Still { .. } => {
                Area::Connections
            }
            Rendering::Conversions | Rendering::Conversion { .. } => Area::Conversions,
        },
        Some(Route::Token { .. }) => Area::Tokens,
        Some(Route::Management(_)) => Area::Management,
        Some(Route::Viewer(_) | Route::BareViewer) => Area::Viewer,
        Some(Route::Console(_) | Route::Root) => Area::Console,
        None | Some(Route::Health | Route::Readiness | Route::Metrics | Route::Jwks | Route::Link) => {
            Area::Other
        }
    }
}
