//! An MCP server that misbehaves when it is told to: what stands behind the node in its tests. It speaks the revisions
//! with `initialize` on its standard input and output, and knows nothing of the node.
//!
//! Words on its command line: `die-at-start`, `deaf` (dies of a method that it does not know, as old servers do),
//! `child` (starts another program), `no-duplicates` (nothing is left out of its lists), `modern` (speaks 2026-07-28),
//! `follows` (tells of resources that somebody waits for, and completes words).

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a program of the tests: what goes wrong here is a failed test"
)]

use std::io::{BufRead, Write};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| words.iter().any(|known| known == word);
    eprintln!("odd upstream: started");
    if has("die-at-start") {
        eprintln!("odd upstream: no configuration");
        std::process::exit(3);
    }
    let child = has("child").then(|| {
        let mut sleep = Command::new("sleep");
        sleep.arg("1000").stdin(Stdio::null()).spawn().unwrap()
    });
    let mut server = Server {
        child,
        deaf: has("deaf"),
        modern: has("modern"),
        follows: has("follows"),
        followed: Vec::new(),
        listening: None,
        cancelled: Vec::new(),
        unanswered: None,
        more_questions: 0,
        ran: 0,
        has_changed: false,
    };
    for line in std::io::stdin().lock().lines() {
        let message: Value = serde_json::from_str(&line.unwrap()).unwrap();
        server.hear(&message);
    }
    if let Some(mut child) = server.child {
        // It outlives this program, unless somebody ends it.
        child.try_wait().unwrap();
    }
}

struct Server {
    child: Option<Child>,
    deaf: bool,
    modern: bool,
    follows: bool,
    /// The resources that somebody waits for.
    followed: Vec<Value>,
    /// The id of `subscriptions/listen`, while that is open.
    listening: Option<Value>,
    cancelled: Vec<Value>,
    unanswered: Option<Value>,
    /// So many questions follow the one that was asked.
    more_questions: u32,
    /// How often a tool came to its end that asks something.
    ran: u32,
    has_changed: bool,
}

impl Server {
    fn hear(&mut self, message: &Value) {
        let (id, params) = (&message["id"], &message["params"]);
        if id == "question" && message["method"].is_null() {
            if self.more_questions > 0 {
                self.more_questions -= 1;
                return ask_name();
            }
            self.ran += 1;
            let told = json!({"content": [{"type": "text", "text": json!({"result": message["result"], "error": message["error"]}).to_string()}]});
            return answer(&self.unanswered.take().unwrap(), &told);
        }
        match message["method"].as_str().unwrap_or_default() {
            "server/discover" if self.modern => answer(
                id,
                &json!({
                    "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
                    "supportedVersions": ["2026-07-28"],
                    "capabilities": if self.follows { self.capabilities() } else { json!({"tools": {}}) },
                }),
            ),
            "subscriptions/listen" if self.follows && self.modern => {
                self.listen(id, &params["notifications"])
            }
            "resources/subscribe" if self.follows => {
                self.followed.push(params["uri"].clone());
                answer(id, &json!({}));
            }
            "resources/unsubscribe" if self.follows => {
                self.followed.retain(|uri| *uri != params["uri"]);
                answer(id, &json!({}));
            }
            "completion/complete" if self.follows => {
                let of = &params["ref"];
                let of = of["name"].as_str().or(of["uri"].as_str()).unwrap();
                let word = format!("{of}: {}", params["argument"]["value"].as_str().unwrap());
                answer(
                    id,
                    &json!({"resultType": "complete", "completion": {"values": [word]}}),
                );
            }
            "tools/list" if self.modern => {
                let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
                let tools = ["ask", "ran", "wait", "touch"].map(tool);
                answer(
                    id,
                    &json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "private", "tools": tools}),
                );
            }
            "tools/call" if self.modern && params["name"] == "ask" => self.ask_by_rounds(id, params),
            "initialize" => answer(
                id,
                &json!({
                    "protocolVersion": params["protocolVersion"],
                    "capabilities": self.capabilities(),
                    "serverInfo": {"name": "odd", "version": "1"},
                }),
            ),
            "ping" => answer(id, &json!({})),
            "tools/list" => answer(id, &self.tools(&params["cursor"])),
            "resources/list" => self.list(id, "resources", &json!([{"uri": "odd://one", "name": "one"}])),
            "resources/templates/list" => {
                let templates = json!([{"uriTemplate": "odd://any/{x}", "name": "any"}]);
                self.list(id, "resourceTemplates", &templates);
            }
            "resources/read" => {
                answer(
                    id,
                    &json!({"contents": [{"uri": params["uri"], "text": params["uri"]}]}),
                );
            }
            "prompts/list" => self.list(id, "prompts", &json!([{"name": "hello"}, {"name": "hello"}])),
            "prompts/get" => {
                let content = json!({"type": "text", "text": params["name"]});
                answer(id, &json!({"messages": [{"role": "user", "content": content}]}));
            }
            "tools/call" => self.call(id, params),
            "notifications/cancelled" => {
                if self.listening.as_ref() == Some(&params["requestId"]) {
                    self.listening = None;
                    self.followed.clear();
                }
                self.cancelled.push(params["requestId"].clone());
            }
            method if method.starts_with("notifications/") => {}
            _ if self.deaf => std::process::exit(4),
            _ => say(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "unknown"}})),
        }
    }

    fn capabilities(&self) -> Value {
        let mut capabilities =
            json!({"tools": {"listChanged": true}, "resources": {}, "prompts": {}, "logging": {}});
        if self.follows {
            capabilities["resources"]["subscribe"] = true.into();
            capabilities["completions"] = json!({});
        }
        capabilities
    }

    /// One page with everything.
    fn list(&self, id: &Value, member: &str, all: &Value) {
        let mut page = json!({ member: all });
        if self.modern {
            page["resultType"] = "complete".into();
            page["ttlMs"] = 0.into();
            page["cacheScope"] = "private".into();
        }
        answer(id, &page);
    }

    /// A stream of 2026-07-28: what is asked for is told until it is cancelled.
    fn listen(&mut self, id: &Value, wanted: &Value) {
        self.listening = Some(id.clone());
        self.followed = wanted["resourceSubscriptions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        self.tell("subscriptions/acknowledged", json!({"notifications": wanted}));
    }

    fn tell(&self, what: &str, mut params: Value) {
        if let Some(id) = &self.listening {
            params["_meta"] = json!({"io.modelcontextprotocol/subscriptionId": id});
        }
        say(&json!({"jsonrpc": "2.0", "method": format!("notifications/{what}"), "params": params}));
    }

    /// Two questions, one after the other, by results: what was answered comes back with each.
    fn ask_by_rounds(&mut self, id: &Value, params: &Value) {
        let round = params["requestState"].as_str().unwrap_or_default();
        if round == "2" {
            self.ran += 1;
            let told = json!([{"type": "text", "text": params["inputResponses"].to_string()}]);
            return answer(id, &json!({"resultType": "complete", "content": told}));
        }
        let question = json!({"method": "elicitation/create", "params": name_question()});
        let next = if round.is_empty() { "1" } else { "2" };
        answer(
            id,
            &json!({"resultType": "input_required", "inputRequests": {"name": question}, "requestState": next}),
        );
    }

    fn tools(&self, cursor: &Value) -> Value {
        let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
        if cursor.is_null() {
            let names = [
                "echo",
                "die",
                "hang",
                "freeze",
                "flood",
                "steps",
                "wait",
                "cancelled",
                "crosstalk",
                "change",
                "child",
                "ask",
                "ask_twice",
                "ran",
                "roots",
                "touch",
            ];
            let mut tools: Vec<Value> = names.into_iter().map(tool).collect();
            tools.push(
                json!({"name": "echo", "description": "the second", "inputSchema": {"type": "object"}}),
            );
            tools.push(tool("a bad name"));
            tools.push(json!({"name": "no_schema"}));
            tools.push(json!({"name": "bad_schema", "inputSchema": {"type": "object", "properties": 7}}));
            return json!({"tools": tools, "nextCursor": "2"});
        }
        let sum = json!({"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]});
        let mut tools = vec![
            json!({"name": "sum", "inputSchema": {"type": "object"}, "outputSchema": sum}),
            json!({"name": "lie", "inputSchema": {"type": "object"}, "outputSchema": sum}),
        ];
        if self.has_changed {
            tools.push(tool("new"));
        }
        json!({"tools": tools})
    }

    fn call(&mut self, id: &Value, params: &Value) {
        let text = |text: &str| json!({"content": [{"type": "text", "text": text}]});
        match params["name"].as_str().unwrap_or_default() {
            "echo" => {
                let environment: Vec<(String, String)> = std::env::vars().collect();
                // `Uid` and `Gid`, each four times, in proc_pid_status(5).
                let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
                let ids = |name: &str| {
                    let line = status.lines().find_map(|line| line.strip_prefix(name));
                    line.map(|ids| ids.split_whitespace().collect::<Vec<_>>().join(" "))
                };
                let all = json!({
                    "params": params, "environment": environment, "arguments": std::env::args().collect::<Vec<_>>(),
                    "user": ids("Uid:"), "group": ids("Gid:"),
                });
                answer(id, &text(&all.to_string()));
            }
            "sum" => answer(id, &json!({"content": [], "structuredContent": {"sum": 3}})),
            "lie" => answer(id, &json!({"content": [], "structuredContent": {"sum": "three"}})),
            "die" => std::process::exit(5),
            // It still answers everything else.
            "hang" | "wait" => self.unanswered = Some(id.clone()),
            "freeze" => loop {
                std::thread::park();
            },
            "flood" => {
                for number in 0..20_000 {
                    let log = json!({"level": "info", "data": format!("{number} {}", "x".repeat(100))});
                    say(&json!({"jsonrpc": "2.0", "method": "notifications/message", "params": log}));
                }
                // A line without an end, as far as a reader with a limit is concerned.
                let endless = json!({"level": "info", "data": "y".repeat(8 << 20)});
                say(&json!({"jsonrpc": "2.0", "method": "notifications/message", "params": endless}));
                answer(id, &text("flooded"));
            }
            "steps" => {
                for step in 1..=3 {
                    let progress = json!({"progressToken": params["_meta"]["progressToken"], "progress": step, "total": 3, "message": format!("step {step}")});
                    say(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": progress}));
                }
                let log = json!({"level": "info", "logger": "odd", "data": {"at": "steps"}});
                say(&json!({"jsonrpc": "2.0", "method": "notifications/message", "params": log}));
                answer(id, &text("done"));
            }
            "cancelled" => {
                let told = json!({"cancelled": self.cancelled, "unanswered": self.unanswered});
                answer(id, &text(&told.to_string()));
            }
            "crosstalk" => {
                answer(&json!(987_654), &text("nobody asked"));
                answer(&json!("what"), &text("nobody asked"));
                say(
                    &json!({"jsonrpc": "2.0", "id": 987_655, "error": {"code": 1, "message": "nobody asked"}}),
                );
                let progress = json!({"progressToken": "nobody's", "progress": 1});
                say(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": progress}));
                println("this is no JSON");
                answer(id, &text("mine"));
            }
            "ask" | "ask_twice" => {
                self.unanswered = Some(id.clone());
                self.more_questions = u32::from(params["name"] == "ask_twice");
                ask_name();
            }
            "roots" => {
                self.unanswered = Some(id.clone());
                say(&json!({"jsonrpc": "2.0", "id": "question", "method": "roots/list"}));
            }
            "ran" => {
                let mut told = text(&self.ran.to_string());
                told["resultType"] = json!("complete");
                answer(id, &told);
            }
            "change" => {
                self.has_changed = true;
                answer(id, &text("changed"));
                say(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
            }
            // Of a resource that nobody has asked for too, where the revision lets it.
            "touch" => {
                let mut told = text(&json!(self.followed).to_string());
                told["resultType"] = "complete".into();
                answer(id, &told);
                let unasked = (!self.modern).then(|| json!("odd://any/2"));
                for uri in unasked.iter().chain(&self.followed) {
                    self.tell("resources/updated", json!({ "uri": uri }));
                }
            }
            "child" => {
                let ids = json!({"own": std::process::id(), "child": self.child.as_ref().map(Child::id)});
                answer(id, &text(&ids.to_string()));
            }
            _ => say(
                &json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32602, "message": "no such tool here"}}),
            ),
        }
    }
}

fn name_question() -> Value {
    let form = json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]});
    json!({"message": "Your name?", "requestedSchema": form})
}

fn ask_name() {
    say(
        &json!({"jsonrpc": "2.0", "id": "question", "method": "elicitation/create", "params": name_question()}),
    );
}

fn answer(id: &Value, result: &Value) {
    say(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
}

fn say(message: &Value) {
    println(&message.to_string());
}

fn println(line: &str) {
    let mut out = std::io::stdout().lock();
    // Whoever does not read any more has ended this program's life, too.
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}
