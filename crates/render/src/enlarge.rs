//! Pictures that were drawn smaller become the size of the video.
//!
//! The video keeps its size: another one would be a key frame and a new decoder at both ends of each movement, and would
//! throw away what the encoder has of the picture. Enlarging costs about as much as one pass over the picture.

use crate::cpu::Yuv420;
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

/// Enlarges, with memory that is kept.
#[derive(Debug, Default)]
pub struct Enlarger {
    resizer: Resizer,
}

impl Enlarger {
    /// Fills `large`, of `width` x `height`, from `small`.
    pub fn enlarge(&mut self, small: &Yuv420, (width, height): (u32, u32), large: &mut Yuv420) {
        large.resize(width, height);
        let chroma = |n: u32| n.div_ceil(2);
        for (from, to, halved) in
            [(&small.y, &mut large.y, false), (&small.u, &mut large.u, true), (&small.v, &mut large.v, true)]
        {
            let size = |w: u32, h: u32| if halved { (chroma(w), chroma(h)) } else { (w, h) };
            let (from_size, to_size) = (size(small.width, small.height), size(width, height));
            if self.plane(from, from_size, to, to_size).is_none() {
                // Only if a plane were not as long as its size says, which a renderer's picture is.
                to.fill(128);
            }
        }
    }

    fn plane(
        &mut self,
        from: &[u8],
        from_size: (u32, u32),
        to: &mut [u8],
        to_size: (u32, u32),
    ) -> Option<()> {
        let from = TypedImageRef::<U8>::from_buffer(from_size.0, from_size.1, from).ok()?;
        let mut to = TypedImage::<U8>::from_buffer(to_size.0, to_size.1, to).ok()?;
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Interpolation(FilterType::Bilinear));
        self.resizer.resize_typed(&from, &mut to, &options).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ramp that is the same whatever the size.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 20 to 220")]
    fn ramp(width: u32, height: u32) -> Yuv420 {
        let plane = |w: u32, h: u32| {
            let at = |i: u32, n: u32| (f64::from(i) + 0.5) / f64::from(n);
            let value = |x: u32, y: u32| 20.0 + 120.0 * at(x, w) + 80.0 * at(y, h);
            (0..h).flat_map(|y| (0..w).map(move |x| (x, y))).map(|(x, y)| value(x, y) as u8).collect()
        };
        let (cw, ch) = (width.div_ceil(2), height.div_ceil(2));
        Yuv420 { width, height, y: plane(width, height), u: plane(cw, ch), v: plane(cw, ch) }
    }

    #[test]
    fn a_smaller_picture_shows_the_same() {
        let mut large = Yuv420::default();
        let mut enlarger = Enlarger::default();
        for (small, size) in [((320, 180), (640, 360)), ((300, 226), (400, 302)), ((16, 16), (16, 30))] {
            enlarger.enlarge(&ramp(small.0, small.1), size, &mut large);
            let expected = ramp(size.0, size.1);
            assert_eq!((large.width, large.height), size);
            assert_eq!((large.y.len(), large.u.len()), (expected.y.len(), expected.u.len()));
            for (got, expected) in [(&large.y, &expected.y), (&large.u, &expected.u), (&large.v, &expected.v)]
            {
                let worst = got.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max();
                assert!(worst <= Some(8), "{small:?} to {size:?}: off by {worst:?}");
            }
        }
    }
}
