//! The policy: who may sign in.

use crate::entry::is_gmail_domain;
use crate::profile::Profile;

/// Accounts and Workspace domains. Being named once suffices. Empty lists let nobody in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList {
    /// Matched against the whole `hd` claim, ignoring case. The text after the @ of an e-mail
    /// proves nothing.
    pub domains: Vec<String>,
    /// Matched against e-mails that Google is authoritative for, ignoring case.
    pub emails: Vec<String>,
    /// Matched against `sub`.
    pub subjects: Vec<String>,
}

impl AllowList {
    /// Whether the person is on the list.
    pub fn permits(&self, profile: &Profile) -> bool {
        let named =
            |list: &[String], value: Option<&str>| value.is_some_and(|value| has(list, value));
        named(&self.domains, profile.hosted_domain.as_deref())
            || named(&self.emails, profile.authoritative_email())
            || self.subjects.contains(&profile.subject)
    }

    /// Whether it lets nobody in.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.emails.is_empty() && self.subjects.is_empty()
    }

    /// Adds the accounts of another list.
    pub fn add_accounts(&mut self, other: AllowList) {
        self.emails.extend(other.emails);
        self.subjects.extend(other.subjects);
        for list in [&mut self.emails, &mut self.subjects] {
            let all = std::mem::take(list);
            all.into_iter().for_each(|one| {
                if !has(list, &one) {
                    list.push(one)
                }
            });
        }
    }
}

/// The rule in the settings, applied at sign-in and again on every check. The list in the database
/// lets in more people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// Every Google account except service accounts.
    Anyone,
    /// Accounts on the list, admins included.
    Listed(AllowList),
}

impl Policy {
    /// Whether the settings let the person in.
    pub fn permits(&self, profile: &Profile) -> bool {
        match self {
            Policy::Anyone => true,
            Policy::Listed(list) => list.permits(profile),
        }
    }

    /// Whether it lets nobody in. The domains of Gmail are never in `hd`. The e-mails of any other
    /// domain may be those of a Workspace.
    pub fn is_empty(&self) -> bool {
        let Policy::Listed(AllowList { domains, emails, subjects }) = self else { return false };
        domains.iter().all(|domain| is_gmail_domain(domain))
            && emails.is_empty()
            && subjects.is_empty()
    }

    /// Which accounts Google's button should offer: those of the Workspace domain if only one is
    /// allowed, `*` (any Workspace account) if only domains are. A hint for people, never a check.
    /// `others` are the domains in the database's list, if it has nothing else.
    pub fn hosted_domain_hint<'a>(&'a self, others: Option<&'a [String]>) -> Option<&'a str> {
        let (Policy::Listed(AllowList { domains, emails, subjects }), Some(others)) =
            (self, others)
        else {
            return None;
        };
        if !emails.is_empty() || !subjects.is_empty() {
            return None;
        }
        let mut all = domains.iter().chain(others);
        let first = all.next()?;
        let is_only = all.all(|domain| domain.eq_ignore_ascii_case(first));
        Some(if is_only { first } else { "*" })
    }

    /// Why neither the settings nor the list in the database let this person in. The operator may
    /// have listed an address that cannot match.
    pub fn refusal(&self, profile: &Profile, database: &AllowList) -> &'static str {
        let (Policy::Listed(list), Some(email)) = (self, &profile.email) else {
            return NOT_ON_THE_LIST;
        };
        let emails = || list.emails.iter().chain(&database.emails);
        let mailbox = gmail_mailbox(email);
        let domain = email.rsplit_once('@').map(|(_, domain)| domain).unwrap_or_default();
        if emails().any(|it| it.eq_ignore_ascii_case(email)) {
            // In the database, the entry belongs to the account that signed in with it first.
            if profile.email_authoritative { ANOTHER_ACCOUNT } else { NO_AUTHORITY }
        } else if mailbox.is_some() && emails().any(|it| gmail_mailbox(it) == mailbox) {
            ANOTHER_SPELLING
        } else if has(&list.domains, domain) || has(&database.domains, domain) {
            NO_WORKSPACE
        } else {
            NOT_ON_THE_LIST
        }
    }
}

fn has(list: &[String], text: &str) -> bool {
    list.iter().any(|it| it.eq_ignore_ascii_case(text))
}

/// Why a service account is refused, even with --allow-anyone.
pub const SERVICE_ACCOUNT: &str = "service accounts cannot sign in";
/// Why somebody is refused whom no list names.
pub const NOT_ON_THE_LIST: &str = "this account is not on the list of those who may sign in";
/// The same, if a list names the address but Google does not vouch for it.
pub const NO_AUTHORITY: &str = "this account is not on the list of those who may sign in: its address is, but Google is the \
                            authority for gmail.com addresses and Workspace accounts only";
/// The same, if the entry with the address belongs to another account.
pub const ANOTHER_ACCOUNT: &str = "this account is not on the list of those who may sign in: its address is, but the entry \
                               belongs to the account that had the address before";
/// The same, if a list names the Gmail mailbox in another spelling.
pub const ANOTHER_SPELLING: &str = "this account is not on the list of those who may sign in: its address is, but not as Google \
                                writes it; dots count, and so does gmail.com or googlemail.com";
/// The same, if a list names the domain of the address.
pub const NO_WORKSPACE: &str = "this account is not on the list of those who may sign in: the domain of its address is, but \
                            this is not a Workspace account of that domain";

/// Whether somebody was refused only because no list names them, so an entry would let them in.
pub fn is_for_want_of_an_entry(reason: &str) -> bool {
    reason.starts_with(NOT_ON_THE_LIST)
}

/// The Gmail mailbox behind an address. Dots, case and a plus sign with what follows make no
/// difference there, and gmail.com and googlemail.com are the same.
fn gmail_mailbox(email: &str) -> Option<String> {
    let email = email.to_ascii_lowercase();
    let (local, domain) = email.rsplit_once('@')?;
    let local = local.split('+').next().unwrap_or_default();
    matches!(domain, "gmail.com" | "googlemail.com").then(|| local.replace('.', ""))
}
