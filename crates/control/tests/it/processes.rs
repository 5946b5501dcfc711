//! Hosts that are real processes: this program itself, started again.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use control::{Config, Role, Running};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::sync::watch;

use crate::world::eventually;
use testkit::{Log, Manner};

/// Folder in which processes of one test leave their pids.
const ENV_DIR: &str = "BELVEDERE_TEST_DIR";

#[test]
#[ignore = "is started as a host by other tests"]
fn host_process() {
    use std::io::Write as _;
    let Some(dir) = std::env::var_os(ENV_DIR) else { return };
    let pid = std::process::id();
    std::fs::write(Path::new(&dir).join("hosts").join(pid.to_string()), "").unwrap();
    // The reader may be gone: hosts outlive a control plane that was killed.
    let _nobody_reads = writeln!(std::io::stderr(), "host {pid} is here").is_err();
    let url = std::env::var(protocol::link::ENV_LINK_URL).unwrap();
    let token = std::env::var(protocol::link::ENV_LINK_TOKEN).unwrap();
    let manner = watch::Sender::new(Manner::Prompt);
    let log = Log::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(testkit::serve(&url, token, manner.subscribe(), log));
}

#[test]
#[ignore = "is started as a server by other tests"]
fn server_process() {
    let Some(dir) = std::env::var_os(ENV_DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut running = control::start(config(Path::new(&dir))).await.unwrap();
        running.broken().await;
    });
}

fn me(test: &str) -> Vec<OsString> {
    let exe = std::env::current_exe().unwrap();
    vec![
        exe.into(),
        format!("processes::{test}").into(),
        "--exact".into(),
        "--ignored".into(),
        "--nocapture".into(),
    ]
}

fn config(dir: &Path) -> Config {
    let mut set = OsString::from(format!("{ENV_DIR}="));
    set.push(dir);
    let mut host_command = vec!["env".into(), set];
    host_command.extend(me("host_process"));
    std::fs::create_dir_all(dir.join("hosts")).unwrap();
    Config { host_command, ..crate::world::config(&dir.join("data")) }
}

/// The pids of all hosts that were ever started.
fn hosts(dir: &Path) -> Vec<Pid> {
    let entries = std::fs::read_dir(dir.join("hosts")).unwrap();
    let mut pids: Vec<i32> =
        entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    pids.sort_unstable();
    pids.into_iter().filter_map(Pid::from_raw).collect()
}

fn lives(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

/// Asks the server over HTTP, wherever it runs.
struct Client {
    base: String,
    token: String,
    http: reqwest::Client,
}

impl Client {
    fn new(http: &str, account: &str, token: String) -> Self {
        let base = format!("{http}/accounts/{account}/sessions");
        Self { base, token, http: reqwest::Client::new() }
    }

    fn of(running: &Running) -> Self {
        let account = running.account.id;
        let token = running.issue_token(account, Role::Administrator).unwrap();
        Self::new(&running.ready.http, &account.to_string(), token)
    }

    async fn put(&self, id: &str) {
        let url = format!("{}/{id}?{}", self.base, crate::world::V);
        let body = serde_json::json!({ "maxLeaseTimeMinutes": 30, "size": "Standard" });
        let answer = self.http.put(url).bearer_auth(&self.token).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 201);
    }

    async fn get(&self, id: &str) -> serde_json::Value {
        let url = format!("{}/{id}?{}", self.base, crate::world::V);
        let answer = self.http.get(url).bearer_auth(&self.token).send().await;
        match answer {
            Ok(answer) => answer.json().await.unwrap(),
            Err(_) => serde_json::Value::Null,
        }
    }

    async fn until(&self, id: &str, status: &str) -> serde_json::Value {
        let mut last = serde_json::Value::Null;
        let found = eventually(async || {
            last = self.get(id).await;
            last["status"] == status
        });
        assert!(found.await, "{id} did not become {status}: {last}");
        last
    }

    async fn still(&self, id: &str) -> bool {
        let url = format!("{}/{id}/still?width=4&height=4", self.base);
        let answer = self.http.get(url).bearer_auth(&self.token).send().await.unwrap();
        answer.status() == 200
    }
}

#[tokio::test]
async fn hosts_are_started_watched_and_ended() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let running = control::start(config(dir)).await.unwrap();
    let client = Client::of(&running);
    assert!(eventually(async || hosts(dir).len() == 1).await, "a warm host waits");
    let host = hosts(dir)[0];
    client.put("s").await;
    client.until("s", "Ready").await;
    kill_process(host, Signal::KILL).unwrap();
    let lost = client.until("s", "Error").await;
    assert_eq!(lost["error"]["code"], "HostLost");
    let message = lost["error"]["message"].as_str().unwrap();
    let expected = format!(
        "was killed by signal 9. Its last words: running 1 test | host {} is here",
        host.as_raw_nonzero()
    );
    assert!(message.contains(&expected), "{message}");

    client.put("t").await;
    client.until("t", "Ready").await;
    assert!(eventually(async || hosts(dir).len() == 3).await, "the pool is filled again");
    running.stop().await;
    assert!(hosts(dir).into_iter().all(|pid| !lives(pid)), "no orphan and no zombie");
}

#[tokio::test]
async fn a_killed_control_plane_finds_its_hosts_again() {
    let dir: PathBuf = tempfile::tempdir().unwrap().keep();
    let command = me("server_process");
    let mut first = Command::new(&command[0])
        .args(&command[1..])
        .env(ENV_DIR, &dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let read = |name: &str| {
        let json = std::fs::read(dir.join("data").join(name)).ok()?;
        serde_json::from_slice::<serde_json::Value>(&json).ok()
    };
    let served = eventually(async || read("ready.json").is_some()).await;
    assert!(served, "the server does not start");
    let (ready, account) = (read("ready.json").unwrap(), read("account.json").unwrap());
    let (id, key) = (account["accountId"].as_str().unwrap(), account["accountKey"].as_str().unwrap());
    let base = ready["http"].as_str().unwrap();
    let token: serde_json::Value = reqwest::Client::new()
        .get(format!("{base}/Accounts/{id}/token"))
        .bearer_auth(format!("{id}:{key}"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let client = Client::new(base, id, token["AccessToken"].as_str().unwrap().to_owned());
    client.put("s").await;
    let before = client.until("s", "Ready").await;
    let host = hosts(&dir)[0];
    // The warm one that follows has no session to come back with.
    assert!(eventually(async || hosts(&dir).len() == 2).await);
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(lives(host), "hosts outlive the control plane");

    let mut config = config(&dir);
    config.listen_http = base.strip_prefix("http://").unwrap().parse().unwrap();
    let running = control::start(config).await.unwrap();
    let after = client.get("s").await;
    assert_eq!((&after["status"], &after["creationTime"]), (&"Ready".into(), &before["creationTime"]));
    assert!(eventually(async || client.still("s").await).await, "the host is back");

    // It is nobody's child now, and is watched all the same.
    kill_process(host, Signal::KILL).unwrap();
    assert_eq!(client.until("s", "Error").await["error"]["code"], "HostLost");
    running.stop().await;
    // Those of the first server without a session gave up or were told to end.
    let mine = |pid: &Pid| {
        std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default()
    };
    let gone =
        eventually(async || hosts(&dir).iter().all(|pid| !lives(*pid) || mine(pid).contains(") Z "))).await;
    assert!(gone, "no host is left");
    // On a busy machine a host that was just being started writes its name late.
    assert!(eventually(async || std::fs::remove_dir_all(&dir).is_ok() || !dir.exists()).await);
}
