//! Where clients come in, and who has to go for them.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use rustls::StreamOwned;
use socket2::SockRef;

use super::connection::Connection;
use super::event_loop::EventLoop;
use super::reject::Reason;
use super::transport::Transport;
use super::{Listener, Service};

/// Connections accepted from one listener before others have their turn.
const ACCEPTS_PER_TURN: usize = 64;
/// How long nobody is accepted after the operating system refused to hand over a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often that is worth a line in the log.
const ACCEPT_WARNING_PERIOD: Duration = Duration::from_secs(10);
/// What the kernel keeps of an answer for a client that does not take it; by itself it would keep megabytes.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// What the kernel keeps of what a client sends and nobody reads yet.
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;

/// Connections that the kernel keeps until they are accepted; beyond it, a client tries again after a whole second. std
/// asks for 128; the kernel may allow less than this (net.core.somaxconn).
const BACKLOG: i32 = 4096;

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// The next connection, and whose it is: on a Unix socket, nobody knows.
    fn accept(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        match self {
            Socket::Tcp(socket) => {
                let (stream, address) = socket.accept()?;
                Ok((Stream::Tcp(stream), Some(address.ip().to_canonical())))
            }
            Socket::Unix(socket) => Ok((Stream::Unix(socket.accept()?.0), None)),
        }
    }
}

/// A listener.
pub(super) struct Listening {
    socket: Socket,
    service: Service,
    redirect: Option<Arc<str>>,
    /// Whether somebody may be waiting.
    pub(super) ready: bool,
}

impl Listening {
    pub(super) fn open(
        listener: Listener,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Listening> {
        let socket = match listener.socket {
            super::Socket::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                // Connections inherit these from the listener that accepts them.
                let options = SockRef::from(&socket);
                options.listen(BACKLOG)?;
                options.set_send_buffer_size(SEND_BUFFER_BYTES)?;
                options.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
                // Answers go out in as few writes as possible; waiting to fill a packet would only delay the last one.
                options.set_tcp_nodelay(true)?;
                let mut socket = TcpListener::from_std(socket);
                registry.register(&mut socket, token, Interest::READABLE)?;
                Socket::Tcp(socket)
            }
            super::Socket::Unix(socket) => {
                socket.set_nonblocking(true)?;
                let mut socket = UnixListener::from_std(socket);
                registry.register(&mut socket, token, Interest::READABLE)?;
                Socket::Unix(socket)
            }
        };
        let redirect = match &listener.service {
            Service::RedirectTo(base) => Some(Arc::from(base.as_str())),
            Service::Plain | Service::Tls => None,
        };
        Ok(Listening { socket, service: listener.service, redirect, ready: true })
    }
}

impl EventLoop {
    /// Lets in those who wait outside.
    pub(super) fn accept(&mut self) {
        if self.accept_again_at.is_some_and(|at| at > self.now) {
            return;
        }
        self.accept_again_at = None;
        for index in 0..self.listeners.len() {
            let mut accepts = 0;
            while self.listeners[index].ready && accepts < ACCEPTS_PER_TURN && self.has_room() {
                accepts += 1;
                match self.listeners[index].socket.accept() {
                    Ok((stream, address)) => self.accept_connection(index, stream, address),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        self.listeners[index].ready = false
                    }
                    // The client went before its turn.
                    Err(error)
                        if matches!(
                            error.kind(),
                            ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                        ) => {}
                    Err(error) => return self.pause(&error),
                }
            }
        }
    }

    /// Whether another client fits in, or one can go for it; if all are being answered, newcomers wait outside.
    pub(super) fn has_room(&self) -> bool {
        self.connections.len() < self.connections_max || self.eviction.first().is_some()
    }

    /// Waits before accepting again. Most likely, no descriptor is free, so somebody makes room.
    fn pause(&mut self, error: &io::Error) {
        self.counters.count(Reason::AcceptError);
        self.accept_again_at = Some(self.now + ACCEPT_PAUSE);
        if let Some(first) = self.eviction.first() {
            self.count_rejection(Reason::Evicted, self.connections[first].address);
            self.close(first);
        }
        if self.accept_warned_at.is_none_or(|at| self.now - at >= ACCEPT_WARNING_PERIOD) {
            self.accept_warned_at = Some(self.now);
            log::warn!("cannot accept connections, trying again: {error}");
        }
    }

    fn accept_connection(&mut self, listener: usize, stream: Stream, address: Option<IpAddr>) {
        let limited_address = address.filter(|address| !(self.unlimited)(*address));
        while let Some(full) = self.eviction.full_group(limited_address, self.per_address_max) {
            self.count_rejection(Reason::PerAddress, address);
            match self.eviction.first_of(full) {
                Some(first) => self.close(first),
                None => return,
            }
        }
        if self.connections.len() >= self.connections_max {
            let first = self.eviction.first();
            let closed = first.map_or(address, |first| self.connections[first].address);
            self.count_rejection(Reason::Evicted, closed);
            match first {
                Some(first) => self.close(first),
                None => return,
            }
        }
        let transport = match (stream, &self.listeners[listener].service, &self.tls) {
            (Stream::Tcp(socket), Service::Tls, Some(tls)) => match tls.accept(self.now) {
                Ok(session) => Transport::Tls(Box::new(StreamOwned::new(session, socket))),
                Err(error) => {
                    return log::error!("cannot begin a TLS session: {error}");
                }
            },
            (Stream::Tcp(socket), ..) => Transport::Plain(socket),
            (Stream::Unix(socket), ..) => Transport::Unix(socket),
        };
        let redirect = self.listeners[listener].redirect.clone();
        let deadline = self.now + self.deadlines.request;
        let mut connection =
            Connection::new(transport, address, limited_address, redirect, deadline);
        connection.eviction_key = self.eviction.last_eviction_key();
        let key = self.connections.vacant_key();
        let token = self.connection_token(key);
        if let Err(error) = connection.transport.register(self.poll.registry(), token) {
            return log::warn!("cannot watch a connection: {error}");
        }
        self.eviction.enter(limited_address);
        self.eviction.make_evictable(limited_address, connection.eviction_key, key);
        self.connections.insert(connection);
        self.counters.opened();
        // Its request is often here already.
        self.read(key);
    }
}
