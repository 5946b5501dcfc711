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
