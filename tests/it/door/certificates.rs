//! Errors about unusable certificates and keys.

use std::fs;
use std::path::Path;

use hallpass::http::door::TlsFiles;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519,
};

/// A certificate for localhost, the certificate of its issuer, and both keys.
struct Pki {
    own: String,
    issuer: String,
    key: String,
    issuer_key: String,
}

fn pki() -> Pki {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    Pki {
        own: own.signed_by(&key, &issuer).unwrap().pem(),
        issuer: issuer.pem(),
        key: key.serialize_pem(),
        issuer_key: issuer.key().serialize_pem(),
    }
}

fn files(folder: &Path) -> TlsFiles {
    TlsFiles { certificate: folder.join("cert.pem"), key: folder.join("key.pem") }
}

/// Loading these files fails for this reason, in one line that quotes neither.
#[track_caller]
fn unusable(certificate: &[u8], key: &[u8], reason: &str) {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    fs::write(&files.certificate, certificate).unwrap();
    fs::write(&files.key, key).unwrap();
    let error = files.load().err().unwrap_or_else(|| panic!("loaded, expected {reason:?}"));
    assert!(error.contains(reason), "expected {reason:?} in {error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    for content in [certificate, key].map(String::from_utf8_lossy) {
        let words = content.split_whitespace().filter(|word| word.len() > 20);
        for word in words.filter(|word| word.is_char_boundary(20)) {
            assert!(!error.contains(&word[..20]), "{error} quotes {word}");
        }
    }
}

#[test]
fn each_fault_of_a_file_has_its_own_error() {
    let Pki { own, issuer, key, issuer_key } = pki();
    let chain = format!("{own}{issuer}");
    let folder = tempfile::tempdir().unwrap();
    let good = files(folder.path());
    let usable = |certificate: &str, key: &str| {
        fs::write(&good.certificate, certificate).unwrap();
        fs::write(&good.key, key).unwrap();
        good.load().unwrap()
    };
    let loaded = usable(&chain, &key);
    assert_eq!(loaded.names, ["localhost"]);
    assert!(loaded.is_for("localhost") && !loaded.is_for("example.com"));
    usable(&chain.replace('\n', "\r\n"), &key.replace('\n', "\r\n"));
    // Some tools write both into one file.
    usable(&format!("{key}{chain}"), &format!("{chain}{key}"));

    let of_key = |key: &[u8], reason| unusable(chain.as_bytes(), key, reason);
    let of_chain = |chain: &[u8], reason| unusable(chain, key.as_bytes(), reason);
    for (text, replacement) in
        [("\n", " "), ("\n", "\\n"), ("\n", ""), ("\n", "\t"), ("-----END", "")]
    {
        of_key(
            key.replace(text, replacement).as_bytes(),
            "key.pem (--tls-key): its PEM is damaged",
        );
        of_chain(
            own.replace(text, replacement).as_bytes(),
            "cert.pem (--tls-cert): its PEM is damaged",
        );
    }
    of_key(key.replacen("M", "?", 1).as_bytes(), "its PEM is damaged");
    of_key(
        format!("  {}", key.replace('\n', "\n  ")).as_bytes(),
        "key.pem (--tls-key): its PEM is damaged",
    );
    of_key(b"", "it is empty");
    of_chain(b" \n", "it is empty");
    of_key(b"nonsense", "it is not PEM");
    of_chain(b"nonsense", "it is not PEM");
    let der = |pem: &str| {
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        base64::Engine::decode(&base64::prelude::BASE64_STANDARD, body).unwrap()
    };
    of_key(&der(&key), "it is DER or PKCS #12, not PEM: convert it, for example with openssl pkey");
    of_chain(
        &der(&own),
        "it is DER or PKCS #12, not PEM: convert it, for example with openssl x509",
    );
    of_key(format!("\u{feff}{key}").as_bytes(), "it begins with a byte order mark");
    of_chain(format!("\u{feff}{chain}").as_bytes(), "it begins with a byte order mark");
    let wide: Vec<u8> =
        "\u{feff}".encode_utf16().chain(key.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    of_key(&wide, "it begins with a byte order mark");
    of_key(include_bytes!("keys/encrypted.pem"), "it is encrypted");
    of_key(include_bytes!("keys/encrypted-header.pem"), "it is encrypted");

    of_chain(format!("{issuer}{own}").as_bytes(), "the chain is in the wrong order");
    of_key(issuer_key.as_bytes(), "the chain is in the wrong order");
    unusable(
        own.as_bytes(),
        issuer_key.as_bytes(),
        "key.pem (--tls-key) is the key of another certificate than",
    );
    unusable(key.as_bytes(), chain.as_bytes(), "are --tls-cert and --tls-key swapped?");
    of_key(chain.as_bytes(), "are --tls-cert and --tls-key swapped?");
    of_key(
        own.replace("CERTIFICATE", "PUBLIC KEY").as_bytes(),
        "it holds a public key: expected the private one",
    );
    of_chain(own.replace("CERTIFICATE", "PUBLIC KEY").as_bytes(), "it holds no certificate");
    of_chain(own.replacen("MII", "AAA", 1).as_bytes(), "the first certificate cannot be read");
}

#[test]
fn unsupported_keys_are_named_with_the_supported_ones() {
    let Pki { own, .. } = pki();
    let kind = |key: &str, kind| {
        unusable(
            own.as_bytes(),
            key.as_bytes(),
            &format!(
                "key.pem (--tls-key): its key is {kind}, which does not work here: RSA with 2048"
            ),
        );
    };
    kind(include_str!("keys/p521.pem"), "ECDSA with P-521");
    kind(include_str!("keys/secp256k1.pem"), "ECDSA with secp256k1");
    kind(include_str!("keys/secp256k1-pkcs8.pem"), "ECDSA with secp256k1");
    kind(include_str!("keys/rsa1024.pem"), "RSA with 1024 bits");
    kind(include_str!("keys/ed448.pem"), "Ed448");
    let garbage = include_str!("keys/ed448.pem").replacen("MEc", "AAA", 1);
    unusable(
        own.as_bytes(),
        garbage.as_bytes(),
        "its key cannot be read: RSA with 2048 to 4096 bits",
    );

    for algorithm in [&PKCS_ED25519, &PKCS_ECDSA_P384_SHA384] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let own = CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        fs::write(&files.certificate, own.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files.load().unwrap();
    }
}

#[test]
fn a_key_given_instead_of_its_path_is_not_shown() {
    let Pki { own, key, .. } = pki();
    let files = TlsFiles { certificate: own.into(), key: key.into() };
    assert_eq!(files.load().unwrap_err(), "--tls-cert takes the path of a PEM file, not its text");
    let folder = tempfile::tempdir().unwrap();
    let files = TlsFiles { certificate: self::files(folder.path()).certificate, key: files.key };
    fs::write(&files.certificate, pki().own).unwrap();
    assert_eq!(files.load().unwrap_err(), "--tls-key takes the path of a PEM file, not its text");
}
