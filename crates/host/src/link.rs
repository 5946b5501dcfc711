//! The host's end of the link to the control plane: dials, redials, translates.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use protocol::SessionId;
use protocol::link::{FromHost, MAX_MESSAGE_BYTES, ToHost, VERSION};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::Secret;
use crate::limits::{DIAL, LINK_QUEUE, LINK_SILENCE, REDIAL_MAX, REDIAL_MIN};
use crate::session::News;

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What the session hears of the link.
pub(crate) enum LinkNews {
    Up,
    Message(ToHost),
    Down,
    /// The control plane does not know this host any more; nothing comes after this.
    Unknown,
}

/// What the session says.
pub(crate) enum Say {
    Json(FromHost),
    /// A still: request number, PNG.
    Still(u64, Vec<u8>),
    /// Nothing more comes: close when all is sent.
    Bye,
}

/// The session's handle.
pub(crate) struct Link {
    say: mpsc::Sender<Say>,
    task: tokio::task::JoinHandle<()>,
}

impl Link {
    pub(crate) fn start(url: String, token: Secret, news: mpsc::Sender<News>) -> Self {
        let (say, said) = mpsc::channel(LINK_QUEUE);
        let dialer = Dialer { url, token, serving: None, said, news, unsent: None };
        Self { say, task: tokio::spawn(dialer.run()) }
    }

    /// Sends now, or when the link is back.
    pub(crate) fn say(&self, message: Say) {
        match self.say.try_send(message) {
            Err(TrySendError::Full(_)) => tracing::warn!("too much waits for the link; a message is dropped"),
            // There will be no link any more.
            Ok(()) | Err(TrySendError::Closed(_)) => (),
        }
    }

    /// Says goodbye and waits until it is out, at most `limit`.
    pub(crate) async fn close(self, limit: Duration) {
        self.say(Say::Bye);
        let abort = self.task.abort_handle();
        if timeout(limit, self.task).await.is_err() {
            abort.abort();
        }
    }
}

struct Dialer {
    url: String,
    /// The one-time token, then the secret of the newest Welcome.
    token: Secret,
    serving: Option<SessionId>,
    said: mpsc::Receiver<Say>,
    news: mpsc::Sender<News>,
    /// What was being sent when the link broke.
    unsent: Option<Message>,
}

/// Whether to go on.
enum Next {
    Redial,
    Stop,
}

impl Dialer {
    async fn run(mut self) {
        let mut wait = REDIAL_MIN;
        loop {
            match timeout(DIAL, self.dial()).await {
                Ok(Ok(stream)) => match self.talk(stream, &mut wait).await {
                    Next::Redial => (),
                    Next::Stop => return,
                },
                Ok(Err(Error::Http(answer))) if answer.status() == StatusCode::UNAUTHORIZED => {
                    let _over_already = self.news.send(News::Link(LinkNews::Unknown)).await.is_err();
                    return;
                }
                Ok(Err(error)) => tracing::debug!(%error, "the link cannot be opened"),
                Err(_late) => tracing::debug!("the link cannot be opened in time"),
            }
            if self.news.send(News::Link(LinkNews::Down)).await.is_err() {
                return;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(REDIAL_MAX);
        }
    }

    async fn dial(&self) -> Result<Stream, Error> {
        let mut request = self.url.as_str().into_client_request()?;
        let mut credential = HeaderValue::try_from(format!("Bearer {}", self.token.reveal()))?;
        credential.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, credential);
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        // Messages are small and each waits for the last: no coalescing.
        let (mut stream, _response) = connect_async_with_config(request, Some(config), true).await?;
        let hello =
            FromHost::Hello { version: VERSION, pid: std::process::id(), serving: self.serving.clone() };
        stream.send(text(&hello)).await?;
        Ok(stream)
    }

    async fn talk(&mut self, mut stream: Stream, wait: &mut Duration) -> Next {
        if let Some(message) = self.unsent.take()
            && stream.send(message.clone()).await.is_err()
        {
            self.unsent = Some(message);
            return Next::Redial;
        }
        let mut welcome = false;
        let mut heard_at = Instant::now();
        loop {
            tokio::select! {
                // Pings are heard, too.
                () = sleep_until(heard_at + LINK_SILENCE) => return Next::Redial,
                // Before Welcome nothing else is said: it would be lost with the link if the Hello is refused.
                said = self.said.recv(), if welcome => {
                    let message = match said {
                        Some(Say::Json(message)) => text(&message),
                        Some(Say::Still(request, png)) => {
                            let mut bytes = request.to_le_bytes().to_vec();
                            bytes.extend(png);
                            Message::binary(bytes)
                        }
                        Some(Say::Bye) | None => {
                            // The other side may be gone already.
                            let _gone = stream.close(None).await.is_err();
                            return Next::Stop;
                        }
                    };
                    if stream.send(message.clone()).await.is_err() {
                        self.unsent = Some(message);
                        return Next::Redial;
                    }
                }
                heard = stream.next() => {
                    heard_at = Instant::now();
                    let message = match heard {
                        Some(Ok(Message::Text(text))) => serde_json::from_str::<ToHost>(&text),
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return Next::Redial,
                        // Pings are answered below this; binary is not for hosts.
                        Some(Ok(_)) => continue,
                    };
                    let message = match message {
                        Ok(message) => message,
                        Err(error) => {
                            // A newer control plane may know more messages.
                            tracing::warn!(%error, "a message on the link is not understood");
                            continue;
                        }
                    };
                    match &message {
                        ToHost::Welcome { secret, .. } => {
                            self.token = Secret::new(secret.clone());
                            welcome = true;
                            *wait = REDIAL_MIN;
                            if self.news.send(News::Link(LinkNews::Up)).await.is_err() {
                                return Next::Stop;
                            }
                        }
                        ToHost::Assign { session, .. } => self.serving = Some(session.clone()),
                        _ => (),
                    }
                    if self.news.send(News::Link(LinkNews::Message(message))).await.is_err() {
                        return Next::Stop;
                    }
                }
            }
        }
    }
}

fn text(message: &FromHost) -> Message {
    // Plain data with string keys: serializing it cannot fail.
    Message::text(serde_json::to_string(message).unwrap_or_default())
}
