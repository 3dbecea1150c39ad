//! Recorded refusals, and the budget that limits them in a flood.

use hallpass::http::Request;
use hallpass::store::{Client, Event, EventKind, RefusedBy};
use serde_json::json;

use crate::test_app::{
    DAY, FORM, NOW, RequestExt, TestApp, body, document, get, post, post_token, refused, token,
};

const DIGITS: &str = "1234567890";
const REFUSALS: &str = "events WHERE kind = 'refusal'";

#[track_caller]
fn refuse_unidentified(test: &TestApp, times: usize, now: i64) {
    for _ in 0..times {
        let answer = test.send_at(post_token(DIGITS), now);
        assert!(matches!(answer.status, 400 | 401), "{}", body(&answer));
    }
}

fn unrecorded(test: &TestApp) -> String {
    let mut request = get("/metrics");
    request.peer = Some([127, 0, 0, 1].into());
    let text = body(&test.send(request));
    let line =
        text.lines().find_map(|line| line.strip_prefix("hallpass_refusals_unrecorded_total "));
    line.unwrap().to_owned()
}

#[test]
fn unidentified_refusals_beyond_the_budget_are_only_counted() {
    let test = TestApp::open();
    let refusals_of_the_day = || test.text("SELECT CAST(refusals AS TEXT) FROM days").unwrap();
    refuse_unidentified(&test, 60, NOW);
    assert_eq!((test.count(REFUSALS), unrecorded(&test)), (60, "0".into()));
    refuse_unidentified(&test, 40, NOW);
    assert_eq!((test.count(REFUSALS), unrecorded(&test)), (60, "40".into()));
    assert_eq!(refusals_of_the_day(), "100");
    refuse_unidentified(&test, 20, NOW + 7);
    assert_eq!((test.count(REFUSALS), unrecorded(&test)), (67, "53".into()));
    assert_eq!(refusals_of_the_day(), "120");
    refuse_unidentified(&test, 1, NOW + DAY);
    assert_eq!(test.count("days WHERE refusals = 1"), 1);
}

#[test]
fn a_flood_does_not_hide_refusals_of_known_users() {
    let test = TestApp::with(&["--allow-domain", "example.com"]);
    refuse_unidentified(&test, 100, NOW);
    refused(&test.send(post_token(&token(json!({})))), 403, "access_denied");
    assert_eq!(test.count("events WHERE sub IS NOT NULL"), 1);
}

fn ask(target: &str, session: &str) -> Request {
    ask_for("wiki.example.com", target, session)
}

fn ask_for(host: &str, target: &str, session: &str) -> Request {
    let mut request = get(target).bearer(session).header("X-Forwarded-Host", host);
    request.peer = Some([127, 0, 0, 1].into());
    request
}

#[test]
fn refusals_by_check_and_forward_name_user_app_and_reason() {
    const ROW: &str =
        "SELECT kind || ' ' || sub || ' ' || email || ' ' || ifnull(host, '-') || ' ' || reason ||
        ' ' || (session_id IS NOT NULL) FROM events ORDER BY id DESC LIMIT 1";
    #[track_caller]
    fn check(sql: &str, request: impl Fn(&str) -> Request, host: &str, reason: &str) {
        let test = TestApp::open();
        let session = test.session();
        test.sql(sql);
        let answer = test.send(request(&session));
        assert_eq!(answer.status, 403, "{}", body(&answer));
        let expected =
            format!("refusal 110169484474386276334 testuser@gmail.com {host} {reason} 1");
        assert_eq!(test.text(ROW).unwrap(), expected);
    }
    let app_list = "this account is not on the allow-list of this app";
    for target in ["/auth/check", "/auth/forward"] {
        let denied = format!("{target}?allowed_emails=ada@gmail.com");
        check("", |session| ask(&denied, session), "wiki.example.com", app_list);
    }
    let blocked = "UPDATE users SET blocked_at = 1";
    check(
        blocked,
        |session| ask("/auth/check", session),
        "wiki.example.com",
        "this account is blocked",
    );
    // Headers from a client that is not a trusted proxy are ignored.
    let stranger = |session: &str| Request {
        peer: Some([192, 0, 2, 1].into()),
        ..ask("/auth/check?allowed_emails=", session)
    };
    check("", stranger, "-", app_list);
    // nginx sends the whole URL, whose query may contain secrets.
    let nginx = |session: &str| {
        let url = "https://user:secret@wiki.example.com:8443/path?query=secret";
        let mut request =
            get("/auth/check?allowed_emails=").bearer(session).header("X-Original-URL", url);
        request.peer = Some([127, 0, 0, 1].into());
        request
    };
    check("", nginx, "wiki.example.com:8443", app_list);
}

#[test]
fn the_overview_names_the_app_and_a_token_has_no_client_id() {
    let test = TestApp::with(&["--allow-anyone", "--admin-email", "testuser@gmail.com"]);
    let session = test.session();
    let created = test.send(post("/auth/tokens", FORM, "name=Backup").bearer(&session));
    let program = document(&created)["token"]["token"].as_str().unwrap().to_owned();
    // As for a token that the operator created.
    test.sql("UPDATE sessions SET client_id = '' WHERE kind = 'token'");
    assert_eq!(test.send(ask("/auth/check?allowed_emails=", &program)).status, 403);
    assert_eq!(test.count("events WHERE kind = 'refusal' AND client_id IS NULL"), 1);
    let overview = body(&test.send(get("/auth/admin").browser().cookie(&session)));
    assert!(overview.contains("at <bdi>wiki.example.com</bdi>"), "{overview}");
}

#[test]
fn refusals_by_check_have_their_own_budget() {
    let test = TestApp::open();
    let session = test.session();
    refuse_unidentified(&test, 60, NOW);
    for app in 0..100 {
        let host = format!("app-{app}.example.com");
        assert_eq!(test.send(ask_for(&host, "/auth/check?allowed_emails=", &session)).status, 403);
    }
    assert_eq!((test.count("events WHERE host IS NOT NULL"), unrecorded(&test)), (60, "40".into()));
    for anonymous in ["/auth/check", "/auth/forward?allowed_emails="] {
        assert_eq!(test.send(get(anonymous)).status, 401);
    }
    assert_eq!(test.count(REFUSALS), 120, "a request without a session is not a refusal");
}

#[test]
fn a_refused_exchange_is_recorded_once() {
    let test = TestApp::with(&["--allow-domain", "example.com"]);
    assert_eq!(test.send(ask("/auth/check", &token(json!({})))).status, 403);
    assert_eq!(test.count(REFUSALS), 1);
    assert_eq!(test.count("events WHERE host = 'wiki.example.com'"), 1);
}

#[test]
fn a_refusal_written_after_its_user_was_deleted_has_no_personal_data() {
    let test = TestApp::open();
    let ada = json!({"sub": "1", "email": "ada@gmail.com"});
    // Each with a reason of its own, because a repeated refusal is recorded once.
    let event = |at: i64| Event {
        subject: Some("1".into()),
        email: Some("ada@gmail.com".into()),
        client: Client { address: Some("192.0.2.1".into()), user_agent: Some("Firefox".into()) },
        host: Some("wiki.example.com".into()),
        reason: Some(format!("{at}")),
        ..Event::new(EventKind::Refusal)
    };
    const PERSONAL: &str = "events WHERE coalesce(email, client_address, user_agent) IS NOT NULL";
    test.sign_in(ada);
    test.app.store().delete_user("1", NOW + 100).unwrap();
    for (at, by, personal) in [
        (NOW + 99, RefusedBy::ForwardAuth, 0),
        (NOW + 100, RefusedBy::SignIn, 0),
        (NOW + 160, RefusedBy::ForwardAuth, 0),
        // A stranger again.
        (NOW + 161, RefusedBy::SignIn, 1),
    ] {
        assert!(test.app.store().record_refusal(event(at), by, at));
        assert_eq!(test.count(PERSONAL), personal, "at {}", at - NOW);
    }
    assert_eq!(test.count("events WHERE host = 'wiki.example.com'"), 4);
}

#[test]
fn one_visit_is_one_refusal_even_if_the_proxy_asks_twice() {
    let test = TestApp::open();
    let session = test.session();
    #[track_caller]
    fn check(test: &TestApp, request: Request, now: i64, refusals: i64) {
        assert_eq!(test.send_at(request, now).status, 403);
        assert_eq!(test.count(REFUSALS), refusals);
    }
    let (first, second) = ("/auth/check?allowed_emails=", "/auth/forward?allowed_emails=");
    check(&test, ask(first, &session), NOW, 1);
    check(&test, ask(second, &session), NOW, 1);
    check(&test, ask(second, &session), NOW + 9, 1);
    check(&test, ask(second, &session), NOW + 10, 2);
    check(&test, ask_for("cloud.example.com", first, &session), NOW + 10, 3);
    check(&test, ask("/auth/check?allowed_groups=a", &session), NOW + 10, 4);
    assert_eq!(unrecorded(&test), "0");
    assert_eq!(test.text("SELECT CAST(sum(refusals) AS TEXT) FROM days").unwrap(), "4");
}

#[test]
fn a_refused_id_token_that_the_proxy_sends_twice_is_one_refusal() {
    let test = TestApp::with(&["--allow-domain", "example.com"]);
    let token = token(json!({}));
    for target in ["/auth/check", "/auth/forward"] {
        assert_eq!(test.send(ask(target, &token)).status, 403);
    }
    assert_eq!(test.count(REFUSALS), 1);
}
