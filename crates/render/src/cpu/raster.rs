//! Triangles become pixels of a band: depth and id, or fragments to look at later.
//!
//! Positions are fixed point with 8 bits below the pixel, edge functions are exact integers, and an edge's pixel belongs
//! to the triangle for which the edge is a top or left one, so triangles that share an edge share no pixel and leave none
//! out (Pineda, "A Parallel Algorithm for Polygon Rasterization", SIGGRAPH 1988; the rule is that of graphics APIs).
//!
//! Four ways by size, all with the same coverage:
//! - no pixel centre in the bounding box, or facing away: dropped, eight triangles at a time;
//! - up to 4 x 4 pixels: eight triangles at a time, pixel by pixel;
//! - up to 64 pixels: one triangle at a time, eight pixels of a row at a time;
//! - larger: exact spans by 64-bit integers, filled eight pixels at a time.
//!
//! What is drawn does not depend on the order of triangles: of two at the same depth, the lower id is seen.
//!
//! Depth is near / w: linear in screen space, larger is nearer, the same relative precision at any distance.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "pixel positions are clamped to the band and fixed-point positions to the guard band"
)]

use scene::math::{DVec3, Vec4};

use super::frame::{Frame, GUARD_PX, Id, NOTHING, Visible};
use super::tiles::{Rect, Tiles};
use crate::clusters::CLUSTER_VERTICES;
use crate::simd::{Float, Int, Isa, vectorized};

/// Fixed-point positions per pixel.
const SUB: i32 = 256;
/// Largest extent of a triangle whose edge functions fit 32 bits, in fixed point: products of two differences of 64
/// pixels are below 2^28, and an edge function is a sum of two, stepped over one more box.
const SMALL: i32 = 64 * SUB - 1;
/// Largest bounding box for the pixel-by-pixel way.
const TINY_PX: i32 = 4;

/// A pixel of a band that a triangle covers and that is not behind what was drawn before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment {
    /// Index of the pixel in the band's buffers.
    pub(super) at: u32,
    pub(super) depth: f32,
    pub(super) id: Id,
}

/// Depth and ids of a band.
#[derive(Debug, Default)]
pub(super) struct Target {
    /// near / w of what is nearest; 0 where there is nothing, infinity where there is no picture.
    pub(super) depth: Vec<f32>,
    pub(super) ids: Vec<Id>,
    /// In motion, the pixels that need no history (see [`super::history::find_inner`]); bit n is the first pixel plus n.
    pub(super) inner: Vec<u8>,
    /// Those of them that are not shaded but become the mean of two neighbours (see [`super::history::fill`]).
    pub(super) holes: Vec<u8>,
    /// Pixels from one row to the next: a few more than the width, so that eights may overhang.
    pub(super) stride: usize,
    pub(super) width: i32,
    /// First row and number of rows.
    pub(super) y0: i32,
    pub(super) rows: i32,
    tiles: Tiles,
}

impl Target {
    /// An empty band.
    pub(super) fn clear(&mut self, width: u32, y0: u32, rows: u32) {
        self.stride = (width as usize).next_multiple_of(8) + 8;
        (self.width, self.y0, self.rows) = (width as i32, y0 as i32, rows as i32);
        let n = self.stride * rows as usize;
        self.depth.clear();
        self.depth.resize(n, 0.0);
        self.ids.clear();
        self.ids.resize(n, NOTHING);
        self.inner.clear();
        self.inner.resize(n / 8, 0);
        self.holes.clear();
        self.holes.resize(n / 8, 0);
        for row in self.depth.chunks_exact_mut(self.stride) {
            row[width as usize..].fill(f32::INFINITY);
        }
        self.tiles.clear(width as usize, rows as usize);
    }

    /// Makes room for bands of a size.
    pub(super) fn reserve(&mut self, width: u32, rows: u32) {
        self.clear(width, 0, rows);
    }

    /// Whether nothing in `rect` can be seen that is not nearer than `depth`.
    pub(super) fn hides(&mut self, rect: Rect, depth: f32) -> bool {
        let rect = self.within(rect);
        // Depths are interpolated: a little nearer than the nearest corner is possible.
        self.tiles.hide(rect, depth * 1.00001, &self.depth, self.stride)
    }

    /// Something was drawn in `rect`.
    pub(super) fn touch(&mut self, rect: Rect) {
        let rect = self.within(rect);
        self.tiles.touch(rect);
    }

    /// Rows from the band's first.
    fn within(&self, rect: Rect) -> Rect {
        Rect { top: rect.top - self.y0, bottom: rect.bottom - self.y0, ..rect }
    }

    #[inline(always)]
    fn row(&self, y: i32) -> usize {
        (y - self.y0) as usize * self.stride
    }
}

/// A cluster's vertices on the screen.
pub(super) struct Transformed {
    x: [i32; CLUSTER_VERTICES],
    y: [i32; CLUSTER_VERTICES],
    depth: [f32; CLUSTER_VERTICES],
    /// Homogeneous positions, for clipping.
    homogeneous: [[f32; 3]; CLUSTER_VERTICES],
    /// The vertex lies in front and within fixed point.
    usable: [bool; CLUSTER_VERTICES],
    /// x and y from `origin` on, 16 bits each: one lookup for both. Only if all fit.
    packed: [i32; CLUSTER_VERTICES],
    origin: [i32; 2],
    is_packed: bool,
    /// Pixels whose centres lie between the vertices, and the nearest vertex' depth. Not if the cluster is clipped.
    pub(super) rect: Rect,
    pub(super) depth_max: f32,
}

impl Default for Transformed {
    fn default() -> Self {
        let n = [0; CLUSTER_VERTICES];
        Self {
            x: n,
            y: n,
            depth: n.map(|_| 0.0),
            homogeneous: n.map(|_| [0.0; 3]),
            usable: n.map(|_| false),
            packed: n,
            origin: [0; 2],
            is_packed: false,
            rect: Rect { left: 0, right: -1, top: 0, bottom: -1 },
            depth_max: 0.0,
        }
    }
}

vectorized! {
    /// Transforms the vertices of `visible`.
    pub(super) fn transform(frame: &Frame<'_>, visible: &Visible, out: &mut Transformed) = transform_lanes;
}

#[inline(always)]
fn transform_lanes<S: Isa>(frame: &Frame<'_>, visible: &Visible, out: &mut Transformed) {
    let cluster = &frame.scene.clusters.clusters[visible.cluster as usize];
    let placed = &frame.placed[visible.instance as usize];
    let n = cluster.vertex_blocks();
    let at = cluster.positions_at as usize;
    let positions = &frame.scene.clusters.positions[at..at + 3 * n];
    let k = S::F::splat;
    let near = k(frame.near);
    let sub = k(SUB as f32);
    let (outs_x, _) = out.x.as_chunks_mut::<8>();
    let (outs_y, _) = out.y.as_chunks_mut::<8>();
    let (outs_depth, _) = out.depth.as_chunks_mut::<8>();
    let (mut x_min, mut x_max) = (S::I::splat(i32::MAX), S::I::splat(i32::MIN));
    let (mut y_min, mut y_max) = (x_min, x_max);
    let mut depth_max = k(0.0);
    for block in 0..n {
        let px = S::F::load(&positions[block]);
        let py = S::F::load(&positions[n + block]);
        let pz = S::F::load(&positions[2 * n + block]);
        let x = row::<S>(placed.x, px, py, pz);
        let y = row::<S>(placed.y, px, py, pz);
        let w = row::<S>(placed.w, px, py, pz);
        if visible.clipped {
            let guard = k(GUARD_PX) * w;
            let usable = (w.ge(near) & guard.ge(x.abs()) & guard.ge(y.abs())).signs();
            let (x, y, w) = (x.array(), y.array(), w.array());
            for lane in 0..8 {
                out.homogeneous[block * 8 + lane] = [x[lane], y[lane], w[lane]];
                out.usable[block * 8 + lane] = usable >> lane & 1 == 1;
            }
        }
        // What is not usable becomes nonsense that the clipper does not read.
        let inverse = k(1.0) / w;
        let (x, y) = ((x * inverse * sub).round_to_int(), (y * inverse * sub).round_to_int());
        let depth = near * inverse;
        x.store(&mut outs_x[block]);
        y.store(&mut outs_y[block]);
        depth.store(&mut outs_depth[block]);
        (x_min, x_max) = (x_min.min(x), x_max.max(x));
        (y_min, y_max) = (y_min.min(y), y_max.max(y));
        depth_max = depth_max.max(depth);
    }
    out.rect = Rect {
        left: (least(x_min.array()) + (SUB - 1)) >> 8,
        right: most(x_max.array()) >> 8,
        top: (least(y_min.array()) + (SUB - 1)) >> 8,
        bottom: most(y_max.array()) >> 8,
    };
    out.depth_max = depth_max.array().into_iter().fold(0.0, f32::max);
    out.is_packed = false;
    if !visible.clipped {
        // Whole pixels, so that what is below the pixel stays as it is.
        let [x0, y0] = [outs_x[0][0] & !(SUB - 1), outs_y[0][0] & !(SUB - 1)];
        let (mut wide, low) = (S::I::splat(0), S::I::splat(0xffff));
        let (outs_packed, _) = out.packed.as_chunks_mut::<8>();
        for block in 0..n {
            let x = S::I::load(&outs_x[block]) - S::I::splat(x0);
            let y = S::I::load(&outs_y[block]) - S::I::splat(y0);
            // Bits that are not copies of the sign.
            wide = wide | (x ^ x.shl::<16>().sar::<16>()) | (y ^ y.shl::<16>().sar::<16>());
            (x & low | y.shl::<16>()).store(&mut outs_packed[block]);
        }
        out.is_packed = wide.eq(S::I::splat(0)).signs() == 0xff;
        out.origin = [x0, y0];
    }
}

#[inline(always)]
fn least(v: [i32; 8]) -> i32 {
    v.into_iter().fold(i32::MAX, i32::min)
}

#[inline(always)]
fn most(v: [i32; 8]) -> i32 {
    v.into_iter().fold(i32::MIN, i32::max)
}

#[inline(always)]
fn row<S: Isa>(v: Vec4, x: S::F, y: S::F, z: S::F) -> S::F {
    let k = S::F::splat;
    k(v.x).mul_add(x, k(v.y).mul_add(y, k(v.z).mul_add(z, k(v.w))))
}

/// How a cluster's triangles are drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// Id of the cluster's first triangle.
    pub(super) first_id: Id,
    /// Seen counter-clockwise triangles are drawn; with this set, clockwise ones.
    pub(super) mirrored: bool,
    pub(super) double_sided: bool,
}

vectorized! {
    /// Draws blocks of eight triangles into depth and ids.
    pub(super) fn draw_opaque(
        triangles: &[[u32; 8]],
        vertices: &Transformed,
        style: Style,
        target: &mut Target,
        scratch: &mut Kept,
    ) = draw_opaque_lanes;
}

vectorized! {
    /// Appends the pixels of blocks of eight triangles to `fragments`.
    pub(super) fn collect(
        triangles: &[[u32; 8]],
        vertices: &Transformed,
        style: Style,
        target: &mut Target,
        scratch: &mut Kept,
        fragments: &mut Vec<Fragment>,
    ) = collect_lanes;
}

#[inline(always)]
fn draw_opaque_lanes<S: Isa>(
    triangles: &[[u32; 8]],
    vertices: &Transformed,
    style: Style,
    target: &mut Target,
    scratch: &mut Kept,
) {
    draw::<S, _>(triangles, vertices, style, target, scratch, &mut Opaque);
}

#[inline(always)]
fn collect_lanes<S: Isa>(
    triangles: &[[u32; 8]],
    vertices: &Transformed,
    style: Style,
    target: &mut Target,
    scratch: &mut Kept,
    fragments: &mut Vec<Fragment>,
) {
    draw::<S, _>(triangles, vertices, style, target, scratch, &mut Collect(fragments));
}

/// What happens with covered pixels.
trait Sink {
    /// Eight pixels from `at` on, of which `mask` are covered.
    fn put<S: Isa>(&mut self, target: &mut Target, at: usize, mask: S::I, depth: S::F, id: Id);
    /// One pixel.
    fn put_one(&mut self, target: &mut Target, at: usize, depth: f32, id: Id);
}

struct Opaque;

impl Sink for Opaque {
    #[inline(always)]
    fn put<S: Isa>(&mut self, target: &mut Target, at: usize, mask: S::I, depth: S::F, id: Id) {
        let (Some(depths), Some(ids)) =
            (target.depth[at..].first_chunk_mut::<8>(), target.ids[at..].first_chunk_mut::<8>())
        else {
            return;
        };
        let before = S::F::load(depths);
        let not_behind = depth.ge(before) & mask;
        if not_behind.signs() == 0 {
            return;
        }
        let (id, before_ids) = (S::I::splat(id as i32), S::I::load_u32(ids));
        let pass = not_behind & (before.lt(depth) | before_ids.gt(id));
        S::F::select(pass, depth, before).store(depths);
        S::I::select(pass, id, before_ids).store_u32(ids);
    }
    #[inline(always)]
    fn put_one(&mut self, target: &mut Target, at: usize, depth: f32, id: Id) {
        if let (Some(d), Some(i)) = (target.depth.get_mut(at), target.ids.get_mut(at))
            && *d <= depth
            && is_seen((depth, id), (*d, *i))
        {
            (*d, *i) = (depth, id);
        }
    }
}

/// Whether what has this depth and id is seen before another. Ids compare as the vectors' signed numbers do.
#[inline(always)]
pub(super) fn is_seen((depth, id): (f32, Id), (other, other_id): (f32, Id)) -> bool {
    depth > other || (depth == other && (id as i32) < other_id as i32)
}

struct Collect<'a>(&'a mut Vec<Fragment>);

impl Sink for Collect<'_> {
    #[inline(always)]
    fn put<S: Isa>(&mut self, target: &mut Target, at: usize, mask: S::I, depth: S::F, id: Id) {
        let mut bits = mask.signs();
        let depth = depth.array();
        while bits != 0 {
            let lane = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            // An eight may overhang the picture.
            if (at + lane) % target.stride < target.width as usize {
                self.put_one(target, at + lane, depth[lane], id);
            }
        }
    }
    #[inline(always)]
    fn put_one(&mut self, target: &mut Target, at: usize, depth: f32, id: Id) {
        if target.depth.get(at).is_some_and(|before| *before <= depth) {
            self.0.push(Fragment { at: at as u32, depth, id });
        }
    }
}

/// Triangles of a cluster that may cover pixels: packed vertex numbers, the triangle's number in the top byte.
pub(super) struct Kept {
    tiny: [u32; 136],
    small: [u32; 136],
    large: [u32; 136],
}

impl Default for Kept {
    fn default() -> Self {
        Self { tiny: [0; 136], small: [0; 136], large: [0; 136] }
    }
}

/// A triangle's corners for eight triangles.
struct Corners<S: Isa> {
    i: [S::I; 3],
    x: [S::I; 3],
    y: [S::I; 3],
}

impl<S: Isa> Corners<S> {
    /// Corners in the order in which the area of what is drawn is positive on the screen, where y points down.
    #[inline(always)]
    fn load(packed: S::I, vertices: &Transformed, style: Style) -> Self {
        let a = packed;
        let (b, c) = (packed.shr::<8>(), packed.shr::<16>());
        let (b, c) = if style.mirrored { (b, c) } else { (c, b) };
        let mut corners = if vertices.is_packed {
            let xy = [
                S::I::lookup(&vertices.packed, a),
                S::I::lookup(&vertices.packed, b),
                S::I::lookup(&vertices.packed, c),
            ];
            let (x0, y0) = (S::I::splat(vertices.origin[0]), S::I::splat(vertices.origin[1]));
            Self {
                i: [a, b, c],
                x: [
                    xy[0].shl::<16>().sar::<16>() + x0,
                    xy[1].shl::<16>().sar::<16>() + x0,
                    xy[2].shl::<16>().sar::<16>() + x0,
                ],
                y: [xy[0].sar::<16>() + y0, xy[1].sar::<16>() + y0, xy[2].sar::<16>() + y0],
            }
        } else {
            Self {
                i: [a, b, c],
                x: [S::I::lookup(&vertices.x, a), S::I::lookup(&vertices.x, b), S::I::lookup(&vertices.x, c)],
                y: [S::I::lookup(&vertices.y, a), S::I::lookup(&vertices.y, b), S::I::lookup(&vertices.y, c)],
            }
        };
        if style.double_sided {
            let back = S::I::splat(0).gt(corners.area());
            let Self { i, x, y } = &mut corners;
            for v in [i, x, y] {
                (v[1], v[2]) = (S::I::select(back, v[2], v[1]), S::I::select(back, v[1], v[2]));
            }
        }
        corners
    }

    /// Twice the area; right if the triangle is small.
    #[inline(always)]
    fn area(&self) -> S::I {
        let (x, y) = (&self.x, &self.y);
        (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    }
}

#[inline(always)]
fn draw<S: Isa, K: Sink>(
    triangles: &[[u32; 8]],
    vertices: &Transformed,
    style: Style,
    target: &mut Target,
    kept: &mut Kept,
    sink: &mut K,
) {
    let k = S::I::splat;
    let (mut n_tiny, mut n_small, mut n_large) = (0, 0, 0);
    let (x_max, y_min, y_max) = (k(target.width - 1), k(target.y0), k(target.y0 + target.rows - 1));
    for (block, packed) in triangles.iter().enumerate() {
        let corners = Corners::<S>::load(S::I::load_u32(packed), vertices, style);
        let (x, y) = (&corners.x, &corners.y);
        let (left, right) = (x[0].min(x[1]).min(x[2]), x[0].max(x[1]).max(x[2]));
        let (top, bottom) = (y[0].min(y[1]).min(y[2]), y[0].max(y[1]).max(y[2]));
        // Pixels whose centres lie in the box, of this band.
        let (x0, x1) = ((left + k(SUB - 1)).sar::<8>().max(k(0)), right.sar::<8>().min(x_max));
        let (y0, y1) = ((top + k(SUB - 1)).sar::<8>().max(y_min), bottom.sar::<8>().min(y_max));
        let (dx, dy) = (x1 - x0, y1 - y0);
        let missed = (dx | dy).signs();
        let is_large = ((right - left).gt(k(SMALL)) | (bottom - top).gt(k(SMALL))).signs();
        let facing = corners.area().gt(k(0)).signs();
        let is_tiny = (k(TINY_PX).gt(dx) & k(TINY_PX).gt(dy)).signs();
        let seen = !missed & 0xff;
        let mut small_ones = seen & !is_large & facing;
        while small_ones != 0 {
            let lane = small_ones.trailing_zeros();
            small_ones &= small_ones - 1;
            let number = (block as u32 * 8 + lane) << 24;
            let triangle = packed[lane as usize & 7] | number;
            // Both are written, one is kept: no branch to mispredict.
            kept.tiny[n_tiny] = triangle;
            kept.small[n_small] = triangle;
            let tiny = (is_tiny >> lane & 1) as usize;
            n_tiny += tiny;
            n_small += 1 - tiny;
        }
        let mut large_ones = seen & is_large;
        while large_ones != 0 {
            let lane = large_ones.trailing_zeros();
            large_ones &= large_ones - 1;
            kept.large[n_large] = packed[lane as usize & 7] | (block as u32 * 8 + lane) << 24;
            n_large += 1;
        }
    }
    // Repeats of a triangle without area fill up the last eight.
    for n in n_tiny..n_tiny.next_multiple_of(8) {
        kept.tiny[n] = 0;
    }
    for packed in kept.tiny[..n_tiny.next_multiple_of(8)].as_chunks::<8>().0 {
        draw_tiny::<S, K>(packed, vertices, style, target, sink);
    }
    for n in n_small..n_small.next_multiple_of(8) {
        kept.small[n] = 0;
    }
    for packed in kept.small[..n_small.next_multiple_of(8)].as_chunks::<8>().0 {
        draw_small::<S, K>(packed, vertices, style, target, sink);
    }
    for &packed in &kept.large[..n_large] {
        let corner = |shift: u32| {
            let at = (packed >> shift & 63) as usize;
            Corner { x: vertices.x[at], y: vertices.y[at], depth: vertices.depth[at] }
        };
        let corners = [corner(0), corner(8), corner(16)];
        draw_large::<S, K>(corners, style.first_id + (packed >> 24), style, target, sink);
    }
}

/// Edge functions of eight triangles, relative to one pixel centre each: at least 0 inside.
struct Edges<S: Isa> {
    /// At the pixel's centre, less 1 for edges that do not own their pixels.
    at: [S::I; 3],
    /// For a pixel to the right, and for one down.
    right: [S::I; 3],
    down: [S::I; 3],
    area: S::I,
    x0: S::I,
    y0: S::I,
    dx: S::I,
    dy: S::I,
}

impl<S: Isa> Edges<S> {
    #[inline(always)]
    fn of(corners: &Corners<S>, target: &Target) -> Self {
        let k = S::I::splat;
        let (x, y) = (&corners.x, &corners.y);
        let (left, right) = (x[0].min(x[1]).min(x[2]), x[0].max(x[1]).max(x[2]));
        let (top, bottom) = (y[0].min(y[1]).min(y[2]), y[0].max(y[1]).max(y[2]));
        let (x0, x1) = ((left + k(SUB - 1)).sar::<8>().max(k(0)), right.sar::<8>().min(k(target.width - 1)));
        let y_min = k(target.y0);
        let y_max = k(target.y0 + target.rows - 1);
        let (y0, y1) = ((top + k(SUB - 1)).sar::<8>().max(y_min), bottom.sar::<8>().min(y_max));
        let (cx, cy) = (x0.shl::<8>(), y0.shl::<8>());
        let x = [x[0] - cx, x[1] - cx, x[2] - cx];
        let y = [y[0] - cy, y[1] - cy, y[2] - cy];
        let mut at = [k(0); 3];
        let mut step_right = [k(0); 3];
        let mut step_down = [k(0); 3];
        let mut area = k(0);
        for edge in 0..3 {
            // The edge opposite to a corner.
            let (p, q) = ((edge + 1) % 3, (edge + 2) % 3);
            let value = x[p] * y[q] - x[q] * y[p];
            let (ex, ey) = (x[q] - x[p], y[q] - y[p]);
            let owns = k(0).gt(ey) | (ey.eq(k(0)) & ex.gt(k(0)));
            area = area + value;
            at[edge] = value + (owns ^ k(-1));
            step_right[edge] = k(0) - ey.shl::<8>();
            step_down[edge] = ex.shl::<8>();
        }
        Self { at, right: step_right, down: step_down, area, x0, y0, dx: x1 - x0, dy: y1 - y0 }
    }

    /// Depth at the first pixel's corner 0 and what a unit of the edge functions 1 and 2 adds.
    #[inline(always)]
    fn depth(&self, corners: &Corners<S>, vertices: &Transformed) -> [S::F; 3] {
        let depth = [
            S::F::lookup(&vertices.depth, corners.i[0]),
            S::F::lookup(&vertices.depth, corners.i[1]),
            S::F::lookup(&vertices.depth, corners.i[2]),
        ];
        let inverse = S::F::splat(1.0) / self.area.to_float().max(S::F::splat(1.0));
        [depth[0], (depth[1] - depth[0]) * inverse, (depth[2] - depth[0]) * inverse]
    }
}

#[inline(always)]
fn draw_tiny<S: Isa, K: Sink>(
    packed: &[u32; 8],
    vertices: &Transformed,
    style: Style,
    target: &mut Target,
    sink: &mut K,
) {
    let k = S::I::splat;
    let triangles = S::I::load_u32(packed);
    let corners = Corners::<S>::load(triangles, vertices, style);
    let edges = Edges::<S>::of(&corners, target);
    let depth = edges.depth(&corners, vertices);
    let stride = k(target.stride as i32);
    // Triangles without area, the fillers, cover nothing: their box is made empty.
    let right_end = S::I::select(edges.area.gt(k(0)), edges.dx, k(-1));
    let first = ((edges.y0 - k(target.y0)) * stride + edges.x0).array();
    let ids = (triangles.shr::<24>() + k(style.first_id as i32)).array();
    let [mut row0, mut row1, mut row2] = edges.at;
    for dy in 0..TINY_PX {
        let below = edges.dy - k(dy);
        if below.signs() == 0xff {
            break;
        }
        let (mut e0, mut e1, mut e2) = (row0, row1, row2);
        for dx in 0..TINY_PX {
            let beyond = right_end - k(dx);
            let beyond_bits = beyond.signs();
            if beyond_bits == 0xff {
                break;
            }
            let mut bits = !(e0 | e1 | e2 | below | beyond).signs() & 0xff;
            if bits != 0 {
                let z = e1.to_float().mul_add(depth[1], e2.to_float().mul_add(depth[2], depth[0])).array();
                let offset = dy as usize * target.stride + dx as usize;
                while bits != 0 {
                    let lane = bits.trailing_zeros() as usize & 7;
                    bits &= bits - 1;
                    sink.put_one(target, first[lane] as usize + offset, z[lane], ids[lane] as Id);
                }
            }
            e0 = e0 + edges.right[0];
            e1 = e1 + edges.right[1];
            e2 = e2 + edges.right[2];
        }
        row0 = row0 + edges.down[0];
        row1 = row1 + edges.down[1];
        row2 = row2 + edges.down[2];
    }
}

#[inline(always)]
fn draw_small<S: Isa, K: Sink>(
    packed: &[u32; 8],
    vertices: &Transformed,
    style: Style,
    target: &mut Target,
    sink: &mut K,
) {
    let triangles = S::I::load_u32(packed);
    let corners = Corners::<S>::load(triangles, vertices, style);
    let edges = Edges::<S>::of(&corners, target);
    let depth = edges.depth(&corners, vertices);
    let mut bits = edges.area.gt(S::I::splat(0)).signs();
    let ids = (triangles.shr::<24>() + S::I::splat(style.first_id as i32)).array();
    let at = [edges.at[0].array(), edges.at[1].array(), edges.at[2].array()];
    let right = [edges.right[0].array(), edges.right[1].array(), edges.right[2].array()];
    let down = [edges.down[0].array(), edges.down[1].array(), edges.down[2].array()];
    let (x0, y0, dx, dy) = (edges.x0.array(), edges.y0.array(), edges.dx.array(), edges.dy.array());
    let depth = [depth[0].array(), depth[1].array(), depth[2].array()];
    while bits != 0 {
        let lane = bits.trailing_zeros() as usize & 7;
        bits &= bits - 1;
        let (step0, step1, step2) =
            (S::I::splat(right[0][lane]), S::I::splat(right[1][lane]), S::I::splat(right[2][lane]));
        let mut row0 = step0 * S::I::iota() + S::I::splat(at[0][lane]);
        let mut row1 = step1 * S::I::iota() + S::I::splat(at[1][lane]);
        let mut row2 = step2 * S::I::iota() + S::I::splat(at[2][lane]);
        let (right0, right1, right2) = (step0.shl::<3>(), step1.shl::<3>(), step2.shl::<3>());
        let (down0, down1, down2) =
            (S::I::splat(down[0][lane]), S::I::splat(down[1][lane]), S::I::splat(down[2][lane]));
        let (z0, z1, z2) =
            (S::F::splat(depth[0][lane]), S::F::splat(depth[1][lane]), S::F::splat(depth[2][lane]));
        let id = ids[lane] as Id;
        for y in y0[lane]..=y0[lane] + dy[lane] {
            let mut at = target.row(y) + x0[lane] as usize;
            let (mut e0, mut e1, mut e2) = (row0, row1, row2);
            let mut left = dx[lane];
            while left >= 0 {
                let outside = e0 | e1 | e2;
                if outside.signs() != 0xff {
                    let z = e1.to_float().mul_add(z1, e2.to_float().mul_add(z2, z0));
                    let mask = outside.sar::<31>() ^ S::I::splat(-1);
                    sink.put::<S>(target, at, mask, z, id);
                }
                at += 8;
                left -= 8;
                e0 = e0 + right0;
                e1 = e1 + right1;
                e2 = e2 + right2;
            }
            row0 = row0 + down0;
            row1 = row1 + down1;
            row2 = row2 + down2;
        }
    }
}

/// A vertex on the screen, fixed point.
#[derive(Debug, Clone, Copy, Default)]
struct Corner {
    x: i32,
    y: i32,
    depth: f32,
}

/// Draws one triangle of any size.
#[inline(always)]
fn draw_large<S: Isa, K: Sink>(
    mut corners: [Corner; 3],
    id: Id,
    style: Style,
    target: &mut Target,
    sink: &mut K,
) {
    if !style.mirrored {
        corners.swap(1, 2);
    }
    let [x, y] = [corners.map(|c| i64::from(c.x)), corners.map(|c| i64::from(c.y))];
    let mut area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0]);
    if area < 0 && style.double_sided {
        corners.swap(1, 2);
        area = -area;
    }
    if area <= 0 {
        return;
    }
    let [x, y] = [corners.map(|c| i64::from(c.x)), corners.map(|c| i64::from(c.y))];
    let sub = i64::from(SUB);
    let ceil = |v: i64| (v + sub - 1).div_euclid(sub);
    let min = |v: [i64; 3]| v[0].min(v[1]).min(v[2]);
    let max = |v: [i64; 3]| v[0].max(v[1]).max(v[2]);
    let (left, right) = (ceil(min(x)).max(0), max(x).div_euclid(sub).min(i64::from(target.width) - 1));
    let top = ceil(min(y)).max(i64::from(target.y0));
    let bottom = max(y).div_euclid(sub).min(i64::from(target.y0 + target.rows) - 1);

    // Depth as a plane over pixels, from corner 0.
    let d = corners.map(|c| f64::from(c.depth));
    let px = |v: i64| v as f64 / f64::from(SUB);
    let (x1, y1, x2, y2) = (px(x[1] - x[0]), px(y[1] - y[0]), px(x[2] - x[0]), px(y[2] - y[0]));
    let (d1, d2) = (d[1] - d[0], d[2] - d[0]);
    let inverse = 1.0 / (x1 * y2 - x2 * y1);
    let (slope_x, slope_y) = ((d1 * y2 - d2 * y1) * inverse, (d2 * x1 - d1 * x2) * inverse);
    let depth_min = S::F::splat(corners[0].depth.min(corners[1].depth).min(corners[2].depth));
    let depth_max = S::F::splat(corners[0].depth.max(corners[1].depth).max(corners[2].depth));

    for row in top..=bottom {
        let (mut from, mut to) = (left, right);
        for edge in 0..3 {
            let (p, q) = ((edge + 1) % 3, (edge + 2) % 3);
            let (ex, ey) = (x[q] - x[p], y[q] - y[p]);
            let owns = ey < 0 || (ey == 0 && ex > 0);
            // At the centre of the row's pixel 0, and what each pixel adds.
            let value = ex * (row * sub - y[p]) + ey * x[p] - i64::from(!owns);
            let step = -ey * sub;
            if step > 0 {
                from = from.max((-value).div_euclid(step) + i64::from((-value).rem_euclid(step) != 0));
            } else if step < 0 {
                to = to.min(value.div_euclid(-step));
            } else if value < 0 {
                to = -1;
            }
        }
        if from > to {
            continue;
        }
        let start = d[0] + slope_y * (row as f64 - px(y[0])) + slope_x * (from as f64 - px(x[0]));
        let at = target.row(row as i32) + from as usize;
        let n = (to - from + 1) as usize;
        let slope = S::F::splat(slope_x as f32);
        let mut steps = S::I::iota();
        for done in (0..n).step_by(8) {
            let z = steps.to_float().mul_add(slope, S::F::splat(start as f32)).max(depth_min).min(depth_max);
            let mask = S::I::splat(n as i32).gt(steps);
            sink.put::<S>(target, at + done, mask, z, id);
            steps = steps + S::I::splat(8);
        }
    }
}

vectorized! {
    /// Draws the triangles of a cluster that crosses the near plane or the guard band into depth and ids.
    pub(super) fn draw_opaque_clipped(
        frame: &Frame<'_>,
        triangles: &[u32],
        vertices: &Transformed,
        style: Style,
        target: &mut Target,
    ) = draw_opaque_clipped_lanes;
}

vectorized! {
    /// Appends the pixels of such a cluster's triangles to `fragments`.
    pub(super) fn collect_clipped(
        frame: &Frame<'_>,
        triangles: &[u32],
        vertices: &Transformed,
        style: Style,
        target: &mut Target,
        fragments: &mut Vec<Fragment>,
    ) = collect_clipped_lanes;
}

#[inline(always)]
fn draw_opaque_clipped_lanes<S: Isa>(
    frame: &Frame<'_>,
    triangles: &[u32],
    vertices: &Transformed,
    style: Style,
    target: &mut Target,
) {
    draw_clipped::<S, _>(frame, triangles, vertices, style, target, &mut Opaque);
}

#[inline(always)]
fn collect_clipped_lanes<S: Isa>(
    frame: &Frame<'_>,
    triangles: &[u32],
    vertices: &Transformed,
    style: Style,
    target: &mut Target,
    fragments: &mut Vec<Fragment>,
) {
    draw_clipped::<S, _>(frame, triangles, vertices, style, target, &mut Collect(fragments));
}

#[inline(always)]
fn draw_clipped<S: Isa, K: Sink>(
    frame: &Frame<'_>,
    triangles: &[u32],
    vertices: &Transformed,
    style: Style,
    target: &mut Target,
    sink: &mut K,
) {
    for (number, packed) in triangles.iter().enumerate() {
        let id = style.first_id + number as u32;
        let at = [0, 8, 16].map(|shift| (packed >> shift & 63) as usize);
        if at[0] == at[1] && at[1] == at[2] {
            continue;
        }
        let polygon = clip(at, vertices, f64::from(frame.near));
        for n in 2..polygon.n {
            let corners = [polygon.corners[0], polygon.corners[n - 1], polygon.corners[n]]
                .map(|v| v.corner(f64::from(frame.near)));
            draw_large::<S, K>(corners, id, style, target, sink);
        }
    }
}

/// A vertex that is being clipped.
#[derive(Debug, Clone, Copy, Default)]
struct Clipped {
    homogeneous: DVec3,
    /// For the triangle's own corners: as neighbours that are not clipped see them.
    exact: Option<Corner>,
}

impl Clipped {
    fn corner(self, near: f64) -> Corner {
        self.exact.unwrap_or_else(|| {
            let DVec3 { x, y, z: w } = self.homogeneous;
            // Rounding may leave a point just outside the planes.
            let w = w.max(near);
            let guard = f64::from(GUARD_PX) * 1.01;
            let fixed = |v: f64| ((v / w).clamp(-guard, guard) * f64::from(SUB)).round_ties_even() as i32;
            Corner { x: fixed(x), y: fixed(y), depth: (near / w) as f32 }
        })
    }
}

struct Polygon {
    /// A triangle and one more corner for each of five planes.
    corners: [Clipped; 8],
    n: usize,
}

/// Clips by near plane and guard band (Sutherland and Hodgman, "Reentrant Polygon Clipping", CACM 17(1), 1974). New
/// corners are computed from the inner towards the outer end of an edge, so that both triangles at an edge get the same.
fn clip(at: [usize; 3], vertices: &Transformed, near: f64) -> Polygon {
    let mut polygon = Polygon { corners: [Clipped::default(); 8], n: 3 };
    for (corner, at) in polygon.corners.iter_mut().zip(at) {
        let [x, y, w] = vertices.homogeneous[at].map(f64::from);
        corner.homogeneous = DVec3::new(x, y, w);
        corner.exact = vertices.usable[at].then(|| Corner {
            x: vertices.x[at],
            y: vertices.y[at],
            depth: vertices.depth[at],
        });
        if !corner.homogeneous.is_finite() {
            polygon.n = 0;
            return polygon;
        }
    }
    if polygon.corners[..3].iter().all(|c| c.exact.is_some()) {
        return polygon;
    }
    let guard = f64::from(GUARD_PX);
    let distances: [fn(DVec3, f64, f64) -> f64; 5] = [
        |p, near, _| p.z - near,
        |p, _, guard| guard * p.z - p.x,
        |p, _, guard| guard * p.z + p.x,
        |p, _, guard| guard * p.z - p.y,
        |p, _, guard| guard * p.z + p.y,
    ];
    for distance in distances {
        let distance = |c: &Clipped| distance(c.homogeneous, near, guard);
        let from = polygon.corners;
        let n = std::mem::take(&mut polygon.n);
        let mut push = |corner| {
            if let Some(slot) = polygon.corners.get_mut(polygon.n) {
                *slot = corner;
                polygon.n += 1;
            }
        };
        for at in 0..n {
            let (a, b) = (from[at], from[(at + 1) % n]);
            let (da, db) = (distance(&a), distance(&b));
            if da >= 0.0 {
                push(a);
            }
            if (da >= 0.0) != (db >= 0.0) {
                let (inner, outer, di, douter) = if da >= 0.0 { (a, b, da, db) } else { (b, a, db, da) };
                let t = di / (di - douter);
                let homogeneous = inner.homogeneous + (outer.homogeneous - inner.homogeneous) * t;
                push(Clipped { homogeneous, exact: None });
            }
        }
    }
    polygon
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::simd::Level;

    /// A sheet of 7 x 7 cells, each two triangles, corners moved about (not so far that one folds over): counts how often each pixel is drawn.
    fn hits(level: Level, spacing_px: f32, moves: &[(f32, f32)], flip: bool) -> (Target, Vec<u32>) {
        let mut vertices = Transformed::default();
        let extent = spacing_px * 6.0;
        for (n, (dx, dy)) in moves.iter().enumerate() {
            let (column, row) = ((n % 8) as f32 - 0.5, (n / 8) as f32 - 0.5);
            let fixed = |v: f32| ((v * spacing_px) * SUB as f32).round() as i32;
            (vertices.x[n], vertices.y[n]) = (fixed(column + dx), fixed(row + dy));
            vertices.depth[n] = 0.5;
        }
        let mut packed = Vec::new();
        for row in 0..7u32 {
            for column in 0..7u32 {
                let a = row * 8 + column;
                let (b, c, d) = (a + 1, a + 8, a + 9);
                // Counter-clockwise as seen, with y down.
                packed.push(a | c << 8 | b << 16);
                packed.push(b | c << 8 | d << 16);
            }
        }
        if flip {
            for t in &mut packed {
                *t = *t & 0xff | (*t >> 8 & 0xff) << 16 | (*t >> 16 & 0xff) << 8;
            }
        }
        packed.resize(packed.len().next_multiple_of(8), 0);
        let mut target = Target::default();
        let edge = (extent as u32).clamp(1, 64);
        target.clear(edge, 0, edge);
        let style = Style { first_id: 0, mirrored: flip, double_sided: false };
        let mut fragments = Vec::new();
        let blocks = packed.as_chunks::<8>().0;
        collect(level, blocks, &vertices, style, &mut target, &mut Kept::default(), &mut fragments);
        let mut hits = vec![0; target.ids.len()];
        for fragment in fragments {
            hits[fragment.at as usize] += 1;
        }
        draw_opaque(level, blocks, &vertices, style, &mut target, &mut Kept::default());
        (target, hits)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn triangles_that_share_edges_share_no_pixel_and_leave_none_out(
            moves in prop::collection::vec((-0.24f32..0.24, -0.24f32..0.24), 64),
            spacing_px in prop_oneof![1.0f32..3.0, 3.0f32..12.0, 12.0f32..80.0, 80.0f32..3000.0],
            flip: bool,
        ) {
            for level in [Level::detect(), Level::Portable] {
                let (target, hits) = hits(level, spacing_px, &moves, flip);
                for y in 0..target.rows {
                    let at = target.row(y);
                    let row = &hits[at..at + target.width as usize];
                    prop_assert!(row.iter().all(|n| *n == 1), "row {y}: {row:?}");
                    let ids = &target.ids[at..at + target.width as usize];
                    prop_assert!(ids.iter().all(|id| *id != NOTHING), "row {y}: {ids:?}");
                }
            }
        }
    }

    /// The scalar twin: whether a triangle covers a pixel, by exact integers and the top-left rule alone.
    fn covers(mut corners: [(i32, i32); 3], style: Style, x: i32, y: i32) -> bool {
        if !style.mirrored {
            corners.swap(1, 2);
        }
        let wide = |c: [(i32, i32); 3]| c.map(|(x, y)| (i128::from(x), i128::from(y)));
        let area = |[a, b, c]: [(i128, i128); 3]| (b.0 - a.0) * (c.1 - a.1) - (c.0 - a.0) * (b.1 - a.1);
        if style.double_sided && area(wide(corners)) < 0 {
            corners.swap(1, 2);
        }
        let at = wide(corners);
        let pixel = (i128::from(x) * i128::from(SUB), i128::from(y) * i128::from(SUB));
        area(at) > 0
            && (0..3).all(|n| {
                let (p, q) = (at[n], at[(n + 1) % 3]);
                let value = area([p, q, pixel]);
                let (right, down) = (q.0 - p.0, q.1 - p.1);
                value > 0 || (value == 0 && (down < 0 || (down == 0 && right > 0)))
            })
    }

    /// A coordinate in fixed point: often near, on or between the pixels of a small picture, sometimes far away.
    fn coordinate() -> impl Strategy<Value = i32> {
        let guard = GUARD_PX as i32 * SUB;
        prop_oneof![
            6 => -2 * SUB..70 * SUB,
            2 => (-2i32..70).prop_map(|pixel| pixel * SUB),
            2 => (0i32..6 * SUB).prop_map(|v| v + 20 * SUB),
            1 => -200 * SUB..200 * SUB,
            1 => -guard..guard,
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn triangles_cover_what_their_scalar_twin_says(
            corners in prop::collection::vec((coordinate(), coordinate(), 0.01f32..1.0), 24),
            mirrored: bool,
            double_sided: bool,
        ) {
            let mut vertices = Transformed::default();
            for (n, (x, y, depth)) in corners.iter().enumerate() {
                (vertices.x[n], vertices.y[n], vertices.depth[n]) = (*x, *y, *depth);
            }
            // As `transform` does.
            vertices.origin = [vertices.x[0] & !(SUB - 1), vertices.y[0] & !(SUB - 1)];
            vertices.is_packed = true;
            for n in 0..24 {
                let from = [vertices.x[n] - vertices.origin[0], vertices.y[n] - vertices.origin[1]];
                vertices.is_packed &= from.iter().all(|v| i32::from(*v as i16) == *v);
                vertices.packed[n] = (from[0] & 0xffff) | from[1] << 16;
            }
            let triangles: [u32; 8] = std::array::from_fn(|n| {
                let first = n as u32 * 3;
                first | (first + 1) << 8 | (first + 2) << 16
            });
            let style = Style { first_id: 5 << 7, mirrored, double_sided };
            let (width, first_row, rows) = (61, 3, 50);
            for level in [Level::detect(), Level::Portable] {
                let mut target = Target::default();
                target.clear(width, first_row, rows);
                let mut kept = Kept::default();
                let mut fragments = Vec::new();
                collect(level, &[triangles], &vertices, style, &mut target, &mut kept, &mut fragments);
                draw_opaque(level, &[triangles], &vertices, style, &mut target, &mut kept);
                fragments.sort_by_key(|f| (f.at, f.id));
                let mut fragments = fragments.into_iter().peekable();
                for y in 0..rows as i32 {
                    for x in 0..width as i32 {
                        let at = y as usize * target.stride + x as usize;
                        let mut nearest = (0.0, NOTHING);
                        for n in 0..8 {
                            let id = style.first_id + n;
                            let corner = |c: u32| (n * 3 + c) as usize;
                            let of = [0, 1, 2].map(|c| (vertices.x[corner(c)], vertices.y[corner(c)]));
                            let here = fragments.next_if(|f| f.at as usize == at && f.id == id);
                            let covered = covers(of, style, x, y + first_row as i32);
                            prop_assert_eq!(
                                here.is_some(), covered, "{:?}: triangle {} {:?} at {}, {}", level, n, of, x, y
                            );
                            if let Some(f) = here {
                                let depths = [0, 1, 2].map(|c| vertices.depth[corner(c)]);
                                let (least, most) = depths.iter().fold((2f32, 0f32), |(a, b), d| (a.min(*d), b.max(*d)));
                                let inside = least * 0.9999..=most * 1.00001;
                                prop_assert!(inside.contains(&f.depth), "{} not in {:?}", f.depth, inside);
                                if is_seen((f.depth, f.id), nearest) {
                                    nearest = (f.depth, f.id);
                                }
                            }
                        }
                        prop_assert_eq!((target.depth[at], target.ids[at]), nearest, "{:?} at {}, {}", level, x, y);
                    }
                }
                prop_assert!(fragments.next().is_none(), "fragments outside of the picture");
            }
        }
    }

    /// Pixels times distance, and the distance: before and behind the near plane, within and beyond the guard band.
    fn homogeneous() -> impl Strategy<Value = [f32; 3]> {
        let w = prop_oneof![3 => 0.02f32..5.0, 2 => -5.0f32..0.02];
        let px = || prop_oneof![3 => -2e3f32..2e3, 1 => -2e6f32..2e6];
        (px(), px(), w).prop_map(|(x, y, w)| [x * w, y * w, w])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn clipped_triangles_that_share_an_edge_share_its_ends(
            corners in prop::array::uniform4(homogeneous()),
        ) {
            let near = 0.02;
            let mut vertices = Transformed::default();
            for (n, [x, y, w]) in corners.into_iter().enumerate() {
                let guard = GUARD_PX * w;
                vertices.homogeneous[n] = [x, y, w];
                vertices.usable[n] = w >= near && guard >= x.abs() && guard >= y.abs();
                // As `transform` does: in single precision, where the clipper counts in double.
                let fixed = |v: f32| (v * (1.0 / w) * SUB as f32).round_ties_even() as i32;
                (vertices.x[n], vertices.y[n], vertices.depth[n]) = (fixed(x), fixed(y), near / w);
            }
            let clipped = |at| {
                let polygon = clip(at, &vertices, f64::from(near));
                polygon.corners[..polygon.n].to_vec()
            };
            // An edge alone, and the triangles on its two sides, which see its ends the other way round.
            let (edge, left, right) = (clipped([0, 1, 1]), clipped([0, 1, 2]), clipped([1, 0, 3]));
            for end in edge {
                for side in [&left, &right] {
                    let has = side.iter().any(|c| c.homogeneous == end.homogeneous);
                    prop_assert!(has, "{:?} is not in {:?}", end, side);
                }
            }
            // Corners that are not clipped are where triangles that need no clipping have them.
            for corner in left {
                let of = (0..3).find(|n| DVec3::from(vertices.homogeneous[*n].map(f64::from)) == corner.homogeneous);
                if let Some(n) = of.filter(|n| vertices.usable[*n]) {
                    let Corner { x, y, depth } = corner.corner(f64::from(near));
                    prop_assert_eq!((x, y, depth), (vertices.x[n], vertices.y[n], vertices.depth[n]));
                }
            }
        }
    }

    #[test]
    fn corners_on_pixel_centres_are_drawn_once() {
        for level in [Level::detect(), Level::Portable] {
            // Moved by half a cell, corners and edges lie on pixel centres, where the rule decides.
            let (target, hits) = hits(level, 2.0, &[(0.5, 0.5); 64], false);
            for y in 0..target.rows {
                let row = &hits[target.row(y)..target.row(y) + target.width as usize];
                assert!(row.iter().all(|n| *n == 1), "row {y}: {row:?}");
            }
        }
    }
}
