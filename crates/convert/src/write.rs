//! Writes GLB files: just what the samples need, in valid glTF 2.0.

use scene::math::{Affine3A, Vec2, Vec3, Vec4};
use serde_json::{Value, json};

/// A triangle mesh to be written. Attributes other than positions may be empty; else all are as long as positions.
#[derive(Debug, Clone, Default)]
pub struct Geometry {
    /// Finite.
    pub positions: Vec<Vec3>,
    /// Unit length.
    pub normals: Vec<Vec3>,
    /// Unit length with a sign.
    pub tangents: Vec<Vec4>,
    /// (0, 0) is the image's top left.
    pub uv: Vec<Vec2>,
    /// Linear RGBA.
    pub colors: Vec<[u8; 4]>,
    /// Three per triangle, counter-clockwise.
    pub indices: Vec<u32>,
}

/// Index of a material, image, mesh or node that was added to a [`Glb`].
pub type Index = usize;

/// A GLB file in the making.
#[derive(Debug, Default)]
pub struct Glb {
    bin: Vec<u8>,
    views: Vec<Value>,
    accessors: Vec<Value>,
    images: Vec<Value>,
    textures: Vec<Value>,
    materials: Vec<Value>,
    meshes: Vec<Value>,
    nodes: Vec<Value>,
    roots: Vec<Index>,
    extensions: Vec<&'static str>,
}

const ARRAY_BUFFER: u32 = 34962;
const ELEMENT_ARRAY_BUFFER: u32 = 34963;

impl Glb {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an encoded PNG and a repeating texture of it; returns the texture.
    pub fn png(&mut self, name: &str, png: &[u8]) -> Index {
        let view = self.view(png, None);
        let image =
            push(&mut self.images, json!({ "name": name, "mimeType": "image/png", "bufferView": view }));
        push(&mut self.textures, json!({ "source": image }))
    }

    /// Adds a material, an object as in glTF.
    pub fn material(&mut self, material: Value) -> Index {
        if let Some(extensions) = material.get("extensions").and_then(Value::as_object) {
            for known in ["KHR_materials_emissive_strength", "KHR_materials_unlit"] {
                if extensions.contains_key(known) && !self.extensions.contains(&known) {
                    self.extensions.push(known);
                }
            }
        }
        push(&mut self.materials, material)
    }

    /// Adds a mesh of primitives, each with its material.
    pub fn mesh(&mut self, name: &str, parts: &[(&Geometry, Option<Index>)]) -> Index {
        let primitives: Vec<Value> =
            parts.iter().map(|(geometry, material)| self.primitive(geometry, *material)).collect();
        push(&mut self.meshes, json!({ "name": name, "primitives": primitives }))
    }

    /// Adds a node below `parent`, or a root.
    pub fn node(
        &mut self,
        name: &str,
        parent: Option<Index>,
        parent_from_node: Affine3A,
        mesh: Option<Index>,
    ) -> Index {
        let mut node = json!({ "name": name });
        let (scale, rotation, translation) = parent_from_node.to_scale_rotation_translation();
        if translation != Vec3::ZERO {
            node["translation"] = json!(translation.to_array());
        }
        if (rotation.w.abs() - 1.0).abs() > 1e-9 {
            node["rotation"] = json!(rotation.normalize().to_array());
        }
        if (scale - Vec3::ONE).abs().max_element() > 1e-6 {
            node["scale"] = json!(scale.to_array());
        }
        if let Some(mesh) = mesh {
            node["mesh"] = json!(mesh);
        }
        let index = push(&mut self.nodes, node);
        match parent {
            None => self.roots.push(index),
            Some(parent) => match self.nodes[parent]["children"].as_array_mut() {
                Some(children) => children.push(json!(index)),
                None => self.nodes[parent]["children"] = json!([index]),
            },
        }
        index
    }

    /// The file's bytes.
    pub fn finish(mut self) -> Vec<u8> {
        pad(&mut self.bin, 0);
        let mut root = json!({
            "asset": { "version": "2.0", "generator": "belvedere samples" },
            "scene": 0,
            "scenes": [{ "nodes": self.roots }],
        });
        for (name, list) in [
            ("nodes", self.nodes),
            ("meshes", self.meshes),
            ("materials", self.materials),
            ("textures", self.textures),
            ("images", self.images),
            ("accessors", self.accessors),
            ("bufferViews", self.views),
        ] {
            // glTF forbids empty arrays.
            if !list.is_empty() {
                root[name] = Value::Array(list);
            }
        }
        if !self.bin.is_empty() {
            root["buffers"] = json!([{ "byteLength": self.bin.len() }]);
        }
        if !self.extensions.is_empty() {
            root["extensionsUsed"] = json!(self.extensions);
        }
        let mut text = root.to_string().into_bytes();
        pad(&mut text, b' ');
        let mut out = Vec::with_capacity(28 + text.len() + self.bin.len());
        out.extend(b"glTF");
        out.extend(2_u32.to_le_bytes());
        let length = 12 + 8 + text.len() + if self.bin.is_empty() { 0 } else { 8 + self.bin.len() };
        out.extend(u32_of(length).to_le_bytes());
        chunk(&mut out, b"JSON", &text);
        if !self.bin.is_empty() {
            chunk(&mut out, b"BIN\0", &self.bin);
        }
        out
    }

    fn primitive(&mut self, geometry: &Geometry, material: Option<Index>) -> Value {
        let n = geometry.positions.len();
        let mut attributes = json!({});
        let positions =
            self.accessor(bytes_of(&geometry.positions, Vec3::to_array), 5126, "VEC3", n, ARRAY_BUFFER);
        if let Some(bounds) = scene::Aabb::of(&geometry.positions) {
            self.accessors[positions]["min"] = json!(bounds.min.to_array());
            self.accessors[positions]["max"] = json!(bounds.max.to_array());
        }
        attributes["POSITION"] = json!(positions);
        if !geometry.normals.is_empty() {
            let bytes = bytes_of(&geometry.normals, Vec3::to_array);
            attributes["NORMAL"] = json!(self.accessor(bytes, 5126, "VEC3", n, ARRAY_BUFFER));
        }
        if !geometry.tangents.is_empty() {
            let bytes = bytes_of(&geometry.tangents, Vec4::to_array);
            attributes["TANGENT"] = json!(self.accessor(bytes, 5126, "VEC4", n, ARRAY_BUFFER));
        }
        if !geometry.uv.is_empty() {
            let bytes = bytes_of(&geometry.uv, Vec2::to_array);
            attributes["TEXCOORD_0"] = json!(self.accessor(bytes, 5126, "VEC2", n, ARRAY_BUFFER));
        }
        if !geometry.colors.is_empty() {
            let bytes = geometry.colors.iter().flatten().copied().collect();
            let colors = self.accessor(bytes, 5121, "VEC4", n, ARRAY_BUFFER);
            self.accessors[colors]["normalized"] = json!(true);
            attributes["COLOR_0"] = json!(colors);
        }
        let n_indices = geometry.indices.len();
        // 65535 would restart a strip in some programs.
        let indices = if n < 65535 {
            let bytes = geometry.indices.iter().flat_map(|i| u16_of(*i).to_le_bytes()).collect();
            self.accessor(bytes, 5123, "SCALAR", n_indices, ELEMENT_ARRAY_BUFFER)
        } else {
            let bytes = geometry.indices.iter().flat_map(|i| i.to_le_bytes()).collect();
            self.accessor(bytes, 5125, "SCALAR", n_indices, ELEMENT_ARRAY_BUFFER)
        };
        let mut primitive = json!({ "attributes": attributes, "indices": indices });
        if let Some(material) = material {
            primitive["material"] = json!(material);
        }
        primitive
    }

    fn accessor(&mut self, bytes: Vec<u8>, component: u32, kind: &str, count: usize, target: u32) -> Index {
        let view = self.view(&bytes, Some(target));
        push(
            &mut self.accessors,
            json!({ "bufferView": view, "componentType": component, "type": kind, "count": count }),
        )
    }

    fn view(&mut self, bytes: &[u8], target: Option<u32>) -> Index {
        pad(&mut self.bin, 0);
        let mut view = json!({ "buffer": 0, "byteOffset": self.bin.len(), "byteLength": bytes.len() });
        if let Some(target) = target {
            view["target"] = json!(target);
        }
        self.bin.extend_from_slice(bytes);
        push(&mut self.views, view)
    }
}

fn push(list: &mut Vec<Value>, value: Value) -> Index {
    list.push(value);
    list.len() - 1
}

fn bytes_of<T: Copy, const N: usize>(values: &[T], array: impl Fn(&T) -> [f32; N]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * N * 4);
    for value in values {
        for x in array(value) {
            bytes.extend_from_slice(&x.to_le_bytes());
        }
    }
    bytes
}

fn pad(bytes: &mut Vec<u8>, with: u8) {
    bytes.resize(bytes.len().next_multiple_of(4), with);
}

fn chunk(out: &mut Vec<u8>, kind: &[u8; 4], content: &[u8]) {
    out.extend(u32_of(content.len()).to_le_bytes());
    out.extend(kind);
    out.extend(content);
}

#[expect(clippy::cast_possible_truncation, reason = "samples are far below 4 GiB")]
fn u32_of(n: usize) -> u32 {
    n as u32
}

#[expect(clippy::cast_possible_truncation, reason = "below the number of vertices, which was compared")]
fn u16_of(n: u32) -> u16 {
    n as u16
}
