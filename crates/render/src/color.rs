//! Colour: sRGB (IEC 61966-2-1), tone mapping (Khronos PBR Neutral, specification 1.0), BT.709 limited range.
//!
//! Light is linear with BT.709 primaries, which sRGB shares. Lit surfaces are tone-mapped one by one, before they are
//! blended or averaged: unlit colours and the background must come out as they went in. Pictures are sRGB-encoded, and
//! the video matrix is applied to these encoded values, as browsers undo it.

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

/// Displayable linear light of scene light: Khronos PBR Neutral.
#[inline(always)]
pub(crate) fn tone_mapped<S: Isa>([r, g, b]: [S::F; 3]) -> [S::F; 3] {
    let k = S::F::splat;
    let (zero, one) = (S::F::zero(), k(1.0));
    // Bounds keep infinite and negative light harmless; NaN becomes 0.
    let bright = k(1e6);
    let (r, g, b) = (r.max(zero).min(bright), g.max(zero).min(bright), b.max(zero).min(bright));
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
    let k = S::F::splat;
    let x = x.clamp01();
    let s = x.sqrt();
    let q = s.sqrt();
    let curve = ENCODE_CURVE;
    let y = k(curve[3]).mul_add(q, k(curve[2]));
    let y = y.mul_add(q, k(curve[1]));
    let y = y.mul_add(q, k(curve[0]));
    S::F::select(x.lt(k(0.003_130_8)), x * k(12.92), y)
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
