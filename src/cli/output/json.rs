//! Users, sessions and events as JSON, with the field names of the HTTP API and times in unix
//! seconds.

use serde_json::{Value, json};

use crate::store::{BlockedEmail, EventRow, Session, User, UserRecord};

/// A user, with the fields that only the operator sees.
pub fn account(account: &UserRecord) -> Value {
    let mut document = json!(account.user);
    document["blocked_at"] = json!(account.user.blocked_at);
    document["google_disabled_at"] = json!(account.user.google_disabled_at);
    document["pinned_email"] = json!(account.pinned_email);
    document
}

/// Somebody who was blocked before their first sign-in, as far as a user's fields are known.
pub fn blocked_email(blocked: &BlockedEmail) -> Value {
    json!({
        "sub": null,
        "email": blocked.email,
        "created_at": null,
        "last_signin_at": null,
        "blocked_at": blocked.created_at,
    })
}

/// A session and its user.
pub fn session(session: &Session, user: &User) -> Value {
    json!({
        "id": session.id,
        "sub": user.profile.subject,
        "email": user.profile.email,
        "kind": session.kind.as_str(),
        "created_at": session.created_at,
        "last_seen_at": session.last_seen_at,
        "expires_at": session.expires_at,
        "client_address": session.client.address,
        "user_agent": session.client.user_agent,
    })
}

/// A token for a program, and whose it is.
pub fn token(token: &Session, user: &User) -> Value {
    json!({
        "id": token.id,
        "sub": user.profile.subject,
        "email": user.profile.email,
        "name": token.name,
        "created_at": token.created_at,
        "last_seen_at": token.last_seen_at,
        "expires_at": token.expires_at,
    })
}

/// An event.
pub fn event(event: &EventRow) -> Value {
    json!({
        "id": event.id,
        "at": event.at,
        "kind": event.kind,
        "sub": event.subject,
        "email": event.email,
        "session_id": event.session_id,
        "client_address": event.client.address,
        "client_id": event.client_id,
        "user_agent": event.client.user_agent,
        "verified_by": event.verified_by,
        "reason": event.reason,
        "host": event.host,
        "detail": event.detail,
    })
}
