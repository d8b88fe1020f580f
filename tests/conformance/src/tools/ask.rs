//! Tools that ask the client before they answer (MCP 2026-07-28, multi round-trip requests).

use mcp_node::mcp::ask::{Answers, Ask, Asked, Question};
use mcp_node::mcp::seal::Seal;
use rmcp::ErrorData;
use rmcp::model::{CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Tool};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::json;

use super::plain;

const NAME: &str = "test_input_required_result_elicitation";
const COMPLETION: &str = "test_input_required_result_sampling";
const ROOTS: &str = "test_input_required_result_list_roots";
const STATE: &str = "test_input_required_result_request_state";
const TAMPERED_STATE: &str = "test_input_required_result_tampered_state";
const SEVERAL: &str = "test_input_required_result_multiple_inputs";
const ROUNDS: &str = "test_input_required_result_multi_round";
const CAPABILITIES: &str = "test_input_required_result_capabilities";
const STREAMING: &str = "test_streaming_elicitation";

pub(super) fn list() -> Vec<Tool> {
    vec![
        plain(NAME, "Asks the user's name"),
        plain(COMPLETION, "Asks the client's model a question"),
        plain(ROOTS, "Asks for the client's roots"),
        plain(
            STATE,
            "Asks for a confirmation and keeps its state with the client",
        ),
        plain(TAMPERED_STATE, "Refuses a state that the client has altered"),
        plain(SEVERAL, "Asks user, model and client at once"),
        plain(ROUNDS, "Asks twice, one question after the other"),
        plain(CAPABILITIES, "Asks only what the client has declared"),
        plain(
            STREAMING,
            "Asks the user's name and sends no request of its own meanwhile",
        ),
    ]
}

/// Whether the tool of this name is one of these.
pub(super) fn has(name: &str) -> bool {
    list().iter().any(|tool| tool.name == name)
}

/// The answer or the questions.
///
/// # Errors
///
/// See [`Ask`].
pub(super) async fn call(
    request: &CallToolRequestParams,
    seal: &Seal,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let ask = Ask::new(context, request, seal)?;
    match request.name.as_ref() {
        COMPLETION => {
            let question = Question::completion("What is the capital of France?", 100)?;
            one(&ask, "capital_question", question, |answers| {
                let text = answers.completion("capital_question").unwrap_or_default();
                format!("The model says: {text}")
            })
            .await
        }
        ROOTS => one(&ask, "client_roots", Question::roots(), count_roots).await,
        STATE | TAMPERED_STATE => confirm(&ask),
        SEVERAL => gather(&ask).await,
        ROUNDS => walk(&ask),
        CAPABILITIES => ask_what_suits(&ask).await,
        _ => {
            one(&ask, "user_name", name_question()?, |answers| {
                let name = answers.field("user_name", "name").unwrap_or_default();
                format!("Hello, {name}!")
            })
            .await
        }
    }
}

/// One question, and the text that its answer makes.
async fn one(
    ask: &Ask<'_>,
    key: &str,
    question: Question,
    text: impl FnOnce(&Answers) -> String,
) -> Result<CallToolResponse, ErrorData> {
    finish(ask.ask([(key.to_owned(), question)], None).await?, text)
}

fn finish(asked: Asked, text: impl FnOnce(&Answers) -> String) -> Result<CallToolResponse, ErrorData> {
    match asked {
        Asked::Answered(answers) => Ok(done(text(&answers))),
        Asked::Later(result) => Ok(result.into()),
        _ => Err(ErrorData::internal_error("nobody was asked", None)),
    }
}

fn count_roots(answers: &Answers) -> String {
    let roots = answers
        .get("client_roots")
        .and_then(|answer| answer.get("roots")?.as_array());
    let uris: Vec<&str> = roots
        .into_iter()
        .flatten()
        .filter_map(|root| root.get("uri")?.as_str())
        .collect();
    format!("The client's roots: {}", uris.join(", "))
}

fn confirm(ask: &Ask<'_>) -> Result<CallToolResponse, ErrorData> {
    if ask.kept() == Some(b"confirm") && ask.answers().get("confirm").is_some() {
        return Ok(done("Confirmed: state-ok"));
    }
    let question = field("Please confirm", "ok", "boolean")?;
    let questions = [("confirm".to_owned(), question)];
    Ok(ask.later(questions, Some(b"confirm"))?.into())
}

async fn gather(ask: &Ask<'_>) -> Result<CallToolResponse, ErrorData> {
    let asked = ask.ask(three_questions()?, Some(b"gather")).await?;
    finish(asked, |_| "All three answers are here.".to_owned())
}

fn walk(ask: &Ask<'_>) -> Result<CallToolResponse, ErrorData> {
    let (first, second) = ("step1", "step2");
    let at_second = ask.kept() == Some(second.as_bytes());
    if at_second && ask.answers().get(second).is_some() {
        return Ok(done("Both steps are done."));
    }
    let (key, question) = if at_second || (ask.kept().is_some() && ask.answers().get(first).is_some()) {
        (
            second,
            field("Step 2: What is your favorite color?", "color", "string")?,
        )
    } else {
        (first, field("Step 1: What is your name?", "name", "string")?)
    };
    let questions = [(key.to_owned(), question)];
    Ok(ask.later(questions, Some(key.as_bytes()))?.into())
}

async fn ask_what_suits(ask: &Ask<'_>) -> Result<CallToolResponse, ErrorData> {
    let open: Vec<_> = three_questions()?
        .into_iter()
        .filter(|(key, question)| ask.may_ask(question) && ask.answers().get(key).is_none())
        .collect();
    if open.is_empty() {
        return Ok(done("There is nothing left to ask this client."));
    }
    finish(ask.ask(open, None).await?, |_| {
        "All that suits is answered.".to_owned()
    })
}

fn three_questions() -> Result<[(String, Question); 3], ErrorData> {
    Ok([
        ("user_name".to_owned(), name_question()?),
        (
            "greeting".to_owned(),
            Question::completion("Generate a greeting", 100)?,
        ),
        ("client_roots".to_owned(), Question::roots()),
    ])
}

fn name_question() -> Result<Question, ErrorData> {
    field("What is your name?", "name", "string")
}

/// A form with one field of a JSON type.
fn field(message: &str, name: &str, json_type: &str) -> Result<Question, ErrorData> {
    let schema =
        json!({ "type": "object", "properties": { name: { "type": json_type } }, "required": [name] });
    Question::form(message, &schema)
}

fn done(text: impl Into<String>) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(text)]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_is_one_that_mcp_allows() {
        assert_eq!(three_questions().unwrap().len(), 3);
        field("Please confirm", "ok", "boolean").unwrap();
        assert!(has(ROUNDS) && !has("test_sampling"));
    }
}
