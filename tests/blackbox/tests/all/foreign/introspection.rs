//! A node that asks its issuer about tokens (RFC 7662).

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use blackbox::answers::{granted, refused_401, refused_403, refused_503, retry_after};
use blackbox::forge::{Key, encode, fresh_id, key_set, now, part, with};
use blackbox::issuer::{Issuer, Manner};
use blackbox::lone_node::LoneNode;
use serde_json::{Value, json};
use tempfile::TempDir;

struct Asking {
    node: LoneNode,
    _folder: TempDir,
}

impl Asking {
    fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "the node's own secret\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let keys = (Key::ed25519("ed"), Key::p256("ec"), Key::rsa("rsa"));
        let issuer = Issuer::start(key_set(&[&keys.0]));
        let table = format!(
            "\n[[issuer]]\nurl = \"{}\"\nkind = \"generic\"\nvalidation = \"introspection\"\nclient_id = \"node-1\"\n\
             client_secret_file = {path:?}\n{more}\n",
            issuer.url
        );
        Self {
            node: LoneNode::start_table(issuer, keys, &table),
            _folder: folder,
        }
    }

    fn good(&self) -> Value {
        json!({
            "active": true, "iss": self.node.issuer.url, "aud": self.node.node.url(), "sub": "ada", "client_id": "agent",
            "exp": now() + 600, "scope": "mcp:read mcp:call", "token_type": "Bearer",
        })
    }

    /// An opaque token of which the issuer says this.
    fn token(&self, said: Value) -> String {
        let token = format!("opaque.{}", fresh_id());
        self.node.issuer.set_token(&token, said);
        token
    }

    fn questions(&self) -> usize {
        self.node.issuer.questions().len()
    }
}

#[test]
fn introspection_an_opaque_token_is_asked_about_once_for_a_while() {
    let asking = Asking::start("");
    let token = asking.token(asking.good());
    for _ in 0..5 {
        assert_eq!(asking.node.call(&token).status, 200);
    }
    let status = granted(&asking.node.call(&token));
    let known = &status["result"]["structuredContent"]["issuers"][0];
    assert_eq!(
        (&known["validation"], &known["usable"]),
        (&json!("introspection"), &json!(true))
    );
    let questions = asking.node.issuer.questions();
    assert_eq!(questions.len(), 1);
    assert_eq!(
        questions[0].form,
        [
            ("token".to_owned(), token.clone()),
            ("token_type_hint".to_owned(), "access_token".to_owned())
        ]
    );
    assert!(questions[0].authorization.starts_with("Basic "));
    assert_eq!(asking.node.issuer.key_requests(), 0);
    let log = asking.node.log();
    assert!(!log.contains(&token) && !log.contains("own secret"));
}

#[test]
fn introspection_equal_tokens_at_once_are_one_question() {
    let asking = Asking::start("introspection_ttl = \"0s\"");
    let token = asking.token(asking.good());
    asking.node.issuer.set_introspection(Manner::Silent);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(asking.node.call(&token).status, 200));
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while asking.questions() == 0 {
            assert!(Instant::now() < deadline, "nobody is asked");
            std::thread::yield_now();
        }
        asking.node.issuer.set_introspection(Manner::Good);
    });
    // All sixteen came while the first was waiting, or soon after it was answered.
    assert!(asking.questions() <= 16, "{}", asking.questions());
    let before = asking.questions();
    assert_eq!(asking.node.call(&token).status, 200);
    assert_eq!(asking.questions(), before + 1, "a ttl of zero keeps nothing");
}

#[test]
fn introspection_what_is_not_active_is_401_and_remembered() {
    let asking = Asking::start("");
    for _ in 0..5 {
        refused_401(&asking.node.call("opaque.unknown"), Some("invalid_token"));
    }
    assert_eq!(asking.questions(), 1);
    assert_eq!(asking.node.explain("opaque.unknown").0.as_deref(), Some("active"));
    assert_eq!(asking.node.call(&asking.token(asking.good())).status, 200);
}

#[test]
fn introspection_what_is_said_is_checked() {
    let asking = Asking::start("");
    for (name, value, check) in [
        ("aud", json!("http://localhost/other"), "audience"),
        ("aud", Value::Null, "audience"),
        ("iss", json!("https://other.example"), "issuer"),
        ("exp", json!(now() - 61), "times"),
        ("nbf", json!(now() + 90), "times"),
        ("client_id", Value::Null, "claims"),
        ("sub", json!(7), "claims"),
        ("scope", json!(["mcp:call"]), "scope"),
        ("token_type", json!("refresh_token"), "type"),
        ("token_use", json!("refresh_token"), "type"),
        ("cnf", json!({"jwk": {}}), "binding"),
    ] {
        let token = asking.token(with(&asking.good(), name, value.clone()));
        let (failed, story) = asking.node.explain(&token);
        assert_eq!(failed.as_deref(), Some(check), "{name} {value}: {story}");
        refused_401(&asking.node.call(&token), Some("invalid_token"));
    }
    let narrow = asking.token(with(&asking.good(), "scope", json!("mcp:read")));
    refused_403(&asking.node.call(&narrow), "mcp:call");
    let (failed, story) = asking.node.explain(&asking.token(asking.good()));
    assert_eq!(
        (failed, story["claims"]["client_id"].as_str()),
        (None, Some("agent"))
    );
}

#[test]
fn introspection_a_bound_token_needs_its_proof() {
    let asking = Asking::start("");
    let key = Key::ed25519("holder");
    let print = encode(ring::digest::digest(
        &ring::digest::SHA256,
        format!("{{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":{}}}", key.jwk()["x"]).as_bytes(),
    ));
    let said = with(&asking.good(), "token_type", json!("DPoP"));
    let token = asking.token(with(&said, "cnf", json!({"jkt": print})));
    refused_401(&asking.node.call(&token), Some("invalid_token"));
    // Without its key it is nobody's.
    let unbound = asking.token(said);
    assert_eq!(asking.node.explain(&unbound).0.as_deref(), Some("binding"));
}

#[test]
fn introspection_jwts_are_asked_about_too_and_only_those_of_the_issuer() {
    let asking = Asking::start("");
    let node = &asking.node;
    let jwt = node.good_token();
    node.issuer.set_token(&jwt, asking.good());
    assert_eq!(node.call(&jwt).status, 200);
    assert_eq!(asking.questions(), 1);
    // Its signature says nothing: whoever is asked decides.
    let unknown = node.good_token();
    refused_401(&node.call(&unknown), Some("invalid_token"));
    assert_eq!(asking.questions(), 2);
    // ID tokens are refused before anybody is asked, and strangers' tokens are shown to nobody.
    let id = node
        .ed
        .sign(&with(&node.ed.header(), "typ", json!("JWT")), &node.claims());
    node.issuer.set_token(&id, asking.good());
    refused_401(&node.call(&id), Some("invalid_token"));
    let stranger = node
        .ed
        .token(&with(&node.claims(), "iss", json!("https://other.example")));
    refused_401(&node.call(&stranger), Some("invalid_token"));
    assert_eq!(part(&stranger, 1)["iss"], "https://other.example");
    assert_eq!(asking.questions(), 2);
}

#[test]
fn introspection_an_endpoint_that_is_down_is_503_and_comes_back() {
    let asking = Asking::start("introspection_ttl = \"5m\"");
    let known = asking.token(asking.good());
    assert_eq!(asking.node.call(&known).status, 200);
    for manner in [Manner::Status(500), Manner::Bytes(b"<html>".to_vec())] {
        asking.node.issuer.set_introspection(manner);
        let new = asking.token(asking.good());
        for _ in 0..8 {
            let answer = asking.node.call(&new);
            refused_503(&answer);
            assert!(retry_after(&answer) <= 30, "{answer}");
        }
        // What was answered before counts for its time.
        assert_eq!(asking.node.call(&known).status, 200);
        assert_eq!(asking.node.get("/healthz").status, 200);
        assert_eq!(asking.node.get("/readyz").status, 503);
        asking.node.issuer.set_introspection(Manner::Good);
        let deadline = Instant::now() + Duration::from_secs(60);
        while asking.node.call(&new).status != 200 {
            assert!(Instant::now() < deadline, "it does not come back");
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(asking.node.get("/readyz").status, 200);
    }
}

#[test]
fn introspection_a_revoked_token_ends_within_the_ttl() {
    let asking = Asking::start("introspection_ttl = \"1s\"");
    let token = asking.token(asking.good());
    assert_eq!(asking.node.call(&token).status, 200);
    asking.node.issuer.set_token(&token, json!({"active": false}));
    let start = Instant::now();
    while asking.node.call(&token).status == 200 {
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "a revoked token goes on"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    refused_401(&asking.node.call(&token), Some("invalid_token"));
}
