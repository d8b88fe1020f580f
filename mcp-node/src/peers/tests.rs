use futures_util::FutureExt;
use serde_json::json;
use shared::clock::UnixSeconds;
use shared::fleet::name;
use shared::fleet::record::NodeRecord;
use tokio::time::advance;

use super::*;
use crate::advertisement::tests::of_key;
use crate::mcp::news::{Heard as Told, Reader};

const OWN: [u8; 32] = [1; 32];

struct Site {
    peers: Peers,
    news: Reader,
}

impl Site {
    /// The operator's nodes first, then others.
    fn to_dial(&self, at_most: usize) -> Vec<(String, Vec<(Source, String)>)> {
        let mut all = self.peers.to_dial(Whom::Operators, at_most);
        all.extend(self.peers.to_dial(Whom::Others, at_most - all.len()));
        all
    }

    fn new() -> Self {
        let news = News::new().unwrap();
        Self {
            news: news.read(),
            peers: Peers::new(name::peer_id(&OWN), news),
        }
    }

    fn hear(&self, public: [u8; 32], source: Source) -> bool {
        let address = [format!("/ip4/10.0.0.{}/tcp/4001", public[0])];
        self.peers.heard(&name::peer_id(&public), source, &address, None)
    }

    fn prove(&self, public: [u8; 32]) -> Result<(), NotKnown> {
        self.peers.proven(record(public), "/ip4/10.0.0.9/tcp/50000")
    }

    /// What was told since the last time.
    fn told(&mut self) -> Vec<(String, PeerEvent)> {
        let mut told = Vec::new();
        while let Some(heard) = self.news.next().now_or_never() {
            match heard {
                Told::Change {
                    change: Change::Peer { id, event },
                    ..
                } => told.push((id.to_string(), event)),
                other => panic!("{other:?}"),
            }
        }
        told
    }
}

fn key(n: u32) -> [u8; 32] {
    let mut key = [9; 32];
    key[..4].copy_from_slice(&n.to_be_bytes());
    key
}

fn node(public: [u8; 32]) -> NodeRecord {
    serde_json::from_value(json!({
        "node_id": name::node_id(&public), "peer_id": name::peer_id(&public), "name": "n", "resource": "r",
        "capabilities": [], "enrolled_at": clock::now() - HOUR, "cnf": {"jwk": {}},
    }))
    .unwrap()
}

const HOUR: Duration = Duration::from_secs(3600);

fn record(public: [u8; 32]) -> Arc<SignedRecord> {
    Arc::new(SignedRecord {
        record: node(public),
        text: String::new(),
        issued_at: clock::now() - HOUR,
        expires_at: clock::now() + 23 * HOUR,
    })
}

fn directory(nodes: &[[u8; 32]], issued_at: UnixSeconds) -> SignedDirectory {
    SignedDirectory {
        nodes: nodes.iter().map(|public| node(*public)).collect(),
        issued_at,
        expires_at: issued_at + 24 * HOUR,
    }
}

fn said(public: [u8; 32]) -> Advertisement {
    let mut said = of_key(public);
    (said.issued_at, said.expires_at) = (clock::now(), clock::now() + HOUR);
    said
}

#[tokio::test(start_paused = true)]
async fn p2p_01_what_is_heard_is_advice_and_no_news() {
    let mut site = Site::new();
    assert!(site.hear([2; 32], Source::Mdns));
    let row = site.peers.find(&name::peer_id(&[2; 32])).unwrap();
    assert_eq!((row.state(), row.sources()), (State::Heard, vec![Source::Mdns]));
    // Its id follows from its key, whatever anybody says.
    assert_eq!(*row.node_id, *name::node_id(&[2; 32]));
    assert!(!site.peers.advertised(&name::peer_id(&[2; 32]), said([2; 32])));
    assert!(site.told().is_empty());
    // The positive twin: who proves who it is.
    site.prove([2; 32]).unwrap();
    assert!(site.peers.advertised(&name::peer_id(&[2; 32]), said([2; 32])));
    let id = name::node_id(&[2; 32]);
    assert_eq!(
        site.told(),
        [(id.clone(), PeerEvent::Joined), (id.clone(), PeerEvent::Changed)]
    );
    site.peers.lost(&name::peer_id(&[2; 32]));
    assert_eq!(site.told(), [(id, PeerEvent::Left)]);
    assert_eq!(
        site.peers.find(&name::node_id(&[2; 32])).unwrap().state(),
        State::Known
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_does_not_discover_itself_nor_what_is_no_peer() {
    let site = Site::new();
    assert!(!site.hear(OWN, Source::Mdns));
    assert_eq!(site.prove(OWN), Err(NotKnown::Own));
    for bad in ["", "12D3KooW", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"] {
        assert!(!site.peers.heard(bad, Source::Mdns, &[], None), "{bad}");
    }
    assert!(site.peers.list().is_empty());
    assert!(site.hear([2; 32], Source::Mdns));
}

#[tokio::test(start_paused = true)]
async fn p2p_06_the_table_is_bounded_and_advice_pushes_nobody_out_who_is_known() {
    let site = Site::new();
    site.prove([2; 32]).unwrap();
    site.prove([3; 32]).unwrap();
    site.peers.lost(&name::peer_id(&[3; 32]));
    for n in 0..3000 {
        site.hear(key(n), Source::Mdns);
    }
    let known = |public: [u8; 32]| site.peers.find(&name::peer_id(&public)).map(|row| row.state());
    assert_eq!(site.peers.list().len(), MAX_PEERS);
    assert_eq!(known([2; 32]), Some(State::Connected));
    assert_eq!(known([3; 32]), Some(State::Known));
    // Those who were there first stay; one that nobody can reach makes room.
    assert!(known(key(0)).is_some() && known(key(2999)).is_none());
    site.peers.unreachable(&name::peer_id(&key(0)));
    assert!(site.hear(key(2999), Source::Mdns));
    assert!(known(key(0)).is_none() && known(key(2999)).is_some());
    // What the issuer, the operator or a proof says weighs more than the network.
    assert!(!site.hear(key(5000), Source::Gossip));
    assert!(site.hear(key(5001), Source::Directory));
    assert!(site.hear(key(5002), Source::Configuration));
    site.prove(key(5003)).unwrap();
    assert_eq!(site.peers.list().len(), MAX_PEERS);
    assert_eq!(known([2; 32]), Some(State::Connected));
}

#[tokio::test(start_paused = true)]
async fn p2p_11_addresses_are_bounded() {
    let site = Site::new();
    let mut many: Vec<String> = (0..1000).map(|n| format!("/ip4/10.0.0.1/tcp/{n}")).collect();
    many.insert(0, "x".repeat(MAX_ADDRESS_BYTES + 1));
    many.insert(1, "/ip4/1 2".to_owned());
    let peer_id = name::peer_id(&[2; 32]);
    assert!(site.peers.heard(&peer_id, Source::Mdns, &many, None));
    let row = site.peers.find(&peer_id).unwrap();
    assert_eq!(row.addresses(), many[2..2 + MAX_ADDRESSES]);
}

#[tokio::test(start_paused = true)]
async fn one_source_leaves_room_for_the_others_and_hurries_nobody_all_the_time() {
    let site = Site::new();
    let peer_id = name::peer_id(&[2; 32]);
    let many = |from: u32| -> Vec<String> {
        let ports = from..from + 20;
        ports.map(|port| format!("/ip4/10.0.0.1/tcp/{port}")).collect()
    };
    let elsewhere = ["/ip4/9.9.9.9/tcp/4001".to_owned()];
    site.peers.heard(&peer_id, Source::Mdns, &many(1), None);
    site.peers.heard(&peer_id, Source::Gossip, &elsewhere, None);
    let places = site.peers.places(&peer_id);
    assert_eq!(places.len(), 4);
    assert_eq!(places[3], (Source::Gossip, elsewhere[0].clone()));
    // A stranger that moves all the time is not tried all the time.
    let mut tried = 0;
    for second in 0..120 {
        site.peers
            .heard(&peer_id, Source::Mdns, &many(100 + second), None);
        for _ in site.to_dial(1) {
            tried += 1;
            site.peers.unreachable(&peer_id);
        }
        advance(Duration::from_secs(1)).await;
    }
    assert!((2..=6).contains(&tried), "{tried}");
    // The operator's word counts at once.
    site.to_dial(1);
    site.peers.unreachable(&peer_id);
    let named = ["/ip4/10.0.0.7/tcp/4001".to_owned()];
    site.peers.heard(&peer_id, Source::Configuration, &named, None);
    advance(Duration::from_secs(5)).await;
    assert_eq!(site.to_dial(1)[0].1[0], (Source::Configuration, named[0].clone()));
}

#[tokio::test(start_paused = true)]
async fn p2p_07_a_goodbye_ends_the_advice_and_not_the_connection() {
    let site = Site::new();
    let peer_id = name::peer_id(&[2; 32]);
    site.hear([2; 32], Source::Mdns);
    assert!(!site.peers.unheard(&peer_id, Source::Mdns));
    assert!(site.peers.find(&peer_id).is_none());
    site.hear([2; 32], Source::Mdns);
    site.prove([2; 32]).unwrap();
    assert!(site.peers.unheard(&peer_id, Source::Mdns));
    assert_eq!(site.peers.find(&peer_id).unwrap().state(), State::Connected);
}

#[tokio::test(start_paused = true)]
async fn p2p_14_who_left_the_directory_is_cut_off() {
    let mut site = Site::new();
    let now = clock::now();
    let peer_id = name::peer_id(&[2; 32]);
    let mut cut_off = site.peers.cut_off();
    site.prove([2; 32]).unwrap();
    site.prove([3; 32]).unwrap();
    site.peers.directory(&directory(&[[2; 32], [3; 32]], now));
    assert!(site.peers.is_known(&peer_id) && !cut_off.has_changed().unwrap());
    // One from before changes nothing, be it replayed or late.
    site.peers.directory(&directory(&[[3; 32]], now - HOUR));
    assert!(site.peers.is_known(&peer_id));
    site.told();
    site.peers.directory(&directory(&[[3; 32]], now));
    assert!(!site.peers.is_known(&peer_id) && site.peers.is_revoked(&peer_id));
    assert!(cut_off.has_changed().unwrap());
    assert_eq!(site.told(), [(name::node_id(&[2; 32]), PeerEvent::Left)]);
    cut_off.mark_unchanged();
    // Nobody brings it back: not the network, and not its old record.
    assert!(!site.hear([2; 32], Source::Mdns));
    assert_eq!(site.prove([2; 32]), Err(NotKnown::Revoked));
    assert!(site.peers.is_known(&name::peer_id(&[3; 32])));
    // One that enrolled after the directory was signed is not in it yet.
    let mut late = (*record([4; 32])).clone();
    late.record.enrolled_at = now + Duration::from_secs(1);
    site.peers.proven(Arc::new(late), "/ip4/10.0.0.4/tcp/1").unwrap();
    assert_eq!(site.prove([5; 32]), Err(NotKnown::Revoked));
}

#[tokio::test(start_paused = true)]
async fn a_newer_directory_takes_back_a_mistake() {
    let site = Site::new();
    let now = clock::now();
    let second = Duration::from_secs(1);
    let peer_id = name::peer_id(&[2; 32]);
    site.prove([2; 32]).unwrap();
    site.peers.directory(&directory(&[[3; 32]], now));
    assert!(site.peers.is_revoked(&peer_id));
    // Neither one from before, nor another of the same second.
    for at in [now - second, now] {
        site.peers.directory(&directory(&[[2; 32], [3; 32]], at));
        assert_eq!(site.prove([2; 32]), Err(NotKnown::Revoked));
    }
    site.peers
        .directory(&directory(&[[2; 32], [3; 32]], now + second));
    assert!(!site.peers.is_revoked(&peer_id) && site.hear([2; 32], Source::Mdns));
    site.prove([2; 32]).unwrap();
    // One that enrolled just before the directory was signed may be missing in it; a minute later it may not.
    let mut young = (*record([4; 32])).clone();
    young.record.enrolled_at = now;
    site.peers.proven(Arc::new(young), "/ip4/10.0.0.4/tcp/1").unwrap();
    site.peers.directory(&directory(&[[2; 32]], now + 59 * second));
    assert!(site.peers.is_known(&name::peer_id(&[4; 32])));
    site.peers.directory(&directory(&[[2; 32]], now + 60 * second));
    assert!(site.peers.is_revoked(&name::peer_id(&[4; 32])));
}

#[tokio::test(start_paused = true)]
async fn p2p_14_whose_record_a_list_has_ended_is_revoked_when_the_directory_drops_it() {
    let site = Site::new();
    let (now, second) = (clock::now(), Duration::from_secs(1));
    let [two, three] = [[2; 32], [3; 32]].map(|public| name::peer_id(&public));
    site.peers.directory(&directory(&[[2; 32], [3; 32]], now));
    site.prove([2; 32]).unwrap();
    site.prove([3; 32]).unwrap();
    site.peers.judge(|record| record.record.peer_id == two);
    assert!(!site.peers.is_known(&two) && site.peers.is_known(&three));
    // With another record the same key may come back; until the directory drops it, it has not left.
    assert!(!site.peers.is_revoked(&two));
    // Of two of one time, nobody knows which is the later.
    site.peers.directory(&directory(&[[3; 32]], now));
    assert!(!site.peers.is_revoked(&two));
    site.peers.directory(&directory(&[[3; 32]], now + second));
    assert!(site.peers.is_revoked(&two) && !site.peers.is_revoked(&three));
}

#[tokio::test(start_paused = true)]
async fn who_is_made_up_is_called_after_those_that_the_issuer_names() {
    let site = Site::new();
    for n in 10..200 {
        assert!(site.hear([n; 32], Source::Gossip));
    }
    assert!(site.hear([2; 32], Source::Directory));
    let called = site.peers.to_dial(Whom::Others, 1);
    assert_eq!(called[0].0, name::peer_id(&[2; 32]));
    // Then the others have their turn.
    assert_eq!(site.peers.to_dial(Whom::Others, 8).len(), 8);
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_is_forgotten() {
    let mut site = Site::new();
    let peer_id = name::peer_id(&[2; 32]);
    site.peers
        .heard(&peer_id, Source::Gossip, &[], Some(Duration::from_secs(60)));
    site.peers.sweep();
    assert!(site.peers.find(&peer_id).is_some());
    advance(Duration::from_secs(61)).await;
    site.peers.sweep();
    assert!(site.peers.find(&peer_id).is_none());
    // The wall clock does not stand still here: what a record and an advertisement say is their own time.
    let mut expired = (*record([3; 32])).clone();
    expired.expires_at = clock::now();
    assert_eq!(
        site.peers.proven(Arc::new(expired), "/ip4/1.1.1.1/tcp/1"),
        Err(NotKnown::Expired)
    );
    site.prove([4; 32]).unwrap();
    let mut old = said([4; 32]);
    old.expires_at = clock::now();
    assert!(!site.peers.advertised(&name::peer_id(&[4; 32]), old));
    site.told();
    let swept = site.peers.table().sweep(clock::now() + 24 * HOUR);
    assert_eq!(swept.left.len(), 1);
    assert_eq!(
        site.peers.find(&name::peer_id(&[4; 32])).unwrap().state(),
        State::Heard
    );
}

#[tokio::test(start_paused = true)]
async fn p2p_04_an_advertisement_is_not_replaced_by_an_older_one() {
    let site = Site::new();
    let peer_id = name::peer_id(&[2; 32]);
    site.prove([2; 32]).unwrap();
    let (now, mut older) = (said([2; 32]), said([2; 32]));
    older.issued_at = older.issued_at - Duration::from_secs(1);
    assert!(site.peers.advertised(&peer_id, now.clone()));
    assert!(!site.peers.advertised(&peer_id, older));
    assert!(!site.peers.advertised(&peer_id, said([3; 32])));
    assert_eq!(*site.peers.find(&peer_id).unwrap().advertisement.unwrap(), now);
}

#[tokio::test(start_paused = true)]
async fn nodes_are_tried_again_and_again_but_not_all_the_time() {
    let site = Site::new();
    let mut advice = site.peers.advice();
    site.hear([2; 32], Source::Mdns);
    site.hear([3; 32], Source::Configuration);
    assert!(advice.has_changed().unwrap());
    advice.mark_unchanged();
    site.hear([2; 32], Source::Mdns);
    assert!(!advice.has_changed().unwrap());
    let first = site.to_dial(1);
    assert_eq!(first[0].0, name::peer_id(&[3; 32]));
    assert_eq!(site.to_dial(9).len(), 1);
    assert!(site.to_dial(9).is_empty());
    advance(Duration::from_secs(10)).await;
    assert_eq!(site.to_dial(9).len(), 2);
    // Each failure makes the pause longer, up to ten minutes.
    for _ in 0..20 {
        site.peers.unreachable(&name::peer_id(&[2; 32]));
    }
    site.prove([3; 32]).unwrap();
    advance(Duration::from_secs(599)).await;
    assert!(site.to_dial(9).is_empty());
    advance(Duration::from_secs(2)).await;
    assert_eq!(site.to_dial(9).len(), 1);
}
