//! The suite's tools, in four rooms: what they answer, what they send meanwhile, what they ask, and what only a
//! session could ask.

mod ask;
mod content;
mod live;
mod session;

use rmcp::ErrorData;
use rmcp::model::{CallToolRequestParams, CallToolResponse, Tool};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::sample::members;

/// Every tool, in a fixed order. The first one takes no arguments: the suite calls it to try headers.
pub(crate) fn list() -> Vec<Tool> {
    [content::list(), live::list(), ask::list(), session::list()].concat()
}

/// The tool of that name, whose schema says which arguments travel in headers too.
pub(crate) fn find(name: &str) -> Option<Tool> {
    list().into_iter().find(|tool| tool.name == name)
}

/// Calls a tool.
///
/// # Errors
///
/// "Invalid params" for a tool that does not exist, and what the tool itself refuses with.
pub(crate) async fn call(
    fixture: &Fixture,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    if let Some(answer) = content::call(request) {
        return Ok(answer.into());
    }
    if let Some(answer) = live::call(&request.name, fixture.news(), context).await {
        return answer;
    }
    if ask::has(&request.name) {
        return ask::call(request, fixture.seal(), context).await;
    }
    if session::has(&request.name) {
        return session::call(request, fixture.seal(), context).await;
    }
    Err(ErrorData::invalid_params(
        format!("There is no tool {}.", request.name),
        None,
    ))
}

/// A tool without arguments.
fn plain(name: &'static str, description: &'static str) -> Tool {
    with_schema(name, description, json!({ "type": "object", "properties": {} }))
}

/// A tool with a schema of its own.
fn with_schema(name: &'static str, description: &'static str, schema: Value) -> Tool {
    Tool::new(name, description, members(schema))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        let tools = list();
        let names: HashSet<_> = tools.iter().map(|tool| tool.name.clone()).collect();

        assert_eq!(names.len(), tools.len());
        for tool in &tools {
            assert_eq!(find(&tool.name).unwrap().name, tool.name);
        }
        assert!(find("no_such_tool").is_none());
    }

    #[test]
    fn the_first_tool_takes_no_arguments() {
        let first = list().remove(0);
        assert_eq!(first.input_schema.get("properties"), Some(&json!({})));
        assert_eq!(first.input_schema.get("required"), None);
    }
}
