//! How the operator talks to us: the commands.

mod serve;
mod demo;
mod sockets;
mod health;
mod users;
mod sessions;
mod events;
mod who;
mod consent;
mod documents;
mod screen;
mod local_time;

pub use demo::demo;
pub use events::events;
pub use health::health;
pub use serve::serve;
pub use sessions::sessions;
pub use users::users;
