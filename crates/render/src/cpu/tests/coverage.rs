//! Surfaces of many clusters have neither cracks nor seams that are drawn twice: what [`crate::cpu::raster`] promises of
//! the triangles of one cluster, for whole pictures.
//!
//! A pixel here is 16 samples, so one that is missed or drawn twice anywhere in it changes its colour.

use std::f32::consts::{PI, TAU};

use super::*;

/// Two bands and a bit.
const SIZE: (u32, u32) = (176, 140);
const SAMPLES: u32 = 16;

/// A ball of radius 1 that is closed to the bit: around the seam and at the poles triangles share their corners. In
/// four stripes, which are geometries of their own. `inwards`, it is seen from inside.
fn closed_ball(segments: u32, inwards: bool) -> [Primitive; 4] {
    let rings = segments / 2;
    let corner = |ring: u32, segment: u32| {
        let (st, ct) = (ring as f32 / rings as f32 * PI).sin_cos();
        let (sp, cp) = ((segment % segments) as f32 / segments as f32 * TAU).sin_cos();
        let is_pole = ring == 0 || ring == rings;
        if is_pole { Vec3::new(0.0, ct.signum(), 0.0) } else { Vec3::new(st * sp, ct, st * cp) }
    };
    [0, 1, 2, 3].map(|stripe| {
        let mut vertices = Vertices::default();
        let mut indices = Vec::new();
        let (first, last) = (stripe * rings / 4, (stripe + 1) * rings / 4);
        for ring in first..=last {
            for segment in 0..=segments {
                vertices.positions.push(corner(ring, segment));
                if ring < last && segment < segments {
                    let a = (ring - first) * (segments + 1) + segment;
                    let b = a + segments + 1;
                    let [mut up, mut low] = [[a, b, a + 1], [a + 1, b, b + 1]];
                    if inwards {
                        up.reverse();
                        low.reverse();
                    }
                    // At the poles one of the two has no area.
                    indices.extend((ring > 0).then_some(up).into_iter().flatten());
                    indices.extend((ring + 1 < rings).then_some(low).into_iter().flatten());
                }
            }
        }
        vertices.normals = vertices.positions.clone();
        Primitive { vertices, indices, material: 0 }
    })
}

fn add_ball(build: Build, segments: u32, inwards: bool, place: Affine3A, material: &Material) -> Build {
    let stripes = closed_ball(segments, inwards).into_iter();
    stripes.fold(build, |build, stripe| build.add(stripe, place, material.clone()))
}

/// Numbers from 0 to 1 that fill their cube evenly.
fn spread<const N: usize>(n: u32) -> [f32; N] {
    std::array::from_fn(|at| halton(n + 1, [2, 3, 5, 7, 11, 13][at]))
}

/// A direction and an attitude.
fn turned(n: u32) -> (Vec3, Quat) {
    let [u, v, a, b, c] = spread(n);
    let (s, c1) = (u * TAU).sin_cos();
    let z = v * 2.0 - 1.0;
    let flat = (1.0 - z * z).sqrt();
    let attitude =
        Quat::from_rotation_y(a * TAU) * Quat::from_rotation_x(b * PI) * Quat::from_rotation_z(c * TAU);
    (Vec3::new(flat * c1, flat * s, z), attitude)
}

fn looking(eye: Vec3, orientation: Quat, fov_y: f32) -> View {
    View { eye, orientation, fov_y, width: SIZE.0, height: SIZE.1, look: Look::default() }
}

fn green() -> Material {
    unlit(0.0, 1.0, 0.0, 1.0)
}

/// Pixels that nothing but pure green fell on.
fn full(rgba: &[u8]) -> Vec<bool> {
    rgba.as_chunks::<4>().0.iter().map(|[r, g, b, _]| *r <= 2 && *g >= 253 && *b <= 2).collect()
}

fn clusters(scene: &RenderScene) -> usize {
    scene.clusters.clusters.len()
}

#[test]
fn a_ball_seen_from_outside_has_no_cracks() {
    let place = Affine3A::from_rotation_x(0.3) * Affine3A::from_scale(Vec3::new(0.9, 1.1, 1.0));
    let mut renderer = Renderer::new(threads(2));
    for segments in [24, 64, 200] {
        let scene = add_ball(Build::default(), segments, false, place, &green()).scene();
        assert!(clusters(&scene) >= segments as usize / 3, "{}", clusters(&scene));
        for n in 0..12 {
            let (direction, _) = turned(n);
            // From triangles of many pixels to a few in each pixel.
            let distance = [1.3, 1.6, 2.5, 5.0, 12.0, 30.0][n as usize % 6];
            let aim = Quat::from_rotation_arc(Vec3::Z, direction);
            let sway = Quat::from_rotation_x(spread::<6>(n)[5] * 0.02);
            let view = looking(direction * distance, aim * sway, 0.7);
            let full = full(&renderer.still(&scene, &view, SAMPLES));
            // A convex body covers each row and each column without a gap.
            let (width, height) = (SIZE.0 as usize, SIZE.1 as usize);
            let rows = (0..height).map(|y| (y * width, 1, width));
            let columns = (0..width).map(|x| (x, width, height));
            for (start, step, len) in rows.chain(columns) {
                let line: Vec<usize> = (0..len).filter(|at| full[start + at * step]).collect();
                if let [first, .., last] = line[..] {
                    assert_eq!(
                        line.len(),
                        last - first + 1,
                        "{segments}, view {n}: {line:?} of {start} by {step}"
                    );
                }
            }
            // Half the disc at least: 1.1 of radius, 1 / tan 0.35 of the half height.
            let radius_px = 0.9 / distance / 0.35f32.tan() * SIZE.1 as f32 * 0.5;
            let disc = (PI * radius_px * radius_px).min((SIZE.0 * SIZE.1) as f32);
            let n_full = full.iter().filter(|full| **full).count();
            assert!(n_full as f32 > disc * 0.5, "{segments}, view {n}: {n_full} of {disc}");
        }
    }
}

/// Eyes within a ball: anywhere, and so near to it that what is beside them is cut at the near plane and at the guard
/// band.
fn from_within(n: u32) -> View {
    let (direction, attitude) = turned(n);
    let [.., fov] = spread::<6>(n);
    looking(direction * [0.5, 0.97, 0.9985, 0.0][n as usize % 4], attitude, 0.2 + fov * 1.8)
}

#[test]
fn a_ball_seen_from_inside_covers_every_pixel() {
    let scene = add_ball(Build::default(), 80, true, Affine3A::IDENTITY, &green()).scene();
    assert!(clusters(&scene) > 50);
    let mut renderer = Renderer::new(threads(2));
    let mut video = Yuv420::default();
    for n in 0..40 {
        let view = from_within(n);
        let full = full(&renderer.still(&scene, &view, SAMPLES));
        assert!(
            full.iter().all(|full| *full),
            "view {n}: {} holes",
            full.iter().filter(|full| !**full).count()
        );
        // As it is drawn in motion, too.
        renderer.render(&scene, &view, &mut video);
        assert!(video.y.iter().all(|y| y.abs_diff(173) <= 1), "view {n} in motion");
    }
}

/// Everything has one colour: once 50 % white over black, everywhere.
fn assert_once(rgba: &[u8], what: &str) {
    let once = (crate::color::srgb_from_linear(0.5) * 255.0) as u8;
    let (pixels, _) = rgba.as_chunks::<4>();
    let other = pixels.iter().filter(|[r, g, b, _]| [r, g, b].iter().any(|c| c.abs_diff(once) > 1));
    let other: Vec<_> = other.collect();
    assert!(other.is_empty(), "{what}: {} pixels are not drawn once, such as {:?}", other.len(), other[0]);
}

fn half_white() -> Material {
    Material { alpha_mode: AlphaMode::Blend, ..unlit(1.0, 1.0, 1.0, 0.5) }
}

fn black() -> Material {
    unlit(0.0, 0.0, 0.0, 1.0)
}

#[test]
fn a_glass_ball_seen_from_inside_is_drawn_once_everywhere() {
    let twice = Affine3A::from_scale(Vec3::splat(2.0));
    let build = add_ball(Build::default(), 80, true, Affine3A::IDENTITY, &half_white());
    let scene = add_ball(build, 16, true, twice, &black()).scene();
    let mut renderer = Renderer::new(threads(2));
    for n in 0..20 {
        assert_once(&renderer.still(&scene, &from_within(n), SAMPLES), &format!("view {n}"));
    }
}

#[test]
fn a_glass_sheet_is_drawn_once_everywhere() {
    for (n_cells, unrest) in [(16, 0.0), (16, 0.4), (70, 0.4), (200, 0.4)] {
        let mut vertices = Vertices::default();
        let mut indices = Vec::new();
        for row in 0..=n_cells {
            for column in 0..=n_cells {
                let [x, y] = [column, row].map(|at| at as f32);
                let [dx, dy] = spread::<2>(row * 977 + column).map(|d| (d - 0.5) * unrest);
                let [x, y] = [x + dx, y + dy].map(|at| at / n_cells as f32 * 4.0 - 2.0);
                vertices.positions.push(Vec3::new(x, y, 0.0));
                if row < n_cells && column < n_cells {
                    let a = row * (n_cells + 1) + column;
                    let b = a + n_cells + 1;
                    // Diagonals either way.
                    let even = (row + column) % 2 == 0;
                    indices.extend(if even {
                        [a, a + 1, b, a + 1, b + 1, b]
                    } else {
                        [a, a + 1, b + 1, a, b + 1, b]
                    });
                }
            }
        }
        vertices.normals = vec![Vec3::Z; vertices.positions.len()];
        let far = at(0.0, 0.0, -1.0) * Affine3A::from_scale(Vec3::splat(50.0));
        let scene = Build::default()
            .add(Primitive { vertices, indices, material: 0 }, Affine3A::IDENTITY, half_white())
            .quad(far, black())
            .scene();
        let mut renderer = Renderer::new(threads(2));
        for n in 0..8 {
            let [x, y, tilt, turn, distance] = spread(n);
            let orientation = Quat::from_rotation_z(turn * TAU) * Quat::from_rotation_x(tilt * 0.4);
            let eye = Vec3::new(x - 0.5, y - 0.5, 0.02 + distance);
            let view = looking(eye, orientation, 0.8);
            assert_once(&renderer.still(&scene, &view, SAMPLES), &format!("{n_cells} cells, view {n}"));
        }
        // From the front, cells and pixels in step: columns of edges go through the very centres of the first samples.
        let view = looking(Vec3::Z, Quat::IDENTITY, 2.0 * (1.0f32).atan());
        assert_once(&renderer.still(&scene, &view, SAMPLES), &format!("{n_cells} cells in step"));
    }
}
