//! Calls that run only with a person's yes: who may give it, what it is for, and that it counts once (UI-01, UI-02, UI-03,
//! UI-10, UI-11, UI-14, UI-25, ADM-01, ADM-09, P2P-05).

use std::sync::atomic::{AtomicUsize, Ordering};

use blackbox::answers::{granted, oauth_error, refused_400, refused_client};
use blackbox::enrolled::{
    Candidate, EnrolledNode, claims, fresh_resource, invite, pending, proof_of, sha256, welcomed,
};
use blackbox::fleet::Wishes;
use blackbox::forge::Key;
use blackbox::person::Page;
use blackbox::{Db, Fleet, PASSWORD, Person, both};
use serde_json::{Value, json};
use xtask::fleet::{START, UNLIMITED_NODE};
use xtask::http::{Answer, Request};
use xtask::journey::modern;

/// Somebody who looks at an approval page.
fn look(fleet: &Fleet, username: &str, url: &str) -> (Person, Page) {
    let mut browser = fleet.person();
    let page = browser.page(url);
    let page = browser.sign_in_at(&page, username, PASSWORD).page();
    (browser, page)
}

fn action(url: &str) -> String {
    let id = url.rsplit('/').next().unwrap();
    format!("/approve/{id}")
}

/// The person's answer; returns the page that follows.
pub(super) fn decide(fleet: &Fleet, username: &str, url: &str, decision: &str) -> Page {
    let (mut browser, page) = look(fleet, username, url);
    assert_eq!(page.answer.status, 200, "{}", page.answer);
    let form = page.form(&action(url));
    assert!(form.offers("decision", decision), "{form:?}");
    browser.submit(&page, &form, &[("decision", decision)]).page()
}

fn admin(fleet: &Fleet) -> String {
    let name = fleet.fresh_name();
    fleet.user(&name, PASSWORD, &["--admin"]);
    name
}

/// Whether the tool ran: `get_status` tells who the node is, or refuses arguments.
fn ran(result: &Value) -> bool {
    result["structuredContent"]["id"].is_string()
        || result["structuredContent"]["peers"].is_array()
        || result["content"][0]["text"]
            .as_str()
            .is_some_and(|text| text.contains("takes no arguments"))
}

both!(a_call_runs_once_when_the_person_has_said_yes);
fn a_call_runs_once_when_the_person_has_said_yes(db: Db) {
    let fleet = Fleet::shared(db);
    let node = EnrolledNode::start(&fleet, &[]);
    let ada = fleet.person_account();
    let token = node.token_of(&fleet, &ada);
    let call = |arguments: Value| node.call(&token, "get_status", &arguments);
    let (url, id) = pending(&call(json!({})));
    assert!(
        url.starts_with(&format!("{}/approve/", fleet.server.issuer)),
        "{url}"
    );
    // As often as it calls, it is the same question; also without arguments at all.
    assert_eq!(pending(&call(json!({}))).1, id);
    assert_eq!(pending(&call(Value::Null)).1, id);
    let done = decide(&fleet, &ada, &url, "approve");
    assert_eq!(done.answer.status, 200);
    assert!(ran(&call(json!({}))));
    // Its line in the audit log names the approval and who gave it.
    let line = node.audited(&id);
    assert_eq!(
        (&line["tool"], &line["outcome"]),
        (&json!("get_status"), &json!("ok")),
        "{line}"
    );
    assert!(
        line["approver"]
            .as_str()
            .is_some_and(|user| user.starts_with("u_")),
        "{line}"
    );
    // Once.
    let (second, other_id) = pending(&call(json!({})));
    assert_ne!(other_id, id);
    decide(&fleet, &ada, &second, "deny");
    let denied = call(json!({}));
    assert_eq!(denied["structuredContent"]["error"], "denied", "{denied}");
    assert_ne!(pending(&call(json!({}))).1, other_id);
    // Both sides have written down who decided about what.
    let (server, log) = (fleet.logs(), node.log());
    for event in ["approval.asked", "approval.decided"] {
        assert!(
            server
                .lines()
                .any(|line| line.contains(event) && line.contains(&id)),
            "{event}"
        );
    }
    let told = fleet
        .server
        .json(&["audit", "list", "--event", "approval.decided", "--limit", "10000"])
        .unwrap();
    let outcome_of = |id: &str| {
        let mut of_it = told.as_array().unwrap().iter().filter(|row| row["target"] == id);
        let row = of_it.next().unwrap();
        assert!(of_it.next().is_none(), "{told}");
        assert_eq!(
            (&row["actor_type"], &row["details"]["tool"]),
            (&json!("user"), &json!("get_status"))
        );
        row["outcome"].clone()
    };
    assert_eq!(
        (outcome_of(&id), outcome_of(&other_id)),
        (json!("approved"), json!("denied"))
    );
    for event in ["approval.asked", "approval.used"] {
        assert!(
            log.lines().any(|line| line.contains(event) && line.contains(&id)),
            "{event}: {log}"
        );
    }
}

both!(a_yes_is_for_one_tool_one_caller_and_these_arguments);
fn a_yes_is_for_one_tool_one_caller_and_these_arguments(db: Db) {
    let fleet = Fleet::shared(db);
    let node = EnrolledNode::start(&fleet, &[]);
    let (ada, eve) = (fleet.person_account(), fleet.person_account());
    let (token, hers) = (node.token_of(&fleet, &ada), node.token_of(&fleet, &eve));
    let again = node.token_of(&fleet, &ada);
    let one = json!({"path": "/a", "deep": {"x": [1, 2], "y": null}});
    let (url, id) = pending(&node.call(&token, "get_status", &one));
    decide(&fleet, &ada, &url, "approve");
    // Another person, another client of the same person, other arguments: other calls.
    let others = [
        (&hers, one.clone()),
        (&again, one.clone()),
        (&token, json!({"path": "/b", "deep": {"x": [1, 2], "y": null}})),
        (&token, json!({"path": "/a", "deep": {"x": [2, 1], "y": null}})),
        (&token, json!({"path": "/a", "deep": {"x": [1, 2]}})),
        (&token, json!({})),
    ];
    for (token, arguments) in others {
        assert_ne!(
            pending(&node.call(token, "get_status", &arguments)).1,
            id,
            "{arguments}"
        );
    }
    // The same meaning, written in another order.
    let text = r#"{"name":"get_status","arguments":{"deep":{"y":null,"x":[1,2]},"path":"\/a"}}"#;
    let request = Request::post(&format!("{}/tools/call", node.node.url()))
        .unwrap()
        .bearer(&token);
    let request = request.header("Content-Type", "application/json").body(text);
    assert!(ran(&granted(&request.send().unwrap())));
}

both!(con_of_16_calls_with_one_yes_one_runs);
fn con_of_16_calls_with_one_yes_one_runs(db: Db) {
    let fleet = Fleet::shared(db);
    let node = EnrolledNode::start(&fleet, &[]);
    let ada = fleet.person_account();
    let token = node.token_of(&fleet, &ada);
    let (url, _) = pending(&node.call(&token, "get_status", &json!({})));
    decide(&fleet, &ada, &url, "approve");
    let runs = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                if ran(&node.call(&token, "get_status", &json!({}))) {
                    runs.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

both!(ui_03_10_11_only_the_person_concerned_sees_and_decides);
fn ui_03_10_11_only_the_person_concerned_sees_and_decides(db: Db) {
    let fleet = Fleet::shared(db);
    let node = EnrolledNode::start(&fleet, &[]);
    let (ada, eve) = (fleet.person_account(), fleet.person_account());
    let token = node.token_of(&fleet, &ada);
    let script = "\"><script>alert(1)</script>";
    let arguments = json!({"path": script, "hidden": "a\u{202e}b"});
    let (url, id) = pending(&node.call(&token, "get_status", &arguments));
    // Somebody else, an administrator too, sees what there is at an address where nothing waits.
    let nothing = fleet.at("/approve/AAAAAAAAAAAAAAAAAAAAAA");
    for other in [&eve, &admin(&fleet)] {
        let (mut browser, theirs) = look(&fleet, other, &url);
        assert_eq!(theirs.answer.status, 400, "{}", theirs.answer);
        assert_eq!(theirs.text(), browser.page(&nothing).text());
        assert!(!theirs.text().contains("get_status"));
    }
    let (mut browser, page) = look(&fleet, &ada, &url);
    let (raw, text) = (page.answer.text(), page.text());
    assert!(
        !raw.contains("<script>alert") && !raw.contains('\u{202e}'),
        "{raw}"
    );
    for part in ["get_status", "alert(1)", "\\u{202e}", "attic", &node.node.url()] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let node_id = node.report["node_id"].as_str().unwrap();
    assert!(text.contains(node_id), "{text}");
    // UI-01, UI-02: nobody frames it, and nothing runs in it.
    let policy = page.answer.header("content-security-policy").unwrap();
    assert!(
        policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"),
        "{policy}"
    );
    assert_eq!(page.answer.header("x-frame-options"), Some("DENY"));
    // To open it decides nothing; a form without its token, or of another browser, neither.
    let form = page.form(&action(&url));
    let status =
        |browser: &mut Person, fields: &[(&str, &str)]| browser.submit_once(&page, &form, fields).1.status;
    assert_eq!(
        status(&mut browser, &[("decision", "approve"), ("csrf", "")]),
        403
    );
    assert_eq!(status(&mut fleet.person(), &[("decision", "approve")]), 403);
    let (mut eves, _) = look(&fleet, &eve, &nothing);
    assert_eq!(status(&mut eves, &[("decision", "approve")]), 403);
    for decision in ["", "maybe"] {
        assert_eq!(status(&mut browser, &[("decision", decision)]), 400);
    }
    assert_eq!(pending(&node.call(&token, "get_status", &arguments)).1, id);
    assert_eq!(status(&mut browser, &[("decision", "approve")]), 200);
    // The back button: what is decided stays so.
    assert_eq!(status(&mut browser, &[("decision", "deny")]), 400);
    assert_eq!(browser.page(&url).answer.status, 400);
    assert!(ran(&node.call(&token, "get_status", &arguments)));
    // In the language of the browser.
    let (url, _) = pending(&node.call(&token, "get_status", &json!({})));
    let mut spanish = fleet.person().with_header("Accept-Language", "es");
    let page = spanish.page(&url);
    let page = spanish.sign_in_at(&page, &ada, PASSWORD).page();
    assert!(page.text().contains("Permitir una vez"), "{}", page.text());
}

both!(adm_01_what_no_person_asked_for_is_the_administrators);
fn adm_01_what_no_person_asked_for_is_the_administrators(db: Db) {
    let fleet = Fleet::shared(db);
    let node = EnrolledNode::start(&fleet, &[]);
    let (ada, boss) = (fleet.person_account(), admin(&fleet));
    // A client that acts for itself.
    let client = fleet.client_for_any(&[]);
    let token = fleet.token(&client, &node.node.url());
    let (url, _) = pending(&node.call(&token, "get_status", &json!({})));
    assert_eq!(look(&fleet, &ada, &url).1.answer.status, 400);
    decide(&fleet, &boss, &url, "approve");
    assert!(ran(&node.call(&token, "get_status", &json!({}))));
    // A tool whose yes is an administrator's, whoever calls.
    let token = node.token_of(&fleet, &ada);
    let (url, _) = pending(&node.call(&token, "list_peers", &json!({})));
    assert_eq!(look(&fleet, &ada, &url).1.answer.status, 400);
    decide(&fleet, &boss, &url, "approve");
    assert!(ran(&node.call(&token, "list_peers", &json!({}))));
}

/// A question of a node of our own making, asked in its words.
struct Asking {
    candidate: Candidate,
    client_id: String,
}

impl Asking {
    fn new(fleet: &Fleet, words: &[&str]) -> Self {
        let resource = fresh_resource(fleet);
        let code = invite(fleet, &[&["--resource", &resource], words].concat());
        let candidate = Candidate::new(fleet, &code, None);
        let welcome = welcomed(&candidate.enrol(fleet));
        Self {
            candidate,
            client_id: welcome["client_id"].as_str().unwrap().to_owned(),
        }
    }

    fn post(&self, fleet: &Fleet, path: &str, form: &[(&str, &str)]) -> Answer {
        let proof = proof_of(fleet, &self.candidate.key, &self.client_id);
        let proof = [(proof[0].0, &*proof[0].1), (proof[1].0, &*proof[1].1)];
        fleet.post_bare(path, &[&proof[..], form].concat())
    }

    fn node_id(&self, fleet: &Fleet) -> String {
        let nodes = fleet.server.json(&["node", "list"]).unwrap();
        let mut rows = nodes.as_array().unwrap().iter();
        let row = rows.find(|row| row["client_id"] == *self.client_id).unwrap();
        row["node_id"].as_str().unwrap().to_owned()
    }

    fn ask(&self, fleet: &Fleet, changed: &[(&str, &str)]) -> Answer {
        let (arguments, issuer) = ("{\"a\":1}", fleet.server.issuer.clone());
        let digest = sha256(arguments);
        let usual = [
            ("tool", "fs_delete"),
            ("summary", "Deletes files"),
            ("arguments", arguments),
            ("arguments_sha256", &digest),
            ("caller_iss", &issuer),
            ("caller_sub", "nobody"),
            ("caller_client", "c_x"),
            ("approver", "caller"),
            ("ttl", "5m"),
        ];
        let kept = usual
            .iter()
            .filter(|(name, _)| !changed.iter().any(|(other, _)| other == name));
        let form: Vec<_> = kept.chain(changed).copied().collect();
        self.post(fleet, "/fleet/approvals", &form)
    }
}

fn poll(fleet: &Fleet, id: &str, token: &str) -> Answer {
    let url = fleet.at(&format!("/fleet/approvals/{id}"));
    Request::new("GET", &url).unwrap().bearer(token).send().unwrap()
}

both!(p2p_05_a_node_asks_and_polls_for_itself_alone);
fn p2p_05_a_node_asks_and_polls_for_itself_alone(db: Db) {
    let fleet = Fleet::shared(db);
    let (node, other) = (Asking::new(&fleet, &[]), Asking::new(&fleet, &[]));
    let taken = |answer: &Answer| {
        assert_eq!(answer.status, 201, "{answer}");
        let taken = answer.json().unwrap();
        fleet.remember(taken["poll_token"].as_str().unwrap());
        let text = |name: &str| taken[name].as_str().unwrap().to_owned();
        (text("approval_id"), text("poll_token"), text("verification_uri"))
    };
    // Only nodes ask, and only what a person can see.
    let client = fleet.client_for_any(&[]);
    let form = [("tool", "t")];
    oauth_error(
        &fleet.post("/fleet/approvals", &client, &form),
        400,
        "unauthorized_client",
    );
    refused_client(&fleet.post_bare("/fleet/approvals", &form), false);
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(8 * 1024));
    for bad in [
        &[("arguments_sha256", "AAAA")][..],
        &[("arguments", "[1]")],
        &[("arguments", "{\"a\":1} ")],
        &[("arguments", &long), ("arguments_sha256", &sha256(&long))],
        &[
            ("arguments", "{\"a\":1,\"a\":2}"),
            ("arguments_sha256", &sha256("{\"a\":1,\"a\":2}")),
        ],
        &[("tool", "")],
        &[("tool", "a\nb")],
        &[("tool", "a\u{202e}b")],
        &[("summary", "Reads\u{200b} files")],
        &[("ttl", "never")],
        &[("approver", "me")],
    ] {
        refused_400(&node.ask(&fleet, bad), "invalid_request");
    }
    let (id, token, url) = taken(&node.ask(&fleet, &[]));
    assert_eq!(granted(&poll(&fleet, &id, &token))["status"], "pending");
    let (other_id, other_token, _) = taken(&other.ask(&fleet, &[]));
    for (id, token) in [
        (&id, &other_token),
        (&other_id, &token),
        (&id, &id),
        (&"..".to_owned(), &token),
    ] {
        assert_eq!(poll(&fleet, id, token).status, 404);
    }
    // The answer is signed, for this node, and says all that was asked.
    let boss = admin(&fleet);
    decide(&fleet, &boss, &url, "approve");
    let decided = granted(&poll(&fleet, &id, &token));
    assert_eq!(decided["status"], "approved");
    let said = claims(decided["answer"].as_str().unwrap());
    for (name, value) in [
        ("iss", json!(fleet.server.issuer)),
        ("aud", json!(node.client_id)),
        ("jti", json!(id)),
        ("tool", json!("fs_delete")),
        ("arguments_sha256", json!(sha256("{\"a\":1}"))),
        ("caller_sub", json!("nobody")),
        ("caller_client", json!("c_x")),
        ("decision", json!("approved")),
    ] {
        assert_eq!(said[name], value, "{name}");
    }
    // A node that is cut off learns nothing more, and nobody answers it any more.
    let (late, late_token, late_url) = taken(&node.ask(&fleet, &[]));
    let node_id = node.node_id(&fleet);
    fleet.server.json(&["node", "revoke", &node_id]).unwrap();
    assert_eq!(poll(&fleet, &late, &late_token).status, 404);
    assert_eq!(poll(&fleet, &id, &token).status, 404);
    assert_eq!(look(&fleet, &boss, &late_url).1.answer.status, 400);
    refused_client(&node.ask(&fleet, &[]), false);
    assert_eq!(
        granted(&poll(&fleet, &other_id, &other_token))["status"],
        "pending"
    );
}

both!(p2p_05_names_that_another_server_gave_are_shown_as_its_own);
fn p2p_05_names_that_another_server_gave_are_shown_as_its_own(db: Db) {
    const ELSEWHERE: &str = "https://elsewhere.example/\u{200b}tenant";
    let fleet = Fleet::shared(db);
    let (node, boss) = (Asking::new(&fleet, &[]), admin(&fleet));
    let shown = |changed: &[(&str, &str)]| {
        let taken = node.ask(&fleet, changed).json().unwrap();
        fleet.remember(taken["poll_token"].as_str().unwrap());
        let url = taken["verification_uri"].as_str().unwrap();
        look(&fleet, &boss, url).1.answer.text()
    };
    let foreign = shown(&[("caller_iss", ELSEWHERE), ("caller_sub", "ada")]);
    assert!(
        foreign.contains("https://elsewhere.example/\\u{200b}tenant") && foreign.contains("another server"),
        "{foreign}"
    );
    // Of ours nothing is said.
    assert!(!shown(&[]).contains("another server"));
}

both!(load_a_node_waits_for_so_many_answers_at_once);
fn load_a_node_waits_for_so_many_answers_at_once(db: Db) {
    let fleet = Fleet::shared(db);
    let node = EnrolledNode::start(&fleet, &[]);
    let (ada, eve) = (fleet.person_account(), fleet.person_account());
    let token = node.token_of(&fleet, &ada);
    for n in 0..20 {
        let _ = pending(&node.call(&token, "get_status", &json!({"n": n})));
    }
    let full = node.call(&token, "get_status", &json!({"n": 20}));
    assert_eq!(full["structuredContent"]["error"], "too_many", "{full}");
    let long = node.call(&token, "get_status", &json!({"n": "x".repeat(9000)}));
    assert_eq!(long["structuredContent"]["error"], "too_long", "{long}");
    // One that waits is still found, and others have places of their own.
    let _ = pending(&node.call(&token, "get_status", &json!({"n": 7})));
    let _ = pending(&node.call(&node.token_of(&fleet, &eve), "get_status", &json!({})));
}

both!(adm_09_a_node_lets_others_in_only_with_an_administrators_yes);
fn adm_09_a_node_lets_others_in_only_with_an_administrators_yes(db: Db) {
    let fleet = Fleet::shared(db);
    let node = EnrolledNode::start(&fleet, &["--may-invite"]);
    let (ada, boss) = (fleet.person_account(), admin(&fleet));
    let token = node.token_of(&fleet, &ada);
    let resource = fresh_resource(&fleet);
    let wanted = json!({"name": "cellar", "resource": resource});
    let (url, _) = pending(&node.call(&token, "provision_node", &wanted));
    assert_eq!(look(&fleet, &ada, &url).1.answer.status, 400);
    decide(&fleet, &boss, &url, "approve");
    let made = node.call(&token, "provision_node", &wanted);
    assert_ne!(made["isError"], true, "{made}");
    let command = made["structuredContent"]["command"].as_str().unwrap();
    let code = command.split_whitespace().last().unwrap();
    fleet.remember(code);
    assert!(command.starts_with("mcp-node enroll --issuer "), "{command}");
    let welcome = welcomed(&Candidate::new(&fleet, code, None).enrol(&fleet));
    assert_eq!(
        (&welcome["resource"], &welcome["name"]),
        (&json!(resource), &json!("cellar"))
    );
    // Once; the next one needs another yes.
    let _ = pending(&node.call(&token, "provision_node", &wanted));
    // A node without that right does not offer the tool, and the server does not do it for one.
    let plain = EnrolledNode::start(&fleet, &[]);
    let url = format!("{}/tools/call", plain.node.url());
    let token = plain.token_of(&fleet, &ada);
    let call = Request::post(&url)
        .unwrap()
        .bearer(&token)
        .json(&json!({"name": "provision_node"}));
    assert_eq!(call.send().unwrap().status, 404);
    let asking = Asking::new(&fleet, &[]);
    let made_up = [("approval_id", "AAAAAAAAAAAAAAAAAAAAAA")];
    refused_400(
        &asking.post(&fleet, "/fleet/invites", &made_up),
        "unauthorized_client",
    );
    // Nor without the yes of an administrator, for just that.
    let asking = Asking::new(&fleet, &["--may-invite"]);
    refused_400(&asking.post(&fleet, "/fleet/invites", &made_up), "access_denied");
    let approved = fresh_resource(&fleet);
    let shown = json!({"name": "branch-7", "resource": approved}).to_string();
    let digest = sha256(&shown);
    let ask = |tool: &str, approver: &str, sub: &str| {
        let fields = [
            ("tool", tool),
            ("approver", approver),
            ("caller_sub", sub),
            ("arguments", &shown),
            ("arguments_sha256", &digest),
        ];
        let taken = asking.ask(&fleet, &fields).json().unwrap();
        fleet.remember(taken["poll_token"].as_str().unwrap());
        let text = |name: &str| taken[name].as_str().unwrap().to_owned();
        (text("approval_id"), text("verification_uri"))
    };
    let eve = fleet.fresh_name();
    let user = fleet.user(&eve, PASSWORD, &[]);
    let own = ask("provision_node", "caller", user["user_id"].as_str().unwrap());
    decide(&fleet, &eve, &own.1, "approve");
    let other_tool = ask("fs_delete", "operator", "x");
    decide(&fleet, &boss, &other_tool.1, "approve");
    let denied = ask("provision_node", "operator", "x");
    decide(&fleet, &boss, &denied.1, "deny");
    let open = ask("provision_node", "operator", "x");
    for id in [&own.0, &other_tool.0, &denied.0, &open.0] {
        let answer = asking.post(&fleet, "/fleet/invites", &[("approval_id", id)]);
        refused_400(&answer, "access_denied");
    }
    decide(&fleet, &boss, &open.1, "approve");
    // Nor for anything but what they have seen; that uses nothing up.
    let other_resource = fresh_resource(&fleet);
    for (name, value) in [("node_resource", &*other_resource), ("name", "branch-8")] {
        let fields = [("approval_id", &*open.0), (name, value)];
        refused_400(&asking.post(&fleet, "/fleet/invites", &fields), "access_denied");
    }
    let good = asking.post(&fleet, "/fleet/invites", &[("approval_id", &open.0)]);
    assert_eq!(good.status, 201, "{good}");
    let made = good.json().unwrap();
    assert_eq!(
        (&made["resource"], &made["name"]),
        (&json!(approved), &json!("branch-7"))
    );
    fleet.remember(made["invite"].as_str().unwrap());
    // An administrator's yes counts while they are one.
    let late = ask("provision_node", "operator", "x");
    let leaving = admin(&fleet);
    decide(&fleet, &leaving, &late.1, "approve");
    fleet.server.json(&["user", "disable", &leaving]).unwrap();
    let answer = asking.post(&fleet, "/fleet/invites", &[("approval_id", &late.0)]);
    refused_400(&answer, "access_denied");
    let twice = asking.post(&fleet, "/fleet/invites", &[("approval_id", &open.0)]);
    refused_400(&twice, "access_denied");
    let stranger = Asking {
        candidate: Candidate::new(&fleet, "ehi_x", None),
        client_id: asking.client_id.clone(),
    };
    assert_ne!(stranger.candidate.key.jwk(), Key::ed25519("x").jwk());
    refused_client(&stranger.post(&fleet, "/fleet/invites", &made_up), false);
}

both!(adm_09_a_nodes_invite_gives_away_nothing_and_ends_with_the_node);
fn adm_09_a_nodes_invite_gives_away_nothing_and_ends_with_the_node(db: Db) {
    let fleet = Fleet::shared(db);
    let asking = Asking::new(&fleet, &["--may-invite"]);
    let boss = admin(&fleet);
    let invited = |resource: &str| {
        let shown = json!({"resource": resource}).to_string();
        let fields = [
            ("tool", "provision_node"),
            ("approver", "operator"),
            ("arguments", &*shown),
            ("arguments_sha256", &*sha256(&shown)),
        ];
        let taken = asking.ask(&fleet, &fields).json().unwrap();
        fleet.remember(taken["poll_token"].as_str().unwrap());
        decide(
            &fleet,
            &boss,
            taken["verification_uri"].as_str().unwrap(),
            "approve",
        );
        let id = taken["approval_id"].as_str().unwrap();
        let made = asking.post(&fleet, "/fleet/invites", &[("approval_id", id)]);
        assert_eq!(made.status, 201, "{made}");
        let code = made.json().unwrap()["invite"].as_str().unwrap().to_owned();
        fleet.remember(&code);
        code
    };
    // What is registered for something else stays with it, whatever an administrator has overlooked.
    let registered = fleet.resource(&[]);
    let answer = Candidate::new(&fleet, &invited(&registered), None).enrol(&fleet);
    oauth_error(&answer, 409, "resource_taken");
    let (first, second) = (fresh_resource(&fleet), fresh_resource(&fleet));
    let (early, late) = (invited(&first), invited(&second));
    let welcome = welcomed(&Candidate::new(&fleet, &early, None).enrol(&fleet));
    assert_eq!(welcome["resource"], first);
    let node_id = asking.node_id(&fleet);
    fleet.server.json(&["node", "revoke", &node_id]).unwrap();
    refused_400(
        &Candidate::new(&fleet, &late, None).enrol(&fleet),
        "invalid_invite",
    );
}

both!(a_client_that_can_open_addresses_is_asked_in_the_middle_of_the_call);
fn a_client_that_can_open_addresses_is_asked_in_the_middle_of_the_call(db: Db) {
    let fleet = Fleet::shared(db);
    let node = EnrolledNode::start(&fleet, &[]);
    let ada = fleet.person_account();
    let token = node.token_of(&fleet, &ada);
    let call = |elicitation: Value, more: Value| {
        let mut params = json!({"name": "get_status", "arguments": {}});
        for (name, value) in more.as_object().unwrap() {
            params[name] = value.clone();
        }
        let request = modern(&node.node.url(), "tools/call", params.clone()).unwrap();
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": elicitation},
        });
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let request = request.header("Mcp-Name", "get_status").bearer(&token);
        let answer = request.body(body.to_string()).send().unwrap();
        assert_eq!(answer.status, 200, "{answer}");
        answer.json_or_event().unwrap()["result"].clone()
    };
    let asked = call(json!({"url": {}}), json!({}));
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let request = &asked["inputRequests"]["approval"];
    assert_eq!(request["params"]["mode"], "url", "{asked}");
    let url = request["params"]["url"].as_str().unwrap();
    decide(&fleet, &ada, url, "approve");
    // A client that only has forms is told in the result, about the same question.
    let mut answers = json!({"inputResponses": {"approval": {"action": "decline"}}});
    let declined = call(json!({"url": {}}), answers.clone());
    // The person has said yes meanwhile, and that counts.
    assert!(ran(&declined), "{declined}");
    let (again, _) = pending(&call(json!({"form": {}}), json!({})));
    answers["inputResponses"]["approval"]["action"] = json!("accept");
    decide(&fleet, &ada, &again, "approve");
    assert!(ran(&call(json!({"url": {}}), answers)));
}

both!(when_nobody_can_be_asked_the_call_does_not_run);
fn when_nobody_can_be_asked_the_call_does_not_run(db: Db) {
    let section = "\n[approval]\ntools = [\"get_status\"]\n";
    let wishes = Wishes {
        node: Some(format!("{section}{UNLIMITED_NODE}")),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let node = EnrolledNode::start(&fleet, &[]);
    let ada = fleet.person_account();
    let token = node.token_of(&fleet, &ada);
    let (url, _) = pending(&node.call(&token, "get_status", &json!({})));
    decide(&fleet, &ada, &url, "approve");
    fleet
        .programs()
        .get_mut("authz-server")
        .unwrap()
        .suspend(START)
        .unwrap();
    let away = node.call(&token, "get_status", &json!({}));
    fleet
        .programs()
        .get_mut("authz-server")
        .unwrap()
        .resume()
        .unwrap();
    assert_eq!(away["structuredContent"]["error"], "not_available", "{away}");
    // Nothing was used up. Whoever just goes on may be late once more.
    let deadline = std::time::Instant::now() + START;
    let again = loop {
        let again = node.call(&token, "get_status", &json!({}));
        let is_late = again["structuredContent"]["error"] == "not_available";
        if !is_late || std::time::Instant::now() > deadline {
            break again;
        }
    };
    assert!(ran(&again), "{again}");
    // The fleet's own node has not enrolled, so it can ask nobody; it said so when it started.
    let own = fleet.token(&fleet.client(&[]), &fleet.node.url());
    let refused = fleet.call(&own).json_or_event().unwrap()["result"].clone();
    assert_eq!(refused["structuredContent"]["error"], "not_enrolled", "{refused}");
    assert!(
        fleet
            .logs()
            .contains("run for nobody until the node has enrolled")
    );
}
