//! How long this instance takes to answer, by what it is asked for: of the last hour, minute by minute, in memory.
//!
//! It is read from the histograms of `/metrics`, so answers cost nothing more. Other instances have hours of their own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::web::metrics::Times;
use shared::clock::{self, UnixSeconds};

use crate::app::App;
use crate::tally::MINUTE;

/// How often the histograms are looked at.
const EVERY: Duration = Duration::from_secs(5);
/// Minutes that are kept, beside the one from which the first is counted.
pub(crate) const KEPT: usize = 60;
/// Those who ask for status lists wait for news: their time says nothing of the server's.
const WAITING: &str = "status";
/// What there is to ask for, by how the address goes on after the issuer's path; the first that fits counts.
const GROUPS: [(&str, &str); 21] = [
    ("/oauth/token", "token"),
    ("/mcp/auth/token", "token"),
    ("/oauth/introspect", "introspect"),
    ("/oauth/revoke", "revoke"),
    ("/oauth/status", WAITING),
    ("/oauth/register", "register"),
    ("/oauth/authorize", "authorize"),
    ("/oauth/par", "authorize"),
    ("/oauth/device_authorization", "authorize"),
    ("/oauth/userinfo", "authorize"),
    ("/consent", "people"),
    ("/device", "people"),
    ("/login", "people"),
    ("/logout", "people"),
    ("/account", "people"),
    ("/approve", "people"),
    ("/fleet/", "fleet"),
    ("/admin/", "admin"),
    ("/console", "console"),
    ("/healthz", "probes"),
    ("/readyz", "probes"),
];
const REST: &str = "other";

/// What was counted until the end of a minute, by group.
type Totals = BTreeMap<&'static str, Times>;

/// The hour.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    minutes: Mutex<VecDeque<(i64, Totals)>>,
}

/// How long the answers of a group, or of a minute, took.
#[derive(Debug)]
pub(crate) struct Part<T> {
    pub(crate) of: T,
    pub(crate) times: Times,
}

/// What is told of some minutes.
#[derive(Debug)]
pub(crate) struct Told {
    /// Where they begin, or this instance.
    pub(crate) since: i64,
    pub(crate) groups: Vec<Part<&'static str>>,
    /// Without those who wait for news.
    pub(crate) minutes: Vec<Part<i64>>,
}

impl Latency {
    /// From now on.
    pub(crate) fn new(now: UnixSeconds) -> Self {
        let latency = Self::default();
        latency.look(Totals::new(), UnixSeconds(now.0 - MINUTE));
        latency
    }

    fn look(&self, totals: Totals, now: UnixSeconds) {
        let minute = now.0.div_euclid(MINUTE) * MINUTE;
        let mut minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        match minutes.back_mut() {
            // A clock that goes back counts into the minute that there is.
            Some((last, known)) if minute <= *last => *known = totals,
            _ => minutes.push_back((minute, totals)),
        }
        while minutes.len() > KEPT + 1 {
            minutes.pop_front();
        }
    }

    /// The last so many minutes, with the one that goes on.
    pub(crate) fn tell(&self, minutes: usize, now: UnixSeconds) -> Told {
        let known = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        let first = now.0.div_euclid(MINUTE) * MINUTE - i64::try_from(minutes).unwrap_or(0) * MINUTE;
        // What is before the first minute is what it is counted from.
        let begin = known.partition_point(|(minute, _)| *minute <= first).max(1) - 1;
        let mut told = Told {
            since: first + MINUTE,
            groups: Vec::new(),
            minutes: Vec::new(),
        };
        let wanted = known.range(begin.min(known.len())..);
        for ((before_at, before), (minute, totals)) in wanted.clone().zip(wanted.clone().skip(1)) {
            let mut all = Times::default();
            for (group, times) in totals {
                let new = times.since(before.get(group).unwrap_or(&Times::default()));
                if *group != WAITING {
                    all.add(&new);
                }
            }
            if told.minutes.is_empty() {
                told.since = told.since.max(before_at + MINUTE);
            }
            told.minutes.push(Part {
                of: *minute,
                times: all,
            });
        }
        if let (Some((_, before)), Some((_, totals))) = (wanted.clone().next(), known.back()) {
            let new = totals.iter().map(|(group, times)| Part {
                of: *group,
                times: times.since(before.get(group).unwrap_or(&Times::default())),
            });
            told.groups = new.filter(|part| part.times.count() > 0).collect();
        }
        told.minutes.retain(|part| part.times.count() > 0);
        told
    }
}

/// Looks until the program ends.
pub(crate) async fn run(app: Arc<App>) {
    let mut timer = tokio::time::interval(EVERY);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        look(&app, clock::now());
    }
}

/// Takes what was counted until now.
pub(crate) fn look(app: &App, now: UnixSeconds) {
    let base = app.config.issuer.path();
    let mut totals = Totals::new();
    for (route, times) in app.metrics.times_by_route() {
        totals.entry(group_of(&route, base)).or_default().add(&times);
    }
    app.latency.look(totals, now);
}

/// What the address of a route is asked for.
fn group_of(route: &str, base: &str) -> &'static str {
    if route.starts_with("/.well-known/") {
        return "metadata";
    }
    let rest = route.strip_prefix(base).unwrap_or(route);
    if rest.starts_with("/.well-known/") {
        return "metadata";
    }
    let found = GROUPS.iter().find(|(begin, _)| rest.starts_with(begin));
    found.map_or(REST, |(_, group)| group)
}

#[cfg(test)]
mod tests {
    use ::web::metrics::Metrics;

    use super::*;

    #[test]
    fn addresses_are_grouped_wherever_the_issuer_is() {
        for (route, base, group) in [
            ("/oauth/token", "", "token"),
            ("/tenant/oauth/token", "/tenant", "token"),
            ("/oauth/status/{list}", "", "status"),
            (
                "/.well-known/oauth-authorization-server/tenant",
                "/tenant",
                "metadata",
            ),
            ("/tenant/.well-known/jwks.json", "/tenant", "metadata"),
            ("/login/link", "", "people"),
            ("/admin/v1/nodes/{id}", "", "admin"),
            ("/assets/style.css", "", "other"),
            ("other", "", "other"),
        ] {
            assert_eq!(group_of(route, base), group, "{route}");
        }
    }

    fn totals(token: u64, status: u64) -> Totals {
        let metrics = Metrics::new("x");
        let count = |route: &str, times: u64| {
            for _ in 0..times {
                metrics.answered(route.to_owned(), 200, Duration::from_millis(2));
            }
        };
        count("t", token);
        count("s", status);
        let by_route = metrics.times_by_route().into_iter();
        by_route
            .map(|(route, times)| (if route == "t" { "token" } else { WAITING }, times))
            .collect()
    }

    #[test]
    fn an_hour_is_kept_and_each_minute_told_by_itself() {
        let at = UnixSeconds;
        let latency = Latency::new(at(600));
        assert!(latency.tell(60, at(600)).minutes.is_empty());
        latency.look(totals(1, 0), at(601));
        latency.look(totals(3, 5), at(659));
        latency.look(totals(4, 9), at(725));
        let told = latency.tell(60, at(730));
        let minutes: Vec<_> = told
            .minutes
            .iter()
            .map(|part| (part.of, part.times.count()))
            .collect();
        assert_eq!(minutes, [(600, 3), (720, 1)]);
        assert_eq!(told.since, 600, "this instance began then");
        let groups: Vec<_> = told
            .groups
            .iter()
            .map(|part| (part.of, part.times.count()))
            .collect();
        assert_eq!(groups, [("status", 9), ("token", 4)]);
        let last = latency.tell(1, at(730));
        assert_eq!((last.since, last.minutes.len(), last.groups.len()), (720, 1, 2));
        assert_eq!(last.groups[1].times.count(), 1);
        for minute in 0..1000 {
            latency.look(totals(4, 9), at(780 + minute * 60));
        }
        assert_eq!(latency.minutes.lock().unwrap().len(), KEPT + 1);
        assert!(latency.tell(60, at(780 + 999 * 60)).groups.is_empty());
    }
}
