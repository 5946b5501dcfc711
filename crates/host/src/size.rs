//! How large the video is.

/// The size for a wish of `width` x `height`: the same shape, even, within the encoder's sizes, of at most
/// `max_pixels`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "scaled down from u32, not negative"
)]
pub(crate) fn video_size(width: u32, height: u32, max_pixels: u32) -> (u32, u32) {
    const MIN: u32 = 16;
    let (w, h) = (f64::from(width.max(MIN)), f64::from(height.max(MIN)));
    let scale = (f64::from(max_pixels) / (w * h))
        .sqrt()
        .min(f64::from(encode::MAX_WIDTH) / w.max(h))
        .min(f64::from(encode::MAX_HEIGHT) / w.min(h))
        .min(1.0);
    let even = |x: f64| (((x * scale) as u32) & !1).max(MIN);
    (even(w), even(h))
}

/// A share of a size, even and not too small to draw.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a picture's size, not negative"
)]
pub(crate) fn scaled((width, height): (u32, u32), scale: f64) -> (u32, u32) {
    let share = |n: u32| (((f64::from(n) * scale) as u32) & !1).max(render::SIZE_MIN).min(n);
    (share(width), share(height))
}

#[cfg(test)]
mod tests {
    use super::{scaled, video_size};

    #[test]
    fn shares_of_sizes_are_even() {
        for (size, scale, share) in [
            ((1280, 720), 0.75, (960, 540)),
            ((1280, 720), 1.0, (1280, 720)),
            ((402, 302), 0.75, (300, 226)),
            ((16, 40), 0.5, (16, 20)),
        ] {
            assert_eq!(scaled(size, scale), share, "{size:?}");
        }
    }

    #[test]
    fn wishes_become_sizes() {
        const FULL_HD: u32 = 1920 * 1080;
        for (wish, size) in [
            ((1280, 720), (1280, 720)),
            ((1281, 721), (1280, 720)),
            ((0, 3), (16, 16)),
            ((1920, 1080), (1920, 1080)),
            ((3840, 2160), (1920, 1080)),
            ((1080, 1920), (1080, 1920)),
            ((4096, 16), (3840, 16)),
        ] {
            assert_eq!(video_size(wish.0, wish.1, FULL_HD), size, "{wish:?}");
        }
    }

    #[test]
    fn every_size_can_be_encoded() {
        for width in (0..5000).step_by(37) {
            for height in (0..5000).step_by(41) {
                let (w, h) = video_size(width, height, 4096 * 4096);
                assert!(w % 2 == 0 && h % 2 == 0 && w.min(h) >= 16);
                assert!(w.max(h) <= encode::MAX_WIDTH && w.min(h) <= encode::MAX_HEIGHT, "{w}x{h}");
            }
        }
    }
}
