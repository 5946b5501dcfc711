//! Routing, headers, versions, and TLS.

use std::collections::HashSet;

use crate::world::{V, World};
use testkit::Fleet;

/// Requests that reach every corner, with the status they get.
async fn tour(world: &World) -> Vec<(&'static str, crate::world::Answer)> {
    let (account, key) = (&world.account, &world.running.account.primary_key);
    let right = format!("Authorization: Bearer {account}:{key}");
    let conversions = format!("/accounts/{account}/conversions?{V}");
    let stranger = format!("/accounts/{}/sessions?{V}", uuid::Uuid::new_v4());
    let token = format!("/Accounts/{account}/token");
    vec![
        ("201 put", world.put("tour", 5).await),
        ("200 put", world.put("tour", 5).await),
        ("409 put", world.put("tour", 6).await),
        ("400 put", world.put("other", -1).await),
        ("200 get", world.sessions("GET", "/tour", "").await),
        ("404 get", world.sessions("GET", "/nobody", "").await),
        ("200 patch", world.patch("tour", 7).await),
        ("422 patch", world.patch("tour", 7).await),
        ("200 list", world.sessions("GET", "", "").await),
        ("204 stop", world.stop("tour").await),
        ("400 version", world.call("GET", &format!("/accounts/{account}/sessions"), "").await),
        ("401 list", world.send("GET", &world.path(""), &[], "").await),
        ("403 list", world.call("GET", &stranger, "").await),
        ("501 conversions", world.call("GET", &conversions, "").await),
        ("405 method", world.call("DELETE", &world.path(""), "").await),
        ("404 path", world.call("GET", "/nowhere", "").await),
        ("200 token", world.send("GET", &token, &[&right], "").await),
        ("401 token", world.send("GET", &token, &["Authorization: Bearer x:y"], "").await),
        ("302 root", world.send("GET", "/", &[], "").await),
        ("200 viewer", world.send("GET", "/viewer/", &[], "").await),
        ("404 viewer", world.send("GET", "/viewer/nothing.js", &[], "").await),
        ("200 console", world.send("GET", "/console/", &[], "").await),
        ("200 healthz", world.send("GET", "/healthz", &[], "").await),
        ("200 readyz", world.send("GET", "/readyz", &[], "").await),
        ("200 metrics", world.send("GET", "/metrics", &[], "").await),
        ("200 jwks", world.send("GET", "/.well-known/jwks.json", &[], "").await),
    ]
}

#[tokio::test]
async fn items_2_to_5_8_to_11_and_84_every_answer_has_its_form() {
    let world = World::new().await;
    let mut vectors = HashSet::new();
    for (name, answer) in tour(&world).await {
        assert_eq!(answer.status.to_string(), name[..3], "{name}: {}", answer.text());
        // 2
        let vector = answer.header("MS-CV").unwrap_or_else(|| panic!("{name} has no MS-CV")).to_owned();
        let (id, tail) = vector.split_at(22);
        assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/'), "{name}: {vector}");
        assert_eq!(tail, ".0", "{name}");
        assert!(vectors.insert(vector), "{name} repeats an MS-CV");
        // 3
        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"), "{name}");
        // 4 and 5
        let versions = answer.header("api-supported-versions");
        let rendering = matches!(
            name,
            "201 put"
                | "200 put"
                | "409 put"
                | "400 put"
                | "200 get"
                | "404 get"
                | "200 patch"
                | "422 patch"
                | "200 list"
                | "204 stop"
                | "400 version"
                | "403 list"
                | "501 conversions"
        );
        assert_eq!(versions, rendering.then_some("2021-01-01-preview, 2021-01-01"), "{name}");
        // 8
        if let Some(b'{') = answer.body.first() {
            assert_eq!(answer.header("Content-Type"), Some("application/json; charset=utf-8"), "{name}");
            // Written again without a space, with keys in whatever order, it is as long.
            let compact = serde_json::to_vec(&answer.json()).unwrap();
            assert_eq!(answer.body.len(), compact.len(), "{name} is not compact: {}", answer.text());
        }
        let length = answer.header("Content-Length").map(|length| length.parse::<usize>().unwrap());
        let expected = (answer.status != 204).then_some(answer.body.len());
        assert_eq!(length, expected, "{name}");
        // 9 and 10
        let uncached = matches!(name, "200 get" | "200 list" | "200 token");
        let caching = (answer.header("Cache-Control"), answer.header("Pragma"));
        if uncached {
            assert_eq!(caching, (Some("no-store,no-cache"), Some("no-cache")), "{name}");
        } else if !name.ends_with("viewer") && !name.ends_with("console") {
            assert_eq!(caching, (None, None), "{name}");
        }
        // 11
        assert_eq!(answer.header("Location").is_some(), name == "302 root", "{name}");
        // 84
        if answer.status >= 400 && !answer.body.is_empty() {
            let error = &answer.json()["error"];
            let members: Vec<&String> = error.as_object().unwrap().keys().collect();
            assert_eq!(members, ["code", "message"], "{name}");
        }
    }
    world.running.stop().await;
}

#[tokio::test]
async fn item_1_both_roles_answer_over_https_with_http_1_1() {
    let world = World::new().await;
    let ca = std::fs::read(&world.running.paths.ca).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()])
        // glibc does not know names below localhost.
        .resolve("sts.localhost", world.running.https_address)
        .resolve("remoterendering.localhost", world.running.https_address)
        .build()
        .unwrap();
    let port = world.running.https_address.port();
    let (account, key) = (&world.account, &world.running.account.primary_key);

    let token = client
        .get(format!("https://sts.localhost:{port}/Accounts/{account}/token?api-version=2019-02-28-preview"))
        .bearer_auth(format!("{account}:{key}"))
        .send()
        .await
        .unwrap();
    assert_eq!(token.version(), reqwest::Version::HTTP_11);
    let token: serde_json::Value = token.json().await.unwrap();
    for base in ["https://remoterendering.localhost", "https://localhost", "https://127.0.0.1"] {
        let list = client
            .get(format!("{base}:{port}/accounts/{account}/sessions?{V}"))
            .bearer_auth(token["AccessToken"].as_str().unwrap())
            .send()
            .await
            .unwrap();
        assert_eq!((list.status().as_u16(), list.version()), (200, reqwest::Version::HTTP_11), "{base}");
        assert_eq!(list.text().await.unwrap(), "{\"sessions\":[]}", "57: an empty list");
    }
    let strangers = reqwest::Client::new().get(format!("https://localhost:{port}/healthz")).send().await;
    assert!(strangers.is_err(), "the certificate is trusted only by those who were given the CA");

    for (target, status, reason) in [
        (world.path(""), 401, "Unauthorized"),
        (format!("/Accounts/{account}/token"), 401, "Unauthorized"),
        ("/nowhere".to_owned(), 404, "Not Found"),
    ] {
        let answer = world.send("GET", &target, &[], "").await;
        assert_eq!((answer.status, answer.reason.as_str()), (status, reason), "{target}");
    }
    world.running.stop().await;
}

#[tokio::test]
async fn items_6_and_7_versions() {
    let world = World::new().await;
    let account = &world.account;
    let settings = r#"{"maxLeaseTimeMinutes":5,"size":"Standard"}"#;
    for (n, version) in ["2021-01-01", "2021-01-01-preview"].into_iter().enumerate() {
        let session = format!("/accounts/{account}/sessions/v{n}?api-version={version}");
        let stop = format!("/accounts/{account}/sessions/v{n}/:stop?api-version={version}");
        let list = format!("/accounts/{account}/sessions?api-version={version}");
        let conversion = format!("/accounts/{account}/conversions/c?api-version={version}");
        let conversions = format!("/accounts/{account}/conversions?api-version={version}");
        for (method, target, body, status) in [
            ("PUT", &session, settings, 201),
            ("GET", &session, "", 200),
            ("PATCH", &session, r#"{"maxLeaseTimeMinutes":6}"#, 200),
            ("GET", &list, "", 200),
            ("POST", &stop, "", 204),
            // Not there yet, in the service's own words.
            ("PUT", &conversion, "{}", 501),
            ("GET", &conversion, "", 501),
            ("GET", &conversions, "", 501),
        ] {
            let answer = world.call(method, target, body).await;
            assert_eq!(answer.status, status, "{method} {target}: {}", answer.text());
        }
    }
    for (query, code) in [
        ("", "ApiVersionUnspecified"),
        ("?api-version=", "ApiVersionUnspecified"),
        ("?api-version=2021-08-01-preview", "UnsupportedApiVersion"),
        ("?api-version=2021-01-01,2021-01-01-preview", "UnsupportedApiVersion"),
    ] {
        for (method, tail) in
            [("GET", ""), ("GET", "/s"), ("PUT", "/s"), ("PATCH", "/s"), ("POST", "/s/:stop")]
        {
            let answer = world.call(method, &format!("/accounts/{account}/sessions{tail}{query}"), "").await;
            assert_eq!(answer.refusal(), (400, code.to_owned()), "{method} {tail}{query}");
        }
    }
    world.running.stop().await;
}

#[tokio::test]
async fn items_12_to_16_addresses_and_bodies() {
    let world = World::new().await;
    // 12
    let upper = format!("/Accounts/{}/Sessions?{V}", world.account.to_uppercase());
    assert_eq!(world.call("GET", &upper, "").await.status, 200);
    // 13
    let long = "aB-_9".repeat(52)[..256].to_owned();
    assert_eq!(world.put(&long, 5).await.status, 201);
    assert_eq!(world.get(&long).await["id"], long.as_str());
    assert_eq!(world.put("case", 5).await.status, 201);
    assert_eq!(world.put("Case", 6).await.status, 201, "another session");
    // 14
    for bad in [
        "x".repeat(257).as_str(),
        "a%20b",
        "a%2Fb",
        "a%20b%2Fc%25%3F%23%C3%A9",
        "%",
        "%00",
        "ä",
        "a.b",
        ":stop",
    ] {
        let answer = world.put(bad, 5).await;
        assert_eq!(answer.refusal(), (400, "BadRequest".to_owned()), "PUT {bad}");
        for method in ["GET", "PATCH"] {
            let answer = world.sessions(method, &format!("/{bad}"), "{\"maxLeaseTimeMinutes\":9}").await;
            assert_eq!(answer.status, 404, "{method} {bad}");
        }
    }
    // 15
    let body = r#"{"maxLeaseTimeMinutes":5,"size":"Standard","extra":{"a":[1]},"settings":null}"#;
    assert_eq!(world.sessions("PUT", "/extra", body).await.status, 201);
    // 16
    let authorization = format!("Authorization: Bearer {}", world.token);
    let headers = [authorization.as_str(), "Content-Type: application/json"];
    assert_eq!(world.send("GET", &world.path("/extra"), &headers, "").await.status, 200);
    // 405 names what is allowed.
    let answer = world.sessions("DELETE", "/extra", "").await;
    assert_eq!(answer.refusal(), (405, "MethodNotAllowed".to_owned()));
    assert_eq!(answer.header("Allow"), Some("GET, PUT, PATCH"));
    // Bodies have a limit.
    let huge = format!("{{\"x\":\"{}\"}}", "y".repeat(100_000));
    let answer = world.sessions("PUT", "/huge", &huge).await;
    assert_eq!(answer.refusal(), (413, "RequestTooLarge".to_owned()));
    world.running.stop().await;
}

#[tokio::test]
async fn the_viewer_is_isolated_and_cached_by_its_content() {
    let world = World::new().await;
    let page = world.send("GET", "/viewer/", &[], "").await;
    assert_eq!((page.status, page.header("Content-Type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.text().to_lowercase().contains("<!doctype html>"));
    assert!(
        page.header("Content-Security-Policy").unwrap().starts_with("default-src 'none'; script-src 'self';")
    );
    assert_eq!(page.header("Cross-Origin-Opener-Policy"), Some("same-origin"));
    assert_eq!(page.header("Cross-Origin-Embedder-Policy"), Some("require-corp"));
    let tag = format!("If-None-Match: \"other\", {}", page.header("ETag").unwrap());
    let again = world.send("GET", "/viewer/", &[&tag], "").await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    let head = world.send("HEAD", "/viewer/", &[], "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(world.send("GET", "/viewer/../main.rs", &[], "").await.status, 404);
    let root = world.send("GET", "/", &[], "").await;
    assert_eq!((root.status, root.header("Location")), (302, Some("/console/")));
    world.running.stop().await;
}

#[tokio::test]
async fn a_session_port_that_is_taken_is_replaced() {
    let first = World::new().await;
    let taken = first.running.ready.handshake_port;
    let second = World::with(Fleet::default(), |config| config.handshake_port = taken).await;
    let ready = &second.running.ready;
    assert_ne!(ready.handshake_port, taken);
    assert!((49_152..=65_534).contains(&ready.handshake_port));
    first.running.stop().await;
    second.running.stop().await;
}

#[tokio::test]
async fn what_holds_secrets_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    // A folder that somebody made for everyone.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let clock = std::sync::Arc::new(control::clock::ManualClock::new());
    let world = World::again(dir, clock, Fleet::default(), |_| ()).await;
    let dir = world.dir.path();
    let files =
        ["account.json", "ready.json", "belvedere.db", "belvedere.db-wal", "tls/ca.key", "tls/server.key"];
    for file in files {
        let mode = std::fs::metadata(dir.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file}: {mode:o}");
    }
    let account: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("account.json")).unwrap()).unwrap();
    let members: Vec<&String> = account.as_object().unwrap().keys().collect();
    assert_eq!(members, ["accountDomain", "accountId", "accountKey", "endpoint", "secondaryKey"]);
    assert_eq!(account["endpoint"], world.running.ready.https.as_str());
    world.running.stop().await;
}

#[tokio::test]
async fn the_console_talks_to_its_own_server_and_the_latency_page_to_others() {
    let world = World::new().await;
    let policy = async |path: &str| {
        let page = world.send("GET", path, &[], "").await;
        assert_eq!(page.status, 200, "{path}");
        page.header("Content-Security-Policy").unwrap().to_owned()
    };
    assert!(policy("/console/").await.contains("connect-src 'self';"));
    let latency = policy("/console/latency.html").await;
    assert!(latency.contains("connect-src 'self' https: http:;"), "{latency}");
    assert!(latency.starts_with("default-src 'none'; script-src 'self';"), "{latency}");
    let bare = world.send("GET", "/viewer", &[], "").await;
    assert_eq!((bare.status, bare.header("Location")), (302, Some("/viewer/")));
    world.running.stop().await;
}
