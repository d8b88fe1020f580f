//! The node's tools, one file each. The plain-JSON endpoint calls the same functions as MCP does.

mod get_status;
mod list_peers;
pub(crate) mod provision_node;

use std::sync::{Arc, LazyLock};

use rmcp::handler::server::tool::schema_for_output;
use rmcp::model::{CallToolResult, ContentBlock, JsonObject, Tool};
use schemars::JsonSchema;
use serde_json::Value;

use crate::app::Node;

/// Every tool, in a fixed order.
pub(crate) fn list() -> &'static [Tool] {
    static TOOLS: LazyLock<[Tool; 2]> = LazyLock::new(|| [get_status::describe(), list_peers::describe()]);
    &*TOOLS
}

/// Every tool that this node offers, in a fixed order.
pub(crate) fn offered(node: &Node) -> Vec<Tool> {
    let mut tools = list().to_vec();
    if provision_node::is_offered(node) {
        tools.push(provision_node::describe());
    }
    tools
}

/// Calls the tool `name`; `None` if there is none of that name. What the tool itself refuses is in its result.
pub(crate) fn call(node: &Node, name: &str, arguments: Option<&JsonObject>) -> Option<CallToolResult> {
    let call = match name {
        get_status::NAME => get_status::call,
        list_peers::NAME => list_peers::call,
        _ => return None,
    };
    if arguments.is_some_and(|arguments| !arguments.is_empty()) {
        let reason = format!("{name} takes no arguments");
        return Some(CallToolResult::error(vec![ContentBlock::text(reason)]));
    }
    Some(call(node))
}

/// A result as a value and, for older clients, as the same text.
fn structured(value: impl serde::Serialize) -> CallToolResult {
    match serde_json::to_value(value) {
        Ok(value) => CallToolResult::structured(value),
        Err(_) => CallToolResult::error(vec![ContentBlock::text("the result cannot be written as JSON")]),
    }
}

/// The input schema of a tool without arguments.
fn no_arguments() -> JsonObject {
    let mut schema = JsonObject::new();
    schema.insert("type".to_owned(), "object".into());
    schema.insert("properties".to_owned(), JsonObject::new().into());
    schema.insert("additionalProperties".to_owned(), false.into());
    schema
}

/// The output schema of a tool, in plain JSON Schema: Rust's names of number types mean nothing to other validators,
/// and some complain about them.
fn output_schema<T: JsonSchema + 'static>() -> Arc<JsonObject> {
    let mut schema = Value::Object((*schema_for_output::<T>()).clone());
    drop_number_formats(&mut schema);
    match schema {
        Value::Object(schema) => Arc::new(schema),
        _ => Arc::default(),
    }
}

fn drop_number_formats(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members
                .get("format")
                .and_then(Value::as_str)
                .is_some_and(|format| format.starts_with("uint"))
            {
                members.remove("format");
            }
            members.values_mut().for_each(drop_number_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_number_formats),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_are_plain() {
        for tool in list() {
            let schema = tool.output_schema.as_ref().unwrap();
            assert_eq!(schema["type"], "object", "{}", tool.name);
            assert!(
                !serde_json::to_string(schema).unwrap().contains("\"uint"),
                "{schema:?}"
            );
        }
    }
}
