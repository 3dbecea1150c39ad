//! The sockets to serve on: those that systemd hands over, or those of the settings.

use std::fs::{self, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use listenfd::ListenFd;

use crate::config::{ListenAddress, ServeOptions};
use crate::web::Sockets;

/// Binds what the settings name, unless systemd has done it (sd_listen_fds(3)). The port is that of the first TCP
/// socket.
///
/// # Errors
/// One sentence that names the address.
pub fn open(options: &ServeOptions) -> Result<(Sockets, Option<u16>), String> {
    let mut sockets = inherited().map_err(|error| format!("cannot use the sockets that were handed over: {error}"))?;
    if sockets.tcp.is_empty() && sockets.unix.is_empty() {
        for address in &options.listen {
            match address {
                ListenAddress::Tcp(address) => sockets.tcp.push(tcp(address)?),
                ListenAddress::Unix(path) => sockets.unix.push(unix(path, options.socket_mode)?),
            }
        }
    }
    let port = sockets.tcp.first().and_then(|socket| socket.local_addr().ok()).map(|address| address.port());
    Ok((sockets, port))
}

/// Binds `HOST:PORT`.
///
/// # Errors
/// One sentence that names the address.
pub fn tcp(address: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address).map_err(|error| format!("cannot listen on {address}: {error}"))
}

/// A socket that nobody answers on was left behind by a server that was killed.
fn unix(path: &Path, mode: u32) -> Result<UnixListener, String> {
    let cannot = |error| format!("cannot listen on unix:{}: {error}", path.display());
    if UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        fs::remove_file(path).map_err(|error| format!("cannot replace unix:{}: {error}", path.display()))?;
    }
    let socket = UnixListener::bind(path).map_err(cannot)?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(cannot)?;
    Ok(socket)
}

fn inherited() -> io::Result<Sockets> {
    let mut sockets = Sockets::default();
    let mut handed_over = ListenFd::from_env();
    for index in 0..handed_over.len() {
        if let Ok(Some(socket)) = handed_over.take_tcp_listener(index) {
            sockets.tcp.push(socket);
        } else if let Some(socket) = handed_over.take_unix_listener(index)? {
            sockets.unix.push(socket);
        }
    }
    Ok(sockets)
}
