//! How the operator talks to us: the commands.

mod serve;
mod demo;
mod sockets;

pub use demo::demo;
pub use serve::serve;
