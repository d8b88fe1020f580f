//! Questions that wait for an answer, and what they were asked for. No peer fills them by what it says: whoever was cut
//! off would have no place left for the questions that matter.

use std::collections::HashMap;
use std::hash::Hash;

use libp2p::PeerId;
use tokio::sync::oneshot;

use crate::revocation::{Had, Revocation};

/// Questions that wait for an answer, at most.
const MAX_OPEN: usize = 512;
/// Of those, what peers made us ask by saying what they have. Searches of others are bounded where they begin, so there
/// are always places for this node's own.
const MAX_TOLD: usize = 128;
/// What one peer made us ask.
const MAX_TOLD_BY_ONE: usize = 8;

/// A list is looked for.
pub(super) struct Search {
    pub(super) uri: String,
    /// Only what is newer will do.
    pub(super) had: Option<Had>,
    pub(super) hops: u8,
    /// Who asked.
    pub(super) except: Option<PeerId>,
    pub(super) answer: oneshot::Sender<Option<String>>,
}

/// Why something was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    Holdings,
    /// A list of ours.
    List,
    /// A list of ours that the peer says it has.
    Told,
    Keys,
    Announcement,
    /// What it has heard of others.
    Announcements,
    /// A part of a search.
    Search(u64),
}

struct Asked {
    peer: PeerId,
    uri: Option<String>,
    purpose: Purpose,
}

struct Open {
    uri: String,
    had: Option<Had>,
    left: usize,
    is_settling: bool,
    answer: oneshot::Sender<Option<String>>,
}

/// The questions, by the numbers that they were sent with.
pub(super) struct OpenQuestions<Id> {
    asked: HashMap<Id, Asked>,
    searches: HashMap<u64, Open>,
    next: u64,
}

impl<Id> Default for OpenQuestions<Id> {
    fn default() -> Self {
        Self {
            asked: HashMap::new(),
            searches: HashMap::new(),
            next: 0,
        }
    }
}

impl<Id: Eq + Hash> OpenQuestions<Id> {
    /// Whether a peer may be asked; for a list, when `uri` names one.
    pub(super) fn may_ask(&self, peer: &PeerId, uri: Option<&str>, purpose: Purpose) -> bool {
        if self.asked.len() >= MAX_OPEN {
            return false;
        }
        let of_a_list = |purpose| matches!(purpose, Purpose::List | Purpose::Told);
        let is_same =
            |asked: &&Asked| of_a_list(asked.purpose) && asked.peer == *peer && asked.uri.as_deref() == uri;
        if of_a_list(purpose) && self.asked.values().any(|asked| is_same(&asked)) {
            return false;
        }
        if purpose != Purpose::Told {
            return true;
        }
        let told = || self.asked.values().filter(|asked| asked.purpose == Purpose::Told);
        told().count() < MAX_TOLD && told().filter(|asked| asked.peer == *peer).count() < MAX_TOLD_BY_ONE
    }

    pub(super) fn asked(&mut self, id: Id, (peer, uri): (PeerId, Option<String>), purpose: Purpose) {
        self.asked.insert(id, Asked { peer, uri, purpose });
    }

    /// A question is over.
    pub(super) fn answered(&mut self, id: &Id) -> Option<Purpose> {
        self.asked.remove(id).map(|asked| asked.purpose)
    }

    /// A number for a search.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A search that `left` peers were asked for.
    pub(super) fn begin(&mut self, number: u64, search: Search, left: usize) {
        if left == 0 {
            search.answer.send(None).ok();
            return;
        }
        let open = Open {
            uri: search.uri,
            had: search.had,
            left,
            is_settling: false,
            answer: search.answer,
        };
        self.searches.insert(number, open);
    }

    /// One of those peers has answered, or will not; what it brought was judged and taken up. `true` when this is the
    /// first good answer: others may have something newer, and have a moment for it.
    pub(super) fn searched(&mut self, number: u64, lists: &Revocation) -> bool {
        let Some(open) = self.searches.get_mut(&number) else {
            return false;
        };
        open.left -= 1;
        if open.left == 0 {
            self.settle(number, lists);
            return false;
        }
        let is_first = !open.is_settling && lists.newer(&open.uri, open.had.as_ref()).is_some();
        open.is_settling |= is_first;
        is_first
    }

    /// A search ends with the newest of all that came.
    pub(super) fn settle(&mut self, number: u64, lists: &Revocation) {
        if let Some(open) = self.searches.remove(&number) {
            open.answer.send(lists.newer(&open.uri, open.had.as_ref())).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_peer_fills_the_questions_by_what_it_says() {
        let mut open = OpenQuestions::default();
        let (gagger, other) = (PeerId::random(), PeerId::random());
        let mut id = 0;
        let mut ask = |peer, uri: &str, purpose| {
            let may = open.may_ask(&peer, Some(uri), purpose);
            if may {
                id += 1;
                open.asked(id, (peer, Some(uri.to_owned())), purpose);
            }
            may
        };
        let copies = (0..128).filter(|_| ask(gagger, "l", Purpose::Told)).count();
        assert_eq!(copies, 1);
        let lists = (0..128).filter(|number| ask(gagger, &number.to_string(), Purpose::Told));
        assert_eq!(lists.count(), MAX_TOLD_BY_ONE - 1);
        assert!(ask(other, "l", Purpose::Told) && !ask(other, "l", Purpose::List));
        let many = (0..1000).filter(|number| ask(PeerId::random(), &number.to_string(), Purpose::Told));
        assert!(many.count() < MAX_TOLD);
        assert!(ask(gagger, "own", Purpose::List) && ask(gagger, "own", Purpose::Search(1)));
    }
}
