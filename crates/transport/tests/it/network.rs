//! A network in virtual time: delay, jitter, loss and a rate, from a seed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use transport::{Channel, CloseReason, Config, Event, Output, Peer, Transmit};

pub(crate) const HOST: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), 5000);
pub(crate) const CLIENT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)), 6000);

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// xorshift64*.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % n
    }
    fn chance(&mut self, p: f64) -> bool {
        (self.next() >> 11) as f64 / ((1_u64 << 53) as f64) < p
    }
}

pub(crate) struct Network {
    pub(crate) host: Peer,
    pub(crate) client: Peer,
    pub(crate) host_events: Vec<Event>,
    pub(crate) client_events: Vec<Event>,
    /// One way.
    pub(crate) delay: Duration,
    /// Up to this much more, by datagram: reorders.
    pub(crate) jitter: Duration,
    pub(crate) loss: f64,
    /// Of the way down; 200 ms of it are queued, more is lost.
    pub(crate) rate_bps: Option<u64>,
    pub(crate) n_lost: u64,
    random: Random,
    now: Instant,
    host_at: Instant,
    client_at: Instant,
    client_plugged: bool,
    down_busy_until: Instant,
    /// On their way: arrival, order of sending, datagram.
    flying: Vec<(Instant, u64, Transmit)>,
    pub(crate) n_sent: u64,
    /// Calls of both sides.
    pub(crate) n_wakes: u64,
}

impl Network {
    /// Signalling done, nothing sent yet.
    pub(crate) fn connect(seed: u64, delay: Duration, loss: f64) -> Self {
        let now = Instant::now();
        let config =
            |address| Config { addresses: vec![address], start_bps: 10_000_000, max_bps: 20_000_000 };
        let (mut client, offer) = Peer::offer(&config(CLIENT), now).unwrap();
        let (host, answer) = Peer::accept(&config(HOST), &offer, now).unwrap();
        client.answer(&answer).unwrap();
        assert_eq!(transport::candidates(&answer), [HOST]);
        assert!(answer.contains("a=sendonly") && answer.contains("packetization-mode=1"));
        assert!(answer.contains("playout-delay"), "{answer}");
        assert!(!answer.contains("ice-lite"));
        let mut network = Self {
            host,
            client,
            host_events: Vec::new(),
            client_events: Vec::new(),
            delay,
            jitter: Duration::ZERO,
            loss,
            rate_bps: None,
            n_lost: 0,
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            now,
            host_at: now,
            client_at: now,
            client_plugged: true,
            down_busy_until: now,
            flying: Vec::new(),
            n_sent: 0,
            n_wakes: 0,
        };
        network.poll();
        network
    }

    /// Connected, with all channels open.
    pub(crate) fn connected(seed: u64, delay: Duration, loss: f64) -> Self {
        let mut network = Self::connect(seed, delay, loss);
        network.run_until(ms(20_000), |n| {
            n.host.is_connected() && n.client.is_connected() && n.open_channels() == 6
        });
        network
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn unplug_client(&mut self) {
        self.client_plugged = false;
    }

    pub(crate) fn open_channels(&self) -> usize {
        let open = |events: &[Event]| {
            let channels = [Channel::Input, Channel::Frame, Channel::Rpc];
            channels
                .iter()
                .filter(|c| events.iter().any(|e| matches!(e, Event::ChannelOpen(o) if o == *c)))
                .count()
        };
        open(&self.host_events) + open(&self.client_events)
    }

    pub(crate) fn closed(&self, side: SocketAddr) -> Option<CloseReason> {
        let events = if side == HOST { &self.host_events } else { &self.client_events };
        events.iter().find_map(|event| match event {
            Event::Closed(reason) => Some(reason.clone()),
            _ => None,
        })
    }

    pub(crate) fn host_do<T>(&mut self, f: impl FnOnce(&mut Peer, Instant) -> T) -> T {
        let result = f(&mut self.host, self.now);
        self.poll();
        result
    }

    pub(crate) fn client_do<T>(&mut self, f: impl FnOnce(&mut Peer, Instant) -> T) -> T {
        let result = f(&mut self.client, self.now);
        self.poll();
        result
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
    }

    /// Runs until `done`; gives how long that took.
    pub(crate) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Duration {
        let start = self.now;
        while !done(self) {
            assert!(self.step(start + limit), "not within {limit:?}");
        }
        self.now - start
    }

    /// Goes on to whatever comes next, or to `end`; false at the end.
    fn step(&mut self, end: Instant) -> bool {
        self.flying.sort_by_key(|(at, n, _)| (*at, *n));
        let arrival = self.flying.first().map(|(at, ..)| *at);
        let next = [Some(self.host_at), self.client_plugged.then_some(self.client_at), arrival];
        let next = next.into_iter().flatten().min().unwrap_or(end).max(self.now);
        if next >= end {
            self.now = end;
            return false;
        }
        self.now = next;
        self.n_wakes += 1;
        if arrival.is_some_and(|at| at <= next) {
            let (_, _, datagram) = self.flying.remove(0);
            if datagram.destination == HOST {
                self.host.receive(next, datagram.source, HOST, &datagram.bytes);
            } else if self.client_plugged {
                self.client.receive(next, datagram.source, CLIENT, &datagram.bytes);
            }
        } else if self.host_at <= next {
            self.host.advance(next);
        } else {
            self.client.advance(next);
        }
        self.poll();
        true
    }

    fn poll(&mut self) {
        loop {
            match self.host.poll() {
                Output::Transmit(datagram) => self.fly(datagram),
                Output::Event(event) => self.host_events.push(event),
                Output::WakeAt(at) => break self.host_at = at,
            }
        }
        loop {
            match self.client.poll() {
                Output::Transmit(datagram) if self.client_plugged => self.fly(datagram),
                Output::Transmit(_) => (),
                Output::Event(event) => self.client_events.push(event),
                Output::WakeAt(at) => break self.client_at = at,
            }
        }
    }

    fn fly(&mut self, datagram: Transmit) {
        let (down, len) = (datagram.destination == CLIENT, datagram.bytes.len() as u64);
        let mut leaves = self.now;
        if let (true, Some(rate)) = (down, self.rate_bps) {
            let start = self.down_busy_until.max(self.now);
            if start > self.now + ms(200) {
                self.n_lost += 1;
                return;
            }
            leaves = start + Duration::from_nanos(len * 8 * 1_000_000_000 / rate);
            self.down_busy_until = leaves;
        }
        if self.random.chance(self.loss) {
            self.n_lost += 1;
            return;
        }
        let jitter = self.jitter.mul_f64((self.random.next() >> 40) as f64 / f64::from(1 << 24));
        self.n_sent += 1;
        self.flying.push((leaves + self.delay + jitter, self.n_sent, datagram));
    }
}
