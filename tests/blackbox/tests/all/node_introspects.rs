//! A node that asks our own server about tokens, as a client of it, with a secret or with a key.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use blackbox::answers::{granted, refused_401};
use blackbox::forge::{Key, encode, key_set};
use blackbox::issuer::Issuer;
use blackbox::lone_node::LoneNode;
use blackbox::{Db, Fleet, assertion, both};
use rcgen::PublicKeyData as _;
use serde_json::{Value, json};

/// A node that asks `fleet`'s server, and takes tokens that are for the fleet's own node.
fn node(fleet: &Fleet, client: &str, proof: &str) -> LoneNode {
    let keys = (Key::ed25519("ed"), Key::p256("ec"), Key::rsa("rsa"));
    let table = format!(
        "\n[[issuer]]\nurl = \"{}\"\nvalidation = \"introspection\"\naudience = \"{}\"\nclient_id = \"{client}\"\n\
         introspection_ttl = \"1s\"\n{proof}\n",
        fleet.server.issuer,
        fleet.node.url()
    );
    LoneNode::start_table(Issuer::start(key_set(&[])), keys, &table)
}

fn private(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

/// It is taken until it is revoked, and refused soon after.
fn lives_until_revoked(node: &LoneNode, token: &str, revoke: impl FnOnce()) {
    let answer = node.call(token);
    assert_eq!(answer.status, 200, "{answer}\n{}", node.log());
    assert_eq!(node.explain(token).0, None);
    revoke();
    let start = Instant::now();
    while node.call(token).status == 200 {
        assert!(start.elapsed() < Duration::from_secs(10), "it lives on");
        std::thread::sleep(Duration::from_millis(50));
    }
    refused_401(&node.call(token), Some("invalid_token"));
    assert_eq!(node.explain(token).0.as_deref(), Some("active"));
}

both!(introspection_with_a_secret_a_revoked_token_ends_at_once);
fn introspection_with_a_secret_a_revoked_token_ends_at_once(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = private(folder.path(), "secret", &client.secret);
    let node = node(&fleet, &client.id, &format!("client_secret_file = \"{file}\""));
    assert_eq!(node.get("/readyz").status, 200);
    let token = fleet.token(&client, &fleet.node.url());
    lives_until_revoked(&node, &token, || {
        assert_eq!(
            fleet.post("/oauth/revoke", &client, &[("token", &token)]).status,
            200
        );
    });
    // A token of somebody else is not the node's business there.
    let other = fleet.client(&[]);
    let foreign = fleet.token(&other, &fleet.node.url());
    refused_401(&node.call(&foreign), Some("invalid_token"));
    assert!(!node.log().contains(&client.secret) && !node.log().contains(&token));
}

both!(introspection_with_a_key_the_assertion_is_one_that_our_server_takes);
fn introspection_with_a_key_the_assertion_is_one_that_our_server_takes(db: Db) {
    let fleet = Fleet::shared(db);
    let folder = tempfile::tempdir().unwrap();
    let agent = Key::ed25519("agent");
    for kind in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256] {
        let pair = rcgen::KeyPair::generate_for(kind).unwrap();
        let file = private(folder.path(), "key.pem", &pair.serialize_pem());
        let set = json!({"keys": [agent.jwk(), named_by_thumbprint(pair.der_bytes())]});
        let client = assertion::client_of_set(&fleet, &set, &[]);
        let node = node(&fleet, &client, &format!("private_key_file = \"{file}\""));
        let answer = granted(&assertion::ask_token(
            &fleet,
            &assertion::assertion(&fleet, &client, &agent),
        ));
        let token = answer["access_token"].as_str().unwrap();
        lives_until_revoked(&node, token, || {
            let shown = assertion::assertion(&fleet, &client, &agent);
            let answer = assertion::post(&fleet, "/oauth/revoke", &shown, &[("token", token)]);
            assert_eq!(answer.status, 200, "{answer}");
        });
    }
}

/// The public key as a JWK whose name is its thumbprint (RFC 7638 §3).
fn named_by_thumbprint(public: &[u8]) -> Value {
    let (mut jwk, members) = if public.len() == 32 {
        let x = encode(public);
        let text = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        (json!({"kty": "OKP", "crv": "Ed25519", "x": x}), text)
    } else {
        let (x, y) = (encode(&public[1..33]), encode(&public[33..]));
        let text = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        (json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}), text)
    };
    let hash = ring::digest::digest(&ring::digest::SHA256, members.as_bytes());
    jwk["kid"] = json!(encode(hash));
    jwk
}
