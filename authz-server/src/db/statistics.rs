//! How many rows there are of everything that operators count. Tables that grow with every token are left out: nobody
//! waits for a count of millions.

use super::{Db, DbFault, on};

const COUNT: &str = "SELECT (SELECT COUNT(*) FROM client) AS clients, \
     (SELECT COUNT(*) FROM client WHERE revoked_at IS NULL) AS clients_active, \
     (SELECT COUNT(*) FROM resource) AS resources, \
     (SELECT COUNT(*) FROM node WHERE ended_at IS NULL) AS nodes, \
     (SELECT COUNT(*) FROM user_account) AS users, \
     (SELECT COUNT(*) FROM user_account WHERE disabled_at IS NULL) AS users_active, \
     (SELECT sequence FROM audit_head WHERE id = 1) - COALESCE((SELECT MIN(sequence) FROM audit_event), 1) + 1 AS audit_events";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[COUNT];

/// How many.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Counts {
    pub(crate) clients: i64,
    pub(crate) clients_active: i64,
    pub(crate) resources: i64,
    pub(crate) nodes: i64,
    pub(crate) users: i64,
    pub(crate) users_active: i64,
    pub(crate) audit_events: i64,
}

/// Counts them.
pub(crate) async fn count(db: &Db) -> Result<Counts, DbFault> {
    on!(db, c => sqlx::query_as(COUNT).fetch_one(c))
}
