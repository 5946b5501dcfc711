//! Files to models: reads glTF 2.0 (`.gltf`, `.glb`) into [`scene::Model`], and writes sample models.
//!
//! ```text
//! bytes ─ container ─ json ─ accessors ─┬─ nodes ──────┐
//!         (GLB, text)  (typed, Draco)   ├─ meshes ─────┼─ Model, checked
//!                                       └─ materials ──┘
//!                                           └ images (decoded in parallel)
//! ```
//!
//! Files come from strangers. Every size is compared with a [`Limits`] or with the file before memory is reserved for
//! it, nothing outside the asset's own folder is opened, and whatever comes out passes [`scene::Model::check`].

mod error;
mod gltf;
mod limits;
mod normals;
pub mod samples;
mod tangents;
mod warnings;
pub mod write;

use std::path::Path;

use scene::Model;

pub use error::{Fault, ReadError};
pub use limits::Limits;

/// A model that was read, and what was wrong with its file.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// Passes [`Model::check`].
    pub model: Model,
    /// Sentences for users; at most [`Limits::warnings`] and one that counts the rest.
    pub warnings: Vec<String>,
}

/// Reads a `.gltf` or `.glb` file with the files it refers to. The format is told by content.
///
/// `progress` is called with a rising share of the work, 0 to 1.
///
/// # Errors
/// The file, or one that it needs, cannot be read; is not glTF 2.0; breaks a rule that cannot be mended; requires an
/// unknown extension; or exceeds a limit. Troubles that leave something to show are [`Loaded::warnings`].
pub fn read(path: &Path, limits: &Limits, progress: &mut dyn FnMut(f32)) -> Result<Loaded, ReadError> {
    gltf::read(path, limits, progress)
}

/// Reads a GLB (or self-contained `.gltf` text) from memory. Messages call it `model`.
///
/// # Errors
/// As [`read`]; and for any reference to another file, because there is no folder.
pub fn read_glb(bytes: &[u8], limits: &Limits) -> Result<Loaded, ReadError> {
    gltf::read_bytes(bytes, limits)
}
