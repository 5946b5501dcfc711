//! Pictures → bitstream, behind one trait. Knows no scene, no network and no clock.
//!
//! H.264 by openh264, built from source: constrained baseline, one reference, no reordering, one thread, infinite
//! distance between key frames. What to drop is the caller's decision: each picture that goes in comes out.

mod h264;

use std::time::Duration;

pub use h264::{H264Config, MAX_HEIGHT, MAX_WIDTH, h264, has_assembly};

/// Bits per second of an encoded stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bitrate(u32);

impl Bitrate {
    /// A rate of `kbps` thousand bits per second.
    pub const fn from_kbps(kbps: u32) -> Self {
        Self(kbps.saturating_mul(1_000))
    }

    /// A rate of `bps` bits per second.
    pub const fn from_bps(bps: u32) -> Self {
        Self(bps)
    }

    /// Bits per second.
    pub const fn bps(self) -> u32 {
        self.0
    }
}

/// A picture in I420, BT.709 limited range. Chroma planes have half the width and height.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// In pixels; even, at least 16.
    pub width: u32,
    /// In pixels; even, at least 16.
    pub height: u32,
    /// Luma, at least `y_stride * height` bytes.
    pub y: &'a [u8],
    /// Blue difference, at least `uv_stride * height / 2` bytes.
    pub u: &'a [u8],
    /// Red difference, as long as `u`.
    pub v: &'a [u8],
    /// Bytes from one luma row to the next, at least `width`.
    pub y_stride: usize,
    /// Bytes from one chroma row to the next, at least `width / 2`.
    pub uv_stride: usize,
    /// When it was made, counted from any fixed moment; rate control reads it.
    pub time: Duration,
}

/// One encoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Annex B: NAL units behind start codes; a key frame begins with its parameter sets.
    pub bytes: Vec<u8>,
    /// Decoding can start here.
    pub key: bool,
}

/// Why a picture was not encoded, or a setting not taken.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// Width or height is odd, below 16, or beyond the largest H.264 level.
    #[error(
        "a picture of {width}x{height} cannot be encoded: even sizes from 16x16 to {MAX_WIDTH}x{MAX_HEIGHT} can"
    )]
    Size {
        /// As given.
        width: u32,
        /// As given.
        height: u32,
    },
    /// A plane has fewer bytes than its stride and height ask for.
    #[error("plane {plane} is too short: {got} bytes, expected {want}")]
    Plane {
        /// `y`, `u` or `v`.
        plane: &'static str,
        /// Bytes there.
        got: usize,
        /// Bytes needed.
        want: usize,
    },
    /// The codec failed; a new encoder may work.
    #[error("the video encoder failed")]
    Codec(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Turns pictures into a bitstream.
pub trait VideoEncoder: Send {
    /// Encodes one picture; as a key frame if `key`, if it is the first, or if its size differs from the one before.
    ///
    /// # Errors
    /// The picture is malformed, or the codec failed.
    fn encode(&mut self, picture: Picture<'_>, key: bool) -> Result<Encoded, EncodeError>;

    /// Aims at another rate from the next picture on, without a key frame.
    ///
    /// # Errors
    /// The codec refused it.
    fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<(), EncodeError>;
}
