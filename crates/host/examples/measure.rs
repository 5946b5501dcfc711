//! Measures a host in a process of its own: input to decoded picture, and what it costs at rest.
//!
//! `cargo run --release -p host --example measure -- [TRIANGLES] [WIDTH] [HEIGHT] [FPS TO KEEP]`
#![expect(clippy::unwrap_used, reason = "a tool for developers: a failure is a panic")]
#![expect(dead_code, reason = "the tests use more of the control plane")]

#[path = "../tests/it/control.rs"]
mod control;

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use client::live::Event;
use control::{Control, TOKEN, last_picture, orbit, picture, show, until};
use host::HostConfig;
use protocol::live::rpc::{self, host_message::Body};

fn main() {
    if std::env::args().nth(1).as_deref() == Some("host") {
        let mut config = HostConfig::from_env().unwrap();
        // The rate to keep; 1 is never too much.
        if let Some(fps) = std::env::args().nth(2) {
            config.motion_fps = fps.parse().unwrap();
        }
        host::run(config).unwrap();
        return;
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(measure());
}

/// Ends the host with us.
struct Host(Child);

impl Drop for Host {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Host {
    /// CPU time of all threads so far.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        // Clock ticks of 10 ms: utime and stime are fields 14 and 15.
        Duration::from_millis((fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10)
    }

    fn rss_mb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }
}

fn percentiles(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    format!("p50 {:.1}, p95 {:.1}, max {:.1} ms", at(50), at(95), at(100))
}

async fn measure() {
    let number =
        |n: usize, default: u32| std::env::args().nth(n).map_or(default, |text| text.parse().unwrap());
    let n_triangles = number(1, 100_000);
    let size = (u16::try_from(number(2, 1280)).unwrap(), u16::try_from(number(3, 720)).unwrap());
    let model = std::env::temp_dir().join(format!("belvedere-measure-{}.glb", std::process::id()));
    std::fs::write(&model, convert::samples::bumpy_sphere(n_triangles, 1)).unwrap();

    let (url, listener) = Control::listen().await;
    let spawned = Instant::now();
    let child = Command::new(std::env::current_exe().unwrap())
        .arg("host")
        .args(std::env::args().nth(4))
        .env(protocol::link::ENV_LINK_URL, url)
        .env(protocol::link::ENV_LINK_TOKEN, TOKEN)
        .spawn()
        .unwrap();
    let host = Host(child);
    let mut control = Control::accept(listener).await;
    println!("spawn -> Hello              {:.1} ms", spawned.elapsed().as_secs_f64() * 1e3);
    let before = Instant::now();
    control.assign(model.to_str(), None).await;
    println!("Assign -> Ready             {:.1} ms", before.elapsed().as_secs_f64() * 1e3);
    let before = Instant::now();
    let mut client = control.connect().await.unwrap();
    println!("offer -> answer             {:.1} ms", before.elapsed().as_secs_f64() * 1e3);
    // In any order, whatever comes first.
    let mut missing = vec!["connected", "channels open", "first picture", "model on screen"];
    while !missing.is_empty() {
        let what = until(&mut client, |event| match event {
            Event::Connected => Some("connected"),
            Event::Open => Some("channels open"),
            Event::Picture(_) => Some("first picture"),
            Event::Message(rpc::HostMessage { body: Some(Body::Scene(scene)), .. })
                if scene.triangles > 0 =>
            {
                Some("model on screen")
            }
            _ => None,
        })
        .await;
        if what == "channels open" {
            client.send_input(orbit(1, 0.0, size));
        }
        if let Some(at) = missing.iter().position(|missing| *missing == what) {
            missing.remove(at);
            println!("offer -> {what:<18} {:.1} ms", before.elapsed().as_secs_f64() * 1e3);
        }
    }
    last_picture(&mut client).await;

    // One input at a time, each after the picture of the one before.
    let mut steps = [0_u32; 16];
    let (mut latency, mut stages) = (Vec::new(), [(); 4].map(|()| Vec::new()));
    let (cpu, start) = (host.cpu(), Instant::now());
    let n = 300;
    let mut step = 0.0;
    for seq in 2..2 + n {
        step += 0.035;
        let sent = Instant::now();
        let shown = show(&mut client, orbit(seq, step, size)).await;
        latency.push((shown.decoded_at - sent).as_secs_f64() * 1e3);
        let meta = shown.meta.unwrap();
        steps[usize::from(meta.step())] += 1;
        let decode_us = u32::try_from((shown.decoded_at - shown.received_at).as_micros()).unwrap();
        for (stage, us) in stages.iter_mut().zip([meta.queue_us, meta.render_us, meta.encode_us, decode_us]) {
            stage.push(f64::from(us) / 1e3);
        }
    }
    let frames_s = f64::from(n) / start.elapsed().as_secs_f64();
    let cpu_ms = (host.cpu() - cpu).as_secs_f64() * 1e3 / f64::from(n);
    println!(
        "input -> decoded            {} ({frames_s:.0} fps, {cpu_ms:.1} CPU ms a frame)",
        percentiles(latency)
    );
    for (name, stage) in ["waiting", "rendering", "encoding", "decoding"].iter().zip(stages) {
        println!("  {name:<10}                {}", percentiles(stage));
    }

    println!("  frames by step            {:?}", &steps[..6]);

    last_picture(&mut client).await;
    let (cpu, start) = (host.cpu(), Instant::now());
    let quiet = tokio::time::timeout(Duration::from_secs(10), picture(&mut client, |_| true)).await;
    assert!(quiet.is_err(), "a picture came at rest");
    let share = (host.cpu() - cpu).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
    println!("at rest                     {share:.2} % of a core, {} MB resident", host.rss_mb());
    drop(client);
    std::fs::remove_file(model).unwrap();
}
