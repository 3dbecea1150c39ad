//! What happens behind the door.

use super::*;

#[test]
fn when_nothing_is_inside_the_client_is_told_so() {
    let door = door(|settings| {
        settings.upstream =
            std::os::unix::net::SocketAddr::from_pathname("/nowhere/at-all").unwrap();
    });
    let answer = door.tell(GET);
    assert_eq!(status(&answer), 503);
    assert_eq!(header(&answer, "retry-after"), Some("1"));
    assert!(body(&answer).contains("temporarily_unavailable"));
    door.counted(Reason::UpstreamUnavailable, 1);
}

/// An inside that greets as it should, and then answers every request with these bytes and closes if told to.
fn front_before(script: &'static [&'static str]) -> TestDoor {
    door(|settings| {
        let path = settings.upstream.as_pathname().unwrap().with_file_name("scripted");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        settings.upstream = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let asked = asked.clone();
                thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    let _ = stream.read(&mut buffer).unwrap();
                    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
                    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                        let text = script[asked.fetch_add(1, Relaxed) % script.len()];
                        let _ = stream.write_all(text.trim_end_matches('!').as_bytes());
                        if text.ends_with('!') {
                            return;
                        }
                    }
                });
            }
        });
    })
}

#[test]
fn an_answer_that_has_no_certain_end_is_none() {
    for script in [
        &["HTTP/1.1 200 OK\r\n\r\nbody!"],
        &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
        &["HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na"],
        &["HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\na"],
        &["HTTP/1.1 200 OK\r\nX: \u{fc}\r\nContent-Length: 1\r\n\r\na"],
        &["HTTP/1.1 200 OK\r\nX: a\tb\r\nContent-Length: 1\r\n\r\na"],
        &["HTTP/1.1 100 Continue\r\n\r\n"],
        &["garbage\r\n\r\n"],
        &["HTTP/1.1 200 OK\r\nContent-Len!"],
        &["!"],
    ] {
        let answer = front_before(script).tell(GET);
        assert_eq!((status(&answer), answers(&answer)), (503, 1), "{script:?}");
    }
    for script in [
        &["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab"],
        &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na!"],
    ] {
        let text = front_before(script).tell(GET);
        assert!(!text.contains("ab"), "{script:?} {text}");
    }
}

#[test]
fn a_request_that_found_a_closed_connection_is_asked_again_once() {
    let door = front_before(&["!", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]);
    let mut stream = door.connect();
    for _ in 0..3 {
        stream.write_all(GET.as_bytes()).unwrap();
        assert_eq!(body(&answer(&mut stream)), "ok");
    }
}

#[test]
fn an_answer_that_never_comes_is_given_up() {
    let door = door(|settings| settings.deadlines.upstream = SHORT);
    let answer = door.tell("GET /slow/2000 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&answer), 503);
}

#[test]
fn more_requests_than_fit_inside_are_told_to_come_back() {
    let door = door(|settings| {
        settings.capacity.upstream_requests = 4;
        settings.deadlines.queue = SHORT;
    });
    let mut busy: Vec<TcpStream> = (0..4).map(|_| door.connect()).collect();
    for stream in &mut busy {
        stream.write_all(b"GET /slow/500 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    eventually(|| door.inside.load(Relaxed) == 4);
    assert_eq!(status(&door.tell(GET)), 503);
    for stream in &mut busy {
        assert_eq!(body(&answer(stream)), "slow 500");
    }
    assert_eq!(status(&door.tell("GET /echo HTTP/1.0\r\n\r\n")), 200);
}

#[test]
fn requests_that_do_not_fit_inside_take_turns() {
    let door = door(|settings| settings.capacity.upstream_requests = 4);
    let mut streams: Vec<TcpStream> = (0..40).map(|_| door.connect()).collect();
    for (n, stream) in streams.iter_mut().enumerate() {
        stream
            .write_all(format!("GET /slow/{} HTTP/1.1\r\nHost: a\r\n\r\n", 10 + n % 7).as_bytes())
            .unwrap();
    }
    // Some leave while they wait.
    streams.drain(20..25);
    for (n, stream) in streams.iter_mut().enumerate().take(20) {
        assert_eq!(body(&answer(stream)), format!("slow {}", 10 + n % 7));
        assert!(door.inside.load(Relaxed) <= 4);
    }
}
