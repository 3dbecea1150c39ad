//! The sign-in page: Google's button in redirect mode, or the demo's people.

use std::sync::Once;

use maud::{Markup, html};
use url::Url;

use super::copy::{copy_button, copyable};
use super::languages::{Texts, accepted, fill};
use super::{Scripts, page};
use crate::google::demo::{DemoGoogle, PEOPLE, Person};
use crate::http::{Request, Response};
use crate::token::random_text;
use crate::web::app::{App, loggable};
use crate::web::error::Error;
use crate::web::sessions::SIGNED_OUT;
use crate::web::signin::{ACCOUNT_PATH, account_name};
use crate::web::{cookies, return_to};

const GOOGLE_SCRIPT: &str = "https://accounts.google.com/gsi/client";

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
    let texts = accepted(request);
    let site = match destination.as_ref().and_then(Url::host_str) {
        Some(host) => html! { strong { bdi { (host) } } },
        None => html! { bdi { (app.settings.site_name) } },
    };
    let content = html! {
        @if signed_out { p.notice role="status" { (texts.signed_out) } }
        h1 { (texts.sign_in) }
        p.quiet { (fill(texts.to_continue, &[("site", &site)])) }
        @if let Some(caller) = signed_in.first() && !other_account {
            @let account = html! { strong { bdi { (account_name(&caller.user.profile)) } } };
            p { (fill(texts.signed_in_as, &[("account", &account)])) }
            div.actions {
                a.button.primary.return href=(return_address.as_deref().unwrap_or(ACCOUNT_PATH)) { (texts.continue_button) }
            }
            h2 { (texts.use_another_account) }
        }
    };
    match &app.demo {
        Some(demo) => {
            Ok(demo_page(app, texts, demo, request, &content, return_address.as_deref(), now))
        }
        None => {
            // This is only a hint, so it is left out if the store cannot answer.
            let domains = app.store.allowed_domains_alone().ok().flatten();
            let domain = app.settings.policy.hosted_domain_hint(domains.as_deref());
            let button =
                google_button(app, texts, return_address.as_deref(), other_account, domain);
            let content = html! { (content) (button) };
            Ok(page(app, texts, 200, texts.sign_in, Scripts::Google, &content))
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
    texts: &Texts,
    return_address: Option<&str>,
    other_account: bool,
    hosted_domain: Option<&str>,
) -> Markup {
    // Google's script reads the language from its own address, and its button from the attribute.
    let script = match texts.google_locale {
        Some(locale) => format!("{GOOGLE_SCRIPT}?hl={locale}"),
        None => GOOGLE_SCRIPT.to_owned(),
    };
    let site = html! { bdi { (app.settings.site_name) } };
    let host = html! { strong { bdi { "accounts.google.com" } } };
    let reload = html! { a href="" { (texts.reload) } };
    html! {
        div #g_id_onload data-client_id=(app.settings.client_ids[0])
            data-login_uri=(app.settings.url_of("/auth/signin")) data-ux_mode="redirect" data-auto_prompt="false"
            data-hd=[hosted_domain] {}
        div.google {
            div.g_id_signin data-type="standard" data-size="large" data-theme="outline" data-text="signin_with"
                data-shape="rectangular" data-logo_alignment="left" data-locale=[texts.google_locale] data-state=[return_address] {}
            p.no-button { (fill(texts.no_google_button, &[("host", &host), ("reload", &reload)])) }
        }
        noscript {
            p { (fill(texts.needs_javascript, &[("host", &host)])) }
        }
        p.quiet.small { (fill(texts.google_tells, &[("site", &site)])) }
        @if other_account { script src="/auth/other-account.js" {} }
        script src="/auth/signin.js" {}
        script src=(script) async {}
    }
}

/// The forms of the invented people send the same post as Google's button, with the same CSRF
/// protection.
fn demo_page(
    app: &App,
    texts: &Texts,
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
        p { (texts.demo_choose) }
        div.people {
            @for person in &PEOPLE {
                form method="post" action="/auth/signin" {
                    input type="hidden" name="credential" value=(demo.issue(person, now).expose());
                    input type="hidden" name="g_csrf_token" value=(csrf_token);
                    @if let Some(place) = return_address { input type="hidden" name="state" value=(place); }
                    button {
                        span {
                            bdi { (person.given_name) " " (person.family_name) }
                            @if is_admin(person) { " " span.badge { (texts.demo_admin) } }
                        }
                        bdi.quiet { (person.email) }
                    }
                }
            }
        }
        h2 { (texts.demo_shell) }
        p.quiet.small {
            (fill(texts.demo_send, &[("name", &PEOPLE[0].given_name)])) " "
            (copy_button(texts, texts.copy_the_token, token.expose()))
        }
        (copyable(texts, texts.curl_sign_in, &format!("curl -d id_token={} {signin}", token.expose())))
        p.quiet.small { (texts.demo_present) }
        (copyable(texts, texts.curl_me, &format!("curl -H 'Authorization: Bearer {}' {me}", token.expose())))
        script src="/auth/signin.js" {}
        script src="/auth/copy.js" {}
    };
    page(app, texts, 200, texts.sign_in, Scripts::Own, &content)
        .with("Set-Cookie", format!("g_csrf_token={csrf_token}; Path=/; SameSite=Lax"))
}
