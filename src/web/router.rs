//! From a request to its response: the table of routes, what every response has in common, and
//! the access log.

use std::time::{Duration, Instant};

use log::Record;
use log::kv::Value;
use serde_json::json;

use super::app::{App, loggable};
use super::error::Error;
use super::settings::Settings;
use super::{
    assertion, cookies, cors, forward_auth, google_events, monitoring, pages, sessions, signin,
    tokens,
};
use crate::http::{Handler, Request, Response};
use crate::store::Authenticated;

/// Names the database and the machine that answer at /auth/me, and reveals nothing else about them.
pub const INSTANCE_HEADER: &str = "X-Hallpass-Instance";
const ME: &str = "/auth/me";
const HEALTH: &str = "/healthz";
/// Blocking requests besides those that wait for Google: sign-outs, sessions that are ended.
const OTHER_BLOCKING_MAX: usize = 64;
/// Robots find nothing here.
const ROBOTS: &str = "User-agent: *\nDisallow: /\n";

type Endpoint = fn(&App, &Request, i64) -> Result<Response, Error>;
type CallerEndpoint =
    fn(&App, &Request, Result<Authenticated, Error>, i64) -> Result<Response, Error>;

/// Every path and what it answers. HEAD is answered like GET, OPTIONS alike everywhere.
const ROUTES: &[Route] = &[
    caller("/auth/check", forward_auth::check),
    caller("/auth/forward", forward_auth::forward),
    caller(ME, |_, _, caller, _| sessions::me(caller)),
    get("/auth/signin", pages::signin).post(signin::post),
    get("/auth/signout", pages::signout).post(sessions::sign_out),
    get("/auth/account", pages::account).post(pages::change_account),
    get("/auth/sessions", sessions::list),
    delete("/auth/sessions/{id}", |app, request, now| {
        sessions::delete(app, request, parameter(request), now)
    }),
    get("/auth/tokens", tokens::list).post(tokens::post),
    get("/auth/admin", pages::admin),
    // A search reads all users.
    get("/auth/admin/users", pages::admin_users).blocking(),
    get("/auth/admin/users/{sub}", |app, request, now| {
        pages::admin_user(app, request, parameter(request), now)
    })
    .post(|app, request, now| pages::change_user(app, request, parameter(request), now)),
    post("/auth/google/events", google_events::receive)
        .if_set(|settings| settings.verifier.security_events),
    get("/auth/admin/allowed", pages::admin_allowed).post(pages::change_allowed),
    delete("/auth/admin/allowed/{id}", |app, request, now| {
        pages::delete_allowed(app, request, parameter(request), now)
    }),
    get("/auth/jwks", assertion::jwks).if_set(|settings| settings.assertion),
    get("/auth/style.css", |_, _, _| Ok(pages::stylesheet())),
    get("/auth/signin.js", |_, _, _| Ok(pages::signin_script())),
    get("/auth/copy.js", |_, _, _| Ok(pages::copy_script())),
    get("/auth/other-account.js", |_, _, _| Ok(pages::other_account_script())),
    get("/auth/logo", |app, _, _| pages::logo(app)),
    get("/favicon.ico", |_, _, _| Ok(pages::icon())),
    get("/robots.txt", |_, _, _| Ok(Response::text(200, "text/plain", ROBOTS.to_owned()))),
    get(HEALTH, |_, _, _| Ok(Response::json(200, &json!({"status": "ok"})))),
    get("/readyz", monitoring::ready),
    get("/metrics", monitoring::metrics).blocking(),
    get("/", |_, _, _| Ok(Response::see_other("/auth/account".into()))),
];

struct Route {
    /// Also the label in the metrics. `{...}` at the end stands for one segment.
    path: &'static str,
    /// A GET that only needs to know the caller. The door answers it if the session is in memory.
    caller: Option<CallerEndpoint>,
    get: Option<Endpoint>,
    post: Option<Endpoint>,
    delete: Option<Endpoint>,
    /// Whether the settings turn it on.
    is_on: fn(&Settings) -> bool,
    /// Whether a GET may take long. Everything else that changes something may anyway.
    get_blocks: bool,
}

const fn route(path: &'static str) -> Route {
    Route {
        path,
        caller: None,
        get: None,
        post: None,
        delete: None,
        is_on: |_| true,
        get_blocks: false,
    }
}

const fn caller(path: &'static str, endpoint: CallerEndpoint) -> Route {
    Route { caller: Some(endpoint), ..route(path) }
}

const fn get(path: &'static str, endpoint: Endpoint) -> Route {
    Route { get: Some(endpoint), ..route(path) }
}

const fn post(path: &'static str, endpoint: Endpoint) -> Route {
    Route { post: Some(endpoint), ..route(path) }
}

const fn delete(path: &'static str, endpoint: Endpoint) -> Route {
    Route { delete: Some(endpoint), ..route(path) }
}

impl Route {
    const fn post(self, endpoint: Endpoint) -> Route {
        Route { post: Some(endpoint), ..self }
    }

    const fn if_set(self, is_on: fn(&Settings) -> bool) -> Route {
        Route { is_on, ..self }
    }

    const fn blocking(self) -> Route {
        Route { get_blocks: true, ..self }
    }

    fn find(path: &str) -> Option<&'static Route> {
        ROUTES.iter().find(|route| route.matches(path))
    }

    fn matches(&self, path: &str) -> bool {
        match self.path.split_once('{') {
            None => path == self.path,
            Some((before, _)) => path
                .strip_prefix(before)
                .is_some_and(|segment| !segment.is_empty() && !segment.contains('/')),
        }
    }

    fn allow(&self) -> &'static str {
        match (self.get.is_some(), self.post.is_some(), self.delete.is_some()) {
            (true, true, _) => "GET, HEAD, POST, OPTIONS",
            (false, true, _) => "POST, OPTIONS",
            (_, false, true) => "DELETE, OPTIONS",
            (_, false, false) => "GET, HEAD, OPTIONS",
        }
    }
}

/// The last segment of the path, percent-encoded as it was sent.
fn parameter(request: &Request) -> &str {
    request.path().rsplit('/').next().unwrap_or_default()
}

/// The method that counts: HEAD is answered like GET, and so is any method of a check.
fn method(request: &Request) -> &str {
    match request.method.as_str() {
        _ if forward_auth::is_check(request) => "GET",
        "HEAD" => "GET",
        other => other,
    }
}

/// A request, when it arrived and where it leads.
struct Arrival<'a> {
    request: &'a Request,
    route: Option<&'static Route>,
    started: Instant,
}

impl<'a> Arrival<'a> {
    fn of(request: &'a Request) -> Arrival<'a> {
        Arrival { request, started: Instant::now(), route: Route::find(request.path()) }
    }
}

impl App {
    /// Answers a request that arrived at `now` (unix seconds), and logs one line about it.
    pub fn handle(&self, request: &Request, now: i64) -> Response {
        let arrival = Arrival::of(request);
        let outcome = self.dispatch(&arrival, now);
        self.finish(&arrival, outcome)
    }

    /// Answers a request on the address that serves the metrics alone.
    pub fn handle_metrics(&self, request: &Request, now: i64) -> Response {
        let arrival = Arrival::of(request);
        let outcome = match (request.method.as_str(), request.path()) {
            ("GET" | "HEAD", "/metrics") => monitoring::exposition(self, now),
            (_, "/metrics") => Err(Error::MethodNotAllowed("GET, HEAD")),
            _ => Err(Error::NotFound),
        };
        self.finish(&arrival, outcome)
    }

    fn dispatch(&self, arrival: &Arrival, now: i64) -> Result<Response, Error> {
        let request = arrival.request;
        let method = method(request);
        if method == "OPTIONS" {
            return cors::preflight(request, &self.settings);
        }
        let route = arrival.route.filter(|route| (route.is_on)(&self.settings));
        let route = route.ok_or(Error::NotFound)?;
        let endpoint = match (method, route.caller) {
            ("GET", Some(endpoint)) => {
                return endpoint(self, request, self.authenticate_any(request, now), now);
            }
            ("GET", None) => route.get,
            ("POST", _) => route.post,
            ("DELETE", _) => route.delete,
            _ => None,
        };
        let endpoint = endpoint.ok_or(Error::MethodNotAllowed(route.allow()))?;
        endpoint(self, request, now)
    }

    /// Counts and logs the request, and adds what every response has.
    fn finish(&self, arrival: &Arrival, outcome: Result<Response, Error>) -> Response {
        let request = arrival.request;
        let id = self.request_ids.next();
        if let Err(error @ Error::Unavailable { .. }) = &outcome {
            log::warn!(id = id.as_str(); "cannot answer: {error}");
        }
        let (response, refused) = match outcome {
            Ok(response) => (response, None),
            Err(error) => (pages::error_response(self, request, &error), Some(error)),
        };
        let elapsed = arrival.started.elapsed();
        let label = arrival.route.map_or("other", |route| route.path);
        self.metrics.count_request(label, response.status, elapsed);
        if log::log_enabled!(log::Level::Info) {
            let (status, refused) = (response.status, refused.as_ref());
            self.log_request(&LogEntry { request, status, refused, id: &id, elapsed });
        }
        let mut response = cors::share(response, request, &self.settings)
            .with("X-Request-Id", id)
            .with("X-Robots-Tag", "noindex")
            .with("X-Content-Type-Options", "nosniff");
        if label == ME {
            response = response.with(INSTANCE_HEADER, self.instance.clone());
        }
        if response.header("Cache-Control").is_none() {
            response = response.with("Cache-Control", "no-store");
        }
        response
    }

    /// One line for each request. For check and forward it names the app's host and, if somebody
    /// was refused, the `sub` and the reason.
    fn log_request(&self, entry: &LogEntry) {
        let request = entry.request;
        let (method, path) = (loggable(&request.method), loggable(request.path()));
        let client = self.client_address(request).to_string();
        let host = forward_auth::host(self, request);
        let mut fields: Vec<(&str, Value)> = vec![
            ("method", Value::from(&*method)),
            ("path", Value::from(&*path)),
            ("status", Value::from(entry.status)),
            ("ms", Value::from(entry.elapsed.as_micros() as f64 / 1000.0)),
            ("client", Value::from(&*client)),
            ("id", Value::from(entry.id)),
        ];
        fields.extend(host.as_deref().map(|host| ("host", Value::from(host))));
        if let Some(error) = entry.refused
            && forward_auth::is_path(request)
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
}

struct LogEntry<'a> {
    request: &'a Request,
    status: u16,
    refused: Option<&'a Error>,
    id: &'a str,
    elapsed: Duration,
}

impl Handler for App {
    fn handle(&self, request: &Request, now: i64) -> Response {
        App::handle(self, request, now)
    }

    fn reject_busy(&self, request: &Request) -> Response {
        let error = Error::unavailable("too many requests are waiting already");
        self.finish(&Arrival::of(request), Err(error))
    }

    fn may_block(&self, request: &Request, now: i64) -> bool {
        match method(request) {
            "GET" => {
                Route::find(request.path()).is_some_and(|route| route.get_blocks)
                    || self.needs_exchange(request, now)
            }
            "OPTIONS" => false,
            _ => true,
        }
    }

    fn may_wait_to_read(&self, request: &Request) -> bool {
        self.store.is_remote() && request.path() != HEALTH
    }

    fn fast_path(&self, request: &Request, now: i64) -> Option<Response> {
        let arrival = Arrival::of(request);
        let endpoint = arrival.route?.caller.filter(|_| method(request) == "GET")?;
        if !self.can_assert(now) {
            return None;
        }
        let caller = self.authenticate_from_cache(request, now)?;
        let outcome = endpoint(self, request, caller, now);
        Some(self.finish(&arrival, outcome))
    }

    fn trim(&self, request: &mut Request) {
        cookies::trim(request, &self.settings);
    }

    fn max_blocking(&self) -> usize {
        self.verifier.exchanges_max() + OTHER_BLOCKING_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, label: Option<&str>) {
        assert_eq!(Route::find(path).map(|route| route.path), label, "{path}");
    }

    #[test]
    fn a_parameter_is_one_segment() {
        check("/auth/sessions", Some("/auth/sessions"));
        check("/auth/sessions/a", Some("/auth/sessions/{id}"));
        check("/auth/admin/users/a%2Fb", Some("/auth/admin/users/{sub}"));
        for path in ["/auth/sessions/", "/auth/sessions/a/b", "/auth/admin/users/", "/auth", ""] {
            check(path, None);
        }
    }
}
