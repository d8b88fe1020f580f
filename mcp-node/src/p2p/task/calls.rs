//! Whom the node calls, and who waits for that.

use std::sync::Arc;
use std::time::Duration;

use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId, TransportError, kad};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::NotConnected;
use super::super::dial::Said;
use super::{MAX_ADDRESSES, Task};
use crate::peers::{Source, Whom};

/// Peers that a node has before it calls no more, the operator's aside; others may come by themselves. Gossip keeps a mesh of
/// 4 to 12 of them.
const ENOUGH: usize = 10;
/// So many of them are to be elsewhere than on the local network, however many there are.
const FAR: usize = 3;
/// Calls that go on at once.
const CALLS: usize = 8;
/// Of these, those that the DHT makes by itself.
const CALLS_OF_DHT: usize = 4;
/// Addresses of a peer that has proven nothing, as far as others of whom nobody knows said them, that are called at once.
const MAX_HEARSAY: usize = 2;
/// Callers that wait for a connection.
const MAX_WAITING: usize = 64;

/// Somebody who waits for a connection to a peer.
pub(super) struct Waiting {
    peer: PeerId,
    answer: oneshot::Sender<Result<(), NotConnected>>,
    pub(super) since: Instant,
}

/// A call that goes on.
pub(super) struct Call {
    peer: PeerId,
    /// Whether it is made because of the table, and nobody waits for it.
    is_by_table: bool,
}

impl Task {
    pub(super) fn connect(&mut self, peer: PeerId, answer: oneshot::Sender<Result<(), NotConnected>>) {
        if self.connections.is_proven(&peer) {
            answer.send(Ok(())).ok();
            return;
        }
        let places = self.shared.trust.peers.places(&peer.to_base58());
        match self.call(peer, &places, false) {
            Ok(()) if self.waiting.len() < MAX_WAITING => self.waiting.push(Waiting {
                peer,
                answer,
                since: Instant::now(),
            }),
            Ok(()) => drop(answer.send(Err(NotConnected::Down))),
            Err(reason) => drop(answer.send(Err(reason))),
        }
    }

    /// Calls a peer at those of its places that may be called. What strangers of the local network say is called beside the
    /// rest: the first that answers ends a call, and may be another who answers faster.
    fn call(
        &mut self,
        peer: PeerId,
        places: &[(Source, String)],
        is_by_table: bool,
    ) -> Result<(), NotConnected> {
        if self.swarm.is_connected(&peer) {
            return Ok(());
        }
        let (by_strangers, others) = self.admitted(peer, places);
        if by_strangers.is_empty() && others.is_empty() {
            return Err(NotConnected::NoAddress);
        }
        let mut condition = PeerCondition::DisconnectedAndNotDialing;
        let mut called = Err(NotConnected::Unreachable);
        for addresses in [others, by_strangers] {
            if addresses.is_empty() {
                continue;
            }
            let options = DialOpts::peer_id(peer)
                .condition(condition)
                .addresses(addresses)
                .build();
            let id = options.connection_id();
            match self.swarm.dial(options) {
                Ok(()) => {
                    self.calls.insert(id, Call { peer, is_by_table });
                    called = Ok(());
                    condition = PeerCondition::Disconnected;
                }
                // It is being called already.
                Err(DialError::DialPeerConditionFalse(_)) => return Ok(()),
                Err(_) => {}
            }
        }
        called
    }

    /// Addresses that may be called: those that strangers of the local network named, and the others.
    fn admitted(&self, peer: PeerId, places: &[(Source, String)]) -> (Vec<Multiaddr>, Vec<Multiaddr>) {
        let policy = &self.shared.policy;
        let is_known = self.shared.trust.peers.is_known(&peer.to_base58());
        let (mut by_strangers, mut others, mut hearsay) = (Vec::new(), Vec::new(), 0);
        for (source, address) in places.iter().take(MAX_ADDRESSES) {
            let is_hearsay = !is_known && matches!(source, Source::Connection | Source::Gossip);
            let Ok(address) = address.parse::<Multiaddr>() else {
                continue;
            };
            if (is_hearsay && hearsay >= MAX_HEARSAY) || !policy.admits(&address, said_by(*source)) {
                continue;
            }
            hearsay += usize::from(is_hearsay);
            match source {
                Source::Mdns => by_strangers.push(address),
                _ => others.push(address),
            }
        }
        (by_strangers, others)
    }

    /// Calls peers of the table: the operator's always, others while there are few.
    pub(super) fn call_some(&mut self) {
        let (proven, _) = self.connections.counts();
        let max_peers = self.shared.config.max_peers;
        let of_table = self.calls.values().filter(|call| call.is_by_table).count();
        let gate = &mut self.swarm.behaviour_mut().gate;
        let going_on = of_table + gate.calls();
        let mut left = CALLS
            .min(max_peers.saturating_sub(proven))
            .saturating_sub(going_on);
        let peers = self.shared.trust.peers.clone();
        let mut chosen = peers.to_dial(Whom::Operators, left);
        left -= chosen.len();
        // Two full networks would never hear of each other.
        let few_far = FAR.saturating_sub(peers.connected_far() + chosen.len());
        let far = peers.to_dial(Whom::Far, few_far.min(left));
        left -= far.len();
        chosen.extend(far);
        let has = proven + going_on + chosen.len();
        let wanted = ENOUGH.min(max_peers / 2).saturating_sub(has).min(left);
        let others = peers.to_dial(Whom::Others, wanted);
        // Of what nobody in the table is called for, the DHT may have some for its searches.
        gate.allow_calls((wanted - others.len()).min(CALLS_OF_DHT));
        chosen.extend(others);
        for (text, places) in chosen {
            let Ok(peer) = text.parse::<PeerId>() else {
                continue;
            };
            if self.call(peer, &places, true).is_err() {
                peers.unreachable(&text);
            }
        }
    }

    pub(super) fn on_unreachable(&mut self, id: ConnectionId, peer: Option<PeerId>, error: &DialError) {
        let call = self.calls.remove(&id);
        for address in missed(error) {
            self.shared.policy.missed(address);
        }
        let Some(peer) = peer.filter(|peer| !self.swarm.is_connected(peer)) else {
            return;
        };
        tracing::debug!(%peer, reason = %error, "a peer cannot be reached");
        if self.calls.values().any(|other| other.peer == peer) {
            // It may be where others say.
            return;
        }
        if call.is_some_and(|call| call.is_by_table) {
            self.shared.trust.peers.unreachable(&peer.to_base58());
        }
        self.waiting_for(&peer, Err(NotConnected::Unreachable));
    }

    /// Tells the DHT where a proven peer is, as it says itself.
    pub(in crate::p2p) fn place(&mut self, peer: &PeerId) {
        let places = self.shared.trust.peers.places(&peer.to_base58());
        let said = places.iter().filter(|(source, _)| *source == Source::Gossip);
        let addresses = said.filter_map(|(_, address)| address.parse().ok()).collect();
        self.on_identified(peer, addresses);
    }

    /// Whom the DHT has named is advice.
    pub(super) fn on_found(&self, result: kad::QueryResult) {
        let kad::QueryResult::GetClosestPeers(Ok(found)) = result else {
            return;
        };
        for peer in found.peers.into_iter().take(32) {
            let addresses = peer.addrs.iter().take(MAX_ADDRESSES);
            let addresses: Vec<String> = addresses.map(ToString::to_string).collect();
            let lasts = Some(Duration::from_secs(600));
            self.shared
                .trust
                .peers
                .heard(&peer.peer_id.to_base58(), Source::Gossip, &addresses, lasts);
        }
    }

    /// What something was revoked by is told before anybody is let go.
    pub(super) fn on_changed_lists(&mut self) {
        self.publish_lists();
        let trust = Arc::clone(&self.shared.trust);
        trust.peers.judge(|record| trust.has_ended(record));
    }

    pub(super) fn let_go_of_the_cut_off(&mut self) {
        let peers = self.shared.trust.peers.clone();
        for peer in self.connections.all_proven() {
            if !peers.is_known(&peer.to_base58()) {
                tracing::warn!(%peer, "a peer was cut off, or its record has expired");
                // It may have gone by itself just now.
                self.swarm.disconnect_peer_id(peer).ok();
            }
        }
    }

    pub(super) fn waiting_for(&mut self, peer: &PeerId, outcome: Result<(), NotConnected>) {
        let is_for = |waiting: &mut Waiting| waiting.peer == *peer;
        for waiting in self.waiting.extract_if(.., is_for) {
            waiting.answer.send(outcome).ok();
        }
    }
}

/// Where there was nobody, or another one.
fn missed(error: &DialError) -> Vec<&Multiaddr> {
    match error {
        DialError::WrongPeerId { address, .. } => vec![address],
        DialError::Transport(failed) => failed
            .iter()
            // What was not called at all is not missed.
            .filter(|(_, reason)| matches!(reason, TransportError::Other(_)))
            .map(|(address, _)| address)
            .collect(),
        _ => Vec::new(),
    }
}

/// How much a word counts by where it came from.
fn said_by(source: Source) -> Said {
    match source {
        Source::Configuration => Said::ByOperator,
        Source::Mdns => Said::OnLocalNetwork,
        Source::Connection | Source::Gossip | Source::Directory => Said::ByAnybody,
    }
}
