//! Light that comes from somewhere: lamps without shadows, by the formulas of KHR_lights_punctual and of glTF 2.0,
//! appendix B.3.

use std::f32::consts::FRAC_1_PI;

use super::frame::Shining;
use super::vector::{V3, dot, normalized, scaled, splat3, sub};
use crate::simd::{Float, Isa};

/// A lamp as close as this is as bright as at this distance, metres squared.
const NEAR_SQUARED: f32 = 1e-6;

/// What a lamp sends to eight points.
pub(super) struct Arriving<S: Isa> {
    /// Unit vector towards the lamp.
    pub(super) to_lamp: V3<S>,
    /// Lux on a surface that faces the lamp.
    pub(super) light: V3<S>,
}

impl<S: Isa> Arriving<S> {
    /// At points `from_eye` (world axes).
    #[inline(always)]
    pub(super) fn of(shining: &Shining, from_eye: V3<S>) -> Self {
        let k = S::F::splat;
        let lamp = &shining.lamp;
        let [r, g, b] = lamp.color;
        let light = [k(r), k(g), k(b)];
        if lamp.position.is_none() {
            return Self { to_lamp: splat3::<S>(-lamp.direction), light };
        }
        let to_lamp = sub::<S>(splat3::<S>(shining.from_eye), from_eye);
        let squared = dot::<S>(to_lamp, to_lamp).max(k(NEAR_SQUARED));
        let to_lamp = normalized::<S>(to_lamp);
        let share = squared * k(lamp.inverse_range * lamp.inverse_range);
        let fade = (k(1.0) - share * share).clamp01() / squared;
        let angle = dot::<S>(to_lamp, splat3::<S>(-lamp.direction));
        let cone = angle.mul_add(k(lamp.cone_scale), k(lamp.cone_offset)).clamp01();
        Self { to_lamp, light: scaled::<S>(light, fade * cone * cone) }
    }
}

/// A glossy surface as the eye sees it.
pub(super) struct Gloss<S: Isa> {
    /// Unit vector.
    pub(super) normal: V3<S>,
    /// Unit vector.
    pub(super) to_eye: V3<S>,
    /// Cosine between the two, more than 0.
    pub(super) facing: S::F,
    /// Perceptual.
    pub(super) roughness: S::F,
}

/// How a gloss answers to light from one direction.
pub(super) struct Answer<S: Isa> {
    /// Cosine between normal and light, 0 if it is behind.
    pub(super) cosine: S::F,
    /// GGX distribution times visibility: multiplied with Fresnel's share it is the specular BRDF.
    pub(super) highlight: S::F,
    /// Schlick's (1 - v·h) to the power of 5.
    pub(super) grazing: S::F,
}

impl<S: Isa> Gloss<S> {
    #[inline(always)]
    pub(super) fn answer(&self, to_lamp: V3<S>) -> Answer<S> {
        let k = S::F::splat;
        let one = k(1.0);
        let cosine = dot::<S>(self.normal, to_lamp).clamp01();
        let [x, y, z] = self.to_eye;
        let half = normalized::<S>([x + to_lamp[0], y + to_lamp[1], z + to_lamp[2]]);
        let n_h = dot::<S>(self.normal, half).clamp01();
        let v_h = dot::<S>(self.to_eye, half).clamp01();
        let alpha = self.roughness * self.roughness;
        let squared = alpha * alpha;
        let divisor = (n_h * n_h).mul_add(squared - one, one);
        let distribution = squared * k(FRAC_1_PI) / (divisor * divisor).max(k(1e-12));
        // Smith's masking and shadowing, height-correlated.
        let rest = one - squared;
        let from_eye = cosine * (self.facing * self.facing).mul_add(rest, squared).sqrt();
        let from_lamp = self.facing * (cosine * cosine).mul_add(rest, squared).sqrt();
        let visibility = k(0.5) / (from_eye + from_lamp).max(k(1e-6));
        let turned = one - v_h;
        let twice = turned * turned;
        Answer { cosine, highlight: distribution * visibility, grazing: twice * twice * turned }
    }
}
