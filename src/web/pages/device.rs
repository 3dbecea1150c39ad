//! What somebody signed in with, in words.

use crate::store::{Client, SessionKind};

/// A user agent in two words, for somebody who wants to recognise a device. Order matters: most pretend to be others.
pub fn device(client: &Client, kind: SessionKind) -> String {
    let agent = client.user_agent.as_deref().unwrap_or_default();
    let first = |table: &[(&str, &'static str)]| {
        table.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, n)| *n)
    };
    let program = first(&[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
        ("AdobeAIR", "AIR app"),
        ("okhttp", "Android app"),
        ("CFNetwork", "iOS app"),
    ]);
    let system = first(&[
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ]);
    match (program, system, kind) {
        (Some(program), Some(system), _) => format!("{program} on {system}"),
        (Some(one), None, _) | (None, Some(one), _) => one.to_owned(),
        (None, None, SessionKind::IdToken) => "A program with a Google token".to_owned(),
        (None, None, SessionKind::Session) => "Unknown device".to_owned(),
    }
}
