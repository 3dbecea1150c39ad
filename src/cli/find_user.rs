//! Finds the one user that the operator names.

use crate::cli::output::table::printable;
use crate::store::{Store, UserRecord};

/// The user with this `sub`, e-mail or user name.
///
/// # Errors
/// If there is none, or several with this e-mail; then it lists their subs.
pub fn one_account(store: &Store, name: &str) -> Result<UserRecord, String> {
    let mut accounts = store.users_named(name).map_err(|error| error.to_string())?;
    match accounts.len() {
        0 => {
            let what = match name {
                _ if name.contains('@') => "address",
                _ if name.bytes().all(|byte| byte.is_ascii_digit()) => "sub",
                _ => "sub or user name",
            };
            let shown = printable(name);
            let blocked = store.blocked_email(name).map_err(|error| error.to_string())?;
            let hint = match blocked {
                Some(_) => format!("; to lift its block, run `hallpass users unblock {shown}`"),
                None => String::new(),
            };
            Err(format!("there is no user {shown}: nobody with this {what} has signed in{hint}"))
        }
        1 => Ok(accounts.remove(0)),
        _ => {
            let subjects: Vec<&str> =
                accounts.iter().map(|account| account.user.profile.subject.as_str()).collect();
            Err(format!(
                "several users have the e-mail {}; give one of these subs instead: {}",
                printable(name),
                printable(&subjects.join(", "))
            ))
        }
    }
}

/// The name of a user in messages: e-mail and `sub`, or only the `sub`.
pub fn called(account: &UserRecord) -> String {
    let profile = &account.user.profile;
    printable(&match &profile.email {
        Some(email) => format!("{email} ({})", profile.subject),
        None => profile.subject.clone(),
    })
}
