//! Forward auth: proxies ask whether a request may pass, and whose it is.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use super::app::{App, loggable};
use super::assertion::ASSERTION_HEADER;
use super::error::{Denied, Error};
use super::settings::RemoteUser;
use super::{pages, return_to};
use crate::google::AllowList;
use crate::http::{Request, Response};
use crate::profile::Profile;
use crate::store::{Authenticated, Event, EventKind, RefusedBy, User};

/// The bytes that identity headers percent-encode: control characters, everything beyond ASCII, and
/// the percent sign itself, so apps can decode the value.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

pub const NOT_ON_THE_APPS_LIST: &str = "this account is not on the allow-list of this app";
const UNKNOWN_LIST: &str =
    "nobody may use this app, because its proxy sends an unknown allow-list parameter";

/// Whether a proxy asks about another request. Some proxies ask with the original method, so any
/// method counts, unless there is a body and no header in which the proxy names the method. OPTIONS
/// is not a preflight here: the proxy would let the request pass on our 204.
pub fn is_check(request: &Request) -> bool {
    let from_proxy = request.header("X-Forwarded-Method").is_some()
        || request.header("X-Original-Method").is_some();
    matches!(request.path(), "/auth/check" | "/auth/forward")
        && (request.body.is_empty() || from_proxy)
}

/// GET /auth/check, for nginx's auth_request and for APIs: 200, 401 or 403, never a redirect.
///
/// # Errors
/// 401 or 403; 503 only if the store cannot answer, or Google about a new ID token.
pub fn check(
    app: &App,
    request: &Request,
    caller: Result<Authenticated, Error>,
    now: i64,
) -> Result<Response, Error> {
    Ok(match pass(app, request, caller, now) {
        Err(error @ Error::Unauthenticated { .. }) if is_navigation(app, request) => {
            pages::error_response(app, request, &error)
                .with("Location", signin_address(app, request))
        }
        other => other?,
    })
}

/// GET /auth/forward, for Caddy and Traefik, which pass our response on to the client: like
/// [`check`], but a browser navigation is redirected to the sign-in page.
///
/// # Errors
/// As [`check`].
pub fn forward(
    app: &App,
    request: &Request,
    caller: Result<Authenticated, Error>,
    now: i64,
) -> Result<Response, Error> {
    match pass(app, request, caller, now) {
        Err(Error::Unauthenticated { .. }) if is_navigation(app, request) => {
            Ok(Response::empty(302).with("Location", signin_address(app, request)))
        }
        other => other,
    }
}

fn pass(
    app: &App,
    request: &Request,
    caller: Result<Authenticated, Error>,
    now: i64,
) -> Result<Response, Error> {
    permit(app, request, caller, now).inspect_err(|error| record_refusal(app, request, error, now))
}

fn permit(
    app: &App,
    request: &Request,
    caller: Result<Authenticated, Error>,
    now: i64,
) -> Result<Response, Error> {
    let caller = caller.map_err(|error| match error {
        // Proxies understand 2xx, 401 and 403. The limit says nothing about the token.
        Error::TooManyRequests { retry_after } => {
            Error::Unavailable { cause: "too many ID tokens from one address".into(), retry_after }
        }
        other => other,
    })?;
    let list = AppList::of(request);
    if !list.permits(&caller.user.profile) {
        return Err(Error::denied_in_session(&caller, list.reason()));
    }
    let response = identify(Response::empty(200), &caller.user, app.settings.remote_user);
    Ok(match app.assertion(request, &caller, now)? {
        Some(assertion) => response.with(ASSERTION_HEADER, assertion),
        None => response,
    })
}

/// Records the refusal of a live session by an app's allow-list, or at an app that the proxy names.
/// The exchange of an ID token records its own refusals.
fn record_refusal(app: &App, request: &Request, error: &Error, now: i64) {
    let Some(Denied { profile, session: Some(session) }) = error.person() else { return };
    let (host, reason) = (host(app, request), error.description());
    if host.is_none() && !matches!(reason, NOT_ON_THE_APPS_LIST | UNKNOWN_LIST) {
        return;
    }
    let event = Event {
        subject: Some(profile.subject.clone()),
        email: profile.email.clone(),
        session_id: Some(session.id.clone()),
        client: app.client(request),
        client_id: Some(session.client_id.clone()),
        reason: Some(reason.to_owned()),
        host,
        ..Event::new(EventKind::Refusal)
    };
    app.record_within_budget(event, RefusedBy::ForwardAuth, now);
}

/// Whether the path is one of the two for proxies.
pub fn is_path(request: &Request) -> bool {
    matches!(request.path(), "/auth/check" | "/auth/forward")
}

/// The host of the app that a trusted proxy asks about.
pub fn host(app: &App, request: &Request) -> Option<String> {
    if !is_path(request) || !app.settings.trusted_proxies.trusts(request.peer) {
        return None;
    }
    let of_url = || {
        let (_scheme, rest) = request.header("X-Original-URL")?.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        authority.rsplit('@').next()
    };
    let host = request.header("X-Forwarded-Host").or_else(of_url)?;
    (!host.is_empty()).then(|| loggable(host).into_owned())
}

/// The allow-list of one app, from the query of the URL that its proxy calls.
enum AppList {
    /// Everybody whom the server lets in.
    Absent,
    /// An empty list lets nobody in.
    Listed(AllowList),
    /// A parameter that looks like an allow-list but is not one of ours. A URL copied from another
    /// server must not let everybody in.
    Unknown,
}

impl AppList {
    fn of(request: &Request) -> AppList {
        let mut list = None::<AllowList>;
        let is_list =
            |name: &str| name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("allowed_"));
        for (name, value) in request.query_pairs().filter(|(name, _)| is_list(name)) {
            let list = list.get_or_insert_default();
            let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
            let items = items.map(str::to_owned);
            match &*name {
                "allowed_emails" => list.emails.extend(items),
                "allowed_domains" => list.domains.extend(items),
                other => {
                    log::warn!(
                        "nobody may pass: the proxy asks with {}, but the only allow-lists are allowed_emails and \
                         allowed_domains",
                        loggable(&other.escape_default().to_string())
                    );
                    return AppList::Unknown;
                }
            }
        }
        list.map_or(AppList::Absent, AppList::Listed)
    }

    fn permits(&self, profile: &Profile) -> bool {
        match self {
            AppList::Absent => true,
            AppList::Listed(list) => list.permits(profile),
            AppList::Unknown => false,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            AppList::Unknown => UNKNOWN_LIST,
            AppList::Absent | AppList::Listed(_) => NOT_ON_THE_APPS_LIST,
        }
    }
}

/// Adds every identity header, always: an absent one would let the client's own copy through.
fn identify(response: Response, user: &User, remote_user: RemoteUser) -> Response {
    let profile = &user.profile;
    let header = |value: Option<&str>| match value {
        Some(value) => Cow::from(percent_encode(value.as_bytes(), ENCODED)).into_owned(),
        None => String::new(),
    };
    let subject = header(Some(&profile.subject));
    let email = header(profile.authoritative_email());
    let username = header(user.username.as_deref());
    let remote_user = match remote_user {
        RemoteUser::Email => &email,
        RemoteUser::Username => &username,
        RemoteUser::Sub => &subject,
    }
    .clone();
    response
        .with("X-Auth-Request-User", subject)
        .with("X-Auth-Request-Email", email.clone())
        .with("X-Auth-Request-Preferred-Username", username)
        .with("Remote-User", remote_user.clone())
        .with("Remote-Email", email)
        .with("Remote-Name", header(profile.name.as_deref()))
        .with("X-Forwarded-User", remote_user)
}

/// Whether the proxy asks about a browser's navigation. Nothing else is redirected: a program would
/// take the sign-in page for its answer, and a POST would lose its body.
fn is_navigation(app: &App, request: &Request) -> bool {
    matches!(original_method(app, request), "GET" | "HEAD") && request.wants_page()
}

/// The method of the request that the proxy asks about. The check itself is usually a GET.
fn original_method<'a>(app: &App, request: &'a Request) -> &'a str {
    let named =
        request.header("X-Forwarded-Method").or_else(|| request.header("X-Original-Method"));
    named
        .filter(|method| !method.is_empty() && app.settings.trusted_proxies.trusts(request.peer))
        .unwrap_or(&request.method)
}

/// The absolute URL of the sign-in page, with the return address.
fn signin_address(app: &App, request: &Request) -> String {
    let address = app.settings.url_of("/auth/signin");
    match return_to::forwarded(request, &app.settings) {
        Some(place) => {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("rd", &place)
                .finish();
            format!("{address}?{query}")
        }
        None => {
            if let Some(host) = host(app, request) {
                log::debug!(
                    "after sign-in, people do not return to {host}: the address is malformed, too long, or neither on \
                     the public URL's host and port nor, on the default port, under --cookie-domain"
                );
            }
            address
        }
    }
}
