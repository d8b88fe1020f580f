//! Table `user_account`: the columns of the second factor (RFC 6238).

use shared::clock::UnixSeconds;

use super::{Db, DbFault, Tx, on};

const BEGIN: &str = "UPDATE user_account SET totp_sealed = $2, totp_last_step = 0 \
     WHERE user_id = $1 AND totp_confirmed_at IS NULL AND disabled_at IS NULL";
const CONFIRM: &str = "UPDATE user_account SET totp_confirmed_at = $3, totp_last_step = $4 \
     WHERE user_id = $1 AND totp_sealed = $2 AND totp_confirmed_at IS NULL AND disabled_at IS NULL";
const USE_STEP: &str = "UPDATE user_account SET totp_last_step = $2 \
     WHERE user_id = $1 AND totp_confirmed_at IS NOT NULL AND totp_last_step < $2 AND disabled_at IS NULL";
const HOLD: &str = "UPDATE user_account SET totp_last_step = totp_last_step \
     WHERE user_id = $1 AND totp_confirmed_at IS NOT NULL AND disabled_at IS NULL";
const REMOVE: &str = "UPDATE user_account SET totp_sealed = NULL, totp_confirmed_at = NULL, totp_last_step = 0 \
     WHERE user_id = $1 AND totp_sealed IS NOT NULL";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[BEGIN, CONFIRM, USE_STEP, HOLD, REMOVE];

/// Keeps a new secret that is not in force yet. `false` when another one is in force.
pub(crate) async fn begin(db: &Db, user_id: &str, sealed: &[u8]) -> Result<bool, DbFault> {
    on!(db, c => async {
        let update = sqlx::query(BEGIN).bind(user_id).bind(sealed);
        update.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// Puts the secret in force that was proven with the code of `step`: `true` for exactly one caller, and only while
/// it is still this secret.
pub(crate) async fn confirm(
    tx: &mut Tx,
    user_id: &str,
    (sealed, step): (&[u8], i64),
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(CONFIRM).bind(user_id).bind(sealed).bind(now.0).bind(step);
        update.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// Uses up a time step and all before it: `true` for exactly one caller (RFC 6238 §5.2).
pub(crate) async fn use_step(tx: &mut Tx, user_id: &str, step: i64) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(USE_STEP).bind(user_id).bind(step);
        update.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// Holds the account until the transaction ends, if its second factor is in force: two who change recovery codes at
/// once do it one after the other.
pub(crate) async fn hold(tx: &mut Tx, user_id: &str) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        sqlx::query(HOLD).bind(user_id).execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// Takes the second factor away. `false` when there was none.
pub(crate) async fn remove(tx: &mut Tx, user_id: &str) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        sqlx::query(REMOVE).bind(user_id).execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// An account without a password, for tests of what surrounds it.
#[cfg(test)]
pub(crate) async fn sample_account(db: &Db, user_id: &str) -> Result<(), DbFault> {
    const INSERT: &str = "INSERT INTO user_account (user_id, username, display_name, is_admin, created_at) \
         VALUES ($1, $1, 'Ana', FALSE, 1)";
    on!(db, c => async { sqlx::query(INSERT).bind(user_id).execute(c).await.map(|_| ()) })
}
