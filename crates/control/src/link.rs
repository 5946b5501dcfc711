//! The links of hosts: WebSocket in, events out, and questions that wait for their answers.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, close_code};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use protocol::link::{Camera, EndReason, FromHost, MAX_MESSAGE_BYTES, ToHost, Trace, VERSION};
use protocol::rest::Error;
use protocol::{ConnectionId, HostId, SessionId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::engine::Event;
use crate::secrets::SecretHash;

/// A host says Hello at once; whoever does not is no host.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// How links are probed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Between two pings.
    pub(crate) ping: Duration,
    /// A link is dead if a ping was not answered for this long, or a message not taken.
    pub(crate) silence_max: Duration,
}

impl Pace {
    /// The pace of real links.
    pub(crate) const REAL: Self = Self { ping: Duration::from_secs(2), silence_max: Duration::from_secs(7) };
}

/// Messages on their way to one host. A host that does not read them loses its link.
const OUTGOING_MAX: usize = 64;

/// Questions to one host that wait for answers.
const PENDING_MAX: usize = 32;

/// REST answers arrive within 15 s, so this is what a host may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(12);

/// Who opens a link, and what it says first.
#[derive(Debug)]
pub(crate) struct Hello {
    pub(crate) credential: SecretHash,
    /// Said back as the secret when a known host returns.
    pub(crate) token: String,
    pub(crate) serving: Option<SessionId>,
}

/// The engine's answer to a good [`Hello`].
#[derive(Debug)]
pub(crate) struct Welcomed {
    pub(crate) host: HostId,
    pub(crate) secret: String,
}

/// What a host says about its session.
#[derive(Debug)]
pub(crate) enum HostNews {
    /// It has read its Welcome.
    Welcomed,
    Ready(SessionId),
    Failed(SessionId, Error),
    Ended(String),
}

/// What a host answers.
#[derive(Debug)]
pub(crate) enum Answer {
    Sdp(String),
    Png(Bytes),
    Refused(Error),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The link is down, too busy, or broke meanwhile.
    LinkDown,
    /// The host took too long.
    TooLate,
}

/// One end of a link, for whoever wants to say or ask something.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// Tells links of the same host apart.
    pub(crate) number: u64,
    outgoing: mpsc::Sender<ToHost>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    next_request: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pending: HashMap<u64, oneshot::Sender<Answer>>,
    connections: HashSet<ConnectionId>,
}

impl Link {
    pub(crate) fn new() -> (Self, mpsc::Receiver<ToHost>) {
        static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);
        let (outgoing, queue) = mpsc::channel(OUTGOING_MAX);
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        (Self { number, outgoing, shared: Arc::default() }, queue)
    }

    /// Says something; a full queue means that the host does not listen, and its link will time out.
    pub(crate) fn say(&self, message: ToHost) {
        if self.outgoing.try_send(message).is_err() {
            tracing::debug!(link = self.number, "a message to a host was lost with its link");
        }
    }

    /// Lets a client connect.
    pub(crate) async fn connect(
        &self,
        connection: ConnectionId,
        offer: String,
        trace: Trace,
    ) -> Result<Answer, NoAnswer> {
        let trace = Some(trace);
        // If we stop waiting, or the client hangs up in the middle, the host may still let it in.
        let mut abandoned = Abandoned { link: self, connection: Some(connection) };
        let answer = self.ask(|request| ToHost::Connect { request, connection, offer, trace }).await;
        if !matches!(answer, Err(NoAnswer::TooLate)) {
            abandoned.connection = None;
        }
        if let Ok(Answer::Sdp(_)) = &answer {
            self.state().connections.insert(connection);
        }
        answer
    }

    /// Lets a client go. Returns whether it was there.
    pub(crate) fn disconnect(&self, connection: ConnectionId) -> bool {
        let known = self.state().connections.remove(&connection);
        if known {
            self.say(ToHost::Disconnect { connection });
        }
        known
    }

    /// Asks for a picture.
    pub(crate) async fn still(
        &self,
        camera: Option<Camera>,
        width: u32,
        height: u32,
        trace: Trace,
    ) -> Result<Answer, NoAnswer> {
        let trace = Some(trace);
        self.ask(|request| ToHost::Still { request, camera, width, height, trace }).await
    }

    async fn ask(&self, question: impl FnOnce(u64) -> ToHost) -> Result<Answer, NoAnswer> {
        let request = self.shared.next_request.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        {
            let mut state = self.state();
            if state.pending.len() >= PENDING_MAX {
                return Err(NoAnswer::LinkDown);
            }
            state.pending.insert(request, sender);
        }
        // Also when the client that asked goes away in the middle.
        let _forget = Forget { link: self, request };
        self.outgoing.try_send(question(request)).map_err(|_down| NoAnswer::LinkDown)?;
        match timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_link_gone)) => Err(NoAnswer::LinkDown),
            Err(_elapsed) => Err(NoAnswer::TooLate),
        }
    }

    fn answer(&self, request: u64, answer: Answer) {
        if let Some(waiting) = self.state().pending.remove(&request) {
            let _nobody_waits = waiting.send(answer).is_err();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Forget<'a> {
    link: &'a Link,
    request: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.link.state().pending.remove(&self.request);
    }
}

/// Takes back a connection that nobody waits for.
struct Abandoned<'a> {
    link: &'a Link,
    connection: Option<ConnectionId>,
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection {
            self.link.say(ToHost::Disconnect { connection });
        }
    }
}

/// A WebSocket, or what stands for one.
pub(crate) trait Socket:
    Stream<Item = Result<Message, axum::Error>> + Sink<Message, Error = axum::Error> + Send + Unpin
{
}

impl<S> Socket for S where
    S: Stream<Item = Result<Message, axum::Error>> + Sink<Message, Error = axum::Error> + Send + Unpin
{
}

/// Serves one link, opened with a host's `token` or secret, until it breaks or the engine is gone.
pub(crate) async fn serve(
    socket: impl Socket,
    token: String,
    clock: &dyn Clock,
    pace: Pace,
    engine: mpsc::Sender<Event>,
) {
    tokio::select! {
        biased;
        () = engine.closed() => {}
        () = greet(Line { socket, clock, pace }, token, engine.clone()) => {}
    }
}

async fn greet(mut line: Line<'_, impl Socket>, token: String, engine: mpsc::Sender<Event>) {
    let Some((version, serving)) = line.hello().await else {
        return line.close(close_code::POLICY, "expected Hello").await;
    };
    if version != VERSION {
        tracing::warn!(theirs = version, ours = VERSION, "a host of another version was refused");
        return line.close(close_code::POLICY, "another version of the link messages").await;
    }
    let hello = Hello { credential: SecretHash::of(&token), token, serving };
    let (link, mut queue) = Link::new();
    let (reply, welcomed) = oneshot::channel();
    if engine.send(Event::LinkUp { hello, link: link.clone(), reply }).await.is_err() {
        return line.close(close_code::AWAY, "the service ends").await;
    }
    // Nobody answers if the host has a newer link by now.
    let Ok(welcomed) = welcomed.await else { return };
    let Some(welcomed) = welcomed else {
        // It was forgotten since its link was let in, so it has nothing left to do.
        let _gone = line.say(&ToHost::End { reason: EndReason::Shutdown }).await.is_none();
        return line.close(close_code::POLICY, "the token is not valid").await;
    };
    let host = welcomed.host;
    tracing::debug!(%host, link = link.number, "a host linked up");
    let welcome = ToHost::Welcome { host, secret: welcomed.secret };
    if line.say(&welcome).await.is_some() {
        let why = line.talk(&mut queue, &link, host, &engine).await;
        tracing::debug!(%host, link = link.number, why, "a link ended");
    }
    // Whoever waits for an answer hears that there will be none.
    link.state().pending.clear();
    let _engine_gone = engine.send(Event::LinkDown { host, number: link.number }).await.is_err();
}

/// A socket, and the time by which its host is judged.
struct Line<'a, S> {
    socket: S,
    clock: &'a dyn Clock,
    pace: Pace,
}

impl<S: Socket> Line<'_, S> {
    async fn hello(&mut self) -> Option<(u32, Option<SessionId>)> {
        let first = within(self.clock, HELLO_TIMEOUT, self.socket.next()).await??.ok()?;
        let Message::Text(text) = first else { return None };
        let FromHost::Hello { version, pid: _, serving } = parse(&text)? else { return None };
        Some((version, serving))
    }

    async fn say(&mut self, message: &ToHost) -> Option<()> {
        let text = serde_json::to_string(message).ok()?;
        self.send(Message::Text(text.into())).await
    }

    /// `None` if it could not be sent in time.
    async fn send(&mut self, message: Message) -> Option<()> {
        within(self.clock, self.pace.silence_max, self.socket.send(message)).await?.ok()
    }

    async fn close(mut self, code: u16, reason: &'static str) {
        let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        let _gone = self.send(frame).await.is_none();
    }

    async fn talk(
        &mut self,
        queue: &mut mpsc::Receiver<ToHost>,
        link: &Link,
        host: HostId,
        engine: &mpsc::Sender<Event>,
    ) -> &'static str {
        let mut ping = self.clock.sleep_until(self.clock.now());
        // Since when a ping waits for any sign of life.
        let mut unanswered_since = None;
        let mut welcomed = false;
        loop {
            tokio::select! {
                // What a host said counts before its silence does: we may have slept ourselves.
                biased;
                message = queue.recv() => {
                    // The link itself holds a sender, so the queue does not end.
                    let Some(message) = message else { return "nobody speaks" };
                    if self.say(&message).await.is_none() {
                        return "sending failed";
                    }
                }
                message = self.socket.next() => {
                    unanswered_since = None;
                    let news = match message {
                        Some(Ok(Message::Text(text))) => match parse(&text) {
                            Some(message) => hear(link, host, message),
                            None => return "the host said something that is no message",
                        },
                        Some(Ok(Message::Binary(bytes))) => {
                            let Some((request, png)) = bytes.split_first_chunk() else {
                                return "the host sent a picture without number";
                            };
                            link.answer(u64::from_le_bytes(*request), Answer::Png(bytes.slice_ref(png)));
                            None
                        }
                        // Pings follow the Welcome, so the first answer to one says that the Welcome was read.
                        Some(Ok(Message::Pong(_))) => {
                            (!std::mem::replace(&mut welcomed, true)).then_some(HostNews::Welcomed)
                        }
                        Some(Ok(Message::Ping(_))) => None,
                        Some(Ok(Message::Close(_))) | None => return "the host closed it",
                        Some(Err(_)) => return "receiving failed",
                    };
                    if let Some(message) = news
                        && engine.send(Event::FromHost { host, number: link.number, message }).await.is_err()
                    {
                        return "the service ends";
                    }
                }
                () = &mut ping => {
                    let now = self.clock.now();
                    if now.since(*unanswered_since.get_or_insert(now)) > self.pace.silence_max {
                        return "the host is silent";
                    }
                    ping = self.clock.sleep_until(now + self.pace.ping);
                    if self.send(Message::Ping(Bytes::new())).await.is_none() {
                        return "sending failed";
                    }
                }
            }
        }
    }
}

/// Answers go to whoever asked, the rest to the engine.
fn hear(link: &Link, host: HostId, message: FromHost) -> Option<HostNews> {
    match message {
        FromHost::Ready { session } => Some(HostNews::Ready(session)),
        FromHost::Failed { session, error } => Some(HostNews::Failed(session, error)),
        FromHost::Ended { reason } => Some(HostNews::Ended(reason)),
        FromHost::Connected { request, answer } => {
            link.answer(request, Answer::Sdp(answer));
            None
        }
        FromHost::Refused { request, error } => {
            link.answer(request, Answer::Refused(error));
            None
        }
        FromHost::Disconnected { connection, reason } => {
            tracing::info!(%host, %connection, reason, "a client left");
            link.state().connections.remove(&connection);
            None
        }
        FromHost::Hello { .. } => None,
    }
}

fn parse(text: &str) -> Option<FromHost> {
    (text.len() <= MAX_MESSAGE_BYTES).then(|| serde_json::from_str(text).ok())?
}

/// What `future` gives, unless it takes longer than `limit`.
async fn within<T>(clock: &dyn Clock, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = future => Some(done),
        () = clock.sleep_until(clock.now() + limit) => None,
    }
}
