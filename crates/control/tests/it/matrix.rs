//! Who may do what: every operation, with every kind of token, about every account.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::{Role, accounts};
use serde_json::Value;

use crate::management;
use crate::world::{Answer, V, World};

/// An operation of the API below `/accounts/{account}`.
struct Operation {
    method: &'static str,
    /// `{s}` is a session, `{c}` a connection or conversion.
    tail: &'static str,
    headers: &'static [&'static str],
    body: &'static str,
    /// What an administrator and a client of the account get for a Ready session `mine`.
    administrator: u16,
    client: u16,
    /// What they get when nothing of that name exists.
    unknown: u16,
}

const fn operation(method: &'static str, tail: &'static str, answers: [u16; 3]) -> Operation {
    let [administrator, client, unknown] = answers;
    Operation { method, tail, headers: &[], body: "", administrator, client, unknown }
}

const CREATE: &str = r#"{"maxLeaseTimeMinutes":5,"size":"Standard"}"#;

/// In an order in which each can be tried by administrator and client after one another.
const OPERATIONS: &[Operation] = &[
    operation("GET", "/sessions?V", [200, 200, 200]),
    operation("GET", "/sessions/{s}?V", [200, 200, 404]),
    Operation { body: CREATE, ..operation("PUT", "/sessions/{s}?V", [200, 200, 201]) },
    // The body is refused, which tells that the way to it is free.
    operation("PATCH", "/sessions/{s}?V", [400, 400, 400]),
    Operation {
        body: r#"{"maxLeaseTimeMinutes":1}"#,
        ..operation("PATCH", "/sessions/{s}?V", [422, 422, 404])
    },
    Operation {
        headers: &["Content-Type: application/sdp"],
        body: "v=0 no codec",
        ..operation("POST", "/sessions/{s}/connection", [406, 406, 404])
    },
    operation("DELETE", "/sessions/{s}/connection/{c}", [404, 404, 404]),
    operation("GET", "/sessions/{s}/still?width=1&height=1", [200, 200, 404]),
    operation("GET", "/conversions?V", [501, 403, 501]),
    operation("GET", "/conversions/{c}?V", [501, 403, 501]),
    Operation { body: "{}", ..operation("PUT", "/conversions/{c}?V", [501, 403, 501]) },
    operation("POST", "/sessions/{s}/:stop?V", [204, 204, 404]),
];

impl Operation {
    fn target(&self, account: &str, session: &str) -> String {
        let tail = self.tail.replace("{s}", session).replace("{c}", "2d2cb8b5-6f2f-4b0c-8c8c-0f8d3d5c6f10");
        format!("/accounts/{account}{}", tail.replace("?V", &format!("?{V}")))
    }

    async fn call(&self, world: &World, account: &str, session: &str, token: Option<&str>) -> Answer {
        let authorization = token.map(|token| format!("Authorization: Bearer {token}"));
        let headers: Vec<&str> =
            authorization.iter().map(String::as_str).chain(self.headers.iter().copied()).collect();
        world.send(self.method, &self.target(account, session), &headers, self.body).await
    }
}

/// What an answer says, without what is new in each.
fn said(answer: &Answer) -> (u16, String, Vec<(String, String)>) {
    let headers = answer
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.to_ascii_lowercase().as_str(), "ms-cv" | "date"));
    (answer.status, answer.text(), headers.cloned().collect())
}

/// A token with other claims and the old signature.
fn with_claim(token: &str, name: &str, value: &str) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    claims[name] = value.into();
    format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2])
}

/// A token without signature that says so.
fn unsigned(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    format!("{header}.{}.", token.split('.').nth(1).unwrap())
}

#[tokio::test]
async fn every_operation_asks_who_is_there() {
    let world = World::new().await;
    let other = accounts::create(world.dir.path(), "other").await.unwrap();
    let (mine, theirs) = (world.running.account.id, other.id);
    let issue = |account, role| world.running.issue_token(account, role).unwrap();
    let administrator = issue(mine, Role::Administrator);
    let client = issue(mine, Role::Client);
    let strangers = [issue(theirs, Role::Administrator), issue(theirs, Role::Client)];
    let elsewhere = World::new().await;
    let garbage = [
        "garbage".to_owned(),
        "a.b.c".to_owned(),
        with_claim(&client, "role", "Administrator"),
        with_claim(&strangers[0], "aid", &mine.to_string()),
        unsigned(&administrator),
        // Another service's, signed with its own key.
        elsewhere.running.issue_token(mine, Role::Administrator).unwrap(),
        world.running.account.primary_key.clone(),
        format!("{mine}:{}", world.running.account.primary_key),
    ];
    world.ready("mine", 5).await;
    let mine = mine.to_string();
    for operation in OPERATIONS {
        let name = format!("{} {}", operation.method, operation.tail);
        // Nobody: nothing is said at all.
        for token in std::iter::once(None).chain(garbage.iter().map(|token| Some(token.as_str()))) {
            let answer = operation.call(&world, &mine, "mine", token).await;
            assert_eq!((answer.status, answer.body.len()), (401, 0), "{name} with {token:?}");
            assert_eq!(answer.header("WWW-Authenticate"), Some("Bearer error=\"invalid_token\""), "{name}");
            assert_eq!(answer.header("api-supported-versions"), None, "{name}");
        }
        // Another account's: the same about what exists, what does not, and an account that never was.
        let nobody = uuid::Uuid::new_v4().to_string();
        for token in &strangers {
            let answer = operation.call(&world, &mine, "mine", Some(token)).await;
            assert_eq!(answer.refusal(), (403, "Forbidden".to_owned()), "{name}");
            for (account, session) in [(&mine, "nothing"), (&nobody, "mine"), (&"me".to_owned(), "mine")] {
                let again = operation.call(&world, account, session, Some(token)).await;
                assert_eq!(said(&again), said(&answer), "{name} about {account} {session}");
            }
        }
        // The account's own.
        for (token, status) in [(&administrator, operation.administrator), (&client, operation.client)] {
            let answer = operation.call(&world, &mine, "mine", Some(token)).await;
            assert_eq!(answer.status, status, "{name}: {}", answer.text());
            if status == 501 {
                assert_eq!(answer.code(), "NotImplemented", "{name}");
            }
        }
    }
    assert_eq!(world.get("mine").await["status"], "Stopped", "by the account's own tokens, at last");
    elsewhere.running.stop().await;
    world.running.stop().await;
}

/// With its own token on its own paths, an account cannot tell whether another has something of that name.
#[tokio::test]
async fn what_another_account_has_does_not_exist() {
    let world = World::new().await;
    let other = accounts::create(world.dir.path(), "other").await.unwrap();
    let stranger = world.running.issue_token(other.id, Role::Administrator).unwrap();
    world.ready("taken", 5).await;
    world.put("free", 5).await;
    let before = world.get("taken").await;
    let theirs = other.id.to_string();
    for operation in OPERATIONS {
        let name = format!("{} {}", operation.method, operation.tail);
        let taken = operation.call(&world, &theirs, "taken", Some(&stranger)).await;
        assert_eq!(taken.status, operation.unknown, "{name}: {}", taken.text());
        if operation.method != "PUT" {
            let nothing = operation.call(&world, &theirs, "nothing", Some(&stranger)).await;
            assert_eq!(said(&taken), said(&nothing), "{name}");
        }
        if taken.status == 201 {
            // The same name is another session there, after which the operations no longer find nothing.
            assert_eq!(taken.json()["status"], "Starting");
            let list = OPERATIONS[0].call(&world, &theirs, "", Some(&stranger)).await.json();
            assert_eq!(list["sessions"].as_array().unwrap().len(), 1, "its own alone");
            break;
        }
    }
    for operation in OPERATIONS.iter().filter(|operation| operation.method != "PUT") {
        let own = operation.call(&world, &theirs, "elsewhere", Some(&stranger)).await;
        assert_eq!(own.status, operation.unknown, "{} {}: {}", operation.method, operation.tail, own.text());
    }
    assert_eq!(world.get("taken").await, before, "nothing has changed");
    // Nor does the end of another account's page lead anywhere.
    for id in ["free", "nothing"] {
        let target = format!("/accounts/{theirs}/sessions?{V}&continuationToken={id}");
        let authorization = format!("Authorization: Bearer {stranger}");
        let list = world.send("GET", &target, &[&authorization], "").await;
        assert_eq!(list.refusal(), (400, "BadRequest".to_owned()), "{id}");
    }
    world.running.stop().await;
}

/// The token of the management API opens nothing else, and nothing else opens the management API.
#[tokio::test]
async fn management_and_tenants_are_apart() {
    let world = management::managed().await;
    world.ready("mine", 5).await;
    let mine = world.account.clone();
    for operation in OPERATIONS {
        let answer = operation.call(&world, &mine, "mine", Some(management::TOKEN)).await;
        assert_eq!((answer.status, answer.body.len()), (401, 0), "{} {}", operation.method, operation.tail);
    }
    for credential in [management::TOKEN.to_owned(), format!("{mine}:{}", management::TOKEN)] {
        let authorization = format!("Authorization: Bearer {credential}");
        let answer = world.send("GET", &format!("/Accounts/{mine}/token"), &[&authorization], "").await;
        assert_eq!(answer.status, 401, "the token service");
    }
    let account = &world.running.account;
    let issue = |role| world.running.issue_token(account.id, role).unwrap();
    let strangers = [
        String::new(),
        issue(Role::Administrator),
        issue(Role::Client),
        account.primary_key.clone(),
        format!("{mine}:{}", account.primary_key),
        management::TOKEN[1..].to_owned(),
        format!("{0}{0}", management::TOKEN),
        management::TOKEN.to_uppercase(),
    ];
    let document: Value = serde_json::from_str(&control::openapi_json()).unwrap();
    let operations: Vec<(String, String)> =
        described(&document).into_iter().filter(|(_, path)| path.contains("/providers/")).collect();
    assert_eq!(operations.len(), 10);
    for (method, path) in operations {
        let target = path.replace(['{', '}'], "");
        for stranger in &strangers {
            let authorization = format!("Authorization: Bearer {stranger}");
            let answer =
                world.send(&method, &format!("{target}?api-version=2021-01-01"), &[&authorization], "").await;
            assert_eq!(
                answer.refusal(),
                (401, "InvalidAuthenticationToken".to_owned()),
                "{method} {path} with {stranger:?}"
            );
            assert_eq!(answer.header("WWW-Authenticate"), Some("Bearer error=\"invalid_token\""));
        }
        let known = format!("Authorization: Bearer {}", management::TOKEN);
        let answer = world.send(&method, &format!("{target}?api-version=2021-01-01"), &[&known], "").await;
        assert_ne!(answer.status, 401, "{method} {path}");
    }
    assert_eq!(world.get("mine").await["status"], "Ready");
    world.running.stop().await;
}

/// Method and path of everything in the document.
fn described(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect()
}

/// What is described is tried above, and the other way around.
#[test]
fn the_table_has_every_operation_of_the_document() {
    let document: Value = serde_json::from_str(&control::openapi_json()).unwrap();
    let described: BTreeSet<(String, String)> = described(&document)
        .into_iter()
        .filter_map(|(method, path)| Some((method, path.strip_prefix("/accounts/{account_id}")?.to_owned())))
        .collect();
    let tried: BTreeSet<(String, String)> = OPERATIONS
        .iter()
        .map(|operation| {
            let path = operation.tail.split('?').next().unwrap();
            let id = if path.contains("conversions") { "{conversion_id}" } else { "{connection_id}" };
            (operation.method.to_owned(), path.replace("{s}", "{session_id}").replace("{c}", id))
        })
        .collect();
    assert_eq!(tried, described);
}
