//! Documents that an operator brings: from a file, or as they are published now. Fleets on a local network need no
//! Internet for them.

use serde_json::Value;
use shared::clock::UnixSeconds;
use shared::http_client::{GuardedClient, Own};

use super::{address, content, fetched};
use crate::client::register::RegisterFault;
use crate::client::{Origin, metadata};
use crate::config::Config;
use crate::db::client_document::DocumentRow;
use crate::db::{self, Db, client_document};

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

/// Writes the client of a document down, or a newer document of it; returns its id.
pub(crate) async fn import(
    (db, config): (&Db, &Config),
    document: &[u8],
    standing: Standing,
    now: UnixSeconds,
) -> Result<String, RegisterFault> {
    let members = metadata::object(document).map_err(|fault| refused(&fault.to_string()))?;
    let client_id = members.get("client_id").and_then(Value::as_str);
    let client_id = client_id
        .filter(|id| address(id).is_some())
        .ok_or_else(|| refused("client_id must be the https address at which the document is published"))?;
    let row = content::read(client_id, document, &config.clients.scopes, now);
    let mut row = row.map_err(|reason| refused(&reason))?;
    let taken =
        || refused("there is another client of that id, or it is revoked, or pinned and would not be");
    if standing == Standing::Registered {
        Origin::Operator.as_str().clone_into(&mut row.origin);
        if db::client::find(db, client_id).await?.is_some() {
            return Err(taken());
        }
        db::client::insert(db, &row, None).await?;
        return Ok(row.client_id);
    }
    let document = DocumentRow {
        client_id: client_id.to_owned(),
        content: String::from_utf8_lossy(document).into_owned(),
        is_pinned: standing == Standing::Pinned,
        fetched_at: now.0,
        fresh_until: (now + fetched::FRESH).0,
    };
    if client_document::write(db, (&row, &document), content::impact, now).await? {
        Ok(row.client_id)
    } else {
        Err(taken())
    }
}

/// Fetches the document at `client_id` and keeps it as it is now.
pub(crate) async fn pin(
    (db, config): (&Db, &Config),
    client_id: &str,
    now: UnixSeconds,
) -> Result<String, RegisterFault> {
    let url =
        address(client_id).ok_or_else(|| refused("the client's id is no https address of a document"))?;
    let outbound = GuardedClient::new(config.fetch_rules.clone(), Own::default());
    let outbound = outbound.map_err(|fault| refused(&fault.to_string()))?;
    let answer = outbound.fetch_json(&url, fetched::MAX_BYTES).await;
    // An operator may know why.
    let answer = answer.map_err(|fault| refused(&format!("{client_id}: {}", fault.reason())))?;
    if !answer.is_json() {
        return Err(refused(&format!("{client_id}: {}", fetched::NOT_JSON)));
    }
    import((db, config), &answer.body, Standing::Pinned, now).await
}

/// Lets a pinned document be fetched again.
pub(crate) async fn unpin(db: &Db, client_id: &str, now: UnixSeconds) -> Result<(), RegisterFault> {
    if client_document::unpin(db, client_id, now).await? {
        Ok(())
    } else {
        Err(refused(
            "there is no pinned document of that id; see: authz-server client list",
        ))
    }
}

fn refused(reason: &str) -> RegisterFault {
    RegisterFault::Asked(reason.to_owned())
}
