//! Names of devices.

use maud::{Markup, html};

use super::languages::{Texts, fill};
use crate::store::{Client, SessionKind};

const BROWSERS: [(&str, &str); 6] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
];
const APPS: [(&str, &str); 3] = [("AdobeAIR", "AIR"), ("okhttp", "Android"), ("CFNetwork", "iOS")];
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
pub fn device(texts: &Texts, client: &Client, kind: SessionKind) -> Markup {
    let agent = client.user_agent.as_deref().unwrap_or_default();
    let browser = first_in(&BROWSERS, agent).map(|browser| html! { (browser) });
    let app = || Some(fill(texts.app, &[("system", &first_in(&APPS, agent)?)]));
    let system = first_in(&SYSTEMS, agent);
    match (browser.or_else(app), system, kind) {
        (Some(program), Some(system), _) => {
            fill(texts.browser_on, &[("browser", &program), ("system", &system)])
        }
        (Some(program), None, _) => program,
        (None, Some(system), _) => html! { (system) },
        (None, None, SessionKind::IdToken) => html! { (texts.program_with_google_token) },
        (None, None, SessionKind::Session | SessionKind::Token) => html! { (texts.unknown_device) },
    }
}

fn first_in(table: &[(&str, &'static str)], agent: &str) -> Option<&'static str> {
    table.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
}
