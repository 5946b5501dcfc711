//! The CPU renderer.

use std::num::NonZeroUsize;

use scene::Model;
use scene::math::Vec3;

use crate::View;
use crate::view::Camera;

/// Samples that make up a finished picture at rest.
pub const REFINE_SAMPLES: u32 = 16;

/// Why a model cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// More than the renderer's ids can count.
    #[error("the model has {got} {what}; at most {limit} can be shown")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many the model has.
        got: u64,
        /// How many are possible.
        limit: u64,
    },
    /// The model breaks its own rules.
    #[error("the model is broken")]
    Defect(#[from] scene::Defect),
}

/// What is drawn: built once from a model, immutable, shared by threads.
#[derive(Debug)]
pub struct RenderScene {
    bounds: Option<scene::Aabb>,
}

impl RenderScene {
    /// Builds from `model`; `progress` hears 0 to 1.
    ///
    /// # Errors
    /// If the model breaks its rules or is too large.
    pub fn build(model: &Model, progress: &mut dyn FnMut(f32)) -> Result<Self, BuildError> {
        model.check()?;
        progress(1.0);
        Ok(Self { bounds: model.bounds_in_world() })
    }

    /// Bounds in world space; `None` if nothing is shown.
    pub fn bounds(&self) -> Option<scene::Aabb> {
        self.bounds
    }
}

/// A picture as encoders take it: BT.709, limited range, rows from the top, strides `width` and `width.div_ceil(2)`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Yuv420 {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Luma, `width * height`.
    pub y: Vec<u8>,
    /// Blue difference, half as wide and high (rounded up).
    pub u: Vec<u8>,
    /// Red difference, as `u`.
    pub v: Vec<u8>,
}

/// What a frame took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stats {
    /// Triangles of the clusters that were drawn.
    pub triangles: u32,
    /// Clusters that survived culling.
    pub clusters: u32,
    /// Nearest distance that is shown, metres.
    pub near_m: f32,
    /// Distance beyond which there is nothing, metres.
    pub far_m: f32,
}

/// A surface point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// World space, metres.
    pub position: Vec3,
    /// Index of the model's node.
    pub node: u32,
}

/// Draws scenes.
#[derive(Debug)]
pub struct Renderer {}

impl Renderer {
    /// A renderer with `n_threads` threads (the caller's is one of them).
    pub fn new(_n_threads: NonZeroUsize) -> Self {
        Self {}
    }

    /// Draws a frame in motion.
    pub fn render(&mut self, _scene: &RenderScene, view: &View, out: &mut Yuv420) -> Stats {
        let camera = Camera::of(view, (0.0, 0.0));
        (out.width, out.height) = (camera.width, camera.height);
        let n = |a: u32, b: u32| a as usize * b as usize;
        out.y = vec![180; n(camera.width, camera.height)];
        out.u = vec![128; n(camera.width.div_ceil(2), camera.height.div_ceil(2))];
        out.v = out.u.clone();
        Stats { near_m: 0.1, far_m: 10.0, ..Stats::default() }
    }

    /// Draws the average of samples 1 to `sample` of [`REFINE_SAMPLES`].
    pub fn refine(&mut self, scene: &RenderScene, view: &View, _sample: u32, out: &mut Yuv420) -> Stats {
        self.render(scene, view, out)
    }

    /// Draws the average of `n_samples` as RGBA8 sRGB, rows from the top.
    pub fn still(&mut self, _scene: &RenderScene, view: &View, _n_samples: u32) -> Vec<u8> {
        let camera = Camera::of(view, (0.0, 0.0));
        vec![180; camera.width as usize * camera.height as usize * 4]
    }

    /// The surface below pixel position (`x`, `y`), (0, 0) is the top left corner of the picture.
    pub fn pick(&mut self, _scene: &RenderScene, _view: &View, _x: f32, _y: f32) -> Option<Hit> {
        None
    }
}
