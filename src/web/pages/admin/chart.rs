//! Sign-ins and refusals per day, as a chart and as a table.

use maud::{Markup, html};

use super::{counted, number};
use crate::store::Day;
use crate::web::pages::languages::EN;
use crate::web::pages::time::{date, date_text};

/// The width of a day and of its bar, in units of the drawing, which is stretched to the page.
const DAY_WIDTH: f64 = 10.0;
const BAR_WIDTH: f64 = 7.0;
/// The largest bars. Sign-ins and refusals have separate scales, so a few refusals show beside many
/// sign-ins.
const SIGNINS_HEIGHT: f64 = 70.0;
const REFUSALS_HEIGHT: f64 = 30.0;
/// The scale's smallest maximum, so one refusal does not look like a peak.
const SCALE_MIN: u64 = 10;

/// The chart, readable without colours: sign-ins go up, refusals go down.
pub fn chart(days: &[Day]) -> Markup {
    let most = |count: fn(&Day) -> u64| days.iter().map(count).max().unwrap_or_default();
    let (signins_most, refusals_most) = (most(|day| day.signins), most(|day| day.refusals));
    let (signins, refusals) =
        days.iter().fold((0, 0), |sum, day| (sum.0 + day.signins, sum.1 + day.refusals));
    let scaled = |count: u64, most: u64, height: f64| {
        tenths(count as f64 / most.max(SCALE_MIN) as f64 * height)
    };
    let (width, height) = (days.len() as f64 * DAY_WIDTH, SIGNINS_HEIGHT + REFUSALS_HEIGHT);
    let legend = |class: &str, count: u64, one: &str, most: u64| {
        html! {
            span {
                span.swatch.(class) {}
                (counted(count, one)) " in " (days.len()) " days, at most " (number(most)) " a day"
            }
        }
    };
    html! {
        figure.chart {
            figcaption {
                (legend("signins", signins, "sign-in", signins_most))
                (legend("refusals", refusals, "refusal", refusals_most))
            }
            svg role="img" viewBox={ "0 0 " (width) " " (height) } preserveAspectRatio="none"
                aria-label="Sign-ins (up) and refusals (down) per day; the table below has the numbers" {
                @for (place, day) in days.iter().enumerate() {
                    @let up = scaled(day.signins, signins_most, SIGNINS_HEIGHT);
                    @let down = scaled(day.refusals, refusals_most, REFUSALS_HEIGHT);
                    @let left = place as f64 * DAY_WIDTH + (DAY_WIDTH - BAR_WIDTH) / 2.0;
                    g {
                        title {
                            (date_text(&EN, day.begins_at)) ": " (counted(day.signins, "sign-in")) ", "
                            (counted(day.refusals, "refusal"))
                        }
                        rect.day x=(place as f64 * DAY_WIDTH) y="0" width=(DAY_WIDTH) height=(height) {}
                        rect.signins x=(left) y=(tenths(SIGNINS_HEIGHT - up)) width=(BAR_WIDTH) height=(up) {}
                        rect.refusals x=(left) y=(SIGNINS_HEIGHT) width=(BAR_WIDTH) height=(down) {}
                    }
                }
                line x1="0" x2=(width) y1=(SIGNINS_HEIGHT) y2=(SIGNINS_HEIGHT) {}
            }
            @if let (Some(first), Some(last)) = (days.first(), days.last()) {
                p.small.quiet { (date(&EN, first.begins_at)) (date(&EN, last.begins_at)) }
            }
        }
        details {
            summary { "The same as a table" }
            table {
                caption { "Sign-ins and refusals per day, latest first" }
                thead { tr { th scope="col" { "Day" } th scope="col" { "Sign-ins" } th scope="col" { "Refusals" } } }
                tbody {
                    @for day in days.iter().rev() {
                        tr {
                            th scope="row" { (date(&EN, day.begins_at)) }
                            td { (number(day.signins)) }
                            td { (number(day.refusals)) }
                        }
                    }
                }
            }
        }
    }
}

fn tenths(length: f64) -> f64 {
    (length * 10.0).round() / 10.0
}
