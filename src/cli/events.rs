//! `hallpass events`: shows events.

use std::thread;
use std::time::Duration;

use super::find_user;
use crate::cli::output::table::Column;
use crate::cli::output::time::local;
use crate::cli::output::{json, table};
use crate::clock;
use crate::config::EventsOptions;
use crate::store::{About, EventFilter, EventRow, Store, StoreError};

/// How often --follow looks for new events, and how many it reads at once.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);
const FOLLOW_STEP_ROWS: u32 = 1000;

const COLUMNS: [Column; 6] = [
    Column::whole("TIME"),
    Column::whole("KIND"),
    Column::text("WHO"),
    Column::whole("ADDRESS").spare(2),
    Column::whole("SESSION").spare(1),
    Column::text("REASON"),
];

/// Runs `hallpass events`.
///
/// # Errors
/// One sentence that says why not.
pub fn events(options: &EventsOptions) -> Result<(), String> {
    let text = |error: StoreError| error.to_string();
    let store = Store::open_reading(&options.database.database).map_err(text)?;
    let filter = EventFilter {
        kind: options.kind,
        about: options.user.as_deref().map(|name| about(&store, name)).transpose()?,
        since: options.since.map(|since| since.at(clock::now())),
        until: options.until.map(|until| until.at(clock::now())),
    };
    // Read before the list below, so that --follow misses no event recorded in between.
    let mut last_id = store
        .last_events(&EventFilter::default(), 1)
        .map_err(text)?
        .first()
        .map_or(0, |event| event.id);
    let mut events = store.last_events(&filter, table::rows_wanted(options.limit)).map_err(text)?;
    let has_more = table::has_more(options.limit, &events);
    if has_more {
        // The oldest.
        events.remove(0);
    }
    loop {
        if options.json {
            table::documents(events.iter().map(json::event))?;
        } else if options.follow {
            table::rows(events.iter().map(cells))?;
        } else {
            table(&events)?;
        }
        if !options.follow {
            if has_more {
                table::note("there are more events; show older ones with --limit N");
            }
            return Ok(());
        }
        last_id = events.iter().map(|event| event.id).fold(last_id, i64::max);
        thread::sleep(FOLLOW_INTERVAL);
        events = store.events_after(&filter, last_id, FOLLOW_STEP_ROWS).map_err(text)?;
    }
}

/// A refused person is not a user, so their e-mail is looked up in the events.
fn about(store: &Store, name: &str) -> Result<About, String> {
    let accounts = store.accounts_named(name).map_err(|error| error.to_string())?;
    match (accounts.is_empty(), name.contains('@')) {
        (false, _) => Ok(About::Subject(find_user::one_account(store, name)?.user.profile.subject)),
        (true, true) => Ok(About::Email(name.to_owned())),
        (true, false) => Ok(About::Subject(name.to_owned())),
    }
}

/// Prints events as a table.
///
/// # Errors
/// If it cannot be written.
pub fn table(events: &[EventRow]) -> Result<(), String> {
    table::table(&COLUMNS, events.iter().map(cells))
}

fn cells(event: &EventRow) -> Vec<String> {
    vec![
        local(event.at),
        event.kind.clone(),
        event.email.as_ref().or(event.subject.as_ref()).cloned().unwrap_or_default(),
        event.client.address.clone().unwrap_or_default(),
        event.session_id.clone().unwrap_or_default(),
        reason(event),
    ]
}

fn reason(event: &EventRow) -> String {
    let reason = event.reason.as_deref().unwrap_or_default();
    event.host.as_ref().map_or_else(|| reason.to_owned(), |host| format!("{host}: {reason}"))
}
