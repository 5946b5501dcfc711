//! Listeners: TCP or TLS, HTTP/1.1.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use std::{io, pin};

use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rand::RngExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::{App, Entrance};
use crate::tls::ACME_ALPN;

/// Connections of one listener. More wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4_096;

/// From the connection to the end of the TLS handshake, and from there to the end of the first headers.
const GREETING_TIMEOUT: Duration = Duration::from_secs(15);

/// Requests that are being answered when the service ends have this long.
const DRAIN: Duration = Duration::from_secs(1);

/// The ports that the API allows for a session's handshake and inspector.
pub const SESSION_PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_534;

/// Random ports that are tried before giving up; the range has 16,000.
const PORT_TRIES: usize = 100;

/// Serves `listener` until `shutdown` says so.
pub(crate) async fn run(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Arc<App>,
    entrance: Entrance,
    mut shutdown: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Dropped with this task, and with it every connection.
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = told(&mut shutdown) => break,
        };
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Mostly too many open files, which passes.
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let entrance = Entrance { peer: peer.ip(), ..entrance.clone() };
        let (tls, app, shutdown) = (tls.clone(), Arc::clone(&app), shutdown.clone());
        connections.spawn(async move {
            let _place = place;
            serve_stream(stream, tls, app, entrance, shutdown).await;
        });
    }
    drop(listener);
    let drained = timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::debug!("connections were cut at the end");
    }
}

/// Waits until the service ends, or until nobody is left to say so.
async fn told(shutdown: &mut watch::Receiver<bool>) {
    let _nobody = shutdown.wait_for(|end| *end).await.is_err();
}

async fn serve_stream(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    app: Arc<App>,
    entrance: Entrance,
    shutdown: watch::Receiver<bool>,
) {
    // Answers are one small write each.
    let _cosmetic = stream.set_nodelay(true).is_err();
    match tls {
        None => serve_http(stream, app, entrance, shutdown).await,
        Some(tls) => match timeout(GREETING_TIMEOUT, tls.accept(stream)).await {
            // The handshake was all that the ACME server came for.
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(ACME_ALPN) => {}
            Ok(Ok(stream)) => serve_http(stream, app, entrance, shutdown).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_elapsed) => tracing::debug!("a TLS handshake took too long"),
        },
    }
}

async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    app: Arc<App>,
    entrance: Entrance,
    mut shutdown: watch::Receiver<bool>,
) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (app, entrance) = (Arc::clone(&app), entrance.clone());
        async move { Ok::<_, Infallible>(super::serve(app, entrance, request.map(Body::new)).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(GREETING_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told(&mut shutdown) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection broke");
    }
}

/// Binds a session port at `ip`: `wanted`, or another of the allowed ones if it is 0 or taken.
pub(crate) async fn bind_session_port(ip: IpAddr, wanted: u16) -> io::Result<TcpListener> {
    if wanted != 0 {
        match TcpListener::bind(SocketAddr::new(ip, wanted)).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                tracing::warn!(port = wanted, "the port is taken, another one will do");
            }
            done => return done,
        }
    }
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORT_TRIES {
        let port = rand::rng().random_range(SESSION_PORTS);
        match TcpListener::bind(SocketAddr::new(ip, port)).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            done => return done,
        }
    }
    Err(last)
}
