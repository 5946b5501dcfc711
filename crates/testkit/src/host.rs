//! One simulated host, with the timing of a real one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use protocol::link::{FromHost, MAX_MESSAGE_BYTES, ToHost, VERSION};
use protocol::rest;
use protocol::{ConnectionId, HostId, SessionId};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// Pauses between attempts to open the link, doubling; as of real hosts.
const REDIAL_MIN: Duration = Duration::from_millis(50);
const REDIAL_MAX: Duration = Duration::from_secs(1);

/// A host that has no lease and no link ends after this long; as real ones do.
const WITHOUT_LINK: Duration = Duration::from_secs(10);

/// Messages that a [`Log`] keeps.
const LOG_MESSAGES: usize = 4_096;

/// Messages on the link are short; the default of 128 KiB would be most of a host.
const BUFFER_BYTES: usize = 1_024;

/// How hosts behave; may change while they live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// Ready at once.
    #[default]
    Prompt,
    /// Never says Ready.
    Slow,
    /// Cannot be started.
    Stillborn,
    /// Refuses its session.
    Refusing,
    /// Does not answer questions.
    Mute,
}

/// What hosts heard, the newest 4,096 messages. Clones are the same log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    newest: Arc<Mutex<VecDeque<ToHost>>>,
    listener: Option<mpsc::UnboundedSender<Heard>>,
}

/// What a host heard.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Which, as named by its Welcome.
    pub host: Option<HostId>,
    /// When.
    pub at: Instant,
    /// What.
    pub message: ToHost,
}

impl Log {
    /// A log that tells everything to `listener`, and keeps nothing.
    pub fn telling(listener: mpsc::UnboundedSender<Heard>) -> Self {
        Self { newest: Arc::default(), listener: Some(listener) }
    }

    /// The messages, oldest first.
    pub fn messages(&self) -> Vec<ToHost> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn push(&self, host: Option<HostId>, message: &ToHost) {
        if let Some(listener) = &self.listener {
            let heard = Heard { host, at: Instant::now(), message: message.clone() };
            let _nobody_listens = listener.send(heard).is_err();
            return;
        }
        let mut messages = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if messages.len() == LOG_MESSAGES {
            messages.pop_front();
        }
        messages.push_back(message.clone());
    }
}

/// The life of a host: returns when it was told to end, is not known any more, or its lease is over and it has no link.
///
/// `url` and `token` are those of a [`control::provision::HostOrder`], or of a host process's environment.
pub async fn serve(url: &str, token: String, manner: watch::Receiver<Manner>, log: Log) {
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let mut host = Host { token, name: None, serving: None, lease_ends_at: None, client: None, manner, log };
    let mut redial = REDIAL_MIN;
    let mut give_up_at = Instant::now() + WITHOUT_LINK;
    loop {
        let dial = async { connect_async_with_config(request(url, &host.token)?, Some(config), true).await };
        let dialled = timeout_at(give_up_at, dial).await;
        if let Ok(Err(Error::Http(refusal))) = &dialled
            && refusal.status() == StatusCode::UNAUTHORIZED
        {
            return;
        }
        if let Ok(Ok((mut socket, _))) = dialled {
            let (next, welcomed) = host.talk(&mut socket).await;
            if matches!(next, Next::End) {
                // The other side may be gone already.
                let _gone = socket.close(None).await.is_err();
                return;
            }
            if welcomed {
                redial = REDIAL_MIN;
                give_up_at = Instant::now() + WITHOUT_LINK;
            }
        }
        // A lease that was told counts, whether it is longer or shorter.
        let ends_at = host.lease_ends_at.unwrap_or(give_up_at);
        let redial_at = Instant::now() + redial;
        if ends_at <= redial_at {
            return sleep_until(ends_at).await;
        }
        sleep_until(redial_at).await;
        redial = (redial * 2).min(REDIAL_MAX);
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

enum Next {
    Redial,
    End,
}

struct Host {
    /// The one-time token, then the secret of the Welcome.
    token: String,
    /// From the first Welcome.
    name: Option<HostId>,
    serving: Option<SessionId>,
    lease_ends_at: Option<Instant>,
    client: Option<ConnectionId>,
    manner: watch::Receiver<Manner>,
    log: Log,
}

impl Host {
    /// One link, and whether it was Welcome.
    async fn talk(&mut self, socket: &mut Socket) -> (Next, bool) {
        let mut welcomed = false;
        let next = match self.listen(socket, &mut welcomed).await {
            Some(()) => Next::End,
            None => Next::Redial,
        };
        (next, welcomed)
    }

    /// `Some` if the host is to end, `None` if the link broke.
    async fn listen(&mut self, socket: &mut Socket, welcomed: &mut bool) -> Option<()> {
        let serving = self.serving.clone();
        let hello = FromHost::Hello { version: VERSION, pid: std::process::id(), serving };
        say(socket, &hello).await?;
        loop {
            let message = hear(socket).await?;
            if let ToHost::Welcome { host, .. } = &message {
                self.name = Some(*host);
            }
            self.log.push(self.name, &message);
            let manner = *self.manner.borrow();
            match message {
                ToHost::Welcome { secret, .. } => {
                    self.token = secret;
                    *welcomed = true;
                }
                ToHost::Assign { session, .. } => {
                    if self.serving.as_ref().is_some_and(|serving| *serving != session) {
                        let error = rest::Error::new("HostBusy", "this host serves another session");
                        say(socket, &FromHost::Failed { session, error }).await?;
                        continue;
                    }
                    self.serving = Some(session.clone());
                    match manner {
                        Manner::Slow => {}
                        Manner::Refusing => {
                            let error = rest::Error::new("SessionStartFailed", "no memory");
                            say(socket, &FromHost::Failed { session, error }).await?;
                        }
                        Manner::Prompt | Manner::Stillborn | Manner::Mute => {
                            say(socket, &FromHost::Ready { session }).await?;
                        }
                    }
                }
                ToHost::Lease { remaining_ms } => {
                    // Beyond a year it does not matter, and an Instant cannot overflow.
                    let remaining = Duration::from_millis(remaining_ms.min(31_536_000_000));
                    self.lease_ends_at = Some(Instant::now() + remaining);
                }
                ToHost::Connect { .. } | ToHost::Still { .. } if manner == Manner::Mute => {}
                ToHost::Connect { request, connection, offer, .. } => {
                    let answer = self.connect(request, connection, &offer);
                    say(socket, &answer).await?;
                }
                ToHost::Disconnect { connection } => {
                    if self.client == Some(connection) {
                        self.client = None;
                        let reason = "asked to".to_owned();
                        say(socket, &FromHost::Disconnected { connection, reason }).await?;
                    }
                }
                ToHost::Still { request, width, height, .. } => {
                    let mut bytes = request.to_le_bytes().to_vec();
                    bytes.extend(format!("PNG {width}x{height}").as_bytes());
                    socket.send(Message::binary(bytes)).await.ok()?;
                }
                ToHost::End { .. } => {
                    let reason = "told to".to_owned();
                    // It ends in any case.
                    let _gone = say(socket, &FromHost::Ended { reason }).await;
                    return Some(());
                }
            }
        }
    }

    /// Answers an offer that is an SDP in name only.
    fn connect(&mut self, request: u64, connection: ConnectionId, offer: &str) -> FromHost {
        let refuse = |code: &str| FromHost::Refused { request, error: rest::Error::new(code, "no") };
        if self.client.is_some() {
            refuse("ConnectionInUse")
        } else if offer.contains("no codec") {
            refuse("NoCodec")
        } else if !offer.starts_with("v=0") {
            refuse("BadOffer")
        } else {
            self.client = Some(connection);
            FromHost::Connected { request, answer: format!("v=0\r\nto {offer}") }
        }
    }
}

/// The request that opens a link.
fn request(url: &str, token: &str) -> Result<Request, Error> {
    let mut request = url.into_client_request()?;
    request.headers_mut().insert(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}"))?);
    Ok(request)
}

async fn say(socket: &mut Socket, message: &FromHost) -> Option<()> {
    let text = serde_json::to_string(message).ok()?;
    socket.send(Message::text(text)).await.ok()
}

/// The next message; `None` if the link broke or something came that is no message.
async fn hear(socket: &mut Socket) -> Option<ToHost> {
    loop {
        match socket.next().await?.ok()? {
            Message::Text(text) => return serde_json::from_str(&text).ok(),
            Message::Close(_) => return None,
            _ => {}
        }
    }
}
