//! Finds the proxy named by the environment, as curl does.

use std::net::IpAddr;

use ipnet::IpNet;
use ureq::Proxy;
use url::Url;

use crate::process;

/// In order of precedence.
const PROXY_VARIABLES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
/// Hosts to call directly.
const NO_PROXY_VARIABLES: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// The proxy for calls to `endpoint`. There is none for http, which only stand-ins for Google use.
pub fn proxy(endpoint: &Url) -> Option<Proxy> {
    let first = |names: &[&str]| {
        names.iter().find_map(|name| process::variable(name).filter(|value| !value.is_empty()))
    };
    let host = endpoint.host_str().filter(|_| endpoint.scheme() == "https")?;
    if first(&NO_PROXY_VARIABLES).is_some_and(|list| is_bypassed(&list, host)) {
        return None;
    }
    Proxy::new(&first(&PROXY_VARIABLES)?).ok()
}

/// The proxy for calls to `endpoint` as `HOST:PORT`, without credentials.
pub fn proxy_for(endpoint: &Url) -> Option<String> {
    proxy(endpoint).map(|proxy| format!("{}:{}", proxy.host(), proxy.port()))
}

/// The proxy variables that are set, including those for hosts without a proxy.
pub fn proxy_variables() -> Vec<&'static str> {
    let names = PROXY_VARIABLES.into_iter().chain(NO_PROXY_VARIABLES);
    names.filter(|name| process::variable(name).is_some_and(|value| !value.is_empty())).collect()
}

/// Whether the list contains the host: its name or a parent domain, its address or network, or `*`.
fn is_bypassed(list: &str, host: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let address = host.parse::<IpAddr>().ok();
    let has_it = |item: &str| match address {
        Some(address) => {
            let item = item.trim_matches(['[', ']']);
            item.parse() == Ok(address)
                || item.parse::<IpNet>().is_ok_and(|network| network.contains(&address))
        }
        None => {
            let domain = item.trim_matches('.').to_ascii_lowercase();
            let rest = host.strip_suffix(domain.as_str()).filter(|_| !domain.is_empty());
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        }
    };
    list.split([',', ' ', '\t']).any(|item| item == "*" || has_it(item))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_without_a_proxy() {
        #[track_caller]
        fn check(list: &str, host: &str, expected: bool) {
            assert_eq!(is_bypassed(list, host), expected, "{host} by {list:?}");
        }
        check("googleapis.com", "googleapis.com", true);
        check("googleapis.com", "oauth2.googleapis.com", true);
        check(".googleapis.com", "oauth2.googleapis.com", true);
        check("GoogleApis.com.", "oauth2.googleapis.com", true);
        check("other.example, googleapis.com", "oauth2.googleapis.com", true);
        check("other.example googleapis.com", "oauth2.googleapis.com", true);
        check("*", "oauth2.googleapis.com", true);
        check("", "oauth2.googleapis.com", false);
        check(".", "oauth2.googleapis.com", false);
        check("apis.com", "oauth2.googleapis.com", false);
        check("www.googleapis.com", "oauth2.googleapis.com", false);
        check("*.googleapis.com", "oauth2.googleapis.com", false);
        check("192.0.2.7", "192.0.2.7", true);
        check("192.0.2.0/24", "192.0.2.7", true);
        check("192.0.3.0/24", "192.0.2.7", false);
        check("2.7", "192.0.2.7", false);
        check("2001:db8::7", "[2001:db8::7]", true);
        check("[2001:db8::7]", "[2001:db8::7]", true);
        check("2001:db8::/32", "[2001:db8::7]", true);
    }
}
