//! The flags of `serve`, which `demo`, `doctor` and `verify` take too. Each has an environment
//! variable; lists repeat the flag or use commas.

// The doc comments are the help text, which would show Markdown links as they are written.
#![allow(rustdoc::bare_urls)]

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{NonEmptyStringValueParser, PossibleValue};
use clap::{Args, ValueEnum};
use url::Url;

use super::event_poster::EventPosts;
use super::scheduled_backups::BackupSchedule;
use super::values::{
    DatabaseParser, boolean, duration, duration_or_zero, file_mode, list_item, url,
};
use crate::google::Verify;
use crate::http::door::TlsFiles;
use crate::http::{ListenAddress, host_port};
use crate::logging::LogFormat;
use crate::store::Database;
use crate::web::RemoteUser;

/// File descriptors needed besides one per connection: for requests to tiny_http, the database and
/// calls to Google.
pub const DESCRIPTORS_BESIDE_CONNECTIONS: u64 = 4096;

/// Flags of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeOptions {
    /// Google client IDs to accept (`aud`); required
    #[arg(long, env = "HALLPASS_CLIENT_ID", value_name = "ID", value_delimiter = ',', value_parser = list_item())]
    pub client_id: Vec<String>,

    /// Let in the accounts of this Google Workspace domain
    #[arg(long, env = "HALLPASS_ALLOW_DOMAIN", value_name = "DOMAIN", value_delimiter = ',', value_parser = list_item(),
        help_heading = "Whom to let in")]
    pub allow_domain: Vec<String>,

    /// Let in this account: a gmail.com address, a verified one of a Workspace account, or a `sub`
    #[arg(long, env = "HALLPASS_ALLOW_EMAIL", value_name = "EMAIL|SUB", value_delimiter = ',', value_parser = list_item(),
        help_heading = "Whom to let in")]
    pub allow_email: Vec<String>,

    /// Let in every Google account
    #[arg(long, env = "HALLPASS_ALLOW_ANYONE", value_parser = boolean,
        help_heading = "Whom to let in")]
    pub allow_anyone: bool,

    /// Let in this account and show it the admin pages, /auth/admin. As for --allow-email, Google
    /// must be authoritative for the address
    #[arg(long, env = "HALLPASS_ADMIN_EMAIL", value_name = "EMAIL|SUB", value_delimiter = ',', value_parser = list_item(),
        help_heading = "Whom to let in")]
    pub admin_email: Vec<String>,

    /// Where to listen: HOST:PORT (IPv6 in brackets) or unix:/PATH; port 0 picks a free port.
    /// Sockets passed by systemd replace it
    #[arg(
        long,
        env = "HALLPASS_LISTEN",
        value_name = "ADDRESS",
        value_delimiter = ',',
        default_value = "127.0.0.1:8080",
        help_heading = "Serving"
    )]
    pub listen: Vec<ListenAddress>,

    /// Permissions of the Unix sockets, in octal
    #[arg(long, env = "HALLPASS_SOCKET_MODE", value_name = "MODE", default_value = "0660", value_parser = file_mode,
        help_heading = "Serving")]
    pub socket_mode: u32,

    /// Serve HTTPS on every TCP address with this certificate chain (PEM); read again when it
    /// changes
    #[arg(
        long,
        env = "HALLPASS_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key",
        help_heading = "Serving"
    )]
    pub tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert (PEM, not encrypted): RSA with 2048 to 4096 bits, ECDSA with
    /// P-256 or P-384, or Ed25519
    #[arg(
        long,
        env = "HALLPASS_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert",
        help_heading = "Serving"
    )]
    pub tls_key: Option<PathBuf>,

    /// Redirect plain HTTP on this address to the public URL, for example 0.0.0.0:80
    #[arg(long, env = "HALLPASS_HTTP_REDIRECT", value_name = "ADDRESS", value_parser = host_port, help_heading = "Serving")]
    pub http_redirect: Option<String>,

    /// How many connections may be open; fewer if the limit of file descriptors is low. When full,
    /// the address with the most connections loses the one that has been idle longest
    #[arg(long, env = "HALLPASS_MAX_CONNECTIONS", value_name = "N", default_value = "1024",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Serving")]
    pub max_connections: u32,

    /// How long an idle connection stays open; make it longer than your load balancer's 60 seconds
    #[arg(long, env = "HALLPASS_KEEP_ALIVE", value_name = "DURATION", default_value = "75s", value_parser = duration,
        help_heading = "Serving")]
    pub keep_alive: Duration,

    /// The URL that browsers use, for example https://auth.example.com; decides the cookie's name,
    /// Secure, and which Origin is accepted
    /// [default: http://localhost:PORT, or https with --tls-cert]
    #[arg(long, env = "HALLPASS_PUBLIC_URL", value_name = "URL", value_parser = url, help_heading = "Serving")]
    pub public_url: Option<Url>,

    /// The SQLite file; created if it does not exist
    // The help would show the variable's value, and with it a password.
    #[arg(long, env = "HALLPASS_DATABASE", value_name = "FILE", default_value = "hallpass.db",
        value_parser = DatabaseParser, hide_env_values = true, help_heading = "Serving")]
    pub database: Database,

    /// Proxies whose X-Forwarded-* headers count: addresses, networks, or `unix` for clients of the
    /// Unix socket
    #[arg(long, env = "HALLPASS_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',', value_parser = list_item(),
        default_value = "127.0.0.0/8,::1,unix", help_heading = "Serving")]
    pub trusted_proxy: Vec<String>,

    /// The value of Remote-User and X-Forwarded-User
    #[arg(long, env = "HALLPASS_REMOTE_USER", value_name = "WHAT", value_enum,
        default_value_t = RemoteUser::Email, help_heading = "Serving")]
    pub remote_user: RemoteUser,

    /// Sign the identity for apps: X-Hallpass-Assertion, a JWT that they verify with the keys at
    /// /auth/jwks
    #[arg(long, env = "HALLPASS_ASSERTION", value_parser = boolean, help_heading = "Serving")]
    pub assertion: bool,

    /// Other web origins that may call with credentials (CORS), for example https://app.example.com
    #[arg(long, env = "HALLPASS_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',',
        value_parser = list_item(), help_heading = "Serving")]
    pub allow_origin: Vec<String>,

    /// Serve /metrics on this address only [default: on every address, to loopback and trusted
    /// proxies]
    #[arg(long, env = "HALLPASS_METRICS_LISTEN", value_name = "ADDRESS", value_parser = host_port, help_heading = "Serving")]
    pub metrics_listen: Option<String>,

    /// The name of your site, shown on the pages
    #[arg(long, env = "HALLPASS_SITE_NAME", value_name = "NAME", default_value = "Hallpass",
        value_parser = NonEmptyStringValueParser::new(), help_heading = "Pages")]
    pub site_name: String,

    /// Your logo for the pages: SVG, PNG, JPEG or WebP, at most 256 KiB
    #[arg(long, env = "HALLPASS_SITE_LOGO", value_name = "FILE", help_heading = "Pages")]
    pub site_logo: Option<PathBuf>,

    /// The longest life of a session
    #[arg(long, env = "HALLPASS_SESSION_LIFETIME", value_name = "DURATION", default_value = "30d",
        value_parser = duration, help_heading = "Sessions")]
    pub session_lifetime: Duration,

    /// How long an unused session lasts; at least 2m, because its use is recorded once a minute
    #[arg(long, env = "HALLPASS_SESSION_IDLE", value_name = "DURATION", default_value = "7d", value_parser = duration,
        help_heading = "Sessions")]
    pub session_idle: Duration,

    /// Sessions per user, at most 1000; beyond that, the session unused for longest ends
    #[arg(long, env = "HALLPASS_SESSIONS_PER_USER", value_name = "N", default_value = "100",
        value_parser = clap::value_parser!(u32).range(1..=1000), help_heading = "Sessions")]
    pub sessions_per_user: u32,

    /// The longest life of a token for programs; 0 turns tokens off: none can be created, and none
    /// works
    #[arg(long, env = "HALLPASS_TOKEN_LIFETIME", value_name = "DURATION", default_value = "365d",
        value_parser = duration_or_zero, help_heading = "Sessions")]
    pub token_lifetime: Duration,

    /// Share the session cookie with the subdomains of this domain, which you must own
    #[arg(long, env = "HALLPASS_COOKIE_DOMAIN", value_name = "DOMAIN", value_parser = NonEmptyStringValueParser::new(),
        help_heading = "Sessions")]
    pub cookie_domain: Option<String>,

    /// Where to verify tokens
    #[arg(
        long,
        env = "HALLPASS_TOKENINFO_URL",
        value_name = "URL",
        value_parser = url,
        default_value = "https://oauth2.googleapis.com/tokeninfo",
        help_heading = "Asking Google"
    )]
    pub tokeninfo_url: Url,

    /// How tokens are verified
    #[arg(long, env = "HALLPASS_VERIFY", value_name = "WAY", value_enum, default_value_t = Verify::Tokeninfo,
        help_heading = "Asking Google")]
    pub verify: Verify,

    /// Where to fetch Google's public keys, for --verify fallback and keys and for
    /// --google-events: a JWK set, or certificates by key ID
    #[arg(
        long,
        env = "HALLPASS_KEYS_URL",
        value_name = "URL",
        value_parser = url,
        default_value = "https://www.googleapis.com/oauth2/v3/certs",
        help_heading = "Asking Google"
    )]
    pub keys_url: Url,

    /// Accept Google's security events at /auth/google/events: end sessions when Google reports
    /// that an account was hijacked, disabled or signed out. Register the server with
    /// `hallpass google-events register`
    #[arg(long, env = "HALLPASS_GOOGLE_EVENTS", value_parser = boolean,
        help_heading = "Asking Google")]
    pub google_events: bool,

    /// Trust only the certificate authorities in this file (PEM) for calls to Google and to
    /// --event-url, for example behind a proxy that decrypts TLS
    /// [default: SSL_CERT_FILE, otherwise the built-in ones]
    #[arg(long, env = "HALLPASS_CA_FILE", value_name = "FILE", help_heading = "Asking Google")]
    pub ca_file: Option<PathBuf>,

    /// Deadline of one exchange with Google, including waiting and the retry
    #[arg(long, env = "HALLPASS_TOKENINFO_TIMEOUT", value_name = "DURATION", default_value = "5s",
        value_parser = duration, help_heading = "Asking Google")]
    pub tokeninfo_timeout: Duration,

    /// How many calls to Google may run at once
    #[arg(long, env = "HALLPASS_TOKENINFO_CONCURRENCY", value_name = "N", default_value = "64",
        value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Asking Google")]
    pub tokeninfo_concurrency: u16,

    /// Sign-in attempts that one client address may make in a row; 0 means no limit
    #[arg(
        long,
        env = "HALLPASS_SIGNIN_BURST",
        value_name = "N",
        default_value_t = 20,
        help_heading = "Asking Google"
    )]
    pub signin_burst: u32,

    /// Sign-in attempts per second that one client address regains
    #[arg(long, env = "HALLPASS_SIGNIN_PER_SECOND", value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..), help_heading = "Asking Google")]
    pub signin_per_second: u32,

    /// How long events are kept: a duration, or `forever`
    #[arg(long, env = "HALLPASS_KEEP_EVENTS", value_name = "DURATION", default_value = "400d", value_parser = retention,
        help_heading = "Keeping")]
    pub keep_events: Retention,

    /// Backups.
    #[command(flatten)]
    pub backups: BackupSchedule,

    /// Posting events.
    #[command(flatten)]
    pub event_posts: EventPosts,

    /// The format of the log on standard error; RUST_LOG sets its level
    #[arg(
        long,
        env = "HALLPASS_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text",
        help_heading = "Log"
    )]
    pub log_format: LogFormat,
}

impl ServeOptions {
    /// The files of --tls-cert and --tls-key, if given.
    pub fn tls_files(&self) -> Option<TlsFiles> {
        let files = self.tls_cert.clone().zip(self.tls_key.clone())?;
        Some(TlsFiles { certificate: files.0, key: files.1 })
    }
}

/// How long something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// This long.
    For(Duration),
    /// Until the operator deletes it.
    Forever,
}

impl Retention {
    /// In seconds; `None` means forever.
    pub fn seconds(self) -> Option<i64> {
        match self {
            Retention::For(duration) => i64::try_from(duration.as_secs()).ok(),
            Retention::Forever => None,
        }
    }
}

fn retention(text: &str) -> Result<Retention, String> {
    match text {
        "forever" => Ok(Retention::Forever),
        _ => duration(text).map(Retention::For).map_err(|error| format!("{error}, or `forever`")),
    }
}

impl ValueEnum for RemoteUser {
    fn value_variants<'a>() -> &'a [RemoteUser] {
        &[RemoteUser::Email, RemoteUser::Username, RemoteUser::Sub]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            RemoteUser::Email => {
                PossibleValue::new("email").help("The e-mail, if Google is authoritative for it")
            }
            RemoteUser::Username => PossibleValue::new("username").help("The user name"),
            RemoteUser::Sub => PossibleValue::new("sub").help("Google's sub, which never changes"),
        })
    }
}

impl ValueEnum for Verify {
    fn value_variants<'a>() -> &'a [Verify] {
        &[Verify::Tokeninfo, Verify::Fallback, Verify::Keys]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Verify::Tokeninfo => {
                PossibleValue::new("tokeninfo").help("Ask Google's tokeninfo about every token")
            }
            Verify::Fallback => PossibleValue::new("fallback")
                .help("Ask tokeninfo, and use Google's public keys if it cannot answer"),
            Verify::Keys => PossibleValue::new("keys")
                .help("Use Google's public keys only, without a call per sign-in"),
        })
    }
}

impl ValueEnum for LogFormat {
    fn value_variants<'a>() -> &'a [LogFormat] {
        &[LogFormat::Text, LogFormat::Json]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            LogFormat::Text => PossibleValue::new("text").help("Plain lines"),
            LogFormat::Json => PossibleValue::new("json").help("One JSON object per line"),
        })
    }
}
