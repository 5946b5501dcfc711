//! Where pixels' rays meet triangles, and what is there: eight pixels at a time, computed from scratch.
//!
//! Attributes of a mesh are blended in mesh space, by weights that are exact in perspective; what shading needs comes out in
//! world space.

use super::frame::{Frame, Id};
use super::sample::Coordinates;
use super::shade::Texels;
use super::vector::{V3, along, cross, dot, normalized, scaled, splat3, store3, sub, transformed};
use crate::clusters::Vertex;
use crate::simd::{Float, Int, Isa, vectorized};
use crate::texture::ShadedMaterial;

/// How far out of its triangle a point may be, in weights of its corners.
const OUTSIDE_MAX: f32 = 4.0;

/// Eight pixels that show the same instance, on their way from ids to light. What is not written for a material is not read.
#[derive(Debug, Clone, Default)]
#[repr(align(32))]
pub(super) struct Eight {
    /// Lanes that are not wanted repeat one that is.
    pub(super) ids: [Id; 8],
    /// Pixel positions, where (0, 0) is the centre of the top left pixel.
    pub(super) x: [f32; 8],
    pub(super) y: [f32; 8],
    /// A bit for each lane that is wanted.
    pub(super) lanes: u32,
    pub(super) instance: u32,
    material: u32,
    /// There is more to see than the surroundings in a plain material: lamps or coatings.
    pub(super) is_rich: bool,
    /// First and second.
    pub(super) uvs: [Coordinates; 2],
    /// Of the vertices, linear RGBA.
    pub(super) color: [[f32; 8]; 4],
    /// Unit vector in the world; if the material has two sides, towards the eye.
    pub(super) normal: [[f32; 8]; 3],
    /// Of normal maps, unit vectors in the world.
    pub(super) tangent: [[f32; 8]; 3],
    pub(super) bitangent: [[f32; 8]; 3],
    /// Unit vector in the world.
    pub(super) to_eye: [[f32; 8]; 3],
    /// World axes, metres; if there are lamps.
    pub(super) from_eye: [[f32; 8]; 3],
    /// Linear RGBA, by kind.
    pub(super) texels: Texels,
    /// Displayable light, as history keeps it; unless the surface blends.
    pub(super) packed: [u32; 8],
    /// If it blends, linear light, red, green, blue; and what it leaves of the light behind it, likewise.
    pub(super) light: [[f32; 8]; 6],
}

impl Eight {
    /// Takes pixels `lanes` (bits, at least one), which show the same instance. `before`: any other eight of the frame.
    #[inline(always)]
    pub(super) fn set(
        &mut self,
        frame: &Frame<'_>,
        before: Option<&Self>,
        ids: &[Id; 8],
        lanes: u32,
        x: &[f32; 8],
        y: &[f32; 8],
    ) {
        let first = ids[lanes.trailing_zeros() as usize & 7];
        (self.ids, self.lanes, self.x, self.y) = (*ids, lanes, *x, *y);
        match before {
            // Mostly the same: that saves lookups, each of which waits for the one before.
            Some(before) if frame.is_one_instance(before.ids[0], first) => {
                (self.instance, self.material, self.is_rich) =
                    (before.instance, before.material, before.is_rich);
            }
            _ => {
                self.instance = frame.instance_of(first);
                let geometry = frame.scene.instances[self.instance as usize].geometry;
                self.material = frame.scene.geometries[geometry as usize].material;
                self.is_rich = !frame.lights.is_empty() || self.material(frame).coating.is_some();
            }
        }
        if lanes != 0xff {
            for (lane, id) in self.ids.iter_mut().enumerate() {
                if lanes >> lane & 1 == 0 {
                    *id = first;
                }
            }
        }
    }

    pub(super) fn material<'a>(&self, frame: &'a Frame<'_>) -> &'a ShadedMaterial {
        &frame.scene.materials[self.material as usize]
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

vectorized! {
    /// Finds what is seen. With `only_alpha`, colours and texture coordinates alone.
    pub(super) fn meet(frame: &Frame<'_>, only_alpha: bool, eights: &mut [Eight]) = meet_lanes;
}

#[inline(always)]
fn meet_lanes<S: Isa>(frame: &Frame<'_>, only_alpha: bool, eights: &mut [Eight]) {
    for eight in eights {
        meet_one::<S>(frame, only_alpha, eight);
    }
}

#[inline(always)]
fn meet_one<S: Isa>(frame: &Frame<'_>, only_alpha: bool, eight: &mut Eight) {
    let k = S::F::splat;
    let material = eight.material(frame);
    let placed = &frame.placed[eight.instance as usize];
    let (x, y) = (S::F::load(&eight.x), S::F::load(&eight.y));
    let surface = Surface::<S>::of(frame, eight, x, y, material.is_textured);
    if material.is_textured {
        surface.texture_coordinates(frame, material, eight);
    }
    for (out, channel) in eight.color.iter_mut().zip(surface.color()) {
        channel.store(out);
    }
    if only_alpha || material.unlit {
        return;
    }
    let [ray, ray_x, ray_y] = frame.ray;
    let ray = along::<S>(splat3::<S>(ray), splat3::<S>(ray_x), x);
    let ray = along::<S>(ray, splat3::<S>(ray_y), y);
    store3::<S>(normalized::<S>([-ray[0], -ray[1], -ray[2]]), &mut eight.to_eye);

    let flip = S::F::select(surface.back, k(-1.0), k(1.0));
    let mut normal = normalized::<S>(transformed::<S>(&placed.world_from_normal, surface.normal()));
    if material.double_sided {
        normal = scaled::<S>(normal, flip);
    }
    store3::<S>(normal, &mut eight.normal);
    if material.has_bumps {
        let (tangent, sign) = surface.tangent();
        let tangent = transformed::<S>(&placed.world_from_tangent, tangent);
        let tangent = along::<S>(tangent, normal, -dot::<S>(tangent, normal));
        let mut tangent = normalized::<S>(tangent);
        let is_mirrored = frame.scene.instances[eight.instance as usize].mirrored;
        let sign = if is_mirrored { -sign } else { sign };
        let bitangent = scaled::<S>(cross::<S>(normal, tangent), sign);
        if material.double_sided {
            // The normal is flipped already, and with it the bitangent.
            tangent = scaled::<S>(tangent, flip);
        }
        store3::<S>(tangent, &mut eight.tangent);
        store3::<S>(bitangent, &mut eight.bitangent);
    }
    if !frame.lights.is_empty() {
        let from_eye = sub::<S>(surface.position(), splat3::<S>(placed.eye));
        let from_eye = transformed::<S>(&placed.world_from_tangent, from_eye);
        store3::<S>(scaled::<S>(from_eye, k(placed.scale)), &mut eight.from_eye);
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

/// The vertices' fields by corner, field and lane.
#[inline(always)]
fn fields_of<S: Isa>(frame: &Frame<'_>, ids: &[Id; 8]) -> [[S::I; 8]; 3] {
    if *ids == [ids[0]; 8] {
        let [a, b, c] = corners_of(frame, ids[0]);
        return [repeated::<S>(a), repeated::<S>(b), repeated::<S>(c)];
    }
    let clusters = &frame.scene.clusters;
    let (six, ids) = (S::I::splat(63), S::I::load_u32(ids));
    let (triangles_at, vertices_at) =
        S::I::gather_pairs(frame.corners.as_flattened(), ids.shr::<7>().shl::<1>());
    let triangle = triangles_at.shl::<3>() + (ids & S::I::splat(127));
    let packed = S::I::gather(clusters.triangles.as_flattened(), triangle);
    [
        S::I::rows(&clusters.vertices, vertices_at + (packed & six)),
        S::I::rows(&clusters.vertices, vertices_at + (packed.shr::<8>() & six)),
        S::I::rows(&clusters.vertices, vertices_at + (packed.shr::<16>() & six)),
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
    /// How the weights change to the right and down: of corner 1, of corner 2. Zero unless asked for.
    weights_right: [S::F; 2],
    weights_down: [S::F; 2],
}

impl<S: Isa> Surface<S> {
    #[inline(always)]
    fn of(frame: &Frame<'_>, eight: &Eight, x: S::F, y: S::F, with_slopes: bool) -> Self {
        let k = S::F::splat;
        let fields = fields_of::<S>(frame, &eight.ids);
        let a = [fields[0][0].float_bits(), fields[0][1].float_bits(), fields[0][2].float_bits()];
        let b = [fields[1][0].float_bits(), fields[1][1].float_bits(), fields[1][2].float_bits()];
        let c = [fields[2][0].float_bits(), fields[2][1].float_bits(), fields[2][2].float_bits()];
        let placed = &frame.placed[eight.instance as usize];
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
        let mut slopes = [[k(0.0); 2]; 2];
        if with_slopes {
            // The quotient rule, the divisor taken out.
            for (n, step) in [right, down].into_iter().enumerate() {
                let change = dot::<S>(step, normal);
                slopes[n] = [
                    (dot::<S>(step, for1) - w1 * change) * inverse,
                    (dot::<S>(step, for2) - w2 * change) * inverse,
                ];
            }
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

    /// In mesh space.
    #[inline(always)]
    fn position(&self) -> V3<S> {
        let f = &self.fields;
        self.blend3([
            [f[0][0].float_bits(), f[0][1].float_bits(), f[0][2].float_bits()],
            [f[1][0].float_bits(), f[1][1].float_bits(), f[1][2].float_bits()],
            [f[2][0].float_bits(), f[2][1].float_bits(), f[2][2].float_bits()],
        ])
    }

    /// First and second texture coordinates, as far as the material uses them.
    #[inline(always)]
    fn texture_coordinates(&self, frame: &Frame<'_>, material: &ShadedMaterial, eight: &mut Eight) {
        let f = &self.fields;
        let u = [f[0][4].float_bits(), f[1][4].float_bits(), f[2][4].float_bits()];
        let v = [f[0][5].float_bits(), f[1][5].float_bits(), f[2][5].float_bits()];
        self.coordinates(u, v, &mut eight.uvs[0]);
        if material.uses_uv1 {
            let from = eight.uv1(frame);
            let mut uv1 = [[S::F::zero(); 3]; 2];
            for corner in 0..3 {
                uv1[0][corner] = S::F::load(&from[corner][0]);
                uv1[1][corner] = S::F::load(&from[corner][1]);
            }
            self.coordinates(uv1[0], uv1[1], &mut eight.uvs[1]);
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

/// Of a polynomial that is within 0.3 % of `1 / sqrt(x)` for x from 1/3 to 1 (by Remez' algorithm), with the unit of
/// octahedral pairs taken out.
#[expect(clippy::cast_possible_truncation, reason = "rounded to f32")]
const INVERSE_ROOT: [f32; 4] = {
    const UNIT: f64 = 1.0 / 32767.0;
    const SQUARE: f64 = UNIT * UNIT;
    [
        (2.889_865_6 * UNIT) as f32,
        (-4.849_578_6 * UNIT * SQUARE) as f32,
        (4.646_499_1 * UNIT * SQUARE * SQUARE) as f32,
        (-1.689_681_2 * UNIT * SQUARE * SQUARE * SQUARE) as f32,
    ]
};

/// The direction of an octahedral pair, of unit length within 0.3 %: enough for a weight.
#[inline(always)]
fn octahedral<S: Isa>(x: S::I, y: S::I) -> V3<S> {
    let k = S::F::splat;
    let (x, y) = (x.to_float(), y.to_float());
    let z = k(32767.0) - x.abs() - y.abs();
    let fold = (-z).max(k(0.0));
    let x = x - S::F::select(x.bits(), -fold, fold);
    let y = y - S::F::select(y.bits(), -fold, fold);
    let squared = dot::<S>([x, y, z], [x, y, z]);
    let [c0, c1, c2, c3] = INVERSE_ROOT;
    let inverse = squared.mul_add(squared.mul_add(squared.mul_add(k(c3), k(c2)), k(c1)), k(c0));
    [x * inverse, y * inverse, z * inverse]
}
