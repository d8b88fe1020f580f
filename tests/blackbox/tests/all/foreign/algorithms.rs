//! Every algorithm that a node verifies, each with its own key and with no other; signatures at the edge of their groups.

use blackbox::answers::refused_401;
use blackbox::forge::{Key, encode, key_set, with};
use blackbox::issuer::Issuer;
use blackbox::lone_node::LoneNode;
use serde_json::{Value, json};

const ALL: [&str; 9] = [
    "EdDSA", "ES256", "ES384", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
];

fn keys() -> (Key, Key, Key) {
    (Key::ed25519("ed"), Key::p256("ec"), Key::rsa("rsa"))
}

fn key(algorithm: &'static str) -> Key {
    match algorithm {
        "EdDSA" => Key::ed25519(algorithm),
        "ES256" => Key::p256(algorithm),
        "ES384" => Key::p384(algorithm),
        rsa => Key::rsa_for(rsa, rsa),
    }
}

#[track_caller]
fn rejected(node: &LoneNode, token: &str, check: &str) {
    let (failed, story) = node.explain(token);
    assert_eq!(failed.as_deref(), Some(check), "{story}");
    refused_401(&node.call(token), Some("invalid_token"));
}

#[test]
fn jwt_01_03_every_algorithm_is_verified_with_its_own_key() {
    let all: Vec<Key> = ALL.into_iter().map(key).collect();
    let set = key_set(&all.iter().collect::<Vec<_>>());
    let node = LoneNode::start_with(Issuer::start(set), keys(), &format!("algorithms = {ALL:?}\n"));
    for own in &all {
        assert_eq!(node.call(&own.token(&node.claims())).status, 200, "{}", own.kid);
        for other in ALL.into_iter().filter(|other| *other != own.kid) {
            // The header of one key over the signature of another, and the algorithm of another under its own name.
            let stolen = with(&own.header(), "kid", json!(other));
            rejected(&node, &own.sign(&stolen, &node.claims()), "algorithm");
            let renamed = with(&own.header(), "alg", json!(other));
            rejected(&node, &own.sign(&renamed, &node.claims()), "algorithm");
            let dressed = with(&stolen, "alg", json!(other));
            rejected(&node, &own.sign(&dressed, &node.claims()), "signature");
        }
        rejected(
            &node,
            &own.sign(&with(&own.header(), "alg", json!("ES512")), &node.claims()),
            "algorithm",
        );
    }
}

#[test]
fn jwt_03_what_is_not_configured_is_refused_though_it_is_published() {
    let (ed, ps) = (Key::ed25519("ed"), Key::rsa_for("ps", "PS256"));
    let issuer = Issuer::start(key_set(&[&ed, &ps]));
    let node = LoneNode::start_with(issuer, keys(), "algorithms = [\"PS256\"]\n");
    assert_eq!(node.call(&ps.token(&node.claims())).status, 200);
    rejected(&node, &ed.token(&node.claims()), "algorithm");
}

#[test]
fn jwt_35_a_key_without_alg_is_for_the_first_that_is_configured() {
    let unnamed = |key: &Key| with(&key.jwk(), "alg", Value::Null);
    let (rs, ps) = (Key::rsa_for("k", "RS256"), Key::rsa_for("k", "PS256"));
    for (configured, good, bad) in [
        ("[\"EdDSA\", \"PS256\", \"RS256\"]", &ps, &rs),
        ("[\"RS256\", \"PS256\"]", &rs, &ps),
    ] {
        let issuer = Issuer::start(json!({"keys": [unnamed(&rs)]}));
        let node = LoneNode::start_with(issuer, keys(), &format!("algorithms = {configured}\n"));
        assert_eq!(node.call(&good.token(&node.claims())).status, 200);
        rejected(&node, &bad.token(&node.claims()), "algorithm");
    }
}

/// The order of P-256 (SEC 2 §2.4.2).
const N: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The order of the group of Ed25519, little endian (RFC 8032 §5.1).
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn parts(token: &str) -> (&str, Vec<u8>) {
    use base64::Engine as _;
    let (input, signature) = token.rsplit_once('.').unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(signature);
    (input, bytes.unwrap())
}

#[test]
fn jwt_14_r_and_s_are_in_their_range() {
    let node = LoneNode::shared();
    let good = node.ec.token(&node.claims());
    let (input, signature) = parts(&good);
    let (r, s) = signature.split_at(32);
    let (zero, one) = ([0; 32], [&[0; 31][..], &[1]].concat());
    for (r, s) in [
        (&zero[..], s),
        (r, &zero),
        (&N, s),
        (r, &N),
        (&zero, &zero),
        (&N, &N),
        (&one, &N),
        (&one, &one),
        (&[0xff; 32], s),
        (s, r),
    ] {
        rejected(
            &node,
            &format!("{input}.{}", encode([r, s].concat())),
            "signature",
        );
    }
    assert_eq!(node.call(&good).status, 200);
}

#[test]
fn jwt_15_the_twin_of_a_signature_is_the_same_token() {
    let node = LoneNode::shared();
    let good = node.ec.token(&node.claims());
    let (input, signature) = parts(&good);
    // n − s, which verifies as well as s.
    let mut twin = signature.clone();
    let mut borrow = 0;
    for index in (0..32).rev() {
        let difference = i16::from(N[index]) - i16::from(signature[32 + index]) - borrow;
        borrow = i16::from(difference < 0);
        twin[32 + index] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    let twin = format!("{input}.{}", encode(twin));
    assert_ne!(twin, good);
    for token in [&good, &twin] {
        assert_eq!(node.call(token).status, 200);
        assert_eq!(node.explain(token).0, None);
    }
}

#[test]
fn jwt_16_s_of_ed25519_is_below_the_order() {
    let node = LoneNode::shared();
    let good = node.ed.token(&node.claims());
    let (input, mut signature) = parts(&good);
    let mut carry = 0;
    for index in 0..32 {
        let sum = u16::from(signature[32 + index]) + u16::from(L[index]) + carry;
        signature[32 + index] = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    rejected(&node, &format!("{input}.{}", encode(signature)), "signature");
    assert_eq!(node.call(&good).status, 200);
}
