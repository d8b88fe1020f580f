//! Where this node is reached: at addresses of its own, and through relays that the operator named.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use libp2p::core::multiaddr::Protocol;
use libp2p::core::transport::ListenerId;
use libp2p::{Multiaddr, PeerId, relay};

use super::super::dial::{Said, place_of};
use super::{MAX_ADDRESSES, PROTOCOLS, Task};
use crate::advertisement::Reached;

/// The relays that this node is reached through.
#[derive(Default)]
pub(super) struct Relays {
    listening: HashMap<ListenerId, PeerId>,
    /// The log knows already that these do not relay.
    lost: HashSet<PeerId>,
    attempts: usize,
}

impl Task {
    /// Where nobody can be heard, the node still calls others.
    pub(super) fn listen(&mut self) {
        for address in self.shared.config.listen.clone() {
            if let Err(reason) = self.swarm.listen_on(address.clone()) {
                tracing::error!(%address, %reason, "peers cannot be listened for");
            }
        }
        for address in self.shared.config.announce.clone() {
            self.swarm.add_external_address(address);
        }
    }

    /// Has others reach this node through a relay, unless they do already. Each time, `places` are the operator's word
    /// anew, which counts for some minutes.
    pub(super) fn listen_through(&mut self, relay: PeerId, places: &[Multiaddr]) {
        let policy = &self.shared.policy;
        let places: Vec<_> = places
            .iter()
            .filter(|place| policy.admits(place, Said::ByOperator))
            .collect();
        if self
            .relays
            .listening
            .values()
            .any(|listening| *listening == relay)
            || places.is_empty()
        {
            return;
        }
        // It may have several, and not answer at all of them.
        self.relays.attempts = self.relays.attempts.wrapping_add(1);
        let place = places[self.relays.attempts % places.len()].clone();
        let is_named = place.iter().any(|part| matches!(part, Protocol::P2p(_)));
        let place = if is_named {
            place
        } else {
            place.with(Protocol::P2p(relay))
        };
        match self.swarm.listen_on(place.with(Protocol::P2pCircuit)) {
            Ok(id) => drop(self.relays.listening.insert(id, relay)),
            Err(reason) => tracing::error!(%relay, %reason, "a relay cannot be used"),
        }
    }

    pub(super) fn on_relay(&mut self, event: relay::client::Event) {
        if let relay::client::Event::ReservationReqAccepted {
            relay_peer_id: relay,
            renewal: false,
            ..
        } = event
        {
            self.relays.lost.remove(&relay);
            tracing::info!(%relay, "peers reach this node through a relay");
        }
    }

    /// A relay is asked again in a while.
    pub(super) fn on_listener_closed(&mut self, id: ListenerId, reason: Result<(), std::io::Error>) {
        let Some(relay) = self.relays.listening.remove(&id) else {
            if let Err(reason) = reason {
                tracing::error!(%reason, "peers are no longer listened for");
            }
            return;
        };
        if self.relays.lost.insert(relay) {
            let reason = reason.err();
            let reason = reason.as_ref().map(tracing::field::display);
            tracing::warn!(%relay, reason, "a relay does not relay, it is asked again and again");
        }
        self.on_addresses();
    }

    /// Tells where this node is reached now.
    pub(super) fn on_addresses(&self) {
        let announced = self.shared.config.announce.iter().cloned();
        let (loopback, others): (Vec<_>, Vec<_>) = self.swarm.listeners().cloned().partition(is_loopback);
        let listened = if others.is_empty() { loopback } else { others };
        let addresses = announced.chain(in_turns(listened)).take(MAX_ADDRESSES);
        self.shared.reach.set(Reached {
            protocols: PROTOCOLS.map(str::to_owned).to_vec(),
            addresses: addresses.map(|address| address.to_string()).collect(),
        });
    }
}

/// Of each way one address after the other, since not all may be told, and fewer are tried: TCP first, which passes most
/// firewalls, then QUIC, then relays. Always in the same order.
fn in_turns(addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
    let mut ways: BTreeMap<u8, VecDeque<Multiaddr>> = BTreeMap::new();
    for address in addresses {
        let has = |wanted: Protocol<'_>| address.iter().any(|part| part == wanted);
        let way = match (has(Protocol::P2pCircuit), has(Protocol::QuicV1)) {
            (true, _) => 2,
            (false, true) => 1,
            (false, false) => 0,
        };
        ways.entry(way).or_default().push_back(address);
    }
    for way in ways.values_mut() {
        way.make_contiguous().sort_unstable();
    }
    let mut all = Vec::new();
    while ways.values().any(|way| !way.is_empty()) {
        all.extend(ways.values_mut().filter_map(VecDeque::pop_front));
    }
    all
}

/// Others have a loopback of their own. Where nothing else is listened on, all peers are on this machine.
fn is_loopback(address: &Multiaddr) -> bool {
    place_of(address).is_some_and(|(ip, _)| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_addresses_some_of_each_way_are_told() {
        let relay = "/ip4/9.9.9.9/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit";
        let addresses = [
            "/ip6/2620:fe::fe/udp/4001/quic-v1",
            "/ip4/10.0.0.2/tcp/4001",
            relay,
            "/ip4/10.0.0.1/tcp/4001",
            "/ip4/10.0.0.1/udp/4001/quic-v1",
        ];
        let told = in_turns(addresses.iter().map(|text| text.parse().unwrap()).collect());
        let told: Vec<_> = told.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [addresses[3], addresses[4], relay, addresses[1], addresses[0]]
        );
    }
}
