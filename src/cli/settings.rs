//! Checks the flags of `serve`, one by one and together.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use url::{Host, Url};

use super::serve_options::ServeOptions;
use crate::cli::output::time;
use crate::entry::{Entry, is_domain, is_gmail_domain, workspace_domain};
use crate::google::{AllowList, Policy, TokeninfoSettings, VerifierSettings};
use crate::http_client::Authorities;
use crate::process;
use crate::web::{Logo, RateLimit, Settings, TrustedProxies, is_within};

/// The logo is kept in memory.
const LOGO_BYTES_MAX: usize = 256 * 1024;
/// The last use of a session is recorded once a minute, so a shorter limit would end sessions in
/// use.
const SESSION_IDLE_MIN: Duration = Duration::from_secs(2 * 60);
/// All of Google's client secrets begin with this.
const CLIENT_SECRET_PREFIX: &str = "GOCSPX-";

impl ServeOptions {
    /// The settings that these flags mean. `port` is the port it listens on, for the default of
    /// --public-url.
    ///
    /// # Errors
    /// One sentence that says what is wrong and what to write.
    pub fn settings(&self, port: Option<u16>) -> Result<Settings, String> {
        client_ids(&self.client_id)?;
        let public_url = public_url(self, port)?;
        self.event_posts.url()?;
        Ok(Settings {
            client_ids: self.client_id.clone(),
            policy: policy(self)?,
            admins: admins(self)?,
            session_lifetime: session_lifetime(self.session_lifetime)?,
            session_idle: session_idle(self.session_idle)?,
            sessions_per_user: self.sessions_per_user,
            token_lifetime: self.token_lifetime.as_secs() as i64,
            events_kept: self.keep_events.seconds(),
            cookie_domain: self
                .cookie_domain
                .as_deref()
                .map(|d| cookie_domain(d, &public_url))
                .transpose()?,
            allowed_origins: self
                .allow_origin
                .iter()
                .map(|o| origin(o))
                .collect::<Result<_, _>>()?,
            trusted_proxies: trusted_proxies(&self.trusted_proxy)?,
            remote_user: self.remote_user,
            assertion: self.assertion,
            verifier: verifier(self)?,
            signin_limit: RateLimit {
                burst: self.signin_burst,
                per_second: self.signin_per_second,
            },
            metrics_elsewhere: self.metrics_listen.is_some(),
            site_name: self.site_name.clone(),
            site_logo: self.site_logo.as_deref().map(logo).transpose()?,
            public_url,
        })
    }
}

/// Requires a client ID, and refuses client secrets: the log and the sign-in page show client IDs.
pub fn client_ids(ids: &[String]) -> Result<(), String> {
    const ADVICE: &str = "give --client-id (or HALLPASS_CLIENT_ID) the client ID of your app from Google's console, \
                          https://console.cloud.google.com/auth/clients: NUMBER-LETTERS.apps.googleusercontent.com";
    if ids.is_empty() {
        return Err(format!("there is no client ID, so no token can be accepted; {ADVICE}"));
    }
    if ids.iter().any(|id| unquoted(id).starts_with(CLIENT_SECRET_PREFIX)) {
        return Err(format!(
            "a client secret was given as a client ID, and Hallpass needs no secret; {ADVICE}"
        ));
    }
    Ok(())
}

fn unquoted(text: &str) -> &str {
    text.trim_matches(['"', '\'', ' '])
}

/// The policy of the settings. It may let nobody in, because the list in the database counts too.
pub fn policy(options: &ServeOptions) -> Result<Policy, String> {
    let mut list = accounts("--allow-email", &options.allow_email)?;
    list.domains = options.allow_domain.clone();
    if options.allow_anyone {
        if !list.is_empty() {
            return Err(
                "give either --allow-anyone or a list (--allow-domain, --allow-email), not both"
                    .into(),
            );
        }
        return Ok(Policy::Anyone);
    }
    if let Some(domain) = list.domains.iter().find(|domain| !is_domain(domain)) {
        let hint =
            if domain.contains('@') { "; to let in one account, use --allow-email" } else { "" };
        return Err(format!(
            "--allow-domain takes a domain such as example.com, not {domain:?}{hint}"
        ));
    }
    list.add_accounts(admins(options)?);
    Ok(Policy::Listed(list))
}

fn admins(options: &ServeOptions) -> Result<AllowList, String> {
    accounts("--admin-email", &options.admin_email)
}

/// The e-mails and subs of a flag.
fn accounts(flag: &str, items: &[String]) -> Result<AllowList, String> {
    let mut list = AllowList::default();
    for item in items {
        match Entry::account(item) {
            Some(Entry::Subject(subject)) => list.subjects.push(subject),
            Some(_) => list.emails.push(item.clone()),
            None => return Err(not_an_account(flag, item)),
        }
    }
    Ok(list)
}

fn not_an_account(flag: &str, item: &str) -> String {
    match workspace_domain(item).filter(|_| item.contains('@')) {
        Some(domain) if flag == "--allow-email" => format!(
            "--allow-email takes single addresses, not {item:?}; to let in all accounts of a Workspace \
             domain, use --allow-domain {domain}"
        ),
        _ => format!("{flag} takes an address such as ada@example.com or a sub, not {item:?}"),
    }
}

/// Why a server with this policy and an empty list in the database does not start.
pub fn nobody(policy: &Policy) -> String {
    match policy {
        Policy::Listed(list) if list.domains.iter().any(|domain| is_gmail_domain(domain)) => {
            format!("{NOBODY}; only Workspace accounts have a domain, so gmail.com lets in nobody")
        }
        _ => NOBODY.to_owned(),
    }
}

/// Says that a server with such settings would let nobody in.
pub const NOBODY: &str = "say whom to let in: give --admin-email EMAIL, --allow-domain DOMAIN, --allow-email EMAIL or --allow-anyone";

pub fn public_url(options: &ServeOptions, port: Option<u16>) -> Result<Url, String> {
    let Some(url) = &options.public_url else {
        let port = port.ok_or(
            "give --public-url (or HALLPASS_PUBLIC_URL): it cannot be derived from a Unix socket",
        )?;
        let scheme = if options.tls_cert.is_some() { "https" } else { "http" };
        return Ok(
            Url::parse(&format!("{scheme}://localhost:{port}")).expect("a URL whatever the port")
        );
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "--public-url takes no user name and no password; it is shown to everybody".into()
        );
    }
    if !is_origin(url) {
        return Err(format!(
            "--public-url takes scheme, host and port such as https://auth.example.com, not {url}"
        ));
    }
    Ok(url.clone())
}

pub fn cookie_domain(domain: &str, public_url: &Url) -> Result<String, String> {
    let domain = domain.trim_start_matches('.').to_ascii_lowercase();
    if !is_domain(&domain) || !domain.contains('.') {
        return Err(format!("--cookie-domain takes a domain such as example.com, not {domain:?}"));
    }
    let host = public_url.host_str().unwrap_or_default();
    if !matches!(public_url.host(), Some(Host::Domain(_))) || !is_within(host, &domain) {
        return Err(format!(
            "--cookie-domain {domain} must be the host of --public-url, which is {host}, or a parent of it"
        ));
    }
    if registrable_domain(&domain).is_none() {
        return Err(format!(
            "--cookie-domain {domain} is a public suffix, so browsers refuse the cookie; give it a domain of \
             your own, such as {}",
            registrable_domain(host).unwrap_or("example.com")
        ));
    }
    Ok(domain)
}

/// The registered part of a host name, by the public suffix list: `example.co.uk` for
/// `a.example.co.uk`. `None` if the name is itself a public suffix.
pub fn registrable_domain(host: &str) -> Option<&str> {
    psl::domain_str(host)
}

pub fn origin(text: &str) -> Result<String, String> {
    match Url::parse(text) {
        Ok(url) if is_origin(&url) && !text.contains('*') => Ok(url.origin().ascii_serialization()),
        _ => Err(format!(
            "--allow-origin takes an origin such as https://app.example.com, not {text:?}"
        )),
    }
}

pub fn verifier(options: &ServeOptions) -> Result<VerifierSettings, String> {
    Ok(VerifierSettings {
        verify: options.verify,
        tokeninfo: TokeninfoSettings {
            url: googles_url("--tokeninfo-url", &options.tokeninfo_url)?,
            authorities: authorities(options.ca_file.as_deref())?,
            timeout: options.tokeninfo_timeout,
            concurrency: options.tokeninfo_concurrency.into(),
        },
        keys_url: googles_url("--keys-url", &options.keys_url)?,
        security_events: options.google_events,
    })
}

/// The file of --ca-file, or else of the variable that OpenSSL reads.
pub fn authorities(flag: Option<&Path>) -> Result<Option<Authorities>, String> {
    let variable = || process::variable("SSL_CERT_FILE").filter(|path| !path.is_empty());
    let (name, path) = match (flag, variable()) {
        (Some(path), _) => ("--ca-file", path.to_owned()),
        (None, Some(path)) => ("SSL_CERT_FILE", path.into()),
        (None, None) => return Ok(None),
    };
    Authorities::read(&path).map(Some).map_err(|error| format!("{name} {error}"))
}

fn googles_url(flag: &str, url: &Url) -> Result<Url, String> {
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if !matches!(url.scheme(), "http" | "https") || !plain {
        return Err(format!("{flag} takes an http or https URL without a query"));
    }
    Ok(url.clone())
}

pub fn trusted_proxies(items: &[String]) -> Result<TrustedProxies, String> {
    let mut trusted = TrustedProxies::default();
    for item in items {
        match (item.parse::<IpNet>(), item.parse::<IpAddr>()) {
            (Ok(network), _) => trusted.networks.push(network),
            (_, Ok(address)) => trusted.networks.push(address.into()),
            _ if item == "unix" => trusted.unix_socket = true,
            _ => {
                return Err(format!(
                    "--trusted-proxy takes an address, a network or `unix`, not {item:?}; names are not looked up, \
                     so give the proxy's address or its network, such as 172.16.0.0/12"
                ));
            }
        }
    }
    Ok(trusted)
}

fn logo(path: &Path) -> Result<Logo, String> {
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default()
        .to_ascii_lowercase();
    let media_type = match extension.as_str() {
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        _ => return Err("--site-logo takes an .svg, .png, .jpg or .webp file".into()),
    };
    match fs::read(path) {
        Ok(picture) if picture.len() <= LOGO_BYTES_MAX => Ok(Logo { media_type, picture }),
        Ok(_) => Err("--site-logo takes a file of at most 256 KiB".into()),
        Err(error) => Err(format!("--site-logo {} cannot be read: {error}", path.display())),
    }
}

fn session_lifetime(duration: Duration) -> Result<i64, String> {
    match duration.as_secs() {
        0 => Err("--session-lifetime takes at least 1s".into()),
        seconds => Ok(seconds as i64),
    }
}

fn session_idle(duration: Duration) -> Result<i64, String> {
    if duration < SESSION_IDLE_MIN {
        return Err(format!(
            "--session-idle takes at least 2m, not {}: the last use of a session is recorded once a minute",
            time::span(duration)
        ));
    }
    Ok(duration.as_secs() as i64)
}

fn is_origin(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
}
