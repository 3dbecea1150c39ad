//! RSA keys in the place of Google's, tokens signed with them, and their published forms.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hallpass::json::Fields;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::test_app::claims;

/// The key that Google signs with, and its successor.
pub static FIRST: LazyLock<Signer> =
    LazyLock::new(|| Signer::new("first", include_bytes!("rsa/first.pem")));
pub static SECOND: LazyLock<Signer> =
    LazyLock::new(|| Signer::new("second", include_bytes!("rsa/second.pem")));

pub struct Signer {
    kid: &'static str,
    pair: RsaKeyPair,
}

impl Signer {
    fn new(kid: &'static str, pem: &[u8]) -> Signer {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).unwrap();
        Signer { kid, pair: RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap() }
    }

    /// A token of the usual claims with those changes.
    pub fn token(&self, changes: Value) -> String {
        self.sign(&self.header(), &claims(changes).to_string())
    }

    pub fn header(&self) -> Value {
        json!({"alg": "RS256", "kid": self.kid, "typ": "JWT"})
    }

    /// A validly signed token with any header and payload.
    pub fn sign(&self, header: &Value, payload: &str) -> String {
        self.sign_segments(&format!("{}.{}", segment(&header.to_string()), segment(payload)))
    }

    pub fn sign_segments(&self, signed: &str) -> String {
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Header and claims of a token that this key has signed.
    pub fn read(&self, token: &str) -> Option<(Value, Value)> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |segment| URL_SAFE_NO_PAD.decode(segment).ok();
        let key =
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.pair.public_key().as_ref());
        key.verify(signed.as_bytes(), &decode(signature)?).ok()?;
        let json = |segment| serde_json::from_slice(&decode(segment)?).ok();
        Some((json(header)?, json(claims)?))
    }

    /// The public key as a JWK.
    pub fn jwk(&self) -> Value {
        let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(self.pair.public());
        let (n, e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
        json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": n, "e": e})
    }

    /// What tokeninfo does: returns the claims of a token if this key signed it, Google issued it,
    /// and it has not expired at `now`. That Google refuses a token without `sub`, `aud` or `iat`
    /// is an assumption.
    pub fn judge(&self, token: &str, now: i64) -> Option<Fields> {
        let [header, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().ok()?;
        let decode = |segment| URL_SAFE_NO_PAD.decode(segment).ok();
        let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
        if header["alg"] != "RS256" || header["kid"] != self.kid || !header["crit"].is_null() {
            return None;
        }
        let signed = &token[..token.rfind('.')?];
        let key =
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.pair.public_key().as_ref());
        key.verify(signed.as_bytes(), &decode(signature)?).ok()?;
        let claims = Fields::parse(&decode(payload)?).ok()?;
        let issuer = claims.first("iss")?.as_str()?;
        let expires_at = claims.first("exp")?;
        let expires_at = expires_at.as_f64().or_else(|| expires_at.as_str()?.parse().ok())?;
        let is_complete = ["sub", "aud", "iat"]
            .iter()
            .all(|name| claims.first(name).is_some_and(|value| !value.is_null()));
        let google = ["https://accounts.google.com", "accounts.google.com"].contains(&issuer);
        (google && is_complete && expires_at > now as f64).then_some(claims)
    }
}

pub fn segment(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// A JWK set of those keys.
pub fn jwk_set(keys: &[Value]) -> String {
    json!({"keys": keys}).to_string()
}

/// A key of 1024 bits. `WEAK_TOKEN` has the usual claims, signed with it.
pub fn weak_jwk() -> Value {
    json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "weak", "n": include_str!("rsa/weak.modulus"), "e": "AQAB"})
}

pub const WEAK_TOKEN: &str = include_str!("rsa/weak.token");

/// Certificates as the older endpoint publishes them: of the first key, of 1024 bits, of an
/// elliptic curve, and of a key for another kind of RSA signature (PSS).
pub const FIRST_CERTIFICATE: &str = include_str!("rsa/first.crt");
pub const WEAK_CERTIFICATE: &str = include_str!("rsa/weak.crt");
pub const ELLIPTIC_CERTIFICATE: &str = include_str!("rsa/elliptic.crt");
pub const PSS_CERTIFICATE: &str = include_str!("rsa/pss.crt");
