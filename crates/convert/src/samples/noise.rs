//! Seeded noise.

use scene::math::Vec3;

/// A well mixed number for each input ("lowbias32" of Chris Wellons, 2018).
pub(super) fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// From 0 to 1.
pub(super) fn unit(x: u32) -> f32 {
    // 24 bits are what a float holds exactly.
    #[expect(clippy::cast_precision_loss, reason = "24 bits")]
    let whole = (mix(x) >> 8) as f32;
    whole / 16_777_216.0
}

/// A stream of numbers.
pub(super) struct Random(u32);

impl Random {
    pub(super) fn new(seed: u32) -> Self {
        Self(mix(seed ^ 0x9e37_79b9))
    }

    /// From 0 to 1.
    pub(super) fn unit(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9);
        unit(self.0)
    }

    /// From `low` to `high`.
    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }
}

/// Smooth value noise from -1 to 1 and its gradient.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "lattice coordinates may wrap")]
pub(super) fn value3(p: Vec3, seed: u32) -> (f32, Vec3) {
    let cell = p.floor();
    let f = p - cell;
    let (x, y, z) = (cell.x as i32 as u32, cell.y as i32 as u32, cell.z as i32 as u32);
    let corner = |i: u32, j: u32, k: u32| {
        let h = x.wrapping_add(i).wrapping_mul(0x8da6_b343)
            ^ y.wrapping_add(j).wrapping_mul(0xd816_3841)
            ^ z.wrapping_add(k).wrapping_mul(0xcb1a_b31f)
            ^ seed;
        unit(h) * 2.0 - 1.0
    };
    // Quintic fade: the second derivative is continuous, so shading shows no lattice.
    let fade = f * f * f * (f * (f * 6.0 - 15.0) + 10.0);
    let slope = f * f * (f * (f - 2.0) + 1.0) * 30.0;
    let (a, b, c, d) = (corner(0, 0, 0), corner(1, 0, 0), corner(0, 1, 0), corner(1, 1, 0));
    let (e, g, h, i) = (corner(0, 0, 1), corner(1, 0, 1), corner(0, 1, 1), corner(1, 1, 1));
    let (k1, k2, k3) = (b - a, c - a, e - a);
    let (k4, k5, k6) = (a - b - c + d, a - c - e + h, a - b - e + g);
    let k7 = -a + b + c - d + e - g - h + i;
    let (u, v, w) = (fade.x, fade.y, fade.z);
    let value = a + k1 * u + k2 * v + k3 * w + k4 * u * v + k5 * v * w + k6 * w * u + k7 * u * v * w;
    let gradient = slope
        * Vec3::new(
            k1 + k4 * v + k6 * w + k7 * v * w,
            k2 + k5 * w + k4 * u + k7 * w * u,
            k3 + k6 * u + k5 * v + k7 * u * v,
        );
    (value, gradient)
}

/// Value noise on a square that repeats after `period` cells; from 0 to 1. `x` and `y` are in cells.
#[expect(clippy::cast_possible_truncation, reason = "coordinates are small")]
pub(super) fn tiled2(x: f32, y: f32, period: (u32, u32), seed: u32) -> f32 {
    let (fx, fy) = (x.floor(), y.floor());
    let (tx, ty) = (x - fx, y - fy);
    let wrap = |i: i32, n: u32| i.rem_euclid(n as i32) as u32;
    let (x0, y0) = (wrap(fx as i32, period.0), wrap(fy as i32, period.1));
    let (x1, y1) = ((x0 + 1) % period.0, (y0 + 1) % period.1);
    let at = |i: u32, j: u32| unit(i.wrapping_mul(0x8da6_b343) ^ j.wrapping_mul(0xd816_3841) ^ seed);
    let (sx, sy) = (tx * tx * (3.0 - 2.0 * tx), ty * ty * (3.0 - 2.0 * ty));
    let top = at(x0, y0) + (at(x1, y0) - at(x0, y0)) * sx;
    let bottom = at(x0, y1) + (at(x1, y1) - at(x0, y1)) * sx;
    top + (bottom - top) * sy
}
