//! A renderer that has warmed up draws frames without asking for memory. A program of its own, because it counts what
//! all threads ask for.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::unwrap_used,
    dead_code,
    reason = "small known numbers, tests, and shapes that are not all used"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use render::{Look, REFINE_SAMPLES, RenderScene, Renderer, View, Yuv420};
use scene::Material;
use scene::math::{Quat, Vec3};

use self::build::{Build, at, cube, everything, sphere};

#[path = "it/build.rs"]
mod build;

/// The system's, but it counts.
struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all work is the system allocator's, called as this one was.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Around the origin, nearer and farther.
fn view(step: f32) -> View {
    let turn = Quat::from_rotation_y(step * 0.1) * Quat::from_rotation_x(-0.2);
    let distance = 5.0 + 2.0 * (step * 0.37).sin();
    let eye = turn * Vec3::new(0.0, 0.0, distance);
    View { eye, orientation: turn, fov_y: 0.9, width: 320, height: 180, look: Look::default() }
}

/// Allocations over a camera's way, after it has gone a way between those places.
fn allocations(scene: &RenderScene, n_threads: usize) -> usize {
    let mut renderer = Renderer::new(NonZeroUsize::new(n_threads).unwrap());
    let mut picture = Yuv420::default();
    for step in 0..80 {
        renderer.render(scene, &view(step as f32), &mut picture);
    }
    let before = COUNT.load(Ordering::Relaxed);
    for step in 0..80 {
        renderer.render(scene, &view(step as f32 + 0.5), &mut picture);
    }
    COUNT.load(Ordering::Relaxed) - before
}

/// One test, so that no other's allocations are counted.
#[test]
fn frames_ask_for_no_memory() {
    assert_eq!(allocations(&everything().scene(), 1), 0, "a bit of everything");

    let mut many = Build::default();
    for n in 0..300 {
        let place = at((n % 10) as f32 - 4.5, (n / 10 % 10) as f32 - 4.5, (n / 100) as f32 - 1.0);
        let shape = if n % 2 == 0 { cube() } else { sphere(12) };
        many =
            many.add(shape, place * scene::math::Affine3A::from_scale(Vec3::splat(0.3)), Material::default());
    }
    let many = many.scene();
    for n_threads in [1, 3] {
        assert_eq!(allocations(&many, n_threads), 0, "300 nodes, {n_threads} threads");
    }

    // At rest, from the second sample on.
    let mut renderer = Renderer::new(NonZeroUsize::new(2).unwrap());
    let mut picture = Yuv420::default();
    renderer.refine(&many, &view(0.0), 1, &mut picture);
    renderer.refine(&many, &view(0.0), 2, &mut picture);
    let before = COUNT.load(Ordering::Relaxed);
    for sample in 3..=REFINE_SAMPLES {
        renderer.refine(&many, &view(0.0), sample, &mut picture);
    }
    assert_eq!(COUNT.load(Ordering::Relaxed) - before, 0, "at rest");
}
