//! `mcp-node init`: what it writes starts a node as it is.

use std::process::Command;

use blackbox::{Db, Fleet, both};
use serde_json::{Value, json};
use xtask::fleet::{Node, START, free_port};
use xtask::program::Program;

both!(init_writes_a_node_that_starts_and_what_starts_it);
fn init_writes_a_node_that_starts_and_what_starts_it(db: Db) {
    let fleet = Fleet::shared(db);
    let folder = tempfile::tempdir().unwrap();
    let program = blackbox::fleet::built("mcp-node");
    let node = Node::new(program, folder.path(), free_port().unwrap(), &fleet.server.issuer);
    let init = || {
        let mut command = Command::new(&node.program);
        command.current_dir(folder.path()).args(["init", "--json"]);
        command.args(["--issuer", &fleet.server.issuer, "--resource", &node.url()]);
        command.output().unwrap()
    };
    let report: Value = serde_json::from_slice(&init().stdout).unwrap();
    assert_eq!(
        report["written"],
        json!([
            "mcp-node.toml",
            ".env.example",
            "mcp-node.service",
            "compose.yaml"
        ])
    );
    // A second time it would lose what was changed since.
    let again = init();
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("--force"));

    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    // Each variable of the example is one that the node knows, with a value that it takes.
    let example = read(".env.example");
    let variables: Vec<(&str, &str)> = example
        .lines()
        .filter_map(|line| line.strip_prefix('#')?.split_once('='))
        .collect();
    assert_eq!(variables.len(), 5, "{example}");
    let checked = node
        .command(&["config", "check"])
        .envs(variables)
        .output()
        .unwrap();
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );

    // The unit's own command line, in the unit's own folder.
    let unit = read("mcp-node.service");
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    let mut words = value("ExecStart=").split(' ');
    let mut command = Command::new(words.next().unwrap());
    command.args(words).current_dir(value("WorkingDirectory="));
    let mut running = Program::start("mcp-node", command, &node.log()).unwrap();
    let ready = format!("http://localhost:{}/readyz", node.port);
    running.wait_ready(&ready, START).unwrap();
    // What it writes is where the unit lets it write, and the container finds it.
    let data = value("ReadWritePaths=");
    assert!(
        std::path::Path::new(data).join("node-key.jwk").is_file(),
        "{data}"
    );
    assert!(read("compose.yaml").contains("./data:/data"));
}
