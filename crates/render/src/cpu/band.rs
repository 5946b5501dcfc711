//! One band of the picture, from clusters to bytes. A band is drawn by one thread from start to end, so its pixels never
//! leave the core's caches, and what it shows depends on its number alone.
//!
//! ```text
//! opaque clusters ───────────────► depth + ids ─┐
//! masked clusters ─► fragments ─► alpha test ─┘ ├─► shade ─► sum up (at rest) or mix (in motion) ─► I420 or RGBA
//! blended clusters ─► fragments ─► sort, shade ─► layers ┘
//! ```
//! Within smooth surfaces in motion, every other pixel is shaded first, and of the others those that do not lie between
//! their neighbours.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "pixel positions are within the band and colours are clamped"
)]

use scene::AlphaMode;

use super::background::Background;
use super::frame::{Frame, Id, NOTHING, Visible};
use super::history::{self, Past};
use super::raster::{
    Fragment, Kept, Style, Target, Transformed, collect, collect_clipped, draw_opaque, draw_opaque_clipped,
    is_seen, transform,
};
use super::shade::{Batch, EIGHTS};
use super::tiles::Rect;
use super::times::{Lap, StageTimes};
use super::video::{VideoBlock, VideoRows, encode_packed, encode_rgb, encode_video};
use crate::simd::Level;
use crate::view::Camera;

/// Blended surfaces that a pixel shows at most: the nearest ones.
const LAYERS_MAX: usize = 12;
/// Fragments that are kept before all but the nearest of each pixel are dropped, per pixel of the band on average; then
/// twice what was left.
const FRAGMENTS_PER_PIXEL: usize = 3;
/// Triangles whose fragments are looked at together.
const COLLECT_BLOCKS: usize = 2;

/// Pixels with other neighbours that are shaded together, once there are as many.
const STRAYS: usize = 512;

/// Light in front of a pixel, and how much of what is behind it is still seen: red, green, blue of each.
type Layer = [f32; 6];
/// Nothing is in front.
const CLEAR: Layer = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0];

/// Where a band's pixels go.
#[derive(Debug)]
pub(super) struct BandOut<'a> {
    /// Its number, from the top of the picture.
    pub(super) band: usize,
    /// Sums of displayable linear light: red, green, blue, each row after row.
    pub(super) sums: Option<[&'a mut [f32]; 3]>,
    pub(super) bytes: Bytes<'a>,
    /// Light of a frame in motion, for itself and the next one.
    pub(super) next: Option<&'a mut [u32]>,
    /// What motion left, and its share of what is shown.
    pub(super) faded: Option<(&'a [u32], f32)>,
}

#[derive(Debug)]
pub(super) enum Bytes<'a> {
    Video { y: &'a mut [u8], u: &'a mut [u8], v: &'a mut [u8] },
    Rgba(&'a mut [u8]),
    Nothing,
}

/// What a worker needs besides.
#[derive(Default)]
pub(super) struct Scratch {
    target: Target,
    vertices: Transformed,
    kept: Kept,
    fragments: Vec<Fragment>,
    blended: Vec<Fragment>,
    /// Of each pixel, if anything blends in the band.
    layers: Vec<Layer>,
    batch: Batch,
    /// Pixels to be shaded with others of their instance: instance << 32 | row << 16 | column.
    strays: Vec<u64>,
    /// What this worker has spent on the frame.
    pub(super) times: StageTimes,
    /// Clusters that it found to be hidden, counted in each band.
    pub(super) n_hidden: u32,
}

impl Scratch {
    /// Makes room for bands of a size, so that whoever gets the first band of a frame need not.
    pub(super) fn reserve(&mut self, width: u32, rows: u32) {
        self.target.reserve(width, rows);
        self.strays.reserve(STRAYS + 2 * width as usize);
    }
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scratch")
    }
}

/// Draws a band. With sums, the new sample is added and the bytes show the sums times `weight`; in motion, it is mixed with
/// the `past`.
pub(super) fn draw_band(
    frame: &Frame<'_>,
    background: &Background,
    past: Option<&Past<'_>>,
    weight: f32,
    scratch: &mut Scratch,
    out: &mut BandOut<'_>,
) {
    let mut lap = Lap::start();
    let band = out.band;
    let (y0, rows) = rows_of(frame.camera.height, frame.bands.rows, band);
    scratch.target.clear(frame.camera.width, y0, rows);
    let (mut masks, mut blends) = (false, false);
    for &at in frame.bands.clusters(band) {
        match frame.visible[at as usize].alpha_mode {
            AlphaMode::Opaque => draw_cluster(frame, at, scratch),
            AlphaMode::Mask { .. } => masks = true,
            AlphaMode::Blend => blends = true,
        }
    }
    if masks {
        // After what is opaque: what is hidden needs no alpha.
        for &at in frame.bands.clusters(band) {
            if let AlphaMode::Mask { cutoff } = frame.visible[at as usize].alpha_mode {
                collect_cluster(frame, at, scratch, |frame, scratch| test_alpha(frame, cutoff, scratch));
            }
        }
    }
    lap.end(&mut scratch.times.raster);
    scratch.layers.clear();
    scratch.blended.clear();
    if blends {
        collect_blended(frame, band, scratch);
        lap.end(&mut scratch.times.blend);
    }
    if past.is_some() {
        history::find_inner(frame.level, frame, band, &mut scratch.target);
        lap.end(&mut scratch.times.convert);
    }
    if !scratch.blended.is_empty() {
        blend(frame, scratch);
        lap.end(&mut scratch.times.blend);
    }
    light_up(frame, background, scratch);
    lap.end(&mut scratch.times.shade);
    match out.next.take() {
        Some(mixed) => show_mixed(frame, background, past, &mut scratch.target, mixed, out),
        None => show_sample(frame.level, &scratch.target, weight, out),
    }
    lap.end(&mut scratch.times.convert);
}

/// First row and number of rows of a band.
fn rows_of(height: u32, rows: u32, band: usize) -> (u32, u32) {
    let y0 = band as u32 * rows;
    (y0, rows.min(height - y0))
}

fn style(frame: &Frame<'_>, at: u32) -> Style {
    let Visible { mirrored, double_sided, .. } = frame.visible[at as usize];
    Style { first_id: at << 7, mirrored, double_sided }
}

/// Transforms a cluster's vertices. `None` if nothing of it can be seen in the band; else where it may be drawn.
fn transformed(frame: &Frame<'_>, visible: &Visible, scratch: &mut Scratch) -> Option<Rect> {
    let Scratch { target, vertices, n_hidden, .. } = scratch;
    if visible.clipped {
        transform(frame.level, frame, visible, vertices);
        return Some(visible.rect);
    }
    // The bounding sphere costs next to nothing, the vertices are exact.
    if target.hides(visible.rect, visible.depth) {
        *n_hidden += 1;
        return None;
    }
    transform(frame.level, frame, visible, vertices);
    if target.hides(vertices.rect, vertices.depth_max) {
        *n_hidden += 1;
        return None;
    }
    Some(vertices.rect)
}

fn draw_cluster(frame: &Frame<'_>, at: u32, scratch: &mut Scratch) {
    let visible = &frame.visible[at as usize];
    let Some(rect) = transformed(frame, visible, scratch) else { return };
    let cluster = &frame.scene.clusters.clusters[visible.cluster as usize];
    let first = cluster.triangles_at as usize;
    let triangles = &frame.scene.clusters.triangles[first..first + cluster.triangle_blocks()];
    let style = style(frame, at);
    let Scratch { target, vertices, kept, .. } = scratch;
    if visible.clipped {
        draw_opaque_clipped(frame.level, frame, triangles.as_flattened(), vertices, style, target);
    } else {
        draw_opaque(frame.level, triangles, vertices, style, target, kept);
    }
    target.touch(rect);
}

/// Collects a cluster's fragments, a few triangles at a time, and calls `each` after each few.
fn collect_cluster(
    frame: &Frame<'_>,
    at: u32,
    scratch: &mut Scratch,
    mut each: impl FnMut(&Frame<'_>, &mut Scratch),
) {
    let visible = &frame.visible[at as usize];
    let cluster = &frame.scene.clusters.clusters[visible.cluster as usize];
    let first = cluster.triangles_at as usize;
    let triangles = &frame.scene.clusters.triangles[first..first + cluster.triangle_blocks()];
    let whole = style(frame, at);
    let Some(rect) = transformed(frame, visible, scratch) else { return };
    for (n, blocks) in triangles.chunks(COLLECT_BLOCKS).enumerate() {
        let style = Style { first_id: whole.first_id + (n * COLLECT_BLOCKS * 8) as u32, ..whole };
        let Scratch { target, vertices, kept, fragments, .. } = &mut *scratch;
        fragments.clear();
        if visible.clipped {
            collect_clipped(frame.level, frame, blocks.as_flattened(), vertices, style, target, fragments);
        } else {
            collect(frame.level, blocks, vertices, style, target, kept, fragments);
        }
        each(frame, scratch);
    }
    scratch.target.touch(rect);
}

/// Ids and pixel positions of up to eight fragments.
fn lanes_of(target: &Target, fragments: &[Fragment]) -> ([Id; 8], [f32; 8], [f32; 8]) {
    let (mut ids, mut x, mut y) = ([NOTHING; 8], [0.0; 8], [0.0; 8]);
    for (lane, fragment) in fragments.iter().enumerate().take(8) {
        let at = fragment.at as usize;
        ids[lane] = fragment.id;
        x[lane] = (at % target.stride) as f32;
        y[lane] = (target.y0 + (at / target.stride) as i32) as f32;
    }
    (ids, x, y)
}

/// Bits of the first `n` lanes, 1 to 8.
fn all_lanes(n: usize) -> u32 {
    0xff >> (8 - n.clamp(1, 8))
}

/// Moves fragments that are not cut out to the target.
fn test_alpha(frame: &Frame<'_>, cutoff: f32, scratch: &mut Scratch) {
    let Scratch { target, fragments, batch, .. } = scratch;
    for some in fragments.chunks(8 * EIGHTS) {
        for eight in some.chunks(8) {
            let (ids, x, y) = lanes_of(target, eight);
            // They are of one cluster.
            batch.push(frame, &ids, all_lanes(eight.len()), &x, &y);
        }
        for (eight, (_, alpha)) in some.chunks(8).zip(batch.alpha(frame)) {
            for (fragment, alpha) in eight.iter().zip(alpha) {
                let at = fragment.at as usize;
                let before = (target.depth[at], target.ids[at]);
                if alpha >= cutoff && is_seen((fragment.depth, fragment.id), before) {
                    (target.depth[at], target.ids[at]) = (fragment.depth, fragment.id);
                }
            }
        }
    }
}

/// Finds what is blended over the band.
fn collect_blended(frame: &Frame<'_>, band: usize, scratch: &mut Scratch) {
    let mut limit = scratch.target.ids.len() * FRAGMENTS_PER_PIXEL;
    for &at in frame.bands.clusters(band) {
        if frame.visible[at as usize].alpha_mode == AlphaMode::Blend {
            collect_cluster(frame, at, scratch, |_, scratch| {
                let Scratch { target, fragments, blended, .. } = &mut *scratch;
                // At the depth of what is opaque, that is seen.
                blended.extend(fragments.iter().filter(|f| f.depth > target.depth[f.at as usize]));
                if scratch.blended.len() > limit {
                    sort_and_keep_nearest(&mut scratch.blended);
                    // Or each cluster after this one would sort all of them again.
                    limit = limit.max(2 * scratch.blended.len());
                }
            });
        }
    }
    sort_and_keep_nearest(&mut scratch.blended);
}

/// Fills the layers with what is blended over the band.
fn blend(frame: &Frame<'_>, scratch: &mut Scratch) {
    let Scratch { target, blended, layers, batch, .. } = scratch;
    layers.resize(target.ids.len(), CLEAR);
    for eight in blended.chunks(8) {
        let (ids, x, y) = lanes_of(target, eight);
        // At most eight instances, and a batch takes as many.
        const { assert!(EIGHTS >= 8) };
        let mut left = all_lanes(eight.len());
        while left != 0 {
            let lanes = like_the_first(frame, &ids, left);
            batch.push(frame, &ids, lanes, &x, &y);
            left &= !lanes;
        }
        let mut light = [[0.0; 8]; 6];
        for same in batch.shade(frame) {
            for (light, from) in light.iter_mut().zip(&same.light) {
                for lane in (0..8).filter(|lane| same.lanes >> lane & 1 == 1) {
                    light[lane] = from[lane];
                }
            }
        }
        for (lane, fragment) in eight.iter().enumerate() {
            let layer = &mut layers[fragment.at as usize];
            for channel in 0..3 {
                layer[channel] += layer[3 + channel] * light[channel][lane];
                layer[3 + channel] *= light[3 + channel][lane];
            }
            // Motion goes by the nearest surface.
            let depth = &mut target.depth[fragment.at as usize];
            *depth = depth.max(fragment.depth);
            target.inner[fragment.at as usize / 8] &= !(1 << (fragment.at % 8));
        }
    }
}

/// Those of the lanes `left` (bits, at least one) that show the same instance as the first of them.
fn like_the_first(frame: &Frame<'_>, ids: &[Id; 8], left: u32) -> u32 {
    let first = frame.instance_of(ids[left.trailing_zeros() as usize & 7]);
    let same = |lane: &usize| left >> lane & 1 == 1 && frame.instance_of(ids[*lane]) == first;
    (0..8).filter(same).fold(0, |lanes, lane| lanes | 1 << lane)
}

/// Pixel by pixel, nearest first, ties by id; at most [`LAYERS_MAX`] a pixel.
fn sort_and_keep_nearest(fragments: &mut Vec<Fragment>) {
    // Depth is never negative, so its bits sort as it does.
    fragments.sort_unstable_by_key(|f| (u64::from(f.at) << 32 | u64::from(!f.depth.to_bits()), f.id));
    let (mut pixel, mut n) = (u32::MAX, 0);
    fragments.retain(|f| {
        n = if f.at == pixel { n + 1 } else { 0 };
        pixel = f.at;
        n < LAYERS_MAX
    });
}

/// Light of 2 rows of 8 pixels: row, channel, lane.
pub(super) type Block = [[[f32; 8]; 3]; 2];

/// Puts light, as history keeps it, where the band's ids are.
fn light_up(frame: &Frame<'_>, background: &Background, scratch: &mut Scratch) {
    let Scratch { target, layers, strays, batch, .. } = scratch;
    let (width, rows) = (target.width as usize, target.rows as usize);
    let mut spots = Spots::default();
    for row in (0..rows).step_by(2) {
        for x in (0..width).step_by(8) {
            let at = row * target.stride + x;
            let is_inner = |at: usize| target.inner[at / 8] == 0xff;
            if row + 1 < rows && is_inner(at) && is_inner(at + target.stride) {
                // Every other pixel; of the others, those that do not lie between their neighbours, later.
                spots.push(frame, target, batch, Spot { x, row, checker: Some(Checker::White) });
                [target.holes[at / 8], target.holes[(at + target.stride) / 8]] = BLACK;
                continue;
            }
            for row in row..row + n_rows_at(row, rows) {
                let at = row * target.stride + x;
                let Some(ids) = target.ids[at..].first_chunk_mut::<8>() else { continue };
                let empty = background.packed[target.y0 as usize + row];
                if ids.iter().fold(NOTHING, |all, id| all & id) == NOTHING {
                    *ids = empty;
                } else if target.inner[at / 8] == 0xff || is_one_instance(frame, ids) {
                    // Inner pixels next to each other show one instance.
                    spots.push(frame, target, batch, Spot { x, row, checker: None });
                } else {
                    for (lane, id) in ids.iter_mut().enumerate() {
                        if *id == NOTHING {
                            *id = empty[lane];
                        } else {
                            let place = (row << 16 | (x + lane)) as u64;
                            strays.push(u64::from(frame.instance_of(*id)) << 32 | place);
                        }
                    }
                }
            }
        }
        if strays.len() >= STRAYS {
            spots.shade(frame, target, batch);
            shade_strays(frame, target, strays, batch);
        }
    }
    spots.shade(frame, target, batch);
    shade_strays(frame, target, strays, batch);
    history::fill(frame.level, target, frame.contrast_max);
    for row in (0..rows).step_by(2) {
        for x in (0..width).step_by(8) {
            if target.holes[(row * target.stride + x) / 8] != 0 {
                spots.push(frame, target, batch, Spot { x, row, checker: Some(Checker::Black) });
            }
        }
    }
    spots.shade(frame, target, batch);
    let eights = target.ids.as_chunks_mut::<8>().0.iter_mut();
    for (light, layers) in eights.zip(layers.as_chunks::<8>().0) {
        if *layers != [CLEAR; 8] {
            put_before(frame.level, light, layers);
        }
    }
}

/// Every other pixel of two rows, as on a chess board.
#[derive(Clone, Copy)]
enum Checker {
    /// With the first pixel of the upper row.
    White,
    Black,
}

/// Bits of the black pixels of the upper and of the lower row.
const BLACK: [u8; 2] = [0xaa, 0x55];

impl Checker {
    /// Of the upper and the lower row, the one that has its even pixels, then the one that has the odd ones.
    #[inline(always)]
    fn even_and_odd<T>(self, [upper, lower]: [T; 2]) -> [T; 2] {
        match self {
            Self::White => [upper, lower],
            Self::Black => [lower, upper],
        }
    }
}

/// Even pixels of one eight and odd ones of another.
#[inline(always)]
fn woven<T: Copy>(even: &[T; 8], odd: &[T; 8]) -> [T; 8] {
    std::array::from_fn(|lane| if lane.is_multiple_of(2) { even[lane] } else { odd[lane] })
}

/// Which pixels of the band an eight is.
#[derive(Clone, Copy, Default)]
struct Spot {
    /// First column, a multiple of 8, and row.
    x: usize,
    row: usize,
    /// Those of this row and the next; else eight of this one.
    checker: Option<Checker>,
}

impl Spot {
    /// Its pixels' ids and where they are shaded: at their samples or, if they are inner ones, in their middle.
    #[inline(always)]
    fn pixels(self, frame: &Frame<'_>, target: &Target) -> ([Id; 8], [f32; 8], [f32; 8]) {
        let Self { x, row, checker } = self;
        let at = row * target.stride + x;
        let eight = |at: usize| target.ids[at..].first_chunk::<8>().unwrap_or(&[NOTHING; 8]);
        let Some(checker) = checker else {
            let inner = target.inner[at / 8];
            if inner == 0 || inner == 0xff {
                let (x, y) = place_of(frame, target, x, row);
                return (*eight(at), std::array::from_fn(|lane| x + lane as f32), [y; 8]);
            }
            let places: [_; 8] = std::array::from_fn(|lane| place_of(frame, target, x + lane, row));
            return (*eight(at), places.map(|(x, _)| x), places.map(|(_, y)| y));
        };
        let (x, y) = place_of(frame, target, x, row);
        let [even, odd] = checker.even_and_odd([eight(at), eight(at + target.stride)]);
        let [even_y, odd_y] = checker.even_and_odd([[y; 8], [y + 1.0; 8]]);
        (woven(even, odd), std::array::from_fn(|lane| x + lane as f32), woven(&even_y, &odd_y))
    }
}

/// Of the eights of a batch, in its order.
#[derive(Default)]
struct Spots {
    spots: [Spot; EIGHTS],
    n: usize,
}

impl Spots {
    /// Adds a spot whose pixels show one instance, to the batch too, which is shaded when it is full.
    fn push(&mut self, frame: &Frame<'_>, target: &mut Target, batch: &mut Batch, spot: Spot) {
        let (ids, x, y) = spot.pixels(frame, target);
        batch.push(frame, &ids, 0xff, &x, &y);
        self.spots[self.n] = spot;
        self.n += 1;
        if batch.is_full() {
            self.shade(frame, target, batch);
        }
    }

    /// Shades the batch, and puts its light where its pixels' ids were.
    fn shade(&mut self, frame: &Frame<'_>, target: &mut Target, batch: &mut Batch) {
        let spots = &self.spots[..std::mem::take(&mut self.n)];
        for (eight, spot) in batch.shade(frame).iter().zip(spots) {
            let from = spot.row * target.stride + spot.x;
            let Some(checker) = spot.checker else {
                if let Some(ids) = target.ids[from..].first_chunk_mut::<8>() {
                    *ids = eight.packed;
                }
                continue;
            };
            let [even, odd] = checker.even_and_odd([from, from + target.stride]);
            if let Some(ids) = target.ids[even..].first_chunk_mut::<8>() {
                *ids = woven(&eight.packed, ids);
            }
            if let Some(ids) = target.ids[odd..].first_chunk_mut::<8>() {
                *ids = woven(ids, &eight.packed);
            }
        }
    }
}

/// Where a pixel is shaded.
#[inline(always)]
fn place_of(frame: &Frame<'_>, target: &Target, x: usize, row: usize) -> (f32, f32) {
    let at = row * target.stride + x;
    let is_inner = target.inner[at / 8] >> (at % 8) & 1 == 1;
    let (shift_x, shift_y) = if is_inner { frame.jitter_px } else { (0.0, 0.0) };
    // Signed, for which processors have a conversion.
    (x as i32 as f32 - shift_x, (target.y0 + row as i32) as f32 - shift_y)
}

/// Mixes a band's light with the past, and shows it.
fn show_mixed(
    frame: &Frame<'_>,
    background: &Background,
    past: Option<&Past<'_>>,
    target: &mut Target,
    mixed: &mut [u32],
    out: &mut BandOut<'_>,
) {
    let (width, rows) = (target.width as usize, target.rows as usize);
    let y0 = target.y0 as usize;
    for row in 0..rows {
        // The last column is its own right neighbour.
        let last = row * target.stride + width - 1;
        target.ids[last + 1] = target.ids[last];
        target.depth[last + 1] = target.depth[last];
    }
    for (row, mixed) in mixed.chunks_mut(width).enumerate() {
        match past {
            Some(past) => history::mix(frame.level, past, target, row, mixed),
            None => mixed.copy_from_slice(&target.ids[row * target.stride..][..width]),
        }
    }
    for row in (0..rows).step_by(2) {
        write_background(background, y0, row, n_rows_at(row, rows), width, out);
        let pair = [row, (row + 1).min(rows - 1)];
        let empty = pair.map(|row| background.packed[y0 + row]);
        // Whole blocks of two rows at once, the others one by one.
        let mut from = 0;
        if row + 1 < rows
            && let Bytes::Video { y, u, v } = &mut out.bytes
        {
            let (upper, lower) = y[row * width..(row + 2) * width].split_at_mut(width);
            let at = row / 2 * width.div_ceil(2);
            let (u, v) = (&mut u[at..at + width / 2], &mut v[at..at + width / 2]);
            let mut to = VideoRows { y: [upper, lower], u, v };
            let light = pair.map(|row| &mixed[row * width..(row + 1) * width]);
            encode_packed(frame.level, light, &empty, y0 + row, &mut to);
            from = width & !7;
        }
        for x in (from..width).step_by(8) {
            let n = (width - x).min(8);
            let mut light = empty;
            for (light, row) in light.iter_mut().zip(pair) {
                light[..n].copy_from_slice(&mixed[row * width + x..][..n]);
            }
            // Background is there already.
            if light == empty {
                continue;
            }
            let mut block: Block = [[[0.0; 8]; 3]; 2];
            for (block, light) in block.iter_mut().zip(&light) {
                history::unpacked(frame.level, light, block);
            }
            write_block(frame.level, &mut block, (x, y0 + row), (row, rows, width), 1.0, out);
        }
    }
}

/// Whether all eight show the same instance.
fn is_one_instance(frame: &Frame<'_>, ids: &[Id; 8]) -> bool {
    let (low, high) = ids.iter().fold((NOTHING, 0), |(low, high), id| (low.min(*id), high.max(*id)));
    frame.is_one_instance(low, high)
}

/// Shades pixels whose neighbours show other things, together with others of the same instance: a kernel's price is the
/// same for one pixel as for eight.
fn shade_strays(frame: &Frame<'_>, target: &mut Target, strays: &mut Vec<u64>, batch: &mut Batch) {
    let place = |stray: u64| (stray as usize & 0xffff, stray as usize >> 16 & 0xffff);
    strays.sort_unstable();
    let mut eights = strays.chunk_by(|a, b| a >> 32 == b >> 32).flat_map(|same| same.chunks(8)).peekable();
    while eights.peek().is_some() {
        let mut pushed: [&[u64]; EIGHTS] = [&[]; EIGHTS];
        // The order matters: what is full must not take one more.
        for (pushed, eight) in pushed.iter_mut().zip(eights.by_ref()) {
            *pushed = eight;
            let (mut ids, mut xs, mut ys) = ([NOTHING; 8], [0.0; 8], [0.0; 8]);
            for (lane, stray) in eight.iter().enumerate() {
                let (x, row) = place(*stray);
                ids[lane] = target.ids[row * target.stride + x];
                (xs[lane], ys[lane]) = place_of(frame, target, x, row);
            }
            batch.push(frame, &ids, all_lanes(eight.len()), &xs, &ys);
        }
        for (shaded, eight) in batch.shade(frame).iter().zip(pushed) {
            for (stray, light) in eight.iter().zip(shaded.packed) {
                let (x, row) = place(*stray);
                target.ids[row * target.stride + x] = light;
            }
        }
    }
    strays.clear();
}

/// Puts what is blended before light.
fn put_before(level: Level, packed: &mut [u32; 8], layers: &[Layer; 8]) {
    let mut light = [[0.0; 8]; 3];
    history::unpacked(level, packed, &mut light);
    for (lane, layer) in layers.iter().enumerate() {
        for channel in 0..3 {
            light[channel][lane] = light[channel][lane] * layer[3 + channel] + layer[channel];
        }
    }
    history::packed(level, &light, packed);
}

/// Adds a band's light to the sums, and shows them.
fn show_sample(level: Level, target: &Target, weight: f32, out: &mut BandOut<'_>) {
    let (width, rows) = (target.width as usize, target.rows as usize);
    for row in (0..rows).step_by(2) {
        for x in (0..width).step_by(8) {
            let mut block: Block = [[[0.0; 8]; 3]; 2];
            for (row, block) in (row..rows).zip(&mut block) {
                if let Some(light) = target.ids[row * target.stride + x..].first_chunk::<8>() {
                    history::unpacked(level, light, block);
                }
            }
            let place = (x, target.y0 as usize + row);
            write_block(level, &mut block, place, (row, rows, width), weight, out);
        }
    }
}

/// Shows the sums without drawing.
pub(super) fn show_sums(
    level: Level,
    camera: &Camera,
    rows_per_band: u32,
    weight: f32,
    scratch: &mut Scratch,
    out: &mut BandOut<'_>,
) {
    let mut lap = Lap::start();
    let (y0, rows) = rows_of(camera.height, rows_per_band, out.band);
    let (width, rows) = (camera.width as usize, rows as usize);
    for row in (0..rows).step_by(2) {
        for x in (0..width).step_by(8) {
            let mut block: Block = [[[0.0; 8]; 3]; 2];
            write_block(level, &mut block, (x, y0 as usize + row), (row, rows, width), weight, out);
        }
    }
    lap.end(&mut scratch.times.convert);
}

/// Adds `block` to the sums, if there are any, and writes bytes. `place`: x and y in the picture; `extent`: row in the
/// band, rows of the band, width.
fn write_block(
    level: Level,
    block: &mut Block,
    place: (usize, usize),
    (row, rows, width): (usize, usize, usize),
    weight: f32,
    out: &mut BandOut<'_>,
) {
    let x = place.0;
    let n = (width - x).min(8);
    let n_rows = n_rows_at(row, rows);
    if let Some(sums) = &mut out.sums {
        for (r, block) in block.iter_mut().enumerate().take(n_rows) {
            for (sums, light) in sums.iter_mut().zip(block.iter_mut()) {
                let sums = &mut sums[(row + r) * width + x..][..n];
                for (sum, light) in sums.iter_mut().zip(light.iter_mut()) {
                    *sum += *light;
                    *light = *sum * weight;
                }
            }
        }
    }
    if let Some((left, share)) = out.faded {
        for (r, block) in block.iter_mut().enumerate().take(n_rows) {
            let (mut packed, mut light) = ([0; 8], [[0.0; 8]; 3]);
            packed[..n].copy_from_slice(&left[(row + r) * width + x..][..n]);
            history::unpacked(level, &packed, &mut light);
            for (block, left) in block.as_flattened_mut().iter_mut().zip(light.as_flattened()) {
                *block += (left - *block) * share;
            }
        }
    }
    // What is cut off at an odd edge repeats its neighbour, for the mean of chroma.
    if n_rows == 1 {
        block[1] = block[0];
    }
    if n % 2 == 1 && n < 8 {
        for channel in block.as_flattened_mut() {
            channel[n] = channel[n - 1];
        }
    }
    match &mut out.bytes {
        Bytes::Video { y, u, v } => {
            let mut bytes = VideoBlock::default();
            encode_video(level, block, place, &mut bytes);
            for (r, luma) in bytes.y.iter().enumerate().take(n_rows) {
                y[(row + r) * width + x..][..n].copy_from_slice(&luma[..n]);
            }
            let at = row / 2 * width.div_ceil(2) + x / 2;
            let n = n.div_ceil(2);
            u[at..at + n].copy_from_slice(&bytes.uv[..n]);
            v[at..at + n].copy_from_slice(&bytes.uv[4..4 + n]);
        }
        Bytes::Rgba(rgba) => {
            let mut bytes = [[[0; 8]; 3]; 2];
            encode_rgb(level, block, place, &mut bytes);
            for (r, channels) in bytes.iter().enumerate().take(n_rows) {
                let to = &mut rgba[((row + r) * width + x) * 4..][..n * 4];
                for (lane, pixel) in to.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                    *pixel = [channels[0][lane], channels[1][lane], channels[2][lane], 255];
                }
            }
        }
        Bytes::Nothing => (),
    }
}

/// Rows of a pair of rows that there are.
fn n_rows_at(row: usize, rows: usize) -> usize {
    (rows - row).min(2)
}

/// Fills a pair of rows of a video picture.
fn write_background(
    background: &Background,
    y0: usize,
    row: usize,
    n_rows: usize,
    width: usize,
    out: &mut BandOut<'_>,
) {
    let Bytes::Video { y, u, v } = &mut out.bytes else { return };
    for row in row..row + n_rows {
        let luma = &background.luma[y0 + row];
        let (eights, rest) = y[row * width..(row + 1) * width].as_chunks_mut::<8>();
        eights.fill(*luma);
        rest.copy_from_slice(&luma[..rest.len()]);
    }
    let n = width.div_ceil(2);
    let [cu, cv] = background.chroma[(y0 + row) / 2];
    u[row / 2 * n..][..n].fill(cu);
    v[row / 2 * n..][..n].fill(cv);
}
