//! A session, live: pictures as they come, input, requests.
//!
//! ```no_run
//! # async fn example(options: client::live::Options, input: protocol::live::Input) -> Result<(), client::live::Error> {
//! let mut session = client::live::Client::connect(&options).await?;
//! session.send_input(input);
//! while let Some(event) = session.next().await {
//!     if let client::live::Event::Picture(picture) = event {
//!         println!("{}x{}", picture.width, picture.height);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A thread of its own receives and decodes; nothing is shown later because the caller is busy, but what the caller
//! does not take is dropped.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use openh264::decoder::Decoder;
use openh264::formats::YUVSource as _;
use prost::Message as _;
use protocol::live::{self, Input, Joiner, Ping, Pong, rpc};
use protocol::rest::ErrorBody;
use protocol::{AccountId, SessionId};
use tokio::sync::mpsc;
use transport::{Channel, Output, Peer, VideoIn};

/// Events that wait for the caller; pictures beyond are dropped.
const EVENTS: usize = 256;

/// Pictures that wait for what the host says about them, and for how long: the message may come after the last packet.
const PICTURES: usize = 8;
const META_WAIT: Duration = Duration::from_millis(20);

/// What the host said about frames that are not decoded yet.
const METAS: usize = 64;

/// The answer to an offer has come after this long.
const SIGNALLING: Duration = Duration::from_secs(20);

/// Largest key frames are bursts of hundreds of datagrams.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Which session, and who asks.
#[derive(Clone)]
pub struct Options {
    /// `https://host:port` or `http://127.0.0.1:port`.
    pub endpoint: String,
    /// Whose session.
    pub account: AccountId,
    /// Which.
    pub session: SessionId,
    /// Access token.
    pub token: String,
    /// PEM of a certificate authority to trust beside the system's.
    pub ca_pem: Option<Vec<u8>>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request did not arrive, or the answer did not.
    #[error("no answer from the service")]
    Unreachable(#[source] reqwest::Error),
    /// The service refused.
    #[error("{code} ({status}): {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Stable: `ConnectionInUse`, `SessionNotReady`, …
        code: String,
        /// For people.
        message: String,
    },
    /// The answer is not one to our offer.
    #[error("the service answered something unusable: {0}")]
    BadAnswer(String),
    /// This machine has no socket or no thread for it.
    #[error("the connection cannot be set up on this machine")]
    Local(#[from] std::io::Error),
}

/// A decoded picture: I420, BT.709 limited range, rows from the top without padding.
#[derive(Debug, Clone)]
pub struct Picture {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Luma.
    pub y: Vec<u8>,
    /// Blue difference, half as wide and high.
    pub u: Vec<u8>,
    /// Red difference, as `u`.
    pub v: Vec<u8>,
    /// RTP time, 90 kHz.
    pub rtp_time: u32,
    /// What the host says about it; `None` if that was lost.
    pub meta: Option<live::Frame>,
    /// When its last packet was here.
    pub received_at: Instant,
    /// When it was decoded.
    pub decoded_at: Instant,
}

/// What happens.
#[derive(Debug, Clone)]
pub enum Event {
    /// Media flows from now on.
    Connected,
    /// Requests and input reach the host from now on.
    Open,
    /// A picture.
    Picture(Box<Picture>),
    /// A response (to the request of that number) or an event (number 0).
    Message(rpc::HostMessage),
    /// Answers [`Client::ping`].
    Pong(Pong),
    /// Over, in words. The last event.
    Closed(String),
}

enum Command {
    Input(Input),
    Ping(Ping),
    Rpc(u32, rpc::client_message::Body),
    Close,
}

/// A connection to a session.
pub struct Client {
    commands: mpsc::UnboundedSender<Command>,
    events: mpsc::Receiver<Event>,
    thread: Option<std::thread::JoinHandle<()>>,
    n_requests: u32,
    /// For saying goodbye over HTTP too.
    leave: Option<(reqwest::Client, String, String)>,
}

impl Client {
    /// Connects to a session that is Ready. Media flows with [`Event::Connected`].
    ///
    /// # Errors
    /// The service is not there, refuses, or answers nonsense.
    pub async fn connect(options: &Options) -> Result<Self, Error> {
        let mut http = reqwest::Client::builder().timeout(SIGNALLING);
        if let Some(pem) = &options.ca_pem {
            let authority = reqwest::Certificate::from_pem(pem).map_err(Error::Unreachable)?;
            http = http.add_root_certificate(authority);
        }
        let http = http.build().map_err(Error::Unreachable)?;
        let endpoint = options.endpoint.trim_end_matches('/');
        let url = format!("{endpoint}/accounts/{}/sessions/{}/connection", options.account, options.session);
        let mut location = None;
        let mut client = Self::connect_with(async |offer| {
            let request =
                http.post(&url).bearer_auth(&options.token).header("content-type", "application/sdp");
            let response = request.body(offer).send().await.map_err(Error::Unreachable)?;
            let status = response.status();
            if !status.is_success() {
                let text = response.text().await.map_err(Error::Unreachable)?;
                let (code, message) = match serde_json::from_str::<ErrorBody>(&text) {
                    Ok(body) => (body.error.code, body.error.message),
                    Err(_other_shape) => (String::new(), text.chars().take(200).collect()),
                };
                return Err(Error::Refused { status: status.as_u16(), code, message });
            }
            location = response.headers().get("location").and_then(|l| l.to_str().ok()).map(str::to_owned);
            response.text().await.map_err(Error::Unreachable)
        })
        .await?;
        client.leave = location.map(|location| {
            let url = if location.starts_with('/') { format!("{endpoint}{location}") } else { location };
            (http, url, options.token.clone())
        });
        Ok(client)
    }

    /// As [`Self::connect`], with the signalling left to `signal`: it takes the offer and gives the answer.
    ///
    /// # Errors
    /// Those of `signal`, and an unusable answer.
    pub async fn connect_with<F>(signal: F) -> Result<Self, Error>
    where
        F: AsyncFnOnce(String) -> Result<String, Error>,
    {
        let config = transport::Config { addresses: Vec::new(), start_bps: 1_000_000, max_bps: 1_000_000 };
        let bad = |error: transport::AnswerError| Error::BadAnswer(error.to_string());
        // No candidates in the offer: which of our addresses the host can reach is known when its own is.
        let (mut peer, offer) = Peer::offer(&config, Instant::now()).map_err(bad)?;
        let answer = signal(offer).await?;
        let hosts = transport::candidates(&answer);
        let host = hosts.first().ok_or_else(|| Error::BadAnswer("it has no address".into()))?;
        let socket = socket_towards(*host)?;
        let address = socket.local_addr()?;
        peer.answer(&answer).map_err(bad)?;
        peer.add_address(address);
        let (command_sender, commands) = mpsc::unbounded_channel();
        let (event_sender, events) = mpsc::channel(EVENTS);
        let decoder = Decoder::new().map_err(|error| Error::Local(std::io::Error::other(error)))?;
        let receiver = Receiver {
            peer,
            address,
            decoder,
            joiner: Joiner::default(),
            events: event_sender,
            metas: VecDeque::new(),
            pictures: VecDeque::new(),
            until_key: true,
            open: 0,
        };
        let thread = std::thread::Builder::new()
            .name("client-live".into())
            .spawn(move || receiver.run(socket, commands))?;
        Ok(Self { commands: command_sender, events, thread: Some(thread), n_requests: 0, leave: None })
    }

    /// The next event; `None` after [`Event::Closed`].
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Sends the newest state. Unreliable: it may be lost, and is dropped until [`Event::Open`].
    pub fn send_input(&self, input: Input) {
        self.command(Command::Input(input));
    }

    /// Asks for a [`Event::Pong`]. Unreliable.
    pub fn ping(&self, ping: Ping) {
        self.command(Command::Ping(ping));
    }

    /// Sends a request; gives the number that its response has. Call it after [`Event::Open`].
    pub fn request(&mut self, body: rpc::client_message::Body) -> u32 {
        self.n_requests = self.n_requests.wrapping_add(1).max(1);
        self.command(Command::Rpc(self.n_requests, body));
        self.n_requests
    }

    /// Leaves.
    pub async fn close(mut self) {
        self.command(Command::Close);
        if let Some((http, url, token)) = self.leave.take() {
            // The host has heard it over the connection already; this is for the case that it did not.
            let _gone = http.delete(url).bearer_auth(token).send().await.is_err();
        }
    }

    fn command(&self, command: Command) {
        // Fails after the end, which an event has told.
        let _over = self.commands.send(command).is_err();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.command(Command::Close);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join().is_err();
        }
    }
}

/// A socket whose address is the one that reaches `host`.
fn socket_towards(host: SocketAddr) -> std::io::Result<UdpSocket> {
    let any =
        if host.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    // Connecting a UDP socket sends nothing; it asks the routing table.
    let probe = UdpSocket::bind((any, 0))?;
    probe.connect(host)?;
    let socket = UdpSocket::bind((probe.local_addr()?.ip(), 0))?;
    socket.set_nonblocking(true)?;
    // The kernel may give less; resends make up for it.
    let _smaller = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER_BYTES).is_err();
    Ok(socket)
}

/// The thread's state.
struct Receiver {
    peer: Peer,
    address: SocketAddr,
    decoder: Decoder,
    joiner: Joiner,
    events: mpsc::Sender<Event>,
    metas: VecDeque<live::Frame>,
    pictures: VecDeque<Box<Picture>>,
    /// The decoder has lost the thread.
    until_key: bool,
    /// Channels that are open.
    open: usize,
}

impl Receiver {
    fn run(mut self, socket: UdpSocket, mut commands: mpsc::UnboundedReceiver<Command>) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return self.tell(Event::Closed(format!("no event loop: {error}"))),
        };
        runtime.block_on(async move {
            let socket = match tokio::net::UdpSocket::from_std(socket) {
                Ok(socket) => socket,
                Err(error) => return self.tell(Event::Closed(format!("no socket: {error}"))),
            };
            let mut buffer = vec![0; 2048];
            loop {
                let now = Instant::now();
                self.peer.advance(now);
                let Some(wake_at) = self.poll(&socket, now) else { return };
                tokio::select! {
                    ready = socket.readable() => {
                        if ready.is_err() {
                            return self.tell(Event::Closed("the socket failed".into()));
                        }
                        while let Ok((len, source)) = socket.try_recv_from(&mut buffer) {
                            self.peer.receive(Instant::now(), source, self.address, &buffer[..len]);
                        }
                    }
                    command = commands.recv() => self.obey(command.unwrap_or(Command::Close)),
                    () = tokio::time::sleep_until(wake_at.into()) => (),
                }
            }
        });
    }

    /// Takes everything out of the peer. Gives when to come back; `None` at the end.
    fn poll(&mut self, socket: &tokio::net::UdpSocket, now: Instant) -> Option<Instant> {
        let mut closed = None;
        let wake_at = loop {
            match self.peer.poll() {
                Output::WakeAt(at) => break at,
                Output::Transmit(transmit) => {
                    // Lost like any datagram.
                    let _lost = socket.try_send_to(&transmit.bytes, transmit.destination).is_err();
                }
                Output::Event(transport::Event::Closed(reason)) => closed = Some(reason.to_string()),
                Output::Event(event) => self.on_event(event, now),
            }
        };
        if let Some(reason) = closed {
            self.tell(Event::Closed(reason));
            return None;
        }
        let due = self.emit(now);
        Some(due.map_or(wake_at, |due| due.min(wake_at)))
    }

    fn obey(&mut self, command: Command) {
        // All unreliable or told by an event when it fails.
        let _failed = match command {
            Command::Input(input) => self.peer.send(Channel::Input, &input.encode()).is_err(),
            Command::Ping(ping) => self.peer.send(Channel::Input, &ping.encode()).is_err(),
            Command::Rpc(request, body) => {
                let message = rpc::ClientMessage { request, body: Some(body) }.encode_to_vec();
                live::split(request, &message)
                    .iter()
                    .any(|piece| self.peer.send(Channel::Rpc, piece).is_err())
            }
            Command::Close => {
                self.peer.close();
                false
            }
        };
    }

    fn on_event(&mut self, event: transport::Event, now: Instant) {
        match event {
            transport::Event::Connected => self.tell(Event::Connected),
            transport::Event::ChannelOpen(_) => {
                self.open += 1;
                if self.open == 3 {
                    self.tell(Event::Open);
                }
            }
            transport::Event::Message(Channel::Frame, bytes) => {
                if let Ok(pong) = Pong::decode(&bytes) {
                    self.tell(Event::Pong(pong));
                } else if let Ok(meta) = live::Frame::decode(&bytes) {
                    match self.pictures.iter_mut().find(|picture| picture.rtp_time == meta.rtp_time) {
                        Some(picture) => picture.meta = Some(meta),
                        None => {
                            if self.metas.len() == METAS {
                                self.metas.pop_front();
                            }
                            self.metas.push_back(meta);
                        }
                    }
                }
            }
            transport::Event::Message(Channel::Rpc, bytes) => {
                if let Ok(Some((_, body))) = self.joiner.push(&bytes)
                    && let Ok(message) = rpc::HostMessage::decode(body.as_slice())
                {
                    self.tell(Event::Message(message));
                }
            }
            transport::Event::Video(video) => self.decode(&video, now),
            transport::Event::Message(Channel::Input, _)
            | transport::Event::KeyFrameWanted
            | transport::Event::Estimate(_)
            | transport::Event::Closed(_) => (),
        }
    }

    fn decode(&mut self, video: &VideoIn, received_at: Instant) {
        self.until_key |= !video.contiguous;
        if self.until_key && !video.key {
            return self.peer.request_key_frame();
        }
        self.until_key = false;
        let Ok(Some(decoded)) = self.decoder.decode(&video.bytes) else {
            self.until_key = true;
            return self.peer.request_key_frame();
        };
        let (width, height) = decoded.dimensions();
        let packed = |plane: &[u8], stride: usize, width: usize, height: usize| -> Vec<u8> {
            let mut rows = Vec::with_capacity(width * height);
            for row in plane.chunks(stride.max(1)).take(height) {
                rows.extend_from_slice(&row[..width.min(row.len())]);
            }
            rows
        };
        let (y_stride, u_stride, v_stride) = decoded.strides();
        let at = self.metas.iter().position(|meta| meta.rtp_time == video.rtp_time);
        let picture = Picture {
            width: u32::try_from(width).unwrap_or(0),
            height: u32::try_from(height).unwrap_or(0),
            y: packed(decoded.y(), y_stride, width, height),
            u: packed(decoded.u(), u_stride, width / 2, height / 2),
            v: packed(decoded.v(), v_stride, width / 2, height / 2),
            rtp_time: video.rtp_time,
            meta: at.and_then(|at| self.metas.remove(at)),
            received_at,
            decoded_at: Instant::now(),
        };
        self.pictures.push_back(Box::new(picture));
    }

    /// Gives out the pictures that are complete, in order. Gives when to come back for the others.
    fn emit(&mut self, now: Instant) -> Option<Instant> {
        while let Some(first) = self.pictures.front() {
            let due = first.decoded_at + META_WAIT;
            if first.meta.is_none() && now < due && self.pictures.len() < PICTURES {
                return Some(due);
            }
            if let Some(picture) = self.pictures.pop_front() {
                self.tell(Event::Picture(picture));
            }
        }
        None
    }

    fn tell(&self, event: Event) {
        // A caller that does not listen misses events, as documented.
        let _missed = self.events.try_send(event).is_err();
    }
}
