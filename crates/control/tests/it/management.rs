//! The management API: accounts as Azure Resource Manager has them (item 95 of the conformance list).

use control::accounts;
use serde_json::{Value, json};
use testkit::Fleet;

use crate::world::{Answer, V, World, eventually};

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const M: &str = "api-version=2021-03-01-preview";
const SUBSCRIPTION: &str = "/subscriptions/2d2cb8b5-6f2f-4b0c-8c8c-0f8d3d5c6f10";

/// A server with a management API.
pub(crate) async fn managed() -> World {
    World::with(Fleet::default(), |config| config.management_token = Some(TOKEN.parse().unwrap())).await
}

async fn manage(world: &World, method: &str, target: &str, body: &str) -> Answer {
    world.send(method, target, &[&format!("Authorization: Bearer {TOKEN}")], body).await
}

/// The address of an account in the group `group`, and what is below it.
fn at(name: &str) -> String {
    let (name, below) =
        name.split_once('/').map_or((name, String::new()), |(name, verb)| (name, format!("/{verb}")));
    format!(
        "{SUBSCRIPTION}/resourceGroups/group/providers/Microsoft.MixedReality/remoteRenderingAccounts/{name}{below}?{M}"
    )
}

async fn make(world: &World, name: &str) -> Value {
    let answer = manage(world, "PUT", &at(name), r#"{"location":"westeurope"}"#).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

async fn keys(world: &World, name: &str) -> (String, String) {
    let keys = manage(world, "POST", &at(&format!("{name}/listKeys")), "").await.json();
    (keys["primaryKey"].as_str().unwrap().to_owned(), keys["secondaryKey"].as_str().unwrap().to_owned())
}

/// What the token service answers to a key.
async fn exchange(world: &World, account: &str, key: &str) -> Answer {
    let authorization = format!("Authorization: Bearer {account}:{key}");
    world.send("GET", &format!("/Accounts/{account}/token"), &[&authorization], "").await
}

async fn token(world: &World, account: &str, key: &str) -> String {
    let answer = exchange(world, account, key).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["AccessToken"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn item_95_accounts_come_change_and_go() {
    let world = managed().await;
    let address = at("Mine_1.(x)");
    let created =
        manage(&world, "PUT", &address, r#"{"location":"West Europe","tags":{"a":"1"},"kind":{"name":"S"}}"#)
            .await;
    assert_eq!(created.status, 201, "{}", created.text());
    assert_eq!(created.header("Cache-Control"), Some("no-store,no-cache"));
    let made = created.json();
    let account = made["properties"]["accountId"].as_str().unwrap().to_owned();
    let https = world.running.https_address.port();
    assert_eq!(
        made,
        json!({
            "id": address.split('?').next().unwrap(),
            "name": "Mine_1.(x)",
            "type": "Microsoft.MixedReality/remoteRenderingAccounts",
            "location": "westeurope",
            "tags": { "a": "1" },
            "properties": { "accountId": account, "accountDomain": format!("localhost:{https}") },
        })
    );
    // The same resource however it is spelled, and with the other version.
    for spelled in [
        address.clone(),
        address.replace("Mine_1.(x)", "MINE_1.%28X%29").replace("/group/", "/GROUP/"),
        address.replace(M, "api-version=2021-01-01").replace("resourceGroups", "resourcegroups"),
    ] {
        let read = manage(&world, "GET", &spelled, "").await;
        assert_eq!((read.status, read.json()), (200, made.clone()), "{spelled}");
    }
    // Again: tags are set, the rest stays.
    let again = manage(&world, "PUT", &address, r#"{"location":"westeurope","tags":{"b":"2"}}"#).await;
    assert_eq!((again.status, &again.json()["tags"]), (200, &json!({ "b": "2" })));
    assert_eq!(again.json()["properties"], made["properties"]);
    let patched = manage(&world, "PATCH", &address, r#"{"tags":{"c":"3"}}"#).await;
    assert_eq!((patched.status, &patched.json()["tags"]), (200, &json!({ "c": "3" })));
    let unchanged = manage(&world, "PATCH", &address, "{}").await;
    assert_eq!((unchanged.status, &unchanged.json()["tags"]), (200, &json!({ "c": "3" })));

    // What it must not do.
    let elsewhere = r#"{"location":"eastus"}"#;
    for method in ["PUT", "PATCH"] {
        let moved = manage(&world, method, &address, elsewhere).await;
        assert_eq!(moved.refusal(), (409, "InvalidResourceLocation".to_owned()), "{method}");
    }
    let taken =
        manage(&world, "PUT", &address.replace("/group/", "/other/"), r#"{"location":"westeurope"}"#).await;
    assert_eq!(taken.refusal(), (409, "Conflict".to_owned()));
    let elsewhere = address.replace("2d2cb8b5", "ffffffff");
    assert_eq!(
        manage(&world, "PUT", &elsewhere, r#"{"location":"westeurope"}"#).await.status,
        201,
        "another's name"
    );

    // The account works as any other.
    let (primary, secondary) = keys(&world, "Mine_1.(x)").await;
    for key in [&primary, &secondary] {
        let token = token(&world, &account, key).await;
        let path = format!("/accounts/{account}/sessions?{V}");
        let list = world.send("GET", &path, &[&format!("Authorization: Bearer {token}")], "").await;
        assert_eq!((list.status, list.text()), (200, r#"{"sessions":[]}"#.to_owned()));
    }
    assert!(accounts::list(world.dir.path()).await.unwrap().iter().any(|known| known.name == "Mine_1.(x)"));

    let gone = manage(&world, "DELETE", &address, "").await;
    assert_eq!((gone.status, gone.body.len()), (200, 0));
    assert_eq!(manage(&world, "DELETE", &address, "").await.status, 204);
    for (method, target) in
        [("GET", address.clone()), ("PATCH", address.clone()), ("POST", at("Mine_1.(x)/listKeys"))]
    {
        let unknown = manage(&world, method, &target, "").await;
        assert_eq!(unknown.refusal(), (404, "ResourceNotFound".to_owned()), "{method}");
    }
    assert_eq!(exchange(&world, &account, &primary).await.status, 401);
    world.running.stop().await;
}

#[tokio::test]
async fn item_95_keys_are_replaced_at_once() {
    let world = managed().await;
    let account = make(&world, "a").await["properties"]["accountId"].as_str().unwrap().to_owned();
    let (first, second) = keys(&world, "a").await;
    assert_ne!(first, second);
    let earlier = token(&world, &account, &first).await;

    let replaced = manage(&world, "POST", &at("a/regenerateKeys"), r#"{"serial":1}"#).await.json();
    assert_ne!(replaced["primaryKey"], first);
    assert_eq!(replaced["secondaryKey"], second);
    assert_eq!(exchange(&world, &account, &first).await.status, 401);
    assert_eq!(exchange(&world, &account, &second).await.status, 200);
    // A token is good until it expires, whatever became of the key.
    let path = format!("/accounts/{account}/sessions?{V}");
    let list = world.send("GET", &path, &[&format!("Authorization: Bearer {earlier}")], "").await;
    assert_eq!(list.status, 200);

    manage(&world, "POST", &at("a/regenerateKeys"), r#"{"serial":2}"#).await;
    assert_eq!(exchange(&world, &account, &second).await.status, 401);
    let last = keys(&world, "a").await;
    assert_eq!(Some(last.0.as_str()), replaced["primaryKey"].as_str());
    assert_ne!(last.1, second);
    for odd in [r#"{"serial":3}"#, r#"{"serial":"1"}"#, r#"{"serial":null}"#, "[]"] {
        let refused = manage(&world, "POST", &at("a/regenerateKeys"), odd).await;
        assert_eq!(refused.refusal(), (400, "InvalidRequestContent".to_owned()), "{odd}");
    }
    assert_eq!(keys(&world, "a").await, last);
    world.running.stop().await;
}

#[tokio::test]
async fn item_95_lists_have_pages() {
    let world = managed().await;
    for n in 0..101 {
        make(&world, &format!("n{n:03}")).await;
    }
    let other = at("z").replace("/group/", "/other/");
    manage(&world, "PUT", &other, r#"{"location":"westeurope"}"#).await;
    for (within, n_last) in [("", 2), ("/resourceGroups/GROUP", 1)] {
        let path = format!("{SUBSCRIPTION}{within}/providers/Microsoft.MixedReality/remoteRenderingAccounts");
        let first = manage(&world, "GET", &format!("{path}?{M}"), "").await.json();
        let names: Vec<&str> =
            first["value"].as_array().unwrap().iter().map(|value| value["name"].as_str().unwrap()).collect();
        assert_eq!((names.len(), names[0], names[99]), (100, "n000", "n099"));
        let next = first["nextLink"].as_str().unwrap();
        let host = format!("http://{}", world.running.http_address);
        let second = manage(&world, "GET", next.strip_prefix(&host).unwrap(), "").await.json();
        assert_eq!(second["value"].as_array().unwrap().len(), n_last, "{within}");
        assert_eq!(second.get("nextLink"), None);
    }
    let nobody = at("").replace("2d2cb8b5", "00000000").replace("/?", "?");
    assert_eq!(manage(&world, "GET", &nobody, "").await.text(), r#"{"value":[]}"#);
    world.running.stop().await;
}

#[tokio::test]
async fn item_95_names_and_operations() {
    let world = managed().await;
    make(&world, "taken").await;
    let target = format!(
        "{SUBSCRIPTION}/providers/Microsoft.MixedReality/locations/westeurope/checkNameAvailability?{M}"
    );
    let ask = async |name: &str| {
        let body = json!({ "name": name, "type": "Microsoft.MixedReality/remoteRenderingAccounts" });
        let answer = manage(&world, "POST", &target, &body.to_string()).await.json();
        (answer["nameAvailable"].as_bool().unwrap(), answer["reason"].as_str().map(str::to_owned))
    };
    assert_eq!(ask("free").await, (true, None));
    assert_eq!(ask("TAKEN").await, (false, Some("AlreadyExists".to_owned())));
    assert_eq!(ask("a b").await, (false, Some("Invalid".to_owned())));
    let other = r#"{"name":"x","type":"Microsoft.MixedReality/spatialAnchorsAccounts"}"#;
    let refused = manage(&world, "POST", &target, other).await;
    assert_eq!(refused.refusal(), (400, "InvalidResourceType".to_owned()));
    assert_eq!(manage(&world, "POST", &target, "{}").await.code(), "InvalidRequestContent");

    let operations =
        manage(&world, "GET", &format!("/providers/Microsoft.MixedReality/operations?{M}"), "").await;
    let names: Vec<String> = operations.json()["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|operation| operation["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        names.contains(&"Microsoft.MixedReality/RemoteRenderingAccounts/regeneratekeys/action".to_owned())
    );
    world.running.stop().await;
}

#[tokio::test]
async fn item_95_bodies_and_names_are_checked() {
    let world = managed().await;
    let long = "n".repeat(91);
    for (target, body, code) in [
        (at("a"), "{", "InvalidRequestContent"),
        (at("a"), "[]", "InvalidRequestContent"),
        (at("a"), "{}", "LocationRequired"),
        (at("a"), "", "LocationRequired"),
        (at("a"), r#"{"location":5}"#, "InvalidLocation"),
        (at("a"), r#"{"location":"x","tags":[]}"#, "InvalidRequestContent"),
        (at("a"), r#"{"location":"x","tags":{"a":1}}"#, "InvalidRequestContent"),
        (at(&long), r#"{"location":"x"}"#, "InvalidResourceName"),
        (at("a%20b"), r#"{"location":"x"}"#, "InvalidResourceName"),
        (at("a").replace("/group/", "/g%2Fh/"), r#"{"location":"x"}"#, "InvalidResourceGroup"),
        (at("a").replace("2d2cb8b5", "%00"), r#"{"location":"x"}"#, "InvalidSubscriptionId"),
        (at("a").replace(M, ""), r#"{"location":"x"}"#, "MissingApiVersionParameter"),
        (at("a").replace(M, "api-version=2020-01-01"), r#"{"location":"x"}"#, "InvalidApiVersionParameter"),
    ] {
        let answer = manage(&world, "PUT", &target, body).await;
        assert_eq!(answer.refusal(), (400, code.to_owned()), "{target} {body}");
    }
    let big = format!(r#"{{"location":"x","tags":{{"a":"{}"}}}}"#, "x".repeat(64 * 1024));
    assert_eq!(manage(&world, "PUT", &at("a"), &big).await.status, 413);
    let wrong = manage(&world, "POST", &at("a"), "").await;
    assert_eq!(wrong.refusal(), (405, "MethodNotAllowed".to_owned()));
    assert_eq!(wrong.header("Allow"), Some("GET, PUT, PATCH, DELETE"));
    world.running.stop().await;
}

/// Its sessions end, its tokens are worth nothing, and neither comes back with a restart.
#[tokio::test]
async fn item_95_a_deleted_account_leaves_nothing_behind() {
    let mut world = managed().await;
    let own = (world.account.clone(), world.token.clone());
    let account = make(&world, "a").await["properties"]["accountId"].as_str().unwrap().to_owned();
    let (key, _) = keys(&world, "a").await;
    let theirs = token(&world, &account, &key).await;
    world.ready("bystander", 5).await;
    (world.account, world.token) = (account.clone(), theirs.clone());
    world.ready("s", 5).await;
    assert_eq!(manage(&world, "DELETE", &at("a"), "").await.status, 200);

    for (method, tail) in [("GET", "/s"), ("GET", ""), ("PUT", "/t"), ("POST", "/s/:stop")] {
        let answer = world.sessions(method, tail, r#"{"maxLeaseTimeMinutes":5,"size":"Standard"}"#).await;
        assert_eq!(answer.status, 401, "{method} {tail}");
    }
    (world.account, world.token) = own.clone();
    let metrics = world.send("GET", "/metrics", &[], "").await.text();
    assert!(
        metrics.contains("belvedere_sessions{status=\"Ready\"} 1"),
        "the other account's is left: {metrics}"
    );
    // A new account of that name is another one.
    let new = make(&world, "a").await["properties"]["accountId"].as_str().unwrap().to_owned();
    assert_ne!(new, account);

    let World { running, clock, dir, .. } = world;
    running.stop().await;
    let mut world = World::again(dir, clock, Fleet::default(), |config| {
        config.management_token = Some(TOKEN.parse().unwrap());
    })
    .await;
    (world.account, world.token) = (account, theirs);
    assert_eq!(world.sessions("GET", "", "").await.status, 401, "after a restart");
    world.running.stop().await;
}

/// A crash between the two steps of a deletion: the next start does the second.
#[tokio::test]
async fn item_95_an_interrupted_deletion_is_finished() {
    let world = managed().await;
    let account = make(&world, "a").await["properties"]["accountId"].as_str().unwrap().to_owned();
    let (key, _) = keys(&world, "a").await;
    let mut world = world;
    world.token = token(&world, &account, &key).await;
    world.account.clone_from(&account);
    world.ready("s", 5).await;
    // As if it had died after the first step.
    let World { running, clock, dir, .. } = world;
    let db = running.paths.db.clone();
    drop(running);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(db).foreign_keys(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("DELETE FROM accounts WHERE id = ?").bind(&account).execute(&pool).await.unwrap();
    let world = World::again(dir, clock, Fleet::default(), |_| ()).await;
    let stopped = eventually(async || {
        let status: String = sqlx::query_scalar("SELECT status FROM sessions WHERE account = ?")
            .bind(&account)
            .fetch_one(&pool)
            .await
            .unwrap();
        status == "Stopped"
    })
    .await;
    assert!(stopped, "its session goes on");
    pool.close().await;
    world.running.stop().await;
}

#[tokio::test]
async fn without_a_token_for_it_there_is_no_management() {
    let world = World::new().await;
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let there = manage(&world, method, &at("a"), "").await;
        let nowhere = manage(&world, method, "/subscriptions", "").await;
        assert_eq!(there.refusal(), (404, "NotFound".to_owned()), "{method}");
        assert_eq!(there.text(), nowhere.text());
    }
    world.running.stop().await;
}

/// Pages of listed origins may call the API, but not this part of it.
#[tokio::test]
async fn pages_do_not_manage() {
    let origin = "https://app.example.com";
    let world = World::with(Fleet::default(), |config| {
        config.management_token = Some(TOKEN.parse().unwrap());
        config.cors_origins = vec![origin.parse().unwrap()];
    })
    .await;
    let headers = [&*format!("Origin: {origin}"), "Access-Control-Request-Method: GET"];
    let asked = world.send("OPTIONS", &at("a"), &headers, "").await;
    assert_eq!((asked.status, asked.header("Access-Control-Allow-Origin")), (405, None));
    world.running.stop().await;
}
