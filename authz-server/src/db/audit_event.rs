//! Tables `audit_event` and `audit_head`: the audit log, a chain of hashes.
//!
//! Rows are only ever added. The head is the last lock that a transaction takes (docs/architecture.md): whoever has it
//! has nothing left to wait for.

use serde::Serialize;
use shared::clock::UnixSeconds;

use super::{Db, DbFault, Tx, change, on};
use crate::audit::{self, Event};

/// Until the transaction ends, no other can.
const TAKE_TURN: &str = "UPDATE audit_head SET sequence = sequence + 1 WHERE id = 1 RETURNING sequence, hash";
const INSERT: &str = "INSERT INTO audit_event (sequence, occurred_at, event, actor_type, actor, on_behalf_of, target_type, target, \
     source, outcome, reason, details, previous_hash, hash) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
const ADVANCE: &str = "UPDATE audit_head SET hash = $2 WHERE id = 1 AND sequence = $1";
const HEAD: &str = "SELECT sequence, hash FROM audit_head WHERE id = 1";
const BEYOND: &str = "SELECT MIN(sequence) FROM audit_event \
     WHERE sequence <= $1 OR sequence > (SELECT sequence FROM audit_head WHERE id = 1)";
const OLDEST: &str = "SELECT sequence, occurred_at, event, actor_type, actor, on_behalf_of, target_type, target, \
     source, outcome, reason, details, previous_hash, hash FROM audit_event ORDER BY sequence LIMIT 1";
// Clocks of instances differ: what stands before the first row that stays is old enough, whatever its time.
const LAST_TO_GO: &str = "SELECT sequence, hash FROM audit_event WHERE sequence < \
     COALESCE((SELECT MIN(sequence) FROM audit_event WHERE occurred_at >= $1), (SELECT MAX(sequence) FROM audit_event)) \
     AND sequence < (SELECT MIN(sequence) FROM audit_event) + $2 ORDER BY sequence DESC LIMIT 1";
const REMOVE: &str = "DELETE FROM audit_event WHERE sequence <= $1";
const AFTER: &str = "SELECT sequence, occurred_at, event, actor_type, actor, on_behalf_of, target_type, target, \
     source, outcome, reason, details, previous_hash, hash \
     FROM audit_event WHERE sequence > $1 AND sequence <= $2 ORDER BY sequence LIMIT $3";
const NEWEST: &str = "SELECT sequence, occurred_at, event, actor_type, actor, on_behalf_of, target_type, target, \
     source, outcome, reason, details, previous_hash, hash \
     FROM audit_event WHERE CAST($1 AS TEXT) IS NULL OR event = $1 ORDER BY sequence DESC LIMIT $2";

macro_rules! page {
    ($filter:literal) => {
        [
            concat!(
                "SELECT sequence, occurred_at, event, actor_type, actor, on_behalf_of, target_type, target, \
                 source, outcome, reason, details, previous_hash, hash FROM audit_event WHERE sequence < $1",
                $filter,
                " ORDER BY sequence DESC LIMIT $2"
            ),
            concat!(
                "SELECT sequence, occurred_at, event, actor_type, actor, on_behalf_of, target_type, target, \
                 source, outcome, reason, details, previous_hash, hash FROM audit_event WHERE sequence > $1",
                $filter,
                " ORDER BY sequence LIMIT $2"
            ),
        ]
    };
}

/// Newest first, oldest first.
const PAGE: [&str; 2] = page!("");
const PAGE_OF_EVENT: [&str; 2] = page!(" AND event = $3");
const PAGE_OF_ACTOR: [&str; 2] = page!(" AND actor = $3");
const PAGE_OF_TARGET: [&str; 2] = page!(" AND target = $3");

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    PAGE[0],
    PAGE[1],
    PAGE_OF_EVENT[0],
    PAGE_OF_EVENT[1],
    PAGE_OF_ACTOR[0],
    PAGE_OF_ACTOR[1],
    PAGE_OF_TARGET[0],
    PAGE_OF_TARGET[1],
    TAKE_TURN,
    INSERT,
    ADVANCE,
    HEAD,
    BEYOND,
    OLDEST,
    LAST_TO_GO,
    REMOVE,
    AFTER,
    NEWEST,
];

/// One event as it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, sqlx::FromRow)]
pub(crate) struct EventRow {
    pub(crate) sequence: i64,
    /// Unix seconds.
    pub(crate) occurred_at: i64,
    pub(crate) event: String,
    pub(crate) actor_type: String,
    pub(crate) actor: Option<String>,
    pub(crate) on_behalf_of: Option<String>,
    pub(crate) target_type: String,
    pub(crate) target: String,
    pub(crate) source: Option<String>,
    pub(crate) outcome: String,
    pub(crate) reason: Option<String>,
    /// A JSON object, canonical.
    pub(crate) details: String,
    pub(crate) previous_hash: String,
    pub(crate) hash: String,
}

/// Where the chain ends.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Head {
    /// 0: nothing has been written yet.
    pub(crate) sequence: i64,
    pub(crate) hash: String,
}

/// Writes an event in the transaction that does what it tells. Call it last: no lock may be taken after it.
pub(crate) async fn append(tx: &mut Tx, event: &Event<'_>, now: UnixSeconds) -> Result<(), DbFault> {
    change::write_pending(tx).await?;
    let head: Head = on!(tx tx, c => sqlx::query_as(TAKE_TURN).fetch_one(c))?;
    let row = audit::link(event, &head, now);
    on!(tx tx, c => async {
        let insert = sqlx::query(INSERT)
            .bind(row.sequence)
            .bind(row.occurred_at)
            .bind(&row.event)
            .bind(&row.actor_type)
            .bind(&row.actor)
            .bind(&row.on_behalf_of)
            .bind(&row.target_type)
            .bind(&row.target)
            .bind(&row.source)
            .bind(&row.outcome)
            .bind(&row.reason)
            .bind(&row.details)
            .bind(&row.previous_hash)
            .bind(&row.hash);
        insert.execute(c).await.map(|_| ())
    })?;
    let advanced = on!(tx tx, c => async {
        let advance = sqlx::query(ADVANCE).bind(row.sequence).bind(&row.hash);
        advance.execute(c).await.map(|done| done.rows_affected())
    })?;
    match advanced {
        1 => Ok(()),
        _ => Err(DbFault::Unexpected(
            "the head of the audit log is gone".to_owned(),
        )),
    }
}

/// Where the chain ends; `None`: somebody removed the row that says so.
pub(crate) async fn head(db: &Db) -> Result<Option<Head>, DbFault> {
    on!(db, c => sqlx::query_as(HEAD).fetch_optional(c))
}

/// A row that the head knows nothing of, or that was removed with all up to `begins_after`, if there is one.
pub(crate) async fn beyond(db: &Db, begins_after: i64) -> Result<Option<i64>, DbFault> {
    on!(db, c => sqlx::query_scalar(BEYOND).bind(begins_after).fetch_one(c))
}

/// The oldest event that is left.
pub(crate) async fn oldest(db: &Db) -> Result<Option<EventRow>, DbFault> {
    on!(db, c => sqlx::query_as(OLDEST).fetch_optional(c))
}

/// Removes the oldest events up to the first that occurred after `before`, at most `most`, and says which was the last to
/// go and how many went; `None` when none did, or another transaction has removed them. The newest event of all stays.
pub(crate) async fn remove(
    tx: &mut Tx,
    before: UnixSeconds,
    most: u32,
) -> Result<Option<(Head, u32)>, DbFault> {
    let last: Option<Head> = on!(tx tx, c => {
        sqlx::query_as(LAST_TO_GO).bind(before.0).bind(i64::from(most)).fetch_optional(c)
    })?;
    let Some(last) = last else {
        return Ok(None);
    };
    let removed = on!(tx tx, c => async {
        sqlx::query(REMOVE).bind(last.sequence).execute(c).await.map(|done| done.rows_affected())
    })?;
    let removed = u32::try_from(removed).unwrap_or(most);
    Ok((removed > 0).then_some((last, removed)))
}

/// At most `limit` events after number `after` up to number `until`, oldest first.
pub(crate) async fn after(db: &Db, (after, until): (i64, i64), limit: u32) -> Result<Vec<EventRow>, DbFault> {
    on!(db, c => sqlx::query_as(AFTER).bind(after).bind(until).bind(i64::from(limit)).fetch_all(c))
}

/// The newest events, of one name or of all, newest first.
pub(crate) async fn newest(db: &Db, name: Option<&str>, limit: u32) -> Result<Vec<EventRow>, DbFault> {
    on!(db, c => sqlx::query_as(NEWEST).bind(name).bind(i64::from(limit)).fetch_all(c))
}

/// Which events are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum About<'a> {
    Anything,
    Event(&'a str),
    Actor(&'a str),
    Target(&'a str),
}

/// At most `limit` events from number `place` on, without it: back from it, newest first, or on from it, oldest first.
pub(crate) async fn page(
    db: &Db,
    about: About<'_>,
    (place, is_newest_first): (i64, bool),
    limit: u32,
) -> Result<Vec<EventRow>, DbFault> {
    let (statements, value) = match about {
        About::Anything => (PAGE, None),
        About::Event(name) => (PAGE_OF_EVENT, Some(name)),
        About::Actor(id) => (PAGE_OF_ACTOR, Some(id)),
        About::Target(id) => (PAGE_OF_TARGET, Some(id)),
    };
    let statement = statements[usize::from(!is_newest_first)];
    on!(db, c => {
        let query = sqlx::query_as(statement).bind(place).bind(i64::from(limit));
        match value {
            Some(value) => query.bind(value),
            None => query,
        }
        .fetch_all(c)
    })
}
