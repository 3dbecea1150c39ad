//! Command lines: all of them parse, and the operator's are run.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use clap::Parser;
use clap::error::ErrorKind;
use hallpass::cli::{self, Options};
use serde_json::json;
use tempfile::TempDir;

use super::document::{document, documents};
use crate::google::Answer;
use crate::program::{Program, hallpass, session_token, token};
use crate::test_app::CLIENT_ID;

/// Parts of a line that keep it from being run, and why. The line is still parsed.
const NOT_RUN: [(&str, &str); 11] = [
    ("sudo ", "root and systemd"),
    ("docker ", "a Docker engine"),
    ("cargo ", "it would build everything once more"),
    ("tests/run", "it runs this"),
    ("deploy/release/build", "it would build everything once more; tests/deploy does it"),
    ("deploy/release/image", "a Docker engine"),
    ("google-events ", "Google's own API"),
    ("litestream ", "another program, which tests/litestream runs"),
    ("--tls-cert /etc", "ports and files of another machine"),
    ("--backup-dir /var", "a folder of another machine"),
    ("sqlite3 ", "it may not be installed; rusqlite runs what it is given"),
];
/// How long a command runs that only ends when it is stopped.
const ENDLESS: [&str; 2] = ["hallpass serve", "--follow"];
const ENDLESS_SECONDS: &str = "1";
const STOPPED_BY_TIMEOUT: i32 = 124;

/// The arguments of every `hallpass` in a line.
fn invocations(line: &str) -> Vec<Vec<String>> {
    let line = line.replace("cargo run --release -- ", "hallpass ");
    let all = line.match_indices("hallpass ").map(|(at, name)| {
        let words = line[at + name.len()..].split_whitespace();
        let words = words.take_while(|word| !word.starts_with(['<', '>', '|', ';', '&', '#']));
        words.map(|word| word.trim_matches(['\'', '"', ';']).to_owned()).collect::<Vec<_>>()
    });
    // It is the name of a user and of a container, too.
    all.filter(|words| words.first().is_some_and(|word| word != "hallpass")).collect()
}

fn parse(words: &[String]) -> Result<(), (ErrorKind, String)> {
    let parsed = Options::try_parse_from([&["hallpass".to_owned()], words].concat());
    match parsed.map(|options| options.command) {
        Ok(cli::Command::Serve(serve)) => serve
            .settings(Some(8080))
            .map(drop)
            .map_err(|error| (ErrorKind::ValueValidation, error)),
        Ok(_) => Ok(()),
        Err(error)
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
        {
            Ok(())
        }
        Err(error) => Err((error.kind(), error.to_string())),
    }
}

/// Within a sentence, a command may be named without its arguments.
fn is_only_begun(words: &[String], kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => true,
        ErrorKind::MissingRequiredArgument => true,
        ErrorKind::InvalidValue => words.last().is_some_and(|word| word.starts_with("--")),
        _ => words == ["serve"],
    }
}

#[test]
fn every_command_line_parses() {
    let (mut wrong, mut lines) = (Vec::new(), 0);
    for document in documents() {
        for words in document
            .blocks
            .iter()
            .flat_map(|block| block.lines())
            .flat_map(|line| invocations(&line))
        {
            lines += 1;
            if let Err((_, error)) = parse(&words) {
                wrong.push(format!("{}: {words:?}: {error}", document.name));
            }
        }
        for words in document.spans.iter().flat_map(|span| invocations(span)) {
            if let Err((kind, error)) = parse(&words)
                && !is_only_begun(&words, kind)
            {
                wrong.push(format!("{}: {words:?}: {error}", document.name));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(lines >= 30, "{lines}");
}

/// A server with the people and the files that the documents mention.
struct DocsSandbox {
    program: Program,
    folder: TempDir,
}

impl DocsSandbox {
    fn open() -> DocsSandbox {
        let sandbox =
            DocsSandbox { program: Program::serve(&[]), folder: tempfile::tempdir().unwrap() };
        symlink(env!("CARGO_BIN_EXE_hallpass"), sandbox.path("hallpass")).unwrap();
        let claims = |sub, name| json!({"sub": sub, "email": format!("{name}@example.com"), "hd": "example.com"});
        for (sub, name) in [("1", "ada"), ("2", "eve"), ("3", "old"), ("4", "mira"), ("5", "jonas")]
        {
            session_token(&sandbox.program.sign_in(&token(claims(sub, name))).unwrap());
        }
        let sql = "UPDATE sessions SET id = 'fU8PGZJz1TYiiB_3' WHERE sub = '1'";
        rusqlite::Connection::open(sandbox.program.database()).unwrap().execute_batch(sql).unwrap();
        fs::write(sandbox.path("token"), token(claims("1", "ada"))).unwrap();
        let mut with_nonce = claims("1", "ada");
        with_nonce["nonce"] = "n-0S6".into();
        fs::write(sandbox.path("token_with_nonce"), token(with_nonce)).unwrap();
        sandbox
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, line: &str) -> Output {
        let is_endless = ENDLESS.iter().any(|endless| line.contains(endless));
        let mut command = Command::new(if is_endless { "timeout" } else { "sh" });
        if is_endless {
            command.args(["--signal=INT", ENDLESS_SECONDS, "sh"]);
        }
        // Removes the variables that the program must not find in its environment.
        for (name, _) in hallpass(&[]).get_envs().filter(|(_, value)| value.is_none()) {
            command.env_remove(name);
        }
        if !line.contains("hallpass serve") {
            command.env("HALLPASS_CLIENT_ID", CLIENT_ID).env("HALLPASS_ALLOW_ANYONE", "true");
            command.env("HALLPASS_LISTEN", self.program.address.to_string());
            command.env("HALLPASS_DATABASE", self.program.database());
        } else {
            command.env("HALLPASS_LISTEN", "127.0.0.1:0");
        }
        // Google refuses doctor's token and accepts all others.
        let refused = Answer::Status(400, "", b"{}".to_vec());
        self.program.google.always(if line.contains("doctor") { refused } else { Answer::Claims });
        let path = format!("{}:{}", self.folder.path().display(), env::var("PATH").unwrap());
        command
            .args(["-ec", line])
            .current_dir(&self.folder)
            .env("PATH", path)
            .env("NONCE", "n-0S6");
        command.env("HALLPASS_TOKENINFO_URL", self.program.google.url());
        command.env("HALLPASS_HEALTH_URL", format!("http://{}/healthz", self.program.address));
        command.stdin(Stdio::null()).output().unwrap()
    }
}

#[track_caller]
fn works(name: &str) {
    let (document, sandbox) = (document(name), DocsSandbox::open());
    let mut run = 0;
    let blocks = document
        .blocks
        .iter()
        .filter(|block| block.language == "sh" && !block.text.contains("curl"));
    for line in blocks.flat_map(|block| block.lines()) {
        if line.starts_with("sqlite3 ") {
            let database = rusqlite::Connection::open(sandbox.program.database()).unwrap();
            let mut sql = database.prepare(line.split('"').nth(1).unwrap()).unwrap();
            assert!(sql.exists([]).unwrap(), "{line}");
        }
        if NOT_RUN.iter().any(|(part, _)| line.contains(part)) {
            continue;
        }
        let output = sandbox.run(&line);
        let is_endless = output.status.code() == Some(STOPPED_BY_TIMEOUT)
            && ENDLESS.iter().any(|e| line.contains(e));
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (printed, error) = (said(&output.stdout), said(&output.stderr));
        assert!(
            output.status.success() || is_endless,
            "{line}\n{:?}\n{printed}{error}",
            output.status
        );
        if line.starts_with("hallpass serve") {
            assert!(error.contains("listening on "), "{line}\n{error}");
        }
        run += 1;
    }
    assert!(run >= 10, "{run}");
}

#[test]
fn the_readmes_commands_work_in_their_order() {
    works("README.md");
}

#[test]
fn the_operators_commands_work_in_their_order() {
    works("docs/operate.md");
}
