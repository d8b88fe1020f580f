//! A server over Streamable HTTP behind the node.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::Behind;

type Headers = BTreeMap<String, String>;

/// A server of 2025-11-25 without sessions; what came with each `tools/call` is kept.
struct Far {
    url: String,
    calls: Arc<Mutex<Vec<(Headers, Value)>>>,
}

impl Far {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let calls = Arc::<Mutex<Vec<_>>>::default();
        let kept = Arc::clone(&calls);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &kept);
            }
        });
        Self { url, calls }
    }
}

fn answer(mut stream: TcpStream, calls: &Mutex<Vec<(Headers, Value)>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let is_post = line.starts_with("POST ");
    let mut headers = Headers::new();
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let result = match message["method"].as_str().unwrap_or_default() {
        "initialize" => Some(json!({
            "protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "far", "version": "1"},
        })),
        "ping" => Some(json!({})),
        "tools/list" => Some(json!({"tools": [{"name": "told", "inputSchema": {"type": "object"}}]})),
        "tools/call" => {
            calls.lock().unwrap().push((headers, message["params"].clone()));
            Some(json!({"content": [{"type": "text", "text": "heard"}]}))
        }
        _ => None,
    };
    let (status, body) = match result {
        Some(result) => (
            "200 OK",
            json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string(),
        ),
        None if !is_post => ("405 Method Not Allowed", String::new()),
        None if message["id"].is_null() => ("202 Accepted", String::new()),
        None => {
            let error = json!({"code": -32601, "message": "unknown"});
            (
                "200 OK",
                json!({"jsonrpc": "2.0", "id": message["id"], "error": error}).to_string(),
            )
        }
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // Whoever hangs up early does not want it.
    stream.write_all(format!("{head}{body}").as_bytes()).ok();
}

#[test]
fn behind_40_identity_in_headers_and_a_credential_of_its_own() {
    let far = Far::start();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "Bearer of-the-node\n").unwrap();
    let behind = Behind::before(&format!(
        "url = \"{}\"\nidentity = \"headers\"\nheader_files = {{ Authorization = {key:?} }}\n",
        far.url
    ));
    assert_eq!(behind.text("odd_told"), "heard");
    let calls = far.calls.lock().unwrap();
    let (headers, params) = &calls[0];
    let claims = behind.lone.claims();
    assert_eq!(headers["authorization"], "Bearer of-the-node");
    assert_eq!(headers["edge-hive-subject"], claims["sub"].as_str().unwrap());
    assert_eq!(
        headers["edge-hive-client-id"],
        claims["client_id"].as_str().unwrap()
    );
    assert_eq!(headers["edge-hive-issuer"], claims["iss"].as_str().unwrap());
    assert!(
        headers["edge-hive-scopes"]
            .split(' ')
            .any(|scope| scope == "mcp:call")
    );
    assert!(params["_meta"]["edge-hive/caller"].is_null(), "{params}");
    let everything = format!("{headers:?} {params}");
    assert!(!everything.contains(&behind.token), "{everything}");
    assert!(!behind.lone.log().contains("of-the-node"));
    let status = behind.call("get_status", &json!({})).to_string();
    assert!(
        !status.contains("of-the-node") && !status.contains(&far.url),
        "{status}"
    );
}

#[test]
fn behind_41_nobody_listens_there() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let behind = Behind::before(&format!("url = \"http://127.0.0.1:{port}/mcp\""));
    behind.until("the server is down", |behind| {
        behind.upstream()["state"] == "down"
    });
    let status = behind.upstream();
    assert_eq!(status["fault"], "it cannot be reached", "{status}");
}
