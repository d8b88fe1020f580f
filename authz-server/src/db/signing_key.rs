//! Table `signing_key`: sealed private keys. Only [`crate::keys`] can open them.

use shared::clock::UnixSeconds;
use shared::jose::Algorithm;

use super::{Db, DbFault, Tx, change, on};

const ALL: &str = "SELECT kid, alg, state, sealed_jwk, created_at, signs_from, longest_life, ends_at \
     FROM signing_key ORDER BY created_at, kid";
const CURRENT: &str = "SELECT COUNT(*) FROM signing_key WHERE alg = $1 AND state = 'current'";
const INSERT: &str = "INSERT INTO signing_key (kid, alg, state, sealed_jwk, created_at, signs_from, longest_life) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)";
const RETIRE: &str = "UPDATE signing_key SET state = 'retired', ends_at = $2 + longest_life \
     WHERE kid = $1 AND state = 'current'";
const PROMOTE: &str =
    "UPDATE signing_key SET state = 'current', signs_from = $2 WHERE kid = $1 AND state = 'next'";
const LENGTHEN: &str = "UPDATE signing_key SET longest_life = $2, ends_at = ends_at + ($2 - longest_life) \
     WHERE kid = $1 AND longest_life < $2";
const REMOVE_ENDED: &str = "DELETE FROM signing_key WHERE kid = $1 AND state = 'retired' AND ends_at <= $2";
const REMOVE: &str = "DELETE FROM signing_key WHERE kid = $1";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    ALL,
    CURRENT,
    INSERT,
    RETIRE,
    PROMOTE,
    LENGTHEN,
    REMOVE_ENDED,
    REMOVE,
];

/// One row.
#[derive(sqlx::FromRow)]
pub(crate) struct SigningKeyRow {
    pub(crate) kid: String,
    pub(crate) alg: String,
    pub(crate) state: String,
    pub(crate) sealed_jwk: Vec<u8>,
    /// Unix seconds, as the other times.
    pub(crate) created_at: i64,
    pub(crate) signs_from: i64,
    /// Seconds.
    pub(crate) longest_life: i64,
    pub(crate) ends_at: Option<i64>,
}

/// A key to be kept.
pub(crate) struct NewKey {
    pub(crate) kid: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) sealed_jwk: Vec<u8>,
    /// Seconds; see [`lengthen`].
    pub(crate) longest_life: i64,
}

/// Every key, oldest first.
pub(crate) async fn all(db: &Db) -> Result<Vec<SigningKeyRow>, DbFault> {
    on!(db, c => sqlx::query_as(ALL).fetch_all(c))
}

/// The same, under the turn that the caller has taken ([`change::take_turn`]).
pub(crate) async fn all_in_turn(tx: &mut Tx) -> Result<Vec<SigningKeyRow>, DbFault> {
    on!(tx tx, c => sqlx::query_as(ALL).fetch_all(c))
}

/// Keeps each of `keys` whose algorithm has no current key yet. Two servers that start together both call this; the
/// second finds the keys of the first.
pub(crate) async fn insert_missing(db: &Db, keys: &[NewKey], now: UnixSeconds) -> Result<(), DbFault> {
    db.write(async |tx| {
        change::take_turn(tx).await?;
        for key in keys {
            if !has_current(tx, key.algorithm.as_str()).await? {
                insert(tx, key, ("current", now), now).await?;
                change::record(tx, change::Noun::Key, &key.kid, now);
            }
        }
        Ok(())
    })
    .await
}

async fn has_current(tx: &mut Tx, alg: &str) -> Result<bool, DbFault> {
    let count: i64 = on!(tx tx, c => sqlx::query_scalar(CURRENT).bind(alg).fetch_one(c))?;
    Ok(count > 0)
}

/// Keeps a key that is the `next` one or the `current` one, and signs from a time on.
pub(crate) async fn insert(
    tx: &mut Tx,
    key: &NewKey,
    (state, signs_from): (&'static str, UnixSeconds),
    now: UnixSeconds,
) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        let insert = sqlx::query(INSERT)
            .bind(&key.kid)
            .bind(key.algorithm.as_str())
            .bind(state)
            .bind(&key.sealed_jwk)
            .bind(now.0)
            .bind(signs_from.0)
            .bind(key.longest_life);
        insert.execute(c).await.map(|_| ())
    })
}

/// The current key signs no more. It stays published until what it signed before `last` is over. Whether it was current.
pub(crate) async fn retire(tx: &mut Tx, kid: &str, last: UnixSeconds) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        sqlx::query(RETIRE).bind(kid).bind(last.0).execute(c).await.map(|done| done.rows_affected() == 1)
    })
}

/// The next key signs from `now` on. Whether it was the next one. Its predecessor is retired first ([`retire`]).
pub(crate) async fn promote(tx: &mut Tx, kid: &str, now: UnixSeconds) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        sqlx::query(PROMOTE).bind(kid).bind(now.0).execute(c).await.map(|done| done.rows_affected() == 1)
    })
}

/// Before a key signs what counts for so many seconds, so that it stays published for as long.
pub(crate) async fn lengthen(db: &Db, kid: &str, life: i64, now: UnixSeconds) -> Result<(), DbFault> {
    db.write(async |tx| {
        let is_longer = on!(tx tx, c => async {
            let lengthen = sqlx::query(LENGTHEN).bind(kid).bind(life);
            lengthen.execute(c).await.map(|done| done.rows_affected() > 0)
        })?;
        if is_longer {
            change::record(tx, change::Noun::Key, kid, now);
        }
        Ok(())
    })
    .await
}

/// Removes a retired key, if its time is over.
pub(crate) async fn remove_ended(tx: &mut Tx, kid: &str, now: UnixSeconds) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        sqlx::query(REMOVE_ENDED).bind(kid).bind(now.0).execute(c).await.map(|done| done.rows_affected() == 1)
    })
}

/// Removes a key, whatever it signed.
pub(crate) async fn remove(tx: &mut Tx, kid: &str) -> Result<(), DbFault> {
    on!(tx tx, c => async { sqlx::query(REMOVE).bind(kid).execute(c).await.map(|_| ()) })
}
