//! Tokens for programs on the account page and on a user's admin page.

use maud::{Markup, html};

use super::copy::copyable;
use super::time::{date, date_text, date_time};
use super::{Scripts, page};
use crate::http::Response;
use crate::store::Session;
use crate::token::{SessionToken, TOKEN_NAME_CHARACTERS_MAX, random_name};
use crate::web::app::App;
use crate::web::signin::ACCOUNT_PATH;

const DAY_SECONDS: i64 = 24 * 60 * 60;
/// Lifetimes to choose from, in days, if they are shorter than the longest allowed.
const LIFETIMES: [i64; 4] = [7, 30, 90, 365];
/// The lifetime that is chosen at first, in days, if it is allowed.
const USUAL_LIFETIME: i64 = 90;

/// The tokens, each with the form that `end` makes, which ends it.
pub fn token_rows(tokens: &[Session], end: impl Fn(&Session, &str) -> Markup) -> Markup {
    html! {
        ul.rows {
            @for token in tokens {
                @let name = token.name.as_deref().unwrap_or("without a name");
                li {
                    div {
                        strong { bdi { (name) } }
                        br;
                        span.small.quiet {
                            "created " (date(token.created_at)) ", "
                            @if token.last_seen_at > token.created_at { "last used " (date_time(token.last_seen_at)) }
                            @else { "not used yet" }
                            br;
                            "ends " (date_time(token.expires_at))
                        }
                    }
                    (end(token, &format!("End the token {name}, created {}", date_text(token.created_at))))
                }
            }
        }
    }
}

/// The caller's tokens, and a form that creates one.
pub fn own_tokens(app: &App, tokens: &[Session]) -> Markup {
    let lifetime_max = app.settings.token_lifetime;
    let days: Vec<i64> =
        LIFETIMES.into_iter().filter(|days| days * DAY_SECONDS < lifetime_max).collect();
    let chosen = days.iter().find(|days| **days == USUAL_LIFETIME);
    html! {
        h2 #tokens { "Tokens for programs" }
        p.quiet {
            "A backup script or a calendar cannot sign in with Google. With a token it acts as you wherever you may "
            "go, but it cannot open this page."
        }
        @if !tokens.is_empty() {
            (token_rows(tokens, |token, label| html! {
                form method="post" action=(ACCOUNT_PATH) {
                    button.danger name="end" value=(token.id) aria-label=(label) { "End" }
                }
            }))
        }
        details.create {
            summary { "Create a token" }
            form.fields method="post" action=(ACCOUNT_PATH) {
                label for="token-name" { "What is it for?" }
                input #token-name name="name" required maxlength=(TOKEN_NAME_CHARACTERS_MAX) autocomplete="off"
                    placeholder="Backup";
                label for="token-lifetime" { "When does it end?" }
                select #token-lifetime name="lifetime" {
                    @for days in &days {
                        option value={ (days) "d" } selected[chosen == Some(days)] { "after " (days) " days" }
                    }
                    option value="" selected[chosen.is_none()] { (longest(lifetime_max)) }
                }
                input type="hidden" name="id" value=(random_name());
                button.primary name="create" value="true" { "Create the token" }
            }
        }
    }
}

fn longest(seconds: i64) -> String {
    let (count, unit) = match seconds {
        _ if seconds % DAY_SECONDS == 0 => (seconds / DAY_SECONDS, "day"),
        _ if seconds % 3600 == 0 => (seconds / 3600, "hour"),
        _ => (seconds, "second"),
    };
    format!("after {count} {unit}{}, the longest", if count == 1 { "" } else { "s" })
}

/// The page that shows a new token, once.
pub fn created_page(app: &App, token: &SessionToken, session: &Session) -> Response {
    let name = session.name.as_deref().unwrap_or_default();
    let content = html! {
        h1 { "Your new token" }
        p role="status" {
            "This is the token for " strong { bdi { (name) } } ". Copy it now, because it is not shown again. It ends "
            (date_time(session.expires_at)) "."
        }
        div.token { (copyable("The token", token.expose())) }
        p.quiet {
            "The program sends it as a bearer token, or as its password together with any user name. Anybody who has the "
            "token can act as you, so keep it secret, like a password."
        }
        div.actions { a.button.primary href=(app.settings.url_of(ACCOUNT_PATH)) { "Your account" } }
        script src="/auth/copy.js" {}
    };
    page(app, 200, "Your new token", Scripts::Own, &content)
}
