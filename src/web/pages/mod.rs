//! The pages: plain HTML and one small stylesheet. Our scripts are optional conveniences.

mod signin;
mod signout;
mod account;
mod tokens;
mod copy;
mod languages;
mod admin;
mod error;
mod device;
mod time;

use maud::{DOCTYPE, Markup, PreEscaped, html};

pub use account::{account, change_account};
pub use admin::{
    ADMIN_PATH, admin, admin_allowed, admin_user, admin_users, change_allowed, change_user,
    delete_allowed,
};
pub use error::error_response;
pub use signin::signin;
pub use signout::signout;

use languages::Texts;

use super::app::App;
use crate::http::Response;
use crate::web::error::Error;

/// How long browsers may cache stylesheet, scripts and logo.
const ASSET_CACHE: &str = "public, max-age=3600";

/// The scripts that a page may load.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scripts {
    None,
    /// Our own.
    Own,
    /// Our own and Google's button, as Google documents its Content Security Policy.
    Google,
}

/// A page with `content` in the common frame. Text in `content` is already escaped.
fn page(
    app: &App,
    texts: &Texts,
    status: u16,
    title: &str,
    scripts: Scripts,
    content: &Markup,
) -> Response {
    let name = &app.settings.site_name;
    let document = html! {
        (DOCTYPE)
        html lang=(texts.tag) dir=(texts.direction) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · " (name) }
                link rel="icon" href=(app.settings.url_of(icon_path(app)));
                link rel="stylesheet" href=(app.settings.url_of("/auth/style.css"));
            }
            body {
                @if app.demo.is_some() {
                    aside.demo {
                        strong { (texts.demo) } " " (texts.demo_note)
                    }
                }
                main {
                    header.site {
                        @if app.settings.site_logo.is_some() {
                            img src=(app.settings.url_of("/auth/logo")) alt="" height="40";
                        } @else { (mark()) }
                        bdi { (name) }
                    }
                    (content)
                }
            }
        }
    };
    Response::text(status, "text/html", document.into_string())
        .with("Content-Language", texts.tag)
        .with("Vary", "Accept-Language")
        .with("Content-Security-Policy", content_security_policy(app, scripts))
        .with("Cross-Origin-Opener-Policy", "same-origin-allow-popups")
        .with("Referrer-Policy", referrer_policy(app))
}

/// `form-action` also covers a form's redirect, so it lists every host that sign-in may lead back
/// to.
fn content_security_policy(app: &App, scripts: Scripts) -> String {
    let siblings = match &app.settings.cookie_domain {
        Some(domain) => {
            format!(
                " {scheme}://{domain} {scheme}://*.{domain}",
                scheme = app.settings.public_url.scheme()
            )
        }
        None => String::new(),
    };
    let (script, style, more) = match scripts {
        Scripts::None => ("'none'", "", ""),
        Scripts::Own => ("'self'", "", ""),
        Scripts::Google => (
            "'self' https://accounts.google.com/gsi/client",
            " https://accounts.google.com/gsi/style",
            " frame-src https://accounts.google.com/gsi/; connect-src https://accounts.google.com/gsi/;",
        ),
    };
    // A proxy shows our 403 page on an app's host, where 'self' means the app.
    let ours = app.settings.origin();
    format!(
        "default-src 'none'; script-src {script}; style-src {ours}{style}; \
         img-src {ours} https://*.googleusercontent.com;{more} form-action 'self'{siblings}; base-uri 'none'; \
         frame-ancestors 'none'"
    )
}

/// Google's button needs the page's origin, and over plain HTTP only the second policy sends it
/// (Google, "Set up").
fn referrer_policy(app: &App) -> &'static str {
    if app.settings.is_https() {
        "strict-origin-when-cross-origin"
    } else {
        "no-referrer-when-downgrade"
    }
}

/// Our logo: a pass with a hole punched in it.
fn mark() -> Markup {
    PreEscaped(
        "<svg aria-hidden=\"true\" width=\"28\" height=\"28\" viewBox=\"0 0 28 28\"><rect x=\"6\" y=\"2\" width=\"16\" \
         height=\"24\" rx=\"4\" fill=\"currentColor\"/><circle cx=\"14\" cy=\"7\" r=\"2\" class=\"hole\"/><path \
         d=\"m10 16 3 3 5-6\" class=\"tick\" fill=\"none\" stroke-width=\"2.4\" stroke-linecap=\"round\" \
         stroke-linejoin=\"round\"/></svg>"
            .to_owned(),
    )
}

/// GET /auth/style.css.
pub fn stylesheet() -> Response {
    Response::text(200, "text/css", include_str!("style.css").to_owned())
        .with("Cache-Control", ASSET_CACHE)
}

/// GET /auth/other-account.js: stops Google from selecting the same account again.
pub fn other_account_script() -> Response {
    Response::text(200, "text/javascript", include_str!("other-account.js").to_owned())
        .with("Cache-Control", ASSET_CACHE)
}

/// GET /auth/copy.js: the buttons that copy a text.
pub fn copy_script() -> Response {
    Response::text(200, "text/javascript", include_str!("copy.js").to_owned())
        .with("Cache-Control", ASSET_CACHE)
}

/// GET /auth/signin.js: keeps the #fragment of the return address.
pub fn signin_script() -> Response {
    Response::text(200, "text/javascript", include_str!("signin.js").to_owned())
        .with("Cache-Control", ASSET_CACHE)
}

/// GET /favicon.ico: our logo. Pages link to the operator's own instead, if there is one.
pub fn icon() -> Response {
    let mut response = Response::empty(200)
        .with("Content-Type", "image/x-icon")
        .with("Cache-Control", ASSET_CACHE);
    response.body = include_bytes!("favicon.ico").to_vec();
    response
}

fn icon_path(app: &App) -> &'static str {
    if app.settings.site_logo.is_some() { "/auth/logo" } else { "/favicon.ico" }
}

/// GET /auth/logo: the operator's logo.
///
/// # Errors
/// 404 if there is none.
pub fn logo(app: &App) -> Result<Response, Error> {
    let logo = app.settings.site_logo.as_ref().ok_or(Error::NotFound)?;
    let mut response = Response::empty(200)
        .with("Content-Type", logo.media_type)
        .with("Cache-Control", ASSET_CACHE)
        .with("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
    response.body.clone_from(&logo.picture);
    Ok(response)
}
