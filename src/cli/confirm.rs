//! Asks for confirmation before something that cannot be undone.

use std::io::{self, IsTerminal};

/// Returns if `yes` was given or the operator agrees.
///
/// # Errors
/// If there is no terminal to ask on, or the answer is not yes.
pub fn require(yes: bool, question: &str) -> Result<(), String> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(
            "cannot ask for confirmation without a terminal; give --yes if you are sure".into()
        );
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(|error| format!("cannot read the answer: {error}"))?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err("nothing was changed".into()),
    }
}
