//! The sockets to serve on: those that systemd hands over, or those of the settings.

use std::fs::{self, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use listenfd::ListenFd;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// `HOST:PORT`, resolved when it is bound.
    Tcp(String),
    /// A Unix socket, for a proxy on the same host.
    Unix(PathBuf),
}

/// What is listened on, bound already.
#[derive(Default)]
pub struct Sockets {
    /// With TLS if there is a certificate.
    pub tcp: Vec<TcpListener>,
    /// Without TLS, for proxies on this host.
    pub unix: Vec<UnixListener>,
    /// A port that only sends browsers to this public URL.
    pub redirect: Option<(TcpListener, String)>,
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<ListenAddress, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let absolute = path.starts_with('/');
            return if absolute {
                Ok(ListenAddress::Unix(path.into()))
            } else {
                Err("expected unix:/PATH".into())
            };
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(ListenAddress::Tcp(text.to_owned()))
            }
            _ => Err("expected HOST:PORT or unix:/PATH".into()),
        }
    }
}

/// Binds what the settings name, unless systemd has done it (sd_listen_fds(3)). The port is that of the first TCP
/// socket.
///
/// # Errors
/// One sentence that names the address.
pub fn open(
    addresses: &[ListenAddress],
    socket_mode: u32,
) -> Result<(Sockets, Option<u16>), String> {
    let mut sockets = inherited()
        .map_err(|error| format!("cannot use the sockets that were handed over: {error}"))?;
    if sockets.tcp.is_empty() && sockets.unix.is_empty() {
        for address in addresses {
            match address {
                ListenAddress::Tcp(address) => sockets.tcp.push(bind_tcp(address)?),
                ListenAddress::Unix(path) => sockets.unix.push(bind_unix(path, socket_mode)?),
            }
        }
    }
    let port = sockets
        .tcp
        .first()
        .and_then(|socket| socket.local_addr().ok())
        .map(|address| address.port());
    Ok((sockets, port))
}

/// Binds `HOST:PORT`.
///
/// # Errors
/// One sentence that names the address.
pub fn bind_tcp(address: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address).map_err(|error| format!("cannot listen on {address}: {error}"))
}

/// A socket that nobody answers on was left behind by a server that was killed.
fn bind_unix(path: &Path, mode: u32) -> Result<UnixListener, String> {
    let cannot = |error| format!("cannot listen on unix:{}: {error}", path.display());
    if UnixStream::connect(path)
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    {
        fs::remove_file(path)
            .map_err(|error| format!("cannot replace unix:{}: {error}", path.display()))?;
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
