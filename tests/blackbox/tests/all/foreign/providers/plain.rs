//! Servers without a kind of their own: by RFC 9068, or with `token_types` by whatever else they write.

use super::*;

fn start(more: &'static str, header: Value) -> Provider {
    Provider::start(Sample {
        kind: "generic",
        path: "",
        more,
        header,
        claims: json!({"sub": "ada", "client_id": "agent", "jti": fresh_id(), "scope": "mcp:read mcp:call"}),
    })
}

fn standard() -> Value {
    json!({"alg": "RS256", "typ": "at+jwt", "kid": "rsa"})
}

#[test]
fn generic_by_rfc_9068() {
    let generic = start("", standard());
    generic.takes_its_own_and_no_near_miss();
    for claim in ["client_id", "jti"] {
        generic.refuses(&generic.claim(claim, Value::Null), "claims");
    }
    generic.refuses(&generic.head("typ", json!("JWT")), "type");
    generic.refuses(&generic.head("typ", Value::Null), "type");
    generic.refuses(&generic.claim("scope", json!(["mcp:call"])), "scope");
    let two = json!([generic.node.node.url(), "http://localhost/other"]);
    generic.takes(&generic.claim("aud", two));
}

#[test]
fn plain_openid_connect_with_the_type_of_everything() {
    let plain = start(
        "token_types = [\"JWT\", \"none\"]",
        json!({"alg": "RS256", "typ": "JWT", "kid": "rsa"}),
    );
    plain.takes_its_own_and_no_near_miss();
    plain.takes(&plain.head("typ", Value::Null));
    plain.takes(&plain.claim("jti", Value::Null));
    plain.refuses(&plain.head("typ", json!("at+jwt")), "type");
    plain.refuses(&plain.claim("azp", json!("other")), "claims");
    for (name, scope) in [
        ("scope", json!(["mcp:read", "mcp:call"])),
        ("scp", json!("mcp:read mcp:call")),
        ("scp", json!(["mcp:read", "mcp:call"])),
    ] {
        let claims = with(&plain.claims, "scope", Value::Null);
        plain.takes(&plain.sign(&plain.header, &with(&claims, name, scope)));
    }
    let unnamed = with(&plain.claims, "client_id", Value::Null);
    for name in ["azp", "cid", "appid"] {
        plain.takes(&plain.sign(&plain.header, &with(&unnamed, name, json!("agent"))));
    }
    plain.refuses(&plain.sign(&plain.header, &unnamed), "type");
}

#[test]
fn jwt_29_plain_id_tokens_are_no_access_tokens() {
    let plain = start(
        "token_types = [\"JWT\", \"none\"]",
        json!({"alg": "RS256", "typ": "JWT", "kid": "rsa"}),
    );
    let me = plain.node.node.url();
    for (audience, more) in [
        ("agent", json!({"nonce": "n"})),
        (me.as_str(), json!({"scope": "mcp:read mcp:call"})),
        (&me, json!({"azp": "agent", "nonce": "n", "scope": "mcp:call"})),
        (&me, json!({"azp": "agent", "at_hash": "h", "scope": "mcp:call"})),
        (&me, json!({"azp": "agent", "s_hash": "h", "scope": "mcp:call"})),
        (&me, json!({"azp": me, "scope": "mcp:call"})),
    ] {
        let claims = id_token(&plain, audience, more);
        for header in [plain.header.clone(), with(&plain.header, "typ", Value::Null)] {
            plain.refuses(&plain.sign(&header, &claims), "type");
        }
    }
    plain.takes(&plain.good());
}

#[test]
fn jwt_07_a_token_without_kid_is_of_the_only_key_or_of_none() {
    let plain = start(
        "token_types = [\"JWT\"]\nalgorithms = [\"RS256\", \"EdDSA\"]",
        json!({"alg": "RS256", "typ": "JWT", "kid": "rsa"}),
    );
    // This kind alone may leave it out.
    plain.takes(&plain.head("kid", Value::Null));
    plain.refuses(&plain.head("kid", json!("")), "header");
    let header = json!({"alg": "EdDSA", "typ": "JWT"});
    plain.refuses(&plain.node.ed.sign(&header, &plain.claims), "key");
    let (one, two) = (Key::ed25519("one"), Key::ed25519("two"));
    plain
        .node
        .issuer
        .set_keys(key_set(&[&plain.node.rsa, &one, &two]));
    plain.node.restart();
    // Of two, nobody can tell which.
    plain.refuses(&one.sign(&header, &plain.claims), "key");
    plain.takes(&one.sign(&with(&header, "kid", json!("one")), &plain.claims));
}
