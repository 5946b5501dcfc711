//! What is behind everything: a soft neutral gradient, like the paper roll of a photographer.
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "colours are within a byte")]

use super::history;
use crate::color::{chroma, linear_from_srgb, luma};
use crate::simd::{Float, Level, Portable};

/// sRGB greys from the top of the picture (0) to the bottom (1). Not the least tint: it would change by a step or two
/// of the 8-bit chroma planes over the whole height, and each step shows as a line across the video.
const STOPS: [(f32, f32); 4] = [(0.0, 0.760), (0.46, 0.892), (0.62, 0.872), (1.0, 0.680)];

/// The background of pictures of one height.
#[derive(Debug, Default)]
pub(super) struct Background {
    /// Light of eight pixels, as history keeps it, by row.
    pub(super) packed: Vec<[u32; 8]>,
    /// U and V, by pair of rows.
    pub(super) chroma: Vec<[u8; 2]>,
    /// Y, by row, of eight pixels from a multiple of 8.
    pub(super) luma: Vec<[u8; 8]>,
}

impl Background {
    pub(super) fn new(level: Level, height: u32) -> Self {
        let mut out = Self::default();
        let dither = dither();
        for row in 0..height {
            let encoded = [grey((row as f32 + 0.5) / height as f32); 3];
            type F = <Portable as crate::simd::Isa>::F;
            let first = |x: F| x.array()[0];
            let light = encoded.map(linear_from_srgb);
            let mut packed = [0; 8];
            history::packed(level, &light.map(|light| [light; 8]), &mut packed);
            out.packed.push(packed);
            let encoded = encoded.map(F::splat);
            let luma = first(luma::<Portable>(encoded));
            out.luma.push(dither[row as usize % 8].map(|dither| (luma + dither) as u8));
            if row % 2 == 0 {
                out.chroma.push(chroma::<Portable>(encoded).map(|x| (first(x) + 0.5) as u8));
            }
        }
        out
    }

    pub(super) fn height(&self) -> usize {
        self.packed.len()
    }
}

/// Ordered thresholds (Bayer, "An Optimum Method for Two-Level Rendition of Continuous-Tone Pictures", ICC 1973).
fn dither() -> [[f32; 8]; 8] {
    std::array::from_fn(|y| {
        std::array::from_fn(|x| {
            let (x, y) = (x as u32, y as u32);
            let mixed = x ^ y;
            let bit = |v: u32, n: u32| v >> n & 1;
            let rank = bit(mixed, 0) << 5
                | bit(y, 0) << 4
                | bit(mixed, 1) << 3
                | bit(y, 1) << 2
                | bit(mixed, 2) << 1
                | bit(y, 2);
            (rank as f32 + 0.5) / 64.0
        })
    })
}

fn grey(at: f32) -> f32 {
    let mut below = STOPS[0];
    for above in STOPS {
        if at <= above.0 {
            let t = if above.0 > below.0 { (at - below.0) / (above.0 - below.0) } else { 0.0 };
            return below.1 + (above.1 - below.1) * t * t * (3.0 - 2.0 * t);
        }
        below = above;
    }
    below.1
}
