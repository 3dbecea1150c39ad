//! JSON in the documents: it parses, and has the fields that the server knows.

use std::collections::BTreeSet;

use hallpass::cli::output;
use hallpass::store::EventFilter;
use serde_json::{Value, json};

use super::document::documents;
use crate::test_app::{FORM, RequestExt, TestApp, document, get, post, post_token, token};

/// Fields that clients send.
const SENT: [&str; 2] = ["credential", "nonce"];

/// The field that a posted event has in addition to those of `events --json`.
const POSTED: &str = "text";

/// Reads JSON in which values may be `...` or NAMES, and `...` stands for further fields. Also
/// returns whether it does.
pub fn read_elided(text: &str) -> (Option<Value>, bool) {
    let (mut plain, mut elided, mut in_string, mut rest) = (String::new(), false, false, text);
    while let Some(c) = rest.chars().next() {
        let name = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_uppercase()).len();
        let mut length = c.len_utf8();
        if c == '"' {
            in_string = !in_string;
        }
        if in_string || (name == 0 && !rest.starts_with("...")) {
            plain.push(c);
        } else if name > 0 || plain.trim_end().ends_with(':') {
            plain.push_str("null");
            length = name.max(3);
        } else {
            plain.truncate(plain.trim_end().trim_end_matches(',').len());
            (elided, length) = (true, 3);
        }
        rest = &rest[length..];
    }
    (serde_json::from_str(&plain).ok(), elided)
}

fn fields(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => object.iter().for_each(|(name, value)| {
            found.insert(name.clone());
            fields(value, found);
        }),
        Value::Array(values) => values.iter().for_each(|value| fields(value, found)),
        _ => {}
    }
}

/// Every field of every answer and of events.
fn contract() -> BTreeSet<String> {
    let test = TestApp::with(&[
        "--allow-anyone",
        "--admin-email",
        "testuser@gmail.com",
        "--google-events",
        "--assertion",
    ]);
    let signed_in = document(&test.send(post_token(&token(json!({})))));
    let session = signed_in["session"]["token"].as_str().unwrap();
    let mut found: BTreeSet<String> = SENT.iter().map(|&name| name.to_owned()).collect();
    fields(&signed_in, &mut found);
    let entry = post("/auth/admin/allowed", FORM, "domain=example.com").bearer(session);
    assert_eq!(test.send(entry).status, 201);
    let no_event = post("/auth/google/events", "application/jwt", "");
    fields(&document(&test.send(no_event)), &mut found);
    for path in ["/auth/me", "/auth/sessions", "/auth/admin/allowed", "/readyz", "/nowhere"] {
        fields(&document(&test.send(get(path).bearer(session))), &mut found);
    }
    test.app.store().flush();
    let events = test.app.store().last_events(&EventFilter::default(), 1).unwrap();
    events.iter().for_each(|event| fields(&output::json::event(event), &mut found));
    found.insert(POSTED.to_owned());
    found
}

#[test]
fn every_json_example_has_fields_of_the_contract() {
    let contract = contract();
    let (mut wrong, mut examples) = (Vec::new(), 0);
    for document in documents() {
        let blocks = document
            .blocks
            .iter()
            .filter(|block| block.language == "json")
            .map(|block| &block.text);
        let wire = document
            .blocks
            .iter()
            .filter(|block| block.language.is_empty())
            .flat_map(|block| block.text.lines());
        // The transcript on the wire has two columns.
        let wire = wire
            .filter_map(|line| line.trim().split("   ").next())
            .filter(|text| text.starts_with("{\""));
        let wire = wire.map(str::to_owned);
        let spans = document.spans.iter().filter(|span| span.starts_with("{\""));
        for text in blocks.chain(spans).cloned().chain(wire) {
            let mut named = BTreeSet::new();
            match read_elided(&text).0 {
                Some(value) => fields(&value, &mut named),
                None => wrong.push(format!("{}: not JSON: {text}", document.name)),
            }
            wrong.extend(
                named
                    .difference(&contract)
                    .map(|name| format!("{}: no field {name}", document.name)),
            );
            examples += 1;
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(examples >= 5);
}

#[test]
fn elided_json_is_read() {
    let read = |text: &str| read_elided(text);
    assert_eq!(
        read(r#"{"a": {...}, "b": TEXT, "c": ..., ...}"#),
        (Some(json!({"a": {}, "b": null, "c": null})), true)
    );
    assert_eq!(read(r#"{"a...": "B..."}"#), (Some(json!({"a...": "B..."})), false));
    assert_eq!(read(r#"{"a"}"#).0, None);
}
