//! Measures what Belvedere promises, beside a peer where there is one.
//!
//! Run by `cargo xtask bench`, which builds the binary and installs the peers. Prints one table and writes the same
//! figures as JSON. Machines are noisy: times are medians with min and max, CPU time stands beside wall time, and a
//! comparison alternates between both sides within one run.

mod load;
mod raster;
mod server;
mod sessions;
mod stream;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::table::Table;

/// Programs and places, as `xtask` gives them.
pub(crate) struct Tools {
    /// The release binary.
    pub(crate) belvedere: PathBuf,
    /// A Python with numpy and vtk.
    pub(crate) python: PathBuf,
    /// The workspace's root.
    pub(crate) root: PathBuf,
    /// Where figures and meshes go.
    pub(crate) out: PathBuf,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = args.as_slice()
        && first == load::plane::CONTROL_PLANE
    {
        return load::plane::serve(rest);
    }
    let [belvedere, python, root, out, only @ ..] = args.as_slice() else {
        bail!(
            "usage: bench BELVEDERE PYTHON ROOT OUT [sessions|load|soak[=SECONDS]|stream|browser|raster[=WORD,…] …]; `cargo xtask bench` fills this in"
        );
    };
    let tools =
        Tools { belvedere: belvedere.into(), python: python.into(), root: root.into(), out: out.into() };
    let wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    let mut table = Table::default();
    let mut matrix = None;
    if let Some(words) = words_of("raster", only) {
        matrix = Some(raster::run(&tools, words).context("raster bench")?);
    }
    if wanted("sessions") {
        sessions::run(&tools, &mut table).context("sessions bench")?;
    }
    if wanted("load") {
        load::run(&mut table).context("load bench")?;
    }
    // Ten minutes are for those who ask.
    if let Some(secs) = words_of("soak", only).filter(|_| !only.is_empty()) {
        let secs = if secs.is_empty() { Ok(600) } else { secs.parse() };
        load::soak(secs.context("soak=SECONDS")?, &mut table).context("held load")?;
    }
    if wanted("stream") {
        stream::run(&tools, &mut table).context("stream bench")?;
    }
    if wanted("browser") {
        stream::browser(&tools, &mut table).context("browser bench")?;
    }
    if !table.is_empty() {
        print!("{table}");
    }
    if let Some(matrix) = &matrix {
        print!("{matrix}");
    }
    let figures = serde_json::json!({ "figures": table, "raster": matrix });
    std::fs::write(tools.out.join("bench.json"), serde_json::to_string_pretty(&figures)?)?;
    Ok(())
}

/// What follows `=` in `part=…` if that part is wanted: nothing for `part` alone, or where no part is named.
fn words_of<'a>(part: &str, only: &'a [String]) -> Option<&'a str> {
    let named = only.iter().find_map(|one| match one.split_once('=') {
        None => (one == part).then_some(""),
        Some((name, words)) => (name == part).then_some(words),
    });
    named.or(only.is_empty().then_some(""))
}

#[cfg(test)]
mod tests {
    use super::words_of;

    #[test]
    fn parts_are_named_with_and_without_words() {
        let args = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for (only, expected) in [
            (&[][..], Some("")),
            (&["raster"], Some("")),
            (&["load", "raster=720p,1000k"], Some("720p,1000k")),
            (&["load"], None),
            (&["rasters"], None),
        ] {
            assert_eq!(words_of("raster", &args(only)), expected, "{only:?}");
        }
    }
}
