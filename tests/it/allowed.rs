//! The list in the database of those who may enter, and blocks before the first sign-in.

use hallpass::entry::Entry;
use hallpass::http::{Handler, Response};
use hallpass::store::Actor;
use serde_json::{Value, json};

use crate::test_app::{
    HOUR, NOW, RequestExt, TestApp, body, document, get, post_token, refused, token,
};

/// Lets in one account that no test uses.
const ONLY: [&str; 2] = ["--allow-email", "nobody@gmail.com"];

fn account(email: &str) -> Entry {
    Entry::account(email).unwrap()
}

fn domain(domain: &str) -> Entry {
    Entry::domain(domain).unwrap()
}

impl TestApp {
    fn allow(&self, entry: Entry) -> i64 {
        self.app.store().allow(entry, None, Actor::operator(), NOW).unwrap().0.id
    }

    fn disallow(&self, id: i64) {
        self.app.store().disallow(id, Actor::operator(), NOW).unwrap().expect("it is there");
    }

    fn try_sign_in(&self, claims: Value) -> Response {
        self.send(post_token(&token(claims)))
    }

    #[track_caller]
    fn enters(&self, claims: Value) -> String {
        self.sign_in(claims)["session"]["token"].as_str().unwrap().to_owned()
    }

    fn check(&self, session: &str) -> u16 {
        self.send(get("/auth/check").bearer(session)).status
    }
}

fn mira(email: &str) -> Value {
    json!({"sub": "7", "email": email})
}

#[test]
fn an_email_entry_belongs_to_the_first_account_that_comes_with_it() {
    let test = TestApp::with(&ONLY);
    refused(&test.try_sign_in(mira("mira@gmail.com")), 403, "access_denied");
    test.allow(account("Mira@Gmail.com"));
    let session = test.enters(mira("MIRA@gmail.com"));
    assert_eq!(test.text("SELECT sub FROM allowed").as_deref(), Some("7"));
    // Whatever happens to the address.
    test.enters(mira("mira.okafor@gmail.com"));
    test.enters(json!({"sub": "7", "email": null}));
    assert_eq!(test.check(&session), 200);
    let other = test.try_sign_in(json!({"sub": "8", "email": "mira@gmail.com"}));
    assert_eq!(
        document(&other)["error_description"],
        "this account is not on the list of those who may sign in: its address is, but the entry \
         belongs to the account that had the address before"
    );
    // The address has a new owner, who gets an entry of their own.
    test.allow(account("mira@gmail.com"));
    test.enters(json!({"sub": "8", "email": "mira@gmail.com"}));
    assert_eq!(test.count("allowed WHERE email = 'mira@gmail.com'"), 2);
}

#[test]
fn an_email_entry_admits_only_the_account_google_vouches_for() {
    let test = TestApp::with(&ONLY);
    test.allow(account("ada@example.com"));
    for claims in [
        json!({"sub": "9", "email": "ada@example.com"}),
        json!({"sub": "9", "email": "ada@example.com", "email_verified": false, "hd": "example.com"}),
        json!({"sub": "9", "email": "ada@example.org", "hd": "example.com"}),
    ] {
        refused(&test.try_sign_in(claims), 403, "access_denied");
    }
    assert_eq!(test.text("SELECT sub FROM allowed"), None);
    test.enters(json!({"sub": "9", "email": "ada@example.com", "hd": "example.com"}));
}

#[test]
fn an_email_that_a_user_holds_belongs_to_that_user_at_once() {
    let test = TestApp::with(&["--allow-email", "mira@gmail.com"]);
    let session = test.enters(mira("mira@gmail.com"));
    let test = test.restarted(&ONLY);
    assert_eq!(test.check(&session), 403);
    test.allow(account("mira@gmail.com"));
    assert_eq!(test.text("SELECT sub FROM allowed").as_deref(), Some("7"));
    assert_eq!(test.check(&session), 200);
    // Adding it again, or adding its sub, changes nothing.
    for entry in [account("mira@gmail.com"), account("7")] {
        assert!(!test.app.store().allow(entry, None, Actor::operator(), NOW).unwrap().1);
    }
    assert_eq!((test.count("allowed"), test.count("events WHERE kind = 'allow'")), (1, 1));
}

#[test]
fn a_domain_entry_is_compared_with_hd_and_a_sub_with_the_sub() {
    let test = TestApp::with(&ONLY);
    test.allow(domain("Example.com"));
    test.allow(account("4711"));
    let enters = |claims: Value, expected: bool| {
        let status = test.try_sign_in(claims.clone()).status;
        assert_eq!(status, if expected { 200 } else { 403 }, "{claims}");
    };
    enters(json!({"sub": "1", "email": "a@elsewhere.net", "hd": "EXAMPLE.com"}), true);
    enters(json!({"sub": "2", "email": "a@example.com"}), false);
    enters(json!({"sub": "3", "email": "a@sub.example.com", "hd": "sub.example.com"}), false);
    enters(json!({"sub": "4711", "email": null}), true);
    enters(json!({"sub": "471", "email": "4711@gmail.com"}), false);
    enters(
        json!({"sub": "5", "email": "robot@p.iam.gserviceaccount.com", "hd": "example.com"}),
        false,
    );
}

#[test]
fn a_removed_entry_means_403_on_the_next_check_of_every_process() {
    for remove in [
        "DELETE FROM allowed",
        "UPDATE allowed SET sub = '8'",
        "INSERT OR REPLACE INTO allowed \
        SELECT id, domain, email, '8', created_at, NULL, NULL FROM allowed",
    ] {
        let test = TestApp::with(&ONLY);
        test.allow(account("mira@gmail.com"));
        let session = test.enters(mira("mira@gmail.com"));
        let fast = || {
            let request = get("/auth/check").bearer(&session);
            Handler::fast_path(&test.app, &request, NOW).map(|response| response.status)
        };
        assert_eq!((test.check(&session), fast()), (200, Some(200)));
        test.sql(remove);
        assert_eq!((fast(), test.check(&session), fast()), (None, 403, Some(403)), "{remove}");
        test.sql("UPDATE allowed SET sub = '7'");
        test.sql("INSERT OR IGNORE INTO allowed (id, sub, created_at) VALUES (1, '7', 1)");
        assert_eq!((fast(), test.check(&session)), (None, 200), "{remove}");
    }
    let test = TestApp::with(&ONLY);
    let id = test.allow(domain("example.com"));
    let session = test.enters(json!({"hd": "example.com"}));
    test.disallow(id);
    let response = test.send(get("/auth/check").bearer(&session));
    refused(&response, 403, "access_denied");
    assert!(body(&response).contains("not on the list of those who may sign in"));
    assert!(test.app.store().disallow(id, Actor::operator(), NOW).unwrap().is_none());
}

#[test]
fn id_tokens_as_bearers_follow_the_list() {
    let test = TestApp::with(&ONLY);
    let bearer = token(mira("mira@gmail.com"));
    let check = || test.send(get("/auth/check").bearer(&bearer)).status;
    assert_eq!(check(), 403);
    let id = test.allow(account("mira@gmail.com"));
    assert_eq!(check(), 200);
    test.disallow(id);
    assert_eq!(check(), 403);
}

#[test]
fn admins_are_let_in_by_email_and_by_sub() {
    let admin = ["--admin-email", "ada@gmail.com,4711"];
    let test = TestApp::with(&admin);
    for claims in
        [json!({"sub": "1", "email": "ada@gmail.com"}), json!({"sub": "4711", "email": null})]
    {
        let session = test.enters(claims);
        assert_eq!(test.send(get("/auth/admin").browser().cookie(&session)).status, 200);
    }
    assert_eq!(test.try_sign_in(json!({"sub": "2", "email": "eve@gmail.com"})).status, 403);
    let test = TestApp::with(&["--allow-email", "4711"]);
    test.enters(json!({"sub": "4711", "email": null}));
    assert_eq!(test.try_sign_in(json!({"sub": "471", "email": null})).status, 403);
}

#[test]
fn a_refusal_tells_which_entry_does_not_match() {
    let test = TestApp::with(&ONLY);
    test.allow(account("a.da@gmail.com"));
    test.allow(account("bob@example.com"));
    test.allow(domain("example.org"));
    let says = |email: &str, end: &str| {
        let response = test.try_sign_in(json!({"sub": "5", "email": email}));
        let said = document(&response)["error_description"].as_str().unwrap().to_owned();
        assert!(
            said.starts_with("this account is not on the list") && said.contains(end),
            "{said}"
        );
    };
    says("ada@gmail.com", "not as Google writes it");
    says("bob@example.com", "Google is the authority for gmail.com addresses");
    says("eve@example.org", "not a Workspace account of that domain");
    assert_eq!(test.count("events WHERE kind = 'refusal' AND sub = '5'"), 3);
}

#[test]
fn googles_button_follows_the_list() {
    let hint = |flags: &[&str], entries: &[Entry]| {
        let test = TestApp::with(flags);
        for entry in entries {
            test.allow(entry.clone());
        }
        let page = body(&test.send(get("/auth/signin")));
        page.split("data-hd=\"").nth(1).map(|rest| rest.split('"').next().unwrap().to_owned())
    };
    let (one, two, ada) = (domain("example.com"), domain("example.org"), account("ada@gmail.com"));
    let flag = ["--allow-domain", "Example.com"];
    assert_eq!(hint(&flag, &[]).as_deref(), Some("Example.com"));
    assert_eq!(hint(&flag, std::slice::from_ref(&one)).as_deref(), Some("Example.com"));
    assert_eq!(hint(&flag, std::slice::from_ref(&two)).as_deref(), Some("*"));
    assert_eq!(hint(&flag, &[one.clone(), account("4711")]), None);
    assert_eq!(hint(&flag, &[ada]), None);
    assert_eq!(hint(&[&flag[..], &["--admin-email", "ada@gmail.com"]].concat(), &[]), None);
    assert_eq!(hint(&[], std::slice::from_ref(&one)).as_deref(), Some("example.com"));
    assert_eq!(hint(&[], &[one, two]).as_deref(), Some("*"));
    assert_eq!(hint(&["--allow-anyone"], &[]), None);
}

/// The server starts and other people still get in, whatever somebody writes with sqlite3.
#[test]
fn odd_entries_disturb_nobody() {
    let test = TestApp::with(&ONLY);
    let database = test.other_process();
    let refused_by_the_schema = [
        "INSERT INTO allowed (created_at) VALUES (1)",
        "INSERT INTO allowed (domain, email, created_at) VALUES ('a.com', 'b@a.com', 1)",
        "INSERT INTO allowed (domain, created_at) VALUES ('A.com', 1)",
        "INSERT INTO allowed (email, created_at) VALUES ('B@a.com', 1)",
        "INSERT INTO allowed (domain) VALUES ('a.com')",
        "INSERT INTO allowed (sub, created_at) VALUES ('1', 'today')",
    ];
    for sql in refused_by_the_schema {
        assert!(database.execute(sql, []).is_err(), "{sql}");
    }
    database
        .execute_batch(
            "INSERT INTO allowed (domain, created_at) VALUES ('', 1), ('*', 2), ('@example.com', -3);
            INSERT INTO allowed (email, created_at) VALUES (CAST(x'ff40fe' AS TEXT), 1), ('no address', 1);
            INSERT INTO allowed (sub, created_at, created_by, note) VALUES ('', 1, CAST(x'ff' AS TEXT), '<b>')",
        )
        .unwrap();
    test.allow(account("mira@gmail.com"));
    let test = test.restarted(&ONLY);
    assert_eq!(test.app.store().allowed().unwrap().len(), 7);
    let session = test.enters(mira("mira@gmail.com"));
    assert_eq!(test.check(&session), 200);
    for claims in [json!({"email": ""}), json!({"email": null}), json!({"hd": "x.example"})] {
        assert_ne!(test.try_sign_in(claims).status, 200);
    }
    assert_eq!(test.send(get("/auth/signin").browser()).status, 200);
}

#[test]
fn somebody_can_be_blocked_before_their_first_sign_in() {
    let test = TestApp::open();
    let store = test.app.store();
    assert!(store.block_email("Eve@Gmail.com", Actor::operator(), NOW).unwrap());
    assert!(!store.block_email("eve@gmail.com", Actor::operator(), NOW).unwrap());
    let eve = || test.try_sign_in(json!({"sub": "5", "email": "EVE@gmail.com"}));
    for _ in 0..2 {
        refused(&eve(), 403, "access_denied");
        assert_eq!(document(&eve())["error_description"], "this account is blocked");
    }
    // She is a user now, who has never signed in.
    assert_eq!(test.count("blocked_emails"), 0);
    assert_eq!(
        test.count("users WHERE sub = '5' AND blocked_at IS NOT NULL AND last_signin_at = 0"),
        1
    );
    assert!(store.set_blocked("5", false, Actor::operator(), NOW).unwrap());
    assert_eq!(test.sign_in(json!({"sub": "5", "email": "eve@gmail.com"}))["new_user"], true);

    // Google does not vouch for the address, so the sign-in is refused and the block stays.
    store.block_email("bob@example.com", Actor::operator(), NOW).unwrap();
    let bob = json!({"sub": "6", "email": "bob@example.com"});
    refused(&test.try_sign_in(bob.clone()), 403, "access_denied");
    assert_eq!((test.count("blocked_emails"), test.count("users WHERE sub = '6'")), (1, 0));
    assert!(store.unblock_email("BOB@example.com", Actor::operator(), NOW).unwrap());
    assert!(!store.unblock_email("bob@example.com", Actor::operator(), NOW).unwrap());
    test.enters(bob);
    let kinds = "SELECT group_concat(kind || ' ' || email) FROM (SELECT * FROM events WHERE sub IS NULL ORDER BY id)";
    assert_eq!(
        test.text(kinds).as_deref(),
        Some("block eve@gmail.com,block bob@example.com,unblock bob@example.com")
    );
}

#[test]
fn a_user_who_takes_a_blocked_address_is_blocked() {
    let test = TestApp::open();
    let session = test.enters(json!({"sub": "5", "email": "old@gmail.com"}));
    test.app.store().block_email("new@gmail.com", Actor::operator(), NOW).unwrap();
    assert_eq!(test.check(&session), 200);
    refused(&test.try_sign_in(json!({"sub": "5", "email": "new@gmail.com"})), 403, "access_denied");
    assert_eq!(test.check(&session), 403);
}

#[test]
fn a_deleted_user_is_on_no_list() {
    let test = TestApp::with(&[&ONLY[..], &["--admin-email", "ada@gmail.com"]].concat());
    let ada = Actor::admin("ada@gmail.com", hallpass::store::Client::default());
    test.enters(json!({"sub": "1", "email": "ada@gmail.com"}));
    let store = test.app.store();
    store.allow(account("mira@gmail.com"), Some("Mira".into()), ada.clone(), NOW).unwrap();
    store.allow(domain("example.com"), None, ada.clone(), NOW).unwrap();
    store.block_email("eve@gmail.com", ada, NOW).unwrap();
    test.enters(mira("Mira@gmail.com"));
    store.delete_user("7", NOW).unwrap();
    let told = |text: &str| {
        let everything = "SELECT group_concat(concat_ws(' ', email, note, created_by)) FROM (SELECT email, note, \
            created_by FROM allowed UNION ALL SELECT email, reason, detail FROM events UNION ALL
            SELECT email, '', created_by FROM blocked_emails)";
        test.text(everything).unwrap_or_default().to_lowercase().contains(text)
    };
    assert!(!told("mira"));
    assert!(told("ada@gmail.com"));
    assert_eq!(test.try_sign_in(mira("mira@gmail.com")).status, 403);
    store.delete_user("1", NOW + HOUR).unwrap();
    assert!(!told("ada@gmail.com") && told("a deleted account"));
    assert_eq!((test.count("allowed"), test.count("blocked_emails")), (1, 1));
}

/// Many first sign-ins at once: one account gets the entry.
#[test]
fn one_account_gets_the_entry_when_several_come_at_once() {
    let test = TestApp::with(&ONLY);
    test.allow(account("mira@gmail.com"));
    let signed_in = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|number| {
                let claims = json!({"sub": number.to_string(), "email": "mira@gmail.com"});
                let test = &test;
                scope.spawn(move || test.try_sign_in(claims).status)
            })
            .collect();
        tries.into_iter().map(|it| it.join().unwrap()).filter(|it| *it == 200).count()
    });
    assert_eq!(
        (signed_in, test.count("users"), test.count("allowed WHERE sub IS NOT NULL")),
        (1, 1, 1)
    );
}
