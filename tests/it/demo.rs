//! `hallpass demo`.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use hallpass::google::demo::{CLIENT_ID, DemoGoogle, PEOPLE};
use hallpass::google::{Expected, Identity, Rejection, VerifiedBy};

use crate::program::{hallpass, run};
use crate::test_app::{HOUR, NOW};

pub struct Demo {
    child: Child,
    pub origin: String,
}

impl Demo {
    pub fn start() -> Demo {
        Demo::start_with(&[])
    }

    fn start_with(flags: &[&str]) -> Demo {
        let mut child = hallpass(&["demo", "--listen", "127.0.0.1:0", "--signin-burst", "0"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.map_while(Result::ok).find(|line| line.contains("http://")).unwrap();
        let origin = address.trim().strip_suffix("/auth/signin").unwrap().to_owned();
        Demo { child, origin }
    }

    fn curl(&self, line: &str) -> String {
        let output =
            Command::new("sh").args(["-c", &format!("{line} -s -i -m 10")]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// A token of one of the demo's people.
    pub fn token(&self, person: usize) -> String {
        let page = self.curl(&format!("curl {}/auth/signin", self.origin));
        tokens(&page)[person].to_owned()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tokens(page: &str) -> Vec<&str> {
    page.split("name=\"credential\" value=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect()
}

fn unescape(html: &str) -> String {
    html.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

#[test]
fn the_commands_on_the_page_work_when_pasted() {
    let demo = Demo::start();
    let page = demo.curl(&format!("curl {}/auth/signin -H 'Accept: text/html'", demo.origin));
    assert!(page.contains("This is a demonstration."));
    assert_eq!(page.matches(">admin<").count(), 1);
    let lines: Vec<String> = page
        .split("<pre")
        .skip(1)
        .map(|rest| rest.split_once('>').unwrap().1.split("</pre>").next().unwrap())
        .map(unescape)
        .collect();
    assert_eq!(lines.len(), 2);
    let copied: Vec<String> = page
        .split("data-copy=\"")
        .skip(1)
        .map(|rest| unescape(rest.split('"').next().unwrap()))
        .collect();
    let token = lines[0].split(['=', ' ']).nth(3).unwrap();
    assert_eq!(copied, [token, &lines[0], &lines[1]]);
    for line in &lines {
        let answer = demo.curl(line);
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("mira@example.com"),
            "{line}: {answer}"
        );
    }
    let mira = lines[1].replace("/auth/me", "/auth/admin");
    assert!(demo.curl(&mira).starts_with("HTTP/1.1 200"));
    for target in ["/auth/account", "/nowhere"] {
        let page = demo.curl(&format!("curl -L {}{target} -H 'Accept: text/html'", demo.origin));
        assert!(page.contains("This is a demonstration."), "{target}");
    }
}

#[test]
fn everybody_on_the_page_can_be_chosen() {
    let demo = Demo::start();
    let page = demo.curl(&format!("curl {}/auth/signin", demo.origin));
    let csrf_token = page.split("g_csrf_token=").nth(1).unwrap().split(';').next().unwrap();
    let tokens = tokens(&page);
    assert_eq!(tokens.len(), PEOPLE.len());
    for (number, token) in tokens.iter().enumerate() {
        let answer = demo.curl(&format!(
            "curl {}/auth/signin -b g_csrf_token={csrf_token} -d g_csrf_token={csrf_token} -d credential={token}",
            demo.origin
        ));
        let outsider = number == PEOPLE.len() - 1;
        assert!(
            answer.starts_with(if outsider { "HTTP/1.1 403" } else { "HTTP/1.1 303" }),
            "{answer}"
        );
    }
    let altered =
        demo.curl(&format!("curl {}/auth/signin -d id_token={}x", demo.origin, tokens[0]));
    assert!(altered.starts_with("HTTP/1.1 401"), "{altered}");
}

#[test]
fn its_temporary_database_has_a_past() {
    let ask = |demo: &Demo, path: &str| {
        let signin = format!("curl {}/auth/signin -d id_token={}", demo.origin, demo.token(0));
        let answer = demo.curl(&signin);
        let session = answer.split("\"token\":\"").nth(1).unwrap().split('"').next().unwrap();
        demo.curl(&format!("curl {}{path} -H 'Authorization: Bearer {session}'", demo.origin))
    };
    let demo = Demo::start();
    let users = ask(&demo, "/auth/admin/users");
    for name in ["ingrid@example.com", "Sørensen", "田中", "grace.amadi@gmail.com"] {
        assert!(users.contains(name), "{name} is missing: {users}");
    }
    assert!(!users.contains("robin.vale@gmail.com"), "{users}");
    assert_eq!(users.matches("blocked").count(), 1, "{users}");
    let overview = ask(&demo, "/auth/admin");
    assert!(overview.contains("robin.vale@gmail.com"), "{overview}");

    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("demo.db");
    let demo = Demo::start_with(&["--database", database.to_str().unwrap()]);
    let users = ask(&demo, "/auth/admin/users");
    assert!(users.contains("mira@example.com") && !users.contains("ingrid"), "{users}");
}

#[test]
fn its_help_has_its_own_defaults() {
    let help = String::from_utf8(run(&["demo", "--help"]).stdout).unwrap();
    assert!(help.contains("(temporary)") && !help.contains("hallpass.db"), "{help}");
    assert!(!help.contains("required") && !help.contains("--tokeninfo-url"), "{help}");
}

#[test]
fn it_listens_on_loopback_only() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let output = run(&["demo", "--listen", address]);
        assert!(!output.status.success());
        assert!(String::from_utf8(output.stderr).unwrap().contains("loopback"), "{address}");
    }
}

#[test]
fn every_other_listener_must_be_loopback_too() {
    let refused = |stdin: Stdio, line: &str| {
        // It would run forever if it started.
        let output = Command::new("timeout")
            .args(["20", "sh", "-c", line, env!("CARGO_BIN_EXE_hallpass")])
            .stdin(stdin)
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}: {error}");
        assert!(error.contains("loopback") && output.stdout.is_empty(), "{line}: {error}");
    };
    for flag in ["--metrics-listen", "--http-redirect"] {
        refused(Stdio::null(), &format!("exec \"$0\" demo --listen 127.0.0.1:0 {flag} 0.0.0.0:0"));
    }
    // Like systemd, which passes the socket as descriptor 3.
    let socket = TcpListener::bind("0.0.0.0:0").unwrap();
    let line =
        "exec 3<&0; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" demo --listen 127.0.0.1:0";
    refused(OwnedFd::from(socket).into(), line);
}

#[test]
fn expired_altered_and_foreign_tokens_are_refused() {
    let google = DemoGoogle::start();
    let token = google.issue(&PEOPLE[0], NOW);
    let ask = |token: &str, now| google.tokeninfo(&format!("id_token={token}"), now);
    let (status, document) = ask(token.expose(), NOW + HOUR - 1);
    assert_eq!(status, 200);
    assert!(
        document.contains(&format!("\"exp\":\"{}\"", NOW + HOUR)),
        "every value is a string: {document}"
    );
    let judge = |audience: &str| {
        let audiences = [audience.to_owned()];
        let expected = Expected { audiences: &audiences, nonce: None, now: NOW };
        Identity::verify(document.as_bytes(), VerifiedBy::Tokeninfo, &expected)
    };
    let identity = judge(CLIENT_ID).unwrap();
    assert_eq!(
        (identity.claims().profile.subject.as_str(), identity.claims().profile.email_authoritative),
        (PEOPLE[0].subject, true)
    );
    assert_eq!(
        judge("other").err(),
        Some(Rejection::Invalid(
            "the token was issued for another app (its aud is not a client ID of this server)"
        ))
    );

    assert_eq!(ask(token.expose(), NOW + HOUR).0, 400);
    assert_eq!(ask(DemoGoogle::start().issue(&PEOPLE[0], NOW).expose(), NOW).0, 400);
    assert_eq!(google.tokeninfo("", NOW).0, 400);
    for position in [0, token.expose().len() / 2, token.expose().len() - 2] {
        let mut altered = token.expose().to_owned().into_bytes();
        altered[position] = if altered[position] == b'A' { b'B' } else { b'A' };
        assert_eq!(ask(&String::from_utf8(altered).unwrap(), NOW).0, 400, "{position}");
    }
}
