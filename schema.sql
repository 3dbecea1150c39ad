-- Everything Hallpass remembers. Safe to run on every start. Open it with `sqlite3` whenever you like.
-- Every *_at column is in unix seconds. PRAGMA user_version is the version of this schema.

-- One row a person. The person is the sub: e-mails change and are reassigned, the sub never is.
CREATE TABLE IF NOT EXISTS users (
    sub                 TEXT PRIMARY KEY,   -- Google's subject identifier
    email               TEXT,               -- as Google last told it; NULL if it did not, like the rest of the profile
    email_verified      INTEGER,            -- 0 or 1
    email_authoritative INTEGER NOT NULL,   -- 1 if Google itself is the authority for the e-mail
    pinned_email        TEXT UNIQUE,        -- lower case; the authoritative e-mail that no other sub may sign in with
    name                TEXT,
    given_name          TEXT,
    family_name         TEXT,
    picture             TEXT,               -- URL
    hosted_domain       TEXT,               -- hd: the Workspace domain
    locale              TEXT,
    created_at          INTEGER NOT NULL,   -- first sign-in, or import
    last_signin_at      INTEGER NOT NULL,   -- 0 if never: imported, and not signed in since
    blocked_at          INTEGER,            -- NULL unless the operator blocked this person
    username            TEXT,               -- unique; made at the first sign-in, NULL before
    google_disabled_at  INTEGER             -- when Google disabled the account because somebody else had taken it over;
                                            -- NULL if it did not, or enabled it again, or the operator unblocked it
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS users_by_last_signin ON users (last_signin_at);
CREATE INDEX IF NOT EXISTS users_by_creation ON users (created_at);
CREATE INDEX IF NOT EXISTS users_by_email ON users (email COLLATE NOCASE);
CREATE UNIQUE INDEX IF NOT EXISTS users_by_username ON users (username);

-- Every user name ever given, so that nobody gets another person's, even if that one was renamed or deleted. Only a
-- hash, because the names are made of e-mails.
CREATE TABLE IF NOT EXISTS usernames (
    username_sha256     BLOB PRIMARY KEY,   -- 32 bytes
    sub                 TEXT NOT NULL       -- whose it is or was; they may be gone
) STRICT, WITHOUT ROWID;

-- One row a session, one a token for a program, and one a Google ID token that was presented as a bearer. Tokens
-- themselves are nowhere.
CREATE TABLE IF NOT EXISTS sessions (
    token_sha256        BLOB PRIMARY KEY,   -- 32 bytes; of an ID token, the hash of header.payload
    id                  TEXT NOT NULL UNIQUE, -- names the session in public; of an id_token, a hash of the whole token
    sub                 TEXT NOT NULL REFERENCES users (sub) ON DELETE CASCADE,
    kind                TEXT NOT NULL CHECK (kind IN ('session', 'id_token', 'token')), -- only a session has an idle limit
    client_id           TEXT NOT NULL,      -- aud of the ID token behind it; empty if the operator made the token
    authorized_party    TEXT,               -- azp of that token: the app that asked for it
    created_at          INTEGER NOT NULL,
    last_seen_at        INTEGER NOT NULL,   -- written at most once a minute
    expires_at          INTEGER NOT NULL,   -- absolute limit; the row stays until then, ended or not
    ended_at            INTEGER,            -- NULL unless signed out or revoked
    client_address      TEXT,               -- at sign-in
    user_agent          TEXT,               -- at sign-in
    name                TEXT                -- what its owner calls a token for a program
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sessions_by_user ON sessions (sub, ended_at, last_seen_at, kind);
CREATE INDEX IF NOT EXISTS sessions_by_expiry ON sessions (expires_at);
CREATE INDEX IF NOT EXISTS sessions_by_last_seen ON sessions (last_seen_at) WHERE ended_at IS NULL;

-- One row for each Google ID token that was presented as a bearer, until it expires. A token that has a row here and no
-- open session has ended, even if its user was deleted.
CREATE TABLE IF NOT EXISTS id_tokens (
    token_sha256        BLOB PRIMARY KEY,   -- as in sessions
    expires_at          INTEGER NOT NULL    -- the token's exp
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS id_tokens_by_expiry ON id_tokens (expires_at);

-- Who may sign in besides those whom the settings of the server let in. One row for each entry: a Workspace domain, an
-- e-mail, or a sub. An e-mail gets its sub when its account first signs in; from then on only the sub counts.
CREATE TABLE IF NOT EXISTS allowed (
    id                  INTEGER PRIMARY KEY,
    domain              TEXT UNIQUE,        -- lower case; compared with hd, never with an e-mail
    email               TEXT,               -- lower case
    sub                 TEXT,
    created_at          INTEGER NOT NULL,
    created_by          TEXT,               -- an admin's e-mail; NULL for the operator
    note                TEXT,
    CHECK ((domain IS NULL) <> (email IS NULL AND sub IS NULL)),
    CHECK (domain = lower(domain) AND email = lower(email))
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS allowed_by_email ON allowed (email) WHERE sub IS NULL;
CREATE UNIQUE INDEX IF NOT EXISTS allowed_by_sub_alone ON allowed (sub) WHERE email IS NULL;
CREATE INDEX IF NOT EXISTS allowed_by_sub ON allowed (sub);

-- E-mails whose accounts were blocked before their first sign-in. When Google vouches for the e-mail at a sign-in, that
-- is refused, and a blocked user takes the place of the row.
CREATE TABLE IF NOT EXISTS blocked_emails (
    email               TEXT PRIMARY KEY,   -- lower case
    created_at          INTEGER NOT NULL,
    created_by          TEXT                -- as in allowed
) STRICT, WITHOUT ROWID;

-- What happened, newest last.
CREATE TABLE IF NOT EXISTS events (
    id                  INTEGER PRIMARY KEY,
    at                  INTEGER NOT NULL,
    kind                TEXT NOT NULL,      -- signin, refusal, signout, revocation, token; by operator or admin: block, unblock,
                                            -- release, delete, rename, allow, disallow; by Google: google
    sub                 TEXT,               -- whom it is about, if known
    email               TEXT,               -- likewise; NULL once that person was deleted, like address and user agent
    session_id          TEXT,               -- sessions.id
    client_address      TEXT,
    client_id           TEXT,               -- aud of the ID token
    user_agent          TEXT,
    reason              TEXT,               -- of a refusal: what the client was told; of google: Google's name for what happened;
                                            -- else by whom, if not by themselves
    verified_by         TEXT,               -- what said that the ID token is Google's: tokeninfo or keys; NULL where none was verified
    host                TEXT,               -- of a refusal by check or forward: the app's host, as the proxy named it
    detail              TEXT                -- of allow and disallow: the domain, if it is about one; of a token: its name; of
                                            -- rename: the new name; of google: why an account was disabled, or the state of
                                            -- a verification
) STRICT;
CREATE INDEX IF NOT EXISTS events_by_time ON events (at);
CREATE INDEX IF NOT EXISTS events_by_sub ON events (sub, at);
CREATE INDEX IF NOT EXISTS events_of_refusal ON events (at) WHERE kind = 'refusal';
CREATE INDEX IF NOT EXISTS events_by_email ON events (email) WHERE sub IS NULL AND email IS NOT NULL;
CREATE INDEX IF NOT EXISTS events_of_google ON events (at) WHERE kind = 'google';
CREATE INDEX IF NOT EXISTS events_by_others ON events (reason) WHERE kind <> 'refusal' AND reason IS NOT NULL;

-- How many sign-ins and refusals each day had. Refusals beyond the budget are counted here and have no event.
CREATE TABLE IF NOT EXISTS days (
    day                 INTEGER PRIMARY KEY, -- days since 1970-01-01, in UTC
    signins             INTEGER NOT NULL,
    refusals            INTEGER NOT NULL
) STRICT;

-- Earlier versions kept an index of the words that users are searched by.
DROP TRIGGER IF EXISTS directory_add;
DROP TRIGGER IF EXISTS directory_change;
DROP TRIGGER IF EXISTS directory_remove;
DROP TABLE IF EXISTS directory_search;
DROP TABLE IF EXISTS directory;

-- One row: a new id after every change of a user, a session or an entry of allowed, by any statement of any program,
-- except a last_seen_at that grows. While it stays the same, whatever a server has read is still true.
CREATE TABLE IF NOT EXISTS revision (
    id                  INTEGER NOT NULL    -- random
) STRICT;
INSERT INTO revision SELECT random() WHERE NOT EXISTS (SELECT 1 FROM revision);
CREATE TRIGGER IF NOT EXISTS user_changed AFTER UPDATE ON users
    BEGIN UPDATE revision SET id = random(); END;
CREATE TRIGGER IF NOT EXISTS user_deleted AFTER DELETE ON users
    BEGIN UPDATE revision SET id = random(); END;
CREATE TRIGGER IF NOT EXISTS session_updated AFTER UPDATE OF token_sha256, id, sub, kind, client_id, created_at,
    expires_at, ended_at, client_address, user_agent, name ON sessions BEGIN UPDATE revision SET id = random(); END;
CREATE TRIGGER IF NOT EXISTS session_set_back AFTER UPDATE OF last_seen_at ON sessions
    WHEN new.last_seen_at < old.last_seen_at BEGIN UPDATE revision SET id = random(); END;
CREATE TRIGGER IF NOT EXISTS session_deleted AFTER DELETE ON sessions
    BEGIN UPDATE revision SET id = random(); END;
-- INSERT OR REPLACE deletes rows without firing delete triggers. A new user or session changes nothing that was read.
CREATE TRIGGER IF NOT EXISTS user_replaced BEFORE INSERT ON users
    WHEN EXISTS (SELECT 1 FROM users WHERE sub = new.sub OR pinned_email = new.pinned_email OR username = new.username)
    BEGIN UPDATE revision SET id = random(); END;
CREATE TRIGGER IF NOT EXISTS session_replaced BEFORE INSERT ON sessions
    WHEN EXISTS (SELECT 1 FROM sessions WHERE token_sha256 = new.token_sha256 OR id = new.id)
    BEGIN UPDATE revision SET id = random(); END;
-- An insert may also let somebody in, or replace a row.
CREATE TRIGGER IF NOT EXISTS allowed_added AFTER INSERT ON allowed
    BEGIN UPDATE revision SET id = random(); END;
CREATE TRIGGER IF NOT EXISTS allowed_changed AFTER UPDATE ON allowed
    BEGIN UPDATE revision SET id = random(); END;
CREATE TRIGGER IF NOT EXISTS allowed_removed AFTER DELETE ON allowed
    BEGIN UPDATE revision SET id = random(); END;

-- A session ends with its user. Foreign keys do this as well, but other programs may leave them off.
CREATE TRIGGER IF NOT EXISTS user_deleted_sessions AFTER DELETE ON users
    BEGIN DELETE FROM sessions WHERE sub = old.sub; END;
CREATE TRIGGER IF NOT EXISTS user_created_sessions AFTER INSERT ON users
    BEGIN DELETE FROM sessions WHERE sub = new.sub; END;
CREATE TRIGGER IF NOT EXISTS user_renamed_sessions AFTER UPDATE OF sub ON users WHEN old.sub <> new.sub
    BEGIN DELETE FROM sessions WHERE sub IN (old.sub, new.sub); END;

-- Google's public keys as last fetched, so that a restart while Google is away signs people in. One row at most, and
-- none unless --verify is fallback or keys, or --google-events is on.
CREATE TABLE IF NOT EXISTS google_keys (
    id                  INTEGER PRIMARY KEY CHECK (id = 1),
    url                 TEXT NOT NULL,      -- where they are from; keys of another place do not count
    document            TEXT NOT NULL,      -- JSON: a JWK set, or PEM certificates by key ID
    fetched_at          INTEGER NOT NULL,
    expires_at          INTEGER NOT NULL    -- when they should have been fetched again
) STRICT;

-- The security events of Google that were applied, for 30 days: it may deliver one several times.
CREATE TABLE IF NOT EXISTS google_events (
    jti                 TEXT PRIMARY KEY,   -- names the event
    at                  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS google_events_by_time ON google_events (at);
