//! Rate limits.

use control::{RateLimit, accounts};

use crate::world::{Answer, V, World};
use testkit::Fleet;

async fn limited(per_minute: u32, burst: u32) -> World {
    World::with(Fleet::default(), |config| config.rate_limit = RateLimit { per_minute, burst }).await
}

/// Seconds to wait, from a 429 as it should be.
#[track_caller]
fn wait_secs(answer: &Answer) -> u64 {
    assert_eq!((answer.status, answer.reason.as_str()), (429, "Too Many Requests"));
    assert_eq!((answer.body.len(), answer.header("Content-Length")), (0, Some("0")));
    assert_eq!(answer.header("Content-Type"), None);
    answer.header("Retry-After").unwrap().parse().unwrap()
}

#[tokio::test]
async fn item_82_above_the_rate_clients_are_told_when_to_come_again() {
    // One in 2.5 seconds.
    let world = limited(24, 3).await;
    for _ in 0..3 {
        assert_eq!(world.sessions("GET", "", "").await.status, 200);
    }
    for target in [world.path(""), world.path("/nobody"), world.path("/no%20id")] {
        let refused = world.call("GET", &target, "").await;
        assert_eq!(wait_secs(&refused), 3, "{target}");
        assert!(refused.header("api-supported-versions").is_some());
    }
    world.advance(2);
    assert_eq!(wait_secs(&world.sessions("GET", "", "").await), 1);
    world.advance(1);
    assert_eq!(world.sessions("GET", "", "").await.status, 200, "it waited");
    assert_eq!(wait_secs(&world.sessions("GET", "", "").await), 2);

    // Other classes and other accounts have their own; strangers take nothing of them.
    for _ in 0..5 {
        assert_eq!(world.send("GET", &world.path(""), &[], "").await.status, 401);
    }
    assert_eq!(world.put("s", 5).await.status, 201);
    assert_eq!(world.patch("s", 6).await.status, 200);
    assert_eq!(world.stop("s").await.status, 204);
    assert_eq!(wait_secs(&world.put("s", 5).await), 3);
    let still = format!("/accounts/{}/sessions/s/still?width=1&height=1", world.account);
    assert_eq!(world.call("GET", &still, "").await.status, 409);
    let conversions = format!("/accounts/{}/conversions?{V}", world.account);
    assert_eq!(world.call("GET", &conversions, "").await.status, 501);
    let other = accounts::create(world.dir.path(), "other").await.unwrap();
    let token = world.running.issue_token(other.id, control::Role::Client).unwrap();
    let authorization = format!("Authorization: Bearer {token}");
    let list = format!("/accounts/{}/sessions?{V}", other.id);
    assert_eq!(world.send("GET", &list, &[&authorization], "").await.status, 200);
    world.running.stop().await;
}

#[tokio::test]
async fn item_82_the_token_service_counts_addresses() {
    let world = limited(60, 2).await;
    let (id, key) = (world.running.account.id, &world.running.account.primary_key);
    let right = format!("Authorization: Bearer {id}:{key}");
    let target = format!("/Accounts/{id}/token");
    let stranger = format!("/Accounts/{}/token", uuid::Uuid::new_v4());
    assert_eq!(world.send("GET", &stranger, &[&right], "").await.status, 401);
    assert_eq!(world.send("GET", &target, &[&right], "").await.status, 200);
    for (target, headers) in [(&target, &[right.as_str()][..]), (&stranger, &[])] {
        let refused = world.send("GET", target, headers, "").await;
        assert_eq!(wait_secs(&refused), 1);
        assert_eq!(refused.header("api-supported-versions"), None);
    }
    world.advance(1);
    assert_eq!(world.send("GET", &target, &[&right], "").await.status, 200);
    world.running.stop().await;
}

#[tokio::test]
async fn item_83_five_looks_right_after_a_create_are_not_too_many() {
    // The least that can be set.
    let world = World::with(Fleet::default(), |config| config.rate_limit = RateLimit::of(1)).await;
    assert_eq!(world.put("s", 5).await.status, 201);
    for _ in 0..5 {
        assert_eq!(world.sessions("GET", "/s", "").await.status, 200);
    }
    world.running.stop().await;
}
