//! Who am I, my sessions, and ending them.

use serde::Serialize;
use serde_json::{Value, json};

use super::app::App;
use super::error::Error;
use super::{body, csrf, return_to, session_cookie};
use crate::http::{Request, Response};
use crate::json::Fields;
use crate::store::{Authenticated, Ending, EventKind, Session, User};

/// By this the sign-in page knows that somebody has just signed out.
pub const SIGNED_OUT: (&str, &str) = ("done", "signed-out");

#[derive(Serialize)]
struct Me<'a> {
    user: &'a User,
    session: &'a Session,
}

/// GET /auth/me.
///
/// # Errors
/// Those of the caller.
pub fn me(caller: Result<Authenticated, Error>) -> Result<Response, Error> {
    let Authenticated { session, user } = &caller?;
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
    csrf::guard(request, &app.settings)?;
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
    csrf::guard(request, &app.settings)?;
    let fields = body::fields(request)?;
    let everywhere = wants_everywhere(request, &fields)?;
    for caller in app.live_sessions(request, now)? {
        let ending = if everywhere { Ending::All } else { Ending::One(caller.session.id.clone()) };
        app.store.end(&caller.user, ending, EventKind::SignOut, app.client(request), now)?;
    }
    let response = if request.wants_page() {
        let way_back = fields
            .first("rd")
            .and_then(|place| return_to::parse(place.as_str()?, &app.settings))
            .or_else(|| return_to::requested(request, &app.settings));
        Response::see_other(signed_out_address(app, way_back.as_deref()))
    } else {
        Response::empty(204)
    };
    Ok(response.with("Set-Cookie", session_cookie::clear(&app.settings)))
}

/// The sign-in page, which then says that one is signed out, and leads back to that place.
pub fn signed_out_address(app: &App, way_back: Option<&str>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair(SIGNED_OUT.0, SIGNED_OUT.1);
    if let Some(place) = way_back {
        query.append_pair("rd", place);
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
