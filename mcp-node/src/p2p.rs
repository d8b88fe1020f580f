//! The network of peers: nodes that prove to each other that they are of the fleet, and pass on what their authorization
//! server has signed, so that a node which cannot reach it still learns of revocations (docs/fleet.md).
//!
//! One task owns the swarm; everything else says to it what it wants through [`P2p`]. Whom to call is in the table of
//! peers, [`crate::peers`]; what a list says is decided in [`crate::revocation`].

mod announcement;
mod answers;
mod behaviour;
mod bootstrap;
mod connections;
mod counts;
mod dial;
mod find;
mod gate;
mod keys;
mod open;
mod proof;
mod questions;
mod quota;
mod slots;
mod spread;
mod task;
mod told;
mod transport;
mod turns;
mod wire;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ::web::metrics::Metrics;
use libp2p::identity::Keypair;
use libp2p::swarm::Config;
use libp2p::{PeerId, Swarm, relay};
use shared::fleet::record::SignedRecord;
use shared::http_client::HttpClient;
use shared::jwks::RemoteKeySet;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use self::behaviour::Misbuilt;
use self::behaviour::{Behaviour, Topics};
use self::counts::Counts;
use self::dial::DialPolicy;
use self::proof::Trust;
use self::quota::Quotas;
use self::task::{Command, Task};
use crate::advertisement::{Advertisement, Reach};
use crate::config::P2pConfig;
use crate::identity::Identity;
use crate::peers::Peers;
use crate::revocation::Revocation;

/// Commands that wait at most.
const COMMANDS: usize = 256;
/// How long a caller waits for a connection that proves itself.
const CONNECT: Duration = Duration::from_secs(20);

/// What the authorization server signed of this node, as it is renewed.
pub(crate) type OwnRecord = watch::Receiver<Option<Arc<SignedRecord>>>;

/// What the network is made of.
pub(crate) struct Parts {
    pub(crate) config: P2pConfig,
    pub(crate) identity: Arc<Identity>,
    pub(crate) record: OwnRecord,
    pub(crate) peers: Peers,
    /// The fleet's authorization server: its identifier, its keys, its lists, and how it is asked.
    pub(crate) issuer: shared::uri::Issuer,
    pub(crate) keys: RemoteKeySet,
    pub(crate) revocation: Option<Revocation>,
    pub(crate) client: HttpClient,
    /// Is told where this node is reached.
    pub(crate) reach: Reach,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stopping: CancellationToken,
}

/// A peer is not connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NotConnected {
    /// No address may be called, or there is none.
    #[error("none of its addresses may be called")]
    NoAddress,
    /// It did not answer, or is somebody else.
    #[error("it cannot be reached at any of its addresses")]
    Unreachable,
    /// It answers, and is not believed, or does not believe this node.
    #[error("it has not proven to be a node of the fleet")]
    NotProven,
    /// The network does not run, or is too busy.
    #[error("the network of peers does not run")]
    Down,
}

/// The network, for everybody else. A clone is the same one.
#[derive(Clone)]
pub(crate) struct P2p(mpsc::Sender<Command>);

/// What the task and its helpers read alike.
struct Shared {
    config: P2pConfig,
    peer: PeerId,
    trust: Arc<Trust>,
    policy: Arc<DialPolicy>,
    quotas: Quotas,
    topics: Topics,
    revocation: Option<Revocation>,
    counts: Counts,
    /// Where this node is reached.
    reach: Reach,
}

impl P2p {
    /// Starts it. Ends when the program is asked to stop.
    pub(crate) fn start(parts: Parts) -> Result<Self, Misbuilt> {
        let mut key = parts.identity.key().to_bytes();
        let key = libp2p::identity::ed25519::Keypair::try_from_bytes(key.as_mut_slice())
            .map_err(|e| Misbuilt(e.to_string()))?;
        let key = Keypair::from(key);
        let peer = key.public().to_peer_id();
        let relays: HashSet<PeerId> = parts.config.relays.iter().map(|(peer, _)| *peer).collect();
        let (relay_transport, relay) = match relays.is_empty() {
            true => (None, None),
            false => {
                let (transport, behaviour) = relay::client::new(peer);
                (Some(transport), Some(behaviour))
            }
        };
        let quotas = Quotas::new(relays.clone());
        let policy = Arc::new(DialPolicy::new(parts.config.dial.clone(), relays));
        let topics = Topics::of(parts.issuer.as_str());
        let transport =
            transport::build(&key, &policy, &quotas, relay_transport).map_err(|e| Misbuilt(e.to_string()))?;
        let behaviour = Behaviour::new(&key, &topics, parts.config.max_peers, relay)?;
        let swarm = Swarm::new(
            transport,
            behaviour,
            peer,
            Config::with_tokio_executor().with_max_negotiating_inbound_streams(32),
        );
        let shared = Arc::new(Shared {
            peer,
            trust: Arc::new(Trust {
                identity: parts.identity,
                issuer: parts.issuer.as_str().to_owned(),
                keys: parts.keys,
                record: parts.record,
                peers: parts.peers.clone(),
                revocation: parts.revocation.clone(),
            }),
            policy,
            quotas,
            topics,
            revocation: parts.revocation,
            counts: Counts::of(&parts.metrics),
            reach: parts.reach,
            config: parts.config,
        });
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let task = Task::new(swarm, Arc::clone(&shared), receiver);
        tokio::spawn(bootstrap::name_peers(
            shared.config.peers.clone(),
            parts.peers,
            parts.stopping.clone(),
        ));
        tokio::spawn(bootstrap::name_relays(
            shared.config.relays.clone(),
            commands.clone(),
            parts.stopping.clone(),
        ));
        tokio::spawn(keys::fetch_signed(
            parts.client,
            parts.issuer,
            shared.trust.keys.clone(),
            (commands.clone(), parts.stopping.clone()),
        ));
        tokio::spawn(task.run(parts.stopping));
        Ok(Self(commands))
    }

    /// Calls a peer of the table where it is said to be, and waits until it has proven itself.
    pub(crate) async fn connect(&self, peer: &str) -> Result<(), NotConnected> {
        let peer: PeerId = peer.parse().map_err(|_| NotConnected::NoAddress)?;
        let (answer, answered) = oneshot::channel();
        self.0
            .try_send(Command::Connect { peer, answer })
            .map_err(|_| NotConnected::Down)?;
        let waited = tokio::time::timeout(CONNECT, answered).await;
        waited
            .map_err(|_| NotConnected::Unreachable)?
            .unwrap_or(Err(NotConnected::Down))
    }

    /// From now on the node says this of itself. It is told to all peers at once.
    pub(crate) fn announce(&self, advertisement: Advertisement) {
        // When commands pile up the next one will be told.
        self.0.try_send(Command::Announce(Box::new(advertisement))).ok();
    }
}
