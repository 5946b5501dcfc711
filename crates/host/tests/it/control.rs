//! A control plane with one host: the other end of the link, and clients whose offers it relays.

use std::collections::VecDeque;
use std::time::Duration;

use client::live::{Client, Event, Picture};
use futures_util::{SinkExt as _, StreamExt as _};
use protocol::link::{Camera, FromHost, ToHost};
use protocol::live::{self, rpc};
use protocol::rest::SessionSize;
use protocol::{AccountId, ConnectionId, HostId};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::http::{self, StatusCode};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};
use uuid::Uuid;

/// Far beyond anything that is waited for, on a machine that does ten other things.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) const TOKEN: &str = "one-time";
pub(crate) const SECRET: &str = "for-later";

/// What a host sends.
#[derive(Debug)]
pub(crate) enum Heard {
    Json(FromHost),
    Still(u64, Vec<u8>),
}

pub(crate) struct Control {
    listener: TcpListener,
    link: Link,
    n_requests: u64,
    heard: VecDeque<Heard>,
}

/// A link that is kept up beside the test: hosts give up one on which nothing is said for some seconds.
struct Link {
    out: mpsc::UnboundedSender<Message>,
    heard: mpsc::UnboundedReceiver<Message>,
    task: JoinHandle<()>,
}

impl Link {
    fn keep(mut stream: WebSocketStream<TcpStream>) -> Self {
        let (out, mut to_send) = mpsc::unbounded_channel();
        let (hear, heard) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_secs(2));
            loop {
                let sent = tokio::select! {
                    message = to_send.recv() => match message {
                        Some(message) => stream.send(message).await,
                        None => {
                            // A host that is gone needs no goodbye.
                            let _gone = stream.close(None).await.is_err();
                            return;
                        }
                    },
                    message = stream.next() => match message {
                        Some(Ok(message)) => {
                            // The close is still to come if the test listens no more.
                            let _unheard = hear.send(message).is_err();
                            Ok(())
                        }
                        _ => return,
                    },
                    _ = beat.tick() => stream.send(Message::Ping(Default::default())).await,
                };
                if sent.is_err() {
                    return;
                }
            }
        });
        Self { out, heard, task }
    }

    /// Closes it, after what was to be sent.
    async fn close(self) {
        drop(self.out);
        self.task.await.unwrap();
    }
}

#[expect(clippy::result_large_err, reason = "the refusal of a handshake is a type of tungstenite's")]
impl Control {
    /// Binds; gives the link's URL and what waits for the host.
    pub(crate) async fn listen() -> (String, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        (format!("ws://{}/internal/link", listener.local_addr().unwrap()), listener)
    }

    /// Takes the host's first link.
    pub(crate) async fn accept(listener: TcpListener) -> Self {
        let (stream, hello) = Self::greet(&listener, TOKEN).await;
        let FromHost::Hello { serving, .. } = hello else { panic!("{hello:?}") };
        assert_eq!(serving, None);
        Self { listener, link: Link::keep(stream), n_requests: 0, heard: VecDeque::new() }
    }

    /// Cuts the link, and takes the next one; gives its Hello.
    pub(crate) async fn cut(self) -> (Self, FromHost) {
        self.link.close().await;
        let (stream, hello) = Self::greet(&self.listener, SECRET).await;
        (Self { link: Link::keep(stream), ..self }, hello)
    }

    /// Cuts the link for good.
    pub(crate) async fn vanish(self) {
        self.link.close().await;
    }

    /// Cuts the link, and refuses the next one as a control plane does that does not know the host.
    pub(crate) async fn disown(self) {
        self.link.close().await;
        let (tcp, _) = timeout(LONG, self.listener.accept()).await.expect("no host dialled").unwrap();
        let refused = accept_hdr_async(tcp, |_: &Request, _: Response| {
            Err(http::Response::builder().status(StatusCode::UNAUTHORIZED).body(None).unwrap())
        });
        refused.await.unwrap_err();
    }

    /// Takes a link that is opened with `credential`.
    async fn greet(listener: &TcpListener, credential: &str) -> (WebSocketStream<TcpStream>, FromHost) {
        let (tcp, _) = timeout(LONG, listener.accept()).await.expect("no host dialled").unwrap();
        let accept = accept_hdr_async(tcp, |request: &Request, response: Response| {
            assert_eq!(request.headers()[AUTHORIZATION], format!("Bearer {credential}"));
            Ok(response)
        });
        let mut stream = accept.await.unwrap();
        let hello = stream.next().await.unwrap().unwrap().into_text().unwrap();
        let welcome = ToHost::Welcome { host: HostId::new(Uuid::new_v4()), secret: SECRET.into() };
        stream.send(Message::text(serde_json::to_string(&welcome).unwrap())).await.unwrap();
        (stream, serde_json::from_str(&hello).unwrap())
    }

    pub(crate) async fn send(&mut self, message: &ToHost) {
        self.link.out.send(Message::text(serde_json::to_string(message).unwrap())).unwrap();
    }

    /// Waits for something; keeps what else comes.
    pub(crate) async fn wait<T>(&mut self, wanted: impl Fn(&Heard) -> Option<T>) -> T {
        if let Some(at) = self.heard.iter().position(|heard| wanted(heard).is_some()) {
            return wanted(&self.heard.remove(at).unwrap()).unwrap();
        }
        loop {
            let message =
                timeout(LONG, self.link.heard.recv()).await.expect("the host is silent").expect("a link");
            let heard = match message {
                Message::Text(text) => Heard::Json(serde_json::from_str(&text).unwrap()),
                Message::Binary(bytes) => {
                    let (request, png) = bytes.split_first_chunk().unwrap();
                    Heard::Still(u64::from_le_bytes(*request), png.to_vec())
                }
                _ => continue,
            };
            if let Some(found) = wanted(&heard) {
                return found;
            }
            self.heard.push_back(heard);
        }
    }

    pub(crate) async fn assign(&mut self, model: Option<&str>, models_dir: Option<&str>) {
        let session = "s-1".parse().unwrap();
        self.send(&ToHost::Assign {
            account: AccountId::new(Uuid::nil()),
            session,
            size: SessionSize::Standard,
            model: model.map(str::to_owned),
            models_dir: models_dir.map(str::to_owned),
            trace: None,
        })
        .await;
        self.wait(|heard| matches!(heard, Heard::Json(FromHost::Ready { .. })).then_some(())).await;
        self.send(&ToHost::Lease { remaining_ms: 600_000 }).await;
    }

    /// Relays an offer; the answer, or the code of the refusal.
    pub(crate) async fn signal(&mut self, offer: String) -> Result<String, String> {
        self.n_requests += 1;
        let n = self.n_requests;
        let connection = ConnectionId::new(Uuid::new_v4());
        self.send(&ToHost::Connect { request: n, connection, offer, trace: None }).await;
        self.wait(|heard| match heard {
            Heard::Json(FromHost::Connected { request, answer }) if *request == n => Some(Ok(answer.clone())),
            Heard::Json(FromHost::Refused { request, error }) if *request == n => {
                Some(Err(error.code.clone()))
            }
            _ => None,
        })
        .await
    }

    pub(crate) async fn connect(&mut self) -> Result<Client, String> {
        let refused = |code| client::live::Error::Refused { status: 409, code, message: String::new() };
        Client::connect_with(async |offer| self.signal(offer).await.map_err(refused)).await.map_err(|error| {
            match error {
                client::live::Error::Refused { code, .. } => code,
                other => other.to_string(),
            }
        })
    }

    /// A still as width, height and RGB bytes.
    pub(crate) async fn still(
        &mut self,
        camera: Option<Camera>,
        width: u32,
        height: u32,
    ) -> (u32, u32, Vec<u8>) {
        self.n_requests += 1;
        let n = self.n_requests;
        self.send(&ToHost::Still { request: n, camera, width, height, trace: None }).await;
        let png = self
            .wait(|heard| match heard {
                Heard::Still(request, png) if *request == n => Some(png.clone()),
                Heard::Json(FromHost::Refused { request, error }) if *request == n => panic!("{error:?}"),
                _ => None,
            })
            .await;
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut rgb).unwrap();
        assert_eq!(info.color_type, png::ColorType::Rgb);
        (info.width, info.height, rgb)
    }
}

/// Waits for an event of the client.
pub(crate) async fn until<T>(client: &mut Client, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
    timeout(LONG, async {
        loop {
            let event = client.next().await.expect("the client's events ended");
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    })
    .await
    .expect("the client waits in vain")
}

/// Waits for a picture.
pub(crate) async fn picture(client: &mut Client, wanted: impl Fn(&Picture) -> bool) -> Box<Picture> {
    until(client, |event| match event {
        Event::Picture(picture) if wanted(picture) => Some(picture.clone()),
        _ => None,
    })
    .await
}

/// Sends `input` until a picture shows it: both it and what is said about a picture may be lost.
pub(crate) async fn show(client: &mut Client, input: live::Input) -> Box<Picture> {
    let size = (u32::from(input.width), u32::from(input.height));
    for _ in 0..30 {
        client.send_input(input);
        let shown = |p: &Picture| {
            (p.width, p.height) == size && p.meta.is_some_and(|meta| meta.input_seq == input.seq)
        };
        if let Ok(picture) = timeout(Duration::from_secs(2), picture(client, shown)).await {
            return picture;
        }
    }
    panic!("input {} is never shown", input.seq);
}

/// The last picture before nothing comes for a second; however long the first takes.
pub(crate) async fn last_picture(client: &mut Client) -> Box<Picture> {
    let mut last = None;
    loop {
        let patience = if last.is_some() { Duration::from_secs(1) } else { Duration::from_secs(60) };
        match timeout(patience, client.next()).await {
            Ok(Some(Event::Picture(picture))) => last = Some(picture),
            Ok(Some(_)) => (),
            Ok(None) => panic!("the client's events ended"),
            Err(_quiet) => return last.expect("a picture"),
        }
    }
}

/// Sends a request and waits for its response.
pub(crate) async fn ask(
    client: &mut Client,
    body: rpc::client_message::Body,
) -> Result<rpc::host_message::Body, rpc::Error> {
    let n = client.request(body);
    until(client, |event| match event {
        Event::Message(rpc::HostMessage { request, body: Some(body) }) if *request == n => Some(body.clone()),
        _ => None,
    })
    .await
    .error_or()
}

trait ErrorOr: Sized {
    fn error_or(self) -> Result<Self, rpc::Error>;
}

impl ErrorOr for rpc::host_message::Body {
    fn error_or(self) -> Result<Self, rpc::Error> {
        match self {
            Self::Error(error) => Err(error),
            other => Ok(other),
        }
    }
}

/// A camera on a circle around a model of radius 1 at the origin, `yaw` radians from +z.
pub(crate) fn orbit(seq: u32, yaw: f32, (width, height): (u16, u16)) -> live::Input {
    let (sin, cos) = (yaw / 2.0).sin_cos();
    let eye = [3.2 * yaw.sin(), 0.0, 3.2 * yaw.cos()];
    let camera = live::Camera { eye, orientation: [0.0, sin, 0.0, cos], fov_y: std::f32::consts::FRAC_PI_4 };
    live::Input { seq, client_time_us: 0, camera, width, height }
}

pub(crate) fn link_camera(camera: &live::Camera) -> Camera {
    Camera { eye: camera.eye, orientation: camera.orientation, fov_y: camera.fov_y }
}
