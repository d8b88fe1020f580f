//! Table `admin_request`: what a creation that is repeated was answered.

use shared::clock::UnixSeconds;
use shared::secret::SecretHash;

use super::{Db, DbFault, Tx, delete_in_batches, on};

const BEGIN: &str = "INSERT INTO admin_request (request_hash, content_hash, expires_at) VALUES ($1, $2, $3) \
     ON CONFLICT (request_hash) DO UPDATE SET content_hash = $2, answer_sealed = NULL, expires_at = $3 \
     WHERE admin_request.expires_at <= $4";
const FIND: &str = "SELECT content_hash, answer_sealed FROM admin_request WHERE request_hash = $1";
const ANSWER: &str = "UPDATE admin_request SET answer_sealed = $2 WHERE request_hash = $1";
const FORGET: &str = "DELETE FROM admin_request WHERE request_hash IN \
     (SELECT request_hash FROM admin_request WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[BEGIN, FIND, ANSWER, FORGET];

/// A request that was carried out before.
#[derive(sqlx::FromRow)]
pub(crate) struct RequestRow {
    pub(crate) content_hash: Vec<u8>,
    pub(crate) answer_sealed: Option<Vec<u8>>,
}

/// Begins the request `request_hash`, and holds it until the transaction ends. `None` when it is new, or was forgotten;
/// otherwise what it was the first time. Call it first: it waits for whoever sends the same request at this moment.
pub(crate) async fn begin(
    tx: &mut Tx,
    request_hash: &SecretHash,
    content_hash: &SecretHash,
    (now, expires_at): (UnixSeconds, UnixSeconds),
) -> Result<Option<RequestRow>, DbFault> {
    let rows = on!(tx tx, c => async {
        let insert = sqlx::query(BEGIN)
            .bind(request_hash.as_bytes())
            .bind(content_hash.as_bytes())
            .bind(expires_at.0)
            .bind(now.0);
        insert.execute(c).await.map(|done| done.rows_affected())
    })?;
    if rows > 0 {
        return Ok(None);
    }
    let found = on!(tx tx, c => sqlx::query_as(FIND).bind(request_hash.as_bytes()).fetch_optional(c))?;
    // It was there a moment ago: somebody has forgotten it meanwhile.
    found.map(Some).ok_or(DbFault::Collided)
}

/// Keeps the answer of a request that this transaction has begun.
pub(crate) async fn answered(
    tx: &mut Tx,
    request_hash: &SecretHash,
    answer_sealed: &[u8],
) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        sqlx::query(ANSWER).bind(request_hash.as_bytes()).bind(answer_sealed).execute(c).await.map(|_| ())
    })
}

/// Drops what expired before `before`.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    delete_in_batches(db, FORGET, before).await
}
