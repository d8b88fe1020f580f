//! JWT-30 … JWT-36: keys that may not be used, and sets that may not be believed.

use blackbox::answers::{refused_401, refused_503};
use blackbox::forge::{Key, encode, key_set, with};
use blackbox::issuer::{Issuer, Manner};
use blackbox::lone_node::LoneNode;
use serde_json::{Value, json};

/// A node whose issuer publishes this set; its good keys are `ed`, `ec` and `rsa`.
fn node_with(change: impl FnOnce(Vec<Value>) -> Value) -> LoneNode {
    let keys = (Key::ed25519("ed"), Key::p256("ec"), Key::rsa("rsa"));
    let jwks = change(vec![keys.0.jwk(), keys.1.jwk(), keys.2.jwk()]);
    LoneNode::start_with(Issuer::start(jwks), keys, "")
}

fn added(extra: Value) -> LoneNode {
    node_with(|mut keys| {
        keys.push(extra);
        json!({"keys": keys})
    })
}

#[test]
fn jwt_30_weak_rsa_keys_are_not_admitted() {
    let small = [&[0xc1][..], &[0x55; 127]].concat();
    let even = [&[0xc1][..], &[0x55; 254], &[0x54]].concat();
    let good_n = Key::rsa("x").jwk()["n"].clone();
    let weak = [
        ("small", json!(encode(small)), json!("AQAB")),
        ("one", good_n.clone(), json!("AQ")),
        ("even-exponent", good_n, json!("Ag")),
        ("even", json!(encode(even)), json!("AQAB")),
    ];
    for (kid, n, e) in weak {
        let node = added(json!({"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": n, "e": e}));
        let header = with(&node.rsa.header(), "kid", json!(kid));
        refused_401(
            &node.call(&node.rsa.sign(&header, &node.claims())),
            Some("invalid_token"),
        );
        assert_eq!(
            node.call(&node.good_token()).status,
            200,
            "{kid}: the other keys no longer work"
        );
    }
}

#[test]
fn jwt_16_a_small_order_ed25519_key_is_not_admitted() {
    // With the neutral element as the key, R = neutral and S = 0 verify any message (RFC 8032 §5.1.7, cofactor).
    let mut neutral = [0u8; 32];
    neutral[0] = 1;
    let node = added(
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "weak", "use": "sig", "alg": "EdDSA", "x": encode(neutral)}),
    );
    let header = with(&node.ed.header(), "kid", json!("weak"));
    let input = format!(
        "{}.{}",
        encode(header.to_string()),
        encode(node.claims().to_string())
    );
    let signature = [neutral, [0; 32]].concat();
    refused_401(
        &node.call(&format!("{input}.{}", encode(signature))),
        Some("invalid_token"),
    );
    assert_eq!(node.call(&node.good_token()).status, 200);
}

#[test]
fn jwt_31_points_off_the_curve_are_not_admitted() {
    for (x, y) in [
        ([1u8; 32], [2u8; 32]),
        ([0; 32], [0; 32]),
        ([0xff; 32], [0xff; 32]),
    ] {
        let point = json!({"kty": "EC", "crv": "P-256", "kid": "off", "use": "sig", "alg": "ES256", "x": encode(x), "y": encode(y)});
        let node = added(point);
        let header = with(&node.ec.header(), "kid", json!("off"));
        refused_401(
            &node.call(&node.ec.sign(&header, &node.claims())),
            Some("invalid_token"),
        );
        assert_eq!(node.call(&node.ec.token(&node.claims())).status, 200);
    }
}

#[test]
fn jwt_33_a_kid_twice_is_not_believed() {
    let other = Key::ed25519("ed");
    let node = added(other.jwk());
    let (first, second) = (
        node.call(&node.good_token()),
        node.call(&other.token(&node.claims())),
    );
    assert!(
        !(first.status == 200 && second.status == 200),
        "two keys under one kid are both believed"
    );
    for answer in [first, second] {
        assert!(matches!(answer.status, 200 | 401 | 503), "{answer}");
    }
}

#[test]
fn jwt_34_sets_with_secrets_are_refused_whole() {
    let secret = json!({"kty": "oct", "kid": "s", "k": encode([1; 32])});
    let private = with(&Key::ed25519("p").jwk(), "d", json!(encode([1; 32])));
    for bad in [secret, private] {
        let node = added(bad);
        refused_503(&node.call(&node.good_token()));
    }
    let node = added(Key::ed25519("p").jwk());
    assert_eq!(node.call(&node.good_token()).status, 200);
}

#[test]
fn jwt_35_keys_for_other_purposes_are_not_used() {
    for (name, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("key_ops", json!([])),
        ("alg", json!("ES256")),
    ] {
        let other = Key::ed25519("other");
        let node = added(with(&other.jwk(), name, value.clone()));
        refused_401(&node.call(&other.token(&node.claims())), Some("invalid_token"));
        assert_eq!(node.call(&node.good_token()).status, 200, "{name}: {value}");
    }
    let other = Key::ed25519("other");
    let node = added(with(&other.jwk(), "key_ops", json!(["verify"])));
    assert_eq!(node.call(&other.token(&node.claims())).status, 200);
}

#[test]
fn jwt_36_sets_too_large_are_refused() {
    let many: Vec<Value> = (0..1000).map(|n| Key::ed25519(&format!("k{n}")).jwk()).collect();
    let node = node_with(|mut keys| {
        keys.extend(many);
        json!({"keys": keys})
    });
    refused_503(&node.call(&node.good_token()));
    let node = node_with(|keys| json!({"keys": keys, "x": "p".repeat(1 << 20)}));
    refused_503(&node.call(&node.good_token()));
    let node = node_with(|mut keys| {
        keys.extend((0..20).map(|n| Key::ed25519(&format!("k{n}")).jwk()));
        json!({"keys": keys})
    });
    assert_eq!(node.call(&node.good_token()).status, 200);
}

#[test]
fn jwt_34_garbage_is_no_key_set() {
    for bytes in [
        &b""[..],
        b"null",
        b"[]",
        b"{}",
        b"{\"keys\":{}}",
        b"{\"keys\":[1]}",
        b"<html>",
        b"\xff\xfe",
    ] {
        let node = LoneNode::start("");
        node.issuer.set_manner(Manner::Bytes(bytes.to_vec()));
        refused_503(&node.call(&node.good_token()));
    }
    let node = LoneNode::start("");
    node.issuer
        .set_manner(Manner::Bytes(key_set(&[&node.ed]).to_string().into_bytes()));
    assert_eq!(node.call(&node.good_token()).status, 200);
}
