//! From bytes to requests, and from responses to bytes. It knows nothing about the application.

pub mod door;
mod server;
mod service;
mod upstream_socket;
mod listen;
mod message;

pub use door::KEEP_ALIVE;
pub use listen::{ListenAddress, Sockets, bind_tcp, host_port, open};
pub use message::{HEADERS_READ, Request, Response, SERVER};
pub use server::{Handler, Server};
pub use service::{Limits, Service};
