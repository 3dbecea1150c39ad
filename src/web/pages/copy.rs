//! Texts to copy. A page that has one loads /auth/copy.js.

use maud::{Markup, html};

use super::languages::Texts;

/// A long line with a button that copies it.
pub fn copyable(texts: &Texts, label: &str, line: &str) -> Markup {
    html! {
        div.shell dir="ltr" {
            pre tabindex="0" aria-label=(label) { (line) }
            (copy_button(texts, texts.copy, line))
        }
    }
}

/// Hidden until the script finds a clipboard.
pub fn copy_button(texts: &Texts, label: &str, text: &str) -> Markup {
    html! { button.copy type="button" data-copy=(text) data-copied=(texts.copied) aria-live="polite" hidden { (label) } }
}
