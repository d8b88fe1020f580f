//! What nodes have said of themselves lately, as they signed it: for whoever comes new, and would else know of nobody before
//! everybody has spoken again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::clock::UnixSeconds;

use super::announcement::Announcement;

/// Announcements that are kept at most, and the longest that is.
const MAX_KEPT: usize = 64;
const MAX_BYTES: usize = 16 * 1024;
/// Announcements that are told to one peer at once.
pub(super) const MAX_TOLD: usize = 24;

/// By the peer id of their authors.
#[derive(Default)]
pub(super) struct Told(Mutex<HashMap<String, Kept>>);

struct Kept {
    text: Arc<str>,
    expires_at: UnixSeconds,
}

impl Told {
    /// Keeps one that was verified and is its author's latest. When there is no room, others are kept: everybody has some.
    pub(super) fn keep(&self, announcement: &Announcement, text: &str, now: UnixSeconds) {
        let author = &announcement.record.record.peer_id;
        let mut kept = self.kept();
        kept.retain(|_, kept| now < kept.expires_at);
        if text.len() > MAX_BYTES || (kept.len() >= MAX_KEPT && !kept.contains_key(author)) {
            kept.remove(author);
            return;
        }
        let latest = Kept {
            text: text.into(),
            expires_at: announcement.expires_at,
        };
        kept.insert(author.clone(), latest);
    }

    /// Some that still count, but not what `asker` says itself.
    pub(super) fn some_for(&self, asker: &str, now: UnixSeconds) -> Vec<String> {
        let kept = self.kept();
        let others = kept
            .iter()
            .filter(|(author, kept)| *author != asker && now < kept.expires_at);
        others
            .take(MAX_TOLD)
            .map(|(_, kept)| kept.text.to_string())
            .collect()
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        // Nothing under this lock panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
