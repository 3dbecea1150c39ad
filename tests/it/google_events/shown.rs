//! Who sees events.

use serde_json::{Value, json};

use super::{SUBJECT, event, event_about, test, test_with};
use crate::program::run;
use crate::test_app::{NOW, RequestExt, TestApp, body, document, get, near};

fn page(test: &TestApp, path: &str, by: &str) -> String {
    let response = test.send(get(path).browser().cookie(by));
    assert_eq!(response.status, 200, "{path}");
    body(&response)
}

#[test]
fn admins_see_them() {
    let (test, _certs) = test_with(&["--allow-anyone", "--admin-email", "ada@gmail.com"]);
    let ada = test.sign_in(json!({"sub": "1", "email": "ada@gmail.com"}));
    let ada = ada["session"]["token"].as_str().unwrap().to_owned();
    let user_page = format!("/auth/admin/users/{SUBJECT}");
    test.session();
    assert!(
        page(&test, "/auth/admin", &ada).contains("Google has reported nothing about an account")
    );
    assert!(!page(&test, &user_page, &ada).contains("disabled by Google"));

    test.receive(event("account-credential-change-required", json!({})));
    test.receive(event("account-disabled", json!({"reason": "hijacking"})));
    for (path, expected) in [
        ("/auth/admin", "account-credential-change-required"),
        ("/auth/admin", "account-disabled: hijacking"),
        ("/auth/admin", "testuser@gmail.com"),
        (&user_page, "Google reported"),
        (&user_page, "account-credential-change-required"),
        (&user_page, "account-disabled: hijacking"),
        (&user_page, "disabled by Google"),
        (&user_page, "by Google"),
        ("/auth/admin/users", "disabled by Google"),
    ] {
        assert!(page(&test, path, &ada).contains(expected), "{path}: {expected}");
    }
    // Both buttons are there, and the one lifts Google's block.
    let shown = page(&test, &user_page, &ada);
    assert!(shown.contains("value=\"unblock\"") && shown.contains("value=\"block\""));
    let unblock = crate::test_app::post(&user_page, crate::test_app::FORM, "action=unblock");
    let unblock = unblock.browser().header("Origin", "https://auth.example.com").cookie(&ada);
    assert!(test.send(unblock).header("Location").unwrap().ends_with("done=unblocked"));
    assert!(!page(&test, &user_page, &ada).contains("disabled by Google"));
    test.session();
}

#[test]
fn deleted_people_are_not_shown() {
    let (test, _certs) = test_with(&["--allow-anyone", "--admin-email", "ada@gmail.com"]);
    let ada = test.sign_in(json!({"sub": "1", "email": "ada@gmail.com"}));
    test.session();
    test.receive(event("account-disabled", json!({"reason": "hijacking"})));
    test.app.store().delete_user(SUBJECT, NOW).unwrap();
    let shown = page(&test, "/auth/admin", ada["session"]["token"].as_str().unwrap());
    assert!(shown.contains("Google has reported nothing about an account"));
    assert_eq!(test.count("events WHERE kind = 'google' AND email IS NULL AND detail IS NULL"), 1);
}

#[test]
fn readiness_says_when_the_last_one_came() {
    let last = |test: &TestApp| document(&test.send(near(get("/readyz"))))["google_events"].clone();
    assert_eq!(last(&TestApp::open()), Value::Null);
    let (test, _certs) = test();
    assert_eq!(last(&test), json!({"last_at": null, "last_verification_at": null}));
    test.receive(event("verification", json!({"state": "s"})));
    test.receive(event_about("7", "sessions-revoked", json!({})));
    assert_eq!(last(&test), json!({"last_at": NOW, "last_verification_at": NOW}));
    test.session();
    test.receive_claims(&super::claims(event("sessions-revoked", json!({}))), NOW + 9);
    assert_eq!(last(&test), json!({"last_at": NOW + 9, "last_verification_at": NOW}));
    let far = document(&test.send(get("/readyz")));
    assert_eq!(far, json!({"status": "ok"}));
}

#[test]
fn the_operator_sees_them() {
    let (test, _certs) = test();
    test.session();
    test.receive(event("account-disabled", json!({"reason": "bulk-account"})));
    test.receive(event("verification", json!({"state": "asked at noon"})));
    test.app.store().flush();
    let database = test.database();
    let command = |more: &[&str]| {
        let all = [&["events", "--kind", "google", "--database", database.to_str().unwrap()], more];
        String::from_utf8(run(&all.concat()).stdout).unwrap()
    };
    let lines: Vec<String> = command(&[]).lines().map(str::to_owned).collect();
    assert!(lines[0].ends_with("\tgoogle\ttestuser@gmail.com\t\t\taccount-disabled: bulk-account"));
    assert!(lines[1].ends_with("\tgoogle\t\t\t\tverification: asked at noon"), "{lines:?}");
    let first: Value = serde_json::from_str(command(&["--json"]).lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["kind"], &first["reason"], &first["detail"], &first["verified_by"]),
        (&json!("google"), &json!("account-disabled"), &json!("bulk-account"), &json!("keys"))
    );
}
