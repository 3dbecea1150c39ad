//! Who may sign in.

use serde_json::{Value, json};

use crate::test_app::{RequestExt, document};
use crate::test_app::{TestApp, get, post_token, refused, token};

#[track_caller]
fn admits(flags: &[&str], claims: Value, expected: bool) {
    let test = TestApp::with(flags);
    let response = test.send(post_token(&token(claims)));
    if expected {
        assert_eq!(response.status, 200, "{}", document(&response));
    } else {
        refused(&response, 403, "access_denied");
        assert_eq!(test.count("users"), 0);
        assert_eq!(test.count("sessions"), 0);
        assert_eq!(test.count("events WHERE kind = 'refusal' AND sub IS NOT NULL"), 1);
    }
}

fn workspace(domain: &str, email: &str) -> Value {
    json!({"hd": domain, "email": email, "email_verified": true})
}

#[test]
fn domains_must_equal_hd() {
    let flags = ["--allow-domain", "example.com,Example.ORG"];
    admits(&flags, workspace("example.com", "a@example.com"), true);
    admits(&flags, workspace("EXAMPLE.com", "a@example.com"), true);
    admits(&flags, workspace("example.org", "a@elsewhere.net"), true);
    admits(&flags, workspace("evil-example.com", "a@example.com"), false);
    admits(&flags, workspace("sub.example.com", "a@example.com"), false);
    admits(&flags, workspace("example.com.evil.net", "a@example.com"), false);
    admits(&flags, workspace("com", "a@example.com"), false);
    // The text after the @ proves nothing.
    admits(&flags, json!({"email": "a@example.com", "email_verified": true}), false);
    admits(&flags, json!({"email": "a@evil@example.com"}), false);
}

#[test]
fn emails_match_only_if_google_is_authoritative() {
    let flags = ["--allow-email", "ada@gmail.com", "--allow-email", "Bob@Example.com"];
    admits(&flags, json!({"email": "ada@gmail.com"}), true);
    admits(&flags, json!({"email": "ADA@Gmail.com"}), true);
    admits(&flags, json!({"email": "xada@gmail.com"}), false);
    admits(&flags, workspace("example.com", "bob@example.com"), true);
    admits(&flags, json!({"email": "bob@example.com", "email_verified": true}), false);
    admits(
        &flags,
        json!({"email": "bob@example.com", "email_verified": false, "hd": "example.com"}),
        false,
    );
    admits(&flags, json!({"email": null}), false);
}

/// The operator may have listed an address that cannot match. The refusal and its event say so.
#[test]
fn a_refusal_says_why_a_listed_address_does_not_match() {
    let says = |flags: &[&str], claims: Value, end: &str| {
        let test = TestApp::with(flags);
        let response = test.send(post_token(&token(claims)));
        refused(&response, 403, "access_denied");
        let reason = format!("this account is not on the list of those who may sign in{end}");
        assert_eq!(document(&response)["error_description"], reason);
        assert_eq!(test.text("SELECT reason FROM events WHERE kind = 'refusal'"), Some(reason));
    };
    let email = |listed, email, end| {
        says(&["--allow-email", listed], json!({"email": email, "email_verified": true}), end);
    };
    let authority = ": its address is, but Google is the authority for gmail.com addresses and Workspace accounts only";
    let spelling = ": its address is, but not as Google writes it; dots count, and so does gmail.com or googlemail.com";
    email("ada@googlemail.com", "ada@googlemail.com", authority);
    email("Bob@example.com", "bob@Example.com", authority);
    email("ada@googlemail.com", "ada@gmail.com", spelling);
    email("ada@gmail.com", "ada@googlemail.com", spelling);
    email("a.da@gmail.com", "ada@gmail.com", spelling);
    email("ada@gmail.com", "A.D.A@gmail.com", spelling);
    email("ada+home@gmail.com", "ada@gmail.com", spelling);
    email("ada@gmail.com", "bob@gmail.com", "");
    email("a.da@example.com", "ada@example.com", "");
    says(
        &["--allow-domain", "example.com"],
        json!({"email": "ada@example.com", "email_verified": true}),
        ": the domain of its address is, but this is not a Workspace account of that domain",
    );
    says(&["--allow-email", "ada@gmail.com"], json!({"email": null}), "");
}

#[test]
fn being_on_either_list_suffices() {
    let flags = ["--allow-domain", "example.com", "--allow-email", "ada@gmail.com"];
    admits(&flags, workspace("example.com", "x@example.com"), true);
    admits(&flags, json!({"email": "ada@gmail.com"}), true);
    admits(&flags, json!({"email": "eve@gmail.com"}), false);
}

#[test]
fn anyone_excludes_service_accounts() {
    let flags = ["--allow-anyone"];
    admits(&flags, json!({"email": "x@elsewhere.net", "email_verified": false}), true);
    admits(&flags, json!({"email": null}), true);
    admits(&flags, json!({"email": "robot@p.iam.gserviceaccount.com"}), false);
    admits(&flags, json!({"azp": "1234567890"}), false);
}

#[test]
fn a_changed_policy_applies_to_live_sessions() {
    let test = TestApp::with(&["--allow-email", "testuser@gmail.com"]);
    let session = test.session();
    assert_eq!(test.send(get("/auth/me").bearer(&session)).status, 200);

    // Restart with another list on the same database.
    let options =
        crate::test_app::serve_options(&["--client-id", "x", "--allow-domain", "example.com"]);
    let settings = options.settings(Some(8080)).unwrap();
    let store = hallpass::store::Store::open(&test.database()).unwrap();
    let restarted = hallpass::web::App::new(settings, store);
    let answer = restarted.handle(&get("/auth/check").bearer(&session), crate::test_app::NOW);
    refused(&answer, 403, "access_denied");
}
