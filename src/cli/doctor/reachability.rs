//! Does a server run, and do browsers reach it?
//!
//! What a server answers at /auth/me names its database on its machine, so what comes back over the public URL tells
//! whether it was this one's. That path, as proxies let through what is under /auth/, and maybe nothing else.

use std::time::Instant;

use url::Url;

use crate::cli::health::{Answer, Silence, ask, ask_listener};
use crate::cli::output::report::Finding;
use crate::config::ServeOptions;
use crate::token::random_name;

/// Who answers where the server is to listen; and whether that is a server on this database.
pub fn server(serve: &ServeOptions, instance: Option<&str>) -> (Finding, bool) {
    const CHECK: &str = "server";
    let mut silent = Vec::new();
    for address in serve.listen.iter().filter(|address| !address.is_any_port()) {
        let name = address.to_string();
        // Nothing if nobody answers; otherwise which Hallpass does, if it is one.
        let answer = match ask_listener(address, serve.tls_cert.is_some(), "/auth/me") {
            Ok(answer) => Some(answer.instance),
            Err(Silence::Untrusted) => Some(None),
            Err(Silence::Other(_)) => None,
        };
        match answer {
            None => silent.push(name),
            Some(answer) if answer.is_some() && answer.as_deref() == instance => {
                return (Finding::ok(CHECK, format!("one runs at {name}, on this database")), true);
            }
            Some(Some(_)) => {
                let detail = format!("a Hallpass answers at {name}, but it uses another database");
                let advice =
                    "give doctor the settings of the server that runs, --database above all";
                return (Finding::failure(CHECK, detail, advice), false);
            }
            Some(None) => {
                let detail =
                    format!("something else answers at {name}, so Hallpass cannot listen there");
                return (
                    Finding::failure(CHECK, detail, "stop it, or give --listen another address"),
                    false,
                );
            }
        }
    }
    (Finding::ok(CHECK, format!("none runs at {}", silent.join(", "))), false)
}

/// What the public URL leads to.
pub fn public_url(url: &Url, instance: Option<&str>, is_running: bool) -> Finding {
    const CHECK: &str = "reach";
    let origin = url.origin().ascii_serialization();
    // What stands in a cache on the way is no answer.
    let target = format!("{origin}/auth/me?doctor={}", random_name());
    let start = Instant::now();
    let (answer, is_trusted) = match ask(&target, true) {
        Err(Silence::Untrusted) => (ask(&target, false), false),
        answer => (answer, true),
    };
    let took = start.elapsed().as_millis();
    match answer {
        Ok(Answer { instance: Some(theirs), .. }) if Some(theirs.as_str()) == instance => {
            if is_trusted {
                return Finding::ok(CHECK, format!("{origin} leads to this server ({took} ms)"));
            }
            Finding::warning(
                CHECK,
                format!(
                    "{origin} leads to this server, with a certificate that no public authority vouches for"
                ),
                "get one of Let's Encrypt, for example; with an authority of your own, let browsers know it",
            )
        }
        Ok(Answer { instance: Some(_), .. }) if instance.is_none() => Finding::warning(
            CHECK,
            format!(
                "{origin} leads to a Hallpass; without a database here it cannot be told whether to this one"
            ),
            "start the server, and run doctor again beside it",
        ),
        Ok(Answer { instance: Some(_), .. }) => Finding::failure(
            CHECK,
            format!("{origin} leads to another Hallpass: another machine, or another database"),
            "look at DNS and at the proxy, and at --database",
        ),
        _ if !is_running => Finding::warning(
            CHECK,
            format!("whether {origin} leads here cannot be told while no server runs"),
            "start the server, and run doctor again beside it",
        ),
        Ok(Answer { status, .. }) => Finding::failure(
            CHECK,
            format!(
                "{origin} does not lead to this server: something else answers, with status {status}"
            ),
            "look at DNS, and have the proxy hand /auth/ to this server",
        ),
        Err(silence) => {
            let why = match silence {
                Silence::Untrusted => "TLS fails".to_owned(),
                Silence::Other(why) => why,
            };
            Finding::failure(
                CHECK,
                format!("{origin} cannot be reached from here: {why}"),
                "look at DNS, firewall and proxy; some routers lead nobody from inside to their own outside",
            )
        }
    }
}
