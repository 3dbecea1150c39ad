//! The account page: who you are, where you are signed in, and ending it.

use std::time::{Duration, UNIX_EPOCH};

use maud::{Markup, html};

use super::{Scripts, page};
use crate::error::Error;
use crate::profile::Profile;
use crate::store::{Ending, EventKind, Holder, Session, SessionKind};
use crate::web::app::App;
use crate::web::http::{Request, Response};
use crate::web::signin::ACCOUNT_PATH;
use crate::web::{intake, origin};

/// GET /auth/account. Somebody who is not signed in is sent to the sign-in page, and comes back here.
///
/// # Errors
/// 401 for a program, 403 or 503.
pub fn account(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    let caller = match app.caller(request, now) {
        Err(Error::Unauthenticated) if request.wants_page() => {
            return Ok(Response::see_other(app.settings.url_of("/auth/signin")));
        }
        caller => caller?,
    };
    let Holder { session: current, user } = &*caller;
    let mut sessions = app.store.sessions_of(&user.profile.subject, now, app.settings.session_idle)?;
    sessions.sort_by_key(|session| session.id != current.id);
    let content = html! {
        (who(&user.profile))
        form.actions method="post" action="/auth/signout" { button.primary { "Sign out" } }
        h2 { "Where you are signed in" }
        ul.rows {
            @for session in &sessions {
                li {
                    div {
                        strong { (device(session)) } " "
                        @if session.id == current.id { span.badge { "this one" } }
                        br;
                        span.small.quiet {
                            @if let Some(address) = &session.client.address { (address) br; }
                            "since " (moment(session.created_at)) br; "last seen " (moment(session.last_seen_at))
                        }
                    }
                    @if session.id != current.id {
                        form method="post" action=(ACCOUNT_PATH) {
                            button.danger name="end" value=(session.id)
                                aria-label={ "End the session of " (device(session)) ", last seen " (minute(session.last_seen_at)) } { "End" }
                        }
                    }
                }
            }
        }
        @if sessions.len() > 1 {
            div.actions {
                form method="post" action=(ACCOUNT_PATH) {
                    button.danger name="end_others" value="true" { "End all others" }
                }
                form method="post" action="/auth/signout" {
                    button.danger name="everywhere" value="true" { "Sign out everywhere" }
                }
            }
        }
    };
    Ok(page(app, 200, "Your account", Scripts::None, &content))
}

/// POST /auth/account with `end=ID` or `end_others=true`: what the buttons on the page do.
///
/// # Errors
/// 400, 401, 403 or 503.
pub fn change_account(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    origin::guard(request, &app.settings)?;
    let caller = app.caller(request, now)?;
    let fields = intake::body_fields(request)?;
    let text = |name| fields.first(name).and_then(|value| value.as_str());
    let ending = match (text("end"), text("end_others")) {
        (Some(id), None) => Ending::One(id.to_owned()),
        (None, Some("true")) => Ending::AllBut(caller.session.id.clone()),
        _ => return Err(Error::InvalidRequest("expected end=ID or end_others=true")),
    };
    app.store.end(&caller.user, ending, EventKind::Revocation, app.client(request), now)?;
    Ok(Response::see_other(app.settings.url_of(ACCOUNT_PATH)))
}

fn who(profile: &Profile) -> Markup {
    let name = profile.display_name();
    html! {
        div.who {
            @match picture(profile) {
                Some(address) => img src=(address) alt="" width="64" height="64" referrerpolicy="no-referrer";,
                None => span.initial aria-hidden="true" { (name.chars().next().unwrap_or('?').to_uppercase()) },
            }
            div {
                h1 { (name) }
                @if let Some(email) = &profile.email { p.quiet { (email) } }
                @if let Some(domain) = &profile.hosted_domain { p.quiet.small { "Google Workspace: " (domain) } }
            }
        }
    }
}

/// Only pictures that Google serves are shown; the page's policy allows no others.
fn picture(profile: &Profile) -> Option<&str> {
    let address = profile.picture.as_deref()?;
    let url = url::Url::parse(address).ok()?;
    let google = url.host_str()?.ends_with(".googleusercontent.com");
    (url.scheme() == "https" && google).then_some(address)
}

/// A user agent in two words, for somebody who wants to recognise a device. Order matters: most pretend to be others.
fn device(session: &Session) -> String {
    let agent = session.client.user_agent.as_deref().unwrap_or_default();
    let first = |table: &[(&str, &'static str)]| table.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, n)| *n);
    let program = first(&[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
        ("AdobeAIR", "AIR app"),
        ("okhttp", "Android app"),
        ("CFNetwork", "iOS app"),
    ]);
    let system = first(&[
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ]);
    match (program, system, session.kind) {
        (Some(program), Some(system), _) => format!("{program} on {system}"),
        (Some(one), None, _) | (None, Some(one), _) => one.to_owned(),
        (None, None, SessionKind::IdToken) => "A program with a Google token".to_owned(),
        (None, None, SessionKind::Session) => "Unknown device".to_owned(),
    }
}

fn moment(seconds: i64) -> Markup {
    html! { time datetime=(rfc3339(seconds)) { (minute(seconds)) } }
}

fn minute(seconds: i64) -> String {
    format!("{} UTC", rfc3339(seconds)[..16].replace('T', " "))
}

fn rfc3339(seconds: i64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(seconds.max(0).unsigned_abs());
    humantime::format_rfc3339_seconds(time).to_string()
}
