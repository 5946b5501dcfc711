//! One end of a connection.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use str0m::bwe::{Bitrate, BweKind};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::format::Codec;
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, MediaTime, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::Extension;
use str0m::{Candidate, Event as RtcEvent, Input, Output as RtcOutput, Rtc, RtcConfig};

use crate::limits::{
    BANDWIDTH_REST, CHECK_INTERVAL, CONNECT, DEADLINES_PER_CALL, KEY_FRAME_INTERVAL, MAX_MESSAGE_BYTES,
    MAX_SDP_BYTES, RESEND_AGE, RESEND_PACKETS, REST_WAKE_INTERVAL, RPC_QUEUE_BYTES, SCTP_BUFFER_BYTES,
    SEND_BUFFER_PACKETS, SILENCE,
};
use crate::sdp::{AnswerError, OfferError, video_mid};

/// How a peer is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where datagrams reach this side; they are the candidates that it tells the other side.
    pub addresses: Vec<SocketAddr>,
    /// Bandwidth to assume at first, bits per second. Too little delays the first key frame, which is paced.
    pub start_bps: u64,
    /// Bandwidth to look for, bits per second.
    pub max_bps: u64,
}

/// The data channels, by their labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Client to host: newest state; unordered, never resent.
    Input,
    /// Host to client: what belongs to a video frame; unordered, never resent.
    Frame,
    /// Both ways; reliable and in order.
    Rpc,
}

impl Channel {
    const ALL: [Self; 3] = [Self::Input, Self::Frame, Self::Rpc];

    /// The label on the wire.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Frame => "frame",
            Self::Rpc => "rpc",
        }
    }
}

/// A datagram to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// One of our addresses.
    pub source: SocketAddr,
    /// Theirs.
    pub destination: SocketAddr,
    /// At most 1500 bytes less headers.
    pub bytes: Vec<u8>,
}

/// A video frame to be sent.
#[derive(Debug, Clone)]
pub struct VideoOut {
    /// When it was rendered, in 90 kHz; each frame later than the one before. The wire carries the low 32 bits.
    pub rtp_time: u64,
    /// Annex B.
    pub bytes: Vec<u8>,
}

/// A video frame that came in.
#[derive(Debug, Clone)]
pub struct VideoIn {
    /// In 90 kHz, wraps.
    pub rtp_time: u32,
    /// Annex B.
    pub bytes: std::sync::Arc<[u8]>,
    /// Decoding can start here.
    pub key: bool,
    /// Nothing is missing between the frame before and this one. If something is, a key frame is already asked for.
    pub contiguous: bool,
}

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The other side said so.
    Remote,
    /// [`Peer::close`] was called.
    Local,
    /// Nothing was heard for [`SILENCE`].
    Silent,
    /// It never came to be.
    NeverConnected,
    /// The stack gave up, in words.
    Failed(String),
}

impl std::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Remote => f.write_str("the client left"),
            Self::Local => f.write_str("closed by this side"),
            Self::Silent => write!(f, "nothing was heard for {} s", SILENCE.as_secs()),
            Self::NeverConnected => write!(f, "not connected within {} s", CONNECT.as_secs()),
            Self::Failed(why) => write!(f, "the connection failed: {why}"),
        }
    }
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// Media can flow. Frames sent before were dropped: begin with a key frame.
    Connected,
    /// Messages can flow on this channel.
    ChannelOpen(Channel),
    /// A message of at most [`MAX_MESSAGE_BYTES`].
    Message(Channel, Vec<u8>),
    /// A frame of the video, whole.
    Video(VideoIn),
    /// The other side cannot go on without a key frame. At most one per [`crate::KEY_FRAME_INTERVAL`].
    KeyFrameWanted,
    /// What the path carries, bits per second.
    Estimate(u64),
    /// Over. Nothing comes after it but [`Output::Transmit`] that say goodbye.
    Closed(CloseReason),
}

/// What a peer gives.
#[derive(Debug, Clone)]
pub enum Output {
    /// Send this.
    Transmit(Transmit),
    /// This happened.
    Event(Event),
    /// Nothing more now: call [`Peer::advance`] at this time, or sooner.
    WakeAt(Instant),
}

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The channel is not open (yet, or any more).
    #[error("the channel is not open")]
    NotOpen,
    /// Longer than [`MAX_MESSAGE_BYTES`].
    #[error("a message has at most {MAX_MESSAGE_BYTES} bytes")]
    TooLong,
    /// Too much is waiting. An unreliable message is dropped; try a reliable one later.
    #[error("too much is waiting on the channel")]
    Full,
}

/// What waits to be sent of the video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Queue {
    /// Packets not yet on the wire.
    pub packets: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Since when the first of them waits.
    pub oldest: Option<Instant>,
}

/// One end of a connection. Dropping it is silent; [`Peer::close`] says goodbye.
pub struct Peer {
    rtc: Rtc,
    /// Drained from the stack, not yet polled by the owner.
    outputs: VecDeque<Output>,
    /// When the stack wants to be called.
    deadline: Instant,
    /// The newest time that anybody said.
    now: Instant,
    start: Instant,
    heard_at: Instant,
    phase: Phase,
    max_bps: u64,
    video: Option<Video>,
    channels: [Option<ChannelId>; 3],
    rpc_queue: VecDeque<Vec<u8>>,
    rpc_queue_bytes: usize,
    key_frames: KeyFrames,
    bandwidth: Bandwidth,
    /// What the client side keeps between offer and answer.
    pending: Option<SdpPendingOffer>,
    /// Messages thrown away: too long, or on channels that we do not know.
    n_dropped: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Connected,
    Closed,
}

/// Our video section.
#[derive(Debug, Clone, Copy)]
struct Video {
    mid: Mid,
    /// What we send with; `None` on the receiving side.
    pt: Option<Pt>,
}

/// Limits how often key frames are asked for, without losing the last request.
#[derive(Debug, Default)]
struct KeyFrames {
    last: Option<Instant>,
    due: Option<Instant>,
}

/// The bandwidth estimator, which pads and probes as long as it is awake: some 50 kbit/s for nothing.
#[derive(Debug)]
struct Bandwidth {
    /// The newest estimate, kept while it rests.
    estimate_bps: u64,
    /// When video was sent last.
    used_at: Instant,
    resting: bool,
}

impl KeyFrames {
    fn want(&mut self, now: Instant) {
        let earliest = self.last.map_or(now, |last| last + KEY_FRAME_INTERVAL);
        self.due = Some(self.due.unwrap_or(earliest.max(now)));
    }

    fn take_due(&mut self, now: Instant) -> bool {
        let due = self.due.is_some_and(|due| due <= now);
        if due {
            self.due = None;
            self.last = Some(now);
        }
        due
    }
}

impl Peer {
    /// Answers a client's offer: video from here to there, three data channels made by the client.
    ///
    /// # Errors
    /// The text is not a usable offer, or has no codec that we encode.
    pub fn accept(config: &Config, offer: &str, now: Instant) -> Result<(Self, String), OfferError> {
        if offer.len() > MAX_SDP_BYTES {
            return Err(OfferError::BadOffer(format!("it is longer than {MAX_SDP_BYTES} bytes")));
        }
        // The stack parses a stranger's text; a bug in there must not end the host.
        catch_unwind(AssertUnwindSafe(|| Self::accept_parsed(config, offer, now)))
            .unwrap_or_else(|_panic| Err(OfferError::BadOffer("it cannot be read".into())))
    }

    fn accept_parsed(config: &Config, offer: &str, now: Instant) -> Result<(Self, String), OfferError> {
        let bad = |why: String| OfferError::BadOffer(why);
        let parsed = SdpOffer::from_sdp_string(offer).map_err(|error| bad(error.to_string()))?;
        let mut peer = Self::new(config, true, now);
        let answer = peer.rtc.sdp_api().accept_offer(parsed).map_err(|error| bad(error.to_string()))?;
        peer.drain();
        let has = |media: &str| offer.lines().any(|line| line.starts_with(media));
        if !has("m=video ") {
            return Err(bad("it has no video section".into()));
        }
        if !has("m=application ") {
            return Err(bad("it has no data channels".into()));
        }
        let answer = answer.to_sdp_string();
        // The stack tells of media only once it is connected; the answer says it now.
        let mid = video_mid(&answer).ok_or(OfferError::NoCodec)?.into();
        if !peer.rtc.media(mid).is_some_and(|media| media.direction().is_sending()) {
            return Err(bad("its video section does not receive".into()));
        }
        let pt = peer.rtc.writer(mid).and_then(|writer| {
            let sendable = writer.payload_params().filter(|params| params.spec().codec == Codec::H264);
            sendable
                .min_by_key(|params| preference(params.spec().format.profile_level_id))
                .map(|params| params.pt())
        });
        let Some(pt) = pt else { return Err(OfferError::NoCodec) };
        peer.video = Some(Video { mid, pt: Some(pt) });
        // Kept larger and without the cap on resends, which stops repairing when it is needed most.
        if let Some(stream) = peer.rtc.direct_api().stream_tx_by_mid(mid, None) {
            stream.set_rtx_cache(RESEND_PACKETS, RESEND_AGE, None);
        }
        peer.drain();
        peer.rtc.bwe().set_bitrate(Bitrate::ZERO, Bitrate::bps(peer.max_bps));
        peer.drain();
        if peer.phase == Phase::Closed {
            return Err(bad("the connection cannot be set up".into()));
        }
        Ok((peer, answer))
    }

    /// Makes a client's offer: video from there to here, and the three data channels. Give the answer to
    /// [`Self::answer`].
    ///
    /// # Errors
    /// The stack cannot make one.
    pub fn offer(config: &Config, now: Instant) -> Result<(Self, String), AnswerError> {
        let mut peer = Self::new(config, false, now);
        let mut changes = peer.rtc.sdp_api();
        let mid = changes.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        for channel in Channel::ALL {
            let reliable = channel == Channel::Rpc;
            changes.add_channel_with_config(ChannelConfig {
                label: channel.label().into(),
                ordered: reliable,
                reliability: if reliable {
                    Reliability::Reliable
                } else {
                    Reliability::MaxRetransmits { retransmits: 0 }
                },
                ..ChannelConfig::default()
            });
        }
        let (offer, pending) =
            changes.apply().ok_or_else(|| AnswerError("there is nothing to offer".into()))?;
        peer.pending = Some(pending);
        peer.video = Some(Video { mid, pt: None });
        peer.drain();
        Ok((peer, offer.to_sdp_string()))
    }

    /// Takes the answer to our offer.
    ///
    /// # Errors
    /// The text is not an answer to it, or there was no offer.
    pub fn answer(&mut self, answer: &str) -> Result<(), AnswerError> {
        let pending = self.pending.take().ok_or_else(|| AnswerError("there was no offer".into()))?;
        let parsed = SdpAnswer::from_sdp_string(answer).map_err(|error| AnswerError(error.to_string()))?;
        self.rtc.sdp_api().accept_answer(pending, parsed).map_err(|error| AnswerError(error.to_string()))?;
        self.drain();
        Ok(())
    }

    /// Adds an address at which datagrams reach this side. Unusable ones (0.0.0.0) are ignored.
    pub fn add_address(&mut self, address: SocketAddr) {
        if let Ok(candidate) = Candidate::host(address, Protocol::Udp) {
            self.rtc.add_local_candidate(candidate);
            self.drain();
        }
    }

    fn new(config: &Config, sends_video: bool, now: Instant) -> Self {
        let mut rtc = RtcConfig::new()
            .clear_codecs()
            .set_extension(5, Extension::PlayoutDelay)
            .enable_bwe(sends_video.then_some(Bitrate::bps(config.start_bps)))
            .set_send_buffer_video(SEND_BUFFER_PACKETS)
            .set_sctp_max_buffered_amount(SCTP_BUFFER_BYTES)
            .set_sctp_max_message_size(u32::try_from(MAX_MESSAGE_BYTES).unwrap_or(u32::MAX));
        // The first check of a peer that has no answer yet is lost; the default repeats it after 250 ms.
        rtc.set_initial_stun_rto(Duration::from_millis(50));
        rtc.set_max_stun_rto(CHECK_INTERVAL);
        // Constrained baseline first. All with packetization-mode=1: frames are larger than packets.
        let codecs = rtc.codec_config();
        codecs.add_h264(108.into(), Some(109.into()), true, 0x42_e0_1f);
        codecs.add_h264(127.into(), Some(121.into()), true, 0x42_00_1f);
        codecs.add_h264(123.into(), Some(119.into()), true, 0x4d_00_1f);
        codecs.add_h264(114.into(), Some(115.into()), true, 0x64_00_1f);
        let mut peer = Self {
            rtc: rtc.build(now),
            outputs: VecDeque::new(),
            deadline: now,
            now,
            start: now,
            heard_at: now,
            phase: Phase::Connecting,
            max_bps: config.max_bps,
            video: None,
            channels: [None; 3],
            rpc_queue: VecDeque::new(),
            rpc_queue_bytes: 0,
            key_frames: KeyFrames::default(),
            bandwidth: Bandwidth { estimate_bps: config.start_bps, used_at: now, resting: false },
            pending: None,
            n_dropped: 0,
        };
        peer.drain();
        for address in &config.addresses {
            peer.add_address(*address);
        }
        peer
    }

    /// Takes a datagram that came in from `source` at our address `destination`. What is not for this connection is
    /// ignored; says whether it was taken.
    pub fn receive(
        &mut self,
        now: Instant,
        source: SocketAddr,
        destination: SocketAddr,
        bytes: &[u8],
    ) -> bool {
        if self.phase == Phase::Closed {
            return false;
        }
        let Ok(receive) = Receive::new(Protocol::Udp, source, destination, bytes) else { return false };
        let input = Input::Receive(now, receive);
        if !self.rtc.accepts(&input) {
            return false;
        }
        self.now = self.now.max(now);
        self.heard_at = self.now;
        let result = self.rtc.handle_input(input);
        self.drain();
        if let Err(error) = result {
            self.fail(error.to_string());
        }
        self.advance(now);
        true
    }

    /// Says what time it is. Handles everything that is due.
    pub fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let now = self.now;
        // The pacer releases one packet per call: going back to sleep in between would cost a timer tick per packet.
        for _ in 0..DEADLINES_PER_CALL {
            if self.deadline > now || !self.rtc.is_alive() {
                break;
            }
            let result = self.rtc.handle_input(Input::Timeout(now));
            self.drain();
            if let Err(error) = result {
                self.fail(error.to_string());
            }
        }
        if self.phase == Phase::Closed {
            return;
        }
        self.flush_rpc();
        if self.sends_video() && !self.bandwidth.resting && now >= self.bandwidth.used_at + BANDWIDTH_REST {
            self.bandwidth.resting = true;
            // A path of one bit per second leaves no room for padding.
            self.set_bandwidth(1, 0);
        }
        if self.key_frames.take_due(now) {
            match self.video {
                Some(Video { pt: None, .. }) => self.request_key_frame(),
                _ => self.outputs.push_back(Output::Event(Event::KeyFrameWanted)),
            }
        }
        if now >= self.heard_at + SILENCE {
            self.end(CloseReason::Silent);
        } else if self.phase == Phase::Connecting && now >= self.start + CONNECT {
            self.end(CloseReason::NeverConnected);
        }
    }

    /// The next output. Call it until [`Output::WakeAt`] after each other call.
    pub fn poll(&mut self) -> Output {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        let mut wake_at = self.deadline;
        match self.phase {
            Phase::Closed => (),
            Phase::Connecting => wake_at = wake_at.min(self.heard_at + SILENCE).min(self.start + CONNECT),
            Phase::Connected => {
                wake_at = wake_at.min(self.heard_at + SILENCE);
                if self.sends_video() && !self.bandwidth.resting {
                    wake_at = wake_at.min(self.bandwidth.used_at + BANDWIDTH_REST);
                }
            }
        }
        if self.bandwidth.resting && self.phase == Phase::Connected {
            // The estimator's timer of 25 ms cannot be stopped. Nothing else is urgent; datagrams wake us anyway.
            wake_at = wake_at.max(self.now + REST_WAKE_INTERVAL);
        }
        if let Some(due) = self.key_frames.due {
            wake_at = wake_at.min(due);
        }
        Output::WakeAt(wake_at)
    }

    /// Whether nothing is left to be done: closed, and the goodbye was given out.
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Closed && self.outputs.is_empty()
    }

    /// Whether media can flow.
    pub fn is_connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// Sends a frame of the video. Says whether it was taken: not before [`Event::Connected`], not after the end.
    pub fn send_video(&mut self, frame: VideoOut, now: Instant) -> bool {
        let (Phase::Connected, Some(Video { mid, pt: Some(pt) })) = (self.phase, self.video) else {
            return false;
        };
        self.bandwidth.used_at = self.now.max(now);
        if std::mem::take(&mut self.bandwidth.resting) {
            self.set_bandwidth(self.bandwidth.estimate_bps, self.max_bps);
        }
        self.advance(now);
        let Some(writer) = self.rtc.writer(mid) else { return false };
        // A receiver that may show each frame at once has no reason to hold frames back.
        let writer = writer.playout_delay(MediaTime::ZERO, MediaTime::ZERO);
        let result = writer.write(pt, self.now, MediaTime::from_90khz(frame.rtp_time), frame.bytes);
        self.drain();
        self.advance(now);
        result.is_ok()
    }

    fn sends_video(&self) -> bool {
        self.phase == Phase::Connected && self.video.is_some_and(|video| video.pt.is_some())
    }

    /// Lets the estimator begin anew.
    fn set_bandwidth(&mut self, estimate_bps: u64, desired_bps: u64) {
        self.rtc.bwe().set_bitrate(Bitrate::ZERO, Bitrate::bps(desired_bps));
        self.drain();
        self.rtc.bwe().reset(Bitrate::bps(estimate_bps));
        self.drain();
    }

    /// Sends a message.
    ///
    /// # Errors
    /// It was not taken, and will not be sent.
    pub fn send(&mut self, channel: Channel, message: &[u8]) -> Result<(), SendError> {
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(SendError::TooLong);
        }
        if self.phase == Phase::Closed || self.channels[channel as usize].is_none() {
            return Err(SendError::NotOpen);
        }
        if channel != Channel::Rpc {
            return if self.write(channel, message) { Ok(()) } else { Err(SendError::Full) };
        }
        if self.rpc_queue_bytes + message.len() > RPC_QUEUE_BYTES {
            return Err(SendError::Full);
        }
        self.rpc_queue_bytes += message.len();
        self.rpc_queue.push_back(message.to_vec());
        self.flush_rpc();
        Ok(())
    }

    /// Whether every reliable message has reached the other side.
    pub fn rpc_is_delivered(&mut self) -> bool {
        let Some(id) = self.channels[Channel::Rpc as usize] else { return true };
        self.rpc_queue.is_empty()
            && self.rtc.channel(id).is_none_or(|mut channel| channel.buffered_amount() == 0)
    }

    /// Asks the sender of the video for a key frame.
    pub fn request_key_frame(&mut self) {
        let Some(Video { mid, pt: None }) = self.video else { return };
        if let Some(mut writer) = self.rtc.writer(mid) {
            // Fails only before the first packet; the sender starts with a key frame anyway.
            let _not_yet = writer.request_keyframe(None, KeyframeRequestKind::Pli).is_err();
            self.drain();
        }
    }

    /// What waits to be sent of the video, as of the last call.
    pub fn queue(&mut self) -> Queue {
        let Some(Video { mid, .. }) = self.video else { return Queue::default() };
        let mut api = self.rtc.direct_api();
        let Some(info) = api.stream_tx_by_mid(mid, None).and_then(|stream| stream.queue_info()) else {
            return Queue::default();
        };
        Queue { packets: info.packet_count(), bytes: info.byte_size(), oldest: info.first_unsent() }
    }

    /// Messages thrown away because they were too long or on an unknown channel.
    pub fn n_dropped(&self) -> u64 {
        self.n_dropped
    }

    /// Says goodbye: poll once more, send what comes, done.
    pub fn close(&mut self) {
        self.end(CloseReason::Local);
    }

    fn end(&mut self, reason: CloseReason) {
        if self.phase == Phase::Closed {
            return;
        }
        self.phase = Phase::Closed;
        self.key_frames.due = None;
        self.outputs.push_back(Output::Event(Event::Closed(reason)));
        if self.rtc.close().is_err() {
            self.rtc.disconnect();
        }
        self.drain();
    }

    fn fail(&mut self, why: String) {
        self.end(CloseReason::Failed(why));
    }

    /// Takes everything out of the stack; has to follow each of its mutations.
    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output() {
                Ok(RtcOutput::Timeout(at)) => {
                    self.deadline = at;
                    return;
                }
                Ok(RtcOutput::Transmit(transmit)) => self.outputs.push_back(Output::Transmit(Transmit {
                    source: transmit.source,
                    destination: transmit.destination,
                    bytes: transmit.contents.into(),
                })),
                Ok(RtcOutput::Event(event)) => self.on_event(event),
                Err(error) => {
                    // Inert from here on, so that no loop comes back to the same error.
                    self.rtc.disconnect();
                    if self.phase != Phase::Closed {
                        self.phase = Phase::Closed;
                        self.outputs
                            .push_back(Output::Event(Event::Closed(CloseReason::Failed(error.to_string()))));
                    }
                    return;
                }
            }
        }
    }

    /// Notes what the stack says. Must not mutate the stack: it is being drained.
    fn on_event(&mut self, event: RtcEvent) {
        if self.phase == Phase::Closed {
            return;
        }
        let event = match event {
            RtcEvent::Connected => {
                self.phase = Phase::Connected;
                Event::Connected
            }
            RtcEvent::ChannelOpen(id, label) => {
                let Some(channel) = Channel::ALL.into_iter().find(|channel| channel.label() == label) else {
                    return;
                };
                self.channels[channel as usize] = Some(id);
                Event::ChannelOpen(channel)
            }
            RtcEvent::ChannelData(message) => {
                let known = Channel::ALL.into_iter().find(|c| self.channels[*c as usize] == Some(message.id));
                match known {
                    Some(channel) if message.data.len() <= MAX_MESSAGE_BYTES => {
                        Event::Message(channel, message.data)
                    }
                    _ => {
                        self.n_dropped += 1;
                        return;
                    }
                }
            }
            RtcEvent::ChannelClose(id) => {
                for channel in &mut self.channels {
                    if *channel == Some(id) {
                        *channel = None;
                    }
                }
                return;
            }
            RtcEvent::MediaData(data) => {
                if !data.contiguous {
                    self.key_frames.want(self.now);
                }
                Event::Video(VideoIn {
                    rtp_time: u32::try_from(data.time.numer() & u64::from(u32::MAX)).unwrap_or(0),
                    key: data.is_keyframe(),
                    contiguous: data.contiguous,
                    bytes: data.data,
                })
            }
            RtcEvent::KeyframeRequest(_) => {
                self.key_frames.want(self.now);
                return;
            }
            RtcEvent::EgressBitrateEstimate(BweKind::Twcc { estimate, .. }) => {
                if self.bandwidth.resting {
                    return;
                }
                self.bandwidth.estimate_bps = estimate.as_u64();
                Event::Estimate(estimate.as_u64())
            }
            RtcEvent::Closed => {
                self.phase = Phase::Closed;
                Event::Closed(CloseReason::Remote)
            }
            _ => return,
        };
        self.outputs.push_back(Output::Event(event));
    }

    fn flush_rpc(&mut self) {
        while let Some(message) = self.rpc_queue.pop_front() {
            if !self.write(Channel::Rpc, &message) {
                self.rpc_queue.push_front(message);
                return;
            }
            self.rpc_queue_bytes -= message.len();
        }
    }

    /// Gives a message to the association; false if it has no room.
    fn write(&mut self, channel: Channel, message: &[u8]) -> bool {
        let Some(id) = self.channels[channel as usize] else { return false };
        let Some(mut open) = self.rtc.channel(id) else { return false };
        let taken = matches!(open.write(true, message), Ok(true));
        self.drain();
        taken
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("phase", &self.phase).finish_non_exhaustive()
    }
}

/// Which profile to send as, the smallest first: what the stream is, then what contains it.
fn preference(profile_level_id: Option<u32>) -> u32 {
    match profile_level_id.unwrap_or(0x42_00_0a) >> 8 {
        0x42_e0 | 0x42_c0 => 0,
        0x42_00 => 1,
        0x4d_00 | 0x4d_40 => 2,
        _ => 3,
    }
}
