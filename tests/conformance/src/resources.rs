//! The suite's resources: one text, one picture, one that is only watched, and a template.

use rmcp::ErrorData;
use rmcp::model::{ReadResourceResult, Resource, ResourceContents, ResourceTemplate};
use serde_json::json;

use crate::sample::{PNG, text_resource};

const TEXT: &str = "test://static-text";
const PICTURE: &str = "test://static-binary";
const WATCHED: &str = "test://watched-resource";
const TEMPLATE: &str = "test://template/{id}/data";

/// The direct resources, in a fixed order.
pub(crate) fn list() -> Vec<Resource> {
    vec![
        Resource::new(TEXT, "Static text")
            .with_description("A text that never changes")
            .with_mime_type("text/plain"),
        Resource::new(PICTURE, "Static picture")
            .with_description("A picture that never changes")
            .with_mime_type("image/png"),
        Resource::new(WATCHED, "Watched text")
            .with_description("A text that clients may subscribe to")
            .with_mime_type("text/plain"),
    ]
}

/// The one template.
pub(crate) fn templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new(TEMPLATE, "Numbered record")
            .with_description("A record that is made up from its number")
            .with_mime_type("application/json"),
    ]
}

/// The content of `uri`.
///
/// # Errors
///
/// "Resource not found" with the URI as `data`, never an empty list of contents.
pub(crate) fn read(uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let contents = match uri {
        TEXT => text_resource(
            uri,
            "text/plain",
            "This is the content of the static text resource.",
        ),
        PICTURE => ResourceContents::blob(PNG, uri).with_mime_type("image/png"),
        WATCHED => text_resource(uri, "text/plain", "Nothing has happened yet."),
        _ => record(uri).ok_or_else(|| {
            ErrorData::resource_not_found("There is no such resource.", Some(json!({ "uri": uri })))
        })?,
    };
    Ok(ReadResourceResult::new(vec![contents]))
}

fn record(uri: &str) -> Option<ResourceContents> {
    let id = uri.strip_prefix("test://template/")?.strip_suffix("/data")?;
    if id.is_empty() || id.contains('/') {
        return None;
    }
    let text = json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
    Some(text_resource(uri, "application/json", text.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_resource_can_be_read() {
        for resource in list() {
            let read = read(&resource.uri).unwrap();
            assert_eq!(read.contents.len(), 1, "{}", resource.uri);
        }
    }

    #[test]
    fn the_template_answers_with_its_number_and_only_with_one() {
        let read_123 = serde_json::to_value(read("test://template/123/data").unwrap()).unwrap();
        let text = read_123["contents"][0]["text"].as_str().unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(text).unwrap(),
            json!({ "id": "123", "templateTest": true, "data": "Data for ID: 123" })
        );

        for uri in [
            "test://template//data",
            "test://template/1/2/data",
            "test://nothing",
        ] {
            let refused = read(uri).unwrap_err();
            assert_eq!(refused.data, Some(json!({ "uri": uri })));
        }
    }
}
