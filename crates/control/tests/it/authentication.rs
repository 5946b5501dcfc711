//! The token service, and what tokens are good for.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use control::accounts::{self, WhichKey};
use control::{Account, AccountFile, Role};
use serde_json::Value;

use crate::world::{Answer, V, World, eventually};
use testkit::Fleet;

async fn token(world: &World, target: &str, credential: &str) -> Answer {
    world.send("GET", target, &[&format!("Authorization: Bearer {credential}")], "").await
}

#[tokio::test]
async fn items_17_to_19_and_21_keys_are_exchanged_for_tokens() {
    let world = World::new().await;
    let Account { id, primary_key: key, .. } = &world.running.account;
    let good = format!("{id}:{key}");
    for target in [
        format!("/Accounts/{id}/token?api-version=2019-02-28-preview"),
        format!("/accounts/{id}/token"),
        format!("/Accounts/{}/token", id.to_string().to_uppercase()),
    ] {
        let answer = token(&world, &target, &good).await;
        assert_eq!(answer.status, 200, "{target}");
        let body = answer.json();
        assert_eq!(body.as_object().unwrap().len(), 1);
        assert_eq!(body["AccessToken"].as_str().unwrap().split('.').count(), 3);
    }
    let target = format!("/Accounts/{id}/token");
    let stranger = uuid::Uuid::new_v4();
    for (target, credential) in [
        (target.clone(), format!("{id}:{}", key.to_lowercase())),
        (target.clone(), format!("{id}:")),
        (target.clone(), format!("{id}")),
        (target.clone(), format!("{stranger}:{key}")),
        (target.clone(), world.token.clone()),
        (target.clone(), String::new()),
        (format!("/Accounts/{stranger}/token"), good.clone()),
        (format!("/Accounts/{stranger}/token"), format!("{stranger}:{key}")),
        ("/Accounts/me/token".to_owned(), format!("me:{key}")),
    ] {
        let answer = token(&world, &target, &credential).await;
        assert_eq!((answer.status, answer.body.len()), (401, 0), "{target} {credential}");
        assert_eq!(answer.header("Content-Length"), Some("0"));
        assert_eq!(answer.header("WWW-Authenticate"), None);
    }
    world.running.stop().await;
}

#[tokio::test]
async fn item_20_keys_are_replaced_one_at_a_time() {
    let world = World::new().await;
    let old = world.running.account.clone();
    let target = format!("/Accounts/{}/token", old.id);
    let status = async |key: &str| token(&world, &target, &format!("{}:{key}", old.id)).await.status;
    assert_eq!((status(&old.primary_key).await, status(&old.secondary_key).await), (200, 200));

    let new = accounts::rotate_key(world.dir.path(), old.id, WhichKey::Primary).await.unwrap();
    assert_eq!((status(&old.primary_key).await, status(&old.secondary_key).await), (401, 200));
    assert_eq!(status(&new.primary_key).await, 200);
    let file = std::fs::read(&world.running.paths.account).unwrap();
    let file: AccountFile = serde_json::from_slice(&file).unwrap();
    assert_eq!((file.account_key, file.secondary_key), (new.primary_key.clone(), old.secondary_key.clone()));

    let newer = accounts::rotate_key(world.dir.path(), old.id, WhichKey::Secondary).await.unwrap();
    assert_eq!((status(&new.primary_key).await, status(&old.secondary_key).await), (200, 401));
    assert_eq!(status(&newer.secondary_key).await, 200);
    world.running.stop().await;
}

#[tokio::test]
async fn items_22_to_24_tokens_look_as_clients_expect() {
    // An account with an odd name, made beside the running server.
    let world = World::new().await;
    let odd = accounts::create(world.dir.path(), "~?>\u{7f}ü-_ \"Größe\"").await.unwrap();
    let answer =
        token(&world, &format!("/Accounts/{}/token", odd.id), &format!("{}:{}", odd.id, odd.primary_key))
            .await;
    let answer = answer.json();
    let parts: Vec<&str> = answer["AccessToken"].as_str().unwrap().split('.').collect();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap();
    assert!(header["alg"].is_string() && header["typ"] == "JWT" && header["kid"].is_string());
    assert!(!parts[1].contains(['-', '_']));
    let claims: Value = serde_json::from_slice(&STANDARD_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 86_400);
    assert_eq!(claims["aid"], odd.id.to_string());

    let keys = world.send("GET", "/.well-known/jwks.json", &[], "").await.json();
    assert_eq!(keys["keys"][0]["kid"], header["kid"]);
    assert_eq!(keys["keys"][0]["alg"], "ES256");
    assert!(keys["keys"][0].get("d").is_none(), "the private part stays private");
    world.running.stop().await;
}

#[tokio::test]
async fn items_26_27_and_29_tokens_are_checked() {
    let world = World::new().await;
    let (head, signature) = world.token.rsplit_once('.').unwrap();
    // The last letter carries only some bits of the signature, so change the first.
    let first = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{head}.{first}{}", &signature[1..]);
    let key = &world.running.account.primary_key;
    let target = world.path("");
    let refused = [
        None,
        Some("Basic eDp5".to_owned()),
        Some("Bearer".to_owned()),
        Some("Bearer garbage".to_owned()),
        Some(format!("Bearer {forged}")),
        Some(format!("Bearer {head}.")),
        // 29
        Some(format!("Bearer {key}")),
        Some(format!("Bearer {}:{key}", world.account)),
    ];
    for authorization in refused {
        let header = authorization.map(|value| format!("Authorization: {value}"));
        let headers: Vec<&str> = header.iter().map(String::as_str).collect();
        let answer = world.send("GET", &target, &headers, "").await;
        assert_eq!((answer.status, answer.body.len()), (401, 0), "{header:?}");
        assert_eq!(answer.header("WWW-Authenticate"), Some("Bearer error=\"invalid_token\""), "{header:?}");
    }
    // 27
    let other = accounts::create(world.dir.path(), "other").await.unwrap();
    let others = format!("/accounts/{}/sessions?{V}", other.id);
    for target in
        [others.as_str(), &others.replace("/sessions", "/sessions/s"), &format!("/accounts/me/sessions?{V}")]
    {
        assert_eq!(world.call("GET", target, "").await.refusal(), (403, "Forbidden".to_owned()), "{target}");
    }
    // 26
    assert_eq!(world.call("GET", &target, "").await.status, 200);
    world.advance(24 * 60 * 60 - 1);
    assert_eq!(world.call("GET", &target, "").await.status, 200);
    world.advance(1);
    assert_eq!(world.call("GET", &target, "").await.status, 401, "expired");
    world.running.stop().await;
}

/// The ids of the keys that are published, newest first.
async fn published(world: &World) -> Vec<String> {
    let keys = world.send("GET", "/.well-known/jwks.json", &[], "").await.json();
    let keys = keys["keys"].as_array().unwrap();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn signed_by(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn signing_keys_are_replaced_and_overlap() {
    const DAY: u64 = 24 * 60 * 60;
    let mut world = World::new().await;
    let first = published(&world).await;
    assert_eq!(first, [signed_by(&world.token)]);
    let issue = |world: &World| world.running.issue_token(world.running.account.id, Role::Client).unwrap();

    // A token of the first key's last minutes.
    world.advance(30 * DAY - 100);
    world.token = issue(&world);
    assert_eq!(signed_by(&world.token), first[0]);
    world.advance(160);
    assert!(eventually(async || published(&world).await.len() == 2).await, "both are published");
    let both = published(&world).await;
    assert_eq!(both[1], first[0]);
    let newer = issue(&world);
    assert_eq!(signed_by(&newer), both[0], "the new one signs");
    assert_eq!(world.sessions("GET", "", "").await.status, 200, "the old one still checks");

    // A restart finds both.
    let World { running, clock, dir, token, .. } = world;
    running.stop().await;
    let mut world = World::again(dir, clock, Fleet::default(), |_| ()).await;
    assert_eq!(published(&world).await, both);
    world.token = token;
    assert_eq!(world.sessions("GET", "", "").await.status, 200);

    world.advance(DAY - 161);
    assert_eq!(world.sessions("GET", "", "").await.status, 200, "in its last second");
    world.advance(1);
    assert_eq!(world.sessions("GET", "", "").await.status, 401, "it died of age");
    world.token = newer;
    assert_eq!(world.sessions("GET", "", "").await.status, 200);
    world.advance(15 * 60);
    assert!(eventually(async || published(&world).await.len() == 1).await, "the old key has no token left");
    assert_eq!(published(&world).await, both[..1]);
    world.running.stop().await;
}

#[tokio::test]
async fn signing_keys_are_replaced_by_hand_and_revoked() {
    let world = World::new().await;
    let first = published(&world).await;
    accounts::rotate_signing_key(world.dir.path(), false).await.unwrap();
    world.advance(60);
    assert!(eventually(async || published(&world).await.len() == 2).await);
    let both = published(&world).await;
    assert_eq!(both[1], first[0]);
    assert_eq!(world.sessions("GET", "", "").await.status, 200, "old tokens are good");
    accounts::rotate_signing_key(world.dir.path(), true).await.unwrap();
    world.advance(60);
    assert!(eventually(async || world.sessions("GET", "", "").await.status == 401).await, "they are revoked");
    let last = published(&world).await;
    assert!(last.len() == 1 && !both.contains(&last[0]));
    let token = world.running.issue_token(world.running.account.id, Role::Client).unwrap();
    assert_eq!(signed_by(&token), last[0]);
    world.running.stop().await;
}

#[tokio::test]
async fn item_28_clients_do_not_convert() {
    let mut world = World::new().await;
    world.token = world.running.issue_token(world.running.account.id, Role::Client).unwrap();
    assert_eq!(world.put("s", 5).await.status, 201);
    assert_eq!(world.patch("s", 6).await.status, 200);
    assert_eq!(world.sessions("GET", "", "").await.status, 200);
    assert_eq!(world.stop("s").await.status, 204);
    for (method, tail) in [("PUT", "/c"), ("GET", "/c"), ("GET", "")] {
        let target = format!("/accounts/{}/conversions{tail}?{V}", world.account);
        assert_eq!(
            world.call(method, &target, "").await.refusal(),
            (403, "Forbidden".to_owned()),
            "{method} {tail}"
        );
    }
    world.running.stop().await;
}
