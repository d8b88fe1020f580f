//! Opening the database: pools, and the proof that the data belongs to our issuer.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use shared::clock::UnixSeconds;
use shared::uri::Issuer;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::migrate::NeedsNewer;
use super::{Db, DbFault, HomePool, LitePool, deployment};

/// Waiting for a connection, or for SQLite's writer. Longer waits only pile requests up.
pub(super) const WAIT: Duration = Duration::from_secs(2);

/// The database cannot be used. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenFault {
    /// The address is no `sqlite:` or `postgres:` URL.
    #[error("database.url must be postgres://… or sqlite: and the path of a file, with nothing behind it")]
    Url,
    /// No connection.
    #[error("cannot open the database: {0}; check database.url and that the database runs")]
    Connect(String),
    /// A migration failed.
    #[error("cannot bring the database up to date: {0}")]
    Migrate(String),
    /// A newer release removed what this one needs.
    #[error(transparent)]
    Newer(#[from] NeedsNewer),
    /// The data belongs to another issuer, and every client of it would refuse ours.
    #[error(
        "this database belongs to the issuer {stored}, but server.issuer is {configured}; \
         set server.issuer back, or give this server a database of its own (database.url)"
    )]
    OtherIssuer {
        /// The issuer in the database.
        stored: String,
        /// The issuer in the configuration.
        configured: String,
    },
    /// See [`DbFault`].
    #[error(transparent)]
    Db(#[from] DbFault),
}

impl Db {
    /// Connects, migrates, and makes sure that the data is `issuer`'s.
    pub(crate) async fn open(url: &str, issuer: &Issuer, now: UnixSeconds) -> Result<Self, OpenFault> {
        let db = Self::connect(url).await?;
        db.migrate(url).await?;
        db.check_newer_migrations().await?;
        let stored = deployment::claim(&db, issuer, now).await?;
        if stored != issuer.as_str() {
            return Err(OpenFault::OtherIssuer {
                stored,
                configured: issuer.as_str().to_owned(),
            });
        }
        Ok(db)
    }

    /// Connects and changes nothing.
    pub(crate) async fn connect(url: &str) -> Result<Self, OpenFault> {
        let failed = |e: sqlx::Error| OpenFault::Connect(e.to_string());
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options = PgConnectOptions::from_str(url)
                .map_err(failed)?
                // An instance that is lost in mid-transaction holds the lock that every write takes (`change_head`).
                .options([
                    ("statement_timeout", "5000"),
                    ("idle_in_transaction_session_timeout", "5000"),
                    // Whoever waited for a lock must see what its holder wrote: a code is redeemed under its grant
                    // ([`super::redemption`]). An operator's default for the database must not change that.
                    ("default_transaction_isolation", "read committed"),
                ]);
            let pool = PgPoolOptions::new()
                .max_connections(10)
                .acquire_timeout(WAIT)
                .test_before_acquire(false);
            let pool = pool.connect_with(options).await.map_err(failed)?;
            return Ok(Self::Pg(HomePool::new(pool)));
        }
        let path = sqlite_path(url).ok_or(OpenFault::Url)?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|e| OpenFault::Connect(format!("{}: {e}", folder.display())))?;
        }
        create_private(&path).map_err(|e| OpenFault::Connect(format!("{}: {e}", path.display())))?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An acknowledged revocation must survive a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(WAIT);
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(WAIT)
            .test_before_acquire(false);
        // The first connection makes it a write-ahead log, for which SQLite waits for nobody.
        let _lock = lock_beside(path).await.map_err(OpenFault::Connect)?;
        let pool = pool.connect_with(options).await.map_err(failed)?;
        Ok(Self::Lite(LitePool::new(pool)))
    }
}

pub(super) fn sqlite_path(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    // sqlx reads more into such a URL. Here `:memory:` would be a database per connection, and `?` part of the name.
    (!path.is_empty() && !path.starts_with(':') && !path.contains('?')).then(|| PathBuf::from(path))
}

/// The file holds sealed keys and the hashes of secrets. SQLite gives its companion files the mode of this one.
fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;

    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    file.map(drop)
}

/// SQLite has no lock that spans several migrations; a file beside the database has. It is freed when closed.
pub(super) async fn lock_beside(database: PathBuf) -> Result<File, String> {
    let path = database.with_added_extension("lock");
    let place = path.display().to_string();
    let locked = tokio::task::spawn_blocking(move || {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        file.lock().map(|()| file)
    });
    let locked = locked.await.unwrap_or_else(|e| Err(std::io::Error::other(e)));
    locked.map_err(|e| format!("{place}: {e}"))
}
