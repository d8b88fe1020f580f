//! The statements and transactions, on both databases.

use shared::clock::UnixSeconds;
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};
use xtask::postgres::{Cluster, Durability};

use super::*;

pub(crate) const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

/// An empty place of each kind; it lasts as long as this value.
pub(crate) struct Places {
    pub(crate) folder: tempfile::TempDir,
    cluster: Cluster,
}

impl Places {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            cluster: Cluster::start(Durability::None, None).unwrap(),
        }
    }

    pub(crate) fn urls(&self) -> [String; 2] {
        let file = format!("sqlite:{}/test.db", self.folder.path().display());
        [file, self.cluster.create_database().unwrap()]
    }
}

/// A person, as bare as can be.
pub(crate) async fn add_user(db: &Db, user_id: &str) {
    const ADD: &str = "INSERT INTO user_account (user_id, username, display_name, is_admin, created_at) \
         VALUES ($1, $1, $1, FALSE, 0)";
    on!(db, c => async { sqlx::query(ADD).bind(user_id).execute(c).await.map(|_| ()) }).unwrap();
}

/// Disables a person, and nothing else that should come with it.
pub(crate) async fn disable_user(db: &Db, user_id: &str) {
    const DISABLE: &str = "UPDATE user_account SET disabled_at = 1 WHERE user_id = $1";
    on!(db, c => async { sqlx::query(DISABLE).bind(user_id).execute(c).await.map(|_| ()) }).unwrap();
}

async fn open(url: &str, issuer: &str) -> Result<Db, OpenFault> {
    Db::open(url, &issuer.parse().unwrap(), NOW).await
}

async fn prepare(db: &Db, statement: &'static str) -> Result<(), sqlx::Error> {
    let text = AssertSqlSafe(statement).into_sql_str();
    match db {
        Db::Pg(home) => home.pool.prepare(text).await.map(|_| ()),
        Db::Lite(lite) => lite.pool().prepare(text).await.map(|_| ()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_is_understood_by_both_databases() {
    let places = Places::new();
    for url in places.urls() {
        let db = open(&url, "https://as.example").await.unwrap();
        for statement in statements() {
            prepare(&db, statement)
                .await
                .map_err(|e| format!("{url}: {statement}: {e}"))
                .unwrap();
        }
        assert!(prepare(&db, "SELECT nothing FROM nowhere").await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_belongs_to_one_issuer() {
    let places = Places::new();
    for url in places.urls() {
        open(&url, "https://as.example").await.unwrap();
        open(&url, "https://as.example").await.unwrap();
        let sentence = open(&url, "https://other.example").await.unwrap_err().to_string();
        assert!(
            sentence.contains("https://as.example") && sentence.contains("database.url"),
            "{sentence}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_transaction_changes_nothing() {
    let places = Places::new();
    for url in places.urls() {
        let db = open(&url, "https://as.example").await.unwrap();
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
}

/// As when the disk is full: SQLite ends the transaction by itself. The connection must not be the worse for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_the_database_ended_spoils_no_connection() {
    let places = Places::new();
    for url in places.urls() {
        let db = open(&url, "https://as.example").await.unwrap();
        for _ in 0..12 {
            let failed = db
                .write(async |tx| {
                    on!(tx tx, c => async { sqlx::query("ROLLBACK").execute(c).await.map(|_| ()) })?;
                    Err::<(), _>(DbFault::Unavailable("database or disk is full".to_owned()))
                })
                .await;
            assert!(failed.is_err());
        }
        assert_eq!(change::head(&db).await.unwrap(), 0);
        db.write(async |tx| change::take_turn(tx).await).await.unwrap();
        assert_eq!(change::head(&db).await.unwrap(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_change_different_columns_undo_nothing_of_each_other() {
    let places = Places::new();
    for url in places.urls() {
        let db = open(&url, "https://as.example").await.unwrap();
        let row = client::ClientRow {
            client_id: "c_x".to_owned(),
            name: "old".to_owned(),
            client_type: "service".to_owned(),
            auth_methods: "client_secret_basic".to_owned(),
            grants: "client_credentials".to_owned(),
            scopes: "a b".to_owned(),
            resources: "[]".to_owned(),
            created_at: NOW.0,
            tokens_not_before: 0,
            revoked_at: None,
            redirect_uris: "[]".to_owned(),
            approves_as: None,
        };
        client::insert(&db, &row, None).await.unwrap();
        for round in 0..20 {
            let name = format!("name {round}");
            let scopes = format!("a{round}");
            let renamed = client::update(&db, "c_x", NOW, |row| row.name.clone_from(&name));
            let narrowed = client::update(&db, "c_x", NOW, |row| row.scopes.clone_from(&scopes));
            let (renamed, narrowed) = tokio::join!(renamed, narrowed);
            assert!(renamed.unwrap() && narrowed.unwrap());
            let row = client::find(&db, "c_x").await.unwrap().unwrap();
            assert_eq!((row.name, row.scopes), (name, scopes));
        }
        assert!(!client::update(&db, "c_y", NOW, |_| ()).await.unwrap());
    }
}

/// A command line that holds SQLite's lock makes writers wait, and give up in time; readers never notice.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_writers_leave_readers_alone() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/test.db", folder.path().display());
    let (db, other) = (
        open(&url, "https://as.example").await.unwrap(),
        open(&url, "https://as.example").await.unwrap(),
    );
    let held = other.begin().await.unwrap();
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move { db.write(async |tx| change::take_turn(tx).await).await })
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(change::head(&db).await.unwrap(), 0);
    }
    for writer in writers {
        assert!(matches!(writer.await.unwrap(), Err(DbFault::Unavailable(_))));
    }
    drop(held);
    db.write(async |tx| change::take_turn(tx).await).await.unwrap();
    assert_eq!(change::head(&db).await.unwrap(), 1);
}
