-- The database of Hallpass. You can open it with `sqlite3` at any time. This script runs at every start.
-- Every *_at column is in unix seconds. PRAGMA user_version is the version of this schema.

-- One row per person, identified by the sub. E-mails change and are reassigned; a sub never is.
CREATE TABLE IF NOT EXISTS users (
    sub                 TEXT PRIMARY KEY,   -- Google's subject identifier
    email               TEXT,               -- the profile is as of the last sign-in; absent claims are NULL
    email_verified      INTEGER,            -- 0 or 1
    email_authoritative INTEGER NOT NULL,   -- 1 if Google is authoritative for the e-mail
    pinned_email        TEXT UNIQUE,        -- lower case; the authoritative e-mail that no other sub may sign in with
    name                TEXT,
    given_name          TEXT,
    family_name         TEXT,
    picture             TEXT,               -- URL
    hosted_domain       TEXT,               -- hd: the Workspace domain
    locale              TEXT,
    created_at          INTEGER NOT NULL,   -- first sign-in, or import
    last_signin_at      INTEGER NOT NULL,   -- 0 if never
    blocked_at          INTEGER,            -- NULL unless blocked by the operator or an admin
    username            TEXT,               -- unique; given at the first sign-in, NULL before
    google_disabled_at  INTEGER             -- when Google disabled the account because somebody else had taken it over;
                                            -- NULL if it did not, or enabled it again, or the operator unblocked it
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS users_by_last_signin ON users (last_signin_at);
CREATE INDEX IF NOT EXISTS users_by_creation ON users (created_at);
CREATE INDEX IF NOT EXISTS users_by_email_lower ON users (lower(email));
DROP INDEX IF EXISTS users_by_email; -- of earlier versions
CREATE UNIQUE INDEX IF NOT EXISTS users_by_username ON users (username);

-- Every user name ever given, so nobody gets another person's, even if that person was renamed or deleted.
-- Only hashes are stored, because the names are made from e-mails.
CREATE TABLE IF NOT EXISTS usernames (
    username_sha256     BLOB PRIMARY KEY,   -- 32 bytes
    sub                 TEXT NOT NULL       -- the user who has or had it, even if deleted
) STRICT, WITHOUT ROWID;

-- Sessions, tokens for programs, and Google ID tokens that were presented as a bearer. Only hashes of the
-- tokens are stored.
CREATE TABLE IF NOT EXISTS sessions (
    token_sha256        BLOB PRIMARY KEY,   -- 32 bytes; of an ID token, the hash of header.payload
    id                  TEXT NOT NULL UNIQUE, -- public; of an id_token, a hash of the whole token
    sub                 TEXT NOT NULL REFERENCES users (sub) ON DELETE CASCADE,
    kind                TEXT NOT NULL CHECK (kind IN ('session', 'id_token', 'token')), -- only a session has an idle limit
    client_id           TEXT NOT NULL,      -- aud of the ID token behind it; empty if the operator created the token
    authorized_party    TEXT,               -- azp of that token
    created_at          INTEGER NOT NULL,
    last_seen_at        INTEGER NOT NULL,   -- written at most once a minute
    expires_at          INTEGER NOT NULL,   -- absolute limit; the row stays until then, ended or not
    ended_at            INTEGER,            -- NULL unless signed out or revoked
    client_address      TEXT,               -- at sign-in
    user_agent          TEXT,               -- at sign-in
    name                TEXT                -- of a token for a program
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

-- The list of who may enter, in addition to the settings. An entry is a Workspace domain, an e-mail or a
-- sub. An e-mail gets its sub when its account first signs in; from then on only the sub counts.
CREATE TABLE IF NOT EXISTS allowed (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT, -- a removed entry's is never used again
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

-- E-mails that are blocked before their account has signed in. Every sign-in with such an e-mail is refused. If
-- Google is authoritative for it, a blocked user replaces the row.
CREATE TABLE IF NOT EXISTS blocked_emails (
    email               TEXT PRIMARY KEY,   -- lower case
    created_at          INTEGER NOT NULL,
    created_by          TEXT                -- as in allowed
) STRICT, WITHOUT ROWID;

-- Events, the newest last.
CREATE TABLE IF NOT EXISTS events (
    id                  INTEGER PRIMARY KEY,
    at                  INTEGER NOT NULL,
    kind                TEXT NOT NULL,      -- signin, refusal, signout, revocation, token; by operator or admin: block, unblock,
                                            -- release, delete, rename, allow, disallow; by Google: google
    sub                 TEXT,               -- the user whom it is about, if known
    email               TEXT,               -- NULL after the user is deleted, like address and user agent
    session_id          TEXT,               -- sessions.id
    client_address      TEXT,
    client_id           TEXT,               -- aud of the ID token
    user_agent          TEXT,
    reason              TEXT,               -- of a refusal: the text for the client; of google: Google's name for what happened;
                                            -- else by whom, if not by themselves
    verified_by         TEXT,               -- tokeninfo or keys; NULL if neither an ID token nor an event of Google's was verified
    host                TEXT,               -- of a refusal by check or forward: the app's host, as the proxy names it
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

-- Sign-ins and refusals per day. Refusals beyond the budget are counted here and have no event.
CREATE TABLE IF NOT EXISTS days (
    day                 INTEGER PRIMARY KEY, -- days since 1970-01-01, in UTC
    signins             INTEGER NOT NULL,
    refusals            INTEGER NOT NULL
) STRICT;

-- Earlier versions had a search index.
DROP TRIGGER IF EXISTS directory_add;
DROP TRIGGER IF EXISTS directory_change;
DROP TRIGGER IF EXISTS directory_remove;
DROP TABLE IF EXISTS directory_search;
DROP TABLE IF EXISTS directory;

-- One row, with a new id after every change of a user, a session or an allowed entry by any program, except a
-- later last_seen_at. While the id is the same, the server's session cache is exact.
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
-- INSERT OR REPLACE deletes rows without firing delete triggers. Other inserts do not change a cached row.
CREATE TRIGGER IF NOT EXISTS user_replaced BEFORE INSERT ON users
    WHEN EXISTS (SELECT 1 FROM users WHERE sub = new.sub OR pinned_email = new.pinned_email OR username = new.username)
    BEGIN UPDATE revision SET id = random(); END;
CREATE TRIGGER IF NOT EXISTS session_replaced BEFORE INSERT ON sessions
    WHEN EXISTS (SELECT 1 FROM sessions WHERE token_sha256 = new.token_sha256 OR id = new.id)
    BEGIN UPDATE revision SET id = random(); END;
-- An insert may let a cached user in, or replace a row.
CREATE TRIGGER IF NOT EXISTS allowed_added AFTER INSERT ON allowed
    BEGIN UPDATE revision SET id = random(); END;
CREATE TRIGGER IF NOT EXISTS allowed_changed AFTER UPDATE ON allowed
    BEGIN UPDATE revision SET id = random(); END;
CREATE TRIGGER IF NOT EXISTS allowed_removed AFTER DELETE ON allowed
    BEGIN UPDATE revision SET id = random(); END;

-- Sessions end with their user. Foreign keys do this too, but other programs may not enable them.
CREATE TRIGGER IF NOT EXISTS user_deleted_sessions AFTER DELETE ON users
    BEGIN DELETE FROM sessions WHERE sub = old.sub; END;
CREATE TRIGGER IF NOT EXISTS user_created_sessions AFTER INSERT ON users
    BEGIN DELETE FROM sessions WHERE sub = new.sub; END;
CREATE TRIGGER IF NOT EXISTS user_renamed_sessions AFTER UPDATE OF sub ON users WHEN old.sub <> new.sub
    BEGIN DELETE FROM sessions WHERE sub IN (old.sub, new.sub); END;

-- Google's public keys as last fetched, so people can sign in after a restart while Google is down. One row at
-- most, and none unless --verify is fallback or keys, or --google-events is on.
CREATE TABLE IF NOT EXISTS google_keys (
    id                  INTEGER PRIMARY KEY CHECK (id = 1),
    url                 TEXT NOT NULL,      -- keys from another URL are ignored
    document            TEXT NOT NULL,      -- JSON: a JWK set, or PEM certificates by key ID
    fetched_at          INTEGER NOT NULL,
    expires_at          INTEGER NOT NULL    -- when to fetch them again
) STRICT;

-- Google's security events that were applied in the last 30 days, because Google may deliver one several times.
CREATE TABLE IF NOT EXISTS google_events (
    jti                 TEXT PRIMARY KEY,   -- names the event
    at                  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS google_events_by_time ON google_events (at);

-- The keys that sign assertions, two at a time. Empty if --assertion was never on. Anybody who reads a private
-- key can sign for any user.
CREATE TABLE IF NOT EXISTS assertion_keys (
    kid                 TEXT PRIMARY KEY,   -- names the key in /auth/jwks
    private_key         BLOB NOT NULL,      -- P-256, in PKCS #8
    signs_from          INTEGER NOT NULL    -- it signs from then on, until the next one does
) STRICT, WITHOUT ROWID;
