//! Draws models with Belvedere and with Cycles, Blender's path tracer, and says how different the pictures look.
//!
//! `cargo xtask compare [MODEL …]` runs it: same camera, same surroundings, same tone mapping. It writes both pictures
//! and prints a table of mean LDR-FLIP over the pixels that show the model: against Cycles where light passes the model
//! itself, and against the whole truth with its shadows and bounces, which we do not have.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "sizes of a few hundred"
)]

#[path = "../tests/it/flip.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod flip;

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use image::RgbImage;
use render::{Look, RenderScene, Renderer, Sky, View, frame_camera, sky_light};
use scene::Model;
use scene::math::{Quat, Vec3};
use serde_json::{Value, json};

const SIZE: (u32, u32) = (320, 240);
const SKY_SIZE: (u32, u32) = (1024, 512);
/// Of ours, and of each of Cycles' pixels.
const SAMPLES: (u32, u32) = (64, 128);
/// Means above this are named: texture filters and the remains of noise come to some 0.05.
const MEAN_MAX: f64 = 0.1;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(python), Some(folder)) = (args.next(), args.next()) else {
        return Err("usage: compare PYTHON FOLDER MODEL …".into());
    };
    std::fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let sky: Vec<u8> =
        sky().into_iter().flat_map(|light| light.to_array()).flat_map(f32::to_le_bytes).collect();
    std::fs::write(folder.join("sky.f32"), sky)?;

    let mut renderer = Renderer::new(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN));
    let mut pairs = Vec::new();
    let mut jobs = Vec::new();
    for path in args {
        let mut model = convert::read(&path, &convert::Limits::default(), &mut |_| ())?.model;
        model.lights.clear();
        let scene = RenderScene::build(&model, &mut |_| ())?;
        let view = framed(&scene);
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let ours = rgb(&renderer.still(&scene, &view, SAMPLES.0));
        save(&folder.join(format!("{name}.belvedere.png")), &ours)?;
        let to = [false, true].map(|occlusion| {
            let to = folder.join(format!("{name}.{}.f32", if occlusion { "whole" } else { "open" }));
            jobs.push(job(&path, &to, &view, &scene, occlusion));
            to
        });
        pairs.push((name, ours, to));
    }
    let empty = RenderScene::build(&Model::default(), &mut |_| ())?;
    let behind = rgb(&renderer.still(&empty, &framed(&empty), SAMPLES.0));

    let jobs = json!({
        "sky": folder.join("sky.f32"),
        "sky_size": [SKY_SIZE.0, SKY_SIZE.1],
        "samples": SAMPLES.1,
        "pictures": jobs,
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/cycles/draw.py");
    std::fs::write(folder.join("jobs.json"), jobs.to_string())?;
    let drawn =
        Command::new(python).arg(script).arg(folder.join("jobs.json")).stdout(Stdio::null()).status()?;
    if !drawn.success() {
        return Err("Cycles could not draw".into());
    }

    println!(
        "| model | pixels | mean FLIP, light unhindered | with shadows and bounces |\n|---|---|---|---|"
    );
    let mut too_different = Vec::new();
    for (name, ours, to) in pairs {
        let mut means = [0.0; 2];
        let mut share = 0.0;
        for (mean, path) in means.iter_mut().zip(&to) {
            let light = floats(&std::fs::read(path)?);
            let theirs: Vec<[u8; 3]> = light
                .as_chunks::<4>()
                .0
                .iter()
                .zip(&behind)
                .map(|(light, behind)| shown(*light, *behind))
                .collect();
            save(&path.with_extension("cycles.png"), &theirs)?;
            let differences = flip::flip(&theirs, &ours, SIZE.0 as usize).pixels;
            let pixels = differences.iter().zip(light.as_chunks::<4>().0).filter(|(_, light)| light[3] > 0.0);
            let seen: Vec<f64> = pixels.map(|(difference, _)| f64::from(*difference)).collect();
            *mean = seen.iter().sum::<f64>() / seen.len().max(1) as f64;
            share = seen.len() as f64 / differences.len() as f64;
        }
        println!("| {name} | {:.0} % | {:.3} | {:.3} |", share * 100.0, means[0], means[1]);
        if means[0] > MEAN_MAX {
            too_different.push(name);
        }
    }
    println!("\nPictures are in {}.", folder.display());
    if !too_different.is_empty() {
        println!("Above {MEAN_MAX}: {}.", too_different.join(", "));
    }
    Ok(())
}

fn framed(scene: &RenderScene) -> View {
    let (width, height) = SIZE;
    let (eye, orientation, fov_y) = frame_camera(scene.bounds(), width as f32 / height as f32);
    View { eye, orientation, fov_y, width, height, look: Look::default() }
}

/// Blender has z up, and importing glTF turns models accordingly.
fn in_blender(v: Vec3) -> Vec3 {
    Vec3::new(v.x, -v.z, v.y)
}

fn job(model: &Path, to: &Path, view: &View, scene: &RenderScene, occlusion: bool) -> Value {
    let axis = |v: Vec3| in_blender(Quat::mul_vec3(view.orientation, v));
    let columns = [axis(Vec3::X), axis(Vec3::Y), axis(Vec3::Z), in_blender(view.eye)];
    let row = |n: usize| columns.map(|column| column[n]);
    let radius = scene.bounds().map_or(1.0, |bounds| bounds.radius());
    json!({
        "model": model,
        "to": to,
        "world_from_camera": [row(0), row(1), row(2), [0.0, 0.0, 0.0, 1.0]],
        "fov_y": view.fov_y,
        "size": [view.width, view.height],
        "near": radius * 1e-2,
        "far": radius * 1e2,
        "occlusion": occlusion,
    })
}

/// The surroundings by longitude and latitude, from the bottom, as Blender maps them.
fn sky() -> Vec<Vec3> {
    let (width, height) = SKY_SIZE;
    let light = |n: u32| {
        let (u, v) = ((n % width) as f32 + 0.5, (n / width) as f32 + 0.5);
        let around = (0.5 - u / width as f32) * std::f32::consts::TAU;
        let up = (v / height as f32 - 0.5) * std::f32::consts::PI;
        let toward = Vec3::new(around.cos() * up.cos(), around.sin() * up.cos(), up.sin());
        sky_light(Sky::default(), Vec3::new(toward.x, toward.z, -toward.y))
    };
    (0..width * height).map(light).collect()
}

fn rgb(rgba: &[u8]) -> Vec<[u8; 3]> {
    rgba.as_chunks::<4>().0.iter().map(|&[r, g, b, _]| [r, g, b]).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect()
}

fn save(path: &Path, rgb: &[[u8; 3]]) -> Result<(), Box<dyn Error>> {
    RgbImage::from_raw(SIZE.0, SIZE.1, rgb.as_flattened().to_vec())
        .ok_or("a picture of the wrong size")?
        .save(path)?;
    Ok(())
}

/// Scene light over what is behind, as we show it: Khronos PBR Neutral, written from its specification, and sRGB.
fn shown([r, g, b, alpha]: [f32; 4], behind: [u8; 3]) -> [u8; 3] {
    let linear = |code: u8| {
        let x = f32::from(code) / 255.0;
        if x <= 0.04045 { x / 12.92 } else { ((x + 0.055) / 1.055).powf(2.4) }
    };
    let encoded = |x: f32| if x <= 0.003_130_8 { x * 12.92 } else { 1.055 * x.powf(1.0 / 2.4) - 0.055 };
    let light = neutral([r, g, b].map(|x| x / alpha.max(1e-6)));
    std::array::from_fn(|n| {
        let mixed = light[n] * alpha + linear(behind[n]) * (1.0 - alpha);
        (encoded(mixed.clamp(0.0, 1.0)) * 255.0 + 0.5) as u8
    })
}

fn neutral(light: [f32; 3]) -> [f32; 3] {
    const START: f32 = 0.8 - 0.04;
    let low = light.into_iter().fold(f32::INFINITY, f32::min);
    let offset = if low < 0.08 { low - 6.25 * low * low } else { 0.04 };
    let light = light.map(|x| x - offset);
    let peak = light.into_iter().fold(0.0, f32::max);
    if peak < START {
        return light;
    }
    let d = 1.0 - START;
    let new_peak = 1.0 - d * d / (peak + d - START);
    let fade = 1.0 - 1.0 / (0.15 * (peak - new_peak) + 1.0);
    light.map(|x| x * (new_peak / peak) * (1.0 - fade) + new_peak * fade)
}
