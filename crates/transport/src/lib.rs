//! Video and messages between a host and its client: WebRTC without sockets and without a clock.
//!
//! A [`Peer`] is one end of a connection. Its owner gives it datagrams and the time, and takes out what is to be
//! sent, what happened, and when to call again:
//!
//! ```text
//!   datagram ──▶ receive ┐                  ┌──▶ Transmit    to the socket
//!   time     ──▶ advance ├──▶ Peer ──▶ poll ┼──▶ Event       connected, message, video, estimate, closed
//!   frame    ──▶ send_*  ┘                  └──▶ WakeAt      call `advance` then
//! ```
//!
//! Whoever polls until [`Output::WakeAt`] after each call, and calls [`Peer::advance`] at that time, has done
//! everything right; the rules of the WebRTC stack below (one mutation between two drains; all due deadlines before
//! sleeping) are kept in here. Nothing of that stack shows in this interface.

mod limits;
mod peer;
mod sdp;

pub use limits::{KEY_FRAME_INTERVAL, MAX_MESSAGE_BYTES, MAX_SDP_BYTES, SILENCE};
pub use peer::{
    Channel, CloseReason, Config, Event, Output, Peer, Queue, SendError, Transmit, VideoIn, VideoOut,
};
pub use sdp::{AnswerError, OfferError, candidates};
