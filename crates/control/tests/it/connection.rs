//! Signalling and still pictures, relayed to hosts.

use crate::world::{Answer, World, eventually};
use testkit::{Fleet, Manner};

async fn connect(world: &World, session: &str, offer: &str) -> Answer {
    let target = format!("/accounts/{}/sessions/{session}/connection", world.account);
    let authorization = format!("Authorization: Bearer {}", world.token);
    world.send("POST", &target, &[&authorization, "Content-Type: application/sdp"], offer).await
}

#[tokio::test]
async fn a_client_connects_and_leaves() {
    let world = World::new().await;
    world.ready("s", 5).await;
    let answer = connect(&world, "s", "v=0 offer").await;
    assert_eq!((answer.status, answer.header("Content-Type")), (201, Some("application/sdp")));
    assert_eq!(answer.text(), "v=0\r\nto v=0 offer");
    let location = answer.header("Location").unwrap().to_owned();
    assert!(
        location.starts_with(&format!("/accounts/{}/sessions/s/connection/", world.account)),
        "{location}"
    );

    let second = connect(&world, "s", "v=0 offer").await;
    assert_eq!(second.refusal(), (409, "ConnectionInUse".to_owned()));
    assert_eq!(world.call("DELETE", &location, "").await.status, 204);
    assert_eq!(world.call("DELETE", &location, "").await.status, 404, "it has left");
    let again = eventually(async || connect(&world, "s", "v=0 again").await.status == 201).await;
    assert!(again, "the place is free");
    world.running.stop().await;
}

#[tokio::test]
async fn what_cannot_connect_is_told_why() {
    let fleet = Fleet::default();
    let world = World::with(fleet.clone(), |_| ()).await;
    world.ready("s", 5).await;
    for (offer, status, code) in
        [("", 400, "BadOffer"), ("hello", 400, "BadOffer"), ("v=0 no codec", 406, "NoCodec")]
    {
        assert_eq!(connect(&world, "s", offer).await.refusal(), (status, code.to_owned()), "{offer}");
    }
    assert_eq!(connect(&world, "nobody", "v=0").await.refusal(), (404, "NotFound".to_owned()));
    let target = format!("/accounts/{}/sessions/s/connection", world.account);
    assert_eq!(world.call("POST", &target, "{}").await.refusal(), (415, "UnsupportedMediaType".to_owned()));
    assert_eq!(world.send("POST", &target, &[], "v=0").await.status, 401);
    let long = "v".repeat(300_000);
    assert_eq!(connect(&world, "s", &long).await.refusal(), (413, "RequestTooLarge".to_owned()));

    world.stop("s").await;
    assert_eq!(connect(&world, "s", "v=0").await.refusal(), (409, "SessionEnded".to_owned()));
    fleet.behave(Manner::Slow);
    world.put("slow", 5).await;
    assert_eq!(connect(&world, "slow", "v=0").await.refusal(), (409, "SessionNotReady".to_owned()));
    world.running.stop().await;
}

#[tokio::test]
async fn item_85_a_mute_host_does_not_hold_its_clients() {
    let fleet = Fleet::default();
    let world = World::with(fleet.clone(), |_| ()).await;
    world.ready("s", 5).await;
    fleet.behave(Manner::Mute);
    let started = std::time::Instant::now();
    let answer = connect(&world, "s", "v=0").await;
    assert_eq!(answer.refusal(), (503, "HostUnavailable".to_owned()));
    assert!(started.elapsed().as_secs() < 15);
    world.running.stop().await;
}

#[tokio::test]
async fn stills_are_relayed() {
    let world = World::new().await;
    world.ready("s", 5).await;
    let still = |query: &str| format!("/accounts/{}/sessions/s/still?{query}", world.account);
    let answer = world.call("GET", &still("width=64&height=48"), "").await;
    assert_eq!((answer.status, answer.header("Content-Type")), (200, Some("image/png")));
    assert!(answer.text().ends_with("PNG 64x48"), "{}", answer.text());
    let answer = world.call("GET", &still("width=64"), "").await;
    assert_eq!(answer.refusal(), (400, "BadRequest".to_owned()));
    world.running.stop().await;
}

#[tokio::test]
async fn links_are_for_hosts_with_tokens() {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::tungstenite::Message;

    let world = World::new().await;
    let plain = world.send("GET", "/internal/link", &[], "").await;
    assert_eq!(plain.refusal(), (426, "UpgradeRequired".to_owned()));
    let browser = world.send("GET", "/internal/link", &["Origin: http://evil.example"], "").await;
    assert_eq!(browser.status, 403);

    let url = format!("ws://{}/internal/link", world.running.http_address);
    for first in [
        r#"{"type":"hello","version":1,"token":"guess","pid":1,"serving":null}"#,
        r#"{"type":"hello","version":999,"token":"guess","pid":1,"serving":null}"#,
        r#"{"type":"ready","session":"s"}"#,
        "garbage",
    ] {
        let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
        socket.send(Message::text(first)).await.unwrap();
        let mut heard = Vec::new();
        while let Some(Ok(message)) = socket.next().await {
            heard.push(message);
        }
        assert!(matches!(heard.last(), Some(Message::Close(_))), "{first}: {heard:?}");
        assert!(!heard.iter().any(|message| message.to_string().contains("welcome")), "{first}");
    }
    world.running.stop().await;
}
