//! How many rows there are of everything that operators count. Tables that grow with every token are left out: nobody
//! waits for a count of millions.

use shared::clock::UnixSeconds;

use super::{Db, DbFault, on};

const DAY: i64 = 24 * 60 * 60;

// Each table is read once.
const COUNT: &str = "SELECT clients, clients_active, clients_used_today, resources, nodes, nodes_ended, nodes_active, nodes_silent, \
     approvals_waiting, users, users_active, \
     (SELECT sequence FROM audit_head WHERE id = 1) - COALESCE((SELECT MIN(sequence) FROM audit_event), 1) + 1 AS audit_events \
     FROM (SELECT COUNT(*) AS clients, COUNT(*) FILTER (WHERE revoked_at IS NULL) AS clients_active, \
     COUNT(*) FILTER (WHERE last_used_at >= $1) AS clients_used_today FROM client) c \
     CROSS JOIN (SELECT COUNT(*) AS resources FROM resource) r \
     CROSS JOIN (SELECT COUNT(*) FILTER (WHERE n.ended_at IS NULL) AS nodes, \
     COUNT(*) FILTER (WHERE n.ended_at IS NOT NULL) AS nodes_ended, \
     COUNT(*) FILTER (WHERE n.ended_at IS NULL AND k.heard_at >= $3) AS nodes_active, \
     COUNT(*) FILTER (WHERE n.ended_at IS NULL AND k.heard_at < $3) AS nodes_silent \
     FROM node n LEFT JOIN node_contact k ON k.client_id = n.client_id) n \
     CROSS JOIN (SELECT COUNT(*) AS approvals_waiting FROM approval WHERE decision IS NULL AND expires_at > $2) a \
     CROSS JOIN (SELECT COUNT(*) AS users, COUNT(*) FILTER (WHERE disabled_at IS NULL) AS users_active FROM user_account) u";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[COUNT];

/// How many.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Counts {
    pub(crate) clients: i64,
    pub(crate) clients_active: i64,
    /// Since midnight UTC.
    pub(crate) clients_used_today: i64,
    pub(crate) resources: i64,
    pub(crate) nodes: i64,
    pub(crate) nodes_ended: i64,
    pub(crate) nodes_active: i64,
    pub(crate) nodes_silent: i64,
    pub(crate) approvals_waiting: i64,
    pub(crate) users: i64,
    pub(crate) users_active: i64,
    pub(crate) audit_events: i64,
}

/// Counts them. A node is silent that was heard of last before `silent_before`.
pub(crate) async fn count(db: &Db, silent_before: UnixSeconds, now: UnixSeconds) -> Result<Counts, DbFault> {
    let midnight = now.0.div_euclid(DAY) * DAY;
    on!(db, c => sqlx::query_as(COUNT).bind(midnight).bind(now.0).bind(silent_before.0).fetch_one(c))
}
