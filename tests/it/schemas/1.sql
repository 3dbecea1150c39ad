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
    created_at          INTEGER NOT NULL,   -- first sign-in
    last_signin_at      INTEGER NOT NULL,
    blocked_at          INTEGER             -- NULL unless the operator blocked this person
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS users_by_last_signin ON users (last_signin_at);
CREATE INDEX IF NOT EXISTS users_by_email ON users (email COLLATE NOCASE);

-- One row a session, and one a Google ID token that was presented as a bearer. Tokens themselves are nowhere.
CREATE TABLE IF NOT EXISTS sessions (
    token_sha256        BLOB PRIMARY KEY,   -- 32 bytes
    id                  TEXT NOT NULL UNIQUE, -- names the session where the token must not be shown
    sub                 TEXT NOT NULL REFERENCES users (sub) ON DELETE CASCADE,
    kind                TEXT NOT NULL CHECK (kind IN ('session', 'id_token')), -- an id_token row has no idle limit
    client_id           TEXT NOT NULL,      -- aud of the ID token behind it
    authorized_party    TEXT,               -- azp of that token: the app that asked for it
    created_at          INTEGER NOT NULL,
    last_seen_at        INTEGER NOT NULL,   -- written at most once a minute
    expires_at          INTEGER NOT NULL,   -- absolute limit; the row stays until then, ended or not
    ended_at            INTEGER,            -- NULL unless signed out or revoked
    client_address      TEXT,               -- at sign-in
    user_agent          TEXT                -- at sign-in
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sessions_by_sub ON sessions (sub);
CREATE INDEX IF NOT EXISTS sessions_by_expiry ON sessions (expires_at);
CREATE INDEX IF NOT EXISTS sessions_by_last_seen ON sessions (last_seen_at) WHERE ended_at IS NULL;

-- What happened, newest last.
CREATE TABLE IF NOT EXISTS events (
    id                  INTEGER PRIMARY KEY,
    at                  INTEGER NOT NULL,
    kind                TEXT NOT NULL,      -- signin, refusal, signout, revocation; by operator or admin: block, unblock, release, delete
    sub                 TEXT,               -- whom it is about, if known
    email               TEXT,               -- likewise; NULL once that person was deleted, like address and user agent
    session_id          TEXT,               -- sessions.id
    client_address      TEXT,
    client_id           TEXT,               -- aud of the ID token
    user_agent          TEXT,
    reason              TEXT,               -- of a refusal: what the client was told; else by whom, if not by themselves
    verified_by         TEXT                -- what said that the ID token is Google's: tokeninfo or keys; NULL where none was verified
) STRICT;
CREATE INDEX IF NOT EXISTS events_by_time ON events (at);
CREATE INDEX IF NOT EXISTS events_by_sub ON events (sub, at);
CREATE INDEX IF NOT EXISTS events_of_refusal ON events (at) WHERE kind = 'refusal';
CREATE INDEX IF NOT EXISTS events_by_others ON events (reason) WHERE kind <> 'refusal' AND reason IS NOT NULL;

-- How many sign-ins and refusals a day had: to count millions of events for a chart would take too long.
CREATE TABLE IF NOT EXISTS days (
    day                 INTEGER PRIMARY KEY, -- days since 1970-01-01, in UTC
    signins             INTEGER NOT NULL,
    refusals            INTEGER NOT NULL
) STRICT;

-- The users in the order they came in, for paging, and what they are searched by. Triggers keep both in step with users.
CREATE TABLE IF NOT EXISTS directory (
    id                  INTEGER PRIMARY KEY,
    sub                 TEXT NOT NULL UNIQUE, -- users.sub
    words               TEXT NOT NULL       -- name and e-mail, each after a space, so that a space begins a word
) STRICT;
CREATE VIRTUAL TABLE IF NOT EXISTS directory_search USING fts5 (
    words, content = 'directory', content_rowid = 'id', tokenize = 'trigram', columnsize = 0, detail = none
);
CREATE TRIGGER IF NOT EXISTS directory_add AFTER INSERT ON users BEGIN
    INSERT INTO directory (sub, words) VALUES (new.sub, coalesce(' ' || new.name, '') || coalesce(' ' || new.email, ''));
    INSERT INTO directory_search (rowid, words) SELECT id, words FROM directory WHERE sub = new.sub;
END;
CREATE TRIGGER IF NOT EXISTS directory_change AFTER UPDATE OF name, email ON users
WHEN old.name IS NOT new.name OR old.email IS NOT new.email BEGIN
    INSERT INTO directory_search (directory_search, rowid, words)
        SELECT 'delete', id, words FROM directory WHERE sub = new.sub;
    UPDATE directory SET words = coalesce(' ' || new.name, '') || coalesce(' ' || new.email, '') WHERE sub = new.sub;
    INSERT INTO directory_search (rowid, words) SELECT id, words FROM directory WHERE sub = new.sub;
END;
CREATE TRIGGER IF NOT EXISTS directory_remove AFTER DELETE ON users BEGIN
    INSERT INTO directory_search (directory_search, rowid, words)
        SELECT 'delete', id, words FROM directory WHERE sub = old.sub;
    DELETE FROM directory WHERE sub = old.sub;
END;

-- One row: another id after every change of a user or a session, whoever makes it, but for a last_seen_at that grows. As
-- long as it stays, what a server has read stays true.
CREATE TABLE IF NOT EXISTS revision (
    id                  INTEGER NOT NULL    -- random
) STRICT;
INSERT INTO revision SELECT random() WHERE NOT EXISTS (SELECT 1 FROM revision);
CREATE TRIGGER IF NOT EXISTS user_changed AFTER UPDATE ON users
    BEGIN UPDATE revision SET id = random(); END;
CREATE TRIGGER IF NOT EXISTS user_deleted AFTER DELETE ON users
    BEGIN UPDATE revision SET id = random(); END;
CREATE TRIGGER IF NOT EXISTS session_changed AFTER UPDATE OF token_sha256, id, sub, kind, created_at, expires_at, ended_at
    ON sessions BEGIN UPDATE revision SET id = random(); END;
CREATE TRIGGER IF NOT EXISTS session_set_back AFTER UPDATE OF last_seen_at ON sessions
    WHEN new.last_seen_at < old.last_seen_at BEGIN UPDATE revision SET id = random(); END;
CREATE TRIGGER IF NOT EXISTS session_deleted AFTER DELETE ON sessions
    BEGIN UPDATE revision SET id = random(); END;

-- Google's public keys as last fetched, so that a restart while Google is away signs people in. One row at most, and
-- none unless --verify is fallback or keys.
CREATE TABLE IF NOT EXISTS google_keys (
    id                  INTEGER PRIMARY KEY CHECK (id = 1),
    url                 TEXT NOT NULL,      -- where they are from; keys of another place do not count
    document            TEXT NOT NULL,      -- JSON: a JWK set, or PEM certificates by key ID
    fetched_at          INTEGER NOT NULL,
    expires_at          INTEGER NOT NULL    -- when they should have been fetched again
) STRICT;
