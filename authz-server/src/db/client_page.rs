//! Table `client`, page by page. Each filter has an index in the order of the pages, so that a page costs the same
//! however many clients there are.

use super::client::ClientRow;
use super::{Db, DbFault, on};

/// Page by page from the oldest on: after a moment and an id, so many.
macro_rules! page {
    ($filter:literal) => {
        concat!(
            "SELECT client_id, name, client_type, auth_methods, grants, scopes, resources, created_at, tokens_not_before, \
             revoked_at, redirect_uris, approves_as, origin, details, last_used_at, expires_at FROM client \
             WHERE (created_at, client_id) > ($1, $2)",
            $filter,
            " ORDER BY created_at, client_id LIMIT $3"
        )
    };
}

const ANY: [&str; 3] = [
    page!(""),
    page!(" AND revoked_at IS NULL"),
    page!(" AND revoked_at IS NOT NULL"),
];
const OF_ORIGIN: [&str; 3] = [
    page!(" AND origin = $4"),
    page!(" AND origin = $4 AND revoked_at IS NULL"),
    page!(" AND origin = $4 AND revoked_at IS NOT NULL"),
];
const NAMED: [&str; 3] = [
    page!(" AND name = $4"),
    page!(" AND name = $4 AND revoked_at IS NULL"),
    page!(" AND name = $4 AND revoked_at IS NOT NULL"),
];

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    ANY[0],
    ANY[1],
    ANY[2],
    OF_ORIGIN[0],
    OF_ORIGIN[1],
    OF_ORIGIN[2],
    NAMED[0],
    NAMED[1],
    NAMED[2],
];

/// Which clients are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which<'a> {
    Any,
    OfOrigin(&'a str),
    Named(&'a str),
}

/// At most `limit` of them after `(created_at, client_id)`, oldest first; with `living`, only those that are or are not
/// revoked.
pub(crate) async fn page(
    db: &Db,
    which: Which<'_>,
    living: Option<bool>,
    (created_at, client_id): (i64, &str),
    limit: u32,
) -> Result<Vec<ClientRow>, DbFault> {
    let (statements, value) = match which {
        Which::Any => (ANY, None),
        Which::OfOrigin(origin) => (OF_ORIGIN, Some(origin)),
        Which::Named(name) => (NAMED, Some(name)),
    };
    let statement = match living {
        None => statements[0],
        Some(true) => statements[1],
        Some(false) => statements[2],
    };
    on!(db, c => {
        let query = sqlx::query_as(statement).bind(created_at).bind(client_id).bind(i64::from(limit));
        match value {
            Some(value) => query.bind(value),
            None => query,
        }
        .fetch_all(c)
    })
}
