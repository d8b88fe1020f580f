//! Table `node`: who has enrolled. A node lives until its row ends or its client does.

use shared::clock::UnixSeconds;

use super::{Db, DbFault, Tx, on};

/// With the end of its client, which is the node's too, and what the node said last.
macro_rules! shown {
    ($rest:literal) => {
        concat!(
            "SELECT n.client_id, n.node_id, n.thumbprint, n.jwk, n.name, n.resource, n.capabilities, n.version, \
             n.enrolled_at, COALESCE(n.ended_at, c.revoked_at) AS ended_at, n.ended_by, k.heard_at, k.source, k.report \
             FROM node n JOIN client c ON c.client_id = n.client_id \
             LEFT JOIN node_contact k ON k.client_id = n.client_id WHERE ",
            $rest
        )
    };
}

const PAGE: &str =
    shown!("(n.enrolled_at, n.client_id) > ($1, $2) ORDER BY n.enrolled_at, n.client_id LIMIT $3");
const PAGE_OF_LIVING: &str = shown!(
    "(n.enrolled_at, n.client_id) > ($1, $2) AND n.ended_at IS NULL AND c.revoked_at IS NULL \
     ORDER BY n.enrolled_at, n.client_id LIMIT $3"
);
const PAGE_OF_ENDED: &str = shown!(
    "(n.enrolled_at, n.client_id) > ($1, $2) AND (n.ended_at IS NOT NULL OR c.revoked_at IS NOT NULL) \
     ORDER BY n.enrolled_at, n.client_id LIMIT $3"
);
const PAGE_OF_ACTIVE: &str = shown!(
    "(n.enrolled_at, n.client_id) > ($1, $2) AND n.ended_at IS NULL AND c.revoked_at IS NULL AND k.heard_at >= $4 \
     ORDER BY n.enrolled_at, n.client_id LIMIT $3"
);
const PAGE_OF_SILENT: &str = shown!(
    "(n.enrolled_at, n.client_id) > ($1, $2) AND n.ended_at IS NULL AND c.revoked_at IS NULL AND k.heard_at < $4 \
     ORDER BY n.enrolled_at, n.client_id LIMIT $3"
);
const SHOWN: &str = shown!(
    "n.node_id = $1 ORDER BY CASE WHEN n.ended_at IS NULL THEN 0 ELSE 1 END, n.enrolled_at DESC, n.client_id LIMIT 1"
);
const LIVING: &str = "SELECT n.client_id, n.node_id, n.thumbprint, n.jwk, n.name, n.resource, n.capabilities, n.version, n.enrolled_at, \
     n.ended_at, n.ended_by FROM node n JOIN client c ON c.client_id = n.client_id \
     WHERE n.ended_at IS NULL AND c.revoked_at IS NULL ORDER BY n.node_id";
const COUNT_BY_STATE: &str = "SELECT state, COUNT(*) FROM \
     (SELECT CASE WHEN n.ended_by IS NOT NULL THEN n.ended_by WHEN c.revoked_at IS NOT NULL THEN 'revoked' \
     WHEN k.heard_at IS NULL THEN 'enrolled' WHEN k.heard_at < $1 THEN 'silent' ELSE 'active' END AS state \
     FROM node n JOIN client c ON c.client_id = n.client_id LEFT JOIN node_contact k ON k.client_id = n.client_id) states GROUP BY state";
const OF_CLIENT: &str = "SELECT n.client_id, n.node_id, n.thumbprint, n.jwk, n.name, n.resource, n.capabilities, n.version, n.enrolled_at, \
     n.ended_at, n.ended_by FROM node n JOIN client c ON c.client_id = n.client_id \
     WHERE n.client_id = $1 AND n.ended_at IS NULL AND c.revoked_at IS NULL";
const FIND: &str = "SELECT client_id, node_id, thumbprint, jwk, name, resource, capabilities, version, enrolled_at, ended_at, ended_by \
     FROM node WHERE client_id = $1";
const NEWEST: &str = "SELECT client_id, node_id, thumbprint, jwk, name, resource, capabilities, version, enrolled_at, ended_at, ended_by \
     FROM node WHERE node_id = $1 ORDER BY CASE WHEN ended_at IS NULL THEN 0 ELSE 1 END, enrolled_at DESC, client_id LIMIT 1";
// What was replaced stands in nobody's way.
const IN_THE_WAY: &str = "SELECT client_id, node_id, thumbprint, jwk, name, resource, capabilities, version, enrolled_at, ended_at, ended_by \
     FROM node WHERE (thumbprint = $1 OR node_id = $2 OR resource = $3) AND (ended_at IS NULL OR ended_by = 'revoked') \
     ORDER BY enrolled_at, client_id LIMIT 100";
const INSERT: &str = "INSERT INTO node (client_id, node_id, thumbprint, jwk, name, resource, capabilities, version, enrolled_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const HOLD: &str = "UPDATE node SET name = name WHERE client_id = $1 AND ended_at IS NULL";
const REVOKE: &str =
    "UPDATE node SET ended_at = $2, ended_by = 'revoked' WHERE client_id = $1 AND ended_at IS NULL";
// What was revoked stays so: its key does not come back.
const REPLACE: &str =
    "UPDATE node SET ended_at = $2, ended_by = 'replaced' WHERE client_id = $1 AND ended_at IS NULL";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    PAGE,
    PAGE_OF_LIVING,
    PAGE_OF_ENDED,
    PAGE_OF_ACTIVE,
    PAGE_OF_SILENT,
    SHOWN,
    LIVING,
    COUNT_BY_STATE,
    OF_CLIENT,
    FIND,
    NEWEST,
    IN_THE_WAY,
    INSERT,
    HOLD,
    REVOKE,
    REPLACE,
];

/// One row. `capabilities` are space separated, `jwk` is JSON.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct NodeRow {
    pub(crate) client_id: String,
    pub(crate) node_id: String,
    pub(crate) thumbprint: String,
    pub(crate) jwk: String,
    pub(crate) name: String,
    pub(crate) resource: String,
    pub(crate) capabilities: String,
    pub(crate) version: Option<String>,
    pub(crate) enrolled_at: i64,
    pub(crate) ended_at: Option<i64>,
    pub(crate) ended_by: Option<String>,
}

/// A row, and what the node told of itself last, if it ever did.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct ShownRow {
    #[sqlx(flatten)]
    pub(crate) node: NodeRow,
    pub(crate) heard_at: Option<i64>,
    /// An IP address.
    pub(crate) source: Option<String>,
    /// JSON.
    pub(crate) report: Option<String>,
}

/// Which enrolments are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    All,
    /// Those that stand.
    Living,
    Ended,
    /// Of those that stand, the nodes that were heard of since.
    HeardSince(UnixSeconds),
    /// And those that were heard of, but not since.
    NotHeardSince(UnixSeconds),
}

/// At most `limit` enrolments after `(enrolled_at, client_id)`, oldest first.
pub(crate) async fn page(
    db: &Db,
    which: Which,
    (enrolled_at, client_id): (i64, &str),
    limit: u32,
) -> Result<Vec<ShownRow>, DbFault> {
    let (statement, since) = match which {
        Which::All => (PAGE, None),
        Which::Living => (PAGE_OF_LIVING, None),
        Which::Ended => (PAGE_OF_ENDED, None),
        Which::HeardSince(since) => (PAGE_OF_ACTIVE, Some(since.0)),
        Which::NotHeardSince(since) => (PAGE_OF_SILENT, Some(since.0)),
    };
    on!(db, c => {
        let page = sqlx::query_as(statement).bind(enrolled_at).bind(client_id).bind(i64::from(limit));
        match since {
            None => page,
            Some(since) => page.bind(since),
        }
        .fetch_all(c)
    })
}

/// As [`newest`], with the end of its client, and what it said last.
pub(crate) async fn shown(db: &Db, node_id: &str) -> Result<Option<ShownRow>, DbFault> {
    on!(db, c => sqlx::query_as(SHOWN).bind(node_id).fetch_optional(c))
}

/// How many enrolments there are in each state, with silence from what was heard last before `silent_before`; what there is none
/// of is not named.
pub(crate) async fn count_by_state(
    db: &Db,
    silent_before: UnixSeconds,
) -> Result<Vec<(String, i64)>, DbFault> {
    on!(db, c => sqlx::query_as(COUNT_BY_STATE).bind(silent_before.0).fetch_all(c))
}

/// Every node that lives, by its id.
pub(crate) async fn living(db: &Db) -> Result<Vec<NodeRow>, DbFault> {
    on!(db, c => sqlx::query_as(LIVING).fetch_all(c))
}

/// The living node whose client this is.
pub(crate) async fn of_client(db: &Db, client_id: &str) -> Result<Option<NodeRow>, DbFault> {
    on!(db, c => sqlx::query_as(OF_CLIENT).bind(client_id).fetch_optional(c))
}

/// As [`of_client`], as the transaction sees it.
pub(crate) async fn of_client_in(tx: &mut Tx, client_id: &str) -> Result<Option<NodeRow>, DbFault> {
    on!(tx tx, c => sqlx::query_as(OF_CLIENT).bind(client_id).fetch_optional(c))
}

/// The enrolment whose client this is or was, as the transaction sees it.
pub(crate) async fn find_in(tx: &mut Tx, client_id: &str) -> Result<Option<NodeRow>, DbFault> {
    on!(tx tx, c => sqlx::query_as(FIND).bind(client_id).fetch_optional(c))
}

/// The living node of that id, or else the one that ended last.
pub(crate) async fn newest(db: &Db, node_id: &str) -> Result<Option<NodeRow>, DbFault> {
    on!(db, c => sqlx::query_as(NEWEST).bind(node_id).fetch_optional(c))
}

/// As [`newest`], as the transaction sees it.
pub(crate) async fn newest_in(tx: &mut Tx, node_id: &str) -> Result<Option<NodeRow>, DbFault> {
    on!(tx tx, c => sqlx::query_as(NEWEST).bind(node_id).fetch_optional(c))
}

/// The enrolments that may stand in the way of another one with this key, id or resource: those that live, and those of
/// nodes that were revoked.
pub(crate) async fn in_the_way(
    tx: &mut Tx,
    (thumbprint, node_id, resource): (&str, &str, &str),
) -> Result<Vec<NodeRow>, DbFault> {
    on!(tx tx, c => {
        sqlx::query_as(IN_THE_WAY).bind(thumbprint).bind(node_id).bind(resource).fetch_all(c)
    })
}

/// Writes a new enrolment. A key, id or resource that another living one has is [`DbFault::Constraint`].
pub(crate) async fn insert(tx: &mut Tx, row: &NodeRow) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        let insert = sqlx::query(INSERT)
            .bind(&row.client_id)
            .bind(&row.node_id)
            .bind(&row.thumbprint)
            .bind(&row.jwk)
            .bind(&row.name)
            .bind(&row.resource)
            .bind(&row.capabilities)
            .bind(&row.version)
            .bind(row.enrolled_at);
        insert.execute(c).await.map(|_| ())
    })
}

/// Holds an enrolment until the transaction ends; `false` when it has ended.
pub(super) async fn hold(tx: &mut Tx, client_id: &str) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        sqlx::query(HOLD).bind(client_id).execute(c).await.map(|done| done.rows_affected() == 1)
    })
}

/// Ends an enrolment; `false` when it has ended already.
pub(crate) async fn revoke(tx: &mut Tx, client_id: &str, now: UnixSeconds) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(REVOKE).bind(client_id).bind(now.0);
        update.execute(c).await.map(|done| done.rows_affected() == 1)
    })
}

/// Ends an enrolment, if it has not ended yet, because another takes its place.
pub(crate) async fn replace(tx: &mut Tx, client_id: &str, now: UnixSeconds) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        sqlx::query(REPLACE).bind(client_id).bind(now.0).execute(c).await.map(|_| ())
    })
}
