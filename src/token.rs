//! ID tokens, session tokens, and the hash stored in place of either. None of them can be logged.

use std::fmt;

use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use ring::rand::{SecureRandom, SystemRandom};

use crate::json::Fields;

/// The two spellings of Google's name in `iss`.
pub const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];

/// Real ID tokens are about 1.3 kB. Longer ones than this are never sent anywhere.
pub const ID_TOKEN_BYTES_MAX: usize = 8192;

/// Every session token begins with this, so people and scanners recognise one.
const SESSION_PREFIX: &str = "hp_";
const SESSION_BYTES: usize = 32;
/// The length of `SESSION_BYTES` in base64url.
const SESSION_CHARACTERS: usize = 43;

/// The longest name of a token for a program.
pub const TOKEN_NAME_CHARACTERS_MAX: usize = 100;

/// Base64url that ignores the unused bits of the last character.
const ANY_SPELLING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// A possible Google ID token: characters of base64url and dots, at most [`ID_TOKEN_BYTES_MAX`].
#[derive(Clone, PartialEq, Eq)]
pub struct IdToken(String);

impl IdToken {
    /// Accepts any possible ID token. A session token of ours is not one: it must never be sent to
    /// Google.
    pub fn parse(text: &str) -> Option<IdToken> {
        let possible =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let shape =
            !text.is_empty() && text.len() <= ID_TOKEN_BYTES_MAX && text.bytes().all(possible);
        (shape && !text.starts_with(SESSION_PREFIX)).then(|| IdToken(text.to_owned()))
    }

    /// Accepts a bearer token whose unverified `iss` is Google. Any other belongs to the app behind
    /// the proxy.
    pub fn from_bearer(text: &str) -> Option<IdToken> {
        let token = IdToken::parse(text)?;
        let claims = Fields::parse(&token.payload()?).ok()?;
        let issuer = claims.first("iss")?.as_str()?;
        ISSUERS.contains(&issuer).then_some(token)
    }

    /// The unverified payload. `None` unless the token has three segments (RFC 7515, section 3.1).
    pub fn payload(&self) -> Option<Vec<u8>> {
        let mut segments = self.0.split('.');
        let (_header, payload, _signature) = (segments.next()?, segments.next()?, segments.next()?);
        if segments.next().is_some() {
            return None;
        }
        URL_SAFE_NO_PAD.decode(payload).ok()
    }

    /// The token itself, for the call to Google only.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The hash of exactly this spelling, for use in memory.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }

    /// The hash to store: that of `header.payload`, which Google has signed.
    ///
    /// A token has several spellings, because some bits of the last character of its signature are
    /// unused. The hash proves nothing by itself: [`IdToken::session_id`] tells whether the
    /// signature is the one that was verified.
    pub fn signed_hash(&self) -> TokenHash {
        TokenHash::of(self.signed_and_signature().0)
    }

    /// The public ID of the token's session: a hash of the signed part and the signature, the same
    /// for all spellings.
    pub fn session_id(&self) -> String {
        let (signed, signature) = self.signed_and_signature();
        let mut whole = format!("{signed}.").into_bytes();
        whole.extend(ANY_SPELLING.decode(signature).unwrap_or_else(|_| signature.into()));
        // Like a random name, it must not begin with a hyphen.
        format!("i{}", &fingerprint(&whole)[1..])
    }

    fn signed_and_signature(&self) -> (&str, &str) {
        self.0.rsplit_once('.').unwrap_or((&self.0, ""))
    }
}

/// Pasted input that may be an ID token.
#[derive(Clone, PartialEq, Eq)]
pub struct PastedToken(String);

impl PastedToken {
    /// The text without surrounding white space.
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
    /// Generates a random token.
    pub fn generate() -> SessionToken {
        SessionToken(format!("{SESSION_PREFIX}{}", random_text::<SESSION_BYTES>()))
    }

    /// Accepts any text with the shape of our tokens. Only the store knows whether its session
    /// exists.
    pub fn parse(text: &str) -> Option<SessionToken> {
        let random = text.strip_prefix(SESSION_PREFIX)?;
        let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (random.len() == SESSION_CHARACTERS && random.bytes().all(is_base64url))
            .then(|| SessionToken(text.to_owned()))
    }

    /// Accepts Basic credentials whose password has the shape of our tokens, whatever the user
    /// name. Any others belong to the app behind the proxy. The files in deploy/ recognise in
    /// base64 what is accepted here, so only the one usual spelling is.
    pub fn from_basic(credentials: &str) -> Option<SessionToken> {
        let decoded = STANDARD.decode(credentials).ok()?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        SessionToken::parse(std::str::from_utf8(&decoded[colon + 1..]).ok()?)
    }

    /// Whether the text is meant as one of our tokens. If it is not one, it is an invalid one of
    /// ours, not another app's.
    pub fn has_prefix(text: &str) -> bool {
        text.starts_with(SESSION_PREFIX)
    }

    /// The token itself, for the response to sign-in only.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The hash to store.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

/// The name of a token for a program: 1 to 100 characters, none of them a control character,
/// without white space at either end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenName(String);

impl TokenName {
    /// Accepts any possible name.
    pub fn parse(text: &str) -> Option<TokenName> {
        let name = text.trim();
        let possible = (1..=TOKEN_NAME_CHARACTERS_MAX).contains(&name.chars().count());
        (possible && !name.contains(char::is_control)).then(|| TokenName(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The SHA-256 of a token. A token has 256 random bits, so the hash needs no salt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    fn of(token: &str) -> TokenHash {
        TokenHash(sha256(token))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A short name that does not reveal the text: 96 bits of its SHA-256 in base64url.
pub fn fingerprint(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(&sha256(text)[..12])
}

/// The SHA-256 of the text.
pub fn sha256(text: impl AsRef<[u8]>) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_ref());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// `BYTES` random bytes from the operating system, in base64url.
pub fn random_text<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).expect("the operating system has random bytes");
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A random public name of 16 characters. It never begins with a hyphen, because on a command line
/// that would be a flag.
pub fn random_name() -> String {
    loop {
        let name = random_text::<12>();
        if !name.starts_with('-') {
            return name;
        }
    }
}

/// Whether the text could be from [`random_name`].
pub fn is_random_name(text: &str) -> bool {
    let is_character = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.len() == 16 && text.bytes().all(is_character) && !text.starts_with('-')
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
        // One in 64 would begin with one. The chance that all of these do not is 1 in 10^68.
        assert!(
            (0..10_000)
                .map(|_| random_name())
                .all(|name| name.len() == 16 && !name.starts_with('-'))
        );
    }
}
