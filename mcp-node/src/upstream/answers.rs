//! What callers ask an upstream for, and its results in the node's terms: a result of an older revision gets the
//! discriminator that the newest wants, and rmcp takes it off again for callers of older ones.

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams, CompleteResult,
    ContentBlock, GetPromptRequestParams, GetPromptResponse, GetPromptResult, JsonObject,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Reference,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::catalogue::{OfferedPrompt, OfferedTool};
use super::dialogue::Answer;
use super::exchange::{Exchange, Next};
use super::{Upstream, UpstreamFault};
use crate::mcp::ask::Ask;
use crate::mcp::offer::Requester;

impl Upstream {
    /// Calls `tool`, one of this upstream's. Whatever goes wrong there is in the result, where models read it.
    pub(crate) async fn call_tool(
        &self,
        tool: &OfferedTool,
        mut request: CallToolRequestParams,
        ask: &Ask<'_>,
        requester: &Requester,
    ) -> Result<CallToolResponse, UpstreamFault> {
        request.meta = None;
        request.name = tool.own_name().to_owned().into();
        let answer = match self
            .converse("tools/call", members(&request)?, ask, requester)
            .await
        {
            Ok(Answer::Result(answer)) => answer,
            Ok(Answer::Later(later)) => return Ok(later.into()),
            Err(fault @ (UpstreamFault::Answered(_) | UpstreamFault::Cancelled)) => return Err(fault),
            Err(fault) => return Ok(failed(&fault.to_string())),
        };
        let mut result: CallToolResult = match known_blocks(answer) {
            Ok(result) => result,
            Err(fault) => return Ok(failed(&fault.to_string())),
        };
        if let Err(reason) = tool.check(&result) {
            tracing::warn!(
                upstream = self.name(),
                tool = tool.own_name(),
                reason,
                "a result is not what the tool promises"
            );
            return Ok(failed(&format!(
                "the server behind this tool gave a wrong result: {reason}"
            )));
        }
        self.names.rewrite_tool(&mut result);
        result.result_type.get_or_insert_default();
        Ok(result.into())
    }

    /// Reads the resource that the node offers as `request.uri`, `own_uri` at the upstream.
    pub(crate) async fn read_resource(
        &self,
        own_uri: &str,
        mut request: ReadResourceRequestParams,
        ask: &Ask<'_>,
        requester: &Requester,
    ) -> Result<ReadResourceResponse, UpstreamFault> {
        request.meta = None;
        request.uri = own_uri.to_owned();
        let answer = self.converse("resources/read", members(&request)?, ask, requester);
        let mut result: ReadResourceResult = match answer.await? {
            Answer::Result(answer) => read(answer)?,
            Answer::Later(later) => return Ok(later.into()),
        };
        self.names.rewrite_read(&mut result);
        result.result_type.get_or_insert_default();
        Ok(result.into())
    }

    /// Fills in `prompt`, one of this upstream's.
    pub(crate) async fn get_prompt(
        &self,
        prompt: &OfferedPrompt,
        mut request: GetPromptRequestParams,
        ask: &Ask<'_>,
        requester: &Requester,
    ) -> Result<GetPromptResponse, UpstreamFault> {
        request.meta = None;
        request.name.clone_from(&prompt.own_name);
        let answer = self.converse("prompts/get", members(&request)?, ask, requester);
        let mut result: GetPromptResult = match answer.await? {
            Answer::Result(answer) => read(answer)?,
            Answer::Later(later) => return Ok(later.into()),
        };
        self.names.rewrite_prompt(&mut result);
        result.result_type.get_or_insert_default();
        Ok(result.into())
    }

    /// Completes an argument of `reference`, which has the upstream's own name or template.
    pub(crate) async fn complete(
        &self,
        reference: Reference,
        mut request: CompleteRequestParams,
        requester: &Requester,
    ) -> Result<CompleteResult, UpstreamFault> {
        request.meta = None;
        request.r#ref = reference;
        // Nobody is asked anything while a word is completed.
        let mut exchange =
            Exchange::begin(self, "completion/complete", members(&request)?, requester).await?;
        match exchange.next(requester).await? {
            Next::Answer(answer) => {
                let mut result: CompleteResult = read(answer)?;
                result.result_type.get_or_insert_default();
                Ok(result)
            }
            Next::Question(..) => Err(UpstreamFault::Nonsense("a question".to_owned())),
        }
    }

    /// The upstream's own URI, if the node offers `uri` as one of its resources: a listed one, or any that its server
    /// may know by a template.
    pub(crate) fn own_uri<'u>(&self, uri: &'u str) -> Option<&'u str> {
        let own = self.names.own_uri(uri)?;
        self.catalogue.load().reads.then_some(own)
    }

    /// The upstream's own form of a template that the node offers.
    pub(crate) fn own_template<'u>(&self, template: &'u str) -> Option<&'u str> {
        let catalogue = self.catalogue.load();
        let is_offered = catalogue
            .templates
            .iter()
            .any(|offered| offered.uri_template == template);
        self.names.own_uri(template).filter(|_| is_offered)
    }
}

/// A result that says what went wrong.
fn failed(sentence: &str) -> CallToolResponse {
    CallToolResult::error(vec![ContentBlock::text(sentence)]).into()
}

fn members(params: &impl Serialize) -> Result<JsonObject, UpstreamFault> {
    match serde_json::to_value(params) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(UpstreamFault::Nonsense(
            "the request cannot be written".to_owned(),
        )),
    }
}

fn read<T: DeserializeOwned>(answer: Value) -> Result<T, UpstreamFault> {
    serde_json::from_value(answer).map_err(|fault| UpstreamFault::Nonsense(fault.to_string()))
}

/// A tool's result. A block of a kind that rmcp does not know would cost the whole of it: it becomes text, which says
/// what it was.
fn known_blocks(mut answer: Value) -> Result<CallToolResult, UpstreamFault> {
    if let Some(Value::Array(blocks)) = answer.get_mut("content") {
        for block in blocks {
            if serde_json::from_value::<ContentBlock>(block.clone()).is_err() {
                *block = json!({"type": "text", "text": block.to_string()});
            }
        }
    }
    read(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_a_kind_to_come_does_not_cost_the_others() {
        let answer = json!({"content": [{"type": "text", "text": "a"}, {"type": "hologram", "data": "x"}]});
        let result = known_blocks(answer).unwrap();
        let result = serde_json::to_value(result).unwrap();
        assert_eq!(result["content"][0]["text"], "a");
        let text = result["content"][1]["text"].as_str().unwrap();
        assert!(text.contains("hologram"), "{text}");
        assert!(known_blocks(json!({"tools": []})).is_err());
    }
}
