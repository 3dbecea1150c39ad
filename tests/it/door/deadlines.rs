//! How long everything may take, and how it ends.

use super::*;

#[test]
fn half_a_request_has_its_time() {
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
        let answer = door.tell(half);
        assert_eq!((status(&answer), answers(&answer)), (408, 1), "{half}");
        assert!(began.elapsed() >= SHORT && began.elapsed() < LONG / 2);
    }
    // Bytes that keep coming do not renew it.
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
    // Who said nothing is told nothing.
    assert_eq!(door.tell(""), "");
    door.counted(Reason::Timeout, 4);
}

#[test]
fn a_later_request_has_its_time_from_its_first_byte() {
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
fn an_idle_connection_is_closed_without_a_word() {
    let door = door(|settings| settings.deadlines.idle = SHORT);
    let mut stream = door.connect();
    stream.write_all(GET.as_bytes()).unwrap();
    answer(&mut stream);
    assert_eq!(rest(&mut stream), "");
}

#[test]
fn who_does_not_take_the_answer_is_closed_and_nothing_is_mixed_up() {
    let door = door(|settings| settings.deadlines.response = SHORT);
    let mut stuck: Vec<TcpStream> = (0..10).map(|_| door.connect()).collect();
    for stream in &mut stuck {
        stream.write_all(b"GET /big/20000000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    eventually(|| door.counters.open() == 10);
    eventually(|| door.counters.open() == 0);
    let answer = door.tell("GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(body(&answer).starts_with("GET /echo\n"));
    // What they asked for is read to the end inside.
    eventually(|| door.inside.load(Relaxed) == 0);
}

#[test]
fn stopping_lets_those_finish_who_have_begun() {
    let mut door = door(|_| ());
    let mut idle = door.connect();
    idle.write_all(GET.as_bytes()).unwrap();
    answer(&mut idle);
    let mut answered = door.connect();
    answered.write_all(b"GET /slow/300 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut begun = door.connect();
    begun.write_all(b"GET /echo HTTP/1.1\r\nHost").unwrap();
    eventually(|| door.inside.load(Relaxed) == 1 && door.counters.open() == 3);
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
fn stopping_does_not_wait_longer_than_its_grace() {
    let mut door = door(|_| ());
    let mut stream = door.connect();
    stream.write_all(b"GET /slow/5000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    eventually(|| door.inside.load(Relaxed) == 1);
    let began = Instant::now();
    door.door.take().unwrap().stop(SHORT);
    assert!(began.elapsed() < Duration::from_secs(4));
}
