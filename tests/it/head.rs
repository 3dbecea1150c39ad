//! The head of a request, as a function of its bytes. The same corpus goes through sockets in door.rs.

use hallpass::http::door::{Head, HeaderPolicy, Reason, parse_request};
use proptest::prelude::*;

const POLICY: HeaderPolicy<'_> =
    HeaderPolicy { peer_header: "X-Hallpass-Peer: 192.0.2.1\r\n", headers: None };

fn read(bytes: &[u8]) -> Result<Option<(Head, String)>, Reason> {
    let mut inside = Vec::new();
    let head = parse_request(bytes, POLICY, &mut inside)?;
    assert_eq!(head.is_some(), !inside.is_empty());
    Ok(head.map(|head| (head, String::from_utf8(inside).unwrap())))
}

#[track_caller]
fn check(bytes: &str, expected: Head, inside: &str) {
    let start = bytes.len() - bytes.trim_start().len();
    let length = start + bytes[start..].find("\r\n\r\n").unwrap() + 4;
    assert_eq!(read(bytes.as_bytes()), Ok(Some((Head { length, ..expected }, inside.to_owned()))));
    // Nothing less is a request, and nothing less is refused.
    for end in 0..length {
        assert_eq!(read(&bytes.as_bytes()[..end]), Ok(None), "{:?}", &bytes[..end]);
    }
}

#[test]
fn what_goes_inside() {
    let plain = Head {
        length: 0,
        body_length: 0,
        expects_continue: false,
        keep_alive: true,
        is_head: false,
    };
    check(
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /next",
        plain.clone(),
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\nX-Hallpass-Peer: 192.0.2.1\r\nHost: a\r\n\r\n",
    );
    check(
        "HEAD /?a=b HTTP/1.0\r\nhost:\t[::1]:80 \r\nConnection: Keep-Alive\r\n\r\n",
        Head { is_head: true, ..plain.clone() },
        "HEAD /?a=b HTTP/1.0\r\nConnection: keep-alive\r\nX-Hallpass-Peer: 192.0.2.1\r\nhost: [::1]:80\r\n\r\n",
    );
    check(
        "POST /a HTTP/1.1\r\nHost:\r\nExpect: 100-continue\r\nContent-Length: 007\r\nConnection: a, close\r\n\r\n1234567",
        Head { body_length: 7, expects_continue: true, keep_alive: false, ..plain },
        "POST /a HTTP/1.0\r\nConnection: keep-alive\r\nX-Hallpass-Peer: 192.0.2.1\r\nHost: \r\nContent-Length: 007\r\n\r\n",
    );
}

/// RFC 9112, sections 2.2 and 3.2, and RFC 9110, section 2.5.
#[test]
fn forms_that_a_server_must_understand() {
    #[track_caller]
    fn inside(request: &str, target: &str, host: &str) {
        let head = Head {
            length: 0,
            body_length: 0,
            expects_continue: false,
            keep_alive: true,
            is_head: false,
        };
        let peer = "X-Hallpass-Peer: 192.0.2.1";
        let lines = format!("{target} HTTP/1.0\r\nConnection: keep-alive\r\n{peer}\r\n");
        check(&format!("{request}\r\n\r\n"), head, &format!("{lines}Host: {host}\r\n\r\n"));
    }
    inside("\r\nGET / HTTP/1.1\r\nHost: a", "GET /", "a");
    inside("\r\n\r\nGET / HTTP/1.1\r\nHost: a", "GET /", "a");
    inside("GET http://a.b:80/c?d=e HTTP/1.1\r\nHost: x", "GET /c?d=e", "a.b:80");
    inside("GET HTTPS://[::1]/ HTTP/1.1\r\nHost: ", "GET /", "[::1]");
    inside("GET http://a HTTP/1.1\r\nHost: a", "GET /", "a");
    inside("GET http://a?b HTTP/1.1\r\nHost: a", "GET /?b", "a");
    inside("GET http://a/?http://b/ HTTP/1.1\r\nHost: b", "GET /?http://b/", "a");
    inside("GET http://a/ HTTP/1.0\r\nConnection: keep-alive", "GET /", "a");
    inside("OPTIONS * HTTP/1.1\r\nHost: a", "OPTIONS *", "a");
    inside("\r\nGET / HTTP/1.2\r\nHost: a", "GET /", "a");
    inside("GET / HTTP/1.9\r\nHost: a", "GET /", "a");
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
        inside(&format!("GET / HTTP/1.1\r\nHost: {host}"), "GET /", host);
    }
}

proptest! {
    /// Whatever is let in has the lines that were written anew, and reads the same a second time.
    #[test]
    fn what_was_let_in_has_one_meaning(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..60usize, cut in 0..20usize) {
        let mut request = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX: y\r\n\r\nhello".to_vec();
        let end = (at + cut).min(request.len());
        request.splice(at.min(end)..end, bytes.into_iter().take(cut));
        if let Ok(Some((head, inside))) = read(&request) {
            prop_assert!(head.length <= request.len());
            prop_assert!(inside.is_ascii() && inside.ends_with("\r\n\r\n"));
            prop_assert_eq!(inside.matches("\r\n\r\n").count(), 1);
            prop_assert_eq!(inside.matches('\n').count(), inside.matches("\r\n").count());
            prop_assert!(inside.to_ascii_lowercase().matches("\r\ncontent-length:").count() <= 1);
            prop_assert!(!inside.to_ascii_lowercase().contains("\r\ntransfer-encoding"));
            let (again, _) = read(inside.as_bytes()).unwrap().unwrap();
            prop_assert_eq!((again.length, again.body_length), (inside.len(), head.body_length));
        }
    }
}
