//! Table `initial_access_token`: invites to register (RFC 7591 §3).

use shared::clock::UnixSeconds;
use shared::secret::SecretHash;

use super::{Db, DbFault, Tx, delete_in_batches, on};

const STANDING: &str = "SELECT may_act_alone FROM initial_access_token \
     WHERE token_hash = $1 AND uses_left > 0 AND revoked_at IS NULL AND expires_at > $2";
const USE: &str = "UPDATE initial_access_token SET uses_left = uses_left - 1 \
     WHERE token_hash = $1 AND uses_left > 0 AND revoked_at IS NULL AND expires_at > $2";
const INSERT: &str = "INSERT INTO initial_access_token (token_hash, name, uses_left, may_act_alone, created_at, expires_at) \
     VALUES ($1, $2, $3, $4, $5, $6)";
const PAGE: &str = "SELECT name, uses_left, may_act_alone, created_at, expires_at, revoked_at FROM initial_access_token \
     WHERE (created_at, name) > ($1, $2) ORDER BY created_at, name LIMIT $3";
const FIND: &str = "SELECT name, uses_left, may_act_alone, created_at, expires_at, revoked_at FROM initial_access_token \
     WHERE name = $1";
const REVOKE: &str = "UPDATE initial_access_token SET revoked_at = $2 WHERE name = $1 AND revoked_at IS NULL";
const FORGET: &str = "DELETE FROM initial_access_token WHERE token_hash IN \
     (SELECT token_hash FROM initial_access_token WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[STANDING, USE, INSERT, PAGE, FIND, REVOKE, FORGET];

/// An invite, without what proves it.
#[derive(Clone, Debug, sqlx::FromRow)]
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
pub(crate) async fn insert(tx: &mut Tx, token: &SecretHash, invite: &InviteRow) -> Result<(), DbFault> {
    on!(tx tx, c => async {
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

/// At most `limit` invites after `(created_at, name)`, oldest first, until they are forgotten.
pub(crate) async fn page(
    db: &Db,
    (created_at, name): (i64, &str),
    limit: u32,
) -> Result<Vec<InviteRow>, DbFault> {
    on!(db, c => {
        sqlx::query_as(PAGE).bind(created_at).bind(name).bind(i64::from(limit)).fetch_all(c)
    })
}

/// The invite of that name.
pub(crate) async fn find(db: &Db, name: &str) -> Result<Option<InviteRow>, DbFault> {
    on!(db, c => sqlx::query_as(FIND).bind(name).fetch_optional(c))
}

/// The same inside a transaction.
pub(crate) async fn find_in(tx: &mut Tx, name: &str) -> Result<Option<InviteRow>, DbFault> {
    on!(tx tx, c => sqlx::query_as(FIND).bind(name).fetch_optional(c))
}

/// Ends an invite; `false` when there is no such living one.
pub(crate) async fn revoke(tx: &mut Tx, name: &str, now: UnixSeconds) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        sqlx::query(REVOKE).bind(name).bind(now.0).execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// Drops invites that expired before `before`.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    delete_in_batches(db, FORGET, before).await
}
