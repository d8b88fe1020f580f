//! MCP-17 … MCP-35 as far as they need no streams: what a node makes of the protocol's own words.

use std::collections::BTreeSet;

use blackbox::{Db, Fleet, both};
use serde_json::{Value, json};
use xtask::http::{Answer, Connection, Request, Url};
use xtask::journey::modern;

use crate::node::{rpc, scoped};

both!(mcp_17_the_revision_in_the_header_must_be_the_one_in_the_body);
fn mcp_17_the_revision_in_the_header_must_be_the_one_in_the_body(db: Db) {
    let fleet = Fleet::shared(db);
    let token = scoped(&fleet, "mcp:read");
    let list = |revision: &str, envelope: &str| {
        let meta = json!({"io.modelcontextprotocol/protocolVersion": envelope, "io.modelcontextprotocol/clientCapabilities": {}});
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": {"_meta": meta}});
        let request = Request::post(&fleet.node.url())
            .unwrap()
            .bearer(&token)
            .header("Mcp-Method", "tools/list");
        let request = request.header("Accept", "application/json, text/event-stream");
        let request = if revision.is_empty() {
            request
        } else {
            request.header("MCP-Protocol-Version", revision)
        };
        request.json(&body).send().unwrap()
    };
    let code = |answer: &Answer| answer.json().unwrap()["error"]["code"].clone();
    let differing = list("2026-07-28", "2025-11-25");
    assert_eq!(
        (differing.status, code(&differing)),
        (400, json!(-32020)),
        "{differing}"
    );
    let missing = list("", "2026-07-28");
    assert_eq!(
        (missing.status, code(&missing)),
        (400, json!(-32020)),
        "{missing}"
    );
    let unknown = list("2099-01-01", "2099-01-01");
    assert_eq!(
        (unknown.status, code(&unknown)),
        (400, json!(-32022)),
        "{unknown}"
    );
    assert_eq!(unknown.json().unwrap()["id"], 7);
    assert_eq!(list("2026-07-28", "2026-07-28").status, 200);
}

both!(mcp_18_mirrored_headers_must_agree);
fn mcp_18_mirrored_headers_must_agree(db: Db) {
    let fleet = Fleet::shared(db);
    let token = fleet.token(&fleet.client(&[]), &fleet.node.url());
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({"name": "get_status", "arguments": {}, "_meta": meta});
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params});
    let call = |headers: &[(&str, &str)]| {
        let request = Request::post(&fleet.node.url()).unwrap().bearer(&token);
        let request = request.header("Accept", "application/json, text/event-stream");
        let request = request.header("MCP-Protocol-Version", "2026-07-28").json(&body);
        headers
            .iter()
            .fold(request, |request, (name, value)| request.header(name, value))
            .send()
            .unwrap()
    };
    for bad in [
        &[][..],
        &[("Mcp-Method", "tools/call")],
        &[("Mcp-Name", "get_status")],
        &[("Mcp-Method", "tools/list"), ("Mcp-Name", "get_status")],
        &[("Mcp-Method", "tools/call"), ("Mcp-Name", "other")],
        &[("Mcp-Method", "TOOLS/CALL"), ("Mcp-Name", "get_status")],
        &[("Mcp-Method", "tools/call"), ("Mcp-Name", "=?base64?!!!?=")],
    ] {
        let answer = call(bad);
        assert_eq!(answer.status, 400, "{bad:?}: {answer}");
        assert_eq!(
            answer.json().unwrap()["error"]["code"],
            -32020,
            "{bad:?}: {answer}"
        );
    }
    assert_eq!(
        call(&[("mcp-method", " tools/call "), ("MCP-NAME", "get_status")]).status,
        200
    );
    assert_eq!(
        call(&[
            ("Mcp-Method", "tools/call"),
            ("Mcp-Name", "=?base64?Z2V0X3N0YXR1cw==?=")
        ])
        .status,
        200
    );
}

both!(mcp_19_an_unknown_method_is_404);
fn mcp_19_an_unknown_method_is_404(db: Db) {
    let fleet = Fleet::shared(db);
    let token = scoped(&fleet, "mcp:read mcp:call");
    for method in ["unknown/method", "ping", "Tools/list"] {
        let answer = rpc(&fleet, &token, method, json!({}));
        assert_eq!(answer.status, 404, "{method}: {answer}");
        assert_eq!(
            answer.json().unwrap()["error"]["code"],
            -32601,
            "{method}: {answer}"
        );
    }
    assert_eq!(rpc(&fleet, &token, "tools/list", json!({})).status, 200);
}

both!(mcp_24_json_is_read_strictly);
fn mcp_24_json_is_read_strictly(db: Db) {
    let fleet = Fleet::shared(db);
    let token = scoped(&fleet, "mcp:read mcp:call");
    let send = |body: &str| {
        let request = Request::post(&fleet.node.url()).unwrap().bearer(&token);
        let request = request.header("Accept", "application/json, text/event-stream");
        request
            .header("Content-Type", "application/json")
            .body(body)
            .send()
            .unwrap()
    };
    for (body, codes) in [
        ("", &[-32700, -32600][..]),
        ("{", &[-32700]),
        ("nonsense", &[-32700]),
        ("[]", &[-32600]),
        ("\"text\"", &[-32600]),
        (r#"{"jsonrpc":"2.0","id":1,"Method":"tools/list"}"#, &[-32600]),
        (r#"{"jsonrpc":"1.0","id":1,"method":"tools/list"}"#, &[-32600]),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}"#,
            &[-32700, -32600],
        ),
        (r#"{"jsonrpc":"2.0","id":{},"method":"tools/list"}"#, &[-32600]),
        (r#"{"jsonrpc":"2.0","id":1,"method":5}"#, &[-32600]),
    ] {
        let answer = send(body);
        assert_eq!(answer.status, 400, "{body}: {answer}");
        let code = answer.json().unwrap()["error"]["code"].as_i64().unwrap();
        assert!(codes.contains(&code), "{body}: {code}");
    }
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}1{}}}"#,
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    assert_eq!(send(&deep).status, 400);
    assert_eq!(
        send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).status,
        200
    );
}

both!(mcp_30_the_tools_and_resources_of_a_node);
fn mcp_30_the_tools_and_resources_of_a_node(db: Db) {
    let fleet = Fleet::shared(db);
    let token = fleet.token(&fleet.client(&[]), &fleet.node.url());
    let listed = rpc(&fleet, &token, "tools/list", json!({}))
        .json_or_event()
        .unwrap();
    let tools = listed["result"]["tools"].as_array().unwrap();
    let names: BTreeSet<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, BTreeSet::from(["get_status", "list_peers"]));
    let unknown = modern(
        &fleet.node.url(),
        "tools/call",
        json!({"name": "rm", "arguments": {}}),
    )
    .unwrap();
    let unknown = unknown
        .header("Mcp-Name", "rm")
        .bearer(&token)
        .send()
        .unwrap()
        .json_or_event()
        .unwrap();
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    for uri in [
        "edge-hive://logs/../../etc/passwd",
        "edge-hive://logs/%2e%2e",
        "file:///etc/passwd",
        "edge-hive://nothing",
    ] {
        let request = modern(&fleet.node.url(), "resources/read", json!({"uri": uri})).unwrap();
        let answer = request
            .header("Mcp-Name", uri)
            .bearer(&token)
            .send()
            .unwrap()
            .json_or_event()
            .unwrap();
        assert_eq!(answer["error"]["code"], -32602, "{uri}: {answer}");
        assert!(!answer.to_string().contains("root:"), "{answer}");
    }
}

both!(mcp_35_older_revisions_are_served_without_sessions);
fn mcp_35_older_revisions_are_served_without_sessions(db: Db) {
    let fleet = Fleet::shared(db);
    let token = fleet.token(&fleet.client(&[]), &fleet.node.url());
    let send = |revision: Option<&str>, body: &Value| {
        let request = Request::post(&fleet.node.url()).unwrap().bearer(&token);
        let request = request
            .header("Accept", "application/json, text/event-stream")
            .json(body);
        revision
            .map_or(request.clone(), |revision| {
                request.header("MCP-Protocol-Version", revision)
            })
            .send()
            .unwrap()
    };
    for revision in ["2025-11-25", "2025-06-18", "2025-03-26"] {
        let params = json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let hello = send(
            None,
            &json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}),
        );
        assert_eq!(hello.status, 200, "{hello}");
        assert_eq!(hello.header("mcp-session-id"), None);
        assert_eq!(
            hello.json_or_event().unwrap()["result"]["protocolVersion"],
            revision
        );
        let ready = send(
            Some(revision),
            &json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        );
        assert_eq!(ready.status, 202, "{ready}");
        let params = json!({"name": "get_status", "arguments": {}});
        let call = send(
            Some(revision),
            &json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}),
        );
        assert!(
            call.json_or_event().unwrap()["result"]["content"].is_array(),
            "{call}"
        );
    }
}

both!(con_14_answers_reach_only_their_askers);
/// CON-14: identical JSON-RPC ids of many clients never cross.
fn con_14_answers_reach_only_their_askers(db: Db) {
    let fleet = Fleet::shared(db);
    let token = scoped(&fleet, "mcp:read");
    std::thread::scope(|scope| {
        for client in 0..16 {
            let (fleet, token) = (&fleet, &token);
            scope.spawn(move || {
                let mut connection = Connection::open(&Url::parse(&fleet.node.url()).unwrap()).unwrap();
                for round in 0..25 {
                    let uri = format!("edge-hive://nothing/{client}/{round}");
                    let request = modern(&fleet.node.url(), "resources/read", json!({"uri": uri})).unwrap();
                    let answer = connection
                        .send(&request.header("Mcp-Name", &uri).bearer(token))
                        .unwrap();
                    let answer = answer.json_or_event().unwrap();
                    assert_eq!(answer["id"], 1);
                    assert_eq!(answer["error"]["data"]["uri"], uri.as_str(), "{answer}");
                }
            });
        }
    });
}
