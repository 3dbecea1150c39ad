//! The commands and the flags of `serve`. Each flag has an environment variable; lists repeat the
//! flag or use commas.

// The doc comments are the help text, which would show Markdown links as they are written.
#![allow(rustdoc::bare_urls)]

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{NonEmptyStringValueParser, PossibleValue};
use clap::{Args, Parser, Subcommand, ValueEnum};
use url::Url;

use super::diagnosis::{DoctorOptions, VerifyOptions};
use super::keeping::KeepingOptions;
use super::operator::{
    BackupOptions, EventsOptions, ImportOptions, RestoreOptions, SessionsOptions, UsersOptions,
};
use super::values::{boolean, duration, file_mode, list_item, url};
use crate::google::Verify;
use crate::http::{ListenAddress, host_port};

/// Google sign-in for self-hosted apps: one binary, one SQLite file, no client secret.
#[derive(Debug, Parser)]
#[command(name = "hallpass", version, max_term_width = 100)]
pub struct Options {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    ///
    /// Two settings are required: your Google client IDs (--client-id) and whom to let in
    /// (--allow-domain, --allow-email or --allow-anyone). You can set an environment variable
    /// instead of any flag.
    Serve(ServeOptions),
    /// Check that a running server is alive, for example in Docker's HEALTHCHECK
    Health(HealthOptions),
    /// Find what would keep the server from working, and say how to fix it
    ///
    /// Takes the flags and the environment of `serve`, changes nothing, and can run while the
    /// server does. Exits with 1 if something would fail, and with 0 if there are only warnings.
    Doctor(DoctorOptions),
    /// Show the result of each check of a Google ID token, without recording anything
    ///
    /// Takes the flags and the environment of `serve`. Exits with 0 if the token would sign its
    /// owner in, with 1 if it would be refused, and with 3 if Google or the database cannot answer.
    Verify(VerifyOptions),
    /// Try it out: the same server with invented people instead of Google
    ///
    /// Starts the server and, on a loopback port, a stand-in for Google. The sign-in page offers
    /// invented people to sign in as. Listens on loopback addresses only. Also takes the flags of
    /// `serve`.
    Demo(ServeOptions),
    /// List, show, block, release, export and delete users
    Users(UsersOptions),
    /// List and end sessions
    Sessions(SessionsOptions),
    /// Show sign-ins, refusals and other events, the newest last
    Events(EventsOptions),
    /// Import users and blocks from a file in the format of `users export`
    ///
    /// Checks the whole file before it writes anything. Then it writes in steps, and sign-ins
    /// continue between them. If it is interrupted, the first users of the file are imported
    /// completely; run it again to import the rest. Only `sub` is required. Where the file has no
    /// value, an existing user keeps theirs. What Google has sent in a later sign-in is kept too.
    Import(ImportOptions),
    /// Copy the database while the server runs
    Backup(BackupOptions),
    /// Replace the database with a backup, while the server is stopped
    Restore(RestoreOptions),
}

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

    /// Let in this account: a gmail.com address, or a verified one of a Workspace account
    #[arg(long, env = "HALLPASS_ALLOW_EMAIL", value_name = "EMAIL", value_delimiter = ',', value_parser = list_item(),
        help_heading = "Whom to let in")]
    pub allow_email: Vec<String>,

    /// Let in every Google account
    #[arg(long, env = "HALLPASS_ALLOW_ANYONE", value_parser = boolean,
        help_heading = "Whom to let in")]
    pub allow_anyone: bool,

    /// Show this account the admin pages, /auth/admin. As for --allow-email, Google must be
    /// authoritative for the address
    #[arg(long, env = "HALLPASS_ADMIN_EMAIL", value_name = "EMAIL", value_delimiter = ',', value_parser = list_item(),
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

    /// Open connections at once; fewer if the limit of file descriptors is low. When full, the
    /// address with the most connections loses the one that has been idle longest
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
    #[arg(
        long,
        env = "HALLPASS_DATABASE",
        value_name = "FILE",
        default_value = "hallpass.db",
        help_heading = "Serving"
    )]
    pub database: PathBuf,

    /// Proxies whose X-Forwarded-* headers count: addresses, networks, or `unix` for clients of the
    /// Unix socket
    #[arg(long, env = "HALLPASS_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',', value_parser = list_item(),
        default_value = "127.0.0.0/8,::1,unix", help_heading = "Serving")]
    pub trusted_proxy: Vec<String>,

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

    /// Where to fetch Google's public keys, for --verify fallback and keys: a JWK set, or
    /// certificates by key ID
    #[arg(
        long,
        env = "HALLPASS_KEYS_URL",
        value_name = "URL",
        value_parser = url,
        default_value = "https://www.googleapis.com/oauth2/v3/certs",
        help_heading = "Asking Google"
    )]
    pub keys_url: Url,

    /// Trust only the certificate authorities in this file (PEM) for calls to Google, for example
    /// behind a proxy that decrypts TLS
    /// [default: SSL_CERT_FILE, otherwise the built-in ones]
    #[arg(long, env = "HALLPASS_CA_FILE", value_name = "FILE", help_heading = "Asking Google")]
    pub ca_file: Option<PathBuf>,

    /// Deadline of one exchange with Google, waiting and retry included
    #[arg(long, env = "HALLPASS_TOKENINFO_TIMEOUT", value_name = "DURATION", default_value = "5s",
        value_parser = duration, help_heading = "Asking Google")]
    pub tokeninfo_timeout: Duration,

    /// Calls to Google at once
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

    /// Events and backups.
    #[command(flatten)]
    pub keeping: KeepingOptions,

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

/// Flags of `health`.
#[derive(Debug, Clone, Args)]
pub struct HealthOptions {
    /// The URL to check [default: /healthz at the first address of --listen]
    #[arg(long, env = "HALLPASS_HEALTH_URL", value_name = "URL", value_parser = url)]
    pub url: Option<Url>,
    /// Where the server listens
    #[arg(
        long,
        env = "HALLPASS_LISTEN",
        value_name = "ADDRESS",
        value_delimiter = ',',
        default_value = "127.0.0.1:8080"
    )]
    pub listen: Vec<ListenAddress>,
    /// The server's certificate; if set, its TCP addresses are checked over HTTPS
    #[arg(long, env = "HALLPASS_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
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

/// Formats of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Plain lines.
    Text,
    /// One JSON object per line.
    Json,
}
