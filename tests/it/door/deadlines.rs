//! Deadlines and stopping.

use super::*;

#[test]
fn incomplete_requests_time_out() {
    let door = door(|settings| {
        settings.deadlines.request = SHORT;
        settings.deadlines.linger = SHORT;
    });
    for half in [
        "G",
        "GET /echo HTTP/1.1\r\nHo",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1234",
    ] {
        let began = Instant::now();
        let answer = door.send(half);
        assert_eq!((status(&answer), answers(&answer)), (408, 1), "{half}");
        assert!(began.elapsed() >= SHORT && began.elapsed() < LONG / 2);
    }
    // A steady trickle of bytes does not extend the deadline.
    let mut stream = door.connect();
    let mut reader = stream.try_clone().unwrap();
    let writer = thread::spawn(move || {
        stream.write_all(b"GET /echo HTTP/1.1\r\nX: ").unwrap();
        while stream.write_all(b"a").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(status(&answer(&mut reader)), 408);
    drop(reader);
    writer.join().unwrap();
    // A client that sent nothing gets no response.
    assert_eq!(door.send(""), "");
    door.counted(Reason::Timeout, 4);
}

#[test]
fn the_time_of_a_later_request_starts_at_its_first_byte() {
    let door = door(|settings| settings.deadlines.request = SHORT);
    let mut stream = door.connect();
    stream.write_all(GET.as_bytes()).unwrap();
    answer(&mut stream);
    thread::sleep(SHORT * 2);
    stream.write_all(GET.as_bytes()).unwrap();
    answer(&mut stream);
    stream.write_all(b"GET").unwrap();
    assert_eq!(status(&rest(&mut stream)), 408);
}

#[test]
fn idle_connections_are_closed_silently() {
    let door = door(|settings| settings.deadlines.idle = SHORT);
    let mut stream = door.connect();
    stream.write_all(GET.as_bytes()).unwrap();
    answer(&mut stream);
    assert_eq!(rest(&mut stream), "");
}

#[test]
fn clients_that_do_not_read_are_closed_and_responses_not_mixed_up() {
    let door = door(|settings| settings.deadlines.response = SHORT);
    let mut stuck: Vec<TcpStream> = (0..10).map(|_| door.connect()).collect();
    for stream in &mut stuck {
        stream.write_all(b"GET /big/20000000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    eventually(|| door.counters.open() == 10);
    eventually(|| door.counters.open() == 0);
    let answer = door.send("GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(body(&answer).starts_with("GET /echo\n"));
    // Their responses are still read from tiny_http to the end.
    eventually(|| door.active.load(Relaxed) == 0);
}

#[test]
fn stopping_lets_started_requests_finish() {
    let mut door = door(|_| ());
    let mut idle = door.connect();
    idle.write_all(GET.as_bytes()).unwrap();
    answer(&mut idle);
    let mut answered = door.connect();
    answered.write_all(b"GET /slow/300 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut begun = door.connect();
    begun.write_all(b"GET /echo HTTP/1.1\r\nHost").unwrap();
    eventually(|| door.active.load(Relaxed) == 1 && door.counters.open() == 3);
    let running = door.door.take().unwrap();
    let stopping = thread::spawn(move || running.stop(LONG));
    assert_eq!(rest(&mut idle), "");
    begun.write_all(b": a\r\n\r\n").unwrap();
    let last = rest(&mut begun);
    assert_eq!((status(&last), header(&last, "connection")), (200, Some("close")));
    assert_eq!(body(&rest(&mut answered)), "slow 300");
    stopping.join().unwrap();
    assert_eq!(TcpStream::connect(door.address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn stopping_waits_no_longer_than_the_grace_period() {
    let mut door = door(|_| ());
    let mut stream = door.connect();
    stream.write_all(b"GET /slow/5000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    eventually(|| door.active.load(Relaxed) == 1);
    let began = Instant::now();
    door.door.take().unwrap().stop(SHORT);
    assert!(began.elapsed() < Duration::from_secs(4));
}
