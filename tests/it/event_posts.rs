//! Posting events to a receiver that works, refuses, is slow, breaks off or is down.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hallpass::cli::{EventPoster, EventPosts, EventUrl, Patience};
use hallpass::store::EventKind;
use hallpass::web::App;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engine::TestDatabase;
use crate::google::Google;
use crate::program::{Program, eventually, hallpass};
use crate::test_app::{NOW, TestApp, body, claims, get, near, post_token, token};

/// What the receiver does with a request.
enum Reply {
    Status(u16),
    /// 200 once the test lets it.
    Held(Receiver<()>),
    /// Half an answer.
    BreakOff,
    Close,
    /// Nothing until the client leaves.
    Hang,
}

/// Receives posts, and answers 200 when its script is over.
struct Inbox {
    url: String,
    posts: Arc<Mutex<Vec<Value>>>,
}

impl Inbox {
    fn open(script: Vec<Reply>) -> Inbox {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url =
            format!("http://{}/hooks/path-secret?key=query-secret", listener.local_addr().unwrap());
        let posts = Arc::<Mutex<Vec<Value>>>::default();
        let script = Arc::new(Mutex::new(VecDeque::from(script)));
        let inbox = Inbox { url, posts: posts.clone() };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (posts, script) = (posts.clone(), script.clone());
                thread::spawn(move || receive(stream, &posts, &script));
            }
        });
        inbox
    }

    fn texts(&self) -> Vec<String> {
        let text = |post: &Value| post["text"].as_str().unwrap().to_owned();
        self.posts.lock().unwrap().iter().map(text).collect()
    }

    /// Waits until it has got so many posts.
    #[track_caller]
    fn wait_for(&self, count: usize) {
        eventually(|| self.posts.lock().unwrap().len() >= count);
    }
}

fn receive(stream: TcpStream, posts: &Mutex<Vec<Value>>, script: &Mutex<VecDeque<Reply>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        assert!(
            head.starts_with("POST /hooks/path-secret?key=query-secret HTTP/1.1\r\n"),
            "{head}"
        );
        let head = head.to_ascii_lowercase();
        assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{head}");
        let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        posts.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
        let reply = script.lock().unwrap().pop_front().unwrap_or(Reply::Status(200));
        let status = match reply {
            Reply::Status(status) => status,
            Reply::Held(released) => {
                let _ = released.recv();
                200
            }
            Reply::BreakOff => {
                writer.write_all(b"HTTP/1.1 200 O").unwrap();
                return;
            }
            Reply::Close => return,
            Reply::Hang => {
                let _ = reader.read(&mut [0]);
                return;
            }
        };
        let answer = format!("HTTP/1.1 {status} Any\r\nContent-Length: 2\r\n\r\nok");
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// An application with a poster.
struct Posted {
    app: Arc<App>,
    poster: Option<EventPoster>,
    _google: Google,
    _folder: TempDir,
    database: TestDatabase,
}

const QUICK: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_secs(600);

/// Nothing takes long, except that a receiver may.
const PATIENT: Patience = Patience { interval: QUICK, timeout: LONG, pauses: [QUICK, QUICK] };
/// A receiver may take longer than it should, but not for ever.
const IMPATIENT: Patience = Patience { timeout: Duration::from_secs(2), ..PATIENT };

impl Posted {
    fn start(inbox: &Inbox, kinds: &[EventKind], patience: Patience) -> Posted {
        let TestApp { app, google, folder, database } =
            TestApp::with(&["--allow-domain", "example.com"]);
        let (app, poster) = (Arc::new(app), None);
        let mut posted = Posted { app, poster, _google: google, _folder: folder, database };
        posted.start_poster(inbox, kinds, patience);
        posted
    }

    fn start_poster(&mut self, inbox: &Inbox, kinds: &[EventKind], patience: Patience) {
        let options = EventPosts {
            event_url: Some(EventUrl::from(inbox.url.clone())),
            event_kinds: kinds.to_vec(),
        };
        self.poster = EventPoster::start(&options, patience, &self.app).unwrap();
    }

    fn stop_poster(&mut self, grace: Duration) {
        self.poster.take().unwrap().stop(Instant::now() + grace);
    }

    /// Records events of that kind about these people, at once.
    fn record(&self, kind: &str, people: std::ops::Range<i64>) {
        let (start, end) = (people.start, people.end);
        self.database.sql(&format!(
            "WITH RECURSIVE n (i) AS (SELECT {start} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {end})
             INSERT INTO events (at, kind, sub) SELECT {NOW}, '{kind}', CAST(i AS TEXT) FROM n"
        ));
    }

    /// How many events were posted, and how many dropped.
    fn counts(&self) -> [u64; 2] {
        let metrics = body(&self.app.handle(&near(get("/metrics")), NOW));
        ["ok", "dropped"].map(|result| {
            let name = format!("hallpass_event_posts_total{{result=\"{result}\"}} ");
            metrics.split(&name).nth(1).unwrap().lines().next().unwrap().parse().unwrap()
        })
    }
}

fn blocked(person: i64) -> String {
    format!("user {person} was blocked.")
}

#[test]
fn each_event_is_posted_once() {
    let inbox = Inbox::open(Vec::new());
    let mut posted = Posted::start(&inbox, &[], PATIENT);
    // A sign-in is not posted unless --event-kinds names it; a refusal is.
    assert_eq!(
        posted.app.handle(&post_token(&token(json!({"hd": "example.com"}))), NOW).status,
        200
    );
    assert_eq!(posted.app.handle(&post_token(&token(json!({}))), NOW).status, 403);
    inbox.wait_for(1);
    let subject = claims(json!({}))["sub"].as_str().unwrap().to_owned();
    posted.record("block", 1..3);
    inbox.wait_for(3);
    eventually(|| posted.counts() == [3, 0]);
    let texts = inbox.texts();
    assert!(texts[0].starts_with("testuser@gmail.com was refused from 192.0.2.1: "), "{texts:?}");
    assert_eq!(texts[1..], [blocked(1), blocked(2)]);
    let first = inbox.posts.lock().unwrap()[0].clone();
    assert_eq!((&first["kind"], &first["sub"]), (&json!("refusal"), &json!(subject)));
    let shown = hallpass(&["events", "--json", "--kind", "refusal", "--database"])
        .arg(posted.database.argument())
        .output()
        .unwrap();
    let mut shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    shown["text"] = first["text"].clone();
    assert_eq!(first, shown, "the line of events --json, and text");

    // Neither the past nor what happens without a poster.
    posted.stop_poster(LONG);
    posted.record("block", 3..4);
    posted.start_poster(&inbox, &[], PATIENT);
    posted.record("block", 4..5);
    inbox.wait_for(4);
    assert_eq!(inbox.texts()[3], blocked(4));
}

#[test]
fn only_the_named_kinds_are_posted() {
    let inbox = Inbox::open(Vec::new());
    let posted = Posted::start(&inbox, &[EventKind::SignIn, EventKind::Unblock], PATIENT);
    posted.record("block", 1..2);
    posted.record("unblock", 2..3);
    assert_eq!(
        posted.app.handle(&post_token(&token(json!({"hd": "example.com"}))), NOW).status,
        200
    );
    inbox.wait_for(2);
    let texts = inbox.texts();
    assert_eq!(texts, ["user 2 was unblocked.", "testuser@gmail.com signed in from 192.0.2.1."]);
}

#[test]
fn a_failed_post_is_tried_three_times() {
    for (patience, script, tries, counts) in [
        (PATIENT, vec![Reply::Status(500)], 2, [2, 0]),
        (PATIENT, vec![Reply::Status(302)], 2, [2, 0]),
        (PATIENT, vec![Reply::Close], 2, [2, 0]),
        (PATIENT, vec![Reply::BreakOff, Reply::Status(429)], 3, [2, 0]),
        (PATIENT, vec![Reply::BreakOff, Reply::Close, Reply::Status(404)], 3, [1, 1]),
        (IMPATIENT, vec![Reply::Hang], 2, [2, 0]),
    ] {
        let inbox = Inbox::open(script);
        let posted = Posted::start(&inbox, &[], patience);
        posted.record("block", 1..3);
        inbox.wait_for(tries + 1);
        eventually(|| posted.counts() == counts);
        let expected = [vec![blocked(1); tries], vec![blocked(2)]].concat();
        assert_eq!(inbox.texts(), expected);
    }
}

#[test]
fn a_thousand_events_wait_and_older_ones_are_dropped() {
    let (release, released) = mpsc::channel();
    let inbox = Inbox::open(vec![Reply::Held(released)]);
    let posted = Posted::start(&inbox, &[], PATIENT);
    posted.record("block", 1..2);
    inbox.wait_for(1);
    posted.record("signin", 0..5000);
    posted.record("block", 2..1005);
    // Nobody waits for the receiver.
    assert_eq!(
        posted.app.handle(&post_token(&token(json!({"hd": "example.com"}))), NOW).status,
        200
    );
    drop(release);
    inbox.wait_for(1001);
    eventually(|| posted.counts() == [1001, 3]);
    let expected: Vec<_> = [1].into_iter().chain(5..1005).map(blocked).collect();
    assert_eq!(inbox.texts(), expected);
}

/// IDs begin again when the last event is purged.
#[test]
fn events_are_found_after_all_were_deleted() {
    let test = TestApp::open();
    let next = |last_id| {
        let next = test.app.store().next_event(&[EventKind::Block], last_id, 2).unwrap();
        (next.event.map(|event| event.id), next.last_id, next.skipped)
    };
    let insert = "INSERT INTO events (at, kind) VALUES (0, 'unblock'), (0, 'block'), (0, 'block'),
        (0, 'block'), (0, 'unblock')";
    let other = test.other_process();
    assert_eq!(next(0), (None, 0, 0));
    other.execute(insert, []).unwrap();
    assert_eq!(next(0), (Some(3), 3, 1));
    assert_eq!(next(2), (Some(3), 3, 0));
    assert_eq!(next(4), (None, 5, 0));
    assert_eq!(next(5), (None, 5, 0));
    other.execute("DELETE FROM events", []).unwrap();
    assert_eq!(next(5), (None, 0, 0));
    other.execute(insert, []).unwrap();
    assert_eq!(next(0), (Some(3), 3, 1));
}

#[test]
fn a_stop_posts_waiting_events_if_the_receiver_takes_them() {
    let idle = Patience { interval: LONG, ..PATIENT };
    let inbox = Inbox::open(Vec::new());
    let mut posted = Posted::start(&inbox, &[], idle);
    posted.record("block", 1..4);
    posted.stop_poster(LONG);
    assert_eq!(inbox.texts(), [blocked(1), blocked(2), blocked(3)]);

    for reply in [Reply::Status(500), Reply::Hang] {
        let inbox = Inbox::open(vec![reply]);
        let mut posted = Posted::start(&inbox, &[], idle);
        posted.record("block", 1..1001);
        posted.stop_poster(Duration::from_millis(300));
        assert_eq!(inbox.texts(), [blocked(1)], "one try");
    }
}

#[test]
fn a_stop_does_not_wait_for_the_next_try() {
    let inbox = Inbox::open(vec![Reply::Status(500), Reply::Status(500)]);
    let mut posted = Posted::start(&inbox, &[], Patience { pauses: [LONG, LONG], ..PATIENT });
    posted.record("block", 1..1001);
    inbox.wait_for(1);
    posted.stop_poster(LONG);
    assert_eq!(inbox.texts(), [blocked(1), blocked(1)]);
}

#[test]
fn the_program_stops_with_a_full_queue_and_never_logs_the_url() {
    // Nobody listens on port 1.
    let url = "http://127.0.0.1:1/path-secret?key=query-secret";
    let folder = tempfile::tempdir().unwrap();
    let program =
        Program::serve_in(folder, &["--event-url", url], &[("RUST_LOG", "hallpass=trace")]);
    let events = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
        INSERT INTO events (at, kind, sub) SELECT unixepoch(), 'block', i FROM n";
    let database = program.folder.path().join("hallpass.db");
    rusqlite::Connection::open(database).unwrap().execute(events, []).unwrap();
    let again = "is posted to 127.0.0.1 again: the receiver of events could not be reached";
    eventually(|| program.log().contains(again));
    program.signal("-TERM");
    let (code, log) = program.end();
    assert_eq!(code, Some(0), "{log}");
    for line in [
        "WARN  500 events are dropped: more than 1000 wait to be posted to 127.0.0.1",
        "WARN  stopping before all events are posted to 127.0.0.1",
        "INFO  stopped",
    ] {
        assert!(log.contains(line), "{log}");
    }
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn a_wrong_url_is_refused_without_showing_it() {
    for (url, reason) in [
        ("ftp://a.example/secret", "--event-url takes an http or https URL"),
        ("data:secret", "--event-url takes an http or https URL"),
        ("https://me:secret@a.example/", "--event-url takes no user name and no password"),
        (
            "a.example/secret",
            "--event-url takes a URL such as https://chat.example.com/hooks/1, with https:// in front",
        ),
        ("https://a example/secret", "--event-url takes a URL such as"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let flags = ["serve", "--client-id", "x", "--allow-anyone", "--listen", "127.0.0.1:0"];
        let output = hallpass(&flags)
            .env("HALLPASS_EVENT_URL", url)
            .env("HALLPASS_DATABASE", folder.path().join("db"))
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(reason) && !error.contains("secret"), "{error}");
    }
    let help =
        hallpass(&["serve", "--help"]).env("HALLPASS_EVENT_URL", "https://a/hook-4711").output();
    assert!(!String::from_utf8(help.unwrap().stdout).unwrap().contains("hook-4711"));
}
