//! Public documents, browsers, and the plain-JSON forms.

use actix_web::http::{Method, header};
use actix_web::test::TestRequest;
use serde_json::{Value, json};

use crate::mcp::news::{Change, PeerEvent};
use crate::testing::{Forge, Holder, Site, body_of};

#[actix_web::test]
async fn metadata_stands_at_both_places_and_every_page_may_read_it() {
    let site = Site::start().await;
    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
    ] {
        let answer = site
            .send(
                TestRequest::get()
                    .uri(path)
                    .insert_header(("origin", "https://any.example")),
            )
            .await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(
            answer.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN).unwrap(),
            "*"
        );
        let document = body_of(answer).await;
        assert_eq!(document["resource"], "http://localhost:8080/mcp");
        assert_eq!(document["authorization_servers"], json!([site.forge.issuer]));
        assert_eq!(document["scopes_supported"], json!(["mcp:call", "mcp:read"]));
        assert_eq!(document["bearer_methods_supported"], json!(["header"]));
    }
    let other = site
        .send(TestRequest::get().uri("/.well-known/oauth-protected-resource/other"))
        .await;
    assert_eq!(other.status(), 404);
}

#[actix_web::test]
async fn information_is_public_and_only_about_this_node() {
    let site = Site::start().await;
    let answer = site
        .send(TestRequest::get().uri(&format!("/mcp/node/{}/info", site.id)))
        .await;
    let document = body_of(answer).await;
    assert_eq!(document["id"], site.id.as_str());
    assert_eq!(
        document["resource_metadata"],
        "http://localhost:8080/.well-known/oauth-protected-resource/mcp"
    );
    assert_eq!(
        site.send(TestRequest::get().uri("/mcp/node/other-fox-000000/info"))
            .await
            .status(),
        404
    );
}

#[actix_web::test]
async fn pages_of_allowed_origins_only() {
    let site = Site::start().await;
    let foreign = TestRequest::post()
        .uri("/mcp")
        .insert_header(("origin", "https://evil.example"));
    assert_eq!(site.send(foreign).await.status(), 403);
    let two = TestRequest::post()
        .uri("/mcp")
        .append_header(("origin", "https://app.example"))
        .append_header(("origin", "https://evil.example"));
    assert_eq!(site.send(two).await.status(), 403);
    let ours = TestRequest::post()
        .uri("/mcp")
        .insert_header(("origin", "https://app.example"));
    let answer = site.send(ours).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(
        answer.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN).unwrap(),
        "https://app.example"
    );
    let exposed = answer
        .headers()
        .get(header::ACCESS_CONTROL_EXPOSE_HEADERS)
        .unwrap()
        .to_str()
        .unwrap();
    assert!(exposed.contains("WWW-Authenticate"));

    let preflight = || {
        TestRequest::default()
            .method(Method::OPTIONS)
            .uri("/mcp")
            .insert_header((header::ACCESS_CONTROL_REQUEST_METHOD, "POST"))
    };
    let answer = site
        .send(preflight().insert_header(("origin", "https://app.example")))
        .await;
    assert_eq!(answer.status(), 204);
    let allowed = answer
        .headers()
        .get(header::ACCESS_CONTROL_ALLOW_HEADERS)
        .unwrap()
        .to_str()
        .unwrap();
    assert!(allowed.contains("Authorization") && allowed.contains("Mcp-Method"));
    assert!(
        !answer
            .headers()
            .contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS)
    );
    assert_eq!(
        site.send(preflight().insert_header(("origin", "null")))
            .await
            .status(),
        403
    );
}

#[actix_web::test]
async fn a_tool_over_plain_json() {
    let site = Site::start().await;
    let call = |uri: &str, body: serde_json::Value| {
        TestRequest::post()
            .uri(uri)
            .insert_header(site.bearer("mcp:call"))
            .set_json(body)
    };
    for uri in [
        "/mcp/tools/call".to_owned(),
        format!("/mcp/node/{}/tools/call", site.id),
    ] {
        let answer = site
            .send(call(&uri, json!({"name": "get_status", "arguments": {}})))
            .await;
        assert_eq!(answer.status(), 200, "{uri}");
        let result = body_of(answer).await;
        assert_eq!(result["structuredContent"]["id"], site.id.as_str());
        assert_eq!(result["structuredContent"]["issuers"][0]["usable"], true);
        assert_eq!(result["structuredContent"]["peers"], json!([]));
    }
    let refused = |body| site.send(call("/mcp/tools/call", body));
    assert_eq!(refused(json!({"name": "no_such_tool"})).await.status(), 404);
    assert_eq!(refused(json!(["get_status"])).await.status(), 400);
    let with_arguments = body_of(refused(json!({"name": "get_status", "arguments": {"x": 1}})).await).await;
    assert_eq!(with_arguments["isError"], true);
    let elsewhere = call(
        "/mcp/node/other-fox-000000/tools/call",
        json!({"name": "get_status"}),
    );
    assert_eq!(site.send(elsewhere).await.status(), 404);
    let reading = TestRequest::post()
        .uri("/mcp/tools/call")
        .insert_header(site.bearer("mcp:read"));
    let answer = site.send(reading.set_json(json!({"name": "get_status"}))).await;
    assert_eq!(answer.status(), 403);
    let challenge = answer
        .headers()
        .get(header::WWW_AUTHENTICATE)
        .unwrap()
        .to_str()
        .unwrap();
    assert!(
        challenge.contains("error=\"insufficient_scope\"") && challenge.contains("scope=\"mcp:call\""),
        "{challenge}"
    );
    assert_eq!(body_of(answer).await["error"], "insufficient_scope");
}

#[actix_web::test]
async fn a_resource_over_plain_http() {
    let site = Site::start().await;
    let read = |uri: &str| {
        site.send(
            TestRequest::get()
                .uri(uri)
                .insert_header(site.bearer("mcp:resources")),
        )
    };
    let document = body_of(read("/mcp/resources/edge-hive%3A%2F%2Fstatus").await).await;
    assert_eq!(document["contents"][0]["uri"], "edge-hive://status");
    assert!(
        document["contents"][0]["text"]
            .as_str()
            .unwrap()
            .contains(&site.id)
    );
    let log = read(&format!(
        "/mcp/node/{}/resources/edge-hive%3A%2F%2Flogs%2Fnode",
        site.id
    ))
    .await;
    assert_eq!(body_of(log).await["contents"][0]["mimeType"], "text/plain");
    // Encoding belongs to the resource's URI; an address has one spelling.
    let respelt = format!("/mcp/node/{}/%72esources/edge-hive%3A%2F%2Flogs%2Fnode", site.id);
    assert_eq!(read(&respelt).await.status(), 404);
    for unknown in [
        "edge-hive%3A%2F%2Flogs%2F..%2F..%2Fetc%2Fpasswd",
        "file%3A%2F%2F%2Fetc%2Fpasswd",
        "",
    ] {
        assert_eq!(
            read(&format!("/mcp/resources/{unknown}")).await.status(),
            404,
            "{unknown}"
        );
    }
    assert_eq!(read("/mcp/resources/%ff").await.status(), 400);
    let calling = TestRequest::get()
        .uri("/mcp/resources/edge-hive%3A%2F%2Fstatus")
        .insert_header(site.bearer("mcp:call"));
    assert_eq!(site.send(calling).await.status(), 403);
}

#[actix_web::test]
async fn the_stream_begins_with_the_status_and_ends_with_the_program() {
    use actix_web::body::MessageBody;

    let site = Site::start().await;
    let refused = site
        .send(
            TestRequest::get()
                .uri("/mcp/stream")
                .insert_header(site.bearer("mcp:read")),
        )
        .await;
    assert_eq!(refused.status(), 403);
    let answer = site
        .send(
            TestRequest::get()
                .uri("/mcp/stream")
                .insert_header(site.bearer("mcp:subscribe")),
        )
        .await;
    assert_eq!(
        answer.headers().get(header::CONTENT_TYPE).unwrap(),
        "text/event-stream"
    );
    let mut body = Box::pin(answer.into_body());
    let first = std::future::poll_fn(|cx| body.as_mut().poll_next(cx))
        .await
        .unwrap()
        .unwrap();
    let first = String::from_utf8(first.to_vec()).unwrap();
    assert!(first.contains("\nevent: status\ndata: {"), "{first}");
    // Nothing else would end it, and the program could not stop.
    site.stop();
    let after = std::future::poll_fn(|cx| body.as_mut().poll_next(cx)).await;
    assert!(after.is_none());
    let call = TestRequest::post()
        .uri("/mcp/tools/call")
        .insert_header(site.bearer("mcp:call"));
    let in_flight = site.send(call.set_json(json!({"name": "get_status"}))).await;
    assert_eq!(in_flight.status(), 200);
}

/// One event: its id, its name and its data.
async fn event(body: &mut std::pin::Pin<Box<actix_web::body::BoxBody>>) -> (String, String, Value) {
    use actix_web::body::MessageBody;

    let bytes = std::future::poll_fn(|cx| body.as_mut().poll_next(cx)).await;
    let text = String::from_utf8(bytes.unwrap().unwrap().to_vec()).unwrap();
    let part = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().to_owned()
    };
    let data = serde_json::from_str(&part("data: ")).unwrap();
    (part("id: "), part("event: "), data)
}

#[actix_web::test]
async fn the_stream_tells_what_changes_and_goes_on_where_it_was() {
    let site = Site::start().await;
    let open = |last: Option<&str>| {
        let mut request = TestRequest::get()
            .uri("/mcp/stream")
            .insert_header(site.bearer("mcp:subscribe"));
        if let Some(last) = last {
            request = request.insert_header(("last-event-id", last));
        }
        async { Box::pin(site.send(request).await.into_body()) }
    };
    let news = site.news();
    let mut body = open(None).await;
    assert_eq!(event(&mut body).await.1, "status");
    news.tell(Change::ToolList);
    news.tell(Change::Resource("edge-hive://logs/a".into()));
    news.tell(Change::Peer {
        id: "swift-fox".into(),
        event: PeerEvent::Joined,
    });
    news.tell(Change::Node);
    let (first, name, _) = event(&mut body).await;
    assert_eq!(name, "tools");
    let (_, name, data) = event(&mut body).await;
    assert_eq!(
        (name.as_str(), data),
        ("resource", json!({"uri": "edge-hive://logs/a"}))
    );
    let (_, name, data) = event(&mut body).await;
    assert_eq!(
        (name.as_str(), data),
        ("peer", json!({"id": "swift-fox", "event": "joined"}))
    );
    let (latest, name, data) = event(&mut body).await;
    assert_eq!((name.as_str(), &data["id"]), ("status", &json!(site.id)));

    let mut again = open(Some(&first)).await;
    let (id, name, _) = event(&mut again).await;
    assert_eq!((id.as_str(), name.as_str()), (first.as_str(), "status"));
    assert_eq!(event(&mut again).await.1, "resource");
    let mut lost = open(Some("of-another-run-7")).await;
    assert_eq!(event(&mut lost).await.1, "status");
    let (id, name, _) = event(&mut lost).await;
    assert_eq!((id.as_str(), name.as_str()), (latest.as_str(), "missed"));
}

#[actix_web::test]
async fn a_stream_ends_when_the_key_of_its_token_is_gone() {
    use actix_web::body::MessageBody;

    let site = Site::start().await;
    let open = TestRequest::get()
        .uri("/mcp/stream")
        .insert_header(site.bearer("mcp:subscribe"));
    let mut body = Box::pin(site.send(open).await.into_body());
    let mut next = async || std::future::poll_fn(|cx| body.as_mut().poll_next(cx)).await;
    let first = next().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("\nevent: status\n"));
    // Beats come without waiting for them.
    tokio::time::pause();
    assert_eq!(next().await.unwrap().unwrap().as_ref(), b": still here\n\n");
    tokio::time::resume();

    let issuer = site.issuer.as_ref().unwrap();
    issuer.reset().await;
    let renewed = Forge::with_key(&issuer.uri(), "key-2", [9; 32]);
    renewed.publish(issuer).await;
    let token = renewed.token_at(shared::clock::now(), |_| {});
    let call = TestRequest::post()
        .uri("/mcp/tools/call")
        .insert_header(("authorization", format!("Bearer {token}")));
    let answer = site.send(call.set_json(json!({"name": "get_status"}))).await;
    assert_eq!(answer.status(), 200);
    tokio::time::pause();
    // It is looked at between two beats.
    let last = next().await;
    let ended = match last {
        Some(beat) => beat.unwrap().starts_with(b":") && next().await.is_none(),
        None => true,
    };
    assert!(ended);
}

#[actix_web::test]
async fn probes_tell_whether_tokens_can_be_judged() {
    let site = Site::start().await;
    assert_eq!(site.send(TestRequest::get().uri("/healthz")).await.status(), 200);
    let ready = site.send(TestRequest::get().uri("/readyz")).await;
    assert_eq!(
        (
            ready.status().as_u16(),
            body_of(ready).await["usable_issuers"].as_u64()
        ),
        (200, Some(1))
    );
    let alone = Site::without_issuer().await;
    assert_eq!(alone.send(TestRequest::get().uri("/healthz")).await.status(), 200);
    assert_eq!(alone.send(TestRequest::get().uri("/readyz")).await.status(), 503);
}

#[actix_web::test]
async fn without_mcp_the_node_only_says_what_it_is() {
    let site = Site::with_server("mcp_enabled = false").await;
    for path in ["/mcp", "/mcp/tools/call"] {
        let answer = site
            .send(
                TestRequest::post()
                    .uri(path)
                    .insert_header(site.bearer("mcp:call")),
            )
            .await;
        assert_eq!(answer.status(), 404, "{path}");
    }
    let metadata = TestRequest::get().uri("/.well-known/oauth-protected-resource");
    assert_eq!(site.send(metadata).await.status(), 200);
}

#[actix_web::test]
async fn dpop_28_30_where_proofs_need_a_nonce_every_answer_carries_the_next() {
    let site = Site::with_server("dpop_nonce = \"required\"").await;
    let holder = Holder::new(1);
    let now = shared::clock::now();
    let token = site
        .forge
        .token_at(now, |claims| claims["cnf"] = holder.confirmation());
    let call = |nonce: Option<&str>, jti: &str| {
        let proof = holder.proof(&token, jti, |claims| {
            claims["htu"] = json!("http://localhost:8080/mcp/tools/call");
            claims["iat"] = json!(now.0);
            if let Some(nonce) = nonce {
                claims["nonce"] = json!(nonce);
            }
        });
        TestRequest::post()
            .uri("/mcp/tools/call")
            .insert_header(("authorization", format!("DPoP {token}")))
            .insert_header(("dpop", proof))
            .insert_header(("origin", "https://app.example"))
            .set_json(json!({"name": "get_status"}))
    };
    let refused = site.send(call(None, "a")).await;
    assert_eq!(refused.status(), 401);
    let challenge = refused.headers().get(header::WWW_AUTHENTICATE).unwrap();
    assert!(
        challenge
            .to_str()
            .unwrap()
            .starts_with("DPoP error=\"use_dpop_nonce\"")
    );
    let exposed = refused
        .headers()
        .get(header::ACCESS_CONTROL_EXPOSE_HEADERS)
        .unwrap();
    assert!(exposed.to_str().unwrap().contains("DPoP-Nonce"));
    let nonce = refused.headers().get("dpop-nonce").unwrap().to_str().unwrap();
    let answer = site.send(call(Some(nonce), "b")).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("dpop-nonce"));
    // Where none is asked for, none is offered.
    let plain = Site::start().await;
    let answer = plain.send(TestRequest::post().uri("/mcp/tools/call")).await;
    assert_eq!(answer.status(), 401);
    assert!(!answer.headers().contains_key("dpop-nonce"));
}
