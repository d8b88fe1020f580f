//! Programs of two releases on one database.

use sqlx::{Connection, PgConnection};

use super::*;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// What a newer program leaves where it has migrated.
async fn record(db: &Db, number: i64, name: &str) {
    let row = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES ({number}, '{name}', TRUE, '', 0)"
    );
    run(db, &row).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_serves_on_a_newer_database_until_that_lacks_what_it_needs() {
    let places = Places::new();
    for url in places.urls() {
        let running = open(&url, "https://as.example").await.unwrap();
        record(&running, 9001, "add something").await;
        running.check_newer_migrations().await.unwrap();
        running.migrate(&url).await.unwrap();
        open(&url, "https://as.example").await.unwrap();
        let status = running.migration_status().await.unwrap();
        let newest = status.last().unwrap();
        assert!(newest.applied && !newest.known && newest.version == 9001);
        assert!(status.iter().all(|one| one.applied));

        record(&running, 9002, "needs 99.0.0 forget something").await;
        let fault = running.check_newer_migrations().await.unwrap_err();
        assert!(matches!(fault, NotReady::Newer(_)), "{fault}");
        let sentence = open(&url, "https://as.example").await.unwrap_err().to_string();
        for part in ["9002", "99.0.0", env!("CARGO_PKG_VERSION")] {
            assert!(sentence.contains(part), "{sentence}");
        }
    }
}

/// Whoever came after a migration that waits for a table would wait as long as it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_gives_way_to_whoever_uses_its_tables() {
    const USE: &str = "LOCK TABLE client IN ROW EXCLUSIVE MODE";
    let places = Places::new();
    let [_, url] = places.urls();
    let db = Db::connect(&url).await.unwrap();
    db.migrate_to(&url, 11).await.unwrap();
    let mut holder = PgConnection::connect(&url).await.unwrap();
    let mut request = PgConnection::connect(&url).await.unwrap();
    for statement in ["BEGIN", USE] {
        holder.execute(statement).await.unwrap();
    }
    let asking = async {
        const WAITS: &str =
            "SELECT COUNT(*) FROM pg_locks WHERE relation = 'client'::regclass AND NOT granted";
        let seen = async |connection: &mut PgConnection| {
            let waiting: i64 = sqlx::query_scalar(WAITS).fetch_one(connection).await.unwrap();
            waiting > 0
        };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !seen(&mut request).await {
            assert!(
                tokio::time::Instant::now() < deadline,
                "the migration waits for nobody"
            );
        }
        for statement in ["SET lock_timeout = '60s'", "BEGIN", USE, "ROLLBACK"] {
            request.execute(statement).await.unwrap();
        }
        holder.execute("ROLLBACK").await.unwrap();
    };
    let (migrated, ()) = tokio::join!(db.migrate(&url), asking);
    migrated.unwrap();
    assert!(db.migration_status().await.unwrap().iter().all(|one| one.applied));
}
