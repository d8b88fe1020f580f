//! Table `session`: browsers that are signed in.

use shared::clock::UnixSeconds;
use shared::secret::SecretHash;

use super::{Db, DbFault, Tx, delete_in_batches, on, user_account};

const FIND: &str = "SELECT session_id, user_id, methods, user_agent, address, authenticated_at, last_seen_at, expires_at \
     FROM session WHERE cookie_hash = $1 AND ended_at IS NULL AND expires_at > $2 AND last_seen_at > $3";
const IS_LIVE: &str =
    "SELECT COUNT(*) FROM session WHERE session_id = $1 AND ended_at IS NULL AND expires_at > $2";
const COUNT_LIVING: &str =
    "SELECT COUNT(*) FROM session WHERE ended_at IS NULL AND expires_at > $1 AND last_seen_at > $2";
const OF_USER: &str = "SELECT session_id, user_id, methods, user_agent, address, authenticated_at, last_seen_at, expires_at \
     FROM session WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $2 ORDER BY last_seen_at DESC";
const PAGE_OF_USER: &str = "SELECT session_id, user_id, methods, user_agent, address, authenticated_at, last_seen_at, expires_at \
     FROM session WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $2 AND last_seen_at > $3 \
     AND (authenticated_at, session_id) > ($4, $5) ORDER BY authenticated_at, session_id LIMIT $6";
const FIND_BY_ID: &str = "SELECT session_id, user_id, methods, user_agent, address, authenticated_at, last_seen_at, expires_at \
     FROM session WHERE session_id = $1 AND ended_at IS NULL AND expires_at > $2 AND last_seen_at > $3";
const SEEN: &str = "UPDATE session SET last_seen_at = $2 WHERE cookie_hash = $1 AND last_seen_at < $2";
const INSERT: &str = "INSERT INTO session (cookie_hash, session_id, user_id, methods, user_agent, address, authenticated_at, \
     last_seen_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const END_BY_COOKIE: &str = "UPDATE session SET ended_at = $2 WHERE cookie_hash = $1 AND ended_at IS NULL";
const END_ONE: &str =
    "UPDATE session SET ended_at = $3 WHERE user_id = $1 AND session_id = $2 AND ended_at IS NULL";
const END_OTHERS: &str =
    "UPDATE session SET ended_at = $3 WHERE user_id = $1 AND session_id <> $2 AND ended_at IS NULL";
const FORGET: &str = "DELETE FROM session WHERE cookie_hash IN \
     (SELECT cookie_hash FROM session WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    FIND,
    IS_LIVE,
    COUNT_LIVING,
    OF_USER,
    PAGE_OF_USER,
    FIND_BY_ID,
    SEEN,
    INSERT,
    END_BY_COOKIE,
    END_ONE,
    END_OTHERS,
    FORGET,
];

/// One row, without the cookie.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct SessionRow {
    pub(crate) session_id: String,
    pub(crate) user_id: String,
    pub(crate) methods: String,
    pub(crate) user_agent: String,
    pub(crate) address: String,
    pub(crate) authenticated_at: i64,
    pub(crate) last_seen_at: i64,
    pub(crate) expires_at: i64,
}

/// How many browsers are signed in, and were seen after `idle_since`.
pub(crate) async fn count_living(db: &Db, now: UnixSeconds, idle_since: UnixSeconds) -> Result<i64, DbFault> {
    on!(db, c => sqlx::query_scalar(COUNT_LIVING).bind(now.0).bind(idle_since.0).fetch_one(c))
}

/// The living session of a cookie: not ended, not expired, seen after `idle_since`.
pub(crate) async fn find(
    db: &Db,
    cookie: &SecretHash,
    now: UnixSeconds,
    idle_since: UnixSeconds,
) -> Result<Option<SessionRow>, DbFault> {
    on!(db, c => {
        sqlx::query_as(FIND).bind(cookie.as_bytes()).bind(now.0).bind(idle_since.0).fetch_optional(c)
    })
}

/// Whether the person and this session of theirs still stand. The account is held until the transaction ends: whoever
/// disables it or changes its password comes before, and is seen here, or after, and sees what is written.
pub(crate) async fn stands(
    tx: &mut Tx,
    (user_id, session_id): (&str, &str),
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    if !user_account::lock(tx, user_id, None).await? {
        return Ok(false);
    }
    let count: i64 = on!(tx tx, c => sqlx::query_scalar(IS_LIVE).bind(session_id).bind(now.0).fetch_one(c))?;
    Ok(count > 0)
}

/// The living sessions of a person, the one seen last first.
pub(crate) async fn of_user(db: &Db, user_id: &str, now: UnixSeconds) -> Result<Vec<SessionRow>, DbFault> {
    on!(db, c => sqlx::query_as(OF_USER).bind(user_id).bind(now.0).fetch_all(c))
}

/// At most `limit` living sessions of a person after `(authenticated_at, session_id)`, oldest first; not ended, not
/// expired, seen after `idle_since`.
pub(crate) async fn page_of_user(
    db: &Db,
    (user_id, (authenticated_at, session_id)): (&str, (i64, &str)),
    (now, idle_since): (UnixSeconds, UnixSeconds),
    limit: u32,
) -> Result<Vec<SessionRow>, DbFault> {
    on!(db, c => {
        sqlx::query_as(PAGE_OF_USER)
            .bind(user_id)
            .bind(now.0)
            .bind(idle_since.0)
            .bind(authenticated_at)
            .bind(session_id)
            .bind(i64::from(limit))
            .fetch_all(c)
    })
}

/// The living session of that id.
pub(crate) async fn find_by_id(
    db: &Db,
    session_id: &str,
    (now, idle_since): (UnixSeconds, UnixSeconds),
) -> Result<Option<SessionRow>, DbFault> {
    on!(db, c => {
        sqlx::query_as(FIND_BY_ID).bind(session_id).bind(now.0).bind(idle_since.0).fetch_optional(c)
    })
}

/// The same inside a transaction.
pub(crate) async fn find_by_id_in(
    tx: &mut Tx,
    session_id: &str,
    (now, idle_since): (UnixSeconds, UnixSeconds),
) -> Result<Option<SessionRow>, DbFault> {
    on!(tx tx, c => {
        sqlx::query_as(FIND_BY_ID).bind(session_id).bind(now.0).bind(idle_since.0).fetch_optional(c)
    })
}

/// Notes that a session is in use.
pub(crate) async fn seen(db: &Db, cookie: &SecretHash, now: UnixSeconds) -> Result<(), DbFault> {
    on!(db, c => async { sqlx::query(SEEN).bind(cookie.as_bytes()).bind(now.0).execute(c).await.map(|_| ()) })
}

/// Begins a session, and ends the one that the browser had before. `false`, and nothing has happened, when the account
/// is disabled, or no longer has the password that was just shown (`password_hash`).
pub(crate) async fn begin(
    db: &Db,
    cookie: &SecretHash,
    row: &SessionRow,
    password_hash: Option<&str>,
    before: Option<&SecretHash>,
) -> Result<bool, DbFault> {
    db.write(async |tx| {
        // Whoever ends a person's sessions holds the account: they see this session, or this sees what they did.
        if !user_account::lock(tx, &row.user_id, password_hash).await? {
            return Ok(false);
        }
        if let Some(before) = before {
            on!(tx tx, c => async {
                let end = sqlx::query(END_BY_COOKIE).bind(before.as_bytes()).bind(row.authenticated_at);
                end.execute(c).await.map(|_| ())
            })?;
        }
        on!(tx tx, c => async {
            let insert = sqlx::query(INSERT)
                .bind(cookie.as_bytes())
                .bind(&row.session_id)
                .bind(&row.user_id)
                .bind(&row.methods)
                .bind(&row.user_agent)
                .bind(&row.address)
                .bind(row.authenticated_at)
                .bind(row.last_seen_at)
                .bind(row.expires_at);
            insert.execute(c).await.map(|_| true)
        })
    })
    .await
}

/// Ends the session of a cookie.
pub(crate) async fn end_by_cookie(db: &Db, cookie: &SecretHash, now: UnixSeconds) -> Result<(), DbFault> {
    on!(db, c => async {
        sqlx::query(END_BY_COOKIE).bind(cookie.as_bytes()).bind(now.0).execute(c).await.map(|_| ())
    })
}

/// Ends one session of a person; `false` when they have no such living one.
pub(crate) async fn end_one(
    db: &Db,
    user_id: &str,
    session_id: &str,
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    on!(db, c => async {
        let end = sqlx::query(END_ONE).bind(user_id).bind(session_id).bind(now.0);
        end.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// As [`end_one`], as a part of something larger.
pub(crate) async fn end_one_in(
    tx: &mut Tx,
    (user_id, session_id): (&str, &str),
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let end = sqlx::query(END_ONE).bind(user_id).bind(session_id).bind(now.0);
        end.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// Ends every session of a person but `kept`; an empty `kept` ends all.
pub(crate) async fn end_others(db: &Db, user_id: &str, kept: &str, now: UnixSeconds) -> Result<(), DbFault> {
    on!(db, c => async {
        sqlx::query(END_OTHERS).bind(user_id).bind(kept).bind(now.0).execute(c).await.map(|_| ())
    })
}

/// Ends every session of a person but `kept`, in a transaction that holds the account; an empty `kept` ends all.
pub(crate) async fn end_all(tx: &mut Tx, user_id: &str, kept: &str, now: UnixSeconds) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        sqlx::query(END_OTHERS).bind(user_id).bind(kept).bind(now.0).execute(c).await.map(|_| ())
    })
}

/// Drops sessions that expired before `before`.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    delete_in_batches(db, FORGET, before).await
}
