//! How the operator talks to us: the commands.

mod serve;
mod demo;

pub use demo::demo;
pub use serve::serve;
