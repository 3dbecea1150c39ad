//! `hallpass demo`: the same server with a stand-in for Google.

use std::net::{TcpListener, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use url::Url;

use super::scheduled_backups::Backups;
use super::serve::{bind_others, catch_signals, run};
use super::serve_options::ServeOptions;
use super::{demo_history, doctor};
use crate::clock;
use crate::google::Verify;
use crate::google::demo::{CLIENT_ID, DOMAINS, DemoGoogle, PEOPLE};
use crate::http::ListenAddress;
use crate::http::{self, Handler, Limits, Request, Response, Service, Sockets, bind_tcp};
use crate::logging;
use crate::store::Database;
use crate::web::{App, Settings};

/// The default of --database, shown in the help.
pub const TEMPORARY: &str = "(temporary)";

/// Connections to the stand-in and the descriptors for them: more than there are calls at once.
const STAND_IN_MAX: usize = 1024;

/// Runs the demo until SIGTERM or SIGINT.
///
/// # Errors
/// One sentence that says why it does not start.
pub fn demo(mut options: ServeOptions, warnings: &[String]) -> Result<(), String> {
    logging::start(options.log_format);
    doctor::warn_of_environment(warnings);
    let signals = catch_signals()?;
    let Some(file) = options.database.file() else {
        return Err("the demo uses a SQLite file; give --database a path, or leave it out".into());
    };
    let is_temporary = file == Path::new(TEMPORARY);
    Backups::require_possible(&options.backups, &options.database)?;
    options.listen.iter().try_for_each(require_loopback)?;
    if options.verify != Verify::Tokeninfo {
        return Err("the demo's Google has no public keys; omit --verify (HALLPASS_VERIFY)".into());
    }
    let google = Arc::new(DemoGoogle::start());
    let socket = bind_tcp("127.0.0.1:0")?;
    let address =
        socket.local_addr().map_err(|error| format!("cannot listen on loopback: {error}"))?;
    let handler: Arc<dyn Handler> = Arc::new(StandIn(google.clone()));
    let limits = Limits {
        connections_max: STAND_IN_MAX,
        descriptors: STAND_IN_MAX,
        unlimited: Box::new(|_| true),
        keep_alive: http::KEEP_ALIVE,
    };
    let stand_in =
        Service::start(Sockets { tcp: vec![socket], ..Sockets::default() }, None, limits, &handler)
            .map_err(|error| format!("cannot start the stand-in for Google: {error}"))?;

    options.client_id = vec![CLIENT_ID.to_owned()];
    options.tokeninfo_url =
        Url::parse(&format!("http://{address}/tokeninfo")).expect("an address makes a URL");
    if options.allow_domain.is_empty() && options.allow_email.is_empty() && !options.allow_anyone {
        options.allow_domain = DOMAINS.map(str::to_owned).into();
    }
    if options.admin_email.is_empty() {
        options.admin_email = vec![PEOPLE[0].email.to_owned()];
    }
    let folder =
        tempfile::tempdir().map_err(|error| format!("cannot make a temporary folder: {error}"))?;
    if is_temporary {
        options.database = Database::File(folder.path().join("hallpass.db"));
    }

    let (mut sockets, port) = http::open(&options.listen, options.socket_mode)?;
    let settings = options.settings(port)?;
    let metrics = bind_others(&options, &settings, &mut sockets)?;
    let redirect = sockets.redirect.iter().map(|(socket, _)| socket);
    sockets.tcp.iter().chain(redirect).chain(&metrics).try_for_each(require_bound_to_loopback)?;
    let store = options.database.open().map_err(|error| error.to_string())?;
    if is_temporary {
        let history = demo_history::invent(&google, &settings, &store, clock::now());
        history.map_err(|error| error.to_string())?;
    }
    sockets.bind_unix()?;
    let ready = |settings: &Settings| {
        println!(
            "Demo: the people are invented, and Google is not called. Open this URL; stop with Ctrl-C:"
        );
        println!("\n    {}\n", settings.url_of("/auth/signin"));
        log::info!("the database is {}", options.database);
    };
    let app = App::new(settings, store).with_demo(google);
    run(sockets, metrics, &options, app, signals, ready)?;
    stand_in.stop(Instant::now());
    Ok(())
}

/// The stand-in for Google's endpoint, over HTTP.
struct StandIn(Arc<DemoGoogle>);

impl Handler for StandIn {
    fn handle(&self, request: &Request, now: i64) -> Response {
        if request.path() != "/tokeninfo" {
            return Response::empty(404);
        }
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        let (status, document) = self.0.tokeninfo(query, now);
        Response::text(status, "application/json", document)
    }

    fn reject_busy(&self, _request: &Request) -> Response {
        Response::empty(503)
    }
}

/// Checks that --listen names loopback, before anything is bound.
fn require_loopback(address: &ListenAddress) -> Result<(), String> {
    let ListenAddress::Tcp(text) = address else {
        return Ok(());
    };
    let mut addresses =
        text.to_socket_addrs().map_err(|error| format!("cannot listen on {text}: {error}"))?;
    if addresses.all(|address| address.ip().is_loopback()) {
        Ok(())
    } else {
        Err(open_to_all(text))
    }
}

/// Checks that a socket listens on loopback: systemd may have passed any socket.
fn require_bound_to_loopback(socket: &TcpListener) -> Result<(), String> {
    match socket.local_addr() {
        Ok(address) if address.ip().is_loopback() => Ok(()),
        Ok(address) => Err(open_to_all(&address.to_string())),
        Err(error) => Err(format!("cannot tell where a socket listens: {error}")),
    }
}

fn open_to_all(address: &str) -> String {
    format!("the demo lets anybody in, so it listens on loopback addresses only, not on {address}")
}
