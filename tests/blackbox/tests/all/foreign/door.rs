//! The door of a node as strangers meet it: no key, no configuration, no other issuer opens it.

use blackbox::answers::{granted, refused_401};
use blackbox::lone_node::LoneNode;
use serde_json::json;
use xtask::http::Request;
use xtask::journey::parameter;

#[test]
fn mcp_01_every_protected_place_asks_for_a_token() {
    let node = LoneNode::shared();
    let at = |path: &str| format!("http://localhost:{}{path}", node.node.port);
    let status = granted(&node.call(&node.good_token()));
    let id = status["result"]["structuredContent"]["id"].as_str().unwrap();
    let own = |rest: &str| format!("/mcp/node/{id}/{rest}");
    for (method, path) in [
        ("POST", "/mcp".to_owned()),
        ("POST", "/mcp/tools/call".into()),
        ("GET", "/mcp/resources/edge-hive%3A%2F%2Fstatus".into()),
        ("GET", "/mcp/stream".into()),
        ("POST", own("tools/call")),
        ("GET", own("resources/y")),
        ("GET", own("stream")),
    ] {
        let bare = Request::new(method, &at(&path))
            .unwrap()
            .json(&json!({"name": "get_status"}))
            .send()
            .unwrap();
        let challenge = refused_401(&bare, None);
        assert!(
            parameter(&challenge, "resource_metadata")
                .unwrap()
                .ends_with("/.well-known/oauth-protected-resource/mcp")
        );
        let bad = Request::new(method, &at(&path))
            .unwrap()
            .bearer("a.b.c")
            .json(&json!({}))
            .send()
            .unwrap();
        refused_401(&bad, Some("invalid_token"));
    }
    assert_eq!(node.call(&node.good_token()).status, 200);
}

#[test]
fn mcp_01_authentication_comes_before_parsing() {
    let node = LoneNode::shared();
    for body in ["", "{", "nonsense", &"x".repeat(8 << 20)] {
        let request = Request::post(&node.node.url())
            .unwrap()
            .header("Content-Type", "application/json");
        refused_401(&request.body(body).send().unwrap(), None);
    }
}

#[test]
fn mcp_10_metadata_names_the_configured_resource_whatever_the_host_says() {
    let node = LoneNode::shared();
    let url = format!(
        "http://127.0.0.1:{}/.well-known/oauth-protected-resource",
        node.node.port
    );
    let document = granted(&xtask::http::get(&url).unwrap());
    assert_eq!(document["resource"], node.node.url().as_str());
    assert_eq!(document["authorization_servers"], json!([node.issuer.url]));
}

#[test]
fn mcp_09_cookies_and_other_schemes_are_no_tokens() {
    let node = LoneNode::shared();
    let token = node.good_token();
    let with = |name: &str, value: &str| {
        let request = xtask::journey::modern(&node.node.url(), "tools/list", json!({})).unwrap();
        request.header(name, value).send().unwrap()
    };
    for (name, value) in [
        (
            "Cookie",
            format!("access_token={token}; Authorization=Bearer {token}"),
        ),
        ("X-Access-Token", token.clone()),
        ("Proxy-Authorization", format!("Bearer {token}")),
    ] {
        refused_401(&with(name, &value), None);
    }
    for scheme in ["Basic", "DPoP", "Token", "JWT"] {
        assert_eq!(
            with("Authorization", &format!("{scheme} {token}")).status,
            401,
            "{scheme}"
        );
    }
    assert_eq!(with("Authorization", &format!("Bearer {token}")).status, 200);
}

#[test]
fn mcp_11_a_cached_verdict_does_not_outlive_its_token() {
    let node = LoneNode::shared();
    let now = blackbox::forge::now();
    // The leeway of a minute is over in two seconds.
    let claims = blackbox::forge::with(&node.claims(), "exp", json!(now - 58));
    let token = node.ed.token(&claims);
    assert_eq!(node.call(&token).status, 200);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while node.call(&token).status == 200 {
        assert!(
            std::time::Instant::now() < deadline,
            "an expired token is still accepted"
        );
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    refused_401(&node.call(&token), Some("invalid_token"));
}
