//! Limits of connections, and eviction.

use super::*;

#[test]
fn the_longest_idle_connection_is_evicted() {
    let door = door(|settings| settings.capacity.connections = 4);
    let mut first = door.connect();
    first.write_all(GET.as_bytes()).unwrap();
    answer(&mut first);
    let mut idle = door.connect();
    eventually(|| door.counters.open() == 2);
    let mut slow = door.connect();
    slow.write_all(b"GET /echo HTTP/1.1\r\nX: ").unwrap();
    eventually(|| door.counters.open() == 3);
    let mut answered = door.connect();
    answered.write_all(b"GET /slow/600 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    eventually(|| door.active.load(Relaxed) == 1);
    // Another request on the first connection puts it last.
    first.write_all(GET.as_bytes()).unwrap();
    answer(&mut first);

    let mut fifth = door.connect();
    assert_eq!(rest(&mut idle), "");
    let mut sixth = door.connect();
    assert_eq!(rest(&mut slow), "");
    let _seventh = door.connect();
    assert_eq!(rest(&mut first), "");
    let _eighth = door.connect();
    assert_eq!(rest(&mut fifth), "");
    assert_eq!(body(&answer(&mut answered)), "slow 600");
    door.counted(Reason::Evicted, 4);
    assert_eq!(door.counters.open(), 4);
    sixth.write_all(GET.as_bytes()).unwrap();
    assert_eq!(status(&answer(&mut sixth)), 200);
}

#[test]
fn connections_that_do_not_read_are_evicted_too() {
    let door = door(|settings| settings.capacity.connections = 4);
    let mut stuck: Vec<TcpStream> = (0..4).map(|_| door.connect()).collect();
    for stream in &mut stuck {
        stream
            .write_all("GET /big/60000 HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100).as_bytes())
            .unwrap();
    }
    eventually(|| door.counters.open() == 4);
    thread::sleep(SHORT);
    for _ in 0..4 {
        assert_eq!(status(&door.send("GET /echo HTTP/1.0\r\n\r\n")), 200);
    }
}

#[test]
fn one_address_has_a_connection_limit() {
    let door = door(|settings| settings.connections_per_address_max = 3);
    let mut three: Vec<TcpStream> = (0..3).map(|_| door.connect()).collect();
    eventually(|| door.counters.open() == 3);
    three[0].write_all(GET.as_bytes()).unwrap();
    answer(&mut three[0]);
    // The fourth is served, and the connection that has been idle longest is closed.
    assert_eq!(status(&door.send("GET /echo HTTP/1.0\r\n\r\n")), 200);
    assert_eq!(rest(&mut three[1]), "");
    door.counted(Reason::PerAddress, 1);
    for stream in [0, 2] {
        three[stream].write_all(GET.as_bytes()).unwrap();
        assert_eq!(status(&answer(&mut three[stream])), 200);
    }
}

#[test]
fn a_new_connection_is_closed_if_its_address_has_none_idle() {
    let door = door(|settings| settings.connections_per_address_max = 2);
    let mut two: Vec<TcpStream> = (0..2).map(|_| door.connect()).collect();
    for stream in &mut two {
        stream.write_all(b"GET /slow/600 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    eventually(|| door.active.load(Relaxed) == 2);
    assert_eq!(rest(&mut door.connect()), "");
    door.counted(Reason::PerAddress, 1);
    for stream in &mut two {
        assert_eq!(body(&answer(stream)), "slow 600");
    }
}

#[test]
fn trusted_proxies_have_no_connection_limit() {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let door = door(|settings| {
        settings.connections_per_address_max = 1;
        settings.unlimited = Box::new(move |address| address == loopback);
    });
    let _many: Vec<TcpStream> = (0..20).map(|_| door.connect()).collect();
    eventually(|| door.counters.open() == 20);
    assert_eq!(door.counters.rejected(Reason::PerAddress), 0);
}

#[test]
fn capacity_depends_on_the_descriptors() {
    for (wanted, descriptors, connections, upstream_requests) in [
        (1024, 65536, 1024, 512),
        (1024, 1024, 418, 138),
        (100, 1024, 100, 100),
        (1024, 256, 34, 10),
        (1024, 0, 1, 1),
        (100_000, 1_000_000, 100_000, 512),
    ] {
        assert_eq!(
            Capacity::within(wanted, descriptors),
            Capacity { connections, upstream_requests }
        );
    }
}

#[test]
fn http_is_redirected_to_https() {
    let door = door(|_| ());
    let mut stream = TcpStream::connect(door.redirect).unwrap();
    stream.write_all(b"GET /auth/signin?rd=%2F HTTP/1.1\r\nHost: evil\r\n\r\n").unwrap();
    let answer = rest(&mut stream);
    assert_eq!(status(&answer), 308);
    assert_eq!(header(&answer, "location"), Some("https://auth.example.org/auth/signin?rd=%2F"));
}
