//! Which events are accepted.

use hallpass::http::Request;
use serde_json::{Value, json};

use super::{
    MEDIA_TYPE, PATH, SUBJECT, claims, deliver, event, from, refused_event, signed, test,
    test_with, url,
};
use crate::google::{Answer, Google};
use crate::signing::{FIRST, SECOND, WEAK_TOKEN, jwk_set};
use crate::test_app::{
    CLIENT_ID, HOUR, NOW, RequestExt, TestApp, body, document, get, near, post, post_token,
    refused, request,
};
use crate::verify::table::forgeries;
use crate::verify::{published, status};

/// The usual event.
fn usual() -> Value {
    claims(event("sessions-revoked", json!({})))
}

#[test]
fn only_with_the_flag() {
    let test = TestApp::open();
    refused(&test.send(deliver(&signed(&usual()))), 404, "not_found");
    refused(&test.send(get(PATH)), 404, "not_found");
    assert!(test.app.keys().is_none());
    let (test, _certs) = self::test();
    let response = test.send(get(PATH));
    refused(&response, 405, "method_not_allowed");
    assert_eq!(response.header("Allow"), Some("POST, OPTIONS"));
    test.receive(event("sessions-revoked", json!({})));
}

#[test]
fn the_keys_are_fetched_whatever_verifies_tokens() {
    for way in ["tokeninfo", "fallback", "keys"] {
        let (test, certs) = test_with(&["--allow-anyone", "--verify", way]);
        test.receive(event("sessions-revoked", json!({})));
        assert_eq!((certs.calls().len(), test.google.calls().len()), (1, 0), "{way}");
        let keys = document(&test.send(near(get("/readyz"))))["keys"].clone();
        assert_eq!((&keys["count"], &keys["in_use"]), (&json!(1), &json!(way == "keys")), "{way}");
    }
    // Without a flag that wants them for tokens, they verify none.
    let (test, _certs) = self::test();
    test.google.always(status(503));
    refused(&test.send(post_token(&FIRST.token(json!({})))), 503, "temporarily_unavailable");
}

#[test]
fn claims_of_events() {
    const INVALID: Option<&str> = Some("invalid_request");
    const AUDIENCE: Option<&str> = Some("invalid_audience");
    const ISSUER: Option<&str> = Some("invalid_issuer");
    let other = "other.apps.googleusercontent.com";
    let rows = [
        ("the usual claims", json!({}), None),
        ("the issuer without a slash", json!({"iss": "https://accounts.google.com"}), None),
        ("the issuer without a scheme", json!({"iss": "accounts.google.com"}), ISSUER),
        ("a foreign issuer", json!({"iss": "https://accounts.google.com.evil.example/"}), ISSUER),
        ("two slashes", json!({"iss": "https://accounts.google.com//"}), ISSUER),
        ("plain http", json!({"iss": "http://accounts.google.com/"}), ISSUER),
        ("an issuer of another case", json!({"iss": "https://Accounts.google.com/"}), ISSUER),
        ("an empty issuer", json!({"iss": ""}), ISSUER),
        ("no issuer", json!({"iss": null}), INVALID),
        ("a list of issuers", json!({"iss": ["https://accounts.google.com/"]}), INVALID),
        ("a list with our audience", json!({"aud": [other, CLIENT_ID]}), None),
        ("another audience", json!({"aud": other}), AUDIENCE),
        ("part of our audience", json!({"aud": &CLIENT_ID[1..]}), AUDIENCE),
        ("others' audiences", json!({"aud": [other, &CLIENT_ID[1..]]}), AUDIENCE),
        ("an empty list", json!({"aud": []}), AUDIENCE),
        ("an empty audience", json!({"aud": ""}), AUDIENCE),
        ("a list with a number", json!({"aud": [CLIENT_ID, 1]}), INVALID),
        ("a list of lists", json!({"aud": [[CLIENT_ID]]}), INVALID),
        ("no audience", json!({"aud": null}), INVALID),
        ("long ago", json!({"iat": 1}), None),
        ("a clock that is ahead", json!({"iat": NOW + 300}), None),
        ("issued tomorrow", json!({"iat": NOW + 301}), INVALID),
        ("an iat of 0", json!({"iat": 0}), INVALID),
        ("a negative iat", json!({"iat": -1}), INVALID),
        ("iat as text", json!({"iat": NOW.to_string()}), INVALID),
        ("iat as a fraction", json!({"iat": NOW as f64 + 0.5}), INVALID),
        ("no iat", json!({"iat": null}), INVALID),
        ("expired", json!({"exp": 1}), None),
        ("claims unknown", json!({"x": {"y": [1, null]}, "toe": NOW}), None),
        ("no jti", json!({"jti": null}), INVALID),
        ("an empty jti", json!({"jti": ""}), INVALID),
        ("jti as a number", json!({"jti": 1}), INVALID),
        ("no events", json!({"events": null}), INVALID),
        ("empty events", json!({"events": {}}), INVALID),
        ("a list of events", json!({"events": [event("sessions-revoked", json!({}))]}), INVALID),
        ("an event that is no object", json!({"events": {url("sessions-revoked"): 1}}), INVALID),
    ];
    let (test, _certs) = self::test();
    for (number, (what, changes, expected)) in rows.into_iter().enumerate() {
        let mut claims = usual();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => claims.as_object_mut().unwrap().remove(name),
                value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
            };
        }
        let response = test.send(from(number, deliver(&signed(&claims))));
        match expected {
            None => assert_eq!(response.status, 202, "{what}: {}", body(&response)),
            Some(code) => refused_event(&response, code, what),
        }
    }
}

#[test]
fn subjects_of_events() {
    let (test, _certs) = self::test();
    let google = "https://accounts.google.com/";
    let outcome = |subject: Value| {
        test.session();
        let events = json!({url("sessions-revoked"): {"subject": subject}});
        let response = test.send(deliver(&signed(&claims(events))));
        (response.status, test.count("sessions WHERE ended_at IS NULL") == 0)
    };
    let of = |subject_type: &str, iss: &str, sub: &str| json!({"subject_type": subject_type, "iss": iss, "sub": sub});
    for (subject, expected) in [
        (of("iss-sub", google, SUBJECT), (202, true)),
        (of("iss-sub", "https://accounts.google.com", SUBJECT), (202, true)),
        (of("iss-sub", "accounts.google.com", SUBJECT), (202, true)),
        (of("id_token_claims", google, SUBJECT), (202, true)),
        // The e-mail does not count.
        (
            json!({"subject_type": "id_token_claims", "iss": google, "sub": "7", "email": "testuser@gmail.com"}),
            (202, false),
        ),
        (of("iss-sub", google, "7"), (202, false)),
        (of("iss-sub", "https://other.example/", SUBJECT), (202, false)),
        (of("email", google, SUBJECT), (202, false)),
        (json!({"subject_type": "iss-sub", "iss": google, "sub": SUBJECT, "x": 1}), (202, true)),
        (
            json!({"subject_type": "iss-sub", "iss": google, "email": "testuser@gmail.com"}),
            (400, false),
        ),
        (json!({"subject_type": "iss-sub", "sub": SUBJECT}), (400, false)),
        (json!({"iss": google, "sub": SUBJECT}), (400, false)),
        (json!({"subject_type": "iss-sub", "iss": google, "sub": [SUBJECT]}), (400, false)),
        (of("iss-sub", google, ""), (400, false)),
        (json!(SUBJECT), (400, false)),
        (json!(null), (400, false)),
    ] {
        assert_eq!(outcome(subject.clone()), expected, "{subject}");
    }
    let without = json!({url("sessions-revoked"): {}});
    refused_event(&test.send(deliver(&signed(&claims(without)))), "invalid_request", "no subject");
}

#[test]
fn forged_events() {
    let (test, _certs) = self::test();
    let elsewhere = Google::start();
    elsewhere.always(published(&jwk_set(&[SECOND.jwk()]), 3600));
    let session = test.session();
    let payload = usual().to_string();
    let other = claims(super::event_about("2", "sessions-revoked", json!({}))).to_string();
    for (number, (what, token)) in forgeries(&payload, &other, &elsewhere).into_iter().enumerate() {
        let response = test.send(from(number, deliver(&token)));
        let code = document(&response)["err"].clone();
        assert!(code == "invalid_request" || code == "invalid_key", "{what}: {code}");
        refused_event(&response, code.as_str().unwrap(), what);
    }
    for text in
        ["", ".", "..", "a.b.c", "null", "\u{fffd}", &"a".repeat(16 * 1024), &".".repeat(16 * 1024)]
    {
        refused_event(&test.send(deliver(text)), "invalid_request", text);
    }
    let mut binary = deliver("");
    binary.body = vec![0xff; 100];
    refused_event(&test.send(binary), "invalid_request", "no UTF-8");
    for space in [" ", "\n"] {
        let token = format!("{}{space}", signed(&usual()));
        refused_event(&test.send(deliver(&token)), "invalid_request", "a space");
    }
    assert_eq!(elsewhere.calls().len(), 0, "nobody goes where a token points");
    assert_eq!(test.send(super::near_me(&session)).status, 200);
    assert_eq!((test.count("google_events"), test.count("events WHERE kind = 'google'")), (0, 0));
    test.receive_claims(&serde_json::from_str(&payload).unwrap(), NOW);
    assert_eq!(test.send(super::near_me(&session)).status, 401);
}

#[test]
fn repeated_names_at_any_depth() {
    let (test, _certs) = self::test();
    let sign = |payload: &str| FIRST.sign(&json!({"alg": "RS256", "kid": "first"}), payload);
    let payload = usual().to_string();
    let places = ["{\"aud\"", "{\"sub\"", "\"iss\":", "\"events\":", "\"subject\":", "\"jti\":"];
    let mut found = 0;
    for (number, place) in places.iter().enumerate() {
        let Some(at) = payload.find(&place.replace('{', "")) else { continue };
        found += 1;
        let doubled = format!("{}\"x\":1,\"x\":1,{}", &payload[..at], &payload[at..]);
        let response = test.send(from(number, deliver(&sign(&doubled))));
        refused_event(&response, "invalid_request", &doubled);
        let name: String = payload[at + 1..].chars().take_while(|c| *c != '"').collect();
        let doubled = format!("{}\"{name}\":null,{}", &payload[..at], &payload[at..]);
        let response = test.send(from(number, deliver(&sign(&doubled))));
        refused_event(&response, "invalid_request", &doubled);
    }
    assert_eq!(found, places.len());
    let name = url("sessions-revoked");
    let doubled =
        payload.replacen(&format!("\"{name}\""), &format!("\"{name}\":{{}},\"{name}\""), 1);
    refused_event(&test.send(deliver(&sign(&doubled))), "invalid_request", "an event twice");
    let header = r#"{"alg":"RS256","kid":"first","kid":"first"}"#;
    let token = FIRST.sign_segments(&[header, &payload].map(crate::signing::segment).join("."));
    refused_event(&test.send(deliver(&token)), "invalid_request", "a header with two kids");
    let deep = "[".repeat(5000) + &"]".repeat(5000);
    let deep = payload.replacen('{', &format!("{{\"x\":{deep},"), 1);
    refused_event(&test.send(deliver(&sign(&deep))), "invalid_request", "a deep payload");
}

#[test]
fn types_in_the_header() {
    let (test, _certs) = self::test();
    let send = |typ: Value| {
        let header = json!({"alg": "RS256", "kid": "first", "typ": typ});
        test.send(deliver(&FIRST.sign(&header, &usual().to_string())))
    };
    for typ in ["secevent+jwt", "JWT"] {
        assert_eq!(send(json!(typ)).status, 202, "{typ}");
    }
    assert_eq!(test.send(deliver(&signed(&usual()))).status, 202, "no typ");
    for typ in
        [json!("at+jwt"), json!("logout+jwt"), json!("jwt"), json!(""), json!(["JWT"]), json!(null)]
    {
        refused_event(&send(typ.clone()), "invalid_request", &typ.to_string());
    }
}

#[test]
fn id_tokens_and_events_are_never_confused() {
    for way in ["tokeninfo", "keys"] {
        let (test, _certs) = test_with(&["--allow-anyone", "--verify", way]);
        test.google.always(Answer::Judged(NOW));
        refused_event(&test.send(deliver(&FIRST.token(json!({})))), "invalid_request", way);
        // Even with everything that an ID token needs.
        let mut both = crate::test_app::claims(json!({}));
        both["events"] = event("sessions-revoked", json!({}));
        for iss in
            ["https://accounts.google.com", "accounts.google.com", "https://accounts.google.com/"]
        {
            both["iss"] = json!(iss);
            let token = signed(&both);
            refused(&test.send(post_token(&token)), 401, "invalid_token");
            let bearer = test.send(get("/auth/check").bearer(&token));
            assert_eq!(bearer.status, 401, "{iss} by {way}");
        }
        assert_eq!(test.count("users"), 0);
    }
}

#[test]
fn media_types() {
    let (test, _certs) = self::test();
    for good in [MEDIA_TYPE, "application/jwt", "Application/SecEvent+JWT; charset=utf-8"] {
        assert_eq!(test.send(post(PATH, good, &signed(&usual()))).status, 202, "{good}");
    }
    for bad in ["", "text/plain", "application/json", "application/x-www-form-urlencoded"] {
        let response = test.send(post(PATH, bad, &signed(&usual())));
        refused_event(&response, "invalid_request", bad);
    }
    let without = Request { body: signed(&usual()).into_bytes(), ..request("POST", PATH) };
    refused_event(&test.send(without), "invalid_request", "none");
}

#[test]
fn keys_that_cannot_be_fetched_say_nothing_about_an_event() {
    let (test, certs) = self::test();
    certs.always(status(503));
    let event = signed(&usual());
    refused(&test.send(deliver(&event)), 503, "temporarily_unavailable");
    certs.always(Answer::Hang);
    refused(&test.send_at(deliver(&event), NOW + 60), 503, "temporarily_unavailable");
    certs.always(published(&jwk_set(&[FIRST.jwk()]), 3600));
    assert_eq!(test.send_at(deliver(&event), NOW + 120).status, 202);

    // An unknown kid is only wrong once the keys were fetched for it.
    let payload = usual().to_string();
    let unknown = SECOND.sign(&json!({"alg": "RS256", "kid": "second"}), &payload);
    refused(&test.send_at(deliver(&unknown), NOW + 121), 503, "temporarily_unavailable");
    refused_event(&test.send_at(deliver(&unknown), NOW + 180), "invalid_key", "an unknown kid");
    refused(&test.send_at(deliver(WEAK_TOKEN), NOW + 181), 503, "temporarily_unavailable");
    assert_eq!(certs.calls().len(), 4);
    certs.always(published(&jwk_set(&[FIRST.jwk(), SECOND.jwk()]), 3600));
    assert_eq!(test.send_at(deliver(&unknown), NOW + HOUR).status, 202);
}

#[test]
fn a_rate_limit_of_its_own() {
    let (test, _certs) = self::test();
    let post = || test.send(deliver("garbage"));
    let limited = (0..1000).map(|_| post()).find(|response| response.status != 400).unwrap();
    refused(&limited, 429, "too_many_requests");
    assert_eq!(test.send(from(1, deliver(&signed(&usual())))).status, 202, "another address");
    assert_eq!(test.send(post_token(&FIRST.token(json!({})))).status, 200, "a sign-in");
}

#[test]
fn outcomes_are_counted() {
    let (test, certs) = self::test();
    let count = |outcome: &str| {
        let name = format!("hallpass_google_events_total{{outcome=\"{outcome}\"}} ");
        let metrics = body(&test.send(near(get("/metrics"))));
        metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok()).unwrap_or(0)
    };
    test.session();
    let claims = usual();
    test.receive_claims(&claims, NOW);
    test.receive_claims(&claims, NOW);
    test.receive(super::event_about("7", "sessions-revoked", json!({})));
    test.receive(event("token-revoked", json!({})));
    test.receive(json!({"https://example.com/unknown": {}}));
    test.send(deliver("garbage"));
    certs.always(status(503));
    test.send_at(deliver(&signed(&usual())), NOW + 3 * crate::test_app::DAY);
    let counts = ["applied", "repeated", "unknown", "invalid", "unavailable", "limited"].map(count);
    assert_eq!(counts, [1, 1, 3, 1, 1, 0]);
    assert_eq!((test.count("google_events"), test.count("events WHERE kind = 'google'")), (1, 1));
}
