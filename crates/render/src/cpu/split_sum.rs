//! How much of a surroundings' light a glossy surface reflects: the second half of the split sum (Karis, "Real Shading in
//! Unreal Engine 4", SIGGRAPH 2013), integrated here once per process and looked up per pixel.
//!
//! For Schlick's Fresnel term the integral over all directions of light is `f0 * scale + f90 * bias`, two numbers that
//! depend on roughness and viewing angle alone. Their sum is what a white metal reflects after one bounce.

use std::sync::OnceLock;

use crate::simd::{Float, Int, Isa};

/// Rows (roughness) and columns (square root of the cosine: it bends most at grazing angles). Blending between entries is
/// at most 0.01 off, where smooth surfaces graze; Karis's fit of 2014, which this replaces, was up to 0.4 off for each and
/// 0.15 for their sum.
const EDGE: usize = 32;
const LOG2_EDGE: i32 = 5;
/// Rows of the table for each that is integrated, the others blended: motion takes the nearest.
const FINER: usize = 4;
const ROWS: usize = (EDGE - 1) * FINER + 1;
/// Directions of light per entry.
const SAMPLES: u32 = 256;

/// Scale (low) and bias (high), 65535 is 1.
#[derive(Debug)]
pub(super) struct SplitSum([u32; ROWS * EDGE]);

impl SplitSum {
    /// Computed at the first call, in some 0.15 thousand million instructions.
    #[expect(clippy::cast_precision_loss, reason = "a small table")]
    pub(super) fn get() -> &'static Self {
        static TABLE: OnceLock<SplitSum> = OnceLock::new();
        TABLE.get_or_init(|| {
            let place = |n: usize| n as f64 / (EDGE - 1) as f64;
            let coarse: Vec<[f64; 2]> =
                (0..EDGE * EDGE).map(|n| integral(place(n / EDGE), place(n % EDGE).powi(2))).collect();
            Self(std::array::from_fn(|n| {
                let (row, column) = (n / EDGE, n % EDGE);
                let part = (row % FINER) as f64 / FINER as f64;
                let [above, below] =
                    [row / FINER, row.div_ceil(FINER)].map(|row| coarse[row * EDGE + column]);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "clamped to 16 bits"
                )]
                let code = |x: usize| {
                    ((above[x] + (below[x] - above[x]) * part).clamp(0.0, 1.0) * 65535.0 + 0.5) as u32
                };
                code(0) | code(1) << 16
            }))
        })
    }

    /// Scale and bias at perceptual roughnesses and cosines between normal and eye. Without `smooth`, roughness is rounded
    /// to 124 steps.
    #[inline(always)]
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a small table")]
    #[expect(clippy::cast_possible_wrap, reason = "a small table")]
    pub(super) fn at<S: Isa>(&self, roughness: S::F, facing: S::F, smooth: bool) -> [S::F; 2] {
        let (low, unit) = (S::I::splat(0xffff), S::F::splat(1.0 / 65535.0));
        let x = facing.clamp01().sqrt() * S::F::splat((EDGE - 1) as f32);
        let y = roughness.clamp01() * S::F::splat((ROWS - 1) as f32);
        let column = x.trunc_to_int().min(S::I::splat(EDGE as i32 - 2));
        let fx = x - column.to_float();
        if !smooth {
            let at = y.round_to_int().shl::<LOG2_EDGE>() + column;
            let (a, b) = S::I::gather_pairs(&self.0, at);
            let scale = (a & low).to_float().mix((b & low).to_float(), fx);
            let bias = a.shr::<16>().to_float().mix(b.shr::<16>().to_float(), fx);
            return [scale * unit, bias * unit];
        }
        let row = y.trunc_to_int().min(S::I::splat(ROWS as i32 - 2));
        let fy = y - row.to_float();
        let at = row.shl::<LOG2_EDGE>() + column;
        let (a, b) = S::I::gather_pairs(&self.0, at);
        let (c, d) = S::I::gather_pairs(&self.0, at + S::I::splat(EDGE as i32));
        let scale = {
            let top = (a & low).to_float().mix((b & low).to_float(), fx);
            top.mix((c & low).to_float().mix((d & low).to_float(), fx), fy)
        };
        let bias = {
            let top = a.shr::<16>().to_float().mix(b.shr::<16>().to_float(), fx);
            top.mix(c.shr::<16>().to_float().mix(d.shr::<16>().to_float(), fx), fy)
        };
        [scale * unit, bias * unit]
    }
}

/// Scale and bias of GGX with Smith's height-correlated masking and shadowing, alpha = roughness².
///
/// Half vectors are taken as the eye sees them (Heitz, "Sampling the GGX Distribution of Visible Normals", JCGT 7(4),
/// 2018), evenly over the disc that he projects them from; what is left of the integrand then is the share of light that
/// is not shadowed, G2 / G1, and Fresnel's.
fn integral(roughness: f64, cosine: f64) -> [f64; 2] {
    use std::f64::consts::PI;
    let alpha = (roughness * roughness).max(1e-5);
    let cosine = cosine.max(1e-4);
    let sine = (1.0 - cosine * cosine).max(0.0).sqrt();
    // Of the auxiliary function that Smith's terms are made of.
    let lambda = |cosine: f64| {
        let squared = cosine * cosine;
        0.5 * (1.0 + alpha * alpha * (1.0 - squared) / squared).sqrt() - 0.5
    };
    // The eye, in a space where the surface is as rough as a hemisphere.
    let length = (alpha * sine).hypot(cosine);
    let eye = [alpha * sine / length, cosine / length];
    let eye_lambda = lambda(cosine);
    let share = 0.5 * (1.0 + eye[1]);
    let mut sums = [0.0; 2];
    for n in 0..SAMPLES {
        // Hammersley points: as many radii as samples. Half of the disc will do, the other is its mirror image.
        let radius = ((f64::from(n) + 0.5) / f64::from(SAMPLES)).sqrt();
        let angle = (f64::from(n.reverse_bits()) / 2f64.powi(32) - 0.5) * PI;
        let across = radius * angle.cos();
        let along = (1.0 - share) * (1.0 - across * across).sqrt() + share * radius * angle.sin();
        let toward = (1.0 - across * across - along * along).max(0.0).sqrt();
        let half = [toward * eye[0] - along * eye[1], across, along * eye[0] + toward * eye[1]];
        let half = [half[0] * alpha, half[1] * alpha, half[2].max(0.0)];
        let length = half.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
        let half = half.map(|x| x / length);
        let v_h = (sine * half[0] + cosine * half[2]).clamp(0.0, 1.0);
        let n_l = 2.0 * v_h * half[2] - cosine;
        if n_l > 0.0 {
            let seen = (1.0 + eye_lambda) / (1.0 + eye_lambda + lambda(n_l));
            let grazing = (1.0 - v_h).powi(5);
            sums[0] += seen * (1.0 - grazing);
            sums[1] += seen * grazing;
        }
    }
    sums.map(|sum| sum / f64::from(SAMPLES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Portable;

    fn at(roughness: f32, facing: f32) -> [f32; 2] {
        let splat = <Portable as Isa>::F::splat;
        SplitSum::get().at::<Portable>(splat(roughness), splat(facing), true).map(|x| x.array()[0])
    }

    #[test]
    fn a_mirror_reflects_as_fresnel_says() {
        for facing in [0.02_f32, 0.1, 0.35, 0.7, 1.0] {
            let [scale, bias] = at(0.0, facing);
            let grazing = (1.0 - facing).powi(5);
            assert!((bias - grazing).abs() < 2e-3, "{facing}: {bias}, not {grazing}");
            assert!((scale + bias - 1.0).abs() < 1e-3, "{facing}: {scale} + {bias}");
        }
    }

    #[test]
    fn the_roughest_head_on_reflects_what_the_closed_form_says() {
        // With alpha = 1 and the eye on the normal it is the integral of x / (x + 1) from 0 to 1.
        let [scale, bias] = at(1.0, 1.0);
        assert!((scale + bias - (1.0 - std::f32::consts::LN_2)).abs() < 1e-3, "{scale} + {bias}");
    }

    #[test]
    fn between_entries_it_is_close_to_the_integral() {
        let (mut worst, mut worst_in_motion) = (0.0_f64, 0.0_f64);
        for n in 0..400 {
            let (roughness, facing) = ((n % 20) as f32 / 19.3, ((n / 20) as f32 / 19.7).powi(2).max(0.02));
            let wanted = integral(f64::from(roughness), f64::from(facing));
            let splat = <Portable as Isa>::F::splat;
            let [scale, bias] = SplitSum::get().at::<Portable>(splat(roughness), splat(facing), false);
            let in_motion = [scale.array()[0], bias.array()[0]];
            for (got, wanted) in in_motion.into_iter().zip(wanted) {
                worst_in_motion = worst_in_motion.max((f64::from(got) - wanted).abs());
            }
            for (got, wanted) in at(roughness, facing).into_iter().zip(wanted) {
                worst = worst.max((f64::from(got) - wanted).abs());
            }
        }
        assert!(worst < 0.012, "{worst}");
        assert!(worst_in_motion < 0.016, "{worst_in_motion}");
    }
}
