//! EXT_meshopt_compression and KHR_meshopt_compression: every mode and filter, encoded here.

use base64::{Engine, engine::general_purpose::STANDARD};
use convert::{Fault, Limits, Loaded, ReadError};
use meshopt::EncodeExpMode;
use proptest::{prelude::*, sample::Index};
use scene::{
    Primitive,
    math::{Quat, Vec3},
};
use serde_json::{Value, json};

const SIDE: u16 = 9;

/// A hill of 9 x 9 vertices.
fn hill() -> Vec<[f32; 3]> {
    let at = |i: u16| {
        let (x, y) = (f32::from(i % SIDE), f32::from(i / SIDE));
        [x, y, 4.0 - (x - 4.0).hypot(y - 4.0)]
    };
    (0..SIDE * SIDE).map(at).collect()
}

fn triangles() -> Vec<u32> {
    let side = u32::from(SIDE);
    (0..(side - 1) * (side - 1))
        .flat_map(|i| {
            let a = i / (side - 1) * side + i % (side - 1);
            [a, a + 1, a + side, a + 1, a + side + 1, a + side]
        })
        .collect()
}

/// A file in the making: one buffer of compressed views, and one that only others would read.
struct File {
    extension: &'static str,
    bin: Vec<u8>,
    views: Vec<Value>,
    accessors: Vec<Value>,
}

impl File {
    fn new(extension: &'static str) -> Self {
        Self { extension, bin: Vec::new(), views: Vec::new(), accessors: Vec::new() }
    }

    /// Adds an accessor over compressed bytes; returns its index.
    fn add(&mut self, packed: &[u8], count: usize, stride: usize, how: [&str; 2], accessor: Value) -> usize {
        self.bin.resize(self.bin.len().next_multiple_of(4), 0);
        let [mode, filter] = how;
        self.views.push(json!({
            "buffer": 1, "byteLength": count * stride,
            "extensions": { self.extension: {
                "buffer": 0, "byteOffset": self.bin.len(), "byteLength": packed.len(), "byteStride": stride,
                "mode": mode, "filter": filter, "count": count,
            } },
        }));
        self.bin.extend(packed);
        let mut accessor = accessor;
        accessor["bufferView"] = json!(self.views.len() - 1);
        accessor["count"] = json!(count);
        self.accessors.push(accessor);
        self.accessors.len() - 1
    }

    fn attributes<T>(&mut self, values: &[T], version: i32, filter: &str, accessor: Value) -> usize {
        let packed = meshopt::encode_vertex_buffer_level(values, 3, Some(version)).unwrap();
        self.add(&packed, values.len(), size_of::<T>(), ["ATTRIBUTES", filter], accessor)
    }

    fn json(&self, primitive: Value) -> Value {
        json!({
            "asset": { "version": "2.0" },
            "extensionsUsed": [self.extension, "KHR_mesh_quantization"],
            "extensionsRequired": [self.extension, "KHR_mesh_quantization"],
            "scenes": [{ "nodes": [0] }],
            "nodes": [{ "mesh": 0 }],
            "meshes": [{ "primitives": [primitive] }],
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [
                {
                    "byteLength": self.bin.len(),
                    "uri": format!("data:application/octet-stream;base64,{}", STANDARD.encode(&self.bin)),
                },
                // Nobody may look for it.
                { "byteLength": 1 << 20, "uri": "not-there.bin", "extensions": { self.extension: { "fallback": true } } },
            ],
        })
    }
}

fn read(json: &Value) -> Result<Loaded, ReadError> {
    convert::read_glb(json.to_string().as_bytes(), &Limits::default())
}

fn primitive(json: &Value) -> Primitive {
    let Loaded { mut model, warnings } = read(json).unwrap();
    assert_eq!(warnings, [""; 0]);
    model.meshes.remove(0).primitives.remove(0)
}

const VEC3: (u32, &str) = (5126, "VEC3");

fn accessor((component, kind): (u32, &str), normalized: bool) -> Value {
    json!({ "componentType": component, "type": kind, "normalized": normalized })
}

/// The hill with filtered attributes of `version` of the vertex codec.
fn filtered(extension: &'static str, version: i32, wide: bool) -> Value {
    let mut file = File::new(extension);
    let hill = hill();
    let normals: Vec<[f32; 4]> = hill
        .iter()
        .map(|p| Vec3::new(p[0] - 4.0, p[1] - 4.0, 3.0).normalize().extend(0.0).to_array())
        .collect();
    let exp = meshopt::encode_filter_exp(&hill, 20, EncodeExpMode::SharedVector);
    let position = file.attributes(&exp, version, "EXPONENTIAL", accessor(VEC3, false));
    let normal = if wide {
        let oct: Vec<[i16; 4]> = meshopt::encode_filter_oct(&normals, 14);
        file.attributes(&oct, version, "OCTAHEDRAL", accessor((5122, "VEC3"), true))
    } else {
        let oct: Vec<[i8; 4]> = meshopt::encode_filter_oct(&normals, 8);
        file.attributes(&oct, version, "OCTAHEDRAL", accessor((5120, "VEC3"), true))
    };
    let mut attributes = json!({ "POSITION": position, "NORMAL": normal });
    if extension.starts_with("KHR") {
        let colors: Vec<[f32; 4]> = hill.iter().map(|p| [p[0] / 8.0, p[1] / 8.0, 0.5, 1.0]).collect();
        let color = if wide {
            let ycocg: Vec<[u16; 4]> = meshopt::encode_filter_color(&colors, 16);
            file.attributes(&ycocg, version, "COLOR", accessor((5123, "VEC4"), true))
        } else {
            let ycocg: Vec<[u8; 4]> = meshopt::encode_filter_color(&colors, 8);
            file.attributes(&ycocg, version, "COLOR", accessor((5121, "VEC4"), true))
        };
        attributes["COLOR_0"] = json!(color);
    }
    let indices = triangles();
    let packed = meshopt::encode_index_buffer(&indices, hill.len()).unwrap();
    let size = if wide { 4 } else { 2 };
    let component = if wide { 5125 } else { 5123 };
    let indices =
        file.add(&packed, indices.len(), size, ["TRIANGLES", "NONE"], accessor((component, "SCALAR"), false));
    file.json(json!({ "attributes": attributes, "indices": indices }))
}

#[test]
fn filters_and_triangles_come_back() {
    for (extension, version, wide) in [
        ("EXT_meshopt_compression", 0, false),
        ("EXT_meshopt_compression", 0, true),
        ("KHR_meshopt_compression", 1, false),
        ("KHR_meshopt_compression", 1, true),
    ] {
        let primitive = primitive(&filtered(extension, version, wide));
        // The codec may turn triangles' corners round, so they are compared from the smallest on.
        let turned = |indices: &[u32]| -> Vec<[u32; 3]> {
            let least = |t: &[u32]| (0..3).min_by_key(|i| t[*i]).unwrap();
            let turn = |t: &[u32]| std::array::from_fn(|i| t[(least(t) + i) % 3]);
            indices.chunks_exact(3).map(turn).collect()
        };
        assert_eq!(turned(&primitive.indices), turned(&triangles()), "{extension} {wide}");
        let vertices = &primitive.vertices;
        for (i, want) in hill().into_iter().enumerate() {
            let (want, position) = (Vec3::from_array(want), vertices.positions[i]);
            assert!((position - want).abs().max_element() < 1e-4, "{position} {want}");
            let up = Vec3::new(want.x - 4.0, want.y - 4.0, 3.0).normalize();
            assert!(vertices.normals[i].angle_between(up) < 0.02, "{} {up}", vertices.normals[i]);
            if let Some(color) = vertices.colors.get(i) {
                let close =
                    |channel: usize, want: f32| (f32::from(color[channel]) - want * 255.0).abs() < 3.0;
                assert!(
                    close(0, want.x / 8.0) && close(1, want.y / 8.0) && close(2, 0.5),
                    "{color:?} {want}"
                );
                assert_eq!(color[3], 255);
            }
        }
        assert_eq!(vertices.colors.is_empty(), extension.starts_with("EXT"));
    }
}

#[test]
fn unfiltered_attributes_and_index_sequences_are_exact() {
    for size in [2, 4] {
        let mut file = File::new("EXT_meshopt_compression");
        let hill = hill();
        let position = file.attributes(&hill, 0, "NONE", accessor(VEC3, false));
        // A strip along the first two rows.
        let strip: Vec<u32> = (0..u32::from(SIDE)).flat_map(|x| [x + u32::from(SIDE), x]).collect();
        let packed = meshopt::encode_index_sequence(&strip, hill.len()).unwrap();
        let component = if size == 2 { 5123 } else { 5125 };
        let indices =
            file.add(&packed, strip.len(), size, ["INDICES", "NONE"], accessor((component, "SCALAR"), false));
        let primitive = primitive(
            &file.json(json!({ "attributes": { "POSITION": position }, "indices": indices, "mode": 5 })),
        );
        // Without normals every corner has a vertex.
        let want: Vec<Vec3> = (0..strip.len() - 2)
            .flat_map(|i| if i % 2 == 0 { [i, i + 1, i + 2] } else { [i, i + 2, i + 1] })
            .map(|i| Vec3::from_array(hill[strip[i] as usize]))
            .collect();
        assert_eq!(primitive.vertices.positions, want);
    }
}

#[test]
fn quaternions_turn_instances() {
    let mut file = File::new("EXT_meshopt_compression");
    let position = file.attributes(&hill(), 0, "NONE", accessor(VEC3, false));
    let turns: Vec<Quat> =
        [0.0_f32, 0.5, -1.0, 3.0].map(|a| Quat::from_axis_angle(Vec3::ONE.normalize(), a)).into();
    let values: Vec<[f32; 4]> = turns.iter().map(Quat::to_array).collect();
    let rotation = file.attributes(
        &meshopt::encode_filter_quat(&values, 16),
        0,
        "QUATERNION",
        accessor((5122, "VEC4"), true),
    );
    let mut json = file.json(json!({ "attributes": { "POSITION": position } }));
    json["nodes"][0]["extensions"] =
        json!({ "EXT_mesh_gpu_instancing": { "attributes": { "ROTATION": rotation } } });
    let model = read(&json).unwrap().model;
    let shown = model.nodes.iter().zip(model.world_from_node()).filter(|(node, _)| node.mesh.is_some());
    let shown: Vec<_> = shown.map(|(_, world)| world).collect();
    assert_eq!(shown.len(), 4);
    for (world, turn) in shown.iter().zip(turns) {
        let (got, want) = (world.transform_vector3(Vec3::X), turn * Vec3::X);
        assert!((got - want).length() < 1e-3, "{got} {want}");
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let fault = |change: fn(&mut Value)| {
        let mut json = filtered("KHR_meshopt_compression", 1, false);
        change(&mut json["bufferViews"][0]["extensions"]["KHR_meshopt_compression"]);
        read(&json).unwrap_err()
    };
    for (error, word) in [
        (fault(|m| m["byteStride"] = json!(6)), "does not fit"),
        (fault(|m| m["filter"] = json!("QUATERNION")), "does not fit"),
        (fault(|m| m["mode"] = json!("TRIANGLES")), "does not fit"),
        (fault(|m| m["byteLength"] = json!(20)), "damaged"),
        (fault(|m| m["filter"] = json!("MAGIC")), "unknown variant"),
    ] {
        let message = error.to_string();
        assert!(message.contains(word) && message.contains("KHR_meshopt_compression"), "{message}");
    }
    let large = fault(|m| m["count"] = json!(1_u64 << 40));
    assert!(matches!(large.fault, Fault::TooLarge { .. }), "{large}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_views_are_refused_or_keep_the_rules(
        wide in any::<bool>(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..6),
    ) {
        let mut json = filtered("KHR_meshopt_compression", 1, wide);
        let uri = json["buffers"][0]["uri"].as_str().unwrap();
        let mut bin = STANDARD.decode(uri.split_once(',').unwrap().1).unwrap();
        for (at, value) in changes {
            let at = at.index(bin.len());
            bin[at] = value;
        }
        json["buffers"][0]["uri"] = json!(format!("data:;base64,{}", STANDARD.encode(&bin)));
        if let Ok(loaded) = read(&json) {
            loaded.model.check().unwrap();
        }
    }
}
