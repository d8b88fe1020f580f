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

use crate::config::relay_of;

/// Addresses that are kept as told by one of the two, at most.
const MAX_TOLD: usize = 2048;
/// How long a word counts for an address.
const TOLD_FOR: Duration = Duration::from_secs(600);
/// Hosts where nobody answered that was a peer, and how many are remembered. So often within the time one is called on
/// anybody's word, and then left alone: it may be a third party, and each of many nodes may have been told of it.
const MISSES: u32 = 8;
const MISSED_FOR: Duration = Duration::from_secs(600);
const MAX_MISSED: usize = 2048;

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
    told: Mutex<Told>,
}

/// What is remembered.
#[derive(Debug, Default)]
struct Told {
    by_operator: Places,
    // Of its own, so that no stranger takes the operator's room.
    on_local_network: Places,
    missed: HashMap<IpAddr, (u32, Instant)>,
}

/// Places, and when they were told.
#[derive(Debug, Default)]
struct Places(HashMap<(IpAddr, u16), Instant>);

impl Places {
    /// Whether there is room for it.
    fn add(&mut self, place: (IpAddr, u16)) -> bool {
        if self.0.len() >= MAX_TOLD {
            self.0.retain(|_, at| at.elapsed() < TOLD_FOR);
        }
        let has_room = self.0.len() < MAX_TOLD || self.0.contains_key(&place);
        if has_room {
            self.0.insert(place, Instant::now());
        }
        has_room
    }

    fn has(&self, place: (IpAddr, u16)) -> bool {
        self.0.get(&place).is_some_and(|at| at.elapsed() < TOLD_FOR)
    }
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
        match said {
            Said::ByOperator => self.told().by_operator.add(place),
            // Of the local network means not this machine, and nothing that is no place of a host.
            Said::OnLocalNetwork if is_local(place.0) => self.told().on_local_network.add(place),
            Said::OnLocalNetwork | Said::ByAnybody => self.is_open(place.0),
        }
    }

    /// At `address` there was no peer, or another one.
    pub(super) fn missed(&self, address: &Multiaddr) {
        let Some((ip, _)) = place_of(address) else {
            return;
        };
        let mut told = self.told();
        if told.missed.len() >= MAX_MISSED {
            told.missed.retain(|_, (_, since)| since.elapsed() < MISSED_FOR);
        }
        if told.missed.len() >= MAX_MISSED && !told.missed.contains_key(&ip) {
            return;
        }
        let (misses, since) = told.missed.entry(ip).or_insert_with(|| (0, Instant::now()));
        if since.elapsed() >= MISSED_FOR {
            (*misses, *since) = (0, Instant::now());
        }
        *misses += 1;
    }

    /// At `address` there is a peer.
    pub(super) fn met(&self, address: &Multiaddr) {
        if let Some((ip, _)) = place_of(address) {
            self.told().missed.remove(&ip);
        }
    }

    /// Whether `address` may be called now.
    fn permits(&self, address: &Multiaddr) -> bool {
        let Some(place) = place_of(address) else {
            return self.is_own_relay(address);
        };
        let is_told = || {
            let told = self.told();
            told.by_operator.has(place) || told.on_local_network.has(place)
        };
        self.is_open(place.0) || is_told()
    }

    /// Whether a host may be called on anybody's word now.
    fn is_open(&self, ip: IpAddr) -> bool {
        let reached = reached_address(ip);
        if self.networks.iter().any(|network| network.contains(&reached)) {
            return true;
        }
        let is_left_alone =
            |(misses, since): &(u32, Instant)| *misses >= MISSES && since.elapsed() < MISSED_FOR;
        special_purpose(ip).is_none() && !self.told().missed.get(&ip).is_some_and(is_left_alone)
    }

    /// Whether the operator named this relay.
    pub(super) fn is_relay(&self, peer: &PeerId) -> bool {
        self.relays.contains(peer)
    }

    /// Whether the way leads through a relay that the operator named, and no other.
    fn is_own_relay(&self, address: &Multiaddr) -> bool {
        relay_of(address)
            .flatten()
            .is_some_and(|relay| self.is_relay(&relay))
    }

    fn told(&self) -> MutexGuard<'_, Told> {
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

    #[tokio::test(start_paused = true)]
    async fn p2p_16_strangers_take_none_of_the_operators_room() {
        let policy = DialPolicy::default();
        let spoofed = |n: usize| address(&format!("/ip4/10.0.{}.{}/tcp/1", n / 250, n % 250));
        let admitted = (0..MAX_TOLD + 10).filter(|n| policy.admits(&spoofed(*n), Said::OnLocalNetwork));
        assert_eq!(admitted.count(), MAX_TOLD);
        assert!(
            policy.admits(&spoofed(0), Said::OnLocalNetwork),
            "it is there already"
        );
        let named = address("/ip4/10.9.9.9/tcp/4001");
        assert!(!policy.admits(&named, Said::OnLocalNetwork) && !policy.permits(&named));
        assert!(policy.admits(&named, Said::ByOperator) && policy.permits(&named));
        tokio::time::advance(TOLD_FOR).await;
        assert!(policy.admits(&address("/ip4/10.9.9.8/tcp/1"), Said::OnLocalNetwork));
        assert!(!policy.permits(&spoofed(0)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_third_party_is_left_alone_after_some_calls() {
        let policy = DialPolicy::default();
        let at = |port: u32| address(&format!("/ip4/9.9.9.9/tcp/{port}"));
        for port in 1..=MISSES {
            assert!(policy.admits(&at(port), Said::ByAnybody));
            policy.missed(&at(port));
        }
        assert!(!policy.admits(&at(99), Said::ByAnybody) && !policy.permits(&at(99)));
        assert!(policy.permits(&address("/ip4/9.9.9.8/tcp/1")));
        // Not on the operator's word.
        assert!(policy.admits(&at(4001), Said::ByOperator) && policy.permits(&at(4001)));
        tokio::time::advance(MISSED_FOR).await;
        assert!(policy.permits(&at(99)));
        (0..MISSES).for_each(|_| policy.missed(&at(1)));
        assert!(!policy.permits(&at(99)));
        policy.met(&at(1));
        assert!(policy.permits(&at(99)));
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
