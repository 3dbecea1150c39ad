//! Texts to copy. A page that has one loads /auth/copy.js.

use maud::{Markup, html};

/// A long line with a button that copies it.
pub fn copyable(label: &str, line: &str) -> Markup {
    html! {
        div.shell {
            pre tabindex="0" aria-label=(label) { (line) }
            (copy_button("Copy", line))
        }
    }
}

/// Hidden until the script finds a clipboard.
pub fn copy_button(label: &str, text: &str) -> Markup {
    html! { button.copy type="button" data-copy=(text) aria-live="polite" hidden { (label) } }
}
