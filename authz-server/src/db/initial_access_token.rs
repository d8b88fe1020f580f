//! Table `initial_access_token`: invites to register (RFC 7591 §3).

use serde::Serialize;
use shared::clock::UnixSeconds;
use shared::secret::SecretHash;

use super::{Db, DbFault, Tx, delete_in_batches, on};

const STANDING: &str = "SELECT may_act_alone FROM initial_access_token \
     WHERE token_hash = $1 AND uses_left > 0 AND revoked_at IS NULL AND expires_at > $2";
const USE: &str = "UPDATE initial_access_token SET uses_left = uses_left - 1 \
     WHERE token_hash = $1 AND uses_left > 0 AND revoked_at IS NULL AND expires_at > $2";
const INSERT: &str = "INSERT INTO initial_access_token (token_hash, name, uses_left, may_act_alone, created_at, expires_at) \
     VALUES ($1, $2, $3, $4, $5, $6)";
const LIST: &str = "SELECT name, uses_left, may_act_alone, created_at, expires_at, revoked_at FROM initial_access_token \
     ORDER BY created_at, name";
const REVOKE: &str = "UPDATE initial_access_token SET revoked_at = $2 WHERE name = $1 AND revoked_at IS NULL";
const FORGET: &str = "DELETE FROM initial_access_token WHERE token_hash IN \
     (SELECT token_hash FROM initial_access_token WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[STANDING, USE, INSERT, LIST, REVOKE, FORGET];

/// An invite, without what proves it.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub(crate) struct InviteRow {
    /// What operators call it; not a secret.
    pub(crate) name: String,
    pub(crate) uses_left: i64,
    /// Whether its clients may have tokens without a person.
    pub(crate) may_act_alone: bool,
    pub(crate) created_at: i64,
    pub(crate) expires_at: i64,
    pub(crate) revoked_at: Option<i64>,
}

/// Whether an invite can be used, and if so, whether its clients may act alone.
pub(crate) async fn standing(db: &Db, token: &SecretHash, now: UnixSeconds) -> Result<Option<bool>, DbFault> {
    on!(db, c => sqlx::query_scalar(STANDING).bind(token.as_bytes()).bind(now.0).fetch_optional(c))
}

/// Uses an invite once; `false` when it cannot be used any more.
pub(crate) async fn take(tx: &mut Tx, token: &SecretHash, now: UnixSeconds) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(USE).bind(token.as_bytes()).bind(now.0);
        update.execute(c).await.map(|done| done.rows_affected() == 1)
    })
}

/// Writes a new invite.
pub(crate) async fn insert(db: &Db, token: &SecretHash, invite: &InviteRow) -> Result<(), DbFault> {
    on!(db, c => async {
        let insert = sqlx::query(INSERT)
            .bind(token.as_bytes())
            .bind(&invite.name)
            .bind(invite.uses_left)
            .bind(invite.may_act_alone)
            .bind(invite.created_at)
            .bind(invite.expires_at);
        insert.execute(c).await.map(|_| ())
    })
}

/// Every invite that has not been forgotten, oldest first.
pub(crate) async fn list(db: &Db) -> Result<Vec<InviteRow>, DbFault> {
    on!(db, c => sqlx::query_as(LIST).fetch_all(c))
}

/// Ends an invite; `false` when there is no such living one.
pub(crate) async fn revoke(db: &Db, name: &str, now: UnixSeconds) -> Result<bool, DbFault> {
    on!(db, c => async {
        sqlx::query(REVOKE).bind(name).bind(now.0).execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// Drops invites that expired before `before`.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    delete_in_batches(db, FORGET, before).await
}
