//! Restoring a backup.
//!
//! Everything that can be wrong with the file, the key or the database is found before anything is written: the file is
//! read twice, the first time to its end.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use shared::clock::UnixSeconds;
use tokio::time::Instant;

use super::read::{Next, Reader, look};
use super::{BackupFault, Head, Summary};
use crate::audit::{self, Event, Name, Target};
use crate::config::Config;
use crate::db::catalog::{self, Column};
use crate::db::copy::{self, Cell};
use crate::db::{Db, Tx, audit_event, known_migrations, restored};
use crate::keys::MasterKey;

const SECOND: Duration = Duration::from_secs(1);

/// Fills the configured database, which must be empty, from the backup `from`. With `sign_out` nobody is signed in any more.
pub(crate) async fn restore(
    config: &Config,
    from: &Path,
    secret: &[u8],
    sign_out: bool,
    now: UnixSeconds,
) -> Result<Summary, BackupFault> {
    // A token says by the second when it was issued: those of this one are of before, the next one's are not.
    let (next, begins) = (now + SECOND, Instant::now() + SECOND);
    let summary = check(config, from, secret)?;
    let newest = summary.head.migrations.last().copied().unwrap_or_default();
    let (db, url) = (Db::connect(&config.database_url).await?, &config.database_url);
    must_be_empty(&db, &summary.head).await?;
    db.migrate_to(url, newest).await?;
    let event = restored_event(&summary.head, sign_out);
    let filled = db
        .write_unless(async |tx| {
            copy::take_time(tx).await?;
            // Somebody may have come since.
            if let Some(table) = copy::filled(tx).await? {
                return Ok(Err(BackupFault::NotEmpty(format!("{table} has rows"))));
            }
            copy::clear(tx).await?;
            let mut reader = match Reader::open(from, secret) {
                Ok(reader) => reader,
                Err(fault) => return Ok(Err(fault)),
            };
            match fill(tx, &mut reader).await {
                Err(BackupFault::Db(fault)) => return Err(fault),
                Err(other) => return Ok(Err(other)),
                Ok(()) => {}
            }
            restored::settle(tx, sign_out, (now, next)).await?;
            audit_event::append(tx, &event, now).await?;
            Ok(Ok(()))
        })
        .await?;
    filled?;
    db.migrate(url).await?;
    audit::verify(&db).await?;
    tokio::time::sleep_until(begins).await;
    Ok(summary)
}

/// Reads all of it, and holds it against the configuration.
fn check(config: &Config, from: &Path, secret: &[u8]) -> Result<Summary, BackupFault> {
    let path = &config.master_key_file;
    let mut master = None;
    let summary = look(from, secret, |kid, alg, sealed| {
        let known = match &master {
            Some(known) => known,
            // It would be made, and open nothing.
            None if !path.exists() => return Err(BackupFault::NoMasterKey(path.display().to_string())),
            None => master.insert(MasterKey::open(path)?),
        };
        known.open_sealed(kid, alg, sealed)?;
        Ok(())
    })?;
    let (head, configured) = (&summary.head, config.issuer.as_str());
    if head.issuer != configured {
        return Err(BackupFault::OtherIssuer {
            stored: head.issuer.clone(),
            configured: configured.to_owned(),
        });
    }
    let known = known_migrations();
    let newest = head.migrations.last().copied().unwrap_or_default();
    let up_to: Vec<_> = known.into_iter().filter(|number| *number <= newest).collect();
    if up_to != head.migrations {
        return Err(BackupFault::Newer(head.program.clone()));
    }
    Ok(summary)
}

/// A database without tables, or one that was migrated as far as that of the backup and has nothing.
async fn must_be_empty(db: &Db, head: &Head) -> Result<(), BackupFault> {
    let mut tx = db.snapshot().await?;
    let present = catalog::tables(&mut tx).await?;
    let Some(first) = present.first() else {
        return Ok(());
    };
    if !present.iter().any(|name| name == "deployment") {
        return Err(BackupFault::NotEmpty(format!("it has a table {first}")));
    }
    if catalog::migrations(&mut tx).await? != head.migrations {
        let reason = "its tables are of another version than those of the backup";
        return Err(BackupFault::NotEmpty(reason.to_owned()));
    }
    match copy::filled(&mut tx).await? {
        Some(table) => Err(BackupFault::NotEmpty(format!("{table} has rows"))),
        None => Ok(()),
    }
}

async fn fill(tx: &mut Tx, reader: &mut Reader<'_>) -> Result<(), BackupFault> {
    let mut table: Option<(String, Vec<Column>)> = None;
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    loop {
        let next = reader.next()?;
        let is_full = table
            .as_ref()
            .is_some_and(|(_, columns)| rows.len() >= copy::rows_at_once(columns.len()));
        if let Some((name, columns)) = &table
            && (is_full || !matches!(next, Next::Row(_)))
        {
            copy::write(tx, name, columns, &rows).await?;
            rows.clear();
        }
        match next {
            Next::Row(cells) => rows.push(cells),
            Next::Table(name, columns) => {
                if !are_of(tx, &name, &columns).await? {
                    let reason = format!("its table {name} has other columns than that of the database");
                    return Err(reader.fault(&reason));
                }
                table = Some((name, columns));
            }
            Next::End => return Ok(()),
        }
    }
}

/// Whether these are the columns of the table, in whatever order: the two databases need not list them in the same.
async fn are_of(tx: &mut Tx, table: &str, columns: &[Column]) -> Result<bool, BackupFault> {
    let mut present = catalog::columns(tx, table).await?;
    let mut named = columns.to_vec();
    for list in [&mut present, &mut named] {
        list.sort_by(|one, other| one.0.cmp(&other.0));
    }
    Ok(present == named)
}

fn restored_event(head: &Head, sign_out: bool) -> Event<'static> {
    let mut event = Event::of_operator(Name::DatabaseRestored, Target::Database);
    for (name, value) in [
        ("taken_at", Value::from(head.taken_at)),
        ("signed_out", Value::from(sign_out)),
    ] {
        event.details.insert(name.to_owned(), value);
    }
    event
}
