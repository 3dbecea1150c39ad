//! Sign-in, in one transaction.

use std::sync::LazyLock;

use super::allowed::ADMITS;
use super::db::{Db, Error, Result, params};
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
        self.readers.read(|db| Ok(Standing::read(db, profile, id_token)?.has(refusal)))
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
            if !db.is_sqlite() {
                // Other changes of this user wait, so none comes between the reading and the
                // session.
                let lock = "SELECT 1 FROM users WHERE sub = ?1 FOR UPDATE";
                db.exists(lock, params![sign_in.profile.subject])?;
            }
            let standing = Standing::read(db, &sign_in.profile, &sign_in.id_token)?;
            let refusal = standing.refusal(sign_in.unless_allowed);
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
            if standing.has_unbound_entry {
                allowed::bind(db, &sign_in.profile)?;
            }
            let user = write_user(db, &sign_in.profile, &standing, now)?;
            insert_session(db, &sign_in, now)?;
            let new_user = !standing.has_signed_in;
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
            let (user, session) = match sign_in.session.kind {
                // The row of another process may have stayed.
                SessionKind::IdToken => {
                    let found = sessions::find(db, &sign_in.session.token)?;
                    let Authenticated { session, user, .. } = found.ok_or_else(Error::no_row)?;
                    (user, session)
                }
                SessionKind::Session | SessionKind::Token => (user, sign_in.new_session(now)),
            };
            Ok(Ok(SignedIn { user, session, new_user }))
        })
    }
}

impl SignIn {
    /// The session as it is inserted.
    fn new_session(&self, now: i64) -> Session {
        Session {
            id: self.session.id.clone(),
            kind: self.session.kind,
            name: None,
            client_id: self.client_id.clone(),
            created_at: now,
            last_seen_at: now,
            expires_at: self.session.expires_at,
            ended_at: None,
            client: self.client.clone(),
        }
    }
}

/// Everything in the database that decides about a sign-in.
struct Standing {
    is_blocked: bool,
    is_disabled_by_google: bool,
    has_token_ended: bool,
    is_email_held: bool,
    /// By the list in the database.
    is_allowed: bool,
    /// Whether the list has an entry for the e-mail that has no `sub` yet.
    has_unbound_entry: bool,
    is_user: bool,
    has_signed_in: bool,
    has_username: bool,
}

impl Standing {
    fn read(db: &Db, profile: &Profile, id_token: &TokenHash) -> Result<Standing> {
        static SQL: LazyLock<String> = LazyLock::new(|| {
            format!(
                "SELECT u.blocked_at IS NOT NULL
                    OR EXISTS (SELECT 1 FROM blocked_emails b WHERE b.email = lower(?4)),
                u.google_disabled_at IS NOT NULL,
                EXISTS ({TOKEN_ENDED}),
                EXISTS (SELECT 1 FROM users h WHERE h.pinned_email = ?2 AND h.sub <> ?1),
                EXISTS (SELECT 1 FROM allowed a WHERE {ADMITS}),
                EXISTS (SELECT 1 FROM allowed a WHERE a.email = ?2 AND a.sub IS NULL),
                u.sub IS NOT NULL, coalesce(u.last_signin_at > 0, FALSE), u.username IS NOT NULL
                FROM (SELECT 1 AS one) AS one LEFT JOIN users u ON u.sub = ?1"
            )
        });
        let (email, domain) = (profile.pinned_email(), allowed::domain_of(profile));
        let id_token = id_token.as_bytes();
        let params = params![profile.subject, email, domain, profile.email, id_token];
        db.one(&SQL, params, |row| {
            Ok(Standing {
                is_blocked: row.get(0)?,
                is_disabled_by_google: row.get(1)?,
                has_token_ended: row.get(2)?,
                is_email_held: row.get(3)?,
                is_allowed: row.get(4)?,
                has_unbound_entry: row.get(5)?,
                is_user: row.get(6)?,
                has_signed_in: row.get(7)?,
                has_username: row.get(8)?,
            })
        })
    }

    fn has(&self, refusal: Refusal) -> bool {
        match refusal {
            Refusal::Blocked => self.is_blocked,
            Refusal::DisabledByGoogle => self.is_disabled_by_google,
            Refusal::EmailHeld => self.is_email_held,
            Refusal::TokenEnded => self.has_token_ended,
            Refusal::NotAllowed(_) => !self.is_allowed,
        }
    }

    fn refusal(&self, unless_allowed: Option<&'static str>) -> Option<Refusal> {
        let all = Refusal::ALL.into_iter().chain(unless_allowed.map(Refusal::NotAllowed));
        all.into_iter().find(|refusal| self.has(*refusal))
    }
}

/// An ID token (5) that was presented as a bearer and has no open session.
const TOKEN_ENDED: &str = "SELECT 1 FROM id_tokens t WHERE t.token_sha256 = ?5 AND NOT EXISTS
    (SELECT 1 FROM sessions s WHERE s.token_sha256 = ?5 AND s.ended_at IS NULL)";

fn id_token_has_ended(db: &Db, id_token: &TokenHash) -> Result<bool> {
    db.exists(&TOKEN_ENDED.replace("?5", "?1"), params![id_token.as_bytes()])
}

/// Writes the profile. Without an authoritative e-mail, the pinned one stays.
fn write_user(db: &Db, profile: &Profile, standing: &Standing, now: i64) -> Result<User> {
    let username = if standing.has_username {
        None
    } else {
        let email = profile.authoritative_email();
        Some(username::reserve_for(db, &profile.subject, email)?)
    };
    let sql = if standing.is_user {
        "UPDATE users SET email = ?2, email_verified = ?3, email_authoritative = ?4, name = ?5,
            given_name = ?6, family_name = ?7, picture = ?8, hosted_domain = ?9, locale = ?10,
            pinned_email = coalesce(?11, pinned_email), last_signin_at = ?12,
            username = coalesce(username, ?13)
        WHERE sub = ?1 RETURNING created_at, username"
    } else {
        &format!(
            "INSERT INTO users ({PROFILE_COLUMNS}, pinned_email, created_at, last_signin_at, username)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12, ?13)
            RETURNING created_at, username"
        )
    };
    let (pinned_email, username) =
        (profile.pinned_email(), username.as_ref().map(Username::as_str));
    let others = params![pinned_email, now, username];
    db.one(sql, &profile_parameters(profile, others), |row| {
        Ok(User {
            profile: profile.clone(),
            username: row.get(1)?,
            created_at: row.get(0)?,
            last_signin_at: Some(now),
            // A sign-in with either is refused.
            blocked_at: None,
            google_disabled_at: None,
        })
    })
}

/// If another process exchanged the same ID token at the same moment, its row stays.
fn insert_session(db: &Db, sign_in: &SignIn, now: i64) -> Result<()> {
    let session = &sign_in.session;
    if session.kind == SessionKind::IdToken {
        let sql = "INSERT INTO id_tokens (token_sha256, expires_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        db.execute(sql, params![session.token.as_bytes(), session.expires_at])?;
    }
    let sql =
        "INSERT INTO sessions (token_sha256, id, sub, kind, client_id, authorized_party, created_at, last_seen_at,
            expires_at, client_address, user_agent)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, ?9, ?10) ON CONFLICT (token_sha256) DO NOTHING";
    db.execute(
        sql,
        params![
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
        ],
    )?;
    Ok(())
}
