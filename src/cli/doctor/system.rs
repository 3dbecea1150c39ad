//! Are there enough file descriptors, and is the certificate valid?

use url::Url;

use crate::cli::output::report::Finding;
use crate::cli::output::time::{distance, local};
use crate::cli::serve_options::{DESCRIPTORS_BESIDE_CONNECTIONS, ServeOptions};
use crate::clock;
use crate::http::door::Capacity;
use crate::process;

/// Automatic renewal happens about a month before expiry.
const CERTIFICATE_SECONDS_LEFT: i64 = 14 * 24 * 60 * 60;

/// Does the limit of file descriptors allow --max-connections?
pub fn descriptors(serve: &ServeOptions) -> Finding {
    const CHECK: &str = "descriptors";
    let Some((soft, hard)) = process::descriptor_limits() else {
        return Finding::warning(CHECK, "the limit cannot be read", "check `ulimit -n`");
    };
    let wanted = u64::from(serve.max_connections) + DESCRIPTORS_BESIDE_CONNECTIONS;
    // The server raises its soft limit this far.
    let limit = soft.max(wanted.min(hard));
    let capacity = Capacity::within(
        serve.max_connections as usize,
        usize::try_from(limit).unwrap_or(usize::MAX),
    );
    if capacity.connections < serve.max_connections as usize {
        return Finding::warning(
            CHECK,
            format!(
                "the limit of {limit} has room for {} connections, not {}",
                capacity.connections, serve.max_connections
            ),
            format!(
                "raise the hard limit to {wanted} (LimitNOFILE= of systemd), or lower --max-connections"
            ),
        );
    }
    Finding::ok(CHECK, format!("room for {} connections", capacity.connections))
}

/// If there is a certificate, is it valid today and for the public URL, and does it match its key?
pub fn certificate(serve: &ServeOptions, public_url: &Url) -> Option<Finding> {
    const CHECK: &str = "certificate";
    const RENEW: &str = "renew it; the server reads the new files by itself";
    let files = serve.tls_files()?;
    let host = public_url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let identity = match files.load() {
        Ok(identity) => identity,
        Err(why) => {
            return Some(Finding::failure(
                CHECK,
                why,
                "give the certificate's chain and its key, in PEM",
            ));
        }
    };
    let now = clock::now();
    let (from, until) = (identity.valid_from, identity.valid_until);
    let shown = format!("{} ({})", local(until), distance(until, now));
    Some(if until <= now {
        Finding::failure(CHECK, format!("expired {shown}"), RENEW)
    } else if from > now {
        Finding::failure(
            CHECK,
            format!("valid only from {} on", local(from)),
            "wait, or check this machine's clock",
        )
    } else if !identity.is_for(host) {
        Finding::failure(CHECK, format!("is not for {host}"), "get one for the public URL's host")
    } else if until - now < CERTIFICATE_SECONDS_LEFT {
        Finding::warning(CHECK, format!("expires {shown}"), RENEW)
    } else {
        Finding::ok(CHECK, format!("for {host}, valid until {shown}"))
    })
}
