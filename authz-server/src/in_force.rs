//! Everything that is made of what a reload changes: one set that takes the place of another as a whole.
//!
//! What was fetched in the old trust goes with it: key sets stay only where they come from the same place in the same
//! trust, documents only where as many are relied on as before.

use std::sync::Arc;

use shared::config::{NamedFile, Setting};
use shared::http_client::{ClientFault, GuardedClient, Own};

use crate::account::Provider;
use crate::client::document::Documents;
use crate::client::keys::ClientKeys;
use crate::client::registration::StatementIssuers;
use crate::config::Changeable;
use crate::token::assertion::AssertionKeys;

/// What the server goes by until the next reload.
pub(crate) struct InForce {
    pub(crate) changeable: Arc<Changeable>,
    /// The whole configuration that is in force, value by value.
    pub(crate) settings: Vec<Setting>,
    /// The provider with whose accounts people may sign in.
    pub(crate) provider: Option<Arc<Provider>>,
    /// Whose assertions are believed.
    pub(crate) assertion_keys: AssertionKeys,
    /// Whose software statements count.
    pub(crate) statements: StatementIssuers,
    /// Clients whose id is the address of their metadata.
    pub(crate) documents: Arc<Documents>,
    /// The public keys of clients.
    pub(crate) client_keys: Arc<ClientKeys>,
}

/// A configuration that reads well cannot be gone by: a file of authorities is none. The sentence begins with the key.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {fault}")]
pub(crate) struct BuildFault {
    key: &'static str,
    fault: ClientFault,
}

impl InForce {
    /// Makes it of `changeable`; `own` is where this server is itself. Call it on the program's own runtime.
    pub(crate) fn new(
        changeable: Arc<Changeable>,
        settings: Vec<Setting>,
        own: Own,
        before: Option<&Self>,
    ) -> Result<Self, BuildFault> {
        let named = |key| move |fault| BuildFault { key, fault };
        let (now, then) = (&*changeable, before.map(|before| &*before.changeable));
        let fetches_as_before = |before: &&Self| {
            has_rules_of((now, &settings), before) && now.clients.has_fetches_of(&before.changeable.clients)
        };
        let (documents, client_keys) = match before.filter(fetches_as_before) {
            Some(before) => {
                let client_keys = Arc::clone(&before.client_keys);
                let documents = if now.clients.has_documents_of(&before.changeable.clients) {
                    Arc::clone(&before.documents)
                } else {
                    Arc::new(before.documents.anew(&now.clients))
                };
                (documents, client_keys)
            }
            None => {
                let outbound =
                    GuardedClient::new(now.fetch_rules.clone(), own).map_err(named("fetch_rule"))?;
                let client_keys = ClientKeys::new(outbound.clone(), &now.clients);
                let client_keys = client_keys.map_err(named("fetch_rule"))?;
                (
                    Arc::new(Documents::new(outbound, &now.clients)),
                    Arc::new(client_keys),
                )
            }
        };
        let known = before.and_then(|before| before.provider.as_ref());
        let provider = match (&now.federation, known) {
            (Some(federation), Some(known)) if known.is_of(federation) => Some(Arc::clone(known)),
            (Some(federation), _) => {
                let provider = Provider::new(federation).map_err(named("federation.ca_file"))?;
                Some(Arc::new(provider))
            }
            (None, _) => None,
        };
        let statements = &now.clients.registration.statements;
        let statements = StatementIssuers::new(statements, before.map(|before| &before.statements));
        Ok(Self {
            provider,
            assertion_keys: AssertionKeys::new(
                &now.assertions,
                then.map(|then| &then.assertions)
                    .zip(before.map(|before| &before.assertion_keys)),
            ),
            statements: statements.map_err(named("clients.software_statement"))?,
            documents,
            client_keys,
            settings,
            changeable,
        })
    }

    /// Whether a document that was fetched under `before` would be fetched, and worth as much, under this one.
    pub(crate) fn relies_on_documents_of(&self, before: &Self) -> bool {
        let clients = &self.changeable.clients;
        has_rules_of((&self.changeable, &self.settings), before)
            && clients.has_documents_of(&before.changeable.clients)
    }
}

/// Whether the same may be fetched as `before`, in the same trust.
fn has_rules_of((changeable, settings): (&Changeable, &[Setting]), before: &InForce) -> bool {
    changeable.fetch_rules == before.changeable.fetch_rules
        && files_in(settings).eq(files_in(&before.settings))
}

/// The files that the rules of what is fetched name.
fn files_in(settings: &[Setting]) -> impl Iterator<Item = NamedFile> {
    let rules = settings.iter().filter(|one| one.path.starts_with("fetch_rule."));
    rules.map(NamedFile::of)
}
