//! <https://developer.okta.com/docs/api/openapi/okta-oauth/guides/overview/>: tokens of custom authorization servers.

use super::*;

fn start() -> Provider {
    Provider::start(Sample {
        kind: "okta",
        path: "/oauth2/default",
        more: "",
        header: json!({"alg": "RS256", "kid": "rsa"}),
        claims: json!({
            "ver": 1, "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE", "cid": "0oa8", "uid": "00u1",
            "scp": ["openid", "mcp:read", "mcp:call"], "sub": "ada@example.com",
        }),
    })
}

#[test]
fn okta_tokens_of_a_custom_authorization_server() {
    let okta = start();
    let seen = okta.takes_its_own_and_no_near_miss();
    assert_eq!(
        (seen["client_id"].as_str(), seen["scope"].as_str()),
        (Some("0oa8"), Some("mcp:call mcp:read openid"))
    );
    for typ in [json!("JWT"), json!("at+jwt"), json!("application/at+jwt")] {
        okta.takes(&okta.head("typ", typ));
    }
    // Those of the organization are for Okta itself.
    okta.refuses(
        &okta.head("typ", json!("application/okta-internal-at+jwt")),
        "type",
    );
    okta.refuses(&okta.claim("jti", Value::Null), "type");
    okta.refuses(&okta.claim("jti", json!("at.lower")), "type");
    okta.refuses(&okta.claim("cid", Value::Null), "type");
    okta.refuses(&okta.claim("scp", json!("mcp:call")), "scope");
    okta.refuses(&okta.claim("scp", json!([["mcp:call"]])), "scope");
    okta.takes_without_scope(&okta.claim("scp", Value::Null));
    // The name by which others write it does not count.
    let elsewhere = with(&okta.claims, "scp", Value::Null);
    okta.takes_without_scope(&okta.sign(&okta.header, &with(&elsewhere, "scope", json!("mcp:call"))));
}

#[test]
fn jwt_29_okta_id_tokens_are_no_access_tokens() {
    let okta = start();
    let me = okta.node.node.url();
    for (audience, more) in [
        (
            "0oa8",
            json!({"ver": 1, "jti": "ID.radC", "amr": ["pwd"], "idp": "00o"}),
        ),
        (me.as_str(), json!({"ver": 1, "jti": "ID.radC"})),
        (
            &me,
            json!({"ver": 1, "jti": "ID.radC", "cid": "0oa8", "scp": ["mcp:call"]}),
        ),
        (
            &me,
            json!({"ver": 1, "jti": "RT.radC", "cid": "0oa8", "scp": ["mcp:call"]}),
        ),
        (&me, json!({"ver": 1, "jti": "AT.radC", "scp": ["mcp:call"]})),
    ] {
        let claims = id_token(&okta, audience, more);
        okta.refuses(&okta.sign(&okta.header, &claims), "type");
    }
    okta.takes(&okta.good());
}
