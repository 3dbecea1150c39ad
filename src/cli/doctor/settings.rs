//! Do the settings agree with each other and with Google's rules?

use url::{Host, Url};

use super::refused;
use crate::cli::output::report::Finding;
use crate::cli::serve_options::ServeOptions;
use crate::cli::settings;
use crate::google::{AllowList, Policy};
use crate::http::ListenAddress;
use crate::logging;

/// All of Google's client IDs end with this.
const CLIENT_ID_SUFFIX: &str = ".apps.googleusercontent.com";
/// Mail providers for whose addresses Google is never authoritative.
const OTHERS_MAIL: [&str; 8] = [
    "outlook.com",
    "hotmail.com",
    "live.com",
    "yahoo.com",
    "icloud.com",
    "proton.me",
    "gmx.de",
    "web.de",
];

/// Do the client IDs look like Google's?
pub fn client_ids(serve: &ServeOptions) -> Finding {
    const CHECK: &str = "client-id";
    const ADVICE: &str = "copy the client ID from https://console.cloud.google.com/auth/clients: \
        NUMBER-LETTERS.apps.googleusercontent.com";
    if let Err(why) = settings::client_ids(&serve.client_id) {
        return refused(CHECK, &why);
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
        Err(why) => refused(CHECK, &why),
        Ok(Policy::Anyone) => Finding::warning(
            CHECK,
            "anyone with a Google account",
            "if you do not want this, replace --allow-anyone with --allow-domain or --allow-email",
        ),
        Ok(Policy::Listed(list)) => listed(serve, &list),
    }
}

fn listed(serve: &ServeOptions, list: &AllowList) -> Finding {
    const CHECK: &str = "who-may-sign-in";
    let is_mail = |domain: &&String| {
        let is_googles = ["gmail.com", "googlemail.com"].contains(&domain.as_str());
        is_googles || OTHERS_MAIL.iter().any(|other| domain.eq_ignore_ascii_case(other))
    };
    if let Some(domain) = list.domains.iter().find(is_mail) {
        return Finding::failure(
            CHECK,
            format!(
                "--allow-domain {domain} lets in nobody: only Workspace accounts have a domain"
            ),
            "name the accounts with --allow-email",
        );
    }
    if let Some(domain) = list.domains.iter().find(|domain| !domain.contains('.')) {
        return Finding::warning(
            CHECK,
            format!("--allow-domain {domain} lets in nobody: no Workspace domain is a single word"),
            format!("write the whole domain, such as {domain}.com"),
        );
    }
    for email in &list.emails {
        if let Some((why, advice)) = never_matches(email) {
            return Finding::warning(CHECK, format!("{email} lets in nobody: {why}"), advice);
        }
    }
    let is_let_in = |admin: &&String| {
        let domain = admin.rsplit_once('@').map(|(_, domain)| domain).unwrap_or_default();
        let has = |list: &[String], text: &str| list.iter().any(|it| it.eq_ignore_ascii_case(text));
        has(&list.emails, admin) || has(&list.domains, domain)
    };
    if let Some(admin) = serve.admin_email.iter().find(|admin| !is_let_in(admin)) {
        return Finding::warning(
            CHECK,
            format!(
                "the admin {admin} is not let in: neither --allow-email nor --allow-domain names them"
            ),
            format!("add --allow-email {admin}"),
        );
    }
    let domains = list.domains.iter().map(|domain| format!("accounts of {domain}"));
    let emails = list.emails.iter().map(|email| match email.rsplit_once('@') {
        Some((local, domain)) if is_gmail(domain) && local.contains('.') => {
            format!("{email} (if Google writes it with these dots)")
        }
        Some((_, domain)) if !is_gmail(domain) => format!("{email} (as a Workspace account)"),
        _ => email.clone(),
    });
    Finding::ok(CHECK, domains.chain(emails).collect::<Vec<_>>().join(", "))
}

/// Why no account can match this e-mail, and what to do.
fn never_matches(email: &str) -> Option<(&'static str, String)> {
    let (local, domain) = email.rsplit_once('@')?;
    if domain.eq_ignore_ascii_case("googlemail.com") {
        return Some((
            "Google is the authority for gmail.com addresses only",
            format!("write it as Google does, such as {local}@gmail.com"),
        ));
    }
    if is_gmail(domain) && local.contains('+') {
        return Some((
            "Google sends addresses without the plus sign and what follows it",
            format!("write {}@gmail.com", local.split('+').next().unwrap_or_default()),
        ));
    }
    if !domain.contains('.') {
        return Some((
            "its domain is incomplete",
            format!("write the whole address, such as {email}.com"),
        ));
    }
    OTHERS_MAIL.iter().any(|other| domain.eq_ignore_ascii_case(other)).then(|| {
        (
            "Google is the authority for gmail.com addresses and Workspace accounts only",
            "name an address at gmail.com, or one of a Workspace account".to_owned(),
        )
    })
}

fn is_gmail(domain: &str) -> bool {
    domain.eq_ignore_ascii_case("gmail.com")
}

/// Do browsers and Google accept the public URL?
pub fn public_url(serve: &ServeOptions, url: Result<&Url, &String>) -> Finding {
    const CHECK: &str = "public-url";
    let url = match url {
        Ok(url) => url,
        Err(why) => return refused(CHECK, why),
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
    if !is_https && !is_loopback(url) {
        return Finding::warning(
            CHECK,
            format!(
                "{shown} is plain http: cookies cannot be Secure, anybody on the network path can steal \
                 sessions, and Google's button works over https only"
            ),
            "put a proxy with a certificate in front, or give --tls-cert and --tls-key; then an https --public-url",
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
        format!("{shown}; in Google's console, {shown}/auth/signin is the redirect URI"),
    )
}

/// Do browsers keep the cookie and send it where it must go?
pub fn cookie(serve: &ServeOptions, public_url: &Url) -> Finding {
    const CHECK: &str = "cookie";
    let secure = if public_url.scheme() == "https" { "Secure, " } else { "" };
    let host = public_url.host_str().unwrap_or_default();
    match serve.cookie_domain.as_deref().map(|domain| settings::cookie_domain(domain, public_url)) {
        None => Finding::ok(CHECK, format!("{secure}for {host} only")),
        Some(Ok(domain)) => Finding::ok(CHECK, format!("{secure}for {domain} and its subdomains")),
        Some(Err(why)) => refused(CHECK, &why),
    }
}

/// Are the other origins on the same site? To other sites, browsers do not send the cookie
/// (SameSite=Lax).
pub fn allowed_origins(serve: &ServeOptions, public_url: &Url) -> Finding {
    const CHECK: &str = "allow-origin";
    let mut elsewhere = Vec::new();
    for text in &serve.allow_origin {
        match settings::origin(text) {
            Err(why) => return refused(CHECK, &why),
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
        Err(why) => return refused(CHECK, &why),
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

/// The variables that look like settings but are not understood, if any.
pub fn environment(warnings: &[String]) -> Option<Finding> {
    let mut odd = warnings.to_vec();
    odd.extend(logging::misunderstanding());
    (!odd.is_empty())
        .then(|| Finding::warning("environment", odd.join("; "), "correct or remove the variable"))
}

/// Whether the URL is on this machine, so that nobody can intercept the traffic.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
