//! A server that asks something in the middle of a call: over a session, by rounds, and where the caller does not come back.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::{Duration, Instant};

use blackbox::session::Session;
use serde_json::{Value, json};

use super::Behind;

const SESSIONS: &str = "[mcp]\nsessions = \"on\"\n";

fn name(name: &str) -> Value {
    json!({"action": "accept", "content": {"name": name}})
}

/// What the server says that it was answered.
fn told(message: &Value) -> Value {
    let text = message["result"]["content"][0]["text"].as_str();
    serde_json::from_str(text.unwrap_or_else(|| panic!("{message}"))).unwrap()
}

/// A session at the node.
fn session(behind: &Behind, capabilities: &Value) -> Session {
    Session::begin(&behind.lone.node.url(), &behind.token, capabilities)
}

#[test]
fn behind_06_roots_are_those_of_the_caller_that_offers_them() {
    let behind = Behind::start(&[], SESSIONS);
    let roots = json!({"roots": [{"uri": "file:///srv/project", "name": "project"}]});
    // By a result, to a caller of 2026-07-28.
    let asked = behind.round("odd_roots", json!({"roots": {}}), &json!({}));
    let question = &asked["result"]["inputRequests"]["question"];
    assert_eq!(question["method"], "roots/list", "{asked}");
    let more =
        json!({"inputResponses": {"question": roots}, "requestState": asked["result"]["requestState"]});
    let answered = behind.round("odd_roots", json!({"roots": {}}), &more);
    assert_eq!(told(&answered)["result"], roots, "{answered}");
    // Over the stream of the call, in a session.
    let session = session(&behind, &json!({"roots": {}}));
    let mut events = session.call(1, "odd_roots", &json!({}));
    let question = events.next().unwrap();
    assert_eq!(question["method"], "roots/list", "{question}");
    session.answer(&question, &roots);
    assert_eq!(told(&events.next().unwrap())["result"], roots);
    // A caller that has none is not asked, and the server gets to know.
    let nobody = behind.told("odd_roots");
    assert!(
        nobody["result"].is_null() && nobody["error"]["code"].is_i64(),
        "{nobody}"
    );
}

#[test]
fn behind_07_a_server_asks_twice_and_each_question_is_answered_once() {
    let behind = Behind::start(&[], SESSIONS);
    let form = json!({"elicitation": {}});
    let first = behind.round("odd_ask_twice", form.clone(), &json!({}));
    let come_back = |asked: &Value, answer: &str| {
        let more = json!({"inputResponses": {"question": name(answer)}, "requestState": asked["result"]["requestState"]});
        behind.round("odd_ask_twice", form.clone(), &more)
    };
    let second = come_back(&first, "Ada");
    assert_eq!(second["result"]["resultType"], "input_required", "{second}");
    assert_eq!(come_back(&first, "Eve")["error"]["code"], -32602);
    assert_eq!(told(&come_back(&second, "Bob"))["result"], name("Bob"));
    assert_eq!(behind.text("odd_ran"), "1");
    let session = session(&behind, &form);
    let mut events = session.call(1, "odd_ask_twice", &json!({}));
    for answer in ["Ada", "Bob"] {
        session.answer(&events.next().unwrap(), &name(answer));
    }
    assert_eq!(told(&events.next().unwrap())["result"], name("Bob"));
}

#[test]
fn behind_08_a_server_of_the_newest_revision_asks_by_results() {
    // One seat: a session's caller gives it back before the request is made again.
    let behind = Behind::start(&["modern"], &format!("concurrency = 1\n{SESSIONS}"));
    let form = json!({"elicitation": {}});
    let session = session(&behind, &form);
    let mut events = session.call(1, "odd_ask", &json!({}));
    for answer in ["Ada", "Bob"] {
        session.answer(&events.next().unwrap(), &name(answer));
    }
    assert_eq!(told(&events.next().unwrap()), json!({"name": name("Bob")}));
    let first = behind.round("odd_ask", form.clone(), &json!({}));
    let more = |asked: &Value| json!({"inputResponses": {"name": name("Ada")}, "requestState": asked["result"]["requestState"]});
    let second = behind.round("odd_ask", form.clone(), &more(&first));
    let done = behind.round("odd_ask", form.clone(), &more(&second));
    assert_eq!(told(&done), json!({"name": name("Ada")}));
    assert_eq!(behind.text("odd_ran"), "2");
}

#[test]
fn behind_09_who_does_not_come_back_gives_the_seat_back() {
    let behind = Behind::start(&[], "concurrency = 1\ncall_limit = \"3s\"\ncall_timeout = \"3s\"");
    let began = Instant::now();
    let asked = behind.round("odd_ask", json!({"elicitation": {}}), &json!({}));
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let line = |used: u32| {
        format!("edge_hive_node_limit_in_use{{limit=\"upstream_questions\",tool=\"odd_*\"}} {used}")
    };
    assert!(behind.lone.get("/metrics").text().contains(&line(1)));
    // The only seat is taken by the call that waits for its caller, until that has waited long enough.
    assert_eq!(behind.call("odd_sum", &json!({}))["structuredContent"]["sum"], 3);
    assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(behind.lone.get("/metrics").text().contains(&line(0)));
    // The caller is told when it comes after all.
    let more =
        json!({"inputResponses": {"question": name("Ada")}, "requestState": asked["result"]["requestState"]});
    let late = behind.round("odd_ask", json!({"elicitation": {}}), &more);
    assert_eq!(late["error"]["data"]["restart"], true, "{late}");
}

#[test]
fn behind_20_a_program_that_reads_no_more_is_started_again() {
    let behind = Behind::start(&[], "call_timeout = \"1s\"");
    assert!(behind.error("odd_freeze").contains("within 1 s"));
    // Nothing of this gets through the pipe, and nor would a ping behind it.
    let large = json!({"padding": "x".repeat(512 * 1024)});
    let stuck = behind.call("odd_echo", &large);
    assert_eq!(stuck["isError"], true, "{stuck}");
    behind.until("it is started again", |behind| {
        behind.upstream()["restarts"].as_u64() >= Some(1) && behind.upstream()["state"] == "up"
    });
    assert_eq!(behind.call("odd_sum", &json!({}))["structuredContent"]["sum"], 3);
}

#[test]
fn behind_35_a_program_runs_as_the_user_that_the_operator_names() {
    // Where another user may read it.
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("odd-upstream");
    std::fs::copy(env!("CARGO_BIN_EXE_odd-upstream"), &program).unwrap();
    let behind = Behind::before(&format!("command = {program:?}\nuser = \"65534:65534\"\n"));
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if !is_root {
        // Only root starts programs as somebody else. Nothing runs as the node's own user instead.
        behind.until("the server is down", |behind| {
            behind.upstream()["state"] == "down"
        });
        assert!(!behind.tool_names().contains(&"odd_echo".to_owned()));
        return;
    }
    let told = behind.told("odd_echo");
    assert_eq!(told["user"], json!("65534 65534 65534 65534"), "{told}");
    assert_eq!(told["group"], json!("65534 65534 65534 65534"), "{told}");
    let names: Vec<_> = told["environment"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| &pair[0])
        .collect();
    assert!(
        !names.contains(&&json!("HOME")) && names.contains(&&json!("PATH")),
        "{names:?}"
    );
    // The node's own key and configuration are not its to read.
    let config = behind.lone.node.config();
    let mode = std::fs::metadata(behind.lone.node.folder.join("node-key.jwk"))
        .unwrap()
        .mode();
    assert_eq!(mode & 0o077, 0, "{}", config.display());
}
