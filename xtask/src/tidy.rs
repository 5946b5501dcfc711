//! Rules about the code itself.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::root;

/// Crate → workspace crates, from `cargo metadata`, development dependencies left out.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let to = package["dependencies"].as_array().unwrap().iter().filter(|dependency| {
                // Ours are the ones with a path.
                dependency["path"].is_string() && dependency["kind"] != "dev"
            });
            let to = to.map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect();
            (package["name"].as_str().unwrap().to_owned(), to)
        })
        .collect()
}

/// The rows of the table in ARCHITECTURE.md whose heading has `may depend on`.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rows = text.lines().skip_while(|line| !line.contains("may depend on")).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let name = |text: &str| text.trim().trim_matches('`').to_owned();
            let to = cells[1].split(',').map(name).filter(|to| !matches!(to.as_str(), "" | "–")).collect();
            (name(cells[0]), to)
        })
        .collect()
}

#[test]
fn dependencies_follow_the_arrows_of_the_architecture() {
    let (arrows, allowed) = (arrows(), allowed());
    for (from, to) in &arrows {
        let may =
            allowed.get(from).unwrap_or_else(|| panic!("{from} is missing in ARCHITECTURE.md's arrow table"));
        let extra: Vec<_> = to.difference(may).collect();
        assert!(extra.is_empty(), "{from} depends on {extra:?}, which ARCHITECTURE.md does not allow");
    }
    let gone: Vec<_> = allowed.keys().filter(|name| !arrows.contains_key(*name)).collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md's arrow table names {gone:?}, which do not exist");
}

#[test]
fn heavy_dependencies_have_one_owner() {
    let owners = [("str0m", "transport"), ("openh264", "encode"), ("sqlx", "control"), ("glam", "scene")];
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let manifest = entry.unwrap().path().join("Cargo.toml");
        let text = std::fs::read_to_string(&manifest).unwrap();
        // What tests need beside the product does not count.
        let text = text.split("[dev-dependencies]").next().unwrap();
        for (dependency, owner) in owners {
            let has = text.lines().any(|line| line.starts_with(dependency));
            assert!(
                !has || manifest.parent().unwrap().ends_with(owner) || client_decodes(&manifest, dependency),
                "{} depends on {dependency}, which belongs to {owner}",
                manifest.display()
            );
        }
    }
}

/// The native client decodes what the host encodes.
fn client_decodes(manifest: &std::path::Path, dependency: &str) -> bool {
    dependency == "openh264" && manifest.parent().unwrap().ends_with("client")
}
