//! MCP-01 … MCP-16 as far as they need no streams: a node of ours with a server of ours.

use blackbox::answers::{granted, refused_401, refused_403};
use blackbox::fleet::Wishes;
use blackbox::{Db, Fleet, both};
use serde_json::{Value, json};
use xtask::http::{self, Answer, Connection, Request, Url};
use xtask::journey::{modern, parameter};

pub(crate) fn rpc(fleet: &Fleet, token: &str, method: &str, params: Value) -> Answer {
    modern(&fleet.node.url(), method, params)
        .unwrap()
        .bearer(token)
        .send()
        .unwrap()
}

pub(crate) fn scoped(fleet: &Fleet, scope: &str) -> String {
    let answer = granted(&fleet.ask_token(
        &fleet.client(&[]),
        &[("resource", &fleet.node.url()), ("scope", scope)],
    ));
    answer["access_token"].as_str().unwrap().to_owned()
}

both!(mcp_01_no_token);
fn mcp_01_no_token(db: Db) {
    let fleet = Fleet::shared(db);
    let answer = modern(&fleet.node.url(), "tools/list", json!({}))
        .unwrap()
        .send()
        .unwrap();
    let challenge = refused_401(&answer, None);
    let metadata = parameter(&challenge, "resource_metadata").unwrap();
    assert_eq!(
        metadata,
        fleet.node_at("/.well-known/oauth-protected-resource/mcp")
    );
    assert_eq!(
        granted(&http::get(&metadata).unwrap())["resource"],
        fleet.node.url().as_str()
    );
    assert_eq!(parameter(&challenge, "error_description"), None);
    let token = scoped(&fleet, "mcp:read");
    assert_eq!(rpc(&fleet, &token, "tools/list", json!({})).status, 200);
}

both!(mcp_02_the_whole_way_of_an_agent);
fn mcp_02_the_whole_way_of_an_agent(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let arrival = xtask::journey::walk(&fleet.node.url(), &client, "get_status", &mut |_| ()).unwrap();
    fleet.remember(&arrival.token);
    assert_eq!(arrival.resource, fleet.node.url());
    assert!(
        arrival.result.to_string().contains("uptime"),
        "{}",
        arrival.result
    );
}

both!(mcp_03_a_missing_scope_is_named);
fn mcp_03_a_missing_scope_is_named(db: Db) {
    let fleet = Fleet::shared(db);
    let reader = scoped(&fleet, "mcp:read");
    refused_403(&fleet.call(&reader), "mcp:call");
    let caller = scoped(&fleet, "mcp:call");
    assert_eq!(fleet.call(&caller).status, 200);
    refused_403(&rpc(&fleet, &caller, "tools/list", json!({})), "mcp:read");
    assert_eq!(rpc(&fleet, &reader, "tools/list", json!({})).status, 200);
}

both!(mcp_05_a_refused_call_is_not_made_on_the_plain_form_either);
fn mcp_05_a_refused_call_is_not_made_on_the_plain_form_either(db: Db) {
    let fleet = Fleet::shared(db);
    let plain = |token: &str| {
        let request = Request::post(&fleet.node_at("/mcp/tools/call"))
            .unwrap()
            .bearer(token);
        request
            .json(&json!({"name": "get_status", "arguments": {}}))
            .send()
            .unwrap()
    };
    refused_403(&plain(&scoped(&fleet, "mcp:read")), "mcp:call");
    granted(&plain(&scoped(&fleet, "mcp:call")));
    let read = |token: &str| {
        let request = Request::new("GET", &fleet.node_at("/mcp/resources/edge-hive%3A%2F%2Fstatus")).unwrap();
        request.bearer(token).send().unwrap()
    };
    assert_eq!(read(&scoped(&fleet, "mcp:call")).status, 403);
    assert_eq!(read(&scoped(&fleet, "mcp:read")).status, 200);
    assert_eq!(read(&scoped(&fleet, "mcp:resources")).status, 200);
}

both!(mcp_06_every_request_carries_its_token);
fn mcp_06_every_request_carries_its_token(db: Db) {
    let fleet = Fleet::shared(db);
    let token = scoped(&fleet, "mcp:read");
    let mut connection = Connection::open(&Url::parse(&fleet.node.url()).unwrap()).unwrap();
    let list = modern(&fleet.node.url(), "tools/list", json!({})).unwrap();
    assert_eq!(connection.send(&list.clone().bearer(&token)).unwrap().status, 200);
    refused_401(&connection.send(&list).unwrap(), None);
    // The refusal came before the body was read, so that connection has ended.
    assert_eq!(list.bearer(&token).send().unwrap().status, 200);
}

both!(mcp_07_a_token_for_another_resource_is_refused);
fn mcp_07_a_token_for_another_resource_is_refused(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client_for_any(&[]);
    let other = fleet.token(&client, &fleet.resource(&[]));
    refused_401(&fleet.call(&other), Some("invalid_token"));
    assert_eq!(fleet.call(&fleet.token(&client, &fleet.node.url())).status, 200);
}

both!(mcp_07_every_algorithm_is_verified);
fn mcp_07_every_algorithm_is_verified(db: Db) {
    let fleet = Fleet::start(db, &Wishes::default());
    let client = fleet.client(&[]);
    for algorithm in ["ES256", "RS256", "EdDSA"] {
        fleet
            .server
            .json(&[
                "resource",
                "update",
                "--uri",
                &fleet.node.url(),
                "--alg",
                algorithm,
            ])
            .unwrap();
        let token = fleet.token(&client, &fleet.node.url());
        assert!(matches!(fleet.call(&token).status, 200), "{algorithm}");
    }
}

both!(mcp_10_metadata_at_both_places);
fn mcp_10_metadata_at_both_places(db: Db) {
    let fleet = Fleet::shared(db);
    let places = [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
    ];
    for place in places {
        let answer = http::get(&fleet.node_at(place)).unwrap();
        let document = granted(&answer);
        assert_eq!(document["resource"], fleet.node.url().as_str());
        assert_eq!(document["authorization_servers"], json!([fleet.server.issuer]));
        assert_eq!(document["bearer_methods_supported"], json!(["header"]));
        assert!(
            document["scopes_supported"]
                .as_array()
                .unwrap()
                .contains(&json!("mcp:read")),
            "{document}"
        );
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    assert_eq!(
        http::get(&fleet.node_at("/.well-known/oauth-protected-resource/other"))
            .unwrap()
            .status,
        404
    );
}

both!(mcp_14_a_foreign_origin_is_refused);
fn mcp_14_a_foreign_origin_is_refused(db: Db) {
    let fleet = Fleet::shared(db);
    let token = scoped(&fleet, "mcp:read");
    let with_origin = |origin: &str| {
        let request = modern(&fleet.node.url(), "tools/list", json!({}))
            .unwrap()
            .bearer(&token);
        request.header("Origin", origin).send().unwrap()
    };
    for origin in [
        "https://evil.example",
        "null",
        "http://localhost.evil.example",
        "not an origin",
    ] {
        assert_eq!(with_origin(origin).status, 403, "{origin}");
    }
    assert_eq!(
        with_origin(&format!("http://localhost:{}", fleet.node.port)).status,
        200
    );
    assert_eq!(rpc(&fleet, &token, "tools/list", json!({})).status, 200);
}

both!(mcp_15_a_foreign_host_is_refused);
fn mcp_15_a_foreign_host_is_refused(db: Db) {
    let fleet = Fleet::shared(db);
    let token = scoped(&fleet, "mcp:read");
    let with_host = |host: &str| {
        let request = modern(&fleet.node.url(), "tools/list", json!({}))
            .unwrap()
            .bearer(&token);
        request.header("Host", host).send().unwrap()
    };
    for host in [
        "evil.example",
        &format!("evil.example:{}", fleet.node.port),
        "localhost.evil.example",
    ] {
        assert!(matches!(with_host(host).status, 403 | 421), "{host}");
    }
    assert_eq!(with_host(&format!("127.0.0.1:{}", fleet.node.port)).status, 200);
}

both!(mcp_16_get_and_delete_are_405);
fn mcp_16_get_and_delete_are_405(db: Db) {
    let fleet = Fleet::shared(db);
    let token = scoped(&fleet, "mcp:read mcp:subscribe");
    for method in ["GET", "DELETE"] {
        let request = Request::new(method, &fleet.node.url()).unwrap().bearer(&token);
        let answer = request.header("Accept", "text/event-stream").send().unwrap();
        assert_eq!(answer.status, 405, "{answer}");
        assert!(
            answer.header("allow").unwrap_or_default().contains("POST"),
            "{answer}"
        );
    }
}

both!(node_07_the_addressed_forms_know_their_own_id);
fn node_07_the_addressed_forms_know_their_own_id(db: Db) {
    let fleet = Fleet::shared(db);
    let token = fleet.token(&fleet.client(&[]), &fleet.node.url());
    let call = |path: &str| {
        let request = Request::post(&fleet.node_at(path)).unwrap().bearer(&token);
        request
            .json(&json!({"name": "get_status", "arguments": {}}))
            .send()
            .unwrap()
    };
    let status = granted(&call("/mcp/tools/call"));
    let id = status["structuredContent"]["id"].as_str().unwrap();
    granted(&call(&format!("/mcp/node/{id}/tools/call")));
    assert_eq!(call("/mcp/node/other-node-000000/tools/call").status, 404);
    granted(&http::get(&fleet.node_at(&format!("/mcp/node/{id}/info"))).unwrap());
    assert_eq!(
        http::get(&fleet.node_at("/mcp/node/other-node-000000/info"))
            .unwrap()
            .status,
        404
    );
}
