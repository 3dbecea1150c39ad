//! A stand-in for Google's tokeninfo that costs as little as possible: it believes every token. It publishes a key, too.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use hallpass::clock;

use super::keys;

/// The client ID that the tokens are for.
pub const CLIENT_ID: &str = "bench.apps.googleusercontent.com";
/// The key that tokens are said to be signed with.
pub const KEY_ID: &str = "0123456789abcdef0123456789abcdef01234567";
/// Real ID tokens are about that long.
const TOKEN_BYTES: usize = 1200;

/// A stand-in that listens on a port of its own, for as long as this program runs.
pub struct Google {
    /// Where.
    pub address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

/// When it answers.
#[derive(Clone, Copy)]
pub enum Answers {
    /// So long after it was asked.
    After(Duration),
    /// It keeps the connection and says nothing.
    Never,
}

impl Google {
    /// Starts one.
    pub fn start(answers: Answers) -> Google {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let google = Google {
            address: listener.local_addr().expect("a listener has an address"),
            asked: Arc::default(),
        };
        let asked = google.asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, asked) =
                    (stream.expect("a connection can be accepted"), asked.clone());
                thread::spawn(move || converse(&stream, answers, &asked));
            }
        });
        google
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// The ID token of the person of that number, padded to the length of a real one.
pub fn token(number: u64) -> String {
    format!("{:x<TOKEN_BYTES$}", format!("n.{number}."))
}

/// Answers one request after the other, until the server closes.
fn converse(mut stream: &TcpStream, answers: Answers, asked: &AtomicUsize) {
    stream.set_nodelay(true).expect("a socket takes its options");
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    let mut person = String::new();
    let mut wants_keys = false;
    while lines.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        if let Some((_, token)) = line.split_once("id_token=n.") {
            person = token.chars().take_while(char::is_ascii_digit).collect();
        }
        wants_keys |= line.starts_with("GET /certs ");
        if line == "\r\n" {
            asked.fetch_add(1, Ordering::Relaxed);
            match answers {
                Answers::After(delay) if delay.is_zero() => {}
                Answers::After(delay) => thread::sleep(delay),
                Answers::Never => loop {
                    thread::park();
                },
            }
            let answer = if wants_keys { with_head(&keys::published()) } else { answer(&person) };
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
        line.clear();
    }
}

fn answer(person: &str) -> String {
    let now = clock::now();
    let expires_at = now + 3600;
    let claims = format!(
        r#"{{
  "iss": "https://accounts.google.com",
  "azp": "{CLIENT_ID}",
  "aud": "{CLIENT_ID}",
  "sub": "1{person:0>20}",
  "hd": "example.com",
  "email": "person.{person}@example.com",
  "email_verified": "true",
  "nbf": "{now}",
  "name": "Person Number {person}",
  "picture": "https://lh3.googleusercontent.com/a/ACg8ocJ{person:0>40}=s96-c",
  "given_name": "Person",
  "family_name": "Number {person}",
  "iat": "{now}",
  "exp": "{expires_at}",
  "alg": "RS256",
  "kid": "{KEY_ID}",
  "typ": "JWT"
}}"#
    );
    with_head(&claims)
}

fn with_head(document: &str) -> String {
    let length = document.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{document}"
    )
}
