//! The lists on disk, signed as they came, so that a node that starts without a network knows what it knew. They are
//! verified again when they are read.

use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::clock;
use shared::lasting_clock::Moment;
use shared::status_list::UnverifiedList;
use shared::tls::write_private;
use tokio::time::sleep;

use super::held::HeldList;
use super::{Inner, MAX_LISTS, lock};

/// The file is written no more often than this.
const EVERY: Duration = Duration::from_secs(2);
/// A larger file is not read.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct Kept {
    issuer: String,
    directory: Option<String>,
    lists: Vec<KeptList>,
}

#[derive(Serialize, Deserialize)]
struct KeptList {
    uri: String,
    version: String,
    /// By the lasting clock.
    confirmed_at: u64,
    token: String,
}

/// Takes up what was kept. A file that is damaged, or another issuer's, is as none, and so is a list in it whose
/// signature does not fit a key that is known.
pub(super) fn read(inner: &Inner) {
    let Some(file) = &inner.file else {
        return;
    };
    let ignored = |reason: &str| {
        tracing::warn!(issuer = inner.issuer, file = %file.display(), reason, "kept status lists are ignored");
    };
    let too_large = std::fs::metadata(file).is_ok_and(|found| found.len() > MAX_BYTES);
    if too_large {
        return ignored("the file is too large");
    }
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return,
        Err(e) => return ignored(&e.to_string()),
    };
    let Ok(kept) = serde_json::from_slice::<Kept>(&bytes) else {
        return ignored("the file is damaged");
    };
    if kept.issuer != inner.issuer {
        return ignored("the file is another issuer's");
    }
    if let Some(directory) = &kept.directory {
        inner.learn_directory(directory);
    }
    let now = clock::now();
    for list in kept.lists.into_iter().take(MAX_LISTS) {
        let verified = UnverifiedList::parse(&list.token).ok().and_then(|unverified| {
            let key = inner.keys.known(unverified.kid()?)?;
            unverified.verify(&key, (&inner.issuer, &list.uri), now).ok()
        });
        let Some(verified) = verified.filter(|_| list.uri.starts_with(&inner.prefix)) else {
            ignored("a list has expired, or its signature is not that of a known key");
            continue;
        };
        let confirmed_at = Moment::from_millis(list.confirmed_at).min(inner.clock.now());
        let held = HeldList::new(verified, &list.token, confirmed_at);
        held.describe(None, &list.version);
        lock(&inner.lists).insert(list.uri, Arc::new(held));
    }
}

/// Writes the file after every change, but not all the time.
pub(super) async fn write_when_needed(owner: Weak<Inner>) {
    while let Some(inner) = owner.upgrade() {
        if inner.file.is_none() {
            return;
        }
        // Woken at least now and then, so that the task ends with the lists' owner.
        let waited = tokio::time::timeout(Duration::from_secs(60), inner.unwritten.notified()).await;
        if waited.is_ok() {
            let writer = Arc::clone(&inner);
            tokio::task::spawn_blocking(move || write(&writer)).await.ok();
        }
        drop(inner);
        sleep(EVERY).await;
    }
}

fn write(inner: &Inner) {
    let Some(file) = &inner.file else {
        return;
    };
    // Nobody waits for the disk.
    let lists = {
        let held = lock(&inner.lists);
        let kept = held.iter().map(|(uri, list)| KeptList {
            uri: uri.clone(),
            version: list.version(),
            confirmed_at: list.confirmed_at().millis(),
            token: list.token(),
        });
        kept.collect()
    };
    let kept = Kept {
        issuer: inner.issuer.clone(),
        directory: lock(&inner.directory).as_ref().map(ToString::to_string),
        lists,
    };
    let written = serde_json::to_vec(&kept)
        .map_err(std::io::Error::other)
        .and_then(|bytes| write_private(file, &bytes, true));
    if let Err(reason) = written {
        tracing::warn!(issuer = inner.issuer, file = %file.display(), %reason, "the status lists could not be kept");
    }
}
