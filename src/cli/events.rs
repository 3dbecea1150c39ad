//! `hallpass events`: shows events.

use std::thread;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::find_user;
use super::values::{DatabaseOption, duration};
use crate::cli::output::table::Column;
use crate::cli::output::time::local;
use crate::cli::output::{json, table};
use crate::clock;
use crate::store::{About, EventFilter, EventKind, EventRow, Store, StoreError};

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

/// Flags of `events`.
#[derive(Debug, Clone, Args)]
pub struct EventsOptions {
    /// The database.
    #[command(flatten)]
    pub database: DatabaseOption,
    /// Only events of this kind
    #[arg(long, value_name = "KIND")]
    pub kind: Option<EventKind>,
    /// Only events about this person, by e-mail or sub
    #[arg(long, value_name = "EMAIL|SUB")]
    pub user: Option<String>,
    /// Only events since this time: 90s, 12h or 30d (ago), or a local time such as 2026-11-01 or
    /// 2026-11-01T14:30
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    pub since: Option<PointInTime>,
    /// Only events until this time: 90s, 12h or 30d (ago), or a local time
    #[arg(long, value_name = "TIME", value_parser = point_in_time, conflicts_with = "follow")]
    pub until: Option<PointInTime>,
    /// Show at most this many, the latest [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Wait for new events and show them, until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
}

/// A point in time on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointInTime {
    /// This long ago.
    Ago(Duration),
    /// In unix seconds.
    At(i64),
}

impl PointInTime {
    /// In unix seconds.
    pub fn at(self, now: i64) -> i64 {
        match self {
            PointInTime::Ago(duration) => now.saturating_sub_unsigned(duration.as_secs()),
            PointInTime::At(at) => at,
        }
    }
}

/// A time without a zone is in the system's zone, or that of TZ. A day means its beginning.
fn point_in_time(text: &str) -> Result<PointInTime, String> {
    if let Ok(duration) = duration(text) {
        return Ok(PointInTime::Ago(duration));
    }
    let local = || text.parse::<DateTime>().and_then(|time| time.to_zoned(TimeZone::system()));
    let time = text.parse::<Timestamp>().or_else(|_| Ok(local()?.timestamp()));
    time.map(|time| PointInTime::At(time.as_second())).map_err(|_: jiff::Error| {
        "expected a duration such as 90s, 12h or 30d, or a time such as 2026-11-01 or 2026-11-01T14:30".into()
    })
}

impl ValueEnum for EventKind {
    fn value_variants<'a>() -> &'a [EventKind] {
        &EventKind::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.as_str()))
    }
}

/// Runs `hallpass events`.
///
/// # Errors
/// One sentence that says why it failed.
pub fn events(options: &EventsOptions) -> Result<(), String> {
    let text = |error: StoreError| error.to_string();
    let store = options.database.database.open_reading().map_err(text)?;
    let filter = EventFilter {
        kind: options.kind,
        about: options.user.as_deref().map(|name| about(&store, name)).transpose()?,
        since: options.since.map(|since| since.at(clock::now())),
        until: options.until.map(|until| until.at(clock::now())),
    };
    // Read before the list below, so --follow misses no event recorded in between.
    let mut last_id = store.newest_event_id().map_err(text)?;
    let mut events = store.last_events(&filter, table::rows_wanted(options.limit)).map_err(text)?;
    // The oldest are cut.
    events.reverse();
    let has_more = table::cut(options.limit, &mut events);
    events.reverse();
    loop {
        if options.json {
            table::documents(events.iter().map(json::event))?;
        } else if options.follow {
            table::rows(events.iter().map(cells))?;
        } else {
            table(&events)?;
        }
        if !options.follow {
            table::note_extent("events", events.len(), has_more);
            return Ok(());
        }
        last_id = events.iter().map(|event| event.id).fold(last_id, i64::max);
        thread::sleep(FOLLOW_INTERVAL);
        events = store.events_after(&filter, last_id, FOLLOW_STEP_ROWS).map_err(text)?;
    }
}

/// A refused person is not a user, so their e-mail is looked up in the events.
fn about(store: &Store, name: &str) -> Result<About, String> {
    let accounts = store.users_named(name).map_err(|error| error.to_string())?;
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
    let person = event.email.as_ref().or(event.subject.as_ref());
    // If it is about nobody, it is about a domain.
    let is_googles = event.kind == EventKind::Google.as_str();
    let detail = event.detail.as_deref().filter(|_| !is_googles).unwrap_or_default();
    vec![
        local(event.at),
        event.kind.clone(),
        person.map_or(detail, String::as_str).to_owned(),
        event.client.address.clone().unwrap_or_default(),
        event.session_id.clone().unwrap_or_default(),
        reason(event, if person.is_some() { detail } else { "" }),
    ]
}

fn reason(event: &EventRow, detail: &str) -> String {
    let host = event.host.as_ref().map(|host| format!("{host}:"));
    let shown = event.shown_reason();
    let parts = [host.as_deref(), Some(detail), shown.as_deref()];
    let parts: Vec<&str> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}
