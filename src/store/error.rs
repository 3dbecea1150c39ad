//! Why the store cannot answer.

use std::fmt;

/// The database cannot answer. The text is for the log and contains no value from a row.
#[derive(Debug, Clone)]
pub struct StoreError(pub(super) String);

impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}
