//! Lists that this node has no tokens for: kept for neighbours that cannot reach the issuer.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use shared::clock::UnixSeconds;
use shared::status_list::{StatusList, VerifiedList};
use tokio::time::Instant;

use super::held::{Replaced, Whence, compare};
use super::neighbours::{Brought, Looked};

/// A list that a neighbour asked for is followed for so long: it may be cut off by now, and others may reach it.
const FOLLOWED_FOR: Duration = Duration::from_secs(60);
/// Lists that are followed for neighbours at once, at most: the issuer is asked for each every two seconds.
const MAX_FOLLOWED: usize = 8;
/// Lists that are kept, at most: 12 MB of the largest that an issuer of ours signs.
pub(super) const MAX_OTHERS: usize = 64;
/// Questions to the issuer that are remembered, at most.
pub(super) const MAX_ASKED: usize = 256;
/// For neighbours, an issuer is asked about one list no more often than this.
pub(super) const ASKED_EVERY: Duration = Duration::from_secs(2);
/// And no more often than this when it said that there is no such list.
const MISSING_EVERY: Duration = Duration::from_secs(30);

/// The lists, and what the issuer was asked about them.
#[derive(Default)]
pub(super) struct Others {
    kept: HashMap<String, Kept>,
    asked: HashMap<String, Asked>,
}

struct Kept {
    content: Content,
    etag: Option<String>,
    /// A neighbour has had use for it; the others were only passed on.
    is_wanted: bool,
    /// When a neighbour asked for it the last time.
    wished_at: Option<Instant>,
    used_at: Instant,
}

struct Asked {
    at: Instant,
    looked: Looked,
}

/// A list as it was signed.
pub(super) struct Content {
    list: Arc<StatusList>,
    pub(super) issued_at: UnixSeconds,
    pub(super) digest: String,
    pub(super) token: Arc<str>,
}

impl Content {
    pub(super) fn new(verified: VerifiedList, token: &str) -> Self {
        Self {
            digest: verified.list.digest(),
            list: Arc::new(verified.list),
            issued_at: verified.issued_at,
            token: token.into(),
        }
    }
}

impl Others {
    pub(super) fn content(&self, uri: &str) -> Option<&Content> {
        self.kept.get(uri).map(|kept| &kept.content)
    }

    /// The `ETag` with which the issuer is to be asked about a list that a neighbour wants; what came of it when it was
    /// asked just now.
    pub(super) fn begin_asking(&mut self, uri: &str) -> Result<Option<String>, Looked> {
        let now = Instant::now();
        if let Some(looked) = self.asked_a_moment_ago(uri) {
            return Err(looked);
        }
        if !self.asked.contains_key(uri) && self.asked.len() >= MAX_ASKED {
            let oldest = self.asked.iter().min_by_key(|(_, asked)| asked.at);
            if let Some(oldest) = oldest.map(|(uri, _)| uri.clone()) {
                self.asked.remove(&oldest);
            }
        }
        // Until the answer is there, others may ask further on.
        let asked = Asked {
            at: now,
            looked: Looked::Unreachable,
        };
        self.asked.insert(uri.to_owned(), asked);
        let kept = self.kept.get_mut(uri);
        Ok(kept.and_then(|kept| {
            kept.is_wanted = true;
            kept.used_at = now;
            kept.etag.clone()
        }))
    }

    /// What came of it when the issuer was asked about a list so short a time ago that it is not asked again.
    pub(super) fn asked_a_moment_ago(&self, uri: &str) -> Option<Looked> {
        let asked = self.asked.get(uri)?;
        let every = match asked.looked {
            Looked::Missing => MISSING_EVERY,
            Looked::Reached | Looked::Unreachable => ASKED_EVERY,
        };
        (asked.at.elapsed() < every).then_some(asked.looked)
    }

    /// What came of the question.
    pub(super) fn asked(&mut self, uri: &str, looked: Looked) {
        if let Some(asked) = self.asked.get_mut(uri) {
            asked.looked = looked;
        }
    }

    /// A neighbour has asked for a list.
    pub(super) fn wished(&mut self, uri: &str) {
        if let Some(kept) = self.kept.get_mut(uri) {
            kept.wished_at = Some(Instant::now());
        }
    }

    /// Lists that neighbours asked for a short time ago, and what they say; not those that the node has for itself, which it
    /// follows anyway. Who asked last comes first.
    pub(super) fn followed(&self, own: &HashSet<String>) -> Vec<(&String, &Content)> {
        let wished = self.kept.iter().filter(|(uri, _)| !own.contains(*uri));
        let mut wished: Vec<_> = wished
            .filter_map(|(uri, kept)| Some((kept.wished_at?, uri, &kept.content)))
            .filter(|(at, ..)| at.elapsed() < FOLLOWED_FOR)
            .collect();
        wished.sort_unstable_by_key(|(at, ..)| Reverse(*at));
        let wished = wished.into_iter().take(MAX_FOLLOWED);
        wished.map(|(_, uri, content)| (uri, content)).collect()
    }

    /// Takes up what was passed on.
    pub(super) fn replace(&mut self, uri: &str, content: Content) -> Brought {
        self.put(uri, (content, None), Whence::Neighbour)
    }

    /// Takes up what the issuer gave for a neighbour; with it, and only then, by what name the issuer knows it.
    pub(super) fn fetched(&mut self, uri: &str, content: Content, etag: Option<String>) {
        self.put(uri, (content, etag), Whence::Issuer);
    }

    fn put(&mut self, uri: &str, (content, etag): (Content, Option<String>), whence: Whence) -> Brought {
        let now = Instant::now();
        if let Some(kept) = self.kept.get_mut(uri) {
            let of_kept = (&*kept.content.list, kept.content.issued_at);
            let replaced = compare((&content.list, content.issued_at), of_kept, whence);
            let brought = match replaced {
                Ok(Replaced::Changed) => Brought::Newer,
                Ok(Replaced::Renewed) => Brought::Renewed,
                Ok(Replaced::Known) => Brought::Known,
                Err(_) => return Brought::Contradicts,
            };
            if brought != Brought::Known {
                kept.content = content;
            }
            if whence == Whence::Issuer {
                kept.etag = etag;
                kept.is_wanted = true;
                kept.used_at = now;
            }
            return brought;
        }
        let is_wanted = whence == Whence::Issuer;
        if self.make_room(is_wanted) {
            let kept = Kept {
                content,
                etag,
                is_wanted,
                wished_at: None,
                used_at: now,
            };
            self.kept.insert(uri.to_owned(), kept);
        }
        Brought::Newer
    }

    /// The list that nobody has had use for the longest makes room; what is only passed on drives out no list that a
    /// neighbour wants.
    fn make_room(&mut self, is_wanted: bool) -> bool {
        if self.kept.len() < MAX_OTHERS {
            return true;
        }
        let may_go = self.kept.iter().filter(|(_, kept)| is_wanted || !kept.is_wanted);
        let oldest = may_go.min_by_key(|(_, kept)| (kept.is_wanted, kept.used_at));
        let Some(oldest) = oldest.map(|(uri, _)| uri.clone()) else {
            return false;
        };
        self.kept.remove(&oldest);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(issued_at: i64) -> Content {
        let list = StatusList::new(1, vec![0]).unwrap();
        Content {
            digest: list.digest(),
            list: Arc::new(list),
            issued_at: UnixSeconds(issued_at),
            token: "token".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_passed_on_drives_out_no_list_that_is_wanted() {
        let mut others = Others::default();
        others.fetched("wanted", content(1), Some("etag".to_owned()));
        tokio::time::advance(ASKED_EVERY).await;
        for number in 0..2 * MAX_OTHERS {
            others.replace(&number.to_string(), content(1));
            assert!(others.kept.len() <= MAX_OTHERS);
        }
        assert!(others.content("wanted").is_some());
        for number in 0..MAX_OTHERS {
            others.fetched(&format!("wanted-{number}"), content(1), None);
        }
        assert!(others.content("wanted").is_none(), "the oldest of those");
        others.replace("passed on", content(1));
        assert!(others.content("passed on").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_list_that_is_missing_is_not_asked_for_again_soon() {
        let mut others = Others::default();
        for (looked, pause) in [
            (Looked::Unreachable, ASKED_EVERY),
            (Looked::Missing, MISSING_EVERY),
            (Looked::Reached, ASKED_EVERY),
        ] {
            assert_eq!(others.begin_asking("l"), Ok(None));
            others.asked("l", looked);
            assert_eq!(others.begin_asking("l"), Err(looked));
            tokio::time::advance(pause).await;
        }
        for number in 0..2 * MAX_ASKED {
            others.begin_asking(&number.to_string()).unwrap();
        }
        assert_eq!(others.asked.len(), MAX_ASKED);
    }
}
