//! A stand-in for Google's tokeninfo: real HTTP on port 0 that can misbehave in many ways.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hallpass::json::Fields;
use serde_json::{Value, json};

use crate::signing::FIRST;

/// The answer to one call.
#[derive(Clone)]
pub enum Answer {
    /// 200 with the claims of the token, every value a string, as from Google.
    Claims,
    /// [`Answer::Claims`] after a delay.
    Late(Duration),
    /// As from Google: 200 if the first key signed the token and it has not expired at that time,
    /// else 400.
    Judged(i64),
    /// Another answer after a delay.
    After(Duration, Box<Answer>),
    /// A status, headers and a body.
    Status(u16, &'static str, Vec<u8>),
    /// Any bytes, then the end of the connection.
    Bytes(Vec<u8>),
    /// The head of a 200, then a byte from time to time, for ever.
    Drip,
    /// Nothing until the client leaves.
    Hang,
    /// Half an answer, then a reset.
    Reset,
    /// The end of the connection without an answer.
    Close,
}

/// A running stand-in.
pub struct Google {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    script: Mutex<VecDeque<Answer>>,
    otherwise: Mutex<Option<Answer>>,
    targets: Mutex<Vec<String>>,
    ended: AtomicBool,
}

impl Google {
    pub fn start() -> Google {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = state.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if shared.ended.load(Ordering::Relaxed) {
                    break;
                }
                let shared = shared.clone();
                thread::spawn(move || shared.serve(connection));
            }
        });
        Google { port, state }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/tokeninfo", self.port)
    }

    /// Sets the answer to the next call. Repeated uses form a queue.
    pub fn next(&self, answer: Answer) {
        self.state.script.lock().unwrap().push_back(answer);
    }

    /// Sets the answer to every call that [`Google::next`] does not cover.
    pub fn always(&self, answer: Answer) {
        *self.state.otherwise.lock().unwrap() = Some(answer);
    }

    /// The request targets of all calls so far.
    pub fn calls(&self) -> Vec<String> {
        self.state.targets.lock().unwrap().clone()
    }
}

impl Drop for Google {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl State {
    fn serve(&self, connection: TcpStream) {
        let mut reader = BufReader::new(connection.try_clone().unwrap());
        let mut connection = connection;
        while let Some(target) = read_target(&mut reader) {
            self.targets.lock().unwrap().push(target.clone());
            let scripted = self.script.lock().unwrap().pop_front();
            let answer = scripted
                .or_else(|| self.otherwise.lock().unwrap().clone())
                .unwrap_or(Answer::Claims);
            if !perform(answer, &target, &mut connection) {
                let _ = connection.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}

fn read_target(reader: &mut impl BufRead) -> Option<String> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|length| *length > 0)?;
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    }
    first.split(' ').nth(1).map(str::to_owned)
}

/// Returns whether the connection stays open.
fn perform(answer: Answer, target: &str, connection: &mut TcpStream) -> bool {
    match answer {
        Answer::Claims => write(connection, 200, "", claims_document(target).as_bytes()),
        Answer::Late(delay) => {
            thread::sleep(delay);
            write(connection, 200, "", claims_document(target).as_bytes())
        }
        Answer::Judged(now) => match FIRST.judge(token_in(target), now) {
            Some(claims) => write(connection, 200, "", as_strings(claims).as_bytes()),
            None => write(
                connection,
                400,
                "",
                br#"{"error":"invalid_token","error_description":"Invalid Value"}"#,
            ),
        },
        Answer::After(delay, answer) => {
            thread::sleep(delay);
            perform(*answer, target, connection)
        }
        Answer::Status(status, headers, body) => write(connection, status, headers, &body),
        Answer::Bytes(bytes) => {
            let _ = connection.write_all(&bytes);
            false
        }
        Answer::Drip => {
            let _ =
                connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"iss\":\"");
            while connection.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
            false
        }
        Answer::Hang => {
            let _ = connection.read(&mut [0; 1]);
            false
        }
        Answer::Reset => {
            let _ =
                connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"iss\":");
            // Closing with unread data makes the kernel send a reset. Without any, an early end
            // serves as well.
            false
        }
        Answer::Close => false,
    }
}

fn write(connection: &mut TcpStream, status: u16, headers: &str, body: &[u8]) -> bool {
    let caching = match headers.contains("Cache-Control:") {
        true => "",
        false => "Cache-Control: no-cache, no-store, max-age=0, must-revalidate\r\n",
    };
    let head = format!(
        "HTTP/1.1 {status} Reason\r\nContent-Type: application/json; charset=UTF-8\r\n\
         {caching}{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(&[head.as_bytes(), body].concat()).is_ok()
}

/// A token with that payload, which the stand-in sends back.
pub fn token_of(claims: &str) -> String {
    let segment = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!(
        "{}.{}.{}",
        segment(r#"{"alg":"RS256","kid":"test"}"#),
        segment(claims),
        segment("signature")
    )
}

fn token_in(target: &str) -> &str {
    target.split_once("id_token=").map_or("", |(_, token)| token)
}

/// Every value as a string, as tokeninfo writes them. Repeated fields stay repeated.
fn as_strings(claims: Fields) -> String {
    let text = |value: &Value| match value {
        Value::Number(_) | Value::Bool(_) => Value::String(value.to_string()),
        other => other.clone(),
    };
    let fields: Vec<String> =
        claims.iter().map(|(name, value)| format!("{}:{}", json!(name), text(value))).collect();
    format!("{{{}}}", fields.join(","))
}

fn claims_document(target: &str) -> String {
    let payload =
        token_in(target).split('.').nth(1).and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
    payload
        .and_then(|payload| Fields::parse(&payload).ok())
        .map_or_else(|| "{}".to_owned(), as_strings)
}
