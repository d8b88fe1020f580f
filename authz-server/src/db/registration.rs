//! Table `registration`: what lets a client manage its own registration (RFC 7592).

use shared::clock::UnixSeconds;
use shared::secret::SecretHash;

use super::{Db, DbFault, Tx, on};

const FIND: &str = "SELECT token_hash, may_act_alone FROM registration WHERE client_id = $1";
const INSERT: &str = "INSERT INTO registration (client_id, token_hash, may_act_alone, address, updated_at) \
     VALUES ($1, $2, $3, $4, $5)";
const TOUCH: &str = "UPDATE registration SET updated_at = $2 WHERE client_id = $1";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[FIND, INSERT, TOUCH];

/// One row, as far as it is read.
#[derive(sqlx::FromRow)]
pub(crate) struct RegistrationRow {
    pub(crate) token_hash: Vec<u8>,
    /// Whether the invite allowed tokens without a person.
    pub(crate) may_act_alone: bool,
}

pub(crate) async fn find(db: &Db, client_id: &str) -> Result<Option<RegistrationRow>, DbFault> {
    on!(db, c => sqlx::query_as(FIND).bind(client_id).fetch_optional(c))
}

/// Writes the registration of a new client. `address` is where it came from, for operators who look.
pub(crate) async fn insert(
    tx: &mut Tx,
    client_id: &str,
    (token, may_act_alone): (&SecretHash, bool),
    address: &str,
    now: UnixSeconds,
) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        let insert = sqlx::query(INSERT)
            .bind(client_id)
            .bind(token.as_bytes())
            .bind(may_act_alone)
            .bind(address)
            .bind(now.0);
        insert.execute(c).await.map(|_| ())
    })
}

/// Notes that a registration changed.
pub(crate) async fn touch(tx: &mut Tx, client_id: &str, now: UnixSeconds) -> Result<(), DbFault> {
    on!(tx tx, c => async { sqlx::query(TOUCH).bind(client_id).bind(now.0).execute(c).await.map(|_| ()) })
}
