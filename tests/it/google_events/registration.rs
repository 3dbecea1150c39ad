//! `hallpass google-events`, against a stand-in for Google's RISC API.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use hallpass::clock;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::url;
use crate::program::hallpass;
use crate::signing::FIRST;

const ACCOUNT: &str = "events@project.iam.gserviceaccount.com";
const AUDIENCE: &str =
    "https://risc.googleapis.com/google.identity.risc.v1beta.RiscManagementService";
const RECEIVER: &str = "https://auth.example.com/auth/google/events";

/// A call: method and path, bearer token, body.
type Call = (String, String, String);

/// The API: real HTTP on a free port.
struct RiscApi {
    port: u16,
    calls: Arc<Mutex<Vec<Call>>>,
    answers: Arc<Mutex<VecDeque<(u16, Value)>>>,
    ended: Arc<AtomicBool>,
    folder: TempDir,
}

impl RiscApi {
    fn start() -> RiscApi {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = RiscApi {
            port: listener.local_addr().unwrap().port(),
            calls: Arc::default(),
            answers: Arc::default(),
            ended: Arc::default(),
            folder: tempfile::tempdir().unwrap(),
        };
        let (calls, answers, ended) = (api.calls.clone(), api.answers.clone(), api.ended.clone());
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let Some(call) = read(&connection) else { continue };
                calls.lock().unwrap().push(call);
                let (status, body) =
                    answers.lock().unwrap().pop_front().unwrap_or((200, json!({})));
                let body = body.to_string();
                let head = format!(
                    "HTTP/1.1 {status} Reason\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                (&connection).write_all((head + &body).as_bytes()).unwrap();
            }
        });
        api.write_key(&key_file());
        api
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.json")
    }

    fn write_key(&self, key: &Value) {
        fs::write(self.key(), key.to_string()).unwrap();
    }

    /// Answers the next call in that way.
    fn next(&self, status: u16, body: Value) {
        self.answers.lock().unwrap().push_back((status, body));
    }

    /// The exit code, and standard output and error.
    fn run(&self, command: &str, flags: &[&str]) -> (Option<i32>, String, String) {
        let url = format!("http://127.0.0.1:{}/v1beta", self.port);
        let output = hallpass(&["google-events", command, "--api-url", &url, "--key"])
            .arg(self.key())
            .args(flags)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    #[track_caller]
    fn works(&self, command: &str, flags: &[&str]) -> String {
        let (code, output, error) = self.run(command, flags);
        assert_eq!((code, error.as_str()), (Some(0), ""));
        output
    }

    /// The command fails with one sentence that contains this, and nothing of the key.
    #[track_caller]
    fn fails(&self, command: &str, flags: &[&str], text: &str) {
        let (code, output, error) = self.run(command, flags);
        assert_eq!((code, output.as_str()), (Some(1), ""), "{error}");
        assert!(error.starts_with("hallpass: ") && error.contains(text), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        let key = fs::read_to_string(self.key()).unwrap_or_default();
        let has_secret = key.as_bytes().windows(24).any(|part| {
            let part = String::from_utf8_lossy(part);
            part.bytes().all(|byte| byte.is_ascii_alphanumeric()) && error.contains(&*part)
        });
        assert!(!has_secret, "{error}");
    }

    /// The calls since the last time, each authorized as the account.
    #[track_caller]
    fn calls(&self) -> Vec<(String, Value)> {
        let calls = std::mem::take(&mut *self.calls.lock().unwrap());
        let check = |(request, bearer, body): Call| {
            let (header, claims) = FIRST.read(&bearer).expect("signed with the account's key");
            assert_eq!(header, json!({"alg": "RS256", "kid": "first", "typ": "JWT"}));
            let issued_at = claims["iat"].as_i64().unwrap();
            assert!((clock::now() - issued_at).abs() < 60);
            let expected = json!({"iss": ACCOUNT, "sub": ACCOUNT, "aud": AUDIENCE, "iat": issued_at, "exp": issued_at + 3600});
            assert_eq!(claims, expected);
            let body =
                if body.is_empty() { Value::Null } else { serde_json::from_str(&body).unwrap() };
            (request, body)
        };
        calls.into_iter().map(check).collect()
    }
}

impl Drop for RiscApi {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn read(connection: &TcpStream) -> Option<Call> {
    let mut reader = BufReader::new(connection);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).ok().filter(|length| *length > 0)?;
    }
    let field = |name: &str| {
        let field = |line: &str| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then(|| value.to_owned())
        };
        head.lines().find_map(field).unwrap_or_default()
    };
    let mut body = vec![0; field("Content-Length").parse().unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).unwrap();
    assert_eq!(body.is_empty(), field("Content-Type") != "application/json", "{head}");
    let request = head.split(" HTTP/").next().unwrap().to_owned();
    Some((request, field("Authorization").strip_prefix("Bearer ")?.to_owned(), body))
}

/// The file as Google's console makes it.
fn key_file() -> Value {
    json!({
        "type": "service_account", "project_id": "project", "private_key_id": "first",
        "private_key": include_str!("../rsa/first.pem"), "client_email": ACCOUNT, "client_id": "117",
        "token_uri": "https://oauth2.googleapis.com/token",
    })
}

fn stream() -> Value {
    let all = [
        "sessions-revoked",
        "tokens-revoked",
        "account-disabled",
        "account-enabled",
        "account-purged",
        "account-credential-change-required",
        "verification",
    ];
    json!({
        "delivery": {"delivery_method": "https://schemas.openid.net/secevent/risc/delivery-method/push", "url": RECEIVER},
        "events_requested": all.map(url),
    })
}

/// An error as Google's APIs send it.
fn refusal(status: u16, message: &str) -> (u16, Value) {
    (status, json!({"error": {"code": status, "message": message, "status": "X"}}))
}

#[test]
fn register_posts_the_url_and_the_types() {
    let api = RiscApi::start();
    let enabled = json!({"status": "enabled"});
    for flags in [
        ["--url", RECEIVER],
        ["--url", "https://auth.example.com"],
        ["--public-url", "https://auth.example.com/"],
    ] {
        let output = api.works("register", &flags);
        assert!(output.contains(RECEIVER) && output.contains("--google-events"), "{output}");
        let expected = [
            ("POST /v1beta/stream:update".to_owned(), stream()),
            ("POST /v1beta/stream/status:update".to_owned(), enabled.clone()),
        ];
        assert_eq!(api.calls(), expected);
    }
    let other = "https://example.com/events?x=1";
    api.works("register", &["--url", other, "--public-url", "https://auth.example.com"]);
    assert_eq!(api.calls()[0].1["delivery"]["url"], other);
}

#[test]
fn register_needs_an_https_url() {
    let api = RiscApi::start();
    api.fails("register", &[], "give --url https://");
    api.fails("register", &["--url", "http://auth.example.com"], "https URLs only");
    api.fails("register", &["--public-url", "http://localhost:8080"], "https URLs only");
    assert_eq!(api.calls(), []);
}

#[test]
fn status_shows_what_is_registered() {
    let api = RiscApi::start();
    api.next(200, stream());
    api.next(200, json!({"status": "disabled"}));
    let shown = api.works("status", &[]);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[..2], [format!("url\t{RECEIVER}").as_str(), "status\tdisabled"]);
    assert!(lines[2].starts_with("events\tsessions-revoked, tokens-revoked, account-disabled, "));
    let calls = ["GET /v1beta/stream", "GET /v1beta/stream/status"];
    assert_eq!(api.calls(), calls.map(|call| (call.to_owned(), Value::Null)));
    for unexpected in [json!([]), json!({}), json!({"delivery": {}})] {
        api.next(200, unexpected);
        api.fails("status", &[], "unexpected answer");
    }
    api.next(404, refusal(404, "Project has no RISC configuration.").1);
    api.fails("status", &[], "run `hallpass google-events register` first");
}

#[test]
fn test_asks_for_a_verification() {
    let api = RiscApi::start();
    let mut states = Vec::new();
    for _ in 0..2 {
        let output = api.works("test", &[]);
        let calls = api.calls();
        let state = calls[0].1["state"].as_str().unwrap().to_owned();
        assert_eq!(calls, [("POST /v1beta/stream:verify".to_owned(), json!({"state": state}))]);
        assert!(output.contains(&state) && output.contains("hallpass events --kind google"));
        states.push(state);
    }
    assert_ne!(states[0], states[1]);
}

#[test]
fn each_refusal_has_its_advice() {
    let api = RiscApi::start();
    let check = |(status, body): (u16, Value), text: &str| {
        api.next(status, body);
        api.fails("register", &["--url", RECEIVER], text);
    };
    check(refusal(401, "Authorization failed."), "Google does not accept the key");
    let not_enabled = "RISC API has not been used in project 117 before or it is disabled. Enable it by visiting \
        https://console.developers.google.com/apis/api/risc.googleapis.com/overview?project=117 then retry.";
    check(refusal(403, not_enabled), "the RISC API is not enabled; enable it at https://");
    let (status, mut body) = refusal(403, "no");
    body["error"]["details"] = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED"}]);
    check((status, body), "the RISC API is not enabled");
    check(
        refusal(403, "Service account needs permission to access your RISC configuration."),
        "(roles/riscconfigs.admin)",
    );
    check(refusal(403, "no"), &format!("the service account {ACCOUNT} may not do this"));
    check(refusal(403, "Your project must accept the RISC Terms of Service."), "terms");
    check(
        refusal(403, "The delivery endpoint doesn't belong to any of your project's domains."),
        "add the domain at https://",
    );
    check(
        refusal(
            403,
            "To use this API, your project must have at least one OAuth client configured.",
        ),
        "no OAuth client",
    );
    check(refusal(403, "Delivery endpoint must be an HTTPS URL."), "https URLs only");
    check(
        refusal(400, "Stream configuration must contain delivery field."),
        "refuses (status 400) (Google says: Stream",
    );
    check(refusal(400, "\u{1b}[2J\u{7}x\ny"), "(Google says: [2Jxy)");
    check(refusal(429, "slow"), "cannot answer (status 429); try again later");
    check((503, json!("Sorry")), "cannot answer (status 503)");
    check((403, json!([1])), "may not do this");
    check((302, json!({})), "refuses (status 302)");
    assert_eq!(api.calls().len(), 15);
    // The second call of a registration may fail as well.
    api.next(200, json!({}));
    check(refusal(403, "no"), "may not do this");
}

#[test]
fn keys_that_are_not_keys() {
    let api = RiscApi::start();
    let without = |name: &str, value: Value| {
        let mut key = key_file();
        key[name] = value;
        api.write_key(&key);
    };
    for (name, value, text) in [
        ("client_email", Value::Null, "is not the key of a service account"),
        ("private_key_id", json!(1), "is not the key of a service account"),
        ("private_key", Value::Null, "is not the key of a service account"),
        (
            "private_key",
            json!("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            "not an RSA key in PEM",
        ),
        ("private_key", json!(include_str!("../rsa/first.crt")), "not an RSA key in PEM"),
        (
            "private_key",
            json!(include_str!("../rsa/first.pem").replace("MII", "MIJ")),
            "not an RSA key in PEM",
        ),
    ] {
        without(name, value);
        api.fails("status", &[], text);
    }
    fs::write(api.key(), include_str!("../rsa/first.pem")).unwrap();
    api.fails("status", &[], "is not the key of a service account");
    fs::remove_file(api.key()).unwrap();
    api.fails("status", &[], "cannot be read");
    assert_eq!(api.calls(), []);
}

#[test]
fn an_api_that_is_down() {
    let api = RiscApi::start();
    let key = api.key();
    let output =
        hallpass(&["google-events", "status", "--api-url", "http://127.0.0.1:1/v1beta", "--key"])
            .arg(key)
            .output()
            .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("Google's RISC API could not be reached"), "{error}");
}
