//! Every statement is prepared on a real SQLite file here; the black-box suite does the same on Postgres by running.

use shared::clock::UnixSeconds;
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};

use super::*;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

async fn database(folder: &tempfile::TempDir) -> Db {
    let issuer = "https://as.example".parse().unwrap();
    Db::open(
        &format!("sqlite:{}/test.db", folder.path().display()),
        &issuer,
        NOW,
    )
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let Db::Lite(pool) = database(&folder).await else {
        unreachable!()
    };
    for statement in statements() {
        if let Err(e) = pool
            .prepare(AssertSqlSafe(statement.to_owned()).into_sql_str())
            .await
        {
            panic!("{statement}: {e}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_belongs_to_one_issuer() {
    let folder = tempfile::tempdir().unwrap();
    database(&folder).await;
    database(&folder).await;
    let other = "https://other.example".parse().unwrap();
    let refused = Db::open(
        &format!("sqlite:{}/test.db", folder.path().display()),
        &other,
        NOW,
    )
    .await;
    let sentence = refused.unwrap_err().to_string();
    assert!(
        sentence.contains("https://as.example") && sentence.contains("database.url"),
        "{sentence}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_transaction_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(&folder).await;
    let failed: Result<(), _> = db
        .write(async |tx| {
            change::take_turn(tx).await?;
            Err(DbFault::Unexpected("on purpose".to_owned()))
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(change::head(&db).await.unwrap(), 0);
    db.write(async |tx| change::take_turn(tx).await).await.unwrap();
    assert_eq!(change::head(&db).await.unwrap(), 1);
}
