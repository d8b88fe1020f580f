//! A node becomes a member as an operator would make it one: an invite at the server, two commands where it runs.

use serde_json::Value;
use xtask::fleet::{AuthzServer, Node};
use xtask::shell::{self, say};
use xtask::{Explain, Outcome};

/// Enrols the node unless the server knows it from the last run. `more` is TOML for its configuration.
pub(super) fn ensure(server: &AuthzServer, node: &Node, more: &str) -> Outcome<()> {
    std::fs::create_dir_all(&node.folder).explain(format!("cannot create {}", node.folder.display()))?;
    let known = server.json(&["node", "list"])?;
    let living: Vec<&Value> = known
        .as_array()
        .into_iter()
        .flatten()
        .filter(|row| row["ended_at"].is_null())
        .collect();
    let (url, told) = (node.url(), told(node));
    let is_known = living
        .iter()
        .any(|row| row["client_id"] == told["client_id"] && row["resource"] == url.as_str());
    if is_known && told["issuer"] == server.issuer.as_str() && node.config().exists() {
        return Ok(());
    }
    let mut words = vec!["node", "invite", "--resource", &url, "--name", &node.name];
    // The same key at another address, or another key at the same: the former enrolment ends.
    let former = living
        .iter()
        .find(|row| row["node_id"] == told["node_id"] || row["resource"] == url.as_str());
    if let Some(node_id) = former.and_then(|row| row["node_id"].as_str()) {
        words.extend(["--replace", node_id]);
    }
    say(format!("   $ authz-server {}", words.join(" ")));
    let invite = server.json(&words)?;
    let invite = invite["invite"].as_str().explain("no code in the invite")?;
    say(format!(
        "   $ mcp-node enroll --issuer {} --invite ehi_…",
        server.issuer
    ));
    // The command writes the configuration that the node needs; one of an earlier run may name another address.
    match std::fs::remove_file(node.config()) {
        Err(fault) if fault.kind() != std::io::ErrorKind::NotFound => return Err(fault.into()),
        _ => {}
    }
    let line = ["enroll", "--issuer", &server.issuer, "--invite", invite];
    shell::read(&mut node.command(&line))?;
    let config = std::fs::read_to_string(node.config()).explain("mcp-node enroll wrote no configuration")?;
    std::fs::write(node.config(), format!("{config}{more}"))?;
    Ok(())
}

/// What the node was told when it enrolled; null if it has not.
fn told(node: &Node) -> Value {
    let file = node.folder.join("data/enrolment.json");
    let text = std::fs::read(file).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}
