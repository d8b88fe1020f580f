//! Table `user_account`: the people who can sign in.

use super::{Db, DbFault, on};

const FIND: &str = "SELECT user_id, username, display_name, email, is_admin, password_hash, totp_sealed, totp_confirmed_at, \
     totp_last_step, created_at, disabled_at FROM user_account WHERE user_id = $1";
const FIND_BY_USERNAME: &str = "SELECT user_id, username, display_name, email, is_admin, password_hash, totp_sealed, totp_confirmed_at, \
     totp_last_step, created_at, disabled_at FROM user_account WHERE username = $1";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[FIND, FIND_BY_USERNAME];

/// One row. `Debug` is left out: it holds hashes and sealed secrets.
#[derive(Clone, sqlx::FromRow)]
pub(crate) struct UserRow {
    pub(crate) user_id: String,
    pub(crate) username: String,
    pub(crate) display_name: String,
    pub(crate) email: Option<String>,
    pub(crate) is_admin: bool,
    pub(crate) password_hash: Option<String>,
    pub(crate) totp_sealed: Option<Vec<u8>>,
    pub(crate) totp_confirmed_at: Option<i64>,
    pub(crate) totp_last_step: i64,
    pub(crate) created_at: i64,
    pub(crate) disabled_at: Option<i64>,
}

/// The person with this id, disabled or not.
pub(crate) async fn find(db: &Db, user_id: &str) -> Result<Option<UserRow>, DbFault> {
    on!(db, c => sqlx::query_as(FIND).bind(user_id).fetch_optional(c))
}

/// The person who types this name, disabled or not.
pub(crate) async fn find_by_username(db: &Db, username: &str) -> Result<Option<UserRow>, DbFault> {
    on!(db, c => sqlx::query_as(FIND_BY_USERNAME).bind(username).fetch_optional(c))
}
