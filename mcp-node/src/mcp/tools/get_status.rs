//! `get_status`: how the node is.

use rmcp::model::{CallToolResult, Tool, ToolAnnotations};

use super::{no_arguments, output_schema, structured};
use crate::app::Node;
use crate::status::NodeStatus;

pub(super) const NAME: &str = "get_status";

pub(super) fn describe() -> Tool {
    let description = "Tells how this node is: uptime, processor and memory use, versions, the authorization servers \
                       that it trusts with the age of their keys, and the peers that it knows.";
    Tool::new(NAME, description, no_arguments())
        .with_title("Node status")
        .with_raw_output_schema(output_schema::<NodeStatus>())
        .with_annotations(ToolAnnotations::new().read_only(true).open_world(false))
}

pub(super) fn call(node: &Node) -> CallToolResult {
    structured(node.status())
}
