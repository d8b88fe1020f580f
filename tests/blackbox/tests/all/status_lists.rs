//! STAT: revocation that reaches nodes which validate offline (Token Status List, docs/revocation.md).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use blackbox::answers::{granted, refused_400, refused_401};
use blackbox::fleet::Wishes;
use blackbox::status_list::{bit, bit_in, part, place};
use blackbox::{Db, Fleet, both};
use serde_json::{Value, json};
use xtask::http::{Answer, Request};

/// The promise for nodes that are connected.
const PROMISED: Duration = Duration::from_secs(2);
/// How long a test waits before it says that the promise was broken: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

fn list(fleet: &Fleet, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = Request::new("GET", &fleet.at(path)).unwrap();
    let request = headers
        .iter()
        .fold(request, |request, (name, value)| request.header(name, value));
    request.send().unwrap()
}

/// How long it takes until the node refuses a token that it has taken before.
fn refused_after(fleet: &Fleet, token: &str) -> Duration {
    let start = Instant::now();
    loop {
        let answer = fleet.call(token);
        if answer.status == 401 {
            let challenge = refused_401(&answer, Some("invalid_token"));
            assert!(challenge.contains("the token was revoked"), "{challenge}");
            return start.elapsed();
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(
            start.elapsed() < PATIENCE,
            "the node takes the revoked token still"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

both!(stat_01_lists_are_as_the_draft_says);
fn stat_01_lists_are_as_the_draft_says(db: Db) {
    let fleet = Fleet::shared(db);
    let token = fleet.token(&fleet.client(&[]), &fleet.node.url());
    let (uri, index) = place(&token);
    let path = uri.strip_prefix(&fleet.at("")).unwrap().to_owned();
    assert!(index < 1 << 19 && path.starts_with("/oauth/status/l_"), "{path}");
    let answer = list(&fleet, &path, &[("accept", "application/statuslist+jwt")]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/statuslist+jwt"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=5"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("content-encoding"), None);
    let signed = answer.text();
    let (header, claims) = (part(&signed, 0), part(&signed, 1));
    assert_eq!(header["typ"], "statuslist+jwt");
    assert_eq!(header["kid"], part(&token, 0)["kid"]);
    assert_eq!(claims["sub"], fleet.at(&path));
    assert_eq!(claims["ttl"], 5);
    assert_eq!(claims["status_list"]["bits"], 1);
    let token_ends = part(&token, 1)["exp"].as_i64().unwrap();
    assert!(claims["exp"].as_i64().unwrap() >= token_ends);
    // STAT-19: what is known is not sent again.
    let etag = answer.header("etag").unwrap().to_owned();
    let again = list(&fleet, &path, &[("if-none-match", &etag)]);
    assert_eq!((again.status, again.text().len()), (304, 0));
    assert_eq!(list(&fleet, &path, &[("if-none-match", "\"other\"")]).status, 200);
    // STAT-21.
    assert_eq!(list(&fleet, &format!("{path}?time=1686925000"), &[]).status, 501);
    for unknown in ["l_x", "l_xxxxxxxxyyyyyyyyyyyyyyyy", "..%2f", "%00"] {
        let answer = list(&fleet, &format!("/oauth/status/{unknown}"), &[]);
        assert!(
            (400..500).contains(&answer.status),
            "{unknown}: {}",
            answer.status
        );
    }
    let request = Request::post(&fleet.at(&path)).unwrap().form(&[]);
    assert_eq!(request.send().unwrap().status, 405);
    let metadata = granted(&list(&fleet, "/.well-known/oauth-authorization-server", &[]));
    assert_eq!(
        metadata["status_list_aggregation_endpoint"],
        fleet.at("/oauth/status")
    );
    let all = granted(&list(&fleet, "/oauth/status", &[]));
    let listed = all["status_lists"].as_array().unwrap();
    assert!(listed.contains(&Value::from(fleet.at(&path))));
}

both!(stat_01_what_can_be_no_list_is_looked_for_nowhere);
fn stat_01_what_can_be_no_list_is_looked_for_nowhere(db: Db) {
    let fleet = Fleet::shared(db);
    for name in ["l_%00", "l_", "%00", "l_..%2f", "x"] {
        let answer = list(&fleet, &format!("/oauth/status/{name}"), &[]);
        assert_eq!(answer.status, 404, "{name}: {answer}");
    }
    for resource in [
        "%00",
        "",
        "x",
        "https://node.example/%00",
        "https%3A%2F%2Fnode.example%2F%0A",
    ] {
        let directory = granted(&list(&fleet, &format!("/oauth/status?resource={resource}"), &[]));
        assert_eq!(directory["status_lists"], json!([]), "{resource}");
    }
    let long = "x".repeat(5000);
    refused_400(
        &list(&fleet, &format!("/oauth/status?resource={long}"), &[]),
        "invalid_request",
    );
    let node = fleet.node.url();
    let _ = fleet.token(&fleet.client(&[]), &node);
    let directory = granted(&list(&fleet, &format!("/oauth/status?resource={node}"), &[]));
    assert!(!directory["status_lists"].as_array().unwrap().is_empty());
}

both!(stat_17_a_token_that_its_client_revokes_ends_at_the_node);
fn stat_17_a_token_that_its_client_revokes_ends_at_the_node(db: Db) {
    let fleet = Fleet::start(db, &Wishes::default());
    let client = fleet.client(&[]);
    let [first, second] = [(); 2].map(|()| fleet.token(&client, &fleet.node.url()));
    assert_ne!(place(&first), place(&second));
    let mut took = Vec::new();
    // The first may need the lists to be found, the others are news.
    for token in [&first, &second] {
        assert_eq!((fleet.call(token).status, bit(token)), (200, 0));
        granted_nothing(&fleet.post("/oauth/revoke", &client, &[("token", token)]));
        took.push(refused_after(&fleet, token));
        assert_eq!(bit(token), 1);
        assert_eq!(fleet.introspect(&client, token)["active"], false);
    }
    let third = fleet.token(&client, &fleet.node.url());
    assert_eq!(fleet.call(&third).status, 200);
    // On a quiet machine. How long it takes is measured by `cargo xtask bench`.
    assert!(took.iter().any(|time| *time < PROMISED), "{took:?}");
}

fn granted_nothing(answer: &Answer) {
    assert_eq!((answer.status, answer.text().len()), (200, 0), "{answer:?}");
}

both!(cc_05_a_client_that_the_command_line_revokes_ends_with_its_tokens);
fn cc_05_a_client_that_the_command_line_revokes_ends_with_its_tokens(db: Db) {
    let fleet = Fleet::shared(db);
    let (client, other) = (fleet.client(&[]), fleet.client(&[]));
    let tokens: Vec<_> = (0..3).map(|_| fleet.token(&client, &fleet.node.url())).collect();
    let kept = fleet.token(&other, &fleet.node.url());
    for token in tokens.iter().chain([&kept]) {
        assert_eq!(fleet.call(token).status, 200);
    }
    fleet.server.json(&["client", "revoke", &client.id]).unwrap();
    refused_after(&fleet, &tokens[0]);
    for token in &tokens {
        assert_eq!((bit(token), fleet.call(token).status), (1, 401));
    }
    assert_eq!((bit(&kept), fleet.call(&kept).status), (0, 200));
}

both!(stat_16_a_killed_server_gives_no_place_twice);
fn stat_16_a_killed_server_gives_no_place_twice(db: Db) {
    let fleet = Fleet::start(db, &Wishes::default());
    let client = fleet.client(&[]);
    let mut places = std::collections::HashSet::new();
    let mut before = Vec::new();
    for _ in 0..3 {
        for _ in 0..20 {
            let token = fleet.token(&client, &fleet.node.url());
            assert!(places.insert(place(&token)), "a place was given twice");
            before.push(token);
        }
        let mut server = fleet.programs().remove("authz-server").unwrap();
        server.kill();
        drop(server);
        let again = fleet.server.serve_ready().unwrap();
        fleet.programs().insert("authz-server", again);
    }
    // A token of a life that is over can be taken back in this one.
    granted_nothing(&fleet.post("/oauth/revoke", &client, &[("token", &before[0])]));
    assert_eq!((bit(&before[0]), bit(&before[1])), (1, 0));
    fleet.server.json(&["client", "revoke", &client.id]).unwrap();
    assert!(before.iter().all(|token| bit(token) == 1));
}

both!(stat_17_an_open_stream_ends_with_its_token);
fn stat_17_an_open_stream_ends_with_its_token(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let token = fleet.token(&client, &fleet.node.url());
    let request = Request::new("GET", &fleet.node_at("/mcp/stream")).unwrap();
    let mut stream = TcpStream::connect(("localhost", fleet.node.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&request.bearer(&token).bytes(false)).unwrap();
    let mut read = [0; 4096];
    let first = stream.read(&mut read).unwrap();
    assert!(read[..first].starts_with(b"HTTP/1.1 200"));
    granted_nothing(&fleet.post("/oauth/revoke", &client, &[("token", &token)]));
    // Whatever is still sent, the end comes: without one, the read would time out.
    let mut rest = Vec::new();
    let start = Instant::now();
    while !rest.ends_with(b"0\r\n\r\n") {
        assert!(start.elapsed() < PATIENCE, "the stream goes on");
        match stream.read(&mut read).unwrap() {
            0 => break,
            more => rest.extend_from_slice(&read[..more]),
        }
    }
}

/// The bit in the only list that the node keeps on disk.
fn kept_bit(fleet: &Fleet, index: usize) -> Option<u8> {
    let folder = std::fs::read_dir(fleet.node.folder.join("offline")).ok()?;
    let mut names = folder.flatten().map(|file| file.path());
    let file = names.find(|path| path.to_string_lossy().ends_with(".lists.json"))?;
    let kept: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    Some(bit_in(kept["lists"][0]["token"].as_str()?, index))
}

both!(a_node_without_its_server_knows_what_it_knew_and_tells_how_long);
fn a_node_without_its_server_knows_what_it_knew_and_tells_how_long(db: Db) {
    let fleet = Fleet::start(db, &Wishes::default());
    let client = fleet.client(&[]);
    let [good, bad, unseen] = [(); 3].map(|()| fleet.token(&client, &fleet.node.url()));
    assert_eq!((fleet.call(&good).status, fleet.call(&bad).status), (200, 200));
    granted_nothing(&fleet.post("/oauth/revoke", &client, &[("token", &bad)]));
    refused_after(&fleet, &bad);
    // Kept within seconds of the news.
    let (_, index) = place(&bad);
    let start = Instant::now();
    while kept_bit(&fleet, index) != Some(1) {
        assert!(start.elapsed() < PATIENCE, "the revocation was not kept");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut server = fleet.programs().remove("authz-server").unwrap();
    server.kill();
    drop(server);
    let mut node = fleet.programs().remove("mcp-node").unwrap();
    node.kill();
    drop(node);
    let mut node = fleet.node.serve().unwrap();
    node.wait_ready(&fleet.node_at("/readyz"), PATIENCE).unwrap();
    fleet.programs().insert("mcp-node", node);
    // A token that the node has never seen, one that it has, and one that was revoked.
    assert_eq!((fleet.call(&good).status, fleet.call(&unseen).status), (200, 200));
    assert_eq!(fleet.call(&bad).status, 401);
    let answer = granted(&fleet.call(&good));
    let text = answer.to_string();
    for word in ["keys_left_seconds", "left_seconds", "age_seconds"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}
