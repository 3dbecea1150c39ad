//! Sign-in, in one transaction.

use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::events::{self, Event, EventKind};
use super::model::{
    Authenticated, Client, PROFILE_COLUMNS, Session, SessionKind, User, profile_parameters,
};
use super::username::{self, Username};
use super::{Store, StoreError, allowed, blocked_emails, session_limit, sessions};
use crate::profile::Profile;
use crate::token::TokenHash;

/// A sign-in that Google has verified.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// The user's profile.
    pub profile: Profile,
    /// `aud` of the ID token.
    pub client_id: String,
    /// `azp` of the ID token.
    pub authorized_party: Option<String>,
    /// `tokeninfo` or `keys`: how the ID token was verified.
    pub verified_by: &'static str,
    /// The ID token, which may have been revoked as a bearer.
    pub id_token: TokenHash,
    /// The client that sent the request.
    pub client: Client,
    /// The session to establish.
    pub session: NewSession,
    /// The limit of sessions per user.
    pub sessions_max: u32,
    /// The reason for a refusal unless the list in the database lets the user in. `None` if the
    /// settings do.
    pub unless_allowed: Option<&'static str>,
}

/// A session to establish.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The hash of its token; for [`SessionKind::IdToken`] that of the ID token.
    pub token: TokenHash,
    /// The kind of its token.
    pub kind: SessionKind,
    /// `sessions.id`.
    pub id: String,
    /// The absolute limit, in unix seconds.
    pub expires_at: i64,
}

/// A recorded sign-in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The user as recorded.
    pub user: User,
    /// The session as recorded.
    pub session: Session,
    /// Whether this was the user's first sign-in.
    pub new_user: bool,
}

/// Why the store refuses a sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The operator or an admin blocked the user.
    Blocked,
    /// Google reported that the account was hijacked, and has not enabled it again.
    DisabledByGoogle,
    /// The e-mail is pinned to another `sub`, which signed in with it first.
    EmailHeld,
    /// This ID token was signed out or revoked.
    TokenEnded,
    /// Neither the settings nor the list in the database let the user in, for this reason.
    NotAllowed(&'static str),
}

impl Refusal {
    /// The refusals that do not depend on the settings, in the order in which they are checked.
    pub const ALL: [Refusal; 4] =
        [Refusal::Blocked, Refusal::DisabledByGoogle, Refusal::TokenEnded, Refusal::EmailHeld];

    /// Whether it applies to a sign-in with this profile and ID token.
    fn applies(
        self,
        db: &Connection,
        profile: &Profile,
        id_token: &TokenHash,
    ) -> rusqlite::Result<bool> {
        let exists = |sql: &str, parameters: &[&dyn rusqlite::ToSql]| {
            db.prepare_cached(sql)?.exists(parameters)
        };
        let subject = &profile.subject;
        match self {
            Refusal::Blocked => Ok(exists(
                "SELECT 1 FROM users WHERE sub = ?1 AND blocked_at IS NOT NULL",
                &[subject],
            )? || blocked_emails::is_blocked(db, profile)?),
            Refusal::NotAllowed(_) => Ok(allowed::entry_for(db, profile)?.is_none()),
            Refusal::DisabledByGoogle => exists(
                "SELECT 1 FROM users WHERE sub = ?1 AND google_disabled_at IS NOT NULL",
                &[subject],
            ),
            Refusal::TokenEnded => id_token_has_ended(db, id_token),
            Refusal::EmailHeld => exists(
                "SELECT 1 FROM users WHERE pinned_email = ?1 AND sub <> ?2",
                &[&profile.pinned_email(), subject],
            ),
        }
    }

    /// The text for the client and the event.
    pub fn description(self) -> &'static str {
        match self {
            Refusal::Blocked => "this account is blocked",
            Refusal::DisabledByGoogle => "Google reported that this account was disabled",
            Refusal::EmailHeld => "another account signed in with this e-mail first and holds it",
            Refusal::TokenEnded => "this ID token was signed out or revoked",
            Refusal::NotAllowed(reason) => reason,
        }
    }
}

impl Store {
    /// Whether this ID token was presented as a bearer and ended before its `exp`.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn id_token_has_ended(&self, id_token: &TokenHash) -> Result<bool, StoreError> {
        self.readers.read(|db| id_token_has_ended(db, id_token))
    }

    /// Whether the refusal applies to a sign-in with this profile and ID token.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn refuses(
        &self,
        refusal: Refusal,
        profile: &Profile,
        id_token: &TokenHash,
    ) -> Result<bool, StoreError> {
        self.readers.read(|db| refusal.applies(db, profile, id_token))
    }

    /// Records a user and establishes a session, or records a refusal. It is on disk when this
    /// returns.
    ///
    /// # Errors
    /// The outer one if the store cannot answer, the inner one for a refusal.
    pub fn sign_in(
        &self,
        sign_in: SignIn,
        now: i64,
    ) -> Result<Result<SignedIn, Refusal>, StoreError> {
        self.writer.write(move |db| {
            let refusal = refusal(db, &sign_in)?;
            let kind = if refusal.is_none() { EventKind::SignIn } else { EventKind::Refusal };
            let event = Event {
                subject: Some(sign_in.profile.subject.clone()),
                email: sign_in.profile.email.clone(),
                session_id: refusal.is_none().then(|| sign_in.session.id.clone()),
                client: sign_in.client.clone(),
                client_id: Some(sign_in.client_id.clone()),
                verified_by: Some(sign_in.verified_by),
                reason: refusal.map(|refusal| refusal.description().to_owned()),
                ..Event::new(kind)
            };
            events::insert(db, &event, now)?;
            if let Some(refusal) = refusal {
                if refusal == Refusal::Blocked {
                    blocked_emails::block_user(db, &sign_in.profile, now)?;
                }
                return Ok(Err(refusal));
            }
            allowed::bind(db, &sign_in.profile)?;
            let new_user = upsert_user(db, &sign_in.profile, now)?;
            insert_session(db, &sign_in, now)?;
            if !new_user {
                let kept = Some(&sign_in.session.token);
                session_limit::limit(
                    db,
                    &sign_in.profile.subject,
                    kept,
                    sign_in.sessions_max,
                    now,
                )?;
            }
            let Authenticated { session, user, .. } =
                sessions::find(db, &sign_in.session.token)?
                    .ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            Ok(Ok(SignedIn { user, session, new_user }))
        })
    }
}

fn id_token_has_ended(db: &Connection, id_token: &TokenHash) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM id_tokens WHERE token_sha256 = ?1 AND NOT EXISTS
        (SELECT 1 FROM sessions WHERE token_sha256 = ?1 AND ended_at IS NULL)";
    db.prepare_cached(sql)?.exists([id_token.as_bytes()])
}

fn refusal(db: &Connection, sign_in: &SignIn) -> rusqlite::Result<Option<Refusal>> {
    for refusal in Refusal::ALL.into_iter().chain(sign_in.unless_allowed.map(Refusal::NotAllowed)) {
        if refusal.applies(db, &sign_in.profile, &sign_in.id_token)? {
            return Ok(Some(refusal));
        }
    }
    Ok(None)
}

/// Writes the profile and returns whether this is the user's first sign-in. Without an authoritative
/// e-mail, the pinned one stays.
fn upsert_user(db: &Connection, profile: &Profile, now: i64) -> rusqlite::Result<bool> {
    let known = "SELECT last_signin_at > 0, username IS NOT NULL FROM users WHERE sub = ?1";
    let known: Option<(bool, bool)> = db
        .prepare_cached(known)?
        .query_row([&profile.subject], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (has_signed_in, has_username) = known.unwrap_or_default();
    let username = if has_username {
        None
    } else {
        let email = profile.authoritative_email();
        Some(username::reserve_for(db, &profile.subject, email)?)
    };
    let sql = if known.is_some() {
        "UPDATE users SET email = ?2, email_verified = ?3, email_authoritative = ?4, name = ?5,
            given_name = ?6, family_name = ?7, picture = ?8, hosted_domain = ?9, locale = ?10,
            pinned_email = coalesce(?11, pinned_email), last_signin_at = ?12,
            username = coalesce(username, ?13)
        WHERE sub = ?1"
    } else {
        &format!(
            "INSERT INTO users ({PROFILE_COLUMNS}, pinned_email, created_at, last_signin_at, username)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12, ?13)"
        )
    };
    let (pinned_email, username) =
        (profile.pinned_email(), username.as_ref().map(Username::as_str));
    let others: [&dyn ToSql; 3] = [&pinned_email, &now, &username];
    db.prepare_cached(sql)?.execute(&*profile_parameters(profile, &others))?;
    Ok(!has_signed_in)
}

/// If another process exchanged the same ID token at the same moment, its row stays.
fn insert_session(db: &Connection, sign_in: &SignIn, now: i64) -> rusqlite::Result<()> {
    let session = &sign_in.session;
    if session.kind == SessionKind::IdToken {
        let sql = "INSERT INTO id_tokens (token_sha256, expires_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        db.prepare_cached(sql)?.execute(params![session.token.as_bytes(), session.expires_at])?;
    }
    let sql =
        "INSERT INTO sessions (token_sha256, id, sub, kind, client_id, authorized_party, created_at, last_seen_at,
            expires_at, client_address, user_agent)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, ?9, ?10) ON CONFLICT (token_sha256) DO NOTHING";
    db.prepare_cached(sql)?.execute(params![
        session.token.as_bytes(),
        session.id,
        sign_in.profile.subject,
        session.kind.as_str(),
        sign_in.client_id,
        sign_in.authorized_party,
        now,
        session.expires_at,
        sign_in.client.address,
        sign_in.client.user_agent
    ])?;
    Ok(())
}
