//! What extensions of glTF add to a surface: specular and ior, clearcoat, sheen, transmission.

use std::sync::OnceLock;

use super::shade::Lookups;
use super::vector::V3;
use crate::simd::{Float, Int, Isa};
use crate::texture::ShadedCoating;

/// Rows and columns of [`sheen_table`].
const TABLE: usize = 8;

/// A coating at eight points.
pub(super) struct Coat<S: Isa> {
    /// Reflectance of the dielectric head-on.
    pub(super) f0: V3<S>,
    /// Reflectance of the dielectric at grazing angles.
    pub(super) f90: S::F,
    /// The share of lacquer, and its roughness.
    pub(super) clearcoat: S::F,
    pub(super) clearcoat_roughness: S::F,
    pub(super) sheen: V3<S>,
    pub(super) sheen_roughness: S::F,
    /// Share of the light that is not reflected which goes through.
    pub(super) transmission: S::F,
    /// What the inside leaves of it.
    pub(super) tint: V3<S>,
}

impl<S: Isa> Coat<S> {
    /// A dielectric with nothing on it.
    #[inline(always)]
    pub(super) fn none(f0: f32) -> Self {
        let (zero, one) = (S::F::zero(), S::F::splat(1.0));
        Self {
            f0: [S::F::splat(f0); 3],
            f90: one,
            clearcoat: zero,
            clearcoat_roughness: zero,
            sheen: [zero; 3],
            sheen_roughness: zero,
            transmission: zero,
            tint: [one; 3],
        }
    }

    #[inline(always)]
    pub(super) fn of(coating: &ShadedCoating, lookups: &mut Lookups<'_>) -> Self {
        let k = S::F::splat;
        let mut specular = k(coating.specular);
        if let Some(sampled) = &coating.specular_texture {
            specular = specular * lookups.of::<S>(sampled)[3];
        }
        let mut color = splat::<S>(coating.specular_color);
        if let Some(sampled) = &coating.specular_color_texture {
            multiply::<S>(&mut color, lookups.of::<S>(sampled));
        }
        let mut clearcoat = k(coating.clearcoat);
        if let Some(sampled) = &coating.clearcoat_texture {
            clearcoat = clearcoat * lookups.of::<S>(sampled)[0];
        }
        let mut clearcoat_roughness = k(coating.clearcoat_roughness);
        if let Some(sampled) = &coating.clearcoat_roughness_texture {
            clearcoat_roughness = clearcoat_roughness * lookups.of::<S>(sampled)[1];
        }
        let mut sheen = splat::<S>(coating.sheen_color);
        if let Some(sampled) = &coating.sheen_color_texture {
            multiply::<S>(&mut sheen, lookups.of::<S>(sampled));
        }
        let mut sheen_roughness = k(coating.sheen_roughness);
        if let Some(sampled) = &coating.sheen_roughness_texture {
            sheen_roughness = sheen_roughness * lookups.of::<S>(sampled)[3];
        }
        let mut transmission = k(coating.transmission);
        if let Some(sampled) = &coating.transmission_texture {
            transmission = transmission * lookups.of::<S>(sampled)[0];
        }
        for channel in 0..3 {
            color[channel] = (color[channel] * k(coating.f0)).min(k(1.0)) * specular;
        }
        let tint = splat::<S>(coating.tint);
        Self {
            f0: color,
            f90: specular,
            clearcoat,
            clearcoat_roughness,
            sheen,
            sheen_roughness,
            transmission,
            tint,
        }
    }
}

#[inline(always)]
fn splat<S: Isa>([r, g, b]: [f32; 3]) -> V3<S> {
    [S::F::splat(r), S::F::splat(g), S::F::splat(b)]
}

#[inline(always)]
fn multiply<S: Isa>(color: &mut V3<S>, texel: [S::F; 4]) {
    for channel in 0..3 {
        color[channel] = color[channel] * texel[channel];
    }
}

/// Share of light from everywhere that white sheen sends to the eye.
#[inline(always)]
pub(super) fn sheen_albedo<S: Isa>(facing: S::F, roughness: S::F) -> S::F {
    let k = S::F::splat;
    let table = sheen_table();
    let last = k((TABLE - 1) as f32);
    let (x, y) = (facing.clamp01() * last, roughness.clamp01() * last);
    let (column, row) = (x.trunc_to_int(), y.trunc_to_int());
    let (fx, fy) = (x - column.to_float(), y - row.to_float());
    // One past the last column or row has no weight; 64 entries wrap.
    let at = row.shl::<3>() + column;
    let one = S::I::splat(1);
    let below = at + S::I::splat(8);
    let top = S::F::lookup(table, at).mix(S::F::lookup(table, at + one), fx);
    let bottom = S::F::lookup(table, below).mix(S::F::lookup(table, below + one), fx);
    top.mix(bottom, fy)
}

/// Directional albedo of sheen by cosine (columns) and roughness (rows), 0 to 1: the distribution of Estevez and Kulla
/// ("Production Friendly Microfacet Sheen BRDF", 2017) with the visibility of Neubelt and Pettineo ("Crafting a
/// Next-Gen Material Pipeline for The Order: 1886", 2013), as KHR_materials_sheen proposes; integrated here.
fn sheen_table() -> &'static [f32; 64] {
    static TABLE_ONCE: OnceLock<[f32; 64]> = OnceLock::new();
    TABLE_ONCE.get_or_init(|| {
        std::array::from_fn(|n| {
            let cosine = ((n % TABLE) as f32 / (TABLE - 1) as f32).max(0.02);
            let roughness = ((n / TABLE) as f32 / (TABLE - 1) as f32).max(0.07);
            sheen_integral(cosine, roughness)
        })
    })
}

/// Over the directions of light, by the midpoint rule in angle from the normal and around it.
fn sheen_integral(cosine: f32, roughness: f32) -> f32 {
    use std::f32::consts::{FRAC_PI_2, PI};
    const STEPS: usize = 48;
    let alpha = roughness * roughness;
    let to_eye = [(1.0 - cosine * cosine).sqrt(), 0.0, cosine];
    let mut sum = 0.0;
    for i in 0..STEPS {
        let theta = (i as f32 + 0.5) / STEPS as f32 * FRAC_PI_2;
        for j in 0..STEPS {
            let phi = (j as f32 + 0.5) / STEPS as f32 * PI;
            let to_lamp = [theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()];
            let half: [f32; 3] = std::array::from_fn(|n| to_eye[n] + to_lamp[n]);
            let length = half.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-6);
            let n_h = (half[2] / length).clamp(0.0, 1.0);
            let sine = (1.0 - n_h * n_h).sqrt();
            let distribution = (2.0 + 1.0 / alpha) * sine.powf(1.0 / alpha) / (2.0 * PI);
            let visibility = 1.0 / (4.0 * (to_lamp[2] + cosine - to_lamp[2] * cosine)).max(1e-6);
            sum += distribution * visibility * to_lamp[2] * theta.sin();
        }
    }
    // Half of the circle stands for both halves.
    (sum * (FRAC_PI_2 / STEPS as f32) * (PI / STEPS as f32) * 2.0).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Portable;

    #[test]
    fn sheen_is_strongest_at_grazing_angles_and_never_more_than_all_light() {
        for roughness in [0.1_f32, 0.3, 0.5, 0.8, 1.0] {
            let albedo: Vec<f32> =
                (0..8).map(|n| sheen_integral(n as f32 / 7.0 * 0.98 + 0.02, roughness)).collect();
            assert!(albedo.iter().all(|x| (0.0..=1.0).contains(x)), "{roughness}: {albedo:?}");
            assert!(albedo.windows(2).all(|pair| pair[1] <= pair[0] + 0.02), "{roughness}: {albedo:?}");
        }
        // At full roughness the lobe is broad: about a fifth head-on.
        let head_on = sheen_integral(1.0, 1.0);
        assert!((0.1..0.3).contains(&head_on), "{head_on}");
    }

    #[test]
    fn the_table_blends_between_its_entries() {
        let splat = <Portable as Isa>::F::splat;
        let at = |facing: f32, roughness: f32| {
            sheen_albedo::<Portable>(splat(facing), splat(roughness)).array()[0]
        };
        assert!((at(1.0, 1.0) - sheen_integral(1.0, 1.0)).abs() < 1e-6);
        assert!((at(3.0 / 7.0, 2.0 / 7.0) - sheen_integral(3.0 / 7.0, 2.0 / 7.0)).abs() < 1e-6);
        let (low, middle, high) = (at(3.0 / 7.0, 1.0), at(3.5 / 7.0, 1.0), at(4.0 / 7.0, 1.0));
        assert!((middle - (low + high) / 2.0).abs() < 1e-6, "{low} {middle} {high}");
    }
}
