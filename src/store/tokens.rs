//! Tokens for programs: rows of `sessions` with a name and without an idle limit.

use super::db::{Db, Result, params};
use super::events::{self, Actor, Event, EventKind};
use super::model::{Session, SessionKind, User};
use super::{Store, StoreError, username};
use crate::token::{TokenHash, TokenName};

/// Live tokens of one user.
pub const TOKENS_PER_USER_MAX: u32 = 100;

/// A token to create.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// The hash of the token.
    pub token: TokenHash,
    /// `sessions.id`.
    pub id: String,
    /// The user's name for it.
    pub name: TokenName,
    /// In unix seconds.
    pub expires_at: i64,
    /// The session with which the user creates it. `None` for the operator.
    pub created_with: Option<Session>,
}

/// Why the store does not create a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRefusal {
    /// The user's session has just ended, or the user was deleted.
    Ended,
    /// There is a token with this ID already.
    Exists,
    /// The user has `TOKENS_PER_USER_MAX` already.
    TooMany,
}

impl Store {
    /// Creates a token for a user and records an event.
    ///
    /// # Errors
    /// The outer one if the store cannot answer, the inner one for a refusal.
    pub fn create_token(
        &self,
        user: &User,
        new: NewToken,
        actor: Actor,
        now: i64,
    ) -> Result<Result<Session, TokenRefusal>, StoreError> {
        let user = user.clone();
        self.writer.write(move |db| create(db, &user, &new, &actor, now))
    }

    /// A user's live tokens, the newest first.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn tokens_of(&self, subject: &str, now: i64) -> Result<Vec<Session>, StoreError> {
        let tokens = self.open_tokens(Some(subject), now, TOKENS_PER_USER_MAX)?;
        Ok(tokens.into_iter().map(|(token, _)| token).collect())
    }

    /// The live tokens of one user or of all, with their users, the newest first.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn open_tokens(
        &self,
        subject: Option<&str>,
        now: i64,
        limit: u32,
    ) -> Result<Vec<(Session, User)>, StoreError> {
        self.open_rows("s.kind = 'token'", "s.created_at DESC, s.id", subject, now, limit)
    }
}

fn create(
    db: &Db,
    user: &User,
    new: &NewToken,
    actor: &Actor,
    now: i64,
) -> Result<Result<Session, TokenRefusal>> {
    let subject = &user.profile.subject;
    let Actor { reason, client, .. } = actor;
    let (session_id, client_id) = new
        .created_with
        .as_ref()
        .map(|session| (session.id.clone(), session.client_id.clone()))
        .unzip();
    let client_id = client_id.unwrap_or_default();
    // The session may have ended since it was checked.
    let exists = "SELECT 1 FROM users WHERE sub = ?1 AND (?2 IS NULL OR EXISTS
        (SELECT 1 FROM sessions WHERE id = ?2 AND sub = ?1 AND ended_at IS NULL))";
    if !db.exists(exists, params![subject, session_id])? {
        return Ok(Err(TokenRefusal::Ended));
    }
    if db.exists("SELECT 1 FROM sessions WHERE id = ?1", params![&new.id])? {
        return Ok(Err(TokenRefusal::Exists));
    }
    let count = "SELECT count(*) FROM sessions
        WHERE sub = ?1 AND kind = 'token' AND ended_at IS NULL AND expires_at > ?2";
    let live: i64 = db.one(count, params![subject, now], |row| row.get(0))?;
    if live >= i64::from(TOKENS_PER_USER_MAX) {
        return Ok(Err(TokenRefusal::TooMany));
    }
    username::give(db, subject)?;
    // Repeatedly creating and revoking tokens leaves a bounded number of rows.
    let forget = "DELETE FROM sessions WHERE token_sha256 IN
        (SELECT token_sha256 FROM sessions WHERE sub = ?1 AND kind = 'token' AND ended_at IS NOT NULL
         ORDER BY ended_at DESC LIMIT 9223372036854775807 OFFSET ?2)";
    db.execute(forget, params![subject, TOKENS_PER_USER_MAX])?;
    let insert = "INSERT INTO sessions (token_sha256, id, sub, kind, name, client_id, created_at, last_seen_at,
            expires_at, client_address, user_agent)
        VALUES (?1, ?2, ?3, 'token', ?4, ?5, ?6, ?6, ?7, ?8, ?9)";
    db.execute(
        insert,
        params![
            new.token.as_bytes(),
            new.id,
            subject,
            new.name.as_str(),
            client_id,
            now,
            new.expires_at,
            client.address,
            client.user_agent
        ],
    )?;
    let event = Event {
        subject: Some(subject.clone()),
        email: user.profile.email.clone(),
        session_id: Some(new.id.clone()),
        client: client.clone(),
        client_id: Some(client_id.clone()).filter(|id| !id.is_empty()),
        reason: reason.clone(),
        detail: Some(new.name.as_str().to_owned()),
        ..Event::new(EventKind::Token)
    };
    events::insert(db, &event, now)?;
    Ok(Ok(Session {
        id: new.id.clone(),
        kind: SessionKind::Token,
        name: Some(new.name.as_str().to_owned()),
        client_id,
        created_at: now,
        last_seen_at: now,
        expires_at: new.expires_at,
        ended_at: None,
        client: client.clone(),
    }))
}
