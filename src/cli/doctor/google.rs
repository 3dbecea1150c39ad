//! Does Google answer, how fast, and does its clock agree with ours?

use std::sync::Arc;
use std::time::{Duration, Instant};

use url::Url;

use super::settings;
use crate::cli::output::report::Finding;
use crate::cli::output::time;
use crate::clock;
use crate::google::{
    CLOCK_SKEW_SECONDS_MAX, Exchange, Failure, FetchedKeys, Tokeninfo, VerifierSettings, Verify,
    fetch_keys,
};
use crate::http_client::{proxy_for, proxy_variables};
use crate::metrics::Metrics;
use crate::token::IdToken;

/// Not a token from Google.
const BAD_TOKEN: &str = "hallpass.doctor.asks";
/// 50 to 200 ms is usual.
const SLOW: Duration = Duration::from_secs(1);
/// Google's hosts of the endpoints.
const HOSTS: [&str; 2] = ["oauth2.googleapis.com", "www.googleapis.com"];
/// Clocks synchronised by NTP differ far less; the header has whole seconds.
const CLOCK_SECONDS_TOLERATED: i64 = 30;
/// If the clock is ahead by this much, every token seems to have expired.
const TOKEN_SECONDS: i64 = 60 * 60;

/// Which proxy do calls to Google use?
pub fn proxy(settings: &VerifierSettings) -> Finding {
    const CHECK: &str = "proxy";
    let set = proxy_variables();
    let url =
        if settings.verify == Verify::Keys { &settings.keys_url } else { &settings.tokeninfo.url };
    match (set.is_empty(), proxy_for(url)) {
        (true, _) => Finding::ok(CHECK, "none: Google is called directly"),
        (false, Some(proxy)) => {
            Finding::ok(CHECK, format!("Google is called through {proxy} ({})", set.join(", ")))
        }
        (false, None) if url.scheme() == "https" => Finding::warning(
            CHECK,
            format!("Google is called directly, though the environment has {}", set.join(", ")),
            "this is right if NO_PROXY names Google's host; otherwise write HTTPS_PROXY as http://HOST:PORT",
        ),
        (false, None) => {
            Finding::ok(CHECK, format!("none: it is not used for http ({})", set.join(", ")))
        }
    }
}

/// Which authorities may vouch for Google, if the built-in ones may not?
pub fn authorities(settings: &VerifierSettings) -> Option<Finding> {
    let count = settings.tokeninfo.authorities.as_ref()?.count();
    let detail = format!("only {count} from --ca-file or SSL_CERT_FILE may vouch for Google");
    Some(Finding::ok("authorities", detail))
}

/// Do the endpoints answer correctly, does our clock agree with theirs, and are they Google's?
pub fn endpoints(settings: &VerifierSettings) -> Vec<Finding> {
    let VerifierSettings { verify, tokeninfo, keys_url, security_events } = settings;
    let mut findings = Vec::new();
    let keys = (*verify != Verify::Tokeninfo || *security_events).then(|| {
        findings.extend(stranger("keys-url", keys_url));
        let keys = fetch_keys(
            keys_url,
            tokeninfo.authorities.as_ref(),
            clock::now(),
            Instant::now() + tokeninfo.timeout,
        );
        findings.push(told_of_keys(settings, &keys));
        keys
    });
    let has_fallback = *verify == Verify::Fallback && matches!(keys, Some(Ok(_)));
    let exchange = (*verify != Verify::Keys).then(|| {
        findings.extend(stranger("tokeninfo-url", &tokeninfo.url));
        let bad_token = IdToken::parse(BAD_TOKEN).expect("letters and dots");
        let deadline = Instant::now() + tokeninfo.timeout;
        let exchange = Tokeninfo::new(tokeninfo, Arc::new(Metrics::default()))
            .exchange(&bad_token, None, deadline);
        findings.push(answer(&tokeninfo.url, &exchange, has_fallback));
        exchange
    });
    let now = clock::now();
    let date = exchange.and_then(|exchange| exchange.date).or_else(|| keys?.ok()?.date);
    findings.push(clock(date, now));
    findings
}

fn stranger(check: &'static str, url: &Url) -> Option<Finding> {
    let is_googles =
        url.scheme() == "https" && url.host_str().is_some_and(|host| HOSTS.contains(&host));
    // Plain http is a finding about the settings.
    (!is_googles && url.scheme() == "https" && !settings::is_loopback(url)).then(|| {
        let detail = format!("{url} is not Google's, and it decides who may sign in");
        Finding::warning(check, detail, format!("omit --{check} unless you trust this server"))
    })
}

fn told_of_keys(settings: &VerifierSettings, keys: &Result<FetchedKeys, String>) -> Finding {
    const CHECK: &str = "keys";
    match keys {
        Ok(found) => {
            let keys =
                found.set.sizes().into_iter().map(|(kid, bits)| format!("{kid} ({bits} bits)"));
            let lifetime = time::span(Duration::from_secs(found.lifetime_seconds));
            let (count, names) = (keys.len(), keys.collect::<Vec<_>>().join(", "));
            Finding::ok(CHECK, format!("{count} for {lifetime}: {names}"))
        }
        Err(cause) if settings.verify == Verify::Fallback => Finding::warning(
            CHECK,
            cause,
            format!(
                "let this machine reach {}; until then there is no fallback for tokeninfo",
                settings.keys_url
            ),
        ),
        Err(cause) if settings.verify == Verify::Tokeninfo => Finding::failure(
            CHECK,
            cause,
            format!(
                "let this machine reach {}; without keys, Google's security events are not accepted",
                settings.keys_url
            ),
        ),
        Err(cause) => Finding::failure(
            CHECK,
            cause,
            format!(
                "let this machine reach {}; without keys, nobody can sign in",
                settings.keys_url
            ),
        ),
    }
}

fn answer(url: &Url, exchange: &Exchange, has_fallback: bool) -> Finding {
    const CHECK: &str = "tokeninfo";
    let took = exchange.took.as_millis();
    match &exchange.outcome {
        Err(Failure::Refused(_)) if exchange.took > SLOW => Finding::warning(
            CHECK,
            format!("refused a bad token, as it should, but only after {took} ms"),
            "check the network and DNS: every sign-in waits this long",
        ),
        Err(Failure::Refused(_)) => {
            Finding::ok(CHECK, format!("refused a bad token, as it should, after {took} ms"))
        }
        Err(Failure::Unavailable { cause, .. }) if has_fallback => Finding::warning(
            CHECK,
            format!("{cause} ({took} ms)"),
            format!("let this machine reach {url}; until then Google's keys are used"),
        ),
        Err(Failure::Unavailable { cause, .. }) => Finding::failure(
            CHECK,
            format!("{cause} ({took} ms)"),
            format!("let this machine reach {url}; until then nobody can sign in"),
        ),
        Ok(_) => Finding::failure(
            CHECK,
            format!("{url} accepts a bad token"),
            "omit --tokeninfo-url: this is not Google's endpoint",
        ),
    }
}

fn clock(date: Option<i64>, now: i64) -> Finding {
    const CHECK: &str = "clock";
    const ADVICE: &str = "set the clock, and keep it right with NTP (timedatectl set-ntp true)";
    let Some(theirs) = date else {
        return Finding::warning(
            CHECK,
            "could not be compared: Google sent no time",
            "see the findings about Google above",
        );
    };
    let ahead = now.saturating_sub(theirs);
    let distance = time::span(Duration::from_secs(ahead.unsigned_abs()));
    if ahead < -CLOCK_SKEW_SECONDS_MAX {
        return Finding::failure(
            CHECK,
            format!("{distance} behind Google's: tokens seem to be from the future"),
            ADVICE,
        );
    }
    if ahead >= TOKEN_SECONDS {
        return Finding::failure(
            CHECK,
            format!("{distance} ahead of Google's: tokens seem to have expired"),
            ADVICE,
        );
    }
    if ahead.abs() > CLOCK_SECONDS_TOLERATED {
        let side = if ahead > 0 { "ahead of" } else { "behind" };
        return Finding::warning(CHECK, format!("{distance} {side} Google's"), ADVICE);
    }
    Finding::ok(CHECK, format!("within {} s of Google's", ahead.abs().max(1)))
}
