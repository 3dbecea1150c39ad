//! The output of the commands.

pub mod table;
pub mod report;
pub mod json;
pub mod sentence;
pub mod progress;
pub mod time;
