//! Pictures through the encoder and a decoder.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "tests: a failure is a panic, and numbers are small"
)]

use std::time::Duration;

use encode::{Bitrate, EncodeError, Encoded, H264Config, Picture, VideoEncoder};
use openh264::decoder::Decoder;
use openh264::formats::YUVSource;

/// An I420 picture that owns its planes.
struct Planes {
    width: u32,
    height: u32,
    y: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
}

impl Planes {
    /// A smooth pattern with edges, moved by `shift` pixels.
    fn pattern(width: u32, height: u32, shift: u32) -> Self {
        let luma = |x: u32, y: u32| {
            let wave = ((f64::from(x + shift) * 0.05).sin() + (f64::from(y) * 0.07).cos()) * 40.0;
            let block = if ((x + shift) / 48 + y / 48).is_multiple_of(2) { 30.0 } else { -30.0 };
            (126.0 + wave + block) as u8
        };
        let rows = |w: u32, h: u32, f: &dyn Fn(u32, u32) -> u8| {
            (0..h).flat_map(|y| (0..w).map(move |x| (x, y))).map(|(x, y)| f(x, y)).collect()
        };
        Self {
            width,
            height,
            y: rows(width, height, &luma),
            u: rows(width / 2, height / 2, &|x, _| (64 + (x + shift / 2) % 128) as u8),
            v: rows(width / 2, height / 2, &|_, y| (64 + y % 128) as u8),
        }
    }

    /// The pattern with noise that a low bitrate cannot afford.
    fn noise(width: u32, height: u32, seed: u32) -> Self {
        let mut planes = Self::pattern(width, height, 0);
        let mut state = seed | 1;
        for byte in &mut planes.y {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            *byte = byte.saturating_add((state % 24) as u8);
        }
        planes
    }

    fn picture(&self, time_ms: u64) -> Picture<'_> {
        Picture {
            width: self.width,
            height: self.height,
            y: &self.y,
            u: &self.u,
            v: &self.v,
            y_stride: self.width as usize,
            uv_stride: self.width as usize / 2,
            time: Duration::from_millis(time_ms),
        }
    }
}

fn encoder(kbps: u32) -> Box<dyn VideoEncoder> {
    encode::h264(&H264Config { bitrate: Bitrate::from_kbps(kbps), max_fps: 30.0 }).unwrap()
}

/// PSNR of luma in dB between a decoded picture and its source.
fn psnr_y(decoder: &mut Decoder, encoded: &Encoded, source: &Planes) -> f64 {
    let decoded = decoder.decode(&encoded.bytes).unwrap().expect("one picture in, one picture out");
    assert_eq!(decoded.dimensions(), (source.width as usize, source.height as usize));
    let stride = decoded.strides().0;
    let rows = source.y.chunks(source.width as usize).zip(decoded.y().chunks(stride));
    let error: f64 =
        rows.flat_map(|(a, b)| a.iter().zip(b)).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 / (error / source.y.len() as f64).max(1e-9)).log10()
}

#[test]
fn moving_pictures_survive() {
    let (mut encoder, mut decoder) = (encoder(3000), Decoder::new().unwrap());
    for i in 0..30_u32 {
        let source = Planes::pattern(640, 360, i * 3);
        let encoded = encoder.encode(source.picture(u64::from(i) * 33), false).unwrap();
        assert_eq!(encoded.key, i == 0, "only the first of a run is a key frame");
        assert!(encoded.bytes.starts_with(&[0, 0, 0, 1]), "Annex B");
        let psnr = psnr_y(&mut decoder, &encoded, &source);
        assert!(psnr > 34.0, "frame {i}: {psnr:.1} dB");
    }
}

#[test]
fn a_picture_at_rest_gets_better_and_cheaper() {
    let (mut encoder, mut decoder) = (encoder(1500), Decoder::new().unwrap());
    let source = Planes::pattern(640, 360, 0);
    let runs: Vec<(f64, usize)> = (0..12_u64)
        .map(|i| {
            let encoded = encoder.encode(source.picture(i * 33), false).unwrap();
            (psnr_y(&mut decoder, &encoded, &source), encoded.bytes.len())
        })
        .collect();
    let ((first_db, first_bytes), (last_db, last_bytes)) = (runs[0], runs[11]);
    assert!(last_db > first_db + 2.0, "{first_db:.1} dB, then {last_db:.1} dB");
    assert!(last_bytes * 4 < first_bytes, "{first_bytes} bytes, then {last_bytes}");
}

#[test]
fn a_forced_key_frame_starts_a_decoder() {
    let mut encoder = encoder(3000);
    for i in 0..5_u32 {
        let encoded = encoder.encode(Planes::pattern(320, 240, i).picture(u64::from(i) * 33), false).unwrap();
        assert_eq!(encoded.key, i == 0);
    }
    let source = Planes::pattern(320, 240, 5);
    let key = encoder.encode(source.picture(165), true).unwrap();
    assert!(key.key);
    assert!(psnr_y(&mut Decoder::new().unwrap(), &key, &source) > 30.0);
}

#[test]
fn bitrate_changes_without_a_key_frame() {
    let mut encoder = encoder(4000);
    let run = |encoder: &mut Box<dyn VideoEncoder>, from: u32| -> usize {
        (from..from + 30)
            .map(|i| {
                let encoded = encoder
                    .encode(Planes::noise(320, 240, i * 77 + 1).picture(u64::from(i) * 33), false)
                    .unwrap();
                assert_eq!(encoded.key, i == 0);
                if i < from + 10 { 0 } else { encoded.bytes.len() }
            })
            .sum()
    };
    let high = run(&mut encoder, 0);
    encoder.set_bitrate(Bitrate::from_kbps(1500)).unwrap();
    let low = run(&mut encoder, 30);
    encoder.set_bitrate(Bitrate::from_kbps(4000)).unwrap();
    let high_again = run(&mut encoder, 60);
    assert!((low as f64) < high as f64 * 0.6, "{high} bytes at 4 Mbit/s, {low} at 1.5");
    assert!(high_again as f64 > low as f64 * 1.5, "{low} bytes at 1.5 Mbit/s, then {high_again} at 4");
}

#[test]
fn a_new_size_starts_with_a_key_frame_and_keeps_the_bitrate() {
    let (mut encoder, mut decoder) = (encoder(6000), Decoder::new().unwrap());
    encoder.encode(Planes::pattern(640, 360, 0).picture(0), false).unwrap();
    encoder.set_bitrate(Bitrate::from_kbps(800)).unwrap();
    let mut n_bytes = 0;
    for i in 0..30_u32 {
        let source = Planes::noise(322, 182, i + 1);
        let encoded = encoder.encode(source.picture(u64::from(i) * 33), false).unwrap();
        assert_eq!(encoded.key, i == 0);
        assert!(psnr_y(&mut decoder, &encoded, &source) > 5.0);
        if i >= 10 {
            n_bytes += encoded.bytes.len();
        }
    }
    let kbps = n_bytes as f64 * 8.0 * 30.0 / 20.0 / 1000.0;
    assert!(kbps < 2000.0, "{kbps:.0} kbit/s, the first bitrate came back");
}

#[test]
fn what_cannot_be_encoded_is_refused() {
    let mut encoder = encoder(1000);
    for (width, height) in [(321, 240), (320, 241), (14, 240), (320, 0), (3842, 100), (2162, 2162)] {
        let planes = Planes { width, height, y: vec![0; 16 << 20], u: vec![0; 4 << 20], v: vec![0; 4 << 20] };
        let error = encoder.encode(planes.picture(0), false).unwrap_err();
        assert!(matches!(error, EncodeError::Size { .. }), "{width}x{height}: {error}");
    }
    let mut short = Planes::pattern(320, 240, 0);
    short.v.pop();
    let error = encoder.encode(short.picture(0), false).unwrap_err();
    assert!(matches!(error, EncodeError::Plane { plane: "v", .. }), "{error}");
    // And it still works.
    assert!(encoder.encode(Planes::pattern(16, 16, 0).picture(0), false).unwrap().key);
}
