//! What a frame is made of, before a pixel is drawn: the camera in each instance's mesh space, and the clusters that can
//! be seen, by band.
//!
//! The picture is cut into horizontal bands, each small enough that depth and ids of its pixels stay in a core's L2
//! cache. Culling happens in mesh space, where bounding spheres are spheres whatever the instance's transform.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::{Duration, Instant};

use scene::AlphaMode;
use scene::math::{DVec3, DVec4, Vec3, Vec4};

use super::band::Scratch;
use super::pool::Pool;
use super::split_sum::SplitSum;
use super::tiles::Rect;
use super::times::Lap;
use crate::clusters::{Cluster, Geometry, Instance, Lamp, RenderScene, as_range, index, narrow};
use crate::light::Environment;
use crate::look::ToneMapping;
use crate::simd::Level;
use crate::view::Camera;

/// Pixels of a band: depth and ids take 384 KiB. Fewer would draw more clusters twice, at the edge of two bands.
const BAND_PIXELS: u32 = 48 * 1024;
/// Clusters that one task culls.
const CULL_TASK: u32 = 1024;
/// Instances that one task looks at.
const PLACE_TASK: usize = 128;
/// Screen coordinates that fixed point can hold, in pixels.
pub(super) const GUARD_PX: f32 = (1 << 19) as f32;
/// How far a coarser level may be from the full surface, in pixels.
pub(super) const LOD_ERROR_PX: f32 = 0.6;

/// A triangle that is seen: visible cluster << 7 | triangle; or nothing.
pub(super) type Id = u32;
/// Nothing is seen here.
pub(super) const NOTHING: Id = u32::MAX;

/// Everything the kernels read.
pub(super) struct Frame<'a> {
    pub(super) scene: &'a RenderScene,
    pub(super) environment: &'a Environment,
    pub(super) split_sum: &'a SplitSum,
    /// Cosine and sine of the surroundings' turn.
    pub(super) sky_turn: [f32; 2],
    pub(super) tone_mapping: ToneMapping,
    pub(super) level: Level,
    pub(super) camera: Camera,
    /// [`Camera::jitter_px`], which is asked for each eight pixels.
    pub(super) jitter_px: (f32, f32),
    /// Ray through pixel (x, y) in world space, of any length: `ray[0] + ray[1] * x + ray[2] * y`.
    pub(super) ray: [Vec3; 3],
    /// Added to the level of detail of textures.
    pub(super) lod_bias: f32,
    /// Textures and reflections blend levels of detail.
    pub(super) smooth: bool,
    /// See [`super::history::fill`].
    pub(super) contrast_max: i32,
    pub(super) near: f32,
    pub(super) far: f32,
    /// By instance; stale for those that are not visible.
    pub(super) placed: Vec<Placed>,
    pub(super) visible: Vec<Visible>,
    /// By visible cluster, where its triangles and vertices are: what shading looks up for each pixel.
    pub(super) corners: Vec<[u32; 2]>,
    pub(super) bands: Bands,
    /// As many as the scene has.
    pub(super) lights: Vec<Shining>,
    /// Triangles of the visible clusters.
    pub(super) n_triangles: u64,
    /// What it took before the first task.
    pub(super) setup: Duration,
}

/// A light as the camera sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shining {
    pub(super) lamp: Lamp,
    /// Where it is, from the eye, world axes; not for those without position.
    pub(super) from_eye: Vec3,
}

/// Rows of each band, and which visible clusters touch it.
#[derive(Debug, Default)]
pub(super) struct Bands {
    pub(super) rows: u32,
    pub(super) n: u32,
    /// Start of each band in `clusters`, and the end.
    starts: Vec<u32>,
    /// Indices of [`Visible`], within a band from near to far.
    clusters: Vec<u32>,
    /// All of them, from near to far.
    order: Vec<u32>,
}

impl Bands {
    pub(super) fn clusters(&self, band: usize) -> &[u32] {
        &self.clusters[self.starts[band] as usize..self.starts[band + 1] as usize]
    }
}

/// A cluster of an instance that is (probably) seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visible {
    pub(super) instance: u32,
    pub(super) cluster: u32,
    /// As in the cluster.
    pub(super) triangles_at: u32,
    pub(super) vertices_at: u32,
    first_band: u16,
    last_band: u16,
    /// Pixels that it may cover; unless it is clipped.
    pub(super) rect: Rect,
    /// Its nearest point is no nearer than this; unless it is clipped.
    pub(super) depth: f32,
    /// Crosses the near plane or leaves the range of fixed point: triangles must be clipped.
    pub(super) clipped: bool,
    /// As in the instance.
    pub(super) mirrored: bool,
    /// As in the material.
    pub(super) double_sided: bool,
    pub(super) alpha_mode: AlphaMode,
}

/// The camera as an instance's mesh space sees it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Placed {
    /// Some of the instance may be in the picture; if not, all else is stale.
    is_seen: bool,
    /// Homogeneous pixel position of a point: (x · p, y · p) / (w · p), with p = (point, 1). (0, 0) is the centre of the
    /// top left pixel; w is the distance along the view direction in metres.
    pub(super) x: Vec4,
    pub(super) y: Vec4,
    pub(super) w: Vec4,
    /// Camera position.
    pub(super) eye: Vec3,
    /// Ray through pixel (x, y), up to a factor: `ray + ray_x * x + ray_y * y`.
    pub(super) ray: Vec3,
    pub(super) ray_x: Vec3,
    pub(super) ray_y: Vec3,
    /// Columns of the matrices that take normals (up to a factor) and tangents to world space.
    pub(super) world_from_normal: [Vec3; 3],
    pub(super) world_from_tangent: [Vec3; 3],
    /// Metres in the world of what `world_from_tangent` gives for a mesh unit.
    pub(super) scale: f32,
}

impl Placed {
    fn of(instance: &Instance, camera: &Camera) -> Self {
        let m = &instance.world_from_mesh;
        let axes = m.matrix3;
        let offset = m.translation - camera.eye;
        let row =
            |v: DVec3| DVec4::new(v.dot(axes.x_axis), v.dot(axes.y_axis), v.dot(axes.z_axis), v.dot(offset));
        let [x, y, w] = camera.pixel_rows().map(|v| narrow4(row(v)));
        let inverse = instance.mesh_from_world.matrix3;
        // Any factor will do for rays and normals: these keep numbers near 1.
        let unit = f64::from(instance.scale) / f64::from(camera.focal_px);
        let ray = |v: DVec3| narrow3(inverse * v * unit);
        let normals = inverse.transpose() * f64::from(instance.scale);
        let tangents = axes * (1.0 / f64::from(instance.scale));
        Self {
            is_seen: true,
            x,
            y,
            w,
            eye: narrow3(instance.mesh_from_world.transform_point3(camera.eye)),
            ray: ray(camera.ray(0.0, 0.0)),
            ray_x: ray(camera.right),
            ray_y: ray(-camera.up),
            world_from_normal: [narrow3(normals.x_axis), narrow3(normals.y_axis), narrow3(normals.z_axis)],
            world_from_tangent: [
                narrow3(tangents.x_axis),
                narrow3(tangents.y_axis),
                narrow3(tangents.z_axis),
            ],
            scale: instance.scale,
        }
    }
}

fn narrow3(v: DVec3) -> Vec3 {
    Vec3::new(narrow(v.x), narrow(v.y), narrow(v.z))
}

fn narrow4(v: DVec4) -> Vec4 {
    Vec4::new(narrow(v.x), narrow(v.y), narrow(v.z), narrow(v.w))
}

/// Tests spheres of one instance's mesh space against the picture.
struct Frustum {
    /// Planes with unit normals that point inwards: left, right, top, bottom, near.
    planes: [Vec4; 5],
    x: Vec4,
    y: Vec4,
    w: Vec4,
    /// Length of the vector of w, and products of those of x, y and w.
    w_length: f32,
    xx: f32,
    xw: f32,
    yy: f32,
    yw: f32,
    near: f32,
    /// Pixels of the picture.
    width: f32,
    height: f32,
}

/// Tests whole instances.
struct WorldFrustum {
    eye: DVec3,
    /// Of positions from the eye.
    frustum: Frustum,
}

impl WorldFrustum {
    fn of(camera: &Camera, near: f32) -> Self {
        let [x, y, w] = camera.pixel_rows().map(|v| narrow3(v).extend(0.0));
        Self { eye: camera.eye, frustum: Frustum::of(x, y, w, camera, near) }
    }

    fn sees(&self, instance: &Instance) -> bool {
        self.frustum.sees(narrow3(instance.center - self.eye), instance.radius)
    }
}

/// Where a sphere is.
enum Seen {
    No,
    /// Also across the near plane, or so far off that it has no fixed-point position.
    Anywhere,
    /// Pixels, no smaller than the sphere's; and a depth that none of it exceeds.
    Within(Rect, f32),
}

impl Frustum {
    /// From the homogeneous pixel position of a point.
    fn of(x: Vec4, y: Vec4, w: Vec4, camera: &Camera, near: f32) -> Self {
        // A pixel more than the picture on each side, against rounding.
        let plane = |v: Vec4| {
            let length = v.truncate().length();
            if length > 0.0 && length.is_finite() { v / length } else { Vec4::ZERO }
        };
        let (right, bottom) = (camera.width as f32 + 0.5, camera.height as f32 + 0.5);
        Self {
            planes: [
                plane(x + w * 1.5),
                plane(w * right - x),
                plane(y + w * 1.5),
                plane(w * bottom - y),
                plane(w - Vec4::new(0.0, 0.0, 0.0, near)),
            ],
            x,
            y,
            w,
            w_length: w.truncate().length(),
            xx: x.truncate().length_squared(),
            xw: x.truncate().dot(w.truncate()),
            yy: y.truncate().length_squared(),
            yw: y.truncate().dot(w.truncate()),
            near,
            width: camera.width as f32,
            height: camera.height as f32,
        }
    }

    fn sees(&self, center: Vec3, radius: f32) -> bool {
        // Written so that NaN counts as seen.
        !self.planes.iter().any(|p| p.truncate().dot(center) + p.w < -radius)
    }

    fn locate(&self, center: Vec3, radius: f32) -> Seen {
        if !self.sees(center, radius) {
            return Seen::No;
        }
        let point = center.extend(1.0);
        let (x, y, w) = (self.x.dot(point), self.y.dot(point), self.w.dot(point));
        let w_min = w - radius * self.w_length;
        let in_front = w_min > self.near;
        let reach = (x.abs() + radius * self.xx.sqrt()).max(y.abs() + radius * self.yy.sqrt());
        let in_range = reach < GUARD_PX * w_min;
        if !(in_front && in_range) {
            return Seen::Anywhere;
        }
        let rr = radius * radius;
        let a = w * w - rr * self.w_length * self.w_length;
        let (left, right) = extent(a, x * w - rr * self.xw, x * x - rr * self.xx, self.width);
        let (top, bottom) = extent(a, y * w - rr * self.yw, y * y - rr * self.yy, self.height);
        Seen::Within(Rect { left, right, top, bottom }, self.near / w_min)
    }
}

/// Columns or rows t that planes through the eye and a sphere's rim meet, first and last, of `n`:
/// (w t - x)² = r² |t w⃗ - x⃗|² is a quadratic equation in t, here with its coefficients a, -2b and c.
#[expect(clippy::cast_possible_truncation, reason = "clamped to a picture")]
fn extent(a: f32, b: f32, c: f32, n: f32) -> (i32, i32) {
    let root = (b * b - a * c).max(0.0).sqrt();
    let (first, last) = ((b - root) / a - 1.5, (b + root) / a + 1.5);
    if !(first.is_finite() && last.is_finite()) {
        return (0, n as i32 - 1);
    }
    (first.clamp(0.0, n - 1.0) as i32, last.clamp(0.0, n - 1.0) as i32)
}

/// Clusters for one task to cull: those of a few whole instances, or a part of one instance's.
#[derive(Debug)]
struct CullTask {
    instances: Range<u32>,
    /// Of each instance, counted from its first cluster at full detail; an end beyond the last means all.
    clusters: Range<u32>,
    /// What was found, in order.
    found: Vec<Visible>,
    n_triangles: u64,
}

impl CullTask {
    /// What there is to do for `scene`, whatever the camera.
    fn all_of(scene: &RenderScene) -> Vec<Self> {
        let mut tasks: Vec<Self> = Vec::new();
        let mut room = 0;
        for (at, instance) in scene.instances.iter().enumerate() {
            let at = index(at);
            let clusters = &scene.geometries[instance.geometry as usize].levels[0].clusters;
            let n = clusters.end - clusters.start;
            // Finding out that an instance is not seen costs as much as culling a few clusters.
            let cost = n.saturating_add(3);
            match tasks.last_mut() {
                Some(last) if cost <= room => {
                    last.instances.end = at + 1;
                    room -= cost;
                }
                _ if n <= CULL_TASK => {
                    tasks.push(Self::new(at, 0..u32::MAX));
                    room = CULL_TASK.saturating_sub(cost);
                }
                _ => {
                    for start in (0..n).step_by(CULL_TASK as usize) {
                        tasks.push(Self::new(at, start..(start + CULL_TASK).min(n)));
                    }
                    room = 0;
                }
            }
        }
        tasks
    }

    fn new(instance: u32, clusters: Range<u32>) -> Self {
        Self { instances: instance..instance + 1, clusters, found: Vec::new(), n_triangles: 0 }
    }
}

impl<'a> Frame<'a> {
    /// Culls; buffers of an earlier frame are used again.
    pub(super) fn prepare(
        scene: &'a RenderScene,
        camera: Camera,
        level: Level,
        detail: Detail,
        pool: &mut Pool,
        workers: &mut [Scratch],
        buffers: &mut FrameBuffers,
    ) -> Self {
        let began = Instant::now();
        let rows = rows_per_band(&camera);
        let mut bands = std::mem::take(&mut buffers.bands);
        (bands.rows, bands.n) = (rows, camera.height.div_ceil(rows));
        let (near, far) = depth_range(scene, &camera);
        let mut lights = std::mem::take(&mut buffers.lights);
        lights.clear();
        lights.extend(scene.lights.iter().map(|lamp| Shining {
            lamp: *lamp,
            from_eye: lamp.position.map_or(Vec3::ZERO, |at| narrow3(at - camera.eye)),
        }));
        let mut frame = Self {
            scene,
            environment: Environment::of_sky(
                camera.look.sky,
                NonZeroUsize::new(pool.n_workers()).unwrap_or(NonZeroUsize::MIN),
            ),
            sky_turn: [camera.look.sky_yaw.cos(), camera.look.sky_yaw.sin()],
            tone_mapping: camera.look.tone_mapping,
            split_sum: SplitSum::get(),
            level,
            ray: [camera.ray(0.0, 0.0), camera.right, -camera.up].map(narrow3),
            jitter_px: camera.jitter_px(),
            camera,
            lod_bias: detail.texture_bias,
            smooth: detail.full,
            contrast_max: detail.contrast_max,
            near,
            far,
            placed: std::mem::take(&mut buffers.placed),
            visible: std::mem::take(&mut buffers.visible),
            corners: std::mem::take(&mut buffers.corners),
            bands,
            lights,
            n_triangles: 0,
            setup: Duration::ZERO,
        };
        frame.setup = began.elapsed();
        frame.place(pool, workers);
        frame.cull(detail, pool, workers, buffers);
        let mut lap = Lap::start();
        frame.bin(&buffers.tasks);
        lap.end(&mut workers[0].times.bin);
        frame
    }

    /// The instance that `id` shows, which is not [`NOTHING`].
    #[inline(always)]
    pub(super) fn instance_of(&self, id: Id) -> u32 {
        self.visible[(id >> 7) as usize].instance
    }

    /// Whether two ids show the same instance, and with them all ids between: visible clusters are in the order of
    /// their instances. `high` may be [`NOTHING`].
    #[inline(always)]
    pub(super) fn is_one_instance(&self, low: Id, high: Id) -> bool {
        // Neighbours often are of one cluster.
        low >> 7 == high >> 7 || (high != NOTHING && self.instance_of(low) == self.instance_of(high))
    }

    /// Gives the buffers back.
    pub(super) fn finish(self, buffers: &mut FrameBuffers) {
        buffers.placed = self.placed;
        buffers.visible = self.visible;
        buffers.corners = self.corners;
        buffers.bands = self.bands;
        buffers.lights = self.lights;
    }

    /// Finds out which instances can be seen, and how they see the camera.
    fn place(&mut self, pool: &mut Pool, workers: &mut [Scratch]) {
        let instances = &self.scene.instances;
        self.placed.resize(instances.len().next_multiple_of(PLACE_TASK), Placed::default());
        let world = WorldFrustum::of(&self.camera, self.near);
        let camera = &self.camera;
        let tasks = self.placed.as_chunks_mut::<PLACE_TASK>().0;
        pool.run_each(workers, tasks, |worker, task, placed| {
            let mut lap = Lap::start();
            for (placed, instance) in placed.iter_mut().zip(&instances[task * PLACE_TASK..]) {
                if world.sees(instance) {
                    *placed = Placed::of(instance, camera);
                } else {
                    placed.is_seen = false;
                }
            }
            lap.end(&mut worker.times.place);
        });
    }

    fn cull(&mut self, detail: Detail, pool: &mut Pool, workers: &mut [Scratch], buffers: &mut FrameBuffers) {
        let scene = self.scene;
        if buffers.tasks_of != Some(scene.id) {
            buffers.tasks_of = Some(scene.id);
            buffers.tasks = CullTask::all_of(scene);
        }
        let frame = &*self;
        pool.run_each(workers, &mut buffers.tasks, |worker, _, task| {
            let mut lap = Lap::start();
            frame.cull_task(detail, task);
            lap.end(&mut worker.times.cull);
        });
        self.n_triangles = buffers.tasks.iter().map(|task| task.n_triangles).sum();
    }

    fn cull_task(&self, detail: Detail, task: &mut CullTask) {
        task.found.clear();
        task.n_triangles = 0;
        for at in task.instances.clone() {
            let placed = &self.placed[at as usize];
            if !placed.is_seen {
                continue;
            }
            let instance = &self.scene.instances[at as usize];
            let geometry = &self.scene.geometries[instance.geometry as usize];
            let full = &geometry.levels[0].clusters;
            let clusters = self.detail_level(geometry, instance, placed, detail);
            let part = if clusters == *full {
                let start = full.start + task.clusters.start;
                start..full.end.min(full.start.saturating_add(task.clusters.end))
            } else if task.clusters.start == 0 {
                // Coarse levels are small: the first of several tasks takes all.
                clusters
            } else {
                continue;
            };
            // So that a turning camera finds room for what it has not seen before.
            task.found.reserve(part.len());
            self.cull_part(at, part, task);
        }
    }

    /// The coarsest level that still looks like the full one.
    fn detail_level(
        &self,
        geometry: &Geometry,
        instance: &Instance,
        placed: &Placed,
        detail: Detail,
    ) -> Range<u32> {
        let full = &geometry.levels[0];
        if detail.full || geometry.levels.len() == 1 {
            return full.clusters.clone();
        }
        let center = placed.w.dot(geometry.center.extend(1.0));
        let nearest = (center - geometry.radius * placed.w.truncate().length()).max(self.near);
        let px_per_mesh_unit = instance.scale * self.camera.focal_px / nearest;
        let good =
            |level: &&crate::clusters::DetailLevel| level.error * px_per_mesh_unit <= detail.lod_error_px;
        geometry.levels.iter().rev().find(good).unwrap_or(full).clusters.clone()
    }

    fn cull_part(&self, at: u32, part: Range<u32>, task: &mut CullTask) {
        let instance = &self.scene.instances[at as usize];
        let placed = &self.placed[at as usize];
        let geometry = &self.scene.geometries[instance.geometry as usize];
        let material = &self.scene.materials[geometry.material as usize];
        let frustum = Frustum::of(placed.x, placed.y, placed.w, &self.camera, self.near);
        let clusters = &self.scene.clusters.clusters[as_range(&part)];
        let (width, height) = (self.camera.width as i32, self.camera.height as i32);
        let whole = Rect { left: 0, right: width - 1, top: 0, bottom: height - 1 };
        let rows = self.bands.rows as i32;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rows of a picture")]
        let band = |row: i32| (row / rows) as u16;
        for (cluster, number) in clusters.iter().zip(part) {
            if !material.double_sided && faces_away(cluster, placed.eye) {
                continue;
            }
            let (rect, depth, clipped) = match frustum.locate(cluster.center, cluster.radius) {
                Seen::No => continue,
                Seen::Anywhere => (whole, f32::INFINITY, true),
                Seen::Within(rect, depth) => (rect, depth, false),
            };
            task.n_triangles += u64::from(cluster.n_triangles);
            task.found.push(Visible {
                instance: at,
                cluster: number,
                triangles_at: cluster.triangles_at,
                vertices_at: cluster.vertices_at,
                first_band: band(rect.top),
                last_band: band(rect.bottom),
                rect,
                depth,
                clipped,
                mirrored: instance.mirrored,
                double_sided: material.double_sided,
                alpha_mode: material.alpha_mode,
            });
        }
    }

    /// Two counting sorts of the visible clusters: by distance, so that what is near hides what is far before that is
    /// drawn, and by band.
    fn bin(&mut self, tasks: &[CullTask]) {
        self.visible.clear();
        for task in tasks {
            self.visible.extend_from_slice(&task.found);
        }
        self.corners.clear();
        self.corners.extend(self.visible.iter().map(|v| [v.triangles_at, v.vertices_at]));
        let Bands { n, starts, clusters, order, .. } = &mut self.bands;
        starts.clear();
        starts.resize(DISTANCES as usize + 1, 0);
        for v in &self.visible {
            starts[distance_step(v.depth) + 1] += 1;
        }
        for at in 1..=DISTANCES as usize {
            starts[at] += starts[at - 1];
        }
        order.clear();
        order.resize(self.visible.len(), 0);
        for (at, v) in self.visible.iter().enumerate() {
            let slot = &mut starts[distance_step(v.depth)];
            order[*slot as usize] = index(at);
            *slot += 1;
        }

        let n = *n as usize;
        starts.clear();
        starts.resize(n + 2, 0);
        for v in &self.visible {
            for band in v.first_band..=v.last_band {
                starts[usize::from(band) + 2] += 1;
            }
        }
        for band in 2..n + 2 {
            starts[band] += starts[band - 1];
        }
        clusters.clear();
        clusters.resize(starts[n + 1] as usize, 0);
        for &at in &*order {
            let v = &self.visible[at as usize];
            for band in v.first_band..=v.last_band {
                let slot = &mut starts[usize::from(band) + 1];
                clusters[*slot as usize] = at;
                *slot += 1;
            }
        }
    }
}

/// Steps of distance that are told apart: 64 for each doubling, over 32 doublings from the near plane on.
const DISTANCES: u32 = 2048;

/// 0 is nearest.
fn distance_step(depth: f32) -> usize {
    // Bits of floats are nearly linear in their logarithm, and a depth is at most 1, or infinite.
    let below_one = 1f32.to_bits().saturating_sub(depth.to_bits());
    (below_one >> 17).min(DISTANCES - 1) as usize
}

/// What a frame may leave out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Detail {
    /// All triangles, whatever their size.
    pub(super) full: bool,
    /// Below 0: sharper textures than the pixels can carry, as when many samples make a pixel.
    pub(super) texture_bias: f32,
    /// How far surfaces may be from where they are, pixels.
    pub(super) lod_error_px: f32,
    /// In motion, pixels whose neighbours differ by no more than this (square roots of light, of 2047) lie between them.
    pub(super) contrast_max: i32,
}

impl Detail {
    /// Nothing.
    pub(super) const FULL: Self = Self { full: true, texture_bias: 0.0, lod_error_px: 0.0, contrast_max: 0 };
}

/// Memory that frames use one after the other.
#[derive(Debug, Default)]
pub(super) struct FrameBuffers {
    placed: Vec<Placed>,
    visible: Vec<Visible>,
    corners: Vec<[u32; 2]>,
    bands: Bands,
    lights: Vec<Shining>,
    /// Of which scene `tasks` are.
    tasks_of: Option<u64>,
    tasks: Vec<CullTask>,
}

/// An even number, whatever the threads.
pub(super) fn rows_per_band(camera: &Camera) -> u32 {
    ((BAND_PIXELS / camera.width) & !1).clamp(8, 64)
}

fn faces_away(cluster: &Cluster, eye: Vec3) -> bool {
    let to = cluster.center - eye;
    to.dot(cluster.cone_axis) >= cluster.cone_cutoff * to.length() + cluster.radius
}

/// Nearest distance that is drawn and one beyond everything, metres. Depth is kept as 1 / w, which has the same relative
/// precision everywhere, so a tiny near distance costs nothing.
fn depth_range(scene: &RenderScene, camera: &Camera) -> (f32, f32) {
    let (center, radius) = scene.bounds.map_or((Vec3::ZERO, 1.0), |b| (b.center(), b.radius()));
    let radius = if radius.is_finite() { radius.max(1e-6) } else { 1e15 };
    let to_center = center.as_dvec3() - camera.eye;
    let distance = narrow(to_center.length()).min(1e18);
    let near = (radius * 1e-5).min(0.002).max((distance - radius) * 0.02).max(1e-7);
    (near, (distance + radius).max(near * 2.0))
}
