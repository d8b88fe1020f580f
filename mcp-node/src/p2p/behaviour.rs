//! Everything that a node speaks: to anybody, and behind the gate to proven peers.

use std::collections::HashSet;
use std::time::Duration;

use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{
    self, IdentTopic, IdentityTransform, MessageAuthenticity, MessageId, ValidationMode,
    WhitelistSubscriptionFilter,
};
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, dcutr, identify, kad, ping, relay};
use shared::jose::sha256_base64url;

use super::gate::Gate;
use super::proof::knock::Knocks;
use super::slots::{MAX_STRANGERS, MAX_UNVALIDATED, Slots};
use super::wire;

const KADEMLIA: StreamProtocol = StreamProtocol::new("/edge-hive/kad/1");
/// In the place of `meshsub`: this is no public network.
const GOSSIP: &str = "/edge-hive/meshsub";
/// The protocols that gossip speaks with that prefix.
const GOSSIP_VERSIONS: [StreamProtocol; 2] = [
    StreamProtocol::new("/edge-hive/meshsub/1.1.0"),
    StreamProtocol::new("/edge-hive/meshsub/1.0.0"),
];
/// A longer message is not passed on by gossip; a larger list is asked for.
pub(super) const MAX_GOSSIP_BYTES: usize = 256 * 1024;
/// What a proven peer sends within one message at most.
const MAX_MESSAGES: usize = 64;
/// So long a message that was seen is not looked at again: longer than a list is signed for.
const SEEN_FOR: Duration = Duration::from_secs(600);

/// The topics of one fleet.
#[derive(Clone, Debug)]
pub(super) struct Topics {
    pub(super) lists: IdentTopic,
    pub(super) keys: IdentTopic,
    pub(super) announcements: IdentTopic,
}

impl Topics {
    /// Those of the fleet of `issuer`.
    pub(super) fn of(issuer: &str) -> Self {
        let tag = sha256_base64url(issuer.as_bytes());
        let topic = |kind: &str| IdentTopic::new(format!("edge-hive/{kind}/1/{tag}"));
        Self {
            lists: topic("lists"),
            keys: topic("keys"),
            announcements: topic("announcements"),
        }
    }

    fn all(&self) -> [&IdentTopic; 3] {
        [&self.lists, &self.keys, &self.announcements]
    }
}

pub(super) type Gossip = gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>;

/// For proven peers.
#[derive(NetworkBehaviour)]
pub(super) struct Inner {
    pub(super) gossip: Gossip,
    pub(super) kad: kad::Behaviour<MemoryStore>,
    pub(super) exchange: request_response::Behaviour<wire::Json>,
    // Behind the gate too: it has us call where the other says.
    dcutr: Toggle<dcutr::Behaviour>,
}

/// For everybody.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    // First: what has no room costs nothing.
    pub(super) slots: Slots,
    limits: connection_limits::Behaviour,
    ping: ping::Behaviour,
    identify: identify::Behaviour,
    relay: Toggle<relay::client::Behaviour>,
    pub(super) gate: Gate<Inner>,
    knocks: Knocks,
}

/// A part could not be put together: a mistake in the program.
#[derive(Debug, thiserror::Error)]
#[error("the peer-to-peer network: {0}")]
pub(crate) struct Misbuilt(pub(super) String);

impl Behaviour {
    pub(super) fn new(
        key: &Keypair,
        topics: &Topics,
        max_peers: usize,
        relay: Option<relay::client::Behaviour>,
    ) -> Result<Self, Misbuilt> {
        let peer = key.public().to_peer_id();
        let count = |number: usize| Some(u32::try_from(number).unwrap_or(u32::MAX));
        let limits = ConnectionLimits::default()
            .with_max_pending_incoming(count(MAX_STRANGERS + MAX_UNVALIDATED))
            .with_max_pending_outgoing(count(32))
            // Two that dial each other at once have two for a moment, and one that comes back before its old one is gone.
            .with_max_established_per_peer(Some(4))
            .with_max_established(count(2 * max_peers + MAX_STRANGERS));
        let identify = identify::Config::new("edge-hive/1".to_owned(), key.public())
            // Strangers need not know which version it is, nor where else the node listens: peers have that from what it says
            // of itself.
            .with_agent_version("mcp-node".to_owned())
            .with_hide_listen_addrs(true)
            .with_push_listen_addr_updates(true)
            // What peers say of their addresses goes through the table of peers, or nowhere.
            .with_cache_size(0);
        Ok(Self {
            slots: Slots::default(),
            limits: connection_limits::Behaviour::new(limits),
            ping: ping::Behaviour::default(),
            identify: identify::Behaviour::new(identify),
            gate: Gate::before(
                Inner {
                    gossip: gossip(topics)?,
                    kad: kademlia(key),
                    exchange: exchange(),
                    dcutr: relay.as_ref().map(|_| dcutr::Behaviour::new(peer)).into(),
                },
                GOSSIP_VERSIONS.to_vec(),
            ),
            relay: relay.into(),
            knocks: Knocks::default(),
        })
    }
}

/// What is spread names its author and is signed by them, so gossip itself signs nothing: the same list is the same message
/// whoever spreads it, and is sent once.
fn gossip(topics: &Topics) -> Result<Gossip, Misbuilt> {
    let config = gossipsub::ConfigBuilder::default()
        .protocol_id_prefix(GOSSIP)
        .validation_mode(ValidationMode::Anonymous)
        // Nothing is passed on before it was judged.
        .validate_messages()
        .message_id_fn(|message| MessageId::from(sha256_base64url(&message.data)))
        .heartbeat_initial_delay(Duration::from_secs(1))
        .duplicate_cache_time(SEEN_FOR)
        .max_transmit_size(MAX_GOSSIP_BYTES)
        .max_publish_messages(MAX_MESSAGES)
        .max_control_messages_sent(256)
        .connection_handler_queue_len(256)
        .build()
        .map_err(|e| Misbuilt(e.to_string()))?;
    let known: HashSet<_> = topics.all().iter().map(|topic| topic.hash()).collect();
    let filter = WhitelistSubscriptionFilter(known);
    let mut gossip = Gossip::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, filter)
        .map_err(|e| Misbuilt(e.to_owned()))?;
    for topic in topics.all() {
        gossip.subscribe(topic).map_err(|e| Misbuilt(e.to_string()))?;
    }
    Ok(gossip)
}

/// Kademlia says who is where, and keeps nothing for anybody.
fn kademlia(key: &Keypair) -> kad::Behaviour<MemoryStore> {
    let peer = key.public().to_peer_id();
    let store = MemoryStoreConfig {
        max_records: 0,
        max_provided_keys: 0,
        ..MemoryStoreConfig::default()
    };
    let mut config = kad::Config::new(KADEMLIA);
    config
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_caching(kad::Caching::Disabled)
        .set_query_timeout(Duration::from_secs(10))
        .set_publication_interval(None)
        .set_replication_interval(None)
        .set_provider_publication_interval(None);
    let mut kad = kad::Behaviour::with_config(peer, MemoryStore::with_config(peer, store), config);
    kad.set_mode(Some(kad::Mode::Server));
    kad
}

fn exchange() -> request_response::Behaviour<wire::Json> {
    let config = request_response::Config::default()
        .with_request_timeout(Duration::from_secs(8))
        .with_max_concurrent_streams(16);
    request_response::Behaviour::new([(wire::PROTOCOL, ProtocolSupport::Full)], config)
}
