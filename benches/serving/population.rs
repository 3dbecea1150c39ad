//! Writes the database of a large site: a million users, each with a session and three events.

use std::path::Path;

use hallpass::clock;
use hallpass::store::Store;
use hallpass::token::SessionToken;
use rusqlite::{Connection, params};

/// The e-mail and the `sub` of the first user, who sees the admin pages.
pub const ADMIN: &str = "ada.lovelace.0@example.com";
pub const ADMIN_SUBJECT: &str = "100000000000000000000";
/// The number of users and of sessions.
pub const USERS: i64 = 1_000_000;
pub const EVENTS: i64 = 3 * USERS;
/// How many sessions have a token that requests can use.
const KNOWN_TOKENS: i64 = 100_000;

/// Without syncs, which would take minutes.
const PREPARE: &str = "PRAGMA synchronous = OFF; PRAGMA cache_size = -262144; BEGIN";

/// ?2 people with names, who came one after the other in the 400 days before ?1.
const PEOPLE: &str = "
CREATE TEMP TABLE people AS WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)
SELECT i, printf('1%020d', i * 2654435761 % 4294967296) AS sub, ?1 - 34560000 * (?2 - i) / ?2 AS came_at,
    json_extract('[\"Ada\",\"Grace\",\"Mira\",\"Jonas\",\"Tariq\",\"Lena\",\"Igor\",\"Yuki\"]', '$[' || (i % 8) || ']') AS given,
    json_extract('[\"Lovelace\",\"Hopper\",\"Okafor\",\"Lindqvist\",\"Haddad\",\"Kaya\",\"Novak\"]', '$[' || (i % 7) || ']')
        AS family FROM n";

const FILL: &str = "
INSERT INTO users (sub, email, email_verified, email_authoritative, pinned_email, name, given_name, family_name, picture,
    hosted_domain, created_at, last_signin_at)
SELECT sub, email, 1, 1, email, given || ' ' || family, given, family,
    printf('https://lh3.googleusercontent.com/a/ACg8ocJ%040d=s96-c', i), 'example.com', came_at, came_at + i % 600000
FROM (SELECT *, lower(given || '.' || family) || '.' || i || '@example.com' AS email FROM people) ORDER BY sub;

INSERT INTO events (at, kind, sub, email, session_id, client_address, client_id, user_agent, reason)
SELECT came_at + nth.column1, iif(i % 50 = 0, 'refusal', 'signin'), sub,
    lower(given || '.' || family) || '.' || i || '@example.com', hex(randomblob(8)), '192.0.2.7',
    'bench.apps.googleusercontent.com', 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
    iif(i % 50 = 0, 'this account is not on the list of those who may sign in', NULL)
FROM people CROSS JOIN (VALUES (0), (1), (2)) AS nth;
INSERT INTO days SELECT at / 86400, sum(kind = 'signin'), sum(kind = 'refusal') FROM events GROUP BY 1";

const SESSIONS: &str = "
INSERT INTO sessions SELECT randomblob(32), hex(randomblob(8)), sub, 'session', 'bench.apps.googleusercontent.com', NULL,
    ?1 - 3600, ?1 - abs(random() % 60), ?1 + 2592000, NULL, '192.0.2.7',
    'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', NULL
FROM people WHERE i >= ?2 ORDER BY 1";

/// Returns the tokens that requests can use; the first is the admin's.
pub fn create(database: &Path) -> Vec<String> {
    drop(Store::open(database).expect("a new database can be made"));
    let db = Connection::open(database).expect("the database opens");
    let now = clock::now();
    db.execute_batch(PREPARE).expect("the database is writable");
    db.execute(PEOPLE, [now, USERS]).expect("the people can be written");
    db.execute_batch(FILL).expect("the tables are those of schema.sql");
    db.execute(SESSIONS, [now, KNOWN_TOKENS]).expect("the sessions can be written");
    let known =
        "INSERT INTO sessions SELECT ?1, hex(randomblob(8)), sub, 'session', 'bench.apps.googleusercontent.com',
        NULL, ?2 - 3600, ?2, ?2 + 2592000, NULL, '192.0.2.7', 'bench', NULL FROM people WHERE rowid = ?3 + 1";
    let mut insert = db.prepare(known).expect("the columns are those of schema.sql");
    let token = |number| {
        let token = SessionToken::generate();
        insert
            .execute(params![token.hash().as_bytes(), now, number])
            .expect("a session can be written");
        token.expose().to_owned()
    };
    let tokens = (0..KNOWN_TOKENS).map(token).collect();
    drop(insert);
    db.execute_batch("COMMIT; PRAGMA wal_checkpoint (TRUNCATE)")
        .expect("the rows can be committed");
    tokens
}
