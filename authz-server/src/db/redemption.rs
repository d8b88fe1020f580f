//! Redeeming a code in one statement, which only Postgres can.
//!
//! It does what [`super::access_grant::lock`], [`super::authorization_code::redeem`], [`super::token_family::open`] and
//! [`super::refresh_token::insert`] do in one transaction, under the same conditions and locks in the same order, and
//! saves five of six journeys to the database. All of it happens or nothing: who is told "nothing" runs the
//! transaction, which is the only one to say why.

use shared::clock::UnixSeconds;
use shared::secret::SecretHash;

use super::authorization_code::MAX_FAILURES;
use super::token_family::NewFamilyRow;
use super::{Db, DbFault, on};

/// The grant is share-locked first: whoever revokes it comes before, and is seen here, or after, and sees the family.
const AT_ONCE: &str = "WITH standing AS MATERIALIZED (\
         SELECT grant_id, client_id, user_id, resource, expires_at FROM access_grant \
         WHERE grant_id = $2 AND client_id = $3 AND user_id = $4 AND resource = $5 \
         AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $6) FOR SHARE), \
     redeemed AS (\
         UPDATE authorization_code c SET redeemed_at = $6, family_id = $7 FROM standing s \
         WHERE c.code_hash = $1 AND c.grant_id = s.grant_id \
         AND c.redeemed_at IS NULL AND c.expires_at > $6 AND c.failures < $8 RETURNING c.grant_id), \
     opened AS (\
         INSERT INTO token_family (family_id, grant_id, client_id, user_id, resource, scopes, auth_time, methods, nonce, \
             created_at, last_used_at, expires_at, confirmation, authorization_details, status_list, status_index) \
         SELECT $7, s.grant_id, s.client_id, s.user_id, s.resource, $9, $10, $11, $12, $6, $6, \
             CASE WHEN s.expires_at < $13 THEN s.expires_at ELSE $13 END, $16, $17, $18, $19 \
         FROM standing s JOIN redeemed r ON r.grant_id = s.grant_id RETURNING family_id, expires_at), \
     kept AS (\
         INSERT INTO refresh_token (token_hash, family_id, created_at, expires_at) \
         SELECT $14, o.family_id, $6, CASE WHEN o.expires_at < $15 THEN o.expires_at ELSE $15 END \
         FROM opened o WHERE CAST($14 AS BYTEA) IS NOT NULL) \
     SELECT expires_at FROM opened";

#[cfg(test)]
pub(super) const POSTGRES_STATEMENTS: &[&str] = &[AT_ONCE];

/// Redeems a code, begins its family and keeps the first refresh token (with its idle end), if there is to be one.
/// Returns when the family ends. `None`, and nothing has happened, when the code is not to be had, or the database is
/// SQLite.
pub(crate) async fn at_once(
    db: &Db,
    code: &SecretHash,
    new: &NewFamilyRow<'_>,
    (refresh, idle_end): (Option<&SecretHash>, UnixSeconds),
    now: UnixSeconds,
) -> Result<Option<UnixSeconds>, DbFault> {
    let Db::Pg(_) = db else {
        return Ok(None);
    };
    // Every column by name: one that is added to families is not forgotten here.
    let NewFamilyRow {
        family_id,
        grant_id,
        client_id,
        user_id,
        resource,
        scopes,
        auth_time,
        methods,
        nonce,
        authorization_details,
        expires_at,
        confirmation,
        status,
    } = new;
    let end: Result<Option<i64>, DbFault> = on!(db, c => {
        sqlx::query_scalar(AT_ONCE)
            .bind(code.as_bytes())
            .bind(grant_id)
            .bind(client_id)
            .bind(user_id)
            .bind(resource)
            .bind(now.0)
            .bind(family_id)
            .bind(MAX_FAILURES)
            .bind(scopes)
            .bind(auth_time.0)
            .bind(methods)
            .bind(nonce)
            .bind(expires_at.0)
            .bind(refresh.map(SecretHash::as_bytes))
            .bind(idle_end.0)
            .bind(confirmation)
            .bind(authorization_details)
            .bind(status.0)
            .bind(status.1)
            .fetch_optional(c)
    });
    end.map(|end| end.map(UnixSeconds))
}
