//! The suite's prompts, and the completion of their arguments.

use mcp_node::mcp::ask::{Ask, Asked, Question};
use mcp_node::mcp::seal::Seal;
use rmcp::ErrorData;
use rmcp::model::{
    CompletionInfo, ContentBlock, GetPromptRequestParams, GetPromptResponse, GetPromptResult, JsonObject,
    Prompt, PromptArgument, PromptMessage, Reference, Role,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::json;

use crate::sample::{picture, text_resource};

const SIMPLE: &str = "test_simple_prompt";
const WITH_ARGUMENTS: &str = "test_prompt_with_arguments";
const WITH_RESOURCE: &str = "test_prompt_with_embedded_resource";
const WITH_PICTURE: &str = "test_prompt_with_image";
const WITH_QUESTION: &str = "test_input_required_result_prompt";

/// The prompts, in a fixed order.
pub(crate) fn list() -> Vec<Prompt> {
    vec![
        Prompt::new(SIMPLE, Some("A prompt without arguments"), None),
        Prompt::new(
            WITH_ARGUMENTS,
            Some("A prompt that repeats its two arguments"),
            Some(vec![
                argument("arg1", "The first argument"),
                argument("arg2", "The second argument"),
            ]),
        ),
        Prompt::new(
            WITH_RESOURCE,
            Some("A prompt that carries a resource"),
            Some(vec![argument(
                "resourceUri",
                "The URI that the resource is given",
            )]),
        ),
        Prompt::new(WITH_PICTURE, Some("A prompt that carries a picture"), None),
        Prompt::new(
            WITH_QUESTION,
            Some("A prompt that first asks its reader for the context"),
            None,
        ),
    ]
}

fn argument(name: &str, description: &str) -> PromptArgument {
    PromptArgument::new(name)
        .with_description(description)
        .with_required(true)
}

/// Whether the prompt of this name asks its reader first.
pub(crate) fn asks(name: &str) -> bool {
    name == WITH_QUESTION
}

/// The prompt that asks for the context first, or the question.
///
/// # Errors
///
/// See [`Ask`].
pub(crate) async fn ask(
    seal: &Seal,
    request: &GetPromptRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<GetPromptResponse, ErrorData> {
    let schema = json!({
        "type": "object",
        "properties": { "context": { "type": "string" } },
        "required": ["context"],
    });
    let question = Question::form("What context should the prompt use?", &schema)?;
    let ask = Ask::new(context, request, seal)?;
    match ask.ask([("user_context".to_owned(), question)], None).await? {
        Asked::Answered(answers) => {
            let context = answers.field("user_context", "context").unwrap_or_default();
            let message = text(format!("Please work in this context: {context}"));
            Ok(GetPromptResult::new(vec![message]).into())
        }
        Asked::Later(result) => Ok(result.into()),
        _ => Err(ErrorData::internal_error("nobody was asked", None)),
    }
}

/// The prompt that was asked for.
///
/// # Errors
///
/// "Invalid params" for a prompt that does not exist.
pub(crate) fn get(request: &GetPromptRequestParams) -> Result<GetPromptResult, ErrorData> {
    let arguments = request.arguments.as_ref();
    let messages = match request.name.as_str() {
        SIMPLE => vec![text("This is a simple prompt for testing.")],
        WITH_ARGUMENTS => {
            let (first, second) = (value(arguments, "arg1"), value(arguments, "arg2"));
            vec![text(format!(
                "Prompt with arguments: arg1='{first}', arg2='{second}'"
            ))]
        }
        WITH_RESOURCE => {
            let uri = value(arguments, "resourceUri");
            let resource = text_resource(uri, "text/plain", "Embedded resource content for testing.");
            vec![
                block(ContentBlock::resource(resource)),
                text("Please process the embedded resource above."),
            ]
        }
        WITH_PICTURE => vec![block(picture()), text("Please analyze the image above.")],
        name => {
            return Err(ErrorData::invalid_params(
                format!("There is no prompt {name}."),
                None,
            ));
        }
    };
    Ok(GetPromptResult::new(messages))
}

/// What an argument that begins with `typed` may become.
pub(crate) fn complete(reference: &Reference, typed: &str) -> CompletionInfo {
    let known: &[&str] = match reference {
        Reference::Prompt(prompt) if prompt.name == WITH_ARGUMENTS => &["paris", "park", "party"],
        _ => &[],
    };
    let values = known
        .iter()
        .filter(|value| value.starts_with(typed))
        .map(|&value| value.to_owned())
        .collect();
    CompletionInfo::with_all_values(values).unwrap_or_default()
}

fn value<'a>(arguments: Option<&'a JsonObject>, name: &str) -> &'a str {
    arguments
        .and_then(|arguments| arguments.get(name))
        .and_then(|value| value.as_str())
        .unwrap_or_default()
}

fn text(text: impl Into<String>) -> PromptMessage {
    PromptMessage::new_text(Role::User, text)
}

fn block(content: ContentBlock) -> PromptMessage {
    PromptMessage::new(Role::User, content)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answer(request: Value) -> Value {
        let prompt = get(&serde_json::from_value(request).unwrap()).unwrap();
        serde_json::to_value(prompt).unwrap()
    }

    #[test]
    fn arguments_are_repeated() {
        let prompt =
            answer(json!({ "name": WITH_ARGUMENTS, "arguments": { "arg1": "hello", "arg2": "world" } }));
        assert_eq!(
            prompt["messages"][0]["content"]["text"],
            "Prompt with arguments: arg1='hello', arg2='world'"
        );
    }

    #[test]
    fn every_listed_prompt_exists_and_no_other() {
        for prompt in list().iter().filter(|prompt| !asks(&prompt.name)) {
            answer(json!({ "name": prompt.name }));
        }
        assert!(get(&GetPromptRequestParams::new("no_such_prompt")).is_err());
    }

    #[test]
    fn completion_follows_what_was_typed() {
        let prompt = Reference::for_prompt(WITH_ARGUMENTS);
        assert_eq!(complete(&prompt, "par").values, ["paris", "park", "party"]);
        assert_eq!(complete(&prompt, "park").values, ["park"]);
        assert!(complete(&Reference::for_prompt(SIMPLE), "par").values.is_empty());
    }
}
