//! `cargo xtask generate`: what is made from contracts and committed, so that a build needs no generator.

use anyhow::{Context, Result};

use crate::root;

/// Writes `crates/protocol/src/live/rpc.rs` from `api/live.proto`.
pub(crate) fn run() -> Result<()> {
    let api = root().join("api");
    let descriptors = protox::compile(["live.proto"], [&api]).context("api/live.proto does not compile")?;
    let out = tempfile_dir()?;
    prost_build::Config::new().out_dir(&out).compile_fds(descriptors)?;
    let made = std::fs::read_to_string(out.join("belvedere.live.v1.rs"))?;
    std::fs::remove_dir_all(&out)?;
    let target = root().join("crates/protocol/src/live/rpc.rs");
    std::fs::write(&target, format!("//! Messages of the `rpc` channel; see `api/live.proto`.\n\n{made}"))?;
    Ok(())
}

fn tempfile_dir() -> Result<std::path::PathBuf> {
    let dir = root().join(format!("target/generate-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}
