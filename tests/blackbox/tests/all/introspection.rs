//! INT-01 … INT-10, RFC 7662: what the server says of a token, and to whom.

use blackbox::answers::{granted, refused_400, refused_client};
use blackbox::forge::{self, Key};
use blackbox::people::{CALLBACK, Pkce};
use blackbox::{Db, Fleet, both};
use serde_json::json;
use xtask::fleet::Credentials;

both!(int_01_the_caller_must_be_known);
fn int_01_the_caller_must_be_known(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let token = fleet.token(&client, &fleet.node.url());
    refused_client(&fleet.post_bare("/oauth/introspect", &[("token", &token)]), false);
    let wrong = Credentials {
        id: client.id.clone(),
        secret: "ehs_x".into(),
    };
    refused_client(
        &fleet.post("/oauth/introspect", &wrong, &[("token", &token)]),
        true,
    );
    assert_eq!(fleet.introspect(&client, &token)["active"], true);
}

both!(int_02_an_active_token_is_described);
fn int_02_an_active_token_is_described(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let token = fleet.token(&client, &fleet.node.url());
    let (seen, claims) = (fleet.introspect(&client, &token), forge::part(&token, 1));
    assert_eq!(seen["active"], true);
    for name in ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope"] {
        assert_eq!(seen[name], claims[name], "{name}");
    }
    assert_eq!(seen["token_type"], "Bearer");
}

both!(int_03_a_missing_token_is_a_bad_request);
fn int_03_a_missing_token_is_a_bad_request(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    refused_400(&fleet.post("/oauth/introspect", &client, &[]), "invalid_request");
    refused_400(
        &fleet.post(
            "/oauth/introspect",
            &client,
            &[("token_type_hint", "access_token")],
        ),
        "invalid_request",
    );
}

both!(int_04_a_wrong_hint_changes_nothing);
fn int_04_a_wrong_hint_changes_nothing(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let token = fleet.token(&client, &fleet.node.url());
    for hint in ["access_token", "refresh_token", "nonsense", ""] {
        let answer = fleet.post(
            "/oauth/introspect",
            &client,
            &[("token", &token), ("token_type_hint", hint)],
        );
        assert_eq!(granted(&answer)["active"], true, "{hint}");
    }
}

both!(int_05_anothers_token_is_inactive_and_nothing_more);
fn int_05_anothers_token_is_inactive_and_nothing_more(db: Db) {
    let fleet = Fleet::shared(db);
    let (owner, stranger) = (fleet.client(&[]), fleet.client(&[]));
    let token = fleet.token(&owner, &fleet.node.url());
    assert_eq!(fleet.introspect(&stranger, &token), json!({"active": false}));
    assert_eq!(fleet.introspect(&owner, &token)["active"], true);
}

both!(int_05_a_resource_may_ask_about_the_tokens_that_are_for_it);
fn int_05_a_resource_may_ask_about_the_tokens_that_are_for_it(db: Db) {
    let fleet = Fleet::shared(db);
    let (owner, server) = (fleet.client_for_any(&[]), fleet.client(&[]));
    let (its, other) = (fleet.resource(&["--client", &server.id]), fleet.resource(&[]));
    assert_eq!(
        fleet.introspect(&server, &fleet.token(&owner, &its))["active"],
        true
    );
    assert_eq!(
        fleet.introspect(&server, &fleet.token(&owner, &other)),
        json!({"active": false})
    );
    // To know of a token is not to own it.
    let token = fleet.token(&owner, &its);
    refused_400(
        &fleet.post("/oauth/revoke", &server, &[("token", &token)]),
        "invalid_request",
    );
    assert_eq!(fleet.introspect(&server, &token)["active"], true);
}

both!(int_08_what_is_no_living_token_of_ours_is_inactive);
fn int_08_what_is_no_living_token_of_ours_is_inactive(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let good = fleet.token(&client, &fleet.node.url());
    let (header, claims) = (forge::part(&good, 0), forge::part(&good, 1));
    let foreign = Key::ed25519(header["kid"].as_str().unwrap());
    let flipped = if good.ends_with('A') { "B" } else { "A" };
    for bad in [
        "x".to_owned(),
        "a.b.c".into(),
        client.secret.clone(),
        good[..good.len() - 1].to_owned() + flipped,
        format!("{good}."),
        foreign.sign(&header, &claims),
        foreign.sign(&json!({"alg": "none", "typ": "at+jwt"}), &claims),
    ] {
        assert_eq!(fleet.introspect(&client, &bad), json!({"active": false}), "{bad}");
    }
    assert_eq!(fleet.introspect(&client, &good)["active"], true);
}

both!(int_08_an_expired_token_is_inactive);
fn int_08_an_expired_token_is_inactive(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client_for_any(&[]);
    let resource = fleet.resource(&["--access-ttl", "1s"]);
    let token = fleet.token(&client, &resource);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(15);
    // The server's own clock decides, so it is asked until it says so.
    while fleet.introspect(&client, &token)["active"] == true {
        assert!(
            std::time::Instant::now() < deadline,
            "a token of one second is still active"
        );
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(fleet.introspect(&client, &token), json!({"active": false}));
}

both!(int_09_a_bearer_token_is_no_credential_here);
fn int_09_a_bearer_token_is_no_credential_here(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let token = fleet.token(&client, &fleet.node.url());
    let request = xtask::http::Request::post(&fleet.at("/oauth/introspect"))
        .unwrap()
        .bearer(&token);
    refused_client(&request.form(&[("token", &token)]).send().unwrap(), true);
}

both!(int_08_a_refresh_token_is_what_a_refresh_would_give);
fn int_08_a_refresh_token_is_what_a_refresh_would_give(db: Db) {
    let fleet = Fleet::shared(db);
    let resource = fleet.resource(&[]);
    let words = ["--redirect-uri", CALLBACK, "--resource", &resource];
    let (client, stranger) = (fleet.client(&words), fleet.client(&[]));
    let pkce = Pkce::fresh();
    let wish = [("resource", resource.as_str()), ("scope", "mcp:call mcp:read")];
    let username = fleet.person_account();
    let redirect = fleet.allowed(&mut fleet.person(), &username, &client.id, (&pkce, &wish));
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &redirect.code()),
        ("redirect_uri", CALLBACK),
        ("code_verifier", &pkce.verifier),
    ];
    let tokens = granted(&fleet.post("/oauth/token", &client, &form));
    let refresh = tokens["refresh_token"].as_str().unwrap();
    fleet.remember(refresh);
    let seen = || fleet.introspect(&client, refresh);
    let narrow = |scopes: &str| {
        let line = ["client", "update", &client.id, "--scopes", scopes];
        fleet.server.json(&line).unwrap();
    };
    let active = seen();
    assert_eq!(
        (&active["active"], &active["scope"]),
        (&json!(true), &json!("mcp:call mcp:read"))
    );
    assert_eq!(fleet.introspect(&stranger, refresh), json!({"active": false}));
    narrow("mcp:read mcp:subscribe");
    assert_eq!(seen()["scope"], "mcp:read");
    // Nothing of what was granted is left to the client, and then some is again.
    narrow("mcp:subscribe");
    assert_eq!(seen(), json!({"active": false}));
    narrow("mcp:call");
    assert_eq!(seen()["scope"], "mcp:call");
    fleet
        .server
        .json(&["resource", "delete", "--uri", &resource])
        .unwrap();
    assert_eq!(seen(), json!({"active": false}));
}
