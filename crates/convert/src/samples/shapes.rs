//! Small models whose every part tells what and where it is.

use scene::math::{Affine3A, Mat3, Quat, Vec2, Vec3};
use serde_json::json;

use super::textures::Picture;
use crate::write::{Geometry, Glb};

/// The faces of a cube: outward normal, and up as seen from there.
const FACES: [(Vec3, Vec3); 6] = [
    (Vec3::X, Vec3::Y),
    (Vec3::NEG_X, Vec3::Y),
    (Vec3::Y, Vec3::NEG_Z),
    (Vec3::NEG_Y, Vec3::Z),
    (Vec3::Z, Vec3::Y),
    (Vec3::NEG_Z, Vec3::Y),
];

/// Colour (sRGB) of each face of [`marked_cube`], in the order +x, -x, +y, -y, +z, -z.
pub const FACE_COLORS: [[f32; 3]; 6] =
    [[0.9, 0.2, 0.2], [0.2, 0.9, 0.9], [0.2, 0.9, 0.2], [0.9, 0.2, 0.9], [0.2, 0.2, 0.9], [0.9, 0.9, 0.2]];

/// A face of the cube from -0.5 to 0.5, its image upright as seen from outside.
fn face(normal: Vec3, up: Vec3) -> Geometry {
    let right = up.cross(normal);
    let corner = |x: f32, y: f32| (normal + right * x + up * y) * 0.5;
    Geometry {
        positions: vec![corner(-1.0, -1.0), corner(1.0, -1.0), corner(1.0, 1.0), corner(-1.0, 1.0)],
        normals: vec![normal; 4],
        uv: vec![Vec2::Y, Vec2::ONE, Vec2::X, Vec2::ZERO],
        indices: vec![0, 1, 2, 0, 2, 3],
        ..Geometry::default()
    }
}

fn cube() -> Geometry {
    let mut all = Geometry::default();
    for (normal, up) in FACES {
        let one = face(normal, up);
        let first = u32::try_from(all.positions.len()).unwrap_or(0);
        all.indices.extend(one.indices.iter().map(|i| i + first));
        all.positions.extend(one.positions);
        all.normals.extend(one.normals);
        all.uv.extend(one.uv);
    }
    all
}

/// A cube from -0.5 to 0.5 whose faces have the colours [`FACE_COLORS`] and, seen from outside with the image upright,
/// a white square in the top left corner, a black one in the top right, and a grey one in the bottom left.
///
/// The up direction of the side faces is +y, of the top -z and of the bottom +z. Unlit, so colours come out as they are.
pub fn marked_cube() -> Vec<u8> {
    let mut glb = Glb::new();
    let mut parts = Vec::new();
    for ((normal, up), color) in FACES.into_iter().zip(FACE_COLORS) {
        let picture = Picture::from_fn(64, 64, |x, y| match (x < 0.25, x > 0.75, y < 0.25, y > 0.75) {
            (true, _, true, _) => Vec3::ONE,
            (_, true, true, _) => Vec3::ZERO,
            (true, _, _, true) => Vec3::splat(0.5),
            _ => Vec3::from_array(color),
        });
        let texture = glb.png("marks", &picture.png());
        let material = glb.material(json!({
            "name": format!("face {normal}"),
            "pbrMetallicRoughness": { "baseColorTexture": { "index": texture }, "metallicFactor": 0.0 },
            "extensions": { "KHR_materials_unlit": {} },
        }));
        parts.push((face(normal, up), Some(material)));
    }
    let parts: Vec<_> = parts.iter().map(|(geometry, material)| (geometry, *material)).collect();
    let mesh = glb.mesh("marked cube", &parts);
    glb.node("marked cube", None, Affine3A::IDENTITY, Some(mesh));
    glb.finish()
}

/// Three unit squares facing +z in a row along x, at -1.5, 0 and 1.5, before a dark wall at z = -1: opaque (red), masked
/// with vertex alpha that leaves the left half (green), blended at one half (blue).
pub fn alpha_modes() -> Vec<u8> {
    let mut glb = Glb::new();
    let square = face(Vec3::Z, Vec3::Y);
    let half = Geometry {
        colors: vec![[255; 4], [255, 255, 255, 0], [255, 255, 255, 0], [255; 4]],
        ..square.clone()
    };
    let wall = glb.material(json!({
        "name": "wall",
        "pbrMetallicRoughness": { "baseColorFactor": [0.05, 0.05, 0.05, 1.0], "metallicFactor": 0.0 },
    }));
    let wall = glb.mesh("wall", &[(&square, Some(wall))]);
    let transform = Affine3A::from_scale_rotation_translation(
        Vec3::new(6.0, 3.0, 1.0),
        Quat::IDENTITY,
        Vec3::new(0.0, 0.0, -1.5),
    );
    glb.node("wall", None, transform, Some(wall));
    for (name, color, mode, x) in [
        ("opaque", [0.8, 0.1, 0.1, 0.3], "OPAQUE", -1.5),
        ("mask", [0.1, 0.8, 0.1, 1.0], "MASK", 0.0),
        ("blend", [0.1, 0.1, 0.8, 0.5], "BLEND", 1.5),
    ] {
        let mut material = json!({
            "name": name,
            "pbrMetallicRoughness": { "baseColorFactor": color, "metallicFactor": 0.0 },
            "alphaMode": mode,
            "doubleSided": true,
        });
        if mode == "MASK" {
            material["alphaCutoff"] = json!(0.5);
        }
        let material = glb.material(material);
        let geometry = if mode == "MASK" { &half } else { &square };
        let mesh = glb.mesh(name, &[(geometry, Some(material))]);
        glb.node(name, None, Affine3A::from_translation(Vec3::new(x, 0.0, -0.5)), Some(mesh));
    }
    glb.finish()
}

/// A cube whose upper half (above y = 0) is red and whose lower half is blue: one mesh of two primitives.
pub fn two_materials() -> Vec<u8> {
    let mut glb = Glb::new();
    let mut halves = Vec::new();
    for (name, color, y) in [("red", [0.8, 0.05, 0.05, 1.0], 0.25), ("blue", [0.05, 0.05, 0.8, 1.0], -0.25)] {
        let material = glb.material(json!({
            "name": name,
            "pbrMetallicRoughness": { "baseColorFactor": color, "metallicFactor": 0.0, "roughnessFactor": 0.6 },
        }));
        let mut half = cube();
        let squash = Mat3::from_diagonal(Vec3::new(1.0, 0.5, 1.0));
        for position in &mut half.positions {
            *position = squash * *position + Vec3::Y * y;
        }
        halves.push((half, Some(material)));
    }
    let parts: Vec<_> = halves.iter().map(|(geometry, material)| (geometry, *material)).collect();
    let mesh = glb.mesh("halves", &parts);
    glb.node("two materials", None, Affine3A::IDENTITY, Some(mesh));
    glb.finish()
}

/// A chain of `depth` nodes, each a cube one metre to the right of its parent, turned by 10° about y and a tenth smaller.
pub fn hierarchy(depth: u32) -> Vec<u8> {
    let mut glb = Glb::new();
    let mesh = glb.mesh("cube", &[(&cube(), None)]);
    let step = Affine3A::from_scale_rotation_translation(
        Vec3::splat(0.9),
        Quat::from_rotation_y(10_f32.to_radians()),
        Vec3::X,
    );
    let mut parent = None;
    for n in 0..depth {
        let transform = if n == 0 { Affine3A::IDENTITY } else { step };
        parent = Some(glb.node(&format!("link {n}"), parent, transform, Some(mesh)));
    }
    glb.finish()
}
