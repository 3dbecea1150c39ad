//! What PostgreSQL, or the way to it, answers instead of a result.

use std::fmt;
use std::io;

use tokio_postgres::error::SqlState;

/// A failed call. Its text contains no value from a row and no password.
#[derive(Debug)]
pub enum Error {
    /// From the server or the library.
    Driver(tokio_postgres::Error),
    /// No answer within the time limit.
    TimedOut,
    /// The system has no resources for a connection.
    System(io::Error),
    /// The work itself failed, for example because a value has another type than expected.
    Work(String),
}

impl Error {
    /// Whether the same work may succeed if it is done again: another transaction was first.
    pub fn is_conflict(&self) -> bool {
        let conflicts = [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::UNIQUE_VIOLATION,
        ];
        self.state().is_some_and(|state| conflicts.contains(state))
    }

    /// Whether the connection is of no use any more: it broke, was closed by the server, or may
    /// still deliver an answer that came too late.
    pub fn breaks_connection(&self) -> bool {
        match self.state() {
            // A class for shutdown, crash, and a server that starts.
            Some(state) => state.code().starts_with("57P") || state.code().starts_with("08"),
            None => match self {
                Error::Driver(error) => !is_usage(error),
                Error::TimedOut => true,
                Error::System(_) | Error::Work(_) => false,
            },
        }
    }

    /// Whether the server does not accept connections right now, but may soon.
    pub fn is_unreachable(&self) -> bool {
        match self.state() {
            Some(state) => self.breaks_connection() || *state == SqlState::TOO_MANY_CONNECTIONS,
            None => self.breaks_connection(),
        }
    }

    /// The server's code for the error, if the error is the server's.
    pub fn state(&self) -> Option<&SqlState> {
        match self {
            Error::Driver(error) => error.code(),
            Error::TimedOut | Error::System(_) | Error::Work(_) => None,
        }
    }
}

/// Whether this program called the library wrongly, which does not hurt the connection.
fn is_usage(error: &tokio_postgres::Error) -> bool {
    let text = error.to_string();
    text.starts_with("error serializing") || text.starts_with("error deserializing")
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::TimedOut => formatter.write_str("PostgreSQL did not answer in time"),
            Error::System(error) => write!(formatter, "no connection to PostgreSQL: {error}"),
            Error::Work(why) => formatter.write_str(why),
            Error::Driver(error) => match error.as_db_error() {
                // Not its detail, which shows values.
                Some(answer) => {
                    write!(formatter, "{} ({})", answer.message(), answer.code().code())
                }
                None => {
                    write!(formatter, "{error}")?;
                    match std::error::Error::source(error) {
                        Some(cause) => write!(formatter, ": {cause}"),
                        None => Ok(()),
                    }
                }
            },
        }
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Error {
        Error::Driver(error)
    }
}
