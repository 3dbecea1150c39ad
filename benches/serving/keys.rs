//! Sign-ins verified by Google's public keys, compared with tokeninfo and with the speed of RSA.

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hallpass::clock;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use super::google::{self, Answers, CLIENT_ID, Google};
use super::load::{Connections, closed_loop, open_loop};
use super::report::{Target, median, percentile, remark, row};
use super::server::Server;
use super::signing_in::post;

/// The stand-in's private key.
const KEY: &[u8] = include_bytes!("../../tests/it/rsa/first.pem");
/// They sign in again and again, because signing a token takes longer than what is measured here.
const PEOPLE: u64 = 2000;
/// How long one round of a server takes, and how many rounds the servers take in turns.
const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;
/// How long a call to Google takes.
const LATENCY: Duration = Duration::from_millis(50);
/// A load that leaves the server nearly idle.
const PER_SECOND: u32 = 100;

pub fn measure(folder: &Path) {
    let signer = Signer::new();
    let tokens: Vec<String> = (0..PEOPLE).map(|person| signer.token(person)).collect();
    let signed = |number: u64| post(&tokens[(number % PEOPLE) as usize]);
    let asked = |number: u64| post(&google::token(number % PEOPLE));
    let ceiling = verifications_per_second(&signer, &tokens[0]);

    let instant = Google::start(Answers::After(Duration::ZERO));
    let (by_keys, by_tokeninfo) = servers(folder, "instant", &instant);
    let (mut keys, mut tokeninfo) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (server, request, rounds) in [
            (&by_keys, &signed as super::load::Request, &mut keys),
            (&by_tokeninfo, &asked, &mut tokeninfo),
        ] {
            let outcome = closed_loop(server.address, 64, Connections::Kept, ROUND, request);
            assert_eq!(outcome.failed, 0, "every sign-in must get 200");
            rounds.push(outcome.per_second);
        }
    }
    let (keys, tokeninfo) = (median(keys), median(tokeninfo));
    row(
        "sign-ins/s by keys, 64 clients | tokeninfo, no delay",
        &format!("{keys:.0}"),
        &format!("{tokeninfo:.0}"),
        keys / tokeninfo,
        Target::None,
    );
    row(
        "the same | RSA verifications/s on one core",
        &format!("{keys:.0}"),
        &format!("{ceiling:.0}"),
        keys / ceiling,
        Target::None,
    );
    remark(&format!(
        "in both, {PEOPLE} people sign in again and again, and each sign-in is on disk"
    ));
    drop((by_keys, by_tokeninfo));

    let slow = Google::start(Answers::After(LATENCY));
    let (by_keys, by_tokeninfo) = servers(folder, "slow", &slow);
    let p50 = |server: &Server, request| {
        percentile(&mut open_loop(server.address, PER_SECOND, ROUND, request), 0.5)
    };
    let (keys, tokeninfo) = (p50(&by_keys, &signed), p50(&by_tokeninfo, &asked));
    row(
        "p50 of a sign-in by keys, ms | tokeninfo, 50 ms",
        &format!("{keys:.2}"),
        &format!("{tokeninfo:.2}"),
        keys / tokeninfo,
        Target::AtMost(0.1),
    );
}

/// A server that verifies with the stand-in's keys, and one that asks its tokeninfo.
fn servers(folder: &Path, name: &str, google: &Google) -> (Server, Server) {
    let database = |way: &str| folder.join(format!("{name}-{way}.db"));
    let url = format!("http://{}/certs", google.address);
    (
        Server::hallpass(&database("keys"), google, &["--verify", "keys", "--keys-url", &url]),
        Server::hallpass(&database("tokeninfo"), google, &[]),
    )
}

fn verifications_per_second(signer: &Signer, token: &str) -> f64 {
    let (signed, signature) = token.rsplit_once('.').expect("a token has two dots");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("the signature is base64url");
    let key = PublicKeyComponents::<Vec<u8>>::from(signer.0.public());
    let (begin, mut count) = (Instant::now(), 0);
    while begin.elapsed() < ROUND {
        key.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
            .expect("the key signed the token");
        count += 1;
    }
    f64::from(count) / begin.elapsed().as_secs_f64()
}

/// Signs tokens as Google does.
struct Signer(RsaKeyPair);

impl Signer {
    fn new() -> Signer {
        let der = PrivatePkcs8KeyDer::from_pem_slice(KEY).expect("a PEM file");
        Signer(RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).expect("an RSA key"))
    }

    /// A token that expires in an hour.
    fn token(&self, person: u64) -> String {
        let segment = |text: String| URL_SAFE_NO_PAD.encode(text);
        let header = json!({"alg": "RS256", "kid": google::KEY_ID, "typ": "JWT"});
        let signed = format!("{}.{}", segment(header.to_string()), segment(claims(person)));
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .expect("the key can sign");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn claims(person: u64) -> String {
    let now = clock::now();
    json!({
        "iss": "https://accounts.google.com", "azp": CLIENT_ID, "aud": CLIENT_ID, "sub": format!("1{person:0>20}"),
        "hd": "example.com", "email": format!("person.{person}@example.com"), "email_verified": true, "nbf": now,
        "name": format!("Person Number {person}"), "given_name": "Person", "family_name": format!("Number {person}"),
        "picture": format!("https://lh3.googleusercontent.com/a/ACg8ocJ{person:0>40}=s96-c"),
        "iat": now, "exp": now + 3600,
    })
    .to_string()
}

/// The JWK set with the public key.
pub fn published() -> String {
    let PublicKeyComponents { n, e } =
        PublicKeyComponents::<Vec<u8>>::from(Signer::new().0.public());
    let (n, e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
    let key =
        json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": google::KEY_ID, "n": n, "e": e});
    json!({"keys": [key]}).to_string()
}
