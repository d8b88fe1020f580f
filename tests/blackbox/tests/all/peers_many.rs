//! P2P: a fleet of twenty nodes, of which nineteen were told of one.

use std::sync::{Arc, Mutex};

use blackbox::answers::granted;
use blackbox::cut::Way;
use blackbox::fleet::Wishes;
use blackbox::local_network::FLEET_SCOPES;
use blackbox::peer_node::{PeerNode, eventually};
use blackbox::{Db, Fleet};
use serde_json::Value;
use xtask::http::Request;

const NODES: usize = 20;
/// Proven peers that each node has in the end; it calls others until it has ten.
const PEERS: f64 = 8.0;
/// All are on one machine, where nobody's word but the operator's leads.
const ON_LOOPBACK: &str = "dial = [\"127.0.0.0/8\"]\n[discovery]\nenabled = false\n";

/// The peer ids of all other nodes that `node` knows of.
fn heard(node: &PeerNode, token: &str) -> Vec<String> {
    let url = format!("http://localhost:{}/discovery/peers", node.node.port);
    let answer = Request::new("GET", &url).unwrap().bearer(token).send().unwrap();
    let peers = granted(&answer);
    let ids = peers["peers"].as_array().unwrap().iter();
    ids.map(|peer: &Value| peer["peer_id"].as_str().unwrap().to_owned())
        .collect()
}

/// Twenty nodes that have enrolled and serve; the first is the peer of all others.
fn start(fleet: &Fleet) -> Vec<PeerNode> {
    let first = PeerNode::enrol(fleet, &[], ON_LOOPBACK);
    let others = Mutex::new(Vec::new());
    // Each is a command line of its own.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while others.lock().unwrap().len() < NODES - 1 {
                    let node = PeerNode::enrol(fleet, &[&first], ON_LOOPBACK);
                    others.lock().unwrap().push(node);
                }
            });
        }
    });
    let mut nodes = vec![first];
    nodes.extend(others.into_inner().unwrap());
    nodes.truncate(NODES);
    nodes.iter_mut().for_each(PeerNode::serve);
    nodes.iter_mut().for_each(PeerNode::wait_ready);
    nodes
}

#[test]
fn twenty_nodes_that_were_told_of_one_become_a_web_and_all_learn_of_revocations_sqlite() {
    let way = Way::new();
    let wishes = Wishes {
        way: Some(Arc::clone(&way)),
        ..Wishes::default()
    };
    let fleet = Fleet::start(Db::Sqlite, &wishes);
    let nodes = start(&fleet);
    for node in &nodes {
        eventually("it has enough peers", || node.proven() >= PEERS);
    }
    let client = fleet.client_for_any(&["--scopes", FLEET_SCOPES]);
    let tokens: Vec<String> = nodes
        .iter()
        .map(|node| fleet.token(&client, &node.node.url()))
        .collect();
    for (node, token) in nodes.iter().zip(&tokens) {
        assert_eq!(node.call(token).status, 200);
        eventually("it knows all others", || {
            let heard = heard(node, token);
            let others = nodes.iter().filter(|other| other.peer_id != node.peer_id);
            others.into_iter().all(|other| heard.contains(&other.peer_id))
        });
    }
    // From now on one of them reaches the server.
    for node in &nodes[1..] {
        way.cut(node.id());
    }
    for token in &tokens {
        let revoked = fleet.post("/oauth/revoke", &client, &[("token", token)]);
        assert_eq!(revoked.status, 200);
    }
    for (node, token) in nodes.iter().zip(&tokens) {
        eventually("its token is refused", || node.call(token).status == 401);
    }
    // And a node that is revoked is nobody's peer any more.
    let gone = &nodes[NODES - 1];
    let command = fleet.server.command(&["node", "revoke", &gone.node_id]).output();
    assert!(command.unwrap().status.success());
    eventually("all have let it go", || gone.proven() == 0.0);
    for node in &nodes[..NODES - 1] {
        eventually("the others have each other", || node.proven() >= PEERS - 1.0);
    }
}
