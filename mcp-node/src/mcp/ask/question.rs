//! One question to a client.
#![expect(
    deprecated,
    reason = "sampling and roots left MCP with SEP-2577; every revision that is served still has them"
)]

use rmcp::ErrorData;
use rmcp::model::{
    ClientCapabilities, CreateMessageRequest, ElicitRequest, ElicitRequestParams, InputRequest,
    ListRootsRequest, ServerRequest,
};
use serde_json::{Value, json};

/// A question: to the client's user, to its model, or to the client itself.
#[derive(Clone, PartialEq, Debug)]
pub struct Question(InputRequest);

impl Question {
    /// A form for the user. `schema` is a flat object of texts, numbers, booleans and choices.
    ///
    /// # Errors
    ///
    /// An internal error when the schema is not one that MCP allows in a form.
    pub fn form(message: &str, schema: &Value) -> Result<Self, ErrorData> {
        let params = json!({"mode": "form", "message": message, "requestedSchema": schema});
        Self::elicitation(params)
    }

    /// An address where the user does something that the client must not see. `id` names it towards older clients.
    ///
    /// # Errors
    ///
    /// None for a valid address; the signature is that of the other questions.
    pub fn address(message: &str, url: &url::Url, id: &str) -> Result<Self, ErrorData> {
        let params = json!({"mode": "url", "message": message, "url": url.as_str(), "elicitationId": id});
        Self::elicitation(params)
    }

    /// A completion of at most `max_tokens` by the client's model.
    ///
    /// # Errors
    ///
    /// None; the signature is that of the other questions.
    pub fn completion(prompt: &str, max_tokens: u32) -> Result<Self, ErrorData> {
        let message = json!({"role": "user", "content": {"type": "text", "text": prompt}});
        let params = json!({"messages": [message], "maxTokens": max_tokens});
        let params = serde_json::from_value(params).map_err(|fault| malformed(&fault))?;
        Ok(Self(InputRequest::CreateMessage(CreateMessageRequest::new(
            params,
        ))))
    }

    /// The client's roots.
    pub fn roots() -> Self {
        Self(InputRequest::ListRoots(ListRootsRequest::default()))
    }

    fn elicitation(params: Value) -> Result<Self, ErrorData> {
        let params: ElicitRequestParams =
            serde_json::from_value(params).map_err(|fault| malformed(&fault))?;
        Ok(Self(InputRequest::Elicitation(ElicitRequest::new(params))))
    }

    /// Whether a client with these capabilities may be asked.
    pub(super) fn suits(&self, client: &ClientCapabilities) -> bool {
        match &self.0 {
            InputRequest::CreateMessage(_) => client.sampling.is_some(),
            InputRequest::ListRoots(_) => client.roots.is_some(),
            InputRequest::Elicitation(request) => client.elicitation.as_ref().is_some_and(|modes| {
                // Before there were modes, there were forms.
                let forms = modes.form.is_some() || modes.url.is_none();
                match request.params {
                    ElicitRequestParams::UrlElicitationParams { .. } => modes.url.is_some(),
                    _ => forms,
                }
            }),
            _ => false,
        }
    }

    /// The capability that a client needs to be asked.
    pub(super) fn needed(&self) -> ClientCapabilities {
        let needed = match &self.0 {
            InputRequest::CreateMessage(_) => json!({"sampling": {}}),
            InputRequest::ListRoots(_) => json!({"roots": {}}),
            InputRequest::Elicitation(request) => match request.params {
                ElicitRequestParams::UrlElicitationParams { .. } => json!({"elicitation": {"url": {}}}),
                _ => json!({"elicitation": {}}),
            },
            _ => json!({}),
        };
        serde_json::from_value(needed).unwrap_or_default()
    }

    /// As a part of a result, for clients that call again.
    pub(super) fn into_input(self) -> InputRequest {
        self.0
    }

    /// As a request, for clients that are asked over the stream of the call.
    pub(super) fn into_request(self) -> ServerRequest {
        match self.0 {
            InputRequest::CreateMessage(request) => ServerRequest::CreateMessageRequest(request),
            InputRequest::Elicitation(request) => ServerRequest::ElicitRequest(request),
            // No other kind can be made here.
            _ => ServerRequest::ListRootsRequest(ListRootsRequest::default()),
        }
    }
}

/// What another server asks is asked on.
impl From<InputRequest> for Question {
    fn from(request: InputRequest) -> Self {
        Self(request)
    }
}

fn malformed(fault: &serde_json::Error) -> ErrorData {
    ErrorData::internal_error(format!("the question is not one that MCP allows: {fault}"), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(capabilities: Value) -> ClientCapabilities {
        serde_json::from_value(capabilities).unwrap()
    }

    fn one_of_each() -> [Question; 4] {
        let form =
            json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]});
        let page = "https://as.example/approve/7".parse().unwrap();
        [
            Question::form("Name?", &form).unwrap(),
            Question::address("Approve", &page, "7").unwrap(),
            Question::completion("Hello", 100).unwrap(),
            Question::roots(),
        ]
    }

    #[test]
    fn a_question_suits_only_the_client_that_declared_it() {
        for (capabilities, suits) in [
            (json!({}), [false; 4]),
            (json!({"elicitation": {}}), [true, false, false, false]),
            (json!({"elicitation": {"form": {}}}), [true, false, false, false]),
            (json!({"elicitation": {"url": {}}}), [false, true, false, false]),
            (
                json!({"elicitation": {"form": {}, "url": {}}}),
                [true, true, false, false],
            ),
            (json!({"sampling": {}}), [false, false, true, false]),
            (json!({"roots": {}}), [false, false, false, true]),
        ] {
            let client = client(capabilities.clone());
            let seen = one_of_each().map(|question| question.suits(&client));
            assert_eq!(seen, suits, "{capabilities}");
        }
        for question in one_of_each() {
            assert!(question.suits(&question.needed()), "{question:?}");
        }
    }

    #[test]
    fn both_ways_ask_the_same() {
        for question in one_of_each() {
            let input = serde_json::to_value(question.clone().into_input()).unwrap();
            let request = serde_json::to_value(question.into_request()).unwrap();
            assert_eq!(input, request);
        }
    }

    #[test]
    fn a_form_that_mcp_does_not_allow_is_not_asked() {
        let nested = json!({"type": "object", "properties": {"a": {"type": "object", "properties": {}}}});
        assert!(Question::form("x", &nested).is_err());
    }
}
