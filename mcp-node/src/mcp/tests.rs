//! The whole path: challenge, token, call, in both eras.

use actix_web::dev::ServiceResponse;
use actix_web::http::header;
use actix_web::test::TestRequest;
use serde_json::{Value, json};

use super::news::Change;
use crate::testing::{Messages, Site, body_of};

const NEW: &str = "2026-07-28";

/// A request of the newest revision.
fn modern(method: &str, mut params: Value) -> TestRequest {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": NEW,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let name = params
        .get("name")
        .or(params.get("uri"))
        .and_then(Value::as_str)
        .map(str::to_owned);
    let mut request = legacy(method, params)
        .insert_header(("mcp-protocol-version", NEW))
        .insert_header(("mcp-method", method));
    if let Some(name) = name {
        request = request.insert_header(("mcp-name", name));
    }
    request
}

/// A request of an older revision.
fn legacy(method: &str, params: Value) -> TestRequest {
    TestRequest::post()
        .uri("/mcp")
        .insert_header((header::ACCEPT, "application/json, text/event-stream"))
        .set_json(json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}))
}

fn challenge(answer: &ServiceResponse) -> String {
    answer
        .headers()
        .get(header::WWW_AUTHENTICATE)
        .map(|value| value.to_str().unwrap().to_owned())
        .unwrap_or_default()
}

#[actix_web::test]
async fn without_a_token_there_is_only_the_challenge() {
    let site = Site::start().await;
    let metadata = "resource_metadata=\"http://localhost:8080/.well-known/oauth-protected-resource/mcp\"";
    // Behind the other one: clients read the first (RFC 9449 §7.1 lets us offer both).
    let offer = "DPoP algs=\"ES256 EdDSA Ed25519 ES384 PS256\"";
    // Before a byte of the body is looked at.
    for request in [
        modern("tools/list", json!({})),
        legacy("initialize", json!({})),
        TestRequest::post().uri("/mcp?access_token=x"),
    ] {
        let answer = site.send(request).await;
        assert_eq!(answer.status(), 401);
        assert_eq!(
            challenge(&answer),
            format!("Bearer scope=\"mcp:read\", {metadata}, {offer}")
        );
    }
    let token = site.forge.token_at(shared::clock::now(), |claims| {
        claims["aud"] = "http://localhost:8081/mcp".into()
    });
    let answer = site
        .send(modern("tools/list", json!({})).insert_header(("authorization", format!("Bearer {token}"))))
        .await;
    assert_eq!(answer.status(), 401);
    assert!(challenge(&answer).starts_with(
        "Bearer error=\"invalid_token\", error_description=\"the token was issued for another resource\""
    ));
    assert_eq!(body_of(answer).await["error"], "invalid_token");
}

#[actix_web::test]
async fn a_tool_call_in_every_era() {
    let site = Site::start().await;
    let call = json!({"name": "get_status", "arguments": {}});
    let answer = site
        .send(modern("tools/call", call.clone()).insert_header(site.bearer("mcp:call")))
        .await;
    assert_eq!(answer.status(), 200);
    let reply = body_of(answer).await;
    assert_eq!(reply["id"], 7);
    assert_eq!(reply["result"]["resultType"], "complete");
    assert_eq!(reply["result"]["structuredContent"]["id"], site.id.as_str());
    for version in ["2025-11-25", "2025-06-18", "2025-03-26"] {
        let request = legacy("tools/call", call.clone()).insert_header(("mcp-protocol-version", version));
        let reply = body_of(site.send(request.insert_header(site.bearer("mcp:call"))).await).await;
        assert_eq!(
            reply["result"]["structuredContent"]["id"],
            site.id.as_str(),
            "{version}"
        );
        assert_eq!(reply["result"].get("resultType"), None);
    }
}

#[actix_web::test]
async fn the_old_handshake_needs_no_session() {
    let site = Site::start().await;
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let answer = site
        .send(legacy("initialize", hello).insert_header(site.bearer("mcp:read")))
        .await;
    assert!(!answer.headers().contains_key("mcp-session-id"));
    let reply = body_of(answer).await;
    assert_eq!(reply["result"]["protocolVersion"], "2025-11-25");
    assert_eq!(
        reply["result"]["capabilities"],
        json!({"tools": {}, "resources": {}})
    );
    let note = TestRequest::post()
        .uri("/mcp")
        .insert_header(site.bearer("mcp:read"))
        .set_json(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    assert_eq!(site.send(note).await.status(), 202);
    let ping = site
        .send(legacy("ping", json!({})).insert_header(site.bearer("mcp:read")))
        .await;
    assert_eq!(body_of(ping).await["result"], json!({}));
    for other in [TestRequest::get(), TestRequest::delete()] {
        let answer = site
            .send(other.uri("/mcp").insert_header(site.bearer("mcp:read")))
            .await;
        assert_eq!(
            (
                answer.status().as_u16(),
                answer.headers().get(header::ALLOW).unwrap().to_str().unwrap()
            ),
            (405, "POST")
        );
    }
}

#[actix_web::test]
async fn what_the_node_offers_is_what_it_says() {
    let site = Site::start().await;
    let ask = |method: &'static str, params: Value| {
        let request = modern(method, params).insert_header(site.bearer("mcp:read mcp:subscribe"));
        async {
            let answer = site.send(request).await;
            (answer.status().as_u16(), body_of(answer).await)
        }
    };
    let (_, discovered) = ask("server/discover", json!({})).await;
    assert_eq!(
        discovered["result"]["capabilities"],
        json!({"tools": {"listChanged": true}, "resources": {"listChanged": true, "subscribe": true}})
    );
    assert!(
        discovered["result"]["supportedVersions"]
            .as_array()
            .unwrap()
            .contains(&json!(NEW))
    );
    let (_, tools) = ask("tools/list", json!({})).await;
    let names: Vec<_> = tools["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["get_status", "list_peers"]);
    assert!(tools["result"]["tools"][0]["outputSchema"]["properties"]["load"].is_object());
    assert_eq!(
        (&tools["result"]["cacheScope"], &tools["result"]["ttlMs"]),
        (&json!("public"), &json!(300_000))
    );
    let (_, resources) = ask("resources/list", json!({})).await;
    for resource in resources["result"]["resources"].as_array().unwrap() {
        let (status, read) = ask("resources/read", json!({"uri": resource["uri"]})).await;
        assert_eq!(
            (status, &read["result"]["cacheScope"]),
            (200, &json!("private")),
            "{resource}"
        );
        assert_eq!(read["result"]["contents"][0]["uri"], resource["uri"]);
    }
    let (status, missing) = ask("resources/read", json!({"uri": "edge-hive://logs/none"})).await;
    assert_eq!((status, &missing["error"]["code"]), (200, &json!(-32602)));
    assert_eq!(missing["error"]["data"]["uri"], "edge-hive://logs/none");
    for absent in ["prompts/list", "completion/complete", "unknown/method"] {
        let params = match absent {
            "completion/complete" => {
                json!({"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "a", "value": ""}})
            }
            _ => json!({}),
        };
        let (status, reply) = ask(absent, params).await;
        assert_eq!(
            (status, &reply["error"]["code"], &reply["id"]),
            (404, &json!(-32601), &json!(7)),
            "{absent}"
        );
    }
}

#[actix_web::test]
async fn the_scope_is_decided_before_the_tool() {
    let site = Site::start().await;
    for request in [
        modern("tools/call", json!({"name": "get_status"})),
        legacy("tools/call", json!({"name": "get_status"})),
    ] {
        let answer = site.send(request.insert_header(site.bearer("mcp:read"))).await;
        assert_eq!(answer.status(), 403);
        let challenge = challenge(&answer);
        assert!(
            challenge.contains("error=\"insufficient_scope\"") && challenge.contains("scope=\"mcp:call\""),
            "{challenge}"
        );
        assert!(challenge.contains("resource_metadata=\""));
        let reply = body_of(answer).await;
        assert_eq!(
            (&reply["id"], &reply["error"]["data"]["scope"]),
            (&json!(7), &json!("mcp:call"))
        );
    }
}

#[actix_web::test]
async fn bad_input_has_its_code() {
    let site = Site::start().await;
    let post = |body: &'static [u8]| {
        TestRequest::post()
            .uri("/mcp")
            .insert_header(site.bearer("mcp:read"))
            .insert_header((header::CONTENT_TYPE, "application/json"))
            .set_payload(body)
    };
    for (body, code) in [
        (&b"{"[..], -32700),
        (b"[]", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}", -32600),
    ] {
        let answer = site.send(post(body)).await;
        assert_eq!(answer.status(), 400);
        let reply = body_of(answer).await;
        assert_eq!((&reply["error"]["code"], reply.get("id")), (&json!(code), None));
    }
    let large = TestRequest::post()
        .uri("/mcp")
        .insert_header(site.bearer("mcp:read"));
    let large = large
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .set_payload(vec![b' '; 1024 * 1024 + 1]);
    assert_eq!(site.send(large).await.status(), 413);
    let form = TestRequest::post()
        .uri("/mcp")
        .insert_header(site.bearer("mcp:read"))
        .set_payload("a=b");
    assert_eq!(site.send(form).await.status(), 415);
    let neither = legacy("ping", json!({})).insert_header((header::ACCEPT, "text/html"));
    let neither = neither.insert_header(site.bearer("mcp:read"));
    assert_eq!(site.send(neither).await.status(), 406);
    let endless = listen(&site, json!({})).insert_header((header::ACCEPT, "application/json"));
    assert_eq!(site.send(endless).await.status(), 406);
    let mismatch = modern("tools/list", json!({})).insert_header(("mcp-method", "tools/call"));
    let answer = site.send(mismatch.insert_header(site.bearer("mcp:read"))).await;
    assert_eq!(
        (answer.status().as_u16(), &body_of(answer).await["error"]["code"]),
        (400, &json!(-32020))
    );
}

#[actix_web::test]
async fn parameters_that_cannot_be_read_are_not_an_unknown_method() {
    let site = Site::start().await;
    for (method, params) in [
        ("tools/call", json!({"name": 7})),
        ("tools/call", json!({"name": "get_status", "arguments": [1]})),
        ("resources/read", json!({})),
        ("tools/list", json!({"cursor": "not ours"})),
        ("tools/call", json!({"name": "no_such_tool"})),
    ] {
        for request in [modern(method, params.clone()), legacy(method, params.clone())] {
            let answer = site
                .send(request.insert_header(site.bearer("mcp:read mcp:call")))
                .await;
            assert_eq!(answer.status(), 200, "{method} {params}");
            assert_eq!(
                body_of(answer).await["error"]["code"],
                -32602,
                "{method} {params}"
            );
        }
    }
}

#[actix_web::test]
async fn clients_are_limited_one_by_one() {
    let site = Site::with("[limits]\nper_client = \"2/min\"\n").await;
    let ping = || legacy("ping", json!({})).insert_header(site.bearer("mcp:read"));
    assert_eq!(site.send(ping()).await.status(), 200);
    assert_eq!(site.send(ping()).await.status(), 200);
    let answer = site.send(ping()).await;
    assert_eq!(answer.status(), 429);
    assert!(answer.headers().contains_key(header::RETRY_AFTER));
    let other = site.forge.token_at(shared::clock::now(), |claims| {
        claims["client_id"] = "another".into()
    });
    let request = legacy("ping", json!({})).insert_header(("authorization", format!("Bearer {other}")));
    assert_eq!(site.send(request).await.status(), 200);
}

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

fn listen(site: &Site, filter: Value) -> TestRequest {
    modern("subscriptions/listen", json!({ "notifications": filter }))
        .insert_header(site.bearer("mcp:subscribe"))
}

#[actix_web::test]
async fn a_subscription_is_acknowledged_and_hears_what_it_asked_for() {
    let site = Site::start().await;
    let refused = modern("subscriptions/listen", json!({"notifications": {}}));
    assert_eq!(
        site.send(refused.insert_header(site.bearer("mcp:read")))
            .await
            .status(),
        403
    );

    let wanted = json!({
        "toolsListChanged": true,
        "promptsListChanged": true,
        "resourceSubscriptions": ["edge-hive://status", "edge-hive://none"],
    });
    let mut messages = Messages::of(site.send(listen(&site, wanted)).await);
    let first = messages.next().await.unwrap();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(first["params"]["_meta"][SUBSCRIPTION], 7);
    // There are no prompts here, and no such resource.
    assert_eq!(
        first["params"]["notifications"],
        json!({"toolsListChanged": true, "resourceSubscriptions": ["edge-hive://status"]})
    );
    let news = site.news();
    assert_eq!(news.followed().borrow().count("edge-hive://status"), 1);
    for change in [
        Change::PromptList,
        Change::ResourceList,
        Change::Resource("edge-hive://logs/node".into()),
        Change::ToolList,
        Change::Node,
    ] {
        news.tell(change);
    }
    let heard = messages.next().await.unwrap();
    assert_eq!(heard["method"], "notifications/tools/list_changed");
    assert_eq!(heard["params"]["_meta"][SUBSCRIPTION], 7);
    let heard = messages.next().await.unwrap();
    assert_eq!(heard["method"], "notifications/resources/updated");
    assert_eq!(heard["params"]["uri"], "edge-hive://status");

    site.stop();
    let last = messages.next().await.unwrap();
    assert_eq!(
        (&last["id"], &last["result"]["resultType"]),
        (&json!(7), &json!("complete"))
    );
    assert_eq!(last["result"]["_meta"][SUBSCRIPTION], 7);
    assert_eq!(messages.next().await, None);
    assert!(news.followed().borrow().is_empty());
}

#[actix_web::test]
async fn mcp_27_a_client_that_reads_one_form_is_served_in_it() {
    let site = Site::start().await;
    for make in [modern, legacy] {
        let ask = |accept: &'static str| {
            let request = make("tools/call", json!({"name": "get_status"}));
            request
                .insert_header((header::ACCEPT, accept))
                .insert_header(site.bearer("mcp:call"))
        };
        let answer = site.send(ask("application/json")).await;
        assert_eq!(
            answer.headers().get(header::CONTENT_TYPE).unwrap(),
            "application/json"
        );
        assert_eq!(body_of(answer).await["id"], 7);
        let mut messages = Messages::of(site.send(ask("text/event-stream")).await);
        assert_eq!(messages.next().await.unwrap()["id"], 7);
        assert_eq!(messages.next().await, None);
    }
}

#[actix_web::test]
async fn nobody_hears_of_a_resource_that_it_may_not_read() {
    let rule = "[scopes.resources]\n\"edge-hive://status\" = \"ops\"\n";
    let site = Site::with(rule).await;
    let wanted = json!({"resourceSubscriptions": ["edge-hive://status", "edge-hive://logs/node"]});
    let ask = |scope: &str| {
        let request = modern("subscriptions/listen", json!({ "notifications": wanted }));
        site.send(request.insert_header(site.bearer(scope)))
    };
    let refused = ask("mcp:subscribe").await;
    assert_eq!(refused.status(), 403);
    let challenge = challenge(&refused);
    assert!(challenge.contains("scope=\"mcp:subscribe ops\""), "{challenge}");
    let first = Messages::of(ask("mcp:subscribe ops").await).next().await.unwrap();
    assert_eq!(first["params"]["notifications"], wanted);

    let news = site.news();
    for (scope, expected) in [("mcp:subscribe", "tools"), ("mcp:subscribe ops", "resource")] {
        let open = TestRequest::get()
            .uri("/mcp/stream")
            .insert_header(site.bearer(scope));
        let mut events = Messages::of(site.send(open).await);
        assert_eq!(events.event().await.unwrap().0, "status");
        news.tell(Change::Resource("edge-hive://status".into()));
        news.tell(Change::ToolList);
        assert_eq!(events.event().await.unwrap().0, expected, "{scope}");
    }
}
