//! Table `alert`: what the webhook is to be told, and was.

use shared::clock::UnixSeconds;

use super::{Db, DbFault, Tx, delete_in_batches, on};

const RAISE: &str = "INSERT INTO alert (alert_id, topic, body, raised_at, next_try_at, tries) \
     SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS BIGINT), CAST($4 AS BIGINT), 0 \
     WHERE (SELECT COUNT(*) FROM alert WHERE raised_at > $5) < $6 \
     AND NOT EXISTS (SELECT 1 FROM alert WHERE topic = $2 AND raised_at > $5) ON CONFLICT (alert_id) DO NOTHING";
const CLAIM: &str = "UPDATE alert SET next_try_at = $2, tries = tries + 1 WHERE alert_id = \
     (SELECT alert_id FROM alert WHERE sent_at IS NULL AND next_try_at <= $1 AND raised_at > $3 \
     ORDER BY next_try_at, alert_id LIMIT 1) AND next_try_at <= $1 RETURNING alert_id, body, tries";
const RETRY: &str = "UPDATE alert SET next_try_at = $2 WHERE alert_id = $1 AND sent_at IS NULL";
const SENT: &str = "UPDATE alert SET sent_at = $2 WHERE alert_id = $1";
const FORGET: &str = "DELETE FROM alert WHERE alert_id IN \
     (SELECT alert_id FROM alert WHERE raised_at < $1 ORDER BY raised_at LIMIT $2)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[RAISE, CLAIM, RETRY, SENT, FORGET];

/// An alert that is being sent.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct AlertRow {
    pub(crate) alert_id: String,
    pub(crate) body: String,
    /// This one included.
    pub(crate) tries: i64,
}

/// Keeps an alert, unless one about the same, or `most` about anything, were raised after `since`. Whether it is new.
pub(crate) async fn raise(
    db: &Db,
    (alert_id, topic, body): (&str, &str, &str),
    (since, most): (UnixSeconds, i64),
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    on!(write db, c => async {
        let raise = sqlx::query(RAISE).bind(alert_id).bind(topic).bind(body).bind(now.0).bind(since.0).bind(most);
        raise.execute(c).await.map(|done| done.rows_affected() == 1)
    })
}

/// As [`raise`], in a transaction: the alert is there if what it tells of is noted.
pub(crate) async fn raise_in(
    tx: &mut Tx,
    (alert_id, topic, body): (&str, &str, &str),
    (since, most): (UnixSeconds, i64),
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let raise = sqlx::query(RAISE).bind(alert_id).bind(topic).bind(body).bind(now.0).bind(since.0).bind(most);
        raise.execute(c).await.map(|done| done.rows_affected() == 1)
    })
}

/// Takes one that waits and was raised after `since`. Nobody else takes it before `until`.
pub(crate) async fn claim(
    db: &Db,
    (until, since): (UnixSeconds, UnixSeconds),
    now: UnixSeconds,
) -> Result<Option<AlertRow>, DbFault> {
    on!(write db, c => sqlx::query_as(CLAIM).bind(now.0).bind(until.0).bind(since.0).fetch_optional(c))
}

/// It is tried again at `at`.
pub(crate) async fn retry(db: &Db, alert_id: &str, at: UnixSeconds) -> Result<(), DbFault> {
    on!(write db, c => async {
        sqlx::query(RETRY).bind(alert_id).bind(at.0).execute(c).await.map(|_| ())
    })
}

/// The webhook has it.
pub(crate) async fn sent(db: &Db, alert_id: &str, now: UnixSeconds) -> Result<(), DbFault> {
    on!(write db, c => async {
        sqlx::query(SENT).bind(alert_id).bind(now.0).execute(c).await.map(|_| ())
    })
}

/// Drops alerts that were raised before `before`.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    delete_in_batches(db, FORGET, before).await
}
