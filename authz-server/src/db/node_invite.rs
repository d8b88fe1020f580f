//! Table `node_invite`: what lets one node enrol, once.

use shared::clock::UnixSeconds;
use shared::secret::SecretHash;

use super::{Db, DbFault, Tx, delete_in_batches, on};

const STANDING: &str = "SELECT name, resource, replaces, scopes, asked_by, created_at, expires_at FROM node_invite \
     WHERE invite_hash = $1 AND used_at IS NULL AND expires_at > $2";
const USE: &str = "UPDATE node_invite SET used_at = $2, used_by = $3 WHERE invite_hash = $1 AND used_at IS NULL AND expires_at > $2";
const INSERT: &str = "INSERT INTO node_invite (invite_hash, name, resource, replaces, scopes, asked_by, created_at, expires_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const USED_BY: &str = "SELECT used_by FROM node_invite WHERE invite_hash = $1";
/// Nodes are named by their ids.
macro_rules! listed {
    ($rest:literal) => {
        concat!(
            "SELECT i.invite_hash, i.name, i.resource, r.node_id AS replaces, i.scopes, a.node_id AS asked_by, \
             i.created_at, i.expires_at, i.used_at, u.node_id AS used_by FROM node_invite i \
             LEFT JOIN node r ON r.client_id = i.replaces LEFT JOIN node a ON a.client_id = i.asked_by \
             LEFT JOIN node u ON u.client_id = i.used_by WHERE ",
            $rest
        )
    };
}

const PAGE: &str =
    listed!("(i.created_at, i.invite_hash) > ($1, $2) ORDER BY i.created_at, i.invite_hash LIMIT $3");
const BETWEEN: &str = listed!("i.invite_hash >= $1 AND i.invite_hash <= $2 ORDER BY i.invite_hash LIMIT 1");
const WITHDRAW: &str =
    "DELETE FROM node_invite WHERE invite_hash = $1 AND used_at IS NULL AND expires_at > $2";
const WITHDRAW_OF: &str = "DELETE FROM node_invite WHERE used_at IS NULL AND (asked_by = $1 OR replaces = $1) RETURNING invite_hash";
const FORGET: &str = "DELETE FROM node_invite WHERE invite_hash IN \
     (SELECT invite_hash FROM node_invite WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    STANDING,
    USE,
    INSERT,
    USED_BY,
    PAGE,
    BETWEEN,
    WITHDRAW,
    WITHDRAW_OF,
    FORGET,
];

/// An invite, without what proves it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct InviteRow {
    pub(crate) name: Option<String>,
    pub(crate) resource: Option<String>,
    pub(crate) replaces: Option<String>,
    pub(crate) scopes: String,
    pub(crate) asked_by: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) expires_at: i64,
}

/// An invite, used or not, as operators see it. Nodes are named by their ids.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct ListedRow {
    pub(crate) invite_hash: Vec<u8>,
    pub(crate) name: Option<String>,
    pub(crate) resource: Option<String>,
    pub(crate) replaces: Option<String>,
    pub(crate) scopes: String,
    pub(crate) asked_by: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) expires_at: i64,
    pub(crate) used_at: Option<i64>,
    pub(crate) used_by: Option<String>,
}

/// At most `limit` invites after `(created_at, invite_hash)`, oldest first.
pub(crate) async fn page(
    db: &Db,
    (created_at, invite_hash): (i64, &[u8]),
    limit: u32,
) -> Result<Vec<ListedRow>, DbFault> {
    on!(db, c => {
        sqlx::query_as(PAGE).bind(created_at).bind(invite_hash).bind(i64::from(limit)).fetch_all(c)
    })
}

/// The invite whose hash lies between these two, of which no more than one does.
pub(crate) async fn between(db: &Db, (first, last): (&[u8], &[u8])) -> Result<Option<ListedRow>, DbFault> {
    on!(db, c => sqlx::query_as(BETWEEN).bind(first).bind(last).fetch_optional(c))
}

/// The same inside a transaction.
pub(crate) async fn between_in(
    tx: &mut Tx,
    (first, last): (&[u8], &[u8]),
) -> Result<Option<ListedRow>, DbFault> {
    on!(tx tx, c => sqlx::query_as(BETWEEN).bind(first).bind(last).fetch_optional(c))
}

/// An invite that can still be used.
pub(crate) async fn standing(
    db: &Db,
    invite: &SecretHash,
    now: UnixSeconds,
) -> Result<Option<InviteRow>, DbFault> {
    on!(db, c => sqlx::query_as(STANDING).bind(invite.as_bytes()).bind(now.0).fetch_optional(c))
}

/// The client of the node that used an invite, if one has; `None` for an invite that is unknown.
pub(crate) async fn used_by(db: &Db, invite: &SecretHash) -> Result<Option<Option<String>>, DbFault> {
    on!(db, c => sqlx::query_scalar(USED_BY).bind(invite.as_bytes()).fetch_optional(c))
}

/// Uses an invite up, for the node with the client `used_by`: `true` for exactly one caller.
pub(crate) async fn take(
    tx: &mut Tx,
    (invite, used_by): (&SecretHash, &str),
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(USE).bind(invite.as_bytes()).bind(now.0).bind(used_by);
        update.execute(c).await.map(|done| done.rows_affected() == 1)
    })
}

/// Writes a new invite.
pub(crate) async fn insert(tx: &mut Tx, invite: &SecretHash, row: &InviteRow) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        let insert = sqlx::query(INSERT)
            .bind(invite.as_bytes())
            .bind(&row.name)
            .bind(&row.resource)
            .bind(&row.replaces)
            .bind(&row.scopes)
            .bind(&row.asked_by)
            .bind(row.created_at)
            .bind(row.expires_at);
        insert.execute(c).await.map(|_| ())
    })
}

/// Drops an invite that can still be used; `false` when it cannot.
pub(crate) async fn withdraw(tx: &mut Tx, invite_hash: &[u8], now: UnixSeconds) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let delete = sqlx::query(WITHDRAW).bind(invite_hash).bind(now.0);
        delete.execute(c).await.map(|done| done.rows_affected() == 1)
    })
}

/// Drops every unused invite that the node with the client `node_client` asked for, or that is for its place, and returns
/// their hashes.
pub(crate) async fn withdraw_of(tx: &mut Tx, node_client: &str) -> Result<Vec<Vec<u8>>, DbFault> {
    on!(tx tx, c => sqlx::query_scalar(WITHDRAW_OF).bind(node_client).fetch_all(c))
}

/// Drops invites that expired before `before`.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    delete_in_batches(db, FORGET, before).await
}
