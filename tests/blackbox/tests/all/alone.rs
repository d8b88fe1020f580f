//! A node whose authorization server is switched off for an hour, by real programs with a moved clock: tokens that it knows
//! and tokens that it has never seen are good until the budgets end, then nobody can say, and when the server is back the
//! node finds that out by itself.

use std::time::{Duration, Instant};

use blackbox::answers::retry_after;
use blackbox::fleet::Wishes;
use blackbox::moved_clock::MovedClock;
use blackbox::status_list::place;
use blackbox::{Db, Fleet};
use xtask::fleet::{UNLIMITED_NODE, UNLIMITED_SERVER};

const MINUTE: Duration = Duration::from_secs(60);

/// A fleet all of whose clocks are this one, and tokens of one client that nobody has shown.
fn fleet(clock: &MovedClock, offline: &str) -> (Fleet, Vec<String>) {
    let wishes = Wishes {
        server: Some(format!("{UNLIMITED_SERVER}[tokens]\naccess_ttl = \"4h\"\n")),
        node: Some(format!("\n[offline]\n{offline}\n{UNLIMITED_NODE}")),
        environment: clock.environment(),
        node_environment: clock.environment(),
        ..Wishes::default()
    };
    let fleet = Fleet::start(Db::Sqlite, &wishes);
    let client = fleet.client(&[]);
    let tokens: Vec<String> = (0..4).map(|_| fleet.token(&client, &fleet.node.url())).collect();
    // What is known of one is known of all.
    assert!(tokens.iter().all(|token| place(token).0 == place(&tokens[0]).0));
    (fleet, tokens)
}

fn switch_off(fleet: &Fleet) {
    let mut server = fleet.programs().remove("authz-server").unwrap();
    assert!(server.terminate(Duration::from_secs(15)).unwrap().success());
}

/// Lets so much time pass for the node. Each of its workers looks at the time twice a second, and until it has, a request
/// that has just come seems to have come long ago: the jump is over when all answer for a whole second.
fn pass(fleet: &Fleet, clock: &MovedClock, ahead: Duration) {
    clock.move_to(ahead);
    let began = Instant::now();
    let mut calm_since = began;
    while calm_since.elapsed() < Duration::from_secs(1) {
        assert!(began.elapsed() < MINUTE, "it does not get over the jump");
        if xtask::http::get(&fleet.node_at("/healthz")).unwrap().status != 200 {
            calm_since = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn status(fleet: &Fleet, token: &str) -> u16 {
    let answer = fleet.call(token);
    if answer.status == 503 {
        // It says when to come back, and asks nobody for another token.
        assert!(retry_after(&answer) >= 1, "{answer}");
        assert_eq!(answer.header("www-authenticate"), None, "{answer}");
    }
    answer.status
}

#[test]
fn an_hour_without_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let clock = MovedClock::new(folder.path());
    let (fleet, tokens) = fleet(&clock, "keys = \"1h\"\nrevocation = \"1h\"");
    let [known, one, other, last] = &tokens[..] else {
        unreachable!()
    };
    assert_eq!(status(&fleet, known), 200);
    switch_off(&fleet);
    for (minutes, fresh) in [(20, one), (55, other)] {
        pass(&fleet, &clock, minutes * MINUTE);
        assert_eq!(
            (status(&fleet, known), status(&fleet, fresh)),
            (200, 200),
            "{minutes}"
        );
    }
    // How long it could go on, by its own word.
    let left = || {
        let answer = fleet.call(known).json_or_event().unwrap();
        let issuer = &answer["result"]["structuredContent"]["issuers"][0];
        issuer["keys_left_seconds"].as_u64().unwrap()
    };
    assert!((1..=300).contains(&left()), "{}", left());
    pass(&fleet, &clock, 61 * MINUTE);
    assert_eq!((status(&fleet, known), status(&fleet, last)), (503, 503));
    let ready = xtask::http::get(&fleet.node_at("/readyz")).unwrap();
    assert_eq!(ready.status, 503, "{ready}");
    // Back on: nobody tells the node.
    let server = fleet.server.serve_ready().unwrap();
    fleet.programs().insert("authz-server", server);
    let began = Instant::now();
    while status(&fleet, last) != 200 {
        assert!(
            began.elapsed() < MINUTE,
            "it does not recover: {}",
            fleet.call(last)
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(status(&fleet, known), 200);
}

#[test]
fn the_budget_of_revocations_is_one_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let clock = MovedClock::new(folder.path());
    let (fleet, tokens) = fleet(&clock, "keys = \"24h\"\nrevocation = \"10m\"");
    let [known, fresh, ..] = &tokens[..] else {
        unreachable!()
    };
    assert_eq!(status(&fleet, known), 200);
    switch_off(&fleet);
    pass(&fleet, &clock, 8 * MINUTE);
    assert_eq!(status(&fleet, known), 200);
    // The keys would do for another day; whether a token was taken back, nobody knows.
    pass(&fleet, &clock, 11 * MINUTE);
    assert_eq!((status(&fleet, known), status(&fleet, fresh)), (503, 503));
    // A restart makes nothing younger, nor does a clock that is set back with it.
    let mut node = fleet.programs().remove("mcp-node").unwrap();
    assert!(node.terminate(Duration::from_secs(15)).unwrap().success());
    clock.move_to(Duration::ZERO);
    let mut node = fleet.node.serve().unwrap();
    let alive = fleet.node_at("/healthz");
    node.wait_ready(&alive, xtask::fleet::START).unwrap();
    fleet.programs().insert("mcp-node", node);
    assert_eq!(status(&fleet, known), 503);
    let server = fleet.server.serve_ready().unwrap();
    fleet.programs().insert("authz-server", server);
    let began = Instant::now();
    while status(&fleet, fresh) != 200 {
        assert!(
            began.elapsed() < MINUTE,
            "it does not recover: {}",
            fleet.call(fresh)
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
