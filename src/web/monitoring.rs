//! Readiness and metrics.

use serde_json::json;
use url::{Host, Url};

use super::app::App;
use super::error::Error;
use super::settings::Settings;
use crate::http::door::Reason;
use crate::http::{Request, Response};
use crate::logging;
use crate::metrics::Reading;
use crate::process;

/// GET /readyz: whether the store answers. Nearby clients also get Google's last response, the
/// state of its keys, and when its last security events came. None of these makes the server
/// unready, because live sessions do not need Google. They also get the times of the keys of
/// assertions.
///
/// # Errors
/// 503 if the store cannot answer, or if nobody can sign in because keys are missing.
pub fn ready(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    app.store.ping()?;
    if app.verifier.lacks_keys(now) {
        return Err(Error::unavailable("Google's keys are not known"));
    }
    if !is_near(app, request) {
        return Ok(Response::json(200, &json!({"status": "ok"})));
    }
    let google = app
        .metrics
        .last_call()
        .map(|(result, at)| json!({"last_result": result.as_str(), "at": at}));
    let mut document = json!({"status": "ok", "store": "ok", "google": google});
    if let Some(keys) = app.verifier.keys_status(now) {
        document["keys"] = keys;
    }
    if let Some(times) = app.assertion_key_times(now)? {
        document["assertion"] = times;
    }
    if app.settings.verifier.security_events {
        let (last_at, last_verification_at) = app.store.last_google_events_at()?;
        document["google_events"] =
            json!({"last_at": last_at, "last_verification_at": last_verification_at});
    }
    Ok(Response::json(200, &document))
}

/// GET /metrics, for nearby clients.
///
/// # Errors
/// 404 for other clients, and for all if --metrics-listen is set; 503 if the store cannot answer.
pub fn metrics(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    if app.settings.metrics_elsewhere || !is_near(app, request) {
        return Err(Error::NotFound);
    }
    exposition(app, now)
}

/// Whether the client is a program on this host, or a trusted proxy making its own request. A
/// foreign web page can make a browser on this host ask, through a name that resolves to 127.0.0.1
/// (DNS rebinding). The Host header gives that away.
fn is_near(app: &App, request: &Request) -> bool {
    let settings = &app.settings;
    app.client_address(request).is_near(&settings.trusted_proxies)
        && request.header("Host").is_none_or(|host| is_own_host(host, settings))
}

/// Whether a Host header is an IP address, the host of the public URL, or a name without a dot such
/// as `localhost` or a container's. No foreign page has such a host.
fn is_own_host(host: &str, settings: &Settings) -> bool {
    if host.contains(['@', '/', '?', '#', '\\']) {
        return false;
    }
    match Url::parse(&format!("http://{host}/")).as_ref().map(Url::host) {
        Ok(Some(Host::Ipv4(_) | Host::Ipv6(_))) => true,
        Ok(Some(Host::Domain(name))) => {
            !name.contains('.') || Some(name) == settings.public_url.host_str()
        }
        Ok(None) | Err(_) => false,
    }
}

/// The metrics, for any client.
///
/// # Errors
/// 503 if the store cannot answer.
pub fn exposition(app: &App, now: i64) -> Result<Response, Error> {
    let counts = app.store.counts(now)?;
    let mut readings = vec![
        Reading::gauge(
            "hallpass_users",
            "People who have signed in",
            counts.users - counts.never_signed_in,
        ),
        Reading::gauge(
            "hallpass_users_imported",
            "People who were imported and have not signed in since",
            counts.never_signed_in,
        ),
        Reading::gauge("hallpass_sessions_live", "Sessions that have not ended", counts.sessions),
    ];
    readings.extend(app.verifier.readings(now));
    if let Some(door) = app.door.get() {
        let rejected =
            Reason::ALL.map(|reason| (Some(reason.label()), door.rejected(reason) as f64)).to_vec();
        readings.extend([
            Reading::gauge(
                "hallpass_door_connections",
                "Connections that are open",
                door.open() as u64,
            ),
            Reading::counter(
                "hallpass_door_accepted_total",
                "Connections accepted",
                door.accepted(),
            ),
            Reading {
                name: "hallpass_door_turned_away_total",
                help: "Connections refused or closed by the door",
                is_counter: true,
                values: rejected,
            },
        ]);
    }
    readings.push(app.metrics.start_time());
    readings.extend(app.metrics.last_backup());
    readings.extend(logging::readings());
    readings.extend(process::readings());
    Ok(Response::text(200, "text/plain; version=0.0.4", app.metrics.exposition(readings)))
}
