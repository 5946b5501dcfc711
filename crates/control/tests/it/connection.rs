//! Signalling and still pictures, relayed to hosts.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use control::RateLimit;
use control::provision::{HostOrder, News, NewsSender, Process, Provisioner};
use futures_util::{SinkExt as _, StreamExt as _};
use protocol::HostId;
use protocol::link::{FromHost, ToHost, VERSION};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

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

/// Starts nothing, and keeps what a host would be told.
#[derive(Default)]
struct Orders(Mutex<Vec<HostOrder>>);

impl std::fmt::Debug for Orders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Orders").finish_non_exhaustive()
    }
}

impl Provisioner for Orders {
    fn start(&self, order: HostOrder, news: NewsSender) {
        news.send(News::Started { host: order.host, process: None });
        self.0.lock().unwrap().push(order);
    }

    fn adopt(&self, _: HostId, _: Process, _: NewsSender) {}

    fn end(&self, _: HostId) {}
}

/// Dials the link as a host does; the status of the refusal if there is one.
async fn dial(url: &str, token: Option<&str>) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, u16> {
    let mut request = url.into_client_request().unwrap();
    if let Some(token) = token {
        request.headers_mut().insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    }
    match tokio_tungstenite::connect_async(request).await {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(refusal)) => Err(refusal.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn links_are_for_hosts_with_tokens() {
    let orders = Arc::new(Orders::default());
    let world = World::with(Fleet::default(), |config| config.provisioner = Some(orders.clone())).await;
    assert!(eventually(async || !orders.0.lock().unwrap().is_empty()).await);
    let order = orders.0.lock().unwrap()[0].clone();
    let url = order.link_url.as_str();

    let plain = world.send("GET", "/internal/link", &[], "").await;
    assert_eq!(plain.refusal(), (401, "Unauthorized".to_owned()));
    assert_eq!(plain.header("WWW-Authenticate"), Some("Bearer error=\"invalid_token\""));
    let token = format!("Authorization: Bearer {}", order.link_token);
    let no_websocket = world.send("GET", "/internal/link", &[&token], "").await;
    assert_eq!(no_websocket.refusal(), (426, "UpgradeRequired".to_owned()));
    for token in [None, Some("guess"), Some(""), Some(world.token.as_str())] {
        assert_eq!(dial(url, token).await.map(drop), Err(401), "{token:?}");
    }

    for first in [
        r#"{"type":"hello","version":1,"token":"guess","pid":1,"serving":null}"#,
        r#"{"type":"hello","version":999,"pid":1,"serving":null}"#,
        r#"{"type":"ready","session":"s"}"#,
        "garbage",
    ] {
        let mut socket = dial(url, Some(&order.link_token)).await.unwrap();
        socket.send(Message::text(first)).await.unwrap();
        let mut heard = Vec::new();
        while let Some(Ok(message)) = socket.next().await {
            heard.push(message);
        }
        assert!(matches!(heard.last(), Some(Message::Close(_))), "{first}: {heard:?}");
        assert!(!heard.iter().any(|message| message.to_string().contains("welcome")), "{first}");
    }
    // The token is still good: nobody has been Welcome with it.
    let mut socket = dial(url, Some(&order.link_token)).await.unwrap();
    let hello = FromHost::Hello { version: VERSION, pid: 1, serving: None };
    socket.send(Message::text(serde_json::to_string(&hello).unwrap())).await.unwrap();
    let welcome = socket.next().await.unwrap().unwrap().into_text().unwrap();
    let Ok(ToHost::Welcome { host, secret }) = serde_json::from_str(&welcome) else { panic!("{welcome}") };
    assert_eq!(host, order.host);
    // To read what comes next is to answer pings, which tells that the Welcome has arrived.
    let reading = tokio::spawn(async move { while let Some(Ok(_)) = socket.next().await {} });
    let worthless = async || dial(url, Some(&order.link_token)).await.map(drop) == Err(401);
    assert!(eventually(worthless).await, "it was for one time");
    assert!(dial(url, Some(&secret)).await.is_ok());
    reading.abort();
}

#[tokio::test]
async fn strangers_do_not_hold_hosts_off() {
    // As many as we like, on machines that allow 1,024 files to begin with.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let world = World::with(Fleet::default(), |config| {
        config.sizes.standard.n_warm = 0;
        config.refusal_limit = RateLimit { per_minute: 1, burst: 3 };
    })
    .await;
    let begin = "GET /internal/link HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let mut idle = Vec::new();
    for n in 0..500 {
        let mut stream = TcpStream::connect(world.running.http_address).await.unwrap();
        // Some say nothing, some do not end what they say, and some wait with an open connection after the refusal.
        match n % 4 {
            0 => {}
            1 => stream.write_all(begin.as_bytes()).await.unwrap(),
            _ => {
                stream.write_all(format!("{begin}\r\n").as_bytes()).await.unwrap();
                let mut status = [0; 12];
                stream.read_exact(&mut status).await.unwrap();
                // Three are told that they are strangers, then the flood is held off, and with it its log.
                let expected = if (2..=6).contains(&n) { "HTTP/1.1 401" } else { "HTTP/1.1 429" };
                assert_eq!(String::from_utf8_lossy(&status), expected, "{n}");
            }
        }
        idle.push(stream);
    }
    // A host, from the same address.
    let begun = Instant::now();
    world.ready("s", 5).await;
    println!("Ready with 500 strangers: {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    drop(idle);
    world.running.stop().await;
}
