//! Our rasterizer beside VTK and three.js: same mesh, cameras and sizes, alternating picture by picture in one run, all
//! triangles on all sides.
//!
//! Each side has to bring the picture into memory: ours comes out as video's I420, the peers' are read back as RGBA. All do
//! metallic-roughness in the same surroundings, textured with base colour, metallic-roughness and normal texture; three.js
//! maps tones as we do, VTK not at all. As many look at models without surroundings, there are also pictures with one light
//! at the camera on the side of the peers, while ours stays as it is. After each kind of picture the last ones are compared.

mod agree;
mod filter;
mod peer;
mod report;
mod scene;

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use ::scene::math::{Mat3, Quat, Vec3};
use ::scene::{Aabb, Model};
use anyhow::{Context, Result, ensure};
use render::{Look, MotionDetail, RenderScene, Renderer, View, Yuv420};

use self::agree::Shape;
use self::filter::{Cell, Distance, Look as Lit};
use self::peer::{Peer, cpu_ms_of};
pub(crate) use self::report::Matrix;
use self::report::{Row, Side};
use crate::Tools;

/// Time for one kind of picture on all sides: with 56 kinds and the building of eight scenes a quarter of an hour.
const CELL_TIME: Duration = Duration::from_secs(12);
/// So few if they take long.
const PICTURES_MIN: u32 = 5;
/// No more if they do not.
const PICTURES_MAX: u32 = 60;
/// The first pictures warm caches and, at the peers, compile shaders.
const WARM_UP: u32 = 2;
/// Silhouettes have to agree on this share of their pixels, see [`Shape::overlap`].
const OVERLAP_MIN: f64 = 0.995;
/// How alike light and dark in the same surroundings have to be; it would be about 0 if a peer drew something else.
const LIKENESS_MIN: f64 = 0.5;

/// A camera that looks at the middle of the model, y up.
struct Camera {
    eye: Vec3,
    target: Vec3,
    /// Radians.
    fov_y: f32,
    near_m: f32,
    far_m: f32,
}

/// Measures what `words` name (see [`filter::cells`]).
pub(crate) fn run(tools: &Tools, words: &str) -> Result<Matrix> {
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let mut renderer = Renderer::new(threads);
    let mut loaded = Renderer::new(threads);
    loaded.set_motion_detail(MotionDetail::Coarse);
    let empty = RenderScene::build(&Model::default(), &mut |_fraction| ())?;
    let mut matrix = Matrix::default();
    let all = filter::cells(words)?;
    for with_mesh in all.chunk_by(|a, b| a.triangles == b.triangles) {
        let Some(Cell { triangles, .. }) = with_mesh.first().copied() else { continue };
        let mut model = scene::textured(triangles)?;
        let orbit = Orbit::of(&model)?;
        let files = scene::write(&model, &tools.out)?;
        let mut peers = [Peer::vtk(tools, &files)?, Peer::three(tools, &files)?];
        matrix.peers = peers.iter().map(|peer| (peer.name, peer.about.clone())).collect();
        // One scene at a time: the largest takes a gigabyte.
        let textured = |cell: &Cell| cell.look == Lit::Textured;
        for same_material in with_mesh.chunk_by(|a, b| textured(a) == textured(b)) {
            if !same_material.iter().all(textured) {
                model = scene::plain(model);
            }
            let scene = RenderScene::build(&model, &mut |_fraction| ())?;
            ensure!(scene.triangles() == model.triangles(), "all triangles are in the scene");
            for cell in same_material {
                let mut stage = Stage {
                    orbit: &orbit,
                    scene: &scene,
                    empty: &empty,
                    renderer: &mut renderer,
                    loaded: &mut loaded,
                };
                let row = stage.measure(cell, &mut peers, tools).with_context(|| cell.to_string())?;
                eprintln!("{row}");
                matrix.rows.push(row);
            }
        }
    }
    Ok(matrix)
}

/// What our side draws.
struct Stage<'a> {
    orbit: &'a Orbit,
    scene: &'a RenderScene,
    empty: &'a RenderScene,
    renderer: &'a mut Renderer,
    /// One with less detail, as a host that is under load.
    loaded: &'a mut Renderer,
}

impl Stage<'_> {
    fn measure(&mut self, cell: &Cell, peers: &mut [Peer], tools: &Tools) -> Result<Row> {
        self.all_triangles_are_drawn(cell)?;
        let mut picture = Yuv420::default();
        let (mut ours, mut under_load) = (Side::default(), Side::default());
        let mut theirs: Vec<Side> = peers.iter().map(|_| Side::default()).collect();
        let mut n_pictures = PICTURES_MIN;
        let mut at = 0;
        while at < WARM_UP + n_pictures {
            if at + 1 == WARM_UP {
                // Only now do all their processes live.
                peers.iter_mut().for_each(Peer::count_processes);
            }
            let began = Instant::now();
            let camera = self.orbit.camera(cell, at);
            let view = view(&camera, cell);
            let timed = at >= WARM_UP;
            for (renderer, side) in [(&mut *self.loaded, &mut under_load), (&mut *self.renderer, &mut ours)] {
                let (cpu, began) = (cpu_ms_of(std::process::id()), Instant::now());
                renderer.render(self.scene, &view, &mut picture);
                let wall = began.elapsed().as_secs_f64() * 1e3;
                if timed {
                    side.wall_ms.push(wall);
                    side.cpu_ms.push(cpu_ms_of(std::process::id()) - cpu);
                }
            }
            for (peer, side) in peers.iter_mut().zip(&mut theirs) {
                let cpu = peer.cpu_ms();
                let wall = peer.draw(cell, &camera, None)?;
                if timed {
                    side.wall_ms.push(wall);
                    side.cpu_ms.push(peer.cpu_ms() - cpu);
                }
            }
            at += 1;
            if at == WARM_UP {
                n_pictures = how_many(began.elapsed());
            }
        }
        let camera = self.orbit.camera(cell, at - 1);
        let mut background = Yuv420::default();
        self.renderer.render(self.empty, &view(&camera, cell), &mut background);
        let shape = Shape::of_ours(&picture, &background);
        let least = if cell.distance == Distance::Full { 0.999 } else { 0.1 };
        ensure!(shape.share() >= least, "our picture is covered by {:.3} only", shape.share());
        let mut beside = Vec::new();
        for (peer, side) in peers.iter_mut().zip(theirs) {
            let file = tools.out.join(format!("bench-{}.rgba", peer.name));
            peer.draw(cell, &camera, Some(&file))?;
            let other = Shape::of_peer(&std::fs::read(&file)?, cell.size.0);
            let (overlap, likeness) = (shape.overlap(&other), shape.likeness(&other));
            ensure!(overlap >= OVERLAP_MIN, "the silhouette of {} overlaps ours by {overlap:.3}", peer.name);
            ensure!(
                likeness >= LIKENESS_MIN || cell.look == Lit::Lamp,
                "light and dark of {} are not as ours: {likeness:.2}",
                peer.name
            );
            beside.push((side, overlap, likeness));
        }
        Ok(Row::new(*cell, shape.share(), [&ours, &under_load], &beside))
    }

    /// No side may leave out triangles for speed: in motion ours draws the clusters that it draws at rest, where detail is
    /// full.
    fn all_triangles_are_drawn(&mut self, cell: &Cell) -> Result<()> {
        let view = view(&self.orbit.camera(cell, 0), cell);
        let mut picture = Yuv420::default();
        let at_rest = self.renderer.refine(self.scene, &view, 1, &mut picture).triangles;
        let in_motion = self.renderer.render(self.scene, &view, &mut picture).triangles;
        // Samples within pixels move the edge of the picture, and a few clusters with it.
        let near = in_motion.abs_diff(at_rest) <= at_rest / 100;
        ensure!(near && in_motion > 0, "{in_motion} triangles in motion, {at_rest} at rest");
        Ok(())
    }
}

/// How many pictures fit [`CELL_TIME`] if one of each side takes `one`.
fn how_many(one: Duration) -> u32 {
    let n = CELL_TIME.as_nanos() / one.as_nanos().max(1);
    u32::try_from(n).unwrap_or(PICTURES_MAX).clamp(PICTURES_MIN, PICTURES_MAX)
}

/// Where cameras can be.
struct Orbit {
    bounds: Aabb,
    /// How near its middle the surface comes.
    inner_m: f32,
}

impl Orbit {
    fn of(model: &Model) -> Result<Self> {
        let bounds = model.bounds_in_world().context("the model shows something")?;
        let points =
            model.meshes.iter().flat_map(|mesh| &mesh.primitives).flat_map(|p| &p.vertices.positions);
        let inner_m = points.map(|p| p.distance(bounds.center())).fold(f32::INFINITY, f32::min);
        Ok(Self { bounds, inner_m })
    }

    /// The `at`th camera around the model, 2 degrees a picture.
    fn camera(&self, cell: &Cell, at: u32) -> Camera {
        let aspect = cell.size.0 as f32 / cell.size.1 as f32;
        let (eye, _orientation, fov_y) = render::frame_camera(Some(self.bounds), aspect);
        let target = self.bounds.center();
        let away = match cell.distance {
            Distance::Object => eye - target,
            // Just so near that the smallest sphere in the model covers the corners.
            Distance::Full => {
                let corner = ((fov_y * 0.5).tan() * aspect.hypot(1.0)).atan();
                (eye - target).normalize() * (self.inner_m / corner.sin() * 0.98)
            }
        };
        let away = Quat::from_rotation_y((at as f32 * 2.0).to_radians()) * away;
        let distance = away.length();
        let radius = self.bounds.radius();
        // Bumps may be farther out than the box in its middle.
        let outer = ((self.bounds.max - self.bounds.min) * 0.5).max_element() * 1.15;
        let near_m = (distance - outer).max(distance * 0.01);
        Camera { eye: target + away, target, fov_y, near_m, far_m: distance + radius }
    }
}

fn view(camera: &Camera, cell: &Cell) -> View {
    let Camera { eye, target, fov_y, .. } = *camera;
    let (width, height) = cell.size;
    View { eye, orientation: looking(eye, target), fov_y, width, height, look: Look::default() }
}

/// World from view for a camera at `eye` that sees `target` in the middle, y up.
pub(crate) fn looking(eye: Vec3, target: Vec3) -> Quat {
    let back = (eye - target).normalize();
    let right = Vec3::Y.cross(back).normalize();
    Quat::from_mat3(&Mat3::from_cols(right, back.cross(right), back))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_pictures_are_many_and_slow_ones_few() {
        for (ms, n) in [(0, 60), (100, 60), (300, 40), (2_000, 6), (60_000, 5)] {
            assert_eq!(how_many(Duration::from_millis(ms)), n, "{ms} ms");
        }
    }

    #[test]
    fn cameras_stay_outside_and_see_everything_that_they_should() {
        let model = scene::textured(2_000).unwrap();
        let radius = |p: &Vec3| p.length();
        let positions = &model.meshes[0].primitives[0].vertices.positions;
        let outermost = positions.iter().map(radius).fold(0.0, f32::max);
        let orbit = Orbit::of(&model).unwrap();
        for cell in filter::cells("10k").unwrap() {
            for at in [0, 17, 90] {
                let camera = orbit.camera(&cell, at);
                let distance = camera.eye.length();
                assert!(distance > outermost && camera.near_m < distance - outermost, "{cell}");
                assert!(camera.far_m > distance + outermost, "{cell}");
            }
        }
    }
}
