//! What a picture in motion takes from those before it.

use super::*;

/// The eye goes around what is in the middle.
fn turned(view: &View, angle: f32) -> View {
    let turn = Quat::from_rotation_y(angle);
    View { eye: turn * view.eye, orientation: turn * view.orientation, ..*view }
}

/// The picture of `view` after a few frames that lead to `before`.
fn after(scene: &RenderScene, before: &View, scene_now: &RenderScene, view: &View) -> Yuv420 {
    let mut renderer = Renderer::new(threads(2));
    let mut out = Yuv420::default();
    for n in 0..4 {
        renderer.render(scene, &turned(before, n as f32 * 0.01 - 0.04), &mut out);
    }
    renderer.render(scene_now, view, &mut out);
    out
}

#[test]
fn history_is_used_while_the_camera_moves_and_dropped_at_each_cut() {
    let (scene, twin) = (everything().scene(), everything().scene());
    let view = view_from(4.0);
    let alone = |view: &View| {
        let mut out = Yuv420::default();
        Renderer::new(threads(1)).render(&scene, view, &mut out);
        out
    };
    assert!(after(&scene, &view, &scene, &view) != alone(&view), "a small step");
    let lit = Look { sky_yaw: 1.0, ..Look::default() };
    for (what, cut) in [
        ("size", View { width: W + 2, ..view }),
        ("light", View { look: lit, ..view }),
        ("turn", View { orientation: Quat::from_rotation_y(0.5), ..view }),
        ("roll", View { orientation: Quat::from_rotation_z(0.5), ..view }),
        ("jump", View { eye: view.eye * 100.0, ..view }),
        ("zoom", View { fov_y: view.fov_y * 0.6, ..view }),
    ] {
        assert!(after(&scene, &view, &scene, &cut) == alone(&cut), "{what}");
    }
    assert!(after(&twin, &view, &scene, &view) == alone(&view), "another scene");
}

#[test]
fn what_rests_in_between_does_not_disturb_motion() {
    let scene = everything().scene();
    let view = view_from(4.0);
    let picture = |rests: bool| {
        let mut renderer = Renderer::new(threads(2));
        let mut out = Yuv420::default();
        for n in 0..4 {
            renderer.render(&scene, &turned(&view, n as f32 * 0.01), &mut out);
            if rests {
                renderer.refine(&scene, &view_from(3.0), 2, &mut Yuv420::default());
                renderer.still(&scene, &view, 1);
            }
        }
        out
    };
    assert!(picture(true) == picture(false));
}

#[test]
fn an_edge_that_stands_still_becomes_smooth() {
    // A white edge at a slight slant before black: without anti-aliasing, each pixel is one or the other.
    let slant = Affine3A::from_rotation_z(0.1) * Affine3A::from_scale(Vec3::splat(0.7));
    let build = Build::default()
        .quad(at(0.0, 0.0, -0.5) * Affine3A::from_scale(Vec3::splat(9.0)), unlit(0.0, 0.0, 0.0, 1.0))
        .quad(slant, unlit(1.0, 1.0, 1.0, 1.0));
    let (scene, view) = (build.scene(), view_from(3.0));
    let mut renderer = Renderer::new(threads(1));
    let mut out = Yuv420::default();
    let mut between = Vec::new();
    for _ in 0..24 {
        renderer.render(&scene, &view, &mut out);
        between.push(out.y.iter().filter(|y| (30..220).contains(*y)).count());
    }
    assert!(between[0] < 4 && between[23] > 60, "{between:?}");
    let far = Renderer::new(threads(1)).still(&scene, &view, 64);
    let far: Vec<u8> =
        far.as_chunks::<4>().0.iter().map(|p| (f32::from(p[0]) / 255.0 * 219.0 + 16.5) as u8).collect();
    let db = psnr(&out.y, &far);
    assert!(db > 29.0, "{db} dB");
}

#[test]
fn a_surface_takes_its_light_along_when_the_camera_moves() {
    // Noise of texels a few pixels large: what comes from the wrong place would show. Nothing of it is near an edge.
    let noise = |n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8;
    let texels: Vec<[u8; 4]> =
        (0..64 * 64).map(|n| [noise(n), noise(n + 9999), noise(n + 77_777), 255]).collect();
    let material = Material { base_color_texture: texture(0), ..unlit(1.0, 1.0, 1.0, 1.0) };
    let tilted = Affine3A::from_rotation_y(0.4) * Affine3A::from_scale(Vec3::splat(3.0));
    let scene = Build::default().image(64, 64, &texels, Sampler::default()).quad(tilted, material).scene();
    let view = View { width: 256, height: 192, ..view_from(3.0) };
    let mut renderer = Renderer::new(threads(2));
    let mut out = Yuv420::default();
    for n in 0..12 {
        let step = n as f32 * 0.013;
        let here = View { eye: view.eye + Vec3::new(step, step * 0.7, -step), ..turned(&view, 0.0) };
        renderer.render(&scene, &here, &mut out);
        let mut many = Yuv420::default();
        Renderer::new(threads(2)).refine(&scene, &here, REFINE_SAMPLES, &mut many);
        let db = psnr(&out.y, &many.y);
        assert!(db > 36.0, "frame {n}: {db} dB");
    }
}

#[test]
fn under_load_every_size_and_any_number_of_threads_give_the_same_whole_picture() {
    let scene = everything().scene();
    for (width, height) in [(W, 96), (W + 1, 97), (8, 9), (17, 4), (33, 2), (1, 1), (640, 67)] {
        let view = View { width, height, ..view_from(3.0) };
        let pictures = |n_threads: usize, detail: MotionDetail| -> Vec<Yuv420> {
            let mut renderer = Renderer::new(threads(n_threads));
            renderer.set_motion_detail(detail);
            let frame = |n: usize| {
                let mut out = Yuv420::default();
                renderer.render(&scene, &turned(&view, n as f32 * 0.01), &mut out);
                out
            };
            (0..4).map(frame).collect()
        };
        let (one, three) = (pictures(1, MotionDetail::Coarse), pictures(3, MotionDetail::Coarse));
        assert!(one == three, "{width} x {height}");
        for (coarse, full) in one.iter().zip(pictures(2, MotionDetail::Full)) {
            let db = psnr(&coarse.y, &full.y);
            assert!(db > 26.0, "{width} x {height}: {db} dB");
        }
    }
}

#[test]
fn under_load_what_has_one_colour_keeps_it_up_to_the_edges_of_the_picture() {
    let wall = Affine3A::from_scale(Vec3::splat(9.0));
    let scene = Build::default().quad(wall, unlit(0.3, 0.5, 0.1, 1.0)).scene();
    for (width, height) in [(W, 96), (W + 3, 95), (16, 16)] {
        let view = View { width, height, ..view_from(3.0) };
        let [full, coarse] = [MotionDetail::Full, MotionDetail::Coarse].map(|detail| {
            let mut renderer = Renderer::new(threads(2));
            renderer.set_motion_detail(detail);
            let mut out = Yuv420::default();
            for n in 0..3 {
                renderer.render(&scene, &turned(&view, n as f32 * 0.01), &mut out);
            }
            out
        });
        assert!(full == coarse, "{width} x {height}");
    }
}

/// Which pixels of a band are inner ones, found by each instruction set and one by one. `pixels`: what each shows (0:
/// nothing, else which of the clusters in the band) and how often its depth is that of a slope.
fn inner_pixels_are_found(build: &Build, pixels: &[(usize, f32)], width: u32, rows: u32) {
    let (scene, view) = (build.scene(), View { width, height: rows, ..view_from(4.0) });
    let mut renderer = Renderer::new(threads(1));
    let camera = Camera::of(&view, (0.0, 0.0));
    for level in [Level::detect(), Level::Portable] {
        let (pool, scratch, buffers) = (&mut renderer.pool, &mut renderer.scratch[..], &mut renderer.buffers);
        let frame = Frame::prepare(&scene, camera, level, Detail::FULL, pool, scratch, buffers);
        let clusters = frame.bands.clusters(0);
        let mut target = raster::Target::default();
        target.clear(width, 0, rows);
        for y in 0..rows as usize {
            for x in 0..width as usize {
                let (shows, times) = pixels[(y * width as usize + x) % pixels.len()];
                let at = y * target.stride + x;
                if shows > 0 {
                    target.ids[at] = clusters[(shows - 1) % clusters.len()] << 7 | (x as u32 & 127);
                    target.depth[at] = (0.2 + 0.001 * (x + y) as f32) * times;
                }
            }
        }
        history::find_inner(level, &frame, 0, &mut target);
        let (width, rows) = (width as usize, rows as usize);
        let depth = |x: usize, y: usize| target.depth[y * target.stride + x];
        let instance = |x: usize, y: usize| match target.ids[y * target.stride + x] {
            frame::NOTHING => None,
            id => Some(frame.instance_of(id)),
        };
        let most = 0.5 / camera.focal_px;
        for y in 0..rows {
            for x in 0..width {
                let is_inner = target.inner[(y * target.stride + x) / 8] >> (x % 8) & 1 == 1;
                if x == 0 || x + 1 == width {
                    assert!(!is_inner, "at the picture's edge, row {y}");
                    continue;
                }
                let middle = y.clamp(1, rows - 2);
                let bend = |a: f32, b: f32, c: f32| (a + c - (b + b)).abs();
                let across = bend(depth(x - 1, y), depth(x, y), depth(x + 1, y));
                let along = bend(depth(x, middle - 1), depth(x, middle), depth(x, middle + 1));
                let neighbours =
                    [(x - 1, y), (x + 1, y), (x, y.saturating_sub(1)), (x, (y + 1).min(rows - 1))];
                let is_alike = instance(x, y).is_some()
                    && neighbours.into_iter().all(|(nx, ny)| instance(nx, ny) == instance(x, y));
                let expected = is_alike && across.max(along) <= depth(x, y) * most;
                assert_eq!(is_inner, expected, "column {x}, row {y}");
            }
        }
        frame.finish(&mut renderer.buffers);
    }
}

fn ball() -> Build {
    Build::default().add(sphere(24), at(0.0, 0.0, 0.0), unlit(1.0, 1.0, 1.0, 1.0))
}

proptest! {
    #[test]
    fn inner_pixels_show_one_smooth_surface(
        runs in prop::collection::vec((0usize..9, 1usize..70), 1..60),
        bumps in prop::collection::vec(any::<u8>(), 97),
        width in prop::sample::select(vec![16u32, 23, 40]),
        rows in 16u32..20,
        of_one in any::<bool>(),
    ) {
        let build = if of_one { ball() } else { ball().add(cube(), at(0.3, 0.0, 0.5), unlit(1.0, 0.0, 0.0, 1.0)) };
        let shown = runs.iter().flat_map(|(shows, n)| std::iter::repeat_n(*shows, *n));
        let times = bumps.iter().map(|bump| 1.0 + if *bump > 250 { 0.05 } else { f32::from(*bump) * 5e-6 });
        let pixels: Vec<_> = shown.zip(times.cycle()).collect();
        inner_pixels_are_found(&build, &pixels, width, rows);
    }
}

#[test]
fn between_nothing_and_what_is_twice_as_near_no_surface_is_smooth() {
    let pixels: Vec<_> = (0..16).map(|x| (usize::from(x != 4), if x < 6 { 1.0 } else { 2.0 })).collect();
    inner_pixels_are_found(&ball(), &pixels, 16, 16);
}
