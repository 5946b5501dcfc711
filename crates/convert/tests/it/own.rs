//! Files made here, feature by feature.

use base64::{Engine, engine::general_purpose::STANDARD};
use convert::{Fault, Limits, Loaded, ReadError};
use scene::{
    AlphaMode, LightKind, Model,
    math::{Vec2, Vec3, Vec4},
};
use serde_json::{Value, json};

/// A file with one triangle, positions at the start of its only buffer and `more` bytes behind them.
pub(crate) fn triangle(more: &[u8]) -> Value {
    let mut bin: Vec<u8> =
        [0.0_f32, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    bin.extend(more);
    json!({
        "asset": { "version": "2.0" },
        "scenes": [{ "nodes": [0] }],
        "nodes": [{ "mesh": 0 }],
        "meshes": [{ "primitives": [{ "attributes": { "POSITION": 0 } }] }],
        "accessors": [{ "bufferView": 0, "componentType": 5126, "type": "VEC3", "count": 3 }],
        "bufferViews": [
            { "buffer": 0, "byteLength": 36 },
            { "buffer": 0, "byteOffset": 36, "byteLength": more.len() },
        ],
        "buffers": [{
            "byteLength": bin.len(),
            "uri": format!("data:application/octet-stream;base64,{}", STANDARD.encode(&bin)),
        }],
    })
}

pub(crate) fn add_accessor(json: &mut Value, accessor: Value) {
    json["accessors"].as_array_mut().unwrap().push(accessor);
}

pub(crate) fn read(json: &Value) -> Result<Loaded, ReadError> {
    convert::read_glb(json.to_string().as_bytes(), &Limits::default())
}

pub(crate) fn model(json: &Value) -> Model {
    let loaded = read(json).unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    loaded.model
}

/// Adds an accessor over the second view as attribute `name`; then the vertices.
fn with_attribute(name: &str, component: u32, kind: &str, normalized: bool, bytes: &[u8]) -> scene::Vertices {
    let mut json = triangle(bytes);
    add_accessor(
        &mut json,
        json!({
            "bufferView": 1, "componentType": component, "type": kind, "count": 3, "normalized": normalized,
        }),
    );
    json["meshes"][0]["primitives"][0]["attributes"][name] = json!(1);
    model(&json).meshes[0].primitives[0].vertices.clone()
}

#[test]
fn a_plain_triangle_gets_its_face_normal() {
    let model = model(&triangle(&[]));
    let primitive = &model.meshes[0].primitives[0];
    assert_eq!(primitive.indices, [0, 1, 2]);
    assert_eq!(primitive.vertices.normals, [Vec3::Z; 3]);
    assert_eq!(primitive.vertices.positions, [Vec3::ZERO, Vec3::X, Vec3::Y]);
}

#[test]
fn colors_of_every_kind_become_bytes() {
    let all = |vertices: scene::Vertices| vertices.colors;
    assert_eq!(
        all(with_attribute("COLOR_0", 5121, "VEC4", true, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])),
        [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]
    );
    let words: Vec<u8> =
        [0_u16, 65535, 32768, 0, 0, 0, 257, 514, 771].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(
        all(with_attribute("COLOR_0", 5123, "VEC3", true, &words)),
        [[0, 255, 128, 255], [0, 0, 0, 255], [1, 2, 3, 255]]
    );
    let floats: Vec<u8> = [0.0_f32, 1.0, 2.0, f32::NAN, -1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    assert_eq!(
        all(with_attribute("COLOR_0", 5126, "VEC4", false, &floats)),
        [[0, 255, 255, 0], [0, 128, 0, 0], [0, 0, 0, 255]]
    );
}

#[test]
fn quantized_attributes_are_scaled() {
    let uv = with_attribute("TEXCOORD_0", 5120, "VEC2", true, &[127, 129, 0, 128, 64, 0]).uv0;
    assert_eq!(uv, [Vec2::new(1.0, -1.0), Vec2::new(0.0, -1.0), Vec2::new(64.0 / 127.0, 0.0)]);
    let words: Vec<u8> = [1_i16, -2, 300, -400, 5, 6].iter().flat_map(|x| x.to_le_bytes()).collect();
    let uv = with_attribute("TEXCOORD_1", 5122, "VEC2", false, &words).uv1;
    assert_eq!(uv, [Vec2::new(1.0, -2.0), Vec2::new(300.0, -400.0), Vec2::new(5.0, 6.0)]);
}

#[test]
fn sparse_elements_replace_others() {
    // One index (1), padding, and its value.
    let mut more = vec![1_u8, 0, 0, 0];
    more.extend([5.0_f32, 6.0, 7.0].iter().flat_map(|x| x.to_le_bytes()));
    let mut json = triangle(&more);
    json["accessors"][0]["sparse"] = json!({
        "count": 1,
        "indices": { "bufferView": 1, "componentType": 5121 },
        "values": { "bufferView": 1, "byteOffset": 4 },
    });
    let positions = model(&json).meshes[0].primitives[0].vertices.positions.clone();
    assert_eq!(positions, [Vec3::ZERO, Vec3::new(5.0, 6.0, 7.0), Vec3::Y]);
}

#[test]
fn strips_turn_every_second_triangle_and_fans_keep_their_hub() {
    let mut json = triangle(&[0, 1, 2, 0, 2]);
    add_accessor(&mut json, json!({ "bufferView": 1, "componentType": 5121, "type": "SCALAR", "count": 5 }));
    let primitive = &mut json["meshes"][0]["primitives"][0];
    primitive["indices"] = json!(1);
    primitive["mode"] = json!(5);
    // Flat shading gives each corner a vertex, so positions tell the order.
    let corners = |json: &Value| {
        let model = model(json);
        let positions = &model.meshes[0].primitives[0].vertices.positions;
        positions
            .iter()
            .map(|p| {
                if p.x > 0.0 {
                    1
                } else if p.y > 0.0 {
                    2
                } else {
                    0
                }
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(corners(&json), [0, 1, 2, 1, 0, 2, 2, 0, 2]);
    json["meshes"][0]["primitives"][0]["mode"] = json!(6);
    assert_eq!(corners(&json), [1, 2, 0, 2, 0, 0, 0, 2, 0]);
}

#[test]
fn parents_come_before_children_and_transforms_multiply() {
    let mut json = triangle(&[]);
    json["scenes"] = json!([{ "nodes": [2] }]);
    json["nodes"] = json!([
        { "name": "leaf", "mesh": 0, "matrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 3, 1] },
        { "name": "middle", "children": [0], "rotation": [0, 0, 2, 2] },
        { "name": "root", "children": [1], "translation": [1, 0, 0], "scale": [2, 2, -2] },
    ]);
    let model = model(&json);
    let names: Vec<&str> = model.nodes.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["root", "middle", "leaf"]);
    let p = model.world_from_node()[2].transform_point3(Vec3::X);
    assert!((p - Vec3::new(1.0, 2.0, -6.0)).length() < 1e-5, "{p}");
}

#[test]
fn instances_are_nodes_within_bounds() {
    let shifts: Vec<u8> =
        [0.0_f32, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 7.0, 0.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut json = triangle(&shifts);
    add_accessor(&mut json, json!({ "bufferView": 1, "componentType": 5126, "type": "VEC3", "count": 3 }));
    json["nodes"][0]["extensions"] =
        json!({ "EXT_mesh_gpu_instancing": { "attributes": { "TRANSLATION": 1 } } });
    json["extensionsRequired"] = json!(["EXT_mesh_gpu_instancing"]);
    let shown = model(&json);
    assert_eq!((shown.nodes.len(), shown.triangles()), (4, 3));
    assert_eq!(shown.world_from_node()[2].translation, scene::math::Vec3A::X * 5.0);
    let few = Limits { nodes: 3, ..Limits::default() };
    let error = convert::read_glb(json.to_string().as_bytes(), &few).unwrap_err();
    assert!(matches!(error.fault, Fault::TooLarge { .. }), "{error}");
}

#[test]
fn materials_keep_their_factors() {
    let mut json = triangle(&[]);
    json["materials"] = json!([{
        "name": "glass",
        "pbrMetallicRoughness": { "baseColorFactor": [0.1, 0.2, 0.3, 0.4], "metallicFactor": 0.5, "roughnessFactor": 7.0 },
        "emissiveFactor": [1.0, 0.5, 0.0],
        "alphaMode": "MASK", "alphaCutoff": 0.25, "doubleSided": true,
        "extensions": { "KHR_materials_unlit": {}, "KHR_materials_emissive_strength": { "emissiveStrength": 4.0 } },
    }]);
    json["meshes"][0]["primitives"][0]["material"] = json!(0);
    let model = model(&json);
    let material = &model.materials[0];
    assert_eq!(material.base_color, Vec4::new(0.1, 0.2, 0.3, 0.4));
    assert_eq!((material.metallic, material.roughness), (0.5, 1.0));
    assert_eq!(material.emissive, Vec3::new(4.0, 2.0, 0.0));
    assert_eq!(material.alpha_mode, AlphaMode::Mask { cutoff: 0.25 });
    assert!(material.double_sided && material.unlit);
}

#[test]
fn lights_hang_on_their_nodes_and_are_mended() {
    let mut json = triangle(&[]);
    json["extensions"] = json!({ "KHR_lights_punctual": { "lights": [
        { "type": "directional", "color": [1.0, 0.5, 0.0], "intensity": 3.0 },
        { "type": "spot", "intensity": 10.0, "range": 4.0, "spot": { "innerConeAngle": 0.1, "outerConeAngle": 0.4 } },
        { "type": "spot", "spot": { "innerConeAngle": 0.9, "outerConeAngle": 0.4 } },
        { "type": "point", "intensity": 0.0 },
        { "type": "point", "range": -1.0 },
    ] } });
    let on = |light: u32| json!({ "extensions": { "KHR_lights_punctual": { "light": light } } });
    json["nodes"] = json!([{ "mesh": 0, "children": [1, 2, 3, 4, 5] }, on(0), on(1), on(2), on(3), on(4)]);
    json["scenes"] = json!([{ "nodes": [0] }]);
    let Loaded { model: lit, warnings } = read(&json).unwrap();
    let spot = |inner_rad, outer_rad| LightKind::Spot { inner_rad, outer_rad };
    let node = |n: usize| lit.lights[n].node;
    assert_eq!(lit.lights.len(), 4, "one is dark");
    assert_eq!(lit.lights[0].color, Vec3::new(3.0, 1.5, 0.0));
    assert_eq!((lit.lights[0].kind, node(0), node(3)), (LightKind::Directional, 1, 5));
    assert_eq!((lit.lights[1].kind, lit.lights[1].range_m), (spot(0.1, 0.4), 4.0));
    assert!(matches!(lit.lights[2].kind, LightKind::Spot { inner_rad, outer_rad: 0.4 } if inner_rad < 0.4));
    assert_eq!((lit.lights[3].kind, lit.lights[3].range_m), (LightKind::Point, f32::INFINITY));
    assert_eq!(warnings.len(), 2, "{warnings:?}");

    // A thousand lamps: the brightest shine.
    let lamp = |n: u32| json!({ "type": "point", "intensity": n });
    json["extensions"]["KHR_lights_punctual"]["lights"] = (0..1000).map(lamp).collect();
    json["nodes"] = (0..1000).map(on).collect();
    json["scenes"] = json!([{ "nodes": (0..1000).collect::<Vec<u32>>() }]);
    let lights = read(&json).unwrap().model.lights;
    assert_eq!((lights.len(), lights[0].color.x, lights[63].color.x), (64, 936.0, 999.0));

    json["nodes"][7] = on(1000);
    let error = read(&json).unwrap_err().to_string();
    assert!(error.contains("nodes[7]") && error.contains("1000"), "{error}");
}

#[test]
fn coatings_come_from_their_extensions() {
    let mut json = triangle(&[]);
    json["materials"] = json!([{ "extensions": {
        "KHR_materials_ior": { "ior": 2.0 },
        "KHR_materials_specular": { "specularFactor": 0.5, "specularColorFactor": [1.0, 2.0, 0.0] },
        "KHR_materials_clearcoat": { "clearcoatFactor": 0.7, "clearcoatRoughnessFactor": 9.0 },
        "KHR_materials_sheen": { "sheenColorFactor": [0.1, 0.2, 0.3], "sheenRoughnessFactor": 0.4 },
        "KHR_materials_transmission": { "transmissionFactor": 0.9 },
        "KHR_materials_volume": { "thicknessFactor": 2.0, "attenuationDistance": 1.0, "attenuationColor": [0.5, 1.0, 0.0] },
    } }]);
    json["meshes"][0]["primitives"][0]["material"] = json!(0);
    let loaded = model(&json);
    let material = &loaded.materials[0];
    let coating = material.coating.as_deref().unwrap();
    assert!((coating.f0 - 1.0 / 9.0).abs() < 1e-6);
    assert_eq!((coating.specular, coating.specular_color), (0.5, Vec3::new(1.0, 2.0, 0.0)));
    assert_eq!((coating.clearcoat, coating.clearcoat_roughness), (0.7, 1.0));
    assert_eq!((coating.sheen_color, coating.sheen_roughness), (Vec3::new(0.1, 0.2, 0.3), 0.4));
    assert_eq!((coating.transmission, coating.tint), (0.9, Vec3::new(0.25, 1.0, 0.0)));
    assert_eq!(material.alpha_mode, AlphaMode::Blend);

    // Extensions that change nothing leave no trace.
    json["materials"] =
        json!([{ "extensions": { "KHR_materials_ior": { "ior": 1.5 }, "KHR_materials_volume": {} } }]);
    assert!(model(&json).materials[0].coating.is_none());
}

#[test]
fn lacquer_has_a_normal_map_of_its_own() {
    let uv: Vec<u8> = [0.0_f32, 0.0, 1.0, 0.0, 0.0, 1.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut json = triangle(&uv);
    add_accessor(&mut json, json!({ "bufferView": 1, "componentType": 5126, "type": "VEC2", "count": 3 }));
    let attributes = json!({ "POSITION": 0, "TEXCOORD_1": 1 });
    json["meshes"][0]["primitives"] = json!([
        { "attributes": attributes, "material": 0 },
        { "attributes": attributes, "material": 1 },
    ]);
    json["images"] = json!([{ "uri": pixel([128, 128, 255, 255]) }]);
    json["textures"] = json!([{ "source": 0 }]);
    let lacquer = |map: Value| {
        json!({ "extensions": { "KHR_materials_clearcoat": {
            "clearcoatFactor": 1.0, "clearcoatNormalTexture": map,
        } } })
    };
    json["materials"] = json!([
        lacquer(json!({ "index": 0, "texCoord": 1, "scale": 0.5 })),
        lacquer(json!({ "index": 0, "texCoord": 1 })),
    ]);
    let model = model(&json);
    let coatings: Vec<_> = model.materials.iter().map(|m| m.coating.as_deref().unwrap()).collect();
    let map = coatings[0].clearcoat_normal_texture.unwrap();
    assert_eq!((map.texture, map.uv_set, coatings[0].clearcoat_normal_scale), (0, 1, 0.5));
    assert_eq!(coatings[1].clearcoat_normal_scale, 1.0);
    // It needs tangents, as a surface's normal map does.
    assert_eq!(model.meshes[0].primitives[0].vertices.tangents.len(), 3);
}

/// A 1x1 PNG in a data URI.
fn pixel(rgba: [u8; 4]) -> String {
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbaImage::from_pixel(1, 1, image::Rgba(rgba))
        .write_to(&mut png, image::ImageFormat::Png)
        .unwrap();
    // The media type lies; the content counts.
    format!("data:image/jpeg;base64,{}", STANDARD.encode(png.into_inner()))
}

#[test]
fn textures_share_images_and_are_dropped_where_they_cannot_be_shown() {
    let mut json = triangle(&[0; 24]);
    add_accessor(&mut json, json!({ "bufferView": 1, "componentType": 5126, "type": "VEC2", "count": 3 }));
    json["meshes"][0]["primitives"] = json!([
        { "attributes": { "POSITION": 0, "TEXCOORD_0": 1 }, "material": 0 },
        { "attributes": { "POSITION": 0 }, "material": 0 },
    ]);
    json["images"] = json!([{ "uri": pixel([10, 20, 30, 40]) }, { "uri": "data:,nonsense" }]);
    json["samplers"] = json!([{ "magFilter": 9728, "wrapS": 33071, "wrapT": 33648 }]);
    json["textures"] = json!([{ "source": 0 }, { "source": 0, "sampler": 0 }, { "source": 1 }]);
    let transform =
        json!({ "KHR_texture_transform": { "offset": [0.5, 0], "rotation": 1.5707964, "scale": [2, 3] } });
    json["materials"] = json!([{
        "pbrMetallicRoughness": { "baseColorTexture": { "index": 0, "extensions": transform } },
        "emissiveTexture": { "index": 1 },
        "occlusionTexture": { "index": 2 },
    }]);
    let Loaded { model, warnings } = read(&json).unwrap();
    assert_eq!(model.images.len(), 1);
    assert_eq!(model.images[0].rgba, [10, 20, 30, 40]);
    let [with, without] = &model.materials[..] else { panic!("{:?}", model.materials) };
    let used = with.base_color_texture.unwrap();
    // KHR_texture_transform's example: u' = cos u + sin v, v' = -sin u + cos v, after scaling.
    let moved = used.image_from_uv.transform_point2(Vec2::new(1.0, 1.0));
    assert!((moved - Vec2::new(3.5, -2.0)).length() < 1e-5, "{moved}");
    let sampler = model.textures[with.emissive_texture.unwrap().texture as usize].sampler;
    assert_eq!(
        (sampler.wrap_u, sampler.wrap_v, sampler.nearest),
        (scene::Wrap::Clamp, scene::Wrap::Mirror, true)
    );
    assert_eq!(with.occlusion_texture, None);
    assert_eq!((without.base_color_texture, without.emissive_texture), (None, None));
    assert!(warnings.iter().any(|w| w.starts_with("images[1] is not shown")), "{warnings:?}");
    assert!(warnings.iter().any(|w| w.contains("needs TEXCOORD_0")), "{warnings:?}");
}

#[test]
fn glossiness_becomes_roughness() {
    let mut json = triangle(&[0; 24]);
    add_accessor(&mut json, json!({ "bufferView": 1, "componentType": 5126, "type": "VEC2", "count": 3 }));
    json["meshes"][0]["primitives"] =
        json!([{ "attributes": { "POSITION": 0, "TEXCOORD_0": 1 }, "material": 0 }]);
    json["images"] = json!([{ "uri": pixel([255, 255, 255, 55]) }]);
    json["textures"] = json!([{ "source": 0 }]);
    json["materials"] = json!([{ "extensions": { "KHR_materials_pbrSpecularGlossiness": {
        "diffuseFactor": [0.5, 0.5, 0.5, 1.0], "specularGlossinessTexture": { "index": 0 },
    } } }]);
    let model = model(&json);
    let material = &model.materials[0];
    assert_eq!((material.metallic, material.roughness), (0.0, 1.0));
    let texture = material.metallic_roughness_texture.unwrap().texture as usize;
    assert_eq!(model.images[model.textures[texture].image as usize].rgba[1], 200);
}

#[test]
fn messages_say_file_place_reason_and_what_to_do() {
    let file = |change: fn(&mut Value)| {
        let mut json = triangle(&[]);
        change(&mut json);
        read(&json).unwrap_err().to_string()
    };
    for (message, words) in [
        (
            file(|j| j["extensionsRequired"] = json!(["KHR_texture_transform", "MPEG_media"])),
            ["model: ", "MPEG_media", "export the model without"],
        ),
        (file(|j| j["asset"]["version"] = json!("1.0")), ["model: ", "glTF 1.0", "convert"]),
        (
            file(|j| j["accessors"][0]["count"] = json!("3")),
            ["model: ", "accessors[0].count", "line 1 column"],
        ),
        (file(|j| j["accessors"][0]["count"] = json!(4)), ["model: ", "accessors[0]", "36 bytes"]),
        (file(|j| j["nodes"][0]["mesh"] = json!(9)), ["nodes[0].mesh", "mesh 9", "only 1"]),
        (file(|j| j["buffers"][0]["uri"] = json!("a.bin")), ["buffers[0].uri", "a.bin", "folder"]),
    ] {
        for word in words {
            assert!(message.contains(word), "{word:?} is not in {message:?}");
        }
    }
}

#[test]
fn json_that_would_unfold_is_refused_before_it_is_parsed() {
    let limits = Limits { json_objects: 1000, json_values: 5000, ..Limits::default() };
    let file = |key: &str, item: &str, n: usize| {
        format!(r#"{{"asset":{{"version":"2.0"}},"{key}":[{}]}}"#, vec![item; n].join(","))
    };
    for (key, item, n) in [("materials", "{}", 990), ("extensionsUsed", "\"\"", 4990)] {
        assert!(convert::read_glb(file(key, item, n).as_bytes(), &limits).is_ok(), "{key}");
        let error = convert::read_glb(file(key, item, n + 20).as_bytes(), &limits).unwrap_err();
        assert!(matches!(error.fault, Fault::TooLarge { .. }), "{error}");
    }
}

#[test]
fn warnings_are_bounded() {
    let mut json = triangle(&[]);
    json["meshes"][0]["primitives"] = Value::Array(vec![json!({ "attributes": {} }); 250]);
    let warnings = read(&json).unwrap().warnings;
    assert_eq!(warnings.len(), 101);
    // One more says that there is nothing to show.
    assert_eq!(warnings[100], "… and 151 more");
}

#[test]
fn a_file_from_disk_reports_progress_and_reads_its_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let mut json = triangle(&[]);
    let uri = json["buffers"][0]["uri"].as_str().unwrap().split_once(',').unwrap().1.to_owned();
    std::fs::write(folder.path().join("a b.bin"), STANDARD.decode(uri).unwrap()).unwrap();
    json["buffers"][0]["uri"] = json!("a%20b.bin");
    let path = folder.path().join("model.gltf");
    std::fs::write(&path, json.to_string()).unwrap();
    let mut shares = Vec::new();
    let loaded = convert::read(&path, &Limits::default(), &mut |share| shares.push(share)).unwrap();
    assert_eq!(loaded.model.triangles(), 1);
    assert!(shares.is_sorted() && shares.last() == Some(&1.0), "{shares:?}");
    let error = convert::read(&folder.path().join("none.glb"), &Limits::default(), &mut |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "none.glb: the file cannot be read: there is no such file");
}
