//! What a client answered.

use rmcp::model::{InputResponses, JsonObject};

/// Answers, each under the key of its question. Anything unexpected among them is ignored (MCP 2026-07-28, "Multi
/// round-trip requests").
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Answers(InputResponses);

impl Answers {
    /// The answers of one request.
    pub(super) fn given(responses: Option<&InputResponses>) -> Self {
        Self(responses.cloned().unwrap_or_default())
    }

    /// The answer under `key`; one that is not an object counts as not given.
    pub fn get(&self, key: &str) -> Option<&JsonObject> {
        self.0.get(key)?.as_object()
    }

    /// Whether the user accepted what was asked under `key`, rather than declining or closing it.
    pub fn accepted(&self, key: &str) -> bool {
        self.get(key).and_then(|answer| answer.get("action")?.as_str()) == Some("accept")
    }

    /// What a user wrote into the field `name` of the form under `key`.
    pub fn field(&self, key: &str, name: &str) -> Option<&str> {
        self.get(key)?.get("content")?.get(name)?.as_str()
    }

    /// What a model completed under `key`, if it is a text.
    pub fn completion(&self, key: &str) -> Option<&str> {
        let content = self.get(key)?.get("content")?;
        let first = content.get(0).unwrap_or(content);
        first.get("text")?.as_str()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_objects_count_as_answers() {
        let responses: InputResponses = serde_json::from_value(json!({
            "user_name": { "action": "accept", "content": { "name": "Alice" } },
            "refused": { "action": "decline" },
            "greeting": 12345,
            "nothing": null,
            "model": { "role": "assistant", "content": { "type": "text", "text": "Paris" }, "model": "m" },
            "models": { "role": "assistant", "content": [{ "type": "text", "text": "Rome" }], "model": "m" },
        }))
        .unwrap();
        let answers = Answers::given(Some(&responses));

        assert_eq!(answers.field("user_name", "name"), Some("Alice"));
        assert!(answers.accepted("user_name") && !answers.accepted("refused"));
        assert!(answers.get("refused").is_some());
        assert!(answers.get("greeting").is_none() && answers.get("nothing").is_none());
        assert_eq!(answers.completion("model"), Some("Paris"));
        assert_eq!(answers.completion("models"), Some("Rome"));
        assert!(Answers::given(None).get("user_name").is_none());
    }
}
