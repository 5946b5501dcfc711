//! Every bound of this crate, with its cost.

use std::time::Duration;

/// Longest message on a data channel: what all browsers take in one piece.
pub const MAX_MESSAGE_BYTES: usize = 16 << 10;

/// Longest session description; browsers' are below 8 KiB.
pub const MAX_SDP_BYTES: usize = 64 << 10;

/// A peer that was not heard for this long is gone: five of our own checks stayed unanswered.
pub const SILENCE: Duration = Duration::from_secs(5);

/// At most this long to connect after the offer; five lost flights of the DTLS handshake.
pub(crate) const CONNECT: Duration = Duration::from_secs(15);

/// How often we check that the other side is there; each costs two packets.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Wanted key frames are reported at most this often: each costs ten ordinary frames.
pub const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(333);

/// Reliable messages that wait for the association: one logical message of 1 MiB, chunked, and a little more.
pub(crate) const RPC_QUEUE_BYTES: usize = 2 << 20;

/// What the association itself keeps until acknowledged.
pub(crate) const SCTP_BUFFER_BYTES: usize = 1 << 20;

/// Packets kept for resending, and for how long: one second of 20 Mbit/s.
pub(crate) const RESEND_PACKETS: usize = 2048;
pub(crate) const RESEND_AGE: Duration = Duration::from_secs(1);

/// Packets of one frame: 1.9 MB, twice the largest key frame seen at 1080p.
pub(crate) const SEND_BUFFER_PACKETS: usize = 2048;

/// Due deadlines handled in one call; more means that the stack below spins, and the next call goes on.
pub(crate) const DEADLINES_PER_CALL: usize = 4096;

/// Without video for this long, bandwidth is not estimated any more; long enough for the last resends.
pub(crate) const BANDWIDTH_REST: Duration = Duration::from_secs(2);

/// Timers wait up to this long while no video flows.
pub(crate) const REST_WAKE_INTERVAL: Duration = Duration::from_millis(100);
