//! /auth/admin/allowed: the list of who may enter, as a page and as JSON.

use hallpass::http::{Request, Response};
use serde_json::{Value, json};

use crate::test_app::{
    FORM, NOW, RequestExt, TestApp, body, document, get, post, post_token, refused, request, token,
};

const OURS: &str = "https://auth.example.com";
const PATH: &str = "/auth/admin/allowed";
const JSON: &str = "application/json";

/// An application that lets in its admin and nobody else, with the admin's session.
fn test() -> (TestApp, String) {
    test_with(&[])
}

fn test_with(flags: &[&str]) -> (TestApp, String) {
    let test = TestApp::with(&[&["--admin-email", "ada@example.com"], flags].concat());
    let ada = json!({"sub": "1", "email": "ada@example.com", "hd": "example.com", "name": "Ada"});
    let session = test.sign_in(ada)["session"]["token"].as_str().unwrap().to_owned();
    (test, session)
}

fn mira() -> Value {
    json!({"sub": "7", "email": "mira@gmail.com", "name": "Mira"})
}

fn enters(test: &TestApp, claims: Value) -> u16 {
    test.send(post_token(&token(claims))).status
}

fn form(fields: &str) -> Request {
    post(PATH, FORM, fields).browser().header("Origin", OURS)
}

fn page(test: &TestApp, path: &str, by: &str) -> String {
    let response = test.send(get(path).browser().cookie(by));
    assert_eq!(response.status, 200, "{path}");
    body(&response)
}

#[track_caller]
fn led_to(response: &Response, done: &str) {
    let address = format!("{OURS}{PATH}?done={done}");
    assert_eq!((response.status, response.header("Location")), (303, Some(&*address)));
}

#[test]
fn the_page_adds_and_removes_entries() {
    let (test, ada) = test();
    assert!(page(&test, PATH, &ada).contains("The list is empty."));
    assert_eq!(enters(&test, mira()), 403);
    let add = "email=+Mira%40Gmail.com+&note=%D7%A9%D7%9C%D7%95%D7%9D+%3Cb%3E";
    led_to(&test.send(form(add).cookie(&ada)), "added");
    let shown = page(&test, &format!("{PATH}?done=added"), &ada);
    for part in [
        "role=\"status\"",
        "<bdi>mira@gmail.com</bdi>",
        "has not signed in yet",
        "<bdi>\u{5e9}\u{5dc}\u{5d5}\u{5dd} &lt;b&gt;</bdi>",
        "by <bdi>ada@example.com</bdi>",
        "aria-label=\"Remove mira@gmail.com\"",
        "aria-current=\"page\">Access<",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    led_to(&test.send(form("email=mira@gmail.com").cookie(&ada)), "there");
    assert_eq!(enters(&test, mira()), 200);
    let shown = page(&test, PATH, &ada);
    assert!(shown.contains("href=\"/auth/admin/users/7\"") && !shown.contains("not signed in yet"));
    led_to(&test.send(form("domain=Example.ORG&note=").cookie(&ada)), "added");
    assert!(page(&test, PATH, &ada).contains(">Workspace</span>"));

    led_to(&test.send(form("remove=1").cookie(&ada)), "removed");
    assert_eq!(enters(&test, mira()), 403);
    for nothing in ["1", "99", "-1"] {
        led_to(&test.send(form(&format!("remove={nothing}")).cookie(&ada)), "nothing");
    }
    let events = "SELECT group_concat(concat_ws(' ', kind, sub, email, detail, reason), '; ')
        FROM (SELECT * FROM events WHERE kind LIKE '%allow' ORDER BY id)";
    assert_eq!(
        test.text(events).as_deref(),
        Some(
            "allow mira@gmail.com by ada@example.com; allow example.org by ada@example.com; \
             disallow 7 mira@gmail.com by ada@example.com"
        )
    );
    // The ID of a removed entry is never used again: a page that was open meanwhile removes nothing
    // else.
    led_to(&test.send(form("remove=2").cookie(&ada)), "removed");
    led_to(&test.send(form("sub=8").cookie(&ada)), "added-sub");
    led_to(&test.send(form("remove=2").cookie(&ada)), "nothing");
}

#[test]
fn the_page_says_why_an_added_account_still_cannot_sign_in() {
    let (test, ada) = test();
    let operator = hallpass::store::Actor::operator();
    test.app.store().block_email("eve@gmail.com", operator, NOW).unwrap();
    led_to(&test.send(form("email=eve@gmail.com").cookie(&ada)), "blocked");
    assert!(page(&test, &format!("{PATH}?done=blocked"), &ada).contains("but they are blocked"));
    led_to(&test.send(form("sub=7").cookie(&ada)), "added-sub");
    assert_eq!(enters(&test, json!({"sub": "7", "email": "bob@example.net"})), 200);
    led_to(&test.send(form("email=bob@example.net").cookie(&ada)), "no-authority");
}

#[test]
fn a_wrong_entry_is_explained_and_kept_in_its_field() {
    let (test, ada) = test();
    for (fields, text) in [
        (
            "email=example.com&note=a+note",
            "<bdi>example.com</bdi> is not an e-mail address or a sub",
        ),
        ("email=%40example.com&note=a+note", "Let in a whole Google Workspace\u{201d}"),
        ("email=gmail.com&note=a+note", "<bdi>gmail.com</bdi> is not an e-mail address or a sub.<"),
        (
            "email=eve%40outlook.com&note=a+note",
            "would let in nobody, because Google is the authority",
        ),
        ("domain=gmail.com&note=a+note", "only Workspace accounts have a domain"),
        ("domain=a+b&note=a+note", "<bdi>a b</bdi> is not a domain"),
        ("domain=co.uk&note=a+note", "public suffix"),
        ("note=a+note", "please enter"),
        ("email=&note=a+note", "please enter"),
    ] {
        let response = test.send(form(fields).cookie(&ada));
        let page = body(&response);
        assert_eq!(response.status, 400, "{fields}");
        assert!(page.contains("role=\"alert\"") && page.contains(text), "{fields}: {page}");
        assert!(page.contains("value=\"a note\""), "{page}");
    }
    let long = |length: usize| format!("email=eve%40gmail.com&note={}", "n".repeat(length));
    assert_eq!(test.send(form(&long(201)).cookie(&ada)).status, 400);
    assert_eq!(test.send(form(&long(200)).cookie(&ada)).status, 303);
    assert_eq!(test.count("allowed"), 1);
}

#[test]
fn programs_get_json() {
    let (test, ada) = test();
    let send = |body: Value| test.send(post(PATH, JSON, &body.to_string()).bearer(&ada));
    let added = send(json!({"email": "mira@gmail.com", "note": "Mira"}));
    let entry = json!({
        "id": 1, "domain": null, "email": "mira@gmail.com", "sub": null, "created_at": NOW,
        "created_by": "ada@example.com", "note": "Mira", "account_email": null,
    });
    assert_eq!((added.status, document(&added)), (201, json!({"allowed": entry})));
    assert_eq!(send(json!({"email": "mira@gmail.com"})).status, 200);
    assert_eq!(send(json!({"sub": "a/b"})).status, 201);
    assert_eq!(send(json!({"domain": "example.org"})).status, 201);
    let listed = document(&test.send(get(PATH).bearer(&ada)));
    let names: Vec<_> =
        listed["allowed"].as_array().unwrap().iter().map(|it| it["id"].clone()).collect();
    assert_eq!(names, [json!(3), json!(2), json!(1)]);
    for (wrong, says) in [
        (json!({}), "exactly one of"),
        (json!({"email": "mira@gmail.com", "domain": "example.org"}), "exactly one of"),
        (json!({"email": 5}), "exactly one of"),
        (json!({"email": "example.org"}), "email must be an e-mail"),
        (json!({"sub": "\n"}), "sub must be"),
        (json!({"domain": "gmail.com"}), "only Workspace accounts have a domain"),
        (json!({"domain": "x", "note": "n".repeat(201)}), "longer than 200"),
        (json!({"email": "eve@gmail.com", "note": 5}), "note must be a string"),
        (json!({"email": "eve@gmail.com", "note": ["a"]}), "note must be a string"),
        (json!({"remove": "x"}), "remove must be an ID"),
        (json!({"remove": 1.5}), "remove must be an ID"),
        (json!({"remove": null}), "remove must be an ID"),
    ] {
        let response = send(wrong.clone());
        refused(&response, 400, "invalid_request");
        assert!(body(&response).contains(says), "{wrong}: {}", body(&response));
    }
    let delete = |id: &str| test.send(request("DELETE", &format!("{PATH}/{id}")).bearer(&ada));
    assert_eq!((delete("1").status, delete("1").status), (204, 404));
    for id in ["x", "99", "-1", "99999999999999999999"] {
        assert_eq!(delete(id).status, 404, "{id}");
    }
    assert_eq!(test.count("allowed"), 2);
    for id in [json!(2), json!("3")] {
        let removal = json!({"remove": id});
        assert_eq!((send(removal.clone()).status, send(removal).status), (204, 404), "{id}");
    }
    assert_eq!(send(json!({"email": "eve@gmail.com", "note": null})).status, 201);
}

#[test]
fn only_admins_on_our_own_pages_may_change_it() {
    let (test, ada) = test();
    test.send(form("email=mira@gmail.com").cookie(&ada));
    let mira = test.sign_in(mira())["session"]["token"].as_str().unwrap().to_owned();
    refused(&test.send(get(PATH).cookie(&mira)), 403, "access_denied");
    refused(&test.send(get(PATH)), 401, "unauthenticated");
    let eve = || post(PATH, FORM, "email=eve@gmail.com");
    refused(&test.send(eve().cookie(&mira)), 403, "access_denied");
    for origin in ["https://evil.example", "null", "https://accounts.google.com"] {
        refused(&test.send(eve().cookie(&ada).header("Origin", origin)), 403, "access_denied");
        let delete = request("DELETE", &format!("{PATH}/1")).cookie(&ada);
        refused(&test.send(delete.header("Origin", origin)), 403, "access_denied");
    }
    refused(
        &test.send(eve().cookie(&ada).header("Sec-Fetch-Site", "cross-site")),
        403,
        "access_denied",
    );
    assert_eq!(test.count("allowed"), 1);
    // A browser without a session signs in and comes back.
    let led = test.send(get(PATH).browser());
    assert_eq!(
        led.header("Location"),
        Some("https://auth.example.com/auth/signin?rd=%2Fauth%2Fadmin%2Fallowed")
    );
    let test = TestApp::open();
    refused(&test.send(get(PATH)), 404, "not_found");
}

#[test]
fn long_lists_have_pages_that_show_each_entry_once() {
    let (test, ada) = test();
    let sql = "INSERT INTO allowed (sub, created_at) SELECT 's' || i, 1 FROM
        (WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10250) SELECT i FROM n)";
    test.sql(sql);
    let (mut next, mut shown, mut pages) = (Some(PATH.to_owned()), 0, 0);
    while let Some(path) = next {
        let page = page(&test, &path, &ada);
        shown += page.matches("name=\"remove\"").count();
        pages += 1;
        next = page
            .split("href=\"")
            .find(|rest| rest.contains("rel=\"next\""))
            .map(|rest| rest.split('"').next().unwrap().to_owned());
    }
    assert_eq!((shown, pages), (10_250, 103));
    let listed = document(&test.send(get(PATH).bearer(&ada)));
    assert_eq!(listed["allowed"].as_array().unwrap().len(), 10_250);
    let wrong = get(&format!("{PATH}?from=x")).browser().cookie(&ada);
    assert_eq!(test.send(wrong).status, 400);
}

#[test]
fn a_refused_person_can_be_let_in_from_the_admin_pages() {
    let (test, ada) = test();
    let elsewhere = json!({"sub": "9\"<", "email": "eve@outlook.com", "name": "Eve"});
    assert_eq!(enters(&test, elsewhere.clone()), 403);
    // A refusal that an entry would not change has no button.
    assert_eq!(enters(&test, json!({"sub": "3", "email": "x@p.iam.gserviceaccount.com"})), 403);
    test.send(post_token(&token(json!({"sub": "4", "aud": "another"}))));
    test.app.store().flush();
    let overview = page(&test, "/auth/admin", &ada);
    assert_eq!(overview.matches(">Let in</button>").count(), 1, "{overview}");
    assert!(overview.contains("name=\"sub\" value=\"9&quot;&lt;\""));
    led_to(&test.send(form("sub=9%22%3C").cookie(&ada)), "added-sub");
    let overview = page(&test, "/auth/admin", &ada);
    assert!(overview.contains("let in since") && !overview.contains(">Let in</button>"));
    assert!(page(&test, PATH, &ada).contains("<strong><bdi>eve@outlook.com</bdi>"));
    assert_eq!(enters(&test, elsewhere), 200);

    // On the page of a user, too.
    led_to(&test.send(form("email=mira@gmail.com").cookie(&ada)), "added");
    let session = test.sign_in(mira())["session"]["token"].as_str().unwrap().to_owned();
    let user = || page(&test, "/auth/admin/users/7", &ada);
    assert!(
        user().contains("the entry for <bdi>mira@gmail.com</bdi>")
            && !user().contains("not let in")
    );
    led_to(&test.send(form("remove=2").cookie(&ada)), "removed");
    let check = get("/auth/check").cookie(&session).header("X-Forwarded-Host", "app.example.com");
    assert_eq!(test.send(crate::test_app::near(check)).status, 403);
    test.app.store().flush();
    assert!(user().contains("not let in") && user().contains("name=\"sub\" value=\"7\""));
    let me = page(&test, "/auth/admin/users/1", &ada);
    assert!(me.contains("<dd>the settings</dd>"));
    let open = TestApp::with(&["--allow-anyone", "--admin-email", "ada@gmail.com"]);
    let admin = open.sign_in(json!({"email": "ada@gmail.com"}))["session"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(page(&open, PATH, &admin).contains("this list changes nothing"));
}

#[test]
fn the_refused_person_learns_whom_to_ask() {
    let (test, _) = test();
    let asks = |response: Response| {
        assert_eq!(response.status, 403);
        let page = body(&response);
        (page.contains("Ask the person who runs this site to let you in"), page)
    };
    let sign_in = |claims: Value| asks(test.send(post_token(&token(claims)).browser()));
    let (does_ask, page) = sign_in(mira());
    assert!(does_ask && page.contains("You tried to sign in as <strong><bdi>mira@gmail.com</bdi>"));
    assert!(page.contains("prompt=select_account\">Use another account<"));
    assert!(!page.contains("ada@example.com"), "the admins' addresses are for nobody to see");
    assert!(!sign_in(json!({"sub": "3", "email": "x@p.iam.gserviceaccount.com"})).0);
    let open = TestApp::open();
    let session = open.session();
    let listed = get("/auth/forward?allowed_emails=x@gmail.com").browser().cookie(&session);
    assert!(asks(open.send(listed)).0);
    open.sql("UPDATE users SET blocked_at = 1");
    assert!(!asks(open.send(get("/auth/forward").browser().cookie(&session))).0);
}

#[test]
fn adding_a_sub_says_that_apps_may_get_no_remote_user() {
    #[track_caller]
    fn check(remote_user: &str, done: &str) {
        let (test, ada) = test_with(&["--remote-user", remote_user]);
        led_to(&test.send(form("sub=8").cookie(&ada)), done);
        let shown = page(&test, &format!("{PATH}?done={done}"), &ada);
        assert_eq!(shown.contains("--remote-user username"), done == "added-sub", "{shown}");
    }
    check("email", "added-sub");
    let (test, ada) = test();
    assert_eq!(enters(&test, mira()), 403);
    led_to(&test.send(form("sub=7").cookie(&ada)), "added");
    check("username", "added");
    check("sub", "added");
}

#[test]
fn the_notice_after_a_removal_says_who_still_enters() {
    let (test, ada) = test();
    let eve = json!({"sub": "8", "email": "eve@example.org", "hd": "example.org"});
    led_to(&test.send(form("domain=example.org").cookie(&ada)), "added");
    led_to(&test.send(form("sub=8").cookie(&ada)), "added-sub");
    test.send(form("sub=1").cookie(&ada));
    assert_eq!(enters(&test, eve.clone()), 200);
    led_to(&test.send(form("remove=2").cookie(&ada)), "still");
    assert_eq!(enters(&test, eve.clone()), 200);
    // The settings let in the admin.
    led_to(&test.send(form("remove=3").cookie(&ada)), "still");
    let shown = page(&test, &format!("{PATH}?done=still"), &ada);
    assert!(shown.contains("another entry or the settings still let them in"), "{shown}");
    led_to(&test.send(form("remove=1").cookie(&ada)), "removed");
    assert_eq!(enters(&test, eve), 403);
}
