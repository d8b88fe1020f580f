//! Table `recovery_code`: codes that each replace the second factor once.

use shared::clock::UnixSeconds;
use shared::secret::SecretHash;

use super::{Db, DbFault, Tx, on};

const LEFT: &str = "SELECT COUNT(*) FROM recovery_code WHERE user_id = $1 AND used_at IS NULL";
const INSERT: &str = "INSERT INTO recovery_code (code_hash, user_id, created_at) VALUES ($1, $2, $3)";
const USE_UP: &str =
    "UPDATE recovery_code SET used_at = $3 WHERE code_hash = $1 AND user_id = $2 AND used_at IS NULL";
const DROP_ALL: &str = "DELETE FROM recovery_code WHERE user_id = $1";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[LEFT, INSERT, USE_UP, DROP_ALL];

/// How many codes a person has not used.
pub(crate) async fn left(db: &Db, user_id: &str) -> Result<i64, DbFault> {
    on!(db, c => sqlx::query_scalar(LEFT).bind(user_id).fetch_one(c))
}

/// Gives a person new codes; the old ones are worth nothing from then on. The caller holds the account.
pub(crate) async fn replace(
    tx: &mut Tx,
    user_id: &str,
    hashes: &[SecretHash],
    now: UnixSeconds,
) -> Result<(), DbFault> {
    drop_all(tx, user_id).await?;
    for hash in hashes {
        on!(tx tx, c => async {
            let insert = sqlx::query(INSERT).bind(hash.as_bytes()).bind(user_id).bind(now.0);
            insert.execute(c).await.map(|_| ())
        })?;
    }
    Ok(())
}

/// Uses a code of this person up: `true` for exactly one caller.
pub(crate) async fn use_up(
    tx: &mut Tx,
    user_id: &str,
    hash: &SecretHash,
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(USE_UP).bind(hash.as_bytes()).bind(user_id).bind(now.0);
        update.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// Drops a person's codes, used or not.
pub(crate) async fn drop_all(tx: &mut Tx, user_id: &str) -> Result<(), DbFault> {
    on!(tx tx, c => async { sqlx::query(DROP_ALL).bind(user_id).execute(c).await.map(|_| ()) })
}
