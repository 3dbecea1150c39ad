//! Requests that the door answers itself.

use hallpass::http;

use super::*;

fn known() -> http::Response {
    http::Response { body: b"known".to_vec(), ..http::Response::empty(200) }
}

/// A door that answers `/known` itself, and names the method, the peer and the host.
fn door_with_fast_path() -> TestDoor {
    door(|settings| {
        settings.fast_path = Box::new(|request| {
            if request.target != "/known" {
                return None;
            }
            let asks =
                format!("{} by {} for {}", request.method, request.peer?, request.header("Host")?);
            Some(known().with("X-Asks", asks))
        });
    })
}

#[test]
fn known_requests_are_answered_by_the_door_and_others_relayed() {
    let door = door_with_fast_path();
    let mut stream = door.connect();
    for (method, text) in [("GET", "known"), ("HEAD", ""), ("GET", "known")] {
        stream
            .write_all(format!("{method} /known HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .unwrap();
        let mut seen = vec![0; 512];
        let length = stream.read(&mut seen).unwrap();
        let seen = std::str::from_utf8(&seen[..length]).unwrap();
        assert_eq!(
            (status(seen), body(seen), header(seen, "connection")),
            (200, text, Some("keep-alive"))
        );
        assert_eq!(header(seen, "x-asks").unwrap(), format!("{method} by 127.0.0.1 for a"));
    }
    stream.write_all(GET.as_bytes()).unwrap();
    assert_eq!(header(&answer(&mut stream), "x-here"), Some("yes"), "not relayed");
}

#[test]
fn the_last_response_announces_the_close() {
    let door = door_with_fast_path();
    for head in ["HTTP/1.0\r\nHost: a\r\n\r\n", "HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]
    {
        let text = door.send(format!("GET /known {head}"));
        assert_eq!((body(&text), header(&text, "connection")), ("known", Some("close")));
    }
    eventually(|| door.counters.open() == 0);
}

#[test]
fn requests_with_a_body_are_relayed() {
    let door = door_with_fast_path();
    let text = door
        .send("GET /known HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab");
    assert!(body(&text).starts_with("GET /known\n"), "{text}");
}

/// Pipelined requests are served after all others, and their responses keep their order.
#[test]
fn pipelined_requests_are_relayed_in_order() {
    let door = door_with_fast_path();
    let text = door.send(
        "GET /known HTTP/1.1\r\nHost: a\r\n\r\nGET /known HTTP/1.1\r\nHost: a\r\n\r\n\
         GET /slow/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(answers(&text), 3);
    let positions = ["\r\n\r\nknownHTTP/1.1 200 ", "\r\n\r\nGET /known\n", "\r\n\r\nslow 1"]
        .map(|part| text.find(part).unwrap());
    assert!(positions.is_sorted(), "{text}");
}

#[test]
fn known_requests_are_answered_while_tiny_http_is_busy() {
    let door = door(|settings| {
        settings.capacity.upstream_requests = 1;
        settings.fast_path = Box::new(|request| (request.target == "/known").then(known));
    });
    let mut slow = door.connect();
    slow.write_all(b"GET /slow/1000000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    eventually(|| door.active.load(Relaxed) == 1);
    assert_eq!(status(&door.send("GET /known HTTP/1.0\r\n\r\n")), 200);
}

#[test]
fn requests_are_trimmed_on_their_way_to_tiny_http() {
    let door = door(|settings| {
        settings.trim = Box::new(|request| {
            request.headers.retain(|(name, _)| name != "Cookie");
            request.headers.push(("Cookie".into(), "kept=1".into()));
        });
    });
    let head = "HTTP/1.1\r\nHost: a\r\nCookie: kept=1; other=2\r\nConnection: close\r\n";
    for (method, end) in [("GET", "\r\n"), ("POST", "Content-Length: 2\r\n\r\nab")] {
        let text = door.send(format!("{method} /echo {head}{end}"));
        assert!(text.contains("\nCookie: kept=1\n"), "{text}");
    }
}

#[test]
fn the_heartbeat_stops_while_the_loop_is_stuck() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let door = door(|settings| {
        settings.fast_path = Box::new(move |_| {
            let _ = released.recv();
            None
        });
    });
    let mut heartbeat = door.door.as_ref().unwrap().heartbeat();
    // Every call makes an idle loop turn.
    for _ in 0..3 {
        let start = Instant::now();
        while !heartbeat.has_turned() {
            assert!(start.elapsed() < LONG, "the loop did not turn");
        }
    }
    let mut stream = door.connect();
    stream.write_all(GET.as_bytes()).unwrap();
    // The turn in which the request arrives is the last one.
    let start = Instant::now();
    let mut still = 0;
    while still < 1000 {
        still = if heartbeat.has_turned() { 0 } else { still + 1 };
        assert!(start.elapsed() < LONG, "the loop still turns");
        thread::yield_now();
    }
    drop(release);
    assert_eq!(status(&answer(&mut stream)), 200);
}
