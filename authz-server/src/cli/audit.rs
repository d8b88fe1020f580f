//! `authz-server audit …`.

use std::io::Write;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::Value;
use shared::clock::UnixSeconds;
use shared::digest::canonical;

use super::Outcome;
use super::place::{Pages, Place};
use super::print::Report;
use crate::admin::Call;
use crate::admin::events::{self, EventView, VERIFY, VerificationView};
use crate::audit::Name;
use crate::pages;

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
    pub(super) async fn run(self, place: &Place) -> Outcome {
        match self {
            Self::List(list) => {
                let query: Vec<_> = list.event.into_iter().map(|event| ("event", event)).collect();
                let most = list.limit as usize;
                let mut pages = Pages::of(&events::LIST, query);
                let mut rows: Vec<Value> = Vec::new();
                while rows.len() < most
                    && let Some(page) = pages.next(place).await?
                {
                    rows.extend(page);
                }
                rows.truncate(most);
                let shown: Vec<EventView> = rows
                    .iter()
                    .map(|row| serde_json::from_value(row.clone()))
                    .collect::<Result<_, _>>()?;
                Report::columns(&rows, shown.iter().map(columns).collect())
            }
            Self::Export => export(place).await,
            Self::Verify => verify(place).await,
        }
    }
}

/// The whole log, part by part.
async fn verify(place: &Place) -> Outcome {
    let mut whole: VerificationView = place.get(&VERIFY, Call::default()).await?;
    while let Some(cursor) = whole.next_cursor.take() {
        let call = Call {
            query: vec![("cursor", cursor)],
            ..Call::default()
        };
        let part: VerificationView = place.get(&VERIFY, call).await?;
        whole = VerificationView {
            events: whole.events + part.events,
            first: whole.first,
            ..part
        };
    }
    Report::record(&whole)
}

/// Written page by page: a log may be larger than memory.
async fn export(place: &Place) -> Outcome {
    let mut pages = Pages::of(&events::LIST, vec![("order", "oldest".to_owned())]);
    while let Some(page) = pages.next::<Value>(place).await? {
        let mut text = String::new();
        for row in &page {
            text.push_str(&canonical(row));
            text.push('\n');
        }
        std::io::stdout().write_all(text.as_bytes())?;
    }
    Ok(Report::nothing())
}

fn columns(row: &EventView) -> Vec<String> {
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
