//! How the node is: what the tool `get_status`, the resource `edge-hive://status`, the stream and `mcp-node status`
//! all tell.

pub(crate) mod load;
mod peer;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::load::LoadMeter;
pub(crate) use self::peer::PeerStatus;
use crate::issuers::Issuers;
use crate::peers::Peers;

/// Why a node without enrolment has no peers.
const NOT_ENROLLED: &str = "the node has not enrolled, so that no other can prove itself to it";
/// Why a node without `[p2p]` has none.
const NO_P2P: &str = "p2p.enabled is false, so that nodes are heard of but not connected";

/// The state of a node.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct NodeStatus {
    /// The node's id.
    pub(crate) id: String,
    /// Its name for people.
    pub(crate) name: String,
    /// Seconds since it started.
    pub(crate) uptime_seconds: u64,
    /// What is running.
    pub(crate) versions: Versions,
    /// What it uses of the machine.
    pub(crate) load: Load,
    /// The authorization servers whose tokens it takes.
    pub(crate) issuers: Vec<IssuerStatus>,
    /// Other nodes that have proved who they are.
    pub(crate) peers: Vec<PeerStatus>,
    /// How many others it has merely heard of.
    #[serde(default)]
    pub(crate) peers_heard: usize,
    /// Why there are no peers, if there is a reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peers_note: Option<String>,
    /// Other MCP servers behind this node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) upstreams: Vec<UpstreamStatus>,
}

/// One MCP server behind this node.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct UpstreamStatus {
    /// What the operator calls it.
    pub(crate) name: String,
    /// `starting` for the first time, `up`, or `down` until it is started again.
    pub(crate) state: String,
    /// Why it is down, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<String>,
    /// The revision of MCP that it speaks with the node, if it is up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<String>,
    /// How many tools it was last known to have.
    pub(crate) tools: usize,
    /// How many resources.
    pub(crate) resources: usize,
    /// How many prompts.
    pub(crate) prompts: usize,
    /// How often it was started again.
    pub(crate) restarts: u32,
}

/// Program and protocol versions.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Versions {
    /// The version of mcp-node.
    pub(crate) node: String,
    /// The revisions of MCP that it speaks, newest first.
    pub(crate) mcp: Vec<String>,
}

/// What the node uses of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Load {
    /// Processor time over the last seconds, in percent of one core.
    pub(crate) cpu_percent: f64,
    /// Memory that is in use, in bytes.
    pub(crate) memory_bytes: u64,
    /// Cores that the node may use.
    pub(crate) cores: usize,
}

/// One trusted authorization server.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct IssuerStatus {
    /// Its identifier.
    pub(crate) issuer: String,
    /// How its tokens are checked: with its `keys`, a `shared_secret`, or by `introspection`.
    #[serde(default)]
    pub(crate) validation: String,
    /// Whether tokens of it can be judged now. Its keys are fetched when the first token comes.
    pub(crate) usable: bool,
    /// Seconds since its key set was fetched; absent before the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keys_age_seconds: Option<u64>,
    /// Seconds for which its keys would serve on if it could not be reached; absent while there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keys_left_seconds: Option<u64>,
    /// What is known of tokens that it took back; absent until a token has named a status list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revocation: Option<RevocationState>,
    /// How many keys it has.
    pub(crate) keys: usize,
    /// Why the latest attempt to reach it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<String>,
}

/// What is known of the revocations of one authorization server.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RevocationState {
    /// How many status lists are held.
    pub(crate) lists: usize,
    /// Seconds since the issuer last confirmed them, the oldest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) age_seconds: Option<u64>,
    /// Seconds for which tokens would be judged on if the issuer could not be reached; absent when they are taken
    /// without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) left_seconds: Option<u64>,
    /// Why the latest question failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<String>,
}

/// Observes the node.
pub(crate) struct Observer {
    id: String,
    former_id: Option<String>,
    name: String,
    started_at: Instant,
    load: Mutex<LoadMeter>,
    peers: Peers,
    peers_note: Option<&'static str>,
}

impl Observer {
    /// Begins to count the uptime.
    pub(crate) fn new(
        (id, former_id): (String, Option<String>),
        name: String,
        peers: Peers,
        (is_enrolled, has_p2p): (bool, bool),
    ) -> Self {
        Self {
            id,
            former_id,
            name,
            started_at: Instant::now(),
            load: Mutex::new(LoadMeter::new()),
            peers,
            peers_note: match (is_enrolled, has_p2p) {
                (_, false) => Some(NO_P2P),
                (false, true) => Some(NOT_ENROLLED),
                (true, true) => None,
            },
        }
    }

    /// The node's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Whether `id` means this node: by its id, or by the one that it had before.
    pub(crate) fn is_called(&self, id: &str) -> bool {
        id == self.id || self.former_id.as_deref() == Some(id)
    }

    /// The node's name for people.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How long it has been running.
    pub(crate) fn uptime(&self) -> Duration {
        self.started_at.elapsed()
    }

    /// What the node uses of the machine, as of the last second.
    pub(crate) fn load(&self) -> Load {
        let mut meter = self
            .load
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        meter.measure()
    }

    /// Nodes that have proved who they are, and how many are merely heard of.
    fn peers(&self) -> (Vec<PeerStatus>, usize) {
        let all = self.peers.list();
        let (known, heard): (Vec<_>, Vec<_>) = all.iter().partition(|peer| peer.record.is_some());
        (
            known.into_iter().map(PeerStatus::without_addresses).collect(),
            heard.len(),
        )
    }

    /// The state now; the load is that of the last second.
    pub(crate) fn observe(&self, issuers: &Issuers, upstreams: Vec<UpstreamStatus>) -> NodeStatus {
        let (known, heard) = self.peers();
        NodeStatus {
            id: self.id.clone(),
            name: self.name.clone(),
            uptime_seconds: self.uptime().as_secs(),
            versions: versions(),
            load: self.load(),
            issuers: issuers.iter().map(issuer_status).collect(),
            peers: known,
            peers_heard: heard,
            peers_note: self.peers_note.map(str::to_owned),
            upstreams,
        }
    }
}

/// What is running.
pub(crate) fn versions() -> Versions {
    let mcp = rmcp::model::ProtocolVersion::KNOWN_VERSIONS
        .iter()
        .rev()
        .map(|v| v.as_str().to_owned())
        .collect();
    Versions {
        node: env!("CARGO_PKG_VERSION").to_owned(),
        mcp,
    }
}

fn issuer_status(issuer: &crate::issuers::TrustedIssuer) -> IssuerStatus {
    let condition = issuer.condition();
    let known = condition
        .revocation
        .filter(|known| known.lists > 0 || known.fault.is_some());
    let revocation = known.map(|known| RevocationState {
        lists: known.lists,
        age_seconds: known.age.map(|age| age.as_secs()),
        left_seconds: known.left.map(|left| left.as_secs()),
        fault: known.fault,
    });
    IssuerStatus {
        issuer: issuer.expectation.issuer.to_string(),
        validation: issuer.trust.as_str().to_owned(),
        usable: condition.usable,
        keys_age_seconds: condition.keys_age.map(|age| age.as_secs()),
        keys_left_seconds: condition.keys_left.map(|left| left.as_secs()),
        revocation,
        keys: condition.keys,
        fault: condition.fault,
    }
}
