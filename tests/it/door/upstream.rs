//! Upstream failures, and the limit of upstream requests.

use super::*;

#[test]
fn without_tiny_http_the_response_is_503() {
    let door = door(|settings| {
        settings.upstream =
            std::os::unix::net::SocketAddr::from_pathname("/nowhere/at-all").unwrap();
    });
    let answer = door.send(GET);
    assert_eq!(status(&answer), 503);
    assert_eq!(header(&answer, "retry-after"), Some("1"));
    assert!(body(&answer).contains("temporarily_unavailable"));
    door.counted(Reason::UpstreamUnavailable, 1);
}

/// A door in front of a server that answers the probe, and then each request with the next of these
/// texts. A final `!` closes the connection.
fn scripted_door(script: &'static [&'static str]) -> TestDoor {
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
fn responses_without_a_certain_end_are_not_relayed() {
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
        let answer = scripted_door(script).send(GET);
        assert_eq!((status(&answer), answers(&answer)), (503, 1), "{script:?}");
    }
    for script in [
        &["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab"],
        &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na!"],
    ] {
        let text = scripted_door(script).send(GET);
        assert!(!text.contains("ab"), "{script:?} {text}");
    }
}

#[test]
fn a_request_on_a_closed_connection_is_sent_again_once() {
    let door = scripted_door(&["!", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]);
    let mut stream = door.connect();
    for _ in 0..3 {
        stream.write_all(GET.as_bytes()).unwrap();
        assert_eq!(body(&answer(&mut stream)), "ok");
    }
}

#[test]
fn a_missing_response_times_out() {
    let door = door(|settings| settings.deadlines.upstream = SHORT);
    let answer = door.send("GET /slow/2000 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&answer), 503);
}

#[test]
fn requests_beyond_the_upstream_limit_get_503() {
    let door = door(|settings| {
        settings.capacity.upstream_requests = 4;
        settings.deadlines.queue = SHORT;
    });
    let mut busy: Vec<TcpStream> = (0..4).map(|_| door.connect()).collect();
    for stream in &mut busy {
        stream.write_all(b"GET /slow/500 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    eventually(|| door.active.load(Relaxed) == 4);
    assert_eq!(status(&door.send(GET)), 503);
    for stream in &mut busy {
        assert_eq!(body(&answer(stream)), "slow 500");
    }
    assert_eq!(status(&door.send("GET /echo HTTP/1.0\r\n\r\n")), 200);
}

#[test]
fn requests_beyond_the_upstream_limit_wait() {
    let door = door(|settings| settings.capacity.upstream_requests = 4);
    let mut streams: Vec<TcpStream> = (0..40).map(|_| door.connect()).collect();
    for (n, stream) in streams.iter_mut().enumerate() {
        stream
            .write_all(format!("GET /slow/{} HTTP/1.1\r\nHost: a\r\n\r\n", 10 + n % 7).as_bytes())
            .unwrap();
    }
    // Some clients leave while they wait.
    streams.drain(20..25);
    for (n, stream) in streams.iter_mut().enumerate().take(20) {
        assert_eq!(body(&answer(stream)), format!("slow {}", 10 + n % 7));
        assert!(door.active.load(Relaxed) <= 4);
    }
}
