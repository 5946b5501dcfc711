//! Models made from seeds: the demo, and shapes for tests and benchmarks. Each is a whole GLB file.

mod demo;
mod noise;
mod shapes;
mod solid;
mod sphere;
mod textures;

pub use demo::demo;
pub use shapes::{FACE_COLORS, alpha_modes, hierarchy, marked_cube, two_materials};
pub use sphere::bumpy_sphere;
