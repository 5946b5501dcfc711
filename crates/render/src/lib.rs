//! A scene becomes a picture, on the CPU.
//!
//! A [`RenderScene`] is built once from a [`scene::Model`]; a [`Renderer`] with its own threads turns it and a [`View`]
//! into I420 (for the encoder), RGBA (for a still) or the point below a pixel.
//!
//! What this crate does not know: files, sessions, encoders. It reads a clock, but only to tell what a frame took.

#![allow(
    clippy::needless_range_loop,
    reason = "kernels go through several arrays by lane, channel or corner"
)]

mod clusters;
mod color;
mod cpu;
mod enlarge;
mod light;
mod look;
mod parallel;
mod simd;
mod texture;
mod view;

pub use clusters::{BuildError, RenderScene};
pub use cpu::{Hit, REFINE_SAMPLES, Renderer, StageTimes, Stats, Yuv420};
pub use enlarge::Enlarger;
pub use light::sky_light;
pub use look::{Look, MotionDetail, Sky, ToneMapping};
pub use view::{FRAME_FOV_Y, SIZE_MAX, SIZE_MIN, View, frame_camera};
