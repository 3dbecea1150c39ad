//! Tokens for programs on the account page and on a user's admin page.

use maud::{Markup, html};

use super::copy::copyable;
use super::languages::{Texts, fill};
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
pub fn token_rows(
    texts: &Texts,
    tokens: &[Session],
    end: impl Fn(&Session, &Markup) -> Markup,
) -> Markup {
    html! {
        ul.rows {
            @for token in tokens {
                @let name = token.name.as_deref().unwrap_or(texts.without_name);
                li {
                    div {
                        strong { bdi { (name) } }
                        br;
                        span.small.quiet {
                            (fill(texts.created, &[("date", &date(texts, token.created_at))])) " · "
                            @if token.last_seen_at > token.created_at {
                                (fill(texts.last_used, &[("time", &date_time(texts, token.last_seen_at))]))
                            } @else { (texts.not_used_yet) }
                            br;
                            (fill(texts.ends, &[("time", &date_time(texts, token.expires_at))]))
                        }
                    }
                    (end(token, &fill(texts.end_token, &[("name", &name), ("date", &date_text(texts, token.created_at))])))
                }
            }
        }
    }
}

/// The caller's tokens, and a form that creates one.
pub fn own_tokens(app: &App, texts: &Texts, tokens: &[Session]) -> Markup {
    let lifetime_max = app.settings.token_lifetime;
    let days: Vec<i64> =
        LIFETIMES.into_iter().filter(|days| days * DAY_SECONDS < lifetime_max).collect();
    let chosen = days.iter().find(|days| **days == USUAL_LIFETIME);
    html! {
        h2 #tokens { (texts.tokens) }
        p.quiet { (texts.tokens_explained) }
        @if !tokens.is_empty() {
            (token_rows(texts, tokens, |token, label| html! {
                form method="post" action=(ACCOUNT_PATH) {
                    button.danger name="end" value=(token.id) aria-label=(label) { (texts.end) }
                }
            }))
        }
        details.create {
            summary { (texts.create_a_token) }
            form.fields method="post" action=(ACCOUNT_PATH) {
                label for="token-name" { (texts.token_purpose) }
                input #token-name name="name" required maxlength=(TOKEN_NAME_CHARACTERS_MAX) autocomplete="off"
                    placeholder=(texts.token_purpose_example);
                label for="token-lifetime" { (texts.token_end) }
                select #token-lifetime name="lifetime" {
                    @for days in &days {
                        option value={ (days) "d" } selected[chosen == Some(days)] { (texts.counted(texts.after_days, days.unsigned_abs())) }
                    }
                    option value="" selected[chosen.is_none()] { (longest(texts, lifetime_max)) }
                }
                input type="hidden" name="id" value=(random_name());
                button.primary name="create" value="true" { (texts.create_the_token) }
            }
        }
    }
}

fn longest(texts: &Texts, seconds: i64) -> Markup {
    let (count, forms) = match seconds {
        _ if seconds % DAY_SECONDS == 0 => (seconds / DAY_SECONDS, texts.after_days),
        _ if seconds % 3600 == 0 => (seconds / 3600, texts.after_hours),
        _ => (seconds, texts.after_seconds),
    };
    fill(texts.longest_span, &[("span", &texts.counted(forms, count.unsigned_abs()))])
}

/// The page that shows a new token, once.
pub fn created_page(app: &App, texts: &Texts, token: &SessionToken, session: &Session) -> Response {
    let name = html! { strong { bdi { (session.name.as_deref().unwrap_or_default()) } } };
    let end = date_time(texts, session.expires_at);
    let content = html! {
        h1 { (texts.your_new_token) }
        p role="status" { (fill(texts.new_token_explained, &[("name", &name), ("time", &end)])) }
        div.token { (copyable(texts, texts.the_token, token.expose())) }
        p.quiet { (texts.token_use) }
        div.actions { a.button.primary href=(app.settings.url_of(ACCOUNT_PATH)) { (texts.your_account) } }
        script src="/auth/copy.js" {}
    };
    page(app, texts, 200, texts.your_new_token, Scripts::Own, &content)
}
