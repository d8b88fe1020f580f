//! Table `pushed_request`: authorization requests that clients left here before anybody was sent (RFC 9126).

use shared::clock::UnixSeconds;
use shared::secret::SecretHash;

use super::{Db, DbFault, Tx, delete_in_batches, on};

/// Nothing is kept when `$8` of this client at this address wait; nor, for a client that proves nothing, when `$7` of such
/// clients do. Those that prove who they are have places that no stranger can fill.
const INSERT: &str = "INSERT INTO pushed_request (reference_hash, client_id, address, content, created_at, expires_at) \
     SELECT $1, $2, $3, $4, $5, $6 \
     WHERE ($3 = '' OR (SELECT COUNT(*) FROM pushed_request WHERE address <> '' AND expires_at > $5 \
     AND finished_at IS NULL) < $7) \
     AND (SELECT COUNT(*) FROM pushed_request WHERE client_id = $2 AND address = $3 AND expires_at > $5 \
     AND finished_at IS NULL) < $8";
const FIND: &str =
    "SELECT client_id, content, expires_at, finished_at FROM pushed_request WHERE reference_hash = $1";
const FINISH: &str =
    "UPDATE pushed_request SET finished_at = $2 WHERE reference_hash = $1 AND finished_at IS NULL";
const FORGET: &str = "DELETE FROM pushed_request WHERE reference_hash IN \
     (SELECT reference_hash FROM pushed_request WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[INSERT, FIND, FINISH, FORGET];

/// A request as it is pushed.
#[derive(Debug)]
pub(crate) struct NewPushedRow<'a> {
    pub(crate) client_id: &'a str,
    /// Whoever pushed it without proving to be the client; empty for one that did.
    pub(crate) address: &'a str,
    /// The parameters, form-encoded.
    pub(crate) content: &'a str,
    pub(crate) created_at: UnixSeconds,
    pub(crate) expires_at: UnixSeconds,
}

/// How many may wait at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    /// Of all clients that prove nothing.
    pub(crate) unproven: i64,
    pub(crate) of_one: i64,
}

/// A request that somebody comes with.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct PushedRow {
    pub(crate) client_id: String,
    pub(crate) content: String,
    pub(crate) expires_at: i64,
    pub(crate) finished_at: Option<i64>,
}

/// Keeps a request; `false` when too many wait already.
pub(crate) async fn insert(
    db: &Db,
    reference: &SecretHash,
    row: &NewPushedRow<'_>,
    most: Most,
) -> Result<bool, DbFault> {
    on!(db, c => async {
        let insert = sqlx::query(INSERT)
            .bind(reference.as_bytes())
            .bind(row.client_id)
            .bind(row.address)
            .bind(row.content)
            .bind(row.created_at.0)
            .bind(row.expires_at.0)
            .bind(most.unproven)
            .bind(most.of_one);
        insert.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// The request of this reference, whatever became of it.
pub(crate) async fn find(db: &Db, reference: &SecretHash) -> Result<Option<PushedRow>, DbFault> {
    on!(db, c => sqlx::query_as(FIND).bind(reference.as_bytes()).fetch_optional(c))
}

/// Uses a request up: `true` for exactly one caller. However long it took: its time bounds the beginning only.
pub(crate) async fn finish(tx: &mut Tx, reference: &SecretHash, now: UnixSeconds) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(FINISH).bind(reference.as_bytes()).bind(now.0);
        update.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// Drops what expired before `before`.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    delete_in_batches(db, FORGET, before).await
}
