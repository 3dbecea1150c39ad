//! Parsing request heads and bodies. tests/it/door tests the same through sockets.

use std::net::{IpAddr, Ipv4Addr};

use hallpass::http::Request;
use hallpass::http::door::{
    Head, HeaderPolicy, Reason, RequestBody, parse_request, write_upstream_request,
};
use proptest::prelude::*;

const POLICY: HeaderPolicy =
    HeaderPolicy { peer: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))), headers: None };

const NO_BODY: RequestBody = RequestBody::Length { missing: 0 };

/// The parsed head without its request, and the request as sent to tiny_http.
fn parse(bytes: &[u8]) -> Result<Option<(Head, String)>, Reason> {
    Ok(parse_request(bytes, POLICY)?.map(|head| {
        let mut upstream = Vec::new();
        write_upstream_request(&head.request, &mut upstream);
        (Head { request: Request::default(), ..head }, String::from_utf8(upstream).unwrap())
    }))
}

#[track_caller]
fn check(bytes: &str, expected: Head, upstream: &str) {
    let start = bytes.len() - bytes.trim_start().len();
    let length = start + bytes[start..].find("\r\n\r\n").unwrap() + 4;
    assert_eq!(
        parse(bytes.as_bytes()),
        Ok(Some((Head { length, ..expected }, upstream.to_owned())))
    );
    // Every shorter part is incomplete, not invalid.
    for end in 0..length {
        assert_eq!(parse(&bytes.as_bytes()[..end]), Ok(None), "{:?}", &bytes[..end]);
    }
}

#[test]
fn requests_are_rewritten_for_tiny_http() {
    let plain = Head {
        length: 0,
        body: NO_BODY,
        expects_continue: false,
        keep_alive: true,
        request: Request::default(),
    };
    check(
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /next",
        plain.clone(),
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\nX-Hallpass-Peer: 192.0.2.1\r\nHost: a\r\n\r\n",
    );
    check(
        "HEAD /?a=b HTTP/1.0\r\nhost:\t[::1]:80 \r\nConnection: Keep-Alive\r\n\r\n",
        plain.clone(),
        "HEAD /?a=b HTTP/1.0\r\nConnection: keep-alive\r\nX-Hallpass-Peer: 192.0.2.1\r\nhost: [::1]:80\r\n\r\n",
    );
    check(
        "POST /a HTTP/1.1\r\nHost:\r\nExpect: 100-continue\r\nContent-Length: 007\r\nConnection: a, close\r\n\r\n1234567",
        Head {
            body: RequestBody::Length { missing: 7 },
            expects_continue: true,
            keep_alive: false,
            ..plain.clone()
        },
        "POST /a HTTP/1.0\r\nConnection: keep-alive\r\nX-Hallpass-Peer: 192.0.2.1\r\nHost: \r\n\r\n",
    );
    // The length is added once the body is decoded.
    check(
        "POST /a HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING:\tChunked \r\nX: y\r\n\r\n0\r\n\r\n",
        Head { body: RequestBody::CHUNKED, ..plain },
        "POST /a HTTP/1.0\r\nConnection: keep-alive\r\nX-Hallpass-Peer: 192.0.2.1\r\nHost: a\r\nX: y\r\n\r\n",
    );
}

/// RFC 9112, sections 2.2 and 3.2, and RFC 9110, section 2.5.
#[test]
fn required_forms_are_accepted() {
    #[track_caller]
    fn accepted(request: &str, target: &str, host: &str) {
        let head = Head {
            length: 0,
            body: NO_BODY,
            expects_continue: false,
            keep_alive: true,
            request: Request::default(),
        };
        let peer = "X-Hallpass-Peer: 192.0.2.1";
        let lines = format!("{target} HTTP/1.0\r\nConnection: keep-alive\r\n{peer}\r\n");
        check(&format!("{request}\r\n\r\n"), head, &format!("{lines}Host: {host}\r\n\r\n"));
    }
    accepted("\r\nGET / HTTP/1.1\r\nHost: a", "GET /", "a");
    accepted("\r\n\r\nGET / HTTP/1.1\r\nHost: a", "GET /", "a");
    accepted("GET http://a.b:80/c?d=e HTTP/1.1\r\nHost: x", "GET /c?d=e", "a.b:80");
    accepted("GET HTTPS://[::1]/ HTTP/1.1\r\nHost: ", "GET /", "[::1]");
    accepted("GET http://a HTTP/1.1\r\nHost: a", "GET /", "a");
    accepted("GET http://a?b HTTP/1.1\r\nHost: a", "GET /?b", "a");
    accepted("GET http://a/?http://b/ HTTP/1.1\r\nHost: b", "GET /?http://b/", "a");
    accepted("GET http://a/ HTTP/1.0\r\nConnection: keep-alive", "GET /", "a");
    accepted("OPTIONS * HTTP/1.1\r\nHost: a", "OPTIONS *", "a");
    accepted("\r\nGET / HTTP/1.2\r\nHost: a", "GET /", "a");
    accepted("GET / HTTP/1.9\r\nHost: a", "GET /", "a");
    for host in [
        "",
        "a",
        "a:",
        "a:80",
        "a=b",
        "a_b.-~",
        "%61",
        "!$&'()*+,;=",
        "[::1]",
        "[::1]:80",
        "[v1.a:b]",
    ] {
        accepted(&format!("GET / HTTP/1.1\r\nHost: {host}"), "GET /", host);
    }
}

/// The length and the content of a body in chunks. Cutting it in two anywhere changes nothing.
#[track_caller]
fn decoded(chunks: &[u8]) -> Result<(usize, String), Reason> {
    let decode = |pieces: [&[u8]; 2]| {
        let mut body = RequestBody::CHUNKED;
        let mut content = Vec::new();
        let mut taken = 0;
        for piece in pieces {
            taken += body.receive(piece, &mut content)?;
        }
        let missing = if body.is_complete() { "" } else { "..." };
        Ok((taken, String::from_utf8(content).unwrap() + missing))
    };
    let whole = decode([chunks, b""]);
    for cut in 0..chunks.len().min(200) {
        assert_eq!(decode([&chunks[..cut], &chunks[cut..]]), whole, "cut at {cut}");
    }
    whole
}

#[test]
fn chunks_become_a_body_with_a_length() {
    #[track_caller]
    fn check(chunks: &str, body: &str) {
        let expected = body.to_owned();
        assert_eq!(decoded(chunks.as_bytes()), Ok((chunks.len(), expected.clone())));
        // The next request is not consumed.
        let more = format!("{chunks}GET /");
        assert_eq!(decoded(more.as_bytes()), Ok((chunks.len(), expected)));
    }
    check("0\r\n\r\n", "");
    check("000\r\n\r\n", "");
    check("3\r\nabc\r\n0\r\n\r\n", "abc");
    check("0003\r\nabc\r\n0\r\n\r\n", "abc");
    check("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc");
    check("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789");
    check("4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n");
    check("5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n");
    check("3;name=value\r\nabc\r\n0;last\r\n\r\n", "abc");
    check("3;a=\"; b\";\tc\r\nabc\r\n0\r\n\r\n", "abc");
    for bytes in [16 * 1024 - 1, 16 * 1024] {
        let body = "b".repeat(bytes);
        check(&format!("{bytes:x}\r\n{body}\r\n0\r\n\r\n"), &body);
        check(&format!("1\r\nb\r\n{:x}\r\n{}\r\n0\r\n\r\n", bytes - 1, &body[1..]), &body);
    }
    // Exactly 64 KiB on the wire.
    let long = "x".repeat(64 * 1024 - 12);
    check(&format!("1;{long}\r\na\r\n0\r\n\r\n"), "a");
}

#[test]
fn ambiguous_chunks_are_rejected() {
    #[track_caller]
    fn check(expected: Reason, chunks: &str) {
        assert_eq!(decoded(chunks.as_bytes()), Err(expected), "{chunks:.60?}");
    }
    for chunks in [
        "\r\n",
        " 3\r\n",
        "3 \r\n",
        "3\t\r\n",
        "3 ;a\r\n",
        "+3\r\n",
        "-3\r\n",
        "0x3\r\n",
        "3_0\r\n",
        "3.0\r\n",
        "3,3\r\n",
        "g\r\n",
        "\"3\"\r\n",
        ";a\r\n",
        "3\n",
        "3\ra",
        "3\r\r\n",
        "3\0\r\n",
        "3;a\nb",
        "3;a\r;",
        "3;a\0",
        "3;\u{7f}",
        "3;\u{fc}",
        "3\r\nabcd",
        "3\r\nabc0",
        "3\r\nabc\n",
        "3\r\nabc\r0",
        "3\r\nabc\r\r",
        "3\r\nabc\r\n\r\n",
        "0\r\nX: y\r\n\r\n",
        "0\r\nContent-Length: 5\r\n\r\n",
        "0\r\n0\r\n\r\n",
        "0\r\n\n",
        "0\r\n\r\r",
        "0\r\n \r\n",
        "0\n\n",
        "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
    ] {
        check(Reason::Malformed, chunks);
    }
    let body = "b".repeat(16 * 1024);
    let long = "x".repeat(64 * 1024 - 11);
    for chunks in [
        "4001\r\n".to_owned(),
        "fffffffffffffffff1\r\n".to_owned(),
        "10000000000000000\r\n".to_owned(),
        format!("4000\r\n{body}\r\n1"),
        "1\r\nb\r\n4000\r\n".to_owned(),
        "0".repeat(64 * 1024 + 1),
        format!("1;{long}\r\na\r\n0\r\n\r\n"),
    ] {
        check(Reason::TooLarge, &chunks);
    }
}

proptest! {
    /// Chunks of any size, cut anywhere, decode to the body that they were made from.
    #[test]
    fn chunks_keep_the_body(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..20), size in 1..60usize) {
        let mut chunks = Vec::new();
        for piece in &pieces {
            chunks.extend(format!("{:x}\r\n", piece.len()).bytes().chain(piece.iter().copied()).chain(*b"\r\n"));
        }
        chunks.extend(b"0\r\n\r\nnext");
        let mut body = RequestBody::CHUNKED;
        let mut content = Vec::new();
        let taken: usize = chunks.chunks(size).map(|part| body.receive(part, &mut content).unwrap()).sum();
        prop_assert!(body.is_complete());
        prop_assert_eq!(taken, chunks.len() - 4);
        prop_assert_eq!(content, pieces.concat());
    }

    /// An accepted request is written with exactly its own lines, and parses to the same request.
    #[test]
    fn accepted_requests_have_one_meaning(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..60usize, cut in 0..20usize) {
        let mut request = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX: y\r\n\r\nhello".to_vec();
        let end = (at + cut).min(request.len());
        request.splice(at.min(end)..end, bytes.into_iter().take(cut));
        if let Ok(Some((head, upstream))) = parse(&request) {
            prop_assert!(head.length <= request.len());
            prop_assert!(upstream.is_ascii() && upstream.ends_with("\r\n\r\n"));
            prop_assert_eq!(upstream.matches("\r\n\r\n").count(), 1);
            prop_assert_eq!(upstream.matches('\n').count(), upstream.matches("\r\n").count());
            prop_assert!(upstream.to_ascii_lowercase().matches("\r\ncontent-length:").count() <= 1);
            prop_assert!(!upstream.to_ascii_lowercase().contains("\r\ntransfer-encoding"));
            let (again, _) = parse(upstream.as_bytes()).unwrap().unwrap();
            prop_assert_eq!((again.length, again.body), (upstream.len(), NO_BODY));
        }
    }
}
