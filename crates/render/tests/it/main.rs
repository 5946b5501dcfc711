//! Pictures, seen from outside.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::unwrap_used,
    reason = "small known numbers, and tests"
)]

mod build;
mod flip;
mod golden;
mod scenes;
mod stability;

use render::RenderScene;
