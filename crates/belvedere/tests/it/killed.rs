//! The control plane is killed again and again, at every step of what a client does, while a client watches video.
//!
//! What was answered is true afterwards; what was Ready is Ready, with the same lease; pictures keep coming; and in the
//! end no process is left.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use client::live;
use client::rest::{Client, Options};
use protocol::SessionId;
use protocol::live::{Camera, Input};
use protocol::rest::{Session, SessionSize, SessionStatus};
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Row as _};

use crate::belvedere;

/// Longest wait for something that takes a second at most on a machine that does nothing else.
const PATIENCE: Duration = Duration::from_secs(30);

/// The promise is 2 s; this machine compiles and tests other things at the same time.
const BACK_MAX: Duration = Duration::from_secs(10);

/// Picture after picture, at rest as in motion, a client of an outage sees no longer pause than this.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// `belvedere serve` that is killed and started again on the same folder and ports.
struct Plane {
    data: tempfile::TempDir,
    child: Option<Child>,
    ready: Value,
    client: Option<Client>,
    /// From the start of a process to its first answer.
    back: Vec<Duration>,
}

impl Plane {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        Self { data, child: None, ready: Value::Null, client: None, back: Vec::new() }
    }

    async fn start(&mut self) {
        let at = |scheme: &str| {
            let url = self.ready[scheme].as_str().unwrap_or("x://x:0");
            format!("127.0.0.1:{}", url.rsplit(':').next().unwrap())
        };
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log.txt")).unwrap();
        let began = Instant::now();
        let child = belvedere(self.data.path())
            .args(["serve", "--requests-per-minute", "0", "--warm-hosts", "1"])
            .args(["--listen-http", &at("http"), "--listen-https", &at("https")])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        self.until("ready.json", async |plane| plane.json("ready.json").is_some()).await;
        self.ready = self.json("ready.json").unwrap();
        if self.client.is_none() {
            let account = self.json("account.json").unwrap();
            let text = |key: &str| account[key].as_str().unwrap().to_owned();
            let options = Options {
                endpoint: self.ready["https"].as_str().unwrap().to_owned(),
                account: text("accountId").parse().unwrap(),
                key: text("accountKey"),
                token_endpoint: None,
                ca_pem: Some(fs::read(self.path("tls/ca.pem")).unwrap()),
            };
            self.client = Some(Client::new(options).unwrap());
        }
        self.until("an answer", async |plane| plane.client().list().await.is_ok()).await;
        self.back.push(began.elapsed());
    }

    fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        // Whoever waits for it must wait for the next one's.
        fs::remove_file(self.path("ready.json")).ok();
    }

    fn client(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.data.path().join(name)
    }

    fn json(&self, name: &str) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.path(name)).ok()?).ok()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log.txt")).unwrap_or_default()
    }

    async fn until(&mut self, what: &str, mut done: impl AsyncFnMut(&mut Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(self).await {
            assert!(Instant::now() < end, "no {what}:\n{}", self.log());
            if let Some(child) = &mut self.child {
                assert!(child.try_wait().unwrap().is_none(), "it ended before {what}:\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    async fn until_status(&mut self, id: &str, wanted: SessionStatus) -> Session {
        let id: SessionId = id.parse().unwrap();
        let mut last = None;
        self.until(&format!("{wanted:?} of {id}"), async |plane| {
            last = plane.client().get(&id).await.ok();
            last.as_ref().is_some_and(|session| session.status == wanted)
        })
        .await;
        last.unwrap()
    }

    /// What the store says of a session.
    async fn stored(&self, id: &str) -> Option<Stored> {
        let options = SqliteConnectOptions::new().filename(self.path("belvedere.db"));
        let mut connection = options.connect().await.unwrap();
        let row = sqlx::query("SELECT status, ready_at, lease_minutes, host_pid FROM sessions WHERE id = ?")
            .bind(id)
            .fetch_optional(&mut connection)
            .await
            .unwrap()?;
        let ready_at: Option<i64> = row.get("ready_at");
        let lease_minutes: i64 = row.get("lease_minutes");
        Some(Stored {
            status: row.get("status"),
            lease_end: ready_at.map(|at| at + lease_minutes * 60_000_000),
            pid: row.get("host_pid"),
        })
    }

    /// Whether the session's host is linked: only then can it be asked for a picture.
    async fn linked(&self, id: &str) -> bool {
        let client = self.client();
        let url = format!("{}/still?width=8&height=8", client.session_url(&id.parse().unwrap()));
        let certificate = reqwest::Certificate::from_pem(client.options().ca_pem.as_ref().unwrap()).unwrap();
        let http = reqwest::Client::builder().add_root_certificate(certificate).build().unwrap();
        let Ok(token) = client.token().await else { return false };
        http.get(url).bearer_auth(token).send().await.is_ok_and(|answer| answer.status() == 200)
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        // After a failure: hosts of a killed service would live on with their leases.
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
        for pid in processes(self.data.path()) {
            std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().ok();
        }
    }
}

#[derive(Debug, PartialEq)]
struct Stored {
    status: String,
    /// Microseconds of the Unix epoch.
    lease_end: Option<i64>,
    pid: Option<u32>,
}

/// The living processes that were started with this data folder in their environment: services and hosts.
fn processes(data: &Path) -> Vec<u32> {
    let mark = format!("BELVEDERE_DATA={}", data.display());
    let all =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(|pid: &u32| {
        // Of a zombie it is empty.
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    })
    .collect()
}

/// What a client has been promised about a session.
#[derive(Clone, Debug, PartialEq)]
enum Promise {
    /// It exists, and gets somewhere.
    Created,
    /// It is Ready until then.
    Ready { lease_end: i64, pid: u32 },
    /// It has ended like this.
    Ended(SessionStatus),
    /// Something was asked and not answered: it may have happened or not.
    Unknown,
}

/// A client with its promises, who may find that the service is gone in the middle of a step.
struct Story {
    plane: Plane,
    promises: BTreeMap<String, Promise>,
    random: Random,
    pictures: Pictures,
    n_kills: usize,
    /// Requests that were answered before the service died of the kill that was meant for them.
    n_answered: usize,
}

/// When the service is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Before,
    /// Some time after the request was sent.
    During,
    After,
}

/// Microseconds between a request and the kill, at most. Requests take a millisecond or two.
const DURING_MICROS: u64 = 15_000;

impl Story {
    /// One step: a request, what it promises, and a kill. The request is repeated until it is answered.
    async fn step<T>(
        &mut self,
        when: When,
        name: &str,
        about: &str,
        request: impl AsyncFn(&Client) -> Result<T, client::rest::Error>,
    ) -> T {
        if when == When::Before {
            self.outage(name).await;
        }
        if when == When::During {
            let pause = Duration::from_micros(self.random.below(DURING_MICROS));
            self.promises.insert(about.to_owned(), Promise::Unknown);
            let client = self.plane.client.take().unwrap();
            let (answer, ()) = tokio::join!(request(&client), async {
                tokio::time::sleep(pause).await;
                self.plane.kill();
            });
            self.plane.client = Some(client);
            self.outage(name).await;
            // What was answered is not asked again: it must be true.
            if let Ok(answer) = answer {
                self.n_answered += 1;
                return answer;
            }
        }
        let end = Instant::now() + PATIENCE;
        loop {
            match request(self.plane.client()).await {
                Ok(answer) => return answer,
                Err(error) => {
                    let unreachable = matches!(error, client::rest::Error::Unreachable { .. });
                    assert!(unreachable && Instant::now() < end, "{name}: {error}\n{}", self.plane.log());
                }
            }
        }
    }

    /// Kills the service, starts it again, and sees what is left.
    async fn outage(&mut self, name: &str) {
        self.n_kills += 1;
        let began = Instant::now();
        if self.plane.child.is_some() {
            self.plane.kill();
        }
        self.plane.start().await;
        let back = self.plane.back.last().unwrap();
        assert!(*back < BACK_MAX, "killed at {name}: it is back after {back:?}");
        for (id, promise) in self.promises.clone() {
            self.keeps(name, &id, &promise).await;
        }
        let pause = self.pictures.longest_pause_since(began);
        assert!(pause < PAUSE_MAX, "killed at {name}: no picture for {pause:?}\n{}", self.plane.log());
    }

    async fn keeps(&mut self, name: &str, id: &str, promise: &Promise) {
        let session = self.plane.client().get(&id.parse().unwrap()).await;
        match promise {
            Promise::Unknown => {}
            Promise::Created => {
                let session =
                    session.unwrap_or_else(|error| panic!("killed at {name}: {id} is lost: {error}"));
                assert_ne!(session.status, SessionStatus::Stopped, "killed at {name}: nobody stopped {id}");
                assert!(session.error.is_none(), "killed at {name}: {id}: {:?}", session.error);
            }
            Promise::Ready { lease_end, pid } => {
                let session =
                    session.unwrap_or_else(|error| panic!("killed at {name}: {id} is lost: {error}"));
                assert_eq!(
                    session.status,
                    SessionStatus::Ready,
                    "killed at {name}: {id}: {:?}",
                    session.error
                );
                let stored = self.plane.stored(id).await.unwrap();
                assert_eq!(
                    (stored.lease_end, stored.pid),
                    (Some(*lease_end), Some(*pid)),
                    "killed at {name}: {id}"
                );
            }
            Promise::Ended(status) => {
                let session =
                    session.unwrap_or_else(|error| panic!("killed at {name}: {id} is lost: {error}"));
                assert_eq!(session.status, *status, "killed at {name}: {id}");
                let reason = session.error.is_some_and(|error| !error.message.is_empty());
                assert_eq!(reason, *status == SessionStatus::Error, "killed at {name}: {id}");
            }
        }
    }

    async fn create(&mut self, when: When, id: &str, minutes: u32) {
        let name: SessionId = id.parse().unwrap();
        self.step(when, "create", id, async |client| {
            match client.create(&name, SessionSize::Standard, minutes).await {
                // It was made before the kill, without an answer, and has ended since.
                Err(error) if error.status() == Some(409) => client.get(&name).await,
                done => done,
            }
        })
        .await;
        self.promises.insert(id.to_owned(), Promise::Created);
        self.after(when, "created").await;
    }

    async fn ready(&mut self, when: When, id: &str) -> u32 {
        if when == When::During {
            // Somewhere on the way from Starting to Ready.
            tokio::time::sleep(Duration::from_micros(self.random.below(100_000))).await;
            self.outage("waiting for Ready").await;
        }
        self.plane.until_status(id, SessionStatus::Ready).await;
        let pid = self.promise_ready(id).await;
        self.after(when, "Ready").await;
        pid
    }

    async fn promise_ready(&mut self, id: &str) -> u32 {
        let Stored { lease_end, pid, .. } = self.plane.stored(id).await.unwrap();
        let (lease_end, pid) = (lease_end.unwrap(), pid.unwrap());
        self.promises.insert(id.to_owned(), Promise::Ready { lease_end, pid });
        pid
    }

    async fn extend(&mut self, when: When, id: &str, minutes: u32) {
        let name: SessionId = id.parse().unwrap();
        self.step(when, "extend", id, async |client| match client.extend(&name, minutes).await {
            // It was done before the kill, without an answer.
            Err(error) if error.status() == Some(422) => client.get(&name).await,
            done => done,
        })
        .await;
        let session = self.plane.client().get(&name).await.unwrap();
        assert_eq!(session.max_lease_time_minutes, minutes);
        self.promise_ready(id).await;
        self.after(when, "extended").await;
    }

    async fn stop(&mut self, when: When, id: &str) {
        let name: SessionId = id.parse().unwrap();
        self.step(when, "stop", id, async |client| client.stop(&name).await).await;
        self.promises.insert(id.to_owned(), Promise::Ended(SessionStatus::Stopped));
        self.after(when, "stopped").await;
    }

    async fn ended(&mut self, when: When, id: &str, status: SessionStatus) {
        if when == When::During {
            let pause = Duration::from_micros(self.random.below(50_000));
            tokio::time::sleep(pause).await;
            // The host is gone, or its lease is over: which of both is known depends on the moment.
            self.promises.insert(id.to_owned(), Promise::Unknown);
            self.outage("waiting for the end").await;
        }
        self.plane.until_status(id, status).await;
        self.promises.insert(id.to_owned(), Promise::Ended(status));
        self.after(when, "ended").await;
    }

    async fn after(&mut self, when: When, name: &str) {
        if when == When::After {
            self.outage(name).await;
        }
    }

    /// What a client does in the life of some sessions.
    async fn round(&mut self, n: usize, when: When) {
        let id = |what: &str| format!("{what}-{n}");
        self.create(when, &id("stopped"), 10).await;
        self.ready(when, &id("stopped")).await;
        self.extend(when, &id("stopped"), 20).await;
        self.stop(when, &id("stopped")).await;

        // A lease of no time is over when it begins.
        self.create(when, &id("expired"), 0).await;
        self.ended(when, &id("expired"), SessionStatus::Expired).await;

        self.create(when, &id("lost"), 10).await;
        let pid = self.ready(when, &id("lost")).await;
        self.promises.insert(id("lost"), Promise::Unknown);
        assert!(
            std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success()
        );
        self.ended(when, &id("lost"), SessionStatus::Error).await;
    }
}

/// Numbers that are the same for the same seed (xorshift64*, Vigna 2016).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

/// When pictures came in, of a client that moves its camera all the time.
struct Pictures {
    times: Arc<Mutex<Vec<Instant>>>,
    task: tokio::task::JoinHandle<String>,
}

impl Pictures {
    async fn of(client: &Client, session: &str) -> Self {
        let rest = client.options();
        let options = live::Options {
            endpoint: rest.endpoint.clone(),
            account: rest.account,
            session: session.parse().unwrap(),
            token: client.token().await.unwrap(),
            ca_pem: rest.ca_pem.clone(),
        };
        let mut video = live::Client::connect(&options).await.unwrap();
        let times = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&times);
        let task = tokio::spawn(async move {
            // Enough to see that it goes on, and little enough to leave the machine to the others.
            let mut move_on = tokio::time::interval(Duration::from_millis(100));
            let mut seq = 0_u32;
            loop {
                tokio::select! {
                    event = video.next() => match event {
                        Some(live::Event::Picture(picture)) => seen.lock().unwrap().push(picture.received_at),
                        Some(live::Event::Closed(reason)) => return reason,
                        None => return "closed".to_owned(),
                        Some(_) => {}
                    },
                    _ = move_on.tick() => {
                        seq += 1;
                        #[expect(clippy::cast_precision_loss, reason = "a small number")]
                        let x = (seq % 50) as f32 / 50.0;
                        let camera =
                            Camera { eye: [x, 0.5, 3.0], orientation: [0.0, 0.0, 0.0, 1.0], fov_y: 0.8 };
                        video.send_input(Input { seq, client_time_us: 0, camera, width: 160, height: 120 });
                    }
                }
            }
        });
        Self { times, task }
    }

    /// The longest time without a picture since `since`.
    fn longest_pause_since(&self, since: Instant) -> Duration {
        let times = self.times.lock().unwrap();
        let now = Instant::now();
        let mut longest = Duration::ZERO;
        let mut last = since;
        for time in times.iter().copied().filter(|time| *time > since).chain([now]) {
            longest = longest.max(time.saturating_duration_since(last));
            last = time;
        }
        longest
    }

    fn n(&self) -> usize {
        self.times.lock().unwrap().len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_killed_at_every_step_keeps_its_promises() {
    let seed = std::env::var("BELVEDERE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        u64::try_from(nanos & u128::from(u64::MAX)).unwrap() | 1
    });
    println!("BELVEDERE_SEED={seed} kills at the same moments again");
    let mut plane = Plane::new();
    plane.start().await;

    // Seen from afar: a session with video, and one whose lease of a minute ends while nobody is there to end it.
    plane.client().create(&"video".parse().unwrap(), SessionSize::Standard, 60).await.unwrap();
    plane.client().create(&"minute".parse().unwrap(), SessionSize::Standard, 1).await.unwrap();
    plane.until_status("video", SessionStatus::Ready).await;
    plane.until_status("minute", SessionStatus::Ready).await;
    let minute = plane.stored("minute").await.unwrap();
    let pictures = Pictures::of(plane.client(), "video").await;
    plane.until("a picture", async |_| pictures.n() > 0).await;

    let mut story =
        Story { plane, promises: BTreeMap::new(), random: Random(seed), pictures, n_kills: 0, n_answered: 0 };
    story.promise_ready("video").await;
    for (n, when) in
        [When::Before, When::After, When::During, When::During, When::During].into_iter().enumerate()
    {
        story.round(n, when).await;
    }

    // Hosts come back by themselves.
    story.plane.until("link of the video session", async |plane| plane.linked("video").await).await;
    let Story { mut plane, pictures, n_kills, n_answered, .. } = story;
    assert!(!pictures.task.is_finished(), "the video ended");
    let mut back = plane.back.split_off(1);
    back.sort();
    println!(
        "{n_kills} kills, {n_answered} of them too late for an answer; back after {:?} (median), {:?} (longest); {} pictures",
        back[back.len() / 2],
        back[back.len() - 1],
        pictures.n()
    );

    // Nobody is there when the minute is over.
    plane.kill();
    let pid = minute.pid.unwrap();
    let ends_at = UNIX_EPOCH + Duration::from_micros(minute.lease_end.unwrap().unsigned_abs());
    let lives = || processes(plane.data.path()).contains(&pid);
    if SystemTime::now() < ends_at {
        assert!(lives(), "its host ended before its lease");
    }
    while lives() {
        let late = SystemTime::now().duration_since(ends_at).unwrap_or_default();
        assert!(late < PATIENCE, "its host lives {late:?} after the end of the lease");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(SystemTime::now() > ends_at, "its host ended before its lease");
    assert!(!pictures.task.is_finished(), "the video goes on without a control plane");
    plane.start().await;
    plane.until_status("minute", SessionStatus::Expired).await;
    plane.until_status("video", SessionStatus::Ready).await;

    // And with the service, everything ends.
    let child = plane.child.as_ref().unwrap().id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &child]).status().unwrap().success());
    let mut child = plane.child.take().unwrap();
    plane.until("the end", async |_| child.try_wait().unwrap().is_some()).await;
    plane.until("the end of all hosts", async |plane| processes(plane.data.path()).is_empty()).await;
    let log = plane.log();
    assert!(!log.contains(" ERROR ") && !log.contains("panicked"), "{log}");
}
