//! Google's public keys, as its endpoints publish them: RSA keys by their `kid`.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use spki::der::asn1::UintRef;
use spki::der::{Decode, Reader, SliceReader};
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};
use webpki::EndEntityCert;

use crate::json::Fields;

/// RFC 7518, section 3.3: an RSA key for RS256 has at least 2048 bits. No more than ring computes with.
const KEY_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// rsaEncryption, RFC 8017, appendix A.1.
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Keys by their names, never empty.
#[derive(Debug)]
pub struct KeySet(HashMap<String, Arc<RsaKey>>);

/// An RSA public key that is strong enough.
#[derive(Debug)]
pub struct RsaKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl KeySet {
    /// Reads a JWK set (RFC 7517) or an object of PEM certificates by `kid`, told apart by content. A key that is of
    /// no use here is left out, with a line in the log.
    ///
    /// # Errors
    /// Why there is not a single good key in it.
    pub fn parse(document: &[u8]) -> Result<KeySet, String> {
        let fields =
            Fields::parse(document).map_err(|_| "the answer is not a JSON object".to_owned())?;
        let published: Vec<(&str, Result<RsaKey, String>)> =
            match fields.first("keys").and_then(Value::as_array) {
                Some(keys) => keys
                    .iter()
                    .map(|key| (key["kid"].as_str().unwrap_or_default(), from_jwk(key)))
                    .collect(),
                None => fields
                    .iter()
                    .map(|(kid, certificate)| (kid, from_certificate(certificate)))
                    .collect(),
            };
        let count = published.len();
        let mut keys = HashMap::new();
        for (kid, key) in published {
            match key {
                Ok(key) if !kid.is_empty() => {
                    if keys.insert(kid.to_owned(), Arc::new(key)).is_some() {
                        return Err("the answer has two keys of one kid".into());
                    }
                }
                Ok(_) => log::warn!("a key of Google's is left out: it has no kid"),
                Err(reason) => log::warn!("the key {kid:?} of Google's is left out: {reason}"),
            }
        }
        if keys.is_empty() {
            Err(format!("there is no usable key among {count}"))
        } else {
            Ok(KeySet(keys))
        }
    }

    /// The key of that name.
    pub fn find(&self, kid: &str) -> Option<Arc<RsaKey>> {
        self.0.get(kid).cloned()
    }

    /// The names of the keys and their sizes in bits, sorted.
    pub fn sizes(&self) -> Vec<(String, usize)> {
        let mut sizes: Vec<_> =
            self.0.iter().map(|(kid, key)| (kid.clone(), bits(&key.modulus))).collect();
        sizes.sort();
        sizes
    }
}

impl RsaKey {
    /// Whether that is this key's RS256 signature of the message (RFC 7518, section 3.3).
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
        // What ring takes: odd, and neither 1 nor longer than 33 bits.
        if exponent.last().is_none_or(|last| last % 2 == 0) || !(2..=33).contains(&bits(exponent)) {
            return Err("its public exponent is none".into());
        }
        Ok(RsaKey { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
    }
}

fn from_jwk(key: &Value) -> Result<RsaKey, String> {
    let says = |name: &str, expected: &str| key[name].is_null() || key[name] == expected;
    if key["kty"] != "RSA" || !says("use", "sig") || !says("alg", "RS256") {
        return Err("it is not an RSA key for RS256 signatures".into());
    }
    let number = |name: &str| {
        let text = key[name].as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        text.ok_or_else(|| format!("its {name} is not a number in base64url"))
    };
    RsaKey::new(&number("n")?, &number("e")?)
}

fn from_certificate(pem: &Value) -> Result<RsaKey, String> {
    let unreadable = || "it is not a PEM certificate with an RSA key".to_owned();
    let pem = pem.as_str().ok_or_else(unreadable)?;
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| unreadable())?;
    let info =
        EndEntityCert::try_from(&certificate).map_err(|_| unreadable())?.subject_public_key_info();
    let info = SubjectPublicKeyInfoRef::from_der(&info).map_err(|_| unreadable())?;
    if info.algorithm.oid != RSA_ENCRYPTION {
        return Err(unreadable());
    }
    // RFC 8017, appendix A.1.1: RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }.
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

/// The length of a number without leading zero bytes.
fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}
