//! Which cookies count, and which are passed on to tiny_http.

use hallpass::http::{Handler, Request};
use serde_json::json;

use crate::test_app::{FORM, RequestExt, TestApp, get, post, refused, token};

#[test]
fn any_valid_cookie_of_several_suffices() {
    let test = TestApp::open();
    let good = test.session();
    let several =
        format!("a=b; __Host-hallpass=hp_old; x; __Host-hallpass={good};__Host-hallpass=hp_other");
    assert_eq!(test.send(get("/auth/me").header("Cookie", &several)).status, 200);
    assert_eq!(test.send(get("/auth/me").cookie("hp_old").cookie(&good)).status, 200);
}

#[test]
fn only_eight_well_formed_cookies_are_read() {
    let test = TestApp::open();
    let good = test.session();
    let other = |number: usize| format!("hp_{number:043}");
    let status = |cookies: &[String]| {
        let cookies: Vec<String> =
            cookies.iter().map(|value| format!("__Host-hallpass={value}")).collect();
        test.send(get("/auth/me").header("Cookie", &cookies.join("; "))).status
    };
    let after = |others: Vec<String>| [others, vec![good.clone()]].concat();
    assert_eq!(status(&after((0..7).map(other).collect())), 200);
    assert_eq!(status(&after((0..8).map(other).collect())), 401);
    assert_eq!(status(&after(vec![other(1); 100])), 200, "repeated cookies count once");
    for shapeless in [
        "hp_x",
        "hp_",
        "",
        &good[..45],
        &format!("{good}A"),
        &good.replace("hp_", "HP_"),
        &format!("hp_{:!>43}", ""),
    ] {
        assert_eq!(status(&after(vec![shapeless.to_owned(); 20])), 200, "{shapeless}");
        assert_eq!(status(&[shapeless.to_owned()]), 401, "{shapeless}");
    }
}

#[test]
fn cookies_of_another_scheme_are_ignored() {
    let test = TestApp::open();
    let good = test.session();
    for name in ["hallpass", "__Secure-hallpass", "__host-hallpass", "x__Host-hallpass"] {
        refused(
            &test.send(get("/auth/me").header("Cookie", &format!("{name}={good}"))),
            401,
            "unauthenticated",
        );
    }
}

/// The cookies that are left of these.
fn trimmed(test: &TestApp, cookies: &[&str]) -> Vec<String> {
    let mut request = get("/").header("Accept", "*/*");
    for cookie in cookies {
        request = request.header("cookie", cookie);
    }
    test.app.trim(&mut request);
    assert_eq!(request.headers[0].1, "*/*");
    request.headers_named("Cookie").map(str::to_owned).collect()
}

#[test]
fn only_cookies_that_are_read_are_passed_on() {
    let test = TestApp::open();
    let session = |number: usize| format!("__Host-hallpass=hp_{number:043}");
    let csrf = |number: usize| format!("g_csrf_token={number}");
    let many = |cookie: &dyn Fn(usize) -> String, count: usize| {
        (0..count).map(cookie).collect::<Vec<_>>().join("; ")
    };
    let (one, longest) = (session(1), format!("g_csrf_token={:0256}", 0));
    for (cookies, kept) in [
        (vec![], None),
        (vec!["a=b; c=d", "", ";"], None),
        (vec!["__Host-hallpass=hp_x; hallpass=hp_y; g_csrf_token="], None),
        (vec![&*one], Some(one.clone())),
        (vec!["a=b", &one, &one, "g_csrf_token=s"], Some(format!("{one}; g_csrf_token=s"))),
        (vec![&*many(&session, 270)], Some(many(&session, 8))),
        (vec![&*many(&csrf, 270)], Some(many(&csrf, 8))),
        (vec![&*longest], Some(longest.clone())),
        (vec![&*format!("{longest}0")], None),
    ] {
        assert_eq!(trimmed(&test, &cookies), Vec::from_iter(kept), "{cookies:?}");
    }
}

#[test]
fn a_trimmed_request_gets_the_same_response() {
    let test = TestApp::open();
    let session = test.session();
    let post =
        post("/auth/signin", FORM, &format!("credential={}&g_csrf_token=s", token(json!({}))))
            .header("Origin", "https://accounts.google.com")
            .header("Cookie", "g_csrf_token=old; a=b; g_csrf_token=s");
    let status = |mut request: Request| {
        test.app.trim(&mut request);
        test.send(request).status
    };
    assert_eq!(status(post), 303);
    assert_eq!(status(get("/auth/me").header("Cookie", "a=b").cookie(&session)), 200);
    assert_eq!(status(get("/auth/me").header("Cookie", "a=b")), 401);
}
