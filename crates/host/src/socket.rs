//! The one UDP socket of a host.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::net::UdpSocket;
use transport::Transmit;

use crate::limits::{SOCKET_BUFFER_BYTES, UNSENT_DATAGRAMS};

pub(crate) struct Socket {
    udp: UdpSocket,
    /// What clients are told.
    pub(crate) advertised: SocketAddr,
    unsent: VecDeque<Transmit>,
    buffer: Vec<u8>,
    n_lost: u64,
}

impl Socket {
    pub(crate) fn bind(config: &crate::HostConfig) -> anyhow::Result<Self> {
        let listen = config.media_listen;
        let std = std::net::UdpSocket::bind(listen)
            .with_context(|| format!("failed to bind UDP {listen} for media"))?;
        std.set_nonblocking(true)?;
        // The kernel may give less; then large key frames depend on resends.
        let received = rustix::net::sockopt::set_socket_recv_buffer_size(&std, SOCKET_BUFFER_BYTES);
        let sent = rustix::net::sockopt::set_socket_send_buffer_size(&std, SOCKET_BUFFER_BYTES);
        if let Err(error) = received.and(sent) {
            tracing::warn!(%error, "the UDP buffers cannot be enlarged");
        }
        let bound = std.local_addr()?;
        let advertised = SocketAddr::new(config.media_advertise.unwrap_or(bound.ip()), bound.port());
        anyhow::ensure!(
            !advertised.ip().is_unspecified(),
            "media listens on every address ({bound}); say which one clients reach with {}",
            crate::ENV_MEDIA_ADVERTISE
        );
        Ok(Self {
            udp: UdpSocket::from_std(std)?,
            advertised,
            unsent: VecDeque::new(),
            buffer: vec![0; 2048],
            n_lost: 0,
        })
    }

    /// Waits until there is something to read, or room to send what waits.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        let interest = if self.unsent.is_empty() {
            tokio::io::Interest::READABLE
        } else {
            tokio::io::Interest::READABLE | tokio::io::Interest::WRITABLE
        };
        self.udp.ready(interest).await.map(|_ready| ())
    }

    /// The next datagram, if there is one.
    pub(crate) fn receive(&mut self) -> Option<(SocketAddr, &[u8])> {
        loop {
            match self.udp.try_recv_from(&mut self.buffer) {
                Ok((len, source)) => return Some((source, &self.buffer[..len])),
                // A port that is closed over there is told as an error on our next call; the datagrams behind it
                // are still there.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => (),
                Err(_nothing_more) => return None,
            }
        }
    }

    /// Sends, or keeps what the kernel has no room for.
    pub(crate) fn send(&mut self, transmit: Transmit) {
        if self.unsent.len() >= UNSENT_DATAGRAMS {
            // Lost like any datagram; resends repair it.
            self.n_lost += 1;
            return;
        }
        self.unsent.push_back(transmit);
        self.flush();
    }

    pub(crate) fn flush(&mut self) {
        while let Some(transmit) = self.unsent.pop_front() {
            match self.udp.try_send_to(&transmit.bytes, transmit.destination) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.unsent.push_front(transmit);
                    return;
                }
                Ok(_) => (),
                // Unreachable and the like: the peer's silence will tell.
                Err(error) => tracing::debug!(%error, "a datagram was not sent"),
            }
        }
    }
}
