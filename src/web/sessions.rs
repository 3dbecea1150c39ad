//! Who am I, my sessions, and ending them.

use serde::Serialize;
use serde_json::{Value, json};

use super::app::App;
use super::{origin, session_cookie, signin_request};
use crate::error::Error;
use crate::http::{Request, Response};
use crate::store::{Authenticated, Ending, EventKind, Session, User};

#[derive(Serialize)]
struct Me<'a> {
    user: &'a User,
    session: &'a Session,
}

/// GET /auth/me.
///
/// # Errors
/// 401, 403 or 503.
pub fn me(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    let Authenticated { session, user } = &app.authenticate(request, now)?;
    Ok(Response::json(200, &Me { user, session }))
}

/// GET /auth/sessions: one's live sessions, the last used first.
///
/// # Errors
/// 401, 403 or 503.
pub fn list(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    let caller = app.authenticate(request, now)?;
    let sessions =
        app.store.sessions_of(&caller.user.profile.subject, now, app.settings.session_idle)?;
    let documents: Vec<Value> = sessions
        .iter()
        .map(|session| {
            let mut document = json!(session);
            document["current"] = (session.id == caller.session.id).into();
            document["client_address"] = session.client.address.clone().into();
            document["user_agent"] = session.client.user_agent.clone().into();
            document
        })
        .collect();
    Ok(Response::json(200, &json!({"sessions": documents})))
}

/// DELETE /auth/sessions/ID: ends one of one's own sessions.
///
/// # Errors
/// 401, 403 or 503; 404 if there is no such live session of theirs.
pub fn delete(app: &App, request: &Request, id: &str, now: i64) -> Result<Response, Error> {
    origin::guard(request, &app.settings)?;
    let caller = app.authenticate(request, now)?;
    let ended = app.store.end(
        &caller.user,
        Ending::One(id.to_owned()),
        EventKind::Revocation,
        app.client(request),
        now,
    )?;
    if ended == 0 {
        return Err(Error::NotFound);
    }
    Ok(Response::empty(204))
}

/// POST /auth/signout: ends the session, with `everywhere=true` all sessions of the person. Without one, all is done
/// already. Neither policy nor block keep anybody from leaving, and Google is not asked.
///
/// # Errors
/// 400 for a body that cannot be read, 403 for a foreign origin, 415, 503.
pub fn sign_out(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    origin::guard(request, &app.settings)?;
    let everywhere = wants_everywhere(request)?;
    for caller in app.live_sessions(request, now)? {
        let ending = if everywhere { Ending::All } else { Ending::One(caller.session.id.clone()) };
        app.store.end(&caller.user, ending, EventKind::SignOut, app.client(request), now)?;
    }
    let response = if request.wants_page() {
        Response::see_other(app.settings.url_of("/auth/signin"))
    } else {
        Response::empty(204)
    };
    Ok(response.with("Set-Cookie", session_cookie::clear(&app.settings)))
}

fn wants_everywhere(request: &Request) -> Result<bool, Error> {
    let fields = signin_request::body_fields(request)?;
    let in_body = fields.first("everywhere").cloned();
    let value = in_body.or_else(|| request.query("everywhere").next().map(Value::from));
    match value {
        None => Ok(false),
        Some(Value::Bool(everywhere)) => Ok(everywhere),
        Some(Value::String(text)) if matches!(text.as_str(), "true" | "1") => Ok(true),
        Some(Value::String(text)) if matches!(text.as_str(), "false" | "0" | "") => Ok(false),
        Some(_) => Err(Error::InvalidRequest("everywhere must be true or false")),
    }
}
