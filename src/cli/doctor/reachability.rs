//! Is a server running, and does the public URL lead to it?
//!
//! A response to /auth/me names the server's database and machine, so a response over the public
//! URL shows whether it came from this server. The path is under /auth/, because proxies may pass
//! on nothing else.

use std::time::Instant;

use url::Url;

use crate::cli::health::{Answer, Silence, ask, ask_listener};
use crate::cli::output::report::Finding;
use crate::cli::serve_options::ServeOptions;
use crate::token::random_name;

/// What answers at --listen? Also returns whether it is a server on this database.
pub fn server(serve: &ServeOptions, instance: Option<&str>) -> (Finding, bool) {
    const CHECK: &str = "server";
    let mut silent = Vec::new();
    for address in serve.listen.iter().filter(|address| !address.is_any_port()) {
        let name = address.to_string();
        // `None` if nothing answers; otherwise the instance, if it is a Hallpass.
        let answer = match ask_listener(address, serve.tls_cert.is_some(), "/auth/me") {
            Ok(answer) => Some(answer.instance),
            Err(Silence::Untrusted) => Some(None),
            Err(Silence::Other(_)) => None,
        };
        match answer {
            None => silent.push(name),
            Some(answer) if answer.is_some() && answer.as_deref() == instance => {
                return (Finding::ok(CHECK, format!("one runs at {name} on this database")), true);
            }
            Some(Some(_)) => {
                let detail = format!("a Hallpass answers at {name}, but it uses another database");
                let advice = "give doctor the settings of the running server, above all --database";
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
    let detail = if silent.is_empty() {
        "the port is chosen at the start, so doctor cannot look for the server".to_owned()
    } else {
        format!("none runs at {}", silent.join(", "))
    };
    (Finding::warning(CHECK, detail, "start it, and give doctor the address as --listen"), false)
}

/// Does the public URL lead to this server?
pub fn public_url(url: &Url, instance: Option<&str>, is_running: bool) -> Finding {
    const CHECK: &str = "reach";
    let origin = url.origin().ascii_serialization();
    // The random query avoids caches on the way.
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
                "get one from Let's Encrypt, for example, or make browsers trust your own authority",
            )
        }
        Ok(Answer { instance: Some(_), .. }) if instance.is_none() => Finding::warning(
            CHECK,
            format!(
                "{origin} leads to a Hallpass; without a database here, doctor cannot tell whether it is this one"
            ),
            "start the server and run doctor again",
        ),
        Ok(Answer { instance: Some(_), .. }) => Finding::failure(
            CHECK,
            format!("{origin} leads to another Hallpass: another machine, or another database"),
            "check DNS, the proxy and --database",
        ),
        _ if !is_running => Finding::warning(
            CHECK,
            format!("without a running server, doctor cannot tell whether {origin} leads here"),
            "start the server and run doctor again",
        ),
        Ok(Answer { status, .. }) => Finding::failure(
            CHECK,
            format!(
                "{origin} does not lead to this server: something else answers, with status {status}"
            ),
            "check DNS, and let the proxy pass /auth/ to this server",
        ),
        Err(silence) => {
            let why = match silence {
                Silence::Untrusted => "TLS fails".to_owned(),
                Silence::Other(why) => why,
            };
            Finding::failure(
                CHECK,
                format!("{origin} cannot be reached from here: {why}"),
                "check DNS, firewall and proxy; some routers do not let clients inside reach their public address",
            )
        }
    }
}
