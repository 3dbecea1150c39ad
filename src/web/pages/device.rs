//! Names of devices.

use crate::store::{Client, SessionKind};

const PROGRAMS: [(&str, &str); 9] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("AdobeAIR", "AIR app"),
    ("okhttp", "Android app"),
    ("CFNetwork", "iOS app"),
];
const SYSTEMS: [(&str, &str); 7] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

/// Names browser and system, so people recognise the device. The order of the tables matters: most
/// user agents pretend to be others.
pub fn device(client: &Client, kind: SessionKind) -> String {
    let agent = client.user_agent.as_deref().unwrap_or_default();
    match (first_in(&PROGRAMS, agent), first_in(&SYSTEMS, agent), kind) {
        (Some(program), Some(system), _) => format!("{program} on {system}"),
        (Some(one), None, _) | (None, Some(one), _) => one.to_owned(),
        (None, None, SessionKind::IdToken) => "A program with a Google token".to_owned(),
        (None, None, SessionKind::Session | SessionKind::Token) => "Unknown device".to_owned(),
    }
}

fn first_in(table: &[(&str, &'static str)], agent: &str) -> Option<&'static str> {
    table.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
}
