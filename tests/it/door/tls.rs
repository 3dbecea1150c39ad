//! HTTPS.

use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

use super::*;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

fn write_pair(files: &TlsFiles, name: &str) -> CertificateDer<'static> {
    let pair = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    std::fs::write(&files.certificate, pair.cert.pem()).unwrap();
    std::fs::write(&files.key, pair.signing_key.serialize_pem()).unwrap();
    pair.cert.der().clone()
}

fn files(door: &std::path::Path) -> TlsFiles {
    TlsFiles { certificate: door.with_file_name("cert.pem"), key: door.with_file_name("key.pem") }
}

fn tls_door(change: impl FnOnce(&mut Settings)) -> (TestDoor, TlsFiles, CertificateDer<'static>) {
    let mut made = None;
    let door = door(|settings| {
        let files = files(settings.upstream.as_pathname().unwrap());
        made = Some((files.clone(), write_pair(&files, "localhost")));
        settings.tls = Some(files);
        change(settings);
    });
    let (files, certificate) = made.unwrap();
    (door, files, certificate)
}

fn connect(
    door: &TestDoor,
    root: &CertificateDer<'static>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let mut config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), door.connect())
}

const BOTH: &[&rustls::SupportedProtocolVersion] =
    &[&rustls::version::TLS13, &rustls::version::TLS12];

#[test]
fn tls_1_2_and_1_3_are_supported() {
    let (door, _, root) = tls_door(|_| ());
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut stream = connect(&door, &root, &[version]);
        for _ in 0..3 {
            stream.write_all(GET.as_bytes()).unwrap();
            let answer = answer(&mut stream);
            assert_eq!(status(&answer), 200);
            assert!(body(&answer).contains("X-Hallpass-Peer: 127.0.0.1\n"), "{answer}");
            assert_eq!(header(&answer, "strict-transport-security"), Some("max-age=31536000"));
        }
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(stream.conn.protocol_version(), Some(version.version));
    }
}

#[test]
fn big_responses_pipelining_and_rejections_over_tls() {
    let (door, _, root) = tls_door(|settings| settings.deadlines.linger = SHORT);
    let mut stream = connect(&door, &root, BOTH);
    stream.write_all(b"GET /big/3000000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream.write_all(GET.repeat(20).as_bytes()).unwrap();
    assert_eq!(body(&answer(&mut stream)).len(), 3_000_000);
    for _ in 0..20 {
        assert!(body(&answer(&mut stream)).starts_with("GET /echo\n"));
    }
    stream.write_all(b"GET /echo HTTP/1.1\r\n\r\n").unwrap();
    let answer = rest(&mut stream);
    assert_eq!((status(&answer), answers(&answer)), (400, 1));
}

#[test]
fn a_body_in_many_tls_records() {
    let (door, _, root) = tls_door(|_| ());
    let mut stream = connect(&door, &root, BOTH);
    for piece in b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123456789".chunks(7) {
        stream.write_all(piece).unwrap();
        stream.flush().unwrap();
        thread::sleep(Duration::from_millis(2));
    }
    assert!(answer(&mut stream).ends_with("\n123456789"));
}

#[test]
fn incomplete_handshakes_are_closed() {
    let (door, _, _) = tls_door(|settings| settings.deadlines.request = SHORT);
    let mut stream = door.connect();
    stream.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
    assert_eq!(rest(&mut stream), "");
    door.counted(Reason::Tls, 1);
    // Plain HTTP is not a handshake.
    let mut stream = door.connect();
    stream.write_all(GET.as_bytes()).unwrap();
    let mut alert = Vec::new();
    let _ = stream.read_to_end(&mut alert);
    door.counted(Reason::Tls, 2);
}

#[test]
fn a_finished_handshake_is_evicted_after_silent_connections() {
    let (door, _, root) = tls_door(|settings| settings.capacity.connections = 2);
    let mut first = connect(&door, &root, BOTH);
    eventually(|| door.counters.open() == 1);
    let mut silent = door.connect();
    eventually(|| door.counters.open() == 2);
    // The handshake of the older connection is done later.
    first.conn.complete_io(&mut first.sock).unwrap();
    // The session tickets come after the handshake.
    first.conn.read_tls(&mut first.sock).unwrap();
    first.conn.process_new_packets().unwrap();
    let _third = door.connect();
    assert_eq!(rest(&mut silent), "");
    first.write_all(GET.as_bytes()).unwrap();
    assert_eq!(status(&answer(&mut first)), 200);
}

#[test]
fn a_new_certificate_is_served_and_a_broken_one_is_not() {
    let (door, files, old) = tls_door(|_| ());
    let mut before = connect(&door, &old, BOTH);
    before.write_all(GET.as_bytes()).unwrap();
    assert_eq!(status(&answer(&mut before)), 200);

    std::fs::write(&files.key, "no key").unwrap();
    assert!(door.door.as_ref().unwrap().reload_tls().is_err());
    let mut still = connect(&door, &old, BOTH);
    still.write_all(GET.as_bytes()).unwrap();
    assert_eq!(status(&answer(&mut still)), 200);

    // The key of another certificate.
    let other = files.certificate.with_file_name("other.pem");
    write_pair(&TlsFiles { certificate: other, key: files.key.clone() }, "localhost");
    assert!(door.door.as_ref().unwrap().reload_tls().is_err());

    let new = write_pair(&files, "localhost");
    door.door.as_ref().unwrap().reload_tls().unwrap();
    let mut after = connect(&door, &new, BOTH);
    after.write_all(GET.as_bytes()).unwrap();
    assert_eq!(status(&answer(&mut after)), 200);
    // Open connections keep the old certificate.
    before.write_all(GET.as_bytes()).unwrap();
    assert_eq!(status(&answer(&mut before)), 200);
}

#[test]
fn changed_files_are_noticed() {
    let (door, files, _) = tls_door(|_| ());
    let new = write_pair(&files, "localhost");
    eventually(|| {
        let mut stream = connect(&door, &new, BOTH);
        stream.write_all(GET.as_bytes()).is_ok()
    });
}

/// Switching a symlink, or copying with `cp -p`, keeps the time.
#[test]
fn changed_files_are_noticed_even_with_the_same_time() {
    let (door, files, old) = tls_door(|_| ());
    let time = |path: &std::path::Path| std::fs::metadata(path).unwrap().modified().unwrap();
    let times = [&files.certificate, &files.key].map(|path| time(path));
    let renewed = TlsFiles {
        certificate: files.certificate.with_extension("new"),
        key: files.key.with_extension("new"),
    };
    let new = write_pair(&renewed, "localhost");
    let mut before = connect(&door, &old, BOTH);
    before.write_all(GET.as_bytes()).unwrap();
    assert_eq!(status(&answer(&mut before)), 200);
    for ((from, to), time) in
        [(renewed.certificate, files.certificate), (renewed.key, files.key)].into_iter().zip(times)
    {
        std::fs::File::options().write(true).open(&from).unwrap().set_modified(time).unwrap();
        std::fs::rename(from, &to).unwrap();
        assert_eq!(std::fs::metadata(to).unwrap().modified().unwrap(), time);
    }
    eventually(|| connect(&door, &new, BOTH).write_all(GET.as_bytes()).is_ok());
}

/// Pipelined requests share few upstream connections; others each have their own.
#[test]
fn clients_that_do_not_pipeline_are_served_in_parallel() {
    let (door, _, root) = tls_door(|_| ());
    let mut streams: Vec<_> = (0..8).map(|_| connect(&door, &root, BOTH)).collect();
    for stream in &mut streams {
        stream.write_all(GET.as_bytes()).unwrap();
        assert_eq!(status(&answer(stream)), 200);
    }
    for stream in &mut streams {
        stream.write_all(b"GET /slow/2000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    eventually(|| door.active.load(Relaxed) == 8);
}

/// A FIFO blocks its reader, like a network file system that does not respond.
#[test]
fn a_file_that_blocks_its_reader_does_not_block_the_door() {
    const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let (door, files, certificate) = tls_door(|_| ());
    std::fs::remove_file(&files.key).unwrap();
    assert!(Command::new("mkfifo").arg(&files.key).status().unwrap().success());
    let ask = || {
        let mut stream = connect(&door, &certificate, BOTH);
        stream.write_all(GET.as_bytes()).unwrap();
        assert_eq!(status(&answer(&mut stream)), 200);
    };
    let mut writer = std::fs::File::options();
    writer.write(true).custom_flags(NONBLOCK);
    let mut open = None;
    // This succeeds once the server is reading.
    eventually(|| {
        ask();
        open = writer.open(&files.key).ok();
        open.is_some()
    });
    ask();
}
