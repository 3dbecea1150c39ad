//! Users and sessions as rows of the database, without queries.

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use super::db::{Param, Result, Row, params};
use crate::profile::Profile;

/// A user. Its JSON is part of the HTTP contract. Times are unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The profile at the last sign-in.
    pub profile: Profile,
    /// A unique name, given at the first sign-in or with the first token.
    pub username: Option<String>,
    /// The first sign-in or the import.
    pub created_at: i64,
    /// `None` if the user has never signed in.
    pub last_signin_at: Option<i64>,
    /// When the operator or an admin blocked the user.
    pub blocked_at: Option<i64>,
    /// When Google disabled the account because somebody else had taken it over.
    pub google_disabled_at: Option<i64>,
}

/// A user with the columns that only the operator sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// The user.
    pub user: User,
    /// The e-mail that no other `sub` may sign in with, in lower case.
    pub pinned_email: Option<String>,
}

/// The kind of a session's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionKind {
    /// Our token, from a sign-in.
    Session,
    /// A Google ID token, presented as a bearer. It is valid until its own `exp`.
    IdToken,
    /// Our token, created for a program. It has no idle limit.
    Token,
}

impl SessionKind {
    /// `sessions.kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            SessionKind::Session => "session",
            SessionKind::IdToken => "id_token",
            SessionKind::Token => "token",
        }
    }
}

/// The client of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its IP address. Behind trusted proxies, the address that they name.
    pub address: Option<String>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
}

/// A session. Its JSON is part of the HTTP contract. Times are unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Session {
    /// Identifies the session in public. It is not a secret.
    pub id: String,
    /// The kind of its token.
    #[serde(skip)]
    pub kind: SessionKind,
    /// The name of a token for a program.
    #[serde(skip)]
    pub name: Option<String>,
    /// `aud` of the ID token behind it. Empty for a token that the operator created.
    #[serde(skip)]
    pub client_id: String,
    /// When it was established.
    pub created_at: i64,
    /// When it was last used, to the minute.
    pub last_seen_at: i64,
    /// The absolute limit.
    pub expires_at: i64,
    /// When it was signed out or revoked.
    #[serde(skip)]
    pub ended_at: Option<i64>,
    /// The client that signed in.
    #[serde(skip)]
    pub client: Client,
}

/// A session with its user.
#[derive(Debug, Clone)]
pub struct Authenticated {
    /// The session.
    pub session: Session,
    /// The session's user.
    pub user: User,
    /// Whether the user may enter by the list in the database.
    pub is_allowed: bool,
}

/// The columns of [`profile_parameters`].
pub const PROFILE_COLUMNS: &str = "sub, email, email_verified, email_authoritative, name, \
    given_name, family_name, picture, hosted_domain, locale";

/// The parameters 1 to 10, the columns of a profile, and the ones after them.
pub fn profile_parameters<'a>(profile: &'a Profile, others: &[Param<'a>]) -> Vec<Param<'a>> {
    let columns = params![
        profile.subject,
        profile.email,
        profile.email_verified,
        profile.email_authoritative,
        profile.name,
        profile.given_name,
        profile.family_name,
        profile.picture,
        profile.hosted_domain,
        profile.locale
    ];
    [columns, others].concat()
}

/// The columns of [`User::from_row`].
pub const USER_COLUMNS: &str = "u.sub, u.email, u.email_verified, u.email_authoritative, u.name, u.given_name, \
    u.family_name, u.picture, u.hosted_domain, u.locale, u.created_at, nullif(u.last_signin_at, 0), u.blocked_at, \
    u.username, u.google_disabled_at";

/// In the contract's order.
impl Serialize for User {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Profile {
            subject,
            email,
            email_verified,
            email_authoritative,
            name,
            given_name,
            family_name,
            picture,
            hosted_domain,
            locale,
        } = &self.profile;
        let mut document = serializer.serialize_struct("User", 13)?;
        document.serialize_field("sub", subject)?;
        document.serialize_field("username", &self.username)?;
        document.serialize_field("email", email)?;
        document.serialize_field("email_verified", email_verified)?;
        document.serialize_field("email_authoritative", email_authoritative)?;
        document.serialize_field("name", name)?;
        document.serialize_field("given_name", given_name)?;
        document.serialize_field("family_name", family_name)?;
        document.serialize_field("picture", picture)?;
        document.serialize_field("hd", hosted_domain)?;
        document.serialize_field("locale", locale)?;
        document.serialize_field("created_at", &self.created_at)?;
        document.serialize_field("last_signin_at", &self.last_signin_at)?;
        document.end()
    }
}

impl User {
    /// Reads `USER_COLUMNS`, which begin at column `first`.
    pub fn from_row(row: &Row, first: usize) -> Result<User> {
        Ok(User {
            profile: Profile {
                subject: row.get(first)?,
                email: row.get(first + 1)?,
                email_verified: row.get(first + 2)?,
                email_authoritative: row.get(first + 3)?,
                name: row.get(first + 4)?,
                given_name: row.get(first + 5)?,
                family_name: row.get(first + 6)?,
                picture: row.get(first + 7)?,
                hosted_domain: row.get(first + 8)?,
                locale: row.get(first + 9)?,
            },
            created_at: row.get(first + 10)?,
            last_signin_at: row.get(first + 11)?,
            blocked_at: row.get(first + 12)?,
            username: row.get(first + 13)?,
            google_disabled_at: row.get(first + 14)?,
        })
    }
}

pub const USER_COLUMN_COUNT: usize = 15;

impl UserRecord {
    /// Reads `USER_COLUMNS` and `pinned_email`.
    pub fn from_row(row: &Row) -> Result<UserRecord> {
        Ok(UserRecord { user: User::from_row(row, 0)?, pinned_email: row.get(USER_COLUMN_COUNT)? })
    }
}

/// The columns of [`Session::from_row`].
pub const SESSION_COLUMNS: &str = "s.id, s.kind, s.created_at, s.last_seen_at, s.expires_at, s.ended_at, \
    s.client_address, s.user_agent, s.client_id, s.name";
pub const SESSION_COLUMN_COUNT: usize = 10;

impl Session {
    /// Whether it has neither ended nor expired, nor been idle for too long.
    pub fn is_live(&self, now: i64, idle_seconds: i64) -> bool {
        self.ended_at.is_none() && now < self.expires_at && !self.is_idle(now, idle_seconds)
    }

    /// Whether it has been idle for too long.
    pub fn is_idle(&self, now: i64, idle_seconds: i64) -> bool {
        self.kind == SessionKind::Session && now.saturating_sub(self.last_seen_at) >= idle_seconds
    }

    /// Reads `SESSION_COLUMNS`, which begin at column 0.
    pub fn from_row(row: &Row) -> Result<Session> {
        let kind = match &*row.get::<String>(1)? {
            "session" => SessionKind::Session,
            "token" => SessionKind::Token,
            _ => SessionKind::IdToken,
        };
        Ok(Session {
            id: row.get(0)?,
            kind,
            name: row.get(9)?,
            client_id: row.get(8)?,
            created_at: row.get(2)?,
            last_seen_at: row.get(3)?,
            expires_at: row.get(4)?,
            ended_at: row.get(5)?,
            client: Client { address: row.get(6)?, user_agent: row.get(7)? },
        })
    }
}
