//! `hallpass verify`.

use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use super::{ada, bob, error};
use crate::google::{Answer, Google, token_of};
use crate::program::{Program, hallpass, token};
use crate::signing::{FIRST, SECOND, Signer, jwk_set};
use crate::test_app::{CLIENT_ID, HOUR, claims};

impl Program {
    /// Verifies with the server's own settings; the token goes through standard input.
    fn verified(&self, token: &str, arguments: &[&str]) -> Output {
        let mut command =
            hallpass(&["verify", "--client-id", CLIENT_ID, "--tokeninfo-url", &self.google.url()]);
        command.args(arguments).env("HALLPASS_DATABASE", self.database()).env("TZ", "Asia/Tokyo");
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        // It may exit before it reads the token.
        let _ = child.stdin.take().unwrap().write_all(token.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// The names of the checks that did not pass, the exit code, and the error.
    #[track_caller]
    fn failed_checks(&self, token: &str, arguments: &[&str]) -> (Vec<String>, i32, String) {
        let output = self.verified(token, &[arguments, &["--json"]].concat());
        let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = findings.as_array().unwrap();
        let failed = findings.iter().filter(|finding| finding["verdict"] != "ok");
        let names = failed.map(|finding| finding["check"].as_str().unwrap().to_owned()).collect();
        (names, output.status.code().unwrap(), error(&output))
    }

    #[track_caller]
    fn refuses(&self, token: &str, arguments: &[&str], checks: &[&str]) {
        let (failed, code, error) = self.failed_checks(token, arguments);
        assert_eq!((failed, code), (checks.iter().map(|check| check.to_string()).collect(), 1));
        assert_eq!(error, format!("hallpass: it would be refused ({})\n", checks[0]));
    }

    #[track_caller]
    fn cannot_say(&self, token: &str, check: &str) {
        let (failed, code, error) = self.failed_checks(token, &["--allow-anyone"]);
        assert_eq!((failed[0].as_str(), code), (check, 3));
        assert_eq!(error, format!("hallpass: the result is unknown ({check})\n"));
    }
}

#[test]
fn a_good_token_passes_every_check() {
    let program = Program::serve(&[]);
    let output =
        program.verified(&format!("  {}\n", token(ada())), &["--allow-email", "ada@gmail.com"]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!((output.status.code(), error(&output)), (Some(0), String::new()), "{text}");
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    assert!(lines.iter().all(|line| line.len() == 3 && line[0] == "ok"), "{text}");
    let names: Vec<&str> = lines.iter().map(|line| line[1]).collect();
    let expected = [
        "shape",
        "tokeninfo",
        "claims",
        "events",
        "iss",
        "aud",
        "exp",
        "iat",
        "nbf",
        "sub",
        "nonce",
        "profile",
        "policy",
        "block",
        "google-events",
        "revocation",
        "pin",
        "sign-in",
    ];
    assert_eq!(names, expected);
    assert_eq!((lines[5][2], lines[9][2], lines[17][2]), (CLIENT_ID, "1", "it would sign in Ada"));
    assert!(
        lines[6][2].contains("(in 59m 5") || lines[6][2].ends_with("(in 1h)"),
        "{}",
        lines[5][2]
    );
}

#[test]
fn nothing_is_recorded() {
    let program = Program::serve(&[]);
    program.session_of(bob());
    let files = || {
        ["hallpass.db", "hallpass.db-wal"]
            .map(|name| fs::read(program.folder.path().join(name)).unwrap())
    };
    let before = files();
    assert!(program.verified(&token(ada()), &["--allow-anyone"]).status.success());
    program.refuses(&token(json!({"aud": "another"})), &["--allow-anyone"], &["aud"]);
    program.google.next(Answer::Status(400, "", Vec::new()));
    program.refuses(&token(ada()), &["--allow-anyone"], &["tokeninfo"]);
    assert!(files() == before);

    let nowhere = program.folder.path().join("none.db");
    let output = program.verified(&token(ada()), &["--allow-anyone", "--json"]);
    assert!(output.status.success());
    let mut command =
        hallpass(&["verify", "--client-id", CLIENT_ID, "--allow-anyone", "--tokeninfo-url"]);
    command.args([&program.google.url(), &token(ada()), "--database"]).arg(&nowhere);
    let output = command.output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("there is none at"));
    assert!(output.status.success() && !nowhere.exists());
}

#[test]
fn all_checks_are_shown_and_the_first_failure_decides() {
    let program = Program::serve(&[]);
    let wrong = json!({"sub": "1", "aud": "another", "iss": "https://evil.example", "nonce": "n"});
    program.refuses(
        &token(wrong.clone()),
        &["--allow-email", "x@gmail.com"],
        &["iss", "aud", "nonce", "policy"],
    );
    program.refuses(&token(ada()), &["--allow-anyone", "--nonce", "n"], &["nonce"]);
    program.google.next(Answer::Status(400, "", Vec::new()));
    program.refuses(&token(wrong), &["--allow-anyone"], &["tokeninfo", "iss", "aud", "nonce"]);
    program.google.next(Answer::Status(
        200,
        "",
        br#"{"iss":"accounts.google.com","iss":"x"}"#.to_vec(),
    ));
    program.refuses(&token(ada()), &["--allow-anyone"], &["claims"]);
    let asked = program.google.calls().len();
    for text in ["foo", "a.b", "a.b.c.d"] {
        program.refuses(text, &["--allow-anyone"], &["shape"]);
    }
    assert_eq!(program.google.calls().len(), asked, "Google is not asked");
    program.refuses("two words", &["--allow-anyone"], &["shape"]);
    program.refuses("hp_0123456789", &["--allow-anyone"], &["shape"]);
}

#[test]
fn the_checks_of_the_database_are_shown() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    program.refuses(
        &token(json!({"sub": "9", "email": "ada@gmail.com"})),
        &["--allow-anyone"],
        &["pin"],
    );
    program.printed(&["users", "block", "1"]);
    program.refuses(&token(ada()), &["--allow-anyone"], &["block"]);
    program.printed(&["users", "unblock", "1"]);
    let bearer = token(ada());
    program.get("/auth/me", &format!("Authorization: Bearer {bearer}\r\n"));
    assert!(program.verified(&bearer, &["--allow-anyone"]).status.success());
    program.printed(&["sessions", "revoke", "--all", "--yes"]);
    program.refuses(&bearer, &["--allow-anyone"], &["revocation"]);
}

#[test]
fn an_outage_is_not_a_refusal() {
    let program = Program::serve(&[]);
    program.google.always(Answer::Status(503, "", Vec::new()));
    program.cannot_say(&token(ada()), "tokeninfo");
    program.cannot_say(&token(json!({"aud": "another"})), "tokeninfo");
    program.google.always(Answer::Status(200, "", b"{}".to_vec()));
    program.cannot_say(&token(ada()), "claims");
    program.google.always(Answer::Claims);
    let path = program.folder.path().join("hallpass.db-elsewhere");
    fs::write(&path, "no database at all, but a text of some length").unwrap();
    let (failed, code, _) = program
        .failed_checks(&token(ada()), &["--allow-anyone", "--database", path.to_str().unwrap()]);
    assert_eq!((failed, code), (vec!["database".to_owned()], 3));
}

fn publishing() -> Google {
    let certs = Google::start();
    certs.always(Answer::Status(200, "", jwk_set(&[FIRST.jwk()]).into_bytes()));
    certs
}

/// Claims that are good by the real clock, with those changes.
fn live(mut changes: Value) -> Value {
    let now = hallpass::clock::now();
    (changes["iat"], changes["exp"]) = (now.into(), (now + HOUR).into());
    changes
}

fn signed(signer: &Signer, changes: Value) -> String {
    signer.token(live(changes))
}

#[test]
fn verify_with_keys_only() {
    let (program, certs) = (Program::serve(&[]), publishing());
    program.session_of(bob());
    let files = || {
        ["hallpass.db", "hallpass.db-wal"]
            .map(|name| fs::read(program.folder.path().join(name)).unwrap())
    };
    let (before, asked) = (files(), program.google.calls().len());
    let url = certs.url();
    let flags = ["--allow-anyone", "--verify", "keys", "--keys-url", &url];
    let output = program.verified(&signed(&FIRST, ada()), &flags);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.lines().all(|line| line.starts_with("ok\t")), "{text}");
    let said = "\nok\tkeys\tGoogle has signed it (RS256, key \"first\"), after ";
    assert!(text.contains(said) && !text.contains("\ttokeninfo\t"), "{text}");

    let refuses = |token: &str, reason: &str| {
        program.refuses(token, &flags, &["keys"]);
        let text = String::from_utf8(program.verified(token, &flags).stdout).unwrap();
        assert!(text.contains(&format!("\nfailure\tkeys\t{reason}")), "{text}");
    };
    let payload = claims(live(ada())).to_string();
    let by_another = SECOND.sign(&FIRST.header(), &payload);
    refuses(&by_another, "the token's signature is wrong (RS256, key \"first\")\n");
    refuses(
        &signed(&SECOND, ada()),
        "the token is signed with a key that Google does not have (RS256, key \"second\")\n",
    );
    refuses(
        &FIRST.sign(&json!({"alg": "HS256", "kid": "first"}), &payload),
        "the token is not signed with RS256\n",
    );
    let no_claims = FIRST.sign(&FIRST.header(), "[]");
    program.refuses(&no_claims, &flags, &["keys", "claims"]);
    program.refuses("two.segments", &flags, &["shape"]);
    program.refuses(&signed(&FIRST, json!({"aud": "another"})), &flags, &["aud"]);
    assert!(
        files() == before && program.google.calls().len() == asked,
        "nothing is recorded, and tokeninfo not asked"
    );

    certs.always(Answer::Status(503, "", Vec::new()));
    let (failed, code, error) = program.failed_checks(&signed(&FIRST, ada()), &flags);
    assert_eq!((failed, code), (vec!["keys".to_owned()], 3));
    assert_eq!(error, "hallpass: the result is unknown (keys)\n");
}

#[test]
fn verify_with_keys_as_fallback() {
    let (program, certs) = (Program::serve(&[]), publishing());
    let url = certs.url();
    let flags = ["--allow-anyone", "--verify", "fallback", "--keys-url", &url];
    let ends = |token: &str, checks: &[&str], code: i32| {
        let (failed, found, error) = program.failed_checks(token, &flags);
        assert_eq!(
            (failed, found),
            (checks.iter().map(|check| check.to_string()).collect(), code),
            "{error}"
        );
        error
    };
    let good = signed(&FIRST, ada());
    ends(&good, &[], 0);
    program.google.always(Answer::Status(400, "", Vec::new()));
    ends(&good, &["tokeninfo"], 1);
    assert_eq!(certs.calls().len(), 0, "what tokeninfo says holds");

    // Nothing at all, and what cannot be read.
    for answer in [Answer::Status(503, "", Vec::new()), Answer::Status(200, "", b"{}".to_vec())] {
        program.google.always(answer);
        ends(&good, &["tokeninfo"], 0);
        let output = program.verified(&good, &flags);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("\nwarning\ttokeninfo\t") && text.contains("\nok\tkeys\t"), "{text}");
        let by_another = SECOND.sign(&FIRST.header(), &claims(live(ada())).to_string());
        assert_eq!(
            ends(&by_another, &["tokeninfo", "keys"], 1),
            "hallpass: it would be refused (keys)\n"
        );
        certs.next(Answer::Status(503, "", Vec::new()));
        assert_eq!(
            ends(&good, &["tokeninfo", "keys"], 3),
            "hallpass: the result is unknown (keys)\n"
        );
    }
}

#[test]
fn the_token_is_never_printed() {
    let program = Program::serve(&[]);
    let good = token(ada());
    let bad = token_of(r#"{"iss":"accounts.google.com","secret":"s"}"#);
    program.google.always(Answer::Status(503, "", Vec::new()));
    let mut command = hallpass(&["verify", "--client-id", CLIENT_ID, "--allow-anyone"]);
    let unreadable = program.folder.path().join("unreadable");
    fs::write(&unreadable, [good.as_bytes(), b"\xff"].concat()).unwrap();
    let output = command.stdin(fs::File::open(&unreadable).unwrap()).output().unwrap();
    assert_eq!(
        (output.status.code(), error(&output).contains("cannot read the token")),
        (Some(2), true)
    );
    assert!(!error(&output).contains(good.split('.').next().unwrap()));

    for (token, more) in
        [(&good, &[][..]), (&bad, &[]), (&format!("{good}!"), &[]), (&good, &[good.as_str(), &bad])]
    {
        let output = program.verified(token, &[&["--allow-anyone"], more].concat());
        let all = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        for secret in good.split('.').chain(bad.split('.')) {
            assert!(!all.contains(secret), "{all}");
        }
    }
}

#[test]
fn missing_settings_are_named() {
    for (arguments, reason) in [
        (&["verify", "--allow-anyone", "x"][..], "--client-id"),
        (&["verify", "--client-id", "x", "x"], "--allow-anyone"),
        (&["verify", "--client-id", "x", "--allow-anyone", "x", "y"], "give one token"),
    ] {
        let output = hallpass(arguments).output().unwrap();
        assert_eq!(
            (output.status.code(), output.stdout.is_empty()),
            (Some(2), true),
            "{arguments:?}"
        );
        assert!(error(&output).contains(reason), "{}", error(&output));
    }
}
