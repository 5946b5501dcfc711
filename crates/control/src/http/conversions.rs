//! Conversions over REST: this server has none yet, and says so in the service's words.

use axum::http::StatusCode;
use protocol::rest;

use super::answer::Answer;
use super::errors::ApiError;
use super::refusals::ByAccessToken;

/// Asks for a conversion.
#[utoipa::path(
    put, path = "/accounts/{account_id}/conversions/{conversion_id}", tag = "conversions", operation_id = "CreateConversion",
    params(
        ("account_id" = String, Path, description = "Account id, a UUID."),
        ("conversion_id" = String, Path, description = "Chosen by the client."),
        ("api-version" = String, Query, description = "`2021-01-01` or `2021-01-01-preview`."),
    ),
    responses(
        ByAccessToken,
        (status = 400, description = "The request is not understood.", body = rest::ErrorBody),
        (status = 403, description = "A token of another account, or of a Client.", body = rest::ErrorBody),
        (status = 501, description = "`NotImplemented`.", body = rest::ErrorBody),
    ),
    security(("accessToken" = []))
)]
pub(super) fn create() -> Result<Answer, ApiError> {
    Err(not_yet())
}

/// Reads a conversion.
#[utoipa::path(
    get, path = "/accounts/{account_id}/conversions/{conversion_id}", tag = "conversions", operation_id = "GetConversion",
    params(
        ("account_id" = String, Path, description = "Account id, a UUID."),
        ("conversion_id" = String, Path, description = "Chosen by the client."),
        ("api-version" = String, Query, description = "`2021-01-01` or `2021-01-01-preview`."),
    ),
    responses(
        ByAccessToken,
        (status = 400, description = "The request is not understood.", body = rest::ErrorBody),
        (status = 403, description = "A token of another account, or of a Client.", body = rest::ErrorBody),
        (status = 501, description = "`NotImplemented`.", body = rest::ErrorBody),
    ),
    security(("accessToken" = []))
)]
pub(super) fn get() -> Result<Answer, ApiError> {
    Err(not_yet())
}

/// Lists the conversions.
#[utoipa::path(
    get, path = "/accounts/{account_id}/conversions", tag = "conversions", operation_id = "ListConversions",
    params(
        ("account_id" = String, Path, description = "Account id, a UUID."),
        ("api-version" = String, Query, description = "`2021-01-01` or `2021-01-01-preview`."),
    ),
    responses(
        ByAccessToken,
        (status = 400, description = "The request is not understood.", body = rest::ErrorBody),
        (status = 403, description = "A token of another account, or of a Client.", body = rest::ErrorBody),
        (status = 501, description = "`NotImplemented`.", body = rest::ErrorBody),
    ),
    security(("accessToken" = []))
)]
pub(super) fn list() -> Result<Answer, ApiError> {
    Err(not_yet())
}

fn not_yet() -> ApiError {
    let message = "This server does not convert models yet.";
    ApiError::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message)
}
