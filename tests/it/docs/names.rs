//! Flags, variables, endpoints, metrics, files and links.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::document::{Document, document, documents, root, target};
use super::{arguments, words};
use crate::program::{Program, token};
use crate::test_app::{TestApp, request};

/// Flags of other programs that the documents show.
const OTHERS_FLAGS: [&str; 17] = [
    "--path",
    "--release",
    "--locked",
    "--data-urlencode",
    "--fail",
    "--retry",
    "--file",
    "--detach",
    "--wait",
    "--now",
    "--test",
    "--web",
    "--init",
    "--plugins-dir",
    "--metadata",
    "--features",
    "--lib",
];
/// The beginnings of paths in the repository. Those of modules leave out `src/`.
const FOLDERS: [&str; 11] = [
    "src/", "tests/", "docs/", "deploy/", "benches/", ".ci/", ".github/", "google/", "store/",
    "web/", "admin/",
];

const PATIENCE: Duration = Duration::from_secs(10);

#[track_caller]
fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The text of a document, without the names of other programs: the first column of the tables in
/// docs/migrate.md.
fn own_text(document: &Document) -> String {
    if document.name != "docs/migrate.md" {
        return document.text.clone();
    }
    let lines = document.text.lines().map(|line| match line.strip_prefix("| ") {
        Some(row) => row.split_once(" | ").map_or("", |(_, ours)| ours),
        None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_flag_exists() {
    let known = arguments();
    let exists = |flag: &str| {
        OTHERS_FLAGS.contains(&flag)
            || known.iter().any(|argument| {
                let aliases = argument.get_all_aliases().unwrap_or_default();
                argument
                    .get_long()
                    .into_iter()
                    .chain(aliases)
                    .any(|long| flag.strip_prefix("--") == Some(long))
            })
    };
    let mut wrong = Vec::new();
    for document in documents() {
        let text = own_text(&document);
        let flags = words(&text, "--", |c| c.is_ascii_lowercase() || c == '-');
        let flags = flags.filter(|flag| !flag.starts_with("---"));
        wrong.extend(
            flags.filter(|flag| !exists(flag)).map(|flag| format!("{}: {flag}", document.name)),
        );
    }
    none(&wrong);
}

#[test]
fn every_variable_exists() {
    fn files(folder: &Path, found: &mut Vec<(String, String)>) {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                files(&path, found);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push((path.display().to_string(), text));
            }
        }
    }
    let known: Vec<_> = arguments()
        .iter()
        .filter_map(|argument| argument.get_env().map(ToOwned::to_owned))
        .collect();
    let mut texts: Vec<(String, String)> =
        documents().into_iter().map(|d| (d.name, d.text)).collect();
    files(&root().join("deploy"), &mut texts);
    let mut wrong = Vec::new();
    for (name, text) in &texts {
        let variables = words(text, "HALLPASS_", |c| c.is_ascii_uppercase() || c == '_');
        let unknown = variables.filter(|variable| !known.iter().any(|known| known == variable));
        wrong.extend(unknown.map(|variable| format!("{name}: {variable}")));
    }
    none(&wrong);
}

#[test]
fn every_endpoint_exists() {
    let test = TestApp::with(&[
        "--allow-anyone",
        "--admin-email",
        "ada@example.com",
        "--google-events",
        "--assertion",
    ]);
    let status = |method: &str, path: &str| {
        let mut request = request(method, path);
        request.peer = Some([127, 0, 0, 1].into());
        test.send(request).status
    };
    let mut wrong = Vec::new();
    for document in documents() {
        let text = own_text(&document);
        for (at, _) in
            ["/auth/", "/healthz", "/readyz", "/metrics"].iter().flat_map(|p| text.match_indices(p))
        {
            let rest = &text[at..];
            let length = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && !"/-_.".contains(c))
                .unwrap_or(rest.len());
            let path = rest[..length].trim_end_matches(['.', '/']);
            let is_googles = text[..at].ends_with(".google.com");
            if path != "/auth" && !is_googles && status("GET", path) == 404 {
                wrong.push(format!("{}: {path}", document.name));
            }
        }
    }
    let mut requests = 0;
    for line in document("README.md").text.lines().filter(|line| line.starts_with("| ")) {
        for method in ["GET", "POST", "DELETE"] {
            for rest in line.split(&format!("{method} `")).skip(1) {
                let path = rest.split('`').next().unwrap();
                if matches!(status(method, path), 404 | 405) {
                    wrong.push(format!("README.md: {method} {path}"));
                }
                requests += 1;
            }
        }
    }
    none(&wrong);
    assert!(requests >= 10);
}

#[test]
fn every_metric_exists() {
    let backups = tempfile::tempdir().unwrap();
    let keys = ["--verify", "fallback", "--keys-url", "http://127.0.0.1:1/certs"];
    let keeping =
        ["--backup-dir", backups.path().to_str().unwrap(), "--event-url", "http://[::1]:1"];
    let program = Program::serve(&[&keys[..], &keeping].concat());
    program.sign_in(&token(json!({}))).unwrap();
    let start = Instant::now();
    let mut metrics = program.get("/metrics", "");
    // The first backup is made soon after the start.
    while !metrics.contains("hallpass_backup_last_success") && start.elapsed() < PATIENCE {
        metrics = program.get("/metrics", "");
    }
    let mut wrong = Vec::new();
    for document in documents() {
        // Variables of nginx are not metrics.
        let text = document.text.replace("$hallpass_", "$");
        for beginning in ["hallpass_", "process_"] {
            for name in words(&text, beginning, |c| c.is_ascii_lowercase() || c == '_') {
                if !metrics.contains(&format!("# TYPE {name} ")) {
                    wrong.push(format!("{}: {name}", document.name));
                }
            }
        }
    }
    none(&wrong);
}

#[test]
fn every_link_leads_somewhere() {
    let all = documents();
    let mut wrong = Vec::new();
    for document in &all {
        for link in document.links.iter().filter(|link| !link.starts_with("https://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path =
                if file.is_empty() { root().join(&document.name) } else { target(document, file) };
            let is_there = path.exists()
                && (anchor.is_empty()
                    || all.iter().any(|other| {
                        path.canonicalize().ok() == root().join(&other.name).canonicalize().ok()
                            && other.anchors.iter().any(|known| known == anchor)
                    }));
            if !is_there {
                wrong.push(format!("{}: {link}", document.name));
            }
        }
    }
    none(&wrong);
}

#[test]
fn every_file_is_there() {
    let is_there =
        |path: &str| root().join(path).exists() || root().join("src").join(path).exists();
    let mut wrong = Vec::new();
    for document in documents() {
        let programs = document
            .blocks
            .iter()
            .filter(|block| block.language == "sh")
            .flat_map(|block| block.lines());
        let programs = programs.map(|line| line.split(' ').next().unwrap_or_default().to_owned());
        for path in document.spans.iter().cloned().chain(programs) {
            let is_path =
                FOLDERS.iter().any(|folder| path.starts_with(folder)) && !path.contains([' ', '*']);
            if is_path && !is_there(&path) {
                wrong.push(format!("{}: {path}", document.name));
            }
        }
    }
    none(&wrong);
}
