//! The node's resources: `edge-hive://status` and `edge-hive://logs/{name}`. The plain-JSON endpoint reads them
//! through the same function as MCP does.

use rmcp::model::{CacheScope, ReadResourceResult, Resource, ResourceContents, ResourceTemplate};

use super::offer::OfferFault;
use crate::app::Node;

/// How the node is.
pub(super) const STATUS: &str = "edge-hive://status";
const LOGS: &str = "edge-hive://logs/";

/// The load is measured once a second.
const STATUS_IS_FRESH_MS: u64 = 1000;

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

/// How the URIs of logs are made.
pub(super) fn template() -> ResourceTemplate {
    ResourceTemplate::new("edge-hive://logs/{name}", "logs")
        .with_title("Logs")
        .with_description("The latest lines of the log of that name; resources/list has the names")
        .with_mime_type("text/plain")
}

/// How long what was read stays true.
pub(super) fn hinted(read: ReadResourceResult) -> ReadResourceResult {
    read.with_ttl_ms(STATUS_IS_FRESH_MS)
        .with_cache_scope(CacheScope::Private)
}

/// Whether there is a resource of this URI.
pub(super) fn exists(node: &Node, uri: &str) -> bool {
    uri == STATUS
        || uri
            .strip_prefix(LOGS)
            .is_some_and(|name| node.logs.names().any(|known| known == name))
}

/// Whether nobody but the node has resources of such a URI.
pub(super) fn is_own(uri: &str) -> bool {
    uri.starts_with("edge-hive://")
}

/// The content of `uri`.
pub(super) async fn read(node: &Node, uri: &str) -> Result<ResourceContents, OfferFault> {
    if uri == STATUS {
        let text = serde_json::to_string(&node.status()).map_err(|_| OfferFault::Unreadable)?;
        return Ok(ResourceContents::text(text, uri).with_mime_type("application/json"));
    }
    let name = uri.strip_prefix(LOGS).ok_or(OfferFault::Unknown)?;
    match node.logs.tail(name).await {
        None => Err(OfferFault::Unknown),
        Some(Ok(text)) => Ok(ResourceContents::text(text, uri).with_mime_type("text/plain")),
        Some(Err(fault)) => {
            tracing::warn!(log = name, %fault, "a log cannot be read");
            Err(OfferFault::Unreadable)
        }
    }
}
