//! Table `access_grant`: what people have allowed.

use shared::clock::UnixSeconds;

use super::{Db, DbFault, Tx, on};

const LIVE: &str = "SELECT grant_id, user_id, client_id, resource, scopes, remembered_scopes, created_at, updated_at, expires_at \
     FROM access_grant WHERE user_id = $1 AND client_id = $2 AND resource = $3 AND revoked_at IS NULL";
const APPROVE: &str = "INSERT INTO access_grant (grant_id, user_id, client_id, resource, scopes, remembered_scopes, created_at, updated_at, \
     expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8) \
     ON CONFLICT (user_id, client_id, resource) WHERE revoked_at IS NULL DO UPDATE \
     SET scopes = $5, remembered_scopes = $6, updated_at = $7, expires_at = $8 RETURNING grant_id";
const LOCK: &str = "UPDATE access_grant SET updated_at = updated_at \
     WHERE grant_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)";

const REVOKE_ALL_OF_USER: &str =
    "UPDATE access_grant SET revoked_at = $2, updated_at = $2 WHERE user_id = $1 AND revoked_at IS NULL";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[LIVE, APPROVE, LOCK, REVOKE_ALL_OF_USER];

/// One living row. `scopes` and `remembered_scopes` are space separated.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct GrantRow {
    pub(crate) grant_id: String,
    pub(crate) user_id: String,
    pub(crate) client_id: String,
    pub(crate) resource: String,
    pub(crate) scopes: String,
    pub(crate) remembered_scopes: String,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) expires_at: Option<i64>,
}

/// The living grant of a person to a client at a resource. It may have expired: then it counts as none, but is
/// renewed by [`approve`].
pub(crate) async fn live(
    db: &Db,
    user_id: &str,
    client_id: &str,
    resource: &str,
) -> Result<Option<GrantRow>, DbFault> {
    on!(db, c => sqlx::query_as(LIVE).bind(user_id).bind(client_id).bind(resource).fetch_optional(c))
}

/// Writes what a person has just allowed: a new grant, or the living one with everything of `grant` but its id.
/// Returns the id that it has.
pub(crate) async fn approve(tx: &mut Tx, grant: &GrantRow) -> Result<String, DbFault> {
    on!(tx tx, c => {
        sqlx::query_scalar(APPROVE)
            .bind(&grant.grant_id)
            .bind(&grant.user_id)
            .bind(&grant.client_id)
            .bind(&grant.resource)
            .bind(&grant.scopes)
            .bind(&grant.remembered_scopes)
            .bind(grant.updated_at)
            .bind(grant.expires_at)
            .fetch_one(c)
    })
}

/// Holds the grant until the transaction ends, if it still stands: nobody can revoke it meanwhile.
pub(crate) async fn lock(tx: &mut Tx, grant_id: &str, now: UnixSeconds) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(LOCK).bind(grant_id).bind(now.0);
        update.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// Revokes everything that a person has allowed. Returns how many grants that were.
pub(crate) async fn revoke_all_of_user(tx: &mut Tx, user_id: &str, now: UnixSeconds) -> Result<u64, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(REVOKE_ALL_OF_USER).bind(user_id).bind(now.0);
        update.execute(c).await.map(|done| done.rows_affected())
    })
}
