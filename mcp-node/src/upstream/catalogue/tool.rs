//! A tool of an upstream: what it says of itself is kept as it is, and its results are held to it.

use jsonschema::{PatternOptions, Validator};
use rmcp::model::{CallToolResult, JsonObject, Tool};
use serde_json::Value;

use super::super::names::{ANOTHERS, Names, is_tool_name};

/// The longest name of a tool (2025-11-25, "Tool Names").
const LONGEST: usize = 128;
/// Steps back that a pattern of a schema may take before it counts as not matching.
const BACKTRACKS: usize = 10_000;

/// A tool as the node offers it.
pub(crate) struct OfferedTool {
    /// As the upstream describes it, under the node's name for it.
    pub(crate) tool: Tool,
    own_name: String,
    output: Option<Validator>,
}

impl OfferedTool {
    /// A tool as it was listed, if it keeps MCP's rules.
    pub(super) fn new(listed: Value, names: &Names) -> Result<Self, String> {
        let mut tool: Tool = serde_json::from_value(listed).map_err(|e| e.to_string())?;
        let own_name = tool.name.to_string();
        if !is_tool_name(&own_name) {
            return Err(
                "a tool's name has 1 to 128 letters, digits, _, - and . (MCP, \"Tool Names\")".to_owned(),
            );
        }
        if names.is_anothers(&own_name) {
            return Err(ANOTHERS.to_owned());
        }
        let name = names.offered(&own_name);
        if name.len() > LONGEST {
            return Err("with its prefix the name is longer than 128 characters".to_owned());
        }
        tool.name = name.into();
        if tool.input_schema.get("type").and_then(Value::as_str) != Some("object") {
            return Err("its inputSchema is not of type object".to_owned());
        }
        is_schema(&tool.input_schema).map_err(|reason| format!("its inputSchema is no schema: {reason}"))?;
        let output = match &tool.output_schema {
            None => None,
            Some(schema) => {
                is_schema(schema).map_err(|reason| format!("its outputSchema is no schema: {reason}"))?;
                compile(schema)
                    .inspect_err(|reason| {
                        tracing::warn!(
                            tool = own_name,
                            reason,
                            "results of this tool cannot be held to its outputSchema"
                        );
                    })
                    .ok()
            }
        };
        Ok(Self {
            tool,
            own_name,
            output,
        })
    }

    /// Its name at the upstream.
    pub(crate) fn own_name(&self) -> &str {
        &self.own_name
    }

    /// What is wrong with `result`, if its structured content is not what the tool says that it is (MCP 2025-11-25,
    /// "Output Schema"). The reason has nothing of the content in it.
    pub(crate) fn check(&self, result: &CallToolResult) -> Result<(), String> {
        let Some(output) = self.output.as_ref().filter(|_| result.is_error != Some(true)) else {
            return Ok(());
        };
        let Some(content) = &result.structured_content else {
            return Err("it has no structuredContent, though the tool has an outputSchema".to_owned());
        };
        output.validate(content).map_err(|fault| {
            format!(
                "its structuredContent does not fit the tool's outputSchema (at {:?}, rule {:?})",
                fault.instance_path().to_string(),
                fault.schema_path().to_string()
            )
        })
    }
}

fn is_schema(schema: &JsonObject) -> Result<(), String> {
    jsonschema::meta::validate(&Value::Object(schema.clone())).map_err(|fault| fault.to_string())
}

/// Nothing is fetched for it, and no pattern may take long.
fn compile(schema: &JsonObject) -> Result<Validator, String> {
    jsonschema::options()
        .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(BACKTRACKS))
        .build(&Value::Object(schema.clone()))
        .map_err(|fault| fault.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tool(listed: Value) -> Result<OfferedTool, String> {
        OfferedTool::new(listed, &Names::new("up".to_owned()))
    }

    fn result(value: Value) -> CallToolResult {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_a_tool_says_of_itself_stays() {
        let listed = json!({
            "name": "sum", "title": "Sum", "description": "Adds",
            "inputSchema": {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
                "properties": {"z": {"type": "number", "x-own": [1, {"b": null}]}, "a": {"type": "number"}}},
            "outputSchema": {"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]},
            "annotations": {"title": "S", "readOnlyHint": true, "openWorldHint": false, "idempotentHint": true, "destructiveHint": false},
            "icons": [{"src": "https://x.example/i.png", "mimeType": "image/png", "sizes": ["48x48"], "theme": "dark"}],
            "_meta": {"example.com/x": {"deep": [1, 2.5, "é"]}},
        });
        let offered = tool(listed.clone()).unwrap();
        let mut written = serde_json::to_value(&offered.tool).unwrap();
        assert_eq!(written["name"], "up_sum");
        written["name"] = "sum".into();
        assert_eq!(written, listed);
        assert_eq!(offered.own_name(), "sum");
    }

    #[test]
    fn rules_are_kept() {
        let object = json!({"type": "object"});
        for (bad, word) in [
            (json!({"name": "a b", "inputSchema": object}), "name"),
            (json!({"name": "x".repeat(127), "inputSchema": object}), "prefix"),
            (json!({"name": "a"}), "inputSchema"),
            (json!({"name": "a", "inputSchema": {}}), "object"),
            (
                json!({"name": "a", "inputSchema": {"type": "object", "properties": 7}}),
                "schema",
            ),
            (
                json!({"name": "a", "inputSchema": object, "outputSchema": {"type": "nonsense"}}),
                "outputSchema",
            ),
            (json!(["a"]), ""),
        ] {
            let reason = tool(bad.clone()).err().unwrap_or_else(|| panic!("{bad}"));
            assert!(reason.contains(word), "{bad}: {reason}");
        }
        assert!(tool(json!({"name": "a", "inputSchema": object})).is_ok());
    }

    #[test]
    fn results_are_held_to_the_schema() {
        let offered = tool(
            json!({"name": "sum", "inputSchema": {"type": "object"}, "outputSchema":
            {"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]}}),
        )
        .unwrap();
        assert_eq!(
            offered.check(&result(json!({"content": [], "structuredContent": {"sum": 3}}))),
            Ok(())
        );
        assert_eq!(
            offered.check(&result(json!({"content": [], "isError": true}))),
            Ok(())
        );
        let secret = json!({"content": [], "structuredContent": {"sum": "hunter2"}});
        let reason = offered.check(&result(secret)).unwrap_err();
        assert!(reason.contains("/sum") && !reason.contains("hunter2"), "{reason}");
        assert!(offered.check(&result(json!({"content": []}))).is_err());
        let free = tool(json!({"name": "a", "inputSchema": {"type": "object"}})).unwrap();
        assert_eq!(free.check(&result(json!({"content": []}))), Ok(()));
    }
}
