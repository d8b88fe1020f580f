//! Clients and resources in memory: bounded, filled when asked, and emptied by [`crate::changes`].

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use quick_cache::sync::Cache;
use shared::clock::UnixSeconds;
use shared::jose::Algorithm;
use shared::scope::Scope;
use shared::uri::ResourceUri;

use crate::changes::{Changes, Memory};
use crate::client::{Client, Document, Origin};
use crate::console;
use crate::db::change::{Change, MANY, Noun};
use crate::db::client::ClientRow;
use crate::db::resource::ResourceRow;
use crate::db::{self, Db, DbFault};

/// Clients kept in memory; the least used make room.
const CLIENTS: usize = 10_000;

/// A registered resource as the endpoints see it.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) uri: String,
    pub(crate) lookup_key: String,
    /// What the operator calls it; the URI unless they said otherwise.
    pub(crate) name: String,
    pub(crate) scopes: Scope,
    pub(crate) algorithm: Algorithm,
    pub(crate) access_ttl: std::time::Duration,
    /// The client as which the resource server introspects.
    pub(crate) client_id: Option<String>,
    /// The types of authorization details that it understands (RFC 9396 §2).
    pub(crate) authorization_details_types: Vec<String>,
    /// Tokens from before were for another resource of that name.
    pub(crate) created_at: UnixSeconds,
    /// The API of this server itself, which nobody registered.
    pub(crate) is_built_in: bool,
}

impl Resource {
    /// What people are shown: the operator's name for it, or else its host.
    pub(crate) fn title(&self) -> String {
        if self.name != self.uri {
            return self.name.clone();
        }
        let url = self.uri.parse::<ResourceUri>().ok();
        let host = url.as_ref().and_then(|uri| uri.url().host_str());
        host.unwrap_or_default().to_owned()
    }
}

/// Every registered resource and the built-in one, ordered by lookup key.
#[derive(Debug, Default)]
pub(crate) struct Resources(Vec<Arc<Resource>>);

impl Resources {
    /// The resource that `text` means, in any spelling.
    pub(crate) fn find(&self, text: &str) -> Option<&Arc<Resource>> {
        let key = text.parse::<ResourceUri>().ok()?.lookup_key();
        self.0
            .binary_search_by(|resource| resource.lookup_key.cmp(&key))
            .ok()
            .map(|at| &self.0[at])
    }

    /// Those that were registered. Only who asks for the built-in one by its name gets to it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.0.iter().filter(|resource| !resource.is_built_in)
    }

    /// The only registered resource, if there is just one.
    pub(crate) fn only(&self) -> Option<&Arc<Resource>> {
        let mut registered = self.iter();
        registered.next().filter(|_| registered.next().is_none())
    }
}

pub(crate) struct Registry {
    clients: Cache<String, Arc<Client>>,
    resources: ArcSwapOption<Resources>,
    built_in: Arc<Resource>,
    /// The client of the console, unless that is off.
    console: Option<ClientRow>,
}

impl Registry {
    /// With the API of this server as a resource, and the console as a client.
    pub(crate) fn new(built_in: Resource, console: Option<ClientRow>) -> Arc<Self> {
        Arc::new(Self {
            clients: Cache::new(CLIENTS),
            resources: ArcSwapOption::empty(),
            built_in: Arc::new(built_in),
            console,
        })
    }

    /// The client, as of the caller's last [`Changes::catch_up`]. Unknown ones are not remembered: a stranger could
    /// fill memory with names.
    pub(crate) async fn client(
        &self,
        db: &Db,
        changes: &Changes,
        id: &str,
    ) -> Result<Option<Arc<Client>>, DbFault> {
        if let Some(client) = self.clients.get(id) {
            return Ok(Some(client));
        }
        let epoch = changes.epoch();
        let row = self.as_known(id, db::client::find(db, id).await?);
        let Some(row) = row else {
            return Ok(None);
        };
        let secrets = db::client_secret::of_client(db, id).await?;
        let mut client = Client::from_rows(row, secrets)?;
        if client.origin == Origin::Document {
            let row = db::client_document::find(db, id).await?;
            client.document = row.as_ref().map(Document::written);
        }
        let client = Arc::new(client);
        let is_mine = |change: &Change| change.is_about(Noun::Client, id);
        changes.fill(epoch, is_mine, || {
            self.clients.insert(id.to_owned(), Arc::clone(&client));
        });
        Ok(Some(client))
    }

    /// What is known of a client that is kept so, or is not kept.
    fn as_known(&self, id: &str, kept: Option<ClientRow>) -> Option<ClientRow> {
        if id != console::CLIENT_ID {
            return kept;
        }
        let own = self.console.as_ref()?;
        Some(console::as_kept(own, kept))
    }

    /// All resources, as of the caller's last [`Changes::catch_up`].
    pub(crate) async fn resources(&self, db: &Db, changes: &Changes) -> Result<Arc<Resources>, DbFault> {
        if let Some(resources) = &*self.resources.load() {
            return Ok(Arc::clone(resources));
        }
        let epoch = changes.epoch();
        let rows = db::resource::list(db).await?;
        let list: Result<Vec<_>, _> = rows.into_iter().map(|row| from_row(row).map(Arc::new)).collect();
        let mut list = list?;
        // Whoever registered that name before there was this API has lost it.
        list.retain(|resource: &Arc<Resource>| resource.lookup_key != self.built_in.lookup_key);
        list.push(Arc::clone(&self.built_in));
        list.sort_by(|a, b| a.lookup_key.cmp(&b.lookup_key));
        let resources = Arc::new(Resources(list));
        let is_one = |change: &Change| change.is_of(&[Noun::Resource]);
        changes.fill(epoch, is_one, || {
            self.resources.store(Some(Arc::clone(&resources)))
        });
        Ok(resources)
    }
}

impl Memory for Registry {
    fn forget(&self, change: &Change) {
        match change.noun() {
            Some(Noun::Client) if change.subject == MANY => self.clients.clear(),
            Some(Noun::Client) => {
                self.clients.remove(&change.subject);
            }
            Some(Noun::Resource) => self.resources.store(None),
            Some(Noun::Key | Noun::Token) => {}
            None => self.forget_all(),
        }
    }

    fn forget_all(&self) {
        self.clients.clear();
        self.resources.store(None);
    }
}

fn from_row(row: ResourceRow) -> Result<Resource, DbFault> {
    let damaged = |column: &str| DbFault::Unexpected(format!("resource {}: {column} is damaged", row.uri));
    Ok(Resource {
        scopes: row.scopes.parse().map_err(|_| damaged("scopes"))?,
        algorithm: row.alg.parse().map_err(|_| damaged("alg"))?,
        access_ttl: UnixSeconds(row.access_ttl).since(UnixSeconds(0)),
        client_id: row.client_id,
        authorization_details_types: row
            .authorization_details_types
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect(),
        created_at: UnixSeconds(row.created_at),
        is_built_in: false,
        lookup_key: row.lookup_key,
        name: row.name,
        uri: row.uri,
    })
}
