//! Describing a fleet and starting it.

use std::collections::HashMap;

use tempfile::TempDir;
use xtask::fleet::{AuthzServer, Node, START, UNLIMITED_NODE, UNLIMITED_SERVER, free_port};
use xtask::program::Program;

use super::{Wishes, built};
use crate::database::Place;

pub(super) fn describe(folder: &TempDir, place: Place, wishes: &Wishes) -> (AuthzServer, Node) {
    let mut server = AuthzServer::new(
        built("authz-server"),
        &folder.path().join("as"),
        free_port().unwrap(),
    );
    server.database = wishes.database.clone().or_else(|| place.db.create());
    server.is_far = place.is_far;
    if let Some(way) = &wishes.way {
        way.lead_to(server.port);
        server.issuer = format!("http://localhost:{}", way.port);
    }
    server.issuer.push_str(&wishes.path);
    server.extra = wishes.server.clone().unwrap_or_else(|| UNLIMITED_SERVER.into());
    server.environment.clone_from(&wishes.environment);
    let mut node = Node::new(
        built("mcp-node"),
        &folder.path().join("node"),
        free_port().unwrap(),
        &server.issuer,
    );
    node.environment.clone_from(&wishes.node_environment);
    node.extra
        .push_str(wishes.node.as_deref().unwrap_or(UNLIMITED_NODE));
    (server, node)
}

pub(super) fn run(server: &AuthzServer, node: &Node) -> Result<HashMap<&'static str, Program>, String> {
    let start = || {
        server.write_config()?;
        node.write_config()?;
        let authz = server.serve_ready()?;
        server.ensure_resource(&node.url(), &[])?;
        let mut mcp = node.serve()?;
        mcp.wait_ready(&format!("http://localhost:{}/readyz", node.port), START)?;
        Ok(HashMap::from([("authz-server", authz), ("mcp-node", mcp)]))
    };
    start().map_err(|fault: xtask::Fault| fault.to_string())
}
