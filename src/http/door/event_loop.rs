//! The thread of the door: waits for events, dispatches them, and enforces deadlines.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Token, Waker};
use slab::Slab;

use super::certificate::Certificate;
use super::connection::{Connection, Phase};
use super::counters::Counters;
use super::eviction::Eviction;
use super::fast_path::FastPath;
use super::handshakes::Handshakes;
use super::listener::Listener;
use super::reject::{Reason, RejectionLog};
use super::upstream::Upstreams;
use super::{Deadlines, Settings};
use crate::clock::HttpDate;
use crate::http::Request;

/// The longest time between two checks of the deadlines.
const TICK_MAX: Duration = Duration::from_millis(250);
/// How long a new connection may take to send its first byte while the door is stopping.
const FIRST_BYTE_WHILE_STOPPING: Duration = Duration::from_secs(1);
/// The most that is read at once.
const READ_BYTES_MAX: usize = 16 * 1024;

const WAKER: Token = Token(0);
/// Tokens from here on belong to listeners, then alternately to connections and upstream
/// connections.
const FIRST_LISTENER: usize = 1;

pub(super) struct EventLoop {
    pub(super) poll: Poll,
    /// Asks to stop, within this grace period.
    stop_requests: mpsc::Receiver<Duration>,
    pub(super) listeners: Vec<Listener>,
    /// The first token of a connection.
    first_token: usize,
    pub(super) connections: Slab<Connection>,
    pub(super) connections_max: usize,
    pub(super) per_address_max: usize,
    pub(super) unlimited: Box<dyn Fn(IpAddr) -> bool + Send>,
    pub(super) eviction: Eviction,
    pub(super) handshakes: Handshakes,
    pub(super) upstreams: Upstreams,
    pub(super) headers: Option<&'static [&'static str]>,
    pub(super) trim: Box<dyn Fn(&mut Request) + Send>,
    pub(super) fast_path: FastPath,
    pub(super) deadlines: Deadlines,
    tick: Duration,
    next_tick: Instant,
    pub(super) accept_again_at: Option<Instant>,
    pub(super) accept_warned_at: Option<Instant>,
    /// When stopping, the end of the grace period.
    pub(super) stopping_until: Option<Instant>,
    pub(super) counters: Arc<Counters>,
    pub(super) rejection_log: RejectionLog,
    pub(super) date: HttpDate,
    pub(super) buffer: Box<[u8]>,
    /// The time of this turn of the loop.
    pub(super) now: Instant,
}

impl EventLoop {
    pub(super) fn new(
        settings: Settings,
        certificate: Option<Arc<Certificate>>,
        counters: Arc<Counters>,
        stop_requests: mpsc::Receiver<Duration>,
    ) -> io::Result<EventLoop> {
        let poll = Poll::new()?;
        let listeners = Listener::open_all(
            settings.sockets,
            certificate.as_ref(),
            poll.registry(),
            FIRST_LISTENER,
        )?;
        let deadlines = settings.deadlines;
        let now = Instant::now();
        Ok(EventLoop {
            poll,
            stop_requests,
            first_token: FIRST_LISTENER + listeners.len(),
            listeners,
            connections: Slab::new(),
            connections_max: settings.capacity.connections,
            per_address_max: settings.connections_per_address_max,
            unlimited: settings.unlimited,
            eviction: Eviction::default(),
            handshakes: Handshakes::default(),
            upstreams: Upstreams::new(settings.upstream, settings.capacity.upstream_requests),
            headers: settings.headers,
            trim: settings.trim,
            fast_path: settings.fast_path,
            deadlines,
            tick: (deadlines.shortest() / 8).clamp(Duration::from_millis(5), TICK_MAX),
            next_tick: now,
            accept_again_at: None,
            accept_warned_at: None,
            stopping_until: None,
            counters,
            rejection_log: RejectionLog::default(),
            date: HttpDate::default(),
            buffer: vec![0; READ_BYTES_MAX].into_boxed_slice(),
            now,
        })
    }

    pub(super) fn waker(&self) -> io::Result<Arc<Waker>> {
        Waker::new(self.poll.registry(), WAKER).map(Arc::new)
    }

    pub(super) fn connection_token(&self, key: usize) -> Token {
        Token(self.first_token + 2 * key)
    }

    /// Returns a function, which can be called while other fields of the loop are borrowed.
    pub(super) fn upstream_token(&self) -> impl Fn(usize) -> Token + use<> {
        let first = self.first_token;
        move |key| Token(first + 2 * key + 1)
    }

    /// Runs until a stop is requested and done.
    pub(super) fn run(&mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            let timeout = self.timeout();
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != ErrorKind::Interrupted
            {
                log::error!("the door cannot wait for events: {error}");
                std::thread::sleep(TICK_MAX);
            }
            self.counters.turned();
            self.now = Instant::now();
            for event in &events {
                self.dispatch(event);
            }
            // After the events: none of them may be mistaken for one of a connection accepted in
            // this turn.
            self.accept();
            self.serve_handshakes();
            while let Ok(grace) = self.stop_requests.try_recv() {
                self.stop(grace);
            }
            if self.now >= self.next_tick {
                self.next_tick = self.now + self.tick;
                self.expire();
                self.handshakes.forget_unused(self.now);
            }
            if self.is_done() {
                return;
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if let Some(at) = self.accept_again_at {
            return Some(at.saturating_duration_since(self.now).min(self.tick));
        }
        if self.listeners.iter().any(|listener| listener.ready) && self.has_room() {
            return Some(Duration::ZERO);
        }
        let quiet = self.connections.is_empty()
            && self.upstreams.is_quiet()
            && self.stopping_until.is_none();
        let handshake = self.handshakes.next_at(self.now);
        let handshake = handshake.map(|at| at.saturating_duration_since(self.now).min(self.tick));
        handshake.or((!quiet).then_some(self.tick))
    }

    fn dispatch(&mut self, event: &Event) {
        let Token(token) = event.token();
        if event.token() == WAKER {
            // Stop requests are read in every turn.
        } else if token < self.first_token {
            // While stopping, there are no listeners.
            if let Some(listener) = self.listeners.get_mut(token - FIRST_LISTENER) {
                listener.ready = true;
            }
        } else if (token - self.first_token).is_multiple_of(2) {
            self.connection_event((token - self.first_token) / 2, event);
        } else {
            self.upstream_event((token - self.first_token) / 2, event);
        }
    }

    fn expire(&mut self) {
        let overdue: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.deadline <= self.now)
            .map(|(key, _)| key)
            .collect();
        for key in overdue {
            let Some(connection) = self.connections.get(key) else {
                continue;
            };
            match connection.phase {
                Phase::Reading { .. } if connection.transport.is_handshaking() => {
                    let address = connection.address;
                    self.count_rejection(Reason::Tls, address);
                    self.close(key);
                }
                Phase::Reading { .. } if connection.request_started => {
                    self.reject(key, Reason::Timeout)
                }
                Phase::Waiting => self.reject(key, Reason::UpstreamUnavailable),
                Phase::Answering { upstream: Some(upstream) }
                    if self
                        .upstreams
                        .get(upstream)
                        .is_some_and(|upstream| !upstream.has_head()) =>
                {
                    log::error!("tiny_http did not respond within {:?}", self.deadlines.upstream);
                    self.upstreams.remove(upstream);
                    self.reject(key, Reason::UpstreamUnavailable);
                    self.serve_waiting();
                }
                Phase::Reading { .. } | Phase::Answering { .. } | Phase::Lingering { .. } => {
                    self.close(key)
                }
            }
        }
        for key in self.upstreams.overdue(self.now) {
            self.drop_upstream(key);
        }
    }

    fn stop(&mut self, grace: Duration) {
        self.listeners.clear();
        self.stopping_until = Some(self.now + grace);
        let first_byte_deadline = self.now + FIRST_BYTE_WHILE_STOPPING;
        let mut idle = Vec::new();
        for (key, connection) in &mut self.connections {
            match connection.phase {
                Phase::Reading { .. }
                    if !connection.request_started && !connection.first_request =>
                {
                    idle.push(key)
                }
                Phase::Reading { .. } if !connection.request_started => {
                    connection.deadline = connection.deadline.min(first_byte_deadline)
                }
                _ => connection.keep_alive = false,
            }
        }
        idle.into_iter().for_each(|key| self.close(key));
    }

    fn is_done(&self) -> bool {
        let Some(until) = self.stopping_until else {
            return false;
        };
        self.now >= until || self.connections.is_empty()
    }
}
