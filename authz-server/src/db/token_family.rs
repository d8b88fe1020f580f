//! Table `token_family`: everything that came of one code or device code. Its row is the lock of the family: whoever
//! rotates or ends anything in it writes that row first, so all of it happens one after another.

use shared::clock::UnixSeconds;

use super::change::{self, Noun};
use super::{Db, DbFault, Tx, delete_in_batches, on, status_revoked};

/// A family ends when its grant does, if that is sooner.
const OPEN: &str = "INSERT INTO token_family (family_id, grant_id, client_id, user_id, resource, scopes, auth_time, methods, nonce, \
     created_at, last_used_at, expires_at, confirmation, authorization_details, status_list, status_index) \
     SELECT $1, grant_id, client_id, user_id, resource, $3, $4, $5, $6, $7, $7, \
     CASE WHEN expires_at < $8 THEN expires_at ELSE $8 END, $12, $13, $14, $15 \
     FROM access_grant WHERE grant_id = $2 AND client_id = $9 AND user_id = $10 AND resource = $11 \
     AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $7) RETURNING expires_at";
const USE: &str = "UPDATE token_family SET last_used_at = $2 \
     WHERE family_id = $1 AND revoked_at IS NULL AND expires_at > $2";
const REVOKE: &str =
    "UPDATE token_family SET revoked_at = $2, revoked_for = $3 WHERE family_id = $1 AND revoked_at IS NULL";
const REVOKE_OF_GRANT: &str =
    "UPDATE token_family SET revoked_at = $2, revoked_for = $3 WHERE grant_id = $1 AND revoked_at IS NULL";
const REVOKE_OF_USER: &str = "UPDATE token_family SET revoked_at = $2, revoked_for = $3 \
     WHERE grant_id IN (SELECT grant_id FROM access_grant WHERE user_id = $1) AND revoked_at IS NULL";
const REVOKE_OF_CLIENT: &str = "UPDATE token_family SET revoked_at = $2, revoked_for = $3 \
     WHERE grant_id IN (SELECT grant_id FROM access_grant WHERE client_id = $1) AND revoked_at IS NULL";
const REVOKE_OF_RESOURCE: &str =
    "UPDATE token_family SET revoked_at = $2, revoked_for = $3 WHERE resource = $1 AND revoked_at IS NULL";
const TAKE_BACK: &str = "INSERT INTO revoked_token (token_id, client_id, expires_at, revoked_at) \
     SELECT family_id, client_id, expires_at, $2 FROM token_family \
     WHERE family_id = $1 AND revoked_at IS NULL AND expires_at > $2 ON CONFLICT (token_id) DO NOTHING";
const TAKE_BACK_OF_GRANT: &str = "INSERT INTO revoked_token (token_id, client_id, expires_at, revoked_at) \
     SELECT family_id, client_id, expires_at, $2 FROM token_family \
     WHERE grant_id = $1 AND revoked_at IS NULL AND expires_at > $2 ON CONFLICT (token_id) DO NOTHING";
const TAKE_BACK_OF_USER: &str = "INSERT INTO revoked_token (token_id, client_id, expires_at, revoked_at) \
     SELECT family_id, client_id, expires_at, $2 FROM token_family \
     WHERE grant_id IN (SELECT grant_id FROM access_grant WHERE user_id = $1) AND revoked_at IS NULL AND expires_at > $2 \
     ON CONFLICT (token_id) DO NOTHING";
const TAKE_BACK_OF_CLIENT: &str = "INSERT INTO revoked_token (token_id, client_id, expires_at, revoked_at) \
     SELECT family_id, client_id, expires_at, $2 FROM token_family \
     WHERE grant_id IN (SELECT grant_id FROM access_grant WHERE client_id = $1) AND revoked_at IS NULL AND expires_at > $2 \
     ON CONFLICT (token_id) DO NOTHING";
const TAKE_BACK_OF_RESOURCE: &str = "INSERT INTO revoked_token (token_id, client_id, expires_at, revoked_at) \
     SELECT family_id, client_id, expires_at, $2 FROM token_family \
     WHERE resource = $1 AND revoked_at IS NULL AND expires_at > $2 ON CONFLICT (token_id) DO NOTHING";
const FORGET: &str = "DELETE FROM token_family WHERE family_id IN \
     (SELECT family_id FROM token_family WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

/// Page by page from the oldest on: after a moment and an id, so many.
macro_rules! page {
    ($filter:literal) => {
        concat!(
            "SELECT family_id, grant_id, client_id, user_id, resource, scopes, created_at, last_used_at, expires_at, revoked_at, \
             revoked_for FROM token_family WHERE (created_at, family_id) > ($1, $2) AND ",
            $filter,
            " ORDER BY created_at, family_id LIMIT $3"
        )
    };
}

const PAGES: [[&str; 3]; 3] = [
    [
        page!("user_id = $4"),
        page!("user_id = $4 AND revoked_at IS NULL"),
        page!("user_id = $4 AND revoked_at IS NOT NULL"),
    ],
    [
        page!("client_id = $4"),
        page!("client_id = $4 AND revoked_at IS NULL"),
        page!("client_id = $4 AND revoked_at IS NOT NULL"),
    ],
    [
        page!("grant_id = $4"),
        page!("grant_id = $4 AND revoked_at IS NULL"),
        page!("grant_id = $4 AND revoked_at IS NOT NULL"),
    ],
];
const FIND: &str = "SELECT family_id, grant_id, client_id, user_id, resource, scopes, created_at, last_used_at, expires_at, revoked_at, \
     revoked_for FROM token_family WHERE family_id = $1";
const HOLD_ANY: &str = "UPDATE token_family SET last_used_at = last_used_at WHERE family_id = $1 RETURNING family_id, grant_id, \
     client_id, user_id, resource, scopes, created_at, last_used_at, expires_at, revoked_at, revoked_for";

#[cfg(test)]
pub(super) const PAGE_STATEMENTS: &[[&str; 3]] = &PAGES;
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    OPEN,
    USE,
    REVOKE,
    REVOKE_OF_GRANT,
    REVOKE_OF_USER,
    REVOKE_OF_CLIENT,
    REVOKE_OF_RESOURCE,
    TAKE_BACK,
    TAKE_BACK_OF_GRANT,
    TAKE_BACK_OF_USER,
    TAKE_BACK_OF_CLIENT,
    TAKE_BACK_OF_RESOURCE,
    FORGET,
    FIND,
    HOLD_ANY,
];

/// A family as it begins. Client, user and resource must be those of the grant.
#[derive(Debug)]
pub(crate) struct NewFamilyRow<'a> {
    pub(crate) family_id: &'a str,
    pub(crate) grant_id: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) user_id: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) scopes: String,
    pub(crate) auth_time: UnixSeconds,
    pub(crate) methods: &'a str,
    pub(crate) nonce: Option<&'a str>,
    /// RFC 9396: a JSON list.
    pub(crate) authorization_details: Option<&'a str>,
    pub(crate) expires_at: UnixSeconds,
    /// JSON: the key that must be shown with every refresh token of the family.
    pub(crate) confirmation: Option<String>,
    /// The place of the first access token: a list and an index.
    pub(crate) status: (&'a str, i64),
}

/// One row as operators see it, revoked or not.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct ShownFamily {
    pub(crate) family_id: String,
    pub(crate) grant_id: String,
    pub(crate) client_id: String,
    pub(crate) user_id: String,
    pub(crate) resource: String,
    pub(crate) scopes: String,
    pub(crate) created_at: i64,
    pub(crate) last_used_at: i64,
    pub(crate) expires_at: i64,
    pub(crate) revoked_at: Option<i64>,
    pub(crate) revoked_for: Option<String>,
}

/// Which families are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose<'a> {
    User(&'a str),
    Client(&'a str),
    Grant(&'a str),
}

/// At most `limit` families after `(created_at, family_id)`, oldest first; with `standing`, only those that were not, or
/// were, revoked.
pub(crate) async fn page(
    db: &Db,
    whose: Whose<'_>,
    standing: Option<bool>,
    (created_at, family_id): (i64, &str),
    limit: u32,
) -> Result<Vec<ShownFamily>, DbFault> {
    let (statements, value) = match whose {
        Whose::User(id) => (PAGES[0], id),
        Whose::Client(id) => (PAGES[1], id),
        Whose::Grant(id) => (PAGES[2], id),
    };
    let statement = statements[standing.map_or(0, |standing| if standing { 1 } else { 2 })];
    on!(db, c => {
        sqlx::query_as(statement)
            .bind(created_at)
            .bind(family_id)
            .bind(i64::from(limit))
            .bind(value)
            .fetch_all(c)
    })
}

/// The family of that id, revoked or not.
pub(crate) async fn find(db: &Db, family_id: &str) -> Result<Option<ShownFamily>, DbFault> {
    on!(db, c => sqlx::query_as(FIND).bind(family_id).fetch_optional(c))
}

/// As [`find`], and nobody changes it until the transaction ends.
pub(crate) async fn hold_any(tx: &mut Tx, family_id: &str) -> Result<Option<ShownFamily>, DbFault> {
    on!(tx tx, c => sqlx::query_as(HOLD_ANY).bind(family_id).fetch_optional(c))
}

/// Which families end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of<'a> {
    /// One.
    Family(&'a str),
    /// All that came of a grant.
    Grant(&'a str),
    /// All that a person gave.
    User(&'a str),
    /// All that a client has.
    Client(&'a str),
    /// All that are for a resource.
    Resource(&'a str),
}

impl<'a> Of<'a> {
    pub(super) fn id(self) -> &'a str {
        let (Self::Family(id) | Self::Grant(id) | Self::User(id) | Self::Client(id) | Self::Resource(id)) =
            self;
        id
    }

    /// First the access tokens are taken back, then the families end: the first statement looks for living ones.
    fn statements(self) -> (&'static str, &'static str) {
        match self {
            Self::Family(_) => (TAKE_BACK, REVOKE),
            Self::Grant(_) => (TAKE_BACK_OF_GRANT, REVOKE_OF_GRANT),
            Self::User(_) => (TAKE_BACK_OF_USER, REVOKE_OF_USER),
            Self::Client(_) => (TAKE_BACK_OF_CLIENT, REVOKE_OF_CLIENT),
            Self::Resource(_) => (TAKE_BACK_OF_RESOURCE, REVOKE_OF_RESOURCE),
        }
    }
}

/// Begins a family and returns when it ends. Hold the grant ([`super::access_grant::lock`]) meanwhile.
pub(crate) async fn open(
    tx: &mut Tx,
    new: &NewFamilyRow<'_>,
    now: UnixSeconds,
) -> Result<UnixSeconds, DbFault> {
    let end: Option<i64> = on!(tx tx, c => {
        sqlx::query_scalar(OPEN)
            .bind(new.family_id)
            .bind(new.grant_id)
            .bind(&new.scopes)
            .bind(new.auth_time.0)
            .bind(new.methods)
            .bind(new.nonce)
            .bind(now.0)
            .bind(new.expires_at.0)
            .bind(new.client_id)
            .bind(new.user_id)
            .bind(new.resource)
            .bind(&new.confirmation)
            .bind(new.authorization_details)
            .bind(new.status.0)
            .bind(new.status.1)
            .fetch_optional(c)
    })?;
    end.map(UnixSeconds)
        .ok_or_else(|| DbFault::Unexpected("a family was begun without a grant that stands".to_owned()))
}

/// Notes that a family is in use, and holds it until the transaction ends; `false` when it has ended.
pub(crate) async fn use_now(tx: &mut Tx, family_id: &str, now: UnixSeconds) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(USE).bind(family_id).bind(now.0);
        update.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// Ends families and takes back every access token of theirs; returns how many ended. `why` is for the record.
pub(crate) async fn revoke(
    tx: &mut Tx,
    of: Of<'_>,
    why: &'static str,
    now: UnixSeconds,
) -> Result<u64, DbFault> {
    let (take_back, end) = of.statements();
    let taken = on!(tx tx, c => async {
        let insert = sqlx::query(take_back).bind(of.id()).bind(now.0);
        insert.execute(c).await.map(|done| done.rows_affected())
    })?;
    let ended = on!(tx tx, c => async {
        let update = sqlx::query(end).bind(of.id()).bind(now.0).bind(why);
        update.execute(c).await.map(|done| done.rows_affected())
    })?;
    // Now that nobody adds to them any more. What was exchanged with a grant outlives the families of that grant.
    if ended > 0 || !matches!(of, Of::Family(_)) {
        status_revoked::families(tx, of, now).await?;
    }
    if taken > 0 {
        let subject = match of {
            Of::Family(id) => id,
            _ => change::MANY,
        };
        change::record(tx, Noun::Token, subject, now);
    }
    Ok(ended)
}

/// Drops families that ended of age before `before`. Their refresh tokens must be gone
/// ([`super::refresh_token::forget`]).
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    delete_in_batches(db, FORGET, before).await
}
