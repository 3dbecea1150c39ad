//! `hallpass serve`: from the flags to a running server, and to its end.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::clock;
use crate::config::{ListenAddress, ServeOptions, Settings};
use crate::google::Policy;
use crate::logging;
use crate::store::Store;
use crate::web::{App, Listener, Server};

/// Descriptors wanted: a connection takes three of tiny_http's.
const DESCRIPTORS_WANTED: u64 = 65_536;
/// How often expired rows are looked for, and the pause between two steps of deleting them.
const PURGE_INTERVAL: Duration = Duration::from_secs(60);
const PURGE_PAUSE: Duration = Duration::from_millis(50);

/// Runs the server until SIGTERM or SIGINT.
///
/// # Errors
/// One sentence that says why it does not start.
pub fn serve(options: &ServeOptions) -> Result<(), String> {
    logging::start(options.log_format);
    let (listener, port) = listen(&options.listen)?;
    let settings = Settings::new(options, port)?;
    announce(&settings, &options.listen, port, &options.database);
    let store = Store::open(&options.database).map_err(|error| error.to_string())?;
    run(listener, App::new(settings, store))
}

/// Binds the address; the port is the one it got.
pub fn listen(address: &ListenAddress) -> Result<(Listener, Option<u16>), String> {
    match address {
        ListenAddress::Tcp(address) => {
            let cannot = |error| format!("cannot listen on {address}: {error}");
            let listener = TcpListener::bind(address).map_err(cannot)?;
            let port = listener.local_addr().map_err(cannot)?.port();
            Ok((Listener::Tcp(listener), Some(port)))
        }
        ListenAddress::Unix(path) => {
            // A socket that nobody answers on was left behind by a server that was killed.
            if UnixStream::connect(path).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused) {
                fs::remove_file(path).map_err(|error| format!("cannot replace unix:{}: {error}", path.display()))?;
            }
            let listener = UnixListener::bind(path);
            Ok((Listener::Unix(listener.map_err(|e| format!("cannot listen on unix:{}: {e}", path.display()))?), None))
        }
    }
}

/// Serves until a signal asks to stop.
pub fn run(listener: Listener, app: App) -> Result<(), String> {
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|error| format!("cannot catch signals: {error}"))?;
    // The door, which shields the server from the network, will stand between the listener and the server.
    raise_descriptor_limit();
    let app = Arc::new(app);
    keep_purging(Arc::downgrade(&app));
    let server = Server::start(listener, app).map_err(|error| format!("cannot start: {error}"))?;
    if let Some(signal) = signals.forever().next() {
        log::info!("stopping on {}", signal_hook::low_level::signal_name(signal).unwrap_or("a signal"));
    }
    server.stop();
    log::info!("stopped");
    Ok(())
}

fn announce(settings: &Settings, listen: &ListenAddress, port: Option<u16>, database: &Path) {
    match listen {
        ListenAddress::Tcp(address) => {
            let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
            log::info!("listening on {host}:{}, which browsers reach as {}", port.unwrap_or(0), settings.origin());
        }
        ListenAddress::Unix(path) => {
            log::info!("listening on unix:{}, which browsers reach as {}", path.display(), settings.origin());
        }
    }
    let place = std::path::absolute(database).unwrap_or_else(|_| database.to_owned());
    log::info!("the database is {}", place.display());
    log::info!("tokens may be for {}", settings.client_ids.join(", "));
    match &settings.policy {
        Policy::Anyone => log::warn!("anyone with a Google account may sign in (--allow-anyone)"),
        Policy::Listed(list) => {
            let names: Vec<String> =
                list.domains.iter().map(|domain| format!("accounts of {domain}")).chain(list.emails.clone()).collect();
            log::info!("may sign in: {}", names.join(", "));
        }
    }
    let local = matches!(settings.public_url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if !settings.is_https() && !local {
        log::warn!("the public URL is plain http: anybody on the way can take sessions; put HTTPS in front of it");
    }
}

fn raise_descriptor_limit() {
    match rlimit::increase_nofile_limit(DESCRIPTORS_WANTED) {
        Ok(limit) => log::debug!("at most {limit} file descriptors"),
        Err(error) => log::warn!("cannot raise the limit of file descriptors: {error}"),
    }
}

/// Deletes in small steps what time has made worthless, for as long as the application is there.
fn keep_purging(app: Weak<App>) {
    thread::spawn(move || {
        while let Some(app) = app.upgrade() {
            let more = app.store().purge(clock::now()).inspect_err(|error| log::warn!("cannot purge: {error}"));
            drop(app);
            thread::sleep(if more.unwrap_or(false) { PURGE_PAUSE } else { PURGE_INTERVAL });
        }
    });
}
