//! `authz-server client import`, `pin` and `unpin`: clients whose id is the address of their metadata.

use std::path::PathBuf;

use clap::Args;
use shared::clock;

use super::Outcome;
use super::print::Report;
use crate::client::document::{self, Standing};
use crate::client::view;
use crate::config::Config;
use crate::db::Db;

/// Take a client's metadata document from a file instead of from its address
#[derive(Args)]
pub(super) struct Import {
    /// The document: a JSON file whose `client_id` is the address at which it is published
    #[arg(long, value_name = "FILE")]
    document: PathBuf,
    /// Keep it as it is: never fetch it
    #[arg(long)]
    pin: bool,
    /// Keep it as it is, and vouch for the client as for one that you created
    #[arg(long, conflicts_with = "pin")]
    vouch: bool,
}

/// A client by its address
#[derive(Args)]
pub(super) struct Address {
    /// The client's id: the address of its document
    client_id: String,
}

impl Import {
    pub(super) async fn run(self, (db, config): (&Db, &Config)) -> Outcome {
        let content = std::fs::read(&self.document)
            .map_err(|fault| format!("cannot read {}: {fault}", self.document.display()))?;
        let standing = match (self.pin, self.vouch) {
            (true, _) => Standing::Pinned,
            (_, true) => Standing::Registered,
            _ => Standing::Fetched,
        };
        let client_id = document::import((db, config), &content, standing, clock::now()).await?;
        Report::record(&view::show(db, &client_id).await?)
    }
}

impl Address {
    pub(super) async fn pin(self, (db, config): (&Db, &Config)) -> Outcome {
        let client_id = document::pin((db, config), &self.client_id, clock::now()).await?;
        Report::record(&view::show(db, &client_id).await?)
    }

    pub(super) async fn unpin(self, db: &Db) -> Outcome {
        document::unpin(db, &self.client_id, clock::now()).await?;
        Ok(Report::line(
            "the document is fetched again when the client is next seen",
        ))
    }
}
