//! Creating, reading, changing, listing sessions.

use serde_json::Value;

use crate::world::{V, World};
use testkit::{Fleet, Manner};

fn members(session: &Value, text: &str) -> Vec<String> {
    // serde_json sorts keys, so the order is read from the text.
    let mut names: Vec<String> = session.as_object().unwrap().keys().cloned().collect();
    names.sort_by_key(|name| text.find(&format!("\"{name}\":")));
    names
}

#[tokio::test]
async fn items_30_to_32_and_39_to_41_a_session_starts_and_is_ready() {
    let fleet = Fleet::default();
    fleet.behave(Manner::Slow);
    let world = World::with(fleet.clone(), |_| ()).await;
    let created = world.put("s1", 15).await;
    assert_eq!(created.status, 201);
    let starting = ["id", "creationTime", "elapsedTimeMinutes", "maxLeaseTimeMinutes", "size", "status"];
    let session = created.json();
    assert_eq!(members(&session, &created.text()), starting);
    assert_eq!(session["status"], "Starting");
    assert_eq!((&session["elapsedTimeMinutes"], &session["maxLeaseTimeMinutes"]), (&0.into(), &15.into()));
    // 31
    let created_at = session["creationTime"].as_str().unwrap();
    let format = &time::format_description::well_known::Iso8601::DEFAULT;
    assert!(
        created_at.ends_with("+00:00") && time::OffsetDateTime::parse(created_at, format).is_ok(),
        "{created_at}"
    );
    // 39
    let got = world.sessions("GET", "/s1", "").await;
    assert_eq!((got.status, got.json()), (200, session.clone()));
    world.stop("s1").await;

    fleet.behave(Manner::Prompt);
    let created = world.put("s2", 15).await.json();
    let ready = world.until("s2", "Ready").await;
    let text = world.sessions("GET", "/s2", "").await.text();
    assert_eq!(
        members(&ready, &text),
        [
            "id",
            "creationTime",
            "arrInspectorPort",
            "handshakePort",
            "elapsedTimeMinutes",
            "hostname",
            "maxLeaseTimeMinutes",
            "size",
            "status",
            "teraflops",
        ]
    );
    assert_eq!(ready["creationTime"], created["creationTime"]);
    assert_eq!(ready["teraflops"].to_string(), "8.1");
    let ports = ["arrInspectorPort", "handshakePort"]
        .map(|port| u16::try_from(ready[port].as_u64().unwrap()).unwrap());
    assert!(ports.iter().all(|port| (49_152..=65_534).contains(port)) && ports[0] != ports[1], "{ports:?}");
    // 41
    for port in ports {
        tokio::net::TcpStream::connect((ready["hostname"].as_str().unwrap(), port)).await.unwrap();
    }
    world.running.stop().await;
}

#[tokio::test]
async fn items_33_and_34_a_put_is_idempotent() {
    let fleet = Fleet::default();
    let world = World::with(fleet.clone(), |_| ()).await;
    let first = world.ready("s", 5).await;
    let n_started = fleet.n_started();
    let again = world.put("s", 5).await;
    assert_eq!((again.status, &again.json()["creationTime"]), (200, &first["creationTime"]));
    assert_eq!(world.patch("s", 9).await.status, 200);
    let after_patch = world.put("s", 5).await;
    assert_eq!((after_patch.status, &after_patch.json()["maxLeaseTimeMinutes"]), (200, &9.into()));
    assert!(fleet.n_started() <= n_started + 1, "no second host beside the pool's");

    assert_eq!(world.put("s", 9).await.refusal(), (409, "Conflict".to_owned()));
    let premium = r#"{"maxLeaseTimeMinutes":5,"size":"Premium"}"#;
    let answer = world.sessions("PUT", "/s", premium).await;
    assert_eq!(answer.refusal(), (409, "Conflict".to_owned()));
    assert_eq!(answer.json()["error"]["message"], "A resource already exists under the given ID.");
    world.stop("s").await;
    assert_eq!(
        world.put("s", 5).await.refusal(),
        (409, "Conflict".to_owned()),
        "ended sessions keep their id"
    );
    world.running.stop().await;
}

#[tokio::test]
async fn items_35_to_38_and_86_bodies_are_checked() {
    let world = World::new().await;
    let negative = world.put("neg", -4).await;
    assert_eq!(negative.refusal(), (400, "BadRequest".to_owned()));
    assert_eq!(negative.json()["error"]["message"], "The maxLeaseTimeMinutes value cannot be negative.");
    for body in [
        r#"{"maxLeaseTimeMinutes":1441,"size":"Standard"}"#,
        r#"{"maxLeaseTimeMinutes":99999999999999999999,"size":"Standard"}"#,
        r#"{"maxLeaseTimeMinutes":1e400,"size":"Standard"}"#,
        r#"{"maxLeaseTimeMinutes":"5","size":"Standard"}"#,
        r#"{"maxLeaseTimeMinutes":5.5,"size":"Standard"}"#,
        r#"{"maxLeaseTimeMinutes":null,"size":"Standard"}"#,
        r#"{"size":"Standard"}"#,
        r#"{"maxLeaseTimeMinutes":5}"#,
        r#"{"maxLeaseTimeMinutes":5,"size":7}"#,
        r#"{"maxLeaseTimeMinutes":5,"size":""}"#,
        // 86
        "",
        "{",
        "null",
        "[]",
        "5",
        "\u{0}",
        r#"{"maxLeaseTimeMinutes":5,"size":"Standard"}x"#,
    ] {
        let answer = world.sessions("PUT", "/bad", body).await;
        assert_eq!(answer.refusal(), (400, "BadRequest".to_owned()), "{body}");
    }
    let tiny = world.sessions("PUT", "/bad", r#"{"maxLeaseTimeMinutes":5,"size":"Tiny"}"#).await;
    assert_eq!(tiny.refusal(), (400, "BadRequest".to_owned()));
    assert_eq!(tiny.json()["error"]["message"], "Can't specify this VM size: Tiny");
    assert_eq!(world.sessions("GET", "/bad", "").await.status, 404);
    for (id, sent, echoed) in
        [("a", "standard", "Standard"), ("b", "premium", "Premium"), ("c", "PREMIUM", "Premium")]
    {
        let body = format!("{{\"maxLeaseTimeMinutes\":5,\"size\":\"{sent}\"}}");
        let answer = world.sessions("PUT", &format!("/{id}"), &body).await;
        assert_eq!((answer.status, &answer.json()["size"]), (201, &echoed.into()));
    }
    world.running.stop().await;
}

#[tokio::test]
async fn items_43_to_46_a_patch_sets_a_larger_lease() {
    let fleet = Fleet::default();
    fleet.behave(Manner::Slow);
    let world = World::with(fleet.clone(), |_| ()).await;
    world.put("s", 5).await;
    let patched = world.patch("s", 6).await;
    assert_eq!((patched.status, &patched.json()["maxLeaseTimeMinutes"]), (200, &6.into()), "while Starting");
    fleet.behave(Manner::Prompt);
    world.ready("t", 5).await;
    let patched = world.patch("t", 20).await;
    assert_eq!((patched.status, &patched.json()["status"]), (200, &"Ready".into()));
    assert_eq!(patched.json()["maxLeaseTimeMinutes"], 20);
    for minutes in [20, 19, 0, -1, 1441, 99_999_999_999] {
        let answer = world.patch("t", minutes).await;
        assert_eq!(answer.refusal(), (422, "UnprocessableEntity".to_owned()), "{minutes}");
    }
    assert_eq!(world.get("t").await["maxLeaseTimeMinutes"], 20);
    assert_eq!(world.patch("t", 1440).await.status, 200);
    for body in ["", "{}", r#"{"maxLeaseTimeMinutes":"9"}"#, r#"{"maxLeaseTimeMinutes":9.5}"#] {
        let answer = world.sessions("PATCH", "/t", body).await;
        assert_eq!(answer.refusal(), (400, "BadRequest".to_owned()), "{body}");
    }
    // 46
    for minutes in [9, 1441] {
        assert_eq!(world.patch("nobody", minutes).await.refusal(), (404, "NotFound".to_owned()), "{minutes}");
    }
    world.stop("t").await;
    for minutes in [1440, 1441] {
        assert_eq!(
            world.patch("t", minutes).await.refusal(),
            (422, "UnprocessableEntity".to_owned()),
            "{minutes}"
        );
    }
    world.running.stop().await;
}

#[tokio::test]
async fn items_55_to_57_and_83_lists_and_bursts() {
    let world = World::new().await;
    assert_eq!(world.sessions("GET", "", "").await.text(), "{\"sessions\":[]}");
    let ids = async || -> Vec<String> {
        let list = world.sessions("GET", "", "").await.json();
        assert_eq!(list.as_object().unwrap().len(), 1, "one page has no link");
        list["sessions"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect()
    };
    world.put("b", 5).await;
    assert_eq!(ids().await, ["b"]);
    world.put("a", 0).await;
    world.put("c", 5).await;
    world.until("a", "Expired").await;
    assert_eq!(ids().await, ["b", "c"], "oldest first, none that ended");
    world.patch("c", 8).await;
    let list = world.sessions("GET", "", "").await.json();
    assert_eq!(list["sessions"][1]["maxLeaseTimeMinutes"], 8);
    assert_eq!(list["sessions"][1], world.get("c").await);
    world.stop("b").await;
    assert_eq!(ids().await, ["c"]);
    for _ in 0..5 {
        assert_eq!(world.sessions("GET", "/c", "").await.status, 200);
    }
    world.running.stop().await;
}

#[tokio::test]
async fn items_60_to_62_lists_have_pages() {
    let fleet = Fleet::default();
    let world = World::with(fleet, |config| config.n_hosts_max = 300).await;
    let expected: Vec<String> = (0..230).map(|n| format!("s{n:03}")).collect();
    for id in &expected {
        assert_eq!(world.put(id, 5).await.status, 201);
    }
    let authorization = format!("Authorization: Bearer {}", world.token);
    let base = format!("http://{}", world.running.http_address);
    let mut target = format!("/accounts/{}/sessions?api-version=2021-01-01-preview", world.account);
    let mut sizes = Vec::new();
    let mut ids = Vec::new();
    loop {
        let page = world.send("GET", &target, &[&authorization], "").await.json();
        let sessions = page["sessions"].as_array().unwrap();
        sizes.push(sessions.len());
        ids.extend(sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()));
        let Some(link) = page.get("@nextLink") else { break };
        let link = link.as_str().unwrap();
        assert!(link.contains("api-version=2021-01-01-preview"), "{link}");
        target = link
            .strip_prefix(&base)
            .unwrap_or_else(|| panic!("not on the request's host: {link}"))
            .to_owned();
    }
    assert_eq!(sizes, [100, 100, 30]);
    assert_eq!(ids, expected);

    // 60: over TLS the link is an https one.
    let ca = std::fs::read(&world.running.paths.ca).unwrap();
    let ca = reqwest::Certificate::from_pem(&ca).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
    let url = format!("{}{}", world.running.ready.https, world.path(""));
    let page = client.get(url).bearer_auth(&world.token).send().await.unwrap();
    let page: Value = page.json().await.unwrap();
    let link = page["@nextLink"].as_str().unwrap();
    assert!(link.starts_with(&format!("{}/accounts/", world.running.ready.https)), "{link}");
    let rest = client.get(link).bearer_auth(&world.token).send().await.unwrap();
    let rest: Value = rest.json().await.unwrap();
    assert_eq!(rest["sessions"][0]["id"], "s100");
    // Whoever reads slowly goes on where the page ended, though its last session has ended meanwhile.
    world.stop("s099").await;
    let rest = client.get(link).bearer_auth(&world.token).send().await.unwrap();
    assert_eq!(rest.json::<Value>().await.unwrap()["sessions"][0]["id"], "s100");

    // 62
    let other = control::accounts::create(world.dir.path(), "other").await.unwrap();
    let token = world.running.issue_token(other.id, control::Role::Administrator).unwrap();
    let others = world.send("GET", &target, &[&format!("Authorization: Bearer {token}")], "").await;
    assert_eq!(others.status, 403);
    let odd = format!("/accounts/{}/sessions?{V}&continuationToken=x", world.account);
    assert_eq!(world.call("GET", &odd, "").await.status, 400);
    world.running.stop().await;
}
