//! P2P: peers of stock libp2p, strange and hostile ones, against real nodes.

use std::time::Duration;

use blackbox::enrolled::{Candidate, fresh_resource, invite, sha256, welcomed};
use blackbox::fleet::Wishes;
use blackbox::forge::Key;
use blackbox::peer_node::{PeerNode, eventually};
use blackbox::raw_peer::{PROOF, RawPeer, SpeechEvent, hear};
use blackbox::{Db, Fleet};
use libp2p::futures::AsyncWriteExt as _;
use libp2p::gossipsub;
use libp2p::swarm::SwarmEvent;
use serde_json::{Value, json};

/// What only proven peers may open.
pub(crate) const BEHIND_THE_GATE: [&str; 3] = [
    "/edge-hive/kad/1",
    "/edge-hive/exchange/1",
    "/edge-hive/meshsub/1.1.0",
];

pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(test);
}

pub(crate) fn fleet() -> Fleet {
    Fleet::start(Db::Sqlite, &Wishes::default())
}

/// A node of the fleet that is none of our programs: its key, and what the server says of it.
pub(crate) fn enrolled(fleet: &Fleet) -> (Key, String) {
    let resource = fresh_resource(fleet);
    let code = invite(fleet, &["--resource", &resource]);
    let candidate = Candidate::new(fleet, &code, Some(&resource));
    let welcome = welcomed(&candidate.enrol(fleet));
    let record = welcome["record"].as_str().unwrap().to_owned();
    (candidate.key, record)
}

/// A proven peer, and the node that believes it.
pub(crate) async fn believed(fleet: &Fleet, node: &PeerNode) -> (RawPeer, libp2p::PeerId) {
    let (key, record) = enrolled(fleet);
    let mut peer = RawPeer::new(&key, "stock");
    let id = peer.call(&node.address()).await;
    assert_eq!(peer.prove(id, &key, &record).await, json!({"welcome": true}));
    (peer, id)
}

/// Whoever shows somebody else's record is refused, and a peer with its own is believed.
pub(crate) async fn only_the_owner_is_believed(fleet: &Fleet, node: &PeerNode) {
    let (_, record) = enrolled(fleet);
    let key = Key::ed25519("y");
    let mut thief = RawPeer::new(&key, "stock");
    let id = thief.call(&node.address()).await;
    assert_eq!(
        thief.prove(id, &key, &record).await,
        json!({"refused": "record_refused"})
    );
    let (mut peer, _) = believed(fleet, node).await;
    peer.until_so("the node counts it", || node.proven() >= 1.0).await;
}

#[test]
fn p2p_03_whoever_has_proven_nothing_gets_nothing_and_is_let_go_sqlite() {
    let fleet = fleet();
    let node = PeerNode::start(&fleet, &[], "");
    run(async {
        let mut stranger = RawPeer::new(&Key::ed25519("x"), "stock");
        let id = stranger.call(&node.address()).await;
        for protocol in &BEHIND_THE_GATE[..2] {
            assert!(stranger.open(id, protocol).await.is_none(), "{protocol}");
        }
        // One stream of gossip, which it has begun by itself, waits at the gate; there is no room for another.
        let topic = gossipsub::IdentTopic::new(format!("edge-hive/lists/1/{}", sha256(&fleet.server.issuer)));
        stranger.swarm.behaviour_mut().gossip.subscribe(&topic).unwrap();
        assert!(stranger.open(id, BEHIND_THE_GATE[2]).await.is_none());
        let closed = |event: &SwarmEvent<SpeechEvent>| {
            // Nothing comes.
            assert!(
                !matches!(event, SwarmEvent::Behaviour(SpeechEvent::Gossip(_))),
                "{event:?}"
            );
            matches!(event, SwarmEvent::ConnectionClosed { .. })
        };
        stranger.until("it is let go", closed).await;
        assert_eq!(node.metric("edge_hive_node_p2p_messages_total"), 0.0);
        only_the_owner_is_believed(&fleet, &node).await;
    });
    eventually("the peer is gone", || node.proven() == 0.0);
}

#[test]
fn p2p_09_p2p_11_what_is_too_long_or_never_comes_costs_nothing_sqlite() {
    let fleet = fleet();
    let node = PeerNode::start(&fleet, &[], "");
    run(async {
        let mut peer = RawPeer::new(&Key::ed25519("x"), &"a".repeat(100_000));
        let id = peer.call(&node.address()).await;
        let mut stream = peer.open(id, PROOF).await.unwrap();
        stream.write_all(&[0x7f, 0xff, 0xff, 0xff, b'{']).await.unwrap();
        stream.flush().await.unwrap();
        let answer = async {
            tokio::select! {
                answer = hear(&mut stream) => answer,
                () = peer.go_on(Duration::from_secs(60)) => panic!("the node waits for two gigabytes"),
            }
        };
        let answer = answer.await;
        // Where neither gets the processor, the time for a proof may be over first; then nothing is said.
        assert!(
            answer.is_null() || answer == json!({"refused": "form"}),
            "{answer}"
        );
        // A stream in which nothing ever comes ends too.
        let mut silent = RawPeer::new(&Key::ed25519("y"), "stock");
        let id = silent.call(&node.address()).await;
        let _stream = silent.open(id, PROOF).await.unwrap();
        let closed = |event: &SwarmEvent<SpeechEvent>| matches!(event, SwarmEvent::ConnectionClosed { .. });
        silent.until("it is let go", closed).await;
        let (peer, _) = believed(&fleet, &node).await;
        drop(peer);
    });
}

#[test]
fn p2p_08_a_flood_of_strangers_takes_no_place_of_a_peer_sqlite() {
    let fleet = fleet();
    let node = PeerNode::start(&fleet, &[], "");
    run(async {
        let (mut known, id) = believed(&fleet, &node).await;
        let flood = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        for _ in 0..400 {
            // Half of a handshake, and then silence.
            if let Ok(stream) = std::net::TcpStream::connect(("127.0.0.1", node.p2p_port)) {
                flood.lock().unwrap().push(stream);
            }
        }
        known.go_on(Duration::from_secs(2)).await;
        assert!(known.swarm.is_connected(&id));
        assert!(node.proven() >= 1.0);
        assert!(node.metric("edge_hive_node_p2p_connections ") < 100.0);
        // Their time ends, and others may come.
        known.go_on(Duration::from_secs(10)).await;
        drop(flood);
        assert!(known.swarm.is_connected(&id));
        let (other, _) = believed(&fleet, &node).await;
        drop(other);
    });
}

#[test]
fn p2p_05_the_signed_key_set_is_one_sqlite() {
    let fleet = Fleet::shared(Db::Sqlite);
    let answer = xtask::http::get(&fleet.at("/.well-known/jwks.jwt")).unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/jwk-set+jwt"));
    let text = answer.text();
    let (header, claims) = (
        blackbox::status_list::part(&text, 0),
        blackbox::status_list::part(&text, 1),
    );
    assert_eq!(header["typ"], "jwk-set+jwt");
    let plain = xtask::http::get(&fleet.at("/.well-known/jwks.json")).unwrap();
    let plain: Value = serde_json::from_str(&plain.text()).unwrap();
    assert_eq!(claims["keys"], plain["keys"]);
    assert_eq!(
        (&claims["iss"], &claims["sub"]),
        (&json!(fleet.server.issuer), &json!(fleet.server.issuer))
    );
    let metadata = xtask::http::get(&fleet.at("/.well-known/oauth-authorization-server")).unwrap();
    let metadata: Value = serde_json::from_str(&metadata.text()).unwrap();
    assert_eq!(metadata["signed_jwks_uri"], fleet.at("/.well-known/jwks.jwt"));
}
