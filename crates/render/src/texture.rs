//! Materials and textures, ready to shade with: images become chains of ever smaller ones, filtered in linear light.
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "texels are clamped to bytes")]

use std::num::NonZeroUsize;

use scene::{AlphaMode, Coating, Image, Material, Model, TextureUse, Wrap};

use crate::clusters::{BuildError, index, within};
use crate::color::linear_from_srgb;
use crate::parallel::each_in_order;

/// Most texels of a model, chains included: 2 GiB.
const TEXELS_MAX: u64 = 1 << 29;
/// Largest image edge; coordinates within an image stay exact in f32.
const EDGE_MAX: u64 = 1 << 15;
/// Levels of the largest image.
const LEVELS_MAX: usize = 16;

/// A material with everything resolved.
#[derive(Debug, Clone)]
pub(crate) struct ShadedMaterial {
    pub(crate) base_color: [f32; 4],
    pub(crate) base_color_texture: Option<Sampled>,
    pub(crate) metallic: f32,
    pub(crate) roughness: f32,
    pub(crate) metallic_roughness_texture: Option<Sampled>,
    pub(crate) normal_texture: Option<Sampled>,
    pub(crate) normal_scale: f32,
    pub(crate) occlusion_texture: Option<Sampled>,
    /// Occlusion is the red of the metallic-roughness texture.
    pub(crate) occlusion_is_red: bool,
    pub(crate) occlusion_strength: f32,
    pub(crate) emissive: [f32; 3],
    pub(crate) emissive_texture: Option<Sampled>,
    pub(crate) alpha_mode: AlphaMode,
    pub(crate) double_sided: bool,
    pub(crate) unlit: bool,
    pub(crate) coating: Option<Box<ShadedCoating>>,
    /// By the first texture coordinates, the second or both.
    pub(crate) is_textured: bool,
    pub(crate) uses_uv1: bool,
    /// It or its lacquer has a normal map.
    pub(crate) has_bumps: bool,
}

/// A [`scene::Coating`] with everything resolved.
#[derive(Debug, Clone)]
pub(crate) struct ShadedCoating {
    pub(crate) f0: f32,
    pub(crate) specular: f32,
    pub(crate) specular_texture: Option<Sampled>,
    pub(crate) specular_color: [f32; 3],
    pub(crate) specular_color_texture: Option<Sampled>,
    pub(crate) clearcoat: f32,
    pub(crate) clearcoat_texture: Option<Sampled>,
    pub(crate) clearcoat_roughness: f32,
    pub(crate) clearcoat_roughness_texture: Option<Sampled>,
    pub(crate) clearcoat_normal_texture: Option<Sampled>,
    pub(crate) clearcoat_normal_scale: f32,
    pub(crate) sheen_color: [f32; 3],
    pub(crate) sheen_color_texture: Option<Sampled>,
    pub(crate) sheen_roughness: f32,
    pub(crate) sheen_roughness_texture: Option<Sampled>,
    pub(crate) transmission: f32,
    pub(crate) transmission_texture: Option<Sampled>,
    pub(crate) tint: [f32; 3],
}

/// A texture as a material samples it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampled {
    /// Index of a [`MipTexture`].
    pub(crate) texture: u32,
    pub(crate) second_uv: bool,
    /// `image_from_uv`: u = m[0] x + m[1] y + m[2], v = m[3] x + m[4] y + m[5].
    pub(crate) image_from_uv: [f32; 6],
    pub(crate) wrap_u: Wrap,
    pub(crate) wrap_v: Wrap,
    pub(crate) nearest: bool,
    /// Equal for textures of a material whose texels lie at the same places: one search will do.
    pub(crate) place: u8,
}

impl Sampled {
    fn finds_the_same_texels(&self, other: &Self, textures: &[MipTexture]) -> bool {
        let size = |s: &Self| (textures[s.texture as usize].width, textures[s.texture as usize].height);
        Self { texture: 0, place: 0, ..*self } == Self { texture: 0, place: 0, ..*other }
            && size(self) == size(other)
    }
}

impl ShadedMaterial {
    /// Finds out what is used, which textures share places, and whether occlusion needs a texture of its own.
    fn share(&mut self, textures: &[MipTexture]) {
        let mut before: Vec<Sampled> = Vec::new();
        let mut place = |sampled: &mut Option<Sampled>| {
            if let Some(sampled) = sampled {
                let same = before.iter().find(|b| b.finds_the_same_texels(sampled, textures));
                sampled.place = same.map_or(u8::try_from(before.len()).unwrap_or(u8::MAX), |b| b.place);
                before.push(*sampled);
            }
        };
        place(&mut self.base_color_texture);
        place(&mut self.normal_texture);
        place(&mut self.metallic_roughness_texture);
        place(&mut self.occlusion_texture);
        place(&mut self.emissive_texture);
        if let Some(coating) = &mut self.coating {
            place(&mut coating.specular_texture);
            place(&mut coating.specular_color_texture);
            place(&mut coating.clearcoat_texture);
            place(&mut coating.clearcoat_roughness_texture);
            place(&mut coating.clearcoat_normal_texture);
            place(&mut coating.sheen_color_texture);
            place(&mut coating.sheen_roughness_texture);
            place(&mut coating.transmission_texture);
        }
        self.occlusion_is_red =
            self.occlusion_texture.is_some() && self.occlusion_texture == self.metallic_roughness_texture;
        self.is_textured = !before.is_empty();
        self.uses_uv1 = before.iter().any(|s| s.second_uv);
        let lacquer_bumps = self.coating.as_ref().and_then(|coating| coating.clearcoat_normal_texture);
        self.has_bumps = self.normal_texture.or(lacquer_bumps).is_some();
    }
}

/// An image and its halvings down to one texel.
#[derive(Debug)]
pub(crate) struct MipTexture {
    /// RGBA8, red in the low byte, level after level, rows from the top. Colours are square roots of linear light if
    /// `squared`: as fine as sRGB, and a multiplication decodes them.
    pub(crate) texels: Vec<u32>,
    /// Padded to 64 for lookups; beyond `n_levels` they repeat the last.
    pub(crate) offsets: [i32; 64],
    pub(crate) widths: [i32; 64],
    pub(crate) heights: [i32; 64],
    pub(crate) n_levels: usize,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Linear light is the square of colour channels; else it is what they are.
    pub(crate) squared: bool,
}

/// What becomes of a model's materials, textures and images.
pub(crate) struct MaterialSet {
    pub(crate) materials: Vec<ShadedMaterial>,
    pub(crate) textures: Vec<MipTexture>,
}

impl MaterialSet {
    /// # Errors
    /// If there are too many texels.
    pub(crate) fn build(model: &Model, n_threads: NonZeroUsize) -> Result<Self, BuildError> {
        let mut wanted = Wanted { model, slots: vec![[None; 2]; model.images.len()], order: Vec::new() };
        let mut materials: Vec<_> = model.materials.iter().map(|m| wanted.material(m)).collect();
        let mut texels = 0;
        for (image, _) in &wanted.order {
            let image = &model.images[*image];
            within("texels on an image's edge", u64::from(image.width.max(image.height)), EDGE_MAX)?;
            texels += u64::from(image.width) * u64::from(image.height) * 4 / 3 + 64;
        }
        within("texels", texels, TEXELS_MAX)?;
        let order = &wanted.order;
        let mut textures = Vec::with_capacity(order.len());
        let build = |(): &mut (), n: usize| MipTexture::build(&model.images[order[n].0], order[n].1);
        each_in_order(n_threads, order.len(), build, |_, texture| textures.push(texture));
        for material in &mut materials {
            material.share(&textures);
        }
        Ok(Self { materials, textures })
    }
}

/// Which images are needed, encoded how.
struct Wanted<'a> {
    model: &'a Model,
    /// By image, then linear or sRGB: index in `order`.
    slots: Vec<[Option<u32>; 2]>,
    order: Vec<(usize, bool)>,
}

impl Wanted<'_> {
    fn material(&mut self, m: &Material) -> ShadedMaterial {
        ShadedMaterial {
            base_color: m.base_color.to_array(),
            base_color_texture: self.sampled(m.base_color_texture, true),
            metallic: m.metallic.clamp(0.0, 1.0),
            roughness: m.roughness.clamp(0.0, 1.0),
            metallic_roughness_texture: self.sampled(m.metallic_roughness_texture, false),
            normal_texture: self.sampled(m.normal_texture, false),
            normal_scale: m.normal_scale,
            occlusion_texture: self.sampled(m.occlusion_texture, false),
            occlusion_is_red: false,
            occlusion_strength: m.occlusion_strength.clamp(0.0, 1.0),
            emissive: m.emissive.to_array(),
            emissive_texture: self.sampled(m.emissive_texture, true),
            alpha_mode: m.alpha_mode,
            double_sided: m.double_sided,
            unlit: m.unlit,
            coating: m.coating.as_deref().map(|coating| Box::new(self.coating(coating))),
            is_textured: false,
            uses_uv1: false,
            has_bumps: false,
        }
    }

    fn coating(&mut self, c: &Coating) -> ShadedCoating {
        ShadedCoating {
            f0: c.f0,
            specular: c.specular,
            specular_texture: self.sampled(c.specular_texture, false),
            specular_color: c.specular_color.to_array(),
            specular_color_texture: self.sampled(c.specular_color_texture, true),
            clearcoat: c.clearcoat,
            clearcoat_texture: self.sampled(c.clearcoat_texture, false),
            clearcoat_roughness: c.clearcoat_roughness,
            clearcoat_roughness_texture: self.sampled(c.clearcoat_roughness_texture, false),
            clearcoat_normal_texture: self.sampled(c.clearcoat_normal_texture, false),
            clearcoat_normal_scale: c.clearcoat_normal_scale,
            sheen_color: c.sheen_color.to_array(),
            sheen_color_texture: self.sampled(c.sheen_color_texture, true),
            sheen_roughness: c.sheen_roughness,
            sheen_roughness_texture: self.sampled(c.sheen_roughness_texture, false),
            transmission: c.transmission,
            transmission_texture: self.sampled(c.transmission_texture, false),
            tint: c.tint.to_array(),
        }
    }

    fn sampled(&mut self, texture_use: Option<TextureUse>, srgb: bool) -> Option<Sampled> {
        let texture_use = texture_use?;
        let texture = self.model.textures[texture_use.texture as usize];
        let image = texture.image as usize;
        let slot = &mut self.slots[image][usize::from(srgb)];
        let at = *slot.get_or_insert_with(|| {
            self.order.push((image, srgb));
            index(self.order.len() - 1)
        });
        let m = texture_use.image_from_uv;
        Some(Sampled {
            texture: at,
            second_uv: texture_use.uv_set == 1,
            image_from_uv: [
                m.matrix2.x_axis.x,
                m.matrix2.y_axis.x,
                m.translation.x,
                m.matrix2.x_axis.y,
                m.matrix2.y_axis.y,
                m.translation.y,
            ],
            wrap_u: texture.sampler.wrap_u,
            wrap_v: texture.sampler.wrap_v,
            nearest: texture.sampler.nearest,
            place: 0,
        })
    }
}

impl MipTexture {
    fn build(image: &Image, srgb: bool) -> Self {
        let roots: [u8; 256] = std::array::from_fn(|code| {
            let light = linear_from_srgb(code as f32 / 255.0);
            if srgb { coded(light, true) } else { code as u8 }
        });
        let texel = |&[r, g, b, a]: &[u8; 4]| {
            let [r, g, b] = [r, g, b].map(|code| roots[usize::from(code)]);
            u32::from_le_bytes([r, g, b, a])
        };
        let mut texels: Vec<u32> = image.rgba.as_chunks::<4>().0.iter().map(texel).collect();
        let (mut width, mut height) = (image.width as usize, image.height as usize);
        let mut levels = vec![(0, width, height)];
        while (width > 1 || height > 1) && levels.len() < LEVELS_MAX {
            let (from, from_width, from_height) = levels[levels.len() - 1];
            (width, height) = ((width / 2).max(1), (height / 2).max(1));
            levels.push((texels.len(), width, height));
            texels.reserve(width * height);
            for y in 0..height {
                let rows = [2 * y, 2 * y + 1].map(|y| from + y.min(from_height - 1) * from_width);
                for x in 0..width {
                    let columns = [2 * x, (2 * x + 1).min(from_width - 1)].map(|x| x.min(from_width - 1));
                    let four = [
                        texels[rows[0] + columns[0]],
                        texels[rows[0] + columns[1]],
                        texels[rows[1] + columns[0]],
                        texels[rows[1] + columns[1]],
                    ];
                    texels.push(average(four, srgb));
                }
            }
        }
        let at = |n: usize| levels[n.min(levels.len() - 1)];
        Self {
            offsets: std::array::from_fn(|n| at(n).0 as i32),
            widths: std::array::from_fn(|n| at(n).1 as i32),
            heights: std::array::from_fn(|n| at(n).2 as i32),
            n_levels: levels.len(),
            width: image.width,
            height: image.height,
            squared: srgb,
            texels,
        }
    }

    /// The texel nearest to a position in the image, linear RGBA; for the odd single lookup.
    pub(crate) fn nearest(&self, sampled: &Sampled, uv: [f32; 2]) -> [f32; 4] {
        let m = sampled.image_from_uv;
        let s = m[0] * uv[0] + m[1] * uv[1] + m[2];
        let t = m[3] * uv[0] + m[4] * uv[1] + m[5];
        let texel = |x: f32, wrap: Wrap, size: u32| {
            let x = match wrap {
                Wrap::Repeat => x - x.floor(),
                Wrap::Mirror => 1.0 - (1.0 - (x - 2.0 * (x * 0.5).floor())).abs(),
                Wrap::Clamp => x.clamp(0.0, 1.0),
            };
            ((x * size as f32) as usize).min(size as usize - 1)
        };
        let (x, y) = (texel(s, sampled.wrap_u, self.width), texel(t, sampled.wrap_v, self.height));
        let rgba = self.texels[y * self.width as usize + x].to_le_bytes().map(|c| f32::from(c) / 255.0);
        let [r, g, b, a] = rgba;
        if self.squared { [r * r, g * g, b * b, a] } else { rgba }
    }
}

/// The code of linear light.
fn coded(light: f32, squared: bool) -> u8 {
    ((if squared { light.sqrt() } else { light }) * 255.0 + 0.5) as u8
}

/// The mean of four texels: colours in linear light and weighted by alpha, so that what is transparent does not bleed.
fn average(four: [u32; 4], squared: bool) -> u32 {
    if four[0] == four[1] && four[0] == four[2] && four[0] == four[3] {
        return four[0];
    }
    let four = four.map(u32::to_le_bytes);
    let alpha: u32 = four.iter().map(|t| u32::from(t[3])).sum();
    let mut out = [0; 4];
    for (channel, out) in out.iter_mut().take(3).enumerate() {
        let value = |t: &[u8; 4]| {
            let code = f32::from(t[channel]) / 255.0;
            if squared { code * code } else { code }
        };
        let mean = if alpha == 0 || alpha == 4 * 255 {
            four.iter().map(value).sum::<f32>() * 0.25
        } else {
            four.iter().map(|t| value(t) * f32::from(t[3])).sum::<f32>() / alpha as f32
        };
        *out = coded(mean, squared);
    }
    out[3] = ((alpha + 2) / 4) as u8;
    u32::from_le_bytes(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_black_and_white_gives_middle_light_not_middle_code() {
        let image = Image { width: 2, height: 1, rgba: vec![0, 0, 0, 255, 255, 255, 255, 255] };
        let srgb = MipTexture::build(&image, true);
        let linear = MipTexture::build(&image, false);
        assert_eq!(srgb.texels[2].to_le_bytes(), [180, 180, 180, 255]);
        assert_eq!(linear.texels[2].to_le_bytes(), [128, 128, 128, 255]);
        assert_eq!((srgb.n_levels, srgb.widths[1], srgb.offsets[1], srgb.offsets[63]), (2, 1, 2, 2));
    }

    #[test]
    fn transparent_texels_do_not_bleed() {
        let image = Image { width: 1, height: 2, rgba: vec![255, 0, 0, 255, 0, 255, 0, 0] };
        assert_eq!(MipTexture::build(&image, true).texels[2].to_le_bytes(), [255, 0, 0, 128]);
    }
}
