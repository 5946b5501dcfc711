//! The CPU renderer: a visibility buffer by bands, shaded once per pixel.
//!
//! ```text
//! frame: camera, culling, bins ─► band × n (any thread): raster ─► shade ─► bytes
//! ```
//! A picture at rest depends on scene, view and sample alone, one in motion also on the pictures in motion before it
//! ([`history`]); neither depends on threads.

mod background;
mod band;
mod coating;
mod frame;
mod history;
mod lamps;
mod pick;
mod pool;
mod raster;
mod sample;
mod shade;
mod split_sum;
mod surface;
#[cfg(test)]
mod tests;
mod tiles;
mod times;
mod vector;
mod video;

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use scene::math::Vec3;

use self::background::Background;
use self::band::{BandOut, Bytes, Scratch, draw_band, show_sums};
use self::frame::{Detail, Frame, FrameBuffers, LOD_ERROR_PX};
use self::history::{History, Past};
use self::pool::Pool;
use self::split_sum::SplitSum;
pub use self::times::StageTimes;
use crate::clusters::RenderScene;
use crate::light::Environment;
use crate::look::{MotionDetail, Sky};
use crate::simd::Level;
use crate::view::{Camera, View};

/// Samples that make up a finished picture at rest.
pub const REFINE_SAMPLES: u32 = 16;
/// In motion, pixels within smooth surfaces whose neighbours differ by no more than this lie between them: square roots of
/// light, of 2047, so six of the 255 steps of a screen.
const CONTRAST_MAX: i32 = 48;
/// Most samples of a still.
const STILL_SAMPLES_MAX: u32 = 256;

/// A picture as encoders take it: BT.709, limited range, rows from the top, strides `width` and `width.div_ceil(2)`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Yuv420 {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Luma, `width * height`.
    pub y: Vec<u8>,
    /// Blue difference, half as wide and high (rounded up).
    pub u: Vec<u8>,
    /// Red difference, as `u`.
    pub v: Vec<u8>,
}

impl Yuv420 {
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        (self.width, self.height) = (width, height);
        let n_chroma = width.div_ceil(2) as usize * height.div_ceil(2) as usize;
        self.y.resize(width as usize * height as usize, 0);
        self.u.resize(n_chroma, 0);
        self.v.resize(n_chroma, 0);
    }
}

/// What a frame showed and took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stats {
    /// Triangles of the clusters that were drawn.
    pub triangles: u32,
    /// Clusters that survived culling.
    pub clusters: u32,
    /// How often one of them was skipped because it lay behind others; each band of the picture counts.
    pub hidden: u32,
    /// Nearest distance that is shown, metres.
    pub near_m: f32,
    /// Distance beyond which there is nothing, metres.
    pub far_m: f32,
    /// From the call to the picture.
    pub wall: Duration,
    /// Where the workers spent it. What is missing to `wall` times the number of threads is waiting: for a stage that one
    /// thread does alone, or for the last band.
    pub times: StageTimes,
}

/// A surface point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// World space, metres.
    pub position: Vec3,
    /// Index of the model's node.
    pub node: u32,
}

/// Draws scenes, with threads of its own.
#[derive(Debug)]
pub struct Renderer {
    pool: Pool,
    level: Level,
    motion_detail: MotionDetail,
    buffers: FrameBuffers,
    /// By worker.
    scratch: Vec<Scratch>,
    /// Empty between frames; here for its memory.
    outs: Vec<BandOut<'static>>,
    /// Pixels of the largest band for which there is room.
    room: u32,
    background: Background,
    sums: Sums,
    history: History,
}

/// Samples so far of a picture at rest.
#[derive(Debug, Default)]
struct Sums {
    /// Of which scene and view.
    of: Option<(u64, View)>,
    n: u32,
    /// Red, green, blue.
    light: [Vec<f32>; 3],
}

impl Renderer {
    /// A renderer with `n_threads` threads; the caller's is one of them.
    pub fn new(n_threads: NonZeroUsize) -> Self {
        Self::with_level(n_threads, Level::detect())
    }

    /// As on a processor for which there are no kernels of their own: to measure and to compare.
    pub fn portable(n_threads: NonZeroUsize) -> Self {
        Self::with_level(n_threads, Level::Portable)
    }

    fn with_level(n_threads: NonZeroUsize, level: Level) -> Self {
        let pool = Pool::new(n_threads);
        // The first frame should not wait for its light.
        Environment::of_sky(Sky::default(), n_threads);
        SplitSum::get();
        Self {
            level,
            motion_detail: MotionDetail::default(),
            buffers: FrameBuffers::default(),
            scratch: (0..n_threads.get()).map(|_| Scratch::default()).collect(),
            outs: Vec::new(),
            room: 0,
            background: Background::default(),
            sums: Sums::default(),
            history: History::default(),
            pool,
        }
    }

    /// How fine following frames of [`Self::render`] are.
    pub fn set_motion_detail(&mut self, detail: MotionDetail) {
        self.motion_detail = detail;
    }

    /// Draws a frame in motion into `out`, which takes the view's size. Where surfaces were seen by earlier calls, edges
    /// are smoother; another scene, size or light and a camera that jumps start anew.
    pub fn render(&mut self, scene: &RenderScene, view: &View, out: &mut Yuv420) -> Stats {
        let mut history = std::mem::take(&mut self.history);
        let jitter_px = history.begin(scene.id, view, distance_m(scene, view));
        let camera = Camera::of(view, jitter_px);
        out.resize(camera.width, camera.height);
        let detail = match self.motion_detail {
            MotionDetail::Full => Detail {
                full: false,
                texture_bias: 0.0,
                lod_error_px: LOD_ERROR_PX,
                contrast_max: CONTRAST_MAX,
            },
            MotionDetail::Coarse => Detail {
                full: false,
                texture_bias: 0.25,
                lod_error_px: 3.0 * LOD_ERROR_PX,
                contrast_max: i32::MAX,
            },
        };
        let stats = self.draw(scene, camera, detail, None, Output::Motion(out, &mut history));
        history.finish();
        self.history = history;
        stats
    }

    /// Draws the average of samples 1 to `sample` of [`REFINE_SAMPLES`], each at another place within its pixel.
    /// Following calls with the same scene and view and the next sample take one frame each; any other call takes
    /// `sample` frames. If the last frame in motion was of the same scene and view, it fades out as samples come in: the
    /// first few alone would be rougher than it was.
    pub fn refine(&mut self, scene: &RenderScene, view: &View, sample: u32, out: &mut Yuv420) -> Stats {
        let sample = sample.clamp(1, REFINE_SAMPLES);
        let camera = Camera::of(view, (0.0, 0.0));
        out.resize(camera.width, camera.height);
        let mut sums = std::mem::take(&mut self.sums);
        if sums.of != Some((scene.id, *view)) || sums.n > sample {
            sums.of = Some((scene.id, *view));
            sums.n = 0;
            let n = out.y.len();
            for light in &mut sums.light {
                light.clear();
                light.resize(n, 0.0);
            }
        }
        let history = std::mem::take(&mut self.history);
        let faded = history.shown(scene.id, view).map(|(light, n)| (light, share_of_motion(n, sample)));
        let mut stats = None;
        let began = Instant::now();
        while sums.n < sample {
            sums.n += 1;
            let last = sums.n == sample;
            let output = if last { Output::Rest(&mut *out, faded) } else { Output::Nothing };
            stats = Some(self.draw_sample(scene, view, sums.n, &mut sums.light, output));
        }
        let stats = stats.unwrap_or_else(|| {
            self.show(&camera, sums.n, &mut sums.light, Output::Rest(&mut *out, faded));
            let (pool, scratch) = (&mut self.pool, &mut self.scratch[..]);
            let frame =
                Frame::prepare(scene, camera, self.level, Detail::FULL, pool, scratch, &mut self.buffers);
            let stats = stats_of(&frame, began, scratch);
            frame.finish(&mut self.buffers);
            stats
        });
        self.history = history;
        self.sums = sums;
        stats
    }

    /// Draws the average of `n_samples` (1 to 256) as RGBA8 sRGB, rows from the top, alpha 255.
    pub fn still(&mut self, scene: &RenderScene, view: &View, n_samples: u32) -> Vec<u8> {
        let n_samples = n_samples.clamp(1, STILL_SAMPLES_MAX);
        let camera = Camera::of(view, (0.0, 0.0));
        let n = camera.width as usize * camera.height as usize;
        let mut light = [vec![0.0; n], vec![0.0; n], vec![0.0; n]];
        let mut rgba = vec![0; n * 4];
        for sample in 1..=n_samples {
            let output = if sample == n_samples { Output::Rgba(&mut rgba) } else { Output::Nothing };
            self.draw_sample(scene, view, sample, &mut light, output);
        }
        rgba
    }

    /// The surface below pixel position (`x`, `y`), where (0, 0) is the top left corner of the picture.
    pub fn pick(&mut self, scene: &RenderScene, view: &View, x: f32, y: f32) -> Option<Hit> {
        pick::pick(scene, view, x, y)
    }

    /// Adds a sample to `sums`.
    fn draw_sample(
        &mut self,
        scene: &RenderScene,
        view: &View,
        sample: u32,
        light: &mut [Vec<f32>; 3],
        output: Output<'_>,
    ) -> Stats {
        let jitter_px = (halton(sample, 2) - 0.5, halton(sample, 3) - 0.5);
        let camera = Camera::of(view, jitter_px);
        // Many samples make a pixel: each may be sharper than a pixel alone could carry.
        let detail = Detail { texture_bias: -0.75, ..Detail::FULL };
        let sums = Some((light, 1.0 / sample as f32));
        self.draw(scene, camera, detail, sums, output)
    }

    fn draw(
        &mut self,
        scene: &RenderScene,
        camera: Camera,
        detail: Detail,
        sums: Option<(&mut [Vec<f32>; 3], f32)>,
        output: Output<'_>,
    ) -> Stats {
        let began = Instant::now();
        if self.background.height() != camera.height as usize {
            self.background = Background::new(self.level, camera.height);
        }
        let (pool, scratch) = (&mut self.pool, &mut self.scratch[..]);
        let frame = Frame::prepare(scene, camera, self.level, detail, pool, scratch, &mut self.buffers);
        let weight = sums.as_ref().map_or(1.0, |(_, weight)| *weight);
        let (past, whole) = output.open(frame.near);
        let mut outs = emptied(std::mem::take(&mut self.outs));
        cut(&camera, frame.bands.rows, sums.map(|(light, _)| light), whole, &mut outs);
        // Bands with more to do first, so that no thread is left alone with a large one at the end.
        outs.sort_unstable_by_key(|out| (std::cmp::Reverse(frame.bands.clusters(out.band).len()), out.band));
        let background = &self.background;
        if frame.bands.rows * camera.width > self.room {
            self.room = frame.bands.rows * camera.width;
            scratch.iter_mut().for_each(|scratch| scratch.reserve(camera.width, frame.bands.rows));
        }
        pool.run_each(scratch, &mut outs, |scratch, _, out| {
            draw_band(&frame, background, past.as_ref(), weight, scratch, out);
        });
        self.outs = emptied(outs);
        let stats = stats_of(&frame, began, scratch);
        frame.finish(&mut self.buffers);
        stats
    }

    /// Shows sums of `n` samples.
    fn show(&mut self, camera: &Camera, n: u32, light: &mut [Vec<f32>; 3], output: Output<'_>) {
        let rows = frame::rows_per_band(camera);
        let mut outs = emptied(std::mem::take(&mut self.outs));
        cut(camera, rows, Some(light), output.open(1.0).1, &mut outs);
        let level = self.level;
        self.pool.run_each(&mut self.scratch, &mut outs, |scratch, _, out| {
            show_sums(level, camera, rows, 1.0 / n as f32, scratch, out);
        });
        self.outs = emptied(outs);
    }
}

/// An empty vector for bands of another picture, in the same memory: collecting happens in place.
fn emptied<'b>(mut outs: Vec<BandOut<'_>>) -> Vec<BandOut<'b>> {
    outs.clear();
    outs.into_iter().map_while(|_| None).collect()
}

/// Where a whole picture goes.
enum Output<'a> {
    Motion(&'a mut Yuv420, &'a mut History),
    /// With what motion left, and its share.
    Rest(&'a mut Yuv420, Option<(&'a [u32], f32)>),
    Rgba(&'a mut [u8]),
    Nothing,
}

/// The parts of an [`Output`].
#[derive(Default)]
struct Whole<'a> {
    video: Option<&'a mut Yuv420>,
    rgba: Option<&'a mut [u8]>,
    next: Option<&'a mut [u32]>,
    faded: Option<(&'a [u32], f32)>,
}

impl<'a> Output<'a> {
    /// What the frame reads of earlier ones, and what it writes. `near`: the frame's nearest distance.
    fn open(self, near: f32) -> (Option<Past<'a>>, Whole<'a>) {
        match self {
            Self::Motion(video, history) => {
                let (past, next) = history.split(near);
                (past, Whole { video: Some(video), next: Some(next), ..Whole::default() })
            }
            Self::Rest(video, faded) => (None, Whole { video: Some(video), faded, ..Whole::default() }),
            Self::Rgba(rgba) => (None, Whole { rgba: Some(rgba), ..Whole::default() }),
            Self::Nothing => (None, Whole::default()),
        }
    }
}

/// Cuts a picture into bands, each for one thread.
fn cut<'a>(
    camera: &Camera,
    rows_per_band: u32,
    sums: Option<&'a mut [Vec<f32>; 3]>,
    whole: Whole<'a>,
    outs: &mut Vec<BandOut<'a>>,
) {
    let width = camera.width as usize;
    let rows = rows_per_band as usize;
    let n_bands = (camera.height as usize).div_ceil(rows);
    let mut sums = sums.map(|sums| sums.each_mut().map(|sums| sums.chunks_mut(width * rows)));
    let mut next = whole.next.map(|light| light.chunks_mut(width * rows));
    let mut faded = whole.faded.map(|(light, share)| (light.chunks(width * rows), share));
    let mut rest = match (whole.video, whole.rgba) {
        (Some(Yuv420 { y, u, v, .. }), _) => Bytes::Video { y, u, v },
        (None, Some(rgba)) => Bytes::Rgba(rgba),
        (None, None) => Bytes::Nothing,
    };
    // Bands have an even number of rows, so chroma is cut where luma is.
    let n_chroma = width.div_ceil(2) * rows / 2;
    for band in 0..n_bands {
        let bytes = match &mut rest {
            Bytes::Video { y, u, v } => {
                let (y, u, v) = (first(y, width * rows), first(u, n_chroma), first(v, n_chroma));
                Bytes::Video { y, u, v }
            }
            Bytes::Rgba(rgba) => Bytes::Rgba(first(rgba, width * rows * 4)),
            Bytes::Nothing => Bytes::Nothing,
        };
        let sums = sums.as_mut().map(|sums| sums.each_mut().map(|sums| sums.next().unwrap_or_default()));
        let next = next.as_mut().map(|light| light.next().unwrap_or_default());
        let faded = faded.as_mut().map(|(light, share)| (light.next().unwrap_or_default(), *share));
        outs.push(BandOut { band, sums, bytes, next, faded });
    }
}

/// Takes the first `n` of `rest`, or what there is.
fn first<'a>(rest: &mut &'a mut [u8], n: usize) -> &'a mut [u8] {
    let n = n.min(rest.len());
    rest.split_off_mut(..n).unwrap_or_default()
}

/// How far the camera is from the middle of the scene, metres; at least the scene's radius.
fn distance_m(scene: &RenderScene, view: &View) -> f64 {
    let (center, radius) = scene.bounds.map_or((Vec3::ZERO, 1.0), |b| (b.center(), b.radius()));
    f64::from(center.distance(view.eye).max(radius))
}

/// The share that motion's picture of `n` samples has beside `sample` of a picture at rest: as if it had that many, ever
/// fewer, and none beside the last.
fn share_of_motion(n: u32, sample: u32) -> f32 {
    let left = n as f32 * (1.0 - sample as f32 / REFINE_SAMPLES as f32);
    left / (left + sample as f32)
}

/// Takes the workers' times.
fn stats_of(frame: &Frame<'_>, began: Instant, scratch: &mut [Scratch]) -> Stats {
    let count = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let mut times = StageTimes::default();
    let mut hidden = 0;
    for scratch in scratch {
        times += std::mem::take(&mut scratch.times);
        hidden += std::mem::take(&mut scratch.n_hidden);
    }
    times.place += frame.setup;
    Stats {
        triangles: count(frame.n_triangles),
        clusters: count(frame.visible.len() as u64),
        hidden,
        near_m: frame.near,
        far_m: frame.far,
        wall: began.elapsed(),
        times,
    }
}

/// Element `n` (from 1) of the Halton sequence (Halton, Numerische Mathematik 2, 1960), 0 to 1.
fn halton(mut n: u32, base: u32) -> f32 {
    let (mut out, mut digit) = (0.0, 1.0);
    while n > 0 {
        digit /= base as f32;
        out += digit * (n % base) as f32;
        n /= base;
    }
    out
}
