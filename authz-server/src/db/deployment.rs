//! Table `deployment`: the one row that says whose data this is.

use shared::clock::UnixSeconds;
use shared::uri::Issuer;

use super::{Db, DbFault, Tx, on};

const CLAIM: &str =
    "INSERT INTO deployment (id, issuer, created_at) VALUES (1, $1, $2) ON CONFLICT (id) DO NOTHING";
const ISSUER: &str = "SELECT issuer FROM deployment WHERE id = 1";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[CLAIM, ISSUER];

/// Writes `issuer` into a fresh database; returns the issuer that the data belongs to.
pub(crate) async fn claim(db: &Db, issuer: &Issuer, now: UnixSeconds) -> Result<String, DbFault> {
    on!(db, c => async { sqlx::query(CLAIM).bind(issuer.as_str()).bind(now.0).execute(c).await.map(|_| ()) })?;
    on!(db, c => sqlx::query_scalar(ISSUER).fetch_one(c))
}

/// The issuer that the data belongs to.
pub(crate) async fn owner(db: &Db) -> Result<Issuer, DbFault> {
    let stored: String = on!(db, c => sqlx::query_scalar(ISSUER).fetch_one(c))?;
    stored
        .parse()
        .map_err(|_| DbFault::Unexpected("the issuer of the database is damaged".to_owned()))
}

/// The issuer that the data belongs to, if it belongs to any.
pub(crate) async fn issuer(tx: &mut Tx) -> Result<Option<String>, DbFault> {
    on!(tx tx, c => sqlx::query_scalar(ISSUER).fetch_optional(c))
}
