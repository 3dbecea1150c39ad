//! A stand-in for Google that costs as little as possible. Its tokeninfo accepts every token, and
//! it publishes a key.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use hallpass::clock;

use super::keys;

/// The audience of the tokens.
pub const CLIENT_ID: &str = "bench.apps.googleusercontent.com";
/// The `kid` of the tokens.
pub const KEY_ID: &str = "0123456789abcdef0123456789abcdef01234567";
/// The length of a real ID token, roughly.
const TOKEN_BYTES: usize = 1200;

/// A stand-in on a free port. It runs until this program ends.
pub struct Google {
    pub address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

/// When it answers a request.
#[derive(Clone, Copy)]
pub enum Answers {
    After(Duration),
    /// It keeps the connection open without an answer.
    Never,
}

impl Google {
    pub fn start(answers: Answers) -> Google {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let google = Google {
            address: listener.local_addr().expect("a listener has an address"),
            requests: Arc::default(),
        };
        let requests = google.requests.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, requests) =
                    (stream.expect("a connection can be accepted"), requests.clone());
                thread::spawn(move || serve(&stream, answers, &requests));
            }
        });
        google
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

/// The ID token of a person, padded to the length of a real one.
pub fn token(number: u64) -> String {
    format!("{:x<TOKEN_BYTES$}", format!("n.{number}."))
}

/// Answers requests until the client closes.
fn serve(mut stream: &TcpStream, answers: Answers, requests: &AtomicUsize) {
    stream.set_nodelay(true).expect("the socket is open");
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
            requests.fetch_add(1, Ordering::Relaxed);
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
