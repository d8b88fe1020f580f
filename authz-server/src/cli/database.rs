//! `authz-server db …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use shared::clock::{self, UnixSeconds};
use shared::config::read_secret_file;

use super::print::Report;
use super::{Outcome, open};
use crate::backup::{self, Summary};
use crate::cleanup;
use crate::config::Config;
use crate::db::{Db, catalog, copy};
use crate::pages;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Apply what is missing
    Migrate,
    /// Show which migrations have been applied, also those of newer versions
    Status,
    /// Remove rows that can no longer matter; a running server does so every ten minutes
    Prune,
    /// Write everything into one encrypted file, while servers go on serving
    Backup(Backup),
    /// Fill an empty database from a backup
    Restore(Restore),
}

#[derive(Args)]
pub(super) struct Backup {
    /// The file to write; it must not be there
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// The file with the secret that encrypts it: openssl rand -base64 32
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
}

#[derive(Args)]
pub(super) struct Restore {
    /// The backup
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The file with the secret that encrypted it
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// Only read all of it and say what is in it
    #[arg(long, conflicts_with = "sign_out")]
    check: bool,
    /// End every session and refresh token: for when some were taken back after the backup
    #[arg(long)]
    sign_out: bool,
}

impl Command {
    pub(super) async fn run(self, config: &Config) -> Outcome {
        match self {
            Self::Migrate => {
                open(config).await?;
                Ok(Report::line("the database is up to date"))
            }
            Self::Status => status(config).await,
            Self::Prune => prune(config).await,
            Self::Backup(asked) => {
                let secret = read_secret_file(&asked.key_file)?;
                let db = Db::connect(&config.database_url).await?;
                let summary = backup::take(&db, &asked.to, &secret, clock::now()).await?;
                let told = format!("written to {}", asked.to.display());
                report(&summary, &told)
            }
            Self::Restore(asked) => asked.run(config).await,
        }
    }
}

impl Restore {
    async fn run(self, config: &Config) -> Outcome {
        let secret = read_secret_file(&self.key_file)?;
        if self.check {
            let summary = backup::look(&self.from, &secret, |_, _, _| Ok(()))?;
            return report(&summary, "whole; nothing was restored");
        }
        let summary = backup::restore(config, &self.from, &secret, self.sign_out, clock::now()).await?;
        report(
            &summary,
            "restored. Whatever was revoked, disabled or rotated since it was taken is not known: do it again before you serve",
        )
    }
}

fn report(summary: &Summary, told: &str) -> Outcome {
    let mut json = serde_json::to_value(summary)?;
    json["status"] = told.into();
    let taken_at = pages::iso(UnixSeconds(summary.head.taken_at));
    let text = format!(
        "backup of {} at {taken_at}, {} rows: {told}\n",
        summary.head.issuer, summary.rows
    );
    Ok(Report::told(json, text))
}

async fn status(config: &Config) -> Outcome {
    let db = Db::connect(&config.database_url).await?;
    Report::rows(&db.migration_status().await?, |migration| {
        let state = match (migration.applied, migration.known) {
            (false, _) => "missing",
            (true, true) => "applied",
            (true, false) => "applied by a newer version",
        };
        vec![
            migration.version.to_string(),
            state.to_owned(),
            migration.description.clone(),
        ]
    })
}

async fn prune(config: &Config) -> Outcome {
    let db = open(config).await?;
    let before = counts(&db).await?;
    let failed = cleanup::prune(&db, config.audit_retention, clock::now()).await;
    if let Some((what, fault)) = failed.into_iter().next() {
        return Err(format!("{what}: {fault}; run it again").into());
    }
    let rows: Vec<_> = before
        .into_iter()
        .zip(counts(&db).await?)
        .map(|((table, before), (_, after))| json!({ "table": table, "before": before, "rows": after }))
        .collect();
    Report::rows(&rows, |row| {
        let number = |member: &str| row[member].to_string();
        vec![
            row["table"].as_str().unwrap_or_default().to_owned(),
            format!("{} -> {}", number("before"), number("rows")),
        ]
    })
}

/// How many rows each table has.
async fn counts(db: &Db) -> Result<Vec<(&'static str, i64)>, crate::db::DbFault> {
    let mut tx = db.snapshot().await?;
    let mut counts = Vec::new();
    for table in catalog::present(&mut tx).await? {
        counts.push((table, copy::count(&mut tx, table).await?));
    }
    Ok(counts)
}
