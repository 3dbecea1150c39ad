//! Shows and ends the caller's own sessions.

use serde::Serialize;
use serde_json::{Value, json};

use super::app::App;
use super::error::Error;
use super::{body, csrf, return_to, session_cookie};
use crate::http::{Request, Response};
use crate::json::Fields;
use crate::store::{Actor, Authenticated, EventKind, Session, SessionSelector, User};

/// The query parameter after which the sign-in page says "You are signed out".
pub const SIGNED_OUT: (&str, &str) = ("done", "signed-out");

#[derive(Serialize)]
struct Me<'a> {
    user: &'a User,
    session: &'a Session,
}

/// GET /auth/me.
///
/// # Errors
/// The caller's.
pub fn me(caller: Result<Authenticated, Error>) -> Result<Response, Error> {
    let Authenticated { session, user, .. } = &caller?;
    Ok(Response::json(200, &Me { user, session }))
}

/// GET /auth/sessions: the caller's live sessions, the last used first.
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

/// DELETE /auth/sessions/ID: ends one of the caller's sessions or tokens.
///
/// # Errors
/// 401, 403 or 503; 404 if the caller has no such live session.
pub fn delete(app: &App, request: &Request, id: &str, now: i64) -> Result<Response, Error> {
    csrf::guard(request, &app.settings)?;
    let caller = app.authenticate(request, now)?;
    let session =
        SessionSelector::IdOfUser { id: id.to_owned(), subject: caller.user.profile.subject };
    let actor = Actor::user(app.client(request));
    if app.store.end_sessions(&session, EventKind::Revocation, &actor, now)?.total() == 0 {
        return Err(Error::NotFound);
    }
    Ok(Response::empty(204))
}

/// POST /auth/signout: ends the session, or with `everywhere=true` all sessions and tokens of the
/// person. Without a session it does nothing. Neither the policy nor a block keeps a user from
/// signing out, and Google is not asked.
///
/// # Errors
/// 400 for an unreadable body, 403 for a foreign origin, 415, 503.
pub fn sign_out(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    csrf::guard(request, &app.settings)?;
    let fields = body::fields(request)?;
    let everywhere = wants_everywhere(request, &fields)?;
    for caller in app.live_sessions(request, now)? {
        let sessions = if everywhere {
            SessionSelector::User(caller.user.profile.subject)
        } else {
            SessionSelector::Id(caller.session.id)
        };
        let actor = Actor::user(app.client(request));
        app.store.end_sessions(&sessions, EventKind::SignOut, &actor, now)?;
    }
    let response = if request.wants_page() {
        let rd = fields
            .first("rd")
            .and_then(|rd| return_to::parse(rd.as_str()?, &app.settings))
            .or_else(|| return_to::requested(request, &app.settings));
        Response::see_other(signed_out_address(app, rd.as_deref()))
    } else {
        Response::empty(204)
    };
    Ok(response.with("Set-Cookie", session_cookie::clear(&app.settings)))
}

/// The address of the sign-in page after a sign-out, with the return address `rd`.
pub fn signed_out_address(app: &App, rd: Option<&str>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair(SIGNED_OUT.0, SIGNED_OUT.1);
    if let Some(rd) = rd {
        query.append_pair("rd", rd);
    }
    app.settings.url_of(&format!("/auth/signin?{}", query.finish()))
}

fn wants_everywhere(request: &Request, fields: &Fields) -> Result<bool, Error> {
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
