//! `cargo xtask sanitize`: the renderer's unit tests under AddressSanitizer, which stops at the first byte that is read or
//! written beyond what it belongs to.
//!
//! `unsafe` in the renderer is vector kernels (`crates/render/src/simd`) and the pool of threads. The tests run every kernel by the
//! scalar twin's side and draw whole pictures, with AVX2 and with plain arrays. The C++ that the crate links is checked, too.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{root, target, tools};

/// Builds apart from all else, below `target/sanitize`, and runs.
///
/// # Errors
/// A test failed, or touched what it must not.
pub(crate) fn run() -> Result<()> {
    let host = told(&["-vV"])?.lines().find_map(|line| line.strip_prefix("host: ").map(str::to_owned));
    let host = host.context("rustc does not say for which host it is")?;
    let lib = PathBuf::from(told(&["--print", "sysroot"])?).join("lib/rustlib").join(&host).join("lib");
    // Named after the channel: librustc-stable_rt.asan.a.
    let has_runtime = std::fs::read_dir(&lib)
        .with_context(|| format!("{}", lib.display()))?
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().ends_with("_rt.asan.a"));
    if !has_runtime {
        println!(
            "SKIPPED: this Rust has no AddressSanitizer for {host}: there is no *_rt.asan.a in {}",
            lib.display()
        );
        return Ok(());
    }
    #[cfg(target_arch = "x86_64")]
    if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
        println!("SKIPPED: the AVX2 kernels: this processor cannot run them");
    }
    tools::run(
        Command::new(env!("CARGO"))
            .args(["test", "--package", "render", "--lib", "--target", &host, "--target-dir"])
            .arg(target().join("sanitize"))
            // The option is not stable, the runtime comes with every toolchain.
            .env("RUSTC_BOOTSTRAP", "1")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env("RUSTFLAGS", "-Zsanitizer=address --cfg sanitized")
            // Variables of C++ that a compiler put in two places count as two with the same name.
            .env("ASAN_OPTIONS", "detect_odr_violation=0")
            .current_dir(root()),
    )
}

/// What rustc says.
fn told(args: &[&str]) -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&rustc).args(args).current_dir(root()).output();
    let output = output.with_context(|| format!("{} cannot be started", rustc.display()))?;
    if !output.status.success() {
        bail!("{} {} ended with {}", rustc.display(), args.join(" "), output.status);
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
