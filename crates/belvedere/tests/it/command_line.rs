//! What scripts rely on: exit codes, JSON, hints, `arrconfig.json`, completions, manual pages, `latency`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Serving, belvedere, output};

/// The exit code, and what was said on standard error.
fn ended(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[track_caller]
fn assert_ended(output: &Output, code: i32, words: &[&str]) {
    let (ended, said) = ended(output);
    assert_eq!(ended, code, "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in\n{said}");
    }
}

fn account(serving: &Serving) -> Value {
    serde_json::from_slice(&std::fs::read(serving.data.path().join("account.json")).unwrap()).unwrap()
}

#[test]
fn exit_codes_and_hints_say_what_went_wrong() {
    let serving = Serving::start(&["serve"]);
    let session = |args: &[&str]| serving.session(args);
    let created = session(&["create", "one", "--lease", "0:05:00"]);
    assert_ended(&created, 0, &[]);
    // Without a terminal there is no status line and no colour.
    assert_eq!((created.stderr.as_slice(), created.stdout.contains(&0x1b)), (&b""[..], false));

    assert_ended(&session(&["create", "one", "--lease", "6"]), 1, &["one is taken", "another id", "get one"]);
    assert_ended(&session(&["extend", "one", "--lease", "5"]), 1, &["422", "new total"]);
    assert_ended(&session(&["create", "--lease", "1441"]), 2, &["1440"]);
    assert_ended(&session(&["create", "--size", "tiny"]), 2, &["Standard or Premium"]);
    assert_ended(&session(&["get", "none"]), 3, &["no session none", "session list"]);
    assert_ended(&session(&["stop", "one"]), 0, &[]);
    assert_ended(&session(&["get", "one"]), 0, &[]);
    assert_ended(&session(&["get", "one", "--wait"]), 6, &["Stopped", "new id"]);
    assert_ended(&session(&["open", "one", "--print"]), 6, &["Stopped"]);

    let data = serving.data.path();
    let wrong = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let refused = output(belvedere(data).env("BELVEDERE_ACCOUNT_KEY", wrong).args(["session", "list"]));
    assert_ended(&refused, 4, &["with this key", "BELVEDERE_ACCOUNT_KEY", "account list"]);
    let other = "2d2cb8b5-6f2f-4b0c-8c8c-0f8d3d5c6f10";
    let stranger = output(belvedere(data).args(["session", "list", "--account", other]));
    assert_ended(&stranger, 4, &[other, "BELVEDERE_ACCOUNT_KEY"]);

    // A certificate of an authority that nobody knows here.
    let (account, elsewhere) = (account(&serving), tempfile::tempdir().unwrap());
    let https = serving.ready["https"].as_str().unwrap();
    let untrusting = |endpoint: &str, more: &[&str]| {
        output(
            belvedere(elsewhere.path())
                .env("BELVEDERE_ACCOUNT_KEY", account["accountKey"].as_str().unwrap())
                .args(["session", "list", "--account", account["accountId"].as_str().unwrap()])
                .args(["--endpoint", endpoint])
                .args(more),
        )
    };
    assert_ended(&untrusting(https, &[]), 5, &[https, "--ca", "tls/ca.pem"]);
    let ca = data.join("tls/ca.pem");
    assert_ended(&untrusting(https, &["--ca", ca.to_str().unwrap()]), 0, &[]);
    assert_ended(&untrusting(https, &["--ca", "no/such.pem"]), 3, &["no/such.pem"]);
    let plain = serving.ready["http"].as_str().unwrap();
    assert_ended(&untrusting(&plain.replace("http:", "https:"), &[]), 5, &["without TLS"]);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_ended(
        &untrusting(&format!("https://{closed}"), &[]),
        5,
        &[&closed.to_string(), "belvedere serve"],
    );
    assert_ended(&untrusting("localhost:1", &[]), 1, &["write https://localhost:1"]);
}

#[test]
fn json_has_one_shape_each() {
    let serving = Serving::start(&["serve"]);
    let session = |args: &[&str]| crate::json(&serving.session(args));
    assert_eq!(session(&["list", "--json"]), json!([]));
    let id = session(&["create", "--json"])["id"].as_str().unwrap().to_owned();
    assert_eq!(session(&["list", "--json"])[0]["id"], id.as_str(), "also one session is a list");
    let opened = session(&["open", &id, "--model", "a b.glb", "--json"]);
    let url = opened["url"].as_str().unwrap();
    assert!(url.starts_with(serving.ready["http"].as_str().unwrap()), "{url}");
    assert!(url.contains(&format!("&session={id}&model=a%20b.glb#token=")), "{url}");
    assert_eq!(session(&["stop", &id, "--json"])["status"], "Stopped");
}

#[test]
fn who_does_not_want_to_wait_does_not() {
    let serving = Serving::start(&["serve", "--warm-hosts", "0"]);
    let left = crate::json(&serving.session(&["create", "one", "--no-wait", "--json"]));
    assert_eq!(left["status"], "Starting");
    let given_up = serving.session(&["create", "two", "--timeout", "0"]);
    assert_ended(&given_up, 7, &["not Ready after 0 s", "get two --wait"]);
    for id in ["one", "two"] {
        assert_eq!(crate::json(&serving.session(&["get", id, "--wait", "--json"]))["status"], "Ready");
    }
}

#[test]
fn a_service_that_wants_a_pause_gets_it() {
    // Ten at once, one per second afterwards.
    let serving = Serving::start(&["serve", "--requests-per-minute", "60"]);
    let began = Instant::now();
    for _request in 0..12 {
        assert_ended(&serving.session(&["list"]), 0, &[]);
    }
    assert!(began.elapsed() > Duration::from_millis(900), "nothing was refused");
}

#[test]
fn an_arrconfig_does_what_the_scripts_did() {
    let serving = Serving::start(&["serve"]);
    let account = account(&serving);
    let https = serving.ready["https"].as_str().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("arrconfig.json");
    let write = |account_settings: &Value, session_settings: &Value| {
        let file = json!({
            "accountSettings": account_settings, "renderingSessionSettings": session_settings,
        });
        std::fs::write(&path, file.to_string()).unwrap();
    };
    let ca = serving.data.path().join("tls/ca.pem");
    let run = |args: &[&str]| {
        let mut command = belvedere(elsewhere.path());
        output(command.arg("session").args(args).arg("--arrconfig").arg(&path).arg("--ca").arg(&ca))
    };
    let mut account_settings = json!({
        "arrAccountId": account["accountId"], "arrAccountKey": account["accountKey"], "arrAccountDomain": https,
    });
    write(
        &account_settings,
        &json!({ "remoteRenderingDomain": https, "vmSize": "premium", "maxLeaseTime": "4:0:0" }),
    );

    // RenderingSession.ps1 [-Id]: creates, polls, prints.
    let created = crate::json(&run(&["create", "scripted", "--json"]));
    assert_eq!((&created["status"], &created["size"]), (&json!("Ready"), &json!("Premium")));
    assert_eq!(created["maxLeaseTimeMinutes"], 240);
    assert!(created["hostname"].is_string());
    // -GetSessions, -GetSessionProperties, -UpdateSession -MaxLeaseTime, -StopSession.
    assert_eq!(crate::json(&run(&["list", "--json"]))[0]["id"], "scripted");
    assert_eq!(crate::json(&run(&["get", "scripted", "--json"]))["status"], "Ready");
    let extended = crate::json(&run(&["extend", "scripted", "--lease", "05:00:00", "--json"]));
    assert_eq!(extended["maxLeaseTimeMinutes"], 300);
    assert_eq!(crate::json(&run(&["stop", "scripted", "--json"]))["status"], "Stopped");
    // Parameters win over the file.
    let small = crate::json(&run(&["create", "--size", "STANDARD", "--lease", "7", "--no-wait", "--json"]));
    assert_eq!((&small["size"], &small["maxLeaseTimeMinutes"]), (&json!("Standard"), &json!(7)));

    // The older shape.
    account_settings = json!({
        "arrAccountId": account["accountId"], "arrAccountKey": account["accountKey"], "region": "westus2",
        "serviceEndpoint": https, "authenticationEndpoint": null,
    });
    write(&account_settings, &json!({ "vmSize": "<standard or premium>", "maxLeaseTime": "<hh:mm:ss>" }));
    assert_ended(&run(&["list"]), 0, &[]);

    account_settings["arrAccountKey"] = json!("<fill in the account key from the Azure Portal>");
    write(&account_settings, &json!({}));
    assert_ended(&run(&["create"]), 1, &["arrAccountKey", "not filled in"]);
    write(&json!({ "arrAccountId": "me" }), &json!({ "vmSize": "huge" }));
    assert_ended(&run(&["create"]), 1, &["arrAccountId", "vmSize", "huge"]);
    std::fs::remove_file(&path).unwrap();
    assert_ended(&run(&["create"]), 3, &["arrconfig.json"]);
}

#[test]
fn completions_complete() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = output(belvedere(dir.path()).args(["completions", shell]));
        assert_ended(&script, 0, &[]);
        std::fs::write(dir.path().join(shell), script.stdout).unwrap();
    }
    let complete = |words: &str| {
        let script = format!(
            "source {}/bash; COMP_WORDS=({words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); \
             _belvedere belvedere \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo ${{COMPREPLY[@]}}",
            dir.path().display()
        );
        Command::new("bash").args(["--norc", "-c", &script]).output()
    };
    match complete("belvedere ses") {
        Err(_no_bash) => println!("SKIPPED: there is no bash"),
        Ok(completed) => {
            assert_eq!(String::from_utf8_lossy(&completed.stdout).trim(), "session", "{completed:?}");
            let completed = complete("belvedere session create --le").unwrap();
            assert_eq!(String::from_utf8_lossy(&completed.stdout).trim(), "--lease", "{completed:?}");
        }
    }
}

#[test]
fn manual_pages_are_well_formed() {
    let dir = tempfile::tempdir().unwrap();
    let made = output(belvedere(dir.path()).arg("man").arg("--out").arg(dir.path().join("man1")));
    assert_ended(&made, 0, &[]);
    let pages: Vec<_> =
        std::fs::read_dir(dir.path().join("man1")).unwrap().map(|entry| entry.unwrap().path()).collect();
    for name in ["belvedere.1", "belvedere-serve.1", "belvedere-session-create.1", "belvedere-latency.1"] {
        assert!(pages.iter().any(|page| page.ends_with(name)), "{name} is missing in {pages:?}");
    }
    assert!(!pages.iter().any(|page| page.ends_with("belvedere-host.1")), "what is hidden has no page");
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap();
        assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{}", page.display());
        let groff = Command::new("groff").args(["-man", "-Tutf8", "-ww", "-z"]).arg(page).output();
        let Ok(checked) = groff else {
            println!("SKIPPED: there is no groff");
            return;
        };
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success() && !said.contains("error"), "{}: {said}", page.display());
    }
}

#[test]
fn a_service_that_drains_is_not_waited_for() {
    let mut serving = Serving::start(&["serve", "--drain-limit", "10h", "--warm-hosts", "0"]);
    crate::json(&serving.session(&["create", "one", "--lease", "5", "--json"]));
    crate::signal(&serving.child, "-TERM");
    let base = serving.ready["http"].as_str().unwrap().to_owned();
    serving.wait("the drain", |_| crate::get(&base, "/readyz").ends_with("draining\n"));
    let began = Instant::now();
    let refused = serving.session(&["create", "two"]);
    assert_ended(&refused, 1, &["about to end", "takes no new sessions", "--endpoint", "session list"]);
    // It would be asked again for two minutes.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(crate::json(&serving.session(&["get", "one", "--json"]))["status"], "Ready", "it goes on");
    assert_ended(&serving.session(&["stop", "one"]), 0, &[]);
}

/// Two services that were to be one: what the first gives out means nothing to the second.
#[test]
fn a_token_that_is_not_taken_makes_one_think_of_two_services_and_two_clocks() {
    let [tokens, sessions] = [(); 2].map(|()| Serving::start(&["serve", "--warm-hosts", "0"]));
    let account = account(&tokens);
    let of = |serving: &Serving| serving.ready["http"].clone();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("arrconfig.json");
    let file = json!({
        "accountSettings": {
            "arrAccountId": account["accountId"], "arrAccountKey": account["accountKey"],
            "arrAccountDomain": of(&tokens),
        },
        "renderingSessionSettings": { "remoteRenderingDomain": of(&sessions) },
    });
    std::fs::write(&path, file.to_string()).unwrap();
    let refused = output(belvedere(elsewhere.path()).args(["session", "list", "--arrconfig"]).arg(&path));
    assert_ended(&refused, 4, &["does not take the token", "may be two", "clocks may differ"]);
}

/// A service on a machine whose clock is set wrongly: its certificate is not valid here, yet or any more.
#[test]
fn a_clock_that_is_wrong_is_named() {
    const YEARS: i64 = 365 * 24 * 3_600;
    for jump_secs in [-30 * YEARS, YEARS] {
        let data = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let clock = control::clock::ManualClock::new();
        clock.jump_wall(jump_secs);
        let mut config = control::Config::new(data.path(), Vec::new());
        config.clock = Some(std::sync::Arc::new(clock));
        (config.sizes.standard.n_warm, config.sizes.premium.n_warm) = (0, 0);
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        (config.listen_http, config.listen_https) = (free, free);
        (config.handshake_port, config.inspector_port) = (0, 0);
        let running = runtime.block_on(control::start(config)).unwrap();
        let refused = output(belvedere(data.path()).args(["session", "list"]));
        assert_ended(&refused, 5, &["out of date by this machine's clock", "`date`"]);
        runtime.block_on(running.stop());
    }
}

/// No service of ours refuses an account's own key so, but a gateway before it may.
#[test]
fn a_role_that_is_too_weak_is_named() {
    let refusal = r#"{"error":{"code":"Forbidden","message":"Not from here."}}"#;
    let service = scripted_service(Duration::ZERO, move |request| {
        if request.contains("/token?") {
            ("200 OK", r#"{"AccessToken":"a.b.c"}"#.to_owned())
        } else {
            ("403 Forbidden", refusal.to_owned())
        }
    });
    let elsewhere = tempfile::tempdir().unwrap();
    let refused = output(
        belvedere(elsewhere.path())
            .env("BELVEDERE_ACCOUNT_KEY", "key")
            .args(["session", "list", "--account", "2d2cb8b5-6f2f-4b0c-8c8c-0f8d3d5c6f10"])
            .args(["--endpoint", &format!("http://{service}")]),
    );
    assert_ended(
        &refused,
        4,
        &["Not from here. (Forbidden, HTTP 403)", "role does not allow", "another account's"],
    );
}

/// Answers every request after `delay`, on connections that stay open. Ends with the test's process.
fn slow_service(delay: Duration) -> SocketAddr {
    scripted_service(delay, |_| ("200 OK", "ok\n".to_owned()))
}

/// Answers likewise, with status and body by the first lines of each request; bodies of requests are not read.
fn scripted_service(
    delay: Duration,
    answer: impl Fn(&str) -> (&'static str, String) + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = |work: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name("scripted service".into()).spawn(work).unwrap();
    };
    thread(Box::new(move || {
        for stream in listener.incoming() {
            let (stream, answer) = (stream.unwrap(), answer.clone());
            thread(Box::new(move || answer_late(stream, delay, answer)));
        }
    }));
    address
}

fn answer_late(mut stream: TcpStream, delay: Duration, answer: impl Fn(&str) -> (&'static str, String)) {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while stream.read_exact(&mut byte).is_ok() {
        request.push(byte[0]);
        if request.ends_with(b"\r\n\r\n") {
            let (status, body) = answer(&String::from_utf8_lossy(&request));
            request.clear();
            std::thread::sleep(delay);
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

#[test]
fn latency_recommends_the_nearest_and_goes_on_without_the_unreachable() {
    let serving = Serving::start(&["serve", "--warm-hosts", "0"]);
    let https = serving.ready["https"].as_str().unwrap();
    let far = format!("http://{}", slow_service(Duration::from_millis(120)));
    let near = format!("http://{}", slow_service(Duration::from_millis(20)));
    let closed = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let latency = |args: &[&str]| {
        let mut command = belvedere(serving.data.path());
        output(command.arg("latency").args(["--samples", "5", "--json"]).args(args))
    };
    let measured = crate::json(&latency(&[&far, &near, &closed]));
    assert_eq!(measured["recommended"], near.as_str());
    let of = |i: usize| &measured["endpoints"][i];
    assert_eq!(of(0)["endpoint"], far.as_str());
    assert!(of(0)["request"]["minMs"].as_f64().unwrap() >= 120.0, "{measured}");
    let median = of(1)["request"]["medianMs"].as_f64().unwrap();
    assert!((20.0..120.0).contains(&median), "{measured}");
    assert!(of(0)["connect"]["minMs"].as_f64().unwrap() < 120.0, "a connection does not wait for an answer");
    assert_eq!((&of(0)["tls"], &of(0)["lost"]), (&Value::Null, &json!(0)));
    assert!(of(2)["error"].as_str().unwrap().contains("no connection"), "{measured}");

    let ca = serving.data.path().join("tls/ca.pem");
    let ours = crate::json(&latency(&[https, "--ca", ca.to_str().unwrap()]));
    let ours = &ours["endpoints"][0];
    assert!(ours["tls"]["minMs"].as_f64().unwrap() > 0.0 && ours["belvedere"] == true, "{ours}");

    let elsewhere = tempfile::tempdir().unwrap();
    let untrusted = output(belvedere(elsewhere.path()).args(["latency", https]));
    assert_ended(&untrusted, 5, &["--ca"]);
    assert_ended(&latency(&[&closed]), 5, &["none of them"]);
    assert_ended(&latency(&["ftp://x"]), 2, &["HOST:PORT"]);
}
