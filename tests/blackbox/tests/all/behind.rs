//! Servers behind the node: what passes through, and what a server can do that misbehaves.

mod crowd;
mod faults;
mod follow;
mod http;
mod identity;
mod questions;

use blackbox::lone_node::LoneNode;
use serde_json::{Value, json};
use xtask::http::{Answer, Request};
use xtask::journey::{self, modern};

/// A node with the misbehaving server behind it, under the prefix `odd`.
struct Behind {
    lone: LoneNode,
    token: String,
}

impl Behind {
    /// `words` for the server's command line, `more` for its table.
    fn start(words: &[&str], more: &str) -> Self {
        let program = env!("CARGO_BIN_EXE_odd-upstream");
        Self::before(&format!("command = \"{program}\"\nargs = {words:?}\n{more}\n"))
    }

    /// `place` says where the server is.
    fn before(place: &str) -> Self {
        let table = format!("\n[[upstream]]\nname = \"odd\"\n{place}\n");
        let lone = LoneNode::start(&table);
        let token = lone.good_token();
        Self { lone, token }
    }

    fn rpc(&self, method: &str, params: Value) -> Value {
        let request = modern(&self.lone.node.url(), method, params).unwrap();
        let request = match method {
            "resources/read" | "prompts/get" | "tools/call" => unreachable!("{method} mirrors a name"),
            _ => request.bearer(&self.token),
        };
        request.send().unwrap().json().unwrap()
    }

    /// A request whose name or URI is mirrored in a header; members of `_meta` are added to those of the revision.
    fn named(&self, method: &str, name: &str, mut params: Value) -> Answer {
        let own = params.as_object_mut().and_then(|params| params.remove("_meta"));
        let mut meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
        });
        for (key, value) in own.iter().flat_map(|own| own.as_object().unwrap()) {
            meta[key] = value.clone();
        }
        params["_meta"] = meta;
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        let request = Request::post(&self.lone.node.url()).unwrap().bearer(&self.token);
        request
            .header("Accept", "application/json, text/event-stream")
            .header("MCP-Protocol-Version", "2026-07-28")
            .header("Mcp-Method", method)
            .header("Mcp-Name", name)
            .json(&body)
            .send()
            .unwrap()
    }

    /// What comes of a call of 2026-07-28 by a caller with these capabilities; `more` are further parameters.
    fn round(&self, tool: &str, capabilities: Value, more: &Value) -> Value {
        let meta = json!({"io.modelcontextprotocol/clientCapabilities": capabilities});
        let mut params = json!({"name": tool, "arguments": {}, "_meta": meta});
        for (key, value) in more.as_object().unwrap() {
            params[key] = value.clone();
        }
        self.named("tools/call", tool, params).json_or_event().unwrap()
    }

    /// The `result` of a call, whatever it says.
    fn call(&self, tool: &str, arguments: &Value) -> Value {
        let answer = journey::tool_call(&self.lone.node.url(), tool, arguments, Some(&self.token)).unwrap();
        let answer = answer.json_or_event().unwrap();
        assert!(answer["result"].is_object(), "{answer}");
        answer["result"].clone()
    }

    /// The text of a call's result, which must be a good one.
    fn text(&self, tool: &str) -> String {
        let result = self.call(tool, &json!({}));
        assert_ne!(result["isError"], true, "{result}");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }

    /// What the call says went wrong.
    fn error(&self, tool: &str) -> String {
        let result = self.call(tool, &json!({}));
        assert_eq!(result["isError"], true, "{result}");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }

    /// The text of a call's result as JSON.
    fn told(&self, tool: &str) -> Value {
        serde_json::from_str(&self.text(tool)).unwrap()
    }

    fn tools(&self) -> Vec<Value> {
        let list = self.rpc("tools/list", json!({}));
        list["result"]["tools"].as_array().unwrap().clone()
    }

    fn tool_names(&self) -> Vec<String> {
        let tools = self.tools();
        tools
            .iter()
            .map(|tool| tool["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// How the node says that the server is.
    fn upstream(&self) -> Value {
        self.call("get_status", &json!({}))["structuredContent"]["upstreams"][0].clone()
    }

    /// Waits until `done` says so; a fault of the node is not waited for longer than a minute.
    fn until(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let began = std::time::Instant::now();
        while !done(self) {
            assert!(began.elapsed().as_secs() < 60, "not within a minute: {what}");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

#[test]
fn behind_01_names_uris_and_schemas() {
    let behind = Behind::start(&[], "");
    let names = behind.tool_names();
    assert_eq!(&names[..3], ["get_status", "list_peers", "odd_echo"]);
    let tools = behind.tools();
    let sum = tools.iter().find(|tool| tool["name"] == "odd_sum").unwrap();
    let schema = json!({"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]});
    assert_eq!(sum["outputSchema"], schema);
    assert_eq!(sum["inputSchema"], json!({"type": "object"}));

    let result = behind.call("odd_sum", &json!({}));
    assert_eq!(result["structuredContent"], json!({"sum": 3}), "{result}");
    let arguments = json!({"b": [1, {"c": null}], "a": "é"});
    let echoed = behind.call("odd_echo", &arguments);
    let echoed: Value = serde_json::from_str(echoed["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(echoed["params"]["arguments"], arguments);
    assert_eq!(echoed["params"]["name"], "echo");

    let resources = behind.rpc("resources/list", json!({}));
    let uris: Vec<_> = resources["result"]["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["uri"])
        .collect();
    assert!(uris.contains(&&json!("odd+odd://one")), "{resources}");
    let templates = behind.rpc("resources/templates/list", json!({})).to_string();
    assert!(templates.contains("odd+odd://any/{x}"), "{templates}");
    let uri = "odd+odd://any/7";
    let read = behind
        .named("resources/read", uri, json!({"uri": uri}))
        .json()
        .unwrap();
    assert_eq!(
        read["result"]["contents"],
        json!([{"uri": uri, "text": "odd://any/7"}]),
        "{read}"
    );

    let prompts = behind.rpc("prompts/list", json!({}));
    assert_eq!(prompts["result"]["prompts"], json!([{"name": "odd_hello"}]));
    let prompt = behind
        .named("prompts/get", "odd_hello", json!({"name": "odd_hello"}))
        .json()
        .unwrap();
    assert_eq!(
        prompt["result"]["messages"][0]["content"]["text"], "hello",
        "{prompt}"
    );
}

#[test]
fn behind_02_plain_json_has_the_same() {
    let behind = Behind::start(&[], "");
    let base = behind.lone.node.url();
    let call = Request::post(&format!("{base}/tools/call")).unwrap();
    let body = json!({"name": "odd_sum", "arguments": {}});
    let answer = call.bearer(&behind.token).json(&body).send().unwrap();
    assert_eq!(
        (answer.status, &answer.json().unwrap()["structuredContent"]["sum"]),
        (200, &json!(3))
    );
    let read = Request::new("GET", &format!("{base}/resources/odd%2Bodd%3A%2F%2Fone")).unwrap();
    let answer = read.bearer(&behind.token).send().unwrap();
    assert_eq!(
        answer.json().unwrap()["contents"][0]["text"],
        "odd://one",
        "{answer}"
    );
    let call = Request::post(&format!("{base}/tools/call")).unwrap();
    let answer = call
        .bearer(&behind.token)
        .json(&json!({"name": "odd_none"}))
        .send()
        .unwrap();
    assert_eq!(answer.status, 404, "{answer}");
}

#[test]
fn behind_03_progress_and_log_reach_the_caller_in_order() {
    let behind = Behind::start(&[], "");
    let version = "io.modelcontextprotocol/logLevel";
    let mut params =
        json!({"name": "odd_steps", "arguments": {}, "_meta": {"progressToken": "mine", version: "debug"}});
    params["_meta"][version] = "debug".into();
    let answer = behind.named("tools/call", "odd_steps", params);
    let events: Vec<Value> = answer
        .text()
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?.trim()).ok())
        .collect();
    let steps: Vec<_> = events
        .iter()
        .filter(|event| event["method"] == "notifications/progress")
        .map(|event| {
            (
                &event["params"]["progressToken"],
                &event["params"]["progress"],
                &event["params"]["message"],
            )
        })
        .map(|(token, progress, message)| (token.clone(), progress.as_f64().unwrap(), message.clone()))
        .collect();
    let step = |number: u32| (json!("mine"), f64::from(number), json!(format!("step {number}")));
    assert_eq!(steps, [step(1), step(2), step(3)], "{answer}");
    let log = events
        .iter()
        .find(|event| event["method"] == "notifications/message")
        .unwrap();
    assert_eq!(log["params"]["data"], json!({"at": "steps"}));
    assert_eq!(
        events.last().unwrap()["result"]["content"][0]["text"],
        "done",
        "{answer}"
    );
}

#[test]
fn behind_04_a_list_that_changes() {
    let behind = Behind::start(&[], "");
    assert!(!behind.tool_names().contains(&"odd_new".to_owned()));
    behind.text("odd_change");
    behind.until("the new tool is listed", |behind| {
        behind.tool_names().contains(&"odd_new".to_owned())
    });
}

#[test]
fn behind_05_a_question_in_the_middle_of_a_call() {
    let behind = Behind::start(&[], "");
    let call = |more: Value| behind.round("odd_ask", json!({"elicitation": {}}), &more);
    let asked = call(json!({}));
    let asked = &asked["result"];
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    assert_eq!(
        asked["inputRequests"]["question"]["params"]["message"],
        "Your name?"
    );
    let answers = json!({"question": {"action": "accept", "content": {"name": "Noor"}}});
    // What another caller made of it, or somebody who guesses, opens nothing.
    let forged = call(json!({"inputResponses": answers, "requestState": "s1.AAAA"}));
    assert_eq!(forged["error"]["code"], -32602, "{forged}");
    let state = asked["requestState"].clone();
    let answered = call(json!({"inputResponses": answers, "requestState": state}));
    let text = answered["result"]["content"][0]["text"].as_str().unwrap();
    let told: Value = serde_json::from_str(text).unwrap();
    assert_eq!(told["result"], answers["question"], "{answered}");
    // It is used up.
    let again = call(json!({"inputResponses": answers, "requestState": state}));
    assert_eq!(again["error"]["code"], -32602, "{again}");

    // A caller that cannot be asked is not asked, and the server gets to know.
    let told = behind.told("odd_ask");
    assert!(
        told["result"].is_null() && told["error"]["code"].is_i64(),
        "{told}"
    );
}
