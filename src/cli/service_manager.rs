//! Tells the service manager how the server is (sd_notify(3)). Does nothing without one.

use std::thread;

use sd_notify::NotifyState;

use crate::http::Heartbeat;

/// Beats within the time that the service manager allows for one, so a late one does no harm.
const BEATS_PER_TIMEOUT: u32 = 4;

/// Clients can connect, and settings that were being read again are in use.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Settings are being read again, until [`ready`] is called.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => log::warn!("cannot read the monotonic clock: {error}"),
    }
}

/// The server is stopping.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Reports that the server is alive for as long as its door is, if the service manager wants to
/// know.
pub fn keep_alive(mut heartbeat: Heartbeat) {
    let Some(timeout) = sd_notify::watchdog_enabled() else { return };
    thread::spawn(move || {
        loop {
            if heartbeat.has_turned() {
                notify(&[NotifyState::Watchdog]);
            }
            thread::sleep(timeout / BEATS_PER_TIMEOUT);
        }
    });
}

fn notify(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("cannot notify the service manager: {error}");
    }
}
