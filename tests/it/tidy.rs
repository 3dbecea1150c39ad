//! Each library has one home, and each layer knows only those below it.

use std::fs;
use std::path::Path;

fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                walk(&entry.path(), found);
            } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
                let name = entry.path().display().to_string();
                found.push((
                    name[name.find("src/").unwrap()..].to_owned(),
                    fs::read_to_string(entry.path()).unwrap(),
                ));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 20);
    found
}

/// Only files whose path begins with one of `homes` may contain the text.
#[track_caller]
fn lives_in(text: &str, homes: &[&str]) {
    for (name, source) in sources() {
        let code: String =
            source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let at_home = homes.iter().any(|home| name.starts_with(home));
        let is_used = code
            .match_indices(text)
            .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric()));
        assert!(at_home || !is_used, "{text} is used in {name}, and lives in {homes:?}");
    }
}

#[test]
fn every_library_has_one_home() {
    lives_in("tiny_http::", &["src/http/server.rs"]);
    lives_in("mio::", &["src/http/door/"]);
    lives_in("httparse::", &["src/http/door/"]);
    lives_in(
        "rustls::",
        &[
            "src/http/door/",
            "src/google/jwks.rs",
            "src/google/service_account.rs",
            "src/http_client/",
            "src/store/postgres/tls.rs",
        ],
    );
    for tokio in ["tokio::", "tokio_postgres::", "tokio_rustls::"] {
        lives_in(tokio, &["src/store/postgres/"]);
    }
    lives_in(
        "webpki::",
        &["src/http_client/", "src/google/jwks.rs", "src/http/door/certificate.rs"],
    );
    lives_in("spki::", &["src/google/jwks.rs", "src/http/door/certificate_der.rs"]);
    lives_in("ureq::", &["src/http_client/", "src/cli/health.rs"]);
    lives_in("prometheus::", &["src/metrics.rs"]);
    lives_in(
        "rusqlite::",
        &[
            "src/store/db.rs",
            "src/store/backup.rs",
            "src/store/connection.rs",
            "src/store/copy.rs",
            "src/store/integrity_check.rs",
            "src/store/open.rs",
            "src/store/read_only.rs",
            "src/store/readers.rs",
            "src/store/search.rs",
            "src/store/writer.rs",
        ],
    );
    lives_in("maud::", &["src/web/pages/"]);
    lives_in("governor::", &["src/web/rate_limit.rs"]);
    lives_in("clap::", &["src/cli/"]);
    lives_in("comfy_table::", &["src/cli/output/table.rs"]);
    lives_in("terminal_size::", &["src/cli/output/table.rs"]);
    lives_in("io::stdout", &["src/cli/output/table.rs"]);
    lives_in("rustix::", &["src/process.rs"]);
    lives_in("csv::", &["src/cli/export.rs", "src/cli/import.rs"]);
    lives_in("jiff::", &["src/cli/output/time.rs", "src/cli/events.rs"]);
    lives_in("env_logger::", &["src/logging.rs"]);
    lives_in("io::stderr()", &["src/logging/", "src/cli/output/progress.rs"]);
    lives_in("process::exit", &["src/http/server.rs", "src/cli/output/table.rs"]);
    lives_in("signal_hook::", &["src/cli/serve.rs"]);
    lives_in("sd_notify::", &["src/cli/service_manager.rs"]);
    lives_in(
        "ring::",
        &[
            "src/token.rs",
            "src/google/demo.rs",
            "src/web/assertion.rs",
            "src/google/jwks.rs",
            "src/google/service_account.rs",
            "src/http/door/certificate.rs",
            "src/store/postgres/tls.rs",
        ],
    );
    lives_in("SystemTime::now", &["src/clock.rs"]);
    lives_in("env::var", &["src/process.rs"]);
    lives_in("std::env::", &[]);
}

/// cli, web, http, then google and store, from top to bottom: each knows only those below it.
#[test]
fn each_layer_knows_only_those_below() {
    lives_in("crate::cli", &["src/cli/"]);
    lives_in("crate::web", &["src/cli/", "src/web/"]);
    for http in ["crate::http::", "crate::http;"] {
        lives_in(http, &["src/cli/", "src/web/", "src/http/"]);
    }
    lives_in("crate::http_client", &["src/cli/", "src/google/", "src/http_client/"]);
    lives_in("crate::google", &["src/cli/", "src/web/", "src/google/", "src/token.rs"]);
    lives_in("crate::store", &["src/cli/", "src/web/", "src/store/"]);
    lives_in("super::super", &[]);
    lives_in("SELECT ", &["src/store/"]);
}

/// The door drops headers that nobody reads, so its list must contain every header that is read.
#[test]
fn every_header_that_is_read_is_let_in() {
    let mut names = 0;
    for (name, source) in sources() {
        for call in [".header(\"", "headers_named(\"", "absent_or(\""] {
            for rest in source.split(call).skip(1) {
                let header = rest.split('"').next().unwrap();
                let our_answer = source.contains(&format!("response.header(\"{header}"));
                assert!(
                    our_answer || hallpass::http::HEADERS_READ.contains(&header),
                    "{header} in {name}"
                );
                names += 1;
            }
        }
    }
    assert!(names > 10);
}

/// The tables of a schema, each with its columns.
fn columns(schema: &str) -> Vec<String> {
    let mut found = Vec::new();
    for table in schema.split("CREATE TABLE IF NOT EXISTS ").skip(1) {
        let (name, rest) = table.split_once(" (\n").unwrap();
        let lines = rest.lines().take_while(|line| !line.starts_with(')'));
        let names = lines.filter_map(|line| line.split_whitespace().next());
        let columns = names.filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
        found.extend(columns.map(|column| format!("{name}.{column}")));
    }
    assert!(found.len() > 50);
    found.sort();
    found
}

#[test]
fn both_engines_have_the_same_columns() {
    let own = ["hallpass.", "changes.", "days.slot", "events.xid", "revision."];
    let [sqlite, postgres] =
        [include_str!("../../schema.sql"), include_str!("../../src/store/postgres/schema.sql")]
            .map(|schema| {
                let mut columns = columns(schema);
                columns.retain(|column| !own.iter().any(|own| column.starts_with(own)));
                columns
            });
    assert_eq!(sqlite, postgres);
}

#[test]
fn no_file_outgrows_its_concept() {
    for (name, source) in sources() {
        assert!(source.lines().count() <= 500, "{name} has {} lines", source.lines().count());
    }
}
