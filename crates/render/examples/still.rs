//! Draws a model to a PNG; without one, a test scene: a grid of spheres, rougher to the right, metal in the front row.
//!
//! `cargo run --release -p render --example still -- [OUT.png] [MODEL.glb] [SAMPLES] [WIDTHxHEIGHT] [SKY] [aces]`, in any order;
//! skies are studio, day, overcast, dusk and even.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sizes of a few thousand")]

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use render::{Look, RenderScene, Renderer, Sky, ToneMapping, View, frame_camera};
use scene::math::{Affine3A, Vec2, Vec3, Vec4};
use scene::{Material, Mesh, Model, Node, Primitive, Vertices};

fn main() -> ExitCode {
    let (mut out, mut model) = (PathBuf::from("still.png"), None);
    let (mut n_samples, mut size, mut look) = (16, (1280, 720), Look::default());
    for arg in std::env::args_os().skip(1) {
        let text = arg.to_str().unwrap_or_default();
        if let Ok(n) = text.parse() {
            n_samples = n;
        } else if let Some((Ok(width), Ok(height))) =
            text.split_once('x').map(|(w, h)| (w.parse(), h.parse()))
        {
            size = (width, height);
        } else if let Some(sky) =
            Sky::ALL.into_iter().find(|sky| format!("{sky:?}").eq_ignore_ascii_case(text))
        {
            look.sky = sky;
        } else if text == "aces" {
            look.tone_mapping = ToneMapping::Aces;
        } else if text.ends_with(".png") {
            out = arg.into();
        } else {
            model = Some(PathBuf::from(arg));
        }
    }
    match draw(model, n_samples, size, look) {
        Ok(picture) => {
            picture.save(&out).expect("the picture can be written");
            println!("{}", out.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn draw(
    model: Option<PathBuf>,
    n_samples: u32,
    (width, height): (u32, u32),
    look: Look,
) -> Result<image::RgbaImage, Box<dyn std::error::Error>> {
    let model = match model {
        None => spheres(),
        Some(path) => {
            let loaded = convert::read(&path, &convert::Limits::default(), &mut |_| ())?;
            for warning in loaded.warnings {
                eprintln!("warning: {warning}");
            }
            loaded.model
        }
    };
    let scene = RenderScene::build(&model, &mut |_| ())?;
    let (eye, orientation, fov_y) = frame_camera(scene.bounds(), width as f32 / height as f32);
    let view = View { eye, orientation, fov_y, width, height, look };
    let n_threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let rgba = Renderer::new(n_threads).still(&scene, &view, n_samples);
    image::RgbaImage::from_raw(width, height, rgba).ok_or_else(|| "sizes go from 16x16 to 4096x4096".into())
}

fn spheres() -> Model {
    let mut model = Model { meshes: vec![], ..Model::default() };
    let columns = 7u8;
    for row in 0..3u8 {
        for column in 0..columns {
            let roughness = f32::from(column) / f32::from(columns - 1);
            let (base_color, metallic) = match row {
                0 => (Vec4::new(0.95, 0.64, 0.37, 1.0), 1.0),
                1 => (Vec4::new(0.03, 0.03, 0.035, 1.0), 0.0),
                _ => (Vec4::new(0.72, 0.05, 0.04, 1.0), 0.0),
            };
            model.materials.push(Material { base_color, metallic, roughness, ..Material::default() });
            let material = u32::from(row) * u32::from(columns) + u32::from(column);
            model.meshes.push(Mesh { name: String::new(), primitives: vec![sphere(material)] });
            let at =
                Vec3::new(f32::from(column) * 1.15 - 3.45, f32::from(row) * 0.35, f32::from(row) * -1.25);
            model.nodes.push(node(at, material));
        }
    }
    let floor = u32::from(columns) * 3;
    model.materials.push(Material {
        base_color: Vec4::new(0.55, 0.55, 0.56, 1.0),
        metallic: 0.0,
        roughness: 0.45,
        ..Material::default()
    });
    let positions = [(-4.5, 1.2), (4.5, 1.2), (4.5, -4.0), (-4.5, -4.0)].map(|(x, z)| Vec3::new(x, -0.5, z));
    let vertices =
        Vertices { positions: positions.to_vec(), normals: vec![Vec3::Y; 4], ..Vertices::default() };
    let primitive = Primitive { vertices, indices: vec![0, 1, 2, 0, 2, 3], material: floor };
    model.meshes.push(Mesh { name: String::new(), primitives: vec![primitive] });
    model.nodes.push(node(Vec3::ZERO, floor));
    model
}

fn node(at: Vec3, mesh: u32) -> Node {
    let parent_from_node = Affine3A::from_translation(at);
    Node { name: String::new(), parent: None, parent_from_node, mesh: Some(mesh) }
}

fn sphere(material: u32) -> Primitive {
    let (rings, segments) = (48u32, 96u32);
    let mut vertices = Vertices::default();
    for ring in 0..=rings {
        for segment in 0..=segments {
            let (v, u) = (ring as f32 / rings as f32, segment as f32 / segments as f32);
            let (st, ct) = (v * std::f32::consts::PI).sin_cos();
            let (sp, cp) = (u * std::f32::consts::TAU).sin_cos();
            let n = Vec3::new(st * sp, ct, st * cp);
            vertices.positions.push(n * 0.5);
            vertices.normals.push(n);
            vertices.uv0.push(Vec2::new(u, v));
        }
    }
    let mut indices = Vec::new();
    for ring in 0..rings {
        for segment in 0..segments {
            let a = ring * (segments + 1) + segment;
            let b = a + segments + 1;
            indices.extend([a, b, a + 1, a + 1, b, b + 1]);
        }
    }
    Primitive { vertices, indices, material }
}
