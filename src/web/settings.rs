//! The settings of a server, checked: a value of these types is valid.

use std::net::IpAddr;

use ipnet::IpNet;
use url::Url;

use crate::google::{AllowList, Policy, VerifierSettings};

/// The settings of a server.
#[derive(Clone)]
pub struct Settings {
    /// Google client IDs to accept in `aud`. Never empty.
    pub client_ids: Vec<String>,
    /// The policy: who is let in.
    pub policy: Policy,
    /// The admins. If the list is empty, there are no admin pages.
    pub admins: AllowList,
    /// The URL that browsers use: scheme, host and port only.
    pub public_url: Url,
    /// Absolute limit of a session, in seconds.
    pub session_lifetime: i64,
    /// Idle limit of a session, in seconds.
    pub session_idle: i64,
    /// How many sessions a user may have.
    pub sessions_per_user: u32,
    /// The longest life of a token for programs, in seconds; 0 turns them off.
    pub token_lifetime: i64,
    /// How many seconds events are kept; `None` means forever.
    pub events_kept: Option<i64>,
    /// The cookie is shared with the subdomains of this domain (lower case).
    pub cookie_domain: Option<String>,
    /// Other origins that may call with credentials, in the form of the `Origin` header.
    pub allowed_origins: Vec<String>,
    /// The peers whose X-Forwarded-* headers count.
    pub trusted_proxies: TrustedProxies,
    /// The value of Remote-User and X-Forwarded-User.
    pub remote_user: RemoteUser,
    /// Whether apps get a signed assertion of the identity.
    pub assertion: bool,
    /// How tokens are verified.
    pub verifier: VerifierSettings,
    /// The limit of sign-in attempts per client address.
    pub signin_limit: RateLimit,
    /// Whether the metrics are served on another address, and so not here.
    pub metrics_elsewhere: bool,
    /// The site's name on the pages.
    pub site_name: String,
    /// The site's logo on the pages.
    pub site_logo: Option<Logo>,
}

/// The value of Remote-User and X-Forwarded-User.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteUser {
    /// The e-mail, if Google is authoritative for it.
    Email,
    /// The user name.
    Username,
    /// Google's `sub`.
    Sub,
}

/// A picture file.
#[derive(Clone)]
pub struct Logo {
    /// Its media type.
    pub media_type: &'static str,
    /// The bytes of the file.
    pub picture: Vec<u8>,
}

/// A token bucket for each client address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Attempts in a row; 0 means no limit.
    pub burst: u32,
    /// Attempts regained per second.
    pub per_second: u32,
}

/// The networks, and perhaps the Unix socket, whose X-Forwarded-* headers count.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    /// Networks of TCP peers.
    pub networks: Vec<IpNet>,
    /// Whether clients of the Unix socket are trusted.
    pub unix_socket: bool,
}

impl TrustedProxies {
    /// Whether this peer is trusted. `None` means a client of the Unix socket.
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        match peer {
            Some(address) => {
                self.networks.iter().any(|network| network.contains(&address.to_canonical()))
            }
            None => self.unix_socket,
        }
    }
}

impl Settings {
    /// The public URL's origin, in the form of the `Origin` header.
    pub fn origin(&self) -> String {
        self.public_url.origin().ascii_serialization()
    }

    /// The public URL of a path, which begins with a slash.
    pub fn url_of(&self, path: &str) -> String {
        format!("{}{path}", self.origin())
    }

    /// Whether browsers reach us over HTTPS.
    pub fn is_https(&self) -> bool {
        self.public_url.scheme() == "https"
    }
}

/// Whether `host` is `domain` or one of its subdomains. Both are lower case.
pub fn is_within(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
