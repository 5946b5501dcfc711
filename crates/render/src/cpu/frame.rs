//! What a frame is made of, before a pixel is drawn: the camera in each instance's mesh space, and the clusters that can
//! be seen, by band.
//!
//! The picture is cut into horizontal bands, each small enough that depth and ids of its pixels stay in a core's L2
//! cache. Culling happens in mesh space, where bounding spheres are spheres whatever the instance's transform.

use std::num::NonZeroUsize;
use std::ops::Range;

use scene::math::{DVec3, DVec4, Vec3, Vec4};

use super::pool::Pool;
use super::split_sum::SplitSum;
use crate::clusters::{Cluster, Geometry, Instance, Lamp, RenderScene, as_range, index, narrow};
use crate::light::Environment;
use crate::look::ToneMapping;
use crate::simd::Level;
use crate::view::Camera;

/// Pixels of a band: depth and ids take 384 KiB. Fewer would draw more clusters twice, at the edge of two bands.
const BAND_PIXELS: u32 = 48 * 1024;
/// Clusters that one task culls.
const CULL_TASK: u32 = 1024;
/// Screen coordinates that fixed point can hold, in pixels.
pub(super) const GUARD_PX: f32 = (1 << 19) as f32;
/// How far a coarser level may be from the full surface, in pixels.
const LOD_ERROR_PX: f32 = 0.6;

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
    /// Ray through pixel (x, y) in world space, of any length: `ray[0] + ray[1] * x + ray[2] * y`.
    pub(super) ray: [Vec3; 3],
    /// Added to the level of detail of textures.
    pub(super) lod_bias: f32,
    /// Textures and reflections blend levels of detail.
    pub(super) smooth: bool,
    pub(super) near: f32,
    pub(super) far: f32,
    /// By instance; stale for those that are not visible.
    pub(super) placed: Vec<Placed>,
    pub(super) visible: Vec<Visible>,
    pub(super) bands: Bands,
    /// As many as the scene has.
    pub(super) lights: Vec<Shining>,
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
    /// Indices of [`Visible`], ascending within a band.
    clusters: Vec<u32>,
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
    /// As in the cluster: what shading looks up for each pixel.
    pub(super) triangles_at: u32,
    pub(super) vertices_at: u32,
    first_band: u16,
    last_band: u16,
    /// Crosses the near plane or leaves the range of fixed point: triangles must be clipped.
    pub(super) clipped: bool,
}

/// The camera as an instance's mesh space sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
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
        let focal = f64::from(camera.focal_px);
        let w = row(camera.forward);
        let x = row(camera.right) * focal + w * f64::from(camera.center_x_px);
        let y = row(camera.up) * -focal + w * f64::from(camera.center_y_px);
        let inverse = instance.mesh_from_world.matrix3;
        // Any factor will do for rays and normals: these keep numbers near 1.
        let unit = f64::from(instance.scale) / focal;
        let ray = |v: DVec3| narrow3(inverse * v * unit);
        let normals = inverse.transpose() * f64::from(instance.scale);
        let tangents = axes * (1.0 / f64::from(instance.scale));
        Self {
            x: narrow4(x),
            y: narrow4(y),
            w: narrow4(w),
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
    /// Lengths of the vectors of x and w, and products of those of y and w.
    x_length: f32,
    w_length: f32,
    yy: f32,
    yw: f32,
    near: f32,
    rows_per_band: f32,
    last_band: f32,
}

/// Where a sphere is.
enum Seen {
    No,
    Bands { first: u16, last: u16, clipped: bool },
}

impl Frustum {
    fn of(placed: &Placed, camera: &Camera, near: f32, bands: &Bands) -> Self {
        // A pixel more than the picture on each side, against rounding.
        let plane = |v: Vec4| {
            let length = v.truncate().length();
            if length > 0.0 && length.is_finite() { v / length } else { Vec4::ZERO }
        };
        let (right, bottom) = (camera.width as f32 + 0.5, camera.height as f32 + 0.5);
        let Placed { x, y, w, .. } = *placed;
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
            x_length: x.truncate().length(),
            w_length: w.truncate().length(),
            yy: y.truncate().length_squared(),
            yw: y.truncate().dot(w.truncate()),
            near,
            rows_per_band: bands.rows as f32,
            last_band: (bands.n - 1) as f32,
        }
    }

    fn sees(&self, center: Vec3, radius: f32) -> bool {
        // Written so that NaN counts as seen.
        !self.planes.iter().any(|p| p.truncate().dot(center) + p.w < -radius)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=last band")]
    fn locate(&self, center: Vec3, radius: f32) -> Seen {
        if !self.sees(center, radius) {
            return Seen::No;
        }
        let point = center.extend(1.0);
        let (x, y, w) = (self.x.dot(point), self.y.dot(point), self.w.dot(point));
        let w_min = w - radius * self.w_length;
        let last = self.last_band as u16;
        let everywhere = Seen::Bands { first: 0, last, clipped: true };
        let in_front = w_min > self.near;
        let reach = (x.abs() + radius * self.x_length).max(y.abs() + radius * self.yy.sqrt());
        let in_range = reach < GUARD_PX * w_min;
        if !(in_front && in_range) {
            return everywhere;
        }
        // Rows t that planes through the eye and the sphere's rim meet:
        // (w t - y)² = r² |t w⃗ - y⃗|², a quadratic equation in t.
        let rr = radius * radius;
        let a = w * w - rr * self.w_length * self.w_length;
        let b = y * w - rr * self.yw;
        let c = y * y - rr * self.yy;
        let root = (b * b - a * c).max(0.0).sqrt();
        let (top, bottom) = ((b - root) / a - 1.5, (b + root) / a + 1.5);
        if !(top.is_finite() && bottom.is_finite()) {
            return Seen::Bands { first: 0, last, clipped: false };
        }
        let band = |row: f32| (row / self.rows_per_band).clamp(0.0, self.last_band) as u16;
        Seen::Bands { first: band(top), last: band(bottom), clipped: false }
    }
}

/// Clusters of one instance for one task to cull.
struct CullTask {
    instance: u32,
    clusters: Range<u32>,
}

impl<'a> Frame<'a> {
    /// Culls; buffers of an earlier frame are used again.
    pub(super) fn prepare(
        scene: &'a RenderScene,
        camera: Camera,
        level: Level,
        detail: Detail,
        pool: &mut Pool,
        buffers: &mut FrameBuffers,
    ) -> Self {
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
            camera,
            lod_bias: detail.texture_bias,
            smooth: detail.full,
            near,
            far,
            placed: std::mem::take(&mut buffers.placed),
            visible: std::mem::take(&mut buffers.visible),
            bands,
            lights,
        };
        frame.cull(detail, pool);
        frame.bin();
        frame
    }

    /// Gives the buffers back.
    pub(super) fn finish(self, buffers: &mut FrameBuffers) {
        buffers.placed = self.placed;
        buffers.visible = self.visible;
        buffers.bands = self.bands;
        buffers.lights = self.lights;
    }

    fn cull(&mut self, detail: Detail, pool: &mut Pool) {
        self.placed.clear();
        self.visible.clear();
        let scene = self.scene;
        let mut tasks: Vec<Vec<CullTask>> = vec![Vec::new()];
        let mut room = CULL_TASK;
        for (at, instance) in scene.instances.iter().enumerate() {
            let placed = Placed::of(instance, &self.camera);
            self.placed.push(placed);
            let geometry = &scene.geometries[instance.geometry as usize];
            let frustum = Frustum::of(&placed, &self.camera, self.near, &self.bands);
            if !frustum.sees(geometry.center, geometry.radius) {
                continue;
            }
            let mut clusters = self.detail_level(geometry, instance, &placed, detail);
            while !clusters.is_empty() {
                let n = room.min(clusters.end - clusters.start);
                let part = clusters.start..clusters.start + n;
                clusters.start += n;
                room -= n;
                tasks
                    .last_mut()
                    .expect("there is one from the start")
                    .push(CullTask { instance: index(at), clusters: part });
                if room == 0 {
                    tasks.push(Vec::new());
                    room = CULL_TASK;
                }
            }
        }
        let found: Vec<std::sync::Mutex<Vec<Visible>>> = tasks.iter().map(|_| Default::default()).collect();
        let frame = &*self;
        pool.run(tasks.len(), &|_, task| {
            let mut visible = Vec::new();
            for part in &tasks[task] {
                frame.cull_part(part, &mut visible);
            }
            *found[task].lock().unwrap_or_else(std::sync::PoisonError::into_inner) = visible;
        });
        for part in found {
            let part = part.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
            self.visible.extend_from_slice(&part);
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
        let good = |level: &&crate::clusters::DetailLevel| level.error * px_per_mesh_unit <= LOD_ERROR_PX;
        geometry.levels.iter().rev().find(good).unwrap_or(full).clusters.clone()
    }

    fn cull_part(&self, part: &CullTask, visible: &mut Vec<Visible>) {
        let instance = &self.scene.instances[part.instance as usize];
        let placed = &self.placed[part.instance as usize];
        let geometry = &self.scene.geometries[instance.geometry as usize];
        let double_sided = self.scene.materials[geometry.material as usize].double_sided;
        let frustum = Frustum::of(placed, &self.camera, self.near, &self.bands);
        let clusters = &self.scene.clusters.clusters[as_range(&part.clusters)];
        for (cluster, at) in clusters.iter().zip(part.clusters.clone()) {
            if !double_sided && faces_away(cluster, placed.eye) {
                continue;
            }
            if let Seen::Bands { first, last, clipped } = frustum.locate(cluster.center, cluster.radius) {
                visible.push(Visible {
                    instance: part.instance,
                    cluster: at,
                    triangles_at: cluster.triangles_at,
                    vertices_at: cluster.vertices_at,
                    first_band: first,
                    last_band: last,
                    clipped,
                });
            }
        }
    }

    /// Counting sort of the visible clusters by band; within a band they keep their order.
    fn bin(&mut self) {
        let n = self.bands.n as usize;
        let starts = &mut self.bands.starts;
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
        self.bands.clusters.clear();
        self.bands.clusters.resize(starts[n + 1] as usize, 0);
        for (at, v) in self.visible.iter().enumerate() {
            for band in v.first_band..=v.last_band {
                let slot = &mut starts[usize::from(band) + 1];
                self.bands.clusters[*slot as usize] = index(at);
                *slot += 1;
            }
        }
    }

    /// Triangles of the visible clusters.
    pub(super) fn n_triangles(&self) -> u64 {
        let clusters = &self.scene.clusters.clusters;
        self.visible.iter().map(|v| u64::from(clusters[v.cluster as usize].n_triangles)).sum()
    }
}

/// What a frame may leave out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Detail {
    /// All triangles, whatever their size.
    pub(super) full: bool,
    /// Below 0: sharper textures than the pixels can carry, as when many samples make a pixel.
    pub(super) texture_bias: f32,
}

/// Memory that frames use one after the other.
#[derive(Debug, Default)]
pub(super) struct FrameBuffers {
    placed: Vec<Placed>,
    visible: Vec<Visible>,
    bands: Bands,
    lights: Vec<Shining>,
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
