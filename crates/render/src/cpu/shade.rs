//! Ids become light: eight pixels at a time, in groups that show the same instance and so the same material.
//!
//! What a triangle looks like at a pixel is computed from scratch: where the pixel's ray meets the triangle in mesh
//! space, the vertices' attributes there and how they change to the next pixel. glTF 2.0, appendix B, lit by an
//! environment alone:
//! - diffuse: irradiance (see [`crate::light`]) times albedo;
//! - specular: split sum (see [`super::split_sum`]), and the energy that bounces more than once (Turquin, "Practical
//!   multiple scattering compensation for microfacet models", 2019): a white metal loses nothing, however rough.
//!
//! Lamps ([`super::lamps`]) and what few materials have ([`super::coating`]) are added where there are any.

use std::f32::consts::FRAC_1_PI;

use scene::AlphaMode;
use scene::math::Vec3;

use super::coating::{Coat, sheen_albedo};
use super::frame::{Frame, Id, NOTHING, Placed};
use super::lamps::{Answer, Arriving, Gloss};
use super::sample::{Coordinates, Place, fetch, locate};
use crate::clusters::Vertex;
use crate::color::tone_mapped;
use crate::light::{Environment, LEVELS};
use crate::simd::{Float, Int, Isa, vectorized};
use crate::texture::{Sampled, ShadedMaterial};

/// Reflectance of dielectrics at normal incidence.
const F0: f32 = 0.04;
/// Below this roughness highlights would alias; the first levels of the reflections are finer than pixels.
const ROUGHNESS_MIN: f32 = 0.03;

/// How far out of its triangle a point may be, in weights of its corners.
const OUTSIDE_MAX: f32 = 4.0;

vectorized! {
    /// Displayable linear light of eight ids at pixel positions `x`, `y`, where (0, 0) is the centre of the top left
    /// pixel: red, green, blue; and, of blended surfaces alone, what they leave of the light behind them, likewise.
    /// Lanes with [`NOTHING`] are left as they are.
    pub(super) fn shade(
        frame: &Frame<'_>,
        ids: &[Id; 8],
        x: &[f32; 8],
        y: &[f32; 8],
        memory: &mut LookupMemory,
        out: &mut [[f32; 8]; 6],
    ) = shade_lanes;
}

vectorized! {
    /// Alpha alone.
    pub(super) fn shade_alpha(
        frame: &Frame<'_>,
        ids: &[Id; 8],
        x: &[f32; 8],
        y: &[f32; 8],
        memory: &mut LookupMemory,
        out: &mut [f32; 8],
    ) = shade_alpha_lanes;
}

/// Three components, eight of each.
pub(super) type V3<S> = [<S as Isa>::F; 3];

#[inline(always)]
pub(super) fn splat3<S: Isa>(v: Vec3) -> V3<S> {
    [S::F::splat(v.x), S::F::splat(v.y), S::F::splat(v.z)]
}
#[inline(always)]
pub(super) fn dot<S: Isa>(a: V3<S>, b: V3<S>) -> S::F {
    a[0].mul_add(b[0], a[1].mul_add(b[1], a[2] * b[2]))
}
#[inline(always)]
fn cross<S: Isa>(a: V3<S>, b: V3<S>) -> V3<S> {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}
#[inline(always)]
pub(super) fn sub<S: Isa>(a: V3<S>, b: V3<S>) -> V3<S> {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}
#[inline(always)]
pub(super) fn scaled<S: Isa>(a: V3<S>, t: S::F) -> V3<S> {
    [a[0] * t, a[1] * t, a[2] * t]
}
/// `a + b * t`.
#[inline(always)]
fn along<S: Isa>(a: V3<S>, b: V3<S>, t: S::F) -> V3<S> {
    [b[0].mul_add(t, a[0]), b[1].mul_add(t, a[1]), b[2].mul_add(t, a[2])]
}
#[inline(always)]
pub(super) fn normalized<S: Isa>(a: V3<S>) -> V3<S> {
    let length = dot::<S>(a, a).max(S::F::splat(1e-30)).sqrt();
    scaled::<S>(a, S::F::splat(1.0) / length)
}
#[inline(always)]
fn transformed<S: Isa>(m: &[Vec3; 3], v: V3<S>) -> V3<S> {
    let first = scaled::<S>(splat3::<S>(m[0]), v[0]);
    along::<S>(along::<S>(first, splat3::<S>(m[1]), v[1]), splat3::<S>(m[2]), v[2])
}

/// Lanes that show one instance.
struct Group<'a> {
    /// Bit per lane.
    lanes: u32,
    placed: &'a Placed,
    material: &'a ShadedMaterial,
    mirrored: bool,
    /// Vertices by corner, then lane. Lanes outside the group repeat one of it.
    vertices: [[&'a Vertex; 8]; 3],
    /// What the lanes show.
    ids: [Id; 8],
    /// All eight show the same triangle.
    is_one_triangle: bool,
}

impl<'a> Group<'a> {
    /// The group of the lowest lane of `left` (which is not 0).
    #[inline(always)]
    fn next(frame: &'a Frame<'_>, ids: &[Id; 8], left: u32) -> Self {
        let scene = frame.scene;
        let first = left.trailing_zeros() as usize & 7;
        let instance = frame.visible[(ids[first] >> 7) as usize].instance;
        let material = {
            let geometry = &scene.geometries[scene.instances[instance as usize].geometry as usize];
            &scene.materials[geometry.material as usize]
        };
        let vertices = &scene.clusters.vertices;
        let mut group = Self {
            lanes: 0,
            placed: &frame.placed[instance as usize],
            material,
            mirrored: scene.instances[instance as usize].mirrored,
            vertices: [[&vertices[0]; 8]; 3],
            ids: [ids[first]; 8],
            is_one_triangle: *ids == [ids[0]; 8],
        };
        if group.is_one_triangle {
            group.lanes = 0xff;
            let corners = corners_of(frame, ids[0]);
            group.vertices = [[corners[0]; 8], [corners[1]; 8], [corners[2]; 8]];
            return group;
        }
        let mut last_id = NOTHING;
        let mut corners = [&vertices[0]; 3];
        for lane in 0..8 {
            if left >> lane & 1 == 1 {
                let id = ids[lane];
                // Neighbours often show the same triangle.
                if id == last_id {
                    group.ids[lane] = id;
                    group.lanes |= 1 << lane;
                } else {
                    let visible = &frame.visible[(id >> 7) as usize];
                    if visible.instance == instance {
                        group.ids[lane] = id;
                        group.lanes |= 1 << lane;
                        last_id = id;
                        corners = corners_of(frame, id);
                    }
                }
            }
            for corner in 0..3 {
                group.vertices[corner][lane] = corners[corner];
            }
        }
        // Lanes before the first: what they show is not used, but it must be harmless.
        for lane in 0..first {
            for corner in 0..3 {
                group.vertices[corner][lane] = group.vertices[corner][first];
            }
        }
        group
    }

    /// Second texture coordinates by corner, u and v, lane.
    fn uv1(&self, frame: &Frame<'_>) -> [[[f32; 8]; 2]; 3] {
        let mut out = [[[0.0; 8]; 2]; 3];
        let clusters = &frame.scene.clusters;
        for (lane, id) in self.ids.into_iter().enumerate() {
            let visible = &frame.visible[(id >> 7) as usize];
            let cluster = &clusters.clusters[visible.cluster as usize];
            if cluster.uv1_at == u32::MAX {
                continue;
            }
            let block = visible.triangles_at as usize + (id as usize >> 3 & 15);
            let packed = clusters.triangles[block][id as usize & 7];
            for corner in 0..3 {
                let uv = clusters.uv1[cluster.uv1_at as usize + (packed >> (corner * 8) & 63) as usize];
                (out[corner][0][lane], out[corner][1][lane]) = (uv[0], uv[1]);
            }
        }
        out
    }
}

/// The vertices of a triangle.
#[inline(always)]
fn corners_of<'a>(frame: &'a Frame<'_>, id: Id) -> [&'a Vertex; 3] {
    let visible = &frame.visible[(id >> 7) as usize];
    let clusters = &frame.scene.clusters;
    let block = visible.triangles_at as usize + (id as usize >> 3 & 15);
    let packed = clusters.triangles[block][id as usize & 7];
    let own = &clusters.vertices[visible.vertices_at as usize..];
    [&own[(packed & 63) as usize], &own[(packed >> 8 & 63) as usize], &own[(packed >> 16 & 63) as usize]]
}

/// Eight times the same vertex, by field.
#[inline(always)]
#[expect(clippy::cast_possible_wrap, reason = "bit patterns")]
fn repeated<S: Isa>(v: &Vertex) -> [S::I; 8] {
    let k = S::I::splat;
    [
        k(v[0] as i32),
        k(v[1] as i32),
        k(v[2] as i32),
        k(v[3] as i32),
        k(v[4] as i32),
        k(v[5] as i32),
        k(v[6] as i32),
        k(v[7] as i32),
    ]
}

/// Where eight rays meet their triangles.
struct Surface<S: Isa> {
    /// By corner: position and so on, each eight lanes.
    fields: [[S::I; 8]; 3],
    /// Weights of corners 1 and 2.
    weights: [S::F; 2],
    /// The triangle faces away.
    back: S::I,
    /// How the weights change to the right and down: of corner 1, of corner 2.
    weights_right: [S::F; 2],
    weights_down: [S::F; 2],
}

impl<S: Isa> Surface<S> {
    #[inline(always)]
    fn of(group: &Group<'_>, x: S::F, y: S::F) -> Self {
        let k = S::F::splat;
        let [a, b, c] = group.vertices;
        let fields = if group.is_one_triangle {
            [repeated::<S>(a[0]), repeated::<S>(b[0]), repeated::<S>(c[0])]
        } else {
            [S::I::transpose(a), S::I::transpose(b), S::I::transpose(c)]
        };
        let a = [fields[0][0].float_bits(), fields[0][1].float_bits(), fields[0][2].float_bits()];
        let b = [fields[1][0].float_bits(), fields[1][1].float_bits(), fields[1][2].float_bits()];
        let c = [fields[2][0].float_bits(), fields[2][1].float_bits(), fields[2][2].float_bits()];
        let placed = group.placed;
        let (right, down) = (splat3::<S>(placed.ray_x), splat3::<S>(placed.ray_y));
        let ray = along::<S>(along::<S>(splat3::<S>(placed.ray), right, x), down, y);
        let to_eye = sub::<S>(splat3::<S>(placed.eye), a);
        let (e1, e2) = (sub::<S>(b, a), sub::<S>(c, a));
        let normal = cross::<S>(e1, e2);
        // Each weight is a quotient of two functions that are linear in the ray.
        let (for1, for2) = (cross::<S>(to_eye, e2), cross::<S>(e1, to_eye));
        let across = dot::<S>(ray, normal);
        let back = k(0.0).lt(across);
        let safe = S::F::select(across.abs().lt(k(1e-37)), k(1e-37), across);
        let inverse = k(1.0) / safe;
        let w1 = dot::<S>(ray, for1) * inverse;
        let w2 = dot::<S>(ray, for2) * inverse;
        // How the weights change with the ray: the quotient rule, the divisor taken out.
        let mut slopes = [[w1, w2], [w1, w2]];
        for (n, step) in [right, down].into_iter().enumerate() {
            let change = dot::<S>(step, normal);
            slopes[n] = [
                (dot::<S>(step, for1) - w1 * change) * inverse,
                (dot::<S>(step, for2) - w2 * change) * inverse,
            ];
        }
        let [weights_right, weights_down] = slopes;
        // Rounding may place the point just outside of the triangle, and inner pixels are shaded beside their samples.
        let w1 = w1.max(k(-OUTSIDE_MAX)).min(k(1.0 + OUTSIDE_MAX));
        let w2 = w2.max(k(-OUTSIDE_MAX)).min(k(1.0 + OUTSIDE_MAX));
        Self { fields, weights: [w1, w2], back, weights_right, weights_down }
    }

    #[inline(always)]
    fn blend(&self, at: [S::F; 3]) -> S::F {
        let [w1, w2] = self.weights;
        (at[1] - at[0]).mul_add(w1, (at[2] - at[0]).mul_add(w2, at[0]))
    }

    #[inline(always)]
    fn coordinates(&self, u: [S::F; 3], v: [S::F; 3], out: &mut Coordinates) {
        for (n, at) in [u, v].into_iter().enumerate() {
            self.blend(at).store(&mut out.uv[n]);
            let (d1, d2) = (at[1] - at[0], at[2] - at[0]);
            d1.mul_add(self.weights_right[0], d2 * self.weights_right[1]).store(&mut out.slopes[n]);
            d1.mul_add(self.weights_down[0], d2 * self.weights_down[1]).store(&mut out.slopes[2 + n]);
        }
    }

    /// The points, from the eye, world axes and metres.
    #[inline(always)]
    fn offsets_from_eye(&self, group: &Group<'_>) -> V3<S> {
        let f = &self.fields;
        let position = |corner: usize| std::array::from_fn(|axis| f[corner][axis].float_bits());
        let from_eye = sub::<S>(self.blend3([0, 1, 2].map(position)), splat3::<S>(group.placed.eye));
        let from_eye = transformed::<S>(&group.placed.world_from_tangent, from_eye);
        scaled::<S>(from_eye, S::F::splat(group.placed.scale))
    }

    /// First and second texture coordinates, as far as the material uses them.
    #[inline(always)]
    fn texture_coordinates(&self, frame: &Frame<'_>, group: &Group<'_>, out: &mut [Coordinates; 2]) {
        if !group.material.is_textured {
            return;
        }
        let f = &self.fields;
        let u = [f[0][4].float_bits(), f[1][4].float_bits(), f[2][4].float_bits()];
        let v = [f[0][5].float_bits(), f[1][5].float_bits(), f[2][5].float_bits()];
        self.coordinates(u, v, &mut out[0]);
        if group.material.uses_uv1 {
            let from = group.uv1(frame);
            let mut uv1 = [[S::F::zero(); 3]; 2];
            for corner in 0..3 {
                uv1[0][corner] = S::F::load(&from[corner][0]);
                uv1[1][corner] = S::F::load(&from[corner][1]);
            }
            self.coordinates(uv1[0], uv1[1], &mut out[1]);
        }
    }

    /// Vertex colour, linear RGBA.
    #[inline(always)]
    fn color(&self) -> [S::F; 4] {
        let f = &self.fields;
        let white = f[0][7] & f[1][7] & f[2][7];
        let one = S::F::splat(1.0);
        if white.eq(S::I::splat(-1)).signs() == 0xff {
            return [one; 4];
        }
        let byte = S::I::splat(255);
        let unit = S::F::splat(1.0 / 255.0);
        let r = self.blend([
            (f[0][7] & byte).to_float(),
            (f[1][7] & byte).to_float(),
            (f[2][7] & byte).to_float(),
        ]);
        let g = self.blend([
            (f[0][7].shr::<8>() & byte).to_float(),
            (f[1][7].shr::<8>() & byte).to_float(),
            (f[2][7].shr::<8>() & byte).to_float(),
        ]);
        let b = self.blend([
            (f[0][7].shr::<16>() & byte).to_float(),
            (f[1][7].shr::<16>() & byte).to_float(),
            (f[2][7].shr::<16>() & byte).to_float(),
        ]);
        let a = self.blend([
            f[0][7].shr::<24>().to_float(),
            f[1][7].shr::<24>().to_float(),
            f[2][7].shr::<24>().to_float(),
        ]);
        [r * unit, g * unit, b * unit, a * unit]
    }

    #[inline(always)]
    fn blend3(&self, at: [V3<S>; 3]) -> V3<S> {
        [
            self.blend([at[0][0], at[1][0], at[2][0]]),
            self.blend([at[0][1], at[1][1], at[2][1]]),
            self.blend([at[0][2], at[1][2], at[2][2]]),
        ]
    }

    /// In mesh space, about unit length.
    #[inline(always)]
    fn normal(&self) -> V3<S> {
        let f = &self.fields;
        self.blend3([
            unpacked_normal::<S>(f[0][3]),
            unpacked_normal::<S>(f[1][3]),
            unpacked_normal::<S>(f[2][3]),
        ])
    }

    /// In mesh space, and the bitangent's sign.
    #[inline(always)]
    fn tangent(&self) -> (V3<S>, S::F) {
        let f = &self.fields;
        let sign = S::F::select(f[0][6], S::F::splat(-1.0), S::F::splat(1.0));
        let (a, b, c) =
            (unpacked_tangent::<S>(f[0][6]), unpacked_tangent::<S>(f[1][6]), unpacked_tangent::<S>(f[2][6]));
        (self.blend3([a, b, c]), sign)
    }
}

#[inline(always)]
fn unpacked_normal<S: Isa>(packed: S::I) -> V3<S> {
    octahedral::<S>(packed.shl::<16>().sar::<16>(), packed.sar::<16>())
}

/// As a normal, but y has 15 bits.
#[inline(always)]
fn unpacked_tangent<S: Isa>(packed: S::I) -> V3<S> {
    octahedral::<S>(packed.shl::<16>().sar::<16>(), packed.shl::<1>().sar::<17>().shl::<1>())
}

/// The direction of an octahedral pair, of unit length within 0.2 %: enough for a weight.
#[inline(always)]
fn octahedral<S: Isa>(x: S::I, y: S::I) -> V3<S> {
    let k = S::F::splat;
    let (x, y) = (x.to_float() * k(1.0 / 32767.0), y.to_float() * k(1.0 / 32767.0));
    let z = k(1.0) - x.abs() - y.abs();
    let fold = (-z).max(k(0.0));
    let x = x - S::F::select(x.bits(), -fold, fold);
    let y = y - S::F::select(y.bits(), -fold, fold);
    let squared = dot::<S>([x, y, z], [x, y, z]);
    // The well-known estimate of 1 / sqrt and a Newton step: no division, and the same on any processor.
    let estimate = (S::I::splat(0x5f37_59df) - squared.bits().shr::<1>()).float_bits();
    let half = squared * k(-0.5);
    let inverse = estimate * (half * estimate).mul_add(estimate, k(1.5));
    [x * inverse, y * inverse, z * inverse]
}

#[inline(always)]
fn shade_lanes<S: Isa>(
    frame: &Frame<'_>,
    ids: &[Id; 8],
    x: &[f32; 8],
    y: &[f32; 8],
    memory: &mut LookupMemory,
    out: &mut [[f32; 8]; 6],
) {
    let (x, y) = (S::F::load(x), S::F::load(y));
    let mut left = !S::I::load_u32(ids).eq(S::I::splat(-1)).signs() & 0xff;
    let mut lookups = Lookups { frame, memory, number: None };
    while left != 0 {
        let group = Group::next(frame, ids, left);
        let light = shade_group::<S>(frame, &group, x, y, &mut lookups);
        let n_channels = if group.material.alpha_mode == AlphaMode::Blend { 6 } else { 3 };
        if group.lanes == 0xff {
            for channel in 0..n_channels {
                light[channel].store(&mut out[channel]);
            }
            return;
        }
        let lanes = mask::<S>(group.lanes);
        for channel in 0..n_channels {
            let before = S::F::load(&out[channel]);
            S::F::select(lanes, light[channel], before).store(&mut out[channel]);
        }
        left &= !group.lanes;
    }
}

#[inline(always)]
fn shade_alpha_lanes<S: Isa>(
    frame: &Frame<'_>,
    ids: &[Id; 8],
    x: &[f32; 8],
    y: &[f32; 8],
    memory: &mut LookupMemory,
    out: &mut [f32; 8],
) {
    let (x, y) = (S::F::load(x), S::F::load(y));
    let mut left = !S::I::load_u32(ids).eq(S::I::splat(-1)).signs() & 0xff;
    while left != 0 {
        let group = Group::next(frame, ids, left);
        let surface = Surface::<S>::of(&group, x, y);
        let mut lookups = Lookups { frame, memory: &mut *memory, number: None };
        surface.texture_coordinates(frame, &group, &mut lookups.memory.uvs);
        let [_, _, _, alpha] = base_color::<S>(&group, &surface, &mut lookups);
        let before = S::F::load(out);
        S::F::select(mask::<S>(group.lanes), alpha, before).store(out);
        left &= !group.lanes;
    }
}

/// Lanes from bits.
#[inline(always)]
#[expect(clippy::cast_possible_wrap, reason = "eight bits")]
pub(super) fn mask<S: Isa>(bits: u32) -> S::I {
    let bit = S::I::load(&[1, 2, 4, 8, 16, 32, 64, 128]);
    (S::I::splat(bits as i32) & bit).eq(bit)
}

/// A group's texture coordinates, first and second, and the place that was looked up last. A kilobyte that is written before
/// it is read: it lives with the worker, so that nobody clears it for each group.
#[derive(Default)]
pub(super) struct LookupMemory {
    uvs: [Coordinates; 2],
    place: Place,
}

/// Looks up a group's textures.
pub(super) struct Lookups<'a> {
    frame: &'a Frame<'a>,
    memory: &'a mut LookupMemory,
    /// Of [`Sampled::place`], if the memory's place is this group's.
    number: Option<u8>,
}

impl Lookups<'_> {
    /// Linear RGBA.
    #[inline(always)]
    pub(super) fn of<S: Isa>(&mut self, sampled: &Sampled) -> [S::F; 4] {
        let texture = &self.frame.scene.textures[sampled.texture as usize];
        if self.number != Some(sampled.place) {
            let Frame { level, lod_bias, smooth, .. } = *self.frame;
            let LookupMemory { uvs, place } = &mut *self.memory;
            let uv = &uvs[usize::from(sampled.second_uv)];
            locate(level, texture, sampled, uv, lod_bias, smooth, place);
            self.number = Some(sampled.place);
        }
        fetch::<S>(texture, &self.memory.place)
    }
}

#[inline(always)]
fn base_color<S: Isa>(group: &Group<'_>, surface: &Surface<S>, lookups: &mut Lookups<'_>) -> [S::F; 4] {
    let mut color = surface.color();
    for channel in 0..4 {
        color[channel] = color[channel] * S::F::splat(group.material.base_color[channel]);
    }
    if let Some(sampled) = &group.material.base_color_texture {
        let texel = lookups.of::<S>(sampled);
        for channel in 0..4 {
            color[channel] = color[channel] * texel[channel];
        }
    }
    color
}

#[inline(always)]
fn shade_group<S: Isa>(
    frame: &Frame<'_>,
    group: &Group<'_>,
    x: S::F,
    y: S::F,
    lookups: &mut Lookups<'_>,
) -> [S::F; 6] {
    let k = S::F::splat;
    let material = group.material;
    let surface = Surface::<S>::of(group, x, y);
    lookups.number = None;
    surface.texture_coordinates(frame, group, &mut lookups.memory.uvs);
    let [red, green, blue, alpha] = base_color::<S>(group, &surface, lookups);
    let base = [red, green, blue];
    let blends = material.alpha_mode == AlphaMode::Blend;
    if material.unlit {
        return layer::<S>(blends, base, alpha, [k(0.0); 3]);
    }

    let [ray, ray_x, ray_y] = frame.ray;
    let ray = along::<S>(splat3::<S>(ray), splat3::<S>(ray_x), x);
    let ray = along::<S>(ray, splat3::<S>(ray_y), y);
    let to_eye = normalized::<S>([-ray[0], -ray[1], -ray[2]]);

    let flip = S::F::select(surface.back, k(-1.0), k(1.0));
    let mut normal = normalized::<S>(transformed::<S>(&group.placed.world_from_normal, surface.normal()));
    if material.double_sided {
        normal = scaled::<S>(normal, flip);
    }
    let smooth_normal = normal;
    if let Some(sampled) = &material.normal_texture {
        normal = bumped::<S>(group, &surface, sampled, material.normal_scale, lookups, normal, flip);
    }

    let mut metallic = k(material.metallic);
    let mut roughness = k(material.roughness);
    let mut occlusion = k(1.0);
    let strength = k(material.occlusion_strength);
    if let Some(sampled) = &material.metallic_roughness_texture {
        let texel = lookups.of::<S>(sampled);
        roughness = roughness * texel[1];
        metallic = metallic * texel[2];
        if material.occlusion_is_red {
            occlusion = strength.mul_add(texel[0] - k(1.0), k(1.0));
        }
    }
    let roughness = roughness.max(k(ROUGHNESS_MIN)).min(k(1.0));
    if let Some(sampled) = &material.occlusion_texture
        && !material.occlusion_is_red
    {
        occlusion = strength.mul_add(lookups.of::<S>(sampled)[0] - k(1.0), k(1.0));
    }

    // No closures here: they would not be compiled for the instruction set.
    let mut coat = Coat::<S>::none(F0);
    if let Some(coating) = material.coating.as_deref() {
        coat = Coat::of(coating, lookups);
    }
    let f90 = coat.f90.mix(k(1.0), metallic);

    let facing = dot::<S>(normal, to_eye).max(k(0.02));
    let reflected = along::<S>([-to_eye[0], -to_eye[1], -to_eye[2]], normal, facing * k(2.0));
    let reflected = toward_lobe::<S>(reflected, normal, roughness);
    // Bumps must not reflect what is below the surface.
    let horizon = (dot::<S>(reflected, smooth_normal) + k(1.0)).clamp01();
    let specular_light = reflection::<S>(frame, reflected, roughness);
    let diffuse_light = irradiance::<S>(frame, normal);
    let [scale, bias] = frame.split_sum.at::<S>(roughness, facing);
    let single = scale + bias;
    // Light that one bounce does not let out comes out after more, tinted once more.
    let more = k(1.0) / single.max(k(0.1)) - k(1.0);
    let bias = bias * f90;
    let specular_occlusion = occlusion * horizon * horizon;
    let mut f0 = [k(0.0); 3];
    // What is not reflected comes out again (diffuse), or goes through.
    let mut diffuse = [k(0.0); 3];
    let mut specular = [k(0.0); 3];
    let mut reflectances = [k(0.0); 3];
    for channel in 0..3 {
        f0[channel] = coat.f0[channel].mix(base[channel], metallic);
        let reflectance = f0[channel].mul_add(scale, bias) * f0[channel].mul_add(more, k(1.0));
        diffuse[channel] = base[channel] * (k(1.0) - metallic) * (k(1.0) - reflectance);
        specular[channel] = specular_light[channel] * (reflectance * specular_occlusion);
        reflectances[channel] = reflectance;
    }
    let through = coat.transmission * (k(1.0) - metallic);
    let mut light = [k(0.0); 3];
    for channel in 0..3 {
        let seen = diffuse[channel] * (k(1.0) - through);
        light[channel] = (seen * diffuse_light[channel]).mul_add(occlusion, specular[channel]);
    }
    let (is_lacquered, is_cloth, is_glass) = match material.coating.as_deref() {
        None => (false, false, false),
        Some(coating) => {
            (coating.clearcoat > 0.0, coating.sheen_color != [0.0; 3], coating.transmission > 0.0 && blends)
        }
    };
    // Lacquer lies on the surface without its bumps, but may have some of its own.
    let mut lacquer_normal = smooth_normal;
    if is_lacquered
        && let Some(coating) = material.coating.as_deref()
        && let Some(sampled) = &coating.clearcoat_normal_texture
    {
        let scale = coating.clearcoat_normal_scale;
        lacquer_normal = bumped::<S>(group, &surface, sampled, scale, lookups, smooth_normal, flip);
    }
    let lacquer = Gloss::<S> {
        normal: lacquer_normal,
        to_eye,
        facing: dot::<S>(lacquer_normal, to_eye).max(k(0.02)),
        roughness: coat.clearcoat_roughness.max(k(ROUGHNESS_MIN)).min(k(1.0)),
    };
    let mut lacquer_light = [k(0.0); 3];
    if !frame.lights.is_empty() {
        let gloss = Gloss::<S> { normal, to_eye, facing, roughness };
        let point = surface.offsets_from_eye(group);
        for shining in &frame.lights {
            let Arriving { to_lamp, light: arriving } = Arriving::<S>::of(shining, point);
            let Answer { cosine, highlight, grazing } = gloss.answer(to_lamp);
            for channel in 0..3 {
                let fresnel = (f90 - f0[channel]).mul_add(grazing, f0[channel]);
                let albedo = base[channel] * (k(1.0) - metallic) * (k(1.0) - through) * (k(1.0) - fresnel);
                let specular = fresnel * highlight * f0[channel].mul_add(more, k(1.0));
                let brdf = albedo.mul_add(k(FRAC_1_PI), specular);
                light[channel] = (arriving[channel] * cosine).mul_add(brdf, light[channel]);
            }
            if is_lacquered {
                let Answer { cosine, highlight, grazing } = lacquer.answer(to_lamp);
                let brdf = k(1.0 - F0).mul_add(grazing, k(F0)) * highlight * cosine;
                for channel in 0..3 {
                    lacquer_light[channel] = arriving[channel].mul_add(brdf, lacquer_light[channel]);
                }
            }
        }
    }
    if is_cloth {
        let albedo = sheen_albedo::<S>(facing, coat.sheen_roughness);
        let rest = k(1.0) - coat.sheen[0].max(coat.sheen[1]).max(coat.sheen[2]) * albedo;
        for channel in 0..3 {
            let sheen = coat.sheen[channel] * albedo * diffuse_light[channel] * occlusion;
            light[channel] = light[channel].mul_add(rest, sheen);
        }
    }
    if material.emissive != [0.0; 3] {
        let [r, g, b] = material.emissive;
        let mut emissive = [k(r), k(g), k(b)];
        if let Some(sampled) = &material.emissive_texture {
            let texel = lookups.of::<S>(sampled);
            for channel in 0..3 {
                emissive[channel] = emissive[channel] * texel[channel];
            }
        }
        for channel in 0..3 {
            light[channel] = light[channel] + emissive[channel];
        }
    }
    if is_lacquered {
        let against = [-to_eye[0], -to_eye[1], -to_eye[2]];
        let reflected = along::<S>(against, lacquer.normal, lacquer.facing * k(2.0));
        let reflected = toward_lobe::<S>(reflected, lacquer.normal, lacquer.roughness);
        let horizon = (dot::<S>(reflected, smooth_normal) + k(1.0)).clamp01();
        let arriving = reflection::<S>(frame, reflected, lacquer.roughness);
        let unhindered = occlusion * horizon * horizon;
        let [scale, bias] = frame.split_sum.at::<S>(lacquer.roughness, lacquer.facing);
        let reflectance = k(F0).mul_add(scale, bias);
        let rest = k(1.0) - coat.clearcoat * reflectance;
        for channel in 0..3 {
            let lacquer = (arriving[channel] * unhindered).mul_add(reflectance, lacquer_light[channel]);
            light[channel] = light[channel].mul_add(rest, lacquer * coat.clearcoat);
        }
    }
    // What glass lets through of each colour; neither bent nor blurred.
    let mut clear = [k(0.0); 3];
    if is_glass {
        for channel in 0..3 {
            let inside = through * base[channel] * coat.tint[channel];
            clear[channel] = (inside * (k(1.0) - reflectances[channel])).clamp01();
        }
    }
    layer::<S>(blends, tone_mapped::<S>(frame.tone_mapping, light), alpha, clear)
}

/// What a surface adds to the light behind it and what it leaves of that: `alpha` of it is there, and `clear` of what is
/// there lets light through. If it does not blend, all of it is there.
#[inline(always)]
fn layer<S: Isa>(blends: bool, [r, g, b]: V3<S>, alpha: S::F, clear: V3<S>) -> [S::F; 6] {
    if !blends {
        let none = S::F::zero();
        return [r, g, b, none, none, none];
    }
    let one = S::F::splat(1.0);
    let alpha = alpha.clamp01();
    let mut left = [one; 3];
    for channel in 0..3 {
        left[channel] = alpha.mul_add(clear[channel] - one, one);
    }
    [r * alpha, g * alpha, b * alpha, left[0], left[1], left[2]]
}

/// The normal of a normal map whose x and y are scaled, on a surface with this normal.
#[inline(always)]
fn bumped<S: Isa>(
    group: &Group<'_>,
    surface: &Surface<S>,
    sampled: &Sampled,
    scale: f32,
    lookups: &mut Lookups<'_>,
    normal: V3<S>,
    flip: S::F,
) -> V3<S> {
    let k = S::F::splat;
    let texel = lookups.of::<S>(sampled);
    let scale = k(scale);
    let bx = texel[0].mul_add(k(2.0), k(-1.0)) * scale;
    let by = texel[1].mul_add(k(2.0), k(-1.0)) * scale;
    let bz = texel[2].mul_add(k(2.0), k(-1.0));
    let (tangent, sign) = surface.tangent();
    let tangent = transformed::<S>(&group.placed.world_from_tangent, tangent);
    let tangent = along::<S>(tangent, normal, -dot::<S>(tangent, normal));
    let tangent = normalized::<S>(tangent);
    let sign = if group.mirrored { -sign } else { sign };
    let bitangent = scaled::<S>(cross::<S>(normal, tangent), sign);
    let mut tangent = tangent;
    if group.material.double_sided {
        // The normal is flipped already, and with it the bitangent.
        tangent = scaled::<S>(tangent, flip);
    }
    let bumped = along::<S>(along::<S>(scaled::<S>(normal, bz), tangent, bx), bitangent, by);
    normalized::<S>(bumped)
}

/// A direction as the turned surroundings have it.
#[inline(always)]
fn in_sky<S: Isa>(frame: &Frame<'_>, [x, y, z]: V3<S>) -> V3<S> {
    let [cos, sin] = frame.sky_turn.map(S::F::splat);
    [x.mul_add(cos, -(z * sin)), y, x.mul_add(sin, z * cos)]
}

/// Light that a white diffuse surface sends back.
#[inline(always)]
fn irradiance<S: Isa>(frame: &Frame<'_>, normal: V3<S>) -> V3<S> {
    let k = S::F::splat;
    let [x, y, z] = in_sky::<S>(frame, normal);
    let c = &frame.environment.irradiance;
    let basis = [y, z, x, x * y, y * z, (z * z).mul_add(k(3.0), k(-1.0)), x * z, x.mul_add(x, -(y * y))];
    let mut out = [k(0.0); 3];
    for channel in 0..3 {
        let mut sum = k(c[0][channel]);
        for n in 0..8 {
            sum = k(c[n + 1][channel]).mul_add(basis[n], sum);
        }
        out[channel] = sum.max(k(0.0));
    }
    out
}

/// Where a lobe around the mirrored ray has most of its light: the rougher, the nearer to the normal (Lagarde and
/// de Rousiers, "Moving Frostbite to PBR", SIGGRAPH 2014, section 4.9.3). Not of unit length.
#[inline(always)]
fn toward_lobe<S: Isa>(reflected: V3<S>, normal: V3<S>, roughness: S::F) -> V3<S> {
    let alpha = roughness * roughness;
    let smooth = (S::F::splat(1.0) - alpha).clamp01();
    let share = smooth * (smooth.sqrt() + alpha);
    [
        normal[0].mix(reflected[0], share),
        normal[1].mix(reflected[1], share),
        normal[2].mix(reflected[2], share),
    ]
}

/// Light from direction `d` (of any length), blurred for `roughness`.
#[inline(always)]
fn reflection<S: Isa>(frame: &Frame<'_>, d: V3<S>, roughness: S::F) -> V3<S> {
    let k = S::F::splat;
    let d = in_sky::<S>(frame, d);
    let inverse = k(1.0) / (d[0].abs() + d[1].abs() + d[2].abs()).max(k(1e-20));
    let (x, y, z) = (d[0] * inverse, d[1] * inverse, d[2] * inverse);
    // Below the horizon the corners fold outwards.
    let below = y.bits();
    let (from_x, from_z) = (k(1.0) - z.abs(), k(1.0) - x.abs());
    let folded_x = S::F::select(x.bits(), -from_x, from_x);
    let folded_z = S::F::select(z.bits(), -from_z, from_z);
    let (u, v) = (S::F::select(below, folded_x, x), S::F::select(below, folded_z, z));
    let (u, v) = (u.mul_add(k(0.5), k(0.5)).clamp01(), v.mul_add(k(0.5), k(0.5)).clamp01());
    #[expect(clippy::cast_precision_loss, reason = "few levels")]
    let lod = roughness * k((LEVELS - 1) as f32);
    let environment = frame.environment;
    if !frame.smooth {
        return reflection_level::<S>(environment, lod.round_to_int(), u, v);
    }
    let level = lod.trunc_to_int();
    let blend = lod - level.to_float();
    let fine = reflection_level::<S>(environment, level, u, v);
    let coarse = reflection_level::<S>(environment, level + S::I::splat(1), u, v);
    [fine[0].mix(coarse[0], blend), fine[1].mix(coarse[1], blend), fine[2].mix(coarse[2], blend)]
}

#[inline(always)]
#[expect(clippy::cast_sign_loss, reason = "masked")]
fn reflection_level<S: Isa>(environment: &Environment, level: S::I, u: S::F, v: S::F) -> V3<S> {
    let k = S::F::splat;
    // Mostly all pixels are as rough.
    let first = level.array()[0];
    let (edge, offset) = if level.eq(S::I::splat(first)).signs() == 0xff {
        let at = (first & 63) as usize;
        (k(environment.edges[at]), S::I::splat(environment.offsets[at]))
    } else {
        (S::F::lookup(&environment.edges, level), S::I::lookup(&environment.offsets, level))
    };
    // The border shifts texel centres from .5 to 1.5, so the texel before the place is its floor here.
    let (x, y) = (u.mul_add(edge, k(0.5)), v.mul_add(edge, k(0.5)));
    let (x0, y0) = (x.trunc_to_int(), y.trunc_to_int());
    let (fx, fy) = (x - x0.to_float(), y - y0.to_float());
    let stride = edge.trunc_to_int() + S::I::splat(2);
    let at = offset + y0 * stride + x0;
    let weights = [(k(1.0) - fx) * (k(1.0) - fy), fx * (k(1.0) - fy), (k(1.0) - fx) * fy, fx * fy];
    let (texel0, texel1) = S::I::gather_pairs(&environment.reflections, at);
    let (texel2, texel3) = S::I::gather_pairs(&environment.reflections, at + stride);
    let mut sum = [k(0.0); 3];
    for (n, texel) in [texel0, texel1, texel2, texel3].into_iter().enumerate() {
        // RGB9E5: the exponent goes to where floats have theirs, and takes the weight along.
        let unit = (texel.shr::<27>() + S::I::splat(127 - 24)).shl::<23>().float_bits() * weights[n];
        let part = S::I::splat(511);
        sum[0] = (texel & part).to_float().mul_add(unit, sum[0]);
        sum[1] = (texel.shr::<9>() & part).to_float().mul_add(unit, sum[1]);
        sum[2] = (texel.shr::<18>() & part).to_float().mul_add(unit, sum[2]);
    }
    sum
}
