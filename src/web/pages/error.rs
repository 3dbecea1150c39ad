//! The response to a request that fails.

use maud::html;
use serde_json::json;

use super::{ADMIN_PATH, Scripts, page};
use crate::google::is_for_want_of_an_entry;
use crate::http::{Request, Response};
use crate::web::app::App;
use crate::web::error::Error;
use crate::web::forward_auth::NOT_ON_THE_APPS_LIST;
use crate::web::signin::{ACCOUNT_PATH, account_name};
use crate::web::{return_to, signin_request};

/// The challenge of a 401.
const CHALLENGE: &str = "Bearer realm=\"hallpass\"";

/// The one writer of errors: a page for people, JSON for programs.
pub fn error_response(app: &App, request: &Request, error: &Error) -> Response {
    let (status, code) = error.status_and_code();
    let mut response = if let Error::InvalidEvent { code, description } = error {
        // RFC 8935, section 2.3.
        Response::json(status, &json!({"err": code, "description": description}))
    } else if request.wants_page() {
        error_page(app, request, error)
    } else {
        Response::json(status, &json!({"error": code, "error_description": error.description()}))
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

fn error_page(app: &App, request: &Request, error: &Error) -> Response {
    let (status, _) = error.status_and_code();
    let title = match error {
        Error::InvalidRequest(_) | Error::InvalidEvent { .. } | Error::UnsupportedMediaType => {
            "That did not work"
        }
        Error::InvalidToken(_) => "Google's sign-in did not work",
        Error::Unauthenticated { .. } => "You are not signed in",
        Error::AccessDenied { .. } => "You have no access",
        Error::NotFound | Error::MethodNotAllowed(_) => "Page not found",
        Error::TooManyRequests { .. } => "Too many attempts",
        Error::Unavailable { .. } => "Sign-in is not available right now",
    };
    let ours = |path| app.settings.url_of(path);
    let content = html! {
        h1 { (title) }
        @if let Some(person) = error.person() {
            p {
                @if person.session.is_some() { "You are signed in as " } @else { "You tried to sign in as " }
                strong { bdi { (account_name(&person.profile)) } } "."
            }
        }
        p { (sentence(error.description())) }
        @if error.person().is_some() && may_be_let_in(error.description()) {
            p { "Ask the person who runs this site to let you in, and tell them which account you used." }
        }
        @if let Some(seconds) = error.retry_after() { p.quiet { "Wait " (seconds) " seconds first." } }
        div.actions {
            @match error {
                Error::AccessDenied { .. } => {
                    a.button.primary href=(signin_address(app, request, true)) { "Use another account" }
                    @if error.person().is_none_or(|person| person.session.is_some()) {
                        a.button href=(ours(ACCOUNT_PATH)) { "Your account" }
                    }
                },
                Error::NotFound | Error::MethodNotAllowed(_) => a.button href=(ours(ACCOUNT_PATH)) { "Your account" },
                _ => a.button.primary href=(signin_address(app, request, false)) { "Go to sign-in" },
            }
        }
    };
    page(app, status, title, Scripts::None, &content)
}

/// Whether adding the account to a list would let it in.
fn may_be_let_in(reason: &str) -> bool {
    reason == NOT_ON_THE_APPS_LIST || is_for_want_of_an_entry(reason)
}

/// The sign-in page, with the return address of a request through a proxy or of a refused sign-in.
fn signin_address(app: &App, request: &Request, other_account: bool) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if other_account {
        query.append_pair("prompt", "select_account");
    }
    let rd = return_to::forwarded(request, &app.settings)
        .or_else(|| return_to::parse(&signin_request::state(request)?, &app.settings))
        .or_else(|| return_to::requested(request, &app.settings))
        .or_else(|| request.path().starts_with(ADMIN_PATH).then(|| ADMIN_PATH.to_owned()));
    if let Some(rd) = rd {
        query.append_pair("rd", &rd);
    }
    let query = query.finish();
    let separator = if query.is_empty() { "" } else { "?" };
    app.settings.url_of(&format!("/auth/signin{separator}{query}"))
}

/// Makes a sentence of a message, which is a fragment because logs need it that way.
pub(super) fn sentence(message: &str) -> String {
    let mut characters = message.chars();
    let first =
        characters.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
    format!("{first}{}.", characters.as_str())
}
