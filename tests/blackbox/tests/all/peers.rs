//! P2P, STAT: nodes that speak to each other, and learn of revocations from each other (docs/fleet.md, docs/revocation.md).

use std::time::Duration;

use blackbox::cut::Way;
use blackbox::fleet::Wishes;
use blackbox::peer_node::{PeerNode, eventually};
use blackbox::{Db, Fleet};
use xtask::fleet::Credentials;

/// The promise for nodes that reach only peers. Here it is a wish: other tests use the machine too.
const PROMISED: Duration = Duration::from_secs(10);

fn fleet() -> (Fleet, std::sync::Arc<Way>) {
    let way = Way::new();
    let wishes = Wishes {
        way: Some(std::sync::Arc::clone(&way)),
        ..Wishes::default()
    };
    (Fleet::start(Db::Sqlite, &wishes), way)
}

fn revoke(fleet: &Fleet, client: &Credentials, token: &str) {
    assert_eq!(
        fleet.post("/oauth/revoke", client, &[("token", token)]).status,
        200
    );
}

#[test]
fn stat_17_a_node_that_reaches_only_peers_learns_of_revocations_sqlite() {
    let (fleet, way) = fleet();
    let near = PeerNode::start(&fleet, &[], "");
    let cut_off = PeerNode::start(&fleet, &[&near], "");
    eventually("they prove themselves", || {
        near.proven() >= 1.0 && cut_off.proven() >= 1.0
    });
    let client = fleet.client_for_any(&[]);
    let [first, second, kept] = [(); 3].map(|()| fleet.token(&client, &cut_off.node.url()));
    assert_eq!(cut_off.call(&first).status, 200);
    assert_eq!(cut_off.call(&second).status, 200);
    way.cut(cut_off.id());
    eventually("it is alone", || {
        cut_off.log().contains("the status lists cannot be kept current")
    });
    // The first list may have to be found by the neighbour, the second revocation is news.
    let mut took = Vec::new();
    for token in [&first, &second] {
        revoke(&fleet, &client, token);
        took.push(eventually("the node refuses it", || {
            cut_off.call(token).status == 401
        }));
        assert_eq!(cut_off.call(&kept).status, 200, "and no other");
    }
    assert!(took.iter().any(|time| *time < PROMISED), "{took:?}");
    // And over: it hears the server again.
    way.mend(cut_off.id());
    eventually("it is current", || {
        cut_off.log().contains("the status lists are current again")
    });
    assert_eq!(cut_off.call(&first).status, 401);
}

#[test]
fn a_node_that_starts_without_its_server_works_with_lists_of_neighbours_sqlite() {
    let (fleet, way) = fleet();
    let near = PeerNode::start(&fleet, &[], "");
    let mut late = PeerNode::start(&fleet, &[&near], "");
    let client = fleet.client_for_any(&[]);
    let keys = fleet.token(&client, &late.node.url());
    assert_eq!(late.call(&keys).status, 200);
    let kept = late.node.folder.join("data/offline");
    eventually("keys and lists are kept", || {
        let names = std::fs::read_dir(&kept).unwrap().flatten();
        let names: Vec<String> = names
            .map(|file| file.file_name().to_string_lossy().into_owned())
            .collect();
        ["keys.json", "lists.json"]
            .iter()
            .all(|kind| names.iter().any(|name| name.ends_with(kind)))
    });
    late.kill();
    // It knows its keys and no lists, as a node would that never saw a token before.
    for file in std::fs::read_dir(&kept).unwrap().flatten() {
        if file.path().to_string_lossy().ends_with("lists.json") {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    let revoked = fleet.token(&client, &late.node.url());
    revoke(&fleet, &client, &revoked);
    late.serve();
    way.cut(late.id());
    eventually("it serves", || {
        std::net::TcpStream::connect(("127.0.0.1", late.node.port)).is_ok()
    });
    eventually("they prove themselves", || late.proven() >= 1.0);
    eventually("a good token is taken", || late.call(&keys).status == 200);
    assert_eq!(late.call(&revoked).status, 401);
    drop(near);
}

#[test]
fn p2p_14_a_revoked_node_is_cut_off_by_nodes_that_reach_only_peers_sqlite() {
    let (fleet, way) = fleet();
    let near = PeerNode::start(&fleet, &[], "");
    let cut_off = PeerNode::start(&fleet, &[&near], "");
    let revoked = PeerNode::start(&fleet, &[&cut_off], "");
    eventually("they prove themselves", || {
        near.proven() >= 1.0 && cut_off.proven() >= 2.0 && revoked.proven() >= 1.0
    });
    way.cut(cut_off.id());
    way.cut(revoked.id());
    let mut revoke = fleet.server.command(&["node", "revoke", &revoked.node_id]);
    assert!(revoke.output().unwrap().status.success());
    eventually("its neighbour lets it go", || {
        cut_off.log().contains("a peer was cut off")
    });
    // It comes again, and is not believed.
    let refused = "edge_hive_node_p2p_proofs_total{outcome=\"revoked\"} ";
    eventually("it is refused", || cut_off.metric(refused) >= 1.0);
    assert!(
        cut_off.proven() == 1.0 && near.proven() == 1.0,
        "and the others stay"
    );
}
