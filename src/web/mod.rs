//! How the world talks to us.

mod serving;
pub mod door;
mod server;
mod app;
mod http;
mod origin;
mod limits;
mod intake;
mod signin;
mod caller;
mod flights;
mod sessions;
mod signals;
mod check;
mod way_back;
mod cookies;
mod pages;

pub use app::{App, INSTANCE_HEADER};
pub use http::{HEADERS_READ, Request, Response};
pub use server::{Handler, Server};
pub use serving::{Limits, Serving, Sockets};
