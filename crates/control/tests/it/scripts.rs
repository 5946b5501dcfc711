//! What Azure's PowerShell scripts send (`RenderingSession.ps1` and `ARRUtils.ps1`, whose requests these are, byte for
//! byte as Windows PowerShell 5.1 and PowerShell 7 make them). No PowerShell runs here.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{World, eventually};

/// The version that the scripts ask for.
const V: &str = "api-version=2021-01-01-preview";

/// What `@{ … } | ConvertTo-Json` makes of a request for a session in Windows PowerShell.
const BODY: &str =
    "{\r\n    \"size\":  \"standard\",\r\n    \"maxLeaseTimeMinutes\":  240,\r\n    \"comment\":  null\r\n}";

/// Sends a head that expects to be told to go on, then the body; returns what was said in between and at the end.
async fn with_expectation(world: &World, head: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(world.running.http_address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut first = vec![0; 256];
    let n_bytes = stream.read(&mut first).await.unwrap();
    let first = String::from_utf8(first[..n_bytes].to_vec()).unwrap();
    let mut rest = String::new();
    if first.starts_with("HTTP/1.1 100 ") {
        stream.write_all(body.as_bytes()).await.unwrap();
        stream.read_to_string(&mut rest).await.unwrap();
    }
    (first, rest)
}

#[tokio::test]
async fn item_89_the_scripts_create_poll_extend_list_and_stop() {
    let world = World::new().await;
    let (account, key) = (world.account.to_lowercase(), &world.running.account.primary_key);
    // GetAuthenticationToken: no version, no X-MRC-CV, lower case.
    let credential = format!("Authorization: Bearer {account}:{key}");
    let token = world.send("GET", &format!("/accounts/{account}/token"), &[&credential], "").await.json();
    let authorization = format!("Authorization: Bearer {}", token["AccessToken"].as_str().unwrap());
    let json = "Content-Type: application/json";
    let session = format!("/accounts/{account}/sessions/Sample-Session-7d2e7b1c-0000-4000-8000-000000000000");

    // CreateRenderingSession. Windows PowerShell waits for a 100 before it sends a body.
    let host = world.running.http_address;
    let n_bytes = BODY.len();
    let head = |authorization: &str| {
        format!(
            "PUT {session}?{V} HTTP/1.1\r\n{authorization}\r\nUser-Agent: Mozilla/5.0 (Windows NT; Windows NT 10.0; \
             en-US) WindowsPowerShell/5.1.19041.1682\r\nContent-Type: application/json\r\nHost: {host}\r\n\
             Content-Length: {n_bytes}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
    };
    let (go_on, created) = with_expectation(&world, &head(&authorization), BODY).await;
    assert_eq!(go_on, "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(created.starts_with("HTTP/1.1 201 Created\r\n"), "{created}");
    let body: Value = serde_json::from_str(created.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((&body["size"], &body["maxLeaseTimeMinutes"]), (&"Standard".into(), &240.into()));
    let (refused, _) = with_expectation(&world, &head("Authorization: Bearer x"), BODY).await;
    assert!(refused.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "no body is asked for in vain: {refused}");

    // GetSessionProperties, until `-iin "ready", "error", "expired"`.
    let get = async || world.send("GET", &format!("{session}?{V}"), &[&authorization, json], "").await.json();
    assert!(eventually(async || get().await["status"] == "Ready").await);
    let ready = get().await;
    for member in ["id", "elapsedTimeMinutes", "hostname", "arrInspectorPort", "handshakePort"] {
        assert!(ready.get(member).is_some(), "the script prints {member}");
    }
    // UpdateSession
    let extended = "{\r\n    \"maxLeaseTimeMinutes\":  300\r\n}";
    let patched = world.send("PATCH", &format!("{session}?{V}"), &[&authorization, json], extended).await;
    assert_eq!((patched.status, &patched.json()["maxLeaseTimeMinutes"]), (200, &300.into()));
    // GetSessions prints `sessions.Length`.
    let list = format!("/accounts/{account}/sessions?{V}");
    let listed = world.send("GET", &list, &[&authorization, json], "").await.json();
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 1);
    // StopSession: a POST with a type and without body, in PowerShell 7 with its length.
    for length in [None, Some("Content-Length: 0")] {
        let headers: Vec<&str> = [&*authorization, json].into_iter().chain(length).collect();
        let stopped = world.send("POST", &format!("{session}/:stop?{V}"), &headers, "").await;
        assert_eq!((stopped.status, stopped.body.len()), (204, 0));
    }
    // HandleException shows this header of errors.
    let unknown =
        world.send("GET", &format!("/accounts/{account}/sessions/x?{V}"), &[&authorization, json], "").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.header("MS-CV").is_some());
    world.running.stop().await;
}
