//! Relaying requests and responses.

use super::*;

#[test]
fn requests_are_relayed_and_the_connection_stays_open() {
    let door = door(|_| ());
    let mut stream = door.connect();
    for _ in 0..3 {
        stream
            .write_all(
                b"POST /echo?a=b HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nContent-Length: 4\r\n\r\nbody",
            )
            .unwrap();
        let answer = answer(&mut stream);
        assert_eq!(status(&answer), 200);
        assert_eq!(header(&answer, "connection"), Some("keep-alive"));
        assert_eq!(header(&answer, "x-here"), Some("yes"));
        assert_eq!(
            body(&answer),
            "POST /echo?a=b\nConnection: keep-alive\nX-Hallpass-Peer: 127.0.0.1\nHost: a\nX-One: 1\nContent-Length: 4\nbody"
        );
    }
    assert_eq!(door.counters.accepted(), 1);
    assert_eq!(door.counters.open(), 1);
    drop(stream);
    eventually(|| door.counters.open() == 0);
}

#[test]
fn clients_cannot_send_the_doors_own_headers() {
    let door = door(|_| ());
    let answer = door.send(
        "GET /echo HTTP/1.1\r\nHost: a\r\nX-Hallpass-Peer: 6.6.6.6\r\nx-hallpass-peer: 6.6.6.6\r\n\
         X_Hallpass_Peer: 6.6.6.6\r\nX-Hallpass_Scheme: https\r\nConnection: close, X-Hallpass-Peer\r\n\r\n",
    );
    assert_eq!(
        body(&answer),
        "GET /echo\nConnection: keep-alive\nX-Hallpass-Peer: 127.0.0.1\nHost: a\n"
    );
}

#[test]
fn hop_by_hop_headers_are_not_relayed() {
    let door = door(|_| ());
    let answer = door.send(
        "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\nTE: trailers\r\n\
         Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTrailer: x\r\n\r\n",
    );
    assert_eq!(
        body(&answer),
        "GET /echo\nConnection: keep-alive\nX-Hallpass-Peer: 127.0.0.1\nHost: a\n"
    );
    assert_eq!(header(&answer, "connection"), Some("close"));
}

#[test]
fn only_the_wanted_headers_are_relayed() {
    let door = door(|settings| settings.headers = Some(&["cookie", "x-hallpass-peer"]));
    let mut stream = door.connect();
    for _ in 0..2 {
        let head = "POST /echo HTTP/1.1\r\nHost: a\r\nCOOKIE: a=b\r\nX-Hallpass-Peer: x\r\nUser-Agent: u\r\n";
        stream.write_all(format!("{head}Content-Length: 3\r\n\r\nabc").as_bytes()).unwrap();
        assert_eq!(
            body(&answer(&mut stream)),
            "POST /echo\nConnection: keep-alive\nX-Hallpass-Peer: 127.0.0.1\ncookie: a=b\nContent-Length: 3\nabc"
        );
    }
}

#[test]
fn bytes_that_are_not_ascii_are_relayed_escaped() {
    let door = door(|_| ());
    let answer =
        door.send("GET /echo HTTP/1.1\r\nHost: a\r\nCookie: a=\u{fc}; hallpass=x\r\nConnection: close\r\n\r\n");
    assert!(body(&answer).ends_with("Cookie: a=%C3%BC; hallpass=x\n"), "{answer}");
}

#[test]
fn connection_close_and_http_1_0_close_the_connection() {
    let door = door(|_| ());
    for (head, connection) in [
        ("GET /echo HTTP/1.0\r\n\r\n", "close"),
        ("GET /echo HTTP/1.0\r\nHost: a\r\n\r\n", "close"),
        ("GET /echo HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "close"),
        ("GET /echo HTTP/1.1\r\nHost: a\r\nConnection: CLOSE\r\n\r\n", "close"),
        (
            "GET /echo HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /echo HTTP/1.0\r\n\r\n",
            "keep-alive",
        ),
    ] {
        let answer = door.send(head);
        assert_eq!(status(&answer), 200, "{head}");
        assert_eq!(header(&answer, "connection"), Some(connection), "{head}");
        assert_eq!(answers(&answer), head.matches("GET").count(), "{head}");
    }
}

#[test]
fn responses_without_a_body_leave_the_connection_usable() {
    let door = door(|_| ());
    let mut stream = door.connect();
    for (request, expected) in [
        ("HEAD /big/1000 HTTP/1.1\r\nHost: a\r\n\r\n", "200"),
        ("GET /status/204 HTTP/1.1\r\nHost: a\r\n\r\n", "204"),
        ("GET /status/304 HTTP/1.1\r\nHost: a\r\n\r\n", "304"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "200"),
    ] {
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {expected} ")), "{request} {head}");
        if request.starts_with("OPTIONS") {
            let mut body = vec![0; header(&head, "content-length").unwrap().parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
        }
        stream.write_all(GET.as_bytes()).unwrap();
        assert_eq!(status(&answer(&mut stream)), 200, "{request}");
    }
}

#[test]
fn big_responses_arrive_whole() {
    let door = door(|_| ());
    for size in [1023, 1024, 16 * 1024, 32 * 1024, 64 * 1024, 100_000, 3_000_000] {
        let request = format!("GET /big/{size} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = door.send(request);
        assert_eq!(header(&answer, "transfer-encoding"), None);
        assert_eq!(body(&answer).len(), size);
    }
}

#[test]
fn a_pipelining_client_is_served_one_request_at_a_time() {
    let door = door(|_| ());
    let mut stream = door.connect();
    let requests: String =
        (0..50).map(|n| format!("GET /echo/{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    stream.write_all(requests.as_bytes()).unwrap();
    for n in 0..50 {
        assert!(body(&answer(&mut stream)).starts_with(&format!("GET /echo/{n}\n")));
        assert!(door.active.load(Relaxed) <= 1);
    }
}

#[test]
fn endless_pipelining_is_not_read() {
    let door = door(|_| ());
    let mut stream = door.connect();
    stream.write_all(b"GET /slow/300 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut sent = 0;
    while let Ok(written) = stream.write(GET.repeat(1000).as_bytes()) {
        sent += written;
        assert!(sent < 50_000_000, "the door reads on and on");
    }
    assert_eq!(body(&answer(&mut stream)), "slow 300");
}

#[test]
fn expect_100_continue_is_answered() {
    let door = door(|_| ());
    let mut stream = door.connect();
    for _ in 0..2 {
        stream
            .write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n")
            .unwrap();
        let mut interim = [0; 25];
        stream.read_exact(&mut interim).unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"abc").unwrap();
        let answer = answer(&mut stream);
        assert!(body(&answer).ends_with("Content-Length: 3\nabc"), "{answer}");
        assert!(!answer.to_lowercase().contains("expect"));
    }
    let rejected = door.send(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!((status(&rejected), answers(&rejected)), (413, 1));
}

#[test]
fn a_half_closed_client_is_answered() {
    let door = door(|_| ());
    let mut stream = door.connect();
    stream.write_all(b"GET /slow/50 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(body(&rest(&mut stream)), "slow 50");
}

#[test]
fn concurrent_clients_get_their_own_responses() {
    let door = door(|settings| settings.unlimited = Box::new(|_| true));
    thread::scope(|scope| {
        for client in 0..32 {
            let door = &door;
            scope.spawn(move || {
                let mut stream = door.connect();
                for n in 0..100 {
                    let size = (client * 97 + n * 31) % 5000;
                    let mark = format!("{client}.{n}.").repeat(size / 10 + 1);
                    let length = mark.len();
                    let request = format!(
                        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{mark}"
                    );
                    stream.write_all(request.as_bytes()).unwrap();
                    assert!(body(&answer(&mut stream)).ends_with(&format!("\n{mark}")));
                }
            });
        }
    });
}

#[test]
fn no_client_gets_the_response_of_another_that_left() {
    let door = door(|_| ());
    for round in 0..20 {
        let mut leaving: Vec<TcpStream> = (0..10).map(|_| door.connect()).collect();
        for stream in &mut leaving {
            stream.write_all(b"GET /slow/30 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        }
        if round % 2 == 0 {
            thread::sleep(Duration::from_millis(round));
        }
        drop(leaving);
        for n in 0..10 {
            let answer = door.send(format!(
                "GET /echo/{round}.{n} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            ));
            assert_eq!(answers(&answer), 1);
            assert!(body(&answer).starts_with(&format!("GET /echo/{round}.{n}\n")), "{answer}");
        }
    }
}

/// Some clients send one after a body (RFC 9112, section 2.2).
#[test]
fn empty_lines_between_requests_are_skipped() {
    let door = door(|settings| settings.deadlines.idle = Duration::from_secs(1));
    let mut stream = door.connect();
    for _ in 0..2 {
        stream
            .write_all(b"\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab\r\n")
            .unwrap();
        assert!(body(&answer(&mut stream)).ends_with("\nab"));
    }
    // The last empty line gets no response.
    assert_eq!(rest(&mut stream), "");
    assert_eq!(Reason::ALL.map(|reason| door.counters.rejected(reason)), [0; Reason::ALL.len()]);
}

#[test]
fn the_host_of_an_absolute_target_replaces_the_header() {
    let door = door(|_| ());
    let answer =
        door.send("GET http://b/echo?c HTTP/1.1\r\nHost: a\r\nX: 1\r\nConnection: close\r\n\r\n");
    assert_eq!(
        body(&answer),
        "GET /echo?c\nConnection: keep-alive\nX-Hallpass-Peer: 127.0.0.1\nHost: b\nX: 1\n"
    );
    let only = super::door(|settings| settings.headers = Some(&["x"]));
    let answer = only.send("GET http://b/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(!body(&answer).contains("Host"), "{answer}");
    // The redirect to https always goes to the public URL.
    let mut stream = TcpStream::connect(door.redirect).unwrap();
    stream.write_all(b"GET http://b/echo?c HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let answer = rest(&mut stream);
    assert_eq!(header(&answer, "location"), Some("https://auth.example.org/echo?c"));
}

#[test]
fn bodies_in_chunks_are_relayed_with_a_length() {
    let door = door(|settings| settings.headers = Some(&["X", "transfer-encoding"]));
    let mut stream = door.connect();
    stream.set_nodelay(true).unwrap();
    let request = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX: 1\r\n\r\n\
                   4\r\nWiki\r\n5;a=b\r\npedia\r\n0\r\n\r\n";
    // In one piece, in two pieces, byte by byte; then two requests in one piece.
    for size in [usize::MAX, request.len() / 2, 1] {
        for piece in request.as_bytes().chunks(size) {
            stream.write_all(piece).unwrap();
        }
        assert_eq!(
            body(&answer(&mut stream)),
            "POST /echo\nConnection: keep-alive\nX-Hallpass-Peer: 127.0.0.1\nX: 1\nContent-Length: 9\nWikipedia"
        );
    }
    stream.write_all(request.repeat(2).as_bytes()).unwrap();
    for _ in 0..2 {
        assert!(body(&answer(&mut stream)).ends_with("Content-Length: 9\nWikipedia"));
    }
}

#[test]
fn chunks_get_100_continue_and_time_out() {
    let door = door(|settings| settings.deadlines.request = Duration::from_secs(1));
    let mut stream = door.connect();
    stream
        .write_all(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
        )
        .unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    // Endless chunks do not extend the deadline.
    eventually(|| {
        stream.write_all(b"1\r\na\r\n").unwrap();
        thread::sleep(Duration::from_millis(20));
        door.counters.rejected(Reason::Timeout) == 1
    });
    assert_eq!(status(&rest(&mut stream)), 408);
}
