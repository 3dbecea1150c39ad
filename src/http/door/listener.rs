//! Accepting connections, and closing others to make room for them.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use rustls::StreamOwned;
use socket2::SockRef;

use super::certificate::Certificate;
use super::connection::Connection;
use super::event_loop::EventLoop;
use super::reject::Reason;
use super::transport::Transport;
use crate::http::Sockets;

/// Connections accepted from one listener before it is the turn of the next.
const ACCEPTS_PER_TURN: usize = 64;
/// The pause after an accept error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often accept errors are logged.
const ACCEPT_WARNING_PERIOD: Duration = Duration::from_secs(10);
/// Socket buffers: what the kernel holds of a response that is not taken, and of requests that are
/// not read. Its own defaults grow to megabytes.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;
/// Connections that the kernel queues for accept. Beyond that, clients retry after a whole second.
/// std asks for 128; net.core.somaxconn may limit it.
const BACKLOG: i32 = 4096;

/// An open listening socket.
pub(super) struct Listener {
    socket: Socket,
    /// Present if it speaks TLS.
    certificate: Option<Arc<Certificate>>,
    /// The public URL to which this listener redirects every request.
    redirect: Option<Arc<str>>,
    /// Whether connections may be waiting.
    pub(super) ready: bool,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    /// Opens all sockets, with tokens from `first_token` on.
    pub(super) fn open_all(
        sockets: Sockets,
        certificate: Option<&Arc<Certificate>>,
        registry: &Registry,
        first_token: usize,
    ) -> io::Result<Vec<Listener>> {
        let mut listeners = Vec::new();
        for socket in sockets.tcp {
            listeners.push(Listener::tcp(socket, certificate.cloned(), None)?);
        }
        for socket in sockets.unix {
            socket.set_nonblocking(true)?;
            let socket = Socket::Unix(UnixListener::from_std(socket));
            listeners.push(Listener { socket, certificate: None, redirect: None, ready: true });
        }
        if let Some((socket, public_url)) = sockets.redirect {
            listeners.push(Listener::tcp(socket, None, Some(public_url.into()))?);
        }
        for (index, listener) in listeners.iter_mut().enumerate() {
            let token = Token(first_token + index);
            match &mut listener.socket {
                Socket::Tcp(socket) => registry.register(socket, token, Interest::READABLE)?,
                Socket::Unix(socket) => registry.register(socket, token, Interest::READABLE)?,
            }
        }
        Ok(listeners)
    }

    fn tcp(
        socket: std::net::TcpListener,
        certificate: Option<Arc<Certificate>>,
        redirect: Option<Arc<str>>,
    ) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        // Accepted connections inherit these options.
        let options = SockRef::from(&socket);
        options.listen(BACKLOG)?;
        options.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        options.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        // Responses are written in as few pieces as possible; Nagle's algorithm would only delay
        // the last one.
        options.set_tcp_nodelay(true)?;
        let socket = Socket::Tcp(TcpListener::from_std(socket));
        Ok(Listener { socket, certificate, redirect, ready: true })
    }

    /// The next connection and its address; Unix sockets have none.
    fn accept(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, address) = socket.accept()?;
                Ok((Stream::Tcp(stream), Some(address.ip().to_canonical())))
            }
            Socket::Unix(socket) => Ok((Stream::Unix(socket.accept()?.0), None)),
        }
    }
}

impl EventLoop {
    /// Accepts the connections that wait, while there is room.
    pub(super) fn accept(&mut self) {
        if self.accept_again_at.is_some_and(|at| at > self.now) {
            return;
        }
        self.accept_again_at = None;
        for index in 0..self.listeners.len() {
            let mut accepts = 0;
            while self.listeners[index].ready
                && accepts < ACCEPTS_PER_TURN
                && self.has_room()
                && !self.handshakes.are_busy()
            {
                accepts += 1;
                match self.listeners[index].accept() {
                    Ok((stream, address)) => self.accept_connection(index, stream, address),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        self.listeners[index].ready = false
                    }
                    // The client has already left.
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

    /// Whether there is room for another connection, or one can be closed for it. While all are
    /// being answered, new ones wait in the kernel.
    pub(super) fn has_room(&self) -> bool {
        self.connections.len() < self.connections_max || self.eviction.first().is_some()
    }

    /// Pauses accepting. Most likely, no descriptor is free, so one connection is closed.
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
        let transport = match (stream, &self.listeners[listener].certificate) {
            (Stream::Tcp(socket), Some(certificate)) => match certificate.accept() {
                Ok(session) => Transport::Tls(Box::new(StreamOwned::new(session, socket))),
                Err(error) => {
                    return log::error!("cannot start a TLS session: {error}");
                }
            },
            (Stream::Tcp(socket), _) => Transport::Plain(socket),
            (Stream::Unix(socket), _) => Transport::Unix(socket),
        };
        let redirect = self.listeners[listener].redirect.clone();
        let deadline = self.now + self.deadlines.request;
        let mut connection =
            Connection::new(transport, address, limited_address, redirect, deadline);
        connection.eviction_key = self.eviction.new_eviction_key();
        let key = self.connections.vacant_key();
        let token = self.connection_token(key);
        if let Err(error) = connection.transport.register(self.poll.registry(), token) {
            return log::warn!("cannot register a connection: {error}");
        }
        self.eviction.add(limited_address);
        self.eviction.make_evictable(limited_address, connection.eviction_key, key);
        self.connections.insert(connection);
        self.counters.opened();
        // Often the request has already arrived.
        self.read(key);
    }
}
