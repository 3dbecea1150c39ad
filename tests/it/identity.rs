//! Which claims make a token valid, rule by rule, on both sides of every limit.

use hallpass::google::{Expected, Identity, Rejection, VerifiedBy};
use serde_json::{Value, json};

use crate::test_app::{CLIENT_ID, DAY, NOW, usual_claims};

/// The verdict on claims from tokeninfo.
#[track_caller]
fn verify(document: &str, nonce: Option<&str>) -> Result<Identity, Rejection> {
    verify_by(VerifiedBy::Tokeninfo, document, nonce)
}

/// Also checks that the explanation and the decision agree.
#[track_caller]
fn verify_by(by: VerifiedBy, document: &str, nonce: Option<&str>) -> Result<Identity, Rejection> {
    let audiences = [CLIENT_ID.to_owned(), "second".to_owned()];
    let expected = Expected { audiences: &audiences, nonce, now: NOW };
    let identity = Identity::verify(document.as_bytes(), by, &expected);
    let (verdicts, _) = Identity::explain(document.as_bytes(), by, &expected);
    let explained = verdicts.iter().find_map(|rule| rule.verdict.err());
    assert_eq!(explained, identity.as_ref().err().copied(), "{document}");
    identity
}

fn with(name: &str, value: Value) -> String {
    let mut claims = usual_claims();
    claims[name] = value;
    claims.to_string()
}

fn without(name: &str) -> String {
    let mut claims = usual_claims();
    claims.as_object_mut().unwrap().remove(name);
    claims.to_string()
}

#[track_caller]
fn good(document: String) {
    assert!(verify(&document, None).is_ok(), "{document}: {:?}", verify(&document, None).err());
}

#[track_caller]
fn wrong(document: String) {
    assert!(matches!(verify(&document, None), Err(Rejection::Invalid(_))), "{document}");
}

#[track_caller]
fn unreadable(document: &str) {
    assert!(matches!(verify(document, None), Err(Rejection::Unreadable(_))), "{document}");
}

#[test]
fn issuer() {
    good(with("iss", json!("https://accounts.google.com")));
    good(with("iss", json!("accounts.google.com")));
    wrong(with("iss", json!("http://accounts.google.com")));
    wrong(with("iss", json!("https://accounts.google.com/")));
    wrong(with("iss", json!("https://accounts.google.com.evil.example")));
    wrong(with("iss", json!("Accounts.google.com")));
    wrong(with("iss", json!("")));
}

#[test]
fn audience_must_match_in_full() {
    good(with("aud", json!("second")));
    wrong(with("aud", json!("secon")));
    wrong(with("aud", json!("second2")));
    wrong(with("aud", json!("SECOND")));
    wrong(with("aud", json!(" second")));
    wrong(with("aud", json!(["second"])));
    wrong(with("aud", json!("")));
}

#[test]
fn no_audience_configured_is_not_any_audience() {
    let expected = Expected { audiences: &[], nonce: None, now: NOW };
    let document = usual_claims().to_string();
    let verdict = Identity::verify(document.as_bytes(), VerifiedBy::Tokeninfo, &expected);
    assert!(matches!(verdict, Err(Rejection::Invalid(_))));
}

#[test]
fn expiry() {
    wrong(with("exp", json!(NOW - 1)));
    wrong(with("exp", json!(NOW)));
    good(with("exp", json!(NOW + 1)));
    good(with("exp", json!(NOW + DAY)));
    wrong(with("exp", json!(NOW + DAY + 1)));
    wrong(with("exp", json!(-1)));
    wrong(with("exp", json!(i64::MAX)));
}

#[test]
fn issued_at() {
    good(with("iat", json!(NOW + 300)));
    wrong(with("iat", json!(NOW + 301)));
    good(with("iat", json!(1)));
    wrong(with("iat", json!(0)));
    wrong(with("iat", json!("0")));
    wrong(with("iat", json!(-1)));
    wrong(with("iat", json!(i64::MAX)));
}

#[test]
fn not_before() {
    good(without("nbf"));
    good(with("nbf", Value::Null));
    good(with("nbf", json!(0)));
    good(with("nbf", json!(NOW + 300)));
    good(with("nbf", json!((NOW + 300).to_string())));
    wrong(with("nbf", json!(NOW + 301)));
    wrong(with("nbf", json!((NOW + 301).to_string())));
    wrong(with("nbf", json!(-1)));
    wrong(with("nbf", json!(i64::MAX)));
    wrong(with("nbf", json!("")));
    wrong(with("nbf", json!([NOW])));
}

#[test]
fn a_time_in_a_signed_token_is_a_number() {
    for name in ["exp", "iat", "nbf"] {
        let (number, text) =
            (with(name, json!(NOW + 60)), with(name, json!((NOW + 60).to_string())));
        good(text.clone());
        assert!(verify_by(VerifiedBy::Keys, &number, None).is_ok());
        let verdict = verify_by(VerifiedBy::Keys, &text, None);
        assert!(matches!(verdict, Err(Rejection::Invalid(_))), "{name}");
    }
}

#[test]
fn subject() {
    good(with("sub", json!("1")));
    good(with("sub", json!("a".repeat(255))));
    wrong(with("sub", json!("a".repeat(256))));
    wrong(with("sub", json!("")));
    wrong(with("sub", json!("é")));
    wrong(with("sub", json!("1\n2")));
    wrong(with("sub", json!(110169484474386276334.0)));
}

#[test]
fn nonce_must_be_in_both_or_in_neither() {
    let (plain, with_nonce) = (usual_claims().to_string(), with("nonce", json!("n1")));
    assert!(verify(&plain, None).is_ok());
    assert!(verify(&with_nonce, Some("n1")).is_ok());
    for (document, nonce) in [(&plain, Some("n1")), (&with_nonce, None), (&with_nonce, Some("n2"))]
    {
        assert!(
            matches!(verify(document, nonce), Err(Rejection::Invalid(_))),
            "{document} {nonce:?}"
        );
    }
    wrong(with("nonce", json!("")));
}

#[test]
fn values_are_strings_or_json_types() {
    good(with("exp", json!((NOW + 60).to_string())));
    good(with("iat", json!(NOW.to_string())));
    good(with("email_verified", json!("true")));
    good(with("email_verified", json!("false")));
    good(with("email_verified", json!(false)));
    for value in [
        json!("+1800000060"),
        json!("1800000060.0"),
        json!(" 1800000060"),
        json!("0x6B49D23C"),
        json!(""),
    ] {
        wrong(with("exp", value));
    }
    for value in
        [json!(1_800_000_060.5), json!(true), json!([]), json!({}), json!("99999999999999999999")]
    {
        wrong(with("exp", value));
    }
    for value in [json!("TRUE"), json!("1"), json!(1), json!(""), json!([true])] {
        wrong(with("email_verified", value));
    }
    for name in [
        "iss",
        "aud",
        "sub",
        "email",
        "hd",
        "name",
        "picture",
        "locale",
        "azp",
        "given_name",
        "family_name",
    ] {
        wrong(with(name, json!(1)));
        wrong(with(name, json!("")));
    }
}

#[test]
fn absent_and_null_are_the_same() {
    for name in ["iss", "sub", "aud", "iat", "exp"] {
        unreadable(&without(name));
        unreadable(&with(name, Value::Null));
    }
    for name in [
        "email",
        "email_verified",
        "hd",
        "name",
        "given_name",
        "family_name",
        "picture",
        "locale",
        "azp",
    ] {
        good(without(name));
        good(with(name, Value::Null));
    }
}

#[test]
fn unknown_fields_are_ignored() {
    good(with("auth_time", json!([1, {"a": null}])));
    good(with("at_hash", json!("")));
}

#[test]
fn a_repeated_field_is_refused() {
    let document = usual_claims().to_string();
    for name in ["aud", "sub", "hd", "surprise"] {
        let doubled = document.replacen('{', &format!("{{\"{name}\":\"x\","), 1);
        if name == "surprise" || name == "hd" {
            good(doubled.clone());
            wrong(doubled.replacen('{', &format!("{{\"{name}\":\"y\","), 1));
        } else {
            wrong(doubled);
        }
    }
    // An escape does not hide a repetition.
    wrong(document.replacen('{', "{\"\\u0061ud\":\"x\",", 1));
}

#[test]
fn only_a_json_object_is_a_verdict() {
    for document in [
        "",
        "null",
        "[]",
        "\"x\"",
        "<html>",
        "{",
        "{}",
        r#"{"error":"invalid_token"}"#,
        "{}{}",
        "\u{feff}{}",
    ] {
        unreadable(document);
    }
    let whole = usual_claims().to_string();
    unreadable(&whole[..whole.len() - 1]);
    unreadable(&format!("{whole}x"));
}

#[test]
fn google_is_authoritative_for_some_emails() {
    #[track_caller]
    fn check(email: &str, verified: Value, hd: Value, expected: bool) {
        let mut claims = usual_claims();
        (claims["email"], claims["email_verified"], claims["hd"]) = (json!(email), verified, hd);
        assert_eq!(
            verify(&claims.to_string(), None).unwrap().claims().profile.email_authoritative,
            expected
        );
    }
    check("a@gmail.com", json!(true), Value::Null, true);
    check("a@GMAIL.com", Value::Null, Value::Null, true);
    check("a@googlemail.com", json!(true), Value::Null, false);
    check("a@notgmail.com", json!(true), Value::Null, false);
    check("a@gmail.com.evil.example", json!(true), Value::Null, false);
    check("a@example.com", json!(true), Value::Null, false);
    check("a@example.com", json!(true), json!("example.com"), true);
    check("a@example.com", json!("true"), json!("example.com"), true);
    check("a@example.com", json!(false), json!("example.com"), false);
    check("a@example.com", Value::Null, json!("example.com"), false);
    check("a@evil@gmail.com", json!(true), Value::Null, false);
    check("a@evil@example.com", json!(true), json!("example.com"), false);
    check("@gmail.com", json!(true), Value::Null, false);
    check("gmail.com", json!(true), json!("example.com"), false);
}

#[test]
fn email_or_azp_reveals_service_accounts() {
    #[track_caller]
    fn check(email: &str, azp: Value, expected: bool) {
        let mut claims = usual_claims();
        (claims["email"], claims["azp"]) = (json!(email), azp);
        assert_eq!(
            verify(&claims.to_string(), None).unwrap().claims().is_service_account(),
            expected,
            "{email}"
        );
    }
    check("robot@project.iam.gserviceaccount.com", json!(CLIENT_ID), true);
    check("robot@project.iam.GServiceAccount.com", json!(CLIENT_ID), true);
    check("a@gmail.com", json!("117"), true);
    check("a@gmail.com", json!("robot@project.iam.gserviceaccount.com"), true);
    check("a@gmail.com", json!("117-abc.apps.googleusercontent.com"), false);
    check("gserviceaccount.com@gmail.com", json!(CLIENT_ID), false);
    check("a@gmail.com", Value::Null, false);
}

#[test]
fn an_explanation_continues_after_a_failure() {
    let mut claims = usual_claims();
    (claims["aud"], claims["exp"], claims["nonce"]) = (json!("another"), json!(NOW), json!("n1"));
    let audiences = [CLIENT_ID.to_owned()];
    let expected = Expected { audiences: &audiences, nonce: None, now: NOW };
    let document = claims.to_string();
    let (verdicts, claims) =
        Identity::explain(document.as_bytes(), VerifiedBy::Tokeninfo, &expected);
    let rules: Vec<_> = verdicts.iter().map(|rule| (rule.rule, rule.verdict.is_ok())).collect();
    let expected = [
        ("claims", true),
        ("events", true),
        ("iss", true),
        ("aud", false),
        ("exp", false),
        ("iat", true),
        ("nbf", true),
        ("sub", true),
        ("nonce", false),
        ("profile", true),
    ];
    assert_eq!(rules, expected);
    assert_eq!(verdicts[3].claim.as_deref(), Some("another"));
    assert_eq!(verdicts[4].claim, Some(NOW.to_string()));
    assert_eq!(claims.unwrap().profile.email.as_deref(), Some("testuser@gmail.com"));
}
