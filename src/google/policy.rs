//! Whom the operator lets in.

use super::Claimed;
use crate::profile::Profile;

/// E-mails and Workspace domains; either suffices. An empty list lets nobody in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList {
    /// Matched against e-mails that Google is authoritative for, whatever the case.
    pub emails: Vec<String>,
    /// Matched against the whole `hd` claim, whatever the case. The text after the @ of an e-mail proves nothing.
    pub domains: Vec<String>,
}

impl AllowList {
    /// Whether that person is on the list.
    pub fn permits(&self, profile: &Profile) -> bool {
        let listed = |list: &[String], value: Option<&str>| {
            value.is_some_and(|v| list.iter().any(|l| l.eq_ignore_ascii_case(v)))
        };
        listed(&self.domains, profile.hosted_domain.as_deref())
            || listed(&self.emails, profile.authoritative_email())
    }
}

/// The rule of the whole server, asked at sign-in and again on every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// Every Google account of a person.
    Anyone,
    /// Those on the list.
    Listed(AllowList),
}

impl Policy {
    /// Whether that person may be here.
    pub fn permits(&self, profile: &Profile) -> bool {
        match self {
            Policy::Anyone => true,
            Policy::Listed(list) => list.permits(profile),
        }
    }

    /// What Google's button is told about the accounts to offer: the Workspace domain if only one is let in, `*` for any
    /// Workspace account if only domains are. A hint to people and never a check.
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

    /// Whether whom the claims speak of may sign in.
    ///
    /// # Errors
    /// One sentence for the client that says what is missing.
    pub fn admit(&self, claimed: &Claimed) -> Result<(), &'static str> {
        if claimed.is_service_account() {
            return Err("service accounts cannot sign in");
        }
        if !self.permits(claimed) {
            return Err(NOT_ON_THE_LIST);
        }
        Ok(())
    }
}

/// What somebody is told who is known but not permitted.
pub const NOT_ON_THE_LIST: &str = "this account is not on the list of those who may sign in";
