//! Whatever comes in, an answer goes out, and it is not the server's fault.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::world::World;

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec![
            "accounts", "Accounts", "sessions", "conversions", "connection", "still", ":stop", "%3astop", "token",
            "viewer", "ACCOUNT", "s", "", ".", "..", "%2e%2e", "%00", "%zz", "\u{e9}", "internal", "link", "*",
        ])
        .prop_map(str::to_owned),
        1 => "[!-~&&[^ ]]{0,20}",
        1 => "[a-zA-Z0-9_-]{1,300}",
    ]
}

fn body() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just(r#"{"maxLeaseTimeMinutes":5,"size":"Standard"}"#.to_owned()),
        "\\{\"(maxLeaseTimeMinutes|size)\":(-?[0-9]{1,30}|\"[a-z]{0,8}\"|null|\\[\\]|1e[0-9]{1,4})\\}",
        "\\PC{0,200}",
    ]
}

#[test]
fn no_request_is_the_servers_fault() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let world = runtime.block_on(World::new());
    let mut runner = TestRunner::new(Config { cases: 400, failure_persistence: None, ..Config::default() });
    let request = (
        prop_oneof![
            4 => prop::sample::select(vec!["GET", "PUT", "PATCH", "POST", "DELETE", "HEAD", "OPTIONS"]).prop_map(str::to_owned),
            1 => "[A-Z]{1,12}",
        ],
        prop::collection::vec(segment(), 0..7),
        prop::sample::select(vec![
            "",
            "?",
            "?api-version=2021-01-01",
            "?api-version=%ff",
            "?width=1&height=1&eye=,,",
            "?api-version=2021-01-01&continuationToken=-9223372036854775808",
            "?api-version=2021-01-01&continuationToken=9223372036854775807",
        ]),
        any::<bool>(),
        body(),
    );
    let account = world.account.clone();
    let outcome = runner.run(&request, |(method, segments, query, signed, body)| {
        let mut path = format!("/{}", segments.join("/")).replace("ACCOUNT", &account);
        if signed && !segments.is_empty() {
            // Deeper than chance would come.
            path = format!("/accounts/{account}/sessions/{}", segments.join("/"));
        }
        let target = format!("{path}{query}").replace([' ', '#'], "_");
        let answer = runtime.block_on(async {
            if signed {
                world.call(&method, &target, &body).await
            } else {
                world.send(&method, &target, &[], &body).await
            }
        });
        let conversions = target.to_lowercase().contains("/conversions");
        prop_assert!(
            answer.status < 500 || (answer.status == 501 && conversions),
            "{method} {target}: {answer:?}"
        );
        Ok(())
    });
    outcome.unwrap();
    runtime.block_on(async {
        assert_eq!(world.sessions("GET", "", "").await.status, 200, "the server lives on");
        world.running.stop().await;
    });
}

#[tokio::test]
async fn broken_http_gets_an_answer_or_nothing() {
    let world = World::new().await;
    for request in [
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n".as_slice(),
        b"\xff\xfe\xfd / HTTP/1.1\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let answer = world.exchange(request).await;
        assert!((400..500).contains(&answer.status), "{answer:?}");
    }
    // A body that never comes whole.
    let target = world.path("/s");
    let request = format!(
        "PUT {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{{",
        world.token
    );
    let answer = world.exchange(request.as_bytes()).await;
    assert_eq!(answer.refusal(), (408, "RequestTimeout".to_owned()));
    world.running.stop().await;
}
