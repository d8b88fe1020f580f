//! CC-01 … CC-06, CODE-15, CODE-16, RFC 8707, RFC 9068: the grant and the token it gives.

use blackbox::answers::{granted, refused_400, refused_client};
use blackbox::{Db, Fleet, both, forge};
use serde_json::Value;

both!(cc_01_a_public_client_gets_no_token_of_its_own);
fn cc_01_a_public_client_gets_no_token_of_its_own(db: Db) {
    let fleet = Fleet::shared(db);
    let words = [
        "client", "create", "--name", "public", "--public", "--type", "native", "--scopes", "mcp:read",
    ];
    let public = fleet.server.json(&words).unwrap();
    assert!(
        public.get("client_secret").is_none_or(Value::is_null),
        "a public client with a secret"
    );
    let id = public["client_id"].as_str().unwrap();
    let form = [("grant_type", "client_credentials"), ("client_id", id)];
    let answer = fleet.post_bare("/oauth/token", &form);
    assert!(matches!(answer.status, 400 | 401), "{answer}");
    let error = answer.json().unwrap()["error"].clone();
    assert!(
        error == "unauthorized_client" || error == "invalid_client",
        "{answer}"
    );
    granted(&fleet.ask_token(&fleet.client(&[]), &[]));
}

both!(cc_02_the_answer_has_a_bearer_token_and_no_refresh_token);
fn cc_02_the_answer_has_a_bearer_token_and_no_refresh_token(db: Db) {
    let fleet = Fleet::shared(db);
    let answer = granted(&fleet.ask_token(&fleet.client(&[]), &[("scope", "mcp:read")]));
    let mut members: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["access_token", "expires_in", "scope", "token_type"]);
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["scope"], "mcp:read");
    assert_eq!(answer["expires_in"], 3600);
}

both!(cc_03_scopes_are_cut_to_what_is_allowed);
fn cc_03_scopes_are_cut_to_what_is_allowed(db: Db) {
    let fleet = Fleet::shared(db);
    let reader = fleet.client(&["--scopes", "mcp:read"]);
    let default = granted(&fleet.ask_token(&reader, &[]));
    assert_eq!(default["scope"], "mcp:read");
    refused_400(
        &fleet.ask_token(&reader, &[("scope", "mcp:call")]),
        "invalid_scope",
    );
    for broken in ["mcp:read  mcp:read", "a\"b", "a\\b", "a\tb", "ü"] {
        let answer = fleet.ask_token(&fleet.client(&[]), &[("scope", broken)]);
        assert!(
            answer.status == 400 || broken.contains("  "),
            "{broken}: {answer}"
        );
    }
    // A resource narrows what its tokens may say.
    let narrow = fleet.resource(&["--scopes", "mcp:read"]);
    let client = fleet.client_for_any(&[]);
    let cut = granted(&fleet.ask_token(&client, &[("resource", &narrow)]));
    assert_eq!(cut["scope"], "mcp:read");
    let wide = granted(&fleet.ask_token(
        &client,
        &[("resource", &fleet.node.url()), ("scope", "mcp:call mcp:read")],
    ));
    let mut scopes: Vec<&str> = wide["scope"].as_str().unwrap().split(' ').collect();
    scopes.sort_unstable();
    assert_eq!(scopes, ["mcp:call", "mcp:read"]);
}

both!(cc_04_the_token_is_rfc_9068);
fn cc_04_the_token_is_rfc_9068(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&["--type", "ai-agent"]);
    let (before, token, after) = (
        forge::now(),
        fleet.token(&client, &fleet.node.url()),
        forge::now(),
    );
    let header = forge::part(&token, 0);
    assert_eq!(header["typ"], "at+jwt");
    assert_eq!(header["alg"], "EdDSA");
    assert!(header["kid"].is_string());
    let claims = forge::part(&token, 1);
    assert_eq!(claims["iss"], fleet.server.issuer.as_str());
    assert_eq!(claims["aud"], fleet.node.url().as_str());
    assert_eq!(claims["client_id"], client.id.as_str());
    assert_eq!(claims["client_type"], "ai-agent");
    assert!(claims["client_name"].is_string());
    // BCP 4.15: a client may not be mistaken for a user of the same name.
    let subject = claims["sub"].as_str().unwrap();
    assert!(
        subject == client.id || subject == format!("client:{}", client.id),
        "{subject}"
    );
    let (issued, expires) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert!((before..=after).contains(&issued));
    assert_eq!(expires - issued, 3600);
    assert!(claims.get("nbf").is_none());
    let again = forge::part(&fleet.token(&client, &fleet.node.url()), 1);
    assert!(claims["jti"].as_str().unwrap().len() >= 16);
    assert_ne!(claims["jti"], again["jti"]);
}

both!(cc_05_a_revoked_client_is_gone_and_its_tokens_inactive);
fn cc_05_a_revoked_client_is_gone_and_its_tokens_inactive(db: Db) {
    let fleet = Fleet::shared(db);
    let (client, watcher) = (fleet.client(&[]), fleet.client(&[]));
    let token = fleet.token(&client, &fleet.node.url());
    assert_eq!(fleet.introspect(&client, &token)["active"], true);
    fleet.server.json(&["client", "revoke", &client.id]).unwrap();
    refused_client(&fleet.ask_token(&client, &[]), true);
    assert_eq!(fleet.introspect(&watcher, &token)["active"], false);
    granted(&fleet.ask_token(&watcher, &[]));
}

both!(cc_06_only_registered_and_allowed_resources);
fn cc_06_only_registered_and_allowed_resources(db: Db) {
    let fleet = Fleet::shared(db);
    let (allowed, other) = (fleet.resource(&[]), fleet.resource(&[]));
    let bound = fleet.client(&["--resource", &allowed]);
    for bad in [
        "http://localhost/unknown",
        "not a uri",
        "/relative",
        &format!("{allowed}#f"),
        &other,
    ] {
        refused_400(&fleet.ask_token(&bound, &[("resource", bad)]), "invalid_target");
    }
    let two = [("resource", allowed.as_str()), ("resource", other.as_str())];
    refused_400(&fleet.ask_token(&bound, &two), "invalid_target");
    granted(&fleet.ask_token(&bound, &[("resource", &allowed)]));
    // People and clients add a slash at the end; the token still names the resource exactly as it was registered.
    let slash = granted(&fleet.ask_token(&bound, &[("resource", &format!("{allowed}/"))]));
    assert_eq!(
        forge::part(slash["access_token"].as_str().unwrap(), 1)["aud"],
        allowed.as_str()
    );
    // The one that fits is the default.
    let default = granted(&fleet.ask_token(&bound, &[]));
    assert_eq!(
        forge::part(default["access_token"].as_str().unwrap(), 1)["aud"],
        allowed.as_str()
    );
}

both!(rfc_6749_other_grants_are_unsupported);
fn rfc_6749_other_grants_are_unsupported(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    for grant in [
        "password",
        "implicit",
        "urn:x:unknown",
        "CLIENT_CREDENTIALS",
        "client_credentials ",
    ] {
        refused_400(
            &fleet.post("/oauth/token", &client, &[("grant_type", grant)]),
            "unsupported_grant_type",
        );
    }
    refused_400(&fleet.post("/oauth/token", &client, &[]), "invalid_request");
}

both!(key_08_each_resource_has_its_algorithm);
fn key_08_each_resource_has_its_algorithm(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client_for_any(&[]);
    for algorithm in ["EdDSA", "ES256", "RS256"] {
        let resource = fleet.resource(&["--alg", algorithm]);
        let token = fleet.token(&client, &resource);
        assert_eq!(forge::part(&token, 0)["alg"], algorithm);
        assert_eq!(fleet.introspect(&client, &token)["active"], true, "{algorithm}");
    }
}

both!(rfc_9068_the_life_of_a_token_is_the_resources);
fn rfc_9068_the_life_of_a_token_is_the_resources(db: Db) {
    let fleet = Fleet::shared(db);
    let resource = fleet.resource(&["--access-ttl", "5m"]);
    let answer = granted(&fleet.ask_token(&fleet.client_for_any(&[]), &[("resource", &resource)]));
    assert_eq!(answer["expires_in"], 300);
    let claims = forge::part(answer["access_token"].as_str().unwrap(), 1);
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        300
    );
}
