//! Reads the dates of certificates and the kinds of keys from DER, which no library in use does.

use rustls::pki_types::PrivateKeyDer;
use spki::der::asn1::{AnyRef, GeneralizedTime, OctetStringRef, UintRef, UtcTime};
use spki::der::{self, Decode, Reader, SliceReader, Tag, TagMode, TagNumber};
use spki::{AlgorithmIdentifierRef, ObjectIdentifier};

/// From when to when a certificate is valid, in unix seconds (RFC 5280, section 4.1).
pub(super) fn validity(certificate: &[u8]) -> der::Result<[i64; 2]> {
    let mut fields = inside(&mut inside(&mut SliceReader::new(certificate)?)?)?;
    let _version: Option<u8> = fields.context_specific(TagNumber(0), TagMode::Explicit)?;
    let [_serial_number, _signature, _issuer] =
        [AnyRef::decode(&mut fields)?, AnyRef::decode(&mut fields)?, AnyRef::decode(&mut fields)?];
    let mut times = inside(&mut fields)?;
    Ok([time(&mut times)?, time(&mut times)?])
}

fn inside<'a>(reader: &mut SliceReader<'a>) -> der::Result<SliceReader<'a>> {
    SliceReader::new(AnyRef::decode(reader)?.value())
}

fn time(reader: &mut SliceReader) -> der::Result<i64> {
    let since_1970 = match Tag::peek(reader)? {
        Tag::UtcTime => UtcTime::decode(reader)?.to_unix_duration(),
        _ => GeneralizedTime::decode(reader)?.to_unix_duration(),
    };
    Ok(since_1970.as_secs() as i64)
}

/// The algorithm of a private key and its size or curve; `None` if it cannot be read.
pub(super) fn key_kind(key: &PrivateKeyDer<'_>) -> Option<String> {
    match key {
        PrivateKeyDer::Pkcs1(key) => rsa(key.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(key) => sec1(key.secret_sec1_der()),
        PrivateKeyDer::Pkcs8(key) => pkcs8(key.secret_pkcs8_der()),
        _ => Err(Tag::Null.value_error().into()),
    }
    .ok()
}

/// RFC 8017, appendix A.1.2.
fn rsa(key: &[u8]) -> der::Result<String> {
    let mut fields = inside(&mut SliceReader::new(key)?)?;
    let _version = AnyRef::decode(&mut fields)?;
    let modulus = UintRef::decode(&mut fields)?;
    let unused = modulus.as_bytes().first().map_or(0, |byte| byte.leading_zeros() as usize);
    Ok(format!("RSA with {} bits", modulus.as_bytes().len() * 8 - unused))
}

/// RFC 5915, section 3.
fn sec1(key: &[u8]) -> der::Result<String> {
    let mut fields = inside(&mut SliceReader::new(key)?)?;
    let [_version, _key] = [AnyRef::decode(&mut fields)?, AnyRef::decode(&mut fields)?];
    let curve = fields.context_specific(TagNumber(0), TagMode::Explicit)?;
    Ok(ecdsa(curve))
}

/// RFC 5208, section 5.
fn pkcs8(key: &[u8]) -> der::Result<String> {
    let mut fields = inside(&mut SliceReader::new(key)?)?;
    let _version = AnyRef::decode(&mut fields)?;
    let algorithm = AlgorithmIdentifierRef::decode(&mut fields)?;
    let name = match algorithm.oid.to_string().as_str() {
        "1.2.840.113549.1.1.1" => return rsa(<&OctetStringRef>::decode(&mut fields)?.as_bytes()),
        "1.2.840.10045.2.1" => return Ok(ecdsa(algorithm.parameters_oid().ok())),
        "1.2.840.113549.1.1.10" => "RSASSA-PSS".to_owned(),
        "1.2.840.10040.4.1" => "DSA".to_owned(),
        "1.3.101.112" => "Ed25519".to_owned(),
        "1.3.101.113" => "Ed448".to_owned(),
        other => format!("of the algorithm {other}"),
    };
    Ok(name)
}

fn ecdsa(curve: Option<ObjectIdentifier>) -> String {
    let Some(curve) = curve else {
        return "ECDSA without a named curve".into();
    };
    let curve = curve.to_string();
    let name = match curve.as_str() {
        "1.2.840.10045.3.1.7" => "P-256",
        "1.3.132.0.34" => "P-384",
        "1.3.132.0.35" => "P-521",
        "1.3.132.0.33" => "P-224",
        "1.3.132.0.10" => "secp256k1",
        _ => &curve,
    };
    format!("ECDSA with {name}")
}
