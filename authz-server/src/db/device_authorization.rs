//! Table `device_authorization`: devices that ask to be let in, and what became of it (RFC 8628).

use shared::clock::UnixSeconds;
use shared::secret::SecretHash;

use super::{Db, DbFault, Tx, delete_in_batches, on};

const OPEN: &str = "SELECT COUNT(CASE WHEN NOT is_proven THEN 1 END) AS unproven, \
     COUNT(CASE WHEN client_id = $1 THEN 1 END) AS of_client, \
     COUNT(CASE WHEN client_id = $1 AND address = $2 THEN 1 END) AS of_origin \
     FROM device_authorization WHERE state = 'pending' AND expires_at > $3";
const INSERT: &str = "INSERT INTO device_authorization (device_code_hash, user_code, client_id, resource, scopes, address, user_agent, \
     state, poll_interval, created_at, expires_at, authorization_details, is_proven) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', $8, $9, $10, $11, $12) \
     ON CONFLICT (user_code) DO NOTHING";
/// With what the approval rests on: the grant, the person and the session in which they decided.
const FIND: &str = "SELECT d.client_id, d.resource, d.scopes, d.state, d.grant_id, d.user_id, d.auth_time, d.methods, \
     d.family_id, d.created_at, d.expires_at, d.authorization_details, g.scopes AS grant_scopes, \
     CASE WHEN g.revoked_at IS NULL AND (g.expires_at IS NULL OR g.expires_at > $2) AND u.disabled_at IS NULL \
     AND s.ended_at IS NULL AND s.expires_at > $2 THEN TRUE ELSE FALSE END AS stands \
     FROM device_authorization d LEFT JOIN access_grant g ON g.grant_id = d.grant_id \
     LEFT JOIN user_account u ON u.user_id = d.user_id \
     LEFT JOIN session s ON s.session_id = d.session_id WHERE d.device_code_hash = $1";
const PENDING: &str = "SELECT user_code, client_id, resource, scopes, authorization_details, address, user_agent, created_at, expires_at, is_proven \
     FROM device_authorization WHERE user_code = $1 AND state = 'pending' AND expires_at > $2";
const POLL: &str = "UPDATE device_authorization SET last_polled_at = $2 \
     WHERE device_code_hash = $1 AND state = 'pending' AND last_polled_at + poll_interval <= $3";
const SLOW_DOWN: &str = "UPDATE device_authorization SET last_polled_at = $2, poll_interval = poll_interval + 5 \
     WHERE device_code_hash = $1 AND state = 'pending'";
const DECIDE: &str = "UPDATE device_authorization SET state = $2, user_id = $3, session_id = $4, auth_time = $5, methods = $6 \
     WHERE user_code = $1 AND state = 'pending' AND expires_at > $7";
const SET_GRANT: &str = "UPDATE device_authorization SET grant_id = $2 WHERE user_code = $1";
const REDEEM: &str = "UPDATE device_authorization SET state = 'redeemed', family_id = $2 \
     WHERE device_code_hash = $1 AND state = 'approved' AND expires_at > $3";
const FORGET: &str = "DELETE FROM device_authorization WHERE device_code_hash IN \
     (SELECT d.device_code_hash FROM device_authorization d LEFT JOIN token_family f ON f.family_id = d.family_id \
     WHERE d.expires_at < $1 AND (f.family_id IS NULL OR f.revoked_at IS NOT NULL OR f.expires_at < $1) \
     ORDER BY d.expires_at LIMIT $2)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    OPEN, INSERT, FIND, PENDING, POLL, SLOW_DOWN, DECIDE, SET_GRANT, REDEEM, FORGET,
];

/// A request as a device makes it and a person is asked about it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct DeviceRow {
    /// Without the dash.
    pub(crate) user_code: String,
    pub(crate) client_id: String,
    pub(crate) resource: String,
    pub(crate) scopes: String,
    /// RFC 9396: a JSON list.
    pub(crate) authorization_details: Option<String>,
    pub(crate) address: String,
    pub(crate) user_agent: String,
    pub(crate) created_at: i64,
    pub(crate) expires_at: i64,
    /// Whether the client proved who it is.
    pub(crate) is_proven: bool,
}

/// How many devices wait for a person.
#[derive(Clone, Copy, PartialEq, Eq, Debug, sqlx::FromRow)]
pub(crate) struct Crowd {
    /// Of all clients that prove nothing.
    pub(crate) unproven: i64,
    pub(crate) of_client: i64,
    /// Of this client at this address.
    pub(crate) of_origin: i64,
}

/// What a poll finds, and whether the approval still stands.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct PolledRow {
    pub(crate) client_id: String,
    pub(crate) resource: String,
    pub(crate) scopes: String,
    pub(crate) authorization_details: Option<String>,
    /// `pending`, `approved`, `denied` or `redeemed`.
    pub(crate) state: String,
    pub(crate) grant_id: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) auth_time: Option<i64>,
    pub(crate) methods: Option<String>,
    pub(crate) family_id: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) expires_at: i64,
    pub(crate) grant_scopes: Option<String>,
    pub(crate) stands: bool,
}

/// Who decided about a device, in which session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decider<'a> {
    pub(crate) user_id: &'a str,
    pub(crate) session_id: &'a str,
    pub(crate) auth_time: UnixSeconds,
    pub(crate) methods: &'a str,
}

/// How many devices wait, seen from this client at this address.
pub(crate) async fn waiting(
    db: &Db,
    (client_id, address): (&str, &str),
    now: UnixSeconds,
) -> Result<Crowd, DbFault> {
    on!(db, c => sqlx::query_as(OPEN).bind(client_id).bind(address).bind(now.0).fetch_one(c))
}

/// Keeps a new request; `false` when its user code is taken.
pub(crate) async fn insert(
    db: &Db,
    device_code: &SecretHash,
    row: &DeviceRow,
    poll_interval: i64,
) -> Result<bool, DbFault> {
    on!(db, c => async {
        let insert = sqlx::query(INSERT)
            .bind(device_code.as_bytes())
            .bind(&row.user_code)
            .bind(&row.client_id)
            .bind(&row.resource)
            .bind(&row.scopes)
            .bind(&row.address)
            .bind(&row.user_agent)
            .bind(poll_interval)
            .bind(row.created_at)
            .bind(row.expires_at)
            .bind(&row.authorization_details)
            .bind(row.is_proven);
        insert.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// The request of a device code, whatever became of it.
pub(crate) async fn find(
    db: &Db,
    device_code: &SecretHash,
    now: UnixSeconds,
) -> Result<Option<PolledRow>, DbFault> {
    on!(db, c => sqlx::query_as(FIND).bind(device_code.as_bytes()).bind(now.0).fetch_optional(c))
}

/// The request that waits under a user code.
pub(crate) async fn pending(
    db: &Db,
    user_code: &str,
    now: UnixSeconds,
) -> Result<Option<DeviceRow>, DbFault> {
    on!(db, c => sqlx::query_as(PENDING).bind(user_code).bind(now.0).fetch_optional(c))
}

/// Notes a poll of a request that waits. `false` when it came too early; then the interval is five seconds longer
/// from now on (RFC 8628 §3.5).
pub(crate) async fn poll(db: &Db, device_code: &SecretHash, now: UnixSeconds) -> Result<bool, DbFault> {
    // Times are whole seconds: of a device that waits exactly its interval, one may seem to be missing.
    let tolerated = now.0.saturating_add(1);
    let in_time = on!(db, c => async {
        let update = sqlx::query(POLL).bind(device_code.as_bytes()).bind(now.0).bind(tolerated);
        update.execute(c).await.map(|done| done.rows_affected() > 0)
    })?;
    if in_time {
        return Ok(true);
    }
    // None of this one's either: it has been decided meanwhile, and the next poll will say what.
    on!(db, c => async {
        let update = sqlx::query(SLOW_DOWN).bind(device_code.as_bytes()).bind(now.0);
        update.execute(c).await.map(|done| done.rows_affected() == 0)
    })
}

/// Decides about a request that waits: `true` for exactly one caller.
pub(crate) async fn decide(
    tx: &mut Tx,
    user_code: &str,
    is_allowed: bool,
    decider: &Decider<'_>,
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(DECIDE)
            .bind(user_code)
            .bind(if is_allowed { "approved" } else { "denied" })
            .bind(decider.user_id)
            .bind(decider.session_id)
            .bind(decider.auth_time.0)
            .bind(decider.methods)
            .bind(now.0);
        update.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// Ties an approved request to its grant.
pub(crate) async fn set_grant(tx: &mut Tx, user_code: &str, grant_id: &str) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        sqlx::query(SET_GRANT).bind(user_code).bind(grant_id).execute(c).await.map(|_| ())
    })
}

/// Uses an approved request up: `true` for exactly one caller.
pub(crate) async fn redeem(
    tx: &mut Tx,
    device_code: &SecretHash,
    family_id: &str,
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(REDEEM).bind(device_code.as_bytes()).bind(family_id).bind(now.0);
        update.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// Drops what expired before `before`.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    delete_in_batches(db, FORGET, before).await
}
