//! The response to a request that fails.

use maud::{Markup, html};
use serde_json::json;

use super::admin::NO_ADMIN;
use super::languages::{EN, Texts, accepted, fill};
use super::{ADMIN_PATH, Scripts, page};
use crate::google::{
    ANOTHER_ACCOUNT, ANOTHER_SPELLING, NO_AUTHORITY, NO_WORKSPACE, NOT_ON_THE_LIST,
    is_for_want_of_an_entry,
};
use crate::http::{Request, Response};
use crate::store::Refusal;
use crate::web::app::App;
use crate::web::error::Error;
use crate::web::forward_auth::NOT_ON_THE_APPS_LIST;
use crate::web::signin::{ACCOUNT_PATH, account_name};
use crate::web::signin_request::NOT_FROM_HERE;
use crate::web::tokens::{BAD_NAME, EXISTS, TOO_MANY};
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
    let texts = accepted(request);
    let (status, _) = error.status_and_code();
    let title = match error {
        Error::InvalidRequest(_) | Error::InvalidEvent { .. } | Error::UnsupportedMediaType => {
            texts.did_not_work
        }
        Error::InvalidToken(_) => texts.google_did_not_work,
        Error::Unauthenticated { .. } => texts.not_signed_in,
        Error::AccessDenied { .. } => texts.no_access,
        Error::NotFound | Error::MethodNotAllowed(_) => texts.page_not_found,
        Error::TooManyRequests { .. } => texts.too_many_attempts,
        Error::Unavailable { .. } => texts.sign_in_unavailable,
    };
    let ours = |path| app.settings.url_of(path);
    let content = html! {
        h1 { (title) }
        @if let Some(person) = error.person() {
            @let sentence = if person.session.is_some() { texts.signed_in_as } else { texts.tried_to_sign_in_as };
            p { (fill(sentence, &[("account", &html! { strong { bdi { (account_name(&person.profile)) } } })])) }
        }
        (explanation(texts, error))
        @if error.person().is_some() && may_be_let_in(error.description()) {
            p { (texts.ask_to_be_let_in) }
        }
        @if let Some(seconds) = error.retry_after() { p.quiet { (texts.counted(texts.wait_seconds, seconds)) } }
        div.actions {
            @match error {
                Error::AccessDenied { .. } => {
                    a.button.primary href=(signin_address(app, request, true)) { (texts.use_another_account) }
                    @if error.person().is_none_or(|person| person.session.is_some()) {
                        a.button href=(ours(ACCOUNT_PATH)) { (texts.your_account) }
                    }
                },
                Error::NotFound | Error::MethodNotAllowed(_) => a.button href=(ours(ACCOUNT_PATH)) { (texts.your_account) },
                _ => a.button.primary href=(signin_address(app, request, false)) { (texts.go_to_sign_in) },
            }
        }
    };
    page(app, texts, status, title, Scripts::None, &content)
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

/// Why it failed. Reasons that only concern programs and operators stay in English, as in the log,
/// below a sentence that says as much as the person needs.
pub(super) fn explanation(texts: &Texts, error: &Error) -> Markup {
    let english = sentence(error.description());
    html! {
        @if let Some(reason) = reason(texts, error.description()) {
            p { (reason) }
        } @else if texts.tag == EN.tag {
            p { (english) }
        } @else {
            p { (general_reason(texts, error)) }
            p.small.quiet lang=(EN.tag) dir=(EN.direction) { (english) }
        }
    }
}

/// The reasons that concern people.
fn reason(texts: &Texts, description: &str) -> Option<&'static str> {
    let table = [
        (NOT_ON_THE_LIST, texts.not_on_the_list),
        (NO_AUTHORITY, texts.no_authority),
        (ANOTHER_ACCOUNT, texts.entry_of_another_account),
        (ANOTHER_SPELLING, texts.another_spelling),
        (NO_WORKSPACE, texts.not_of_the_workspace),
        (NOT_ON_THE_APPS_LIST, texts.not_on_the_apps_list),
        (Refusal::Blocked.description(), texts.blocked),
        (Refusal::DisabledByGoogle.description(), texts.disabled_by_google),
        (Refusal::EmailHeld.description(), texts.email_held),
        (NO_ADMIN, texts.not_an_admin),
        (NOT_FROM_HERE, texts.began_elsewhere),
        (BAD_NAME, texts.bad_token_name),
        (EXISTS, texts.token_exists),
        (TOO_MANY, texts.too_many_tokens),
        (Error::NO_SESSION, texts.no_session),
        (Error::NOTHING_HERE, texts.nothing_here),
        (Error::LATER, texts.try_again_later),
        (Error::CANNOT_VERIFY, texts.cannot_verify_now),
    ];
    table.into_iter().find(|(english, _)| *english == description).map(|(_, reason)| reason)
}

/// The sentence above a reason in English.
fn general_reason(texts: &Texts, error: &Error) -> &'static str {
    match error {
        Error::AccessDenied { .. } => texts.request_refused,
        Error::InvalidToken(_) => texts.google_token_refused,
        _ => texts.request_not_understood,
    }
}

/// Makes a sentence of a message, which is a fragment because logs need it that way.
pub(super) fn sentence(message: &str) -> String {
    let mut characters = message.chars();
    let first =
        characters.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
    format!("{first}{}.", characters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_in_english_are_those_of_the_log() {
        for error in [
            Error::denied(NOT_ON_THE_LIST),
            Error::denied(NO_AUTHORITY),
            Error::denied(ANOTHER_ACCOUNT),
            Error::denied(ANOTHER_SPELLING),
            Error::denied(NO_WORKSPACE),
            Error::denied(NOT_ON_THE_APPS_LIST),
            Error::denied(Refusal::Blocked.description()),
            Error::denied(Refusal::DisabledByGoogle.description()),
            Error::denied(Refusal::EmailHeld.description()),
            Error::denied(NO_ADMIN),
            Error::InvalidRequest(NOT_FROM_HERE),
            Error::InvalidRequest(BAD_NAME),
            Error::InvalidRequest(EXISTS),
            Error::denied(TOO_MANY),
            Error::Unauthenticated { bad_credential: false },
            Error::NotFound,
            Error::TooManyRequests { retry_after: 1 },
            Error::unavailable("the cause"),
        ] {
            let description = error.description();
            assert_eq!(reason(&EN, description), Some(sentence(description).as_str()));
        }
    }
}
