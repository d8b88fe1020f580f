//! <https://www.keycloak.org/docs/latest/server_admin/>: the claim `typ` says what a token is.

use super::*;

fn start(more: &'static str) -> Provider {
    Provider::start(Sample {
        kind: "keycloak",
        path: "/realms/fleet",
        more,
        header: json!({"alg": "RS256", "typ": "JWT", "kid": "rsa"}),
        claims: json!({
            "jti": "onrtro:9b0f", "sub": "f1c4f64e", "typ": "Bearer", "azp": "agent", "sid": "4c0a", "acr": "1",
            "scope": "openid mcp:read mcp:call", "realm_access": {"roles": ["offline_access", "operator"]},
            "resource_access": {"account": {"roles": ["view-profile"]}},
        }),
    })
}

#[test]
fn keycloak_tokens_of_a_realm() {
    let keycloak = start("algorithms = [\"RS256\"]");
    let me = keycloak.node.node.url();
    let seen = keycloak.takes_its_own_and_no_near_miss();
    assert_eq!(seen["client_id"], "agent");
    keycloak.takes(&keycloak.claim("aud", json!([me, "account"])));
    keycloak.takes(&keycloak.head("typ", json!("at+jwt")));
    keycloak.takes(&keycloak.claim("client_id", json!("agent")));
    // Older releases put it into access tokens too; the claim typ decides.
    keycloak.takes(&keycloak.claim("nonce", json!("n")));
    keycloak.refuses(&keycloak.claim("client_id", json!("other")), "claims");
    keycloak.refuses(&keycloak.claim("azp", Value::Null), "claims");
    keycloak.refuses(&keycloak.claim("jti", Value::Null), "claims");
    keycloak.refuses(&keycloak.head("typ", Value::Null), "type");
    keycloak.refuses(&keycloak.claim("aud", json!("account")), "audience");
    keycloak.refuses(&keycloak.claim("scope", json!(["mcp:call"])), "scope");
    // Bound to a key, and shown without.
    keycloak.refuses(&keycloak.claim("typ", json!("DPoP")), "binding");
}

#[test]
fn jwt_29_keycloaks_other_tokens_are_no_access_tokens() {
    let keycloak = start("");
    for typ in ["ID", "Refresh", "Offline", "Logout", "Initial", "bearer", ""] {
        keycloak.refuses(&keycloak.claim("typ", json!(typ)), "type");
    }
    for typ in [Value::Null, json!(7), json!(["Bearer"])] {
        keycloak.refuses(&keycloak.claim("typ", typ), "type");
    }
    // Under the standard's header too.
    let header = with(&keycloak.header, "typ", json!("at+jwt"));
    let id = with(&keycloak.claims, "typ", json!("ID"));
    keycloak.refuses(&keycloak.sign(&header, &id), "type");
    keycloak.takes(&keycloak.good());
}

#[test]
fn keycloak_roles_count_where_they_are_configured() {
    let keycloak = start("scope_claim = \"/realm_access/roles\"");
    let roles = |roles: Value| keycloak.claim("realm_access", json!({"roles": roles}));
    assert_eq!(
        keycloak.takes(&roles(json!(["mcp:call", "operator"])))["scope"],
        "mcp:call operator"
    );
    keycloak.refuses(&roles(json!({"mcp:call": true})), "scope");
    keycloak.takes_without_scope(&roles(json!([])));
}
