//! The operator's commands.

mod serve;
mod demo;
mod health;
mod users;
mod sessions;
mod events;
mod export;
mod import;
mod backup;
mod doctor;
mod verify;
mod stop;
mod background;
mod scheduled_backups;
pub mod output;
mod find_user;
mod confirm;

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
