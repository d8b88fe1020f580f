//! Table `client_secret`: hashes only. A client has several while a rotation overlaps.

use shared::clock::UnixSeconds;
use shared::secret::SecretHash;

use super::{Db, DbFault, Tx, delete_in_batches, on};

const OF_CLIENT: &str = "SELECT secret_hash, expires_at FROM client_secret WHERE client_id = $1";
const INSERT: &str = "INSERT INTO client_secret (secret_hash, client_id, created_at) VALUES ($1, $2, $3)";
const END_AT: &str = "UPDATE client_secret SET expires_at = $2 WHERE client_id = $1 AND (expires_at IS NULL OR expires_at > $2)";
const DROP_ENDING: &str = "DELETE FROM client_secret WHERE client_id = $1 AND expires_at IS NOT NULL";
const FORGET: &str = "DELETE FROM client_secret WHERE secret_hash IN \
     (SELECT secret_hash FROM client_secret WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[OF_CLIENT, INSERT, END_AT, DROP_ENDING, FORGET];

/// One row.
#[derive(sqlx::FromRow)]
pub(crate) struct ClientSecretRow {
    pub(crate) secret_hash: Vec<u8>,
    pub(crate) expires_at: Option<i64>,
}

pub(crate) async fn of_client(db: &Db, client_id: &str) -> Result<Vec<ClientSecretRow>, DbFault> {
    on!(db, c => sqlx::query_as(OF_CLIENT).bind(client_id).fetch_all(c))
}

/// As [`of_client`], as the transaction sees it.
pub(crate) async fn of_client_in(tx: &mut Tx, client_id: &str) -> Result<Vec<ClientSecretRow>, DbFault> {
    on!(tx tx, c => sqlx::query_as(OF_CLIENT).bind(client_id).fetch_all(c))
}

pub(crate) async fn insert(
    tx: &mut Tx,
    client_id: &str,
    hash: &SecretHash,
    now: UnixSeconds,
) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        sqlx::query(INSERT).bind(hash.as_bytes()).bind(client_id).bind(now.0).execute(c).await.map(|_| ())
    })
}

/// Lets every secret of the client end at `until`, none of them later than it would have.
pub(crate) async fn end_at(tx: &mut Tx, client_id: &str, until: UnixSeconds) -> Result<(), DbFault> {
    on!(tx tx, c => async { sqlx::query(END_AT).bind(client_id).bind(until.0).execute(c).await.map(|_| ()) })
}

/// Drops the secrets that have an end: whoever rotates again and again has two at most, the newest and the one before.
pub(crate) async fn drop_ending(tx: &mut Tx, client_id: &str) -> Result<(), DbFault> {
    on!(tx tx, c => async { sqlx::query(DROP_ENDING).bind(client_id).execute(c).await.map(|_| ()) })
}

/// Drops secrets that ended before `before`.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    delete_in_batches(db, FORGET, before).await
}
