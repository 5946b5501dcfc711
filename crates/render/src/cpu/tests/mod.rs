//! Small scenes with known pictures.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small known numbers")]

use proptest::prelude::*;
use scene::math::{Affine2, Affine3A, Quat, Vec2, Vec4};
use scene::{AlphaMode, Material, Node, Primitive, Sampler, TextureUse, Vertices};

use self::build::{Build, at, cube, everything, quad, sphere, texture, unlit};
use super::*;
use crate::look::{Look, ToneMapping};

#[path = "../../../tests/it/build.rs"]
mod build;
mod coverage;
mod motion;
mod surfaces;

const W: u32 = 64;
const H: u32 = 48;

fn threads(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

/// From (0, 0, `z`) along -z.
fn view_from(z: f32) -> View {
    View {
        eye: Vec3::new(0.0, 0.0, z),
        orientation: Quat::IDENTITY,
        fov_y: 0.8,
        width: W,
        height: H,
        look: Look::default(),
    }
}

fn rendered(build: &Build, view: &View) -> Yuv420 {
    let mut out = Yuv420::default();
    Renderer::new(threads(2)).render(&build.scene(), view, &mut out);
    out
}

/// RGB of one sample at a pixel.
fn rgb(build: &Build, view: &View, x: u32, y: u32) -> [i32; 3] {
    let rgba = Renderer::new(threads(1)).still(&build.scene(), view, 1);
    let at = (y * view.width + x) as usize * 4;
    [rgba[at], rgba[at + 1], rgba[at + 2]].map(i32::from)
}

#[track_caller]
fn assert_near(got: [i32; 3], want: [i32; 3]) {
    assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() <= 2), "got {got:?}, want {want:?}");
}

fn psnr(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let squares: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 * a.len() as f64 / squares.max(1e-9)).log10()
}

const MIDDLE: (u32, u32) = (W / 2, H / 2);

#[test]
fn known_colors_have_their_video_codes() {
    for (color, want) in [
        ([1.0, 0.0, 0.0], [63, 102, 240]),
        ([0.0, 1.0, 0.0], [173, 42, 26]),
        ([0.0, 0.0, 1.0], [32, 240, 118]),
        ([1.0, 1.0, 1.0], [235, 128, 128]),
        ([0.0, 0.0, 0.0], [16, 128, 128]),
        ([0.215_86, 0.215_86, 0.215_86], [126, 128, 128]),
    ] {
        let build = Build::default().quad(at(0.0, 0.0, 0.0), unlit(color[0], color[1], color[2], 1.0));
        let out = rendered(&build, &view_from(1.0));
        let y = (MIDDLE.1 * W + MIDDLE.0) as usize;
        let c = (MIDDLE.1 / 2 * W / 2 + MIDDLE.0 / 2) as usize;
        assert_near([out.y[y], out.u[c], out.v[c]].map(i32::from), want);
    }
}

#[test]
fn nearer_hides_farther_in_any_order() {
    let (near, far) = (unlit(1.0, 0.0, 0.0, 1.0), unlit(0.0, 0.0, 1.0, 1.0));
    let a = Build::default().quad(at(0.0, 0.0, 0.5), near.clone()).quad(at(0.0, 0.0, 0.0), far.clone());
    let b = Build::default().quad(at(0.0, 0.0, 0.0), far).quad(at(0.0, 0.0, 0.5), near);
    for build in [a, b] {
        assert_near(rgb(&build, &view_from(3.0), MIDDLE.0, MIDDLE.1), [255, 0, 0]);
    }
}

#[test]
fn textures_are_the_right_way_up() {
    let texels = [[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255], [255, 255, 255, 255]];
    for nearest in [true, false] {
        let material = Material { base_color_texture: texture(0), ..unlit(1.0, 1.0, 1.0, 1.0) };
        let sampler = Sampler { nearest, wrap_u: scene::Wrap::Clamp, wrap_v: scene::Wrap::Clamp };
        let build = Build::default().image(2, 2, &texels, sampler).quad(at(0.0, 0.0, 0.0), material);
        let view = view_from(2.4);
        for (x, y, want) in
            [(12, 4, [255, 0, 0]), (51, 4, [0, 255, 0]), (12, 43, [0, 0, 255]), (51, 43, [255, 255, 255])]
        {
            assert_near(rgb(&build, &view, x, y), want);
        }
    }
}

#[test]
fn texture_transforms_and_wrap_modes_move_texels() {
    let texels = [[255, 0, 0, 255], [0, 0, 255, 255]];
    let color = |wrap_u, offset: f32| {
        let sampler = Sampler { nearest: true, wrap_u, ..Sampler::default() };
        let image_from_uv = Affine2::from_translation(Vec2::new(offset, 0.0));
        let base_color_texture = Some(TextureUse { texture: 0, uv_set: 0, image_from_uv });
        let material = Material { base_color_texture, ..unlit(1.0, 1.0, 1.0, 1.0) };
        let build = Build::default().image(2, 1, &texels, sampler).quad(at(0.0, 0.0, 0.0), material);
        // At uv 0.25 or so.
        rgb(&build, &view_from(2.4), 20, 24)
    };
    let (red, blue) = ([255, 0, 0], [0, 0, 255]);
    assert_near(color(scene::Wrap::Repeat, 0.0), red);
    assert_near(color(scene::Wrap::Repeat, 0.5), blue);
    assert_near(color(scene::Wrap::Repeat, -1.0), red);
    assert_near(color(scene::Wrap::Mirror, 1.0), blue);
    assert_near(color(scene::Wrap::Mirror, -0.6), red);
    assert_near(color(scene::Wrap::Clamp, 1.0), blue);
    assert_near(color(scene::Wrap::Clamp, -5.0), red);
}

#[test]
fn back_faces_are_seen_if_double_sided_and_mirrors_swap_nothing() {
    let red = unlit(1.0, 0.0, 0.0, 1.0);
    let turned = Affine3A::from_rotation_y(std::f32::consts::PI);
    let mirrored = Affine3A::from_scale(Vec3::new(-1.0, 1.0, 1.0));
    let both = Material { double_sided: true, ..red.clone() };
    for (transform, material, seen) in [
        (Affine3A::IDENTITY, &red, true),
        (turned, &red, false),
        (turned, &both, true),
        (mirrored, &red, true),
        (mirrored * turned, &red, false),
        (mirrored * turned, &both, true),
    ] {
        let build = Build::default().quad(transform, material.clone());
        // From afar (small triangles) and from near (large ones).
        for z in [30.0, 3.0, 0.5] {
            let [r, g, _] = rgb(&build, &view_from(z), MIDDLE.0, MIDDLE.1);
            assert_eq!(r > 200 && g < 60, seen, "{transform:?} {} {z}", material.double_sided);
        }
    }
}

#[test]
fn the_lit_side_of_a_double_sided_sheet_is_the_one_that_is_seen() {
    // Light comes from above: a sheet that lies flat is brighter from above than from below, whichever way it faces.
    let material = Material {
        base_color: Vec4::new(0.5, 0.5, 0.5, 1.0),
        metallic: 0.0,
        double_sided: true,
        ..Material::default()
    };
    let brightness = |face_up: bool, from_above: bool| {
        let quarter = std::f32::consts::FRAC_PI_2;
        let build = Build::default()
            .quad(Affine3A::from_rotation_x(if face_up { -quarter } else { quarter }), material.clone());
        let (eye, angle) = if from_above { (Vec3::Y * 3.0, -quarter) } else { (Vec3::Y * -3.0, quarter) };
        let view = View { eye, orientation: Quat::from_rotation_x(angle), ..view_from(0.0) };
        rgb(&build, &view, MIDDLE.0, MIDDLE.1)[1]
    };
    for face_up in [true, false] {
        assert!(brightness(face_up, true) > brightness(face_up, false) + 15, "{face_up}");
        assert!((brightness(face_up, true) - brightness(true, true)).abs() <= 2);
    }
}

#[test]
fn holes_of_a_mask_show_what_is_behind() {
    let texels = [[255, 0, 0, 255], [255, 0, 0, 0]];
    let mask = Material {
        base_color_texture: texture(0),
        alpha_mode: AlphaMode::Mask { cutoff: 0.5 },
        ..unlit(1.0, 1.0, 1.0, 1.0)
    };
    let sampler = Sampler { nearest: true, ..Sampler::default() };
    let build = Build::default()
        .image(2, 1, &texels, sampler)
        .quad(at(0.0, 0.0, 0.1), mask)
        .quad(at(0.0, 0.0, 0.0), unlit(0.0, 0.0, 1.0, 1.0));
    assert_near(rgb(&build, &view_from(2.4), 20, 24), [255, 0, 0]);
    assert_near(rgb(&build, &view_from(2.4), 44, 24), [0, 0, 255]);
}

#[test]
fn blended_surfaces_are_sorted_by_depth_not_by_order() {
    let half = |r, g, b| Material { alpha_mode: AlphaMode::Blend, ..unlit(r, g, b, 0.5) };
    let (red, green) = (half(0.6, 0.0, 0.0), half(0.0, 0.6, 0.0));
    let back = unlit(0.0, 0.0, 0.6, 1.0);
    let a = Build::default()
        .quad(at(0.0, 0.0, 0.2), red.clone())
        .quad(at(0.0, 0.0, 0.1), green.clone())
        .quad(at(0.0, 0.0, 0.0), back.clone())
        .quad(at(0.0, 0.0, -0.1), red.clone());
    let b = Build::default()
        .quad(at(0.0, 0.0, -0.1), red.clone())
        .quad(at(0.0, 0.0, 0.0), back)
        .quad(at(0.0, 0.0, 0.1), green)
        .quad(at(0.0, 0.0, 0.2), red);
    let (a, b) = (rgb(&a, &view_from(3.0), MIDDLE.0, MIDDLE.1), rgb(&b, &view_from(3.0), MIDDLE.0, MIDDLE.1));
    assert_eq!(a, b);
    // Light of 0.3, 0.15 and 0.15: red in front, then green over blue.
    let code = |x: f32| (crate::color::srgb_from_linear(x) * 255.0) as i32;
    assert!(
        (a[0] - code(0.3)).abs() < 6 && (a[1] - code(0.15)).abs() < 6 && (a[2] - code(0.15)).abs() < 6,
        "{a:?}"
    );
}

#[test]
fn many_blended_layers_stay_bounded_and_the_nearest_win() {
    let mut build = Build::default();
    for n in 0..60 {
        let color = if n >= 50 { unlit(0.5, 0.0, 0.0, 0.5) } else { unlit(0.0, 0.5, 0.0, 0.5) };
        let material = Material { alpha_mode: AlphaMode::Blend, ..color };
        build = build.quad(at(0.0, 0.0, n as f32 * 0.01), material);
    }
    let [r, g, b] = rgb(&build, &view_from(1.5), MIDDLE.0, MIDDLE.1);
    assert!(r > 180 && g < 40 && b < 40, "{r} {g} {b}");
}

#[test]
fn inside_of_a_room_no_pixel_is_left_out() {
    let material = Material { double_sided: true, ..unlit(0.0, 1.0, 0.0, 1.0) };
    let build = Build::default().add(cube(), Affine3A::IDENTITY, material);
    let scene = build.scene();
    let mut renderer = Renderer::new(threads(1));
    for (n, eye) in [Vec3::ZERO, Vec3::splat(0.999), Vec3::new(0.3, -0.9999, 0.7)].into_iter().enumerate() {
        for turn in 0..12 {
            let orientation =
                Quat::from_rotation_y(turn as f32 * 0.7) * Quat::from_rotation_x(turn as f32 - 4.0);
            let view = View { eye, orientation, fov_y: 1.5, ..view_from(0.0) };
            let rgba = renderer.still(&scene, &view, 1);
            let holes = rgba.as_chunks::<4>().0.iter().filter(|p| p[0] > 5 || p[1] < 250).count();
            assert_eq!(holes, 0, "eye {n}, turn {turn}");
        }
    }
}

#[test]
fn a_plane_to_the_horizon_fills_the_lower_half() {
    let flat = Affine3A::from_rotation_x(-std::f32::consts::FRAC_PI_2);
    let build =
        Build::default().quad(Affine3A::from_scale(Vec3::splat(1e6)) * flat, unlit(1.0, 0.0, 0.0, 1.0));
    let view = View { eye: Vec3::new(0.0, 1.0, 0.0), ..view_from(0.0) };
    let rgba = Renderer::new(threads(2)).still(&build.scene(), &view, 1);
    for (n, pixel) in rgba.as_chunks::<4>().0.iter().enumerate() {
        let row = n as u32 / W;
        let red = pixel[0] > 250 && pixel[1] < 5;
        assert_eq!(red, row >= H / 2, "row {row}");
    }
}

#[test]
fn the_same_bytes_for_any_number_of_threads() {
    let scene = everything().scene();
    let view = View { width: 200, height: 150, ..view_from(4.0) };
    let mut pictures = [1, 2, 3, 7].map(|n| {
        let mut renderer = Renderer::new(threads(n));
        let mut out = Yuv420::default();
        let mut all = Vec::new();
        for frame in 0..12 {
            let turn = Quat::from_rotation_y(frame as f32 * 0.01);
            let view = View { eye: turn * view.eye, orientation: turn, ..view };
            renderer.render(&scene, &view, &mut out);
            all.push(out.clone());
        }
        renderer.refine(&scene, &view, 3, &mut out);
        all.push(out);
        all
    });
    let first = std::mem::take(&mut pictures[0]);
    assert!(pictures[1..].iter().all(|p| *p == first));
    // Not an empty picture.
    assert!(first[0].y.iter().any(|y| *y < 90), "something dark");
}

#[test]
fn every_instruction_set_draws_the_same_picture() {
    let scene = everything().scene();
    let view = View { width: 200, height: 150, ..view_from(4.0) };
    let draw = |level| {
        let mut out = Yuv420::default();
        Renderer::with_level(threads(2), level).render(&scene, &view, &mut out);
        out
    };
    let (a, b) = (draw(Level::detect()), draw(Level::Portable));
    for (a, b) in [(&a.y, &b.y), (&a.u, &b.u), (&a.v, &b.v)] {
        let db = psnr(a, b);
        assert!(db > 48.0, "{db} dB");
    }
}

#[test]
fn refinement_is_the_average_of_its_samples() {
    let scene = everything().scene();
    let view = view_from(4.0);
    let mut steps = Renderer::new(threads(2));
    let mut out = Yuv420::default();
    let mut pictures = Vec::new();
    for sample in 1..=REFINE_SAMPLES {
        steps.refine(&scene, &view, sample, &mut out);
        pictures.push(out.clone());
        if sample == 5 {
            // At once, and after another view, comes the same picture.
            let mut other = Renderer::new(threads(1));
            let mut at_once = Yuv420::default();
            other.refine(&scene, &view_from(3.0), 2, &mut at_once);
            other.refine(&scene, &view, 5, &mut at_once);
            assert_eq!(at_once, out);
        }
    }
    // Asking again shows the same.
    steps.refine(&scene, &view, REFINE_SAMPLES, &mut out);
    assert_eq!(Some(&out), pictures.last());
    let far = Renderer::new(threads(2)).still(&scene, &view, 128);
    let rgba = |n| Renderer::new(threads(2)).still(&scene, &view, n);
    let (one, four, sixteen) = (psnr(&rgba(1), &far), psnr(&rgba(4), &far), psnr(&rgba(16), &far));
    assert!(one < four && four < sixteen && sixteen > 32.0, "{one} {four} {sixteen}");
}

#[test]
fn picking_hits_what_is_shown() {
    let mut build = Build::default();
    for n in 0..40u32 {
        let t = n as f32;
        let place = Affine3A::from_scale_rotation_translation(
            Vec3::new(0.3, 0.25, 0.4) * if n % 3 == 0 { -1.0 } else { 1.0 },
            Quat::from_rotation_y(t) * Quat::from_rotation_x(t * 0.7),
            Vec3::new((t * 1.3).sin(), (t * 2.1).cos() * 0.7, (t * 0.9).sin()),
        );
        let mut material = unlit((n % 4) as f32 * 0.2 + 0.1, (n / 4) as f32 * 0.08 + 0.05, 0.0, 1.0);
        material.double_sided = n % 2 == 0;
        build = build.add(if n % 5 == 0 { cube() } else { quad() }, place, material);
    }
    let scene = build.scene();
    let view = view_from(3.0);
    let mut renderer = Renderer::new(threads(1));
    let rgba = renderer.still(&scene, &view, 1);
    let jitter = (halton(1, 2) - 0.5, halton(1, 3) - 0.5);
    let (mut hits, mut wrong) = (0, 0);
    for (n, pixel) in rgba.as_chunks::<4>().0.iter().enumerate() {
        let (x, y) = (n as u32 % W, n as u32 / W);
        let hit = renderer.pick(&scene, &view, x as f32 + 0.5 + jitter.0, y as f32 + 0.5 + jitter.1);
        let color = match hit {
            Some(hit) => {
                hits += 1;
                let c = build.0.materials[hit.node as usize].base_color;
                [c.x, c.y, 0.0].map(|x| (crate::color::srgb_from_linear(x) * 255.0) as i32)
            }
            None => continue,
        };
        let close = color.iter().zip(&pixel[..3]).all(|(a, b)| (a - i32::from(*b)).abs() <= 2);
        wrong += i32::from(!close);
    }
    // Only rays through an edge may differ, by rounding.
    assert!(hits > 500 && wrong <= 2, "{hits} hits, {wrong} wrong");
    let hit = Renderer::new(threads(1)).pick(&everything().scene(), &view_from(4.0), 32.0, 47.0).unwrap();
    assert_eq!((hit.node, hit.position.z), (3, 2.0));
}

#[test]
fn instances_share_their_geometry() {
    let one = Build::default().add(sphere(40), Affine3A::IDENTITY, Material::default());
    let mut many = one.clone();
    for n in 1..1500 {
        let node = Node { parent_from_node: at(n as f32, 0.0, 0.0), ..many.0.nodes[0].clone() };
        many.0.nodes.push(node);
    }
    let (one, many) = (one.scene(), many.scene());
    assert_eq!(one.clusters.vertices.len(), many.clusters.vertices.len());
    assert_eq!(one.triangles() * 1500, many.triangles());
}

#[test]
fn broken_models_are_refused_and_empty_ones_are_fine() {
    let mut broken = Build::default().quad(at(0.0, 0.0, 0.0), Material::default());
    broken.0.meshes[0].primitives[0].indices[0] = 9;
    assert!(matches!(RenderScene::build(&broken.0, &mut |_| ()), Err(crate::BuildError::Defect(_))));
    let empty = Build::default();
    assert_eq!(empty.scene().bounds(), None);
    let out = rendered(&empty, &view_from(1.0));
    assert!(out.y.iter().all(|y| *y > 100));
}

#[test]
fn odd_sizes_are_drawn_to_the_edge() {
    let build = Build::default().quad(Affine3A::from_scale(Vec3::splat(9.0)), unlit(1.0, 0.0, 0.0, 1.0));
    for (width, height) in [(17, 19), (33, 16), (31, 35)] {
        let out = rendered(&build, &View { width, height, ..view_from(1.0) });
        assert_eq!(out.u.len(), (width.div_ceil(2) * height.div_ceil(2)) as usize);
        assert!(out.y.iter().all(|y| y.abs_diff(63) <= 1), "{width} x {height}");
        assert!(out.v.iter().all(|v| v.abs_diff(240) <= 1), "{width} x {height}: {:?}", out.v);
    }
}

fn any_number() -> impl Strategy<Value = f32> {
    prop_oneof![-3.0f32..3.0, -1e3f32..1e3, any::<f32>(), Just(0.0), Just(1e9), Just(1e-30)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]
    #[test]
    fn no_view_and_no_scene_makes_it_panic(
        eye in prop::array::uniform3(any_number()),
        q in prop::array::uniform4(any_number()),
        fov_y in any_number(),
        size in (0u32..90, 0u32..90),
        placed in prop::array::uniform9(any_number()),
        corners in prop::collection::vec(prop::array::uniform3(any_number()), 3..12),
        kind in 0u8..4,
    ) {
        let mut build = everything();
        let finite = |x: f32| if x.is_finite() { x } else { 1e30 };
        let positions: Vec<Vec3> = corners.iter().map(|c| Vec3::from(c.map(finite))).collect();
        let n = positions.len() as u32;
        let vertices = Vertices {
            normals: positions.iter().map(|p| p.normalize_or(Vec3::Y)).collect(),
            positions,
            ..Vertices::default()
        };
        let indices = (0..n - 2).flat_map(|i| [i, i + 1, i + 2]).collect();
        let m = placed.map(finite);
        let transform = Affine3A::from_cols(
            Vec3::new(m[0], m[1], m[2]).into(),
            Vec3::new(m[3], m[4], m[5]).into(),
            Vec3::new(m[6], m[7], m[8]).into(),
            Vec3::new(m[1], m[4], m[7]).into(),
        );
        let alpha_mode = match kind {
            0 => AlphaMode::Opaque,
            1 => AlphaMode::Mask { cutoff: 0.5 },
            _ => AlphaMode::Blend,
        };
        let material = Material { alpha_mode, double_sided: kind % 2 == 0, ..unlit(0.5, 0.5, 0.5, 0.7) };
        build = build.add(Primitive { vertices, indices, material: 0 }, transform, material);
        let view = View {
            eye: Vec3::from(eye),
            orientation: Quat::from_array(q),
            fov_y,
            width: size.0,
            height: size.1,
            look: Look::default(),
        };
        let scene = build.scene();
        let mut renderer = Renderer::new(threads(2));
        let mut out = Yuv420::default();
        let stats = renderer.render(&scene, &view, &mut out);
        prop_assert!(stats.near_m > 0.0 && stats.near_m < stats.far_m, "{stats:?}");
        prop_assert_eq!(out.y.len(), (out.width * out.height) as usize);
        prop_assert!(out.y.iter().all(|y| (16..=235).contains(y)));
        renderer.pick(&scene, &view, 3.0, 4.0);
    }
}

#[test]
fn both_triangles_of_a_quad_show_the_texture_alike() {
    // A smooth pattern, seen obliquely and about one texel a pixel: neighbours differ little, all over.
    let texels: Vec<[u8; 4]> = (0..64 * 64u32)
        .map(|n| {
            let wave = |x: u32| (((x as f32) * 0.4).sin() * 50.0 + 128.0) as u8;
            [wave(n % 64), wave(n / 64), 128, 255]
        })
        .collect();
    let material = Material { base_color_texture: texture(0), ..unlit(1.0, 1.0, 1.0, 1.0) };
    let build = Build::default()
        .image(64, 64, &texels, Sampler::default())
        .quad(Affine3A::from_rotation_y(0.5), material);
    for z in [2.6, 3.0, 4.0, 8.0] {
        let view = View { width: 96, height: 96, ..view_from(z) };
        let rgba = Renderer::new(threads(1)).still(&build.scene(), &view, 1);
        let pixel = |x: usize, y: usize| &rgba[(y * 96 + x) * 4..][..3];
        let mut worst = 0;
        for y in 40..56 {
            for x in 40..56 {
                for channel in 0..2 {
                    worst = worst.max(pixel(x, y)[channel].abs_diff(pixel(x + 1, y)[channel]));
                    worst = worst.max(pixel(x, y)[channel].abs_diff(pixel(x, y + 1)[channel]));
                }
            }
        }
        assert!(worst < 60, "{worst} at {z}");
    }
}
