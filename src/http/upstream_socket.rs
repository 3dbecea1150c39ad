//! The private socket between the door and tiny_http.
//!
//! Temporary files may be deleted by cleaners, and a long path does not fit into a socket address.
//! So on Linux the socket is bound through a handle on its folder, and then both are deleted. From
//! then on, the socket can be reached only through a handle that this process holds. (An abstract
//! socket would be open to every process on the machine.) On other systems, and without /proc, the
//! socket stays in a folder that only its owner can enter.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
#[cfg(target_os = "linux")]
use std::path::Path;

use tempfile::TempDir;

/// The address of the socket, valid as long as this value lives.
pub struct UpstreamSocket {
    address: SocketAddr,
    /// Handles on the folder and on the socket.
    _handles: Option<[OwnedFd; 2]>,
    _folder: Option<TempDir>,
}

impl UpstreamSocket {
    /// Binds a socket in a folder that nobody else can enter.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn bind(folder: TempDir) -> io::Result<(UnixListener, UpstreamSocket)> {
        #[cfg(target_os = "linux")]
        if let Ok(bound) = bind_nameless(folder.path()) {
            return Ok(bound);
        }
        let listener = UnixListener::bind(folder.path().join("tiny_http"))?;
        let address = listener.local_addr()?;
        Ok((listener, UpstreamSocket { address, _handles: None, _folder: Some(folder) }))
    }

    /// The address to connect to.
    pub fn address(&self) -> &SocketAddr {
        &self.address
    }

    /// Ends tiny_http's accept thread, which notices only at the next connection that its server is
    /// gone.
    pub fn wake(&self) {
        // If the connection fails, the thread has already ended.
        let _ = UnixStream::connect_addr(&self.address);
    }
}

/// Binds a socket that has no path (proc(5), /proc/pid/fd).
#[cfg(target_os = "linux")]
fn bind_nameless(folder: &Path) -> io::Result<(UnixListener, UpstreamSocket)> {
    use std::os::fd::AsRawFd;

    use crate::process::path_handle;

    let folder_handle = path_handle(folder)?;
    let listener =
        UnixListener::bind(format!("/proc/self/fd/{}/tiny_http", folder_handle.as_raw_fd()))?;
    let socket = folder.join("tiny_http");
    let handle = path_handle(&socket)?;
    std::fs::remove_file(socket)?;
    let address = SocketAddr::from_pathname(format!("/proc/self/fd/{}", handle.as_raw_fd()))?;
    let upstream =
        UpstreamSocket { address, _handles: Some([folder_handle, handle]), _folder: None };
    Ok((listener, upstream))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use std::path::Path;

    use super::*;

    #[track_caller]
    fn check(temporary: &Path) {
        let folder = tempfile::tempdir_in(temporary).expect("a folder");
        let (listener, upstream) = UpstreamSocket::bind(folder).expect("a socket");
        if cfg!(target_os = "linux") {
            let left = std::fs::read_dir(temporary).expect("it is a folder").count();
            assert_eq!(left, 0, "something is left in the folder");
        }
        for _ in 0..3 {
            let mut client = UnixStream::connect_addr(upstream.address()).expect("it listens");
            let (mut served, _) = listener.accept().expect("a connection");
            served.write_all(b"hello").expect("it is open");
            drop(served);
            let mut text = String::new();
            client.read_to_string(&mut text).expect("it is open");
            assert_eq!(text, "hello");
        }
    }

    #[test]
    fn nothing_depends_on_the_temporary_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        check(folder.path());
        if cfg!(target_os = "linux") {
            let long = folder.path().join("x".repeat(200));
            std::fs::create_dir(&long).expect("a folder");
            check(&long);
        }
    }
}
