//! What events change.

use std::thread;

use hallpass::store::Actor;
use serde_json::{Value, json};

use super::{SUBJECT, claims, deliver, event, event_about, near_me, signed, test};
use crate::test_app::{
    DAY, FORM, NOW, RequestExt, TestApp, body, document, get, post, post_token, refused, token,
};

const HIJACKED: &str = "Google reported that this account was disabled";

fn disabled(more: Value) -> Value {
    event("account-disabled", more)
}

fn hijacked() -> Value {
    disabled(json!({"reason": "hijacking"}))
}

fn enabled() -> Value {
    event("account-enabled", json!({}))
}

/// Whether the usual person can sign in.
fn may_sign_in(test: &TestApp) -> bool {
    let response = test.send(post_token(&token(json!({}))));
    assert!(matches!(response.status, 200 | 403), "{}", body(&response));
    response.status == 200
}

fn set_blocked(test: &TestApp, blocked: bool) {
    assert!(test.app.store().set_blocked(SUBJECT, blocked, Actor::operator(), NOW).unwrap());
}

#[test]
fn each_type_has_its_effect() {
    // Whether sessions end, and whether sign-in is refused.
    for (name, more, (ends, refuses)) in [
        ("sessions-revoked", json!({}), (true, false)),
        ("tokens-revoked", json!({}), (true, false)),
        ("account-disabled", json!({"reason": "hijacking"}), (true, true)),
        ("account-disabled", json!({"reason": "bulk-account"}), (true, false)),
        ("account-disabled", json!({"reason": "Hijacking"}), (true, false)),
        ("account-disabled", json!({}), (true, false)),
        ("account-purged", json!({}), (true, false)),
        ("account-enabled", json!({}), (false, false)),
        ("account-credential-change-required", json!({}), (false, false)),
        ("verification", json!({"state": "hello"}), (false, false)),
    ] {
        let (test, _certs) = test();
        let session = test.session();
        let bearer = token(json!({}));
        assert_eq!(test.send(get("/auth/check").bearer(&bearer)).status, 200);
        let for_programs = post("/auth/tokens", FORM, "name=backup").bearer(&session);
        let for_programs = document(&test.send(for_programs))["token"]["token"].clone();
        let other = test.sign_in(json!({"sub": "2", "email": null}));
        test.receive(event(name, more.clone()));
        let expected = if ends { 401 } else { 200 };
        for mine in [&session, &bearer, for_programs.as_str().unwrap()] {
            assert_eq!(test.send(near_me(mine)).status, expected, "{name} {more}");
        }
        let other = other["session"]["token"].as_str().unwrap();
        assert_eq!(test.send(near_me(other)).status, 200, "{name}");
        if ends {
            refused(
                &test.send(post_token(&bearer)),
                if refuses { 403 } else { 401 },
                if refuses { "access_denied" } else { "invalid_token" },
            );
        }
        assert_eq!(may_sign_in(&test), !refuses, "{name} {more}");
        let ended =
            "events WHERE kind = 'revocation' AND reason = 'by Google' AND session_id IS NOT NULL";
        assert_eq!(test.count(ended), if ends { 3 } else { 0 }, "{name}");

        let record =
            |column: &str| test.text(&format!("SELECT {column} FROM events WHERE kind = 'google'"));
        assert_eq!(record("reason").as_deref(), Some(name));
        let detail = more["reason"].as_str().or(more["state"].as_str());
        assert_eq!(record("detail").as_deref(), detail, "{name}");
        let about = (name != "verification").then_some(SUBJECT);
        assert_eq!(record("sub").as_deref(), about, "{name}");
        assert_eq!(record("email").is_some(), about.is_some(), "{name}");
    }
}

#[test]
fn several_types_in_one_token() {
    let (test, _certs) = test();
    let session = test.session();
    let mut events = hijacked();
    for more in
        [event("sessions-revoked", json!({})), event_about("7", "account-purged", json!({}))]
    {
        events.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    }
    test.receive(events);
    assert_eq!(test.send(near_me(&session)).status, 401);
    assert!(!may_sign_in(&test));
    assert_eq!(test.count("events WHERE kind = 'google'"), 2);
}

#[test]
fn a_person_whose_account_was_disabled_is_told_so() {
    let (test, _certs) = test();
    test.session();
    test.receive(hijacked());
    let response = test.send(post_token(&token(json!({}))));
    refused(&response, 403, "access_denied");
    assert!(body(&response).contains(HIJACKED));
    let page =
        test.send(post_token(&token(json!({}))).browser().header("Sec-Fetch-Site", "same-origin"));
    assert!(page.status == 403 && body(&page).contains(HIJACKED), "{}", body(&page));
    assert_eq!(test.count("events WHERE kind = 'refusal'"), 2);
}

#[test]
fn a_session_of_a_disabled_account_does_not_work() {
    let (test, _certs) = test();
    let session = test.session();
    test.sql("UPDATE users SET google_disabled_at = 1");
    let response = test.send(near_me(&session));
    assert!(response.status == 403 && body(&response).contains(HIJACKED));
}

#[test]
fn an_event_is_applied_once() {
    let (test, _certs) = test();
    test.session();
    let first = claims(hijacked());
    test.receive_claims(&first, NOW);
    test.receive(enabled());
    assert!(may_sign_in(&test));
    let session = test.session();
    for now in [NOW, NOW + DAY, NOW + 30 * DAY - 1] {
        while test.app.store().purge(now, None).unwrap() {}
        test.receive_claims(&first, now);
    }
    assert_eq!(test.send(near_me(&session)).status, 200);
    assert_eq!(test.count("events WHERE kind = 'google'"), 2);
    // By then, sessions have other reasons to be new.
    while test.app.store().purge(NOW + 30 * DAY, None).unwrap() {}
    assert_eq!(test.count("google_events"), 0);
}

#[test]
fn an_event_survives_a_restart() {
    let (test, certs) = test();
    let session = test.session();
    let first = claims(hijacked());
    test.receive_claims(&first, NOW);
    let url = certs.url();
    let test = test.restarted(&["--allow-anyone", "--google-events", "--keys-url", &url]);
    test.receive_claims(&first, NOW);
    assert_eq!(test.send(near_me(&session)).status, 401);
    assert!(!may_sign_in(&test));
    assert_eq!(test.count("events WHERE kind = 'google'"), 1);
}

/// One step of a story.
#[derive(Debug, Clone, Copy)]
enum Step {
    Hijacked(i64),
    Enabled(i64),
    Block,
    Unblock,
}

#[test]
fn neither_google_nor_the_operator_undoes_the_others_block() {
    use Step::{Block, Enabled, Hijacked, Unblock};
    #[track_caller]
    fn check(steps: &[Step], expected: bool) {
        let (test, _certs) = test();
        test.session();
        for step in steps {
            let (events, at) = match *step {
                Hijacked(at) => (hijacked(), at),
                Enabled(at) => (enabled(), at),
                Block => {
                    set_blocked(&test, true);
                    continue;
                }
                Unblock => {
                    set_blocked(&test, false);
                    continue;
                }
            };
            let mut claims = claims(events);
            claims["iat"] = json!(NOW - 1000 + at);
            test.receive_claims(&claims, NOW);
        }
        assert_eq!(may_sign_in(&test), expected, "{steps:?}");
    }
    check(&[Hijacked(1)], false);
    check(&[Hijacked(1), Enabled(2)], true);
    check(&[Block, Hijacked(1), Enabled(2)], false);
    check(&[Hijacked(1), Block, Enabled(2)], false);
    check(&[Hijacked(1), Enabled(2), Block], false);
    check(&[Block, Enabled(1)], false);
    check(&[Hijacked(1), Unblock], true);
    check(&[Block, Hijacked(1), Unblock], true);
    check(&[Hijacked(1), Block, Unblock], true);
    check(&[Block, Hijacked(1), Enabled(2), Unblock], true);
    check(&[Block, Unblock, Hijacked(1)], false);
    check(&[Hijacked(1), Unblock, Hijacked(2)], false);
    check(&[Hijacked(1), Unblock, Enabled(2), Block], false);
    // Deliveries may overtake each other.
    check(&[Hijacked(2), Enabled(1)], false);
    check(&[Hijacked(2), Enabled(2)], true);
    check(&[Hijacked(3), Hijacked(1), Enabled(2)], false);
    check(&[Hijacked(1), Enabled(2), Hijacked(3), Enabled(4)], true);
}

#[test]
fn very_many_sessions_end_too() {
    let (test, _certs) = test();
    let session = test.session();
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
        INSERT INTO sessions (token_sha256, id, sub, kind, client_id, created_at, last_seen_at, expires_at)
        SELECT randomblob(32), 's' || i, sub, kind, client_id, created_at, last_seen_at, expires_at FROM sessions, n";
    test.sql(fill);
    test.receive(hijacked());
    assert_eq!(test.send(near_me(&session)).status, 401);
    assert_eq!(test.count("sessions WHERE ended_at IS NULL"), 0);
    assert_eq!(test.count("events WHERE kind = 'revocation'"), 1201);
    assert_eq!((test.count("events WHERE kind = 'google'"), test.count("google_events")), (1, 1));
}

#[test]
fn a_sign_in_at_the_same_moment_leaves_no_session() {
    let (test, _certs) = test();
    test.session();
    for round in 0..20 {
        let event = signed(&claims(hijacked()));
        let sign_in = post_token(&token(json!({})));
        thread::scope(|scope| {
            scope.spawn(|| assert!(matches!(test.send(sign_in).status, 200 | 403)));
            scope.spawn(|| assert_eq!(test.send(deliver(&event)).status, 202));
        });
        assert_eq!(test.count("sessions WHERE ended_at IS NULL"), 0, "round {round}");
        test.receive(enabled());
    }
}

#[test]
fn one_event_delivered_at_once_is_applied_once() {
    let (test, _certs) = test();
    test.session();
    let event = deliver(&signed(&claims(hijacked())));
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| assert_eq!(test.send(event.clone()).status, 202));
        }
    });
    assert_eq!((test.count("google_events"), test.count("events WHERE kind = 'google'")), (1, 1));
}

#[test]
fn there_is_no_202_if_the_store_cannot_write() {
    let (test, _certs) = test();
    let session = test.session();
    let other = test.other_process();
    other.execute_batch("ALTER TABLE google_events RENAME TO gone").unwrap();
    let event = deliver(&signed(&claims(hijacked())));
    refused(&test.send(event.clone()), 503, "temporarily_unavailable");
    assert_eq!(test.send(near_me(&session)).status, 200, "all or nothing");
    other.execute_batch("ALTER TABLE gone RENAME TO google_events").unwrap();
    assert_eq!(test.send(event).status, 202);
    assert_eq!(test.send(near_me(&session)).status, 401);
}
