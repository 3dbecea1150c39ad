//! The address of a client: the peer's own, or the one that trusted proxies report.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Once;

use super::settings::TrustedProxies;
use crate::http::Request;

/// The source of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAddress {
    /// A client with a known address.
    Ip(IpAddr),
    /// A process on the Unix socket that makes the request itself.
    UnixSocket,
    /// A client of a trusted proxy that sent something other than an address.
    Unknown,
}

impl ClientAddress {
    /// Reads `X-Forwarded-For` of trusted proxies from the right, up to the first address that is
    /// not theirs. Clients control everything further left.
    pub fn of(request: &Request, trusted: &TrustedProxies) -> ClientAddress {
        let mut nearest = request.peer.map_or(ClientAddress::UnixSocket, ClientAddress::Ip);
        if !trusted.trusts(request.peer) {
            return nearest;
        }
        let values: Vec<&str> = request.headers_named("X-Forwarded-For").collect();
        for text in values.iter().flat_map(|value| value.split(',')).rev() {
            let Some(address) = parse(text.trim()) else {
                warn_once();
                return ClientAddress::Unknown;
            };
            nearest = ClientAddress::Ip(address);
            if !trusted.trusts(Some(address)) {
                break;
            }
        }
        nearest
    }

    /// The client's key for rate limits. All unknown clients share one that is nobody's address.
    /// `None` for the Unix socket, whose users would otherwise share one limit.
    pub fn rate_limit_key(self) -> Option<IpAddr> {
        match self {
            ClientAddress::Ip(address) => Some(address),
            ClientAddress::UnixSocket => None,
            ClientAddress::Unknown => Some(Ipv4Addr::UNSPECIFIED.into()),
        }
    }

    /// The address, if it is known.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            ClientAddress::Ip(address) => Some(address),
            ClientAddress::UnixSocket | ClientAddress::Unknown => None,
        }
    }

    /// Whether it is a process on this host, or a trusted proxy making its own request.
    pub fn is_near(self, trusted: &TrustedProxies) -> bool {
        match self {
            ClientAddress::Ip(address) => address.is_loopback() || trusted.trusts(Some(address)),
            ClientAddress::UnixSocket => trusted.trusts(None),
            ClientAddress::Unknown => false,
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ClientAddress::Ip(address) => address.fmt(formatter),
            ClientAddress::UnixSocket => formatter.write_str("-"),
            ClientAddress::Unknown => formatter.write_str("unknown"),
        }
    }
}

/// An address as proxies write it: with or without brackets, a port and a zone.
fn parse(text: &str) -> Option<IpAddr> {
    let text = match text.split_once('%') {
        // A zone names an interface; only a bracket can follow it.
        Some((address, zone)) => match zone.split_once(']') {
            Some((_, rest)) => format!("{address}]{rest}"),
            None => address.to_owned(),
        },
        None => text.to_owned(),
    };
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&text);
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    Some(address.ok()?.to_canonical())
}

fn warn_once() {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        log::warn!(
            "X-Forwarded-For of a trusted proxy is not a list of addresses; such clients share one rate limit and are \
             not trusted; check the proxy's settings"
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let parsed = parse(text).map(|address| address.to_string());
        assert_eq!(parsed.unwrap_or_default(), expected, "{text}");
    }

    #[test]
    fn addresses_as_proxies_write_them() {
        check("203.0.113.7", "203.0.113.7");
        check("203.0.113.7:51008", "203.0.113.7");
        check("2001:db8::7", "2001:db8::7");
        check("[2001:db8::7]", "2001:db8::7");
        check("[2001:db8::7]:51008", "2001:db8::7");
        check("fe80::1%eth0", "fe80::1");
        check("[fe80::1%eth0]", "fe80::1");
        check("[fe80::1%25eth0]:443", "fe80::1");
        check("::ffff:203.0.113.7", "203.0.113.7");
        check("[::ffff:203.0.113.7]:80", "203.0.113.7");
        for text in [
            "",
            "unknown",
            "unix:",
            "unix:/run/x",
            "_hidden",
            "203.0.113.7:",
            "203.0.113.7:65536",
            "203.0.113",
            "203.0.113.07",
            "[203.0.113.7",
            "2001:db8::7]",
            "[2001:db8::7]x",
            "[[::1]]",
            "%eth0",
            "203.0.113.7 ",
            "\"203.0.113.7\"",
            "localhost",
        ] {
            check(text, "");
        }
    }
}
