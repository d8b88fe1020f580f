//! HS256 and its like: a secret that issuer and node share, and nothing beside it.

use std::os::unix::fs::PermissionsExt as _;

use blackbox::answers::refused_401;
use blackbox::forge::{Key, claims, hmac, hs256, key_set, with};
use blackbox::issuer::Issuer;
use blackbox::lone_node::LoneNode;
use ring::hmac::{HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};
use serde_json::{Value, json};
use tempfile::TempDir;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn node(algorithm: &str) -> (LoneNode, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, [SECRET, b"\n"].concat()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let keys = (Key::ed25519("ed"), Key::p256("ec"), Key::rsa("rsa"));
    // An attacker may even have keys of their own published there.
    let issuer = Issuer::start(key_set(&[&keys.0, &keys.1, &keys.2]));
    let table = format!(
        "\n[[issuer]]\nurl = \"{}\"\nkind = \"generic\"\nshared_secret_file = {path:?}\nalgorithms = [\"{algorithm}\"]\n",
        issuer.url
    );
    (LoneNode::start_table(issuer, keys, &table), folder)
}

fn header(algorithm: &str) -> Value {
    json!({"alg": algorithm, "typ": "at+jwt"})
}

#[test]
fn jwt_02_a_shared_secret_verifies_its_own_algorithm_only() {
    for (algorithm, hash) in [
        ("HS256", HMAC_SHA256),
        ("HS384", HMAC_SHA384),
        ("HS512", HMAC_SHA512),
    ] {
        let (node, _folder) = node(algorithm);
        let good = claims(&node.issuer.url, &node.node.url());
        let token = hmac(hash, &header(algorithm), &good, SECRET);
        assert_eq!(node.call(&token).status, 200, "{algorithm}");
        assert_eq!(node.explain(&token).0, None);
        // There is one secret, whatever the token calls it.
        let named = with(&header(algorithm), "kid", json!("anything"));
        assert_eq!(node.call(&hmac(hash, &named, &good, SECRET)).status, 200);
        let refused = |token: &str, check: &str| {
            let (failed, story) = node.explain(token);
            assert_eq!(failed.as_deref(), Some(check), "{story}");
            refused_401(&node.call(token), Some("invalid_token"));
        };
        for (other, other_hash) in [
            ("HS256", HMAC_SHA256),
            ("HS384", HMAC_SHA384),
            ("HS512", HMAC_SHA512),
        ] {
            if other != algorithm {
                refused(&hmac(other_hash, &header(other), &good, SECRET), "algorithm");
                refused(&hmac(other_hash, &header(algorithm), &good, SECRET), "signature");
            }
        }
        let wrong = with(&good, "aud", json!("http://localhost/other"));
        refused(&hmac(hash, &header(algorithm), &wrong, SECRET), "audience");
        refused(
            &hmac(hash, &header(algorithm), &good, b"another secret"),
            "signature",
        );
        refused(&hmac(hash, &header(algorithm), &good, b""), "signature");
        refused(
            &hmac(
                hash,
                &with(&header(algorithm), "typ", json!("JWT")),
                &good,
                SECRET,
            ),
            "type",
        );
        assert_eq!(node.issuer.key_requests(), 0);
    }
}

#[test]
fn jwt_02_public_keys_mean_nothing_beside_a_secret() {
    let (node, _folder) = node("HS256");
    let good = claims(&node.issuer.url, &node.node.url());
    for key in [&node.ed, &node.ec, &node.rsa] {
        let (failed, story) = node.explain(&key.token(&good));
        assert_eq!(failed.as_deref(), Some("algorithm"), "{story}");
        refused_401(&node.call(&key.token(&good)), Some("invalid_token"));
        // What the key publishes is no secret.
        for secret in [key.public_bytes(), key.jwk().to_string().into_bytes()] {
            refused_401(
                &node.call(&hs256(&header("HS256"), &good, &secret)),
                Some("invalid_token"),
            );
        }
    }
    assert_eq!(node.call(&hs256(&header("HS256"), &good, SECRET)).status, 200);
    assert_eq!(node.get("/readyz").status, 200);
    assert_eq!(node.issuer.key_requests(), 0);
}

#[test]
fn jwt_02_a_secret_beside_public_keys_does_not_start() {
    let (node, folder) = node("HS256");
    let check = || node.node.command(&["config", "check"]).output().unwrap();
    assert!(check().status.success());
    let text = std::fs::read_to_string(node.node.config()).unwrap();
    let both = text.replace("algorithms = [\"HS256\"]", "algorithms = [\"HS256\", \"RS256\"]");
    std::fs::write(node.node.config(), both).unwrap();
    let refused = check();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("issuer.0.algorithms"));
    std::fs::write(node.node.config(), &text).unwrap();
    let path = folder.path().join("secret");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = check();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("chmod 600") && !said.contains(std::str::from_utf8(SECRET).unwrap()),
        "{said}"
    );
}
