//! The node's commands as people read them: without `--json`.

use std::process::Command;

use blackbox::lone_node::LoneNode;

/// Whether the command was content, and what it printed.
fn outcome(mut command: Command) -> (bool, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(
            text.lines().any(|known| known.starts_with(line)),
            "{line}: {text}"
        );
    }
}

#[test]
fn cli_05_status_tells_more_to_who_has_a_token() {
    let lone = LoneNode::start("");
    let token = lone.good_token();
    assert_eq!(lone.call(&token).status, 200);
    let file = lone.node.folder.join("token");
    let file = file.to_str().unwrap();
    let status = |words: &[&str]| outcome(lone.node.command(&[&["status"], words].concat()));

    let (good, text) = status(&[]);
    assert!(good, "{text}");
    has(&text, &["alive   yes", "ready   yes", "more with --token-file"]);
    assert!(!text.contains("uptime"), "{text}");

    std::fs::write(file, format!("{token}\n")).unwrap();
    let (good, text) = status(&["--token-file", file]);
    assert!(good, "{text}");
    let issuer = format!("issuer  {}: 3 key(s), ", lone.issuer.url);
    has(
        &text,
        &["ready   yes", "uptime  ", "load    ", &issuer, "peers   0 known"],
    );
    assert!(!text.contains(&token), "{text}");

    std::fs::write(file, "another").unwrap();
    let (good, text) = status(&["--token-file", file]);
    assert!(!good, "{text}");
    has(&text, &["alive   yes", "fault   "]);
    let (good, text) = status(&["--token-file", "none"]);
    assert!(!good && text.contains("cannot read none"), "{text}");

    lone.stop();
    let (good, text) = status(&[]);
    assert!(!good, "{text}");
    has(&text, &["alive   no", "ready   no: ", "fault   http://"]);
}

#[test]
fn cli_06_the_configuration_and_the_identity_are_told() {
    let lone = LoneNode::start("");
    let told = |words: &[&str]| outcome(lone.node.command(words));
    let (good, text) = told(&["config", "check"]);
    assert!(good, "{text}");
    has(&text, &["the configuration has no fault"]);
    let (good, text) = told(&["config", "show"]);
    assert!(good, "{text}");
    let line = |key: &str| {
        text.lines()
            .find(|line| line.starts_with(key))
            .unwrap()
            .to_owned()
    };
    assert!(line("server.resource ").contains(&lone.node.url()), "{text}");
    assert!(line("server.resource ").ends_with("file"), "{text}");
    assert!(line("mcp.sessions ").ends_with("default"), "{text}");

    let (good, text) = told(&["identity"]);
    assert!(good, "{text}");
    has(
        &text,
        &[
            "node        ",
            "peer        ",
            "thumbprint  ",
            "enrolled    no; see: mcp-node enroll",
        ],
    );

    let mut config = std::fs::read_to_string(lone.node.config()).unwrap();
    config.push_str("\n[nothing]\nkey = 1\n");
    std::fs::write(lone.node.config(), config).unwrap();
    for words in [["config", "check"], ["config", "show"]] {
        let (good, text) = told(&words);
        assert!(!good && text.contains("nothing"), "{text}");
    }
}
