//! `authz-server audit …`.

use std::io::Write;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::Value;
use shared::clock::UnixSeconds;

use super::Outcome;
use super::print::Report;
use crate::audit::{self, Name};
use crate::db::Db;
use crate::db::audit_event::{self, EventRow};
use crate::pages;

/// Rows that an export reads at once.
const PAGE: u32 = 1000;

#[derive(Subcommand)]
pub(super) enum Command {
    /// List the newest events, the newest first
    List(List),
    /// Print every event, oldest first, one JSON object on each line
    Export,
    /// Check that no event was changed, removed or moved; names the first that was
    Verify,
}

#[derive(Args)]
pub(super) struct List {
    /// How many at most
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Only events of this name
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Name::ALL.map(Name::as_str)))]
    event: Option<String>,
}

impl Command {
    pub(super) async fn run(self, db: &Db) -> Outcome {
        match self {
            Self::List(List { limit, event }) => {
                let rows = audit_event::newest(db, event.as_deref(), limit).await?;
                let objects: Vec<_> = rows
                    .iter()
                    .map(|row| Value::Object(audit::members(row)))
                    .collect();
                Report::columns(&objects, rows.iter().map(columns).collect())
            }
            Self::Export => export(db).await,
            Self::Verify => Report::record(&audit::verify(db).await?),
        }
    }
}

/// Written page by page: a log may be larger than memory.
async fn export(db: &Db) -> Outcome {
    let mut last = 0;
    loop {
        let rows = audit_event::after(db, (last, i64::MAX), PAGE).await?;
        let Some(newest) = rows.last() else {
            return Ok(Report::nothing());
        };
        last = newest.sequence;
        let mut text = String::new();
        for row in &rows {
            text.push_str(&audit::line(row));
            text.push('\n');
        }
        std::io::stdout().write_all(text.as_bytes())?;
    }
}

fn columns(row: &EventRow) -> Vec<String> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        row.sequence.to_string(),
        pages::iso(UnixSeconds(row.occurred_at)),
        row.event.clone(),
        row.outcome.clone(),
        format!("{} {}", row.actor_type, or_dash(&row.actor)),
        or_dash(&row.on_behalf_of),
        format!("{} {}", row.target_type, row.target),
        or_dash(&row.source),
        or_dash(&row.reason),
    ]
}
