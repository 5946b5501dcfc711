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

#[cfg(test)]
mod tests {
    use super::video_size;

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
