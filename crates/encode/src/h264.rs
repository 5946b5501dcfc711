//! The openh264 encoder.

use std::ffi::c_int;

use openh264::OpenH264API;
use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, Profile,
    RateControlMode, UsageType, VuiConfig,
};
use openh264::formats::YUVSource;
use openh264_sys2::{
    ENCODER_OPTION_BITRATE, ENCODER_OPTION_MAX_BITRATE, ENCODER_OPTION_TRACE_LEVEL, SBitrateInfo,
    SPATIAL_LAYER_ALL, WELS_LOG_QUIET,
};

use crate::{Bitrate, EncodeError, Encoded, Picture, VideoEncoder};

/// Widest picture (H.264 level 5.2 as openh264 supports it; upright pictures swap the two).
pub const MAX_WIDTH: u32 = 3840;
/// See [`MAX_WIDTH`].
pub const MAX_HEIGHT: u32 = 2160;

/// Bounds within which rate control works; below, openh264 refuses, above, it gains nothing.
const BITRATE_BPS: std::ops::RangeInclusive<u32> = 50_000..=200_000_000;

/// How to encode.
#[derive(Clone, Copy, Debug)]
pub struct H264Config {
    /// What to aim at first.
    pub bitrate: Bitrate,
    /// Pictures per second at most; rate control gives each its share of the bitrate.
    pub max_fps: f32,
}

/// Makes an encoder.
///
/// # Errors
/// The codec cannot be set up.
pub fn h264(config: &H264Config) -> Result<Box<dyn VideoEncoder>, EncodeError> {
    Ok(Box::new(H264 { config: *config, running: None }))
}

unsafe extern "C" {
    /// openh264 `codec/common/inc/cpu.h`: the CPU features it uses, 0 when it was built without assembly.
    fn WelsCPUFeatureDetect(n_logical_processors: *mut c_int) -> u32;
}

/// Whether the codec in this binary was built with its SIMD assembly and this CPU can run it. Without (no `nasm` when
/// it was built, on x86), encoding takes about three times as long and gives the same bytes.
pub fn has_assembly() -> bool {
    let mut n_processors: c_int = 0;
    // SAFETY: a plain C function that writes one int through the pointer, which is valid; openh264 itself calls it
    // with such a pointer. Without assembly the function is the stub that returns 0.
    unsafe { WelsCPUFeatureDetect(&raw mut n_processors) != 0 }
}

struct H264 {
    config: H264Config,
    running: Option<Running>,
}

/// An encoder that has seen its first picture.
struct Running {
    width: u32,
    height: u32,
    encoder: Encoder,
}

impl VideoEncoder for H264 {
    fn encode(&mut self, picture: Picture<'_>, key: bool) -> Result<Encoded, EncodeError> {
        check(&picture)?;
        // A new size gets a new encoder: re-initialising the old one would forget the current bitrate.
        let same_size =
            |running: &&mut Running| (running.width, running.height) == (picture.width, picture.height);
        let running = match self.running.as_mut().filter(same_size) {
            Some(running) => {
                if key {
                    running.encoder.force_intra_frame();
                }
                running
            }
            None => {
                let encoder = start(&self.config)?;
                self.running.insert(Running { width: picture.width, height: picture.height, encoder })
            }
        };
        let time_ms = u64::try_from(picture.time.as_millis()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4);
        let encoded = running.encoder.encode_at(&Source(picture), openh264::Timestamp::from_millis(time_ms));
        let encoded = match encoded {
            Ok(bitstream) => {
                Encoded { bytes: bitstream.to_vec(), key: matches!(bitstream.frame_type(), FrameType::IDR) }
            }
            Err(error) => {
                // What state it is in is unknown: the next picture starts afresh.
                self.running = None;
                return Err(EncodeError::Codec(Box::new(error)));
            }
        };
        if encoded.bytes.is_empty() {
            // Frame skipping is off, so that this is a codec failure.
            self.running = None;
            return Err(EncodeError::Codec("the codec gave no bytes".into()));
        }
        Ok(encoded)
    }

    fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<(), EncodeError> {
        self.config.bitrate = clamp(bitrate);
        let Some(running) = &mut self.running else { return Ok(()) };
        let mut info = SBitrateInfo {
            iLayer: SPATIAL_LAYER_ALL,
            iBitrate: i32::try_from(self.config.bitrate.bps()).unwrap_or(i32::MAX),
        };
        // The maximum first: a target above the maximum is refused.
        for option in [ENCODER_OPTION_MAX_BITRATE, ENCODER_OPTION_BITRATE] {
            // SAFETY: the encoder is initialised (it has encoded a picture), both options take an `SBitrateInfo`
            // (codec_app_def.h) that is read and not kept, and neither is a parameter that the wrapper tracks.
            let code = unsafe { running.encoder.raw_api().set_option(option, (&raw mut info).cast()) };
            if code != 0 {
                return Err(EncodeError::Codec(format!("bitrate refused with code {code}").into()));
            }
        }
        Ok(())
    }
}

/// Settings measured as the best for rendered pictures at low latency: camera mode, adaptive quantisation,
/// background and scene-change detection off (they cost quality or insert key frames), no skipped frames.
fn start(config: &H264Config) -> Result<Encoder, EncodeError> {
    let config = EncoderConfig::new()
        .rate_control_mode(RateControlMode::Bitrate)
        .bitrate(BitRate::from_bps(clamp(config.bitrate).bps()))
        .max_frame_rate(FrameRate::from_hz(config.max_fps.clamp(1.0, 240.0)))
        .usage_type(UsageType::CameraVideoRealTime)
        .complexity(Complexity::Low)
        .num_threads(1)
        .intra_frame_period(IntraFramePeriod::from_num_frames(0))
        .skip_frames(false)
        .scene_change_detect(false)
        .adaptive_quantization(false)
        .background_detection(false)
        .profile(Profile::Baseline)
        .vui(VuiConfig::bt709());
    let mut encoder = Encoder::with_api_config(OpenH264API::from_source(), config)
        .map_err(|error| EncodeError::Codec(Box::new(error)))?;
    // The wrapper silences the codec only after it was initialised, which says on stderr that rate control needs
    // skipping. It does well without, and failures come as codes.
    let mut level = WELS_LOG_QUIET;
    // SAFETY: the trace level is one of the options that are taken before initialisation (welsEncoderExt.cpp,
    // SetOption); it points to an int that is read and not kept.
    let _still_loud =
        unsafe { encoder.raw_api().set_option(ENCODER_OPTION_TRACE_LEVEL, (&raw mut level).cast()) } != 0;
    Ok(encoder)
}

fn clamp(bitrate: Bitrate) -> Bitrate {
    Bitrate::from_bps(bitrate.bps().clamp(*BITRATE_BPS.start(), *BITRATE_BPS.end()))
}

/// Everything that the codec would read beyond the planes or refuse without a reason.
fn check(picture: &Picture<'_>) -> Result<(), EncodeError> {
    let (width, height) = (picture.width, picture.height);
    let even = width.is_multiple_of(2) && height.is_multiple_of(2);
    if !even || width.min(height) < 16 || width.max(height) > MAX_WIDTH || width.min(height) > MAX_HEIGHT {
        return Err(EncodeError::Size { width, height });
    }
    let planes = [
        ("y", picture.y, picture.y_stride, width as usize, height as usize),
        ("u", picture.u, picture.uv_stride, width as usize / 2, height as usize / 2),
        ("v", picture.v, picture.uv_stride, width as usize / 2, height as usize / 2),
    ];
    for (plane, bytes, stride, row, n_rows) in planes {
        let want = stride.max(row).saturating_mul(n_rows);
        // Strides beyond this have no use, and the codec counts in 32 bits.
        if stride < row || stride > 1 << 16 || bytes.len() < want {
            return Err(EncodeError::Plane { plane, got: bytes.len(), want });
        }
    }
    Ok(())
}

struct Source<'a>(Picture<'a>);

impl YUVSource for Source<'_> {
    fn dimensions(&self) -> (usize, usize) {
        (self.0.width as usize, self.0.height as usize)
    }
    fn strides(&self) -> (usize, usize, usize) {
        (self.0.y_stride, self.0.uv_stride, self.0.uv_stride)
    }
    fn y(&self) -> &[u8] {
        self.0.y
    }
    fn u(&self) -> &[u8] {
        self.0.u
    }
    fn v(&self) -> &[u8] {
        self.0.v
    }
}
