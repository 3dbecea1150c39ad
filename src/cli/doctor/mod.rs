//! `hallpass doctor`: finds what would keep a server with these settings from working, and says how
//! to fix it.
//!
//! It changes nothing, and every check has a time limit.

mod settings;
mod database;
mod google;
mod google_events;
mod assertion;
mod system;
mod reachability;

use clap::Args;
use url::Url;

use crate::cli::output::report::{Finding, Report, Verdict};
use crate::cli::serve_options::ServeOptions;
use crate::cli::settings::{public_url, verifier};
use crate::http::ListenAddress;

/// Flags of `doctor`.
#[derive(Debug, Clone, Args)]
pub struct DoctorOptions {
    /// Print a JSON array of objects with check, verdict (ok, warning or failure), detail and
    /// advice
    #[arg(long)]
    pub json: bool,
    /// The settings to check.
    #[command(flatten)]
    pub serve: ServeOptions,
}

/// Runs `hallpass doctor`.
///
/// # Errors
/// If a check failed.
pub fn doctor(options: &DoctorOptions, warnings: &[String]) -> Result<(), String> {
    let serve = &options.serve;
    let mut report = Report::new(options.json);
    let public_url = public_url(serve, port(serve));
    for finding in of_settings(serve, public_url.as_ref(), warnings) {
        report.add(finding)?;
    }
    // Settings that no other check covers.
    let verifier = verifier(serve);
    let others = report.has_failed() || verifier.is_err() || public_url.is_err();
    if let (Err(why), false) = (serve.settings(port(serve)), others) {
        report.add(Finding::refused("settings", &why))?;
    }

    report.add(database::database(&serve.database))?;
    if let Some(file) = serve.database.file() {
        database::file_mode(file).map_or(Ok(()), |finding| report.add(finding))?;
        report.add(database::disk(file))?;
    }
    database::backup_dir(serve).map_or(Ok(()), |finding| report.add(finding))?;

    match &verifier {
        Ok(verifier) => {
            report.add(google::proxy(verifier))?;
            if let Some(finding) = google::authorities(verifier) {
                report.add(finding)?;
            }
            for finding in google::endpoints(verifier) {
                report.add(finding)?;
            }
        }
        Err(why) => report.add(Finding::refused("google-url", why))?,
    }

    if let Ok(url) = &public_url {
        report.add(google_events::google_events(serve, url))?;
    }
    report.add(assertion::assertion(serve))?;

    report.add(system::descriptors(serve))?;
    if let Ok(url) = &public_url {
        system::certificate(serve, url).map_or(Ok(()), |finding| report.add(finding))?;
    }
    let instance = serve.database.instance();
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

/// The checks that need only the settings.
fn of_settings(
    serve: &ServeOptions,
    public_url: Result<&Url, &String>,
    warnings: &[String],
) -> Vec<Finding> {
    let mut findings = vec![
        settings::client_ids(serve),
        settings::who(serve),
        settings::public_url(serve, public_url),
    ];
    if let Ok(url) = public_url {
        findings.extend([settings::cookie(serve, url), settings::allowed_origins(serve, url)]);
    }
    findings.push(settings::trusted_proxies(serve));
    findings.extend(settings::googles_urls(serve));
    findings.extend(settings::event_url(serve));
    findings.extend(settings::environment(warnings));
    findings
}

/// Logs the problems that `doctor` would find without the network, when a server starts.
pub fn warn(serve: &ServeOptions, public_url: &Url, warnings: &[String]) {
    let mut findings = of_settings(serve, Ok(public_url), warnings);
    if let Some(file) = serve.database.file() {
        findings.extend(database::file_mode(file));
        findings.push(database::disk(file));
    }
    findings.extend(database::backup_dir(serve));
    findings.push(system::descriptors(serve));
    findings.extend(system::certificate(serve, public_url));
    log_all(findings);
}

/// Logs the problems of the environment only.
pub fn warn_of_environment(warnings: &[String]) {
    log_all(settings::environment(warnings));
}

fn log_all(findings: impl IntoIterator<Item = Finding>) {
    for finding in findings.into_iter().filter(|finding| finding.verdict != Verdict::Ok) {
        let advice = finding.advice.as_deref().unwrap_or_default();
        log::warn!("{}: {}; {advice}", finding.check, finding.detail);
    }
}

/// The port of the first TCP address, if it is known before binding.
fn port(serve: &ServeOptions) -> Option<u16> {
    let address = serve.listen.iter().find_map(|address| match address {
        ListenAddress::Tcp(address) => Some(address),
        ListenAddress::Unix(_) => None,
    });
    address?.rsplit_once(':')?.1.parse().ok().filter(|port| *port != 0)
}
