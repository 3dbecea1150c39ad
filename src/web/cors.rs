//! Cross-origin calls: preflights, and which web origins may read our responses.

use super::csrf;
use super::error::Error;
use super::pages::ADMIN_PATH;
use super::settings::Settings;
use crate::http::{Request, Response};

/// Answers a preflight.
///
/// # Errors
/// 405 if it is not a preflight, 403 if that origin may not call.
pub fn preflight(request: &Request, settings: &Settings) -> Result<Response, Error> {
    let Some(origin) = request
        .header("Origin")
        .filter(|_| request.header("Access-Control-Request-Method").is_some())
    else {
        return Err(Error::MethodNotAllowed("GET, HEAD, POST, DELETE"));
    };
    if !csrf::is_ours(origin, settings) {
        return Err(Error::denied(csrf::FOREIGN));
    }
    Ok(Response::empty(204)
        .with("Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE")
        .with("Access-Control-Allow-Headers", "Authorization, Content-Type")
        .with("Access-Control-Max-Age", "600"))
}

/// Lets a page of one of the --allow-origin origins read the response. The admin pages are never
/// shared.
pub fn share(response: Response, request: &Request, settings: &Settings) -> Response {
    if settings.allowed_origins.is_empty() || request.path().starts_with(ADMIN_PATH) {
        return response;
    }
    let response = response.with("Vary", "Origin");
    match request.header("Origin") {
        Some(origin) if settings.allowed_origins.iter().any(|allowed| allowed == origin) => {
            response
                .with("Access-Control-Allow-Origin", origin.to_owned())
                .with("Access-Control-Allow-Credentials", "true")
                .with("Access-Control-Expose-Headers", "Retry-After, X-Request-Id")
        }
        _ => response,
    }
}
