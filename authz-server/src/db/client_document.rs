//! Table `client_document`: the metadata documents of clients that people have granted something, or that an operator
//! pinned. The client itself is a row of `client`, written and changed here together with its document.

use shared::clock::UnixSeconds;

use super::change::{self, Noun};
use super::client::ClientRow;
use super::{Db, DbFault, Tx, access_grant, client, on};

const FIND: &str =
    "SELECT client_id, content, is_pinned, fetched_at, fresh_until FROM client_document WHERE client_id = $1";
/// What is pinned gives way to another pin only.
const WRITE: &str = "INSERT INTO client_document (client_id, content, is_pinned, fetched_at, fresh_until) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (client_id) DO UPDATE SET content = EXCLUDED.content, \
     is_pinned = EXCLUDED.is_pinned, fetched_at = EXCLUDED.fetched_at, fresh_until = EXCLUDED.fresh_until \
     WHERE EXCLUDED.is_pinned OR NOT client_document.is_pinned";
/// Holds the client until the transaction ends.
const HOLD: &str = "UPDATE client SET name = name WHERE client_id = $1";
const UNPIN: &str =
    "UPDATE client_document SET is_pinned = FALSE, fresh_until = 0 WHERE client_id = $1 AND is_pinned";
const FORGET_FETCHED: &str = "UPDATE client_document SET fresh_until = $1 WHERE NOT is_pinned";
/// [`DocumentRow::fresh_until`] of a document that is not relied on until it has been fetched again, not even while it
/// cannot be: what it was fetched by is in force no more.
pub(crate) const FORGOTTEN: UnixSeconds = UnixSeconds(-1);

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[FIND, WRITE, HOLD, UNPIN, FORGET_FETCHED];

/// One row.
#[derive(Clone, PartialEq, Eq, Debug, sqlx::FromRow)]
pub(crate) struct DocumentRow {
    pub(crate) client_id: String,
    /// The document as it came.
    pub(crate) content: String,
    /// Whether it stays as it is: it is never fetched.
    pub(crate) is_pinned: bool,
    pub(crate) fetched_at: i64,
    /// From then on it is fetched again before it is relied on. See [`FORGOTTEN`].
    pub(crate) fresh_until: i64,
}

/// What a new document means for what people have granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Impact {
    /// Nothing that they relied on has changed.
    None,
    /// They are asked again: nothing of what they let us remember counts any more.
    AskAgain,
    /// What was granted so far ends, codes and devices that wait included: the client can no longer be told from
    /// another.
    Ends,
}

/// The document of a client.
pub(crate) async fn find(db: &Db, client_id: &str) -> Result<Option<DocumentRow>, DbFault> {
    on!(db, c => sqlx::query_as(FIND).bind(client_id).fetch_optional(c))
}

/// Writes a client and its document, or a newer document of a client that is there; `false` when the client's id
/// belongs to one that did not come of a document, or is revoked, or is pinned and the new one is not. `impact` compares the client before and after.
pub(crate) async fn write(
    db: &Db,
    (client, document): (&ClientRow, &DocumentRow),
    impact: impl Fn(&ClientRow, &ClientRow) -> Impact,
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    let turn = async |tx: &mut Tx| write_in(tx, (client, document), &impact, now).await;
    match db.write(turn).await {
        // Of two who write a new client at once, the second finds it there when it tries again.
        Err(DbFault::Constraint(_)) => db.write(turn).await,
        other => other,
    }
}

/// As [`write`], as a part of something larger. Of two who write a new client at once, one collides.
pub(crate) async fn write_in(
    tx: &mut Tx,
    (client, document): (&ClientRow, &DocumentRow),
    impact: &impl Fn(&ClientRow, &ClientRow) -> Impact,
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    let id = &client.client_id;
    // Two who write the same client follow one another, so none compares with what the other has replaced.
    on!(tx tx, c => async { sqlx::query(HOLD).bind(id).execute(c).await.map(|_| ()) })?;
    let before = client::find_in(tx, id).await?;
    match &before {
        None => client::insert_row(tx, client).await?,
        Some(before) if before.revoked_at.is_some() || before.origin != client.origin => return Ok(false),
        Some(_) => {}
    }
    if !write_document(tx, document).await? {
        return Ok(false);
    }
    if let Some(before) = before {
        // Where it may be used is the operator's to say, and stays.
        let client = &ClientRow {
            resources: before.resources.clone(),
            ..client.clone()
        };
        client::write_row(tx, client).await?;
        apply(tx, id, impact(&before, client), now).await?;
    }
    change::record(tx, Noun::Client, id, now);
    Ok(true)
}

/// `false` when another is pinned.
async fn write_document(tx: &mut Tx, document: &DocumentRow) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let write = sqlx::query(WRITE)
            .bind(&document.client_id)
            .bind(&document.content)
            .bind(document.is_pinned)
            .bind(document.fetched_at)
            .bind(document.fresh_until);
        write.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

async fn apply(tx: &mut Tx, client_id: &str, impact: Impact, now: UnixSeconds) -> Result<(), DbFault> {
    match impact {
        Impact::None => Ok(()),
        Impact::AskAgain => access_grant::forget_remembered(tx, client_id).await,
        Impact::Ends => {
            let why = "the client's keys changed";
            access_grant::end_all_of_client(tx, client_id, why, now).await?;
            Ok(())
        }
    }
}

/// Lets a pinned document be fetched again, as a part of something larger; `false` when there is no such one.
pub(crate) async fn unpin(tx: &mut Tx, client_id: &str, now: UnixSeconds) -> Result<bool, DbFault> {
    let rows = on!(tx tx, c => async {
        sqlx::query(UNPIN).bind(client_id).execute(c).await.map(|done| done.rows_affected())
    })?;
    if rows > 0 {
        change::record(tx, Noun::Client, client_id, now);
    }
    Ok(rows > 0)
}

/// Has every document fetched again that is not pinned, before it is relied on, as a part of something larger.
pub(crate) async fn forget_fetched(tx: &mut Tx, now: UnixSeconds) -> Result<(), DbFault> {
    let rows = on!(tx tx, c => async {
        let forget = sqlx::query(FORGET_FETCHED).bind(FORGOTTEN.0);
        forget.execute(c).await.map(|done| done.rows_affected())
    })?;
    if rows > 0 {
        change::record(tx, Noun::Client, change::MANY, now);
    }
    Ok(())
}

/// The document of a client, inside a transaction.
pub(crate) async fn find_in(tx: &mut Tx, client_id: &str) -> Result<Option<DocumentRow>, DbFault> {
    on!(tx tx, c => sqlx::query_as(FIND).bind(client_id).fetch_optional(c))
}
