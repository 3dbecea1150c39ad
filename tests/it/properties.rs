//! Random inputs never cause a panic or a wrong acceptance.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hallpass::google::{Expected, Identity, KeySet, Rejection, VerifiedBy};
use hallpass::http::Request;
use hallpass::token::IdToken;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::signing::{FIRST, SECOND, segment};
use crate::test_app::{
    CLIENT_ID, FORM, NOW, RequestExt, TestApp, get, post, post_token, usual_claims,
};
use crate::verify;

static WORLD: LazyLock<TestApp> = LazyLock::new(TestApp::open);
/// Verifies tokens with the first key, which is already there.
static BY_KEYS: LazyLock<TestApp> = LazyLock::new(|| {
    let (test, _certs) = verify::test("keys");
    test.app.keys().unwrap().refresh(NOW);
    test
});

const CONTRACT: [u16; 14] = [200, 204, 302, 303, 400, 401, 403, 404, 405, 413, 415, 429, 431, 503];

fn any_request() -> impl Strategy<Value = Request> {
    let name = prop_oneof![
        Just("Authorization"),
        Just("Cookie"),
        Just("Origin"),
        Just("Content-Type"),
        Just("Accept"),
        Just("X-Forwarded-For"),
        Just("X-Forwarded-Host"),
        Just("X-Forwarded-Uri"),
        Just("X-Forwarded-Proto"),
    ];
    let value = prop_oneof![
        "[ -~]{0,40}",
        "Bearer [A-Za-z0-9_.=-]{0,60}",
        "(__Host-hallpass|g_csrf_token)=[!-~]{0,20}(; [ -~]{0,20})?",
        Just(FORM.to_owned()),
        Just("application/json".to_owned()),
    ];
    let target = prop_oneof![
        "/auth/(signin|signout|me|check|forward|account|sessions)(\\?[!-~]{0,40})?",
        "/auth/sessions/[!-~]{0,20}",
        "/[!-~]{0,40}",
    ];
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "(id_token|idToken|credential|nonce|sub|g_csrf_token)=[!-~]{0,30}(&[!-~]{0,30})*"
            .prop_map(String::into_bytes),
        any_json(2).prop_map(|value| value.to_string().into_bytes()),
    ];
    let method = prop_oneof![
        Just("GET"),
        Just("POST"),
        Just("DELETE"),
        Just("OPTIONS"),
        Just("HEAD"),
        Just("BREW")
    ];
    (method, target, prop::collection::vec((name, value), 0..6), body).prop_map(
        |(method, target, headers, body)| Request {
            method: method.to_owned(),
            target,
            headers: headers
                .into_iter()
                .map(|(name, value)| (name.to_owned().into(), value))
                .collect(),
            body,
            peer: Some([127, 0, 0, 1].into()),
        },
    )
}

fn any_json(depth: u32) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "\\PC{0,12}".prop_map(Value::from),
        "(id_token|idToken|credential|nonce)".prop_map(Value::from),
    ];
    leaf.prop_recursive(depth, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("(id_token|idToken|nonce|sub|[a-z]{1,4})", inner, 0..4)
                .prop_map(Value::from_iter),
        ]
    })
}

/// A token segment: base64url of a header, of claims or of anything, or not base64url at all.
fn any_segment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(segment(&FIRST.header().to_string())),
        Just(segment(&usual_claims().to_string())),
        any_json(2).prop_map(|value| segment(&value.to_string())),
        ("(alg|kid|typ|crit|jwk)", any_json(1)).prop_map(|(name, value)| {
            let mut header = FIRST.header();
            header[name] = value;
            segment(&header.to_string())
        }),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| URL_SAFE_NO_PAD.encode(bytes)),
        "[A-Za-z0-9_.-]{0,60}",
    ]
}

fn judge(document: &[u8]) -> Result<Identity, Rejection> {
    let audiences = [CLIENT_ID.to_owned()];
    let expected = Expected { audiences: &audiences, nonce: None, now: NOW };
    Identity::verify(document, VerifiedBy::Tokeninfo, &expected)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_gets_an_answer_of_the_contract(request in any_request()) {
        let response = WORLD.send(request);
        prop_assert!(CONTRACT.contains(&response.status), "{}", response.status);
        for (name, value) in &response.headers {
            prop_assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{name}: {value:?}");
        }
        // Nobody is signed in, so nobody passes.
        prop_assert!(response.header("X-Auth-Request-User").is_none());
    }

    #[test]
    fn any_cookie_header_is_harmless(header in "\\PC{0,80}") {
        let response = WORLD.send(get("/auth/me").header("Cookie", &header));
        prop_assert_eq!(response.status, 401);
    }

    #[test]
    fn any_token_text_is_refused_or_sent_whole(text in "[ -~]{0,60}") {
        let fields = url::form_urlencoded::Serializer::new(String::new()).append_pair("id_token", &text).finish();
        let response = WORLD.send(post("/auth/signin", FORM, &fields));
        prop_assert!(matches!(response.status, 400 | 401 | 503), "{}", response.status);
        if let Some(token) = IdToken::parse(&text) {
            prop_assert_eq!(token.expose(), text.as_str());
        }
    }

    #[test]
    fn any_claim_is_judged_without_a_panic(
        name in "(iss|aud|sub|exp|iat|nbf|nonce|email|email_verified|hd|azp|name|picture|[a-z]{1,6})", value in any_json(2),
    ) {
        let mut claims = usual_claims();
        claims[&name] = value;
        if let Ok(identity) = judge(claims.to_string().as_bytes()) {
            let claims = identity.claims();
            prop_assert_eq!(&claims.audience, CLIENT_ID);
            prop_assert!(claims.expires_at > NOW);
            prop_assert!((1..=255).contains(&claims.profile.subject.len()));
        }
    }

    #[test]
    fn any_segments_are_taken_apart_without_a_panic(
        header in any_segment(), payload in any_segment(), signature in any_segment(), dots in "\\.{0,2}",
    ) {
        for token in [
            format!("{header}.{payload}.{signature}{dots}"),
            SECOND.sign_segments(&format!("{header}.{payload}")),
            FIRST.sign_segments(&format!("{header}.{}", segment("{}"))),
        ] {
            let response = BY_KEYS.send(post_token(&token));
            // 503 if it names an unknown key.
            prop_assert!(matches!(response.status, 400 | 401 | 503), "{}", response.status);
        }
    }

    #[test]
    fn one_changed_character_spoils_a_token(at in any::<prop::sample::Index>(), by in "[A-Za-z0-9_.-]") {
        let good = FIRST.token(json!({}));
        let at = at.index(good.len());
        let changed = format!("{}{by}{}", &good[..at], &good[at + 1..]);
        let response = BY_KEYS.send(post_token(&changed));
        // 503 if it names an unknown key.
        prop_assert!(matches!(response.status, 200 | 401 | 503), "{}", response.status);
        prop_assert_eq!(response.status == 200, changed == good);
    }

    #[test]
    fn any_key_document_is_read_without_a_panic(document in prop_oneof![
        any_json(3).prop_map(|value| json!({"keys": [value]}).to_string()),
        any_json(2).prop_map(|value| json!({"first": value}).to_string()),
        ("[A-Za-z0-9_-]{300,400}", "[A-Za-z0-9_-]{0,8}").prop_map(|(n, e)| {
            json!({"keys": [{"kty": "RSA", "kid": "first", "n": n, "e": e}]}).to_string()
        }),
        prop::collection::vec(any::<u8>(), 0..400).prop_map(|der| {
            let pem = base64::engine::general_purpose::STANDARD.encode(der);
            json!({"first": format!("-----BEGIN CERTIFICATE-----\n{pem}\n-----END CERTIFICATE-----\n")}).to_string()
        }),
    ]) {
        if let Ok(keys) = KeySet::parse(document.as_bytes()) {
            prop_assert!(keys.sizes().iter().all(|(_, bits)| (2048..=8192).contains(bits)));
        }
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(judge(&bytes).is_err());
    }
}
