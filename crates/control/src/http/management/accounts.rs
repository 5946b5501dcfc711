//! What there is to be done with accounts.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::StatusCode;
use protocol::{AccountId, rest};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::Call;
use super::fields::{
    NAME_RULE, group_of, invalid_content, is_name, location_of, object, place_of, subscription_of, tags_of,
};
use crate::accounts::WhichKey;
use crate::engine::Event;
use crate::http::answer::{Answer, empty, json};
use crate::http::errors::ApiError;
use crate::http::own_url;
use crate::http::refusals::{ByManagementToken, OfBody};
use crate::http::route::{ACCOUNTS, PROVIDER, Path};
use crate::secrets::account_key;
use crate::store::management::{Place, Put, Resource};
use crate::store::{Account, StoreError};

/// Accounts on one page of a list.
const PAGE: u32 = 100;

/// After which name the list's next page begins.
const CONTINUATION: &str = "$skipToken";

/// An account, in the words of Azure Resource Manager.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ManagedAccount {
    /// The resource's own address.
    id: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    location: String,
    tags: BTreeMap<String, String>,
    properties: AccountProperties,
}

/// What SDKs need to know of an account, beside a key.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AccountProperties {
    #[schema(value_type = String)]
    account_id: AccountId,
    account_domain: String,
}

/// A page of accounts, in the order of their names.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ManagedAccountPage {
    value: Vec<ManagedAccount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_link: Option<String>,
}

/// What is wanted of an account.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub(crate) struct WantedAccount {
    /// Any name of a place; it cannot be changed.
    location: String,
    #[schema(nullable = true)]
    tags: Option<BTreeMap<String, String>>,
}

/// What is to be changed of an account.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub(crate) struct ChangedAccount {
    /// They replace the old ones.
    tags: Option<BTreeMap<String, String>>,
}

/// The keys of an account.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AccountKeys {
    primary_key: String,
    secondary_key: String,
}

/// Which key to replace.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub(crate) struct WhichSerial {
    /// 1 for the primary key, which is meant without it, too; 2 for the secondary one.
    #[schema(minimum = 1, maximum = 2)]
    serial: Option<u32>,
}

/// A name to be asked about.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub(crate) struct NameQuestion {
    name: String,
    /// `Microsoft.MixedReality/remoteRenderingAccounts`.
    #[schema(rename = "type")]
    kind: String,
}

/// Whether a name can be had.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NameAnswer {
    name_available: bool,
    /// `Invalid` or `AlreadyExists`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    message: Option<&'static str>,
}

/// Says what there is to be done with accounts.
#[utoipa::path(
    get, path = "/providers/Microsoft.MixedReality/operations", tag = "management", operation_id = "ListOperations",
    params(("api-version" = String, Query, description = "`2021-03-01-preview` or `2021-01-01`.")),
    responses(
        ByManagementToken,
        (status = 200, description = "All of them.", body = Object),
    ),
    security(("managementToken" = []))
)]
pub(super) fn operations() -> Answer {
    let operation = |name: &str, words: &str, is_data: bool| {
        let (operation, description) = (words, words);
        json!({
            "name": format!("{PROVIDER}/RemoteRenderingAccounts/{name}"),
            "display": { "provider": PROVIDER, "resource": "RemoteRenderingAccounts",
                "operation": operation, "description": description },
            "isDataAction": is_data,
        })
    };
    let value = [
        ("read", "Read an account", false),
        ("write", "Create or change an account", false),
        ("delete", "Delete an account", false),
        ("listkeys/action", "Read an account's keys", false),
        ("regeneratekeys/action", "Replace an account's key", false),
        ("managesessions/read", "Read sessions", true),
        ("managesessions/action", "Create and change sessions", true),
        ("managesessions/delete", "Stop sessions", true),
        ("render/read", "Connect to a session", true),
        ("diagnostic/read", "Connect to a session's inspector", true),
        ("convert/action", "Start a conversion", true),
        ("convert/read", "Read conversions", true),
        ("convert/delete", "Stop a conversion", true),
    ]
    .map(|(name, words, is_data)| operation(name, words, is_data));
    json(StatusCode::OK, &json!({ "value": value }))
}

/// Says whether a subscription can have an account of that name.
#[utoipa::path(
    post, path = "/subscriptions/{subscription_id}/providers/Microsoft.MixedReality/locations/{location}/checkNameAvailability",
    tag = "management", operation_id = "CheckNameAvailability",
    params(
        ("subscription_id" = String, Path, description = "Chosen by the client."),
        ("location" = String, Path, description = "Any; names are the subscription's."),
        ("api-version" = String, Query, description = "`2021-03-01-preview` or `2021-01-01`."),
    ),
    request_body = NameQuestion,
    responses(
        ByManagementToken,
        OfBody,
        (status = 200, description = "Whether, and why not.", body = NameAnswer),
        (status = 503, description = "Try again.", body = rest::ErrorBody),
    ),
    security(("managementToken" = []))
)]
pub(super) async fn check_name(call: &Call<'_>, subscription: &str, body: Body) -> Result<Answer, ApiError> {
    let subscription = subscription_of(subscription)?;
    let body = object(body).await?;
    let text = |member: &str| body.get(member).and_then(Value::as_str);
    let (Some(name), Some(kind)) = (text("name"), text("type")) else {
        return Err(invalid_content("The name and the type of the account to be are needed."));
    };
    if !kind.eq_ignore_ascii_case(&format!("{PROVIDER}/{ACCOUNTS}")) {
        let message = format!("The type must be {PROVIDER}/{ACCOUNTS}.");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "InvalidResourceType", message));
    }
    let (reason, message) = if !is_name(name) {
        (Some("Invalid"), Some(NAME_RULE))
    } else if call.app.store.has_resource(&subscription, name).await.map_err(store_failed)? {
        (Some("AlreadyExists"), Some("The subscription has an account of this name."))
    } else {
        (None, None)
    };
    Ok(json(StatusCode::OK, &NameAnswer { name_available: reason.is_none(), reason, message }))
}

/// Lists the accounts of a subscription.
#[utoipa::path(
    get, path = "/subscriptions/{subscription_id}/providers/Microsoft.MixedReality/remoteRenderingAccounts",
    tag = "management", operation_id = "ListAccountsBySubscription",
    params(
        ("subscription_id" = String, Path, description = "Chosen by the client."),
        ("api-version" = String, Query, description = "`2021-03-01-preview` or `2021-01-01`."),
        ("$skipToken" = Option<String>, Query, description = "From `nextLink`."),
    ),
    responses(
        ByManagementToken,
        (status = 200, description = "A page of at most 100 accounts.", body = ManagedAccountPage),
        (status = 503, description = "Try again.", body = rest::ErrorBody),
    ),
    security(("managementToken" = []))
)]
pub(super) async fn list_by_subscription(call: &Call<'_>, subscription: &str) -> Result<Answer, ApiError> {
    list(call, &subscription_of(subscription)?, None).await
}

/// Lists the accounts of a resource group.
#[utoipa::path(
    get, path = "/subscriptions/{subscription_id}/resourceGroups/{group}/providers/Microsoft.MixedReality/remoteRenderingAccounts",
    tag = "management", operation_id = "ListAccountsByResourceGroup",
    params(
        ("subscription_id" = String, Path, description = "Chosen by the client."),
        ("group" = String, Path, description = "Chosen by the client."),
        ("api-version" = String, Query, description = "`2021-03-01-preview` or `2021-01-01`."),
        ("$skipToken" = Option<String>, Query, description = "From `nextLink`."),
    ),
    responses(
        ByManagementToken,
        (status = 200, description = "A page of at most 100 accounts.", body = ManagedAccountPage),
        (status = 503, description = "Try again.", body = rest::ErrorBody),
    ),
    security(("managementToken" = []))
)]
pub(super) async fn list_by_group(
    call: &Call<'_>,
    subscription: &str,
    group: &str,
) -> Result<Answer, ApiError> {
    list(call, &subscription_of(subscription)?, Some(&group_of(group)?)).await
}

async fn list(call: &Call<'_>, subscription: &str, group: Option<&str>) -> Result<Answer, ApiError> {
    let after = call.query.value(CONTINUATION).unwrap_or_default();
    let mut page =
        call.app.store.resources(subscription, group, &after, PAGE + 1).await.map_err(store_failed)?;
    let more = page.len() > PAGE as usize;
    page.truncate(PAGE as usize);
    let next_link = page.last().filter(|_| more).map(|last| {
        let own = own_url(call.entrance, &call.parts.headers);
        let within = group.map(|group| format!("/resourceGroups/{group}")).unwrap_or_default();
        let version = call.query.value("api-version").unwrap_or_default();
        format!(
            "{own}/subscriptions/{subscription}{within}/providers/{PROVIDER}/{ACCOUNTS}\
             ?api-version={version}&{CONTINUATION}={}",
            last.place.name
        )
    });
    let value = page.into_iter().map(|resource| call.describe(resource)).collect();
    Ok(json(StatusCode::OK, &ManagedAccountPage { value, next_link }))
}

/// Makes an account, or sets its tags.
#[utoipa::path(
    put, path = "/subscriptions/{subscription_id}/resourceGroups/{group}/providers/Microsoft.MixedReality/remoteRenderingAccounts/{account_name}",
    tag = "management", operation_id = "CreateAccount",
    params(
        ("subscription_id" = String, Path, description = "Chosen by the client."),
        ("group" = String, Path, description = "Chosen by the client."),
        ("account_name" = String, Path, description = "Chosen by the client: 1 to 90 of `A-Z a-z 0-9 - _ . ( )`."),
        ("api-version" = String, Query, description = "`2021-03-01-preview` or `2021-01-01`."),
    ),
    request_body = WantedAccount,
    responses(
        ByManagementToken,
        OfBody,
        (status = 200, description = "It exists and has these tags now.", body = ManagedAccount),
        (status = 201, description = "It is new.", body = ManagedAccount),
        (status = 409, description = "Another group has the name, or it is at another location.", body = rest::ErrorBody),
        (status = 503, description = "Try again.", body = rest::ErrorBody),
    ),
    security(("managementToken" = []))
)]
pub(super) async fn create(call: &Call<'_>, path: Path<'_>, body: Body) -> Result<Answer, ApiError> {
    let place = place_of(path)?;
    let body = object(body).await?;
    let location = location_of(&body)?.ok_or_else(|| {
        ApiError::new(StatusCode::BAD_REQUEST, "LocationRequired", "The location of the account is missing.")
    })?;
    let tags = tags_of(&body)?.unwrap_or_default();
    let account = Account {
        id: AccountId::new(Uuid::new_v4()),
        name: place.name.clone(),
        primary_key: account_key(),
        secondary_key: account_key(),
    };
    let wanted = Resource { account: account.id, place, location, tags };
    let now = call.app.clock.now();
    match call.app.store.put_resource(&wanted, &account, now).await.map_err(store_failed)? {
        Put::Created(resource) => {
            tracing::info!(account = %resource.account, name = resource.place.name, "an account was made");
            Ok(json(StatusCode::CREATED, &call.describe(resource)))
        }
        Put::Updated(resource) => Ok(json(StatusCode::OK, &call.describe(resource))),
        Put::Taken => {
            let message = "Another resource group of the subscription has an account of this name.";
            Err(ApiError::new(StatusCode::CONFLICT, "Conflict", message))
        }
        Put::OtherLocation(there) => Err(other_location(&there)),
    }
}

/// Reads an account.
#[utoipa::path(
    get, path = "/subscriptions/{subscription_id}/resourceGroups/{group}/providers/Microsoft.MixedReality/remoteRenderingAccounts/{account_name}",
    tag = "management", operation_id = "GetAccount",
    params(
        ("subscription_id" = String, Path, description = "As chosen at creation."),
        ("group" = String, Path, description = "As chosen at creation."),
        ("account_name" = String, Path, description = "As chosen at creation."),
        ("api-version" = String, Query, description = "`2021-03-01-preview` or `2021-01-01`."),
    ),
    responses(
        ByManagementToken,
        (status = 200, description = "The account.", body = ManagedAccount),
        (status = 404, description = "There is no such account.", body = rest::ErrorBody),
        (status = 503, description = "Try again.", body = rest::ErrorBody),
    ),
    security(("managementToken" = []))
)]
pub(super) async fn get(call: &Call<'_>, path: Path<'_>) -> Result<Answer, ApiError> {
    let resource = find(call, &place_of(path)?).await?;
    Ok(json(StatusCode::OK, &call.describe(resource)))
}

/// Sets the tags of an account.
#[utoipa::path(
    patch, path = "/subscriptions/{subscription_id}/resourceGroups/{group}/providers/Microsoft.MixedReality/remoteRenderingAccounts/{account_name}",
    tag = "management", operation_id = "UpdateAccount",
    params(
        ("subscription_id" = String, Path, description = "As chosen at creation."),
        ("group" = String, Path, description = "As chosen at creation."),
        ("account_name" = String, Path, description = "As chosen at creation."),
        ("api-version" = String, Query, description = "`2021-03-01-preview` or `2021-01-01`."),
    ),
    request_body = ChangedAccount,
    responses(
        ByManagementToken,
        OfBody,
        (status = 200, description = "The account as it is now.", body = ManagedAccount),
        (status = 404, description = "There is no such account.", body = rest::ErrorBody),
        (status = 409, description = "It cannot go to another location.", body = rest::ErrorBody),
        (status = 503, description = "Try again.", body = rest::ErrorBody),
    ),
    security(("managementToken" = []))
)]
pub(super) async fn update(call: &Call<'_>, path: Path<'_>, body: Body) -> Result<Answer, ApiError> {
    let place = place_of(path)?;
    let body = object(body).await?;
    let (location, tags) = (location_of(&body)?, tags_of(&body)?);
    let there = find(call, &place).await?;
    if location.is_some_and(|location| location != there.location) {
        return Err(other_location(&there.location));
    }
    let resource = match tags {
        None => there,
        Some(tags) => call
            .app
            .store
            .set_tags(there.account, &tags)
            .await
            .map_err(store_failed)?
            .ok_or_else(|| not_found(&place))?,
    };
    Ok(json(StatusCode::OK, &call.describe(resource)))
}

/// Deletes an account: its keys and tokens are worthless at once, and its sessions are stopped.
#[utoipa::path(
    delete, path = "/subscriptions/{subscription_id}/resourceGroups/{group}/providers/Microsoft.MixedReality/remoteRenderingAccounts/{account_name}",
    tag = "management", operation_id = "DeleteAccount",
    params(
        ("subscription_id" = String, Path, description = "As chosen at creation."),
        ("group" = String, Path, description = "As chosen at creation."),
        ("account_name" = String, Path, description = "As chosen at creation."),
        ("api-version" = String, Query, description = "`2021-03-01-preview` or `2021-01-01`."),
    ),
    responses(
        ByManagementToken,
        (status = 200, description = "It is gone."),
        (status = 204, description = "It was not there."),
        (status = 503, description = "Try again.", body = rest::ErrorBody),
    ),
    security(("managementToken" = []))
)]
pub(super) async fn delete(call: &Call<'_>, path: Path<'_>) -> Result<Answer, ApiError> {
    let (app, place) = (call.app, place_of(path)?);
    let now = app.clock.now();
    let Some(account) = app.store.close_resource(&place, now).await.map_err(store_failed)? else {
        return Ok(empty(StatusCode::NO_CONTENT));
    };
    tracing::info!(%account, name = place.name, "an account was deleted");
    app.tokens.close(now, account);
    let (reply, closed) = oneshot::channel();
    let told = app.engine.send(Event::CloseAccount { account, reply }).await;
    // If not, the next start finds sessions without account.
    match (told, closed.await) {
        (Ok(()), Ok(Ok(()))) => Ok(empty(StatusCode::OK)),
        _ => Err(ApiError::unavailable()),
    }
}

/// Reads the keys of an account.
#[utoipa::path(
    post, path = "/subscriptions/{subscription_id}/resourceGroups/{group}/providers/Microsoft.MixedReality/remoteRenderingAccounts/{account_name}/listKeys",
    tag = "management", operation_id = "ListKeys",
    params(
        ("subscription_id" = String, Path, description = "As chosen at creation."),
        ("group" = String, Path, description = "As chosen at creation."),
        ("account_name" = String, Path, description = "As chosen at creation."),
        ("api-version" = String, Query, description = "`2021-03-01-preview` or `2021-01-01`."),
    ),
    responses(
        ByManagementToken,
        (status = 200, description = "Both keys.", body = AccountKeys),
        (status = 404, description = "There is no such account.", body = rest::ErrorBody),
        (status = 503, description = "Try again.", body = rest::ErrorBody),
    ),
    security(("managementToken" = []))
)]
pub(super) async fn list_keys(call: &Call<'_>, path: Path<'_>) -> Result<Answer, ApiError> {
    let place = place_of(path)?;
    let account = call.app.store.resource_account(&place).await.map_err(store_failed)?;
    account.map(keys).ok_or_else(|| not_found(&place))
}

/// Replaces one key of an account at once; the other goes on working, and so do tokens that were given for the old one.
#[utoipa::path(
    post, path = "/subscriptions/{subscription_id}/resourceGroups/{group}/providers/Microsoft.MixedReality/remoteRenderingAccounts/{account_name}/regenerateKeys",
    tag = "management", operation_id = "RegenerateKeys",
    params(
        ("subscription_id" = String, Path, description = "As chosen at creation."),
        ("group" = String, Path, description = "As chosen at creation."),
        ("account_name" = String, Path, description = "As chosen at creation."),
        ("api-version" = String, Query, description = "`2021-03-01-preview` or `2021-01-01`."),
    ),
    request_body = WhichSerial,
    responses(
        ByManagementToken,
        OfBody,
        (status = 200, description = "Both keys as they are now.", body = AccountKeys),
        (status = 404, description = "There is no such account.", body = rest::ErrorBody),
        (status = 503, description = "Try again.", body = rest::ErrorBody),
    ),
    security(("managementToken" = []))
)]
pub(super) async fn regenerate_keys(call: &Call<'_>, path: Path<'_>, body: Body) -> Result<Answer, ApiError> {
    let place = place_of(path)?;
    let which = match object(body).await?.get("serial") {
        None => WhichKey::Primary,
        Some(serial) => match serial.as_u64() {
            Some(1) => WhichKey::Primary,
            Some(2) => WhichKey::Secondary,
            _ => {
                return Err(invalid_content(
                    "The serial is 1 for the primary key and 2 for the secondary one.",
                ));
            }
        },
    };
    let there = find(call, &place).await?;
    let account =
        call.app.store.replace_key(there.account, which, &account_key()).await.map_err(store_failed)?;
    tracing::info!(account = %there.account, ?which, "a key was replaced");
    account.map(keys).ok_or_else(|| not_found(&place))
}

fn keys(account: Account) -> Answer {
    let Account { primary_key, secondary_key, .. } = account;
    json(StatusCode::OK, &AccountKeys { primary_key, secondary_key })
}

impl Call<'_> {
    fn describe(&self, resource: Resource) -> ManagedAccount {
        let Resource { account, place: Place { subscription, group, name }, location, tags } = resource;
        ManagedAccount {
            id: format!(
                "/subscriptions/{subscription}/resourceGroups/{group}/providers/{PROVIDER}/{ACCOUNTS}/{name}"
            ),
            name,
            kind: format!("{PROVIDER}/{ACCOUNTS}"),
            location,
            tags,
            properties: AccountProperties {
                account_id: account,
                account_domain: self.app.place.account_domain.clone(),
            },
        }
    }
}

async fn find(call: &Call<'_>, place: &Place) -> Result<Resource, ApiError> {
    call.app.store.resource(place).await.map_err(store_failed)?.ok_or_else(|| not_found(place))
}

fn not_found(place: &Place) -> ApiError {
    let message = format!(
        "There is no account {:?} in the resource group {:?} of the subscription {:?}.",
        place.name, place.group, place.subscription
    );
    ApiError::new(StatusCode::NOT_FOUND, "ResourceNotFound", message)
}

fn other_location(there: &str) -> ApiError {
    let message = format!("The account is at the location {there:?} and cannot go to another.");
    ApiError::new(StatusCode::CONFLICT, "InvalidResourceLocation", message)
}

fn store_failed(error: StoreError) -> ApiError {
    tracing::error!(error = &error as &dyn std::error::Error, "failed to read or write an account");
    ApiError::unavailable()
}
