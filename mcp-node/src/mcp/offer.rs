//! What the node offers: tools and resources of its own. MCP and the plain-JSON forms both come through here,
//! so that neither has something that the other lacks.

mod fault;
mod requester;

use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ReadResourceRequestParams, ReadResourceResponse,
    ReadResourceResult, Resource, ResourceTemplate, Tool,
};

pub(crate) use self::fault::OfferFault;
pub(crate) use self::requester::Requester;
use super::{resources, tools};
use crate::app::Node;

/// Every tool, in a fixed order.
pub(crate) async fn list_tools(_node: &Node) -> Vec<Tool> {
    tools::list().to_vec()
}

/// The tool `name`, if there is one.
pub(crate) fn tool(_node: &Node, name: &str) -> Option<Tool> {
    tools::list().iter().find(|tool| tool.name == name).cloned()
}

/// Calls a tool. What the tool itself refuses is in its result.
pub(crate) async fn call_tool(
    node: &Node,
    request: CallToolRequestParams,
    _requester: &Requester,
) -> Result<CallToolResponse, OfferFault> {
    let own = tools::call(node, &request.name, request.arguments.as_ref());
    own.map(Into::into).ok_or(OfferFault::Unknown)
}

/// What comes of `work` within `time`. Then it is dropped, and with it what it waits for.
pub(crate) async fn within<T>(
    time: Duration,
    work: impl Future<Output = Result<T, OfferFault>>,
) -> Result<T, OfferFault> {
    let done = tokio::time::timeout(time, work).await;
    done.unwrap_or(Err(OfferFault::TimedOut))
}

/// Every resource, in a fixed order.
pub(crate) async fn list_resources(node: &Node) -> Vec<Resource> {
    resources::list(node)
}

/// Whether there is a resource of this URI, as far as that can be told without asking anybody.
pub(crate) fn has_resource(node: &Node, uri: &str) -> bool {
    resources::exists(node, uri)
}

/// Every template of resources' URIs, in a fixed order.
pub(crate) async fn list_resource_templates(_node: &Node) -> Vec<ResourceTemplate> {
    vec![resources::template()]
}

/// Reads a resource.
pub(crate) async fn read_resource(
    node: &Node,
    request: ReadResourceRequestParams,
    _requester: &Requester,
) -> Result<ReadResourceResponse, OfferFault> {
    let contents = resources::read(node, &request.uri).await?;
    Ok(resources::hinted(ReadResourceResult::new(vec![contents])).into())
}
