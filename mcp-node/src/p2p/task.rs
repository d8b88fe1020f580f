//! The one task that owns the swarm.

mod calls;
mod reach;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use libp2p::core::ConnectedPoint;
use libp2p::futures::StreamExt;
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, dcutr, identify, kad};
use shared::fleet::record::SignedRecord;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use self::calls::{Call, Waiting};
use self::reach::Relays;
use super::behaviour::{Behaviour, BehaviourEvent, InnerEvent};
use super::connections::Connections;
use super::dial::Said;
use super::proof::knock::Knock;
use super::proof::{Conversation, NotProven, Step};
use super::questions::Questions;
use super::spread::{Judged, Spread};
use super::wire::Response;
use super::{NotConnected, Shared};
use crate::advertisement::Advertisement;
use crate::revocation::Brought;

/// How often the task looks around.
const TICK: Duration = Duration::from_secs(1);
/// Time for one conversation in which two peers prove themselves.
const CONVERSATION: Duration = Duration::from_secs(8);
/// What helpers have found, and is not looked at yet.
const FINDINGS: usize = 256;
/// Addresses of one peer that are tried or told on, at most.
const MAX_ADDRESSES: usize = 8;
/// What peers may speak with a node of this version.
const PROTOCOLS: [&str; 4] = [
    "/edge-hive/proof/1",
    "/edge-hive/exchange/1",
    "/edge-hive/kad/1",
    "/edge-hive/meshsub/1.1.0",
];

/// What others want.
pub(super) enum Command {
    Connect {
        peer: PeerId,
        answer: oneshot::Sender<Result<(), NotConnected>>,
    },
    Announce(Box<Advertisement>),
    /// A relay, and where it is now.
    Relay(PeerId, Vec<Multiaddr>),
    /// A newer signed key set is there.
    KeysRenewed,
}

/// What helpers of the task have found.
pub(super) enum Finding {
    Step(ConnectionId, Step),
    NotProven(ConnectionId, NotProven),
    Judged(Judged),
    /// A peer has said what it has to say of itself, and perhaps that is news.
    Introduced(PeerId, Option<String>),
    /// A peer has answered with what is no good.
    Misbehaved(PeerId),
    Answer(libp2p::request_response::ResponseChannel<Response>, Response),
    /// A list is to be looked for at this many peers' further on.
    Search(super::open::Search),
    /// A list that a peer was asked for, perhaps for a search, was judged.
    Brought {
        peer: PeerId,
        brought: Brought,
        search: Option<u64>,
    },
    /// A search has had time enough.
    Settled(u64),
}

pub(super) struct Task {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) shared: Arc<Shared>,
    pub(super) connections: Connections,
    pub(super) findings: mpsc::Sender<Finding>,
    pub(super) spread: Spread,
    pub(super) questions: Questions,
    found: mpsc::Receiver<Finding>,
    commands: mpsc::Receiver<Command>,
    waiting: Vec<Waiting>,
    calls: HashMap<ConnectionId, Call>,
    relays: Relays,
}

impl Task {
    pub(super) fn new(
        swarm: Swarm<Behaviour>,
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let (findings, found) = mpsc::channel(FINDINGS);
        let questions = Questions::new(&shared, &findings);
        Self {
            swarm,
            shared,
            connections: Connections::default(),
            findings,
            spread: Spread::default(),
            questions,
            found,
            commands,
            waiting: Vec::new(),
            calls: HashMap::new(),
            relays: Relays::default(),
        }
    }

    pub(super) async fn run(mut self, stopping: CancellationToken) {
        self.listen();
        let peers = self.shared.trust.peers.clone();
        let (mut advice, mut cut_off) = (peers.advice(), peers.cut_off());
        let mut changes = self.shared.revocation.as_ref().map(|lists| lists.changes());
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                Some(finding) = self.found.recv() => self.on_finding(finding),
                Some(command) = self.commands.recv() => self.on_command(command),
                _ = tick.tick() => self.look_around(),
                Ok(()) = advice.changed() => self.call_some(),
                Ok(()) = cut_off.changed() => self.let_go_of_the_cut_off(),
                () = changed(&mut changes) => self.on_changed_lists(),
                () = stopping.cancelled() => return,
            }
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                self.calls.remove(&connection_id);
                // A relay is no node of the fleet: it has nothing to prove, and gets nothing.
                let is_relay = endpoint.is_dialer() && self.shared.policy.is_relay(&peer_id);
                let address = match endpoint {
                    ConnectedPoint::Dialer { address, .. } => address,
                    ConnectedPoint::Listener { send_back_addr, .. } => send_back_addr,
                };
                self.connections.established(connection_id, peer_id, address);
                if is_relay {
                    self.connections.spare(connection_id);
                }
            }
            SwarmEvent::ConnectionClosed { connection_id, .. } => self.on_closed(connection_id),
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                peer_id,
                error,
            } => self.on_unreachable(connection_id, peer_id, &error),
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::info!(%address, "listening for peers");
                self.on_addresses();
            }
            SwarmEvent::ExpiredListenAddr { .. } => self.on_addresses(),
            SwarmEvent::ListenerClosed {
                listener_id, reason, ..
            } => self.on_listener_closed(listener_id, reason),
            _ => {}
        }
        self.shared.counts.set_connected(self.connections.counts());
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Knocks(knock) => self.converse(knock),
            BehaviourEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                connection_id,
            }) => {
                let mut addresses = info.listen_addrs;
                addresses.truncate(MAX_ADDRESSES);
                let addresses = self.connections.says(connection_id, addresses);
                self.on_identified(&peer_id, addresses);
            }
            BehaviourEvent::Gate(InnerEvent::Gossip(event)) => self.on_gossip(event),
            BehaviourEvent::Gate(InnerEvent::Exchange(event)) => self.on_exchange(event),
            BehaviourEvent::Gate(InnerEvent::Kad(kad::Event::OutboundQueryProgressed { result, .. })) => {
                self.on_found(result);
            }
            BehaviourEvent::Gate(InnerEvent::Dcutr(dcutr::Event {
                remote_peer_id,
                result,
            })) => match result {
                Ok(_) => tracing::info!(peer = %remote_peer_id, "a peer is reached without its relay"),
                Err(reason) => {
                    tracing::debug!(peer = %remote_peer_id, %reason, "a peer is reached through its relay only");
                }
            },
            BehaviourEvent::Relay(event) => self.on_relay(event),
            _ => {}
        }
    }

    /// Has the two peers prove themselves, in a task of its own.
    fn converse(&mut self, knock: Knock) {
        let (steps, mut next) = mpsc::channel(1);
        let conversation = Conversation {
            stream: knock.stream,
            peer: knock.peer,
            trust: Arc::clone(&self.shared.trust),
            steps,
        };
        let (findings, id) = (self.findings.clone(), knock.connection);
        tokio::spawn(async move {
            let hold = timeout(CONVERSATION, conversation.hold(knock.is_ours));
            let pass_on = async {
                while let Some(step) = next.recv().await {
                    findings.send(Finding::Step(id, step)).await.ok();
                }
            };
            let (held, ()) = tokio::join!(hold, pass_on);
            let fault = match held {
                Ok(Ok(())) => return,
                Ok(Err(fault)) => fault,
                Err(_) => NotProven::Closed,
            };
            findings.send(Finding::NotProven(id, fault)).await.ok();
        });
    }

    fn on_finding(&mut self, finding: Finding) {
        match finding {
            Finding::Step(id, Step::Open(opened)) => {
                let (proven, _) = self.connections.counts();
                let peer = self.connections.find(id).map(|(peer, _)| peer);
                let is_new = peer.is_some_and(|peer| !self.connections.is_proven(&peer));
                let is_let_go = peer.is_some_and(|peer| self.connections.is_let_go(&peer));
                // Dropping `opened` ends the conversation.
                if !is_let_go && (!is_new || proven < self.shared.config.max_peers) {
                    // Before the other hears that it may speak.
                    if let Some(peer) = peer {
                        self.shared.quotas.lift(&peer);
                    }
                    self.swarm.behaviour_mut().gate.open(id, opened);
                }
            }
            Finding::Step(id, Step::Begin(record)) => self.on_proven(id, record),
            Finding::NotProven(id, fault) => self.on_not_proven(id, &fault),
            Finding::Judged(judged) => self.on_judged(judged),
            Finding::Introduced(peer, news) => self.introduced(&peer, news),
            Finding::Misbehaved(peer) => self.misbehaved(&peer),
            Finding::Answer(channel, response) => self.respond(channel, response),
            Finding::Search(search) => self.search(search),
            Finding::Brought {
                peer,
                brought,
                search,
            } => self.on_brought(peer, brought, search),
            Finding::Settled(number) => self.settled(number),
        }
    }

    fn on_proven(&mut self, id: ConnectionId, record: Arc<SignedRecord>) {
        let Some((peer, address)) = self.connections.find(id) else {
            return;
        };
        let address = address.clone();
        // A list may have come while they spoke; one that comes later finds the peer among those that are known.
        if self.shared.trust.has_ended(&record) {
            return self.on_not_proven(id, &NotProven::Revoked);
        }
        if let Err(reason) = self
            .shared
            .trust
            .peers
            .proven(Arc::clone(&record), &address.to_string())
        {
            tracing::info!(%peer, %reason, "a peer is not taken up");
            self.swarm.close_connection(id);
            return;
        }
        self.shared.policy.met(&address);
        let is_first = self.connections.proven(id);
        self.shared.counts.proof("proven");
        let behaviour = self.swarm.behaviour_mut();
        behaviour.slots.proven(id);
        behaviour.gate.begin(id);
        let said = self.connections.said(id);
        self.on_identified(&peer, said);
        if is_first {
            tracing::info!(%peer, node = record.record.node_id, %address, "a peer has proven itself");
            self.greet(peer);
        }
        self.waiting_for(&peer, Ok(()));
    }

    fn on_not_proven(&mut self, id: ConnectionId, fault: &NotProven) {
        self.shared.counts.proof(fault.outcome());
        if let Some((peer, address)) = self.connections.find(id) {
            tracing::info!(%peer, %address, reason = %fault, "a peer has not proven itself");
            if !self.connections.is_proven(&peer) {
                self.shared.trust.peers.unreachable(&peer.to_base58());
                self.waiting_for(&peer, Err(NotConnected::NotProven));
            }
            self.swarm.close_connection(id);
        }
    }

    fn on_closed(&mut self, id: ConnectionId) {
        let whose = self.connections.find(id).map(|(peer, _)| peer);
        if let Some(peer) = self.connections.closed(id) {
            tracing::info!(%peer, "a peer is gone");
            self.shared.trust.peers.lost(&peer.to_base58());
            self.swarm.behaviour_mut().gate.inner().kad.remove_peer(&peer);
        } else if let Some(peer) = whose.filter(|peer| !self.swarm.is_connected(peer)) {
            self.waiting_for(&peer, Err(NotConnected::NotProven));
        }
    }

    /// A proven peer's addresses are told to those who look for it, as far as they may be called at all.
    fn on_identified(&mut self, peer: &PeerId, addresses: Vec<Multiaddr>) {
        if !self.connections.is_proven(peer) {
            return;
        }
        let policy = Arc::clone(&self.shared.policy);
        let admitted = addresses
            .into_iter()
            .filter(|address| policy.admits(address, Said::ByAnybody));
        for address in admitted.take(MAX_ADDRESSES) {
            self.swarm
                .behaviour_mut()
                .gate
                .inner()
                .kad
                .add_address(peer, address);
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Connect { peer, answer } => self.connect(peer, answer),
            Command::Announce(advertisement) => self.announce(&advertisement),
            Command::KeysRenewed => self.publish_keys(),
            Command::Relay(relay, places) => self.listen_through(relay, &places),
        }
    }

    fn look_around(&mut self) {
        for id in self.connections.overdue() {
            self.shared.counts.proof("silent");
            self.swarm.close_connection(id);
        }
        let own = self.shared.peer;
        for id in self.connections.surplus(&own) {
            self.swarm.close_connection(id);
        }
        let is_over = |waiting: &Waiting| waiting.since.elapsed() > super::CONNECT;
        self.waiting.retain(|waiting| !is_over(waiting));
        self.call_some();
        self.publish_lists();
        self.ask_around();
    }

    /// A proven peer has sent what is no good; often enough, and it is let go.
    pub(super) fn misbehaved(&mut self, peer: &PeerId) {
        if self.connections.misbehaved(peer) {
            tracing::warn!(%peer, event = "peer_let_go", "security: a peer sends what is no good");
            self.shared.trust.peers.unreachable(&peer.to_base58());
            self.swarm.disconnect_peer_id(*peer).ok();
        }
    }
}

async fn changed(changes: &mut Option<tokio::sync::watch::Receiver<u64>>) {
    if let Some(changes) = changes
        && changes.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}
