//! Documents that an operator brings: from a file, or as they are published now. Fleets on a local network need no
//! Internet for them.

use serde_json::Value;
use shared::clock::UnixSeconds;
use shared::http_client::{GuardRule, GuardedClient, Own};

use super::{address, content, fetched};
use crate::client::register::RegisterFault;
use crate::client::{Origin, metadata};
use crate::config::Clients;
use crate::db::client::ClientRow;
use crate::db::client_document::DocumentRow;
use crate::db::{self, Tx, client_document};

/// What becomes of a document that an operator brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// As if it had been fetched just now: it is fetched again when it is due.
    Fetched,
    /// It stays as it is.
    Pinned,
    /// It stays as it is, and the operator vouches for the client.
    Registered,
}

/// A document that is not in the database yet.
pub(crate) struct Prepared {
    row: ClientRow,
    /// `None` where the operator vouches for the client: then it is as one that they created.
    document: Option<DocumentRow>,
}

/// Checks a document that an operator brings.
pub(crate) fn prepare(
    settings: &Clients,
    document: &[u8],
    standing: Standing,
    now: UnixSeconds,
) -> Result<Prepared, RegisterFault> {
    let members = metadata::object(document).map_err(|fault| refused(&fault.to_string()))?;
    let client_id = members.get("client_id").and_then(Value::as_str);
    let client_id = client_id
        .filter(|id| address(id).is_some())
        .ok_or_else(|| refused("client_id must be the https address at which the document is published"))?;
    let row = content::read(client_id, document, &settings.scopes, now);
    let mut row = row.map_err(|reason| refused(&reason))?;
    if standing == Standing::Registered {
        Origin::Operator.as_str().clone_into(&mut row.origin);
        return Ok(Prepared { row, document: None });
    }
    let document = DocumentRow {
        client_id: client_id.to_owned(),
        content: String::from_utf8_lossy(document).into_owned(),
        is_pinned: standing == Standing::Pinned,
        fetched_at: now.0,
        fresh_until: (now + fetched::FRESH).0,
    };
    Ok(Prepared {
        row,
        document: Some(document),
    })
}

impl Prepared {
    /// Its client's id.
    pub(crate) fn client_id(&self) -> &str {
        &self.row.client_id
    }

    /// Writes the client of the document down, or a newer document of it, as a part of something larger.
    pub(crate) async fn write(&self, tx: &mut Tx, now: UnixSeconds) -> Result<(), RegisterFault> {
        let is_written = match &self.document {
            Some(document) => {
                client_document::write_in(tx, (&self.row, document), &content::impact, now).await?
            }
            None if db::client::find_in(tx, self.client_id()).await?.is_some() => false,
            None => {
                db::client::insert_in(tx, &self.row, None).await?;
                true
            }
        };
        match is_written {
            true => Ok(()),
            false => Err(refused(
                "there is another client of that id, or it is revoked, or pinned and would not be",
            )),
        }
    }
}

/// Fetches the document at `client_id` as it is now. `own` is where this server is itself.
pub(crate) async fn bring(rules: &[GuardRule], own: Own, client_id: &str) -> Result<Vec<u8>, RegisterFault> {
    let url =
        address(client_id).ok_or_else(|| refused("the client's id is no https address of a document"))?;
    let outbound = GuardedClient::new(rules.to_vec(), own);
    let outbound = outbound.map_err(|fault| refused(&fault.to_string()))?;
    let answer = outbound.fetch_json(&url, fetched::MAX_BYTES).await;
    // An operator may know why.
    let answer = answer.map_err(|fault| refused(&format!("{client_id}: {}", fault.reason())))?;
    if !answer.is_json() {
        return Err(refused(&format!("{client_id}: {}", fetched::NOT_JSON)));
    }
    Ok(answer.body)
}

fn refused(reason: &str) -> RegisterFault {
    RegisterFault::Asked(reason.to_owned())
}
