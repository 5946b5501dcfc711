//! Primitives of every kind: indices, modes, sparse and quantized arrays, what is missing and what is broken.

use convert::{Limits, Loaded};
use meshopt::TangentOptions;
use scene::{
    Model,
    math::{Quat, Vec2, Vec3, Vec4},
};
use serde_json::{Value, json};

use crate::own::{add_accessor, model, read, triangle};

fn le<const N: usize, T: Copy>(values: &[T], bytes: fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|x| bytes(*x)).collect()
}

fn positions(model: &Model) -> &[Vec3] {
    &model.meshes[0].primitives[0].vertices.positions
}

#[test]
fn indices_of_every_type_mean_the_same() {
    for (component, bytes) in [
        (5121, vec![2_u8, 0, 1]),
        (5123, le(&[2, 0, 1], u16::to_le_bytes)),
        (5125, le(&[2, 0, 1], u32::to_le_bytes)),
    ] {
        let mut json = triangle(&bytes);
        add_accessor(
            &mut json,
            json!({ "bufferView": 1, "componentType": component, "type": "SCALAR", "count": 3 }),
        );
        json["meshes"][0]["primitives"][0]["indices"] = json!(1);
        assert_eq!(positions(&model(&json)), [Vec3::Y, Vec3::ZERO, Vec3::X]);
    }
    let mut json = triangle(&[0; 12]);
    add_accessor(&mut json, json!({ "bufferView": 1, "componentType": 5126, "type": "SCALAR", "count": 3 }));
    json["meshes"][0]["primitives"][0]["indices"] = json!(1);
    assert!(read(&json).unwrap_err().to_string().contains("indices are unsigned integers"));
}

/// Four corners of a square as a fresh array, without indices.
fn square(mode: u32) -> Value {
    let corners: Vec<u8> =
        le(&[0.0_f32, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0], f32::to_le_bytes);
    let mut json = triangle(&corners);
    json["accessors"] = json!([{ "bufferView": 1, "componentType": 5126, "type": "VEC3", "count": 4 }]);
    json["meshes"][0]["primitives"][0]["mode"] = json!(mode);
    json
}

#[test]
fn modes_work_without_indices() {
    let (o, x, y, xy) = (Vec3::ZERO, Vec3::X, Vec3::Y, Vec3::new(1.0, 1.0, 0.0));
    assert_eq!(positions(&model(&square(5))), [o, x, y, x, xy, y]);
    assert_eq!(positions(&model(&square(6))), [x, y, o, y, xy, o]);
    let Loaded { model, warnings } = read(&square(4)).unwrap();
    assert_eq!(positions(&model), [o, x, y]);
    assert!(warnings[0].contains("the last 1 indices make no triangle"), "{warnings:?}");
}

/// The signed volume of a closed surface, positive if its triangles face outward.
fn volume(primitive: &scene::Primitive) -> f32 {
    let corner = |i: u32| primitive.vertices.positions[i as usize];
    primitive.indices.chunks_exact(3).map(|t| corner(t[0]).dot(corner(t[1]).cross(corner(t[2]))) / 6.0).sum()
}

#[test]
fn points_become_small_solids_of_their_colors() {
    let mut json = square(0);
    let colors = [[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255], [9, 9, 9, 255_u8]];
    let mut more = le(&[0.0_f32, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0], f32::to_le_bytes);
    more.extend(colors.as_flattened());
    json["buffers"] = triangle(&more)["buffers"].clone();
    json["bufferViews"] = triangle(&more)["bufferViews"].clone();
    add_accessor(
        &mut json,
        json!({
            "bufferView": 1, "byteOffset": 48, "componentType": 5121, "type": "VEC4", "count": 4, "normalized": true,
        }),
    );
    json["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"] = json!(1);
    // Twice as large in the world: the size is a share of the model's, whatever its units.
    json["nodes"][0]["scale"] = json!([100.0, 100.0, 100.0]);
    let shown = model(&json);
    assert_eq!(shown.triangles(), 4 * 8);
    let primitive = &shown.meshes[0].primitives[0];
    assert!(shown.materials[primitive.material as usize].unlit, "without normals points are not lit");
    let radius = 0.0025 * 2.0_f32.sqrt();
    let corners = [Vec3::ZERO, Vec3::X, Vec3::Y, Vec3::new(1.0, 1.0, 0.0)];
    for (i, p) in primitive.vertices.positions.iter().enumerate() {
        assert!(((*p - corners[i / 6]).length() - radius).abs() < 1e-5, "{p}");
        assert_eq!(primitive.vertices.colors[i], colors[i / 6]);
    }
    assert!((volume(primitive) / (4.0 * 4.0 / 3.0 * radius.powi(3)) - 1.0).abs() < 1e-2);
}

#[test]
fn lines_become_rods_along_all_their_segments() {
    let (o, x, y, xy) = (Vec3::ZERO, Vec3::X, Vec3::Y, Vec3::new(1.0, 1.0, 0.0));
    for (mode, segments) in [
        (1, vec![(o, x), (y, xy)]),
        (2, vec![(o, x), (x, y), (y, xy), (xy, o)]),
        (3, vec![(o, x), (x, y), (y, xy)]),
    ] {
        let shown = model(&square(mode));
        assert_eq!(shown.triangles(), segments.len() as u64 * 6, "{mode}");
        let primitive = &shown.meshes[0].primitives[0];
        let radius = 0.0012 * 2.0_f32.sqrt();
        for (rod, (from, to)) in primitive.vertices.positions.chunks_exact(6).zip(segments) {
            for (corner, end) in rod.iter().zip([from, from, from, to, to, to]) {
                assert!(((*corner - end).length() - radius).abs() < 1e-5, "{corner} {end}");
                assert!((*corner - end).dot(to - from).abs() < 1e-6);
            }
        }
        for t in primitive.indices.chunks_exact(3) {
            let [a, b, c] = [t[0], t[1], t[2]].map(|i| primitive.vertices.positions[i as usize]);
            let normal: Vec3 = t.iter().map(|i| primitive.vertices.normals[*i as usize]).sum();
            assert!((b - a).cross(c - a).dot(normal) > 0.0, "a side faces inward");
        }
    }
}

#[test]
fn points_and_lines_keep_their_normals_share_meshes_and_are_bounded() {
    let mut json = square(0);
    json["meshes"][0]["primitives"] = json!([
        { "attributes": { "POSITION": 0 }, "mode": 5 },
        { "attributes": { "POSITION": 0, "NORMAL": 0 }, "mode": 0 },
        { "attributes": { "POSITION": 0, "NORMAL": 1 }, "mode": 0 },
    ]);
    json["accessors"] = json!([
        { "bufferView": 1, "componentType": 5126, "type": "VEC3", "count": 4 },
        { "bufferView": 1, "componentType": 5126, "type": "VEC3", "count": 4, "sparse": {
            "count": 1,
            "indices": { "bufferView": 0, "componentType": 5121 },
            "values": { "bufferView": 0, "byteOffset": 12 },
        } },
    ]);
    let shown = model(&json);
    let [square, no_normals, normals] = &shown.meshes[0].primitives[..] else { panic!("{:?}", shown.meshes) };
    assert_eq!((square.indices.len(), no_normals.indices.len(), normals.indices.len()), (6, 96, 96));
    // The first corner's normal is (0, 0, 0), so all are left out; then it is (1, 0, 0).
    let unlit = |p: &scene::Primitive| shown.materials[p.material as usize].unlit;
    assert!(unlit(no_normals) && !unlit(normals) && !unlit(square));
    assert_eq!(normals.vertices.normals[..12], [[Vec3::X; 6], [Vec3::X; 6]].concat());

    let text = json.to_string();
    let limits = Limits { triangles: 65, ..Limits::default() };
    let error = convert::read_glb(text.as_bytes(), &limits).unwrap_err();
    assert!(error.to_string().contains("more than 65 drawn triangles"), "{error}");
}

#[test]
fn points_and_lines_without_place_are_left_out() {
    for (mode, n_shown) in [(0, 3), (1, 1), (2, 2), (3, 2), (7, 0)] {
        let mut json = square(mode);
        let mut corners =
            le(&[0.0_f32, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0], f32::to_le_bytes);
        corners[44..48].copy_from_slice(&f32::NAN.to_le_bytes());
        json["buffers"] = triangle(&corners)["buffers"].clone();
        match read(&json) {
            Ok(loaded) => {
                assert_eq!(loaded.model.triangles(), n_shown * if mode == 0 { 8 } else { 6 }, "{mode}")
            }
            Err(error) => {
                assert!(mode == 7 && error.to_string().contains("modes are from 0 to 6"), "{error}")
            }
        }
    }
    // A line from a place to itself, and half a line.
    let mut json = triangle(&[0; 12]);
    json["accessors"][0]["count"] = json!(1);
    for mode in [1, 2, 3] {
        json["meshes"][0]["primitives"][0]["mode"] = json!(mode);
        let Loaded { model, warnings } = read(&json).unwrap();
        assert_eq!(model.triangles(), 0);
        assert!(warnings[0].contains("no points or lines"), "{warnings:?}");
    }
}

#[test]
fn sparse_arrays_need_no_base() {
    for (component, places) in [
        (5121, vec![1_u8, 2, 0, 0]),
        (5123, le(&[1, 2], u16::to_le_bytes)),
        (5125, le(&[1, 2], u32::to_le_bytes)),
    ] {
        let mut more = places;
        let values_at = more.len();
        more.extend(le(&[5.0_f32, 6.0, 7.0, 0.0, 8.0, 0.0], f32::to_le_bytes));
        let mut json = triangle(&more);
        json["accessors"][0].as_object_mut().unwrap().remove("bufferView");
        json["accessors"][0]["sparse"] = json!({
            "count": 2,
            "indices": { "bufferView": 1, "componentType": component },
            "values": { "bufferView": 1, "byteOffset": values_at },
        });
        let want = [Vec3::ZERO, Vec3::new(5.0, 6.0, 7.0), Vec3::Y * 8.0];
        assert_eq!(positions(&model(&json)), want, "{component}");
    }
}

#[test]
fn quantized_positions_and_normals_are_those_of_the_extension() {
    // Positions as bytes in a stride of four, normals normalized: KHR_mesh_quantization.
    let mut json =
        triangle(&[0, 0, 0, 99, 100, 0, 0, 99, 0, 200, 0, 99, 0, 0, 127, 0, 0, 0, 127, 0, 0, 0, 129, 0]);
    json["extensionsRequired"] = json!(["KHR_mesh_quantization"]);
    json["bufferViews"][1]["byteStride"] = json!(4);
    json["accessors"] = json!([
        { "bufferView": 1, "componentType": 5121, "type": "VEC3", "count": 3 },
        { "bufferView": 1, "byteOffset": 12, "componentType": 5120, "type": "VEC3", "count": 3, "normalized": true },
    ]);
    json["meshes"][0]["primitives"][0]["attributes"] = json!({ "POSITION": 0, "NORMAL": 1 });
    let vertices = model(&json).meshes[0].primitives[0].vertices.clone();
    assert_eq!(vertices.positions, [Vec3::ZERO, Vec3::X * 100.0, Vec3::Y * 200.0]);
    assert_eq!(vertices.normals, [Vec3::Z, Vec3::Z, Vec3::NEG_Z]);
}

#[test]
fn instances_have_all_three_transforms_in_small_integers_too() {
    // Quarter turn about z as normalized bytes; scale mirrored.
    let mut more = le(&[1.0_f32, 2.0, 3.0], f32::to_le_bytes);
    more.extend([0_i8, 0, 90, 90].map(i8::cast_unsigned));
    more.extend(le(&[2.0_f32, -3.0, 1.0], f32::to_le_bytes));
    let mut json = triangle(&more);
    for (offset, component, kind, normalized) in
        [(0, 5126, "VEC3", false), (12, 5120, "VEC4", true), (16, 5126, "VEC3", false)]
    {
        add_accessor(
            &mut json,
            json!({
                "bufferView": 1, "byteOffset": offset, "componentType": component, "type": kind, "count": 1,
                "normalized": normalized,
            }),
        );
    }
    json["nodes"][0]["extensions"] = json!({ "EXT_mesh_gpu_instancing": {
        "attributes": { "TRANSLATION": 1, "ROTATION": 2, "SCALE": 3, "_OTHER": 1 },
    } });
    let model = model(&json);
    let shown = model.nodes.iter().position(|node| node.mesh.is_some()).unwrap();
    let world = model.world_from_node()[shown];
    let turn = Quat::from_rotation_z(std::f32::consts::FRAC_PI_2);
    for p in [Vec3::X, Vec3::Y, Vec3::Z] {
        let want = turn * (p * Vec3::new(2.0, -3.0, 1.0)) + Vec3::new(1.0, 2.0, 3.0);
        assert!((world.transform_point3(p) - want).length() < 1e-5);
    }
    assert!(world.matrix3.determinant() < 0.0, "mirrored, so the renderer turns the triangles");
}

#[test]
fn triangles_without_area_stay_and_those_without_place_go() {
    // All three corners in one place: nothing to see, and nothing to trip over.
    let mut json = triangle(&[0; 36]);
    json["accessors"][0]["bufferView"] = json!(1);
    let loaded = model(&json);
    assert_eq!(loaded.triangles(), 1);
    assert!(loaded.meshes[0].primitives[0].vertices.normals.iter().all(|n| n.length() == 1.0));

    for bad in [f32::NAN, f32::INFINITY, f32::MAX, -3e38] {
        let mut json = square(5);
        let mut corners =
            le(&[0.0_f32, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0], f32::to_le_bytes);
        corners[44..48].copy_from_slice(&bad.to_le_bytes());
        let fresh = triangle(&corners);
        json["buffers"] = fresh["buffers"].clone();
        let Loaded { model, warnings } = read(&json).unwrap();
        assert_eq!(positions(&model), [Vec3::ZERO, Vec3::X, Vec3::Y], "{bad}");
        assert!(warnings[0].contains("1 triangles are not shown"), "{warnings:?}");
    }
}

/// Tangents against another implementation of MikkTSpace, over a surface with a mirrored half and a seam.
#[test]
fn tangents_are_those_of_mikktspace() {
    let n = 12_u16;
    let mut at = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..n * n {
        let (x, y) = (f32::from(i % n), f32::from(i / n));
        let (slope_x, slope_y) = (0.6 * (x * 0.6).cos(), -0.8 * (y * 0.8).sin());
        at.0.push([x, y, (x * 0.6).sin() + (y * 0.8).cos()]);
        at.1.push(Vec3::new(-slope_x, -slope_y, 1.0).normalize().to_array());
        // Turned, stretched, and mirrored from the middle on.
        let u = (x - 5.0).abs();
        at.2.push([u * 0.08 + y * 0.03, y * 0.05 - u * 0.02]);
    }
    let (points, normals, uv) = at;
    let side = u32::from(n);
    let indices: Vec<u32> = (0..(side - 1) * (side - 1))
        .flat_map(|i| {
            let a = i / (side - 1) * side + i % (side - 1);
            [a, a + 1, a + side, a + 1, a + side + 1, a + side]
        })
        .collect();
    let want = meshopt::generate_tangents(Some(&indices), &points, &normals, &uv, TangentOptions::Compatible);

    let count = points.len();
    let mut more = le(points.as_flattened(), f32::to_le_bytes);
    more.extend(le(normals.as_flattened(), f32::to_le_bytes));
    more.extend(le(uv.as_flattened(), f32::to_le_bytes));
    more.extend(le(&indices, u32::to_le_bytes));
    let mut json = triangle(&more);
    json["accessors"] = json!([
        { "bufferView": 1, "componentType": 5126, "type": "VEC3", "count": count },
        { "bufferView": 1, "byteOffset": count * 12, "componentType": 5126, "type": "VEC3", "count": count },
        { "bufferView": 1, "byteOffset": count * 24, "componentType": 5126, "type": "VEC2", "count": count },
        { "bufferView": 1, "byteOffset": count * 32, "componentType": 5125, "type": "SCALAR", "count": indices.len() },
    ]);
    json["meshes"][0]["primitives"] = json!([{
        "attributes": { "POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 2 }, "indices": 3, "material": 0,
    }]);
    json["materials"] = json!([{ "normalTexture": { "index": 0 } }]);
    json["textures"] = json!([{ "source": 0 }]);
    json["images"] = json!([{ "uri": PIXEL }]);
    let model = model(&json);
    let primitive = &model.meshes[0].primitives[0];
    assert_eq!(primitive.indices.len(), want.len());
    for (i, want) in primitive.indices.iter().zip(want) {
        // MikkTSpace has v pointing up, glTF down, and glTF's bitangent points up: the sign turns round.
        let want = Vec4::from_array(want) * Vec4::new(1.0, 1.0, 1.0, -1.0);
        let got = primitive.vertices.tangents[*i as usize];
        let angle = got.truncate().angle_between(want.truncate());
        assert!(
            got.w == want.w && angle < 0.01,
            "{got} {want} at {}",
            primitive.vertices.positions[*i as usize]
        );
    }
    assert!(primitive.vertices.positions.len() > count, "vertices on the mirror's line are doubled");
}

/// A grey PNG of 1 x 1.
const PIXEL: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==";

#[test]
fn given_tangents_are_kept_and_mended() {
    let mut more = le(&[0.0_f32, 0.0, 1.0].repeat(3), f32::to_le_bytes);
    more.extend([0; 24]);
    more.extend(le(&[0.0_f32, 2.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.3, 0.0, 0.0, 0.0, -7.0], f32::to_le_bytes));
    let mut json = triangle(&more);
    for (offset, kind) in [(0, "VEC3"), (36, "VEC2"), (60, "VEC4")] {
        add_accessor(
            &mut json,
            json!({ "bufferView": 1, "byteOffset": offset, "componentType": 5126, "type": kind, "count": 3 }),
        );
    }
    json["meshes"][0]["primitives"] = json!([{
        "attributes": { "POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 2, "TANGENT": 3 }, "material": 0,
    }]);
    json["materials"] = json!([{ "normalTexture": { "index": 0 } }]);
    json["textures"] = json!([{ "source": 0 }]);
    json["images"] = json!([{ "uri": PIXEL }]);
    let vertices = model(&json).meshes[0].primitives[0].vertices.clone();
    let [a, b, c] = vertices.tangents[..] else { panic!("{:?}", vertices.tangents) };
    assert_eq!((a, b), (Vec4::new(0.0, 1.0, 0.0, -1.0), Vec4::new(1.0, 0.0, 0.0, 1.0)));
    assert!(c.truncate().dot(Vec3::Z).abs() < 1e-6 && c.w == -1.0, "{c}");
    assert_eq!(vertices.uv0, [Vec2::ZERO; 3]);
}

#[test]
fn every_supported_extension_may_be_required_and_no_other() {
    let docs = include_str!("../../../../docs/gltf.md");
    for name in [
        "EXT_mesh_gpu_instancing",
        "EXT_meshopt_compression",
        "EXT_texture_webp",
        "KHR_draco_mesh_compression",
        "KHR_lights_punctual",
        "KHR_materials_clearcoat",
        "KHR_materials_emissive_strength",
        "KHR_materials_ior",
        "KHR_materials_pbrSpecularGlossiness",
        "KHR_materials_sheen",
        "KHR_materials_specular",
        "KHR_materials_transmission",
        "KHR_materials_unlit",
        "KHR_materials_volume",
        "KHR_mesh_quantization",
        "KHR_meshopt_compression",
        "KHR_texture_basisu",
        "KHR_texture_transform",
    ] {
        let mut json = triangle(&[]);
        json["extensionsRequired"] = json!([name]);
        assert_eq!(model(&json).triangles(), 1, "{name}");
        assert!(docs.contains(name), "{name} is not in docs/gltf.md");
    }
    let mut json = triangle(&[]);
    json["extensionsRequired"] = json!(["KHR_texture_basisu", "EXT_x\u{7}", "EXT_y"]);
    let error = convert::read_glb(json.to_string().as_bytes(), &Limits::default()).unwrap_err().to_string();
    assert_eq!(
        error,
        "model: the required extension EXT_x\\u{7} is not supported; export the model without it"
    );
}
