//! Chores of the project, run as `cargo xtask COMMAND`.
//!
//! | command | does |
//! |---|---|
//! | `test` | runs every test there is, installs what they need below `target/`, ends with `N passed, N failed` |
//! | `bench` | measures, prints one table, writes `target/bench.json`; parts: `raster` (all of its matrix, or `raster=WORD,…` as in `raster=1000k,720p`), `sessions`, `load`, `stream`, `browser`, and `soak` or `soak=SECONDS` when asked for |
//! | `compare` | draws ten models of `../shared/testdata`, or those named, with us and with Blender's path tracer, and says how different they look |
//! | `sanitize` | runs the renderer's unit tests under AddressSanitizer, in minutes |
//! | `generate` | writes what is made from contracts and committed: `crates/protocol/src/live/rpc.rs`, `api/openapi.json`, `web/dist` |
//! | `fresh` | fails if `generate` would change anything |
//! | `setup` | installs what `test` and `bench` need, and nothing else |

mod generate;
mod sanitize;
mod suites;
mod tools;

#[cfg(test)]
mod tidy;

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["test"] => suites::run(),
        ["bench", only @ ..] => bench(only),
        ["compare", models @ ..] => compare(models),
        ["sanitize"] => sanitize::run(),
        ["generate"] => generate::run(),
        ["fresh"] => generate::check(),
        ["setup"] => tools::setup(),
        _ => usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Builds and runs the bench; `only` names the parts to run.
fn bench(only: &[&str]) -> Result<()> {
    // Peers are installed only where they are wanted.
    let wanted = |part: &str| only.is_empty() || only.iter().any(|one| one.split('=').next() == Some(part));
    if wanted("browser") {
        tools::npm()?;
        tools::chromium()?;
    }
    let mut python = "python3".into();
    if wanted("raster") {
        python = tools::bench_python()?;
        tools::bench_npm()?;
        tools::chromium()?;
    }
    let (belvedere, bench) = (tools::binary(true)?, tools::build("bench", true)?);
    tools::run(Command::new(bench).arg(belvedere).arg(python).arg(root()).arg(target()).args(only))
}

/// What `compare` draws: one thing each, without skins, which Blender poses.
const COMPARED: [&str; 10] = [
    "khronos/BoxTextured-glTF-Binary/BoxTextured.glb",
    "khronos/CesiumMilkTruck.glb",
    "khronos/ClearCoatTest/ClearCoatTest.gltf",
    "khronos/TextureTransformTest/TextureTransformTest.gltf",
    "khronos/SheenChair_MixedLighting/MixedLightingExample.gltf",
    "webxr/generic-trigger-squeeze-thumbstick-left.glb",
    "webxr/hp-mixed-reality-left.glb",
    "webxr/oculus-touch-left.glb",
    "generated/material_extensions.glb",
    "cad/featuretype.glb",
];

/// Compares pictures with those of Cycles.
fn compare(models: &[&str]) -> Result<()> {
    let models: Vec<_> = if models.is_empty() {
        let folder = tools::testdata().context("../shared/testdata is absent; name models")?.join("gltf");
        COMPARED.iter().map(|model| folder.join(model)).collect()
    } else {
        models.iter().map(std::path::PathBuf::from).collect()
    };
    let python = tools::python(&["numpy", "bpy==4.5.15"])?;
    let compare = tools::example("render", "compare")?;
    tools::run(Command::new(compare).arg(python).arg(target().join("compare")).args(models))
}

fn usage() -> Result<()> {
    bail!(
        "usage: cargo xtask test | bench [PART …] | compare [MODEL …] | sanitize | generate | fresh | setup"
    )
}

/// The workspace's root.
fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned()
}

/// Where cargo builds; everything that chores install or write goes below it.
fn target() -> std::path::PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into)
}
