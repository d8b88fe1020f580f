//! P2P: nodes that find each other on the local network, and what strangers there cannot do (docs/fleet.md).

use std::time::{Duration, Instant};

use blackbox::answers::{granted, json};
use blackbox::local_network::{Instance, LocalNetwork, Neighbour, eventually, made_up_peer};
use blackbox::{Db, Fleet};
use serde_json::Value;
use xtask::fleet::free_port;
use xtask::http::Answer;

/// A refusal as a problem document (RFC 9457).
#[track_caller]
fn problem(answer: &Answer, status: u16, code: &str) -> Value {
    assert_eq!(answer.status, status, "{answer}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let document = answer.json().unwrap();
    assert_eq!(document["error"], code, "{answer}");
    assert_eq!(document["status"], status, "{answer}");
    assert!(
        document["detail"].is_string() && document["title"].is_string(),
        "{answer}"
    );
    document
}

#[test]
fn nodes_find_each_other_but_not_themselves_and_say_goodbye_sqlite() {
    let fleet = Fleet::shared(Db::Sqlite);
    let network = LocalNetwork::new();
    let one = network.node(&fleet, "");
    let mut other = network.node(&fleet, "");
    eventually("one hears of the other", || one.peer(&other.peer_id).is_some());
    eventually("and the other way round", || other.peer(&one.peer_id).is_some());
    let row = one.peer(&other.peer_id).unwrap();
    assert_eq!(row["id"], other.node_id);
    assert_eq!(row["sources"], serde_json::json!(["mdns"]));
    // That is all: nothing is proven, so the other is in no status.
    assert_eq!(row["state"], "heard");
    assert!(
        row.get("name").is_none() && row.get("resource").is_none(),
        "{row}"
    );
    assert!(one.peer(&one.peer_id).is_none());
    // A node of another network is not heard.
    let apart = LocalNetwork::new().node(&fleet, "");
    assert!(apart.peers().is_empty());
    assert!(one.peer(&apart.peer_id).is_none());
    // Without being asked to, a command finds out the same with the node's own key.
    let listed = one.command(&["discovery", "peers"]);
    assert_eq!(listed[0]["peer_id"], other.peer_id);
    assert_eq!(one.command(&["peers", "list"]), serde_json::json!([]));
    let announced = one.command(&["discovery", "announce"]);
    assert_eq!(
        (&announced["mdns"], &announced["p2p"]),
        (&true.into(), &false.into())
    );
    assert_eq!(announced["advertisement"]["node_id"], one.node_id);
    assert!(
        other
            .program
            .terminate(Duration::from_secs(15))
            .unwrap()
            .success()
    );
    let start = Instant::now();
    eventually("the goodbye is heard", || one.peer(&other.peer_id).is_none());
    // Without one, the record would have counted for minutes.
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn p2p_01_a_spoofed_record_changes_nothing_but_the_list_of_what_was_heard_sqlite() {
    let fleet = Fleet::shared(Db::Sqlite);
    let network = LocalNetwork::new();
    let node = network.node(&fleet, "");
    let metadata = || {
        let at = node.at("/.well-known/oauth-protected-resource/mcp");
        xtask::http::get(&at).unwrap().json().unwrap()
    };
    let before = (metadata(), std::fs::read(node.node.config()).unwrap());
    let peer_id = made_up_peer(1);
    let mut spoofed = Instance {
        name: "authorization-server".to_owned(),
        texts: vec![
            format!("peer_id={peer_id}"),
            "issuer=https://evil.example".to_owned(),
            "jwks_uri=https://evil.example/jwks".to_owned(),
            "resource=https://evil.example/mcp".to_owned(),
            "p2p=tcp/4001".to_owned(),
        ],
        ttl: 120,
    };
    // Ids of two keys are nobody's.
    let mut torn = spoofed.clone();
    torn.name = "torn".to_owned();
    torn.texts = vec![
        format!("peer_id={}", made_up_peer(2)),
        "node_id=swift-fox-0dd9b9".to_owned(),
    ];
    let stranger = network.stranger();
    eventually("the node hears it", || {
        stranger.send(&torn.packet()) && stranger.send(&spoofed.packet()) && node.peer(&peer_id).is_some()
    });
    let row = node.peer(&peer_id).unwrap();
    assert_eq!(row["state"], "heard");
    assert_eq!(row["addresses"], serde_json::json!(["/ip4/127.0.0.1/tcp/4001"]));
    assert!(!row.to_string().contains("evil"), "{row}");
    assert!(node.peer(&made_up_peer(2)).is_none());
    assert_eq!((metadata(), std::fs::read(node.node.config()).unwrap()), before);
    let status = granted(&node.ask(
        "GET",
        "/mcp/resources/edge-hive%3A%2F%2Fstatus",
        Some(&node.token),
    ));
    let status: Value = serde_json::from_str(status["contents"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&status["peers"], &status["peers_heard"]),
        (&serde_json::json!([]), &1.into())
    );
    // P2P-07: anybody can send a goodbye. It takes back what was said, and no more.
    spoofed.ttl = 0;
    // Once: each one begins the second anew after which the record ends (RFC 6762 §10.1).
    assert!(stranger.send(&spoofed.packet()));
    eventually("the goodbye is heard", || node.peer(&peer_id).is_none());
    assert_eq!(metadata(), before.0);
}

#[test]
fn p2p_06_a_flood_costs_a_fifth_of_a_core_at_most_and_ends_with_the_flood_sqlite() {
    const FLOOD: Duration = Duration::from_secs(12);
    const LONGEST: Duration = Duration::from_secs(90);
    const SAID: &str = "sends more multicast DNS than is read";
    let fleet = Fleet::start(Db::Sqlite, &blackbox::fleet::Wishes::default());
    let network = LocalNetwork::new();
    let node = network.node(&fleet, "");
    let stranger = network.stranger();
    let filler = format!("x={}", "y".repeat(240));
    let instance = |number: u32, texts: usize| Instance {
        name: format!("flood-{number}"),
        texts: std::iter::once(format!("peer_id={}", made_up_peer(number)))
            .chain(std::iter::repeat_n(filler.clone(), texts))
            .collect(),
        ttl: 4500,
    };
    let packets: Vec<Vec<u8>> = (0..1500).map(|number| instance(number, 0).packet()).collect();
    // A TXT record of 60 KB; a name that points to itself (RFC 1035 §4.1.4); the half of a packet.
    let huge = instance(1, 250).packet();
    let looped = [&packets[0][..12], &[0xc0, 0x0c, 0, 12, 0, 1, 0, 0, 0, 1, 0, 0]].concat();
    let half = &packets[0][..packets[0].len() / 2];
    let used_before = node.processor_time();
    let start = Instant::now();
    let mut records = 0_u32;
    let mut healthy = 0;
    // Where the node gets little of the processor, less of the flood reaches it.
    while start.elapsed() < FLOOD || (!node.log().contains(SAID) && start.elapsed() < LONGEST) {
        // 2 500 packets of four records a second.
        let due = u32::try_from(start.elapsed().as_millis()).unwrap() * 10;
        while records < due {
            let at = usize::try_from(records / 4).unwrap() % packets.len();
            let sent = stranger.send(&packets[at]);
            if at.is_multiple_of(100) {
                let _ = (stranger.send(&huge), stranger.send(&looped), stranger.send(half));
            }
            records += if sent { 4 } else { 1 };
        }
        std::thread::sleep(Duration::from_millis(2));
        if records % 4096 < 64 {
            healthy += u32::from(xtask::http::get(&node.at("/healthz")).unwrap().status == 200);
        }
    }
    let took = start.elapsed();
    let used = node.processor_time() - used_before;
    assert!(records > 100_000 && healthy > 0, "{records} {healthy}");
    assert!(used < took / 5, "{used:?} of {took:?}");
    assert!(node.peers().len() <= 1000);
    assert!(node.log().contains(SAID), "{}", node.log());
    assert_eq!(node.ask("GET", "/discovery/peers", Some(&node.token)).status, 200);
    // When it is over, nodes are found again.
    let late = network.node(&fleet, "");
    eventually("the late node is heard", || node.peer(&late.peer_id).is_some());
}

#[test]
fn the_addresses_of_the_fleet_need_its_scopes_sqlite() {
    let fleet = Fleet::shared(Db::Sqlite);
    let node = Neighbour::start(&fleet, "");
    let ordinary = fleet.client_for_any(&["--scopes", "mcp:read mcp:call"]);
    let ordinary = fleet.token(&ordinary, &node.node.url());
    let other = fleet.client_for_any(&["--scopes", blackbox::local_network::FLEET_SCOPES]);
    let foreign = fleet.token(&other, &fleet.node.url());
    for (method, path, scope) in [
        ("POST", "/discovery/announce".to_owned(), "fleet:announce"),
        ("GET", "/discovery/peers".to_owned(), "fleet:read"),
        (
            "POST",
            format!("/discovery/connect/{}", made_up_peer(1)),
            "fleet:connect",
        ),
    ] {
        let answer = node.ask(method, &path, None);
        problem(&answer, 401, "unauthorized");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.contains(&format!("scope=\"{scope}\"")), "{challenge}");
        assert!(challenge.contains("resource_metadata="), "{challenge}");
        assert_eq!(node.ask(method, &path, Some("x.y.z")).status, 401);
        assert_eq!(node.ask(method, &path, Some(&foreign)).status, 401);
        let answer = node.ask(method, &path, Some(&ordinary));
        problem(&answer, 403, "insufficient_scope");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.contains(&format!("scope=\"{scope}\"")), "{challenge}");
        assert_eq!(node.ask("DELETE", &path, Some(&node.token)).status, 405);
    }
    // With them: nobody is there, and nothing is on.
    let token = Some(node.token.as_str());
    assert_eq!(
        json(&node.ask("GET", "/discovery/peers", token))["peers"],
        serde_json::json!([])
    );
    problem(
        &node.ask("POST", "/discovery/announce", token),
        409,
        "discovery_off",
    );
    let connect = |peer: &str| node.ask("POST", &format!("/discovery/connect/{peer}"), token);
    problem(&connect(&made_up_peer(1)), 404, "unknown_peer");
    problem(&connect("12D3KooW"), 400, "invalid_peer_id");
    problem(&connect(&node.peer_id), 409, "own_peer_id");
    problem(&connect(&node.node_id), 409, "own_peer_id");
}

#[test]
fn what_a_node_tells_strangers_and_callers_sqlite() {
    let fleet = Fleet::shared(Db::Sqlite);
    let node = Neighbour::start(&fleet, "\n[scopes.tools]\nlist_peers = \"ops\"\n");
    let path = format!("/mcp/node/{}/info", node.node_id);
    let open = node.ask("GET", &path, None);
    assert_eq!(
        open.header("vary").map(str::to_lowercase).as_deref(),
        Some("authorization")
    );
    assert_eq!(open.header("cache-control"), Some("public, max-age=300"));
    let open = granted_open(&open);
    assert_eq!(
        (&open["id"], &open["peer_id"]),
        (&node.node_id.clone().into(), &node.peer_id.clone().into())
    );
    assert_eq!(open["authorization_servers"][0], fleet.server.issuer);
    for hidden in [
        "get_status",
        "list_peers",
        "uptime",
        "load",
        "platform",
        "addresses",
    ] {
        assert!(!open.to_string().contains(hidden), "{hidden}: {open}");
    }
    let answer = node.ask("GET", &path, Some(&node.token));
    assert_eq!(answer.header("cache-control"), Some("private, no-store"));
    let told = granted_open(&answer);
    assert_eq!(told["offers"]["tools"], serde_json::json!(["get_status"]));
    assert_eq!(told["offers"]["resources"][0], "edge-hive://status");
    assert!(
        told["uptime_seconds"].is_u64() && told["load"]["cores"].is_u64(),
        "{told}"
    );
    assert_eq!(told["id"], open["id"]);
    // A token that is no good is no way to be a stranger.
    assert_eq!(node.ask("GET", &path, Some("x.y.z")).status, 401);
    assert_eq!(
        node.ask("GET", "/mcp/node/swift-fox-0dd9b9/info", None).status,
        404
    );
}

#[track_caller]
fn granted_open(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer}");
    answer.json().unwrap()
}

/// What a node has that speaks to peers on this machine.
///
/// On loopback everybody has the same address, which is nobody's to call on a stranger's word: the operator names a peer.
fn peers(port: u16, named: Option<&(u16, String)>) -> String {
    let named = named.map_or_else(String::new, |(port, peer)| {
        format!("\"/ip4/127.0.0.1/tcp/{port}/p2p/{peer}\"")
    });
    format!(
        "\n[p2p]\nenabled = true\nlisten = [\"/ip4/127.0.0.1/tcp/{port}\"]\ndial = [\"127.0.0.0/8\"]\npeers = [{named}]\n"
    )
}

#[test]
fn nodes_prove_who_they_are_and_tell_what_they_offer_sqlite() {
    let fleet = Fleet::shared(Db::Sqlite);
    let network = LocalNetwork::new();
    let port = free_port().unwrap();
    let one = network.node(
        &fleet,
        &format!("{}[scopes.tools]\nlist_peers = \"ops\"\n", peers(port, None)),
    );
    let named = (port, one.peer_id.clone());
    let other = network.node(&fleet, &peers(free_port().unwrap(), Some(&named)));
    let is_told = |node: &Neighbour, of: &Neighbour| {
        let row = node.peer(&of.peer_id);
        row.is_some_and(|row| row["state"] == "connected" && row["says"].is_object())
    };
    eventually("they are connected", || {
        is_told(&one, &other) && is_told(&other, &one)
    });
    let row = other.peer(&one.peer_id).unwrap();
    assert_eq!(row["resource"], one.node.url());
    // A tool that needs a scope of its own is nobody's to know but of those who have it.
    assert_eq!(
        row["says"]["capabilities"]["tools"],
        serde_json::json!(["get_status"])
    );
    let tools = &one.peer(&other.peer_id).unwrap()["says"]["capabilities"]["tools"];
    assert_eq!(*tools, serde_json::json!(["get_status", "list_peers"]));
    let listed = other.command(&["peers", "list"]);
    assert_eq!(
        (&listed[0]["id"], listed.as_array().unwrap().len()),
        (&one.node_id.clone().into(), 1)
    );
    // By its node id too; it is connected already.
    let connected = other.command(&["peers", "connect", &one.node_id]);
    assert_eq!(connected["state"], "connected");
    // P2P-07: a goodbye that a stranger sends in its name ends nothing.
    let goodbye = Instance {
        name: one.node_id.clone(),
        texts: vec![format!("peer_id={}", one.peer_id)],
        ttl: 0,
    };
    let stranger = network.stranger();
    for _ in 0..20 {
        assert!(stranger.send(&goodbye.packet()));
    }
    let rogue = network.stranger();
    let peer_id = made_up_peer(7);
    let marker = Instance {
        name: "marker".to_owned(),
        texts: vec![format!("peer_id={peer_id}")],
        ttl: 120,
    };
    eventually("what was sent is read", || {
        rogue.send(&marker.packet()) && other.peer(&peer_id).is_some()
    });
    assert_eq!(other.peer(&one.peer_id).unwrap()["state"], "connected");
    // A node that is revoked is cut off, and does not come back.
    fleet.server.json(&["node", "revoke", &one.node_id]).unwrap();
    let start = Instant::now();
    while other.peer(&one.peer_id).is_some() {
        assert!(start.elapsed() < Duration::from_secs(150), "{}", other.log());
        std::thread::sleep(Duration::from_millis(200));
    }
    // It is gone as soon as a status list says so, and still heard of meanwhile; that it was revoked is known from the
    // next directory.
    let connect = format!("/discovery/connect/{}", one.peer_id);
    loop {
        let refused = other.ask("POST", &connect, Some(&other.token));
        match refused.status {
            404 => problem(&refused, 404, "unknown_peer"),
            502 => problem(&refused, 502, "peer_not_proven"),
            _ => {
                problem(&refused, 409, "peer_revoked");
                break;
            }
        };
        assert!(start.elapsed() < Duration::from_secs(150), "{}", other.log());
        std::thread::sleep(Duration::from_millis(200));
    }
}
