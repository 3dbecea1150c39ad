//! What machines ask: can it serve, and what has it counted?

use serde_json::json;

use super::app::App;
use crate::error::Error;
use crate::http::door::Reason;
use crate::http::{Request, Response};
use crate::logging;
use crate::metrics::Reading;
use crate::process;

/// GET /readyz: whether the store answers. How Google last answered is told, and no reason to take us out of service:
/// live sessions do not need it. Where tokens are verified by Google's keys, it tells what keys there are.
///
/// # Errors
/// 503 if the store cannot answer, or if nobody can sign in for want of keys.
pub fn ready(app: &App, now: i64) -> Result<Response, Error> {
    app.store.ping()?;
    if app.verifier.lacks_keys(now) {
        return Err(Error::unavailable("Google's keys are not known"));
    }
    let google = app
        .metrics
        .last_call()
        .map(|(result, at)| json!({"last_result": result.as_str(), "at": at}));
    let mut document = json!({"status": "ok", "store": "ok", "google": google});
    if let Some(keys) = app.verifier.keys_status(now) {
        document["keys"] = keys;
    }
    Ok(Response::json(200, &document))
}

/// GET /metrics, for this host and for trusted proxies that ask in their own name.
///
/// # Errors
/// 404 for anybody else, and for everybody if there is an address of its own for it; 503 if the store cannot answer.
pub fn metrics(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    let address = app.client_address(request);
    let near = address.is_some_and(|address| address.is_loopback())
        || app.settings.trusted_proxies.trusts(address);
    if app.settings.metrics_elsewhere || !near {
        return Err(Error::NotFound);
    }
    exposition(app, now)
}

/// The metrics, whoever asks.
///
/// # Errors
/// 503 if the store cannot answer.
pub fn exposition(app: &App, now: i64) -> Result<Response, Error> {
    let (users, sessions) = app.store.counts(now)?;
    let mut readings = vec![
        Reading::gauge("hallpass_users", "People who have signed in", users),
        Reading::gauge("hallpass_sessions_live", "Sessions that have not ended", sessions),
    ];
    readings.extend(app.verifier.readings(now));
    if let Some(door) = app.door.get() {
        let turned_away =
            Reason::ALL.map(|reason| (Some(reason.label()), door.turned_away(reason))).to_vec();
        readings.extend([
            Reading::gauge(
                "hallpass_door_connections",
                "Connections that are open",
                door.open() as u64,
            ),
            Reading::counter("hallpass_door_accepted", "Connections accepted", door.accepted()),
            Reading {
                name: "hallpass_door_turned_away",
                help: "Connections refused or closed by the door",
                is_counter: true,
                values: turned_away,
            },
        ]);
    }
    readings.push(app.metrics.start_time());
    readings.extend(app.metrics.last_backup());
    readings.extend(logging::readings());
    readings.extend(process::readings());
    Ok(Response::text(200, "text/plain; version=0.0.4", app.metrics.exposition(readings)))
}
