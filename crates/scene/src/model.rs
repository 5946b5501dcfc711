//! A model in memory.

use std::sync::Arc;

use glam::{Affine2, Affine3A, Mat4, Vec2, Vec3, Vec4};

use crate::Aabb;

/// A checked set of nodes with what they show.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Parents before children, so that one pass in order computes world transforms.
    pub nodes: Vec<Node>,
    /// Shared by nodes.
    pub meshes: Vec<Mesh>,
    /// Shared by primitives. Index 0 exists whenever a primitive does.
    pub materials: Vec<Material>,
    /// Shared by materials.
    pub textures: Vec<Texture>,
    /// Shared by textures; decoded.
    pub images: Vec<Arc<Image>>,
    /// Beside the light of the surroundings. At most [`LIGHTS_MAX`].
    pub lights: Vec<Light>,
}

/// Most lights of a model: each is looked at for each pixel.
pub const LIGHTS_MAX: usize = 64;

/// A light without shadows (KHR_lights_punctual). It shines along the -z axis of its node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Light {
    /// Index of the node that it hangs on. Only its place and direction matter, not its scale.
    pub node: u32,
    /// Linear RGB, not negative: lux for directional lights, else candela.
    pub color: Vec3,
    /// Metres in world space, more than 0, where it has faded to nothing; may be infinite. Not for directional lights.
    pub range_m: f32,
    /// How it spreads.
    pub kind: LightKind,
}

/// How a light spreads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LightKind {
    /// Everywhere in one direction and as strong.
    Directional,
    /// From a point in all directions.
    Point,
    /// From a point in a cone, strongest inside `inner_rad` and nothing outside `outer_rad`.
    Spot {
        /// Angle from the axis, 0 to below `outer_rad`.
        inner_rad: f32,
        /// Angle from the axis, at most pi / 2.
        outer_rad: f32,
    },
}

/// A place in the hierarchy.
#[derive(Debug, Clone)]
pub struct Node {
    /// As in the file; may be empty.
    pub name: String,
    /// Index of a node before this one.
    pub parent: Option<u32>,
    /// Affine; may mirror and shear.
    pub parent_from_node: Affine3A,
    /// Index of the mesh that is shown here.
    pub mesh: Option<u32>,
}

/// Primitives that are shown together.
#[derive(Debug, Clone, Default)]
pub struct Mesh {
    /// As in the file; may be empty.
    pub name: String,
    /// Each with one material.
    pub primitives: Vec<Primitive>,
}

/// A triangle mesh with one material. Counter-clockwise triangles face the viewer.
#[derive(Debug, Clone)]
pub struct Primitive {
    /// Attributes by vertex.
    pub vertices: Vertices,
    /// Three per triangle, each below the number of vertices.
    pub indices: Vec<u32>,
    /// Index of a material.
    pub material: u32,
}

/// Attributes by vertex, in mesh space. Optional ones are empty or as long as `positions`.
#[derive(Debug, Clone, Default)]
pub struct Vertices {
    /// Finite.
    pub positions: Vec<Vec3>,
    /// Unit length; always there.
    pub normals: Vec<Vec3>,
    /// Unit length, `w` is the bitangent's sign; there whenever the material has a normal map.
    pub tangents: Vec<Vec4>,
    /// First texture coordinates, (0, 0) is the image's top left. Optional.
    pub uv0: Vec<Vec2>,
    /// Second texture coordinates. Optional.
    pub uv1: Vec<Vec2>,
    /// Linear RGBA that multiplies the base colour, 255 is 1. Optional.
    pub colors: Vec<[u8; 4]>,
}

/// Surface of a primitive: glTF 2.0 metallic-roughness, section 3.9.
#[derive(Debug, Clone)]
pub struct Material {
    /// As in the file; may be empty.
    pub name: String,
    /// Linear RGBA.
    pub base_color: Vec4,
    /// sRGB with alpha; multiplies `base_color`.
    pub base_color_texture: Option<TextureUse>,
    /// 0 (dielectric) to 1 (metal).
    pub metallic: f32,
    /// Perceptual, 0 to 1.
    pub roughness: f32,
    /// Linear; green multiplies `roughness`, blue `metallic`.
    pub metallic_roughness_texture: Option<TextureUse>,
    /// Linear, tangent space, green up.
    pub normal_texture: Option<TextureUse>,
    /// Scales x and y of the normal map.
    pub normal_scale: f32,
    /// Linear; red dims indirect light.
    pub occlusion_texture: Option<TextureUse>,
    /// 0 (none) to 1 (full effect of the occlusion texture).
    pub occlusion_strength: f32,
    /// Linear RGB; may exceed 1.
    pub emissive: Vec3,
    /// sRGB; multiplies `emissive`.
    pub emissive_texture: Option<TextureUse>,
    /// What alpha does.
    pub alpha_mode: AlphaMode,
    /// Back faces are shown too, with the normal flipped.
    pub double_sided: bool,
    /// Base colour as it is, without light (KHR_materials_unlit).
    pub unlit: bool,
    /// What few materials have.
    pub coating: Option<Box<Coating>>,
}

impl Material {
    /// The textures that it uses.
    pub fn textures(&self) -> impl Iterator<Item = TextureUse> {
        let coating = self.coating.as_deref().map(Coating::textures);
        [
            self.base_color_texture,
            self.metallic_roughness_texture,
            self.normal_texture,
            self.occlusion_texture,
            self.emissive_texture,
        ]
        .into_iter()
        .chain(coating.into_iter().flatten())
        .flatten()
    }

    /// All places for textures.
    pub fn textures_mut(&mut self) -> impl Iterator<Item = &mut Option<TextureUse>> {
        let coating = self.coating.as_deref_mut().map(Coating::textures_mut);
        [
            &mut self.base_color_texture,
            &mut self.metallic_roughness_texture,
            &mut self.normal_texture,
            &mut self.occlusion_texture,
            &mut self.emissive_texture,
        ]
        .into_iter()
        .chain(coating.into_iter().flatten())
    }
}

/// What extensions of glTF add to a surface: KHR_materials_ior, _specular, _clearcoat, _sheen, _transmission, _volume.
#[derive(Debug, Clone)]
pub struct Coating {
    /// Reflectance of the dielectric head-on, 0 to 1: from its index of refraction.
    pub f0: f32,
    /// Strength of the dielectric's reflection, 0 to 1.
    pub specular: f32,
    /// Alpha multiplies `specular`.
    pub specular_texture: Option<TextureUse>,
    /// Linear RGB that multiplies `f0`; may exceed 1.
    pub specular_color: Vec3,
    /// sRGB; multiplies `specular_color`.
    pub specular_color_texture: Option<TextureUse>,
    /// A layer of clear lacquer, 0 to 1.
    pub clearcoat: f32,
    /// Red multiplies `clearcoat`.
    pub clearcoat_texture: Option<TextureUse>,
    /// Perceptual, 0 to 1.
    pub clearcoat_roughness: f32,
    /// Green multiplies `clearcoat_roughness`.
    pub clearcoat_roughness_texture: Option<TextureUse>,
    /// As [`Material::normal_texture`], of the lacquer; without one it is smooth, whatever the surface below.
    pub clearcoat_normal_texture: Option<TextureUse>,
    /// Scales x and y of the lacquer's normal map.
    pub clearcoat_normal_scale: f32,
    /// The fuzz of cloth: linear RGB.
    pub sheen_color: Vec3,
    /// sRGB; multiplies `sheen_color`.
    pub sheen_color_texture: Option<TextureUse>,
    /// Perceptual, 0 to 1.
    pub sheen_roughness: f32,
    /// Alpha multiplies `sheen_roughness`.
    pub sheen_roughness_texture: Option<TextureUse>,
    /// How much light that is not reflected goes through, 0 to 1; effective with [`AlphaMode::Blend`].
    pub transmission: f32,
    /// Red multiplies `transmission`.
    pub transmission_texture: Option<TextureUse>,
    /// Linear RGB: what the inside leaves of the light that goes through.
    pub tint: Vec3,
}

impl Default for Coating {
    /// Changes nothing.
    fn default() -> Self {
        Self {
            f0: 0.04,
            specular: 1.0,
            specular_texture: None,
            specular_color: Vec3::ONE,
            specular_color_texture: None,
            clearcoat: 0.0,
            clearcoat_texture: None,
            clearcoat_roughness: 0.0,
            clearcoat_roughness_texture: None,
            clearcoat_normal_texture: None,
            clearcoat_normal_scale: 1.0,
            sheen_color: Vec3::ZERO,
            sheen_color_texture: None,
            sheen_roughness: 0.0,
            sheen_roughness_texture: None,
            transmission: 0.0,
            transmission_texture: None,
            tint: Vec3::ONE,
        }
    }
}

impl Coating {
    fn textures(&self) -> [Option<TextureUse>; 8] {
        [
            self.specular_texture,
            self.specular_color_texture,
            self.clearcoat_texture,
            self.clearcoat_roughness_texture,
            self.clearcoat_normal_texture,
            self.sheen_color_texture,
            self.sheen_roughness_texture,
            self.transmission_texture,
        ]
    }

    fn textures_mut(&mut self) -> [&mut Option<TextureUse>; 8] {
        [
            &mut self.specular_texture,
            &mut self.specular_color_texture,
            &mut self.clearcoat_texture,
            &mut self.clearcoat_roughness_texture,
            &mut self.clearcoat_normal_texture,
            &mut self.sheen_color_texture,
            &mut self.sheen_roughness_texture,
            &mut self.transmission_texture,
        ]
    }
}

impl Default for Material {
    /// glTF's default material: white, fully metallic and rough factors.
    fn default() -> Self {
        Self {
            name: String::new(),
            base_color: Vec4::ONE,
            base_color_texture: None,
            metallic: 1.0,
            roughness: 1.0,
            metallic_roughness_texture: None,
            normal_texture: None,
            normal_scale: 1.0,
            occlusion_texture: None,
            occlusion_strength: 1.0,
            emissive: Vec3::ZERO,
            emissive_texture: None,
            alpha_mode: AlphaMode::Opaque,
            double_sided: false,
            unlit: false,
            coating: None,
        }
    }
}

/// What a material's alpha does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AlphaMode {
    /// Nothing.
    Opaque,
    /// Holes where alpha is below the cut-off.
    Mask {
        /// 0 to 1.
        cutoff: f32,
    },
    /// Source over destination, farthest first.
    Blend,
}

/// A texture as a material uses it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextureUse {
    /// Index of a texture.
    pub texture: u32,
    /// 0 or 1: which texture coordinates.
    pub uv_set: u8,
    /// KHR_texture_transform; identity if absent.
    pub image_from_uv: Affine2,
}

/// An image with a way to sample it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Texture {
    /// Index of an image.
    pub image: u32,
    /// How.
    pub sampler: Sampler,
}

/// How a texture is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sampler {
    /// Outside 0 to 1 horizontally.
    pub wrap_u: Wrap,
    /// Outside 0 to 1 vertically.
    pub wrap_v: Wrap,
    /// Nearest texel instead of a blend.
    pub nearest: bool,
}

/// What is outside an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wrap {
    /// The image again.
    #[default]
    Repeat,
    /// The image again, mirrored each second time.
    Mirror,
    /// The edge.
    Clamp,
}

/// A decoded picture.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    /// At least 1.
    pub width: u32,
    /// At least 1.
    pub height: u32,
    /// Rows from the top, 4 bytes RGBA a texel, alpha not multiplied in. sRGB or linear by use.
    pub rgba: Vec<u8>,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image({}x{})", self.width, self.height)
    }
}

/// Some 20 ms of work.
const TIGHT_VERTICES: usize = 8 << 20;

/// Whether boxes stay boxes.
fn keeps_axes(transform: &Affine3A) -> bool {
    let m = transform.matrix3;
    [m.x_axis, m.y_axis, m.z_axis]
        .iter()
        .all(|axis| axis.to_array().iter().filter(|x| **x != 0.0).count() <= 1)
}

impl Model {
    /// World transforms of all nodes, in node order.
    pub fn world_from_node(&self) -> Vec<Affine3A> {
        let mut world: Vec<Affine3A> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let parent = node.parent.map_or(Affine3A::IDENTITY, |parent| world[parent as usize]);
            world.push(parent * node.parent_from_node);
        }
        world
    }

    /// Bounds of all shown vertices in world space; `None` if nothing is shown.
    ///
    /// Tight for up to 8 million turned vertices; beyond that, boxes of turned boxes, which are larger.
    pub fn bounds_in_world(&self) -> Option<Aabb> {
        let mesh_bounds: Vec<Option<Aabb>> = self.meshes.iter().map(Mesh::bounds).collect();
        let mut n_left = TIGHT_VERTICES;
        let mut all: Option<Aabb> = None;
        for (node, world_from_node) in self.nodes.iter().zip(self.world_from_node()) {
            let Some(mesh) = node.mesh else { continue };
            let Some(bounds) = mesh_bounds[mesh as usize] else { continue };
            let mesh = &self.meshes[mesh as usize];
            let n_vertices = mesh.primitives.iter().map(|p| p.vertices.positions.len()).sum();
            let bounds = match n_left.checked_sub(n_vertices) {
                Some(left) if !keeps_axes(&world_from_node) => {
                    n_left = left;
                    let points = mesh.primitives.iter().flat_map(|p| &p.vertices.positions);
                    let start = world_from_node.transform_point3(bounds.center());
                    points.fold(Aabb { min: start, max: start }, |all, p| {
                        let p = world_from_node.transform_point3(*p);
                        Aabb { min: all.min.min(p), max: all.max.max(p) }
                    })
                }
                _ => bounds.transformed(&Mat4::from(world_from_node)),
            };
            all = Some(all.map_or(bounds, |all| all.union(bounds)));
        }
        all
    }

    /// Drawn triangles, instances counted each.
    pub fn triangles(&self) -> u64 {
        self.nodes
            .iter()
            .filter_map(|node| node.mesh)
            .flat_map(|mesh| &self.meshes[mesh as usize].primitives)
            .map(|primitive| primitive.indices.len() as u64 / 3)
            .sum()
    }
}

impl Mesh {
    /// Bounds of all vertices in mesh space; `None` without vertices.
    pub fn bounds(&self) -> Option<Aabb> {
        self.primitives
            .iter()
            .filter_map(|primitive| Aabb::of(&primitive.vertices.positions))
            .reduce(Aabb::union)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_turned_nodes_are_tight() {
        // A square that stands on its corner: its turned box would be twice as large.
        let positions = vec![Vec3::X, Vec3::Y, Vec3::NEG_X, Vec3::NEG_Y];
        let vertices = Vertices { normals: vec![Vec3::Z; 4], positions, ..Vertices::default() };
        let primitive = Primitive { vertices, indices: vec![0, 1, 2], material: 0 };
        let turn = Affine3A::from_rotation_z(std::f32::consts::FRAC_PI_4);
        let node = Node { name: String::new(), parent: None, parent_from_node: turn, mesh: Some(0) };
        let mesh = Mesh { name: String::new(), primitives: vec![primitive] };
        let model = Model {
            nodes: vec![node],
            meshes: vec![mesh],
            materials: vec![Material::default()],
            ..Model::default()
        };
        let bounds = model.bounds_in_world().unwrap();
        let half = std::f32::consts::FRAC_1_SQRT_2;
        assert!((bounds.max - Vec3::new(half, half, 0.0)).length() < 1e-6, "{bounds:?}");
        assert!((bounds.min + bounds.max).length() < 1e-6, "{bounds:?}");
    }
}
