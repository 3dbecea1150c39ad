//! Creates and lists the caller's tokens for programs.

use std::time::Duration;

use serde::Serialize;

use super::app::App;
use super::error::Error;
use super::{body, csrf};
use crate::http::{Request, Response};
use crate::json::Fields;
use crate::store::{
    Actor, Authenticated, NewToken, Session, SessionKind, TOKENS_PER_USER_MAX, TokenRefusal,
};
use crate::token::{SessionToken, TokenName, is_random_name, random_name};

const TURNED_OFF: &str = "tokens for programs are turned off here (--token-lifetime 0)";
const ONLY_WITH_A_SESSION: &str =
    "only a session can create a token; sign in at Hallpass and send that session";
pub const BAD_NAME: &str = "name must be a text of 1 to 100 characters without control characters";
const BAD_LIFETIME: &str = "lifetime must be a duration such as 12h or 90d";
const TOO_LONG: &str = "the lifetime is longer than this server allows (--token-lifetime); 1y is 365.25 days, so write 365d";
pub const EXISTS: &str =
    "this token was already created, and it is not shown again; create another if you need one";
const BAD_ID: &str = "id must be one from the form of the account page";
pub const TOO_MANY: &str = "you have 100 tokens already; end one first";

#[derive(Serialize)]
struct Created<'a> {
    token: Document<'a>,
}

#[derive(Serialize)]
struct Listed<'a> {
    tokens: Vec<Document<'a>>,
}

/// A token as GET /auth/tokens and its creation show it.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    id: &'a str,
    name: Option<&'a str>,
    created_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_at: Option<i64>,
    expires_at: i64,
}

/// POST /auth/tokens with `name` and `lifetime`: a new token, which is shown this once.
///
/// # Errors
/// 400, 401, 403, 415 or 503.
pub fn post(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    csrf::guard(request, &app.settings)?;
    let caller = app.authenticate(request, now)?;
    let (token, session) =
        create(app, request, &caller, random_name(), &body::fields(request)?, now)?;
    let token = Document {
        token: Some(token.expose()),
        id: &session.id,
        name: session.name.as_deref(),
        created_at: session.created_at,
        last_seen_at: None,
        expires_at: session.expires_at,
    };
    Ok(Response::json(201, &Created { token }))
}

/// GET /auth/tokens: the caller's live tokens, the newest first.
///
/// # Errors
/// 401, 403 or 503.
pub fn list(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    let caller = app.authenticate(request, now)?;
    let tokens = app.store.tokens_of(&caller.user.profile.subject, now)?;
    let tokens = tokens
        .iter()
        .map(|token| Document {
            token: None,
            id: &token.id,
            name: token.name.as_deref(),
            created_at: token.created_at,
            last_seen_at: Some(token.last_seen_at),
            expires_at: token.expires_at,
        })
        .collect();
    Ok(Response::json(200, &Listed { tokens }))
}

/// The `id` of the account page's form. The form cannot create two tokens, even if the browser
/// sends it again because the page with the new token is reloaded.
///
/// # Errors
/// 400 if it does not look like an ID.
pub fn form_id(fields: &Fields) -> Result<String, Error> {
    let id = body::text(fields, "id");
    if is_random_name(id) { Ok(id.to_owned()) } else { Err(Error::InvalidRequest(BAD_ID)) }
}

/// Creates a token with this new ID for the caller, as the fields say.
///
/// # Errors
/// 400, 401, 403 or 503.
pub fn create(
    app: &App,
    request: &Request,
    caller: &Authenticated,
    id: String,
    fields: &Fields,
    now: i64,
) -> Result<(SessionToken, Session), Error> {
    let lifetime_max = app.settings.token_lifetime;
    if lifetime_max == 0 {
        return Err(Error::denied(TURNED_OFF));
    }
    if caller.session.kind != SessionKind::Session {
        return Err(Error::denied(ONLY_WITH_A_SESSION));
    }
    let name = fields.first("name").and_then(|name| TokenName::parse(name.as_str()?));
    let name = name.ok_or(Error::InvalidRequest(BAD_NAME))?;
    let lifetime = match lifetime(fields)? {
        None => lifetime_max,
        Some(seconds) if seconds <= lifetime_max => seconds,
        Some(_) => return Err(Error::InvalidRequest(TOO_LONG)),
    };
    let token = SessionToken::generate();
    let new = NewToken {
        token: token.hash(),
        id,
        name,
        expires_at: now + lifetime,
        created_with: Some(caller.session.clone()),
    };
    let actor = Actor::user(app.client(request));
    match app.store.create_token(&caller.user, new, actor, now)? {
        Ok(session) => Ok((token, session)),
        Err(TokenRefusal::Ended) => Err(Error::Unauthenticated { bad_credential: true }),
        Err(TokenRefusal::Exists) => Err(Error::InvalidRequest(EXISTS)),
        Err(TokenRefusal::TooMany) => Err(Error::denied(TOO_MANY)),
    }
}

/// The requested lifetime in seconds; `None` if the field is absent or empty.
fn lifetime(fields: &Fields) -> Result<Option<i64>, Error> {
    let Some(value) = fields.first("lifetime").filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let text = value.as_str().ok_or(Error::InvalidRequest(BAD_LIFETIME))?.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let seconds = humantime::parse_duration(text).map(|lifetime: Duration| lifetime.as_secs());
    match seconds.map(i64::try_from) {
        Ok(Ok(seconds @ 1..)) => Ok(Some(seconds)),
        _ => Err(Error::InvalidRequest(BAD_LIFETIME)),
    }
}

const _: () = assert!(TOKENS_PER_USER_MAX == 100, "TOO_MANY names the number");
