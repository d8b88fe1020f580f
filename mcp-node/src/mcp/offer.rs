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
use crate::approval::Verdict;

/// Every tool, in a fixed order.
pub(crate) async fn list_tools(node: &Node) -> Vec<Tool> {
    tools::offered(node)
}

/// The tool `name`, if there is one.
pub(crate) fn tool(node: &Node, name: &str) -> Option<Tool> {
    tools::offered(node).into_iter().find(|tool| tool.name == name)
}

/// Calls a tool. What the tool itself refuses is in its result.
pub(crate) async fn call_tool(
    node: &Node,
    request: CallToolRequestParams,
    requester: &Requester,
) -> Result<CallToolResponse, OfferFault> {
    let approved = match node.approvals.needed(&request.name) {
        None => None,
        Some(by) => {
            let described = tool(node, &request.name).ok_or(OfferFault::Unknown)?;
            let about = (by, described.description.as_deref().unwrap_or_default());
            match node.approvals.judge(node, &request, about, requester).await {
                Verdict::Approved(approved) => Some(approved),
                Verdict::Answer(result) => return Ok(*result),
            }
        }
    };
    if let Some(approved) = &approved
        && request.name == tools::provision_node::NAME
    {
        let arguments = request.arguments.as_ref();
        return Ok(tools::provision_node::call(node, arguments, approved)
            .await
            .into());
    }
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
