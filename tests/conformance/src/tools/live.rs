//! Tools that send something while they work, or change what others see.
#![expect(
    deprecated,
    reason = "logging left MCP with SEP-2577; the suite still asks the older revisions for it"
)]

use std::time::Duration;

use mcp_node::mcp::news::{Change, News};
use rmcp::ErrorData;
use rmcp::model::{
    CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock, LoggingLevel,
    LoggingMessageNotificationParam, ProgressNotificationParam, Tool,
};
use rmcp::service::{RequestContext, RoleServer, ServiceError};
use serde_json::json;

use super::plain;

const LOGS: &str = "test_tool_with_logging";
const LOGS_ON_DEMAND: &str = "test_logging_tool";
const PROGRESS: &str = "test_tool_with_progress";
const CHANGES_TOOLS: &str = "test_trigger_tool_change";
const CHANGES_PROMPTS: &str = "test_trigger_prompt_change";
const NEEDS_SAMPLING: &str = "test_missing_capability";

/// The time between two messages that the suite asks for.
const PACE: Duration = Duration::from_millis(50);

pub(super) fn list() -> Vec<Tool> {
    vec![
        plain(LOGS, "Logs three times"),
        plain(LOGS_ON_DEMAND, "Logs once, if the request names a level"),
        plain(PROGRESS, "Reports its progress three times"),
        plain(CHANGES_TOOLS, "Announces a change of the tool list"),
        plain(CHANGES_PROMPTS, "Announces a change of the prompt list"),
        plain(NEEDS_SAMPLING, "Works only for a client that declares sampling"),
    ]
}

/// The answer; `None` when the tool is not one of these.
pub(super) async fn call(
    name: &str,
    news: &News,
    context: &RequestContext<RoleServer>,
) -> Option<Result<CallToolResponse, ErrorData>> {
    let done = match name {
        LOGS => log_thrice(context).await.map_err(unsent),
        LOGS_ON_DEMAND => log(context, "The level was named").await.map_err(unsent),
        PROGRESS => report_progress(context).await.map_err(unsent),
        CHANGES_TOOLS => {
            news.tell(Change::ToolList);
            Ok(())
        }
        CHANGES_PROMPTS => {
            news.tell(Change::PromptList);
            Ok(())
        }
        NEEDS_SAMPLING => require_sampling(context),
        _ => return None,
    };
    Some(done.map(|()| CallToolResult::success(vec![ContentBlock::text(format!("{name} is done."))]).into()))
}

async fn log_thrice(context: &RequestContext<RoleServer>) -> Result<(), ServiceError> {
    log(context, "Tool execution started").await?;
    tokio::time::sleep(PACE).await;
    log(context, "Tool processing data").await?;
    tokio::time::sleep(PACE).await;
    log(context, "Tool execution completed").await
}

/// Logs at the level that the request names. An older request names none and gets `info`; a request of 2026-07-28
/// that names none must get nothing.
async fn log(context: &RequestContext<RoleServer>, message: &str) -> Result<(), ServiceError> {
    let level = match context.meta.log_level() {
        Some(level) => level,
        None if context.meta.protocol_version().is_none() => LoggingLevel::Info,
        None => return Ok(()),
    };
    let entry =
        LoggingMessageNotificationParam::new(level, json!(message)).with_logger("conformance-fixture");
    context.peer.notify_logging_message(entry).await
}

async fn report_progress(context: &RequestContext<RoleServer>) -> Result<(), ServiceError> {
    let Some(token) = context.meta.get_progress_token() else {
        return Ok(());
    };
    for progress in [0.0, 50.0, 100.0] {
        let report = ProgressNotificationParam::new(token.clone(), progress).with_total(100.0);
        context.peer.notify_progress(report).await?;
        if progress < 100.0 {
            tokio::time::sleep(PACE).await;
        }
    }
    Ok(())
}

fn require_sampling(context: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
    let client = context.client_capabilities().unwrap_or_default();
    if client.sampling.is_none() {
        let needed = ClientCapabilities::builder().enable_sampling().build();
        return Err(ErrorData::missing_required_client_capability(needed));
    }
    Ok(())
}

fn unsent(fault: ServiceError) -> ErrorData {
    ErrorData::internal_error(format!("A notification could not be sent: {fault}."), None)
}
