//! P2P: nodes that are reached through a relay only, which their operators named (docs/fleet.md).

use blackbox::forge::Key;
use blackbox::peer_node::{Listens, PeerNode, eventually};
use blackbox::raw_peer::{RawPeer, SpeechEvent};
use blackbox::relay_server::RelayServer;
use libp2p::identity::Keypair;
use libp2p::multiaddr::{Multiaddr, Protocol};
use libp2p::swarm::SwarmEvent;

use crate::peers_hostile::{fleet, run};

fn through(relay: &RelayServer) -> String {
    format!("relays = [{:?}]", relay.address)
}

#[test]
fn a_node_behind_a_relay_is_reached_through_it_and_by_nobody_without_sqlite() {
    let fleet = fleet();
    let relay = RelayServer::start();
    let hidden = PeerNode::start_as(&fleet, Listens::Nowhere, &[], &through(&relay));
    eventually("it has a place at the relay", || {
        relay.has_reserved(&hidden.peer_id)
    });
    let circuit = relay.circuit_to(&hidden.peer_id);
    let near = PeerNode::start_as(
        &fleet,
        Listens::Tcp,
        std::slice::from_ref(&circuit),
        &through(&relay),
    );
    eventually("they prove themselves", || {
        hidden.proven() >= 1.0 && near.proven() >= 1.0
    });
    assert!(relay.has_relayed(&near.peer_id, &hidden.peer_id));
    assert!(near.log().contains("/p2p-circuit/"), "{}", near.log());
    // Whoever came later than the relay, and is no relay, is let go: relays may stay.
    run(async {
        let mut stranger = RawPeer::new(&Key::ed25519("x"), "stock");
        stranger.call(&near.address()).await;
        let closed = |event: &SwarmEvent<SpeechEvent>| matches!(event, SwarmEvent::ConnectionClosed { .. });
        stranger.until("it is let go", closed).await;
    });
    assert!(!relay.was_left_by(&near.peer_id) && !relay.was_left_by(&hidden.peer_id));
    assert_eq!(near.peer(&hidden.peer_id)["state"], "connected");
    // One whose operator has named no relay hears of the node, and where it is, and does not call it there.
    let without = PeerNode::start(&fleet, &[&near], "");
    eventually("it hears where the node is", || {
        // Nodes say so each minute, and when they are told to.
        xtask::shell::read(&mut hidden.node.command(&["discovery", "announce"])).unwrap();
        without.peer(&hidden.peer_id)["addresses"]
            .to_string()
            .contains("p2p-circuit")
    });
    let complaint = without.connect(&hidden.peer_id).unwrap_err();
    assert!(complaint.contains("may not be called"), "{complaint}");
    assert!(!relay.was_called_by(&without.peer_id));
    // Not even when its operator names that place: then it says what is missing.
    let fault = PeerNode::enrol_as(&fleet, Listens::Tcp, &[circuit], "");
    let refused = xtask::shell::read(&mut fault.node.command(&["serve"])).unwrap_err();
    assert!(
        refused.to_string().contains("a relay that is not in relays"),
        "{refused}"
    );
}

#[test]
fn a_relay_that_comes_back_is_asked_again_sqlite() {
    let fleet = fleet();
    let key = Keypair::generate_ed25519();
    let relay = RelayServer::start_as(&key, 0);
    let hidden = PeerNode::start_as(&fleet, Listens::Nowhere, &[], &through(&relay));
    eventually("it has a place at the relay", || {
        relay.has_reserved(&hidden.peer_id)
    });
    let address: Multiaddr = relay.address.parse().unwrap();
    let port = address.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    drop(relay);
    eventually("it says so", || hidden.log().contains("a relay does not relay"));
    let relay = RelayServer::start_as(&key, port.unwrap());
    eventually("it has a place again", || relay.has_reserved(&hidden.peer_id));
}

#[test]
fn two_nodes_behind_a_relay_find_a_way_without_it_sqlite() {
    let fleet = fleet();
    let relay = RelayServer::start();
    // Both have ports that nobody is told of. That their addresses are private is no hindrance here.
    let more = format!("{}\ndial = [\"127.0.0.0/8\"]", through(&relay));
    let one = PeerNode::start_as(&fleet, Listens::Tcp, &[], &more);
    eventually("it has a place at the relay", || relay.has_reserved(&one.peer_id));
    let circuit = relay.circuit_to(&one.peer_id);
    let other = PeerNode::start_as(&fleet, Listens::Tcp, &[circuit], &more);
    eventually("they prove themselves", || {
        one.proven() >= 1.0 && other.proven() >= 1.0
    });
    assert!(relay.has_relayed(&other.peer_id, &one.peer_id));
    eventually("they are connected without the relay", || {
        other.log().contains("a peer is reached without its relay")
            || one.log().contains("a peer is reached without its relay")
    });
}
