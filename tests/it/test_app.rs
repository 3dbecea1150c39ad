//! An application with its database and a stand-in for Google, and requests to it in one line each.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use hallpass::cli::{Command, Options, ServeOptions};
use hallpass::http::{Request, Response};
use hallpass::web::App;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engine::TestDatabase;
use crate::google::{Google, token_of};

pub const NOW: i64 = 1_800_000_000;
pub const HOUR: i64 = 3600;
pub const DAY: i64 = 24 * HOUR;
pub const CLIENT_ID: &str = "1008719970978-hb24.apps.googleusercontent.com";
pub const FORM: &str = "application/x-www-form-urlencoded";

pub struct TestApp {
    pub app: App,
    pub google: Google,
    pub folder: TempDir,
    pub database: TestDatabase,
}

impl TestApp {
    /// Everybody may sign in, without a rate limit.
    pub fn open() -> TestApp {
        TestApp::with(&["--allow-anyone"])
    }

    /// With those flags, and no rate limit unless they set one.
    pub fn with(flags: &[&str]) -> TestApp {
        let folder = tempfile::tempdir().unwrap();
        let database = TestDatabase::new(folder.path());
        TestApp::on(database, folder, Google::start(), flags)
    }

    #[cfg(feature = "postgres")]
    /// Another server, with those flags.
    pub fn on_database(database: &TestDatabase, flags: &[&str]) -> TestApp {
        TestApp::on(database.clone(), tempfile::tempdir().unwrap(), Google::start(), flags)
    }

    /// The same with other flags, on the same database.
    pub fn restarted(self, flags: &[&str]) -> TestApp {
        let TestApp { app, google, folder, database } = self;
        drop(app);
        TestApp::on(database, folder, google, flags)
    }

    fn on(database: TestDatabase, folder: TempDir, google: Google, flags: &[&str]) -> TestApp {
        let mut all = vec!["--client-id", CLIENT_ID, "--public-url", "https://auth.example.com"];
        if !flags.contains(&"--signin-burst") {
            all.extend(["--signin-burst", "0"]);
        }
        all.extend(flags);
        let url = google.url();
        all.extend(["--tokeninfo-url", &url]);
        let settings = serve_options(&all).settings(Some(8080)).unwrap();
        let store = database.database.open().unwrap();
        TestApp { app: App::new(settings, store), google, folder, database }
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join("hallpass.db")
    }

    /// Another process on the same SQLite file.
    pub fn other_process(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.database()).unwrap()
    }

    /// Runs statements as another process.
    #[track_caller]
    pub fn sql(&self, sql: &str) {
        self.database.sql(sql);
    }

    #[track_caller]
    pub fn count(&self, from: &str) -> i64 {
        let count = self.text(&format!("SELECT count(*) FROM {from}"));
        count.unwrap().parse().unwrap()
    }

    #[track_caller]
    pub fn text(&self, sql: &str) -> Option<String> {
        self.app.store().flush();
        self.database.value(sql)
    }

    pub fn send(&self, request: Request) -> Response {
        self.app.handle(&request, NOW)
    }

    pub fn send_at(&self, request: Request, now: i64) -> Response {
        self.app.handle(&request, now)
    }

    /// Signs in with the usual claims changed by those; returns the response's JSON.
    #[track_caller]
    pub fn sign_in(&self, claims: Value) -> Value {
        self.sign_in_at(claims, NOW)
    }

    #[track_caller]
    pub fn sign_in_at(&self, mut claims: Value, now: i64) -> Value {
        claims["iat"] = json!(now);
        claims["exp"] = json!(now + HOUR);
        let response = self.send_at(post_token(&token(claims)), now);
        assert_eq!(response.status, 200, "{}", body(&response));
        document(&response)
    }

    /// The token of a new session of the usual user.
    #[track_caller]
    pub fn session(&self) -> String {
        self.sign_in(json!({}))["session"]["token"].as_str().unwrap().to_owned()
    }
}

pub fn serve_options(flags: &[&str]) -> ServeOptions {
    try_serve_options(flags).unwrap()
}

pub fn try_serve_options(flags: &[&str]) -> Result<ServeOptions, clap::Error> {
    match Options::try_parse_from(["hallpass", "serve"].iter().chain(flags))?.command {
        Command::Serve(options) => Ok(options),
        other => panic!("expected serve, got {other:?}"),
    }
}

/// The usual claims.
pub fn usual_claims() -> Value {
    json!({
        "iss": "https://accounts.google.com", "azp": CLIENT_ID, "aud": CLIENT_ID, "sub": "110169484474386276334",
        "email": "testuser@gmail.com", "email_verified": true, "name": "Test User", "given_name": "Test",
        "family_name": "User", "picture": "https://lh3.googleusercontent.com/a/x", "locale": "en",
        "iat": NOW, "exp": NOW + HOUR,
    })
}

/// A new token with the usual claims changed by those; null removes a claim.
pub fn token(changes: Value) -> String {
    token_of(&claims(changes).to_string())
}

/// The claims of [`token`].
pub fn claims(changes: Value) -> Value {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let mut claims = usual_claims();
    claims["jti"] = NUMBER.fetch_add(1, Ordering::Relaxed).to_string().into();
    let fields = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            fields.remove(name);
        } else {
            fields.insert(name.clone(), value.clone());
        }
    }
    claims
}

pub trait RequestExt: Sized {
    fn header(self, name: &str, value: &str) -> Self;
    fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }
    fn cookie(self, token: &str) -> Self {
        self.header("Cookie", &format!("__Host-hallpass={token}"))
    }
    fn browser(self) -> Self {
        self.header("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
            .header("Sec-Fetch-Mode", "navigate")
            .header("Sec-Fetch-Dest", "document")
    }
}

impl RequestExt for Request {
    fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned().into(), value.to_owned()));
        self
    }
}

pub fn request(method: &str, target: &str) -> Request {
    Request {
        method: method.to_owned(),
        target: target.to_owned(),
        peer: Some([192, 0, 2, 1].into()),
        ..Request::default()
    }
}

pub fn get(target: &str) -> Request {
    request("GET", target)
}

/// From this host.
pub fn near(mut request: Request) -> Request {
    request.peer = Some([127, 0, 0, 1].into());
    request
}

pub fn post(target: &str, media_type: &str, body: &str) -> Request {
    let mut request = request("POST", target).header("Content-Type", media_type);
    request.body = body.as_bytes().to_vec();
    request
}

pub fn post_token(token: &str) -> Request {
    post("/auth/signin", FORM, &format!("id_token={token}"))
}

pub fn body(response: &Response) -> String {
    String::from_utf8(response.body.clone()).unwrap()
}

#[track_caller]
pub fn document(response: &Response) -> Value {
    serde_json::from_slice(&response.body)
        .unwrap_or_else(|_| panic!("not JSON: {}", body(response)))
}

/// Asserts status and error code, and the form that errors have.
#[track_caller]
pub fn refused(response: &Response, status: u16, code: &str) {
    let document = document(response);
    assert_eq!((response.status, document["error"].as_str()), (status, Some(code)), "{document}");
    assert!(document["error_description"].is_string());
    assert_eq!(response.header("WWW-Authenticate").is_some(), status == 401);
    assert_eq!(response.header("Retry-After").is_some(), matches!(status, 429 | 503));
    assert_eq!(response.header("Set-Cookie"), None);
}
