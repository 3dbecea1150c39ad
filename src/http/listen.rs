//! Listening sockets: those passed by systemd, or else those of the settings.

use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::mem;
use std::net::{Ipv6Addr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
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

/// Bound sockets.
#[derive(Default)]
pub struct Sockets {
    /// HTTPS if there is a certificate, else HTTP.
    pub tcp: Vec<TcpListener>,
    /// HTTP, for proxies on this host.
    pub unix: Vec<UnixListener>,
    /// An HTTP port that redirects every request to this public URL, which has no final slash.
    pub redirect: Option<(TcpListener, String)>,
    /// Paths that [`Sockets::bind_unix`] will bind, and their permissions.
    pub unbound: Vec<(PathBuf, u32)>,
}

impl ListenAddress {
    /// Whether the operating system chooses the port.
    pub fn is_any_port(&self) -> bool {
        matches!(self, ListenAddress::Tcp(address) if address.ends_with(":0"))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => f.write_str(address),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<ListenAddress, String> {
        let text = text.trim();
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(ListenAddress::Unix(path.into())),
            Some(_) => Err(
                "expected an absolute path after unix:, such as unix:/run/hallpass/hallpass.sock"
                    .into(),
            ),
            None => host_port(text).map(ListenAddress::Tcp),
        }
    }
}

/// Checks `HOST:PORT`, with an IPv6 address in brackets.
///
/// # Errors
/// Says what was expected.
pub fn host_port(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.contains("//") {
        return Err("expected HOST:PORT such as 127.0.0.1:8080, without a scheme or a path".into());
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(match text.parse::<u16>() {
            Ok(port) => format!("expected HOST:PORT such as 127.0.0.1:{port}"),
            Err(_) => "expected HOST:PORT such as 127.0.0.1:8080".into(),
        });
    };
    if port.parse::<u16>().is_err() {
        return Err("expected HOST:PORT with a port from 0 to 65535".into());
    }
    if host.is_empty() {
        return Err(format!(
            "expected HOST:PORT such as 127.0.0.1:{port}, or 0.0.0.0:{port} for every address"
        ));
    }
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.split('%').next().is_some_and(|it| it.parse::<Ipv6Addr>().is_ok()),
        None if host.contains(':') => {
            return Err("expected an IPv6 address in brackets, such as [::1]:8080".into());
        }
        None => host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
    };
    if !is_host {
        return Err("expected HOST:PORT such as 127.0.0.1:8080 or [::1]:8080".into());
    }
    Ok(text.to_owned())
}

/// Takes the sockets that systemd passes (sd_listen_fds(3)). Without any, binds the TCP addresses,
/// and leaves the Unix sockets to [`Sockets::bind_unix`]. Also returns the port of the first TCP
/// socket.
///
/// # Errors
/// Names the address.
pub fn open(
    addresses: &[ListenAddress],
    socket_mode: u32,
) -> Result<(Sockets, Option<u16>), String> {
    let mut sockets = inherited()
        .map_err(|error| format!("cannot use the sockets passed by systemd: {error}"))?;
    if sockets.tcp.is_empty() && sockets.unix.is_empty() {
        for address in addresses {
            match address {
                ListenAddress::Tcp(address) => sockets.tcp.push(bind_tcp(address)?),
                ListenAddress::Unix(path) => sockets.unbound.push((path.clone(), socket_mode)),
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

impl Sockets {
    /// Binds the Unix sockets. This may replace an abandoned one, so do it after everything else
    /// that may fail.
    ///
    /// # Errors
    /// Names the path.
    pub fn bind_unix(&mut self) -> Result<(), String> {
        for (path, mode) in mem::take(&mut self.unbound) {
            let socket = bind_unix(&path, mode)
                .map_err(|why| format!("cannot listen on unix:{}: {why}", path.display()))?;
            self.unix.push(socket);
        }
        Ok(())
    }
}

/// Binds `HOST:PORT`.
///
/// # Errors
/// Names the address and says what to do.
pub fn bind_tcp(address: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address).map_err(|error| {
        let why = match error.kind() {
            ErrorKind::AddrInUse => {
                "another program uses this port; stop that program, or choose another port".into()
            }
            ErrorKind::PermissionDenied => "ports below 1024 need a privilege; choose a higher port, let systemd open \
                                            this one (deploy/systemd/hallpass.socket), or grant CAP_NET_BIND_SERVICE"
                .into(),
            ErrorKind::AddrNotAvailable => "this machine does not have that address".into(),
            _ if error.raw_os_error().is_none() => format!("the host cannot be looked up ({error})"),
            _ => error.to_string(),
        };
        format!("cannot listen on {address}: {why}")
    })
}

fn bind_unix(path: &Path, mode: u32) -> Result<UnixListener, String> {
    if let Ok(found) = fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err("something that is not a socket is there; choose another path".into());
        }
        match UnixStream::connect(path) {
            Ok(_) => {
                return Err("another program listens there; stop it, or choose another path".into());
            }
            // A killed server has left it behind.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                fs::remove_file(path)
                    .map_err(|error| format!("cannot replace the socket there: {error}"))?;
            }
            Err(_) => {}
        }
    }
    let socket = UnixListener::bind(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => "its folder does not exist; create it first".into(),
        ErrorKind::InvalidInput => "the path is too long; the limit is 107 bytes".into(),
        ErrorKind::PermissionDenied => "this user may not write to its folder".into(),
        _ => error.to_string(),
    })?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|error| error.to_string())?;
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
