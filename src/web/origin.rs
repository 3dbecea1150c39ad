//! Which web pages may make a browser change something here, and read our answers.

use super::error::Error;
use super::pages::ADMIN_PATH;
use crate::config::Settings;
use crate::http::{Request, Response};

const FOREIGN: &str =
    "the request comes from another web origin; see --public-url and --allow-origin";
/// Where Google's own redirect post comes from.
const GOOGLE: &str = "https://accounts.google.com";

/// Lets a request pass that changes something: no browser sends it, or a page that may.
///
/// # Errors
/// 403 for any other page. Browsers tell the truth in both headers and pages cannot set them (Fetch Metadata).
pub fn guard(request: &Request, settings: &Settings) -> Result<(), Error> {
    let mut origins = request.headers_named("Origin").peekable();
    if origins.peek().is_none() {
        let cross_site = request.header("Sec-Fetch-Site") == Some("cross-site");
        return if cross_site { Err(Error::denied(FOREIGN)) } else { Ok(()) };
    }
    if origins.all(|origin| is_ours(origin, settings) || is_own_null(origin, request)) {
        Ok(())
    } else {
        Err(Error::denied(FOREIGN))
    }
}

/// Lets a request of an admin's pass: as [`guard`], but other origins may not even if they may call.
///
/// # Errors
/// 403 for a page that is not of our own origin.
pub fn guard_admin(request: &Request, settings: &Settings) -> Result<(), Error> {
    guard(request, settings)?;
    let own = settings.origin();
    let is_own = |origin: &str| origin == own || is_own_null(origin, request);
    if request.headers_named("Origin").all(is_own) { Ok(()) } else { Err(Error::denied(FOREIGN)) }
}

/// Lets Google's redirect post pass, which `g_csrf_token` guards besides: from Google, from us, or of an unknown origin
/// that is not on a sibling host.
///
/// # Errors
/// 403 for any other page.
pub fn guard_redirect_post(request: &Request, settings: &Settings) -> Result<(), Error> {
    let known = |origin: &str| origin == GOOGLE || origin == "null" || is_ours(origin, settings);
    let mut origins = request.headers_named("Origin");
    // A page on a sibling host can hide its origin and set the cookie.
    let hidden_sibling = request.header("Sec-Fetch-Site") == Some("same-site")
        && origins.clone().all(|origin| origin == "null");
    if origins.all(known) && !hidden_sibling { Ok(()) } else { Err(Error::denied(FOREIGN)) }
}

/// Answers a preflight.
///
/// # Errors
/// 405 if it is none, 403 if that origin may not call.
pub fn preflight(request: &Request, settings: &Settings) -> Result<Response, Error> {
    let Some(origin) = request
        .header("Origin")
        .filter(|_| request.header("Access-Control-Request-Method").is_some())
    else {
        return Err(Error::MethodNotAllowed("GET, HEAD, POST, DELETE"));
    };
    if !is_ours(origin, settings) {
        return Err(Error::denied(FOREIGN));
    }
    Ok(Response::empty(204)
        .with("Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE")
        .with("Access-Control-Allow-Headers", "Authorization, Content-Type")
        .with("Access-Control-Max-Age", "600"))
}

/// Lets the page that asked read the answer, if it is one of --allow-origin. What admins see, no other origin reads.
pub fn share(response: Response, request: &Request, settings: &Settings) -> Response {
    if settings.allowed_origins.is_empty() || request.path().starts_with(ADMIN_PATH) {
        return response;
    }
    let response = response.with("Vary", "Origin");
    match request.header("Origin") {
        Some(origin) if settings.allowed_origins.iter().any(|allowed| allowed == origin) => {
            response
                .with("Access-Control-Allow-Origin", origin)
                .with("Access-Control-Allow-Credentials", "true")
                .with("Access-Control-Expose-Headers", "Retry-After, X-Request-Id")
        }
        _ => response,
    }
}

/// A page of ours under `Referrer-Policy: no-referrer`, whose origin browsers hide. No page can set Sec-Fetch-Site.
fn is_own_null(origin: &str, request: &Request) -> bool {
    origin == "null" && request.header("Sec-Fetch-Site") == Some("same-origin")
}

fn is_ours(origin: &str, settings: &Settings) -> bool {
    origin == settings.origin() || settings.allowed_origins.iter().any(|allowed| allowed == origin)
}
