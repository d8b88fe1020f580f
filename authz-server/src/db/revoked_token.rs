//! Table `revoked_token`: access tokens that were taken back before their time.

use shared::clock::UnixSeconds;

use super::change::{self, Noun};
use super::{Db, DbFault, Tx, delete_in_batches, on, status_revoked};

const INSERT: &str = "INSERT INTO revoked_token (token_id, client_id, expires_at, revoked_at) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (token_id) DO NOTHING";
const EXISTS: &str = "SELECT COUNT(*) FROM revoked_token WHERE token_id = $1";
const FORGET: &str = "DELETE FROM revoked_token WHERE token_id IN \
     (SELECT token_id FROM revoked_token WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[INSERT, EXISTS, FORGET];

/// A token to take back.
#[derive(Debug)]
pub(crate) struct Revocation<'a> {
    pub(crate) token_id: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) expires_at: UnixSeconds,
    /// Its place: a list and an index.
    pub(crate) status: Option<(&'a str, i64)>,
}

/// Takes a token back. Once this returns, no instance calls it active.
pub(crate) async fn insert(db: &Db, revocation: &Revocation<'_>, now: UnixSeconds) -> Result<(), DbFault> {
    db.write(async |tx| insert_in(tx, revocation, now).await.map(|_| ()))
        .await
}

/// The same as a part of something larger; `false` when it was taken back before.
pub(crate) async fn insert_in(
    tx: &mut Tx,
    revocation: &Revocation<'_>,
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    let Revocation {
        token_id,
        client_id,
        expires_at,
        status,
    } = revocation;
    let rows = on!(tx tx, c => async {
        let insert = sqlx::query(INSERT).bind(*token_id).bind(*client_id).bind(expires_at.0).bind(now.0);
        insert.execute(c).await.map(|done| done.rows_affected())
    })?;
    if rows == 0 {
        return Ok(false);
    }
    if let Some(place) = status {
        status_revoked::place(tx, *place, now).await?;
    }
    change::record(tx, Noun::Token, token_id, now);
    Ok(true)
}

/// Whether a token was taken back.
pub(crate) async fn exists(db: &Db, token_id: &str) -> Result<bool, DbFault> {
    let count: i64 = on!(db, c => sqlx::query_scalar(EXISTS).bind(token_id).fetch_one(c))?;
    Ok(count > 0)
}

/// Drops what expired before `before`: an expired token needs no revocation.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    delete_in_batches(db, FORGET, before).await
}
