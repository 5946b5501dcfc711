//! Solids of revolution, extrusions and sweeps, with bevels: what a machine is made of.
//!
//! Everything is built around the y axis. Triangles are collected without sharing anything; [`Solid::finish`] finds out
//! which corners share a normal. Normals are weighted by area, so that a flat face keeps its direction up to its edge and a
//! single row of bevel triangles looks round.

use std::{collections::HashMap, f32::consts::TAU};

use scene::{
    Vertices,
    math::{Affine3A, Vec2, Vec3},
};

use crate::{tangents, write::Geometry};

/// Metres of surface for one repetition of a texture.
const TEXTURE_M: f32 = 0.2;

#[derive(Debug, Clone, Copy)]
struct Corner {
    position: Vec3,
    uv: Vec2,
}

/// Triangles.
#[derive(Debug, Clone, Default)]
pub(super) struct Solid {
    triangles: Vec<[Corner; 3]>,
}

/// A closed curve, counter-clockwise as seen from +y; `(x, y)` is the point `(x, _, -y)`.
pub(super) type Contour = Vec<Vec2>;

impl Solid {
    /// Adds a moved copy.
    pub(super) fn add(&mut self, other: &Self, transform: Affine3A) {
        // Mirroring turns triangles inside out.
        let mirrored = transform.matrix3.determinant() < 0.0;
        self.triangles.extend(other.triangles.iter().map(|triangle| {
            let mut moved =
                triangle.map(|c| Corner { position: transform.transform_point3(c.position), ..c });
            if mirrored {
                moved.swap(1, 2);
            }
            moved
        }));
    }

    /// The same, moved.
    #[must_use]
    pub(super) fn moved(&self, transform: Affine3A) -> Self {
        let mut out = Self::default();
        out.add(self, transform);
        out
    }

    fn quad(&mut self, [a, b, c, d]: [Corner; 4]) {
        for triangle in [[a, b, c], [a, c, d]] {
            let [p, q, r] = triangle.map(|corner| corner.position);
            // Quads that meet an axis have one side of no length.
            if (q - p).cross(r - p).length_squared() > 1e-18 {
                self.triangles.push(triangle);
            }
        }
    }

    /// Turns a profile of `(radius, y)` about the y axis. A profile that goes up faces outward.
    ///
    /// `turns` is how often the texture goes around; it goes along the profile by length.
    pub(super) fn lathe(profile: &[(f32, f32)], n_segments: usize, turns: f32) -> Self {
        let mut v = 0.0;
        let points: Vec<(f32, f32, f32)> = profile
            .iter()
            .enumerate()
            .map(|(i, (r, y))| {
                if i > 0 {
                    let (r0, y0) = profile[i - 1];
                    v += Vec2::new(r - r0, y - y0).length() / TEXTURE_M;
                }
                (*r, *y, v)
            })
            .collect();
        Self::lathe_with_v(&points, n_segments, turns)
    }

    /// As [`Self::lathe`], with the texture's v given as third number.
    pub(super) fn lathe_with_v(profile: &[(f32, f32, f32)], n_segments: usize, turns: f32) -> Self {
        let mut out = Self::default();
        let direction = |i: usize| (TAU * (i % n_segments) as f32 / n_segments as f32).sin_cos();
        for pair in profile.windows(2) {
            for i in 0..n_segments {
                let corner = |(r, y, v): (f32, f32, f32), i: usize| {
                    let (sin, cos) = direction(i);
                    let u = turns * i as f32 / n_segments as f32;
                    Corner { position: Vec3::new(r * sin, y, r * cos), uv: Vec2::new(u, -v) }
                };
                out.quad([
                    corner(pair[0], i),
                    corner(pair[0], i + 1),
                    corner(pair[1], i + 1),
                    corner(pair[1], i),
                ]);
            }
        }
        out
    }

    /// A ball.
    pub(super) fn ball(radius: f32, n_segments: usize) -> Self {
        let n = n_segments / 2;
        let profile: Vec<(f32, f32)> = (0..=n)
            .map(|i| {
                let (sin, cos) = (TAU * 0.5 * i as f32 / n as f32).sin_cos();
                (if i == 0 || i == n { 0.0 } else { radius * sin }, -radius * cos)
            })
            .collect();
        Self::lathe(&profile, n_segments, 1.0)
    }

    /// A ring with a round section.
    pub(super) fn torus(radius: f32, section: f32, n_segments: usize, n_around: usize) -> Self {
        let profile: Vec<(f32, f32)> = (0..=n_around)
            .map(|i| {
                let (sin, cos) = (TAU * (i % n_around) as f32 / n_around as f32).sin_cos();
                (radius + section * cos, section * sin)
            })
            .collect();
        Self::lathe(&profile, n_segments, 8.0)
    }

    /// Extrudes a contour that can be seen whole from the origin, from `y0` to `y1`, its edges bevelled. `hole` has as many
    /// points as the contour, each seen in the direction of its partner.
    pub(super) fn extrude(contour: &[Vec2], hole: Option<&[Vec2]>, y0: f32, y1: f32, bevel: f32) -> Self {
        let inset = offset(contour, -bevel);
        let mut loops: Vec<(Contour, f32)> = Vec::with_capacity(9);
        let centre = vec![Vec2::ZERO; contour.len()];
        match hole {
            Some(hole) => {
                loops.push((hole.to_vec(), y0 + bevel));
                loops.push((offset(hole, bevel), y0));
            }
            None => loops.push((centre.clone(), y0)),
        }
        loops.push((inset.clone(), y0));
        loops.push((contour.to_vec(), y0 + bevel));
        loops.push((contour.to_vec(), y1 - bevel));
        loops.push((inset, y1));
        match hole {
            Some(hole) => {
                loops.push((offset(hole, bevel), y1));
                loops.push((hole.to_vec(), y1 - bevel));
                loops.push((hole.to_vec(), y0 + bevel));
            }
            None => loops.push((centre, y1)),
        }
        Self::loft(contour, &loops)
    }

    /// Joins loops of as many points each, one above the other; `contour` gives the texture's u.
    fn loft(contour: &[Vec2], loops: &[(Contour, f32)]) -> Self {
        let n = contour.len();
        let mut out = Self::default();
        let mut v = 0.0;
        for pair in loops.windows(2) {
            let ((low, low_y), (high, high_y)) = (&pair[0], &pair[1]);
            let flat = low_y == high_y;
            let step = (high_y - low_y).abs() / TEXTURE_M;
            let mut u = 0.0;
            for i in 0..n {
                let j = (i + 1) % n;
                let next_u = u + (contour[j] - contour[i]).length() / TEXTURE_M;
                let corner = |p: Vec2, y: f32, u: f32, v: f32| Corner {
                    position: Vec3::new(p.x, y, -p.y),
                    uv: if flat { Vec2::new(p.x, -p.y) / TEXTURE_M } else { Vec2::new(u, -v) },
                };
                out.quad([
                    corner(low[i], *low_y, u, v),
                    corner(low[j], *low_y, next_u, v),
                    corner(high[j], *high_y, next_u, v + step),
                    corner(high[i], *high_y, u, v + step),
                ]);
                u = next_u;
            }
            v += step;
        }
        out
    }

    /// A rectangle at height `y` that faces up and shows a texture once, upright as seen from +z.
    pub(super) fn screen(width: f32, depth: f32, y: f32) -> Self {
        let corner = |u: f32, v: f32| Corner {
            position: Vec3::new((u - 0.5) * width, y, (v - 0.5) * depth),
            uv: Vec2::new(u, v),
        };
        let mut out = Self::default();
        out.quad([corner(0.0, 1.0), corner(1.0, 1.0), corner(1.0, 0.0), corner(0.0, 0.0)]);
        out
    }

    /// The outside of an extrusion whose middle, within `middle`, nobody sees.
    pub(super) fn shell(contour: &[Vec2], middle: f32, y0: f32, y1: f32, bevel: f32) -> Self {
        let (inset, inner) = (offset(contour, -bevel), around(contour, middle));
        let outer = contour.to_vec();
        Self::loft(
            contour,
            &[
                (inner.clone(), y0),
                (inset.clone(), y0),
                (outer.clone(), y0 + bevel),
                (outer, y1 - bevel),
                (inset, y1),
                (inner, y1),
            ],
        )
    }

    /// The inside of a ring whose outside, at `rim`, nobody sees.
    pub(super) fn bore(hole: &[Vec2], rim: f32, y0: f32, y1: f32, bevel: f32) -> Self {
        let (widened, outer) = (offset(hole, bevel), around(hole, rim));
        let hole_loop = hole.to_vec();
        Self::loft(
            hole,
            &[
                (outer.clone(), y1),
                (widened.clone(), y1),
                (hole_loop.clone(), y1 - bevel),
                (hole_loop, y0 + bevel),
                (widened, y0),
                (outer, y0),
            ],
        )
    }

    /// A tube along a path, closed at its ends. The texture goes `turns` times around.
    pub(super) fn sweep(path: &[Vec3], radius: impl Fn(f32) -> f32, n_around: usize, turns: f32) -> Self {
        let mut out = Self::default();
        let n = path.len();
        if n < 2 {
            return out;
        }
        let tangent = |i: usize| (path[(i + 1).min(n - 1)] - path[i.saturating_sub(1)]).normalize_or_zero();
        // Frames that do not twist: each is the last one, turned as little as the tangent asks for.
        let mut side = tangent(0).any_orthonormal_vector();
        let mut rings: Vec<Vec<Corner>> = Vec::with_capacity(n + 2);
        // As long along the tube as around it.
        let pitch = turns / (TAU * radius(0.0));
        let mut length = 0.0;
        for (i, point) in path.iter().enumerate() {
            let t = tangent(i);
            side = (side - t * t.dot(side)).normalize_or_zero();
            let other = t.cross(side);
            if i > 0 {
                length += (*point - path[i - 1]).length();
            }
            let share = i as f32 / (n - 1) as f32;
            let ring = |radius: f32| -> Vec<Corner> {
                (0..=n_around)
                    .map(|k| {
                        let (sin, cos) = (TAU * (k % n_around) as f32 / n_around as f32).sin_cos();
                        Corner {
                            position: *point + (side * cos + other * sin) * radius,
                            uv: Vec2::new(turns * k as f32 / n_around as f32, -length * pitch),
                        }
                    })
                    .collect()
            };
            if i == 0 {
                rings.push(ring(0.0));
            }
            rings.push(ring(radius(share)));
            if i == n - 1 {
                rings.push(ring(0.0));
            }
        }
        for pair in rings.windows(2) {
            for k in 0..n_around {
                out.quad([pair[0][k], pair[0][k + 1], pair[1][k + 1], pair[1][k]]);
            }
        }
        out
    }

    /// Normals by angle (edges sharper than `crease_deg` stay sharp), shared vertices, tangents.
    pub(super) fn finish(&self, crease_deg: f32) -> Geometry {
        let n = self.triangles.len();
        let mut ids: HashMap<[i32; 3], u32> = HashMap::with_capacity(n);
        let mut places: Vec<[u32; 3]> = Vec::with_capacity(n);
        let mut faces: Vec<Vec3> = Vec::with_capacity(n);
        for triangle in &self.triangles {
            let [a, b, c] = triangle.map(|corner| corner.position);
            faces.push((b - a).cross(c - a));
            places.push(triangle.map(|corner| {
                let next = ids.len();
                *ids.entry(quantized(corner.position, 1e5)).or_insert(index(next))
            }));
        }
        // Which triangles meet at each place, one list after the other.
        let mut starts = vec![0_usize; ids.len() + 1];
        for place in places.iter().flatten() {
            starts[*place as usize + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let mut next = starts.clone();
        let mut around = vec![0_u32; n * 3];
        for (t, triangle) in places.iter().enumerate() {
            for place in triangle {
                around[next[*place as usize]] = index(t);
                next[*place as usize] += 1;
            }
        }

        let units: Vec<Vec3> = faces.iter().map(|f| f.normalize_or_zero()).collect();
        let crease = crease_deg.to_radians().cos();
        let mut vertices = Vertices::default();
        let mut indices = Vec::with_capacity(n * 3);
        let mut known: HashMap<(u32, [i32; 3], [i32; 2]), u32> = HashMap::with_capacity(n);
        for (t, triangle) in self.triangles.iter().enumerate() {
            for (corner, place) in triangle.iter().zip(places[t]) {
                let place_index = place as usize;
                let sum: Vec3 = around[starts[place_index]..starts[place_index + 1]]
                    .iter()
                    .filter(|f| units[**f as usize].dot(units[t]) >= crease)
                    .map(|f| faces[*f as usize])
                    .sum();
                let normal = sum.try_normalize().unwrap_or(units[t]);
                let uv = quantized(corner.uv.extend(0.0), 1e4);
                let key = (place, quantized(normal, 500.0), [uv[0], uv[1]]);
                indices.push(*known.entry(key).or_insert_with(|| {
                    vertices.positions.push(corner.position);
                    vertices.normals.push(normal);
                    vertices.uv0.push(corner.uv);
                    index(vertices.positions.len() - 1)
                }));
            }
        }
        tangents::generate(&mut vertices, &mut indices, 0);
        Geometry {
            positions: vertices.positions,
            normals: vertices.normals,
            tangents: vertices.tangents,
            uv: vertices.uv0,
            colors: Vec::new(),
            indices,
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "samples are metres in size")]
fn quantized(v: Vec3, scale: f32) -> [i32; 3] {
    (v * scale).to_array().map(|x| x.round() as i32)
}

#[expect(clippy::cast_possible_truncation, reason = "samples have fewer than 2^32 of anything")]
fn index(i: usize) -> u32 {
    i as u32
}

/// Cuts the corners of a profile: each that turns by more than 15° becomes a bevel of `size`.
pub(super) fn bevelled(profile: &[(f32, f32)], size: f32) -> Vec<(f32, f32)> {
    let points: Vec<Vec2> = profile.iter().map(|(r, y)| Vec2::new(*r, *y)).collect();
    let mut out = Vec::with_capacity(points.len() * 2);
    for (i, p) in points.iter().enumerate() {
        let (Some(before), Some(after)) = (i.checked_sub(1).map(|b| points[b]), points.get(i + 1)) else {
            out.push((p.x, p.y));
            continue;
        };
        let (to_before, to_after) = (before - *p, *after - *p);
        let straight = to_before.normalize_or_zero().dot(to_after.normalize_or_zero()) < -0.966;
        // On the axis there is nothing to cut.
        if straight || p.x <= 1e-6 {
            out.push((p.x, p.y));
            continue;
        }
        let cut = |d: Vec2| d.normalize_or_zero() * size.min(d.length() * 0.4);
        for q in [*p + cut(to_before), *p + cut(to_after)] {
            out.push((q.x, q.y));
        }
    }
    out
}

/// Moves a contour outward by `distance`.
fn offset(contour: &[Vec2], distance: f32) -> Contour {
    let n = contour.len();
    (0..n)
        .map(|i| {
            let (before, p, after) = (contour[(i + n - 1) % n], contour[i], contour[(i + 1) % n]);
            let outward = |edge: Vec2| -edge.perp().normalize_or_zero();
            let (a, b) = (outward(p - before), outward(after - p));
            let sum = (a + b).normalize_or_zero();
            // The miter of sharp corners is kept short.
            p + sum * (distance / sum.dot(a).max(0.5))
        })
        .collect()
}

/// A circle.
pub(super) fn circle(radius: f32, n: usize) -> Contour {
    (0..n).map(|i| Vec2::from_angle(TAU * i as f32 / n as f32) * radius).collect()
}

/// For each point of `contour`, the one at `radius` in its direction.
pub(super) fn around(contour: &[Vec2], radius: f32) -> Contour {
    contour.iter().map(|p| p.normalize_or_zero() * radius).collect()
}

/// A rectangle of `width` (x) and `depth` with round corners of `n` segments each.
pub(super) fn rounded(width: f32, depth: f32, radius: f32, n: usize) -> Contour {
    let centre = Vec2::new(width * 0.5 - radius, depth * 0.5 - radius);
    let mut out = Vec::with_capacity(4 * (n + 1));
    for (quarter, sign) in
        [(0.0, Vec2::ONE), (1.0, Vec2::new(-1.0, 1.0)), (2.0, -Vec2::ONE), (3.0, Vec2::new(1.0, -1.0))]
    {
        for i in 0..=n {
            let angle = TAU * 0.25 * (quarter + i as f32 / n as f32);
            out.push(centre * sign + Vec2::from_angle(angle) * radius);
        }
    }
    out
}

/// An involute spur gear, a tooth centred on +x. Pressure angle 20°, addendum 1, dedendum 1.2 modules.
pub(super) fn gear(n_teeth: usize, module: f32, backlash: f32) -> Contour {
    let n = n_teeth as f32;
    let pitch = n * module * 0.5;
    let pressure = 20_f32.to_radians();
    let base = pitch * pressure.cos();
    let (tip, root) = (pitch + module, pitch - 1.2 * module);
    let involute = |r: f32| {
        let angle = (base / r.max(base)).acos();
        angle.tan() - angle
    };
    // Half of the tooth's thickness as an angle, at radius r.
    let half = |r: f32| TAU / n / 4.0 - backlash / pitch + involute(pitch) - involute(r);
    let start = base.max(root);
    let mut flank: Vec<(f32, f32)> = vec![(root, half(start) + 0.35 * module / pitch)];
    let n_steps = 3;
    for i in 0..=n_steps {
        let r = start + (tip - start) * i as f32 / n_steps as f32;
        flank.push((r, half(r)));
    }
    let mut out = Vec::with_capacity(n_teeth * flank.len() * 2);
    for tooth in 0..n_teeth {
        let middle = TAU * tooth as f32 / n;
        out.extend(flank.iter().map(|(r, a)| Vec2::from_angle(middle - a) * *r));
        out.extend(flank.iter().rev().map(|(r, a)| Vec2::from_angle(middle + a) * *r));
    }
    out
}

/// A smooth path through points (Catmull-Rom), `n` steps between two.
pub(super) fn through(points: &[Vec3], n: usize) -> Vec<Vec3> {
    let at = |i: usize| points[i.min(points.len() - 1)];
    let mut out = Vec::with_capacity(points.len() * n);
    for i in 0..points.len().saturating_sub(1) {
        let (a, b, c, d) = (at(i.saturating_sub(1)), at(i), at(i + 1), at(i + 2));
        for k in 0..n {
            let t = k as f32 / n as f32;
            out.push(
                0.5 * (2.0 * b
                    + (c - a) * t
                    + (2.0 * a - 5.0 * b + 4.0 * c - d) * t * t
                    + (3.0 * b - a - 3.0 * c + d) * t * t * t),
            );
        }
    }
    out.extend(points.last());
    out
}

/// A hexagon bolt's head with its washer, on y = 0; `size` is the washer's radius. Large ones show the end of their stud.
/// What lies underneath is left out: there are hundreds of them.
pub(super) fn bolt(size: f32) -> Solid {
    let scaled = |profile: &[(f32, f32)], n| {
        let profile: Vec<(f32, f32)> = profile.iter().map(|(r, y)| (r * size, y * size)).collect();
        Solid::lathe(&profile, n, 1.0)
    };
    let mut out = scaled(&[(1.0, 0.0), (1.0, 0.13), (0.94, 0.18), (0.72, 0.18)], 9);
    out.add(&scaled(&[(0.86, 0.18), (0.86, 0.70), (0.77, 0.80), (0.0, 0.80)], 6), Affine3A::IDENTITY);
    if size > 0.006 {
        out.add(&scaled(&[(0.42, 0.8), (0.42, 0.98), (0.32, 1.08), (0.0, 1.08)], 8), Affine3A::IDENTITY);
    }
    out
}
