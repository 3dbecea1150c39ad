//! Do Google's security events arrive?

use url::Url;

use crate::cli::output::report::Finding;
use crate::cli::output::time::local;
use crate::cli::serve_options::ServeOptions;

/// Are they on, may Google post them here, and when did the last one come? Only Google knows
/// whether they are registered, and only somebody with the key may ask.
pub fn google_events(serve: &ServeOptions, public_url: &Url) -> Finding {
    const CHECK: &str = "google-events";
    const REGISTER: &str = "register this server with `hallpass google-events register`, then run \
        `hallpass google-events test`";
    if !serve.google_events {
        return Finding::ok(
            CHECK,
            "off: a session does not end when Google reports a hijacked account (--google-events)",
        );
    }
    if public_url.scheme() != "https" {
        return Finding::warning(
            CHECK,
            format!("on, but Google posts events to https URLs only, not to {public_url}"),
            "set --public-url to the https URL that the internet reaches",
        );
    }
    let last = serve.database.open_reading().and_then(|store| store.last_google_events_at());
    match last {
        Ok((Some(last), verification)) => {
            let verification = match verification {
                Some(at) => format!("the last verification at {}", local(at)),
                None => "no verification so far".to_owned(),
            };
            Finding::ok(
                CHECK,
                format!("on; Google's last event came at {}, {verification}", local(last)),
            )
        }
        Ok((None, _)) | Err(_) => {
            Finding::warning(CHECK, "on, but no event from Google has come so far", REGISTER)
        }
    }
}
