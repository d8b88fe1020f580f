//! Table `tally`: how often something happened in a minute, of all instances together.

use shared::clock::UnixSeconds;

use super::{Db, DbFault, on};

const ADD: &str = "INSERT INTO tally (minute, kind, name, count) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (minute, kind, name) DO UPDATE SET count = tally.count + EXCLUDED.count";
const SINCE: &str =
    "SELECT minute, kind, name, count FROM tally WHERE minute >= $1 ORDER BY minute, kind, name";
const FORGET: &str = "DELETE FROM tally WHERE minute < $1";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[ADD, SINCE, FORGET];

/// How often something happened in a minute.
#[derive(Clone, PartialEq, Eq, Debug, sqlx::FromRow)]
pub(crate) struct TallyRow {
    /// Unix seconds of its beginning.
    pub(crate) minute: i64,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) count: i64,
}

/// Adds to what is there. Rows come in the order of their keys: of two instances that add at once none waits for the
/// other while the other waits for it.
pub(crate) async fn add(db: &Db, rows: &[TallyRow]) -> Result<(), DbFault> {
    db.write(async |tx| {
        for row in rows {
            on!(tx tx, c => async {
                let add = sqlx::query(ADD).bind(row.minute).bind(&row.kind).bind(&row.name).bind(row.count);
                add.execute(c).await.map(|_| ())
            })?;
        }
        Ok(())
    })
    .await
}

/// Every row of the minutes from `from` on, the oldest first.
pub(crate) async fn since(db: &Db, from: UnixSeconds) -> Result<Vec<TallyRow>, DbFault> {
    on!(db, c => sqlx::query_as(SINCE).bind(from.0).fetch_all(c))
}

/// Drops what is from before `before`.
pub(crate) async fn forget(db: &Db, before: UnixSeconds) -> Result<(), DbFault> {
    on!(write db, c => async { sqlx::query(FORGET).bind(before.0).execute(c).await.map(|_| ()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::tests::{NOW, Places};

    #[tokio::test(flavor = "multi_thread")]
    async fn what_instances_add_is_one_sum_and_goes_with_its_time() {
        let places = Places::new();
        for url in places.urls() {
            let db = Db::open(&url, &"https://as.example".parse().unwrap(), NOW)
                .await
                .unwrap();
            let row = |minute: i64, name: &str, count: i64| TallyRow {
                minute,
                kind: "issued".to_owned(),
                name: name.to_owned(),
                count,
            };
            add(&db, &[row(60, "a", 1), row(60, "b", 2)]).await.unwrap();
            add(&db, &[row(60, "b", 3), row(120, "a", 4)]).await.unwrap();
            let all = [row(60, "a", 1), row(60, "b", 5), row(120, "a", 4)];
            assert_eq!(since(&db, UnixSeconds(0)).await.unwrap(), all, "{url}");
            assert_eq!(since(&db, UnixSeconds(61)).await.unwrap(), all[2..]);
            forget(&db, UnixSeconds(120)).await.unwrap();
            assert_eq!(since(&db, UnixSeconds(0)).await.unwrap(), all[2..]);
        }
    }
}
