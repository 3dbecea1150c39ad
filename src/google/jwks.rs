//! Reads Google's public keys as its endpoints publish them: RSA keys by `kid`.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use spki::der::asn1::UintRef;
use spki::der::{Decode, Reader, SliceReader};
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};
use webpki::EndEntityCert;

use crate::json::Fields;

/// RFC 7518, section 3.3: RS256 needs an RSA key of at least 2048 bits. ring accepts at most 8192.
const KEY_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// rsaEncryption, RFC 8017, appendix A.1.
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Keys by `kid`, never empty.
#[derive(Debug)]
pub struct KeySet(HashMap<String, Arc<RsaKey>>);

/// An RSA public key of sufficient size.
#[derive(Debug, PartialEq)]
pub struct RsaKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl KeySet {
    /// Reads a JWK set (RFC 7517) or an object of PEM certificates by `kid`, whichever the document
    /// is. Keys that cannot be used are logged and ignored.
    ///
    /// # Errors
    /// Why the document is not a key set, or has no usable key.
    pub fn parse(document: &[u8]) -> Result<KeySet, String> {
        let fields =
            Fields::parse(document).map_err(|_| "the answer is not a JSON object".to_owned())?;
        if fields.iter().filter(|(name, _)| *name == "keys").count() > 1 {
            return Err("the answer has two lists of keys".into());
        }
        let published: Vec<Published> = match fields.first("keys") {
            Some(Value::Array(_)) => from_jwk_set(document)?,
            _ => fields.iter().map(|(kid, pem)| (kid.to_owned(), from_certificate(pem))).collect(),
        };
        let count = published.len();
        let (mut keys, mut ambiguous) = (HashMap::new(), HashSet::new());
        for (kid, key) in published {
            let reason = match (key, keys.entry(kid.clone())) {
                (Err(reason), _) => reason,
                (Ok(_), _) if kid.is_empty() => "it has no kid".into(),
                (Ok(key), Entry::Vacant(place)) => {
                    place.insert(Arc::new(key));
                    continue;
                }
                (Ok(key), Entry::Occupied(known)) if **known.get() == key => continue,
                (Ok(_), Entry::Occupied(_)) => {
                    ambiguous.insert(kid.clone());
                    "another key has the same kid".into()
                }
            };
            log::warn!("ignoring Google's key {kid:?}: {reason}");
        }
        keys.retain(|kid, _| !ambiguous.contains(kid));
        if keys.is_empty() {
            Err(format!("there is no usable key among {count}"))
        } else {
            Ok(KeySet(keys))
        }
    }

    /// The key with that `kid`.
    pub fn find(&self, kid: &str) -> Option<Arc<RsaKey>> {
        self.0.get(kid).cloned()
    }

    /// Each key's `kid` and size in bits, sorted.
    pub fn sizes(&self) -> Vec<(String, usize)> {
        let mut sizes: Vec<_> =
            self.0.iter().map(|(kid, key)| (kid.clone(), bits(&key.modulus))).collect();
        sizes.sort();
        sizes
    }
}

impl RsaKey {
    /// Whether `signature` is this key's RS256 signature of `message` (RFC 7518, section 3.3).
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = RsaPublicKeyComponents { n: &self.modulus, e: &self.exponent };
        key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
    }

    /// Takes big-endian numbers.
    fn new(modulus: &[u8], exponent: &[u8]) -> Result<RsaKey, String> {
        let (modulus, exponent) = (without_leading_zeros(modulus), without_leading_zeros(exponent));
        if !KEY_BITS.contains(&bits(modulus)) {
            return Err(format!(
                "expected RSA of {} to {} bits, got {}",
                KEY_BITS.start(),
                KEY_BITS.end(),
                bits(modulus)
            ));
        }
        // ring accepts exponents that are odd, not 1, and at most 33 bits long.
        if exponent.last().is_none_or(|last| last % 2 == 0) || !(2..=33).contains(&bits(exponent)) {
            return Err("its public exponent is invalid".into());
        }
        Ok(RsaKey { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
    }
}

/// A `kid` with its key, or why that cannot be used.
type Published = (String, Result<RsaKey, String>);

fn from_jwk_set(document: &[u8]) -> Result<Vec<Published>, String> {
    #[derive(Deserialize)]
    struct JwkSet<'a> {
        #[serde(borrow)]
        keys: Vec<&'a RawValue>,
    }
    let set: JwkSet =
        serde_json::from_slice(document).map_err(|_| "the answer is not a JWK set".to_owned())?;
    Ok(set.keys.into_iter().map(|key| published_jwk(key.get())).collect())
}

fn published_jwk(text: &str) -> Published {
    match Fields::parse(text.as_bytes()) {
        Ok(key) => {
            let kid = key.first("kid").and_then(Value::as_str).unwrap_or_default();
            (kid.to_owned(), from_jwk(&key))
        }
        Err(_) => (String::new(), Err("it is not a JSON object".into())),
    }
}

fn from_jwk(key: &Fields) -> Result<RsaKey, String> {
    if key.has_duplicates() {
        return Err("it repeats a member".into());
    }
    let value = |name: &str| key.first(name).filter(|value| !value.is_null());
    let says = |name: &str, expected: &str| value(name).is_none_or(|value| value == expected);
    // RFC 7517, section 4.3.
    let may_verify = value("key_ops").is_none_or(|operations| {
        operations.as_array().is_some_and(|list| list.iter().any(|name| name == "verify"))
    });
    let is_rsa = value("kty").is_some_and(|kty| kty == "RSA");
    if !is_rsa || !says("use", "sig") || !says("alg", "RS256") || !may_verify {
        return Err("it is not an RSA key for RS256 signatures".into());
    }
    let number = |name: &str| {
        let text = value(name).and_then(Value::as_str);
        let number = text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        number.ok_or_else(|| format!("its {name} is not a number in base64url"))
    };
    RsaKey::new(&number("n")?, &number("e")?)
}

fn from_certificate(pem: &Value) -> Result<RsaKey, String> {
    let unreadable = || "it is not a PEM certificate with an RSA key".to_owned();
    // RFC 7468, section 2: white space around the lines is ignored.
    let pem: Vec<&str> = pem.as_str().ok_or_else(unreadable)?.lines().map(str::trim).collect();
    let pem = pem.join("\n");
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| unreadable())?;
    let info =
        EndEntityCert::try_from(&certificate).map_err(|_| unreadable())?.subject_public_key_info();
    let info = SubjectPublicKeyInfoRef::from_der(&info).map_err(|_| unreadable())?;
    if info.algorithm.oid != RSA_ENCRYPTION {
        return Err(unreadable());
    }
    // RFC 8017, appendix A.1.1: RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER
    // }.
    let numbers = SliceReader::new(info.subject_public_key.raw_bytes()).and_then(|mut reader| {
        reader.sequence(|reader| {
            Ok::<_, spki::der::Error>((UintRef::decode(reader)?, UintRef::decode(reader)?))
        })
    });
    let (modulus, exponent) = numbers.map_err(|_| unreadable())?;
    RsaKey::new(modulus.as_bytes(), exponent.as_bytes())
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|byte| **byte == 0).count()..]
}

/// The length in bits of a number without leading zero bytes.
fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}
