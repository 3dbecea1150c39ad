//! Endpoints for machines: /healthz, /readyz and /metrics.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::google::Answer;
use crate::program::{Program, run};
use crate::test_app::{RequestExt, TestApp, body, document, get, near, post_token, refused, token};

fn metrics(test: &TestApp) -> String {
    let response = test.send(near(get("/metrics")));
    assert_eq!(response.status, 200);
    body(&response)
}

#[test]
fn readiness_shows_googles_last_result_but_does_not_depend_on_it() {
    let test = TestApp::open();
    let ready = || document(&test.send(near(get("/readyz"))));
    assert_eq!(ready(), json!({"status": "ok", "store": "ok", "google": null}));
    test.session();
    assert_eq!(ready()["google"]["last_result"], "ok");
    for (answer, expected) in
        [(Answer::Status(400, "", vec![]), "refused"), (Answer::Status(403, "", vec![]), "failed")]
    {
        test.google.always(answer);
        test.send(post_token(&token(json!({}))));
        assert_eq!(ready()["google"]["last_result"], expected);
        assert_eq!(ready()["status"], "ok");
    }
}

#[test]
fn metrics_count_requests_and_sign_ins() {
    let test = TestApp::with(&["--allow-email", "testuser@gmail.com", "--signin-burst", "4"]);
    let session = test.session();
    test.send(get("/auth/check").bearer(&session));
    test.send(get("/auth/sessions/secret-id"));
    test.send(get("/nowhere"));
    test.send(post_token(&token(json!({"email": "b@gmail.com"}))));
    test.send(post_token(&token(json!({"aud": "other"}))));
    test.google.always(Answer::Status(403, "", vec![]));
    test.send(post_token(&token(json!({}))));
    test.send(post_token(&token(json!({}))));
    let text = metrics(&test);
    for line in [
        r#"hallpass_http_requests_total{route="/auth/check",status="200"} 1"#,
        r#"hallpass_http_requests_total{route="/auth/sessions/{id}",status="405"} 1"#,
        r#"hallpass_http_requests_total{route="other",status="404"} 1"#,
        r#"hallpass_http_request_duration_seconds_count{route="/auth/signin"} 5"#,
        r#"hallpass_signins_total{outcome="signed_in"} 1"#,
        r#"hallpass_signins_total{outcome="access_denied"} 1"#,
        r#"hallpass_signins_total{outcome="invalid_token"} 1"#,
        r#"hallpass_signins_total{outcome="unavailable"} 1"#,
        r#"hallpass_signins_total{outcome="limited"} 1"#,
        r#"hallpass_tokeninfo_calls_total{result="ok"} 3"#,
        r#"hallpass_tokeninfo_calls_total{result="failed"} 1"#,
        "hallpass_tokeninfo_call_duration_seconds_count 4",
        "hallpass_tokeninfo_running 0",
        "hallpass_users 1",
        "hallpass_users_imported 0",
        "hallpass_sessions_live 1",
        "hallpass_log_lines_dropped_total 0",
        "# TYPE hallpass_signins_total counter",
        "# TYPE hallpass_build_info gauge",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    assert!(text.contains("process_resident_memory_bytes ") && text.contains("process_open_fds "));
    assert!(text.contains("# TYPE process_cpu_seconds_total counter"));
    let cpu = text.lines().find_map(|line| line.strip_prefix("process_cpu_seconds_total "));
    assert!(cpu.unwrap().parse::<f64>().unwrap() > 0.0);
    assert!(!text.contains("secret-id") && !text.contains("nowhere") && !text.contains("# EOF"));
}

#[test]
fn metrics_are_for_nearby_clients_only() {
    let test = TestApp::open();
    let ask = |peer: [u8; 4], forwarded: Option<&str>| {
        let mut request = get("/metrics");
        request.peer = Some(peer.into());
        test.send(
            forwarded
                .iter()
                .fold(request, |request, value| request.header("X-Forwarded-For", value)),
        )
    };
    assert_eq!(ask([127, 0, 0, 1], None).status, 200);
    refused(&ask([192, 0, 2, 1], None), 404, "not_found");
    refused(&ask([127, 0, 0, 1], Some("192.0.2.1")), 404, "not_found");
    let elsewhere = TestApp::with(&["--allow-anyone", "--metrics-listen", "127.0.0.1:0"]);
    refused(&elsewhere.send(near(get("/metrics"))), 404, "not_found");
}

#[test]
fn nearby_clients() {
    let test = TestApp::open();
    let check = |headers: &[(&str, &str)], expected: bool| {
        let asked = |target| {
            headers
                .iter()
                .fold(near(get(target)), |request, (name, value)| request.header(name, value))
        };
        assert_eq!(
            test.send(asked("/metrics")).status,
            if expected { 200 } else { 404 },
            "{headers:?}"
        );
        let ready = test.send(asked("/readyz"));
        assert_eq!(ready.status, 200);
        assert_eq!(document(&ready)["store"].is_null(), !expected, "{headers:?}");
    };
    check(&[], true);
    for host in [
        "localhost",
        "LOCALHOST:8080",
        "127.0.0.1:8080",
        "[::1]:8080",
        "192.0.2.1",
        "auth.example.com",
        "auth.example.com:443",
        "hallpass:8080",
    ] {
        check(&[("Host", host)], true);
    }
    for host in [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "auth.example.com.evil.example",
        "127.0.0.1.evil.example",
        "evil.example.",
        "",
        "a:b:c",
        "evil@127.0.0.1",
        "x/127.0.0.1",
    ] {
        check(&[("Host", host)], false);
    }
    for forwarded in
        ["192.0.2.1", "203.0.113.7:51008", "unknown", "unix:", "203.0.113.7,", "", "fe80::1%eth0"]
    {
        check(&[("X-Forwarded-For", forwarded)], false);
    }
    check(&[("X-Forwarded-For", "127.0.0.1:51008")], true);
    check(&[("X-Forwarded-For", "[::1]:51008")], true);
}

#[test]
fn readyz_tells_strangers_only_whether_it_is_ready() {
    let test = TestApp::open();
    assert_eq!(document(&test.send(get("/readyz"))), json!({"status": "ok"}));
}

#[test]
fn metrics_include_the_door_and_satisfy_promtool() {
    let program = Program::serve(&[]);
    program.send("nonsense\r\n\r\n");
    let text = program.get("/metrics", "");
    assert!(text.contains("hallpass_door_turned_away_total{reason=\"malformed\"} 1"), "{text}");
    assert!(text.contains("hallpass_door_connections 1"), "{text}");
    let (_, exposition) = text.split_once("\r\n\r\n").unwrap();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs promtool");
    promtool.stdin.take().unwrap().write_all(exposition.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn health_checks_that_a_server_is_alive() {
    let program = Program::serve(&[]);
    let url = |path: &str| format!("http://{}{path}", program.address);
    assert!(run(&["health", "--url", &url("/healthz")]).status.success());
    let output = run(&["health", "--url", &url("/nowhere")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("status 404"));
    let gone = url("/healthz");
    drop(program);
    assert_eq!(run(&["health", "--url", &gone]).status.code(), Some(1));
}
