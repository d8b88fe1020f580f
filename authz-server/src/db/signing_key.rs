//! Table `signing_key`: sealed private keys. Only [`crate::keys`] can open them.

use serde::{Deserialize, Serialize};
use shared::clock::UnixSeconds;
use utoipa::ToSchema;

use super::{Db, DbFault, Tx, change, on};

const ALL: &str = "SELECT kid, alg, state, sealed_jwk FROM signing_key ORDER BY created_at, kid";
const LISTED: &str = "SELECT kid, alg, state, created_at FROM signing_key ORDER BY created_at, kid";
const CURRENT: &str = "SELECT COUNT(*) FROM signing_key WHERE alg = $1 AND state = 'current'";
const INSERT: &str =
    "INSERT INTO signing_key (kid, alg, state, sealed_jwk, created_at) VALUES ($1, $2, 'current', $3, $4)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[ALL, LISTED, CURRENT, INSERT];

/// One row.
#[derive(sqlx::FromRow)]
pub(crate) struct SigningKeyRow {
    pub(crate) kid: String,
    pub(crate) alg: String,
    pub(crate) state: String,
    pub(crate) sealed_jwk: Vec<u8>,
}

/// A key as operators see it.
#[derive(Debug, Serialize, Deserialize, ToSchema, sqlx::FromRow)]
#[schema(as = Key)]
pub(crate) struct KeyView {
    pub(crate) kid: String,
    pub(crate) alg: String,
    /// `current` signs, `retired` is published until the last token that it signed has expired.
    pub(crate) state: String,
    pub(crate) created_at: i64,
}

/// Every key without what signs, oldest first.
pub(crate) async fn listed(db: &Db) -> Result<Vec<KeyView>, DbFault> {
    on!(db, c => sqlx::query_as(LISTED).fetch_all(c))
}

/// A key to be kept.
pub(crate) struct NewKey {
    pub(crate) kid: String,
    pub(crate) alg: &'static str,
    pub(crate) sealed_jwk: Vec<u8>,
}

/// Every key, oldest first.
pub(crate) async fn all(db: &Db) -> Result<Vec<SigningKeyRow>, DbFault> {
    on!(db, c => sqlx::query_as(ALL).fetch_all(c))
}

/// Keeps each of `keys` whose algorithm has no current key yet. Two servers that start together both call this; the
/// second finds the keys of the first.
pub(crate) async fn insert_missing(db: &Db, keys: &[NewKey], now: UnixSeconds) -> Result<(), DbFault> {
    db.write(async |tx| {
        change::take_turn(tx).await?;
        for key in keys {
            if !has_current(tx, key.alg).await? {
                insert(tx, key, now).await?;
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

async fn insert(tx: &mut Tx, key: &NewKey, now: UnixSeconds) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        let insert = sqlx::query(INSERT).bind(&key.kid).bind(key.alg).bind(&key.sealed_jwk).bind(now.0);
        insert.execute(c).await.map(|_| ())
    })
}
