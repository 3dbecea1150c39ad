//! `hallpass doctor`: what would keep a server with these settings from working, and what to do about it.
//!
//! Nothing is changed, and everything ends within a bounded time.

mod settings;
mod database;
mod google;
mod system;
mod reachability;

use crate::cli::output::report::{Finding, Report, Verdict};
use crate::config::{self, DoctorOptions, ServeOptions, Settings};
use crate::http::ListenAddress;
use crate::store;

/// Runs `hallpass doctor`.
///
/// # Errors
/// If a check came out as a failure.
pub fn doctor(options: &DoctorOptions) -> Result<(), String> {
    let serve = &options.serve;
    let mut report = Report::new(options.json);
    report.add(settings::client_ids(serve))?;
    report.add(settings::who(serve))?;
    let public_url = config::public_url(serve, port(serve));
    report.add(settings::public_url(serve, public_url.as_ref()))?;
    if let Ok(url) = &public_url {
        report.add(settings::cookie(serve, url))?;
        report.add(settings::allowed_origins(serve, url))?;
    }
    report.add(settings::trusted_proxies(serve))?;
    // What no check above or below looks at.
    let verifier = config::verifier(serve);
    let others = report.has_failed() || verifier.is_err();
    if let (Err(why), false) = (Settings::new(serve, port(serve)), others) {
        report.add(refused("settings", &why))?;
    }

    report.add(database::database(&serve.database))?;
    database::file_mode(&serve.database).map_or(Ok(()), |finding| report.add(finding))?;
    report.add(database::disk(&serve.database))?;

    match &verifier {
        Ok(verifier) => {
            report.add(google::proxy(verifier))?;
            for finding in google::endpoints(verifier) {
                report.add(finding)?;
            }
        }
        Err(why) => report.add(refused("google-url", why))?,
    }

    report.add(system::descriptors(serve))?;
    if let Ok(url) = &public_url {
        system::certificate(serve, url).map_or(Ok(()), |finding| report.add(finding))?;
    }
    let instance = store::instance(&serve.database);
    let (finding, is_running) = reachability::server(serve, instance.as_deref());
    report.add(finding)?;
    if let Ok(url) = &public_url {
        report.add(reachability::public_url(url, instance.as_deref(), is_running))?;
    }

    report.finish()?;
    let failed =
        report.findings().iter().filter(|finding| finding.verdict == Verdict::Failure).count();
    match failed {
        0 => Ok(()),
        1 => Err("1 check failed".into()),
        _ => Err(format!("{failed} checks failed")),
    }
}

/// A failure in the words of whoever refuses: what is wrong, and maybe a semicolon and what to do.
fn refused(check: &'static str, why: &str) -> Finding {
    let (detail, advice) =
        why.rsplit_once("; ").unwrap_or((why, "`hallpass serve --help` says what each flag takes"));
    Finding::failure(check, detail, advice)
}

/// The port of the first TCP address, if it can be known before it is bound.
fn port(serve: &ServeOptions) -> Option<u16> {
    let address = serve.listen.iter().find_map(|address| match address {
        ListenAddress::Tcp(address) => Some(address),
        ListenAddress::Unix(_) => None,
    });
    address?.rsplit_once(':')?.1.parse().ok().filter(|port| *port != 0)
}
