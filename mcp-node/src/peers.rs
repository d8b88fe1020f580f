//! Other nodes, as this one knows them: one bounded table, written by what happens (docs/fleet.md).
//!
//! What is heard of a node is advice: it says whom to try, and changes nothing else. A node counts as known when the
//! issuer's signed record of it was shown over a connection that proved its key; only such nodes are told of in the news,
//! and nothing that is merely heard pushes one out.

mod choice;
mod membership;
mod peer;
mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::clock;
use shared::fleet::record::{SignedDirectory, SignedRecord};
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) use self::choice::Whom;
pub(crate) use self::peer::{Peer, Source, State};
use self::table::{Heard, Table};
use crate::advertisement::Advertisement;
use crate::mcp::news::{Change, News, PeerEvent};

/// Rows that are kept at most (P2P-06).
pub(crate) const MAX_PEERS: usize = 1000;
/// Addresses of a node that are kept of one source at most.
pub(crate) const MAX_ADDRESSES: usize = 8;
/// A longer address is no address.
pub(crate) const MAX_ADDRESS_BYTES: usize = 256;

/// Why a node is not taken up as known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NotKnown {
    /// It is this node, or a copy of its key.
    #[error("it has the key of this node")]
    Own,
    /// The issuer's directory no longer names it.
    #[error("its enrolment has ended")]
    Revoked,
    /// The record has expired meanwhile.
    #[error("its record has expired")]
    Expired,
    /// [`MAX_PEERS`] nodes are connected.
    #[error("too many nodes are connected")]
    Full,
}

/// The table. A clone is the same one.
#[derive(Clone)]
pub(crate) struct Peers(Arc<Inner>);

struct Inner {
    table: Mutex<Table>,
    news: News,
    /// Counts changes of what can be dialled.
    advice: watch::Sender<u64>,
    /// Counts nodes that were cut off.
    cut_off: watch::Sender<u64>,
}

impl Peers {
    /// An empty table of the node with this peer id.
    pub(crate) fn new(own_peer_id: String, news: News) -> Self {
        Self(Arc::new(Inner {
            table: Mutex::new(Table::new(own_peer_id)),
            news,
            advice: watch::Sender::new(0),
            cut_off: watch::Sender::new(0),
        }))
    }

    /// Somebody says that there is a node, and where: advice only. `lasts` is how long that counts, without an end where
    /// the source itself says when it is over. Returns whether there is a row of it now: a peer id that is none, one's own
    /// or that of a node that was cut off has none, and neither has one for which there is no room.
    pub(crate) fn heard(
        &self,
        peer_id: &str,
        source: Source,
        addresses: &[String],
        lasts: Option<Duration>,
    ) -> bool {
        let until = lasts.map(|lasts| Instant::now() + lasts);
        match self.table().hear(peer_id, source, addresses, until) {
            Heard::Nothing => false,
            Heard::Same => true,
            Heard::New => {
                self.0.advice.send_modify(|count| *count += 1);
                true
            }
        }
    }

    /// A source has taken its word back. Nothing else changes: a connection to the node stays, and so does what is known of
    /// it. Returns whether it is connected, and so lives whatever the source says (P2P-07).
    pub(crate) fn unheard(&self, peer_id: &str, source: Source) -> bool {
        self.table().unhear(peer_id, source)
    }

    /// A connection to `address` has proved the key of `record`, which the issuer has signed.
    pub(crate) fn proven(&self, record: Arc<SignedRecord>, address: &str) -> Result<(), NotKnown> {
        let node_id: Arc<str> = record.record.node_id.as_str().into();
        let was = self.table().prove(record, address, clock::now())?;
        match was {
            State::Connected => {}
            State::Heard | State::Known => self.tell(node_id, PeerEvent::Joined),
        }
        Ok(())
    }

    /// A connected node says this of itself. Nothing that anybody else says is taken.
    pub(crate) fn advertised(&self, peer_id: &str, advertisement: Advertisement) -> bool {
        let Some(taken) = self.table().advertise(peer_id, advertisement, clock::now()) else {
            return false;
        };
        if taken.is_news {
            self.tell(taken.node_id, PeerEvent::Changed);
        }
        true
    }

    /// Something came from a connected node.
    pub(crate) fn contacted(&self, peer_id: &str) {
        self.table().contact(peer_id);
    }

    /// The last connection to a node is gone.
    pub(crate) fn lost(&self, peer_id: &str) {
        let left = self.table().lose(peer_id);
        if let Some(node_id) = left {
            self.tell(node_id, PeerEvent::Left);
        }
    }

    /// A node could not be reached, or did not prove who it is: it is tried again later, and makes room for others.
    pub(crate) fn unreachable(&self, peer_id: &str) {
        self.table().fail(peer_id);
    }

    /// A node's enrolment has ended. Its connections are to be closed by whoever holds them.
    #[cfg(test)]
    pub(crate) fn revoked(&self, peer_id: &str) {
        let left = self.table().revoke(peer_id);
        self.after_cut_off(left.into_iter().collect());
    }

    /// The issuer's directory: nodes that it knew and no longer names are cut off. An older one than the last changes nothing.
    pub(crate) fn directory(&self, directory: &SignedDirectory) {
        let left = self.table().directory(directory);
        self.after_cut_off(left);
    }

    /// How many nodes are connected that were not heard of on the local network.
    pub(crate) fn connected_far(&self) -> usize {
        choice::connected_far(self.table().rows.values())
    }

    /// Status lists have changed: nodes are cut off of whose record `is_revoked` says so.
    pub(crate) fn judge(&self, is_revoked: impl Fn(&SignedRecord) -> bool) {
        let left = self.table().judge(is_revoked);
        self.after_cut_off(left);
    }

    /// How many nodes the fleet has, this one among them, as far as is known here.
    pub(crate) fn fleet_size(&self) -> usize {
        self.table().fleet_size()
    }

    /// Whether a node has proved who it is, and its record still counts.
    pub(crate) fn is_known(&self, peer_id: &str) -> bool {
        self.table().is_known(peer_id)
    }

    /// Whether a node was cut off, as far as is known here.
    pub(crate) fn is_revoked(&self, peer_id: &str) -> bool {
        self.table().is_revoked(peer_id)
    }

    /// Nodes to try now, at most so many. Each is not offered again for a while.
    pub(crate) fn to_dial(&self, whom: Whom, at_most: usize) -> Vec<(String, Vec<(Source, String)>)> {
        self.table().next_to_dial(whom, at_most)
    }

    /// Where a node is said to be, and by whom.
    pub(crate) fn places(&self, peer_id: &str) -> Vec<(Source, String)> {
        let row = self.table().find(peer_id);
        row.map(|row| row.sourced_addresses()).unwrap_or_default()
    }

    /// Every row, known nodes first.
    pub(crate) fn list(&self) -> Vec<Peer> {
        self.table().list()
    }

    /// The row of a node, by its peer id or its node id.
    pub(crate) fn find(&self, id: &str) -> Option<Peer> {
        self.table().find(id)
    }

    /// Forgets what has expired.
    pub(crate) fn sweep(&self) {
        let swept = self.table().sweep(clock::now());
        for node_id in swept.changed {
            self.tell(node_id, PeerEvent::Changed);
        }
        self.after_cut_off(swept.left);
    }

    /// Changes when there is somebody new to dial.
    pub(crate) fn advice(&self) -> watch::Receiver<u64> {
        self.0.advice.subscribe()
    }

    /// Changes when a node was cut off: connections to those that are not [`Self::is_known`] must end.
    pub(crate) fn cut_off(&self) -> watch::Receiver<u64> {
        self.0.cut_off.subscribe()
    }

    fn after_cut_off(&self, left: Vec<Arc<str>>) {
        if left.is_empty() {
            return;
        }
        for node_id in left {
            self.tell(node_id, PeerEvent::Left);
        }
        self.0.cut_off.send_modify(|count| *count += 1);
    }

    fn tell(&self, id: Arc<str>, event: PeerEvent) {
        self.0.news.tell(Change::Peer { id, event });
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing under this lock panics half-way through a change.
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
