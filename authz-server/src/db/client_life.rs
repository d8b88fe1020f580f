//! Table `client`, how clients end that nobody ends: when they were last used, and when a registration is forgotten.

use shared::clock::UnixSeconds;

use super::change::{self, Noun};
use super::{Db, DbFault, Tx, on};

const USED: &str = "UPDATE client SET last_used_at = $2, expires_at = CASE WHEN expires_at IS NULL THEN expires_at ELSE $3 END \
     WHERE client_id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
const UNUSED: &str = "SELECT COUNT(*) FROM client \
     WHERE origin = 'registration' AND expires_at IS NOT NULL AND last_used_at IS NULL AND revoked_at IS NULL";
// What somebody has granted and not taken back keeps its client alive.
const EXPIRE: &str = "UPDATE client SET revoked_at = $1, tokens_not_before = $1 WHERE revoked_at IS NULL AND client_id IN \
     (SELECT c.client_id FROM client c WHERE c.origin = 'registration' AND c.expires_at < $1 AND c.revoked_at IS NULL \
     AND NOT EXISTS (SELECT 1 FROM access_grant g WHERE g.client_id = c.client_id AND g.revoked_at IS NULL \
     AND (g.expires_at IS NULL OR g.expires_at > $1)) ORDER BY c.expires_at LIMIT $2) RETURNING client_id";
// Whatever was granted once is evidence, and its client's name with it.
const ENDED: &str = "SELECT c.client_id FROM client c WHERE c.origin = 'registration' AND c.revoked_at < $1 \
     AND NOT EXISTS (SELECT 1 FROM access_grant g WHERE g.client_id = c.client_id) ORDER BY c.revoked_at LIMIT $2";
const DELETE_SECRETS: &str = "DELETE FROM client_secret WHERE client_id = $1";
const DELETE_REGISTRATION: &str = "DELETE FROM registration WHERE client_id = $1";
const DELETE: &str = "DELETE FROM client WHERE client_id = $1";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    USED,
    UNUSED,
    EXPIRE,
    ENDED,
    DELETE_SECRETS,
    DELETE_REGISTRATION,
    DELETE,
];

/// Clients that one transaction ends or deletes at most: each is several statements.
const BATCH: usize = 100;

/// Notes the day of a client's newest use; a registration lives on until `expires_at`.
pub(crate) async fn note_use(
    db: &Db,
    client_id: &str,
    day: UnixSeconds,
    expires_at: UnixSeconds,
) -> Result<(), DbFault> {
    on!(db, c => async {
        sqlx::query(USED).bind(client_id).bind(day.0).bind(expires_at.0).execute(c).await.map(|_| ())
    })
}

/// How many registrations nobody has used yet.
pub(crate) async fn count_unused(db: &Db) -> Result<i64, DbFault> {
    on!(db, c => sqlx::query_scalar(UNUSED).fetch_one(c))
}

/// Ends every registration whose time has come; returns how many.
pub(crate) async fn expire(db: &Db, now: UnixSeconds) -> Result<usize, DbFault> {
    let mut ended = 0;
    loop {
        let batch = db
            .write(async move |tx| {
                let batch: Vec<String> =
                    on!(tx tx, c => sqlx::query_scalar(EXPIRE).bind(now.0).bind(BATCH as i64).fetch_all(c))?;
                for client_id in &batch {
                    change::record(tx, Noun::Client, client_id, now).await?;
                }
                Ok(batch.len())
            })
            .await?;
        ended += batch;
        if batch < BATCH {
            return Ok(ended);
        }
    }
}

/// Deletes registrations that ended before `before` and that nobody ever granted anything.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    loop {
        let batch = db
            .write(async move |tx| {
                let batch: Vec<String> = on!(tx tx, c => sqlx::query_scalar(ENDED).bind(before.0).bind(BATCH as i64).fetch_all(c))?;
                for client_id in &batch {
                    delete(tx, client_id).await?;
                }
                Ok(batch.len())
            })
            .await?;
        if batch < BATCH {
            return Ok(());
        }
    }
}

async fn delete(tx: &mut Tx, client_id: &str) -> Result<(), DbFault> {
    for statement in [DELETE_SECRETS, DELETE_REGISTRATION, DELETE] {
        on!(tx tx, c => async { sqlx::query(statement).bind(client_id).execute(c).await.map(|_| ()) })?;
    }
    Ok(())
}
