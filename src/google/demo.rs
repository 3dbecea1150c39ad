//! A stand-in for Google in the demo, with invented people and a tokeninfo that knows only its own
//! tokens.
//!
//! It answers over real HTTP as Google's endpoint does. The server in front of it is the same as
//! with Google.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use serde_json::{Map, Value, json};

use crate::profile::{Profile, is_authoritative};
use crate::token::{ISSUERS, IdToken};

/// The client ID of the demo's tokens.
pub const CLIENT_ID: &str = "demo.apps.googleusercontent.com";
/// The Workspace domains that the demo allows by default.
pub const DOMAINS: [&str; 2] = ["example.com", "example.org"];
/// Google's tokens live for an hour.
const TOKEN_SECONDS: i64 = 3600;

/// An invented person.
pub struct Person {
    /// The `sub` claim.
    pub subject: &'static str,
    /// The first name, shown before the family name.
    pub given_name: &'static str,
    /// The family name.
    pub family_name: &'static str,
    /// The e-mail.
    pub email: &'static str,
    /// The Workspace domain, for a Workspace account.
    pub hosted_domain: Option<&'static str>,
}

/// The people you can sign in as. The last has a private account that the demo does not allow by
/// default.
pub const PEOPLE: [Person; 5] = [
    person("100000000000000000001", "Mira", "Okafor", "mira@example.com", Some("example.com")),
    person("100000000000000000002", "Jonas", "Lindqvist", "jonas@example.com", Some("example.com")),
    person("100000000000000000003", "Sofía", "Núñez", "sofia@example.org", Some("example.org")),
    person("100000000000000000004", "Tariq", "Haddad", "tariq@example.org", Some("example.org")),
    person("100000000000000000005", "Pat", "Outsider", "pat.outsider@example.org", None),
];

/// An invented person.
pub const fn person(
    subject: &'static str,
    given_name: &'static str,
    family_name: &'static str,
    email: &'static str,
    hosted_domain: Option<&'static str>,
) -> Person {
    Person { subject, given_name, family_name, email, hosted_domain }
}

impl Person {
    /// The profile in their tokens.
    pub fn profile(&self) -> Profile {
        let text = |text: &str| Some(text.to_owned());
        Profile {
            subject: self.subject.to_owned(),
            email: text(self.email),
            email_verified: Some(true),
            email_authoritative: is_authoritative(self.email, Some(true), self.hosted_domain),
            name: Some(format!("{} {}", self.given_name, self.family_name)),
            given_name: text(self.given_name),
            family_name: text(self.family_name),
            picture: None,
            hosted_domain: self.hosted_domain.map(str::to_owned),
            locale: text("en"),
        }
    }
}

/// The stand-in. Its key is generated at start, so tokens from another run are invalid.
pub struct DemoGoogle(hmac::Key);

impl DemoGoogle {
    /// Creates a stand-in with a new key.
    pub fn start() -> DemoGoogle {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        DemoGoogle(key.expect("the operating system has random bytes"))
    }

    /// A token for that person, valid for an hour from `now` (unix seconds).
    pub fn issue(&self, person: &Person, now: i64) -> IdToken {
        let mut claims = json!({
            "iss": ISSUERS[0], "azp": CLIENT_ID, "aud": CLIENT_ID, "sub": person.subject,
            "email": person.email, "email_verified": true,
            "name": format!("{} {}", person.given_name, person.family_name),
            "given_name": person.given_name, "family_name": person.family_name, "locale": "en",
            "iat": now, "exp": now + TOKEN_SECONDS,
        });
        if let Some(domain) = person.hosted_domain {
            claims["hd"] = domain.into();
        }
        let segment = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!(
            "{}.{}",
            segment(&json!({"alg": "HS256", "kid": "demo", "typ": "JWT"})),
            segment(&claims)
        );
        let signature = hmac::sign(&self.0, signed.as_bytes());
        IdToken::parse(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
            .expect("base64url and dots")
    }

    /// Tokeninfo's answer to a query string: a status and a JSON document. As with Google, every
    /// value is a string.
    pub fn tokeninfo(&self, query: &str, now: i64) -> (u16, String) {
        let token =
            url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "id_token");
        match token.and_then(|(_, token)| self.claims(&token, now)) {
            Some(claims) => (200, Value::from(claims).to_string()),
            None => (
                400,
                json!({"error": "invalid_token", "error_description": "Invalid Value"}).to_string(),
            ),
        }
    }

    fn claims(&self, token: &str, now: i64) -> Option<Map<String, Value>> {
        let (signed, signature) = token.rsplit_once('.')?;
        hmac::verify(&self.0, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        let payload = URL_SAFE_NO_PAD.decode(signed.split_once('.')?.1).ok()?;
        let claims: Map<String, Value> = serde_json::from_slice(&payload).ok()?;
        let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let live = claims.get("exp")?.as_i64()? > now;
        live.then(|| claims.into_iter().map(|(name, value)| (name, text(value).into())).collect())
    }
}
