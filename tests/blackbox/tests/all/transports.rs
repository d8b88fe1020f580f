//! P2P: the ways on which peers speak, TCP and QUIC, with peers of stock libp2p, nodes of ours, strangers, and peers that
//! send frames which no library would (docs/fleet.md).

use blackbox::Fleet;
use blackbox::forge::Key;
use blackbox::peer_node::{Listens, PATIENCE, PeerNode, eventually};
use blackbox::raw_peer::{RawPeer, SpeechEvent};
use blackbox::raw_yamux::{FLOODS, Flood, connect};
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, identify, kad, ping};
use serde_json::json;

use crate::peers_hostile::{BEHIND_THE_GATE, believed, enrolled, fleet, only_the_owner_is_believed, run};

fn node_on(fleet: &Fleet, listens: Listens) -> PeerNode {
    PeerNode::start_as(fleet, listens, &[], "")
}

/// Ping, identify and kad of stock libp2p, with a node that listens in this way.
fn interoperates(listens: Listens) {
    let fleet = fleet();
    let node = node_on(&fleet, listens);
    run(async {
        let (key, record) = enrolled(&fleet);
        let mut peer = RawPeer::new(&key, "stock");
        let id = peer.call(&node.address()).await;
        let is_pinged = |event: &SwarmEvent<SpeechEvent>| {
            matches!(
                event,
                SwarmEvent::Behaviour(SpeechEvent::Ping(ping::Event { result: Ok(_), .. }))
            )
        };
        peer.until("a ping", is_pinged).await;
        peer.swarm.behaviour_mut().identify.push([id]);
        assert_eq!(peer.prove(id, &key, &record).await, json!({"welcome": true}));
        let speaks_kad = |info: &identify::Info| {
            info.agent_version == "mcp-node"
                && info
                    .protocols
                    .iter()
                    .any(|protocol| protocol.as_ref() == BEHIND_THE_GATE[0])
        };
        // It may have told so before it said that we are welcome.
        if !peer.told.as_ref().is_some_and(speaks_kad) {
            let tells = |event: &SwarmEvent<SpeechEvent>| {
                matches!(event, SwarmEvent::Behaviour(SpeechEvent::Identify(identify::Event::Received { info, .. }))
                    if speaks_kad(info))
            };
            peer.until("the node tells of what it speaks now", tells).await;
        }
        let address = node.address().parse().unwrap();
        peer.swarm.behaviour_mut().kad.add_address(&id, address);
        peer.swarm.behaviour_mut().kad.get_closest_peers(PeerId::random());
        let is_answered = |event: &SwarmEvent<SpeechEvent>| {
            matches!(event, SwarmEvent::Behaviour(SpeechEvent::Kad(kad::Event::OutboundQueryProgressed {
                result: kad::QueryResult::GetClosestPeers(Ok(found)), stats, ..
            })) if !found.peers.is_empty() && stats.num_successes() > 0)
        };
        peer.until("the DHT answers", is_answered).await;
    });
}

#[test]
fn stock_libp2p_interoperates_over_tcp_sqlite() {
    interoperates(Listens::Tcp);
}

#[test]
fn stock_libp2p_interoperates_over_quic_sqlite() {
    interoperates(Listens::Quic);
}

#[test]
fn nodes_prove_themselves_over_quic_and_nobody_else_is_taken_for_one_sqlite() {
    let fleet = fleet();
    let one = node_on(&fleet, Listens::Quic);
    // At the address of the one, another is said to be.
    let other = PeerNode::enrol_as(&fleet, Listens::Quic, &[], "");
    let wrong = one.address().replace(&one.peer_id, &other.peer_id);
    let fooled = PeerNode::start_as(&fleet, Listens::Quic, &[wrong], "");
    let two = PeerNode::start_as(&fleet, Listens::Quic, &[one.address()], "");
    eventually("they prove themselves", || {
        one.proven() >= 1.0 && two.proven() >= 1.0
    });
    let proven = format!("\"address\":\"/ip4/127.0.0.1/udp/{}/quic-v1", one.p2p_port);
    assert!(two.log().contains(&proven), "{}", two.log());
    assert_eq!(two.peer(&one.peer_id)["state"], "connected");
    let complaint = fooled.connect(&other.peer_id).unwrap_err();
    assert!(complaint.contains("cannot be reached"), "{complaint}");
    assert_eq!(fooled.proven(), 0.0);
}

#[test]
fn p2p_03_a_stranger_over_quic_gets_nothing_and_is_let_go_sqlite() {
    let fleet = fleet();
    let node = node_on(&fleet, Listens::Quic);
    run(async {
        let mut stranger = RawPeer::new(&Key::ed25519("x"), "stock");
        let id = stranger.call(&node.address()).await;
        for protocol in BEHIND_THE_GATE {
            assert!(stranger.open(id, protocol).await.is_none(), "{protocol}");
        }
        let closed = |event: &SwarmEvent<SpeechEvent>| matches!(event, SwarmEvent::ConnectionClosed { .. });
        stranger.until("it is let go", closed).await;
        only_the_owner_is_believed(&fleet, &node).await;
    });
    eventually("the peer is gone", || node.proven() == 0.0);
}

/// What the operating systems of both ends may have taken of a flood before the node closes.
const ON_THE_WAY: usize = 16 * 1024 * 1024;
/// What floods may cost of memory, the allocator's reserves included.
const BOUNDED: u64 = 64 * 1024 * 1024;

#[test]
fn p2p_10_floods_of_yamux_are_bounded_sqlite() {
    let fleet = fleet();
    let node = node_on(&fleet, Listens::Tcp);
    run(async {
        let (mut known, id) = believed(&fleet, &node).await;
        known
            .until_so("the node counts it", || node.proven() >= 1.0)
            .await;
        let (before, port) = (node.memory(), node.p2p_port);
        for (number, flood) in FLOODS.into_iter().enumerate() {
            for listens in [true, false] {
                let all = (0..4).map(|copy| {
                    let key = Key::ed25519(&format!("{number}-{listens}-{copy}"));
                    async move {
                        let hostile = connect(&key, port, id).await;
                        hostile.flood(flood, listens, (usize::MAX, PATIENCE)).await
                    }
                });
                let sent = tokio::select! {
                    sent = libp2p::futures::future::join_all(all) => sent,
                    () = known.go_on(2 * PATIENCE) => panic!("{flood:?}: no end"),
                };
                assert!(sent.iter().all(|sent| *sent < ON_THE_WAY), "{flood:?}: {sent:?}");
            }
        }
        assert!(known.swarm.is_connected(&id), "nobody else suffers");
        let grown = node.memory().saturating_sub(before);
        assert!(grown < BOUNDED, "{grown}");
        known
            .until_so("they are let go", || {
                node.metric("edge_hive_node_p2p_connections ") <= 1.0
            })
            .await;
        let (other, _) = believed(&fleet, &node).await;
        drop(other);
    });
    // It was the limit that ended them, where it was reached.
    let limit = "a peer that has proven nothing has sent too much";
    assert!(node.log().matches(limit).count() >= 4, "{}", node.log());
}

#[test]
fn p2p_10_a_peer_that_floods_costs_no_memory_sqlite() {
    /// More than any window.
    const MUCH: usize = 4 * 1024 * 1024;
    let fleet = fleet();
    let node = node_on(&fleet, Listens::Tcp);
    run(async {
        let (mut known, id) = believed(&fleet, &node).await;
        let (key, record) = enrolled(&fleet);
        let mut peer = RawPeer::new(&key, "stock");
        peer.call(&node.address()).await;
        assert_eq!(peer.prove(id, &key, &record).await, json!({"welcome": true}));
        let before = node.memory();
        for flood in FLOODS.into_iter().filter(|flood| *flood != Flood::GoAways) {
            // With the same key, so there is no limit.
            let hostile = connect(&key, node.p2p_port, id).await;
            let flooded = hostile.flood(flood, true, (MUCH, PATIENCE));
            tokio::select! {
                _ = flooded => {}
                () = known.go_on(2 * PATIENCE) => panic!("{flood:?}: no end"),
                () = peer.go_on(2 * PATIENCE) => panic!("{flood:?}: no end"),
            }
        }
        let grown = node.memory().saturating_sub(before);
        assert!(grown < BOUNDED, "{grown}");
        assert!(known.swarm.is_connected(&id) && peer.swarm.is_connected(&id));
        assert!(node.proven() >= 2.0);
    });
}
