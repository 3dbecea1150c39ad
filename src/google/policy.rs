//! Who may sign in.

use super::Claims;
use crate::profile::Profile;

/// E-mails and Workspace domains. Being on either list suffices. Empty lists let nobody in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList {
    /// Matched against e-mails that Google is authoritative for, ignoring case.
    pub emails: Vec<String>,
    /// Matched against the whole `hd` claim, ignoring case. The text after the @ of an e-mail
    /// proves nothing.
    pub domains: Vec<String>,
}

impl AllowList {
    /// Whether the person is on the list.
    pub fn permits(&self, profile: &Profile) -> bool {
        let listed = |list: &[String], value: Option<&str>| {
            value.is_some_and(|v| list.iter().any(|l| l.eq_ignore_ascii_case(v)))
        };
        listed(&self.domains, profile.hosted_domain.as_deref())
            || listed(&self.emails, profile.authoritative_email())
    }
}

/// The rule of the whole server, applied at sign-in and again on every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// Every Google account except service accounts.
    Anyone,
    /// Accounts on the list.
    Listed(AllowList),
}

impl Policy {
    /// Whether the person may be signed in.
    pub fn permits(&self, profile: &Profile) -> bool {
        match self {
            Policy::Anyone => true,
            Policy::Listed(list) => list.permits(profile),
        }
    }

    /// Which accounts Google's button should offer: those of the Workspace domain if only one is
    /// allowed, `*` (any Workspace account) if only domains are. A hint for people, never a check.
    pub fn hosted_domain_hint(&self) -> Option<&str> {
        match self {
            Policy::Listed(AllowList { emails, domains }) if emails.is_empty() => {
                match &domains[..] {
                    [] => None,
                    [domain] => Some(domain),
                    _ => Some("*"),
                }
            }
            Policy::Listed(_) | Policy::Anyone => None,
        }
    }

    /// Why [`Policy::permits`] refuses this person. The operator may have listed an address that
    /// cannot match.
    pub fn refusal(&self, profile: &Profile) -> &'static str {
        let (Policy::Listed(list), Some(email)) = (self, &profile.email) else {
            return NOT_ON_THE_LIST;
        };
        let has = |list: &[String], text: &str| list.iter().any(|it| it.eq_ignore_ascii_case(text));
        let mailbox = gmail_mailbox(email);
        if has(&list.emails, email) {
            NO_AUTHORITY
        } else if mailbox.is_some() && list.emails.iter().any(|it| gmail_mailbox(it) == mailbox) {
            ANOTHER_SPELLING
        } else if email.rsplit_once('@').is_some_and(|(_, domain)| has(&list.domains, domain)) {
            NO_WORKSPACE
        } else {
            NOT_ON_THE_LIST
        }
    }

    /// Whether the person with these claims may sign in.
    ///
    /// # Errors
    /// One sentence for the client that says what is missing.
    pub fn admit(&self, claims: &Claims) -> Result<(), &'static str> {
        if claims.is_service_account() {
            return Err("service accounts cannot sign in");
        }
        let profile = &claims.profile;
        if self.permits(profile) { Ok(()) } else { Err(self.refusal(profile)) }
    }
}

const NOT_ON_THE_LIST: &str = "this account is not on the list of those who may sign in";
const NO_AUTHORITY: &str = "this account is not on the list of those who may sign in: its address is, but Google is the \
                            authority for gmail.com addresses and Workspace accounts only";
const ANOTHER_SPELLING: &str = "this account is not on the list of those who may sign in: its address is, but not as Google \
                                writes it; dots count, and so does gmail.com or googlemail.com";
const NO_WORKSPACE: &str = "this account is not on the list of those who may sign in: the domain of its address is, but \
                            this is not a Workspace account of that domain";

/// The Gmail mailbox behind an address. Dots, case and a plus sign with what follows make no
/// difference there, and gmail.com and googlemail.com are the same.
fn gmail_mailbox(email: &str) -> Option<String> {
    let email = email.to_ascii_lowercase();
    let (local, domain) = email.rsplit_once('@')?;
    let local = local.split('+').next().unwrap_or_default();
    matches!(domain, "gmail.com" | "googlemail.com").then(|| local.replace('.', ""))
}
