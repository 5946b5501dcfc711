//! Materials, as primitives use them.

use std::collections::BTreeMap;

use scene::{
    AlphaMode, Coating, Material, Model, Sampler, Texture, TextureUse, Wrap,
    math::{Affine2, Mat2, Vec2, Vec3, Vec4},
};

use super::{image::Source, json};
use crate::{Fault, error::within, warnings::Warnings};

/// Collects the materials, textures and images that primitives really use.
pub(super) struct Materials<'a> {
    json: &'a json::Root,
    materials: Vec<Material>,
    textures: Vec<Texture>,
    images: Vec<Source>,
    by_use: BTreeMap<(Option<u32>, Use), u32>,
}

/// What a material differs by from primitive to primitive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Use {
    /// The texture coordinates that there are.
    pub(super) has_uv: [bool; 2],
    /// Points or lines: without normal maps.
    pub(super) on_strokes: bool,
    /// Points and lines without normals are not lit (glTF 2.0, section 3.7.2.1).
    pub(super) unlit: bool,
}

/// What [`Materials`] collected. `Texture::image` counts in `images`.
pub(super) struct Looks {
    pub(super) materials: Vec<Material>,
    pub(super) textures: Vec<Texture>,
    pub(super) images: Vec<Source>,
}

impl<'a> Materials<'a> {
    pub(super) fn new(json: &'a json::Root) -> Self {
        Self {
            json,
            materials: Vec::new(),
            textures: Vec::new(),
            images: Vec::new(),
            by_use: BTreeMap::new(),
        }
    }

    pub(super) fn finish(self) -> Looks {
        Looks { materials: self.materials, textures: self.textures, images: self.images }
    }

    /// Index of the model's material for a primitive at `at` that refers to `material` and uses it like this; and which
    /// texture coordinates its normal map uses. A vertex has one tangent: a lacquer's own map goes by that of the surface.
    pub(super) fn used(
        &mut self,
        material: Option<u32>,
        like: Use,
        at: &str,
        warnings: &mut Warnings,
    ) -> Result<(u32, Option<u8>), Fault> {
        let index = match self.by_use.get(&(material, like)) {
            Some(index) => *index,
            None => {
                let mut made = match material {
                    None => Material::default(),
                    Some(m) => {
                        let at = || format!("{at}.material");
                        within(m, self.json.materials.len(), "material", at)?;
                        self.convert(m, like.has_uv, warnings)?
                    }
                };
                if like.on_strokes {
                    made.normal_texture = None;
                    if let Some(coating) = &mut made.coating {
                        coating.clearcoat_normal_texture = None;
                    }
                }
                if like.unlit {
                    made.unlit = true;
                    made.coating = None;
                }
                let index = u32::try_from(self.materials.len()).unwrap_or(u32::MAX);
                self.materials.push(made);
                self.by_use.insert((material, like), index);
                index
            }
        };
        let made = &self.materials[index as usize];
        let of_lacquer = made.coating.as_ref().and_then(|coating| coating.clearcoat_normal_texture);
        Ok((index, made.normal_texture.or(of_lacquer).map(|t| t.uv_set)))
    }

    fn convert(&mut self, index: u32, has_uv: [bool; 2], warnings: &mut Warnings) -> Result<Material, Fault> {
        let json = self.json;
        let material = &json.materials[index as usize];
        let at = format!("materials[{index}]");
        let mut out = Material { name: material.name.clone(), ..Material::default() };
        if let Some(pbr) = &material.pbr_metallic_roughness {
            let at = format!("{at}.pbrMetallicRoughness");
            out.base_color = Vec4::from_array(pbr.base_color_factor.unwrap_or([1.0; 4]));
            out.metallic = pbr.metallic_factor.unwrap_or(1.0);
            out.roughness = pbr.roughness_factor.unwrap_or(1.0);
            out.base_color_texture =
                self.texture(pbr.base_color_texture.as_ref(), has_uv, &at, "baseColorTexture", warnings)?;
            let info = pbr.metallic_roughness_texture.as_ref();
            out.metallic_roughness_texture =
                self.texture(info, has_uv, &at, "metallicRoughnessTexture", warnings)?;
        }
        if let Some(old) = &material.extensions.specular_glossiness {
            self.specular_glossiness(old, &mut out, has_uv, &at, warnings)?;
        }
        let info = material.normal_texture.as_ref();
        out.normal_texture = self.texture(info, has_uv, &at, "normalTexture", warnings)?;
        out.normal_scale = normal_scale(info);
        let info = material.occlusion_texture.as_ref();
        out.occlusion_texture = self.texture(info, has_uv, &at, "occlusionTexture", warnings)?;
        out.occlusion_strength = info.and_then(|t| t.strength).unwrap_or(1.0).clamp(0.0, 1.0);
        let info = material.emissive_texture.as_ref();
        out.emissive_texture = self.texture(info, has_uv, &at, "emissiveTexture", warnings)?;
        let strength = material.extensions.emissive_strength.as_ref().and_then(|e| e.emissive_strength);
        out.emissive =
            Vec3::from_array(material.emissive_factor.unwrap_or([0.0; 3])) * strength.unwrap_or(1.0);
        out.alpha_mode = match material.alpha_mode {
            json::AlphaMode::Opaque => AlphaMode::Opaque,
            json::AlphaMode::Mask => {
                AlphaMode::Mask { cutoff: bounded(material.alpha_cutoff.unwrap_or(0.5), 1.0) }
            }
            json::AlphaMode::Blend => AlphaMode::Blend,
        };
        out.double_sided = material.double_sided;
        out.unlit = material.extensions.unlit.is_some();
        if !out.unlit {
            self.coating(&material.extensions, &mut out, has_uv, &at, warnings)?;
        }

        // Out of their ranges factors are mended without a word: the picture says it.
        out.base_color = Vec4::from_array(out.base_color.to_array().map(|x| bounded(x, 1.0)));
        out.emissive = Vec3::from_array(out.emissive.to_array().map(|x| bounded(x, 1e6)));
        out.metallic = bounded(out.metallic, 1.0);
        out.roughness = bounded(out.roughness, 1.0);
        Ok(out)
    }

    /// KHR_materials_pbrSpecularGlossiness, approximately: the archived extension lets metals have a diffuse and a specular
    /// colour each, where we have one base colour.
    fn specular_glossiness(
        &mut self,
        old: &json::SpecularGlossiness,
        out: &mut Material,
        has_uv: [bool; 2],
        at: &str,
        warnings: &mut Warnings,
    ) -> Result<(), Fault> {
        let at = format!("{at}.extensions.KHR_materials_pbrSpecularGlossiness");
        let diffuse = Vec4::from_array(old.diffuse_factor.unwrap_or([1.0; 4]));
        let specular = Vec3::from_array(old.specular_factor.unwrap_or([1.0; 3]));
        let glossiness = bounded(old.glossiness_factor.unwrap_or(1.0), 1.0);
        out.base_color_texture =
            self.texture(old.diffuse_texture.as_ref(), has_uv, &at, "diffuseTexture", warnings)?;
        out.base_color = diffuse;
        out.metallic = 0.0;
        out.roughness = 1.0 - glossiness;
        let info = old.specular_glossiness_texture.as_ref();
        let used = self.texture(info, has_uv, &at, "specularGlossinessTexture", warnings)?;
        if let Some(mut used) = used {
            // Glossiness is in alpha: a new image has it as roughness. The specular colours are given up.
            let texture = self.textures[used.texture as usize];
            let file_image = self.images[texture.image as usize].image;
            let image = self.image(Source { image: file_image, glossiness_bits: Some(glossiness.to_bits()) });
            used.texture = self.push_texture(Texture { image, ..texture });
            out.metallic_roughness_texture = Some(used);
            out.roughness = 1.0;
        } else if out.base_color_texture.is_none() && specular.max_element() > 0.2 {
            // Only metals reflect more than a few percent head-on; their colour is the specular one.
            let share = ((specular.max_element() - 0.2) / 0.4).clamp(0.0, 1.0);
            out.metallic = share;
            out.base_color = diffuse.truncate().lerp(specular, share).extend(diffuse.w);
        }
        Ok(())
    }

    /// What extensions add to the surface.
    fn coating(
        &mut self,
        from: &json::MaterialExtensions,
        out: &mut Material,
        has_uv: [bool; 2],
        at: &str,
        warnings: &mut Warnings,
    ) -> Result<(), Fault> {
        let mut coating = Coating::default();
        let mut texture = |info: Option<&json::TextureInfo>, extension: &str, name: &str| {
            self.texture(info, has_uv, &format!("{at}.extensions.{extension}"), name, warnings)
        };
        if let Some(ior) = from.ior.as_ref().and_then(|ior| ior.ior) {
            // 0 is by specification a mirror, for converted materials.
            let ratio = if ior == 0.0 { 1.0 } else { (ior - 1.0) / (ior + 1.0) };
            coating.f0 = bounded(ratio * ratio, 1.0);
        }
        if let Some(specular) = &from.specular {
            let name = "KHR_materials_specular";
            coating.specular = bounded(specular.specular_factor.unwrap_or(1.0), 1.0);
            coating.specular_texture = texture(specular.specular_texture.as_ref(), name, "specularTexture")?;
            coating.specular_color = bounded3(specular.specular_color_factor.unwrap_or([1.0; 3]), 1e3);
            let info = specular.specular_color_texture.as_ref();
            coating.specular_color_texture = texture(info, name, "specularColorTexture")?;
        }
        if let Some(clearcoat) = &from.clearcoat {
            let name = "KHR_materials_clearcoat";
            coating.clearcoat = bounded(clearcoat.clearcoat_factor.unwrap_or(0.0), 1.0);
            coating.clearcoat_texture =
                texture(clearcoat.clearcoat_texture.as_ref(), name, "clearcoatTexture")?;
            coating.clearcoat_roughness = bounded(clearcoat.clearcoat_roughness_factor.unwrap_or(0.0), 1.0);
            let info = clearcoat.clearcoat_roughness_texture.as_ref();
            coating.clearcoat_roughness_texture = texture(info, name, "clearcoatRoughnessTexture")?;
            let info = clearcoat.clearcoat_normal_texture.as_ref();
            coating.clearcoat_normal_texture = texture(info, name, "clearcoatNormalTexture")?;
            coating.clearcoat_normal_scale = normal_scale(info);
        }
        if let Some(sheen) = &from.sheen {
            let name = "KHR_materials_sheen";
            coating.sheen_color = bounded3(sheen.sheen_color_factor.unwrap_or([0.0; 3]), 1.0);
            let info = sheen.sheen_color_texture.as_ref();
            coating.sheen_color_texture = texture(info, name, "sheenColorTexture")?;
            coating.sheen_roughness = bounded(sheen.sheen_roughness_factor.unwrap_or(0.0), 1.0);
            let info = sheen.sheen_roughness_texture.as_ref();
            coating.sheen_roughness_texture = texture(info, name, "sheenRoughnessTexture")?;
        }
        if let Some(transmission) = &from.transmission {
            let name = "KHR_materials_transmission";
            coating.transmission = bounded(transmission.transmission_factor.unwrap_or(0.0), 1.0);
            let info = transmission.transmission_texture.as_ref();
            coating.transmission_texture = texture(info, name, "transmissionTexture")?;
            if let Some(volume) = &from.volume {
                coating.tint = tint(volume);
            }
            if coating.transmission > 0.0 && out.alpha_mode == AlphaMode::Opaque {
                // Opaque materials ignore alpha.
                out.alpha_mode = AlphaMode::Blend;
                out.base_color.w = 1.0;
            }
        }
        let Coating { f0, specular, specular_color, clearcoat, sheen_color, transmission, .. } = coating;
        let changes = (f0 - 0.04).abs() > 1e-6
            || specular != 1.0
            || coating.specular_texture.is_some()
            || specular_color != Vec3::ONE
            || coating.specular_color_texture.is_some()
            || clearcoat > 0.0
            || sheen_color != Vec3::ZERO
            || transmission > 0.0;
        out.coating = changes.then(|| Box::new(coating));
        Ok(())
    }

    fn texture(
        &mut self,
        info: Option<&json::TextureInfo>,
        has_uv: [bool; 2],
        at: &str,
        name: &str,
        warnings: &mut Warnings,
    ) -> Result<Option<TextureUse>, Fault> {
        let Some(info) = info else { return Ok(None) };
        let at = format!("{at}.{name}");
        let t = within(info.index, self.json.textures.len(), "texture", || format!("{at}.index"))?;
        let transform = info.extensions.transform.as_deref();
        let set = transform.and_then(|t| t.tex_coord).unwrap_or(info.tex_coord);
        if !has_uv.get(set as usize).is_some_and(|has| *has) {
            let why =
                if set > 1 { "only the first two sets are read" } else { "a mesh that uses it has none" };
            warnings.say(format!("{at}: not shown: it needs TEXCOORD_{set}, and {why}."));
            return Ok(None);
        }
        let texture = &self.json.textures[t];
        let json::TextureExtensions { basisu, webp } = &texture.extensions;
        let extended = [basisu, webp].into_iter().flatten().find_map(|extension| extension.source);
        let source = extended.or(texture.source);
        let Some(source) = source else {
            warnings.say(format!("textures[{t}]: not shown: it has no PNG, JPEG, WebP or KTX2 image."));
            return Ok(None);
        };
        within(source, self.json.images.len(), "image", || format!("textures[{t}].source"))?;
        let sampler = match texture.sampler {
            None => Sampler::default(),
            Some(s) => {
                let at = || format!("textures[{t}].sampler");
                convert_sampler(&self.json.samplers[within(s, self.json.samplers.len(), "sampler", at)?])
            }
        };
        let image = self.image(Source { image: source, glossiness_bits: None });
        let texture = self.push_texture(Texture { image, sampler });
        let mut image_from_uv = transform.map_or(Affine2::IDENTITY, convert_transform);
        if !image_from_uv.is_finite() || image_from_uv.matrix2.determinant().abs() > 1e12 {
            warnings
                .say(format!("{at}: KHR_texture_transform has numbers that are too large; it was ignored."));
            image_from_uv = Affine2::IDENTITY;
        }
        #[expect(clippy::cast_possible_truncation, reason = "0 or 1, see above")]
        let uv_set = set as u8;
        Ok(Some(TextureUse { texture, uv_set, image_from_uv }))
    }

    fn image(&mut self, source: Source) -> u32 {
        index_or_push(&mut self.images, source)
    }

    fn push_texture(&mut self, texture: Texture) -> u32 {
        index_or_push(&mut self.textures, texture)
    }
}

/// Index of `item`, which is added if it is not there. From the end: materials mostly repeat what came just before.
fn index_or_push<T: PartialEq>(items: &mut Vec<T>, item: T) -> u32 {
    // Far back nothing is looked for, so that many textures take linear time.
    let start = items.len().saturating_sub(4096);
    let found = items[start..].iter().rposition(|other| *other == item).map(|i| i + start);
    let index = found.unwrap_or_else(|| {
        items.push(item);
        items.len() - 1
    });
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// How strong a normal map is.
fn normal_scale(info: Option<&json::TextureInfo>) -> f32 {
    let scale = info.and_then(|t| t.scale).unwrap_or(1.0);
    if scale.is_finite() { scale.clamp(-1e3, 1e3) } else { 1.0 }
}

/// `x` from 0 to `max`, 0 if it is not a number.
fn bounded(x: f32, max: f32) -> f32 {
    if x.is_nan() { 0.0 } else { x.clamp(0.0, max) }
}

fn bounded3(color: [f32; 3], max: f32) -> Vec3 {
    Vec3::from_array(color.map(|x| bounded(x, max)))
}

/// What is left of the light after the thickness that the file states (KHR_materials_volume, Beer's law).
fn tint(volume: &json::Volume) -> Vec3 {
    let thickness = volume.thickness_factor.unwrap_or(0.0).max(0.0);
    let distance = volume.attenuation_distance.unwrap_or(f32::INFINITY);
    let exponent = thickness / distance;
    if !(exponent > 0.0 && exponent.is_finite()) {
        return Vec3::ONE;
    }
    let color = bounded3(volume.attenuation_color.unwrap_or([1.0; 3]), 1.0);
    Vec3::from_array(color.to_array().map(|x| x.powf(exponent)))
}

fn convert_sampler(sampler: &json::Sampler) -> Sampler {
    let wrap = |mode: Option<u32>| match mode {
        Some(33071) => Wrap::Clamp,
        Some(33648) => Wrap::Mirror,
        _ => Wrap::Repeat,
    };
    Sampler {
        wrap_u: wrap(sampler.wrap_s),
        wrap_v: wrap(sampler.wrap_t),
        nearest: sampler.mag_filter == Some(9728),
    }
}

/// KHR_texture_transform: translation * rotation * scale, where the rotation turns counter-clockwise as seen with v down.
fn convert_transform(transform: &json::TextureTransform) -> Affine2 {
    let scale = Vec2::from_array(transform.scale.unwrap_or([1.0; 2]));
    let rotation = Mat2::from_angle(-transform.rotation.unwrap_or(0.0));
    let offset = Vec2::from_array(transform.offset.unwrap_or([0.0; 2]));
    Affine2::from_mat2_translation(rotation * Mat2::from_diagonal(scale), offset)
}

/// Puts decoded images in the place of sources, and takes out the textures whose image could not be decoded.
///
/// `image_from_source` has the index of the decoded image for each of [`Looks::images`].
pub(super) fn resolve_images(model: &mut Model, image_from_source: &[Option<u32>]) {
    let mut new_from_old: Vec<Option<u32>> = Vec::with_capacity(model.textures.len());
    let mut kept = Vec::with_capacity(model.textures.len());
    for texture in &model.textures {
        new_from_old.push(image_from_source[texture.image as usize].map(|image| {
            kept.push(Texture { image, ..*texture });
            u32::try_from(kept.len() - 1).unwrap_or(u32::MAX)
        }));
    }
    model.textures = kept;
    for material in &mut model.materials {
        for used in material.textures_mut() {
            *used = used
                .and_then(|u| new_from_old[u.texture as usize].map(|texture| TextureUse { texture, ..u }));
        }
    }
}
