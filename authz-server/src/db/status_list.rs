//! Tables `status_list`, `status_block` and `status_heir`: which places of which list belong to whom
//! (docs/decisions/0013).

use shared::clock::UnixSeconds;

use super::change::{self, Noun};
use super::{Db, DbFault, Tx, access_grant, on};

/// How many places a list has. Fewer bits for more lists: at its worst a list is 117 KB on the wire.
pub(crate) const CAPACITY: i64 = 1 << 19;

const LEASE: &str = "UPDATE status_list SET next_index = next_index + $3 WHERE list_id = \
     (SELECT list_id FROM status_list WHERE resource = $1 AND window_end = $2 AND next_index + $3 <= $4 ORDER BY part LIMIT 1) \
     AND next_index + $3 <= $4 RETURNING list_id, next_index";
// Unless another transaction has opened one since.
const OPEN: &str = "INSERT INTO status_list (list_id, resource, window_end, part, next_index, changed_at) \
     SELECT $1, $2, $3, COALESCE(MAX(part) + 1, 0), 0, $4 FROM status_list WHERE resource = $2 AND window_end = $3 \
     HAVING COALESCE(MAX(CASE WHEN next_index + $5 <= $6 THEN 1 ELSE 0 END), 0) = 0 \
     ON CONFLICT (resource, window_end, part) DO NOTHING";
const ADD_BLOCK: &str =
    "INSERT INTO status_block (list_id, first_index, length, client_id, user_id) VALUES ($1, $2, $3, $4, $5)";
const ADD_HEIR: &str = "INSERT INTO status_heir (list_id, status_index, parent_list, parent_index, grant_id) VALUES ($1, $2, $3, $4, $5)";
const FIND: &str = "SELECT list_id, resource, window_end, changed_at FROM status_list WHERE list_id = $1 AND window_end > $2";
const OF_RESOURCE: &str = "SELECT list_id, resource, window_end, changed_at FROM status_list WHERE resource = $1 AND window_end > $2 \
     ORDER BY window_end, part";
const ALL: &str = "SELECT list_id, resource, window_end, changed_at FROM status_list WHERE window_end > $1 \
     ORDER BY resource, window_end, part LIMIT 10000";
// What a list's places are of goes with it.
const FORGET_BLOCKS: &str = "DELETE FROM status_block WHERE list_id IN \
     (SELECT list_id FROM status_list WHERE window_end < $1 ORDER BY window_end, list_id LIMIT $2)";
const FORGET_HEIRS: &str = "DELETE FROM status_heir WHERE list_id IN \
     (SELECT list_id FROM status_list WHERE window_end < $1 ORDER BY window_end, list_id LIMIT $2)";
const FORGET_REVOKED: &str = "DELETE FROM status_revoked WHERE list_id IN \
     (SELECT list_id FROM status_list WHERE window_end < $1 ORDER BY window_end, list_id LIMIT $2)";
const FORGET: &str = "DELETE FROM status_list WHERE list_id IN \
     (SELECT list_id FROM status_list WHERE window_end < $1 ORDER BY window_end, list_id LIMIT $2)";

const RESOURCE_STANDS: &str = "SELECT uri FROM resource WHERE uri = $1";
pub(super) const CLIENT_ENDED: &str =
    "SELECT client_id FROM client WHERE client_id = $1 AND revoked_at IS NOT NULL";
const USER_ENDED: &str = "SELECT user_id FROM user_account WHERE user_id = $1 AND disabled_at IS NOT NULL";
const LIST_STANDS: &str = "SELECT list_id FROM status_list WHERE list_id = $1";
// Held until the end of the transaction: whoever ends one of them comes before, and is seen here, or after, and sees
// what was written here. SQLite has one writer at a time and needs no more.
const HOLD_RESOURCE: &str = "SELECT uri FROM resource WHERE uri = $1 FOR SHARE";
pub(super) const HOLD_CLIENT: &str = "SELECT client_id FROM client WHERE client_id = $1 FOR SHARE";
const HOLD_USER: &str = "SELECT user_id FROM user_account WHERE user_id = $1 FOR SHARE";
const HOLD_LIST: &str = "SELECT list_id FROM status_list WHERE list_id = $1 FOR SHARE";
const WINDOW_END: &str = "SELECT window_end FROM status_list WHERE list_id = $1";
const IS_SET: &str = "SELECT COUNT(*) FROM status_revoked \
     WHERE list_id = $1 AND first_index <= $2 AND first_index + length > $2";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    LEASE,
    OPEN,
    ADD_BLOCK,
    ADD_HEIR,
    FIND,
    OF_RESOURCE,
    ALL,
    FORGET_BLOCKS,
    FORGET_HEIRS,
    FORGET_REVOKED,
    FORGET,
    RESOURCE_STANDS,
    CLIENT_ENDED,
    USER_ENDED,
    LIST_STANDS,
    WINDOW_END,
    IS_SET,
];
#[cfg(test)]
pub(super) const POSTGRES_STATEMENTS: &[&str] = &[HOLD_RESOURCE, HOLD_CLIENT, HOLD_USER, HOLD_LIST];

/// One list.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct ListRow {
    pub(crate) list_id: String,
    pub(crate) resource: String,
    /// Every token in it expires by then.
    pub(crate) window_end: i64,
    pub(crate) changed_at: i64,
}

/// Whose tokens a block is for. Those of a family need none: their places are kept with the family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockOwner<'a> {
    pub(crate) client_id: &'a str,
    /// The person whom the tokens name, if they name one.
    pub(crate) user_id: Option<&'a str>,
}

/// What is asked of [`lease`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) resource: &'a str,
    /// Whether it has no row, and cannot end.
    pub(crate) is_built_in: bool,
    pub(crate) window_end: UnixSeconds,
    pub(crate) owner: Option<BlockOwner<'a>>,
    /// At most [`CAPACITY`].
    pub(crate) length: i64,
    /// The name of the list, should a new one be needed.
    pub(crate) new_list: &'a str,
}

/// A block that is the caller's alone, for ever: its list and first place.
#[derive(Clone, PartialEq, Eq, Debug, sqlx::FromRow)]
pub(crate) struct Leased {
    pub(crate) list_id: String,
    #[sqlx(rename = "next_index")]
    pub(crate) first_index: i64,
}

/// Leases a block. `None` when the resource, the client or the person has ended: nothing is to be issued any more.
pub(crate) async fn lease(db: &Db, wanted: Wanted<'_>, now: UnixSeconds) -> Result<Option<Leased>, DbFault> {
    db.write(async |tx| {
        if !may_have_tokens(tx, wanted).await? {
            return Ok(None);
        }
        lease_in(tx, wanted, now).await.map(Some)
    })
    .await
}

/// Leases a block for somebody who is known to stand.
pub(super) async fn lease_in(tx: &mut Tx, wanted: Wanted<'_>, now: UnixSeconds) -> Result<Leased, DbFault> {
    loop {
        if let Some(leased) = take(tx, wanted).await? {
            if let Some(owner) = wanted.owner {
                add_block(tx, &leased, owner, wanted.length).await?;
            }
            return Ok(leased);
        }
        let opened = on!(tx tx, c => async {
            let open = sqlx::query(OPEN)
                .bind(wanted.new_list)
                .bind(wanted.resource)
                .bind(wanted.window_end.0)
                .bind(now.0)
                .bind(wanted.length)
                .bind(CAPACITY);
            open.execute(c).await.map(|done| done.rows_affected())
        })?;
        if opened > 0 {
            // Whoever waits for news of the resource's lists learns of it.
            change::record(tx, Noun::Token, wanted.new_list, now);
        }
    }
}

async fn take(tx: &mut Tx, wanted: Wanted<'_>) -> Result<Option<Leased>, DbFault> {
    let taken: Option<Leased> = on!(tx tx, c => {
        sqlx::query_as(LEASE)
            .bind(wanted.resource)
            .bind(wanted.window_end.0)
            .bind(wanted.length)
            .bind(CAPACITY)
            .fetch_optional(c)
    })?;
    Ok(taken.map(|after| Leased {
        first_index: after.first_index - wanted.length,
        ..after
    }))
}

async fn add_block(tx: &mut Tx, leased: &Leased, owner: BlockOwner<'_>, length: i64) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        let insert = sqlx::query(ADD_BLOCK)
            .bind(&leased.list_id)
            .bind(leased.first_index)
            .bind(length)
            .bind(owner.client_id)
            .bind(owner.user_id);
        insert.execute(c).await.map(|_| ())
    })
}

async fn may_have_tokens(tx: &mut Tx, wanted: Wanted<'_>) -> Result<bool, DbFault> {
    if !wanted.is_built_in
        && held(tx, (HOLD_RESOURCE, RESOURCE_STANDS), wanted.resource)
            .await?
            .is_none()
    {
        return Ok(false);
    }
    let Some(owner) = wanted.owner else {
        return Ok(true);
    };
    // A client that was never granted anything may be known by its document alone, and has no row.
    if held(tx, (HOLD_CLIENT, CLIENT_ENDED), owner.client_id)
        .await?
        .is_some()
    {
        return Ok(false);
    }
    match owner.user_id {
        Some(user_id) => Ok(held(tx, (HOLD_USER, USER_ENDED), user_id).await?.is_none()),
        None => Ok(true),
    }
}

/// Holds a row where several can write, then asks about it.
pub(super) async fn held(
    tx: &mut Tx,
    (hold, ask): (&'static str, &'static str),
    id: &str,
) -> Result<Option<String>, DbFault> {
    if let Tx::Pg(..) = tx {
        on!(tx tx, c => async { sqlx::query(hold).bind(id).execute(c).await.map(|_| ()) })?;
    }
    on!(tx tx, c => sqlx::query_scalar(ask).bind(id).fetch_optional(c))
}

/// The place of an exchanged token, and what it ends with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heir<'a> {
    pub(crate) place: (&'a str, i64),
    /// The places of the tokens that it came of: the one that was shown, and that of whoever acts. Tokens from before there
    /// were lists have none.
    pub(crate) parents: &'a [(&'a str, i64)],
    /// The grant by which the person agreed, if they were asked.
    pub(crate) grant_id: Option<&'a str>,
}

/// Keeps an heir, so that it ends with its parents and its grant. `false`, and nothing has happened, when one of them has
/// ended.
pub(crate) async fn add_heir(db: &Db, heir: Heir<'_>, now: UnixSeconds) -> Result<bool, DbFault> {
    // Whoever revokes holds the lists that they change in this order.
    let mut parents = heir.parents.to_vec();
    parents.sort_unstable();
    parents.dedup();
    db.write(async |tx| {
        // The grant first (docs/architecture.md): whoever revokes it comes before, and is seen here, or finds the heir.
        if let Some(grant_id) = heir.grant_id
            && !access_grant::lock(tx, grant_id, now).await?
        {
            return Ok(false);
        }
        for (list_id, index) in &parents {
            held(tx, (HOLD_LIST, LIST_STANDS), list_id).await?;
            if is_set_in(tx, (list_id, *index)).await? {
                return Ok(false);
            }
        }
        if parents.is_empty() && heir.grant_id.is_some() {
            insert_heir(tx, heir, ("", 0)).await?;
        }
        for parent in &parents {
            insert_heir(tx, heir, *parent).await?;
        }
        Ok(true)
    })
    .await
}

async fn insert_heir(tx: &mut Tx, heir: Heir<'_>, parent: (&str, i64)) -> Result<(), DbFault> {
    on!(tx tx, c => async {
        let insert = sqlx::query(ADD_HEIR)
            .bind(heir.place.0)
            .bind(heir.place.1)
            .bind(parent.0)
            .bind(parent.1)
            .bind(heir.grant_id);
        insert.execute(c).await.map(|_| ())
    })
}

async fn is_set_in(tx: &mut Tx, (list_id, index): (&str, i64)) -> Result<bool, DbFault> {
    let ranges: i64 = on!(tx tx, c => sqlx::query_scalar(IS_SET).bind(list_id).bind(index).fetch_one(c))?;
    Ok(ranges > 0)
}

/// Whether the bit of a place is set.
pub(crate) async fn is_set(db: &Db, (list_id, index): (&str, i64)) -> Result<bool, DbFault> {
    let ranges: i64 = on!(db, c => sqlx::query_scalar(IS_SET).bind(list_id).bind(index).fetch_one(c))?;
    Ok(ranges > 0)
}

/// By when every token in a list expires; `None` when there is no such list any more.
pub(crate) async fn window_end(tx: &mut Tx, list_id: &str) -> Result<Option<UnixSeconds>, DbFault> {
    let end: Option<i64> = on!(tx tx, c => sqlx::query_scalar(WINDOW_END).bind(list_id).fetch_optional(c))?;
    Ok(end.map(UnixSeconds))
}

/// A list whose window ended after `before`.
pub(crate) async fn find(db: &Db, list_id: &str, before: UnixSeconds) -> Result<Option<ListRow>, DbFault> {
    on!(db, c => sqlx::query_as(FIND).bind(list_id).bind(before.0).fetch_optional(c))
}

/// The lists of a resource whose window ended after `before`.
pub(crate) async fn of_resource(
    db: &Db,
    resource: &str,
    before: UnixSeconds,
) -> Result<Vec<ListRow>, DbFault> {
    on!(db, c => sqlx::query_as(OF_RESOURCE).bind(resource).bind(before.0).fetch_all(c))
}

/// Every list whose window ended after `before`, ten thousand at most.
pub(crate) async fn all(db: &Db, before: UnixSeconds) -> Result<Vec<ListRow>, DbFault> {
    on!(db, c => sqlx::query_as(ALL).bind(before.0).fetch_all(c))
}

/// Drops lists whose window ended before `before`, and everything about their places: one list after the other, so that
/// no statement grows with what has been left lying.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    const ONE: i64 = 1;
    loop {
        // The list itself last, or the others could not find theirs.
        for statement in [FORGET_BLOCKS, FORGET_HEIRS, FORGET_REVOKED] {
            on!(db, c => async { sqlx::query(statement).bind(before.0).bind(ONE).execute(c).await.map(|_| ()) })?;
        }
        let lists = on!(db, c => async {
            let delete = sqlx::query(FORGET).bind(before.0).bind(ONE);
            delete.execute(c).await.map(|done| done.rows_affected())
        })?;
        if lists == 0 {
            return Ok(());
        }
    }
}
