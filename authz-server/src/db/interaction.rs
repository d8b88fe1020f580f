//! Table `interaction`: what a browser has begun and not finished.

use shared::clock::UnixSeconds;
use shared::secret::SecretHash;

use super::{Db, DbFault, Tx, delete_in_batches, on};

/// One browser has at most so many open; the oldest make room for a new one.
const PER_BROWSER: i64 = 20;

const FIND: &str = "SELECT interaction_id, kind, content, started_at FROM interaction \
     WHERE interaction_id = $1 AND browser_hash = $2 AND kind = $3 AND finished_at IS NULL AND expires_at > $4";
const INSERT: &str = "INSERT INTO interaction (interaction_id, browser_hash, kind, content, started_at, expires_at) \
     VALUES ($1, $2, $3, $4, $5, $6)";
const COUNT: &str =
    "SELECT COUNT(*) FROM (SELECT 1 FROM interaction WHERE expires_at > $1 LIMIT $2) AS living";
const MAKE_ROOM: &str = "DELETE FROM interaction WHERE interaction_id IN \
     (SELECT interaction_id FROM interaction WHERE browser_hash = $1 AND interaction_id <> $3 \
     ORDER BY started_at DESC, interaction_id LIMIT 1000 OFFSET $2)";
const REWRITE: &str = "UPDATE interaction SET content = $3 WHERE interaction_id = $1 AND browser_hash = $2 AND finished_at IS NULL";
const SWAP: &str = "UPDATE interaction SET content = $4 \
     WHERE interaction_id = $1 AND browser_hash = $2 AND content = $3 AND finished_at IS NULL AND expires_at > $5";
const FINISH: &str = "UPDATE interaction SET finished_at = $3 \
     WHERE interaction_id = $1 AND browser_hash = $2 AND finished_at IS NULL AND expires_at > $3";
const STATE: &str = "SELECT finished_at FROM interaction WHERE interaction_id = $1 AND browser_hash = $2";
const FORGET: &str = "DELETE FROM interaction WHERE interaction_id IN \
     (SELECT interaction_id FROM interaction WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    FIND, INSERT, COUNT, MAKE_ROOM, REWRITE, SWAP, FINISH, STATE, FORGET,
];

/// One open row. `content` is JSON whose members the `kind` decides.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct InteractionRow {
    pub(crate) interaction_id: String,
    pub(crate) kind: String,
    pub(crate) content: String,
    pub(crate) started_at: i64,
}

/// The open interaction of this id, kind and browser. Another browser's is as unknown as none.
pub(crate) async fn find(
    db: &Db,
    (interaction_id, kind): (&str, &str),
    browser: &SecretHash,
    now: UnixSeconds,
) -> Result<Option<InteractionRow>, DbFault> {
    on!(db, c => {
        sqlx::query_as(FIND).bind(interaction_id).bind(browser.as_bytes()).bind(kind).bind(now.0).fetch_optional(c)
    })
}

/// How many there are that have not expired, at most `most`.
pub(crate) async fn count(db: &Db, now: UnixSeconds, most: i64) -> Result<i64, DbFault> {
    on!(db, c => sqlx::query_scalar(COUNT).bind(now.0).bind(most).fetch_one(c))
}

/// Opens an interaction until `expires_at`.
pub(crate) async fn open(
    db: &Db,
    row: &InteractionRow,
    browser: &SecretHash,
    expires_at: UnixSeconds,
) -> Result<(), DbFault> {
    db.write(async |tx| {
        on!(tx tx, c => async {
            let insert = sqlx::query(INSERT)
                .bind(&row.interaction_id)
                .bind(browser.as_bytes())
                .bind(&row.kind)
                .bind(&row.content)
                .bind(row.started_at)
                .bind(expires_at.0);
            insert.execute(c).await.map(|_| ())
        })?;
        on!(tx tx, c => async {
            // Never this one: of those of one second, nobody knows which is the oldest.
            let others = sqlx::query(MAKE_ROOM).bind(browser.as_bytes()).bind(PER_BROWSER - 1).bind(&row.interaction_id);
            others.execute(c).await.map(|_| ())
        })
    })
    .await
}

/// Replaces the content of an open interaction.
pub(crate) async fn rewrite(
    db: &Db,
    interaction_id: &str,
    browser: &SecretHash,
    content: &str,
) -> Result<bool, DbFault> {
    on!(db, c => async {
        let update = sqlx::query(REWRITE).bind(interaction_id).bind(browser.as_bytes()).bind(content);
        update.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// Replaces the content `before` of an open interaction by `after`: `true` for one of those who read `before`.
pub(crate) async fn swap(
    tx: &mut Tx,
    interaction_id: &str,
    browser: &SecretHash,
    (before, after): (&str, &str),
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(SWAP)
            .bind(interaction_id)
            .bind(browser.as_bytes())
            .bind(before)
            .bind(after)
            .bind(now.0);
        update.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// Ends an interaction: `true` for exactly one caller.
pub(crate) async fn finish(
    tx: &mut Tx,
    interaction_id: &str,
    browser: &SecretHash,
    now: UnixSeconds,
) -> Result<bool, DbFault> {
    on!(tx tx, c => async {
        let update = sqlx::query(FINISH).bind(interaction_id).bind(browser.as_bytes()).bind(now.0);
        update.execute(c).await.map(|done| done.rows_affected() > 0)
    })
}

/// Whether an interaction of this browser is finished; `None` when it has no such one.
pub(crate) async fn state(
    db: &Db,
    interaction_id: &str,
    browser: &SecretHash,
) -> Result<Option<bool>, DbFault> {
    let finished: Option<Option<i64>> = on!(db, c => {
        sqlx::query_scalar(STATE).bind(interaction_id).bind(browser.as_bytes()).fetch_optional(c)
    })?;
    Ok(finished.map(|at| at.is_some()))
}

/// Drops what expired before `before`.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    delete_in_batches(db, FORGET, before).await
}

/// So many times a thousand interactions of one browser that nobody knows, for tests of what happens then.
#[cfg(test)]
pub(crate) async fn fill(db: &Db, thousands: i64, expires_at: UnixSeconds) -> Result<(), DbFault> {
    const FILL: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
         INSERT INTO interaction (interaction_id, browser_hash, kind, content, started_at, expires_at) \
         SELECT $1 || i, $2, 'device', '{}', 0, $3 FROM n";
    for _ in 0..thousands {
        let name = format!("{:?} ", shared::secret::random_bytes::<8>());
        on!(db, c => async {
            let fill = sqlx::query(FILL).bind(&name).bind(name.as_bytes()).bind(expires_at.0);
            fill.execute(c).await.map(|_| ())
        })?;
    }
    Ok(())
}
