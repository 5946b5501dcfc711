//! Anti-aliasing in motion: each frame samples its pixels at another place within them, and is mixed with what earlier
//! frames saw of the same surfaces (Karis, "High Quality Temporal Supersampling", SIGGRAPH 2014).
//!
//! ```text
//! samples ─► the nearest surface around ─► where was it? ─► history there, no unlike than the samples around ─► mix ─┬─► picture
//!                                                                                                         └─► history
//! ```
//! Scenes stand still and depth is exact, so where a surface was is known. Whether it was seen there is not asked: what is
//! unlike all samples around is made like them. Depths of earlier frames would tell, but did not make pictures better.
//!
//! All this is for edges. Within a smooth surface there is nothing to smooth that mip maps do not, and history that is looked
//! up between pixels frame after frame blurs what they show ([`find_inner`]). There, half of the pixels do: the others lie
//! between them, unless they are too unlike ([`fill`]).

use super::frame::{Frame, Id, NOTHING};
use super::halton;
use super::raster::Target;
use super::vector::mask;
use crate::clusters::narrow;
use crate::simd::{Float, Int, Isa, vectorized};
use crate::view::{Camera, View};

/// Places of samples within a pixel, one after the other.
const PLACES: u32 = 8;
/// Samples that a pixel is the mean of, about: each new one has this part of it. More flicker less, but lag behind.
const SAMPLES: u32 = 6;
/// Differences of neighbours that are not mixed, in steps of 2047: about two of what a screen shows.
const SMALL: i32 = 16;
/// How far the surface may bend at a pixel for it to be an inner one: the change of its slope there, of which 1 is 45°.
const BEND_MAX: f32 = 0.5;
/// A camera that turns (radians) or moves (of its distance from the model) by more than this in a frame has jumped.
const TURN_MAX: f64 = 0.35;
const STEP_MAX: f64 = 0.25;

/// What earlier frames saw. Two pictures: the newest is read while the next is written.
#[derive(Debug, Default)]
pub(super) struct History {
    newest: Option<Shot>,
    next: Option<Shot>,
    /// Frames since the last cut.
    n: u32,
    /// See [`packed`]; row after row, without gaps.
    newest_light: Vec<u32>,
    next_light: Vec<u32>,
}

/// Of what a picture is.
#[derive(Debug, Clone, Copy)]
struct Shot {
    scene: u64,
    view: View,
    camera: Camera,
    /// Depth is this over the distance.
    near: f32,
}

/// The newest picture, and how to find its pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Past<'a> {
    light: &'a [u32],
    width: u32,
    height: u32,
    then_from_now: Moved,
    /// Of the new sample in the mix.
    share: f32,
    /// Changes from frame to frame.
    noise: u32,
}

impl History {
    /// Where the samples of the next frame are, in pixels from their centres. What was seen is forgotten if the scene, the
    /// size or the light is another, or the camera jumped. `distance_m`: of the camera from the scene, about.
    pub(super) fn begin(&mut self, scene: u64, view: &View, distance_m: f64) -> (f32, f32) {
        let next = Shot { scene, view: *view, camera: Camera::of(view, (0.0, 0.0)), near: 1.0 };
        if !self.newest.is_some_and(|newest| newest.leads_to(&next, distance_m)) {
            self.newest = None;
            self.n = 0;
        }
        self.next = Some(next);
        if self.n == 0 {
            return (0.0, 0.0);
        }
        let place = (self.n - 1) % PLACES + 1;
        (halton(place, 2) - 0.5, halton(place, 3) - 0.5)
    }

    /// What the next frame reads, if there is something, and the light that it writes.
    pub(super) fn split(&mut self, near: f32) -> (Option<Past<'_>>, &mut [u32]) {
        let Some(next) = &mut self.next else { return (None, &mut self.next_light) };
        next.near = near;
        let Camera { width, height, .. } = next.camera;
        self.next_light.resize(width as usize * height as usize, 0);
        let past = self.newest.as_ref().map(|newest| Past {
            light: &self.newest_light,
            width,
            height,
            then_from_now: Moved::of(next, newest),
            share: 1.0 / (self.n + 1).min(SAMPLES) as f32,
            noise: self.n,
        });
        (past, &mut self.next_light)
    }

    /// The frame was drawn: it is the newest now.
    pub(super) fn finish(&mut self) {
        self.newest = self.next.take();
        self.n = self.n.saturating_add(1);
        std::mem::swap(&mut self.newest_light, &mut self.next_light);
    }

    /// The newest picture and of how many samples it is, if it is of this scene and view.
    pub(super) fn shown(&self, scene: u64, view: &View) -> Option<(&[u32], u32)> {
        let newest = self.newest.filter(|newest| newest.scene == scene && newest.view == *view);
        newest.map(|_| (&self.newest_light[..], self.n.min(SAMPLES)))
    }
}

impl Shot {
    /// The camera moved from here to there, rather than being put there.
    fn leads_to(&self, next: &Self, distance_m: f64) -> bool {
        let (from, to) = (&self.camera, &next.camera);
        let turned = from.forward.angle_between(to.forward).max(from.up.angle_between(to.up));
        self.scene == next.scene
            && (from.width, from.height, from.look) == (to.width, to.height, to.look)
            && turned < TURN_MAX
            && from.eye.distance(to.eye) < STEP_MAX * distance_m
            && (1.0 - STEP_MAX..1.0 + STEP_MAX).contains(&f64::from(from.focal_px / to.focal_px))
    }
}

/// Where a pixel of one frame is in another.
#[derive(Debug, Clone, Copy)]
struct Moved {
    /// Pixel x and y of the other frame, each times w, and w: the scalar products of these with (x, y, 1, depth).
    rows: [[f32; 4]; 3],
}

impl Moved {
    fn of(from: &Shot, to: &Shot) -> Self {
        let near = f64::from(from.near);
        let (from, to) = (&from.camera, &to.camera);
        let unit = 1.0 / f64::from(from.focal_px);
        let rows = to.pixel_rows().map(|row| {
            let there = [
                row.dot(from.right) * unit,
                -row.dot(from.up) * unit,
                row.dot(from.ray(0.0, 0.0)) * unit,
                row.dot(from.eye - to.eye) / near,
            ];
            there.map(narrow)
        });
        Self { rows }
    }

    /// x and y there, and whether it is in front of that camera.
    #[inline(always)]
    fn at<S: Isa>(&self, x: S::F, y: S::F, depth: S::F) -> ([S::F; 2], S::I) {
        let mut out = [S::F::zero(); 3];
        for (out, row) in out.iter_mut().zip(&self.rows) {
            let at = depth.mul_add(S::F::splat(row[3]), S::F::splat(row[2]));
            *out = x.mul_add(S::F::splat(row[0]), y.mul_add(S::F::splat(row[1]), at));
        }
        let inverse = S::F::splat(1.0) / out[2];
        ([out[0] * inverse, out[1] * inverse], S::F::zero().lt(out[2]))
    }
}

vectorized! {
    /// Displayable light in 32 bits: square roots, 11 bits of red, 11 of green, 10 of blue.
    pub(super) fn packed(light: &[[f32; 8]; 3], out: &mut [u32; 8]) = packed_lanes;
}

vectorized! {
    /// Back again.
    pub(super) fn unpacked(packed: &[u32; 8], out: &mut [[f32; 8]; 3]) = unpacked_lanes;
}

vectorized! {
    /// Mixes a band's `row` of samples with the past. The target's ids are [`packed`] light already, and its rows have
    /// one more column than the picture.
    pub(super) fn mix(past: &Past<'_>, target: &Target, row: usize, out: &mut [u32]) = mix_lanes;
}

vectorized! {
    /// Finds the inner pixels of a band: those that show the same smooth surface as their four neighbours. Textures there
    /// are smoothed by their mip maps, and history would blur them. So they are shaded in their middle, wherever the
    /// frame's samples are, and shown as they are. None of the target's are known yet.
    pub(super) fn find_inner(frame: &Frame<'_>, band: usize, target: &mut Target) = find_inner_lanes;
}

#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "eight lanes, and sizes of bands"
)]
fn find_inner_lanes<S: Isa>(frame: &Frame<'_>, band: usize, target: &mut Target) {
    let Target { depth, ids, inner, stride, rows, .. } = target;
    let (stride, rows) = (*stride, *rows as usize);
    if rows < 3 {
        return;
    }
    let most = S::F::splat(BEND_MAX / frame.camera.focal_px);
    let n = stride / 8 - 1;
    let clusters = frame.bands.clusters(band).iter();
    let (low, high) = clusters.fold((u32::MAX, 0), |(low, high), at| (low.min(*at), high.max(*at)));
    let is_one_instance = low <= high && frame.is_one_instance(low << 7, high << 7);
    for (row, inner) in inner.chunks_exact_mut(stride / 8).enumerate().take(rows) {
        // At a band's edge, how it bends next to it.
        let middle = row.clamp(1, rows - 2);
        let [depth, above, center, below] =
            [row, middle - 1, middle, middle + 1].map(|row| &depth[row * stride..][..stride]);
        let [ids, above_ids, below_ids] =
            [row, row.saturating_sub(1), (row + 1).min(rows - 1)].map(|row| &ids[row * stride..][..stride]);
        let (left, here, right) = (eights(depth, 7, n - 1), eights(depth, 0, n), eights(depth, 1, n));
        let (up, center, down) = (eights(above, 0, n), eights(center, 0, n), eights(below, 0, n));
        let (left_ids, own_ids, right_ids) = (eights(ids, 7, n - 1), eights(ids, 0, n), eights(ids, 1, n));
        let (up_ids, down_ids) = (eights(above_ids, 0, n), eights(below_ids, 0, n));
        // Nobody knows what is to the left of the first pixel, which is none; to the right of the last one it is infinitely
        // deep.
        let (mut first_left, mut first_left_ids) = ([0.0; 8], [NOTHING; 8]);
        first_left[1..].copy_from_slice(&here[0][..7]);
        first_left_ids[1..].copy_from_slice(&own_ids[0][..7]);
        for (block, inner) in inner.iter_mut().enumerate().take(n) {
            let before = block.wrapping_sub(1);
            let here = S::F::load(&here[block]);
            // On a plane, depth is the mean of its neighbours'.
            let twice = here + here;
            let left = S::F::load(left.get(before).unwrap_or(&first_left));
            let right = S::F::load(&right[block]);
            let across = (left + right - twice).abs();
            let twice = S::F::load(&center[block]) + S::F::load(&center[block]);
            let (up, down) = (S::F::load(&up[block]), S::F::load(&down[block]));
            let along = (up + down - twice).abs();
            let something = S::F::zero().lt(left.min(right).min(up.min(down)));
            let flat = something & (here * most).ge(across.max(along));
            let mut bits = flat.signs();
            if bits == 0 || is_one_instance {
                *inner = bits as u8;
                continue;
            }
            // NOTHING is last, for signed numbers too.
            let own = S::I::load_u32(&own_ids[block]).shr::<1>();
            let left = S::I::load_u32(left_ids.get(before).unwrap_or(&first_left_ids)).shr::<1>();
            let right = S::I::load_u32(&right_ids[block]).shr::<1>();
            let up = S::I::load_u32(&up_ids[block]).shr::<1>();
            let down = S::I::load_u32(&down_ids[block]).shr::<1>();
            let low = own.min(left.min(right)).min(up.min(down));
            let high = own.max(left.max(right)).max(up.max(down));
            let same_cluster = low.shr::<6>().eq(high.shr::<6>());
            // Where clusters meet, of the same instance?
            let mut to_ask = bits & !same_cluster.signs();
            if to_ask != 0 {
                let (low, high) = (low.array(), high.array());
                while to_ask != 0 {
                    let lane = to_ask.trailing_zeros() as usize & 7;
                    to_ask &= to_ask - 1;
                    // The last bit is of a triangle's number, and set in NOTHING.
                    let [low, high] = [low[lane], high[lane]].map(|half| (half as Id) << 1 | 1);
                    if !frame.is_one_instance(low, high) {
                        bits &= !(1 << lane);
                    }
                }
            }
            *inner = bits as u8;
        }
    }
}

/// `n` times eight elements of a row, from column `from` on.
#[inline(always)]
fn eights<T>(row: &[T], from: usize, n: usize) -> &[[T; 8]] {
    &row[from..].as_chunks().0[..n]
}

/// Eight elements of a row from column `x` on.
#[inline(always)]
fn eight<T>(row: &[T], x: usize) -> &[T; 8] {
    let (eights, _) = row.as_chunks::<8>();
    &eights[x / 8]
}

vectorized! {
    /// Fills the holes of a band's [`packed`] light along the direction in which it changes less; those of two rows of eight
    /// pixels that have a hole whose neighbours differ by more than `contrast_max` (of 2047) stay. Holes are inner pixels;
    /// of two rows of eight, every other one or none: all those that are no hole in the one are holes in the other.
    pub(super) fn fill(target: &mut Target, contrast_max: i32) = fill_lanes;
}

#[inline(always)]
#[expect(clippy::cast_sign_loss, reason = "sizes of bands")]
fn fill_lanes<S: Isa>(target: &mut Target, contrast_max: i32) {
    let Target { ids, holes, stride, rows, .. } = target;
    let (stride, rows) = (*stride, *rows as usize);
    let (mut upper_edge, mut lower_edge) = ([0; 10], [0; 10]);
    for row in (0..rows.saturating_sub(1)).step_by(2) {
        for x in (0..stride).step_by(8) {
            let at = row * stride + x;
            let upper_holes = holes[at / 8];
            if upper_holes == 0 {
                continue;
            }
            // Eight pixels of both rows, together: the holes, what is to the left of them, to the right, above and below. A
            // lane whose hole is not in the upper row has it in the lower one.
            let in_upper = mask::<S>(u32::from(upper_holes));
            let [upper, lower] = [row, row + 1].map(|row| &ids[row * stride..][..stride]);
            let [upper_left, upper_own, upper_right] = three(upper, x, &mut upper_edge);
            let [lower_left, lower_own, lower_right] = three(lower, x, &mut lower_edge);
            let left = S::I::select(in_upper, S::I::load_u32(upper_left), S::I::load_u32(lower_left));
            let right = S::I::select(in_upper, S::I::load_u32(upper_right), S::I::load_u32(lower_right));
            let (own_upper, own_lower) = (S::I::load_u32(upper_own), S::I::load_u32(lower_own));
            // At a band's edge there are no two rows to be between.
            let of_upper = match row {
                0 => (left, right),
                _ => (S::I::load_u32(eight(ids, at - stride)), own_lower),
            };
            let of_lower = match row + 2 < rows {
                false => (left, right),
                true => (own_upper, S::I::load_u32(eight(ids, at + 2 * stride))),
            };
            let up = S::I::select(in_upper, of_upper.0, of_lower.0);
            let down = S::I::select(in_upper, of_upper.1, of_lower.1);

            let (across, low, high) = ends::<S>(left, right);
            let (along, low2, high2) = ends::<S>(up, down);
            let mut differs = S::I::splat(0);
            for (channel, most) in [contrast_max, contrast_max, contrast_max / 2].into_iter().enumerate() {
                let range = high[channel].max(high2[channel]) - low[channel].min(low2[channel]);
                differs = differs | range.gt(S::I::splat(most));
            }
            if differs.signs() != 0 {
                continue;
            }
            let mean = S::I::select(across.gt(along), middle::<S>(up, down), middle::<S>(left, right));
            holes[at / 8] = 0;
            holes[(at + stride) / 8] = 0;
            if let Some(own) = ids[at..].first_chunk_mut::<8>() {
                S::I::select(in_upper, mean, own_upper).store_u32(own);
            }
            if let Some(own) = ids[at + stride..].first_chunk_mut::<8>() {
                S::I::select(in_upper, own_lower, mean).store_u32(own);
            }
        }
    }
}

/// How far the green of two pixels is apart; the lesser and the greater of each part of them.
#[inline(always)]
fn ends<S: Isa>(a: S::I, b: S::I) -> (S::I, [S::I; 3], [S::I; 3]) {
    let eleven = S::I::splat(2047);
    let (red_a, red_b) = (a & eleven, b & eleven);
    let (green_a, green_b) = (a.shr::<11>() & eleven, b.shr::<11>() & eleven);
    let (blue_a, blue_b) = (a.shr::<22>(), b.shr::<22>());
    let low = [red_a.min(red_b), green_a.min(green_b), blue_a.min(blue_b)];
    let high = [red_a.max(red_b), green_a.max(green_b), blue_a.max(blue_b)];
    (high[1] - low[1], low, high)
}

/// The mean of packed light, each part rounded down.
#[inline(always)]
fn middle<S: Isa>(a: S::I, b: S::I) -> S::I {
    // But for the last bit of each part, which would go into the next one.
    let halves = S::I::splat(!(1 | 1 << 11 | 1 << 22));
    (a & b) + ((a ^ b) & halves).shr::<1>()
}

#[inline(always)]
fn packed_lanes<S: Isa>(light: &[[f32; 8]; 3], out: &mut [u32; 8]) {
    let light = [S::F::load(&light[0]), S::F::load(&light[1]), S::F::load(&light[2])];
    pack::<S>(light, S::F::splat(0.5)).store_u32(out);
}

#[inline(always)]
fn unpacked_lanes<S: Isa>(packed: &[u32; 8], out: &mut [[f32; 8]; 3]) {
    let light = unpack::<S>(S::I::load_u32(packed));
    for (out, light) in out.iter_mut().zip(light) {
        light.store(out);
    }
}

/// `rounding` is added before the fraction is cut off.
#[inline(always)]
pub(super) fn pack<S: Isa>(light: [S::F; 3], rounding: S::F) -> S::I {
    let k = S::F::splat;
    let red = light[0].clamp01().sqrt().mul_add(k(2047.0), rounding).trunc_to_int().min(S::I::splat(2047));
    let green = light[1].clamp01().sqrt().mul_add(k(2047.0), rounding).trunc_to_int().min(S::I::splat(2047));
    let blue = light[2].clamp01().sqrt().mul_add(k(1023.0), rounding).trunc_to_int().min(S::I::splat(1023));
    red | green.shl::<11>() | blue.shl::<22>()
}

#[inline(always)]
fn unpack<S: Isa>(packed: S::I) -> [S::F; 3] {
    let [red, green, blue] = roots::<S>(packed);
    [red * red, green * green, blue * blue]
}

/// Square roots of light.
#[inline(always)]
pub(super) fn roots<S: Isa>(packed: S::I) -> [S::F; 3] {
    let k = S::F::splat;
    let eleven = S::I::splat(2047);
    let red = (packed & eleven).to_float() * k(1.0 / 2047.0);
    let green = (packed.shr::<11>() & eleven).to_float() * k(1.0 / 2047.0);
    let blue = packed.shr::<22>().to_float() * k(1.0 / 1023.0);
    [red, green, blue]
}

/// Eight elements of a row from column `x` on: those to the left of them, they themselves, and those to the right. The
/// first column is its own left neighbour, for which there is the memory of `edge`; rows have room after their last pixel.
#[inline(always)]
fn three<'a, T: Copy>(row: &'a [T], x: usize, edge: &'a mut [T; 10]) -> [&'a [T; 8]; 3] {
    let ten = match x.checked_sub(1).and_then(|from| row.get(from..)?.first_chunk()) {
        Some(ten) => ten,
        None => {
            if let Some(nine) = row.first_chunk::<9>() {
                edge[0] = nine[0];
                edge[1..].copy_from_slice(nine);
            }
            &*edge
        }
    };
    let ([left @ .., _, _], [_, own @ .., _], [_, _, right @ ..]) = (ten, ten, ten);
    [left, own, right]
}

#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "sizes of pictures"
)]
fn mix_lanes<S: Isa>(past: &Past<'_>, target: &Target, row: usize, out: &mut [u32]) {
    let k = S::F::splat;
    let int = S::I::splat;
    let stride = target.stride;
    // At a band's edge, neighbours are those in the band.
    let rows = [row.saturating_sub(1), row, (row + 1).min(target.rows as usize - 1)];
    let here_y = k((target.y0 + row as i32) as f32);
    let mut depth_edge = [0.0; 10];
    let (right, bottom) = (k(past.width as f32 - 0.5), k(past.height as f32 - 0.5));
    for (block, out) in out.chunks_mut(8).enumerate() {
        let x = block * 8;
        let at = row * stride + x;
        let own = *eight(&target.ids, at);
        let inner = target.inner[at / 8];
        if inner == 0xff {
            put(out, &own);
            continue;
        }
        let mut nearest = k(0.0);
        for row in rows {
            for depths in three(&target.depth[row * stride..][..stride], x, &mut depth_edge) {
                nearest = nearest.max(S::F::load(depths));
            }
        }
        let something = k(0.0).lt(nearest);
        // The background does not move.
        if something.signs() == 0 {
            put(out, &own);
            continue;
        }
        // Where nothing changes from pixel to pixel, history cannot tell more.
        let (low, high) = around::<S>(target, rows, x);
        let (small, small_blue) = (int(SMALL), int(SMALL / 2));
        let contrast = (high[0] - low[0]).gt(small)
            | (high[1] - low[1]).gt(small.shl::<11>())
            | (high[2] - low[2]).gt(small_blue);
        if contrast.signs() == 0 {
            put(out, &own);
            continue;
        }
        let low = unpack::<S>(low[0] | low[1] | low[2].shl::<22>());
        let high = unpack::<S>(high[0] | high[1] | high[2].shl::<22>());

        // Where was it?
        let here_x = (S::I::iota() + int(x as i32)).to_float();
        let ([then_x, then_y], front) = past.then_from_now.at::<S>(here_x, here_y, nearest);
        let then_x = S::F::select(something, then_x, here_x);
        let then_y = S::F::select(something, then_y, here_y);
        let seen = (front | something.eq(int(0)))
            & then_x.ge(k(-0.5))
            & then_y.ge(k(-0.5))
            & right.ge(then_x)
            & bottom.ge(then_y);
        let history = bilinear::<S>(past, then_x, then_y);
        let sample = unpack::<S>(S::I::load_u32(&own));
        let share = S::F::select(seen, k(past.share), k(1.0));
        let mut light = [k(0.0); 3];
        for channel in 0..3 {
            // What is not like anything around was hidden then, or shone differently.
            let likely = history[channel].max(low[channel]).min(high[channel]);
            light[channel] = likely.mix(sample[channel], share);
        }
        // Rounding must not always go the same way, or small differences would never be made up.
        let mut mixed = [0; 8];
        let packed = pack::<S>(light, noise::<S>(here_x, here_y, past.noise));
        S::I::select(mask::<S>(u32::from(inner)), S::I::load_u32(&own), packed).store_u32(&mut mixed);
        put(out, &mixed);
    }
}

#[inline(always)]
fn put(out: &mut [u32], from: &[u32; 8]) {
    if let Some(out) = out.first_chunk_mut::<8>() {
        *out = *from;
    } else {
        out.copy_from_slice(&from[..out.len()]);
    }
}

/// Interleaved gradient noise (Jimenez, "Next Generation Post Processing in Call of Duty: Advanced Warfare", SIGGRAPH
/// 2014), 0 to 1, that moves from frame to frame.
#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "below 64")]
fn noise<S: Isa>(x: S::F, y: S::F, frame: u32) -> S::F {
    let k = S::F::splat;
    let shift = (frame % 64) as f32 * 5.588_238;
    let t = (x + k(shift)).mul_add(k(0.067_110_56), (y + k(shift)) * k(0.005_837_15));
    let t = (t - t.floor()) * k(52.982_918);
    t - t.floor()
}

/// Light of the newest picture at pixel positions.
#[inline(always)]
#[expect(clippy::cast_possible_wrap, reason = "sizes of pictures")]
fn bilinear<S: Isa>(past: &Past<'_>, x: S::F, y: S::F) -> [S::F; 3] {
    let k = S::F::splat;
    let int = S::I::splat;
    let (last_x, last_y) = (int(past.width as i32 - 2), int(past.height as i32 - 2));
    let (x, y) = (x.max(k(0.0)), y.max(k(0.0)));
    let (x0, y0) = (x.trunc_to_int().min(last_x), y.trunc_to_int().min(last_y));
    let (fx, fy) = ((x - x0.to_float()).clamp01(), (y - y0.to_float()).clamp01());
    let width = int(past.width as i32);
    let at = y0 * width + x0;
    let (a, b) = S::I::gather_pairs(past.light, at);
    let (c, d) = S::I::gather_pairs(past.light, at + width);
    let (a, b, c, d) = (unpack::<S>(a), unpack::<S>(b), unpack::<S>(c), unpack::<S>(d));
    let mut out = [k(0.0); 3];
    for channel in 0..3 {
        out[channel] = a[channel].mix(b[channel], fx).mix(c[channel].mix(d[channel], fx), fy);
    }
    out
}

/// The least and the most light of each pixel and its neighbours: red, green (still shifted) and blue as they are packed.
#[inline(always)]
fn around<S: Isa>(target: &Target, rows: [usize; 3], x: usize) -> ([S::I; 3], [S::I; 3]) {
    let masks = [S::I::splat(2047), S::I::splat(2047 << 11)];
    let mut low = [S::I::splat(i32::MAX); 3];
    let mut high = [S::I::splat(0); 3];
    let mut edge = [0; 10];
    for row in rows {
        for packed in three(&target.ids[row * target.stride..][..target.stride], x, &mut edge) {
            let packed = S::I::load_u32(packed);
            let parts = [packed & masks[0], packed & masks[1], packed.shr::<22>()];
            for channel in 0..3 {
                low[channel] = low[channel].min(parts[channel]);
                high[channel] = high[channel].max(parts[channel]);
            }
        }
    }
    (low, high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use scene::math::{Quat, Vec3};

    use super::*;
    use crate::look::Look;
    use crate::simd::Portable;

    #[test]
    fn depth_tells_where_a_point_was() {
        let view = |eye: Vec3, turn: f32, fov_y: f32| View {
            eye,
            orientation: Quat::from_rotation_y(turn) * Quat::from_rotation_x(turn * 0.3),
            fov_y,
            width: 640,
            height: 360,
            look: Look::default(),
        };
        let shot =
            |view: View, near: f32| Shot { scene: 0, view, camera: Camera::of(&view, (0.0, 0.0)), near };
        // Places far from the origin: depth must not depend on them.
        let home = Vec3::new(400.0, -30.0, 900.0);
        let now = shot(view(home, 0.2, 0.8), 0.002);
        let then = shot(view(home + Vec3::new(0.3, -0.1, 0.2), 0.25, 0.7), 0.01);
        let moved = Moved::of(&now, &then);
        for (x, y, distance) in
            [(0.0, 0.0, 1.0), (320.0, 180.0, 3.0), (639.0, 10.0, 50.0), (77.0, 359.0, 4000.0)]
        {
            let ray = now.camera.ray(x, y);
            let point = now.camera.eye + ray / f64::from(now.camera.focal_px) * distance;
            let from_then = point - then.camera.eye;
            let w = from_then.dot(then.camera.forward);
            let focal = f64::from(then.camera.focal_px) / w;
            let wanted = [
                from_then.dot(then.camera.right) * focal + f64::from(then.camera.center_x_px),
                -from_then.dot(then.camera.up) * focal + f64::from(then.camera.center_y_px),
            ];
            let splat = <Portable as Isa>::F::splat;
            let depth = splat(now.near / narrow(distance));
            let (got, _) = moved.at::<Portable>(splat(x), splat(y), depth);
            for (got, wanted) in got.iter().zip(wanted) {
                let got = f64::from(got.array()[0]);
                assert!((got - wanted).abs() < 0.01, "{distance} m: {got}, not {wanted}");
            }
        }
    }

    /// Red, green and blue of packed light.
    fn parts(light: u32) -> [i32; 3] {
        [light & 2047, light >> 11 & 2047, light >> 22].map(|part| i32::try_from(part).unwrap())
    }

    /// Holes of a few blocks in light of this contrast, filled by each instruction set and one by one.
    fn holes_are_filled(light: &[u32], holed: &[bool], rows: usize, contrast_max: i32) {
        let mut before = Target::default();
        before.clear(48, 0, u32::try_from(rows).unwrap());
        let (stride, n_blocks) = (before.stride, before.stride / 8);
        for (to, from) in before.ids.iter_mut().zip(light) {
            *to = *from;
        }
        for pair in 0..rows / 2 {
            // Neither the first block of a row nor the last.
            for block in (1..n_blocks - 2).filter(|block| holed[pair * 8 + block]) {
                before.holes[pair * 2 * n_blocks + block] = 0xaa;
                before.holes[(pair * 2 + 1) * n_blocks + block] = 0x55;
            }
        }
        let is_hole = |x: usize, row: usize| before.holes[row * n_blocks + x / 8] >> (x % 8) & 1 == 1;
        let at = |x: usize, row: usize| before.ids[row * stride + x];
        let neighbours = |x: usize, row: usize| {
            let mut all = vec![at(x - 1, row), at(x + 1, row)];
            if row > 0 && row + 1 < rows {
                all.extend([at(x, row - 1), at(x, row + 1)]);
            }
            all
        };
        let differ = |x: usize, row: usize| {
            (0..3).any(|channel| {
                let of = neighbours(x, row).into_iter().map(|light| parts(light)[channel]);
                let most = if channel == 2 { contrast_max / 2 } else { contrast_max };
                of.clone().max().unwrap() - of.min().unwrap() > most
            })
        };
        for level in [crate::simd::Level::detect(), crate::simd::Level::Portable] {
            let mut after = Target::default();
            after.clear(48, 0, u32::try_from(rows).unwrap());
            after.ids.clone_from(&before.ids);
            after.holes.clone_from(&before.holes);
            fill(level, &mut after, contrast_max);
            for row in 0..rows {
                for x in 0..stride {
                    let mut expected = at(x, row);
                    let pair = [row & !1, row | 1];
                    let block = x / 8 * 8..x / 8 * 8 + 8;
                    let stays = is_hole(x, row)
                        && pair.iter().any(|row| block.clone().any(|x| is_hole(x, *row) && differ(x, *row)));
                    if is_hole(x, row) && !stays {
                        let around = neighbours(x, row);
                        let green = |n: usize| (parts(around[n])[1] - parts(around[n + 1])[1]).abs();
                        let of = if around.len() == 4 && green(0) > green(2) { 2 } else { 0 };
                        let (a, b) = (parts(around[of]), parts(around[of + 1]));
                        let mean = |n: usize| u32::try_from((a[n] + b[n]) / 2).unwrap();
                        expected = mean(0) | mean(1) << 11 | mean(2) << 22;
                    }
                    assert_eq!(after.ids[row * stride + x], expected, "column {x}, row {row}");
                    let is_still = after.holes[row * n_blocks + x / 8] >> (x % 8) & 1 == 1;
                    assert_eq!(is_still, stays, "column {x}, row {row}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn holes_become_what_is_between_their_neighbours_if_these_are_alike(
            light in prop::collection::vec((0u32..90, 0u32..90, 0u32..50), 6 * 56),
            holed in prop::collection::vec(any::<bool>(), 3 * 8),
            rows in prop::sample::select(vec![2usize, 4, 5, 6]),
            contrast_max in prop::sample::select(vec![0, 40, 75, 85, i32::MAX]),
        ) {
            let light = light.iter().map(|(r, g, b)| (r + 1000) | (g + 700) << 11 | (b + 300) << 22);
            holes_are_filled(&light.collect::<Vec<u32>>(), &holed, rows, contrast_max);
        }
    }

    #[test]
    fn light_survives_packing() {
        for n in 0..=255u8 {
            let light = crate::color::linear_from_srgb(f32::from(n) / 255.0);
            let mut packed_light = [0; 8];
            let level = crate::simd::Level::detect();
            packed(level, &[[light; 8], [0.0; 8], [light; 8]], &mut packed_light);
            let mut back = [[0.0; 8]; 3];
            unpacked(level, &packed_light, &mut back);
            let code = |x: f32| crate::color::srgb_from_linear(x) * 255.0;
            for (got, wanted) in back.iter().zip([f32::from(n), 0.0, f32::from(n)]) {
                assert!((code(got[3]) - wanted).abs() < 0.5, "{wanted}: {}", code(got[3]));
            }
        }
    }
}
