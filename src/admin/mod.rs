//! How the operator talks to us: the commands.

mod serve;
mod demo;
mod sockets;
mod health;
mod users;
mod sessions;
mod events;
mod export;
mod import;
mod backup;
mod doctor;
mod verify;
mod report;
mod stop;
mod rotation;
mod who;
mod consent;
mod documents;
mod screen;
mod local_time;
mod progress;

pub use backup::{backup, restore};
pub use demo::demo;
pub use doctor::doctor;
pub use events::events;
pub use health::health;
pub use import::import;
pub use serve::serve;
pub use sessions::sessions;
pub use stop::Stop;
pub use users::users;
pub use verify::verify;
