//! How nodes enrol, who is in the directory, and what cuts a node off (P2P-03, P2P-05, P2P-14, P2P-19, ADM-07, ADM-08,
//! ADM-15).

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;

use blackbox::answers::{granted, not_stored, oauth_error, refused_400, refused_client};
use blackbox::enrolled::{
    Candidate, bare_node, claims, enroll, fresh_resource, invite, key_file, post, proof_of, welcomed,
};
use blackbox::forge::{Key, encode, now, with};
use blackbox::{Db, Fleet, Place, both, near_and_far};
use serde_json::{Value, json};
use xtask::fleet::{START, UNLIMITED_NODE};
use xtask::http::{self, Request};
use xtask::journey;
use xtask::program::Program;

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap().to_owned()
}

fn nodes(fleet: &Fleet) -> Vec<Value> {
    let answer = http::get(&fleet.at("/fleet/nodes")).unwrap();
    assert_eq!(answer.status, 200, "{answer}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/edge-hive-nodes+jwt")
    );
    claims(&answer.text())["nodes"].as_array().unwrap().clone()
}

fn is_listed(fleet: &Fleet, node_id: &str) -> bool {
    nodes(fleet).iter().any(|node| node["node_id"] == node_id)
}

/// Whether the enrolment of a row stands: a node that serves says that it is awake some moment later.
fn stands(row: &Value) -> bool {
    ["enrolled", "active"].iter().any(|state| row["state"] == *state)
}

both!(two_commands_make_a_node_that_serves);
fn two_commands_make_a_node_that_serves(db: Db) {
    let fleet = Fleet::shared(db);
    let node = bare_node(&fleet);
    let code = invite(&fleet, &["--resource", &node.url(), "--name", "north"]);
    let output = enroll(&fleet, &node, &code, &["--json"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["resource"], node.url());
    assert_eq!(report["issuer"], fleet.server.issuer);
    // The key is for nobody else, and no command prints it.
    let key = key_file(&node);
    let mode = std::fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let private: Value = serde_json::from_slice(&std::fs::read(&key).unwrap()).unwrap();
    fleet.remember(private["d"].as_str().unwrap());
    let identity = node.command(&["identity", "--json"]).output().unwrap();
    let identity = String::from_utf8(identity.stdout).unwrap();
    assert_eq!(fleet.leak_in(&identity), None);
    let identity: Value = serde_json::from_str(&identity).unwrap();
    assert_eq!(identity["node_id"], report["node_id"]);
    assert_eq!(identity["enrolled"]["client_id"], report["client_id"]);
    assert!(text(&identity, "peer_id").starts_with("12D3KooW"), "{identity}");
    // It starts with what the command wrote.
    let mut config = std::fs::read_to_string(node.config()).unwrap();
    config.push_str(UNLIMITED_NODE);
    std::fs::write(node.config(), config).unwrap();
    let mut program = node.serve().unwrap();
    let ready = format!("http://localhost:{}/readyz", node.port);
    program.wait_ready(&ready, START).unwrap();
    let client = fleet.client_for_any(&[]);
    let token = fleet.token(&client, &node.url());
    let called = journey::tool_call(&node.url(), "get_status", &json!({}), Some(&token)).unwrap();
    assert_eq!(called.status, 200, "{called}");
    assert!(
        called.text().contains(report["node_id"].as_str().unwrap()),
        "{called}"
    );
    let listed = fleet.server.json(&["node", "list"]).unwrap();
    let row = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["node_id"] == report["node_id"]);
    let row = row.unwrap();
    assert_eq!(row["name"], "north", "{row}");
    assert!(stands(row), "{row}");
    // A second time, as if the answer had been lost: the same answer. Another invite is refused: the key is enrolled.
    let again = enroll(&fleet, &node, &code, &["--json"]);
    assert!(
        again.status.success(),
        "{}",
        String::from_utf8_lossy(&again.stderr)
    );
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again, report);
    let other = invite(&fleet, &["--resource", &node.url()]);
    let again = enroll(&fleet, &node, &other, &[]);
    let complaint = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        complaint.contains("already_enrolled") && complaint.contains("--replace"),
        "{complaint}"
    );
}

near_and_far!(a_node_enrols_as_it_starts_with_a_code_that_nobody_typed);
fn a_node_enrols_as_it_starts_with_a_code_that_nobody_typed(place: Place) {
    let fleet = Fleet::shared(place);
    let node = bare_node(&fleet);
    node.write_config().unwrap();
    let file = node.folder.join("invite");
    let path = file.display().to_string();
    let url = node.url();
    let words = [
        "node",
        "invite",
        "--resource",
        &url,
        "--name",
        &node.name,
        "--output",
        &path,
    ];
    let said = fleet.server.json(&words).unwrap().to_string();
    let code = std::fs::read_to_string(&file).unwrap();
    fleet.remember(&code);
    assert!(code.starts_with("ehi_") && !said.contains("ehi_"), "{said}");
    let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    // Once more, as a container that is started again would: nothing is made.
    let made = || {
        let invites = fleet.server.json(&["node", "invite", "--list"]).unwrap();
        let rows = invites.as_array().unwrap().clone();
        rows.iter().filter(|row| row["resource"] == url.as_str()).count()
    };
    fleet.server.json(&words).unwrap();
    assert_eq!(made(), 1);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), code);

    let line = ["serve", "--invite-file", &path];
    let refused = |why: &str| {
        let output = node.command(&line).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(why), "{text}");
    };
    mode(0o640);
    refused("chmod 600");
    mode(0o600);
    std::fs::write(&file, "ehi_x").unwrap();
    refused("invalid_invite");
    std::fs::write(&file, format!("{code}\n")).unwrap();
    let ready = format!("http://localhost:{}/readyz", node.port);
    let serve = || Program::start("mcp-node", node.command(&line), &node.log()).unwrap();
    let mut program = serve();
    program.wait_ready(&ready, START).unwrap();
    let listed = fleet.server.json(&["node", "list"]).unwrap();
    let rows = listed.as_array().unwrap();
    let row = rows.iter().find(|row| row["resource"] == url.as_str()).unwrap();
    assert_eq!(row["name"], node.name.as_str(), "{row}");
    assert!(stands(row), "{row}");
    assert!(program.terminate(START).unwrap().success());
    // From then on it needs no code.
    std::fs::remove_file(&file).unwrap();
    serve().wait_ready(&ready, START).unwrap();
}

both!(p2p_03_an_invite_lets_in_one_node_and_says_nothing_else_of_itself);
fn p2p_03_an_invite_lets_in_one_node_and_says_nothing_else_of_itself(db: Db) {
    let fleet = Fleet::shared(db);
    let resource = fresh_resource(&fleet);
    let code = invite(&fleet, &["--resource", &resource]);
    let candidate = Candidate::new(&fleet, &code, Some(&resource));
    let welcome = welcomed(&candidate.enrol(&fleet));
    assert_eq!(welcome["resource"], resource);
    // An answer that was lost is given again, to the same key alone.
    assert_eq!(
        welcomed(&candidate.enrol(&fleet))["client_id"],
        welcome["client_id"]
    );
    let mut stale = Candidate::new(&fleet, &code, Some(&resource));
    stale.claims["aud"] = "https://other.example".into();
    let proof = candidate.key.sign(&stale.header, &stale.claims);
    let request = json!({"invite": code, "jwk": candidate.key.jwk(), "proof": proof});
    refused_400(&post(&fleet, &request), "invalid_proof");
    let used = Candidate::new(&fleet, &code, Some(&resource)).enrol(&fleet);
    let unknown = Candidate::new(&fleet, "ehi_unknown", Some(&resource)).enrol(&fleet);
    refused_400(&used, "invalid_invite");
    refused_400(&unknown, "invalid_invite");
    // From outside, what there was and what never was look alike.
    assert_eq!(used.body, unknown.body);
    let logs = fleet.logs();
    assert!(logs.contains("the invite was used before") && logs.contains("there is no such invite"));
}

both!(p2p_03_an_invite_expires);
fn p2p_03_an_invite_expires(db: Db) {
    let fleet = Fleet::shared(db);
    let resource = fresh_resource(&fleet);
    let code = invite(&fleet, &["--resource", &resource, "--ttl", "1s"]);
    let start = now();
    let candidate = Candidate::new(&fleet, &code, Some(&resource));
    while now() < start + 2 {
        std::thread::yield_now();
    }
    refused_400(&candidate.enrol(&fleet), "invalid_invite");
    assert!(fleet.logs().contains("the invite has expired"));
    let code = invite(&fleet, &["--resource", &resource, "--ttl", "1m"]);
    let welcome = welcomed(&Candidate::new(&fleet, &code, Some(&resource)).enrol(&fleet));
    assert_eq!(welcome["resource"], resource);
    for ttl in ["0s", "31d"] {
        assert!(
            fleet.server.json(&["node", "invite", "--ttl", ttl]).is_err(),
            "{ttl}"
        );
    }
}

both!(p2p_04_05_19_a_statement_counts_for_its_key_its_server_its_invite_and_now);
fn p2p_04_05_19_a_statement_counts_for_its_key_its_server_its_invite_and_now(db: Db) {
    let fleet = Fleet::shared(db);
    let resource = fresh_resource(&fleet);
    let code = invite(&fleet, &["--resource", &resource]);
    let good = || Candidate::new(&fleet, &code, Some(&resource));
    for (name, value) in [
        ("aud", json!("https://other.example")),
        ("aud", json!([fleet.server.issuer, "https://other.example"])),
        ("aud", Value::Null),
        ("invite_sha256", json!("AAAA")),
        ("invite_sha256", Value::Null),
        ("iat", json!(now() - 3600)),
        ("iat", json!(now() + 3600)),
        ("iat", Value::Null),
        ("exp", json!(now() - 120)),
        ("exp", json!(now() + 3600)),
        ("exp", Value::Null),
        ("jti", Value::Null),
        ("name", json!(7)),
        ("capabilities", json!(["a b"])),
    ] {
        let mut bad = good();
        bad.claims = with(&bad.claims, name, value);
        let answer = bad.enrol(&fleet);
        refused_400(&answer, "invalid_proof");
    }
    for header in [
        json!({"typ": "JWT", "alg": "EdDSA"}),
        json!({"alg": "EdDSA"}),
        json!({"typ": "edge-hive-enrolment+jwt", "alg": "none"}),
        json!({"typ": "edge-hive-enrolment+jwt", "alg": "ES256"}),
        json!({"typ": "edge-hive-enrolment+jwt", "alg": "EdDSA", "crit": []}),
    ] {
        let mut bad = good();
        bad.header = header;
        refused_400(&bad.enrol(&fleet), "invalid_proof");
    }
    // Another key beside the statement; a key for which anybody can sign; one that is no Ed25519 key; a private one.
    let mut request = good().request();
    request["jwk"] = Key::ed25519("other").jwk();
    refused_400(&post(&fleet, &request), "invalid_proof");
    let mut identity = [0_u8; 32];
    identity[0] = 1;
    for jwk in [
        json!({"kty": "OKP", "crv": "Ed25519", "x": encode(identity)}),
        Key::p256("ec").jwk(),
        with(&good().key.jwk(), "d", json!("AAAA")),
        json!({"kty": "oct", "k": "AAAA"}),
    ] {
        let mut request = good().request();
        request["jwk"] = jwk;
        refused_400(&post(&fleet, &request), "invalid_proof");
    }
    for (name, value) in [("invite", json!(7)), ("proof", Value::Null), ("jwk", json!("x"))] {
        let request = with(&good().request(), name, value);
        refused_400(&post(&fleet, &request), "invalid_request");
    }
    let url = fleet.at("/fleet/enroll");
    let form = Request::post(&url)
        .unwrap()
        .form(&[("invite", &code)])
        .send()
        .unwrap();
    refused_400(&form, "invalid_request");
    let twice = "{\"invite\":\"a\",\"invite\":\"b\",\"jwk\":{},\"proof\":\"c\"}";
    let twice = Request::post(&url)
        .unwrap()
        .header("Content-Type", "application/json")
        .body(twice);
    refused_400(&twice.send().unwrap(), "invalid_request");
    assert_eq!(http::get(&url).unwrap().status, 405);
    // None of it has used the invite.
    assert_eq!(welcomed(&good().enrol(&fleet))["resource"], resource);
}

both!(what_a_node_may_serve);
fn what_a_node_may_serve(db: Db) {
    let fleet = Fleet::shared(db);
    let free = invite(&fleet, &[]);
    let ask = |code: &str, resource: Option<&str>| Candidate::new(&fleet, code, resource).enrol(&fleet);
    for bad in [
        None,
        Some("http://node.example/mcp"),
        Some("not a url"),
        Some("https://node.example/mcp#x"),
        Some("https://user@node.example/mcp"),
    ] {
        refused_400(&ask(&free, bad), "invalid_target");
    }
    // What is registered belongs to whoever the operator gives it to.
    let registered = fleet.resource(&[]);
    oauth_error(&ask(&free, Some(&registered)), 409, "resource_taken");
    let other = format!("{registered}/");
    oauth_error(&ask(&free, Some(&other)), 409, "resource_taken");
    let named = invite(&fleet, &["--resource", &registered]);
    refused_400(&ask(&named, Some(&fresh_resource(&fleet))), "invalid_target");
    // Another spelling is the same resource, and its registered one stays.
    assert_eq!(welcomed(&ask(&named, Some(&other)))["resource"], registered);
    // A node that lives keeps it, whatever invite comes.
    let second = invite(&fleet, &["--resource", &registered]);
    oauth_error(&ask(&second, Some(&registered)), 409, "resource_taken");
    // An invite without a resource is good for a new one; one with a resource needs no other word.
    let fresh = fresh_resource(&fleet);
    assert_eq!(welcomed(&ask(&free, Some(&fresh)))["resource"], fresh);
    let silent = fresh_resource(&fleet);
    let code = invite(&fleet, &["--resource", &silent]);
    assert_eq!(welcomed(&ask(&code, None))["resource"], silent);
}

both!(con_of_16_nodes_with_one_invite_one_enrols);
fn con_of_16_nodes_with_one_invite_one_enrols(db: Db) {
    let fleet = Fleet::shared(db);
    let code = invite(&fleet, &[]);
    let candidates: Vec<_> = (0..16)
        .map(|_| Candidate::new(&fleet, &code, Some(&fresh_resource(&fleet))))
        .collect();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let enrols: Vec<_> = candidates
            .iter()
            .map(|candidate| scope.spawn(|| candidate.enrol(&fleet)))
            .collect();
        enrols.into_iter().map(|enrol| enrol.join().unwrap()).collect()
    });
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!(won.len(), 1, "{answers:?}");
    lost.iter()
        .for_each(|answer| refused_400(answer, "invalid_invite"));
    // Nothing of the others is left behind: their resources are free.
    let welcome = welcomed(won[0]);
    let loser = candidates
        .iter()
        .find(|c| c.claims["resource"] != welcome["resource"])
        .unwrap();
    let code = invite(&fleet, &[]);
    let resource = text(&loser.claims, "resource");
    let mut again = Candidate::new(&fleet, &code, Some(&resource));
    again.key = Key::ed25519("again");
    assert_eq!(welcomed(&again.enrol(&fleet))["resource"], resource);
}

both!(con_of_many_invites_for_one_resource_one_wins_and_a_key_enrols_once);
fn con_of_many_invites_for_one_resource_one_wins_and_a_key_enrols_once(db: Db) {
    let fleet = Fleet::shared(db);
    let resource = fresh_resource(&fleet);
    let candidates: Vec<_> = (0..8)
        .map(|_| Candidate::new(&fleet, &invite(&fleet, &["--resource", &resource]), None))
        .collect();
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let enrols: Vec<_> = candidates
            .iter()
            .map(|candidate| scope.spawn(|| candidate.enrol(&fleet)))
            .collect();
        enrols
            .into_iter()
            .map(|enrol| enrol.join().unwrap().status)
            .collect()
    });
    assert_eq!(
        statuses.iter().filter(|status| **status == 201).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|status| **status == 409).count(),
        7,
        "{statuses:?}"
    );
    let winner = statuses.iter().position(|status| *status == 201).unwrap();
    // The same key with another invite.
    let code = invite(&fleet, &[]);
    let mut second = Candidate::new(&fleet, &code, Some(&fresh_resource(&fleet)));
    let request = |candidate: &Candidate, key: &Key| {
        let proof = key.sign(&candidate.header, &candidate.claims);
        json!({"invite": candidate.invite, "jwk": key.jwk(), "proof": proof})
    };
    let answer = post(&fleet, &request(&second, &candidates[winner].key));
    oauth_error(&answer, 409, "already_enrolled");
    second.key = Key::ed25519("fresh");
    assert_eq!(
        welcomed(&second.enrol(&fleet))["resource"],
        second.claims["resource"]
    );
}

near_and_far!(adm_08_p2p_14_a_node_that_is_revoked_is_cut_off_everywhere);
fn adm_08_p2p_14_a_node_that_is_revoked_is_cut_off_everywhere(place: Place) {
    let fleet = Fleet::shared(place);
    let resource = fresh_resource(&fleet);
    let candidate = Candidate::new(&fleet, &invite(&fleet, &["--resource", &resource]), None);
    let welcome = welcomed(&candidate.enrol(&fleet));
    let (node_id, client_id) = (text(&welcome, "node_id"), text(&welcome, "client_id"));
    let client = fleet.client_for_any(&[]);
    let introspect = |token: &str| {
        let proof = proof_of(&fleet, &candidate.key, &client_id);
        let form = [
            ("token", token),
            (proof[0].0, &proof[0].1),
            (proof[1].0, &proof[1].1),
        ];
        fleet.post_bare("/oauth/introspect", &form)
    };
    // The node is the resource server of its resource, and has nothing else.
    let token = fleet.token(&client, &resource);
    assert_eq!(granted(&introspect(&token))["active"], true);
    let own = fleet.token(&client, &fleet.node.url());
    assert_eq!(granted(&introspect(&own)), json!({"active": false}));
    assert!(is_listed(&fleet, &node_id));
    let record_url = fleet.at(&format!("/fleet/nodes/{node_id}"));
    assert_eq!(http::get(&record_url).unwrap().status, 200);

    fleet.server.json(&["node", "revoke", &node_id]).unwrap();
    refused_client(&introspect(&token), false);
    refused_400(
        &fleet.ask_token(&client, &[("resource", &resource)]),
        "invalid_target",
    );
    assert_eq!(fleet.introspect(&client, &token), json!({"active": false}));
    assert!(!is_listed(&fleet, &node_id));
    assert_eq!(http::get(&record_url).unwrap().status, 404);
    assert!(fleet.server.json(&["node", "revoke", &node_id]).is_err());
    // Its key does not come back with any invite, nor do others suffer.
    let code = invite(&fleet, &["--resource", &resource]);
    let mut again = Candidate::new(&fleet, &code, None);
    again.key = Key::ed25519("x");
    let request = json!({
        "invite": code, "jwk": candidate.key.jwk(), "proof": candidate.key.sign(&again.header, &again.claims),
    });
    oauth_error(&post(&fleet, &request), 409, "already_enrolled");
    assert_eq!(welcomed(&again.enrol(&fleet))["resource"], resource);
    // Nor with one for the place of this very node, which a new key takes.
    let code = invite(
        &fleet,
        &["--replace", &node_id, "--resource", &fresh_resource(&fleet)],
    );
    let next = Candidate::new(&fleet, &code, None);
    let request = json!({
        "invite": code, "jwk": candidate.key.jwk(), "proof": candidate.key.sign(&next.header, &next.claims),
    });
    oauth_error(&post(&fleet, &request), 409, "already_enrolled");
    assert_ne!(welcomed(&next.enrol(&fleet))["node_id"], node_id);
    // That its place is taken changes nothing about its key.
    let code = invite(&fleet, &["--resource", &fresh_resource(&fleet)]);
    let later = Candidate::new(&fleet, &code, None);
    let request = json!({
        "invite": code, "jwk": candidate.key.jwk(), "proof": candidate.key.sign(&later.header, &later.claims),
    });
    oauth_error(&post(&fleet, &request), 409, "already_enrolled");
}

near_and_far!(adm_08_what_a_node_leaves_behind_goes_with_it);
fn adm_08_what_a_node_leaves_behind_goes_with_it(place: Place) {
    let fleet = Fleet::shared(place);
    let client = fleet.client_for_any(&[]);
    let enrolled =
        |words: &[&str]| welcomed(&Candidate::new(&fleet, &invite(&fleet, words), None).enrol(&fleet));
    // A node that moves to another resource: nobody serves the former one.
    let (first, second) = (fresh_resource(&fleet), fresh_resource(&fleet));
    let node_id = text(&enrolled(&["--resource", &first]), "node_id");
    let token = fleet.token(&client, &first);
    let moved = enrolled(&["--replace", &node_id, "--resource", &second]);
    assert_eq!(fleet.introspect(&client, &token), json!({"active": false}));
    refused_400(
        &fleet.ask_token(&client, &[("resource", &first)]),
        "invalid_target",
    );
    // Revoked while an invite for its place waits: that one is void.
    let node_id = text(&moved, "node_id");
    let waiting = invite(&fleet, &["--replace", &node_id]);
    // What the operator gave to somebody else stays theirs.
    let other = fleet.client_for_any(&[]);
    let words = ["resource", "update", "--uri", &second, "--client", &other.id];
    fleet.server.json(&words).unwrap();
    let token = fleet.token(&client, &second);
    fleet.server.json(&["node", "revoke", &node_id]).unwrap();
    refused_400(
        &Candidate::new(&fleet, &waiting, None).enrol(&fleet),
        "invalid_invite",
    );
    assert_eq!(fleet.introspect(&client, &token)["active"], true);
}

near_and_far!(p2p_14_a_lost_disk_is_replaced_by_the_operators_decision);
fn p2p_14_a_lost_disk_is_replaced_by_the_operators_decision(place: Place) {
    let fleet = Fleet::shared(place);
    let resource = fresh_resource(&fleet);
    let first = Candidate::new(
        &fleet,
        &invite(&fleet, &["--resource", &resource, "--name", "attic"]),
        None,
    );
    let old = welcomed(&first.enrol(&fleet));
    let client = fleet.client_for_any(&[]);
    let token = fleet.token(&client, &resource);
    assert!(
        fleet
            .server
            .json(&["node", "invite", "--replace", "no-such-node"])
            .is_err()
    );
    let code = invite(&fleet, &["--replace", &text(&old, "node_id")]);
    // Not before it enrols: the old one serves until then.
    assert!(is_listed(&fleet, &text(&old, "node_id")));
    let new = welcomed(&Candidate::new(&fleet, &code, None).enrol(&fleet));
    assert_eq!(
        (&new["resource"], &new["name"]),
        (&old["resource"], &json!("attic"))
    );
    assert_ne!(new["node_id"], old["node_id"]);
    assert!(!is_listed(&fleet, &text(&old, "node_id")) && is_listed(&fleet, &text(&new, "node_id")));
    // The old key opens nothing; the resource and what was granted for it stand.
    let proof = proof_of(&fleet, &first.key, &text(&old, "client_id"));
    let form = [
        ("token", token.as_str()),
        (proof[0].0, &proof[0].1),
        (proof[1].0, &proof[1].1),
    ];
    refused_client(&fleet.post_bare("/oauth/introspect", &form), false);
    assert_eq!(fleet.introspect(&client, &token)["active"], true);
    let states: HashMap<String, String> = fleet
        .server
        .json(&["node", "list"])
        .unwrap()
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (text(row, "node_id"), text(row, "state")))
        .collect();
    assert_eq!(states[&text(&old, "node_id")], "replaced");
    assert_eq!(states[&text(&new, "node_id")], "enrolled");
}

both!(p2p_05_records_and_directory_are_signed_and_cacheable);
fn p2p_05_records_and_directory_are_signed_and_cacheable(db: Db) {
    let fleet = Fleet::shared(db);
    let resource = fresh_resource(&fleet);
    let candidate = Candidate::new(&fleet, &invite(&fleet, &["--resource", &resource]), None);
    let welcome = welcomed(&candidate.enrol(&fleet));
    let record = text(&welcome, "record");
    let said = claims(&record);
    assert_eq!(said["iss"], fleet.server.issuer);
    assert_eq!(said["sub"], welcome["node_id"]);
    assert_eq!(said["resource"], resource);
    assert_eq!(said["capabilities"], json!(["mcp"]));
    assert_eq!(said["cnf"]["jwk"]["x"], candidate.key.jwk()["x"]);
    assert!(said["exp"].as_i64().unwrap() > now() + 3600, "{said}");
    // Signed by a key of the key set that came with it, which is the published one.
    let published = granted(&http::get(&fleet.at("/.well-known/jwks.json")).unwrap());
    assert_eq!(welcome["jwks"], published);
    let header: Value = {
        let part = record.split('.').next().unwrap();
        serde_json::from_slice(&base64(part)).unwrap()
    };
    assert_eq!(header["typ"], "edge-hive-node+jwt");
    let key = published["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == header["kid"]);
    let x = base64(key.unwrap()["x"].as_str().unwrap());
    let (input, signature) = record.rsplit_once('.').unwrap();
    let public = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, x);
    public.verify(input.as_bytes(), &base64(signature)).unwrap();
    // The same record later, and in the directory the same node.
    let url = fleet.at(&format!("/fleet/nodes/{}", text(&welcome, "node_id")));
    let again = http::get(&url).unwrap();
    assert_eq!(
        again.header("content-type"),
        Some("application/edge-hive-node+jwt")
    );
    assert_eq!(claims(&again.text())["cnf"], said["cnf"]);
    assert!(is_listed(&fleet, &text(&welcome, "node_id")));
    for unknown in ["no-such-node", "..%2fx", "UPPER"] {
        assert_eq!(
            http::get(&fleet.at(&format!("/fleet/nodes/{unknown}")))
                .unwrap()
                .status,
            404
        );
    }
    // A tag saves the transfer until something changes. A new minute is a change too, so it may take a second look.
    let url = fleet.at("/fleet/nodes");
    let is_saved = || {
        let first = http::get(&url).unwrap();
        assert_eq!(first.header("cache-control"), Some("public, max-age=60"));
        let tag = first.header("etag").unwrap();
        let second = Request::new("GET", &url).unwrap().header("If-None-Match", tag);
        second.send().unwrap().status == 304
    };
    assert!((0..20).any(|_| is_saved()));
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .unwrap()
}

both!(ca_a_node_may_ask_for_fleet_scopes_and_nothing_else);
fn ca_a_node_may_ask_for_fleet_scopes_and_nothing_else(db: Db) {
    let fleet = Fleet::shared(db);
    let resource = fresh_resource(&fleet);
    let candidate = Candidate::new(&fleet, &invite(&fleet, &["--resource", &resource]), None);
    let welcome = welcomed(&candidate.enrol(&fleet));
    let ask = |more: &[(&str, &str)]| {
        let proof = proof_of(&fleet, &candidate.key, &text(&welcome, "client_id"));
        let form = [
            ("grant_type", "client_credentials"),
            ("resource", &fleet.node.url()),
            (proof[0].0, &proof[0].1),
            (proof[1].0, &proof[1].1),
        ];
        fleet.post_bare("/oauth/token", &[&form[..], more].concat())
    };
    let answer = ask(&[]);
    assert_eq!(
        granted(&answer)["scope"],
        "fleet:announce fleet:connect fleet:read"
    );
    not_stored(&answer);
    refused_400(&ask(&[("scope", "mcp:call")]), "invalid_scope");
    let proof = proof_of(&fleet, &Key::ed25519("other"), &text(&welcome, "client_id"));
    let form = [
        ("grant_type", "client_credentials"),
        (proof[0].0, &proof[0].1),
        (proof[1].0, &proof[1].1),
    ];
    refused_client(&fleet.post_bare("/oauth/token", &form), false);
}
