//! Traces: one id leads from the client's call through both programs to the server behind the node, and to the collector
//! (docs/metrics.md).

use std::time::{Duration, Instant};

use blackbox::answers::granted;
use blackbox::fleet::{SCOPES, Wishes};
use blackbox::{Db, Fleet, both};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};
use xtask::fleet::{Credentials, UNLIMITED_NODE, UNLIMITED_SERVER};
use xtask::http::Request;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const PATIENCE: Duration = Duration::from_secs(60);

/// A collector.
struct Collector {
    runtime: Runtime,
    server: MockServer,
}

impl Collector {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(async {
            let server = MockServer::start().await;
            Mock::given(method("POST"))
                .and(path("/v1/traces"))
                .and(header("content-type", "application/x-protobuf"))
                .respond_with(ResponseTemplate::new(200))
                .mount(&server)
                .await;
            server
        });
        Self { runtime, server }
    }

    fn section(&self, more: &str) -> String {
        let url = self.server.uri();
        format!("\n[telemetry]\notlp_endpoint = \"{url}/v1/traces\"\n{more}\n")
    }

    /// Everything that was sent so far.
    fn bodies(&self) -> Vec<Vec<u8>> {
        let requests = self.runtime.block_on(self.server.received_requests()).unwrap();
        requests.into_iter().map(|request| request.body).collect()
    }

    /// Whether one message has all of these.
    fn has(&self, parts: &[&[u8]]) -> bool {
        let is_in = |body: &[u8], part: &[u8]| body.windows(part.len()).any(|window| window == part);
        self.bodies()
            .iter()
            .any(|body| parts.iter().all(|part| is_in(body, part)))
    }

    fn wait_for(&self, parts: &[&[u8]]) {
        let began = Instant::now();
        while !self.has(parts) {
            assert!(began.elapsed() < PATIENCE, "the collector gets no such span");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn behind() -> String {
    let program = env!("CARGO_BIN_EXE_odd-upstream");
    format!("\n[[upstream]]\nname = \"odd\"\ncommand = \"{program}\"\n")
}

/// A token, asked for in the trace.
fn token(fleet: &Fleet, client: &Credentials) -> String {
    let request = Request::post(&fleet.at("/oauth/token")).unwrap();
    let request = request
        .basic(&client.id, &client.secret)
        .header("traceparent", PARENT)
        .form(&[("grant_type", "client_credentials")]);
    let answer = granted(&request.send().unwrap());
    let token = answer["access_token"].as_str().unwrap().to_owned();
    fleet.remember(&token);
    token
}

/// What the server behind the node is told, when a caller says so of itself in its header.
fn told(fleet: &Fleet, token: &str, traceparent: Option<&str>) -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({"name": "odd_echo", "arguments": {}, "_meta": meta});
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params});
    let request = Request::post(&fleet.node.url()).unwrap().bearer(token);
    let request = request
        .header("Accept", "application/json, text/event-stream")
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", "tools/call")
        .header("Mcp-Name", "odd_echo")
        .json(&body);
    let request = match traceparent {
        Some(traceparent) => request.header("traceparent", traceparent),
        None => request,
    };
    let answer = request.send().unwrap().json_or_event().unwrap();
    let text = answer["result"]["content"][0]["text"].as_str();
    let text = text.unwrap_or_else(|| panic!("{answer}"));
    serde_json::from_str::<Value>(text).unwrap()["params"]["_meta"].clone()
}

both!(one_trace_spans_the_call_the_node_the_server_behind_it_and_the_authorization_server);
fn one_trace_spans_the_call_the_node_the_server_behind_it_and_the_authorization_server(db: Db) {
    let collector = Collector::start();
    let wishes = Wishes {
        server: Some(UNLIMITED_SERVER.to_owned() + &collector.section("")),
        node: Some(behind() + UNLIMITED_NODE + &collector.section("sample_ratio = 1.0")),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let client = fleet.client(&["--scopes", SCOPES]);
    let token = token(&fleet, &client);
    let meta = told(&fleet, &token, Some(PARENT));
    let seen = meta["traceparent"].as_str().unwrap_or_else(|| panic!("{meta}"));
    // The same trace; the node's own span is what the server behind it continues.
    assert_eq!(&seen[..36], &PARENT[..36]);
    assert_ne!(seen, PARENT);
    let trace = u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes();
    let span = u64::from_str_radix(&seen[36..52], 16).unwrap().to_be_bytes();
    collector.wait_for(&[&trace, b"authz-server", b"POST /oauth/token"]);
    collector.wait_for(&[&trace, &span, b"mcp-node", b"POST /mcp"]);
    // Who names no trace begins one.
    let other = told(&fleet, &token, None);
    let other = other["traceparent"].as_str().unwrap();
    assert_ne!(&other[3..35], TRACE);
    let own = u128::from_str_radix(&other[3..35], 16).unwrap().to_be_bytes();
    collector.wait_for(&[&own, b"mcp-node"]);
    // LOG-01: no secret is in a span.
    for body in collector.bodies() {
        let leak = fleet.leak_in(&String::from_utf8_lossy(&body));
        assert!(leak.is_none(), "{leak:?}");
    }
}

both!(without_a_collector_a_trace_of_others_is_passed_on_and_none_is_made);
fn without_a_collector_a_trace_of_others_is_passed_on_and_none_is_made(db: Db) {
    let wishes = Wishes {
        node: Some(behind() + UNLIMITED_NODE),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let token = token(&fleet, &fleet.client(&["--scopes", SCOPES]));
    assert_eq!(told(&fleet, &token, Some(PARENT))["traceparent"], PARENT);
    assert!(told(&fleet, &token, None)["traceparent"].is_null());
}
