//! Does Google answer, how fast, and does its clock agree with ours?

use std::sync::Arc;
use std::time::Duration;

use super::{refused, settings};
use crate::admin::local_time::from_http_date;
use crate::admin::report::Finding;
use crate::clock;
use crate::config::{self, ServeOptions};
use crate::google::{CLOCK_SKEW_SECONDS_MAX, Exchange, Failure, Tokeninfo, proxy_for};
use crate::metrics::Metrics;
use crate::process;
use crate::token::IdToken;

/// What is no token of Google's.
const BAD_TOKEN: &str = "hallpass.doctor.asks";
/// 50 to 200 ms are usual.
const SLOW: Duration = Duration::from_secs(1);
/// Google's hosts that have the endpoint.
const HOSTS: [&str; 2] = ["oauth2.googleapis.com", "www.googleapis.com"];
/// Clocks that are kept by NTP agree to far less; the header has whole seconds.
const CLOCK_SECONDS_TOLERATED: i64 = 30;
/// Ahead by this, every token seems to have expired.
const TOKEN_SECONDS: i64 = 60 * 60;
/// The environment variables that ureq looks for, in its order.
const PROXY_VARIABLES: [&str; 8] =
    ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"];

/// Which way calls to Google take.
pub fn proxy(serve: &ServeOptions) -> Finding {
    const CHECK: &str = "proxy";
    let set: Vec<&str> = PROXY_VARIABLES.into_iter().filter(|name| process::variable(name).is_some()).collect();
    let url = &serve.tokeninfo_url;
    match (set.is_empty(), proxy_for(url)) {
        (true, _) => Finding::ok(CHECK, "none: Google is called directly"),
        (false, Some(proxy)) => Finding::ok(CHECK, format!("Google is called through {proxy} ({})", set.join(", "))),
        (false, None) if url.scheme() == "https" => Finding::warning(
            CHECK,
            format!("Google is called directly, though the environment has {}", set.join(", ")),
            "right if NO_PROXY names Google's host; otherwise write HTTPS_PROXY as http://HOST:PORT",
        ),
        (false, None) => Finding::ok(CHECK, format!("none: it does not count for http ({})", set.join(", "))),
    }
}

/// tokeninfo refuses what is no token, and quickly; its clock and ours agree; it is Google's.
pub fn tokeninfo(serve: &ServeOptions) -> Vec<Finding> {
    let settings = match config::tokeninfo(serve) {
        Ok(settings) => settings,
        Err(why) => return vec![refused("tokeninfo", &why)],
    };
    let bad_token = IdToken::parse(BAD_TOKEN).expect("letters and dots");
    let exchange = Tokeninfo::new(&settings, Arc::new(Metrics::default())).exchange(&bad_token);
    let now = clock::now();
    [stranger(serve), Some(answer(serve, &exchange)), Some(clock(&exchange, now))].into_iter().flatten().collect()
}

fn stranger(serve: &ServeOptions) -> Option<Finding> {
    let url = &serve.tokeninfo_url;
    let is_googles = url.scheme() == "https" && url.host_str().is_some_and(|host| HOSTS.contains(&host));
    (!is_googles && !settings::is_loopback(url)).then(|| {
        let detail = format!("{url} is not Google's: whoever answers there, or on the way, decides who may sign in");
        Finding::warning("tokeninfo-url", detail, "leave --tokeninfo-url away unless you know who it is")
    })
}

fn answer(serve: &ServeOptions, exchange: &Exchange) -> Finding {
    const CHECK: &str = "tokeninfo";
    let took = exchange.took.as_millis();
    match &exchange.outcome {
        Err(Failure::Refused) if exchange.took > SLOW => Finding::warning(
            CHECK,
            format!("refused a bad token, as it should, but only after {took} ms"),
            "look at the network and at DNS: everybody who signs in waits as long",
        ),
        Err(Failure::Refused) => Finding::ok(CHECK, format!("refused a bad token, as it should, after {took} ms")),
        Err(Failure::Unavailable { cause, .. }) => Finding::failure(
            CHECK,
            format!("{cause} ({took} ms)"),
            format!("let this machine reach {}; until then nobody can sign in", serve.tokeninfo_url),
        ),
        Ok(_) => Finding::failure(
            CHECK,
            format!("{} says yes to a token that is none", serve.tokeninfo_url),
            "leave --tokeninfo-url away: this is not Google's endpoint",
        ),
    }
}

fn clock(exchange: &Exchange, now: i64) -> Finding {
    const CHECK: &str = "clock";
    const ADVICE: &str = "set it, and keep it with NTP (timedatectl set-ntp true)";
    let Some(theirs) = exchange.date.as_deref().and_then(from_http_date) else {
        return Finding::warning(CHECK, "could not be compared: Google told no time", "see tokeninfo above");
    };
    let ahead = now - theirs;
    let distance = humantime::format_duration(Duration::from_secs(ahead.unsigned_abs()));
    if ahead < -CLOCK_SKEW_SECONDS_MAX {
        return Finding::failure(CHECK, format!("{distance} behind Google's: tokens come from the future"), ADVICE);
    }
    if ahead >= TOKEN_SECONDS {
        return Finding::failure(CHECK, format!("{distance} ahead of Google's: tokens seem to have expired"), ADVICE);
    }
    if ahead.abs() > CLOCK_SECONDS_TOLERATED {
        let side = if ahead > 0 { "ahead of" } else { "behind" };
        return Finding::warning(CHECK, format!("{distance} {side} Google's"), ADVICE);
    }
    Finding::ok(CHECK, format!("within {} s of Google's", ahead.abs().max(1)))
}
