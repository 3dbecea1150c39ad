//! Reads a token that Google signed as a JWS in compact form (RFC 7515, section 7.1).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::jwks::RsaKey;
use crate::json::Fields;

/// The parts of a token. The payload is accessible only through a key that has signed it.
pub struct Jws<'a> {
    kid: String,
    signed: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// Parses a token that names its key, is signed with RS256, and has one of those types in its
    /// header (`typ`) or none.
    ///
    /// Keys that the token carries or points to (`jwk`, `jku`, `x5c`, `x5u`) are ignored: RFC 8725
    /// says why neither they nor `alg` may be the sender's choice.
    ///
    /// # Errors
    /// One sentence for the client that says what is wrong with the token.
    pub fn parse(token: &'a str, types: &[&str]) -> Result<Jws<'a>, &'static str> {
        let (signed, signature) = token.rsplit_once('.').ok_or(NOT_A_JWS)?;
        let (header, payload) = signed.split_once('.').ok_or(NOT_A_JWS)?;
        // No padding and no stray bits are accepted, and so no dot in any of the three.
        let decode = |segment| URL_SAFE_NO_PAD.decode(segment).map_err(|_| NOT_A_JWS);
        let header = Fields::parse(&decode(header)?).map_err(|_| NOT_A_JWS)?;
        if header.has_duplicates() {
            return Err("the token's header repeats a field");
        }
        let text = |name| header.first(name).and_then(Value::as_str);
        if text("alg") != Some("RS256") {
            return Err("the token is not signed with RS256");
        }
        if header.first("crit").is_some() {
            return Err("the token's header has crit, which Google's tokens never have");
        }
        // Google signs ID tokens and security event tokens with the same keys.
        if header.first("typ").is_some_and(|typ| !types.iter().any(|known| typ == known)) {
            return Err("the token's typ is not that of such a token");
        }
        let kid = text("kid")
            .ok_or("the token does not name the key it is signed with (kid)")?
            .to_owned();
        Ok(Jws { kid, signed, payload: decode(payload)?, signature: decode(signature)? })
    }

    /// The `kid` of the key that the token claims to be signed with.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The payload, if the key has signed it.
    pub fn payload(self, key: &RsaKey) -> Option<Vec<u8>> {
        key.has_signed(self.signed.as_bytes(), &self.signature).then_some(self.payload)
    }
}

const NOT_A_JWS: &str =
    "the token is not three segments of base64url that begin with a JSON object";
