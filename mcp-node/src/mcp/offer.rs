//! What the node offers: tools, resources and prompts of its own and of the servers behind it. MCP and the plain-JSON
//! forms both come through here, so that neither has something that the other lacks. Where two have the same name, the
//! node's own comes first, then the order of the configuration decides.
//!
//! Conversations with others are boxed: each is kilobytes of state, which every request would carry about, also those
//! that the node answers alone.

mod fault;
mod requester;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CompleteRequestParams, CompleteResult, GetPromptRequestParams,
    GetPromptResponse, Prompt, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult,
    Reference, Resource, ResourceTemplate, Tool,
};

pub(crate) use self::fault::OfferFault;
pub(crate) use self::requester::Requester;
use super::ask::{Ask, Dialogue};
use super::{resources, tools};
use crate::app::Node;
use crate::approval::{Running, Verdict};
use crate::config::ApprovedBy;
use crate::upstream::{Catalogue, Upstream};

/// Every tool, in a fixed order.
pub(crate) async fn list_tools(node: &Node) -> Vec<Tool> {
    let mut all = tools::offered(node);
    let mut names: HashSet<String> = all.iter().map(|tool| tool.name.to_string()).collect();
    for upstream in node.upstreams.settled().await {
        let catalogue = upstream.catalogue();
        let offered = catalogue.tools.iter().map(|offered| &offered.tool);
        all.extend(
            offered
                .filter(|tool| names.insert(tool.name.to_string()))
                .cloned(),
        );
    }
    all
}

/// The tool `name`, if there is one.
pub(crate) fn tool(node: &Node, name: &str) -> Option<Tool> {
    let own = tools::offered(node).into_iter().find(|tool| tool.name == name);
    own.or_else(|| {
        first(node, |catalogue| {
            catalogue
                .tools
                .iter()
                .position(|offered| offered.tool.name == name)
        })
        .map(|(_, catalogue, at)| catalogue.tools[at].tool.clone())
    })
}

/// Calls a tool. What the tool itself refuses is in its result.
pub(crate) async fn call_tool(
    node: &Node,
    request: CallToolRequestParams,
    requester: &Requester,
) -> Result<CallToolResponse, OfferFault> {
    node.upstreams.settled().await;
    let running = match node.approvals.needed(&request.name) {
        None => None,
        Some(by) => match Box::pin(allowed(node, &request, by, requester)).await? {
            Verdict::Approved(running) => Some(running),
            Verdict::Answer(result) => return Ok(*result),
        },
    };
    if let Some(Running { yes, .. }) = &running
        && request.name == tools::provision_node::NAME
    {
        let arguments = request.arguments.as_ref();
        let prepared = Box::pin(tools::provision_node::call(node, arguments, yes));
        return Ok(prepared.await.into());
    }
    if let Some(own) = tools::call(node, &request.name, request.arguments.as_ref()) {
        return Ok(own.into());
    }
    let named = first(node, |catalogue| {
        let mut tools = catalogue.tools.iter();
        tools.position(|offered| offered.tool.name == request.name)
    });
    let (upstream, catalogue, at) = named.ok_or(OfferFault::Unknown)?;
    let ask = Ask::by(requester, &request, &node.lasting.seal)?;
    let tool = &catalogue.tools[at];
    let Some(running) = running else {
        let called = upstream.call_tool(tool, request, &ask, requester);
        return Ok(Box::pin(called).await?);
    };
    // The yes is for the whole call, however often the tool asks its caller something.
    let round = Dialogue::fresh()?;
    let ask = ask.followed_by(round);
    let called = Box::pin(upstream.call_tool(tool, request.clone(), &ask, requester)).await?;
    if matches!(called, CallToolResponse::InputRequired(_)) {
        node.approvals.waits(node, &request, (requester, round), running);
    }
    Ok(called)
}

/// Whether a call that needs the yes of `by` may run: it has one, goes on with the one that it had, or waits for one.
async fn allowed(
    node: &Node,
    request: &CallToolRequestParams,
    by: ApprovedBy,
    requester: &Requester,
) -> Result<Verdict, OfferFault> {
    let ask = Ask::by(requester, request, &node.lasting.seal)?;
    let verdict = match ask.dialogue() {
        Some(round) => Verdict::Approved(node.approvals.goes_on(node, request, (requester, round))?),
        None => {
            let described = tool(node, &request.name).ok_or(OfferFault::Unknown)?;
            let about = (by, described.description.as_deref().unwrap_or_default());
            node.approvals.judge(node, request, about, requester).await
        }
    };
    if let Verdict::Approved(running) = &verdict {
        requester.notes.approved(running.yes.clone());
    }
    Ok(verdict)
}

/// What comes of `work` within `time`. Then it is dropped, and with it what it waits for.
pub(crate) fn within<T>(
    time: Duration,
    work: impl Future<Output = Result<T, OfferFault>>,
) -> impl Future<Output = Result<T, OfferFault>> {
    tokio::time::timeout(time, work).map(|done| done.unwrap_or(Err(OfferFault::TimedOut)))
}

/// Every resource, in a fixed order.
pub(crate) async fn list_resources(node: &Node) -> Vec<Resource> {
    let mut all = resources::list(node);
    let mut uris: HashSet<String> = all.iter().map(|resource| resource.uri.clone()).collect();
    for upstream in node.upstreams.settled().await {
        let catalogue = upstream.catalogue();
        let offered = catalogue.resources.iter();
        all.extend(
            offered
                .filter(|resource| uris.insert(resource.uri.clone()))
                .cloned(),
        );
    }
    all
}

/// Whether there is a resource of this URI, as far as that can be told without asking anybody.
pub(crate) fn has_resource(node: &Node, uri: &str) -> bool {
    let mut others = node.upstreams.now().iter();
    resources::exists(node, uri)
        || !resources::is_own(uri) && others.any(|other| other.own_uri(uri).is_some())
}

/// Every template of resources' URIs, in a fixed order.
pub(crate) async fn list_resource_templates(node: &Node) -> Vec<ResourceTemplate> {
    let mut all = vec![resources::template()];
    for upstream in node.upstreams.settled().await {
        all.extend(upstream.catalogue().templates.iter().cloned());
    }
    all
}

/// Reads a resource.
pub(crate) async fn read_resource(
    node: &Node,
    request: ReadResourceRequestParams,
    requester: &Requester,
) -> Result<ReadResourceResponse, OfferFault> {
    match resources::read(node, &request.uri).await {
        Ok(contents) => return Ok(resources::hinted(ReadResourceResult::new(vec![contents])).into()),
        Err(OfferFault::Unknown) if !resources::is_own(&request.uri) => {}
        Err(fault) => return Err(fault),
    }
    let uri = request.uri.clone();
    let all = node.upstreams.settled().await;
    // A prefix leads to one server. One without prefix has what the others have not.
    let mut candidates: Vec<_> = all
        .iter()
        .filter_map(|upstream| Some((upstream, upstream.own_uri(&uri)?)))
        .collect();
    candidates.sort_by_key(|(_, own)| own.len());
    let (upstream, own) = candidates.first().ok_or(OfferFault::Unknown)?;
    let ask = Ask::by(requester, &request, &node.lasting.seal)?;
    let read = upstream.read_resource(own, request.clone(), &ask, requester);
    Ok(Box::pin(read).await?)
}

/// Every prompt, in a fixed order.
pub(crate) async fn list_prompts(node: &Node) -> Vec<Prompt> {
    let mut all: Vec<Prompt> = Vec::new();
    let mut names = HashSet::new();
    for upstream in node.upstreams.settled().await {
        let catalogue = upstream.catalogue();
        let offered = catalogue.prompts.iter().map(|offered| &offered.prompt);
        all.extend(
            offered
                .filter(|prompt| names.insert(prompt.name.clone()))
                .cloned(),
        );
    }
    all
}

/// Fills in a prompt.
pub(crate) async fn get_prompt(
    node: &Node,
    request: GetPromptRequestParams,
    requester: &Requester,
) -> Result<GetPromptResponse, OfferFault> {
    node.upstreams.settled().await;
    let (upstream, catalogue, at) = prompt(node, &request.name).ok_or(OfferFault::Unknown)?;
    let ask = Ask::by(requester, &request, &node.lasting.seal)?;
    let filled = upstream.get_prompt(&catalogue.prompts[at], request.clone(), &ask, requester);
    Ok(Box::pin(filled).await?)
}

/// Completes an argument of a prompt or of a resource template.
pub(crate) async fn complete(
    node: &Node,
    request: CompleteRequestParams,
    requester: &Requester,
) -> Result<CompleteResult, OfferFault> {
    let all = node.upstreams.settled().await;
    let mut reference = request.r#ref.clone();
    let upstream = match &mut reference {
        Reference::Prompt(named) => {
            let (upstream, catalogue, at) = prompt(node, &named.name).ok_or(OfferFault::Unknown)?;
            named.name.clone_from(&catalogue.prompts[at].own_name);
            upstream
        }
        Reference::Resource(template) => {
            let of = |upstream: &Arc<Upstream>| {
                let own = upstream.own_template(&template.uri)?.to_owned();
                Some((Arc::clone(upstream), own))
            };
            let (upstream, own) = all.iter().find_map(of).ok_or(OfferFault::Unknown)?;
            template.uri = own;
            upstream
        }
        _ => return Err(OfferFault::Unknown),
    };
    if !upstream.catalogue().completes {
        // It is there, and has nothing to suggest.
        return Ok(CompleteResult::default());
    }
    Ok(Box::pin(upstream.complete(reference, request, requester)).await?)
}

fn prompt(node: &Node, name: &str) -> Option<(Arc<Upstream>, Arc<Catalogue>, usize)> {
    first(node, |catalogue| {
        catalogue
            .prompts
            .iter()
            .position(|offered| offered.prompt.name == name)
    })
}

/// The first upstream in whose catalogue `find` finds something, and where.
fn first(
    node: &Node,
    find: impl Fn(&Catalogue) -> Option<usize>,
) -> Option<(Arc<Upstream>, Arc<Catalogue>, usize)> {
    node.upstreams.now().iter().find_map(|upstream| {
        let catalogue = upstream.catalogue();
        let at = find(&catalogue)?;
        Some((Arc::clone(upstream), catalogue, at))
    })
}
