//! Requests have exactly one meaning, or are rejected.

use super::*;

/// Each gets one rejection and closes the connection, so the request that follows is not answered.
#[test]
fn ambiguous_requests_are_rejected() {
    let door = door(|settings| settings.deadlines.linger = SHORT);
    let smuggled = GET;
    let many: String = (0..101).map(|n| format!("X-{n}: 1\r\n")).collect();
    let long = "a".repeat(17 * 1024);
    for (expected, request) in [
        (
            400,
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
        ),
        (
            400,
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n",
        ),
        (
            400,
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        ),
        (
            400,
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
        ),
        (
            400,
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n",
        ),
        (
            400,
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
        ),
        (413, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4001\r\n"),
        (
            400,
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            400,
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            400,
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        ),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING:\txchunked\r\n\r\n"),
        (400, "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked\r\n\r\n"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nX: 1\nTransfer-Encoding: chunked\r\n\r\n"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nX: 1\rTransfer-Encoding: chunked\r\n\r\n"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\0: chunked\r\n\r\n"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chu\0nked\r\n\r\n"),
        (
            400,
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        ),
        (
            400,
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        ),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3 \u{b}\r\n\r\nabc"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nabc"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n 4\r\n\r\nabc"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc"),
        (
            413,
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\nabc",
        ),
        (413, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 16385\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\nHost: a\n\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a\r\n\n"),
        (400, "GET /echo HTTP/1.1\rHost: a\r\r"),
        (400, "GET /echo HTTP/1.1\r\nHost: a\r\nX: \u{7f}\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a\r\nX: \u{1}\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (400, "GET /echo HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a b\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a@b\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: [a\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: [::1]a\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: []\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: ::1\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a:b\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a%4\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a\"b\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a?b\r\n\r\n"),
        (400, "GET http://a/echo HTTP/1.1\r\n\r\n"),
        (400, "GET http://a/echo HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        (400, "GET http://a/echo HTTP/1.1\r\nHost: a b\r\n\r\n"),
        (400, "GET http://user@a/echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET http:///echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET http://:80/echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET http://a:b/echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET http:/echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET http://a/echo#x HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET ftp://a/echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET a/echo?http://a HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /echo#x HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /\u{fc} HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET  /echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /echo  HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /echo HTTP/1.1 \r\nHost: a\r\n\r\n"),
        (400, "GET /echo a HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, " GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "\r\n\nGET /echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "\r\r\nGET /echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "\r\n GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "\nGET /echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "G(T /echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /echo\r\n"),
        (400, "GET /echo HTTX/1.1\r\nHost: a\r\n\r\n"),
        (400, "\u{16}\u{3}\u{1}\u{2}"),
        (505, "GET /echo HTTP/0.9\r\nHost: a\r\n\r\n"),
        (505, "GET /echo HTTP/2.0\r\nHost: a\r\n\r\n"),
        (505, "GET /echo HTTP/3.1\r\nHost: a\r\n\r\n"),
        (505, "GET /echo HTTP/11.1\r\nHost: a\r\n\r\n"),
        (400, "GET /echo HTTP/1.10\r\nHost: a\r\n\r\n"),
        (400, "GET /echo HTTP/1.2 \r\nHost: a\r\n\r\n"),
        (400, "GET /echo HTTP/1.2\r\n\r\n"),
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (417, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 200-ok\r\n\r\na"),
        (431, &format!("GET /echo HTTP/1.1\r\nHost: a\r\n{many}\r\n")),
        (431, &format!("GET /echo HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n")),
        (431, &format!("GET /{long}")),
        (431, &"\r\n".repeat(9 * 1024)),
    ] {
        for pieces in [1, 3, usize::MAX] {
            let mut stream = door.connect();
            stream.set_nodelay(true).unwrap();
            let whole = format!("{request}{smuggled}");
            let size = (whole.len() / pieces).max(1);
            // Only short requests are sent byte by byte.
            if pieces == usize::MAX && whole.len() > 300 {
                continue;
            }
            for piece in whole.as_bytes().chunks(size) {
                // The door may have rejected it and closed already.
                let _ = stream.write_all(piece);
            }
            let _ = stream.shutdown(Shutdown::Write);
            let answer = rest(&mut stream);
            assert_eq!(
                (status(&answer), answers(&answer)),
                (expected, 1),
                "{request:.100?} {answer}"
            );
            assert_eq!(header(&answer, "connection"), Some("close"));
            assert!(body(&answer).starts_with("{\"error\":\""), "{answer}");
        }
    }
    assert_eq!(door.active.load(Relaxed), 0);
    eventually(|| door.counters.open() == 0);
}

#[test]
fn limits_are_exact() {
    let door = door(|settings| settings.deadlines.linger = SHORT);
    let close = "Connection: close\r\n";
    let fixed = format!("GET /echo HTTP/1.1\r\nHost: a\r\n{close}X: \r\n\r\n").len();
    for (bytes, expected) in [(16 * 1024 - 1, 200), (16 * 1024, 200), (16 * 1024 + 1, 431)] {
        let value = "v".repeat(bytes - fixed);
        let answer =
            door.send(format!("GET /echo HTTP/1.1\r\nHost: a\r\n{close}X: {value}\r\n\r\n"));
        assert_eq!(status(&answer), expected, "{bytes}");
    }
    for (count, expected) in [(98, 200), (99, 431)] {
        let many: String = (0..count).map(|n| format!("X-{n}: 1\r\n")).collect();
        assert_eq!(
            status(&door.send(format!("GET /echo HTTP/1.1\r\nHost: a\r\n{close}{many}\r\n"))),
            expected
        );
    }
    for (bytes, expected) in
        [(0, 200), (1024, 200), (1025, 200), (16 * 1024, 200), (16 * 1024 + 1, 413)]
    {
        let value = "b".repeat(bytes);
        let head =
            format!("POST /echo HTTP/1.1\r\nHost: a\r\n{close}Content-Length: {bytes}\r\n\r\n");
        let answer = door.send(format!("{head}{value}"));
        assert_eq!(status(&answer), expected, "{bytes}");
        assert_eq!(body(&answer).ends_with(&value), expected == 200);
    }
}

#[test]
fn a_rejection_by_size_names_what_was_too_large() {
    let door = door(|_| ());
    let long = "a".repeat(17 * 1024);
    let many = "X: 1\r\n".repeat(101);
    for (request, expected) in [
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {long}\r\n\r\n"),
            "the request line and headers are longer than 16384 bytes; the longest is the header Cookie",
        ),
        (
            format!("GET / HTTP/1.1\r\nX: 1\r\n{long}: 1\r\n\r\n"),
            "the request line and headers are longer than 16384 bytes; the longest is header number 2",
        ),
        (
            format!("\r\nGET /{long} HTTP/1.1\r\n"),
            "the request line and headers are longer than 16384 bytes; the longest is the request line",
        ),
        (format!("GET / HTTP/1.1\r\n{many}\r\n"), "there are more than 100 headers"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16385\r\n\r\n".to_owned(),
            "the body is longer than 16384 bytes, or than 65536 in chunks",
        ),
    ] {
        let answer = door.send(request);
        let document: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
        assert_eq!(document["error_description"], expected);
    }
}

#[test]
fn a_rejection_can_be_read_before_the_reset() {
    let door = door(|_| ());
    let mut stream = door.connect();
    stream.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n").unwrap();
    stream.write_all(&[b'x'; 60000]).unwrap();
    thread::sleep(Duration::from_millis(50));
    let answer = rest(&mut stream);
    assert_eq!(status(&answer), 413);
    assert!(body(&answer).contains("payload_too_large"));
    door.counted(Reason::TooLarge, 1);
}

/// A generator of the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Each accepted request gets one response. There is at most one rejection, which comes last, and
/// then the end.
#[test]
fn random_bytes_get_at_most_one_rejection() {
    let door = door(|settings| {
        settings.deadlines.request = Duration::from_millis(50);
        settings.deadlines.idle = Duration::from_millis(50);
        settings.deadlines.linger = SHORT;
    });
    thread::scope(|scope| {
        for seed in 1..=8 {
            let door = &door;
            scope.spawn(move || {
                let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ seed);
                for _ in 0..150 {
                    let mut bytes =
                        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX: y\r\n\r\nhello"
                            .to_vec();
                    if random.below(4) == 0 {
                        bytes = (0..random.below(200)).map(|_| random.below(256) as u8).collect();
                    }
                    for _ in 0..random.below(4) {
                        let at = random.below(bytes.len().max(1)).min(bytes.len());
                        match random.below(3) {
                            0 if at < bytes.len() => drop(bytes.remove(at)),
                            1 if at < bytes.len() => bytes[at] = random.below(256) as u8,
                            _ => bytes.insert(at, b"\r\n\0 :,;\t\x7f\xff0"[random.below(11)]),
                        }
                    }
                    let mut stream = door.connect();
                    stream.write_all(&bytes).unwrap();
                    let mut text = Vec::new();
                    stream.read_to_end(&mut text).unwrap();
                    let text = String::from_utf8_lossy(&text);
                    let rejections = text.matches("{\"error\":").count();
                    let accepted = text.matches("HTTP/1.1 200 OK").count();
                    assert!(
                        rejections <= 1 && accepted <= 1 && answers(&text) == rejections + accepted,
                        "{bytes:?}\n{text}"
                    );
                    assert!(rejections == 0 || text.ends_with("\"}"), "{text}");
                }
            });
        }
    });
    eventually(|| door.counters.open() == 0);
    assert_eq!(status(&door.send("GET /echo HTTP/1.0\r\n\r\n")), 200);
}
