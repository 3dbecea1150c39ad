//! Connects to a host with several addresses, trying them side by side: RFC 8305 ("Happy
//! Eyeballs").

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};

/// How long to wait for one address before trying the next as well (section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// For a call without a deadline, which does not occur.
const PATIENCE_MAX: Duration = Duration::from_secs(60);

/// Opens connections, beginning with the address family that worked last. So a broken family costs
/// its delay once.
#[derive(Debug, Default)]
pub struct SideBySide {
    ipv4_worked: AtomicBool,
    ipv6_worked: AtomicBool,
}

impl<In: Transport> Connector<In> for SideBySide {
    type Out = Either<In, Tcp>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        // This connection goes through a proxy.
        if let Some(transport) = chained {
            return Ok(Some(Either::A(transport)));
        }
        let patience = time_left(details.timeout)?;
        let stream = connect(self.in_order(&details.addrs), patience)
            .map_err(|error| timed_out(error, details.timeout))?;
        let is_ipv4 = stream.peer_addr()?.is_ipv4();
        self.ipv4_worked.store(is_ipv4, Ordering::Relaxed);
        self.ipv6_worked.store(!is_ipv4, Ordering::Relaxed);
        stream.set_nodelay(true)?;
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Either::B(Tcp { stream, buffers })))
    }
}

impl SideBySide {
    /// Alternates between families (section 4). Until one has worked, keeps the system's order.
    fn in_order(&self, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        let begins_with_ipv4 = self.ipv4_worked.load(Ordering::Relaxed)
            || !self.ipv6_worked.load(Ordering::Relaxed)
                && addresses.first().is_some_and(SocketAddr::is_ipv4);
        let (mut first, mut second): (Vec<SocketAddr>, Vec<SocketAddr>) = addresses
            .iter()
            .copied()
            .rev()
            .partition(|address| address.is_ipv4() == begins_with_ipv4);
        let mut ordered = Vec::new();
        while !first.is_empty() || !second.is_empty() {
            ordered.extend(first.pop());
            ordered.extend(second.pop());
        }
        ordered
    }
}

/// Returns the first connection that succeeds. Each attempt is a thread that ends with the
/// patience.
fn connect(addresses: Vec<SocketAddr>, patience: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + patience;
    let (sender, attempts) = mpsc::channel();
    let mut untried = addresses.into_iter();
    let (mut under_way, mut failure) = (0, io::Error::from(ErrorKind::AddrNotAvailable));
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        if let Some(address) = untried.next() {
            let sender = sender.clone();
            thread::Builder::new().spawn(move || {
                // The receiver is gone if another attempt was faster.
                let _ = sender.send(TcpStream::connect_timeout(&address, left));
            })?;
            under_way += 1;
        } else if under_way == 0 {
            return Err(failure);
        }
        let pause = if untried.len() > 0 { left.min(ATTEMPT_DELAY) } else { left };
        match attempts.recv_timeout(pause) {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                under_way -= 1;
                failure = error;
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
}

#[derive(Debug)]
pub struct Tcp {
    stream: TcpStream,
    buffers: LazyBuffers,
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.set_write_timeout(Some(time_left(timeout)?))?;
        let output = &self.buffers.output()[..amount];
        self.stream.write_all(output).map_err(|error| timed_out(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.set_read_timeout(Some(time_left(timeout)?))?;
        let input = self.buffers.input_append_buf();
        let amount = loop {
            match self.stream.read(input) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => break read.map_err(|error| timed_out(error, timeout))?,
            }
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// Whether the connection is idle. Unrequested bytes make it useless.
    fn is_open(&mut self) -> bool {
        let peeked = self.stream.set_nonblocking(true).and_then(|()| self.stream.peek(&mut [0]));
        let is_silent = peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        is_silent && self.stream.set_nonblocking(false).is_ok()
    }
}

fn time_left(timeout: NextTimeout) -> Result<Duration, Error> {
    match timeout.not_zero() {
        _ if timeout.after.is_zero() => Err(Error::Timeout(timeout.reason)),
        left => Ok(left.map_or(PATIENCE_MAX, |left| *left)),
    }
}

fn timed_out(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Error::Timeout(timeout.reason),
        _ => Error::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use socket2::{Domain, Socket, Type};

    use super::*;

    /// Much longer than any attempt on loopback takes.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// An address that neither accepts nor refuses while these sockets live, because its backlog is
    /// full.
    fn silent() -> (SocketAddr, Vec<Socket>) {
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        listener.bind(&any.into()).and_then(|()| listener.listen(0)).expect("a free port");
        let address = listener.local_addr().ok().and_then(|address| address.as_socket());
        let address = address.expect("an IPv4 address");
        let mut sockets = vec![listener];
        for _ in 0..4 {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.set_nonblocking(true).expect("a socket");
            let _ = socket.connect(&address.into());
            sockets.push(socket);
        }
        (address, sockets)
    }

    fn refusing() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address")
    }

    #[test]
    fn dead_addresses_cost_little() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let live = listener.local_addr().expect("an address");
        let (silent, _sockets) = silent();
        for addresses in [
            vec![live],
            vec![silent, live],
            vec![silent, silent, silent, silent, live],
            vec![refusing(), live],
            vec![refusing(), silent, refusing(), live],
            vec![live, silent],
        ] {
            let stream = connect(addresses.clone(), PATIENCE);
            let peer = stream.and_then(|stream| stream.peer_addr());
            assert_eq!(peer.ok(), Some(live), "{addresses:?}");
        }
    }

    #[test]
    fn without_a_live_address_it_fails() {
        let kind = |addresses, patience| connect(addresses, patience).map_err(|error| error.kind());
        let (silent, _sockets) = silent();
        let soon = Duration::from_millis(300);
        assert_eq!(kind(vec![silent, silent], soon).err(), Some(ErrorKind::TimedOut));
        assert_eq!(
            kind(vec![refusing(), refusing()], PATIENCE).err(),
            Some(ErrorKind::ConnectionRefused)
        );
        assert!(kind(Vec::new(), PATIENCE).is_err());
    }

    #[test]
    fn families_take_turns_and_the_one_that_worked_begins() {
        #[track_caller]
        fn check(connector: &SideBySide, expected: &[&str]) {
            let address = |text: &&str| text.parse::<SocketAddr>().expect("an address");
            let given = ["[::1]:1", "[::2]:1", "[::3]:1", "192.0.2.1:1", "192.0.2.2:1"];
            let given: Vec<_> = given.iter().map(address).collect();
            let expected: Vec<_> = expected.iter().map(address).collect();
            assert_eq!(connector.in_order(&given), expected);
        }
        let connector = SideBySide::default();
        let ipv6_first = ["[::1]:1", "192.0.2.1:1", "[::2]:1", "192.0.2.2:1", "[::3]:1"];
        check(&connector, &ipv6_first);
        connector.ipv4_worked.store(true, Ordering::Relaxed);
        check(&connector, &["192.0.2.1:1", "[::1]:1", "192.0.2.2:1", "[::2]:1", "[::3]:1"]);
    }
}
