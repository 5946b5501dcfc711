//! Light becomes bytes: 2 rows of 8 pixels at a time.

use super::band::Block;
use super::history;
use crate::color::{chroma, luma, srgb_encoded, srgb_of_root};
use crate::simd::{Float, Int, Isa, vectorized};

/// Video codes of 2 rows of 8 pixels.
#[derive(Debug, Default)]
pub(super) struct VideoBlock {
    pub(super) y: [[u8; 8]; 2],
    /// Blue difference of 4 pairs of pairs, then red difference.
    pub(super) uv: [u8; 8],
}

/// Where two rows of a video picture go.
pub(super) struct VideoRows<'a> {
    pub(super) y: [&'a mut [u8]; 2],
    pub(super) u: &'a mut [u8],
    pub(super) v: &'a mut [u8],
}

vectorized! {
    /// `place`: x and y of the first pixel, for dithering.
    pub(super) fn encode_video(block: &Block, place: (usize, usize), out: &mut VideoBlock) = encode_video_lanes;
}

vectorized! {
    /// Two rows of [`history::packed`] light, from x = 0 on, but for what is left of them after the last eight; `y` is that
    /// of the first. Pixels that are `empty` are left alone.
    pub(super) fn encode_packed(
        rows: [&[u32]; 2],
        empty: &[[u32; 8]; 2],
        y: usize,
        out: &mut VideoRows<'_>,
    ) = encode_packed_lanes;
}

#[inline(always)]
fn encode_video_lanes<S: Isa>(block: &Block, place: (usize, usize), out: &mut VideoBlock) {
    let mut encoded = [[S::F::zero(); 3]; 2];
    for row in 0..2 {
        for channel in 0..3 {
            encoded[row][channel] = srgb_encoded::<S>(S::F::load(&block[row][channel]));
        }
    }
    let dither = [dither::<S>(place.0, place.1), dither::<S>(place.0, place.1 + 1)];
    encode::<S>(&encoded, dither, out);
}

#[inline(always)]
fn encode_packed_lanes<S: Isa>(rows: [&[u32]; 2], empty: &[[u32; 8]; 2], y: usize, out: &mut VideoRows<'_>) {
    let empty = [S::I::load_u32(&empty[0]), S::I::load_u32(&empty[1])];
    let (first, second) = (rows[0].as_chunks::<8>().0, rows[1].as_chunks::<8>().0);
    let [y0, y1] = &mut out.y;
    let luma = y0.as_chunks_mut::<8>().0.iter_mut().zip(y1.as_chunks_mut::<8>().0);
    let chroma = out.u.as_chunks_mut::<4>().0.iter_mut().zip(out.v.as_chunks_mut::<4>().0);
    let to = luma.zip(chroma);
    for (block, ((first, second), ((y0, y1), (u, v)))) in first.iter().zip(second).zip(to).enumerate() {
        let packed = [S::I::load_u32(first), S::I::load_u32(second)];
        if (packed[0].eq(empty[0]) & packed[1].eq(empty[1])).signs() == 0xff {
            continue;
        }
        let mut encoded = [[S::F::zero(); 3]; 2];
        for row in 0..2 {
            let roots = history::roots::<S>(packed[row]);
            for channel in 0..3 {
                encoded[row][channel] = srgb_of_root::<S>(roots[channel]);
            }
        }
        let dither = [dither::<S>(block * 8, y), dither::<S>(block * 8, y + 1)];
        let mut bytes = VideoBlock::default();
        encode::<S>(&encoded, dither, &mut bytes);
        [*y0, *y1] = bytes.y;
        let [a, b, c, d, e, f, g, h] = bytes.uv;
        (*u, *v) = ([a, b, c, d], [e, f, g, h]);
    }
}

/// Codes of sRGB-encoded light.
#[inline(always)]
fn encode<S: Isa>(encoded: &[[S::F; 3]; 2], dither: [S::F; 2], out: &mut VideoBlock) {
    let half = S::F::splat(0.5);
    let mut mean = encoded[0];
    for channel in 0..3 {
        mean[channel] = (encoded[0][channel] + encoded[1][channel]) * half;
    }
    for row in 0..2 {
        (luma::<S>(encoded[row]) + dither[row]).trunc_to_int().store_bytes(&mut out.y[row]);
    }
    let [u, v] = chroma::<S>(mean);
    u.pair_sums(v).mul_add(half, half).trunc_to_int().store_bytes(&mut out.uv);
}

vectorized! {
    /// sRGB codes: row, channel, lane.
    pub(super) fn encode_rgb(block: &Block, place: (usize, usize), out: &mut [[[u8; 8]; 3]; 2]) = encode_rgb_lanes;
}

#[inline(always)]
fn encode_rgb_lanes<S: Isa>(block: &Block, place: (usize, usize), out: &mut [[[u8; 8]; 3]; 2]) {
    for n in 0..2 {
        let dither = dither::<S>(place.0, place.1 + n);
        for channel in 0..3 {
            let encoded = srgb_encoded::<S>(S::F::load(&block[n][channel]));
            let code = encoded.mul_add(S::F::splat(255.0), dither).trunc_to_int().min(S::I::splat(255));
            code.store_bytes(&mut out[n][channel]);
        }
    }
}

/// What is added before rounding down, so that slow gradients do not band: interleaved gradient noise (Jimenez, "Next
/// Generation Post Processing in Call of Duty: Advanced Warfare", SIGGRAPH 2014), 0 to 1. It stands still, which video
/// encoders like.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "pixel positions"
)]
fn dither<S: Isa>(x: usize, y: usize) -> S::F {
    let k = S::F::splat;
    let x = (S::I::iota() + S::I::splat(x as i32)).to_float();
    let t = x.mul_add(k(0.067_110_56), k(0.005_837_15 * y as f32));
    let t = (t - t.floor()) * k(52.982_918);
    // Not all the way to 1, so that white stays white.
    (t - t.floor()) * k(0.98) + k(0.01)
}
