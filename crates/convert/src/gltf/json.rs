//! The JSON of glTF 2.0, as far as we read it. Names and defaults as in the specification; what is not here is skipped.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What must be known before the rest is looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head {
    pub(super) asset: Asset,
    #[serde(default)]
    pub(super) extensions_required: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Root {
    pub(super) asset: Asset,
    #[serde(default)]
    pub(super) extensions_required: Vec<String>,
    #[serde(default)]
    pub(super) extensions: RootExtensions,
    pub(super) scene: Option<u32>,
    #[serde(default)]
    pub(super) scenes: Vec<Scene>,
    #[serde(default)]
    pub(super) nodes: Vec<Node>,
    #[serde(default)]
    pub(super) meshes: Vec<Mesh>,
    #[serde(default)]
    pub(super) accessors: Vec<Accessor>,
    #[serde(default)]
    pub(super) buffer_views: Vec<BufferView>,
    #[serde(default)]
    pub(super) buffers: Vec<Buffer>,
    #[serde(default)]
    pub(super) materials: Vec<Material>,
    #[serde(default)]
    pub(super) textures: Vec<Texture>,
    #[serde(default)]
    pub(super) samplers: Vec<Sampler>,
    #[serde(default)]
    pub(super) images: Vec<Image>,
    #[serde(default)]
    pub(super) skins: Vec<Skin>,
    #[serde(default)]
    pub(super) animations: Vec<Ignored>,
}

/// An object whose content does not matter.
#[derive(Deserialize)]
pub(super) struct Ignored {}

#[derive(Deserialize, Default)]
pub(super) struct RootExtensions {
    #[serde(rename = "KHR_lights_punctual")]
    pub(super) lights: Option<Lights>,
}

#[derive(Deserialize)]
pub(super) struct Lights {
    #[serde(default)]
    pub(super) lights: Vec<Light>,
}

#[derive(Deserialize)]
pub(super) struct Light {
    #[serde(rename = "type")]
    pub(super) kind: LightKind,
    pub(super) color: Option<[f32; 3]>,
    pub(super) intensity: Option<f32>,
    pub(super) range: Option<f32>,
    pub(super) spot: Option<Spot>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum LightKind {
    Directional,
    Point,
    Spot,
}

#[derive(Deserialize, Clone, Copy, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spot {
    pub(super) inner_cone_angle: Option<f32>,
    pub(super) outer_cone_angle: Option<f32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asset {
    pub(super) version: String,
    pub(super) min_version: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Scene {
    // Not needed, but a name that is no text tells that the writer is broken.
    #[serde(default, rename = "name")]
    _name: String,
    #[serde(default)]
    pub(super) nodes: Vec<u32>,
}

#[derive(Deserialize)]
pub(super) struct Node {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) children: Vec<u32>,
    pub(super) matrix: Option<Box<[f32; 16]>>,
    pub(super) translation: Option<[f32; 3]>,
    pub(super) rotation: Option<[f32; 4]>,
    pub(super) scale: Option<[f32; 3]>,
    pub(super) mesh: Option<u32>,
    pub(super) skin: Option<u32>,
    #[serde(default)]
    pub(super) extensions: NodeExtensions,
}

#[derive(Deserialize, Default)]
pub(super) struct NodeExtensions {
    #[serde(rename = "EXT_mesh_gpu_instancing")]
    pub(super) instancing: Option<Instancing>,
    #[serde(rename = "KHR_lights_punctual")]
    pub(super) light: Option<NodeLight>,
}

#[derive(Deserialize)]
pub(super) struct NodeLight {
    pub(super) light: u32,
}

#[derive(Deserialize)]
pub(super) struct Instancing {
    pub(super) attributes: InstancingAttributes,
}

#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) struct InstancingAttributes {
    pub(super) translation: Option<u32>,
    pub(super) rotation: Option<u32>,
    pub(super) scale: Option<u32>,
}

#[derive(Deserialize)]
pub(super) struct Skin {
    pub(super) joints: Vec<u32>,
}

#[derive(Deserialize)]
pub(super) struct Mesh {
    #[serde(default)]
    pub(super) name: String,
    pub(super) primitives: Vec<Primitive>,
}

#[derive(Deserialize)]
pub(super) struct Primitive {
    pub(super) attributes: BTreeMap<String, u32>,
    pub(super) indices: Option<u32>,
    pub(super) material: Option<u32>,
    pub(super) mode: Option<u32>,
    #[serde(default)]
    pub(super) targets: Vec<Ignored>,
    #[serde(default)]
    pub(super) extensions: PrimitiveExtensions,
}

#[derive(Deserialize, Default)]
pub(super) struct PrimitiveExtensions {
    #[serde(rename = "KHR_draco_mesh_compression")]
    pub(super) draco: Option<Box<Draco>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Draco {
    pub(super) buffer_view: u32,
    /// Unique ids in the stream.
    pub(super) attributes: BTreeMap<String, u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Accessor {
    pub(super) buffer_view: Option<u32>,
    #[serde(default)]
    pub(super) byte_offset: u64,
    pub(super) component_type: u32,
    #[serde(default)]
    pub(super) normalized: bool,
    pub(super) count: u64,
    #[serde(rename = "type")]
    pub(super) shape: Shape,
    pub(super) sparse: Option<Box<Sparse>>,
}

// `accessor.componentType`.
pub(super) const I8: u32 = 5120;
pub(super) const U8: u32 = 5121;
pub(super) const I16: u32 = 5122;
pub(super) const U16: u32 = 5123;
pub(super) const U32: u32 = 5125;
pub(super) const F32: u32 = 5126;

/// `accessor.type`.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Shape {
    Scalar,
    Vec2,
    Vec3,
    Vec4,
    Mat2,
    Mat3,
    Mat4,
}

#[derive(Deserialize)]
pub(super) struct Sparse {
    pub(super) count: u64,
    pub(super) indices: SparseIndices,
    pub(super) values: SparseValues,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SparseIndices {
    pub(super) buffer_view: u32,
    #[serde(default)]
    pub(super) byte_offset: u64,
    pub(super) component_type: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SparseValues {
    pub(super) buffer_view: u32,
    #[serde(default)]
    pub(super) byte_offset: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BufferView {
    pub(super) buffer: u32,
    #[serde(default)]
    pub(super) byte_offset: u64,
    pub(super) byte_length: u64,
    pub(super) byte_stride: Option<u64>,
    #[serde(default)]
    pub(super) extensions: BufferViewExtensions,
}

#[derive(Deserialize, Default)]
pub(super) struct BufferViewExtensions {
    #[serde(rename = "EXT_meshopt_compression")]
    ext_meshopt: Option<Box<Meshopt>>,
    #[serde(rename = "KHR_meshopt_compression")]
    khr_meshopt: Option<Box<Meshopt>>,
}

impl BufferViewExtensions {
    /// With its name. The two are one, but that the newer has more modes of its codecs.
    pub(super) fn meshopt(&self) -> Option<(&'static str, &Meshopt)> {
        let newer = self.khr_meshopt.as_deref().map(|meshopt| ("KHR_meshopt_compression", meshopt));
        newer.or(self.ext_meshopt.as_deref().map(|meshopt| ("EXT_meshopt_compression", meshopt)))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meshopt {
    pub(super) buffer: u32,
    #[serde(default)]
    pub(super) byte_offset: u64,
    pub(super) byte_length: u64,
    pub(super) byte_stride: u64,
    pub(super) count: u64,
    pub(super) mode: MeshoptMode,
    #[serde(default)]
    pub(super) filter: MeshoptFilter,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum MeshoptMode {
    Attributes,
    Triangles,
    Indices,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum MeshoptFilter {
    #[default]
    None,
    Octahedral,
    Quaternion,
    Exponential,
    Color,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Buffer {
    pub(super) uri: Option<String>,
    pub(super) byte_length: u64,
    #[serde(default)]
    extensions: BufferExtensions,
}

impl Buffer {
    /// Whether it is for readers that lack meshopt, and may not exist.
    pub(super) fn is_fallback(&self) -> bool {
        let BufferExtensions { ext_meshopt, khr_meshopt } = &self.extensions;
        [ext_meshopt, khr_meshopt].into_iter().flatten().any(|meshopt| meshopt.fallback)
    }
}

#[derive(Deserialize, Default)]
struct BufferExtensions {
    #[serde(rename = "EXT_meshopt_compression")]
    ext_meshopt: Option<MeshoptBuffer>,
    #[serde(rename = "KHR_meshopt_compression")]
    khr_meshopt: Option<MeshoptBuffer>,
}

#[derive(Deserialize)]
struct MeshoptBuffer {
    #[serde(default)]
    fallback: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Image {
    pub(super) uri: Option<String>,
    pub(super) buffer_view: Option<u32>,
}

#[derive(Deserialize)]
pub(super) struct Texture {
    pub(super) source: Option<u32>,
    pub(super) sampler: Option<u32>,
    #[serde(default)]
    pub(super) extensions: TextureExtensions,
}

#[derive(Deserialize, Default)]
pub(super) struct TextureExtensions {
    #[serde(rename = "KHR_texture_basisu")]
    pub(super) basisu: Option<TextureSource>,
    #[serde(rename = "EXT_texture_webp")]
    pub(super) webp: Option<TextureSource>,
}

#[derive(Deserialize)]
pub(super) struct TextureSource {
    pub(super) source: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sampler {
    pub(super) mag_filter: Option<u32>,
    pub(super) wrap_s: Option<u32>,
    pub(super) wrap_t: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Material {
    #[serde(default)]
    pub(super) name: String,
    pub(super) pbr_metallic_roughness: Option<Box<MetallicRoughness>>,
    pub(super) normal_texture: Option<TextureInfo>,
    pub(super) occlusion_texture: Option<TextureInfo>,
    pub(super) emissive_texture: Option<TextureInfo>,
    pub(super) emissive_factor: Option<[f32; 3]>,
    #[serde(default)]
    pub(super) alpha_mode: AlphaMode,
    pub(super) alpha_cutoff: Option<f32>,
    #[serde(default)]
    pub(super) double_sided: bool,
    #[serde(default)]
    pub(super) extensions: MaterialExtensions,
}

#[derive(Deserialize, Clone, Copy, Default)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum AlphaMode {
    #[default]
    Opaque,
    Mask,
    Blend,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetallicRoughness {
    pub(super) base_color_factor: Option<[f32; 4]>,
    pub(super) base_color_texture: Option<TextureInfo>,
    pub(super) metallic_factor: Option<f32>,
    pub(super) roughness_factor: Option<f32>,
    pub(super) metallic_roughness_texture: Option<TextureInfo>,
}

/// `textureInfo`, with what normal and occlusion textures add.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TextureInfo {
    pub(super) index: u32,
    #[serde(default)]
    pub(super) tex_coord: u32,
    pub(super) scale: Option<f32>,
    pub(super) strength: Option<f32>,
    #[serde(default)]
    pub(super) extensions: TextureInfoExtensions,
}

#[derive(Deserialize, Default)]
pub(super) struct TextureInfoExtensions {
    #[serde(rename = "KHR_texture_transform")]
    pub(super) transform: Option<Box<TextureTransform>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TextureTransform {
    pub(super) offset: Option<[f32; 2]>,
    pub(super) rotation: Option<f32>,
    pub(super) scale: Option<[f32; 2]>,
    pub(super) tex_coord: Option<u32>,
}

#[derive(Deserialize, Default)]
pub(super) struct MaterialExtensions {
    #[serde(rename = "KHR_materials_unlit")]
    pub(super) unlit: Option<Ignored>,
    #[serde(rename = "KHR_materials_emissive_strength")]
    pub(super) emissive_strength: Option<EmissiveStrength>,
    #[serde(rename = "KHR_materials_pbrSpecularGlossiness")]
    pub(super) specular_glossiness: Option<Box<SpecularGlossiness>>,
    #[serde(rename = "KHR_materials_ior")]
    pub(super) ior: Option<Ior>,
    #[serde(rename = "KHR_materials_specular")]
    pub(super) specular: Option<Box<Specular>>,
    #[serde(rename = "KHR_materials_clearcoat")]
    pub(super) clearcoat: Option<Box<Clearcoat>>,
    #[serde(rename = "KHR_materials_sheen")]
    pub(super) sheen: Option<Box<Sheen>>,
    #[serde(rename = "KHR_materials_transmission")]
    pub(super) transmission: Option<Box<Transmission>>,
    #[serde(rename = "KHR_materials_volume")]
    pub(super) volume: Option<Volume>,
}

#[derive(Deserialize)]
pub(super) struct Ior {
    pub(super) ior: Option<f32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Specular {
    pub(super) specular_factor: Option<f32>,
    pub(super) specular_texture: Option<TextureInfo>,
    pub(super) specular_color_factor: Option<[f32; 3]>,
    pub(super) specular_color_texture: Option<TextureInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Clearcoat {
    pub(super) clearcoat_factor: Option<f32>,
    pub(super) clearcoat_texture: Option<TextureInfo>,
    pub(super) clearcoat_roughness_factor: Option<f32>,
    pub(super) clearcoat_roughness_texture: Option<TextureInfo>,
    pub(super) clearcoat_normal_texture: Option<TextureInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sheen {
    pub(super) sheen_color_factor: Option<[f32; 3]>,
    pub(super) sheen_color_texture: Option<TextureInfo>,
    pub(super) sheen_roughness_factor: Option<f32>,
    pub(super) sheen_roughness_texture: Option<TextureInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Transmission {
    pub(super) transmission_factor: Option<f32>,
    pub(super) transmission_texture: Option<TextureInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Volume {
    pub(super) thickness_factor: Option<f32>,
    pub(super) attenuation_distance: Option<f32>,
    pub(super) attenuation_color: Option<[f32; 3]>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EmissiveStrength {
    pub(super) emissive_strength: Option<f32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SpecularGlossiness {
    pub(super) diffuse_factor: Option<[f32; 4]>,
    pub(super) diffuse_texture: Option<TextureInfo>,
    pub(super) specular_factor: Option<[f32; 3]>,
    pub(super) glossiness_factor: Option<f32>,
    pub(super) specular_glossiness_texture: Option<TextureInfo>,
}
