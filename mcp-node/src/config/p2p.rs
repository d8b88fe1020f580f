//! `[p2p]`: the network of peers.

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;
use libp2p::core::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use shared::config::{Reader, Section};

/// Where a node listens unless it is told otherwise.
const LISTEN: &str = if cfg!(feature = "quic") {
    "/ip4/0.0.0.0/tcp/4001,/ip6/::/tcp/4001,/ip4/0.0.0.0/udp/4001/quic-v1,/ip6/::/udp/4001/quic-v1"
} else {
    "/ip4/0.0.0.0/tcp/4001,/ip6/::/tcp/4001"
};
/// The bounds of `max_peers`.
const MAX_PEERS: (usize, usize) = (2, 1000);

/// The network of peers, as it is configured.
#[derive(Clone, Debug)]
pub struct P2pConfig {
    /// Whether the node takes part.
    pub enabled: bool,
    /// Where it listens.
    pub listen: Vec<Multiaddr>,
    /// Where others reach it, if that is somewhere else.
    pub announce: Vec<Multiaddr>,
    /// Peers that are called at the start, each with its peer id.
    pub peers: Vec<(PeerId, Multiaddr)>,
    /// Networks that are no public ones, and whose addresses are called on anybody's word.
    pub dial: Vec<IpNet>,
    /// Proven peers that may be connected.
    pub max_peers: usize,
    /// Relays through which others may reach the node; none turns relaying and hole punching off.
    pub relays: Vec<(PeerId, Multiaddr)>,
}

/// A multiaddr, with a sentence of ours when it is none.
struct Address(Multiaddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|fault: libp2p::multiaddr::Error| {
            format!("{fault}: write a multiaddr, /ip4/192.0.2.1/tcp/4001 for example")
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl P2pConfig {
    /// Reads the section. Faults stay in the reader.
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let mut section = reader.section("p2p");
        let enabled = section.value("enabled", "false");
        let listen = addresses(&mut section, "listen", LISTEN);
        for address in listen.iter().filter(|address| relay_of(address).is_some()) {
            let fault = format!("{address}: a relay is named in relays, without /p2p-circuit");
            section.fault("listen", fault);
        }
        let announce = addresses(&mut section, "announce", "");
        let peers = named(&mut section, "peers");
        let relays = named(&mut section, "relays");
        for (_, address) in relays.iter().filter(|(_, address)| relay_of(address).is_some()) {
            section.fault(
                "relays",
                format!("{address}: name the relay itself, without /p2p-circuit"),
            );
        }
        for (_, address) in &peers {
            let is_known = |relay: Option<PeerId>| relays.iter().any(|(known, _)| Some(*known) == relay);
            if relay_of(address).is_some_and(|relay| !is_known(relay)) {
                let fault = format!("{address}: it leads through a relay that is not in relays");
                section.fault("peers", fault);
            }
        }
        let dial = section.list("dial", "");
        let max_peers = section.value("max_peers", "64");
        if max_peers.is_some_and(|max| !(MAX_PEERS.0..=MAX_PEERS.1).contains(&max)) {
            section.fault("max_peers", format!("write {} to {}", MAX_PEERS.0, MAX_PEERS.1));
        }
        Some(Self {
            enabled: enabled?,
            listen,
            announce,
            peers,
            dial,
            max_peers: max_peers?,
            relays,
        })
    }
}

fn addresses(section: &mut Section<'_>, key: &str, usual: &str) -> Vec<Multiaddr> {
    let list: Vec<Address> = section.list(key, usual);
    let list: Vec<Multiaddr> = list.into_iter().map(|address| address.0).collect();
    for address in &list {
        if !cfg!(feature = "quic") && address.iter().any(|part| part == Protocol::QuicV1) {
            section.fault(key, format!("{address}: this program was built without QUIC"));
        }
    }
    list
}

/// The relay that an address leads through: `None` when it leads straight there, `Some(None)` when the relay is not named.
pub(crate) fn relay_of(address: &Multiaddr) -> Option<Option<PeerId>> {
    let mut relay = None;
    for part in address {
        match part {
            Protocol::P2p(peer) => relay = Some(peer),
            Protocol::P2pCircuit => return Some(relay),
            _ => {}
        }
    }
    None
}

fn named(section: &mut Section<'_>, key: &str) -> Vec<(PeerId, Multiaddr)> {
    let mut named = Vec::new();
    for address in addresses(section, key, "") {
        match address.iter().last() {
            Some(Protocol::P2p(peer)) => named.push((peer, address)),
            _ => section.fault(
                key,
                format!("{address}: it must end with the peer's id, /p2p/12D3…"),
            ),
        }
    }
    named
}
