//! Pictures made from noise.

use image::{
    ExtendedColorType, ImageEncoder,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};
use scene::math::Vec3;

/// Square of numbers, row by row; the first and last columns and rows are neighbours.
pub(super) struct Field {
    pub(super) size: u32,
    pub(super) values: Vec<f32>,
}

/// Evaluates `f` at texel centres, from 0 to 1 to the right and down.
#[expect(clippy::cast_precision_loss, reason = "sizes are small")]
pub(super) fn field(size: u32, f: impl Fn(f32, f32) -> f32) -> Field {
    let step = 1.0 / size as f32;
    let values = (0..size * size)
        .map(|i| f(((i % size) as f32 + 0.5) * step, ((i / size) as f32 + 0.5) * step))
        .collect();
    Field { size, values }
}

/// An RGB image.
pub(super) struct Picture {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Picture {
    /// Colours by the numbers of a field.
    pub(super) fn of(field: &Field, color: impl Fn(f32) -> Vec3) -> Self {
        let rgb = field.values.iter().flat_map(|h| bytes(color(*h))).collect();
        Self { width: field.size, height: field.size, rgb }
    }

    /// Colours by place, from 0 to 1 to the right and down.
    #[expect(clippy::cast_precision_loss, reason = "sizes are small")]
    pub(super) fn from_fn(width: u32, height: u32, color: impl Fn(f32, f32) -> Vec3) -> Self {
        let mut rgb = Vec::with_capacity((width * height * 3) as usize);
        for y in 0..height {
            for x in 0..width {
                let at = ((x as f32 + 0.5) / width as f32, (y as f32 + 0.5) / height as f32);
                rgb.extend(bytes(color(at.0, at.1)));
            }
        }
        Self { width, height, rgb }
    }

    /// Tangent-space normals (green up) of a height field; `strength` is the height of 1 in texels.
    pub(super) fn normals(field: &Field, strength: f32) -> Self {
        let n = field.size as usize;
        let mut rgb = Vec::with_capacity(n * n * 3);
        for y in 0..n {
            let (row, up, down) = (y * n, (y + n - 1) % n * n, (y + 1) % n * n);
            for x in 0..n {
                let dx = field.values[row + (x + 1) % n] - field.values[row + (x + n - 1) % n];
                let dy = field.values[down + x] - field.values[up + x];
                let normal = Vec3::new(-dx * strength, dy * strength, 2.0).normalize();
                rgb.extend(bytes(normal * 0.5 + 0.5));
            }
        }
        Self { width: field.size, height: field.size, rgb }
    }

    /// The encoded file; large rather than slow.
    pub(super) fn png(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.rgb.len() / 2);
        let encoder = PngEncoder::new_with_quality(&mut out, CompressionType::Fast, FilterType::Up);
        let written = encoder.write_image(&self.rgb, self.width, self.height, ExtendedColorType::Rgb8);
        assert!(written.is_ok(), "a Vec takes all bytes, and there are three per pixel");
        out
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
fn bytes(color: Vec3) -> [u8; 3] {
    (color.clamp(Vec3::ZERO, Vec3::ONE) * 255.0 + 0.5).to_array().map(|x| x as u8)
}

impl Field {
    /// The number of the texel at `(x, y)`, which wraps around.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "coordinates are small and positive"
    )]
    pub(super) fn at(&self, x: f32, y: f32) -> f32 {
        self.values[(y as usize % self.size as usize) * self.size as usize + x as usize % self.size as usize]
    }
}
