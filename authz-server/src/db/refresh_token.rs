//! Table `refresh_token`: the links of a family's chain. Used ones stay as long as the family, so that whoever shows
//! one again is noticed (OAuth 2.1 §4.3.1).

use shared::clock::UnixSeconds;
use shared::secret::SecretHash;

use super::{Db, DbFault, Tx, delete_in_batches, on};

const FIND: &str = "SELECT r.family_id, r.created_at, r.expires_at, r.replaced_at, f.client_id, f.user_id, f.resource, f.scopes, \
     f.authorization_details, f.auth_time, f.methods, f.created_at AS granted_at, f.confirmation, g.scopes AS grant_scopes, \
     CASE WHEN g.expires_at < f.expires_at THEN g.expires_at ELSE f.expires_at END AS ends_at, \
     CASE WHEN f.revoked_at IS NULL AND f.expires_at > $2 AND g.revoked_at IS NULL \
     AND (g.expires_at IS NULL OR g.expires_at > $2) AND u.disabled_at IS NULL THEN TRUE ELSE FALSE END AS stands \
     FROM refresh_token r JOIN token_family f ON f.family_id = r.family_id JOIN access_grant g ON g.grant_id = f.grant_id \
     JOIN user_account u ON u.user_id = f.user_id WHERE r.token_hash = $1";
const INSERT: &str = "INSERT INTO refresh_token (token_hash, family_id, created_at, expires_at, status_list, status_index) VALUES ($1, $2, $3, $4, $5, $6)";
const REPLACE: &str = "UPDATE refresh_token SET replaced_at = $2, successor_hash = $3, successor_sealed = $4 \
     WHERE token_hash = $1 AND replaced_at IS NULL AND expires_at > $2";
const REPLACED: &str = "SELECT r.replaced_at, r.successor_sealed, s.replaced_at AS successor_replaced_at, s.status_list, s.status_index \
     FROM refresh_token r JOIN refresh_token s ON s.token_hash = r.successor_hash WHERE r.token_hash = $1";
const MOVE: &str = "UPDATE refresh_token SET status_list = $2, status_index = $3 \
     WHERE token_hash = (SELECT successor_hash FROM refresh_token WHERE token_hash = $1)";
const FORGET: &str = "DELETE FROM refresh_token WHERE token_hash IN \
     (SELECT r.token_hash FROM token_family f JOIN refresh_token r ON r.family_id = f.family_id \
     WHERE f.expires_at < $1 ORDER BY f.expires_at LIMIT $2)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[FIND, INSERT, REPLACE, REPLACED, MOVE, FORGET];

/// A refresh token with its family and grant.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct RefreshTokenRow {
    pub(crate) family_id: String,
    pub(crate) created_at: i64,
    /// Its idle end.
    pub(crate) expires_at: i64,
    pub(crate) replaced_at: Option<i64>,
    pub(crate) client_id: String,
    pub(crate) user_id: String,
    pub(crate) resource: String,
    pub(crate) scopes: String,
    /// RFC 9396: a JSON list.
    pub(crate) authorization_details: Option<String>,
    pub(crate) auth_time: i64,
    pub(crate) methods: String,
    /// When the family began.
    pub(crate) granted_at: i64,
    /// JSON: the key to which the family's refresh tokens are bound.
    pub(crate) confirmation: Option<String>,
    /// When family or grant ends, whichever is sooner.
    pub(crate) ends_at: i64,
    /// What the person allows by now.
    pub(crate) grant_scopes: String,
    /// Whether family, grant and person all still stand.
    pub(crate) stands: bool,
}

/// What became of a token that was used before.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct ReplacedRow {
    pub(crate) replaced_at: i64,
    pub(crate) successor_sealed: Vec<u8>,
    /// When its successor was used, if it was.
    pub(crate) successor_replaced_at: Option<i64>,
    /// The place of the access token that was given out with its successor.
    pub(crate) status_list: Option<String>,
    pub(crate) status_index: Option<i64>,
}

/// The token of this hash, used or not.
pub(crate) async fn find(
    db: &Db,
    token: &SecretHash,
    now: UnixSeconds,
) -> Result<Option<RefreshTokenRow>, DbFault> {
    on!(db, c => sqlx::query_as(FIND).bind(token.as_bytes()).bind(now.0).fetch_optional(c))
}

/// Keeps a token that is about to be handed out, and the place in a status list of the access token beside it, unless
/// that is kept with the family.
pub(crate) async fn insert(
    tx: &mut Tx,
    token: &SecretHash,
    family_id: &str,
    (now, idle_end): (UnixSeconds, UnixSeconds),
    status: Option<(&str, i64)>,
) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        let insert = sqlx::query(INSERT)
            .bind(token.as_bytes())
            .bind(family_id)
            .bind(now.0)
            .bind(idle_end.0)
            .bind(status.map(|(list_id, _)| list_id))
            .bind(status.map(|(_, index)| index));
        insert.execute(c).await.map(|_| ())
    })
}

/// Marks a token as used and keeps its successor sealed; `false` when it was used before or nobody used it in time.
/// Hold the family ([`super::token_family::use_now`]) meanwhile.
pub(crate) async fn replace(
    tx: &mut Tx,
    token: &SecretHash,
    (successor, sealed): (&SecretHash, &[u8]),
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(REPLACE)
            .bind(token.as_bytes())
            .bind(now.0)
            .bind(successor.as_bytes())
            .bind(sealed);
        update.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// What became of a used token; `None` for one that was never used.
pub(crate) async fn replaced(tx: &mut Tx, token: &SecretHash) -> Result<Option<ReplacedRow>, DbFault> {
    on!(tx tx, c => sqlx::query_as(REPLACED).bind(token.as_bytes()).fetch_optional(c))
}

/// Gives the access token beside the successor of `token` another place.
pub(crate) async fn move_successor(
    tx: &mut Tx,
    token: &SecretHash,
    (list_id, index): (&str, i64),
) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(MOVE).bind(token.as_bytes()).bind(list_id).bind(index);
        update.execute(c).await.map(|_| ())
    })
}

/// Drops the tokens of families that ended of age before `before`.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    delete_in_batches(db, FORGET, before).await
}
