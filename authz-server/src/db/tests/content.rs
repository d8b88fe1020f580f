//! What is in a database, and statements that fail in it.

use sqlx::{AssertSqlSafe, Executor, Row};

use crate::db::Db;
use crate::db::point::Points;

const POSTGRES_TABLES: &str = "SELECT table_name::text FROM information_schema.tables \
     WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx%' \
     AND table_name NOT IN ('status_list', 'status_block') ORDER BY table_name";
const SQLITE_TABLES: &str = "SELECT name FROM sqlite_master \
     WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\' \
     AND name NOT IN ('status_list', 'status_block') ORDER BY name";

impl Db {
    /// Where statements on this pool fail.
    pub(crate) fn points(&self) -> &Points {
        match self {
            Self::Pg(home) => &home.shelf.points,
            Self::Lite(lite) => &lite.shelf.points,
        }
    }

    /// Every row of every table, in an order of its own; but for the places in status lists that were leased: those that
    /// nothing came of are lost, and mean nothing (docs/decisions/0013).
    pub(crate) async fn content(&self) -> String {
        match self {
            Self::Pg(home) => {
                let pool = &home.pool;
                let mut content = String::new();
                for table in pool.fetch_all(POSTGRES_TABLES).await.unwrap() {
                    let table: String = table.get(0);
                    let rows = format!(
                        "SELECT coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '') FROM \"{table}\" t"
                    );
                    let rows = pool.fetch_one(AssertSqlSafe(rows)).await.unwrap();
                    content += &format!("{table}:\n{}\n", rows.get::<String, _>(0));
                }
                content
            }
            Self::Lite(lite) => {
                let pool = lite.pool();
                let mut content = String::new();
                for table in pool.fetch_all(SQLITE_TABLES).await.unwrap() {
                    let table: String = table.get(0);
                    let columns = format!(
                        "SELECT group_concat('quote(\"' || name || '\")', '||'',''||') \
                         FROM pragma_table_info('{table}')"
                    );
                    let columns: String = pool.fetch_one(AssertSqlSafe(columns)).await.unwrap().get(0);
                    let rows = format!("SELECT {columns} AS row FROM \"{table}\" ORDER BY row");
                    let rows = pool.fetch_all(AssertSqlSafe(rows)).await.unwrap();
                    let rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
                    content += &format!("{table}:\n{}\n", rows.join("\n"));
                }
                content
            }
        }
    }
}
