//! The account page: your profile, your sessions and your tokens.

use maud::{Markup, html};

use super::device::device;
use super::error::explanation;
use super::languages::{Texts, accepted, fill};
use super::time::{date_time, date_time_text};
use super::tokens::{created_page, own_tokens};
use super::{ADMIN_PATH, Scripts, page};
use crate::http::{Request, Response};
use crate::profile::Profile;
use crate::store::{Actor, Authenticated, EventKind, SessionSelector, User};
use crate::web::app::App;
use crate::web::error::Error;
use crate::web::signin::ACCOUNT_PATH;
use crate::web::{body, csrf, tokens};

/// GET /auth/account. Without a session, a browser is sent to the sign-in page and comes back.
///
/// # Errors
/// 401 for a program, 403 or 503.
pub fn account(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    let caller = match app.authenticate(request, now) {
        Err(Error::Unauthenticated { .. }) if request.wants_page() => {
            return Ok(Response::see_other(app.settings.url_of("/auth/signin")));
        }
        caller => caller?,
    };
    account_page(app, accepted(request), &caller, None, now)
}

/// The page, with the reason why a token was not created.
fn account_page(
    app: &App,
    texts: &Texts,
    caller: &Authenticated,
    problem: Option<&Error>,
    now: i64,
) -> Result<Response, Error> {
    let Authenticated { session: current, user, .. } = caller;
    let tokens = app.store.tokens_of(&user.profile.subject, now)?;
    let has_tokens = app.settings.token_lifetime > 0;
    let mut sessions =
        app.store.sessions_of(&user.profile.subject, now, app.settings.session_idle)?;
    sessions.sort_by_key(|session| session.id != current.id);
    let content = html! {
        @if let Some(problem) = problem { div.notice role="alert" { (explanation(texts, problem)) } }
        (profile_header(texts, user))
        div.actions {
            form method="post" action="/auth/signout" { button.primary { (texts.sign_out) } }
            @if app.settings.admins.permits(&user.profile) {
                a.button href=(app.settings.url_of(ADMIN_PATH)) { (texts.admin_page) }
            }
        }
        h2 { (texts.where_signed_in) }
        ul.rows {
            @for session in &sessions {
                @let device = device(texts, &session.client, session.kind);
                @let last_seen_at = session.last_seen_at;
                li {
                    div {
                        strong { (device) } " "
                        @if session.id == current.id { span.badge { (texts.this_session) } }
                        br;
                        span.small.quiet {
                            @if let Some(address) = &session.client.address { bdi { (address) } br; }
                            (fill(texts.since, &[("time", &date_time(texts, session.created_at))])) br;
                            (fill(texts.last_seen, &[("time", &date_time(texts, last_seen_at))]))
                        }
                    }
                    @if session.id != current.id {
                        form method="post" action=(ACCOUNT_PATH) {
                            button.danger name="end" value=(session.id)
                                aria-label=(fill(texts.end_session, &[("device", &device), ("time", &date_time_text(texts, last_seen_at))])) { (texts.end) }
                        }
                    }
                }
            }
        }
        @if sessions.len() > 1 {
            div.actions {
                form method="post" action=(ACCOUNT_PATH) {
                    button.danger name="end_others" value="true" { (texts.end_others) }
                }
            }
        }
        @if has_tokens { (own_tokens(app, texts, &tokens)) }
        @if sessions.len() > 1 || !tokens.is_empty() {
            div.actions.everything {
                form method="post" action="/auth/signout" {
                    button.danger name="everywhere" value="true" {
                        @if tokens.is_empty() { (texts.sign_out_everywhere) } @else { (texts.sign_out_and_end_tokens) }
                    }
                }
            }
        }
    };
    let status = problem.map_or(200, |problem| problem.status_and_code().0);
    Ok(page(app, texts, status, texts.your_account, Scripts::None, &content))
}

/// POST /auth/account with `end=ID`, `end_others=true`, or `create=true` and `id=ID`: the page's
/// buttons.
///
/// # Errors
/// 400, 401, 403 or 503.
pub fn change_account(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    csrf::guard(request, &app.settings)?;
    let caller = app.authenticate(request, now)?;
    let fields = body::fields(request)?;
    if body::text(&fields, "create") == "true" {
        let created = tokens::form_id(&fields)
            .and_then(|id| tokens::create(app, request, &caller, id, &fields, now));
        return match created {
            Ok((token, session)) => Ok(created_page(app, accepted(request), &token, &session)),
            Err(problem @ (Error::InvalidRequest(_) | Error::AccessDenied { .. })) => {
                account_page(app, accepted(request), &caller, Some(&problem), now)
            }
            Err(error) => Err(error),
        };
    }
    let subject = caller.user.profile.subject;
    let sessions = match (body::text(&fields, "end"), body::text(&fields, "end_others")) {
        (id, "") if !id.is_empty() => SessionSelector::IdOfUser { id: id.to_owned(), subject },
        ("", "true") => SessionSelector::UserExcept { subject, id: caller.session.id },
        _ => return Err(Error::InvalidRequest("expected end=ID, end_others=true or create=true")),
    };
    let actor = Actor::user(app.client(request));
    app.store.end_sessions(&sessions, EventKind::Revocation, &actor, now)?;
    Ok(Response::see_other(app.settings.url_of(ACCOUNT_PATH)))
}

/// Picture, name and addresses.
pub(super) fn profile_header(texts: &Texts, user: &User) -> Markup {
    let profile = &user.profile;
    let name = profile.display_name();
    html! {
        div.profile {
            @match picture(profile) {
                Some(address) => img src=(address) alt="" width="64" height="64" referrerpolicy="no-referrer";,
                None => span.initial aria-hidden="true" { (name.chars().next().unwrap_or('?').to_uppercase()) },
            }
            div {
                h1 { bdi { (name) } }
                @if let Some(email) = &profile.email { p.quiet { bdi { (email) } } }
                @if let Some(username) = &user.username { p.quiet.small { (fill(texts.user_name, &[("name", &html! { bdi { (username) } })])) } }
                @if let Some(domain) = &profile.hosted_domain { p.quiet.small { "Google Workspace: " bdi { (domain) } } }
            }
        }
    }
}

/// The picture, if Google serves it: the page's policy allows no others.
fn picture(profile: &Profile) -> Option<&str> {
    let address = profile.picture.as_deref()?;
    let url = url::Url::parse(address).ok()?;
    let google = url.host_str()?.ends_with(".googleusercontent.com");
    (url.scheme() == "https" && google).then_some(address)
}
