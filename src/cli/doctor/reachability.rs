//! Does a server run, and do browsers reach it?
//!
//! What a server answers at /auth/me names its database on its machine, so what comes back over the public URL tells
//! whether it was this one's. That path, as proxies let through what is under /auth/, and maybe nothing else.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use url::Url;

use crate::cli::health::{Answer, PATIENCE, Silence, ask};
use crate::cli::output::report::Finding;
use crate::config::ServeOptions;
use crate::http::ListenAddress;
use crate::token::random_name;
use crate::web::INSTANCE_HEADER;

/// The head of our answer is shorter.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

/// Who answers where the server is to listen; and whether that is a server on this database.
pub fn server(serve: &ServeOptions, instance: Option<&str>) -> (Finding, bool) {
    const CHECK: &str = "server";
    let mut silent = Vec::new();
    for address in &serve.listen {
        let (name, answer) = match address {
            ListenAddress::Tcp(address) if address.ends_with(":0") => continue,
            ListenAddress::Tcp(address) => {
                (address.clone(), over_tcp(address, serve.tls_cert.is_some()))
            }
            ListenAddress::Unix(path) => (format!("unix:{}", path.display()), over_unix(path)),
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

/// Nothing if nobody answers; otherwise which Hallpass does, if it is one.
fn over_tcp(address: &str, is_tls: bool) -> Option<Option<String>> {
    let scheme = if is_tls { "https" } else { "http" };
    // What is bound to every address is reached at loopback.
    let address = address.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:");
    match ask(&format!("{scheme}://{address}/auth/me"), false) {
        Ok(answer) => Some(answer.instance),
        Err(Silence::Untrusted) => Some(None),
        Err(Silence::Other(_)) => None,
    }
}

/// The same at a Unix socket, where the kernel itself may keep us waiting.
fn over_unix(path: &Path) -> Option<Option<String>> {
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    thread::spawn(move || sender.send(ask_unix(&path)));
    // Somebody is there who keeps silent.
    receiver.recv_timeout(PATIENCE).unwrap_or(Some(None))
}

fn ask_unix(path: &Path) -> Option<Option<String>> {
    let mut socket = UnixStream::connect(path).ok()?;
    let mut head = String::new();
    let asked = socket
        .write_all(b"GET /auth/me HTTP/1.0\r\nHost: doctor\r\n\r\n")
        .and_then(|()| socket.take(ANSWER_BYTES_MAX).read_to_string(&mut head));
    // Whoever accepts is there, whatever comes then.
    let value = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case(INSTANCE_HEADER).then(|| value.to_owned())
    };
    Some(asked.ok().and_then(|_| head.lines().find_map(value)))
}
