//! The light of the surroundings ([`Sky`]), made up in code. From each come, once per process:
//! - irradiance as spherical harmonics of order 2 (Ramamoorthi and Hanrahan, "An Efficient Representation for Irradiance
//!   Environment Maps", SIGGRAPH 2001), divided by pi so that it multiplies albedo;
//! - reflections, prefiltered by roughness with GGX (Karis, "Real Shading in Unreal Engine 4", SIGGRAPH 2013), in
//!   octahedral maps with a border of one texel, so that filtering never sees a seam. Texels are RGB9E5.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "directions and light are finite and small; texel indices are below 2^18"
)]

use std::num::NonZeroUsize;
use std::sync::OnceLock;

use scene::math::Vec3;

use crate::look::Sky;
use crate::parallel::each_in_order;

/// Roughness levels: level n holds perceptual roughness n / (LEVELS - 1).
pub(crate) const LEVELS: usize = 13;
/// Edge of each level's map without its border. Every other level is the mean of its neighbours: so close together that
/// the nearest one will do in motion.
const EDGES: [usize; LEVELS] = [256, 160, 96, 80, 64, 64, 48, 48, 32, 32, 32, 32, 32];
/// Directions per texel of a rough level. So few leave no visible noise, as the samples come from ever blurrier copies.
const SAMPLES: u32 = 64;
/// Where a sun is so much brighter than the rest that they would show as streaks.
const SAMPLES_WITH_SUN: u32 = 320;

/// Light from far away, by direction.
#[derive(Debug)]
pub(crate) struct Environment {
    /// Coefficients for 1, y, z, x, xy, yz, 3z²-1, xz, x²-y²; cosine lobe and 1/pi included.
    pub(crate) irradiance: [[f32; 3]; 9],
    /// All levels' maps, RGB9E5.
    pub(crate) reflections: Vec<u32>,
    /// Start of each level; padded for lookups.
    pub(crate) offsets: [i32; 64],
    /// Edge of each level without the border; padded for lookups.
    pub(crate) edges: [f32; 64],
}

impl Environment {
    /// Computed at the first call, on up to `n_threads` threads.
    pub(crate) fn of_sky(sky: Sky, n_threads: NonZeroUsize) -> &'static Self {
        static SKIES: [OnceLock<Environment>; Sky::ALL.len()] = [const { OnceLock::new() }; Sky::ALL.len()];
        let n_samples = if matches!(sky, Sky::Day | Sky::Dusk) { SAMPLES_WITH_SUN } else { SAMPLES };
        SKIES[sky as usize].get_or_init(|| Self::of(n_threads, n_samples, &|toward| sky_light(sky, toward)))
    }

    fn of(n_threads: NonZeroUsize, n_samples: u32, light: &(dyn Fn(Vec3) -> Vec3 + Sync)) -> Self {
        let mirror = Map::new(n_threads, EDGES[0], light);
        // Halvings of the mirror map: what rough reflections sample.
        let mut chain = vec![mirror];
        while chain[chain.len() - 1].edge > 8 {
            chain.push(chain[chain.len() - 1].halved());
        }
        let irradiance = irradiance(&chain[2]);
        let mut maps: Vec<Map> = Vec::new();
        for level in (2..LEVELS).step_by(2) {
            let roughness = level as f32 / (LEVELS - 1) as f32;
            let lobe = Lobe::new(roughness, n_samples, chain[0].edge, chain.len());
            let map = Map::new(n_threads, EDGES[level], &|n| lobe.filtered(n, &chain));
            let finer = maps.last().unwrap_or(&chain[0]);
            maps.push(Map::new(n_threads, EDGES[level - 1], &|n| (finer.toward(n) + map.toward(n)) * 0.5));
            maps.push(map);
        }
        let mut reflections = Vec::new();
        let mut offsets = [0; 64];
        let mut edges = [0.0; 64];
        for (level, map) in std::iter::once(&chain[0]).chain(&maps).enumerate() {
            (offsets[level], edges[level]) = (reflections.len() as i32, map.edge as f32);
            map.pack_into(&mut reflections);
        }
        for at in LEVELS..64 {
            (offsets[at], edges[at]) = (offsets[LEVELS - 1], edges[LEVELS - 1]);
        }
        Self { irradiance, reflections, offsets, edges }
    }
}

/// Light that comes from direction `toward` (unit length, y is up), linear RGB.
pub fn sky_light(sky: Sky, toward: Vec3) -> Vec3 {
    match sky {
        Sky::Studio => studio_light(toward),
        Sky::Day => day_light(toward),
        Sky::Overcast => overcast_light(toward),
        Sky::Dusk => dusk_light(toward),
        Sky::Even => Vec3::ONE,
    }
}

/// 0 at `from` and 1 at `to`, smooth between.
fn smooth(from: f32, to: f32, x: f32) -> f32 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Yaw from +z towards +x and pitch up, degrees.
fn toward(yaw: f32, pitch: f32) -> Vec3 {
    let ((sy, cy), (sp, cp)) = (yaw.to_radians().sin_cos(), pitch.to_radians().sin_cos());
    Vec3::new(sy * cp, sp, cy * cp)
}

/// A round sun: `light` within `radius` degrees, and a soft rim.
fn sun(d: Vec3, at: Vec3, radius: f32, light: Vec3) -> Vec3 {
    let far = d.dot(at).clamp(-1.0, 1.0).acos().to_degrees();
    light * smooth(radius * 1.5, radius * 0.5, far)
}

/// The sun is larger than the real one and its light spread over that: highlights stay, noise does not.
fn day_light(d: Vec3) -> Vec3 {
    let at = toward(-35.0, 52.0);
    let horizon = Vec3::new(0.78, 0.86, 0.95);
    let sky = horizon.lerp(Vec3::new(0.16, 0.32, 0.72), d.y.clamp(0.0, 1.0).powf(0.45));
    // Haze around the sun.
    let haze = Vec3::new(0.9, 0.8, 0.6) * (0.5 * d.dot(at).max(0.0).powi(24));
    let ground = Vec3::new(0.34, 0.31, 0.26).lerp(Vec3::new(0.22, 0.2, 0.17), (-d.y).clamp(0.0, 1.0));
    let dome = ground.lerp(sky + haze, smooth(-0.03, 0.03, d.y));
    dome + sun(d, at, 4.5, Vec3::new(1.0, 0.94, 0.84) * 62.0)
}

/// The overcast sky of the CIE (Moon and Spencer, 1942): three times as bright above as at the horizon.
fn overcast_light(d: Vec3) -> Vec3 {
    let sky = Vec3::new(0.96, 0.99, 1.04) * (1.25 * (1.0 + 2.0 * d.y.max(0.0)) / 3.0);
    let ground = Vec3::new(0.26, 0.25, 0.23);
    ground.lerp(sky, smooth(-0.08, 0.08, d.y))
}

fn dusk_light(d: Vec3) -> Vec3 {
    let at = toward(-48.0, 9.0);
    let side = d.dot(Vec3::new(at.x, 0.0, at.z).normalize()) * 0.5 + 0.5;
    let horizon = Vec3::new(0.34, 0.27, 0.40).lerp(Vec3::new(1.9, 0.85, 0.38), side * side);
    let sky = horizon.lerp(Vec3::new(0.13, 0.17, 0.36), d.y.clamp(0.0, 1.0).powf(0.4));
    let ground = Vec3::new(0.16, 0.13, 0.13).lerp(Vec3::new(0.08, 0.07, 0.08), (-d.y).clamp(0.0, 1.0));
    let dome = ground.lerp(sky, smooth(-0.03, 0.05, d.y)) * 2.0;
    dome + sun(d, at, 4.5, Vec3::new(1.0, 0.52, 0.22) * 90.0)
}

/// A rectangular light at infinity.
struct Softbox {
    toward: Vec3,
    across: Vec3,
    up: Vec3,
    /// Tangents of the half angles, across and up.
    half_size: [f32; 2],
    /// Width of the soft edge in the same measure.
    softness: f32,
    light: Vec3,
}

impl Softbox {
    /// Yaw from +z towards +x and pitch up, degrees.
    fn new(yaw: f32, pitch: f32, half_size: [f32; 2], softness: f32, light: Vec3) -> Self {
        let (sin, cos) = yaw.to_radians().sin_cos();
        let (toward, across) = (toward(yaw, pitch), Vec3::new(cos, 0.0, -sin));
        Self { toward, across, up: toward.cross(across), half_size, softness, light }
    }

    fn toward(&self, d: Vec3) -> Vec3 {
        let depth = d.dot(self.toward);
        if depth <= 0.02 {
            return Vec3::ZERO;
        }
        let edge = |x: f32, half: f32| smooth(half + self.softness, half - self.softness, (x / depth).abs());
        self.light * edge(d.dot(self.across), self.half_size[0]) * edge(d.dot(self.up), self.half_size[1])
    }
}

/// A dome that is brighter above, a warm key softbox, a large cool fill, a strip for the rim and one overhead, over warm
/// ground.
fn studio_light(d: Vec3) -> Vec3 {
    static BOXES: OnceLock<[Softbox; 6]> = OnceLock::new();
    let boxes = BOXES.get_or_init(|| {
        let warm = Vec3::new(1.0, 0.955, 0.89);
        let cool = Vec3::new(0.88, 0.945, 1.0);
        [
            // Key: left of the starting camera, high.
            Softbox::new(-12.0, 44.0, [0.44, 0.32], 0.07, warm * 4.2),
            // Fill: right of it, low and broad.
            Softbox::new(104.0, 16.0, [0.50, 0.72], 0.20, cool * 0.62),
            // Rims: behind, tall and narrow.
            Softbox::new(-138.0, 22.0, [0.18, 0.80], 0.06, cool * 2.4),
            Softbox::new(172.0, 30.0, [0.42, 0.26], 0.10, warm * 1.8),
            // A strip that draws a line along curved things.
            Softbox::new(58.0, 14.0, [0.055, 0.55], 0.03, Vec3::splat(2.6)),
            // Overhead.
            Softbox::new(20.0, 86.0, [0.62, 0.46], 0.16, Vec3::splat(1.0)),
        ]
    });
    // The dome: a soft horizon, a floor that gives back some warm light.
    let sky = Vec3::new(0.40, 0.42, 0.45).lerp(Vec3::new(0.46, 0.49, 0.53), d.y.clamp(0.0, 1.0).sqrt());
    let ground = Vec3::new(0.27, 0.26, 0.25).lerp(Vec3::new(0.13, 0.125, 0.12), (-d.y).clamp(0.0, 1.0));
    let dome = ground.lerp(sky, smooth(-0.12, 0.12, d.y));
    boxes.iter().fold(dome, |sum, b| sum + b.toward(d))
}

/// An octahedral map around +y: (0, 0) to (1, 1), the ground folded outwards.
#[derive(Debug)]
struct Map {
    edge: usize,
    /// With a border of one texel, which repeats what lies across the fold.
    texels: Vec<Vec3>,
}

/// The direction at a point of an octahedral map.
fn direction(u: f32, v: f32) -> Vec3 {
    let (x, z) = (u * 2.0 - 1.0, v * 2.0 - 1.0);
    let y = 1.0 - x.abs() - z.abs();
    let fold = (-y).max(0.0);
    let toward_zero = |x: f32| if x >= 0.0 { x - fold } else { x + fold };
    Vec3::new(toward_zero(x), y, toward_zero(z)).normalize()
}

/// The point of an octahedral map at a direction.
fn point(d: Vec3) -> (f32, f32) {
    let d = d / (d.x.abs() + d.y.abs() + d.z.abs());
    let (x, z) = if d.y >= 0.0 {
        (d.x, d.z)
    } else {
        ((1.0 - d.z.abs()).copysign(d.x), (1.0 - d.x.abs()).copysign(d.z))
    };
    (x * 0.5 + 0.5, z * 0.5 + 0.5)
}

impl Map {
    fn new(n_threads: NonZeroUsize, edge: usize, light: &(dyn Fn(Vec3) -> Vec3 + Sync)) -> Self {
        let at = |n: usize| (n as f32 + 0.5) / edge as f32;
        let mut inner = Vec::with_capacity(edge * edge);
        each_in_order(
            n_threads,
            edge.div_ceil(8),
            |(): &mut (), part| {
                let texels = part * 8 * edge..((part + 1) * 8).min(edge) * edge;
                texels.map(|n| light(direction(at(n % edge), at(n / edge)))).collect::<Vec<_>>()
            },
            |_, mut part| inner.append(&mut part),
        );
        Self::bordered(edge, &inner)
    }

    fn bordered(edge: usize, inner: &[Vec3]) -> Self {
        // One beyond an edge the map goes on mirrored along that edge.
        let mut texels = Vec::with_capacity((edge + 2) * (edge + 2));
        for y in 0..edge + 2 {
            for x in 0..edge + 2 {
                let (x, y) = (x as isize - 1, y as isize - 1);
                let last = edge as isize - 1;
                let (x, y) = if x < 0 || x > last { (x.clamp(0, last), last - y) } else { (x, y) };
                let (x, y) = if y < 0 || y > last { (last - x, y.clamp(0, last)) } else { (x, y) };
                texels.push(inner[y as usize * edge + x as usize]);
            }
        }
        Self { edge, texels }
    }

    fn halved(&self) -> Self {
        let (edge, stride) = (self.edge / 2, self.edge + 2);
        let texel = |n: usize| {
            let at = (n / edge * 2 + 1) * stride + n % edge * 2 + 1;
            let t = &self.texels;
            (t[at] + t[at + 1] + t[at + stride] + t[at + stride + 1]) * 0.25
        };
        Self::bordered(edge, &(0..edge * edge).map(texel).collect::<Vec<_>>())
    }

    /// Bilinear.
    fn toward(&self, d: Vec3) -> Vec3 {
        let (u, v) = point(d);
        // The border shifts texel centres from .5 to 1.5, so the texel before the place is its floor here.
        let place = |x: f32| (x * self.edge as f32 + 0.5).clamp(0.0, self.edge as f32 + 0.5);
        let (x, y) = (place(u), place(v));
        let (x0, y0) = (x as usize, y as usize);
        let (fx, fy) = (x - x0 as f32, y - y0 as f32);
        let at = y0 * (self.edge + 2) + x0;
        let row = |at: usize| self.texels[at].lerp(self.texels[at + 1], fx);
        row(at).lerp(row(at + self.edge + 2), fy)
    }

    fn pack_into(&self, out: &mut Vec<u32>) {
        out.extend(self.texels.iter().map(|texel| rgb9e5(*texel)));
    }
}

/// Three 9-bit mantissas and a common exponent: OpenGL EXT_texture_shared_exponent.
fn rgb9e5(c: Vec3) -> u32 {
    let c = c.clamp(Vec3::ZERO, Vec3::splat(65408.0));
    let most = c.max_element().max(1e-7);
    let mut exponent = (most.log2().floor() as i32).max(-16) + 16;
    // Rounding up may need the next exponent.
    if (most / 2f32.powi(exponent - 24)).round() >= 512.0 {
        exponent += 1;
    }
    let unit = 2f32.powi(exponent - 24);
    let part = |x: f32| (x / unit).round() as u32;
    part(c.x) | part(c.y) << 9 | part(c.z) << 18 | (exponent as u32) << 27
}

/// Samples of a GGX lobe around +z with n = v: the directions to the light, by weight.
struct Lobe {
    /// Direction, weight, level of the mirror map's halvings. Weights sum to 1.
    samples: Vec<(Vec3, f32, usize)>,
}

impl Lobe {
    fn new(roughness: f32, n_samples: u32, edge: usize, n_levels: usize) -> Self {
        let alpha = roughness * roughness;
        let texel_solid_angle = 4.0 * std::f32::consts::PI / (edge * edge) as f32;
        let mut samples = Vec::new();
        let mut total = 0.0;
        for n in 0..n_samples {
            // Hammersley points.
            let (x, y) = ((n as f32 + 0.5) / n_samples as f32, n.reverse_bits() as f32 * 2f32.powi(-32));
            let cos = ((1.0 - y) / (1.0 + (alpha * alpha - 1.0) * y)).sqrt();
            let sin = (1.0 - cos * cos).max(0.0).sqrt();
            let (s, c) = (x * std::f32::consts::TAU).sin_cos();
            let half = Vec3::new(sin * c, sin * s, cos);
            let to_light = half * (2.0 * cos) - Vec3::Z;
            if to_light.z <= 0.0 {
                continue;
            }
            // As large a blur as the sample stands for (Krivanek and Colbert, GPU Gems 3, chapter 20).
            let d = (cos * cos) * (alpha * alpha - 1.0) + 1.0;
            let pdf = alpha * alpha / (std::f32::consts::PI * d * d) / 4.0;
            let solid_angle = 1.0 / (n_samples as f32 * pdf.max(1e-6));
            let level = 0.5 * (solid_angle / texel_solid_angle).max(1.0).log2() + 1.0;
            // Half a level is half of the light from either.
            let (fine, coarse) = ((level as usize).min(n_levels - 1), (level as usize + 1).min(n_levels - 1));
            samples.push((to_light, to_light.z * (1.0 - level.fract()), fine));
            samples.push((to_light, to_light.z * level.fract(), coarse));
            total += to_light.z;
        }
        for (_, weight, _) in &mut samples {
            *weight /= total;
        }
        Self { samples }
    }

    fn filtered(&self, n: Vec3, chain: &[Map]) -> Vec3 {
        let (x, y) = n.any_orthonormal_pair();
        let light = |(d, weight, level): &(Vec3, f32, usize)| {
            chain[*level].toward(x * d.x + y * d.y + n * d.z) * *weight
        };
        self.samples.iter().map(light).sum()
    }
}

fn irradiance(map: &Map) -> [[f32; 3]; 9] {
    let mut sums = [Vec3::ZERO; 9];
    let mut area = 0.0;
    for n in 0..map.edge * map.edge {
        let (x, y) = (n % map.edge, n / map.edge);
        let light = map.texels[(y + 1) * (map.edge + 2) + x + 1];
        let at = |n: usize| (n as f32 + 0.5) / map.edge as f32;
        let (u, v) = (at(x), at(y));
        let d = direction(u, v);
        // Solid angle of an octahedral texel: proportional to 1 / length³ of the point on the octahedron.
        let sum = d.x.abs() + d.y.abs() + d.z.abs();
        let weight = sum * sum * sum;
        area += weight;
        for (sum, basis) in sums.iter_mut().zip(sh_basis(d)) {
            *sum += light * (weight * basis);
        }
    }
    // Cosine lobe by band, over pi: 1, 2/3, 1/4.
    let lobe = [1.0, 2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 0.25, 0.25, 0.25, 0.25, 0.25];
    let norm = sh_norm();
    std::array::from_fn(|n| {
        (sums[n] * (4.0 * std::f32::consts::PI / area * lobe[n] * norm[n] * norm[n])).to_array()
    })
}

fn sh_basis(d: Vec3) -> [f32; 9] {
    let Vec3 { x, y, z } = d;
    [1.0, y, z, x, x * y, y * z, 3.0 * z * z - 1.0, x * z, x * x - y * y]
}

fn sh_norm() -> [f32; 9] {
    [
        0.282_094_8,
        0.488_602_5,
        0.488_602_5,
        0.488_602_5,
        1.092_548_4,
        1.092_548_4,
        0.315_391_57,
        1.092_548_4,
        0.546_274_2,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octahedral_points_and_directions_are_inverse() {
        for n in 0..1000 {
            let (u, v) = ((n % 37) as f32 / 37.0 + 0.01, (n / 37) as f32 / 28.0 + 0.01);
            let (u2, v2) = point(direction(u, v));
            assert!((u - u2).abs() + (v - v2).abs() < 1e-4, "{u} {v} {u2} {v2}");
        }
    }

    #[test]
    fn constant_light_stays_constant() {
        let c = Vec3::new(0.5, 1.0, 2.0);
        let environment = Environment::of(NonZeroUsize::MIN, SAMPLES, &|_| c);
        let first = Vec3::from(environment.irradiance[0]);
        assert!((first - c).length() < 1e-3, "{first}");
        for band in &environment.irradiance[1..] {
            assert!(Vec3::from(*band).length() < 2e-2, "{band:?}");
        }
        assert!(environment.reflections.iter().all(|texel| *texel == rgb9e5(c)));
    }

    #[test]
    fn the_studio_is_lit_from_above() {
        let [_, up, ..] = Environment::of_sky(Sky::Studio, NonZeroUsize::MIN).irradiance;
        assert!(up[1] > 0.2, "{up:?}");
    }

    #[test]
    fn all_skies_are_about_as_bright() {
        for sky in Sky::ALL {
            let [mean, ..] = Environment::of_sky(sky, NonZeroUsize::MIN).irradiance;
            let green = mean[1];
            assert!((0.4..1.05).contains(&green), "{sky:?}: {mean:?}");
        }
    }
}
