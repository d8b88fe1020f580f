//! The lists in which the issuer says which records of its nodes still stand. A node that is followed by its peers is cut
//! off by them as soon as one of these lists says so, wherever that list comes from (docs/fleet.md).

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use shared::status_list::StatusReference;
use tokio::time::sleep;
use url::Url;

use super::{Inner, Revocation, lock};

/// Lists of records that are looked for at once, at most: an issuer of ours begins another when there are half a million
/// nodes.
const MAX_WANTED: usize = 8;
/// One that could not be had is looked for again after this time, and so often; then only when a record names it again.
const AGAIN: Duration = Duration::from_secs(5);
const TRIES: usize = 120;

impl Revocation {
    /// Follows the lists of the node's own resource, and those of records, from now on; other nodes do so from the first
    /// token that names a list.
    pub(crate) fn follow_nodes(&self, resource: &str) {
        let inner = &self.0;
        let Ok(mut url) = format!("{}oauth/status", inner.prefix).parse::<Url>() else {
            return;
        };
        let mut pairs = url.query_pairs_mut();
        pairs
            .append_pair("resource", resource)
            .append_pair("nodes", "true");
        drop(pairs);
        *lock(&inner.directory) = Some(url);
        self.follow();
    }

    /// Whether the issuer says that the record with this place has ended. Where nobody can say yet, it has not, and the list is
    /// looked for.
    pub(crate) fn has_ended(&self, place: &StatusReference) -> bool {
        match self.0.held(&place.uri) {
            // A place beyond the end of the list says nothing good (§8.3).
            Some(held) => held
                .mark(place.index, &self.0)
                .is_none_or(|mark| mark.is_revoked()),
            None => {
                self.want(&place.uri);
                false
            }
        }
    }

    fn want(&self, uri: &str) {
        let Some(url) = self.0.address_for_neighbour(uri) else {
            return;
        };
        let mut wanted = lock(&self.0.wanted);
        if wanted.len() >= MAX_WANTED || !wanted.insert(uri.to_owned()) {
            return;
        }
        drop(wanted);
        self.spawn(obtain(Arc::downgrade(&self.0), uri.to_owned(), url));
    }
}

/// Looks for a list at the issuer and at the neighbours, until it is held, or does not seem to exist.
async fn obtain(owner: Weak<Inner>, uri: String, url: Url) {
    for _ in 0..TRIES {
        let Some(inner) = owner.upgrade() else { return };
        if inner.held(&uri).is_some() || inner.obtain(&uri, &url).await {
            lock(&inner.wanted).remove(&uri);
            inner.changes.send_modify(|count| *count += 1);
            inner.unwritten.notify_one();
            // From now on it is asked for as the others are.
            if !inner.is_followed.load(Ordering::Acquire) {
                Revocation(Arc::clone(&inner)).follow();
            }
            return;
        }
        drop(inner);
        sleep(AGAIN).await;
    }
    if let Some(inner) = owner.upgrade() {
        lock(&inner.wanted).remove(&uri);
    }
}

impl Inner {
    async fn obtain(&self, uri: &str, url: &Url) -> bool {
        let passed_on = lock(&self.others)
            .content(uri)
            .map(|content| Arc::clone(&content.token));
        if let Some(token) = passed_on
            && let Ok(list) = self.take_up(uri, &token, None).await
        {
            self.confirm_by_signature(&list);
            return true;
        }
        self.fetch(uri, url, "").await.is_ok() || self.ask_neighbours(uri).await.is_some()
    }
}
