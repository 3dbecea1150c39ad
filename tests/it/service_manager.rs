//! Messages to the service manager (sd_notify(3)).

use std::os::unix::net::UnixDatagram;

use crate::program::{PATIENCE, Program};

/// A service manager that expects a sign of life every `watchdog_microseconds`.
fn serve(watchdog_microseconds: &str) -> (UnixDatagram, Program) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let environment =
        [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", watchdog_microseconds)];
    (socket, Program::serve_in(folder, &[], &environment))
}

fn message(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned()
}

#[test]
fn the_service_manager_learns_of_start_reload_and_stop() {
    let (socket, program) = serve("");
    assert_eq!(message(&socket), "READY=1");
    program.signal("-HUP");
    let reloading = message(&socket);
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    assert!(since.parse::<u64>().unwrap() > 0, "{reloading}");
    assert_eq!(message(&socket), "READY=1");
    program.signal("-TERM");
    assert_eq!(message(&socket), "STOPPING=1");
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn an_idle_server_reports_that_it_is_alive() {
    let (socket, _program) = serve("40000");
    assert_eq!(message(&socket), "READY=1");
    for _ in 0..5 {
        assert_eq!(message(&socket), "WATCHDOG=1");
    }
}
