//! Why a request fails, sorted by what the client should do about it.

use std::fmt;

use crate::profile::Profile;
use crate::store::{Authenticated, Session, StoreError};

/// A failed request. [`fmt::Display`] is for the log, [`Error::description`] for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// 400: send a different request.
    InvalidRequest(&'static str),
    /// 400: this security event will never be accepted (RFC 8935, section 2.3).
    InvalidEvent {
        /// The error code of RFC 8935.
        code: &'static str,
        description: &'static str,
    },
    /// 401: get a new ID token from Google.
    InvalidToken(&'static str),
    /// 401: there is no live session; sign in.
    Unauthenticated {
        /// Whether there was a credential, but a bad one.
        bad_credential: bool,
    },
    /// 403: another account may be allowed.
    AccessDenied {
        reason: &'static str,
        /// The person, if one is known.
        person: Option<Box<Denied>>,
    },
    /// 404.
    NotFound,
    /// 405, with the methods that are allowed.
    MethodNotAllowed(&'static str),
    /// 415: the body is neither a form nor JSON.
    UnsupportedMediaType,
    /// 429: too many attempts from this client's address.
    TooManyRequests {
        /// Seconds until the next attempt can succeed.
        retry_after: u64,
    },
    /// 503: Google or the store cannot answer; try again. Says nothing about the token.
    Unavailable {
        /// For the log only.
        cause: String,
        /// Seconds until another attempt makes sense.
        retry_after: u64,
    },
}

/// A person who was denied access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    pub profile: Profile,
    /// The live session; none at a sign-in.
    pub session: Option<Session>,
}

impl Error {
    pub const NO_SESSION: &str = "there is no session, or it has ended; sign in";
    pub const NOTHING_HERE: &str = "there is nothing at this address";
    pub const LATER: &str = "too many attempts from your address; try again later";
    pub const CANNOT_VERIFY: &str = "your identity cannot be verified right now; try again later";

    /// The default for an outage of unknown length.
    pub const RETRY_AFTER_SECONDS: u64 = 5;

    /// 503 with the default wait.
    pub fn unavailable(cause: impl Into<String>) -> Error {
        Error::Unavailable { cause: cause.into(), retry_after: Error::RETRY_AFTER_SECONDS }
    }

    /// 403 that names nobody.
    pub fn denied(reason: &'static str) -> Error {
        Error::AccessDenied { reason, person: None }
    }

    /// 403 at a sign-in.
    pub fn denied_to(profile: &Profile, reason: &'static str) -> Error {
        let person = Denied { profile: profile.clone(), session: None };
        Error::AccessDenied { reason, person: Some(Box::new(person)) }
    }

    /// 403 for the user of a live session.
    pub fn denied_in_session(caller: &Authenticated, reason: &'static str) -> Error {
        let person =
            Denied { profile: caller.user.profile.clone(), session: Some(caller.session.clone()) };
        Error::AccessDenied { reason, person: Some(Box::new(person)) }
    }

    /// The person who was denied access, if one is known.
    pub fn person(&self) -> Option<&Denied> {
        match self {
            Error::AccessDenied { person, .. } => person.as_deref(),
            _ => None,
        }
    }

    /// The table from errors to HTTP statuses and `error` codes.
    pub fn status_and_code(&self) -> (u16, &'static str) {
        match self {
            Error::InvalidRequest(_) => (400, "invalid_request"),
            Error::InvalidEvent { code, .. } => (400, code),
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

    /// The text for the client, which never contains an internal cause.
    pub fn description(&self) -> &'static str {
        match self {
            Error::InvalidRequest(text) | Error::InvalidToken(text) => text,
            Error::InvalidEvent { description, .. } => description,
            Error::AccessDenied { reason, .. } => reason,
            Error::Unauthenticated { .. } => Error::NO_SESSION,
            Error::NotFound => Error::NOTHING_HERE,
            Error::MethodNotAllowed(_) => "this address does not accept that method",
            Error::UnsupportedMediaType => {
                "the body must be application/x-www-form-urlencoded or application/json"
            }
            Error::TooManyRequests { .. } => Error::LATER,
            Error::Unavailable { .. } => Error::CANNOT_VERIFY,
        }
    }

    /// Seconds for `Retry-After`, if waiting helps.
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
