//! Two thousand clients that go away in the middle of what they asked for (CON-14, LOAD-11, LOAD-12): nothing of them stays.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use blackbox::forge;
use blackbox::session::Session;
use serde_json::{Value, json};
use xtask::http::{Request, Url};

use super::Behind;

const CLIENTS: usize = 2000;
const THREADS: usize = 8;

/// A number of `/metrics`.
fn metric(behind: &Behind, name: &str) -> u64 {
    let text = behind.lone.get("/metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    number.trim().parse().unwrap()
}

fn in_use(behind: &Behind, limit: &str, tool: &str) -> u64 {
    metric(
        behind,
        &format!("edge_hive_node_limit_in_use{{limit=\"{limit}\",tool=\"{tool}\"}}"),
    )
}

fn memory(behind: &Behind) -> u64 {
    // The meter looks once a second.
    std::thread::sleep(Duration::from_millis(1100));
    let status = behind.call("get_status", &json!({}));
    status["structuredContent"]["load"]["memory_bytes"]
        .as_u64()
        .unwrap()
}

fn open_files(behind: &Behind) -> usize {
    let id = behind.lone.id();
    std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count()
}

fn call(behind: &Behind, token: &str, tool: &str) -> Vec<u8> {
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    let params = json!({"name": tool, "arguments": {}, "_meta": meta});
    let request = Request::post(&behind.lone.node.url()).unwrap().bearer(token);
    request
        .header("Accept", "application/json, text/event-stream")
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", "tools/call")
        .header("Mcp-Name", tool)
        .json(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}))
        .bytes(false)
}

/// Each of so many callers, on `THREADS` threads at a time.
fn each(clients: usize, go: impl Fn(usize) + Sync) {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let go = &go;
            scope.spawn(move || (thread..clients).step_by(THREADS).for_each(go));
        }
    });
}

#[test]
fn con_14_two_thousand_clients_that_go_away_leave_nothing() {
    let behind = Behind::start(&[], "concurrency = 16\n[mcp]\nsessions = \"on\"\n");
    let socket = Url::parse(&behind.lone.node.url()).unwrap().socket();
    // Of 200 people, so that no share is used up by one.
    let tokens: Vec<String> = (0..200)
        .map(|n| {
            let claims = forge::with(&behind.lone.claims(), "sub", json!(format!("person-{n}")));
            behind.lone.ed.token(&claims)
        })
        .collect();
    let leave = |n: usize| {
        let mut stream = TcpStream::connect(&*socket).unwrap();
        let token = &tokens[n % tokens.len()];
        // A call that never ends, a call that does, a stream, half a request.
        let bytes = match n % 4 {
            0 => call(&behind, token, "odd_hang"),
            1 => call(&behind, token, "get_status"),
            2 => {
                let url = format!("{}/stream", behind.lone.node.url());
                Request::new("GET", &url).unwrap().bearer(token).bytes(false)
            }
            _ => {
                let whole = call(&behind, token, "get_status");
                whole[..whole.len() - 20].to_vec()
            }
        };
        stream.write_all(&bytes).unwrap();
        if n.is_multiple_of(8) {
            // Some wait for the first byte.
            stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            drop(stream.read(&mut [0; 1]));
        }
    };
    let settles = |what: &str| {
        behind.until(what, |behind| {
            let left = [("calls", ""), ("streams", ""), ("upstream_calls", "odd_*")];
            left.iter().all(|(limit, tool)| in_use(behind, limit, tool) == 0)
        });
    };
    // Once, so that everything is there that stays anyway.
    each(CLIENTS / 4, leave);
    settles("the first have gone");
    let (files, before) = (open_files(&behind), memory(&behind));
    each(CLIENTS, leave);
    settles("all have gone");
    behind.until("their connections are closed", |behind| {
        open_files(behind) <= files + 8
    });
    let after = memory(&behind);
    assert!(after < before + (24 << 20), "{before} {after}");
    // And there is room for everybody, at the node and behind it.
    assert_eq!(behind.call("odd_sum", &json!({}))["structuredContent"]["sum"], 3);
    assert_eq!(behind.upstream()["restarts"], 0);
}

#[test]
fn sessions_are_shown_in_the_metrics_and_go_with_their_clients() {
    let behind = Behind::start(
        &[],
        "[mcp]\nsessions = \"on\"\nmax_sessions = 5\nsessions_per_caller = 2\nsession_idle = \"2s\"\nhttp_sse = true\n",
    );
    let url = behind.lone.node.url();
    let sessions: Vec<Session> = (0..2)
        .map(|_| Session::begin(&url, &behind.token, &json!({})))
        .collect();
    assert_eq!(in_use(&behind, "sessions", ""), 2);
    // One more of the same caller ends its oldest.
    let third = Session::begin(&url, &behind.token, &json!({}));
    assert_eq!(in_use(&behind, "sessions", ""), 2);
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    assert_eq!(
        (sessions[0].post(&ping).status, third.post(&ping).status),
        (404, 200)
    );
    for (limit, number) in [
        ("sessions", 5),
        ("sessions_per_caller", 2),
        ("pairs", 5),
        ("body_bytes", 1 << 20),
        ("call_seconds", 300),
        ("approvals", 1000),
    ] {
        let line = format!("edge_hive_node_limit{{limit=\"{limit}\",tool=\"\"}}");
        assert_eq!(metric(&behind, &line), number, "{limit}");
    }
    assert_eq!(
        metric(
            &behind,
            "edge_hive_node_limit{limit=\"upstream_calls\",tool=\"odd_*\"}"
        ),
        64
    );
    behind.until("nothing happens in them", |behind| {
        in_use(behind, "sessions", "") == 0
    });
}

#[test]
fn load_11_readers_that_never_read_cost_their_own_streams_only() {
    let behind = Behind::start(&[], "");
    let url = format!("{}/stream", behind.lone.node.url());
    let request = Request::new("GET", &url)
        .unwrap()
        .bearer(&behind.token)
        .bytes(false);
    let socket = Url::parse(&url).unwrap().socket();
    let before = memory(&behind);
    let stuck: Vec<TcpStream> = (0..16)
        .map(|_| {
            let mut stream = TcpStream::connect(&*socket).unwrap();
            stream.write_all(&request).unwrap();
            let mut head = [0; 12];
            stream.read_exact(&mut head).unwrap();
            assert_eq!(&head, b"HTTP/1.1 200");
            stream
        })
        .collect();
    for _ in 0..500 {
        behind.text("odd_change");
    }
    let after = memory(&behind);
    assert!(after < before + (16 << 20), "{before} {after}");
    assert_eq!(in_use(&behind, "streams", ""), 16);
    drop(stuck);
    behind.until("their seats come back", |behind| {
        in_use(behind, "streams", "") == 0
    });
}

#[test]
fn load_12_names_that_callers_make_up_fill_nothing() {
    let behind = Behind::start(&[], "[mcp]\nsessions = \"on\"\n");
    let made_up = |n: usize| {
        let word = format!("{n}-{}", "x".repeat(64));
        let node = &behind.lone;
        let claims = forge::with(&node.claims(), "sub", json!(word));
        let claims = forge::with(
            &forge::with(&claims, "jti", json!(word)),
            "client_id",
            json!(word),
        );
        let header = json!({"alg": "EdDSA", "kid": word, "typ": "at+jwt"});
        let unknown_key = node.ed.sign(&header, &claims);
        assert_eq!(node.call(&unknown_key).status, 401);
        let good = node.ed.token(&claims);
        let rpc = |method: &str, name: Option<&str>, params: Value| {
            let request = xtask::journey::modern(&node.node.url(), method, params)
                .unwrap()
                .bearer(&good);
            let request = name.map_or(request.clone(), |name| request.header("Mcp-Name", name));
            request.header("User-Agent", &word).send().unwrap()
        };
        rpc("tools/call", Some(&word), json!({"name": word, "arguments": {}}));
        rpc("resources/read", Some(&word), json!({"uri": word}));
        rpc(&word, None, json!({}));
        let elsewhere = format!("http://localhost:{}/{word}?{word}", node.node.port);
        assert_eq!(xtask::http::get(&elsewhere).unwrap().status, 404);
    };
    each(100, made_up);
    // The first look is counted too.
    assert_eq!(behind.lone.get("/metrics").status, 200);
    let (before, lines) = (
        memory(&behind),
        behind.lone.get("/metrics").text().lines().count(),
    );
    each(500, |n| made_up(n + 100));
    let after = memory(&behind);
    assert!(after < before + (24 << 20), "{before} {after}");
    let more = behind.lone.get("/metrics").text().lines().count();
    assert!(more <= lines + 4, "{lines} {more}");
}
