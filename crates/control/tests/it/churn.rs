//! Many random lives with real processes, and what they must not leave behind.
//!
//! A server in a process of its own creates, stops and loses hosts by the hundred, and is itself killed now and then.
//! `BELVEDERE_TEST_ROUNDS=1000` plays more rounds than CI does, `BELVEDERE_TEST_SEED` plays the same ones again.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::processes::{Client, ENV_DIR, lives, me};
use crate::world::eventually;

/// xorshift64*: good enough to choose what happens next.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap() % n
    }
}

/// Hosts in the pool.
const N_WARM: usize = 2;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

struct Server<'a> {
    dir: &'a Path,
    child: Child,
    client: Client,
    /// All hosts that were ever seen.
    seen: HashSet<Pid>,
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Holdings {
    n_fds: usize,
    n_tasks: usize,
    rss_kib: u64,
}

impl<'a> Server<'a> {
    async fn start(dir: &'a Path) -> Self {
        let (child, client) = Self::launch(dir).await;
        Self { dir, child, client, seen: HashSet::new() }
    }

    async fn launch(dir: &Path) -> (Child, Client) {
        let command = me("server_process");
        let child = Command::new(&command[0])
            .args(&command[1..])
            .env(ENV_DIR, dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let read = |name: &str| {
            let json = std::fs::read(dir.join("data").join(name)).ok()?;
            serde_json::from_slice::<Value>(&json).ok()
        };
        let mut client = None;
        let served = eventually(async || {
            let (Some(ready), Some(account)) = (read("ready.json"), read("account.json")) else {
                return false;
            };
            let (id, key) = (account["accountId"].as_str().unwrap(), account["accountKey"].as_str().unwrap());
            let base = ready["http"].as_str().unwrap();
            let question = reqwest::Client::new()
                .get(format!("{base}/Accounts/{id}/token"))
                .bearer_auth(format!("{id}:{key}"));
            // What a killed server left there is not the new one's.
            let Ok(answer) = question.send().await else { return false };
            let token: Value = answer.json().await.unwrap();
            client = Some(Client::new(base, id, token["AccessToken"].as_str().unwrap().to_owned()));
            true
        });
        assert!(served.await, "the server does not start");
        (child, client.unwrap())
    }

    /// Kills the server and starts the next one; the time between.
    async fn crash(&mut self) -> Duration {
        self.children();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let killed_at = Instant::now();
        (self.child, self.client) = Self::launch(self.dir).await;
        killed_at.elapsed()
    }

    /// Its child processes, with their states: `R`, `S`, `Z` …
    fn children(&mut self) -> Vec<(Pid, char)> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let of_task = |task: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default()
        };
        let pids: String = tasks.map(of_task).collect();
        let state = |pid: Pid| {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
            Some((pid, stat.rsplit_once(") ")?.1.chars().next()?))
        };
        let pids = pids.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().unwrap()));
        let children: Vec<_> = pids.filter_map(state).collect();
        self.seen.extend(children.iter().map(|(pid, _)| *pid));
        children
    }

    fn holdings(&self) -> Holdings {
        let id = self.child.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Holdings {
            n_fds: std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count(),
            n_tasks: std::fs::read_to_string(self.dir.join("tasks")).unwrap().parse().unwrap(),
            rss_kib: rss.split_whitespace().next().unwrap().parse().unwrap(),
        }
    }

    /// Waits until there is nothing but the pool.
    async fn settle(&mut self) {
        let mut last = Vec::new();
        let settled = eventually(async || {
            last = self.children();
            last.len() == N_WARM && last.iter().all(|(_, state)| *state != 'Z')
        });
        assert!(settled.await, "beside the pool there is more: {last:?}");
    }

    async fn status(&self, id: &str) -> String {
        self.client.get(id).await["status"].as_str().unwrap_or("unreachable").to_owned()
    }

    async fn until_over(&self, id: &str) {
        let mut last = Value::Null;
        let over = eventually(async || {
            last = self.client.get(id).await;
            ["Stopped", "Expired", "Error"].contains(&last["status"].as_str().unwrap_or_default())
        });
        assert!(over.await, "{id} is not over: {last}");
        if last["status"] == "Error" {
            let code = last["error"]["code"].as_str().unwrap();
            assert!(["HostLost", "SessionStartFailed"].contains(&code), "{last}");
        }
    }

    /// Asks it to end, hosts and all.
    async fn stop(mut self) {
        self.children();
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        let ended = eventually(async || self.child.try_wait().unwrap().is_some());
        assert!(ended.await, "the server goes on after SIGTERM");
        // Those of servers that were killed are nobody's children: whoever has them now may leave zombies.
        let runs = |pid: &Pid| {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
            lives(*pid) && stat.is_ok_and(|stat| !stat.contains(") Z "))
        };
        let mut left = Vec::new();
        let gone = eventually(async || {
            left = self.seen.iter().copied().filter(runs).collect();
            left.is_empty()
        });
        assert!(gone.await, "hosts outlive everything: {left:?}");
        println!("{} hosts were seen, none is left", self.seen.len());
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// One round: some sessions at once, each with a life of its own.
async fn round(server: &mut Server<'_>, chance: &mut Chance, name: &str) {
    for n in 0..4 {
        let id = format!("{name}-{n}");
        server.client.create(&id, if chance.below(8) == 0 { 0 } else { 30 }).await;
    }
    let victims = server.children();
    for n in 0..4 {
        let id = format!("{name}-{n}");
        match chance.below(6) {
            // In the middle of its start, or Ready, as it comes.
            0 | 1 => {}
            2 | 3 => {
                let started = eventually(async || server.status(&id).await != "Starting");
                assert!(started.await, "{id} does not start");
            }
            // Any host: the session's, another's, a warm one, one that is just starting or ending.
            _ if !victims.is_empty() => {
                let (pid, _) = victims[chance.below(victims.len())];
                let signal = [Signal::KILL, Signal::TERM, Signal::SEGV][chance.below(3)];
                let _ended_before = kill_process(pid, signal).is_err();
            }
            _ => {}
        }
        server.client.stop(&id).await;
        server.until_over(&id).await;
    }
}

async fn play(dir: &Path, n_rounds: u64, n_crashes: u64) {
    let seed = number("BELVEDERE_TEST_SEED", 0x5eed_cafe).max(1);
    println!("{n_rounds} rounds of 4 sessions, {n_crashes} crashes of the server, seed {seed}");
    let chance = &mut Chance(seed);
    std::fs::write(dir.join("warm"), N_WARM.to_string()).unwrap();
    let mut server = Server::start(dir).await;
    for crash in 0..n_crashes {
        // These live on while the server does not.
        let keepers = [0, 1].map(|n| format!("keeper-{crash}-{n}"));
        for id in &keepers {
            server.client.create(id, 30).await;
            server.client.until(id, "Ready").await;
        }
        round(&mut server, chance, &format!("before-{crash}")).await;
        // A random victim may have been a keeper's host.
        let mut kept = Vec::new();
        for id in &keepers {
            if server.status(id).await == "Ready" && server.client.still(id).await {
                kept.push(id);
            }
        }
        let took = server.crash().await;
        for id in &kept {
            assert_eq!(server.status(id).await, "Ready", "{id} survives the server");
            assert!(eventually(async || server.client.still(id).await).await, "its host is back");
        }
        println!("back {took:?} after kill -9, {} of {} sessions kept", kept.len(), keepers.len());
        for id in &keepers {
            server.client.stop(id).await;
            server.until_over(id).await;
        }
        server.settle().await;
    }
    let mut before = None;
    for n in 0..n_rounds {
        // Buffers and caches have grown by then.
        if n == n_rounds / 5 {
            server.settle().await;
            before = Some(server.holdings());
        }
        round(&mut server, chance, &format!("round-{n}")).await;
    }
    server.settle().await;
    let before = before.unwrap();
    let mut after = server.holdings();
    // Connections of this test, and tasks that wait for the last words of hosts, end by themselves.
    let slim = eventually(async || {
        after = server.holdings();
        after.n_fds <= before.n_fds + 4 && after.n_tasks <= before.n_tasks + 4
    });
    assert!(slim.await, "it holds more than before: {before:?}, {after:?}");
    println!("after a fifth of the rounds {before:?}, after all {after:?}");
    // Each ended session leaves a row in the file, none in memory; SQLite's caches may grow by some MiB.
    assert!(after.rss_kib < before.rss_kib + 16 * 1024, "memory grows: {before:?}, {after:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_lives_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    play(dir.path(), number("BELVEDERE_TEST_ROUNDS", 100) / 4, 3).await;
}

/// The same with the hosts that people get: renderer, encoder, and all.
#[tokio::test(flavor = "multi_thread")]
async fn random_lives_of_real_hosts_leave_nothing_behind() {
    let belvedere = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("belvedere");
    if !belvedere.exists() {
        return println!("SKIPPED: {} is not built", belvedere.display());
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("host"), belvedere.to_str().unwrap()).unwrap();
    play(dir.path(), number("BELVEDERE_TEST_ROUNDS", 100) / 20, 1).await;
}
