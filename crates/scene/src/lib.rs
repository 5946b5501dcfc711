//! What there is to see: nodes, meshes, materials, textures. No GPU, no sockets.
//!
//! A [`Model`] is what a file becomes after reading. Everything in it is checked ([`Model::check`]): indices point at
//! things that exist, nodes form trees, numbers are finite. Who renders it need not look again.
//!
//! Spaces: world is right-handed, y up, metres, as in glTF. `b_from_a` takes points of `a` to `b`.

mod bounds;
mod check;
mod model;

pub use bounds::Aabb;
pub use check::Defect;
pub use glam as math;
pub use model::{
    AlphaMode, Coating, Image, LIGHTS_MAX, Light, LightKind, Material, Mesh, Model, Node, Primitive, Sampler,
    Texture, TextureUse, Vertices, Wrap,
};
