//! The languages of the pages, chosen by Accept-Language.

use hallpass::http::{Request, Response};
use serde_json::json;

use crate::test_app::{FORM, RequestExt, TestApp, body, get, post, post_token, token};

const LANGUAGES: [(&str, &str, &str); 15] = [
    ("en", "ltr", "Sign in"),
    ("de", "ltr", "Anmelden"),
    ("fr", "ltr", "Se connecter"),
    ("es", "ltr", "Iniciar sesión"),
    ("pt", "ltr", "Iniciar sessão"),
    ("it", "ltr", "Accedi"),
    ("nl", "ltr", "Inloggen"),
    ("pl", "ltr", "Zaloguj się"),
    ("cs", "ltr", "Přihlásit se"),
    ("uk", "ltr", "Увійти"),
    ("tr", "ltr", "Oturum aç"),
    ("ja", "ltr", "ログイン"),
    ("zh-Hans", "ltr", "登录"),
    ("ko", "ltr", "로그인"),
    ("ar", "rtl", "تسجيل الدخول"),
];
/// A name that nobody should have.
const EVIL: &str = "<script>{account}</script>";

fn read_in(language: &str, request: Request) -> Request {
    request.browser().header("Accept-Language", language)
}

#[test]
fn pages_are_in_the_readers_language() {
    let test = TestApp::open();
    for (tag, direction, sign_in) in LANGUAGES {
        for (target, text) in [("/auth/signin", sign_in), ("/nowhere", "")] {
            let response = test.send(read_in(tag, get(target)));
            let page = body(&response);
            assert!(page.contains(&format!("<html lang=\"{tag}\" dir=\"{direction}\">")), "{page}");
            assert!(page.contains(&format!("<h1>{text}")), "{page}");
            assert_eq!(response.header("Content-Language"), Some(tag));
            assert_eq!(response.header("Vary"), Some("Accept-Language"));
        }
    }
    let page = body(&test.send(read_in("zh-CN,en;q=0.5", get("/auth/signin"))));
    assert!(page.contains("data-locale=\"zh_CN\"") && page.contains("/gsi/client?hl=zh_CN\""));
}

#[test]
fn programs_and_admins_read_english() {
    let test = TestApp::with(&["--allow-anyone", "--admin-email", "testuser@gmail.com"]);
    let admin = body(&test.send(read_in("ar", get("/auth/admin")).cookie(&test.session())));
    assert!(admin.contains("<html lang=\"en\" dir=\"ltr\">") && admin.contains("Overview"));
    let json = test.send(get("/nowhere").header("Accept-Language", "ar"));
    assert!(body(&json).contains("there is nothing at this address"));
    assert_eq!(json.header("Content-Language"), None);
}

/// Every page that somebody meets whose name and token are called [`EVIL`].
fn all_pages(language: &str) -> Vec<Response> {
    let test = TestApp::with(&["--allow-anyone", "--signin-burst", "3", "--site-name", EVIL]);
    let claims = json!({"name": EVIL, "email": EVIL});
    let session = test.sign_in(claims.clone())["session"]["token"].as_str().unwrap().to_owned();
    test.sign_in(claims.clone());
    let send = |request: Request| test.send(read_in(language, request).cookie(&session));
    let account = |fields: &str| send(post("/auth/account", FORM, fields));
    let create =
        "create=true&id=fU8PGZJz1TYiiB_3&lifetime=7d&name=%3Cscript%3E%7Baccount%7D%3C/script%3E";
    let mut pages = vec![
        send(get("/auth/account")),
        account(create),
        account(create),
        account("create=true&id=fU8PGZJz1TYiiB_4&name="),
        account("create=true&id=fU8PGZJz1TYiiB_4&name=a&lifetime=x"),
        account("nothing=1"),
        send(get("/auth/account")),
        send(get("/auth/signin?rd=/x")),
        send(get("/auth/signout")),
        test.send(read_in(language, get("/auth/signin?done=signed-out"))),
        test.send(read_in(language, get("/auth/me"))),
        send(get("/nowhere")),
        send(post("/auth/signin", FORM, "credential=x")),
        test.send(read_in(language, post_token("x"))),
    ];
    let test = test.restarted(&["--allow-domain", "example.com", "--site-name", EVIL]);
    pages.push(test.send(read_in(language, get("/auth/account")).cookie(&session)));
    pages.push(test.send(read_in(language, post_token(&token(claims)))));
    pages
}

#[test]
fn names_are_escaped_in_every_sentence() {
    for language in ["ar", "pl"] {
        for response in all_pages(language) {
            let page = body(&response);
            assert!(!page.contains("<script>"), "{page}");
            // Placeholders are gone, except in the name.
            assert!(!page.replace("{account}&lt;/script&gt;", "").contains('{'), "{page}");
        }
    }
}

#[test]
fn nothing_is_left_in_english() {
    for language in ["ja", "ar", "uk", "zh"] {
        for response in all_pages(language) {
            let page = body(&response);
            let mut text = String::new();
            // Details for operators are in English.
            for part in page.replace("<p class=\"small quiet\" lang=\"en\"", "<!").split('<') {
                let (tag, shown) = part.split_once('>').unwrap_or(("", part));
                text.push(if tag.starts_with(['p', 'h', 'b', 'd', 'l']) { '|' } else { ' ' });
                text.push_str(if tag.starts_with('!') { "" } else { shown });
                for attribute in ["aria-label=\"", "placeholder=\""] {
                    text.push_str(
                        tag.split(attribute).nth(1).unwrap_or_default().split('"').next().unwrap(),
                    );
                }
            }
            let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
            let is_english =
                |word: &str| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_lowercase());
            let english = words.windows(2).find(|pair| pair.iter().all(|word| is_english(word)));
            assert_eq!(english, None, "{page}");
        }
    }
}
