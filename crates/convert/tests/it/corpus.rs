//! Models by others, with known counts and boxes, and broken ones with the outcome they must have.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use convert::{Limits, Loaded, ReadError};
use scene::{
    Aabb, Model,
    math::{DVec3, Vec3},
};
use serde::Deserialize;

/// Address space for reading the broken files: twice what the good files need.
const MEMORY_BYTES: u64 = 1 << 30;
const TIME: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct Entry {
    path: String,
    format: String,
    expect: Option<String>,
    #[serde(default)]
    also: Vec<String>,
    must: Option<String>,
    triangles: Option<u64>,
    #[serde(default)]
    points: Option<u64>,
    bbox: Option<[[f64; 3]; 2]>,
    #[serde(default)]
    features: Vec<String>,
}

impl Entry {
    fn allows(&self, outcome: &str) -> bool {
        self.expect.as_deref() == Some(outcome) || self.also.iter().any(|also| also == outcome)
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata")
}

/// glTF entries below `part`; `None`, said aloud, without the test data.
fn entries(part: &str) -> Option<Vec<Entry>> {
    let Ok(text) = std::fs::read_to_string(folder().join("manifest.json")) else {
        println!("SKIPPED: ../shared/testdata is not there");
        return None;
    };
    let all: Vec<Entry> = serde_json::from_str(&text).unwrap();
    let wanted = |e: &Entry| e.path.starts_with(part) && (e.format == "gltf" || e.format == "glb");
    let entries: Vec<Entry> = all.into_iter().filter(wanted).collect();
    assert!(entries.len() > 90, "the manifest has lost its entries below {part}");
    Some(entries)
}

fn read(entry: &Entry) -> (Result<Loaded, ReadError>, Duration) {
    let started = Instant::now();
    let result = convert::read(&folder().join(&entry.path), &Limits::default(), &mut |_| ());
    (result, started.elapsed())
}

/// The box of the drawn vertices, as tight as the manifest's.
fn bounds(model: &Model) -> Option<Aabb> {
    let mut all: Option<Aabb> = None;
    for (node, world_from_node) in model.nodes.iter().zip(model.world_from_node()) {
        let Some(mesh) = node.mesh else { continue };
        for primitive in &model.meshes[mesh as usize].primitives {
            let points: Vec<Vec3> =
                primitive.vertices.positions.iter().map(|p| world_from_node.transform_point3(*p)).collect();
            all = match (all, Aabb::of(&points)) {
                (Some(a), Some(b)) => Some(a.union(b)),
                (a, b) => a.or(b),
            };
        }
    }
    all
}

/// What is wrong with what was read, if anything.
fn complaint(entry: &Entry, result: &Result<Loaded, ReadError>) -> Option<String> {
    let name = Path::new(&entry.path).file_name().unwrap().to_string_lossy();
    match result {
        Err(error) => {
            let message = error.to_string();
            if !entry.allows("error") {
                Some(format!("refused: {message}"))
            } else if !message.starts_with(&*name) || message.len() < name.len() + 12 || message.len() > 500 {
                Some(format!("the message does not name the file and the reason: {message}"))
            } else {
                None
            }
        }
        Ok(loaded) => {
            if let Err(defect) = loaded.model.check() {
                return Some(format!("defect: {defect}"));
            }
            if bounds(&loaded.model).is_some_and(|b| !(b.max - b.min).length().is_finite()) {
                return Some("the box is not finite".to_owned());
            }
            let warned = !loaded.warnings.is_empty();
            if entry.allows("ok") || (entry.allows("warning") && warned) {
                None
            } else if entry.allows("warning") {
                Some("loaded without a warning".to_owned())
            } else {
                Some(format!("loaded, with the warnings {:?}", loaded.warnings))
            }
        }
    }
}

fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

/// One line for who looks (`cargo test -p convert corpus -- --nocapture`).
fn row(entry: &Entry, result: &Result<Loaded, ReadError>, time: Duration) -> String {
    let (outcome, triangles, said) = match result {
        Ok(loaded) if loaded.warnings.is_empty() => ("ok", loaded.model.triangles(), String::new()),
        Ok(loaded) => ("warning", loaded.model.triangles(), loaded.warnings[0].clone()),
        Err(error) => ("error", 0, error.to_string()),
    };
    let expect = entry.expect.as_deref().unwrap_or("-");
    let also = entry.also.join("/");
    let said: String = said.chars().take(100).collect();
    let ms = time.as_millis();
    format!("{outcome:8}{expect:8}{also:14}{triangles:>8}{ms:>6} ms  {}  {said}", entry.path)
}

#[test]
fn every_file_has_the_outcome_of_the_manifest() {
    let (Some(good), Some(broken)) = (entries("gltf/"), entries("broken/")) else { return };
    let mut complaints = Vec::new();
    println!("outcome expected or also    triangles");
    for entry in good.iter().chain(&broken) {
        let (result, time) = read(entry);
        println!("{}", row(entry, &result, time));
        let must = entry.must.as_deref().map(|must| format!(" (must: {must})")).unwrap_or_default();
        let mut say = |what: String| complaints.push(format!("{}: {what}{must}", entry.path));
        complaint(entry, &result).into_iter().for_each(&mut say);
        if time > TIME {
            say(format!("took {time:?}"));
        }
        let loaded = match result {
            Ok(loaded) => loaded,
            Err(error) => {
                let message = error.to_string();
                if message.contains("root:") {
                    say(format!("shows what is in a file outside: {message}"));
                }
                // The manifest allows readers without an extension to refuse it. This one has them all.
                if entry.path.starts_with("gltf/") && entry.expect.as_deref() == Some("ok") {
                    say(format!("refused: {message}"));
                }
                continue;
            }
        };
        let n_triangles = loaded.model.triangles();
        let n_points = entry.points.unwrap_or(0);
        // Points and lines become solids, by which the box grows.
        let only_triangles = n_points == 0 && !entry.features.iter().any(|f| f.contains("lines"));
        let tolerance = if only_triangles { 1e-5 } else { 6e-3 };
        match entry.triangles {
            Some(want) if only_triangles && n_triangles != want => {
                say(format!("{n_triangles} triangles, not {want}"));
            }
            Some(want) if n_triangles < want + n_points * 8 => {
                say(format!("{n_triangles} triangles for {want} and {n_points} points"));
            }
            _ => (),
        }
        if let Some([min, max]) = entry.bbox {
            let (min, max) = (DVec3::from_array(min), DVec3::from_array(max));
            let size = (max - min).length().max(min.abs().max(max.abs()).max_element());
            let near = |got: Vec3, want: DVec3| (got.as_dvec3() - want).length() <= size * tolerance;
            match bounds(&loaded.model) {
                Some(got) if near(got.min, min) && near(got.max, max) => (),
                got => say(format!("box {got:?}, not {min} to {max}")),
            }
        }
    }
    assert_none(&complaints);
}

/// What the manifest says in words about files that load.
#[test]
fn broken_files_that_load_show_what_is_left() {
    if entries("broken/").is_none() {
        return;
    }
    for (path, n_triangles, n_images, word) in [
        ("found/gltf/BoxBadNormals.glb", 12, 0, "normals"),
        ("generated/gltf/image_uris_outside.gltf", 84, 0, "images[6]"),
        ("generated/gltf/index_count_not_multiple_of_3.gltf", 11, 0, "make no triangle"),
        ("generated/gltf/scene_root_twice.gltf", 12, 0, "twice"),
        ("generated/gltf/nodes_cycle_apart_from_scene.gltf", 12, 0, "cycle"),
        ("generated/gltf/png_bomb_40000_squared.glb", 12, 0, "40000x40000"),
        ("generated/gltf/texcoord_set_missing.gltf", 12, 0, "TEXCOORD_"),
        ("generated/gltf/positions_nan.glb", 11, 0, "not shown"),
        ("generated/gltf/no_position.gltf", 0, 0, "POSITION"),
        ("generated/gltf/rotation_zero.gltf", 12, 0, "rotation"),
    ] {
        let path = folder().join("broken").join(path);
        let Loaded { model, warnings } = convert::read(&path, &Limits::default(), &mut |_| ()).unwrap();
        let name = path.display();
        assert_eq!(model.triangles(), n_triangles, "{name}: {warnings:?}");
        assert_eq!(model.images.len(), n_images, "{name}");
        assert!(warnings.iter().any(|w| w.contains(word)), "{name}: {warnings:?}");
    }
    for (path, n_images) in
        [("generated/gltf/png_text_bomb.glb", 1), ("generated/gltf/image_media_type_lies.glb", 1)]
    {
        let path = folder().join("broken").join(path);
        let loaded = convert::read(&path, &Limits::default(), &mut |_| ()).unwrap();
        assert_eq!(loaded.model.images.len(), n_images, "{}", path.display());
    }
}

/// Reads all broken files in a process that may not have more than [`MEMORY_BYTES`].
#[test]
fn broken_files_need_little_memory() {
    const ROLE: &str = "BELVEDERE_TEST_LITTLE_MEMORY";
    if entries("broken/").is_none() {
        return;
    }
    if std::env::var_os(ROLE).is_none() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "corpus::broken_files_need_little_memory", "--nocapture", "--test-threads=1"])
            .env(ROLE, "child")
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        println!("{out}");
        assert!(output.status.success(), "{out}\n{err}");
        assert!(out.contains("peak"), "the child has not come to its end: {out}");
        return;
    }
    let limit = rustix::process::Rlimit { current: Some(MEMORY_BYTES), maximum: Some(MEMORY_BYTES) };
    rustix::process::setrlimit(rustix::process::Resource::As, limit).unwrap();
    for entry in entries("broken/").unwrap() {
        let (result, _) = read(&entry);
        assert_eq!(complaint(&entry, &result), None, "{}", entry.path);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    println!("peak memory of all broken files: {peak}");
}
