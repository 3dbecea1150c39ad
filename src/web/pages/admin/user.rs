//! One user: profile, sessions, events, and buttons to block or sign them out.

use std::borrow::Cow;

use maud::{Markup, html};
use percent_encoding::percent_decode_str;

use super::allowed::let_in;
use super::{ALLOWED_PATH, USERS_PATH, admin_page, for_admin, user_path};
use crate::http::{Request, Response};
use crate::store::{
    About, Actor, AllowedEntry, EventFilter, EventKind, EventRow, Renaming, Session,
    SessionSelector, UserRecord, Username,
};
use crate::web::app::App;
use crate::web::error::Error;
use crate::web::pages::account::profile_header;
use crate::web::pages::device::device;
use crate::web::pages::languages::EN;
use crate::web::pages::time::{date_time, date_time_text};
use crate::web::pages::tokens::token_rows;
use crate::web::signin::account_name;
use crate::web::{body, csrf};

/// Events listed.
const EVENTS_MAX: u32 = 50;

/// Values of `done` in the URL after an action, and the notice for each.
const NOTICES: [(&str, &str); 9] = [
    ("blocked", "Blocked. They can neither sign in nor use their sessions."),
    ("unblocked", "Unblocked. Sessions that have not expired work again."),
    ("ended", "The session or token has ended."),
    ("ended-all", "All their sessions and tokens have ended."),
    ("renamed", "The user name is changed."),
    ("taken", "That user name belongs or belonged to somebody else. Choose another one."),
    ("impossible", "That is not a possible user name. Choose another one."),
    ("released", "Released. The next account that signs in with the e-mail gets it."),
    ("nothing", "There was nothing to change."),
];

/// GET /auth/admin/users/SUB.
///
/// # Errors
/// Those of [`for_admin`]; 404 if there is no such user.
pub fn admin_user(
    app: &App,
    request: &Request,
    subject: &str,
    now: i64,
) -> Result<Response, Error> {
    for_admin(app, request, now, |caller| {
        let subject = decoded(subject)?;
        let account = app.store.user(&subject)?.ok_or(Error::NotFound)?;
        let sessions = app.store.sessions_of(&subject, now, app.settings.session_idle)?;
        let tokens = app.store.tokens_of(&subject, now)?;
        let about = Some(About::Subject(subject.into_owned()));
        let events =
            app.store.last_events(&EventFilter { about, ..EventFilter::default() }, EVENTS_MAX)?;
        let user = &account.user;
        let entry = app.store.entry_for(&user.profile)?;
        let by_settings = app.settings.policy.permits(&user.profile);
        let is_allowed = by_settings || entry.is_some();
        let is_self = user.profile.subject == caller.user.profile.subject;
        let done = request.query("done").next();
        let notice =
            NOTICES.iter().find(|(code, _)| done.as_deref() == Some(code)).map(|(_, text)| text);
        let content = html! {
            @if let Some(notice) = notice { p.notice role="status" { (notice) } }
            (profile_header(&EN, user))
            p {
                @if let Some(at) = user.blocked_at { span.badge.danger { "blocked" } " since " (date_time(&EN, at)) " " }
                @if let Some(at) = user.google_disabled_at {
                    span.badge.danger { "disabled by Google" } " since " (date_time(&EN, at)) " "
                }
                @if !is_allowed { span.badge.danger { "not let in" } " " }
                @if app.settings.admins.permits(&user.profile) { span.badge { "admin" } " " }
                @if is_self { span.badge { "you" } }
            }
            (profile(&account, &entry_name(by_settings, entry.as_ref())))
            (controls(&account, is_self))
            h2 { "Sessions" }
            (sessions_list(&user.profile.subject, &sessions, &caller.session.id))
            h2 { "Tokens for programs" }
            (tokens_list(&user.profile.subject, &tokens))
            @if !sessions.is_empty() || !tokens.is_empty() { (end_all(&user.profile.subject)) }
            h2 { "Events" }
            @if events.is_empty() { p.quiet { "No events are stored." } }
            ul.rows { @for event in events.iter().rev() { (event_row(app, event, is_allowed)) } }
            @if events.len() == EVENTS_MAX as usize { p.small.quiet { "Only the latest " (EVENTS_MAX) " are shown." } }
        };
        // A title cannot contain markup, so characters isolate the name there (Unicode, UAX #9).
        let title = format!("\u{2068}{}\u{2069}", user.profile.display_name());
        Ok(admin_page(app, &title, USERS_PATH, &content))
    })
}

/// POST /auth/admin/users/SUB with `action`: the page's buttons.
///
/// # Errors
/// Those of [`for_admin`]; 400 for an unknown action or if admins would lock themselves out, 404 if
/// there is no such user.
pub fn change_user(
    app: &App,
    request: &Request,
    subject: &str,
    now: i64,
) -> Result<Response, Error> {
    for_admin(app, request, now, |caller| {
        csrf::guard_admin(request, &app.settings)?;
        let subject = decoded(subject)?;
        app.store.user(&subject)?.ok_or(Error::NotFound)?;
        let fields = body::fields(request)?;
        let action = body::text(&fields, "action");
        if subject == caller.user.profile.subject && matches!(action, "block" | "release") {
            return Err(Error::InvalidRequest(
                "admins cannot block themselves or release their own e-mail",
            ));
        }
        let actor = Actor::admin(account_name(&caller.user.profile), app.client(request));
        let end = |sessions: &SessionSelector, actor: &Actor| {
            let ended = app.store.end_sessions(sessions, EventKind::Revocation, actor, now);
            ended.map(|ended| ended.total() > 0)
        };
        let (changed, done) = match action {
            "block" => (app.store.set_blocked(&subject, true, actor, now)?, "blocked"),
            "unblock" => (app.store.set_blocked(&subject, false, actor, now)?, "unblocked"),
            "release" => (app.store.release_email(&subject, actor, now)?, "released"),
            "rename" => (true, rename(app, &subject, body::text(&fields, "username"), actor, now)?),
            "end" => {
                let one = SessionSelector::IdOfUser {
                    id: body::text(&fields, "session").to_owned(),
                    subject: subject.clone().into_owned(),
                };
                (end(&one, &actor)?, "ended")
            }
            "end_all" => {
                let all = SessionSelector::User(subject.clone().into_owned());
                (end(&all, &actor)?, "ended-all")
            }
            _ => {
                return Err(Error::InvalidRequest(
                    "action must be block, unblock, release, rename, end or end_all",
                ));
            }
        };
        let done = if changed { done } else { "nothing" };
        Ok(Response::see_other(
            app.settings.url_of(&format!("{}?done={done}", user_path(&subject))),
        ))
    })
}

/// Changes the user name; returns the code of a notice.
fn rename(
    app: &App,
    subject: &str,
    name: &str,
    actor: Actor,
    now: i64,
) -> Result<&'static str, Error> {
    let Some(name) = Username::parse(name.trim()) else { return Ok("impossible") };
    Ok(match app.store.rename_user(subject, &name, actor, now)? {
        Renaming::Renamed => "renamed",
        Renaming::Unchanged => "nothing",
        Renaming::Taken => "taken",
    })
}

fn decoded(subject: &str) -> Result<Cow<'_, str>, Error> {
    percent_decode_str(subject).decode_utf8().map_err(|_| Error::NotFound)
}

/// The entry or the settings that let a user in.
fn entry_name(by_settings: bool, entry: Option<&AllowedEntry>) -> Markup {
    html! {
        @match entry {
            Some(entry) => {
                a href=(ALLOWED_PATH) { "the entry for " bdi { (entry.name()) } }
                @if by_settings { ", and the settings" }
            }
            None if by_settings => "the settings",
            None => "nothing",
        }
    }
}

fn profile(account: &UserRecord, let_in_by: &Markup) -> Markup {
    let user = &account.user;
    let authority = if user.profile.email_authoritative { "Google is" } else { "Google is not" };
    html! {
        dl {
            dt { "Sub" } dd { code { (user.profile.subject) } }
            @if user.profile.email.is_some() { dt { "Authority for the e-mail" } dd { (authority) } }
            dt { "E-mail held" }
            dd { bdi { (account.pinned_email.as_deref().unwrap_or("none")) } }
            dt { "Let in by" } dd { (let_in_by) }
            dt { "First sign-in" } dd { (date_time(&EN, user.created_at)) }
            dt { "Last sign-in" } dd {
                @match user.last_signin_at { Some(at) => { (date_time(&EN, at)) } None => "never" }
            }
        }
    }
}

/// Every action that locks somebody out is folded away under an explanation.
fn controls(account: &UserRecord, is_self: bool) -> Markup {
    let profile = &account.user.profile;
    let name = account_name(profile);
    let button = |action: &str, class: &str, label: &str, name: &str| {
        html! {
            form method="post" action=(user_path(&profile.subject)) {
                button class=(class) name="action" value=(action) { (label) " " bdi { (name) } }
            }
        }
    };
    html! {
        div.controls {
            @if account.user.blocked_at.is_some() || account.user.google_disabled_at.is_some() {
                @if account.user.google_disabled_at.is_some() {
                    p {
                        "Google reported that somebody else had taken this account over. They cannot sign in until Google "
                        "reports that the account works again, or until you unblock them."
                    }
                }
                (button("unblock", "primary", "Unblock", name))
            }
            @if account.user.blocked_at.is_none() && !is_self {
                details {
                    summary { "Block" }
                    p {
                        "From their next request on, they can neither sign in nor use their sessions. You can unblock "
                        "them later."
                    }
                    (button("block", "danger", "Block", name))
                }
            }
            details {
                summary.harmless { "Change the user name" }
                p {
                    "Apps that know people by their user name will take this account for a new one. Nobody else ever gets "
                    "the old name."
                }
                form.fields method="post" action=(user_path(&profile.subject)) {
                    label for="username" { "New user name" }
                    input #username name="username" value=[&account.user.username] required maxlength="64"
                        pattern="[a-z0-9][a-z0-9._\\-]*" autocomplete="off" autocapitalize="none" spellcheck="false"
                        aria-describedby="username-rule";
                    p #username-rule.small.quiet {
                        "Lower-case letters, digits, dots, hyphens and underscores; a letter or a digit first."
                    }
                    button.primary name="action" value="rename" { "Change the name" }
                }
            }
            @if let (Some(email), false) = (&account.pinned_email, is_self) {
                details {
                    summary { "Release the e-mail" }
                    p {
                        "No other account can sign in with " strong { bdi { (email) } } " while this one holds it. Release it "
                        "if the address now belongs to somebody else. Until this account signs in again, its sessions have "
                        "no e-mail, and apps get an empty Remote-User."
                    }
                    (button("release", "danger", "Release", email))
                }
            }
        }
    }
}

fn sessions_list(subject: &str, sessions: &[Session], current: &str) -> Markup {
    html! {
        @if sessions.is_empty() { p.quiet { "They are not signed in anywhere." } }
        ul.rows {
            @for session in sessions {
                @let device = device(&EN, &session.client, session.kind);
                li {
                    div {
                        strong { (device) } " "
                        @if session.id == current { span.badge { "this one" } }
                        br;
                        span.small.quiet {
                            @if let Some(address) = &session.client.address { (address) br; }
                            "since " (date_time(&EN, session.created_at)) br; "last seen " (date_time(&EN, session.last_seen_at))
                        }
                    }
                    form method="post" action=(user_path(subject)) {
                        input type="hidden" name="session" value=(session.id);
                        button.danger name="action" value="end"
                            aria-label={ "End the session of " (device) ", last seen " (date_time_text(&EN, session.last_seen_at)) } { "End" }
                    }
                }
            }
        }
    }
}

fn tokens_list(subject: &str, tokens: &[Session]) -> Markup {
    html! {
        @if tokens.is_empty() { p.quiet { "They have no tokens." } }
        @else {
            (token_rows(&EN, tokens, |token, label| html! {
                form method="post" action=(user_path(subject)) {
                    input type="hidden" name="session" value=(token.id);
                    button.danger name="action" value="end" aria-label=(label) { "End" }
                }
            }))
        }
    }
}

fn end_all(subject: &str) -> Markup {
    html! {
        div.controls {
            details {
                summary { "End all sessions and tokens" }
                p {
                    "This signs them out everywhere, and their programs no longer get in. They can sign in again; to keep "
                    "them out, block them."
                }
                form method="post" action=(user_path(subject)) {
                    button.danger name="action" value="end_all" { "End all their sessions and tokens" }
                }
            }
        }
    }
}

fn event_row(app: &App, event: &EventRow, is_allowed: bool) -> Markup {
    let what = match event.kind.as_str() {
        "signin" => "Signed in",
        "refusal" => "Refused",
        "signout" => "Signed out",
        "revocation" => "Session ended",
        "block" => "Blocked",
        "unblock" => "Unblocked",
        "release" => "E-mail released",
        "rename" => "Renamed",
        "token" => "Token created",
        "google" => "Google reported",
        "allow" => "Put on the list",
        "disallow" => "Taken off the list",
        other => other,
    };
    html! {
        li {
            div {
                strong { (what) }
                @if let Some(detail) = event.detail.as_ref().filter(|_| event.kind != "google") {
                    " " bdi { (detail) }
                }
                @if let Some(reason) = event.shown_reason() { " " bdi { (reason) } }
                @if let Some(address) = &event.client.address { br; span.small.quiet { "from " (address) } }
            }
            div.side {
                p.small { (date_time(&EN, event.at)) }
                (let_in(app, event, is_allowed))
            }
        }
    }
}
