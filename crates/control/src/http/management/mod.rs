//! Accounts over REST, as Azure Resource Manager has them: for `azure-mgmt-mixedreality` and its siblings.
//!
//! There is nothing here unless the operator gives a token for it, which opens every account and nothing else.
//! Subscriptions, resource groups and locations are names that the caller chooses; they need not be made first.
//! Other properties that Azure knows (`identity`, `sku`, `kind`, `plan`, `storageAccountName`) mean nothing here: they
//! are taken and not kept.

pub(crate) mod accounts;
mod fields;

use std::fmt;
use std::str::FromStr;

use axum::body::Body;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};

use super::answer::{Answer, uncached};
use super::errors::ApiError;
use super::query::Query;
use super::route::Management;
use super::{App, Entrance, bearer, record};
use crate::audit::Actor;
use crate::secrets::SecretHash;

/// Versions of Azure's API that differ in nothing that is here.
const VERSIONS: [&str; 2] = ["2021-03-01-preview", "2021-01-01"];

/// Shortest management token: 32 bytes in base64 without padding.
const TOKEN_CHARS_MIN: usize = 43;

/// What opens the management API. Its `Debug` form says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct ManagementToken(SecretHash);

/// A text that is too weak, or cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a management token has at least {TOKEN_CHARS_MIN} visible ASCII characters, such as `openssl rand -hex 32` prints"
)]
pub struct NoManagementToken;

impl FromStr for ManagementToken {
    type Err = NoManagementToken;

    /// Takes the content of a file: space around the token does not belong to it.
    fn from_str(text: &str) -> Result<Self, NoManagementToken> {
        let token = text.trim();
        if token.len() >= TOKEN_CHARS_MIN && token.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(SecretHash::of(token)))
        } else {
            Err(NoManagementToken)
        }
    }
}

impl fmt::Debug for ManagementToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ManagementToken(…)")
    }
}

impl ManagementToken {
    /// Compares hashes, so that the time tells nothing about the token.
    fn is(&self, presented: &str) -> bool {
        self.0 == SecretHash::of(presented)
    }
}

/// A request of an administrator.
struct Call<'a> {
    app: &'a App,
    entrance: &'a Entrance,
    parts: &'a Parts,
    query: Query<'a>,
}

/// Checks in this order: way in, rate, credential, version; names and bodies come later.
pub(super) async fn answer(
    app: &App,
    entrance: &Entrance,
    what: Management<'_>,
    parts: &Parts,
    body: Body,
) -> Answer {
    // Keys, and what others may not know.
    uncached(serve(app, entrance, what, parts, body).await.unwrap_or_else(Answer::from))
}

async fn serve(
    app: &App,
    entrance: &Entrance,
    what: Management<'_>,
    parts: &Parts,
    body: Body,
) -> Result<Answer, ApiError> {
    let token =
        app.management.as_ref().ok_or_else(|| ApiError::not_found("There is nothing at this address."))?;
    if !is_safe(entrance) {
        let message = "This address takes HTTPS, and plain HTTP from this machine alone.";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "Forbidden", message));
    }
    app.rates.take_stranger(app.clock.now(), entrance.peer).map_err(ApiError::too_many_requests)?;
    if !bearer(&parts.headers).is_some_and(|presented| token.is(presented)) {
        let message = "The management token is missing or wrong.";
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", message)
            .with(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""));
    }
    let answer = known(app, entrance, what, parts, body).await.unwrap_or_else(Answer::from);
    Ok(record::by(Actor::ManagementToken, answer))
}

/// For who has shown the token.
async fn known(
    app: &App,
    entrance: &Entrance,
    what: Management<'_>,
    parts: &Parts,
    body: Body,
) -> Result<Answer, ApiError> {
    let query = Query::new(parts.uri.query().unwrap_or_default());
    check_version(&query)?;
    let call = Call { app, entrance, parts, query };
    match what {
        Management::Operations => Ok(accounts::operations()),
        Management::NameAvailability { subscription } => {
            accounts::check_name(&call, subscription, body).await
        }
        Management::Accounts { subscription, group: None } => {
            accounts::list_by_subscription(&call, subscription).await
        }
        Management::Accounts { subscription, group: Some(group) } => {
            accounts::list_by_group(&call, subscription, group).await
        }
        Management::Account(path) => match parts.method {
            Method::PUT => accounts::create(&call, path, body).await,
            Method::PATCH => accounts::update(&call, path, body).await,
            Method::DELETE => accounts::delete(&call, path).await,
            _ => accounts::get(&call, path).await,
        },
        Management::Keys(path) => accounts::list_keys(&call, path).await,
        Management::RegenerateKeys(path) => accounts::regenerate_keys(&call, path, body).await,
    }
}

/// Whether nobody on the way could read what is said there.
fn is_safe(entrance: &Entrance) -> bool {
    entrance.scheme == "https" || entrance.peer.to_canonical().is_loopback()
}

fn check_version(query: &Query<'_>) -> Result<(), ApiError> {
    let refuse = |code, message| Err(ApiError::new(StatusCode::BAD_REQUEST, code, message));
    let known = VERSIONS.join(", ");
    match query.value("api-version") {
        None => refuse(
            "MissingApiVersionParameter",
            format!("An API version is required; add api-version={} to the address.", VERSIONS[0]),
        ),
        Some(version) if VERSIONS.contains(&version.as_ref()) => Ok(()),
        Some(_) => refuse(
            "InvalidApiVersionParameter",
            format!("This API version is not supported; these are: {known}."),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_strong_and_can_be_sent() {
        let strong = "0123456789abcdef".repeat(4);
        let token: ManagementToken = format!(" {strong}\n").parse().unwrap();
        assert!(token.is(&strong) && !token.is(&strong[1..]) && !token.is(""));
        assert_eq!(format!("{token:?}"), "ManagementToken(…)");
        for weak in ["", "secret", &strong[..42], &format!("{strong} {strong}"), &"ü".repeat(43)] {
            assert_eq!(weak.parse::<ManagementToken>(), Err(NoManagementToken), "{weak}");
        }
    }

    #[test]
    fn it_is_open_over_tls_and_on_this_machine() {
        for (scheme, peer, safe) in [
            ("https", "192.0.2.1", true),
            ("http", "127.0.0.1", true),
            ("http", "::ffff:127.0.0.1", true),
            ("http", "192.0.2.1", false),
            ("http", "2001:db8::1", false),
        ] {
            let entrance = Entrance { scheme, authority: "x".into(), peer: peer.parse().unwrap() };
            assert_eq!(is_safe(&entrance), safe, "{scheme} {peer}");
        }
    }
}
