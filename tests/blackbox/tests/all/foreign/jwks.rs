//! JWKS-01 … JWKS-16: how a node lives with the key set of an issuer that may be slow, gone or mistaken.

use std::time::{Duration, Instant};

use blackbox::answers::{refused_401, refused_503};
use blackbox::forge::{Key, key_set, with};
use blackbox::issuer::{Issuer, Manner};
use blackbox::lone_node::LoneNode;
use blackbox::publisher::{Publisher, Reply};
use serde_json::{Value, json};

fn keys() -> (Key, Key, Key) {
    (Key::ed25519("ed"), Key::p256("ec"), Key::rsa("rsa"))
}

#[test]
fn jwks_01_many_first_requests_are_one_fetch() {
    let node = LoneNode::start("");
    let token = node.good_token();
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| assert_eq!(node.call(&token).status, 200));
        }
    });
    assert_eq!(node.issuer.key_requests(), 1);
    assert_eq!(node.call(&node.good_token()).status, 200);
    assert_eq!(node.issuer.key_requests(), 1);
}

#[test]
fn jwks_02_an_issuer_that_is_down_is_503_and_comes_back() {
    let keys = keys();
    let set = key_set(&[&keys.0]);
    let issuer = Issuer::start(set);
    issuer.set_manner(Manner::Status(500));
    let node = LoneNode::start_with(issuer, keys, "");
    let token = node.good_token();
    refused_503(&node.call(&token));
    assert_eq!(node.get("/healthz").status, 200);
    assert_eq!(node.get("/readyz").status, 503);
    // A token that is no token at all is refused without any key.
    refused_401(&node.call("garbage"), Some("invalid_token"));
    node.issuer.set_manner(Manner::Good);
    eventually(Duration::from_secs(40), || node.call(&token).status == 200);
    eventually(Duration::from_secs(10), || node.get("/readyz").status == 200);
}

#[test]
fn jwks_03_known_keys_work_while_the_issuer_is_down() {
    let node = LoneNode::start("");
    assert_eq!(node.call(&node.good_token()).status, 200);
    node.issuer.set_manner(Manner::Status(503));
    for _ in 0..5 {
        assert_eq!(node.call(&node.good_token()).status, 200);
    }
    // An unknown key may have been published since: that token cannot be judged, and the known ones can.
    let stranger = Key::ed25519("unknown");
    refused_503(&node.call(&stranger.token(&node.claims())));
    assert_eq!(node.call(&node.good_token()).status, 200);
}

#[test]
fn jwks_05_a_silent_issuer_is_given_up_in_time() {
    let node = LoneNode::start("");
    node.issuer.set_manner(Manner::Silent);
    let start = Instant::now();
    refused_503(&node.call(&node.good_token()));
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
}

#[test]
fn jwks_05_a_dripping_issuer_is_given_up_in_time() {
    let node = LoneNode::start("");
    node.issuer.set_manner(Manner::Dripping);
    let start = Instant::now();
    refused_503(&node.call(&node.good_token()));
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
    node.issuer.set_manner(Manner::Good);
    let token = node.good_token();
    eventually(Duration::from_secs(40), || node.call(&token).status == 200);
}

#[test]
fn jwks_06_random_kids_do_not_become_fetches() {
    let node = LoneNode::start("");
    assert_eq!(node.call(&node.good_token()).status, 200);
    let before = node.issuer.key_requests();
    let stranger = Key::ed25519("x");
    for n in 0..100 {
        let header = with(&stranger.header(), "kid", json!(format!("random-{n}")));
        refused_401(
            &node.call(&stranger.sign(&header, &node.claims())),
            Some("invalid_token"),
        );
    }
    let asked = node.issuer.key_requests() - before;
    assert!(asked <= 1, "{asked} fetches for unknown keys");
    assert_eq!(node.call(&node.good_token()).status, 200);
}

#[test]
fn jwks_07_a_new_key_is_found() {
    let node = LoneNode::start("");
    assert_eq!(node.call(&node.good_token()).status, 200);
    let next = Key::p256("next");
    node.issuer.set_keys(key_set(&[&node.ed, &next]));
    assert_eq!(node.call(&next.token(&node.claims())).status, 200);
    assert_eq!(node.call(&node.good_token()).status, 200);
}

#[test]
fn jwks_08_a_changed_key_under_an_old_kid_is_not_believed() {
    let node = LoneNode::start("");
    assert_eq!(node.call(&node.good_token()).status, 200);
    let (thief, next) = (Key::ed25519("ed"), Key::ed25519("next"));
    node.issuer.set_keys(key_set(&[&thief, &next]));
    // The new key makes the node fetch the set; the old kid keeps its old key (JWT-33).
    assert_eq!(node.call(&next.token(&node.claims())).status, 200);
    refused_401(&node.call(&thief.token(&node.claims())), Some("invalid_token"));
    assert_eq!(node.call(&node.good_token()).status, 200);
}

#[test]
fn jwks_09_redirects_are_not_followed() {
    let attacker = Key::ed25519("ed");
    let elsewhere = Issuer::start(key_set(&[&attacker]));
    let node = LoneNode::start("");
    node.issuer
        .set_manner(Manner::Redirect(format!("{}/keys", elsewhere.url)));
    refused_503(&node.call(&attacker.token(&node.claims())));
    assert_eq!(elsewhere.key_requests(), 0);
}

#[test]
fn jwks_10_keys_come_from_whoever_can_prove_to_be_the_issuer() {
    let publisher = Publisher::start();
    let url = publisher.at("").trim_end_matches('/').to_owned();
    let metadata = json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
    publisher.publish("/.well-known/oauth-authorization-server", Reply::json(&metadata));
    let keys = keys();
    publisher.publish("/keys", Reply::json(&key_set(&[&keys.0])));
    let token = |node: &LoneNode| node.ed.token(&with(&node.claims(), "iss", json!(url)));
    let table = |more: &str| format!("\n[[issuer]]\nurl = \"{url}\"\n{more}\n");
    let nobody = || Issuer::start(key_set(&[]));
    // Somebody in between has no certificate that the node trusts.
    let wary = LoneNode::start_table(nobody(), keys, &table(""));
    refused_503(&wary.call(&token(&wary)));
    assert!(publisher.requests("/keys").is_empty());
    let keys = self::keys();
    publisher.publish("/keys", Reply::json(&key_set(&[&keys.0])));
    let ca_file = format!("ca_file = \"{}\"", publisher.ca_file().display());
    let node = LoneNode::start_table(nobody(), keys, &table(&ca_file));
    assert_eq!(node.call(&token(&node)).status, 200);
}

#[test]
fn jwks_12_a_removed_key_ends_its_tokens() {
    let node = LoneNode::start("");
    let old = node.ec.token(&node.claims());
    assert_eq!(node.call(&old).status, 200);
    let next = Key::ed25519("next");
    node.issuer.set_keys(key_set(&[&node.ed, &next]));
    // The new kid brings the new set; the token that was verified and cached before goes with its key.
    assert_eq!(node.call(&next.token(&node.claims())).status, 200);
    refused_401(&node.call(&old), Some("invalid_token"));
    refused_401(&node.call(&node.ec.token(&node.claims())), Some("invalid_token"));
    assert_eq!(node.call(&node.good_token()).status, 200);
}

#[test]
fn jwks_16_keys_come_from_the_issuers_own_host() {
    let attacker = Key::ed25519("ed");
    let elsewhere = Issuer::start(key_set(&[&attacker]));
    let other_host = format!("http://localhost:{}/keys", elsewhere.port());
    let node = LoneNode::start("");
    node.issuer.set_metadata("jwks_uri", json!(other_host));
    refused_503(&node.call(&attacker.token(&node.claims())));
    assert_eq!(elsewhere.key_requests(), 0);
}

#[test]
fn jwks_16_another_host_may_be_configured() {
    let trusted = Key::ed25519("far");
    let elsewhere = Issuer::start(key_set(&[&trusted]));
    let node = LoneNode::start(&format!(
        "jwks_uri = \"http://localhost:{}/keys\"\n",
        elsewhere.port()
    ));
    assert_eq!(node.call(&trusted.token(&node.claims())).status, 200);
    assert_eq!(node.issuer.key_requests(), 0);
    assert_eq!(elsewhere.key_requests(), 1);
}

#[test]
fn meta_03_metadata_of_another_issuer_is_not_believed() {
    let node = LoneNode::start("");
    for other in [
        json!("http://127.0.0.1:1"),
        json!(format!("{}/", node.issuer.url)),
        Value::Null,
        json!(1),
    ] {
        let node = LoneNode::start("");
        node.issuer.set_metadata("issuer", other);
        refused_503(&node.call(&node.good_token()));
        assert_eq!(node.issuer.key_requests(), 0);
    }
    assert_eq!(node.call(&node.good_token()).status, 200);
}

#[test]
fn con_15_keys_change_under_load_without_a_wrong_verdict() {
    let node = LoneNode::start("");
    let stranger = Key::ed25519("ed");
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    assert_eq!(node.call(&node.good_token()).status, 200);
                    refused_401(&node.call(&stranger.token(&node.claims())), Some("invalid_token"));
                }
            });
        }
        for n in 0..20 {
            let next = Key::p256(&format!("next-{n}"));
            node.issuer.set_keys(key_set(&[&node.ed, &node.ec, &next]));
            assert!(matches!(node.call(&next.token(&node.claims())).status, 200 | 401));
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

fn eventually(within: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {within:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
