//! The whole front of the house: the door, and the server behind it.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Sockets;
use super::door::{
    self, Capacity, Counters, Deadlines, Door, Listener, Settings, Socket, TlsFiles,
};
use super::message::HEADERS_READ;
use super::server::{self, Handler, Server};
use super::upstream_socket::UpstreamSocket;

/// Connections that one client address may have open.
const CONNECTIONS_PER_ADDRESS_MAX: usize = 64;
/// How long requests under way may take once it is told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// How much may be open at once and for how long, and to whom that does not apply.
pub struct Limits {
    /// Connections wanted.
    pub connections_max: usize,
    /// The soft limit of file descriptors.
    pub descriptors: usize,
    /// Addresses that may have any number of connections: trusted proxies.
    pub unlimited: Box<dyn Fn(IpAddr) -> bool + Send>,
    /// How long a connection may stay open between two requests.
    pub keep_alive: Duration,
}

/// Everything that serves.
pub struct Service {
    door: Door,
    server: Server,
    upstream: UpstreamSocket,
}

impl Service {
    /// Starts serving on those sockets.
    ///
    /// # Errors
    /// If the certificate is of no use, or the operating system refuses a socket or a thread.
    pub fn start(
        sockets: Sockets,
        tls: Option<TlsFiles>,
        limits: Limits,
        handler: &Arc<dyn Handler>,
    ) -> io::Result<Service> {
        let capacity = Capacity::within(limits.connections_max, limits.descriptors);
        log::debug!(
            "room for {} connections, {} requests at once",
            capacity.connections,
            capacity.upstream_requests
        );
        let (listener, upstream) = UpstreamSocket::bind(tempfile::tempdir()?)?;
        // Slow requests leave half of what fits inside to the quick ones.
        let server =
            Server::start(listener, handler.clone(), capacity.upstream_requests.div_ceil(2))?;

        let service = if tls.is_some() { door::Service::Tls } else { door::Service::Plain };
        let network = |socket| Listener { socket: Socket::Tcp(socket), service: service.clone() };
        let host =
            |socket| Listener { socket: Socket::Unix(socket), service: door::Service::Plain };
        let mut listeners: Vec<Listener> = sockets.tcp.into_iter().map(network).collect();
        listeners.extend(sockets.unix.into_iter().map(host));
        listeners.extend(sockets.redirect.map(|(socket, url)| Listener {
            socket: Socket::Tcp(socket),
            service: door::Service::RedirectTo(url),
        }));
        let door = Door::start(Settings {
            listeners,
            upstream: upstream.address().clone(),
            tls,
            capacity,
            connections_per_address_max: CONNECTIONS_PER_ADDRESS_MAX,
            unlimited: limits.unlimited,
            headers: Some(&HEADERS_READ),
            fast_path: server::fast_path(handler.clone()),
            deadlines: Deadlines { idle: limits.keep_alive, ..Deadlines::default() },
        })?;
        Ok(Service { door, server, upstream })
    }

    /// What the door counts.
    pub fn door_counters(&self) -> Arc<Counters> {
        self.door.counters()
    }

    /// Reads the certificate again; the one in use stays if that fails.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub fn reload_tls(&self) -> io::Result<()> {
        self.door.reload_tls()
    }

    /// Takes nobody in any more, and returns when those under way are answered, or after 10 seconds.
    pub fn stop(self) {
        self.door.stop(GRACE);
        self.server.stop(GRACE);
        self.upstream.wake();
    }
}
