//! The two kinds of token, and the hash that stands for either at rest. None of them shows itself in a log.

use std::fmt;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use ring::rand::{SecureRandom, SystemRandom};

use crate::json::Fields;

/// Real ID tokens are about 1.3 kB; a longer one than this is not sent anywhere.
pub const ID_TOKEN_BYTES_MAX: usize = 8192;

/// What every session token begins with, so that people and scanners know one when they see it.
const SESSION_PREFIX: &str = "hp_";
const SESSION_BYTES: usize = 32;
/// So many characters of base64url hold them.
const SESSION_CHARACTERS: usize = 43;

/// Base64url that takes any value of the last character's unused bits.
const ANY_SPELLING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// A Google ID token of possible shape: characters of base64url and dots, at most [`ID_TOKEN_BYTES_MAX`].
#[derive(Clone, PartialEq, Eq)]
pub struct IdToken(String);

impl IdToken {
    /// Takes a token of possible shape. One of our own session tokens is not: it must never leave for Google.
    pub fn parse(text: &str) -> Option<IdToken> {
        let possible =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let shape =
            !text.is_empty() && text.len() <= ID_TOKEN_BYTES_MAX && text.bytes().all(possible);
        (shape && !text.starts_with(SESSION_PREFIX)).then(|| IdToken(text.to_owned()))
    }

    /// Takes a bearer token that says, unverified, that Google issued it. Anything else belongs to somebody else.
    pub fn from_bearer(text: &str) -> Option<IdToken> {
        let token = IdToken::parse(text)?;
        let claims = Fields::parse(&token.payload()?).ok()?;
        let issuer = claims.first("iss")?.as_str()?;
        crate::google::ISSUERS.contains(&issuer).then_some(token)
    }

    /// What the token says of itself, unverified; none if it is not of three segments (RFC 7515, 3.1).
    pub fn payload(&self) -> Option<Vec<u8>> {
        let mut segments = self.0.split('.');
        let (_header, payload, _signature) = (segments.next()?, segments.next()?, segments.next()?);
        if segments.next().is_some() {
            return None;
        }
        URL_SAFE_NO_PAD.decode(payload).ok()
    }

    /// The token itself, for the one call to Google.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The hash of this very spelling, for memory.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }

    /// The hash that stands for it at rest: of `header.payload`, which Google has signed. One token has several
    /// spellings, because the last character of a signature has bits that count for nothing. It proves nothing by
    /// itself: [`IdToken::session_id`] tells whether the signature is the one that was verified.
    pub fn signed_hash(&self) -> TokenHash {
        TokenHash::of(self.signed_and_signature().0)
    }

    /// The public name of its session: a hash of what is signed and the signature, the same for all spellings.
    pub fn session_id(&self) -> String {
        let (signed, signature) = self.signed_and_signature();
        let mut whole = format!("{signed}.").into_bytes();
        whole.extend(ANY_SPELLING.decode(signature).unwrap_or_else(|_| signature.into()));
        // Like a random name, it does not begin with a hyphen.
        format!("i{}", &fingerprint(&whole)[1..])
    }

    fn signed_and_signature(&self) -> (&str, &str) {
        self.0.rsplit_once('.').unwrap_or((&self.0, ""))
    }
}

/// What somebody gave as an ID token, whatever it is.
#[derive(Clone, PartialEq, Eq)]
pub struct PastedToken(String);

impl PastedToken {
    /// The text, without white space around it.
    pub fn expose(&self) -> &str {
        self.0.trim()
    }
}

impl From<String> for PastedToken {
    fn from(text: String) -> PastedToken {
        PastedToken(text)
    }
}

/// A session token: `hp_` and 256 random bits in base64url.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken(String);

impl SessionToken {
    /// A fresh one.
    pub fn generate() -> SessionToken {
        SessionToken(format!("{SESSION_PREFIX}{}", random_text::<SESSION_BYTES>()))
    }

    /// Takes a token of our shape; only the store knows whether there is such a session.
    pub fn parse(text: &str) -> Option<SessionToken> {
        let random = text.strip_prefix(SESSION_PREFIX)?;
        let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (random.len() == SESSION_CHARACTERS && random.bytes().all(is_base64url))
            .then(|| SessionToken(text.to_owned()))
    }

    /// Whether somebody means it as one of ours. If it cannot be one, it is a bad one, and nothing of anybody else's.
    pub fn has_prefix(text: &str) -> bool {
        text.starts_with(SESSION_PREFIX)
    }

    /// The token itself, for the answer to sign-in and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The hash that stands for it at rest.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

/// The SHA-256 of a token. With 256 random bits behind it, it needs no salt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    fn of(token: &str) -> TokenHash {
        let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
        TokenHash(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A short name for a text that it does not reveal: 96 bits of its SHA-256 in base64url.
pub fn fingerprint(text: impl AsRef<[u8]>) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_ref());
    URL_SAFE_NO_PAD.encode(&digest.as_ref()[..12])
}

/// `BYTES` random bytes from the operating system, in base64url.
pub fn random_text<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).expect("the operating system has random bytes");
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A public name of 16 characters that says nothing. It begins with no hyphen: on a command line, that is a flag.
pub fn random_name() -> String {
    loop {
        let name = random_text::<12>();
        if !name.starts_with('-') {
            return name;
        }
    }
}

macro_rules! redacted {
    ($($secret:ty => $shown:literal),*) => {$(
        impl fmt::Debug for $secret {
            fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str($shown)
            }
        }
    )*};
}
redacted!(IdToken => "IdToken(..)", PastedToken => "PastedToken(..)", SessionToken => "SessionToken(..)", TokenHash => "TokenHash(..)");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_flag() {
        // One in 64 would be; so many miss it about once in 10^68.
        assert!(
            (0..10_000)
                .map(|_| random_name())
                .all(|name| name.len() == 16 && !name.starts_with('-'))
        );
    }
}
