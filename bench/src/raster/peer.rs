//! Programs that draw the same pictures: VTK, and three.js in Chromium.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Camera;
use super::filter::Cell;
use crate::Tools;

/// A program that takes a line of JSON for each picture and answers with one.
pub(super) struct Peer {
    pub(super) name: &'static str,
    /// Its version, and what renders for it, in its own words.
    pub(super) about: String,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// Processes whose time counts.
    pids: Vec<u32>,
    /// The program only starts what draws.
    starts_others: bool,
}

impl Peer {
    /// VTK, which renders by Mesa's llvmpipe where there is no GPU.
    pub(super) fn vtk(tools: &Tools, scene: &Path) -> Result<Self> {
        let mut command = Command::new(&tools.python);
        command.arg(tools.root.join("bench/vtk_peer.py"));
        Self::start("VTK", &mut command, scene, false)
    }

    /// three.js in Chromium, which has to render by SwiftShader.
    pub(super) fn three(tools: &Tools, scene: &Path) -> Result<Self> {
        let mut command = Command::new("node");
        command.arg(tools.root.join("bench/three/peer.mjs"));
        let peer = Self::start("three.js", &mut command, scene, true)?;
        if !peer.about.contains("SwiftShader") {
            bail!("{} is no comparison: SwiftShader has to render", peer.about);
        }
        Ok(peer)
    }

    fn start(name: &'static str, command: &mut Command, scene: &Path, starts_others: bool) -> Result<Self> {
        let mut child = command
            .arg(scene)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("piped")?);
        let about = String::new();
        let mut peer = Self { name, about, child, input, output, pids: Vec::new(), starts_others };
        let ready = peer.answer()?;
        peer.about = ready["about"].as_str().unwrap_or_default().to_owned();
        Ok(peer)
    }

    /// Draws a picture, and writes its RGBA, rows from the bottom, to `save`. Gives the milliseconds until the pixels were in
    /// memory, as the peer measures them itself.
    pub(super) fn draw(&mut self, cell: &Cell, camera: &Camera, save: Option<&Path>) -> Result<f64> {
        let Camera { eye, target, fov_y, near_m, far_m } = camera;
        let ask = json!({
            "width": cell.size.0,
            "height": cell.size.1,
            "look": cell.look.word(),
            "eye": eye.to_array(),
            "target": target.to_array(),
            "fov_y_deg": fov_y.to_degrees(),
            "near": near_m,
            "far": far_m,
            "save": save,
        });
        writeln!(self.input.as_ref().context("open until the end")?, "{ask}")?;
        let answer = self.answer()?;
        if let Some(triangles) = answer["triangles"].as_u64()
            && triangles.abs_diff(u64::from(cell.triangles)) * 50 > u64::from(cell.triangles)
        {
            bail!("{} drew {triangles} triangles", self.name);
        }
        answer["wall_ms"].as_f64().with_context(|| format!("{} said {answer}", self.name))
    }

    /// The next line of JSON; warnings of its libraries may come first.
    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        while self.output.read_line(&mut line)? > 0 {
            if let Ok(answer) = serde_json::from_str::<Value>(&line)
                && answer.is_object()
            {
                return Ok(answer);
            }
            line.clear();
        }
        bail!("{} ended; what it said is above", self.name);
    }

    /// Looks for the processes that belong to it.
    pub(super) fn count_processes(&mut self) {
        let all = processes();
        self.pids = descendants(&all, self.child.id());
        if !self.starts_others {
            self.pids.push(self.child.id());
        }
    }

    /// Milliseconds of processor time so far, of all threads of the processes that were counted.
    pub(super) fn cpu_ms(&self) -> f64 {
        self.pids.iter().map(|pid| cpu_ms_of(*pid)).sum()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The end of its input is the word to go, which lets the browser end too.
        self.input = None;
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Milliseconds of processor time of the threads that a process has now, finer than the kernel's ticks.
pub(super) fn cpu_ms_of(pid: u32) -> f64 {
    // /proc/PID/schedstat counts the main thread only; the sum over threads is what a pool needs.
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanos: f64 = tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<f64>().ok())
        .sum();
    if nanos > 0.0 { nanos / 1e6 } else { crate::server::cpu_ms(pid).unwrap_or(f64::NAN) }
}

/// All processes: id and parent's id.
fn processes() -> Vec<(u32, u32)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold spaces; the parent is field 4 (proc(5)).
        Some((pid, stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?))
    })
    .collect()
}

/// Children of `root`, their children and so on.
fn descendants(all: &[(u32, u32)], root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        // Ids are used again: a list that is not of one moment may have circles.
        let fresh = all.iter().filter(|(pid, of)| *of == parent && !found.contains(pid));
        let fresh: Vec<u32> = fresh.map(|(pid, _)| *pid).collect();
        found.extend(fresh);
        at += 1;
    }
    found.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browsers_processes_are_children_of_children() {
        let all = [(1, 0), (10, 1), (11, 10), (12, 11), (13, 11), (20, 1), (21, 20), (10, 13)];
        assert_eq!(descendants(&all, 10), [11, 12, 13]);
        assert_eq!(descendants(&all, 21), [0; 0]);
    }

    #[test]
    fn our_own_time_is_counted() {
        let own = std::process::id();
        assert!(processes().iter().any(|(pid, _)| *pid == own), "/proc lists us");
        let before = cpu_ms_of(own);
        let mut x = 1_u64;
        while cpu_ms_of(own) - before < 5.0 {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(before > 0.0);
    }
}
