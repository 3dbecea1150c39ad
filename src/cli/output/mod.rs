//! What the commands print.

pub mod table;
pub mod report;
pub mod json;
pub mod progress;
pub mod time;
