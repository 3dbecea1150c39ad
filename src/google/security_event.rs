//! Security events (RISC): what Google reports about accounts that have signed in here.
//!
//! A report is a security event token (RFC 8417): a JWT signed with the keys of ID tokens. It is
//! never accepted as an ID token, because it has `events`, and an ID token is never accepted as an
//! event, because it has none.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::identity::CLOCK_SKEW_SECONDS_MAX;
use super::jwks::RsaKey;
use super::jws::Jws;
use super::keys::KeyError;
use crate::json;
use crate::token::ISSUERS;

/// The types (`typ`) that the header of a security event token may name (RFC 8417, section 2.3).
const TOKEN_TYPES: [&str; 2] = ["secevent+jwt", "JWT"];
/// The two spellings of Google's name in the `iss` of an event.
const EVENT_ISSUERS: [&str; 2] = ["https://accounts.google.com/", "https://accounts.google.com"];
/// Longer details are cut off.
const DETAIL_CHARACTERS_MAX: usize = 256;

/// A verified report from Google to this server.
///
/// [`SecurityEvent::verify`] is the only constructor, so having one is the proof.
#[derive(Debug, Clone)]
pub struct SecurityEvent {
    id: String,
    audience: String,
    issued_at: i64,
    reports: Vec<AccountEvent>,
}

/// A report about one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountEvent {
    /// The type of the event.
    pub event_type: EventType,
    /// The account's `sub`. `None` for a verification, and for accounts that are not Google's.
    pub subject: Option<String>,
    /// Why an account was disabled, or the `state` of a verification.
    pub detail: Option<String>,
}

/// The types of events, as Google's documentation lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// The person was signed out everywhere.
    SessionsRevoked,
    /// The tokens that apps hold were revoked.
    TokensRevoked,
    /// The account was disabled.
    AccountDisabled,
    /// The account works again.
    AccountEnabled,
    /// The account was deleted.
    AccountPurged,
    /// Something looks wrong; the person has to change the password.
    CredentialChangeRequired,
    /// A test that the operator asked for.
    Verification,
    /// Any other.
    Unknown,
}

/// Why there is no event.
#[derive(Debug)]
pub enum EventFailure {
    /// The token is wrong or not for us. Final.
    Refused {
        /// The error code of RFC 8935, section 2.4.
        code: &'static str,
        /// One sentence for the sender.
        description: &'static str,
    },
    /// Google's keys are not known. This says nothing about the token.
    Unavailable {
        /// What is missing.
        cause: String,
        /// Seconds after which to try again, if known.
        retry_after: Option<u64>,
    },
}

impl SecurityEvent {
    /// Reads a token whose signature is by the key that `find_key` returns for its `kid`.
    ///
    /// # Errors
    /// [`EventFailure`]. Claims are looked at only if the signature is right.
    pub fn verify(
        token: &str,
        audiences: &[String],
        now: i64,
        find_key: impl FnOnce(&str) -> Result<Arc<RsaKey>, KeyError>,
    ) -> Result<SecurityEvent, EventFailure> {
        let jws = Jws::parse(token, &TOKEN_TYPES).map_err(invalid)?;
        let key = find_key(jws.kid())?;
        let payload = jws.payload(&key).ok_or(WRONG_SIGNATURE)?;
        let claims: Claims =
            json::parse_unambiguous(&payload).map_err(|_| invalid(NOT_AN_EVENT))?;
        claims.check(audiences, now)
    }

    /// `jti`: the same for every delivery of this event.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `aud`: our client ID that the account has signed in with.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// When Google issued it, in unix seconds.
    pub fn issued_at(&self) -> i64 {
        self.issued_at
    }

    /// The reports: at least one, and usually no more.
    pub fn reports(&self) -> &[AccountEvent] {
        &self.reports
    }
}

/// The claims that count; others are ignored. Past events do not expire, so neither does a token.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    iat: i64,
    jti: String,
    events: BTreeMap<String, BTreeMap<String, Value>>,
}

/// One audience, or a list of them (RFC 7519, section 4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Claims {
    fn check(self, audiences: &[String], now: i64) -> Result<SecurityEvent, EventFailure> {
        if !EVENT_ISSUERS.contains(&self.iss.as_str()) {
            return Err(WRONG_ISSUER);
        }
        let claimed = match self.aud {
            Audience::One(audience) => vec![audience],
            Audience::Several(list) => list,
        };
        let audience = claimed.into_iter().find(|audience| audiences.contains(audience));
        let audience = audience.ok_or(WRONG_AUDIENCE)?;
        if self.iat <= 0 || self.iat.saturating_sub(now) > CLOCK_SKEW_SECONDS_MAX {
            return Err(invalid("iat is not a time in the past"));
        }
        if self.jti.is_empty() || self.events.is_empty() {
            return Err(invalid(NOT_AN_EVENT));
        }
        let reports = self.events.iter().map(|(url, event)| AccountEvent::of(url, event));
        Ok(SecurityEvent {
            id: self.jti,
            audience,
            issued_at: self.iat,
            reports: reports.collect::<Result<_, _>>().map_err(invalid)?,
        })
    }
}

impl AccountEvent {
    fn of(url: &str, event: &BTreeMap<String, Value>) -> Result<AccountEvent, &'static str> {
        let event_type = EventType::of(url);
        let text = |name: &str| event.get(name).and_then(Value::as_str);
        let (subject, detail) = match event_type {
            EventType::Unknown => (None, None),
            EventType::Verification => (None, text("state")),
            EventType::AccountDisabled => (subject(event)?, text("reason")),
            _ => (subject(event)?, None),
        };
        let detail = detail.map(|detail| detail.chars().take(DETAIL_CHARACTERS_MAX).collect());
        Ok(AccountEvent { event_type, subject, detail })
    }

    /// Whether somebody else has taken the account over.
    pub fn is_hijacking(&self) -> bool {
        self.event_type == EventType::AccountDisabled && self.detail.as_deref() == Some("hijacking")
    }
}

/// The `sub` of the account that an event is about. `None` if it is not an account of Google's.
fn subject(event: &BTreeMap<String, Value>) -> Result<Option<String>, &'static str> {
    const NO_SUBJECT: &str = "an event has no subject with subject_type, iss and sub";
    let subject = event.get("subject").ok_or(NO_SUBJECT)?;
    let text = |name: &str| {
        subject.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).ok_or(NO_SUBJECT)
    };
    if !matches!(text("subject_type")?, "iss-sub" | "id_token_claims") {
        return Ok(None);
    }
    let (issuer, subject) = (text("iss")?, text("sub")?);
    let is_googles = EVENT_ISSUERS.contains(&issuer) || ISSUERS.contains(&issuer);
    Ok(is_googles.then(|| subject.to_owned()))
}

impl EventType {
    /// Every type that Google documents and that concerns us, with its URL.
    pub const KNOWN: [(EventType, &str); 7] = [
        (
            EventType::SessionsRevoked,
            "https://schemas.openid.net/secevent/risc/event-type/sessions-revoked",
        ),
        (
            EventType::TokensRevoked,
            "https://schemas.openid.net/secevent/oauth/event-type/tokens-revoked",
        ),
        (
            EventType::AccountDisabled,
            "https://schemas.openid.net/secevent/risc/event-type/account-disabled",
        ),
        (
            EventType::AccountEnabled,
            "https://schemas.openid.net/secevent/risc/event-type/account-enabled",
        ),
        (
            EventType::AccountPurged,
            "https://schemas.openid.net/secevent/risc/event-type/account-purged",
        ),
        (
            EventType::CredentialChangeRequired,
            "https://schemas.openid.net/secevent/risc/event-type/account-credential-change-required",
        ),
        (
            EventType::Verification,
            "https://schemas.openid.net/secevent/risc/event-type/verification",
        ),
    ];

    fn of(url: &str) -> EventType {
        let known = EventType::KNOWN.iter().find(|(_, known)| *known == url);
        known.map_or(EventType::Unknown, |(event_type, _)| *event_type)
    }

    /// The last part of its URL.
    pub fn name(self) -> &'static str {
        let known = EventType::KNOWN.iter().find(|(known, _)| *known == self);
        known.and_then(|(_, url)| url.rsplit('/').next()).unwrap_or("unknown")
    }
}

const NOT_AN_EVENT: &str =
    "the payload is not a JSON object with iss, aud, iat, jti and events, each of them once";
const WRONG_SIGNATURE: EventFailure = EventFailure::Refused {
    code: "invalid_key",
    description: "the token is not signed with one of Google's keys",
};
const WRONG_ISSUER: EventFailure =
    EventFailure::Refused { code: "invalid_issuer", description: "the token is not from Google" };
const WRONG_AUDIENCE: EventFailure = EventFailure::Refused {
    code: "invalid_audience",
    description: "the token is for another app (its aud is not a client ID of this server)",
};

fn invalid(description: &'static str) -> EventFailure {
    EventFailure::Refused { code: "invalid_request", description }
}

impl EventFailure {
    /// Google's keys cannot be fetched, or too many requests wait for them.
    pub(super) fn unavailable(cause: &str) -> EventFailure {
        EventFailure::Unavailable { cause: cause.to_owned(), retry_after: None }
    }
}

impl From<KeyError> for EventFailure {
    fn from(error: KeyError) -> EventFailure {
        match error {
            KeyError::Unknown => WRONG_SIGNATURE,
            KeyError::Unavailable { cause, retry_after } => {
                EventFailure::Unavailable { cause, retry_after }
            }
        }
    }
}
