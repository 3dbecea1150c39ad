//! Which claims make a token valid. [`Identity`] cannot exist unchecked.

use serde_json::Value;

use crate::json::Fields;
use crate::profile::{Profile, is_authoritative};
use crate::token::ISSUERS;

/// Google's tokens live for an hour. One that claims more than a day is not Google's.
const EXPIRY_SECONDS_MAX: i64 = 24 * 60 * 60;
/// How far Google's clock may be ahead of ours.
pub const CLOCK_SKEW_SECONDS_MAX: i64 = 5 * 60;
/// Google: `sub` has at most 255 case-sensitive ASCII characters.
const SUBJECT_BYTES_MAX: usize = 255;

/// The proof that a token is genuine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifiedBy {
    /// A 200 from tokeninfo.
    Tokeninfo,
    /// A valid signature by one of Google's current keys.
    Keys,
}

impl VerifiedBy {
    /// Its name in events and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            VerifiedBy::Tokeninfo => "tokeninfo",
            VerifiedBy::Keys => "keys",
        }
    }
}

/// A person for whom Google has vouched to this server.
///
/// [`Identity::verify`] is the only constructor, so having an `Identity` is the proof.
#[derive(Debug, Clone)]
pub struct Identity(Claims);

/// The claims of a token. Only an [`Identity`] proves that they are true and meant for us.
#[derive(Debug, Clone)]
pub struct Claims {
    /// The profile claims.
    pub profile: Profile,
    /// `aud`: the client ID that the token is for.
    pub audience: String,
    /// `azp`: the client that asked for the token, for example an Android or iOS app.
    pub authorized_party: Option<String>,
    /// `exp`, in unix seconds.
    pub expires_at: i64,
}

/// Why claims are not accepted as an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The document cannot be read: a failure on Google's side that says nothing about the token.
    Unreadable(&'static str),
    /// The token is wrong or not for us.
    Invalid(&'static str),
}

use Rejection::{Invalid, Unreadable};

/// The result of one rule, for an operator who asks why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleVerdict {
    /// The claim that the rule checks. `claims` and `profile` check several.
    pub rule: &'static str,
    /// The value of the claim.
    pub claim: Option<String>,
    /// Whether the claim passes.
    pub verdict: Result<(), Rejection>,
}

/// The values with which the rules compare the claims.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Our client IDs. `aud` must equal one of them.
    pub audiences: &'a [String],
    /// The `nonce` that came with the token.
    pub nonce: Option<&'a str>,
    /// Unix seconds.
    pub now: i64,
}

type Rule = fn(&RawClaims, &Expected) -> Result<(), Rejection>;

/// All rules, in the order in which they are applied.
const RULES: [(&str, Rule); 10] = [
    ("claims", complete),
    ("events", no_event),
    ("iss", issuer),
    ("aud", audience),
    ("exp", expiry),
    ("iat", issued_at),
    ("nbf", not_before),
    ("sub", subject),
    ("nonce", nonce),
    ("profile", |claims, _| claims.read().map(drop)),
];

impl Identity {
    /// Reads the claims from `document`, a JSON object, and applies every rule. Times in a signed
    /// token are numbers; tokeninfo may write any value as a string.
    ///
    /// # Errors
    /// [`Rejection::Unreadable`] if the document is not an object, or if `iss`, `sub`, `aud`, `iat`
    /// or `exp` is absent or null. [`Rejection::Invalid`] if a value breaks a rule or a field is
    /// repeated.
    pub fn verify(
        document: &[u8],
        by: VerifiedBy,
        expected: &Expected,
    ) -> Result<Identity, Rejection> {
        let claims = RawClaims::parse(document, by)?;
        RULES.iter().try_for_each(|(_, rule)| rule(&claims, expected))?;
        claims.read().map(Identity)
    }

    /// The verified claims.
    pub fn claims(&self) -> &Claims {
        &self.0
    }

    /// Applies every rule even after a failure, and returns the claims if they can be read. The
    /// result proves nothing.
    pub fn explain(
        document: &[u8],
        by: VerifiedBy,
        expected: &Expected,
    ) -> (Vec<RuleVerdict>, Option<Claims>) {
        let claims = match RawClaims::parse(document, by) {
            Ok(claims) => claims,
            Err(rejection) => {
                let unread = RuleVerdict { rule: RULES[0].0, claim: None, verdict: Err(rejection) };
                return (vec![unread], None);
            }
        };
        let finding = |&(name, rule): &(_, Rule)| RuleVerdict {
            rule: name,
            claim: claims.shown(name),
            verdict: rule(&claims, expected),
        };
        (RULES.iter().map(finding).collect(), claims.read().ok())
    }
}

fn complete(claims: &RawClaims, _: &Expected) -> Result<(), Rejection> {
    let required = ["iss", "aud", "sub", "iat", "exp"];
    let present = required.iter().all(|name| claims.value(name).is_some());
    if present { Ok(()) } else { Err(ABSENT) }
}

/// A token with `events` is a security event token (RFC 8417, section 2.2). Google signs those with
/// the same keys.
fn no_event(claims: &RawClaims, _: &Expected) -> Result<(), Rejection> {
    let is_event = claims.fields.first("events").is_some();
    if is_event { Err(Invalid("this is a security event, not an ID token")) } else { Ok(()) }
}

fn issuer(claims: &RawClaims, _: &Expected) -> Result<(), Rejection> {
    let known = ISSUERS.contains(&claims.required_text("iss")?.as_str());
    if known { Ok(()) } else { Err(Invalid("the token was not issued by Google")) }
}

fn audience(claims: &RawClaims, expected: &Expected) -> Result<(), Rejection> {
    if !expected.audiences.contains(&claims.required_text("aud")?) {
        return Err(Invalid(
            "the token was issued for another app (its aud is not a client ID of this server)",
        ));
    }
    Ok(())
}

fn expiry(claims: &RawClaims, expected: &Expected) -> Result<(), Rejection> {
    let expires_at = claims.seconds("exp")?.ok_or(ABSENT)?;
    if expires_at <= expected.now {
        return Err(Invalid("the token has expired"));
    }
    if expires_at.saturating_sub(expected.now) > EXPIRY_SECONDS_MAX {
        return Err(Invalid(
            "the token expires more than a day ahead (is this server's clock right?)",
        ));
    }
    Ok(())
}

fn issued_at(claims: &RawClaims, expected: &Expected) -> Result<(), Rejection> {
    let issued_at = claims.seconds("iat")?.ok_or(ABSENT)?;
    if issued_at == 0 {
        return Err(Invalid("the token's iat is 0"));
    }
    if is_too_far_ahead(issued_at, expected.now) {
        return Err(Invalid("the token was issued in the future (is this server's clock right?)"));
    }
    Ok(())
}

fn not_before(claims: &RawClaims, expected: &Expected) -> Result<(), Rejection> {
    if claims.seconds("nbf")?.is_some_and(|from| is_too_far_ahead(from, expected.now)) {
        return Err(Invalid("the token is not valid yet (is this server's clock right?)"));
    }
    Ok(())
}

fn is_too_far_ahead(at: i64, now: i64) -> bool {
    at.saturating_sub(now) > CLOCK_SKEW_SECONDS_MAX
}

fn subject(claims: &RawClaims, _: &Expected) -> Result<(), Rejection> {
    let subject = claims.required_text("sub")?;
    if subject.len() > SUBJECT_BYTES_MAX || !subject.bytes().all(|byte| matches!(byte, b' '..=b'~'))
    {
        return Err(Invalid("the token's sub is not 1 to 255 ASCII characters"));
    }
    Ok(())
}

fn nonce(claims: &RawClaims, expected: &Expected) -> Result<(), Rejection> {
    match (expected.nonce, claims.text("nonce")?) {
        (None, None) => Ok(()),
        (Some(expected), Some(claimed)) if expected == claimed => Ok(()),
        _ => Err(Invalid("nonce and the token's nonce must be equal, or both absent")),
    }
}

impl Claims {
    /// Whether this is a service account.
    ///
    /// Google gives those tokens with an audience of their own choosing, so their `aud` proves
    /// nothing. They have an address at gserviceaccount.com, or an `azp` that is such an address or
    /// all digits.
    pub fn is_service_account(&self) -> bool {
        let program = |address: &str| address.to_ascii_lowercase().ends_with("gserviceaccount.com");
        let numeric = |azp: &str| azp.bytes().all(|byte| byte.is_ascii_digit());
        self.profile.email.as_deref().is_some_and(program)
            || self.authorized_party.as_deref().is_some_and(|azp| program(azp) || numeric(azp))
    }
}

const ABSENT: Rejection = Unreadable("the answer lacks iss, sub, aud, iat or exp");
const WRONG_TYPE: Rejection = Invalid("a claim of the token is empty or has the wrong type");

/// Claims by name. Absent and null are the same; an empty value is wrong.
struct RawClaims {
    fields: Fields,
    by: VerifiedBy,
}

impl RawClaims {
    fn parse(document: &[u8], by: VerifiedBy) -> Result<RawClaims, Rejection> {
        let fields =
            Fields::parse(document).map_err(|_| Unreadable("the answer is not a JSON object"))?;
        if fields.has_duplicates() {
            return Err(Invalid("the token's claims repeat a field"));
        }
        Ok(RawClaims { fields, by })
    }

    fn read(&self) -> Result<Claims, Rejection> {
        let email = self.text("email")?;
        let email_verified = self.boolean("email_verified")?;
        let hosted_domain = self.text("hd")?;
        let authority =
            |email: &String| is_authoritative(email, email_verified, hosted_domain.as_deref());
        Ok(Claims {
            profile: Profile {
                email_authoritative: email.as_ref().is_some_and(authority),
                subject: self.required_text("sub")?,
                email,
                email_verified,
                name: self.text("name")?,
                given_name: self.text("given_name")?,
                family_name: self.text("family_name")?,
                picture: self.text("picture")?,
                hosted_domain,
                locale: self.text("locale")?,
            },
            authorized_party: self.text("azp")?,
            audience: self.required_text("aud")?,
            expires_at: self.seconds("exp")?.ok_or(ABSENT)?,
        })
    }

    fn shown(&self, name: &str) -> Option<String> {
        self.value(name)
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.fields.first(name).filter(|value| !value.is_null())
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

    /// RFC 7519, section 2: a time in a token is a number. Only tokeninfo writes it as a string.
    fn seconds(&self, name: &str) -> Result<Option<i64>, Rejection> {
        let seconds = match (self.value(name), self.by) {
            (None, _) => return Ok(None),
            (Some(Value::Number(number)), _) => number.as_i64(),
            (Some(Value::String(text)), VerifiedBy::Tokeninfo)
                if text.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                text.parse().ok()
            }
            _ => None,
        };
        seconds.filter(|seconds| *seconds >= 0).map(Some).ok_or(WRONG_TYPE)
    }
}
