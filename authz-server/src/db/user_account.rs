//! Table `user_account`: the people who can sign in.

use shared::clock::UnixSeconds;

use super::{Db, DbFault, Tx, on};

const FIND: &str = "SELECT user_id, username, display_name, email, is_admin, password_hash, totp_sealed, totp_confirmed_at, \
     created_at, disabled_at FROM user_account WHERE user_id = $1";
const FIND_BY_USERNAME: &str = "SELECT user_id, username, display_name, email, is_admin, password_hash, totp_sealed, totp_confirmed_at, \
     created_at, disabled_at FROM user_account WHERE username = $1";
/// Page by page from the oldest on: after a moment and an id, so many.
macro_rules! page {
    ($filter:literal) => {
        concat!(
            "SELECT user_id, username, display_name, email, is_admin, password_hash, totp_sealed, totp_confirmed_at, \
             created_at, disabled_at FROM user_account WHERE (created_at, user_id) > ($1, $2)",
            $filter,
            " ORDER BY created_at, user_id LIMIT $3"
        )
    };
}

const PAGE: &str = page!("");
const PAGE_OF_OPEN: &str = page!(" AND disabled_at IS NULL");
const PAGE_OF_CLOSED: &str = page!(" AND disabled_at IS NOT NULL");
const HOLD: &str = "UPDATE user_account SET username = username WHERE user_id = $1 RETURNING user_id, username, display_name, \
     email, is_admin, password_hash, totp_sealed, totp_confirmed_at, created_at, disabled_at";
const AMEND: &str = "UPDATE user_account SET display_name = $2, email = $3, is_admin = $4 WHERE user_id = $1";
const COUNT_ADMINS: &str = "SELECT COUNT(*) FROM user_account WHERE is_admin";
const INSERT: &str = "INSERT INTO user_account (user_id, username, display_name, email, is_admin, password_hash, created_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)";
const SET_PASSWORD: &str = "UPDATE user_account SET password_hash = $2 WHERE user_id = $1";
const FORGET_PASSWORD: &str = "UPDATE user_account SET password_hash = NULL WHERE user_id = $1";
const DISABLE: &str = "UPDATE user_account SET disabled_at = $2 WHERE user_id = $1 AND disabled_at IS NULL";
const ENABLE: &str =
    "UPDATE user_account SET disabled_at = NULL WHERE user_id = $1 AND disabled_at IS NOT NULL";
const LOCK: &str = "UPDATE user_account SET username = username WHERE user_id = $1 AND disabled_at IS NULL";
const LOCK_PASSWORD: &str = "UPDATE user_account SET username = username \
     WHERE user_id = $1 AND disabled_at IS NULL AND password_hash = $2";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    FIND,
    FIND_BY_USERNAME,
    PAGE,
    PAGE_OF_OPEN,
    PAGE_OF_CLOSED,
    HOLD,
    AMEND,
    COUNT_ADMINS,
    INSERT,
    SET_PASSWORD,
    FORGET_PASSWORD,
    DISABLE,
    ENABLE,
    LOCK,
    LOCK_PASSWORD,
];

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
    pub(crate) created_at: i64,
    pub(crate) disabled_at: Option<i64>,
}

/// The person with this id, disabled or not.
pub(crate) async fn find(db: &Db, user_id: &str) -> Result<Option<UserRow>, DbFault> {
    on!(db, c => sqlx::query_as(FIND).bind(user_id).fetch_optional(c))
}

/// The person who signs in with this name, disabled or not.
pub(crate) async fn find_by_username(db: &Db, username: &str) -> Result<Option<UserRow>, DbFault> {
    on!(db, c => sqlx::query_as(FIND_BY_USERNAME).bind(username).fetch_optional(c))
}

/// At most `limit` people after `(created_at, user_id)`, oldest first; with `open`, only those whose account is or is not.
pub(crate) async fn page(
    db: &Db,
    open: Option<bool>,
    (created_at, user_id): (i64, &str),
    limit: u32,
) -> Result<Vec<UserRow>, DbFault> {
    let statement = match open {
        None => PAGE,
        Some(true) => PAGE_OF_OPEN,
        Some(false) => PAGE_OF_CLOSED,
    };
    on!(db, c => {
        sqlx::query_as(statement).bind(created_at).bind(user_id).bind(i64::from(limit)).fetch_all(c)
    })
}

/// The person with this id, disabled or not, whose account nobody changes until the transaction ends.
pub(crate) async fn hold(tx: &mut Tx, user_id: &str) -> Result<Option<UserRow>, DbFault> {
    on!(tx tx, c => sqlx::query_as(HOLD).bind(user_id).fetch_optional(c))
}

/// Writes name, mail address and role of an account that the transaction holds.
pub(crate) async fn amend(tx: &mut Tx, row: &UserRow) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(AMEND)
            .bind(&row.user_id)
            .bind(&row.display_name)
            .bind(&row.email)
            .bind(row.is_admin);
        update.execute(c).await.map(|_| ())
    })
}

/// Whether there is an administrator, disabled or not: a server that had one makes no other by itself.
pub(crate) async fn has_admin(db: &Db) -> Result<bool, DbFault> {
    let count: i64 = on!(db, c => sqlx::query_scalar(COUNT_ADMINS).fetch_one(c))?;
    Ok(count > 0)
}

/// [`has_admin`] inside a transaction.
pub(crate) async fn has_admin_in(tx: &mut Tx) -> Result<bool, DbFault> {
    let count: i64 = on!(tx tx, c => sqlx::query_scalar(COUNT_ADMINS).fetch_one(c))?;
    Ok(count > 0)
}

/// Writes a new account, without a second factor. A username that is taken is [`DbFault::Constraint`].
pub(crate) async fn insert(tx: &mut Tx, row: &UserRow) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        let insert = sqlx::query(INSERT)
            .bind(&row.user_id)
            .bind(&row.username)
            .bind(&row.display_name)
            .bind(&row.email)
            .bind(row.is_admin)
            .bind(&row.password_hash)
            .bind(row.created_at);
        insert.execute(c).await.map(|_| ())
    })
}

/// Replaces the password's PHC string, whoever the account belongs to; `false` when there is no such account.
pub(crate) async fn set_password(tx: &mut Tx, user_id: &str, password_hash: &str) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(SET_PASSWORD).bind(user_id).bind(password_hash);
        update.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// Takes the password away.
pub(crate) async fn forget_password(tx: &mut Tx, user_id: &str) -> Result<(), DbFault> {
    on!(tx tx, c => async { sqlx::query(FORGET_PASSWORD).bind(user_id).execute(c).await.map(|_| ()) })
}

/// Closes an account; `false` when it is closed already or not there.
pub(crate) async fn disable(tx: &mut Tx, user_id: &str, now: UnixSeconds) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(DISABLE).bind(user_id).bind(now.0);
        update.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// Opens an account again; `false` when none with that id is closed.
pub(crate) async fn enable(tx: &mut Tx, user_id: &str) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(ENABLE).bind(user_id);
        update.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// Holds the account until the transaction ends, if it is open and, where `password_hash` is given, still has that
/// password: nobody can close it or change the password meanwhile.
pub(crate) async fn lock(tx: &mut Tx, user_id: &str, password_hash: Option<&str>) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = match password_hash {
            Some(hash) => sqlx::query(LOCK_PASSWORD).bind(user_id).bind(hash),
            None => sqlx::query(LOCK).bind(user_id),
        };
        update.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}
