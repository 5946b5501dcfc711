//! The audit log, and who gets too many refusals.

use std::collections::BTreeMap;

use control::RateLimit;
use serde_json::Value;
use testkit::Fleet;

use crate::world::{V, World};

/// The records, when the server has ended.
fn records(dir: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("audit/audit.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn changes_tokens_and_refusals_are_on_record() {
    let world = World::new().await;
    let (account, key) = (world.account.clone(), world.running.account.primary_key.clone());
    let token_path = format!("/Accounts/{account}/token");
    let right = format!("Authorization: Bearer {account}:{key}");
    assert_eq!(world.send("GET", &token_path, &[&right], "").await.status, 200);
    assert_eq!(world.send("GET", &token_path, &["Authorization: Bearer x:y"], "").await.status, 401);
    let created = world.put("s", 5).await;
    assert_eq!(created.status, 201);
    assert_eq!(world.get("s").await["id"], "s");
    assert_eq!(world.put("s", 6).await.status, 409);
    assert_eq!(world.patch("s", 7).await.status, 200);
    assert_eq!(world.stop("s").await.status, 204);
    let stranger = format!("/accounts/{}/sessions?{V}", uuid::Uuid::new_v4());
    assert_eq!(world.call("GET", &stranger, "").await.status, 403);
    assert_eq!(world.send("PUT", &world.path("/t"), &[], "{}").await.status, 401);
    let (token, dir) = (world.token.clone(), world.dir);
    world.running.stop().await;

    let records = records(dir.path());
    let told: Vec<String> = records
        .iter()
        .map(|record| {
            let word = |name: &str| record[name].as_str().unwrap().to_owned();
            let by = record["actor"]["by"].as_str().unwrap();
            format!("{} by {by}: {} {}", word("action"), word("outcome"), record["status"])
        })
        .collect();
    assert_eq!(
        told,
        [
            "token.issue by accountKey: done 200",
            "token.issue by nobody: refused 401",
            "session.create by accessToken: done 201",
            "session.create by accessToken: refused 409",
            "session.extend by accessToken: done 200",
            "session.stop by accessToken: done 204",
            "read by accessToken: refused 403",
            "session.create by nobody: refused 401",
        ]
    );
    let create = &records[2];
    assert_eq!(create["actor"]["account"], account.as_str());
    assert_eq!(create["actor"]["role"], "Administrator");
    assert_eq!(create["target"], format!("/accounts/{account}/sessions/s"));
    assert_eq!(create["correlationVector"].as_str(), created.header("MS-CV"));
    assert_eq!(create["remote"], "127.0.0.1");
    assert!(create["time"].as_str().unwrap().ends_with('Z'), "{create}");
    let text = std::fs::read_to_string(dir.path().join("audit/audit.jsonl")).unwrap();
    assert!(!text.contains(&key) && !text.contains(&token), "secrets are on record");

    control::accounts::create(dir.path(), "other").await.unwrap();
    let last = self::records(dir.path()).pop().unwrap();
    assert_eq!((&last["action"], &last["actor"]["by"]), (&"account.create".into(), &"dataFolder".into()));
}

#[tokio::test]
async fn who_gets_too_many_refusals_is_held_off_and_others_are_not() {
    let limit = RateLimit { per_minute: 60, burst: 3 };
    let world = World::with(Fleet::default(), |config| config.refusal_limit = limit).await;
    let mut statuses = BTreeMap::<u16, usize>::new();
    for _ in 0..20 {
        let answer = world.send("GET", &world.path(""), &["Authorization: Bearer wrong"], "").await;
        *statuses.entry(answer.status).or_default() += 1;
        if answer.status == 429 {
            assert_eq!(answer.header("Retry-After"), Some("1"));
        }
    }
    assert_eq!(statuses, BTreeMap::from([(401, 3), (429, 17)]));
    // A proxy's clients share its address.
    assert_eq!(world.sessions("GET", "", "").await.status, 200);
    let metrics = world.send("GET", "/metrics", &[], "").await.text();
    assert!(metrics.contains("\nbelvedere_refusals_held_off_total 17\n"), "{metrics}");
    world.advance(1);
    assert_eq!(world.send("GET", &world.path(""), &[], "").await.status, 401);
    let dir = world.dir;
    world.running.stop().await;
    assert_eq!(records(dir.path()).len(), 4, "what was held off is counted, not recorded");
}
