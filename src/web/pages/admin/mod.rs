//! The admin pages: activity, users, and who may enter. Plain forms, no scripts.

mod overview;
mod chart;
mod google;
mod users;
mod user;
mod allowed;

use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded::Serializer;

pub use allowed::{admin_allowed, change_allowed, delete_allowed};
pub use overview::admin;
pub use user::{admin_user, change_user};
pub use users::admin_users;

use super::languages::EN;
use super::{Scripts, page};
use crate::http::{Request, Response};
use crate::profile::Profile;
use crate::store::Authenticated;
use crate::web::app::App;
use crate::web::error::Error;
use crate::web::signin::ACCOUNT_PATH;

/// The admin's first page. All others are below it.
pub const ADMIN_PATH: &str = "/auth/admin";
/// The path of a user's page, without the `sub`.
pub const ADMIN_USER_PATH: &str = "/auth/admin/users/";
pub const USERS_PATH: &str = "/auth/admin/users";
/// The path of the list of who may enter.
pub const ALLOWED_PATH: &str = "/auth/admin/allowed";

pub const NO_ADMIN: &str = "this account is not one of the admins (--admin-email)";

/// Calls `answer` if the caller is an admin. A browser without a session is sent to the sign-in
/// page and comes back.
///
/// # Errors
/// 404 if no admins are configured, 401 for a program, 403 for another user, 503.
fn for_admin(
    app: &App,
    request: &Request,
    now: i64,
    answer: impl FnOnce(&Authenticated) -> Result<Response, Error>,
) -> Result<Response, Error> {
    if app.settings.admins.is_empty() {
        return Err(Error::NotFound);
    }
    match app.authenticate(request, now) {
        Err(Error::Unauthenticated { .. }) if request.wants_page() => {
            let here = if request.method == "POST" { request.path() } else { &request.target };
            let query = Serializer::new(String::new()).append_pair("rd", here).finish();
            Ok(Response::see_other(app.settings.url_of(&format!("/auth/signin?{query}"))))
        }
        Ok(caller) if !app.settings.admins.permits(&caller.user.profile) => {
            Err(Error::denied_in_session(&caller, NO_ADMIN))
        }
        caller => answer(&caller?),
    }
}

/// An admin page; `here` is its entry in the navigation.
fn admin_page(app: &App, title: &str, here: &str, content: &Markup) -> Response {
    let places = [
        (ADMIN_PATH, "Overview"),
        (USERS_PATH, "Users"),
        (ALLOWED_PATH, "Access"),
        (ACCOUNT_PATH, "Your account"),
    ];
    let content = html! {
        div.admin {
            nav.places aria-label="Admin" {
                @for (path, name) in places {
                    a href=(path) aria-current=[(path == here).then_some("page")] { (name) }
                }
            }
            (content)
            p.small.quiet.foot { "All times and days are UTC." }
        }
    };
    page(app, &EN, 200, title, Scripts::None, &content)
}

fn user_path(subject: &str) -> String {
    format!("{ADMIN_USER_PATH}{}", utf8_percent_encode(subject, NON_ALPHANUMERIC))
}

/// A user's name, linked to their page, and e-mail.
fn person(profile: &Profile) -> Markup {
    html! {
        a href=(user_path(&profile.subject)) { strong { bdi { (profile.display_name()) } } }
        @if let (Some(_), Some(email)) = (&profile.name, &profile.email) { br; bdi.small.quiet { (email) } }
    }
}

/// A number with separators: 1,234,567.
fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with its noun: "1 refusal", "1,234 refusals".
fn counted(count: u64, one: &str) -> String {
    format!("{} {one}{}", number(count), if count == 1 { "" } else { "s" })
}
