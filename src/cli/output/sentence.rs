//! Events as sentences, for people in a chat.

use crate::store::{EventKind, EventRow};

/// The event in one sentence.
pub fn of(event: &EventRow) -> String {
    let who = match (&event.email, &event.subject) {
        (Some(email), _) => harmless(email),
        (None, Some(subject)) => format!("user {}", harmless(subject)),
        (None, None) => "somebody".to_owned(),
    };
    let of = |name: &str, value: &Option<String>| {
        value.as_ref().map(|value| format!(" {name} {}", harmless(value))).unwrap_or_default()
    };
    let (at, from) = (of("at", &event.host), of("from", &event.client.address));
    let reason = event.reason.as_deref().map(harmless).unwrap_or_default();
    // Except in refusals, the reason says who did it, such as "by ada@example.com".
    let by = if reason.is_empty() { String::new() } else { format!(" {reason}") };
    let what = event.detail.as_deref().map_or_else(|| who.clone(), harmless);
    let kind = EventKind::ALL.into_iter().find(|kind| kind.as_str() == event.kind);
    match kind {
        Some(EventKind::SignIn) => format!("{who} signed in{from}."),
        Some(EventKind::Refusal) => format!("{who} was refused{at}{from}: {reason}."),
        Some(EventKind::SignOut) => format!("{who} signed out{from}."),
        Some(EventKind::Revocation) => format!("A session of {who} was ended{by}."),
        Some(EventKind::Block) => format!("{who} was blocked{by}."),
        Some(EventKind::Unblock) => format!("{who} was unblocked{by}."),
        Some(EventKind::Release) => format!("The e-mail of {who} was released{by}."),
        Some(EventKind::Delete) => format!("{who} was deleted{by}."),
        Some(EventKind::Allow) => format!("{what} was let in{by}."),
        Some(EventKind::Disallow) => format!("{what} was taken off the list{by}."),
        Some(EventKind::Token) => {
            format!("A token{} was created for {who}{by}.", of("named", &event.detail))
        }
        Some(EventKind::Rename) => {
            format!("The user name of {who} was changed{}{by}.", of("to", &event.detail))
        }
        Some(EventKind::Google) => {
            let about = event.subject.as_ref().map(|_| format!(" about {who}"));
            let reported = harmless(&event.shown_reason().unwrap_or_default());
            format!("Google reported{}: {reported}.", about.unwrap_or_default())
        }
        None => format!("{}: {who}{by}.", event.kind),
    }
}

/// Without characters that chat services take for a link, a mention or formatting. Some values are
/// from clients.
fn harmless(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || " .,;:@-_+'/()=?%".contains(c);
    let mut previous = ' ';
    let plain = |c: char| {
        // Some services take @all for everybody in the channel.
        let is_mention = c == '@' && !previous.is_alphanumeric();
        previous = c;
        if is_plain(c) && !is_mention { c } else { '?' }
    };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Client;

    fn event(kind: EventKind) -> EventRow {
        EventRow {
            id: 1,
            at: 1_800_000_000,
            kind: kind.as_str().to_owned(),
            subject: Some("1101".to_owned()),
            email: Some("ada@example.com".to_owned()),
            session_id: None,
            client: Client { address: Some("192.0.2.1".to_owned()), user_agent: None },
            client_id: None,
            reason: None,
            verified_by: None,
            host: None,
            detail: None,
        }
    }

    #[track_caller]
    fn check(kind: EventKind, change: impl FnOnce(&mut EventRow), expected: &str) {
        let mut event = event(kind);
        change(&mut event);
        assert_eq!(of(&event), expected);
    }

    #[test]
    fn each_kind_has_a_sentence() {
        let by = |event: &mut EventRow| event.reason = Some("by the operator".to_owned());
        check(EventKind::SignIn, |_| (), "ada@example.com signed in from 192.0.2.1.");
        check(
            EventKind::Refusal,
            |event| {
                event.reason = Some("not on the list".to_owned());
                event.host = Some("app.example.com".to_owned());
            },
            "ada@example.com was refused at app.example.com from 192.0.2.1: not on the list.",
        );
        check(EventKind::SignOut, |_| (), "ada@example.com signed out from 192.0.2.1.");
        check(EventKind::Revocation, |_| (), "A session of ada@example.com was ended.");
        check(EventKind::Block, by, "ada@example.com was blocked by the operator.");
        check(EventKind::Unblock, by, "ada@example.com was unblocked by the operator.");
        check(
            EventKind::Release,
            by,
            "The e-mail of ada@example.com was released by the operator.",
        );
        check(
            EventKind::Delete,
            |event| {
                by(event);
                event.email = None;
            },
            "user 1101 was deleted by the operator.",
        );
        check(EventKind::Allow, by, "ada@example.com was let in by the operator.");
        check(
            EventKind::Disallow,
            |event| {
                (event.subject, event.email) = (None, None);
                event.detail = Some("example.com".to_owned());
                event.reason = Some("by grace@example.com".to_owned());
            },
            "example.com was taken off the list by grace@example.com.",
        );
        check(
            EventKind::Token,
            |event| event.detail = Some("backup".to_owned()),
            "A token named backup was created for ada@example.com.",
        );
        check(
            EventKind::Rename,
            |event| {
                by(event);
                event.detail = Some("ada".to_owned());
            },
            "The user name of ada@example.com was changed to ada by the operator.",
        );
        check(
            EventKind::Google,
            |event| event.reason = Some("account-disabled".to_owned()),
            "Google reported about ada@example.com: account-disabled.",
        );
    }

    #[test]
    fn values_cannot_format_mention_or_link() {
        for (email, shown) in [
            ("ada_l+x@example.com", "ada_l+x@example.com"),
            ("<!channel>", "??channel?"),
            ("@all", "?all"),
            ("a @here@b", "a ?here@b"),
            ("*a* `b` [c](http://d)\n", "?a? ?b? ?c?(http://d)?"),
            ("Zo\u{eb}@b", "Zo\u{eb}@b"),
            ("a\u{202e}b", "a?b"),
        ] {
            check(
                EventKind::Block,
                |event| event.email = Some(email.to_owned()),
                &format!("{shown} was blocked."),
            );
        }
    }
}
