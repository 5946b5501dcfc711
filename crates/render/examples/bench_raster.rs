//! Measures frames of a camera that goes around a model.
//!
//! `cargo run --release -p render --example bench_raster -- [THREADS] [FRAMES] [SCENE…]`
//!
//! After the word `portable`, scenes are drawn as on a processor without AVX2, after `coarse` as under load. A scene is a number (a bumpy torus of so
//! many thousand triangles) or one of the names in [`scene`]. Prints median, least and most wall and CPU time (user and
//! system, all threads) per frame; then where the time went, by the renderer's own clock, and a checksum of all pictures,
//! by which two builds can be told to draw the same.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sizes of a few thousand")]

use std::f32::consts::TAU;
use std::num::NonZeroUsize;
use std::time::Instant;

use render::{Look, RenderScene, Renderer, StageTimes, View, Yuv420, frame_camera};
use scene::math::{Affine3A, Quat, Vec2, Vec3, Vec4};
use scene::{Material, Mesh, Model, Node, Primitive, Vertices};

use self::build::cube;

#[path = "../tests/it/build.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "the tests' shapes, of which one is used"
)]
mod build;

const HD: (u32, u32) = (1280, 720);
const FULL_HD: (u32, u32) = (1920, 1080);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().and_then(|n| n.parse().ok()).unwrap_or(default).max(1);
    let n_threads = NonZeroUsize::new(number(1)).unwrap_or(NonZeroUsize::MIN);
    let n_frames = number(90);
    let mut names: Vec<String> = arguments.collect();
    if names.is_empty() {
        names = ["100", "1000", "5000"].map(String::from).to_vec();
    }
    println!("{n_threads} threads, {n_frames} frames; ms per frame: median (least to most)");
    let (mut portable, mut coarse) = (false, false);
    for name in names {
        if name == "portable" {
            portable = true;
            continue;
        }
        if name == "coarse" {
            coarse = true;
            continue;
        }
        let Some(Orbit { model, nearer, swing, size }) = scene(&name) else {
            println!("there is no scene {name}");
            continue;
        };
        let before = Instant::now();
        let scene = RenderScene::build(&model, &mut |_| ()).expect("the models are well-formed");
        let build_s = before.elapsed().as_secs_f64();
        drop(model);
        println!("{name}: {} triangles, {} x {}, built in {build_s:.2} s", scene.triangles(), size.0, size.1);
        let view = |frame: usize| {
            let (eye, orientation, fov_y) = frame_camera(scene.bounds(), size.0 as f32 / size.1 as f32);
            let target = scene.bounds().map_or(Vec3::ZERO, |bounds| bounds.center());
            let angle = if swing > 0.0 {
                // From in front, to and fro.
                -35f32.to_radians() + swing * (frame as f32 * 0.1).sin()
            } else {
                frame as f32 * 2f32.to_radians()
            };
            let turn = Quat::from_rotation_y(angle);
            let (eye, orientation) = (target + turn * ((eye - target) * nearer), turn * orientation);
            View { eye, orientation, fov_y, width: size.0, height: size.1, look: Look::default() }
        };
        let mut renderer = if portable { Renderer::portable(n_threads) } else { Renderer::new(n_threads) };
        if coarse {
            renderer.set_motion_detail(render::MotionDetail::Coarse);
        }
        measure(&scene, &mut renderer, n_threads, n_frames, view);
    }
}

fn measure(
    scene: &RenderScene,
    renderer: &mut Renderer,
    n_threads: NonZeroUsize,
    n_frames: usize,
    view: impl Fn(usize) -> View,
) {
    let mut picture = Yuv420::default();
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    let mut stages = vec![Vec::new(); StageTimes::default().named().len()];
    let mut waiting = Vec::new();
    let mut stats = Default::default();
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    for frame in 0..n_frames + 5 {
        let (wall_before, cpu_before) = (Instant::now(), cpu_ms());
        stats = renderer.render(scene, &view(frame), &mut picture);
        // The first few warm up.
        if frame >= 5 {
            wall.push(wall_before.elapsed().as_secs_f64() * 1e3);
            cpu.push(cpu_ms() - cpu_before);
            for (stage, (_, time)) in stages.iter_mut().zip(stats.times.named()) {
                stage.push(time.as_secs_f64() * 1e3);
            }
            let spent = stats.times.total().as_secs_f64();
            waiting.push((stats.wall.as_secs_f64() * n_threads.get() as f64 - spent) * 1e3);
        }
        // FNV-1a by eights.
        for plane in [&picture.y, &picture.u, &picture.v] {
            for eight in plane.as_chunks::<8>().0 {
                sum = (sum ^ u64::from_le_bytes(*eight)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
    }
    // Pixels that are not background: those that differ from their row's first.
    let width = picture.width as usize;
    let rows = picture.y.chunks(width);
    let covered = rows.flat_map(|row| row.iter().map(|y| y.abs_diff(row[0]) > 2)).filter(|c| *c);
    let covered = covered.count() as f64 / picture.y.len() as f64;
    println!("  CPU {}  wall {}", spread(&mut cpu), spread(&mut wall));
    let by_stage: Vec<String> = StageTimes::default()
        .named()
        .iter()
        .zip(&mut stages)
        .map(|((name, _), ms)| format!("{name} {:.2}", median(ms)))
        .collect();
    println!("  {} · waiting {:.2}", by_stage.join(" · "), median(&mut waiting));
    println!(
        "  last picture: {:.0} % covered, {}k triangles in {} clusters, {} hidden; checksum {sum:016x}",
        covered * 100.0,
        stats.triangles / 1000,
        stats.clusters,
        stats.hidden,
    );
}

fn median(ms: &mut [f64]) -> f64 {
    ms.sort_by(f64::total_cmp);
    ms[ms.len() / 2]
}

fn spread(ms: &mut [f64]) -> String {
    let median = median(ms);
    format!("{median:6.2} ({:.2} to {:.2})", ms[0], ms[ms.len() - 1])
}

/// CPU time of this process so far.
fn cpu_ms() -> f64 {
    // Nanoseconds on a processor, first field, by thread.
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path.join("schedstat")).ok();
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let ns = tasks.filter_map(|task| read(task.path())?.split(' ').next()?.parse::<f64>().ok());
    ns.sum::<f64>() / 1e6
}

/// A model and the way around it.
struct Orbit {
    model: Model,
    /// Times the distance from which all would be seen.
    nearer: f32,
    /// Radians to either side of the front; 0: all the way around.
    swing: f32,
    size: (u32, u32),
}

/// What can be measured.
fn scene(name: &str) -> Option<Orbit> {
    let around = |model, nearer| Some(Orbit { model, nearer, swing: 0.0, size: HD });
    let one = |sheet: Sheet| model_of(vec![sheet.primitive(0)], vec![textured()]);
    if let Ok(thousands) = name.parse::<usize>() {
        return around(one(torus(thousands * 1000)), 0.62);
    }
    if let Some(words) = name.strip_prefix("ball-") {
        return ball(words);
    }
    match name {
        // The picture full of textured surface: from within a bumpy ball; of small triangles, four pixels each.
        "full-hd" | "full" | "full-fine" => {
            let ball = |u: f32, v: f32| {
                -4.0 * sphere_point(u, v) * (1.0 + 0.02 * (u * 40.0).sin() * (v * 30.0).sin())
            };
            let n_triangles = if name == "full-fine" { 2_500_000 } else { 100_000 };
            let model = one(Sheet::of(n_triangles, ball));
            let size = if name == "full-hd" { FULL_HD } else { HD };
            Some(Orbit { model, nearer: 0.05, swing: 0.0, size })
        }
        // Twenty balls, each within the next, of a million triangles together.
        "shells" => {
            let shells = (1..=20).map(|n| {
                let radius = n as f32 * 0.05;
                Sheet::of(50_000, move |u, v| sphere_point(u, v) * radius).primitive(0)
            });
            around(model_of(shells.collect(), vec![textured()]), 0.8)
        }
        // A million triangles behind a wall, which hides all of them.
        "wall" => {
            let wall = Sheet::of(20_000, |u, v| Vec3::new((u / TAU - 0.5) * 8.0, (0.5 - v / TAU) * 8.0, 1.6));
            let model = model_of(vec![torus(1_000_000).primitive(0), wall.primitive(0)], vec![textured()]);
            Some(Orbit { model, nearer: 0.5, swing: 0.2, size: HD })
        }
        // 400 rooms of one storey, each with four walls and something in it.
        "building" => around(building(), 0.7),
        // 100,000 boxes, each a node, or all of them in one mesh; 16 materials or one.
        "instances" => around(boxes(46, true), 0.6),
        "instances-one" => around(boxes(46, false), 0.6),
        // 10,000 balls of 100 triangles: with a material each, or one for all; in one mesh each.
        "materials" => around(balls(10_000, 10_000, false), 0.6),
        "materials-one" => around(balls(10_000, 1, false), 0.6),
        // 1,000 balls with an image of 64 x 64 each, and with one for all.
        "textures" => around(balls(1_000, 1_000, true), 0.6),
        "textures-one" => around(balls(1_000, 1, true), 0.6),
        _ => None,
    }
}

/// What `cargo xtask bench raster` draws over the full picture or as an object: "1000", "1000-plain", "100-object-hd" and
/// so on.
fn ball(words: &str) -> Option<Orbit> {
    let (thousands, words) = words.split_once('-').unwrap_or((words, ""));
    let glb = convert::samples::bumpy_sphere(thousands.parse::<u32>().ok()?.checked_mul(1000)?, 1);
    let mut model = convert::read_glb(&glb, &convert::Limits::default()).ok()?.model;
    if words.contains("plain") {
        let plain = Vec4::new(0.8, 0.35, 0.2, 1.0);
        for material in &mut model.materials {
            *material = Material { base_color: plain, metallic: 0.0, roughness: 0.5, ..Material::default() };
        }
    }
    let size = if words.contains("hd") { FULL_HD } else { HD };
    let nearer = if words.contains("object") { 1.0 } else { 0.3 };
    Some(Orbit { model, nearer, swing: 0.0, size })
}

/// A surface over (u, v), each from 0 to 2 pi, seen from where du x dv points.
struct Sheet {
    vertices: Vertices,
    indices: Vec<u32>,
}

impl Sheet {
    /// About `n_triangles`, smooth normals.
    fn of(n_triangles: usize, place: impl Fn(f32, f32) -> Vec3) -> Self {
        let across = ((n_triangles as f32 / 2.0 / 2.5).sqrt() as u32).max(4);
        let along = ((n_triangles as u32 / 2) / across).max(4);
        let mut vertices = Vertices::default();
        for i in 0..=along {
            for j in 0..=across {
                let (s, t) = (i as f32 / along as f32, j as f32 / across as f32);
                let (u, v) = (s * TAU, t * TAU);
                let e = 1e-3;
                let du = place(u + e, v) - place(u - e, v);
                let dv = place(u, v + e) - place(u, v - e);
                vertices.positions.push(place(u, v));
                vertices.normals.push(dv.cross(du).normalize_or(Vec3::Y));
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
        Self { vertices, indices }
    }

    fn primitive(self, material: u32) -> Primitive {
        Primitive { vertices: self.vertices, indices: self.indices, material }
    }
}

fn torus(n_triangles: usize) -> Sheet {
    Sheet::of(n_triangles, |u, v| {
        let bumps = 0.035 * (u * 23.0).sin() * (v * 9.0).sin() + 0.01 * (u * 71.0 + v * 40.0).sin();
        let (su, cu) = u.sin_cos();
        let (sv, cv) = v.sin_cos();
        let minor = 0.42 + bumps;
        Vec3::new((1.0 + minor * cv) * cu, minor * sv, (1.0 + minor * cv) * su)
    })
}

/// Of the unit ball; seen from outside.
fn sphere_point(u: f32, v: f32) -> Vec3 {
    let ((su, cu), (sv, cv)) = (u.sin_cos(), (v * 0.5).sin_cos());
    Vec3::new(sv * cu, -cv, sv * su)
}

/// 20 x 20 x 1 rooms, each with walls and a torus of 2,400 triangles, as instances.
fn building() -> Model {
    let things = [
        torus(2_400).primitive(0),
        Sheet::of(200, |u, v| Vec3::new(u / TAU * 4.0 - 2.0, 2.0 - v / TAU * 4.0, 2.0)).primitive(1),
    ];
    let mut model =
        model_of(things.to_vec(), vec![textured(), Material { double_sided: true, ..textured() }]);
    model.nodes.clear();
    for n in 0..400u32 {
        let (x, z) = ((n % 20) as f32 * 4.0, (n / 20) as f32 * 4.0);
        let node = |mesh, transform| Node {
            name: String::new(),
            parent: None,
            parent_from_node: Affine3A::from_translation(Vec3::new(x, 0.0, z)) * transform,
            mesh: Some(mesh),
        };
        model.nodes.push(node(0, Affine3A::IDENTITY));
        for turn in 0..4 {
            model.nodes.push(node(1, Affine3A::from_rotation_y(turn as f32 * TAU / 4.0)));
        }
    }
    model
}

/// `edge`³ boxes of 12 triangles in a loose lattice, 16 colours.
fn boxes(edge: u32, apart: bool) -> Model {
    let materials: Vec<Material> = (0..16)
        .map(|n| {
            let color = Vec4::new((n % 4) as f32 / 4.0 + 0.1, (n / 4) as f32 / 4.0 + 0.1, 0.5, 1.0);
            Material { base_color: color, metallic: 0.0, roughness: 0.5, ..Material::default() }
        })
        .collect();
    let meshes: Vec<Primitive> =
        (0..if apart { 16 } else { 1 }).map(|material| Primitive { material, ..cube() }).collect();
    let mut model = model_of(meshes, materials);
    let one = cube();
    let mut all = Primitive { vertices: Vertices::default(), indices: Vec::new(), material: 0 };
    model.nodes.clear();
    for n in 0..edge * edge * edge {
        let at = Vec3::new((n % edge) as f32, (n / edge % edge) as f32, (n / edge / edge) as f32) * 3.0;
        let place = Affine3A::from_rotation_translation(Quat::from_rotation_y(n as f32), at);
        if apart {
            model.nodes.push(Node {
                name: String::new(),
                parent: None,
                parent_from_node: place,
                mesh: Some(n % 16),
            });
        } else {
            let first = all.vertices.positions.len() as u32;
            all.indices.extend(one.indices.iter().map(|index| first + index));
            for (p, n) in one.vertices.positions.iter().zip(&one.vertices.normals) {
                all.vertices.positions.push(place.transform_point3(*p));
                all.vertices.normals.push(place.transform_vector3(*n));
            }
        }
    }
    if !apart {
        model = model_of(vec![all], vec![model.materials[0].clone()]);
    }
    model
}

/// `n` balls in a lattice of one node, a mesh each, with one of `n_materials`.
fn balls(n: u32, n_materials: u32, with_images: bool) -> Model {
    let edge = (f64::from(n)).cbrt().ceil() as u32;
    let balls = (0..n).map(|n| {
        let at = Vec3::new((n % edge) as f32, (n / edge % edge) as f32, (n / edge / edge) as f32) * 3.0;
        Sheet::of(100, |u, v| at + sphere_point(u, v)).primitive(n % n_materials)
    });
    let mut model = model_of(balls.collect(), Vec::new());
    for n in 0..n_materials {
        let color = Vec4::new((n % 7) as f32 / 7.0 + 0.1, (n % 11) as f32 / 11.0, 0.4, 1.0);
        let mut material =
            Material { base_color: color, metallic: 0.0, roughness: 0.4, ..Material::default() };
        if with_images {
            material.base_color_texture = sampled(n);
            let rgba = (0..64 * 64u32).flat_map(|at| [(at * (n + 3)) as u8, (at / 64 * 4) as u8, 90, 255]);
            model.images.push(std::sync::Arc::new(scene::Image {
                width: 64,
                height: 64,
                rgba: rgba.collect(),
            }));
            model.textures.push(scene::Texture { image: n, sampler: scene::Sampler::default() });
        }
        model.materials.push(material);
    }
    model
}

fn sampled(texture: u32) -> Option<scene::TextureUse> {
    Some(scene::TextureUse { texture, uv_set: 0, image_from_uv: scene::math::Affine2::IDENTITY })
}

/// Colour and roughness from the images of [`model_of`].
fn textured() -> Material {
    Material {
        base_color: Vec4::ONE,
        base_color_texture: sampled(0),
        metallic_roughness_texture: sampled(1),
        ..Material::default()
    }
}

/// A node and a mesh for each primitive; with two images, unless no material was given.
fn model_of(primitives: Vec<Primitive>, materials: Vec<Material>) -> Model {
    let image = |f: &dyn Fn(u32, u32) -> [u8; 4]| {
        let rgba = (0..512 * 512).flat_map(|n| f(n % 512, n / 512)).collect();
        std::sync::Arc::new(scene::Image { width: 512, height: 512, rgba })
    };
    let check = |x: u32, y: u32| (x / 64 + y / 64).is_multiple_of(2);
    let color = image(&|x, y| if check(x, y) { [214, 120, 60, 255] } else { [60, 130, 150, 255] });
    let rough =
        image(&|x, y| [0, if check(x, y) { 70 } else { 140 }, if check(x, y) { 0 } else { 255 }, 255]);
    let texture = |image| scene::Texture { image, sampler: scene::Sampler::default() };
    let with_images = !materials.is_empty();
    let node = |mesh| Node {
        name: String::new(),
        parent: None,
        parent_from_node: Affine3A::from_rotation_x(0.35),
        mesh: Some(mesh),
    };
    Model {
        nodes: (0..primitives.len() as u32).map(node).collect(),
        meshes: primitives
            .into_iter()
            .map(|primitive| Mesh { name: String::new(), primitives: vec![primitive] })
            .collect(),
        materials,
        textures: if with_images { vec![texture(0), texture(1)] } else { Vec::new() },
        images: if with_images { vec![color, rough] } else { Vec::new() },
        ..Model::default()
    }
}
