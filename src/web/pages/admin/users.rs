//! The list of users, with a search.

use maud::html;
use url::form_urlencoded::Serializer;

use super::{USERS_PATH, admin_page, for_admin, person};
use crate::http::{Request, Response};
use crate::store::{UserCursor, UserSort};
use crate::web::app::App;
use crate::web::error::Error;
use crate::web::pages::time::ago;

/// Users per page.
const PAGE_ROWS: u32 = 50;
/// The rest of a longer search is ignored.
const SEARCH_CHARACTERS_MAX: usize = 200;

/// GET /auth/admin/users?q=SEARCH&from=CURSOR; the previous page links to the next one.
///
/// # Errors
/// Those of [`for_admin`]; 400 for a malformed `from`.
pub fn admin_users(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    for_admin(app, request, now, |_| {
        let search: String = request.query("q").next().unwrap_or_default();
        let search: String = search.trim().chars().take(SEARCH_CHARACTERS_MAX).collect();
        let from = request.query("from").next().map(|from| from.parse::<UserCursor>()).transpose();
        let from = from
            .map_err(|()| Error::InvalidRequest("from must be a value from the previous page"))?;
        // One more row shows whether there is another page.
        let mut accounts =
            app.store.list_users(&search, UserSort::Created, from.as_ref(), PAGE_ROWS + 1)?;
        let has_more = accounts.len() > PAGE_ROWS as usize;
        accounts.truncate(PAGE_ROWS as usize);
        let next = accounts.last().filter(|_| has_more).map(|last| UserCursor::after(&last.user));
        let address = |from: Option<&UserCursor>| {
            let mut query = Serializer::new(String::new());
            if !search.is_empty() {
                query.append_pair("q", &search);
            }
            if let Some(from) = from {
                query.append_pair("from", &from.to_string());
            }
            format!("{USERS_PATH}?{}", query.finish())
        };
        let content = html! {
            h1 { "Users" }
            form.search method="get" action=(USERS_PATH) role="search" {
                label for="q" { "Search by name, e-mail, user name or sub" }
                div {
                    input #q type="search" name="q" value=(search) maxlength=(SEARCH_CHARACTERS_MAX)
                        autocomplete="off" spellcheck="false" aria-describedby="how";
                    button.primary { "Search" }
                }
                p #how.small.quiet {
                    "Finds parts of names, e-mails, user names and subs. With several words, all must occur."
                }
            }
            @if accounts.is_empty() {
                p role="status" {
                    @if search.is_empty() { "Nobody has signed in yet." }
                    @else { "No user matches." }
                }
            } @else {
                p.small.quiet { "Newest users first" @if from.is_some() { ", continued" } "." }
            }
            ul.rows {
                @for account in &accounts {
                    @let user = &account.user;
                    li {
                        div {
                            (person(&user.profile))
                            @if user.blocked_at.is_some() { " " span.badge.danger { "blocked" } }
                            @if user.google_disabled_at.is_some() {
                                " " span.badge.danger { "disabled by Google" }
                            }
                            @if app.settings.admins.permits(&user.profile) { " " span.badge { "admin" } }
                        }
                        p.small.quiet {
                            @match user.last_signin_at {
                                Some(at) => { "last sign-in " (ago(at, now)) }
                                None => "never signed in"
                            }
                         }
                    }
                }
            }
            @if from.is_some() || next.is_some() {
                nav.actions aria-label="Pages" {
                    @if from.is_some() { a.button href=(address(None)) { "First page" } }
                    @if next.is_some() { a.button href=(address(next.as_ref())) rel="next" { "Next page" } }
                }
            }
        };
        Ok(admin_page(app, "Users", USERS_PATH, &content))
    })
}
