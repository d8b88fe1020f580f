//! Tools that, up to 2025-11-25, ask the client in the middle of a call, over its session.
//!
//! A client of 2026-07-28 gets the same questions as input that the call still needs.

use mcp_node::mcp::ask::{Ask, Asked, Question};
use mcp_node::mcp::seal::Seal;
use rmcp::ErrorData;
use rmcp::model::{CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Tool};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Value, json};

use super::{plain, with_schema};

const SAMPLING: &str = "test_sampling";
const ELICITATION: &str = "test_elicitation";
const DEFAULTS: &str = "test_elicitation_sep1034_defaults";
const ENUMS: &str = "test_elicitation_sep1330_enums";

/// The key of the one question that each of these tools asks.
const KEY: &str = "answer";

pub(super) fn list() -> Vec<Tool> {
    vec![
        with_schema(
            SAMPLING,
            "Asks the client's model",
            one_argument("prompt", "What the model is asked"),
        ),
        with_schema(
            ELICITATION,
            "Asks the client's user",
            one_argument("message", "What the user is asked"),
        ),
        plain(DEFAULTS, "Asks the user with a form whose fields have defaults"),
        plain(ENUMS, "Asks the user with a form that has every kind of choice"),
    ]
}

/// Whether the tool of this name is one of these.
pub(super) fn has(name: &str) -> bool {
    [SAMPLING, ELICITATION, DEFAULTS, ENUMS].contains(&name)
}

/// The answer or the question.
///
/// # Errors
///
/// See [`Ask`].
pub(super) async fn call(
    request: &CallToolRequestParams,
    seal: &Seal,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let question = match request.name.as_ref() {
        SAMPLING => Question::completion(argument(request, "prompt"), 100)?,
        ELICITATION => Question::form(argument(request, "message"), &contact_form())?,
        DEFAULTS => Question::form("Please look through these values", &default_form())?,
        _ => Question::form("Please choose", &choice_form())?,
    };
    let ask = Ask::new(context, request, seal)?;
    match ask.ask([(KEY.to_owned(), question)], None).await? {
        Asked::Answered(answers) => {
            let answer = answers.get(KEY).cloned().unwrap_or_default();
            let text = match answers.completion(KEY) {
                Some(text) => format!("LLM response: {text}"),
                None => format!("User response: {}", Value::Object(answer)),
            };
            Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
        }
        Asked::Later(result) => Ok(result.into()),
        _ => Err(ErrorData::internal_error("nobody was asked", None)),
    }
}

fn argument<'a>(request: &'a CallToolRequestParams, name: &str) -> &'a str {
    request
        .arguments
        .as_ref()
        .and_then(|arguments| arguments.get(name)?.as_str())
        .unwrap_or_default()
}

fn one_argument(name: &str, description: &str) -> Value {
    json!({
        "type": "object",
        "properties": { name: { "type": "string", "description": description } },
        "required": [name],
    })
}

fn contact_form() -> Value {
    json!({
        "type": "object",
        "properties": {
            "username": { "type": "string", "description": "The user's name" },
            "email": { "type": "string", "description": "The user's mail address" },
        },
        "required": ["username", "email"],
    })
}

fn default_form() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "default": "John Doe" },
            "age": { "type": "integer", "default": 30 },
            "score": { "type": "number", "default": 95.5 },
            "status": { "type": "string", "enum": ["active", "inactive", "pending"], "default": "active" },
            "verified": { "type": "boolean", "default": true },
        },
    })
}

fn choice_form() -> Value {
    let plain = ["option1", "option2", "option3"];
    let titled = json!([
        { "const": "value1", "title": "First" },
        { "const": "value2", "title": "Second" },
        { "const": "value3", "title": "Third" },
    ]);
    json!({
        "type": "object",
        "properties": {
            "untitledSingle": { "type": "string", "enum": plain },
            "titledSingle": { "type": "string", "oneOf": titled },
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": { "type": "array", "items": { "type": "string", "enum": plain } },
            "titledMulti": { "type": "array", "items": { "anyOf": titled } },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_one_that_mcp_allows() {
        for schema in [contact_form(), default_form(), choice_form()] {
            Question::form("Please", &schema).unwrap();
        }
    }
}
