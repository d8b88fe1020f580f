//! The rows, and what each event does to them. Pure but for the monotonic clock.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use shared::clock::UnixSeconds;
use shared::fleet::name;
use shared::fleet::record::SignedRecord;
use tokio::time::Instant;

use super::choice::{pause, turn_of};
use super::membership::Members;
use super::peer::{Peer, Sighting, Source, State, kept};
use super::{MAX_ADDRESS_BYTES, MAX_PEERS, NotKnown};
use crate::advertisement::Advertisement;

/// Nodes that were cut off and are remembered, so that nobody tries them again. Each was signed for by the issuer once.
const MAX_CUT_OFF: usize = 4096;
/// A node that is heard of at another place is tried there, but not all the time.
const AT_NEW_PLACE: Duration = Duration::from_secs(5);
/// On the word of those who may say anything, no more often than this.
const ON_HEARSAY: Duration = Duration::from_secs(60);

pub(super) struct Table {
    own: String,
    pub(super) rows: HashMap<Arc<str>, Peer>,
    pub(super) cut_off: HashSet<Arc<str>>,
    /// The same, in order.
    pub(super) cut_off_order: VecDeque<Arc<str>>,
    pub(super) directory: Option<Members>,
}

/// What became of a sighting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// There is no row of it.
    Nothing,
    /// Nothing new.
    Same,
    /// A node, or a place, that was not known.
    New,
}

/// An advertisement that was taken.
pub(super) struct Taken {
    pub(super) node_id: Arc<str>,
    /// Whether it says something else than the one before, apart from what changes all the time.
    pub(super) is_news: bool,
}

/// What a sweep has found.
#[derive(Default)]
pub(super) struct Swept {
    /// Nodes whose record has expired.
    pub(super) left: Vec<Arc<str>>,
    /// Nodes whose advertisement has.
    pub(super) changed: Vec<Arc<str>>,
}

impl Table {
    pub(super) fn new(own: String) -> Self {
        Self {
            own,
            rows: HashMap::new(),
            cut_off: HashSet::new(),
            cut_off_order: VecDeque::new(),
            directory: None,
        }
    }

    pub(super) fn hear(
        &mut self,
        peer_id: &str,
        source: Source,
        addresses: &[String],
        until: Option<Instant>,
    ) -> Heard {
        let now = Instant::now();
        let sighting = Sighting {
            addresses: kept(addresses),
            until,
        };
        if let Some(row) = self.rows.get_mut(peer_id) {
            let has_moved = row
                .heard
                .get(&source)
                .is_none_or(|known| known.addresses != sighting.addresses);
            row.heard.insert(source, sighting);
            if !has_moved {
                return Heard::Same;
            }
            let may_hurry = source >= Source::Directory
                || row
                    .hurried_at
                    .is_none_or(|at| now.duration_since(at) >= ON_HEARSAY);
            if !may_hurry {
                return Heard::Same;
            }
            if source < Source::Directory {
                row.hurried_at = Some(now);
            }
            row.not_before = row.not_before.min(now + AT_NEW_PLACE);
            return Heard::New;
        }
        let Some(mut row) = self.row(peer_id, now) else {
            return Heard::Nothing;
        };
        row.heard.insert(source, sighting);
        if self.make_room(&row) {
            self.rows.insert(Arc::clone(&row.peer_id), row);
            Heard::New
        } else {
            Heard::Nothing
        }
    }

    pub(super) fn unhear(&mut self, peer_id: &str, source: Source) -> bool {
        let Some(row) = self.rows.get_mut(peer_id) else {
            return false;
        };
        row.heard.remove(&source);
        let is_connected = row.state() == State::Connected;
        self.drop_if_empty(peer_id);
        is_connected
    }

    /// Returns what the node was before.
    pub(super) fn prove(
        &mut self,
        record: Arc<SignedRecord>,
        address: &str,
        now: UnixSeconds,
    ) -> Result<State, NotKnown> {
        let peer_id = record.record.peer_id.clone();
        if peer_id == self.own {
            return Err(NotKnown::Own);
        }
        if now >= record.expires_at {
            return Err(NotKnown::Expired);
        }
        if self.cut_off.contains(peer_id.as_str()) || self.has_left(&record) {
            self.revoke(&peer_id);
            return Err(NotKnown::Revoked);
        }
        let instant = Instant::now();
        if !self.rows.contains_key(peer_id.as_str()) {
            let mut row = self.row(&peer_id, instant).ok_or(NotKnown::Revoked)?;
            row.record = Some(Arc::clone(&record));
            row.is_connected = true;
            row.last_contact = Some(instant);
            if !self.make_room(&row) {
                return Err(NotKnown::Full);
            }
            row.record = None;
            row.is_connected = false;
            self.rows.insert(Arc::clone(&row.peer_id), row);
        }
        let row = self.rows.get_mut(peer_id.as_str()).ok_or(NotKnown::Full)?;
        let was = row.state();
        let is_newer = row
            .record
            .as_ref()
            .is_none_or(|known| known.issued_at <= record.issued_at);
        if is_newer {
            row.record = Some(record);
        }
        (row.is_connected, row.failures, row.last_contact) = (true, 0, Some(instant));
        if address.len() <= MAX_ADDRESS_BYTES && row.heard.is_empty() {
            // So that it can be found again; what was heard of it elsewhere is the better address.
            let addresses = kept(&[address.to_owned()]);
            row.heard.insert(
                Source::Connection,
                Sighting {
                    addresses,
                    until: None,
                },
            );
        }
        Ok(was)
    }

    pub(super) fn advertise(
        &mut self,
        peer_id: &str,
        advertisement: Advertisement,
        now: UnixSeconds,
    ) -> Option<Taken> {
        let row = self
            .rows
            .get_mut(peer_id)
            .filter(|row| row.state() == State::Connected)?;
        if *advertisement.peer_id != *row.peer_id || !advertisement.is_current(now) {
            return None;
        }
        let known = row.advertisement.as_ref();
        if known.is_some_and(|known| advertisement.issued_at < known.issued_at) {
            return None;
        }
        let is_news = known.is_none_or(|known| !known.says_the_same(&advertisement));
        row.last_contact = Some(Instant::now());
        row.advertisement = Some(Arc::new(advertisement));
        Some(Taken {
            node_id: Arc::clone(&row.node_id),
            is_news,
        })
    }

    pub(super) fn contact(&mut self, peer_id: &str) {
        if let Some(row) = self.rows.get_mut(peer_id).filter(|row| row.is_connected) {
            row.last_contact = Some(Instant::now());
        }
    }

    /// Returns the node's id if it was connected.
    pub(super) fn lose(&mut self, peer_id: &str) -> Option<Arc<str>> {
        let row = self.rows.get_mut(peer_id).filter(|row| row.is_connected)?;
        row.is_connected = false;
        row.advertisement = None;
        row.not_before = Instant::now();
        Some(Arc::clone(&row.node_id))
    }

    pub(super) fn fail(&mut self, peer_id: &str) {
        if let Some(row) = self.rows.get_mut(peer_id).filter(|row| !row.is_connected) {
            row.failures = row.failures.saturating_add(1);
            row.not_before = Instant::now() + pause(row.failures);
        }
    }

    /// Returns the node's id if it was connected.
    pub(super) fn revoke(&mut self, peer_id: &str) -> Option<Arc<str>> {
        if name::public_key(peer_id).is_some() && self.cut_off.insert(peer_id.into()) {
            self.cut_off_order.push_back(peer_id.into());
            if self.cut_off_order.len() > MAX_CUT_OFF
                && let Some(oldest) = self.cut_off_order.pop_front()
            {
                self.cut_off.remove(&oldest);
            }
        }
        let row = self.rows.remove(peer_id)?;
        (row.state() == State::Connected).then_some(row.node_id)
    }

    pub(super) fn is_revoked(&self, peer_id: &str) -> bool {
        self.cut_off.contains(peer_id)
    }

    pub(super) fn is_known(&self, peer_id: &str) -> bool {
        self.rows.get(peer_id).is_some_and(|row| row.record.is_some())
    }

    pub(super) fn list(&self) -> Vec<Peer> {
        let mut all: Vec<Peer> = self.rows.values().cloned().collect();
        all.sort_by(|one, other| (other.state(), &one.peer_id).cmp(&(one.state(), &other.peer_id)));
        all
    }

    pub(super) fn find(&self, id: &str) -> Option<Peer> {
        if let Some(row) = self.rows.get(id) {
            return Some(row.clone());
        }
        // Somebody may have searched for a key with the id of a known node: that one comes first.
        let named = self.rows.values().filter(|row| *row.node_id == *id);
        named.max_by_key(|row| row.state()).cloned()
    }

    pub(super) fn sweep(&mut self, now: UnixSeconds) -> Swept {
        let instant = Instant::now();
        let mut swept = Swept::default();
        if self.directory.as_ref().is_some_and(|held| now >= held.expires_at) {
            self.directory = None;
        }
        for row in self.rows.values_mut() {
            row.heard
                .retain(|_, said| said.until.is_none_or(|until| instant < until));
            if row.record.as_ref().is_some_and(|record| now >= record.expires_at) {
                if row.is_connected {
                    swept.left.push(Arc::clone(&row.node_id));
                }
                (row.record, row.advertisement, row.is_connected) = (None, None, false);
            }
            if row
                .advertisement
                .as_ref()
                .is_some_and(|said| !said.is_current(now))
            {
                row.advertisement = None;
                swept.changed.push(Arc::clone(&row.node_id));
            }
        }
        self.rows.retain(|_, row| !is_empty(row));
        swept
    }

    /// A row for a peer id that may have one.
    fn row(&self, peer_id: &str, now: Instant) -> Option<Peer> {
        if peer_id == self.own || self.cut_off.contains(peer_id) {
            return None;
        }
        let key = name::public_key(peer_id)?;
        let mut row = Peer::new(peer_id, name::node_id(&key), now);
        row.turn = turn_of(&self.own, peer_id);
        Some(row)
    }

    /// Makes room for `newcomer`, if there is a row that weighs less.
    fn make_room(&mut self, newcomer: &Peer) -> bool {
        if self.rows.len() < MAX_PEERS {
            return true;
        }
        let lightest = self.rows.values().min_by_key(|row| row.weight());
        let lightest = lightest.filter(|row| row.weight() < newcomer.weight());
        let Some(peer_id) = lightest.map(|row| Arc::clone(&row.peer_id)) else {
            return false;
        };
        self.rows.remove(&peer_id);
        true
    }

    fn drop_if_empty(&mut self, peer_id: &str) {
        if self.rows.get(peer_id).is_some_and(is_empty) {
            self.rows.remove(peer_id);
        }
    }
}

/// Whether nobody speaks of the node any more, and nothing was proven.
fn is_empty(row: &Peer) -> bool {
    row.heard.is_empty() && row.record.is_none()
}
