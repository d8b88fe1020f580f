//! KEY: the life of the signing keys (docs/keys.md), with nodes that check tokens all the while.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use blackbox::answers::{granted, refused_401};
use blackbox::fleet::{SCOPES, Wishes, built};
use blackbox::status_list::part;
use blackbox::{Db, Fleet, Place, both, near_and_far};
use serde_json::{Value, json};
use xtask::fleet::{Credentials, Node, START, UNLIMITED_NODE, free_port};
use xtask::http::{self, Answer};
use xtask::journey;
use xtask::program::Program;

const DAY: i64 = 86_400;
/// The promise for a key that was compromised: key sets are kept for a minute.
const PROMISED: Duration = Duration::from_secs(60);
/// How long a test waits before it says that something does not happen: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(180);

fn wait_for(what: &str, happens: impl Fn() -> bool) {
    let began = Instant::now();
    while !happens() {
        assert!(began.elapsed() < PATIENCE, "{what}: it does not happen");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Lets so much time pass for the keys, as every instance sees with its next look.
fn pass(fleet: &Fleet, seconds: i64) {
    fleet.sql(&format!(
        "UPDATE signing_key SET created_at = created_at - {seconds}, signs_from = signs_from - {seconds}, \
         ends_at = ends_at - {seconds}"
    ));
    // A number without a change: everything is read again.
    fleet.sql("UPDATE change_head SET sequence = sequence + 1");
}

/// The names of the published keys.
fn published(fleet: &Fleet) -> BTreeSet<String> {
    let document = granted(&http::get(&fleet.at("/.well-known/jwks.json")).unwrap());
    let keys = document["keys"].as_array().unwrap().iter();
    keys.map(|key| text(key, "kid")).collect()
}

fn text(value: &Value, member: &str) -> String {
    value[member]
        .as_str()
        .unwrap_or_else(|| panic!("{value}"))
        .to_owned()
}

fn kid(token: &str) -> String {
    text(&part(token, 0), "kid")
}

fn call(node: &Node, token: &str) -> Answer {
    journey::tool_call(&node.url(), "get_status", &json!({}), Some(token)).unwrap()
}

/// How many keys the node knows.
fn known(node: &Node, token: &str) -> u64 {
    let answer = call(node, token);
    assert_eq!(answer.status, 200, "{answer}");
    let answer = answer.json_or_event().unwrap();
    answer["result"]["structuredContent"]["issuers"][0]["keys"]
        .as_u64()
        .unwrap()
}

/// The fleet's node and two more.
fn nodes(fleet: &Fleet, folder: &std::path::Path) -> (Vec<Node>, Vec<Program>) {
    let mut all = vec![fleet.node.clone()];
    let mut programs = Vec::new();
    for name in ["second", "third"] {
        let port = free_port().unwrap();
        let mut node = Node::new(built("mcp-node"), &folder.join(name), port, &fleet.server.issuer);
        node.extra.push_str(UNLIMITED_NODE);
        node.write_config().unwrap();
        fleet.server.ensure_resource(&node.url(), &[]).unwrap();
        let mut program = node.serve().unwrap();
        program
            .wait_ready(&format!("http://localhost:{port}/readyz"), START)
            .unwrap();
        all.push(node);
        programs.push(program);
    }
    (all, programs)
}

/// Calls a node with a fresh token and with the first one, over and over.
fn use_node(fleet: &Fleet, (client, node, first): (&Credentials, &Node, &str), over: &AtomicBool) -> usize {
    let mut calls = 0;
    while !over.load(Ordering::Relaxed) {
        let fresh = fleet.token(client, &node.url());
        for token in [&fresh, first] {
            let answer = call(node, token);
            assert_eq!(answer.status, 200, "{}: {answer}", kid(token));
        }
        calls += 2;
    }
    calls
}

both!(key_01_no_validation_fails_while_the_keys_rotate);
fn key_01_no_validation_fails_while_the_keys_rotate(db: Db) {
    let fleet = Fleet::start(db, &Wishes::default());
    let folder = tempfile::tempdir().unwrap();
    let (nodes, _programs) = nodes(&fleet, folder.path());
    let client = fleet.client_for_any(&["--scopes", SCOPES]);
    let firsts: Vec<_> = nodes
        .iter()
        .map(|node| fleet.token(&client, &node.url()))
        .collect();
    let before = published(&fleet);
    let (over, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let users: Vec<_> = nodes
            .iter()
            .zip(&firsts)
            .map(|(node, first)| {
                let (fleet, client, over, calls) = (&fleet, &client, &over, &calls);
                scope.spawn(move || {
                    calls.fetch_add(use_node(fleet, (client, node, first), over), Ordering::Relaxed)
                })
            })
            .collect();
        // Whatever fails below ends the users too.
        let stop = Stop(&over);
        let is_well = || users.iter().all(|user| !user.is_finished());
        pass(&fleet, 29 * DAY);
        wait_for("each algorithm gets its next key", || {
            assert!(is_well());
            published(&fleet).len() == 6
        });
        assert!(before.is_subset(&published(&fleet)));
        assert_eq!(kid(&fleet.token(&client, &nodes[0].url())), kid(&firsts[0]));
        wait_for("every node knows the next keys", || {
            assert!(is_well());
            nodes
                .iter()
                .zip(&firsts)
                .all(|(node, first)| known(node, first) == 6)
        });
        pass(&fleet, DAY);
        wait_for("the next key signs", || {
            assert!(is_well());
            !before.contains(&kid(&fleet.token(&client, &nodes[0].url())))
        });
        let so_far = published(&fleet);
        assert!(before.is_subset(&so_far), "the first tokens still count");
        drop(stop);
    });
    assert!(calls.into_inner() > 20);
    for (node, first) in nodes.iter().zip(&firsts) {
        assert_eq!(call(node, first).status, 200);
    }
    // A day and some minutes later nothing counts that the former keys signed.
    pass(&fleet, DAY + 3600);
    wait_for("the former keys go", || published(&fleet).is_disjoint(&before));
    assert_eq!(published(&fleet).len(), 3);
    for event in ["key.published", "key.rotated", "key.removed"] {
        let rows = fleet.server.json(&["audit", "list", "--event", event]).unwrap();
        let rows = rows.as_array().unwrap();
        assert_eq!(rows.len(), 3, "{event}: {rows:?}");
        assert!(
            rows.iter()
                .all(|row| row["actor_type"] == "server" && row["target_type"] == "key")
        );
    }
}

/// Says that it is over, also when a test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

near_and_far!(key_02_a_key_that_signs_at_once_is_asked_for_once_and_the_former_one_stays);
fn key_02_a_key_that_signs_at_once_is_asked_for_once_and_the_former_one_stays(place: Place) {
    let fleet = Fleet::start(place, &Wishes::default());
    let client = fleet.client(&[]);
    let old = fleet.token(&client, &fleet.node.url());
    assert_eq!(fleet.call(&old).status, 200);
    let rotated = fleet
        .server
        .json(&["key", "rotate", "--now", "--alg", "EdDSA"])
        .unwrap();
    let new = fleet.token(&client, &fleet.node.url());
    assert_eq!(kid(&new), text(&rotated[0], "kid"));
    assert_ne!(kid(&new), kid(&old));
    assert_eq!(fleet.call(&new).status, 200);
    assert_eq!(fleet.call(&old).status, 200);
    let listed = fleet.server.json(&["key", "list"]).unwrap();
    let state = |kid: String| {
        let mut keys = listed.as_array().unwrap().iter();
        text(keys.find(|key| key["kid"] == *kid).unwrap(), "state")
    };
    assert_eq!(
        (state(kid(&old)), state(kid(&new))),
        ("retired".into(), "current".into())
    );
    // One that is planned signs later, and is published now.
    let planned = fleet.server.json(&["keys", "rotate", "--alg", "EdDSA"]).unwrap();
    assert!(published(&fleet).contains(&text(&planned[0], "kid")));
    assert_eq!(kid(&fleet.token(&client, &fleet.node.url())), kid(&new));
    // One that signs no more is taken out with what it signed; then, at once, each that is older than the new one.
    fleet.server.json(&["key", "remove", &kid(&old)]).unwrap();
    assert_eq!(fleet.introspect(&client, &old)["active"], false);
    assert_eq!(fleet.introspect(&client, &new)["active"], true);
    let compromised = ["key", "rotate", "--compromised", "--alg", "EdDSA"];
    let rotated = fleet.server.json(&compromised).unwrap();
    let removed = rotated[0]["removed"].as_array().unwrap();
    assert!(removed.contains(&json!(kid(&new))), "{rotated}");
    assert_eq!(fleet.introspect(&client, &new)["active"], false);
    // What cannot be done says so.
    let newest = text(&rotated[0], "kid");
    for words in [
        &["key", "remove", &newest][..],
        &["key", "rotate", "--alg", "HS256"],
        &["key", "rotate", "--now", "--compromised"],
    ] {
        assert!(!fleet.server.command(words).output().unwrap().status.success());
    }
}

both!(key_05_a_compromised_key_ends_with_all_that_it_signed);
fn key_05_a_compromised_key_ends_with_all_that_it_signed(db: Db) {
    let fleet = Fleet::start(db, &Wishes::default());
    let client = fleet.client(&[]);
    let node = fleet.node.url();
    let old = fleet.token(&client, &node);
    assert_eq!(fleet.call(&old).status, 200);
    assert_eq!(fleet.introspect(&client, &old)["active"], true);
    fleet.server.json(&["key", "rotate", "--now"]).unwrap();
    let retired = kid(&old);
    let old = fleet.token(&client, &node);
    assert_eq!(fleet.call(&old).status, 200);

    let rotated = fleet.server.json(&["key", "rotate", "--compromised"]).unwrap();
    let began = Instant::now();
    assert_eq!(rotated.as_array().unwrap().len(), 3);
    // The server itself knows at once, though it had checked the token before.
    let said = fleet.post("/oauth/introspect", &client, &[("token", &old)]);
    assert_eq!(granted(&said)["active"], false);
    assert!(!published(&fleet).contains(&retired) && !published(&fleet).contains(&kid(&old)));
    wait_for("the node refuses what the key signed", || {
        let answer = fleet.call(&old);
        if answer.status == 401 {
            refused_401(&answer, Some("invalid_token"));
            return true;
        }
        assert_eq!(answer.status, 200, "{answer}");
        false
    });
    assert!(began.elapsed() < PROMISED, "{:?}", began.elapsed());
    // And takes what the new one signs.
    let new = fleet.token(&client, &node);
    assert_eq!(fleet.call(&new).status, 200);
    assert_eq!(fleet.introspect(&client, &new)["active"], true);
    let events = fleet
        .server
        .json(&["audit", "list", "--event", "key.compromised"])
        .unwrap();
    let events = events.as_array().unwrap();
    assert_eq!(events.len(), 6);
    assert!(events.iter().all(|row| row["actor_type"] == "operator"));
}
