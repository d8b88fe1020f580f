//! The gate of a node behind its door: rules about tools and arguments, lists, limits, and the log of what was decided.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use blackbox::answers::{granted, refused_403, retry_after};
use blackbox::forge;
use blackbox::lone_node::LoneNode;
use serde_json::{Value, json};
use xtask::http::{Answer, Request, Url};
use xtask::journey::{modern, tool_call};

fn token(node: &LoneNode, scope: &str) -> String {
    node.ed.token(&forge::with(&node.claims(), "scope", json!(scope)))
}

fn call(node: &LoneNode, token: &str, tool: &str, arguments: Value) -> Answer {
    tool_call(&node.node.url(), tool, &arguments, Some(token)).unwrap()
}

fn plain(node: &LoneNode, token: &str, body: &Value) -> Answer {
    let url = format!("{}/tools/call", node.node.url());
    let request = Request::post(&url).unwrap().bearer(token);
    request.json(body).send().unwrap()
}

fn ask(node: &LoneNode, token: &str, method: &str) -> Value {
    let request = modern(&node.node.url(), method, json!({})).unwrap();
    granted(&request.bearer(token).send().unwrap())["result"].clone()
}

/// Waits for what another process does.
fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < Duration::from_secs(30), "in vain: {what}");
        std::thread::yield_now();
    }
}

const RULES: &str = r#"
[scopes.tools]
"get_*" = "status"
[scopes.resources]
"edge-hive://logs/*" = "logs"
[scopes.implies]
"mcp:tools:execute" = "mcp:call"
[[scopes.rule]]
tool = "get_status"
when = 'has(arguments.path) && arguments.path.startsWith("/etc")'
needs = "mcp:admin"
[[scopes.rule]]
name = "no keys"
tool = "*"
when = 'has(arguments.path) && arguments.path.contains("id_rsa")'
deny = true
"#;

#[test]
fn mcp_03_mcp_05_tools_and_arguments_ask_for_more_and_the_challenge_names_all_of_it() {
    let node = LoneNode::start(RULES);
    let some = token(&node, "mcp:call status");
    granted(&call(&node, &some, "get_status", json!({})));
    // The tool takes no arguments, and says so itself: it was reached.
    let reached = |answer: &Answer| granted(answer)["result"]["isError"] == true;
    assert!(reached(&call(
        &node,
        &some,
        "get_status",
        json!({"path": "/srv"})
    )));

    let nothing = token(&node, "mcp:read");
    refused_403(&call(&node, &nothing, "list_peers", json!({})), "mcp:call");
    refused_403(&call(&node, &nothing, "get_status", json!({})), "mcp:call status");
    let etc = json!({"path": "/etc/passwd"});
    let all = "mcp:admin mcp:call status";
    for granted_scope in ["mcp:read", "mcp:call status", "mcp:admin status"] {
        let token = token(&node, granted_scope);
        let answer = call(&node, &token, "get_status", etc.clone());
        refused_403(&answer, all);
        assert_eq!(answer.json().unwrap()["error"]["data"]["scope"], all);
        let answer = plain(&node, &token, &json!({"name": "get_status", "arguments": etc}));
        refused_403(&answer, all);
    }
    assert!(reached(&call(
        &node,
        &token(&node, all),
        "get_status",
        etc.clone()
    )));
    assert_eq!(
        plain(
            &node,
            &token(&node, all),
            &json!({"name": "get_status", "arguments": etc})
        )
        .status,
        200
    );

    // Nothing helps against a rule that denies, however the argument is written.
    for path in [r#""/x/id_rsa""#, r#""/x/id\u005frsa""#] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"get_status","arguments":{{"path":{path}}}}}}}"#
        );
        let request = Request::post(&node.node.url()).unwrap();
        let request = request
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/event-stream");
        let answer = request
            .bearer(&token(&node, &format!("{all} mcp:*")))
            .body(body)
            .send()
            .unwrap();
        assert_eq!(answer.status, 403, "{answer}");
        assert!(answer.header("www-authenticate").is_none(), "{answer}");
        let refusal = answer.json().unwrap();
        assert_eq!(
            (
                &refusal["id"],
                &refusal["error"]["code"],
                &refusal["error"]["data"]["error"]
            ),
            (&json!(7), &json!(403), &json!("access_denied"))
        );
    }
}

#[test]
fn mcp_04_scopes_that_contain_others_are_accounted_for() {
    let node = LoneNode::start(RULES);
    for scope in ["mcp:*", "mcp:tools:execute", "mcp:tools:*", "mcp:call"] {
        granted(&call(&node, &token(&node, scope), "list_peers", json!({})));
    }
    for scope in ["mcp", "*", "mcp:tools", "mcp:callx", "xmcp:*"] {
        refused_403(
            &call(&node, &token(&node, scope), "list_peers", json!({})),
            "mcp:call",
        );
    }
}

#[test]
fn mcp_05_mcp_29_lists_leave_out_what_the_caller_may_not_use() {
    let node = LoneNode::start(RULES);
    let seen = |scope: &str| {
        let token = token(&node, scope);
        let mut names = Vec::new();
        for (method, list, name) in [
            ("tools/list", "tools", "name"),
            ("resources/list", "resources", "uri"),
            ("resources/templates/list", "resourceTemplates", "uriTemplate"),
        ] {
            let result = ask(&node, &token, method);
            assert_eq!(result["cacheScope"], "private", "{method}");
            let items = result[list].as_array().unwrap();
            names.extend(items.iter().map(|item| item[name].as_str().unwrap().to_owned()));
        }
        names
    };
    assert_eq!(seen("mcp:read"), ["list_peers", "edge-hive://status"]);
    assert_eq!(
        seen("mcp:read status logs"),
        [
            "get_status",
            "list_peers",
            "edge-hive://status",
            "edge-hive://logs/node",
            "edge-hive://logs/{name}"
        ]
    );
    let read = |scope: &str| {
        let url = format!("{}/resources/edge-hive%3A%2F%2Flogs%2Fnode", node.node.url());
        Request::new("GET", &url)
            .unwrap()
            .bearer(&token(&node, scope))
            .send()
            .unwrap()
    };
    refused_403(&read("mcp:read"), "logs mcp:read");
    granted(&read("mcp:read logs"));
}

fn limited(answer: &Answer, policy: &str) {
    assert_eq!(answer.status, 429, "{answer}");
    assert!(retry_after(answer) <= 3600, "{answer}");
    let told = answer.header("ratelimit-policy").unwrap();
    assert!(told.starts_with(&format!("\"{policy}\";q=")), "{told}");
    assert!(answer.header("ratelimit").unwrap().contains("r=0"), "{answer}");
}

#[test]
fn load_13_each_limit_is_told_in_the_form_of_mcp_and_holds_only_whom_it_means() {
    let node = LoneNode::start(
        "[limits]\nper_ip = \"off\"\nper_client = \"6/h\"\nstreams_per_subject = 1\n\
         [[limits.tool]]\ntool = \"get_*\"\nrate = \"2/h\"\nbody = \"1KiB\"\n",
    );
    let as_client = |client: &str| {
        let claims = forge::with(&node.claims(), "client_id", json!(client));
        node.ed.token(&forge::with(&claims, "sub", json!(client)))
    };
    let (eager, calm) = (as_client("eager"), as_client("calm"));
    let large = json!({"padding": "x".repeat(2000)});
    let answer = call(&node, &eager, "get_status", large);
    assert_eq!(answer.status, 413, "{answer}");
    assert_eq!(answer.json().unwrap()["error"]["code"], 413);
    for _ in 0..2 {
        granted(&call(&node, &eager, "get_status", json!({})));
    }
    let answer = call(&node, &eager, "get_status", json!({}));
    limited(&answer, "tool");
    let error = answer.json().unwrap();
    assert_eq!(
        (
            &error["id"],
            &error["error"]["code"],
            &error["error"]["data"]["error"]
        ),
        (&json!(1), &json!(429), &json!("tool_rate"))
    );
    granted(&call(&node, &eager, "list_peers", json!({})));
    granted(&call(&node, &calm, "get_status", json!({})));
    // The client as a whole: the message has not been read then, so its id is not known.
    granted(&call(&node, &eager, "list_peers", json!({})));
    let answer = call(&node, &eager, "list_peers", json!({}));
    limited(&answer, "client");
    let error = answer.json().unwrap();
    assert_eq!((error.get("id"), &error["error"]["code"]), (None, &json!(429)));
    let answer = plain(&node, &eager, &json!({"name": "list_peers"}));
    limited(&answer, "client");
    assert_eq!(answer.json().unwrap()["error"], "temporarily_unavailable");
    granted(&plain(&node, &calm, &json!({"name": "list_peers"})));
}

#[test]
fn load_13_streams_have_seats_that_are_given_back() {
    let node = LoneNode::start("[limits]\nper_ip = \"off\"\nper_client = \"off\"\nstreams_per_subject = 1\n");
    let subscriber = token(&node, "mcp:subscribe");
    let url = format!("{}/stream", node.node.url());
    let request = Request::new("GET", &url).unwrap().bearer(&subscriber);
    let open = || {
        let mut stream = TcpStream::connect(Url::parse(&url).unwrap().socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(&request.bytes(false)).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        (stream, head == *b"HTTP/1.1 200")
    };
    let (stream, is_open) = open();
    assert!(is_open);
    limited(&request.send().unwrap(), "streams-per-subject");
    let metrics = node.get("/metrics").text();
    for line in [
        "edge_hive_node_limit{limit=\"streams_per_subject\",tool=\"\"} 1",
        "edge_hive_node_limit_in_use{limit=\"streams\",tool=\"\"} 1",
        "edge_hive_node_refusals_total{reason=\"streams_per_subject\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    // A call is no stream.
    granted(&node.call(&node.good_token()));
    drop(stream);
    until("the seat comes back", || open().1);
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let whole = text.lines().filter(|_| text.ends_with('\n') || text.is_empty());
    whole.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_decision_is_a_line_that_holds_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let (file, old) = (folder.path().join("audit.log"), folder.path().join("audit.log.1"));
    let node = LoneNode::start(&format!(
        "[audit]\nfile = {file:?}\n[scopes.tools]\nlist_peers = \"peers\"\n"
    ));
    let claims = forge::with(&node.claims(), "act", json!({"sub": "agent"}));
    let token = node
        .ed
        .token(&forge::with(&claims, "client_name", json!("Night shift")));
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let secret = json!({"note": "hush", "a": 1});
    let request = modern(
        &node.node.url(),
        "tools/call",
        json!({"name": "get_status", "arguments": secret}),
    )
    .unwrap();
    let request = request
        .header("Mcp-Name", "get_status")
        .header("traceparent", traceparent);
    granted(&request.bearer(&token).send().unwrap());
    refused_403(&call(&node, &token, "list_peers", json!({})), "mcp:call peers");
    assert_eq!(call(&node, &token, "no_such_tool", json!({})).status, 200);
    // Another token's signature.
    let (signed, _) = token.rsplit_once('.').unwrap();
    let tampered = format!("{signed}.{}", node.good_token().rsplit('.').next().unwrap());
    assert_eq!(call(&node, &tampered, "get_status", json!({})).status, 401);
    assert_eq!(plain(&node, &token, &json!({"name": "get_status"})).status, 200);
    until("five lines", || lines(&file).len() == 5);
    let told = lines(&file);
    let first = &told[0];
    for (name, expected) in [
        ("issuer", json!(node.issuer.url)),
        ("subject", claims["sub"].clone()),
        ("client_id", claims["client_id"].clone()),
        ("client_name", json!("Night shift")),
        ("act", json!({"sub": "agent"})),
        ("token_id", claims["jti"].clone()),
        ("method", json!("tools/call")),
        ("tool", json!("get_status")),
        // printf '{"a":1,"note":"hush"}' | openssl dgst -sha256 -binary | basenc --base64url
        (
            "arguments_sha256",
            json!("2hz9YEBRUOqyXLpKq3flOEAuZ9s6JrJ5rA0fH60r4NU"),
        ),
        ("decision", json!("allowed")),
        ("outcome", json!("tool_error")),
        ("address", json!("127.0.0.1")),
        ("traceparent", json!(traceparent)),
    ] {
        assert_eq!(first[name], expected, "{name}: {first}");
    }
    assert!(first["duration_ms"].as_f64().unwrap() >= 0.0 && first["time"].as_str().unwrap().ends_with('Z'));
    let outcomes: Vec<_> = told
        .iter()
        .map(|line| {
            (
                line["decision"].as_str().unwrap(),
                line["outcome"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        outcomes,
        [
            ("allowed", "tool_error"),
            ("denied", "insufficient_scope"),
            ("allowed", "failed"),
            ("denied", "signature"),
            ("allowed", "ok"),
        ]
    );
    let text = std::fs::read_to_string(&file).unwrap();
    let signature = token.rsplit('.').next().unwrap();
    assert!(!text.contains("hush") && !text.contains(signature), "{text}");

    // logrotate: the file is moved away, and the node told to begin a new one.
    std::fs::rename(&file, &old).unwrap();
    node.signal("HUP");
    until("the new file", || file.exists());
    granted(&call(&node, &token, "get_status", json!({})));
    until("its line", || lines(&file).len() == 1);
    assert_eq!(lines(&old).len(), 5);
}

#[test]
fn without_its_log_a_node_does_nothing_until_there_is_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let (link, file) = (
        folder.path().join("audit.log"),
        folder.path().join("elsewhere.log"),
    );
    std::os::unix::fs::symlink("/dev/full", &link).unwrap();
    let node = LoneNode::start(&format!("[audit]\nfile = {link:?}\n"));
    let token = node.good_token();
    granted(&node.call(&token));
    let mut refused = None;
    until("the disk is found full", || {
        let answer = node.call(&token);
        let is_refused = answer.status != 200;
        refused = is_refused.then_some(answer);
        is_refused
    });
    let refused = refused.unwrap();
    assert_eq!(refused.status, 503, "{refused}");
    assert_eq!(
        refused.json().unwrap()["error"]["data"]["error"],
        "audit_unavailable"
    );
    assert!(retry_after(&refused) > 0);
    assert!(
        node.get("/metrics")
            .text()
            .contains("edge_hive_node_audit_failing 1")
    );
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    until("it works again", || node.call(&token).status == 200);
    until("no line is lost", || lines(&file).len() >= 2);

    let lax = LoneNode::start("[audit]\nfile = \"/dev/full\"\non_failure = \"continue\"\n");
    let token = lax.good_token();
    granted(&lax.call(&token));
    until("the loss is counted", || {
        granted(&lax.call(&token));
        let metrics = lax.get("/metrics").text();
        let lost = metrics
            .lines()
            .find_map(|line| line.strip_prefix("edge_hive_node_audit_lost_lines_total "));
        lost.is_some_and(|count| count != "0")
    });
}
