//! Forward auth: may this request pass, and who is it?

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use super::app::App;
use super::return_to;
use super::signin::account_name;
use crate::error::Error;
use crate::google::AllowList;
use crate::http::{Request, Response};
use crate::profile::Profile;

/// Bytes of an identity header that are percent-encoded: control characters and everything beyond ASCII, and the
/// percent sign itself, so that the value can be read back.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

const NOT_ON_THE_APPS_LIST: &str = "this account is not on the list of those who may use this app";

/// GET /auth/check, for nginx's auth_request and for APIs: 200, 401 or 403 and no redirect.
///
/// # Errors
/// 401 or 403; 503 only if the store cannot answer, or Google about an ID token never seen.
pub fn check(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    Ok(match pass(app, request, now) {
        Err(Error::Unauthenticated) if request.is_navigation() => app
            .refusal(request, &Error::Unauthenticated)
            .with("Location", signin_address(app, request)),
        other => other?,
    })
}

/// GET /auth/forward, for Caddy and Traefik, which hand our answer to the client: as [`check`], but a browser's
/// navigation is sent to the sign-in page.
///
/// # Errors
/// As [`check`].
pub fn forward(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    match pass(app, request, now) {
        Err(Error::Unauthenticated) if request.is_navigation() => {
            Ok(Response::empty(302).with("Location", signin_address(app, request)))
        }
        other => other,
    }
}

fn pass(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    let caller = app.authenticate(request, now).map_err(|error| match error {
        // Proxies know 2xx, 401 and 403; that we do not ask Google now says nothing about the token.
        Error::TooManyRequests { retry_after } => {
            Error::Unavailable { cause: "too many ID tokens from one address".into(), retry_after }
        }
        other => other,
    })?;
    if let Some(list) = app_list(request)
        && !list.permits(&caller.user.profile)
    {
        let account = Some(account_name(&caller.user.profile));
        return Err(Error::AccessDenied { reason: NOT_ON_THE_APPS_LIST, account });
    }
    Ok(identify(Response::empty(200), &caller.user.profile))
}

/// The list of the app behind the proxy, if the request names one. One that is there but empty lets nobody in.
fn app_list(request: &Request) -> Option<AllowList> {
    let values = |name| -> Option<Vec<String>> {
        let mut parameters = request.query(name).peekable();
        parameters.peek()?;
        let items = parameters.flat_map(|list| {
            list.split(',').map(|item| item.trim().to_owned()).collect::<Vec<_>>()
        });
        Some(items.filter(|item| !item.is_empty()).collect())
    };
    let (emails, domains) = (values("allowed_emails"), values("allowed_domains"));
    if emails.is_none() && domains.is_none() {
        return None;
    }
    Some(AllowList { emails: emails.unwrap_or_default(), domains: domains.unwrap_or_default() })
}

/// Every identity header, always: one that we left out would let the client's own copy through.
fn identify(response: Response, profile: &Profile) -> Response {
    let header = |value: Option<&str>| match value {
        Some(value) => Cow::from(percent_encode(value.as_bytes(), ENCODED)).into_owned(),
        None => String::new(),
    };
    let (email, name) = (header(profile.authoritative_email()), header(profile.name.as_deref()));
    response
        .with("X-Auth-Request-User", header(Some(&profile.subject)))
        .with("X-Auth-Request-Email", email.clone())
        .with("X-Auth-Request-Preferred-Username", name.clone())
        .with("Remote-User", email.clone())
        .with("Remote-Email", email.clone())
        .with("Remote-Name", name)
        .with("X-Forwarded-User", email)
}

/// The absolute address of the sign-in page, with the way back to where the person was going.
fn signin_address(app: &App, request: &Request) -> String {
    let address = app.settings.url_of("/auth/signin");
    match return_to::forwarded(request, &app.settings) {
        Some(place) => {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("rd", &place)
                .finish();
            format!("{address}?{query}")
        }
        None => address,
    }
}
