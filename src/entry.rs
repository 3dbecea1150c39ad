//! An entry of an allow-list: a Workspace domain, an e-mail or a `sub`.

/// Mail providers for whose addresses Google is never authoritative.
const OTHERS_MAIL: [&str; 8] = [
    "outlook.com",
    "hotmail.com",
    "live.com",
    "yahoo.com",
    "icloud.com",
    "proton.me",
    "gmx.de",
    "web.de",
];
/// Google's longest `sub`.
const SUBJECT_LENGTH_MAX: usize = 255;
/// The longest address (RFC 5321, section 4.5.3.1.3) and the longest domain name.
const EMAIL_LENGTH_MAX: usize = 254;
const DOMAIN_LENGTH_MAX: usize = 253;

/// The longest note about an entry: a remark, not a document.
pub const NOTE_CHARACTERS_MAX: usize = 200;

/// An entry of an allow-list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// All accounts of a Workspace domain, in lower case: compared with `hd`.
    Domain(String),
    /// The account with this e-mail, in lower case, if Google is authoritative for it.
    Email(String),
    /// The account with this `sub`.
    Subject(String),
}

/// Why an entry lets in nobody, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeverMatches {
    /// A clause without its subject.
    pub why: &'static str,
    /// An imperative sentence without a full stop.
    pub advice: String,
}

impl Entry {
    /// The account that the operator or an admin names: by its e-mail, or by its `sub` in digits.
    pub fn account(text: &str) -> Option<Entry> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Entry::subject(text);
        }
        let (local, domain) = text.split_once('@')?;
        let is_local = !local.is_empty()
            && !local.contains(|c: char| c == '*' || c.is_whitespace() || c.is_control());
        (is_local && is_domain(domain) && text.len() <= EMAIL_LENGTH_MAX)
            .then(|| Entry::Email(text.to_ascii_lowercase()))
    }

    /// The account with any `sub` that Google may send.
    pub fn subject(text: &str) -> Option<Entry> {
        let is_subject = (1..=SUBJECT_LENGTH_MAX).contains(&text.len())
            && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        is_subject.then(|| Entry::Subject(text.to_owned()))
    }

    /// The Workspace domain that the operator or an admin names.
    pub fn domain(text: &str) -> Option<Entry> {
        (is_domain(text) && text.len() <= DOMAIN_LENGTH_MAX)
            .then(|| Entry::Domain(text.to_ascii_lowercase()))
    }

    /// Whether no account can match it.
    pub fn never_matches(&self) -> Option<NeverMatches> {
        match self {
            Entry::Domain(domain) => domain_never_matches(domain),
            Entry::Email(email) => email_never_matches(email),
            Entry::Subject(_) => None,
        }
    }

    /// The domain, the e-mail or the `sub`.
    pub fn as_str(&self) -> &str {
        match self {
            Entry::Domain(text) | Entry::Email(text) | Entry::Subject(text) => text,
        }
    }
}

/// The domain in `*@example.com` or `@example.com`, which some programs take for all of its
/// accounts.
fn domain_of_pattern(text: &str) -> Option<&str> {
    text.strip_prefix('*').unwrap_or(text).strip_prefix('@').filter(|domain| is_domain(domain))
}

/// The Workspace domain that somebody may have meant instead of an account: in `*@example.com`,
/// `@example.com` or `example.com`.
pub fn workspace_domain(text: &str) -> Option<&str> {
    let domain = domain_of_pattern(text).unwrap_or(text);
    Entry::domain(domain).filter(|entry| entry.never_matches().is_none()).map(|_| domain)
}

/// Whether it has the shape of a domain.
pub fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    text.split('.').all(label)
}

/// Whether it is a domain of Gmail, which is no Workspace domain.
pub fn is_gmail_domain(domain: &str) -> bool {
    is_gmail(domain) || domain.eq_ignore_ascii_case("googlemail.com")
}

/// Whether Google is authoritative for every address of that domain.
pub fn is_gmail(domain: &str) -> bool {
    domain.eq_ignore_ascii_case("gmail.com")
}

fn is_others_mail(domain: &str) -> bool {
    OTHERS_MAIL.iter().any(|other| domain.eq_ignore_ascii_case(other))
}

fn domain_never_matches(domain: &str) -> Option<NeverMatches> {
    if is_gmail_domain(domain) || is_others_mail(domain) {
        return Some(NeverMatches {
            why: "only Workspace accounts have a domain",
            advice: "name the accounts by their e-mails".into(),
        });
    }
    if !domain.contains('.') {
        return Some(NeverMatches {
            why: "no Workspace domain is a single word",
            advice: format!("write the whole domain, such as {domain}.com"),
        });
    }
    let is_public = psl::suffix(domain.as_bytes())
        .is_some_and(|suffix| suffix == domain && suffix.typ() == Some(psl::Type::Icann));
    is_public.then(|| NeverMatches {
        why: "it is a public suffix, under which others register their domains",
        advice: format!("write the whole domain, such as example.{domain}"),
    })
}

fn email_never_matches(email: &str) -> Option<NeverMatches> {
    let (local, domain) = email.rsplit_once('@')?;
    if domain.eq_ignore_ascii_case("googlemail.com") {
        return Some(NeverMatches {
            why: "Google is the authority for gmail.com addresses only",
            advice: format!("write it as Google does, such as {local}@gmail.com"),
        });
    }
    if is_gmail(domain) && local.contains('+') {
        return Some(NeverMatches {
            why: "Google sends addresses without the plus sign and what follows it",
            advice: format!("write {}@gmail.com", local.split('+').next().unwrap_or_default()),
        });
    }
    if !domain.contains('.') {
        return Some(NeverMatches {
            why: "its domain is incomplete",
            advice: format!("write the whole address, such as {email}.com"),
        });
    }
    is_others_mail(domain).then(|| NeverMatches {
        why: "Google is the authority for gmail.com addresses and Workspace accounts only",
        advice: "name an address at gmail.com, one of a Workspace account, or the account's sub"
            .into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn account(text: &str, expected: Option<Entry>) {
        assert_eq!(Entry::account(text), expected, "{text:?}");
    }

    #[test]
    fn an_account_is_an_email_or_a_sub_in_digits() {
        account("Ada@Example.com", Some(Entry::Email("ada@example.com".into())));
        account("110169484474386276334", Some(Entry::Subject("110169484474386276334".into())));
        account(&"1".repeat(255), Some(Entry::Subject("1".repeat(255))));
        for text in [
            "",
            "ada",
            "example.com",
            "@example.com",
            "*@example.com",
            "a@b@example.com",
            "ada@",
            "a b@example.com",
            "11016x",
            &"1".repeat(256),
        ] {
            account(text, None);
        }
        let longest = format!("{}@example.com", "a".repeat(254 - 12));
        account(&longest, Some(Entry::Email(longest.clone())));
        account(&format!("a{longest}"), None);
        for text in ["*@example.com", "@example.com", "example.com"] {
            assert_eq!(workspace_domain(text), Some("example.com"));
        }
        for text in ["*@*", "ada@example.com", "gmail.com", "@GoogleMail.com", "bob", "co.uk"] {
            assert_eq!(workspace_domain(text), None, "{text}");
        }
    }

    #[track_caller]
    fn domain(text: &str, matches: bool) {
        let entry = Entry::domain(text).expect("a domain");
        assert_eq!(entry.never_matches().is_none(), matches, "{text}");
    }

    #[test]
    fn domains_of_others_and_public_suffixes_never_match() {
        ["example.com", "example.co.uk", "github.io", "Example.COM"]
            .iter()
            .for_each(|it| domain(it, true));
        ["gmail.com", "GoogleMail.com", "outlook.com", "com", "co.uk", "example"]
            .iter()
            .for_each(|it| domain(it, false));
        assert_eq!(Entry::domain("ada@example.com"), None);
        assert_eq!(Entry::domain(""), None);
        assert!(
            Entry::domain(&"a".repeat(253)).is_some() && Entry::domain(&"a".repeat(254)).is_none()
        );
        assert!(Entry::subject("a/b?c \"<i>").is_some());
        assert_eq!(
            (Entry::subject(""), Entry::subject("a\n"), Entry::subject("é")),
            (None, None, None)
        );
    }
}
