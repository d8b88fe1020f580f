//! Whom this node calls (P2P-16). Addresses come from peers, the DHT and the local network, and whoever writes one must
//! not make the node call whomever they like: public addresses may be called on anybody's word, others only on the
//! operator's, or on that of the local network for addresses in it.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use ipnet::IpNet;
use libp2p::core::multiaddr::Protocol;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::{Multiaddr, PeerId, Transport};
use shared::http_client::{reached_address, special_purpose};
use tokio::time::Instant;

/// Addresses that are kept as told, at most.
const MAX_TOLD: usize = 2048;
/// How long the word of the local network counts for an address.
const TOLD_FOR: Duration = Duration::from_secs(600);

/// Who names an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    /// The operator, or somebody who may speak for the operator.
    ByOperator,
    /// Multicast DNS.
    OnLocalNetwork,
    /// A peer, the DHT, or who knows.
    ByAnybody,
}

/// The rule.
#[derive(Debug, Default)]
pub(super) struct DialPolicy {
    /// Networks that are no public ones, and may be called on anybody's word.
    networks: Vec<IpNet>,
    relays: HashSet<PeerId>,
    told: Mutex<HashMap<(IpAddr, u16), Instant>>,
}

impl DialPolicy {
    pub(super) fn new(networks: Vec<IpNet>, relays: HashSet<PeerId>) -> Self {
        Self {
            networks,
            relays,
            told: Mutex::default(),
        }
    }

    /// Whether `address` may be called on this word; remembers it for the call.
    pub(super) fn admits(&self, address: &Multiaddr, said: Said) -> bool {
        let Some(place) = place_of(address) else {
            return self.is_own_relay(address);
        };
        let is_ours = match said {
            Said::ByOperator => true,
            // Of the local network means not this machine, and nothing that is no place of a host.
            Said::OnLocalNetwork => is_local(place.0),
            Said::ByAnybody => false,
        };
        if !is_ours {
            return self.is_open(place.0);
        }
        let mut told = self.told();
        if told.len() >= MAX_TOLD {
            told.retain(|_, at| at.elapsed() < TOLD_FOR);
        }
        if told.len() < MAX_TOLD {
            told.insert(place, Instant::now());
        }
        true
    }

    /// Whether `address` may be called now.
    fn permits(&self, address: &Multiaddr) -> bool {
        let Some(place) = place_of(address) else {
            return self.is_own_relay(address);
        };
        let is_told = || {
            let told = self.told();
            told.get(&place).is_some_and(|at| at.elapsed() < TOLD_FOR)
        };
        self.is_open(place.0) || is_told()
    }

    fn is_open(&self, ip: IpAddr) -> bool {
        special_purpose(ip).is_none() || {
            let reached = reached_address(ip);
            self.networks.iter().any(|network| network.contains(&reached))
        }
    }

    /// Whether the way leads through a relay that the operator named, and no other.
    fn is_own_relay(&self, address: &Multiaddr) -> bool {
        let mut relay = None;
        for part in address {
            match part {
                Protocol::P2p(peer) => relay = Some(peer),
                Protocol::P2pCircuit => return relay.is_some_and(|relay| self.relays.contains(&relay)),
                _ => {}
            }
        }
        false
    }

    fn told(&self) -> MutexGuard<'_, HashMap<(IpAddr, u16), Instant>> {
        // Nothing under this lock panics half-way through a change.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a host of a local network may have this address (RFC 1918, 3927, 4193, 4291 §2.5.6).
fn is_local(ip: IpAddr) -> bool {
    /// Where clouds keep the credentials of their machines.
    const CREDENTIALS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
    match reached_address(ip) {
        IpAddr::V4(ip) => ip.is_private() || (ip.is_link_local() && ip != CREDENTIALS),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Host and port of an address over TCP or QUIC that leads straight there; `None` for every other: names, above all, are
/// looked up for the operator only.
pub(super) fn place_of(address: &Multiaddr) -> Option<(IpAddr, u16)> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    let port = match parts.next()? {
        Protocol::Tcp(port) => port,
        Protocol::Udp(port) if parts.next() == Some(Protocol::QuicV1) => port,
        _ => return None,
    };
    match (parts.next(), parts.next()) {
        (None | Some(Protocol::P2p(_)), None) => Some((ip, port)),
        _ => None,
    }
}

/// A transport that calls nobody whom the policy does not permit, whoever asks for it.
pub(super) struct Guarded<T> {
    inner: T,
    policy: Arc<DialPolicy>,
}

impl<T> Guarded<T> {
    pub(super) fn new(inner: T, policy: &Arc<DialPolicy>) -> Self {
        Self {
            inner,
            policy: Arc::clone(policy),
        }
    }
}

impl<T: Transport + Unpin> Transport for Guarded<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        if !self.policy.permits(&address) {
            tracing::debug!(%address, "an address is not called: it is not a public one, and the operator has not named it");
            return Err(TransportError::MultiaddrNotSupported(address));
        }
        self.inner.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn p2p_16_what_others_say_leads_into_no_private_network() {
        let policy = DialPolicy::new(vec!["10.9.0.0/16".parse().unwrap()], HashSet::new());
        for public in [
            "/ip4/9.9.9.9/tcp/4001",
            "/ip6/2620:fe::fe/udp/4001/quic-v1",
            "/ip4/10.9.1.1/tcp/1",
        ] {
            assert!(policy.admits(&address(public), Said::ByAnybody), "{public}");
            assert!(policy.permits(&address(public)), "{public}");
        }
        let inner = [
            "/ip4/127.0.0.1/tcp/6379",
            "/ip4/10.0.0.1/tcp/80",
            "/ip4/192.168.1.1/tcp/80",
            "/ip4/169.254.169.254/tcp/80",
            "/ip4/0.0.0.0/tcp/80",
            "/ip6/::1/tcp/80",
            "/ip6/fe80::1/tcp/80",
            "/ip6/fd00::1/tcp/80",
            "/ip6/::ffff:127.0.0.1/tcp/80",
            "/ip6/64:ff9b::7f00:1/tcp/80",
            "/dns4/localhost/tcp/80",
            "/ip4/9.9.9.9/tcp/80/ws",
            "/ip4/9.9.9.9/udp/53",
            "/unix/tmp",
        ];
        for private in inner {
            assert!(!policy.admits(&address(private), Said::ByAnybody), "{private}");
            assert!(!policy.permits(&address(private)), "{private}");
        }
        // On the local network there are private addresses, and not this machine's services.
        let near = [
            "/ip4/192.168.1.1/tcp/80",
            "/ip6/fe80::1/tcp/80",
            "/ip6/fd00::1/tcp/80",
        ];
        for private in inner {
            let said = policy.admits(&address(private), Said::OnLocalNetwork);
            let is_near = near.contains(&private) || private == "/ip4/10.0.0.1/tcp/80";
            assert_eq!(said, is_near, "{private}");
            assert_eq!(policy.permits(&address(private)), is_near, "{private}");
        }
        assert!(
            !policy.permits(&address("/ip4/192.168.1.1/tcp/81")),
            "another port"
        );
        assert!(policy.admits(&address("/ip4/127.0.0.1/tcp/6379"), Said::ByOperator));
        assert!(policy.permits(&address("/ip4/127.0.0.1/tcp/6379")));
    }

    #[test]
    fn p2p_16_a_circuit_leads_through_the_operators_relays_only() {
        let (own, other) = (PeerId::random(), PeerId::random());
        let policy = DialPolicy::new(Vec::new(), HashSet::from([own]));
        let through =
            |relay: PeerId| address(&format!("/ip4/9.9.9.9/tcp/1/p2p/{relay}/p2p-circuit/p2p/{other}"));
        assert!(policy.permits(&through(own)));
        assert!(!policy.permits(&through(other)));
        assert!(!policy.admits(&address("/p2p-circuit"), Said::ByOperator));
    }
}
