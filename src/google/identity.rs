//! What makes a token good: from the claims in an answer to an [`Identity`] that cannot exist unchecked.

use std::ops::Deref;

use serde_json::Value;

use crate::json::Fields;
use crate::profile::{Profile, is_authoritative};

/// The two ways Google writes its own name in `iss`.
pub const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];

/// Google's tokens live an hour; one that claims more than a day is not from there.
const EXPIRY_SECONDS_MAX: i64 = 24 * 60 * 60;
/// How far Google's clock may be ahead of ours.
const CLOCK_SKEW_SECONDS_MAX: i64 = 5 * 60;
/// Google: `sub` has at most 255 case-sensitive ASCII characters.
const SUBJECT_BYTES_MAX: usize = 255;

/// Somebody Google vouches for, to us, now. Its only constructor is [`Identity::verify`], so having one is the proof.
#[derive(Debug, Clone)]
pub struct Identity {
    profile: Profile,
    audience: String,
    authorized_party: Option<String>,
    expires_at: i64,
}

/// Why there is no identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The answer is none: a failure on Google's side that says nothing about the token.
    Unreadable(&'static str),
    /// The token is wrong, or is not for us.
    Invalid(&'static str),
}

use Rejection::{Invalid, Unreadable};

impl Identity {
    /// Reads the claims in `document`, a JSON object whose values are strings (as tokeninfo writes them) or JSON
    /// types (as the token itself has them), and makes every check. `now` is in unix seconds.
    ///
    /// # Errors
    /// [`Rejection::Unreadable`] if it is no object or `iss`, `sub`, `aud` or `exp` is absent or null;
    /// [`Rejection::Invalid`] for any value or field that is not as it must be, a repeated field included.
    pub fn verify(document: &[u8], audiences: &[String], nonce: Option<&str>, now: i64) -> Result<Identity, Rejection> {
        let fields = Fields::parse(document).map_err(|_| Unreadable("the answer is not a JSON object"))?;
        if fields.has_duplicates() {
            return Err(Invalid("the token's claims repeat a field"));
        }
        let claims = Claims(fields);

        let issuer = claims.required_text("iss")?;
        let audience = claims.required_text("aud")?;
        let subject = claims.required_text("sub")?;
        let expires_at = claims.seconds("exp")?.ok_or(ABSENT)?;
        let issued_at = claims.seconds("iat")?;

        if !ISSUERS.contains(&issuer.as_str()) {
            return Err(Invalid("the token was not issued by Google"));
        }
        if !audiences.contains(&audience) {
            return Err(Invalid("the token was issued for another app (its aud is no client id of this server)"));
        }
        if expires_at <= now {
            return Err(Invalid("the token has expired"));
        }
        if expires_at - now > EXPIRY_SECONDS_MAX {
            return Err(Invalid("the token expires more than a day ahead"));
        }
        if issued_at.is_some_and(|issued_at| issued_at - now > CLOCK_SKEW_SECONDS_MAX) {
            return Err(Invalid("the token was issued in the future (is this server's clock right?)"));
        }
        if subject.len() > SUBJECT_BYTES_MAX || !subject.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(Invalid("the token's sub is not 1 to 255 ASCII characters"));
        }
        match (nonce, claims.text("nonce")?) {
            (None, None) => {}
            (Some(expected), Some(claimed)) if expected == claimed => {}
            _ => return Err(Invalid("nonce and the token's nonce must be equal, or both absent")),
        }

        let email = claims.text("email")?;
        let email_verified = claims.boolean("email_verified")?;
        let hosted_domain = claims.text("hd")?;
        let authority = |email: &String| is_authoritative(email, email_verified, hosted_domain.as_deref());
        Ok(Identity {
            profile: Profile {
                email_authoritative: email.as_ref().is_some_and(authority),
                subject,
                email,
                email_verified,
                name: claims.text("name")?,
                given_name: claims.text("given_name")?,
                family_name: claims.text("family_name")?,
                picture: claims.text("picture")?,
                hosted_domain,
                locale: claims.text("locale")?,
            },
            authorized_party: claims.text("azp")?,
            audience,
            expires_at,
        })
    }

    /// Whether this is a program's account. Google gives those tokens with an audience of their own choosing, so that
    /// `aud` proves nothing. They are told by an address at gserviceaccount.com, or an `azp` that is such an address
    /// or all digits.
    pub fn is_service_account(&self) -> bool {
        let program = |address: &str| address.to_ascii_lowercase().ends_with("gserviceaccount.com");
        let numeric = |azp: &str| azp.bytes().all(|byte| byte.is_ascii_digit());
        self.email.as_deref().is_some_and(program)
            || self.authorized_party.as_deref().is_some_and(|azp| program(azp) || numeric(azp))
    }

    /// `aud`: which of our client ids the token is for.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// `azp`: the client that asked for the token, an Android or iOS app for example.
    pub fn authorized_party(&self) -> Option<&str> {
        self.authorized_party.as_deref()
    }

    /// `exp`, in unix seconds.
    pub fn expires_at(&self) -> i64 {
        self.expires_at
    }
}

impl Deref for Identity {
    type Target = Profile;
    fn deref(&self) -> &Profile {
        &self.profile
    }
}

const ABSENT: Rejection = Unreadable("the answer lacks iss, sub, aud or exp");
const WRONG_TYPE: Rejection = Invalid("a claim of the token is empty or has the wrong type");

/// Claims by name: absent and null are the same, empty is wrong.
struct Claims(Fields);

impl Claims {
    fn value(&self, name: &str) -> Option<&Value> {
        self.0.first(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<String>, Rejection> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
            Some(_) => Err(WRONG_TYPE),
        }
    }

    fn required_text(&self, name: &str) -> Result<String, Rejection> {
        self.text(name)?.ok_or(ABSENT)
    }

    fn boolean(&self, name: &str) -> Result<Option<bool>, Rejection> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(Value::String(text)) if text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if text == "false" => Ok(Some(false)),
            Some(_) => Err(WRONG_TYPE),
        }
    }

    fn seconds(&self, name: &str) -> Result<Option<i64>, Rejection> {
        let seconds = match self.value(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => number.as_i64(),
            Some(Value::String(text)) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            Some(_) => None,
        };
        seconds.filter(|seconds| *seconds >= 0).map(Some).ok_or(WRONG_TYPE)
    }
}
