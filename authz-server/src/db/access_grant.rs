//! Table `access_grant`: what people have allowed.

use shared::clock::UnixSeconds;

use super::token_family::{self, Of};
use super::{Db, DbFault, Tx, delete_in_batches, on};

const LIVE: &str = "SELECT grant_id, user_id, client_id, resource, scopes, remembered_scopes, created_at, updated_at, expires_at \
     FROM access_grant WHERE user_id = $1 AND client_id = $2 AND resource = $3 AND revoked_at IS NULL";
const STANDS: &str = "SELECT grant_id FROM access_grant WHERE grant_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)";
const LIVE_OF_USERNAME: &str = "SELECT g.grant_id, g.user_id, g.client_id, g.resource, g.scopes, g.remembered_scopes, \
     g.created_at, g.updated_at, g.expires_at FROM user_account u JOIN access_grant g ON g.user_id = u.user_id \
     WHERE u.username = $1 AND u.disabled_at IS NULL AND g.client_id = $2 AND g.resource = $3 AND g.revoked_at IS NULL";
const HOLD: &str = "INSERT INTO access_grant (grant_id, user_id, client_id, resource, scopes, remembered_scopes, created_at, updated_at, \
     expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
     ON CONFLICT (user_id, client_id, resource) WHERE revoked_at IS NULL DO UPDATE SET updated_at = access_grant.updated_at \
     RETURNING grant_id, user_id, client_id, resource, scopes, remembered_scopes, created_at, updated_at, expires_at";
const AMEND: &str = "UPDATE access_grant SET scopes = $2, remembered_scopes = $3, updated_at = $4, expires_at = $5 WHERE grant_id = $1";
const LOCK: &str = "UPDATE access_grant SET updated_at = updated_at \
     WHERE grant_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)";

const REVOKE: &str =
    "UPDATE access_grant SET revoked_at = $3 WHERE grant_id = $1 AND user_id = $2 AND revoked_at IS NULL";
const REVOKE_OF_USER: &str =
    "UPDATE access_grant SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL";
const REVOKE_OF_RESOURCE: &str =
    "UPDATE access_grant SET revoked_at = $2 WHERE resource = $1 AND revoked_at IS NULL";
const REVOKE_OF_CLIENT: &str =
    "UPDATE access_grant SET revoked_at = $2 WHERE client_id = $1 AND revoked_at IS NULL";
const FORGET_REMEMBERED: &str = "UPDATE access_grant SET remembered_scopes = '' \
     WHERE client_id = $1 AND revoked_at IS NULL AND remembered_scopes <> ''";
const OF_USER: &str = "SELECT g.grant_id, g.client_id, c.name AS client_name, c.origin AS client_origin, g.resource, g.scopes, g.created_at, g.expires_at, \
     (SELECT MAX(f.last_used_at) FROM token_family f WHERE f.grant_id = g.grant_id) AS last_used_at \
     FROM access_grant g JOIN client c ON c.client_id = g.client_id \
     WHERE g.user_id = $1 AND g.revoked_at IS NULL ORDER BY c.name, g.client_id, g.resource";
/// What a code, device or family points to stays: it is evidence for as long as they are.
const FORGET: &str = "DELETE FROM access_grant WHERE grant_id IN \
     (SELECT g.grant_id FROM access_grant g WHERE g.revoked_at < $1 \
     AND NOT EXISTS (SELECT 1 FROM authorization_code c WHERE c.grant_id = g.grant_id) \
     AND NOT EXISTS (SELECT 1 FROM device_authorization d WHERE d.grant_id = g.grant_id) \
     AND NOT EXISTS (SELECT 1 FROM token_family f WHERE f.grant_id = g.grant_id) ORDER BY g.revoked_at LIMIT $2)";

/// Page by page from the oldest on: after a moment and an id, so many.
macro_rules! page {
    ($filter:literal) => {
        concat!(
            "SELECT grant_id, user_id, client_id, resource, scopes, remembered_scopes, created_at, updated_at, expires_at, \
             revoked_at FROM access_grant WHERE (created_at, grant_id) > ($1, $2)",
            $filter,
            " ORDER BY created_at, grant_id LIMIT $3"
        )
    };
}

const PAGES: [[&str; 3]; 3] = [
    [
        page!(""),
        page!(" AND revoked_at IS NULL"),
        page!(" AND revoked_at IS NOT NULL"),
    ],
    [
        page!(" AND user_id = $4"),
        page!(" AND user_id = $4 AND revoked_at IS NULL"),
        page!(" AND user_id = $4 AND revoked_at IS NOT NULL"),
    ],
    [
        page!(" AND client_id = $4"),
        page!(" AND client_id = $4 AND revoked_at IS NULL"),
        page!(" AND client_id = $4 AND revoked_at IS NOT NULL"),
    ],
];
const FIND: &str = "SELECT grant_id, user_id, client_id, resource, scopes, remembered_scopes, created_at, updated_at, expires_at, \
     revoked_at FROM access_grant WHERE grant_id = $1";
const HOLD_ANY: &str = "UPDATE access_grant SET updated_at = updated_at WHERE grant_id = $1 RETURNING grant_id, user_id, client_id, \
     resource, scopes, remembered_scopes, created_at, updated_at, expires_at, revoked_at";

#[cfg(test)]
pub(super) const PAGE_STATEMENTS: &[[&str; 3]] = &PAGES;
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    LIVE,
    STANDS,
    LIVE_OF_USERNAME,
    HOLD,
    AMEND,
    LOCK,
    REVOKE,
    REVOKE_OF_USER,
    REVOKE_OF_CLIENT,
    REVOKE_OF_RESOURCE,
    FORGET_REMEMBERED,
    OF_USER,
    FORGET,
    FIND,
    HOLD_ANY,
];

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

/// One row as operators see it, revoked or not.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct ShownGrant {
    pub(crate) grant_id: String,
    pub(crate) user_id: String,
    pub(crate) client_id: String,
    pub(crate) resource: String,
    pub(crate) scopes: String,
    pub(crate) remembered_scopes: String,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) expires_at: Option<i64>,
    pub(crate) revoked_at: Option<i64>,
}

/// Which grants are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose<'a> {
    Any,
    User(&'a str),
    Client(&'a str),
}

/// At most `limit` grants after `(created_at, grant_id)`, oldest first; with `standing`, only those that were not, or
/// were, revoked.
pub(crate) async fn page(
    db: &Db,
    whose: Whose<'_>,
    standing: Option<bool>,
    (created_at, grant_id): (i64, &str),
    limit: u32,
) -> Result<Vec<ShownGrant>, DbFault> {
    let (statements, value) = match whose {
        Whose::Any => (PAGES[0], None),
        Whose::User(id) => (PAGES[1], Some(id)),
        Whose::Client(id) => (PAGES[2], Some(id)),
    };
    let statement = statements[standing.map_or(0, |standing| if standing { 1 } else { 2 })];
    on!(db, c => {
        let query = sqlx::query_as(statement).bind(created_at).bind(grant_id).bind(i64::from(limit));
        match value {
            Some(value) => query.bind(value),
            None => query,
        }
        .fetch_all(c)
    })
}

/// The grant of that id, revoked or not.
pub(crate) async fn find(db: &Db, grant_id: &str) -> Result<Option<ShownGrant>, DbFault> {
    on!(db, c => sqlx::query_as(FIND).bind(grant_id).fetch_optional(c))
}

/// As [`find`], and nobody changes it until the transaction ends.
pub(crate) async fn hold_any(tx: &mut Tx, grant_id: &str) -> Result<Option<ShownGrant>, DbFault> {
    on!(tx tx, c => sqlx::query_as(HOLD_ANY).bind(grant_id).fetch_optional(c))
}

/// Whether a grant has neither ended nor expired.
pub(crate) async fn stands(db: &Db, grant_id: &str, now: UnixSeconds) -> Result<bool, DbFault> {
    let found: Option<String> =
        on!(db, c => sqlx::query_scalar(STANDS).bind(grant_id).bind(now.0).fetch_optional(c))?;
    Ok(found.is_some())
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

/// As [`live`], by the name of a person who is not disabled.
pub(crate) async fn live_of_username(
    db: &Db,
    username: &str,
    client_id: &str,
    resource: &str,
) -> Result<Option<GrantRow>, DbFault> {
    on!(db, c => {
        sqlx::query_as(LIVE_OF_USERNAME).bind(username).bind(client_id).bind(resource).fetch_optional(c)
    })
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

/// Ends a grant of this person and every token that came of it; `false` when there is no such living one. Its codes
/// end with it: whoever redeems one must [`lock`] the grant.
pub(crate) async fn revoke(
    tx: &mut Tx,
    grant_id: &str,
    user_id: &str,
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    let rows = on!(tx tx, c => async {
        let update = sqlx::query(REVOKE).bind(grant_id).bind(user_id).bind(now.0);
        update.execute(c).await.map(|done| done.rows_affected())
    })?;
    if rows == 0 {
        return Ok(false);
    }
    token_family::revoke(tx, Of::Grant(grant_id), "the grant was revoked", now).await?;
    Ok(true)
}

/// Ends everything that a person has granted; returns how many grants ended.
pub(crate) async fn revoke_all_of_user(tx: &mut Tx, user_id: &str, now: UnixSeconds) -> Result<u64, DbFault> {
    let rows = end_all(tx, REVOKE_OF_USER, user_id, now).await?;
    token_family::revoke(
        tx,
        Of::User(user_id),
        "all grants of the person were revoked",
        now,
    )
    .await?;
    Ok(rows)
}

/// Ends everything that a client was granted; returns how many grants ended.
pub(crate) async fn revoke_all_of_client(
    tx: &mut Tx,
    client_id: &str,
    now: UnixSeconds,
) -> Result<u64, DbFault> {
    end_all_of_client(tx, client_id, "the client was revoked", now).await
}

/// As [`revoke_all_of_client`], for another reason. Codes and approved devices that wait end with their grants.
pub(super) async fn end_all_of_client(
    tx: &mut Tx,
    client_id: &str,
    why: &'static str,
    now: UnixSeconds,
) -> Result<u64, DbFault> {
    let rows = end_all(tx, REVOKE_OF_CLIENT, client_id, now).await?;
    token_family::revoke(tx, Of::Client(client_id), why, now).await?;
    Ok(rows)
}

/// Lets nothing of what a client was granted go without asking any more. What was granted stands.
pub(super) async fn forget_remembered(tx: &mut Tx, client_id: &str) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        sqlx::query(FORGET_REMEMBERED).bind(client_id).execute(c).await.map(|_| ())
    })
}

/// Ends everything that was granted at a resource that is forgotten: should another be registered by its name, nobody
/// has been asked about that one.
pub(super) async fn revoke_all_of_resource(
    tx: &mut Tx,
    resource: &str,
    now: UnixSeconds,
) -> Result<(), DbFault> {
    end_all(tx, REVOKE_OF_RESOURCE, resource, now).await?;
    token_family::revoke(tx, Of::Resource(resource), "the resource was forgotten", now).await?;
    Ok(())
}

async fn end_all(tx: &mut Tx, statement: &'static str, id: &str, now: UnixSeconds) -> Result<u64, DbFault> {
    on!(tx tx, c => async {
        sqlx::query(statement).bind(id).bind(now.0).execute(c).await.map(|done| done.rows_affected())
    })
}

/// A grant as its owner sees it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct GrantView {
    pub(crate) grant_id: String,
    pub(crate) client_id: String,
    pub(crate) client_name: String,
    /// See [`crate::client::Origin`].
    pub(crate) client_origin: String,
    pub(crate) resource: String,
    pub(crate) scopes: String,
    pub(crate) created_at: i64,
    /// It may lie in the past: the grant gives nothing then, until it is approved again.
    pub(crate) expires_at: Option<i64>,
    /// `None` while no token ever came of it.
    pub(crate) last_used_at: Option<i64>,
}

/// Everything that a person has granted and not revoked, by the client's name.
pub(crate) async fn list_of_user(db: &Db, user_id: &str) -> Result<Vec<GrantView>, DbFault> {
    on!(db, c => sqlx::query_as(OF_USER).bind(user_id).fetch_all(c))
}

/// Drops grants that were revoked before `before`, once nothing refers to them.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    delete_in_batches(db, FORGET, before).await
}

/// Whether there is such a row, revoked or not.
#[cfg(test)]
pub(crate) async fn exists(db: &Db, grant_id: &str) -> Result<bool, DbFault> {
    const EXISTS: &str = "SELECT COUNT(*) FROM access_grant WHERE grant_id = $1";
    let count: i64 = on!(db, c => sqlx::query_scalar(EXISTS).bind(grant_id).fetch_one(c))?;
    Ok(count > 0)
}
