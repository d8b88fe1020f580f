//! Retention: events whose time is over leave the log, and the chain can still be checked. The first row that is left knows
//! the hash of the last that was removed, and an event says that this was done and up to where: whoever removes rows
//! without it, or other rows, leaves a chain that begins where no event says it does.

use std::time::Duration;

use serde_json::{Map, Value};
use shared::clock::UnixSeconds;

use super::{Actor, Event, Name, Outcome, Target};
use crate::db::audit_event::{self, Head};
use crate::db::{Db, DbFault};

/// Events may stay so much longer: each removal is an event itself, and one a day is enough.
const SLACK: Duration = Duration::from_secs(24 * 60 * 60);
/// So many go at once.
const BATCH: u32 = 5000;

const SEQUENCE: &str = "removed_to";
const HASH: &str = "removed_to_hash";

/// Removes the events from before `retention`, oldest first, if some have been there for a day longer.
pub(crate) async fn prune(db: &Db, retention: Duration, now: UnixSeconds) -> Result<(), DbFault> {
    let before = now - retention;
    let oldest = audit_event::oldest(db).await?;
    if oldest.is_none_or(|oldest| oldest.occurred_at >= (before - SLACK).0) {
        return Ok(());
    }
    loop {
        let removed = db.write(async move |tx| {
            let Some((last, removed)) = audit_event::remove(tx, before, BATCH).await? else {
                return Ok(0);
            };
            audit_event::append(tx, &told(&last), now).await?;
            Ok(removed)
        });
        let removed = removed.await?;
        if removed > 0 {
            tracing::info!(
                event = Name::AuditPruned.as_str(),
                removed,
                "old audit events were removed"
            );
        }
        if removed < BATCH {
            return Ok(());
        }
    }
}

fn told(last: &Head) -> Event<'static> {
    let mut details = Map::new();
    details.insert(SEQUENCE.to_owned(), Value::from(last.sequence));
    details.insert(HASH.to_owned(), Value::from(last.hash.as_str()));
    Event {
        name: Name::AuditPruned,
        actor: Actor::Server,
        on_behalf_of: None,
        target: Target::Log,
        source: None,
        outcome: Outcome::Done,
        reason: None,
        details,
    }
}

/// Where the chain begins, as its newest removal says: the last row that is gone. It is believed only as far as the
/// chain from there on holds, of which the event is a part. `None`: the event says no such thing.
pub(super) fn begins_after(details: &str) -> Option<Head> {
    let details: Map<String, Value> = serde_json::from_str(details).ok()?;
    Some(Head {
        sequence: details.get(SEQUENCE)?.as_i64()?,
        hash: details.get(HASH)?.as_str()?.to_owned(),
    })
}
