//! JWT-21 … JWT-29, JWT-38 … JWT-40: claims that must be there, and what they must say.

use blackbox::answers::refused_401;
use blackbox::forge::{self, Key, now, with};
use blackbox::lone_node::LoneNode;
use serde_json::{Value, json};

#[track_caller]
fn rejected(node: &LoneNode, claims: &Value) {
    refused_401(&node.call(&node.ed.token(claims)), Some("invalid_token"));
}

#[track_caller]
fn accepted(node: &LoneNode, claims: &Value) {
    let answer = node.call(&node.ed.token(claims));
    assert_eq!(answer.status, 200, "{answer}");
}

#[test]
fn jwt_21_expiry() {
    let node = LoneNode::shared();
    let exp = |value: Value| with(&node.claims(), "exp", value);
    rejected(&node, &exp(Value::Null));
    rejected(&node, &exp(json!(now() - 61)));
    rejected(&node, &exp(json!(now() - 3600)));
    rejected(&node, &exp(json!(0)));
    accepted(&node, &exp(json!(now() + 5)));
    accepted(&node, &exp(json!(now() + 3600)));
}

#[test]
fn jwt_22_times_that_are_no_times() {
    let node = LoneNode::shared();
    for name in ["exp", "iat", "nbf"] {
        for odd in [
            "\"1\"",
            "true",
            "{}",
            "[]",
            "-1",
            "1e300",
            "18446744073709551616",
            "253402300800000",
            "\"soon\"",
        ] {
            let claims = with(&node.claims(), name, Value::Null).to_string();
            let claims = format!("{{\"{name}\":{odd},{}", &claims[1..]);
            let token = node.ed.sign_texts(&node.ed.header().to_string(), &claims);
            refused_401(&node.call(&token), Some("invalid_token"));
        }
    }
    accepted(&node, &node.claims());
}

#[test]
fn jwt_23_times_of_the_future() {
    let node = LoneNode::shared();
    for name in ["iat", "nbf"] {
        rejected(&node, &with(&node.claims(), name, json!(now() + 90)));
        accepted(&node, &with(&node.claims(), name, json!(now() + 10)));
    }
    rejected(&node, &with(&node.claims(), "iat", Value::Null));
    accepted(&node, &with(&node.claims(), "nbf", json!(now() - 10)));
}

#[test]
fn jwt_25_the_issuer_is_an_exact_string() {
    let node = LoneNode::shared();
    let url = &node.issuer.url;
    let spoken_otherwise = url.replace("127.0.0.1", "localhost");
    let wrong = [
        format!("{url}/"),
        url[..url.len() - 1].into(),
        format!("{url}x"),
        url.to_uppercase(),
        spoken_otherwise,
    ];
    for issuer in wrong {
        rejected(&node, &with(&node.claims(), "iss", json!(issuer)));
    }
    for odd in [Value::Null, json!([url]), json!(1), json!("")] {
        rejected(&node, &with(&node.claims(), "iss", odd));
    }
    accepted(&node, &node.claims());
}

#[test]
fn jwt_27_the_audience_is_this_node_and_no_other() {
    let node = LoneNode::shared();
    let me = node.node.url();
    let aud = |value: Value| with(&node.claims(), "aud", value);
    for other in [
        format!("{me}/"),
        me[..me.len() - 1].into(),
        format!("{me}x"),
        me.replace("/mcp", ""),
        me.to_uppercase(),
    ] {
        rejected(&node, &aud(json!(other)));
        rejected(&node, &aud(json!([other])));
    }
    for odd in [
        Value::Null,
        json!([]),
        json!(1),
        json!({}),
        json!(""),
        json!([1]),
        json!([me, 1]),
        json!([[me]]),
    ] {
        rejected(&node, &aud(odd));
    }
    // One token for two resources would let one of them use it at the other.
    rejected(&node, &aud(json!([me, "http://localhost/other"])));
    accepted(&node, &aud(json!(me)));
    accepted(&node, &aud(json!([me])));
}

#[test]
fn jwt_28_29_the_type_says_access_token() {
    let node = LoneNode::shared();
    let typed = |typ: Value| node.ed.sign(&with(&node.ed.header(), "typ", typ), &node.claims());
    let others = [
        "JWT",
        "jwt",
        "dpop+jwt",
        "client-authentication+jwt",
        "statuslist+jwt",
        "logout+jwt",
        "id_token",
        "at",
        "at+jwt+x",
        "",
    ];
    for typ in others {
        refused_401(&node.call(&typed(json!(typ))), Some("invalid_token"));
    }
    for odd in [Value::Null, json!(1), json!(["at+jwt"])] {
        refused_401(&node.call(&typed(odd)), Some("invalid_token"));
    }
    // RFC 7515 §4.1.9: media types have no case, and the prefix may be left out.
    for good in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        assert_eq!(node.call(&typed(json!(good))).status, 200, "{good}");
    }
}

#[test]
fn jwt_26_the_keys_of_one_issuer_do_not_speak_for_another() {
    let mine = LoneNode::shared();
    let other = Key::ed25519("ed");
    // The same kid, another key: signed by somebody whom the node does not know for this issuer.
    refused_401(&mine.call(&other.token(&mine.claims())), Some("invalid_token"));
    let second = blackbox::issuer::Issuer::start(forge::key_set(&[&other]));
    let more = format!("\n[[issuer]]\nurl = \"{}\"\nkind = \"edge-hive\"\n", second.url);
    let node = LoneNode::start(&more);
    let claims = forge::claims(&second.url, &node.node.url());
    assert_eq!(node.call(&other.token(&claims)).status, 200);
    assert_eq!(node.call(&node.good_token()).status, 200);
    refused_401(&node.call(&other.token(&node.claims())), Some("invalid_token"));
    refused_401(&node.call(&node.ed.token(&claims)), Some("invalid_token"));
}

#[test]
fn jwt_26_issuers_of_several_kinds_stand_side_by_side() {
    let okta = (Key::rsa("same"), "/oauth2/default");
    let keycloak = (Key::p256("same"), "/realms/fleet");
    let start = |key: &Key, path: &str| {
        let issuer = blackbox::issuer::Issuer::start(forge::key_set(&[key]));
        let id = format!("{}{path}", issuer.url);
        issuer.set_metadata("issuer", json!(id));
        (issuer, id)
    };
    let (_first, okta_id) = start(&okta.0, okta.1);
    let (_second, keycloak_id) = start(&keycloak.0, keycloak.1);
    let node = LoneNode::start(&format!(
        "\n[[issuer]]\nurl = \"{okta_id}\"\nkind = \"okta\"\n\n[[issuer]]\nurl = \"{keycloak_id}\"\nkind = \"keycloak\"\n"
    ));
    let me = node.node.url();
    let claims = |id: &str| json!({"iss": id, "aud": me, "sub": "ada", "iat": now(), "exp": now() + 600});
    let of_okta = |id: &str| {
        let claims = with(&claims(id), "cid", json!("c"));
        let claims = with(&claims, "jti", json!("AT.1"));
        with(&claims, "scp", json!(["mcp:call"]))
    };
    let of_keycloak = |id: &str| {
        let claims = with(&claims(id), "azp", json!("c"));
        let claims = with(&with(&claims, "jti", json!("1")), "typ", json!("Bearer"));
        with(&claims, "scope", json!("mcp:call"))
    };
    let header = |key: &Key| json!({"alg": key.algorithm(), "typ": "JWT", "kid": "same"});
    let sign = |key: &Key, claims: &Value| key.sign(&header(key), claims);
    assert_eq!(node.call(&node.good_token()).status, 200);
    assert_eq!(node.call(&sign(&okta.0, &of_okta(&okta_id))).status, 200);
    assert_eq!(
        node.call(&sign(&keycloak.0, &of_keycloak(&keycloak_id))).status,
        200
    );
    for (token, check) in [
        // The key of one in the name of another, and the words of one in the mouth of another.
        (sign(&okta.0, &of_keycloak(&keycloak_id)), "algorithm"),
        (sign(&keycloak.0, &of_okta(&okta_id)), "algorithm"),
        (sign(&okta.0, &of_keycloak(&okta_id)), "type"),
        (sign(&keycloak.0, &of_okta(&keycloak_id)), "type"),
        (sign(&okta.0, &of_okta(&node.issuer.url)), "type"),
        (
            node.ed.token(&with(&node.claims(), "iss", json!(okta_id))),
            "type",
        ),
    ] {
        let (failed, story) = node.explain(&token);
        assert_eq!(failed.as_deref(), Some(check), "{story}");
        refused_401(&node.call(&token), Some("invalid_token"));
    }
}

#[test]
fn jwt_38_claims_have_their_types() {
    let node = LoneNode::shared();
    for name in ["sub", "client_id", "jti"] {
        for odd in [Value::Null, json!(1), json!([]), json!({}), json!("")] {
            rejected(&node, &with(&node.claims(), name, odd));
        }
    }
    for odd in [
        json!(1),
        json!({}),
        json!([1]),
        json!(true),
        json!("mcp:call\tmcp:read"),
        json!("mcp:call\nmcp:read"),
    ] {
        rejected(&node, &with(&node.claims(), "scope", odd));
    }
    // No scope at all is a good token that may do nothing.
    let without = node.call(&node.ed.token(&with(&node.claims(), "scope", Value::Null)));
    blackbox::answers::refused_403(&without, "mcp:call");
    accepted(&node, &node.claims());
}

#[test]
fn jwt_39_40_a_bound_token_is_no_bearer_token() {
    let node = LoneNode::shared();
    for cnf in [
        json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        json!({"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}),
        json!({"kid": "x"}),
        json!({"jwe": "x"}),
        json!({}),
        json!("x"),
        json!([]),
    ] {
        rejected(&node, &with(&node.claims(), "cnf", cnf));
    }
    accepted(&node, &node.claims());
}

#[test]
fn mcp_13_scopes_may_come_as_an_array_too() {
    let node = LoneNode::shared();
    let claims = with(&node.claims(), "scope", Value::Null);
    accepted(&node, &with(&claims, "scopes", json!(["mcp:read", "mcp:call"])));
    accepted(&node, &with(&claims, "scp", json!(["mcp:read", "mcp:call"])));
    let fewer = node.call(&node.ed.token(&with(&claims, "scopes", json!(["mcp:read"]))));
    blackbox::answers::refused_403(&fewer, "mcp:call");
}
