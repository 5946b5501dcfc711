//! Pages of other origins: what browsers ask before they let them call us, and what they want to hear.
//!
//! Access tokens travel in a header that no browser sends by itself, never in cookies, so a page without a token
//! reads nothing. Origins are listed all the same: a token that leaks is of no use to a page from elsewhere.

use std::str::FromStr;

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use super::answer::{Answer, empty};
use super::route::Route;

/// Request headers that our own pages and Azure's SDKs send.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, X-MRC-CV, x-ms-client-request-id, \
    x-ms-return-client-request-id, x-ms-useragent, traceparent, tracestate";

/// Answer headers that pages may read, beside those that they always may.
const ANSWER_HEADERS: &str = "MS-CV, Location, Retry-After, WWW-Authenticate, Allow, api-supported-versions";

/// Seconds for which browsers remember the answer; they cap it between 10 minutes and a day.
const MAX_AGE_SECS: &str = "600";

/// Where a page is from: `https://example.com` or `http://localhost:5173`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// A text that is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an origin is http:// or https://, a host in lower case, and a port unless it is the usual one, such as https://example.com or http://localhost:5173"
)]
pub struct NoOrigin;

impl FromStr for Origin {
    type Err = NoOrigin;

    /// Takes origins as browsers write them, since they are compared letter by letter.
    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        let uri: Uri = text.parse().map_err(|_odd| NoOrigin)?;
        let (scheme, authority) = uri.scheme_str().zip(uri.authority()).ok_or(NoOrigin)?;
        let usual_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return Err(NoOrigin),
        };
        let port = match authority.port_u16() {
            Some(port) if port == usual_port => return Err(NoOrigin),
            Some(port) => format!(":{port}"),
            None => String::new(),
        };
        // Without user, path, upper case, or whatever else the parser lets pass.
        let written = format!("{scheme}://{}{port}", authority.host().to_ascii_lowercase());
        if written != text || authority.host().is_empty() {
            return Err(NoOrigin);
        }
        HeaderValue::try_from(written).map(Self).map_err(|_odd| NoOrigin)
    }
}

/// The origins that may call us.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Vec<Origin>);

impl Origins {
    pub(crate) fn new(origins: Vec<Origin>) -> Self {
        Self(origins)
    }

    /// The request's origin, if it is one of them.
    fn listed<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        headers.get(ORIGIN).filter(|origin| self.0.iter().any(|listed| listed.0 == **origin))
    }

    /// The answer to a browser that asks before a page of a listed origin sends its request.
    pub(super) fn preflight(&self, route: Route<'_>, parts: &Parts) -> Option<Answer> {
        let asks = parts.method == Method::OPTIONS
            && is_for_pages(Some(route))
            && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
            && self.listed(&parts.headers).is_some();
        if !asks {
            return None;
        }
        let methods: Vec<&str> = route.methods().iter().map(Method::as_str).collect();
        let mut answer = empty(StatusCode::NO_CONTENT);
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::try_from(methods.join(", ")).ok()?);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_SECS));
        Some(answer)
    }

    /// Lets a page of a listed origin read an answer.
    pub(super) fn mark(&self, route: Option<Route<'_>>, request: &HeaderMap, answer: &mut Answer) {
        if self.0.is_empty() || !is_for_pages(route) {
            return;
        }
        let headers = answer.headers_mut();
        // Also on those for nobody: what is cached for one must not be given to another.
        headers.insert(VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = self.listed(request) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(ANSWER_HEADERS));
        }
    }
}

/// Whether pages of other origins have business there. Nothing is an address, too: they may read that it is.
fn is_for_pages(route: Option<Route<'_>>) -> bool {
    match route {
        // The health for consoles elsewhere that measure how far we are.
        None | Some(Route::Token { .. } | Route::Rendering { .. } | Route::Jwks | Route::Health) => true,
        Some(
            // Its credential opens every account, so it has no business in a page.
            Route::Management(_)
            | Route::Root
            | Route::BareViewer
            | Route::Readiness
            | Route::Metrics
            | Route::Link
            | Route::Viewer(_)
            | Route::Console(_),
        ) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_as_browsers_write_them() {
        for good in
            ["https://example.com", "http://localhost:5173", "http://127.0.0.1:3000", "http://[::1]:8080"]
        {
            assert!(good.parse::<Origin>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "*",
            "null",
            "example.com",
            "https://",
            "https://example.com/",
            "https://example.com/app",
            "https://example.com?x",
            "https://Example.com",
            "HTTPS://example.com",
            "https://example.com:443",
            "http://example.com:80",
            "https://user@example.com",
            "http://localhost:80800",
            "ftp://example.com",
            "https://example.com https://other.com",
            "https://exämple.com",
        ] {
            assert_eq!(bad.parse::<Origin>(), Err(NoOrigin), "{bad}");
        }
    }
}
