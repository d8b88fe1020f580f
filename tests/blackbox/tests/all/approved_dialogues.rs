//! One yes is for one call, whatever the tool asks its caller meanwhile (MCP-20, CON-14): the rounds of a dialogue are good
//! once each, and for nobody else. And a person who is asked over a session, at an address.

use std::sync::atomic::{AtomicUsize, Ordering};

use blackbox::enrolled::{EnrolledNode, pending};
use blackbox::session::Session;
use blackbox::{Db, Fleet};
use serde_json::{Value, json};
use xtask::http::Request;

use super::approvals::decide;

/// A node with a server behind it that asks, whose tools that ask need an approval. `words` are for the server.
fn start(fleet: &Fleet, words: &str) -> EnrolledNode {
    let program = env!("CARGO_BIN_EXE_odd-upstream");
    let upstream = format!("\n[[upstream]]\nname = \"odd\"\ncommand = \"{program}\"\nargs = [{words}]\n");
    EnrolledNode::start_with(fleet, &[], &format!("\n[mcp]\nsessions = \"on\"\n{upstream}"))
}

/// A call of 2026-07-28 by a caller that can be asked with forms; `more` are further parameters.
fn round(node: &EnrolledNode, token: &str, tool: &str, more: &Value) -> Value {
    let mut params = json!({"name": tool, "arguments": {}, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
    }});
    for (name, value) in more.as_object().unwrap() {
        params[name] = value.clone();
    }
    let request = Request::post(&node.node.url()).unwrap().bearer(token);
    let answer = request
        .header("Accept", "application/json, text/event-stream")
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", "tools/call")
        .header("Mcp-Name", tool)
        .json(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}))
        .send()
        .unwrap();
    answer.json_or_event().unwrap()
}

/// What brings the caller back to a question of the server.
fn back(asked: &Value, key: &str) -> Value {
    let result = &asked["result"];
    assert_eq!(result["resultType"], "input_required", "{asked}");
    assert!(result["inputRequests"][key].is_object(), "{asked}");
    let answer = json!({key: {"action": "accept", "content": {"name": "Ada"}}});
    json!({"inputResponses": answer, "requestState": result["requestState"]})
}

fn ran(node: &EnrolledNode, token: &str) -> String {
    let result = node.call(token, "odd_ran", &json!({}));
    result["content"][0]["text"].as_str().unwrap().to_owned()
}

/// Both kinds of servers: one that waits with its question, and one that asks by results.
const KINDS: [(&str, &str, &str); 2] = [
    ("", "odd_ask_twice", "question"),
    ("\"modern\"", "odd_ask", "name"),
];

#[test]
fn mcp_20_one_yes_covers_the_dialogue_of_one_call_and_no_second_one() {
    let fleet = Fleet::shared(Db::Sqlite);
    for (words, tool, key) in KINDS {
        let node = start(&fleet, words);
        let (ada, eve) = (fleet.person_account(), fleet.person_account());
        let (token, hers) = (node.token_of(&fleet, &ada), node.token_of(&fleet, &eve));
        let (url, id) = pending(&round(&node, &token, tool, &json!({}))["result"]);
        decide(&fleet, &ada, &url, "approve");
        let first = back(&round(&node, &token, tool, &json!({})), key);
        // The state is hers alone, and for these arguments.
        assert_eq!(
            round(&node, &hers, tool, &first)["error"]["code"],
            -32602,
            "{tool}"
        );
        let mut others = first.clone();
        others["arguments"] = json!({"path": "/"});
        assert_eq!(
            round(&node, &token, tool, &others)["error"]["code"],
            -32602,
            "{tool}"
        );
        let second = back(&round(&node, &token, tool, &first), key);
        let done = round(&node, &token, tool, &second);
        assert!(done["result"]["content"][0]["text"].is_string(), "{done}");
        assert_eq!(ran(&node, &token), "1", "{tool}");
        // Nothing of it can be brought again, and no further call has a yes.
        for again in [&first, &second] {
            let refused = round(&node, &token, tool, again);
            assert_eq!(refused["error"]["code"], -32602, "{tool}: {refused}");
        }
        assert_ne!(pending(&round(&node, &token, tool, &json!({}))["result"]).1, id);
        assert_eq!(ran(&node, &token), "1", "{tool}");
        // Each round is a line of the audit log that names whose yes it had.
        assert_eq!(node.audited(&id)["tool"], tool);
        let log = std::fs::read_to_string(node.node.folder.join("audit.log")).unwrap();
        assert_eq!(log.lines().filter(|line| line.contains(&id)).count(), 3, "{log}");
    }
}

#[test]
fn con_of_16_who_bring_one_round_one_goes_on() {
    let fleet = Fleet::shared(Db::Sqlite);
    let node = start(&fleet, "\"modern\"");
    let ada = fleet.person_account();
    let token = node.token_of(&fleet, &ada);
    let (url, _) = pending(&round(&node, &token, "odd_ask", &json!({}))["result"]);
    decide(&fleet, &ada, &url, "approve");
    let first = back(&round(&node, &token, "odd_ask", &json!({})), "name");
    let second = back(&round(&node, &token, "odd_ask", &first), "name");
    let went_on = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                if round(&node, &token, "odd_ask", &second)["result"]["content"].is_array() {
                    went_on.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!((went_on.load(Ordering::Relaxed), &*ran(&node, &token)), (1, "1"));
}

#[test]
fn a_person_is_asked_at_an_address_over_a_session_of_2025_11_25() {
    let fleet = Fleet::shared(Db::Sqlite);
    let node = start(&fleet, "");
    let ada = fleet.person_account();
    let token = node.token_of(&fleet, &ada);
    let url = node.node.url();
    let session = Session::begin(&url, &token, &json!({"elicitation": {"form": {}, "url": {}}}));
    let mut events = session.call(1, "get_status", &json!({}));
    let question = events.next().unwrap();
    assert_eq!(question["method"], "elicitation/create", "{question}");
    assert_eq!(question["params"]["mode"], "url", "{question}");
    let address = question["params"]["url"].as_str().unwrap();
    assert!(
        address.ends_with(question["params"]["elicitationId"].as_str().unwrap()),
        "{question}"
    );
    // The client has shown the address; the call waits for the person.
    session.answer(&question, &json!({"action": "accept"}));
    decide(&fleet, &ada, address, "approve");
    let answer = events.next().unwrap();
    assert!(
        answer["result"]["structuredContent"]["id"].is_string(),
        "{answer}"
    );
    assert!(events.next().is_none());
    // Who does not open it gets a result that says so, and what was asked goes on waiting.
    let mut events = session.call(2, "get_status", &json!({}));
    let question = events.next().unwrap();
    session.answer(&question, &json!({"action": "decline"}));
    let answer = events.next().unwrap();
    assert_eq!(
        answer["result"]["structuredContent"]["error"], "declined",
        "{answer}"
    );
    // A tool that asks something itself: first the person's yes, then its question, in one call.
    let mut events = session.call(3, "odd_ask", &json!({}));
    let question = events.next().unwrap();
    assert_eq!(question["params"]["mode"], "url", "{question}");
    session.answer(&question, &json!({"action": "accept"}));
    decide(
        &fleet,
        &ada,
        question["params"]["url"].as_str().unwrap(),
        "approve",
    );
    let question = events.next().unwrap();
    assert_eq!(question["params"]["message"], "Your name?", "{question}");
    session.answer(
        &question,
        &json!({"action": "accept", "content": {"name": "Ada"}}),
    );
    let answer = events.next().unwrap();
    assert!(
        answer["result"]["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("Ada"),
        "{answer}"
    );
    // A client that has only forms is told in the result.
    let forms = Session::begin(&url, &token, &json!({"elicitation": {}}));
    let answer = forms.call(1, "get_status", &json!({})).next().unwrap();
    assert!(pending(&answer["result"]).0.contains("/approve/"));
}
