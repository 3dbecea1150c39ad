//! `hallpass serve`: starts the server from its flags, and stops it on a signal.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::background::{keep_assertion_keys, keep_keys_fresh, keep_purging};
use super::doctor;
use super::event_poster::{EventPoster, Patience};
use super::scheduled_backups::Backups;
use super::serve_options::{DESCRIPTORS_BESIDE_CONNECTIONS, ServeOptions};
use super::service_manager;
use super::settings::nobody;
use crate::clock;
use crate::google::{Policy, Verify};
use crate::http::{self, Handler, Limits, Request, Response, Service, Sockets, bind_tcp};
use crate::logging;
use crate::store::{Database, StoreError};
use crate::web::{App, Settings};

/// Few scrapers connect.
const METRICS_CONNECTIONS_MAX: usize = 64;

/// How long requests under way may take after a signal to stop. The log needs up to 2 seconds more,
/// and the units in deploy/ kill the process after 15.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Runs the server until SIGTERM or SIGINT.
///
/// # Errors
/// One sentence that says why it does not start.
pub fn serve(options: &ServeOptions, warnings: &[String]) -> Result<(), String> {
    logging::start(options.log_format);
    let signals = catch_signals()?;
    let (mut sockets, port) = http::open(&options.listen, options.socket_mode)?;
    let settings = options.settings(port)?;
    // Before a database is created.
    if settings.policy.is_empty() && !options.database.may_exist() {
        return Err(nobody(&settings.policy));
    }
    let metrics = bind_others(options, &settings, &mut sockets)?;
    Backups::require_possible(&options.backups, &options.database)?;
    if let Some(files) = options.tls_files() {
        files.load()?;
    }
    let text = |error: StoreError| error.to_string();
    let store = options.database.open().map_err(text)?;
    let entries = store.count_allowed().map_err(text)?;
    if settings.policy.is_empty() && entries == 0 {
        return Err(format!("{}, or run `hallpass allow add`", nobody(&settings.policy)));
    }
    sockets.bind_unix()?;
    let addresses = addresses(&sockets).join(", ");
    let ready = |settings: &Settings| {
        log_settings(settings, &options.database, entries);
        doctor::warn(options, &settings.public_url, warnings);
        let origin = settings.origin();
        log::info!("listening on {addresses}, which browsers reach as {origin}");
    };
    run(sockets, metrics, options, App::new(settings, store), signals, ready)
}

/// Catches the signals that [`run`] handles from now on, so a stop during the start is clean
/// too.
pub fn catch_signals() -> Result<Signals, String> {
    Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(|error| format!("cannot catch signals: {error}"))
}

/// Binds the sockets of --http-redirect and --metrics-listen, and returns the latter.
///
/// # Errors
/// One sentence that names the address.
pub fn bind_others(
    options: &ServeOptions,
    settings: &Settings,
    sockets: &mut Sockets,
) -> Result<Option<TcpListener>, String> {
    if let Some(address) = &options.http_redirect {
        sockets.redirect = Some((bind_tcp(address)?, settings.origin()));
    }
    options.metrics_listen.as_deref().map(bind_tcp).transpose()
}

/// Serves until a signal asks to stop; SIGHUP reads the certificate again. Calls `ready` once
/// clients can connect.
pub fn run(
    sockets: Sockets,
    metrics: Option<TcpListener>,
    options: &ServeOptions,
    app: App,
    mut signals: Signals,
    ready: impl FnOnce(&Settings),
) -> Result<(), String> {
    let tls = options.tls_files();
    let redirect = sockets
        .redirect
        .as_ref()
        .and_then(|(socket, origin)| Some((socket.local_addr().ok()?, origin.clone())));
    let trusted = app.settings().trusted_proxies.clone();
    let limits = Limits {
        connections_max: options.max_connections as usize,
        descriptors: raise_descriptor_limit(u64::from(options.max_connections)),
        unlimited: Box::new(move |address| trusted.trusts(Some(address))),
        keep_alive: options.keep_alive,
    };
    if app.settings().assertion {
        app.refresh_assertion_keys(clock::now())
            .map_err(|error| format!("cannot prepare the keys of assertions: {error}"))?;
    }
    let app = Arc::new(app);
    if app.settings().assertion {
        keep_assertion_keys(Arc::downgrade(&app));
    }
    keep_purging(Arc::downgrade(&app));
    if let Some(keys) = app.keys() {
        keep_keys_fresh(keys.clone(), Arc::downgrade(&app));
    }
    let backups = Backups::start(&options.backups, &options.database, &app);
    let poster = EventPoster::start(&options.event_posts, Patience::default(), &app)?;
    let cannot = |error| format!("cannot start serving: {error}");
    let metrics = metrics.map(|socket| serve_metrics(socket, app.clone())).transpose()?;
    let handler: Arc<dyn Handler> = app.clone();
    let serving = Service::start(sockets, tls, limits, &handler).map_err(cannot)?;
    app.watch_door(serving.door_counters());
    if let Some((bound, origin)) = redirect {
        log::info!("redirecting plain http on {bound} to {origin}");
    }
    ready(app.settings());
    service_manager::ready();
    service_manager::keep_alive(serving.heartbeat());
    for signal in signals.forever() {
        if signal != SIGHUP {
            log::info!(
                "stopping on {}",
                signal_hook::low_level::signal_name(signal).unwrap_or("a signal")
            );
            break;
        }
        service_manager::reloading();
        if let Err(error) = serving.reload_tls() {
            log::error!("the old certificate stays in use: {error}");
        }
        service_manager::ready();
    }
    service_manager::stopping();
    let deadline = Instant::now() + STOP_GRACE;
    backups.into_iter().for_each(Backups::stop);
    serving.stop(deadline);
    metrics.into_iter().for_each(|service| service.stop(deadline));
    poster.into_iter().for_each(|poster| poster.stop(deadline));
    log::info!("stopped");
    Ok(())
}

/// Serves the metrics, and nothing else, to any client of this address.
fn serve_metrics(socket: TcpListener, app: Arc<App>) -> Result<Service, String> {
    struct Metrics(Arc<App>);
    impl Handler for Metrics {
        fn handle(&self, request: &Request, now: i64) -> Response {
            self.0.handle_metrics(request, now)
        }

        fn reject_busy(&self, request: &Request) -> Response {
            self.0.reject_busy(request)
        }
    }
    let limits = Limits {
        connections_max: METRICS_CONNECTIONS_MAX,
        descriptors: DESCRIPTORS_BESIDE_CONNECTIONS as usize,
        unlimited: Box::new(|_| false),
        keep_alive: http::KEEP_ALIVE,
    };
    let sockets = Sockets { tcp: vec![socket], ..Sockets::default() };
    let handler: Arc<dyn Handler> = Arc::new(Metrics(app));
    Service::start(sockets, None, limits, &handler)
        .map_err(|error| format!("cannot serve metrics: {error}"))
}

/// The addresses that the sockets are bound to.
fn addresses(sockets: &Sockets) -> Vec<String> {
    let tcp = sockets
        .tcp
        .iter()
        .filter_map(|socket| socket.local_addr().ok())
        .map(|address| address.to_string());
    let unix = sockets.unix.iter().filter_map(|socket| {
        Some(format!("unix:{}", socket.local_addr().ok()?.as_pathname()?.display()))
    });
    tcp.chain(unix).collect()
}

fn log_settings(settings: &Settings, database: &Database, entries: u64) {
    match database.file().and_then(|file| std::path::absolute(file).ok()) {
        Some(path) => log::info!("the database is {}", path.display()),
        None => log::info!("the database is {database}"),
    }
    log::info!("tokens may be for {}", settings.client_ids.join(", "));
    match settings.verifier.verify {
        Verify::Tokeninfo => {}
        Verify::Fallback => log::info!("where tokeninfo cannot answer, Google's keys verify them"),
        Verify::Keys => log::info!("Google's keys verify them, and tokeninfo is not asked"),
    }
    match &settings.policy {
        Policy::Anyone => log::info!("may sign in: anyone with a Google account"),
        Policy::Listed(list) => {
            let names: Vec<String> = list
                .domains
                .iter()
                .map(|domain| format!("accounts of {domain}"))
                .chain(list.emails.clone())
                .chain(list.subjects.clone())
                .chain((entries > 0).then(|| format!("{entries} on the list in the database")))
                .collect();
            log::info!("may sign in: {}", names.join(", "));
        }
    }
}

/// Raises the soft limit of file descriptors as far as needed, and returns it.
fn raise_descriptor_limit(connections: u64) -> usize {
    /// Assumed if the limit cannot be read.
    const LEAST: u64 = 256;
    let limit = rlimit::increase_nofile_limit(connections + DESCRIPTORS_BESIDE_CONNECTIONS)
        .unwrap_or_else(|error| {
            log::warn!("cannot raise the limit of file descriptors: {error}");
            rlimit::Resource::NOFILE.get_soft().unwrap_or(LEAST)
        });
    usize::try_from(limit).unwrap_or(usize::MAX)
}
