//! What is made from contracts and committed, so that a build needs no generator.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{root, target, tools};

/// Made files and folders, relative to the root.
const MADE: [&str; 4] =
    ["crates/protocol/src/live/rpc.rs", "api/openapi.json", "web/sdk/src/gen", "web/dist"];

/// Makes everything anew.
pub(crate) fn run() -> Result<()> {
    rpc()?;
    openapi()?;
    tools::npm()?;
    let web = root().join("web");
    for script in ["generate", "build"] {
        tools::run(
            Command::new("npm").args(["run", "--silent", script]).current_dir(&web).stdout(Stdio::null()),
        )?;
    }
    Ok(())
}

/// Fails, and says which, if what is committed is not what would be made.
pub(crate) fn check() -> Result<()> {
    let before = snapshot()?;
    run()?;
    let after = snapshot()?;
    let paths = before.keys().chain(after.keys());
    let stale: std::collections::BTreeSet<String> = paths
        .filter(|path| before.get(*path) != after.get(*path))
        .map(|path| path.display().to_string())
        .collect();
    if !stale.is_empty() {
        bail!("not fresh: {}; commit what `cargo xtask generate` makes", Vec::from_iter(stale).join(", "));
    }
    println!("generated files are fresh");
    Ok(())
}

/// Content of all made files.
fn snapshot() -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut todo: Vec<PathBuf> = MADE.iter().map(|made| root().join(made)).collect();
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                todo.push(entry?.path());
            }
        } else if path.exists() {
            let name = path.strip_prefix(root()).unwrap_or(&path).to_owned();
            files.insert(name, std::fs::read(&path)?);
        }
    }
    Ok(files)
}

/// Writes the Rust twin of `api/live.proto`.
fn rpc() -> Result<()> {
    let api = root().join("api");
    let descriptors = protox::compile(["live.proto"], [&api]).context("api/live.proto does not compile")?;
    let out = target().join(format!("generate-{}", std::process::id()));
    std::fs::create_dir_all(&out)?;
    prost_build::Config::new().out_dir(&out).compile_fds(descriptors)?;
    let made = std::fs::read_to_string(out.join("belvedere.live.v1.rs"))?;
    std::fs::remove_dir_all(&out)?;
    let path = root().join("crates/protocol/src/live/rpc.rs");
    std::fs::write(&path, format!("//! Messages of the `rpc` channel; see `api/live.proto`.\n\n{made}"))?;
    format(&path)
}

fn format(path: &Path) -> Result<()> {
    tools::run(Command::new("rustfmt").args(["--edition", "2024"]).arg(path))
}

/// Writes `api/openapi.json` as the binary describes itself.
fn openapi() -> Result<()> {
    let belvedere = tools::binary(false)?;
    let out = Command::new(belvedere).arg("openapi").output()?;
    if !out.status.success() {
        bail!("`belvedere openapi` failed: {}", String::from_utf8_lossy(&out.stderr));
    }
    std::fs::write(root().join("api/openapi.json"), out.stdout)?;
    Ok(())
}
