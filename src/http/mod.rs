//! From bytes to requests, and from responses to bytes. It knows nothing about the application.

pub mod door;
mod server;
mod service;
mod upstream_socket;
mod listen;
mod message;

pub use door::{Heartbeat, KEEP_ALIVE};
pub use listen::{ListenAddress, Sockets, bind_tcp, host_port, open};
pub use message::{Request, Response, SERVER};
pub use server::{Handler, Server};
pub use service::{Limits, Service};

/// The request headers that are read anywhere. The door drops all others.
pub const HEADERS_READ: [&str; 20] = [
    "Accept",
    "Accept-Language",
    "Access-Control-Request-Method",
    "Authorization",
    "Content-Type",
    "Cookie",
    "Host",
    "Origin",
    "Sec-Fetch-Dest",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Site",
    "User-Agent",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Method",
    "X-Forwarded-Proto",
    "X-Forwarded-Uri",
    "X-Original-Method",
    "X-Original-URL",
    "X-Requested-With",
];
