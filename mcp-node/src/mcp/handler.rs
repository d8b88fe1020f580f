//! What the node answers over MCP. One handler for each request; what lasts is in [`Node`].

use std::sync::Arc;

use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CompleteRequestMethod, CompleteRequestParams,
    CompleteResult, ConstString, CustomRequest, CustomResult, DiscoverResult, ErrorCode, Implementation,
    ListPromptsRequestMethod, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
    ListToolsResult, PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse,
    ReadResourceResult, ResourceTemplate, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::{ErrorData, ServerHandler};
use serde_json::json;

use super::resources::{self, ResourceFault};
use super::tools;
use crate::app::Node;

/// Tools and the list of resources change only with the program or its configuration.
const LISTS_ARE_FRESH_MS: u64 = 300_000;
/// The load is measured once a second.
const STATUS_IS_FRESH_MS: u64 = 1000;

/// The methods that this server has.
const OFFERED: [&str; 8] = [
    "initialize",
    "ping",
    "server/discover",
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/templates/list",
    "resources/read",
];

/// The node's own MCP server.
#[derive(Clone)]
pub(crate) struct EdgeHive(Arc<Node>);

impl EdgeHive {
    /// A handler for one request.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self(node)
    }
}

impl ServerHandler for EdgeHive {
    fn get_info(&self) -> ServerConfig {
        // Lists do not change while the node runs, so no change is announced; there are no prompts, and logs are read
        // as resources.
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .build();
        let implementation = Implementation::new("edge-hive-node", env!("CARGO_PKG_VERSION"))
            .with_title(format!("Edge Hive node {}", self.0.observer.name()));
        ServerConfig::new(capabilities)
            .with_server_info(implementation)
            .with_instructions("get_status tells how this node is; edge-hive://logs/{name} holds its logs.")
    }

    async fn discover(&self, _context: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let versions = self.supported_protocol_versions().into_owned();
        let result = DiscoverResult::from_server_info(versions, self.get_info());
        Ok(result
            .with_ttl_ms(LISTS_ARE_FRESH_MS)
            .with_cache_scope(CacheScope::Public))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::list().iter().find(|tool| tool.name == name).cloned()
    }

    async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        only_page(page)?;
        // Every caller sees every tool: which of them it may call is decided when it does.
        let list = ListToolsResult::with_all_items(tools::list().to_vec());
        Ok(list
            .with_ttl_ms(LISTS_ARE_FRESH_MS)
            .with_cache_scope(CacheScope::Public))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        match tools::call(&self.0, &request.name, request.arguments.as_ref()) {
            Some(result) => Ok(result.into()),
            None => Err(ErrorData::invalid_params("there is no tool of that name", None)),
        }
    }

    async fn list_resources(
        &self,
        page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        only_page(page)?;
        let list = ListResourcesResult::with_all_items(resources::list(&self.0));
        Ok(list
            .with_ttl_ms(LISTS_ARE_FRESH_MS)
            .with_cache_scope(CacheScope::Private))
    }

    async fn list_resource_templates(
        &self,
        page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        only_page(page)?;
        let logs = ResourceTemplate::new("edge-hive://logs/{name}", "logs")
            .with_title("Logs")
            .with_description("The latest lines of the log of that name; resources/list has the names")
            .with_mime_type("text/plain");
        let list = ListResourceTemplatesResult::with_all_items(vec![logs]);
        Ok(list
            .with_ttl_ms(LISTS_ARE_FRESH_MS)
            .with_cache_scope(CacheScope::Public))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        match resources::read(&self.0, &request.uri).await {
            Ok(contents) => {
                let result = ReadResourceResult::new(vec![contents]);
                Ok(result
                    .with_ttl_ms(STATUS_IS_FRESH_MS)
                    .with_cache_scope(CacheScope::Private)
                    .into())
            }
            Err(ResourceFault::Unknown) => Err(ErrorData::resource_not_found(
                "there is no such resource",
                Some(json!({"uri": request.uri})),
            )),
            Err(ResourceFault::Unreadable) => {
                Err(ErrorData::internal_error("the resource cannot be read now", None))
            }
        }
    }

    async fn list_prompts(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Err(not_offered(ListPromptsRequestMethod::VALUE))
    }

    async fn complete(
        &self,
        _request: CompleteRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        Err(not_offered(CompleteRequestMethod::VALUE))
    }

    /// rmcp brings here what it does not know, and what it knows but cannot read.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        if OFFERED.contains(&request.method.as_str()) {
            return Err(ErrorData::invalid_params(
                "the method's parameters are missing or malformed",
                None,
            ));
        }
        Err(not_offered(&request.method))
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
