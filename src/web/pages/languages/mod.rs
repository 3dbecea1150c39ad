//! The sentences on the pages that everybody sees, in every language. The admin pages are in
//! English.

mod accepted;
mod plural;
mod ar;
mod cs;
mod de;
mod en;
mod es;
mod fr;
mod it;
mod ja;
mod ko;
mod nl;
mod pl;
mod pt;
mod tr;
mod uk;
mod zh;

use maud::{Markup, PreEscaped, Render};

pub use accepted::accepted;
pub use en::EN;
pub use plural::Plural;

/// Every language. The first is for everybody whose languages are missing.
const LANGUAGES: [&Texts; 15] = [
    &EN,
    &de::DE,
    &fr::FR,
    &es::ES,
    &pt::PT,
    &it::IT,
    &nl::NL,
    &pl::PL,
    &cs::CS,
    &uk::UK,
    &tr::TR,
    &ja::JA,
    &zh::ZH,
    &ko::KO,
    &ar::AR,
];

/// A sentence with a number `{n}`: one form for each form of the language's [`Plural`].
type Counted = &'static [&'static str];

macro_rules! texts {
    ($($(#[$comment:meta])* $name:ident,)*) => {
        /// A language: one field for each sentence. A name in braces is replaced by a value, which
        /// may stand anywhere in the sentence.
        pub struct Texts {
            /// The language tag, for `lang` and Content-Language.
            pub tag: &'static str,
            /// `ltr` or `rtl`.
            pub direction: &'static str,
            /// The language of Google's button; by default it follows the browser.
            pub google_locale: Option<&'static str>,
            /// Which form goes with which number.
            pub plural: Plural,
            /// The months as they stand in `date`.
            pub months: [&'static str; 12],
            /// "after {n} days", from now.
            pub after_days: Counted,
            pub after_hours: Counted,
            pub after_seconds: Counted,
            /// What to do first after too many attempts.
            pub wait_seconds: Counted,
            $($(#[$comment])* pub $name: &'static str,)*
        }

        impl Texts {
            #[cfg(test)]
            fn sentences(&self) -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

texts! {
    date,
    date_time,
    demo,
    demo_note,
    sign_in,
    signed_out,
    /// Below "Sign in": the app's host or the site's name.
    to_continue,
    signed_in_as,
    tried_to_sign_in_as,
    continue_button,
    use_another_account,
    /// `{reload}` is a link with the text `reload`.
    no_google_button,
    reload,
    needs_javascript,
    google_tells,
    demo_choose,
    /// On the demo's admins.
    demo_admin,
    demo_shell,
    demo_send,
    demo_present,
    /// For screen readers: the commands to copy.
    curl_sign_in,
    curl_me,
    copy_the_token,
    copy,
    copied,
    sign_out,
    sign_out_question,
    sign_out_everywhere,
    sign_out_and_end_tokens,
    stay_signed_in,
    your_account,
    admin_page,
    user_name,
    where_signed_in,
    /// The session of this browser.
    this_session,
    since,
    last_seen,
    /// The button that ends a session or a token.
    end,
    end_others,
    /// For screen readers, like `end_token`.
    end_session,
    /// A browser and a system: "Firefox on Linux".
    browser_on,
    /// An app for a system or a framework: "Android app".
    app,
    program_with_google_token,
    unknown_device,
    tokens,
    tokens_explained,
    without_name,
    created,
    last_used,
    not_used_yet,
    ends,
    end_token,
    create_a_token,
    token_purpose,
    token_purpose_example,
    token_end,
    /// The last choice: `{span}` is "after 365 days".
    longest_span,
    create_the_token,
    your_new_token,
    the_token,
    new_token_explained,
    token_use,
    did_not_work,
    google_did_not_work,
    not_signed_in,
    no_access,
    page_not_found,
    too_many_attempts,
    sign_in_unavailable,
    go_to_sign_in,
    ask_to_be_let_in,
    not_on_the_list,
    no_authority,
    entry_of_another_account,
    another_spelling,
    not_of_the_workspace,
    not_on_the_apps_list,
    blocked,
    disabled_by_google,
    email_held,
    not_an_admin,
    began_elsewhere,
    no_session,
    nothing_here,
    try_again_later,
    cannot_verify_now,
    bad_token_name,
    token_exists,
    too_many_tokens,
    /// This and the next two stand above a detail in English.
    request_not_understood,
    google_token_refused,
    request_refused,
}

impl Texts {
    /// A sentence with the form for `n`.
    pub fn counted(&self, forms: Counted, n: u64) -> Markup {
        fill(forms[self.plural.form(n)], &[("n", &n)])
    }
}

/// A sentence with values in place of the names in braces. Values that are not markup are escaped.
pub fn fill(sentence: &str, values: &[(&str, &dyn Render)]) -> Markup {
    let mut html = String::with_capacity(sentence.len() * 2);
    for (place, part) in sentence.split(['{', '}']).enumerate() {
        if place % 2 == 0 {
            part.render_to(&mut html);
        } else {
            let value = values.iter().find(|(name, _)| *name == part);
            debug_assert!(value.is_some(), "{{{part}}} has no value in: {sentence}");
            value.iter().for_each(|(_, value)| value.render_to(&mut html));
        }
    }
    PreEscaped(html)
}

// Every language has the plural forms that its rule can choose.
const _: () = {
    let mut index = 0;
    while index < LANGUAGES.len() {
        let texts = LANGUAGES[index];
        let forms = texts.plural.forms();
        assert!(texts.after_days.len() == forms && texts.after_hours.len() == forms);
        assert!(texts.after_seconds.len() == forms && texts.wait_seconds.len() == forms);
        index += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Sentences that are the same in English and another language.
    const SAME_AS_ENGLISH: [(&str, &str); 1] = [("de", "demo_admin")];

    fn names(sentence: &str) -> Vec<&str> {
        assert_eq!(sentence.matches('{').count(), sentence.matches('}').count(), "{sentence}");
        let mut names: Vec<&str> = sentence.split(['{', '}']).skip(1).step_by(2).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn every_sentence_is_translated_and_has_the_same_values_as_in_english() {
        for texts in &LANGUAGES[1..] {
            for ((name, sentence), (_, english)) in
                texts.sentences().into_iter().zip(EN.sentences())
            {
                let whereabouts = format!("{name} in {}", texts.tag);
                assert_eq!(names(sentence), names(english), "{whereabouts}");
                assert_eq!(sentence, sentence.trim(), "{whereabouts}");
                let is_same = sentence.eq_ignore_ascii_case(english);
                let may_be_same = ["date", "date_time"].contains(&name)
                    || SAME_AS_ENGLISH.contains(&(texts.tag, name));
                assert!(!sentence.is_empty() && (!is_same || may_be_same), "{whereabouts}");
            }
        }
    }

    #[test]
    fn numbers_have_their_place() {
        for texts in LANGUAGES {
            let forms =
                [texts.after_days, texts.after_hours, texts.after_seconds, texts.wait_seconds];
            for (place, form) in forms.iter().flat_map(|forms| forms.iter().enumerate()) {
                // Arabic has words for one and two.
                let is_word = texts.tag == "ar" && matches!(place, 1 | 2);
                assert_eq!(names(form), if is_word { vec![] } else { vec!["n"] }, "{form}");
            }
        }
        assert_eq!(pl::PL.counted(pl::PL.wait_seconds, 22).0, "Odczekaj 22 sekundy.");
        assert_eq!(ar::AR.counted(ar::AR.after_days, 2).0, "بعد يومين");
        assert_eq!(EN.counted(EN.after_days, 1).0, "after 1 day");
    }

    #[test]
    fn values_are_escaped_and_not_read_as_sentences() {
        let name = "<b>{time}</b>";
        let text = fill("{name}: {time} & more", &[("name", &name), ("time", &PreEscaped("<i>"))]);
        assert_eq!(text.0, "&lt;b&gt;{time}&lt;/b&gt;: <i> &amp; more");
    }
}
