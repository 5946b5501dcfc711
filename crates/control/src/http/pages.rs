//! The viewer and the console, embedded when the program was built.

use std::sync::LazyLock;

use aws_lc_rs::digest;
use axum::body::{Body, Bytes};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, REFERRER_POLICY,
};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::answer::{Answer, empty};
use super::errors::ApiError;

/// Path below the pages' folder, content and tag of every file.
type Files = LazyLock<Vec<(&'static str, &'static [u8], HeaderValue)>>;

static VIEWER: Files = LazyLock::new(|| tagged(include!(concat!(env!("OUT_DIR"), "/viewer.rs"))));
static CONSOLE: Files = LazyLock::new(|| tagged(include!(concat!(env!("OUT_DIR"), "/console.rs"))));

fn tagged(files: &[(&'static str, &'static [u8])]) -> Vec<(&'static str, &'static [u8], HeaderValue)> {
    files.iter().map(|(name, content)| (*name, *content, tag(content))).collect()
}

/// What is shown by a program that was built without the pages.
const PLACEHOLDER: &[u8] = b"<!doctype html><meta charset=utf-8><title>Belvedere</title>\
    <p>This build has no pages. Build <code>web/</code> first, then the program again.";

/// The pages run their own scripts, show pictures and video that they made themselves, and talk to their own server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
    media-src 'self' blob: mediastream:; connect-src 'self'; font-src 'self'; worker-src 'self' blob:; \
    manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page that measures the way to other servers. It asks them for nothing but how long they take, and it has no
/// business with tokens.
const LATENCY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self' https: http:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const LATENCY_PAGE: &str = "latency.html";

static HEADERS: [(HeaderName, HeaderValue); 4] = [
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    // Asked for again each time, answered with 304: a new build shows at once.
    (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// Isolates the page from others, for which browsers give it clocks of 5 µs.
const EMBEDDER_POLICY: HeaderName = HeaderName::from_static("cross-origin-embedder-policy");

/// Serves the file at `path` below `/viewer/`.
pub(super) fn viewer(path: &str, parts: &Parts) -> Answer {
    let mut answer = serve(&VIEWER, path, parts);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    answer.headers_mut().insert(EMBEDDER_POLICY, HeaderValue::from_static("require-corp"));
    answer
}

/// Serves the file at `path` below `/console/`.
pub(super) fn console(path: &str, parts: &Parts) -> Answer {
    let mut answer = serve(&CONSOLE, path, parts);
    let policy = if path == LATENCY_PAGE { LATENCY_POLICY } else { POLICY };
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    answer
}

fn serve(files: &Files, path: &str, parts: &Parts) -> Answer {
    let name = if path.is_empty() { "index.html" } else { path };
    let (content, tag) = match files.iter().find(|(file, ..)| *file == name) {
        Some((_, content, tag)) => (*content, tag.clone()),
        None if path.is_empty() => (PLACEHOLDER, tag(PLACEHOLDER)),
        None => return ApiError::not_found("There is no such file.").into(),
    };
    let known = parts.headers.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let fresh =
        known.is_some_and(|tags| tags.split(',').any(|known| known.trim().as_bytes() == tag.as_bytes()));
    let mut answer = empty(if fresh { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
    if !fresh && parts.method != Method::HEAD {
        *answer.body_mut() = Body::from(Bytes::from_static(content));
    }
    let headers = answer.headers_mut();
    headers.extend(HEADERS.iter().cloned());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(name)));
    headers.insert(ETAG, tag);
    answer
}

fn tag(content: &[u8]) -> HeaderValue {
    let hash = digest::digest(&digest::SHA256, content);
    // 96 bits: enough to tell builds apart.
    let text = URL_SAFE_NO_PAD.encode(hash.as_ref().get(..12).unwrap_or_default());
    HeaderValue::try_from(format!("\"{text}\""))
        .unwrap_or_else(|_base64_is_ascii| HeaderValue::from_static("\"\""))
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
