//! What operators ask.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use crate::world::{World, eventually};
use testkit::{Fleet, Manner};

/// Samples by name with labels, from text that is checked against the format on the way.
fn samples(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with('\n'));
    let mut family = (String::new(), String::new());
    let mut samples = BTreeMap::new();
    let mut families = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(words.ends_with('.') && families.insert(name.to_owned()), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(
                families.contains(name) && matches!(kind, "gauge" | "counter" | "summary" | "histogram"),
                "{line}"
            );
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            family = (name.to_owned(), kind.to_owned());
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let bare = name.split('{').next().unwrap();
            let tail = bare.strip_prefix(&family.0).unwrap_or_else(|| panic!("{line} is in {}", family.0));
            let tails: &[&str] = match family.1.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                "summary" => &["_sum", "_count"],
                _ => &[""],
            };
            assert!(tails.contains(&tail), "{line}");
            assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{line} comes twice");
        }
    }
    samples
}

#[tokio::test]
async fn metrics_tell_what_happened() {
    let fleet = Fleet::default();
    let world = World::with(fleet.clone(), |_| ()).await;
    world.ready("a", 5).await;
    world.ready("b", 5).await;
    world.stop("a").await;
    fleet.behave(Manner::Slow);
    assert_eq!(world.put("c", 5).await.status, 201);
    assert_eq!(world.put("c", 5).await.status, 200, "no second one");
    world.put("-1", -1).await;
    let wanted = [
        ("belvedere_sessions{status=\"Starting\"}", 1.0),
        ("belvedere_sessions{status=\"Ready\"}", 1.0),
        ("belvedere_hosts{state=\"serving\"}", 2.0),
        ("belvedere_hosts{state=\"warm\"}", 1.0),
        ("belvedere_hosts{state=\"starting\"}", 0.0),
        ("belvedere_hosts{state=\"ending\"}", 0.0),
        ("belvedere_sessions_created_total", 3.0),
        ("belvedere_sessions_ended_total{status=\"Stopped\"}", 1.0),
        ("belvedere_sessions_ended_total{status=\"Error\"}", 0.0),
        // The clock stood still meanwhile.
        ("belvedere_session_start_seconds_bucket{le=\"0.005\"}", 2.0),
        ("belvedere_session_start_seconds_bucket{le=\"+Inf\"}", 2.0),
        ("belvedere_session_start_seconds_count", 2.0),
        ("belvedere_store_failures_total", 0.0),
        ("belvedere_http_answers_total{area=\"sessions\",class=\"4xx\"}", 1.0),
        ("belvedere_http_answers_total{area=\"sessions\",class=\"5xx\"}", 0.0),
        ("belvedere_http_answers_total{area=\"tokens\",class=\"2xx\"}", 0.0),
    ];
    let mut wrong = Vec::new();
    let told = eventually(async || {
        let answer = world.send("GET", "/metrics", &[], "").await;
        assert_eq!(
            (answer.status, answer.header("Content-Type")),
            (200, Some("text/plain; version=0.0.4; charset=utf-8"))
        );
        let samples = samples(&answer.text());
        wrong = wanted.iter().filter(|(name, value)| samples.get(*name) != Some(value)).collect();
        wrong.is_empty()
    })
    .await;
    assert!(told, "{wrong:?}");
    let text = world.send("GET", "/metrics", &[], "").await.text();
    assert!(!text.contains(&world.account) && !text.contains("\"b\""), "nobody is named: {text}");
    check_with_promtool(&text);
    world.running.stop().await;
}

/// Prometheus' own check, where it is installed.
fn check_with_promtool(text: &str) {
    use std::io::Write as _;
    let program = std::env::var_os("PROMTOOL").unwrap_or_else(|| "promtool".into());
    let started = Command::new(program)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = started else {
        println!("SKIPPED: promtool is not installed");
        return;
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let done = promtool.wait_with_output().unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
async fn metrics_are_for_this_machine_and_health_is_for_all() {
    let world = World::new().await;
    let ca = reqwest::Certificate::from_pem(&std::fs::read(&world.running.paths.ca).unwrap()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
    for (path, over_tls) in [("/metrics", 404), ("/healthz", 200), ("/readyz", 200)] {
        assert_eq!(world.send("GET", path, &[], "").await.status, 200, "{path}");
        let url = format!("{}{path}", world.running.ready.https);
        assert_eq!(client.get(url).send().await.unwrap().status().as_u16(), over_tls, "{path}");
        assert_eq!(world.send("POST", path, &[], "").await.status, 405, "{path}");
    }
    world.running.stop().await;
}
