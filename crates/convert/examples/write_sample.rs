//! Writes a sample model: `cargo run -p convert --example write_sample -- NAME OUT.glb`.

use std::process::ExitCode;

use convert::samples;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, path] = arguments.as_slice() else {
        eprintln!(
            "usage: write_sample NAME OUT.glb\n  \
             NAME: demo, sphere:TRIANGLES[:SEED], marked-cube, alpha-modes, two-materials, hierarchy:DEPTH"
        );
        return ExitCode::FAILURE;
    };
    let mut parts = name.split(':');
    let kind = parts.next().unwrap_or_default();
    let mut number = |default: u32| parts.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let started = std::time::Instant::now();
    let bytes = match kind {
        "demo" => samples::demo(),
        "sphere" => samples::bumpy_sphere(number(100_000), number(1)),
        "marked-cube" => samples::marked_cube(),
        "alpha-modes" => samples::alpha_modes(),
        "two-materials" => samples::two_materials(),
        "hierarchy" => samples::hierarchy(number(8)),
        _ => {
            eprintln!("there is no sample named {name:?}");
            return ExitCode::FAILURE;
        }
    };
    let made = started.elapsed();
    if let Err(error) = std::fs::write(path, &bytes) {
        eprintln!("cannot write {path}: {error}");
        return ExitCode::FAILURE;
    }
    let started = std::time::Instant::now();
    match convert::read(path.as_ref(), &convert::Limits::default(), &mut |_| ()) {
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        Ok(loaded) => {
            println!(
                "{path}: {} bytes made in {made:.1?}, read in {:.1?}: {} triangles in {} nodes, {} materials, {} images",
                bytes.len(),
                started.elapsed(),
                loaded.model.triangles(),
                loaded.model.nodes.len(),
                loaded.model.materials.len(),
                loaded.model.images.len(),
            );
            loaded.warnings.iter().for_each(|warning| println!("warning: {warning}"));
            ExitCode::SUCCESS
        }
    }
}
