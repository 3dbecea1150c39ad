//! Runs the documents' curl commands against the demo, and compares the answers.

use std::process::Command;

use serde_json::Value;

use super::document::{Block, documents};
use super::json::read_elided;
use crate::demo::Demo;

/// A shell with curl, a fresh token and a session.
struct Shell {
    demo: Demo,
    token: String,
    session: String,
}

impl Shell {
    fn open() -> Shell {
        let demo = Demo::start();
        let mut shell = Shell { token: demo.token(1), demo, session: String::new() };
        shell.run("curl -d id_token=$TOKEN http://localhost:8080/auth/signin");
        // Somebody who has not signed in so far.
        shell.token = shell.demo.token(0);
        shell
    }

    /// Runs a script, which must succeed, and returns its output. Later scripts use the session of
    /// a sign-in.
    #[track_caller]
    fn run(&mut self, script: &str) -> String {
        let here = script
            .replace("http://localhost:8080", &self.demo.origin)
            .replace("'eyJ...'", "$TOKEN");
        let mut command = Command::new("sh");
        command.args(["-ec", &here]).env("TOKEN", &self.token).env("SESSION", &self.session);
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{script}\n{error}");
        let printed = String::from_utf8(output.stdout).unwrap();
        let answer: Option<Value> = serde_json::from_str(&printed).ok();
        if let Some(token) = answer.as_ref().and_then(|answer| answer["session"]["token"].as_str())
        {
            token.clone_into(&mut self.session);
        }
        printed
    }
}

/// Whether both have the same fields with values of the same kind. `shown` may leave fields out if
/// it is marked as elided.
fn is_alike(shown: &Value, real: &Value, elided: bool) -> bool {
    match (shown, real) {
        (Value::Object(shown), Value::Object(real)) => {
            (elided || shown.len() == real.len())
                && shown
                    .iter()
                    .all(|(name, value)| real.get(name).is_some_and(|r| is_alike(value, r, elided)))
        }
        (Value::Number(_), Value::Number(_)) | (Value::Null, Value::Null) => true,
        (Value::String(shown), Value::String(real)) => shown.is_empty() == real.is_empty(),
        (shown, real) => shown == real,
    }
}

/// The names of the fields in the order of the text.
fn names(text: &str) -> Vec<&str> {
    let strings: Vec<&str> = text.split('"').collect();
    let is_name = |index: &usize| strings.get(index + 1).is_some_and(|rest| rest.starts_with(':'));
    (1..strings.len()).step_by(2).filter(is_name).map(|index| strings[index]).collect()
}

/// Each `$ COMMAND` of a transcript, and the output shown below it.
fn exchanges(block: &Block) -> impl Iterator<Item = (&str, &str)> {
    block.text.split("$ curl").skip(1).map(|exchange| exchange.split_once('\n').unwrap())
}

#[test]
fn transcripts_show_what_comes_back() {
    let mut shown_answers = 0;
    for document in documents() {
        let mut shell = None;
        for block in document.blocks.iter().filter(|block| block.language == "console") {
            for (arguments, shown) in exchanges(block) {
                let shell = shell.get_or_insert_with(Shell::open);
                let printed = shell.run(&format!("curl -sS{arguments}"));
                let name = &document.name;
                if shown.trim().is_empty() {
                    assert_eq!(printed, "", "{name}: curl{arguments}");
                    continue;
                }
                let mut real_names = names(&printed).into_iter();
                for field in names(shown) {
                    assert!(
                        real_names.any(|real| real == field),
                        "{name}: {field} is out of order"
                    );
                }
                let (Some(shown), elided) = read_elided(shown) else {
                    panic!("{name}: not JSON: {shown}")
                };
                let real = serde_json::from_str(&printed).unwrap();
                assert!(
                    is_alike(&shown, &real, elided),
                    "{name}: curl{arguments}\n{shown}\nis shown, and comes:\n{real}"
                );
                shown_answers += 1;
            }
        }
    }
    assert!(shown_answers >= 3);
}

/// Each line of a script may end with the status that it gets: `# 401`.
#[test]
fn scripts_with_curl_get_the_statuses_they_say() {
    let mut scripts = 0;
    for document in documents() {
        for block in document
            .blocks
            .iter()
            .filter(|block| block.language == "sh" && block.text.contains("curl "))
        {
            let said: Vec<&str> =
                block.text.lines().filter_map(|line| line.split(" # ").nth(1)?.get(..3)).collect();
            let said: Vec<&str> =
                said.into_iter().filter(|said| said.parse::<u16>().is_ok()).collect();
            let printed = Shell::open().run(&block.text);
            let got: Vec<&str> =
                printed.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3)).collect();
            assert_eq!(got, said, "{}: {}\n{printed}", document.name, block.text);
            scripts += 1;
        }
    }
    assert!(scripts >= 1);
}
