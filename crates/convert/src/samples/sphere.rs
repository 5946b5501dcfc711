//! A sphere with bumps, as fine as one likes.

use std::f32::consts::{PI, TAU};

use scene::math::{Affine3A, Vec2, Vec3};
use serde_json::json;

use super::{
    noise::{Random, tiled2, value3},
    textures::{self, Picture},
};
use crate::write::{Geometry, Glb};

/// A GLB of a bumpy sphere of radius 1 with base colour, metallic-roughness and normal textures: work for benchmarks.
///
/// It has `n_triangles` within 1 % (at least 48) and the same bytes for the same arguments.
pub fn bumpy_sphere(n_triangles: u32, seed: u32) -> Vec<u8> {
    let geometry = geometry(n_triangles, seed);
    let mut glb = Glb::new();
    let (base, rough, normal) = pictures(seed);
    let base = glb.png("rock colour", &base.png());
    let rough = glb.png("rock roughness", &rough.png());
    let normal = glb.png("rock normals", &normal.png());
    let material = glb.material(json!({
        "name": "rock",
        "pbrMetallicRoughness": {
            "baseColorTexture": { "index": base },
            "metallicRoughnessTexture": { "index": rough },
        },
        "normalTexture": { "index": normal, "scale": 0.7 },
    }));
    let mesh = glb.mesh("bumpy sphere", &[(&geometry, Some(material))]);
    glb.node("bumpy sphere", None, Affine3A::IDENTITY, Some(mesh));
    glb.finish()
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "grid sizes are small"
)]
fn geometry(n_triangles: u32, seed: u32) -> Geometry {
    // `rows` rings with twice as many columns; the first and last are fans.
    let rows = ((f64::from(n_triangles.max(48)) / 4.0).sqrt() + 0.5).round().max(3.0) as u32;
    let columns = (f64::from(n_triangles.max(48)) / f64::from(2 * (rows - 1))).round().max(4.0) as u32;
    let mut random = Random::new(seed);
    let offset = Vec3::new(random.unit(), random.unit(), random.unit()) * 64.0;
    let n = ((rows + 1) * (columns + 1)) as usize;
    let mut out = Geometry {
        positions: Vec::with_capacity(n),
        normals: Vec::with_capacity(n),
        tangents: Vec::with_capacity(n),
        uv: Vec::with_capacity(n),
        ..Geometry::default()
    };
    for row in 0..=rows {
        let v = row as f32 / rows as f32;
        let (ring, y) = (PI * v).sin_cos();
        for column in 0..=columns {
            let u = column as f32 / columns as f32;
            // The seam must close to the bit.
            let (sin, cos) = (TAU * (column % columns) as f32 / columns as f32).sin_cos();
            let pole = row == 0 || row == rows;
            let ring = if pole { 0.0 } else { ring };
            let direction = Vec3::new(ring * sin, y, ring * cos);
            let (mut radius, mut gradient) = (0.92, Vec3::ZERO);
            let (mut frequency, mut height) = (2.0, 0.06);
            for octave in 0..5 {
                let (value, slope) = value3(direction * frequency + offset, seed.wrapping_add(octave));
                radius += value * height;
                gradient += slope * (height * frequency);
                frequency *= 2.1;
                height *= 0.45;
            }
            let tangential = gradient - direction * direction.dot(gradient);
            let normal = (direction * radius - tangential).normalize();
            let east = Vec3::new(cos, 0.0, -sin);
            out.positions.push(direction * radius);
            out.normals.push(normal);
            out.tangents.push((east - normal * normal.dot(east)).normalize().extend(1.0));
            out.uv.push(Vec2::new(u * 4.0, v * 2.0));
        }
    }
    let at = |row: u32, column: u32| row * (columns + 1) + column;
    for row in 0..rows {
        for column in 0..columns {
            let (a, b) = (at(row, column), at(row, column + 1));
            let (c, d) = (at(row + 1, column), at(row + 1, column + 1));
            if row + 1 < rows {
                out.indices.extend([a, c, d]);
            }
            if row > 0 {
                out.indices.extend([a, d, b]);
            }
        }
    }
    out
}

/// Base colour, metallic-roughness and normals of a rock with metal veins.
fn pictures(seed: u32) -> (Picture, Picture, Picture) {
    const SIZE: u32 = 512;
    let height = textures::field(SIZE, |x, y| {
        let mut sum = 0.0;
        let (mut cells, mut weight) = (8_u32, 0.5);
        for octave in 0..4 {
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let n = cells as f32;
            sum += weight * tiled2(x * n, y * n, (cells, cells), seed ^ (octave * 77));
            cells *= 2;
            weight *= 0.5;
        }
        sum
    });
    let vein = |h: f32| (1.0 - (h - 0.47).abs() * 18.0).clamp(0.0, 1.0);
    let base = Picture::of(&height, |h| {
        let rock = Vec3::new(0.30, 0.27, 0.25) + Vec3::new(0.35, 0.30, 0.26) * h;
        rock.lerp(Vec3::new(0.93, 0.71, 0.36), vein(h))
    });
    let rough = Picture::of(&height, |h| Vec3::new(1.0, 0.85 - 0.5 * vein(h) - 0.2 * h, vein(h)));
    (base, rough, Picture::normals(&height, 6.0))
}
