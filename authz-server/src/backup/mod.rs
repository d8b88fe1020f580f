//! Backups: every row of one moment in one sealed file, whichever database it was (docs/backup.md).
//!
//! [`take`] writes one while servers go on serving; [`restore`] fills an empty database from one, also one of the other kind.

mod lines;
mod read;
mod restore;
mod sealed;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

pub(crate) use self::lines::Head;
pub(crate) use self::read::look;
pub(crate) use self::restore::restore;
use self::sealed::SealFault;
pub(crate) use self::write::take;
use crate::audit::VerifyFault;
use crate::db::{DbFault, OpenFault};
use crate::keys::KeyFault;

/// What is in a backup.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Summary {
    #[serde(flatten)]
    pub(crate) head: Head,
    /// How many rows there are in all.
    pub(crate) rows: u64,
    /// And of each table.
    pub(crate) tables: BTreeMap<String, u64>,
}

/// There is no backup, or no database that was restored. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupFault {
    /// The file cannot be written, read, or is not what was written.
    #[error("{path}: {reason}")]
    File {
        /// Its path.
        path: String,
        /// Why.
        reason: String,
    },
    /// See [`SealFault`].
    #[error(transparent)]
    Seal(SealFault),
    /// There is nothing to be backed up, or it is not known what there is.
    #[error("the database cannot be backed up: {0}")]
    Source(String),
    /// The database to restore into is not empty.
    #[error(
        "the database is not empty ({0}); a backup is restored into an empty one: name another in database.url, or remove this one"
    )]
    NotEmpty(String),
    /// The backup is another issuer's.
    #[error("the backup is of the issuer {stored}, but server.issuer is {configured}; set server.issuer")]
    OtherIssuer {
        /// The issuer of the backup.
        stored: String,
        /// The issuer in the configuration.
        configured: String,
    },
    /// A newer program made it.
    #[error(
        "the backup was made by authz-server {0}, which is newer than this one; restore it with that version"
    )]
    Newer(String),
    /// There is no master key.
    #[error(
        "keys.master_key_file: there is no {0}; copy the master.key of the server whose backup this is there first"
    )]
    NoMasterKey(String),
    /// All rows are there, but the audit log is not what was written.
    #[error("everything was restored, but {0}; the backup has it so")]
    Log(#[from] VerifyFault),
    /// See [`KeyFault`].
    #[error(transparent)]
    Keys(#[from] KeyFault),
    /// See [`OpenFault`].
    #[error(transparent)]
    Open(#[from] OpenFault),
    /// See [`DbFault`].
    #[error(transparent)]
    Db(#[from] DbFault),
}

impl BackupFault {
    /// What is wrong with the file at `path`.
    fn of(path: &Path, reason: &dyn fmt::Display) -> Self {
        Self::File {
            path: path.display().to_string(),
            reason: reason.to_string(),
        }
    }

    fn of_seal(path: &Path, fault: SealFault) -> Self {
        match fault {
            SealFault::Io(fault) => Self::of(path, &fault),
            SealFault::Kind => Self::of(path, &fault),
            other => Self::Seal(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shared::clock;
    use shared::config::Reader;

    use super::*;
    use crate::audit::{Event, Name, Target};
    use crate::config::Config;
    use crate::db::catalog;
    use crate::db::status_list::CAPACITY;
    use crate::db::tests::{NOW, Places};
    use crate::db::{Db, audit_event, change, copy};
    use crate::token::testing::House;

    const SECRET: &[u8] = b"a secret that nobody can try out";
    /// What a restored database has otherwise ([`crate::db::restored`]).
    const SETTLED: [&str; 9] = [
        "audit_event",
        "audit_head",
        "authorization_code",
        "change_head",
        "client",
        "interaction",
        "status_list",
        "status_revoked",
        "token_family",
    ];

    /// Every row of a table, columns and rows in an order of their own.
    async fn rows(db: &Db, table: &str) -> Vec<String> {
        let mut tx = db.snapshot().await.unwrap();
        let mut columns = catalog::columns(&mut tx, table).await.unwrap();
        columns.sort_by(|one, other| one.0.cmp(&other.0));
        let mut rows = Vec::new();
        let row = |cells: Vec<copy::Cell>| {
            rows.push(format!("{cells:?}"));
            Ok::<_, DbFault>(())
        };
        copy::read(&mut tx, table, &columns, row).await.unwrap();
        rows.sort_unstable();
        rows
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_backup_of_either_database_fills_either() {
        let places = Places::new();
        let now = clock::now();
        for (number, url) in places.urls().into_iter().enumerate() {
            let house = House::new(&url, "").await;
            let first = house.refresh_token().await;
            let second = house.refreshed(&first, NOW + Duration::from_secs(60)).await;
            second.unwrap();
            house.code("a", None).await;
            let (db, config) = (&house.app.db, &house.app.config);
            let event = Event::of_operator(Name::UserEnabled, Target::User("u_1"));
            let written = db.write(async |tx| audit_event::append(tx, &event, NOW).await);
            written.await.unwrap();

            let file = places.folder.path().join(format!("backup-{number}"));
            let taken = take(db, &file, SECRET, now).await.unwrap();
            assert!(taken.rows > 10);
            let lite = format!("sqlite:{}/restored-{number}.db", places.folder.path().display());
            for target in [lite, places.urls()[1].clone()] {
                let text = format!(
                    "[keys]\nmaster_key_file = \"{}\"\n[database]\nurl = \"{target}\"",
                    config.master_key_file.display()
                );
                let config =
                    Config::read(Reader::from_text(text, &std::collections::BTreeMap::new()).unwrap());
                let config = config.unwrap();
                let summary = restore(&config, &file, SECRET, false, now).await.unwrap();
                assert_eq!((summary.rows, summary.head), (taken.rows, taken.head.clone()));
                let filled = Db::open(&target, &config.issuer, now).await.unwrap();
                let present = catalog::present(&mut db.snapshot().await.unwrap()).await;
                for table in present.unwrap() {
                    let (before, after) = (rows(db, table).await, rows(&filled, table).await);
                    if !SETTLED.contains(&table) {
                        assert_eq!(before, after, "{table}: {url} to {target}");
                    }
                }
                // The log goes on, and says so.
                assert_eq!(rows(&filled, "audit_event").await.len(), 2);
                // Whoever still runs on what was there before forgets everything.
                let head = change::head(&filled).await.unwrap();
                assert!(head > change::head(db).await.unwrap() + 1000);
                // No place is given twice, and no token from before counts.
                let (lists, revoked) = (
                    rows(&filled, "status_list").await,
                    rows(&filled, "status_revoked").await,
                );
                assert!(!lists.is_empty());
                assert_eq!(lists.len(), revoked.len(), "{revoked:?}");
                assert!(
                    lists.iter().all(|row| row.contains(&CAPACITY.to_string())),
                    "{lists:?}"
                );
                for table in ["token_family", "client"] {
                    assert_eq!(rows(db, table).await.len(), rows(&filled, table).await.len());
                }
                let codes = rows(&filled, "authorization_code").await;
                assert_eq!(codes.len(), rows(db, "authorization_code").await.len());
                let again = restore(&config, &file, SECRET, false, now).await;
                assert!(matches!(again, Err(BackupFault::NotEmpty(_))), "{again:?}");
            }
        }
    }
}
