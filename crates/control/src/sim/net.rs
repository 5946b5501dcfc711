//! The network between hosts and the control plane: streams that delay, break, fall silent and say things twice.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use axum::Error;
use axum::extract::ws::Message;
use futures_util::{Sink, Stream};
use session::Timestamp;

use super::exec::{Sim, Sleep};

/// Messages that a stream holds before its writer has to wait: buffers of a real one hold some hundred.
const WINDOW: usize = 100;

/// How messages travel.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    /// One message in so many takes up to a second instead of milliseconds; 0 means none.
    pub(super) slow_once_in: u64,
    /// One message in so many arrives twice.
    pub(super) twice_once_in: u64,
}

#[derive(Default)]
struct Pipe {
    queue: VecDeque<(Timestamp, Message)>,
    /// Nothing overtakes.
    last_at: Timestamp,
    /// The reader finds the end of the stream then.
    ends_at: Option<Timestamp>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Stretch {
    /// To the control plane, to the host.
    pipes: [Pipe; 2],
    /// Whatever is sent is lost, and nobody is told.
    silent: bool,
}

/// What both ends share, and whoever breaks it.
#[derive(Clone)]
pub(super) struct Wire {
    sim: Sim,
    weather: Weather,
    stretch: Arc<Mutex<Stretch>>,
}

/// How a connection breaks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Break {
    /// Both ends find out within milliseconds.
    Reset,
    /// The host finds out at once; what it had said arrives late, and the end of it later.
    HostFirst,
    /// Neither end is told anything, ever.
    Silence,
}

impl Wire {
    pub(super) fn new(sim: &Sim, weather: Weather) -> (Self, End, End) {
        let stretch = Stretch { pipes: [Pipe::default(), Pipe::default()], silent: false };
        let wire = Self { sim: sim.clone(), weather, stretch: Arc::new(Mutex::new(stretch)) };
        let end = |reads| End { wire: wire.clone(), reads, wait: None };
        (wire.clone(), end(0), end(1))
    }

    fn stretch(&self) -> MutexGuard<'_, Stretch> {
        self.stretch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn cut(&self, how: Break) {
        let now = self.sim.now();
        let soon = now + self.sim.millis(0, 50);
        let late = now + self.sim.millis(0, 9_000);
        let mut stretch = self.stretch();
        match how {
            Break::Reset => {
                for pipe in &mut stretch.pipes {
                    pipe.queue.retain(|(at, _)| *at <= soon);
                    pipe.end(soon);
                }
            }
            Break::HostFirst => {
                let [to_control, to_host] = &mut stretch.pipes;
                for (at, _) in &mut to_control.queue {
                    *at = late;
                }
                to_control.end(late);
                to_host.queue.clear();
                to_host.end(now);
            }
            Break::Silence => {
                stretch.silent = true;
                for pipe in &mut stretch.pipes {
                    pipe.queue.clear();
                }
            }
        }
        let wakers = stretch.wakers();
        drop(stretch);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn send(&self, reads: usize, message: Message) {
        let delay = match message {
            // Too many to be worth a dice each.
            Message::Ping(_) | Message::Pong(_) => std::time::Duration::from_micros(200),
            _ if self.sim.once_in(self.weather.slow_once_in) => self.sim.millis(1, 1_000),
            _ => self.sim.millis(0, 3),
        };
        let at = self.sim.now() + delay;
        let text = matches!(message, Message::Text(_));
        let twice = text && self.sim.once_in(self.weather.twice_once_in);
        let mut stretch = self.stretch();
        if stretch.silent {
            return;
        }
        let pipe = &mut stretch.pipes[1 - reads];
        if pipe.ends_at.is_some() {
            return;
        }
        let at = at.max(pipe.last_at);
        pipe.last_at = at;
        if twice {
            pipe.queue.push_back((at, message.clone()));
        }
        pipe.queue.push_back((at, message));
        let reader = pipe.reader.take();
        drop(stretch);
        reader.into_iter().for_each(Waker::wake);
    }
}

impl Pipe {
    fn end(&mut self, at: Timestamp) {
        self.ends_at = Some(self.ends_at.map_or(at, |ends_at| ends_at.min(at)));
    }
}

impl Stretch {
    fn wakers(&mut self) -> [Option<Waker>; 4] {
        let [a, b] = &mut self.pipes;
        [a.reader.take(), a.writer.take(), b.reader.take(), b.writer.take()]
    }
}

/// One end of a connection. Dropping it ends the connection.
pub(super) struct End {
    wire: Wire,
    /// Which pipe it reads.
    reads: usize,
    wait: Option<Sleep>,
}

impl End {
    /// The next message, for a host; pings are answered.
    pub(super) async fn hear(&mut self) -> Option<Message> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await?.ok()
    }

    /// Says something, for a host. What is said into a broken connection is lost.
    pub(super) fn say(&self, message: Message) {
        self.wire.send(self.reads, message);
    }
}

impl Stream for End {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let end = &mut *self;
        loop {
            let now = end.wire.sim.now();
            let mut stretch = end.wire.stretch();
            let pipe = &mut stretch.pipes[end.reads];
            let next = pipe.queue.front().map(|(at, _)| *at);
            let wake_at = match (next, pipe.ends_at) {
                (Some(at), _) if at <= now => {
                    let message = pipe.queue.pop_front().map(|(_, message)| message);
                    let writer = pipe.writer.take();
                    drop(stretch);
                    writer.into_iter().for_each(Waker::wake);
                    end.wait = None;
                    if end.reads == 1
                        && let Some(Message::Ping(bytes)) = &message
                    {
                        end.wire.send(end.reads, Message::Pong(bytes.clone()));
                    }
                    return Poll::Ready(message.map(Ok));
                }
                (None, Some(ends_at)) if ends_at <= now => return Poll::Ready(None),
                (next, ends_at) => next.or(ends_at),
            };
            pipe.reader = Some(context.waker().clone());
            drop(stretch);
            let Some(wake_at) = wake_at else { return Poll::Pending };
            let mut wait = end.wire.sim.sleep_until(wake_at);
            if Pin::new(&mut wait).poll(context).is_pending() {
                end.wait = Some(wait);
                return Poll::Pending;
            }
        }
    }
}

impl Sink<Message> for End {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut stretch = self.wire.stretch();
        let pipe = &mut stretch.pipes[1 - self.reads];
        if pipe.ends_at.is_some_and(|at| at <= self.wire.sim.now()) {
            return Poll::Ready(Err(Error::new("the connection is reset")));
        }
        if pipe.queue.len() < WINDOW {
            return Poll::Ready(Ok(()));
        }
        pipe.writer = Some(context.waker().clone());
        Poll::Pending
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.wire.send(self.reads, message);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let now = self.wire.sim.now();
        // Sometimes what was sent last arrives before the end of the stream, sometimes the end is all that arrives.
        let reset = self.wire.sim.once_in(2);
        let mut stretch = self.wire.stretch();
        if stretch.silent {
            return;
        }
        let theirs = &mut stretch.pipes[1 - self.reads];
        if reset {
            theirs.queue.clear();
        }
        theirs.end(now.max(if reset { now } else { theirs.last_at }));
        stretch.pipes[self.reads].end(now);
        let wakers = stretch.wakers();
        drop(stretch);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}
