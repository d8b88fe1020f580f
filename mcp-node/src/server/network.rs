//! Joining the network of peers.

use std::sync::Arc;

use crate::advertisement::own;
use crate::app::Node;
use crate::config::NodeConfig;
use crate::p2p::{Misbuilt, P2p, Parts};

/// Joins the network of peers, if there is something to show them.
pub(super) fn join_peers(config: &NodeConfig, node: &Arc<Node>) -> Result<(), Misbuilt> {
    let (Some(member), Some(records)) = (&node.membership, &node.records) else {
        tracing::warn!("p2p.enabled does nothing until the node has enrolled: mcp-node enroll");
        return Ok(());
    };
    let issuers = node.door.issuers();
    let revocation = issuers.revocation(member.place());
    if let Some(revocation) = &revocation {
        // Peers are judged by them before any token is.
        revocation.follow_nodes(&member.enrolment().resource);
    }
    let network = P2p::start(Parts {
        config: config.p2p.clone(),
        identity: Arc::clone(member.identity()),
        record: records.own(),
        peers: node.peers.clone(),
        issuer: member.enrolment().issuer.clone(),
        keys: member.keys(issuers).clone(),
        revocation,
        client: member.client().clone(),
        reach: node.reach.clone(),
        metrics: Arc::clone(&node.metrics),
        stopping: node.stopping.clone(),
    })?;
    if node.network.set(network).is_ok() {
        tokio::spawn(advertise(Arc::clone(node)));
    }
    Ok(())
}

/// Tells peers what the node says of itself, until the program stops.
async fn advertise(node: Arc<Node>) {
    let mut news = node.lasting.news.read();
    let telling = async {
        loop {
            node.tell_peers(own::current(&node).await);
            own::until_next(&node, &mut news).await;
        }
    };
    tokio::select! {
        () = telling => {}
        () = node.stopping.cancelled() => {}
    }
}
