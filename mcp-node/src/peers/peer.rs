//! One row: a node, how it was heard of, and what was proven.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::fleet::record::SignedRecord;
use tokio::time::Instant;

use super::{MAX_ADDRESS_BYTES, MAX_ADDRESSES};
use crate::advertisement::Advertisement;

/// Addresses that are tried on the word of one source, so that none leaves the others without room; the operator's all are.
const MAX_TRIED_OF_SOURCE: usize = 3;

/// Where a node was heard of. The later in this order, the more it weighs when there is no room for all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// It came by itself.
    Connection,
    /// Another node spoke of it.
    Gossip,
    /// Multicast DNS on the local network.
    Mdns,
    /// The issuer's signed directory.
    Directory,
    /// The operator's configuration, or a request of a caller that may have it connected.
    Configuration,
}

/// How much is known of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Somebody has spoken of it: that proves nothing.
    Heard,
    /// It has proved who it is, and is not connected now.
    Known,
    /// It has proved who it is on a connection that stands.
    Connected,
}

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The libp2p peer id.
    pub(crate) peer_id: Arc<str>,
    /// The node's id, which follows from the same key.
    pub(crate) node_id: Arc<str>,
    pub(super) heard: BTreeMap<Source, Sighting>,
    /// What the issuer says of it, and what it proved to be.
    pub(crate) record: Option<Arc<SignedRecord>>,
    /// What it says of itself, over a connection that proved who it is.
    pub(crate) advertisement: Option<Arc<Advertisement>>,
    pub(super) is_connected: bool,
    /// When something came from it the last time.
    pub(crate) last_contact: Option<Instant>,
    /// When it was heard of first.
    pub(super) since: Instant,
    /// How often it could not be reached since it could.
    pub(super) failures: u32,
    /// Its turn among all that are tried ([`super::choice::turn_of`]).
    pub(super) turn: u64,
    /// It is not tried before.
    pub(super) not_before: Instant,
    /// When that was last brought forward because somebody who may say anything spoke of another place.
    pub(super) hurried_at: Option<Instant>,
}

/// What one source says.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) addresses: Vec<String>,
    /// `None` counts until the source takes it back.
    pub(super) until: Option<Instant>,
}

impl Peer {
    pub(super) fn new(peer_id: &str, node_id: String, now: Instant) -> Self {
        Self {
            peer_id: peer_id.into(),
            node_id: node_id.into(),
            heard: BTreeMap::new(),
            record: None,
            advertisement: None,
            is_connected: false,
            last_contact: None,
            since: now,
            failures: 0,
            not_before: now,
            turn: 0,
            hurried_at: None,
        }
    }

    /// How much is known.
    pub(crate) fn state(&self) -> State {
        match (&self.record, self.is_connected) {
            (None, _) => State::Heard,
            (Some(_), false) => State::Known,
            (Some(_), true) => State::Connected,
        }
    }

    /// Whether a connection stands on which it has proved who it is.
    pub(crate) fn is_connected(&self) -> bool {
        self.state() == State::Connected
    }

    /// Who speaks of it.
    pub(crate) fn sources(&self) -> Vec<Source> {
        self.heard.keys().copied().collect()
    }

    /// Where it may be reached, what weighs most first.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for address in self.heard.values().rev().flat_map(|said| &said.addresses) {
            if all.len() < MAX_ADDRESSES && !all.contains(address) {
                all.push(address.clone());
            }
        }
        all
    }

    /// The same, and who says so: not everybody may make this node call whomever they like.
    pub(super) fn sourced_addresses(&self) -> Vec<(Source, String)> {
        let mut all: Vec<(Source, String)> = Vec::new();
        for (source, said) in self.heard.iter().rev() {
            let most = match source {
                Source::Configuration => MAX_ADDRESSES,
                _ => MAX_TRIED_OF_SOURCE,
            };
            for address in said.addresses.iter().take(most) {
                if all.len() < MAX_ADDRESSES && !all.iter().any(|(_, known)| known == address) {
                    all.push((*source, address.clone()));
                }
            }
        }
        all
    }

    /// What it weighs when there is no room for all: the lightest goes first. Of those that are merely heard of, the one
    /// that came last; of those that are known, the one that has been silent longest.
    pub(super) fn weight(&self) -> impl Ord + use<> {
        let best = self.heard.keys().next_back().copied();
        // One that could not be reached goes first, whoever speaks of it, except for the operator.
        let is_hopeful = self.failures == 0 || best == Some(Source::Configuration);
        let is_silent_since = self.last_contact;
        (
            self.state(),
            is_hopeful,
            best,
            is_silent_since,
            Reverse(self.since),
        )
    }
}

/// What of `addresses` is kept: of each at most [`MAX_ADDRESS_BYTES`], in order, none twice.
pub(super) fn kept(addresses: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for address in addresses {
        let is_plain = !address.is_empty()
            && address.len() <= MAX_ADDRESS_BYTES
            && address.bytes().all(|byte| byte.is_ascii_graphic());
        if is_plain && !kept.contains(address) {
            kept.push(address.clone());
        }
        if kept.len() == MAX_ADDRESSES {
            break;
        }
    }
    kept
}
