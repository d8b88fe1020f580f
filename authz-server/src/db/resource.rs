//! Table `resource`: the protected resources that tokens can be for.

use shared::clock::UnixSeconds;

use super::change::{self, Noun};
use super::{Db, DbFault, Tx, access_grant, on, status_revoked};

const LIST: &str = "SELECT uri, lookup_key, name, scopes, alg, access_ttl, client_id, created_at, authorization_details_types \
     FROM resource ORDER BY created_at, uri";
const FIND_BY_KEY: &str = "SELECT uri, lookup_key, name, scopes, alg, access_ttl, client_id, created_at, authorization_details_types \
     FROM resource WHERE lookup_key = $1";
const PAGE: &str = "SELECT uri, lookup_key, name, scopes, alg, access_ttl, client_id, created_at, authorization_details_types \
     FROM resource WHERE (created_at, uri) > ($1, $2) ORDER BY created_at, uri LIMIT $3";
const SCOPES: &str = "SELECT scopes FROM resource";
const GIVE: &str = "UPDATE resource SET client_id = $2 WHERE uri = $1";
const INSERT: &str = "INSERT INTO resource (uri, lookup_key, name, scopes, alg, access_ttl, client_id, created_at, \
     authorization_details_types) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const UPDATE: &str = "UPDATE resource SET name = $2, scopes = $3, alg = $4, access_ttl = $5, client_id = $6, \
     authorization_details_types = $7 WHERE uri = $1";
const DELETE: &str = "DELETE FROM resource WHERE uri = $1";

const DELETE_OF: &str = "DELETE FROM resource WHERE uri = $1 AND client_id = $2";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    LIST,
    FIND_BY_KEY,
    PAGE,
    SCOPES,
    GIVE,
    INSERT,
    UPDATE,
    DELETE,
    DELETE_OF,
];

/// One row. `scopes` and `authorization_details_types` are space separated, `access_ttl` is in seconds.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct ResourceRow {
    pub(crate) uri: String,
    pub(crate) lookup_key: String,
    pub(crate) name: String,
    pub(crate) scopes: String,
    pub(crate) alg: String,
    pub(crate) access_ttl: i64,
    pub(crate) client_id: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) authorization_details_types: String,
}

/// Every resource, oldest first.
pub(crate) async fn list(db: &Db) -> Result<Vec<ResourceRow>, DbFault> {
    on!(db, c => sqlx::query_as(LIST).fetch_all(c))
}

/// At most `limit` resources after `(created_at, uri)`, oldest first.
pub(crate) async fn page(
    db: &Db,
    (created_at, uri): (i64, &str),
    limit: u32,
) -> Result<Vec<ResourceRow>, DbFault> {
    on!(db, c => sqlx::query_as(PAGE).bind(created_at).bind(uri).bind(i64::from(limit)).fetch_all(c))
}

/// The scopes of each resource.
pub(crate) async fn scopes(db: &Db) -> Result<Vec<String>, DbFault> {
    on!(db, c => sqlx::query_scalar(SCOPES).fetch_all(c))
}

/// The resource under which a spelling meets others.
pub(crate) async fn find_by_key(db: &Db, lookup_key: &str) -> Result<Option<ResourceRow>, DbFault> {
    on!(db, c => sqlx::query_as(FIND_BY_KEY).bind(lookup_key).fetch_optional(c))
}

/// Writes a new resource. A URI that is registered, in whatever spelling, is [`DbFault::Constraint`].
#[cfg(test)]
pub(crate) async fn insert(db: &Db, resource: &ResourceRow) -> Result<(), DbFault> {
    db.write(async |tx| insert_in(tx, resource).await).await
}

/// As [`insert`], as a part of something larger.
pub(crate) async fn insert_in(tx: &mut Tx, resource: &ResourceRow) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        let insert = sqlx::query(INSERT)
            .bind(&resource.uri)
            .bind(&resource.lookup_key)
            .bind(&resource.name)
            .bind(&resource.scopes)
            .bind(&resource.alg)
            .bind(resource.access_ttl)
            .bind(&resource.client_id)
            .bind(resource.created_at)
            .bind(&resource.authorization_details_types);
        insert.execute(c).await.map(|_| ())
    })?;
    let now = UnixSeconds(resource.created_at);
    change::record(tx, Noun::Resource, &resource.uri, now);
    Ok(())
}

/// The resource under which a spelling meets others, as the transaction sees it.
pub(crate) async fn find_in(tx: &mut Tx, lookup_key: &str) -> Result<Option<ResourceRow>, DbFault> {
    on!(tx tx, c => sqlx::query_as(FIND_BY_KEY).bind(lookup_key).fetch_optional(c))
}

/// Lets `client_id` introspect the tokens of a resource.
pub(crate) async fn give_to(
    tx: &mut Tx,
    (uri, client_id): (&str, &str),
    now: UnixSeconds,
) -> Result<(), DbFault> {
    let rows = on!(tx tx, c => async {
        sqlx::query(GIVE).bind(uri).bind(client_id).execute(c).await.map(|done| done.rows_affected())
    })?;
    noted(tx, rows, uri, now);
    Ok(())
}

/// The resource under which a spelling meets others, which nobody else changes until the transaction ends, and the turn
/// to write it with [`amend`].
pub(crate) async fn hold(tx: &mut Tx, lookup_key: &str) -> Result<Option<(i64, ResourceRow)>, DbFault> {
    let turn = change::take_turn(tx).await?;
    let found = find_in(tx, lookup_key).await?;
    Ok(found.map(|resource| (turn, resource)))
}

/// Writes the changeable columns of a resource that the transaction holds.
pub(crate) async fn amend(
    tx: &mut Tx,
    (turn, resource): (i64, &ResourceRow),
    now: UnixSeconds,
) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(UPDATE)
            .bind(&resource.uri)
            .bind(&resource.name)
            .bind(&resource.scopes)
            .bind(&resource.alg)
            .bind(resource.access_ttl)
            .bind(&resource.client_id)
            .bind(&resource.authorization_details_types);
        update.execute(c).await.map(|_| ())
    })?;
    change::record_at(tx, turn, (Noun::Resource, &resource.uri), now).await
}

/// Forgets a resource that the transaction holds, and ends what was granted for it.
pub(crate) async fn delete_held(
    tx: &mut Tx,
    (turn, uri): (i64, &str),
    now: UnixSeconds,
) -> Result<(), DbFault> {
    change::record_at(tx, turn, (Noun::Resource, uri), now).await?;
    delete_in(tx, uri, now).await.map(|_| ())
}

/// Forgets a resource and ends what was granted for it; `false` when there is no such resource.
pub(crate) async fn delete_in(tx: &mut Tx, uri: &str, now: UnixSeconds) -> Result<bool, DbFault> {
    let rows = on!(tx tx, c => async {
        sqlx::query(DELETE).bind(uri).execute(c).await.map(|done| done.rows_affected())
    })?;
    forgotten(tx, rows, uri, now).await
}

/// As [`delete_in`], if the tokens of the resource are `client_id`'s to introspect; otherwise nothing happens.
pub(crate) async fn delete_of(
    tx: &mut Tx,
    (uri, client_id): (&str, &str),
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    let rows = on!(tx tx, c => async {
        sqlx::query(DELETE_OF).bind(uri).bind(client_id).execute(c).await.map(|done| done.rows_affected())
    })?;
    if rows == 0 {
        return Ok(false);
    }
    forgotten(tx, rows, uri, now).await
}

/// Ends what was granted for a resource that is gone.
async fn forgotten(tx: &mut Tx, rows: u64, uri: &str, now: UnixSeconds) -> Result<bool, DbFault> {
    access_grant::revoke_all_of_resource(tx, uri, now).await?;
    status_revoked::resource(tx, uri, now).await?;
    Ok(noted(tx, rows, uri, now))
}

fn noted(tx: &mut Tx, rows: u64, uri: &str, now: UnixSeconds) -> bool {
    if rows > 0 {
        change::record(tx, Noun::Resource, uri, now);
    }
    rows > 0
}
