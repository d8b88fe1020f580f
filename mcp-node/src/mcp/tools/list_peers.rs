//! `list_peers`: the nodes that this one knows.

use rmcp::model::{CallToolResult, Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::Serialize;

use super::{no_arguments, output_schema, structured};
use crate::app::Node;
use crate::status::PeerStatus;

pub(super) const NAME: &str = "list_peers";

/// The known nodes.
#[derive(Serialize, JsonSchema)]
struct Peers {
    /// Each of them that has proved who it is.
    peers: Vec<PeerStatus>,
    /// How many others the node has merely heard of.
    heard: usize,
    /// Why there are none, if there is a reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

pub(super) fn describe() -> Tool {
    Tool::new(NAME, "Lists the other nodes that this one knows.", no_arguments())
        .with_title("Known peers")
        .with_raw_output_schema(output_schema::<Peers>())
        .with_annotations(ToolAnnotations::new().read_only(true).open_world(false))
}

pub(super) fn call(node: &Node) -> CallToolResult {
    let status = node.status();
    structured(Peers {
        peers: status.peers,
        heard: status.peers_heard,
        note: status.peers_note,
    })
}
