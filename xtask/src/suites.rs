//! `cargo xtask test`: every suite, one closing line.
//!
//! What a suite says goes to `target/tests/SUITE.log`, and to the terminal if there is one. Elsewhere, as in CI, only
//! what was skipped and what failed is shown, so that the reason is found in a few lines.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{root, target, tools};

/// What a suite, or all of them, came to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Runs everything.
///
/// # Errors
/// A test failed, or a suite did not run.
pub(crate) fn run() -> Result<()> {
    tools::setup()?;
    if tools::testdata().is_none() {
        println!("SKIPPED: ../shared/testdata is absent; tests over its models are left out");
    }
    let web = root().join("web");
    let mut all = Tally::default();
    all.add(suite(
        "rust",
        Command::new(env!("CARGO"))
            .args([
                "test",
                "--workspace",
                "--quiet",
                "--no-fail-fast",
                "--",
                "--show-output",
                "--format=pretty",
            ])
            .env("PATH", tools::with_unpacked_programs())
            .current_dir(root()),
    )?);
    all.add(suite("web", Command::new("npm").args(["run", "--silent", "check"]).current_dir(&web))?);
    let belvedere = tools::binary(false)?;
    let control_plane = tools::example("testkit", "control_plane")?;
    let python = tools::conformance_python()?;
    for name in ["conformance/python", "conformance/openapi"] {
        all.add(suite(
            name,
            Command::new(&python)
                // Microsoft's asynchronous client leaves connections open.
                .args(["-W", "ignore::ResourceWarning", "-m", "unittest", "-v"])
                .current_dir(root().join(name))
                .env("BELVEDERE_BIN", &belvedere)
                .env("BELVEDERE_CONTROL_PLANE", &control_plane),
        )?);
    }
    all.add(suite(
        "conformance/node",
        Command::new("node")
            // Two at a time: one waits half a minute for the clock.
            .args(["--test", "--test-reporter=tap", "--test-concurrency=2"])
            .current_dir(root().join("conformance/node"))
            .env("BELVEDERE_BIN", &belvedere),
    )?);
    match tools::maven() {
        Ok(()) => all.add(suite(
            "conformance/java",
            Command::new("mvn")
                .args(["--batch-mode", "--no-transfer-progress", "test"])
                .current_dir(root().join("conformance/java"))
                .env("BELVEDERE_BIN", &belvedere)
                .env("BELVEDERE_CONTROL_PLANE", &control_plane),
        )?),
        Err(error) => {
            println!("SKIPPED: conformance/java: {error:#}");
            all.skipped += 1;
        }
    }
    all.add(suite(
        "browser",
        Command::new("node")
            .arg("e2e/run.mjs")
            .current_dir(&web)
            .env("BELVEDERE_BIN", &belvedere)
            .env("CHROMIUM", tools::chromium()?),
    )?);
    let Tally { passed, failed, skipped } = all;
    match skipped {
        0 => println!("{passed} passed, {failed} failed"),
        _ => println!("{passed} passed, {failed} failed, {skipped} skipped"),
    }
    if failed > 0 {
        bail!("{failed} tests failed");
    }
    Ok(())
}

/// Lines of a failed suite that are shown where its runner does not mark what failed.
const TAIL: usize = 200;

/// Runs one suite, keeps its output, shows what matters of it, and counts by the closing lines of its runner.
fn suite(name: &str, command: &mut Command) -> Result<Tally> {
    let started = Instant::now();
    println!("── {name}");
    let folder = target().join("tests");
    std::fs::create_dir_all(&folder)?;
    let log = folder.join(format!("{}.log", name.replace('/', "-")));
    let mut kept = BufWriter::new(File::create(&log)?);
    let all_is_shown = std::io::stdout().is_terminal();
    let (reader, writer) = std::io::pipe()?;
    let mut child = command
        .stdin(Stdio::null())
        .stderr(writer.try_clone()?)
        .stdout(writer)
        .spawn()
        .with_context(|| format!("suite {name}: {command:?} cannot be started"))?;
    // The command keeps write ends of the pipe; as long as it does, reading does not end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut tally = Tally::default();
    let mut lines = Vec::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        writeln!(kept, "{line}")?;
        if all_is_shown || line.starts_with("SKIPPED:") {
            println!("{line}");
        }
        tally.add(count(&line));
        lines.push(line);
    }
    kept.flush()?;
    let status = child.wait()?;
    if !status.success() && tally.failed == 0 {
        // It fell over outside of a test, in building for example.
        tally.failed = 1;
        println!("suite {name} ended with {status} without naming a failed test");
    }
    if tally.failed > 0 && !all_is_shown {
        for line in what_failed(&lines) {
            println!("{line}");
        }
    }
    if tally.failed > 0 {
        println!("everything it said: {}", log.display());
    }
    if tally == Tally::default() {
        bail!("suite {name} ran no test: {}", log.display());
    }
    println!(
        "── {name}: {} passed, {} failed, {} skipped in {:.0} s",
        tally.passed,
        tally.failed,
        tally.skipped,
        started.elapsed().as_secs_f32()
    );
    Ok(tally)
}

/// The parts of a suite's output that tell what failed: cargo's and TAP's own blocks, else the last lines.
fn what_failed(lines: &[String]) -> Vec<&str> {
    let mut shown = Vec::new();
    let mut within: Option<fn(&str) -> bool> = None;
    for line in lines.iter().map(String::as_str) {
        let text = line.trim();
        if within.is_none() {
            if text == "failures:" {
                within = Some(|text| text.starts_with("test result:"));
            } else if text.starts_with("not ok") {
                within = Some(|text| text == "...");
            }
        }
        if let Some(ends) = within {
            shown.push(line);
            if ends(text) {
                within = None;
            }
        }
    }
    if shown.is_empty() {
        shown.extend(lines[lines.len().saturating_sub(TAIL)..].iter().map(String::as_str));
    }
    shown
}

/// What one line of output says about tests.
///
/// | runner | line |
/// |---|---|
/// | cargo | `test result: ok. 12 passed; 0 failed; 1 ignored; …` |
/// | vitest | `Tests  12 passed \| 1 skipped (13)` |
/// | unittest | `Ran 5 tests in 2.1s`, then `FAILED (failures=1, errors=2)` or `OK (skipped=1)` |
/// | Node | `# pass 5`, `# fail 1` and `# skipped 0`, each on a line |
/// | Maven Surefire | `[INFO] Tests run: 5, Failures: 1, Errors: 2, Skipped: 0`, and with a time for each class |
/// | ours | `12 passed, 0 failed, 1 skipped`, and `SKIPPED: why` by a test that passes |
fn count(line: &str) -> Tally {
    let line = strip_colors(line);
    let line = line.trim();
    let number = |word: &str| -> u64 {
        let before = line.split_once(word).map_or("", |(before, _after)| before).trim_end();
        let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        digits.parse().unwrap_or(0)
    };
    let after = |word: &str| -> u64 {
        let rest = line.split_once(word).map_or("", |(_before, after)| after);
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().parse().unwrap_or(0)
    };
    if line.starts_with("test result:") {
        Tally { passed: number("passed"), failed: number("failed"), skipped: number("ignored") }
    } else if line.starts_with("SKIPPED:") {
        Tally { skipped: 1, ..Tally::default() }
    } else if let Some((what, n)) = line.strip_prefix("# ").and_then(|rest| rest.split_once(' ')) {
        let n = n.parse().unwrap_or(0);
        match what {
            "pass" => Tally { passed: n, ..Tally::default() },
            "fail" | "cancelled" => Tally { failed: n, ..Tally::default() },
            "skipped" => Tally { skipped: n, ..Tally::default() },
            _ => Tally::default(),
        }
    } else if let Some((_level, counts)) = line.split_once("Tests run: ") {
        if counts.contains("Time elapsed") {
            return Tally::default();
        }
        let (failed, skipped) = (after("Failures: ") + after("Errors: "), after("Skipped: "));
        Tally { passed: after("Tests run: ").saturating_sub(failed + skipped), failed, skipped }
    } else if line.starts_with("Tests ") || (line.contains(" passed, ") && line.contains(" failed")) {
        Tally { passed: number("passed"), failed: number("failed"), skipped: number("skipped") }
    } else if line.starts_with("Ran ") && line.contains(" test") {
        Tally { passed: number("test"), ..Tally::default() }
    } else if line.starts_with("FAILED (") {
        let failed = after("failures=") + after("errors=");
        Tally { failed, ..Tally::default() }
    } else {
        Tally::default()
    }
}

fn strip_colors(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_code, rest)| rest);
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_found() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let cargo = "test a ... ok\nfailures:\n\n---- b stdout ----\nno\n\nfailures:\n    b\n\ntest result: FAILED. 1\nrunning 0";
        assert_eq!(
            what_failed(&lines(cargo)).join("\n"),
            "failures:\n\n---- b stdout ----\nno\n\nfailures:\n    b\n\ntest result: FAILED. 1"
        );
        let tap = "ok 1 - a\nnot ok 2 - b\n  ---\n  error: 'no'\n  ...\nok 3 - c";
        assert_eq!(what_failed(&lines(tap)).join("\n"), "not ok 2 - b\n  ---\n  error: 'no'\n  ...");
        let other: Vec<String> = (0..500).map(|n| n.to_string()).collect();
        assert_eq!(what_failed(&other), &other[500 - TAIL..]);
    }

    #[test]
    fn closing_lines_of_all_runners_count() {
        let tally = |passed, failed, skipped| Tally { passed, failed, skipped };
        for (line, expected) in [
            ("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out", tally(12, 0, 1)),
            ("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured", tally(3, 2, 0)),
            ("      Tests  12 passed | 1 skipped (13)", tally(12, 0, 1)),
            (
                "\u{1b}[2m      Tests \u{1b}[22m \u{1b}[1m\u{1b}[31m2 failed\u{1b}[39m | 4 passed (6)",
                tally(4, 2, 0),
            ),
            ("9 passed, 1 failed, 2 skipped", tally(9, 1, 2)),
            ("Ran 7 tests in 12.3s", tally(7, 0, 0)),
            ("FAILED (failures=1, errors=2)", tally(0, 3, 0)),
            ("[ERROR] Tests run: 9, Failures: 1, Errors: 2, Skipped: 3", tally(3, 3, 3)),
            (
                "[INFO] Tests run: 5, Failures: 0, Errors: 0, Skipped: 0, Time elapsed: 4 s -- in A",
                tally(0, 0, 0),
            ),
            ("# pass 12", tally(12, 0, 0)),
            ("# fail 2", tally(0, 2, 0)),
            ("# skipped 1", tally(0, 0, 1)),
            ("# Subtest: pass 3", tally(0, 0, 0)),
            ("SKIPPED: ../shared/testdata is absent", tally(0, 0, 1)),
            ("test a::b ... ok", tally(0, 0, 0)),
            ("all 12 passed", tally(0, 0, 0)),
        ] {
            assert_eq!(count(line), expected, "{line}");
        }
    }
}
