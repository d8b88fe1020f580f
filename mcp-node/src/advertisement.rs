//! What a node tells other nodes of itself: what it offers, where it is, and how to get a token for it. Nothing in it is
//! secret, and nothing in it is believed beyond the node that says it: it comes over a connection that proved who speaks.

pub(crate) mod own;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::clock::UnixSeconds;
use shared::fleet::name;
use tokio::sync::watch;

pub(crate) use self::own::Fixed;
use crate::status::Load;

/// A longer document is refused.
pub(crate) const MAX_BYTES: usize = 64 * 1024;
/// How long a document counts. It is renewed in a third of that.
pub(crate) const LIFE: Duration = Duration::from_secs(180);
/// A document that claims to count for longer is refused.
pub(crate) const LONGEST: Duration = Duration::from_secs(3600);
/// How far the clocks of two nodes may differ.
const LEEWAY: Duration = Duration::from_secs(60);
/// Entries of a list.
pub(crate) const MAX_ENTRIES: usize = 256;
/// Bytes of a text.
pub(crate) const MAX_TEXT: usize = 512;

/// The document.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Advertisement {
    /// The node's id.
    pub(crate) node_id: String,
    /// Its libp2p peer id, of the same key.
    pub(crate) peer_id: String,
    /// Its name for people.
    pub(crate) name: String,
    /// When it said this.
    pub(crate) issued_at: UnixSeconds,
    /// Until when that counts.
    pub(crate) expires_at: UnixSeconds,
    /// The version of mcp-node.
    pub(crate) version: String,
    /// Operating system and processor, `linux/x86_64` for example.
    pub(crate) platform: String,
    /// Seconds since it started.
    pub(crate) uptime_seconds: u64,
    /// What it uses of its machine.
    pub(crate) load: Load,
    /// What it offers.
    pub(crate) capabilities: Capabilities,
    /// How it is reached as a peer.
    pub(crate) p2p: Reached,
    /// How to get a token for it.
    pub(crate) access: Access,
}

/// What a node offers to callers without scopes of their own.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Capabilities {
    /// The revisions of MCP that it speaks, newest first; none when it serves no MCP.
    pub(crate) mcp: Vec<String>,
    /// Names of tools.
    pub(crate) tools: Vec<String>,
    /// URIs of resources.
    pub(crate) resources: Vec<String>,
}

/// How a node is reached as a peer.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Reached {
    /// The protocols that it speaks.
    pub(crate) protocols: Vec<String>,
    /// Its addresses, as multiaddrs.
    pub(crate) addresses: Vec<String>,
}

/// How to get a token for a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Access {
    /// What tokens name as their audience, and where the node serves.
    pub(crate) resource: String,
    /// Its metadata (RFC 9728).
    pub(crate) resource_metadata: String,
    /// The authorization servers whose tokens it takes.
    pub(crate) authorization_servers: Vec<String>,
    /// The scopes for basic use.
    pub(crate) scopes_supported: Vec<String>,
}

/// Why a document is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct AdvertisementFault(&'static str);

impl Advertisement {
    /// Reads one that another node wrote.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, AdvertisementFault> {
        if bytes.len() > MAX_BYTES {
            return Err(AdvertisementFault("it is too long"));
        }
        let members = shared::json::object(bytes);
        let members = members.map_err(|_| AdvertisementFault("it is no JSON object"))?;
        let read: Self = serde_json::from_value(serde_json::Value::Object(members))
            .map_err(|_| AdvertisementFault("it is no advertisement"))?;
        read.check()?;
        Ok(read)
    }

    /// The bytes for other nodes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Texts, numbers and lists cannot fail to be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn check(&self) -> Result<(), AdvertisementFault> {
        let key = name::public_key(&self.peer_id).ok_or(AdvertisementFault("its peer id is none"))?;
        if name::node_id(&key) != self.node_id {
            return Err(AdvertisementFault("its node id is that of another key"));
        }
        let Capabilities {
            mcp,
            tools,
            resources,
        } = &self.capabilities;
        let lists = [
            mcp,
            tools,
            resources,
            &self.p2p.protocols,
            &self.p2p.addresses,
            &self.access.authorization_servers,
            &self.access.scopes_supported,
        ];
        if lists.iter().any(|list| list.len() > MAX_ENTRIES) {
            return Err(AdvertisementFault("a list in it is too long"));
        }
        let texts = [
            &self.name,
            &self.version,
            &self.platform,
            &self.access.resource,
            &self.access.resource_metadata,
        ];
        let all = texts.into_iter().chain(lists.into_iter().flatten());
        if all
            .into_iter()
            .any(|text| text.len() > MAX_TEXT || text.chars().any(char::is_control))
        {
            return Err(AdvertisementFault("a text in it is too long, or is no text"));
        }
        if self.expires_at <= self.issued_at || self.expires_at > self.issued_at + LONGEST {
            return Err(AdvertisementFault("its times make no sense"));
        }
        Ok(())
    }

    /// Whether it counts now. One from the future does not: it would outlive those that come after it.
    pub(crate) fn is_current(&self, now: UnixSeconds) -> bool {
        now < self.expires_at && self.issued_at <= now + LEEWAY
    }

    /// Whether `other` says the same, apart from what changes all the time.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let of = |said: &Self| Self {
            issued_at: UnixSeconds(0),
            expires_at: UnixSeconds(0),
            uptime_seconds: 0,
            load: Load::default(),
            ..said.clone()
        };
        of(self) == of(other)
    }
}

/// Where this node is reached as a peer, told by whoever listens. A clone is the same.
#[derive(Clone, Debug)]
pub(crate) struct Reach(watch::Sender<Reached>);

impl Default for Reach {
    fn default() -> Self {
        Self(watch::Sender::new(Reached::default()))
    }
}

impl Reach {
    /// What is true from now on.
    pub(crate) fn set(&self, reached: Reached) {
        self.0.send_if_modified(|known| {
            let is_new = *known != reached;
            *known = reached;
            is_new
        });
    }

    /// What is true now.
    pub(crate) fn get(&self) -> Reached {
        self.0.borrow().clone()
    }

    /// Changes with it.
    pub(crate) fn changes(&self) -> watch::Receiver<Reached> {
        self.0.subscribe()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub(crate) const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    /// What the node with this public key says at [`NOW`].
    pub(crate) fn of_key(public: [u8; 32]) -> Advertisement {
        serde_json::from_value(document(public)).unwrap()
    }

    fn document(public: [u8; 32]) -> Value {
        json!({
            "node_id": name::node_id(&public), "peer_id": name::peer_id(&public), "name": "north",
            "issued_at": NOW, "expires_at": NOW + LIFE, "version": "0.1.0", "platform": "linux/x86_64",
            "uptime_seconds": 7, "load": {"cpu_percent": 1.0, "memory_bytes": 1, "cores": 2},
            "capabilities": {"mcp": ["2026-07-28"], "tools": ["get_status"], "resources": []},
            "p2p": {"protocols": ["/edge-hive/record/1"], "addresses": ["/ip4/10.0.0.1/tcp/4001"]},
            "access": {
                "resource": "https://north.example/mcp", "resource_metadata": "https://north.example/x",
                "authorization_servers": ["https://auth.example"], "scopes_supported": ["mcp:read"],
            },
        })
    }

    fn parse(document: &Value) -> Result<Advertisement, AdvertisementFault> {
        Advertisement::parse(document.to_string().as_bytes())
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let read = parse(&document([7; 32])).unwrap();
        assert_eq!(Advertisement::parse(&read.to_bytes()).unwrap(), read);
        // A later version may say more.
        let mut later = document([7; 32]);
        later["more"] = json!({"x": 1});
        assert_eq!(parse(&later).unwrap(), read);
    }

    #[test]
    fn p2p_11_what_makes_no_sense_or_is_too_long_is_refused() {
        for (pointer, value) in [
            ("/node_id", json!(name::node_id(&[8; 32]))),
            ("/peer_id", json!("12D3KooW")),
            ("/name", json!("x".repeat(MAX_TEXT + 1))),
            ("/name", json!("a\u{1b}[2J")),
            ("/capabilities/tools", json!(vec!["x"; MAX_ENTRIES + 1])),
            ("/capabilities/tools", json!(["x".repeat(MAX_TEXT + 1)])),
            ("/p2p/addresses", json!(vec!["/ip4/1.1.1.1"; MAX_ENTRIES + 1])),
            ("/expires_at", json!(NOW.0)),
            ("/expires_at", json!(NOW.0 + 3601)),
            ("/expires_at", json!(i64::MAX)),
            ("/uptime_seconds", json!(-1)),
            ("/load", json!(null)),
        ] {
            let mut bad = document([7; 32]);
            *bad.pointer_mut(pointer).unwrap() = value;
            assert!(parse(&bad).is_err(), "{pointer}");
        }
        let mut long = document([7; 32]);
        long["more"] = json!("x".repeat(MAX_BYTES));
        assert!(parse(&long).is_err());
        assert!(Advertisement::parse(b"{\"node_id\":1,\"node_id\":2}").is_err());
        assert!(Advertisement::parse(b"").is_err());
    }

    #[test]
    fn it_counts_for_its_time_only() {
        let said = of_key([7; 32]);
        assert!(said.is_current(NOW) && said.is_current(NOW - LEEWAY));
        assert!(!said.is_current(NOW + LIFE) && !said.is_current(NOW - LEEWAY - LEEWAY));
        let mut later = said.clone();
        (later.issued_at, later.uptime_seconds) = (NOW + LEEWAY, 67);
        later.load.cpu_percent = 99.0;
        assert!(said.says_the_same(&later));
        later.capabilities.tools.push("more".to_owned());
        assert!(!said.says_the_same(&later));
    }
}
