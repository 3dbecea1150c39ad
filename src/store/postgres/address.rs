//! A URL of PostgreSQL, read once: which servers, as whom, and whether in plain text.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// The limit for one socket. TLS and the password have the limit of the call that needs them.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long sent data may stay unacknowledged: a network that drops packets fails a check in time.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(2);
/// An idle connection is probed after this time, and then as often.
const KEEPALIVE: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 2;
const PORT: u16 = 5432;
/// Debian's and PostgreSQL's default on Linux for a URL without a host.
const SOCKET_FOLDER: &str = "/var/run/postgresql";
/// The parameters that the library reads. Others would be ignored or would weaken TLS.
const PARAMETERS: [&str; 16] = [
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "host",
    "hostaddr",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "load_balance_hosts",
];

/// Where a PostgreSQL database is, and how to get there. Its texts leave out the password.
#[derive(Clone)]
pub struct Address {
    pub(super) config: Config,
    pub(super) encryption: Encryption,
}

/// How connections are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// In plain text: to this machine, or where the operator says so.
    None,
    /// TLS, with the server's certificate and name verified.
    Verified {
        /// Trusted authorities in PEM. `None`: the public ones.
        authorities: Option<PathBuf>,
    },
}

impl Address {
    /// Reads a URL as libpq does, except for TLS: unless `sslmode=disable` is given, a connection
    /// beyond this machine is encrypted and verified.
    ///
    /// # Errors
    /// One sentence without any value of the URL.
    pub fn parse(url: &str) -> Result<Address, String> {
        let (front, query) = url.split_once('?').unwrap_or((url, ""));
        let authority = front.split_once("://").map_or(front, |(_, rest)| rest);
        if authority.matches('@').count() > 1 {
            return Err("expected one @ in the URL; write %40 for one in the password".into());
        }
        let (mut mode, mut authorities, mut kept) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = percent_decode_str(value).decode_utf8_lossy().into_owned();
            match name {
                "sslmode" => mode = Some(decoded),
                "sslrootcert" => authorities = Some(decoded),
                _ if PARAMETERS.contains(&name) => kept.push(pair),
                // A part of a password may have become a name.
                _ if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') => {
                    return Err("the URL has a parameter that is not one of PostgreSQL's".into());
                }
                _ => return Err(format!("the URL's parameter {name} is not supported")),
            }
        }
        let mut config: Config =
            format!("{front}?{}", kept.join("&")).parse().map_err(unreadable)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host_path(SOCKET_FOLDER);
        }
        let given = |name: &str| kept.iter().any(|pair| pair.split('=').next() == Some(name));
        if !given("connect_timeout") {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if !given("tcp_user_timeout") {
            config.tcp_user_timeout(TCP_USER_TIMEOUT);
        }
        if !given("keepalives_idle") {
            config.keepalives_idle(KEEPALIVE);
        }
        if !given("keepalives_interval") {
            config.keepalives_interval(KEEPALIVE);
        }
        if !given("keepalives_retries") {
            config.keepalives_retries(KEEPALIVE_RETRIES);
        }
        if !given("target_session_attrs") {
            // Every server writes, so a standby is of no use.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if !given("application_name") {
            config.application_name("hallpass");
        }
        let encryption = encryption(&config, mode.as_deref(), authorities)?;
        config.ssl_mode(match encryption {
            Encryption::None => SslMode::Disable,
            Encryption::Verified { .. } => SslMode::Require,
        });
        Ok(Address { config, encryption })
    }
}

fn encryption(
    config: &Config,
    mode: Option<&str>,
    authorities: Option<String>,
) -> Result<Encryption, String> {
    let is_tls = match mode {
        None => !is_local(config),
        Some("disable") => false,
        Some("require" | "verify-ca" | "verify-full") => true,
        Some("allow" | "prefer") => {
            return Err("sslmode allow and prefer may fall back to plain text; give verify-full, or disable".into());
        }
        Some(_) => return Err("expected sslmode verify-full or disable".into()),
    };
    if !is_tls {
        return Ok(Encryption::None);
    }
    if config.get_hosts().iter().any(|host| matches!(host, Host::Unix(_))) {
        return Err(
            "PostgreSQL has no TLS on Unix sockets; leave out sslmode, or give only names of hosts"
                .into(),
        );
    }
    if config.get_hosts().is_empty() {
        return Err("TLS needs the name of the host; give host beside hostaddr".into());
    }
    let authorities = authorities.filter(|file| file != "system").map(PathBuf::from);
    Ok(Encryption::Verified { authorities })
}

/// Whether every server is on this machine.
fn is_local(config: &Config) -> bool {
    let addresses = config.get_hostaddrs();
    let is_local_host = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    };
    match addresses {
        [] => config.get_hosts().iter().all(is_local_host),
        addresses => addresses.iter().all(IpAddr::is_loopback),
    }
}

/// The library's error names a parameter, never its value.
fn unreadable(error: tokio_postgres::Error) -> String {
    let cause = error.into_source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("expected a URL such as postgresql://hallpass@db1/hallpass{cause}")
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let config = &self.config;
        formatter.write_str("postgresql://")?;
        if let Some(user) = config.get_user() {
            write!(formatter, "{user}@")?;
        }
        let ports = config.get_ports();
        let names = config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
            Host::Tcp(name) => name.clone(),
            Host::Unix(folder) => folder.display().to_string(),
        });
        let mut names: Vec<String> = names.collect();
        if names.is_empty() {
            names = config.get_hostaddrs().iter().map(IpAddr::to_string).collect();
        }
        for (place, name) in names.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            write!(formatter, "{comma}{name}")?;
            match ports.get(place).or(ports.first()) {
                Some(&port) if port != PORT => write!(formatter, ":{port}")?,
                _ => {}
            }
        }
        if let Some(name) = config.get_dbname() {
            write!(formatter, "/{name}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rest: &str) -> Result<Address, String> {
        Address::parse(&format!("postgresql://{rest}"))
    }

    #[track_caller]
    fn check(rest: &str, shown: &str, is_tls: bool) {
        let address = parse(rest).expect("a URL");
        assert_eq!(address.to_string(), format!("postgresql://{shown}"));
        assert_eq!(address.encryption != Encryption::None, is_tls);
        let mode = if is_tls { SslMode::Require } else { SslMode::Disable };
        assert_eq!(address.config.get_ssl_mode(), mode);
    }

    #[track_caller]
    fn refused(rest: &str, why: &str) {
        let error = parse(rest).expect_err("must be refused");
        assert!(error.contains(why), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn beyond_this_machine_only_tls_unless_disabled() {
        check("a@db1/h", "a@db1/h", true);
        check("a@db1:5433,db2/h?target_session_attrs=read-write", "a@db1:5433,db2/h", true);
        check("a@192.0.2.1/h", "a@192.0.2.1/h", true);
        check("a@db1/h?sslmode=disable", "a@db1/h", false);
        check("a@127.0.0.1/h", "a@127.0.0.1/h", false);
        check("a@localhost/h", "a@localhost/h", false);
        check("a@[::1]/h", "a@[::1]/h", false);
        check("a@localhost,db1/h", "a@localhost,db1/h", true);
        check("a@localhost/h?hostaddr=192.0.2.1", "a@localhost/h", true);
        check("a@localhost/h?sslmode=verify-full", "a@localhost/h", true);
        check("a@%2Frun%2Fpostgresql/h", "a@/run/postgresql/h", false);
        check("/h?host=/run/p&user=a", "a@/run/p/h", false);
        check("/h", "/var/run/postgresql/h", false);
    }

    #[test]
    fn no_text_has_the_password() {
        for url in ["a:s3cret@db1/h", "a@db1/h?password=s3cret", "a:s3cret@db1?sslmode=disable"] {
            let address = parse(url).expect("a URL");
            assert_eq!(address.config.get_password(), Some(&b"s3cret"[..]));
            for text in [address.to_string(), format!("{address:?}")] {
                assert!(!text.contains("s3cret"), "{text}");
            }
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        refused("a:s3cret@x@db1/h", "%40");
        refused("a:s3cret@db1/h?sslmode=prefer", "verify-full");
        refused("a:s3cret@db1/h?sslmode=maybe", "verify-full");
        refused("a:s3cret@db1/h?sslcert=file", "sslcert");
        refused("a:s3cret@db1/h?s3cret?=1", "not one of PostgreSQL's");
        refused("a:s3cret@db1:many/h", "port");
        refused("a:s3cret@%2Frun,db1/h", "Unix sockets");
        refused("/h?hostaddr=192.0.2.1&password=s3cret", "name of the host");
    }

    #[test]
    fn a_dead_server_is_noticed_in_time() {
        let config = parse("a@db1/h").expect("a URL").config;
        assert_eq!(config.get_connect_timeout(), Some(&CONNECT_TIMEOUT));
        assert_eq!(config.get_tcp_user_timeout(), Some(&TCP_USER_TIMEOUT));
        assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        let config = parse("a@db1/h?connect_timeout=9").expect("a URL").config;
        assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(9)));
    }

    #[test]
    fn the_authorities_are_a_file_or_the_public_ones() {
        let of = |query: &str| parse(&format!("a@db1/h?{query}")).expect("a URL").encryption;
        let file = Some("/etc/ca.pem".into());
        assert_eq!(of("sslrootcert=/etc/ca.pem"), Encryption::Verified { authorities: file });
        assert_eq!(of("sslrootcert=system"), Encryption::Verified { authorities: None });
    }
}
