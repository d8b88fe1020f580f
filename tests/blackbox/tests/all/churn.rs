//! P2P-20: nodes come and go, and those that are there know each other.

use std::time::Duration;

use blackbox::peer_node::{PATIENCE, PeerNode, eventually};

use crate::peers_hostile::fleet;

/// How many nodes there are, the one that stays included.
const NODES: usize = 8;
/// How often some of them go and come.
const ROUNDS: usize = 3;
/// The promise is thirty seconds. Here it is a wish: other tests use the machine too.
const PROMISED: Duration = Duration::from_secs(30);

/// Waits until each of those that run is connected with all others.
fn all_know_all(nodes: &[&PeerNode]) -> Duration {
    let others = (nodes.len() - 1) as f64;
    eventually("all know all", || {
        nodes.iter().all(|node| node.proven() == others)
    })
}

#[test]
fn p2p_20_nodes_that_come_and_go_know_each_other_and_leave_nothing_behind_sqlite() {
    let fleet = fleet();
    // Addresses that others speak of are private ones here.
    let dial = "dial = [\"127.0.0.0/8\"]";
    let stays = PeerNode::start(&fleet, &[], dial);
    let mut nodes: Vec<PeerNode> = (1..NODES)
        .map(|_| PeerNode::start(&fleet, &[&stays], dial))
        .collect();
    let everybody = |nodes: &[PeerNode]| {
        let all: Vec<&PeerNode> = nodes.iter().chain([&stays]).collect();
        all_know_all(&all)
    };
    let mut took = vec![everybody(&nodes)];
    let connections = || stays.metric("edge_hive_node_p2p_connections ");
    let settled = || {
        eventually("nobody has two connections", || {
            connections() == (NODES - 1) as f64
        })
    };
    settled();
    let before = (stays.memory(), stays.open_files());
    for round in 0..ROUNDS {
        // Some go with a word, some without.
        let leaving = [round, round + 2, round + 4].map(|number| number % nodes.len());
        for (number, leaver) in leaving.into_iter().enumerate() {
            match number {
                0 => nodes[leaver].stop(),
                _ => nodes[leaver].kill(),
            }
        }
        let left: Vec<&PeerNode> = (0..nodes.len())
            .filter(|number| !leaving.contains(number))
            .map(|number| &nodes[number])
            .chain([&stays])
            .collect();
        took.push(all_know_all(&left));
        // Two come back, and in the place of the third is a new one.
        nodes[leaving[0]] = PeerNode::enrol(&fleet, &[&stays], dial);
        for comer in leaving {
            nodes[comer].serve();
        }
        for comer in leaving {
            nodes[comer].wait_ready();
        }
        took.push(everybody(&nodes));
    }
    let kept = took.iter().filter(|time| **time < PROMISED).count();
    assert!(kept >= took.len() / 2, "{took:?} of {PATIENCE:?}");
    settled();
    let after = (stays.memory(), stays.open_files());
    assert!(after.0 < before.0 + 32 * 1024 * 1024, "{before:?} {after:?}");
    assert!(after.1 <= before.1 + 16, "{before:?} {after:?}");
}
