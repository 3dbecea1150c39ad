//! The door and the tiny_http server behind it, started and stopped together.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::door::{Capacity, Counters, Deadlines, Door, Heartbeat, Settings, TlsFiles};
use super::server::{self, Handler, Server};
use super::upstream_socket::UpstreamSocket;
use super::{HEADERS_READ, Sockets};

/// Open connections per client address.
const CONNECTIONS_PER_ADDRESS_MAX: usize = 64;

/// How many connections may be open, and for how long.
pub struct Limits {
    /// The most connections, if the descriptors suffice.
    pub connections_max: usize,
    /// The soft limit of file descriptors.
    pub descriptors: usize,
    /// Addresses that may have any number of connections: trusted proxies.
    pub unlimited: Box<dyn Fn(IpAddr) -> bool + Send>,
    /// How long a connection may stay open between two requests.
    pub keep_alive: Duration,
}

/// A running server.
pub struct Service {
    door: Door,
    server: Server,
    upstream: UpstreamSocket,
}

impl Service {
    /// Starts serving on those sockets.
    ///
    /// # Errors
    /// If the certificate cannot be used, or the operating system refuses a socket or a thread.
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
        // Half of the upstream connections stay free for requests that do not block.
        let server =
            Server::start(listener, handler.clone(), capacity.upstream_requests.div_ceil(2))?;

        let door = Door::start(Settings {
            sockets,
            upstream: upstream.address().clone(),
            tls,
            capacity,
            connections_per_address_max: CONNECTIONS_PER_ADDRESS_MAX,
            unlimited: limits.unlimited,
            headers: Some(&HEADERS_READ),
            trim: server::trim(handler.clone()),
            fast_path: server::fast_path(handler.clone()),
            deadlines: Deadlines { idle: limits.keep_alive, ..Deadlines::default() },
        })?;
        Ok(Service { door, server, upstream })
    }

    /// The counts of the door.
    pub fn door_counters(&self) -> Arc<Counters> {
        self.door.counters()
    }

    /// Watches the door.
    pub fn heartbeat(&self) -> Heartbeat {
        self.door.heartbeat()
    }

    /// Reads the certificate again. If that fails, the old one stays in use.
    ///
    /// # Errors
    /// Says what is wrong with the files.
    pub fn reload_tls(&self) -> io::Result<()> {
        self.door.reload_tls()
    }

    /// Stops accepting, and returns when the requests under way are answered, or at the deadline.
    pub fn stop(self, deadline: Instant) {
        self.door.stop(deadline.saturating_duration_since(Instant::now()));
        self.server.stop(deadline);
        self.upstream.wake();
    }
}
