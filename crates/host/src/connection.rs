//! The attached client: its peer and its messages.

use std::time::{Duration, Instant};

use prost::Message as _;
use protocol::ConnectionId;
use protocol::live::{self, Joiner, rpc};
use tracing::Span;
use transport::{Channel, Event, Output, Peer, Transmit};

use crate::limits::{FIRST_INPUT, SILENCE};

/// What a client asks of the session.
pub(crate) enum Ask {
    /// Newest state.
    Input(live::Input),
    /// A request on `rpc`.
    Rpc(u32, rpc::client_message::Body),
    /// Messages can be sent on `rpc`.
    RpcOpen,
    /// Pictures can be sent: connected, and the first input is there or does not come.
    Flowing,
    /// The decoder needs a key frame.
    KeyFrame,
    /// The path carries this much, bits per second.
    Estimate(u64),
    /// Over, in words.
    Closed(String),
}

/// Which requests for key frames are about silence, and whether to answer them.
///
/// Chromium asks for a key frame when no frame came for 3 s, also when none was due. Once that is welcome: it replaces
/// a last frame that was lost with nothing after it to tell. Answered each time, no session would ever be idle.
#[derive(Default)]
struct Silence {
    /// When video was sent last.
    video_at: Option<Instant>,
    /// A request about the silence since the last motion was granted.
    answered: bool,
}

impl Silence {
    fn sent(&mut self, now: Instant, refined: bool) {
        self.video_at = Some(now);
        self.answered &= refined;
    }

    fn grants(&mut self, now: Instant) -> bool {
        let silent = self.video_at.is_some_and(|at| now.saturating_duration_since(at) >= SILENCE);
        let granted = !(silent && self.answered);
        self.answered |= silent;
        granted
    }
}

pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    /// Tells its frames from those of an earlier connection.
    pub(crate) viewer: u64,
    pub(crate) peer: Box<Peer>,
    joiner: Joiner,
    newest_input: Option<u32>,
    /// Connected, but not flowing yet.
    waiting_since: Option<Instant>,
    flowing: bool,
    rpc_open: bool,
    silence: Silence,
    epoch: Instant,
    /// From the offer to the first picture.
    beginning: Option<Span>,
}

impl Connection {
    pub(crate) fn new(id: ConnectionId, viewer: u64, peer: Peer, epoch: Instant, beginning: Span) -> Self {
        Self {
            id,
            viewer,
            peer: Box::new(peer),
            joiner: Joiner::default(),
            newest_input: None,
            waiting_since: None,
            flowing: false,
            rpc_open: false,
            silence: Silence::default(),
            epoch,
            beginning: Some(beginning),
        }
    }

    /// A frame of video was sent.
    pub(crate) fn sent_video(&mut self, now: Instant, refined: bool) {
        self.silence.sent(now, refined);
        self.beginning = None;
    }

    /// Whether to send the key frame that the client asks for.
    pub(crate) fn grants_key_frame(&mut self, now: Instant) -> bool {
        self.silence.grants(now)
    }

    /// Takes everything out of the peer: datagrams go to `send`, wishes to `asks`. Gives when to come back.
    pub(crate) fn poll(
        &mut self,
        now: Instant,
        send: &mut dyn FnMut(Transmit),
        asks: &mut Vec<Ask>,
    ) -> Instant {
        let wake_at = loop {
            match self.peer.poll() {
                Output::Transmit(transmit) => send(transmit),
                Output::WakeAt(at) => break at,
                Output::Event(event) => self.on_event(now, event, asks),
            }
        };
        let Some(since) = self.waiting_since else { return wake_at };
        if now >= since + FIRST_INPUT {
            self.flow(asks);
            return wake_at;
        }
        wake_at.min(since + FIRST_INPUT)
    }

    fn flow(&mut self, asks: &mut Vec<Ask>) {
        self.waiting_since = None;
        if !self.flowing {
            self.flowing = true;
            asks.push(Ask::Flowing);
        }
    }

    fn on_event(&mut self, now: Instant, event: Event, asks: &mut Vec<Ask>) {
        match event {
            Event::Connected => {
                self.waiting_since = Some(now);
                if self.newest_input.is_some() {
                    self.flow(asks);
                }
            }
            Event::ChannelOpen(Channel::Rpc) => {
                self.rpc_open = true;
                asks.push(Ask::RpcOpen);
            }
            Event::ChannelOpen(_) | Event::Video(_) => (),
            Event::Message(Channel::Input, bytes) => self.on_input(now, &bytes, asks),
            Event::Message(Channel::Rpc, bytes) => self.on_rpc(&bytes, asks),
            Event::Message(Channel::Frame, _) => (),
            Event::KeyFrameWanted => asks.push(Ask::KeyFrame),
            Event::Estimate(bps) => asks.push(Ask::Estimate(bps)),
            Event::Closed(reason) => asks.push(Ask::Closed(reason.to_string())),
        }
    }

    fn on_input(&mut self, now: Instant, bytes: &[u8], asks: &mut Vec<Ask>) {
        match live::Header::decode(bytes).map(|header| header.kind) {
            Ok(live::Input::TYPE) => match live::Input::decode(bytes) {
                Ok(input) => {
                    // Unordered channel: what is older than the newest is history. Half of the numbers are "older".
                    let newer = |last: u32| (1..1 << 31).contains(&input.seq.wrapping_sub(last));
                    if self.newest_input.is_none_or(newer) {
                        self.newest_input = Some(input.seq);
                        asks.push(Ask::Input(input));
                        if self.waiting_since.is_some() {
                            self.flow(asks);
                        }
                    }
                }
                Err(error) => tracing::debug!(%error, "an input message is malformed"),
            },
            Ok(live::Ping::TYPE) => {
                if let Ok(ping) = live::Ping::decode(bytes) {
                    let host_time_us = u64::try_from((now - self.epoch).as_micros()).unwrap_or(u64::MAX);
                    let pong =
                        live::Pong { seq: ping.seq, client_time_us: ping.client_time_us, host_time_us };
                    // Unreliable by contract: the next ping gets its pong.
                    let _dropped = self.peer.send(Channel::Frame, &pong.encode()).is_err();
                }
            }
            Ok(_unknown) => (),
            Err(error) => asks.push(Ask::Closed(error.to_string())),
        }
    }

    fn on_rpc(&mut self, bytes: &[u8], asks: &mut Vec<Ask>) {
        let (request, body) = match self.joiner.push(bytes) {
            Ok(Some(whole)) => whole,
            Ok(None) => return,
            Err(error @ live::DecodeError::Version(_)) => return asks.push(Ask::Closed(error.to_string())),
            Err(error) => return self.refuse(0, "BadRequest", &error.to_string()),
        };
        match rpc::ClientMessage::decode(body.as_slice()) {
            Ok(rpc::ClientMessage { body: Some(body), .. }) if request != 0 => {
                asks.push(Ask::Rpc(request, body))
            }
            Ok(_) => self.refuse(
                request,
                "BadRequest",
                "the request has no number or nothing that this host knows",
            ),
            Err(error) => self.refuse(request, "BadRequest", &format!("the request cannot be read: {error}")),
        }
    }

    /// Sends a message on `rpc`.
    pub(crate) fn say(&mut self, request: u32, body: rpc::host_message::Body) {
        if !self.rpc_open {
            return;
        }
        let message = rpc::HostMessage { request, body: Some(body) }.encode_to_vec();
        for piece in live::split(request, &message) {
            if let Err(error) = self.peer.send(Channel::Rpc, &piece) {
                // The client does not read: it will not miss this one either.
                return tracing::debug!(%error, request, "a message to the client is dropped");
            }
        }
    }

    pub(crate) fn refuse(&mut self, request: u32, code: &str, message: &str) {
        let error = rpc::Error { code: code.to_owned(), message: message.to_owned() };
        self.say(request, rpc::host_message::Body::Error(error));
    }

    /// Whether frames made now would only wait: more than a frame time of them has not left yet.
    pub(crate) fn is_congested(&mut self, now: Instant, frame_time: Duration) -> bool {
        self.peer.queue().oldest.is_some_and(|oldest| now.saturating_duration_since(oldest) > frame_time)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Silence;

    #[test]
    fn silence_is_answered_once_per_rest_and_a_broken_frame_always() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut silence = Silence::default();
        assert!(silence.grants(at(0)), "nothing was sent yet");
        silence.sent(at(0), false);
        silence.sent(at(100), true);
        assert!(silence.grants(at(150)), "a broken frame");
        silence.sent(at(160), true);
        assert!(silence.grants(at(3_160)), "a last frame may be lost");
        silence.sent(at(3_170), true);
        assert!(!silence.grants(at(6_170)), "nothing is wrong but the silence");
        assert!(silence.grants(at(3_200)), "the answer itself may break");
        silence.sent(at(9_000), false);
        assert!(silence.grants(at(12_000)), "after motion anew");
    }
}
