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
pub(crate) const ENV_DIR: &str = "BELVEDERE_TEST_DIR";

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
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        let dir = Path::new(&dir);
        let mut config = config(dir);
        // The next server listens where the last one did, and starts what it is told to.
        if let Ok(address) = std::fs::read_to_string(dir.join("address")) {
            config.listen_http = address.parse().unwrap();
        }
        if let Ok(host) = std::fs::read_to_string(dir.join("host")) {
            config.host_command = vec![host.into(), "host".into()];
        }
        if let Ok(n_warm) = std::fs::read_to_string(dir.join("warm")) {
            config.sizes.standard.n_warm = n_warm.parse().unwrap();
        }
        config.n_hosts_max = 64;
        let mut running = control::start(config).await.unwrap();
        std::fs::write(dir.join("address"), running.http_address.to_string()).unwrap();
        let tell = async {
            loop {
                let n_tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
                // Whoever reads finds a whole number.
                std::fs::write(dir.join("tasks.new"), n_tasks.to_string()).unwrap();
                std::fs::rename(dir.join("tasks.new"), dir.join("tasks")).unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = running.broken() => {}
            _ = term.recv() => running.stop().await,
            () = tell => {}
        }
    });
}

pub(crate) fn me(test: &str) -> Vec<OsString> {
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

pub(crate) fn lives(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

/// Asks the server over HTTP, wherever it runs.
pub(crate) struct Client {
    base: String,
    token: String,
    http: reqwest::Client,
}

impl Client {
    pub(crate) fn new(http: &str, account: &str, token: String) -> Self {
        let base = format!("{http}/accounts/{account}/sessions");
        Self { base, token, http: reqwest::Client::new() }
    }

    fn of(running: &Running) -> Self {
        let account = running.account.id;
        let token = running.issue_token(account, Role::Administrator).unwrap();
        Self::new(&running.ready.http, &account.to_string(), token)
    }

    pub(crate) async fn put(&self, id: &str) {
        self.create(id, 30).await;
    }

    pub(crate) async fn stop(&self, id: &str) {
        let url = format!("{}/{id}/:stop?{}", self.base, crate::world::V);
        let answer = self.http.post(url).bearer_auth(&self.token).send().await.unwrap();
        assert_eq!(answer.status(), 204);
    }

    pub(crate) async fn create(&self, id: &str, minutes: u32) {
        let url = format!("{}/{id}?{}", self.base, crate::world::V);
        let body = serde_json::json!({ "maxLeaseTimeMinutes": minutes, "size": "Standard" });
        let answer = self.http.put(url).bearer_auth(&self.token).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 201);
    }

    pub(crate) async fn get(&self, id: &str) -> serde_json::Value {
        let url = format!("{}/{id}?{}", self.base, crate::world::V);
        let answer = self.http.get(url).bearer_auth(&self.token).send().await;
        match answer {
            Ok(answer) => answer.json().await.unwrap(),
            Err(_) => serde_json::Value::Null,
        }
    }

    pub(crate) async fn until(&self, id: &str, status: &str) -> serde_json::Value {
        let mut last = serde_json::Value::Null;
        let found = eventually(async || {
            last = self.get(id).await;
            last["status"] == status
        });
        assert!(found.await, "{id} did not become {status}: {last}");
        last
    }

    pub(crate) async fn still(&self, id: &str) -> bool {
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
    assert!(eventually(async || hosts(&dir).len() >= 2).await);
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

/// The promise is a second; a test machine under load gets more.
#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_host_is_noticed_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let running = control::start(config(dir)).await.unwrap();
    let client = Client::of(&running);
    let mut took = Vec::new();
    for n in 0..8 {
        let id = format!("s{n}");
        client.put(&id).await;
        client.until(&id, "Ready").await;
        // The warm one that follows it is not the one that serves.
        assert!(eventually(async || hosts(dir).iter().filter(|pid| lives(**pid)).count() == 2).await);
        let alive: Vec<Pid> = hosts(dir).into_iter().filter(|pid| lives(*pid)).collect();
        let killed_at = std::time::Instant::now();
        for pid in alive {
            kill_process(pid, Signal::KILL).unwrap();
        }
        client.until(&id, "Error").await;
        took.push(killed_at.elapsed());
    }
    took.sort();
    println!("kill -9 to Error in the API: median {:?}, max {:?}", took[4], took[7]);
    assert!(took[4].as_millis() < 1_000, "{took:?}");
    running.stop().await;
}

/// It is alive for the kernel and for TCP, and dead for its client.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_host_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let running = control::start(config(dir)).await.unwrap();
    let client = Client::of(&running);
    client.put("s").await;
    client.until("s", "Ready").await;
    assert!(eventually(async || hosts(dir).len() == 2).await);
    let frozen = hosts(dir);
    for pid in &frozen {
        kill_process(*pid, Signal::STOP).unwrap();
    }
    let frozen_at = std::time::Instant::now();
    let mut last = serde_json::Value::Null;
    while last["status"] != "Error" {
        // A ping every 2 s, 7 s of silence, then 5 s to come back: 14 s, and as much again for a busy machine.
        assert!(frozen_at.elapsed().as_secs() < 28, "not given up: {last}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        last = client.get("s").await;
    }
    println!("SIGSTOP to Error in the API: {:?}", frozen_at.elapsed());
    assert_eq!(last["error"]["code"], "HostLost", "{last}");
    client.put("t").await;
    client.until("t", "Ready").await;
    let gone = eventually(async || frozen.iter().all(|pid| !lives(*pid)));
    assert!(gone.await, "they are killed, the warm one, too");
    running.stop().await;
}
