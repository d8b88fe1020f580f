//! How another node is told of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::advertisement::{Access, Advertisement, Capabilities};
use crate::peers::{Peer, Source, State};
use crate::status::Load;

/// Another node.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct PeerStatus {
    /// Its id.
    pub(crate) id: String,
    /// Its libp2p peer id.
    pub(crate) peer_id: String,
    /// How much is known of it: `heard` proves nothing.
    pub(crate) state: State,
    /// Where it was heard of.
    pub(crate) sources: Vec<Source>,
    /// Where it may be reached as a peer, for those who have the scopes of the fleet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) addresses: Vec<String>,
    /// Its name for people, as the authorization server signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// What tokens for it name as their audience, as the authorization server signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resource: Option<String>,
    /// Seconds since something came from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_contact_seconds: Option<u64>,
    /// What it says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) says: Option<PeerSays>,
}

/// What a node says of itself.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct PeerSays {
    /// The version of mcp-node.
    pub(crate) version: String,
    /// Operating system and processor.
    pub(crate) platform: String,
    /// Seconds since it started, when it said so.
    pub(crate) uptime_seconds: u64,
    /// What it used of its machine then.
    pub(crate) load: Load,
    /// What it offers.
    pub(crate) capabilities: Capabilities,
    /// How to get a token for it.
    pub(crate) access: Access,
}

impl PeerStatus {
    /// What is known of `peer`.
    pub(crate) fn of(peer: &Peer) -> Self {
        let record = peer.record.as_ref().map(|signed| &signed.record);
        Self {
            id: peer.node_id.to_string(),
            peer_id: peer.peer_id.to_string(),
            state: peer.state(),
            sources: peer.sources(),
            addresses: peer.addresses(),
            name: record.map(|record| record.name.clone()),
            resource: record.map(|record| record.resource.clone()),
            last_contact_seconds: peer.last_contact.map(|at| at.elapsed().as_secs()),
            says: peer.advertisement.as_deref().map(PeerSays::of),
        }
    }
}

impl PeerStatus {
    /// The same for callers without the scopes of the fleet: where nodes are within networks is not for everybody.
    pub(crate) fn without_addresses(peer: &Peer) -> Self {
        Self {
            addresses: Vec::new(),
            ..Self::of(peer)
        }
    }
}

impl PeerSays {
    fn of(said: &Advertisement) -> Self {
        Self {
            version: said.version.clone(),
            platform: said.platform.clone(),
            uptime_seconds: said.uptime_seconds,
            load: said.load,
            capabilities: said.capabilities.clone(),
            access: said.access.clone(),
        }
    }
}
