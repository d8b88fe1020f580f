//! Which nodes belong to the fleet, as the issuer says: by its directory, and by the lists of records that have ended.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use shared::clock::UnixSeconds;
use shared::fleet::record::{SignedDirectory, SignedRecord};

use super::peer::Peer;
use super::table::Table;

/// A directory must name a node that had enrolled this long before it was signed: its server may have read the list of nodes
/// a moment earlier, or by another clock.
const MUST_BE_NAMED: Duration = Duration::from_secs(60);

/// The nodes of the issuer's directory, by peer id.
pub(super) struct Members {
    pub(super) issued_at: UnixSeconds,
    pub(super) expires_at: UnixSeconds,
    pub(super) nodes: HashSet<String>,
    /// Those that another one of the same time named.
    dropped: HashSet<String>,
}

impl Table {
    /// Returns the ids of nodes that were connected and are cut off now.
    pub(super) fn directory(&mut self, directory: &SignedDirectory) -> Vec<Arc<str>> {
        let is_older = |held: &Members| directory.issued_at < held.issued_at;
        if self.directory.as_ref().is_some_and(is_older) {
            return Vec::new();
        }
        let nodes: HashSet<String> = directory.nodes.iter().map(|node| node.peer_id.clone()).collect();
        let held = self.directory.take();
        let is_newer = held
            .as_ref()
            .is_none_or(|held| held.issued_at < directory.issued_at);
        if is_newer {
            // What the server says last counts, be it that a node was cut off by mistake.
            self.cut_off.retain(|peer_id| !nodes.contains(&**peer_id));
            self.cut_off_order.retain(|peer_id| !nodes.contains(&**peer_id));
        }
        // Those too that a status list has ended already. Of two of one time, nobody knows which is the later.
        let before = held
            .into_iter()
            .flat_map(|held| held.nodes.into_iter().chain(held.dropped));
        let mut dropped: HashSet<String> = before.filter(|id| !nodes.contains(id)).collect();
        let mut gone: Vec<Arc<str>> = Vec::new();
        if is_newer {
            gone.extend(dropped.drain().map(Into::into));
        }
        self.directory = Some(Members {
            issued_at: directory.issued_at,
            expires_at: directory.expires_at,
            nodes,
            dropped,
        });
        let left = |row: &&Peer| row.record.as_ref().is_some_and(|record| self.has_left(record));
        let left = self.rows.values().filter(left);
        gone.extend(left.map(|row| Arc::clone(&row.peer_id)));
        gone.iter().filter_map(|peer_id| self.revoke(peer_id)).collect()
    }

    /// How many nodes the fleet has, as far as is known here.
    pub(super) fn fleet_size(&self) -> usize {
        let known = self.rows.values().filter(|row| row.record.is_some()).count();
        let named = self.directory.as_ref().map_or(0, |held| held.nodes.len());
        named.max(known + 1)
    }

    /// Drops nodes of whose record the issuer says that it is revoked. Returns the ids of those that were connected.
    pub(super) fn judge(&mut self, is_revoked: impl Fn(&SignedRecord) -> bool) -> Vec<Arc<str>> {
        let record_of = |row: &&Peer| row.record.as_ref().is_some_and(|record| is_revoked(record));
        let gone = self.rows.values().filter(record_of);
        let gone: Vec<Arc<str>> = gone.map(|row| Arc::clone(&row.peer_id)).collect();
        // It is the record that has ended: with another one, the same key may come back.
        let gone = gone.iter().filter_map(|peer_id| self.rows.remove(peer_id));
        gone.filter(|row| row.is_connected)
            .map(|row| row.node_id)
            .collect()
    }

    /// Whether the directory should name a node and does not: one that enrolled later is in the next one.
    pub(super) fn has_left(&self, record: &SignedRecord) -> bool {
        self.directory.as_ref().is_some_and(|held| {
            record.record.enrolled_at + MUST_BE_NAMED <= held.issued_at
                && !held.nodes.contains(&record.record.peer_id)
        })
    }
}
