//! The admin pages: access, contents and actions.

use std::collections::HashSet;

use hallpass::http::{Request, Response};
use serde_json::{Value, json};

use crate::google::Answer;
use crate::test_app::{
    DAY, FORM, NOW, RequestExt, TestApp, body, get, post, post_token, refused, request, token,
};

const PATHS: [&str; 3] = ["/auth/admin", "/auth/admin/users", "/auth/admin/users/2"];
const OURS: &str = "https://auth.example.com";

fn ada() -> Value {
    json!({"sub": "1", "email": "ada@example.com", "hd": "example.com", "name": "Ada Lovelace"})
}

fn bob() -> Value {
    json!({"sub": "2", "email": "bob@gmail.com", "name": "Bob <script>alert(1)</script>"})
}

/// An application whose admin is Ada, with a session of hers and one of Bob's.
fn test() -> (TestApp, String, String) {
    let test = TestApp::with(&["--allow-anyone", "--admin-email", "Ada@Example.com"]);
    let session = |claims| test.sign_in(claims)["session"]["token"].as_str().unwrap().to_owned();
    let (ada, bob) = (session(ada()), session(bob()));
    (test, ada, bob)
}

fn page(test: &TestApp, path: &str, by: &str) -> String {
    let response = test.send(get(path).browser().cookie(by));
    assert_eq!(response.status, 200, "{path}");
    body(&response)
}

fn change(subject: &str, fields: &str) -> Request {
    post(&format!("/auth/admin/users/{subject}"), FORM, fields).browser().header("Origin", OURS)
}

fn status(test: &TestApp, session: &str) -> u16 {
    test.send(get("/auth/check").bearer(session)).status
}

#[track_caller]
fn led_to(response: &Response, address: &str) {
    let location = response.header("Location").map(|location| location.strip_prefix(OURS).unwrap());
    assert_eq!((response.status, location), (303, Some(address)));
}

/// Kind, subject and reason of every event except sign-ins.
fn recorded(test: &TestApp) -> Vec<(String, String, String)> {
    test.app.store().flush();
    let database = test.other_process();
    let sql = "SELECT kind, coalesce(sub, ''), coalesce(reason, '') FROM events WHERE kind <> 'signin' ORDER BY id";
    let mut statement = database.prepare(sql).unwrap();
    statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

fn event(kind: &str, subject: &str, reason: &str) -> (String, String, String) {
    (kind.into(), subject.into(), reason.into())
}

#[test]
fn without_admins_there_are_no_admin_pages() {
    let test = TestApp::open();
    let session = test.sign_in(ada())["session"]["token"].as_str().unwrap().to_owned();
    test.sign_in(bob());
    for path in PATHS {
        refused(&test.send(get(path).cookie(&session)), 404, "not_found");
        refused(&test.send(get(path)), 404, "not_found");
    }
    assert_eq!(test.send(change("2", "action=block").cookie(&session)).status, 404);
    assert!(
        !body(&test.send(get("/auth/account").browser().cookie(&session))).contains("/auth/admin")
    );
}

#[test]
fn other_users_get_403() {
    let (test, ada, bob) = test();
    for path in PATHS {
        assert_eq!(test.send(get(path).browser().cookie(&ada)).status, 200);
        let response = test.send(get(path).browser().cookie(&bob));
        assert_eq!(response.status, 403);
        assert!(
            body(&response).contains("bob@gmail.com")
                && body(&response).contains("rd=%2Fauth%2Fadmin")
        );
        refused(&test.send(get(path).cookie(&bob)), 403, "access_denied");
        refused(&test.send(get(path)), 401, "unauthenticated");
        assert_eq!(test.send(request("PUT", path).cookie(&ada)).status, 405);
    }
    assert_eq!(test.send(change("1", "action=block").cookie(&bob)).status, 403);
    assert_eq!(status(&test, &ada), 200);
    assert!(page(&test, "/auth/account", &ada).contains("/auth/admin"));
    assert!(!page(&test, "/auth/account", &bob).contains("/auth/admin"));
    assert!(page(&test, "/auth/admin", &ada).contains("/auth/account"));
}

#[test]
fn an_admins_email_must_be_authoritative() {
    for (claims, expected) in [
        (json!({"email": "ada@example.com", "hd": "example.com"}), 200),
        (json!({"email": "ADA@example.com", "hd": "example.com"}), 200),
        (json!({"email": "ada@example.com"}), 403),
        (json!({"email": "ada@example.com", "email_verified": false, "hd": "example.com"}), 403),
        (json!({"email": "ada@example.com.evil.example", "hd": "example.com"}), 403),
        (json!({"email": "x@ada@example.com", "hd": "example.com"}), 403),
        (json!({"email": null, "hd": "example.com"}), 403),
    ] {
        let test = TestApp::with(&["--allow-anyone", "--admin-email", "ada@example.com"]);
        let session = test.sign_in(claims.clone())["session"]["token"].as_str().unwrap().to_owned();
        assert_eq!(test.send(get("/auth/admin").cookie(&session)).status, expected, "{claims}");
    }
}

#[test]
fn blocks_apply_to_admins_and_a_list_lets_them_in() {
    let (test, ada, _) = test();
    test.sql("UPDATE users SET blocked_at = 1 WHERE sub = '1'");
    refused(&test.send(get("/auth/admin").cookie(&ada)), 403, "access_denied");
    let test =
        TestApp::with(&["--allow-domain", "other.example", "--admin-email", "ada@example.com"]);
    assert_eq!(test.send(post_token(&token(self::ada()))).status, 200);
}

#[test]
fn without_a_session_a_browser_signs_in_and_comes_back() {
    let (test, _, _) = test();
    let lead = |request: Request| test.send(request.browser());
    led_to(
        &lead(get("/auth/admin/users?q=a+b")),
        "/auth/signin?rd=%2Fauth%2Fadmin%2Fusers%3Fq%3Da%2Bb",
    );
    led_to(&lead(change("2", "action=block")), "/auth/signin?rd=%2Fauth%2Fadmin%2Fusers%2F2");
    let signin = body(&lead(get("/auth/signin?rd=%2Fauth%2Fadmin%2Fusers%3Fq%3Da%2Bb")));
    assert!(signin.contains("data-state=\"/auth/admin/users?q=a+b\""));
}

#[test]
fn a_block_takes_effect_at_once_and_can_be_lifted() {
    let (test, ada, bob) = test();
    led_to(
        &test.send(change("2", "action=block").cookie(&ada)),
        "/auth/admin/users/2?done=blocked",
    );
    assert_eq!(status(&test, &bob), 403);
    assert_eq!(test.send(post_token(&token(self::bob()))).status, 403);
    let shown = page(&test, "/auth/admin/users/2?done=blocked", &ada);
    assert!(shown.contains("role=\"status\"") && shown.contains("value=\"unblock\""));
    led_to(
        &test.send(change("2", "action=block").cookie(&ada)),
        "/auth/admin/users/2?done=nothing",
    );
    led_to(
        &test.send(change("2", "action=unblock").cookie(&ada)),
        "/auth/admin/users/2?done=unblocked",
    );
    assert_eq!(status(&test, &bob), 200);
    let by = "by ada@example.com";
    let expected = [
        event("block", "2", by),
        event("refusal", "2", "this account is blocked"),
        event("unblock", "2", by),
    ];
    assert_eq!(recorded(&test), expected);
    assert_eq!(
        test.count("events WHERE kind = 'block' AND client_address = '192.0.2.1'"),
        1,
        "from where, too"
    );
}

#[test]
fn ends_one_session_or_all() {
    let (test, ada, bob) = test();
    let more: Vec<Value> = (0..3).map(|_| test.sign_in(self::bob())["session"].clone()).collect();
    let id = more[0]["id"].as_str().unwrap();
    let shown = page(&test, "/auth/admin/users/2", &ada);
    assert_eq!(shown.matches("value=\"end\"").count(), 4);
    led_to(
        &test.send(change("2", &format!("action=end&session={id}")).cookie(&ada)),
        "/auth/admin/users/2?done=ended",
    );
    assert_eq!(status(&test, more[0]["token"].as_str().unwrap()), 401);
    assert_eq!(
        (status(&test, &bob), status(&test, more[1]["token"].as_str().unwrap())),
        (200, 200)
    );
    for fields in [
        format!("action=end&session={id}"),
        "action=end".into(),
        "action=end&session=nonsense".into(),
    ] {
        led_to(&test.send(change("2", &fields).cookie(&ada)), "/auth/admin/users/2?done=nothing");
    }
    let others = test.text("SELECT id FROM sessions WHERE sub = '1'").unwrap();
    let wrong_user = change("2", &format!("action=end&session={others}"));
    led_to(&test.send(wrong_user.cookie(&ada)), "/auth/admin/users/2?done=nothing");
    assert_eq!(recorded(&test), [event("revocation", "2", "by ada@example.com")]);

    led_to(
        &test.send(change("2", "action=end_all").cookie(&ada)),
        "/auth/admin/users/2?done=ended-all",
    );
    assert_eq!(
        (status(&test, &bob), status(&test, more[2]["token"].as_str().unwrap())),
        (401, 401)
    );
    assert_eq!(status(&test, &ada), 200, "only that user's sessions end");
    assert_eq!(test.count("events WHERE kind = 'revocation' AND reason = 'by ada@example.com'"), 4);
}

#[test]
fn a_released_email_is_free_for_another_account() {
    let (test, ada, _) = test();
    let newcomer = post_token(&token(json!({"sub": "9", "email": "bob@gmail.com"})));
    assert_eq!(test.send(newcomer.clone()).status, 403);
    led_to(
        &test.send(change("2", "action=release").cookie(&ada)),
        "/auth/admin/users/2?done=released",
    );
    assert_eq!(test.send(newcomer).status, 200);
    assert!(recorded(&test).contains(&event("release", "2", "by ada@example.com")));
    assert!(!page(&test, "/auth/admin/users/2", &ada).contains("value=\"release\""));
}

#[test]
fn admins_cannot_lock_themselves_out_but_others_can() {
    let test = TestApp::with(&["--allow-anyone", "--admin-email", "ada@example.com,eve@gmail.com"]);
    let session = |claims| test.sign_in(claims)["session"]["token"].as_str().unwrap().to_owned();
    let (ada, eve) = (session(ada()), session(json!({"sub": "3", "email": "eve@gmail.com"})));
    let shown = page(&test, "/auth/admin/users/1", &ada);
    assert!(!shown.contains("value=\"block\"") && !shown.contains("value=\"release\""));
    assert!(page(&test, "/auth/admin/users/1", &eve).contains("value=\"block\""));
    for action in ["block", "release"] {
        let response = test.send(change("1", &format!("action={action}")).cookie(&ada));
        assert_eq!(response.status, 400);
        assert!(body(&response).contains("Admins cannot block themselves"));
    }
    assert_eq!((status(&test, &ada), test.count("events WHERE kind <> 'signin'")), (200, 0));
    assert_eq!(test.send(change("1", "action=block").cookie(&eve)).status, 303);
    assert_eq!(test.send(get("/auth/admin").cookie(&ada)).status, 403);
}

#[test]
fn other_origins_can_neither_change_nor_read() {
    let test = TestApp::with(&[
        "--allow-anyone",
        "--admin-email",
        "ada@example.com",
        "--allow-origin",
        "https://app.example.com",
    ]);
    let ada = test.sign_in(ada())["session"]["token"].as_str().unwrap().to_owned();
    test.sign_in(bob());
    let block = || post("/auth/admin/users/2", FORM, "action=block").cookie(&ada);
    for origin in
        ["https://app.example.com", "https://evil.example", "null", "https://accounts.google.com"]
    {
        refused(&test.send(block().header("Origin", origin)), 403, "access_denied");
        let read = test.send(get("/auth/admin").cookie(&ada).header("Origin", origin));
        assert_eq!(read.header("Access-Control-Allow-Origin"), None);
    }
    refused(&test.send(block().header("Sec-Fetch-Site", "cross-site")), 403, "access_denied");
    assert_eq!(test.count("events WHERE kind = 'block'"), 0);
    assert_eq!(test.send(block().header("Origin", OURS)).status, 303);
}

#[test]
fn malformed_requests_get_400_or_404() {
    let (test, ada, _) = test();
    for fields in ["", "action=delete", "action="] {
        assert_eq!(test.send(change("2", fields).cookie(&ada)).status, 400, "{fields}");
    }
    for subject in ["404", "%ff", "2/", "2/x", "bob@gmail.com"] {
        assert_eq!(
            test.send(change(subject, "action=block").cookie(&ada)).status,
            404,
            "{subject}"
        );
        assert_eq!(
            test.send(get(&format!("/auth/admin/users/{subject}")).cookie(&ada)).status,
            404,
            "{subject}"
        );
    }
    refused(&test.send(get("/auth/admin/users?from=x").cookie(&ada)), 400, "invalid_request");
    assert_eq!(test.send(get("/auth/admin/users/").cookie(&ada)).status, 404);
}

#[test]
fn claims_are_escaped_and_any_sub_has_a_page() {
    let (test, ada, _) = test();
    let odd = "a/b?c=1&d#%2F\"<i>";
    test.sign_in(json!({"sub": odd, "email": "\"><img src=x>@gmail.com", "name": "<b>Odd</b>"}));
    let list = page(&test, "/auth/admin/users", &ada);
    let link =
        list.split("href=\"").find_map(|rest| rest.strip_prefix("/auth/admin/users/a%2F")).unwrap();
    let path = format!("/auth/admin/users/a%2F{}", link.split('"').next().unwrap());
    for page in [list.clone(), page(&test, &path, &ada), page(&test, "/auth/admin", &ada)] {
        assert!(
            !page.contains("<script")
                && !page.contains("<b>")
                && !page.contains("<img src=x")
                && !page.contains("<i>")
        );
        assert!(page.contains("&lt;b&gt;Odd&lt;/b&gt;"));
    }
    let subject = path.rsplit('/').next().unwrap();
    assert_eq!(test.send(change(subject, "action=block").cookie(&ada)).status, 303);
    assert_eq!(test.text("SELECT sub FROM users WHERE blocked_at IS NOT NULL").unwrap(), odd);
    let search = "/auth/admin/users?q=%22%3E%3Cscript%3E%27";
    assert!(page(&test, search, &ada).contains("value=\"&quot;&gt;&lt;script&gt;"));
}

/// The subs on a page, and the link to the next page.
fn listed(test: &TestApp, path: &str, by: &str) -> (Vec<String>, Option<String>) {
    let page = page(test, path, by);
    let ours = |rest: &str| rest.split('"').next().unwrap().to_owned();
    let subjects = page.split("href=\"/auth/admin/users/").skip(1).map(ours).collect();
    let buttons: Vec<&str> = page.split("class=\"button\" href=\"").skip(1).collect();
    (
        subjects,
        buttons
            .iter()
            .find(|rest| rest.contains(">Next page<"))
            .map(|rest| ours(rest).replace("&amp;", "&")),
    )
}

#[test]
fn paging_lists_everybody_once_while_users_sign_in() {
    let (test, ada, _) = test();
    let people = |number: u32| json!({"sub": format!("p{number}"), "email": format!("p.{number}@gmail.com")});
    (0..130).for_each(|number| drop(test.sign_in(people(number))));
    for (first, expected) in [("/auth/admin/users", 132), ("/auth/admin/users?q=gmail.com+p.", 130)]
    {
        let (mut next, mut all, mut pages) = (Some(first.to_owned()), Vec::new(), 0);
        while let Some(path) = next {
            let (subjects, following) = listed(&test, &path, &ada);
            all.extend(subjects.into_iter().filter(|subject| !subject.starts_with("new")));
            next = following;
            pages += 1;
            // Old users sign in again, and new ones arrive.
            (0..7).for_each(|number| drop(test.sign_in_at(people(number * 17), NOW + pages)));
            test.sign_in(json!({"sub": format!("new{expected}{pages}"), "email": null}));
        }
        assert_eq!(
            (all.len(), all.iter().collect::<HashSet<_>>().len(), pages),
            (expected, expected, 3)
        );
    }
}

#[test]
fn a_search_finds_parts_of_names_emails_and_subs() {
    let (test, ada, _) = test();
    test.sign_in(json!({"sub": "33", "email": "li.wei@gmail.com", "name": "王伟"}));
    test.sign_in(json!({"sub": "44", "email": null, "name": "Sofía Núñez \"So\" O'Hara"}));
    let find = |query: &str| -> String {
        let encoded: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        listed(&test, &format!("/auth/admin/users?q={encoded}"), &ada).0.join(" ")
    };
    for (query, expected) in [
        ("LOVEL", "1"),
        ("lace ada", "1"),
        ("ada bob", ""),
        ("example.com", "1"),
        ("gmail", "33 2"),
        ("li", "33"),
        ("ei", "33"),
        ("王伟", "33"),
        ("NÚÑEZ", "44"),
        ("\"so\"", "44"),
        ("o'hara", "44"),
        ("2", "2"),
        ("4", "44"),
        ("3 wei", "33"),
        ("x", "1"),
        ("\" OR words : *", ""),
        ("ada\0lace", ""),
        ("%", ""),
        ("  ", "44 33 2 1"),
    ] {
        assert_eq!(find(query), expected, "{query:?}");
    }
}

#[test]
fn a_search_finds_new_names_and_no_deleted_users() {
    let (test, ada, _) = test();
    let found = |query: &str| listed(&test, &format!("/auth/admin/users?q={query}"), &ada).0;
    test.sign_in(json!({"sub": "2", "email": "robert@gmail.com", "name": "Robert"}));
    assert_eq!((found("robert"), found("bob@")), (vec!["2".to_owned()], vec![]));
    test.app.store().delete_user("2", NOW).unwrap();
    assert_eq!((found("robert"), found("")), (vec![], vec!["1".to_owned()]));
}

#[test]
fn the_overview_shows_days_sessions_and_refusals() {
    let (test, ada, _) = test();
    test.sign_in_at(bob(), NOW - DAY);
    test.send_at(post_token(&token(json!({"aud": "other", "sub": "7"}))), NOW);
    test.send(change("2", "action=block").cookie(&ada));
    test.send(post_token(&token(bob())));
    test.app.store().flush();
    let page = page(&test, "/auth/admin", &ada);
    assert!(page.contains("Today: 2 sign-ins, 2 refusals."), "{page}");
    let rows: Vec<&str> = page.split("<tr>").skip(2).collect();
    assert_eq!(rows.len(), 30);
    assert!(
        rows[0].contains("2027-01-15") && rows[0].contains("<td>2</td><td>2</td>"),
        "{}",
        rows[0]
    );
    assert!(
        rows[1].contains("2027-01-14") && rows[1].contains("<td>1</td><td>0</td>"),
        "{}",
        rows[1]
    );
    assert_eq!(page.matches("class=\"signins\"").count(), 30);
    assert!(!page.contains("style="), "the policy allows no inline styles");
    let (there, refusals) = page.split_once("Latest refusals").unwrap();
    assert!(there.contains("Ada Lovelace") && there.contains("Bob &lt;script&gt;"));
    assert!(
        refusals.contains("issued for another app") && refusals.contains("this account is blocked")
    );
    assert!(refusals.contains("href=\"/auth/admin/users/2\""));
}

#[test]
fn live_sessions_are_listed_last_seen_first() {
    let test = TestApp::with(&[
        "--allow-anyone",
        "--admin-email",
        "ada@example.com",
        "--session-idle",
        "1h",
    ]);
    let session =
        |claims, now| test.sign_in_at(claims, now)["session"]["token"].as_str().unwrap().to_owned();
    let bobs = session(bob(), NOW - 3600);
    let _ = session(json!({"sub": "3", "email": null, "name": "Cleo"}), NOW - 3599);
    let eve = session(json!({"sub": "4", "email": null, "name": "Eve"}), NOW - 30);
    let ada = session(ada(), NOW - 1);
    let _ = session(self::ada(), NOW);
    // A program of hers does not make her appear.
    test.send_at(post("/auth/tokens", FORM, "name=Backup").bearer(&eve), NOW);
    test.send_at(request("POST", "/auth/signout").bearer(&eve), NOW);
    let page = page(&test, "/auth/admin", &ada);
    let there =
        page.split_once("Signed in now").unwrap().1.split_once("Latest refusals").unwrap().0;
    let at = |name: &str| there.find(name);
    assert!(at("Ada Lovelace").unwrap() < at("Cleo").unwrap());
    assert_eq!((at("Bob"), at("Eve"), there.matches("<li>").count()), (None, None, 2));
    assert!(there.contains("1 more"));
    assert_eq!(status(&test, &bobs), 401);
}

#[test]
fn the_overview_shows_the_newest_backup_and_a_failure() {
    let (test, ada, _) = test();
    let overview = || page(&test, "/auth/admin", &ada);
    assert!(!overview().contains("backup"));
    let metrics = test.app.metrics();
    let (made, failed) = ("2026-07-27", "The latest backup failed.");
    for (counted, newest, shows_newest, shows_failure) in [
        ((0, 0), None, false, false),
        ((0, 1), None, false, true),
        ((1, 0), Some(1_785_139_200), true, false),
        ((0, 1), Some(1_785_139_200), true, true),
        // Nothing was due since.
        ((0, 0), Some(1_785_139_200), true, true),
    ] {
        metrics.count_backups(counted.0, counted.1, newest);
        let page = overview();
        assert_eq!(page.contains("There is no backup yet."), newest.is_none());
        assert_eq!((page.contains(made), page.contains(failed)), (shows_newest, shows_failure));
    }
}

#[test]
fn the_overview_summarises_calls_to_google() {
    let (test, ada, _) = test();
    assert!(page(&test, "/auth/admin", &ada).contains("2 good, 0 refused, 0 failed"));
    test.google.next(Answer::Status(400, "", Vec::new()));
    assert_eq!(test.send(post_token(&token(json!({})))).status, 401);
    for _ in 0..2 {
        test.google.next(Answer::Status(500, "Retry-After: 60\r\n", Vec::new()));
        assert_eq!(test.send(post_token(&token(json!({})))).status, 503);
    }
    let page = page(&test, "/auth/admin", &ada);
    for part in [
        "2 good, 1 refused, 2 failed",
        "tokeninfo answered with status 500",
        "2 times",
        "95% within",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn events_of_a_deleted_admin_contain_no_email() {
    let (test, ada, _) = test();
    test.send(change("2", "action=block").cookie(&ada));
    test.app.store().delete_user("1", NOW).unwrap();
    assert_eq!(
        test.count("events WHERE email = 'ada@example.com' OR reason LIKE '%ada@example.com%'"),
        0
    );
    assert_eq!(recorded(&test)[0], event("block", "2", "by a deleted account"));
}

#[test]
fn imported_users_have_never_signed_in() {
    let (test, ada, _) = test();
    let user = "INSERT INTO users (sub, email_authoritative, created_at, last_signin_at) VALUES ('7', 0, 1, 0)";
    test.sql(user);
    assert_eq!(page(&test, "/auth/admin/users", &ada).matches("never signed in").count(), 1);
    assert!(page(&test, "/auth/admin/users/7", &ada).contains("<dd>never</dd>"));
}

#[test]
fn metric_labels_are_few() {
    let (test, ada, _) = test();
    for path in PATHS {
        test.send(get(path).cookie(&ada));
    }
    let metrics = body(&test.app.handle_metrics(&get("/metrics"), NOW));
    for route in ["/auth/admin", "/auth/admin/users", "/auth/admin/users/{sub}"] {
        assert!(metrics.contains(&format!("route=\"{route}\",status=\"200\"}} 1")), "{route}");
    }
}

/// Other programs can write such text; it must not keep anybody else out of the pages.
#[test]
fn text_that_is_not_utf_8_is_shown_with_replacements() {
    let (test, ada, bob) = test();
    test.sql(
        "UPDATE users SET name = CAST(x'426fff62' AS TEXT), given_name = CAST(x'ff' AS TEXT),
                locale = CAST(x'ff' AS TEXT) WHERE sub = '2';
            UPDATE sessions SET user_agent = CAST(x'ff' AS TEXT);
            UPDATE events SET user_agent = CAST(x'ff' AS TEXT), reason = CAST(x'ff' AS TEXT);",
    );
    assert_eq!(status(&test, &bob), 200);
    for path in ["/auth/admin", "/auth/admin/users", "/auth/admin/users/2"] {
        assert!(page(&test, path, &ada).contains("Bo\u{fffd}b"), "{path}");
    }
    page(&test, "/auth/admin/users?search=bo", &ada);
    led_to(
        &test.send(change("2", "action=block").cookie(&ada)),
        "/auth/admin/users/2?done=blocked",
    );
}
