//! Looking for what is worth an alert.

use std::sync::Arc;
use std::time::Duration;

use ::web::rates::Rate;
use serde_json::json;
use shared::clock::{self, UnixSeconds};

use super::{HOUR, REPLAY, raise, silence};
use crate::app::App;
use crate::audit::{self, Name, VerifyFault};
use crate::db::{DbFault, audit_event};
use crate::keys::State;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(5);
/// After a longer pause than that, the program itself stood still.
const STILL: Duration = Duration::from_secs(30);
/// How often the whole audit log is read.
const VERIFIED_EVERY: Duration = Duration::from_secs(86_400);
/// Rows that are read at once.
const PAGE: u32 = 500;

/// What was seen so far.
struct Seen {
    /// The newest event of the audit log that was looked at.
    sequence: i64,
    verified_at: Option<UnixSeconds>,
    /// Since when nodes could be heard of without a break.
    listening_since: UnixSeconds,
    looked_at: UnixSeconds,
    failures: [Window; 3],
}

/// Refusals of one kind in a span of time.
struct Window {
    reason: &'static str,
    kind: &'static str,
    /// Of how many an alert tells.
    rate: Rate,
    began_at: UnixSeconds,
    /// How many there had been before.
    before: u64,
}

impl Window {
    fn new((reason, kind): (&'static str, &'static str), rate: Rate, now: UnixSeconds) -> Self {
        Self {
            reason,
            kind,
            rate,
            began_at: now,
            before: 0,
        }
    }

    /// How many there were since the window began, when that is as many as the rate or more. It begins anew only once that was
    /// told ([`Self::begin`]), or when its time is over.
    fn reached(&mut self, total: u64, now: UnixSeconds) -> Option<u64> {
        let (count, span) = self.rate.count_and_window()?;
        let since = total.saturating_sub(self.before);
        let is_reached = since >= u64::from(count);
        if !is_reached && now >= self.began_at + span {
            self.begin(total, now);
        }
        is_reached.then_some(since)
    }

    fn begin(&mut self, total: u64, now: UnixSeconds) {
        self.before = total;
        self.began_at = now;
    }
}

/// Looks until the program ends.
pub(super) async fn run(app: &Arc<App>) {
    let Some(alerts) = &app.config.alerts else {
        return;
    };
    let now = clock::now();
    let mut seen = Seen {
        // What happened before belongs to whoever ran then, and the same alert is raised once: so all of it is looked at.
        sequence: 0,
        verified_at: None,
        listening_since: now,
        looked_at: now,
        failures: [
            Window::new(("sign_in", "brute_force.sign_in"), alerts.failures, now),
            Window::new(("invalid_client", "brute_force.client"), alerts.failures, now),
            Window::new(("registrations", "registration_flood"), alerts.registrations, now),
        ],
    };
    let mut timer = tokio::time::interval(EVERY);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        if let Err(fault) = look(app, &mut seen, clock::now()).await {
            // Whoever reported meanwhile was not heard either.
            seen.listening_since = clock::now();
            tracing::warn!(reason = %fault, "alerts could not be raised; it will be tried again");
        }
    }
}

async fn look(app: &App, seen: &mut Seen, now: UnixSeconds) -> Result<(), DbFault> {
    for window in &mut seen.failures {
        let total = app.metrics.refusals(window.reason);
        if let Some(count) = window.reached(total, now) {
            raise(app, (window.kind, ""), json!({ "refused": count }), now).await?;
            window.begin(total, now);
        }
    }
    events(app, seen, now).await?;
    keys(app, now).await?;
    // A program that stood still heard of nobody.
    if now.since(seen.looked_at) > STILL {
        seen.listening_since = now;
    }
    seen.looked_at = now;
    silence::look(app, seen.listening_since, now).await?;
    if seen.verified_at.is_none_or(|at| now >= at + VERIFIED_EVERY) {
        match audit::verify(&app.db).await {
            Ok(_) => seen.verified_at = Some(now),
            Err(VerifyFault::Db(fault)) => return Err(fault),
            Err(damage) => {
                let details = json!({ "reason": damage.to_string() });
                raise(app, ("audit_chain_broken", ""), details, now).await?;
                seen.verified_at = Some(now);
            }
        }
    }
    Ok(())
}

/// What the audit log says since the last look.
async fn events(app: &App, seen: &mut Seen, now: UnixSeconds) -> Result<(), DbFault> {
    let Some(head) = audit_event::head(&app.db).await? else {
        return Ok(());
    };
    if head.sequence < seen.sequence {
        // A backup was restored under us.
        seen.sequence = 0;
    }
    while seen.sequence < head.sequence {
        let rows = audit_event::after(&app.db, (seen.sequence, head.sequence), PAGE).await?;
        let Some(last) = rows.last().map(|row| row.sequence) else {
            break;
        };
        for row in rows {
            // What is older is not news.
            if UnixSeconds(row.occurred_at) + HOUR < now {
                continue;
            }
            let kind = kind_of(&row.event);
            if let Some((kind, subject)) =
                kind.map(|kind| (kind, row.actor.as_deref().unwrap_or(&row.target)))
            {
                let at = UnixSeconds(row.occurred_at);
                let details = json!({
                    "audit_event": row.event, "audit_sequence": row.sequence, "actor": row.actor,
                    "on_behalf_of": row.on_behalf_of, "target_type": row.target_type, "target": row.target,
                    "source": row.source,
                });
                raise(app, (kind, subject), details, at).await?;
            }
        }
        seen.sequence = last;
    }
    Ok(())
}

/// The events that are alerts.
fn kind_of(event: &str) -> Option<&'static str> {
    let is = |name: Name| event == name.as_str();
    if [
        Name::RefreshTokenReplayed,
        Name::AuthorizationCodeReplayed,
        Name::DeviceCodeReplayed,
    ]
    .into_iter()
    .any(is)
    {
        Some(REPLAY)
    } else if is(Name::KeyCompromised) {
        Some("key_compromised")
    } else {
        None
    }
}

/// Keys that should have been rotated an hour ago.
async fn keys(app: &App, now: UnixSeconds) -> Result<(), DbFault> {
    let Some(every) = app.config.key_schedule.every else {
        return Ok(());
    };
    let ring = app.known_keys();
    for key in &ring.states {
        if key.state == State::Current && key.signs_from + every + HOUR < now && !ring.has_heir(key, now) {
            let details =
                json!({ "alg": key.algorithm.as_str(), "kid": key.kid, "signs_from": key.signs_from });
            raise(app, ("key_overdue", &key.kid), details, now).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_the_rate_in_its_time_are_an_alert() {
        let at = UnixSeconds;
        let rate: Rate = "10/min".parse().unwrap();
        let mut window = Window::new(("sign_in", "brute_force"), rate, at(0));
        assert_eq!(window.reached(9, at(5)), None);
        assert_eq!(window.reached(10, at(10)), Some(10));
        assert_eq!(window.reached(10, at(10)), Some(10), "until it was told");
        window.begin(10, at(10));
        // It begins anew.
        assert_eq!(window.reached(19, at(15)), None);
        assert_eq!(window.reached(19, at(75)), None);
        assert_eq!(window.reached(28, at(80)), None);
        assert_eq!(window.reached(29, at(81)), Some(10));
        let mut off = Window::new(("sign_in", "brute_force"), "off".parse().unwrap(), at(0));
        assert_eq!(off.reached(1_000_000, at(1)), None);
    }
}
