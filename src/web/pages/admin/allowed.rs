//! The database's list of who may enter: the page that shows it, and adds and removes entries.
//! Programs get JSON.

use maud::{Markup, html};
use serde_json::json;

use super::{ALLOWED_PATH, admin_page, for_admin, user_path};
use crate::entry::{Entry, NOTE_CHARACTERS_MAX, workspace_domain};
use crate::google::{Policy, is_for_want_of_an_entry};
use crate::http::{Request, Response};
use crate::json::Fields;
use crate::profile::is_authoritative;
use crate::store::{Actor, AllowedEntry, Authenticated, EventRow, Obstacle};
use crate::web::RemoteUser;
use crate::web::app::App;
use crate::web::error::Error;
use crate::web::pages::languages::EN;
use crate::web::pages::time::date;
use crate::web::signin::account_name;
use crate::web::{body, csrf};

/// Entries per page.
const PAGE_ROWS: u32 = 100;

const WHAT_TO_SEND: &str = "give exactly one of email (an e-mail or a sub), sub and domain";
const NOTE_TOO_LONG: &str = "the note is longer than 200 characters";
const NO_ACCOUNT: &str = "email must be an e-mail such as ada@example.com, or a sub";
const NO_SUBJECT: &str = "sub must be 1 to 255 printable ASCII characters";
const NO_DOMAIN: &str = "domain must be a domain such as example.com";

/// A person was added by `sub`, while `Remote-User` carries the e-mail.
const ADDED_BY_SUBJECT: &str = "added-sub";

/// Values of `done` in the URL after an action, and the notice for each.
const NOTICES: [(&str, &str); 8] = [
    ("added", "Added. They may sign in now."),
    (
        ADDED_BY_SUBJECT,
        "Added. They may sign in now. If Google is not authoritative for their e-mail address, apps get no \
         Remote-User for them unless the server runs with --remote-user username (or sub).",
    ),
    (
        "blocked",
        "They are on the list, but they are blocked. To let them in, unblock them on their page under Users, or with \
         hallpass users unblock.",
    ),
    (
        "no-authority",
        "The address is on the list, but its account cannot sign in with it, because Google is not the authority for \
         this address. To let that account in, add its sub.",
    ),
    ("there", "They are on the list already."),
    (
        "removed",
        "Removed. They are refused from their next request on, unless another entry or the settings let them in.",
    ),
    ("still", "Removed, but another entry or the settings still let them in."),
    ("nothing", "There was nothing to remove."),
];

/// GET /auth/admin/allowed?from=ID; the previous page links to the next one. Programs get all
/// entries.
///
/// # Errors
/// Those of [`for_admin`]; 400 for a malformed `from`.
pub fn admin_allowed(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    for_admin(app, request, now, |_| {
        if !request.wants_page() {
            return Ok(Response::json(200, &json!({"allowed": app.store.allowed()?})));
        }
        let done = request.query("done").next();
        let notice = NOTICES.iter().find(|(code, _)| done.as_deref() == Some(code));
        let notice = notice.map(|(_, text)| html! { p.notice role="status" { (text) } });
        list_page(app, request, 200, &notice.unwrap_or_default(), &Wish::default())
    })
}

/// POST /auth/admin/allowed with `email`, `sub` or `domain`, and perhaps `note`, or with `remove`,
/// the ID of an entry.
///
/// # Errors
/// Those of [`for_admin`]; 400 for anything but one entry that somebody can match; for programs,
/// 404 if there is no entry to remove.
pub fn change_allowed(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    for_admin(app, request, now, |caller| {
        csrf::guard_admin(request, &app.settings)?;
        let fields = body::fields(request)?;
        if let Some(id) = fields.first("remove") {
            // A form has only strings.
            let id = id.as_i64().or_else(|| id.as_str()?.parse().ok());
            let id = id.ok_or(Error::InvalidRequest("remove must be an ID"))?;
            let removed = app.store.disallow(id, actor(app, request, caller), now)?;
            if request.wants_page() {
                let done = match &removed {
                    None => "nothing",
                    Some(removed) if still_enters(app, removed)? => "still",
                    Some(_) => "removed",
                };
                return Ok(back(app, done));
            }
            return removed.map(|_| Response::empty(204)).ok_or(Error::NotFound);
        }
        if fields.first("note").is_some_and(|note| !note.is_string() && !note.is_null()) {
            return Err(Error::InvalidRequest("note must be a string"));
        }
        let wish = Wish::of(&fields);
        let added = wish.entry().map(|entry| {
            let note = Some(wish.note.trim().to_owned()).filter(|note| !note.is_empty());
            app.store.allow(entry, note, actor(app, request, caller), now)
        });
        match added {
            Ok(added) => {
                let (entry, is_new) = added?;
                if request.wants_page() {
                    let done = match app.store.obstacle(&entry)? {
                        Some(Obstacle::Blocked) => "blocked",
                        Some(Obstacle::NoAuthority(_)) => "no-authority",
                        None if !is_new => "there",
                        None if has_no_remote_user(app, &entry) => ADDED_BY_SUBJECT,
                        None => "added",
                    };
                    return Ok(back(app, done));
                }
                let status = if is_new { 201 } else { 200 };
                Ok(Response::json(status, &json!({"allowed": entry})))
            }
            Err(rejected) if request.wants_page() => {
                let notice = html! { p.notice role="alert" { (rejected.for_people(&wish)) } };
                list_page(app, request, 400, &notice, &wish)
            }
            Err(rejected) => Err(Error::InvalidRequest(rejected.why)),
        }
    })
}

/// Whether the user of a removed entry may enter without it. False if the entry was not bound to a
/// user.
fn still_enters(app: &App, removed: &AllowedEntry) -> Result<bool, Error> {
    let user = removed.subject.as_deref().map(|subject| app.store.user(subject)).transpose()?;
    let Some(account) = user.flatten() else { return Ok(false) };
    let profile = &account.user.profile;
    Ok(app.settings.policy.permits(profile) || app.store.entry_for(profile)?.is_some())
}

/// DELETE /auth/admin/allowed/ID.
///
/// # Errors
/// Those of [`for_admin`]; 404 if there is no such entry.
pub fn delete_allowed(app: &App, request: &Request, id: &str, now: i64) -> Result<Response, Error> {
    for_admin(app, request, now, |caller| {
        csrf::guard_admin(request, &app.settings)?;
        let id = id.parse().map_err(|_| Error::NotFound)?;
        let removed = app.store.disallow(id, actor(app, request, caller), now)?;
        removed.map(|_| Response::empty(204)).ok_or(Error::NotFound)
    })
}

/// Beside a refusal for lack of an entry: a button that lets the account in.
pub(super) fn let_in(app: &App, event: &EventRow, is_allowed: bool) -> Markup {
    let needs_entry = event.reason.as_deref().is_some_and(is_for_want_of_an_entry);
    let is_open = app.settings.policy == Policy::Anyone;
    let Some(subject) = event.subject.as_deref().filter(|_| needs_entry && !is_open) else {
        return Markup::default();
    };
    let name = event.email.as_deref().unwrap_or(subject);
    html! {
        @if is_allowed { p.small.quiet { "let in since" } }
        @else {
            form method="post" action=(ALLOWED_PATH) {
                input type="hidden" name="sub" value=(subject);
                button aria-label={ "Let in " (name) } { "Let in" }
            }
        }
    }
}

/// The entry that an admin wants to add, as it was sent.
#[derive(Default)]
struct Wish<'a> {
    email: &'a str,
    subject: &'a str,
    domain: &'a str,
    note: &'a str,
}

/// Why nothing was added.
struct Rejected {
    why: &'static str,
    advice: Option<String>,
}

impl<'a> Wish<'a> {
    fn of(fields: &'a Fields) -> Wish<'a> {
        Wish {
            email: body::text(fields, "email").trim(),
            subject: body::text(fields, "sub"),
            domain: body::text(fields, "domain").trim(),
            note: body::text(fields, "note"),
        }
    }

    fn entry(&self) -> Result<Entry, Rejected> {
        let rejected = |why| Rejected { why, advice: None };
        let entry = match (self.email, self.subject, self.domain) {
            (email, "", "") if !email.is_empty() => {
                Entry::account(email).ok_or_else(|| rejected(NO_ACCOUNT))
            }
            ("", subject, "") if !subject.is_empty() => {
                Entry::subject(subject).ok_or_else(|| rejected(NO_SUBJECT))
            }
            ("", "", domain) if !domain.is_empty() => {
                Entry::domain(domain).ok_or_else(|| rejected(NO_DOMAIN))
            }
            _ => Err(rejected(WHAT_TO_SEND)),
        }?;
        if self.note.chars().count() > NOTE_CHARACTERS_MAX {
            return Err(rejected(NOTE_TOO_LONG));
        }
        match entry.never_matches() {
            Some(never) => Err(Rejected { why: never.why, advice: Some(never.advice) }),
            None => Ok(entry),
        }
    }
}

impl Rejected {
    fn for_people(&self, wish: &Wish) -> Markup {
        let name = [wish.email, wish.subject, wish.domain].concat();
        let kind = if wish.domain.is_empty() { "an e-mail address or a sub" } else { "a domain" };
        html! {
            @match (&self.advice, self.why) {
                (Some(advice), why) => {
                    "Not added: " bdi { (name) } " would let in nobody, because " (why) ". Please " (advice) "."
                }
                (None, NOTE_TOO_LONG) => { "Not added: " (NOTE_TOO_LONG) "." }
                (None, _) if name.is_empty() => { "Not added: please enter " (kind) "." }
                (None, _) => {
                    "Not added: " bdi { (name) } " is not " (kind) "."
                    @if wish.domain.is_empty() && let Some(domain) = workspace_domain(&name) {
                        " To let in every account of " bdi { (domain) } ", use \u{201c}Let in a whole Google Workspace\u{201d}."
                    }
                }
            }
        }
    }
}

/// Whether apps may get an empty `Remote-User` for this person.
fn has_no_remote_user(app: &App, entry: &AllowedEntry) -> bool {
    let is_gmail =
        entry.account_email.as_deref().is_some_and(|email| is_authoritative(email, None, None));
    entry.email.is_none()
        && entry.subject.is_some()
        && !is_gmail
        && app.settings.remote_user == RemoteUser::Email
}

fn actor(app: &App, request: &Request, caller: &Authenticated) -> Actor {
    Actor::admin(account_name(&caller.user.profile), app.client(request))
}

fn back(app: &App, done: &str) -> Response {
    Response::see_other(app.settings.url_of(&format!("{ALLOWED_PATH}?done={done}")))
}

fn list_page(
    app: &App,
    request: &Request,
    status: u16,
    notice: &Markup,
    wish: &Wish,
) -> Result<Response, Error> {
    let from = request.query("from").next().map(|from| from.parse::<i64>()).transpose();
    let from = from.map_err(|_| Error::InvalidRequest("from must be an ID"))?;
    let mut entries = app.store.allowed_before(from, PAGE_ROWS + 1)?;
    let has_more = entries.len() > PAGE_ROWS as usize;
    entries.truncate(PAGE_ROWS as usize);
    let next = entries.last().filter(|_| has_more).map(|last| last.id);
    let content = html! {
        (notice)
        h1 { "Access" }
        (settings(app))
        (forms(wish))
        h2 { "On the list" }
        @if entries.is_empty() {
            p.quiet { @if from.is_some() { "There are no more entries." } @else { "The list is empty." } }
        }
        ul.rows { @for entry in &entries { (row(entry)) } }
        @if from.is_some() || next.is_some() {
            nav.actions aria-label="Pages" {
                @if from.is_some() { a.button href=(ALLOWED_PATH) { "First page" } }
                @if let Some(next) = next { a.button href={ (ALLOWED_PATH) "?from=" (next) } rel="next" { "Next page" } }
            }
        }
    };
    let mut response = admin_page(app, "Access", ALLOWED_PATH, &content);
    response.status = status;
    Ok(response)
}

/// The people whom the settings let in, whatever the list says.
fn settings(app: &App) -> Markup {
    let Policy::Listed(list) = &app.settings.policy else {
        return html! {
            p { "The server's settings let in every Google account, so this list changes nothing." }
        };
    };
    let domains = list.domains.iter().map(|domain| (Some("every account of "), domain));
    let accounts = list.emails.iter().chain(&list.subjects).map(|account| (None, account));
    html! {
        p { "People on this list may sign in. A change counts on the next request." }
        @if !list.is_empty() {
            details {
                summary { "Also let in by the server's settings" }
                ul {
                    @for (what, name) in domains.chain(accounts) {
                        li { (what.unwrap_or_default()) bdi { (name) } }
                    }
                }
            }
        }
    }
}

fn forms(wish: &Wish) -> Markup {
    let note = |id: &str, value: &str| {
        html! {
            label for=(id) { "Note, for admins only (optional)" }
            input id=(id) type="text" name="note" value=(value) maxlength=(NOTE_CHARACTERS_MAX) autocomplete="off";
        }
    };
    let is_domain = !wish.domain.is_empty();
    html! {
        form.fields method="post" action=(ALLOWED_PATH) {
            label for="email" { "E-mail address" }
            input #email type="text" name="email" value=(wish.email) inputmode="email" autocapitalize="none"
                autocomplete="off" spellcheck="false" required aria-describedby="which";
            p #which.small.quiet {
                "A gmail.com address as Google writes it, or an address of a Google Workspace. A sub works too."
            }
            (note("note", if is_domain { "" } else { wish.note }))
            button.primary { "Let in" }
        }
        details open[is_domain] {
            summary { "Let in a whole Google Workspace" }
            form.fields method="post" action=(ALLOWED_PATH) {
                label for="domain" { "Domain" }
                input #domain type="text" name="domain" value=(wish.domain) autocapitalize="none" autocomplete="off"
                    spellcheck="false" required placeholder="example.com";
                (note("domain-note", if is_domain { wish.note } else { "" }))
                button.primary { "Let in every account of this domain" }
            }
        }
    }
}

fn row(entry: &AllowedEntry) -> Markup {
    let is_account = entry.domain.is_none() && entry.email.is_none();
    let email = entry.account_email.as_deref();
    let name = email.filter(|_| is_account).unwrap_or(entry.name());
    let waits = entry.email.is_some() && entry.subject.is_none();
    let moved = email.filter(|email| !email.eq_ignore_ascii_case(name));
    html! {
        li {
            div {
                @match (&entry.subject, entry.is_user) {
                    (Some(subject), true) => a href=(user_path(subject)) { strong { bdi { (name) } } },
                    _ => strong { bdi { (name) } },
                }
                @if entry.domain.is_some() { " " span.badge { "Workspace" } }
                @if waits { " " span.small.quiet { "has not signed in yet" } }
                @if let Some(email) = moved { br; span.small.quiet { "now " bdi { (email) } } }
                @if let (Some(subject), true) = (&entry.subject, is_account) {
                    br; span.small.quiet { "sub " code { (subject) } }
                }
                br;
                span.small.quiet {
                    "since " (date(&EN, entry.created_at)) ", by "
                    @match &entry.created_by { Some(admin) => bdi { (admin) }, None => "the operator" }
                }
                @if let Some(note) = &entry.note { br; span.small { bdi { (note) } } }
            }
            form method="post" action=(ALLOWED_PATH) {
                button.danger name="remove" value=(entry.id) aria-label={ "Remove " (name) } { "Remove" }
            }
        }
    }
}
