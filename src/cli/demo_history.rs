//! Invents the weeks before the demo: people signed in or were refused, so the admin pages have
//! something to show.

use std::thread;

use crate::entry::Entry;
use crate::google::AllowList;
use crate::google::demo::{CLIENT_ID, DemoGoogle, Person, person};
use crate::store::{
    Actor, Client, DAY_SECONDS, NewSession, SessionKind, SignIn, Store, StoreError,
};
use crate::token::{SessionToken, random_name};
use crate::web::Settings;

const DAYS: i64 = 28;
/// How many days ago somebody left and was blocked.
const LEFT_DAYS: i64 = 5;
/// People come within ten hours from seven o'clock on, in UTC.
const MORNING_SECONDS: i64 = 7 * 60 * 60;
const MORNING_TO_EVENING_MINUTES: i64 = 10 * 60;
/// 1970-01-01 was a Thursday.
const WEEKDAY_OF_DAY_0: i64 = 4;

const COM: Option<&str> = Some("example.com");
const ORG: Option<&str> = Some("example.org");

/// They write their names in several scripts and directions. The last three are from outside.
const VISITORS: [Person; 12] = [
    person("100000000000000000011", "Ingrid", "Sørensen", "ingrid@example.com", COM),
    person("100000000000000000012", "ليلى", "منصور", "layla@example.com", COM),
    person("100000000000000000013", "Kwame", "Mensah", "kwame@example.com", COM),
    person("100000000000000000014", "さくら", "田中", "sakura@example.com", COM),
    person("100000000000000000015", "Олена", "Коваль", "olena@example.org", ORG),
    person("100000000000000000016", "Tomás", "Ferreira", "tomas@example.org", ORG),
    person("100000000000000000017", "נועה", "לוי", "noa@example.org", ORG),
    person("100000000000000000018", "Priya", "Raman", "priya@example.org", ORG),
    LEAVER,
    GUEST,
    person("100000000000000000021", "Robin", "Vale", "robin.vale@gmail.com", None),
    person("100000000000000000022", "Alex", "Marsh", "alex.marsh@gmail.com", None),
];
const LEAVER: Person = person("100000000000000000019", "Lukas", "Brandt", "lukas@example.com", COM);
const GUEST: Person =
    person("100000000000000000020", "Grace", "Amadi", "grace.amadi@gmail.com", None);

const BROWSERS: [&str; 3] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1",
];

/// Fills a new database.
///
/// # Errors
/// If the store cannot answer.
pub fn invent(
    google: &DemoGoogle,
    settings: &Settings,
    store: &Store,
    now: i64,
) -> Result<(), StoreError> {
    let guest = Entry::Email(GUEST.email.to_owned());
    let note = Some("helps with the website until spring".to_owned());
    store.allow(guest, note, Actor::operator(), now - DAYS * DAY_SECONDS)?;
    // One thread for each person, because sign-ins at the same time share a write to the disk.
    thread::scope(|scope| {
        let start = |index| scope.spawn(move || visit(google, settings, store, index, now));
        let threads: Vec<_> = (0..VISITORS.len()).map(start).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
    })?;
    store.set_blocked(LEAVER.subject, true, Actor::operator(), now - LEFT_DAYS * DAY_SECONDS)?;
    Ok(())
}

/// Signs a visitor in on some days, or has the attempts refused.
fn visit(
    google: &DemoGoogle,
    settings: &Settings,
    store: &Store,
    index: usize,
    now: i64,
) -> Result<(), StoreError> {
    let (person, index) = (&VISITORS[index], index as i64);
    let profile = person.profile();
    let is_refused = !settings.policy.permits(&profile);
    let unless_allowed =
        is_refused.then(|| settings.policy.refusal(&profile, &AllowList::default()));
    let today = now / DAY_SECONDS;
    let last_day = today - if person.subject == LEAVER.subject { LEFT_DAYS + 1 } else { 1 };
    for day in (today - DAYS..=last_day).filter(|day| comes(index, *day)) {
        let minute = (index * 47 + day * 13) % MORNING_TO_EVENING_MINUTES;
        let at = day * DAY_SECONDS + MORNING_SECONDS + minute * 60;
        let sign_in = SignIn {
            profile: profile.clone(),
            client_id: CLIENT_ID.to_owned(),
            authorized_party: Some(CLIENT_ID.to_owned()),
            verified_by: "tokeninfo",
            id_token: google.issue(person, at).signed_hash(),
            client: Client {
                address: Some(format!("192.0.2.{}", 10 + index)),
                user_agent: BROWSERS.get(index as usize % 3).map(|text| (*text).to_owned()),
            },
            session: NewSession {
                token: SessionToken::generate().hash(),
                kind: SessionKind::Session,
                id: random_name(),
                expires_at: at + settings.session_lifetime,
            },
            sessions_max: settings.sessions_per_user,
            unless_allowed,
        };
        // A refusal is recorded too.
        let _ = store.sign_in(sign_in, at)?;
    }
    Ok(())
}

/// Whether a visitor comes on that day: irregularly, and seldom at weekends.
fn comes(visitor: i64, day: i64) -> bool {
    let is_weekend = matches!((day + WEEKDAY_OF_DAY_0) % 7, 0 | 6);
    let is_busy = (visitor * 5 + day * (visitor % 5 + 2)) % 11 < if is_weekend { 1 } else { 4 };
    // The last two are refused, and try less often.
    is_busy && (visitor < 10 || day % 4 == 0)
}
