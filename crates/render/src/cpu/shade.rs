//! Ids become light: eight pixels at a time, which show the same instance and so the same material, and a few such eights
//! in three steps: where their rays meet triangles ([`super::surface`]), their textures ([`super::sample`]), their light. Each
//! step is small enough for a processor to keep its decoded instructions and for the next eight to begin before one ends.
//!
//! glTF 2.0, appendix B, lit by an environment alone:
//! - diffuse: irradiance (see [`crate::light`]) times albedo;
//! - specular: split sum (see [`super::split_sum`]), and the energy that bounces more than once (Turquin, "Practical
//!   multiple scattering compensation for microfacet models", 2019): a white metal loses nothing, however rough.
//!
//! Lamps ([`super::lamps`]) and what few materials have ([`super::coating`]) are added where there are any.

use std::f32::consts::FRAC_1_PI;

use scene::AlphaMode;

use super::coating::{Coat, sheen_albedo};
use super::frame::{Frame, Id};
use super::history::pack;
use super::lamps::{Answer, Arriving, Gloss};
use super::sample::{Coordinates, Place, fetch, locate};
use super::surface::{Eight, meet};
use super::vector::{V3, along, dot, load3, normalized, scaled};
use crate::color::tone_mapped;
use crate::light::{Environment, LEVELS};
use crate::simd::{Float, Int, Isa, vectorized};
use crate::texture::{Sampled, ShadedMaterial};

/// Reflectance of dielectrics at normal incidence.
const F0: f32 = 0.04;
/// Below this roughness highlights would alias; the first levels of the reflections are finer than pixels.
const ROUGHNESS_MIN: f32 = 0.03;
/// Eights that are shaded together: 15 KiB, half of a first-level cache.
pub(super) const EIGHTS: usize = 8;

/// Eights to be shaded together. It lives with the worker: nobody clears it for the next.
pub(super) struct Batch {
    eights: [Eight; EIGHTS],
    n: usize,
    place: Place,
}

impl Default for Batch {
    fn default() -> Self {
        Self { eights: std::array::from_fn(|_| Eight::default()), n: 0, place: Place::default() }
    }
}

impl Batch {
    pub(super) fn is_full(&self) -> bool {
        self.n == EIGHTS
    }

    /// Adds the pixels `lanes` (bits, at least one) of eight. They show the same instance, and it is not full.
    #[inline(always)]
    pub(super) fn push(&mut self, frame: &Frame<'_>, ids: &[Id; 8], lanes: u32, x: &[f32; 8], y: &[f32; 8]) {
        if let Some((before, [eight, ..])) = self.eights.split_at_mut_checked(self.n) {
            eight.set(frame, before.last(), ids, lanes, x, y);
            self.n += 1;
        }
    }

    /// Shades what there is, in its order, and is empty again.
    pub(super) fn shade(&mut self, frame: &Frame<'_>) -> &[Eight] {
        let Self { eights, n, place } = self;
        let eights = &mut eights[..std::mem::take(n)];
        meet(frame.level, frame, false, eights);
        for eight in &mut *eights {
            look_up(frame, eight, place);
        }
        for alike in eights.chunk_by_mut(|a, b| a.is_rich == b.is_rich) {
            if alike.first().is_some_and(|eight| eight.is_rich) {
                shine_richly(frame.level, frame, alike, place);
            } else {
                shine(frame.level, frame, alike, place);
            }
        }
        eights
    }

    /// The same for alpha alone.
    pub(super) fn alpha(&mut self, frame: &Frame<'_>) -> impl Iterator<Item = (&Eight, [f32; 8])> {
        let Self { eights, n, place } = self;
        let eights = &mut eights[..std::mem::take(n)];
        meet(frame.level, frame, true, eights);
        eights.iter_mut().map(|eight| {
            let material = eight.material(frame);
            let factor = material.base_color[3];
            let mut alpha = eight.color[3].map(|alpha| alpha * factor);
            if let Some(sampled) = &material.base_color_texture {
                let mut lookups = Lookups::new(frame, &eight.uvs, place);
                lookups.fill(sampled, &mut eight.texels[BASE_COLOR]);
                for (alpha, texel) in alpha.iter_mut().zip(eight.texels[BASE_COLOR][3]) {
                    *alpha *= texel;
                }
            }
            (&*eight, alpha)
        })
    }
}

/// The textures that most materials have; see [`Eight::texels`].
pub(super) type Texels = [[[f32; 8]; 4]; 5];
const BASE_COLOR: usize = 0;
const NORMAL: usize = 1;
const METALLIC_ROUGHNESS: usize = 2;
const OCCLUSION: usize = 3;
const EMISSIVE: usize = 4;

fn look_up(frame: &Frame<'_>, eight: &mut Eight, place: &mut Place) {
    let material = eight.material(frame);
    if !material.is_textured {
        return;
    }
    let Eight { uvs, texels, .. } = eight;
    let mut lookups = Lookups::new(frame, uvs, place);
    let mut look_up = |kind: usize, sampled: &Option<Sampled>| {
        if let Some(sampled) = sampled {
            lookups.fill(sampled, &mut texels[kind]);
        }
    };
    look_up(BASE_COLOR, &material.base_color_texture);
    if material.unlit {
        return;
    }
    look_up(NORMAL, &material.normal_texture);
    look_up(METALLIC_ROUGHNESS, &material.metallic_roughness_texture);
    if !material.occlusion_is_red {
        look_up(OCCLUSION, &material.occlusion_texture);
    }
    if material.emissive != [0.0; 3] {
        look_up(EMISSIVE, &material.emissive_texture);
    }
}

/// Looks up an eight's textures.
pub(super) struct Lookups<'a> {
    frame: &'a Frame<'a>,
    uvs: &'a [Coordinates; 2],
    /// Which was looked up last.
    place: &'a mut Place,
    /// Of [`Sampled::place`], if the place is this eight's.
    number: Option<u8>,
}

impl<'a> Lookups<'a> {
    fn new(frame: &'a Frame<'a>, uvs: &'a [Coordinates; 2], place: &'a mut Place) -> Self {
        Self { frame, uvs, place, number: None }
    }

    /// Linear RGBA.
    fn fill(&mut self, sampled: &Sampled, out: &mut [[f32; 8]; 4]) {
        let Frame { level, lod_bias, smooth, .. } = *self.frame;
        let texture = &self.frame.scene.textures[sampled.texture as usize];
        let place = &mut *self.place;
        if self.number != Some(sampled.place) {
            let uv = &self.uvs[usize::from(sampled.second_uv)];
            locate(level, texture, sampled, uv, lod_bias, smooth, place);
            self.number = Some(sampled.place);
        }
        fetch(level, texture, place, out);
    }

    /// The same, in registers.
    #[inline(always)]
    pub(super) fn of<S: Isa>(&mut self, sampled: &Sampled) -> [S::F; 4] {
        let mut texel = [[0.0; 8]; 4];
        self.fill(sampled, &mut texel);
        loaded::<S>(&texel)
    }
}

#[inline(always)]
fn loaded<S: Isa>(texel: &[[f32; 8]; 4]) -> [S::F; 4] {
    [S::F::load(&texel[0]), S::F::load(&texel[1]), S::F::load(&texel[2]), S::F::load(&texel[3])]
}

vectorized! {
    /// Fills the light of eights from all else in them.
    fn shine(frame: &Frame<'_>, eights: &mut [Eight], place: &mut Place) = shine_plain_lanes;
}

vectorized! {
    /// The same with lamps and coatings, which have to be paid for although most materials have none.
    fn shine_richly(frame: &Frame<'_>, eights: &mut [Eight], place: &mut Place) = shine_rich_lanes;
}

#[inline(always)]
fn shine_plain_lanes<S: Isa>(frame: &Frame<'_>, eights: &mut [Eight], place: &mut Place) {
    shine_lanes::<S, false>(frame, eights, place);
}

#[inline(always)]
fn shine_rich_lanes<S: Isa>(frame: &Frame<'_>, eights: &mut [Eight], place: &mut Place) {
    shine_lanes::<S, true>(frame, eights, place);
}

#[inline(always)]
fn shine_lanes<S: Isa, const RICH: bool>(frame: &Frame<'_>, eights: &mut [Eight], place: &mut Place) {
    for eight in eights {
        let material = eight.material(frame);
        let light = light_of::<S, RICH>(frame, eight, material, place);
        if material.alpha_mode == AlphaMode::Blend {
            for (out, light) in eight.light.iter_mut().zip(light) {
                light.store(out);
            }
        } else {
            let [red, green, blue, ..] = light;
            pack::<S>([red, green, blue], S::F::splat(0.5)).store_u32(&mut eight.packed);
        }
    }
}

#[inline(always)]
fn base_color<S: Isa>(eight: &Eight, material: &ShadedMaterial) -> [S::F; 4] {
    let mut color = loaded::<S>(&eight.color);
    for channel in 0..4 {
        color[channel] = color[channel] * S::F::splat(material.base_color[channel]);
    }
    if material.base_color_texture.is_some() {
        let texel = loaded::<S>(&eight.texels[BASE_COLOR]);
        for channel in 0..4 {
            color[channel] = color[channel] * texel[channel];
        }
    }
    color
}

#[inline(always)]
fn light_of<S: Isa, const RICH: bool>(
    frame: &Frame<'_>,
    eight: &Eight,
    material: &ShadedMaterial,
    place: &mut Place,
) -> [S::F; 6] {
    let k = S::F::splat;
    let [red, green, blue, alpha] = base_color::<S>(eight, material);
    let base = [red, green, blue];
    let blends = material.alpha_mode == AlphaMode::Blend;
    if material.unlit {
        return layer::<S>(blends, base, alpha, [k(0.0); 3]);
    }

    let to_eye = load3::<S>(&eight.to_eye);
    let smooth_normal = load3::<S>(&eight.normal);
    let mut normal = smooth_normal;
    if material.normal_texture.is_some() {
        let texel = loaded::<S>(&eight.texels[NORMAL]);
        normal = bumped::<S>(eight, texel, material.normal_scale, smooth_normal);
    }

    let mut metallic = k(material.metallic);
    let mut roughness = k(material.roughness);
    let mut occlusion = k(1.0);
    let strength = k(material.occlusion_strength);
    if material.metallic_roughness_texture.is_some() {
        let texel = loaded::<S>(&eight.texels[METALLIC_ROUGHNESS]);
        roughness = roughness * texel[1];
        metallic = metallic * texel[2];
        if material.occlusion_is_red {
            occlusion = strength.mul_add(texel[0] - k(1.0), k(1.0));
        }
    }
    let roughness = roughness.max(k(ROUGHNESS_MIN)).min(k(1.0));
    if material.occlusion_texture.is_some() && !material.occlusion_is_red {
        let red = S::F::load(&eight.texels[OCCLUSION][0]);
        occlusion = strength.mul_add(red - k(1.0), k(1.0));
    }

    // No closures here: they would not be compiled for the instruction set.
    let mut coat = Coat::<S>::none(F0);
    let mut lookups = Lookups::new(frame, &eight.uvs, place);
    let coating = if RICH { material.coating.as_deref() } else { None };
    let mut f90 = k(1.0);
    if let Some(coating) = coating {
        coat = Coat::of(coating, &mut lookups);
        f90 = coat.f90.mix(k(1.0), metallic);
    }

    let facing = dot::<S>(normal, to_eye).max(k(0.02));
    let reflected = along::<S>([-to_eye[0], -to_eye[1], -to_eye[2]], normal, facing * k(2.0));
    let reflected = toward_lobe::<S>(reflected, normal, roughness);
    // Bumps must not reflect what is below the surface.
    let horizon = (dot::<S>(reflected, smooth_normal) + k(1.0)).clamp01();
    let specular_light = reflection::<S>(frame, reflected, roughness);
    let diffuse_light = irradiance::<S>(frame, normal);
    let [scale, bias] = frame.split_sum.at::<S>(roughness, facing, frame.smooth);
    let single = scale + bias;
    // Light that one bounce does not let out comes out after more, tinted once more.
    let more = k(1.0) / single.max(k(0.1)) - k(1.0);
    let bias = bias * f90;
    let specular_occlusion = occlusion * horizon * horizon;
    let mut f0 = [k(0.0); 3];
    // What is not reflected comes out again (diffuse), or goes through.
    let mut diffuse = [k(0.0); 3];
    let mut specular = [k(0.0); 3];
    let mut reflectances = [k(0.0); 3];
    for channel in 0..3 {
        f0[channel] = coat.f0[channel].mix(base[channel], metallic);
        let reflectance = f0[channel].mul_add(scale, bias) * f0[channel].mul_add(more, k(1.0));
        diffuse[channel] = base[channel] * (k(1.0) - metallic) * (k(1.0) - reflectance);
        specular[channel] = specular_light[channel] * (reflectance * specular_occlusion);
        reflectances[channel] = reflectance;
    }
    let mut through = k(0.0);
    if coating.is_some() {
        through = coat.transmission * (k(1.0) - metallic);
    }
    let mut light = [k(0.0); 3];
    for channel in 0..3 {
        let mut seen = diffuse[channel];
        if coating.is_some() {
            seen = seen * (k(1.0) - through);
        }
        light[channel] = (seen * diffuse_light[channel]).mul_add(occlusion, specular[channel]);
    }
    let (is_lacquered, is_cloth, is_glass) = match coating {
        None => (false, false, false),
        Some(coating) => {
            (coating.clearcoat > 0.0, coating.sheen_color != [0.0; 3], coating.transmission > 0.0 && blends)
        }
    };
    // Lacquer lies on the surface without its bumps, but may have some of its own.
    let mut lacquer_normal = smooth_normal;
    if is_lacquered
        && let Some(coating) = coating
        && let Some(sampled) = &coating.clearcoat_normal_texture
    {
        let texel = lookups.of::<S>(sampled);
        lacquer_normal = bumped::<S>(eight, texel, coating.clearcoat_normal_scale, smooth_normal);
    }
    let lacquer = Gloss::<S> {
        normal: lacquer_normal,
        to_eye,
        facing: dot::<S>(lacquer_normal, to_eye).max(k(0.02)),
        roughness: coat.clearcoat_roughness.max(k(ROUGHNESS_MIN)).min(k(1.0)),
    };
    let mut lacquer_light = [k(0.0); 3];
    if RICH && !frame.lights.is_empty() {
        let gloss = Gloss::<S> { normal, to_eye, facing, roughness };
        let point = load3::<S>(&eight.from_eye);
        for shining in &frame.lights {
            let Arriving { to_lamp, light: arriving } = Arriving::<S>::of(shining, point);
            let Answer { cosine, highlight, grazing } = gloss.answer(to_lamp);
            for channel in 0..3 {
                let fresnel = (f90 - f0[channel]).mul_add(grazing, f0[channel]);
                let albedo = base[channel] * (k(1.0) - metallic) * (k(1.0) - through) * (k(1.0) - fresnel);
                let specular = fresnel * highlight * f0[channel].mul_add(more, k(1.0));
                let brdf = albedo.mul_add(k(FRAC_1_PI), specular);
                light[channel] = (arriving[channel] * cosine).mul_add(brdf, light[channel]);
            }
            if is_lacquered {
                let Answer { cosine, highlight, grazing } = lacquer.answer(to_lamp);
                let brdf = k(1.0 - F0).mul_add(grazing, k(F0)) * highlight * cosine;
                for channel in 0..3 {
                    lacquer_light[channel] = arriving[channel].mul_add(brdf, lacquer_light[channel]);
                }
            }
        }
    }
    if is_cloth {
        let albedo = sheen_albedo::<S>(facing, coat.sheen_roughness);
        let rest = k(1.0) - coat.sheen[0].max(coat.sheen[1]).max(coat.sheen[2]) * albedo;
        for channel in 0..3 {
            let sheen = coat.sheen[channel] * albedo * diffuse_light[channel] * occlusion;
            light[channel] = light[channel].mul_add(rest, sheen);
        }
    }
    if material.emissive != [0.0; 3] {
        let [r, g, b] = material.emissive;
        let mut emissive = [k(r), k(g), k(b)];
        if material.emissive_texture.is_some() {
            let texel = loaded::<S>(&eight.texels[EMISSIVE]);
            for channel in 0..3 {
                emissive[channel] = emissive[channel] * texel[channel];
            }
        }
        for channel in 0..3 {
            light[channel] = light[channel] + emissive[channel];
        }
    }
    if is_lacquered {
        let against = [-to_eye[0], -to_eye[1], -to_eye[2]];
        let reflected = along::<S>(against, lacquer.normal, lacquer.facing * k(2.0));
        let reflected = toward_lobe::<S>(reflected, lacquer.normal, lacquer.roughness);
        let horizon = (dot::<S>(reflected, smooth_normal) + k(1.0)).clamp01();
        let arriving = reflection::<S>(frame, reflected, lacquer.roughness);
        let unhindered = occlusion * horizon * horizon;
        let [scale, bias] = frame.split_sum.at::<S>(lacquer.roughness, lacquer.facing, frame.smooth);
        let reflectance = k(F0).mul_add(scale, bias);
        let rest = k(1.0) - coat.clearcoat * reflectance;
        for channel in 0..3 {
            let lacquer = (arriving[channel] * unhindered).mul_add(reflectance, lacquer_light[channel]);
            light[channel] = light[channel].mul_add(rest, lacquer * coat.clearcoat);
        }
    }
    // What glass lets through of each colour; neither bent nor blurred.
    let mut clear = [k(0.0); 3];
    if is_glass {
        for channel in 0..3 {
            let inside = through * base[channel] * coat.tint[channel];
            clear[channel] = (inside * (k(1.0) - reflectances[channel])).clamp01();
        }
    }
    layer::<S>(blends, tone_mapped::<S>(frame.tone_mapping, light), alpha, clear)
}

/// What a surface adds to the light behind it and what it leaves of that: `alpha` of it is there, and `clear` of what is
/// there lets light through. If it does not blend, all of it is there.
#[inline(always)]
fn layer<S: Isa>(blends: bool, [r, g, b]: V3<S>, alpha: S::F, clear: V3<S>) -> [S::F; 6] {
    if !blends {
        let none = S::F::zero();
        return [r, g, b, none, none, none];
    }
    let one = S::F::splat(1.0);
    let alpha = alpha.clamp01();
    let mut left = [one; 3];
    for channel in 0..3 {
        left[channel] = alpha.mul_add(clear[channel] - one, one);
    }
    [r * alpha, g * alpha, b * alpha, left[0], left[1], left[2]]
}

/// The normal of a normal map whose x and y are scaled, on a surface with this normal.
#[inline(always)]
fn bumped<S: Isa>(eight: &Eight, texel: [S::F; 4], scale: f32, normal: V3<S>) -> V3<S> {
    let k = S::F::splat;
    let scale = k(scale);
    let bx = texel[0].mul_add(k(2.0), k(-1.0)) * scale;
    let by = texel[1].mul_add(k(2.0), k(-1.0)) * scale;
    let bz = texel[2].mul_add(k(2.0), k(-1.0));
    let (tangent, bitangent) = (load3::<S>(&eight.tangent), load3::<S>(&eight.bitangent));
    let bumped = along::<S>(along::<S>(scaled::<S>(normal, bz), tangent, bx), bitangent, by);
    normalized::<S>(bumped)
}

/// A direction as the turned surroundings have it.
#[inline(always)]
fn in_sky<S: Isa>(frame: &Frame<'_>, [x, y, z]: V3<S>) -> V3<S> {
    let [cos, sin] = frame.sky_turn.map(S::F::splat);
    [x.mul_add(cos, -(z * sin)), y, x.mul_add(sin, z * cos)]
}

/// Light that a white diffuse surface sends back.
#[inline(always)]
fn irradiance<S: Isa>(frame: &Frame<'_>, normal: V3<S>) -> V3<S> {
    let k = S::F::splat;
    let [x, y, z] = in_sky::<S>(frame, normal);
    let c = &frame.environment.irradiance;
    let basis = [y, z, x, x * y, y * z, (z * z).mul_add(k(3.0), k(-1.0)), x * z, x.mul_add(x, -(y * y))];
    let mut out = [k(0.0); 3];
    for channel in 0..3 {
        let mut sum = k(c[0][channel]);
        for n in 0..8 {
            sum = k(c[n + 1][channel]).mul_add(basis[n], sum);
        }
        out[channel] = sum.max(k(0.0));
    }
    out
}

/// Where a lobe around the mirrored ray has most of its light: the rougher, the nearer to the normal (Lagarde and
/// de Rousiers, "Moving Frostbite to PBR", SIGGRAPH 2014, section 4.9.3). Not of unit length.
#[inline(always)]
fn toward_lobe<S: Isa>(reflected: V3<S>, normal: V3<S>, roughness: S::F) -> V3<S> {
    let alpha = roughness * roughness;
    let smooth = (S::F::splat(1.0) - alpha).clamp01();
    let share = smooth * (smooth.sqrt() + alpha);
    [
        normal[0].mix(reflected[0], share),
        normal[1].mix(reflected[1], share),
        normal[2].mix(reflected[2], share),
    ]
}

/// Light from direction `d` (of any length), blurred for `roughness`.
#[inline(always)]
fn reflection<S: Isa>(frame: &Frame<'_>, d: V3<S>, roughness: S::F) -> V3<S> {
    let k = S::F::splat;
    let d = in_sky::<S>(frame, d);
    let inverse = k(1.0) / (d[0].abs() + d[1].abs() + d[2].abs()).max(k(1e-20));
    let (x, y, z) = (d[0] * inverse, d[1] * inverse, d[2] * inverse);
    // Below the horizon the corners fold outwards.
    let below = y.bits();
    let (from_x, from_z) = (k(1.0) - z.abs(), k(1.0) - x.abs());
    let folded_x = S::F::select(x.bits(), -from_x, from_x);
    let folded_z = S::F::select(z.bits(), -from_z, from_z);
    let (u, v) = (S::F::select(below, folded_x, x), S::F::select(below, folded_z, z));
    let (u, v) = (u.mul_add(k(0.5), k(0.5)).clamp01(), v.mul_add(k(0.5), k(0.5)).clamp01());
    #[expect(clippy::cast_precision_loss, reason = "few levels")]
    let lod = roughness * k((LEVELS - 1) as f32);
    let environment = frame.environment;
    if !frame.smooth {
        return reflection_level::<S>(environment, lod.round_to_int(), u, v);
    }
    let level = lod.trunc_to_int();
    let blend = lod - level.to_float();
    let fine = reflection_level::<S>(environment, level, u, v);
    let coarse = reflection_level::<S>(environment, level + S::I::splat(1), u, v);
    [fine[0].mix(coarse[0], blend), fine[1].mix(coarse[1], blend), fine[2].mix(coarse[2], blend)]
}

#[inline(always)]
#[expect(clippy::cast_sign_loss, reason = "masked")]
fn reflection_level<S: Isa>(environment: &Environment, level: S::I, u: S::F, v: S::F) -> V3<S> {
    let k = S::F::splat;
    // Mostly all pixels are as rough.
    let first = level.array()[0];
    let (edge, offset) = if level.eq(S::I::splat(first)).signs() == 0xff {
        let at = (first & 63) as usize;
        (k(environment.edges[at]), S::I::splat(environment.offsets[at]))
    } else {
        (S::F::lookup(&environment.edges, level), S::I::lookup(&environment.offsets, level))
    };
    // The border shifts texel centres from .5 to 1.5, so the texel before the place is its floor here.
    let (x, y) = (u.mul_add(edge, k(0.5)), v.mul_add(edge, k(0.5)));
    let (x0, y0) = (x.trunc_to_int(), y.trunc_to_int());
    let (fx, fy) = (x - x0.to_float(), y - y0.to_float());
    let stride = edge.trunc_to_int() + S::I::splat(2);
    let at = offset + y0 * stride + x0;
    let weights = [(k(1.0) - fx) * (k(1.0) - fy), fx * (k(1.0) - fy), (k(1.0) - fx) * fy, fx * fy];
    let (texel0, texel1) = S::I::gather_pairs(&environment.reflections, at);
    let (texel2, texel3) = S::I::gather_pairs(&environment.reflections, at + stride);
    let mut sum = [k(0.0); 3];
    for (n, texel) in [texel0, texel1, texel2, texel3].into_iter().enumerate() {
        // RGB9E5: the exponent goes to where floats have theirs, and takes the weight along.
        let unit = (texel.shr::<27>() + S::I::splat(127 - 24)).shl::<23>().float_bits() * weights[n];
        let part = S::I::splat(511);
        sum[0] = (texel & part).to_float().mul_add(unit, sum[0]);
        sum[1] = (texel.shr::<9>() & part).to_float().mul_add(unit, sum[1]);
        sum[2] = (texel.shr::<18>() & part).to_float().mul_add(unit, sum[2]);
    }
    sum
}
