//! Which keys the endpoint may publish, and how long they last.

use serde_json::{Value, json};

use super::{answer, published, test};
use crate::google::{Answer, Google};
use crate::signing::{
    ELLIPTIC_CERTIFICATE, FIRST, FIRST_CERTIFICATE, PSS_CERTIFICATE, SECOND, WEAK_CERTIFICATE,
    WEAK_TOKEN, jwk_set, weak_jwk,
};
use crate::test_app::{DAY, HOUR, NOW, TestApp, document, get, near, post_token, refused};

fn keys(test: &TestApp, now: i64) -> Value {
    document(&test.send_at(near(get("/readyz")), now))["keys"].clone()
}

/// A test app with --verify keys and that key document.
fn with(document: &str) -> (TestApp, Google) {
    let (test, certs) = test("keys");
    certs.always(published(document, 3600));
    (test, certs)
}

#[track_caller]
fn is_good(document: &str) {
    let (test, _certs) = with(document);
    assert_eq!(test.send(post_token(&FIRST.token(json!({})))).status, 200, "{document}");
}

/// With no usable key in it, nobody can sign in, and keys known before stay.
#[track_caller]
fn is_no_answer(say: Answer) {
    let (test, certs) = test("keys");
    certs.always(say.clone());
    refused(&test.send(post_token(&FIRST.token(json!({})))), 503, "temporarily_unavailable");
    refused(&test.send(get("/readyz")), 503, "temporarily_unavailable");

    certs.always(published(&jwk_set(&[FIRST.jwk()]), 3600));
    let later = NOW + 60;
    assert_eq!(test.send_at(post_token(&FIRST.token(json!({}))), later).status, 200);
    certs.always(say);
    let much_later = later + HOUR;
    test.app.keys().unwrap().refresh(much_later);
    assert_eq!(keys(&test, much_later)["last_fetch"], "failed");
    let token = FIRST.token(json!({"exp": much_later + HOUR}));
    assert_eq!(test.send_at(post_token(&token), much_later).status, 200);
}

#[test]
fn responses_without_a_usable_key() {
    for code in [404, 503, 302, 203] {
        is_no_answer(Answer::Status(code, "", jwk_set(&[FIRST.jwk()]).into_bytes()));
    }
    is_no_answer(answer("", ""));
    is_no_answer(answer("", "<html>Sorry...</html>"));
    for document in [
        "null",
        "[]",
        "{}",
        "\"keys\"",
        "{\"keys\":[]}",
        "{\"keys\":{}}",
        "{\"keys\":[1,null,{}]}",
        "{",
    ] {
        is_no_answer(answer("", document));
    }
    let good = jwk_set(&[FIRST.jwk()]);
    is_no_answer(answer("", &good[..good.len() - 2]));
    is_no_answer(answer("", &format!("{good}{}", " ".repeat(64 * 1024))));
    let repeated = jwk_set(&[FIRST.jwk()]).replacen('{', "{\"keys\":[],", 1);
    is_no_answer(answer("", &repeated));
    is_no_answer(answer("", &repeated.replacen("[]", "1", 1)));
    is_no_answer(answer("", &good.replacen("\"kty\"", "\"kty\":\"RSA\",\"kty\"", 1)));
    is_no_answer(answer("", &jwk_set(&[FIRST.jwk(), of_second_named("first")])));
    is_no_answer(answer("", &jwk_set(&[weak_jwk()])));
    is_no_answer(answer(
        "",
        &json!({"weak": WEAK_CERTIFICATE, "elliptic": ELLIPTIC_CERTIFICATE}).to_string(),
    ));
    is_no_answer(answer("", &json!({"pss": PSS_CERTIFICATE}).to_string()));
    is_no_answer(answer(
        "",
        &json!({"first": FIRST_CERTIFICATE.replace("MIID", "MIIE")}).to_string(),
    ));
    is_no_answer(answer("", &json!({"first": {"pem": FIRST_CERTIFICATE}}).to_string()));
    is_no_answer(Answer::Close);
    is_no_answer(Answer::Reset);
}

#[test]
fn responses_that_take_too_long() {
    is_no_answer(Answer::Hang);
    is_no_answer(Answer::Drip);
}

#[test]
fn keys_of_other_kinds_are_ignored() {
    let without = |name: &str, value: Value| {
        let mut key = FIRST.jwk();
        key[name] = value;
        is_no_answer(answer("", &jwk_set(&[key])));
    };
    without("kty", json!("EC"));
    without("kty", Value::Null);
    without("use", json!("enc"));
    without("alg", json!("RS512"));
    without("key_ops", json!(["encrypt"]));
    without("key_ops", json!([]));
    without("key_ops", json!("verify"));
    without("kid", Value::Null);
    without("kid", json!(""));
    without("n", json!("+/"));
    without("n", json!(17));
    without("n", Value::Null);
    without("e", json!("AQ"));
    without("e", json!("Ag"));
    without("e", json!("AQABAQAB"));
    without("e", json!("AA"));
}

#[test]
fn one_good_key_is_enough() {
    is_good(&jwk_set(&[FIRST.jwk()]));
    is_good(&jwk_set(&[json!({"kty": "EC", "kid": "e"}), weak_jwk(), FIRST.jwk(), SECOND.jwk()]));
    is_good(&json!({"first": FIRST_CERTIFICATE, "weak": WEAK_CERTIFICATE, "x": 1}).to_string());
    is_good(&jwk_set(&[FIRST.jwk(), FIRST.jwk()]));
    is_good(&jwk_set(&[
        FIRST.jwk(),
        of_second_named("other"),
        SECOND.jwk(),
        of_second_named("other"),
    ]));
    let mut first = FIRST.jwk();
    (first["kid"], first["use"]) = (json!("second"), json!("enc"));
    is_good(&jwk_set(&[first, SECOND.jwk(), FIRST.jwk()]));
    let with_space = |before: &str| {
        let spaced = FIRST_CERTIFICATE.replace("-----BEGIN", &format!("{before}-----BEGIN"));
        is_good(&json!({"first": spaced}).to_string());
    };
    ["", " ", "\t", "\n", "\r\n \n  "].into_iter().for_each(with_space);
    is_good(&json!({"first": FIRST_CERTIFICATE.replace('\n', " \r\n  ")}).to_string());
    for operations in [json!(["verify"]), json!(["sign", "verify"]), Value::Null] {
        let mut key = FIRST.jwk();
        key["key_ops"] = operations;
        is_good(&jwk_set(&[key]));
    }
    let mut plain = FIRST.jwk();
    for optional in ["use", "alg"] {
        plain.as_object_mut().unwrap().remove(optional);
    }
    is_good(&jwk_set(&[plain]));
}

/// The second key with another `kid`.
fn of_second_named(kid: &str) -> Value {
    let mut key = SECOND.jwk();
    key["kid"] = json!(kid);
    key
}

#[test]
fn keys_with_the_same_kid_are_ignored() {
    let (test, _certs) =
        with(&jwk_set(&[SECOND.jwk(), FIRST.jwk(), of_second_named("first"), FIRST.jwk()]));
    refused(&test.send(post_token(&FIRST.token(json!({})))), 401, "invalid_token");
    assert_eq!(test.send(post_token(&SECOND.token(json!({})))).status, 200);
}

#[test]
fn a_key_of_1024_bits_is_not_used() {
    for document in [
        jwk_set(&[weak_jwk(), FIRST.jwk()]),
        json!({"first": FIRST_CERTIFICATE, "weak": WEAK_CERTIFICATE}).to_string(),
    ] {
        let (test, _certs) = with(&document);
        refused(&test.send(post_token(WEAK_TOKEN)), 401, "invalid_token");
    }
}

#[test]
fn lifetime_of_a_response() {
    #[track_caller]
    fn check(headers: &str, seconds: i64) {
        let (test, certs) = test("keys");
        certs.always(answer(headers, &jwk_set(&[FIRST.jwk()])));
        test.app.keys().unwrap().refresh(NOW);
        assert_eq!(keys(&test, NOW)["expires_at"], NOW + seconds, "{headers}");
    }
    // The usual response, and its age.
    check("Cache-Control: public, max-age=19834, must-revalidate, no-transform\r\n", 19_834);
    check("Cache-Control: public, max-age=19834\r\nAge: 834\r\n", 19_000);
    check("Cache-Control: max-age=7200\r\nAge: soon\r\n", 7200);
    check("Cache-Control: max-age=7200\r\nAge: -1\r\n", 7200);
    check("Cache-Control: max-age=7200\r\nAge: 200, 7000\r\n", 7000);
    check("Cache-Control: max-age=7200\r\nAge: 200\r\nAge: 7000\r\n", 7000);
    check("Cache-Control: max-age=7200\r\nAge: 99999999999999999999\r\n", 60);
    // Spellings of a directive.
    check("Cache-Control: PUBLIC,MAX-AGE=7200\r\n", 7200);
    check("Cache-Control: max-age=\"7200\"\r\n", 7200);
    check("Cache-Control: public\r\nCache-Control: max-age=7200\r\n", 7200);
    check("Cache-Control: max-age=7200, max-age=9000\r\n", 7200);
    check("Cache-Control: x=\"a, max-age=90, \\\" b\", max-age=7200\r\n", 7200);
    check("Cache-Control: s-maxage=90, x-max-age=90, max-age=7200\r\n", 7200);
    // No lifetime is given.
    check("Cache-Control: public\r\n", HOUR);
    check("Cache-Control: s-maxage=90, x-max-age=90\r\n", HOUR);
    check("Cache-Control: public\r\nAge: 600\r\n", HOUR - 600);
    // Unreadable values mean stale.
    check("Cache-Control: max-age=soon\r\n", 60);
    check("Cache-Control: max-age=-1\r\n", 60);
    check("Cache-Control: max-age=\r\n", 60);
    check("Cache-Control: max-age\r\n", 60);
    check("Cache-Control: max-age=7200.5\r\n", 60);
    // Responses that must not be stored.
    check("Cache-Control: no-store\r\n", 60);
    check("Cache-Control: no-cache, max-age=5000\r\n", 60);
    check("Cache-Control: max-age=5000, No-Store\r\n", 60);
    check("Cache-Control: no-cache=\"Set-Cookie\", max-age=5000\r\n", 60);
    // Expires without max-age. NOW is Fri, 15 Jan 2027 08:00:00 GMT.
    check("Cache-Control: public\r\nExpires: Fri, 15 Jan 2027 10:00:00 GMT\r\n", 7200);
    check("Cache-Control: public\r\nExpires: Friday, 15-Jan-27 10:00:00 GMT\r\n", 7200);
    check("Cache-Control: public\r\nExpires: Fri Jan 15 10:00:00 2027\r\n", 7200);
    check("Cache-Control: max-age=90\r\nExpires: Fri, 15 Jan 2027 10:00:00 GMT\r\n", 90);
    check("Cache-Control: public\r\nExpires: Fri, 15 Jan 2027 07:00:00 GMT\r\n", 60);
    check("Cache-Control: public\r\nExpires: 0\r\n", 60);
    let noon = "Cache-Control: public\r\nExpires: Fri, 15 Jan 2027 12:00:00 GMT\r\n";
    check(&format!("{noon}Date: Fri, 15 Jan 2027 09:00:00 GMT\r\n"), 3 * HOUR);
    check(&format!("{noon}Date: Fri, 15 Jan 2027 07:00:00 GMT\r\n"), 4 * HOUR);
    check("Cache-Control: max-age=7200\r\nDate: Fri, 15 Jan 2027 07:00:00 GMT\r\n", HOUR);
    check("Cache-Control: max-age=7200\r\nDate: Fri, 15 Jan 2027 08:30:00 GMT\r\n", 7200);
    check("Cache-Control: max-age=7200\r\nDate: soon\r\n", 7200);
    // Minimum and maximum.
    check("Cache-Control: max-age=59\r\n", 60);
    check("Cache-Control: max-age=61\r\n", 61);
    check("Cache-Control: max-age=100\r\nAge: 7000\r\n", 60);
    check("Cache-Control: max-age=86401\r\n", DAY);
    check("Cache-Control: max-age=86399\r\n", DAY - 1);
    check("Cache-Control: max-age=99999999999999999999\r\n", DAY);
}
