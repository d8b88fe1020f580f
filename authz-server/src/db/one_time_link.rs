//! Table `one_time_link`: links that work once, the first administrator's and those that set a password.

use shared::clock::UnixSeconds;
use shared::secret::SecretHash;

use super::{Db, DbFault, Tx, delete_in_batches, on};

const FIND: &str = "SELECT purpose, user_id FROM one_time_link \
     WHERE link_hash = $1 AND used_at IS NULL AND expires_at > $2";
const INSERT: &str = "INSERT INTO one_time_link (link_hash, purpose, user_id, created_at, expires_at) \
     VALUES ($1, $2, $3, $4, $5)";
const USE: &str = "UPDATE one_time_link SET used_at = $2 \
     WHERE link_hash = $1 AND used_at IS NULL AND expires_at > $2 RETURNING purpose, user_id";
const END_FIRST_ADMIN: &str =
    "UPDATE one_time_link SET used_at = $1 WHERE purpose = 'first-admin' AND used_at IS NULL";
const END_OF_USER: &str = "UPDATE one_time_link SET used_at = $2 WHERE user_id = $1 AND used_at IS NULL";
const FORGET: &str = "DELETE FROM one_time_link WHERE link_hash IN \
     (SELECT link_hash FROM one_time_link WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[FIND, INSERT, USE, END_FIRST_ADMIN, END_OF_USER, FORGET];

/// What a link is for: one that makes the first administrator has no `user_id`.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct LinkRow {
    /// `first-admin` or `set-password`.
    pub(crate) purpose: String,
    pub(crate) user_id: Option<String>,
}

/// A link that can still be used.
pub(crate) async fn find(db: &Db, link: &SecretHash, now: UnixSeconds) -> Result<Option<LinkRow>, DbFault> {
    on!(db, c => sqlx::query_as(FIND).bind(link.as_bytes()).bind(now.0).fetch_optional(c))
}

/// Writes a new link.
pub(crate) async fn insert(
    tx: &mut Tx,
    link: &SecretHash,
    row: &LinkRow,
    (now, expires_at): (UnixSeconds, UnixSeconds),
) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        let insert = sqlx::query(INSERT)
            .bind(link.as_bytes())
            .bind(&row.purpose)
            .bind(&row.user_id)
            .bind(now.0)
            .bind(expires_at.0);
        insert.execute(c).await.map(|_| ())
    })
}

/// Uses a link up: `Some` for exactly one caller.
pub(crate) async fn take(
    tx: &mut Tx,
    link: &SecretHash,
    now: UnixSeconds,
) -> Result<Option<LinkRow>, DbFault> {
    on!(tx tx, c => sqlx::query_as(USE).bind(link.as_bytes()).bind(now.0).fetch_optional(c))
}

/// Ends every link that could make the first administrator.
pub(crate) async fn end_first_admin(tx: &mut Tx, now: UnixSeconds) -> Result<(), DbFault> {
    on!(tx tx, c => async { sqlx::query(END_FIRST_ADMIN).bind(now.0).execute(c).await.map(|_| ()) })
}

/// Ends every link of a person.
pub(crate) async fn end_of_user(tx: &mut Tx, user_id: &str, now: UnixSeconds) -> Result<(), DbFault> {
    on!(tx tx, c => async { sqlx::query(END_OF_USER).bind(user_id).bind(now.0).execute(c).await.map(|_| ()) })
}

/// Drops links that expired before `before`.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    delete_in_batches(db, FORGET, before).await
}
