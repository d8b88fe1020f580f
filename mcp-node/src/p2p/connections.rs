//! Who is connected, since when, and what they have proven.

use std::collections::HashMap;
use std::time::Duration;

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use shared::secret::random_bytes;
use tokio::time::Instant;

/// So long a stranger has to prove itself.
const TIME_FOR_PROOF: Duration = Duration::from_secs(10);
/// So much a proven peer may send at once, and how many more each second.
const ALLOWANCE: (f64, f64) = (200.0, 40.0);
/// Messages that are no good, before a peer is let go; one of them is forgotten each [`FORGIVEN`].
const PATIENCE: f64 = 8.0;
const FORGIVEN: Duration = Duration::from_secs(60);
/// So long a peer that was let go is not taken up again, and the conduct of one that went is remembered.
const LET_GO: Duration = Duration::from_secs(600);
/// Peers that went, and are remembered at most. Each was proven once, so they are nodes of the fleet.
const MAX_GONE: usize = 4096;

/// All connections.
#[derive(Default)]
pub(super) struct Connections {
    links: HashMap<ConnectionId, Link>,
    /// Of proven peers.
    conduct: HashMap<PeerId, Conduct>,
    /// Of proven peers that went within [`LET_GO`]: who comes back is no new one.
    gone: HashMap<PeerId, (Conduct, Instant)>,
}

struct Link {
    peer: PeerId,
    address: Multiaddr,
    since: Instant,
    is_proven: bool,
    /// It need not prove anything.
    is_spared: bool,
    /// Where the peer says that it is, while it has proven nothing.
    says: Vec<Multiaddr>,
}

/// How a proven peer behaves.
struct Conduct {
    left: f64,
    counted_at: Instant,
    faults: f64,
    faults_at: Instant,
    let_go_at: Option<Instant>,
}

impl Conduct {
    fn new(now: Instant) -> Self {
        Self {
            left: ALLOWANCE.0,
            counted_at: now,
            faults: 0.0,
            faults_at: now,
            let_go_at: None,
        }
    }

    fn is_let_go(&self) -> bool {
        self.let_go_at.is_some_and(|at| at.elapsed() < LET_GO)
    }
}

impl Connections {
    pub(super) fn established(&mut self, id: ConnectionId, peer: PeerId, address: Multiaddr) {
        let link = Link {
            peer,
            address,
            since: Instant::now(),
            is_proven: false,
            is_spared: false,
            says: Vec::new(),
        };
        self.links.insert(id, link);
    }

    /// A connection to one who proves nothing, and may stay all the same.
    pub(super) fn spare(&mut self, id: ConnectionId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.is_spared = true;
        }
    }

    /// Whose connection it is, and where it leads.
    pub(super) fn find(&self, id: ConnectionId) -> Option<(PeerId, &Multiaddr)> {
        self.links.get(&id).map(|link| (link.peer, &link.address))
    }

    /// A connection has proven itself. Returns whether it is the peer's first.
    pub(super) fn proven(&mut self, id: ConnectionId) -> bool {
        let Some(link) = self.links.get_mut(&id) else {
            return false;
        };
        link.is_proven = true;
        let peer = link.peer;
        let is_first = !self.conduct.contains_key(&peer);
        if is_first {
            let remembered = self.gone.remove(&peer).map(|(conduct, _)| conduct);
            let conduct = remembered.unwrap_or_else(|| Conduct::new(Instant::now()));
            self.conduct.insert(peer, conduct);
        }
        is_first
    }

    /// Where a peer says that it is. Until it has proven itself that is kept, and nothing is returned; see [`Self::said`].
    pub(super) fn says(&mut self, id: ConnectionId, addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
        match self.links.get_mut(&id) {
            Some(link) if link.is_proven => addresses,
            Some(link) => {
                link.says = addresses;
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// What was kept of a connection.
    pub(super) fn said(&mut self, id: ConnectionId) -> Vec<Multiaddr> {
        let link = self.links.get_mut(&id);
        link.map(|link| std::mem::take(&mut link.says))
            .unwrap_or_default()
    }

    /// A connection is gone. Returns the peer if it was its last proven one.
    pub(super) fn closed(&mut self, id: ConnectionId) -> Option<PeerId> {
        let link = self.links.remove(&id)?;
        let is_last = link.is_proven && !self.is_proven_by_others(&link.peer);
        is_last.then(|| {
            if let Some(conduct) = self.conduct.remove(&link.peer) {
                self.remember(link.peer, conduct);
            }
            link.peer
        })
    }

    fn remember(&mut self, peer: PeerId, conduct: Conduct) {
        if self.gone.len() >= MAX_GONE {
            self.gone.retain(|_, (_, at)| at.elapsed() < LET_GO);
        }
        if self.gone.len() < MAX_GONE {
            self.gone.insert(peer, (conduct, Instant::now()));
        }
    }

    /// Whether a peer was let go a short time ago, because of what it sent.
    pub(super) fn is_let_go(&self, peer: &PeerId) -> bool {
        let gone = self.gone.get(peer).map(|(conduct, _)| conduct);
        self.conduct.get(peer).or(gone).is_some_and(Conduct::is_let_go)
    }

    fn is_proven_by_others(&self, peer: &PeerId) -> bool {
        self.links
            .values()
            .any(|link| link.is_proven && link.peer == *peer)
    }

    pub(super) fn is_proven(&self, peer: &PeerId) -> bool {
        self.conduct.contains_key(peer)
    }

    /// Connections that should have proven themselves by now.
    pub(super) fn overdue(&self) -> Vec<ConnectionId> {
        let may_stay = |link: &Link| link.is_proven || link.is_spared;
        let is_overdue = |link: &Link| !may_stay(link) && link.since.elapsed() > TIME_FOR_PROOF;
        let overdue = self.links.iter().filter(|(_, link)| is_overdue(link));
        overdue.map(|(id, _)| *id).collect()
    }

    /// Connections that are one too many: of a peer that has several, all but the newest, where it is ours to close them.
    /// One side alone does that, or each would close the other's choice.
    pub(super) fn surplus(&self, own: &PeerId) -> Vec<ConnectionId> {
        let mut newest: HashMap<PeerId, Instant> = HashMap::new();
        let proven = || self.links.iter().filter(|(_, link)| link.is_proven);
        for (_, link) in proven().filter(|(_, link)| *own < link.peer) {
            let since = newest.entry(link.peer).or_insert(link.since);
            *since = link.since.max(*since);
        }
        let is_older = |link: &Link| {
            newest
                .get(&link.peer)
                .is_some_and(|newest| link.since < *newest && newest.elapsed() > TIME_FOR_PROOF)
        };
        proven()
            .filter(|(_, link)| is_older(link))
            .map(|(id, _)| *id)
            .collect()
    }

    /// How many peers have proven themselves, and how many connections there are.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.conduct.len(), self.links.len())
    }

    /// At most `count` proven peers but `except`, each time others.
    pub(super) fn some_proven(&self, count: usize, except: Option<PeerId>) -> Vec<PeerId> {
        let mut peers: Vec<PeerId> = self.conduct.keys().copied().collect();
        peers.retain(|peer| Some(*peer) != except);
        peers.sort_unstable();
        if peers.is_empty() {
            return peers;
        }
        let start = random_bytes::<4>().map_or(0, |bytes| u32::from_be_bytes(bytes) as usize);
        let length = peers.len();
        peers.rotate_left(start % length);
        peers.truncate(count);
        peers
    }

    /// Every proven peer.
    pub(super) fn all_proven(&self) -> Vec<PeerId> {
        self.conduct.keys().copied().collect()
    }

    /// Whether a proven peer may send one more message now.
    pub(super) fn may_send(&mut self, peer: &PeerId) -> bool {
        let Some(conduct) = self.conduct.get_mut(peer) else {
            return false;
        };
        let now = Instant::now();
        let since = now.duration_since(conduct.counted_at).as_secs_f64();
        conduct.counted_at = now;
        conduct.left = (conduct.left + since * ALLOWANCE.1).min(ALLOWANCE.0);
        let may = conduct.left >= 1.0;
        if may {
            conduct.left -= 1.0;
        }
        may
    }

    /// A proven peer has sent something that is no good. Returns whether that was once too often.
    pub(super) fn misbehaved(&mut self, peer: &PeerId) -> bool {
        self.conduct.get_mut(peer).is_some_and(|conduct| {
            let forgiven = conduct.faults_at.elapsed().as_secs_f64() / FORGIVEN.as_secs_f64();
            conduct.faults_at = Instant::now();
            conduct.faults = (conduct.faults - forgiven).max(0.0) + 1.0;
            let is_enough = conduct.faults >= PATIENCE;
            if is_enough {
                conduct.let_go_at = Some(Instant::now());
            }
            is_enough
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_are_let_go_in_time_and_peers_stay() {
        let mut connections = Connections::default();
        let peer = PeerId::random();
        for number in 0..3 {
            connections.established(id(number), peer, Multiaddr::empty());
        }
        connections.established(id(3), PeerId::random(), Multiaddr::empty());
        connections.spare(id(3));
        let place: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().unwrap();
        assert!(connections.says(id(0), vec![place.clone()]).is_empty());
        assert!(connections.proven(id(0)) && !connections.proven(id(1)));
        assert_eq!(connections.said(id(0)), std::slice::from_ref(&place));
        assert_eq!(connections.says(id(0), vec![place.clone()]), [place]);
        assert!(connections.is_proven(&peer) && connections.overdue().is_empty());
        tokio::time::advance(TIME_FOR_PROOF * 2).await;
        assert_eq!(connections.overdue(), [id(2)]);
        assert_eq!(connections.closed(id(2)), None);
        assert_eq!(connections.closed(id(0)), None);
        assert_eq!(connections.closed(id(1)), Some(peer));
        assert!(!connections.is_proven(&peer) && !connections.may_send(&peer));
    }

    #[tokio::test(start_paused = true)]
    async fn of_several_connections_one_side_closes_the_older() {
        let mut connections = Connections::default();
        let (a, b) = (PeerId::random(), PeerId::random());
        let (own, peer) = (a.min(b), a.max(b));
        for number in 0..2 {
            connections.established(id(number), peer, Multiaddr::empty());
            connections.proven(id(number));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(
            connections.surplus(&own).is_empty(),
            "the other may not have proven it yet"
        );
        tokio::time::advance(TIME_FOR_PROOF).await;
        assert_eq!(connections.surplus(&own), [id(0)]);
        let greater = PeerId::random().max(peer);
        assert!(greater == peer || connections.surplus(&greater).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_sends_so_much_and_no_more() {
        let mut connections = Connections::default();
        let peer = PeerId::random();
        connections.established(id(0), peer, Multiaddr::empty());
        connections.proven(id(0));
        let taken = (0..1000).filter(|_| connections.may_send(&peer)).count();
        assert_eq!(taken, ALLOWANCE.0 as usize);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(connections.may_send(&peer));
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_let_go_does_not_come_back_at_once_and_faults_are_forgotten() {
        let mut connections = Connections::default();
        let peer = PeerId::random();
        let come = |connections: &mut Connections, number| {
            connections.established(id(number), peer, Multiaddr::empty());
            connections.proven(id(number));
        };
        come(&mut connections, 0);
        let patience = PATIENCE as usize;
        // One a minute is forgiven.
        for _ in 0..3 * patience {
            assert!(!connections.misbehaved(&peer));
            tokio::time::advance(FORGIVEN).await;
        }
        let until_full = |connections: &mut Connections| (0..100).position(|_| connections.misbehaved(&peer));
        // Going and coming makes no new peer of it.
        assert!((0..patience - 1).all(|_| !connections.misbehaved(&peer)));
        assert_eq!(connections.closed(id(0)), Some(peer));
        assert!(!connections.is_let_go(&peer));
        come(&mut connections, 1);
        assert_eq!(until_full(&mut connections), Some(0));
        assert_eq!(connections.closed(id(1)), Some(peer));
        assert!(connections.is_let_go(&peer) && !connections.is_let_go(&PeerId::random()));
        tokio::time::advance(LET_GO).await;
        assert!(!connections.is_let_go(&peer));
        come(&mut connections, 2);
        assert_eq!(until_full(&mut connections), Some(patience - 1));
    }
}
