//! What this node says of itself.

use std::time::Duration;

use shared::clock::{UnixSeconds, now};
use tokio::time::sleep;

use super::{Access, Advertisement, Capabilities, LIFE, MAX_BYTES, MAX_ENTRIES, MAX_TEXT};
use crate::app::Node;
use crate::auth::Caller;
use crate::config::NodeConfig;
use crate::identity::Identity;
use crate::mcp::news::{Change, Heard, Reader};
use crate::mcp::offer;
use crate::status::versions;

/// Changes that come together are told together.
const TOGETHER: Duration = Duration::from_secs(2);

/// What of it does not change while the program runs.
#[derive(Debug)]
pub(crate) struct Fixed {
    peer_id: String,
    mcp_enabled: bool,
    access: Access,
}

impl Fixed {
    /// Of the node that is configured so.
    pub(crate) fn of(config: &NodeConfig, identity: &Identity) -> Self {
        let issuers = config.issuers.iter();
        Self {
            peer_id: identity.peer_id(),
            mcp_enabled: config.mcp_enabled,
            access: Access {
                resource: config.resource.as_str().to_owned(),
                resource_metadata: config.resource.metadata_url(),
                authorization_servers: issuers.map(|issuer| issuer.issuer.to_string()).collect(),
                scopes_supported: config.scopes.for_metadata(),
            },
        }
    }

    /// Whether this is the node's own peer id.
    pub(crate) fn is_called(&self, peer_id: &str) -> bool {
        peer_id == self.peer_id
    }
}

/// What other nodes are told: tools and resources that everybody may know of, and no others.
pub(crate) async fn for_peers(node: &Node, now: UnixSeconds) -> Advertisement {
    let gate = &node.gate;
    let seen = (
        |name: &str| gate.is_tool_for_everybody(name),
        |uri: &str| gate.is_resource_for_everybody(uri),
    );
    let mut said = of(node, seen, now).await;
    said.name = cut(&said.name);
    // What does not fit is left out: whoever wants all of it asks the node.
    while said.to_bytes().len() > MAX_BYTES {
        let offers = &mut said.capabilities;
        if offers.resources.pop().is_none() && offers.tools.pop().is_none() {
            break;
        }
    }
    said
}

/// What `caller` is told: what it may see.
pub(crate) async fn for_caller(node: &Node, caller: &Caller, now: UnixSeconds) -> Advertisement {
    let gate = &node.gate;
    let seen = (
        |name: &str| gate.may_see_tool(caller, name),
        |uri: &str| gate.may_see_resource(caller, uri),
    );
    of(node, seen, now).await
}

async fn of(
    node: &Node,
    (sees_tool, sees_resource): (impl Fn(&str) -> bool, impl Fn(&str) -> bool),
    now: UnixSeconds,
) -> Advertisement {
    let fixed = &node.advertised;
    let versions = versions();
    let mut capabilities = Capabilities::default();
    if fixed.mcp_enabled {
        let tools = offer::list_tools(node).await.into_iter();
        let resources = offer::list_resources(node).await.into_iter();
        capabilities = Capabilities {
            mcp: versions.mcp,
            tools: listed(tools.map(|tool| tool.name.to_string()), sees_tool),
            resources: listed(resources.map(|resource| resource.uri.to_string()), sees_resource),
        };
    }
    Advertisement {
        node_id: node.observer.id().to_owned(),
        peer_id: fixed.peer_id.clone(),
        name: node.observer.name().to_owned(),
        issued_at: now,
        expires_at: now + LIFE,
        version: versions.node,
        platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        uptime_seconds: node.observer.uptime().as_secs(),
        load: node.observer.load(),
        capabilities,
        p2p: node.reach.get(),
        access: fixed.access.clone(),
    }
}

fn listed(names: impl Iterator<Item = String>, sees: impl Fn(&str) -> bool) -> Vec<String> {
    let fits = |name: &String| name.len() <= MAX_TEXT && !name.chars().any(char::is_control);
    names
        .filter(fits)
        .filter(|name| sees(name))
        .take(MAX_ENTRIES)
        .collect()
}

fn cut(name: &str) -> String {
    let plain = name.chars().filter(|c| !c.is_control());
    let mut cut = String::new();
    for c in plain {
        if cut.len() + c.len_utf8() > MAX_TEXT {
            break;
        }
        cut.push(c);
    }
    cut
}

/// Waits until what the node says must be said again: something of it has changed, or a third of its time is over.
pub(crate) async fn until_next(node: &Node, news: &mut Reader) {
    let mut reach = node.reach.changes();
    let timer = sleep(LIFE / 3);
    tokio::pin!(timer);
    loop {
        tokio::select! {
            () = &mut timer => return,
            changed = reach.changed() => {
                if changed.is_err() {
                    return timer.await;
                }
                break;
            }
            heard = news.next() => {
                let is_about_us = match heard {
                    Heard::Change { change, .. } => matches!(change, Change::ToolList | Change::ResourceList),
                    Heard::Missed { .. } => true,
                };
                if is_about_us {
                    break;
                }
            }
        }
    }
    sleep(TOGETHER).await;
}

/// What is said now.
pub(crate) async fn current(node: &Node) -> Advertisement {
    for_peers(node, now()).await
}
