//! Accounts over REST, as Azure Resource Manager has them: for `azure-mgmt-mixedreality` and its siblings.
//!
//! There is nothing here unless the operator gives a token for it, which opens every account and nothing else.
//! Subscriptions, resource groups and locations are names that the caller chooses; they need not be made first.
//! Other properties that Azure knows (`identity`, `sku`, `kind`, `plan`, `storageAccountName`) mean nothing here: they
//! are taken and not kept.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use axum::body::Body;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use protocol::{AccountId, rest};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::answer::{Answer, empty, json, uncached};
use super::errors::ApiError;
use super::query::Query;
use super::refusals::{ByManagementToken, OfBody};
use super::route::{ACCOUNTS, Management, PROVIDER, Path};
use super::{App, Entrance, JSON_BYTES_MAX, bearer, own_url, read_body, record};
use crate::accounts::WhichKey;
use crate::audit::Actor;
use crate::engine::Event;
use crate::secrets::{SecretHash, account_key};
use crate::store::management::{Place, Put, Resource};
use crate::store::{Account, StoreError};

/// Versions of Azure's API that differ in nothing that is here.
const VERSIONS: [&str; 2] = ["2021-03-01-preview", "2021-01-01"];

/// Accounts on one page of a list.
const PAGE: u32 = 100;

/// After which name the list's next page begins.
const CONTINUATION: &str = "$skipToken";

/// What Azure allows.
const NAME_CHARS_MAX: usize = 90;
const TAGS_MAX: usize = 50;
const TAG_NAME_CHARS_MAX: usize = 512;
const TAG_VALUE_CHARS_MAX: usize = 256;

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
        Management::Operations => Ok(operations()),
        Management::NameAvailability { subscription } => check_name(&call, subscription, body).await,
        Management::Accounts { subscription, group: None } => list_by_subscription(&call, subscription).await,
        Management::Accounts { subscription, group: Some(group) } => {
            list_by_group(&call, subscription, group).await
        }
        Management::Account(path) => match parts.method {
            Method::PUT => create(&call, path, body).await,
            Method::PATCH => update(&call, path, body).await,
            Method::DELETE => delete(&call, path).await,
            _ => get(&call, path).await,
        },
        Management::Keys(path) => list_keys(&call, path).await,
        Management::RegenerateKeys(path) => regenerate_keys(&call, path, body).await,
    }
}

/// Whether nobody on the way could read what is said there.
fn is_safe(entrance: &Entrance) -> bool {
    entrance.scheme == "https" || entrance.peer.to_canonical().is_loopback()
}

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
pub(crate) fn operations() -> Answer {
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
async fn check_name(call: &Call<'_>, subscription: &str, body: Body) -> Result<Answer, ApiError> {
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
async fn list_by_subscription(call: &Call<'_>, subscription: &str) -> Result<Answer, ApiError> {
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
async fn list_by_group(call: &Call<'_>, subscription: &str, group: &str) -> Result<Answer, ApiError> {
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
async fn create(call: &Call<'_>, path: Path<'_>, body: Body) -> Result<Answer, ApiError> {
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
async fn get(call: &Call<'_>, path: Path<'_>) -> Result<Answer, ApiError> {
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
async fn update(call: &Call<'_>, path: Path<'_>, body: Body) -> Result<Answer, ApiError> {
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
async fn delete(call: &Call<'_>, path: Path<'_>) -> Result<Answer, ApiError> {
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
async fn list_keys(call: &Call<'_>, path: Path<'_>) -> Result<Answer, ApiError> {
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
async fn regenerate_keys(call: &Call<'_>, path: Path<'_>, body: Body) -> Result<Answer, ApiError> {
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

/// The rule for names, in words.
const NAME_RULE: &str = "A name has 1 to 90 letters, digits, and - _ . ( ), and not only dots.";

fn is_name(text: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.()".contains(&byte))
        && !text.bytes().all(|byte| byte == b'.')
}

/// A name as it stands in an address: some HTTP libraries escape parentheses, which are all that is to be escaped.
fn name_of(text: &str, code: &str) -> Result<String, ApiError> {
    let name = text.replace("%28", "(").replace("%29", ")");
    if is_name(&name) { Ok(name) } else { Err(ApiError::new(StatusCode::BAD_REQUEST, code, NAME_RULE)) }
}

fn subscription_of(text: &str) -> Result<String, ApiError> {
    name_of(text, "InvalidSubscriptionId")
}

fn group_of(text: &str) -> Result<String, ApiError> {
    name_of(text, "InvalidResourceGroup")
}

fn place_of(path: Path<'_>) -> Result<Place, ApiError> {
    Ok(Place {
        subscription: subscription_of(path.subscription)?,
        group: group_of(path.group)?,
        name: name_of(path.name, "InvalidResourceName")?,
    })
}

/// A JSON object; nothing at all counts as an empty one.
async fn object(body: Body) -> Result<Map<String, Value>, ApiError> {
    let bytes = read_body(body, JSON_BYTES_MAX).await?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(&bytes).map_err(|_odd| invalid_content("The body is not a JSON object."))
}

/// As Azure stores it: `West Europe` is `westeurope`.
fn location_of(body: &Map<String, Value>) -> Result<Option<String>, ApiError> {
    let refuse = || {
        ApiError::new(StatusCode::BAD_REQUEST, "InvalidLocation", "The location is not the name of a place.")
    };
    match body.get("location") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            let location = text.replace(' ', "").to_ascii_lowercase();
            let good = is_name(&location) && location.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if good { Ok(Some(location)) } else { Err(refuse()) }
        }
        Some(_) => Err(refuse()),
    }
}

fn tags_of(body: &Map<String, Value>) -> Result<Option<BTreeMap<String, String>>, ApiError> {
    let tags = match body.get("tags") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(tags)) => tags,
        Some(_) => return Err(invalid_content("The tags are not an object of strings.")),
    };
    if tags.len() > TAGS_MAX {
        let message = format!("An account has at most {TAGS_MAX} tags.");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "TooManyTags", message));
    }
    let mut checked = BTreeMap::new();
    for (name, value) in tags {
        let value =
            value.as_str().ok_or_else(|| invalid_content("The tags are not an object of strings."))?;
        let fits = !name.is_empty()
            && name.chars().count() <= TAG_NAME_CHARS_MAX
            && value.chars().count() <= TAG_VALUE_CHARS_MAX;
        if !fits {
            return Err(invalid_content(&format!(
                "A tag's name has 1 to {TAG_NAME_CHARS_MAX} characters, its value at most {TAG_VALUE_CHARS_MAX}."
            )));
        }
        checked.insert(name.clone(), value.to_owned());
    }
    Ok(Some(checked))
}

fn invalid_content(message: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "InvalidRequestContent", message)
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

    #[test]
    fn names_are_azures() {
        for good in ["a", "A-z_0.9", "(x)", &"n".repeat(90)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "ä", "%41", &"n".repeat(91)] {
            assert!(!is_name(bad), "{bad}");
        }
        assert_eq!(name_of("%28x%29", "Code").unwrap(), "(x)");
    }

    #[test]
    fn tags_are_bounded() {
        let tags = |tags: Value| tags_of(json!({ "tags": tags }).as_object().unwrap()).map_err(drop);
        assert_eq!(tags(json!({ "a": "1" })), Ok(Some(BTreeMap::from([("a".to_owned(), "1".to_owned())]))));
        assert_eq!(tags(Value::Null), Ok(None));
        for odd in [json!([]), json!({ "a": 1 }), json!({ "": "" }), json!({ "a": "x".repeat(257) })] {
            assert_eq!(tags(odd), Err(()));
        }
        let many: Map<String, Value> = (0..51).map(|n| (n.to_string(), json!(""))).collect();
        assert_eq!(tags(Value::Object(many)), Err(()));
    }

    #[test]
    fn locations_are_written_in_one_way() {
        let location =
            |value: Value| location_of(json!({ "location": value }).as_object().unwrap()).map_err(drop);
        assert_eq!(location(json!("West Europe")), Ok(Some("westeurope".to_owned())));
        assert_eq!(location(Value::Null), Ok(None));
        for odd in [json!(""), json!("a/b"), json!(3)] {
            assert_eq!(location(odd), Err(()));
        }
    }
}
