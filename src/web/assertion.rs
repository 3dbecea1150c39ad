//! The signed identity: a short-lived JWT for one app, and the public keys that verify it.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quick_cache::Equivalent;
use quick_cache::sync::Cache;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde::Serialize;
use serde_json::{Value, json};
use url::Url;

use super::app::App;
use super::error::Error;
use super::return_to::first_forwarded;
use crate::http::{Request, Response};
use crate::store::{
    AssertionKeys, Authenticated, KEY_OVERLAP_SECONDS, NewAssertionKey, PrivateKey, Store,
    StoreError, User,
};
use crate::token::fingerprint;

/// The header of a check's answer that carries the assertion.
pub const ASSERTION_HEADER: &str = "X-Hallpass-Assertion";

/// How long an assertion is valid.
const VALID_SECONDS: i64 = 5 * 60;
/// How long one signature serves the checks of a session at an app.
const REUSED_SECONDS: i64 = 2 * 60;
/// How long verifiers may keep the public keys.
const JWKS_SECONDS: i64 = 60 * 60;
/// A key is published long enough before and after it signs.
const _: () = assert!(JWKS_SECONDS + VALID_SECONDS + REUSED_SECONDS < KEY_OVERLAP_SECONDS);
/// Keys that were not read for this long may have been replaced by another process. A thread reads
/// them every minute, so this only happens if the process was suspended.
const KEYS_SECONDS_MAX: i64 = 10 * 60;
/// About 100 MB, at 1.5 kB for a long assertion. Beyond it, some are signed more often.
const SIGNED_MAX: usize = 64 * 1024;
/// RFC 1035, section 2.3.4, and a port. Longer names do not exist, and would fill the cache.
const HOST_BYTES_MAX: usize = 253 + 6;

/// Signs the identities of a server.
pub struct Assertions {
    issuer: String,
    keys: RwLock<Option<Arc<SigningKeys>>>,
    signed: Cache<Place, Signed>,
    random: SystemRandom,
}

/// The keys of the database, ready for use. It has no Debug, so no key can be logged.
struct SigningKeys {
    stored: AssertionKeys,
    pairs: Vec<SigningKey>,
    read_at: i64,
}

struct SigningKey {
    kid: String,
    pair: EcdsaKeyPair,
}

/// A session at an app, as its proxy names it.
#[derive(PartialEq, Eq, Hash)]
struct Place {
    session_id: String,
    scheme: String,
    host: String,
}

/// The same without copies, to look one up.
#[derive(Hash)]
struct PlaceRef<'a> {
    session_id: &'a str,
    scheme: &'a str,
    host: &'a str,
}

impl Equivalent<Place> for PlaceRef<'_> {
    fn equivalent(&self, place: &Place) -> bool {
        self.session_id == place.session_id
            && self.scheme == place.scheme
            && self.host == place.host
    }
}

#[derive(Clone)]
struct Signed {
    at: i64,
    assertion: Arc<str>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    iat: i64,
    exp: i64,
}

/// GET /auth/jwks: the public keys (RFC 7517), with --assertion only.
///
/// # Errors
/// 503 if the store cannot answer.
pub fn jwks(app: &App, _request: &Request, now: i64) -> Result<Response, Error> {
    let assertions = app.assertions.as_ref().ok_or(Error::NotFound)?;
    let keys = assertions.keys(&app.store, now)?;
    let keys: Vec<Value> = keys.pairs.iter().map(SigningKey::jwk).collect();
    Ok(Response::json(200, &json!({ "keys": keys }))
        .with("Cache-Control", format!("public, max-age={JWKS_SECONDS}")))
}

impl App {
    /// Reads the keys again, after a rotation if one is due. It waits for the database.
    ///
    /// # Errors
    /// If there are no keys and none can be stored, or they cannot be read.
    pub fn refresh_assertion_keys(&self, now: i64) -> Result<(), StoreError> {
        let assertions = self.assertions.as_ref();
        assertions.map_or(Ok(()), |it| it.refresh(&self.store, now).map(drop))
    }

    /// Frees the memory of assertions that are not used again.
    pub fn prune_assertions(&self, now: i64) {
        if let Some(assertions) = &self.assertions {
            assertions.signed.retain(|_, signed| signed.is_current(now));
        }
    }

    /// The times from which the current key and the next one sign.
    pub(super) fn assertion_key_times(&self, now: i64) -> Result<Option<Value>, Error> {
        let Some(assertions) = &self.assertions else { return Ok(None) };
        let keys = assertions.keys(&self.store, now)?;
        let since = keys.stored.current(now).map(|key| key.signs_from);
        let next = keys.stored.next(now).map(|key| key.signs_from);
        Ok(Some(json!({"key_since": since, "next_key_at": next})))
    }

    /// Whether the answer to a check needs nothing from the database for its assertion.
    pub(super) fn can_assert(&self, now: i64) -> bool {
        self.assertions.as_ref().is_none_or(|assertions| assertions.known_keys(now).is_some())
    }

    /// The assertion for the app that a trusted proxy asks about. Empty if the proxy does not name
    /// the app; `None` without --assertion.
    ///
    /// # Errors
    /// If the keys must be read, and the store cannot answer.
    pub(super) fn assertion(
        &self,
        request: &Request,
        caller: &Authenticated,
        now: i64,
    ) -> Result<Option<String>, Error> {
        let Some(assertions) = &self.assertions else { return Ok(None) };
        if !self.settings.trusted_proxies.trusts(request.peer) {
            return Ok(Some(String::new()));
        }
        let (scheme, host) = (
            first_forwarded(request, "X-Forwarded-Proto"),
            first_forwarded(request, "X-Forwarded-Host"),
        );
        let Some((scheme, host)) = scheme.zip(host) else { return Ok(Some(String::new())) };
        let place = PlaceRef { session_id: &caller.session.id, scheme, host };
        if let Some(signed) = assertions.signed.get(&place).filter(|it| it.is_current(now)) {
            return Ok(Some(signed.assertion.as_ref().to_owned()));
        }
        let Some(audience) = origin(scheme, host) else { return Ok(Some(String::new())) };
        let keys = assertions.keys(&self.store, now)?;
        let assertion = assertions.sign(&keys, &audience, &caller.user, now)?;
        let place = Place {
            session_id: caller.session.id.clone(),
            scheme: scheme.to_owned(),
            host: host.to_owned(),
        };
        assertions.signed.insert(place, Signed { at: now, assertion: assertion.as_str().into() });
        Ok(Some(assertion))
    }
}

impl Assertions {
    /// Without keys as yet.
    pub fn new(issuer: String) -> Assertions {
        Assertions {
            issuer,
            keys: RwLock::default(),
            signed: Cache::new(SIGNED_MAX),
            random: SystemRandom::new(),
        }
    }

    /// The keys, if they were read lately.
    fn known_keys(&self, now: i64) -> Option<Arc<SigningKeys>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        keys.filter(|keys| now.abs_diff(keys.read_at) < KEYS_SECONDS_MAX.unsigned_abs())
    }

    fn keys(&self, store: &Store, now: i64) -> Result<Arc<SigningKeys>, StoreError> {
        self.known_keys(now).map_or_else(|| self.refresh(store, now), Ok)
    }

    fn refresh(&self, store: &Store, now: i64) -> Result<Arc<SigningKeys>, StoreError> {
        let mut stored = store.assertion_keys()?;
        if stored.are_due(now) {
            let new = [SigningKey::generate(&self.random), SigningKey::generate(&self.random)];
            match store.rotate_assertion_keys(new, now) {
                Ok(rotated) => stored = rotated,
                Err(error) if stored.is_empty() => return Err(error),
                Err(error) => log::warn!("the keys of assertions are not rotated yet: {error}"),
            }
        }
        let parse = |key: &NewAssertionKey| SigningKey::parse(key, &self.random);
        let pairs = stored.iter().map(|key| parse(&key.key)).collect::<Result<_, _>>()?;
        let keys = Arc::new(SigningKeys { stored, pairs, read_at: now });
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(keys.clone());
        Ok(keys)
    }

    fn sign(
        &self,
        keys: &SigningKeys,
        audience: &str,
        user: &User,
        now: i64,
    ) -> Result<String, Error> {
        let current = keys.stored.current(now).map(|key| &key.key.kid);
        let key = keys.pairs.iter().find(|key| Some(&key.kid) == current);
        let key = key.ok_or_else(|| Error::unavailable("there is no key for assertions"))?;
        let profile = &user.profile;
        let claims = Claims {
            iss: &self.issuer,
            aud: audience,
            sub: &profile.subject,
            email: profile.authoritative_email(),
            name: profile.name.as_deref(),
            username: user.username.as_deref(),
            iat: now,
            exp: now + VALID_SECONDS,
        };
        let header = json!({"alg": "ES256", "kid": key.kid, "typ": "JWT"}).to_string();
        let claims = serde_json::to_string(&claims).expect("texts and numbers are JSON");
        let mut token = URL_SAFE_NO_PAD.encode(header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = key.pair.sign(&self.random, token.as_bytes());
        let signature = signature
            .map_err(|_| Error::unavailable("the operating system has no random bytes"))?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

impl Signed {
    fn is_current(&self, now: i64) -> bool {
        (0..REUSED_SECONDS).contains(&(now - self.at))
    }
}

impl SigningKey {
    fn generate(random: &SystemRandom) -> NewAssertionKey {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, random)
            .expect("the operating system has random bytes");
        let private_key = PrivateKey::new(document.as_ref().to_vec());
        let pair = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            private_key.expose(),
            random,
        )
        .expect("ring reads what it has written");
        NewAssertionKey { kid: fingerprint(pair.public_key()), private_key }
    }

    fn parse(key: &NewAssertionKey, random: &SystemRandom) -> Result<SigningKey, StoreError> {
        let document = key.private_key.expose();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document, random)
            .map_err(|_| key.unusable())?;
        Ok(SigningKey { kid: key.kid.clone(), pair })
    }

    /// RFC 7518, section 6.2.1.
    fn jwk(&self) -> Value {
        // Uncompressed (SEC 1, section 2.3.3): 4, then both coordinates.
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let encode = |number| URL_SAFE_NO_PAD.encode(number);
        json!({
            "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y),
            "kid": self.kid, "use": "sig", "alg": "ES256",
        })
    }
}

/// The origin of an app (RFC 6454), without a default port. Traefik names the scheme of a
/// WebSocket.
fn origin(scheme: &str, host: &str) -> Option<String> {
    let scheme = match &*scheme.to_ascii_lowercase() {
        "https" | "wss" => "https",
        "http" | "ws" => "http",
        _ => return None,
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if host.len() > HOST_BYTES_MAX || !host.bytes().all(is_plain) {
        return None;
    }
    Some(Url::parse(&format!("{scheme}://{host}/")).ok()?.origin().ascii_serialization())
}
