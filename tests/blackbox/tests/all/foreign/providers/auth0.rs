//! <https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles>

use super::*;

fn start(more: &'static str) -> Provider {
    Provider::start(Sample {
        kind: "auth0",
        path: "/",
        more,
        header: json!({"alg": "RS256", "typ": "JWT", "kid": "rsa"}),
        claims: json!({
            "sub": "auth0|65", "azp": "K1AUPhZq", "scope": "openid mcp:read mcp:call", "gty": "password",
            "permissions": ["mcp:read"],
        }),
    })
}

#[test]
fn auth0_its_own_profile() {
    let auth0 = start("");
    let me = auth0.node.node.url();
    let seen = auth0.takes_its_own_and_no_near_miss();
    assert_eq!(
        (seen["client_id"].as_str(), seen["scope"].as_str()),
        (Some("K1AUPhZq"), Some("mcp:call mcp:read openid"))
    );
    // With the userinfo endpoint beside us, as when a person signed in.
    let two = json!([me, format!("{}userinfo", auth0.id)]);
    auth0.takes(&auth0.claim("aud", two));
    auth0.refuses(&auth0.head("typ", Value::Null), "type");
    auth0.refuses(&auth0.claim("azp", Value::Null), "type");
    auth0.refuses(&auth0.claim("azp", json!(7)), "type");
    auth0.refuses(&auth0.claim("scope", json!(["mcp:call"])), "scope");
    auth0.takes_without_scope(&auth0.claim("scope", Value::Null));
}

#[test]
fn auth0_the_profile_of_rfc_9068() {
    let auth0 = start("");
    let header = with(&auth0.header, "typ", json!("at+jwt"));
    let claims = with(&auth0.claims, "azp", Value::Null);
    let claims = with(&claims, "client_id", json!("K1AUPhZq"));
    let claims = with(&claims, "jti", json!(fresh_id()));
    auth0.takes(&auth0.sign(&header, &claims));
    for missing in ["client_id", "jti"] {
        let token = auth0.sign(&header, &with(&claims, missing, Value::Null));
        auth0.refuses(&token, "claims");
    }
}

#[test]
fn jwt_29_auth0_id_tokens_are_no_access_tokens() {
    let auth0 = start("");
    let me = auth0.node.node.url();
    for (audience, more) in [
        ("K1AUPhZq", json!({"nonce": "n", "sid": "s"})),
        ("K1AUPhZq", json!({"sid": "s"})),
        // Even for us, and with a scope, it is none.
        (me.as_str(), json!({"scope": "mcp:read mcp:call"})),
        (
            &me,
            json!({"azp": "K1AUPhZq", "nonce": "n", "scope": "mcp:read mcp:call"}),
        ),
        (&me, json!({"azp": "K1AUPhZq", "at_hash": "h"})),
        (&me, json!({"azp": "K1AUPhZq", "c_hash": "h"})),
        (&me, json!({"azp": me, "scope": "mcp:read mcp:call"})),
    ] {
        let claims = id_token(&auth0, audience, more);
        auth0.refuses(&auth0.sign(&auth0.header, &claims), "type");
    }
    let logout =
        json!({"azp": "K1AUPhZq", "events": {"http://schemas.openid.net/event/backchannel-logout": {}}});
    let logout = id_token(&auth0, &me, logout);
    auth0.refuses(&auth0.sign(&auth0.header, &logout), "type");
    auth0.takes(&auth0.good());
}

#[test]
fn auth0_permissions_count_only_where_they_are_configured() {
    let auth0 = start("scope_claim = \"permissions\"");
    let permissions = |list: Value| auth0.claim("permissions", list);
    let seen = auth0.takes(&permissions(json!(["mcp:call", "mcp:read"])));
    assert_eq!(seen["scope"], "mcp:call mcp:read");
    auth0.takes_without_scope(&permissions(json!([])));
    auth0.refuses(&permissions(json!([7])), "scope");
    auth0.refuses(&permissions(json!({"mcp:call": true})), "scope");
    // Without any, the scope.
    assert_eq!(
        auth0.takes(&permissions(Value::Null))["scope"],
        "mcp:call mcp:read openid"
    );
}
