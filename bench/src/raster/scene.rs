//! The mesh, textures and surroundings that all sides draw, as files for the peers.

use std::f32::consts::{PI, TAU};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use convert::samples;
use render::Sky;
use scene::math::{Vec3, Vec4};
use scene::{Image, Material, Model, TextureUse};
use serde_json::{Value, json};

/// Linear RGB of the plain material: far from the grey of our background and the blue of the peers'.
const PLAIN_COLOR: [f32; 3] = [0.8, 0.35, 0.2];
const PLAIN_ROUGHNESS: f32 = 0.5;

/// A sphere with bumps and three textures.
pub(super) fn textured(n_triangles: u32) -> Result<Model> {
    let glb = samples::bumpy_sphere(n_triangles, 1);
    Ok(convert::read_glb(&glb, &convert::Limits::default())?.model)
}

/// The same mesh in one plain material.
pub(super) fn plain(mut model: Model) -> Model {
    for material in &mut model.materials {
        *material = Material {
            base_color: Vec3::from(PLAIN_COLOR).extend(1.0),
            metallic: 0.0,
            roughness: PLAIN_ROUGHNESS,
            ..Material::default()
        };
    }
    model
}

/// Writes the model with its textures and the surroundings into `out`; gives the path of the JSON that names them.
///
/// All numbers are little-endian. The mesh is a u32 number of vertices, one of indices, then one after the other: positions
/// (3 x f32), normals (3), texture coordinates (2), tangents (4), and the indices (u32). Textures are rows from the top,
/// RGBA of 8 bits. The surroundings are rows from the bottom, 3 x f32, equirectangular: +x in the middle, +z a quarter to
/// the right.
pub(super) fn write(model: &Model, out: &Path) -> Result<PathBuf> {
    let mesh = out.join("bench-mesh.bin");
    write_mesh(model, &mesh)?;
    let [material] = model.materials.as_slice() else { bail!("the bench's model has one material") };
    let image = |name: &str, used: Option<TextureUse>| -> Result<Value> {
        let used = used.with_context(|| format!("the bench's model has a {name} texture"))?;
        let Image { width, height, rgba } =
            &*model.images[model.textures[used.texture as usize].image as usize];
        let path = out.join(format!("bench-{name}.rgba"));
        std::fs::write(&path, rgba)?;
        Ok(json!({ "path": path, "width": width, "height": height }))
    };
    let scene = json!({
        "mesh": mesh,
        "base": image("base", material.base_color_texture)?,
        "rough": image("rough", material.metallic_roughness_texture)?,
        "normal": image("normal", material.normal_texture)?,
        "normal_scale": material.normal_scale,
        "environment": write_surroundings(&out.join("bench-surroundings.bin"))?,
        "plain_color": PLAIN_COLOR,
        "plain_roughness": PLAIN_ROUGHNESS,
    });
    let path = out.join("bench-scene.json");
    std::fs::write(&path, scene.to_string())?;
    Ok(path)
}

fn write_mesh(model: &Model, path: &Path) -> Result<()> {
    let [mesh] = model.meshes.as_slice() else { bail!("the bench's model has one mesh") };
    let [primitive] = mesh.primitives.as_slice() else { bail!("the bench's mesh has one primitive") };
    let node = model.nodes.iter().position(|node| node.mesh.is_some()).context("a node shows the mesh")?;
    let world_from_mesh = model.world_from_node()[node];
    let turned = |v: Vec3| world_from_mesh.transform_vector3(v);
    let vertices = &primitive.vertices;
    let mut bytes = Vec::new();
    for count in [vertices.positions.len(), primitive.indices.len()] {
        bytes.extend(u32::try_from(count)?.to_le_bytes());
    }
    let mut put = |numbers: &[f32]| bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    vertices.positions.iter().for_each(|p| put(&world_from_mesh.transform_point3(*p).to_array()));
    vertices.normals.iter().for_each(|n| put(&turned(*n).to_array()));
    vertices.uv0.iter().for_each(|uv| put(&uv.to_array()));
    vertices.tangents.iter().for_each(|t| put(&Vec4::from((turned(t.truncate()), t.w)).to_array()));
    bytes.extend(primitive.indices.iter().flat_map(|index| index.to_le_bytes()));
    let n_vertices = vertices.positions.len();
    let expected = 8 + n_vertices * 48 + primitive.indices.len() * 4;
    if bytes.len() != expected {
        bail!("the bench's mesh has normals, texture coordinates and tangents");
    }
    std::fs::write(path, bytes)?;
    Ok(())
}

/// The light that our pictures are lit by.
fn write_surroundings(path: &Path) -> Result<Value> {
    const WIDTH: u16 = 512;
    const HEIGHT: u16 = 256;
    let mut bytes = Vec::new();
    for row in 0..HEIGHT {
        let pitch = ((f32::from(row) + 0.5) / f32::from(HEIGHT) - 0.5) * PI;
        for column in 0..WIDTH {
            let yaw = ((f32::from(column) + 0.5) / f32::from(WIDTH) - 0.5) * TAU;
            let toward = Vec3::new(yaw.cos() * pitch.cos(), pitch.sin(), yaw.sin() * pitch.cos());
            let light = render::sky_light(Sky::default(), toward).to_array();
            bytes.extend(light.into_iter().flat_map(f32::to_le_bytes));
        }
    }
    std::fs::write(path, bytes)?;
    Ok(json!({ "path": path, "width": WIDTH, "height": HEIGHT }))
}
