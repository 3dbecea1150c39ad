//! The caller's own sessions: `me`, the list and sign-out.

use hallpass::http::Request;
use serde_json::{Value, json};

use crate::test_app::{
    DAY, FORM, HOUR, NOW, RequestExt, TestApp, body, document, get, post, refused, request, token,
};

fn ids(test: &TestApp, token: &str, now: i64) -> Vec<String> {
    let response = test.send_at(get("/auth/sessions").bearer(token), now);
    let list = document(&response)["sessions"].as_array().unwrap().clone();
    list.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn me_answers_cookie_and_bearer() {
    let test = TestApp::open();
    let answer = test.sign_in(json!({}));
    let token = answer["session"]["token"].as_str().unwrap();
    for request in [
        get("/auth/me").bearer(token),
        get("/auth/me").cookie(token),
        request("HEAD", "/auth/me").bearer(token),
    ] {
        let response = test.send(request);
        let me = document(&response);
        assert_eq!(me["user"], answer["user"]);
        assert_eq!(
            me["session"],
            json!({"id": answer["session"]["id"], "created_at": NOW, "last_seen_at": NOW, "expires_at": NOW + 30 * DAY})
        );
    }
}

#[test]
fn requests_without_a_session_get_401() {
    let test = TestApp::open();
    for request in [
        get("/auth/me"),
        get("/auth/me").bearer("hp_nonsense"),
        get("/auth/me").cookie("hp_nonsense"),
        get("/auth/me").cookie(""),
        get("/auth/sessions"),
        request("DELETE", "/auth/sessions/x"),
    ] {
        refused(&test.send(request), 401, "unauthenticated");
    }
}

#[test]
fn a_session_token_as_bearer_decides_alone() {
    let test = TestApp::open();
    let good = test.session();
    let request = get("/auth/me").bearer("hp_nonsense").cookie(&good);
    refused(&test.send(request), 401, "unauthenticated");
}

#[test]
fn other_authorization_is_ignored_and_the_cookie_counts() {
    let test = TestApp::open();
    let good = test.session();
    for authorization in
        ["Basic YTpi", "Bearer something", "Bearer a.b.c", "Bearer", "", "Digest x"]
    {
        let request = get("/auth/me").header("Authorization", authorization).cookie(&good);
        assert_eq!(test.send(request).status, 200, "{authorization}");
    }
    assert_eq!(test.google.calls().len(), 1, "only the sign-in");
}

#[test]
fn sessions_end_at_the_absolute_limit() {
    let test =
        TestApp::with(&["--allow-anyone", "--session-lifetime", "2d", "--session-idle", "30d"]);
    let session = test.session();
    assert_eq!(test.send_at(get("/auth/me").bearer(&session), NOW + 2 * DAY - 1).status, 200);
    refused(&test.send_at(get("/auth/me").bearer(&session), NOW + 2 * DAY), 401, "unauthenticated");
}

#[test]
fn each_use_restarts_the_idle_limit() {
    let test = TestApp::with(&["--allow-anyone", "--session-idle", "1h"]);
    let session = test.session();
    let mut now = NOW;
    for _ in 0..5 {
        now += HOUR - 1;
        assert_eq!(test.send_at(get("/auth/check").bearer(&session), now).status, 200);
        test.app.store().flush();
    }
    refused(&test.send_at(get("/auth/check").bearer(&session), now + HOUR), 401, "unauthenticated");
}

#[test]
fn last_seen_is_written_at_most_once_a_minute() {
    let test = TestApp::open();
    let session = test.session();
    let last_seen_after = |seconds: i64| {
        test.send_at(get("/auth/me").bearer(&session), NOW + seconds);
        test.text("SELECT CAST(last_seen_at AS TEXT) FROM sessions")
            .unwrap()
            .parse::<i64>()
            .unwrap()
            - NOW
    };
    assert_eq!(last_seen_after(59), 0);
    assert_eq!(last_seen_after(60), 60);
    assert_eq!(last_seen_after(119), 60);
    assert_eq!(last_seen_after(120), 120);
    assert_eq!(last_seen_after(-500), 120, "a clock that is set back changes nothing");
}

#[test]
fn sessions_are_listed_and_ended_one_by_one() {
    let test = TestApp::open();
    let (one, two) = (test.sign_in(json!({})), test.sign_in(json!({})));
    let stranger = test.sign_in(json!({"sub": "2", "email": "b@gmail.com"}));
    let token = |answer: &Value| answer["session"]["token"].as_str().unwrap().to_owned();
    let id = |answer: &Value| answer["session"]["id"].as_str().unwrap().to_owned();
    assert_eq!(ids(&test, &token(&one), NOW).len(), 2);

    let list = document(&test.send(get("/auth/sessions").bearer(&token(&one))));
    let current: Vec<&Value> = list["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|session| session["current"] == true)
        .collect();
    assert_eq!((current.len(), &current[0]["id"]), (1, &one["session"]["id"]));
    assert!(!list.to_string().contains("hp_"));

    let delete = |id: &str, by: &str| {
        test.send(request("DELETE", &format!("/auth/sessions/{id}")).bearer(by))
    };
    refused(&delete(&id(&stranger), &token(&one)), 404, "not_found");
    refused(&delete("nonsense", &token(&one)), 404, "not_found");
    assert_eq!(delete(&id(&two), &token(&one)).status, 204);
    refused(&delete(&id(&two), &token(&one)), 404, "not_found");
    refused(&test.send(get("/auth/me").bearer(&token(&two))), 401, "unauthenticated");
    assert_eq!(test.send(get("/auth/me").bearer(&token(&one))).status, 200);
    assert_eq!(test.send(get("/auth/me").bearer(&token(&stranger))).status, 200);
    assert_eq!(ids(&test, &token(&one), NOW), [id(&one)]);
    assert_eq!(test.count("events WHERE kind = 'revocation'"), 1);
}

#[test]
fn idle_and_expired_sessions_are_not_listed() {
    let test = TestApp::with(&["--allow-anyone", "--session-idle", "1h"]);
    test.session();
    let late = test.sign_in_at(json!({}), NOW + HOUR);
    let token = late["session"]["token"].as_str().unwrap();
    assert_eq!(ids(&test, token, NOW + HOUR - 1).len(), 2);
    assert_eq!(ids(&test, token, NOW + HOUR).len(), 1);
}

#[test]
fn sign_out_ends_the_session_not_just_the_cookie() {
    let test = TestApp::open();
    let (here, there) = (test.session(), test.session());
    let response = test.send(request("POST", "/auth/signout").cookie(&here));
    assert_eq!(response.status, 204);
    assert!(response.header("Set-Cookie").unwrap().starts_with("__Host-hallpass=; Max-Age=0;"));
    refused(&test.send(get("/auth/me").cookie(&here)), 401, "unauthenticated");
    assert_eq!(test.send(get("/auth/me").cookie(&there)).status, 200);
    assert_eq!(test.count("events WHERE kind = 'signout' AND session_id IS NOT NULL"), 1);
}

#[test]
fn sign_out_is_idempotent() {
    let test = TestApp::open();
    let session = test.session();
    for _ in 0..2 {
        assert_eq!(test.send(request("POST", "/auth/signout").bearer(&session)).status, 204);
    }
    assert_eq!(test.send(request("POST", "/auth/signout")).status, 204);
    assert_eq!(test.count("events WHERE kind = 'signout'"), 1);
}

#[test]
fn sign_out_everywhere() {
    #[track_caller]
    fn check(media_type: &str, body: &str, everywhere: bool) {
        let test = TestApp::open();
        let (here, there) = (test.session(), test.session());
        let stranger = test.sign_in(json!({"sub": "2", "email": null}))["session"]["token"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(test.send(post("/auth/signout", media_type, body).bearer(&here)).status, 204);
        let status = |token: &str| test.send(get("/auth/me").bearer(token)).status;
        assert_eq!((status(&here), status(&there)), (401, if everywhere { 401 } else { 200 }));
        assert_eq!(status(&stranger), 200);
    }
    check(FORM, "everywhere=true", true);
    check("application/json", r#"{"everywhere":true}"#, true);
    check(FORM, "everywhere=false", false);
    check(FORM, "", false);
    let test = TestApp::open();
    refused(&test.send(post("/auth/signout", FORM, "everywhere=perhaps")), 400, "invalid_request");
}

#[test]
fn sign_out_by_form_redirects_to_the_sign_in_page() {
    let test = TestApp::open();
    let response = test.send(post("/auth/signout", FORM, "").browser().cookie(&test.session()));
    assert_eq!(
        (response.status, response.header("Location")),
        (303, Some("https://auth.example.com/auth/signin?done=signed-out"))
    );
}

#[test]
fn sign_out_keeps_the_return_address() {
    let test = TestApp::open();
    let signed_out = "https://auth.example.com/auth/signin?done=signed-out";
    let check = |target: &str, fields: &str, query: &str| {
        let response = test.send(post(target, FORM, fields).browser().cookie(&test.session()));
        assert_eq!(response.status, 303);
        assert_eq!(response.header("Location"), Some(&*format!("{signed_out}{query}")));
    };
    check("/auth/signout", "rd=%2Fdeep%3Fa%3D1%23part", "&rd=%2Fdeep%3Fa%3D1%23part");
    check("/auth/signout?rd=%2Fdeep", "", "&rd=%2Fdeep");
    check("/auth/signout?rd=%2Fother", "rd=%2Fdeep", "&rd=%2Fdeep");
    check("/auth/signout", "rd=https%3A%2F%2Fevil.example%2F", "");
    check("/auth/signout", "rd=&everywhere=true", "");
}

#[test]
fn apps_can_link_to_sign_out() {
    let test = TestApp::open();
    let session = test.session();
    let page = test.send(get("/auth/signout?rd=%2Fdeep").browser().cookie(&session));
    let text = body(&page);
    for part in [
        "<form class=\"actions\" method=\"post\" action=\"/auth/signout\">",
        "<input type=\"hidden\" name=\"rd\" value=\"/deep\">",
        "<a class=\"button\" href=\"/deep\">Stay signed in</a>",
        "<bdi>testuser@gmail.com</bdi>",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(page.status, 200);
    assert_eq!(test.send(get("/auth/me").cookie(&session)).status, 200, "a link does not sign out");
    let foreign = body(&test.send(get("/auth/signout?rd=//evil.example").cookie(&session)));
    assert!(!foreign.contains("evil") && foreign.contains("href=\"/auth/account\""));

    let nobody = test.send(get("/auth/signout?rd=%2Fdeep").browser());
    let signed_out = "https://auth.example.com/auth/signin?done=signed-out&rd=%2Fdeep";
    assert_eq!((nobody.status, nobody.header("Location")), (303, Some(signed_out)));
}

#[test]
fn the_sign_in_page_says_you_are_signed_out() {
    let test = TestApp::open();
    let session = test.session();
    let says =
        |request: Request| body(&test.send(request.browser())).contains("You are signed out.");
    assert!(says(get("/auth/signin?done=signed-out")));
    assert!(!says(get("/auth/signin")));
    assert!(!says(get("/auth/signin?done=other")));
    assert!(!says(get("/auth/signin?done=signed-out").cookie(&session)));
}

#[test]
fn changes_by_another_process_take_effect_at_once() {
    let test = TestApp::open();
    let status = |token: &str| test.send(get("/auth/check").bearer(token)).status;
    let other = test.other_process();

    let session = test.session();
    assert_eq!(status(&session), 200);
    other.execute("UPDATE users SET blocked_at = 1", []).unwrap();
    assert_eq!(status(&session), 403);
    refused(&test.send(get("/auth/me").bearer(&session)), 403, "access_denied");
    other.execute("UPDATE users SET blocked_at = NULL", []).unwrap();
    assert_eq!(status(&session), 200);
    other.execute("UPDATE sessions SET ended_at = 1", []).unwrap();
    assert_eq!(status(&session), 401);

    let session = test.session();
    other.execute_batch("PRAGMA foreign_keys = ON; DELETE FROM users").unwrap();
    assert_eq!(status(&session), 401);
    assert_eq!(test.count("sessions"), 0);
}

#[test]
fn sessions_of_a_removed_client_id_end_at_restart() {
    const OTHER: &str = "2-other.apps.googleusercontent.com";
    let test = TestApp::with(&["--allow-anyone", "--client-id", OTHER]);
    let (kept, removed) = (test.session(), token(json!({"aud": OTHER, "azp": OTHER})));
    let session = test.sign_in(json!({"aud": OTHER, "azp": OTHER}))["session"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(test.send(get("/auth/check").bearer(&removed)).status, 200);
    let test = test.restarted(&["--allow-anyone"]);
    for target in ["/auth/me", "/auth/check", "/auth/forward", "/auth/sessions"] {
        assert_eq!(test.send(get(target).bearer(&kept)).status, 200, "{target}");
        for _ in 0..2 {
            refused(&test.send(get(target).bearer(&session)), 401, "unauthenticated");
            refused(&test.send(get(target).bearer(&removed)), 401, "unauthenticated");
        }
    }
    assert_eq!(test.send(request("POST", "/auth/signout").bearer(&session)).status, 204);
    assert_eq!(test.count("sessions WHERE ended_at IS NOT NULL"), 1);
}

#[test]
fn blocked_users_can_sign_out() {
    let test = TestApp::open();
    let session = test.session();
    test.sql("UPDATE users SET blocked_at = 1");
    assert_eq!(test.send(request("POST", "/auth/signout").bearer(&session)).status, 204);
    assert_eq!(test.count("sessions WHERE ended_at IS NOT NULL"), 1);
}

#[test]
fn the_database_contains_no_token() {
    let test = TestApp::open();
    let (session, id_token) = (test.session(), token(json!({})));
    assert_eq!(test.send(get("/auth/me").bearer(&id_token)).status, 200);
    test.app.store().flush();
    for file in ["hallpass.db", "hallpass.db-wal"] {
        let bytes = std::fs::read(test.folder.path().join(file)).unwrap();
        for secret in [&session[3..], &id_token] {
            assert!(
                !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
                "{file}"
            );
        }
    }
}
