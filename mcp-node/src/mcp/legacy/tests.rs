//! Sessions, batches and the transport of 2024-11-05, over HTTP.

mod narrower;
mod probe;

use actix_web::dev::ServiceResponse;
use actix_web::http::header;
use actix_web::test::TestRequest;
use actix_web::web::Data;
use serde_json::{Value, json};

use self::probe::Probe;
use crate::mcp::Transport;
use crate::mcp::news::Change;
use crate::testing::{Messages, Site, body_of};

const SCOPE: &str = "mcp:read mcp:call mcp:subscribe";

/// A node with sessions, and a client of it.
struct Stage {
    site: Site,
    probe: Probe,
    transport: Data<Transport<Probe>>,
    session: String,
}

impl Stage {
    async fn start(version: &str) -> Self {
        Self::with(version, "[mcp]\nsessions = \"on\"\n").await
    }

    async fn with(version: &str, configuration: &str) -> Self {
        let site = Site::with(configuration).await;
        let probe = Probe::new(site.lasting());
        let fresh = probe.clone();
        let transport = Data::new(Transport::new(move || fresh.clone(), 65536));
        let mut stage = Self {
            site,
            probe,
            transport,
            session: String::new(),
        };
        let answer = stage.send(stage.post(&introduction(version))).await;
        assert_eq!(answer.status(), 200);
        let id = answer.headers().get("mcp-session-id");
        stage.session = id.map(|id| id.to_str().unwrap().to_owned()).unwrap_or_default();
        let result = body_of(answer).await;
        assert_eq!(result["result"]["protocolVersion"], version);
        stage
    }

    async fn send(&self, request: TestRequest) -> ServiceResponse {
        self.site.send_to(&self.transport, request).await
    }

    /// A message of the client, in its session.
    fn post(&self, message: &Value) -> TestRequest {
        let request = TestRequest::post()
            .uri("/mcp")
            .insert_header((header::ACCEPT, "application/json, text/event-stream"))
            .set_json(message);
        self.signed(request)
    }

    fn get(&self) -> TestRequest {
        self.signed(
            TestRequest::get()
                .uri("/mcp")
                .insert_header((header::ACCEPT, "text/event-stream")),
        )
    }

    fn signed(&self, request: TestRequest) -> TestRequest {
        let request = request.insert_header(self.site.bearer(SCOPE));
        match self.session.is_empty() {
            true => request,
            false => request.insert_header(("mcp-session-id", self.session.clone())),
        }
    }

    async fn call(&self, id: u32, tool: &str) -> ServiceResponse {
        self.send(self.post(&call(id, tool))).await
    }
}

fn introduction(version: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": version, "capabilities": {"elicitation": {}}, "clientInfo": {"name": "t", "version": "1"},
    }})
}

fn call(id: u32, tool: &str) -> Value {
    let meta = json!({"progressToken": id});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "_meta": meta}})
}

fn text(message: &Value) -> &str {
    message["result"]["content"][0]["text"]
        .as_str()
        .unwrap_or_default()
}

#[actix_web::test]
async fn mcp_21_a_session_is_its_owners() {
    let stage = Stage::start("2025-11-25").await;
    assert_eq!(stage.session.len(), 43);
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let with = |id: &str, bearer: (&'static str, String)| {
        let request = TestRequest::post().uri("/mcp").set_json(&ping);
        request
            .insert_header(bearer)
            .insert_header(("mcp-session-id", id))
    };
    let good = stage.send(with(&stage.session, stage.site.bearer(SCOPE))).await;
    assert_eq!(body_of(good).await["result"], json!({}));
    let (site, own) = (&stage.site, &stage.session);
    for (id, bearer) in [
        (own.as_str(), site.bearer_of("sub", "another", SCOPE)),
        (own.as_str(), site.bearer_of("client_id", "another", SCOPE)),
        ("guessed", site.bearer(SCOPE)),
    ] {
        let answer = stage.send(with(id, bearer.clone())).await;
        assert_eq!(answer.status(), 404);
        assert_eq!(body_of(answer).await["id"], 1);
        for request in [TestRequest::get(), TestRequest::delete()] {
            let request = request.uri("/mcp").insert_header(bearer.clone());
            let answer = stage.send(request.insert_header(("mcp-session-id", id))).await;
            assert_eq!(answer.status(), 404);
        }
    }
    // Possession of the id is not authentication, and authorization is asked for every time.
    let request = TestRequest::post().uri("/mcp").set_json(&ping);
    let nobody = stage
        .send(request.insert_header(("mcp-session-id", own.clone())))
        .await;
    assert_eq!(nobody.status(), 401);
    let narrow = with(own, site.bearer("mcp:subscribe"));
    assert_eq!(stage.send(narrow).await.status(), 403);
    let unnamed = TestRequest::post()
        .uri("/mcp")
        .set_json(&ping)
        .insert_header(site.bearer(SCOPE));
    assert_eq!(stage.send(unnamed).await.status(), 400);

    let end = stage.signed(TestRequest::delete().uri("/mcp"));
    assert_eq!(stage.send(end).await.status(), 204);
    let over = stage.send(with(own, site.bearer(SCOPE))).await;
    assert_eq!(over.status(), 404);
}

#[actix_web::test]
async fn a_session_is_nothing_to_the_newest_revision() {
    let stage = Stage::start("2025-11-25").await;
    for request in [TestRequest::get(), TestRequest::delete()] {
        let request = stage.signed(request.uri("/mcp"));
        let answer = stage
            .send(request.insert_header(("mcp-protocol-version", "2026-07-28")))
            .await;
        let allow = answer.headers().get(header::ALLOW).unwrap();
        assert_eq!((answer.status().as_u16(), allow.to_str().unwrap()), (405, "POST"));
    }
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    assert_eq!(stage.send(stage.post(&ping)).await.status(), 200);
}

#[actix_web::test]
async fn a_tool_asks_its_client_over_the_stream_of_the_call() {
    for version in ["2025-11-25", "2025-06-18"] {
        let stage = Stage::start(version).await;
        let mut first = Messages::of(stage.call(1, "ask").await);
        let mut other = Messages::of(stage.call(2, "ask").await);
        let questions = [first.next().await.unwrap(), other.next().await.unwrap()];
        let ids = [&questions[0]["id"], &questions[1]["id"]];
        assert_ne!(ids[0], ids[1]);
        for question in &questions {
            assert_eq!(question["method"], "elicitation/create");
        }
        // Who asked is told what was answered, in whichever order the answers come.
        for (place, name) in [(1, "Bob"), (0, "Alice")] {
            let answer = json!({"jsonrpc": "2.0", "id": ids[place], "result": {
                "action": "accept", "content": {"name": name},
            }});
            assert_eq!(stage.send(stage.post(&answer)).await.status(), 202);
            // A second answer is nobody's.
            assert_eq!(stage.send(stage.post(&answer)).await.status(), 202);
        }
        let answer = first.next().await.unwrap();
        assert_eq!((&answer["id"], text(&answer)), (&json!(1), "Alice"));
        assert_eq!(text(&other.next().await.unwrap()), "Bob");
        assert_eq!(first.next().await, None);
    }
}

#[actix_web::test]
async fn without_a_session_nobody_is_asked() {
    let stage = Stage::with("2025-11-25", "").await;
    assert_eq!(stage.session, "");
    let answer = body_of(stage.call(1, "ask").await).await;
    assert_eq!(answer["error"]["code"], -32021);
    assert_eq!(
        answer["error"]["data"]["requiredCapabilities"],
        json!({"elicitation": {}})
    );
    let unasked = json!({"jsonrpc": "2.0", "id": 1, "result": {"action": "accept"}});
    assert_eq!(stage.send(stage.post(&unasked)).await.status(), 400);
}

#[actix_web::test]
async fn a_connection_that_breaks_is_no_cancellation() {
    for configuration in ["", "[mcp]\nsessions = \"on\"\n"] {
        let stage = Stage::with("2025-11-25", configuration).await;
        let calling = stage.send(stage.post(&call(1, "wait")));
        // The client goes before the first byte of an answer.
        let gone = tokio::time::timeout(std::time::Duration::from_millis(50), calling).await;
        drop(gone);
        stage.probe.go.add_permits(1);
        stage.probe.went.acquire().await.unwrap().forget();
        assert_eq!(stage.probe.cancelled.available_permits(), 0);
    }
}

#[actix_web::test]
async fn a_cancelled_call_is_cancelled_and_its_stream_ends() {
    let stage = Stage::start("2025-11-25").await;
    let mut waiting = Messages::of(stage.call(1, "wait").await);
    let again = stage.call(1, "wait").await;
    assert_eq!(again.status(), 400);
    assert_eq!(body_of(again).await["error"]["code"], -32600);
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
    assert_eq!(stage.send(stage.post(&cancel)).await.status(), 202);
    stage.probe.cancelled.acquire().await.unwrap().forget();
    assert_eq!(waiting.next().await, None);
    // The id is free again.
    stage.probe.go.add_permits(1);
    let mut again = Messages::of(stage.call(1, "wait").await);
    assert_eq!(text(&again.next().await.unwrap()), "waited");
}

#[actix_web::test]
async fn an_answer_that_was_missed_is_fetched() {
    let stage = Stage::start("2025-11-25").await;
    let mut broken = Messages::of(stage.call(1, "wait").await);
    // The first event has no content, and tells where to go on.
    assert_eq!(broken.event().await.unwrap().1, "");
    let place = broken.last_id.clone();
    drop(broken);
    stage.probe.go.add_permits(1);
    stage.probe.went.acquire().await.unwrap().forget();
    let resume = |place: &str| stage.get().insert_header(("last-event-id", place.to_owned()));
    let mut resumed = Messages::of(stage.send(resume(&place)).await);
    assert_eq!(text(&resumed.next().await.unwrap()), "waited");
    let after = resumed.last_id.clone();
    assert_eq!(resumed.next().await, None);
    // Again, as often as it is kept; what has been seen is not told twice; other places say nothing.
    let mut resumed = Messages::of(stage.send(resume(&place)).await);
    assert_eq!(text(&resumed.next().await.unwrap()), "waited");
    for place in [after.as_str(), "99-1", "nonsense"] {
        let mut nothing = Messages::of(stage.send(resume(place)).await);
        assert_eq!(nothing.next().await, None, "{place}");
    }
}

#[actix_web::test]
async fn the_standing_stream_tells_what_was_promised() {
    let stage = Stage::start("2025-11-25").await;
    let news = stage.site.news();
    let mut standing = Messages::of(stage.send(stage.get()).await);
    assert_eq!(standing.event().await.unwrap().1, "");
    news.tell(Change::PromptList);
    news.tell(Change::ToolList);
    let heard = standing.next().await.unwrap();
    assert_eq!(heard["method"], "notifications/tools/list_changed");
    let place = standing.last_id.clone();
    drop(standing);
    news.tell(Change::ToolList);
    let resume = stage.get().insert_header(("last-event-id", place));
    let mut standing = Messages::of(stage.send(resume).await);
    let heard = standing.next().await.unwrap();
    assert_eq!(heard["method"], "notifications/tools/list_changed");
    // A second reader takes over from the first.
    let mut other = Messages::of(stage.send(stage.get()).await);
    assert_eq!(standing.next().await, None);
    news.tell(Change::ToolList);
    other.next().await.unwrap();
    let narrow = TestRequest::get()
        .uri("/mcp")
        .insert_header(stage.site.bearer("mcp:read"));
    let narrow = narrow.insert_header(("mcp-session-id", stage.session.clone()));
    assert_eq!(stage.send(narrow).await.status(), 403);
    let json_only = stage.get().insert_header((header::ACCEPT, "application/json"));
    assert_eq!(stage.send(json_only).await.status(), 406);
}

#[actix_web::test]
async fn a_resource_is_followed_in_a_session() {
    let site = Site::with("[mcp]\nsessions = \"on\"\n").await;
    let post = |message: Value, session: Option<&str>| {
        let request = TestRequest::post().uri("/mcp").set_json(message);
        let request = request.insert_header(site.bearer(SCOPE));
        match session {
            Some(session) => request.insert_header(("mcp-session-id", session)),
            None => request,
        }
    };
    let answer = site.send(post(introduction("2025-06-18"), None)).await;
    let session = answer
        .headers()
        .get("mcp-session-id")
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let promised = &body_of(answer).await["result"]["capabilities"];
    assert_eq!(
        promised["resources"],
        json!({"listChanged": true, "subscribe": true})
    );
    let ask = |method: &str, uri: &str| {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"uri": uri}});
        site.send(post(message, Some(&session)))
    };
    let missing = body_of(ask("resources/subscribe", "edge-hive://none").await).await;
    assert_eq!(missing["error"]["code"], -32002);
    let news = site.news();
    assert!(news.followed().borrow().is_empty());
    let followed = body_of(ask("resources/subscribe", "edge-hive://status").await).await;
    assert_eq!(followed["result"], json!({}));
    assert_eq!(news.followed().borrow().count("edge-hive://status"), 1);
    let get = TestRequest::get().uri("/mcp").insert_header(site.bearer(SCOPE));
    let mut standing = Messages::of(
        site.send(get.insert_header(("mcp-session-id", session.clone())))
            .await,
    );
    news.tell(Change::Node);
    let heard = standing.next().await.unwrap();
    assert_eq!(heard["method"], "notifications/resources/updated");
    assert_eq!(heard["params"], json!({"uri": "edge-hive://status"}));
    ask("resources/unsubscribe", "edge-hive://status").await;
    news.tell(Change::Node);
    news.tell(Change::ToolList);
    assert_eq!(
        standing.next().await.unwrap()["method"],
        "notifications/tools/list_changed"
    );
    assert!(news.followed().borrow().is_empty());
}

#[actix_web::test]
async fn batches_belong_to_2025_03_26() {
    for configuration in ["", "[mcp]\nsessions = \"on\"\n"] {
        let stage = Stage::with("2025-03-26", configuration).await;
        let ping = |id: u32| json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let batch = json!([
            ping(1),
            initialized,
            {"jsonrpc": "2.0", "id": 2, "method": "unknown"},
            {"jsonrpc": "2.0", "id": 3},
            introduction("2025-03-26"),
        ]);
        let answer = stage.send(stage.post(&batch)).await;
        assert_eq!(answer.status(), 200);
        let answers = body_of(answer).await;
        let code_of = |id: u32| {
            let answers = answers.as_array().unwrap();
            let answer = answers.iter().find(|answer| answer["id"] == id).unwrap();
            answer["error"]["code"].as_i64().unwrap_or_default()
        };
        assert_eq!(answers.as_array().unwrap().len(), 4);
        assert_eq!([1, 2, 3, 0].map(code_of), [0, -32601, -32600, -32600]);
        // One request is still answered with an array, and notes alone with nothing.
        assert_eq!(
            body_of(stage.send(stage.post(&json!([ping(1)]))).await).await[0]["id"],
            1
        );
        assert_eq!(stage.send(stage.post(&json!([initialized]))).await.status(), 202);
        let mut told = Messages::of(stage.send(stage.post(&json!([call(1, "tell"), ping(2)]))).await);
        let mut kinds = Vec::new();
        while let Some(message) = told.next().await {
            kinds.push(message["id"].as_u64().unwrap_or_default());
        }
        kinds.sort_unstable();
        assert_eq!(kinds, [0, 1, 2]);

        let many: Vec<Value> = (0..33).map(ping).collect();
        for (bad, code) in [
            (json!([]), -32600),
            (json!(many), -32600),
            (json!([[ping(1)]]), -32600),
        ] {
            let answer = stage.send(stage.post(&bad)).await;
            let found = body_of(answer).await;
            let error = found.get(0).unwrap_or(&found);
            assert_eq!(error["error"]["code"], code, "{bad}");
        }
        for version in ["2025-06-18", "2025-11-25", "2026-07-28"] {
            let later = stage.post(&json!([ping(1)]));
            let answer = stage
                .send(later.insert_header(("mcp-protocol-version", version)))
                .await;
            assert_eq!(answer.status(), 400);
            assert_eq!(body_of(answer).await["error"]["code"], -32600, "{version}");
        }
    }
    let later = Stage::start("2025-11-25").await;
    let ping = json!([{"jsonrpc": "2.0", "id": 1, "method": "ping"}]);
    assert_eq!(later.send(later.post(&ping)).await.status(), 400);
}

#[actix_web::test]
async fn each_message_of_a_batch_is_judged_by_itself() {
    let site = Site::with("[limits]\nper_client = \"5/min\"\n").await;
    let batch = json!([
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "get_status"}},
        {"jsonrpc": "2.0", "id": 3, "method": "ping"},
    ]);
    let post = |batch: &Value, scope: &str| {
        let request = TestRequest::post().uri("/mcp").set_json(batch);
        site.send(request.insert_header(site.bearer(scope)))
    };
    let answers = body_of(post(&batch, "mcp:read").await).await;
    let of = |answers: &Value, id: u32| {
        let answers = answers.as_array().unwrap();
        answers.iter().find(|answer| answer["id"] == id).unwrap().clone()
    };
    assert_eq!(of(&answers, 2)["error"]["code"], 403);
    assert_eq!(of(&answers, 2)["error"]["data"]["scope"], "mcp:call");
    assert_eq!(of(&answers, 3)["result"], json!({}));
    // Three are used up, two are left.
    let answers = body_of(post(&batch, "mcp:read mcp:call").await).await;
    assert_eq!(of(&answers, 3)["error"]["code"], 429);
    assert!(of(&answers, 2)["result"].is_object());

    let site = Site::start().await;
    let batch = json!([
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "get_status"}},
    ]);
    let request = TestRequest::post().uri("/mcp").set_json(&batch);
    let answer = site
        .send(request.insert_header(site.bearer("mcp:subscribe")))
        .await;
    assert_eq!(answer.status(), 403);
    let challenge = answer
        .headers()
        .get(header::WWW_AUTHENTICATE)
        .unwrap()
        .to_str()
        .unwrap();
    assert!(challenge.contains("scope=\"mcp:call mcp:read\""), "{challenge}");
}

#[actix_web::test]
async fn the_pair_of_2024_11_05_is_served_when_it_is_switched_on() {
    let off = Site::start().await;
    let get = |path: &str, bearer: (&'static str, String)| TestRequest::get().uri(path).insert_header(bearer);
    assert_eq!(off.send(get("/sse", off.bearer(SCOPE))).await.status(), 404);

    for (stream, messages) in [("/sse", "/messages"), ("/mcp/sse", "/mcp/messages")] {
        let stage = Stage::with("2025-11-25", "[mcp]\nhttp_sse = true\n").await;
        let site = &stage.site;
        assert_eq!(stage.send(TestRequest::get().uri(stream)).await.status(), 401);
        let narrow = stage.send(get(stream, site.bearer("mcp:read"))).await;
        assert_eq!(narrow.status(), 403);
        let mut events = Messages::of(stage.send(get(stream, site.bearer(SCOPE))).await);
        let (name, address) = events.event().await.unwrap();
        assert_eq!(name, "endpoint");
        assert!(address.starts_with(&format!("{messages}?session=")), "{address}");
        let post = |message: &Value, bearer: (&'static str, String)| {
            let request = TestRequest::post().uri(&address).set_json(message);
            stage.send(request.insert_header(bearer))
        };
        let hello = introduction("2024-11-05");
        for stranger in [
            site.bearer_of("sub", "another", SCOPE),
            site.bearer_of("client_id", "another", SCOPE),
        ] {
            assert_eq!(post(&hello, stranger).await.status(), 404);
        }
        let nobody = TestRequest::post().uri(&address).set_json(&hello);
        assert_eq!(stage.send(nobody).await.status(), 401);
        assert_eq!(post(&hello, site.bearer(SCOPE)).await.status(), 202);
        let answer = events.next().await.unwrap();
        assert_eq!(answer["result"]["protocolVersion"], "2024-11-05");
        assert_eq!(post(&call(1, "tell"), site.bearer(SCOPE)).await.status(), 202);
        assert_eq!(events.next().await.unwrap()["method"], "notifications/progress");
        assert_eq!(text(&events.next().await.unwrap()), "Some(\"2024-11-05\")");
        let lacking = post(&call(2, "tell"), site.bearer("mcp:read")).await;
        assert_eq!(lacking.status(), 403);
        assert!(lacking.headers().contains_key(header::WWW_AUTHENTICATE));
        assert_eq!(post(&call(3, "ask"), site.bearer(SCOPE)).await.status(), 202);
        let question = events.next().await.unwrap();
        let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": {
            "action": "accept", "content": {"name": "Alice"},
        }});
        assert_eq!(post(&answer, site.bearer(SCOPE)).await.status(), 202);
        assert_eq!(text(&events.next().await.unwrap()), "Alice");
        site.news().tell(Change::ToolList);
        let heard = events.next().await.unwrap();
        assert_eq!(heard["method"], "notifications/tools/list_changed");
        // The session is the stream.
        drop(events);
        assert_eq!(post(&call(4, "tell"), site.bearer(SCOPE)).await.status(), 404);
    }
}
