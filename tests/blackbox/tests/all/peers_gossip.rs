//! P2P, STAT: a node of the fleet that was broken into, as a peer of stock libp2p, and what its neighbours make of what it
//! spreads and answers (docs/fleet.md).

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use blackbox::enrolled::{Candidate, fresh_resource, invite, sha256, welcomed};
use blackbox::fleet::Wishes;
use blackbox::forge::{Key, now};
use blackbox::peer_node::{PATIENCE, PeerNode, eventually};
use blackbox::raw_peer::{RawPeer, SpeechEvent};
use blackbox::status_list::{part, place};
use blackbox::{Db, Fleet};
use libp2p::PeerId;
use libp2p::gossipsub::{self, IdentTopic};
use libp2p::swarm::SwarmEvent;
use serde_json::{Value, json};
use xtask::fleet::Credentials;

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(test);
}

/// A fleet with two nodes that have proven themselves to each other, and a token for the first.
struct Site {
    fleet: Fleet,
    node: PeerNode,
    other: PeerNode,
    client: Credentials,
    token: String,
}

impl Site {
    fn start() -> Self {
        let fleet = Fleet::start(Db::Sqlite, &Wishes::default());
        let node = PeerNode::start(&fleet, &[], "");
        let other = PeerNode::start(&fleet, &[&node], "");
        eventually("they prove themselves", || other.proven() >= 1.0);
        let client = fleet.client_for_any(&[]);
        let token = fleet.token(&client, &node.node.url());
        assert_eq!(node.call(&token).status, 200);
        Self {
            fleet,
            node,
            other,
            client,
            token,
        }
    }

    fn topic(&self, kind: &str) -> IdentTopic {
        IdentTopic::new(format!(
            "edge-hive/{kind}/1/{}",
            sha256(&self.fleet.server.issuer)
        ))
    }

    /// The list of the token, as the server signs it now.
    fn list(&self) -> String {
        xtask::http::get(&place(&self.token).0).unwrap().text()
    }

    fn revoke(&self, token: &str) {
        let revoked = self
            .fleet
            .post("/oauth/revoke", &self.client, &[("token", token)]);
        assert_eq!(revoked.status, 200);
    }

    /// How many messages the node has judged so.
    fn judged(&self, kind: &str, verdict: &str) -> f64 {
        let line = format!("edge_hive_node_p2p_messages_total{{kind=\"{kind}\",verdict=\"{verdict}\"}} ");
        self.node.metric(&line)
    }

    /// A node of the fleet that is in the wrong hands. The node believes it, and tells it what it listens to.
    async fn traitor(&self, backoff: Duration, listens_to: &[&IdentTopic]) -> (RawPeer, PeerId, Key) {
        let resource = fresh_resource(&self.fleet);
        let code = invite(&self.fleet, &["--resource", &resource]);
        let candidate = Candidate::new(&self.fleet, &code, Some(&resource));
        let welcome = welcomed(&candidate.enrol(&self.fleet));
        let record = welcome["record"].as_str().unwrap().to_owned();
        let mut peer = RawPeer::with_backoff(&candidate.key, "stock", backoff);
        for topic in listens_to {
            peer.swarm.behaviour_mut().gossip.subscribe(topic).unwrap();
        }
        let id = peer.call(&self.node.address()).await;
        assert_eq!(
            peer.prove(id, &candidate.key, &record).await,
            json!({"welcome": true})
        );
        let lists = self.topic("lists").hash();
        until(&mut peer, "the node says what it listens to", |peer| {
            let gossip = &peer.swarm.behaviour().gossip;
            gossip
                .all_peers()
                .any(|(other, topics)| *other == id && topics.contains(&&lists))
        })
        .await;
        (peer, id, candidate.key)
    }

    /// Everything is as it was: the node serves, its other peer is there, and a revocation is heard of.
    async fn is_well(&self, peer: &mut RawPeer) {
        assert!(self.node.proven() >= 1.0 && self.other.proven() >= 1.0);
        let token = self.fleet.token(&self.client, &self.node.node.url());
        assert_eq!(self.node.call(&token).status, 200);
        assert_eq!(self.node.call(&self.token).status, 200);
        self.revoke(&token);
        peer.until_so("a revocation is heard of", || {
            self.node.call(&token).status == 401
        })
        .await;
        assert_eq!(self.node.call(&self.token).status, 200);
    }
}

/// Goes on until something is so of the peer.
async fn until(peer: &mut RawPeer, what: &str, is_so: impl Fn(&RawPeer) -> bool) {
    let start = Instant::now();
    while !is_so(peer) {
        assert!(start.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        peer.go_on(Duration::from_millis(50)).await;
    }
}

fn publish(peer: &mut RawPeer, topic: &IdentTopic, text: impl Into<Vec<u8>>) {
    peer.swarm
        .behaviour_mut()
        .gossip
        .publish(topic.clone(), text)
        .unwrap();
}

/// What `signed` says, but with `change`, and signed with `key` in the name of the server's.
fn forged(signed: &str, key: &Key, change: impl FnOnce(&mut Value)) -> String {
    let mut claims = part(signed, 1);
    change(&mut claims);
    key.sign(&part(signed, 0), &claims)
}

#[test]
fn a_stock_peer_that_proves_itself_takes_part_in_gossip_sqlite() {
    let site = Site::start();
    run(async {
        let topic = site.topic("lists");
        // Its gossip begins with the connection, before it has proven anything.
        let (mut peer, _, _) = site.traitor(Duration::from_secs(1), &[&topic]).await;
        let old = site.list();
        // It hears what the node tells: a list in which something changed.
        let (uri, index) = place(&site.token);
        site.revoke(&site.token);
        let is_the_list = |event: &SwarmEvent<SpeechEvent>| {
            let SwarmEvent::Behaviour(SpeechEvent::Gossip(gossipsub::Event::Message { message, .. })) = event
            else {
                return false;
            };
            let list = String::from_utf8_lossy(&message.data);
            part(&list, 1)["sub"] == uri && blackbox::status_list::bit_in(&list, index) == 1
        };
        peer.until("the list is told", is_the_list).await;
        // And is heard: what the server signed may come from anybody.
        let before = site.judged("list", "known");
        publish(&mut peer, &topic, old);
        peer.until_so("the node judges it", || site.judged("list", "known") > before)
            .await;
    });
}

#[test]
fn p2p_05_stat_02_stat_14_what_is_forged_foreign_or_old_is_refused_and_its_sender_let_go_sqlite() {
    let site = Site::start();
    let old = site.list();
    let second = site.fleet.token(&site.client, &site.node.node.url());
    assert_eq!(site.node.call(&second).status, 200);
    site.revoke(&second);
    eventually("a revocation is heard of", || {
        site.node.call(&second).status == 401
    });
    run(async {
        let (mut peer, id, key) = site.traitor(Duration::from_secs(1), &[]).await;
        let (lists, keys) = (site.topic("lists"), site.topic("keys"));
        // Rolled back: the server's own word, and nobody's fault.
        publish(&mut peer, &lists, old);
        peer.until_so("an old list is judged", || site.judged("list", "known") >= 1.0)
            .await;
        assert_eq!(site.judged("list", "bad"), 0.0);
        assert_eq!(site.node.call(&second).status, 401);
        // In the name of the server, and of another.
        let genuine = site.list();
        let bad = [
            forged(&genuine, &key, |claims| claims["iat"] = json!(now() + 1)),
            forged(&genuine, &key, |claims| claims["status_list"]["bits"] = 8.into()),
            forged(&genuine, &key, |claims| {
                claims["sub"] = "https://evil.example/oauth/status/l".into();
                claims["iss"] = "https://evil.example".into();
            }),
        ];
        let count = f64::from(u8::try_from(bad.len()).unwrap());
        for list in bad {
            publish(&mut peer, &lists, list);
        }
        peer.until_so("forged lists are judged", || site.judged("list", "bad") >= count)
            .await;
        let signed = xtask::http::get(&site.fleet.at("/.well-known/jwks.jwt")).unwrap();
        let set = forged(&signed.text(), &key, |claims| {
            claims["keys"] = json!([key.jwk()]);
            claims["iat"] = json!(now() + 1);
        });
        publish(&mut peer, &keys, set);
        peer.until_so("a forged key set is judged", || site.judged("keys", "bad") >= 1.0)
            .await;
        // A key that the node does not know may be the server's next one: nobody can say, and nobody is to blame.
        let unknown = key.sign(
            &json!({"typ": "jwk-set+jwt", "alg": "EdDSA", "kid": "unknown"}),
            &json!({"iss": site.fleet.server.issuer, "sub": site.fleet.server.issuer, "iat": now(), "exp": now() + 300,
                "keys": [key.jwk()]}),
        );
        publish(&mut peer, &keys, unknown);
        peer.until_so("a set with an unknown key is judged", || {
            site.judged("keys", "unjudged") >= 1.0
        })
        .await;
        // Tokens of the forged key are no tokens.
        let claims = part(&site.token, 1);
        assert_eq!(site.node.call(&key.token(&claims)).status, 401);
        site.is_well(&mut peer).await;
        // It goes on, until that is enough.
        for number in 0..60 {
            if peer.swarm.is_connected(&id) {
                publish(&mut peer, &lists, format!("junk {number}"));
            }
            peer.go_on(Duration::from_millis(100)).await;
        }
        until(&mut peer, "it is let go", |peer| !peer.swarm.is_connected(&id)).await;
        peer.until_so("that is logged", || site.node.log().contains("peer_let_go"))
            .await;
        site.is_well(&mut peer).await;
    });
}

#[test]
fn p2p_05_stat_03_what_a_peer_answers_is_judged_and_its_lies_are_counted_sqlite() {
    let site = Site::start();
    let genuine = site.list();
    let (uri, _) = place(&site.token);
    run(async {
        let resource = fresh_resource(&site.fleet);
        let code = invite(&site.fleet, &["--resource", &resource]);
        let candidate = Candidate::new(&site.fleet, &code, Some(&resource));
        let record = welcomed(&candidate.enrol(&site.fleet))["record"]
            .as_str()
            .unwrap()
            .to_owned();
        let mut peer = RawPeer::new(&candidate.key, "stock");
        // It says that it has newer ones, and gives forged ones, each another.
        let key = Key::ed25519("server");
        let given = Arc::new(Mutex::new(0_i64));
        let named = uri.clone();
        peer.answer = Box::new(move |question| match question["ask"].as_str() {
            Some("holdings") => {
                let lists = json!([{"uri": named, "iat": now() + 30, "digest": "x"}]);
                json!({"answer": "holdings", "lists": lists, "keys": now() + 30})
            }
            Some("list" | "keys" | "announcement") => {
                let mut given = given.lock().unwrap();
                *given += 1;
                let token = forged(&genuine, &key, |claims| claims["iat"] = json!(now() + *given));
                json!({"answer": "signed", "token": token})
            }
            _ => json!({"answer": "several", "tokens": ["x", "y"]}),
        });
        let id = peer.call(&site.node.address()).await;
        assert_eq!(
            peer.prove(id, &candidate.key, &record).await,
            json!({"welcome": true})
        );
        peer.until_so("an answer is refused", || {
            site.node.log().contains("an answer of a peer is refused")
        })
        .await;
        assert!(
            peer.asked.iter().any(|question| question["ask"] == "list"),
            "{:?}",
            peer.asked
        );
        site.is_well(&mut peer).await;
        // It asks to be asked again, until that is enough.
        for _ in 0..60 {
            if peer.swarm.is_connected(&id) {
                let holdings =
                    json!({"ask": "holdings", "lists": [{"uri": uri, "iat": now() + 30, "digest": "x"}]});
                peer.swarm.behaviour_mut().exchange.send_request(&id, holdings);
            }
            peer.go_on(Duration::from_millis(100)).await;
        }
        peer.until_so("it is let go", || site.node.log().contains("peer_let_go"))
            .await;
        site.is_well(&mut peer).await;
    });
}

#[test]
fn p2p_12_no_prune_ends_a_node_sqlite() {
    let site = Site::start();
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let uptime: u64 = uptime.split('.').next().unwrap().parse().unwrap();
    let longest = u64::try_from(i64::MAX).unwrap();
    run(async {
        for backoff in [u64::MAX, longest, longest - uptime, longest - uptime - 2] {
            let (mut peer, id, _) = site.traitor(Duration::from_secs(backoff), &[]).await;
            for kind in ["lists", "keys", "announcements"] {
                let topic = site.topic(kind);
                // To join is to be grafted, and to leave is to send PRUNE with that backoff.
                peer.swarm.behaviour_mut().gossip.subscribe(&topic).unwrap();
                until(&mut peer, "the node takes part", |peer| {
                    let gossip = &peer.swarm.behaviour().gossip;
                    gossip.mesh_peers(&topic.hash()).any(|other| *other == id)
                })
                .await;
                assert!(peer.swarm.behaviour_mut().gossip.unsubscribe(&topic));
            }
            // What is sent behind them is judged, so they were read.
            let before = site.judged("list", "bad");
            publish(&mut peer, &site.topic("lists"), format!("junk {backoff}"));
            peer.until_so("the node goes on reading", || site.judged("list", "bad") > before)
                .await;
            // And for some heartbeats, one a second, in which it looks at them.
            peer.go_on(Duration::from_secs(3)).await;
            assert!(peer.swarm.is_connected(&id));
            site.is_well(&mut peer).await;
            assert!(!site.node.log().contains("panicked"), "{}", site.node.log());
        }
    });
}
