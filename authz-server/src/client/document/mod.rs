//! Client ID Metadata Documents: a client whose `client_id` is the address of its own metadata
//! (draft-ietf-oauth-client-id-metadata-document, MCP 2026-07-28 "Client Registration").
//!
//! ```text
//! row of the operator's, of a registration, pinned   → as it stands there
//! row of a document                                  → fetched again when it is due
//! memory                                             → fetched again when it is due
//! nothing                                            → fetched
//! ```
//!
//! A stranger can name any address, so none of that writes to the database. The client becomes a row when a person
//! allows it something ([`keep`]).

mod address;
mod content;
mod fetched;
mod stored;

use std::sync::Arc;
use std::time::Duration;

use ::web::address::ClientAddress;
use shared::clock::UnixSeconds;
use url::Url;

use self::address::address;
pub(crate) use self::fetched::Documents;
pub(crate) use self::stored::{Standing, bring, prepare};
use super::{Client, Origin};
use crate::app::App;
use crate::db::client::ClientRow;
use crate::db::client_document::{self, DocumentRow};
use crate::error::{Failure, Trouble};

/// How long what was granted goes on although the document cannot be fetched again: whoever publishes it may be away.
const MOST_STALE: Duration = Duration::from_secs(24 * 3600);

/// Where a client's metadata come from, when they come from a document.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) fetched_at: UnixSeconds,
    pub(crate) fresh_until: UnixSeconds,
    /// An operator keeps it as it is: it is never fetched.
    pub(crate) is_pinned: bool,
    /// What [`keep`] writes; `None` for a client that is in the database.
    unwritten: Option<Box<(ClientRow, DocumentRow)>>,
}

impl Document {
    /// What is known of a document in the database.
    pub(crate) fn written(row: &DocumentRow) -> Self {
        Self {
            fetched_at: UnixSeconds(row.fetched_at),
            fresh_until: UnixSeconds(row.fresh_until),
            is_pinned: row.is_pinned,
            unwritten: None,
        }
    }

    /// Whether its client is in the database: an operator pinned it, or somebody has allowed it something.
    pub(crate) fn is_kept(&self) -> bool {
        self.unwritten.is_none()
    }

    fn is_due(&self, now: UnixSeconds) -> bool {
        !self.is_pinned && now >= self.fresh_until
    }

    fn serves_meanwhile(&self, now: UnixSeconds) -> bool {
        let is_forgotten = self.fresh_until == client_document::FORGOTTEN;
        self.is_pinned || (!is_forgotten && now < self.fetched_at + MOST_STALE)
    }
}

/// Counts a request of `from` if it would make us fetch something. Call it before [`current`] wherever a stranger names
/// the client.
pub(crate) async fn admit(app: &App, client_id: &str, from: ClientAddress) -> Result<(), Failure> {
    let in_force = app.in_force();
    let Some(url) = address(client_id).filter(|url| in_force.documents.covers(url)) else {
        return Ok(());
    };
    if app.client(url.as_str()).await?.is_none() {
        in_force.documents.admit(&url, from.limit_key())?;
    }
    Ok(())
}

/// The client named `client_id`, revoked or not, with metadata that are not out of date. Fetches them if need be, so it
/// is no question for the inside of a transaction.
pub(crate) async fn current(
    app: &App,
    client_id: &str,
    now: UnixSeconds,
) -> Result<Option<Arc<Client>>, Failure> {
    let documents = Arc::clone(&app.in_force().documents);
    let known = app.client(client_id).await?;
    // No document brings back what is revoked, so it is not asked for either.
    if known.as_ref().is_some_and(|client| client.is_revoked) {
        return Ok(known);
    }
    let standing = known.as_ref().map(|client| client.document.as_ref());
    let url = match (standing, address(client_id)) {
        // Registered here, or pinned: whatever is published there means nothing to us.
        (Some(None), _) | (None, None) => return Ok(known),
        (Some(Some(document)), _) if document.is_pinned => return Ok(known),
        (_, Some(url)) if documents.covers(&url) => url,
        // Documents of that host are not, or no longer, relied on.
        _ => return Ok(None),
    };
    if let Some(Some(document)) = standing {
        if !document.is_due(now) {
            return Ok(known);
        }
        // Whoever names it causes no fetch, whether or not the old one still serves.
        if documents.is_pausing(client_id, now) {
            return Ok(serving(known, now));
        }
    }
    let fetched = documents.fetch(&url, known.is_some(), now).await;
    if !Arc::ptr_eq(&documents, &app.in_force().documents) {
        // A reload came between: nothing is written any more of what was fetched by what is in force no longer.
        return Ok(None);
    }
    match fetched {
        Ok(client) => renewed(app, &url, client, now).await,
        Err(reason) => {
            tracing::info!(client_id, %reason, "the metadata document of a client could not be had");
            Ok(serving(known, now))
        }
    }
}

/// A known client whose document is not too old to go on with.
fn serving(known: Option<Arc<Client>>, now: UnixSeconds) -> Option<Arc<Client>> {
    known.filter(|client| {
        let document = client.document.as_ref();
        document.is_some_and(|document| document.serves_meanwhile(now))
    })
}

/// A client that was fetched anew: what is in the database follows, and people are asked again if they have to be.
async fn renewed(
    app: &App,
    url: &Url,
    fetched: Arc<Client>,
    now: UnixSeconds,
) -> Result<Option<Arc<Client>>, Failure> {
    let unwritten = fetched
        .document
        .as_ref()
        .and_then(|document| document.unwritten.as_deref());
    let before = client_document::find(&app.db, url.as_str()).await?;
    if let (Some((row, document)), Some(before)) = (unwritten, before) {
        // Whoever waited for the same fetch has written it already.
        if now.0 >= before.fresh_until && !before.is_pinned {
            client_document::write(&app.db, (row, document), content::impact, now).await?;
        }
        app.catch_up().await?;
        return Ok(app.client(url.as_str()).await?);
    }
    Ok(Some(fetched))
}

/// Writes a client down that somebody is about to allow something. Call it before the transaction that does.
pub(crate) async fn keep(app: &App, client: &Client, now: UnixSeconds) -> Result<(), Failure> {
    let unwritten = client
        .document
        .as_ref()
        .and_then(|document| document.unwritten.as_deref());
    let Some((row, document)) = unwritten else {
        return Ok(());
    };
    if client_document::write(&app.db, (row, document), content::impact, now).await? {
        return Ok(());
    }
    // An operator has registered, pinned or revoked a client of that id meanwhile.
    Err(Failure::Shown(Trouble::Client))
}

/// The host by which people may know a client: where its metadata are published.
pub(crate) fn host(client: &Client) -> Option<String> {
    host_of(client.origin, &client.client_id)
}

/// As [`host`], of a client of which only so much is known.
pub(crate) fn host_of(origin: Origin, client_id: &str) -> Option<String> {
    if origin != Origin::Document {
        return None;
    }
    let url: Url = client_id.parse().ok()?;
    let host = url.host_str()?;
    Some(
        url.port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
    )
}

#[cfg(test)]
mod tests;
