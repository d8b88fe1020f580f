//! A server whose tools do what only a session makes possible.

use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ProgressNotificationParam,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::{ErrorData, ServerHandler};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::mcp::Lasting;
use crate::mcp::ask::{Ask, Asked, Question};

/// What the test and the tools share.
#[derive(Clone)]
pub(super) struct Probe {
    pub(super) lasting: Lasting,
    /// A permit for each call of `wait` that may go on.
    pub(super) go: Arc<Semaphore>,
    /// A permit for each call of `wait` that went on.
    pub(super) went: Arc<Semaphore>,
    /// A permit for each call of `wait` that was cancelled.
    pub(super) cancelled: Arc<Semaphore>,
}

impl Probe {
    pub(super) fn new(lasting: Lasting) -> Self {
        let none = || Arc::new(Semaphore::new(0));
        Self {
            lasting,
            go: none(),
            went: none(),
            cancelled: none(),
        }
    }
}

impl ServerHandler for Probe {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(
            ServerCapabilities::builder()
                .enable_tools()
                .enable_tool_list_changed()
                .build(),
        )
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let text = match request.name.as_ref() {
            "ask" => {
                let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}});
                let question = Question::form("Name?", &schema)?;
                let ask = Ask::new(&context, &request, &self.lasting.seal)?;
                match ask.ask([("q".to_owned(), question)], Some(b"asked")).await? {
                    Asked::Answered(answers) => answers.field("q", "name").unwrap_or("nobody").to_owned(),
                    Asked::Later(result) => return Ok(result.into()),
                }
            }
            "wait" => {
                tokio::select! {
                    permit = self.go.acquire() => permit.unwrap().forget(),
                    () = context.ct.cancelled() => {
                        self.cancelled.add_permits(1);
                        return Err(ErrorData::internal_error("cancelled", None));
                    }
                }
                self.went.add_permits(1);
                "waited".to_owned()
            }
            _ => {
                if let Some(token) = context.meta.get_progress_token() {
                    let report = ProgressNotificationParam::new(token.clone(), 1.0);
                    context.peer.notify_progress(report).await.unwrap();
                }
                format!("{:?}", context.protocol_version().map(|v| v.to_string()))
            }
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }
}
