//! A client's socket, with or without TLS. It never blocks.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rustls::{ServerConnection, StreamOwned};

pub(super) enum Transport {
    Plain(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

/// How far a TLS handshake is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HandshakeProgress {
    Waiting,
    /// The client's first message was complete and has been answered.
    Answered,
    Done,
}

impl Transport {
    fn source(&mut self) -> &mut dyn Source {
        match self {
            Transport::Plain(socket) => socket,
            Transport::Unix(socket) => socket,
            Transport::Tls(stream) => &mut stream.sock,
        }
    }

    /// Waits for something to read, which is enough until a write would block.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(self.source(), token, Interest::READABLE)
    }

    /// Also waits for room to write.
    pub(super) fn register_writes(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.reregister(self.source(), token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Whether a read that does not fill the buffer has read everything.
    pub(super) fn short_read_is_last(&self) -> bool {
        !self.is_tls()
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Transport::Tls(_))
    }

    pub(super) fn is_handshaking(&self) -> bool {
        matches!(self, Transport::Tls(stream) if stream.conn.is_handshaking())
    }

    pub(super) fn handshake_progress(&self) -> HandshakeProgress {
        match self {
            Transport::Tls(stream) if stream.conn.negotiated_cipher_suite().is_none() => {
                HandshakeProgress::Waiting
            }
            transport if transport.is_handshaking() => HandshakeProgress::Answered,
            _ => HandshakeProgress::Done,
        }
    }

    /// Whether TLS itself has something to send, as in a handshake.
    pub(super) fn wants_write(&self) -> bool {
        matches!(self, Transport::Tls(stream) if stream.conn.wants_write())
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(socket) => socket.read(buffer),
            Transport::Unix(socket) => socket.read(buffer),
            Transport::Tls(stream) => match stream.read(buffer) {
                // The client closed without a TLS alert; everything it sent has been read.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
                result => result,
            },
        }
    }

    /// Writes the bytes after the first `sent` ones, and advances `sent`; true once all are
    /// written.
    pub(super) fn write(&mut self, bytes: &[u8], sent: &mut usize) -> io::Result<bool> {
        while *sent < bytes.len() {
            let result = match self {
                Transport::Plain(socket) => socket.write(&bytes[*sent..]),
                Transport::Unix(socket) => socket.write(&bytes[*sent..]),
                Transport::Tls(stream) => stream.write(&bytes[*sent..]),
            };
            match result {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => *sent += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        if let Transport::Tls(stream) = self
            && stream.conn.wants_write()
        {
            match stream.flush() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                result => result?,
            }
        }
        Ok(true)
    }

    /// Closes the sending side. Errors do not matter: then the client has left anyway.
    pub(super) fn finish(&mut self) {
        let _ = match self {
            Transport::Plain(socket) => socket.shutdown(Shutdown::Write),
            Transport::Unix(socket) => socket.shutdown(Shutdown::Write),
            Transport::Tls(stream) => {
                stream.conn.send_close_notify();
                let _ = stream.flush();
                stream.sock.shutdown(Shutdown::Write)
            }
        };
    }
}
