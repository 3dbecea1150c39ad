//! `hallpass doctor`.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use hallpass::clock;
use hallpass::entry::Entry;
use hallpass::store::{Actor, Store};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use tempfile::TempDir;

use super::{ada, error};
use crate::google::{Answer, Google};
use crate::program::{Program, hallpass};
use crate::signing::{FIRST, SECOND, jwk_set};
use crate::test_app::CLIENT_ID;

/// Good settings, with a stand-in for Google and without a server.
struct DoctorTest {
    google: Google,
    folder: TempDir,
}

/// The verdict of each check, and its detail and advice.
type Findings = BTreeMap<String, (String, String)>;

impl DoctorTest {
    fn open() -> DoctorTest {
        let doctor = DoctorTest { google: Google::start(), folder: tempfile::tempdir().unwrap() };
        doctor.set_clock(0);
        doctor
    }

    /// Google refuses every token, with this time in its response.
    fn set_clock(&self, seconds_ahead: i64) {
        self.google.always(Answer::Status(400, date(seconds_ahead).leak(), b"{}".to_vec()));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command = hallpass(&["doctor", "--client-id", CLIENT_ID]);
        command.env("HALLPASS_TOKENINFO_URL", self.google.url());
        command
            .env("HALLPASS_DATABASE", self.path("hallpass.db"))
            .env("HALLPASS_LISTEN", "127.0.0.1:1")
            .args(flags);
        command
    }

    #[track_caller]
    fn findings(&self, flags: &[&str]) -> Findings {
        read(&self.command(&[&["--json"], flags].concat()).output().unwrap())
    }

    /// With an allowed domain, this check has this verdict and this text.
    #[track_caller]
    fn says(&self, flags: &[&str], check: &str, verdict: &str, text: &str) {
        let findings = self.findings(&[&["--allow-domain", "example.com"], flags].concat());
        let (found, said) =
            findings.get(check).unwrap_or_else(|| panic!("no {check} in {findings:?}"));
        assert_eq!(found, verdict, "{flags:?}: {said}");
        assert!(said.contains(text), "{said}");
    }
}

/// The Date header of a server whose clock is ahead of ours.
fn date(seconds_ahead: i64) -> String {
    let time = Timestamp::from_second(clock::now() + seconds_ahead).unwrap();
    format!("Date: {}\r\n", DateTimePrinter::new().timestamp_to_rfc9110_string(&time).unwrap())
}

/// Reads the findings, and checks that the exit code agrees with the verdicts.
#[track_caller]
fn read(output: &Output) -> Findings {
    let array: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", error(output)));
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let said =
        |finding: &Value| format!("{}; {}", text(finding, "detail"), text(finding, "advice"));
    let one = |finding: &Value| (text(finding, "check"), (text(finding, "verdict"), said(finding)));
    let findings: Findings = array.as_array().unwrap().iter().map(one).collect();
    for (check, (verdict, said)) in &findings {
        assert!(verdict == "ok" || !said.ends_with("; "), "{check} has no advice: {said}");
    }
    let failed = findings.values().any(|(verdict, _)| verdict == "failure");
    assert_eq!(output.status.code(), Some(failed.into()), "{findings:?}");
    assert_eq!(error(output).contains("failed"), failed);
    findings
}

fn not_ok(findings: &Findings) -> Vec<&str> {
    findings
        .iter()
        .filter(|(_, (verdict, _))| verdict != "ok")
        .map(|(check, _)| check.as_str())
        .collect()
}

/// The flags of the running server.
fn beside(program: &Program) -> [String; 8] {
    let (address, database) = (program.address.to_string(), program.database());
    let (url, database) = (format!("http://{address}"), database.to_str().unwrap());
    let flags = [
        "--listen",
        &address,
        "--public-url",
        &url,
        "--database",
        database,
        "--allow-email",
        "ada@gmail.com",
    ];
    flags.map(str::to_owned)
}

#[test]
fn every_check_passes_beside_a_running_server() {
    let (doctor, program) = (DoctorTest::open(), Program::serve(&[]));
    program.session_of(ada());
    let files = || {
        ["hallpass.db", "hallpass.db-wal"]
            .map(|name| fs::read(program.folder.path().join(name)).unwrap())
    };
    let before = files();
    let flags = beside(&program);
    let flags = flags.each_ref().map(String::as_str);
    let findings = doctor.findings(&flags);
    assert_eq!(not_ok(&findings), [""; 0], "{findings:?}");
    assert!(findings["server"].1.contains("one runs at"), "{findings:?}");
    assert!(findings["reach"].1.contains("leads to this server"), "{findings:?}");
    assert!(files() == before);
    let names_instance = |target| program.get(target, "").contains("\r\nX-Hallpass-Instance: ");
    assert!(names_instance("/auth/me") && !names_instance("/auth/check"));

    let output = doctor.command(&flags).output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success() && text.lines().count() == findings.len(), "{text}");
    assert!(
        text.lines().all(|line| line.split('\t').count() == 3 && line.starts_with("ok\t")),
        "{text}"
    );
}

#[test]
fn without_a_server_doctor_says_so_and_creates_no_database() {
    let doctor = DoctorTest::open();
    let findings = doctor.findings(&["--allow-domain", "example.com"]);
    assert_eq!(not_ok(&findings), ["reach", "server"]);
    assert!(findings["server"].1.contains("none runs at 127.0.0.1:1"));
    assert!(findings["database"].1.contains("there is none at"));
    assert_eq!(fs::read_dir(doctor.folder.path()).unwrap().count(), 0);
}

#[test]
fn client_ids() {
    let doctor = DoctorTest::open();
    let googles =
        |ids: &str, verdict, text| doctor.says(&["--client-id", ids], "client-id", verdict, text);
    googles(
        "123-a1.apps.googleusercontent.com,123.apps.googleusercontent.com",
        "ok",
        "123-a1.apps",
    );
    googles("web", "warning", "web does not look like Google's");
    for odd in [
        "a.apps.googleusercontent.com",
        "1-.apps.googleusercontent.com",
        "1-A.apps.googleusercontent.com",
    ] {
        googles(odd, "warning", odd);
    }
    let output = hallpass(&[
        "doctor",
        "--client-id",
        "GOCSPX-hush",
        "--tokeninfo-url",
        &doctor.google.url(),
    ])
    .env("HALLPASS_DATABASE", doctor.path("none"))
    .output()
    .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("failure\tclient-id\ta client secret") && !text.contains("hush"),
        "{text}"
    );
    let output = hallpass(&["doctor", "--tokeninfo-url", &doctor.google.url()]).output().unwrap();
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .starts_with("failure\tclient-id\tthere is no client ID")
    );
}

#[test]
fn who_may_sign_in() {
    let doctor = DoctorTest::open();
    let who = |flags: &[&str]| doctor.findings(flags)["who-may-sign-in"].clone();
    assert_eq!(who(&[]).0, "failure");
    assert_eq!(who(&["--allow-anyone"]).0, "warning");
    for domain in ["gmail.com", "googlemail.com", "outlook.com"] {
        assert_eq!(who(&["--allow-domain", domain]).0, "failure", "{domain}");
    }
    assert_eq!(
        who(&["--allow-email", "ada@gmail.com"]),
        ("ok".to_owned(), "ada@gmail.com; ".to_owned())
    );
    let says = |flags: &[&str], verdict: &str, text: &str| {
        let (found, said) = who(flags);
        assert_eq!(found, verdict, "{said}");
        assert!(said.contains(text), "{said}");
    };
    let email = |email, verdict, text| says(&["--allow-email", email], verdict, text);
    email("ada.l@gmail.com", "ok", "ada.l@gmail.com (if Google writes it with these dots)");
    email("ada@example.com", "ok", "ada@example.com (as a Workspace account)");
    email("ada@GoogleMail.com", "warning", "such as ada@gmail.com");
    email("ada+home@gmail.com", "warning", "write ada@gmail.com");
    email("bob@gmail", "warning", "write the whole address, such as bob@gmail.com");
    email("bob@outlook.com", "warning", "for gmail.com addresses and Workspace accounts only");
    says(&["--allow-domain", "example"], "warning", "such as example.com");
    says(&["--allow-domain", "Co.UK"], "failure", "it is a public suffix");
    says(&["--allow-domain", "example.co.uk"], "ok", "");
    says(&["--admin-email", "ada@gmail.com"], "ok", "ada@gmail.com");
    says(&["--admin-email", "4711"], "ok", "4711");
    says(&["--admin-email", "eve@outlook.com"], "warning", "eve@outlook.com lets in nobody");
    let list = ["--allow-email", "Bob@gmail.com", "--admin-email", "bob@gmail.com"];
    assert_eq!(who(&list), ("ok".to_owned(), "Bob@gmail.com; ".to_owned()));

    let database = Store::open(&doctor.path("hallpass.db")).unwrap();
    let add = |entry| database.allow(entry, None, Actor::operator(), 1).unwrap().0.id;
    let first = add(Entry::domain("example.com").unwrap());
    says(&[], "ok", "1 entry in the database");
    let odd = add(Entry::account("eve@outlook.com").unwrap());
    says(&[], "warning", "the entry eve@outlook.com in the database lets in nobody");
    for id in [first, odd] {
        database.disallow(id, Actor::operator(), 1).unwrap();
    }
    says(&[], "failure", "say whom to let in");
}

#[test]
fn public_url_cookie_origins_and_proxies() {
    let doctor = DoctorTest::open();
    let url = |url, verdict, text| doctor.says(&["--public-url", url], "public-url", verdict, text);
    url(
        "https://auth.example.invalid",
        "ok",
        "https://auth.example.invalid is the JavaScript origin and https://auth.example.invalid/auth/signin is the redirect URI",
    );
    url("http://localhost:1", "ok", "");
    url("http://127.0.0.1:1", "ok", "");
    url("http://auth.example.invalid", "warning", "cookies cannot be Secure");
    url("https://192.0.2.1", "warning", "address without a name");
    url("https://auth.example.invalid/path", "failure", "scheme, host and port");
    let listen =
        |address, verdict, text| doctor.says(&["--listen", address], "public-url", verdict, text);
    listen("127.0.0.1:1", "ok", "http://localhost:1");
    listen("localhost:1,[::1]:2", "ok", "http://localhost:1");
    listen("0.0.0.0:1", "warning", "--listen 0.0.0.0:1 is for others too");
    listen("127.0.0.1:1,[::]:1", "warning", "--listen [::]:1 is for others too");
    listen("127.0.0.1:0", "warning", "the port that is chosen at the start");
    listen("unix:/none", "failure", "cannot be derived from a Unix socket");
    let open = ["--listen", "0.0.0.0:1", "--public-url", "https://auth.example.invalid"];
    doctor.says(&open, "public-url", "ok", "");
    let https = ["--public-url", "https://auth.example.invalid"];
    let more = |flags: &[&str], check, verdict, text| {
        doctor.says(&[&https, flags].concat(), check, verdict, text)
    };
    more(&[], "cookie", "ok", "Secure, for auth.example.invalid only");
    more(&["--cookie-domain", "example.invalid"], "cookie", "ok", "and its subdomains");
    more(
        &["--cookie-domain", "example.net"],
        "cookie",
        "failure",
        "must be the host of --public-url, which is auth.example.invalid, or a parent",
    );
    doctor.says(
        &["--public-url", "https://a.example.co.uk", "--cookie-domain", "co.uk"],
        "cookie",
        "failure",
        "such as example.co.uk",
    );
    doctor.says(
        &["--public-url", "https://a.co.uk", "--allow-origin", "https://b.co.uk"],
        "allow-origin",
        "warning",
        "another site",
    );
    more(
        &["--allow-origin", "https://app.example.invalid:8443"],
        "allow-origin",
        "ok",
        "app.example.invalid",
    );
    more(&["--allow-origin", "https://app.example.net"], "allow-origin", "warning", "another site");
    more(
        &["--allow-origin", "http://app.example.invalid"],
        "allow-origin",
        "warning",
        "another site",
    );
    more(&["--allow-origin", "app"], "allow-origin", "failure", "takes an origin");
    more(&["--trusted-proxy", "192.0.2.0/24"], "trusted-proxy", "ok", "192.0.2.0/24");
    more(&["--trusted-proxy", "0.0.0.0/0"], "trusted-proxy", "warning", "everybody is trusted");
    more(&["--trusted-proxy", "proxy"], "trusted-proxy", "failure", "an address, a network");
    more(
        &["--trusted-proxy", "::1", "--listen", "unix:/none"],
        "trusted-proxy",
        "warning",
        "Unix socket",
    );
    more(
        &["--site-logo", "/none.svg"],
        "settings",
        "failure",
        "--site-logo /none.svg cannot be read",
    );
}

#[test]
fn the_url_for_events_is_checked_and_only_its_host_is_shown() {
    let doctor = DoctorTest::open();
    for (url, verdict, text) in [
        ("https://chat.example.com/secret", "ok", "events are posted to chat.example.com"),
        ("http://127.0.0.1:1/secret", "ok", "events are posted to 127.0.0.1"),
        ("http://chat.example.com/secret", "warning", "chat.example.com is called over plain http"),
        ("chat.example.com/secret", "failure", "--event-url takes a URL such as"),
    ] {
        doctor.says(&["--event-url", url], "event-url", verdict, text);
        let output = doctor.command(&["--event-url", url]).output().unwrap();
        assert!(!String::from_utf8(output.stdout).unwrap().contains("secret"));
    }
}

#[test]
fn the_database_and_its_disk() {
    let doctor = DoctorTest::open();
    let program = Program::serve(&[]);
    program.session_of(ada());
    program.printed(&["backup", doctor.path("hallpass.db").to_str().unwrap()]);
    doctor.says(&[], "database", "ok", "is sound (1 MiB)");
    doctor.says(&[], "file-mode", "ok", "0600");
    doctor.says(&[], "disk", "ok", "left");
    fs::set_permissions(doctor.path("hallpass.db"), Permissions::from_mode(0o644)).unwrap();
    doctor.says(&[], "file-mode", "warning", "chmod 600");

    let at = |path: &Path, text| {
        doctor.says(&["--database", path.to_str().unwrap()], "database", "failure", text)
    };
    at(Path::new("/no/such/folder/hallpass.db"), "its folder does not exist");
    fs::write(
        doctor.path("text"),
        "no database at all, but a text of some length that begins with no magic",
    )
    .unwrap();
    at(&doctor.path("text"), "is not Hallpass's");
    let mut bytes = fs::read(doctor.path("hallpass.db")).unwrap();
    let last = bytes.len() - 4096;
    bytes[last..].fill(0xa5);
    fs::write(doctor.path("damaged"), &bytes).unwrap();
    at(&doctor.path("damaged"), "damaged");
    assert!(fs::read(doctor.path("damaged")).unwrap() == bytes, "nothing is changed");
}

#[test]
fn google_and_the_clock() {
    let doctor = DoctorTest::open();
    doctor.says(&[], "tokeninfo", "ok", "refused a bad token, as it should");
    assert_eq!(doctor.google.calls(), ["/tokeninfo?id_token=hallpass.doctor.asks"]);
    for (ahead, verdict, text) in [
        (-3700, "failure", "seem to have expired"),
        (-60, "warning", "ahead of Google's"),
        (-5, "ok", "within"),
        (5, "ok", "within"),
        (60, "warning", "behind Google's"),
        (310, "failure", "tokens seem to be from the future"),
    ] {
        doctor.set_clock(ahead);
        doctor.says(&[], "clock", verdict, text);
    }
    doctor.google.always(Answer::Status(400, "", Vec::new()));
    doctor.says(&[], "clock", "warning", "sent no time");
    doctor.google.always(Answer::Claims);
    doctor.says(&[], "tokeninfo", "failure", "accepts a bad token");
    doctor.google.always(Answer::Status(503, "", Vec::new()));
    doctor.says(&[], "tokeninfo", "failure", "answered with status 503");
    doctor.google.always(Answer::Hang);
    let start = Instant::now();
    doctor.says(&["--tokeninfo-timeout", "1s"], "tokeninfo", "failure", "took too long");
    assert!(start.elapsed() < Duration::from_secs(5));
    let elsewhere = ["--tokeninfo-url", "https://tokeninfo.invalid/"];
    doctor.says(&elsewhere, "tokeninfo-url", "warning", "is not Google's");
    let plain = ["--tokeninfo-url", "http://tokeninfo.invalid/"];
    doctor.says(&plain, "tokeninfo-url", "warning", "anybody on the network path");
    let unused = doctor.findings(&[&plain[..], &["--verify", "keys"]].concat());
    assert!(!unused.contains_key("tokeninfo-url"), "{unused:?}");
}

#[test]
fn the_keys_are_checked_if_they_are_used() {
    let (doctor, certs) = (DoctorTest::open(), Google::start());
    let url = certs.url();
    let publish = |seconds_ahead| {
        let headers = format!("Cache-Control: max-age=7200\r\n{}", date(seconds_ahead));
        let keys = jwk_set(&[SECOND.jwk(), FIRST.jwk()]);
        certs.always(Answer::Status(200, headers.leak(), keys.into_bytes()));
    };
    let away = |google: &Google| google.always(Answer::Status(503, "", Vec::new()));
    let says = |way, check, verdict, text| {
        doctor.says(&["--verify", way, "--keys-url", &url], check, verdict, text);
    };
    let checks = |way| {
        doctor.findings(&["--allow-domain", "example.com", "--verify", way, "--keys-url", &url])
    };

    // Ahead by less than the tolerance, so a slow machine does not make the response old.
    publish(5);
    assert!(!checks("tokeninfo").contains_key("keys") && certs.calls().is_empty());
    let asked = doctor.google.calls().len();
    away(&doctor.google);
    let findings = checks("keys");
    assert_eq!(not_ok(&findings), ["reach", "server"], "{findings:?}");
    assert!(!findings.contains_key("tokeninfo") && doctor.google.calls().len() == asked);
    says("keys", "keys", "ok", "2 for 2h: first (2048 bits), second (2048 bits)");
    says("keys", "clock", "ok", "within");
    publish(60);
    says("keys", "clock", "warning", "behind Google's");

    says("fallback", "tokeninfo", "warning", "until then Google's keys are used");
    says("fallback", "clock", "warning", "behind Google's");
    doctor.set_clock(0);
    let findings = checks("fallback");
    assert_eq!(not_ok(&findings), ["reach", "server"], "{findings:?}");
    assert!(["keys", "tokeninfo"].iter().all(|check| findings.contains_key(*check)));

    away(&certs);
    says("keys", "keys", "failure", "the key endpoint answered with status 503");
    says("keys", "clock", "warning", "sent no time");
    says("fallback", "keys", "warning", "the key endpoint answered with status 503");
    says("fallback", "tokeninfo", "ok", "refused a bad token");
    says("fallback", "clock", "ok", "within");
    away(&doctor.google);
    says("fallback", "tokeninfo", "failure", "until then nobody can sign in");
    certs.always(Answer::Hang);
    let start = Instant::now();
    doctor.says(
        &["--verify", "keys", "--keys-url", &url, "--tokeninfo-timeout", "1s"],
        "keys",
        "failure",
        "took too long",
    );
    assert!(start.elapsed() < Duration::from_secs(5));
    let elsewhere = ["--verify", "keys", "--keys-url", "https://keys.invalid/"];
    doctor.says(&elsewhere, "keys-url", "warning", "is not Google's");
    let plain = ["--verify", "keys", "--keys-url", "http://keys.invalid/"];
    doctor.says(&plain, "keys-url", "warning", "anybody on the network path");
    doctor.says(
        &["--keys-url", "ftp://keys.invalid/"],
        "google-url",
        "failure",
        "--keys-url takes",
    );
}

#[test]
fn proxies_are_named_without_their_password() {
    let proxied = |variables: &[(&str, &str)]| {
        let arguments = [
            "doctor",
            "--json",
            "--client-id",
            CLIENT_ID,
            "--allow-anyone",
            "--tokeninfo-timeout",
            "1s",
        ];
        let mut command = hallpass(&arguments);
        command.args(["--tokeninfo-url", "https://127.0.0.1:1/"]).envs(variables.iter().copied());
        let output = command.output().unwrap();
        assert!(!String::from_utf8(output.stdout.clone()).unwrap().contains("hush"));
        read(&output)["proxy"].clone()
    };
    assert_eq!(proxied(&[]).1, "none: Google is called directly; ");
    let proxy = ("HTTPS_PROXY", "http://me:hush@localhost:9");
    let through = "Google is called through localhost:9 (HTTPS_PROXY); ";
    assert_eq!(proxied(&[proxy]), ("ok".to_owned(), through.to_owned()));
    let keys = [("HALLPASS_VERIFY", "keys"), ("HALLPASS_KEYS_URL", "http://127.0.0.1:1/")];
    assert_eq!(
        proxied(&[proxy, keys[0], keys[1]]).1,
        "none: it is not used for http (HTTPS_PROXY); "
    );
    let (verdict, said) = proxied(&[proxy, ("NO_PROXY", "127.0.0.1")]);
    assert_eq!(verdict, "warning");
    assert!(
        said.starts_with(
            "Google is called directly, though the environment has HTTPS_PROXY, NO_PROXY"
        ),
        "{said}"
    );
}

#[test]
fn the_folder_of_backups() {
    let doctor = DoctorTest::open();
    let folder = doctor.folder.path().to_str().unwrap();
    assert!(!doctor.findings(&["--allow-domain", "example.com"]).contains_key("backup-dir"));
    doctor.says(&["--backup-dir", folder], "backup-dir", "ok", folder);
    let none = format!("{folder}/none");
    doctor.says(&["--backup-dir", &none], "backup-dir", "failure", "there is no folder at");
}

#[test]
fn descriptors_are_counted() {
    let doctor = DoctorTest::open();
    let line = format!(
        "ulimit -n 1000 && exec {} doctor --json --client-id {CLIENT_ID} --allow-anyone --tokeninfo-url {} --database {}",
        env!("CARGO_BIN_EXE_hallpass"),
        doctor.google.url(),
        doctor.path("none").display()
    );
    let findings = read(&Command::new("sh").args(["-c", &line]).output().unwrap());
    let (verdict, said) = &findings["descriptors"];
    assert!(verdict == "warning" && said.contains("the limit of 1000 has room for"), "{said}");
}

#[test]
fn certificates() {
    let doctor = DoctorTest::open();
    let key = KeyPair::generate().unwrap();
    fs::write(doctor.path("key"), key.serialize_pem()).unwrap();
    fs::write(doctor.path("other-key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let check = |host: &str, days: [i64; 2], key_file: &str, verdict, text| {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let day = |days: i64| {
            let date = Timestamp::from_second(clock::now() + days * 86_400)
                .unwrap()
                .strftime("%Y-%-m-%-d")
                .to_string();
            let parts: Vec<i32> = date.split('-').map(|part| part.parse().unwrap()).collect();
            rcgen::date_time_ymd(parts[0], parts[1] as u8, parts[2] as u8)
        };
        (params.not_before, params.not_after) = (day(days[0]), day(days[1]));
        fs::write(doctor.path("cert"), params.self_signed(&key).unwrap().pem()).unwrap();
        let (cert, key) = (doctor.path("cert"), doctor.path(key_file));
        let files = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
        let url = ["--public-url", "https://auth.example.invalid"];
        doctor.says(&[&files[..], &url].concat(), "certificate", verdict, text);
        doctor.says(
            &[&files[..], &["--public-url", "http://localhost"]].concat(),
            "public-url",
            "failure",
            "HTTPS",
        );
    };
    check("auth.example.invalid", [-1, 90], "key", "ok", "for auth.example.invalid, valid until");
    check("*.example.invalid", [-1, 90], "key", "ok", "valid until");
    check("auth.example.invalid", [-1, 10], "key", "warning", "expires");
    check("auth.example.invalid", [-10, -1], "key", "failure", "expired");
    check("auth.example.invalid", [2, 90], "key", "failure", "valid only from");
    check("www.example.invalid", [-1, 90], "key", "failure", "is not for auth.example.invalid");
    check(
        "auth.example.invalid",
        [-1, 90],
        "other-key",
        "failure",
        "is the key of another certificate than",
    );
    check("auth.example.invalid", [-1, 90], "none", "failure", "none");
}

#[test]
fn the_public_url_must_lead_to_this_server() {
    let (doctor, program, another) = (DoctorTest::open(), Program::serve(&[]), Program::serve(&[]));
    program.session_of(ada());
    let flags = beside(&program);
    let beside = flags.each_ref().map(String::as_str);
    let leads = |url: &str, verdict: &str, text: &str| {
        let mut flags = beside;
        flags[3] = url;
        let findings = doctor.findings(&flags);
        assert_eq!(findings["server"].0, "ok");
        assert_eq!(findings["reach"].0, verdict, "{findings:?}");
        assert!(findings["reach"].1.contains(text), "{findings:?}");
    };
    leads(&format!("http://{}", another.address), "failure", "leads to another Hallpass");
    leads(
        &doctor.google.url().replace("/tokeninfo", ""),
        "failure",
        "something else answers, with status 400",
    );
    leads("http://127.0.0.1:1", "failure", "cannot be reached from here");
    leads("http://none.invalid", "failure", "cannot be reached from here");
}

#[test]
fn the_listening_address_is_checked() {
    let (doctor, program) = (DoctorTest::open(), Program::serve(&[]));
    let at =
        |address: &str, verdict, text| doctor.says(&["--listen", address], "server", verdict, text);
    at(&program.address.to_string(), "failure", "uses another database");
    at(
        doctor.google.url().trim_start_matches("http://").trim_end_matches("/tokeninfo"),
        "failure",
        "something else",
    );
    at("127.0.0.1:1", "warning", "none runs at");
    at("127.0.0.1:0", "warning", "the port is chosen at the start");

    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let unix = format!("unix:{}", socket.display());
    let program = Program::serve(&["--listen", &unix]);
    let database = program.database();
    let flags =
        ["--listen", &unix, "--public-url", &format!("http://{}", program.address), "--database"];
    let flags = [&flags[..], &[database.to_str().unwrap()]].concat();
    doctor.says(&flags, "server", "ok", &format!("one runs at {unix} on this database"));
    doctor.says(&flags, "reach", "ok", "leads to this server");
}

#[test]
fn a_private_certificate_is_not_mistaken_for_another_server() {
    let (doctor, folder) = (DoctorTest::open(), tempfile::tempdir().unwrap());
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let (cert_path, key_path) = (folder.path().join("cert"), folder.path().join("key"));
    fs::write(&cert_path, certificate.pem()).unwrap();
    fs::write(&key_path, key.serialize_pem()).unwrap();
    let tls = ["--tls-cert", cert_path.to_str().unwrap(), "--tls-key", key_path.to_str().unwrap()];
    let program = Program::serve(&tls);
    let (database, address) = (program.database(), program.address.to_string());
    let flags = ["--listen", &address, "--database", database.to_str().unwrap()];
    let flags = [&tls[..], &flags].concat();
    doctor.says(&flags, "server", "ok", "one runs at");
    doctor.says(&flags, "reach", "warning", "no public authority vouches for");
    let google = format!("https://{address}/tokeninfo");
    doctor.says(&["--tokeninfo-url", &google], "tokeninfo", "failure", "an unknown authority");
}

#[test]
fn assertions_are_off_or_have_a_key() {
    let doctor = DoctorTest::open();
    doctor.says(&[], "assertion", "ok", "off: ");
    doctor.says(&["--assertion"], "assertion", "ok", "when it starts");
    drop(Store::open(&doctor.path("hallpass.db")).unwrap());
    doctor.says(&["--assertion"], "assertion", "ok", "when it starts");
    let record = |kid: &str, signs_from: &str| {
        let sql = format!("INSERT INTO assertion_keys VALUES ('{kid}', x'00', {signs_from})");
        rusqlite::Connection::open(doctor.path("hallpass.db"))
            .unwrap()
            .execute_batch(&sql)
            .unwrap();
    };
    record("a", "unixepoch('2020-02-03')");
    doctor.says(&["--assertion"], "assertion", "ok", "created within a day");
    record("b", "unixepoch() + 86400");
    let findings = doctor.findings(&["--allow-anyone", "--assertion"]);
    let (_, said) = &findings["assertion"];
    assert!(said.contains("since 2020-02-0") && said.contains("the next one signs from"), "{said}");
}

#[test]
fn security_events_are_off_or_were_received() {
    let doctor = DoctorTest::open();
    let certs = Google::start();
    certs.always(Answer::Status(200, "", jwk_set(&[FIRST.jwk()]).into_bytes()));
    let url = certs.url();
    let on = ["--google-events", "--keys-url", &url, "--public-url", "https://auth.example.com"];
    let check = |flags: &[&str], verdict: &str, text: &str| {
        doctor.says(flags, "google-events", verdict, text);
    };
    check(&[], "ok", "off: ");
    check(&on[..3], "warning", "https URLs only");
    check(&on, "warning", "`hallpass google-events register`");
    drop(Store::open(&doctor.path("hallpass.db")).unwrap());
    check(&on, "warning", "no event from Google has come so far");
    let record = |at: i64, reason: &str| {
        let sql =
            format!("INSERT INTO events (at, kind, reason) VALUES ({at}, 'google', '{reason}')");
        rusqlite::Connection::open(doctor.path("hallpass.db"))
            .unwrap()
            .execute_batch(&sql)
            .unwrap();
    };
    record(1_800_000_000, "sessions-revoked");
    check(&on, "ok", "no verification so far");
    record(1_800_000_060, "verification");
    record(1_800_000_120, "account-purged");
    let findings = doctor.findings(&[&["--allow-anyone"][..], &on].concat());
    let (_, said) = &findings["google-events"];
    assert!(
        said.contains(":02:00, the last verification at ") && said.contains(":01:00"),
        "{said}"
    );

    doctor.says(&on, "keys", "ok", "first (2048 bits)");
    certs.always(Answer::Status(503, "", Vec::new()));
    doctor.says(&on, "keys", "failure", "Google's security events are not accepted");
    // Keys for events do not replace tokeninfo.
    certs.always(Answer::Status(200, "", jwk_set(&[FIRST.jwk()]).into_bytes()));
    doctor.google.always(Answer::Status(403, "", Vec::new()));
    doctor.says(&on, "tokeninfo", "failure", "until then nobody can sign in");
}
