//! Messages between a connected client and its host, over three data channels.
//!
//! | channel | reliability | direction | messages |
//! |---|---|---|---|
//! | `input` | unordered, no retransmits | client → host | [`Input`] (newest state), [`Ping`] |
//! | `frame` | unordered, no retransmits | host → client | [`Frame`] (one per video frame, keyed by RTP time), [`Pong`] |
//! | `rpc`   | reliable, ordered | both | [`Header`], then a `ClientMessage` or `HostMessage` of `api/live.proto` |
//!
//! Every message starts with the 8-byte [`Header`]; all numbers are little-endian. Unknown types are ignored,
//! unknown versions are refused. The fixed layouts have golden vectors in `api/golden/`, which the TypeScript
//! twin (`web/sdk/src/live.ts`) reads too.
//!
//! Spaces: world is right-handed, y up, metres. A view looks along its own -z with y up; orientations are unit
//! quaternions `x y z w`, world from view.

#[expect(missing_docs, clippy::all, reason = "generated from api/live.proto by `cargo xtask generate`")]
pub mod rpc;

mod pieces;

pub use pieces::{Joiner, split};

/// Version of every message below.
pub const VERSION: u8 = 1;

/// Longest message on any channel; [`Header::FLAG_MORE`] splits longer ones.
pub const MAX_MESSAGE_BYTES: usize = 16 << 10;

/// Longest `rpc` message after joining.
pub const MAX_RPC_BYTES: usize = 1 << 20;

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the layout has.
    #[error("message of {got} bytes, expected {want}")]
    Length {
        /// Bytes there.
        got: usize,
        /// Bytes that the layout has.
        want: usize,
    },
    /// Another version of the protocol.
    #[error("live protocol version {0}, this side speaks {VERSION}")]
    Version(u8),
    /// A type that this channel does not know; ignore the message.
    #[error("unknown message type {0}")]
    Type(u8),
    /// A number outside its range, or not finite.
    #[error("{0} is out of range")]
    Range(&'static str),
}

/// The first 8 bytes of every message: `version u8, type u8, flags u16, seq u32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What follows: see the `TYPE` constants of the messages.
    pub kind: u8,
    /// Bit set; meaning depends on the type.
    pub flags: u16,
    /// Sequence number (`input`), frame id (`frame`) or request number (`rpc`).
    pub seq: u32,
}

impl Header {
    /// Size in bytes.
    pub const LEN: usize = 8;
    /// Type of a message on `rpc`.
    pub const TYPE_RPC: u8 = 16;
    /// On `rpc`: the message goes on in the next one.
    pub const FLAG_MORE: u16 = 1;

    /// Reads the header.
    ///
    /// # Errors
    /// Too short, or another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let &[version, kind, f0, f1, s0, s1, s2, s3, ..] = bytes else {
            return Err(DecodeError::Length { got: bytes.len(), want: Self::LEN });
        };
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        Ok(Self { kind, flags: u16::from_le_bytes([f0, f1]), seq: u32::from_le_bytes([s0, s1, s2, s3]) })
    }

    /// Writes the header.
    pub fn encode(self) -> [u8; Self::LEN] {
        let (f, s) = (self.flags.to_le_bytes(), self.seq.to_le_bytes());
        [VERSION, self.kind, f[0], f[1], s[0], s[1], s[2], s[3]]
    }
}

/// A pose and lens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Camera {
    /// Position in world space.
    pub eye: [f32; 3],
    /// Unit quaternion `x y z w`, world from view.
    pub orientation: [f32; 4],
    /// Vertical field of view in radians, within [0.01, 3.1].
    pub fov_y: f32,
}

/// The client's newest state. A host applies the newest `seq` (wrapping) and drops older ones.
///
/// Layout after the header (type 1): `client_time_us u64, eye 3×f32, orientation 4×f32, fov_y f32, width u16,
/// height u16`; 52 bytes in all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Input {
    /// Counts up by one per message, wraps.
    pub seq: u32,
    /// The client's clock, comes back in no message; for logs.
    pub client_time_us: u64,
    /// From where to render.
    pub camera: Camera,
    /// Wanted size of the video in pixels, 16 to 4096; the host rounds to even.
    pub width: u16,
    /// See `width`.
    pub height: u16,
}

impl Input {
    /// Message type.
    pub const TYPE: u8 = 1;
    /// Size in bytes.
    pub const LEN: usize = 52;

    /// Reads and checks the message; the orientation comes out normalized.
    ///
    /// # Errors
    /// Wrong length, version or type, or a number out of range.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (header, mut body) = open(bytes, Self::TYPE, Self::LEN)?;
        let client_time_us = body.u64();
        let camera = body.camera()?;
        let (width, height) = (body.u16(), body.u16());
        if !(16..=4096).contains(&width) || !(16..=4096).contains(&height) {
            return Err(DecodeError::Range("video size"));
        }
        Ok(Self { seq: header.seq, client_time_us, camera, width, height })
    }

    /// Writes the message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Out::new(Header { kind: Self::TYPE, flags: 0, seq: self.seq }, Self::LEN);
        out.put(&self.client_time_us.to_le_bytes());
        out.camera(&self.camera);
        out.put(&self.width.to_le_bytes());
        out.put(&self.height.to_le_bytes());
        out.0
    }
}

/// Asks for a [`Pong`]; sent on `input` about once a second.
///
/// Layout after the header (type 2): `client_time_us u64`; 16 bytes in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    /// Counts up.
    pub seq: u32,
    /// The client's clock; comes back.
    pub client_time_us: u64,
}

impl Ping {
    /// Message type.
    pub const TYPE: u8 = 2;
    /// Size in bytes.
    pub const LEN: usize = 16;

    /// Reads the message.
    ///
    /// # Errors
    /// Wrong length, version or type.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (header, mut body) = open(bytes, Self::TYPE, Self::LEN)?;
        Ok(Self { seq: header.seq, client_time_us: body.u64() })
    }

    /// Writes the message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Out::new(Header { kind: Self::TYPE, flags: 0, seq: self.seq }, Self::LEN);
        out.put(&self.client_time_us.to_le_bytes());
        out.0
    }
}

/// Answers a [`Ping`] on `frame`.
///
/// Layout after the header (type 4): `client_time_us u64, host_time_us u64`; 24 bytes in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pong {
    /// Of the ping.
    pub seq: u32,
    /// Of the ping.
    pub client_time_us: u64,
    /// The host's monotonic clock.
    pub host_time_us: u64,
}

impl Pong {
    /// Message type.
    pub const TYPE: u8 = 4;
    /// Size in bytes.
    pub const LEN: usize = 24;

    /// Reads the message.
    ///
    /// # Errors
    /// Wrong length, version or type.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (header, mut body) = open(bytes, Self::TYPE, Self::LEN)?;
        Ok(Self { seq: header.seq, client_time_us: body.u64(), host_time_us: body.u64() })
    }

    /// Writes the message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Out::new(Header { kind: Self::TYPE, flags: 0, seq: self.seq }, Self::LEN);
        out.put(&self.client_time_us.to_le_bytes());
        out.put(&self.host_time_us.to_le_bytes());
        out.0
    }
}

/// What belongs to one video frame; matched to it by RTP time.
///
/// Layout after the header (type 3; `seq` is the frame id): `rtp_time u32, input_seq u32, eye 3×f32,
/// orientation 4×f32, fov_y f32, near f32, far f32, width u16, height u16, queue_us u32, render_us u32,
/// encode_us u32, triangles u32, bytes u32`; 80 bytes in all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    /// Counts up by one per frame, wraps.
    pub frame_id: u32,
    /// [`Self::FLAG_KEY`], [`Self::FLAG_REFINED`], and [`Self::step`] in bits 8 to 11.
    pub flags: u16,
    /// RTP timestamp of the frame's packets, 90 kHz.
    pub rtp_time: u32,
    /// Newest [`Input::seq`] that this frame shows.
    pub input_seq: u32,
    /// The pose and lens it was rendered with.
    pub camera: Camera,
    /// Distance of the near plane, metres.
    pub near_m: f32,
    /// Distance of the far plane, metres.
    pub far_m: f32,
    /// Size of the video in pixels.
    pub width: u16,
    /// See `width`.
    pub height: u16,
    /// From the arrival of the newest input to the start of rendering, microseconds; 0 if no input caused the frame.
    pub queue_us: u32,
    /// Rendering, microseconds.
    pub render_us: u32,
    /// Encoding, microseconds.
    pub encode_us: u32,
    /// Triangles that were rasterized.
    pub triangles: u32,
    /// Size of the encoded frame.
    pub bytes: u32,
}

impl Frame {
    /// Message type.
    pub const TYPE: u8 = 3;
    /// Size in bytes.
    pub const LEN: usize = 80;
    /// The frame is a key frame.
    pub const FLAG_KEY: u16 = 1;
    /// The camera rests, and this frame adds quality to the same picture.
    pub const FLAG_REFINED: u16 = 2;

    /// The flags that say [`Self::step`]; 15 at most.
    pub fn flags_of_step(step: u8) -> u16 {
        u16::from(step.min(15)) << 8
    }

    /// How far below full quality this frame in motion is, because the host had no time for more: 0 full, 1 less detail, 2 also
    /// drawn at 3/4 of the size, 3 at half of it, 4 and 5 also fewer frames. The video keeps its size.
    pub fn step(&self) -> u8 {
        u8::try_from(self.flags >> 8 & 15).unwrap_or(0)
    }

    /// Reads the message.
    ///
    /// # Errors
    /// Wrong length, version or type, or a number out of range.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (header, mut body) = open(bytes, Self::TYPE, Self::LEN)?;
        Ok(Self {
            frame_id: header.seq,
            flags: header.flags,
            rtp_time: body.u32(),
            input_seq: body.u32(),
            camera: body.camera()?,
            near_m: body.f32(),
            far_m: body.f32(),
            width: body.u16(),
            height: body.u16(),
            queue_us: body.u32(),
            render_us: body.u32(),
            encode_us: body.u32(),
            triangles: body.u32(),
            bytes: body.u32(),
        })
    }

    /// Writes the message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Out::new(Header { kind: Self::TYPE, flags: self.flags, seq: self.frame_id }, Self::LEN);
        out.put(&self.rtp_time.to_le_bytes());
        out.put(&self.input_seq.to_le_bytes());
        out.camera(&self.camera);
        out.put(&self.near_m.to_le_bytes());
        out.put(&self.far_m.to_le_bytes());
        out.put(&self.width.to_le_bytes());
        out.put(&self.height.to_le_bytes());
        for number in [self.queue_us, self.render_us, self.encode_us, self.triangles, self.bytes] {
            out.put(&number.to_le_bytes());
        }
        out.0
    }
}

/// Checks header, type and length; gives the rest.
fn open(bytes: &[u8], kind: u8, len: usize) -> Result<(Header, In<'_>), DecodeError> {
    let header = Header::decode(bytes)?;
    if header.kind != kind {
        return Err(DecodeError::Type(header.kind));
    }
    if bytes.len() != len {
        return Err(DecodeError::Length { got: bytes.len(), want: len });
    }
    Ok((header, In(&bytes[Header::LEN..])))
}

/// Reads fields from bytes whose length was checked before.
struct In<'a>(&'a [u8]);

impl In<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_first_chunk().expect("the layout's length was checked");
        self.0 = rest;
        *head
    }
    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }
    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
    fn f32(&mut self) -> f32 {
        f32::from_le_bytes(self.take())
    }
    fn camera(&mut self) -> Result<Camera, DecodeError> {
        let eye = std::array::from_fn(|_| self.f32());
        let q: [f32; 4] = std::array::from_fn(|_| self.f32());
        let fov_y = self.f32();
        // 1e12 m is far beyond any model and leaves room to square without overflow.
        if !eye.iter().all(|x| x.abs() <= 1e12) {
            return Err(DecodeError::Range("eye position"));
        }
        let norm = q.iter().map(|x| x * x).sum::<f32>().sqrt();
        if !(0.5..=2.0).contains(&norm) {
            return Err(DecodeError::Range("orientation"));
        }
        if !(0.01..=3.1).contains(&fov_y) {
            return Err(DecodeError::Range("field of view"));
        }
        Ok(Camera { eye, orientation: q.map(|x| x / norm), fov_y })
    }
}

/// Writes fields behind a header.
struct Out(Vec<u8>);

impl Out {
    fn new(header: Header, len: usize) -> Self {
        let mut bytes = Vec::with_capacity(len);
        bytes.extend(header.encode());
        Self(bytes)
    }
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn camera(&mut self, camera: &Camera) {
        for number in camera.eye.iter().chain(&camera.orientation).chain([&camera.fov_y]) {
            self.put(&number.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAMERA: Camera = Camera { eye: [1.0, -2.5, 3.25], orientation: [0.0, 0.6, 0.0, 0.8], fov_y: 0.75 };

    fn input() -> Input {
        Input {
            seq: 0xfffe_0001,
            client_time_us: 1_234_567_890_123,
            camera: CAMERA,
            width: 1280,
            height: 720,
        }
    }

    #[test]
    fn the_step_lies_beside_the_other_flags() {
        for step in 0..=15 {
            let told = Frame { flags: Frame::FLAG_KEY | Frame::flags_of_step(step), ..frame() };
            let read = Frame::decode(&told.encode()).unwrap();
            assert_eq!((read.step(), read.flags & 0xff), (step, Frame::FLAG_KEY));
        }
        assert_eq!(frame().step(), 0);
    }

    fn frame() -> Frame {
        Frame {
            frame_id: 7,
            flags: Frame::FLAG_KEY | Frame::FLAG_REFINED,
            rtp_time: 0x8000_0001,
            input_seq: 0xfffe_0001,
            camera: CAMERA,
            near_m: 0.125,
            far_m: 512.0,
            width: 1280,
            height: 720,
            queue_us: 100,
            render_us: 9_000,
            encode_us: 2_500,
            triangles: 199_999,
            bytes: 12_345,
        }
    }

    /// The bytes that TypeScript reads too; written anew with `UPDATE_GOLDEN=1 cargo test -p protocol`.
    fn golden(name: &str, bytes: &[u8]) {
        let path = format!("{}/../../api/golden/{name}.bin", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
            std::fs::write(&path, bytes).unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{path}");
    }

    #[test]
    fn layouts_match_the_golden_vectors() {
        let (ping, pong) = (
            Ping { seq: 3, client_time_us: 5_000_000_000 },
            Pong { seq: 3, client_time_us: 5_000_000_000, host_time_us: 77 },
        );
        golden("input", &input().encode());
        golden("frame", &frame().encode());
        golden("ping", &ping.encode());
        golden("pong", &pong.encode());
        assert_eq!(Input::decode(&input().encode()), Ok(input()));
        assert_eq!(Frame::decode(&frame().encode()), Ok(frame()));
        assert_eq!(Ping::decode(&ping.encode()), Ok(ping));
        assert_eq!(Pong::decode(&pong.encode()), Ok(pong));
    }

    #[test]
    fn nonsense_is_refused() {
        let good = input().encode();
        assert_eq!(Input::decode(&good[..51]), Err(DecodeError::Length { got: 51, want: 52 }));
        assert_eq!(Input::decode(&[]), Err(DecodeError::Length { got: 0, want: 8 }));
        assert_eq!(Frame::decode(&good), Err(DecodeError::Type(1)));
        let mut bad = good.clone();
        bad[0] = 9;
        assert_eq!(Input::decode(&bad), Err(DecodeError::Version(9)));
        let mut bad = good.clone();
        bad[16..20].copy_from_slice(&f32::NAN.to_le_bytes());
        assert_eq!(Input::decode(&bad), Err(DecodeError::Range("eye position")));
        let mut bad = good.clone();
        bad[28..44].fill(0);
        assert_eq!(Input::decode(&bad), Err(DecodeError::Range("orientation")));
        let mut bad = good;
        bad[48..50].fill(0xff);
        assert_eq!(Input::decode(&bad), Err(DecodeError::Range("video size")));
    }
}
