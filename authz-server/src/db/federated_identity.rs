//! Table `federated_identity`: accounts elsewhere that people sign in with, linked by issuer and subject and nothing
//! else (OpenID Connect Core §5.7).

use shared::clock::UnixSeconds;

use super::{Db, DbFault, Tx, on};

const FIND: &str = "SELECT user_id FROM federated_identity WHERE issuer = $1 AND subject = $2";
const INSERT: &str = "INSERT INTO federated_identity (issuer, subject, user_id, created_at) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (issuer, subject) DO NOTHING";
const OF_USER: &str =
    "SELECT issuer, subject, created_at FROM federated_identity WHERE user_id = $1 ORDER BY created_at";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[FIND, INSERT, OF_USER];

/// An account elsewhere, as the account page lists it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct IdentityRow {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) created_at: i64,
}

/// The person to whom `subject` at `issuer` belongs.
pub(crate) async fn find(db: &Db, issuer: &str, subject: &str) -> Result<Option<String>, DbFault> {
    on!(db, c => sqlx::query_scalar(FIND).bind(issuer).bind(subject).fetch_optional(c))
}

/// Links an account elsewhere to a person; `false` when it is linked already.
pub(crate) async fn insert(
    tx: &mut Tx,
    (issuer, subject): (&str, &str),
    user_id: &str,
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let insert = sqlx::query(INSERT).bind(issuer).bind(subject).bind(user_id).bind(now.0);
        insert.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// The accounts elsewhere of a person.
pub(crate) async fn of_user(db: &Db, user_id: &str) -> Result<Vec<IdentityRow>, DbFault> {
    on!(db, c => sqlx::query_as(OF_USER).bind(user_id).fetch_all(c))
}
