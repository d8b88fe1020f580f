//! What the node answers over MCP. One handler for each request; what lasts is in [`Node`].

use std::sync::Arc;

use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CompleteRequestMethod, CompleteRequestParams,
    CompleteResult, ConstString, CustomRequest, CustomResult, DiscoverResult, ErrorCode,
    GetPromptRequestMethod, GetPromptRequestParams, GetPromptResponse, Implementation,
    InitializeRequestParams, InitializeResult, ListPromptsRequestMethod, ListPromptsResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig, SetLevelRequestMethod,
    SubscribeRequestMethod, SubscribeRequestParams, SubscriptionFilter, Tool, UnsubscribeRequestMethod,
    UnsubscribeRequestParams,
};
use rmcp::service::{RequestContext, RoleServer, SubscriptionContext};
use rmcp::{ErrorData, ServerHandler};
use serde_json::json;

use super::InSession;
use super::news::Mark;
use super::offer::{self, Requester};
use crate::app::Node;
use crate::auth::Caller;

/// Tools and the list of resources change only with the program or its configuration.
const LISTS_ARE_FRESH_MS: u64 = 300_000;
/// Servers behind the node change theirs when they like.
const LISTS_OF_OTHERS_ARE_FRESH_MS: u64 = 10_000;

/// So many resources are watched for one subscription.
const MAX_FOLLOWED: usize = 64;

/// The methods that this server has; the first [`OWN`] of them with nobody behind it.
const OFFERED: [&str; 13] = [
    "initialize",
    "ping",
    "server/discover",
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "subscriptions/listen",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "logging/setLevel",
];

/// Methods that the node has by itself.
const OWN: usize = 9;

/// The node's own MCP server.
#[derive(Clone)]
pub(crate) struct EdgeHive(Arc<Node>, Mark);

impl EdgeHive {
    /// A handler for one request.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        // News count from before the request did anything.
        let born = node.lasting.news.mark();
        Self(node, born)
    }
}

impl EdgeHive {
    /// The node itself has no prompts, completes nothing and logs nothing to callers; servers behind it may.
    fn has_others(&self, method: &str) -> Result<(), ErrorData> {
        if self.0.upstreams.is_empty() {
            return Err(not_offered(method));
        }
        Ok(())
    }

    fn lists_are_fresh_ms(&self) -> u64 {
        if self.0.upstreams.is_empty() {
            LISTS_ARE_FRESH_MS
        } else {
            LISTS_OF_OTHERS_ARE_FRESH_MS
        }
    }
}

impl ServerHandler for EdgeHive {
    #[expect(deprecated, reason = "the older revisions have logging")]
    fn get_info(&self) -> ServerConfig {
        // The node's own logs are read as resources; what it has more is that of the servers behind it.
        let builder = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_resources()
            .enable_resources_list_changed()
            .enable_resources_subscribe();
        let capabilities = if self.0.upstreams.is_empty() {
            builder.build()
        } else {
            builder
                .enable_prompts()
                .enable_prompts_list_changed()
                .enable_completions()
                .enable_logging()
                .build()
        };
        let implementation = Implementation::new("edge-hive-node", env!("CARGO_PKG_VERSION"))
            .with_title(format!("Edge Hive node {}", self.0.observer.name()));
        ServerConfig::new(capabilities)
            .with_server_info(implementation)
            .with_instructions("get_status tells how this node is; edge-hive://logs/{name} holds its logs.")
    }

    /// Without a session there is no stream on which a change could be told, and none is promised.
    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        context.peer.set_peer_info(request.clone());
        let mut result = self.negotiate_initialize(&request)?;
        if !InSession::holds(&context.extensions) {
            silence(&mut result.capabilities);
        }
        Ok(result)
    }

    async fn discover(&self, _context: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let versions = self.supported_protocol_versions().into_owned();
        let result = DiscoverResult::from_server_info(versions, self.get_info());
        Ok(result
            .with_ttl_ms(self.lists_are_fresh_ms())
            .with_cache_scope(CacheScope::Public))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        offer::tool(&self.0, name)
    }

    async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        only_page(page)?;
        let mut tools = offer::list_tools(&self.0).await;
        // Without a caller there is no door before this handler, and nothing to hide from anybody.
        if let Some(caller) = Caller::of(&context.extensions) {
            tools.retain(|tool| self.0.gate.may_see_tool(caller, &tool.name));
        }
        let list = ListToolsResult::with_all_items(tools);
        Ok(list
            .with_ttl_ms(self.lists_are_fresh_ms())
            .with_cache_scope(self.0.gate.cache_scope()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let requester = Requester::of(&context)?;
        let time = self.0.gate.time(&request.name);
        let called = offer::within(time, offer::call_tool(&self.0, request, &requester)).await;
        called.map_err(|fault| fault.about("tool"))
    }

    async fn list_resources(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        only_page(page)?;
        let mut resources = offer::list_resources(&self.0).await;
        if let Some(caller) = Caller::of(&context.extensions) {
            resources.retain(|resource| self.0.gate.may_see_resource(caller, &resource.uri));
        }
        let list = ListResourcesResult::with_all_items(resources);
        Ok(list
            .with_ttl_ms(self.lists_are_fresh_ms())
            .with_cache_scope(CacheScope::Private))
    }

    async fn list_resource_templates(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        only_page(page)?;
        let mut templates = offer::list_resource_templates(&self.0).await;
        if let Some(caller) = Caller::of(&context.extensions) {
            templates.retain(|template| self.0.gate.may_see_resource(caller, &template.uri_template));
        }
        let list = ListResourceTemplatesResult::with_all_items(templates);
        Ok(list
            .with_ttl_ms(self.lists_are_fresh_ms())
            .with_cache_scope(self.0.gate.cache_scope()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let requester = Requester::of(&context)?;
        let uri = request.uri.clone();
        let read = offer::read_resource(&self.0, request, &requester).await;
        read.map_err(|fault| fault.about_resource(&uri))
    }

    async fn list_prompts(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        self.has_others(ListPromptsRequestMethod::VALUE)?;
        only_page(page)?;
        let mut prompts = offer::list_prompts(&self.0).await;
        if let Some(caller) = Caller::of(&context.extensions) {
            prompts.retain(|prompt| self.0.gate.may_see_prompt(caller, &prompt.name));
        }
        let list = ListPromptsResult::with_all_items(prompts);
        Ok(list
            .with_ttl_ms(self.lists_are_fresh_ms())
            .with_cache_scope(CacheScope::Private))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        self.has_others(GetPromptRequestMethod::VALUE)?;
        let requester = Requester::of(&context)?;
        let filled = offer::get_prompt(&self.0, request, &requester).await;
        filled.map_err(|fault| fault.about("prompt"))
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        self.has_others(CompleteRequestMethod::VALUE)?;
        let requester = Requester::of(&context)?;
        let completed = offer::complete(&self.0, request, &requester).await;
        completed.map_err(|fault| fault.about("prompt or template"))
    }

    /// Nothing is kept of a client between its requests, so there is nowhere to keep a level: what a server behind the
    /// node says while it has a request reaches the caller as it comes.
    #[expect(deprecated, reason = "the older revisions have it")]
    async fn set_level(
        &self,
        _request: rmcp::model::SetLevelRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.has_others(SetLevelRequestMethod::VALUE)
    }

    /// In a session of an older revision: it is remembered there, if there is such a resource.
    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if !InSession::holds(&context.extensions) {
            return Err(not_offered(SubscribeRequestMethod::VALUE));
        }
        if offer::has_resource(&self.0, &request.uri) {
            return Ok(());
        }
        Err(ErrorData::resource_not_found(
            "there is no such resource",
            Some(json!({ "uri": request.uri })),
        ))
    }

    async fn unsubscribe(
        &self,
        _request: UnsubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        match InSession::holds(&context.extensions) {
            true => Ok(()),
            false => Err(not_offered(UnsubscribeRequestMethod::VALUE)),
        }
    }

    /// Every list may be listened to, and every resource that there is.
    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        let mut accepted = requested.clone();
        if let Some(uris) = &mut accepted.resource_subscriptions {
            uris.retain(|uri| offer::has_resource(&self.0, uri));
            uris.truncate(MAX_FOLLOWED);
        }
        Some(accepted)
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        let news = &self.0.lasting.news;
        Box::pin(news.serve(&subscription, self.1.clone())).await
    }

    /// rmcp brings here what it does not know, and what it knows but cannot read.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let known = if self.0.upstreams.is_empty() {
            &OFFERED[..OWN]
        } else {
            &OFFERED[..]
        };
        if known.contains(&request.method.as_str()) {
            return Err(ErrorData::invalid_params(
                "the method's parameters are missing or malformed",
                None,
            ));
        }
        Err(not_offered(&request.method))
    }
}

/// Takes back that changes are told.
fn silence(capabilities: &mut ServerCapabilities) {
    if let Some(tools) = &mut capabilities.tools {
        tools.list_changed = None;
    }
    if let Some(resources) = &mut capabilities.resources {
        resources.list_changed = None;
        resources.subscribe = None;
    }
    if let Some(prompts) = &mut capabilities.prompts {
        prompts.list_changed = None;
    }
}

/// Every list is one page, so no cursor is ours.
fn only_page(page: Option<PaginatedRequestParams>) -> Result<(), ErrorData> {
    match page.and_then(|page| page.cursor) {
        None => Ok(()),
        Some(_) => Err(ErrorData::invalid_params(
            "the cursor is not one of this server",
            None,
        )),
    }
}

fn not_offered(method: &str) -> ErrorData {
    ErrorData::new(
        ErrorCode::METHOD_NOT_FOUND,
        "this server does not have the method",
        Some(json!({ "method": method })),
    )
}
