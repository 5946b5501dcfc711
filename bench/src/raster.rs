//! Our rasterizer beside VTK: same mesh, cameras and size, alternating picture by picture in one run.
//!
//! Both show one plain material. Ours is still lit by an environment and comes out as video's I420; VTK's has one
//! headlight and stays RGB. Beside it stands our time for the same mesh with its textures.

use std::io::{BufRead, BufReader, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use convert::samples;
use render::{Look, RenderScene, Renderer, View, Yuv420};
use scene::math::{Mat3, Quat, Vec3, Vec4};
use scene::{Material, Model};

use crate::Tools;
use crate::server::cpu_ms;
use crate::table::{Table, median};

const SIZE: (u32, u32) = (1280, 720);

/// Measures both sides at three sizes.
pub(crate) fn run(tools: &Tools, table: &mut Table) -> Result<()> {
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    for (name, n_triangles, n_frames) in
        [("100 k", 100_000, 40), ("1 M", 1_000_000, 30), ("5 M", 5_000_000, 10)]
    {
        let glb = samples::bumpy_sphere(n_triangles, 1);
        let mut model = convert::read_glb(&glb, &convert::Limits::default())?.model;
        let textured = RenderScene::build(&model, &mut |_fraction| ())?;
        for material in &mut model.materials {
            let plain =
                Material { base_color: Vec4::new(0.8, 0.8, 0.8, 1.0), metallic: 0.0, ..Material::default() };
            *material = Material { roughness: 0.5, ..plain };
        }
        let scene = RenderScene::build(&model, &mut |_fraction| ())?;
        let mesh = tools.out.join("bench-mesh.bin");
        write_mesh(&model, &mesh)?;
        let mut peer = Peer::start(tools, &mesh)?;
        let mut renderer = Renderer::new(threads);
        let mut picture = Yuv420::default();

        let (mut ours, mut ours_cpu, mut theirs, mut theirs_cpu) = (vec![], vec![], vec![], vec![]);
        let (mut with_textures, mut with_textures_cpu) = (vec![], vec![]);
        // The first pictures warm caches and, at the peer, compile shaders.
        let n_warm_up = 3;
        for at in 0..n_warm_up + n_frames {
            let view = orbit(&model, at);
            let mut timed = |scene| {
                let (cpu, began) = (cpu_ms_precise(), Instant::now());
                renderer.render(scene, &view, &mut picture);
                (began.elapsed().as_secs_f64() * 1e3, cpu_ms_precise() - cpu)
            };
            let (wall, cpu) = timed(&scene);
            let (textured_wall, textured_cpu) = timed(&textured);
            let (peer_wall, peer_cpu) = peer.render(&model, &view)?;
            if at >= n_warm_up {
                ours.push(wall);
                ours_cpu.push(cpu);
                with_textures.push(textured_wall);
                with_textures_cpu.push(textured_cpu);
                theirs.push(peer_wall);
                theirs_cpu.push(peer_cpu);
            }
        }
        let ratios: Vec<f64> = theirs.iter().zip(&ours).map(|(theirs, ours)| theirs / ours).collect();
        table.add(format!("raster {name} triangles, plain, wall"), "ms", &ours, "");
        table.add(format!("raster {name} triangles, plain, CPU"), "ms", &ours_cpu, "");
        table.add(format!("raster {name} triangles, textured, wall"), "ms", &with_textures, "");
        table.add(format!("raster {name} triangles, textured, CPU"), "ms", &with_textures_cpu, "");
        table.add(format!("VTK    {name} triangles, plain, wall"), "ms", &theirs, "");
        table.add(format!("VTK    {name} triangles, plain, CPU"), "ms", &theirs_cpu, "");
        table.add(format!("VTK : Belvedere, {name}, wall"), "×", &ratios, "≥ 5");
        let cpu_ratio = median(&theirs_cpu) / median(&ours_cpu);
        table.add(format!("VTK : Belvedere, {name}, CPU medians"), "×", &[cpu_ratio], "");
    }
    Ok(())
}

/// The `at`th camera of an orbit around the model, 2 degrees a picture.
fn orbit(model: &Model, at: u32) -> View {
    let (width, height) = SIZE;
    let bounds = model.bounds_in_world();
    let (eye, _orientation, fov_y) = render::frame_camera(bounds, width as f32 / height as f32);
    let target = bounds.map_or(Vec3::ZERO, |bounds| bounds.center());
    let eye = target + Quat::from_rotation_y((at as f32 * 2.0).to_radians()) * (eye - target);
    View { eye, orientation: looking(eye, target), fov_y, width, height, look: Look::default() }
}

/// World from view for a camera at `eye` that sees `target` in the middle, y up.
pub(crate) fn looking(eye: Vec3, target: Vec3) -> Quat {
    let back = (eye - target).normalize();
    let right = Vec3::Y.cross(back).normalize();
    Quat::from_mat3(&Mat3::from_cols(right, back.cross(right), back))
}

/// Writes the model's triangles for `vtk_peer.py`.
fn write_mesh(model: &Model, path: &Path) -> Result<()> {
    let [mesh] = model.meshes.as_slice() else { bail!("the bench's model has one mesh") };
    let [primitive] = mesh.primitives.as_slice() else { bail!("the bench's mesh has one primitive") };
    let world_from_node = model.world_from_node();
    let node = model.nodes.iter().position(|node| node.mesh.is_some()).context("a node shows the mesh")?;
    let vertices = &primitive.vertices;
    let mut bytes = Vec::new();
    for count in [vertices.positions.len(), primitive.indices.len()] {
        bytes.extend(u32::try_from(count)?.to_le_bytes());
    }
    for position in &vertices.positions {
        bytes.extend(
            world_from_node[node]
                .transform_point3(*position)
                .to_array()
                .into_iter()
                .flat_map(f32::to_le_bytes),
        );
    }
    for normal in &vertices.normals {
        bytes.extend(
            world_from_node[node]
                .transform_vector3(*normal)
                .to_array()
                .into_iter()
                .flat_map(f32::to_le_bytes),
        );
    }
    bytes.extend(primitive.indices.iter().flat_map(|index| index.to_le_bytes()));
    std::fs::write(path, bytes)?;
    Ok(())
}

/// The VTK process.
struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start(tools: &Tools, mesh: &PathBuf) -> Result<Self> {
        let mut child = Command::new(&tools.python)
            .arg(tools.root.join("bench/vtk_peer.py"))
            .arg(mesh)
            .args([SIZE.0.to_string(), SIZE.1.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let input = child.stdin.take().context("piped")?;
        let output = BufReader::new(child.stdout.take().context("piped")?);
        Ok(Self { child, input, output })
    }

    /// Renders one picture; wall and CPU time in milliseconds as the peer measures them itself.
    fn render(&mut self, model: &Model, view: &View) -> Result<(f64, f64)> {
        let bounds = model.bounds_in_world().context("the model shows something")?;
        let (eye, target) = (view.eye, bounds.center());
        let distance = eye.distance(target);
        let (near, far) = ((distance - bounds.radius()).max(distance * 1e-3), distance + bounds.radius());
        let fov = view.fov_y.to_degrees();
        writeln!(
            self.input,
            "{} {} {} {} {} {} {fov} {near} {far}",
            eye.x, eye.y, eye.z, target.x, target.y, target.z
        )?;
        let mut line = String::new();
        // VTK's own warnings may come first.
        while self.output.read_line(&mut line)? > 0 {
            let numbers: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            if let [wall, cpu] = numbers[..] {
                return Ok((wall, cpu));
            }
            line.clear();
        }
        bail!("VTK ended; run bench/vtk_peer.py by hand to see why");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// CPU time of this process, in milliseconds, finer than the kernel's ticks.
fn cpu_ms_precise() -> f64 {
    // /proc/self/schedstat counts the main thread only; the sum over threads is what a pool needs.
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos: f64 = tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<f64>().ok())
        .sum();
    if nanos > 0.0 { nanos / 1e6 } else { cpu_ms(std::process::id()).unwrap_or(f64::NAN) }
}
