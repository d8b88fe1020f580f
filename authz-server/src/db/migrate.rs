//! Migrations: applied under a lock, beside instances of the release before, which may go on and start again.
//!
//! A migration only adds what older programs can ignore, unless its name says which release is the oldest that may serve
//! after it: `0015_needs_0.3.0_forget_something.sql`. sqlx keeps the name with the number, so an older program can read it
//! where it finds a migration that it does not have.

use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::{Connection, PgConnection, PgPool, SqliteConnection};
use tokio::time::Instant;

use super::connect::{lock_beside, sqlite_path};
use super::{Db, DbFault, OpenFault, on};

/// Those of this program.
pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

const HAS_LIST_ON_POSTGRES: &str = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
const HAS_LIST_ON_SQLITE: &str =
    "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = '_sqlx_migrations')";
const APPLIED: &str = "SELECT version, description FROM _sqlx_migrations ORDER BY version";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[APPLIED];

/// What servers that serve meanwhile hold is waited for so long at a time: whoever comes after a migration that waits for a
/// table waits with it. On SQLite it is only a place in a queue.
const TURN: &str = "SET lock_timeout = '1s'";
const TURN_ON_SQLITE: Duration = Duration::from_secs(30);
/// Between two turns.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a migration is tried: backups hold tables for minutes, and so do other migrations.
const PATIENCE: Duration = Duration::from_secs(300);

/// Postgres did not get a lock in time, found a deadlock, or could not serialize: the migration has not happened.
const COLLIDED: [&str; 3] = ["55P03", "40P01", "40001"];

/// This program is too old for what newer ones made of the database.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NeedsNewer {
    /// It lacks what this program uses.
    #[error(
        "the database was migrated further than this version of authz-server can follow: its migration {migration} \
         needs {oldest} or newer, and this is {ours}; start the newer one"
    )]
    Contracted {
        /// The number of the migration.
        migration: i64,
        /// The oldest release that may serve, as its name says.
        oldest: String,
        /// This one.
        ours: &'static str,
    },
    /// One that lies between those of this program, or has come without one of them, which no release does.
    #[error(
        "the database has the migration {0}, which is of another authz-server than this one; give each a database of \
         its own (database.url)"
    )]
    Foreign(i64),
}

/// Why a server cannot serve now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotReady {
    /// See [`NeedsNewer`].
    #[error(transparent)]
    Newer(#[from] NeedsNewer),
    /// See [`DbFault`].
    #[error(transparent)]
    Db(#[from] DbFault),
}

impl From<NotReady> for OpenFault {
    fn from(fault: NotReady) -> Self {
        match fault {
            NotReady::Newer(fault) => Self::Newer(fault),
            NotReady::Db(fault) => Self::Db(fault),
        }
    }
}

/// One migration and whether it has been applied.
#[derive(Debug, serde::Serialize)]
pub(crate) struct MigrationStatus {
    /// Its number.
    pub(crate) version: i64,
    /// What it is for.
    pub(crate) description: String,
    /// Whether the database has it.
    pub(crate) applied: bool,
    /// Whether this program has it.
    pub(crate) known: bool,
}

impl Db {
    /// Applies what is missing, one server at a time. What newer programs applied is left alone; where they took what this
    /// one needs, or another authz-server has been, nothing is applied.
    pub(crate) async fn migrate(&self, url: &str) -> Result<(), OpenFault> {
        self.migrate_to(url, i64::MAX).await
    }

    /// Applies what is missing up to the migration `newest`.
    pub(crate) async fn migrate_to(&self, url: &str, newest: i64) -> Result<(), OpenFault> {
        let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
        migrator.set_ignore_missing(true);
        if self.has_list_of_migrations().await.map_err(unavailable)? {
            self.check_newer_migrations().await?;
        }
        match self {
            Self::Pg(home) => {
                // sqlx takes an advisory lock on Postgres. CockroachDB has none, so there one migrates at a time
                // (docs/instances.md).
                migrator.set_locking(!is_cockroach(&home.pool).await?);
                Box::pin(on_postgres(&migrator, newest, &home.pool)).await
            }
            Self::Lite(lite) => {
                let path = sqlite_path(url).ok_or(OpenFault::Url)?;
                let _lock = lock_beside(path).await.map_err(OpenFault::Migrate)?;
                let options = lite.pool().connect_options();
                let options = options.as_ref().clone().busy_timeout(TURN_ON_SQLITE);
                let mut connection = SqliteConnection::connect_with(&options).await.map_err(failed)?;
                let done = Box::pin(migrator.run_to(newest, &mut connection)).await;
                connection.close().await.map_err(failed)?;
                done.map_err(failed)
            }
        }
    }

    /// Whether newer releases left what this one needs: read from the names of their migrations.
    pub(crate) async fn check_newer_migrations(&self) -> Result<(), NotReady> {
        let applied: Vec<(i64, String)> = on!(self, c => sqlx::query_as(APPLIED).fetch_all(c))?;
        judge(&applied, &known_migrations(), env!("CARGO_PKG_VERSION"))?;
        Ok(())
    }

    /// Whether anything was migrated. The list is made under sqlx's lock: of two who make it at once, Postgres fails one.
    async fn has_list_of_migrations(&self) -> Result<bool, sqlx::Error> {
        match self {
            Self::Pg(home) => {
                sqlx::query_scalar(HAS_LIST_ON_POSTGRES)
                    .fetch_one(&home.pool)
                    .await
            }
            Self::Lite(lite) => {
                sqlx::query_scalar(HAS_LIST_ON_SQLITE)
                    .fetch_one(lite.pool())
                    .await
            }
        }
    }

    async fn ensure_migrations_table(&self) -> Result<(), OpenFault> {
        let table = MIGRATIONS.table_name.as_ref();
        match self {
            Self::Pg(pool) => {
                let mut connection = pool.acquire().await.map_err(unavailable)?;
                connection.ensure_migrations_table(table).await.map_err(failed)?;
            }
            Self::Lite(lite) => {
                let mut connection = lite.pool().acquire().await.map_err(unavailable)?;
                connection.ensure_migrations_table(table).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Every migration of this program, and those of newer ones, and whether it has been applied.
    pub(crate) async fn migration_status(&self) -> Result<Vec<MigrationStatus>, OpenFault> {
        self.ensure_migrations_table().await?;
        let applied: Vec<(i64, String)> = on!(self, c => sqlx::query_as(APPLIED).fetch_all(c))?;
        let mut all: Vec<MigrationStatus> = MIGRATIONS
            .iter()
            .map(|migration| MigrationStatus {
                version: migration.version,
                description: migration.description.to_string(),
                applied: applied.iter().any(|(version, _)| *version == migration.version),
                known: true,
            })
            .collect();
        let newer = applied
            .into_iter()
            .filter(|(version, _)| !MIGRATIONS.version_exists(*version));
        all.extend(newer.map(|(version, description)| MigrationStatus {
            version,
            description,
            applied: true,
            known: false,
        }));
        all.sort_by_key(|migration| migration.version);
        Ok(all)
    }
}

/// The numbers of the migrations of this program, oldest first.
pub(crate) fn known_migrations() -> Vec<i64> {
    MIGRATIONS.iter().map(|migration| migration.version).collect()
}

/// Servers of the release before go on meanwhile. So a migration waits for a table for a moment only, gives way, and tries
/// again; and it takes what time it takes once it has begun, which statements of requests may not.
async fn on_postgres(migrator: &Migrator, newest: i64, pool: &PgPool) -> Result<(), OpenFault> {
    let began = Instant::now();
    loop {
        // One of its own, which goes with whatever locks it has left.
        let mut connection = PgConnection::connect_with(pool.connect_options().as_ref())
            .await
            .map_err(failed)?;
        for setting in ["SET statement_timeout = 0", TURN] {
            sqlx::query(setting)
                .execute(&mut connection)
                .await
                .map_err(failed)?;
        }
        let done = migrator.run_to(newest, &mut connection).await;
        // It may be gone already.
        connection.close().await.ok();
        match done {
            Err(fault) if has_collided(&fault) && began.elapsed() < PATIENCE => {
                tracing::info!(reason = %fault, "the migration waits for others");
                tokio::time::sleep(PAUSE).await;
            }
            done => return done.map_err(failed),
        }
    }
}

fn has_collided(fault: &MigrateError) -> bool {
    let (MigrateError::Execute(fault) | MigrateError::ExecuteMigration(fault, _)) = fault else {
        return false;
    };
    let code = fault.as_database_error().and_then(|fault| fault.code());
    code.is_some_and(|code| COLLIDED.contains(&code.as_ref()))
}

fn failed(fault: impl std::fmt::Display) -> OpenFault {
    OpenFault::Migrate(fault.to_string())
}

fn unavailable(fault: sqlx::Error) -> OpenFault {
    OpenFault::Db(fault.into())
}

async fn is_cockroach(pool: &PgPool) -> Result<bool, DbFault> {
    let version: String = sqlx::query_scalar("SELECT version()").fetch_one(pool).await?;
    Ok(version.contains("CockroachDB"))
}

/// Whether a program of the release `ours`, which has the migrations `known`, may serve where `applied` have been.
fn judge(applied: &[(i64, String)], known: &[i64], ours: &'static str) -> Result<(), NeedsNewer> {
    let newest = known.last().copied().unwrap_or_default();
    for (migration, name) in applied {
        if known.contains(migration) {
            continue;
        }
        // A program that has some migration has those before it.
        let lacks_an_earlier = || {
            let is_applied = |one: &i64| applied.iter().any(|(number, _)| number == one);
            !known.iter().all(is_applied)
        };
        if *migration < newest || lacks_an_earlier() {
            return Err(NeedsNewer::Foreign(*migration));
        }
        let Some(oldest) = oldest_after(name) else {
            continue;
        };
        // What cannot be read is not taken for less than it says.
        let may_serve =
            release(oldest).is_some_and(|oldest| release(ours).is_some_and(|ours| ours >= oldest));
        if !may_serve {
            return Err(NeedsNewer::Contracted {
                migration: *migration,
                oldest: oldest.to_owned(),
                ours,
            });
        }
    }
    Ok(())
}

/// What the name of a migration says to be the oldest release that may serve after it; `None` if any may. sqlx writes
/// spaces for underscores.
pub(super) fn oldest_after(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("needs")?;
    let release = rest.split_whitespace().next().unwrap_or_default();
    Some(release)
}

/// The three numbers of a release; what stands behind them (`-rc.1`) does not count.
pub(super) fn release(text: &str) -> Option<[u64; 3]> {
    let numbers = text.split(['-', '+']).next()?;
    let numbers: Vec<u64> = numbers
        .split('.')
        .map(|number| number.parse().ok())
        .collect::<Option<_>>()?;
    numbers.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(applied: &[(i64, &str)], ours: &'static str) -> Result<(), String> {
        let applied: Vec<_> = applied
            .iter()
            .map(|(number, name)| (*number, (*name).to_owned()))
            .collect();
        judge(&applied, &[1, 2, 4], ours).map_err(|fault| fault.to_string())
    }

    #[test]
    fn an_older_program_serves_until_a_migration_says_that_it_cannot() {
        let own = [(1, "first"), (2, "second"), (4, "fourth")];
        let with = |newer: (i64, &'static str), ours| judged(&[&own[..], &[newer]].concat(), ours);
        for (newer, ours, may) in [
            ((5, "add something"), "0.1.0", true),
            ((5, "needs 0.2.0 forget it"), "0.2.0", true),
            ((5, "needs 0.2.0 forget it"), "0.10.0", true),
            ((5, "needs 0.2.0 forget it"), "0.2.0-rc.1", true),
            ((5, "needs 0.2.0 forget it"), "0.1.9", false),
            ((5, "needs 0.10.0"), "0.9.0", false),
            ((5, "needs something else"), "9.0.0", false),
            ((5, "needs"), "9.0.0", false),
            // Not of any release of ours: the names of others say nothing.
            ((3, "third"), "0.1.0", false),
        ] {
            assert_eq!(with(newer, ours).is_ok(), may, "{newer:?} {ours}");
        }
        assert!(judged(&[(1, "first"), (2, "second"), (5, "add something")], "0.1.0").is_err());
        // One that is behind may serve when it has caught up.
        assert!(judged(&own[..2], "0.1.0").is_ok());
        // An expansion after a contraction takes nothing back.
        let both = [(5, "needs 0.3.0 forget it"), (6, "add something")];
        let sentence = judged(&[&own[..], &both].concat(), "0.2.0").unwrap_err();
        for part in ["migration 5", "0.3.0", "0.2.0"] {
            assert!(sentence.contains(part), "{sentence}");
        }
    }
}
