//! Which web pages may make a browser change something here. Browsers fill in `Origin` and
//! `Sec-Fetch-Site` truthfully, and pages cannot set them (Fetch Metadata).

use super::error::Error;
use super::settings::Settings;
use crate::http::Request;

pub const FOREIGN: &str =
    "the request comes from another web origin; see --public-url and --allow-origin";
/// The origin of Google's redirect post.
const GOOGLE: &str = "https://accounts.google.com";

/// Allows a request that changes something unless a page of a foreign origin sent it. Clients
/// other than browsers send neither header and pass.
///
/// # Errors
/// 403 for a foreign page.
pub fn guard(request: &Request, settings: &Settings) -> Result<(), Error> {
    let mut origins = request.headers_named("Origin").peekable();
    let allowed = match origins.peek() {
        None => request.header("Sec-Fetch-Site") != Some("cross-site"),
        Some(_) => origins.all(|origin| is_ours(origin, settings) || is_own_null(origin, request)),
    };
    allow_if(allowed)
}

/// Like [`guard`], but only our own origin passes: the admin pages are closed to --allow-origin.
///
/// # Errors
/// 403 for a page of any other origin.
pub fn guard_admin(request: &Request, settings: &Settings) -> Result<(), Error> {
    guard(request, settings)?;
    let own = settings.origin();
    allow_if(
        request.headers_named("Origin").all(|origin| origin == own || is_own_null(origin, request)),
    )
}

/// Allows Google's redirect post, which `g_csrf_token` also protects: from Google, from us, or with
/// a hidden origin that is not a sibling host's.
///
/// # Errors
/// 403 for any other page.
pub fn guard_redirect_post(request: &Request, settings: &Settings) -> Result<(), Error> {
    let mut origins = request.headers_named("Origin");
    // A page on a sibling host can hide its origin and set the cookie.
    let hidden_sibling = request.header("Sec-Fetch-Site") == Some("same-site")
        && origins.clone().all(|origin| origin == "null");
    let known =
        origins.all(|origin| origin == GOOGLE || origin == "null" || is_ours(origin, settings));
    allow_if(known && !hidden_sibling)
}

/// Whether it is the public URL's own origin or one of --allow-origin.
pub fn is_ours(origin: &str, settings: &Settings) -> bool {
    origin == settings.origin() || settings.allowed_origins.iter().any(|allowed| allowed == origin)
}

/// One of our pages under `Referrer-Policy: no-referrer`, whose origin browsers hide.
fn is_own_null(origin: &str, request: &Request) -> bool {
    origin == "null" && request.header("Sec-Fetch-Site") == Some("same-origin")
}

fn allow_if(allowed: bool) -> Result<(), Error> {
    if allowed { Ok(()) } else { Err(Error::denied(FOREIGN)) }
}
