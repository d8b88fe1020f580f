//! Which tables there are and what their columns hold: for backups, which carry rows without knowing what they mean.

use serde::{Deserialize, Serialize};

use super::{DbFault, Tx, on};

/// Every table, in the order in which they can be filled: what rows refer to comes first. A test holds it against the
/// databases.
pub(crate) const TABLES: [&str; 38] = [
    "deployment",
    "change_head",
    "change",
    "client",
    "client_secret",
    "client_document",
    "registration",
    "initial_access_token",
    "resource",
    "signing_key",
    "user_account",
    "recovery_code",
    "passkey",
    "federated_identity",
    "one_time_link",
    "session",
    "interaction",
    "pushed_request",
    "access_grant",
    "authorization_code",
    "device_authorization",
    "token_family",
    "refresh_token",
    "revoked_token",
    "used_proof",
    "node_invite",
    "node",
    "node_contact",
    "approval",
    "status_list",
    "status_block",
    "status_heir",
    "status_revoked",
    "audit_head",
    "audit_event",
    "alert",
    "admin_request",
    "tally",
];
/// Tables that have a row before anything has happened, which is of no account.
pub(super) const SEEDED: [&str; 3] = ["deployment", "change_head", "audit_head"];
/// That of the migrations, which a backup names and does not carry.
const OF_MIGRATIONS: &str = "_sqlx_migrations";

// The two catalogs have nothing in common.
const TABLES_OF_POSTGRES: &str = "SELECT CAST(table_name AS TEXT) FROM information_schema.tables \
     WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' ORDER BY 1";
const TABLES_OF_SQLITE: &str =
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY 1";
const COLUMNS_OF_POSTGRES: &str = "SELECT CAST(column_name AS TEXT), CAST(data_type AS TEXT) FROM information_schema.columns \
     WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position";
const COLUMNS_OF_SQLITE: &str = "SELECT name, type FROM pragma_table_info($1) ORDER BY cid";
const MIGRATIONS: &str = "SELECT version FROM _sqlx_migrations ORDER BY version";

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Text,
    Bigint,
    Bytes,
    Boolean,
}

/// One column: its name and kind.
pub(crate) type Column = (String, Kind);

/// The tables that are there, those of migrations left out.
pub(crate) async fn tables(tx: &mut Tx) -> Result<Vec<String>, DbFault> {
    let statement = of(tx, TABLES_OF_POSTGRES, TABLES_OF_SQLITE);
    let mut names: Vec<String> = on!(tx tx, c => sqlx::query_scalar(statement).fetch_all(c))?;
    names.retain(|name| name != OF_MIGRATIONS);
    Ok(names)
}

/// Those of [`TABLES`] that are there, in their order.
pub(crate) async fn present(tx: &mut Tx) -> Result<Vec<&'static str>, DbFault> {
    let names = tables(tx).await?;
    let is_there = |table: &&str| names.iter().any(|name| name == table);
    Ok(TABLES.into_iter().filter(is_there).collect())
}

/// The columns of a table.
pub(crate) async fn columns(tx: &mut Tx, table: &str) -> Result<Vec<Column>, DbFault> {
    let statement = of(tx, COLUMNS_OF_POSTGRES, COLUMNS_OF_SQLITE);
    let columns: Vec<(String, String)> = on!(tx tx, c => sqlx::query_as(statement).bind(table).fetch_all(c))?;
    let columns = columns.into_iter().map(|(name, kind)| {
        let kind = match kind.to_ascii_lowercase().as_str() {
            "text" => Kind::Text,
            "bigint" => Kind::Bigint,
            "bytea" => Kind::Bytes,
            "boolean" => Kind::Boolean,
            other => {
                let reason = format!("the column {table}.{name} is of the type {other}");
                return Err(DbFault::Unexpected(reason));
            }
        };
        Ok((name, kind))
    });
    columns.collect()
}

/// The migrations that were applied; call it where there is their table.
pub(crate) async fn migrations(tx: &mut Tx) -> Result<Vec<i64>, DbFault> {
    on!(tx tx, c => sqlx::query_scalar(MIGRATIONS).fetch_all(c))
}

fn of(tx: &Tx, postgres: &'static str, sqlite: &'static str) -> &'static str {
    match tx {
        Tx::Pg(..) => postgres,
        Tx::Lite(..) => sqlite,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Db;
    use crate::db::tests::{NOW, Places};

    /// A table that is added is in backups from then on, and its columns too.
    #[tokio::test(flavor = "multi_thread")]
    async fn every_table_is_known_and_both_databases_have_the_same() {
        let places = Places::new();
        let mut all = Vec::new();
        for url in places.urls() {
            let db = Db::open(&url, &"https://as.example".parse().unwrap(), NOW)
                .await
                .unwrap();
            let mut tx = db.snapshot().await.unwrap();
            let known = present(&mut tx).await.unwrap();
            for table in tables(&mut tx).await.unwrap() {
                assert!(known.contains(&table.as_str()), "{table} is not in TABLES");
            }
            assert!(!migrations(&mut tx).await.unwrap().is_empty());
            let mut of_each = Vec::new();
            for table in known {
                let mut columns = columns(&mut tx, table).await.unwrap();
                assert!(!columns.is_empty(), "{table}");
                columns.sort_by(|one, other| one.0.cmp(&other.0));
                of_each.push((table, columns));
            }
            all.push(of_each);
        }
        assert_eq!(all[0], all[1]);
    }
}
