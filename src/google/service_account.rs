//! The key of a Google service account, which signs requests to Google's management APIs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::json;

/// Google's limit for a token that an account signs itself.
const TOKEN_SECONDS: i64 = 60 * 60;

/// A service account with its private key. It has no Debug, so the key cannot be logged.
pub struct ServiceAccount {
    email: String,
    key_id: String,
    key: RsaKeyPair,
}

/// The file that Google's console creates. Other fields are ignored.
#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    private_key_id: String,
    private_key: String,
}

impl ServiceAccount {
    /// Reads the JSON file of a key.
    ///
    /// # Errors
    /// The fault, without any part of the file.
    pub fn parse(file: &[u8]) -> Result<ServiceAccount, &'static str> {
        let KeyFile { client_email, private_key_id, private_key } =
            serde_json::from_slice(file).map_err(|_| {
                "is not the key of a service account: JSON with client_email, private_key_id and private_key"
            })?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(private_key.as_bytes())
            .ok()
            .and_then(|key| RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok())
            .ok_or("has a private_key that is not an RSA key in PEM")?;
        Ok(ServiceAccount { email: client_email, key_id: private_key_id, key })
    }

    /// The account's e-mail.
    pub fn email(&self) -> &str {
        &self.email
    }

    /// A JWT with which the account authorizes itself to the API of that name for an hour.
    pub(super) fn token_for(&self, audience: &str, now: i64) -> String {
        let header = json!({"alg": "RS256", "kid": self.key_id, "typ": "JWT"});
        let claims = json!({
            "iss": self.email, "sub": self.email, "aud": audience, "iat": now, "exp": now + TOKEN_SECONDS,
        });
        let segment = |text: String| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", segment(header.to_string()), segment(claims.to_string()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .expect("the signature is as long as the modulus");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
