//! Asking the client something in the middle of a call (MCP 2026-07-28, multi round-trip requests).
//!
//! The answer to a call is a list of questions; the client calls again with the answers.

use rmcp::ErrorData;
use rmcp::model::{
    ClientCapabilities, InputRequest, InputRequests, InputRequiredResult, InputResponses, JsonObject,
};
use serde_json::{Value, json};

/// One question to the client.
#[derive(Clone)]
pub(crate) enum Question {
    /// To its user: a form.
    Form {
        /// What the user reads.
        message: String,
        /// The JSON schema of the form.
        schema: Value,
    },
    /// To its model: a completion of at most 100 tokens.
    Completion {
        /// What the model reads.
        prompt: String,
    },
    /// To the client itself: its roots.
    Roots,
}

impl Question {
    /// A form with one field of a JSON type.
    pub(crate) fn field(message: &str, name: &str, json_type: &str) -> Self {
        let schema =
            json!({ "type": "object", "properties": { name: { "type": json_type } }, "required": [name] });
        Self::Form {
            message: message.to_owned(),
            schema,
        }
    }

    /// A completion of `prompt`.
    pub(crate) fn completion(prompt: &str) -> Self {
        Self::Completion {
            prompt: prompt.to_owned(),
        }
    }

    /// Whether a client with these capabilities may be asked: one that declared none of it must not be.
    pub(crate) fn suits(&self, client: &ClientCapabilities) -> bool {
        match self {
            Self::Form { .. } => client.elicitation.is_some(),
            Self::Completion { .. } => client.sampling.is_some(),
            Self::Roots => client.roots.is_some(),
        }
    }

    fn into_request(self) -> Result<InputRequest, ErrorData> {
        let request = match self {
            Self::Form { message, schema } => json!({
                "method": "elicitation/create",
                "params": { "message": message, "requestedSchema": schema },
            }),
            Self::Completion { prompt } => json!({
                "method": "sampling/createMessage",
                "params": {
                    "messages": [{ "role": "user", "content": { "type": "text", "text": prompt } }],
                    "maxTokens": 100,
                },
            }),
            Self::Roots => json!({ "method": "roots/list", "params": {} }),
        };
        serde_json::from_value(request).map_err(|fault| {
            ErrorData::internal_error(format!("A question has no valid form: {fault}."), None)
        })
    }
}

/// The result that asks `questions`, each under its key.
///
/// # Errors
///
/// Fails when a form's schema is not one that MCP allows.
pub(crate) fn ask<'a>(
    questions: impl IntoIterator<Item = (&'a str, Question)>,
    state: Option<String>,
) -> Result<InputRequiredResult, ErrorData> {
    let mut requests = InputRequests::new();
    for (key, question) in questions {
        requests.insert(key.to_owned(), question.into_request()?);
    }
    Ok(InputRequiredResult::new(Some(requests), state))
}

/// What the client answered so far; anything unexpected in it is ignored, as the revision asks.
#[derive(Clone, Copy)]
pub(crate) struct Answers<'a>(Option<&'a InputResponses>);

impl<'a> Answers<'a> {
    /// The answers of one request.
    pub(crate) fn new(responses: Option<&'a InputResponses>) -> Self {
        Self(responses)
    }

    /// The answer under `key`; one that is not an object counts as not given.
    pub(crate) fn get(self, key: &str) -> Option<&'a JsonObject> {
        self.0?.get(key)?.as_object()
    }

    /// What a user wrote into the field `name` of the form under `key`.
    pub(crate) fn field(self, key: &str, name: &str) -> Option<&'a str> {
        self.get(key)?.get("content")?.get(name)?.as_str()
    }

    /// Whether every one of `keys` has an answer.
    pub(crate) fn has_all(self, keys: &[&str]) -> bool {
        keys.iter().all(|key| self.get(key).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_count_as_answers() {
        let responses: InputResponses = serde_json::from_value(json!({
            "user_name": { "action": "accept", "content": { "name": "Alice" } },
            "greeting": 12345,
            "unasked": { "action": "accept" },
        }))
        .unwrap();
        let answers = Answers::new(Some(&responses));

        assert_eq!(answers.field("user_name", "name"), Some("Alice"));
        assert!(answers.has_all(&["user_name"]));
        assert!(!answers.has_all(&["user_name", "greeting"]));
        assert!(!Answers::new(None).has_all(&["user_name"]));
    }

    #[test]
    fn a_question_suits_only_the_client_that_declared_it() {
        let client: ClientCapabilities = serde_json::from_value(json!({ "sampling": {} })).unwrap();

        assert!(Question::completion("Hello").suits(&client));
        assert!(!Question::field("Name?", "name", "string").suits(&client));
        assert!(!Question::Roots.suits(&client));
    }

    #[test]
    fn questions_are_asked_under_their_keys() {
        let questions = [
            ("name", Question::field("Name?", "name", "string")),
            ("roots", Question::Roots),
        ];
        let asked = serde_json::to_value(ask(questions, Some("sealed".to_owned())).unwrap()).unwrap();

        assert_eq!(asked["resultType"], "input_required");
        assert_eq!(asked["requestState"], "sealed");
        assert_eq!(asked["inputRequests"]["name"]["method"], "elicitation/create");
        assert_eq!(asked["inputRequests"]["roots"]["method"], "roots/list");
    }
}
