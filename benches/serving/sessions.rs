//! Writes a database with many live sessions.

use std::path::Path;

use hallpass::clock;
use hallpass::store::Store;
use hallpass::token::SessionToken;
use rusqlite::{Connection, params};

const SESSIONS_PER_PERSON: usize = 4;
/// The default of --session-lifetime.
const LIFETIME_SECONDS: i64 = 30 * 24 * 60 * 60;
/// All sessions were created an hour ago.
const AGE_SECONDS: i64 = 60 * 60;

/// When the sessions were last used. The server records this at most once a minute.
#[derive(Clone, Copy)]
pub enum LastSeen {
    /// Spread over the last minute, as if all were in use.
    ThisMinute,
    /// So long ago that the first check of each session writes.
    AnHourAgo,
}

/// Returns the tokens of the sessions.
pub fn create(database: &Path, count: usize, last_seen: LastSeen) -> Vec<String> {
    drop(Store::open(database).expect("a new database can be made"));
    let mut database = Connection::open(database).expect("the database opens");
    let now = clock::now();
    let rows = database.transaction().expect("this is the only writer");
    let tokens = (0..count)
        .map(|number| {
            let person = number / SESSIONS_PER_PERSON;
            let subject = format!("1{person:0>20}");
            if number % SESSIONS_PER_PERSON == 0 {
                rows.prepare_cached(
                    "INSERT INTO users (sub, email, email_verified, email_authoritative, pinned_email, name,
                        given_name, family_name, picture, hosted_domain, created_at, last_signin_at)
                    VALUES (?1, ?2, 1, 1, ?2, ?3, 'Person', ?4, ?5, 'example.com', ?6, ?6)",
                )
                .and_then(|mut insert| {
                    insert.execute(params![
                        subject,
                        format!("person.{person}@example.com"),
                        format!("Person Number {person}"),
                        format!("Number {person}"),
                        format!("https://lh3.googleusercontent.com/a/ACg8ocJ{person:0>40}=s96-c"),
                        now - AGE_SECONDS,
                    ])
                })
                .expect("a user can be written");
            }
            let token = SessionToken::generate();
            let last_seen_at = match last_seen {
                LastSeen::ThisMinute => now - number as i64 % 60,
                LastSeen::AnHourAgo => now - AGE_SECONDS,
            };
            rows.prepare_cached(
                "INSERT INTO sessions (token_sha256, id, sub, kind, client_id, created_at, last_seen_at, expires_at,
                    client_address, user_agent)
                VALUES (?1, ?2, ?3, 'session', ?4, ?5, ?6, ?7, '192.0.2.7', ?8)",
            )
            .and_then(|mut insert| {
                insert.execute(params![
                    token.hash().as_bytes(),
                    format!("session-{number:0>8}"),
                    subject,
                    super::google::CLIENT_ID,
                    now - AGE_SECONDS,
                    last_seen_at,
                    now + LIFETIME_SECONDS,
                    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                ])
            })
            .expect("a session can be written");
            token.expose().to_owned()
        })
        .collect();
    rows.commit().expect("the rows can be committed");
    tokens
}
