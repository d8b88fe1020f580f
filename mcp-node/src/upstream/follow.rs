//! What an upstream tells of changes: of its lists, and of resources that somebody waits for.

use std::collections::BTreeSet;
use std::time::Duration;

use rmcp::model::{CustomRequest, ServerNotification, SubscriptionFilter};
use rmcp::service::ServiceError;
use serde_json::json;
use tokio::time::sleep;

use super::Upstream;
use super::link::Link;
use crate::mcp::news::Change;

/// How long a server may take to say that it tells of a resource.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many resources of one upstream are watched; those who wait for them share the places out.
const MOST: usize = 256;
/// Between two times of listening.
const PAUSE: Duration = Duration::from_millis(500);

/// A server without `initialize` says what changes to those who listen (2026-07-28, "Subscriptions").
pub(super) async fn listen(upstream: &Upstream, link: &Link) {
    if !link.is_modern() {
        return;
    }
    let mut followed = upstream.news.followed();
    loop {
        followed.borrow_and_update();
        let wanted = wanted(upstream, link);
        if wanted == SubscriptionFilter::default() {
            if followed.changed().await.is_err() {
                return;
            }
            continue;
        }
        match link.peer.listen(wanted.clone()).await {
            Ok(mut changes) => loop {
                tokio::select! {
                    change = changes.next() => match change {
                        Ok(Some(ServerNotification::ResourceUpdatedNotification(updated))) => {
                            if upstream.names.is_anothers_uri(&updated.params.uri) {
                                continue;
                            }
                            let uri = upstream.names.offered_uri(&updated.params.uri);
                            upstream.news.tell(Change::Resource(uri.into()));
                        }
                        Ok(Some(_)) => link.changed.notify_one(),
                        Ok(None) | Err(_) => break,
                    },
                    more = followed.changed() => {
                        if more.is_err() {
                            return;
                        }
                        // Others come and go whose resources are another server's, or are followed already.
                        if self::wanted(upstream, link) != wanted {
                            break;
                        }
                    }
                }
            },
            // It has changes to tell of and no way to do so: nothing more can be done.
            Err(ServiceError::McpError(fault)) => {
                tracing::info!(%fault, "an upstream server does not tell of changes");
                return;
            }
            Err(fault) => tracing::debug!(%fault, "changes of an upstream server cannot be heard now"),
        }
        sleep(PAUSE).await;
        // What happened meanwhile was not told.
        link.changed.notify_one();
    }
}

fn wanted(upstream: &Upstream, link: &Link) -> SubscriptionFilter {
    let has = link.capabilities();
    let resources = has.resources.unwrap_or_default();
    let uris = if resources.subscribe == Some(true) {
        upstream.followed()
    } else {
        BTreeSet::new()
    };
    let mut wanted = SubscriptionFilter::default();
    wanted.tools_list_changed = has.tools.and_then(|tools| tools.list_changed);
    wanted.prompts_list_changed = has.prompts.and_then(|prompts| prompts.list_changed);
    wanted.resources_list_changed = resources.list_changed;
    wanted.resource_subscriptions =
        Some(uris.into_iter().collect::<Vec<_>>()).filter(|uris| !uris.is_empty());
    wanted
}

/// A server with `initialize` is asked for each resource that somebody waits for ("Resources", "Subscriptions").
pub(super) async fn subscribe(upstream: &Upstream, link: &Link) {
    let resources = link.capabilities().resources;
    if link.is_modern() || resources.and_then(|resources| resources.subscribe) != Some(true) {
        return;
    }
    let mut followed = upstream.news.followed();
    let mut asked = BTreeSet::new();
    loop {
        followed.borrow_and_update();
        let now = upstream.followed();
        for uri in now.difference(&asked) {
            link.say("resources/subscribe", uri).await;
        }
        for uri in asked.difference(&now) {
            link.say("resources/unsubscribe", uri).await;
        }
        asked = now;
        if followed.changed().await.is_err() {
            return;
        }
    }
}

impl Link {
    /// What comes of it is told by notifications, or it is not.
    async fn say(&self, method: &str, uri: &str) {
        let request = CustomRequest::new(method, Some(json!({ "uri": uri })));
        if let Err(fault) = self.ask(request, PATIENCE).await {
            tracing::debug!(method, %fault, "an upstream server does not tell of a resource");
        }
    }
}

impl Upstream {
    /// Its own URIs of resources that somebody waits for.
    fn followed(&self) -> BTreeSet<String> {
        let followed = self.news.followed();
        let followed = followed.borrow();
        followed.shared_out(MOST, |uri| {
            let others = Some(uri).filter(|uri| !uri.starts_with("edge-hive://"));
            others.and_then(|uri| self.own_uri(uri)).map(str::to_owned)
        })
    }
}
