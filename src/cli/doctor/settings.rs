//! Do the settings agree with each other and with Google's rules?

use url::{Host, Url};

use crate::cli::output::report::Finding;
use crate::cli::serve_options::ServeOptions;
use crate::cli::settings;
use crate::entry::{Entry, NeverMatches, is_gmail};
use crate::google::{AllowList, Policy, Verify};
use crate::http::ListenAddress;
use crate::logging;
use crate::store::{AllowedEntry, Database};

/// All of Google's client IDs end with this.
const CLIENT_ID_SUFFIX: &str = ".apps.googleusercontent.com";

/// Do the client IDs look like Google's?
pub fn client_ids(serve: &ServeOptions) -> Finding {
    const CHECK: &str = "client-id";
    const ADVICE: &str = "copy the client ID from https://console.cloud.google.com/auth/clients: \
        NUMBER-LETTERS.apps.googleusercontent.com";
    if let Err(why) = settings::client_ids(&serve.client_id) {
        return Finding::refused(CHECK, &why);
    }
    let odd: Vec<&str> =
        serve.client_id.iter().map(String::as_str).filter(|id| !is_client_id(id)).collect();
    match odd.len() {
        0 => Finding::ok(CHECK, serve.client_id.join(", ")),
        count if count == serve.client_id.len() => Finding::failure(
            CHECK,
            format!("{} does not look like Google's", odd.join(", ")),
            ADVICE,
        ),
        _ => Finding::warning(
            CHECK,
            format!("{} does not look like Google's", odd.join(", ")),
            ADVICE,
        ),
    }
}

fn is_client_id(text: &str) -> bool {
    let Some(name) = text.strip_suffix(CLIENT_ID_SUFFIX) else {
        return false;
    };
    // Old client IDs are only the project's number.
    let (project, rest) = name.split_once('-').unwrap_or((name, "old"));
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_number = !project.is_empty() && project.bytes().all(|byte| byte.is_ascii_digit());
    is_number && !rest.is_empty() && rest.bytes().all(alphanumeric)
}

/// May anybody sign in, but not everybody by accident?
pub fn who(serve: &ServeOptions) -> Finding {
    const CHECK: &str = "who-may-sign-in";
    match settings::policy(serve) {
        Err(why) => Finding::refused(CHECK, &why),
        Ok(Policy::Anyone) => Finding::warning(
            CHECK,
            "anyone with a Google account",
            "if you do not want this, replace --allow-anyone with --allow-domain or --allow-email",
        ),
        Ok(Policy::Listed(list)) => listed(&list, &entries(&serve.database)),
    }
}

/// The list in the database; empty if it cannot be read, which another check reports.
fn entries(database: &Database) -> Vec<AllowedEntry> {
    database.open_reading().and_then(|store| store.allowed()).unwrap_or_default()
}

fn listed(list: &AllowList, entries: &[AllowedEntry]) -> Finding {
    const CHECK: &str = "who-may-sign-in";
    if list.is_empty() && entries.is_empty() {
        return Finding::refused(CHECK, settings::NOBODY);
    }
    let lets_in_nobody =
        |name: &str, never: &NeverMatches| format!("{name} lets in nobody: {}", never.why);
    for domain in &list.domains {
        if let Some(never) = Entry::Domain(domain.to_ascii_lowercase()).never_matches() {
            let detail = lets_in_nobody(&format!("--allow-domain {domain}"), &never);
            return if domain.contains('.') {
                Finding::failure(CHECK, detail, never.advice)
            } else {
                Finding::warning(CHECK, detail, never.advice)
            };
        }
    }
    for email in &list.emails {
        if let Some(never) = Entry::Email(email.clone()).never_matches() {
            return Finding::warning(CHECK, lets_in_nobody(email, &never), never.advice);
        }
    }
    for entry in entries {
        if let Some(never) = never_matches(entry) {
            let name = format!("the entry {} in the database", entry.name());
            let advice = format!("{}; remove it with `hallpass allow remove`", never.advice);
            return Finding::warning(CHECK, lets_in_nobody(&name, &never), advice);
        }
    }
    let domains = list.domains.iter().map(|domain| format!("accounts of {domain}"));
    let emails = list.emails.iter().map(|email| match email.rsplit_once('@') {
        Some((local, domain)) if is_gmail(domain) && local.contains('.') => {
            format!("{email} (if Google writes it with these dots)")
        }
        Some((_, domain)) if !is_gmail(domain) => format!("{email} (as a Workspace account)"),
        _ => email.clone(),
    });
    let database = match entries.len() {
        0 => None,
        1 => Some("1 entry in the database".to_owned()),
        count => Some(format!("{count} entries in the database")),
    };
    let all = domains.chain(emails).chain(list.subjects.iter().cloned()).chain(database);
    Finding::ok(CHECK, all.collect::<Vec<_>>().join(", "))
}

/// Other programs may have written anything into the list.
fn never_matches(entry: &AllowedEntry) -> Option<NeverMatches> {
    const SHAPE: NeverMatches =
        NeverMatches { why: "it is neither a domain nor an e-mail", advice: String::new() };
    match entry {
        AllowedEntry { subject: Some(_), .. } => None,
        AllowedEntry { domain: Some(domain), .. } => match Entry::domain(domain) {
            Some(domain) => domain.never_matches(),
            None => {
                Some(NeverMatches { advice: "write a domain such as example.com".into(), ..SHAPE })
            }
        },
        AllowedEntry { email: Some(email), .. } => match Entry::account(email) {
            Some(email) => email.never_matches(),
            None => Some(NeverMatches {
                advice: "write an e-mail such as ada@example.com".into(),
                ..SHAPE
            }),
        },
        _ => None,
    }
}

/// Do browsers and Google accept the public URL?
pub fn public_url(serve: &ServeOptions, url: Result<&Url, &String>) -> Finding {
    const CHECK: &str = "public-url";
    let url = match url {
        Ok(url) => url,
        Err(_)
            if serve.public_url.is_none()
                && serve.listen.iter().any(ListenAddress::is_any_port) =>
        {
            return Finding::warning(
                CHECK,
                "has the port that is chosen at the start, so apps and Google's console cannot name it",
                "give --listen a port, or give --public-url",
            );
        }
        Err(why) => return Finding::refused(CHECK, why),
    };
    let shown = url.origin().ascii_serialization();
    let is_https = url.scheme() == "https";
    if serve.tls_cert.is_some() && !is_https {
        return Finding::failure(
            CHECK,
            format!("{shown} is plain http, but with --tls-cert the server speaks HTTPS"),
            "give --public-url an https address",
        );
    }
    if serve.public_url.is_none()
        && let Some(address) = serve.listen.iter().find(|address| is_open(address))
    {
        return Finding::warning(
            CHECK,
            format!(
                "{shown} is for browsers on this machine only, but --listen {address} is for others too"
            ),
            "give --public-url the URL that browsers use",
        );
    }
    if !is_https && !is_loopback(url) {
        return Finding::warning(
            CHECK,
            format!(
                "{shown} is plain http: cookies cannot be Secure, anybody on the network path can steal \
                 sessions, and Google's button works over https only"
            ),
            "put a proxy with a certificate in front, or give --tls-cert and --tls-key; then give an https --public-url",
        );
    }
    if !matches!(url.host(), Some(Host::Domain(_))) && !is_loopback(url) {
        return Finding::warning(
            CHECK,
            format!(
                "{shown} is an address without a name, which Google's console does not accept as an origin"
            ),
            "give the host a name in DNS, and use it in --public-url",
        );
    }
    Finding::ok(
        CHECK,
        format!(
            "in Google's console, {shown} is the JavaScript origin and {shown}/auth/signin is the redirect URI"
        ),
    )
}

/// Whether other machines can connect. Names are not resolved.
fn is_open(address: &ListenAddress) -> bool {
    match address {
        ListenAddress::Tcp(text) => {
            Url::parse(&format!("http://{text}")).is_ok_and(|url| !is_loopback(&url))
        }
        ListenAddress::Unix(_) => false,
    }
}

/// Can nobody on the network path answer in Google's place?
pub fn googles_urls(serve: &ServeOptions) -> Vec<Finding> {
    let urls = [
        ("tokeninfo-url", &serve.tokeninfo_url, serve.verify != Verify::Keys),
        ("keys-url", &serve.keys_url, serve.verify != Verify::Tokeninfo),
    ];
    let is_plain = |url: &Url| url.scheme() == "http" && !is_loopback(url);
    urls.into_iter()
        .filter(|(_, url, is_used)| *is_used && is_plain(url))
        .map(|(check, url, _)| {
            Finding::warning(
                check,
                format!(
                    "{url} is plain http: anybody on the network path can decide who may sign in"
                ),
                format!("omit --{check}, or give it an https URL"),
            )
        })
        .collect()
}

/// Do browsers keep the cookie and send it where it must go?
pub fn cookie(serve: &ServeOptions, public_url: &Url) -> Finding {
    const CHECK: &str = "cookie";
    let secure = if public_url.scheme() == "https" { "Secure, " } else { "" };
    let host = public_url.host_str().unwrap_or_default();
    match serve.cookie_domain.as_deref().map(|domain| settings::cookie_domain(domain, public_url)) {
        None => Finding::ok(CHECK, format!("{secure}for {host} only")),
        Some(Ok(domain)) => Finding::ok(CHECK, format!("{secure}for {domain} and its subdomains")),
        Some(Err(why)) => Finding::refused(CHECK, &why),
    }
}

/// Are the other origins on the same site? To other sites, browsers do not send the cookie
/// (SameSite=Lax).
pub fn allowed_origins(serve: &ServeOptions, public_url: &Url) -> Finding {
    const CHECK: &str = "allow-origin";
    let mut elsewhere = Vec::new();
    for text in &serve.allow_origin {
        match settings::origin(text) {
            Err(why) => return Finding::refused(CHECK, &why),
            Ok(origin) if Url::parse(&origin).is_ok_and(|url| is_same_site(&url, public_url)) => {}
            Ok(origin) => elsewhere.push(origin),
        }
    }
    if serve.allow_origin.is_empty() {
        return Finding::ok(CHECK, "only the public URL's own");
    }
    if elsewhere.is_empty() {
        return Finding::ok(CHECK, serve.allow_origin.join(", "));
    }
    Finding::warning(
        CHECK,
        format!(
            "{} is on another site than the public URL, so browsers send no cookie from there",
            elsewhere.join(", ")
        ),
        "host the page under the same domain, or let it send the session as a bearer token",
    )
}

/// Whether scheme and registered domain are the same: the "same site" of browsers.
fn is_same_site(one: &Url, other: &Url) -> bool {
    let site = |url: &Url| match url.host() {
        Some(Host::Domain(name)) => settings::registrable_domain(name).unwrap_or(name).to_owned(),
        address => address.map(|address| address.to_string()).unwrap_or_default(),
    };
    one.scheme() == other.scheme() && site(one) == site(other)
}

/// Which peers are trusted to name the client?
pub fn trusted_proxies(serve: &ServeOptions) -> Finding {
    const CHECK: &str = "trusted-proxy";
    let trusted = match settings::trusted_proxies(&serve.trusted_proxy) {
        Ok(trusted) => trusted,
        Err(why) => return Finding::refused(CHECK, &why),
    };
    if serve.trusted_proxy.iter().any(|item| item.ends_with("/0")) {
        return Finding::warning(
            CHECK,
            "everybody is trusted, so any client can forge its address",
            "name only the proxies",
        );
    }
    if serve.listen.iter().any(|address| matches!(address, ListenAddress::Unix(_)))
        && !trusted.trusts(None)
    {
        return Finding::warning(
            CHECK,
            "the proxy at the Unix socket is not trusted: what it says about clients is ignored",
            "add `unix` to --trusted-proxy",
        );
    }
    Finding::ok(CHECK, serve.trusted_proxy.join(", "))
}

/// Is the URL for events well-formed, and safe from eavesdroppers? It is not called, because every
/// call would be a message.
pub fn event_url(serve: &ServeOptions) -> Option<Finding> {
    const CHECK: &str = "event-url";
    let url = match serve.event_posts.url() {
        Ok(url) => url?,
        Err(why) => return Some(Finding::refused(CHECK, &why)),
    };
    let host = url.host_str().unwrap_or_default();
    if url.scheme() == "http" && !is_loopback(&url) {
        return Some(Finding::warning(
            CHECK,
            format!(
                "{host} is called over plain http: anybody on the network path can read the events"
            ),
            "use an https URL",
        ));
    }
    Some(Finding::ok(CHECK, format!("events are posted to {host}")))
}

/// The variables that look like settings but are not understood, if any.
pub fn environment(warnings: &[String]) -> Option<Finding> {
    let mut odd = warnings.to_vec();
    odd.extend(logging::misunderstanding());
    (!odd.is_empty())
        .then(|| Finding::warning("environment", odd.join("; "), "correct or remove the variable"))
}

/// Whether the URL is on this machine, so nobody can intercept the traffic.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
