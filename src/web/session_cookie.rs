//! The session cookie. Its name and attributes follow from the public URL.

use super::settings::Settings;
use crate::token::SessionToken;

/// Browsers enforce the prefixes: `__Host-` forbids a Domain, `__Secure-` allows one (RFC 6265bis).
pub fn name(settings: &Settings) -> &'static str {
    match (settings.is_https(), &settings.cookie_domain) {
        (true, None) => "__Host-hallpass",
        (true, Some(_)) => "__Secure-hallpass",
        (false, _) => "hallpass",
    }
}

/// The `Set-Cookie` value for a session. The cookie lasts as long as the session may.
pub fn set(settings: &Settings, token: &SessionToken) -> String {
    format!(
        "{}={}; Max-Age={}{}",
        name(settings),
        token.expose(),
        settings.session_lifetime,
        attributes(settings)
    )
}

/// The `Set-Cookie` value that removes the cookie.
pub fn clear(settings: &Settings) -> String {
    format!("{}=; Max-Age=0{}", name(settings), attributes(settings))
}

fn attributes(settings: &Settings) -> String {
    let secure = if settings.is_https() { "; Secure" } else { "" };
    let domain = settings
        .cookie_domain
        .as_ref()
        .map(|domain| format!("; Domain={domain}"))
        .unwrap_or_default();
    format!("; Path=/; HttpOnly; SameSite=Lax{secure}{domain}")
}
