//! --verify keys: no call for a sign-in, and the keys over time.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use hallpass::published_keys::PublishedKeys;
use hallpass::web::App;
use serde_json::json;

use super::{TIMEOUT, published, status, test};
use crate::google::{Answer, Google};
use crate::program::{self, Program, session_token};
use crate::signing::{FIRST, SECOND, Signer, jwk_set};
use crate::test_app::{
    CLIENT_ID, DAY, HOUR, NOW, RequestExt, TestApp, get, post_token, refused, serve_options,
};

fn token_at(signer: &Signer, now: i64) -> String {
    signer.token(json!({"iat": now, "exp": now + HOUR}))
}

/// A token that names a key that does not exist.
fn of_no_key() -> String {
    let header = json!({"alg": "RS256", "kid": "nobody's", "typ": "JWT"});
    FIRST.sign(&header, &crate::test_app::claims(json!({})).to_string())
}

#[test]
fn a_sign_in_needs_no_call() {
    let (test, certs) = test("keys");
    test.google.always(Answer::Hang);
    for _ in 0..5 {
        assert_eq!(test.send(post_token(&FIRST.token(json!({})))).status, 200);
        assert_eq!(test.send(get("/auth/check").bearer(&FIRST.token(json!({})))).status, 200);
    }
    assert_eq!((test.google.calls().len(), certs.calls().len()), (0, 1));
}

#[test]
fn keys_are_fetched_ahead_of_time_and_not_before() {
    let (test, certs) = test("keys");
    let keys = test.app.keys().unwrap();
    for (at, calls) in
        [(0, 1), (1, 1), (2699, 1), (2700, 2), (2701, 2), (2700 + 2699, 2), (2700 + 2700, 3)]
    {
        keys.refresh(NOW + at);
        assert_eq!(certs.calls().len(), calls, "after {at} s");
    }
    // A clock that is set back by an hour must not keep old keys for another hour.
    keys.refresh(NOW);
    assert_eq!(certs.calls().len(), 4);
}

#[test]
fn a_failed_fetch_is_tried_again_after_a_minute() {
    let (test, certs) = test("keys");
    let keys = test.app.keys().unwrap();
    keys.refresh(NOW);
    certs.always(status(503));
    for (at, calls) in [(2700, 2), (2701, 2), (2759, 2), (2760, 3), (2819, 3), (2820, 4)] {
        keys.refresh(NOW + at);
        assert_eq!(certs.calls().len(), calls, "after {at} s");
    }
}

#[test]
fn without_keys_the_background_retries_after_seconds_and_clients_after_a_minute() {
    let (test, certs) = test("keys");
    certs.always(status(503));
    let keys = test.app.keys().unwrap();
    let client_at = |at| test.send_at(post_token(&token_at(&FIRST, NOW + at)), NOW + at).status;
    for (at, calls) in [(0, 1), (4, 1), (5, 2), (9, 2), (10, 3)] {
        keys.refresh(NOW + at);
        assert_eq!(client_at(at), 503);
        assert_eq!(certs.calls().len(), calls, "after {at} s");
    }
    for (at, calls) in [(16, 3), (69, 3), (70, 4), (75, 4)] {
        assert_eq!(client_at(at), 503);
        assert_eq!(certs.calls().len(), calls, "after {at} s");
    }
    certs.always(published(&jwk_set(&[FIRST.jwk()]), 3600));
    keys.refresh(NOW + 75);
    assert_eq!(client_at(75), 200);

    // Expired keys are no better than none.
    certs.always(status(503));
    let over = 75 + HOUR + DAY;
    for (at, calls) in [(over - 1, 6), (over + 3, 6), (over + 4, 7)] {
        keys.refresh(NOW + at);
        assert_eq!(certs.calls().len(), calls, "after {at} s");
    }
}

#[test]
fn old_keys_are_usable_for_a_day_after_they_expire() {
    let (test, certs) = test("keys");
    test.app.keys().unwrap().refresh(NOW);
    certs.always(Answer::Close);
    let last = NOW + HOUR + DAY - 1;
    assert_eq!(test.send_at(post_token(&token_at(&FIRST, last)), last).status, 200);
    assert_eq!(test.send_at(get("/readyz"), last).status, 200);
    refused(
        &test.send_at(post_token(&token_at(&FIRST, last + 1)), last + 1),
        503,
        "temporarily_unavailable",
    );
    refused(&test.send_at(get("/readyz"), last + 1), 503, "temporarily_unavailable");

    certs.always(published(&jwk_set(&[FIRST.jwk()]), 3600));
    assert_eq!(test.send_at(post_token(&token_at(&FIRST, last + 61)), last + 61).status, 200);
}

#[test]
fn a_flood_of_unknown_keys_costs_one_call_a_minute() {
    let (test, certs) = test("keys");
    test.app.keys().unwrap().refresh(NOW);
    for second in 0..180 {
        for number in 0..3 {
            let response = test.send_at(post_token(&of_no_key()), NOW + second);
            // Only a fetch begun after the question can tell that there is no such key.
            if second > 0 && second % 60 == 0 && number == 0 {
                refused(&response, 401, "invalid_token");
            } else {
                refused(&response, 503, "temporarily_unavailable");
                let seconds = (60 - second % 60).to_string();
                assert_eq!(response.header("Retry-After"), Some(seconds.as_str()));
            }
        }
        assert_eq!(test.send_at(post_token(&FIRST.token(json!({}))), NOW + second).status, 200);
    }
    assert_eq!(certs.calls().len(), 3, "the first, and one after each whole minute");
}

#[test]
fn a_key_is_not_called_unknown_while_google_cannot_answer() {
    let (test, certs) = test("keys");
    test.app.keys().unwrap().refresh(NOW);
    certs.always(status(503));
    // Within a minute, Google is not asked again. After that it is, and cannot answer.
    refused(
        &test.send_at(post_token(&token_at(&SECOND, NOW)), NOW + 59),
        503,
        "temporarily_unavailable",
    );
    refused(
        &test.send_at(post_token(&token_at(&SECOND, NOW)), NOW + 60),
        503,
        "temporarily_unavailable",
    );
    refused(
        &test.send_at(post_token(&token_at(&SECOND, NOW)), NOW + 61),
        503,
        "temporarily_unavailable",
    );
    certs.always(published(&jwk_set(&[FIRST.jwk(), SECOND.jwk()]), 3600));
    let token = token_at(&SECOND, NOW);
    assert_eq!(
        test.send_at(post_token(&token), NOW + 120).status,
        200,
        "and nothing of it is remembered"
    );
}

#[test]
fn a_key_published_just_after_a_fetch_causes_a_wait_but_no_refusal() {
    let (test, certs) = test("keys");
    test.app.keys().unwrap().refresh(NOW);
    certs.always(published(&jwk_set(&[FIRST.jwk(), SECOND.jwk()]), 3600));
    let token = token_at(&SECOND, NOW);
    for (second, wait) in [(1, "59"), (30, "30"), (59, "1")] {
        let response = test.send_at(post_token(&token), NOW + second);
        refused(&response, 503, "temporarily_unavailable");
        assert_eq!(response.header("Retry-After"), Some(wait));
    }
    assert_eq!(certs.calls().len(), 1);
    assert_eq!(test.send_at(post_token(&token), NOW + 60).status, 200);
}

#[test]
fn a_fetch_begun_before_the_token_came_does_not_refuse_it() {
    let (test, certs) = test("keys");
    test.app.keys().unwrap().refresh(NOW);
    let first = published(&jwk_set(&[FIRST.jwk()]), 3600);
    certs.always(Answer::After(Duration::from_millis(300), Box::new(first)));
    thread::scope(|scope| {
        let asker = scope.spawn(|| test.send_at(post_token(&of_no_key()), NOW + 60));
        while certs.calls().len() < 2 {
            thread::yield_now();
        }
        let response = test.send_at(post_token(&token_at(&SECOND, NOW)), NOW + 60);
        refused(&response, 503, "temporarily_unavailable");
        assert_eq!(response.header("Retry-After"), Some("60"));
        refused(&asker.join().unwrap(), 401, "invalid_token");
    });
}

#[test]
fn sign_ins_with_an_unknown_key_share_one_fetch() {
    let (test, certs) = test("keys");
    test.app.keys().unwrap().refresh(NOW);
    let both = published(&jwk_set(&[FIRST.jwk(), SECOND.jwk()]), 3600);
    certs.always(Answer::After(Duration::from_millis(300), Box::new(both)));
    thread::scope(|scope| {
        for _ in 0..16 {
            let send = || test.send_at(post_token(&token_at(&SECOND, NOW)), NOW + 60);
            scope.spawn(move || assert_eq!(send().status, 200));
        }
    });
    assert_eq!(certs.calls().len(), 2);
}

#[test]
fn a_slow_fetch_delays_only_those_who_need_it() {
    let (test, certs) = test("keys");
    test.app.keys().unwrap().refresh(NOW);
    certs.always(Answer::Hang);
    let begin = std::time::Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| test.app.keys().unwrap().refresh(NOW + HOUR));
        while certs.calls().len() < 2 {
            thread::yield_now();
        }
        assert_eq!(test.send_at(post_token(&token_at(&FIRST, NOW + HOUR)), NOW + HOUR).status, 200);
        assert!(begin.elapsed() < TIMEOUT / 2, "{:?}", begin.elapsed());
    });
}

/// Google publishes a new key, signs with it and withdraws the old one, while people keep signing
/// in.
#[test]
fn keys_rotate_under_load_without_a_failed_sign_in() {
    let (test, certs) = test("keys");
    let (first, second) = (jwk_set(&[FIRST.jwk()]), jwk_set(&[SECOND.jwk()]));
    let both = jwk_set(&[FIRST.jwk(), SECOND.jwk()]);
    certs.always(published(&first, 600));
    test.app.keys().unwrap().refresh(NOW);
    let (now, ended) = (AtomicI64::new(NOW), AtomicBool::new(false));
    let signs_with_second = AtomicBool::new(false);
    let (refreshed, signed_in) = (AtomicI64::new(0), AtomicI64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::SeqCst) {
                test.app.keys().unwrap().refresh(now.load(Ordering::SeqCst));
                refreshed.fetch_add(1, Ordering::SeqCst);
                thread::yield_now();
            }
        });
        for _ in 0..4 {
            scope.spawn(|| {
                while !ended.load(Ordering::SeqCst) {
                    let signer =
                        if signs_with_second.load(Ordering::SeqCst) { &SECOND } else { &FIRST };
                    let at = now.load(Ordering::SeqCst);
                    let response = test.send_at(post_token(&token_at(signer, at)), at);
                    assert_eq!(response.status, 200, "{}", crate::test_app::body(&response));
                    signed_in.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let pass = |seconds: i64| {
            for _ in 0..seconds / 5 {
                now.fetch_add(5, Ordering::SeqCst);
                let counts = || [&refreshed, &signed_in].map(|count| count.load(Ordering::SeqCst));
                let [refreshes, sign_ins] = counts();
                // The second refresh begins at the new time.
                program::eventually(|| {
                    let [refreshes_now, sign_ins_now] = counts();
                    refreshes_now >= refreshes + 2 && sign_ins_now > sign_ins
                });
            }
        };
        pass(300);
        certs.always(published(&both, 600));
        // Well before the old keys expire.
        pass(200);
        signs_with_second.store(true, Ordering::SeqCst);
        pass(300);
        certs.always(published(&second, 600));
        pass(700);
        ended.store(true, Ordering::SeqCst);
    });
    assert!(signed_in.load(Ordering::SeqCst) > 50, "{signed_in:?}");
    refused(
        &test.send_at(post_token(&token_at(&FIRST, NOW)), now.into_inner()),
        401,
        "invalid_token",
    );
    // One fetch every 450 seconds, and one for the withdrawn key.
    assert!((4..=6).contains(&certs.calls().len()), "{}", certs.calls().len());
}

#[test]
fn after_a_restart_saved_keys_work_without_google() {
    let certs = Google::start();
    certs.always(published(&jwk_set(&[FIRST.jwk()]), 3600));
    let url = certs.url();
    let flags = ["--verify", "keys", "--keys-url", &url];
    let program = Program::serve(&flags);
    let sign_in = |program: &Program| {
        let now = hallpass::clock::now();
        program.sign_in(&token_at(&FIRST, now)).unwrap()
    };
    session_token(&sign_in(&program));
    // The keys are saved soon after they were fetched.
    let database = rusqlite::Connection::open(program.database()).unwrap();
    let saved = || {
        database
            .query_row("SELECT count(*) FROM google_keys", [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    program::eventually(|| saved() == 1);
    let folder = program.kill();

    certs.always(Answer::Close);
    let program = Program::serve_in(folder, &flags, &[]);
    session_token(&sign_in(&program));
    let folder = program.kill();

    // Keys from elsewhere prove nothing.
    let elsewhere = Google::start();
    elsewhere.always(Answer::Close);
    let program =
        Program::serve_in(folder, &["--verify", "keys", "--keys-url", &elsewhere.url()], &[]);
    assert!(sign_in(&program).starts_with("HTTP/1.1 503"));
}

#[test]
fn saved_keys_follow_the_same_rules() {
    let certs = Google::start();
    certs.always(Answer::Close);
    let saved = |document: &str, age: i64| {
        let folder = tempfile::tempdir().unwrap();
        let store = hallpass::store::Store::open(&folder.path().join("db")).unwrap();
        let keys = PublishedKeys {
            url: certs.url(),
            document: document.to_owned(),
            fetched_at: NOW - age,
            expires_at: NOW - age + HOUR,
        };
        store.save_google_keys(keys.clone());
        store.flush();
        assert_eq!(store.google_keys().unwrap(), Some(keys));
        let options = serve_options(&[
            "--client-id",
            CLIENT_ID,
            "--allow-anyone",
            "--verify",
            "keys",
            "--keys-url",
            &certs.url(),
        ]);
        let settings = options.settings(Some(8080)).unwrap();
        let app = App::new(settings, store);
        app.handle(&post_token(&FIRST.token(json!({}))), NOW).status
    };
    let good = jwk_set(&[FIRST.jwk()]);
    assert_eq!(saved(&good, 0), 200);
    assert_eq!(saved(&good, HOUR + DAY - 1), 200);
    assert_eq!(saved(&good, HOUR + DAY), 503);
    assert_eq!(saved("{}", 0), 503);
    assert_eq!(saved(&good, i64::MAX - HOUR), 503);
}

#[test]
fn keys_are_fetched_through_an_https_proxy_at_start() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let flags = ["--verify", "fallback", "--keys-url", "https://keys.example/certs"];
    let _program =
        Program::serve_in(tempfile::tempdir().unwrap(), &flags, &[("HTTPS_PROXY", &address)]);
    let mut head = String::new();
    BufReader::new(proxy.accept().unwrap().0).read_line(&mut head).unwrap();
    assert!(head.starts_with("CONNECT keys.example:443 "), "{head}");
}

#[test]
fn tokeninfo_alone_needs_no_keys() {
    let test = TestApp::open();
    assert!(test.app.keys().is_none());
    assert_eq!(test.count("google_keys"), 0);
}
