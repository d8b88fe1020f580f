//! The node's resources: `edge-hive://status` and `edge-hive://logs/{name}`. The plain-JSON endpoint reads them
//! through the same function as MCP does.

use rmcp::model::{Resource, ResourceContents};

use crate::app::Node;

const STATUS: &str = "edge-hive://status";
const LOGS: &str = "edge-hive://logs/";

/// Why a resource was not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ResourceFault {
    /// There is none of that URI.
    Unknown,
    /// It is there but cannot be read now. The reason is in the log.
    Unreadable,
}

/// Every resource, in a fixed order.
pub(super) fn list(node: &Node) -> Vec<Resource> {
    let status = Resource::new(STATUS, "status")
        .with_title("Node status")
        .with_description("What the tool get_status tells, as a document")
        .with_mime_type("application/json");
    let logs = node.logs.names().map(|name| {
        Resource::new(format!("{LOGS}{name}"), format!("log-{name}"))
            .with_title(format!("Log {name}"))
            .with_description("The latest lines of this log")
            .with_mime_type("text/plain")
    });
    std::iter::once(status).chain(logs).collect()
}

/// The content of `uri`.
pub(crate) async fn read(node: &Node, uri: &str) -> Result<ResourceContents, ResourceFault> {
    if uri == STATUS {
        let text = serde_json::to_string(&node.status()).map_err(|_| ResourceFault::Unreadable)?;
        return Ok(ResourceContents::text(text, uri).with_mime_type("application/json"));
    }
    let name = uri.strip_prefix(LOGS).ok_or(ResourceFault::Unknown)?;
    match node.logs.tail(name).await {
        None => Err(ResourceFault::Unknown),
        Some(Ok(text)) => Ok(ResourceContents::text(text, uri).with_mime_type("text/plain")),
        Some(Err(fault)) => {
            tracing::warn!(log = name, %fault, "a log cannot be read");
            Err(ResourceFault::Unreadable)
        }
    }
}
