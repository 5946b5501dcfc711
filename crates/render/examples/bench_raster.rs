//! Measures frames of an orbit around a bumpy torus.
//!
//! `cargo run --release -p render --example bench_raster -- [THREADS] [FRAMES] [THOUSANDS OF TRIANGLES…]`
//!
//! Prints median, least and most wall and CPU time (user and system, all threads) per frame.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sizes of a few thousand")]

use std::f32::consts::TAU;
use std::num::NonZeroUsize;
use std::time::Instant;

use render::{Look, RenderScene, Renderer, View, Yuv420, frame_camera};
use scene::math::{Affine3A, Quat, Vec2, Vec3, Vec4};
use scene::{Material, Mesh, Model, Node, Primitive, Vertices};

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|n| n.parse().ok()).collect();
    let n_threads = numbers.first().copied().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN);
    let n_frames = numbers.get(1).copied().unwrap_or(90).max(1);
    let sizes = if numbers.len() > 2 { &numbers[2..] } else { &[100, 1000, 5000][..] };
    println!("{n_threads} threads, 1280 x 720, {n_frames} frames; ms per frame: median (least to most)");
    for thousands in sizes {
        let model = torus(thousands * 1000);
        let before = Instant::now();
        let scene = RenderScene::build(&model, &mut |_| ()).expect("the torus is well-formed");
        let build_s = before.elapsed().as_secs_f64();
        drop(model);
        measure(&scene, n_threads, n_frames, build_s);
    }
}

fn measure(scene: &RenderScene, n_threads: NonZeroUsize, n_frames: usize, build_s: f64) {
    let mut renderer = Renderer::new(n_threads);
    let (width, height) = (1280, 720);
    let (eye, orientation, fov_y) = frame_camera(scene.bounds(), width as f32 / height as f32);
    let mut picture = Yuv420::default();
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    let mut stats = Default::default();
    for frame in 0..n_frames + 5 {
        let turn = Quat::from_rotation_y(frame as f32 * 2f32.to_radians());
        // Nearer than the whole torus would ask for.
        let (eye, orientation) = (turn * (eye * 0.62), turn * orientation);
        let view = View { eye, orientation, fov_y, width, height, look: Look::default() };
        let (wall_before, cpu_before) = (Instant::now(), cpu_ms());
        stats = renderer.render(scene, &view, &mut picture);
        // The first few warm up.
        if frame >= 5 {
            wall.push(wall_before.elapsed().as_secs_f64() * 1e3);
            cpu.push(cpu_ms() - cpu_before);
        }
    }
    // Pixels that are not background: those that differ from their row's first.
    let covered = picture
        .y
        .chunks(width as usize)
        .flat_map(|row| row.iter().map(|y| y.abs_diff(row[0]) > 2))
        .filter(|c| *c);
    let covered = covered.count() as f64 / picture.y.len() as f64;
    println!(
        "{:>9} triangles, {:>2.0} % covered: CPU {}  wall {}  drawn {}k, build {build_s:.2} s",
        scene.triangles(),
        covered * 100.0,
        spread(&mut cpu),
        spread(&mut wall),
        stats.triangles / 1000,
    );
}

fn spread(ms: &mut [f64]) -> String {
    ms.sort_by(f64::total_cmp);
    format!("{:6.2} ({:.2} to {:.2})", ms[ms.len() / 2], ms[0], ms[ms.len() - 1])
}

/// CPU time of this process so far.
fn cpu_ms() -> f64 {
    // Nanoseconds on a processor, first field, by thread.
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path.join("schedstat")).ok();
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let ns = tasks.filter_map(|task| read(task.path())?.split(' ').next()?.parse::<f64>().ok());
    ns.sum::<f64>() / 1e6
}

/// About `n_triangles`, smooth normals, colour and roughness textures.
fn torus(n_triangles: usize) -> Model {
    let across = ((n_triangles as f32 / 2.0 / 2.5).sqrt() as u32).max(8);
    let along = (n_triangles as u32 / 2) / across;
    let place = |u: f32, v: f32| {
        let bumps = 0.035 * (u * 23.0).sin() * (v * 9.0).sin() + 0.01 * (u * 71.0 + v * 40.0).sin();
        let (su, cu) = u.sin_cos();
        let (sv, cv) = v.sin_cos();
        let minor = 0.42 + bumps;
        Vec3::new((1.0 + minor * cv) * cu, minor * sv, (1.0 + minor * cv) * su)
    };
    let mut vertices = Vertices::default();
    for i in 0..=along {
        for j in 0..=across {
            let (s, t) = (i as f32 / along as f32, j as f32 / across as f32);
            let (u, v) = (s * TAU, t * TAU);
            let e = 1e-3;
            let du = place(u + e, v) - place(u - e, v);
            let dv = place(u, v + e) - place(u, v - e);
            vertices.positions.push(place(u, v));
            vertices.normals.push(dv.cross(du).normalize());
            vertices.uv0.push(Vec2::new(s * 6.0, t * 3.0));
        }
    }
    let mut indices = Vec::new();
    for i in 0..along {
        for j in 0..across {
            let a = i * (across + 1) + j;
            let b = a + across + 1;
            indices.extend([a, a + 1, b, a + 1, b + 1, b]);
        }
    }
    let image = |f: &dyn Fn(u32, u32) -> [u8; 4]| {
        let rgba = (0..512 * 512).flat_map(|n| f(n % 512, n / 512)).collect();
        std::sync::Arc::new(scene::Image { width: 512, height: 512, rgba })
    };
    let check = |x: u32, y: u32| (x / 64 + y / 64).is_multiple_of(2);
    let color = image(&|x, y| if check(x, y) { [214, 120, 60, 255] } else { [60, 130, 150, 255] });
    let rough =
        image(&|x, y| [0, if check(x, y) { 70 } else { 140 }, if check(x, y) { 0 } else { 255 }, 255]);
    let texture = |image| scene::Texture { image, sampler: scene::Sampler::default() };
    let sampled = |texture| {
        Some(scene::TextureUse { texture, uv_set: 0, image_from_uv: scene::math::Affine2::IDENTITY })
    };
    Model {
        nodes: vec![Node {
            name: String::new(),
            parent: None,
            parent_from_node: Affine3A::from_rotation_x(0.35),
            mesh: Some(0),
        }],
        meshes: vec![Mesh {
            name: String::new(),
            primitives: vec![Primitive { vertices, indices, material: 0 }],
        }],
        materials: vec![Material {
            base_color: Vec4::ONE,
            base_color_texture: sampled(0),
            metallic_roughness_texture: sampled(1),
            ..Material::default()
        }],
        textures: vec![texture(0), texture(1)],
        images: vec![color, rough],
        ..Model::default()
    }
}
