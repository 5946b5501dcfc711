//! The frame thread: waits until the picture would differ, renders, encodes, hands over.
//!
//! ```text
//!   wanted (newest camera, size, scene)
//!      │ changed                         at rest for 80 ms          converged
//!   Idle ─────▶ Motion (render, encode) ────────────▶ Rest (refine, encode) ─────▶ Idle
//!                 ▲        changed                        │
//!                 └───────────────────────────────────────┘
//! ```
//!
//! Rendering and encoding share this thread: the renderer uses all cores by itself, so that encoding the last picture
//! beside it would only delay both. One frame is in the making at a time, and the camera is read when it starts.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use encode::{Bitrate, H264Config, Picture, VideoEncoder};
use protocol::live;
use render::{Enlarger, Hit, Look, REFINE_SAMPLES, Renderer, StageTimes, Stats, View, Yuv420};
use scene::math::{Quat, Vec3};
use tokio::sync::mpsc;

use crate::adapt::Adaptive;
use crate::limits::{
    CONVERGED_PIXELS_PER_BYTE, PICKS, REFINE_INTERVAL, REST, REST_PICTURES, REST_PICTURES_MAX,
};
use crate::scenes::Scene;
use crate::session::News;
use crate::size::scaled;

/// What the client should see; the frame thread reads it when it starts a frame.
pub(crate) struct Wanted {
    pub(crate) scene: Arc<Scene>,
    /// The client's camera; `None` frames the model.
    pub(crate) camera: Option<live::Camera>,
    pub(crate) look: Look,
    /// Of the video, in pixels.
    pub(crate) size: (u32, u32),
    /// Newest input: its number and when it arrived.
    pub(crate) input: Option<(u32, Instant)>,
    pub(crate) bitrate: Bitrate,
    /// The next frame has to be a key frame.
    pub(crate) key: bool,
    /// Which connection frames are for; `None`: nobody looks, nothing is drawn.
    pub(crate) viewer: Option<u64>,
    /// Frames wait to be sent: make none now.
    pub(crate) congested: bool,
    revision: u64,
    picks: VecDeque<PickOrder>,
    stop: bool,
}

impl Wanted {
    /// Says that the picture would differ.
    pub(crate) fn touch(&mut self) {
        self.revision += 1;
    }

    /// The camera and size as the renderer takes them.
    pub(crate) fn view(&self) -> View {
        view(&self.scene, self.camera, self.look, self.size)
    }
}

/// `camera`, or one that frames `scene`.
pub(crate) fn view(
    scene: &Scene,
    camera: Option<live::Camera>,
    look: Look,
    (width, height): (u32, u32),
) -> View {
    match camera {
        Some(live::Camera { eye, orientation, fov_y }) => View {
            eye: Vec3::from(eye),
            orientation: Quat::from_array(orientation),
            fov_y,
            width,
            height,
            look,
        },
        None => {
            let (eye, orientation, fov_y) = render::frame_camera(scene.bounds, width as f32 / height as f32);
            View { eye, orientation, fov_y, width, height, look }
        }
    }
}

pub(crate) struct PickOrder {
    pub(crate) viewer: u64,
    pub(crate) request: u32,
    /// From the left and the top, 0 to 1.
    pub(crate) at: (f32, f32),
}

/// An encoded frame with what is told about it.
pub(crate) struct Frame {
    pub(crate) viewer: u64,
    pub(crate) rtp_time: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) meta: live::Frame,
}

pub(crate) enum FrameNews {
    Frame(Frame),
    Picked {
        viewer: u64,
        request: u32,
        hit: Option<Hit>,
        scene: Arc<Scene>,
    },
    /// Drawing this scene failed, and would fail again.
    SceneFailed(Arc<Scene>),
}

/// The frame thread's other end.
pub(crate) struct Frames {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct FramesConfig {
    pub(crate) n_threads: NonZeroUsize,
    pub(crate) max_fps: u32,
    pub(crate) motion_fps: u32,
    pub(crate) size: (u32, u32),
    pub(crate) bitrate: Bitrate,
}

impl Frames {
    pub(crate) fn start(
        config: &FramesConfig,
        scene: Arc<Scene>,
        news: mpsc::Sender<News>,
    ) -> anyhow::Result<Self> {
        let wanted = Wanted {
            scene,
            camera: None,
            look: Look::default(),
            size: config.size,
            input: None,
            bitrate: config.bitrate,
            key: false,
            viewer: None,
            congested: false,
            revision: 1,
            picks: VecDeque::new(),
            stop: false,
        };
        let shared = Arc::new(Shared { wanted: Mutex::new(wanted), changed: Condvar::new() });
        let encoder = new_encoder(config.max_fps, config.bitrate)?;
        let maker = Maker {
            shared: Arc::clone(&shared),
            news,
            n_threads: config.n_threads,
            max_fps: config.max_fps,
            encoder,
            bitrate: config.bitrate,
            picture: Yuv420::default(),
            small: Yuv420::default(),
            enlarger: Enlarger::default(),
            adaptive: Adaptive::new(config.motion_fps.min(config.max_fps)),
            shown: None,
            epoch: Instant::now(),
            started_at: None,
            last_rtp_time: 0,
            frame_id: 0,
            rest: Rest::default(),
            moved: Moved::default(),
        };
        let thread = std::thread::Builder::new().name("host-frames".into()).spawn(move || maker.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Changes what is wanted, and wakes the thread.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Wanted) -> T) -> T {
        let result = change(&mut self.shared.lock());
        self.shared.changed.notify_one();
        result
    }

    /// Reads what is wanted.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Wanted) -> T) -> T {
        read(&self.shared.lock())
    }

    /// Asks what is at a point of the picture; false if too many wait.
    pub(crate) fn pick(&self, order: PickOrder) -> bool {
        self.update(|wanted| {
            let room = wanted.picks.len() < PICKS;
            if room {
                wanted.picks.push_back(order);
            }
            room
        })
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.update(|wanted| wanted.stop = true);
        if let Some(thread) = self.thread.take() {
            // At most one frame long; a panic in there was reported when it happened.
            let _panicked = thread.join().is_err();
        }
    }
}

fn new_encoder(max_fps: u32, bitrate: Bitrate) -> Result<Box<dyn VideoEncoder>, encode::EncodeError> {
    encode::h264(&H264Config { bitrate, max_fps: max_fps as f32 })
}

/// What was drawn last.
struct Shown {
    viewer: u64,
    scene: Arc<Scene>,
    view: View,
    revision: u64,
    input_seq: u32,
    stats: Stats,
}

/// How far the pictures at rest are.
#[derive(Default)]
struct Rest {
    /// Samples in the picture.
    n_samples: u32,
    /// Pictures that were sent.
    n_pictures: u32,
    /// Pictures that still improve something.
    n_left: u32,
    next_at: Option<Instant>,
}

/// What to do next.
enum Job {
    Stop,
    Pick(PickOrder, Arc<Scene>, View),
    /// Something changed.
    Motion {
        scene: Arc<Scene>,
        view: View,
        revision: u64,
        input: Option<(u32, Instant)>,
        orders: Orders,
    },
    /// Nothing changed: better pixels.
    Refine(Orders),
    /// The same picture again, for better encoding or as a key frame.
    Again(Orders),
}

/// What each encoded frame needs to know.
#[derive(Clone, Copy)]
struct Orders {
    viewer: u64,
    key: bool,
    bitrate: Bitrate,
}

struct Maker {
    shared: Arc<Shared>,
    news: mpsc::Sender<News>,
    n_threads: NonZeroUsize,
    max_fps: u32,
    encoder: Box<dyn VideoEncoder>,
    bitrate: Bitrate,
    picture: Yuv420,
    /// What was drawn at less than the video's size.
    small: Yuv420,
    enlarger: Enlarger,
    adaptive: Adaptive,
    shown: Option<Shown>,
    epoch: Instant,
    started_at: Option<Instant>,
    last_rtp_time: u64,
    frame_id: u32,
    rest: Rest,
    moved: Moved,
}

/// What a movement's frames took, for the log.
#[derive(Default)]
struct Moved {
    n_frames: u32,
    wall: Duration,
    times: StageTimes,
}

impl Moved {
    fn add(&mut self, stats: &Stats) {
        self.n_frames += 1;
        self.wall += stats.wall;
        self.times += stats.times;
    }

    /// Logs means, once per movement.
    fn tell(&mut self) {
        let Self { n_frames, wall, times } = std::mem::take(self);
        if n_frames > 0 {
            let stages =
                times.named().map(|(name, time)| format!("{name} {}", (time / n_frames).as_micros()));
            let stages_us = stages.join(", ");
            tracing::debug!(
                n_frames,
                wall_us = (wall / n_frames).as_micros(),
                stages_us,
                "a movement was drawn"
            );
        }
    }
}

impl Maker {
    fn run(mut self) {
        let mut renderer = Renderer::new(self.n_threads);
        self.warm_up(&mut renderer);
        loop {
            let job = self.next_job();
            let scene = match &job {
                Job::Stop => return,
                Job::Pick(_, scene, _) | Job::Motion { scene, .. } => Some(Arc::clone(scene)),
                Job::Refine(_) | Job::Again(_) => self.shown.as_ref().map(|shown| Arc::clone(&shown.scene)),
            };
            let done = catch_unwind(AssertUnwindSafe(|| self.work(&mut renderer, job)));
            let news = match (done, scene) {
                (Ok(news), _) => news,
                (Err(_panic), scene) => {
                    // Whatever it left behind is not trusted.
                    renderer = Renderer::new(self.n_threads);
                    self.shown = None;
                    self.rest = Rest::default();
                    scene.map(FrameNews::SceneFailed)
                }
            };
            // A full channel holds the thread back until the session has taken what there is.
            if let Some(news) = news
                && self.news.blocking_send(News::Frames(news)).is_err()
            {
                return;
            }
        }
    }

    /// Touches all code and memory that the first frame needs, so that it does not pay for it.
    fn warm_up(&mut self, renderer: &mut Renderer) {
        let (scene, view, bitrate) = {
            let wanted = self.shared.lock();
            (Arc::clone(&wanted.scene), wanted.view(), wanted.bitrate)
        };
        let result = catch_unwind(AssertUnwindSafe(|| {
            renderer.render(&scene.render, &view, &mut self.picture);
            self.encode(true).map(|encoded| encoded.bytes.len())
        }));
        match result {
            Ok(Ok(n_bytes)) => {
                tracing::debug!(n_bytes, assembly = encode::has_assembly(), "the encoder works")
            }
            Ok(Err(error)) => tracing::error!(error = chain(&error), "the encoder does not work"),
            Err(_panic) => tracing::error!("the renderer does not work"),
        }
        // The size usually stays, and then so does the encoder.
        let _fresh = new_encoder(self.max_fps, bitrate).map(|encoder| self.encoder = encoder).is_ok();
    }

    /// Waits until there is something to do.
    fn next_job(&mut self) -> Job {
        let shared = Arc::clone(&self.shared);
        let mut wanted = shared.lock();
        loop {
            if wanted.stop {
                return Job::Stop;
            }
            if let Some(pick) = wanted.picks.pop_front() {
                return Job::Pick(pick, Arc::clone(&wanted.scene), wanted.view());
            }
            let due = self.due(&wanted);
            let now = Instant::now();
            wanted = match due {
                Some(at) if at <= now => return self.take(&mut wanted),
                Some(at) => {
                    shared.changed.wait_timeout(wanted, at - now).unwrap_or_else(PoisonError::into_inner).0
                }
                None => shared.changed.wait(wanted).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// When the next frame may start; `None` if none is needed.
    fn due(&self, wanted: &Wanted) -> Option<Instant> {
        let viewer = wanted.viewer?;
        if wanted.congested {
            return None;
        }
        // A little less than the frame time: input comes at the client's own rhythm, and waiting for ours would beat
        // against it.
        let interval = (Duration::from_secs(1) / self.max_fps.max(1)).max(self.adaptive.interval()) * 9 / 10;
        let soonest = self.started_at.map_or_else(Instant::now, |started| started + interval);
        let stale = self
            .shown
            .as_ref()
            .is_none_or(|shown| shown.revision != wanted.revision || shown.viewer != viewer);
        if stale || wanted.key {
            return Some(soonest);
        }
        if self.rest.n_left > 0 { self.rest.next_at.map(|at| at.max(soonest)) } else { None }
    }

    /// Takes the job that is due; the camera is read here, as late as can be.
    fn take(&mut self, wanted: &mut Wanted) -> Job {
        let viewer = wanted.viewer.unwrap_or(0);
        let new_viewer = self.shown.as_ref().is_none_or(|shown| shown.viewer != viewer);
        let key = std::mem::take(&mut wanted.key) || new_viewer;
        let orders = Orders { viewer, key, bitrate: wanted.bitrate };
        let same = self
            .shown
            .as_ref()
            .is_some_and(|shown| shown.revision == wanted.revision && shown.viewer == viewer);
        if !same {
            let (scene, view) = (Arc::clone(&wanted.scene), wanted.view());
            return Job::Motion { scene, view, revision: wanted.revision, input: wanted.input, orders };
        }
        if key {
            // The key frame begins with less quality: repeat until it has converged again.
            self.rest.n_left = self.rest.n_left.max(REST_PICTURES);
            self.rest.next_at = Some(Instant::now() + REFINE_INTERVAL);
            return Job::Again(orders);
        }
        self.rest.n_left -= 1;
        self.rest.next_at = Some(Instant::now() + REFINE_INTERVAL);
        if self.rest.n_samples < REFINE_SAMPLES { Job::Refine(orders) } else { Job::Again(orders) }
    }

    fn work(&mut self, renderer: &mut Renderer, job: Job) -> Option<FrameNews> {
        let start = Instant::now();
        match job {
            Job::Stop => None,
            Job::Pick(order, scene, view) => {
                let (x, y) = (order.at.0 * view.width as f32 - 0.5, order.at.1 * view.height as f32 - 0.5);
                let hit = renderer.pick(&scene.render, &view, x, y);
                Some(FrameNews::Picked { viewer: order.viewer, request: order.request, hit, scene })
            }
            Job::Motion { scene, view, revision, input, orders } => {
                self.started_at = Some(start);
                let stats = self.draw(renderer, &scene, &view);
                self.moved.add(&stats);
                let old_seq =
                    self.shown.as_ref().filter(|old| old.viewer == orders.viewer).map(|old| old.input_seq);
                let input_seq = input.map_or(0, |(seq, _)| seq);
                // Only a frame that input caused has waited for it.
                let queue =
                    input.filter(|_| old_seq != Some(input_seq)).map(|(_, at)| start.duration_since(at));
                self.shown = Some(Shown { viewer: orders.viewer, scene, view, revision, input_seq, stats });
                let n_left = REFINE_SAMPLES.max(REST_PICTURES);
                self.rest = Rest { n_samples: 0, n_pictures: 0, n_left, next_at: Some(start + REST) };
                let step = self.adaptive.step();
                let flags = live::Frame::flags_of_step(step.number);
                let news = self.finish(start, queue.unwrap_or_default(), orders, flags);
                self.adaptive.frame(self.epoch.elapsed(), start.elapsed());
                let next = self.adaptive.step();
                if next != step {
                    tracing::debug!(from = step.number, to = next.number, "the quality of motion changes");
                }
                news
            }
            Job::Refine(orders) => {
                self.moved.tell();
                self.started_at = Some(start);
                let shown = self.shown.as_mut()?;
                self.rest.n_samples += 1;
                shown.stats =
                    renderer.refine(&shown.scene.render, &shown.view, self.rest.n_samples, &mut self.picture);
                self.finish(start, Duration::ZERO, orders, live::Frame::FLAG_REFINED)
            }
            Job::Again(orders) => {
                self.started_at = Some(start);
                self.finish(start, Duration::ZERO, orders, live::Frame::FLAG_REFINED)
            }
        }
    }

    /// Draws a frame in motion, as fine as there is time for; the picture has the view's size.
    fn draw(&mut self, renderer: &mut Renderer, scene: &Scene, view: &View) -> Stats {
        let other = |shown: &Shown| {
            !std::ptr::eq(&raw const *shown.scene, scene)
                || (shown.view.width, shown.view.height) != (view.width, view.height)
        };
        if self.shown.as_ref().is_none_or(other) {
            self.adaptive.reset();
        }
        let step = self.adaptive.step();
        renderer.set_motion_detail(step.detail);
        let (width, height) = scaled((view.width, view.height), step.scale);
        if (width, height) == (view.width, view.height) {
            return renderer.render(&scene.render, view, &mut self.picture);
        }
        let stats = renderer.render(&scene.render, &View { width, height, ..*view }, &mut self.small);
        self.enlarger.enlarge(&self.small, (view.width, view.height), &mut self.picture);
        stats
    }

    /// Encodes the picture and says what it is.
    fn finish(&mut self, start: Instant, queue: Duration, orders: Orders, flags: u16) -> Option<FrameNews> {
        let rendered = Instant::now();
        if orders.bitrate != self.bitrate {
            self.bitrate = orders.bitrate;
            if let Err(error) = self.encoder.set_bitrate(orders.bitrate) {
                tracing::warn!(error = chain(&error), "the bitrate was not taken");
            }
        }
        let encoded = match self.encode(orders.key) {
            Ok(encoded) => encoded,
            Err(error) => {
                tracing::error!(error = chain(&error), "a frame was not encoded");
                // A fresh encoder begins with a key frame. Not at once: a permanent fault must not spin.
                self.encoder = new_encoder(self.max_fps, orders.bitrate).ok()?;
                self.started_at = Some(Instant::now() + Duration::from_millis(200));
                self.shared.lock().key = true;
                return None;
            }
        };
        let shown = self.shown.as_ref()?;
        if flags & live::Frame::FLAG_REFINED != 0 {
            let n_pixels = shown.view.width * shown.view.height;
            let converged = encoded.bytes.len() < (n_pixels / CONVERGED_PIXELS_PER_BYTE) as usize;
            self.rest.n_pictures += 1;
            if self.rest.n_left == 0 && !converged && self.rest.n_pictures < REST_PICTURES_MAX {
                self.rest.n_left = 1;
            }
        }
        let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        // 90 kHz are 9 ticks in 100 µs.
        let ticks =
            u64::try_from(start.duration_since(self.epoch).as_micros()).unwrap_or(u64::MAX / 9) * 9 / 100;
        self.last_rtp_time = ticks.max(self.last_rtp_time + 1);
        self.frame_id = self.frame_id.wrapping_add(1);
        let view = &shown.view;
        let pixels = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        let meta = live::Frame {
            frame_id: self.frame_id,
            flags: flags | if encoded.key { live::Frame::FLAG_KEY } else { 0 },
            rtp_time: u32::try_from(self.last_rtp_time & u64::from(u32::MAX)).unwrap_or(0),
            input_seq: shown.input_seq,
            camera: live::Camera {
                eye: view.eye.to_array(),
                orientation: view.orientation.to_array(),
                fov_y: view.fov_y,
            },
            near_m: shown.stats.near_m,
            far_m: shown.stats.far_m,
            width: pixels(view.width),
            height: pixels(view.height),
            queue_us: micros(queue),
            render_us: micros(rendered.duration_since(start)),
            encode_us: micros(rendered.elapsed()),
            triangles: shown.stats.triangles,
            bytes: u32::try_from(encoded.bytes.len()).unwrap_or(u32::MAX),
        };
        let frame = Frame { viewer: orders.viewer, rtp_time: self.last_rtp_time, bytes: encoded.bytes, meta };
        Some(FrameNews::Frame(frame))
    }

    fn encode(&mut self, key: bool) -> Result<encode::Encoded, encode::EncodeError> {
        let picture = &self.picture;
        self.encoder.encode(
            Picture {
                width: picture.width,
                height: picture.height,
                y: &picture.y,
                u: &picture.u,
                v: &picture.v,
                y_stride: picture.width as usize,
                uv_stride: picture.width.div_ceil(2) as usize,
                time: self.epoch.elapsed(),
            },
            key,
        )
    }
}

/// An error with its causes, for a log line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
