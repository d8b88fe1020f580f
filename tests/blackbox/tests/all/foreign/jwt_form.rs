//! JWT-02 … JWT-20, JWT-37: headers, encodings and JSON that only look like a token.

use blackbox::answers::refused_401;
use blackbox::forge::{self, encode, hs256, part, with};
use blackbox::lone_node::LoneNode;
use serde_json::{Value, json};

#[track_caller]
fn rejected(node: &LoneNode, token: &str) {
    refused_401(&node.call(token), Some("invalid_token"));
}

#[track_caller]
fn accepted(node: &LoneNode, token: &str) {
    let answer = node.call(token);
    assert_eq!(answer.status, 200, "{answer}");
}

#[test]
fn jwt_01_good_tokens_of_every_algorithm_are_accepted() {
    let node = LoneNode::shared();
    for key in [&node.ed, &node.ec, &node.rsa] {
        accepted(&node, &key.token(&node.claims()));
    }
}

#[test]
fn jwt_01_alg_none_is_rejected_in_every_spelling() {
    let node = LoneNode::shared();
    for none in ["none", "None", "NONE", "nOnE"] {
        let header = with(&node.ed.header(), "alg", json!(none));
        let input = format!(
            "{}.{}",
            encode(header.to_string()),
            encode(node.claims().to_string())
        );
        rejected(&node, &format!("{input}."));
        rejected(&node, &format!("{input}.{}", encode("x")));
        rejected(&node, &node.ed.sign(&header, &node.claims()));
    }
    accepted(&node, &node.good_token());
}

#[test]
fn jwt_02_a_public_key_is_no_secret() {
    let node = LoneNode::shared();
    for key in [&node.ed, &node.ec, &node.rsa] {
        let secrets = [
            key.public_bytes(),
            key.jwk().to_string().into_bytes(),
            key.kid.clone().into_bytes(),
            vec![],
        ];
        for secret in secrets {
            for alg in ["HS256", key.algorithm()] {
                let header = with(&key.header(), "alg", json!(alg));
                rejected(&node, &hs256(&header, &node.claims(), &secret));
            }
        }
        accepted(&node, &key.token(&node.claims()));
    }
}

#[test]
fn jwt_03_the_algorithm_is_the_keys() {
    let node = LoneNode::shared();
    for (key, others) in [
        (&node.rsa, ["PS256", "RS384", "RS512", "ES256"]),
        (&node.ec, ["ES384", "ES256K", "RS256", "EdDSA"]),
        (&node.ed, ["Ed448", "ES256", "RS256", "eddsa"]),
    ] {
        for alg in others {
            rejected(
                &node,
                &key.sign(&with(&key.header(), "alg", json!(alg)), &node.claims()),
            );
        }
        accepted(&node, &key.token(&node.claims()));
    }
}

#[test]
fn jwt_04_a_missing_or_odd_alg_is_rejected() {
    let node = LoneNode::shared();
    for alg in [
        Value::Null,
        json!(1),
        json!(["EdDSA"]),
        json!(""),
        json!({}),
        json!(true),
    ] {
        rejected(
            &node,
            &node.ed.sign(&with(&node.ed.header(), "alg", alg), &node.claims()),
        );
    }
    let null = r#"{"typ":"at+jwt","alg":null,"kid":"ed"}"#;
    rejected(&node, &node.ed.sign_texts(null, &node.claims().to_string()));
}

#[test]
fn jwt_07_a_missing_or_odd_kid_is_rejected() {
    let node = LoneNode::shared();
    for kid in [
        Value::Null,
        json!(""),
        json!(1),
        json!(["ed"]),
        json!("../ed"),
        json!("ed "),
    ] {
        rejected(
            &node,
            &node.ed.sign(&with(&node.ed.header(), "kid", kid), &node.claims()),
        );
    }
    // Another key of the same issuer does not fit either.
    rejected(
        &node,
        &node
            .ed
            .sign(&with(&node.ed.header(), "kid", json!("rsa")), &node.claims()),
    );
}

#[test]
fn jwt_08_09_10_keys_that_come_with_the_token_are_ignored() {
    let node = LoneNode::shared();
    let attacker = forge::Key::ed25519("attacker");
    let foreign = blackbox::issuer::Issuer::start(forge::key_set(&[&attacker]));
    let keys = format!("{}/keys", foreign.url);
    for (name, value) in [
        ("jwk", attacker.jwk()),
        ("jku", json!(keys)),
        ("x5u", json!(keys)),
        ("x5c", json!(["AAAA"])),
    ] {
        for kid in ["attacker", "ed"] {
            let header = with(&with(&node.ed.header(), name, value.clone()), "kid", json!(kid));
            rejected(&node, &attacker.sign(&header, &node.claims()));
        }
    }
    assert_eq!(
        foreign.key_requests(),
        0,
        "the node fetched a key from an address in a token"
    );
}

#[test]
fn jwt_11_12_13_extensions_that_nobody_understands_are_rejected() {
    let node = LoneNode::shared();
    let base = node.ed.header();
    for crit in [
        json!(["x"]),
        json!([]),
        json!(["exp"]),
        json!("b64"),
        json!(["b64", "b64"]),
        json!({}),
    ] {
        rejected(&node, &node.ed.sign(&with(&base, "crit", crit), &node.claims()));
    }
    for b64 in [json!(false), json!(true)] {
        rejected(
            &node,
            &node.ed.sign(&with(&base, "b64", b64.clone()), &node.claims()),
        );
        rejected(
            &node,
            &node.ed.sign(
                &with(&with(&base, "b64", b64), "crit", json!(["b64"])),
                &node.claims(),
            ),
        );
    }
    for (name, value) in [("zip", json!("DEF")), ("enc", json!("A256GCM"))] {
        rejected(&node, &node.ed.sign(&with(&base, name, value), &node.claims()));
    }
    let jwe = [
        encode(r#"{"alg":"dir","enc":"A256GCM"}"#),
        String::new(),
        encode("iv"),
        encode("text"),
        encode("tag"),
    ];
    rejected(&node, &jwe.join("."));
    accepted(&node, &node.good_token());
}

#[test]
fn jwt_14_16_signatures_at_the_edge_are_rejected() {
    let node = LoneNode::shared();
    for (key, length) in [(&node.ed, 64), (&node.ec, 64), (&node.rsa, 256)] {
        let good = key.token(&node.claims());
        let (input, signature) = good.rsplit_once('.').unwrap();
        for bytes in [
            vec![],
            vec![0; length],
            vec![0xff; length],
            vec![0; length - 1],
            vec![0; length + 1],
            vec![1],
        ] {
            rejected(&node, &format!("{input}.{}", encode(bytes)));
        }
        rejected(&node, &format!("{input}.{}", &signature[..signature.len() - 4]));
        rejected(&node, &format!("{input}.{signature}AAAA"));
        accepted(&node, &good);
    }
    // DER in place of r and s side by side (RFC 7518 §3.4).
    let good = node.ec.token(&node.claims());
    let (input, _) = good.rsplit_once('.').unwrap();
    let der = [&[0x30, 0x44, 0x02, 0x20][..], &[1; 32], &[0x02, 0x20], &[1; 32]].concat();
    rejected(&node, &format!("{input}.{}", encode(der)));
}

#[test]
fn jwt_17_json_serialisation_is_no_bearer_token() {
    let node = LoneNode::shared();
    let good = node.good_token();
    let parts: Vec<&str> = good.split('.').collect();
    let flat = json!({"protected": parts[0], "payload": parts[1], "signature": parts[2]}).to_string();
    refused_any(&node, &flat);
    refused_any(&node, &format!("{{\"token\":\"{good}\"}}"));
}

#[test]
fn jwt_18_only_base64url_and_two_dots() {
    let node = LoneNode::shared();
    let good = node.good_token();
    let (input, signature) = good.rsplit_once('.').unwrap();
    for bad in [
        format!("{good}="),
        format!("{input}=.{signature}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.x"),
        input.to_owned(),
        format!("{input}."),
        format!(".{}", &good[good.find('.').unwrap() + 1..]),
        format!("{}..{signature}", part_text(&good, 0)),
        ".".into(),
        "..".into(),
        "...".into(),
        good.replacen('.', "+.", 1),
        good.replacen('.', "/.", 1),
    ] {
        rejected(&node, &bad);
    }
    // 64 bytes leave four unused bits in the last character: only zeros are canonical.
    let last = signature.chars().next_back().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = alphabet.find(last).unwrap();
    let twin = alphabet.chars().nth(at + 1).unwrap();
    rejected(
        &node,
        &format!("{input}.{}{twin}", &signature[..signature.len() - 1]),
    );
    accepted(&node, &good);
}

#[test]
fn jwt_19_members_twice_are_rejected() {
    let node = LoneNode::shared();
    let (header, claims) = (node.ed.header().to_string(), node.claims().to_string());
    for name in ["alg", "kid", "typ", "unknown"] {
        let value = if name == "unknown" {
            json!("x")
        } else {
            node.ed.header()[name].clone()
        };
        let doubled = format!("{{\"{name}\":{value},\"{name}\":{value},{}", &header[1..]);
        rejected(&node, &node.ed.sign_texts(&doubled, &claims));
    }
    for name in ["iss", "aud", "exp", "scope", "sub"] {
        let value = node.claims()[name].clone();
        let doubled = format!("{{\"{name}\":{value},{}", &claims[1..]);
        rejected(&node, &node.ed.sign_texts(&header, &doubled));
    }
    rejected(
        &node,
        &node
            .ed
            .sign_texts(&header, &format!("{{\"x\":1,\"x\":2,{}", &claims[1..])),
    );
    accepted(
        &node,
        &node
            .ed
            .sign_texts(&header, &format!("{{\"x\":1,\"y\":2,{}", &claims[1..])),
    );
}

#[test]
fn jwt_20_what_is_no_json_object_is_rejected() {
    let node = LoneNode::shared();
    let header = node.ed.header().to_string();
    let claims = node.claims().to_string();
    for bad in [
        "",
        "null",
        "[]",
        "1",
        "\"x\"",
        "{",
        "{}x",
        "NaN",
        "{\"exp\":NaN}",
        "\u{feff}{}",
        &format!("[{claims}]"),
        &format!("{claims}{claims}"),
    ] {
        rejected(&node, &node.ed.sign_texts(&header, bad));
        rejected(&node, &node.ed.sign_texts(bad, &claims));
    }
    let surrogate = claims.replacen("{", "{\"x\":\"\\ud800\",", 1);
    rejected(&node, &node.ed.sign_texts(&header, &surrogate));
    let raw = [b"{\"x\":\"\xff\"," as &[u8], &claims.as_bytes()[1..]].concat();
    rejected(
        &node,
        &node.ed.sign_raw(&format!("{}.{}", encode(&header), encode(raw))),
    );
    let deep = format!(
        "{{\"x\":{}1{},{}",
        "[".repeat(2000),
        "]".repeat(2000),
        &claims[1..]
    );
    rejected(&node, &node.ed.sign_texts(&header, &deep));
}

#[test]
fn jwt_37_a_token_too_long_is_rejected() {
    let node = LoneNode::shared();
    let padded = |length: usize| {
        node.ed
            .token(&with(&node.claims(), "x", json!("p".repeat(length))))
    };
    accepted(&node, &padded(2000));
    for length in [8 * 1024, 40 * 1024] {
        let answer = node.call(&padded(length));
        assert!(matches!(answer.status, 401 | 431), "{answer}");
    }
}

fn part_text(token: &str, index: usize) -> &str {
    assert!(part(token, index).is_object());
    token.split('.').nth(index).unwrap()
}

#[track_caller]
fn refused_any(node: &LoneNode, token: &str) {
    let answer = node.call(token);
    assert_eq!(answer.status, 401, "{answer}");
}
