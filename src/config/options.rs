//! The flags, as clap reads them. Each has an environment variable; lists repeat the flag or use commas.

// The comments are the help text as well, where Markdown would stay as it is.
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
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    ///
    /// It needs to know two things: your Google client IDs (--client-id) and whom to let in (--allow-domain,
    /// --allow-email or --allow-anyone). Every flag can be given as an environment variable instead.
    Serve(ServeOptions),
    /// Ask a running server whether it is alive, for Docker's HEALTHCHECK and the like
    Health(HealthOptions),
    /// Say what would keep the server from working, and what to do about it
    ///
    /// Takes the flags and the environment of `serve`, changes nothing, and may run beside the server. Exits with 1 if
    /// something would fail, and with 0 if there are only warnings.
    Doctor(DoctorOptions),
    /// Say what every check finds in a Google ID token, without recording anything
    ///
    /// Takes the flags and the environment of `serve`. Exits with 0 if the token would sign somebody in, with 1 if it
    /// would be refused, and with 3 if Google or the database cannot say.
    Verify(VerifyOptions),
    /// Try it out: the same server with invented people instead of Google
    ///
    /// Starts a stand-in for Google on a loopback port and the server in front of it, with a page of invented people
    /// to sign in as. Listens on loopback addresses only. Takes the flags of `serve` as well.
    Demo(ServeOptions),
    /// See who has signed in; block, release and delete them
    Users(UsersOptions),
    /// See who is signed in; end sessions
    Sessions(SessionsOptions),
    /// See what happened, the newest last
    Events(EventsOptions),
    /// Take users and blocks from a file of the form that `users export` writes
    ///
    /// The whole file is checked before anything is written. Then it is written in steps, between which sign-ins go on.
    /// What breaks it off midway leaves the first users of the file, each of them whole, and doing it again is harmless
    /// and brings the rest. Only `sub` must be there. A user who is there already stays as they are where the file says
    /// nothing, and where they have signed in since.
    Import(ImportOptions),
    /// Copy the database while the server runs
    Backup(BackupOptions),
    /// Put a backup in place of the database, with the server stopped
    Restore(RestoreOptions),
}

/// Flags of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeOptions {
    /// Google client IDs that a token may be for (its `aud`); required
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

    /// Show this account the admin page, /auth/admin. Google must be the authority for the address, as for --allow-email
    #[arg(long, env = "HALLPASS_ADMIN_EMAIL", value_name = "EMAIL", value_delimiter = ',', value_parser = list_item(),
        help_heading = "Whom to let in")]
    pub admin_email: Vec<String>,

    /// Where to listen: HOST:PORT (IPv6 in brackets) or unix:/PATH; port 0 picks a free one. Sockets that systemd hands
    /// over take its place
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

    /// Serve HTTPS on every TCP address with this certificate chain (PEM); changed files are read again
    #[arg(
        long,
        env = "HALLPASS_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key",
        help_heading = "Serving"
    )]
    pub tls_cert: Option<PathBuf>,

    /// Its private key (PEM, not encrypted): RSA with 2048 to 4096 bits, ECDSA with P-256 or P-384, or Ed25519
    #[arg(
        long,
        env = "HALLPASS_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert",
        help_heading = "Serving"
    )]
    pub tls_key: Option<PathBuf>,

    /// Send plain HTTP on this address to the public URL, for example 0.0.0.0:80
    #[arg(long, env = "HALLPASS_HTTP_REDIRECT", value_name = "ADDRESS", value_parser = host_port, help_heading = "Serving")]
    pub http_redirect: Option<String>,

    /// Connections at once; fewer if the limit of file descriptors is low. When full, the address with
    /// the most connections loses the one that has been idle longest
    #[arg(long, env = "HALLPASS_MAX_CONNECTIONS", value_name = "N", default_value = "1024",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Serving")]
    pub max_connections: u32,

    /// How long a connection stays open between two requests; more than the 60 seconds of most load balancers
    #[arg(long, env = "HALLPASS_KEEP_ALIVE", value_name = "DURATION", default_value = "75s", value_parser = duration,
        help_heading = "Serving")]
    pub keep_alive: Duration,

    /// How browsers reach it, for example https://auth.example.com; decides cookie name, Secure and Origin checks
    /// [default: http://localhost:PORT, or https with --tls-cert]
    #[arg(long, env = "HALLPASS_PUBLIC_URL", value_name = "URL", value_parser = url, help_heading = "Serving")]
    pub public_url: Option<Url>,

    /// The SQLite file; made if it is not there
    #[arg(
        long,
        env = "HALLPASS_DATABASE",
        value_name = "FILE",
        default_value = "hallpass.db",
        help_heading = "Serving"
    )]
    pub database: PathBuf,

    /// Proxies whose X-Forwarded-* headers count: addresses or networks, and `unix` for whoever uses the Unix socket
    #[arg(long, env = "HALLPASS_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',', value_parser = list_item(),
        default_value = "127.0.0.0/8,::1,unix", help_heading = "Serving")]
    pub trusted_proxy: Vec<String>,

    /// Other web origins that may call with credentials (CORS), for example https://app.example.com
    #[arg(long, env = "HALLPASS_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',',
        value_parser = list_item(), help_heading = "Serving")]
    pub allow_origin: Vec<String>,

    /// Serve /metrics on this address only [default: on every address, for loopback and trusted proxies]
    #[arg(long, env = "HALLPASS_METRICS_LISTEN", value_name = "ADDRESS", value_parser = host_port, help_heading = "Serving")]
    pub metrics_listen: Option<String>,

    /// The name of your site, for the pages
    #[arg(long, env = "HALLPASS_SITE_NAME", value_name = "NAME", default_value = "Hallpass",
        value_parser = NonEmptyStringValueParser::new(), help_heading = "Pages")]
    pub site_name: String,

    /// A picture file for the pages: SVG, PNG, JPEG or WebP, at most 256 KiB
    #[arg(long, env = "HALLPASS_SITE_LOGO", value_name = "FILE", help_heading = "Pages")]
    pub site_logo: Option<PathBuf>,

    /// How long a session lasts at most
    #[arg(long, env = "HALLPASS_SESSION_LIFETIME", value_name = "DURATION", default_value = "30d",
        value_parser = duration, help_heading = "Sessions")]
    pub session_lifetime: Duration,

    /// How long a session lasts without being used; at least 2m, as its use is noted once a minute
    #[arg(long, env = "HALLPASS_SESSION_IDLE", value_name = "DURATION", default_value = "7d", value_parser = duration,
        help_heading = "Sessions")]
    pub session_idle: Duration,

    /// How many sessions a user may have, 1000 at most; beyond it, the session unused for longest ends
    #[arg(long, env = "HALLPASS_SESSIONS_PER_USER", value_name = "N", default_value = "100",
        value_parser = clap::value_parser!(u32).range(1..=1000), help_heading = "Sessions")]
    pub sessions_per_user: u32,

    /// Share the session cookie with the subdomains of this domain, which must be your own
    #[arg(long, env = "HALLPASS_COOKIE_DOMAIN", value_name = "DOMAIN", value_parser = NonEmptyStringValueParser::new(),
        help_heading = "Sessions")]
    pub cookie_domain: Option<String>,

    /// Where Google is asked about a token
    #[arg(
        long,
        env = "HALLPASS_TOKENINFO_URL",
        value_name = "URL",
        value_parser = url,
        default_value = "https://oauth2.googleapis.com/tokeninfo",
        help_heading = "Asking Google"
    )]
    pub tokeninfo_url: Url,

    /// Who says that a token is Google's
    #[arg(long, env = "HALLPASS_VERIFY", value_name = "WAY", value_enum, default_value_t = Verify::Tokeninfo,
        help_heading = "Asking Google")]
    pub verify: Verify,

    /// Where Google's public keys are, for --verify fallback and keys: a JWK set, or certificates by key ID
    #[arg(
        long,
        env = "HALLPASS_KEYS_URL",
        value_name = "URL",
        value_parser = url,
        default_value = "https://www.googleapis.com/oauth2/v3/certs",
        help_heading = "Asking Google"
    )]
    pub keys_url: Url,

    /// Trust only the certificate authorities in this file (PEM) for calls to Google, as behind a proxy that opens TLS
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

    /// Sign-in attempts that one client address may make in a row; 0 is no limit
    #[arg(
        long,
        env = "HALLPASS_SIGNIN_BURST",
        value_name = "N",
        default_value_t = 20,
        help_heading = "Asking Google"
    )]
    pub signin_burst: u32,

    /// Sign-in attempts a second that one client address regains
    #[arg(long, env = "HALLPASS_SIGNIN_PER_SECOND", value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..), help_heading = "Asking Google")]
    pub signin_per_second: u32,

    /// What is kept.
    #[command(flatten)]
    pub keeping: KeepingOptions,

    /// The form of the log on standard error; RUST_LOG sets its level
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
    /// What to ask [default: /healthz at the first address of --listen]
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
    /// The server's certificate; with it, its TCP addresses are asked over HTTPS
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
                PossibleValue::new("tokeninfo").help("Google's tokeninfo, asked about every token")
            }
            Verify::Fallback => PossibleValue::new("fallback")
                .help("Tokeninfo, and Google's public keys where it cannot answer"),
            Verify::Keys => {
                PossibleValue::new("keys").help("Google's public keys alone; no call a sign-in")
            }
        })
    }
}

/// Forms of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
