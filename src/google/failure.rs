//! Why Google does not vouch for a token.

use super::keys::KeyError;

/// Why a token does not yield an identity.
#[derive(Debug)]
pub enum Failure {
    /// The token is invalid, for the given reason. Final.
    Refused(&'static str),
    /// Google cannot answer. This says nothing about the token.
    Unavailable {
        /// The cause, without token and URL.
        cause: String,
        /// Seconds after which to try again, if known.
        retry_after: Option<u64>,
    },
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Failure {
        match error {
            KeyError::Unknown => {
                Failure::Refused("the token is signed with a key that Google does not have")
            }
            KeyError::Unavailable { cause, retry_after } => {
                Failure::Unavailable { cause, retry_after }
            }
        }
    }
}
