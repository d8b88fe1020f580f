//! Tools that answer at once, one for each kind of content.

use rmcp::model::{CallToolRequestParams, CallToolResult, ContentBlock, Tool};
use serde_json::{Value, json};

use super::{plain, with_schema};
use crate::sample::{WAV, picture, text_resource};

const TEXT: &str = "test_simple_text";
const PICTURE: &str = "test_image_content";
const SOUND: &str = "test_audio_content";
const RESOURCE: &str = "test_embedded_resource";
const MIXED: &str = "test_multiple_content_types";
const FAILURE: &str = "test_error_handling";
const SCHEMA: &str = "json_schema_2020_12_tool";
const HEADER: &str = "test_custom_header";

pub(super) fn list() -> Vec<Tool> {
    vec![
        plain(TEXT, "Answers with a text"),
        plain(PICTURE, "Answers with a picture"),
        plain(SOUND, "Answers with a sound"),
        plain(RESOURCE, "Answers with a resource"),
        plain(MIXED, "Answers with a text, a picture and a resource"),
        plain(FAILURE, "Always fails"),
        with_schema(
            SCHEMA,
            "Has an input schema that uses much of JSON Schema 2020-12",
            rich_schema(),
        ),
        with_schema(
            HEADER,
            "Has an argument that travels in a header too",
            mirrored_schema(),
        ),
    ]
}

/// The answer; `None` when the tool is not one of these.
pub(super) fn call(request: &CallToolRequestParams) -> Option<CallToolResult> {
    let blocks = match request.name.as_ref() {
        TEXT => vec![ContentBlock::text("This is a simple text response for testing.")],
        PICTURE => vec![picture()],
        SOUND => vec![ContentBlock::audio(WAV, "audio/wav")],
        RESOURCE => vec![ContentBlock::resource(text_resource(
            "test://embedded-resource",
            "text/plain",
            "This is an embedded resource content.",
        ))],
        MIXED => vec![
            ContentBlock::text("Multiple content types test:"),
            picture(),
            ContentBlock::resource(text_resource(
                "test://mixed-content-resource",
                "application/json",
                r#"{"test":"data","value":123}"#,
            )),
        ],
        FAILURE => {
            let reason = ContentBlock::text("This tool intentionally returns an error for testing");
            return Some(CallToolResult::error(vec![reason]));
        }
        SCHEMA | HEADER => {
            let arguments = Value::Object(request.arguments.clone().unwrap_or_default());
            vec![ContentBlock::text(format!("Called with {arguments}"))]
        }
        _ => return None,
    };
    Some(CallToolResult::success(blocks))
}

/// A contact, by phone or by mail: each keyword is there because the suite looks whether it survives `tools/list`.
fn rich_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
            },
        },
        "properties": {
            "name": { "type": "string" },
            "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": { "type": "string" },
            "email": { "type": "string" },
        },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": { "properties": { "contactMethod": { "const": "phone" } }, "required": ["contactMethod"] },
        "then": { "required": ["phone"] },
        "else": { "required": ["email"] },
        "additionalProperties": false,
    })
}

fn mirrored_schema() -> Value {
    json!({
        "type": "object",
        "properties": { "region": { "type": "string", "x-mcp-header": "Region" } },
        "required": ["region"],
    })
}
