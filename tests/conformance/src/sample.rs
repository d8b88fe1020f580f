//! The small constant contents that several tools, prompts and resources share.

use rmcp::model::{ContentBlock, JsonObject, ResourceContents};
use serde_json::Value;

/// A PNG of one pixel, base64.
pub(crate) const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==";

/// A WAV file with two silent samples (8 kHz, mono, 8 bit), base64.
pub(crate) const WAV: &str = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQIAAACAgA==";

/// The picture as a block of content.
pub(crate) fn picture() -> ContentBlock {
    ContentBlock::image(PNG, "image/png")
}

/// A text resource of a given media type.
pub(crate) fn text_resource(uri: &str, mime_type: &str, text: impl Into<String>) -> ResourceContents {
    ResourceContents::text(text, uri).with_mime_type(mime_type)
}

/// The members of a JSON object; empty for anything else.
pub(crate) fn members(value: Value) -> JsonObject {
    match value {
        Value::Object(members) => members,
        _ => JsonObject::new(),
    }
}
