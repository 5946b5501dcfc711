//! KHR_draco_mesh_compression, with streams of Google's encoder.

use std::{collections::HashMap, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use convert::{Fault, Limits, Loaded, ReadError};
use proptest::{prelude::*, sample::Index};
use scene::{
    Model, Primitive, Vertices,
    math::{Vec2, Vec3},
};
use serde_json::{Value, json};

const SEQUENTIAL: &[u8] = include_bytes!("../data/draco/patch_sequential.drc");
const EDGEBREAKER: &[u8] = include_bytes!("../data/draco/patch_edgebreaker.drc");
const VALENCE: &[u8] = include_bytes!("../data/draco/patch_valence.drc");

/// A file with nothing but `stream` in it, which is said to have `n` vertices.
fn file(stream: &[u8], n: usize) -> Value {
    let accessor =
        |component: u32, kind: &str| json!({ "componentType": component, "type": kind, "count": n });
    json!({
        "asset": { "version": "2.0" },
        "extensionsUsed": ["KHR_draco_mesh_compression"],
        "extensionsRequired": ["KHR_draco_mesh_compression"],
        "scenes": [{ "nodes": [0] }],
        "nodes": [{ "mesh": 0 }],
        "meshes": [{ "primitives": [{
            "attributes": { "POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 2, "COLOR_0": 3 },
            "indices": 4,
            "extensions": { "KHR_draco_mesh_compression": {
                "bufferView": 0,
                "attributes": { "POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 2, "COLOR_0": 3 },
            } },
        }] }],
        "accessors": [
            accessor(5126, "VEC3"), accessor(5126, "VEC3"), accessor(5126, "VEC2"),
            { "componentType": 5121, "type": "VEC4", "count": n, "normalized": true },
            accessor(5123, "SCALAR"),
        ],
        "bufferViews": [{ "buffer": 0, "byteLength": stream.len() }],
        "buffers": [{
            "byteLength": stream.len(),
            "uri": format!("data:application/octet-stream;base64,{}", STANDARD.encode(stream)),
        }],
    })
}

fn read(json: &Value) -> Result<Loaded, ReadError> {
    convert::read_glb(json.to_string().as_bytes(), &Limits::default())
}

fn primitive(json: &Value) -> Primitive {
    let Loaded { mut model, warnings } = read(json).unwrap();
    assert_eq!(warnings, [""; 0]);
    model.meshes.remove(0).primitives.remove(0)
}

/// Asserts that `primitive` is the surface that was encoded, `side` squares wide.
fn assert_patch(primitive: &Primitive, side: u16) {
    let (n, side) = (usize::from(side), f32::from(side));
    let vertices = &primitive.vertices;
    assert_eq!(primitive.indices.len(), n * n * 6);
    assert_eq!(vertices.positions.len(), (n + 2) * (n + 1));
    // Half a step of 14 bits over the longest side, twice for rounding.
    let step = side / 16383.0;
    for (i, p) in vertices.positions.iter().enumerate() {
        let (x, y) = (p.x.round(), p.y.round());
        let (sx, cx) = (x * 0.7).sin_cos();
        let (sy, cy) = (y * 0.5).sin_cos();
        let want = Vec3::new(x, y, sx * cy);
        assert!((*p - want).abs().max_element() <= step, "{p} {want}");
        let normal = Vec3::new(-0.7 * cx * cy, 0.5 * sx * sy, 1.0).normalize();
        assert!(vertices.normals[i].angle_between(normal) < 0.01, "{p} {}", vertices.normals[i]);
        let uv = vertices.uv0[i];
        // The right half has the picture mirrored, so on the seam there are two vertices.
        let wanted = [Vec2::new(x / side, y / side), Vec2::new(1.5 - x / side, y / side)];
        let wanted = if x * 2.0 == side { &wanted[..] } else { &wanted[usize::from(x * 2.0 > side)..][..1] };
        assert!(wanted.iter().any(|want| (uv - want).abs().max_element() < 1.0 / 2048.0), "{p} {uv}");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
        let color = [(x as u32 * 31 % 256) as u8, (y as u32 * 29 % 256) as u8, 200, 255];
        assert_eq!(vertices.colors[i], color, "{p}");
    }
    let area: f32 = primitive
        .indices
        .chunks_exact(3)
        .map(|t| {
            let [a, b, c] = [t[0], t[1], t[2]].map(|i| vertices.positions[i as usize]);
            let up = (b - a).cross(c - a).z / 2.0;
            assert!(up > 0.4, "a triangle is turned or gone: {a} {b} {c}");
            up
        })
        .sum();
    assert!((area - side * side).abs() < 0.01, "{area}");
}

#[test]
fn every_connectivity_decodes_to_what_was_encoded() {
    assert_patch(&primitive(&file(SEQUENTIAL, 90)), 8);
    assert_patch(&primitive(&file(EDGEBREAKER, 90)), 8);
    assert_patch(&primitive(&file(VALENCE, 650)), 24);
}

#[test]
fn a_strip_is_triangles_like_any_other() {
    let mut json = file(EDGEBREAKER, 90);
    json["meshes"][0]["primitives"][0]["mode"] = json!(5);
    assert_patch(&primitive(&json), 8);
}

#[test]
fn what_is_not_in_the_stream_comes_from_accessors() {
    let colors: Vec<u8> = (0..90).flat_map(|i| [i, 1, 2, 3]).collect();
    let mut json = file(EDGEBREAKER, 90);
    let draco = &mut json["meshes"][0]["primitives"][0]["extensions"]["KHR_draco_mesh_compression"];
    draco["attributes"].as_object_mut().unwrap().remove("COLOR_0");
    json["buffers"].as_array_mut().unwrap().push(json!({
        "byteLength": 360, "uri": format!("data:;base64,{}", STANDARD.encode(&colors)),
    }));
    json["bufferViews"].as_array_mut().unwrap().push(json!({ "buffer": 1, "byteLength": 360 }));
    json["accessors"][3]["bufferView"] = json!(1);
    let primitive = primitive(&json);
    assert_eq!(primitive.vertices.colors.as_flattened(), colors);
    assert_eq!(primitive.vertices.positions.len(), 90);
}

#[test]
fn uncompressed_arrays_beside_a_stream_are_preferred() {
    // The stream is nonsense, and nobody looks.
    let mut bin: Vec<u8> =
        [0.0_f32, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    bin.extend([0, 1, 2, 0]);
    let mut json = file(&bin, 3);
    json.as_object_mut().unwrap().remove("extensionsRequired");
    json["bufferViews"] = json!([
        { "buffer": 0, "byteLength": 36 }, { "buffer": 0, "byteOffset": 36, "byteLength": 3 },
    ]);
    json["accessors"][0]["bufferView"] = json!(0);
    json["accessors"][1] = json!({ "bufferView": 1, "componentType": 5121, "type": "SCALAR", "count": 3 });
    let primitive_json = &mut json["meshes"][0]["primitives"][0];
    primitive_json["attributes"] = json!({ "POSITION": 0 });
    primitive_json["indices"] = json!(1);
    assert_eq!(primitive(&json).vertices.positions, [Vec3::ZERO, Vec3::X, Vec3::Y]);
}

#[test]
fn messages_name_the_extension_and_what_is_wrong() {
    let fault = |change: fn(&mut Value)| {
        let mut json = file(EDGEBREAKER, 90);
        change(&mut json);
        read(&json).unwrap_err()
    };
    fn draco(json: &mut Value) -> &mut Value {
        &mut json["meshes"][0]["primitives"][0]["extensions"]["KHR_draco_mesh_compression"]
    }
    for (error, words) in [
        (
            fault(|j| draco(j)["attributes"]["NORMAL"] = json!(17)),
            ["attributes.NORMAL", "no attribute with this id"],
        ),
        (
            fault(|j| draco(j)["attributes"]["TEXCOORD_0"] = json!(0)),
            ["attributes.TEXCOORD_0", "3 components"],
        ),
        (
            fault(|j| draco(j)["bufferView"] = json!(9)),
            ["KHR_draco_mesh_compression.bufferView", "buffer view 9"],
        ),
        (
            fault(|j| j["bufferViews"][0]["byteLength"] = json!(400)),
            ["KHR_draco_mesh_compression", "cannot be decoded"],
        ),
        (fault(|j| j["bufferViews"][0]["byteOffset"] = json!(1)), ["bufferViews[0]", "end after"]),
    ] {
        let message = error.to_string();
        assert!(matches!(error.fault, Fault::Damaged { .. }), "{message}");
        for word in words {
            assert!(message.contains(word), "{word:?} is not in {message:?}");
        }
    }
}

#[test]
fn a_stream_stays_within_the_limits() {
    let text = file(VALENCE, 650).to_string();
    let read = |limits: Limits| convert::read_glb(text.as_bytes(), &limits);
    assert!(read(Limits { vertices: 650, triangles: 1152, ..Limits::default() }).is_ok());
    for limits in [
        Limits { vertices: 649, ..Limits::default() },
        Limits { triangles: 1151, ..Limits::default() },
        Limits { mesh_bytes: 10_000, ..Limits::default() },
    ] {
        let error = read(limits).unwrap_err();
        assert!(matches!(error.fault, Fault::TooLarge { .. }), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_streams_are_refused_or_keep_the_rules(
        which in 0..3_usize,
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..6),
        end in prop::option::of(any::<Index>()),
    ) {
        let mut stream = [SEQUENTIAL, EDGEBREAKER, VALENCE][which].to_vec();
        for (at, value) in changes {
            // Half of them in the first bytes, where the counts are.
            let n = if value % 2 == 0 { stream.len() } else { 64 };
            stream[at.index(n)] = value;
        }
        if let Some(end) = end {
            stream.truncate(end.index(stream.len()).max(1));
        }
        let limits = Limits { vertices: 100_000, triangles: 100_000, ..Limits::default() };
        if let Ok(loaded) = convert::read_glb(file(&stream, 90).to_string().as_bytes(), &limits) {
            loaded.model.check().unwrap();
        }
    }
}

/// Position and normal of every vertex of every mesh, in cells of `size`.
fn cells(model: &Model, size: f32) -> HashMap<[i32; 3], Vec<(Vec3, Vec3)>> {
    let mut cells: HashMap<_, Vec<_>> = HashMap::new();
    for (mesh, from) in
        model.nodes.iter().zip(model.world_from_node()).filter_map(|(n, w)| Some((n.mesh?, w)))
    {
        for primitive in &model.meshes[mesh as usize].primitives {
            let Vertices { positions, normals, .. } = &primitive.vertices;
            for (p, n) in positions.iter().zip(normals) {
                let p = from.transform_point3(*p);
                let n = from.transform_vector3(*n).normalize();
                cells.entry(cell(p, size)).or_default().push((p, n));
            }
        }
    }
    cells
}

#[expect(clippy::cast_possible_truncation, reason = "the models are small")]
fn cell(p: Vec3, size: f32) -> [i32; 3] {
    (p / size).floor().to_array().map(|x| x as i32)
}

/// Google's compressor against the same models uncompressed, where the test data is.
#[test]
fn compressed_models_are_their_uncompressed_twins() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata/gltf/generated");
    if !folder.is_dir() {
        println!("SKIPPED: ../shared/testdata is not there");
        return;
    }
    let load = |name: &str| convert::read(&folder.join(name), &Limits::default(), &mut |_| ()).unwrap().model;
    // 14 bits: of 100 m; of the largest part, 8 m.
    for (plain, draco, tolerance) in [
        ("index_u32_terrain.glb", "index_u32_terrain_draco.glb", 100.0 / 16383.0),
        ("assembly.glb", "assembly_draco.glb", 12.0 / 16383.0),
    ] {
        let (plain, draco) = (load(plain), load(draco));
        assert_eq!(plain.triangles(), draco.triangles());
        assert_eq!(plain.nodes.len(), draco.nodes.len());
        for (from, to) in [(&plain, &draco), (&draco, &plain)] {
            let (from, to) = (cells(from, tolerance * 2.0), cells(to, tolerance * 2.0));
            let mut n_lost = 0;
            for (p, n) in from.values().flatten() {
                let near = (0..27).any(|i| {
                    let [x, y, z] = cell(*p, tolerance * 2.0);
                    let at = [x + i % 3 - 1, y + i / 3 % 3 - 1, z + i / 9 - 1];
                    let close =
                        |q: &(Vec3, Vec3)| (q.0 - *p).length() <= tolerance * 1.8 && q.1.dot(*n) > 0.999;
                    to.get(&at).is_some_and(|all| all.iter().any(close))
                });
                n_lost += usize::from(!near);
            }
            assert_eq!(n_lost, 0, "vertices without a twin");
        }
    }
}
