//! The application: one request in, one answer out.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use log::Record;
use log::kv::Value;
use serde_json::json;

use super::client_address::ClientAddress;
use super::error::Error;
use super::rate_limit::SigninLimiter;
use super::single_flight::SingleFlight;
use super::{cors, forward_auth, monitoring, pages, sessions, signin};
use crate::config::Settings;
use crate::google::demo::DemoGoogle;
use crate::google::{Keys, Verifier};
use crate::http::Handler;
use crate::http::door::Counters;
use crate::http::{Request, Response};
use crate::metrics::Metrics;
use crate::store::{Authenticated, Client, Store};
use crate::token::random_name;

/// Names the database and the machine that answer at /auth/me, and says nothing else about them.
pub const INSTANCE_HEADER: &str = "X-Hallpass-Instance";
/// Blocking requests beside those that wait for Google: sign-outs, sessions that are ended.
const OTHER_SLOW_MAX: usize = 64;
/// What goes into a log line or a row of what a client sent.
const TEXT_LENGTH_MAX: usize = 256;
/// What a 401 asks for.
const CHALLENGE: &str = "Bearer realm=\"hallpass\"";
/// There is nothing here to find.
const ROBOTS: &str = "User-agent: *\nDisallow: /\n";
/// Longer parts of a path may be tokens.
const PATH_SEGMENT_LOGGED_MAX: usize = 40;

/// Everything an answer needs.
pub struct App {
    pub(super) settings: Settings,
    pub(super) store: Store,
    pub(super) verifier: Verifier,
    pub(super) signin_limiter: SigninLimiter,
    pub(super) exchanges: SingleFlight,
    pub(super) metrics: Arc<Metrics>,
    /// By this `hallpass doctor` knows that an answer comes from a server on the database it looks at.
    instance: String,
    /// The door in front, once it is open.
    pub(super) door: OnceLock<Arc<Counters>>,
    /// Present in a demonstration: its people stand on the sign-in page in place of Google's button.
    pub(super) demo: Option<Arc<DemoGoogle>>,
}

impl App {
    /// An application with those settings on that database.
    pub fn new(settings: Settings, store: Store) -> App {
        let metrics = Arc::new(Metrics::default());
        let saved = store.keys().unwrap_or_else(|error| {
            log::warn!("cannot read the keys in the database: {error}");
            None
        });
        App {
            verifier: Verifier::new(&settings.verifier, saved, &metrics),
            metrics,
            door: OnceLock::new(),
            instance: store.instance(),
            signin_limiter: SigninLimiter::new(settings.signin_limit),
            exchanges: SingleFlight::default(),
            demo: None,
            settings,
            store,
        }
    }

    /// The same as a demonstration, with tokens by that stand-in.
    pub fn with_demo(mut self, demo: Arc<DemoGoogle>) -> App {
        self.demo = Some(demo);
        self
    }

    /// How it shall behave.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Counts with the door in front from here on.
    pub fn watch_door(&self, counters: Arc<Counters>) {
        // There is one door; a second call would change nothing.
        let _ = self.door.set(counters);
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Google's keys, if tokens are verified by them.
    pub fn keys(&self) -> Option<&Arc<Keys>> {
        self.verifier.keys()
    }

    /// How many exchanges with Google may be under way or wait.
    pub fn exchanges_max(&self) -> usize {
        self.verifier.exchanges_max()
    }

    /// Answers a request that came at that time (unix seconds), and logs one line about it.
    pub fn handle(&self, request: &Request, now: i64) -> Response {
        let started = Instant::now();
        let outcome = self.route(request, now);
        self.finish(request, outcome, started)
    }

    /// Answers a request on the metrics' own address.
    pub fn handle_metrics(&self, request: &Request, now: i64) -> Response {
        let started = Instant::now();
        let outcome = match (request.method.as_str(), request.path()) {
            ("GET" | "HEAD", "/metrics") => monitoring::exposition(self, now),
            (_, "/metrics") => Err(Error::MethodNotAllowed("GET, HEAD")),
            _ => Err(Error::NotFound),
        };
        self.finish(request, outcome, started)
    }

    /// Answers a request that was stopped on its way here.
    pub fn refuse(&self, request: &Request, error: Error) -> Response {
        self.finish(request, Err(error), Instant::now())
    }

    fn finish(
        &self,
        request: &Request,
        outcome: Result<Response, Error>,
        started: Instant,
    ) -> Response {
        let id = random_name();
        if let Err(error @ Error::Unavailable { .. }) = &outcome {
            log::warn!(id = id.as_str(); "cannot answer: {error}");
        }
        let refused = outcome.as_ref().err().cloned();
        let response = outcome.unwrap_or_else(|error| self.refusal(request, &error));
        self.metrics.count_request(route_name(request.path()), response.status, started.elapsed());
        self.log_request(request, &response, refused.as_ref(), &id, started);
        let mut response = cors::share(response, request, &self.settings)
            .with("X-Request-Id", id)
            .with("X-Robots-Tag", "noindex")
            .with("X-Content-Type-Options", "nosniff");
        if request.path() == "/auth/me" {
            response = response.with(INSTANCE_HEADER, self.instance.clone());
        }
        if response.header("Cache-Control").is_none() {
            response = response.with("Cache-Control", "no-store");
        }
        response
    }

    /// One line a request. For check and forward it names the app's host and, if somebody was refused, who and why.
    fn log_request(
        &self,
        request: &Request,
        response: &Response,
        refused: Option<&Error>,
        id: &str,
        started: Instant,
    ) {
        if !log::log_enabled!(log::Level::Info) {
            return;
        }
        let (method, path) = (loggable(&request.method), loggable(request.path()));
        let client = self.client_address(request).to_string();
        let host = forward_auth::host(self, request);
        let mut fields: Vec<(&str, Value)> = vec![
            ("method", Value::from(&*method)),
            ("path", Value::from(&*path)),
            ("status", Value::from(response.status)),
            ("ms", Value::from(started.elapsed().as_micros() as f64 / 1000.0)),
            ("client", Value::from(&*client)),
            ("id", Value::from(id)),
        ];
        fields.extend(host.as_deref().map(|host| ("host", Value::from(host))));
        if forward_auth::is_asked(request)
            && let Some(error) = refused
        {
            let subject = error.person().map(|person| person.profile.subject.as_str());
            fields.extend(subject.map(|subject| ("sub", Value::from(subject))));
            fields.push(("reason", Value::from(error.description())));
        }
        log::logger().log(
            &Record::builder()
                .args(format_args!("request"))
                .level(log::Level::Info)
                .target(module_path!())
                .key_values(&fields)
                .build(),
        );
    }

    fn route(&self, request: &Request, now: i64) -> Result<Response, Error> {
        let method = match request.method.as_str() {
            _ if forward_auth::is_check(request) => "GET",
            "HEAD" => "GET",
            "OPTIONS" => return cors::preflight(request, &self.settings),
            other => other,
        };
        if method == "GET"
            && let Some(answer) = CallerRoute::of(request)
        {
            return answer.respond(self, request, self.authenticate(request, now), now);
        }
        let path = request.path();
        if let Some(id) =
            path.strip_prefix("/auth/sessions/").filter(|id| !id.is_empty() && !id.contains('/'))
        {
            return match method {
                "DELETE" => sessions::delete(self, request, id, now),
                _ => Err(Error::MethodNotAllowed("DELETE, OPTIONS")),
            };
        }
        if let Some(subject) = path.strip_prefix(pages::ADMIN_USER_PATH) {
            return match method {
                "GET" => pages::admin_user(self, request, subject, now),
                "POST" => pages::change_user(self, request, subject, now),
                _ => Err(Error::MethodNotAllowed("GET, HEAD, POST, OPTIONS")),
            };
        }
        match (method, path) {
            ("GET", "/auth/signin") => pages::signin(self, request, now),
            ("POST", "/auth/signin") => signin::post(self, request, now),
            ("GET", "/auth/signout") => pages::signout(self, request, now),
            ("POST", "/auth/signout") => sessions::sign_out(self, request, now),
            ("GET", "/auth/sessions") => sessions::list(self, request, now),
            ("GET", "/auth/account") => pages::account(self, request, now),
            ("POST", "/auth/account") => pages::change_account(self, request, now),
            ("GET", "/auth/admin") => pages::admin(self, request, now),
            ("GET", "/auth/admin/users") => pages::admin_users(self, request, now),
            ("GET", "/auth/style.css") => Ok(pages::stylesheet()),
            ("GET", "/auth/other-account.js") => Ok(pages::other_account_script()),
            ("GET", "/auth/signin.js") => Ok(pages::signin_script()),
            ("GET", "/auth/logo") => pages::logo(self),
            ("GET", "/favicon.ico") => Ok(pages::icon()),
            ("GET", "/robots.txt") => Ok(Response::text(200, "text/plain", ROBOTS.to_owned())),
            ("GET", "/healthz") => Ok(Response::json(200, &json!({"status": "ok"}))),
            ("GET", "/readyz") => monitoring::ready(self, request, now),
            ("GET", "/metrics") => monitoring::metrics(self, request, now),
            ("GET", "/") => Ok(Response::see_other("/auth/account".into())),
            (_, path) => match route_name(path) {
                "other" => Err(Error::NotFound),
                "/auth/signin" | "/auth/signout" | "/auth/account" => {
                    Err(Error::MethodNotAllowed("GET, HEAD, POST, OPTIONS"))
                }
                _ => Err(Error::MethodNotAllowed("GET, HEAD, OPTIONS")),
            },
        }
    }

    /// The one writer of errors: a page for whoever looks at it, JSON for everything else.
    pub(super) fn refusal(&self, request: &Request, error: &Error) -> Response {
        let (status, code) = error.status_and_code();
        let mut response = if request.wants_page() {
            pages::error(self, request, error)
        } else {
            Response::json(
                status,
                &json!({"error": code, "error_description": error.description()}),
            )
        };
        if status == 401 {
            // RFC 6750, 3.1: no error code for a request without credentials.
            let challenge = match error {
                Error::Unauthenticated { bad_credential: false } => CHALLENGE.to_owned(),
                _ => format!("{CHALLENGE}, error=\"invalid_token\""),
            };
            response = response.with("WWW-Authenticate", challenge);
        }
        if let Error::MethodNotAllowed(methods) = error {
            response = response.with("Allow", *methods);
        }
        match error.retry_after() {
            Some(seconds) => response.with("Retry-After", seconds.to_string()),
            None => response,
        }
    }

    pub(super) fn client_address(&self, request: &Request) -> ClientAddress {
        ClientAddress::of(request, &self.settings.trusted_proxies)
    }

    /// Who asks, for a row of the store.
    pub(super) fn client(&self, request: &Request) -> Client {
        Client {
            address: self.client_address(request).ip().map(|address| address.to_string()),
            user_agent: request
                .header("User-Agent")
                .map(|text| text.chars().take(TEXT_LENGTH_MAX).collect()),
        }
    }
}

impl Handler for App {
    fn handle(&self, request: &Request, now: i64) -> Response {
        App::handle(self, request, now)
    }

    fn reject_busy(&self, request: &Request) -> Response {
        self.refuse(request, Error::unavailable("too many requests are waiting already"))
    }

    fn may_block(&self, request: &Request, now: i64) -> bool {
        let reads = matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS")
            || forward_auth::is_check(request);
        // A search for users reads all of them.
        let searches = request.path() == pages::USERS_PATH;
        !reads || request.path() == "/metrics" || searches || self.needs_exchange(request, now)
    }

    fn fast_path(&self, request: &Request, now: i64) -> Option<Response> {
        let started = Instant::now();
        let reads = matches!(request.method.as_str(), "GET" | "HEAD");
        let answer =
            CallerRoute::of(request).filter(|_| reads || forward_auth::is_check(request))?;
        let caller = self.authenticate_from_cache(request, now)?;
        let outcome = answer.respond(self, request, caller, now);
        Some(self.finish(request, outcome, started))
    }

    fn max_blocking(&self) -> usize {
        self.exchanges_max() + OTHER_SLOW_MAX
    }
}

/// The routes that only tell who asks. The door answers them if the session is in memory.
#[derive(Clone, Copy)]
enum CallerRoute {
    Check,
    Forward,
    Me,
}

impl CallerRoute {
    fn of(request: &Request) -> Option<CallerRoute> {
        match request.path() {
            "/auth/check" => Some(CallerRoute::Check),
            "/auth/forward" => Some(CallerRoute::Forward),
            "/auth/me" => Some(CallerRoute::Me),
            _ => None,
        }
    }

    fn respond(
        self,
        app: &App,
        request: &Request,
        caller: Result<Authenticated, Error>,
        now: i64,
    ) -> Result<Response, Error> {
        match self {
            CallerRoute::Check => forward_auth::check(app, request, caller, now),
            CallerRoute::Forward => forward_auth::forward(app, request, caller, now),
            CallerRoute::Me => sessions::me(caller),
        }
    }
}

/// The route of a path: one of few names, whatever clients ask for.
fn route_name(path: &str) -> &'static str {
    const ROUTES: [&str; 19] = [
        "/",
        "/auth/account",
        "/auth/admin",
        "/auth/admin/users",
        "/auth/check",
        "/auth/forward",
        "/auth/logo",
        "/auth/me",
        "/auth/other-account.js",
        "/auth/sessions",
        "/auth/signin",
        "/auth/signin.js",
        "/auth/signout",
        "/auth/style.css",
        "/favicon.ico",
        "/healthz",
        "/metrics",
        "/readyz",
        "/robots.txt",
    ];
    match ROUTES.iter().find(|route| **route == path) {
        Some(route) => route,
        None if path.starts_with(pages::ADMIN_USER_PATH) => "/auth/admin/users/{sub}",
        None if path.starts_with("/auth/sessions/") => "/auth/sessions/{id}",
        None => "other",
    }
}

/// A client's text for the log: bounded, and without parts so long that they may be tokens.
pub(super) fn loggable(text: &str) -> Cow<'_, str> {
    if text.len() <= PATH_SEGMENT_LOGGED_MAX {
        return text.into();
    }
    let segment = |part| {
        if str::len(part) > PATH_SEGMENT_LOGGED_MAX { "[long]" } else { part }
    };
    text.split('/')
        .map(segment)
        .collect::<Vec<_>>()
        .join("/")
        .chars()
        .take(TEXT_LENGTH_MAX)
        .collect::<String>()
        .into()
}
