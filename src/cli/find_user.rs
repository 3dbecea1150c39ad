//! From what the operator types to the one user that is meant.

use crate::cli::output::table::printable;
use crate::store::{Store, UserRecord};

/// The user of that `sub` or e-mail.
///
/// # Errors
/// If there is none; if there are several of that e-mail, it names them.
pub fn one_account(store: &Store, name: &str) -> Result<UserRecord, String> {
    let mut accounts = store.accounts_named(name).map_err(|error| error.to_string())?;
    match accounts.len() {
        0 => Err(format!("there is no user {}", printable(name))),
        1 => Ok(accounts.remove(0)),
        _ => {
            let subjects: Vec<&str> =
                accounts.iter().map(|account| account.user.profile.subject.as_str()).collect();
            Err(format!(
                "several users have the e-mail {}; name one by its sub: {}",
                printable(name),
                printable(&subjects.join(", "))
            ))
        }
    }
}

/// How a message names a user: e-mail and `sub`, or the `sub` alone.
pub fn called(account: &UserRecord) -> String {
    let profile = &account.user.profile;
    printable(&match &profile.email {
        Some(email) => format!("{email} ({})", profile.subject),
        None => profile.subject.clone(),
    })
}
