//! What can go wrong with a request, told apart by what the client should do about it.

use std::fmt;

use crate::profile::Profile;
use crate::store::{Authenticated, Session, StoreError};

/// A request that is not granted. [`fmt::Display`] is for the log; [`Error::description`] is for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// 400: the request makes no sense; send another one.
    InvalidRequest(&'static str),
    /// 401: this ID token is no good; get a new one from Google.
    InvalidToken(&'static str),
    /// 401: no live session; sign in.
    Unauthenticated {
        /// Whether a credential came, which was no good; otherwise none came.
        bad_credential: bool,
    },
    /// 403: known, but not allowed; another account may be.
    AccessDenied {
        /// What is missing.
        reason: &'static str,
        /// Who was denied, if anybody is known.
        person: Option<Box<Denied>>,
    },
    /// 404.
    NotFound,
    /// 405, with the methods that would do.
    MethodNotAllowed(&'static str),
    /// 415: neither a form nor JSON.
    UnsupportedMediaType,
    /// 429: too many attempts from this client's address; wait that many seconds.
    TooManyRequests {
        /// Seconds until the next attempt can succeed.
        retry_after: u64,
    },
    /// 503: Google or the store cannot answer; try again. Never a statement about the token.
    Unavailable {
        /// What happened, for the log alone.
        cause: String,
        /// Seconds after which another try is worth it.
        retry_after: u64,
    },
}

/// Somebody who was denied access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The account.
    pub profile: Profile,
    /// Its live session; none at a sign-in.
    pub session: Option<Session>,
}

impl Error {
    /// Seconds to wait where nobody said how long an outage lasts.
    pub const RETRY_AFTER_SECONDS: u64 = 5;

    /// Google or the store cannot answer, for the reason given.
    pub fn unavailable(cause: impl Into<String>) -> Error {
        Error::Unavailable { cause: cause.into(), retry_after: Error::RETRY_AFTER_SECONDS }
    }

    /// Not allowed, whoever it is.
    pub fn denied(reason: &'static str) -> Error {
        Error::AccessDenied { reason, person: None }
    }

    /// That person is not allowed to sign in.
    pub fn denied_to(profile: &Profile, reason: &'static str) -> Error {
        let person = Denied { profile: profile.clone(), session: None };
        Error::AccessDenied { reason, person: Some(Box::new(person)) }
    }

    /// The user of that live session is not allowed.
    pub fn denied_in_session(caller: &Authenticated, reason: &'static str) -> Error {
        let person =
            Denied { profile: caller.user.profile.clone(), session: Some(caller.session.clone()) };
        Error::AccessDenied { reason, person: Some(Box::new(person)) }
    }

    /// Who was denied, if anybody is known.
    pub fn person(&self) -> Option<&Denied> {
        match self {
            Error::AccessDenied { person, .. } => person.as_deref(),
            _ => None,
        }
    }

    /// The one table from error to HTTP status and `error` code.
    pub fn status_and_code(&self) -> (u16, &'static str) {
        match self {
            Error::InvalidRequest(_) => (400, "invalid_request"),
            Error::InvalidToken(_) => (401, "invalid_token"),
            Error::Unauthenticated { .. } => (401, "unauthenticated"),
            Error::AccessDenied { .. } => (403, "access_denied"),
            Error::NotFound => (404, "not_found"),
            Error::MethodNotAllowed(_) => (405, "method_not_allowed"),
            Error::UnsupportedMediaType => (415, "unsupported_media_type"),
            Error::TooManyRequests { .. } => (429, "too_many_requests"),
            Error::Unavailable { .. } => (503, "temporarily_unavailable"),
        }
    }

    /// What the client is told: what was expected, and never a cause inside.
    pub fn description(&self) -> &'static str {
        match self {
            Error::InvalidRequest(text) | Error::InvalidToken(text) => text,
            Error::AccessDenied { reason, .. } => reason,
            Error::Unauthenticated { .. } => "there is no session, or it has ended; sign in",
            Error::NotFound => "there is nothing at this address",
            Error::MethodNotAllowed(_) => "this address does not take that method",
            Error::UnsupportedMediaType => {
                "the body must be application/x-www-form-urlencoded or application/json"
            }
            Error::TooManyRequests { .. } => {
                "too many sign-in attempts from this address; wait a little"
            }
            Error::Unavailable { .. } => "it cannot be checked just now who you are",
        }
    }

    /// Seconds for `Retry-After`, where waiting helps.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Error::TooManyRequests { retry_after } | Error::Unavailable { retry_after, .. } => {
                Some(*retry_after)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::Unavailable { cause, .. } => formatter.write_str(cause),
            _ => formatter.write_str(self.description()),
        }
    }
}

impl std::error::Error for Error {}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        Error::unavailable(error.to_string())
    }
}
