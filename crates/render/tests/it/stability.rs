//! How still a picture is while the camera moves: an orbit around wires thinner than pixels and small things far away, each
//! frame beside a picture of the same view with many samples.

use std::num::NonZeroUsize;

use render::{MotionDetail, REFINE_SAMPLES, RenderScene, Renderer, View, Yuv420};
use scene::math::{Affine3A, Quat, Vec3};
use scene::{Material, Sampler};

use crate::build::{Build, at, cube, texture, unlit};
use crate::scenes::{ball, plastic, view};

/// Of each reference.
const SAMPLES: u32 = 64;
/// Frames of an orbit that are not counted, while samples come in.
const WARM_UP: usize = 8;
const FRAMES: usize = 24;

/// Wires at all angles, 0.2 to 0.6 pixels thick; a fence of bars closer than two pixels; a thousand cubes of a pixel each;
/// and a ball with highlights.
fn wires_and_dust() -> RenderScene {
    let mut build = Build::default();
    let black = unlit(0.01, 0.01, 0.01, 1.0);
    for n in 0..14u8 {
        let turn = Affine3A::from_rotation_z(f32::from(n) * 0.224 + 0.03);
        let thick = 0.0022 + f32::from(n % 5) * 0.001;
        let size = Affine3A::from_scale(Vec3::new(1.2, thick, thick));
        build = build.add(cube(), at(0.0, 0.1, 0.6) * turn * size, black.clone());
    }
    for n in 0..90u8 {
        let bar = Affine3A::from_scale(Vec3::new(0.018, 0.5, 0.018));
        build = build.add(
            cube(),
            at(f32::from(n) * 0.08 - 3.6, -1.1, -5.0) * bar,
            plastic(Vec3::new(0.8, 0.4, 0.1)),
        );
    }
    let shiny = Material { metallic: 1.0, roughness: 0.15, ..plastic(Vec3::new(0.9, 0.8, 0.5)) };
    build = build.add(ball(48), at(-1.3, 0.2, -1.0) * Affine3A::from_scale(Vec3::splat(0.5)), shiny);
    // One mesh for all of the dust.
    build = build.add(cube(), Affine3A::IDENTITY, plastic(Vec3::new(0.1, 0.2, 0.4)));
    let node = build.0.nodes.pop().unwrap();
    for n in 0..1000u32 {
        let [x, y, z] = [n % 40, n / 40, n * 7 % 11].map(|n| n as f32);
        let place = at(x * 0.29 - 5.7, y * 0.11 + 0.4, -16.0 - z * 0.4);
        let turn = Affine3A::from_rotation_y(x + y * 0.7);
        let parent_from_node = place * turn * Affine3A::from_scale(Vec3::splat(0.035));
        build.0.nodes.push(scene::Node { parent_from_node, ..node.clone() });
    }
    build.scene()
}

/// Nothing but a smooth surface with fine textures: letters, scratches and bumps, each of two or three pixels.
fn print_and_scratches() -> RenderScene {
    let noise = |n: u32| (n.wrapping_mul(0x9e37_79b9) >> 7).wrapping_mul(0x85eb_ca6b) >> 24;
    let size = 512_u32;
    let pixels = |code: &dyn Fn(u32, u32) -> [u8; 4]| -> Vec<[u8; 4]> {
        (0..size * size).map(|n| code(n % size, n / size)).collect()
    };
    // Letters of 5 x 7 dots, black on yellow.
    let print = pixels(&|x, y| {
        let letter = noise(x / 24 + y / 32 * 64 + 1) ^ 0x5a;
        let inked = x % 24 < 20 && y % 32 < 28 && noise(letter * 97 + x % 24 / 4 + y % 32 / 4 * 5) > 110;
        if inked { [30, 20, 25, 255] } else { [230, 205, 120, 255] }
    });
    let scratched = pixels(&|x, y| {
        let scratch = noise((x + y / 3) / 4) as u8;
        [255, 60 + scratch / 2, if noise(x / 64 + y / 64 * 9) > 128 { 255 } else { 0 }, 255]
    });
    let bumpy = pixels(&|x, y| {
        let slope = |n: u32| 128.0 + 40.0 * (n as f32 * 0.3).sin() + (noise(n / 3 * 7) as f32 - 128.0) * 0.1;
        [slope(x) as u8, slope(y + x / 2) as u8, 240, 255]
    });
    let mut build = Build::default();
    for texels in [&print, &scratched, &bumpy] {
        build = build.image(size, size, texels, Sampler::default());
    }
    let material = Material {
        base_color_texture: texture(0),
        metallic_roughness_texture: texture(1),
        normal_texture: texture(2),
        ..plastic(Vec3::ONE)
    };
    build = build.add(ball(64), Affine3A::from_scale(Vec3::splat(1.9)), material);
    build.scene()
}

fn orbit(frame: usize, step_degrees: f32) -> View {
    let turn = Quat::from_rotation_y((frame as f32 * step_degrees).to_radians());
    View { width: 192, height: 144, ..view(turn * Vec3::new(0.0, 0.3, 5.0), Vec3::ZERO) }
}

/// Luma, 16 to 235.
fn luma(rgba: &[u8]) -> Vec<f32> {
    let part = |c: u8, weight: f32| f32::from(c) / 255.0 * 219.0 * weight;
    let pixels = rgba.as_chunks::<4>().0.iter();
    pixels.map(|[r, g, b, _]| 16.0 + part(*r, 0.2126) + part(*g, 0.7152) + part(*b, 0.0722)).collect()
}

fn of_video(video: &Yuv420) -> Vec<f32> {
    video.y.iter().map(|y| f32::from(*y)).collect()
}

/// How far pictures are from what they should be, in steps of luma.
#[derive(Debug, Clone, Copy)]
struct Stability {
    /// Root of the mean square difference to the reference.
    error: f32,
    /// Variance of the change from frame to frame, of that of the references: more than 1 flickers.
    flicker: f32,
    /// Root of the mean square of what changed otherwise than in the references.
    unsteady: f32,
}

impl Stability {
    fn of(frames: &[Vec<f32>], references: &[Vec<f32>]) -> Self {
        let mean_square = |values: &mut dyn Iterator<Item = f32>| {
            let (sum, n) = values.fold((0.0, 0), |(sum, n), x| (sum + f64::from(x * x), n + 1));
            (sum / f64::from(n.max(1))) as f32
        };
        let pairs = || frames.iter().zip(references).flat_map(|(a, b)| a.iter().zip(b));
        let changes = |of: &[Vec<f32>]| -> Vec<f32> {
            of.windows(2)
                .flat_map(|two| two[0].iter().zip(&two[1]).map(|(a, b)| b - a).collect::<Vec<_>>())
                .collect()
        };
        let (ours, theirs) = (changes(frames), changes(references));
        Self {
            error: mean_square(&mut pairs().map(|(a, b)| a - b)).sqrt(),
            flicker: mean_square(&mut ours.iter().copied()) / mean_square(&mut theirs.iter().copied()),
            unsteady: mean_square(&mut ours.iter().zip(&theirs).map(|(a, b)| a - b)).sqrt(),
        }
    }
}

struct Orbit {
    references: Vec<Vec<f32>>,
    /// Each by a renderer that has seen nothing before: without anti-aliasing.
    single: Vec<Vec<f32>>,
    moving: Vec<Vec<f32>>,
    /// As under load.
    coarse: Vec<Vec<f32>>,
}

impl Orbit {
    fn new(scene: &RenderScene, step_degrees: f32) -> Self {
        let fresh = || Renderer::new(NonZeroUsize::MIN);
        let (mut mover, mut coarse, mut stills) = (fresh(), fresh(), fresh());
        coarse.set_motion_detail(MotionDetail::Coarse);
        let (mut out, mut coarse_out) = (Yuv420::default(), Yuv420::default());
        let mut pictures =
            Self { references: Vec::new(), single: Vec::new(), moving: Vec::new(), coarse: Vec::new() };
        for frame in 0..WARM_UP + FRAMES {
            let view = orbit(frame, step_degrees);
            mover.render(scene, &view, &mut out);
            coarse.render(scene, &view, &mut coarse_out);
            if frame < WARM_UP {
                continue;
            }
            pictures.moving.push(of_video(&out));
            pictures.coarse.push(of_video(&coarse_out));
            fresh().render(scene, &view, &mut out);
            pictures.single.push(of_video(&out));
            pictures.references.push(luma(&stills.still(scene, &view, SAMPLES)));
        }
        pictures
    }
}

/// In steps of luma. Without anti-aliasing it is 22 and more.
const ERROR_MAX: f32 = 12.0;
/// Without anti-aliasing it is 5 and more; blur brings it below 1.
const FLICKER_MAX: f32 = 1.0;

#[test]
fn an_orbit_flickers_no_more_than_a_picture_of_many_samples() {
    let scene = wires_and_dust();
    // Slow, and fast: 10 pixels a frame at the wires.
    for step_degrees in [0.25, 2.0] {
        let orbit = Orbit::new(&scene, step_degrees);
        let [moving, single] =
            [&orbit.moving, &orbit.single].map(|frames| Stability::of(frames, &orbit.references));
        println!("{step_degrees} degrees a frame: {moving:?}; without anti-aliasing {single:?}");
        assert!(single.error > ERROR_MAX && single.flicker > FLICKER_MAX, "{step_degrees}: {single:?}");
        assert!(moving.error < ERROR_MAX && moving.flicker < FLICKER_MAX, "{step_degrees}: {moving:?}");
        assert!(moving.unsteady < single.unsteady * 0.6, "{step_degrees}: {moving:?} {single:?}");
    }
}

#[test]
fn textures_in_motion_are_as_sharp() {
    let scene = print_and_scratches();
    for step_degrees in [0.1, 0.5, 3.0] {
        let orbit = Orbit::new(&scene, step_degrees);
        let [moving, coarse, single] = [&orbit.moving, &orbit.coarse, &orbit.single]
            .map(|frames| Stability::of(frames, &orbit.references));
        println!(
            "{step_degrees} degrees a frame: {moving:?}; under load {coarse:?}; without anti-aliasing {single:?}"
        );
        // History in place of textures would more than double the error.
        assert!(moving.error < single.error * 1.3, "{step_degrees}: {moving:?} {single:?}");
        assert!(moving.unsteady < single.unsteady * 1.3, "{step_degrees}: {moving:?} {single:?}");
        // Every other pixel is shaded.
        assert!(coarse.error < single.error * 1.6, "{step_degrees}: {coarse:?} {single:?}");
    }
}

#[test]
fn a_camera_that_comes_to_rest_does_not_make_the_picture_jump() {
    let scene = wires_and_dust();
    let view = orbit(11, 0.25);
    let [mut renderer, mut fresh] = [(); 2].map(|()| Renderer::new(NonZeroUsize::MIN));
    let (mut out, mut expected) = (Yuv420::default(), Yuv420::default());
    for frame in 0..12 {
        renderer.render(&scene, &orbit(frame, 0.25), &mut out);
    }
    let motion = of_video(&out);
    fresh.refine(&scene, &view, REFINE_SAMPLES, &mut expected);
    let rest = of_video(&expected);
    let apart = |a: &[f32], b: &[f32]| {
        let squares: f32 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
        (squares / a.len() as f32).sqrt()
    };
    let (mut before, mut largest) = (motion.clone(), 0.0_f32);
    for sample in 1..=REFINE_SAMPLES {
        renderer.refine(&scene, &view, sample, &mut out);
        let now = of_video(&out);
        largest = largest.max(apart(&now, &before));
        before = now;
    }
    // It ends where it would have ended without motion, and goes there in small steps.
    assert_eq!(out, expected);
    let whole = apart(&motion, &rest);
    println!("from motion to rest: {whole} in all, the largest step is {largest}");
    assert!(largest < whole * 0.35, "{largest} of {whole}");
    // The first sample alone would jump.
    fresh.refine(&scene, &view, 1, &mut expected);
    assert!(apart(&of_video(&expected), &motion) > whole, "{whole}");
}
