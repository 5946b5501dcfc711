//! Texture lookups, eight at a time, with each wrap mode, decoded to linear light before filtering.
//!
//! First a [`Place`] is found: which texels, with which weights. Textures of one material mostly share it. Then each
//! texture's texels are decoded and summed up, two channels at a time, in 16-bit halves of each lane.
//!
//! Motion makes do with the nearest level and two by two texels of it; pictures at rest blend levels, and are sharp where surfaces graze (anisotropic filtering).

use scene::Wrap;

use crate::simd::{Float, Int, Isa, vectorized};
use crate::texture::{MipTexture, Sampled};

/// How much longer than wide a pixel's footprint in a texture may be, at rest, before the texture blurs.
const ANISOTROPY_MAX: f32 = 8.0;

/// Texture coordinates of eight pixels and how they change from pixel to pixel.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Coordinates {
    pub(super) uv: [[f32; 8]; 2],
    /// du/dx, dv/dx, du/dy, dv/dy.
    pub(super) slopes: [[f32; 8]; 4],
}

/// The texels of eight pixels at one level, and their weights.
#[derive(Debug, Clone, Copy, Default)]
struct Taps {
    /// Top left, top right, bottom left, bottom right.
    at: [[i32; 8]; 4],
    /// Fractions of 65536, in both halves; they add up to 65535.
    weights: [[i32; 8]; 4],
    /// Each right texel follows its left one in memory.
    paired: bool,
}

/// Where in a texture eight pixels look.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    fine: Taps,
    coarse: Taps,
    /// How much of the coarse level.
    blend: [f32; 8],
    blends: bool,
    /// One texel each, top left of `fine`.
    nearest: bool,
}

vectorized! {
    /// Finds the place in `texture` of eight pixels; `lod_bias` is added to the level. Without `smooth` there is one
    /// level to each pixel.
    pub(super) fn locate(
        texture: &MipTexture,
        sampled: &Sampled,
        coordinates: &Coordinates,
        lod_bias: f32,
        smooth: bool,
        out: &mut Place,
    ) = locate_lanes;
}

#[inline(always)]
fn locate_lanes<S: Isa>(
    texture: &MipTexture,
    sampled: &Sampled,
    coordinates: &Coordinates,
    lod_bias: f32,
    smooth: bool,
    out: &mut Place,
) {
    let k = S::F::splat;
    let m = &sampled.image_from_uv;
    let (u, v) = (S::F::load(&coordinates.uv[0]), S::F::load(&coordinates.uv[1]));
    let s = k(m[0]).mul_add(u, k(m[1]).mul_add(v, k(m[2])));
    let t = k(m[3]).mul_add(u, k(m[4]).mul_add(v, k(m[5])));
    let (s, t) = (wrapped::<S>(s, sampled.wrap_u), wrapped::<S>(t, sampled.wrap_v));

    let rho_squared = rho_squared::<S>(texture, m, coordinates, smooth);
    // log2 of a float: its bits, read as an integer, are nearly linear in it.
    let log2 = rho_squared.bits().to_float().mul_add(k(1.0 / 8_388_608.0), k(-126.942_7));
    #[expect(clippy::cast_precision_loss, reason = "at most 16")]
    let most = (texture.n_levels - 1) as f32;
    let lod = log2.mul_add(k(0.5), k(lod_bias)).max(k(0.0)).min(k(most));

    out.blends = false;
    out.nearest = sampled.nearest;
    if sampled.nearest {
        nearest::<S>(texture, lod.round_to_int(), s, t, &mut out.fine);
    } else if smooth {
        let level = lod.trunc_to_int();
        // Only the middle half between two levels blends them: near a level it alone will do, at half the price.
        let near = ((lod - level.to_float()) * k(2.0) - k(0.5)).clamp01();
        let lod = level.to_float() + near;
        let level = lod.trunc_to_int();
        let blend = lod - level.to_float();
        bilinear::<S>(texture, level, s, t, sampled, &mut out.fine);
        if S::F::zero().lt(blend).signs() != 0 {
            out.blends = true;
            blend.store(&mut out.blend);
            bilinear::<S>(texture, level + S::I::splat(1), s, t, sampled, &mut out.coarse);
        }
    } else {
        bilinear::<S>(texture, lod.round_to_int(), s, t, sampled, &mut out.fine);
    }
}

vectorized! {
    /// Linear RGBA of `texture` at a place that was found in it or in a texture of the same size.
    pub(super) fn fetch(texture: &MipTexture, place: &Place, out: &mut [[f32; 8]; 4]) = fetch_lanes;
}

#[inline(always)]
fn fetch_lanes<S: Isa>(texture: &MipTexture, place: &Place, out: &mut [[f32; 8]; 4]) {
    for (out, channel) in out.iter_mut().zip(fetched::<S>(texture, place)) {
        channel.store(out);
    }
}

#[inline(always)]
fn fetched<S: Isa>(texture: &MipTexture, place: &Place) -> [S::F; 4] {
    if place.nearest {
        let texel = S::I::gather(&texture.texels, S::I::load(&place.fine.at[0]));
        return unpacked::<S>(decoded::<S>(texture.squared, texel), 1.0 / one(texture.squared));
    }
    let mut rgba = filtered::<S>(texture, &place.fine);
    if place.blends {
        let (coarse, blend) = (filtered::<S>(texture, &place.coarse), S::F::load(&place.blend));
        for channel in 0..4 {
            rgba[channel] = rgba[channel].mix(coarse[channel], blend);
        }
    }
    rgba
}

#[inline(always)]
fn filtered<S: Isa>(texture: &MipTexture, taps: &Taps) -> [S::F; 4] {
    let texels = &texture.texels;
    let mut at = [S::I::splat(0); 4];
    if taps.paired {
        (at[0], at[1]) = S::I::gather_pairs(texels, S::I::load(&taps.at[0]));
        (at[2], at[3]) = S::I::gather_pairs(texels, S::I::load(&taps.at[2]));
    } else {
        for n in 0..4 {
            at[n] = S::I::gather(texels, S::I::load(&taps.at[n]));
        }
    }
    let mut sums = [S::I::splat(0); 2];
    for n in 0..4 {
        let [red_blue, green_alpha] = decoded::<S>(texture.squared, at[n]);
        let weight = S::I::load(&taps.weights[n]);
        sums[0] = sums[0] + red_blue.mul_halves_high(weight);
        sums[1] = sums[1] + green_alpha.mul_halves_high(weight);
    }
    // Rounding down four times, up to five less stand for 1.
    unpacked::<S>(sums, 1.0 / (one(texture.squared) - 3.0))
}

/// Red and blue, green and alpha, in halves: squares, or what is no root, a byte higher.
#[inline(always)]
fn decoded<S: Isa>(squared: bool, texel: S::I) -> [S::I; 2] {
    if !squared {
        let high = S::I::splat(!0x00ff_00ff);
        return [texel.shl::<8>() & high, texel & high];
    }
    let low = S::I::splat(0x00ff_00ff);
    let (red_blue, green_alpha) = (texel & low, texel.shr::<8>() & low);
    // Alpha is no root.
    let by = green_alpha & S::I::splat(0xff) | S::I::splat(0x00ff_0000);
    [red_blue.mul_halves_low(red_blue), green_alpha.mul_halves_low(by)]
}

/// What stands for 1 among [`decoded`] halves.
const fn one(squared: bool) -> f32 {
    if squared { 255.0 * 255.0 } else { 255.0 * 256.0 }
}

#[inline(always)]
fn unpacked<S: Isa>([red_blue, green_alpha]: [S::I; 2], unit: f32) -> [S::F; 4] {
    let (half, unit) = (S::I::splat(0xffff), S::F::splat(unit));
    [
        (red_blue & half).to_float() * unit,
        (green_alpha & half).to_float() * unit,
        red_blue.shr::<16>().to_float() * unit,
        green_alpha.shr::<16>().to_float() * unit,
    ]
}

/// Square of how many texels of the full image a pixel spans, at least a tiny number.
#[inline(always)]
fn rho_squared<S: Isa>(texture: &MipTexture, m: &[f32; 6], coordinates: &Coordinates, smooth: bool) -> S::F {
    let k = S::F::splat;
    #[expect(clippy::cast_precision_loss, reason = "at most 2^15")]
    let (width, height) = (texture.width as f32, texture.height as f32);
    let (ux, vx) = (S::F::load(&coordinates.slopes[0]), S::F::load(&coordinates.slopes[1]));
    let (uy, vy) = (S::F::load(&coordinates.slopes[2]), S::F::load(&coordinates.slopes[3]));
    let sx = k(m[0] * width).mul_add(ux, k(m[1] * width) * vx);
    let tx = k(m[3] * height).mul_add(ux, k(m[4] * height) * vx);
    let sy = k(m[0] * width).mul_add(uy, k(m[1] * width) * vy);
    let ty = k(m[3] * height).mul_add(uy, k(m[4] * height) * vy);
    let x = sx.mul_add(sx, tx * tx);
    let y = sy.mul_add(sy, ty * ty);
    let (long, short) = (x.max(y), x.min(y));
    if smooth {
        // Many samples make a pixel at rest, each at another place in it: together they cover the longer axis.
        return short.max(long * k(1.0 / (ANISOTROPY_MAX * ANISOTROPY_MAX))).max(k(1e-12)).min(k(1e12));
    }
    // The longer axis avoids shimmering at grazing angles but blurs; a little of the shorter one is a fair middle.
    long.mul_add(k(0.7), short * k(0.3)).max(k(1e-12)).min(k(1e12))
}

/// Into 0..=1. What is not a number ends up somewhere in it.
#[inline(always)]
fn wrapped<S: Isa>(x: S::F, wrap: Wrap) -> S::F {
    let k = S::F::splat;
    let x = match wrap {
        Wrap::Repeat => x - x.floor(),
        Wrap::Mirror => k(1.0) - (k(1.0) - (x - k(2.0) * (x * k(0.5)).floor())).abs(),
        Wrap::Clamp => x,
    };
    x.clamp01()
}

#[inline(always)]
fn nearest<S: Isa>(texture: &MipTexture, level: S::I, s: S::F, t: S::F, out: &mut Taps) {
    let size = Size::<S>::of(texture, level);
    let one = S::I::splat(1);
    let x = (s * size.width.to_float()).trunc_to_int().min(size.width - one);
    let y = (t * size.height.to_float()).trunc_to_int().min(size.height - one);
    (size.offset + y * size.width + x).store(&mut out.at[0]);
}

#[inline(always)]
fn bilinear<S: Isa>(texture: &MipTexture, level: S::I, s: S::F, t: S::F, sampled: &Sampled, out: &mut Taps) {
    let size = Size::<S>::of(texture, level);
    let (x0, x1, fx) = neighbours::<S>(s, size.width, sampled.wrap_u);
    let (y0, y1, fy) = neighbours::<S>(t, size.height, sampled.wrap_v);
    let (row0, row1) = (size.offset + y0 * size.width, size.offset + y1 * size.width);
    // Neighbours in a row are neighbours in memory, but for those across an edge.
    out.paired = x1.eq(x0 + S::I::splat(1)).signs() == 0xff;
    (row0 + x0).store(&mut out.at[0]);
    (row1 + x0).store(&mut out.at[2]);
    if !out.paired {
        (row0 + x1).store(&mut out.at[1]);
        (row1 + x1).store(&mut out.at[3]);
    }
    let both = fx * fy;
    let (right, below) = (fx.shl::<8>() - both, fy.shl::<8>() - both);
    let left = S::I::splat(65535) - right - below - both;
    for (n, weight) in [left, right, below, both].into_iter().enumerate() {
        (weight | weight.shl::<16>()).store(&mut out.weights[n]);
    }
}

/// The two texels on either side along an axis, and how far the place is from the first to the second, of 256.
#[inline(always)]
fn neighbours<S: Isa>(x: S::F, size: S::I, wrap: Wrap) -> (S::I, S::I, S::I) {
    let (zero, one) = (S::I::splat(0), S::I::splat(1));
    let place = x.mul_add(size.to_float(), S::F::splat(-0.5));
    let floor = place.floor();
    let (first, last) = (floor.trunc_to_int(), size - one);
    let second = first + one;
    let (first, second) = if wrap == Wrap::Repeat {
        (S::I::select(first, last, first), S::I::select(second.gt(last), zero, second))
    } else {
        (first, second)
    };
    let part = ((place - floor) * S::F::splat(256.0)).trunc_to_int();
    (first.max(zero).min(last), second.max(zero).min(last), part.min(S::I::splat(255)))
}

struct Size<S: Isa> {
    offset: S::I,
    width: S::I,
    height: S::I,
}

impl<S: Isa> Size<S> {
    #[inline(always)]
    #[expect(clippy::cast_sign_loss, reason = "masked")]
    fn of(texture: &MipTexture, level: S::I) -> Self {
        // Mostly all pixels are at the same level.
        let first = level.array()[0];
        if level.eq(S::I::splat(first)).signs() == 0xff {
            let at = (first & 63) as usize;
            return Self {
                offset: S::I::splat(texture.offsets[at]),
                width: S::I::splat(texture.widths[at]),
                height: S::I::splat(texture.heights[at]),
            };
        }
        Self {
            offset: S::I::lookup(&texture.offsets, level),
            width: S::I::lookup(&texture.widths, level),
            height: S::I::lookup(&texture.heights, level),
        }
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "codes are bytes")]
mod tests {
    use scene::math::Affine2;
    use scene::{AlphaMode, Image, Material, Model, Sampler, Texture, TextureUse};

    use super::*;
    use crate::simd::Level;
    use crate::texture::MaterialSet;

    /// Red from left to right, green from top to bottom.
    fn ramp(width: u32) -> MaterialSet {
        let code = |n: u32| (n as f32 / width as f32 * 255.0) as u8;
        let rgba = (0..width * width).flat_map(|n| [code(n % width), code(n / width), 0, 255]).collect();
        let texture_use = TextureUse { texture: 0, uv_set: 0, image_from_uv: Affine2::IDENTITY };
        let material = Material {
            metallic_roughness_texture: Some(texture_use),
            alpha_mode: AlphaMode::Opaque,
            ..Material::default()
        };
        let model = Model {
            materials: vec![material],
            textures: vec![Texture { image: 0, sampler: Sampler::default() }],
            images: vec![std::sync::Arc::new(Image { width, height: width, rgba })],
            ..Model::default()
        };
        MaterialSet::build(&model, std::num::NonZeroUsize::MIN).unwrap()
    }

    #[test]
    fn a_ramp_stays_a_ramp_at_each_level() {
        let set = ramp(512);
        let sampled = set.materials[0].metallic_roughness_texture.unwrap();
        for (level, smooth) in [
            (Level::detect(), true),
            (Level::detect(), false),
            (Level::Portable, true),
            (Level::Portable, false),
        ] {
            for texels_per_pixel in [0.1, 0.9, 1.05, 1.3, 1.9, 2.5, 4.2, 7.0] {
                let step = texels_per_pixel / 512.0;
                let mut coordinates = Coordinates::default();
                for lane in 0..8 {
                    coordinates.uv[0][lane] = 0.5 + step * lane as f32;
                    coordinates.uv[1][lane] = 0.7 - 0.7 * step * lane as f32;
                    coordinates.slopes[0][lane] = step;
                    coordinates.slopes[3][lane] = step;
                }
                let mut place = Place::default();
                locate(level, &set.textures[0], &sampled, &coordinates, 0.0, smooth, &mut place);
                let mut out = [[0.0; 8]; 4];
                fetch(level, &set.textures[0], &place, &mut out);
                for lane in 0..8 {
                    for channel in 0..2 {
                        let (want, got) = (coordinates.uv[channel][lane], out[channel][lane]);
                        assert!(
                            (want - got).abs() < 0.02,
                            "{texels_per_pixel}: lane {lane}: {got}, not {want}"
                        );
                    }
                }
            }
        }
    }
}
