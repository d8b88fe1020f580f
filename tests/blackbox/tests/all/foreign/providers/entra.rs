//! <https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>: both forms.

use super::*;

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

fn v2(more: &'static str) -> Provider {
    Provider::start(Sample {
        kind: "entra",
        path: "/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0",
        more,
        header: json!({"typ": "JWT", "alg": "RS256", "kid": "rsa"}),
        claims: json!({
            "nbf": now(), "aio": "x", "azp": "6e74172b", "azpacr": "0", "oid": "6903", "rh": "0.", "tid": TENANT,
            "scp": "mcp:read mcp:call", "sub": "HKZp", "uti": "fqiBqXLPj0eQa82S-IYFAA", "ver": "2.0",
        }),
    })
}

#[test]
fn entra_tokens_of_the_second_form() {
    let entra = v2("");
    let seen = entra.takes_its_own_and_no_near_miss();
    assert_eq!(seen["client_id"], "6e74172b");
    entra.refuses(&entra.head("typ", Value::Null), "type");
    entra.refuses(&entra.claim("azp", Value::Null), "type");
    entra.refuses(&entra.claim("ver", json!("1.0")), "type");
    entra.refuses(&entra.claim("ver", json!(2.0)), "type");
    entra.refuses(&entra.claim("ver", Value::Null), "type");
    for tenant in [
        json!("11111111-86f1-41af-91ab-2d7cd011db47"),
        Value::Null,
        json!(7),
    ] {
        entra.refuses(&entra.claim("tid", tenant), "issuer");
    }
    entra.refuses(&entra.claim("scp", json!(["mcp:call"])), "scope");
    // The other form's name of the client does not count.
    let other = with(
        &with(&entra.claims, "azp", Value::Null),
        "appid",
        json!("6e74172b"),
    );
    entra.refuses(&entra.sign(&entra.header, &other), "type");
    // Another tenant is another issuer.
    let elsewhere = entra.id.replace("72f988bf", "11111111");
    entra.refuses(&entra.claim("iss", json!(elsewhere)), "issuer");
    // An application that calls itself is no ID token.
    entra.takes(&entra.claim("azp", json!(entra.node.node.url())));
}

#[test]
fn entra_tokens_of_the_first_form() {
    let entra = Provider::start(Sample {
        kind: "entra",
        path: "/72f988bf-86f1-41af-91ab-2d7cd011db47/",
        more: "",
        header: json!({"typ": "JWT", "alg": "RS256", "x5t": "rsa", "kid": "rsa"}),
        claims: json!({
            "nbf": now(), "acr": "1", "amr": ["pwd"], "appid": "75dbe77f", "appidacr": "1", "oid": "4e18", "tid": TENANT,
            "scp": "mcp:read mcp:call", "sub": "l3_r", "uti": "FTfIj4J8", "ver": "1.0", "unique_name": "ada",
        }),
    });
    let seen = entra.takes_its_own_and_no_near_miss();
    assert_eq!(seen["client_id"], "75dbe77f");
    entra.refuses(&entra.claim("ver", json!("2.0")), "type");
    entra.refuses(&entra.claim("appid", Value::Null), "type");
    entra.refuses(&entra.claim("tid", json!("other")), "issuer");
    let id = json!({"tid": TENANT, "ver": "1.0", "oid": "4e18", "unique_name": "ada"});
    let id = id_token(&entra, &entra.node.node.url(), id);
    entra.refuses(&entra.sign(&entra.header, &id), "type");
}

#[test]
fn jwt_29_entra_id_tokens_are_no_access_tokens() {
    let entra = v2("");
    let me = entra.node.node.url();
    let id = json!({"tid": TENANT, "ver": "2.0", "oid": "6903", "preferred_username": "ada"});
    for audience in ["6e74172b", me.as_str()] {
        let claims = id_token(&entra, audience, id.clone());
        entra.refuses(&entra.sign(&entra.header, &claims), "type");
        let asked = with(&with(&claims, "azp", json!("6e74172b")), "nonce", json!("n"));
        entra.refuses(&entra.sign(&entra.header, &asked), "type");
    }
    entra.takes(&entra.good());
}

#[test]
fn entra_roles_are_the_apps_own_and_count_where_they_are_configured() {
    let app = |entra: &Provider, roles: Value| {
        let claims = with(&entra.claims, "scp", Value::Null);
        entra.sign(&entra.header, &with(&claims, "roles", roles))
    };
    let entra = v2("");
    entra.takes_without_scope(&app(&entra, json!(["mcp:call"])));
    let entra = v2("scope_claim = \"roles\"");
    assert_eq!(
        entra.takes(&app(&entra, json!(["mcp:call"])))["scope"],
        "mcp:call"
    );
    // What a person may do is not what they let the client do.
    let both = with(&entra.claims, "scp", json!("mcp:read"));
    let both = with(&both, "roles", json!(["mcp:call"]));
    let (failed, story) = entra.node.explain(&entra.sign(&entra.header, &both));
    assert_eq!(
        (failed, story["claims"]["scope"].as_str()),
        (None, Some("mcp:read"))
    );
}

#[test]
fn entra_scopes_read_as_clients_ask_for_them() {
    let entra =
        v2("scope_prefix = \"api://node/\"\n[scopes.methods]\n\"tools/call\" = \"api://node/mcp:call\"\n");
    let seen = entra.takes(&entra.good());
    assert_eq!(seen["scope"], "api://node/mcp:call api://node/mcp:read");
    let less = entra.claim("scp", json!("mcp:read"));
    refused_403(&entra.node.call(&less), "api://node/mcp:call");
}
