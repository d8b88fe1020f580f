//! OpenID Connect as far as clients need it: ID tokens, userinfo, and refresh tokens asked about.

use blackbox::answers::{granted, refused_400};
use blackbox::people::{CALLBACK, PASSWORD, Pkce};
use blackbox::{Db, Fleet, both, forge};
use serde_json::Value;
use xtask::http::{Answer, Request};

/// Tokens of a client that asked for `scope` with a nonce; the person's name and the client's id beside them.
fn tokens(fleet: &Fleet, scope: &str) -> (Value, String, String) {
    let username = fleet.fresh_name();
    fleet.user(
        &username,
        PASSWORD,
        &["--email", "ada@example.com", "--display-name", "Ada"],
    );
    let client_id = fleet.web_client(CALLBACK, &[]);
    let pkce = Pkce::fresh();
    let more = [("scope", scope), ("nonce", "n-1")];
    let redirect = fleet.allowed(&mut fleet.person(), &username, &client_id, (&pkce, &more));
    let tokens = granted(&fleet.redeem(&client_id, &redirect.code(), &pkce, &[]));
    (tokens, username, client_id)
}

fn userinfo(fleet: &Fleet, token: &str) -> Answer {
    let request = Request::new("GET", &fleet.at("/oauth/userinfo")).unwrap();
    request.bearer(token).send().unwrap()
}

both!(oidc_core_2_an_id_token_says_who_signed_in_to_whom);
fn oidc_core_2_an_id_token_says_who_signed_in_to_whom(db: Db) {
    let fleet = Fleet::shared(db);
    let (tokens, _, client_id) = tokens(&fleet, "openid profile email mcp:read");
    let id_token = tokens["id_token"].as_str().unwrap();
    let (header, claims) = (forge::part(id_token, 0), forge::part(id_token, 1));
    assert_eq!(header["alg"], "RS256");
    assert_eq!(claims["iss"], fleet.server.issuer.as_str());
    assert_eq!(claims["aud"], client_id.as_str());
    assert_eq!(claims["nonce"], "n-1");
    let access = forge::part(tokens["access_token"].as_str().unwrap(), 1);
    assert_eq!(claims["sub"], access["sub"]);
    assert!(claims["auth_time"].is_i64() && claims["at_hash"].is_string());
    // It opens nothing: it is no access token (RFC 8725 §3.11).
    assert_eq!(fleet.call(id_token).status, 401);
    assert_eq!(userinfo(&fleet, id_token).status, 401);
    // A refresh renews it, without the nonce of a request that is long answered (Core §12.2).
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let renewed = granted(&fleet.refresh(&client_id, refresh, &[]));
    let renewed = forge::part(renewed["id_token"].as_str().unwrap(), 1);
    assert_eq!(renewed["sub"], claims["sub"]);
    assert_eq!(renewed["auth_time"], claims["auth_time"]);
    assert!(renewed.get("nonce").is_none());
}

both!(oidc_core_5_userinfo_tells_what_the_scope_asks_for);
fn oidc_core_5_userinfo_tells_what_the_scope_asks_for(db: Db) {
    let fleet = Fleet::shared(db);
    let (full, username, _) = tokens(&fleet, "openid profile email");
    let told = granted(&userinfo(&fleet, full["access_token"].as_str().unwrap()));
    assert_eq!(told["preferred_username"], username.as_str());
    assert_eq!(told["name"], "Ada");
    assert_eq!(told["email"], "ada@example.com");
    let (bare, _, _) = tokens(&fleet, "openid");
    let told = granted(&userinfo(&fleet, bare["access_token"].as_str().unwrap()));
    assert_eq!(told.as_object().unwrap().len(), 1, "{told}");
    // Without openid the token is good, and not for this (RFC 6750 §3.1).
    let (other, _, _) = tokens(&fleet, "mcp:read");
    assert!(other.get("id_token").is_none());
    let answer = userinfo(&fleet, other["access_token"].as_str().unwrap());
    assert_eq!(answer.status, 403, "{answer}");
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    assert!(challenge.contains("insufficient_scope"), "{challenge}");
    // A disabled person has nothing to tell.
    fleet.server.json(&["user", "disable", &username]).unwrap();
    assert_eq!(
        userinfo(&fleet, full["access_token"].as_str().unwrap()).status,
        401
    );
}

both!(sep_2207_a_refresh_token_does_not_depend_on_offline_access);
fn sep_2207_a_refresh_token_does_not_depend_on_offline_access(db: Db) {
    let fleet = Fleet::shared(db);
    for scope in ["mcp:read", "mcp:read offline_access"] {
        let (tokens, _, _) = tokens(&fleet, scope);
        assert!(tokens["refresh_token"].is_string(), "{scope}");
        assert_eq!(tokens["scope"], "mcp:read", "no resource knows offline_access");
    }
    // A client without the grant gets none, whatever it asks for.
    let username = fleet.person_account();
    let client_id = fleet.web_client(CALLBACK, &["--grants", "authorization_code"]);
    let pkce = Pkce::fresh();
    let more = [("scope", "mcp:read offline_access")];
    let redirect = fleet.allowed(&mut fleet.person(), &username, &client_id, (&pkce, &more));
    let tokens = granted(&fleet.redeem(&client_id, &redirect.code(), &pkce, &[]));
    assert!(tokens.get("refresh_token").is_none());
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", &*client_id),
        ("refresh_token", "ehr_x"),
    ];
    refused_400(&fleet.post_bare("/oauth/token", &form), "unauthorized_client");
}

both!(rfc_7662_a_client_may_ask_about_its_own_refresh_token);
fn rfc_7662_a_client_may_ask_about_its_own_refresh_token(db: Db) {
    let fleet = Fleet::shared(db);
    let username = fleet.person_account();
    let client = fleet.client(&["--redirect-uri", CALLBACK]);
    let pkce = Pkce::fresh();
    let redirect = fleet.allowed(&mut fleet.person(), &username, &client.id, (&pkce, &[]));
    let code = redirect.code();
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("code_verifier", pkce.verifier.as_str()),
    ];
    let tokens = granted(&fleet.post("/oauth/token", &client, &form));
    let refresh = tokens["refresh_token"].as_str().unwrap();
    fleet.remember(refresh);
    assert_eq!(fleet.introspect(&client, refresh)["active"], true);
    assert_eq!(fleet.introspect(&fleet.client(&[]), refresh)["active"], false);
    let revoke = [("token", refresh)];
    assert_eq!(fleet.post("/oauth/revoke", &client, &revoke).status, 200);
    assert_eq!(fleet.introspect(&client, refresh)["active"], false);
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(
        fleet.introspect(&client, access)["active"],
        false,
        "the family has ended"
    );
}
