//! Colour: sRGB (IEC 61966-2-1), tone mapping (Khronos PBR Neutral, specification 1.0; ACES as fitted by Stephen Hill),
//! BT.709 limited range.
//!
//! Light is linear with BT.709 primaries, which sRGB shares. Lit surfaces are tone-mapped one by one, before they are
//! blended or averaged: unlit colours and the background must come out as they went in. Pictures are sRGB-encoded, and
//! the video matrix is applied to these encoded values, as browsers undo it.

use crate::look::ToneMapping;
use crate::simd::{Float, Int, Isa};

/// Linear light of an sRGB-encoded value, both 0 to 1.
pub(crate) fn linear_from_srgb(x: f32) -> f32 {
    if x <= 0.04045 { x / 12.92 } else { ((x + 0.055) / 1.055).powf(2.4) }
}

/// sRGB-encoded value of linear light, both 0 to 1.
#[cfg(test)]
pub(crate) fn srgb_from_linear(x: f32) -> f32 {
    if x <= 0.003_130_8 { x * 12.92 } else { 1.055 * x.powf(1.0 / 2.4) - 0.055 }
}

/// Where PBR Neutral starts to compress, less the Fresnel reflection of a dielectric.
const START: f32 = 0.8 - 0.04;
/// How fast bright colours fade to white.
const DESATURATION: f32 = 0.15;

/// Displayable linear light of scene light.
#[inline(always)]
pub(crate) fn tone_mapped<S: Isa>(mapping: ToneMapping, [r, g, b]: [S::F; 3]) -> [S::F; 3] {
    // Bounds keep infinite and negative light harmless; NaN becomes 0.
    let (zero, bright) = (S::F::zero(), S::F::splat(1e6));
    let light = [r.max(zero).min(bright), g.max(zero).min(bright), b.max(zero).min(bright)];
    match mapping {
        ToneMapping::Neutral => neutral::<S>(light),
        ToneMapping::Aces => aces::<S>(light),
        ToneMapping::Clipped => [light[0].clamp01(), light[1].clamp01(), light[2].clamp01()],
    }
}

/// From BT.709 to the primaries that Hill's curve is applied in, with the tint of the reference rendering transform;
/// exposure 1 / 0.6 included.
const ACES_FROM_LIGHT: [[f32; 3]; 3] = [
    [0.597_19 / 0.6, 0.354_58 / 0.6, 0.048_23 / 0.6],
    [0.076 / 0.6, 0.908_34 / 0.6, 0.015_66 / 0.6],
    [0.028_4 / 0.6, 0.133_83 / 0.6, 0.837_77 / 0.6],
];
/// And back.
const SHOWN_FROM_ACES: [[f32; 3]; 3] =
    [[1.604_75, -0.531_08, -0.073_67], [-0.102_08, 1.108_13, -0.006_05], [-0.003_27, -0.072_76, 1.076_02]];

/// ACES' reference rendering and output transforms for sRGB screens, as fitted by Hill (BakingLab, ACES.hlsl).
#[inline(always)]
fn aces<S: Isa>(light: [S::F; 3]) -> [S::F; 3] {
    let k = S::F::splat;
    let [r, g, b] = multiplied::<S>(&ACES_FROM_LIGHT, light);
    let mut curved = [r, g, b];
    for x in &mut curved {
        let above = x.mul_add(*x + k(0.024_578_6), k(-0.000_090_537));
        let below = x.mul_add(x.mul_add(k(0.983_729), k(0.432_951)), k(0.238_081));
        *x = above / below;
    }
    let [r, g, b] = multiplied::<S>(&SHOWN_FROM_ACES, curved);
    [r.clamp01(), g.clamp01(), b.clamp01()]
}

#[inline(always)]
fn multiplied<S: Isa>(m: &[[f32; 3]; 3], [r, g, b]: [S::F; 3]) -> [S::F; 3] {
    let k = S::F::splat;
    let mut out = [r, g, b];
    for (out, row) in out.iter_mut().zip(m) {
        *out = k(row[0]).mul_add(r, k(row[1]).mul_add(g, k(row[2]) * b));
    }
    out
}

/// Khronos PBR Neutral.
#[inline(always)]
fn neutral<S: Isa>([r, g, b]: [S::F; 3]) -> [S::F; 3] {
    let k = S::F::splat;
    let one = k(1.0);
    let low = r.min(g).min(b);
    let offset = S::F::select(low.lt(k(0.08)), (k(-6.25) * low).mul_add(low, low), k(0.04));
    let [r, g, b] = [r - offset, g - offset, b - offset];
    let peak = r.max(g).max(b);
    let compressed = peak.ge(k(START));
    if compressed.signs() == 0 {
        return [r, g, b];
    }
    let d = 1.0 - START;
    let new_peak = one - k(d * d) / (peak + k(d - START)).max(k(d));
    let scale = new_peak / peak.max(k(1e-6));
    let keep = one / k(DESATURATION).mul_add(peak - new_peak, one);
    let white = new_peak * (one - keep);
    let scale = scale * keep;
    [
        S::F::select(compressed, r.mul_add(scale, white), r),
        S::F::select(compressed, g.mul_add(scale, white), g),
        S::F::select(compressed, b.mul_add(scale, white), b),
    ]
}

/// sRGB-encodes linear light of 0 to 1. A polynomial in the fourth root; at most 0.0003 off, a
/// thirteenth of an 8-bit step.
#[inline(always)]
pub(crate) fn srgb_encoded<S: Isa>(x: S::F) -> S::F {
    srgb_of_root::<S>(x.clamp01().sqrt())
}

/// The same, given the square root of linear light.
#[inline(always)]
pub(crate) fn srgb_of_root<S: Isa>(s: S::F) -> S::F {
    let k = S::F::splat;
    let q = s.sqrt();
    let curve = ENCODE_CURVE;
    let y = k(curve[3]).mul_add(q, k(curve[2]));
    let y = y.mul_add(q, k(curve[1]));
    let y = y.mul_add(q, k(curve[0]));
    // Below 0.0031308 it is a straight line.
    S::F::select(s.lt(k(0.055_953_5)), s * s * k(12.92), y)
}

// Least squares, reweighted towards the least largest error.
const ENCODE_CURVE: [f32; 4] = [-0.071_761_71, 0.255_801_93, 0.952_562_6, -0.136_817_05];

/// Luma of encoded R, G, B in 0 to 1: 16 to 235.
#[inline(always)]
pub(crate) fn luma<S: Isa>([r, g, b]: [S::F; 3]) -> S::F {
    let k = S::F::splat;
    let y = k(0.2126 * 219.0).mul_add(r, k(16.0));
    k(0.0722 * 219.0).mul_add(b, k(0.7152 * 219.0).mul_add(g, y))
}

/// Blue and red difference of encoded R, G, B in 0 to 1: 16 to 240.
#[inline(always)]
pub(crate) fn chroma<S: Isa>([r, g, b]: [S::F; 3]) -> [S::F; 2] {
    let k = S::F::splat;
    let u = k(-0.2126 / 1.8556 * 224.0).mul_add(r, k(128.0));
    let u = k(0.5 * 224.0).mul_add(b, k(-0.7152 / 1.8556 * 224.0).mul_add(g, u));
    let v = k(0.5 * 224.0).mul_add(r, k(128.0));
    let v = k(-0.0722 / 1.5748 * 224.0).mul_add(b, k(-0.7152 / 1.5748 * 224.0).mul_add(g, v));
    [u, v]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Portable;

    fn mapped(mapping: ToneMapping, light: [f32; 3]) -> [f32; 3] {
        let splat = <Portable as Isa>::F::splat;
        tone_mapped::<Portable>(mapping, light.map(splat)).map(|x| x.array()[0])
    }

    #[test]
    fn aces_is_hills_fit() {
        // By hand for grey: rows of both matrices add up to 1.
        for light in [0.0_f32, 0.05, 0.18, 1.0, 6.0] {
            let x = light / 0.6;
            let wanted =
                (x * (x + 0.024_578_6) - 0.000_090_537) / (x * (0.983_729 * x + 0.432_951) + 0.238_081);
            for got in mapped(ToneMapping::Aces, [light; 3]) {
                assert!((got - wanted.clamp(0.0, 1.0)).abs() < 1e-3, "{light}: {got}, not {wanted}");
            }
        }
        let [r, g, b] = mapped(ToneMapping::Aces, [8.0, 0.1, 0.1]);
        assert!(r > 0.95 && g > 0.15 && b > 0.1, "bright red fades towards white: {r} {g} {b}");
    }

    #[test]
    fn neutral_keeps_base_colors_and_everything_stays_in_range() {
        // The offset is what a dielectric reflects head-on.
        for (got, wanted) in mapped(ToneMapping::Neutral, [0.5, 0.3, 0.2]).into_iter().zip([0.46, 0.26, 0.16])
        {
            assert!((got - wanted).abs() < 1e-6, "{got}, not {wanted}");
        }
        for mapping in [ToneMapping::Neutral, ToneMapping::Aces, ToneMapping::Clipped] {
            for light in [[1e30, 0.0, 0.0], [f32::INFINITY; 3], [f32::NAN; 3], [-1.0, 2.0, 0.5], [0.0; 3]] {
                let shown = mapped(mapping, light);
                assert!(
                    shown.iter().all(|x| (-1e-6..=1.000_1).contains(x)),
                    "{mapping:?} {light:?}: {shown:?}"
                );
            }
        }
    }
}
