//! The admin's first page: recent activity at a glance.

use maud::{Markup, html};

use super::allowed::let_in;
use super::{ADMIN_PATH, admin_page, chart, counted, for_admin, google, person, user_path};
use crate::http::{Request, Response};
use crate::metrics::BackupStatus;
use crate::store::{EventRow, RecentUser, RefusalRow};
use crate::web::app::App;
use crate::web::error::Error;
use crate::web::pages::device::device;
use crate::web::pages::languages::EN;
use crate::web::pages::time::{ago, date_time};

/// Days in the chart.
const DAYS: u32 = 30;
/// People and refusals listed.
const SHOWN_MAX: u32 = 10;

/// GET /auth/admin.
///
/// # Errors
/// 404 if no admins are configured, 401 for a program, 403 for another user, 503.
pub fn admin(app: &App, request: &Request, now: i64) -> Result<Response, Error> {
    for_admin(app, request, now, |_| {
        let days = app.store.days(DAYS, now)?;
        let today = days.last().map_or((0, 0), |day| (day.signins, day.refusals));
        let seen = app.store.recent_users(now, app.settings.session_idle, SHOWN_MAX as usize)?;
        let refusals = app.store.last_refusals(SHOWN_MAX)?;
        let content = html! {
            h1 { "Overview" }
            p { "Today: " (counted(today.0, "sign-in")) ", " (counted(today.1, "refusal")) "." }
            (chart::chart(&days))
            div.columns {
                section {
                    h2 { "Signed in now" }
                    (signed_in(&seen, now))
                }
                section {
                    h2 { "Latest refusals" }
                    (refused(app, &refusals, now))
                }
            }
            @if app.settings.verifier.security_events {
                h2 { "Google's security events" }
                (security_events(&app.store.last_google_reports(SHOWN_MAX)?, now))
            }
            @if let Some(status) = app.metrics.backup_status() {
                h2 { "Backups" }
                (backups(status))
            }
            h2 { "Google" }
            (google::answers(&app.metrics.last_calls()))
        };
        Ok(admin_page(app, "Overview", ADMIN_PATH, &content))
    })
}

fn backups(status: BackupStatus) -> Markup {
    html! {
        @if status.has_failed {
            p.notice { "The latest backup failed. The server's log says why." }
        }
        @match status.newest {
            Some(at) => p { "The newest backup was made on " (date_time(&EN, at)) "." },
            None => p.quiet { "There is no backup yet." },
        }
    }
}

fn security_events(reports: &[EventRow], now: i64) -> Markup {
    html! {
        @if reports.is_empty() { p.quiet { "Google has reported nothing about an account." } }
        ul.rows {
            @for event in reports {
                li {
                    div {
                        @if let Some(subject) = &event.subject {
                            a href=(user_path(subject)) {
                                strong { bdi { (event.email.as_ref().unwrap_or(subject)) } }
                            }
                        }
                        br;
                        bdi.small { (event.shown_reason().unwrap_or_default()) }
                    }
                    p.small.quiet { (ago(event.at, now)) }
                }
            }
        }
    }
}

fn signed_in(seen: &[RecentUser], now: i64) -> Markup {
    html! {
        @if seen.is_empty() { p.quiet { "Nobody is signed in." } }
        ul.rows {
            @for RecentUser { user, session, others } in seen {
                li {
                    div { (person(&user.profile)) }
                    p.small.quiet {
                        "seen " (ago(session.last_seen_at, now)) br;
                        (device(&EN, &session.client, session.kind))
                        @if *others > 0 { " and " (others) " more" }
                    }
                }
            }
        }
    }
}

fn refused(app: &App, refusals: &[RefusalRow], now: i64) -> Markup {
    html! {
        @if refusals.is_empty() { p.quiet { "Nobody was refused." } }
        ul.rows {
            @for RefusalRow { event, is_user, is_allowed } in refusals {
                @let who = event.email.as_ref().or(event.subject.as_ref()).map_or("somebody unknown", String::as_str);
                li {
                    div {
                        @match &event.subject {
                            Some(subject) if *is_user => a href=(user_path(subject)) { strong { bdi { (who) } } },
                            _ => strong { bdi { (who) } },
                        }
                        br;
                        bdi.small { (event.reason.as_deref().unwrap_or_default()) }
                        @if let Some(host) = &event.host { br; span.small.quiet { "at " bdi { (host) } } }
                        @if let Some(address) = &event.client.address { br; span.small.quiet { "from " (address) } }
                    }
                    div.side {
                        p.small.quiet { (ago(event.at, now)) }
                        (let_in(app, event, *is_allowed))
                    }
                }
            }
        }
    }
}
