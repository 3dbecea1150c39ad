//! This process's recent calls to Google.

use std::collections::BTreeMap;
use std::time::Duration;

use maud::{Markup, html};

use super::{counted, number};
use crate::metrics::{Call, CallResult};
use crate::web::pages::languages::EN;
use crate::web::pages::time::date_time;

/// Summarises `calls`, which begin with the latest.
pub fn answers(calls: &[Call]) -> Markup {
    let (Some(last), Some(first)) = (calls.first(), calls.last()) else {
        return html! { p.quiet { "Google has not been called since this server started." } };
    };
    let count = |result| calls.iter().filter(|call| call.result == result).count() as u64;
    let mut latencies: Vec<Duration> = calls
        .iter()
        .filter(|call| call.result != CallResult::Failed)
        .map(|call| call.duration)
        .collect();
    latencies.sort_unstable();
    let mut failures: BTreeMap<&str, (u64, i64)> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.result == CallResult::Failed) {
        let (times, latest) = failures.entry(&call.failure).or_default();
        (*times, *latest) = (*times + 1, call.at.max(*latest));
    }
    html! {
        dl {
            dt { "Latest call" }
            dd { (ended(last)) ", " (date_time(&EN, last.at)) }
            dt { "Latency" }
            dd {
                @match (percentile(&latencies, 50), percentile(&latencies, 95)) {
                    (Some(half), Some(most)) => {
                        "half within " strong { (milliseconds(half)) } ", 95% within " strong { (milliseconds(most)) }
                    },
                    _ => "no response",
                }
            }
            dt { "Outcomes" }
            dd {
                (number(count(CallResult::Ok))) " good, " (number(count(CallResult::Refused))) " refused, "
                (number(count(CallResult::Failed))) " failed"
            }
        }
        @if !failures.is_empty() {
            h3 { "Failures by kind" }
            ul.rows {
                @for (kind, (times, latest)) in failures {
                    li { div { (kind) } p.small.quiet { (counted(times, "time")) ", last at " (date_time(&EN, latest)) } }
                }
            }
        }
        p.small.quiet { "Based on the last " (counted(calls.len() as u64, "call")) ", since " (date_time(&EN, first.at)) "." }
    }
}

fn ended(call: &Call) -> &'static str {
    match call.result {
        CallResult::Ok => "a good token",
        CallResult::Refused => "a refused token",
        CallResult::Failed => "failed",
    }
}

/// The nearest-rank percentile.
fn percentile(sorted: &[Duration], share: usize) -> Option<Duration> {
    sorted.get((sorted.len() * share).div_ceil(100).saturating_sub(1)).copied()
}

fn milliseconds(duration: Duration) -> String {
    format!("{} ms", duration.as_millis().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let sorted: Vec<Duration> = (1..=20).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 50), Some(Duration::from_millis(10)));
        assert_eq!(percentile(&sorted, 95), Some(Duration::from_millis(19)));
        assert_eq!(percentile(&sorted[..1], 95), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&[], 50), None);
    }
}
