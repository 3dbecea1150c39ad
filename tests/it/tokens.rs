//! Tokens for programs: created with a session, good for check, forward and me, and nothing else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hallpass::http::{Handler, Request, Response};
use hallpass::store::{Actor, EventKind, SessionSelector};
use serde_json::{Value, json};

use crate::test_app::{
    DAY, FORM, HOUR, NOW, RequestExt, TestApp, body, document, get, near, post, refused, request,
    token,
};

const SUB: &str = "110169484474386276334";
const JSON: &str = "application/json";

fn create(test: &TestApp, session: &str, fields: &Value) -> Response {
    test.send(post("/auth/tokens", JSON, &fields.to_string()).bearer(session))
}

/// A new token of the usual user, and its ID.
#[track_caller]
fn created(test: &TestApp, session: &str, fields: Value) -> (String, String) {
    let response = create(test, session, &fields);
    assert_eq!(response.status, 201, "{}", body(&response));
    let token = &document(&response)["token"];
    (token["token"].as_str().unwrap().to_owned(), token["id"].as_str().unwrap().to_owned())
}

#[track_caller]
fn check(test: &TestApp, token: &str, now: i64, status: u16) {
    assert_eq!(test.send_at(get("/auth/check").bearer(token), now).status, status);
}

fn basic(token: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("backup:{token}")))
}

#[test]
fn a_token_is_shown_once_and_names_its_owner() {
    let test = TestApp::open();
    let session = test.session();
    let response =
        create(&test, &session, &json!({"name": " Backup of the 李 ", "lifetime": "90d"}));
    assert_eq!(response.status, 201);
    assert_eq!(response.header("Cache-Control"), Some("no-store"));
    assert_eq!(response.header("Set-Cookie"), None);
    let answer = document(&response);
    let (token, id) = (answer["token"]["token"].as_str().unwrap(), &answer["token"]["id"]);
    assert_eq!(
        body(&response),
        format!(
            "{{\"token\":{{\"token\":\"{token}\",\"id\":{id},\"name\":\"Backup of the 李\",\"created_at\":{NOW},\"expires_at\":{}}}}}",
            NOW + 90 * DAY
        )
    );
    for request in [
        get("/auth/check").bearer(token),
        get("/auth/forward").bearer(token),
        get("/auth/check").header("Authorization", &basic(token)),
        get("/auth/check").cookie(token),
    ] {
        let response = test.send(request);
        assert_eq!(response.status, 200);
        assert_eq!(response.header("X-Auth-Request-User"), Some(SUB));
    }
    let me = document(&test.send(get("/auth/me").bearer(token)));
    assert_eq!(me["user"]["sub"], SUB);
    let expected =
        json!({"id": id, "created_at": NOW, "last_seen_at": NOW, "expires_at": NOW + 90 * DAY});
    assert_eq!(me["session"], expected);
    let listed = test.send(get("/auth/tokens").bearer(&session));
    assert!(!body(&listed).contains("hp_"));
    let mut expected = expected;
    expected["name"] = "Backup of the 李".into();
    assert_eq!(document(&listed), json!({"tokens": [expected]}));
    // It is not among the sessions.
    let sessions = document(&test.send(get("/auth/sessions").bearer(&session)));
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1);
    let event = test
        .text("SELECT sub || ' ' || session_id || ' ' || detail FROM events WHERE kind = 'token'");
    assert_eq!(event.unwrap(), format!("{SUB} {} Backup of the 李", id.as_str().unwrap()));
    for table in ["sessions", "events"] {
        let rows: Vec<String> = {
            let db = test.other_process();
            let mut all = db.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = all.column_count();
            let row = |row: &rusqlite::Row| {
                Ok((0..columns).map(|i| format!("{:?}", row.get_ref(i).unwrap())).collect())
            };
            all.query_map([], row).unwrap().map(Result::unwrap).collect()
        };
        assert!(rows.iter().all(|row| !row.contains(&token[3..])), "the token is in {table}");
    }
}

#[test]
fn name_and_lifetime_have_bounds() {
    let test = TestApp::with(&["--allow-anyone", "--token-lifetime", "90d"]);
    let session = test.session();
    let expires_in = |fields: Value| {
        let response = create(&test, &session, &fields);
        (response.status == 201)
            .then(|| document(&response)["token"]["expires_at"].as_i64().unwrap() - NOW)
    };
    assert_eq!(expires_in(json!({"name": "a"})), Some(90 * DAY));
    for absent in [json!(null), json!(""), json!(" ")] {
        assert_eq!(expires_in(json!({"name": "a", "lifetime": absent})), Some(90 * DAY));
    }
    for (lifetime, seconds) in
        [("90d", 90 * DAY), ("1s", 1), ("12h", 12 * HOUR), ("1day 2h", DAY + 2 * HOUR)]
    {
        assert_eq!(expires_in(json!({"name": "a", "lifetime": lifetime})), Some(seconds));
    }
    let long = "é".repeat(100);
    assert!(expires_in(json!({"name": long})).is_some());
    for bad in [
        json!({}),
        json!({"name": ""}),
        json!({"name": "  "}),
        json!({"name": 1}),
        json!({"name": null}),
        json!({"name": format!("{long}é")}),
        json!({"name": "a\nb"}),
        json!({"name": "a", "lifetime": "90d 1s"}),
        json!({"name": "a", "lifetime": "0s"}),
        json!({"name": "a", "lifetime": "10ms"}),
        json!({"name": "a", "lifetime": "forever"}),
        json!({"name": "a", "lifetime": "-1d"}),
        json!({"name": "a", "lifetime": "90"}),
        json!({"name": "a", "lifetime": 90}),
        json!({"name": "a", "lifetime": "99999999999999999999y"}),
    ] {
        refused(&create(&test, &session, &bad), 400, "invalid_request");
    }
    let form = test.send(post("/auth/tokens", FORM, "name=Backup&lifetime=1d").cookie(&session));
    assert_eq!((form.status, &document(&form)["token"]["name"]), (201, &json!("Backup")));
    refused(
        &test.send(post("/auth/tokens", "text/plain", "name=a").bearer(&session)),
        415,
        "unsupported_media_type",
    );
}

#[test]
fn only_a_session_creates_a_token() {
    let test = TestApp::open();
    let session = test.session();
    let (program, _) = created(&test, &session, json!({"name": "a"}));
    refused(&create(&test, &program, &json!({"name": "b"})), 403, "access_denied");
    refused(&create(&test, &token(json!({})), &json!({"name": "b"})), 403, "access_denied");
    refused(&create(&test, "hp_nonsense", &json!({"name": "b"})), 401, "unauthenticated");
    refused(&test.send(post("/auth/tokens", FORM, "name=b")), 401, "unauthenticated");
    let foreign = post("/auth/tokens", FORM, "name=b").cookie(&session);
    refused(&test.send(foreign.header("Origin", "https://evil.example")), 403, "access_denied");
    let cross = post("/auth/tokens", FORM, "name=b").cookie(&session);
    refused(&test.send(cross.header("Sec-Fetch-Site", "cross-site")), 403, "access_denied");
    assert_eq!(test.count("sessions WHERE kind = 'token'"), 1);
}

#[test]
fn a_token_opens_nothing_else() {
    let test = TestApp::with(&["--allow-anyone", "--admin-email", "testuser@gmail.com"]);
    let session = test.session();
    let (token, id) = created(&test, &session, json!({"name": "a"}));
    let account = format!("/auth/admin/users/{SUB}");
    let all = || -> Vec<Request> {
        vec![
            get("/auth/account"),
            post("/auth/account", FORM, "end_others=true"),
            get("/auth/sessions"),
            request("DELETE", &format!("/auth/sessions/{id}")),
            get("/auth/tokens"),
            post("/auth/tokens", FORM, "name=b"),
            post("/auth/signout", FORM, ""),
            post("/auth/signout", FORM, "everywhere=true"),
            get("/auth/admin"),
            get("/auth/admin/users"),
            get(&account),
            post(&account, FORM, "action=end_all"),
        ]
    };
    for (with_token, with_session) in all().into_iter().zip(all()) {
        let what = format!("{} {}", with_token.method, with_token.target);
        for request in [
            with_token.clone().bearer(&token),
            with_token.clone().header("Authorization", &basic(&token)),
            with_token.cookie(&token),
        ] {
            assert_eq!(test.send(request).status, 403, "{what}");
        }
        // With a session beside it, the session counts.
        if !matches!(with_session.method.as_str(), "POST" | "DELETE") {
            let cookies = format!("__Host-hallpass={token}; __Host-hallpass={session}");
            let response = test.send(with_session.header("Cookie", &cookies));
            assert_eq!(response.status, 200, "{what}");
        }
    }
    check(&test, &session, NOW, 200);
    check(&test, &token, NOW, 200);
    let page = body(&test.send(get("/auth/signin").browser().cookie(&token)));
    assert!(!page.contains("testuser@gmail.com"), "{page}");
}

#[test]
fn a_token_has_no_idle_limit_and_expires() {
    let test = TestApp::with(&["--allow-anyone", "--session-idle", "2m"]);
    let session = test.session();
    let (token, _) = created(&test, &session, json!({"name": "a", "lifetime": "30d"}));
    check(&test, &token, NOW + 30 * DAY - 1, 200);
    check(&test, &token, NOW + 30 * DAY, 401);
}

#[test]
fn when_turned_off_none_is_created_and_none_works() {
    let test = TestApp::open();
    let session = test.session();
    let (token, _) = created(&test, &session, json!({"name": "a"}));
    check(&test, &token, NOW, 200);
    let test = test.restarted(&["--allow-anyone", "--token-lifetime", "0"]);
    let response = create(&test, &session, &json!({"name": "a"}));
    refused(&response, 403, "access_denied");
    assert!(body(&response).contains("--token-lifetime"));
    check(&test, &token, NOW, 401);
    let test = test.restarted(&["--allow-anyone", "--token-lifetime", "1d"]);
    check(&test, &token, NOW, 200);
}

#[test]
fn each_way_to_end_a_token_counts_on_the_next_request() {
    #[track_caller]
    fn ends(status: u16, end: impl FnOnce(&TestApp, &str, &str)) {
        let test = TestApp::open();
        let session = test.session();
        let (token, id) = created(&test, &session, json!({"name": "a"}));
        check(&test, &token, NOW, 200);
        end(&test, &session, &id);
        check(&test, &token, NOW, status);
    }
    ends(401, |test, session, id| {
        let delete = request("DELETE", &format!("/auth/sessions/{id}")).bearer(session);
        assert_eq!(test.send(delete).status, 204);
    });
    ends(401, |test, session, _| {
        let everywhere = post("/auth/signout", FORM, "everywhere=true").bearer(session);
        assert_eq!(test.send(everywhere).status, 204);
    });
    let by = |selector| {
        move |test: &TestApp, _: &str, _: &str| {
            let (kind, actor) = (EventKind::Revocation, Actor::operator());
            assert!(
                test.app.store().end_sessions(&selector, kind, &actor, NOW).unwrap().total() > 0
            );
        }
    };
    ends(401, by(SessionSelector::User(SUB.into())));
    ends(401, by(SessionSelector::TokensOf(SUB.into())));
    ends(401, |test, _, _| {
        assert_eq!(
            test.app.store().end_all_sessions(&Actor::operator(), NOW, |_| ()).unwrap().total(),
            2
        );
    });
    ends(401, |test, _, _| assert!(test.app.store().delete_user(SUB, NOW).unwrap()));
    ends(403, |test, _, _| {
        assert!(test.app.store().set_blocked(SUB, true, Actor::operator(), NOW).unwrap());
    });
    // A token stays when its owner signs out or ends the other sessions.
    ends(200, |test, session, _| {
        assert_eq!(test.send(post("/auth/signout", FORM, "").bearer(session)).status, 204);
    });
    ends(200, |test, session, _| {
        let others = post("/auth/account", FORM, "end_others=true").bearer(session);
        assert_eq!(test.send(others).status, 303);
    });
}

#[test]
fn the_policy_counts_on_every_check() {
    let test = TestApp::open();
    let session = test.session();
    let (token, _) = created(&test, &session, json!({"name": "a"}));
    let request = || near(get("/auth/check?allowed_emails=other@example.com").bearer(&token));
    refused(&test.send(request()), 403, "access_denied");
    let test = test.restarted(&["--allow-domain", "example.com"]);
    refused(&test.send(get("/auth/check").bearer(&token)), 403, "access_denied");
    let test = test.restarted(&["--allow-email", "testuser@gmail.com"]);
    check(&test, &token, NOW, 200);
}

#[test]
fn a_sign_in_never_ends_a_token() {
    let test = TestApp::with(&["--allow-anyone", "--sessions-per-user", "1"]);
    let session = test.session();
    let tokens: Vec<String> =
        (0..3).map(|_| created(&test, &session, json!({"name": "a"})).0).collect();
    test.session();
    test.app.store().limit_sessions(1, NOW).unwrap();
    check(&test, &session, NOW, 401);
    tokens.iter().for_each(|token| check(&test, token, NOW, 200));
}

#[test]
fn a_person_has_a_bounded_number_of_tokens() {
    let test = TestApp::open();
    let session = test.session();
    let ids: Vec<String> =
        (0..100).map(|_| created(&test, &session, json!({"name": "a"})).1).collect();
    let response = create(&test, &session, &json!({"name": "one more"}));
    refused(&response, 403, "access_denied");
    assert!(body(&response).contains("100 tokens"));
    let end = |id: &str| {
        let request = request("DELETE", &format!("/auth/sessions/{id}")).bearer(&session);
        assert_eq!(test.send(request).status, 204);
    };
    end(&ids[0]);
    let (_, last) = created(&test, &session, json!({"name": "one more"}));
    end(&last);
    // Ended tokens are deleted in the end.
    for _ in 0..150 {
        end(&created(&test, &session, json!({"name": "b"})).1);
    }
    assert!(test.count("sessions WHERE kind = 'token'") <= 202);
}

#[test]
fn a_token_of_a_session_that_has_just_ended_is_not_created() {
    use hallpass::store::{NewToken, TokenRefusal};
    use hallpass::token::{SessionToken, TokenName};
    let test = TestApp::open();
    let session = test.session();
    let store = test.app.store();
    let own = store.sessions_of(SUB, NOW, HOUR).unwrap().remove(0);
    let user = store.user(SUB).unwrap().unwrap().user;
    assert_eq!(test.send(post("/auth/signout", FORM, "").bearer(&session)).status, 204);
    let new = NewToken {
        token: SessionToken::generate().hash(),
        id: "x".into(),
        name: TokenName::parse("a").unwrap(),
        expires_at: NOW + 1,
        created_with: Some(own),
    };
    let outcome = store.create_token(&user, new, Actor::operator(), NOW).unwrap();
    assert_eq!(outcome.unwrap_err(), TokenRefusal::Ended);
}

#[test]
fn the_door_answers_for_a_known_token_itself() {
    let test = TestApp::open();
    let session = test.session();
    let (token, _) = created(&test, &session, json!({"name": "a"}));
    check(&test, &token, NOW, 200);
    for path in ["/auth/check", "/auth/forward", "/auth/me"] {
        for request in [get(path).bearer(&token), get(path).header("Authorization", &basic(&token))]
        {
            let response = Handler::fast_path(&test.app, &request, NOW);
            assert_eq!(response.map(|response| response.status), Some(200), "{path}");
        }
    }
}

#[test]
fn the_use_of_a_token_is_recorded() {
    let test = TestApp::open();
    let session = test.session();
    let (token, _) = created(&test, &session, json!({"name": "a"}));
    check(&test, &token, NOW + DAY, 200);
    test.app.store().flush();
    let seen = test.app.store().tokens_of(SUB, NOW + DAY).unwrap()[0].last_seen_at;
    assert_eq!(seen, NOW + DAY);
}

#[test]
fn the_account_page_creates_lists_and_ends_tokens() {
    let test = TestApp::open();
    let session = test.session();
    let page =
        |fields: &str| test.send(post("/auth/account", FORM, fields).browser().cookie(&session));
    let account = || body(&test.send(get("/auth/account").browser().cookie(&session)));
    assert!(account().contains("Create the token") && !account().contains("end all tokens"));
    assert!(account().contains("testuser_gmail.com"), "the user name");
    let response = page(
        "create=true&id=fU8PGZJz1TYiiB_3&name=%D7%92%D7%99%D7%91%D7%95%D7%99+%3Cb%3E&lifetime=7d",
    );
    assert_eq!((response.status, response.header("Cache-Control")), (200, Some("no-store")));
    let shown = body(&response);
    assert!(shown.contains("<bdi>גיבוי &lt;b&gt;</bdi>"), "{shown}");
    let start = shown.find("hp_").unwrap();
    let token = &shown[start..start + 46];
    check(&test, token, NOW + 7 * DAY - 1, 200);
    check(&test, token, NOW + 7 * DAY, 401);
    let listed = account();
    assert!(listed.contains("<bdi>גיבוי &lt;b&gt;</bdi>") && !listed.contains("hp_"));
    assert!(listed.contains("Sign out everywhere and end all tokens"));
    let id = listed.split("name=\"end\" value=\"").nth(1).unwrap()[..16].to_owned();
    assert_eq!(page(&format!("end={id}")).status, 303);
    check(&test, token, NOW, 401);
    // The page says what is wrong.
    for (fields, why) in [
        ("create=true&name=a", "Id must be one from the form"),
        ("create=true&id=-U8PGZJz1TYiiB_3&name=a", "Id must be one from the form"),
        ("create=true&id=fU8PGZJz1TYiiB_&name=a", "Id must be one from the form"),
        ("create=true&id=fU8PGZJz1TYiiB_4&name=", "Name must be a text"),
        ("create=true&id=fU8PGZJz1TYiiB_4&name=a&lifetime=x", "Lifetime must be a duration"),
        ("create=true&id=fU8PGZJz1TYiiB_4&name=a&lifetime=9999d", "longer than this server allows"),
    ] {
        let response = page(fields);
        assert_eq!(response.status, 400);
        assert!(body(&response).contains(why) && body(&response).contains("Create the token"));
    }
}

#[test]
fn a_reload_of_the_new_token_creates_no_second_one() {
    let test = TestApp::open();
    let session = test.session();
    let id = || {
        let page = body(&test.send(get("/auth/account").browser().cookie(&session)));
        let start = page.find("name=\"id\" value=\"").unwrap() + 17;
        page[start..start + 16].to_owned()
    };
    #[track_caller]
    fn check(test: &TestApp, session: &str, id: &str, status: u16, tokens: i64) -> String {
        let fields = format!("create=true&id={id}&name=Backup&lifetime=7d");
        let response = test.send(post("/auth/account", FORM, &fields).browser().cookie(session));
        assert_eq!(response.status, status);
        assert_eq!(test.count("sessions WHERE kind = 'token'"), tokens);
        body(&response)
    }
    let first = id();
    assert!(check(&test, &session, &first, 200, 1).contains("hp_"));
    let again = check(&test, &session, &first, 400, 1);
    assert!(again.contains("This token was already created") && !again.contains("hp_"));
    check(&test, &session, &id(), 200, 2);
}

#[test]
fn the_form_offers_what_is_allowed() {
    #[track_caller]
    fn check(lifetime: &str, options: &[&str]) {
        let test = TestApp::with(&["--allow-anyone", "--token-lifetime", lifetime]);
        let session = test.session();
        let page = body(&test.send(get("/auth/account").browser().cookie(&session)));
        let found: Vec<&str> = page
            .split("<option value=\"")
            .skip(1)
            .map(|rest| &rest[..rest.find("</option>").unwrap()])
            .collect();
        assert_eq!(found, options);
    }
    check(
        "365d",
        &[
            "7d\">after 7 days",
            "30d\">after 30 days",
            "90d\" selected>after 90 days",
            "\">after 365 days, the longest",
        ],
    );
    check("7d", &["\" selected>after 7 days, the longest"]);
    check("36h", &["\" selected>after 36 hours, the longest"]);
    check("90s", &["\" selected>after 90 seconds, the longest"]);
    check("0", &[]);
}
