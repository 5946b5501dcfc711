//! Hosts without a renderer: they link up, take sessions, answer questions, and come back when the link breaks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use control::provision::{HostOrder, News, NewsSender, Process, Provisioner};
use protocol::link::{EndReason, FromHost, ToHost, VERSION};
use protocol::rest::Error;
use protocol::{ConnectionId, HostId, SessionId};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// How hosts behave; may change while they live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manner {
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

/// Hosts as tasks of the test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    manner: watch::Sender<Manner>,
    hosts: Mutex<BTreeMap<HostId, (AbortHandle, NewsSender)>>,
    n_started: watch::Sender<u32>,
    log: Arc<Mutex<Vec<ToHost>>>,
}

impl Fleet {
    pub(crate) fn behave(&self, manner: Manner) {
        self.0.manner.send_replace(manner);
    }

    pub(crate) fn n_started(&self) -> u32 {
        *self.0.n_started.borrow()
    }

    /// Hosts that live.
    pub(crate) fn n_alive(&self) -> usize {
        self.0.hosts.lock().unwrap().len()
    }

    /// What all hosts heard so far.
    pub(crate) fn heard(&self) -> Vec<ToHost> {
        self.0.log.lock().unwrap().clone()
    }

    /// Kills all hosts at once.
    pub(crate) fn kill_all(&self) {
        for (host, (task, news)) in std::mem::take(&mut *self.0.hosts.lock().unwrap()) {
            task.abort();
            news.send(News::Exited { host, reason: "The session's host was killed by signal 9.".into() });
        }
    }
}

impl Provisioner for Fleet {
    fn start(&self, order: HostOrder, news: NewsSender) {
        let host = order.host;
        if *self.0.manner.borrow() == Manner::Stillborn {
            return news
                .send(News::Exited { host, reason: "The host could not be started: no such file.".into() });
        }
        self.0.n_started.send_modify(|n| *n += 1);
        news.send(News::Started { host, process: None });
        let (manner, log) = (self.0.manner.subscribe(), Arc::clone(&self.0.log));
        let inner = Arc::clone(&self.0);
        let mut hosts = self.0.hosts.lock().unwrap();
        let task = tokio::spawn(async move {
            serve(&order.link_url, order.link_token, manner, log).await;
            let known = inner.hosts.lock().unwrap().remove(&host);
            if let Some((_, news)) = known {
                news.send(News::Exited { host, reason: "The session's host exited with code 0.".into() });
            }
        });
        hosts.insert(host, (task.abort_handle(), news));
    }

    fn adopt(&self, _: HostId, _: Process, _: NewsSender) {
        panic!("these hosts are no processes");
    }

    fn end(&self, host: HostId) {
        // A host with a link has heard of it; one without would be killed.
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let known = inner.hosts.lock().unwrap().remove(&host);
            if let Some((task, news)) = known {
                task.abort();
                news.send(News::Exited { host, reason: "The session's host was killed by signal 9.".into() });
            }
        });
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn say(socket: &mut Socket, message: &FromHost) -> Option<()> {
    use futures_util::SinkExt as _;
    socket.send(Message::text(serde_json::to_string(message).unwrap())).await.ok()
}

async fn hear(socket: &mut Socket) -> Option<ToHost> {
    use futures_util::StreamExt as _;
    loop {
        match socket.next().await?.ok()? {
            Message::Text(text) => return Some(serde_json::from_str(&text).unwrap()),
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

/// The life of a host, until it is told to end or nobody takes it back.
pub(crate) async fn serve(
    url: &str,
    token: String,
    manner: watch::Receiver<Manner>,
    log: Arc<Mutex<Vec<ToHost>>>,
) {
    let mut host = Host { token, serving: None, client: None, manner, log };
    let mut n_failures = 0;
    while n_failures < 400 {
        match tokio_tungstenite::connect_async(url).await {
            Ok((mut socket, _)) => {
                n_failures = 0;
                if host.talk(&mut socket).await.is_some() {
                    return;
                }
            }
            Err(_) => n_failures += 1,
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

struct Host {
    token: String,
    serving: Option<SessionId>,
    client: Option<ConnectionId>,
    manner: watch::Receiver<Manner>,
    log: Arc<Mutex<Vec<ToHost>>>,
}

impl Host {
    /// `Some` if the host is to end, `None` if the link broke.
    async fn talk(&mut self, socket: &mut Socket) -> Option<EndReason> {
        let hello = FromHost::Hello {
            version: VERSION,
            token: self.token.clone(),
            pid: std::process::id(),
            serving: self.serving.clone(),
        };
        say(socket, &hello).await?;
        loop {
            let message = hear(socket).await?;
            self.log.lock().unwrap().push(message.clone());
            let manner = *self.manner.borrow();
            match message {
                ToHost::Welcome { secret, .. } => self.token = secret,
                ToHost::Assign { session, .. } => {
                    self.serving = Some(session.clone());
                    match manner {
                        Manner::Slow => {}
                        Manner::Refusing => {
                            let error = Error::new("SessionStartFailed", "no memory");
                            say(socket, &FromHost::Failed { session, error }).await?;
                        }
                        Manner::Prompt | Manner::Stillborn | Manner::Mute => {
                            say(socket, &FromHost::Ready { session }).await?;
                        }
                    }
                }
                ToHost::Connect { .. } | ToHost::Still { .. } if manner == Manner::Mute => {}
                ToHost::Connect { request, connection, offer } => {
                    let refuse = |code: &str| FromHost::Refused { request, error: Error::new(code, "no") };
                    let answer = if self.client.is_some() {
                        refuse("ConnectionInUse")
                    } else if offer.contains("no codec") {
                        refuse("NoCodec")
                    } else if !offer.starts_with("v=0") {
                        refuse("BadOffer")
                    } else {
                        self.client = Some(connection);
                        FromHost::Connected { request, answer: format!("v=0\r\nto {offer}") }
                    };
                    say(socket, &answer).await?;
                }
                ToHost::Disconnect { connection } => {
                    if self.client == Some(connection) {
                        self.client = None;
                        say(socket, &FromHost::Disconnected { connection, reason: "asked to".into() })
                            .await?;
                    }
                }
                ToHost::Still { request, width, height, .. } => {
                    use futures_util::SinkExt as _;
                    let mut bytes = request.to_le_bytes().to_vec();
                    bytes.extend(format!("PNG {width}x{height}").as_bytes());
                    socket.send(Message::binary(bytes)).await.ok()?;
                }
                ToHost::Lease { .. } => {}
                ToHost::End { reason } => return Some(reason),
            }
        }
    }
}
