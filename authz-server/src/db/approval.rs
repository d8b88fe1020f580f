//! Table `approval`: may this call run? Asked by a node, answered by a person, once.

use shared::clock::UnixSeconds;
use shared::secret::SecretHash;

use super::{Db, DbFault, Tx, delete_in_batches, node, on};

const FIND: &str = "SELECT approval_id, node_client, tool, summary, arguments, arguments_sha256, caller_iss, caller_sub, caller_client, \
     resource, user_id, created_at, expires_at, decision, decided_at, decided_by FROM approval WHERE approval_id = $1";
macro_rules! shown {
    ($rest:literal) => {
        concat!(
            "SELECT a.approval_id, a.node_client, a.tool, a.summary, a.arguments, a.arguments_sha256, a.caller_iss, \
             a.caller_sub, a.caller_client, a.resource, a.user_id, a.created_at, a.expires_at, a.decision, a.decided_at, \
             a.decided_by, n.node_id, n.name AS node_name \
             FROM approval a JOIN node n ON n.client_id = a.node_client \
             WHERE a.decision IS NULL AND a.expires_at > $1 AND (a.user_id IS NULL OR a.user_id = $2) AND ",
            $rest
        )
    };
}
/// Those that whoever asks may see: any administrator, or the one person whom they concern.
const PAGE_OF_OPEN: &str =
    shown!("(a.created_at, a.approval_id) > ($3, $4) ORDER BY a.created_at, a.approval_id LIMIT $5");
const FIND_OPEN: &str = shown!("a.approval_id = $3");
const FIND_POLLED: &str = "SELECT approval_id, node_client, tool, summary, arguments, arguments_sha256, caller_iss, caller_sub, caller_client, \
     resource, user_id, created_at, expires_at, decision, decided_at, decided_by FROM approval \
     WHERE approval_id = $1 AND poll_hash = $2";
const COUNT_OPEN: &str =
    "SELECT COUNT(*) FROM approval WHERE node_client = $1 AND expires_at > $2 AND decision IS NULL";
const INSERT: &str = "INSERT INTO approval (approval_id, poll_hash, node_client, tool, summary, arguments, arguments_sha256, caller_iss, \
     caller_sub, caller_client, resource, user_id, created_at, expires_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
const DECIDE: &str = "UPDATE approval SET decision = $2, decided_at = $3, decided_by = $4 \
     WHERE approval_id = $1 AND decision IS NULL AND expires_at > $3 AND (user_id = $4 OR (user_id IS NULL \
     AND $4 IN (SELECT user_id FROM user_account WHERE is_admin AND disabled_at IS NULL)))";
const USE: &str = "UPDATE approval SET used_at = $4 \
     WHERE approval_id = $1 AND node_client = $2 AND tool = $3 AND user_id IS NULL AND decision = 'approved' \
     AND used_at IS NULL AND expires_at > $4 \
     AND decided_by IN (SELECT user_id FROM user_account WHERE is_admin AND disabled_at IS NULL)";
const FORGET: &str = "DELETE FROM approval WHERE approval_id IN \
     (SELECT approval_id FROM approval WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    FIND,
    PAGE_OF_OPEN,
    FIND_OPEN,
    FIND_POLLED,
    COUNT_OPEN,
    INSERT,
    DECIDE,
    USE,
    FORGET,
];

/// One row. `arguments` is JSON, as the person sees it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct ApprovalRow {
    pub(crate) approval_id: String,
    pub(crate) node_client: String,
    pub(crate) tool: String,
    pub(crate) summary: String,
    pub(crate) arguments: String,
    pub(crate) arguments_sha256: String,
    pub(crate) caller_iss: String,
    pub(crate) caller_sub: String,
    pub(crate) caller_client: String,
    pub(crate) resource: String,
    /// The one person who may answer; any administrator when there is none.
    pub(crate) user_id: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) expires_at: i64,
    pub(crate) decision: Option<String>,
    pub(crate) decided_at: Option<i64>,
    pub(crate) decided_by: Option<String>,
}

/// A question that waits, and whose node it is.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct OpenRow {
    #[sqlx(flatten)]
    pub(crate) approval: ApprovalRow,
    pub(crate) node_id: String,
    pub(crate) node_name: String,
}

/// At most `limit` questions that wait, after `(created_at, approval_id)`, oldest first: those that any administrator may
/// answer, and those for `user_id`.
pub(crate) async fn page_of_open(
    db: &Db,
    (user_id, (created_at, approval_id)): (&str, (i64, &str)),
    now: UnixSeconds,
    limit: u32,
) -> Result<Vec<OpenRow>, DbFault> {
    on!(db, c => {
        sqlx::query_as(PAGE_OF_OPEN)
            .bind(now.0)
            .bind(user_id)
            .bind(created_at)
            .bind(approval_id)
            .bind(i64::from(limit))
            .fetch_all(c)
    })
}

/// One of those.
pub(crate) async fn find_open(
    db: &Db,
    (user_id, approval_id): (&str, &str),
    now: UnixSeconds,
) -> Result<Option<OpenRow>, DbFault> {
    on!(db, c => {
        sqlx::query_as(FIND_OPEN).bind(now.0).bind(user_id).bind(approval_id).fetch_optional(c)
    })
}

/// The question of that id, decided or not, over or not.
pub(crate) async fn find(db: &Db, approval_id: &str) -> Result<Option<ApprovalRow>, DbFault> {
    on!(db, c => sqlx::query_as(FIND).bind(approval_id).fetch_optional(c))
}

/// As [`find`], for whoever has what it is polled with.
pub(crate) async fn find_polled(
    db: &Db,
    approval_id: &str,
    poll: &SecretHash,
) -> Result<Option<ApprovalRow>, DbFault> {
    on!(db, c => sqlx::query_as(FIND_POLLED).bind(approval_id).bind(poll.as_bytes()).fetch_optional(c))
}

/// What became of a new question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    /// It waits for an answer.
    Open,
    /// So many of its node wait already that this one does not.
    TooMany,
    /// Its node has ended.
    NoNode,
}

/// Writes a new question, unless `most` of its node wait.
pub(crate) async fn insert(
    db: &Db,
    row: &ApprovalRow,
    poll: &SecretHash,
    most: i64,
) -> Result<Asked, DbFault> {
    db.write(async |tx| {
        // One after the other, so that of many at once each counts those before it.
        if !node::hold(tx, &row.node_client).await? {
            return Ok(Asked::NoNode);
        }
        let open: i64 = on!(tx tx, c => {
            sqlx::query_scalar(COUNT_OPEN).bind(&row.node_client).bind(row.created_at).fetch_one(c)
        })?;
        if open >= most {
            return Ok(Asked::TooMany);
        }
        on!(tx tx, c => async {
            let insert = sqlx::query(INSERT)
                .bind(&row.approval_id)
                .bind(poll.as_bytes())
                .bind(&row.node_client)
                .bind(&row.tool)
                .bind(&row.summary)
                .bind(&row.arguments)
                .bind(&row.arguments_sha256)
                .bind(&row.caller_iss)
                .bind(&row.caller_sub)
                .bind(&row.caller_client)
                .bind(&row.resource)
                .bind(&row.user_id)
                .bind(row.created_at)
                .bind(row.expires_at);
            insert.execute(c).await.map(|_| ())
        })?;
        Ok(Asked::Open)
    })
    .await
}

/// Keeps a person's answer: `true` for exactly one, who may answer at that very moment.
pub(crate) async fn decide(
    tx: &mut Tx,
    approval_id: &str,
    (decision, decided_by): (&str, &str),
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(DECIDE).bind(approval_id).bind(decision).bind(now.0).bind(decided_by);
        update.execute(c).await.map(|done| done.rows_affected() == 1)
    })
}

/// Uses an administrator's yes up: `true` for exactly one caller, and only while whoever gave it is an administrator.
/// What was asked never changes: what [`find`] reads is what the yes is for.
pub(crate) async fn take(
    tx: &mut Tx,
    approval_id: &str,
    (node_client, tool): (&str, &str),
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(USE).bind(approval_id).bind(node_client).bind(tool).bind(now.0);
        update.execute(c).await.map(|done| done.rows_affected() == 1)
    })
}

/// Drops questions that were over before `before`.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    delete_in_batches(db, FORGET, before).await
}
