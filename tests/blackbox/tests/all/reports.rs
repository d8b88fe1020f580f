//! Nodes tell their server how they are, and are silent when they do not (docs/fleet.md).

use std::collections::BTreeSet;

use blackbox::admin::{Admin, path_of};
use blackbox::answers::{granted, oauth_error, refused_400, refused_client};
use blackbox::assertion;
use blackbox::enrolled::{Candidate, fresh_resource, invite, proof_of, welcomed};
use blackbox::fleet::Wishes;
use blackbox::forge::{Key, now};
use blackbox::peer_node::{PeerNode, eventually};
use blackbox::{Db, Fleet, both};
use serde_json::{Value, json};
use xtask::fleet::UNLIMITED_SERVER;
use xtask::http::Answer;

fn node_path(node_id: &str) -> String {
    format!("/admin/v1/nodes/{}", path_of(node_id))
}

fn shown(admin: &Admin<'_>, node_id: &str) -> Value {
    admin.read(&node_path(node_id)).0
}

fn sees(node: &Value) -> Vec<&str> {
    let all = node["sees"].as_array().into_iter().flatten();
    all.filter_map(Value::as_str).collect()
}

both!(nodes_are_seen_to_be_awake_and_whom_they_see);
fn nodes_are_seen_to_be_awake_and_whom_they_see(db: Db) {
    let wishes = Wishes {
        server: Some(format!(
            "{UNLIMITED_SERVER}\n[alerts]\nnode_silent_after = \"6s\"\n"
        )),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let admin = fleet.admin("admin:read admin:write");
    let first = PeerNode::start(&fleet, &[], "");
    let mut second = PeerNode::start(&fleet, &[&first], "");
    eventually("each sees the other", || {
        let (one, other) = (shown(&admin, &first.node_id), shown(&admin, &second.node_id));
        one["state"] == "active" && sees(&one) == [&*second.node_id] && sees(&other) == [&*first.node_id]
    });
    let (node, tag) = admin.read(&node_path(&first.node_id));
    assert_eq!(node["last_contact_from"], "127.0.0.1", "{node}");
    assert_eq!(node["version"], env!("CARGO_PKG_VERSION"), "{node}");
    let at = node["last_contact_at"].as_i64().unwrap();
    assert!(now().abs_diff(at) <= 60, "{node}");
    assert!(node["uptime_seconds"].as_u64().unwrap() < 3600, "{node}");
    // Calls are counted where they are made.
    let client = fleet.client_for_any(&[]);
    let token = fleet.token(&client, &first.node.url());
    assert_eq!(first.call(&token).status, 200);
    eventually("the call is told", || {
        shown(&admin, &first.node_id)["calls"]["ok"] == 1
    });
    // Lists, counts and the command line have the same.
    let ids = |state: &str| -> BTreeSet<String> {
        let all = admin.all(&format!("/admin/v1/nodes?state={state}")).into_iter();
        all.map(|node| node["node_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let set =
        |nodes: &[&PeerNode]| -> BTreeSet<String> { nodes.iter().map(|node| node.node_id.clone()).collect() };
    // A busy machine may be late with a report.
    eventually("both are listed and counted as awake", || {
        let counts = admin.read("/admin/v1/statistics").0;
        (&counts["nodes_active"], &counts["nodes_silent"]) == (&json!(2), &json!(0))
            && (ids("active"), ids("silent")) == (set(&[&first, &second]), set(&[]))
    });
    let listed = fleet.server.json(&["node", "list"]).unwrap();
    let rows = listed.as_array().unwrap();
    let row = rows.iter().find(|row| row["node_id"] == *first.node_id).unwrap();
    assert!(row["last_contact_at"].as_i64() >= Some(at), "{row}");

    // One that is gone is silent after a while, and the other says that it does not see it.
    second.kill();
    eventually("it is silent", || {
        shown(&admin, &second.node_id)["state"] == "silent"
    });
    eventually("it alone is", || {
        (ids("active"), ids("silent")) == (set(&[&first]), set(&[&second]))
    });
    eventually("it is not seen", || {
        sees(&shown(&admin, &first.node_id)).is_empty()
    });
    second.serve();
    eventually("it is back", || {
        shown(&admin, &second.node_id)["state"] == "active"
    });

    // A server that was away hears of them again.
    fleet.restart_server();
    let restarted = now();
    eventually("they are heard again", || {
        [&first, &second]
            .iter()
            .all(|node| shown(&admin, &node.node_id)["last_contact_at"].as_i64() > Some(restarted))
    });

    // What a node reports is nothing that whoever revokes it must have seen; with its end, what it said goes.
    assert_eq!(admin.delete(&node_path(&first.node_id), &tag).status, 204);
    let ended = shown(&admin, &first.node_id);
    assert_eq!(ended["state"], "revoked", "{ended}");
    assert!(
        ended.get("last_contact_at").is_none() && ended.get("sees").is_none(),
        "{ended}"
    );
    eventually("the other one is listed still", || {
        ids("active") == set(&[&second])
    });
}

/// A node of our own making that has enrolled: its key, client and node id.
struct Enrolled {
    key: Key,
    client: String,
    node_id: String,
}

impl Enrolled {
    fn new(fleet: &Fleet) -> Self {
        let candidate = Candidate::new(fleet, &invite(fleet, &[]), Some(&fresh_resource(fleet)));
        let welcome = welcomed(&candidate.enrol(fleet));
        let text = |name: &str| welcome[name].as_str().unwrap().to_owned();
        Self {
            client: text("client_id"),
            node_id: text("node_id"),
            key: candidate.key,
        }
    }

    fn report(&self, fleet: &Fleet, report: &Value) -> Answer {
        report_as(fleet, (&self.key, &self.client), &report.to_string())
    }
}

fn report_as(fleet: &Fleet, (key, client): (&Key, &str), report: &str) -> Answer {
    let proof = proof_of(fleet, key, client);
    post(
        fleet,
        &[
            (proof[0].0, &proof[0].1),
            (proof[1].0, &proof[1].1),
            ("report", report),
        ],
    )
}

fn post(fleet: &Fleet, form: &[(&str, &str)]) -> Answer {
    fleet.post_bare("/fleet/report", form)
}

fn good() -> Value {
    json!({"version": "1.0.0", "uptime_seconds": 5, "sees": ["swift-fox-0dd9b9"], "calls": {"ok": 2}})
}

both!(only_a_living_node_reports_and_of_itself_alone);
fn only_a_living_node_reports_and_of_itself_alone(db: Db) {
    let fleet = Fleet::shared(db);
    let admin = fleet.admin("admin:read admin:write");
    let (node, other) = (Enrolled::new(&fleet), Enrolled::new(&fleet));
    assert_eq!(
        shown(&admin, &node.node_id)["state"],
        "enrolled",
        "before its first report"
    );
    let heard = granted(&node.report(&fleet, &good()));
    assert_eq!(heard, json!({"interval": 60}));
    let told = shown(&admin, &node.node_id);
    assert_eq!(
        (&told["state"], sees(&told)),
        (&json!("active"), vec!["swift-fox-0dd9b9"])
    );

    // Another node in its place, a key that nobody knows, a client that there is not.
    let as_other = (&other.key, &*node.client);
    refused_client(&report_as(&fleet, as_other, &good().to_string()), false);
    let stranger = Key::ed25519("stranger");
    refused_client(
        &report_as(&fleet, (&stranger, &node.client), &good().to_string()),
        false,
    );
    refused_client(
        &report_as(&fleet, (&stranger, "c_nobody"), &good().to_string()),
        false,
    );
    refused_client(&post(&fleet, &[("report", &good().to_string())]), false);
    // Any other client is no node.
    let key = Key::ed25519("service");
    let service = assertion::client(&fleet, &[&key], &[]);
    let shown_by = assertion::assertion(&fleet, &service, &key);
    let answer = assertion::post(
        &fleet,
        "/fleet/report",
        &shown_by,
        &[("report", &good().to_string())],
    );
    refused_400(&answer, "unauthorized_client");
    // What was shown once does not count again.
    let proof = proof_of(&fleet, &node.key, &node.client);
    let good_text = good().to_string();
    let form = [
        (proof[0].0, &*proof[0].1),
        (proof[1].0, &proof[1].1),
        ("report", &good_text),
    ];
    granted(&post(&fleet, &form));
    refused_client(&post(&fleet, &form), false);

    // Too much, and what is no report.
    let many: Vec<String> = (0..129).map(|n| format!("node-{n}")).collect();
    for (member, bad) in [
        ("sees", json!(many)),
        ("sees", json!([node.node_id])),
        ("sees", json!(["<img src=x>"])),
        ("sees", json!(["a-1", "a-1"])),
        ("addresses", json!(["x".repeat(300)])),
        ("calls", json!({"<b>": 1})),
        ("version", json!("1\n2")),
        ("uptime_seconds", json!(-1)),
    ] {
        let mut report = good();
        report[member] = bad;
        refused_400(&node.report(&fleet, &report), "invalid_request");
    }
    for bad in ["", "nonsense", "[]", "{}"] {
        refused_400(
            &report_as(&fleet, (&node.key, &node.client), bad),
            "invalid_request",
        );
    }
    let long = json!({"version": "1", "uptime_seconds": 1, "more": "x".repeat(60_000)});
    oauth_error(&node.report(&fleet, &long), 413, "invalid_request");
    // None of that has changed anything.
    assert_eq!(sees(&shown(&admin, &node.node_id)), ["swift-fox-0dd9b9"]);
    assert_eq!(shown(&admin, &other.node_id)["state"], "enrolled");

    // A node that was revoked is not heard, and the other one is.
    assert_eq!(admin.delete(&node_path(&node.node_id), "*").status, 204);
    refused_client(&node.report(&fleet, &good()), false);
    assert_eq!(shown(&admin, &node.node_id)["state"], "revoked");
    granted(&other.report(&fleet, &good()));
    assert_eq!(shown(&admin, &other.node_id)["state"], "active");
}
