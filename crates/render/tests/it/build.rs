//! Scenes made of simple shapes, for tests.

use std::sync::Arc;

use scene::math::{Affine2, Affine3A, Quat, Vec2, Vec3, Vec4};
use scene::{
    AlphaMode, Image, Light, LightKind, Material, Mesh, Model, Node, Primitive, Sampler, Texture, TextureUse,
    Vertices,
};

use super::RenderScene;

pub(crate) fn unlit(r: f32, g: f32, b: f32, a: f32) -> Material {
    Material { base_color: Vec4::new(r, g, b, a), unlit: true, ..Material::default() }
}

/// A scene under construction: every shape has a node, a mesh and a material of its own.
#[derive(Default, Clone)]
pub(crate) struct Build(pub(crate) Model);

impl Build {
    pub(crate) fn add(mut self, primitive: Primitive, at: Affine3A, material: Material) -> Self {
        let n = self.0.meshes.len() as u32;
        let primitive = Primitive { material: n, ..primitive };
        self.0.meshes.push(Mesh { name: String::new(), primitives: vec![primitive] });
        self.0.materials.push(material);
        self.0.nodes.push(Node { name: String::new(), parent: None, parent_from_node: at, mesh: Some(n) });
        self
    }

    pub(crate) fn quad(self, at: Affine3A, material: Material) -> Self {
        self.add(quad(), at, material)
    }

    pub(crate) fn image(mut self, width: u32, height: u32, texels: &[[u8; 4]], sampler: Sampler) -> Self {
        let image = self.0.images.len() as u32;
        self.0.images.push(Arc::new(Image { width, height, rgba: texels.concat() }));
        self.0.textures.push(Texture { image, sampler });
        self
    }

    pub(crate) fn light(mut self, at: Affine3A, color: Vec3, range_m: f32, kind: LightKind) -> Self {
        let node = self.0.nodes.len() as u32;
        self.0.nodes.push(Node { name: String::new(), parent: None, parent_from_node: at, mesh: None });
        self.0.lights.push(Light { node, color, range_m, kind });
        self
    }

    pub(crate) fn scene(&self) -> RenderScene {
        RenderScene::build(&self.0, &mut |_| ()).unwrap()
    }
}

pub(crate) fn texture(texture: u32) -> Option<TextureUse> {
    Some(TextureUse { texture, uv_set: 0, image_from_uv: Affine2::IDENTITY })
}

pub(crate) fn at(x: f32, y: f32, z: f32) -> Affine3A {
    Affine3A::from_translation(Vec3::new(x, y, z))
}

/// 2 x 2 around the origin, seen from +z, uv (0, 0) at its top left.
pub(crate) fn quad() -> Primitive {
    let corners = [(-1.0, 1.0), (-1.0, -1.0), (1.0, -1.0), (1.0, 1.0)];
    let vertices = Vertices {
        positions: corners.map(|(x, y)| Vec3::new(x, y, 0.0)).to_vec(),
        normals: vec![Vec3::Z; 4],
        tangents: vec![Vec4::new(1.0, 0.0, 0.0, 1.0); 4],
        uv0: corners.map(|(x, y)| Vec2::new(x * 0.5 + 0.5, 0.5 - y * 0.5)).to_vec(),
        ..Vertices::default()
    };
    Primitive { vertices, indices: vec![0, 1, 2, 0, 2, 3], material: 0 }
}

/// 2 x 2 x 2 around the origin, seen from outside.
pub(crate) fn cube() -> Primitive {
    let mut vertices = Vertices::default();
    let mut indices = Vec::new();
    for axis in 0..3 {
        for side in [-1.0, 1.0] {
            let mut n = Vec3::ZERO;
            n[axis] = side;
            let u = Vec3::from_array([n.y.abs() + n.z.abs(), n.x.abs(), 0.0]);
            let v = n.cross(u);
            let first = vertices.positions.len() as u32;
            for (a, b) in [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)] {
                vertices.positions.push(n + u * a + v * b);
                vertices.normals.push(n);
            }
            indices.extend([0, 1, 2, 0, 2, 3].map(|i| first + i));
        }
    }
    Primitive { vertices, indices, material: 0 }
}

pub(crate) fn sphere(segments: u32) -> Primitive {
    let mut vertices = Vertices::default();
    let mut indices = Vec::new();
    for ring in 0..=segments {
        for segment in 0..=segments {
            let (v, u) = (ring as f32 / segments as f32, segment as f32 / segments as f32);
            let (st, ct) = (v * std::f32::consts::PI).sin_cos();
            let (sp, cp) = (u * std::f32::consts::TAU).sin_cos();
            let n = Vec3::new(st * sp, ct, st * cp);
            vertices.positions.push(n);
            vertices.normals.push(n);
            vertices.tangents.push(Vec4::new(cp, 0.0, -sp, 1.0));
            vertices.uv0.push(Vec2::new(u * 2.0, v));
            vertices.uv1.push(Vec2::new(v, u));
            vertices.colors.push([255, (ring * 255 / segments) as u8, 255, 255]);
            if ring < segments && segment < segments {
                let a = ring * (segments + 1) + segment;
                let b = a + segments + 1;
                indices.extend([a, b, a + 1, a + 1, b, b + 1]);
            }
        }
    }
    Primitive { vertices, indices, material: 0 }
}

/// A bit of everything.
pub(crate) fn everything() -> Build {
    let noise: Vec<[u8; 4]> = (0..256 * 256u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .map(|[a, b, c, d]| [a, b, c, if d > 99 { 255 } else { 40 }])
        .collect();
    let bumps: Vec<[u8; 4]> =
        (0..16 * 16u32).map(|n| [(100 + n % 16 * 4) as u8, (100 + n / 16 * 4) as u8, 240, 255]).collect();
    let uv1 = TextureUse {
        texture: 0,
        uv_set: 1,
        image_from_uv: Affine2::from_scale_angle_translation(Vec2::new(2.0, 3.0), 0.4, Vec2::new(0.1, 0.7)),
    };
    let metal = Material {
        base_color: Vec4::new(0.9, 0.6, 0.4, 1.0),
        roughness: 0.25,
        normal_texture: texture(1),
        occlusion_texture: texture(0),
        ..Material::default()
    };
    let masked = Material {
        base_color_texture: Some(uv1),
        metallic: 0.0,
        alpha_mode: AlphaMode::Mask { cutoff: 0.5 },
        double_sided: true,
        ..Material::default()
    };
    let glass = Material {
        base_color: Vec4::new(0.2, 0.5, 0.9, 0.4),
        metallic: 0.0,
        roughness: 0.1,
        alpha_mode: AlphaMode::Blend,
        ..Material::default()
    };
    let glow = Material {
        base_color_texture: texture(0),
        metallic_roughness_texture: texture(0),
        emissive: Vec3::new(0.3, 0.1, 0.0),
        emissive_texture: texture(0),
        ..Material::default()
    };
    let squeezed = Affine3A::from_scale_rotation_translation(
        Vec3::new(-0.7, 0.4, 1.1),
        Quat::from_rotation_z(0.5),
        Vec3::new(1.0, 0.8, -1.0),
    );
    Build::default()
        .image(256, 256, &noise, Sampler::default())
        .image(16, 16, &bumps, Sampler::default())
        .add(sphere(40), at(-0.8, 0.0, 0.0), metal.clone())
        .add(sphere(24), at(0.9, -0.3, 0.2), masked)
        .add(sphere(12), at(0.2, 0.2, 1.2), glass.clone())
        .add(cube(), at(0.0, 0.0, 1.0), Material { double_sided: true, ..glass })
        .add(sphere(16), squeezed, metal)
        .add(cube(), at(0.0, -2.1, 0.0) * Affine3A::from_scale(Vec3::new(30.0, 1.0, 30.0)), glow)
}
