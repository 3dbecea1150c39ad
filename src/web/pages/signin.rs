//! The sign-in page: Google's button in redirect mode, or the demo's people.

use std::sync::Once;

use maud::{Markup, html};
use url::Url;

use super::copy::{copy_button, copyable};
use super::{Scripts, page};
use crate::google::demo::{DemoGoogle, PEOPLE, Person};
use crate::http::{Request, Response};
use crate::token::random_text;
use crate::web::app::{App, loggable};
use crate::web::error::Error;
use crate::web::sessions::SIGNED_OUT;
use crate::web::signin::{ACCOUNT_PATH, account_name};
use crate::web::{cookies, return_to};

/// GET /auth/signin?rd=URL. Somebody who is already signed in is told so, not redirected, because
/// that could loop.
///
/// # Errors
/// None: with an unacceptable `rd`, sign-in leads to the account page.
pub fn signin(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    warn_of_another_host(app, request);
    let return_address = return_to::requested(request, &app.settings);
    let signed_in = app.live_sessions(request, now).unwrap_or_default();
    let signed_out =
        signed_in.is_empty() && request.query(SIGNED_OUT.0).any(|done| done == SIGNED_OUT.1);
    let other_account = request.query("prompt").any(|prompt| prompt == "select_account");
    let destination = return_address
        .as_deref()
        .and_then(|place| Url::parse(place).ok())
        .filter(|url| url.has_host());
    let content = html! {
        @if signed_out { p.notice role="status" { "You are signed out." } }
        h1 { "Sign in" }
        @match destination.as_ref().and_then(Url::host_str) {
            Some(host) => p.quiet { "to continue to " strong { (host) } },
            None => p.quiet { "to continue to " bdi { (app.settings.site_name) } },
        }
        @if let Some(caller) = signed_in.first() && !other_account {
            p { "You are signed in as " strong { bdi { (account_name(&caller.user.profile)) } } "." }
            div.actions {
                a.button.primary.return href=(return_address.as_deref().unwrap_or(ACCOUNT_PATH)) { "Continue" }
            }
            h2 { "Use another account" }
        }
    };
    match &app.demo {
        Some(demo) => Ok(demo_page(app, demo, request, &content, return_address.as_deref(), now)),
        None => {
            // This is only a hint, so it is left out if the store cannot answer.
            let domains = app.store.allowed_domains_alone().ok().flatten();
            let domain = app.settings.policy.hosted_domain_hint(domains.as_deref());
            let button = google_button(app, return_address.as_deref(), other_account, domain);
            let content = html! { (content) (button) };
            Ok(page(app, 200, "Sign in", Scripts::Google, &content))
        }
    }
}

/// Warns once if a trusted proxy serves this page under another host than the public URL's. Google
/// sends people back to the public URL, so a session made there does not count here.
fn warn_of_another_host(app: &App, request: &Request) {
    static WARNED: Once = Once::new();
    let public_host = app.settings.public_url.host_str();
    let is_trusted = app.settings.trusted_proxies.trusts(request.peer);
    let forwarded = request.header("X-Forwarded-Host").filter(|_| is_trusted);
    let url = forwarded.and_then(|host| Url::parse(&format!("http://{host}")).ok());
    if let Some(host) = url.as_ref().and_then(Url::host_str)
        && Some(host) != public_host
    {
        WARNED.call_once(|| {
            let (host, public_url) = (loggable(host), app.settings.origin());
            log::warn!(
                "a proxy serves the sign-in page as {host}, but --public-url is {public_url}; one of them is wrong"
            );
        });
    }
}

/// Google's script renders the button, which posts to `login_uri`. That URL must be registered with
/// Google exactly as written here. Our script must change `data-state` before Google's reads it.
fn google_button(
    app: &App,
    return_address: Option<&str>,
    other_account: bool,
    hosted_domain: Option<&str>,
) -> Markup {
    html! {
        div #g_id_onload data-client_id=(app.settings.client_ids[0])
            data-login_uri=(app.settings.url_of("/auth/signin")) data-ux_mode="redirect" data-auto_prompt="false"
            data-hd=[hosted_domain] {}
        div.google {
            div.g_id_signin data-type="standard" data-size="large" data-theme="outline" data-text="signin_with"
                data-shape="rectangular" data-logo_alignment="left" data-state=[return_address] {}
            p.no-button {
                "Google's sign-in button has not appeared: your browser could not load it from "
                strong { "accounts.google.com" } ". A content blocker, a DNS filter such as Pi-hole or a missing "
                "internet connection can be the cause. Allow that address for this page, then "
                a href="" { "reload it" } "."
            }
        }
        noscript {
            p { "Google's sign-in button needs JavaScript. Please allow it for this page and for accounts.google.com." }
        }
        p.quiet.small { "Google tells " bdi { (app.settings.site_name) } " your name, e-mail address and picture." }
        @if other_account { script src="/auth/other-account.js" {} }
        script src="/auth/signin.js" {}
        script src="https://accounts.google.com/gsi/client" async {}
    }
}

/// The forms of the invented people send the same post as Google's button, with the same CSRF
/// protection.
fn demo_page(
    app: &App,
    demo: &DemoGoogle,
    request: &Request,
    content: &Markup,
    return_address: Option<&str>,
    now: i64,
) -> Response {
    let known = cookies::g_csrf_tokens(request).into_iter().next();
    let csrf_token = known.unwrap_or_else(random_text::<16>);
    let (signin, me) = (app.settings.url_of("/auth/signin"), app.settings.url_of("/auth/me"));
    let is_admin = |person: &Person| {
        let admins = &app.settings.admins;
        admins.emails.iter().any(|admin| admin.eq_ignore_ascii_case(person.email))
            || admins.subjects.iter().any(|admin| admin == person.subject)
    };
    let token = demo.issue(&PEOPLE[0], now);
    let content = html! {
        (content)
        p { "Choose who you want to be. An admin sees the admin page; the last one is not on the list and shows a refusal." }
        div.people {
            @for person in &PEOPLE {
                form method="post" action="/auth/signin" {
                    input type="hidden" name="credential" value=(demo.issue(person, now).expose());
                    input type="hidden" name="g_csrf_token" value=(csrf_token);
                    @if let Some(place) = return_address { input type="hidden" name="state" value=(place); }
                    button {
                        span {
                            bdi { (person.given_name) " " (person.family_name) }
                            @if is_admin(person) { " " span.badge { "admin" } }
                        }
                        bdi.quiet { (person.email) }
                    }
                }
            }
        }
        h2 { "The same from a shell" }
        p.quiet.small {
            "Send a token, get a session. This token is " (PEOPLE[0].given_name) "'s and lives for an hour. "
            (copy_button("Copy the token", token.expose()))
        }
        (copyable("Signing in with curl", &format!("curl -d id_token={} {signin}", token.expose())))
        p.quiet.small { "Or present the token itself:" }
        (copyable("Asking who it is with curl", &format!("curl -H 'Authorization: Bearer {}' {me}", token.expose())))
        script src="/auth/signin.js" {}
        script src="/auth/copy.js" {}
    };
    page(app, 200, "Sign in", Scripts::Own, &content)
        .with("Set-Cookie", format!("g_csrf_token={csrf_token}; Path=/; SameSite=Lax"))
}
