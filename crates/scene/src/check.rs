//! The rules of a [`Model`], so that nobody downstream has to check them again.

use std::f32::consts::FRAC_PI_2;

use crate::{LIGHTS_MAX, Light, LightKind, Material, Model, Primitive};

/// A rule of [`Model`] that does not hold. Readers must not produce these: one is a bug of the reader, or bad input
/// that it should have named in its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// An index points past the end.
    #[error("{what} {at} refers to {to} {index}, of which there are {len}")]
    Dangling {
        /// What refers.
        what: &'static str,
        /// Its index.
        at: usize,
        /// To what kind of thing.
        to: &'static str,
        /// The bad index.
        index: usize,
        /// How many there are.
        len: usize,
    },
    /// An attribute is neither absent nor as long as the positions.
    #[error("attribute {attribute} of mesh {mesh} has {got} elements for {want} vertices")]
    Length {
        /// Of which mesh.
        mesh: usize,
        /// Which.
        attribute: &'static str,
        /// Its length.
        got: usize,
        /// The number of vertices.
        want: usize,
    },
    /// An image has no texels or not the bytes for its size.
    #[error("image {0} has not the bytes of its size")]
    Image(usize),
    /// More than the renderers look at.
    #[error("there are {0} lights; at most {LIGHTS_MAX} are possible")]
    Lights(usize),
    /// NaN, infinity, or a number out of its range.
    #[error("{what} {at} has impossible numbers")]
    NotFinite {
        /// What.
        what: &'static str,
        /// Its index.
        at: usize,
    },
}

impl Model {
    /// Checks every rule that the fields' docs state.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn check(&self) -> Result<(), Defect> {
        for (at, node) in self.nodes.iter().enumerate() {
            if let Some(parent) = node.parent {
                within("node", at, "earlier node", parent, at)?;
            }
            if let Some(mesh) = node.mesh {
                within("node", at, "mesh", mesh, self.meshes.len())?;
            }
            finite("node", at, node.parent_from_node.is_finite())?;
        }
        for (at, mesh) in self.meshes.iter().enumerate() {
            for primitive in &mesh.primitives {
                self.check_primitive(at, primitive)?;
            }
        }
        for (at, material) in self.materials.iter().enumerate() {
            self.check_material(at, material)?;
        }
        for (at, texture) in self.textures.iter().enumerate() {
            within("texture", at, "image", texture.image, self.images.len())?;
        }
        for (at, image) in self.images.iter().enumerate() {
            let bytes = u64::from(image.width) * u64::from(image.height) * 4;
            if bytes == 0 || bytes != image.rgba.len() as u64 {
                return Err(Defect::Image(at));
            }
        }
        if self.lights.len() > LIGHTS_MAX {
            return Err(Defect::Lights(self.lights.len()));
        }
        for (at, light) in self.lights.iter().enumerate() {
            within("light", at, "node", light.node, self.nodes.len())?;
            finite("light", at, is_possible(light))?;
        }
        Ok(())
    }

    fn check_primitive(&self, mesh: usize, primitive: &Primitive) -> Result<(), Defect> {
        let vertices = &primitive.vertices;
        let want = vertices.positions.len();
        for (attribute, got, optional) in [
            ("normals", vertices.normals.len(), false),
            ("tangents", vertices.tangents.len(), true),
            ("uv0", vertices.uv0.len(), true),
            ("uv1", vertices.uv1.len(), true),
            ("colors", vertices.colors.len(), true),
        ] {
            if got != want && !(optional && got == 0) {
                return Err(Defect::Length { mesh, attribute, got, want });
            }
        }
        if !primitive.indices.len().is_multiple_of(3) {
            let got = primitive.indices.len();
            return Err(Defect::Length { mesh, attribute: "indices", got, want: got / 3 * 3 });
        }
        if let Some(&bad) = primitive.indices.iter().find(|index| **index as usize >= want) {
            within("mesh", mesh, "vertex", bad, want)?;
        }
        within("mesh", mesh, "material", primitive.material, self.materials.len())?;
        let all_finite = vertices.positions.iter().all(|v| v.is_finite())
            && vertices.normals.iter().all(|v| v.is_finite())
            && vertices.tangents.iter().all(|v| v.is_finite())
            && vertices.uv0.iter().chain(&vertices.uv1).all(|v| v.is_finite());
        finite("mesh", mesh, all_finite)
    }

    fn check_material(&self, at: usize, material: &Material) -> Result<(), Defect> {
        for texture in material.textures() {
            within("material", at, "texture", texture.texture, self.textures.len())?;
            within("material", at, "texture coordinate set", u32::from(texture.uv_set), 2)?;
            finite("material", at, texture.image_from_uv.is_finite())?;
        }
        let factors = [
            material.metallic,
            material.roughness,
            material.normal_scale,
            material.occlusion_strength,
            material.base_color.length_squared(),
            material.emissive.length_squared(),
        ];
        finite("material", at, factors.iter().all(|x| x.is_finite()))?;
        let Some(coating) = &material.coating else { return Ok(()) };
        let shares = [
            coating.specular,
            coating.clearcoat,
            coating.clearcoat_roughness,
            coating.sheen_roughness,
            coating.transmission,
        ];
        let colors = [coating.specular_color, coating.sheen_color, coating.tint];
        let possible = shares.iter().all(|x| (0.0..=1.0).contains(x))
            && colors.iter().all(|c| c.is_finite() && c.min_element() >= 0.0)
            && (0.0..=1.0).contains(&coating.f0)
            && coating.clearcoat_normal_scale.is_finite();
        finite("material", at, possible)
    }
}

/// Whether a light's numbers are within what their docs say.
fn is_possible(light: &Light) -> bool {
    let angles = match light.kind {
        LightKind::Directional | LightKind::Point => true,
        LightKind::Spot { inner_rad, outer_rad } => {
            (0.0..outer_rad).contains(&inner_rad) && outer_rad <= FRAC_PI_2
        }
    };
    light.color.is_finite() && light.color.min_element() >= 0.0 && light.range_m > 0.0 && angles
}

fn within(what: &'static str, at: usize, to: &'static str, index: u32, len: usize) -> Result<(), Defect> {
    let index = index as usize;
    if index < len { Ok(()) } else { Err(Defect::Dangling { what, at, to, index, len }) }
}

fn finite(what: &'static str, at: usize, finite: bool) -> Result<(), Defect> {
    if finite { Ok(()) } else { Err(Defect::NotFinite { what, at }) }
}

#[cfg(test)]
mod tests {
    use glam::{Affine3A, Vec3};

    use super::*;
    use crate::{Mesh, Node, Vertices};

    fn triangle() -> Model {
        let positions = vec![Vec3::ZERO, Vec3::X, Vec3::Y];
        let vertices = Vertices { normals: vec![Vec3::Z; 3], positions, ..Vertices::default() };
        Model {
            nodes: vec![Node {
                name: String::new(),
                parent: None,
                parent_from_node: Affine3A::IDENTITY,
                mesh: Some(0),
            }],
            meshes: vec![Mesh {
                name: String::new(),
                primitives: vec![Primitive { vertices, indices: vec![0, 1, 2], material: 0 }],
            }],
            materials: vec![Material::default()],
            ..Model::default()
        }
    }

    #[test]
    fn each_broken_rule_is_found() {
        assert_eq!(triangle().check(), Ok(()));
        assert_eq!(triangle().triangles(), 1);
        let breaks: [fn(&mut Model); 7] = [
            |m| m.nodes[0].parent = Some(0),
            |m| m.nodes[0].mesh = Some(1),
            |m| m.meshes[0].primitives[0].indices[2] = 3,
            |m| m.meshes[0].primitives[0].material = 1,
            |m| m.meshes[0].primitives[0].vertices.positions[0].x = f32::NAN,
            |m| m.meshes[0].primitives[0].vertices.normals.clear(),
            |m| m.meshes[0].primitives[0].indices.truncate(2),
        ];
        for (n, break_it) in breaks.into_iter().enumerate() {
            let mut model = triangle();
            break_it(&mut model);
            assert!(model.check().is_err(), "break {n}");
        }
    }
}
