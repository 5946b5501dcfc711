//! Pages of other origins.

use crate::world::{Answer, V, World};
use testkit::Fleet;

const LISTED: &str = "Origin: https://app.example.com";
const OTHER: &str = "Origin: https://app.example.com.evil.com";

async fn world() -> World {
    let origins = ["https://app.example.com", "http://localhost:5173"];
    World::with(Fleet::default(), |config| {
        config.cors_origins = origins.map(|origin| origin.parse().unwrap()).into();
    })
    .await
}

fn allowed(answer: &Answer) -> Option<&str> {
    answer.header("Access-Control-Allow-Origin")
}

#[tokio::test]
async fn browsers_are_told_what_a_listed_page_may_send() {
    let world = world().await;
    let account = &world.account;
    for (target, methods) in [
        (format!("/Accounts/{account}/token"), "GET"),
        (format!("/accounts/{account}/sessions?{V}"), "GET"),
        (format!("/accounts/{account}/sessions/s?{V}"), "GET, PUT, PATCH"),
        (format!("/accounts/{account}/sessions/s/:stop?{V}"), "POST"),
        (format!("/accounts/{account}/sessions/s/connection"), "POST"),
        (format!("/accounts/{account}/sessions/s/connection/c"), "DELETE"),
        (format!("/accounts/{account}/sessions/s/still"), "GET"),
        (format!("/accounts/{account}/conversions/c?{V}"), "GET, PUT"),
    ] {
        let asked =
            [LISTED, "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: authorization"];
        // Without a token: browsers ask without.
        let answer = world.send("OPTIONS", &target, &asked, "").await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{target}");
        assert_eq!(allowed(&answer), Some("https://app.example.com"), "{target}");
        assert_eq!(answer.header("Access-Control-Allow-Methods"), Some(methods), "{target}");
        let headers = answer.header("Access-Control-Allow-Headers").unwrap().to_lowercase();
        for header in ["authorization", "content-type", "x-mrc-cv", "x-ms-client-request-id"] {
            assert!(headers.split(", ").any(|one| one == header), "{header} in {headers}");
        }
        assert_eq!(answer.header("Vary"), Some("Origin"));
        assert!(answer.header("Access-Control-Max-Age").is_some() && answer.header("MS-CV").is_some());

        for headers in [&[OTHER, asked[1]][..], &[asked[1]], &[LISTED], &["Origin: null", asked[1]]] {
            let answer = world.send("OPTIONS", &target, headers, "").await;
            assert_eq!(answer.status, 405, "{target} {headers:?}");
            assert_eq!(answer.header("Access-Control-Allow-Methods"), None, "{target} {headers:?}");
        }
    }
    world.running.stop().await;
}

#[tokio::test]
async fn listed_pages_read_answers_and_others_do_not() {
    let world = world().await;
    let authorization = format!("Authorization: Bearer {}", world.token);
    let right = format!("Authorization: Bearer {}:{}", world.account, world.running.account.primary_key);
    let requests = [
        ("200", world.path(""), Some(&authorization)),
        ("404", world.path("/nobody"), Some(&authorization)),
        ("401", world.path(""), None),
        ("200", format!("/Accounts/{}/token", world.account), Some(&right)),
        ("200", "/.well-known/jwks.json".to_owned(), None),
        ("404", "/nowhere".to_owned(), None),
    ];
    for (status, target, credential) in requests {
        for (origin, expected) in [
            (Some(LISTED), Some("https://app.example.com")),
            (Some("Origin: http://localhost:5173"), Some("http://localhost:5173")),
            (Some("Origin: http://localhost:5174"), None),
            (Some(OTHER), None),
            (Some("Origin: null"), None),
            (None, None),
        ] {
            let headers: Vec<&str> = credential.iter().map(|text| text.as_str()).chain(origin).collect();
            let answer = world.send("GET", &target, &headers, "").await;
            assert_eq!(
                (answer.status.to_string().as_str(), allowed(&answer)),
                (status, expected),
                "{target}"
            );
            assert_eq!(answer.header("Vary"), Some("Origin"));
            assert_eq!(answer.header("Access-Control-Allow-Credentials"), None);
            let exposed = answer.header("Access-Control-Expose-Headers");
            assert_eq!(exposed.is_some(), expected.is_some());
            for header in ["MS-CV", "Location", "Retry-After"] {
                assert!(exposed.is_none_or(|exposed| exposed.contains(header)), "{header}");
            }
        }
    }
    // What is for our own pages alone.
    for target in ["/viewer/", "/console/", "/", "/readyz", "/internal/link"] {
        assert_eq!(allowed(&world.send("GET", target, &[LISTED], "").await), None, "{target}");
    }
    world.running.stop().await;
}

#[tokio::test]
async fn by_default_no_other_origin_is_listed() {
    let world = World::new().await;
    let authorization = format!("Authorization: Bearer {}", world.token);
    for origin in [LISTED, "Origin: http://localhost:8080", "Origin: null"] {
        let answer = world.send("GET", &world.path(""), &[&authorization, origin], "").await;
        assert_eq!((answer.status, allowed(&answer), answer.header("Vary")), (200, None, None), "{origin}");
        let asked = [origin, "Access-Control-Request-Method: GET"];
        assert_eq!(world.send("OPTIONS", &world.path(""), &asked, "").await.status, 405, "{origin}");
    }
    world.running.stop().await;
}
