//! Whom the node calls, and who waits for that.

use std::sync::Arc;
use std::time::Duration;

use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId, kad};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::NotConnected;
use super::super::dial::Said;
use super::{MAX_ADDRESSES, Task};
use crate::peers::Source;

/// Calls that go on at once.
const CALLS: usize = 8;
/// Callers that wait for a connection.
const MAX_WAITING: usize = 64;

/// Somebody who waits for a connection to a peer.
pub(super) struct Waiting {
    peer: PeerId,
    answer: oneshot::Sender<Result<(), NotConnected>>,
    pub(super) since: Instant,
}

impl Task {
    pub(super) fn connect(&mut self, peer: PeerId, answer: oneshot::Sender<Result<(), NotConnected>>) {
        if self.connections.is_proven(&peer) {
            answer.send(Ok(())).ok();
            return;
        }
        let places = self.shared.trust.peers.places(&peer.to_base58());
        match self.call(peer, &places) {
            Ok(_) if self.waiting.len() < MAX_WAITING => self.waiting.push(Waiting {
                peer,
                answer,
                since: Instant::now(),
            }),
            Ok(_) => drop(answer.send(Err(NotConnected::Down))),
            Err(reason) => drop(answer.send(Err(reason))),
        }
    }

    /// Calls a peer at those of its places that may be called.
    fn call(
        &mut self,
        peer: PeerId,
        places: &[(Source, String)],
    ) -> Result<Option<ConnectionId>, NotConnected> {
        if self.swarm.is_connected(&peer) {
            return Ok(None);
        }
        let policy = Arc::clone(&self.shared.policy);
        let admitted = places
            .iter()
            .filter_map(|(source, address)| Some((said_by(*source), address.parse().ok()?)))
            .filter(|(said, address)| policy.admits(address, *said))
            .map(|(_, address)| address)
            .take(MAX_ADDRESSES);
        let admitted: Vec<Multiaddr> = admitted.collect();
        if admitted.is_empty() {
            return Err(NotConnected::NoAddress);
        }
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(admitted)
            .build();
        let id = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => Ok(Some(id)),
            // It is being called already.
            Err(DialError::DialPeerConditionFalse(_)) => Ok(None),
            Err(_) => Err(NotConnected::Unreachable),
        }
    }

    /// Calls peers of the table while there are few. The others may come by themselves.
    pub(super) fn call_some(&mut self) {
        let (proven, _) = self.connections.counts();
        let wanted = (self.shared.config.max_peers / 2).saturating_sub(proven);
        let at_most = wanted.min(CALLS.saturating_sub(self.calls.len()));
        if at_most == 0 {
            return;
        }
        let peers = self.shared.trust.peers.clone();
        for (text, places) in peers.to_dial(at_most) {
            let Ok(peer) = text.parse::<PeerId>() else {
                continue;
            };
            match self.call(peer, &places) {
                Ok(Some(id)) => drop(self.calls.insert(id, peer)),
                Ok(None) => {}
                Err(_) => peers.unreachable(&text),
            }
        }
    }

    pub(super) fn on_unreachable(&mut self, id: ConnectionId, peer: Option<PeerId>, error: &DialError) {
        let is_call = self.calls.remove(&id).is_some();
        let Some(peer) = peer.filter(|peer| !self.swarm.is_connected(peer)) else {
            return;
        };
        tracing::debug!(%peer, reason = %error, "a peer cannot be reached");
        if is_call {
            self.shared.trust.peers.unreachable(&peer.to_base58());
        }
        self.waiting_for(&peer, Err(NotConnected::Unreachable));
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

/// How much a word counts by where it came from.
fn said_by(source: Source) -> Said {
    match source {
        Source::Configuration => Said::ByOperator,
        Source::Mdns => Said::OnLocalNetwork,
        Source::Connection | Source::Gossip | Source::Directory => Said::ByAnybody,
    }
}
