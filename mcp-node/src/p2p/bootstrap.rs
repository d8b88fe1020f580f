//! Peers and relays that the operator named. Names in their addresses are looked up here, for the operator alone: what others say
//! never makes the node ask for a name.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use libp2p::core::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::task::Command;
use crate::peers::{Peers, Source};

/// Names are looked up this often: they may lead elsewhere by then.
const EVERY: Duration = Duration::from_secs(60);
/// So soon a relay that is lost is asked again.
const RELAYS_EVERY: Duration = Duration::from_secs(20);
/// Addresses that one name may stand for.
const MAX_PLACES: usize = 4;

/// Tells the table of peers where the operator's are, until the program stops.
pub(super) async fn name_peers(named: Vec<(PeerId, Multiaddr)>, peers: Peers, stopping: CancellationToken) {
    let addresses = by_peer(named);
    while !addresses.is_empty() {
        for (peer, addresses) in &addresses {
            let places = resolve_all(addresses).await;
            let places: Vec<String> = places.iter().map(ToString::to_string).collect();
            peers.heard(&peer.to_base58(), Source::Configuration, &places, None);
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stopping.cancelled() => return,
        }
    }
}

/// Tells the task where the operator's relays are, until the program stops.
pub(super) async fn name_relays(
    named: Vec<(PeerId, Multiaddr)>,
    commands: mpsc::Sender<Command>,
    stopping: CancellationToken,
) {
    let relays = by_peer(named);
    while !relays.is_empty() {
        for (relay, addresses) in &relays {
            let places = resolve_all(addresses).await;
            if commands.send(Command::Relay(*relay, places)).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(RELAYS_EVERY) => {}
            () = stopping.cancelled() => return,
        }
    }
}

fn by_peer(named: Vec<(PeerId, Multiaddr)>) -> BTreeMap<PeerId, Vec<Multiaddr>> {
    let mut addresses: BTreeMap<PeerId, Vec<Multiaddr>> = BTreeMap::new();
    for (peer, address) in named {
        addresses.entry(peer).or_default().push(address);
    }
    addresses
}

async fn resolve_all(addresses: &[Multiaddr]) -> Vec<Multiaddr> {
    let mut places = Vec::new();
    for address in addresses {
        places.extend(resolve(address).await);
    }
    places
}

/// The addresses that an address with a name stands for; any other stands for itself.
async fn resolve(address: &Multiaddr) -> Vec<Multiaddr> {
    let mut parts = address.iter();
    let (name, wanted): (_, fn(&IpAddr) -> bool) = match parts.next() {
        Some(Protocol::Dns(name)) => (name, |_| true),
        Some(Protocol::Dns4(name)) => (name, IpAddr::is_ipv4),
        Some(Protocol::Dns6(name)) => (name, IpAddr::is_ipv6),
        _ => return vec![address.clone()],
    };
    let rest: Multiaddr = parts.collect();
    let found = match tokio::net::lookup_host((&*name, 0)).await {
        Ok(found) => found,
        Err(reason) => {
            tracing::warn!(%address, %reason, "the name of a peer cannot be looked up");
            return Vec::new();
        }
    };
    found
        .map(|place| place.ip())
        .filter(wanted)
        .take(MAX_PLACES)
        .map(|ip| Multiaddr::from(ip).into_iter().chain(&rest).collect())
        .collect()
}
