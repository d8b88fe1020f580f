//! Table `authorization_code`: what a redirect carried back, once, for a minute.

use shared::clock::UnixSeconds;
use shared::secret::SecretHash;

use super::{Db, DbFault, Tx, delete_in_batches, on};

/// Wrong verifiers that a code survives, and one more.
pub(crate) const MAX_FAILURES: i64 = 3;

const INSERT: &str = "INSERT INTO authorization_code (code_hash, grant_id, client_id, user_id, redirect_uri, code_challenge, resource, \
     scopes, nonce, session_id, auth_time, methods, created_at, expires_at, dpop_jkt, authorization_details) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
/// Of a grant that stands, by a person and in a session that do.
const INSERT_UNDER: &str = "INSERT INTO authorization_code (code_hash, grant_id, client_id, user_id, redirect_uri, code_challenge, \
     resource, scopes, nonce, session_id, auth_time, methods, created_at, expires_at, dpop_jkt, authorization_details) \
     SELECT $1, g.grant_id, g.client_id, g.user_id, $5, $6, g.resource, $8, $9, $10, $11, $12, $13, $14, $15, $16 \
     FROM access_grant g JOIN user_account u ON u.user_id = g.user_id \
     WHERE g.grant_id = $2 AND g.client_id = $3 AND g.user_id = $4 AND g.resource = $7 AND g.revoked_at IS NULL \
     AND (g.expires_at IS NULL OR g.expires_at > $13) AND u.disabled_at IS NULL \
     AND (CAST($10 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM session s WHERE s.session_id = $10 AND s.user_id = g.user_id \
     AND s.ended_at IS NULL AND s.expires_at > $13))";
const FIND: &str = "SELECT c.grant_id, c.client_id, c.user_id, c.redirect_uri, c.code_challenge, c.resource, c.scopes, c.nonce, \
     c.session_id, c.auth_time, c.methods, c.created_at, c.expires_at, c.dpop_jkt, c.authorization_details, c.failures, c.redeemed_at, g.scopes AS grant_scopes, \
     CASE WHEN g.revoked_at IS NULL AND (g.expires_at IS NULL OR g.expires_at > $2) AND u.disabled_at IS NULL \
     AND (c.session_id IS NULL OR (s.ended_at IS NULL AND s.expires_at > $2)) THEN TRUE ELSE FALSE END AS stands \
     FROM authorization_code c JOIN access_grant g ON g.grant_id = c.grant_id JOIN user_account u ON u.user_id = c.user_id \
     LEFT JOIN session s ON s.session_id = c.session_id WHERE c.code_hash = $1";
const COUNT_FAILURE: &str =
    "UPDATE authorization_code SET failures = failures + 1 WHERE code_hash = $1 AND redeemed_at IS NULL";
const REDEEM: &str = "UPDATE authorization_code SET redeemed_at = $2, family_id = $3 \
     WHERE code_hash = $1 AND redeemed_at IS NULL AND expires_at > $2 AND failures < $4";
const FAMILY: &str =
    "SELECT family_id FROM authorization_code WHERE code_hash = $1 AND redeemed_at IS NOT NULL";
const FORGET: &str = "DELETE FROM authorization_code WHERE code_hash IN \
     (SELECT c.code_hash FROM authorization_code c LEFT JOIN token_family f ON f.family_id = c.family_id \
     WHERE c.expires_at < $1 AND (f.family_id IS NULL OR f.revoked_at IS NOT NULL OR f.expires_at < $1) \
     ORDER BY c.expires_at LIMIT $2)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[INSERT, INSERT_UNDER, FIND, COUNT_FAILURE, REDEEM, FAMILY, FORGET];

/// One code as it is issued.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct CodeRow {
    pub(crate) grant_id: String,
    pub(crate) client_id: String,
    pub(crate) user_id: String,
    pub(crate) redirect_uri: String,
    pub(crate) code_challenge: String,
    pub(crate) resource: String,
    pub(crate) scopes: String,
    pub(crate) nonce: Option<String>,
    pub(crate) session_id: Option<String>,
    pub(crate) auth_time: i64,
    pub(crate) methods: String,
    pub(crate) created_at: i64,
    pub(crate) expires_at: i64,
    /// RFC 9396: a JSON list.
    pub(crate) authorization_details: Option<String>,
    /// The thumbprint of the key that must be shown when it is redeemed (RFC 9449 §10).
    pub(crate) dpop_jkt: Option<String>,
}

/// A statement with a code's columns as its parameters.
macro_rules! bound {
    ($statement:expr, $code:expr, $row:expr) => {
        sqlx::query($statement)
            .bind($code.as_bytes())
            .bind(&$row.grant_id)
            .bind(&$row.client_id)
            .bind(&$row.user_id)
            .bind(&$row.redirect_uri)
            .bind(&$row.code_challenge)
            .bind(&$row.resource)
            .bind(&$row.scopes)
            .bind(&$row.nonce)
            .bind(&$row.session_id)
            .bind($row.auth_time)
            .bind(&$row.methods)
            .bind($row.created_at)
            .bind($row.expires_at)
            .bind(&$row.dpop_jkt)
            .bind(&$row.authorization_details)
    };
}

/// Keeps a code that is about to be sent.
pub(crate) async fn insert(tx: &mut Tx, code: &SecretHash, row: &CodeRow) -> Result<(), DbFault> {
    on!(tx tx, c => async { bound!(INSERT, code, row).execute(c).await.map(|_| ()) })
}

/// Keeps a code that is about to be sent, if its grant, person and session stand; a transaction of its own. Nothing is
/// held: whatever ends a moment later is seen when the code comes back ([`find`], [`redeem`]).
pub(crate) async fn insert_under(db: &Db, code: &SecretHash, row: &CodeRow) -> Result<bool, DbFault> {
    on!(write db, c => async {
        bound!(INSERT_UNDER, code, row).execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// A code that came back.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct KnownCode {
    #[sqlx(flatten)]
    pub(crate) code: CodeRow,
    /// Wrong verifiers so far.
    pub(crate) failures: i64,
    pub(crate) redeemed_at: Option<i64>,
    /// What the person allows by now.
    pub(crate) grant_scopes: String,
    /// Whether grant, person and the session in which it was approved all still stand.
    pub(crate) stands: bool,
}

/// The code of this hash, redeemed, expired or not.
pub(crate) async fn find(db: &Db, code: &SecretHash, now: UnixSeconds) -> Result<Option<KnownCode>, DbFault> {
    on!(db, c => sqlx::query_as(FIND).bind(code.as_bytes()).bind(now.0).fetch_optional(c))
}

/// Counts a wrong verifier against a code that was not redeemed (OAuth 2.1 §7.5.2).
pub(crate) async fn count_failure(db: &Db, code: &SecretHash) -> Result<(), DbFault> {
    on!(db, c => async { sqlx::query(COUNT_FAILURE).bind(code.as_bytes()).execute(c).await.map(|_| ()) })
}

/// Redeems a code: `true` for exactly one caller. Hold the grant ([`super::access_grant::lock`]) meanwhile.
pub(crate) async fn redeem(
    tx: &mut Tx,
    code: &SecretHash,
    family_id: &str,
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(REDEEM)
            .bind(code.as_bytes())
            .bind(now.0)
            .bind(family_id)
            .bind(MAX_FAILURES);
        update.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// The family that came of a redeemed code.
pub(crate) async fn family(tx: &mut Tx, code: &SecretHash) -> Result<Option<String>, DbFault> {
    let found: Option<Option<String>> =
        on!(tx tx, c => sqlx::query_scalar(FAMILY).bind(code.as_bytes()).fetch_optional(c))?;
    Ok(found.flatten())
}

/// Drops codes that expired before `before`.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    delete_in_batches(db, FORGET, before).await
}
