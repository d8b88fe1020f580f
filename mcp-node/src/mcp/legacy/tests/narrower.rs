//! One owner has many tokens: what a session says is heard with those only that may do what it is about.

use super::*;

const RULES: &str = "[mcp]\nsessions = \"on\"\nhttp_sse = true\n[scopes.tools]\nwait = \"ops\"\ntell = \"ops\"\n\
                     [scopes.resources]\n\"edge-hive://status\" = \"ops\"\n";

fn wide() -> String {
    format!("{SCOPE} ops")
}

#[actix_web::test]
async fn mcp_21_an_answer_is_fetched_only_with_a_token_that_could_have_asked() {
    let stage = Stage::with("2025-11-25", RULES).await;
    let with = |request: TestRequest, scope: &str| {
        request
            .insert_header(stage.site.bearer(scope))
            .insert_header(("mcp-session-id", stage.session.clone()))
    };
    let calling = TestRequest::post()
        .uri("/mcp")
        .insert_header((header::ACCEPT, "application/json, text/event-stream"))
        .set_json(call(1, "wait"));
    let mut broken = Messages::of(stage.send(with(calling, &wide())).await);
    broken.event().await.unwrap();
    let place = broken.last_id.clone();
    drop(broken);
    stage.probe.go.add_permits(1);
    stage.probe.went.acquire().await.unwrap().forget();
    let resume = |scope: &str| {
        let get = TestRequest::get()
            .uri("/mcp")
            .insert_header((header::ACCEPT, "text/event-stream"))
            .insert_header(("last-event-id", place.clone()));
        stage.send(with(get, scope))
    };
    // Without the scope of the tool, and without that of calls.
    for narrow in [SCOPE, "mcp:subscribe ops"] {
        let mut resumed = Messages::of(resume(narrow).await);
        let answer = resumed.next().await.unwrap();
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&json!(1), &json!(-32603))
        );
        assert_eq!(resumed.next().await, None);
    }
    let mut resumed = Messages::of(resume(&wide()).await);
    assert_eq!(text(&resumed.next().await.unwrap()), "waited");
}

#[actix_web::test]
async fn mcp_21_a_standing_stream_tells_what_its_token_may_read() {
    let site = Site::with(RULES).await;
    let request = |request: TestRequest, scope: &str, session: Option<&str>| {
        let request = request.uri("/mcp").insert_header(site.bearer(scope));
        match session {
            Some(session) => request.insert_header(("mcp-session-id", session)),
            None => request,
        }
    };
    let hello = TestRequest::post().set_json(introduction("2025-06-18"));
    let answer = site.send(request(hello, SCOPE, None)).await;
    let id = answer.headers().get("mcp-session-id").unwrap();
    let session = Some(id.to_str().unwrap().to_owned());
    let follow = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": "edge-hive://status"}});
    let follow = |scope: &str| {
        let post = TestRequest::post().set_json(&follow);
        site.send(request(post, scope, session.as_deref()))
    };
    assert_eq!(follow(SCOPE).await.status(), 403);
    assert_eq!(body_of(follow(&wide()).await).await["result"], json!({}));
    let listen = |scope: &str| site.send(request(TestRequest::get(), scope, session.as_deref()));
    let news = site.news();
    let mut narrow = Messages::of(listen(SCOPE).await);
    news.tell(Change::Node);
    news.tell(Change::ToolList);
    let heard = narrow.next().await.unwrap();
    assert_eq!(heard["method"], "notifications/tools/list_changed");
    let mut whole = Messages::of(listen(&wide()).await);
    news.tell(Change::Node);
    let heard = whole.next().await.unwrap();
    assert_eq!(heard["params"], json!({"uri": "edge-hive://status"}));
}

#[actix_web::test]
async fn mcp_21_a_pairs_stream_gives_no_answer_that_its_token_may_not_hear() {
    let stage = Stage::with("2025-11-25", RULES).await;
    let open = |scope: &str| {
        let request = TestRequest::get().uri("/mcp/sse");
        stage.send(request.insert_header(stage.site.bearer(scope)))
    };
    for (scope, is_told) in [(SCOPE.to_owned(), false), (wide(), true)] {
        let mut stream = Messages::of(open(&scope).await);
        let (_, address) = stream.event().await.unwrap();
        let message = TestRequest::post().uri(&address).set_json(call(1, "tell"));
        let sent = stage
            .send(message.insert_header(stage.site.bearer(&wide())))
            .await;
        assert_eq!(sent.status(), 202);
        let mut heard = stream.next().await.unwrap();
        if is_told {
            assert_eq!(heard["method"], "notifications/progress");
            heard = stream.next().await.unwrap();
        }
        assert_eq!((&heard["id"], heard["result"].is_object()), (&json!(1), is_told));
    }
}
