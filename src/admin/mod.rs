//! How the operator talks to us: the commands.

mod serve;
mod demo;
mod sockets;
mod health;

pub use demo::demo;
pub use health::health;
pub use serve::serve;
