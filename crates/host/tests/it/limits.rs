//! What a session's size allows, and what becomes of a model that is larger.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use host::HostConfig;
use protocol::link::{
    ENV_HOST_MEMORY, ENV_HOST_PRIMITIVES, ENV_HOST_THREADS, ENV_LINK_TOKEN, ENV_LINK_URL, FromHost, ToHost,
};
use protocol::live::rpc;
use protocol::live::rpc::client_message::Body as Request;
use protocol::live::rpc::host_message::Body as Response;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::control::{Control, Heard, LONG, TOKEN, ask};
use crate::{end, sees, sphere, warm_with};

fn load(file: &Path) -> Request {
    Request::LoadModel(rpc::LoadModel { source: file.file_name().unwrap().to_str().unwrap().to_owned() })
}

#[tokio::test]
async fn a_model_with_more_primitives_than_the_size_allows_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (large, small) = (sphere(dir.path(), 2_000, 1), sphere(dir.path(), 500, 1));
    let (mut control, host) = warm_with(|config| config.max_primitives = Some(1_000)).await;
    control.assign(None, dir.path().to_str()).await;
    let mut client = control.connect().await.unwrap();
    sees(&mut client, "").await;
    let error = ask(&mut client, load(large.as_ref())).await.unwrap_err();
    assert_eq!(error.code, "ModelTooLarge", "{}", error.message);
    for words in ["more than 1000 drawn triangles", "larger size", "operator"] {
        assert!(error.message.contains(words), "{}", error.message);
    }
    assert!(matches!(ask(&mut client, load(small.as_ref())).await, Ok(Response::Scene(_))));
    end(control, host).await;
}

#[test]
#[ignore = "is started as a host by other tests"]
fn host_process() {
    if std::env::var_os(ENV_LINK_URL).is_some() {
        host::run(HostConfig::from_env().unwrap()).unwrap();
    }
}

/// A host in a process of its own, killed at the end of a test that fails.
struct Process(Child);

impl Process {
    /// Starts this program as a host of two threads.
    fn start(url: &str, memory_bytes: Option<u64>) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["limits::host_process", "--exact", "--ignored", "--nocapture"])
            .env(ENV_LINK_URL, url)
            .env(ENV_LINK_TOKEN, TOKEN)
            .env(ENV_HOST_THREADS, "1")
            .env(ENV_HOST_PRIMITIVES, "")
            .env(ENV_HOST_MEMORY, memory_bytes.map_or_else(String::new, |bytes| bytes.to_string()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        if memory_bytes.is_some() {
            let limit = Rlimit { current: memory_bytes, maximum: memory_bytes };
            let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
            prlimit(Some(pid), Resource::Data, limit).unwrap();
        }
        Self(child)
    }

    fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Names of the threads.
    fn threads(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        let name = |task: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default().trim().to_owned()
        };
        tasks.map(name).collect()
    }

    async fn ended(&mut self, limit: Duration) -> std::process::ExitStatus {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the host lives on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Decoding and preparing large models must not end the process, which is how Rust answers a failed allocation.
#[tokio::test]
async fn a_model_that_does_not_fit_the_memory_is_refused_and_the_host_lives() {
    const LIMIT: u64 = 320 << 20;
    let dir = tempfile::tempdir().unwrap();
    let (large, small) = (sphere(dir.path(), 1_000_000, 1), sphere(dir.path(), 2_000, 1));
    let (url, listener) = Control::listen().await;
    let mut process = Process::start(&url, Some(LIMIT));
    let mut control = Control::accept(listener).await;
    control.assign(None, dir.path().to_str()).await;
    let mut client = control.connect().await.unwrap();
    sees(&mut client, "").await;
    println!("without a model: {} MiB of data", process.status("VmData") >> 10);
    for _ in 0..2 {
        let error = ask(&mut client, load(large.as_ref())).await.unwrap_err();
        assert_eq!(error.code, "ModelTooLarge", "{}", error.message);
        assert!(
            error.message.contains("larger size") && error.message.contains("operator"),
            "{}",
            error.message
        );
        println!("refused: {}", error.message);
        assert!(matches!(ask(&mut client, load(small.as_ref())).await, Ok(Response::Scene(_))));
    }
    assert!(!process.threads().iter().any(|name| name == "render-1"), "one thread is one thread");
    control.send(&ToHost::End { reason: protocol::link::EndReason::Stopped }).await;
    control.wait(|heard| matches!(heard, Heard::Json(FromHost::Ended { .. })).then_some(())).await;
    assert!(process.ended(LONG).await.success());
}

/// Hosts outlive a control plane that is killed, but not for long.
#[tokio::test]
async fn a_host_whose_control_plane_never_comes_back_ends_with_its_lease() {
    let (url, listener) = Control::listen().await;
    let mut process = Process::start(&url, None);
    let mut control = Control::accept(listener).await;
    control.assign(Some("builtin://demo"), None).await;
    control.send(&ToHost::Lease { remaining_ms: 3_000 }).await;
    let told_at = Instant::now();
    control.vanish().await;
    let status = process.ended(LONG).await;
    println!("lease of 3 s: ended {:?} after it was told", told_at.elapsed());
    assert!(status.success(), "{status}");
    assert!(told_at.elapsed() >= Duration::from_millis(2_900), "{:?}", told_at.elapsed());
}

#[tokio::test]
async fn a_warm_host_whose_control_plane_never_comes_back_ends_within_ten_seconds() {
    let (url, listener) = Control::listen().await;
    let mut process = Process::start(&url, None);
    let control = Control::accept(listener).await;
    let gone_at = Instant::now();
    control.vanish().await;
    let status = process.ended(LONG).await;
    println!("warm: ended {:?} after the control plane", gone_at.elapsed());
    assert_eq!(status.code(), Some(101), "the test's unwrap of an error that says why");
    assert!(gone_at.elapsed() < Duration::from_secs(20), "{:?}", gone_at.elapsed());
}
