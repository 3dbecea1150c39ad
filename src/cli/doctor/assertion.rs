//! Are identities signed for apps, and with which key?

use crate::cli::output::report::Finding;
use crate::cli::output::time::local;
use crate::cli::serve_options::ServeOptions;
use crate::clock;

/// Are assertions on, and how old is the key?
pub fn assertion(serve: &ServeOptions) -> Finding {
    const CHECK: &str = "assertion";
    if !serve.assertion {
        return Finding::ok(CHECK, "off: apps get the identity in plain headers (--assertion)");
    }
    let keys = serve.database.open_reading().and_then(|store| store.assertion_keys());
    let now = clock::now();
    // A database of an earlier version has no such table.
    let keys = keys.unwrap_or_default();
    match (keys.current(now), keys.next(now)) {
        (None, _) => Finding::ok(CHECK, "on; the server creates the keys when it starts"),
        (Some(current), next) => {
            let next = match next {
                Some(key) => format!("the next one signs from {}", local(key.signs_from)),
                None => "the next one is created within a day".to_owned(),
            };
            let since = local(current.signs_from);
            Finding::ok(CHECK, format!("on; the key signs since {since}, {next}"))
        }
    }
}
