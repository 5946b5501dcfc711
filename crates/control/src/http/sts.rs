//! The token service: account keys in, access tokens out.

use axum::http::{HeaderMap, StatusCode};
use protocol::{AccountId, rest};
use serde_json::json;

use super::answer::{Answer, empty, json, uncached};
use super::errors::ApiError;
use super::{App, Entrance, bearer, record};
use crate::audit::Actor;
use crate::oidc::{Rejected, Trusted};
use crate::secrets;
use crate::tokens::{Identity, Role};

/// Exchanges `Bearer <account id>:<account key>`, or a token of a configured issuer, for an access token.
#[utoipa::path(
    get, path = "/Accounts/{account_id}/token", tag = "tokens", operation_id = "GetToken",
    params(
        ("account_id" = String, Path, description = "Account id, a UUID."),
        ("Authorization" = String, Header, description = "`Bearer <account id>:<account key>`, or `Bearer <token>` of a configured issuer."),
    ),
    responses(
        (status = 200, description = "`{\"AccessToken\": \"…\"}`, good for 24 hours.", body = AccessToken),
        (status = 401, description = "Wrong account or key, or a token that is not trusted; no body."),
        (status = 403, description = "A trusted token without a role on this account.", body = rest::ErrorBody),
        (status = 429, description = "Too many requests from this address; no body. `Retry-After` says when to come again."),
        (status = 503, description = "Try again.", body = rest::ErrorBody),
    )
)]
pub(crate) async fn token(app: &App, entrance: &Entrance, account_text: &str, headers: &HeaderMap) -> Answer {
    if let Err(wait) = app.rates.take_stranger(app.clock.now(), entrance.peer) {
        return ApiError::too_many_requests(wait).into();
    }
    let (identity, actor) = match authenticate(app, account_text, headers).await {
        Ok(Some(known)) => known,
        // Azure says nothing more, and names no challenge.
        Ok(None) => return empty(StatusCode::UNAUTHORIZED),
        Err(refusal) => return refusal.into(),
    };
    match app.tokens.issue(identity.account, identity.role, app.clock.wall()) {
        Ok(token) => record::by(actor, uncached(json(StatusCode::OK, &json!({ "AccessToken": token })))),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "failed to issue a token");
            ApiError::internal().into()
        }
    }
}

/// An access token, as the token service answers.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the answer in the OpenAPI document")]
pub(crate) struct AccessToken {
    #[schema(rename = "AccessToken")]
    access_token: String,
}

async fn authenticate(
    app: &App,
    account_text: &str,
    headers: &HeaderMap,
) -> Result<Option<(Identity, Actor)>, ApiError> {
    let credential = bearer(headers).zip(account_text.parse::<AccountId>().ok());
    let Some((credential, account)) = credential else { return Ok(None) };
    match credential.split_once(':') {
        Some((id, key)) if id.parse() == Ok(account) => {
            let identity = by_key(app, account, key).await?;
            Ok(identity.map(|identity| (identity, Actor::AccountKey { account })))
        }
        Some(_) => Ok(None),
        None => match app.issuers.check(credential, account).await {
            Ok(Trusted { identity, issuer, subject }) => {
                let Identity { account, role } = identity;
                Ok(Some((identity, Actor::Issuer { account, role, issuer, subject })))
            }
            Err(Rejected::Invalid) => Ok(None),
            Err(Rejected::NoRight) => Err(ApiError::forbidden()),
            Err(Rejected::Unavailable) => Err(ApiError::unavailable()),
        },
    }
}

async fn by_key(app: &App, account: AccountId, key: &str) -> Result<Option<Identity>, ApiError> {
    let account = app.store.account(account).await.map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "failed to read an account");
        ApiError::unavailable()
    })?;
    let account = account.filter(|account| {
        // Both are compared, so that the time does not tell which one it was.
        secrets::equal(key, &account.primary_key) | secrets::equal(key, &account.secondary_key)
    });
    // An account key gives all rights on the account's data.
    Ok(account.map(|account| Identity { account: account.id, role: Role::Administrator }))
}
