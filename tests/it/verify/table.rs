//! Every way to verify gives the same verdict on a token.

use serde_json::{Value, json};

use super::{status, test};
use crate::google::{Answer, Google};
use crate::signing::{FIRST, SECOND, WEAK_TOKEN, jwk_set, segment};
use crate::test_app::{CLIENT_ID, DAY, FORM, NOW, TestApp, claims, document, post, usual_claims};

const EVENT: &str = "https://schemas.openid.net/secevent/risc/event-type/sessions-revoked";

/// The verdict on a token: a status, and the error code unless it is 200.
type Verdict = (u16, Option<String>);

fn verdict(test: &TestApp, token: &str, nonce: Option<&str>) -> Verdict {
    let nonce = nonce.map_or(String::new(), |nonce| format!("&nonce={nonce}"));
    let response = test.send(post("/auth/signin", FORM, &format!("id_token={token}{nonce}")));
    (response.status, document(&response)["error"].as_str().map(str::to_owned))
}

/// A test app for each way. In the third, tokeninfo is unavailable, so the keys decide.
struct Ways(Vec<(&'static str, TestApp, Google)>);

impl Ways {
    fn open() -> Ways {
        let ways = [("tokeninfo", true), ("fallback", true), ("fallback", false), ("keys", false)];
        Ways(
            ways.into_iter()
                .map(|(way, tokeninfo)| {
                    let (test, certs) = test(way);
                    test.google.always(if tokeninfo { Answer::Judged(NOW) } else { status(403) });
                    (way, test, certs)
                })
                .collect(),
        )
    }

    #[track_caller]
    fn agree(&self, what: &str, token: &str, nonce: Option<&str>, expected: (u16, Option<&str>)) {
        for (way, test, _) in &self.0 {
            let (status, code) = verdict(test, token, nonce);
            assert_eq!((status, code.as_deref()), expected, "{what}, by {way}");
        }
    }
}

const GOOD: (u16, Option<&str>) = (200, None);
const BAD: (u16, Option<&str>) = (401, Some("invalid_token"));
const DENIED: (u16, Option<&str>) = (403, Some("access_denied"));

#[test]
fn claims_get_the_same_verdict() {
    let long = "1".repeat(255);
    let rows = [
        ("the usual claims", json!({}), GOOD),
        ("the other issuer", json!({"iss": "accounts.google.com"}), GOOD),
        ("a foreign issuer", json!({"iss": "https://accounts.google.com.evil.example"}), BAD),
        ("an issuer of another case", json!({"iss": "Accounts.google.com"}), BAD),
        ("the issuer of security events", json!({"iss": "https://accounts.google.com/"}), BAD),
        ("no issuer", json!({"iss": null}), BAD),
        ("another audience", json!({"aud": "other"}), BAD),
        ("part of our audience", json!({"aud": &CLIENT_ID[1..]}), BAD),
        ("a list of audiences", json!({"aud": [CLIENT_ID]}), BAD),
        ("no audience", json!({"aud": null}), BAD),
        ("the last second", json!({"exp": NOW + 1}), GOOD),
        ("the end", json!({"exp": NOW}), BAD),
        ("long expired", json!({"exp": NOW - DAY}), BAD),
        ("a day", json!({"exp": NOW + DAY}), GOOD),
        ("more than a day", json!({"exp": NOW + DAY + 1}), BAD),
        ("exp as a fraction", json!({"exp": NOW as f64 + 60.5}), BAD),
        ("exp as a list", json!({"exp": [NOW + 60]}), BAD),
        ("no exp", json!({"exp": null}), BAD),
        ("a clock that is ahead", json!({"iat": NOW + 300}), GOOD),
        ("issued tomorrow", json!({"iat": NOW + 301}), BAD),
        ("no iat", json!({"iat": null}), BAD),
        ("an iat of 0", json!({"iat": 0}), BAD),
        ("an iat of 1", json!({"iat": 1}), GOOD),
        ("valid in five minutes", json!({"nbf": NOW + 300}), GOOD),
        ("valid later", json!({"nbf": NOW + 301}), BAD),
        ("no nbf", json!({"nbf": null}), GOOD),
        ("nbf as a list", json!({"nbf": [NOW]}), BAD),
        ("a sub of 255", json!({"sub": long, "email": null}), GOOD),
        ("a sub of 256", json!({"sub": format!("{long}1")}), BAD),
        ("a sub that is not ASCII", json!({"sub": "1é"}), BAD),
        ("an empty sub", json!({"sub": ""}), BAD),
        ("no sub", json!({"sub": null}), BAD),
        ("a verified e-mail", json!({"email_verified": true}), GOOD),
        ("the same as a string", json!({"email_verified": "true"}), GOOD),
        ("an e-mail that is not verified", json!({"email_verified": false}), GOOD),
        ("verified as a number", json!({"email_verified": 1}), BAD),
        ("an empty hd", json!({"hd": ""}), BAD),
        ("a picture that is a list", json!({"picture": []}), BAD),
        ("claims unknown", json!({"nbf": NOW, "x": {"y": [1, null]}}), GOOD),
        ("a nonce nobody asked for", json!({"nonce": "n"}), BAD),
        ("events", json!({"events": {EVENT: {}}}), BAD),
        ("empty events", json!({"events": {}}), BAD),
        (
            "a service account by its e-mail",
            json!({"email": "r@p.iam.gserviceaccount.com"}),
            DENIED,
        ),
        ("a service account by its azp", json!({"azp": "117"}), DENIED),
    ];
    let ways = Ways::open();
    for (what, changes, expected) in rows {
        ways.agree(what, &FIRST.token(changes), None, expected);
    }
    ways.agree("its nonce", &FIRST.token(json!({"nonce": "n"})), Some("n"), GOOD);
    ways.agree("another nonce", &FIRST.token(json!({"nonce": "n"})), Some("m"), BAD);
    ways.agree("no nonce", &FIRST.token(json!({})), Some("n"), BAD);
}

#[test]
fn payloads_get_the_same_verdict() {
    let ways = Ways::open();
    let sign = |payload: &str| FIRST.sign(&FIRST.header(), payload);
    let usual = usual_claims().to_string();
    for name in ["sub", "aud", "hd", "iss", "exp"] {
        let value = if name == "exp" { (NOW + 60).to_string() } else { format!("\"{CLIENT_ID}\"") };
        let doubled = usual.replacen('{', &format!("{{\"{name}\":{value},\"{name}\":{value},"), 1);
        ways.agree("a repeated claim", &sign(&doubled), None, BAD);
    }
    ways.agree(
        "a repetition in escapes",
        &sign(&usual.replacen('{', "{\"\\u0061ud\":\"x\",", 1)),
        None,
        BAD,
    );
    for payload in [
        "",
        "null",
        "[]",
        "{}",
        "\"x\"",
        "{",
        &usual[1..],
        &format!("{usual}x"),
        &format!("{usual}{usual}"),
    ] {
        ways.agree("a payload that is no object", &sign(payload), None, BAD);
    }
}

/// Tokens with that payload, and with `other`'s in one case, that the first key has not signed in
/// the right way.
pub fn forgeries(payload: &str, other: &str, elsewhere: &Google) -> Vec<(&'static str, String)> {
    let usual = payload;
    let attacker = |more: Value| {
        let mut header = FIRST.header();
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        SECOND.sign(&header, usual)
    };
    let good = FIRST.sign(&FIRST.header(), usual);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let other_payload = segment(other);
    let with = |name: &str, value: Value| {
        let mut header = FIRST.header();
        header[name] = value;
        FIRST.sign(&header, usual)
    };
    vec![
        ("another key's signature", attacker(json!({}))),
        ("a key that comes with it", attacker(json!({"jwk": SECOND.jwk()}))),
        ("a key named by its address", attacker(json!({"jku": elsewhere.url()}))),
        (
            "a certificate named by its address",
            attacker(json!({"x5u": elsewhere.url(), "x5c": ["MIIB"]})),
        ),
        ("alg none", format!("{}.{payload}.", segment(r#"{"alg":"none","kid":"first"}"#))),
        (
            "alg none with a signature",
            format!("{}.{payload}.{signature}", segment(r#"{"alg":"none","kid":"first"}"#)),
        ),
        ("no signature", format!("{signed}.")),
        ("no third segment", signed.to_owned()),
        ("a fourth segment", format!("{good}.{signature}")),
        ("a dot behind", format!("{good}.")),
        ("another's payload", format!("{header}.{other_payload}.{signature}")),
        ("the public key as a secret", hmac_with_public_key(usual)),
        ("RS384", with("alg", json!("RS384"))),
        ("PS256", with("alg", json!("PS256"))),
        ("rs256", with("alg", json!("rs256"))),
        ("no alg", with("alg", Value::Null)),
        ("no kid", with("kid", Value::Null)),
        ("a kid that is a number", with("kid", json!(1))),
        ("crit", with("crit", json!(["exp"]))),
        ("an unencoded payload", with("crit", json!(["b64"]))),
        ("a header that is no object", FIRST.sign(&json!([]), usual)),
        ("a header that is no JSON", FIRST.sign_segments(&format!("{}.{payload}", segment("{")))),
        ("bits behind the signature", with_stray_bits(&good)),
        ("a byte less", good[..good.len() - 2].to_owned()),
        ("a byte more", format!("{good}AA")),
    ]
}

#[test]
fn headers_and_signatures_get_the_same_verdict() {
    let ways = Ways::open();
    let elsewhere = Google::start();
    elsewhere.always(super::published(&jwk_set(&[SECOND.jwk()]), 3600));
    let payload = claims(json!({})).to_string();
    let other = claims(json!({"sub": "2"})).to_string();
    for (what, token) in forgeries(&payload, &other, &elsewhere) {
        ways.agree(what, &token, None, BAD);
    }
    ways.agree("what they were made of", &FIRST.sign(&FIRST.header(), &payload), None, GOOD);
    let unknown = ["second", ""].map(|kid| {
        let header = json!({"alg": "RS256", "kid": kid, "typ": "JWT"});
        SECOND.sign(&header, &payload)
    });
    for token in unknown.iter().map(String::as_str).chain([WEAK_TOKEN]) {
        // Only keys fetched after the question can tell that there is no such key.
        Ways::open().agree("a key that does not count", token, None, BAD);
    }
    assert_eq!(elsewhere.calls().len(), 0, "nobody goes where a token points");
}

#[test]
fn the_keys_are_stricter_than_tokeninfo() {
    let (test, _certs) = test("keys");
    let usual = claims(json!({})).to_string();
    let doubled = FIRST.header().to_string().replacen('}', ",\"alg\":\"none\"}", 1);
    for token in [
        FIRST.sign_segments(&format!("{}.{}", segment(&doubled), segment(&usual))),
        FIRST.sign(&json!({"alg": "RS256", "kid": "first", "typ": "secevent+jwt"}), &usual),
        FIRST.token(json!({"sub": 1})),
        FIRST.token(json!({"exp": (NOW + 60).to_string()})),
        FIRST.token(json!({"iat": NOW.to_string()})),
        FIRST.token(json!({"nbf": NOW.to_string()})),
    ] {
        assert_eq!(verdict(&test, &token, None), (401, Some("invalid_token".to_owned())));
    }
    let without_typ = FIRST.sign(&json!({"alg": "RS256", "kid": "first"}), &usual);
    assert_eq!(verdict(&test, &without_typ, None).0, 200);
}

/// The classic confusion: HS256 with a public value as the secret.
fn hmac_with_public_key(payload: &str) -> String {
    let key =
        ring::hmac::Key::new(ring::hmac::HMAC_SHA256, crate::signing::FIRST_CERTIFICATE.as_bytes());
    let signed = format!("{}.{}", segment(r#"{"alg":"HS256","kid":"first"}"#), segment(payload));
    let tag = ring::hmac::sign(&key, signed.as_bytes());
    format!(
        "{signed}.{}",
        base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, tag)
    )
}

/// The same bytes with the unused bits of the last character set.
fn with_stray_bits(token: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = token.split_at(token.len() - 1);
    let value = ALPHABET.find(last).unwrap();
    // 256 bytes end in a group of two characters. The last has four unused bits.
    format!("{rest}{}", &ALPHABET[value + 1..value + 2])
}
