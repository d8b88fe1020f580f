//! Whole tables, row by row, whatever is in them: how backups read and write.
//!
//! The statements are put together of names that the catalog or this program gives; nothing in them comes from elsewhere.

use std::fmt::Write;

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Row};

use super::catalog::{self, Column, Kind, SEEDED};
use super::{Db, DbFault, Tx, on};

/// Parameters of one statement: SQLite takes 32 766.
const PARAMETERS: usize = 30_000;
/// Rows of one statement at most.
const ROWS: usize = 500;

/// One value of a row; `None` is NULL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Cell {
    Text(Option<String>),
    Bigint(Option<i64>),
    Bytes(Option<Vec<u8>>),
    Boolean(Option<bool>),
}

macro_rules! cell {
    ($row:expr, $at:expr, $kind:expr) => {
        match $kind {
            Kind::Text => $row.try_get($at).map(Cell::Text),
            Kind::Bigint => $row.try_get($at).map(Cell::Bigint),
            Kind::Bytes => $row.try_get($at).map(Cell::Bytes),
            Kind::Boolean => $row.try_get($at).map(Cell::Boolean),
        }
    };
}

impl Db {
    /// The database as it is at one moment, for as long as it is read. Nobody waits for it, and nothing can be written in it.
    pub(crate) async fn snapshot(&self) -> Result<Tx, DbFault> {
        match self {
            Self::Pg(home) => {
                let mut lease = home.lend().await?;
                lease
                    .run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    .await?;
                let mut tx = Tx::Pg(lease, super::Pending::default());
                take_time(&mut tx).await?;
                Ok(tx)
            }
            Self::Lite(lite) => {
                // The turn is that of this process alone: a server beside it goes on writing.
                let turn = lite.turn_to_write().await?;
                let mut lease = lite.lend().await?;
                lease.run("BEGIN").await?;
                Ok(Tx::Lite(lease, turn, super::Pending::default()))
            }
        }
    }
}

/// Lets a transaction take longer than one of a request may: a large table is read and written for minutes, and to derive
/// the key of a backup takes a slow machine seconds.
pub(crate) async fn take_time(tx: &mut Tx) -> Result<(), DbFault> {
    if let Tx::Pg(lease, _) = tx {
        lease.run("SET LOCAL statement_timeout = 0").await?;
        lease
            .run("SET LOCAL idle_in_transaction_session_timeout = 0")
            .await?;
    }
    Ok(())
}

/// Gives every row of a table to `take`, in no order.
pub(crate) async fn read<E: From<DbFault>>(
    tx: &mut Tx,
    table: &str,
    columns: &[Column],
    mut take: impl FnMut(Vec<Cell>) -> Result<(), E>,
) -> Result<(), E> {
    let text = format!("SELECT {} FROM {table}", names(columns));
    macro_rules! each {
        ($lease:expr) => {{
            let mut rows = sqlx::query(AssertSqlSafe(text)).fetch($lease.connection());
            while let Some(row) = rows.try_next().await.map_err(DbFault::from)? {
                let cells = columns
                    .iter()
                    .enumerate()
                    .map(|(at, (_, kind))| cell!(row, at, kind));
                let cells: Result<Vec<_>, sqlx::Error> = cells.collect();
                take(cells.map_err(DbFault::from)?)?;
            }
        }};
    }
    match tx {
        Tx::Pg(lease, _) => each!(lease),
        Tx::Lite(lease, ..) => each!(lease),
    }
    Ok(())
}

/// How many rows of so many columns go into one [`write`].
pub(crate) fn rows_at_once(columns: usize) -> usize {
    (PARAMETERS / columns.max(1)).clamp(1, ROWS)
}

/// Adds rows to a table, [`rows_at_once`] at most.
pub(crate) async fn write(
    tx: &mut Tx,
    table: &str,
    columns: &[Column],
    rows: &[Vec<Cell>],
) -> Result<(), DbFault> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut text = format!("INSERT INTO {table} ({}) VALUES ", names(columns));
    for row in 0..rows.len() {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns.len() {
            let comma = if column == 0 { "" } else { ", " };
            // Writing to a String does not fail.
            write!(text, "{comma}${}", row * columns.len() + column + 1).ok();
        }
        text.push(')');
    }
    on!(tx tx, c => async {
        let mut insert = sqlx::query(AssertSqlSafe(text.as_str()));
        for cell in rows.iter().flatten() {
            insert = match cell {
                Cell::Text(text) => insert.bind(text.as_deref()),
                Cell::Bigint(number) => insert.bind(*number),
                Cell::Bytes(bytes) => insert.bind(bytes.as_deref()),
                Cell::Boolean(truth) => insert.bind(*truth),
            };
        }
        insert.execute(c).await.map(|_| ())
    })
}

/// A table that has something, if there is one; what each database has from the beginning does not count.
pub(crate) async fn filled(tx: &mut Tx) -> Result<Option<&'static str>, DbFault> {
    for table in catalog::present(tx).await? {
        if !SEEDED.contains(&table) && count(tx, table).await? > 0 {
            return Ok(Some(table));
        }
    }
    Ok(None)
}

/// Removes what each database has from the beginning.
pub(crate) async fn clear(tx: &mut Tx) -> Result<(), DbFault> {
    for table in SEEDED {
        let text = format!("DELETE FROM {table}");
        on!(tx tx, c => async { sqlx::query(AssertSqlSafe(text.as_str())).execute(c).await.map(|_| ()) })?;
    }
    Ok(())
}

/// How many rows a table has.
pub(crate) async fn count(tx: &mut Tx, table: &str) -> Result<i64, DbFault> {
    let text = format!("SELECT COUNT(*) FROM {table}");
    on!(tx tx, c => sqlx::query_scalar(AssertSqlSafe(text.as_str())).fetch_one(c))
}

fn names(columns: &[Column]) -> String {
    let names: Vec<_> = columns.iter().map(|(name, _)| name.as_str()).collect();
    names.join(", ")
}
