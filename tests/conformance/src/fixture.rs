//! The MCP server that the suite examines.
#![expect(
    deprecated,
    reason = "the suite still asks the older revisions for logging and resource subscriptions"
)]

use mcp_node::mcp::Lasting;
use mcp_node::mcp::news::{Mark, News};
use mcp_node::mcp::seal::Seal;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CompleteRequestParams, CompleteResult,
    GetPromptRequestParams, GetPromptResponse, Implementation, ListPromptsResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig, SetLevelRequestParams,
    SubscribeRequestParams, SubscriptionFilter, Tool, UnsubscribeRequestParams,
};
use rmcp::service::{RequestContext, RoleServer, SubscriptionContext};
use rmcp::{ErrorData, ServerHandler};

use crate::{prompts, resources, tools};

/// How long a client may keep a list, in milliseconds.
const FRESH_FOR_MS: u64 = 60_000;

/// One request's view of the server. What outlives the request is shared.
#[derive(Clone)]
pub(crate) struct Fixture {
    lasting: Lasting,
    born: Mark,
}

impl Fixture {
    /// The server for one request.
    pub(crate) fn new(lasting: &Lasting) -> Self {
        Self {
            born: lasting.news.mark(),
            lasting: lasting.clone(),
        }
    }

    /// Where tools announce changes.
    pub(crate) fn news(&self) -> &News {
        &self.lasting.news
    }

    /// What keeps a call's state from being forged.
    pub(crate) fn seal(&self) -> &Seal {
        &self.lasting.seal
    }
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_logging()
            .enable_completions()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new(
                "conformance-fixture",
                env!("CARGO_PKG_VERSION"),
            ))
            .with_instructions(
                "Offers what the official MCP conformance suite asks of a server, and nothing else.",
            )
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::find(name)
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let list = ListToolsResult::with_all_items(tools::list());
        Ok(list
            .with_ttl_ms(FRESH_FOR_MS)
            .with_cache_scope(CacheScope::Private))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        tools::call(self, &request, &context).await
    }

    async fn list_resources(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let list = ListResourcesResult::with_all_items(resources::list());
        Ok(list
            .with_ttl_ms(FRESH_FOR_MS)
            .with_cache_scope(CacheScope::Private))
    }

    async fn list_resource_templates(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let list = ListResourceTemplatesResult::with_all_items(resources::templates());
        Ok(list
            .with_ttl_ms(FRESH_FOR_MS)
            .with_cache_scope(CacheScope::Private))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let content = resources::read(&request.uri)?;
        Ok(content
            .with_ttl_ms(FRESH_FOR_MS)
            .with_cache_scope(CacheScope::Private)
            .into())
    }

    async fn list_prompts(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let list = ListPromptsResult::with_all_items(prompts::list());
        Ok(list
            .with_ttl_ms(FRESH_FOR_MS)
            .with_cache_scope(CacheScope::Private))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        if prompts::asks(&request.name) {
            return prompts::ask(self.seal(), &request, &context).await;
        }
        prompts::get(&request).map(GetPromptResponse::from)
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        Ok(CompleteResult::new(prompts::complete(
            &request.r#ref,
            &request.argument.value,
        )))
    }

    /// Older revisions only. The level is forgotten with the request: there is no session to remember it.
    async fn set_level(
        &self,
        _request: SetLevelRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    /// Older revisions only. A resource that exists may be subscribed to; without a session nothing will come.
    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        resources::read(&request.uri).map(drop)
    }

    /// Older revisions only.
    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        resources::read(&request.uri).map(drop)
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        self.news().serve(&subscription, self.born.clone()).await
    }
}
