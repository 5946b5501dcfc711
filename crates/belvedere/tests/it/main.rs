//! The binary as a person uses it.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod command_line;
mod killed;
mod traces;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

/// The binary with a data folder and without settings of whoever runs the test.
fn belvedere(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_belvedere"));
    for name in [
        "BELVEDERE_ENDPOINT",
        "BELVEDERE_ACCOUNT_ID",
        "BELVEDERE_ACCOUNT_KEY",
        "BELVEDERE_CA",
        "BELVEDERE_LOG",
    ] {
        command.env_remove(name);
    }
    command.env("BELVEDERE_DATA", data).stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `belvedere COMMAND …` on free ports, until it serves.
struct Serving {
    child: Child,
    data: tempfile::TempDir,
    ready: Value,
}

impl Serving {
    fn start(args: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(data.path().join("log.txt")).unwrap();
        let child = belvedere(data.path())
            .args(args)
            .args(["--listen-http", "127.0.0.1:0", "--listen-https", "127.0.0.1:0"])
            // The usual ports may be taken by another test's service, about which there is a warning.
            .args(["--handshake-port=0", "--inspector-port=0"])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut serving = Self { child, data, ready: Value::Null };
        let path = serving.data.path().join("ready.json");
        serving.wait("ready.json", |_| path.exists());
        serving.ready = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        serving
    }

    /// Waits for something that is about to be true.
    fn wait(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < until, "no {what}:\n{}", self.log());
            assert!(self.child.try_wait().unwrap().is_none(), "it ended before {what}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end.
    fn ended(&mut self) -> std::process::ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it goes on:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("log.txt")).unwrap()
    }

    fn hosts(&self) -> Vec<PathBuf> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let children = tasks
            .map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default());
        let pids: Vec<String> = children
            .flat_map(|pids| pids.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        pids.into_iter().map(|pid| Path::new("/proc").join(pid)).collect()
    }

    fn session(&self, args: &[&str]) -> Output {
        output(belvedere(self.data.path()).arg("session").args(args))
    }
}

impl Drop for Serving {
    /// Asks first: hosts of a service that is killed live on with their leases.
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let until = Instant::now() + PATIENCE;
        if matches!(self.child.try_wait(), Ok(None))
            && Command::new("kill").args(["-INT", &pid]).status().is_ok()
        {
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn sessions_are_created_listed_extended_and_stopped_from_the_command_line() {
    let serving = Serving::start(&["serve"]);
    let created = json(&serving.session(&["create", "one", "--lease", "5", "--json"]));
    assert_eq!((created["id"].as_str(), created["status"].as_str()), (Some("one"), Some("Ready")));
    assert_eq!(created["handshakePort"], serving.ready["handshakePort"]);

    let extended = json(&serving.session(&["extend", "one", "--lease", "6", "--json"]));
    assert_eq!(extended["maxLeaseTimeMinutes"], 6);
    let refused = stderr(&serving.session(&["extend", "one", "--lease", "6"]));
    assert!(refused.contains("422") && refused.contains("new total"), "{refused}");

    let listed = output(belvedere(serving.data.path()).args(["session", "list"]));
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.lines().any(|line| line.starts_with("one ") && line.contains(" 6 min")), "{listed}");

    assert!(serving.session(&["stop", "one"]).status.success());
    assert_eq!(json(&serving.session(&["get", "one", "--json"]))["status"], "Stopped");
    assert!(stderr(&serving.session(&["get", "none"])).contains("no session none"));
}

#[test]
fn an_interrupt_ends_the_service_and_its_hosts() {
    let mut serving = Serving::start(&["serve"]);
    json(&serving.session(&["create", "one", "--json"]));
    // The session's host and the next warm one.
    serving.wait("two hosts", |serving| serving.hosts().len() == 2);
    let hosts = serving.hosts();
    let pid = serving.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let until = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = serving.child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < until, "it goes on after an interrupt:\n{}", serving.log());
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success(), "{status}:\n{}", serving.log());
    assert!(!serving.data.path().join("ready.json").exists());
    for host in hosts {
        assert!(!host.exists(), "{} outlives the service", host.display());
    }
    let log = serving.log();
    assert!(!log.contains(" WARN ") && !log.contains(" ERROR "), "{log}");
}

/// An answer over plain HTTP, with its headers.
fn get(base: &str, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let address = base.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// What `kill` does.
fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_termination_drains_until_the_sessions_have_ended() {
    let mut serving =
        Serving::start(&["serve", "--drain-limit", "10h", "--warm-hosts", "0", "--log", "info"]);
    json(&serving.session(&["create", "one", "--lease", "5", "--json"]));
    signal(&serving.child, "-TERM");
    serving.wait("the drain", |serving| serving.log().contains("Draining"));
    let readiness = get(serving.ready["http"].as_str().unwrap(), "/readyz");
    assert!(readiness.contains(" 503 ") && readiness.ends_with("draining\n"), "{readiness}");
    assert_eq!(json(&serving.session(&["get", "one", "--json"]))["status"], "Ready", "it goes on");
    assert!(serving.child.try_wait().unwrap().is_none());
    assert!(serving.session(&["stop", "one"]).status.success());
    assert!(serving.ended().success(), "{}", serving.log());
    assert!(serving.log().contains("all sessions have ended"), "{}", serving.log());
}

#[test]
fn the_log_is_json_on_request_and_tells_no_secret() {
    let mut serving = Serving::start(&["serve", "--log", "trace", "--log-format", "json"]);
    json(&serving.session(&["create", "one", "--lease", "5", "--json"]));
    let mut link_tokens = Vec::new();
    serving.wait("two hosts' tokens", |serving| {
        let environments = serving.hosts().into_iter().map(|host| std::fs::read(host.join("environ")));
        link_tokens = environments
            .filter_map(|environment| {
                // A process that has not become the host yet has the environment of the service.
                let text = String::from_utf8(environment.ok()?).ok()?;
                let token = text.split('\0').find_map(|pair| pair.strip_prefix("BELVEDERE_LINK_TOKEN="));
                token.map(str::to_owned)
            })
            .collect();
        link_tokens.len() == 2
    });
    let account: Value =
        serde_json::from_slice(&std::fs::read(serving.data.path().join("account.json")).unwrap()).unwrap();
    assert!(serving.session(&["stop", "one"]).status.success());
    signal(&serving.child, "-INT");
    assert!(serving.ended().success());
    let log = serving.log();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let requests: Vec<&Value> = lines.iter().filter(|line| line["target"] == "belvedere::request").collect();
    let create = requests.iter().find(|line| line["method"] == "PUT").unwrap();
    assert_eq!(create["route"], "/accounts/{account}/sessions/{id}");
    assert_eq!((create["status"].as_u64(), &create["account"]), (Some(201), &account["accountId"]));
    assert!(
        create["ms"].as_f64().unwrap() > 0.0 && create["cv"].as_str().unwrap().ends_with(".0"),
        "{create}"
    );
    assert!(lines.iter().any(|line| line["target"] == "belvedere::host" && line["host"].is_string()));
    let mut secrets = link_tokens;
    for key in ["accountKey", "secondaryKey"] {
        secrets.push(account[key].as_str().unwrap().to_owned());
    }
    for secret in &secrets {
        assert!(!log.contains(secret), "a secret is in the log");
    }
    // Access tokens and signed links are JWTs; every one begins so.
    assert!(!log.contains("eyJ"), "an access token is in the log");
}

#[test]
fn a_drain_has_a_limit_and_a_second_signal_cuts_it_short() {
    let mut serving = Serving::start(&["serve", "--drain-limit=1s", "--log=info"]);
    json(&serving.session(&["create", "one", "--lease", "5", "--json"]));
    signal(&serving.child, "-TERM");
    assert!(serving.ended().success(), "{}", serving.log());
    assert!(serving.log().contains("the drain limit has come"), "{}", serving.log());

    let mut serving = Serving::start(&["serve", "--drain-limit=10h", "--log=info"]);
    json(&serving.session(&["create", "one", "--lease", "5", "--json"]));
    signal(&serving.child, "-TERM");
    serving.wait("the drain", |serving| serving.log().contains("Draining"));
    let hosts = serving.hosts();
    signal(&serving.child, "-TERM");
    assert!(serving.ended().success(), "{}", serving.log());
    assert!(hosts.iter().all(|host| !host.exists()));
}

#[test]
fn the_configuration_is_checked_and_shown_without_a_service() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("belvedere.toml");
    std::fs::write(&file, "listen = 1\nmax-hosts = \"many\"\n").unwrap();
    let file = file.to_str().unwrap();
    let words = stderr(&output(belvedere(data.path()).args(["config", "check", file])));
    assert!(
        words.contains("2 problems")
            && words.contains("belvedere.toml:1: ")
            && words.contains("`listen-http`?"),
        "{words}"
    );
    std::fs::write(file, "hostname = \"render.example.com\"\n").unwrap();
    assert!(output(belvedere(data.path()).args(["config", "check", file])).status.success());
    let shown = json(&output(belvedere(data.path()).env("BELVEDERE_LOG", "info").args([
        "config",
        "show",
        "--json",
        "--config",
        file,
        "--allow-remote",
    ])));
    let of = |name: &str| (shown[name]["value"].clone(), shown[name]["source"].as_str().unwrap().to_owned());
    assert_eq!(of("hostname"), ("render.example.com".into(), format!("{file}:1")));
    assert_eq!(of("log"), ("info".into(), "BELVEDERE_LOG".to_owned()));
    assert_eq!(of("allow-remote"), (true.into(), "--allow-remote".to_owned()));
    assert_eq!(of("handshake-port"), (50_051.into(), "default".to_owned()));
}

#[test]
fn view_makes_a_session_with_the_model_and_prints_where() {
    let models = tempfile::tempdir().unwrap();
    let model = models.path().join("sphere.glb");
    std::fs::write(&model, convert::samples::bumpy_sphere(2_000, 1)).unwrap();
    let mut serving = Serving::start(&["view", model.to_str().unwrap()]);
    let url = serving.ready["viewerUrl"].as_str().unwrap().to_owned();
    assert!(url.contains("session=view") && url.contains("#token="), "{url}");
    serving.wait("the URL in the output", |serving| serving.log().contains(&url));
    let session = json(&serving.session(&["get", "view", "--json"]));
    assert!(["Starting", "Ready"].contains(&session["status"].as_str().unwrap()), "{session}");
}

#[test]
fn what_is_no_model_is_refused_before_anything_starts() {
    let data = tempfile::tempdir().unwrap();
    let missing = stderr(&output(belvedere(data.path()).args(["view", "no/such/model.glb"])));
    assert!(missing.contains("no/such/model.glb"), "{missing}");
    let text = data.path().join("notes.txt");
    std::fs::write(&text, "no model").unwrap();
    let other = stderr(&output(belvedere(data.path()).arg("view").arg(&text)));
    assert!(other.contains("notes.txt") && other.contains(".glb"), "{other}");
    assert!(!data.path().join("belvedere.db").exists());
}

#[test]
fn accounts_are_made_listed_and_get_new_keys() {
    let data = tempfile::tempdir().unwrap();
    let account = |args: &[&str]| output(belvedere(data.path()).arg("account").args(args));
    let made = json(&account(&["create", "team"]));
    let id = made["accountId"].as_str().unwrap();
    let rotated = json(&account(&["rotate-key", id, "--key", "secondary"]));
    assert_eq!(rotated["accountKey"], made["accountKey"]);
    assert_ne!(rotated["secondaryKey"], made["secondaryKey"]);
    let listed = String::from_utf8(account(&["list"]).stdout).unwrap();
    assert_eq!(listed.lines().last(), Some(format!("{id}  team").as_str()));
    let listed = json(&account(&["list", "--json"]));
    assert_eq!(listed[0], serde_json::json!({ "id": id, "name": "team" }));
    let unknown = account(&["rotate-key", "2d2cb8b5-6f2f-4b0c-8c8c-0f8d3d5c6f10"]);
    assert_eq!(unknown.status.code(), Some(3), "{unknown:?}");
}

#[test]
fn a_second_service_on_the_same_folder_is_refused() {
    let serving = Serving::start(&["serve"]);
    let second = output(belvedere(serving.data.path()).args([
        "serve",
        "--listen-http",
        "127.0.0.1:0",
        "--listen-https",
        "127.0.0.1:0",
    ]));
    let words = stderr(&second);
    assert!(words.contains(&serving.child.id().to_string()), "{words}");
}

#[test]
fn without_a_service_the_way_out_is_said() {
    let data = tempfile::tempdir().unwrap();
    let nothing = output(belvedere(data.path()).args(["session", "list"]));
    let words = stderr(&nothing);
    assert!(words.contains("belvedere serve") && words.contains("--data"), "{words}");
    assert_eq!(nothing.status.code(), Some(5), "{words}");
}

#[test]
fn the_database_is_copied_and_checked_beside_the_service() {
    let serving = Serving::start(&["serve"]);
    json(&serving.session(&["create", "one", "--json"]));
    let db = |args: &[&str]| output(belvedere(serving.data.path()).arg("db").args(args));
    let copy = serving.data.path().join("copy.db");
    let copied = String::from_utf8(db(&["backup", copy.to_str().unwrap()]).stdout).unwrap();
    assert!(copied.contains("copy.db holds 1 account, 1 session (1 live), schema "), "{copied}");
    let again = stderr(&db(&["backup", copy.to_str().unwrap()]));
    assert!(again.contains("there already"), "{again}");
    let report = json(&db(&["check", copy.to_str().unwrap(), "--json"]));
    assert_eq!((&report["ok"], &report["liveSessions"]), (&true.into(), &1.into()));
    assert_eq!(json(&db(&["check", "--json"])), report);

    std::fs::write(&copy, "no database").unwrap();
    let checked = db(&["check", copy.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&checked.stdout).contains("not a database"), "{checked:?}");
    let nowhere = stderr(&output(belvedere(Path::new("/nonexistent")).args(["db", "check"])));
    assert!(nowhere.contains("--data"), "{nowhere}");
}
