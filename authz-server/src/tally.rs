//! What happens minute by minute, for who looks at the server: tokens by grant, refusals by reason, answers and how long
//! they take. Each instance adds its own to the same rows ([`crate::db::tally`]); a day of it is kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use shared::clock::{self, UnixSeconds};

use crate::app::App;
use crate::db::tally::{self, TallyRow};
use crate::token::GrantType;

/// How often an instance adds what it has counted.
const EVERY: Duration = Duration::from_secs(5);
/// How long minutes are kept.
pub(crate) const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
pub(crate) const MINUTE: i64 = 60;

/// What an instance has counted since its start, by kind and name.
type Totals = BTreeMap<(&'static str, &'static str), u64>;

/// Adds what was counted, until the program ends.
pub(crate) async fn run(app: Arc<App>) {
    let mut timer = tokio::time::interval(EVERY);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told = Totals::new();
    loop {
        timer.tick().await;
        let totals = count(&app);
        let rows = rows(&told, &totals, clock::now());
        if rows.is_empty() {
            continue;
        }
        match tally::add(&app.db, &rows).await {
            Ok(()) => told = totals,
            // It is added with the next.
            Err(fault) => tracing::debug!(reason = %fault, "what happened in this minute could not be added"),
        }
    }
}

fn count(app: &App) -> Totals {
    let mut totals = Totals::new();
    for grant in GrantType::ALL {
        totals.insert(("issued", grant.as_str()), app.counts.issued_by(grant));
    }
    for (reason, count) in app.metrics.refusals_by_reason() {
        totals.insert(("refused", reason), count);
    }
    let (answers, time) = app.metrics.answers();
    totals.insert(("answers", ""), answers);
    totals.insert(("answer_micros", ""), time);
    totals
}

/// What is new, in the order of the keys.
fn rows(told: &Totals, totals: &Totals, now: UnixSeconds) -> Vec<TallyRow> {
    let minute = now.0.div_euclid(MINUTE) * MINUTE;
    let new = totals.iter().filter_map(|(&(kind, name), total)| {
        let before = told.get(&(kind, name)).copied().unwrap_or(0);
        let count = i64::try_from(total.saturating_sub(before)).unwrap_or(i64::MAX);
        (count > 0).then(|| TallyRow {
            minute,
            kind: kind.to_owned(),
            name: name.to_owned(),
            count,
        })
    });
    new.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_not_told_again() {
        let totals = |pairs: &[(&'static str, u64)]| -> Totals {
            pairs
                .iter()
                .map(|(name, count)| (("issued", *name), *count))
                .collect()
        };
        let (before, after) = (
            totals(&[("a", 1), ("b", 2)]),
            totals(&[("a", 1), ("b", 5), ("c", 1)]),
        );
        let rows = rows(&before, &after, UnixSeconds(179));
        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.minute, &*row.name, row.count))
            .collect();
        assert_eq!(told, [(120, "b", 3), (120, "c", 1)]);
        assert!(super::rows(&after, &after, UnixSeconds(0)).is_empty());
    }
}
