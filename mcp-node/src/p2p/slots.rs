//! Room for strangers (P2P-08). Whoever connects is a stranger until it has proven itself: there is room for so many of
//! them at once, for few from one address, and for addresses of known peers some room that strangers cannot take. Peers
//! that have proven themselves are counted elsewhere and lose their place to nobody.
//!
//! Whoever calls over QUIC may write any address of others until the handshake is over (RFC 9000 §8.1), as nobody can over
//! TCP. Until then it has a place in a room apart, so that packets of which nobody knows the sender fill no other.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::multiaddr::Protocol;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use tokio::time::Instant;

use super::dial::place_of;

/// Strangers at once, those in the middle of their handshake included.
pub(super) const MAX_STRANGERS: usize = 96;
/// Strangers whose addresses may not be theirs, besides.
pub(super) const MAX_UNVALIDATED: usize = 48;
/// The part of a room that is for addresses that known peers came from within [`REMEMBERED`]: a third.
const RESERVED: usize = 3;
/// Strangers at once from one address: an IPv4 address, or the network of an IPv6 one (/64).
const MAX_OF_ADDRESS: usize = 8;
/// How long, and how many, addresses of known peers are remembered.
const REMEMBERED: (Duration, usize) = (Duration::from_secs(3600), 1024);

/// There is no room for one more.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("too many connections that have not proven anything")]
struct Full;

#[derive(Default)]
pub(super) struct Slots {
    strangers: HashMap<ConnectionId, (Room, IpAddr)>,
    friends: HashMap<IpAddr, Instant>,
}

/// Where a stranger has its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Room {
    Unvalidated,
    Validated,
}

impl Room {
    fn of(address: &Multiaddr) -> Self {
        let is_quic = address.iter().any(|part| part == Protocol::QuicV1);
        if is_quic {
            Self::Unvalidated
        } else {
            Self::Validated
        }
    }

    fn size(self) -> usize {
        match self {
            Self::Unvalidated => MAX_UNVALIDATED,
            Self::Validated => MAX_STRANGERS,
        }
    }
}

impl Slots {
    /// A connection has proven itself: it is no stranger any more.
    pub(super) fn proven(&mut self, id: ConnectionId) {
        let Some((_, address)) = self.strangers.remove(&id) else {
            return;
        };
        let now = Instant::now();
        if self.friends.len() >= REMEMBERED.1 {
            self.friends
                .retain(|_, at| now.duration_since(*at) < REMEMBERED.0);
        }
        if self.friends.len() < REMEMBERED.1 || self.friends.contains_key(&address) {
            self.friends.insert(address, now);
        }
    }

    fn admit(&mut self, id: ConnectionId, room: Room, address: IpAddr) -> Result<(), Full> {
        let is_friend = |at: &Instant| at.elapsed() < REMEMBERED.0;
        let limit = match self.friends.get(&address).is_some_and(is_friend) {
            true => room.size(),
            false => room.size() - room.size() / RESERVED,
        };
        let there = || self.strangers.values().filter(|(other, _)| *other == room);
        let of_address = there().filter(|(_, other)| *other == address);
        if there().count() >= limit || of_address.count() >= MAX_OF_ADDRESS {
            return Err(Full);
        }
        self.strangers.insert(id, (room, address));
        Ok(())
    }
}

/// Whom an address belongs to, more or less: a network of IPv6 is one host's.
fn owner(address: &Multiaddr) -> IpAddr {
    match place_of(address) {
        Some((IpAddr::V6(ip), _)) => {
            let network = u128::from(ip) & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        Some((ip, _)) => ip,
        // Through a relay nobody has an address; all share one room.
        None => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
    }
}

impl NetworkBehaviour for Slots {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.admit(id, Room::of(remote), owner(remote))
            .map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if Room::of(remote) == Room::Unvalidated {
            // It has answered where it says that it is. If there is no room, its former place ends with the connection.
            self.admit(id, Room::Validated, owner(remote))
                .map_err(ConnectionDenied::new)?;
        }
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => drop(self.strangers.remove(&closed.connection_id)),
            FromSwarm::ListenFailure(failure) => drop(self.strangers.remove(&failure.connection_id)),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(slots: &mut Slots, number: usize, from: &str) -> bool {
        let from: Multiaddr = from.parse().unwrap();
        slots
            .handle_pending_inbound_connection(ConnectionId::new_unchecked(number), &from, &from)
            .is_ok()
    }

    #[test]
    fn p2p_08_one_address_takes_few_places_and_strangers_not_all() {
        let mut slots = Slots::default();
        let known = "/ip4/192.0.2.200/tcp/1";
        assert!(connect(&mut slots, 0, known));
        slots.proven(ConnectionId::new_unchecked(0));
        assert!(slots.strangers.is_empty());
        let of_one = (1..=100).filter(|number| connect(&mut slots, *number, "/ip4/192.0.2.1/tcp/1"));
        assert_eq!(of_one.count(), MAX_OF_ADDRESS);
        // A whole network of IPv6 is one host's.
        let of_network = (101..=200).filter(|number| {
            let address = format!("/ip6/2001:db8::{number:x}/tcp/1");
            connect(&mut slots, *number, &address)
        });
        assert_eq!(of_network.count(), MAX_OF_ADDRESS);
        let many = (201..=500).filter(|number| {
            let address = format!("/ip4/198.51.100.{}/tcp/1", number % 250);
            connect(&mut slots, *number, &address)
        });
        assert_eq!(
            many.count(),
            MAX_STRANGERS - MAX_STRANGERS / RESERVED - 2 * MAX_OF_ADDRESS
        );
        assert!(connect(&mut slots, 501, known), "a known peer comes back");
    }

    #[test]
    fn p2p_08_senders_that_may_be_others_fill_a_room_apart() {
        let mut slots = Slots::default();
        let forged = |number: usize| format!("/ip4/198.51.100.{number}/udp/1/quic-v1");
        let admitted = (1..=200).filter(|number| connect(&mut slots, *number, &forged(*number)));
        let strangers = MAX_UNVALIDATED - MAX_UNVALIDATED / RESERVED;
        assert_eq!(admitted.count(), strangers);
        // Nobody who calls over TCP is kept out by them.
        assert!(connect(&mut slots, 201, "/ip4/192.0.2.1/tcp/1"));
        // Whoever answers leaves that room to others, and is counted among all strangers.
        let answer = |slots: &mut Slots, number: usize| {
            let from: Multiaddr = forged(number).parse().unwrap();
            let id = ConnectionId::new_unchecked(number);
            slots.handle_established_inbound_connection(id, PeerId::random(), &from, &from)
        };
        assert!(answer(&mut slots, 1).is_ok());
        assert!(connect(&mut slots, 202, &forged(202)) && !connect(&mut slots, 203, &forged(203)));
        (300..500).for_each(|number| {
            connect(
                &mut slots,
                number,
                &format!("/ip4/203.0.113.{}/tcp/1", number % 250),
            );
        });
        assert!(answer(&mut slots, 2).is_err());
        assert_eq!(
            slots.strangers.len(),
            MAX_STRANGERS - MAX_STRANGERS / RESERVED + strangers
        );
    }
}
