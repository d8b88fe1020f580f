//! `mcp-node token explain`: says step by step why this node takes or refuses a token, and never shows it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use blackbox::fleet::built;
use blackbox::forge::{self, Key, key_set, with};
use blackbox::lone_node::LoneNode;
use serde_json::{Value, json};

/// Explains a token offline, from a key file.
fn explain(token: &str, keys: &Value, words: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let (token_file, key_file) = (folder.path().join("token"), folder.path().join("keys.json"));
    std::fs::write(&token_file, token).unwrap();
    std::fs::write(&key_file, keys.to_string()).unwrap();
    let mut command = Command::new(built("mcp-node"));
    command.args([
        "token",
        "explain",
        "--issuer",
        "https://issuer.example",
        "--audience",
        "https://node.example/mcp",
    ]);
    command
        .arg("--jwks")
        .arg(&key_file)
        .arg("--token-file")
        .arg(&token_file)
        .args(words)
        .current_dir(folder.path());
    let output = command.output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

fn claims() -> Value {
    forge::claims("https://issuer.example", "https://node.example/mcp")
}

#[test]
fn explain_01_a_good_token_is_accepted() {
    let key = Key::ed25519("k");
    let token = key.token(&claims());
    let (code, text) = explain(&token, &key_set(&[&key]), &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        !text.contains(&token) && !text.contains(token.rsplit('.').next().unwrap()),
        "the token is shown: {text}"
    );
}

#[test]
fn explain_02_each_refusal_names_its_reason() {
    let key = Key::ed25519("k");
    let (keys, good) = (key_set(&[&key]), claims());
    for (token, check) in [
        ("no token at all".to_owned(), "structure"),
        (key.sign(&with(&key.header(), "typ", json!("JWT")), &good), "type"),
        (
            key.token(&with(&good, "iss", json!("https://other.example"))),
            "issuer",
        ),
        (Key::ed25519("other").token(&good), "key"),
        (Key::ed25519("k").token(&good), "signature"),
        (
            key.token(&with(&good, "aud", json!("https://other.example"))),
            "audience",
        ),
        (key.token(&with(&good, "exp", json!(1000))), "times"),
    ] {
        let (code, text) = explain(&token, &keys, &["--json"]);
        assert_eq!(code, Some(1), "{text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        let steps = answer["steps"].as_array().unwrap();
        let failed: Vec<&str> = steps
            .iter()
            .filter(|step| step["verdict"] == "failed")
            .filter_map(|step| step["check"].as_str())
            .collect();
        assert_eq!(failed, [check], "{text}");
        let (_, human) = explain(&token, &keys, &[]);
        assert!(human.contains(check) && !human.contains(&token), "{human}");
    }
}

#[test]
fn explain_03_json_is_stable() {
    let key = Key::p256("k");
    let (code, text) = explain(&key.token(&claims()), &key_set(&[&key]), &["--json"]);
    assert_eq!(code, Some(0), "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["accepted"], true);
    assert_eq!(answer["claims"]["audience"], "https://node.example/mcp");
    assert!(
        answer["steps"]
            .as_array()
            .unwrap()
            .iter()
            .all(|step| step["verdict"] == "passed"),
        "{text}"
    );
}

#[test]
fn explain_04_with_a_configuration_it_asks_the_issuer_and_reads_standard_input() {
    let node = LoneNode::start("");
    let ask = |token: &str| {
        let mut command = node.node.command(&["token", "explain"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (code, text) = ask(&node.good_token());
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = ask(&node
        .ed
        .token(&with(&node.claims(), "aud", json!("http://localhost/other"))));
    assert_eq!(code, Some(1), "{text}");
}
