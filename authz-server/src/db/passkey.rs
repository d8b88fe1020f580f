//! Table `passkey`: public keys that people sign in with (WebAuthn §4).

use shared::clock::UnixSeconds;

use super::{Db, DbFault, Tx, on};

const FIND: &str = "SELECT credential_id, user_id, name, credential, created_at, last_used_at \
     FROM passkey WHERE credential_id = $1";
const OF_USER: &str = "SELECT credential_id, user_id, name, credential, created_at, last_used_at \
     FROM passkey WHERE user_id = $1 ORDER BY created_at, credential_id";
const INSERT: &str = "INSERT INTO passkey (credential_id, user_id, name, credential, created_at) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (credential_id) DO NOTHING";
const USED: &str =
    "UPDATE passkey SET credential = $3, last_used_at = $4 WHERE credential_id = $1 AND credential = $2";
const HOLD_USER: &str =
    "UPDATE user_account SET totp_last_step = totp_last_step WHERE user_id = $1 AND disabled_at IS NULL";
const REMOVE: &str = "DELETE FROM passkey WHERE credential_id = $1 AND user_id = $2 AND ( \
     EXISTS (SELECT 1 FROM passkey p WHERE p.user_id = $2 AND p.credential_id <> $1) \
     OR ($3 AND EXISTS (SELECT 1 FROM user_account a WHERE a.user_id = $2 AND a.password_hash IS NOT NULL)) \
     OR EXISTS (SELECT 1 FROM federated_identity f WHERE f.user_id = $2 AND f.issuer = $4))";
const REMOVE_ALL: &str = "DELETE FROM passkey WHERE user_id = $1";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[FIND, OF_USER, INSERT, USED, HOLD_USER, REMOVE, REMOVE_ALL];

/// One row. `credential` is the public key and its counter as the library keeps them, JSON.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct PasskeyRow {
    pub(crate) credential_id: String,
    pub(crate) user_id: String,
    pub(crate) name: String,
    pub(crate) credential: String,
    pub(crate) created_at: i64,
    pub(crate) last_used_at: Option<i64>,
}

/// The passkey with this credential id, whoever has it.
pub(crate) async fn find(db: &Db, credential_id: &str) -> Result<Option<PasskeyRow>, DbFault> {
    on!(db, c => sqlx::query_as(FIND).bind(credential_id).fetch_optional(c))
}

/// The passkeys of a person, the oldest first.
pub(crate) async fn of_user(db: &Db, user_id: &str) -> Result<Vec<PasskeyRow>, DbFault> {
    on!(db, c => sqlx::query_as(OF_USER).bind(user_id).fetch_all(c))
}

/// Adds a passkey. `false` when somebody has this credential already (WebAuthn §7.1, step 26).
pub(crate) async fn insert(tx: &mut Tx, row: &PasskeyRow) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let insert = sqlx::query(INSERT)
            .bind(&row.credential_id)
            .bind(&row.user_id)
            .bind(&row.name)
            .bind(&row.credential)
            .bind(row.created_at);
        insert.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// Notes a use: the credential as it is `after` takes the place of what it was `before`. `false` when it has changed
/// meanwhile, so that no counter goes back.
pub(crate) async fn used(
    tx: &mut Tx,
    credential_id: &str,
    (before, after): (&str, &str),
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(USED).bind(credential_id).bind(before).bind(after).bind(now.0);
        update.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// Removes a passkey of a person, unless nothing would be left that they can sign in with: another passkey, a password
/// where `passwords` are accepted, an account at the issuer `provider`.
pub(crate) async fn remove(
    db: &Db,
    (user_id, credential_id): (&str, &str),
    passwords: bool,
    provider: Option<&str>,
) -> Result<bool, DbFault> {
    db.write(async |tx| {
        // Two who remove at once would each see the other's passkey.
        on!(tx tx, c => async { sqlx::query(HOLD_USER).bind(user_id).execute(c).await.map(|_| ()) })?;
        on!(tx tx, c => async {
            let delete = sqlx::query(REMOVE)
                .bind(credential_id)
                .bind(user_id)
                .bind(passwords)
                .bind(provider);
            delete.execute(c).await.map(|done| done.rows_affected() > 0)
        })
    })
    .await
}

/// Removes every passkey of a person, whatever is left to sign in with. The caller holds the account.
pub(crate) async fn remove_all(tx: &mut Tx, user_id: &str) -> Result<(), DbFault> {
    on!(tx tx, c => async { sqlx::query(REMOVE_ALL).bind(user_id).execute(c).await.map(|_| ()) })
}
