//! Table `access_grant`: what people have allowed.

use shared::clock::UnixSeconds;

use super::{Db, DbFault, Tx, on};

const LIVE: &str = "SELECT grant_id, user_id, client_id, resource, scopes, remembered_scopes, created_at, updated_at, expires_at \
     FROM access_grant WHERE user_id = $1 AND client_id = $2 AND resource = $3 AND revoked_at IS NULL";
const HOLD: &str = "INSERT INTO access_grant (grant_id, user_id, client_id, resource, scopes, remembered_scopes, created_at, updated_at, \
     expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
     ON CONFLICT (user_id, client_id, resource) WHERE revoked_at IS NULL DO UPDATE SET updated_at = access_grant.updated_at \
     RETURNING grant_id, user_id, client_id, resource, scopes, remembered_scopes, created_at, updated_at, expires_at";
const AMEND: &str = "UPDATE access_grant SET scopes = $2, remembered_scopes = $3, updated_at = $4, expires_at = $5 WHERE grant_id = $1";
const LOCK: &str = "UPDATE access_grant SET updated_at = updated_at \
     WHERE grant_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[LIVE, HOLD, AMEND, LOCK];

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

/// Holds the living grant of a person to a client at a resource until the transaction ends; `fresh` becomes it when
/// there is none.
pub(crate) async fn hold(tx: &mut Tx, fresh: &GrantRow) -> Result<GrantRow, DbFault> {
    on!(tx tx, c => {
        sqlx::query_as(HOLD)
            .bind(&fresh.grant_id)
            .bind(&fresh.user_id)
            .bind(&fresh.client_id)
            .bind(&fresh.resource)
            .bind(&fresh.scopes)
            .bind(&fresh.remembered_scopes)
            .bind(fresh.created_at)
            .bind(fresh.updated_at)
            .bind(fresh.expires_at)
            .fetch_one(c)
    })
}

/// Writes what a held grant allows now.
pub(crate) async fn amend(tx: &mut Tx, grant: &GrantRow) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(AMEND)
            .bind(&grant.grant_id)
            .bind(&grant.scopes)
            .bind(&grant.remembered_scopes)
            .bind(grant.updated_at)
            .bind(grant.expires_at);
        update.execute(c).await.map(|_| ())
    })
}

/// Holds the grant until the transaction ends, if it still stands: nobody can revoke it meanwhile.
pub(crate) async fn lock(tx: &mut Tx, grant_id: &str, now: UnixSeconds) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(LOCK).bind(grant_id).bind(now.0);
        update.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}
