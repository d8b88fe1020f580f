//! `authz-server client import`, `pin` and `unpin`: clients whose id is the address of their metadata.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value};

use super::Outcome;
use super::place::{Place, of, saying};
use super::print::Report;
use crate::admin::documents;

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
    pub(super) async fn run(self, place: &Place) -> Outcome {
        let content = std::fs::read(&self.document)
            .map_err(|fault| format!("cannot read {}: {fault}", self.document.display()))?;
        let document = shared::json::object(&content)
            .map_err(|fault| format!("{}: {fault}", self.document.display()))?;
        let standing = match (self.pin, self.vouch) {
            (true, _) => "pinned",
            (_, true) => "vouched",
            _ => "fetched",
        };
        let body = Map::from_iter([
            ("document".to_owned(), Value::Object(document)),
            ("standing".to_owned(), Value::from(standing)),
        ]);
        Report::record(&place.ask(&documents::IMPORT, saying(body)).await?)
    }
}

impl Address {
    pub(super) async fn pin(self, place: &Place) -> Outcome {
        let body = Map::from_iter([("client_id".to_owned(), Value::from(self.client_id))]);
        Report::record(&place.ask(&documents::IMPORT, saying(body)).await?)
    }

    pub(super) async fn unpin(self, place: &Place) -> Outcome {
        place.ask(&documents::UNPIN, of(&self.client_id)).await?;
        Ok(Report::line(
            "the document is fetched again when the client is next seen",
        ))
    }
}
