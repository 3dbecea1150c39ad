//! A person's profile as Google last sent it.

use serde::{Deserialize, Serialize};

/// The profile of a Google account. Claims that Google did not send are `None`, and null in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// `sub`: the identity. 1 to 255 printable ASCII characters, never reused. Everything is keyed
    /// by it.
    #[serde(rename = "sub")]
    pub subject: String,
    /// `email`: for display. It can move to another person, so it identifies nobody by itself.
    pub email: Option<String>,
    /// `email_verified`.
    pub email_verified: Option<bool>,
    /// Whether Google is authoritative for the e-mail: see [`is_authoritative`].
    pub email_authoritative: bool,
    /// `name`: the full name for display.
    pub name: Option<String>,
    /// `given_name`.
    pub given_name: Option<String>,
    /// `family_name`.
    pub family_name: Option<String>,
    /// `picture`: the URL of a picture.
    pub picture: Option<String>,
    /// `hd`: the Workspace domain. Absent for any other account.
    #[serde(rename = "hd")]
    pub hosted_domain: Option<String>,
    /// `locale`: a BCP 47 language tag.
    pub locale: Option<String>,
}

impl Profile {
    /// The e-mail, if Google is authoritative for it. No other e-mail may decide anything.
    pub fn authoritative_email(&self) -> Option<&str> {
        self.email.as_deref().filter(|_| self.email_authoritative)
    }

    /// The e-mail to pin to this subject: the authoritative one, in lower case.
    pub fn pinned_email(&self) -> Option<String> {
        self.authoritative_email().map(str::to_ascii_lowercase)
    }

    /// The name to show on a page: the name, else the e-mail, else the subject.
    pub fn display_name(&self) -> &str {
        self.name.as_deref().or(self.email.as_deref()).unwrap_or(&self.subject)
    }
}

/// Whether Google is authoritative for `email`: a gmail.com address, or a verified one of a
/// Workspace account.
///
/// Source: "Verify the Google ID token on your server side", on `email`, `email_verified` and `hd`.
pub fn is_authoritative(
    email: &str,
    email_verified: Option<bool>,
    hosted_domain: Option<&str>,
) -> bool {
    let Some((local, domain)) = email.split_once('@') else {
        return false;
    };
    let one_address = !local.is_empty() && !domain.is_empty() && !domain.contains('@');
    let gmail = domain.eq_ignore_ascii_case("gmail.com");
    one_address && (gmail || (email_verified == Some(true) && hosted_domain.is_some()))
}
