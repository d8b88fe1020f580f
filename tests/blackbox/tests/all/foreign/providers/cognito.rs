//! <https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html>

use super::*;

fn start(more: &'static str) -> Provider {
    Provider::start(Sample {
        kind: "cognito",
        path: "/eu-central-1_AbCdEf",
        more,
        header: json!({"alg": "RS256", "kid": "rsa"}),
        claims: json!({
            "sub": "aaaaaaaa-bbbb", "token_use": "access", "client_id": "5h57kf5le", "version": 2, "username": "ada",
            "origin_jti": "o", "event_id": "e", "auth_time": now(), "jti": "aaaaaaaa-cccc",
            "scope": "openid mcp:read mcp:call",
        }),
    })
}

#[test]
fn cognito_with_resource_binding_names_us() {
    let cognito = start("");
    let seen = cognito.takes_its_own_and_no_near_miss();
    assert_eq!(seen["client_id"], "5h57kf5le");
    cognito.refuses(&cognito.claim("aud", Value::Null), "audience");
    cognito.refuses(&cognito.claim("client_id", Value::Null), "claims");
    cognito.refuses(&cognito.claim("jti", Value::Null), "claims");
    cognito.refuses(&cognito.claim("scope", json!(["mcp:call"])), "scope");
    cognito.refuses(&cognito.claim("token_use", Value::Null), "type");
    cognito.refuses(&cognito.claim("token_use", json!("Access")), "type");
    cognito.refuses(&cognito.claim("token_use", json!(["access"])), "type");
}

#[test]
fn cognito_without_it_names_one_of_our_clients() {
    let cognito = start("clients = [\"5h57kf5le\", \"7abc\"]");
    let without = with(&cognito.claims, "aud", Value::Null);
    let by = |client: Value| cognito.sign(&cognito.header, &with(&without, "client_id", client));
    cognito.takes(&by(json!("5h57kf5le")));
    cognito.takes(&by(json!("7abc")));
    cognito.refuses(&by(json!("somebody")), "audience");
    cognito.refuses(&by(json!("5h57kf5l")), "audience");
    cognito.refuses(&by(Value::Null), "audience");
    cognito.refuses(&by(json!(["5h57kf5le"])), "claims");
    // An audience that is there counts, and the client too.
    cognito.takes(&cognito.good());
    cognito.refuses(&cognito.claim("aud", json!("http://localhost/other")), "audience");
    cognito.refuses(&cognito.claim("client_id", json!("somebody")), "audience");
}

#[test]
fn jwt_29_cognito_id_tokens_are_no_access_tokens() {
    let cognito = start("clients = [\"5h57kf5le\"]");
    let me = cognito.node.node.url();
    let id = json!({"token_use": "id", "cognito:username": "ada", "jti": "j", "at_hash": "h"});
    for audience in ["5h57kf5le", me.as_str()] {
        let claims = id_token(&cognito, audience, id.clone());
        cognito.refuses(&cognito.sign(&cognito.header, &claims), "type");
        let dressed = with(
            &with(&claims, "client_id", json!("5h57kf5le")),
            "scope",
            json!("mcp:call"),
        );
        cognito.refuses(&cognito.sign(&cognito.header, &dressed), "type");
    }
    cognito.takes(&cognito.good());
}
